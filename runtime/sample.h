/* Choosing the next token from one row of logits.
 *
 * Order: logit bias, penalties (repeat, then frequency and presence, over the last tokens of prompt and answer),
 * top-k, softmax with temperature, top-p, typical, min-p (against the likeliest of all), draw. Random numbers are xoshiro256** seeded through
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
    mox_candidate *work;             /* [n_vocab] */
    uint32_t recent[MOX_RECENT_MAX]; /* a ring of the tokens that penalties look at */
    uint32_t n_recent, next;
} mox_sampler;

/* mox_sampler_init. Errors MOX_E_ARG: temp < 0, a share outside 0..1, a
 * penalty or bias outside its range, or not a number. */
MOX_NODISCARD mox_err mox_sampler_init(mox_sampler *s, const mox_sampling *cfg, mox_candidate *work);
/* mox_sampler_saw: a token of the prompt or the answer, for the penalties. */
void mox_sampler_saw(mox_sampler *s, uint32_t id);
uint32_t mox_sample(mox_sampler *s, const float *logits, uint32_t n_vocab);

#endif
