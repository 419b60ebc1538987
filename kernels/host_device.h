/* Marks small functions that CUDA kernels use too: nvcc must be told, every other compiler need not. */
#ifndef MOX_KERNELS_HOST_DEVICE_H
#define MOX_KERNELS_HOST_DEVICE_H

#ifdef __CUDACC__
#define MOX_HOST_DEVICE __host__ __device__
#else
#define MOX_HOST_DEVICE
#endif

#endif
