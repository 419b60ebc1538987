/* What a coming layer's router will choose, guessed from what it says of an earlier hidden state (runtime makes that
 * state and runs the router; here its weights become chances).
 *
 * A router's weights on another layer's state are no chances: layers in between shift them, some experts always up and
 * others down, and the further away the more. So each kind of guess (mox_guess_kind) has a line, chance = logistic(base
 * + slope * x + the expert's own shift), x being the logarithm of the weight against that of the last expert chosen and
 * the first one left out. All three are learned while running, a small step after each layer whose set is known. On the
 * demo model guesses that are right 80 times of 100 then find 60 % of the misses instead of 50 %, and one layer
 * further away 33 % instead of next to none.
 *
 * Which chance is worth a read: a right guess gains what arrives before it is needed (measured: ahead.gain), a wrong one
 * takes the transit slot of an expert that might have come again, and is read until it is refuted. So the longer a read
 * is beside a layer, the surer a guess must be.
 */
#include "offload/store_internal.h"

#include <math.h>
#include <string.h>

#define FIRST_BASE  (-0.5f)
#define FIRST_SLOPE 2.5f
#define FARTHEST    6.0f  /* of x */
#define LEAST       1e-9f /* of a weight */
#define STEP        0.1f  /* of an expert's shift */
#define SHARED_STEP 0.01f /* of what all experts share */
#define WRONG_COST  0.42f /* of a wrong guess, in reads; docs/numbers.md has what others read */
#define LEAST_GAIN  0.05f

uint32_t mox_store_guess_ranks(uint32_t top_k, uint32_t n_experts)
{
    uint32_t n = 2 * top_k + 4;
    return n < n_experts ? n : n_experts;
}

void mox_guess_init(mox_store *st)
{
    size_t cells = (size_t)MOX_GUESS_KINDS * st->cfg.n_layers;
    for (uint32_t i = 0; i < MOX_GUESS_KINDS; i++) {
        st->guess.line[i] = (mox_guess_line){FIRST_BASE, FIRST_SLOPE};
    }
    memset(st->guess.n_seen, 0, cells * sizeof *st->guess.n_seen);
    memset(st->guess.shift, 0, cells * st->cfg.n_experts * sizeof *st->guess.shift);
}

static size_t cell(const mox_store *st, uint32_t kind, uint32_t layer)
{
    return (size_t)kind * st->cfg.n_layers + layer;
}

static float chance(const mox_guess_line *l, float shift, float x)
{
    return 1.0f / (1.0f + expf(-(l->base + l->slope * x + shift)));
}

void mox_guess_learn(mox_store *st, uint32_t layer)
{
    mox_guess *g = &st->guess;
    for (uint32_t kind = 0; kind < MOX_GUESS_KINDS; kind++) {
        mox_guess_line *l = &g->line[kind];
        size_t at = cell(st, kind, layer);
        for (uint32_t i = 0; i < g->n_seen[at]; i++) {
            const mox_guess_seen *s = &g->seen[at * g->n_ranks + i];
            float *shift = &g->shift[at * st->cfg.n_experts + s->expert];
            float off = (st->in_set[s->expert] ? 1.0f : 0.0f) - chance(l, *shift, s->x);
            l->base += SHARED_STEP * off;
            l->slope += SHARED_STEP * off * s->x;
            *shift += STEP * off;
        }
        g->n_seen[at] = 0;
    }
}

static float log_weight(float w)
{
    return logf(w > LEAST ? w : LEAST);
}

/* x of one of a row's weights. */
static float against_edge(const float *weights, uint32_t rank, uint32_t k, uint32_t n_ranks)
{
    if (n_ranks <= k) {
        return FARTHEST;
    }
    float edge = 0.5f * (log_weight(weights[k - 1]) + log_weight(weights[k]));
    float x = log_weight(weights[rank]) - edge;
    return x > FARTHEST ? FARTHEST : x < -FARTHEST ? -FARTHEST : x;
}

/* The chance that at least one row chooses it, for each expert. Of a single row what was seen is kept, to learn. */
static void chances(mox_store *st, mox_guess_kind kind, uint32_t layer, const uint32_t *ids,
                    const float *weights, uint32_t n_rows)
{
    mox_guess *g = &st->guess;
    size_t at = cell(st, kind, layer);
    memset(g->chance, 0, st->cfg.n_experts * sizeof *g->chance);
    for (uint32_t i = 0; i < n_rows * g->n_ranks; i++) {
        uint32_t rank = i % g->n_ranks;
        float x = against_edge(weights + (i - rank), rank, st->cfg.top_k, g->n_ranks);
        float c = chance(&g->line[kind], g->shift[at * st->cfg.n_experts + ids[i]], x);
        g->chance[ids[i]] = 1.0f - (1.0f - g->chance[ids[i]]) * (1.0f - c);
        if (n_rows == 1) {
            g->seen[at * g->n_ranks + rank] = (mox_guess_seen){ids[i], x};
        }
    }
    g->n_seen[at] = n_rows == 1 ? g->n_ranks : 0;
}

static float worth_a_read(const mox_store *st)
{
    float gain = st->ahead.gain > LEAST_GAIN ? st->ahead.gain : LEAST_GAIN;
    float cost = WRONG_COST / gain;
    return cost / (1.0f + cost);
}

void mox_store_guess(mox_store *st, mox_guess_kind kind, uint32_t layer, const uint32_t *ids,
                     const float *weights, uint32_t n_rows)
{
    if (!st->cfg.look_ahead || layer >= st->cfg.n_layers) {
        return;
    }
    pthread_mutex_lock(&st->lock);
    chances(st, kind, layer, ids, weights, n_rows);
    float least = worth_a_read(st);
    for (uint32_t e = 0; e < st->cfg.n_experts; e++) {
        if (st->guess.chance[e] >= least) {
            mox_ahead_add(st, layer, e, st->guess.chance[e]);
        }
    }
    mox_ahead_issue(st);
    mox_files_wake(st);
    pthread_mutex_unlock(&st->lock);
}
