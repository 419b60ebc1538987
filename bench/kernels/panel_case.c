/* The kernels for many tokens by themselves: panels are packed beforehand, every thread multiplies its share of
 * the groups. In memory there are several matrices of a model's size, so that the results stay in cache. */
#include "bench/kernels/cases.h"
#include "bench/kernels/inputs.h"
#include "kernels/ceilings/ceilings.h"
#include "kernels/panel.h"
#include "runtime/core/clock.h"

#include <stdlib.h>
#include <string.h>

enum { R = MOX_ROWS_PER_GROUP, MIN_ROUNDS = 3, MAX_ROUNDS = 512, MAX_ROWS = 14336, ROUND_NS = 10000000 };

typedef struct panel_work {
    mox_panel_job job;
    mox_panel panel;
    uint32_t groups, mat_groups; /* of all matrices, of one */
    float *y;                    /* [n][rows of one] */
} panel_work;

static void multiply_share(void *arg, uint32_t worker, uint32_t n_workers)
{
    const panel_work *w = arg;
    uint32_t begin = (uint32_t)((uint64_t)w->groups * worker / n_workers);
    uint32_t end = (uint32_t)((uint64_t)w->groups * (worker + 1) / n_workers);
    for (uint32_t g = begin; g < end; g++) {
        float y[BENCH_MAX_N][R];
        mox_panel_group_mul(&w->job, g, &w->panel, 0, mox_panel_tiles(&w->panel), y);
        for (uint32_t i = 0; i < w->panel.n; i++) {
            size_t at = (size_t)i * w->mat_groups + g % w->mat_groups;
            memcpy(w->y + at * R, y[i], sizeof y[i]);
        }
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Rounds of some milliseconds with the ceiling measured in between: nanoseconds of the best round's repetition, and the
 * median of the shares. */
static double multiply_rounds(const bench_setup *s, mox_pool *pool, mox_isa isa, panel_work *w, double ops,
                              double *share)
{
    double best = 0, of[MAX_ROUNDS], ceiling = mox_ceiling_int(pool, isa);
    uint32_t rounds = 0;
    for (uint64_t start = mox_now_ns();
         rounds < MAX_ROUNDS && (rounds < MIN_ROUNDS || mox_now_ns() - start < s->min_ns); rounds++) {
        uint32_t repeats = 0;
        uint64_t t0 = mox_now_ns(), t = t0;
        for (; t - t0 < ROUND_NS; repeats++, t = mox_now_ns()) {
            mox_pool_run(pool, multiply_share, w);
        }
        double each = (double)(t - t0) / repeats, then = mox_ceiling_int(pool, isa);
        best = best == 0 || each < best ? each : best;
        of[rounds] = ops / each / ((ceiling + then) / 2);
        ceiling = then;
    }
    qsort(of, rounds, sizeof *of, by_value);
    *share = of[rounds / 2];
    return best;
}

bool bench_panel(const bench_setup *s, mox_type type, mox_isa isa, bench_place place, mox_pool *pool,
                 uint32_t n, bench_line *out)
{
    size_t group_bytes = R * (size_t)mox_type_row_bytes(type, s->cols);
    size_t want = place == BENCH_L2 ? (size_t)BENCH_L2_BYTES * mox_pool_workers(pool) : s->buffer_bytes;
    panel_work w = {.groups = (uint32_t)(want / group_bytes)};
    w.mat_groups = w.groups < MAX_ROWS / R ? w.groups : MAX_ROWS / R;
    if (w.groups == 0 || w.groups * group_bytes > s->buffer_bytes || n > BENCH_MAX_N) {
        return false;
    }
    w.groups -= w.groups % w.mat_groups;
    mox_mat m = mox_mat_dense(type, w.groups * R, s->cols, s->buffer);
    bench_fill_rows(type, s->buffer, w.groups * group_bytes);
    mox_acts x = bench_make_acts(mox_format_of(type)->kind, n, s->cols);
    void *mem = aligned_alloc(64, mox_panel_bytes(x.kind, s->cols, n));
    w.y = aligned_alloc(64, (size_t)n * w.mat_groups * R * sizeof *w.y);
    bool ok = bench_repack_in_place(&m, s->buffer) && mox_panel_job_init(&w.job, isa, &m, x.kind) == MOX_OK;
    mox_panel_init(&w.panel, isa, x.kind, s->cols, n, mem);
    for (uint32_t i = 0; i < n; i++) {
        mox_panel_put_row(&w.panel, i, (const uint8_t *)x.data + i * x.row_bytes);
    }
    double weights = (double)m.rows * m.cols, share = 0, ns = 1;
    if (ok) {
        ns = multiply_rounds(s, pool, isa, &w, 2 * weights * n, &share);
    }
    mox_mat last =
        mox_mat_dense(type, w.mat_groups * R, s->cols, mox_mat_chunk(&m, w.groups - w.mat_groups, 0));
    *out = (bench_line){.type = mox_type_info(type)->name,
                        .isa = mox_isa_name(isa),
                        .op = "panel",
                        .place = place,
                        .threads = mox_pool_workers(pool),
                        .n = n,
                        .rows = m.rows,
                        .cols = m.cols,
                        .gb_s = (double)w.groups * (double)group_bytes / ns,
                        .gweights_s = weights / ns,
                        .gops = 2 * weights * n / ns,
                        .share = share,
                        .equal = ok && bench_same_as_twin(&last, x, n, w.y)};
    free(mem);
    free(x.data);
    free(w.y);
    return ok;
}
