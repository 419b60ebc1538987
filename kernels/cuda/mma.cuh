/* The tensor core's products of int8 with int32 sums, behind functions: all inline PTX of the project is here.
 *
 * c (16 x 8) += a (16 x 16 or 16 x 32) * b (the same x 8), one warp. Lane 4 g + t holds of a the rows g and g + 8 and
 * of b the column g, four bytes each: columns 4 t .. 4 t + 3 of every 16; of c the rows g (c[0], c[1]) and g + 8 (c[2],
 * c[3]), columns 2 t and 2 t + 1. sm_75 has the shape 8 x 8 x 16 alone, whose fragments are quarters of these, so the
 * large product is made of small ones; integers make that exact.
 */
#ifndef MOX_KERNELS_CUDA_MMA_CUH
#define MOX_KERNELS_CUDA_MMA_CUH

#include "kernels/cuda/port.h"

#include <stdint.h>

/* c[0], c[1] += the 8 rows of a. */
static __device__ __forceinline__ void mma_8_8_16(int &c0, int &c1, uint32_t a, uint32_t b)
{
#ifdef __CUDA_ARCH__
    asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1},{%2},{%3},{%0,%1};"
                 : "+r"(c0), "+r"(c1)
                 : "r"(a), "r"(b));
#elif !defined(__CUDACC__)
    emu::mma_record r = {{a}, {b}, {c0, c1}};
    emu::collective(MOX_ALL_LANES, emu::mma_8_8_16, &r, "mma", __FILE__, __LINE__);
    c0 = r.c[0], c1 = r.c[1];
#endif
}

static __device__ __forceinline__ void mma_16_8_16_small(int (&c)[4], uint32_t a0, uint32_t a1, uint32_t b)
{
    mma_8_8_16(c[0], c[1], a0, b);
    mma_8_8_16(c[2], c[3], a1, b);
}

static __device__ __forceinline__ void mma_16_8_16(int (&c)[4], uint32_t a0, uint32_t a1, uint32_t b)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};"
                 : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
                 : "r"(a0), "r"(a1), "r"(b));
#elif defined(__CUDACC__)
    mma_16_8_16_small(c, a0, a1, b);
#else
    if (emu::architecture() < 80) {
        mma_16_8_16_small(c, a0, a1, b);
        return;
    }
    emu::mma_record r = {{a0, a1}, {b}, {c[0], c[1], c[2], c[3]}};
    emu::collective(MOX_ALL_LANES, emu::mma_16_8_16, &r, "mma", __FILE__, __LINE__);
    memcpy(c, r.c, sizeof c);
#endif
}

/* Two columns of 16: a[0], a[1] rows g, g + 8 of the first, a[2], a[3] of the second; b likewise. */
static __device__ __forceinline__ void mma_16_8_32(int (&c)[4], const uint32_t (&a)[4],
                                                   const uint32_t (&b)[2])
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
                 "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
                 : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif defined(__CUDACC__)
    mma_16_8_16_small(c, a[0], a[1], b[0]);
    mma_16_8_16_small(c, a[2], a[3], b[1]);
#else
    if (emu::architecture() < 80) {
        mma_16_8_16_small(c, a[0], a[1], b[0]);
        mma_16_8_16_small(c, a[2], a[3], b[1]);
        return;
    }
    emu::mma_record r = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}, {c[0], c[1], c[2], c[3]}};
    emu::collective(MOX_ALL_LANES, emu::mma_16_8_32, &r, "mma", __FILE__, __LINE__);
    memcpy(c, r.c, sizeof c);
#endif
}

#endif
