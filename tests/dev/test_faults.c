/* Each call of the CUDA runtime that the device makes fails in turn, at its first, middle and last occurrence: a named
 * error comes out, and everything is given back. What fails while something is given back is a line in the log. */
#include "emu/emu.h"
#include "runtime/dev/module.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static char logged[4096];

static void keep_lines(void *ctx, mox_log_level level, const char *text)
{
    (void)ctx, (void)level;
    const size_t n = strlen(logged);
    snprintf(logged + n, sizeof logged - n, "%s\n", text);
}

typedef struct things {
    mox_dev *dev;
    mox_ops *ops;
    mox_stream *s, *t;
    mox_event *e;
    mox_dev_graph *g;
    mox_buf far, near, mail;
} things;

static mox_err take(things *x)
{
    static const mox_log log = {.fn = keep_lines, .level = MOX_LOG_DEBUG};
    MOX_TRY(mox_dev_module_make()->open(0, &(mox_dev_open_cfg){.log = &log}, &x->dev, &x->ops));
    const mox_dev_ops *d = x->dev->ops;
    MOX_TRY(d->stream_create(x->dev, &x->s));
    MOX_TRY(d->stream_create(x->dev, &x->t));
    MOX_TRY(d->event_create(x->dev, &x->e));
    MOX_TRY(d->mem_alloc(x->dev, 4096, MOX_MEM_DEVICE, 0, &x->far));
    MOX_TRY(d->mem_alloc(x->dev, 4096, MOX_MEM_PINNED, 0, &x->near));
    return d->mem_alloc(x->dev, 256, MOX_MEM_MAPPED, 0, &x->mail);
}

static mox_err use(things *x)
{
    const mox_dev_ops *d = x->dev->ops;
    volatile uint32_t *flag = x->mail.ptr;
    size_t left, total;
    bool done;
    flag[0] = 0, flag[1] = 1;
    memset(x->near.ptr, 0, 4096);
    MOX_TRY(d->mem_free_bytes(x->dev, &left, &total));
    MOX_TRY(d->copy(x->dev, x->s, x->far.ptr, x->near.ptr, 4096));
    MOX_TRY(d->event_record(x->dev, x->e, x->s));
    MOX_TRY(d->stream_after(x->dev, x->t, x->e));
    MOX_TRY(d->event_done(x->dev, x->e, &done));
    MOX_TRY(d->event_wait(x->dev, x->e));
    const mox_add_args add = {x->far.ptr, x->far.ptr, x->far.ptr, 100};
    MOX_TRY(x->ops->add(x->ops, x->t, &add));
    MOX_TRY(d->graph_begin(x->dev, x->t));
    const mox_err err = x->ops->add(x->ops, x->t, &add);
    const mox_err_info first = *mox_err_last();
    const mox_err ended = d->graph_end(x->dev, x->t, &x->g);
    if (err != MOX_OK) {
        return mox_err_restore(&first);
    }
    MOX_TRY(ended);
    MOX_TRY(d->graph_launch(x->dev, x->g, x->t));
    MOX_TRY(d->flag_wait(x->dev, x->t, &flag[1], 1));
    MOX_TRY(d->flag_write(x->dev, x->t, &flag[0], 1));
    MOX_TRY(x->ops->check(x->ops, x->t));
    return d->stream_wait(x->dev, x->t);
}

static void give_back(things *x)
{
    if (x->dev == NULL) {
        return;
    }
    const mox_dev_ops *d = x->dev->ops;
    d->graph_destroy(x->dev, &x->g);
    d->mem_free(x->dev, &x->mail), d->mem_free(x->dev, &x->near), d->mem_free(x->dev, &x->far);
    d->event_destroy(x->dev, &x->e);
    d->stream_destroy(x->dev, &x->t), d->stream_destroy(x->dev, &x->s);
    x->ops->destroy(x->ops);
    d->destroy(x->dev);
}

static mox_err run(const char *call, uint64_t nth)
{
    emu_config c;
    emu_defaults(&c);
    c.vram = 1 << 20;
    emu_open(&c);
    logged[0] = '\0';
    if (nth != 0) {
        emu_fail_at(call, nth, cudaErrorUnknown);
    }
    things x = {0};
    mox_err err = take(&x);
    err = err == MOX_OK ? use(&x) : err;
    const mox_err_info first = *mox_err_last();
    give_back(&x);
    return err == MOX_OK ? MOX_OK : mox_err_restore(&first);
}

/* The test's own lines: the calls of a run, and how many of each. */
static const char *const calls[] = {"cudaGetDeviceCount",     "cudaSetDevice",
                                    "cudaMemGetInfo",         "cudaMalloc",
                                    "cudaHostAlloc",          "cudaStreamCreateWithFlags",
                                    "cudaStreamSynchronize",  "cudaEventCreateWithFlags",
                                    "cudaEventRecord",        "cudaEventSynchronize",
                                    "cudaEventQuery",         "cudaStreamWaitEvent",
                                    "cudaMemcpyAsync",        "launch",
                                    "cudaStreamBeginCapture", "cudaStreamEndCapture",
                                    "cudaGraphInstantiate",   "cudaGraphUpload",
                                    "cudaGraphLaunch"};
static const char *const givers[] = {
    "cudaFree",         "cudaFreeHost",     "cudaHostUnregister",  "cudaStreamDestroy",
    "cudaEventDestroy", "cudaGraphDestroy", "cudaGraphExecDestroy"};

static uint64_t count(const char *call)
{
    cr_assert_eq(run(NULL, 0), MOX_OK, "%s", mox_err_last()->msg);
    cr_assert_eq(emu_objects(), 0);
    const uint64_t n = emu_calls(call);
    cr_assert_gt(n, 0, "%s is never called", call);
    return n;
}

Test(dev_faults, each_call_that_fails_is_named_and_nothing_leaks)
{
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        const uint64_t n = count(calls[i]), at[] = {1, n / 2 + 1, n};
        for (int k = 0; k < 3; k++) {
            const mox_err err = run(calls[i], at[k]);
            const bool giving =
                err == MOX_OK && strstr(logged, calls[i]) != NULL; /* cudaSetDevice, to free */
            cr_assert(err == MOX_E_DEVICE || giving, "%s, %u of %u: %s", calls[i], (unsigned)at[k],
                      (unsigned)n, err == MOX_OK ? "nobody noticed" : mox_err_name(err));
            const bool named = strstr(mox_err_last()->msg, calls[i]) != NULL ||
                               (strcmp(calls[i], "launch") == 0 && strstr(mox_err_last()->msg, "launched"));
            cr_assert(giving || named, "%s, %u of %u: %s", calls[i], (unsigned)at[k], (unsigned)n,
                      mox_err_last()->msg);
            cr_assert(giving || mox_err_last()->fix[0] != '\0', "%s: no way out is named",
                      mox_err_last()->msg);
            cr_assert_eq(emu_objects(), 0, "%s, %u of %u: %u things left", calls[i], (unsigned)at[k],
                         (unsigned)n, (unsigned)emu_objects());
        }
    }
}

Test(dev_faults, what_cannot_be_given_back_is_a_line_in_the_log)
{
    for (size_t i = 0; i < sizeof givers / sizeof *givers; i++) {
        (void)count(givers[i]);
        cr_assert_eq(run(givers[i], 1), MOX_OK, "%s: %s", givers[i], mox_err_last()->msg);
        cr_assert(strstr(logged, givers[i]) != NULL, "%s: %s", givers[i], logged);
        cr_assert_leq(emu_objects(), 1);
    }
}
