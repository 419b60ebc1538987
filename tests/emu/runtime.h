/* The emulated runtime's insides: streams as queues of operations, one clock, one device. */
#ifndef MOX_TESTS_EMU_RUNTIME_H
#define MOX_TESTS_EMU_RUNTIME_H

#include "emu/internal.h"

#include <cuda_runtime_api.h>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace emu
{
/* What an operation occupies; two of one engine never overlap on the clock. */
enum engine_kind { NO_ENGINE, TO_DEVICE, TO_HOST, COMPUTE, ENGINES };

struct op {
    std::string name;
    engine_kind engine = NO_ENGINE;
    double start = 0, end = 0;
    std::function<void()> work;
    std::vector<std::shared_ptr<op>> after; /* beside what precedes it in its stream */
    std::function<bool()> when;             /* not before this is true; empty: at once */
    CUstream_st *stream = nullptr;          /* NULL: a graph's node, in no queue */
    bool done = false;
};
typedef std::shared_ptr<op> op_ref;

struct graph_node {
    std::string name;
    engine_kind engine;
    double cost;
    std::function<void()> work;
    std::vector<size_t> after;
    std::function<bool()> when;
};
} // namespace emu

struct CUgraph_st {
    std::vector<emu::graph_node> nodes;
    bool invalid = false;
};

struct CUgraphExec_st {
    CUgraph_st graph;
    emu::op_ref last; /* the end of its last launch: the next one begins after it */
};

struct CUstream_st {
    int id = 0, device = 0;
    bool nonblocking = false;
    std::deque<emu::op_ref> queue;
    emu::op_ref last;
    CUgraph_st *capture = nullptr; /* into which graph, if any */
    bool capture_origin = false;
    std::vector<size_t> capture_after;
};

struct CUevent_st {
    unsigned flags = 0;
    emu::op_ref op; /* NULL: never recorded */
    CUgraph_st *capture = nullptr;
    std::vector<size_t> capture_after;
};

namespace emu
{
struct call_count {
    uint64_t calls = 0, fail_at = 0;
    cudaError_t error = cudaSuccess;
};

struct runtime {
    cudaError_t last_error = cudaSuccess;
    std::map<std::string, call_count> counts;
    /* queues */
    CUstream_st null_stream;
    std::vector<CUstream_st *> streams{&null_stream};
    std::vector<op_ref> nodes; /* of graphs that have been launched, and not done yet */
    int streams_made = 0, device = 0;
    std::vector<CUevent_st *> events;
    std::vector<CUgraph_st *> graphs;
    std::vector<CUgraphExec_st *> execs;
    CUgraph_st *capturing = nullptr;
    bool executing = false;
    random_bits random{};
    /* clock */
    double host_time = 0, engine_time[ENGINES] = {};
    std::deque<op> spans;
    /* memory */
    char *vram = nullptr;
    size_t vram_bytes = 0, device_bytes = 0; /* address space: of all, of each */
    std::vector<size_t> vram_used;
    size_t vram_peak = 0;
    std::map<size_t, size_t> allocations; /* offset, bytes */
    std::map<uintptr_t, size_t> pinned;
    std::map<uintptr_t, size_t> pinned_own; /* of cudaHostAlloc */
};
runtime &rt();

cudaError_t fail(cudaError_t e); /* remembers it for cudaGetLastError */
/* cudaSuccess, or what a test has planted for this call. */
cudaError_t enter(const char *function);

cudaError_t submit(cudaStream_t stream, const char *name, engine_kind engine, double cost,
                   std::function<void()> work, const std::vector<op_ref> &after = {},
                   std::function<bool()> when = nullptr);
CUstream_st *stream_of(cudaStream_t s);
/* What CUDA lets the next operation of a stream wait for beside its own: the legacy stream and the others. */
std::vector<op_ref> legacy_order(const CUstream_st *s);
void finish(const op_ref &o); /* run what it waits for, then it; the host's clock moves to its end */
void finish_all();
bool progress();        /* runs one ready operation, if there is one */
void some_progress();   /* what the policy does at every call */
void poll();            /* what a question does: work goes on under every policy */
cudaError_t may_wait(); /* waiting while a stream is captured spoils the capture */

bool in_vram(const void *p);
bool range_allocated(const void *p, size_t bytes); /* true for host memory */
bool is_pinned(const void *p);
void vram_access(bool allowed); /* a protected page in between faults */
void release_memory();
} // namespace emu

#define EMU_TRY(call)                                                                                        \
    do {                                                                                                     \
        const cudaError_t emu_error = (call);                                                                \
        if (emu_error != cudaSuccess) {                                                                      \
            return emu_error;                                                                                \
        }                                                                                                    \
    } while (0)
/* At the head of every call that can be made to fail. */
#define EMU_ENTER() EMU_TRY(emu::enter(__func__))

#endif
