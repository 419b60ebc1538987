/* moxie plan --json: the plan's own lines, then the tiers, hits, ways and speeds that were predicted from them. */
#include "runtime/cli/plan/plan.h"
#include "runtime/cli/report.h"

static void layers(mox_json *j, const char *key, const uint32_t *n, const mox_plan *plan)
{
    mox_json_array(j, key);
    for (uint32_t l = 0; l < plan->n_moe_layers; l++) {
        mox_json_u64(j, NULL, n[l]);
    }
    mox_json_array_end(j);
}

static void tiers(mox_json *j, const mox_plan_view *v)
{
    const mox_tiers *t = &v->tiers;
    mox_json_object(j, "bytes");
    mox_json_object(j, "vram");
    mox_json_u64(j, "total", t->vram_total);
    mox_json_u64(j, "dense", t->vram_dense);
    mox_json_u64(j, "kv", t->vram_kv);
    mox_json_u64(j, "buffers", t->vram_buffers);
    mox_json_u64(j, "reserve", t->vram_reserve);
    mox_json_u64(j, "experts", t->vram_experts);
    mox_json_object_end(j);
    mox_json_object(j, "ram");
    mox_json_u64(j, "total", t->ram_total);
    mox_json_u64(j, "dense", t->ram_dense);
    mox_json_u64(j, "kv", t->ram_kv);
    mox_json_u64(j, "buffers", t->ram_buffers);
    mox_json_u64(j, "program_io_transit", t->ram_fixed);
    mox_json_u64(j, "experts", t->ram_experts);
    mox_json_object_end(j);
    mox_json_object(j, "file");
    mox_json_u64(j, "experts", t->file_experts);
    mox_json_object_end(j);
    mox_json_object_end(j);
    mox_json_object(j, "experts");
    mox_json_u64(j, "vram", t->n_vram);
    mox_json_u64(j, "ram", t->n_ram);
    mox_json_u64(j, "file", t->n_file);
    layers(j, "vram_per_layer", t->vram, &v->plan);
    layers(j, "ram_per_layer", t->ram, &v->plan);
    mox_json_object_end(j);
}

static void speeds(mox_json *j, const mox_plan_cmd *c, const mox_plan_view *v)
{
    const mox_prediction *p = &v->p;
    mox_json_object(j, "hits");
    mox_json_string(j, "source", p->source);
    mox_json_f64(j, "vram", p->hits.vram);
    mox_json_f64(j, "ram", p->hits.ram);
    mox_json_f64(j, "file", 1 - p->hits.vram - p->hits.ram);
    if (p->best.vram >= 0) {
        mox_json_f64(j, "best_vram", p->best.vram);
        mox_json_f64(j, "best_vram_and_ram", p->best.vram + p->best.ram);
    }
    mox_json_object_end(j);
    if (v->tiers.gpu) {
        mox_json_object(j, "misses");
        mox_json_string(j, "way", mox_way_name(p->ways.best));
        mox_json_bool(j, "tie", p->ways.tie);
        mox_json_f64(j, "cpu_tok_s", 1 / p->ways.token_s[MOX_WAY_CPU]);
        mox_json_f64(j, "copy_tok_s", 1 / p->ways.token_s[MOX_WAY_COPY]);
        mox_json_f64(j, "split_tok_s", 1 / p->ways.token_s[MOX_WAY_SPLIT]);
        mox_json_object_end(j);
    }
    mox_json_f64(j, "decode_tok_s", p->decode_tok_s);
    mox_json_f64(j, "prefill_tok_s", p->prefill_tok_s);
    mox_json_string(j, "decode_bottleneck", mox_part_name(p->token.bottleneck, &c->machine, p->ways.best));
    mox_json_string(j, "prefill_bottleneck", mox_part_name(p->batch.bottleneck, &c->machine, p->ways.best));
}

static void machine(mox_json *j, const mox_plan_cmd *c)
{
    const mox_machine *m = &c->machine;
    mox_json_object(j, "machine");
    mox_json_string(j, "name", c->machine_name);
    mox_json_f64(j, "vram_bytes_per_s", m->vram_bps);
    mox_json_f64(j, "link_bytes_per_s", m->link_bps);
    mox_json_f64(j, "cpu_bytes_per_s", m->cpu_bps);
    mox_json_f64(j, "dram_bytes_per_s", m->dram_bps);
    mox_json_f64(j, "disk_bytes_per_s", m->disk_bps);
    mox_json_object_end(j);
}

static void sweep(mox_json *j, const mox_plan_sweep *s)
{
    mox_json_array(j, s->vram ? "sweep_vram" : "sweep_ram");
    for (uint32_t i = 0; i < s->n; i++) {
        const mox_plan_view *v = &s->views[i];
        mox_json_object(j, NULL);
        mox_json_u64(j, "bytes", s->bytes[i]);
        mox_json_bool(j, "fits", s->fits[i]);
        if (s->fits[i]) {
            mox_json_u64(j, "experts_vram", v->tiers.n_vram);
            mox_json_u64(j, "experts_ram", v->tiers.n_ram);
            mox_json_f64(j, "hits_vram", v->p.hits.vram);
            mox_json_f64(j, "hits_ram", v->p.hits.ram);
            mox_json_f64(j, "decode_tok_s", v->p.decode_tok_s);
            mox_json_f64(j, "prefill_tok_s", v->p.prefill_tok_s);
        }
        mox_json_object_end(j);
    }
    mox_json_array_end(j);
}

void mox_plan_json(const mox_plan_cmd *c, const mox_plan_view *v, const mox_plan_change *changes, uint32_t n,
                   const mox_plan_sweep *s)
{
    mox_json j;
    mox_json_begin(&j, stdout);
    mox_json_object(&j, NULL);
    mox_json_string(&j, "schema", "moxie.plan/1");
    mox_json_string(&j, "model", c->cfg.model);
    mox_json_bool(&j, "fits", v->tiers.fits);
    machine(&j, c);
    mox_report_plan_json(&j, "plan", &v->plan);
    tiers(&j, v);
    if (v->tiers.fits) {
        speeds(&j, c, v);
    }
    mox_json_array(&j, "changes");
    for (uint32_t i = 0; i < n; i++) {
        mox_json_object(&j, NULL);
        mox_json_string(&j, "options", changes[i].options);
        mox_json_string(&j, "command", changes[i].command);
        mox_json_f64(&j, "decode_tok_s", changes[i].decode_tok_s);
        mox_json_f64(&j, "prefill_tok_s", changes[i].prefill_tok_s);
        mox_json_i64(&j, "experts", changes[i].experts);
        mox_json_object_end(&j);
    }
    mox_json_array_end(&j);
    if (s->n) {
        sweep(&j, s);
    }
    mox_json_object_end(&j);
    mox_json_end(&j);
}
