/* Choosing the next token from one row of logits.
 *
 * Order: top-k, softmax with temperature, top-p, min-p, draw. Random numbers are xoshiro256** seeded through
 * splitmix64, so a seed means the same text everywhere; one number is drawn per token. Works in memory of the
 * caller; nothing is allocated and qsort is not used (glibc's may allocate).
 */
#ifndef MOX_RUNTIME_SAMPLE_H
#define MOX_RUNTIME_SAMPLE_H

#include "runtime/moxie.h"

typedef struct mox_candidate {
    float logit;
    uint32_t id;
    double p;
} mox_candidate;

typedef struct mox_sampler {
    mox_sampling cfg;
    uint64_t state[4];
    mox_candidate *work; /* [n_vocab] */
} mox_sampler;

/* mox_sampler_init. Errors MOX_E_ARG: temp < 0, top_p outside 0..1, min_p outside 0..1, or not a number. */
MOX_NODISCARD mox_err mox_sampler_init(mox_sampler *s, const mox_sampling *cfg, mox_candidate *work);
uint32_t mox_sample(mox_sampler *s, const float *logits, uint32_t n_vocab);

#endif
