/* Routing traces: what is put is read back whatever the buffer, and files that lie are refused. */
#include "profiler/trace_file.h"
#include "runtime/core/clock.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
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

static const char info[] = "model small.gguf\nctx 512\n";

static void write_trace(uint32_t n, uint32_t ring, bool direct)
{
    mox_trace_writer *w;
    mox_trace_cfg cfg = {.header = shape, .info = info, .ring = ring, .direct = direct};
    mox_trace_end end;
    cr_assert_eq(mox_trace_create(&w, path, &cfg), MOX_OK);
    for (uint32_t i = 0; i < n; i++) {
        mox_trace_record r = record(i);
        mox_trace_put(w, &r);
    }
    cr_assert_eq(mox_trace_close(&w, &end), MOX_OK);
    cr_assert_null(w);
    cr_assert_eq(end.uses + end.dropped_uses, n);
    cr_assert(!direct || end.dropped_uses == 0);
}

static void write_bytes(const void *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    cr_assert_eq(fwrite(data, 1, bytes, f), bytes);
    fclose(f);
}

static mox_err read_back(void)
{
    mox_trace t;
    mox_err err = mox_trace_read(path, &t);
    if (err == MOX_OK) {
        mox_trace_free(&t);
    }
    return err;
}

Test(trace, round_trip_with_any_ring)
{
    const uint32_t rings[] = {0, 1, 4, 170, 1 << 20};
    const uint32_t counts[] = {0, 1, 4, 170, 171, 5000};
    for (size_t b = 0; b < sizeof rings / sizeof rings[0]; b++) {
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            write_trace(counts[c], rings[b], true);
            mox_trace t;
            cr_assert_eq(mox_trace_read(path, &t), MOX_OK);
            cr_assert_eq(t.n_uses, counts[c]);
            cr_assert(t.whole && t.header.n_layers == 4 && t.header.n_experts == 8 && t.header.top_k == 2);
            cr_assert_eq(t.header.model_id, shape.model_id);
            cr_assert_str_eq(t.info, info);
            for (uint32_t i = 0; i < t.n_uses; i++) {
                mox_trace_record want = record(i);
                cr_assert_eq(memcmp(&t.uses[i], &want, sizeof want), 0, "record %u", i);
            }
            mox_trace_free(&t);
        }
    }
}

Test(trace, values_of_the_run_by_their_keys)
{
    mox_trace t;
    char value[16];
    write_trace(1, 0, true);
    cr_assert_eq(mox_trace_read(path, &t), MOX_OK);
    cr_assert(mox_trace_info(&t, "ctx", value, sizeof value));
    cr_assert_str_eq(value, "512");
    cr_assert(mox_trace_info(&t, "model", value, 6));
    cr_assert_str_eq(value, "small");
    cr_assert(!mox_trace_info(&t, "mod", value, sizeof value));
    cr_assert_str_empty(value);
    mox_trace_free(&t);
}

/* What a producer does while the other one does the same; both faster than any disk. */
typedef struct producer {
    mox_trace_writer *w;
    uint8_t lane;
    uint32_t n;
} producer;

static void *produce(void *arg)
{
    const producer *p = arg;
    for (uint32_t i = 0; i < p->n; i++) {
        uint64_t now = mox_now_ns();
        mox_trace_span s = {.lane = p->lane, .kind = MOX_SPAN_READ, .expert = (uint16_t)(i % 8), .amount = i};
        mox_trace_put_span(p->w, now, now + i, &s);
    }
    return NULL;
}

/* Dropped or written, nothing is lost without being counted, and each thread's spans are in their order. */
static void two_producers(uint32_t ring, uint32_t n)
{
    mox_trace_writer *w;
    mox_trace_cfg cfg = {.header = shape, .ring = ring};
    mox_trace_end end;
    pthread_t other;
    cfg.header.timings = 1;
    cr_assert_eq(mox_trace_create(&w, path, &cfg), MOX_OK);
    producer io = {w, MOX_LANE_READ + 3, n}, step = {w, MOX_LANE_STEP, n};
    cr_assert_eq(pthread_create(&other, NULL, produce, &io), 0);
    produce(&step);
    pthread_join(other, NULL);
    cr_assert_eq(mox_trace_close(&w, &end), MOX_OK);
    cr_assert_eq(end.spans + end.dropped_spans, 2 * n);
    mox_trace t;
    cr_assert_eq(mox_trace_read(path, &t), MOX_OK);
    cr_assert_eq(t.n_spans, end.spans);
    cr_assert_eq(t.end.dropped_spans, end.dropped_spans);
    int64_t last[2] = {-1, -1};
    for (size_t i = 0; i < t.n_spans; i++) {
        const mox_trace_span *s = &t.spans[i];
        int of = s->lane == MOX_LANE_STEP;
        cr_assert(s->ns == s->amount && s->expert == s->amount % 8);
        cr_assert_gt((int64_t)s->amount, last[of]);
        last[of] = s->amount;
    }
    mox_trace_free(&t);
}

Test(trace, two_threads_lose_nothing_uncounted)
{
    two_producers(0, 3000); /* fits */
    two_producers(16, 30000);
    two_producers(1, 1000);
}

Test(trace, without_timings_no_span_is_kept)
{
    mox_trace_writer *w;
    mox_trace_cfg cfg = {.header = shape};
    mox_trace_end end;
    mox_trace_span s = {.kind = MOX_SPAN_STEP};
    cr_assert_eq(mox_trace_create(&w, path, &cfg), MOX_OK);
    cr_assert(!mox_trace_has_timings(w) && !mox_trace_has_timings(NULL));
    mox_trace_put_span(w, mox_now_ns(), mox_now_ns(), &s);
    mox_trace_put_span(NULL, 1, 2, &s);
    cr_assert_eq(mox_trace_close(&w, &end), MOX_OK);
    cr_assert_eq(end.spans + end.dropped_spans, 0);
}

enum { HEAD = 32, BLOCK = 8, END = 40, INFO_BYTES = sizeof info - 1 };

Test(trace, the_file_is_the_documented_bytes)
{
    write_trace(1, 0, true);
    unsigned char bytes[256];
    FILE *f = fopen(path, "rb");
    cr_assert_eq(fread(bytes, 1, sizeof bytes, f), HEAD + BLOCK + INFO_BYTES + BLOCK + 24 + BLOCK + END);
    fclose(f);
    cr_assert_eq(memcmp(bytes, "MOXT\2\0\0\0\4\0\0\0\10\0\0\0\2\0\0\0\0\0\0\0", 24), 0);
    cr_assert_eq(memcmp(bytes + 24, "\xef\xcd\xab\x90\x78\x56\x34\x12", 8), 0);
    cr_assert_eq(memcmp(bytes + HEAD, "INFO\31\0\0\0model", 13), 0);
    cr_assert_eq(memcmp(bytes + HEAD + BLOCK + INFO_BYTES, "USES\30\0\0\0", 8), 0);
    cr_assert_eq(memcmp(bytes + HEAD + 2 * BLOCK + INFO_BYTES + 24, "DONE\50\0\0\0\1\0", 10), 0);
}

Test(trace, every_truncation_but_whole_blocks_is_refused)
{
    write_trace(3, 2, true); /* blocks of two and of one */
    long first = HEAD + BLOCK + INFO_BYTES, uses = first + BLOCK + 48, all = uses + BLOCK + 24;
    for (long size = all + BLOCK + END; size >= 0; size--) {
        cr_assert_eq(truncate(path, size), 0);
        bool whole =
            size == HEAD || size == first || size == uses || size == all || size == all + BLOCK + END;
        cr_assert_eq(read_back(), whole ? MOX_OK : MOX_E_FORMAT, "%ld bytes", size);
    }
    write_trace(3, 2, true);
    cr_assert_eq(truncate(path, all), 0);
    mox_trace t;
    cr_assert_eq(mox_trace_read(path, &t), MOX_OK);
    cr_assert(!t.whole && t.n_uses == 3);
    mox_trace_free(&t);
}

/* A trace that the tests below damage. */
typedef struct small_trace {
    mox_trace_header h;
    mox_trace_block info;
    mox_trace_block uses;
    mox_trace_record r[2];
    mox_trace_block span;
    mox_trace_span s;
    mox_trace_block done;
    mox_trace_end end;
} small_trace;

static small_trace good_trace(void)
{
    small_trace t = {.h = shape,
                     .info = {.tag = "INFO"},
                     .uses = {.tag = "USES", .bytes = 48},
                     .r = {record(0), record(1)},
                     .span = {.tag = "SPAN", .bytes = 32},
                     .s = {.ns = 5, .expert = MOX_SPAN_NO_EXPERT},
                     .done = {.tag = "DONE", .bytes = 40},
                     .end = {.uses = 2, .spans = 1}};
    memcpy(t.h.magic, "MOXT", 4);
    t.h.version = MOX_TRACE_VERSION;
    return t;
}

static void refused(const small_trace *t, const char *why)
{
    write_bytes(t, sizeof *t);
    cr_assert_eq(read_back(), MOX_E_FORMAT, "%s", why);
    cr_assert(strstr(mox_err_last()->msg, why) != NULL, "%s: %s", why, mox_err_last()->msg);
}

Test(trace, headers_that_lie_are_refused)
{
    small_trace good = good_trace(), bad;
    write_bytes(&good, sizeof good);
    cr_assert_eq(read_back(), MOX_OK);
    bad = good, bad.h.magic[3] = 'U', refused(&bad, "not a moxie trace");
    bad = good, bad.h.version = 1, refused(&bad, "has version 1");
    bad = good, bad.h.n_layers = 1u << 16, refused(&bad, "65536 layers");
    bad = good, bad.h.n_experts = UINT32_MAX, refused(&bad, "4294967295 experts");
    bad = good, bad.h.top_k = 9, refused(&bad, "top 9");
    bad = good, bad.h.n_experts = 1000, bad.h.top_k = 256, refused(&bad, "top 256");
}

Test(trace, blocks_that_lie_are_refused)
{
    small_trace good = good_trace(), bad;
    bad = good, bad.uses.bytes = 47, refused(&bad, "no block of a trace");
    bad = good, bad.uses.bytes = 0, refused(&bad, "no block of a trace");
    bad = good, bad.uses.bytes = 24 << 20, refused(&bad, "is cut off");
    bad = good, bad.uses.tag[0] = 'X', refused(&bad, "no block of a trace");
    bad = good, memcpy(bad.uses.tag, "INFO", 4), refused(&bad, "out of place");
    bad = good, memcpy(bad.info.tag, "USES", 4), bad.info.bytes = 24, refused(&bad, "");
    bad = good, bad.end.uses = 3, refused(&bad, "its end says 3 and 1");
    bad = good, bad.end.spans = 0, refused(&bad, "its end says 2 and 0");
}

Test(trace, records_beyond_the_header_are_refused)
{
    small_trace good = good_trace(), bad;
    bad = good, bad.r[1].layer = 4, refused(&bad, "record 1: layer 4");
    bad = good, bad.r[1].expert = 8, refused(&bad, "record 1: layer 0, expert 8");
    bad = good, bad.r[1].rank = 2, refused(&bad, "rank 2");
    bad = good, bad.r[0].phase_and_tier = 0x24, refused(&bad, "phase 2 and tier 4");
    bad = good, bad.r[1].weight = NAN, refused(&bad, "record 1 has weight nan");
    bad = good, bad.s.kind = MOX_SPAN_KINDS, refused(&bad, "span 0");
    bad = good, bad.s.phase = MOX_PHASES, refused(&bad, "span 0");
    bad = good, bad.s.expert = 8, refused(&bad, "span 0");
    bad = good, bad.s.ns = UINT64_MAX, refused(&bad, "span 0");
}

Test(trace, files_that_are_not_there_are_named)
{
    mox_trace t;
    mox_trace_cfg cfg = {.header = shape};
    cr_assert_eq(mox_trace_read("/nowhere/at/all.moxt", &t), MOX_E_OPEN);
    cr_assert(strstr(mox_err_last()->msg, "/nowhere/at/all.moxt") != NULL);
    cr_assert_eq(mox_err_last()->sys, ENOENT);
    cr_assert_eq(mox_trace_read("/tmp", &t), MOX_E_FORMAT);
    mox_trace_writer *w = NULL;
    cr_assert_eq(mox_trace_create(&w, "/nowhere/at/all.moxt", &cfg), MOX_E_WRITE);
    cr_assert_null(w);
}

Test(trace, a_full_device_is_reported_at_creation)
{
    mox_trace_writer *w = NULL;
    mox_trace_cfg cfg = {.header = shape};
    cr_assert_eq(mox_trace_create(&w, "/dev/full", &cfg), MOX_E_WRITE);
    cr_assert_eq(mox_err_last()->sys, ENOSPC);
    cr_assert_null(w);
}

Test(trace, a_failed_write_is_reported_at_close)
{
    struct rlimit limit = {.rlim_cur = 100, .rlim_max = 100};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (int direct = 0; direct < 2; direct++) {
        mox_trace_writer *w;
        mox_trace_cfg cfg = {.header = shape, .ring = 2, .direct = direct};
        cr_assert_eq(mox_trace_create(&w, path, &cfg), MOX_OK);
        for (uint32_t i = 0; i < 20; i++) {
            mox_trace_record r = record(i);
            mox_trace_put(w, &r);
        }
        (void)MOX_FAIL(MOX_E_ARG, "something else, later");
        cr_assert_eq(mox_trace_close(&w, NULL), MOX_E_WRITE);
        cr_assert_eq(mox_err_last()->code, MOX_E_WRITE);
        cr_assert_eq(mox_err_last()->sys, EFBIG);
        cr_assert_null(w);
        cr_assert_eq(read_back(), MOX_OK); /* what was written whole is still a trace */
    }
}
