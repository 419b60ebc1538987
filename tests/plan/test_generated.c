/* Policies over generated routing: what is pinned on recorded traces (tests/offload/test_policy.c) must hold for any routing
 * of that kind, not for one recording.
 *
 * The generator has a seed and three properties that recorded Mixtral routing has (docs/numbers.md): popularity that falls
 * with the rank (Zipf, another order in every layer), drift (two experts of an order change places now and then), and
 * locality (a token takes again what the token before it took, with a probability). Ten seeds each.
 */
#include "offload/policy/replay.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 32, EXPERTS = 8, TOP = 2, TOKENS = 640, STEPS = TOKENS * LAYERS, SEEDS = 10 };

typedef struct routing {
    mox_replay_step steps[STEPS];
    uint32_t experts[STEPS * TOP], uses[STEPS * TOP];
    uint32_t order[LAYERS][EXPERTS];
    uint64_t state;
} routing;

static double draw(routing *r)
{
    r->state = r->state * 6364136223846793005u + 1442695040888963407u;
    return (double)(r->state >> 11) / 9007199254740992.0;
}

static uint32_t by_rank(routing *r, uint32_t layer, double skew)
{
    double sum = 0, at;
    for (uint32_t k = 0; k < EXPERTS; k++) {
        sum += pow(k + 1.0, -skew);
    }
    at = draw(r) * sum;
    for (uint32_t k = 0; k < EXPERTS; k++) {
        at -= pow(k + 1.0, -skew);
        if (at <= 0) {
            return r->order[layer][k];
        }
    }
    return r->order[layer][EXPERTS - 1];
}

static void swap_two(routing *r, uint32_t layer)
{
    uint32_t a = (uint32_t)(draw(r) * EXPERTS) % EXPERTS, b = (uint32_t)(draw(r) * EXPERTS) % EXPERTS;
    uint32_t was = r->order[layer][a];
    r->order[layer][a] = r->order[layer][b];
    r->order[layer][b] = was;
}

/* One layer step: the first expert perhaps as before, the second another one. */
static void step(routing *r, uint32_t i, double skew, double drift, double again)
{
    uint32_t layer = i % LAYERS, *e = r->experts + (size_t)TOP * i;
    const uint32_t *before = i >= LAYERS ? e - (size_t)TOP * LAYERS : NULL;
    if (draw(r) < drift) {
        swap_two(r, layer);
    }
    for (uint32_t k = 0; k < TOP; k++) {
        bool repeat = before && draw(r) < again;
        e[k] = repeat ? before[k] : by_rank(r, layer, skew);
        while (k > 0 && e[k] == e[0]) {
            e[k] = by_rank(r, layer, skew);
        }
    }
    r->steps[i] = (mox_replay_step){.layer = layer, .first = TOP * i, .n = TOP};
}

static routing *generate(uint64_t seed)
{
    routing *r = calloc(1, sizeof *r);
    cr_assert_not_null(r);
    r->state = seed * 0x9e3779b97f4a7c15u + 1;
    for (uint32_t l = 0; l < LAYERS; l++) {
        for (uint32_t e = 0; e < EXPERTS; e++) {
            r->order[l][e] = e;
        }
        for (uint32_t e = 0; e < 3 * EXPERTS; e++) {
            swap_two(r, l);
        }
    }
    for (uint32_t i = 0; i < STEPS * TOP; i++) {
        r->uses[i] = 1;
    }
    for (uint32_t i = 0; i < STEPS; i++) {
        step(r, i, 0.55, 0.01, 0.12);
    }
    return r;
}

static mox_replay_result play(const routing *r, const char *policy, uint32_t kept, float margin,
                              const float *prior, uint32_t from, uint32_t tokens)
{
    uint32_t quota[LAYERS];
    mox_replay_result out;
    for (uint32_t l = 0; l < LAYERS; l++) {
        quota[l] = kept;
    }
    mox_replay_cfg cfg = {LAYERS,
                          EXPERTS,
                          quota,
                          mox_policy_by_name(policy),
                          margin,
                          prior,
                          r->steps + (size_t)from * LAYERS,
                          (size_t)tokens * LAYERS,
                          r->experts,
                          r->uses,
                          0,
                          NULL};
    cr_assert(mox_replay(&cfg, &out, NULL) == MOX_OK);
    return out;
}

static double rate(mox_replay_result r)
{
    return (double)r.hits / (double)r.uses;
}

/* One list for the experts of all layers. */
static double shared_list(const routing *r, uint32_t kept)
{
    routing *all = malloc(sizeof *all);
    cr_assert_not_null(all);
    *all = *r;
    for (uint32_t i = 0; i < STEPS * TOP; i++) {
        all->experts[i] += i / TOP % LAYERS * EXPERTS;
    }
    for (uint32_t i = 0; i < STEPS; i++) {
        all->steps[i].layer = 0;
    }
    mox_replay_cfg cfg = {.n_layers = 1,
                          .n_experts = LAYERS * EXPERTS,
                          .quota = &kept,
                          .policy = mox_policy_by_name("lru"),
                          .margin = MOX_ADMIT_ALWAYS,
                          .steps = all->steps,
                          .n_steps = STEPS,
                          .experts = all->experts,
                          .uses = all->uses};
    mox_replay_result out;
    cr_assert(mox_replay(&cfg, &out, NULL) == MOX_OK);
    free(all);
    return rate(out);
}

typedef struct spread {
    double least, most, sum;
} spread;

static void note(spread *s, double v, uint64_t seed)
{
    s->least = seed == 1 || v < s->least ? v : s->least;
    s->most = seed == 1 || v > s->most ? v : s->most;
    s->sum += v;
}

static void show(const char *what, const spread *s)
{
    printf("%s: mean %.1f, %.1f to %.1f\n", what, s->sum / SEEDS, s->least, s->most);
}

/* With a few slots less than one token takes, a shared list has dropped a layer's experts when its turn comes again. */
Test(generated, one_list_for_all_layers_collapses)
{
    spread own = {0}, shared = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        routing *r = generate(seed);
        double each = rate(play(r, "lru", TOP, MOX_ADMIT_ALWAYS, NULL, 0, TOKENS));
        double one = shared_list(r, TOP * LAYERS - 8);
        cr_assert(one < 0.02 && each > 0.3, "seed %d: %.3f, %.3f", (int)seed, one, each);
        note(&own, 100 * each, seed);
        note(&shared, 100 * one, seed);
        free(r);
    }
    show("lru, 2 for each layer", &own);
    show("lru, one list of 56", &shared);
}

Test(generated, admission_halves_inserts_for_three_points_of_hits)
{
    spread hits[2] = {{0}}, inserts[2] = {{0}};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        routing *r = generate(seed);
        mox_replay_result lru = play(r, "lru", 4, MOX_ADMIT_ALWAYS, NULL, 0, TOKENS);
        mox_replay_result own = play(r, "dlfu", 4, 1.0f, NULL, 0, TOKENS);
        cr_assert(2 * own.inserts <= lru.inserts && rate(own) >= rate(lru) - 0.03, "seed %d: %.3f, %.3f",
                  (int)seed, rate(lru), rate(own));
        const mox_replay_result *both[2] = {&lru, &own};
        for (int i = 0; i < 2; i++) {
            note(&hits[i], 100 * rate(*both[i]), seed);
            note(&inserts[i], (double)both[i]->inserts / TOKENS, seed);
        }
        free(r);
    }
    show("lru, 4 of 8: hits %", &hits[0]);
    show("lru, inserts a token", &inserts[0]);
    show("decayed LFU, margin 1: hits %", &hits[1]);
    show("decayed LFU, inserts a token", &inserts[1]);
}

/* Prompts of 128 tokens, then answers of 128: what the prompt used is kept when the answer begins, or what comes first. */
Test(generated, a_prompt_is_a_better_start_than_none)
{
    spread hits[2] = {{0}};
    uint32_t won = 0, n = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        routing *r = generate(seed);
        double sum[2] = {0};
        for (uint32_t from = 0; from + 256 <= TOKENS; from += 128) {
            float heat[LAYERS * EXPERTS] = {0};
            for (uint32_t i = from * LAYERS * TOP; i < (from + 128) * LAYERS * TOP; i++) {
                heat[i / TOP % LAYERS * EXPERTS + r->experts[i]] += 1.0f;
            }
            double cold = rate(play(r, "dlfu", 4, 1.0f, NULL, from + 128, 128));
            double seeded = rate(play(r, "dlfu", 4, 1.0f, heat, from + 128, 128));
            won += seeded > cold;
            n++;
            sum[0] += 100 * cold / 4;
            sum[1] += 100 * seeded / 4;
        }
        cr_assert(sum[1] > sum[0], "seed %d", (int)seed);
        note(&hits[0], sum[0], seed);
        note(&hits[1], sum[1], seed);
        free(r);
    }
    show("cold", &hits[0]);
    show("after the prompt", &hits[1]);
    cr_assert(won * 10 >= n * 9, "%u of %u answers gain", won, n);
}
