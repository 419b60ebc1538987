/* Routing traces: what is put is read back whatever the buffer, and files that lie are refused. */
#include "profiler/counters.h"
#include "profiler/trace.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const mox_trace_header shape = {
    .n_layers = 4, .n_experts = 8, .top_k = 2, .model_id = 0x1234567890abcdefu};

static char path[] = "/tmp/moxie-trace-XXXXXX";

static void make_path(void)
{
    strcpy(path + sizeof path - 7, "XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
}

static void remove_path(void)
{
    unlink(path);
}

TestSuite(trace, .init = make_path, .fini = remove_path);

static mox_trace_record record(uint32_t i)
{
    return (mox_trace_record){.step = i / 8,
                              .position = i / 8 + 3,
                              .layer = (uint16_t)(i / 2 % 4),
                              .expert = (uint16_t)(i * 5 % 8),
                              .rank = (uint8_t)(i % 2),
                              .phase_and_tier = MOX_PHASE_DECODE << 4 | MOX_SERVED_LATE,
                              .weight = (float)i * 0.125f};
}

static void write_trace(uint32_t n, size_t buffer_bytes)
{
    mox_trace_writer *w;
    cr_assert_eq(mox_trace_create(&w, path, &shape, buffer_bytes), MOX_OK);
    for (uint32_t i = 0; i < n; i++) {
        mox_trace_record r = record(i);
        mox_trace_put(w, &r);
    }
    cr_assert_eq(mox_trace_close(&w), MOX_OK);
    cr_assert_null(w);
}

static void write_bytes(const void *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    cr_assert_eq(fwrite(data, 1, bytes, f), bytes);
    fclose(f);
}

static mox_err read_back(void)
{
    mox_trace_header h;
    mox_trace_record *records;
    size_t n;
    mox_err err = mox_trace_read(path, &h, &records, &n);
    if (err == MOX_OK) {
        mox_trace_free(records);
    }
    return err;
}

Test(trace, round_trip_with_any_buffer)
{
    const size_t buffers[] = {0, 24, 100, 4096, 1 << 20};
    const uint32_t counts[] = {0, 1, 4, 170, 171, 5000};
    for (size_t b = 0; b < sizeof buffers / sizeof buffers[0]; b++) {
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            write_trace(counts[c], buffers[b]);
            mox_trace_header h;
            mox_trace_record *records;
            size_t n;
            cr_assert_eq(mox_trace_read(path, &h, &records, &n), MOX_OK);
            cr_assert_eq(n, counts[c]);
            cr_assert(h.version == 1 && h.n_layers == 4 && h.n_experts == 8 && h.top_k == 2);
            cr_assert_eq(h.model_id, shape.model_id);
            for (uint32_t i = 0; i < n; i++) {
                mox_trace_record want = record(i);
                cr_assert_eq(memcmp(&records[i], &want, sizeof want), 0, "record %u", i);
            }
            mox_trace_free(records);
        }
    }
}

Test(trace, the_file_is_the_documented_bytes)
{
    write_trace(1, 4096);
    unsigned char bytes[64];
    FILE *f = fopen(path, "rb");
    cr_assert_eq(fread(bytes, 1, sizeof bytes, f), 32 + 24);
    fclose(f);
    cr_assert_eq(memcmp(bytes, "MOXT\1\0\0\0\4\0\0\0\10\0\0\0\2\0\0\0\0\0\0\0", 24), 0);
    cr_assert_eq(memcmp(bytes + 24, "\xef\xcd\xab\x90\x78\x56\x34\x12", 8), 0);
}

Test(trace, every_truncation_but_whole_records_is_refused)
{
    write_trace(3, 4096);
    for (long size = 32 + 3 * 24; size >= 0; size--) {
        cr_assert_eq(truncate(path, size), 0);
        bool whole = size >= 32 && (size - 32) % 24 == 0;
        cr_assert_eq(read_back(), whole ? MOX_OK : MOX_E_FORMAT, "%ld bytes", size);
    }
}

Test(trace, headers_that_lie_are_refused)
{
    mox_trace_header good = shape;
    memcpy(good.magic, "MOXT", 4);
    good.version = 1;
    write_bytes(&good, sizeof good);
    cr_assert_eq(read_back(), MOX_OK);
    mox_trace_header bad[6] = {good, good, good, good, good, good};
    bad[0].magic[3] = 'U';
    bad[1].version = 2;
    bad[2].n_layers = 1u << 16;
    bad[3].n_experts = UINT32_MAX;
    bad[4].top_k = 9;
    bad[5].n_experts = 1000, bad[5].top_k = 256;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_bytes(&bad[i], sizeof bad[i]);
        cr_assert_eq(read_back(), MOX_E_FORMAT, "header %zu", i);
    }
}

Test(trace, records_beyond_the_header_are_refused)
{
    struct {
        mox_trace_header h;
        mox_trace_record r[2];
    } file = {.h = shape, .r = {record(0), record(1)}};
    memcpy(file.h.magic, "MOXT", 4);
    file.h.version = 1;
    for (int field = 0; field < 3; field++) {
        mox_trace_record r = record(1);
        r.layer = field == 0 ? 4 : r.layer;
        r.expert = field == 1 ? 8 : r.expert;
        r.rank = field == 2 ? 2 : r.rank;
        file.r[1] = r;
        write_bytes(&file, sizeof file);
        cr_assert_eq(read_back(), MOX_E_FORMAT, "field %d", field);
        cr_assert(strstr(mox_err_last()->msg, "record 1") != NULL);
    }
}

Test(trace, files_that_are_not_there_are_named)
{
    mox_trace_header h;
    mox_trace_record *records;
    size_t n;
    cr_assert_eq(mox_trace_read("/nowhere/at/all.moxt", &h, &records, &n), MOX_E_OPEN);
    cr_assert(strstr(mox_err_last()->msg, "/nowhere/at/all.moxt") != NULL);
    cr_assert_eq(mox_err_last()->sys, ENOENT);
    cr_assert_eq(mox_trace_read("/tmp", &h, &records, &n), MOX_E_FORMAT);
    mox_trace_writer *w = NULL;
    cr_assert_eq(mox_trace_create(&w, "/nowhere/at/all.moxt", &shape, 100), MOX_E_WRITE);
    cr_assert_null(w);
}

Test(trace, a_full_device_is_reported_at_creation)
{
    mox_trace_writer *w = NULL;
    cr_assert_eq(mox_trace_create(&w, "/dev/full", &shape, 24), MOX_E_WRITE);
    cr_assert_eq(mox_err_last()->sys, ENOSPC);
    cr_assert_null(w);
}

Test(trace, a_failed_flush_is_reported_at_close)
{
    struct rlimit limit = {.rlim_cur = 100, .rlim_max = 100};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    mox_trace_writer *w;
    cr_assert_eq(mox_trace_create(&w, path, &shape, 48), MOX_OK);
    for (uint32_t i = 0; i < 20; i++) {
        mox_trace_record r = record(i);
        mox_trace_put(w, &r);
    }
    (void)MOX_FAIL(MOX_E_ARG, "something else, later");
    cr_assert_eq(mox_trace_close(&w), MOX_E_WRITE);
    cr_assert_eq(mox_err_last()->code, MOX_E_WRITE);
    cr_assert_eq(mox_err_last()->sys, EFBIG);
    cr_assert_null(w);
}
