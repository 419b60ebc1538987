/* Writing packed files: whole or not there, nothing overwritten unasked, the disk's refusals said. */
#include "pack/fixture.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const char model[] = "models/mixtral-a.gguf";

static void place(pack_fx *fx, const char *name)
{
    tmpdir_make(&fx->dir);
    snprintf(fx->plain, sizeof fx->plain, MOX_TEST_DATA "/%s", name);
    snprintf(fx->packed, sizeof fx->packed, "%s/model.moxie", fx->dir.path);
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static void nothing_left(const pack_fx *fx)
{
    char part[1100];
    snprintf(part, sizeof part, "%s.part", fx->packed);
    cr_expect_not(exists(part), "the part was left");
    cr_expect_not(exists(fx->packed), "half a file has the name");
}

Test(write, same_bytes_each_time)
{
    pack_fx a, b;
    static uint8_t pa[1 << 20], pb[1 << 20];
    pfx_pack(&a, model);
    pfx_pack(&b, model);
    cr_assert_eq(a.report.out_bytes, b.report.out_bytes);
    cr_assert_leq(a.report.out_bytes, sizeof pa);
    pfx_read_at(&a, 0, pa, a.report.out_bytes);
    pfx_read_at(&b, 0, pb, b.report.out_bytes);
    cr_expect(memcmp(pa, pb, a.report.out_bytes) == 0);
    struct stat st;
    cr_assert_eq(stat(a.packed, &st), 0);
    cr_expect_eq((uint64_t)st.st_size, a.report.out_bytes);
    cr_expect_eq(st.st_size % 4096, 0);
    pfx_remove(&a);
    pfx_remove(&b);
}

Test(write, parts_and_single_file_pack_to_the_same_records)
{
    pack_fx a, b;
    static uint8_t pa[1 << 20], pb[1 << 20];
    pfx_pack(&a, model);
    pfx_pack(&b, "models/mixtral-a-split-00002-of-00003.gguf");
    mox_gguf *one = NULL, *other = NULL;
    cr_assert_eq(mox_gguf_open(&one, a.packed), MOX_OK);
    cr_assert_eq(mox_gguf_open(&other, b.packed), MOX_OK);
    cr_expect_eq(mox_gguf_n_files(other), 1);
    cr_expect_not(mox_gguf_has(other, "split.count"));
    for (uint32_t l = 0; l < 2; l++) {
        char name[MOX_PACK_NAME];
        mox_pack_experts_name(l, name);
        const mox_gguf_tensor *ta = mox_gguf_record(one, name), *tb = mox_gguf_record(other, name);
        cr_assert(ta && tb && ta->bytes == tb->bytes && ta->bytes <= sizeof pa);
        pfx_read_at(&a, ta->off, pa, ta->bytes);
        pfx_read_at(&b, tb->off, pb, tb->bytes);
        cr_expect(memcmp(pa, pb, ta->bytes) == 0, "layer %u", l);
    }
    mox_gguf_close(&one);
    mox_gguf_close(&other);
    pfx_remove(&a);
    pfx_remove(&b);
}

Test(write, an_existing_file_is_replaced_only_when_asked)
{
    pack_fx fx;
    place(&fx, model);
    tmpdir_write(&fx.dir, "model.moxie", "precious", 8);
    mox_pack_cfg cfg = pfx_cfg(&fx);
    cr_assert_eq(mox_pack_write(&cfg, &fx.report), MOX_E_WRITE);
    cr_expect(strstr(mox_err_last()->msg, "exists"), "%s", mox_err_last()->msg);
    cr_expect(strstr(mox_err_last()->fix, "--force"));
    char was[8];
    pfx_read_at(&fx, 0, was, 8);
    cr_expect(memcmp(was, "precious", 8) == 0);
    cfg.force = true;
    cr_assert_eq(mox_pack_write(&cfg, &fx.report), MOX_OK, "%s", mox_err_last()->msg);
    cfg.model = fx.packed;
    cr_expect_eq(mox_pack_write(&cfg, &fx.report), MOX_E_ARG, "packed already");
    pfx_remove(&fx);
}

Test(write, the_model_itself_is_never_the_destination)
{
    pack_fx fx;
    place(&fx, model);
    mox_pack_cfg cfg = pfx_cfg(&fx);
    cfg.out = cfg.model;
    cfg.force = true;
    cr_expect_eq(mox_pack_write(&cfg, &fx.report), MOX_E_ARG);
    pfx_remove(&fx);
}

Test(write, places_that_cannot_be_written)
{
    pack_fx fx;
    place(&fx, model);
    mox_pack_cfg cfg = pfx_cfg(&fx);
    char out[1100];
    snprintf(out, sizeof out, "%s/nowhere/model.moxie", fx.dir.path);
    cfg.out = out;
    cr_expect_eq(mox_pack_write(&cfg, &fx.report), MOX_E_WRITE);
    cfg.out = fx.dir.path;
    cfg.force = true;
    cr_expect_eq(mox_pack_write(&cfg, &fx.report), MOX_E_WRITE);
    cfg.model = "no such model";
    cr_expect_eq(mox_pack_write(&cfg, &fx.report), MOX_E_OPEN);
    pfx_remove(&fx);
}

Test(write, no_room_for_the_file)
{
    pack_fx fx;
    place(&fx, model);
    mox_pack_cfg cfg = pfx_cfg(&fx);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit small = {200000, 200000};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    cr_expect_eq(mox_pack_write(&cfg, &fx.report), MOX_E_WRITE);
    cr_expect(strstr(mox_err_last()->msg, ".part failed after"), "%s", mox_err_last()->msg);
    nothing_left(&fx);
    pfx_remove(&fx);
}

static int asked, stop_at;

static int stop(void)
{
    return ++asked >= stop_at;
}

Test(write, stopped_at_any_time_leaves_nothing)
{
    pack_fx fx;
    place(&fx, model);
    mox_pack_cfg cfg = pfx_cfg(&fx);
    cfg.stop = stop;
    for (stop_at = 1; stop_at < 40; stop_at += 3) {
        asked = 0;
        mox_err err = mox_pack_write(&cfg, &fx.report);
        if (err == MOX_OK) {
            break;
        }
        cr_assert_eq(err, MOX_E_CANCELLED, "%s", mox_err_last()->msg);
        nothing_left(&fx);
    }
    cr_expect_gt(stop_at, 10, "it was not asked often");
    pfx_remove(&fx);
}

Test(write, two_writers_of_one_file)
{
    pack_fx fx;
    place(&fx, model);
    char part[1100];
    snprintf(part, sizeof part, "%s.part", fx.packed);
    int fd = open(part, O_RDWR | O_CREAT, 0644);
    cr_assert(fd >= 0 && flock(fd, LOCK_EX) == 0);
    mox_pack_cfg cfg = pfx_cfg(&fx);
    cr_expect_eq(mox_pack_write(&cfg, &fx.report), MOX_E_WRITE);
    cr_expect(strstr(mox_err_last()->msg, "another process"), "%s", mox_err_last()->msg);
    cr_expect(exists(part), "the other's file was removed");
    close(fd); /* it died: what it left is no obstacle */
    cr_expect_eq(mox_pack_write(&cfg, &fx.report), MOX_OK, "%s", mox_err_last()->msg);
    cr_expect_not(exists(part));
    pfx_remove(&fx);
}

static const char *changed;

static void touch_source(void *ctx, const char *stage, uint64_t done, uint64_t total)
{
    (void)ctx, (void)stage, (void)total;
    if (done > 100000) {
        cr_assert_eq(utimensat(AT_FDCWD, changed, NULL, 0), 0);
    }
}

Test(write, a_model_that_changes_meanwhile)
{
    pack_fx fx;
    place(&fx, model);
    static uint8_t bytes[1 << 20];
    int fd = open(fx.plain, O_RDONLY);
    ssize_t n = read(fd, bytes, sizeof bytes);
    close(fd);
    cr_assert(n > 0);
    tmpdir_write(&fx.dir, "copy.gguf", bytes, (size_t)n);
    snprintf(fx.plain, sizeof fx.plain, "%s/copy.gguf", fx.dir.path);
    usleep(20000); /* past the granularity of modification times */
    changed = fx.plain;
    mox_pack_cfg cfg = pfx_cfg(&fx);
    cfg.progress = touch_source;
    cr_expect_eq(mox_pack_write(&cfg, &fx.report), MOX_E_CHANGED);
    nothing_left(&fx);
    pfx_remove(&fx);
}
