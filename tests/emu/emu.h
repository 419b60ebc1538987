/* The emulated GPU as tests see it: settings, faults to inject, what has happened.
 *
 * The emulator runs CUDA sources and host code without a GPU. engine.cpp runs kernels: one fiber per CUDA
 * thread, blocks one after the other, warps in lockstep where they synchronise. runtime*.cpp stands in for
 * libcudart: calls are queued and done later, in an order that a policy and a seed decide, so that missing
 * synchronisation shows and can be repeated. Both stop the process with a message (SIGABRT) where a program does
 * what CUDA leaves undefined; what CUDA reports as an error is returned as that error.
 *
 * Plain C, so that tests need no C++. One thread at a time may use the emulator.
 */
#ifndef MOX_TESTS_EMU_EMU_H
#define MOX_TESTS_EMU_EMU_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* In which order ready lanes, warps and blocks run. */
typedef enum emu_order { EMU_ASCENDING, EMU_DESCENDING, EMU_SHUFFLED, EMU_ORDERS } emu_order;

/* When queued work is done. Eager: at once (an idle GPU). Lazy: when something waits for it, and then nothing
 * else. Random: some of it at every call. */
typedef enum emu_policy { EMU_EAGER, EMU_LAZY, EMU_RANDOM, EMU_POLICIES } emu_policy;

typedef struct emu_config {
    emu_order order;
    emu_policy policy;
    uint64_t seed;         /* of shuffled lanes and of the random policy */
    int poison;            /* byte that fresh shared and device memory holds */
    size_t shared_limit;   /* static and dynamic shared memory of a block */
    int devices;           /* so many GPUs, all alike */
    size_t vram;           /* bytes of memory of each; gaps between allocations are not counted */
    int sm;                /* compute capability, 75 for 7.5; below 80 mma runs in its small shape */
    const char *skip_file; /* a barrier to leave out: end of its file's name, and line; NULL: none */
    int skip_line;
    /* The simulated clock: seconds and bytes per second. */
    double launch_s, copy_s, pinned_rate, pageable_rate, device_rate, kernel_s;
    double (*kernel_cost)(const char *name, dim3 grid, dim3 block); /* NULL: kernel_s each */
} emu_config;

/* emu_defaults: ascending, lazy, poison 0xff, 48 KiB, one device of 256 MiB, sm 80. */
void emu_defaults(emu_config *c);

/* emu_open: forget everything (memory, streams, errors, counts) and start again with these settings. */
void emu_open(const emu_config *c);

/* emu_fail_at: the nth call from now (1 is the next) of a runtime function returns `error` and does nothing. The
 * name is the function's ("cudaMalloc"), or "launch". nth 0 takes it back. */
void emu_fail_at(const char *function, uint64_t nth, cudaError_t error);
uint64_t emu_calls(const char *function); /* since emu_open */

size_t emu_vram_used(void); /* of all devices, as it was asked for */
size_t emu_vram_peak(void);
size_t emu_objects(void); /* allocations, pinned ranges, streams, events and graphs that exist */
double emu_now(void);     /* the host's simulated clock, s */

/* What was queued, with its simulated start and end. */
typedef struct emu_span {
    const char *name;
    int stream;
    double start_s, end_s;
} emu_span;
size_t emu_span_count(void);
emu_span emu_span_at(size_t i);

#ifdef __cplusplus
}
#endif

#endif
