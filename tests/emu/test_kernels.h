/* Kernels for the emulator's own tests: small ones that work, and ones that are broken in one way each. */
#ifndef MOX_TESTS_EMU_TEST_KERNELS_H
#define MOX_TESTS_EMU_TEST_KERNELS_H

#include <cuda_runtime_api.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* y[i] += x[i] + 1, one block of 64 threads for each 64 elements; through shared memory, in reverse and back. */
void tk_add_reversed(const float *x, float *y, uint32_t n, cudaStream_t s);
/* y[i] = a * x[i] + y[i] */
void tk_axpy(float a, const float *x, float *y, uint32_t n, cudaStream_t s);
/* out[thread] = its place in the order in which the 64 threads of the block ran */
void tk_order(uint32_t *out, uint32_t *next, cudaStream_t s);
/* c (16 x 8) = a (16 x k) * b (8 x k, transposed); shape 0: m16n8k32, 1: m16n8k16, 2: m8n8k16. k: multiple of 32 */
void tk_mma(const int8_t *a, const int8_t *b, int32_t *c, uint32_t k, int shape, cudaStream_t s);
/* out[lane]: dp4a(a[lane], b[lane], 7), byte_perm, ballot of odd lanes, shuffles from lane 3 and lane xor 5 */
void tk_lanes(const int *a, const int *b, uint32_t *out, cudaStream_t s);

/* The stream waits until the host has written the flag. */
void tk_wait(const volatile uint32_t *flag, uint32_t value, cudaStream_t s);

/* Broken: what tk_broken(which) does wrong; NONE is right. out has 64 floats. */
enum tk_bug {
    TK_NONE,
    TK_NO_BARRIER,      /* reads what another warp has not written yet */
    TK_DIVERGENT,       /* half of the threads wait at another barrier */
    TK_EARLY_EXIT,      /* a warp leaves before the barrier */
    TK_UNINITIALISED,   /* one element of shared memory is never written */
    TK_ABSENT_LANE,     /* a full mask in half a warp */
    TK_NOT_IN_MASK,     /* a lane that calls is not in the mask */
    TK_OUTSIDE_MASK,    /* a shuffle from a lane outside the mask */
    TK_DIFFERENT_MASKS, /* lanes that name different masks */
    TK_NO_SYNCWARP,     /* lanes of one warp exchange through shared memory without meeting */
    TK_SHARED_SIZE,     /* more shared memory than there is */
    TK_MISALIGNED,      /* a float from an odd address */
    TK_SHARED_OVERRUN,  /* reads behind a shared array: AddressSanitizer */
    TK_GLOBAL_OVERRUN,  /* writes behind an allocation: AddressSanitizer */
    TK_BUGS
};
void tk_broken(enum tk_bug which, float *out, cudaStream_t s);

#ifdef __cplusplus
}
#endif

#endif
