/* The emulated runtime: what CUDA promises about order, memory and errors, and that a pipeline with a missing wait is
 * wrong under some policy. The names of the policies are the stages that catch. */
#include "emu/child.h"
#include "emu/emu.h"
#include "emu/test_kernels.h"

#include <criterion/criterion.h>
#include <string.h>

enum { N = 256, CHUNKS = 6 };

static emu_config settings(emu_policy policy, uint64_t seed)
{
    emu_config c;
    emu_defaults(&c);
    c.policy = policy;
    c.seed = seed;
    return c;
}

static void open_policy(emu_policy policy, uint64_t seed)
{
    emu_config c = settings(policy, seed);
    emu_open(&c);
}

#define OK(call) cr_assert_eq((call), cudaSuccess, "%s", #call)

Test(emu_runtime, memory_ends_where_the_limit_is)
{
    emu_config c = settings(EMU_LAZY, 1);
    c.vram = 1 << 20;
    emu_open(&c);
    void *a = NULL, *b = NULL;
    size_t left = 0, total = 0;
    OK(cudaMalloc(&a, 900 << 10));
    cr_assert_eq(cudaMalloc(&b, 200 << 10), cudaErrorMemoryAllocation);
    cr_assert_null(b);
    cr_assert_eq(cudaGetLastError(), cudaErrorMemoryAllocation);
    cr_assert_eq(cudaGetLastError(), cudaSuccess);
    OK(cudaMemGetInfo(&left, &total));
    cr_assert(total == 1 << 20 && left == 124 << 10 && left == total - emu_vram_used());
    OK(cudaFree(a));
    OK(cudaMalloc(&b, 200 << 10));
    cr_assert_eq(cudaFree((char *)b + 4), cudaErrorInvalidValue);
    cr_assert(emu_vram_peak() == 900 << 10);
    cr_assert(emu_vram_used() == 200 << 10);
}

Test(emu_runtime, copies_and_launches_are_checked)
{
    open_policy(EMU_LAZY, 1);
    char host[2048] = {7};
    void *a = NULL;
    OK(cudaMalloc(&a, 1024));
    cr_assert_eq(cudaMemcpy(host, a, 1024, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    cr_assert_eq(cudaMemcpy(a, host, 1025, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    OK(cudaMemcpy(a, host, 1024, cudaMemcpyDefault));
    (void)cudaGetLastError();
    tk_axpy(1.0F, a, a, 0, NULL);
    cr_assert_eq(cudaGetLastError(), cudaErrorInvalidConfiguration);
}

Test(emu_runtime, pageable_copies_and_the_legacy_stream_keep_their_order)
{
    for (int policy = 0; policy < EMU_POLICIES; policy++) {
        for (uint64_t seed = 1; seed <= 5; seed++) {
            open_policy((emu_policy)policy, seed);
            float v[N], w[N] = {0}, *a = NULL, *b = NULL;
            cudaStream_t s, t;
            cudaEvent_t e;
            OK(cudaMalloc((void **)&a, sizeof v));
            OK(cudaMalloc((void **)&b, sizeof v));
            OK(cudaStreamCreateWithFlags(&s, cudaStreamDefault));
            OK(cudaStreamCreateWithFlags(&t, cudaStreamNonBlocking));
            OK(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
            for (int i = 0; i < N; i++) {
                v[i] = 1.0F;
            }
            OK(cudaMemcpyAsync(a, v, sizeof v, cudaMemcpyHostToDevice, t));
            v[0] = 9.0F; /* the source was staged */
            OK(cudaEventRecord(e, t));
            OK(cudaStreamWaitEvent(s, e, 0));
            OK(cudaMemcpyAsync(b, a, sizeof v, cudaMemcpyDeviceToDevice, s));
            OK(cudaMemcpy(w, b, sizeof w, cudaMemcpyDeviceToHost)); /* legacy stream: after s */
            cr_assert(w[0] == 1.0F && w[N - 1] == 1.0F, "policy %d seed %d", policy, (int)seed);
            OK(cudaMemsetAsync(b, 0, sizeof v, t));
            int polls = 0;
            while (cudaStreamQuery(t) == cudaErrorNotReady && polls < 100) {
                polls++;
            }
            cr_assert_lt(polls, 100);
            OK(cudaStreamDestroy(s));
            OK(cudaStreamDestroy(t));
            OK(cudaEventDestroy(e));
        }
    }
}

Test(emu_runtime, a_capture_is_spoilt_by_what_cuda_forbids)
{
    open_policy(EMU_LAZY, 1);
    float *a = NULL;
    cudaStream_t s, t;
    cudaEvent_t e;
    cudaGraph_t g;
    OK(cudaMalloc((void **)&a, 256));
    OK(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    OK(cudaStreamCreateWithFlags(&t, cudaStreamNonBlocking));
    OK(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
    OK(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
    tk_axpy(1.0F, a, a, 64, s);
    cr_assert_eq(cudaStreamSynchronize(s), cudaErrorStreamCaptureUnsupported);
    cr_assert_eq(cudaStreamEndCapture(s, &g), cudaErrorStreamCaptureInvalidated);
    OK(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
    OK(cudaEventRecord(e, s));
    OK(cudaStreamWaitEvent(t, e, 0));
    tk_axpy(1.0F, a, a, 64, t);
    cr_assert_eq(cudaStreamEndCapture(s, &g), cudaErrorStreamCaptureUnjoined);
    void *more = NULL;
    OK(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
    cr_assert_eq(cudaMalloc(&more, 64), cudaErrorStreamCaptureUnsupported);
    cr_assert_eq(cudaStreamEndCapture(s, &g), cudaErrorStreamCaptureInvalidated);
}

Test(emu_runtime, a_graph_does_its_nodes_in_the_order_of_its_edges)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        open_policy(EMU_RANDOM, seed);
        float v[64], *a = NULL, *b = NULL;
        cudaStream_t s;
        cudaGraph_t g;
        cudaGraphExec_t x;
        for (int i = 0; i < 64; i++) {
            v[i] = 1.0F;
        }
        OK(cudaMalloc((void **)&a, sizeof v));
        OK(cudaMalloc((void **)&b, sizeof v));
        OK(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
        OK(cudaMemcpy(a, v, sizeof v, cudaMemcpyHostToDevice));
        OK(cudaMemcpy(b, v, sizeof v, cudaMemcpyHostToDevice));
        OK(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
        tk_axpy(1.0F, a, b, 64, s); /* b = 2, then 6, 14 */
        tk_axpy(2.0F, b, a, 64, s); /* a = 5, then ... */
        OK(cudaStreamEndCapture(s, &g));
        OK(cudaGraphInstantiate(&x, g, 0));
        OK(cudaGraphLaunch(x, s));
        OK(cudaGraphLaunch(x, s));
        OK(cudaStreamSynchronize(s));
        OK(cudaMemcpy(v, a, sizeof v, cudaMemcpyDeviceToHost));
        cr_assert_eq(v[63], 5.0F + 2.0F * 7.0F);
        OK(cudaGraphExecDestroy(x));
        OK(cudaGraphDestroy(g));
    }
}

Test(emu_runtime, a_node_that_waits_for_the_host_holds_up_nothing_else)
{
    for (emu_policy policy = EMU_EAGER; policy < EMU_POLICIES; policy++) {
        open_policy(policy, 3);
        float *a = NULL, *out = NULL;
        uint32_t *flag = NULL;
        cudaStream_t s, t;
        cudaEvent_t forked, joined;
        cudaGraph_t g;
        cudaGraphExec_t x;
        OK(cudaMalloc((void **)&a, 64 * sizeof *a));
        OK(cudaHostAlloc((void **)&out, 64 * sizeof *out, 0));
        OK(cudaHostAlloc((void **)&flag, sizeof *flag, 0));
        OK(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
        OK(cudaStreamCreateWithFlags(&t, cudaStreamNonBlocking));
        OK(cudaEventCreateWithFlags(&forked, cudaEventDisableTiming));
        OK(cudaEventCreateWithFlags(&joined, cudaEventDisableTiming));
        OK(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
        OK(cudaMemsetAsync(a, 0, 64 * sizeof *a, s));
        OK(cudaEventRecord(forked, s));
        OK(cudaStreamWaitEvent(t, forked, 0));
        tk_wait(flag, 1, s);
        OK(cudaMemcpyAsync(out, a, 64 * sizeof *a, cudaMemcpyDeviceToHost, t));
        OK(cudaEventRecord(joined, t));
        OK(cudaStreamWaitEvent(s, joined, 0));
        OK(cudaStreamEndCapture(s, &g));
        OK(cudaGraphInstantiate(&x, g, 0));
        for (int launch = 0; launch < 3; launch++) {
            int tries = 0;
            *flag = 0;
            out[63] = 1.0F;
            OK(cudaGraphLaunch(x, s));
            while (((volatile float *)out)[63] != 0.0F) { /* what the other branch copies */
                cr_assert_eq(cudaStreamQuery(s), cudaErrorNotReady);
                cr_assert_lt(tries++, 100, "policy %d", (int)policy);
            }
            cr_assert_eq(cudaStreamQuery(s), cudaErrorNotReady);
            *flag = 1;
            OK(cudaStreamSynchronize(s));
        }
        OK(cudaGraphExecDestroy(x));
        OK(cudaGraphDestroy(g));
    }
}

Test(emu_runtime, a_graph_launched_into_a_capture_is_part_of_it)
{
    open_policy(EMU_RANDOM, 2);
    float v[64], *a = NULL, *b = NULL;
    cudaStream_t s;
    cudaGraph_t g, whole;
    cudaGraphExec_t x, y;
    for (int i = 0; i < 64; i++) {
        v[i] = 1.0F;
    }
    OK(cudaMalloc((void **)&a, sizeof v));
    OK(cudaMalloc((void **)&b, sizeof v));
    OK(cudaMemcpy(a, v, sizeof v, cudaMemcpyHostToDevice));
    OK(cudaMemcpy(b, v, sizeof v, cudaMemcpyHostToDevice));
    OK(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    OK(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
    tk_axpy(1.0F, a, b, 64, s); /* b += a */
    OK(cudaStreamEndCapture(s, &g));
    OK(cudaGraphInstantiate(&x, g, 0));
    OK(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
    OK(cudaGraphLaunch(x, s));
    tk_axpy(1.0F, b, a, 64, s); /* a += b */
    OK(cudaGraphLaunch(x, s));
    OK(cudaStreamEndCapture(s, &whole));
    OK(cudaGraphInstantiate(&y, whole, 0));
    OK(cudaGraphLaunch(y, s)); /* 1 1, then 1 2, 3 2, 3 5 */
    OK(cudaStreamSynchronize(s));
    OK(cudaMemcpy(v, b, sizeof v, cudaMemcpyDeviceToHost));
    cr_assert_eq(v[0], 5.0F);
}

Test(emu_runtime, planted_failures_hit_the_call_they_name)
{
    open_policy(EMU_LAZY, 1);
    float *a = NULL;
    OK(cudaMalloc((void **)&a, 256));
    emu_fail_at("cudaMalloc", 2, cudaErrorMemoryAllocation);
    void *p = NULL;
    OK(cudaMalloc(&p, 64));
    cr_assert_eq(cudaMalloc(&p, 64), cudaErrorMemoryAllocation);
    OK(cudaMalloc(&p, 64));
    cr_assert_eq(emu_calls("cudaMalloc"), 4);
    (void)cudaGetLastError();
    emu_fail_at("launch", 1, cudaErrorLaunchFailure);
    tk_axpy(1.0F, a, a, 64, NULL);
    cr_assert_eq(cudaGetLastError(), cudaErrorLaunchFailure);
    tk_axpy(1.0F, a, a, 64, NULL);
    cr_assert_eq(cudaGetLastError(), cudaSuccess);
}

/* ---- an upload and compute pipeline over two buffers, and what can be wrong with it ---- */

typedef enum stream_bug {
    BUG_NONE,
    BUG_KERNEL_EARLY, /* the kernel does not wait for its copy */
    BUG_COPY_EARLY,   /* the copy does not wait for the kernel that still reads the buffer */
    BUG_READ_EARLY,   /* the host reads the result before it is there */
    BUG_REFILL_EARLY, /* the host refills staging memory that is still being copied */
    BUG_WRONG_EVENT,  /* the kernel waits for the other buffer's copy */
    BUG_NO_RECORD,    /* the event that the kernel waits for was never recorded */
    BUG_HOST_TOUCHES, /* the host reads device memory */
    BUG_ONE_STREAM,   /* right, but nothing overlaps */
    STREAM_BUGS
} stream_bug;

typedef struct pipeline {
    stream_bug bug;
    cudaStream_t copy, compute;
    cudaEvent_t up[2], used[2];
    float *stage[2], *buf[2], *sum, *out;
} pipeline;

static void pipeline_open(pipeline *p)
{
    OK(cudaStreamCreateWithFlags(&p->copy, cudaStreamNonBlocking));
    OK(cudaStreamCreateWithFlags(&p->compute, cudaStreamNonBlocking));
    if (p->bug == BUG_ONE_STREAM) {
        p->compute = p->copy;
    }
    for (int i = 0; i < 2; i++) {
        OK(cudaEventCreateWithFlags(&p->up[i], cudaEventDisableTiming));
        OK(cudaEventCreateWithFlags(&p->used[i], cudaEventDisableTiming));
        OK(cudaHostAlloc((void **)&p->stage[i], N * sizeof(float), 0));
        OK(cudaMalloc((void **)&p->buf[i], N * sizeof(float)));
    }
    OK(cudaMalloc((void **)&p->sum, N * sizeof(float)));
    OK(cudaHostAlloc((void **)&p->out, N * sizeof(float), 0));
    OK(cudaMemsetAsync(p->sum, 0, N * sizeof(float), p->compute));
    OK(cudaStreamSynchronize(p->compute));
}

static void pipeline_chunk(pipeline *p, int c)
{
    int b = c % 2;
    if (c >= 2 && p->bug != BUG_REFILL_EARLY) {
        OK(cudaEventSynchronize(p->up[b]));
    }
    for (int i = 0; i < N; i++) {
        p->stage[b][i] = (float)(c + 1);
    }
    if (c >= 2 && p->bug != BUG_COPY_EARLY) {
        OK(cudaStreamWaitEvent(p->copy, p->used[b], 0));
    }
    OK(cudaMemcpyAsync(p->buf[b], p->stage[b], N * sizeof(float), cudaMemcpyHostToDevice, p->copy));
    if (p->bug != BUG_NO_RECORD) {
        OK(cudaEventRecord(p->up[b], p->copy));
    }
    if (p->bug != BUG_KERNEL_EARLY) {
        OK(cudaStreamWaitEvent(p->compute, p->up[p->bug == BUG_WRONG_EVENT ? !b : b], 0));
    }
    tk_axpy(1.0F, p->buf[b], p->sum, N, p->compute);
    OK(cudaEventRecord(p->used[b], p->compute));
}

/* 0: the sum is right. */
static int run_pipeline(void *arg)
{
    pipeline p = {.bug = *(stream_bug *)arg};
    pipeline_open(&p);
    for (int c = 0; c < CHUNKS; c++) {
        pipeline_chunk(&p, c);
    }
    OK(cudaMemcpyAsync(p.out, p.sum, N * sizeof(float), cudaMemcpyDeviceToHost, p.compute));
    if (p.bug != BUG_READ_EARLY) {
        OK(cudaStreamSynchronize(p.compute));
    }
    const volatile float *result = p.bug == BUG_HOST_TOUCHES ? p.sum : p.out;
    int wrong = 0;
    for (int i = 0; i < N; i++) {
        wrong |= !(result[i] == CHUNKS * (CHUNKS + 1) / 2);
    }
    return wrong;
}

Test(emu_runtime, every_stream_bug_is_caught_by_the_lazy_policy)
{
    for (stream_bug bug = BUG_NONE; bug < STREAM_BUGS; bug++) {
        open_policy(EMU_LAZY, 1);
        child_end end = child_run(run_pipeline, &bug);
        bool right = bug == BUG_NONE || bug == BUG_ONE_STREAM;
        cr_assert(right ? end.exit_code == 0 : end.exit_code != 0, "bug %d: exit code %d, signal %d",
                  (int)bug, end.exit_code, end.signal);
    }
}

Test(emu_runtime, the_pipeline_is_right_under_every_policy_and_seed)
{
    stream_bug none = BUG_NONE;
    open_policy(EMU_EAGER, 1);
    cr_assert_eq(run_pipeline(&none), 0);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        open_policy(EMU_RANDOM, seed);
        cr_assert_eq(run_pipeline(&none), 0, "seed %d", (int)seed);
    }
}

static double forty_us(const char *name, dim3 grid, dim3 block)
{
    (void)name, (void)grid, (void)block;
    return 40e-6;
}

static double pipeline_seconds(stream_bug bug, emu_policy policy)
{
    emu_config c = settings(policy, 3);
    c.kernel_cost = forty_us;
    c.copy_s = 30e-6;
    emu_open(&c);
    cr_assert_eq(run_pipeline(&bug), 0);
    double first = 1.0, last = 0.0;
    for (size_t i = 0; i < emu_span_count(); i++) {
        emu_span s = emu_span_at(i);
        first = s.start_s < first ? s.start_s : first;
        last = s.end_s > last ? s.end_s : last;
    }
    return last - first;
}

Test(emu_runtime, the_clock_shows_overlap_and_does_not_depend_on_the_policy)
{
    double overlapped = pipeline_seconds(BUG_NONE, EMU_LAZY),
           serial = pipeline_seconds(BUG_ONE_STREAM, EMU_LAZY);
    cr_assert_float_eq(overlapped, pipeline_seconds(BUG_NONE, EMU_EAGER), 1e-12);
    cr_assert_float_eq(overlapped, pipeline_seconds(BUG_NONE, EMU_RANDOM), 1e-12);
    /* in one stream every copy and kernel adds up; in two, all copies but the first hide behind kernels */
    cr_assert_gt(serial, CHUNKS * 70e-6);
    cr_assert_lt(overlapped, CHUNKS * 40e-6 + 3 * 40e-6);
}
