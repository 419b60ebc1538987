/* moxie plan as text: a bar per tier, then what is expected of it. */
#include "runtime/cli/plan/plan.h"
#include "runtime/cli/ui.h"

#include <stdio.h>

enum { BAR = 40 };

typedef struct piece {
    const char *name;
    uint64_t bytes;
} piece;

static void tier(const char *name, const piece *p, size_t n)
{
    uint64_t total = 0;
    char a[24];
    for (size_t i = 0; i < n; i++) {
        total += p[i].bytes;
    }
    printf("  %-4s %10s", name, mox_human(total, a));
    for (size_t i = 0; i < n; i++) {
        if (p[i].bytes) {
            unsigned cells = total ? (unsigned)((double)p[i].bytes / (double)total * BAR + 0.5) : 0;
            fputs("  ", stdout);
            for (unsigned k = 0; k < (cells ? cells : 1); k++) {
                fputs(i % 2 ? "=" : "#", stdout);
            }
            printf(" %s %s", p[i].name, mox_human(p[i].bytes, a));
        }
    }
    putchar('\n');
}

static void per_layer(const mox_plan_view *v)
{
    const mox_tiers *t = &v->tiers;
    double n = v->plan.n_moe_layers ? v->plan.n_moe_layers : 1;
    printf("\n  experts    ");
    if (t->gpu) {
        printf("VRAM %u, ", t->n_vram);
    }
    printf("RAM %u, file %u of %u (per layer of %u: ", t->n_ram, t->n_file, v->plan.experts_total,
           v->plan.n_experts);
    if (t->gpu) {
        printf("%.1f, ", t->n_vram / n);
    }
    printf("%.1f, %.1f)\n", t->n_ram / n, t->n_file / n);
}

static void hits(const mox_plan_view *v)
{
    const mox_prediction *p = &v->p;
    printf("  hits       ");
    if (v->tiers.gpu) {
        printf("VRAM %.1f %%, ", 100 * p->hits.vram);
    }
    printf("RAM %.1f %%, file %.1f %%", 100 * p->hits.ram, 100 * (1 - p->hits.ram - p->hits.vram));
    if (p->best.vram >= 0) {
        printf(" (best possible: %.1f %%", 100 * (v->tiers.gpu ? p->best.vram : p->best.ram));
        printf("%s)", v->tiers.gpu ? " in VRAM" : " in RAM");
    }
    printf("; from %s\n", p->source);
}

static void misses(const mox_plan_cmd *c, const mox_prediction *p)
{
    printf("  misses     %s%s: CPU %.1f GB/s gives %.1f tok/s, copies %.1f GB/s %.1f, both %.1f\n",
           mox_way_name(p->ways.best), p->ways.tie ? " (a tie within 5 %, so the link is left alone)" : "",
           c->machine.cpu_bps / 1e9, 1 / p->ways.token_s[MOX_WAY_CPU], c->machine.link_bps / 1e9,
           1 / p->ways.token_s[MOX_WAY_COPY], 1 / p->ways.token_s[MOX_WAY_SPLIT]);
}

void mox_plan_text(const mox_plan_cmd *c, const mox_plan_view *v, const mox_plan_change *changes, uint32_t n)
{
    const mox_tiers *t = &v->tiers;
    const mox_prediction *p = &v->p;
    printf("machine: %s\n\n", c->machine_name);
    if (t->gpu) {
        tier("VRAM",
             (piece[]){{"dense", t->vram_dense},
                       {"KV", t->vram_kv},
                       {"buffers", t->vram_buffers},
                       {"experts", t->vram_experts},
                       {"driver, desktop", t->vram_reserve}},
             5);
    }
    tier("RAM",
         (piece[]){{"dense", t->ram_dense},
                   {"KV", t->ram_kv},
                   {"buffers", t->ram_buffers},
                   {"experts", t->ram_experts},
                   {"program, I/O, transit", t->ram_fixed}},
         5);
    tier("file", (piece[]){{"experts", t->file_experts}}, 1);
    per_layer(v);
    hits(v);
    if (t->gpu) {
        misses(c, p);
    }
    printf("  decode     %.1f tok/s predicted; %.0f %% of a token is %s\n", p->decode_tok_s,
           100 * p->token.part_s[p->token.bottleneck] / p->token.total_s,
           mox_part_name(p->token.bottleneck, &c->machine, p->ways.best));
    printf("  prefill    %.0f tok/s predicted in micro-batches of %u; %.0f %% is %s\n", p->prefill_tok_s,
           v->plan.n_batch, 100 * p->batch.part_s[p->batch.bottleneck] / p->batch.total_s,
           mox_part_name(p->batch.bottleneck, &c->machine, p->ways.best));
    printf("\nFits.\n");
    for (uint32_t i = 0; i < n; i++) {
        printf("%s %-28s decode %.1f tok/s, %+lld experts in %s, prefill %.0f tok/s\n",
               i ? "          " : "Faster:   ", changes[i].options, changes[i].decode_tok_s,
               (long long)changes[i].experts, t->gpu ? "VRAM" : "RAM", changes[i].prefill_tok_s);
    }
    for (uint32_t i = 0; i < n; i++) {
        printf("%s  %s\n", i ? "" : "\n", changes[i].command);
    }
}

void mox_plan_sweep_text(const mox_plan_sweep *s)
{
    char a[24];
    printf("\n  %10s  %12s  %10s  %7s  %7s  %8s  %8s\n", s->vram ? "VRAM" : "RAM", "experts VRAM", "RAM",
           "VRAM %", "RAM %", "tok/s", "prefill");
    for (uint32_t i = 0; i < s->n; i++) {
        const mox_plan_view *v = &s->views[i];
        if (!s->fits[i]) {
            printf("  %10s  does not fit\n", mox_human(s->bytes[i], a));
            continue;
        }
        printf("  %10s  %12u  %10u  %7.1f  %7.1f  %8.1f  %8.0f\n", mox_human(s->bytes[i], a), v->tiers.n_vram,
               v->tiers.n_ram, 100 * v->p.hits.vram, 100 * v->p.hits.ram, v->p.decode_tok_s,
               v->p.prefill_tok_s);
    }
}
