/* moxie plan: where every byte would go and how fast that would be, from headers alone.
 *
 * The plan is the one that `run` would make and take its memory by (mox_plan_model); what is added here are rates of a
 * machine, measured in a moment, found by `moxie tune --save` or taken from the table of --gpu-spec, and the predictions
 * from both. Without --gpu-spec and --assume-vram the plan is for the CPU of this machine.
 */
#include "runtime/cli/bench/ceiling.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/open.h"
#include "runtime/cli/plan/plan.h"
#include "runtime/cli/tune/tuned.h"

#include "kernels/ceilings/ceilings.h"
#include "offload/io.h"
#include "runtime/plan/placement.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROBE_RAM = 256 << 20, PROBE_DISK = 128 << 20, SWEEP = 9 };
#define CPU_SHARE 0.9 /* of the read ceiling that products reach, docs/numbers.md */
#define USUAL_RAM (32ull << 30)
#define OPS_SHARE 0.25 /* of the integer ceiling that a prompt reaches; assumed */

/* A file that was cut off after its header has nothing to read at speed: the drive is then assumed. */
static void measure_disk(mox_plan_cmd *c, double assumed)
{
    double rate = 0;
    c->machine.disk_bps = assumed;
    if (mox_io_probe_rate(c->cfg.model, 0, PROBE_DISK, 1 << 20, 32, MOX_IO_AUTO, &rate) == MOX_OK &&
        rate > 0) {
        c->machine.disk_bps = rate;
    }
}

static void host_rates(mox_plan_cmd *c, double ram, double ops)
{
    c->machine = (mox_machine){.cpu_bps = CPU_SHARE * ram,
                               .dram_bps = ram,
                               .cpu_ops = OPS_SHARE * ops,
                               .layer_s = MOX_CPU_LAYER_S,
                               .disk_handshake_s = MOX_DISK_HANDSHAKE_S};
}

/* The device's part of the machine, behind the host's: measured, now or by tune; operations of a prompt cannot be measured
 * in a moment and are those of the table. Where the CPU computes for it, played or emulated, its rates are the CPU's. */
static mox_err device_rates(mox_plan_cmd *c, const mox_tuned_rates *tuned)
{
    mox_device_here *d = &c->device;
    const mox_hw *card = mox_hw_card(d->name);
    size_t at = strlen(c->machine_name);
    bool real = strcmp(d->kind, "cuda") == 0;
    if (strcmp(tuned->device, d->kind) == 0 && tuned->link_bps > 0) {
        d->up_bps = tuned->link_bps;
        d->down_bps = tuned->down_bps;
        d->own_bps = tuned->vram_bps;
    } else {
        MOX_TRY(mox_device_measure(&c->cfg, d));
    }
    c->machine.link_bps = d->up_bps;
    c->machine.vram_bps = real ? d->own_bps : c->machine.cpu_bps;
    c->machine.gpu_ops = real ? mox_hw_ops(card) : c->machine.cpu_ops;
    if (real) {
        c->machine.layer_s = MOX_GPU_LAYER_S;
        c->machine.cpu_handshake_s = MOX_CPU_HANDSHAKE_S;
        c->machine.copy_handshake_s = MOX_COPY_HANDSHAKE_S;
    }
    snprintf(c->machine_name + at, sizeof c->machine_name - at,
             "; device: %.60s, copies up %.1f GB/s, down %.1f, within its memory %.1f%s%s%s", d->name,
             d->up_bps / 1e9, d->down_bps / 1e9, d->own_bps / 1e9, real ? "; prompts as on a " : "",
             real ? (card ? card->about : "GeForce RTX 3060 12 GB, assumed") : "",
             strcmp(d->kind, "emu") == 0 ? " (the emulator's: speeds below are as if the CPU played it)"
                                         : "");
    return MOX_OK;
}

/* What a token was measured to take beside its bytes is what a layer takes. */
static void tuned_machine(mox_plan_cmd *c, const mox_tuned_rates *r, const mox_work *w)
{
    double bytes = w->dense_bytes + w->kv_bytes + (double)w->n_moe_layers * w->top_k * w->expert_bytes;
    host_rates(c, r->ram_bps, r->int_ops);
    c->machine.disk_bps = r->disk_bps;
    if (r->token_s > bytes / c->machine.cpu_bps && w->n_layers > 0) {
        c->machine.layer_s = (r->token_s - bytes / c->machine.cpu_bps) / w->n_layers;
    }
    snprintf(c->machine_name, sizeof c->machine_name,
             "this one, measured by moxie tune: RAM read %.1f GB/s with %.0f threads, file %.1f GB/s",
             r->ram_bps / 1e9, r->threads, r->disk_bps / 1e9);
}

mox_err mox_plan_measure(mox_plan_cmd *c, uint32_t n_threads)
{
    mox_ceiling_crew crew;
    mox_arena arena = {0};
    MOX_TRY(mox_ceiling_crew_create(&crew, n_threads));
    mox_err err = mox_arena_map(&arena, PROBE_RAM, MOX_ARENA_HUGE);
    if (err == MOX_OK) {
        mox_ceiling_write(&crew, &arena);
        double ram = 1e9 * mox_ceiling_read(crew.pool, arena.base, PROBE_RAM);
        mox_isa isa = c->cfg.isa < 0 ? mox_isa_best() : (mox_isa)c->cfg.isa;
        host_rates(c, ram, 1e9 * mox_ceiling_int(crew.pool, isa));
        mox_arena_unmap(&arena);
        measure_disk(c, 6.5e9);
        snprintf(c->machine_name, sizeof c->machine_name,
                 "this one, measured now: RAM read %.1f GB/s with %u threads, file %.1f GB/s", ram / 1e9,
                 n_threads, c->machine.disk_bps / 1e9);
    }
    mox_ceiling_crew_destroy(&crew);
    return err;
}

static mox_err from_table(mox_plan_cmd *c)
{
    mox_hw_spec s;
    MOX_TRY(mox_hw_find(c->o->gpu_spec, &s));
    size_t at = 0;
    c->machine = s.machine;
    c->gpu = s.part[MOX_HW_CARD] != NULL;
    c->vram_bytes = c->o->assume_vram ? c->o->assume_vram : s.vram_bytes;
    for (int k = 0; k < MOX_HW_KINDS && at < sizeof c->machine_name; k++) {
        if (s.part[k]) {
            at += (size_t)snprintf(c->machine_name + at, sizeof c->machine_name - at, "%s%s", at ? ", " : "",
                                   s.part[k]->about);
        }
    }
    return MOX_OK;
}

/* --device: one that is here, with what is free of its memory. A GPU that is not can be one of the table. */
static mox_err find_device(mox_plan_cmd *c)
{
    const mox_opts *o = c->o;
    const char *kind = mox_device_kind(c->cfg.device);
    if (kind == NULL) {
        return MOX_OK;
    }
    if (o->gpu_spec && strcmp(kind, "cuda") != 0) {
        (void)MOX_FAIL(MOX_E_CONFLICT,
                       "plan: --device %.60s is of this machine, --gpu-spec %.60s another one", c->cfg.device,
                       o->gpu_spec);
        return mox_err_fix("give one of the two");
    }
    if (o->gpu_spec) {
        c->cfg.device = NULL;
        return MOX_OK;
    }
    mox_err err = mox_device_find(&c->cfg, &c->device);
    if (err == MOX_E_DEVICE) {
        return mox_err_fix(
            "--gpu-spec 4080 --assume-vram 12G: a plan for a card that is not here (docs/hardware.md)");
    }
    return err;
}

/* What --vram says, of the table's card. */
static void limit_vram(mox_plan_cmd *c)
{
    if (c->gpu && c->cfg.vram.kind == MOX_BUDGET_BYTES) {
        c->vram_bytes = c->cfg.vram.bytes < c->vram_bytes ? c->cfg.vram.bytes : c->vram_bytes;
    } else if (c->gpu && c->cfg.vram.kind == MOX_BUDGET_PCT) {
        c->vram_bytes = (uint64_t)((double)c->vram_bytes * c->cfg.vram.pct / 100);
    }
}

mox_err mox_plan_situation(mox_plan_cmd *c)
{
    const mox_opts *o = c->o;
    MOX_TRY(find_device(c));
    if (o->gpu_spec) {
        MOX_TRY(from_table(c));
    } else if (o->assume_vram) {
        (void)MOX_FAIL(MOX_E_OPTION, "--assume-vram says how much memory a GPU has, not how fast it is");
        return mox_err_fix("--gpu-spec 4080 --assume-vram 12G: names are in docs/hardware.md");
    }
    if (o->assume_vram && !c->gpu) {
        return MOX_FAIL(MOX_E_OPTION, "--assume-vram without a card in --gpu-spec %s", o->gpu_spec);
    }
    if (o->assume_ram) {
        c->cfg.ram = (mox_budget){.kind = MOX_BUDGET_BYTES, .bytes = o->assume_ram};
    }
    limit_vram(c);
    c->ram_bytes = o->assume_ram;
    if (c->gpu && !c->ram_bytes) {
        bool said = c->cfg.ram.kind == MOX_BUDGET_BYTES;
        size_t at = strlen(c->machine_name);
        c->ram_bytes = said ? c->cfg.ram.bytes : USUAL_RAM;
        snprintf(c->machine_name + at, sizeof c->machine_name - at, "%s",
                 said ? "" : ", 32 GiB of RAM for moxie assumed (--assume-ram)");
    }
    return MOX_OK;
}

static mox_err short_of(const mox_plan_view *v, const mox_plan_cmd *c)
{
    char a[2][24];
    const mox_tiers *t = &v->tiers;
    return MOX_FAIL(
        MOX_E_NO_FIT,
        "plan: %s needs %s more than the %s given (dense %llu MiB, KV %llu, buffers %llu, reserve %llu)",
        t->vram_short ? "VRAM" : "RAM", mox_human(t->vram_short ? t->vram_short : t->ram_short, a[0]),
        mox_human(t->vram_short ? c->vram_bytes : c->ram_bytes, a[1]),
        (unsigned long long)t->vram_dense >> 20, (unsigned long long)t->vram_kv >> 20,
        (unsigned long long)t->vram_buffers >> 20, (unsigned long long)t->vram_reserve >> 20);
}

mox_err mox_plan_compute(const mox_plan_cmd *c, mox_plan_view *out)
{
    mox_cfg cfg = c->cfg;
    memset(out, 0, sizeof *out);
    if (c->gpu) {
        cfg.ram = (mox_budget){.kind = MOX_BUDGET_EXPERTS};
    }
    mox_err err = mox_plan_work(&out->plan, &out->work, &cfg);
    if (err == MOX_E_NO_FIT) {
        mox_err_info why = *mox_err_last();
        cfg.ram = (mox_budget){.kind = MOX_BUDGET_MIN};
        MOX_TRY(mox_plan_work(&out->plan, &out->work, &cfg));
        mox_tiers_of(&out->plan, &out->tiers);
        out->tiers.fits = false;
        return mox_err_restore(&why);
    }
    MOX_TRY(err);
    if (c->gpu) {
        mox_tiers_gpu(&out->plan, c->vram_bytes, c->ram_bytes, &out->tiers);
    } else {
        mox_tiers_of(&out->plan, &out->tiers);
    }
    if (!out->tiers.fits) {
        return short_of(out, c);
    }
    const mox_recorded recorded = {&c->policy, &c->in_vram, &c->belady};
    mox_predict(&c->machine, &out->work, &out->plan, &out->tiers, c->policy.hits ? &recorded : NULL, &out->p);
    return MOX_OK;
}

static mox_err read_trace(mox_plan_cmd *c, const mox_plan *plan)
{
    mox_routing *r = &c->routing;
    MOX_TRY(mox_routing_read(c->o->trace, r));
    if (r->h.n_layers != plan->n_moe_layers || r->h.n_experts != plan->n_experts ||
        r->h.top_k != plan->top_k) {
        return MOX_FAIL(MOX_E_FORMAT,
                        "trace %s is of another model: %u layers, %u experts, top %u; this has %u, %u, %u",
                        c->o->trace, r->h.n_layers, r->h.n_experts, r->h.top_k, plan->n_moe_layers,
                        plan->n_experts, plan->top_k);
    }
    mox_phase phase = mox_routing_phase(r);
    mox_replay_cfg cfg =
        mox_routing_replay(r, phase, mox_policy_by_name(c->cfg.policy), mox_ram_margin(&c->cfg));
    MOX_TRY(mox_curve_make(&cfg, &c->policy));
    cfg.margin = mox_vram_margin(&c->cfg);
    MOX_TRY(mox_curve_make(&cfg, &c->in_vram));
    cfg.policy = mox_policy_by_name("belady");
    return mox_curve_make(&cfg, &c->belady);
}

static mox_err bad_sweep(const char *text, const char *why)
{
    (void)MOX_FAIL(MOX_E_OPTION, "--sweep %.80s: %s", text, why);
    return mox_err_fix("--sweep vram=8G..24G   or   --sweep ram=16G..64G");
}

static mox_err parse_sweep(const mox_plan_cmd *c, mox_plan_sweep *s)
{
    char from[32];
    uint64_t lo = 0, hi = 0;
    const char *text = c->o->sweep, *dots = strstr(text, "..");
    s->vram = strncmp(text, "vram=", 5) == 0;
    const char *begin = text + (s->vram ? 5 : 4);
    if ((!s->vram && strncmp(text, "ram=", 4) != 0) || !dots || dots < begin ||
        (size_t)(dots - begin) >= sizeof from) {
        return bad_sweep(text, "what is swept, vram or ram, and two sizes are expected");
    }
    snprintf(from, sizeof from, "%.*s", (int)(dots - begin), begin);
    if (mox_parse_size("sweep", from, &lo) != MOX_OK || mox_parse_size("sweep", dots + 2, &hi) != MOX_OK) {
        return bad_sweep(text, "a size is a number with K, M, G or T behind it");
    }
    if (lo >= hi || lo == 0) {
        return bad_sweep(text,
                         lo ? "the first size is not below the second" : "it begins with no memory at all");
    }
    if (s->vram && !c->gpu && (!c->device.kind || hi > c->device.free_bytes)) {
        (void)MOX_FAIL(MOX_E_OPTION,
                       c->device.kind ? "--sweep %s: the device has less that is free"
                                      : "--sweep %s: there is no device with memory of its own",
                       text);
        return mox_err_fix("--gpu-spec 4090 --sweep %s", text);
    }
    s->n = SWEEP;
    for (uint32_t i = 0; i < SWEEP; i++) {
        s->bytes[i] = lo + (hi - lo) / (SWEEP - 1) * i;
    }
    s->bytes[SWEEP - 1] = hi;
    return MOX_OK;
}

static mox_err run_sweep(const mox_plan_cmd *c, mox_plan_sweep *s)
{
    MOX_TRY(parse_sweep(c, s));
    s->views = calloc(s->n, sizeof *s->views);
    if (!s->views) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for %u plans", s->n);
    }
    for (uint32_t i = 0; i < s->n; i++) {
        mox_plan_cmd at = *c;
        if (s->vram) {
            at.vram_bytes = s->bytes[i];
            at.cfg.vram = (mox_budget){.kind = MOX_BUDGET_BYTES, .bytes = s->bytes[i]};
        } else {
            at.ram_bytes = s->bytes[i];
            at.cfg.ram = (mox_budget){.kind = MOX_BUDGET_BYTES, .bytes = s->bytes[i]};
        }
        mox_err err = mox_plan_compute(&at, &s->views[i]);
        s->fits[i] = err == MOX_OK;
        if (err != MOX_OK && err != MOX_E_NO_FIT) {
            return err;
        }
    }
    return MOX_OK;
}

/* What makes it fit becomes the advice of the error. */
static mox_err refuse(const mox_plan_cmd *c, const mox_plan_view *v)
{
    mox_err_info why = *mox_err_last();
    mox_plan_change change[MOX_PLAN_CHANGES];
    uint32_t n = mox_plan_changes(c, v, change);
    mox_plan_sweep none = {0};
    if (c->o->json) {
        mox_plan_json(c, v, change, n, &none);
    }
    mox_err err = mox_err_restore(&why);
    char fix[sizeof why.fix] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < n && at + strlen(change[i].command) + 1 < sizeof fix; i++) { /* whole ones */
        at += (size_t)snprintf(fix + at, sizeof fix - at, "%s%s", i ? "\n" : "", change[i].command);
    }
    return at ? mox_err_fix("%s", fix) : err;
}

static mox_err plan(mox_plan_cmd *c, const mox_tuned_rates *tuned, mox_plan_view *v, mox_plan_sweep *s)
{
    mox_plan_change change[MOX_PLAN_CHANGES];
    MOX_TRY(mox_plan_situation(c));
    mox_err err = mox_plan_compute(c, v);
    if (err != MOX_OK) {
        return err == MOX_E_NO_FIT ? refuse(c, v) : err;
    }
    if (!c->o->gpu_spec && tuned->disk_bps > 0 && (uint32_t)tuned->threads == v->plan.n_threads) {
        tuned_machine(c, tuned, &v->work);
    } else if (!c->o->gpu_spec) {
        MOX_TRY(mox_plan_measure(c, v->plan.n_threads));
    }
    if (c->device.kind) {
        MOX_TRY(device_rates(c, tuned));
    }
    if (c->o->trace) {
        MOX_TRY(read_trace(c, &v->plan));
    }
    MOX_TRY(mox_plan_compute(c, v));
    uint32_t n = mox_plan_changes(c, v, change);
    if (c->o->sweep) {
        MOX_TRY(run_sweep(c, s));
    }
    if (c->o->json) {
        mox_plan_json(c, v, change, n, s);
        return MOX_OK;
    }
    mox_plan_text(c, v, change, n);
    if (s->n) {
        mox_plan_sweep_text(s);
    }
    return MOX_OK;
}

mox_err mox_cmd_plan(mox_opts *o)
{
    static mox_plan_cmd c; /* a plan is too big for a stack */
    static mox_plan_view v;
    mox_plan_sweep s = {0};
    mox_tuned_rates tuned = {0};
    mox_cli_model(o);
    if (!o->gpu_spec && !o->assume_ram) { /* of this machine, as run will take them */
        MOX_TRY(mox_tuned_apply(mox_command_find("plan"), o, &tuned));
    }
    mox_cli_heat(o); /* what a run keeps in memory for it */
    c = (mox_plan_cmd){.o = o, .cfg = o->cfg};
    c.cfg.header_only = true;
    c.cfg.log = (mox_log){0};
    mox_err err = plan(&c, &tuned, &v, &s);
    free(s.views);
    mox_curve_free(&c.policy);
    mox_curve_free(&c.in_vram);
    mox_curve_free(&c.belady);
    mox_routing_free(&c.routing);
    return err;
}
