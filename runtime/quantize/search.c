/* See search.h. */
#include "runtime/quantize/search.h"

#include <math.h>
#include <string.h>

/* Adding and taking away 1.5 * 2^23 rounds to a whole number, ties to even; |v| < 2^22. */
static inline float whole(float v)
{
    return (v + 12582912.0f) - 12582912.0f;
}

static inline float held(float v, float lo, float hi)
{
    v = v < lo ? lo : v;
    return v > hi ? hi : v;
}

/* Runs have 16 or 32 elements: the loops are compiled for each, so that they become vector code. */
#define INLINE static inline __attribute__((always_inline))

/* Pairwise, so that it is one order on every machine; n is 16 or 32, p is used up. */
INLINE float sum(float *p, int n)
{
    if (n == 32) {
        for (int i = 0; i < 16; i++) {
            p[i] += p[i + 16];
        }
    }
    for (int i = 0; i < 8; i++) {
        p[i] += p[i + 8];
    }
    for (int i = 0; i < 4; i++) {
        p[i] += p[i + 4];
    }
    return (p[0] + p[2]) + (p[1] + p[3]);
}

INLINE float dot(const float *a, const float *b, int n)
{
    float p[MOX_RUN_MAX];
    for (int i = 0; i < n; i++) {
        p[i] = a[i] * b[i];
    }
    return sum(p, n);
}

INLINE void nearest(const mox_levels *l, const float *x, float inverse, int n, float *out)
{
    if (!l->book) {
        for (int i = 0; i < n; i++) {
            out[i] = whole(held(x[i] * inverse, l->lo, l->hi));
        }
        return;
    }
    float v[MOX_RUN_MAX];
    for (int i = 0; i < n; i++) {
        v[i] = x[i] * inverse;
        out[i] = l->book[0];
    }
    for (int k = 1; k < l->n; k++) { /* one step up for each border that v has passed */
        const float border = 0.5f * (l->book[k - 1] + l->book[k]), step = l->book[k] - l->book[k - 1];
        for (int i = 0; i < n; i++) {
            out[i] += v[i] > border ? step : 0.0f;
        }
    }
}

void mox_nearest(const mox_levels *l, const float *x, float inverse, int n, float *out)
{
    if (n == 32) {
        nearest(l, x, inverse, 32, out);
    } else {
        nearest(l, x, inverse, 16, out);
    }
}

/* ---- symmetric ---- */

static float largest(const float *x, int n)
{
    float m = x[0];
    for (int i = 1; i < n; i++) {
        m = fabsf(x[i]) > fabsf(m) ? x[i] : m;
    }
    return m;
}

/* The best scale for given levels, and what it takes off the sum of w x^2. */
INLINE float fit(const float *level, const float *wx, const float *w, int n, float *gain)
{
    float p[MOX_RUN_MAX], q[MOX_RUN_MAX];
    for (int i = 0; i < n; i++) {
        p[i] = wx[i] * level[i];
        q[i] = w[i] * level[i] * level[i];
    }
    const float a = sum(p, n), b = sum(q, n);
    *gain = b > 0.0f ? a * a / b : 0.0f;
    return b > 0.0f ? a / b : 0.0f;
}

INLINE float best_scale(const mox_levels *l, const float *x, const float *w, int n)
{
    /* where the largest element comes to lie: the ends of the range, or a little beside them */
    enum { STEPS = 9 };
    const float top = largest(x, n);
    if (fabsf(top) < 1e-30f) {
        return 0.0f;
    }
    float wx[MOX_RUN_MAX], level[MOX_RUN_MAX], best = 0.0f, best_gain = -1.0f;
    for (int i = 0; i < n; i++) {
        wx[i] = w[i] * x[i];
    }
    const float spread = (l->hi - l->lo) * 0.25f / (float)STEPS;
    for (int side = 0; side < 2; side++) {
        const float end = side ? l->hi : l->lo, away = side ? 1.0f : -1.0f;
        for (int k = -STEPS / 2; k <= STEPS / 2; k++) {
            const float unit = spread < 0.12f ? 0.12f : spread > 0.25f ? 0.25f : spread;
            float gain;
            nearest(l, x, (end + away * (float)k * unit) / top, n, level);
            const float scale = fit(level, wx, w, n, &gain);
            if (gain > best_gain) {
                best_gain = gain;
                best = scale;
            }
        }
    }
    for (int again = 0; again < 2 && best != 0.0f; again++) {
        float gain;
        nearest(l, x, 1.0f / best, n, level);
        const float scale = fit(level, wx, w, n, &gain);
        best = gain >= best_gain ? scale : best;
    }
    return best;
}

float mox_best_scale(const mox_levels *l, const float *x, const float *w, int n)
{
    return n == 32 ? best_scale(l, x, w, 32) : best_scale(l, x, w, 16);
}

/* Nearest levels of a run under a scale, and the error. */
INLINE float levels_of(const mox_levels *l, const float *x, const float *w, float scale, int n, float *out)
{
    float p[MOX_RUN_MAX];
    nearest(l, x, scale != 0.0f ? 1.0f / scale : 0.0f, n, out);
    for (int i = 0; i < n; i++) {
        const float off = x[i] - scale * out[i];
        p[i] = w[i] * off * off;
    }
    return sum(p, n);
}

static float take_levels(const mox_levels *l, const float *x, const float *w, float scale, int n, float *out)
{
    return n == 32 ? levels_of(l, x, w, scale, 32, out) : levels_of(l, x, w, scale, 16, out);
}

/* Integer scales for a given d: of each run the best of three. Returns the error of the block. */
static float settle_symmetric(const mox_levels *l, int run, int lo, int hi, const float *x, const float *w,
                              const float *want, mox_symmetric_block *b)
{
    float total = 0.0f;
    for (int j = 0; j < MOX_BLOCK / run; j++) {
        const float *xr = x + j * run, *wr = w + j * run;
        const int middle = b->d != 0.0f ? (int)whole(held(want[j] / b->d, (float)lo, (float)hi)) : 0;
        float best = INFINITY;
        for (int s = middle - 1; s <= middle + 1; s++) {
            float level[MOX_RUN_MAX];
            if (s < lo || s > hi) {
                continue;
            }
            const float error = take_levels(l, xr, wr, b->d * (float)s, run, level);
            if (error < best) {
                best = error;
                b->scale[j] = s;
                memcpy(b->level + j * run, level, (size_t)run * sizeof *level);
            }
        }
        total += best;
    }
    return total;
}

/* The best d for the integers that were settled. */
INLINE float refit_symmetric_runs(int run, const float *x, const float *w, const mox_symmetric_block *b)
{
    float a = 0.0f, c = 0.0f;
    for (int j = 0; j < MOX_BLOCK / run; j++) {
        float p[MOX_RUN_MAX], q[MOX_RUN_MAX];
        for (int i = 0; i < run; i++) {
            const int at = j * run + i;
            const float v = (float)b->scale[j] * b->level[at];
            p[i] = w[at] * x[at] * v;
            q[i] = w[at] * v * v;
        }
        a += sum(p, run);
        c += sum(q, run);
    }
    return c > 0.0f ? a / c : 0.0f;
}

static float refit_symmetric(int run, const float *x, const float *w, const mox_symmetric_block *b)
{
    return run == 32 ? refit_symmetric_runs(32, x, w, b) : refit_symmetric_runs(16, x, w, b);
}

/* The error of a block that stands for nothing: where scales are too small for f16, that is what is best. */
static float energy(const float *x, const float *w)
{
    float all = 0.0f;
    for (int i = 0; i < MOX_BLOCK; i++) {
        all += w[i] * x[i] * x[i];
    }
    return all;
}

void mox_search_symmetric(const mox_levels *l, int run, int scale_lo, int scale_hi, const float *x,
                          const float *w, mox_symmetric_block *out)
{
    float want[MOX_RUNS_MAX] = {0};
    const int runs = MOX_BLOCK / run;
    *out = (mox_symmetric_block){0};
    mox_nearest(l, (const float[MOX_RUN_MAX]){0}, 0.0f, run, out->level);
    for (int j = 0; j < runs; j++) {
        want[j] = mox_best_scale(l, x + j * run, w + j * run, run);
        memcpy(out->level + j * run, out->level, (size_t)run * sizeof(float));
    }
    const float top = largest(want, runs);
    if (top == 0.0f) {
        return;
    }
    float best = energy(x, w); /* of a block of zeros */
    const float ends[] = {(float)scale_lo, (float)scale_hi, (float)scale_lo * 0.93f};
    for (int k = 0; k < 3; k++) {
        mox_symmetric_block b = {.d = mox_as_f16(top / ends[k])};
        for (int again = 0; again < 2; again++) {
            const float error = settle_symmetric(l, run, scale_lo, scale_hi, x, w, want, &b);
            if (error < best) {
                best = error;
                *out = b;
            }
            b.d = mox_as_f16(refit_symmetric(run, x, w, &b));
        }
    }
}

/* ---- affine ---- */

/* Codes under scale and offset, and the error. */
INLINE float codes_of(float top, const float *x, const float *w, float scale, float offset, int n,
                      float *code)
{
    const float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    float p[MOX_RUN_MAX];
    for (int i = 0; i < n; i++) {
        code[i] = whole(held((x[i] - offset) * inverse, 0.0f, top));
        const float off = x[i] - (scale * code[i] + offset);
        p[i] = w[i] * off * off;
    }
    return sum(p, n);
}

static float take_codes(float top, const float *x, const float *w, float scale, float offset, int n,
                        float *code)
{
    return n == 32 ? codes_of(top, x, w, scale, offset, 32, code)
                   : codes_of(top, x, w, scale, offset, 16, code);
}

/* The best scale and offset for given codes: two equations. */
INLINE void fit_affine(bool free_offset, const float *code, const float *x, const float *w, int n,
                       float *scale, float *offset)
{
    float wc[MOX_RUN_MAX], ws[MOX_RUN_MAX];
    for (int i = 0; i < n; i++) {
        wc[i] = w[i] * code[i];
        ws[i] = w[i];
    }
    const float cc = dot(wc, code, n), cx = dot(wc, x, n), wx = dot(ws, x, n);
    const float c = sum(wc, n), s = sum(ws, n), det = s * cc - c * c;
    if (det <= 0.0f) {
        return;
    }
    *scale = (s * cx - c * wx) / det;
    *offset = (cc * wx - c * cx) / det;
    if (*offset > 0.0f && !free_offset) {
        *offset = 0.0f;
        *scale = cc > 0.0f ? cx / cc : 0.0f;
    }
}

INLINE void best_affine(int n_codes, bool free_offset, const float *x, const float *w, int n, float *scale,
                        float *offset)
{
    const float top = (float)(n_codes - 1);
    float lo = x[0], hi = x[0], code[MOX_RUN_MAX];
    for (int i = 1; i < n; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    lo = lo > 0.0f && !free_offset ? 0.0f : lo;
    *scale = 0.0f;
    *offset = lo;
    float best = codes_of(top, x, w, 0.0f, lo, n, code);
    if (hi - lo < 1e-30f) {
        return;
    }
    enum { SPREAD = 5 };
    /* the range may be cut short at its ends, or not be used up; more of it where there are few codes */
    const float unit = n_codes <= 4 ? 0.12f : 0.2f;
    for (int k = -SPREAD; k <= SPREAD + 2; k++) {
        float s = (hi - lo) / (top + (float)k * unit), o = lo;
        if (k > SPREAD) { /* twice more from the best */
            s = *scale;
            o = *offset;
        }
        (void)codes_of(top, x, w, s, o, n, code);
        fit_affine(free_offset, code, x, w, n, &s, &o);
        const float error = codes_of(top, x, w, s, o, n, code);
        if (s > 0.0f && error < best) {
            best = error;
            *scale = s;
            *offset = o;
        }
    }
}

void mox_best_affine(int n_codes, bool free_offset, const float *x, const float *w, int n, float *scale,
                     float *offset)
{
    if (n == 32) {
        best_affine(n_codes, free_offset, x, w, 32, scale, offset);
    } else {
        best_affine(n_codes, free_offset, x, w, 16, scale, offset);
    }
}

typedef struct wanted {
    float scale[MOX_RUNS_MAX], min[MOX_RUNS_MAX];
} wanted;

static int nearest_int(float v, float unit, int hi)
{
    return unit > 0.0f ? (int)whole(held(v / unit, 0.0f, (float)hi)) : 0;
}

/* Integers for given d and dmin: of each run the best of nine pairs. Returns the error of the block. */
static float settle_affine(int n_codes, int run, int hi, const float *x, const float *w, const wanted *want,
                           mox_affine_block *b)
{
    float total = 0.0f;
    for (int j = 0; j < MOX_BLOCK / run; j++) {
        const float *xr = x + j * run, *wr = w + j * run;
        const int s0 = nearest_int(want->scale[j], b->d, hi), m0 = nearest_int(want->min[j], b->dmin, hi);
        float best = INFINITY;
        for (int s = s0 > 0 ? s0 - 1 : 0; s <= s0 + 1 && s <= hi; s++) {
            for (int m = m0 > 0 ? m0 - 1 : 0; m <= m0 + 1 && m <= hi; m++) {
                float code[MOX_RUN_MAX];
                const float error =
                    take_codes((float)(n_codes - 1), xr, wr, b->d * (float)s, -b->dmin * (float)m, run, code);
                if (error < best) {
                    best = error;
                    b->scale[j] = s;
                    b->min[j] = m;
                    memcpy(b->code + j * run, code, (size_t)run * sizeof *code);
                }
            }
        }
        total += best;
    }
    return total;
}

/* The best d and dmin for the integers that were settled; false: there is none. */
INLINE bool refit_affine_runs(int run, const float *x, const float *w, mox_affine_block *b)
{
    float aa = 0.0f, ab = 0.0f, bb = 0.0f, ax = 0.0f, bx = 0.0f;
    for (int j = 0; j < MOX_BLOCK / run; j++) {
        float wa[MOX_RUN_MAX], a[MOX_RUN_MAX], wr[MOX_RUN_MAX];
        const float m = -(float)b->min[j];
        for (int i = 0; i < run; i++) {
            a[i] = (float)b->scale[j] * b->code[j * run + i];
            wr[i] = w[j * run + i];
            wa[i] = wr[i] * a[i];
        }
        aa += dot(wa, a, run);
        ax += dot(wa, x + j * run, run);
        bx += m * dot(wr, x + j * run, run);
        ab += m * sum(wa, run);
        bb += m * m * sum(wr, run);
    }
    const float det = aa * bb - ab * ab;
    if (bb == 0.0f && aa > 0.0f) {
        b->d = mox_as_f16(ax / aa);
        return b->d > 0.0f;
    }
    if (det <= 0.0f) {
        return false;
    }
    b->d = mox_as_f16((bb * ax - ab * bx) / det);
    b->dmin = mox_as_f16((aa * bx - ab * ax) / det);
    return b->d > 0.0f && b->dmin >= 0.0f;
}

static bool refit_affine(int run, const float *x, const float *w, mox_affine_block *b)
{
    return run == 32 ? refit_affine_runs(32, x, w, b) : refit_affine_runs(16, x, w, b);
}

void mox_search_affine(int n_codes, int run, int scale_hi, const float *x, const float *w,
                       mox_affine_block *out)
{
    wanted want = {0};
    float top_scale = 0.0f, top_min = 0.0f;
    *out = (mox_affine_block){0};
    for (int j = 0; j < MOX_BLOCK / run; j++) {
        float offset;
        mox_best_affine(n_codes, false, x + j * run, w + j * run, run, &want.scale[j], &offset);
        want.min[j] = -offset;
        top_scale = want.scale[j] > top_scale ? want.scale[j] : top_scale;
        top_min = want.min[j] > top_min ? want.min[j] : top_min;
    }
    float best = energy(x, w); /* of a block of zeros */
    mox_affine_block b = {.d = mox_as_f16(top_scale / (float)scale_hi),
                          .dmin = mox_as_f16(top_min / (float)scale_hi)};
    for (int again = 0; again < 2; again++) {
        const float error = settle_affine(n_codes, run, scale_hi, x, w, &want, &b);
        if (error < best) {
            best = error;
            *out = b;
        }
        if (!refit_affine(run, x, w, &b)) {
            break;
        }
    }
}
