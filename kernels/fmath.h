/* Float functions with fixed bits: exp, sigmoid, silu for gcc, clang and nvcc.
 *
 * Every step is one IEEE operation written out (fma, multiply, add, divide), in an order that vectorises, so
 * the twin, AVX2, AVX-512 and a GPU give the same bits. Library functions differ between machines and
 * versions and are not used; fmaf is the exception, because its result is defined to the bit (without -mfma
 * it is a call, and exact). The payload of a NaN is outside the contract: a NaN ends in MOX_E_NUMERIC at the
 * next rounding or router.
 *
 * exp: x = n ln 2 + r with n by the rounding of an addition, e^r by a polynomial of degree 6 (coefficients:
 * minimax fit of the relative error on +-ln(2)/2, 3.1e-9), 2^n in two factors so that denormal results round
 * once. Within 1 ulp over the whole range (tests/kernels/test_fmath.c measures it).
 */
#ifndef MOX_KERNELS_FMATH_H
#define MOX_KERNELS_FMATH_H

#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define MOX_FMATH static inline __host__ __device__
#else
#define MOX_FMATH static inline
#endif

#define MOX_ROUND_MAGIC 12582912.0f /* 1.5 * 2^23: adding it rounds to an integer, ties to even */
#define MOX_ROUND_BITS  0x4b400000  /* its bits */
#define MOX_EXP_MAX     89.0f       /* above it e^x is infinite */
#define MOX_EXP_MIN     (-104.0f)   /* below it e^x rounds to 0 */
#define MOX_LOG2E       0x1.715476p+0f
#define MOX_LN2_HIGH    0x1.62e43p-1f
#define MOX_LN2_LOW     (-0x1.05c61p-29f)
#define MOX_EXP_C2      0x1.fffffcp-2f
#define MOX_EXP_C3      0x1.555492p-3f
#define MOX_EXP_C4      0x1.5558b2p-5f
#define MOX_EXP_C5      0x1.12398ep-7f
#define MOX_EXP_C6      0x1.6a4b34p-10f

MOX_FMATH float mox_fmaf(float a, float b, float c)
{
#ifdef __CUDA_ARCH__
    return __fmaf_rn(a, b, c);
#else
    return __builtin_fmaf(a, b, c);
#endif
}

MOX_FMATH int32_t mox_float_bits(float x)
{
    int32_t i;
    memcpy(&i, &x, sizeof i);
    return i;
}

/* 2^n, n in -126..127. */
MOX_FMATH float mox_pow2f(int32_t n)
{
    const int32_t i = (n + 127) * (1 << 23);
    float x;
    memcpy(&x, &i, sizeof x);
    return x;
}

/* Round to nearest, ties to even; |x| < 2^22. */
MOX_FMATH int32_t mox_round_int(float x)
{
    return mox_float_bits(x + MOX_ROUND_MAGIC) - MOX_ROUND_BITS;
}

MOX_FMATH float mox_expf(float x)
{
    x = MOX_EXP_MAX < x ? MOX_EXP_MAX : x; /* in this order a NaN stays */
    x = MOX_EXP_MIN > x ? MOX_EXP_MIN : x;
    const float t = mox_fmaf(x, MOX_LOG2E, MOX_ROUND_MAGIC);
    const float nf = t - MOX_ROUND_MAGIC;
    float r = mox_fmaf(nf, -MOX_LN2_HIGH, x);
    r = mox_fmaf(nf, -MOX_LN2_LOW, r);
    float p = mox_fmaf(MOX_EXP_C6, r, MOX_EXP_C5);
    p = mox_fmaf(p, r, MOX_EXP_C4);
    p = mox_fmaf(p, r, MOX_EXP_C3);
    p = mox_fmaf(p, r, MOX_EXP_C2);
    p = mox_fmaf(p, r, 1.0f);
    p = mox_fmaf(p, r, 1.0f);
    /* A NaN leaves arbitrary bits in t; masking keeps the exponents in range, and p is NaN anyway. */
    const uint32_t offset = (uint32_t)mox_float_bits(t) - (uint32_t)MOX_ROUND_BITS;
    const int32_t n = (int32_t)(offset << 23) >> 23;
    const int32_t half = n >> 1;
    return p * mox_pow2f(half) * mox_pow2f(n - half);
}

MOX_FMATH float mox_sigmoidf(float x)
{
    return 1.0f / (1.0f + mox_expf(-x));
}

MOX_FMATH float mox_siluf(float x)
{
    return x / (1.0f + mox_expf(-x));
}

/* Within 1.2e-7 of tanh(x) (absolutely: near 0 the difference cancels). */
MOX_FMATH float mox_tanhf(float x)
{
    const float e = mox_expf(-2.0f * (x < 0.0f ? -x : x));
    const float t = (1.0f - e) / (1.0f + e);
    return x < 0.0f ? -t : t;
}

/* log(1 + e^x) = max(x, 0) + log1p(y), y = e^-|x|; log1p(y) = 2 atanh(s), s = y / (2 + y) <= 1/3, by its series. */
MOX_FMATH float mox_softplusf(float x)
{
    const float y = mox_expf(x < 0.0f ? x : -x);
    const float s = y / (2.0f + y), z = s * s, t = s + s;
    float p = mox_fmaf(1.0f / 15.0f, z, 1.0f / 13.0f);
    p = mox_fmaf(p, z, 1.0f / 11.0f);
    p = mox_fmaf(p, z, 1.0f / 9.0f);
    p = mox_fmaf(p, z, 1.0f / 7.0f);
    p = mox_fmaf(p, z, 1.0f / 5.0f);
    p = mox_fmaf(p, z, 1.0f / 3.0f);
    return (x > 0.0f ? x : 0.0f) + mox_fmaf(t, z * p, t);
}

/* gelu by tanh: x / 2 * (1 + tanh(u)) = x * sigmoid(2 u), u = sqrt(2 / pi) * (x + 0.044715 x^3). */
MOX_FMATH float mox_geluf(float x)
{
    const float u2 = 0x1.988454p+0f * (x * mox_fmaf(0.044715f * x, x, 1.0f));
    return x / (1.0f + mox_expf(-u2));
}

#endif
