/* Sampling against its definition: frequencies over fixed logits by chi-squared, filters one by one, ties and
 * seeds. Seeds are fixed, so each test gives one result for ever.
 */
#include "runtime/sample.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 12, DRAWS = 100000 };

static const float logits[N] = {1.0f, 3.0f, 0.5f, 2.5f, -1.0f, 3.0f, 0.0f, -4.0f, 2.0f, 1.5f, -2.0f, 0.25f};

static mox_sampler make(mox_sampling cfg)
{
    static mox_candidate work[4096];
    mox_sampler s;
    cr_assert_eq(mox_sampler_init(&s, &cfg, work), MOX_OK);
    return s;
}

/* Ids by logit, best first, lower id first among equals. */
static void ranking(uint32_t order[N])
{
    for (uint32_t i = 0; i < N; i++) {
        uint32_t at = i;
        for (; at > 0 && logits[order[at - 1]] < logits[i]; at--) {
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
}

/* The definition, by brute force over the sorted list. */
static void expected(const mox_sampling *c, double p[N])
{
    uint32_t order[N], n = c->top_k && c->top_k < N ? c->top_k : N;
    double q[N], sum = 0.0, mass = 0.0;
    ranking(order);
    for (uint32_t r = 0; r < n; r++) {
        q[r] = exp((double)logits[order[r]] / (double)c->temp);
        sum += q[r];
    }
    uint32_t kept = 0;
    while (kept < n && (kept == 0 || c->top_p >= 1.0f || mass < (double)c->top_p)) {
        mass += q[kept++] / sum;
    }
    while (kept > 1 && q[kept - 1] < (double)c->min_p * q[0]) {
        kept--;
    }
    sum = 0.0;
    for (uint32_t r = 0; r < kept; r++) {
        sum += q[r];
    }
    memset(p, 0, N * sizeof *p);
    for (uint32_t r = 0; r < kept; r++) {
        p[order[r]] = q[r] / sum;
    }
}

/* What chi-squared with d degrees of freedom exceeds once in 10^4 (Wilson and Hilferty); with none it is 0. */
static double chi_squared_limit(uint32_t d)
{
    double h = 2.0 / (9.0 * (d ? d : 1)), root = 1.0 - h + 3.719 * sqrt(h);
    return d ? d * root * root * root : 1e-9;
}

/* seen: tokens of the past. */
static void check_against(mox_sampling c, const double p[N], const uint32_t *seen, uint32_t n_seen)
{
    uint32_t count[N] = {0};
    mox_sampler s = make(c);
    for (uint32_t i = 0; i < n_seen; i++) {
        mox_sampler_saw(&s, seen[i]);
    }
    for (uint32_t i = 0; i < DRAWS; i++) {
        count[mox_sample(&s, logits, N)]++;
    }
    double chi = 0.0;
    uint32_t cells = 0;
    for (uint32_t i = 0; i < N; i++) {
        if (p[i] == 0.0) {
            cr_expect_eq(count[i], 0, "temp %g top-k %u top-p %g min-p %g: id %u was filtered out",
                         (double)c.temp, c.top_k, (double)c.top_p, (double)c.min_p, i);
            continue;
        }
        double e = p[i] * DRAWS;
        chi += (count[i] - e) * (count[i] - e) / e;
        cells++;
    }
    cr_expect_lt(chi, chi_squared_limit(cells - 1),
                 "temp %g top-k %u top-p %g min-p %g: chi-squared %g of %u", (double)c.temp, c.top_k,
                 (double)c.top_p, (double)c.min_p, chi, cells - 1);
}

static void check_distribution(mox_sampling c)
{
    double p[N];
    expected(&c, p);
    check_against(c, p, NULL, 0);
}

Test(graph_sample, frequencies_are_those_of_the_definition)
{
    const mox_sampling cases[] = {
        {.temp = 1.0f, .top_p = 1.0f},
        {.temp = 0.5f, .top_p = 1.0f},
        {.temp = 3.0f, .top_p = 1.0f},
        {.temp = 1.0f, .top_k = 5, .top_p = 1.0f},
        {.temp = 1.0f, .top_k = 1, .top_p = 1.0f},
        {.temp = 1.0f, .top_k = 100, .top_p = 1.0f},
        {.temp = 1.0f, .top_p = 0.8f},
        {.temp = 1.0f, .top_p = 0.01f},
        {.temp = 1.0f, .top_k = 6, .top_p = 0.7f},
        {.temp = 1.0f, .top_p = 1.0f, .min_p = 0.1f},
        {.temp = 1.0f, .top_p = 1.0f, .min_p = 1.0f},
        {.temp = 1.5f, .top_k = 9, .top_p = 0.9f, .min_p = 0.2f},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mox_sampling c = cases[i];
        c.seed = 1000 + i;
        check_distribution(c);
    }
}

Test(graph_sample, greedy_takes_the_lowest_id_among_equals)
{
    mox_sampler s = make((mox_sampling){.top_p = 1.0f});
    cr_expect_eq(mox_sample(&s, logits, N), 1); /* 1 and 5 share the highest logit */
    float same[4] = {-0.0f, 0.0f, 0.0f, -1.0f};
    cr_expect_eq(mox_sample(&s, same, 4), 0);
}

/* Ties at the edge of top-k are cut by id: with k = 1 the second of two equals never appears. */
Test(graph_sample, top_k_cuts_ties_by_id)
{
    mox_sampler s = make((mox_sampling){.temp = 1.0f, .top_k = 1, .top_p = 1.0f, .seed = 3});
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(mox_sample(&s, logits, N), 1);
    }
}

Test(graph_sample, seed_decides_the_sequence)
{
    mox_sampling c = {.temp = 1.0f, .top_p = 0.95f, .seed = 42};
    mox_sampler a = make(c), b = make(c);
    c.seed = 43;
    mox_sampler other = make(c);
    uint32_t differ = 0;
    for (int i = 0; i < 200; i++) {
        uint32_t x = mox_sample(&a, logits, N);
        cr_assert_eq(x, mox_sample(&b, logits, N));
        differ += x != mox_sample(&other, logits, N);
    }
    cr_expect_gt(differ, 50);
}

/* The generator is part of the contract: the first ids of seed 0 stay what they are. */
Test(graph_sample, generator_is_the_documented_one)
{
    /* xoshiro256** seeded by splitmix64(0): with equal logits the id is floor(u * 16) from the top */
    uint64_t x = 0, s[4];
    for (int i = 0; i < 4; i++) {
        uint64_t z = x += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        s[i] = z ^ (z >> 31);
    }
    uint64_t r = s[1] * 5;
    r = (r << 7 | r >> 57) * 9;
    float flat[16] = {0};
    mox_sampler m = make((mox_sampling){.temp = 1.0f, .top_p = 1.0f});
    cr_expect_eq(mox_sample(&m, flat, 16), 15 - (uint32_t)(r >> 60));
}

Test(graph_sample, refuses_values_outside_their_range)
{
    const mox_sampling bad[] = {
        {.temp = -1.0f, .top_p = 1.0f},
        {.temp = NAN, .top_p = 1.0f},
        {.temp = INFINITY, .top_p = 1.0f},
        {.temp = 1.0f, .top_p = 0.0f},
        {.temp = 1.0f, .top_p = 1.5f},
        {.temp = 1.0f, .top_p = 1.0f, .min_p = -0.1f},
        {.temp = 1.0f, .top_p = 1.0f, .min_p = NAN},
    };
    mox_candidate work[1];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        mox_sampler s;
        cr_expect_eq(mox_sampler_init(&s, &bad[i], work), MOX_E_ARG, "case %zu", i);
    }
}

/* A vocabulary of real size: the heap and the sorted definition agree on who survives top-p. */
Test(graph_sample, top_p_of_a_big_vocabulary_keeps_the_smallest_set)
{
    enum { V = 4096 };
    static float big[V];
    uint32_t rng = 1;
    double sum = 0.0;
    for (uint32_t i = 0; i < V; i++) {
        rng = rng * 1664525u + 1013904223u;
        big[i] = (float)(rng >> 8) / (float)(1 << 24) * 12.0f;
        sum += exp((double)big[i]);
    }
    mox_sampler s = make((mox_sampling){.temp = 1.0f, .top_p = 0.5f, .seed = 5});
    float least = INFINITY;
    for (int i = 0; i < 3000; i++) {
        float l = big[mox_sample(&s, big, V)];
        least = l < least ? l : least;
    }
    /* everything above the least survivor holds less than half of the mass */
    double above = 0.0;
    for (uint32_t i = 0; i < V; i++) {
        above += big[i] > least ? exp((double)big[i]) / sum : 0.0;
    }
    cr_expect_lt(above, 0.5);
    cr_expect_gt(above, 0.4);
}

/* Softmax at a temperature of logits that the test has adjusted itself. */
static void softmax(const double l[N], double temp, double p[N])
{
    double sum = 0.0;
    for (uint32_t i = 0; i < N; i++) {
        sum += p[i] = exp(l[i] / temp);
    }
    for (uint32_t i = 0; i < N; i++) {
        p[i] /= sum;
    }
}

Test(graph_sample, penalties_are_those_of_the_definition)
{
    /* 3 twice, 1 and 4 once; 7 has left the window of five */
    const uint32_t seen[] = {7, 3, 1, 3, 4, 11};
    const uint32_t uses[N] = {[3] = 2, [1] = 1, [4] = 1, [11] = 1};
    const struct {
        float repeat, frequency, presence;
    } cases[] = {{1.3f, 0, 0}, {0, 0.7f, 0}, {0, 0, 0.9f}, {0, -0.5f, 0.25f}, {1.8f, 0.2f, -0.4f}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        mox_sampling c = {.temp = 1.2f, .top_p = 1.0f, .seed = 50 + k, .n_recent = 5};
        c.repeat = cases[k].repeat;
        c.frequency = cases[k].frequency;
        c.presence = cases[k].presence;
        double l[N], p[N];
        for (uint32_t i = 0; i < N; i++) {
            l[i] = logits[i];
            if (uses[i] > 0 && c.repeat > 0.0f) {
                l[i] = l[i] > 0 ? l[i] / (double)c.repeat : l[i] * (double)c.repeat;
            }
            l[i] -= uses[i] * (double)c.frequency + (uses[i] > 0) * (double)c.presence;
        }
        softmax(l, (double)c.temp, p);
        check_against(c, p, seen, 6);
    }
}

Test(graph_sample, bias_moves_and_bans)
{
    mox_sampling c = {.temp = 1.0f, .top_p = 1.0f, .seed = 9, .n_bias = 3};
    c.bias[0] = (mox_bias){.id = 7, .add = 5.0f};
    c.bias[1] = (mox_bias){.id = 1, .add = -1e4f};
    c.bias[2] = (mox_bias){.id = 4000000, .add = 1.0f}; /* beyond the vocabulary: no effect */
    double l[N], p[N];
    for (uint32_t i = 0; i < N; i++) {
        l[i] = (double)logits[i] + (i == 7 ? 5.0 : 0.0) - (i == 1 ? 1e4 : 0.0);
    }
    softmax(l, 1.0, p);
    check_against(c, p, NULL, 0);
    c.temp = 0.0f; /* greedy: of the two likeliest, 1 is banned */
    mox_sampler s = make(c);
    cr_expect_eq(mox_sample(&s, logits, N), 5);
}

Test(graph_sample, greedy_looks_at_penalties)
{
    mox_sampler s = make((mox_sampling){.top_p = 1.0f, .repeat = 1.5f});
    cr_expect_eq(mox_sample(&s, logits, N), 1);
    mox_sampler_saw(&s, 1);
    cr_expect_eq(mox_sample(&s, logits, N), 5);
    mox_sampler_saw(&s, 5);
    cr_expect_eq(mox_sample(&s, logits, N), 3);
}

/* The least set of tokens nearest in surprise to the entropy that holds the share, by brute force. */
Test(graph_sample, typical_keeps_the_tokens_nearest_to_the_entropy)
{
    for (int k = 0; k < 4; k++) {
        mox_sampling c = {.temp = k == 3 ? 2.0f : 1.0f, .top_p = 1.0f, .seed = 70 + (uint64_t)k};
        c.typical = (float[]){0.2f, 0.5f, 0.9f, 0.6f}[k];
        double l[N], q[N], p[N] = {0}, h = 0.0, mass = 0.0;
        for (uint32_t i = 0; i < N; i++) {
            l[i] = logits[i];
        }
        softmax(l, (double)c.temp, q);
        for (uint32_t i = 0; i < N; i++) {
            h -= q[i] * log(q[i]);
        }
        while (mass < (double)c.typical) {
            uint32_t best = N;
            for (uint32_t i = 0; i < N; i++) {
                bool nearer = best == N || fabs(-log(q[i]) - h) < fabs(-log(q[best]) - h) - 1e-9;
                best = p[i] == 0.0 && nearer ? i : best;
            }
            p[best] = q[best];
            mass += q[best];
        }
        for (uint32_t i = 0; i < N; i++) {
            p[i] /= mass;
        }
        check_against(c, p, NULL, 0);
    }
}

Test(graph_sample, refuses_penalties_outside_their_range)
{
    mox_sampling bad[] = {{.typical = 1.5f}, {.typical = NAN},  {.repeat = -1.0f}, {.frequency = 3.0f},
                          {.presence = NAN}, {.n_recent = 257}, {.n_bias = 65},    {.n_bias = 1}};
    bad[7].bias[0].add = INFINITY;
    mox_candidate work[1];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        mox_sampler s;
        bad[i].top_p = 1.0f;
        cr_expect_eq(mox_sampler_init(&s, &bad[i], work), MOX_E_ARG, "case %zu", i);
    }
}

/* Everything at once, by the definition in sample.h: bias, penalties, top-k, softmax, top-p, typical, min-p. */
static void define(const mox_sampling *c, const uint32_t *uses, double p[N])
{
    double l[N], q[N], sum = 0.0, mass = 0.0, h = 0.0, kept_mass = 0.0;
    uint32_t order[N], n = c->top_k ? c->top_k : N, kept = 0;
    bool taken[N] = {false};
    for (uint32_t i = 0; i < N; i++) {
        l[i] = logits[i];
        for (uint32_t k = 0; k < c->n_bias; k++) {
            l[i] += c->bias[k].id == i ? (double)c->bias[k].add : 0.0;
        }
        if (uses[i] > 0) {
            l[i] = l[i] > 0 ? l[i] / (double)c->repeat : l[i] * (double)c->repeat;
            l[i] -= uses[i] * (double)c->frequency + (double)c->presence;
        }
        uint32_t at = i;
        for (; at > 0 && l[order[at - 1]] < l[i]; at--) {
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
    for (uint32_t r = 0; r < n; r++) {
        sum += q[r] = exp((l[order[r]] - l[order[0]]) / (double)c->temp);
    }
    while (kept < n && mass < (double)c->top_p * sum) {
        mass += q[kept++];
    }
    for (uint32_t r = 0; r < kept; r++) {
        h -= q[r] / mass * log(q[r] / mass);
    }
    memset(p, 0, N * sizeof *p);
    for (double near = 0.0; near < (double)c->typical * mass;) {
        uint32_t best = N;
        for (uint32_t r = 0; r < kept; r++) {
            double d = fabs(-log(q[r] / mass) - h);
            best = !taken[r] && (best == N || d < fabs(-log(q[best] / mass) - h)) ? r : best;
        }
        taken[best] = true;
        near += q[best];
    }
    for (uint32_t r = 0; r < kept; r++) {
        kept_mass += taken[r] && q[r] >= (double)c->min_p ? q[r] : 0.0;
    }
    for (uint32_t r = 0; r < kept; r++) {
        p[order[r]] = taken[r] && q[r] >= (double)c->min_p ? q[r] / kept_mass : 0.0;
    }
}

Test(graph_sample, all_filters_together_are_those_of_the_definition)
{
    const uint32_t seen[] = {3, 1, 3, 8};
    const uint32_t uses[N] = {[1] = 1, [3] = 2, [8] = 1};
    for (uint64_t k = 0; k < 8; k++) {
        mox_sampling c = {.temp = k & 1 ? 1.7f : 0.9f,
                          .top_k = k & 2 ? 9 : 11,
                          .top_p = k & 4 ? 0.97f : 0.9f,
                          .min_p = 0.04f,
                          .typical = 0.85f,
                          .repeat = 1.15f,
                          .frequency = 0.3f,
                          .presence = -0.2f,
                          .seed = 900 + k,
                          .n_bias = 2,
                          .bias = {{.id = 6, .add = 1.4f}, {.id = 5, .add = -0.7f}}};
        double p[N];
        define(&c, uses, p);
        check_against(c, p, seen, 4);
    }
}

/* The k best are found in one pass over the logits, or, where a bias is set, over copies of them: the same tokens. */
Test(graph_sample, top_k_of_a_big_vocabulary_is_the_same_either_way)
{
    enum { V = 4096 };
    static float big[V];
    static mox_candidate other[V];
    uint32_t rng = 7, above = 0;
    for (uint32_t i = 0; i < V; i++) {
        rng = rng * 1664525u + 1013904223u;
        big[i] = (float)(rng >> 22) / 64.0f; /* many are equal */
    }
    for (uint32_t k = 1; k <= 400; k = k * 3 + 1) {
        mox_sampling c = {.temp = 2.0f, .top_k = k, .top_p = 0.99f, .seed = k};
        mox_sampler a = make(c), b;
        c.n_bias = 1; /* of 0: nothing moves */
        cr_assert_eq(mox_sampler_init(&b, &c, other), MOX_OK);
        for (int i = 0; i < 300; i++) {
            uint32_t id = mox_sample(&a, big, V);
            cr_assert_eq(id, mox_sample(&b, big, V), "top-k %u, draw %d", k, i);
            above = 0;
            for (uint32_t t = 0; t < V; t++) {
                above += big[t] > big[id] || (big[t] == big[id] && t < id);
            }
            cr_assert_lt(above, k, "top-k %u: token %u has %u before it", k, id, above);
        }
    }
}
