/* Contents for the random tests of the kernels: blocks of weights and rows of floats of all temperaments, the
 * extremes of each format among them. MOX_TIMES multiplies the number of shapes (the label heavy); under
 * AddressSanitizer, which looks for other faults, a tenth of them is run. */
#ifndef MOX_TESTS_KERNELS_TEST_RANDOM_H
#define MOX_TESTS_KERNELS_TEST_RANDOM_H

#include "kernels/mat_fixture.h"
#include "kernels/vec.h"

#ifndef MOX_TIMES
#define MOX_TIMES 1
#endif
#ifdef __SANITIZE_ADDRESS__
#define RND_COUNT(n) ((n)*MOX_TIMES / 10)
#else
#define RND_COUNT(n) ((n)*MOX_TIMES)
#endif

/* Exponents of binary32 that a row's numbers have; 0 is denormals. RND_LIMIT: around 2^-100, below which
 * quantisation gives zero. RND_MIXED: every number has its own. */
enum { RND_PLAIN, RND_WIDE, RND_LIMIT, RND_DENORMAL, RND_ZERO, RND_HUGE, RND_MIXED, RND_ROWS };

static inline float rnd_float(uint64_t *s, uint32_t style)
{
    static const struct {
        uint8_t first, n;
    } exponents[] = {{119, 8}, {107, 32}, {20, 16}, {0, 1}, {0, 1}, {190, 64}};
    uint32_t x = fx_random(s);
    style = style == RND_MIXED ? fx_below(s, RND_MIXED) : style;
    uint32_t mantissa = style == RND_ZERO ? 0 : x & 0x7fffff;
    uint32_t exponent = exponents[style].first + (x >> 24) % exponents[style].n;
    return mox_f32_from_bits(fx_below(s, 2) << 31 | exponent << 23 | mantissa);
}

static inline void rnd_floats(uint64_t *s, float *x, uint32_t n, uint32_t style)
{
    for (uint32_t i = 0; i < n; i++) {
        x[i] = rnd_float(s, style);
    }
}

/* A block: codes random, or all at one end; scales ordinary, of either zero, denormal or the largest. `tame`:
 * ordinary scales alone. */
static inline void rnd_block(const mox_format *f, uint8_t *block, bool tame, uint64_t *s)
{
    static const uint8_t fills[] = {0x00, 0xff, 0x80, 0x7f, 0x88};
    const mox_type_desc *t = mox_type_info(f->type);
    int off[2], n_scales = fx_scale_offsets(f->type, off);
    bool plain_float = t->block_elems == 1;
    bool filled = (n_scales > 0 || f->type == MOX_TYPE_MXFP4) && fx_below(s, 4) == 0;
    uint8_t fill = fills[fx_below(s, sizeof fills)];
    do {
        for (uint32_t i = 0; i < t->block_bytes; i++) {
            block[i] = filled ? fill : (uint8_t)fx_random(s);
        }
        for (int i = 0; i < n_scales; i++) {
            uint16_t h = fx_scale(s, tame ? FX_PLAIN : (fx_style)fx_below(s, FX_STYLES));
            memcpy(block + off[i], &h, 2);
        }
        if (f->type == MOX_TYPE_MXFP4) {
            uint32_t e = fx_below(s, 4);
            block[0] = (uint8_t)(tame || e > 1 ? 112 + fx_below(s, 16)
                                 : e == 1      ? fx_random(s)
                                               : fx_below(s, 3));
        }
        if (plain_float && f->type != MOX_TYPE_F16) {
            float v = rnd_float(s, tame ? RND_PLAIN : RND_MIXED);
            memcpy(block, (const uint8_t *)&v + sizeof v - t->block_bytes, t->block_bytes);
        }
    } while (!fx_all_finite(f, block, t->block_elems));
}

/* rows x cols of them in the file's order; free() it. */
static inline uint8_t *rnd_weights(const mox_format *f, uint32_t rows, uint32_t cols, bool tame, uint64_t *s)
{
    const mox_type_desc *t = mox_type_info(f->type);
    size_t n_blocks = (size_t)rows * cols / t->block_elems;
    uint8_t *w = malloc(n_blocks * t->block_bytes + 1);
    for (size_t i = 0; i < n_blocks; i++) {
        rnd_block(f, w + i * t->block_bytes, tame, s);
    }
    return w;
}

/* n rows of floats, and the same in one of the kinds; free(.data). */
static inline mox_acts rnd_acts_of(mox_act_kind kind, const float *rows, uint32_t n, uint32_t cols)
{
    const mox_vec *vec = mox_vec_of(MOX_ISA_SCALAR);
    mox_acts x = {.kind = kind, .n_cols = cols, .row_bytes = mox_act_row_bytes(kind, cols)};
    x.data = aligned_alloc(64, (x.row_bytes * n + 127) / 64 * 64);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *at = (uint8_t *)x.data + i * x.row_bytes;
        const float *row = rows + (size_t)i * cols;
        bool ok = true;
        if (kind == MOX_ACT_F32) {
            memcpy(at, row, cols * sizeof *row);
        } else if (kind == MOX_ACT_K) {
            ok = vec->quantize_k(row, cols, (mox_act_k *)(void *)at);
        } else {
            ok = vec->quantize_b(row, cols, (mox_act_b *)(void *)at);
        }
        x.data = ok ? x.data : NULL; /* finite rows always succeed */
    }
    return x;
}

#endif
