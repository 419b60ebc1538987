/* Queues, policies and the clock of the emulated runtime.
 *
 * Everything runs on the calling thread. An asynchronous call puts an operation in its stream's queue with the ones
 * it must wait for; when it is done is the policy's choice, within CUDA's rules. A wait (finish) runs only what
 * CUDA promises to have happened by then, so a program that relies on more reads old data under the lazy policy.
 * The simulated clock is kept apart from that: start and end of an operation follow from stream order, events
 * and engines alone, and are the same under every policy.
 */
#include "emu/runtime.h"

#include "emu/emu_device.h"

#include <algorithm>
#include <string.h>

namespace emu
{
namespace
{
runtime *instance;

bool ready(const op_ref &o)
{
    return std::all_of(o->after.begin(), o->after.end(), [](const op_ref &d) { return d->done; }) &&
           (!o->when || o->when());
}

/* The head of its queue, or a graph's node, whose dependencies are done; by value, since the queue lets go of it. */
void execute(const op_ref o)
{
    runtime &r = rt();
    if (o->stream != nullptr) {
        o->stream->queue.pop_front();
    } else {
        r.nodes.erase(std::find(r.nodes.begin(), r.nodes.end(), o));
    }
    const bool outermost = !r.executing;
    r.executing = true;
    if (outermost) {
        vram_access(true);
    }
    if (o->work) {
        o->work();
    }
    if (outermost) {
        vram_access(false);
        r.executing = false;
    }
    o->done = true;
    o->after.clear();
    o->work = nullptr;
    o->when = nullptr;
}
} // namespace

runtime &rt()
{
    if (instance == nullptr) {
        instance = new runtime;
        instance->random.seed(config().seed);
        instance->vram_used.resize(static_cast<size_t>(config().devices));
    }
    return *instance;
}

cudaError_t fail(cudaError_t e)
{
    if (e != cudaSuccess && e != cudaErrorNotReady) {
        rt().last_error = e;
    }
    return e;
}

cudaError_t enter(const char *function)
{
    call_count &c = rt().counts[function];
    c.calls++;
    return c.fail_at != 0 && --c.fail_at == 0 ? fail(c.error) : cudaSuccess;
}

CUstream_st *stream_of(cudaStream_t s)
{
    return s == nullptr || s == cudaStreamLegacy ? &rt().null_stream : s;
}

bool progress()
{
    std::vector<op_ref> able;
    for (const CUstream_st *s : rt().streams) {
        if (!s->queue.empty() && ready(s->queue.front())) {
            able.push_back(s->queue.front());
        }
    }
    for (const op_ref &o : rt().nodes) {
        if (ready(o)) {
            able.push_back(o);
        }
    }
    if (able.empty()) {
        return false;
    }
    execute(able[rt().random.next() % able.size()]);
    return true;
}

void finish(const op_ref &o)
{
    while (!o->done) {
        if (config().policy == EMU_RANDOM) {
            if (!progress()) {
                fault("deadlock: %s waits for something that never comes", o->name.c_str());
            }
            continue;
        }
        const op_ref head = o->stream != nullptr ? o->stream->queue.front() : o;
        const std::vector<op_ref> after = head->after;
        for (const op_ref &d : after) {
            finish(d);
        }
        if (!head->done) {
            if (head->when && !head->when()) {
                fault("deadlock: the host waits for %s, which waits for the host", head->name.c_str());
            }
            execute(head);
        }
    }
    rt().host_time = std::max(rt().host_time, o->end);
}

void finish_all()
{
    const std::vector<CUstream_st *> streams = rt().streams;
    for (CUstream_st *s : streams) {
        if (s->last) {
            finish(s->last);
        }
    }
}

void some_progress()
{
    if (rt().executing) {
        return;
    }
    if (config().policy == EMU_EAGER) {
        while (progress()) {
        }
    } else if (config().policy == EMU_RANDOM) {
        for (uint32_t n = rt().random.next() % 4; n != 0 && progress(); n--) {
        }
    }
}

cudaError_t may_wait()
{
    if (rt().capturing != nullptr) {
        rt().capturing->invalid = true;
        return fail(cudaErrorStreamCaptureUnsupported);
    }
    return cudaSuccess;
}

/* Start and end on the simulated clock. */
static void set_times(op &o, const CUstream_st &s, double cost)
{
    runtime &r = rt();
    r.host_time += config().launch_s;
    double start = std::max(r.host_time, s.last ? s.last->end : 0);
    for (const op_ref &d : o.after) {
        start = std::max(start, d->end);
    }
    if (o.engine != NO_ENGINE) {
        start = std::max(start, r.engine_time[o.engine]);
        r.engine_time[o.engine] = start + cost;
    }
    o.start = start;
    o.end = start + cost;
    if (o.engine != NO_ENGINE) {
        op span;
        span.name = o.name, span.stream = o.stream, span.start = o.start, span.end = o.end;
        r.spans.push_back(span);
    }
}

/* The legacy stream waits for all blocking streams, and they for it. */
std::vector<op_ref> legacy_order(const CUstream_st *s)
{
    const runtime &r = rt();
    std::vector<op_ref> all;
    for (const CUstream_st *other : r.streams) {
        const bool ordered =
            s == &r.null_stream ? !other->nonblocking : other == &r.null_stream && !s->nonblocking;
        if (ordered && other != s && other->last && !other->last->done) {
            all.push_back(other->last);
        }
    }
    return all;
}

cudaError_t submit(cudaStream_t stream, const char *name, engine_kind engine, double cost,
                   std::function<void()> work, const std::vector<op_ref> &after, std::function<bool()> when)
{
    runtime &r = rt();
    CUstream_st *s = stream_of(stream);
    if (s->capture != nullptr) {
        s->capture->nodes.push_back({name, engine, cost, std::move(work), s->capture_after, std::move(when)});
        s->capture_after = {s->capture->nodes.size() - 1};
        return cudaSuccess;
    }
    if (r.capturing != nullptr && s == &r.null_stream) {
        r.capturing->invalid = true;
        return fail(cudaErrorStreamCaptureImplicit);
    }
    const op_ref o = std::make_shared<op>();
    o->name = name, o->engine = engine, o->work = std::move(work), o->stream = s, o->after = after;
    o->when = std::move(when);
    const std::vector<op_ref> legacy = legacy_order(s);
    o->after.insert(o->after.end(), legacy.begin(), legacy.end());
    set_times(*o, *s, cost);
    s->queue.push_back(o);
    s->last = o;
    some_progress();
    return cudaSuccess;
}

void enqueue(const char *name, dim3 grid, dim3 block, size_t dyn, cudaStream_t stream,
             std::function<void()> body)
{
    const uint64_t threads = static_cast<uint64_t>(block.x) * block.y * block.z;
    const uint32_t max_threads = 1024, max_z = 64, max_yz = 65535;
    if (enter("launch") != cudaSuccess) {
        return;
    }
    if (threads == 0 || threads > max_threads || block.z > max_z || grid.x == 0 || grid.y == 0 ||
        grid.z == 0 || grid.y > max_yz || grid.z > max_yz) {
        fail(cudaErrorInvalidConfiguration);
        return;
    }
    if (dyn > config().shared_limit) {
        fail(cudaErrorInvalidValue);
        return;
    }
    if (stream_of(stream)->device != rt().device) {
        fail(cudaErrorInvalidResourceHandle);
        return;
    }
    const double cost =
        config().kernel_cost != nullptr ? config().kernel_cost(name, grid, block) : config().kernel_s;
    submit(stream, name, COMPUTE, cost, [=] { run_grid(name, grid, block, dyn, body); });
}

void wait_value(const char *name, cudaStream_t stream, const volatile uint32_t *flag, uint32_t value)
{
    if (enter("launch") == cudaSuccess) {
        submit(stream, name, NO_ENGINE, 0, nullptr, {}, [=] { return *flag == value; });
    }
}

void poll()
{
    some_progress();
    if (config().policy == EMU_LAZY) {
        progress();
    }
}
} // namespace emu

using namespace emu;

void emu_defaults(emu_config *c)
{
    *c = emu_config{};
    c->order = EMU_ASCENDING;
    c->policy = EMU_LAZY;
    c->seed = 1;
    c->poison = 0xff;
    c->shared_limit = 48 << 10;
    c->devices = 1;
    c->vram = 256 << 20;
    c->sm = 80;
    c->launch_s = 4e-6, c->copy_s = 8e-6, c->kernel_s = 10e-6;
    c->pinned_rate = 12e9, c->pageable_rate = 4e9, c->device_rate = 500e9;
}

void emu_open(const emu_config *c)
{
    if (instance != nullptr) {
        release_memory();
        for (CUstream_st *s : instance->streams) {
            if (s != &instance->null_stream) {
                delete s;
            }
        }
        for (CUevent_st *e : instance->events) {
            delete e;
        }
        for (CUgraph_st *g : instance->graphs) {
            delete g;
        }
        for (CUgraphExec_st *x : instance->execs) {
            delete x;
        }
        delete instance;
        instance = nullptr;
    }
    static_cast<emu_config &>(config()) = *c;
}

void emu_fail_at(const char *function, uint64_t nth, cudaError_t error)
{
    call_count &c = rt().counts[function];
    c.fail_at = nth;
    c.error = error;
}

uint64_t emu_calls(const char *function)
{
    return rt().counts[function].calls;
}

size_t emu_objects(void)
{
    const runtime &r = rt();
    return r.allocations.size() + r.pinned.size() + r.streams.size() - 1 + r.events.size() + r.graphs.size() +
           r.execs.size();
}

double emu_now(void)
{
    return rt().host_time;
}

size_t emu_span_count(void)
{
    return rt().spans.size();
}

emu_span emu_span_at(size_t i)
{
    const op &o = rt().spans[i];
    return {o.name.c_str(), o.stream->id, o.start, o.end};
}
