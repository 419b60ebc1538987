/* Experts of a layer for the rows that chose them (operation `experts`): all that are ready go in one call.
 *
 * Experts with few rows (decode) are taken together: one pass over the pool deals out their slices
 * (expert_slice.c), a second one adds up the partials and merges (expert_sum.c). Those with many rows go first,
 * through panels (expert_wide.c). The sums are the same whichever way an expert goes, and whatever it shares the
 * call with. Memory for partials is the caller's scratch; what does not fit goes in a further turn.
 */
#include "kernels/expert.h"

#include "kernels/mat_mul.h"
#include "runtime/core/bits.h"

enum { FEW_ROWS = MOX_TILE_ROWS, PLANNED_FEW_ROWS = 32 /* of all experts of a call, in one turn */ };

static size_t part_floats(uint32_t d_model)
{
    return mox_round_up(d_model, MOX_ROWS_PER_GROUP);
}

/* Partial vectors for a number of rows at most: the last spans, one for each worker, have one for each slice. */
static size_t most_parts(size_t rows, uint32_t n_slices, uint32_t workers)
{
    size_t n_spans = mox_div_up(n_slices, MOX_SPAN_BLOCKS);
    size_t split = (size_t)workers * (MOX_SPAN_BLOCKS - 1) * FEW_ROWS;
    size_t by_span = rows * n_spans + split, by_slice = rows * n_slices;
    return by_span < by_slice ? by_span : by_slice;
}

static mox_act_kind kind_of(mox_type type, bool act_f32)
{
    const mox_format *f = mox_format_of(type);
    return act_f32 || f == NULL ? MOX_ACT_F32 : f->kind;
}

/* Scratch: items, what each worker needs, and the rest for partials or panels. */
static size_t items_bytes(uint32_t n_uses, uint32_t n_rows)
{
    return mox_round_up((n_uses + n_rows / MOX_EXPERT_ROWS) * sizeof(mox_expert_item), 64);
}

size_t mox_experts_scratch_bytes(const mox_expert_layout *l, uint32_t n_uses, uint32_t n_rows,
                                 uint32_t n_workers, bool act_f32)
{
    size_t few = n_rows < PLANNED_FEW_ROWS ? n_rows : PLANNED_FEW_ROWS;
    size_t rest = most_parts(few, l->n_slices, n_workers) * part_floats(l->d_model) * sizeof(float);
    size_t workers = 0;
    if (n_rows > FEW_ROWS) {
        mox_act_kind kind[MOX_SLABS];
        for (int s = 0; s < MOX_SLABS; s++) {
            kind[s] = kind_of(l->type[s], act_f32);
        }
        uint32_t rows = n_rows < MOX_EXPERT_ROWS ? n_rows : MOX_EXPERT_ROWS;
        size_t wide = mox_expert_wide_bytes(kind, l->d_model, l->d_ff, rows);
        rest = wide > rest ? wide : rest;
        workers = n_workers * mox_expert_wide_worker_bytes(n_rows);
    }
    return items_bytes(n_uses, n_rows) + workers + mox_round_up(rest, 64);
}

/* Rows [first, first + n) of the call's, through the expert of a use. */
static mox_err item_init(const mox_experts_args *a, mox_isa isa, const mox_expert_use *u, uint32_t first,
                         uint32_t n, mox_expert_item *it)
{
    *it = (mox_expert_item){.tok = a->tok + first, .out_row = a->out_row + first, .bias = u->bias, .n = n};
    mox_mat_job *jobs[MOX_SLABS] = {&it->gate, &it->up, &it->down};
    for (int s = 0; s < MOX_SLABS; s++) {
        mox_act_kind kind = kind_of(u->mats[s].type, a->act_f32);
        MOX_TRY(mox_mat_job_init(jobs[s], isa, &u->mats[s], kind));
        jobs[s]->n = n;
        for (uint32_t i = 0; s != MOX_SLAB_DOWN && n <= FEW_ROWS && i < n; i++) {
            jobs[s]->x[i] = (const uint8_t *)a->x[kind].data + it->tok[i] * a->x[kind].row_bytes;
        }
    }
    return MOX_OK;
}

/* Which spans are units, and where each item's partials are. */
static void lay_out(mox_expert_job *j, uint32_t workers, float *parts)
{
    uint32_t spans = j->n_items * j->n_spans;
    j->whole_units = spans > workers ? spans - workers : 0;
    for (uint32_t k = 0; k < j->n_items; k++) {
        mox_expert_item *it = &j->item[k];
        uint32_t before = k * j->n_spans, whole = j->whole_units > before ? j->whole_units - before : 0;
        it->whole_spans = whole < j->n_spans ? whole : j->n_spans;
        uint32_t covered = it->whole_spans * MOX_SPAN_BLOCKS;
        it->n_parts = it->whole_spans + (j->n_slices > covered ? j->n_slices - covered : 0);
        it->parts = parts;
        parts += (size_t)it->n * it->n_parts * j->part_floats;
    }
}

/* The slices of all items; of one that is still arriving as many at a time as there are. */
static mox_err first_pass(mox_expert_job *j, mox_pool *pool)
{
    const mox_experts_args *a = j->a;
    uint32_t end = mox_expert_units(j), slices = 0;
    j->first_unit = 0;
    while (a->arrived != NULL && j->n_items > 0 && slices < j->n_slices) {
        MOX_TRY(a->arrived(a->arrived_ctx, &slices));
        uint32_t here = mox_expert_units_in(j, slices);
        mox_pool_for(pool, here - j->first_unit, 1, mox_expert_unit_range, j);
        j->first_unit = here;
    }
    mox_pool_for(pool, end - j->first_unit, 1, mox_expert_unit_range, j);
    return MOX_OK;
}

/* Both passes over the items gathered so far. */
static mox_err turn(mox_expert_job *j, mox_pool *pool, float *parts)
{
    lay_out(j, mox_pool_workers(pool), parts);
    MOX_TRY(first_pass(j, pool));
    if (atomic_load_explicit(&j->not_finite, memory_order_relaxed)) {
        return MOX_FAIL(MOX_E_NUMERIC, "an expert's intermediate vector is not finite");
    }
    mox_expert_sum(pool, j);
    j->n_items = 0;
    return MOX_OK;
}

/* Uses with many rows, as many at a time as their panels fit the memory. */
static mox_err run_wide(mox_expert_job *j, mox_pool *pool, mox_isa isa, uint8_t *mem, size_t bytes)
{
    size_t used = 0;
    for (uint32_t u = 0; u < j->a->n_uses; u++) {
        const mox_expert_use *use = &j->a->use[u];
        mox_act_kind kind[MOX_SLABS];
        for (int s = 0; s < MOX_SLABS; s++) {
            kind[s] = kind_of(use->mats[s].type, j->a->act_f32);
        }
        for (uint32_t row = 0, n; row < use->n && use->n > FEW_ROWS; row += n) {
            n = use->n - row < MOX_EXPERT_ROWS ? use->n - row : MOX_EXPERT_ROWS;
            size_t need = mox_expert_wide_bytes(kind, j->d_model, j->d_ff, n);
            if (used + need > bytes) {
                MOX_TRY(mox_expert_wide_turn(pool, j));
                used = 0;
            }
            mox_expert_item *it = &j->item[j->n_items];
            MOX_TRY(item_init(j->a, isa, use, use->first + row, n, it));
            MOX_TRY(mox_expert_wide_init(&it->wide, isa, it, mem + used));
            j->n_items++;
            used += need;
        }
    }
    return j->n_items > 0 ? mox_expert_wide_turn(pool, j) : MOX_OK;
}

/* Uses with few rows, and whatever is merged. */
static mox_err run_few(mox_expert_job *j, mox_pool *pool, mox_isa isa, float *parts, size_t bytes)
{
    const mox_experts_args *a = j->a;
    mox_experts_args unmerged = *a;
    unmerged.merge = NULL;
    j->a = &unmerged;
    size_t room = bytes / (j->part_floats * sizeof(float)), rows = 0;
    for (uint32_t u = 0; u < a->n_uses; u++) {
        const mox_expert_use *use = &a->use[u];
        if (use->n == 0 || use->n > FEW_ROWS) {
            continue;
        }
        if (most_parts(rows + use->n, j->n_slices, mox_pool_workers(pool)) > room) {
            MOX_TRY(turn(j, pool, parts));
            rows = 0;
        }
        MOX_TRY(item_init(a, isa, use, use->first, use->n, &j->item[j->n_items++]));
        rows += use->n;
    }
    j->a = a;
    return turn(j, pool, parts);
}

mox_err mox_experts_cpu(mox_pool *pool, mox_isa isa, const mox_experts_args *a)
{
    if (a->places != NULL) {
        return MOX_FAIL(MOX_E_ARG, "experts that are named later: the CPU computes at once");
    }
    const mox_mat *gate = &a->use[0].mats[MOX_SLAB_GATE], *down = &a->use[0].mats[MOX_SLAB_DOWN];
    mox_expert_job j = {.a = a,
                        .vec = mox_vec_of(isa),
                        .d_model = down->rows,
                        .d_ff = gate->rows,
                        .n_slices = mox_div_up(gate->rows, MOX_SLICE),
                        .part_floats = part_floats(down->rows),
                        .item = a->scratch};
    j.n_spans = mox_div_up(j.n_slices, MOX_SPAN_BLOCKS);
    uint32_t rows = 0, most = 0;
    for (uint32_t u = 0; u < a->n_uses; u++) {
        rows += a->use[u].n;
        most = a->use[u].n > most ? a->use[u].n : most;
    }
    uint8_t *mem = (uint8_t *)a->scratch + items_bytes(a->n_uses, rows);
    if (most > FEW_ROWS) {
        j.worker_mem = mem;
        j.worker_bytes = mox_expert_wide_worker_bytes(most);
        mem += mox_pool_workers(pool) * j.worker_bytes;
    }
    for (uint32_t slices = 0; most > FEW_ROWS && a->arrived != NULL && slices < j.n_slices;) {
        MOX_TRY(a->arrived(a->arrived_ctx, &slices)); /* panels take the slot as a whole */
    }
    size_t left = a->scratch_bytes - (size_t)(mem - (uint8_t *)a->scratch);
    MOX_TRY(run_wide(&j, pool, isa, mem, left));
    return run_few(&j, pool, isa, (float *)(void *)mem, left);
}
