/* Experts with many rows: panels of activations (panel.h).
 *
 * Three passes over the pool for all experts of a turn. Inputs are packed, row by row. Then slices are dealt:
 * gate and up of 256 neurons give exactly one block of every row's h, which is rounded and packed where it
 * was made. Then groups of rows of down.
 *
 * What is read again and again are the activations, so they are what L2 holds: so many rows, and in down so many
 * blocks of them, as fit half of it, while weights stream past.
 */
#include "kernels/expert.h"

#include "runtime/core/bits.h"

enum {
    R = MOX_ROWS_PER_GROUP,
    SLICE_GROUPS = MOX_SLICE / R,
    PACK_GRAIN = 4,
    DOWN_GROUPS = 8,         /* of a strip whose sums wait for the next blocks */
    PANEL_BYTES = 512 << 10, /* of a panel, for L2 */
    RUN_ROWS = 72,           /* about, of a product */
    PAD_ROWS = 3             /* lanes without a row */
};
_Static_assert(DOWN_GROUPS * sizeof(mox_row_sums) == MOX_SLICE * sizeof(float),
               "a worker's memory is either");

size_t mox_expert_wide_bytes(const mox_act_kind kind[MOX_SLABS], uint32_t d_model, uint32_t d_ff, uint32_t n)
{
    size_t inputs = mox_panel_bytes(kind[MOX_SLAB_GATE], d_model, n);
    if (kind[MOX_SLAB_UP] != kind[MOX_SLAB_GATE]) {
        inputs += mox_panel_bytes(kind[MOX_SLAB_UP], d_model, n);
    }
    return inputs + mox_panel_bytes(kind[MOX_SLAB_DOWN], d_ff, n);
}

size_t mox_expert_wide_worker_bytes(uint32_t n_rows)
{
    return ((n_rows < MOX_EXPERT_ROWS ? n_rows : MOX_EXPERT_ROWS) + PAD_ROWS) * MOX_SLICE * sizeof(float);
}

mox_err mox_expert_wide_init(mox_expert_wide *w, mox_isa isa, const mox_expert_item *it, uint8_t *mem)
{
    const mox_mat_job *jobs[MOX_SLABS] = {&it->gate, &it->up, &it->down};
    for (int s = 0; s < MOX_SLABS; s++) {
        bool shared = s == MOX_SLAB_UP && jobs[s]->kind == jobs[MOX_SLAB_GATE]->kind;
        MOX_TRY(mox_panel_job_init(&w->mul[s], isa, jobs[s]->w, jobs[s]->kind));
        if (shared) {
            w->x[s] = w->x[MOX_SLAB_GATE];
            continue;
        }
        mox_panel_init(&w->x[s], isa, jobs[s]->kind, jobs[s]->w->cols, it->n, mem);
        mem += mox_panel_bytes(jobs[s]->kind, jobs[s]->w->cols, it->n);
    }
    return MOX_OK;
}

/* Items of the first pass are rows of the turn. */
static void pack_range(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    (void)worker;
    const mox_expert_job *j = arg;
    uint32_t k = 0, before = 0;
    for (uint32_t at = begin; at < end; at++) {
        for (; at - before >= j->item[k].n; k++) {
            before += j->item[k].n;
        }
        const mox_expert_item *it = &j->item[k];
        const mox_panel *x = it->wide.x;
        for (int s = MOX_SLAB_GATE; s <= MOX_SLAB_UP; s++) {
            if (s == MOX_SLAB_GATE || x[s].data != x[MOX_SLAB_GATE].data) {
                const mox_acts *from = &j->a->x[x[s].kind];
                mox_panel_put_row(&x[s], at - before,
                                  (const uint8_t *)from->data + it->tok[at - before] * from->row_bytes);
            }
        }
    }
}

/* Rows in tiles [t, t + n) of a panel. */
static uint32_t rows_of(const mox_panel *p, uint32_t t, uint32_t n)
{
    mox_panel_tile last = mox_panel_tile_at(p, t + n - 1);
    return last.row0 + last.n - mox_panel_tile_at(p, t).row0;
}

/* How many tiles from t on go into one product: all runs about the same. */
static uint32_t run_of(const mox_panel *p, uint32_t t)
{
    uint32_t tiles = mox_panel_tiles(p), runs = mox_div_up(p->lanes, RUN_ROWS),
             each = mox_div_up(tiles, runs);
    return tiles - t < each ? tiles - t : each;
}

/* A slice's neurons for all rows: h[row][neuron]. */
static void slice_h(const mox_expert_job *j, const mox_expert_item *it, uint32_t slice, float (*h)[MOX_SLICE])
{
    const mox_expert_wide *w = &it->wide;
    const mox_panel *x = &w->x[MOX_SLAB_GATE];
    uint32_t begin = slice * SLICE_GROUPS, left = mox_mat_groups(w->mul[MOX_SLAB_GATE].w) - begin;
    for (uint32_t t = 0, n; t < mox_panel_tiles(x); t += n) {
        n = run_of(x, t);
        uint32_t row0 = mox_panel_tile_at(x, t).row0, rows = rows_of(x, t, n);
        for (uint32_t g = 0; g < left && g < SLICE_GROUPS; g++) {
            float gate[MOX_PANEL_ROWS][R], up[MOX_PANEL_ROWS][R];
            mox_panel_group_mul(&w->mul[MOX_SLAB_GATE], begin + g, x, t, n, gate);
            mox_panel_group_mul(&w->mul[MOX_SLAB_UP], begin + g, &w->x[MOX_SLAB_UP], t, n, up);
            for (uint32_t i = 0; i < rows; i++) {
                mox_expert_glu(j, it, (begin + g) * R, R, gate[i], up[i], h[row0 + i] + (size_t)g * R);
            }
        }
    }
}

/* Round a slice's block of every row and put it where down reads it. */
static bool put_h(const mox_expert_job *j, const mox_expert_item *it, uint32_t slice, float (*h)[MOX_SLICE])
{
    const mox_panel *x = &it->wide.x[MOX_SLAB_DOWN];
    uint32_t left = j->d_ff - slice * MOX_SLICE, cols = left < MOX_SLICE ? left : MOX_SLICE;
    bool finite = true;
    for (uint32_t i = 0; i < it->n; i++) {
        mox_h_block block;
        const void *from = h[i];
        finite = mox_expert_round(j->vec, x->kind, h[i], cols, &block, &from) && finite;
        mox_panel_put(x, i, slice, from);
    }
    return finite;
}

static void slice_range(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    mox_expert_job *j = arg;
    float(*h)[MOX_SLICE] = (float(*)[MOX_SLICE])(void *)(j->worker_mem + worker * j->worker_bytes);
    for (uint32_t u = begin; u < end; u++) {
        const mox_expert_item *it = &j->item[u / j->n_slices];
        slice_h(j, it, u % j->n_slices, h);
        if (!put_h(j, it, u % j->n_slices, h)) {
            atomic_store_explicit(&j->not_finite, true, memory_order_relaxed);
        }
    }
}

/* Groups [g, g + n_groups) of down for tiles [t, t + n) of its panel; sums: [n_groups][lanes]. */
static void down_strip(const mox_expert_job *j, const mox_expert_item *it, uint32_t g, uint32_t n_groups,
                       uint32_t t, uint32_t n, mox_row_sums *sums)
{
    const mox_panel *x = &it->wide.x[MOX_SLAB_DOWN];
    mox_panel_tile first = mox_panel_tile_at(x, t), last = mox_panel_tile_at(x, t + n - 1);
    uint32_t lanes = last.row0 + last.size - first.row0,
             blocks = mox_mat_blocks(it->wide.mul[MOX_SLAB_DOWN].w);
    uint32_t each = (uint32_t)(PANEL_BYTES / ((size_t)lanes * mox_panel_words(x->kind) * 4));
    memset(sums, 0, (size_t)n_groups * lanes * sizeof *sums);
    for (uint32_t b = 0, end; b < blocks; b = end) {
        end = blocks - b < each ? blocks : b + each;
        for (uint32_t k = 0; k < n_groups; k++) {
            mox_panel_blocks_add(&it->wide.mul[MOX_SLAB_DOWN], g + k, b, end, x, t, n,
                                 sums + (size_t)k * lanes);
        }
    }
    const uint32_t *row = it->out_row + first.row0;
    for (uint32_t k = 0; k < n_groups; k++) {
        uint32_t col = (g + k) * R, left = j->d_model - col, real = left < R ? left : R;
        for (uint32_t i = 0; i < rows_of(x, t, n); i++) {
            float *y = sums[(size_t)k * lanes + i].row;
            if (it->bias[MOX_SLAB_DOWN] != NULL) {
                mox_expert_add(y, it->bias[MOX_SLAB_DOWN] + col, real);
            }
            memcpy(j->a->e + (size_t)row[i] * j->d_model + col, y, real * sizeof(float));
        }
    }
}

static void down_range(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    const mox_expert_job *j = arg;
    mox_row_sums *sums = (mox_row_sums *)(void *)(j->worker_mem + worker * j->worker_bytes);
    uint32_t groups = mox_div_up(j->d_model, R), strips = mox_div_up(groups, DOWN_GROUPS);
    for (uint32_t u = begin; u < end; u++) {
        const mox_expert_item *it = &j->item[u / strips];
        const mox_panel *x = &it->wide.x[MOX_SLAB_DOWN];
        uint32_t g = u % strips * DOWN_GROUPS, left = groups - g;
        for (uint32_t t = 0, n; t < mox_panel_tiles(x); t += n) {
            n = run_of(x, t);
            down_strip(j, it, g, left < DOWN_GROUPS ? left : DOWN_GROUPS, t, n, sums);
        }
    }
}

mox_err mox_expert_wide_turn(mox_pool *pool, mox_expert_job *j)
{
    uint32_t rows = 0;
    for (uint32_t k = 0; k < j->n_items; k++) {
        rows += j->item[k].n;
    }
    mox_pool_for(pool, rows, PACK_GRAIN, pack_range, j);
    mox_pool_for(pool, j->n_items * j->n_slices, 1, slice_range, j);
    if (atomic_load_explicit(&j->not_finite, memory_order_relaxed)) {
        return MOX_FAIL(MOX_E_NUMERIC, "an expert's intermediate vector is not finite");
    }
    mox_pool_for(pool, j->n_items * mox_div_up(mox_div_up(j->d_model, R), DOWN_GROUPS), 1, down_range, j);
    j->n_items = 0;
    return MOX_OK;
}
