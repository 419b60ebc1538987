/* Ceilings: the portable loops and the timing around all of them. */
#include "kernels/ceilings/ceilings.h"

#include "runtime/core/clock.h"

#include <stdatomic.h>
#include <string.h>

enum { PASSES = 5, READ_PIECE = 1 << 20, INT_ROUNDS = 1000000 };

static _Atomic uint64_t sink; /* results that nobody wants */

uint64_t mox_ceiling_read_plain(const uint8_t *p, size_t bytes)
{
    uint64_t a = 0, b = 0;
    for (size_t i = 0; i < bytes; i += 16) {
        uint64_t v[2];
        memcpy(v, p + i, sizeof v);
        a ^= v[0];
        b ^= v[1];
    }
    return a ^ b;
}

uint64_t mox_ceiling_int_plain(uint64_t rounds)
{
    enum { N = 64 };
    int32_t acc[N];
    int16_t w[N];
    for (int i = 0; i < N; i++) {
        acc[i] = i;
        w[i] = (int16_t)(i - 32);
    }
    for (uint64_t r = 0; r < rounds; r++) {
        for (int i = 0; i < N; i++) {
            acc[i] += (int32_t)w[i] * (int16_t)r;
        }
        __asm__ volatile("" : : "r"(acc) : "memory");
    }
    return rounds * N;
}

typedef struct read_job {
    mox_ceiling_read_fn *read;
    const uint8_t *p;
    size_t bytes;
} read_job;

static void read_range(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    (void)worker;
    const read_job *j = arg;
    size_t from = (size_t)begin * READ_PIECE, to = (size_t)end * READ_PIECE;
    to = to < j->bytes ? to : j->bytes;
    atomic_fetch_xor_explicit(&sink, j->read(j->p + from, to - from), memory_order_relaxed);
}

double mox_ceiling_read(mox_pool *pool, const uint8_t *p, size_t bytes)
{
    read_job j = {mox_ceiling_read_plain, p, bytes & ~(size_t)4095};
#if defined(__x86_64__)
    j.read = mox_isa_present(MOX_ISA_AVX512) ? mox_ceiling_read_avx512
             : mox_isa_present(MOX_ISA_AVX2) ? mox_ceiling_read_avx2
                                             : mox_ceiling_read_plain;
#endif
    double best = 0;
    for (int i = 0; i < PASSES; i++) {
        uint64_t t0 = mox_now_ns();
        mox_pool_for(pool, (uint32_t)((j.bytes + READ_PIECE - 1) / READ_PIECE), 4, read_range, &j);
        double rate = (double)j.bytes / (double)(mox_now_ns() - t0);
        best = rate > best ? rate : best;
    }
    return best;
}

typedef struct int_job {
    mox_ceiling_int_fn *fn;
    _Atomic uint64_t products;
} int_job;

static void int_run(void *arg, uint32_t worker, uint32_t n_workers)
{
    (void)worker, (void)n_workers;
    int_job *j = arg;
    atomic_fetch_add(&j->products, j->fn(INT_ROUNDS));
}

double mox_ceiling_int(mox_pool *pool, mox_isa isa)
{
    mox_ceiling_int_fn *fn = mox_ceiling_int_plain;
#if defined(__x86_64__)
    fn = isa == MOX_ISA_AVX512    ? mox_ceiling_int_avx512
         : isa == MOX_ISA_AVX2    ? mox_ceiling_int_avx2
         : isa != MOX_ISA_AVXVNNI ? mox_ceiling_int_plain
         : mox_isa_vex_vnni()     ? mox_ceiling_int_avxvnni_vex
                                  : mox_ceiling_int_avxvnni_evex;
#endif
    double best = 0;
    for (int i = 0; i < PASSES; i++) {
        int_job j = {.fn = fn};
        uint64_t t0 = mox_now_ns();
        mox_pool_run(pool, int_run, &j);
        double rate = 2.0 * (double)atomic_load(&j.products) / (double)(mox_now_ns() - t0);
        best = rate > best ? rate : best;
    }
    return best;
}
