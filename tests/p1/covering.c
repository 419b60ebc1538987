/* Greedy: each new configuration is the best of many random ones, by the number of pairs that it newly covers for the root of what it
 * costs. One of its pairs is always taken from those still open, so that every round makes progress. When all are
 * covered, a configuration is the cheapest of a few random ones. */
#include "p1/covering.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { COVER_TRIES = 200, FILL_TRIES = 4 };

typedef struct pair_set {
    bool covered[COVER_MAX_FACTORS][COVER_MAX_FACTORS][COVER_MAX_LEVELS][COVER_MAX_LEVELS];
} pair_set;

static uint32_t draw(uint64_t *state, uint32_t n)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*state >> 33) % n);
}

static uint32_t new_pairs(const pair_set *s, const cover_config *c, uint32_t n)
{
    uint32_t count = 0;
    for (uint32_t a = 0; a < n; a++) {
        for (uint32_t b = a + 1; b < n; b++) {
            count += !s->covered[a][b][c->level[a]][c->level[b]];
        }
    }
    return count;
}

static void cover(pair_set *s, const cover_config *c, uint32_t n)
{
    for (uint32_t a = 0; a < n; a++) {
        for (uint32_t b = a + 1; b < n; b++) {
            s->covered[a][b][c->level[a]][c->level[b]] = true;
        }
    }
}

static bool is_new(const cover_config *out, uint32_t n_out, const cover_config *c)
{
    for (uint32_t i = 0; i < n_out; i++) {
        if (memcmp(&out[i], c, sizeof *c) == 0) {
            return false;
        }
    }
    return true;
}

/* A random configuration; while pairs are open, one that holds the first open pair. */
static cover_config candidate(const pair_set *s, const uint8_t *levels, uint32_t n, bool open,
                              uint64_t *state)
{
    cover_config c = {{0}};
    for (uint32_t f = 0; f < n; f++) {
        c.level[f] = (uint8_t)draw(state, levels[f]);
    }
    for (uint32_t a = 0; open && a < n; a++) {
        for (uint32_t b = a + 1; b < n; b++) {
            for (uint8_t la = 0; la < levels[a]; la++) {
                for (uint8_t lb = 0; lb < levels[b]; lb++) {
                    if (!s->covered[a][b][la][lb]) {
                        c.level[a] = la;
                        c.level[b] = lb;
                        return c;
                    }
                }
            }
        }
    }
    return c;
}

uint32_t cover_pairs(const uint8_t *levels, uint32_t n_factors, uint64_t seed, uint32_t want,
                     cover_cost *cost, cover_config *out, uint32_t max, uint32_t *pairs)
{
    static pair_set s;
    memset(&s, 0, sizeof s);
    uint32_t total = 0, covered = 0, n = 0;
    uint64_t state = seed;
    for (uint32_t a = 0; a < n_factors; a++) {
        for (uint32_t b = a + 1; b < n_factors; b++) {
            total += (uint32_t)levels[a] * levels[b];
        }
    }
    while ((covered < total || n < want) && n < max) {
        cover_config best = {{0}};
        uint32_t best_gain = 0;
        double best_value = 0;
        bool found = false, open = covered < total;
        for (int t = 0; t < (open ? COVER_TRIES : FILL_TRIES); t++) {
            cover_config c = candidate(&s, levels, n_factors, open, &state);
            uint32_t gain = new_pairs(&s, &c, n_factors);
            double value = (open ? gain : 1) / sqrt(cost(&c));
            if ((!found || value > best_value) && is_new(out, n, &c)) {
                best = c;
                best_gain = gain;
                best_value = value;
                found = true;
            }
        }
        if (!found) {
            break; /* the product is smaller than what was wanted */
        }
        cover(&s, &best, n_factors);
        covered += best_gain;
        out[n++] = best;
    }
    *pairs = total;
    return covered == total ? n : 0;
}

uint64_t cover_product_size(const uint8_t *levels, uint32_t n_factors)
{
    uint64_t n = 1;
    for (uint32_t f = 0; f < n_factors; f++) {
        n *= levels[f];
    }
    return n;
}

cover_config cover_product(const uint8_t *levels, uint32_t n_factors, uint64_t i)
{
    cover_config c = {{0}};
    for (uint32_t f = 0; f < n_factors; f++) {
        c.level[f] = (uint8_t)(i % levels[f]);
        i /= levels[f];
    }
    return c;
}
