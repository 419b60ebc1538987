/* The formats: how far the written blocks are from the weights, against figures of the field's own quantiser and against
 * rounding without a search, and what happens to rows that are no ordinary weights.
 */
#include "kernels/formats.h"
#include "runtime/quantize/rows.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 1 << 16 };

static uint64_t state = 1;

static double uniform(void)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return ((double)(state >> 11) + 0.5) / 9007199254740992.0;
}

/* Normal, with a standard deviation that differs from run to run as that of weights does. */
static void weights(float *x, int n)
{
    for (int i = 0; i < n; i++) {
        const double size = 0.02 * exp(0.3 * sin((double)(i / 32)));
        x[i] = (float)(size * sqrt(-2.0 * log(uniform())) * cos(6.283185307179586 * uniform()));
    }
}

static double error(const float *x, const float *y, int n)
{
    double e = 0.0, s = 0.0;
    for (int i = 0; i < n; i++) {
        e += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        s += (double)x[i] * (double)x[i];
    }
    return s > 0.0 ? sqrt(e / s) : sqrt(e);
}

static void round_trip(uint32_t type, const float *x, float *y, int n)
{
    uint8_t *blocks = malloc(mox_type_row_bytes(type, (uint64_t)n));
    mox_quantizer_of(type)(x, blocks, (uint64_t)n);
    mox_format_of(type)->dequant(blocks, y, (uint64_t)n);
    free(blocks);
}

static double error_of(uint32_t type, const float *x, int n)
{
    float *y = malloc((size_t)n * sizeof *y);
    round_trip(type, x, y, n);
    const double e = error(x, y, n);
    free(y);
    return e;
}

/* Relative RMSE on these weights. Bounds: one per cent above what the search reaches; how that compares with the
 * published quantiser on real weights is what quantize_demo tests. */
static const struct {
    uint32_t type;
    double most;
} bounds[] = {
    {MOX_TYPE_F32, 0.0},       {MOX_TYPE_F16, 0.0003},   {MOX_TYPE_BF16, 0.0018}, {MOX_TYPE_Q8_0, 0.0055},
    {MOX_TYPE_Q6_K, 0.0173},   {MOX_TYPE_Q5_K, 0.0358},  {MOX_TYPE_Q5_1, 0.0346}, {MOX_TYPE_Q5_0, 0.0413},
    {MOX_TYPE_Q4_K, 0.0726},   {MOX_TYPE_Q4_1, 0.0719},  {MOX_TYPE_Q4_0, 0.0838}, {MOX_TYPE_IQ4_NL, 0.0766},
    {MOX_TYPE_IQ4_XS, 0.0768}, {MOX_TYPE_MXFP4, 0.1133}, {MOX_TYPE_Q3_K, 0.1497}, {MOX_TYPE_Q2_K, 0.2791},
};

Test(rows, error_of_every_format)
{
    static float x[N];
    weights(x, N);
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        const double e = error_of(bounds[i].type, x, N);
        printf("%-7s %.5f\n", mox_type_info(bounds[i].type)->name, e);
        cr_expect(e <= bounds[i].most, "%s: %.5f", mox_type_info(bounds[i].type)->name, e);
    }
}

/* Every type that can be written has a bound above. */
Test(rows, table_is_complete)
{
    size_t n = 0;
    for (uint32_t t = 0; t < MOX_TYPE_COUNT; t++) {
        n += mox_quantizer_of(t) != NULL;
        cr_expect(!mox_quantizer_of(t) || mox_format_of(t), "type %u is written and not read", t);
    }
    cr_assert_eq(n, sizeof bounds / sizeof bounds[0]);
    cr_assert_null(mox_quantizer_of(MOX_TYPE_Q8_K));
    cr_assert_null(mox_quantizer_of(99));
}

/* Rounding to the range's ends: the largest element to the lowest code, and from smallest to largest. */
static double plain_symmetric(const float *x, int run, int half)
{
    double e = 0.0, s = 0.0;
    for (int i = 0; i < N; i += run) {
        float top = x[i];
        for (int j = i; j < i + run; j++) {
            top = fabsf(x[j]) > fabsf(top) ? x[j] : top;
        }
        const float d = top / (float)-half;
        for (int j = i; j < i + run; j++) {
            const float code = fminf(rintf(x[j] / d), (float)(half - 1));
            e += pow((double)(x[j] - d * code), 2);
            s += (double)x[j] * (double)x[j];
        }
    }
    return sqrt(e / s);
}

static double plain_affine(const float *x, int run, int top)
{
    double e = 0.0, s = 0.0;
    for (int i = 0; i < N; i += run) {
        float lo = x[i], hi = x[i];
        for (int j = i; j < i + run; j++) {
            lo = fminf(lo, x[j]);
            hi = fmaxf(hi, x[j]);
        }
        for (int j = i; j < i + run; j++) {
            const float d = (hi - lo) / (float)top;
            e += pow((double)(x[j] - (lo + d * rintf((x[j] - lo) / d))), 2);
            s += (double)x[j] * (double)x[j];
        }
    }
    return sqrt(e / s);
}

/* The search beats rounding with exact scales, although its own scales are short. */
Test(rows, search_beats_rounding)
{
    static float x[N];
    weights(x, N);
    cr_expect_lt(error_of(MOX_TYPE_Q4_0, x, N), 0.97 * plain_symmetric(x, 32, 8));
    cr_expect_lt(error_of(MOX_TYPE_Q3_K, x, N), 0.99 * plain_symmetric(x, 16, 4));
    cr_expect_lt(error_of(MOX_TYPE_Q4_K, x, N), 0.99 * plain_affine(x, 32, 15));
    cr_expect_lt(error_of(MOX_TYPE_Q2_K, x, N), 0.95 * plain_affine(x, 16, 3));
}

/* Rows that a search could stumble over: what stands for them is finite and no worse than nothing at all. */
Test(rows, odd_rows)
{
    enum { M = 512 };
    for (int kind = 0; kind < 9; kind++) {
        float x[M], y[M];
        for (int i = 0; i < M; i++) {
            const float v = (float)(uniform() - 0.5);
            const float of[] = {0.0f,     1.0f,          -1.0f,     i == 77 ? 100.0f : v * 1e-3f,
                                fabsf(v), -fabsf(v) - 1, v * 1e-6f, i == 300 ? v : 0.0f,
                                v * 1e4f};
            x[i] = of[kind];
        }
        for (uint32_t t = 0; t < MOX_TYPE_COUNT; t++) {
            if (!mox_quantizer_of(t)) {
                continue;
            }
            round_trip(t, x, y, M);
            for (int i = 0; i < M; i++) {
                cr_assert(isfinite(y[i]), "%s, row %d: element %d", mox_type_info(t)->name, kind, i);
            }
            /* f16 scales of values near 1e-6 / 127 are few bits of a denormal: nothing is promised but no blow-up */
            const double most = kind == 6 ? 1.5 : 0.5;
            cr_expect_lt(error(x, y, M), most, "%s, row %d: %g", mox_type_info(t)->name, kind,
                         error(x, y, M));
        }
    }
}

/* A row's bytes depend on the row alone: in one call or block by block. */
Test(rows, blocks_do_not_depend_on_their_neighbours)
{
    enum { M = 1024 };
    static float x[M];
    weights(x, M);
    for (uint32_t t = 0; t < MOX_TYPE_COUNT; t++) {
        if (!mox_quantizer_of(t)) {
            continue;
        }
        uint8_t whole[4 * M], parts[4 * M];
        const uint64_t part = mox_type_row_bytes(t, 256);
        mox_quantizer_of(t)(x, whole, M);
        for (int b = 3; b >= 0; b--) {
            mox_quantizer_of(t)(x + 256 * b, parts + part * (uint64_t)b, 256);
        }
        cr_expect_arr_eq(whole, parts, 4 * part, "%s", mox_type_info(t)->name);
    }
}
