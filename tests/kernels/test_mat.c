/* The compute layout: nothing lost, nothing added, whatever the shape, the address and the order of arrival.
 */
#include "kernels/mat_fixture.h"

#include <criterion/criterion.h>

enum { R = MOX_ROWS_PER_GROUP, ROW_BLOCK = 1024 + 16 };

/* Random bytes, not valid blocks: a permutation does not care. Aligned or not. */
Test(mat, chunk_is_a_permutation_of_its_row_blocks)
{
    uint64_t s = 1;
    static _Alignas(64) uint8_t chunk[R * ROW_BLOCK + 64];
    static uint8_t in[R][ROW_BLOCK], out[R][ROW_BLOCK];
    for (uint32_t type = 0; type < MOX_TYPE_COUNT; type++) {
        const mox_format *f = mox_format_of(type);
        for (uint32_t cols = MOX_BLOCK; f != NULL && cols > 0; cols -= mox_type_info(type)->block_elems) {
            size_t bytes = (size_t)mox_type_row_bytes(type, cols);
            const uint8_t *src[R];
            uint8_t *dst[R];
            uint32_t count_in[256] = {0}, count_out[256] = {0};
            for (uint32_t r = 0; r < R; r++) {
                for (size_t i = 0; i < bytes; i++) {
                    in[r][i] = (uint8_t)fx_random(&s);
                    count_in[in[r][i]]++;
                }
                memset(out[r], 0x5a, sizeof out[r]);
                src[r] = in[r];
                dst[r] = out[r];
            }
            uint8_t *at = chunk + fx_below(&s, 64);
            memset(at + R * bytes, 0xa5, 16);
            f->pack(src, cols, at);
            f->unpack(at, cols, dst);
            for (size_t i = 0; i < R * bytes; i++) {
                count_out[at[i]]++;
            }
            cr_assert_arr_eq(count_in, count_out, sizeof count_in, "%s %u: other bytes",
                             mox_type_info(type)->name, cols);
            for (uint32_t r = 0; r < R; r++) {
                cr_assert_arr_eq(in[r], out[r], bytes, "%s %u row %u", mox_type_info(type)->name, cols, r);
                cr_assert_eq(out[r][bytes], 0x5a, "%s %u: wrote past the row", mox_type_info(type)->name,
                             cols);
            }
            for (int i = 0; i < 16; i++) {
                cr_assert_eq(at[R * bytes + (size_t)i], 0xa5, "%s: wrote past the chunk",
                             mox_type_info(type)->name);
            }
        }
    }
}

Test(mat, size_is_that_of_the_file)
{
    cr_assert_eq(mox_mat_bytes(MOX_TYPE_Q4_K, 4096, 14336), mox_type_row_bytes(MOX_TYPE_Q4_K, 14336) * 4096);
    cr_assert_eq(mox_mat_bytes(MOX_TYPE_Q6_K, 17, 512), 32 * 2 * 210, "rows are filled up to 32");
    cr_assert_eq(mox_mat_bytes(MOX_TYPE_Q8_0, 16, 2880), 16 * 90 * 34);
    cr_assert_eq(mox_mat_bytes(MOX_TYPE_Q4_K, 16, 2880), 0, "2880 is no multiple of 256");
    cr_assert_eq(mox_mat_bytes(MOX_TYPE_I32, 16, 256), 0, "integers are no weights");
}

Test(mat, row_gives_the_dequantised_row)
{
    uint64_t s = 2;
    for (uint32_t type = 0; type < MOX_TYPE_COUNT; type++) {
        const mox_format *f = mox_format_of(type);
        if (f == NULL) {
            continue;
        }
        uint32_t rows = 19, cols = fx_cols(f, 1000, &s);
        uint8_t *w = fx_weights(f, rows, cols, &s), *x16 = fx_repack(f->type, rows, cols, w);
        mox_mat m = mox_mat_dense(f->type, rows, cols, x16);
        float *got = malloc(cols * sizeof *got), *want = malloc(cols * sizeof *want);
        for (uint32_t r = 0; r < rows; r++) {
            f->dequant(w + r * mox_type_row_bytes(type, cols), want, cols);
            mox_mat_row(&m, r, got);
            cr_assert(fx_same(got, want, cols), "%s row %u of %u columns", mox_type_info(type)->name, r,
                      cols);
        }
        free(got), free(want), free(w), free(x16);
    }
}

/* Slot views against the file's rows, rows repacked group by group in a shuffled order. */
static void check_slot(mox_type gate, mox_type up, mox_type down, uint32_t d_model, uint32_t d_ff,
                       uint64_t *s)
{
    mox_type type[MOX_SLABS] = {gate, up, down};
    mox_expert_layout l;
    cr_assert_eq(mox_expert_layout_init(&l, type, d_model, d_ff), MOX_OK);
    uint8_t *slot = aligned_alloc(64, l.slot_bytes), *slab[MOX_SLABS];
    memset(slot, 0xee, l.slot_bytes);
    size_t exact = 0;
    for (mox_slab b = 0; b < MOX_SLABS; b++) {
        uint32_t rows = mox_expert_slab_rows(&l, b), cols = b == MOX_SLAB_DOWN ? d_ff : d_model;
        size_t row_bytes = mox_expert_slab_row_bytes(&l, b);
        slab[b] = fx_weights(mox_format_of(type[b]), rows, cols, s);
        exact += (rows + R - 1) / R * R * row_bytes;
        uint32_t groups = (rows + R - 1) / R, step = groups % 7 == 0 ? 5 : 7;
        for (uint32_t i = 0; i < groups; i++) {
            uint32_t row0 = i * step % groups * R;
            uint32_t n = rows - row0 < R ? rows - row0 : R;
            mox_expert_repack(&l, b, row0, n, slab[b] + row0 * row_bytes, slot);
        }
    }
    cr_assert_eq(l.slot_bytes, (exact + 63) / 64 * 64, "slot of %zu bytes for %zu", l.slot_bytes, exact);
    mox_mat view[MOX_SLABS];
    mox_expert_views(&l, slot, view);
    for (mox_slab b = 0; b < MOX_SLABS; b++) {
        const mox_mat *m = &view[b];
        float *got = malloc(m->cols * sizeof *got), *want = malloc(m->cols * sizeof *want);
        for (uint32_t r = 0; r < m->rows; r++) {
            mox_format_of(type[b])->dequant(slab[b] + r * mox_expert_slab_row_bytes(&l, b), want, m->cols);
            mox_mat_row(m, r, got);
            cr_assert(fx_same(got, want, m->cols), "%u x %u slab %d row %u", d_model, d_ff, (int)b, r);
        }
        uint32_t last = mox_mat_blocks(m) - 1, g = mox_mat_groups(m) - 1, left = m->cols - last * MOX_BLOCK;
        const uint8_t *end = mox_mat_chunk(m, g, last) + R * mox_type_row_bytes(type[b], left);
        cr_assert(end <= slot + l.slot_bytes, "slab %d ends past the slot", (int)b);
        free(got), free(want), free(slab[b]);
    }
    free(slot);
}

Test(mat, expert_slot_holds_the_three_slabs)
{
    uint64_t s = 3;
    check_slot(MOX_TYPE_Q8_0, MOX_TYPE_Q8_0, MOX_TYPE_Q8_0, 288, 2944, &s);
    check_slot(MOX_TYPE_Q4_K, MOX_TYPE_Q4_K, MOX_TYPE_Q6_K, 256, 2816, &s);
    check_slot(MOX_TYPE_Q2_K, MOX_TYPE_Q3_K, MOX_TYPE_Q5_K, 512, 512, &s);
    check_slot(MOX_TYPE_F16, MOX_TYPE_F16, MOX_TYPE_F16, 72, 64, &s);
    check_slot(MOX_TYPE_MXFP4, MOX_TYPE_MXFP4, MOX_TYPE_MXFP4, 2880, 32, &s);
    check_slot(MOX_TYPE_Q5_0, MOX_TYPE_Q4_1, MOX_TYPE_IQ4_NL, 64, 1408, &s);
    check_slot(MOX_TYPE_F32, MOX_TYPE_F32, MOX_TYPE_F32, 40, 300, &s);
    check_slot(MOX_TYPE_Q8_0, MOX_TYPE_IQ2_XS, MOX_TYPE_Q4_0, 256, 352, &s);
}

Test(mat, expert_refuses_a_width_its_block_does_not_divide)
{
    mox_expert_layout l;
    mox_type k[MOX_SLABS] = {MOX_TYPE_Q4_K, MOX_TYPE_Q4_K, MOX_TYPE_Q4_K};
    cr_assert_eq(mox_expert_layout_init(&l, k, 2048, 1408), MOX_E_TYPE);
    mox_type i[MOX_SLABS] = {MOX_TYPE_I8, MOX_TYPE_Q8_0, MOX_TYPE_Q8_0};
    cr_assert_eq(mox_expert_layout_init(&l, i, 2048, 1408), MOX_E_TYPE);
}
