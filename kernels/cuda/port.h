/* The one header that kernel files take CUDA from, and all that differs between the two compilers.
 *
 * nvcc makes GPU code of a .cu file; the tests compile the same file as C++ against the emulator (tests/emu), which
 * supplies emu_device.h. So kernels are written with these macros: launches, shared arrays and barriers carry what
 * the emulator checks. Everything else is plain CUDA.
 */
#ifndef MOX_KERNELS_CUDA_PORT_H
#define MOX_KERNELS_CUDA_PORT_H

#include <stdint.h>

#ifdef __CUDACC__
#include <cuda_runtime.h>

/* MOX_LAUNCH(kernel or (template<kernel>), grid, block, bytes of dynamic shared memory, stream, arguments...) */
#define MOX_LAUNCH(kernel, grid, block, dyn, stream, ...)                                                    \
    kernel<<<(grid), (block), (dyn), (stream)>>>(__VA_ARGS__)
/* MOX_SHARED(float, tile, [32][33]) */
#define MOX_SHARED(type, name, dims) __shared__ type name dims
#define MOX_DYN_SHARED(type, name)                                                                           \
    extern __shared__ __align__(16) unsigned char mox_dyn_shared[];                                          \
    type *name = reinterpret_cast<type *>(mox_dyn_shared)
/* One per line: the line is how tests name it, to leave it out. */
#define MOX_SYNC() __syncthreads()
#define MOX_UNROLL _Pragma("unroll")
/* A stream that waits for the host's word: a kernel that looks until it is there; the emulator holds the queue. */
#define MOX_WAIT_VALUE(kernel, stream, flag, value) kernel<<<1, 1, 0, (stream)>>>(flag, value)
/* The host is about to read a flag: the emulator does some of the work that is queued. */
#define MOX_POLL() ((void)0)
#else
#include <emu_device.h>
#endif

constexpr uint32_t MOX_WARP = 32;
#define MOX_ALL_LANES 0xffffffffU

#endif
