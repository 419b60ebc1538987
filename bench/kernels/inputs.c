/* Weights and activations of bench/kernels, and the comparison with the twin. */
#include "bench/kernels/inputs.h"

#include "kernels/act.h"
#include "kernels/mat_mul.h"
#include "kernels/vec.h"

#include <stdlib.h>
#include <string.h>

enum { R = MOX_ROWS_PER_GROUP, SAMPLES = 16 };

static uint32_t next_random(uint64_t *s)
{
    *s = *s * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(*s >> 33);
}

/* Small scales where the format keeps an f16, so that sums stay ordinary numbers; a few thousand different
 * blocks are enough, the rest repeat them. */
void bench_fill_rows(mox_type type, uint8_t *dst, size_t bytes)
{
    const mox_type_desc *t = mox_type_info(type);
    const mox_format *f = mox_format_of(type);
    size_t block = t->block_elems == 1 ? (size_t)t->block_bytes * MOX_BLOCK : t->block_bytes;
    uint32_t elems = t->block_elems == 1 ? MOX_BLOCK : t->block_elems;
    size_t distinct = bytes / block < 4096 ? bytes / block : 4096;
    uint64_t s = 7;
    for (size_t i = 0; i < distinct; i++) {
        float v[MOX_BLOCK], largest = 1e9F;
        while (!(largest < 1e4F)) { /* also while it is NaN */
            for (size_t k = 0; k < block; k++) {
                dst[i * block + k] = (uint8_t)next_random(&s);
                if (t->block_elems == 1 && k % t->block_bytes == t->block_bytes - 1u) {
                    dst[i * block + k] &= 0xbf;
                }
            }
            f->dequant(dst + i * block, v, elems);
            largest = 0;
            for (uint32_t k = 0; k < elems; k++) {
                float mag = v[k] < 0 ? -v[k] : v[k];
                largest = mag <= largest ? largest : mag; /* NaN gets through and stays */
            }
        }
    }
    for (size_t i = distinct; i < bytes / block; i++) {
        memcpy(dst + i * block, dst + i % distinct * block, block);
    }
}

mox_acts bench_make_acts(mox_act_kind kind, uint32_t n, uint32_t cols)
{
    mox_acts x = {.kind = kind, .n_cols = cols, .row_bytes = mox_act_row_bytes(kind, cols)};
    x.data = aligned_alloc(64, (x.row_bytes * n + 63) / 64 * 64);
    float *row = aligned_alloc(64, ((size_t)cols * sizeof *row + 63) / 64 * 64);
    uint64_t s = 9;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t c = 0; c < cols; c++) {
            row[c] = 0.001F * (float)((int)(next_random(&s) % 2001) - 1000);
        }
        void *at = (uint8_t *)x.data + i * x.row_bytes;
        if (kind == MOX_ACT_K) {
            mox_vec_of(MOX_ISA_SCALAR)->quantize_k(row, cols, at);
        } else if (kind == MOX_ACT_B32) {
            mox_vec_of(MOX_ISA_SCALAR)->quantize_b(row, cols, at);
        } else {
            memcpy(at, row, cols * sizeof *row);
        }
    }
    free(row);
    return x;
}

/* In place: repacking a group needs its source apart. */
bool bench_repack_in_place(const mox_mat *m, uint8_t *data)
{
    size_t group = m->group_stride;
    uint8_t *copy = malloc(group);
    for (uint32_t g = 0; copy != NULL && g < m->rows / R; g++) {
        memcpy(copy, data + g * group, group);
        mox_mat_repack_rows(m, g * R, R, copy);
    }
    free(copy);
    return copy != NULL;
}

bool bench_same_as_twin(const mox_mat *m, mox_acts x, uint32_t n, const float *y)
{
    mox_pool *one = NULL;
    if (mox_pool_create(&one, &(mox_pool_cfg){.n_workers = 1}) != MOX_OK) {
        return false;
    }
    uint32_t groups = mox_mat_groups(m), samples = groups < SAMPLES ? groups : SAMPLES;
    bool same = true;
    for (uint32_t i = 0; i < samples; i++) {
        uint32_t g = (uint32_t)((uint64_t)i * groups / samples);
        mox_mat part = mox_mat_dense(m->type, R, m->cols, mox_mat_chunk(m, g, 0));
        float want[64 * R];
        mox_mat_mul_args a = {.w = &part, .x = x, .y = want, .y_stride = R, .n = n};
        same = same && mox_mat_mul_cpu(one, MOX_ISA_SCALAR, &a) == MOX_OK;
        for (uint32_t k = 0; k < n; k++) {
            same = same && memcmp(want + (size_t)k * R, y + (size_t)k * m->rows + (size_t)g * R, R * 4) == 0;
        }
    }
    mox_pool_destroy(&one);
    return same;
}
