/* Sampling against its definition: frequencies over fixed logits by chi-squared, filters one by one, ties and
 * seeds. Seeds are fixed, so each test gives one result for ever.
 */
#include "runtime/sample.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 12, DRAWS = 60000 };

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

static void check_distribution(mox_sampling c)
{
    double p[N];
    expected(&c, p);
    uint32_t count[N] = {0};
    mox_sampler s = make(c);
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
    /* mean d, deviation sqrt(2d); 5 deviations are far beyond 1 in 10^4 for these d */
    double d = cells > 1 ? cells - 1.0 : 1.0;
    cr_expect_lt(chi, d + 5.0 * sqrt(2.0 * d), "temp %g top-k %u top-p %g min-p %g: chi-squared %g of %g",
                 (double)c.temp, c.top_k, (double)c.top_p, (double)c.min_p, chi, d);
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
