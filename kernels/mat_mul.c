/* Matrix times rows on the CPU: groups of 16 rows over the pool, tiles of activations, sums in their one
 * order.
 *
 * Many rows are packed into a panel (panel.h), some at a time, and each group of weights is read once for all
 * of them. Few rows are used as they lie: a worker takes a strip of groups small enough for its L2 and runs all
 * tiles of activations over it, so the weights come from memory once whatever the number of rows; with one row
 * that order is a plain stream. What is summed in which order is mox_row_sums (mat_tile.h) and nothing else, so
 * the cut over workers, strips and tiles cannot change a bit.
 */
#include "kernels/mat_mul.h"

#include "kernels/panel.h"
#include "runtime/core/bits.h"

#include <string.h>

enum { R = MOX_ROWS_PER_GROUP, STRIP_BYTES = 256 << 10, MAX_GRAIN = 64, RUNS_PER_WORKER = 4 };

const mox_tiles *mox_tiles_plain(mox_isa isa)
{
#if defined(__x86_64__)
    if (isa == MOX_ISA_AVX512) {
        return &mox_tiles_ref_avx512;
    }
    if (isa == MOX_ISA_AVX2 || mox_isa_present(MOX_ISA_AVX2)) {
        return &mox_tiles_ref_avx2;
    }
#endif
    (void)isa;
    return &mox_tiles_ref;
}

static mox_tile_fn *hand_written(mox_isa isa, mox_type type)
{
#if defined(__x86_64__)
    if (isa == MOX_ISA_AVX512) {
        return mox_tiles_avx512.of_type[type];
    }
    if (isa == MOX_ISA_AVXVNNI) {
        return (mox_isa_vex_vnni() ? &mox_tiles_avxvnni_vex : &mox_tiles_avxvnni_evex)->of_type[type];
    }
    if (isa == MOX_ISA_AVX2) {
        return mox_tiles_avx2.of_type[type];
    }
#endif
    (void)isa, (void)type;
    return NULL;
}

mox_tile_fn *mox_tile_of(mox_isa isa, const mox_format *f, mox_act_kind kind)
{
    const mox_tiles *plain = mox_tiles_plain(isa);
    if (f->kind != kind) {
        return kind == MOX_ACT_F32 ? plain->dequant : NULL;
    }
    mox_tile_fn *fn = hand_written(isa, f->type);
    if (fn == NULL) {
        fn = plain->of_type[f->type];
    }
    return fn != NULL ? fn : plain->dequant;
}

mox_err mox_mat_job_init(mox_mat_job *j, mox_isa isa, const mox_mat *w, mox_act_kind kind)
{
    const mox_format *f = mox_format_of(w->type);
    mox_tile_fn *tile = f != NULL ? mox_tile_of(isa, f, kind) : NULL;
    if (tile == NULL) {
        return MOX_FAIL(MOX_E_ARG, "activations of kind %d do not meet a matrix of type %u", (int)kind,
                        (unsigned)w->type);
    }
    *j = (mox_mat_job){.w = w, .f = f, .tile = tile, .group = mox_tiles_plain(isa)->group, .kind = kind};
    return MOX_OK;
}

uint32_t mox_mat_grain(uint32_t n_groups, uint32_t n_workers, uint32_t max)
{
    uint32_t grain = n_groups / (n_workers * RUNS_PER_WORKER);
    return grain < 1 ? 1 : grain > max ? max : grain;
}

typedef struct mul_job {
    const mox_mat_mul_args *a;
    mox_mat_job tile;
    uint32_t strip; /* groups */
} mul_job;

static void store_group(const mox_mat_mul_args *a, uint32_t g, uint32_t i, const float *y)
{
    uint32_t left = a->w->rows - g * R, n = left < R ? left : R;
    float *out = a->y + i * a->y_stride + (size_t)g * R;
    for (uint32_t r = 0; r < n; r++) {
        out[r] = a->bias != NULL ? y[r] + a->bias[(size_t)g * R + r] : y[r];
    }
}

static void mul_strip(const mul_job *m, uint32_t begin, uint32_t end)
{
    const mox_mat_mul_args *a = m->a;
    mox_mat_job j = m->tile;
    for (uint32_t i = 0; i < a->n; i += j.n) {
        j.n = a->n - i < MOX_TILE_ROWS ? a->n - i : MOX_TILE_ROWS;
        for (uint32_t k = 0; k < j.n; k++) {
            j.x[k] = (const uint8_t *)a->x.data + (i + k) * a->x.row_bytes;
        }
        for (uint32_t g = begin; g < end; g++) {
            float y[MOX_TILE_ROWS][R];
            mox_mat_group_mul(&j, g, y);
            for (uint32_t k = 0; k < j.n; k++) {
                store_group(a, g, i + k, y[k]);
            }
        }
    }
}

static void mul_groups(const mul_job *m, uint32_t begin, uint32_t end)
{
    for (uint32_t g = begin; g < end; g += m->strip) {
        mul_strip(m, g, end - g < m->strip ? end : g + m->strip);
    }
}

/* Products that are dealt out together: their groups are counted one after the other. */
typedef struct muls_job {
    mul_job mul[MOX_MAT_MULS];
    uint32_t end[MOX_MAT_MULS]; /* behind the product's last group */
} muls_job;

static void muls_range(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    (void)worker;
    const muls_job *m = arg;
    for (uint32_t k = 0, first = 0; begin < end; first = m->end[k++]) {
        uint32_t to = end < m->end[k] ? end : m->end[k];
        if (begin < to) {
            mul_groups(&m->mul[k], begin - first, to - first);
            begin = to;
        }
    }
}

/* A round of the rows of a product through a panel. */
typedef struct panel_round {
    const mox_mat_mul_args *a;
    mox_panel_job job;
    mox_panel panel;
    uint32_t row0;
} panel_round;

size_t mox_mat_mul_scratch_bytes(mox_act_kind kind, uint32_t cols, uint32_t n)
{
    return mox_panel_bytes(kind, cols, n < MOX_PANEL_ROWS ? n : MOX_PANEL_ROWS);
}

static void pack_rows(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    (void)worker;
    const panel_round *m = arg;
    for (uint32_t i = begin; i < end; i++) {
        mox_panel_put_row(&m->panel, i, (const uint8_t *)m->a->x.data + (m->row0 + i) * m->a->x.row_bytes);
    }
}

/* Outputs of a group lie a row apart, each in a line of its own, often in the same set of L1: they are asked
 * for before the products, which take longer. */
static void panel_groups(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    (void)worker;
    const panel_round *m = arg;
    for (uint32_t g = begin; g < end; g++) {
        float y[MOX_PANEL_ROWS][R];
        for (uint32_t i = 0; i < m->panel.n; i++) {
            __builtin_prefetch(m->a->y + (m->row0 + i) * m->a->y_stride + (size_t)g * R, 1, 2);
        }
        mox_panel_group_mul(&m->job, g, &m->panel, 0, mox_panel_tiles(&m->panel), y);
        for (uint32_t i = 0; i < m->panel.n; i++) {
            store_group(m->a, g, m->row0 + i, y[i]);
        }
    }
}

static mox_err mul_by_panels(mox_pool *pool, mox_isa isa, const mox_mat_mul_args *a)
{
    panel_round m = {.a = a};
    MOX_TRY(mox_panel_job_init(&m.job, isa, a->w, a->x.kind));
    uint32_t groups = mox_mat_groups(a->w), grain = mox_mat_grain(groups, mox_pool_workers(pool), MAX_GRAIN);
    for (; m.row0 < a->n; m.row0 += m.panel.n) {
        uint32_t left = a->n - m.row0;
        mox_panel_init(&m.panel, isa, a->x.kind, a->w->cols, left < MOX_PANEL_ROWS ? left : MOX_PANEL_ROWS,
                       a->scratch);
        mox_pool_for(pool, m.panel.n, 4, pack_rows, &m);
        mox_pool_for(pool, groups, grain, panel_groups, &m);
    }
    return MOX_OK;
}

static bool wants_panels(const mox_mat_mul_args *a)
{
    return a->scratch != NULL && a->n >= MOX_PANEL_MIN;
}

static mox_err mul_init(mul_job *m, mox_isa isa, const mox_mat_mul_args *a)
{
    m->a = a;
    uint64_t group_bytes = R * mox_type_row_bytes(a->w->type, a->w->cols);
    m->strip = group_bytes < STRIP_BYTES ? (uint32_t)(STRIP_BYTES / (group_bytes + 1)) : 1;
    m->strip = m->strip < 1 ? 1 : m->strip;
    return mox_mat_job_init(&m->tile, isa, a->w, a->x.kind);
}

mox_err mox_mat_muls_cpu(mox_pool *pool, mox_isa isa, const mox_mat_muls_args *a)
{
    muls_job m;
    uint32_t n_jobs = 0, groups = 0;
    if (a->n > MOX_MAT_MULS) {
        return MOX_FAIL(MOX_E_ARG, "%u products in a call, at most %d are possible", a->n, MOX_MAT_MULS);
    }
    for (uint32_t k = 0; k < a->n; k++) {
        if (wants_panels(&a->mul[k])) {
            MOX_TRY(mul_by_panels(pool, isa, &a->mul[k]));
            continue;
        }
        MOX_TRY(mul_init(&m.mul[n_jobs], isa, &a->mul[k]));
        groups += mox_mat_groups(a->mul[k].w);
        m.end[n_jobs++] = groups;
    }
    mox_pool_for(pool, groups, mox_mat_grain(groups, mox_pool_workers(pool), MAX_GRAIN), muls_range, &m);
    return MOX_OK;
}

mox_err mox_mat_mul_cpu(mox_pool *pool, mox_isa isa, const mox_mat_mul_args *a)
{
    return mox_mat_muls_cpu(pool, isa, &(mox_mat_muls_args){.mul = a, .n = 1});
}
