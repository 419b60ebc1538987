/* Every kernel of every instruction set against the twin, on random shapes and contents, through the drivers
 * that the program uses: products, experts, embedding rows. Equal bits are wanted, infinities included; where
 * the twin has a NaN (inf - inf, which sound models do not reach) any NaN will do. */
#include "kernels/mat_mul.h"
#include "kernels/test_random.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { SHAPES = RND_COUNT(500), MAX_TOKENS = 120, MAX_WORKERS = 3, UNTOUCHED = 12345 };

static mox_pool *pools[MAX_WORKERS];

static void open_pools(void)
{
    for (uint32_t i = 0; i < MAX_WORKERS; i++) {
        pools[i] = fx_pool(i + 1);
        cr_assert_not_null(pools[i]);
    }
}

static void close_pools(void)
{
    for (uint32_t i = 0; i < MAX_WORKERS; i++) {
        mox_pool_destroy(&pools[i]);
    }
}

/* The instruction sets to compare, behind the twin. */
static mox_isa next_isa(mox_isa isa)
{
    do {
        isa++;
    } while (isa < MOX_ISA_COUNT && !mox_isa_present(isa));
    return isa;
}

#define EACH_ISA(isa) for (mox_isa isa = next_isa(MOX_ISA_SCALAR); isa < MOX_ISA_COUNT; isa = next_isa(isa))

static void print_counts(const char *what, const char *kind, uint32_t shapes, const char *of_them)
{
    printf("%-14s %-5s %6u shapes (%s) equal to the twin on", what, kind, shapes, of_them);
    EACH_ISA(isa)
    {
        printf(" %s", mox_isa_name(isa));
    }
    printf("\n");
    fflush(stdout);
}

static const char *kind_name(mox_act_kind kind)
{
    return kind == MOX_ACT_F32 ? "f32" : "int8";
}

typedef struct shape_counts {
    uint32_t shapes, short_last, many; /* with a short last block; with more rows than a tile takes */
    uint32_t finite;                   /* nothing overflowed */
} shape_counts;

/* Activations as floats that were rounded, or codes at their ends. */
static mox_acts any_acts(mox_act_kind kind, uint32_t n, uint32_t cols, uint64_t *s)
{
    if (fx_below(s, 2) == 0) {
        return fx_acts(kind, n, cols, s);
    }
    float *rows = malloc((size_t)n * cols * sizeof *rows);
    for (uint32_t i = 0; i < n; i++) {
        rnd_floats(s, rows + (size_t)i * cols, cols, fx_below(s, RND_ROWS));
    }
    mox_acts x = rnd_acts_of(kind, rows, n, cols);
    cr_assert_not_null(x.data);
    free(rows);
    return x;
}

/* Runs a product and returns y [n][stride], what it must not touch set to UNTOUCHED. `packed`: many rows go
 * through panels. */
static float *product(mox_isa isa, mox_mat_mul_args a, bool packed)
{
    size_t bytes = mox_mat_mul_scratch_bytes(a.x.kind, a.w->cols, a.n);
    a.scratch = packed ? aligned_alloc(64, bytes) : NULL;
    size_t count = a.n * a.y_stride;
    float *y = aligned_alloc(64, (count * sizeof *y + 63) / 64 * 64);
    for (size_t i = 0; i < count; i++) {
        y[i] = UNTOUCHED;
    }
    a.y = y;
    cr_assert_eq(mox_mat_mul_cpu(pools[a.n % MAX_WORKERS], isa, &a), MOX_OK);
    free(a.scratch);
    return y;
}

static bool all_finite(const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(y[i])) {
            return false;
        }
    }
    return true;
}

static void check_product(const mox_format *f, mox_act_kind kind, uint64_t seed, shape_counts *count)
{
    uint64_t s = seed;
    uint32_t rows = 1 + fx_below(&s, fx_below(&s, 2) ? 100 : 33);
    uint32_t cols = fx_cols(f, fx_below(&s, 4) == 0 ? 2048 : 700, &s);
    uint32_t n = 1 + fx_below(&s, fx_below(&s, 2) ? 33 : fx_below(&s, 16) ? 5 : MAX_TOKENS);
    uint8_t *w = rnd_weights(f, rows, cols, fx_below(&s, 2) == 0, &s),
            *x16 = fx_repack(f->type, rows, cols, w);
    mox_mat m = mox_mat_dense(f->type, rows, cols, x16);
    mox_acts x = any_acts(kind, n, cols, &s);
    float bias[100];
    rnd_floats(&s, bias, rows, RND_PLAIN);
    mox_mat_mul_args a = {
        .w = &m, .x = x, .bias = fx_below(&s, 2) ? bias : NULL, .y_stride = rows + fx_below(&s, 3), .n = n};
    float *want = product(MOX_ISA_SCALAR, a, false);
    EACH_ISA(isa)
    {
        float *got = product(isa, a, fx_below(&s, 8) != 0);
        cr_assert(fx_same(got, want, n * a.y_stride), "%s, %s activations, %s: %u x %u, n %u, seed %llu",
                  mox_type_info(f->type)->name, kind_name(kind), mox_isa_name(isa), rows, cols, n,
                  (unsigned long long)seed);
        free(got);
    }
    count->shapes++;
    count->short_last += cols % MOX_BLOCK != 0;
    count->many += n > 4;
    count->finite += all_finite(want, n * a.y_stride);
    free(w), free(x16), free(x.data), free(want);
}

/* Types whose own activations are of this kind; audit: with float activations instead. */
static void check_products(mox_act_kind kind, bool audit)
{
    open_pools();
    for (uint32_t type = 0; type < MOX_TYPE_COUNT; type++) {
        const mox_format *f = mox_format_of(type);
        if (f == NULL || f->kind != kind) {
            continue;
        }
        shape_counts count = {0};
        mox_act_kind with = audit ? MOX_ACT_F32 : kind;
        for (uint64_t i = 0; count.finite < SHAPES; i++) {
            cr_assert(i < 4 * SHAPES, "too few products of %s are finite", mox_type_info(type)->name);
            check_product(f, with, 1000003 * (uint64_t)type + 2 * i + audit, &count);
        }
        char of_them[96];
        snprintf(of_them, sizeof of_them, "%u finite, %u end in a short block, %u of 5 to 120 tokens",
                 count.finite, count.short_last, count.many);
        print_counts(mox_type_info(type)->name, kind_name(with), count.shapes, of_them);
        cr_assert(count.many > SHAPES / 5);
        cr_assert(mox_type_info(type)->block_elems == MOX_BLOCK || count.short_last > SHAPES / 5);
    }
    close_pools();
}

Test(random_shapes, products_with_one_scale_per_256)
{
    check_products(MOX_ACT_K, false);
}

Test(random_shapes, products_with_one_scale_per_32)
{
    check_products(MOX_ACT_B32, false);
}

Test(random_shapes, products_with_floats)
{
    check_products(MOX_ACT_F32, false);
}

Test(random_shapes, products_of_audit_mode)
{
    check_products(MOX_ACT_K, true);
    check_products(MOX_ACT_B32, true);
}

enum { MAX_USES = 3, MAX_USE_ROWS = 230, MAX_EXPERT_ROWS = MAX_USES * MAX_USE_ROWS };

/* A call with up to three experts of a layer; `merge`: and the sum of their rows, k to a token. */
typedef struct expert_inputs {
    mox_expert_layout l;
    uint8_t *slot[MAX_USES];
    mox_expert_use use[MAX_USES];
    uint32_t n_uses, n, k, tok[MAX_EXPERT_ROWS], out_row[MAX_EXPERT_ROWS];
    mox_acts x[MOX_ACT_KINDS];
    float *residual, weights[MAX_EXPERT_ROWS];
    bool act_f32, merge;
} expert_inputs;

typedef struct expert_result {
    float *e;        /* [n][d_model], then the merged rows; NULL where an h is not finite */
    size_t n_floats; /* of both */
} expert_result;

static void make_slot(expert_inputs *e, uint32_t u, bool tame, uint64_t *s)
{
    e->slot[u] = aligned_alloc(64, e->l.slot_bytes);
    for (mox_slab b = 0; b < MOX_SLABS; b++) {
        uint32_t rows = mox_expert_slab_rows(&e->l, b), cols = b == MOX_SLAB_DOWN ? e->l.d_ff : e->l.d_model;
        uint8_t *w = rnd_weights(mox_format_of(e->l.type[b]), rows, cols, tame, s);
        mox_expert_repack(&e->l, b, 0, rows, w, e->slot[u]);
        free(w);
    }
    uint32_t few = fx_below(s, 5) == 0 ? 33 : 6,
             n = 1 + fx_below(s, fx_below(s, 40) == 0 ? MAX_USE_ROWS : few);
    e->use[u] = (mox_expert_use){.first = e->n, .n = n};
    mox_expert_views(&e->l, e->slot[u], e->use[u].mats);
    e->n += n;
}

static void make_expert(expert_inputs *e, const mox_type type[MOX_SLABS], uint64_t *s)
{
    const mox_format *gate = mox_format_of(type[0]), *up = mox_format_of(type[1]);
    bool up_is_wider = mox_type_info(up->type)->block_elems > mox_type_info(gate->type)->block_elems;
    bool tame = fx_below(s, 4) != 0;
    uint32_t d_model = fx_cols(up_is_wider ? up : gate, 520, s);
    uint32_t d_ff = fx_cols(mox_format_of(type[2]), 520, s);
    *e = (expert_inputs){.act_f32 = fx_below(s, 8) == 0, .merge = fx_below(s, 2) == 0};
    e->n_uses = 1 + (fx_below(s, 3) == 0 ? fx_below(s, MAX_USES) : 0);
    cr_assert_eq(mox_expert_layout_init(&e->l, type, d_model, d_ff), MOX_OK);
    for (uint32_t u = 0; u < e->n_uses; u++) {
        make_slot(e, u, tame, s);
    }
    e->k = e->n % 3 == 0 ? 3 : e->n % 2 == 0 ? 2 : 1;
    uint32_t n_in = e->n + fx_below(s, 4);
    for (uint32_t i = 0; i < e->n; i++) {
        e->tok[i] = fx_below(s, n_in);
        e->out_row[i] = e->n - 1 - i;
        e->weights[i] = 0.125F * (float)(1 + fx_below(s, 7));
    }
    float *rows = malloc((size_t)n_in * d_model * sizeof *rows);
    for (uint32_t i = 0; i < n_in; i++) {
        rnd_floats(s, rows + (size_t)i * d_model, d_model, tame ? RND_PLAIN : fx_below(s, RND_ROWS));
    }
    for (int kind = 0; kind < MOX_ACT_KINDS; kind++) {
        e->x[kind] = rnd_acts_of((mox_act_kind)kind, rows, n_in, d_model);
    }
    e->residual = rows;
}

static void free_expert(expert_inputs *e)
{
    for (int kind = 0; kind < MOX_ACT_KINDS; kind++) {
        free(e->x[kind].data);
    }
    for (uint32_t u = 0; u < e->n_uses; u++) {
        free(e->slot[u]);
    }
    free(e->residual);
}

static expert_result run_expert(const expert_inputs *e, mox_isa isa, uint32_t workers, size_t spare)
{
    size_t bytes = mox_experts_scratch_bytes(&e->l, e->n_uses, e->n, workers, e->act_f32) + spare;
    void *scratch = aligned_alloc(64, (bytes + 63) / 64 * 64);
    size_t count = (size_t)e->n * e->l.d_model, sums = count / e->k;
    expert_result r = {.n_floats = count + (e->merge ? sums : 0)};
    r.e = aligned_alloc(64, ((count + sums) * sizeof *r.e + 127) / 64 * 64);
    float *y = aligned_alloc(64, (sums * sizeof *y + 63) / 64 * 64);
    mox_merge_args merge = {.e = r.e,
                            .weights = e->weights,
                            .residual = e->residual,
                            .y = y,
                            .n = e->n / e->k,
                            .k = e->k,
                            .d = e->l.d_model};
    mox_experts_args a = {.use = e->use,
                          .n_uses = e->n_uses,
                          .x = e->x,
                          .tok = e->tok,
                          .out_row = e->out_row,
                          .e = r.e,
                          .merge = e->merge ? &merge : NULL,
                          .act_f32 = e->act_f32,
                          .scratch = scratch,
                          .scratch_bytes = bytes};
    mox_err err = mox_experts_cpu(pools[workers - 1], isa, &a);
    cr_assert(err == MOX_OK || err == MOX_E_NUMERIC);
    memcpy(r.e + count, y, (r.n_floats - count) * sizeof *y);
    free(scratch), free(y);
    if (err != MOX_OK) {
        free(r.e);
        r.e = NULL;
    }
    return r;
}

static void check_expert(const mox_type type[MOX_SLABS], uint64_t seed, uint32_t *finite, uint32_t *tails)
{
    uint64_t s = seed;
    expert_inputs e;
    make_expert(&e, type, &s);
    expert_result want = run_expert(&e, MOX_ISA_SCALAR, 1, 0);
    EACH_ISA(isa)
    {
        uint32_t workers = 1 + fx_below(&s, MAX_WORKERS);
        expert_result got = run_expert(&e, isa, workers, 4096 * (size_t)fx_below(&s, 3));
        cr_assert((got.e == NULL) == (want.e == NULL) &&
                      (got.e == NULL || fx_same(got.e, want.e, want.n_floats)),
                  "expert %s %s %s on %s: %u x %u, %u experts, %u rows, %u workers, act_f32 %d, merge %d, "
                  "seed %llu",
                  mox_type_info(type[0])->name, mox_type_info(type[1])->name, mox_type_info(type[2])->name,
                  mox_isa_name(isa), e.l.d_model, e.l.d_ff, e.n_uses, e.n, workers, (int)e.act_f32,
                  (int)e.merge, (unsigned long long)seed);
        free(got.e);
    }
    *finite += want.e != NULL;
    *tails += e.l.d_ff % MOX_SLICE != 0;
    free(want.e);
    free_expert(&e);
}

/* Gate's type with down's; up has gate's or, one time in four, any type's. */
static void check_pair(mox_type gate, mox_type down, uint32_t shapes, uint32_t *total, uint32_t *tails)
{
    uint32_t finite = 0, seed = 0;
    while (finite < shapes) {
        uint64_t s = 7919 * (uint64_t)gate + 104729 * (uint64_t)down + seed++;
        mox_type up = gate;
        while (seed % 4 == 0 && mox_format_of(up = (mox_type)fx_below(&s, MOX_TYPE_COUNT)) == NULL) {
        }
        check_expert((const mox_type[MOX_SLABS]){gate, up, down}, s, &finite, tails);
        cr_assert(seed < 3 * shapes + 20, "too few experts of %s and %s are finite",
                  mox_type_info(gate)->name, mox_type_info(down)->name);
    }
    *total += finite;
}

/* The pairs of gate's and down's type that files of mixed types have. */
static const mox_type mixes[][2] = {
    {MOX_TYPE_Q4_K, MOX_TYPE_Q6_K},   {MOX_TYPE_Q4_K, MOX_TYPE_Q5_K},  {MOX_TYPE_Q5_K, MOX_TYPE_Q6_K},
    {MOX_TYPE_Q3_K, MOX_TYPE_Q4_K},   {MOX_TYPE_Q3_K, MOX_TYPE_Q5_K},  {MOX_TYPE_Q2_K, MOX_TYPE_Q3_K},
    {MOX_TYPE_IQ4_XS, MOX_TYPE_Q5_K}, {MOX_TYPE_Q4_K, MOX_TYPE_Q8_0},  {MOX_TYPE_Q4_K, MOX_TYPE_Q5_0},
    {MOX_TYPE_Q5_0, MOX_TYPE_Q8_0},   {MOX_TYPE_MXFP4, MOX_TYPE_Q8_0}, {MOX_TYPE_IQ2_XXS, MOX_TYPE_Q2_K},
};

Test(random_shapes, experts_of_the_usual_pairs)
{
    enum { PER_PAIR = RND_COUNT(100) };
    uint32_t total = 0, tails = 0, pairs = 0;
    open_pools();
    for (size_t i = 0; i < sizeof mixes / sizeof mixes[0]; i++, pairs++) {
        check_pair(mixes[i][0], mixes[i][1], PER_PAIR, &total, &tails);
    }
    for (uint32_t type = 0; type < MOX_TYPE_COUNT; type++) {
        if (mox_format_of(type) != NULL) {
            check_pair((mox_type)type, (mox_type)type, PER_PAIR, &total, &tails);
            pairs++;
        }
    }
    char of_them[64];
    snprintf(of_them, sizeof of_them, "%u pairs; %u end in a short slice", pairs, tails);
    print_counts("usual experts", "", total, of_them);
    cr_assert(tails > total / 5);
    close_pools();
}

Test(random_shapes, experts_of_all_pairs)
{
    enum { PER_PAIR = 1 + RND_COUNT(1) };
    uint32_t total = 0, tails = 0, pairs = 0;
    open_pools();
    for (uint32_t gate = 0; gate < MOX_TYPE_COUNT; gate++) {
        for (uint32_t down = 0; down < MOX_TYPE_COUNT; down++) {
            if (mox_format_of(gate) != NULL && mox_format_of(down) != NULL) {
                check_pair((mox_type)gate, (mox_type)down, PER_PAIR, &total, &tails);
                pairs++;
            }
        }
    }
    char of_them[64];
    snprintf(of_them, sizeof of_them, "%u pairs; %u end in a short slice", pairs, tails);
    print_counts("any expert", "", total, of_them);
    close_pools();
}

/* Embedding rows are the file's values, whatever the instruction set. */
static void check_embed(const mox_format *f, uint64_t seed)
{
    uint64_t s = seed;
    uint32_t rows = 1 + fx_below(&s, 40), cols = fx_cols(f, 1100, &s), ids[4], n = 1 + fx_below(&s, 4);
    uint8_t *w = rnd_weights(f, rows, cols, false, &s), *x16 = fx_repack(f->type, rows, cols, w);
    mox_mat m = mox_mat_dense(f->type, rows, cols, x16);
    float *y = malloc((size_t)n * cols * sizeof *y), *want = malloc(cols * sizeof *want);
    for (uint32_t i = 0; i < n; i++) {
        ids[i] = fx_below(&s, rows);
    }
    for (mox_isa isa = MOX_ISA_SCALAR; isa < MOX_ISA_COUNT; isa = next_isa(isa)) {
        mox_embed_args a = {.w = &m, .ids = ids, .n = n, .y = y};
        cr_assert_eq(mox_embed_cpu(pools[n % MAX_WORKERS], isa, &a), MOX_OK);
        for (uint32_t i = 0; i < n; i++) {
            f->dequant(w + ids[i] * mox_type_row_bytes(f->type, cols), want, cols);
            cr_assert(memcmp(y + (size_t)i * cols, want, cols * sizeof *want) == 0,
                      "%s on %s: row %u of %u x %u, seed %llu", mox_type_info(f->type)->name,
                      mox_isa_name(isa), ids[i], rows, cols, (unsigned long long)seed);
        }
    }
    free(w), free(x16), free(y), free(want);
}

Test(random_shapes, embedding_rows)
{
    open_pools();
    for (uint32_t type = 0; type < MOX_TYPE_COUNT; type++) {
        for (uint64_t i = 0; mox_format_of(type) != NULL && i < SHAPES; i++) {
            check_embed(mox_format_of(type), 15485863 * (uint64_t)type + i);
        }
    }
    print_counts("embedding", "", SHAPES, "of each type");
    close_pools();
}
