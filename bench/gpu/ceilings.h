/* The kernels of ceilings.cu, as ceilings.c calls them. */
#ifndef MOX_BENCH_GPU_CEILINGS_H
#define MOX_BENCH_GPU_CEILINGS_H

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Reads `bytes` (a multiple of 64 KiB) once; sums go to out [blocks * 256]. */
cudaError_t ceilings_read(const void *p, size_t bytes, unsigned blocks, uint32_t *out, cudaStream_t stream);
/* `rounds` dp4a in each of 8 chains of every thread: 64 operations a round and thread. */
cudaError_t ceilings_dp4a(unsigned rounds, unsigned blocks, uint32_t *out, cudaStream_t stream);
/* Does nothing: what a launch costs. */
cudaError_t ceilings_empty(cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
