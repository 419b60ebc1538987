/* Changes that would help, in the order of the harm they do: nothing is lost by a smaller micro-batch but prompt speed,
 * little by a smaller KV type, then context, then money. Each is computed, none is guessed. */
#include "runtime/cli/plan_cmd.h"

#include <stdio.h>

#define WORTH 1.01 /* less is not worth a line */

typedef struct change {
    const char *before, *after; /* of the number */
    bool batch, kv, ctx, ram;
} change;

static const change changes[] = {
    {"--batch ", "", .batch = true},
    {"--kv q8_0", "", .kv = true},
    {"--ctx ", "", .ctx = true},
    {"--kv q8_0 --ctx ", "", .kv = true, .ctx = true},
    {"--batch 64 --kv q8_0 --ctx ", "", .batch = true, .kv = true, .ctx = true},
    {"--ram ", "M", .ram = true},
};

/* false: nothing to change there. */
static bool apply(const mox_plan_cmd *c, const mox_plan_view *now, const change *what, mox_plan_cmd *to,
                  char options[80])
{
    *to = *c;
    uint32_t number = 0;
    if (what->kv) {
        if (c->cfg.kv != MOX_KV_F16 && c->cfg.kv != MOX_KV_F32) {
            return false;
        }
        to->cfg.kv = MOX_KV_Q8_0;
    }
    if (what->batch) {
        number = 64;
        if (now->plan.n_batch <= number) {
            return false;
        }
        to->cfg.n_batch = number;
    }
    if (what->ctx) {
        number = now->plan.n_ctx / 2;
        if (number < 512) {
            return false;
        }
        to->cfg.n_ctx = number;
    }
    if (what->ram) {
        uint64_t more = now->tiers.fits ? now->plan.total_bytes * 3 / 2 : now->plan.floor_bytes;
        if (c->gpu || (now->tiers.fits && now->tiers.n_file == 0)) {
            return false;
        }
        number = (uint32_t)((more >> 20) + 1);
        to->cfg.ram = (mox_budget){.kind = MOX_BUDGET_BYTES, .bytes = (uint64_t)number << 20};
    }
    char digits[16] = "";
    if (number) {
        snprintf(digits, sizeof digits, "%u", number);
    }
    snprintf(options, 80, "%s%s%s", what->before, digits, what->after);
    return true;
}

static uint32_t fastest(const mox_plan_view *v)
{
    return v->tiers.gpu ? v->tiers.n_vram : v->tiers.n_ram;
}

uint32_t mox_plan_changes(const mox_plan_cmd *c, const mox_plan_view *now,
                          mox_plan_change out[MOX_PLAN_CHANGES])
{
    static mox_plan_view v; /* a plan is too big for a stack */
    mox_plan_cmd to;
    uint32_t n = 0;
    bool fits = now->tiers.fits;
    for (size_t i = 0; i < sizeof changes / sizeof *changes && n < MOX_PLAN_CHANGES; i++) {
        mox_plan_change *o = &out[n];
        if (!apply(c, now, &changes[i], &to, o->options) || mox_plan_compute(&to, &v) != MOX_OK) {
            continue;
        }
        bool faster = v.p.decode_tok_s > WORTH * now->p.decode_tok_s;
        if (fits && !faster) {
            continue;
        }
        o->decode_tok_s = v.p.decode_tok_s;
        o->prefill_tok_s = v.p.prefill_tok_s;
        o->experts = (int64_t)fastest(&v) - (fits ? (int64_t)fastest(now) : 0);
        n++;
    }
    return n;
}
