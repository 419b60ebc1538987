/* Kernels of the emulator's own tests (test_kernels.h). Each broken one is a template instance of the right one with a
 * single line changed, so the stage that catches it has nothing else to see. */
#include "emu/test_kernels.h"

#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/port.h"

constexpr uint32_t THREADS = 64;

static __global__ void k_add_reversed(const float *x, float *y, uint32_t n)
{
    MOX_SHARED(float, s, [THREADS]);
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    s[THREADS - 1 - threadIdx.x] = i < n ? x[i] : 0.0f;
    MOX_SYNC();
    if (i < n) {
        y[i] += s[THREADS - 1 - threadIdx.x] + 1.0f;
    }
}

static __global__ void k_axpy(float a, const float *x, float *y, uint32_t n)
{
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    if (i < n) {
        y[i] = a * x[i] + y[i];
    }
}

static __global__ void k_order(uint32_t *out, uint32_t *next)
{
    out[threadIdx.x] = (*next)++;
}

static __global__ void k_mma(const int8_t *a, const int8_t *b, int32_t *out, uint32_t k, int shape)
{
    const uint32_t g = threadIdx.x / 4, t = threadIdx.x % 4;
    int c[4] = {0, 0, 0, 0};
    const auto word = [=](const int8_t *m, uint32_t row, uint32_t col) {
        return *reinterpret_cast<const uint32_t *>(m + row * k + col);
    };
    for (uint32_t at = 0; at < k; at += 32) {
        const uint32_t col = at + 4 * t;
        const uint32_t aw[4] = {word(a, g, col), word(a, g + 8, col), word(a, g, col + 16),
                                word(a, g + 8, col + 16)};
        const uint32_t bw[2] = {word(b, g, col), word(b, g, col + 16)};
        for (uint32_t half = 0; shape != 0 && half < 2; half++) {
            if (shape == 1) {
                mma_16_8_16(c, aw[2 * half], aw[2 * half + 1], bw[half]);
            } else {
                mma_16_8_16_small(c, aw[2 * half], aw[2 * half + 1], bw[half]);
            }
        }
        if (shape == 0) {
            mma_16_8_32(c, aw, bw);
        }
    }
    for (uint32_t i = 0; i < 4; i++) {
        out[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2] = c[i];
    }
}

static __global__ void k_lanes(const int *a, const int *b, uint32_t *out)
{
    const uint32_t lane = threadIdx.x;
    out[lane] = static_cast<uint32_t>(__dp4a(a[lane], b[lane], 7));
    out[32 + lane] = __byte_perm(static_cast<uint32_t>(a[lane]), static_cast<uint32_t>(b[lane]), 0x7d1aU);
    out[64 + lane] = __ballot_sync(MOX_ALL_LANES, lane % 2 == 1);
    out[96 + lane] = __shfl_sync(MOX_ALL_LANES, lane * 10, 3);
    out[128 + lane] = __shfl_xor_sync(MOX_ALL_LANES, lane * 10, 5);
}

template <int BUG> static __global__ void k_broken(float *out)
{
    MOX_SHARED(float, s, [THREADS]);
    const uint32_t t = threadIdx.x, lane = t % MOX_WARP;
    if (BUG == TK_SHARED_SIZE) {
        MOX_SHARED(float, large, [13 * 1024]);
        large[t] = 0.0f;
    }
    if (BUG == TK_EARLY_EXIT && t >= MOX_WARP) {
        return;
    }
    if (BUG != TK_UNINITIALISED || t != 5) {
        s[t] = static_cast<float>(t);
    }
    if (BUG == TK_DIVERGENT && t < MOX_WARP) {
        MOX_SYNC();
    } else if (BUG != TK_NO_BARRIER) {
        MOX_SYNC();
    }
    float v = s[(t + 33) % THREADS];
    if (BUG == TK_ABSENT_LANE) {
        v += t % 2 == 0 ? __shfl_xor_sync(MOX_ALL_LANES, v, 2) : 0.0f;
    } else if (BUG == TK_NOT_IN_MASK) {
        v += __shfl_xor_sync(0x0000ffffU, v, 1);
    } else if (BUG == TK_OUTSIDE_MASK) {
        v += lane < 16 ? __shfl_xor_sync(0x0000ffffU, v, 16) : 0.0f;
    } else if (BUG == TK_DIFFERENT_MASKS) {
        v += __shfl_xor_sync(lane < 16 ? MOX_ALL_LANES : 0xffff0000U, v, 1);
    } else {
        v += __shfl_xor_sync(MOX_ALL_LANES, v, 1);
    }
    MOX_SYNC();
    s[t] = v;
    if (BUG != TK_NO_SYNCWARP) {
        __syncwarp();
    }
    v += s[t ^ 7U];
    if (BUG == TK_MISALIGNED) {
        v += __ldg(reinterpret_cast<const float *>(reinterpret_cast<const char *>(out) + 2));
    }
    if (BUG == TK_SHARED_OVERRUN) {
        v += s[t + 1];
    }
    out[BUG == TK_GLOBAL_OVERRUN ? t + 1 : t] = v;
}

static uint32_t blocks(uint32_t n)
{
    return (n + THREADS - 1) / THREADS;
}

void tk_add_reversed(const float *x, float *y, uint32_t n, cudaStream_t s)
{
    MOX_LAUNCH(k_add_reversed, blocks(n), THREADS, 0, s, x, y, n);
}

void tk_axpy(float a, const float *x, float *y, uint32_t n, cudaStream_t s)
{
    MOX_LAUNCH(k_axpy, blocks(n), THREADS, 0, s, a, x, y, n);
}

void tk_order(uint32_t *out, uint32_t *next, cudaStream_t s)
{
    MOX_LAUNCH(k_order, 1, THREADS, 0, s, out, next);
}

void tk_mma(const int8_t *a, const int8_t *b, int32_t *c, uint32_t k, int shape, cudaStream_t s)
{
    MOX_LAUNCH(k_mma, 1, MOX_WARP, 0, s, a, b, c, k, shape);
}

void tk_lanes(const int *a, const int *b, uint32_t *out, cudaStream_t s)
{
    MOX_LAUNCH(k_lanes, 1, MOX_WARP, 0, s, a, b, out);
}

void tk_wait(const volatile uint32_t *flag, uint32_t value, cudaStream_t s)
{
    MOX_WAIT_VALUE(k_wait, s, flag, value);
}

template <int BUG> static void launch_broken(int which, float *out, cudaStream_t s)
{
    if (which == BUG) {
        MOX_LAUNCH((k_broken<BUG>), 1, THREADS, 0, s, out);
    } else if constexpr (BUG + 1 < TK_BUGS) {
        launch_broken<BUG + 1>(which, out, s);
    }
}

void tk_broken(enum tk_bug which, float *out, cudaStream_t s)
{
    launch_broken<TK_NONE>(which, out, s);
}
