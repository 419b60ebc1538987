/* How `--miss auto` chooses from steps' times, and how many experts of a step cross the link. */
#include "runtime/graph/miss.h"

#include <criterion/criterion.h>

/* n steps, each taking what its way takes; how many of them were not the CPU's. */
static uint32_t steps(mox_miss_auto *m, uint32_t n, const uint64_t *ns)
{
    uint32_t other = 0;
    for (uint32_t i = 0; i < n; i++) {
        mox_miss way = mox_miss_way(m);
        cr_assert_neq(way, MOX_MISS_AUTO);
        other += way != MOX_MISS_CPU;
        mox_miss_step(m, ns[way]);
    }
    return other;
}

Test(miss, takes_what_is_fastest_by_a_margin)
{
    static const struct {
        uint64_t ns[MOX_MISSES];
        mox_miss want;
    } cases[] = {{{0, 1000, 2000, 3000}, MOX_MISS_CPU},
                 {{0, 1000, 980, 990}, MOX_MISS_CPU}, /* within the margin */
                 {{0, 1000, 500, 700}, MOX_MISS_COPY},
                 {{0, 1000, 900, 600}, MOX_MISS_SPLIT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mox_miss_auto m;
        mox_miss_init(&m);
        cr_assert_eq(mox_miss_way(&m), MOX_MISS_CPU);
        steps(&m, 3 * MOX_MISS_TRIAL, cases[i].ns);
        cr_assert_eq(m.chosen, cases[i].want, "case %zu: %s", i, mox_miss_name(m.chosen));
        cr_assert_eq(mox_miss_way(&m), cases[i].want);
    }
}

Test(miss, is_below_the_cpu_for_trials_only_and_comes_back)
{
    static const uint64_t slow[MOX_MISSES] = {0, 1000, 4000, 4000}, fast[MOX_MISSES] = {0, 1000, 300, 600};
    mox_miss_auto m;
    mox_miss_init(&m);
    uint32_t rounds = 5, round = MOX_MISS_HOLD + 3 * MOX_MISS_TRIAL;
    cr_assert_leq(steps(&m, rounds * round, slow), rounds * 2 * MOX_MISS_TRIAL);
    steps(&m, round, fast);
    cr_assert_eq(m.chosen, MOX_MISS_COPY);
    steps(&m, 2 * round, slow); /* the machine has changed: it comes back by itself */
    cr_assert_eq(m.chosen, MOX_MISS_CPU);
    cr_assert_eq(m.n_switches, 2);
}

Test(miss, one_slow_step_changes_nothing)
{
    mox_miss_auto m;
    mox_miss_init(&m);
    for (uint32_t i = 0; i < 3 * MOX_MISS_TRIAL; i++) {
        mox_miss_step(&m, mox_miss_way(&m) == MOX_MISS_CPU && i == 2 ? 1000000 : 1000);
    }
    cr_assert_eq(m.chosen, MOX_MISS_CPU);
}

Test(miss, share_ends_both_sides_together)
{
    static const uint32_t one_row[] = {1, 1, 1, 1}, prompt[] = {200, 90, 3, 1};
    cr_assert_eq(mox_miss_share(&(mox_miss_rates){.link_ns = 10, .cpu_ns = 10}, one_row, 4), 2);
    cr_assert_eq(mox_miss_share(&(mox_miss_rates){.link_ns = 100, .cpu_ns = 10}, one_row, 4), 0);
    cr_assert_eq(mox_miss_share(&(mox_miss_rates){.link_ns = 1, .cpu_ns = 10}, one_row, 4), 4);
    /* those with many rows cross, those with few stay */
    cr_assert_eq(mox_miss_share(&(mox_miss_rates){.link_ns = 40, .row_ns = 1}, prompt, 4), 2);
    cr_assert_eq(mox_miss_share(&(mox_miss_rates){0}, one_row, 4), 2, "half, while nothing is known");
}
