/* Reports shared by the commands. The counts are printed so that a reader can add them up: ram + late + file
 * = uses, and fill + demand + prefetch = bytes read. */
#include "runtime/cli/report.h"

#include "runtime/cli/ui.h"

#include <stdio.h>

void mox_report_plan(const mox_plan *plan)
{
    char a[8][24];
    char loading[48] = "";
    if (plan->load_bytes) {
        snprintf(loading, sizeof loading, " + %s while loading", mox_human(plan->load_bytes, a[0]));
    }
    mox_ui_line("plan: %s = dense %s + KV %s (%u positions, %s) + buffers %s + I/O %s + transit %s + experts "
                "%s + program %s%s",
                mox_human(plan->total_bytes, a[0]), mox_human(plan->dense_bytes, a[1]),
                mox_human(plan->kv_bytes, a[2]), plan->n_ctx * plan->n_seq, plan->kv_type,
                mox_human(plan->buffer_bytes, a[3]), mox_human(plan->io_bytes, a[4]),
                mox_human(plan->transit_bytes, a[5]), mox_human(plan->expert_bytes, a[6]),
                mox_human(plan->process_bytes + plan->metadata_bytes, a[7]), loading);
    double pct = plan->experts_total > 0 ? 100.0 * plan->kept_total / plan->experts_total : 0;
    char floor_text[24], budget[24];
    for (uint32_t i = 0; i < plan->n_devices; i++) {
        const mox_plan_device *d = &plan->device[i];
        mox_ui_line(
            "plan: device %u, %s of %s = dense %s + KV %s + buffers %s + staging %s + %u experts of %u "
            "layers %s",
            i, mox_human(d->total_bytes, a[0]), mox_human(d->limit_bytes, a[1]),
            mox_human(d->dense_bytes, a[2]), mox_human(d->kv_bytes, a[3]), mox_human(d->buffer_bytes, a[4]),
            mox_human(d->staging_bytes, a[5]), d->n_experts, d->n_layers, mox_human(d->expert_bytes, a[6]));
    }
    if (plan->budget_bytes > 0) {
        mox_ui_line("plan: %u of %u experts stay in RAM (%.0f %%), budget %s, floor %s", plan->kept_total,
                    plan->experts_total, pct, mox_human(plan->budget_bytes, budget),
                    mox_human(plan->floor_bytes, floor_text));
    } else {
        mox_ui_line("plan: %u of %u experts stay in RAM (%.0f %%), floor %s", plan->kept_total,
                    plan->experts_total, pct, mox_human(plan->floor_bytes, floor_text));
    }
}

void mox_report_plan_json(mox_json *j, const char *key, const mox_plan *plan)
{
    mox_json_object(j, key);
    mox_json_u64(j, "process_bytes", plan->process_bytes);
    mox_json_u64(j, "metadata_bytes", plan->metadata_bytes);
    mox_json_u64(j, "dense_bytes", plan->dense_bytes);
    mox_json_u64(j, "kv_bytes", plan->kv_bytes);
    mox_json_u64(j, "buffer_bytes", plan->buffer_bytes);
    mox_json_u64(j, "io_bytes", plan->io_bytes);
    mox_json_u64(j, "transit_bytes", plan->transit_bytes);
    mox_json_u64(j, "expert_bytes", plan->expert_bytes);
    mox_json_u64(j, "total_bytes", plan->total_bytes);
    mox_json_u64(j, "budget_bytes", plan->budget_bytes);
    mox_json_u64(j, "floor_bytes", plan->floor_bytes);
    mox_json_u64(j, "layers", plan->n_layers);
    mox_json_u64(j, "moe_layers", plan->n_moe_layers);
    mox_json_u64(j, "experts_per_layer", plan->n_experts);
    mox_json_u64(j, "top_k", plan->top_k);
    mox_json_u64(j, "experts_total", plan->experts_total);
    mox_json_u64(j, "experts_kept", plan->kept_total);
    mox_json_array(j, "kept_per_layer");
    for (uint32_t l = 0; l < plan->n_moe_layers; l++) {
        mox_json_u64(j, NULL, plan->kept[l]);
    }
    mox_json_array_end(j);
    if (plan->n_devices) {
        mox_json_u64(j, "load_bytes", plan->load_bytes);
        mox_json_u64(j, "experts_in_vram", plan->vram_experts);
        mox_json_array(j, "devices");
        for (uint32_t i = 0; i < plan->n_devices; i++) {
            const mox_plan_device *d = &plan->device[i];
            mox_json_object(j, NULL);
            mox_json_u64(j, "limit_bytes", d->limit_bytes);
            mox_json_u64(j, "dense_bytes", d->dense_bytes);
            mox_json_u64(j, "kv_bytes", d->kv_bytes);
            mox_json_u64(j, "expert_bytes", d->expert_bytes);
            mox_json_u64(j, "staging_bytes", d->staging_bytes);
            mox_json_u64(j, "buffer_bytes", d->buffer_bytes);
            mox_json_u64(j, "total_bytes", d->total_bytes);
            mox_json_u64(j, "layers", d->n_layers);
            mox_json_u64(j, "experts", d->n_experts);
            mox_json_object_end(j);
        }
        mox_json_array_end(j);
    }
    mox_json_u64(j, "transit_slots", plan->transit_slots);
    mox_json_u64(j, "ctx", plan->n_ctx);
    mox_json_u64(j, "sequences", plan->n_seq);
    mox_json_u64(j, "batch", plan->n_batch);
    mox_json_u64(j, "threads", plan->n_threads);
    mox_json_string(j, "kv", plan->kv_type);
    mox_json_object_end(j);
}

static void tier_json(mox_json *j, const char *key, uint64_t uses, uint64_t bytes)
{
    mox_json_object(j, key);
    mox_json_u64(j, "uses", uses);
    mox_json_u64(j, "bytes", bytes);
    mox_json_object_end(j);
}

static void uses_json(mox_json *j, const char *key, const mox_use_counters *u)
{
    mox_json_object(j, key);
    mox_json_u64(j, "uses", u->uses);
    if (u->vram) {
        tier_json(j, "vram", u->vram, u->vram_bytes);
    }
    tier_json(j, "ram", u->hits, u->hit_bytes);
    tier_json(j, "late", u->late, u->late_bytes);
    tier_json(j, "file", u->misses, u->miss_bytes);
    mox_json_u64(j, "loads", u->loads);
    mox_json_object_end(j);
}

static mox_use_counters both_phases(const mox_counters *c)
{
    mox_use_counters sum = c->use[MOX_PHASE_PREFILL];
    const mox_use_counters *d = &c->use[MOX_PHASE_DECODE];
    sum.uses += d->uses;
    sum.hits += d->hits;
    sum.late += d->late;
    sum.misses += d->misses;
    sum.hit_bytes += d->hit_bytes;
    sum.late_bytes += d->late_bytes;
    sum.miss_bytes += d->miss_bytes;
    sum.loads += d->loads;
    sum.vram += d->vram;
    sum.vram_bytes += d->vram_bytes;
    return sum;
}

void mox_report_counters_json(mox_json *j, const mox_counters *c)
{
    mox_use_counters sum = both_phases(c);
    uses_json(j, "hits", &sum);
    uses_json(j, "hits_prefill", &c->use[MOX_PHASE_PREFILL]);
    uses_json(j, "hits_decode", &c->use[MOX_PHASE_DECODE]);
    mox_json_object(j, "bytes_read");
    mox_json_u64(j, "total", c->io.read_bytes);
    mox_json_u64(j, "fill", c->io.fill_bytes);
    mox_json_u64(j, "demand", c->io.demand_bytes);
    mox_json_u64(j, "prefetch", c->io.prefetch_bytes);
    mox_json_u64(j, "requests", c->io.read_requests);
    mox_json_u64(j, "retries", c->io.retries);
    mox_json_u64(j, "short_reads", c->io.short_reads);
    mox_json_u64(j, "verified", c->io.verified);
    mox_json_u64(j, "rereads", c->io.rereads);
    mox_json_f64(j, "busy_seconds", (double)c->io.busy_ns * 1e-9);
    mox_json_object_end(j);
    mox_json_object(j, "prefetch");
    mox_json_u64(j, "issued", c->prefetch.issued);
    mox_json_u64(j, "used", c->prefetch.used);
    mox_json_u64(j, "late", c->prefetch.late);
    mox_json_u64(j, "wasted", c->prefetch.wasted);
    mox_json_u64(j, "cancelled", c->prefetch.cancelled);
    mox_json_u64(j, "switched_off", c->prefetch.switched_off);
    mox_json_object_end(j);
    const mox_vram_counters *v = &c->vram;
    if (v->fill_bytes || v->crossed || v->cpu) {
        mox_json_object(j, "vram");
        mox_json_u64(j, "fill_bytes", v->fill_bytes);
        mox_json_u64(j, "moved_in", v->promotions);
        mox_json_u64(j, "went_down", v->demotions);
        mox_json_u64(j, "still_in_ram", v->still_in_ram);
        mox_json_u64(j, "dropped", v->dropped);
        mox_json_u64(j, "up_bytes", v->up_bytes);
        mox_json_u64(j, "down_bytes", v->down_bytes);
        mox_json_u64(j, "crossed", v->crossed);
        mox_json_u64(j, "crossed_bytes", v->crossed_bytes);
        mox_json_u64(j, "cpu", v->cpu);
        mox_json_u64(j, "cpu_bytes", v->cpu_bytes);
        mox_json_object_end(j);
    }
    mox_json_u64(j, "admissions", c->admissions);
    mox_json_u64(j, "evictions", c->evictions);
    mox_json_object(j, "wait_seconds");
    mox_json_f64(j, "prefill", (double)c->wait_ns[MOX_PHASE_PREFILL] * 1e-9);
    mox_json_f64(j, "decode", (double)c->wait_ns[MOX_PHASE_DECODE] * 1e-9);
    mox_json_object_end(j);
}

void mox_report_run_json(mox_json *j, const mox_opts *o, const mox_ctx *ctx)
{
    mox_json_string(j, "model", o->cfg.model);
    mox_json_string(j, "act", o->cfg.act_f32 ? "f32" : "int8");
    mox_json_string(j, "device", mox_get_device(ctx));
    mox_json_string(j, "io", mox_get_io(ctx));
    mox_json_string(j, "policy", o->cfg.policy);
    mox_json_string(j, "fill_order", mox_get_fill_order(ctx));
    mox_json_string(j, "look_ahead", mox_get_look_ahead(ctx));
    if (mox_get_plan(ctx)->n_devices) {
        char miss[160];
        mox_json_string(j, "miss", mox_get_miss(ctx, miss, sizeof miss));
    }
    mox_report_plan_json(j, "plan", mox_get_plan(ctx));
    mox_json_u64(j, "actual_bytes", mox_actual_bytes(ctx));
}

void mox_report_hash_json(mox_json *j, const mox_ctx *ctx)
{
    mox_hash128 h = mox_logits_hash(ctx);
    char text[40];
    snprintf(text, sizeof text, "%016llx%016llx", (unsigned long long)h.hi, (unsigned long long)h.lo);
    mox_json_string(j, "logits_xxh3", text);
}

const char *mox_report_counters(const mox_counters *c, char out[320])
{
    mox_use_counters u = both_phases(c);
    char a[4][24];
    double n = u.uses > 0 ? (double)u.uses : 1;
    char vram[64] = "";
    if (u.vram) {
        snprintf(vram, sizeof vram, "VRAM %llu (%.1f %%) + ", (unsigned long long)u.vram,
                 100 * (double)u.vram / n);
    }
    snprintf(out, 320,
             "%llu expert uses = %sRAM %llu (%.1f %%) + late %llu (%.1f %%) + file %llu (%.1f %%); "
             "read %s = fill %s + demand %s + ahead %s",
             (unsigned long long)u.uses, vram, (unsigned long long)u.hits, 100 * (double)u.hits / n,
             (unsigned long long)u.late, 100 * (double)u.late / n, (unsigned long long)u.misses,
             100 * (double)u.misses / n, mox_human(c->io.read_bytes, a[0]), mox_human(c->io.fill_bytes, a[1]),
             mox_human(c->io.demand_bytes, a[2]), mox_human(c->io.prefetch_bytes, a[3]));
    return out;
}
