/* CUDA's device language for a C++ compiler: what kernels/cuda/port.h includes where nvcc is not at work.
 *
 * Types and the host's prototypes come from the toolkit's own headers, which any compiler takes. Warp operations
 * are collectives: each lane leaves a record and waits, and the last one of the mask computes all results, so
 * a wrong mask is seen in one place (engine.cpp). Barriers and shared arrays carry where they stand in the source.
 * Only what the kernels use is here; a kernel that needs more adds it, with its test.
 */
#ifndef MOX_TESTS_EMU_DEVICE_H
#define MOX_TESTS_EMU_DEVICE_H

#include <cuda_runtime_api.h>
#include <vector_functions.h>

#include <functional>
#include <math.h>
#include <stdint.h>
#include <string.h>

#undef __global__
#undef __device__
#undef __host__
#undef __launch_bounds__
#undef __forceinline__
#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))

namespace emu
{
struct thread_ids { /* what a CUDA thread can see of itself */
    uint3 thread, block;
    dim3 block_dim, grid_dim;
    int linear, lane, warp;
};
/* __thread: UndefinedBehaviorSanitizer takes the function that a thread_local is read through for a null reference. */
extern __thread thread_ids *current __attribute__((tls_model("initial-exec")));

/* Runs once, in the last lane to arrive; record[lane] is what each lane brought. */
typedef void collective_fn(void *const *record, uint32_t mask);
void collective(uint32_t mask, collective_fn *fn, void *record, const char *what, const char *file, int line);
void barrier(const char *file, int line);
void *shared_array(const void *key, size_t bytes, size_t align, const char *name);
void *dyn_shared();
void enqueue(const char *name, dim3 grid, dim3 block, size_t dyn_shared, cudaStream_t stream,
             std::function<void()> body);
/* The stream waits until the host has written the flag; poll: the host asks, so work goes on. */
void wait_value(const char *name, cudaStream_t stream, const volatile uint32_t *flag, uint32_t value);
void poll();
int architecture();

struct shuffle_record {
    int distance;
    uint64_t in, out;
};
collective_fn shuffle_xor, shuffle_from, sync_warp, ballot, mma_8_8_16, mma_16_8_16, mma_16_8_32;

template <class T>
static inline T shuffle(collective_fn *fn, uint32_t mask, T v, int distance, const char *what,
                        const char *file, int line)
{
    static_assert(sizeof(T) <= 8, "a shuffle moves up to 8 bytes");
    shuffle_record r = {distance, 0, 0};
    memcpy(&r.in, &v, sizeof v);
    collective(mask, fn, &r, what, file, line);
    memcpy(&v, &r.out, sizeof v);
    return v;
}

struct ballot_record {
    bool predicate;
    uint32_t out;
};

/* One lane's fragments: a and b packed bytes, c int32. */
struct mma_record {
    uint32_t a[4], b[2];
    int32_t c[4];
};

template <class F, class... A>
static inline void launch(const char *name, dim3 grid, dim3 block, size_t dyn, cudaStream_t stream, F f,
                          A... a)
{
    enqueue(name, grid, block, dyn, stream, [=] { f(a...); });
}
} // namespace emu

#define threadIdx (emu::current->thread)
#define blockIdx  (emu::current->block)
#define blockDim  (emu::current->block_dim)
#define gridDim   (emu::current->grid_dim)

#define MOX_LAUNCH(kernel, grid, block, dyn, stream, ...)                                                    \
    emu::launch(                                                                                             \
        #kernel, dim3(grid), dim3(block), (dyn), (stream), [](auto... params) { (kernel)(params...); },      \
        __VA_ARGS__)
#define MOX_WAIT_VALUE(kernel, stream, flag, value) emu::wait_value(#kernel, stream, flag, value)
#define MOX_POLL()                                  emu::poll()
#define MOX_SHARED(type, name, dims)                                                                         \
    typedef type name##_shared dims;                                                                         \
    static const char name##_key = 0;                                                                        \
    name##_shared &name = *static_cast<name##_shared *>(                                                     \
        emu::shared_array(&name##_key, sizeof(name##_shared), alignof(type), #name))
#define MOX_DYN_SHARED(type, name) type *name = static_cast<type *>(emu::dyn_shared())
#define MOX_SYNC()                 emu::barrier(__FILE__, __LINE__)
#define MOX_UNROLL

#define EMU_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()
static inline void __syncwarp(uint32_t mask = 0xffffffffU, EMU_SITE)
{
    emu::collective(mask, emu::sync_warp, nullptr, "__syncwarp", file, line);
}
template <class T> static inline T __shfl_xor_sync(uint32_t mask, T v, int distance, EMU_SITE)
{
    return emu::shuffle(emu::shuffle_xor, mask, v, distance, "__shfl_xor_sync", file, line);
}
template <class T> static inline T __shfl_sync(uint32_t mask, T v, int source, EMU_SITE)
{
    return emu::shuffle(emu::shuffle_from, mask, v, source, "__shfl_sync", file, line);
}
static inline uint32_t __ballot_sync(uint32_t mask, bool predicate, EMU_SITE)
{
    emu::ballot_record r = {predicate, 0};
    emu::collective(mask, emu::ballot, &r, "__ballot_sync", file, line);
    return r.out;
}

static inline uint32_t atomicMin(uint32_t *p, uint32_t v)
{
    uint32_t seen = __atomic_load_n(p, __ATOMIC_RELAXED);
    while (v < seen && !__atomic_compare_exchange_n(p, &seen, v, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    return seen;
}

/* The read-only path wants natural alignment, as every device load does. */
namespace emu
{
void check_aligned(const void *p, size_t align, const char *what);
}
template <class T> static inline T __ldg(const T *p)
{
    emu::check_aligned(p, alignof(T) > sizeof(T) ? sizeof(T) : alignof(T), "__ldg");
    return *p;
}

static inline int __dp4a(int a, int b, int c)
{
    for (int i = 0; i < 4; i++) {
        c += static_cast<int8_t>(a >> 8 * i) * static_cast<int8_t>(b >> 8 * i);
    }
    return c;
}

static inline uint32_t __byte_perm(uint32_t x, uint32_t y, uint32_t selector)
{
    const uint64_t both = static_cast<uint64_t>(y) << 32 | x;
    uint32_t out = 0;
    for (int i = 0; i < 4; i++) {
        const uint32_t s = selector >> 4 * i & 15U, byte = both >> 8 * (s & 7U) & 255U;
        out |= (s & 8U ? (byte & 128U ? 255U : 0U) : byte) << 8 * i;
    }
    return out;
}

#endif
