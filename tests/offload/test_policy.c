/* The policies on recorded routing. mox_replay's counts are held against a second simulation written here
 * from the definitions (no lazily decayed heat, no backward pass: it rescans the history each time), exactly.
 */
#include "offload/policy/curve.h"
#include "offload/policy/policy_internal.h"
#include "offload/policy/replay.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 6, EXPERTS = 8, MAX_TOKENS = 2048 };

typedef struct trace {
    uint32_t n_tokens;
    uint32_t expert[MAX_TOKENS][LAYERS][2];
    mox_replay_step steps[MAX_TOKENS * LAYERS];
    uint32_t experts[MAX_TOKENS * LAYERS * 2], uses[MAX_TOKENS * LAYERS * 2];
} trace;

static trace *load(const char *domain)
{
    char path[256];
    snprintf(path, sizeof path, "%s/traces/demo_routing_%s.csv", MOX_TEST_DATA, domain);
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f, "%s", path);
    trace *t = calloc(1, sizeof *t);
    cr_assert_not_null(t);
    char line[128];
    cr_assert_not_null(fgets(line, sizeof line, f));
    uint32_t n = 0, seq, pos, layer, a, b;
    while (fgets(line, sizeof line, f)) {
        cr_assert_eq(sscanf(line, "%u,%u,%u,%u,%u", &seq, &pos, &layer, &a, &b), 5, "%s", line);
        cr_assert_eq(layer, n % LAYERS);
        t->expert[n / LAYERS][layer][0] = t->experts[2 * n] = a;
        t->expert[n / LAYERS][layer][1] = t->experts[2 * n + 1] = b;
        t->uses[2 * n] = t->uses[2 * n + 1] = 1;
        t->steps[n] = (mox_replay_step){.layer = layer, .first = 2 * n, .n = 2};
        n++;
    }
    fclose(f);
    t->n_tokens = n / LAYERS;
    cr_assert_eq(n % LAYERS, 0);
    cr_assert_gt(t->n_tokens, 1000);
    return t;
}

static float *own_heat(const trace *t)
{
    float *heat = calloc(LAYERS * EXPERTS, sizeof *heat);
    cr_assert_not_null(heat);
    for (uint32_t i = 0; i < t->n_tokens * LAYERS * 2; i++) {
        heat[i / 2 % LAYERS * EXPERTS + t->experts[i]] += 1.0f;
    }
    return heat;
}

static mox_replay_result replay(const trace *t, const char *policy, uint32_t quota, const float *prior,
                                mox_replay_result *per_layer)
{
    uint32_t quotas[LAYERS];
    for (int i = 0; i < LAYERS; i++) {
        quotas[i] = quota;
    }
    mox_replay_cfg cfg = {
        .n_layers = LAYERS,
        .n_experts = EXPERTS,
        .quota = quotas,
        .policy = mox_policy_by_name(policy),
        .margin = MOX_ADMIT_ALWAYS,
        .prior = prior,
        .steps = t->steps,
        .n_steps = (size_t)t->n_tokens * LAYERS,
        .experts = t->experts,
        .uses = t->uses,
    };
    mox_replay_result r;
    cr_assert_eq(mox_replay(&cfg, &r, per_layer), MOX_OK, "%s", mox_err_last()->msg);
    return r;
}

/* What an expert is worth to a policy after token `now` of a layer; the least goes. */
static double worth(const trace *t, const char *policy, int layer, uint32_t e, uint32_t now,
                    const float *prior)
{
    double last = -1, count = 0, heat = 0, next = 1e9;
    for (uint32_t i = 0; i <= now; i++) {
        if (t->expert[i][layer][0] == e || t->expert[i][layer][1] == e) {
            last = i;
            count++;
            heat += pow(MOX_HEAT_DECAY, now - i);
        }
    }
    for (uint32_t i = now + 1; i < t->n_tokens && next > 1e8; i++) {
        if (t->expert[i][layer][0] == e || t->expert[i][layer][1] == e) {
            next = i;
        }
    }
    return strcmp(policy, "lru") == 0      ? last
           : strcmp(policy, "lfu") == 0    ? count + (last + 1) * 1e-6
           : strcmp(policy, "dlfu") == 0   ? heat
           : strcmp(policy, "static") == 0 ? prior[layer * EXPERTS + e]
                                           : -next;
}

/* Whether a goes before b: less worth, of equals less saved heat, then the higher id. */
static bool goes(const trace *t, const char *policy, int layer, uint32_t a, uint32_t b, uint32_t now,
                 const float *prior)
{
    double wa = worth(t, policy, layer, a, now, prior), wb = worth(t, policy, layer, b, now, prior);
    float pa = prior[layer * EXPERTS + a], pb = prior[layer * EXPERTS + b];
    return wa != wb ? wa < wb : pa != pb ? pa < pb : a > b;
}

/* Hits of one layer. */
static uint64_t brute_force(const trace *t, const char *policy, int layer, uint32_t quota, const float *prior)
{
    bool must_beat = strcmp(policy, "static") == 0, future = strcmp(policy, "belady") == 0;
    uint32_t kept[EXPERTS];
    bool taken[EXPERTS] = {false};
    for (uint32_t i = 0; i < quota; i++) {
        int best = -1;
        for (int e = 0; e < EXPERTS; e++) {
            if (!taken[e] && (best < 0 || prior[layer * EXPERTS + e] > prior[layer * EXPERTS + best])) {
                best = e;
            }
        }
        taken[best] = true;
        kept[i] = (uint32_t)best;
    }
    uint64_t hits = 0;
    for (uint32_t now = 0; now < t->n_tokens; now++) {
        const uint32_t *want = t->expert[now][layer];
        bool miss[2] = {!taken[want[0]], !taken[want[1]]};
        hits += !miss[0] + !miss[1];
        for (int k = 0; k < 2; k++) {
            int out = -1;
            for (uint32_t i = 0; miss[k] && i < quota; i++) {
                bool in_use = !future && (kept[i] == want[0] || kept[i] == want[1]);
                if (!in_use && (out < 0 || goes(t, policy, layer, kept[i], kept[out], now, prior))) {
                    out = (int)i;
                }
            }
            if (out < 0 || (future && !goes(t, policy, layer, kept[out], want[k], now, prior)) ||
                (must_beat && worth(t, policy, layer, want[k], now, prior) <=
                                  worth(t, policy, layer, kept[out], now, prior))) {
                continue;
            }
            taken[kept[out]] = false;
            taken[want[k]] = true;
            kept[out] = want[k];
        }
    }
    return hits;
}

static void compare(const char *domain)
{
    trace *t = load(domain);
    float *heat = own_heat(t);
    t->n_tokens = 600; /* the second simulation is quadratic */
    for (size_t p = 0; mox_policies[p]; p++) {
        const char *name = mox_policies[p]->name;
        for (uint32_t quota = 2; quota <= 6; quota += 2) {
            mox_replay_result per_layer[LAYERS];
            mox_replay_result r = replay(t, name, quota, heat, per_layer);
            uint64_t sum = 0;
            for (int layer = 0; layer < LAYERS; layer++) {
                uint64_t expect = brute_force(t, name, layer, quota, heat);
                cr_assert_eq(per_layer[layer].hits, expect, "%s, %s, %u kept, layer %d: %llu, expected %llu",
                             domain, name, quota, layer, (unsigned long long)per_layer[layer].hits,
                             (unsigned long long)expect);
                sum += expect;
            }
            cr_assert_eq(r.hits, sum);
            cr_assert_eq(r.uses, (uint64_t)t->n_tokens * LAYERS * 2);
            cr_assert_eq(r.loads, r.uses - r.hits);
        }
    }
    free(heat);
    free(t);
}

Test(policy, replay_equals_a_second_simulation_on_english)
{
    compare("english");
}

Test(policy, replay_equals_a_second_simulation_on_c)
{
    compare("c");
}

Test(policy, belady_is_never_beaten_and_all_beat_chance)
{
    const char *domains[] = {"english", "c", "german"};
    for (int d = 0; d < 3; d++) {
        trace *t = load(domains[d]);
        float *heat = own_heat(t);
        for (uint32_t quota = 1; quota <= EXPERTS; quota++) {
            uint64_t best = replay(t, "belady", quota, heat, NULL).hits;
            for (size_t p = 0; mox_policies[p]; p++) {
                mox_replay_result r = replay(t, mox_policies[p]->name, quota, heat, NULL);
                double rate = (double)r.hits / (double)r.uses;
                cr_assert_leq(r.hits, best, "%s with %u kept: %s beats belady", domains[d], quota,
                              mox_policies[p]->name);
                cr_assert(quota == EXPERTS ? r.hits == r.uses : rate > 0.97 * quota / EXPERTS,
                          "%s with %u kept: %s gets %.3f", domains[d], quota, mox_policies[p]->name, rate);
            }
        }
        free(heat);
        free(t);
    }
}

Test(policy, more_room_never_costs_hits_of_lru)
{
    trace *t = load("german");
    uint64_t last = 0;
    for (uint32_t quota = 0; quota <= EXPERTS; quota++) {
        uint64_t hits = replay(t, "lru", quota, NULL, NULL).hits;
        cr_assert_geq(hits, last);
        last = hits;
    }
    cr_assert_eq(last, (uint64_t)t->n_tokens * LAYERS * 2);
    cr_assert_eq(replay(t, "lru", 0, NULL, NULL).hits, 0);
    free(t);
}

Test(policy, static_keeps_what_the_heat_names)
{
    trace *t = load("c");
    float *heat = own_heat(t);
    mox_replay_result r = replay(t, "static", 4, heat, NULL);
    uint64_t expect = 0;
    for (int layer = 0; layer < LAYERS; layer++) {
        float sorted[EXPERTS];
        memcpy(sorted, heat + layer * EXPERTS, sizeof sorted);
        for (int k = 0; k < 4; k++) { /* the four largest */
            int best = 0;
            for (int e = 1; e < EXPERTS; e++) {
                best = sorted[e] > sorted[best] ? e : best;
            }
            expect += (uint64_t)sorted[best];
            sorted[best] = -1.0f;
        }
    }
    cr_assert_eq(r.hits, expect);
    cr_assert_eq(r.inserts, 0);
    free(heat);
    free(t);
}

Test(policy, a_margin_keeps_inserts_down)
{
    trace *t = load("english");
    uint32_t quotas[LAYERS] = {4, 4, 4, 4, 4, 4};
    uint64_t inserts[3];
    const float margins[3] = {MOX_ADMIT_ALWAYS, 0.0f, 1.0f};
    for (int i = 0; i < 3; i++) {
        mox_replay_cfg cfg = {LAYERS,     EXPERTS, quotas,   mox_policy_by_name("dlfu"),
                              margins[i], NULL,    t->steps, (size_t)t->n_tokens * LAYERS,
                              t->experts, t->uses, 0,        NULL};
        mox_replay_result r;
        cr_assert_eq(mox_replay(&cfg, &r, NULL), MOX_OK);
        inserts[i] = r.inserts;
    }
    cr_assert_gt(inserts[0], inserts[1]);
    cr_assert_gt(inserts[1], inserts[2]);
    cr_assert_gt(inserts[2], 0);
    free(t);
}

Test(policy, heat_of_a_long_prompt_is_bounded)
{
    mox_expert_stat a = {0}, b = {0};
    mox_policy_touch(&a, 1, 512);
    cr_assert_float_eq(a.heat, 50.0f, 0.01);
    for (uint64_t step = 1; step <= 10; step++) { /* ten uses in ten steps and ten in one count alike */
        mox_policy_touch(&b, step, 1);
    }
    mox_expert_stat c = {0};
    mox_policy_touch(&c, 10, 10);
    cr_assert_float_eq(b.heat, c.heat, 1e-4);
    cr_assert_float_eq(mox_policy_heat(&c, 10 + 34), c.heat / 2, 0.05);
    cr_assert_eq(a.count, 512);
}

Test(policy, names)
{
    cr_assert_eq(mox_policy_by_name("auto"), mox_policy_by_name("dlfu"));
    cr_assert_null(mox_policy_by_name("mru"));
    cr_assert(mox_policy_by_name("belady")->needs_future);
}

Test(policy, wrong_traces_are_refused)
{
    uint32_t quota = 1, expert = 9, use = 1;
    mox_replay_step step = {.layer = 0, .first = 0, .n = 1};
    mox_replay_cfg cfg = {1, 8, &quota, mox_policy_by_name("lru"), 0, NULL, &step, 1, &expert, &use, 0, NULL};
    mox_replay_result r;
    cr_assert_eq(mox_replay(&cfg, &r, NULL), MOX_E_ARG);
    expert = 0;
    step.layer = 1;
    cr_assert_eq(mox_replay(&cfg, &r, NULL), MOX_E_ARG);
}

/* Traces of all kinds: few and many experts, steps of one to many experts, several uses of one, skewed and even. */
typedef struct made {
    mox_replay_cfg cfg;
    mox_replay_step steps[400];
    uint32_t experts[400 * 12], uses[400 * 12], quota[4];
    float prior[4 * 40];
} made;

static uint32_t draw(uint64_t *seed, uint32_t n)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((*seed >> 33) % n);
}

static made *make(uint64_t seed)
{
    made *m = calloc(1, sizeof *m);
    cr_assert_not_null(m);
    uint32_t layers = 1 + draw(&seed, 4), experts = 2 + draw(&seed, 39), n = 0, skew = draw(&seed, 3);
    uint32_t most = 1 + draw(&seed, experts < 12 ? experts : 12);
    for (uint32_t i = 0; i < 400; i++) {
        uint32_t k = 1 + draw(&seed, most), first = n;
        m->steps[i] = (mox_replay_step){.layer = draw(&seed, layers), .first = first};
        for (uint32_t tries = 0; tries < k; tries++) {
            uint32_t e = draw(&seed, experts), at = first;
            e = skew == 1 ? e * e / experts : skew == 2 && i % 50 < 40 ? e % (1 + experts / 3) : e;
            while (at < n && m->experts[at] != e) {
                at++;
            }
            if (at == n) {
                m->experts[n] = e;
                m->uses[n++] = 1 + (draw(&seed, 4) == 0 ? draw(&seed, 9) : 0);
            }
        }
        m->steps[i].n = n - first;
    }
    for (uint32_t i = 0; i < layers * experts; i++) {
        m->prior[i] = (float)draw(&seed, 5);
    }
    m->cfg = (mox_replay_cfg){.n_layers = layers,
                              .n_experts = experts,
                              .quota = m->quota,
                              .margin = draw(&seed, 2) ? MOX_ADMIT_ALWAYS : (float)draw(&seed, 3) * 0.5f,
                              .prior = draw(&seed, 2) ? m->prior : NULL,
                              .steps = m->steps,
                              .n_steps = 400,
                              .experts = m->experts,
                              .uses = m->uses};
    return m;
}

/* Every policy, every size: hits, loads and inserts of one pass are those of a replay; and nobody reads fewer experts
 * than Belady's rule. */
Test(policy, curves_equal_replays_and_belady_is_never_beaten)
{
    uint64_t compared = 0;
    for (uint64_t seed = 1; seed <= 120; seed++) {
        made *m = make(seed * 7919);
        uint64_t best[64];
        mox_curve future;
        m->cfg.policy = mox_policy_by_name("belady");
        cr_assert(mox_curve_make(&m->cfg, &future) == MOX_OK);
        for (size_t p = 0; mox_policies[p]; p++) {
            mox_curve c;
            m->cfg.policy = mox_policies[p];
            cr_assert(mox_curve_make(&m->cfg, &c) == MOX_OK);
            for (uint32_t q = 0; q <= m->cfg.n_experts; q++) {
                for (uint32_t l = 0; l < 4; l++) {
                    m->quota[l] = q;
                }
                mox_replay_result a, b = mox_curve_at(&c, m->quota);
                cr_assert(mox_replay(&m->cfg, &a, NULL) == MOX_OK);
                cr_assert(a.uses == b.uses && a.hits == b.hits && a.loads == b.loads,
                          "seed %llu, %s, %u kept: hits %llu, %llu, loads %llu, %llu",
                          (unsigned long long)seed, mox_policies[p]->name, q, (unsigned long long)a.hits,
                          (unsigned long long)b.hits, (unsigned long long)a.loads,
                          (unsigned long long)b.loads);
                cr_assert(mox_policies[p]->needs_future || a.inserts == b.inserts,
                          "seed %llu, %s, %u: inserts", (unsigned long long)seed, mox_policies[p]->name, q);
                best[q] = mox_curve_at(&future, m->quota).loads;
                cr_assert(best[q] <= a.loads, "seed %llu, %u kept: %s reads %llu, belady %llu",
                          (unsigned long long)seed, q, mox_policies[p]->name, (unsigned long long)a.loads,
                          (unsigned long long)best[q]);
                compared++;
            }
            mox_curve_free(&c);
        }
        mox_curve_free(&future);
        free(m);
    }
    cr_assert_gt(compared, 8000);
}

/* Hits of one list over all layers: every (layer, expert) is an expert of one big layer. */
static double global_lru(const trace *t, uint32_t kept)
{
    static uint32_t experts[MAX_TOKENS * LAYERS * 2];
    static mox_replay_step steps[MAX_TOKENS * LAYERS];
    size_t n = (size_t)t->n_tokens * LAYERS;
    for (size_t i = 0; i < n; i++) {
        steps[i] = (mox_replay_step){.first = (uint32_t)(2 * i), .n = 2};
        experts[2 * i] = (uint32_t)(i % LAYERS) * EXPERTS + t->experts[2 * i];
        experts[2 * i + 1] = (uint32_t)(i % LAYERS) * EXPERTS + t->experts[2 * i + 1];
    }
    mox_replay_cfg cfg = {.n_layers = 1,
                          .n_experts = LAYERS * EXPERTS,
                          .quota = &kept,
                          .policy = mox_policy_by_name("lru"),
                          .margin = MOX_ADMIT_ALWAYS,
                          .steps = steps,
                          .n_steps = n,
                          .experts = experts,
                          .uses = t->uses};
    mox_replay_result r;
    cr_assert(mox_replay(&cfg, &r, NULL) == MOX_OK);
    return (double)r.hits / (double)r.uses;
}

/* A token walks over all layers, so a list for all of them has dropped a layer's experts when it comes round again. */
Test(policy, one_list_for_all_layers_collapses_on_recorded_routing)
{
    const char *domains[] = {"english", "c", "german"};
    for (int d = 0; d < 3; d++) {
        trace *t = load(domains[d]);
        mox_replay_result each = replay(t, "lru", 2, NULL, NULL);
        double own = (double)each.hits / (double)each.uses, shared = global_lru(t, 2 * LAYERS - 2);
        printf("%s: lru with 2 for each layer %.1f %%, one list of %d %.1f %%\n", domains[d], 100 * own,
               2 * LAYERS - 2, 100 * shared);
        cr_assert(shared < 0.02 && own > 0.35, "%s: %.3f, %.3f", domains[d], shared, own);
        free(t);
    }
}

static mox_replay_result with_margin(const trace *t, const char *policy, float margin)
{
    uint32_t quotas[LAYERS] = {4, 4, 4, 4, 4, 4};
    mox_replay_cfg cfg = {LAYERS,     EXPERTS, quotas,   mox_policy_by_name(policy),
                          margin,     NULL,    t->steps, (size_t)t->n_tokens * LAYERS,
                          t->experts, t->uses, 0,        NULL};
    mox_replay_result r;
    cr_assert(mox_replay(&cfg, &r, NULL) == MOX_OK);
    return r;
}

Test(policy, admission_halves_inserts_for_three_points_of_hits)
{
    const char *domains[] = {"english", "c", "german"};
    for (int d = 0; d < 3; d++) {
        trace *t = load(domains[d]);
        mox_replay_result lru = with_margin(t, "lru", MOX_ADMIT_ALWAYS), own = with_margin(t, "dlfu", 1.0f);
        double uses = (double)lru.uses, tokens = t->n_tokens;
        printf("%s: 4 of 8 kept: lru %.1f %%, %.2f inserts a token; decayed LFU with a margin of 1 %.1f %%, "
               "%.2f\n",
               domains[d], 100 * (double)lru.hits / uses, (double)lru.inserts / tokens,
               100 * (double)own.hits / uses, (double)own.inserts / tokens);
        cr_assert(2 * own.inserts <= lru.inserts);
        cr_assert((double)own.hits >= (double)lru.hits - 0.03 * uses);
        free(t);
    }
}

/* Prompts of 128 tokens, answers of 128: what the prompt used is kept when the answer begins, or what comes first. */
Test(policy, a_prompt_is_a_better_start_than_none)
{
    const char *domains[] = {"english", "c", "german"};
    uint64_t won = 0, hits[2] = {0}, uses = 0;
    for (int d = 0; d < 3; d++) {
        trace *t = load(domains[d]);
        for (uint32_t seq = 0; seq + 1 <= t->n_tokens / 256; seq++) {
            float heat[LAYERS * EXPERTS] = {0};
            uint32_t quotas[LAYERS] = {4, 4, 4, 4, 4, 4};
            size_t first = (size_t)seq * 256 * LAYERS, middle = first + (size_t)128 * LAYERS;
            for (size_t i = first; i < middle; i++) {
                heat[i % LAYERS * EXPERTS + t->experts[2 * i]] += 1.0f;
                heat[i % LAYERS * EXPERTS + t->experts[2 * i + 1]] += 1.0f;
            }
            mox_replay_result r[2];
            for (int seeded = 0; seeded < 2; seeded++) {
                mox_replay_cfg cfg = {LAYERS,
                                      EXPERTS,
                                      quotas,
                                      mox_policy_by_name("dlfu"),
                                      1.0f,
                                      seeded ? heat : NULL,
                                      t->steps + middle,
                                      (size_t)128 * LAYERS,
                                      t->experts,
                                      t->uses,
                                      0,
                                      NULL};
                cr_assert(mox_replay(&cfg, &r[seeded], NULL) == MOX_OK);
                hits[seeded] += r[seeded].hits;
            }
            uses += r[0].uses;
            won += r[1].hits > r[0].hits;
        }
        free(t);
    }
    printf("answers of 128 tokens, 4 of 8 kept: cold %.1f %%, after the prompt %.1f %%\n",
           100 * (double)hits[0] / (double)uses, 100 * (double)hits[1] / (double)uses);
    cr_assert(hits[1] > hits[0] && won >= 14, "%llu of 18 sequences gain", (unsigned long long)won);
}
