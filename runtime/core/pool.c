/* Worker pool: a generation number that workers wait on, and a count of those still busy that the caller
 * waits on. Both are futex words: a waiter spins for a short while (a token has hundreds of barriers, and a
 * wake-up through the kernel costs more than most of them), then sleeps. With more workers than CPUs spinning
 * would only keep the others from running, so then they sleep at once.
 *
 * pthread condition variables were rejected: a wake-up with them takes a lock that every worker contends for.
 * Order: fn and arg are written before the generation (release) and read after it (acquire); a worker's
 * results are published by its decrement of `busy`. Sleeper counts and futex words are sequentially
 * consistent, so either the waker sees the sleeper or the kernel sees the changed word.
 */
#include "runtime/core/pool.h"

#include "runtime/core/clock.h"

#include <assert.h>
#include <fenv.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { POOL_MAX_WORKERS = 256, POOL_SPIN_US = 50, CACHE_LINE = 64, SPINS_PER_CLOCK_READ = 32, RUNS_LEFT = 2 };

typedef struct pool_thread {
    mox_pool *pool;
    uint32_t worker;
    pthread_t id;
} pool_thread;

struct mox_pool {
    _Alignas(CACHE_LINE) _Atomic uint32_t generation; /* +1 per job; workers wait for it to move */
    _Atomic uint32_t sleepers;                        /* workers inside futex_wait */
    _Alignas(CACHE_LINE) _Atomic uint32_t busy;       /* workers that have not finished the job */
    _Atomic uint32_t caller_sleeps;
    _Alignas(CACHE_LINE) _Atomic uint32_t next_item; /* mox_pool_for */
    _Alignas(CACHE_LINE) mox_pool_fn fn;             /* NULL: leave */
    void *arg;
    uint32_t n_workers;
    uint32_t n_started;
    uint64_t spin_ns; /* 0: do not spin */
    void (*bind)(void *bind_ctx, uint32_t worker);
    void *bind_ctx;
    pool_thread threads[]; /* n_workers; [0] is the caller and unused */
};

/* The numerics contract holds only in this environment; a host program that changed it is told at once rather
 * than given other bits. */
static void assert_float_environment(void)
{
    assert(fegetround() == FE_TONEAREST);
#if defined(__x86_64__)
    const unsigned rounding = 3u << 13, flush_to_zero = 1u << 15, denormals_are_zero = 1u << 6;
    assert((_mm_getcsr() & (rounding | flush_to_zero | denormals_are_zero)) == 0);
#endif
}

static void cpu_relax(void)
{
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void futex_wait(_Atomic uint32_t *word, uint32_t expected)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake_all(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* Spin until *word differs from `old`; the value then seen, or `old` when the time is over. */
static uint32_t spin_while(_Atomic uint32_t *word, uint32_t old, uint64_t spin_ns)
{
    uint32_t now = atomic_load_explicit(word, memory_order_acquire);
    if (now != old || spin_ns == 0) {
        return now;
    }
    uint64_t deadline = mox_now_ns() + spin_ns;
    do {
        for (int i = 0; i < SPINS_PER_CLOCK_READ; i++) {
            cpu_relax();
            now = atomic_load_explicit(word, memory_order_acquire);
            if (now != old) {
                return now;
            }
        }
    } while (mox_now_ns() < deadline);
    return now;
}

static uint32_t wait_for_job(mox_pool *pool, uint32_t seen)
{
    uint32_t now = spin_while(&pool->generation, seen, pool->spin_ns);
    if (now != seen) {
        return now;
    }
    atomic_fetch_add(&pool->sleepers, 1);
    while ((now = atomic_load(&pool->generation)) == seen) {
        futex_wait(&pool->generation, seen);
    }
    atomic_fetch_sub(&pool->sleepers, 1);
    return now;
}

static void wait_for_workers(mox_pool *pool)
{
    uint32_t busy = atomic_load_explicit(&pool->busy, memory_order_acquire);
    uint64_t deadline = busy && pool->spin_ns ? mox_now_ns() + pool->spin_ns : 0;
    while (busy && pool->spin_ns && mox_now_ns() < deadline) {
        busy = spin_while(&pool->busy, busy, pool->spin_ns);
    }
    if (!busy) {
        return;
    }
    atomic_store(&pool->caller_sleeps, 1);
    while ((busy = atomic_load(&pool->busy)) != 0) {
        futex_wait(&pool->busy, busy);
    }
    atomic_store(&pool->caller_sleeps, 0);
}

static void *worker_main(void *arg)
{
    const pool_thread *self = arg;
    mox_pool *pool = self->pool;
    assert_float_environment();
    if (pool->bind) {
        pool->bind(pool->bind_ctx, self->worker);
    }
    uint32_t seen = 0;
    for (;;) {
        seen = wait_for_job(pool, seen);
        if (!pool->fn) {
            return NULL;
        }
        pool->fn(pool->arg, self->worker, pool->n_workers);
        if (atomic_fetch_sub(&pool->busy, 1) == 1 && atomic_load(&pool->caller_sleeps)) {
            futex_wake_all(&pool->busy);
        }
    }
}

/* Hand a job to the other workers. */
static void start_job(mox_pool *pool, mox_pool_fn fn, void *arg)
{
    pool->fn = fn;
    pool->arg = arg;
    atomic_store(&pool->busy, pool->n_started - 1);
    atomic_fetch_add(&pool->generation, 1);
    if (atomic_load(&pool->sleepers) != 0) {
        futex_wake_all(&pool->generation);
    }
}

static uint32_t usable_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        return (uint32_t)CPU_COUNT(&set);
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (uint32_t)online : 1;
}

/* Signals belong to the program's own threads; only those raised by an instruction itself stay. */
static int start_thread(pool_thread *t)
{
    sigset_t all, old;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int err = pthread_create(&t->id, NULL, worker_main, t);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return err;
}

mox_err mox_pool_create(mox_pool **out, const mox_pool_cfg *cfg)
{
    if (cfg->n_workers < 1 || cfg->n_workers > POOL_MAX_WORKERS) {
        return MOX_FAIL(MOX_E_ARG, "pool: %u workers, allowed are 1 to %d", cfg->n_workers, POOL_MAX_WORKERS);
    }
    size_t bytes = sizeof(mox_pool) + cfg->n_workers * sizeof(pool_thread);
    bytes = (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    mox_pool *pool = aligned_alloc(CACHE_LINE, bytes);
    if (!pool) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "pool: %zu bytes for %u workers refused", bytes, cfg->n_workers);
    }
    memset(pool, 0, bytes);
    pool->n_workers = cfg->n_workers;
    pool->n_started = 1;
    pool->bind = cfg->bind;
    pool->bind_ctx = cfg->bind_ctx;
    assert_float_environment();
    if (cfg->n_workers <= usable_cpus()) {
        pool->spin_ns = 1000u * (uint64_t)(cfg->spin_us ? cfg->spin_us : POOL_SPIN_US);
    }
    if (pool->bind) {
        pool->bind(pool->bind_ctx, 0);
    }
    for (uint32_t w = 1; w < cfg->n_workers; w++) {
        pool->threads[w] = (pool_thread){.pool = pool, .worker = w};
        int err = start_thread(&pool->threads[w]);
        if (err) {
            mox_pool_destroy(&pool);
            return MOX_FAIL_SYS(MOX_E_THREAD, err, "pool: worker %u of %u could not be started", w,
                                cfg->n_workers);
        }
        pool->n_started++;
    }
    *out = pool;
    return MOX_OK;
}

void mox_pool_destroy(mox_pool **pool)
{
    mox_pool *p = *pool;
    if (!p) {
        return;
    }
    start_job(p, NULL, NULL);
    for (uint32_t w = 1; w < p->n_started; w++) {
        pthread_join(p->threads[w].id, NULL);
    }
    free(p);
    *pool = NULL;
}

uint32_t mox_pool_workers(const mox_pool *pool)
{
    return pool->n_workers;
}

void mox_pool_run(mox_pool *pool, mox_pool_fn fn, void *arg)
{
    if (pool->n_workers > 1) {
        start_job(pool, fn, arg);
    }
    fn(arg, 0, pool->n_workers);
    if (pool->n_workers > 1) {
        wait_for_workers(pool);
    }
}

typedef struct range_job {
    mox_pool *pool;
    mox_pool_range_fn fn;
    void *arg;
    uint32_t n_items, grain;
} range_job;

/* Runs get shorter towards the end, so that the workers finish together. */
static uint32_t run_length(const range_job *job, uint32_t left)
{
    uint32_t share = left / (RUNS_LEFT * job->pool->n_workers);
    return share < 1 ? 1 : share < job->grain ? share : job->grain;
}

static void run_ranges(void *arg, uint32_t worker, uint32_t n_workers)
{
    (void)n_workers;
    const range_job *job = arg;
    /* Relaxed: the counter only deals out numbers; results are published by the barrier. */
    uint32_t begin = atomic_load_explicit(&job->pool->next_item, memory_order_relaxed);
    while (begin < job->n_items) {
        uint32_t end = begin + run_length(job, job->n_items - begin);
        if (atomic_compare_exchange_weak_explicit(&job->pool->next_item, &begin, end, memory_order_relaxed,
                                                  memory_order_relaxed)) {
            job->fn(job->arg, begin, end, worker);
            begin = atomic_load_explicit(&job->pool->next_item, memory_order_relaxed);
        }
    }
}

void mox_pool_for(mox_pool *pool, uint32_t n_items, uint32_t grain, mox_pool_range_fn fn, void *arg)
{
    assert(grain > 0);
    if (n_items <= grain) { /* one run: waking anyone costs more than it brings */
        if (n_items) {
            fn(arg, 0, n_items, 0);
        }
        return;
    }
    atomic_store_explicit(&pool->next_item, 0, memory_order_relaxed);
    range_job job = {.pool = pool, .fn = fn, .arg = arg, .n_items = n_items, .grain = grain};
    mox_pool_run(pool, run_ranges, &job);
}
