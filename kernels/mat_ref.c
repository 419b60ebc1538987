/* Plain-C tiles: the definition of what a block of weights times a block of activations is, bit for bit.
 *
 * Written for reading: a chunk is unpacked to its 16 GGUF row blocks, each row block is decoded to signed
 * codes and integer scales, and the sums are those of docs/numerics.md. Integer sums are exact, so any SIMD
 * order gives them; every float operation stands here in its order, fused ones as fmaf and all others apart
 * (-ffp-contract=off). The file is compiled once per instruction set (MOX_REF_TILES names the table): same
 * bits, compiler's vectors. Reached through mox_tile_of; tests compare every other tile with it.
 */
#include "kernels/dequant.h"
#include "kernels/half.h"
#include "kernels/mat_tile.h"
#include "runtime/core/bits.h"

#include <math.h>

#ifndef MOX_REF_TILES
#define MOX_REF_TILES mox_tiles_ref
#endif

enum { R = MOX_ROWS_PER_GROUP, MAX_BLOCK_BYTES = 288 };

/* A row block of a K-quant: value = d * sc[i / 16] * q[i] - dmin * mn[i / 16]. */
typedef struct k_row {
    int8_t q[256];
    int16_t sc[16], mn[16];
    float d, dmin;
} k_row;

/* A row block of 32-element sub-blocks: value = d[i / 32] * q[i] + m[i / 32]. */
typedef struct b_row {
    int8_t q[256];
    float d[8], m[8];
} b_row;

typedef void k_decode(const uint8_t *src, k_row *out);
typedef void b_decode(const uint8_t *src, uint32_t cols, b_row *out);

/* The int32 bound of a K format: 256 columns x |scale| x |code| x 127, and 256 x |min| x 127 for the
 * minimums. */
#define K_BOUND(name, scale, code, min)                                                                      \
    _Static_assert(256LL * (scale) * (code)*127 <= INT32_MAX && 256LL * (min)*127 <= INT32_MAX,              \
                   #name ": the sums of a block fit int32");                                                 \
    _Static_assert((scale) * (code) <= INT16_MAX, #name ": a code times its scale fits int16")
K_BOUND(Q2_K, 15, 3, 15);
K_BOUND(Q3_K, 32, 4, 0);
K_BOUND(Q4_K, 63, 15, 63);
K_BOUND(Q5_K, 63, 31, 63);
K_BOUND(Q6_K, 128, 32, 0);
K_BOUND(IQ4_XS, 32, 127, 0);
_Static_assert(32LL * 128 * 127 <= INT32_MAX, "32-element formats: the sum of a sub-block fits int32");

static float f16_at(const uint8_t *p)
{
    return mox_f16_to_f32(mox_le16(p));
}

static void decode_q2_k(const uint8_t *s, k_row *o)
{
    for (int i = 0; i < 16; i++) {
        o->sc[i] = s[i] & 15;
        o->mn[i] = s[i] >> 4;
    }
    for (int h = 0; h < 2; h++) {
        for (int t = 0; t < 4; t++) {
            for (int l = 0; l < 32; l++) {
                o->q[128 * h + 32 * t + l] = (int8_t)(s[16 + 32 * h + l] >> (2 * t) & 3);
            }
        }
    }
    o->d = f16_at(s + 80);
    o->dmin = f16_at(s + 82);
}

static void decode_q3_k(const uint8_t *s, k_row *o)
{
    int8_t sc[16];
    mox_q3_k_scales(s + 96, sc);
    for (int i = 0; i < 16; i++) {
        o->sc[i] = sc[i];
    }
    for (int h = 0; h < 2; h++) {
        for (int t = 0; t < 4; t++) {
            for (int l = 0; l < 32; l++) {
                int low = s[32 + 32 * h + l] >> (2 * t) & 3;
                int high = s[l] >> (4 * h + t) & 1;
                o->q[128 * h + 32 * t + l] = (int8_t)(low + 4 * high - 4);
            }
        }
    }
    o->d = f16_at(s + 108);
}

static void decode_q45_head(const uint8_t *s, k_row *o)
{
    uint8_t sc[8], mn[8];
    mox_q4_k_scales(s + 4, sc, mn);
    for (int i = 0; i < 16; i++) {
        o->sc[i] = sc[i / 2];
        o->mn[i] = mn[i / 2];
    }
    o->d = f16_at(s);
    o->dmin = f16_at(s + 2);
}

static void decode_q4_k(const uint8_t *s, k_row *o)
{
    decode_q45_head(s, o);
    for (int c = 0; c < 4; c++) {
        for (int l = 0; l < 32; l++) {
            o->q[64 * c + l] = (int8_t)(s[16 + 32 * c + l] & 15);
            o->q[64 * c + 32 + l] = (int8_t)(s[16 + 32 * c + l] >> 4);
        }
    }
}

static void decode_q5_k(const uint8_t *s, k_row *o)
{
    decode_q45_head(s, o);
    for (int c = 0; c < 4; c++) {
        for (int l = 0; l < 32; l++) {
            int high = s[16 + l] >> (2 * c);
            o->q[64 * c + l] = (int8_t)((s[48 + 32 * c + l] & 15) + 16 * (high & 1));
            o->q[64 * c + 32 + l] = (int8_t)((s[48 + 32 * c + l] >> 4) + 16 * (high >> 1 & 1));
        }
    }
}

static void decode_q6_k(const uint8_t *s, k_row *o)
{
    for (int i = 0; i < 16; i++) {
        o->sc[i] = (int8_t)s[192 + i];
    }
    for (int h = 0; h < 2; h++) {
        for (int t = 0; t < 4; t++) {
            for (int l = 0; l < 32; l++) {
                int low = s[64 * h + 32 * (t & 1) + l] >> (4 * (t >> 1)) & 15;
                int high = s[128 + 32 * h + l] >> (2 * t) & 3;
                o->q[128 * h + 32 * t + l] = (int8_t)(low + 16 * high - 32);
            }
        }
    }
    o->d = f16_at(s + 208);
}

static void decode_iq4_xs(const uint8_t *s, k_row *o)
{
    uint32_t high = mox_le16(s + 2);
    for (int j = 0; j < 8; j++) {
        int scale = (s[4 + j / 2] >> (4 * (j & 1)) & 15) + 16 * (int)(high >> (2 * j) & 3) - 32;
        o->sc[2 * j] = o->sc[2 * j + 1] = (int16_t)scale;
        for (int l = 0; l < 16; l++) {
            o->q[32 * j + l] = mox_iq4_values[s[8 + 16 * j + l] & 15];
            o->q[32 * j + 16 + l] = mox_iq4_values[s[8 + 16 * j + l] >> 4];
        }
    }
    o->d = f16_at(s);
}

static inline void k_tile(k_decode *decode, bool has_min, const mox_format *f, const uint8_t *chunk,
                          const void *const *x, uint32_t n, float (*p)[R])
{
    uint8_t bytes[R][MAX_BLOCK_BYTES];
    uint8_t *rows[R];
    for (int r = 0; r < R; r++) {
        rows[r] = bytes[r];
    }
    f->unpack(chunk, MOX_BLOCK, rows);
    for (int r = 0; r < R; r++) {
        k_row w;
        decode(bytes[r], &w);
        int16_t of_column[MOX_BLOCK];
        for (int j = 0; j < 16; j++) {
            for (int l = 0; l < 16; l++) {
                of_column[16 * j + l] = w.sc[j];
            }
        }
        int16_t scaled[MOX_BLOCK]; /* sc * q: below 2^15 by the bounds above, so sums need no scales */
        for (int l = 0; l < MOX_BLOCK; l++) {
            scaled[l] = (int16_t)(of_column[l] * w.q[l]);
        }
        for (uint32_t i = 0; i < n; i++) {
            const mox_act_k *a = x[i];
            int32_t sum = 0, min = 0;
            for (int l = 0; l < MOX_BLOCK; l++) {
                sum += (int32_t)scaled[l] * a->q[l];
            }
            for (int j = 0; has_min && j < 16; j++) {
                min += w.mn[j] * a->sum[j];
            }
            float u = has_min ? fmaf(w.d, (float)sum, -(w.dmin * (float)min)) : w.d * (float)sum;
            p[i][r] = u * a->d;
        }
    }
}

#define K_TILE(type, has_min)                                                                                \
    static void tile_##type(const mox_format *f, const uint8_t *chunk, uint32_t cols, const void *const *x,  \
                            uint32_t n, float(*p)[R])                                                        \
    {                                                                                                        \
        (void)cols;                                                                                          \
        k_tile(decode_##type, has_min, f, chunk, x, n, p);                                                   \
    }
K_TILE(q2_k, true)
K_TILE(q3_k, false)
K_TILE(q4_k, true)
K_TILE(q5_k, true)
K_TILE(q6_k, false)
K_TILE(iq4_xs, false)

static void decode_q4_0(const uint8_t *s, uint32_t cols, b_row *o)
{
    for (uint32_t j = 0; j < cols / 32; j++, s += 18) {
        o->d[j] = f16_at(s);
        for (int l = 0; l < 16; l++) {
            o->q[32 * j + l] = (int8_t)((s[2 + l] & 15) - 8);
            o->q[32 * j + 16 + l] = (int8_t)((s[2 + l] >> 4) - 8);
        }
    }
}

static void decode_q4_1(const uint8_t *s, uint32_t cols, b_row *o)
{
    for (uint32_t j = 0; j < cols / 32; j++, s += 20) {
        o->d[j] = f16_at(s);
        o->m[j] = f16_at(s + 2);
        for (int l = 0; l < 16; l++) {
            o->q[32 * j + l] = (int8_t)(s[4 + l] & 15);
            o->q[32 * j + 16 + l] = (int8_t)(s[4 + l] >> 4);
        }
    }
}

static void decode_fifth(const uint8_t *fifth, const uint8_t *nibbles, int offset, int8_t *q)
{
    uint32_t high = mox_le32(fifth);
    for (int l = 0; l < 16; l++) {
        q[l] = (int8_t)((nibbles[l] & 15) + 16 * (int)(high >> l & 1) - offset);
        q[16 + l] = (int8_t)((nibbles[l] >> 4) + 16 * (int)(high >> (l + 16) & 1) - offset);
    }
}

static void decode_q5_0(const uint8_t *s, uint32_t cols, b_row *o)
{
    for (uint32_t j = 0; j < cols / 32; j++, s += 22) {
        o->d[j] = f16_at(s);
        decode_fifth(s + 2, s + 6, 16, o->q + 32 * j);
    }
}

static void decode_q5_1(const uint8_t *s, uint32_t cols, b_row *o)
{
    for (uint32_t j = 0; j < cols / 32; j++, s += 24) {
        o->d[j] = f16_at(s);
        o->m[j] = f16_at(s + 2);
        decode_fifth(s + 4, s + 8, 0, o->q + 32 * j);
    }
}

static void decode_q8_0(const uint8_t *s, uint32_t cols, b_row *o)
{
    for (uint32_t j = 0; j < cols / 32; j++, s += 34) {
        o->d[j] = f16_at(s);
        memcpy(o->q + 32 * j, s + 2, 32);
    }
}

static void decode_values(const uint8_t *nibbles, const int8_t *values, int8_t *q)
{
    for (int l = 0; l < 16; l++) {
        q[l] = values[nibbles[l] & 15];
        q[16 + l] = values[nibbles[l] >> 4];
    }
}

static void decode_iq4_nl(const uint8_t *s, uint32_t cols, b_row *o)
{
    for (uint32_t j = 0; j < cols / 32; j++, s += 18) {
        o->d[j] = f16_at(s);
        decode_values(s + 2, mox_iq4_values, o->q + 32 * j);
    }
}

static void decode_mxfp4(const uint8_t *s, uint32_t cols, b_row *o)
{
    for (uint32_t j = 0; j < cols / 32; j++, s += 17) {
        o->d[j] = mox_e8m0_half(s[0]);
        decode_values(s + 1, mox_fp4_values, o->q + 32 * j);
    }
}

static inline int32_t dot_32(const int8_t *w, const int8_t *a)
{
    int32_t dot = 0;
    for (int l = 0; l < 32; l++) {
        dot += (int32_t)w[l] * a[l];
    }
    return dot;
}

/* Sub-blocks in element order first, then the minimums in element order; both chains are one. The 16 rows side by
 * side: their chains do not meet. */
static inline void b_tile(b_decode *decode, bool has_min, const mox_format *f, const uint8_t *chunk,
                          uint32_t cols, const void *const *x, uint32_t n, float (*p)[R])
{
    uint8_t bytes[R][MAX_BLOCK_BYTES];
    uint8_t *rows[R];
    for (int r = 0; r < R; r++) {
        rows[r] = bytes[r];
    }
    f->unpack(chunk, cols, rows);
    uint32_t n_sub = cols / 32;
    b_row w[R];
    float d[8][R], m[8][R];
    for (int r = 0; r < R; r++) {
        decode(bytes[r], cols, &w[r]);
        for (uint32_t j = 0; j < n_sub; j++) {
            d[j][r] = w[r].d[j];
            m[j][r] = has_min ? w[r].m[j] : 0.0F;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        const mox_act_b *a = x[i];
        float t[R] = {0};
        for (uint32_t j = 0; j < n_sub; j++) {
            int32_t dot[R];
            for (int r = 0; r < R; r++) {
                dot[r] = dot_32(w[r].q + 32 * j, a->q + 32 * j);
            }
            for (int r = 0; r < R; r++) {
                t[r] = fmaf(d[j][r] * a->d[j], (float)dot[r], t[r]);
            }
        }
        for (uint32_t j = 0; has_min && j < n_sub; j++) {
            for (int r = 0; r < R; r++) {
                t[r] = fmaf(m[j][r] * a->d[j], (float)a->sum[j], t[r]);
            }
        }
        memcpy(p[i], t, sizeof t);
    }
}

#define B_TILE(type, has_min)                                                                                \
    static void tile_##type(const mox_format *f, const uint8_t *chunk, uint32_t cols, const void *const *x,  \
                            uint32_t n, float(*p)[R])                                                        \
    {                                                                                                        \
        b_tile(decode_##type, has_min, f, chunk, cols, x, n, p);                                             \
    }
B_TILE(q4_0, false)
B_TILE(q4_1, true)
B_TILE(q5_0, false)
B_TILE(q5_1, true)
B_TILE(q8_0, false)
B_TILE(iq4_nl, false)
B_TILE(mxfp4, false)

/* Float weights: w[e] holds element e of the 16 rows, already f32; the chain runs over the elements in order.
 */
static inline void float_chain(const float (*w)[R], uint32_t cols, const void *const *x, uint32_t n,
                               float (*p)[R])
{
    uint32_t i = 0;
    for (; i + 2 <= n; i += 2) { /* two rows of activations: their chains do not wait for each other */
        const float *a = x[i], *b = x[i + 1];
        float s[R] = {0}, t[R] = {0};
        for (uint32_t e = 0; e < cols; e++) {
            for (int r = 0; r < R; r++) {
                s[r] = fmaf(w[e][r], a[e], s[r]);
                t[r] = fmaf(w[e][r], b[e], t[r]);
            }
        }
        memcpy(p[i], s, sizeof s);
        memcpy(p[i + 1], t, sizeof t);
    }
    for (; i < n; i++) {
        const float *a = x[i];
        float acc[R] = {0};
        for (uint32_t e = 0; e < cols; e++) {
            for (int r = 0; r < R; r++) {
                acc[r] = fmaf(w[e][r], a[e], acc[r]);
            }
        }
        memcpy(p[i], acc, sizeof acc);
    }
}

static void tile_f32(const mox_format *f, const uint8_t *chunk, uint32_t cols, const void *const *x,
                     uint32_t n, float (*p)[R])
{
    (void)f;
    float w[MOX_BLOCK][R];
    memcpy(w, chunk, (size_t)cols * sizeof w[0]);
    float_chain((const float(*)[R])w, cols, x, n, p);
}

static void tile_f16(const mox_format *f, const uint8_t *chunk, uint32_t cols, const void *const *x,
                     uint32_t n, float (*p)[R])
{
    (void)f;
    float w[MOX_BLOCK][R];
    for (uint32_t e = 0; e < cols; e++) {
        for (int r = 0; r < R; r++) {
            w[e][r] = f16_at(chunk + 2 * ((size_t)e * R + (size_t)r));
        }
    }
    float_chain((const float(*)[R])w, cols, x, n, p);
}

static void tile_bf16(const mox_format *f, const uint8_t *chunk, uint32_t cols, const void *const *x,
                      uint32_t n, float (*p)[R])
{
    (void)f;
    float w[MOX_BLOCK][R];
    for (uint32_t e = 0; e < cols; e++) {
        for (int r = 0; r < R; r++) {
            w[e][r] = mox_bf16_to_f32(mox_le16(chunk + 2 * ((size_t)e * R + (size_t)r)));
        }
    }
    float_chain((const float(*)[R])w, cols, x, n, p);
}

static void tile_dequant(const mox_format *f, const uint8_t *chunk, uint32_t cols, const void *const *x,
                         uint32_t n, float (*p)[R])
{
    uint8_t bytes[R][MAX_BLOCK_BYTES];
    uint8_t *rows[R];
    for (int r = 0; r < R; r++) {
        rows[r] = bytes[r];
    }
    f->unpack(chunk, cols, rows);
    float w[MOX_BLOCK][R], row[MOX_BLOCK];
    for (int r = 0; r < R; r++) {
        f->dequant(bytes[r], row, cols);
        for (uint32_t e = 0; e < cols; e++) {
            w[e][r] = row[e];
        }
    }
    float_chain((const float(*)[R])w, cols, x, n, p);
}

/* Whatever the tile; compiled for the instruction set, since a few adds per block in SSE cost 8 % of four rows. */
static void group_mul(const mox_mat_job *j, uint32_t g, float (*y)[R])
{
    const size_t step = mox_act_block_bytes(j->kind);
    const uint32_t n_blocks = mox_mat_blocks(j->w);
    const void *x[MOX_TILE_ROWS];
    mox_row_sums s[MOX_TILE_ROWS];
    for (uint32_t i = 0; i < j->n; i++) {
        memset(&s[i], 0, sizeof s[i]);
    }
    for (uint32_t b = 0; b < n_blocks; b++) {
        const uint32_t left = j->w->cols - b * MOX_BLOCK;
        float p[MOX_TILE_ROWS][R];
        for (uint32_t i = 0; i < j->n; i++) {
            x[i] = j->x[i] + b * step;
        }
        j->tile(j->f, mox_mat_chunk(j->w, g, b), left < MOX_BLOCK ? left : MOX_BLOCK, x, j->n, p);
        for (uint32_t i = 0; i < j->n; i++) {
            mox_row_sums_add(&s[i], p[i], b, left <= MOX_BLOCK);
        }
    }
    for (uint32_t i = 0; i < j->n; i++) {
        memcpy(y[i], s[i].row, sizeof s[i].row);
    }
}

const mox_tiles MOX_REF_TILES = {
    .of_type =
        {
            [MOX_TYPE_F32] = tile_f32,
            [MOX_TYPE_F16] = tile_f16,
            [MOX_TYPE_BF16] = tile_bf16,
            [MOX_TYPE_Q4_0] = tile_q4_0,
            [MOX_TYPE_Q4_1] = tile_q4_1,
            [MOX_TYPE_Q5_0] = tile_q5_0,
            [MOX_TYPE_Q5_1] = tile_q5_1,
            [MOX_TYPE_Q8_0] = tile_q8_0,
            [MOX_TYPE_Q2_K] = tile_q2_k,
            [MOX_TYPE_Q3_K] = tile_q3_k,
            [MOX_TYPE_Q4_K] = tile_q4_k,
            [MOX_TYPE_Q5_K] = tile_q5_k,
            [MOX_TYPE_Q6_K] = tile_q6_k,
            [MOX_TYPE_IQ4_NL] = tile_iq4_nl,
            [MOX_TYPE_IQ4_XS] = tile_iq4_xs,
            [MOX_TYPE_MXFP4] = tile_mxfp4,
        },
    .dequant = tile_dequant,
    .group = group_mul,
};
