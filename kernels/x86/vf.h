/* A vector of floats as wide as the instruction set that the including file is compiled for: 16 with AVX-512,
 * 8 with AVX2 + FMA + F16C. Each function is one IEEE operation per lane, so code written with them gives the
 * twin's bits at either width; the 32 lanes of a reduction are MOX_VF_LANES vectors. Private to kernels/x86.
 */
#ifndef MOX_KERNELS_X86_VF_H
#define MOX_KERNELS_X86_VF_H

#include "kernels/fmath.h"
#include "kernels/half.h"
#include "kernels/vec.h"

#include <immintrin.h>

#if defined(__AVX512F__)
enum { VF = 16 };
typedef __m512 vf;
typedef __m512i vf_int;

static inline vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline vf vf_load_f16(const void *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

static inline vf vf_load_i8(const void *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}

static inline void vf_store(float *p, vf a)
{
    _mm512_storeu_ps(p, a);
}

static inline void vf_store_f16(void *p, vf a)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static inline vf vf_set(float a)
{
    return _mm512_set1_ps(a);
}

static inline vf vf_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}

static inline vf vf_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}

static inline vf vf_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}

static inline vf vf_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}

static inline vf vf_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* b where a or b is a NaN, as in the twin's comparisons. */
static inline vf vf_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}

static inline vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}

static inline bool vf_all_le_magnitude(vf a, float limit)
{
    return _mm512_cmp_ps_mask(_mm512_abs_ps(a), _mm512_set1_ps(limit), _CMP_LE_OQ) == 0xffff;
}

static inline vf_int vf_bits(vf a)
{
    return _mm512_castps_si512(a);
}

static inline vf_int vf_int_sub(vf_int a, vf_int b)
{
    return _mm512_sub_epi32(a, b);
}

static inline vf_int vf_int_set(int a)
{
    return _mm512_set1_epi32(a);
}

static inline vf_int vf_int_half(vf_int a)
{
    return _mm512_srai_epi32(a, 1);
}

static inline vf vf_pow2(vf_int n)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23));
}

/* Lanes l and l + 16, then l and l + 8 added: the first two steps of the butterfly. */
static inline __m256 vf_fold(const vf *acc)
{
    const __m512 a = _mm512_add_ps(acc[0], acc[1]);
    return _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
}
#else
enum { VF = 8 };
typedef __m256 vf;
typedef __m256i vf_int;

static inline vf vf_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline vf vf_load_f16(const void *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

static inline vf vf_load_i8(const void *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

static inline void vf_store(float *p, vf a)
{
    _mm256_storeu_ps(p, a);
}

static inline void vf_store_f16(void *p, vf a)
{
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}

static inline vf vf_set(float a)
{
    return _mm256_set1_ps(a);
}

static inline vf vf_add(vf a, vf b)
{
    return _mm256_add_ps(a, b);
}

static inline vf vf_sub(vf a, vf b)
{
    return _mm256_sub_ps(a, b);
}

static inline vf vf_mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}

static inline vf vf_div(vf a, vf b)
{
    return _mm256_div_ps(a, b);
}

static inline vf vf_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}

/* b where a or b is a NaN, as in the twin's comparisons. */
static inline vf vf_min(vf a, vf b)
{
    return _mm256_min_ps(a, b);
}

static inline vf vf_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}

static inline bool vf_all_le_magnitude(vf a, float limit)
{
    const __m256 mag = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
    return _mm256_movemask_ps(_mm256_cmp_ps(mag, _mm256_set1_ps(limit), _CMP_LE_OQ)) == 0xff;
}

static inline vf_int vf_bits(vf a)
{
    return _mm256_castps_si256(a);
}

static inline vf_int vf_int_sub(vf_int a, vf_int b)
{
    return _mm256_sub_epi32(a, b);
}

static inline vf_int vf_int_set(int a)
{
    return _mm256_set1_epi32(a);
}

static inline vf_int vf_int_half(vf_int a)
{
    return _mm256_srai_epi32(a, 1);
}

static inline vf vf_pow2(vf_int n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

/* Lanes l and l + 16, then l and l + 8 added: the first two steps of the butterfly. */
static inline __m256 vf_fold(const vf *acc)
{
    return _mm256_add_ps(_mm256_add_ps(acc[0], acc[2]), _mm256_add_ps(acc[1], acc[3]));
}
#endif

enum { MOX_VF_LANES = MOX_REDUCE_LANES / VF };

/* mox_expf of every lane: the same steps. */
static inline vf vf_exp(vf x)
{
    x = vf_min(vf_set(MOX_EXP_MAX), x);
    x = vf_max(vf_set(MOX_EXP_MIN), x);
    const vf t = vf_fma(x, vf_set(MOX_LOG2E), vf_set(MOX_ROUND_MAGIC));
    const vf nf = vf_sub(t, vf_set(MOX_ROUND_MAGIC));
    vf r = vf_fma(nf, vf_set(-MOX_LN2_HIGH), x);
    r = vf_fma(nf, vf_set(-MOX_LN2_LOW), r);
    vf p = vf_fma(vf_set(MOX_EXP_C6), r, vf_set(MOX_EXP_C5));
    p = vf_fma(p, r, vf_set(MOX_EXP_C4));
    p = vf_fma(p, r, vf_set(MOX_EXP_C3));
    p = vf_fma(p, r, vf_set(MOX_EXP_C2));
    p = vf_fma(p, r, vf_set(1.0f));
    p = vf_fma(p, r, vf_set(1.0f));
    const vf_int n = vf_int_sub(vf_bits(t), vf_int_set(MOX_ROUND_BITS));
    const vf_int half = vf_int_half(n);
    return vf_mul(vf_mul(p, vf_pow2(half)), vf_pow2(vf_int_sub(n, half)));
}

#endif
