/* Products: the definition against double precision, every instruction set against the definition, and
 * results that depend neither on threads nor on the batch. */
#include "kernels/mat_fixture.h"
#include "kernels/mat_mul.h"
#include "kernels/mat_tile.h"
#include "kernels/vec.h"

#include <criterion/criterion.h>

enum { SHAPES = 500, MAX_N = 9 };

static float *product(mox_pool *pool, mox_isa isa, const mox_mat *m, mox_acts x, uint32_t n)
{
    float *y = malloc((size_t)n * m->rows * sizeof *y + 64);
    void *scratch =
        isa == MOX_ISA_SCALAR ? NULL : aligned_alloc(64, mox_mat_mul_scratch_bytes(x.kind, m->cols, n));
    mox_mat_mul_args a = {.w = m, .x = x, .y = y, .y_stride = m->rows, .n = n, .scratch = scratch};
    cr_assert_eq(mox_mat_mul_cpu(pool, isa, &a), MOX_OK);
    free(scratch);
    return y;
}

/* Error of the twin against the exact sum of the same rounded factors, in units of the sum of magnitudes. */
static void check_against_double(mox_pool *pool, const mox_format *f, mox_act_kind kind, uint64_t *s)
{
    uint32_t rows = 1 + fx_below(s, 40), cols = fx_cols(f, 1800, s), n = 1 + fx_below(s, 3);
    uint8_t *w = fx_weights(f, rows, cols, s), *x16 = fx_repack(f->type, rows, cols, w);
    mox_mat m = mox_mat_dense(f->type, rows, cols, x16);
    mox_acts x = fx_acts(kind, n, cols, s);
    float *y = product(pool, MOX_ISA_SCALAR, &m, x, n), *row = malloc(cols * sizeof *row);
    for (uint32_t r = 0; r < rows; r++) {
        f->dequant(w + r * mox_type_row_bytes(f->type, cols), row, cols);
        for (uint32_t i = 0; i < n; i++) {
            double sum = 0, mag = 0x1p-100;
            for (uint32_t c = 0; c < cols; c++) {
                double p = (double)row[c] * fx_act_value(&x, i, c);
                sum += p;
                mag += fabs(p);
            }
            double got = y[(size_t)i * rows + r];
            cr_assert(fabs(got - sum) <= 4e-6 * mag, "%s kind %d, %u x %u: %g for %g (magnitude %g)",
                      mox_type_info(f->type)->name, (int)kind, rows, cols, got, sum, mag);
        }
    }
    free(w), free(x16), free(x.data), free(y), free(row);
}

Test(mat_mul, twin_is_the_product)
{
    uint64_t s = 11;
    mox_pool *pool = fx_pool(1);
    for (uint32_t type = 0; type < MOX_TYPE_COUNT; type++) {
        const mox_format *f = mox_format_of(type);
        for (int i = 0; f != NULL && i < 12; i++) {
            check_against_double(pool, f, f->kind, &s);
            check_against_double(pool, f, MOX_ACT_F32, &s);
        }
    }
    mox_pool_destroy(&pool);
}

static mox_tile_fn *tile_of(const mox_tiles *t, const mox_format *f, mox_act_kind kind)
{
    return kind == f->kind && t->of_type[f->type] != NULL ? t->of_type[f->type] : t->dequant;
}

static void check_object(const mox_tiles *tiles, const mox_format *f, mox_act_kind kind, uint64_t seed)
{
    uint64_t s = seed;
    uint32_t cols = fx_cols(f, MOX_BLOCK, &s), n = 1 + fx_below(&s, MOX_TILE_ROWS);
    uint8_t *w = fx_weights(f, MOX_ROWS_PER_GROUP, cols, &s);
    uint8_t *x16 = fx_repack(f->type, MOX_ROWS_PER_GROUP, cols, w);
    mox_acts acts = fx_acts(kind, n, cols, &s);
    const void *x[MOX_TILE_ROWS];
    for (uint32_t i = 0; i < n; i++) {
        x[i] = (const uint8_t *)acts.data + i * acts.row_bytes;
    }
    float want[MOX_TILE_ROWS][MOX_ROWS_PER_GROUP], got[MOX_TILE_ROWS][MOX_ROWS_PER_GROUP];
    tile_of(&mox_tiles_ref, f, kind)(f, x16, cols, x, n, want);
    tile_of(tiles, f, kind)(f, x16, cols, x, n, got);
    cr_assert(fx_same(got[0], want[0], (size_t)n * MOX_ROWS_PER_GROUP),
              "%s kind %d: %u columns, n %u, seed %lu", mox_type_info(f->type)->name, (int)kind, cols, n,
              (unsigned long)seed);
    free(w), free(x16), free(acts.data);
}

/* The twin is compiled once for any machine and once per instruction set; --isa scalar takes one of these. */
Test(mat_mul, every_object_of_the_twin_gives_its_bits)
{
    for (mox_isa isa = MOX_ISA_SCALAR; isa < MOX_ISA_COUNT; isa++) {
        for (uint32_t type = 0; mox_isa_present(isa) && type < MOX_TYPE_COUNT; type++) {
            const mox_format *f = mox_format_of(type);
            for (uint64_t i = 0; f != NULL && i < SHAPES; i++) {
                check_object(mox_tiles_plain(isa), f, i % 4 == 3 ? MOX_ACT_F32 : f->kind, 1000 * type + i);
            }
        }
    }
}

static void check_isa(mox_pool *pool, const mox_format *f, mox_act_kind kind, mox_isa isa, uint64_t seed)
{
    uint64_t s = seed;
    uint32_t rows = 1 + fx_below(&s, 50), cols = fx_cols(f, 1100, &s), n = 1 + fx_below(&s, MAX_N);
    uint8_t *w = fx_weights(f, rows, cols, &s), *x16 = fx_repack(f->type, rows, cols, w);
    mox_mat m = mox_mat_dense(f->type, rows, cols, x16);
    mox_acts x = fx_acts(kind, n, cols, &s);
    float *want = product(pool, MOX_ISA_SCALAR, &m, x, n), *got = product(pool, isa, &m, x, n);
    cr_assert(fx_same(got, want, (size_t)n * rows), "%s kind %d on %s: %u x %u, n %u, seed %lu",
              mox_type_info(f->type)->name, (int)kind, mox_isa_name(isa), rows, cols, n, (unsigned long)seed);
    free(w), free(x16), free(x.data), free(want), free(got);
}

static void check_all_of(mox_isa isa)
{
    if (!mox_isa_present(isa)) {
        cr_skip_test("the machine has no %s", mox_isa_name(isa));
    }
    mox_pool *pool = fx_pool(1);
    for (uint32_t type = 0; type < MOX_TYPE_COUNT; type++) {
        const mox_format *f = mox_format_of(type);
        for (uint64_t i = 0; f != NULL && i < SHAPES; i++) {
            bool audit = i % 10 == 9 && f->kind != MOX_ACT_F32;
            check_isa(pool, f, audit ? MOX_ACT_F32 : f->kind, isa, 1000 * type + i);
        }
    }
    cr_assert_eq(mox_mat_self_check(isa), MOX_OK, "%s", mox_err_last()->msg);
    mox_pool_destroy(&pool);
}

Test(mat_mul, avx2_gives_the_bits_of_the_twin)
{
    check_all_of(MOX_ISA_AVX2);
}

Test(mat_mul, avx512_gives_the_bits_of_the_twin)
{
    check_all_of(MOX_ISA_AVX512);
}

Test(mat_mul, bits_depend_neither_on_threads_nor_on_the_batch)
{
    static const mox_type types[] = {MOX_TYPE_Q4_K, MOX_TYPE_Q6_K, MOX_TYPE_Q8_0, MOX_TYPE_F16,
                                     MOX_TYPE_IQ3_S};
    uint64_t s = 21;
    mox_pool *one = fx_pool(1);
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        const mox_format *f = mox_format_of(types[t]);
        uint32_t rows = 300, cols = 2048, n = 113;
        uint8_t *w = fx_weights(f, rows, cols, &s), *x16 = fx_repack(f->type, rows, cols, w);
        mox_mat m = mox_mat_dense(f->type, rows, cols, x16);
        mox_acts x = fx_acts(f->kind, n, cols, &s);
        float *want = product(one, mox_isa_best(), &m, x, n);
        for (uint32_t i = 0; i < n; i++) { /* one row at a time */
            mox_acts xi = x;
            xi.data = (uint8_t *)x.data + i * x.row_bytes;
            float *y = product(one, mox_isa_best(), &m, xi, 1);
            cr_assert(fx_same(y, want + (size_t)i * rows, rows), "%s row %u alone",
                      mox_type_info(types[t])->name, i);
            free(y);
        }
        for (uint32_t threads = 2; threads <= 5; threads++) {
            mox_pool *pool = fx_pool(threads);
            float *y = product(pool, mox_isa_best(), &m, x, n);
            cr_assert(fx_same(y, want, (size_t)n * rows), "%s, %u threads", mox_type_info(types[t])->name,
                      threads);
            free(y);
            mox_pool_destroy(&pool);
        }
        free(w), free(x16), free(x.data), free(want);
    }
    mox_pool_destroy(&one);
}

Test(mat_mul, bias_is_added_and_strides_are_kept)
{
    uint64_t s = 22;
    const mox_format *f = mox_format_of(MOX_TYPE_Q8_0);
    uint32_t rows = 21, cols = 96, n = 5;
    uint8_t *w = fx_weights(f, rows, cols, &s), *x16 = fx_repack(f->type, rows, cols, w);
    mox_mat m = mox_mat_dense(f->type, rows, cols, x16);
    mox_acts x = fx_acts(f->kind, n, cols, &s);
    mox_pool *pool = fx_pool(1);
    float *plain = product(pool, MOX_ISA_SCALAR, &m, x, n), bias[21], y[5][32];
    for (uint32_t r = 0; r < rows; r++) {
        bias[r] = 0.5F * (float)r;
    }
    memset(y, 0, sizeof y);
    mox_mat_mul_args a = {.w = &m, .x = x, .bias = bias, .y = y[0], .y_stride = 32, .n = n};
    cr_assert_eq(mox_mat_mul_cpu(pool, mox_isa_best(), &a), MOX_OK);
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t r = 0; r < 32; r++) {
            float want = r < rows ? plain[i * rows + r] + bias[r] : 0.0F;
            cr_assert(fx_same(&y[i][r], &want, 1), "row %u, output %u", i, r);
        }
    }
    mox_acts wrong = fx_acts(MOX_ACT_K, 1, 256, &s);
    a.x = wrong;
    cr_assert_eq(mox_mat_mul_cpu(pool, MOX_ISA_SCALAR, &a), MOX_E_ARG, "K activations do not meet Q8_0");
    mox_pool_destroy(&pool);
    free(w), free(x16), free(x.data), free(wrong.data), free(plain);
}

/* Runs of groups end in the middle of a product or cover a whole one, whatever the number of workers. */
Test(mat_mul, products_of_one_call_are_those_of_single_calls)
{
    static const mox_type types[MOX_MAT_MULS] = {MOX_TYPE_Q4_K, MOX_TYPE_Q6_K, MOX_TYPE_Q8_0, MOX_TYPE_Q4_K};
    static const uint32_t rows[MOX_MAT_MULS] = {300, 16, 70, 9};
    uint64_t s = 23;
    for (uint32_t threads = 1; threads <= 5; threads++) {
        mox_pool *pool = fx_pool(threads);
        mox_mat m[MOX_MAT_MULS];
        mox_mat_mul_args a[MOX_MAT_MULS];
        float *want[MOX_MAT_MULS];
        for (uint32_t k = 0; k < MOX_MAT_MULS; k++) {
            const mox_format *f = mox_format_of(types[k]);
            uint8_t *w = fx_weights(f, rows[k], 512, &s);
            m[k] = mox_mat_dense(f->type, rows[k], 512, fx_repack(f->type, rows[k], 512, w));
            a[k] = (mox_mat_mul_args){
                .w = &m[k], .x = fx_acts(f->kind, 3, 512, &s), .y_stride = rows[k], .n = 3};
            a[k].y = malloc(3 * rows[k] * sizeof *a[k].y);
            want[k] = product(pool, MOX_ISA_SCALAR, &m[k], a[k].x, 3);
            free(w);
        }
        cr_assert_eq(mox_mat_muls_cpu(pool, mox_isa_best(), &(mox_mat_muls_args){a, MOX_MAT_MULS}), MOX_OK);
        for (uint32_t k = 0; k < MOX_MAT_MULS; k++) {
            cr_assert(fx_same(a[k].y, want[k], 3 * (size_t)rows[k]), "product %u, %u threads", k, threads);
            free((void *)(uintptr_t)m[k].data), free(a[k].x.data), free(a[k].y), free(want[k]);
        }
        mox_pool_destroy(&pool);
    }
}

typedef struct expert_case {
    mox_type type[MOX_SLABS];
    uint32_t d_model, d_ff, n;
} expert_case;

/* Activations made from floats, as the graph makes them. */
static void real_acts(mox_acts x[MOX_ACT_KINDS], uint32_t n, uint32_t cols, uint64_t *s)
{
    x[MOX_ACT_F32] = fx_acts(MOX_ACT_F32, n, cols, s);
    x[MOX_ACT_K] = fx_acts(MOX_ACT_K, n, cols, s);
    x[MOX_ACT_B32] = fx_acts(MOX_ACT_B32, n, cols, s);
    const mox_vec *vec = mox_vec_of(MOX_ISA_SCALAR);
    for (uint32_t i = 0; i < n; i++) {
        float *row = (float *)(void *)((uint8_t *)x[MOX_ACT_F32].data + i * x[MOX_ACT_F32].row_bytes);
        for (uint32_t c = 0; c < cols; c++) {
            row[c] = 0.001F * (float)((int)fx_below(s, 2001) - 1000);
        }
        vec->quantize_k(row, cols, (mox_act_k *)((uint8_t *)x[MOX_ACT_K].data + i * x[MOX_ACT_K].row_bytes));
        vec->quantize_b(row, cols,
                        (mox_act_b *)((uint8_t *)x[MOX_ACT_B32].data + i * x[MOX_ACT_B32].row_bytes));
    }
}

/* The same from single operations: two products, swiglu, rounding, a product. */
static float *by_operations(mox_pool *pool, const expert_case *c, uint8_t *const slab[], const mox_acts *x,
                            const uint32_t *tok, bool act_f32)
{
    const mox_vec *vec = mox_vec_of(MOX_ISA_SCALAR);
    float *e = calloc((size_t)c->n * c->d_model, sizeof *e);
    uint8_t *w[MOX_SLABS];
    mox_mat m[MOX_SLABS];
    for (int b = 0; b < MOX_SLABS; b++) {
        uint32_t rows = b == MOX_SLAB_DOWN ? c->d_model : c->d_ff,
                 cols = b == MOX_SLAB_DOWN ? c->d_ff : c->d_model;
        w[b] = fx_repack(c->type[b], rows, cols, slab[b]);
        m[b] = mox_mat_dense(c->type[b], rows, cols, w[b]);
    }
    for (uint32_t i = 0; i < c->n; i++) {
        float *in[2];
        for (int b = 0; b < 2; b++) {
            mox_acts xi = x[act_f32 ? MOX_ACT_F32 : mox_format_of(c->type[b])->kind];
            xi.data = (uint8_t *)xi.data + tok[i] * xi.row_bytes;
            in[b] = product(pool, MOX_ISA_SCALAR, &m[b], xi, 1);
        }
        vec->swiglu(in[0], in[1], in[0], c->d_ff);
        mox_act_kind kind = act_f32 ? MOX_ACT_F32 : mox_format_of(c->type[MOX_SLAB_DOWN])->kind;
        uint64_t s = 1;
        mox_acts h = fx_acts(kind, 1, c->d_ff, &s);
        if (kind == MOX_ACT_F32) {
            memcpy(h.data, in[0], c->d_ff * sizeof(float));
        } else if (kind == MOX_ACT_K) {
            cr_assert(vec->quantize_k(in[0], c->d_ff, h.data));
        } else {
            cr_assert(vec->quantize_b(in[0], c->d_ff, h.data));
        }
        float *y = product(pool, MOX_ISA_SCALAR, &m[MOX_SLAB_DOWN], h, 1);
        memcpy(e + (size_t)i * c->d_model, y, c->d_model * sizeof *y);
        free(in[0]), free(in[1]), free(y), free(h.data);
    }
    free(w[0]), free(w[1]), free(w[2]);
    return e;
}

static void check_expert(const expert_case *c, bool act_f32, uint64_t seed)
{
    uint64_t s = seed;
    mox_expert_layout l;
    cr_assert_eq(mox_expert_layout_init(&l, c->type, c->d_model, c->d_ff), MOX_OK);
    uint8_t *slot = aligned_alloc(64, l.slot_bytes), *slab[MOX_SLABS];
    for (mox_slab b = 0; b < MOX_SLABS; b++) {
        uint32_t rows = mox_expert_slab_rows(&l, b), cols = b == MOX_SLAB_DOWN ? c->d_ff : c->d_model;
        slab[b] = calloc(rows, mox_expert_slab_row_bytes(&l, b));
        const mox_type_desc *t = mox_type_info(c->type[b]);
        for (size_t i = 0; i < (size_t)rows * cols / t->block_elems; i++) {
            fx_block(mox_format_of(c->type[b]), slab[b] + i * t->block_bytes, FX_PLAIN, &s);
        }
        mox_expert_repack(&l, b, 0, rows, slab[b], slot);
    }
    mox_expert_use use = {.n = c->n};
    mox_expert_views(&l, slot, use.mats);
    uint32_t n_in = c->n + 3, tok[128], out_row[128];
    for (uint32_t i = 0; i < c->n; i++) {
        tok[i] = (i * 5 + 2) % n_in;
        out_row[i] = c->n - 1 - i;
    }
    mox_acts x[MOX_ACT_KINDS];
    real_acts(x, n_in, c->d_model, &s);
    mox_pool *one = fx_pool(1);
    float *want = by_operations(one, c, slab, x, tok, act_f32);
    mox_pool_destroy(&one);
    size_t scratch_bytes = mox_experts_scratch_bytes(&l, 1, c->n, 3, act_f32);
    void *scratch = aligned_alloc(64, scratch_bytes);
    float *e = malloc((size_t)c->n * c->d_model * sizeof *e);
    for (mox_isa isa = MOX_ISA_SCALAR; isa < MOX_ISA_COUNT; isa++) {
        for (uint32_t threads = 1; mox_isa_present(isa) && threads <= 3; threads++) {
            mox_pool *pool = fx_pool(threads);
            mox_experts_args a = {.use = &use,
                                  .n_uses = 1,
                                  .x = x,
                                  .tok = tok,
                                  .out_row = out_row,
                                  .e = e,
                                  .act_f32 = act_f32,
                                  .scratch = scratch,
                                  .scratch_bytes = scratch_bytes};
            memset(e, 0, (size_t)c->n * c->d_model * sizeof *e);
            cr_assert_eq(mox_experts_cpu(pool, isa, &a), MOX_OK);
            for (uint32_t i = 0; i < c->n; i++) {
                cr_assert(
                    fx_same(e + (size_t)out_row[i] * c->d_model, want + (size_t)i * c->d_model, c->d_model),
                    "%s %u x %u, row %u of %u, %s, %u threads, act_f32 %d", mox_type_info(c->type[2])->name,
                    c->d_model, c->d_ff, i, c->n, mox_isa_name(isa), threads, (int)act_f32);
            }
            mox_pool_destroy(&pool);
        }
    }
    for (int k = 0; k < MOX_ACT_KINDS; k++) {
        free(x[k].data);
    }
    free(slab[0]), free(slab[1]), free(slab[2]), free(slot), free(want), free(scratch), free(e);
}

Test(expert, sliced_slot_gives_the_bits_of_single_operations)
{
    static const expert_case cases[] = {
        {{MOX_TYPE_Q4_K, MOX_TYPE_Q4_K, MOX_TYPE_Q6_K}, 256, 512, 1},
        {{MOX_TYPE_Q4_K, MOX_TYPE_Q5_K, MOX_TYPE_Q4_K}, 256, 768, 6},
        {{MOX_TYPE_Q8_0, MOX_TYPE_Q8_0, MOX_TYPE_Q8_0}, 288, 2944, 2},
        {{MOX_TYPE_Q5_0, MOX_TYPE_Q4_K, MOX_TYPE_MXFP4}, 256, 352, 7},
        {{MOX_TYPE_F16, MOX_TYPE_F16, MOX_TYPE_F16}, 72, 64, 3},
        {{MOX_TYPE_Q2_K, MOX_TYPE_Q2_K, MOX_TYPE_Q8_0}, 256, 32, 9},
        {{MOX_TYPE_IQ2_S, MOX_TYPE_Q4_K, MOX_TYPE_F32}, 256, 300, 5},
        {{MOX_TYPE_Q4_K, MOX_TYPE_Q4_K, MOX_TYPE_Q4_K}, 256, 256, 70},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_expert(&cases[i], false, 31 + i);
        check_expert(&cases[i], true, 41 + i);
    }
}

/* A slot that fills up while it is computed with: what has not arrived is not a number. */
typedef struct arriving_slot {
    const uint8_t *whole;
    uint8_t *slot;
    const mox_expert_layout *l;
    uint32_t step, fail_at, calls;
} arriving_slot;

static mox_err arrive(void *ctx, uint32_t *slices)
{
    arriving_slot *a = ctx;
    uint32_t had = *slices, n = had + a->step;
    a->calls++;
    if (n >= a->fail_at) {
        return MOX_FAIL(MOX_E_IO, "the rest does not come");
    }
    n = n < a->l->n_slices ? n : a->l->n_slices;
    size_t begin = had * a->l->slice_bytes,
           end = n < a->l->n_slices ? n * a->l->slice_bytes : a->l->slot_bytes;
    memcpy(a->slot + begin, a->whole + begin, end - begin);
    *slices = n == a->l->n_slices ? UINT32_MAX : n;
    return MOX_OK;
}

Test(expert, computed_while_it_arrives_gives_the_same_bits)
{
    enum { D = 256, FF = 256 * 11 + 128, ROWS = 9 };
    static const uint32_t n_of[] = {1, 4, ROWS};
    mox_expert_layout l;
    mox_type types[MOX_SLABS] = {MOX_TYPE_Q4_K, MOX_TYPE_F16, MOX_TYPE_F16};
    cr_assert_eq(mox_expert_layout_init(&l, types, D, FF), MOX_OK);
    cr_assert_eq(l.n_slices, 12);
    uint64_t s = 62;
    uint8_t *whole = aligned_alloc(64, l.slot_bytes), *slot = aligned_alloc(64, l.slot_bytes);
    for (mox_slab b = 0; b < MOX_SLABS; b++) {
        uint32_t rows = mox_expert_slab_rows(&l, b), cols = b == MOX_SLAB_DOWN ? FF : D;
        uint8_t *slab = fx_weights(mox_format_of(types[b]), rows, cols, &s);
        mox_expert_repack(&l, b, 0, rows, slab, whole);
        free(slab);
    }
    mox_acts x[MOX_ACT_KINDS];
    real_acts(x, ROWS, D, &s);
    static uint32_t row[ROWS];
    static float e[2][ROWS * D];
    for (uint32_t i = 0; i < ROWS; i++) {
        row[i] = i;
    }
    for (uint32_t at = 0; at < 3 * 13 * 2; at++) {
        uint32_t n = n_of[at % 3], threads = 1 + at / 3 % 2 * 2, step = 1 + at / 6;
        mox_pool *pool = fx_pool(threads);
        size_t bytes = mox_experts_scratch_bytes(&l, 1, n, threads, false);
        void *scratch = aligned_alloc(64, bytes);
        mox_expert_use use = {.n = n};
        mox_experts_args a = {.use = &use,
                              .n_uses = 1,
                              .x = x,
                              .tok = row,
                              .out_row = row,
                              .e = e[0],
                              .scratch = scratch,
                              .scratch_bytes = bytes};
        mox_expert_views(&l, whole, use.mats);
        cr_assert_eq(mox_experts_cpu(pool, mox_isa_best(), &a), MOX_OK);
        arriving_slot arriving = {.whole = whole, .slot = slot, .l = &l, .step = step, .fail_at = UINT32_MAX};
        memset(slot, 0xff, l.slot_bytes);
        mox_expert_views(&l, slot, use.mats);
        a.e = e[1];
        a.arrived = arrive;
        a.arrived_ctx = &arriving;
        cr_assert_eq(mox_experts_cpu(pool, mox_isa_best(), &a), MOX_OK);
        cr_assert_eq(arriving.calls, (l.n_slices + step - 1) / step, "asked until the slot is whole");
        cr_assert(fx_same(e[0], e[1], n * D), "%u rows, %u threads, %u slices at a time", n, threads, step);
        arriving.fail_at = l.n_slices;
        memset(slot, 0xff, l.slot_bytes);
        cr_assert_eq(mox_experts_cpu(pool, mox_isa_best(), &a), MOX_E_IO, "not an error of its own");
        free(scratch);
        mox_pool_destroy(&pool);
    }
    for (int k = 0; k < MOX_ACT_KINDS; k++) {
        free(x[k].data);
    }
    free(slot);
    free(whole);
}

/* Few rows and many rows, in one call with the merge and in calls of their own with as little scratch as each needs. */
Test(expert, a_call_for_all_gives_the_bits_of_one_for_each)
{
    enum { D = 256, FF = 1500, USES = 5, TOKENS = 300, TOP_K = 2, ROWS = TOKENS * TOP_K };
    static const uint32_t n_of[USES] = {2, 4, 260, 330, 4};
    mox_expert_layout l;
    mox_type types[MOX_SLABS] = {MOX_TYPE_Q8_0, MOX_TYPE_Q4_K, MOX_TYPE_F16};
    cr_assert_eq(mox_expert_layout_init(&l, types, D, FF), MOX_OK);
    uint64_t s = 61;
    uint8_t *slot[USES];
    mox_expert_use use[USES] = {0};
    for (uint32_t u = 0, first = 0; u < USES; first += n_of[u++]) {
        slot[u] = aligned_alloc(64, l.slot_bytes);
        for (mox_slab b = 0; b < MOX_SLABS; b++) {
            uint32_t rows = mox_expert_slab_rows(&l, b), cols = b == MOX_SLAB_DOWN ? FF : D;
            uint8_t *slab = fx_weights(mox_format_of(types[b]), rows, cols, &s);
            mox_expert_repack(&l, b, 0, rows, slab, slot[u]);
            free(slab);
        }
        mox_expert_views(&l, slot[u], use[u].mats);
        use[u].first = first;
        use[u].n = n_of[u];
    }
    mox_acts x[MOX_ACT_KINDS];
    real_acts(x, TOKENS, D, &s);
    static uint32_t tok[ROWS], out_row[ROWS];
    static float weights[ROWS], residual[TOKENS * D], e[2][ROWS * D], y[2][TOKENS * D];
    for (uint32_t i = 0; i < ROWS; i++) {
        out_row[i] = i * 7 % ROWS;
        tok[i] = out_row[i] / TOP_K;
        weights[i] = (float)fx_below(&s, 1000) / 999.0f;
    }
    for (uint32_t i = 0; i < TOKENS * D; i++) {
        residual[i] = (float)fx_below(&s, 1000) - 500.0f;
    }
    for (uint32_t threads = 1; threads <= 3; threads += 2) {
        mox_pool *pool = fx_pool(threads);
        size_t bytes = mox_experts_scratch_bytes(&l, USES, ROWS, threads, false);
        void *scratch = aligned_alloc(64, bytes);
        mox_merge_args merge[2];
        for (int i = 0; i < 2; i++) {
            merge[i] = (mox_merge_args){e[i], weights, residual, y[i], TOKENS, TOP_K, D};
        }
        mox_experts_args a = {.use = use,
                              .n_uses = USES,
                              .x = x,
                              .tok = tok,
                              .out_row = out_row,
                              .e = e[0],
                              .merge = &merge[0],
                              .scratch = scratch,
                              .scratch_bytes = bytes};
        cr_assert_eq(mox_experts_cpu(pool, mox_isa_best(), &a), MOX_OK);
        a.e = e[1];
        a.n_uses = 1;
        for (uint32_t u = 0; u < USES; u++) {
            a.use = &use[u];
            a.merge = u + 1 == USES ? &merge[1] : NULL;
            a.scratch_bytes = mox_experts_scratch_bytes(&l, 1, n_of[u], threads, false);
            cr_assert_eq(mox_experts_cpu(pool, MOX_ISA_SCALAR, &a), MOX_OK);
        }
        cr_assert(fx_same(e[0], e[1], ROWS * D), "%u threads", threads);
        cr_assert(fx_same(y[0], y[1], TOKENS * D), "%u threads", threads);
        for (uint32_t c = 0; c < D; c++) { /* the last token, merged by hand */
            const float *w = weights + ROWS - TOP_K, *part = e[0] + (ROWS - TOP_K) * D + c;
            float sum = fmaf(w[1], part[D], fmaf(w[0], part[0], 0.0f));
            cr_assert_eq(y[0][(TOKENS - 1) * D + c], residual[(TOKENS - 1) * D + c] + sum);
        }
        free(scratch);
        mox_pool_destroy(&pool);
    }
    for (int k = 0; k < MOX_ACT_KINDS; k++) {
        free(x[k].data);
    }
    for (uint32_t u = 0; u < USES; u++) {
        free(slot[u]);
    }
}

Test(expert, embedding_rows_are_the_matrix_rows)
{
    uint64_t s = 51;
    const mox_format *f = mox_format_of(MOX_TYPE_Q4_K);
    uint8_t *w = fx_weights(f, 37, 512, &s), *x16 = fx_repack(f->type, 37, 512, w);
    mox_mat m = mox_mat_dense(f->type, 37, 512, x16);
    uint32_t ids[] = {36, 0, 17, 17, 5};
    float y[5][512], want[512];
    mox_embed_args a = {.w = &m, .ids = ids, .n = 5, .y = y[0]};
    mox_pool *pool = fx_pool(2);
    cr_assert_eq(mox_embed_cpu(pool, mox_isa_best(), &a), MOX_OK);
    for (int i = 0; i < 5; i++) {
        f->dequant(w + ids[i] * mox_type_row_bytes(f->type, 512), want, 512);
        cr_assert(fx_same(y[i], want, 512), "id %u", ids[i]);
    }
    mox_pool_destroy(&pool);
    free(w), free(x16);
}
