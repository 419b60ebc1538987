/* Each layer has a list: the expert at place i is kept from quota i + 1 on. When one is used that stood at place p,
 * the lists of all smaller quotas change; walking from the front, `carry` is whom the quota in question evicts. */
#include "offload/policy/curve.h"

#include "offload/policy/policy_internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct pass {
    const mox_replay_cfg *cfg;
    mox_curve *out;
    mox_expert_stat *stats; /* [n_layers][n_experts] */
    uint32_t *list, *place; /* [n_layers][n_experts], each other's inverse */
    uint64_t *layer_step;   /* [n_layers] */
    uint64_t *in_step;      /* [n_experts] */
    uint64_t *next_use;     /* per entry */
    uint64_t now;
} pass;

static void use(pass *p, const mox_policy_view *view, uint32_t layer, uint32_t expert)
{
    const mox_policy_ops *ops = p->cfg->policy;
    uint32_t n = p->cfg->n_experts;
    uint32_t *list = p->list + (size_t)layer * n, *place = p->place + (size_t)layer * n;
    uint64_t *inserts = p->out->inserts + (size_t)layer * (n + 1);
    uint32_t carry = expert, from = place[expert];
    for (uint32_t i = 0; i < from; i++) {
        uint32_t there = list[i];
        bool gives_way = true;
        if (ops->needs_future || carry != expert) {
            gives_way = ops->before(view, there, carry);
        } else if (ops->admit != NULL) {
            gives_way = ops->admit(view, expert, there);
        }
        gives_way = gives_way && (ops->needs_future || p->in_step[there] != p->now);
        if (gives_way) {
            if (carry == expert) { /* inserted with quotas i + 1 .. from */
                inserts[i + 1]++;
                inserts[from + 1]--;
            }
            list[i] = carry;
            place[carry] = i;
            carry = there;
        }
    }
    list[from] = carry;
    place[carry] = from;
}

static void step(pass *p, const mox_replay_step *s)
{
    const mox_replay_cfg *cfg = p->cfg;
    uint32_t n = cfg->n_experts;
    mox_expert_stat *stats = p->stats + (size_t)s->layer * n;
    uint64_t *hits = p->out->hits + (size_t)s->layer * (n + 1);
    uint64_t *loads = p->out->loads + (size_t)s->layer * (n + 1);
    uint64_t at = ++p->layer_step[s->layer];
    p->now++;
    for (uint32_t k = 0; k < s->n; k++) {
        uint32_t expert = cfg->experts[s->first + k], uses = cfg->uses[s->first + k];
        uint32_t place = p->place[(size_t)s->layer * n + expert];
        p->out->uses[s->layer] += uses;
        hits[place + 1] += uses;
        loads[place + 1]++;
        p->in_step[expert] = p->now;
        stats[expert].next_use = p->next_use[s->first + k];
        mox_policy_touch(&stats[expert], at, uses);
    }
    const mox_policy_view view = {.stats = stats, .n_experts = n, .step = at, .margin = cfg->margin};
    for (uint32_t k = 0; k < s->n; k++) {
        use(p, &view, s->layer, cfg->experts[s->first + k]);
    }
}

/* Counts by place become counts by quota: hits are those before it, loads the others. */
static void sum_up(mox_curve *c)
{
    for (uint32_t l = 0; l < c->n_layers; l++) {
        uint64_t *hits = c->hits + (size_t)l * (c->n_experts + 1);
        uint64_t *loads = c->loads + (size_t)l * (c->n_experts + 1);
        uint64_t *inserts = c->inserts + (size_t)l * (c->n_experts + 1);
        uint64_t all = 0, kept = 0;
        inserts[0] = 0;
        for (uint32_t q = 0; q <= c->n_experts; q++) {
            all += loads[q];
        }
        for (uint32_t q = 0; q <= c->n_experts; q++) {
            hits[q] += q ? hits[q - 1] : 0;
            inserts[q] += q ? inserts[q - 1] : 0;
            kept += loads[q];
            loads[q] = all - kept;
        }
    }
}

static void start(pass *p)
{
    uint32_t n = p->cfg->n_experts;
    mox_replay_next_uses(p->cfg, p->stats, p->layer_step, p->next_use);
    for (uint32_t l = 0; l < p->cfg->n_layers; l++) {
        uint32_t *list = p->list + (size_t)l * n;
        mox_replay_order(p->cfg, l, p->stats + (size_t)l * n, list);
        for (uint32_t i = 0; i < n; i++) {
            p->place[(size_t)l * n + list[i]] = i;
        }
    }
}

mox_err mox_curve_make(const mox_replay_cfg *cfg, mox_curve *out)
{
    MOX_TRY(mox_replay_check(cfg));
    size_t cells = (size_t)cfg->n_layers * cfg->n_experts,
           rows = (size_t)cfg->n_layers * (cfg->n_experts + 1);
    mox_curve c = {.n_layers = cfg->n_layers,
                   .n_experts = cfg->n_experts,
                   .hits = calloc(rows + 1, sizeof *c.hits),
                   .loads = calloc(rows + 1, sizeof *c.loads),
                   .inserts = calloc(rows + 1, sizeof *c.inserts),
                   .uses = calloc((size_t)cfg->n_layers + 1, sizeof *c.uses)};
    pass p = {.cfg = cfg,
              .out = &c,
              .stats = calloc(cells + 1, sizeof *p.stats),
              .list = calloc(cells + 1, sizeof *p.list),
              .place = calloc(cells + 1, sizeof *p.place),
              .layer_step = calloc((size_t)cfg->n_layers + 1, sizeof *p.layer_step),
              .in_step = calloc((size_t)cfg->n_experts + 1, sizeof *p.in_step),
              .next_use = calloc(mox_replay_entries(cfg) + 1, sizeof *p.next_use)};
    mox_err err = MOX_OK;
    if (!c.hits || !c.loads || !c.inserts || !c.uses || !p.stats || !p.list || !p.place || !p.layer_step ||
        !p.in_step || !p.next_use) {
        err = MOX_FAIL(MOX_E_NO_MEMORY, "curve: no memory for %zu experts", cells);
        mox_curve_free(&c);
    } else {
        start(&p);
        for (size_t i = 0; i < cfg->n_steps; i++) {
            step(&p, &cfg->steps[i]);
        }
        sum_up(&c);
        *out = c;
    }
    free(p.stats);
    free(p.list);
    free(p.place);
    free(p.layer_step);
    free(p.in_step);
    free(p.next_use);
    return err;
}

void mox_curve_free(mox_curve *c)
{
    free(c->hits);
    free(c->loads);
    free(c->inserts);
    free(c->uses);
    memset(c, 0, sizeof *c);
}

mox_replay_result mox_curve_at(const mox_curve *c, const uint32_t *quota)
{
    mox_replay_result r = {0};
    for (uint32_t l = 0; l < c->n_layers; l++) {
        size_t at = (size_t)l * (c->n_experts + 1) + (quota[l] < c->n_experts ? quota[l] : c->n_experts);
        r.uses += c->uses[l];
        r.hits += c->hits[at];
        r.loads += c->loads[at];
        r.inserts += c->inserts[at];
    }
    return r;
}
