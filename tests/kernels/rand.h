/* Random inputs for the kernel tests: a fixed generator, and floats of several temperaments. */
#ifndef MOX_TESTS_KERNELS_RAND_H
#define MOX_TESTS_KERNELS_RAND_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rng {
    uint64_t s;
} rng;

static inline uint32_t rng_u32(rng *r)
{
    r->s = r->s * 6364136223846793005ull + 1442695040888963407ull;
    const uint32_t x = (uint32_t)(((r->s >> 18u) ^ r->s) >> 27u), rot = (uint32_t)(r->s >> 59u);
    return (x >> rot) | (x << ((32 - rot) & 31));
}

static inline uint32_t rng_below(rng *r, uint32_t n)
{
    return (uint32_t)((uint64_t)rng_u32(r) * n >> 32);
}

static inline float rng_unit(rng *r) /* -1 .. 1 */
{
    return (float)((int32_t)rng_u32(r) / 2147483648.0);
}

/* FLAT: about +-1. WIDE: magnitudes 2^-20 .. 2^15. MIXED: WIDE with zeros of both signs and f32 denormals.
 * TINY: around 2^-100, the limit of quantisation. */
enum { FLAT, WIDE, MIXED, TINY, TEMPERAMENTS };

static inline void rng_fill(rng *r, float *x, size_t n, int temperament)
{
    for (size_t i = 0; i < n; i++) {
        const float u = rng_unit(r);
        x[i] = u;
        if (temperament == WIDE || temperament == MIXED) {
            x[i] = ldexpf(u, (int)rng_below(r, 36) - 20);
        }
        if (temperament == MIXED && rng_below(r, 4) == 0) {
            const float special[4] = {0.0f, -0.0f, u * 0x1p-127f, -0x1p-149f};
            x[i] = special[rng_below(r, 4)];
        }
        if (temperament == TINY) {
            x[i] = ldexpf(u, (int)rng_below(r, 8) - 104);
        }
    }
}

#endif
