/* The search for scales.
 *
 * A block stands for its weights as scale * level (symmetric) or scale * code - minimum (affine), where scales may
 * themselves be small integers times a half-precision number. The error to make small is the sum over elements of
 * w (x - what stands for x)^2, with weights w that grow with x: large weights take part in more of the result.
 *
 * Found in steps, each of which is a sum of squares and has a closed form: many starting scales; for each the nearest
 * codes, then the best scale for these codes; then integers for the scales of a block's runs, trying neighbours of each;
 * then the best common factor for all these integers; and again. Plain loops over 16 or 32 floats, which compilers turn
 * into vector code without changing a result.
 */
#ifndef MOX_RUNTIME_QUANTIZE_SEARCH_H
#define MOX_RUNTIME_QUANTIZE_SEARCH_H

#include "kernels/mat.h" /* MOX_BLOCK */

#include <stdbool.h>
#include <stdint.h>

enum { MOX_RUN_MAX = 32, MOX_RUNS_MAX = 16 };

/* What a code can stand for, times the scale: whole numbers lo..hi, or a sorted book of n values. */
typedef struct mox_levels {
    float lo, hi;
    const float *book; /* NULL: uniform */
    int n;
} mox_levels;

/* A block of 256 in runs with integer scales: x = d * scale[run] * level. */
typedef struct mox_symmetric_block {
    float d;                 /* as the file has it: an f16 */
    int scale[MOX_RUNS_MAX]; /* scale_lo .. scale_hi */
    float level[MOX_BLOCK];
} mox_symmetric_block;

/* A block of 256 in runs with integer scales and minimums: x = d * scale[run] * code - dmin * min[run]. */
typedef struct mox_affine_block {
    float d, dmin;                              /* f16 */
    int scale[MOX_RUNS_MAX], min[MOX_RUNS_MAX]; /* 0 .. scale_hi */
    float code[MOX_BLOCK];
} mox_affine_block;

/* Runs have n = 16 or 32 elements.
 * mox_nearest: out = the level nearest to x * inverse.
 * mox_best_scale: the scale for one run, before it is rounded; 0 if all of x is.
 * mox_best_affine: one run as scale * code + offset with codes 0 .. n_codes - 1; free_offset: of either sign, otherwise
 * not above 0. */
void mox_nearest(const mox_levels *l, const float *x, float inverse, int n, float *out);
float mox_best_scale(const mox_levels *l, const float *x, const float *w, int n);
void mox_best_affine(int n_codes, bool free_offset, const float *x, const float *w, int n, float *scale,
                     float *offset);

void mox_search_symmetric(const mox_levels *l, int run, int scale_lo, int scale_hi, const float *x,
                          const float *w, mox_symmetric_block *out);
void mox_search_affine(int n_codes, int run, int scale_hi, const float *x, const float *w,
                       mox_affine_block *out);

/* mox_weigh: w = x^2 + mean of x^2, in runs of `run` elements. */
void mox_weigh(const float *x, int n, int run, float *w);
/* mox_as_f16: what the file keeps of a scale, held to the finite ones. */
float mox_as_f16(float v);
/* mox_put_f16: v, which f16 holds, as bytes. */
void mox_put_f16(uint8_t *dst, float v);

#endif
