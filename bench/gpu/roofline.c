/* gpu_roofline MODEL CONTEXT RATE=VALUE...: tokens per second of the cost model (docs/cost-model.md, runtime/plan/cost.h) for
 * rates that were measured, beside which `check` puts what was reached. Rates in bytes per second: vram, link, cpu, dram,
 * disk; seconds: cpu_handshake, copy_handshake, layer; shares of the uses: hits_vram, hits_ram. Prints one JSON object. */
#include "runtime/moxie.h"
#include "runtime/plan/predict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct given {
    mox_machine m;
    mox_hits h;
} given;

static bool set(given *g, const char *word)
{
    const struct {
        const char *name;
        double *value;
    } rates[] = {{"vram", &g->m.vram_bps},
                 {"link", &g->m.link_bps},
                 {"cpu", &g->m.cpu_bps},
                 {"dram", &g->m.dram_bps},
                 {"disk", &g->m.disk_bps},
                 {"cpu_handshake", &g->m.cpu_handshake_s},
                 {"copy_handshake", &g->m.copy_handshake_s},
                 {"layer", &g->m.layer_s},
                 {"hits_vram", &g->h.vram},
                 {"hits_ram", &g->h.ram}};
    const char *equals = strchr(word, '=');
    for (size_t i = 0; equals && i < sizeof rates / sizeof *rates; i++) {
        size_t n = (size_t)(equals - word);
        if (strlen(rates[i].name) == n && memcmp(rates[i].name, word, n) == 0) {
            char *end;
            *rates[i].value = strtod(equals + 1, &end);
            return end != equals + 1 && *end == '\0' && *rates[i].value >= 0;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    static mox_plan plan;
    given g = {.m = {.cpu_handshake_s = MOX_CPU_HANDSHAKE_S,
                     .copy_handshake_s = MOX_COPY_HANDSHAKE_S,
                     .disk_handshake_s = MOX_DISK_HANDSHAKE_S,
                     .layer_s = MOX_GPU_LAYER_S}};
    mox_cfg cfg;
    mox_work work;
    if (argc < 3) {
        fprintf(stderr, "usage: gpu_roofline MODEL CONTEXT RATE=VALUE...\n");
        return 2;
    }
    for (int i = 3; i < argc; i++) {
        if (!set(&g, argv[i])) {
            fprintf(stderr, "gpu_roofline: '%s' is no RATE=VALUE\n", argv[i]);
            return 2;
        }
    }
    mox_cfg_defaults(&cfg);
    cfg.model = argv[1];
    cfg.n_ctx = (uint32_t)strtoul(argv[2], NULL, 10);
    cfg.ram = (mox_budget){.kind = MOX_BUDGET_EXPERTS_PCT, .pct = 100};
    cfg.log.level = MOX_LOG_ERROR;
    if (mox_plan_work(&plan, &work, &cfg) != MOX_OK) {
        fprintf(stderr, "gpu_roofline: %s\n", mox_err_last()->msg);
        return 2;
    }
    mox_choice_of_way c = mox_cost_choose(&g.m, &work, g.h);
    mox_way best = MOX_WAY_CPU;
    printf("{");
    for (mox_way w = MOX_WAY_CPU; w < MOX_WAYS; w++) {
        printf("\"%s\":%.4g,", mox_way_name(w), 1 / c.token_s[w]);
        best = c.token_s[w] < c.token_s[best] ? w : best;
    }
    mox_cost cost = mox_cost_token(&g.m, &work, g.h, best);
    printf("\"best\":\"%s\",\"tok_s\":%.4g,\"bound_by\":\"%s\"}\n", mox_way_name(best), 1 / cost.total_s,
           mox_part_name(cost.bottleneck, &g.m, best));
    return 0;
}
