/* Devices, errors, streams, events and graphs of the emulated runtime: the calls themselves (runtime.cpp has what is
 * behind them). A graph is captured as CUDA does it; launched, its nodes run in any order that respects their edges. */
#include "emu/runtime.h"

#include <algorithm>
#include <stdio.h>
#include <string.h>

using namespace emu;

/* Takes an object out of those that exist. */
template <class T> static cudaError_t forget(std::vector<T *> &all, const T *x)
{
    const auto i = std::find(all.begin(), all.end(), x);
    if (i == all.end()) {
        return fail(cudaErrorInvalidResourceHandle);
    }
    all.erase(i);
    return cudaSuccess;
}

extern "C" cudaError_t cudaGetDeviceCount(int *n)
{
    EMU_ENTER();
    *n = config().devices;
    return cudaSuccess;
}

extern "C" cudaError_t cudaSetDevice(int device)
{
    EMU_ENTER();
    if (device < 0 || device >= config().devices) {
        return fail(cudaErrorInvalidDevice);
    }
    rt().device = device;
    return cudaSuccess;
}

extern "C" cudaError_t cudaGetDevice(int *device)
{
    *device = rt().device;
    return cudaSuccess;
}

extern "C" cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device)
{
    EMU_ENTER();
    if (device < 0 || device >= config().devices) {
        return fail(cudaErrorInvalidDevice);
    }
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "emulated sm_%d", config().sm);
    p->major = config().sm / 10, p->minor = config().sm % 10;
    p->totalGlobalMem = config().vram;
    p->sharedMemPerBlock = config().shared_limit;
    p->warpSize = 32, p->maxThreadsPerBlock = 1024, p->multiProcessorCount = 16, p->asyncEngineCount = 2;
    p->unifiedAddressing = 1, p->canMapHostMemory = 1;
    p->uuid.bytes[0] = static_cast<char>(0xe0 + device), p->uuid.bytes[15] = static_cast<char>(device);
    return cudaSuccess;
}

extern "C" cudaError_t cudaGetLastError(void)
{
    const cudaError_t e = rt().last_error;
    rt().last_error = cudaSuccess;
    return e;
}

extern "C" cudaError_t cudaPeekAtLastError(void)
{
    return rt().last_error;
}

extern "C" const char *cudaGetErrorString(cudaError_t e)
{
    static thread_local char text[48];
    snprintf(text, sizeof text, e == cudaErrorMemoryAllocation ? "out of memory" : "CUDA error %d",
             static_cast<int>(e));
    return text;
}

extern "C" cudaError_t cudaDeviceSynchronize(void)
{
    EMU_ENTER();
    EMU_TRY(may_wait());
    finish_all();
    return cudaSuccess;
}

/* ---- streams ---- */

extern "C" cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags)
{
    EMU_ENTER();
    *s = new CUstream_st;
    (*s)->nonblocking = (flags & cudaStreamNonBlocking) != 0;
    (*s)->id = ++rt().streams_made;
    (*s)->device = rt().device;
    rt().streams.push_back(*s);
    return cudaSuccess;
}

extern "C" cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    EMU_ENTER();
    std::vector<CUstream_st *> &all = rt().streams;
    const auto i = std::find(all.begin(), all.end(), s);
    if (s == nullptr || i == all.end()) {
        return fail(cudaErrorInvalidResourceHandle);
    }
    if (s->last) {
        finish(s->last);
    }
    for (op &span : rt().spans) {
        if (span.stream == s) {
            span.stream = &rt().null_stream;
        }
    }
    all.erase(i);
    delete s;
    return cudaSuccess;
}

extern "C" cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    EMU_ENTER();
    EMU_TRY(may_wait());
    if (stream_of(s)->last) {
        finish(stream_of(s)->last);
    }
    return cudaSuccess;
}

extern "C" cudaError_t cudaStreamQuery(cudaStream_t s)
{
    EMU_ENTER();
    poll(); /* asking drives the queues on: a program that polls must see an end */
    return stream_of(s)->queue.empty() ? cudaSuccess : cudaErrorNotReady;
}

/* ---- events ---- */

extern "C" cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags)
{
    EMU_ENTER();
    *e = new CUevent_st;
    (*e)->flags = flags;
    rt().events.push_back(*e);
    return cudaSuccess;
}

extern "C" cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    EMU_ENTER();
    EMU_TRY(forget(rt().events, e));
    delete e;
    return cudaSuccess;
}

extern "C" cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t stream)
{
    EMU_ENTER();
    CUstream_st *s = stream_of(stream);
    e->capture = s->capture;
    if (s->capture != nullptr) {
        e->capture_after = s->capture_after;
        return cudaSuccess;
    }
    EMU_TRY(submit(stream, "event", NO_ENGINE, 0, nullptr));
    e->op = s->last;
    return cudaSuccess;
}

extern "C" cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t e, unsigned flags)
{
    (void)flags;
    EMU_ENTER();
    CUstream_st *s = stream_of(stream);
    if (e->capture != nullptr) { /* an edge; a stream that was not being captured joins */
        if (s->capture == nullptr) {
            s->capture = e->capture;
            s->capture_after.clear();
        }
        for (const size_t node : e->capture_after) {
            if (std::find(s->capture_after.begin(), s->capture_after.end(), node) == s->capture_after.end()) {
                s->capture_after.push_back(node);
            }
        }
        return cudaSuccess;
    }
    /* an event that was never recorded holds nobody up */
    return e->op ? submit(stream, "wait", NO_ENGINE, 0, nullptr, {e->op}) : cudaSuccess;
}

extern "C" cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    EMU_ENTER();
    EMU_TRY(may_wait());
    if (e->op) {
        finish(e->op);
    }
    return cudaSuccess;
}

extern "C" cudaError_t cudaEventQuery(cudaEvent_t e)
{
    EMU_ENTER();
    poll();
    return !e->op || e->op->done ? cudaSuccess : cudaErrorNotReady;
}

extern "C" cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t a, cudaEvent_t b)
{
    EMU_ENTER();
    if (!a->op || !b->op || ((a->flags | b->flags) & cudaEventDisableTiming) != 0) {
        return fail(cudaErrorInvalidResourceHandle);
    }
    if (!a->op->done || !b->op->done) {
        return cudaErrorNotReady;
    }
    *ms = static_cast<float>((b->op->end - a->op->end) * 1e3);
    return cudaSuccess;
}

/* ---- graphs ---- */

extern "C" cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode)
{
    (void)mode;
    EMU_ENTER();
    if (s == nullptr || s == cudaStreamLegacy) {
        return fail(cudaErrorStreamCaptureUnsupported);
    }
    if (s->capture != nullptr) {
        return fail(cudaErrorIllegalState);
    }
    s->capture = rt().capturing = new CUgraph_st;
    s->capture_origin = true;
    s->capture_after.clear();
    return cudaSuccess;
}

/* Every node must lead to the end of the stream in which the capture began. */
static bool joined(const CUgraph_st &g, const std::vector<size_t> &ends)
{
    std::vector<char> seen(g.nodes.size());
    std::vector<size_t> todo = ends;
    while (!todo.empty()) {
        const size_t node = todo.back();
        todo.pop_back();
        if (!seen[node]) {
            seen[node] = 1;
            todo.insert(todo.end(), g.nodes[node].after.begin(), g.nodes[node].after.end());
        }
    }
    return std::find(seen.begin(), seen.end(), 0) == seen.end();
}

extern "C" cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *out)
{
    EMU_ENTER();
    if (s->capture == nullptr || !s->capture_origin) {
        return fail(cudaErrorIllegalState);
    }
    CUgraph_st *g = s->capture;
    const cudaError_t e = g->invalid                      ? cudaErrorStreamCaptureInvalidated
                          : !joined(*g, s->capture_after) ? cudaErrorStreamCaptureUnjoined
                                                          : cudaSuccess;
    for (CUstream_st *x : rt().streams) {
        if (x->capture == g) {
            x->capture = nullptr;
            x->capture_origin = false;
            x->capture_after.clear();
        }
    }
    rt().capturing = nullptr;
    *out = e == cudaSuccess ? g : nullptr;
    if (e != cudaSuccess) {
        delete g;
    } else {
        rt().graphs.push_back(g);
    }
    return fail(e);
}

extern "C" cudaError_t cudaGraphInstantiate(cudaGraphExec_t *x, cudaGraph_t g, unsigned long long flags)
{
    (void)flags;
    EMU_ENTER();
    *x = new CUgraphExec_st{*g, nullptr};
    rt().execs.push_back(*x);
    return cudaSuccess;
}

extern "C" cudaError_t cudaGraphUpload(cudaGraphExec_t x, cudaStream_t s)
{
    (void)x, (void)s;
    EMU_ENTER();
    return cudaSuccess;
}

/* How long the nodes take: engines in parallel, edges respected. */
static double graph_cost(const CUgraph_st &g)
{
    double engine[ENGINES] = {}, longest = 0;
    std::vector<double> end;
    for (const graph_node &n : g.nodes) {
        double t = n.engine != NO_ENGINE ? engine[n.engine] : 0;
        for (const size_t d : n.after) {
            t = std::max(t, end[d]);
        }
        end.push_back(t + n.cost);
        engine[n.engine] = end.back();
        longest = std::max(longest, end.back());
    }
    return longest;
}

/* A graph launched into a stream that is being captured becomes part of that graph. */
static void launch_into_capture(const CUgraph_st &g, CUstream_st *s)
{
    std::vector<graph_node> &nodes = s->capture->nodes;
    const size_t first = nodes.size();
    std::vector<char> leads_on(g.nodes.size());
    for (const graph_node &n : g.nodes) {
        graph_node copy = n;
        copy.after = n.after.empty() ? s->capture_after : std::vector<size_t>();
        for (const size_t d : n.after) {
            copy.after.push_back(first + d);
            leads_on[d] = 1;
        }
        nodes.push_back(copy);
    }
    if (!g.nodes.empty()) {
        s->capture_after.clear();
    }
    for (size_t i = 0; i < leads_on.size(); i++) {
        if (!leads_on[i]) {
            s->capture_after.push_back(first + i);
        }
    }
}

/* Every node is an operation of its own, held up by its edges alone, so that one that waits for the host holds up nothing
 * else; the stream goes on when all are done. The clock sees one operation. */
static cudaError_t launch_nodes(CUgraphExec_st *x, CUstream_st *s)
{
    std::vector<op_ref> before = legacy_order(s), made;
    for (const op_ref &o : {s->last, x->last}) {
        if (o && !o->done) {
            before.push_back(o);
        }
    }
    for (const graph_node &n : x->graph.nodes) {
        const op_ref o = std::make_shared<op>();
        o->name = n.name, o->work = n.work, o->when = n.when;
        o->after = n.after.empty() ? before : std::vector<op_ref>();
        for (const size_t d : n.after) {
            o->after.push_back(made[d]);
        }
        made.push_back(o);
    }
    rt().nodes.insert(rt().nodes.end(), made.begin(), made.end());
    EMU_TRY(submit(s, "graph", COMPUTE, graph_cost(x->graph), nullptr, made));
    x->last = s->last;
    return cudaSuccess;
}

extern "C" cudaError_t cudaGraphLaunch(cudaGraphExec_t x, cudaStream_t stream)
{
    EMU_ENTER();
    CUstream_st *s = stream_of(stream);
    if (s->capture != nullptr) {
        launch_into_capture(x->graph, s);
        return cudaSuccess;
    }
    return launch_nodes(x, s);
}

extern "C" cudaError_t cudaGraphExecDestroy(cudaGraphExec_t x)
{
    EMU_ENTER();
    EMU_TRY(may_wait());
    finish_all();
    EMU_TRY(forget(rt().execs, x));
    delete x;
    return cudaSuccess;
}

extern "C" cudaError_t cudaGraphDestroy(cudaGraph_t g)
{
    EMU_ENTER();
    EMU_TRY(forget(rt().graphs, g));
    delete g;
    return cudaSuccess;
}
