/* Whole experts of Mixtral's shape in their sliced slots, another slot each time so that all bytes come from memory; and
 * what a few tokens more cost on the same expert, one and several in turns, since the machine's rate moves. */
#include "bench/kernels/cases.h"
#include "bench/kernels/inputs.h"

#include "kernels/ceilings/ceilings.h"
#include "kernels/mat_mul.h"
#include "runtime/core/clock.h"

#include <stdlib.h>
#include <string.h>

enum { EXPERT_D = 4096, EXPERT_FF = 14336, MAX_PAIRS = 512, READ_BYTES = 128 << 20 };

typedef struct expert_bench {
    mox_expert_layout l;
    uint8_t *slots;
    uint32_t n_slots, next;
    mox_acts x[MOX_ACT_KINDS];
    mox_act_kind kind;
    uint32_t rows[BENCH_MAX_N];
    void *scratch;
    size_t scratch_bytes;
    float *e;
} expert_bench;

static bool expert_open(const bench_setup *s, mox_type type, mox_pool *pool, uint32_t n, expert_bench *b)
{
    const mox_type types[MOX_SLABS] = {type, type, type};
    *b = (expert_bench){.slots = s->buffer, .kind = mox_format_of(type)->kind};
    if (n > BENCH_MAX_N || mox_expert_layout_init(&b->l, types, EXPERT_D, EXPERT_FF) != MOX_OK ||
        s->buffer_bytes < 2 * b->l.slot_bytes) {
        return false;
    }
    b->n_slots = (uint32_t)(s->buffer_bytes / b->l.slot_bytes) - 1; /* the last holds a slab in file order */
    uint8_t *source = s->buffer + b->n_slots * b->l.slot_bytes;
    for (mox_slab k = 0; k < MOX_SLABS; k++) {
        uint32_t rows = mox_expert_slab_rows(&b->l, k);
        bench_fill_rows(type, source, rows * mox_expert_slab_row_bytes(&b->l, k));
        for (uint32_t i = 0; i < b->n_slots; i++) {
            mox_expert_repack(&b->l, k, 0, rows, source, s->buffer + i * b->l.slot_bytes);
        }
    }
    b->x[b->kind] = bench_make_acts(b->kind, n, EXPERT_D);
    for (uint32_t i = 0; i < n; i++) {
        b->rows[i] = i;
    }
    b->scratch_bytes = mox_experts_scratch_bytes(&b->l, 1, n, mox_pool_workers(pool), false);
    b->scratch = aligned_alloc(64, b->scratch_bytes);
    b->e = aligned_alloc(64, (size_t)n * EXPERT_D * sizeof *b->e);
    return b->scratch != NULL && b->e != NULL;
}

static void expert_close(expert_bench *b)
{
    free(b->x[b->kind].data);
    free(b->scratch);
    free(b->e);
}

/* Nanoseconds of n tokens through the next slot; 0: it failed. */
static uint64_t expert_once(expert_bench *b, mox_pool *pool, mox_isa isa, uint32_t n, float *e)
{
    mox_expert_use use = {.n = n};
    mox_expert_views(&b->l, b->slots + b->next++ % b->n_slots * b->l.slot_bytes, use.mats);
    mox_experts_args a = {.use = &use,
                          .n_uses = 1,
                          .x = b->x,
                          .tok = b->rows,
                          .out_row = b->rows,
                          .e = e,
                          .scratch = b->scratch,
                          .scratch_bytes = b->scratch_bytes};
    uint64_t t0 = mox_now_ns();
    return mox_experts_cpu(pool, isa, &a) == MOX_OK ? mox_now_ns() - t0 : 0;
}

static bool expert_equal(expert_bench *b, mox_pool *pool, mox_isa isa, uint32_t n)
{
    float *want = malloc((size_t)n * EXPERT_D * sizeof *want);
    b->next = 0;
    bool ok = want != NULL && expert_once(b, pool, isa, n, b->e) > 0;
    b->next = 0;
    ok = ok && expert_once(b, pool, MOX_ISA_SCALAR, n, want) > 0 &&
         memcmp(b->e, want, (size_t)n * EXPERT_D * sizeof *want) == 0;
    free(want);
    return ok;
}

static bench_line line_of(const expert_bench *b, mox_type type, mox_isa isa, mox_pool *pool, uint32_t n,
                          double ns)
{
    double weights = 3.0 * EXPERT_D * EXPERT_FF;
    return (bench_line){.type = mox_type_info(type)->name,
                        .isa = mox_isa_name(isa),
                        .op = "expert",
                        .place = BENCH_DRAM,
                        .threads = mox_pool_workers(pool),
                        .n = n,
                        .rows = EXPERT_FF,
                        .cols = EXPERT_D,
                        .gb_s = (double)b->l.slot_bytes / ns,
                        .gweights_s = weights / ns,
                        .gops = 2 * weights * n / ns};
}

bool bench_expert(const bench_setup *s, mox_type type, mox_isa isa, mox_pool *pool, uint32_t n,
                  bench_line *out)
{
    expert_bench b;
    bool ok = expert_open(s, type, pool, n, &b);
    uint64_t best = UINT64_MAX, start = mox_now_ns();
    for (uint32_t i = 0; ok && (i < b.n_slots || mox_now_ns() - start < s->min_ns); i++) {
        uint64_t t = expert_once(&b, pool, isa, n, b.e);
        ok = t > 0;
        best = t < best ? t : best;
    }
    if (ok) {
        *out = line_of(&b, type, isa, pool, n, (double)best);
        out->equal = expert_equal(&b, pool, isa, n);
    }
    expert_close(&b);
    return ok;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, uint32_t n)
{
    qsort(v, n, sizeof *v, by_value);
    return n > 0 ? v[n / 2] : 0;
}

bool bench_batch(const bench_setup *s, mox_type type, mox_isa isa, mox_pool *pool, uint32_t n,
                 bench_line *out)
{
    expert_bench b;
    bench_line from_l2;
    bool ok = bench_mat_mul(s, type, isa, BENCH_L2, pool, n, &from_l2) && expert_open(s, type, pool, n, &b);
    if (!ok) {
        return false;
    }
    double ratio[MAX_PAIRS], bound[MAX_PAIRS], one[MAX_PAIRS], several[MAX_PAIRS];
    uint32_t pairs = 0, n_bound = 0;
    double clearly = 0.8 * from_l2.gb_s; /* near each other both limit */
    double reads = mox_ceiling_read(pool, s->buffer, READ_BYTES);
    uint64_t start = mox_now_ns();
    for (; ok && pairs < MAX_PAIRS && (pairs < b.n_slots || mox_now_ns() - start < s->min_ns); pairs++) {
        uint64_t before = expert_once(&b, pool, isa, 1, b.e), t = expert_once(&b, pool, isa, n, b.e);
        uint64_t after = expert_once(&b, pool, isa, 1, b.e);
        double then = mox_ceiling_read(pool, s->buffer, READ_BYTES);
        ok = before > 0 && t > 0 && after > 0;
        one[pairs] = (double)(before + after) / 2;
        several[pairs] = (double)t;
        ratio[pairs] = (double)t / one[pairs];
        if (reads < clearly && then < clearly) {
            bound[n_bound++] = ratio[pairs];
        }
        reads = then;
    }
    if (ok) {
        double of_one = median(one, pairs);
        *out = line_of(&b, type, isa, pool, n, median(several, pairs));
        out->op = "batch";
        out->ratio = median(ratio, pairs);
        out->bound_ratio = median(bound, n_bound);
        out->one_gb_s = (double)b.l.slot_bytes / of_one;
        out->equal = expert_equal(&b, pool, isa, n);
    }
    expert_close(&b);
    return ok;
}
