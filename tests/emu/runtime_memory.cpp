/* Memory of the emulated runtime: device memory is one mapping that the host may touch only from queued work (a
 * stray access faults), with a gap behind every allocation; host memory is pinned or it is not, which decides when
 * an asynchronous copy reads and writes it. */
#include "emu/runtime.h"

#include <algorithm>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

namespace emu
{
namespace
{
/* Allocations stand in address space of their own, so that gaps between them take nothing from the memory there is. */
enum { ALIGN = 256, GAP = 256, FREED = 0xdd, HUGE_PAGE = 2 << 20, MORE_SPACE = 64 << 20 };

size_t with_gap(size_t bytes)
{
    return (bytes + GAP + ALIGN - 1) / ALIGN * ALIGN;
}

void map_vram()
{
    runtime &r = rt();
    r.device_bytes = (2 * config().vram + MORE_SPACE) / HUGE_PAGE * HUGE_PAGE;
    r.vram_bytes = static_cast<size_t>(config().devices) * r.device_bytes;
    void *p = mmap(nullptr, r.vram_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        fault("no address space for %zu bytes of device memory", r.vram_bytes);
    }
    r.vram = static_cast<char *>(p);
    madvise(p, r.vram_bytes, MADV_HUGEPAGE); /* protecting it takes a look at every page */
    EMU_HIDE(r.vram, r.vram_bytes);
}

/* Set device memory from the host's side. */
void fill(void *p, int byte, size_t bytes)
{
    const bool outermost = !rt().executing;
    if (outermost) {
        vram_access(true);
    }
    memset(p, byte, bytes);
    if (outermost) {
        vram_access(false);
    }
}

bool inside(const std::map<uintptr_t, size_t> &ranges, const void *p)
{
    const uintptr_t at = reinterpret_cast<uintptr_t>(p);
    auto i = ranges.upper_bound(at);
    return i != ranges.begin() && (--i, at < i->first + i->second);
}

cudaMemcpyKind kind_of(const void *dst, const void *src)
{
    if (in_vram(dst)) {
        return in_vram(src) ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice;
    }
    return in_vram(src) ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost;
}

cudaError_t copy(void *dst, const void *src, size_t n, cudaMemcpyKind kind, cudaStream_t stream, bool async)
{
    if (n == 0) {
        return cudaSuccess;
    }
    const cudaMemcpyKind real = kind_of(dst, src);
    if ((kind != cudaMemcpyDefault && kind != real) || !range_allocated(dst, n) || !range_allocated(src, n)) {
        return fail(cudaErrorInvalidValue);
    }
    const engine_kind engine = real == cudaMemcpyHostToDevice   ? TO_DEVICE
                               : real == cudaMemcpyDeviceToHost ? TO_HOST
                                                                : COMPUTE;
    const bool pinned = is_pinned(engine == TO_DEVICE ? src : dst);
    const emu_config &c = config();
    const double rate = engine == COMPUTE ? c.device_rate : pinned ? c.pinned_rate : c.pageable_rate;
    const double cost = c.copy_s + static_cast<double>(n) / rate;
    const char *name = engine == TO_DEVICE ? "copy to device"
                       : engine == TO_HOST ? "copy to host"
                                           : "copy on device";
    if (engine == TO_DEVICE && !pinned && async) { /* staged before the call returns */
        const char *from = static_cast<const char *>(src);
        auto staged = std::make_shared<std::vector<char>>(from, from + n);
        return submit(stream, name, engine, cost, [=] { memcpy(dst, staged->data(), n); });
    }
    EMU_TRY(submit(stream, name, engine, cost, [=] { memcpy(dst, src, n); }));
    CUstream_st *s = stream_of(stream);
    if ((!async || (engine == TO_HOST && !pinned)) && s->capture == nullptr) {
        finish(s->last); /* a pageable destination is written before the call returns */
    }
    return cudaSuccess;
}
} // namespace

void vram_access(bool allowed)
{
    if (rt().vram != nullptr) {
        mprotect(rt().vram, rt().vram_bytes, allowed ? PROT_READ | PROT_WRITE : PROT_NONE);
    }
}

bool in_vram(const void *p)
{
    const runtime &r = rt();
    const char *c = static_cast<const char *>(p);
    return r.vram != nullptr && c >= r.vram && c < r.vram + r.vram_bytes;
}

bool range_allocated(const void *p, size_t bytes)
{
    if (!in_vram(p)) {
        return true;
    }
    const runtime &r = rt();
    const size_t at = static_cast<size_t>(static_cast<const char *>(p) - r.vram);
    auto i = r.allocations.upper_bound(at);
    return i != r.allocations.begin() && (--i, at + bytes <= i->first + i->second);
}

bool is_pinned(const void *p)
{
    return inside(rt().pinned, p);
}

void release_memory()
{
    runtime &r = rt();
    if (r.vram != nullptr) {
        EMU_SHOW(r.vram, r.vram_bytes);
        munmap(r.vram, r.vram_bytes);
    }
    for (const auto &p : r.pinned_own) {
        free(reinterpret_cast<void *>(p.first));
    }
}
} // namespace emu

using namespace emu;

size_t emu_vram_used(void)
{
    size_t sum = 0;
    for (const size_t used : rt().vram_used) {
        sum += used;
    }
    return sum;
}

size_t emu_vram_peak(void)
{
    return rt().vram_peak;
}

extern "C" cudaError_t cudaMalloc(void **p, size_t n)
{
    EMU_ENTER();
    EMU_TRY(may_wait());
    runtime &r = rt();
    if (r.vram == nullptr) {
        map_vram();
    }
    const size_t need = with_gap(n), first = static_cast<size_t>(r.device) * r.device_bytes;
    size_t &used = r.vram_used[static_cast<size_t>(r.device)], at = first;
    for (auto a = r.allocations.lower_bound(first);
         a != r.allocations.end() && a->first < first + r.device_bytes && a->first - at < need; a++) {
        at = a->first + with_gap(a->second);
    }
    if (n == 0 || n > config().vram - used || at + need > first + r.device_bytes) {
        *p = nullptr;
        return n == 0 ? cudaSuccess : fail(cudaErrorMemoryAllocation);
    }
    r.allocations[at] = n;
    used += n;
    r.vram_peak = std::max(r.vram_peak, emu_vram_used());
    *p = r.vram + at;
    EMU_SHOW(*p, n);
    fill(*p, config().poison, n);
    some_progress();
    return cudaSuccess;
}

extern "C" cudaError_t cudaFree(void *p)
{
    if (p == nullptr) {
        return cudaSuccess;
    }
    EMU_ENTER();
    EMU_TRY(may_wait());
    finish_all(); /* as the real one does */
    runtime &r = rt();
    const auto i = in_vram(p) ? r.allocations.find(static_cast<size_t>(static_cast<char *>(p) - r.vram))
                              : r.allocations.end();
    if (i == r.allocations.end()) {
        return fail(cudaErrorInvalidValue);
    }
    fill(p, FREED, i->second);
    EMU_HIDE(p, i->second);
    r.vram_used[i->first / r.device_bytes] -= i->second;
    r.allocations.erase(i);
    return cudaSuccess;
}

extern "C" cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    EMU_ENTER();
    *total = config().vram;
    *free_bytes = config().vram - rt().vram_used[static_cast<size_t>(rt().device)];
    return cudaSuccess;
}

extern "C" cudaError_t cudaHostAlloc(void **p, size_t n, unsigned flags)
{
    (void)flags;
    EMU_ENTER();
    *p = aligned_alloc(ALIGN, (n + ALIGN - 1) / ALIGN * ALIGN);
    if (*p == nullptr) {
        return fail(cudaErrorMemoryAllocation);
    }
    memset(*p, config().poison, n);
    rt().pinned[reinterpret_cast<uintptr_t>(*p)] = n;
    rt().pinned_own[reinterpret_cast<uintptr_t>(*p)] = n;
    return cudaSuccess;
}

extern "C" cudaError_t cudaFreeHost(void *p)
{
    EMU_ENTER();
    EMU_TRY(may_wait());
    finish_all();
    if (p != nullptr && rt().pinned_own.erase(reinterpret_cast<uintptr_t>(p)) == 0) {
        return fail(cudaErrorInvalidValue);
    }
    rt().pinned.erase(reinterpret_cast<uintptr_t>(p));
    free(p);
    return cudaSuccess;
}

extern "C" cudaError_t cudaHostRegister(void *p, size_t n, unsigned flags)
{
    (void)flags;
    EMU_ENTER();
    if (is_pinned(p)) {
        return fail(cudaErrorHostMemoryAlreadyRegistered);
    }
    rt().pinned[reinterpret_cast<uintptr_t>(p)] = n;
    return cudaSuccess;
}

extern "C" cudaError_t cudaHostUnregister(void *p)
{
    EMU_ENTER();
    return rt().pinned.erase(reinterpret_cast<uintptr_t>(p)) != 0 ? cudaSuccess
                                                                  : fail(cudaErrorHostMemoryNotRegistered);
}

extern "C" cudaError_t cudaHostGetDevicePointer(void **device, void *host, unsigned flags)
{
    (void)flags;
    EMU_ENTER();
    *device = host;
    return is_pinned(host) ? cudaSuccess : fail(cudaErrorInvalidValue);
}

extern "C" cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t n, cudaMemcpyKind kind,
                                       cudaStream_t s)
{
    EMU_ENTER();
    return copy(dst, src, n, kind, s, true);
}

extern "C" cudaError_t cudaMemcpy(void *dst, const void *src, size_t n, cudaMemcpyKind kind)
{
    EMU_ENTER();
    EMU_TRY(may_wait());
    return copy(dst, src, n, kind, nullptr, false);
}

extern "C" cudaError_t cudaMemsetAsync(void *p, int byte, size_t n, cudaStream_t s)
{
    EMU_ENTER();
    if (!in_vram(p) || !range_allocated(p, n)) {
        return fail(cudaErrorInvalidValue);
    }
    const double cost = static_cast<double>(n) / config().device_rate;
    return submit(s, "memset", COMPUTE, cost, [=] { memset(p, byte, n); });
}
