/* mox_dev_ops on the emulator: every function, the limit on device memory, and what cannot be pinned. */
#include "emu/emu.h"
#include "runtime/dev/module.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static mox_dev *dev;
static mox_ops *ops;
static char line[512];
static unsigned told; /* lines that a user sees */

static void keep_line(void *ctx, mox_log_level level, const char *text)
{
    (void)ctx;
    told += level <= MOX_LOG_INFO;
    snprintf(line, sizeof line, "%s", text);
}

static const mox_log keeper = {.fn = keep_line, .level = MOX_LOG_DEBUG};

#define OK(call) cr_assert_eq((call), MOX_OK, "%s: %s", #call, mox_err_last()->msg)

static void open_device(emu_policy policy, size_t vram, uint64_t limit)
{
    emu_config c;
    emu_defaults(&c);
    c.policy = policy;
    c.vram = vram;
    emu_open(&c);
    line[0] = '\0';
    told = 0;
    OK(mox_dev_module_make()->open(0, &(mox_dev_open_cfg){.vram_limit = limit, .log = &keeper}, &dev, &ops));
}

static void close_device(void)
{
    ops->destroy(ops);
    dev->ops->destroy(dev);
    cr_assert_eq(emu_objects(), 0, "something was not given back");
}

static mox_buf take(size_t bytes, mox_mem_kind kind)
{
    mox_buf b;
    OK(dev->ops->mem_alloc(dev, bytes, kind, 0, &b));
    cr_assert(b.kind == kind && b.bytes == bytes && b.dev == dev);
    return b;
}

Test(dev_emu, copies_run_in_order_and_streams_wait_for_events)
{
    for (emu_policy policy = EMU_EAGER; policy < EMU_POLICIES; policy++) {
        open_device(policy, 1 << 20, 0);
        mox_stream *s = NULL, *t = NULL;
        mox_event *e = NULL;
        OK(dev->ops->stream_create(dev, &s));
        OK(dev->ops->stream_create(dev, &t));
        OK(dev->ops->event_create(dev, &e));
        mox_buf far = take(4096, MOX_MEM_DEVICE), near = take(4096, MOX_MEM_PINNED);
        mox_buf back = take(4096, MOX_MEM_PINNED);
        memset(near.ptr, 5, 4096);
        OK(dev->ops->copy(dev, s, far.ptr, near.ptr, 4096));
        OK(dev->ops->event_record(dev, e, s));
        OK(dev->ops->stream_after(dev, t, e));
        OK(dev->ops->copy(dev, t, back.ptr, far.ptr, 4096));
        bool done = false;
        for (int i = 0; i < 1000 && !done; i++) {
            OK(dev->ops->event_done(dev, e, &done));
        }
        cr_assert(done, "asking drives nothing on");
        OK(dev->ops->event_wait(dev, e));
        OK(dev->ops->stream_wait(dev, t));
        cr_assert(memcmp(back.ptr, near.ptr, 4096) == 0);
        dev->ops->mem_free(dev, &far), dev->ops->mem_free(dev, &near), dev->ops->mem_free(dev, &back);
        cr_assert_null(far.ptr);
        dev->ops->mem_free(dev, &far); /* again: nothing */
        dev->ops->event_destroy(dev, &e);
        dev->ops->stream_destroy(dev, &s), dev->ops->stream_destroy(dev, &t);
        dev->ops->stream_destroy(dev, &t);
        close_device();
    }
}

Test(dev_emu, flags_cross_in_both_directions_without_a_wait)
{
    for (emu_policy policy = EMU_EAGER; policy < EMU_POLICIES; policy++) {
        open_device(policy, 1 << 20, 0);
        mox_stream *s = NULL;
        OK(dev->ops->stream_create(dev, &s));
        mox_buf far = take(64, MOX_MEM_DEVICE), mail = take(256, MOX_MEM_MAPPED);
        volatile uint32_t *flag = mail.ptr;
        uint32_t *text = (uint32_t *)mail.ptr + 16;
        flag[0] = flag[1] = 0;
        OK(dev->ops->flag_wait(dev, s, &flag[1], 7)); /* until the host has written what is copied */
        OK(dev->ops->copy(dev, s, far.ptr, text, 4));
        OK(dev->ops->copy(dev, s, text + 1, far.ptr, 4));
        OK(dev->ops->flag_write(dev, s, &flag[0], 3));
        for (int i = 0; i < 100; i++) {
            cr_assert_eq(dev->ops->flag_poll(dev, &flag[0]), 0, "the stream did not wait");
        }
        text[0] = 42;
        flag[1] = 7;
        int polls = 0;
        while (dev->ops->flag_poll(dev, &flag[0]) != 3 && polls < 1000) {
            polls++;
        }
        cr_assert(polls < 1000 && text[1] == 42);
        OK(dev->ops->stream_wait(dev, s));
        dev->ops->mem_free(dev, &far), dev->ops->mem_free(dev, &mail);
        dev->ops->stream_destroy(dev, &s);
        close_device();
    }
}

Test(dev_emu, graphs_are_recorded_once_and_launched_often)
{
    open_device(EMU_LAZY, 1 << 20, 0);
    mox_stream *s = NULL;
    mox_dev_graph *g = NULL;
    OK(dev->ops->stream_create(dev, &s));
    mox_buf a = take(400, MOX_MEM_DEVICE), host = take(400, MOX_MEM_PINNED);
    float *x = host.ptr;
    for (int i = 0; i < 100; i++) {
        x[i] = (float)i;
    }
    OK(dev->ops->copy(dev, s, a.ptr, x, 400));
    OK(dev->ops->graph_begin(dev, s));
    const mox_add_args twice = {a.ptr, a.ptr, a.ptr, 100};
    OK(ops->add(ops, s, &twice));
    OK(dev->ops->graph_end(dev, s, &g));
    for (int i = 0; i < 3; i++) {
        OK(dev->ops->graph_launch(dev, g, s));
    }
    OK(dev->ops->copy(dev, s, x, a.ptr, 400));
    OK(dev->ops->stream_wait(dev, s));
    cr_assert(x[1] == 8.0F && x[99] == 792.0F);
    dev->ops->graph_destroy(dev, &g);
    cr_assert_null(g);
    dev->ops->mem_free(dev, &a), dev->ops->mem_free(dev, &host);
    dev->ops->stream_destroy(dev, &s);
    close_device();
}

Test(dev_emu, a_limit_is_kept_to_the_byte)
{
    const size_t limit = 100000, vram = 1 << 20;
    open_device(EMU_LAZY, vram, limit);
    size_t left = 0, total = 0;
    mox_buf a, b, c;
    OK(dev->ops->mem_free_bytes(dev, &left, &total));
    cr_assert(total == limit && left == limit - 4, "the table's own word counts");
    OK(dev->ops->mem_alloc(dev, left - 10, MOX_MEM_DEVICE, 0, &a));
    cr_assert_eq(dev->ops->mem_alloc(dev, 11, MOX_MEM_DEVICE, 0, &b), MOX_E_NO_FIT);
    cr_assert(strstr(mox_err_last()->msg, "11 bytes of device memory, 10 of 100000") != NULL, "%s",
              mox_err_last()->msg);
    OK(dev->ops->mem_alloc(dev, 10, MOX_MEM_DEVICE, 0, &b));
    cr_assert_eq(emu_vram_peak(), limit);
    dev->ops->mem_free(dev, &a);
    OK(dev->ops->mem_alloc(dev, 11, MOX_MEM_DEVICE, 0, &c));
    cr_assert_eq(dev->ops->mem_alloc(dev, 0, MOX_MEM_DEVICE, 0, &a), MOX_E_ARG);
    dev->ops->mem_free(dev, &b), dev->ops->mem_free(dev, &c);
    close_device();
}

Test(dev_emu, memory_that_cannot_be_pinned_serves_all_the_same_and_is_said)
{
    open_device(EMU_LAZY, 1 << 20, 0);
    mox_stream *s = NULL;
    mox_buf near, far = take(64, MOX_MEM_DEVICE);
    OK(dev->ops->stream_create(dev, &s));
    emu_fail_at("cudaHostRegister", 1, cudaErrorMemoryAllocation);
    OK(dev->ops->mem_alloc(dev, 4096, MOX_MEM_PINNED, 0, &near));
    cr_assert_eq(near.kind, MOX_MEM_ORDINARY);
    cr_assert(strstr(line, "not pinned (cudaHostRegister") != NULL && strchr(line, '\n') == NULL, "%s", line);
    emu_fail_at("cudaHostRegister", 1, cudaErrorMemoryAllocation);
    mox_buf more;
    OK(dev->ops->mem_alloc(dev, 4096, MOX_MEM_PINNED, 0, &more));
    cr_assert_eq(more.kind, MOX_MEM_ORDINARY);
    cr_assert_eq(told, 1, "said %u times", told);
    dev->ops->mem_free(dev, &more);
    memset(near.ptr, 9, 64);
    OK(dev->ops->copy(dev, s, far.ptr, near.ptr, 64));
    OK(dev->ops->copy(dev, s, (char *)near.ptr + 64, far.ptr, 64));
    OK(dev->ops->stream_wait(dev, s));
    cr_assert_eq(((char *)near.ptr)[127], 9);
    emu_fail_at("cudaHostAlloc", 1, cudaErrorMemoryAllocation);
    mox_buf mapped;
    cr_assert_eq(dev->ops->mem_alloc(dev, 64, MOX_MEM_MAPPED, 0, &mapped), MOX_E_NO_MEMORY);
    dev->ops->mem_free(dev, &near), dev->ops->mem_free(dev, &far);
    dev->ops->stream_destroy(dev, &s);
    close_device();
}

Test(dev_emu, a_value_that_is_not_a_number_is_found_at_the_check_or_at_once)
{
    open_device(EMU_LAZY, 1 << 20, 0);
    mox_stream *s = NULL;
    OK(dev->ops->stream_create(dev, &s));
    mox_buf x = take(3 * 256 * 4, MOX_MEM_DEVICE), y = take(4096, MOX_MEM_DEVICE);
    float host[3 * 256] = {[700] = INFINITY};
    OK(dev->ops->copy(dev, s, x.ptr, host, sizeof host));
    mox_quantize_args q = {.x = x.ptr, .n = 3, .x_stride = 256};
    q.y = (mox_acts){MOX_ACT_K, 256, mox_act_row_bytes(MOX_ACT_K, 256), y.ptr};
    OK(ops->quantize(ops, s, &q));
    cr_assert_eq(ops->check(ops, s), MOX_E_NUMERIC);
    cr_assert(strncmp(mox_err_last()->msg, "row 2:", 6) == 0, "%s", mox_err_last()->msg);
    OK(ops->check(ops, s)); /* said once */
    ops->careful(ops, true);
    cr_assert_eq(ops->quantize(ops, s, &q), MOX_E_NUMERIC);
    ops->careful(ops, false);
    OK(ops->quantize(ops, s, &q));
    cr_assert_eq(ops->check(ops, s), MOX_E_NUMERIC);
    dev->ops->mem_free(dev, &x), dev->ops->mem_free(dev, &y);
    dev->ops->stream_destroy(dev, &s);
    close_device();
}
