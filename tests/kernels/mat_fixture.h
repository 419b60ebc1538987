/* Random weights and activations for the tests of matrix products: valid blocks of every type with ordinary,
 * extreme, zero and denormal scales, and activations up to the ends of int8. Reproducible from a seed. */
#ifndef MOX_TESTS_MAT_FIXTURE_H
#define MOX_TESTS_MAT_FIXTURE_H

#include "kernels/act.h"
#include "kernels/formats.h"
#include "kernels/half.h"
#include "kernels/mat.h"
#include "kernels/ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum fx_style { FX_PLAIN, FX_ONES, FX_ZERO, FX_DENORMAL, FX_HUGE, FX_STYLES } fx_style;

static inline uint32_t fx_random(uint64_t *state)
{
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(*state >> 33);
}

static inline uint32_t fx_below(uint64_t *state, uint32_t n)
{
    return fx_random(state) % n;
}

static inline uint16_t fx_scale(uint64_t *s, fx_style style)
{
    uint16_t sign = (uint16_t)(fx_random(s) & 0x8000U);
    switch (style) {
    case FX_ZERO:
        return sign;
    case FX_DENORMAL:
        return (uint16_t)(sign | (1 + fx_below(s, 0x3ff)));
    case FX_HUGE:
        return (uint16_t)(sign | 0x7bff);
    default:
        return (uint16_t)(sign | (0x1800 + fx_below(s, 0x1800)));
    }
}

/* Where the f16 scales of a row block stand; MXFP4's exponent byte is handled apart. */
static inline int fx_scale_offsets(mox_type type, int off[2])
{
    switch ((int)type) {
    case MOX_TYPE_Q4_0:
    case MOX_TYPE_Q5_0:
    case MOX_TYPE_Q8_0:
    case MOX_TYPE_IQ4_NL:
    case MOX_TYPE_IQ4_XS:
        off[0] = 0;
        return 1;
    case MOX_TYPE_Q4_1:
    case MOX_TYPE_Q5_1:
    case MOX_TYPE_Q4_K:
    case MOX_TYPE_Q5_K:
        off[0] = 0, off[1] = 2;
        return 2;
    case MOX_TYPE_Q2_K:
        off[0] = 80, off[1] = 82;
        return 2;
    case MOX_TYPE_Q3_K:
        off[0] = 108;
        return 1;
    case MOX_TYPE_Q6_K:
        off[0] = 208;
        return 1;
    default:
        return 0;
    }
}

static inline bool fx_all_finite(const mox_format *f, const uint8_t *block, uint32_t elems)
{
    float v[MOX_BLOCK];
    f->dequant(block, v, elems);
    for (uint32_t i = 0; i < elems; i++) {
        if (!isfinite(v[i])) {
            return false;
        }
    }
    return true;
}

static inline void fx_block(const mox_format *f, uint8_t *block, fx_style style, uint64_t *s)
{
    const mox_type_desc *t = mox_type_info(f->type);
    int off[2];
    int n_scales = fx_scale_offsets(f->type, off);
    do {
        for (uint32_t i = 0; i < t->block_bytes; i++) {
            block[i] = style == FX_ONES && n_scales > 0 ? 0xff : (uint8_t)fx_random(s);
        }
        for (int i = 0; i < n_scales; i++) {
            uint16_t h = fx_scale(s, style);
            memcpy(block + off[i], &h, 2);
        }
        if (f->type == MOX_TYPE_MXFP4) {
            block[0] = style == FX_DENORMAL ? (uint8_t)fx_below(s, 3) : (uint8_t)(110 + fx_below(s, 20));
        }
        if (f->type == MOX_TYPE_F32 || f->type == MOX_TYPE_BF16) { /* exponents around 1 */
            block[t->block_bytes - 1] = (uint8_t)((block[t->block_bytes - 1] & 0x80) | 0x3e);
        }
    } while (!fx_all_finite(f, block, t->block_elems));
}

/* A matrix in GGUF order, every block valid. */
static inline uint8_t *fx_weights(const mox_format *f, uint32_t rows, uint32_t cols, uint64_t *s)
{
    const mox_type_desc *t = mox_type_info(f->type);
    size_t n_blocks = (size_t)rows * cols / t->block_elems;
    uint8_t *w = malloc(n_blocks * t->block_bytes + 1);
    fx_style style = (fx_style)fx_below(s, FX_STYLES);
    for (size_t i = 0; i < n_blocks; i++) {
        fx_block(f, w + i * t->block_bytes, fx_below(s, 3) != 0 ? style : FX_PLAIN, s);
    }
    return w;
}

/* The same in the compute layout; free() it. */
static inline uint8_t *fx_repack(mox_type type, uint32_t rows, uint32_t cols, const uint8_t *src)
{
    size_t bytes = (mox_mat_bytes(type, rows, cols) + 63) / 64 * 64;
    uint8_t *data = aligned_alloc(64, bytes);
    mox_mat m = mox_mat_dense(type, rows, cols, data);
    mox_mat_repack_rows(&m, 0, rows, src);
    return data;
}

static inline int fx_code(uint64_t *s, fx_style style)
{
    switch (style) {
    case FX_ONES:
        return 127;
    case FX_HUGE:
        return fx_below(s, 2) ? 127 : -127;
    case FX_ZERO:
        return 0;
    case FX_DENORMAL:
        return -127;
    default:
        return (int)fx_below(s, 255) - 127;
    }
}

static inline float fx_act_scale(uint64_t *s, fx_style style)
{
    switch (style) {
    case FX_ZERO:
        return 0.0F;
    case FX_DENORMAL:
        return ldexpf(1.0F + (float)fx_below(s, 1000) / 1024.0F, -107);
    case FX_HUGE:
        return ldexpf(1.0F + (float)fx_below(s, 1000) / 1024.0F, 40);
    default:
        return 0.01F * (1.0F + (float)fx_below(s, 1000) / 1024.0F);
    }
}

/* n rows of activations of a kind; free(.data). Values past the row's end are zero. */
static inline mox_acts fx_acts(mox_act_kind kind, uint32_t n, uint32_t cols, uint64_t *s)
{
    uint32_t n_blocks = (cols + MOX_BLOCK - 1) / MOX_BLOCK;
    size_t block = kind == MOX_ACT_F32 ? MOX_BLOCK * sizeof(float) : sizeof(mox_act_k);
    mox_acts x = {.kind = kind, .n_cols = cols, .row_bytes = n_blocks * block};
    x.data = aligned_alloc(64, x.row_bytes * n + 64);
    memset(x.data, 0, x.row_bytes * n);
    for (uint32_t i = 0; i < n; i++) {
        fx_style style = (fx_style)fx_below(s, FX_STYLES);
        uint8_t *row = (uint8_t *)x.data + i * x.row_bytes;
        for (uint32_t c = 0; c < cols; c++) {
            void *at = row + c / MOX_BLOCK * block;
            uint32_t e = c % MOX_BLOCK;
            int q = fx_code(s, fx_below(s, 4) != 0 ? style : FX_PLAIN);
            if (kind == MOX_ACT_F32) {
                ((float *)at)[e] = (float)q * fx_act_scale(s, style);
            } else if (kind == MOX_ACT_K) {
                mox_act_k *k = at;
                k->q[e] = (int8_t)q;
                k->sum[e / 16] = (int16_t)(k->sum[e / 16] + q);
                k->d = e == 0 ? fx_act_scale(s, style) : k->d;
            } else {
                mox_act_b *b = at;
                b->q[e] = (int8_t)q;
                b->sum[e / 32] = (int16_t)(b->sum[e / 32] + q);
                b->d[e / 32] = e % 32 == 0 ? fx_act_scale(s, style) : b->d[e / 32];
            }
        }
    }
    return x;
}

static inline double fx_act_value(const mox_acts *x, uint32_t i, uint32_t c)
{
    const uint8_t *row = (const uint8_t *)x->data + i * x->row_bytes;
    uint32_t e = c % MOX_BLOCK, b = c / MOX_BLOCK;
    if (x->kind == MOX_ACT_F32) {
        return ((const float *)(const void *)row)[c];
    }
    if (x->kind == MOX_ACT_K) {
        const mox_act_k *k = (const mox_act_k *)(const void *)row + b;
        return (double)k->d * k->q[e];
    }
    const mox_act_b *k = (const mox_act_b *)(const void *)row + b;
    return (double)k->d[e / 32] * k->q[e];
}

/* Equal bits, except that any NaN equals any NaN (payloads are outside the contract). */
static inline bool fx_same(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&a[i], &b[i], sizeof a[i]) != 0 && !(isnan(a[i]) && isnan(b[i]))) {
            return false;
        }
    }
    return true;
}

/* A legal column count for a type: up to about `max`, often with a short last block. */
static inline uint32_t fx_cols(const mox_format *f, uint32_t max, uint64_t *s)
{
    uint32_t block = mox_type_info(f->type)->block_elems;
    return block * (1 + fx_below(s, max / block));
}

static inline mox_pool *fx_pool(uint32_t n)
{
    mox_pool *pool = NULL;
    mox_pool_cfg cfg = {.n_workers = n, .spin_us = 50};
    return mox_pool_create(&pool, &cfg) == MOX_OK ? pool : NULL;
}

#endif
