/* A covering set: few configurations in which every pair of levels of any two factors occurs together. */
#ifndef MOX_TESTS_COVERING_H
#define MOX_TESTS_COVERING_H

#include <stdint.h>

enum { COVER_MAX_FACTORS = 12, COVER_MAX_LEVELS = 8 };

typedef struct cover_config {
    uint8_t level[COVER_MAX_FACTORS];
} cover_config;

/* What a configuration takes to run, in any unit. */
typedef double cover_cost(const cover_config *c);

/* cover_pairs: fills out[0..max) from levels[n_factors] (levels per factor) and a seed: first until every
 * pair is covered, then with further distinct configurations up to `want`; where there is a choice, cheap ones.
 * Returns how many; *pairs is the number of pairs, all of which are covered unless max was too small (then 0 is
 * returned). */
uint32_t cover_pairs(const uint8_t *levels, uint32_t n_factors, uint64_t seed, uint32_t want,
                     cover_cost *cost, cover_config *out, uint32_t max, uint32_t *pairs);

/* cover_product: the i-th configuration of the full product; cover_product_size of them. */
uint64_t cover_product_size(const uint8_t *levels, uint32_t n_factors);
cover_config cover_product(const uint8_t *levels, uint32_t n_factors, uint64_t i);

#endif
