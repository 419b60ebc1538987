/* The model file while it is in use: cut, replaced, unlinked, written to; and systems that refuse io_uring or
 * O_DIRECT. Right bytes or a named error, never wrong bytes. */
#include "offload/fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { STEPS = 60 };

/* A backend and a kind of file; all four are tried by every test. */
typedef struct variant {
    mox_io_mode mode;
    bool packed;
} variant;

static void open_one(fixture *fx, variant v)
{
    if (v.packed) {
        fx_write_packed(fx, 4);
    } else {
        fx_write(fx, 4);
    }
    mox_store_cfg cfg = fx_cfg(fx);
    cfg.io = v.mode;
    for (int i = 0; i < FX_LAYERS; i++) {
        fx->layers[i].quota = 1;
    }
    cr_assert_eq(fx_open(fx, &cfg), MOX_OK, "%s", mox_err_last()->msg);
}

/* Steps over all experts; every error must be `allowed`. Returns how many steps failed. */
static uint32_t steps(fixture *fx, mox_err allowed)
{
    uint64_t seed = 5;
    uint32_t failed = 0;
    for (uint32_t i = 0; i < STEPS; i++) {
        uint32_t set[FX_EXPERTS];
        size_t wrong = 0;
        fx_random_set(&seed, 2, set);
        mox_err err = fx_step(fx, i % FX_LAYERS, set, 2, &wrong);
        cr_assert_eq(wrong, 0, "wrong bytes were handed out");
        cr_assert(err == MOX_OK || err == allowed, "%s", mox_err_last()->msg);
        if (err != MOX_OK) {
            cr_assert_not_null(strstr(mox_err_last()->msg, fx->path), "%s", mox_err_last()->msg);
            failed++;
        }
    }
    fx_assert_at_rest(fx);
    fx_counters(fx);
    return failed;
}

static void all(void (*test)(variant v))
{
    for (int packed = 0; packed < 2; packed++) {
        test((variant){MOX_IO_URING, packed != 0});
        test((variant){MOX_IO_PREAD, packed != 0});
    }
}

static void cut(variant v)
{
    fixture fx;
    open_one(&fx, v);
    cr_assert_eq(steps(&fx, MOX_OK), 0);
    cr_assert_eq(truncate(fx.path, (off_t)(fx.file_bytes / 2)), 0);
    cr_assert_gt(steps(&fx, MOX_E_CHANGED), 0);
    fx_close(&fx);
    fx_remove(&fx);
}

Test(file_faults, cut_while_in_use)
{
    all(cut);
}

static void unlinked(variant v)
{
    fixture fx;
    open_one(&fx, v);
    cr_assert_eq(steps(&fx, MOX_OK), 0);
    fx_remove(&fx);
    cr_assert_eq(steps(&fx, MOX_OK), 0, "the open file is still whole");
    fx_close(&fx);
}

Test(file_faults, unlinked_while_in_use)
{
    all(unlinked);
}

static void replaced(variant v)
{
    fixture fx, other;
    open_one(&fx, v);
    cr_assert_eq(steps(&fx, MOX_OK), 0);
    fx_write(&other, 1);
    cr_assert_eq(rename(other.path, fx.path), 0);
    cr_assert_eq(steps(&fx, MOX_OK), 0, "the open file is still the old one");
    fx_close(&fx);
    fx_remove(&fx);
}

Test(file_faults, replaced_while_in_use)
{
    all(replaced);
}

static void scribble(const char *path, uint64_t bytes)
{
    int fd = open(path, O_WRONLY);
    cr_assert(fd >= 0);
    const char junk[64] = "these bytes are not those of an expert";
    for (uint64_t at = 2000; at + sizeof junk < bytes; at += 30000) {
        cr_assert_eq(pwrite(fd, junk, sizeof junk, (off_t)at), (ssize_t)sizeof junk);
    }
    cr_assert_eq(fsync(fd), 0);
    close(fd);
}

static void written_to(variant v)
{
    fixture fx;
    open_one(&fx, v);
    usleep(20000);                    /* past the granularity of modification times */
    scribble(fx.path, fx.file_bytes); /* before anything was read: no hash could tell */
    cr_assert_gt(steps(&fx, MOX_E_CHANGED), 0);
    fx_close(&fx);
    fx_remove(&fx);
}

Test(file_faults, written_to_while_in_use)
{
    all(written_to);
}

/* Bit rot leaves no trace in the file's times; the hash of the first read tells. */
static void rotten(variant v)
{
    fixture fx;
    open_one(&fx, v);
    for (uint32_t layer = 0; layer < FX_LAYERS; layer++) {
        for (uint32_t e = 0; e < FX_EXPERTS; e++) {
            size_t wrong = 0;
            cr_assert_eq(fx_step(&fx, layer, &e, 1, &wrong), MOX_OK);
            cr_assert_eq(wrong, 0);
        }
    }
    struct stat st;
    cr_assert_eq(stat(fx.path, &st), 0);
    scribble(fx.path, fx.file_bytes);
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    cr_assert_eq(utimensat(AT_FDCWD, fx.path, times, 0), 0);
    cr_assert_gt(steps(&fx, MOX_E_CORRUPT), 0);
    mox_counters c = fx_counters(&fx);
    cr_assert_gt(c.io.verify_failed, 0);
    cr_assert_gt(c.io.rereads, 0);
    fx_close(&fx);
    fx_remove(&fx);
}

Test(file_faults, rotten_bytes_are_found_on_the_second_read)
{
    all(rotten);
}

Test(file_faults, missing_file)
{
    fixture fx;
    fx_write(&fx, 1);
    fx_remove(&fx);
    mox_store_cfg cfg = fx_cfg(&fx);
    cr_assert_eq(fx_open(&fx, &cfg), MOX_E_OPEN);
    cr_assert_not_null(strstr(mox_err_last()->msg, fx.path));
    cr_assert_null(fx.store);
    fx_close(&fx);
}

/* From here on system call `nr` fails with `err`; with a mask, only when its third argument has those bits.
 */
static void refuse(uint32_t nr, uint32_t mask, uint32_t err)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, mask, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    if (mask == 0) {
        code[3] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JA, 0, 0, 0);
    }
    struct sock_fprog prog = {sizeof code / sizeof *code, code};
    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
}

Test(file_faults, io_uring_refused_reads_with_pread_and_says_so)
{
    refuse(SYS_io_uring_setup, 0, EPERM);
    fixture fx;
    open_one(&fx, (variant){MOX_IO_AUTO, false});
    cr_assert_eq(steps(&fx, MOX_OK), 0);
    cr_assert_eq(strncmp(mox_store_io_name(fx.store), "pread", 5), 0);
    cr_assert_not_null(strstr(fx.logged, "io_uring refused"), "%s", fx.logged);
    fx_close(&fx);
    mox_store_cfg cfg = fx_cfg(&fx);
    cfg.io = MOX_IO_URING;
    cr_assert_eq(fx_open(&fx, &cfg), MOX_E_OPEN, "asked for, refused, and yet opened");
    fx_close(&fx);
    fx_remove(&fx);
}

Test(file_faults, o_direct_refused_reads_buffered_and_says_so)
{
    refuse(SYS_openat, O_DIRECT, EINVAL);
    fixture fx;
    open_one(&fx, (variant){MOX_IO_AUTO, false});
    cr_assert_eq(steps(&fx, MOX_OK), 0);
    cr_assert_not_null(strstr(mox_store_io_name(fx.store), "buffered"));
    cr_assert_not_null(strstr(fx.logged, "O_DIRECT refused"), "%s", fx.logged);
    fx_close(&fx);
    fx_remove(&fx);
}
