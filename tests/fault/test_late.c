/* Reads that do not come back are named, once each time; those that do are not. */
#include "offload/late.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

typedef struct fake {
    mox_io_done ready[4];
    uint32_t n_ready, submitted;
    uint64_t waited;
} fake;

static void fake_submit(mox_io *io, const mox_io_req *req)
{
    (void)req;
    ((fake *)(void *)io)->submitted++;
}

static uint32_t fake_reap(mox_io *io, mox_io_done *done, uint32_t max, uint64_t timeout_ns)
{
    fake *f = (fake *)(void *)io;
    uint32_t n = f->n_ready < max ? f->n_ready : max;
    memcpy(done, f->ready, n * sizeof *done);
    f->n_ready = 0;
    f->waited = timeout_ns;
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    return n;
}

static const mox_io_ops fake_ops = {.name = "fake", .submit = fake_submit, .reap = fake_reap};

static char said[4096];

static void keep_line(void *ctx, mox_log_level level, const char *line)
{
    (void)ctx;
    cr_assert_eq(level, MOX_LOG_WARN);
    snprintf(said + strlen(said), sizeof said - strlen(said), "%s\n", line);
}

Test(late, names_what_does_not_come_back)
{
    static mox_late late;
    fake f = {0};
    const mox_io_ops *ops = &fake_ops;
    mox_io *io = (mox_io *)(void *)&f;
    const char *const paths[] = {"one.gguf", "two.gguf"};
    mox_log log = {.fn = keep_line, .level = MOX_LOG_INFO};
    mox_late_around(&late, &ops, &io, paths, &log);
    cr_assert_str_eq(ops->name, "fake");
    late.after_ns = 1000000;
    mox_io_done done[4];
    cr_assert_eq(ops->reap(io, done, 4, UINT64_MAX), 0);
    cr_assert_eq(f.waited, UINT64_MAX, "with nothing in flight there is nothing to look after");
    ops->submit(io, &(mox_io_req){.id = 7, .file = 0, .off = 4096});
    ops->submit(io, &(mox_io_req){.id = 8, .file = 1, .off = 8192});
    cr_assert_eq(f.submitted, 2);
    f.ready[0] = (mox_io_done){.id = 7, .res = 10};
    f.n_ready = 1;
    cr_assert_eq(ops->reap(io, done, 4, UINT64_MAX), 1);
    cr_assert_eq(done[0].id, 7);
    cr_assert_eq(f.waited, 1000000, "it must look again in time");
    cr_assert_str_empty(said, "while reads come back there is nothing to say");
    cr_assert_eq(ops->reap(io, done, 4, UINT64_MAX), 0);
    cr_assert_not_null(strstr(said, "two.gguf at offset 8192"), "%s", said);
    cr_assert_null(strstr(said, "one.gguf"), "%s", said);
    size_t n = strlen(said);
    late.read[0].say_ns = UINT64_MAX; /* it comes back before it would be said again */
    f.ready[0] = (mox_io_done){.id = 8, .res = 10};
    f.n_ready = 1;
    cr_assert_eq(ops->reap(io, done, 4, 5), 1);
    cr_assert_eq(late.n, 0);
    cr_assert_eq(ops->reap(io, done, 4, 5), 0);
    cr_assert_eq(f.waited, 5);
    cr_assert_eq(strlen(said), n);
}
