/* Changes that would help, in the order of the harm they do: nothing is lost by a smaller micro-batch but prompt speed,
 * little by a smaller KV type, then context, then money. Each is computed, none is guessed. */
#include "runtime/cli/plan/plan.h"
#include "runtime/cli/settings.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

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
    if (what->kv && what->ctx && now->tiers.fits) { /* one of them does less harm */
        return false;
    }
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
        uint64_t more = !now->tiers.fits ? now->plan.floor_bytes
                        : c->gpu         ? now->tiers.ram_total + now->tiers.file_experts
                                         : now->plan.total_bytes * 3 / 2;
        if ((c->gpu && !now->tiers.fits) || (now->tiers.fits && now->tiers.n_file == 0)) {
            return false;
        }
        number = (uint32_t)((more >> 20) + 1);
        to->ram_bytes = (uint64_t)number << 20;
        to->cfg.ram = (mox_budget){.kind = MOX_BUDGET_BYTES, .bytes = to->ram_bytes};
    }
    char digits[16] = "";
    if (number) {
        snprintf(digits, sizeof digits, "%u", number);
    }
    bool assumed = what->ram && c->o->assume_ram;
    snprintf(options, 80, "%s%s%s", assumed ? "--assume-ram " : what->before, digits, what->after);
    return true;
}

/* Does `list` of options have --name in it? --ram replaces whatever else says how much memory there is. */
static bool has(const char *list, const char *name)
{
    static const char *const memory[] = {"ram", "ram-experts", "assume-ram"};
    char word[40];
    bool of_memory = false;
    for (size_t i = 0; i < 3; i++) {
        of_memory = of_memory || strcmp(name, memory[i]) == 0;
    }
    if (of_memory) {
        return strstr(list, "--ram ") || strstr(list, "--assume-ram ");
    }
    snprintf(word, sizeof word, "--%s ", name);
    return strstr(list, word) != NULL;
}

static size_t put(char *out, size_t n, size_t at, const char *before, const char *word)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+=:,./%@~";
    bool quote = word[0] == '\0' || word[strspn(word, plain)] != '\0';
    at += at < n ? (size_t)snprintf(out + at, n - at, "%s%s", before, quote ? "'" : "") : 0;
    for (; *word && at + 8 < n; word++) { /* as the shell takes it */
        at += (size_t)snprintf(out + at, n - at, *word == '\'' ? "'\\''" : "%c", *word);
    }
    return at + (quote && at < n ? (size_t)snprintf(out + at, n - at, "'") : 0);
}

size_t mox_plan_typed(const mox_opts *o, unsigned bit, const char *instead, char *out, size_t n, size_t at)
{
    char name[48];
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        const mox_setting *s = &o->set[opt - mox_options];
        bool typed = s->origin == MOX_FROM_ARGS && s->rank == MOX_RANK_ARGS && (opt->commands & bit);
        bool shows = opt->kind == MOX_OPT_FLAG || opt->once;
        bool machine =
            opt->commands == (MOX_CMD_PROFILE | MOX_CMD_PLAN) || opt->field == offsetof(mox_opts, assume_ram);
        if (typed && (!shows || machine) && strcmp(opt->name, "model") != 0 && !has(instead, opt->name)) {
            snprintf(name, sizeof name, " --%s ", opt->name);
            at = put(out, n, at, name, s->value);
        }
    }
    return at;
}

/* What was typed, with the change: of this machine the run, of another one its plan. */
static void command(const mox_plan_cmd *c, mox_plan_change *o)
{
    bool here = !c->o->gpu_spec && !c->o->assume_ram;
    size_t n = sizeof o->command,
           at = put(o->command, n, 0, here ? "moxie run " : "moxie plan ", c->cfg.model);
    at = mox_plan_typed(c->o, here ? MOX_CMD_RUN : MOX_CMD_PLAN, o->options, o->command, n, at);
    if (at < n) {
        snprintf(o->command + at, n - at, " %s", o->options);
    }
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
        command(c, o);
        n++;
    }
    return n;
}
