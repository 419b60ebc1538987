/* Worker pool: every worker takes part in every job, items are dealt out exactly once, results are visible
 * after the barrier, and the float environment of the contract is enforced. Run with 1 to 5 workers, with and
 * without pauses in which the workers fall asleep. */
#include "runtime/core/pool.h"

#include <criterion/criterion.h>
#include <fenv.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static const uint32_t worker_counts[] = {1, 2, 3, 5};

enum { N_COUNTS = sizeof worker_counts / sizeof worker_counts[0], MAX_ITEMS = 10000 };

static mox_pool *make_pool(uint32_t n, uint32_t spin_us)
{
    mox_pool *pool;
    mox_pool_cfg cfg = {.n_workers = n, .spin_us = spin_us};
    cr_assert_eq(mox_pool_create(&pool, &cfg), MOX_OK);
    cr_assert_eq(mox_pool_workers(pool), n);
    return pool;
}

typedef struct turn {
    uint32_t calls[8]; /* plain, not atomic: the barrier alone orders it */
    uint32_t n_workers;
} turn;

static void take_turn(void *arg, uint32_t worker, uint32_t n_workers)
{
    turn *t = arg;
    t->calls[worker]++;
    if (worker == 0) {
        t->n_workers = n_workers;
    }
}

Test(pool, every_worker_runs_every_job_once)
{
    for (int c = 0; c < N_COUNTS; c++) {
        uint32_t n = worker_counts[c];
        mox_pool *pool = make_pool(n, 0);
        turn t = {0};
        for (uint32_t job = 1; job <= 3000; job++) {
            mox_pool_run(pool, take_turn, &t);
            for (uint32_t w = 0; w < n; w++) {
                cr_assert_eq(t.calls[w], job, "%u workers, job %u: worker %u ran %u", n, job, w, t.calls[w]);
            }
        }
        cr_assert_eq(t.n_workers, n);
        mox_pool_destroy(&pool);
        cr_assert_null(pool);
    }
}

Test(pool, sleeping_workers_wake_up)
{
    for (int c = 0; c < N_COUNTS; c++) {
        mox_pool *pool = make_pool(worker_counts[c], 1);
        turn t = {0};
        for (uint32_t job = 1; job <= 50; job++) {
            usleep(200 * (job % 5)); /* past the spin: they are in the futex, or about to be */
            mox_pool_run(pool, take_turn, &t);
            for (uint32_t w = 0; w < worker_counts[c]; w++) {
                cr_assert_eq(t.calls[w], job);
            }
        }
        mox_pool_destroy(&pool);
    }
}

static void slow_worker(void *arg, uint32_t worker, uint32_t n_workers)
{
    if (worker == n_workers - 1) {
        usleep(2000);
    }
    take_turn(arg, worker, n_workers);
}

Test(pool, the_caller_waits_for_the_slowest)
{
    for (int c = 0; c < N_COUNTS; c++) {
        mox_pool *pool = make_pool(worker_counts[c], 1);
        turn t = {0};
        for (uint32_t job = 1; job <= 20; job++) {
            mox_pool_run(pool, slow_worker, &t);
            cr_assert_eq(t.calls[worker_counts[c] - 1], job);
        }
        mox_pool_destroy(&pool);
    }
}

typedef struct items {
    uint8_t times[MAX_ITEMS];
    uint32_t n_workers, grain;
    _Atomic uint32_t bad_runs;
} items;

static void mark(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    items *it = arg;
    if (end <= begin || end - begin > it->grain || worker >= it->n_workers) {
        atomic_fetch_add(&it->bad_runs, 1);
    }
    for (uint32_t i = begin; i < end; i++) {
        it->times[i]++;
    }
}

Test(pool, for_deals_out_every_item_once)
{
    static const uint32_t counts[] = {0, 1, 2, 3, 63, 64, 65, 1000, MAX_ITEMS},
                          grains[] = {1, 3, 64, 9999, 20000};
    static items it;
    for (int c = 0; c < N_COUNTS; c++) {
        mox_pool *pool = make_pool(worker_counts[c], 0);
        for (size_t n = 0; n < sizeof counts / sizeof counts[0]; n++) {
            for (size_t g = 0; g < sizeof grains / sizeof grains[0]; g++) {
                memset(&it, 0, sizeof it);
                it.n_workers = worker_counts[c];
                it.grain = grains[g];
                mox_pool_for(pool, counts[n], grains[g], mark, &it);
                cr_assert_eq(it.bad_runs, 0);
                for (uint32_t i = 0; i < MAX_ITEMS; i++) {
                    cr_assert_eq(it.times[i], i < counts[n],
                                 "%u workers, %u items, grain %u: item %u %u times", worker_counts[c],
                                 counts[n], grains[g], i, it.times[i]);
                }
            }
        }
        mox_pool_destroy(&pool);
    }
}

static void count_runs(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    (void)worker;
    atomic_fetch_add((_Atomic uint64_t *)arg, (uint64_t)end - begin);
}

Test(pool, for_reaches_the_end_of_the_index_range)
{
    mox_pool *pool = make_pool(3, 0);
    _Atomic uint64_t total = 0;
    mox_pool_for(pool, UINT32_MAX, 1u << 28, count_runs, &total);
    cr_assert_eq(total, UINT32_MAX);
    mox_pool_destroy(&pool);
}

typedef struct bound {
    _Atomic uint32_t mask;
    _Atomic uint32_t calls;
} bound;

static void note_bind(void *ctx, uint32_t worker)
{
    bound *b = ctx;
    atomic_fetch_or(&b->mask, 1u << worker);
    atomic_fetch_add(&b->calls, 1);
}

Test(pool, bind_is_called_once_in_each_thread)
{
    bound b = {0};
    turn t = {0};
    mox_pool *pool;
    mox_pool_cfg cfg = {.n_workers = 5, .bind = note_bind, .bind_ctx = &b};
    cr_assert_eq(mox_pool_create(&pool, &cfg), MOX_OK);
    mox_pool_run(pool, take_turn, &t);
    cr_assert_eq(b.mask, 31u);
    cr_assert_eq(b.calls, 5);
    mox_pool_destroy(&pool);
}

Test(pool, wrong_counts_are_refused)
{
    mox_pool *pool = NULL;
    mox_pool_cfg none = {.n_workers = 0}, many = {.n_workers = 257};
    cr_assert_eq(mox_pool_create(&pool, &none), MOX_E_ARG);
    cr_assert_eq(mox_pool_create(&pool, &many), MOX_E_ARG);
    cr_assert_null(pool);
    mox_pool_destroy(&pool);
}

Test(pool, pools_that_never_worked_end)
{
    for (int i = 0; i < 200; i++) {
        mox_pool *pool = make_pool(worker_counts[i % N_COUNTS], 0);
        mox_pool_destroy(&pool);
    }
}

static void note_signals(void *arg, uint32_t worker, uint32_t n_workers)
{
    (void)n_workers;
    sigset_t set;
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    ((int *)arg)[worker] = sigismember(&set, SIGINT) + 2 * sigismember(&set, SIGSEGV);
}

Test(pool, workers_leave_signals_to_the_program)
{
    int masks[3] = {-1, -1, -1};
    mox_pool *pool = make_pool(3, 0);
    mox_pool_run(pool, note_signals, masks);
    cr_assert_eq(masks[0], 0);
    cr_assert_eq(masks[1], 1);
    cr_assert_eq(masks[2], 1);
    mox_pool_destroy(&pool);
}

Test(pool, another_rounding_mode_is_a_bug_of_the_caller, .signal = SIGABRT)
{
    fesetround(FE_TOWARDZERO);
    make_pool(1, 0);
}
