/* The part of a layer's experts that a device computes: those in VRAM, and those that cross the link for this step.
 *
 * Residents are launched before the CPU begins with the misses, and their outputs are on their way down while it computes.
 * Of what comes from RAM and the file the CPU takes all, none or some (miss.h): an expert that crosses is copied into a
 * staging slot on one stream while the one before is computed on the other. Every output goes to its own row of far_e and
 * from there to its row of moe.e, where the merge finds it by rank: which side computed it cannot show.
 *
 * The host waits for two words in memory: for copies, before RAM slots are given back, and for outputs, before the merge.
 */
#include "runtime/core/clock.h"
#include "runtime/graph/device.h"

#include <string.h>

static bool weighs_input(const mox_graph *g)
{
    return g->m->h.router.gating == MOX_GATING_SIGMOID_TOP;
}

uint32_t mox_moe_device_begin(mox_graph *g, const mox_layer_op *op, uint32_t n_needs)
{
    mox_devices *ds = g->devices;
    uint32_t layer = op->moe.moe_layer;
    ds->cur = &ds->d[ds->of_layer[layer]];
    ds->cur->has_input = false;
    ds->cur->n_rows = ds->cur->n_down = 0;
    ds->active = false;
    ds->n_taken = 0;
    return mox_vram_begin(g->store, layer, g->phase, g->moe.needs, n_needs, ds->hits, &ds->n_hits);
}

/* The layer's rounded inputs, once. */
static mox_err send_input(mox_graph *g, mox_device *d)
{
    const mox_act_set *set = weighs_input(g) ? &g->moe.in_acts : &g->h_acts;
    size_t rows = (size_t)g->n * (weighs_input(g) ? g->m->h.top_k : 1);
    for (int k = 0; k < MOX_ACT_KINDS && !d->has_input; k++) {
        if (!d->x[k].data || !set->have[k]) {
            continue;
        }
        size_t bytes = rows * d->x[k].row_bytes;
        memcpy(d->near_x[k].data, set->kind[k].data, bytes);
        MOX_TRY(d->dev->ops->copy(d->dev, d->compute, d->x[k].data, d->near_x[k].data, bytes));
    }
    d->has_input = true;
    return MOX_OK;
}

/* Rows of this layer that use the expert become the next rows of far_e. */
static mox_expert_use add_use(mox_graph *g, const mox_layer_op *op, uint32_t expert, const uint8_t *slot)
{
    const mox_moe_buffers *b = &g->moe;
    mox_devices *ds = g->devices;
    mox_device *d = ds->cur;
    mox_expert_use use = {.first = d->n_rows, .n = b->start[expert + 1] - b->start[expert]};
    for (uint32_t at = b->start[expert]; at < b->start[expert + 1]; at++, d->n_rows++) {
        d->tok[d->n_rows] = b->near_tok[at];
        d->out_row[d->n_rows] = d->n_rows;
        ds->host_row[d->n_rows] = b->near_out_row[at];
    }
    mox_expert_views(&g->m->layouts[op->moe.moe_layer], slot, use.mats);
    for (int s = 0; s < MOX_SLABS; s++) {
        const mox_weight *bias = op->moe.bias[s];
        use.bias[s] = bias ? bias->f32 + (size_t)expert * bias->cols : NULL;
    }
    return use;
}

/* Experts ds->uses[0..n), whose rows are the last ones of far_e from `first` on. */
static mox_err launch(mox_graph *g, const mox_layer_op *op, uint32_t first, uint32_t n)
{
    mox_devices *ds = g->devices;
    mox_device *d = ds->cur;
    const mox_dev_ops *ops = d->dev->ops;
    size_t uses = (size_t)g->dims.n_batch * g->m->h.top_k, bytes = (d->n_rows - first) * sizeof *d->tok;
    uint32_t *tok = d->far_index, *out_row = d->far_index + uses;
    MOX_TRY(ops->copy(d->dev, d->compute, tok + first, d->tok + first, bytes));
    MOX_TRY(ops->copy(d->dev, d->compute, out_row + first, d->out_row + first, bytes));
    mox_experts_args a = {.use = ds->uses,
                          .n_uses = n,
                          .x = d->x,
                          .tok = tok,
                          .out_row = out_row,
                          .e = d->far_e,
                          .act_f32 = g->dims.act_f32,
                          .glu = g->m->h.glu,
                          .scratch = d->scratch,
                          .scratch_bytes = d->scratch_bytes};
    ds->active = true;
    return mox_graph_named(d->ops->experts(d->ops, d->compute, &a), op->layer, "experts");
}

/* Outputs that are not on their way down yet follow what makes them. */
static mox_err send_down(mox_graph *g, mox_device *d)
{
    const mox_dev_ops *ops = d->dev->ops;
    size_t width = g->m->h.d_model;
    if (d->n_down < d->n_rows) {
        MOX_TRY(ops->copy(d->dev, d->compute, d->near_e + d->n_down * width, d->far_e + d->n_down * width,
                          (d->n_rows - d->n_down) * width * sizeof *d->near_e));
        d->n_down = d->n_rows;
        MOX_TRY(ops->flag_write(d->dev, d->compute, &d->words->computed, ++d->n_computes));
    }
    return ops->event_record(d->dev, d->computed, d->compute);
}

mox_err mox_moe_device_launch(mox_graph *g, const mox_layer_op *op)
{
    mox_devices *ds = g->devices;
    if (ds->n_hits == 0) {
        return MOX_OK;
    }
    MOX_TRY(send_input(g, ds->cur));
    for (uint32_t i = 0; i < ds->n_hits; i++) {
        ds->uses[i] = add_use(g, op, ds->hits[i].expert, ds->hits[i].slot);
    }
    MOX_TRY(launch(g, op, 0, ds->n_hits));
    return send_down(g, ds->cur);
}

/* An expert crosses: into the staging slot that has rested longest. */
static mox_err cross(mox_graph *g, const mox_layer_op *op, const mox_lease *lease)
{
    mox_devices *ds = g->devices;
    mox_device *d = ds->cur;
    const mox_dev_ops *ops = d->dev->ops;
    uint32_t at = d->n_staged++ % MOX_STAGING_SLOTS, first = d->n_rows;
    uint8_t *slot = d->staging + at * d->staging_bytes;
    if (d->was_used[at]) {
        MOX_TRY(ops->stream_after(d->dev, d->link, d->used[at]));
    }
    MOX_TRY(ops->copy(d->dev, d->link, slot, lease->slot, mox_model_slot_bytes(g->m, op->moe.moe_layer)));
    MOX_TRY(ops->flag_write(d->dev, d->link, &d->words->copied, ++d->n_copies));
    MOX_TRY(ops->event_record(d->dev, d->copied, d->link));
    MOX_TRY(ops->stream_after(d->dev, d->compute, d->copied));
    ds->uses[0] = add_use(g, op, lease->expert, slot);
    MOX_TRY(launch(g, op, first, 1));
    d->was_used[at] = true;
    return ops->event_record(d->dev, d->used[at], d->compute);
}

static uint32_t rows_of(const mox_graph *g, uint32_t expert)
{
    return g->moe.start[expert + 1] - g->moe.start[expert];
}

/* Leases by their rows, fewest first; how many of the last ones cross. */
static uint32_t choose(mox_graph *g, uint32_t n)
{
    mox_devices *ds = g->devices;
    mox_lease *l = g->moe.leases;
    for (uint32_t i = 1; i < n; i++) {
        mox_lease moved = l[i];
        uint32_t at = i;
        for (; at > 0 && rows_of(g, l[at - 1].expert) > rows_of(g, moved.expert); at--) {
            l[at] = l[at - 1];
        }
        l[at] = moved;
    }
    for (uint32_t i = 0; i < n; i++) {
        ds->rows[i] = rows_of(g, l[n - 1 - i].expert);
    }
    if (l[0].arriving) { /* alone, and computed while its last parts come */
        return 0;
    }
    mox_miss way = ds->miss;
    if (way ==
        MOX_MISS_AUTO) { /* a prompt's experts have many rows or few: those with many cross, once for all */
        way = g->phase == MOX_PHASE_PREFILL ? MOX_MISS_SPLIT : mox_miss_way(&ds->automatic);
    }
    return way == MOX_MISS_CPU    ? 0
           : way == MOX_MISS_COPY ? n
                                  : mox_miss_share(&ds->rates[g->phase], ds->rows, n);
}

mox_err mox_moe_device_take(mox_graph *g, const mox_layer_op *op, uint32_t n, uint32_t *own)
{
    mox_devices *ds = g->devices;
    mox_device *d = ds->cur;
    uint64_t bytes = mox_model_slot_bytes(g->m, op->moe.moe_layer);
    ds->n_taken = choose(g, n);
    ds->n_own = *own = n - ds->n_taken;
    ds->n_own_rows = 0;
    for (uint32_t i = 0; i < *own; i++) {
        ds->n_own_rows += rows_of(g, g->moe.leases[i].expert);
    }
    ds->counters.vram.cpu += *own;
    ds->counters.vram.cpu_bytes += *own * bytes;
    ds->counters.vram.crossed += ds->n_taken;
    ds->counters.vram.crossed_bytes += ds->n_taken * bytes;
    ds->took_at = mox_now_ns();
    if (ds->n_taken == 0) {
        return MOX_OK;
    }
    MOX_TRY(send_input(g, d));
    for (uint32_t i = *own; i < n; i++) {
        MOX_TRY(cross(g, op, &g->moe.leases[i]));
    }
    return send_down(g, d);
}

/* A new figure counts an eighth. */
static void blend(double *rate, double seen)
{
    *rate = *rate > 0 ? *rate * 0.875 + seen * 0.125 : seen;
}

mox_err mox_moe_device_taken(mox_graph *g)
{
    mox_devices *ds = g->devices;
    mox_miss_rates *r = &ds->rates[g->phase];
    double cpu_ns = (double)(mox_now_ns() - ds->took_at);
    if (ds->n_own > 0 && ds->n_own_rows > 2 * ds->n_own) {
        blend(&r->row_ns, cpu_ns / ds->n_own_rows);
    } else if (ds->n_own > 0) {
        blend(&r->cpu_ns, cpu_ns / ds->n_own);
    }
    if (ds->n_taken == 0) {
        return MOX_OK;
    }
    MOX_TRY(mox_device_wait_copies(ds->cur, ds->cur->n_copies));
    blend(&r->link_ns, (double)(mox_now_ns() - ds->took_at) / ds->n_taken);
    return MOX_OK;
}

mox_err mox_moe_device_finish(mox_graph *g)
{
    mox_devices *ds = g->devices;
    mox_device *d = ds->cur;
    size_t width = g->m->h.d_model;
    MOX_TRY(mox_device_wait_computes(d, d->n_computes));
    for (uint32_t i = 0; i < d->n_rows; i++) {
        memcpy(g->moe.e + ds->host_row[i] * width, d->near_e + i * width, width * sizeof *g->moe.e);
    }
    return MOX_OK;
}

mox_err mox_moe_device_end(mox_graph *g, bool failed)
{
    mox_device *d = g->devices->cur;
    if (failed) { /* nothing may be under way when memory is used again */
        mox_err_info first = *mox_err_last();
        mox_err late = d->dev->ops->stream_wait(d->dev, d->link);
        late = late == MOX_OK ? d->dev->ops->stream_wait(d->dev, d->compute) : late;
        mox_err end = mox_vram_end(g->store, true);
        (void)late;
        (void)end;
        return mox_err_restore(&first);
    }
    return mox_vram_end(g->store, false);
}

void mox_moe_device_step(mox_graph *g, uint64_t ns)
{
    mox_devices *ds = g->devices;
    if (ds->miss == MOX_MISS_AUTO && g->phase == MOX_PHASE_DECODE) {
        mox_miss_step(&ds->automatic, ns);
    }
}
