/* The cases of bench/kernels: weights made in the buffer, timed through the same functions the graph calls,
 * and compared with the twin before the figure counts. Best of the repetitions: other work on the machine
 * only slows. */
#include "bench/kernels/cases.h"
#include "bench/kernels/inputs.h"

#include "kernels/act.h"
#include "kernels/mat_mul.h"
#include "kernels/vec.h"
#include "runtime/core/clock.h"

#include <stdlib.h>
#include <string.h>

enum { R = MOX_ROWS_PER_GROUP, MIN_REPEATS = 3, SAMPLES = 16 };

bool bench_mat_mul(const bench_setup *s, mox_type type, mox_isa isa, bench_place place, mox_pool *pool,
                   uint32_t n, bench_line *out)
{
    size_t group_bytes = R * (size_t)mox_type_row_bytes(type, s->cols);
    size_t want = place == BENCH_L2 ? BENCH_L2_BYTES : s->buffer_bytes;
    uint32_t groups = (uint32_t)(want / group_bytes);
    if (groups == 0 || groups * group_bytes > s->buffer_bytes || n > 64) {
        return false;
    }
    mox_mat m = mox_mat_dense(type, groups * R, s->cols, s->buffer);
    bench_fill_rows(type, s->buffer, groups * group_bytes);
    mox_acts x = bench_make_acts(mox_format_of(type)->kind, n, s->cols);
    float *y = aligned_alloc(64, (size_t)n * m.rows * sizeof *y);
    mox_mat_mul_args a = {.w = &m, .x = x, .y = y, .y_stride = m.rows, .n = n};
    bool ok = bench_repack_in_place(&m, s->buffer);
    uint64_t best = UINT64_MAX, start = mox_now_ns();
    for (uint32_t i = 0; ok && (i < MIN_REPEATS || mox_now_ns() - start < s->min_ns); i++) {
        uint64_t t0 = mox_now_ns();
        ok = mox_mat_mul_cpu(pool, isa, &a) == MOX_OK;
        uint64_t t = mox_now_ns() - t0;
        best = t < best ? t : best;
    }
    double weights = (double)m.rows * m.cols, ns = (double)best;
    *out = (bench_line){.type = mox_type_info(type)->name,
                        .isa = mox_isa_name(isa),
                        .op = "mat_mul",
                        .place = place,
                        .threads = mox_pool_workers(pool),
                        .n = n,
                        .rows = m.rows,
                        .cols = m.cols,
                        .gb_s = (double)groups * (double)group_bytes / ns,
                        .gweights_s = weights / ns,
                        .gops = 2 * weights * n / ns,
                        .equal = ok && bench_same_as_twin(&m, x, n, y)};
    free(x.data);
    free(y);
    return ok;
}

bool bench_repack(const bench_setup *s, mox_type type, bench_line *out)
{
    size_t group_bytes = R * (size_t)mox_type_row_bytes(type, s->cols);
    uint32_t groups = (uint32_t)(s->buffer_bytes / 2 / group_bytes);
    if (groups == 0) {
        return false;
    }
    uint8_t *src = s->buffer + groups * group_bytes;
    src += (64 - (uintptr_t)src % 64) % 64;
    groups -= 1; /* room for the alignment */
    bench_fill_rows(type, src, groups * group_bytes);
    mox_mat m = mox_mat_dense(type, groups * R, s->cols, s->buffer);
    uint64_t best = UINT64_MAX, start = mox_now_ns();
    for (uint32_t i = 0; i < MIN_REPEATS || mox_now_ns() - start < s->min_ns; i++) {
        uint64_t t0 = mox_now_ns();
        mox_mat_repack_rows(&m, 0, m.rows, src);
        uint64_t t = mox_now_ns() - t0;
        best = t < best ? t : best;
    }
    float *got = malloc(s->cols * sizeof *got), *want = malloc(s->cols * sizeof *want);
    bool equal = true;
    for (uint32_t r = 0; r < m.rows; r += m.rows / SAMPLES + 1) {
        mox_mat_row(&m, r, got);
        mox_format_of(type)->dequant(src + r * (group_bytes / R), want, s->cols);
        equal = equal && memcmp(got, want, s->cols * sizeof *got) == 0;
    }
    free(got);
    free(want);
    double ns = (double)best;
    *out = (bench_line){.type = mox_type_info(type)->name,
                        .isa = "-",
                        .op = "repack",
                        .place = BENCH_DRAM,
                        .threads = 1,
                        .n = 0,
                        .rows = m.rows,
                        .cols = m.cols,
                        .gb_s = (double)groups * (double)group_bytes / ns,
                        .gweights_s = (double)m.rows * m.cols / ns,
                        .equal = equal};
    return true;
}
