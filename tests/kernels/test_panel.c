/* Panels: the same bits as the twin for every type, instruction set, count of tokens and cut into runs of
 * blocks, through dense and sliced matrices. */
#include "kernels/mat_fixture.h"
#include "kernels/mat_mul.h"
#include "kernels/panel.h"
#include "runtime/core/bits.h"

#include <criterion/criterion.h>

enum { SHAPES = 500, MAX_N = 27, R = MOX_ROWS_PER_GROUP };

/* Group g for some tiles, runs of `step` blocks at a time. */
static void add_group(const mox_panel_job *j, uint32_t g, const mox_panel *p, uint32_t t0, uint32_t n_tiles,
                      uint32_t step, float *y)
{
    mox_row_sums s[MOX_PANEL_ROWS];
    memset(s, 0, sizeof s);
    for (uint32_t b = 0; b < mox_mat_blocks(j->w); b += step) {
        uint32_t left = mox_mat_blocks(j->w) - b;
        mox_panel_blocks_add(j, g, b, b + (left < step ? left : step), p, t0, n_tiles, s);
    }
    uint32_t rows = j->w->rows - g * R < R ? j->w->rows - g * R : R;
    mox_panel_tile first = mox_panel_tile_at(p, t0), last = mox_panel_tile_at(p, t0 + n_tiles - 1);
    for (uint32_t i = first.row0; i < last.row0 + last.n; i++) {
        memcpy(y + (size_t)i * j->w->rows + (size_t)g * R, s[i - first.row0].row, rows * sizeof *y);
    }
}

/* y[n][rows] through a panel, `tiles` tiles and `step` blocks at a time. */
static float *by_panel(mox_isa isa, const mox_mat *m, const mox_acts *x, uint32_t n, uint32_t tiles,
                       uint32_t step)
{
    mox_panel p;
    void *mem = aligned_alloc(64, mox_panel_bytes(x->kind, m->cols, n));
    memset(mem, 0x7f, mox_panel_bytes(x->kind, m->cols, n)); /* lanes without a token hold anything */
    mox_panel_init(&p, isa, x->kind, m->cols, n, mem);
    for (uint32_t i = n; i > 0; i--) {
        mox_panel_put_row(&p, i - 1, (const uint8_t *)x->data + (i - 1) * x->row_bytes);
    }
    mox_panel_job j;
    cr_assert_eq(mox_panel_job_init(&j, isa, m, x->kind), MOX_OK);
    float *y = malloc((size_t)n * m->rows * sizeof *y);
    uint32_t n_tiles = mox_panel_tiles(&p);
    for (uint32_t t = 0, seen = 0; t < n_tiles; t++) {
        mox_panel_tile tile = mox_panel_tile_at(&p, t);
        cr_assert(tile.row0 == seen && tile.n >= 1 && tile.n <= tile.size && tile.size <= MOX_PANEL_TILE);
        seen += tile.n;
        cr_assert(t + 1 < n_tiles || seen == n);
    }
    for (uint32_t t = 0; t < n_tiles; t += tiles) {
        for (uint32_t g = 0; g < mox_mat_groups(m); g++) {
            add_group(&j, g, &p, t, n_tiles - t < tiles ? n_tiles - t : tiles, step, y);
        }
    }
    free(mem);
    return y;
}

static float *by_twin(const mox_mat *m, const mox_acts *x, uint32_t n)
{
    mox_pool *pool = fx_pool(1);
    float *y = malloc((size_t)n * m->rows * sizeof *y);
    mox_mat_mul_args a = {.w = m, .x = *x, .y = y, .y_stride = m->rows, .n = n};
    cr_assert_eq(mox_mat_mul_cpu(pool, MOX_ISA_SCALAR, &a), MOX_OK);
    mox_pool_destroy(&pool);
    return y;
}

static void check(const mox_format *f, mox_act_kind kind, mox_isa isa, uint64_t seed)
{
    uint64_t s = seed;
    uint32_t rows = 1 + fx_below(&s, 40), cols = fx_cols(f, 1500, &s), n = 1 + fx_below(&s, MAX_N);
    uint8_t *w = fx_weights(f, rows, cols, &s), *x16 = fx_repack(f->type, rows, cols, w);
    mox_mat m = mox_mat_dense(f->type, rows, cols, x16);
    mox_acts x = fx_acts(kind, n, cols, &s);
    uint32_t step = fx_below(&s, 3) == 0 ? 1 + fx_below(&s, 3) : UINT32_MAX / 2;
    uint32_t tiles = 1 + fx_below(&s, MOX_PANEL_ROWS / MOX_PANEL_TILE);
    float *want = by_twin(&m, &x, n), *got = by_panel(isa, &m, &x, n, tiles, step);
    cr_assert(fx_same(got, want, (size_t)n * rows), "%s kind %d on %s: %u x %u, n %u, step %u, seed %lu",
              mox_type_info(f->type)->name, (int)kind, mox_isa_name(isa), rows, cols, n, step,
              (unsigned long)seed);
    free(w), free(x16), free(x.data), free(want), free(got);
}

static void check_all_of(mox_isa isa, uint32_t shapes)
{
    if (!mox_isa_present(isa)) {
        cr_skip_test("the machine has no %s", mox_isa_name(isa));
    }
    for (uint32_t type = 0; type < MOX_TYPE_COUNT; type++) {
        const mox_format *f = mox_format_of(type);
        for (uint64_t i = 0; f != NULL && i < shapes; i++) {
            bool audit = i % 10 == 9 && f->kind != MOX_ACT_F32;
            check(f, audit ? MOX_ACT_F32 : f->kind, isa, 5000 * type + i);
        }
    }
}

Test(panel, scalar_gives_the_bits_of_the_twin)
{
    check_all_of(MOX_ISA_SCALAR, 10);
}

Test(panel, avx2_gives_the_bits_of_the_twin)
{
    check_all_of(MOX_ISA_AVX2, SHAPES);
}

Test(panel, avx512_gives_the_bits_of_the_twin)
{
    check_all_of(MOX_ISA_AVX512, SHAPES);
}

/* gate (sliced rows) and down (sliced columns) of experts whose last slice is short */
static void check_sliced(mox_type type, uint32_t d_model, uint32_t d_ff, uint32_t n, uint64_t *s)
{
    mox_expert_layout l;
    mox_type types[MOX_SLABS] = {type, type, type};
    cr_assert_eq(mox_expert_layout_init(&l, types, d_model, d_ff), MOX_OK);
    uint8_t *slot = aligned_alloc(64, l.slot_bytes);
    const mox_format *f = mox_format_of(type);
    for (mox_slab b = 0; b < MOX_SLABS; b++) {
        uint32_t rows = mox_expert_slab_rows(&l, b), cols = b == MOX_SLAB_DOWN ? d_ff : d_model;
        uint8_t *w = fx_weights(f, rows, cols, s), *x16 = fx_repack(type, rows, cols, w);
        mox_expert_repack(&l, b, 0, rows, w, slot);
        mox_mat view[MOX_SLABS], dense = mox_mat_dense(type, rows, cols, x16);
        mox_expert_views(&l, slot, view);
        mox_acts x = fx_acts(f->kind, n, cols, s);
        float *want = by_twin(&dense, &x, n);
        for (mox_isa isa = MOX_ISA_SCALAR; isa < MOX_ISA_COUNT; isa++) {
            if (mox_isa_present(isa)) {
                float *got = by_panel(isa, &view[b], &x, n, MOX_PANEL_ROWS / MOX_PANEL_TILE, UINT32_MAX / 2);
                cr_assert(fx_same(got, want, (size_t)n * rows), "%s slab %d on %s", mox_type_info(type)->name,
                          (int)b, mox_isa_name(isa));
                free(got);
            }
        }
        free(w), free(x16), free(x.data), free(want);
    }
    free(slot);
}

Test(panel, sliced_matrices_give_the_bits_of_dense_ones)
{
    uint64_t s = 77;
    check_sliced(MOX_TYPE_Q4_K, 256, 1024, 13, &s);
    check_sliced(MOX_TYPE_Q8_0, 288, 2944, 7, &s);
    check_sliced(MOX_TYPE_MXFP4, 96, 352, 5, &s);
    check_sliced(MOX_TYPE_F16, 72, 300, 9, &s);
}

Test(panel, kinds_must_match)
{
    _Alignas(64) uint8_t chunk[16 * 288] = {0};
    mox_mat m = mox_mat_dense(MOX_TYPE_Q8_0, 16, 256, chunk);
    mox_panel_job j;
    cr_assert_eq(mox_panel_job_init(&j, MOX_ISA_SCALAR, &m, MOX_ACT_K), MOX_E_ARG);
    cr_assert_eq(mox_panel_job_init(&j, MOX_ISA_SCALAR, &m, MOX_ACT_F32), MOX_OK);
}
