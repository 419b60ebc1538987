/* Sampling. Candidates are ordered only as far as a filter needs it: top-k keeps the k best of one pass in a heap, and
 * for top-p a heap gives them best first, so that over a vocabulary of 150,000 it looks at the few hundred that carry the
 * probability. Greedy is a maximum and nothing else.
 */
#include "runtime/sample.h"

#include <math.h>

#define NOTHING (-746.0) /* exp of less is 0 */

static uint64_t splitmix64(uint64_t *x)
{
    uint64_t z = *x += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t v, unsigned k)
{
    return v << k | v >> (64 - k);
}

/* xoshiro256**: the top 53 bits as a number in [0, 1). */
static double draw(mox_sampler *s)
{
    uint64_t *t = s->state;
    uint64_t result = rotl(t[1] * 5, 7) * 9, shifted = t[1] << 17;
    t[2] ^= t[0];
    t[3] ^= t[1];
    t[1] ^= t[2];
    t[0] ^= t[3];
    t[2] ^= shifted;
    t[3] = rotl(t[3], 45);
    return (double)(result >> 11) * 0x1p-53;
}

/* Zero (not set) or lo..hi; false for NaN. */
static bool within(float v, float lo, float hi)
{
    return v == 0.0f || (v >= lo && v <= hi);
}

static mox_err check_penalties(const mox_sampling *c)
{
    if (!within(c->typical, 0.0f, 1.0f) || !within(c->repeat, 0.01f, 100.0f) ||
        !within(c->frequency, -2.0f, 2.0f) || !within(c->presence, -2.0f, 2.0f) ||
        c->n_recent > MOX_RECENT_MAX || c->n_bias > MOX_BIAS_MAX) {
        return MOX_FAIL(
            MOX_E_ARG,
            "sampling: typical %g, repeat %g, frequency %g, presence %g, over %u tokens, %u biases: must "
            "be in 0..1, 0.01..100, -2..2, -2..2, 0..%d, 0..%d",
            (double)c->typical, (double)c->repeat, (double)c->frequency, (double)c->presence, c->n_recent,
            c->n_bias, MOX_RECENT_MAX, MOX_BIAS_MAX);
    }
    for (uint32_t i = 0; i < c->n_bias; i++) {
        if (!within(c->bias[i].add, -1e4f, 1e4f)) {
            return MOX_FAIL(MOX_E_ARG, "sampling: bias %g for token %u: must be in -10000..10000",
                            (double)c->bias[i].add, c->bias[i].id);
        }
    }
    return MOX_OK;
}

mox_err mox_sampler_init(mox_sampler *s, const mox_sampling *cfg, mox_candidate *work)
{
    if (!(cfg->temp >= 0.0f) || isinf(cfg->temp) || !(cfg->top_p > 0.0f && cfg->top_p <= 1.0f) ||
        !(cfg->min_p >= 0.0f && cfg->min_p <= 1.0f)) {
        return MOX_FAIL(MOX_E_ARG,
                        "sampling: temperature %g, top-p %g, min-p %g: must be >= 0, in (0, 1], "
                        "in [0, 1]",
                        (double)cfg->temp, (double)cfg->top_p, (double)cfg->min_p);
    }
    MOX_TRY(check_penalties(cfg));
    *s = (mox_sampler){.cfg = *cfg, .work = work};
    s->cfg.n_recent = cfg->n_recent ? cfg->n_recent : 64;
    uint64_t seed = cfg->seed;
    for (int i = 0; i < 4; i++) {
        s->state[i] = splitmix64(&seed);
    }
    return MOX_OK;
}

void mox_sampler_saw(mox_sampler *s, uint32_t id)
{
    s->recent[s->next] = id;
    s->next = (s->next + 1) % s->cfg.n_recent;
    s->n_recent += s->n_recent < s->cfg.n_recent;
}

/* Does anything but the logits themselves decide? */
static bool adjusts(const mox_sampling *c)
{
    return c->n_bias || c->frequency != 0.0f || c->presence != 0.0f ||
           (c->repeat != 0.0f && c->repeat != 1.0f);
}

static void penalise(const mox_sampling *c, uint32_t uses, float *logit)
{
    if (c->repeat != 0.0f) {
        *logit = *logit > 0.0f ? *logit / c->repeat : *logit * c->repeat;
    }
    *logit -= (float)uses * c->frequency + c->presence;
}

/* Bias and penalties, on s->work in order of ids. */
static void adjust(mox_sampler *s, uint32_t n_vocab)
{
    const mox_sampling *c = &s->cfg;
    for (uint32_t i = 0; i < c->n_bias; i++) {
        if (c->bias[i].id < n_vocab) {
            s->work[c->bias[i].id].logit += c->bias[i].add;
        }
    }
    for (uint32_t i = 0; i < s->n_recent; i++) {
        uint32_t id = s->recent[i], uses = 1;
        bool first = id < n_vocab;
        for (uint32_t k = 0; k < i && first; k++) {
            first = s->recent[k] != id;
        }
        for (uint32_t k = i + 1; k < s->n_recent && first; k++) {
            uses += s->recent[k] == id;
        }
        if (first) {
            penalise(c, uses, &s->work[id].logit);
        }
    }
}

/* In lanes, which compilers turn into vectors; logits are numbers, the graph has seen to that. */
static float highest(const float *logits, uint32_t n)
{
    enum { LANES = 16 };
    float lane[LANES], top;
    uint32_t i = 0;
    for (uint32_t k = 0; k < LANES; k++) {
        lane[k] = -INFINITY;
    }
    for (; i + LANES <= n; i += LANES) {
        for (uint32_t k = 0; k < LANES; k++) {
            lane[k] = logits[i + k] > lane[k] ? logits[i + k] : lane[k];
        }
    }
    top = lane[0];
    for (uint32_t k = 1; k < LANES; k++) {
        top = lane[k] > top ? lane[k] : top;
    }
    for (; i < n; i++) {
        top = logits[i] > top ? logits[i] : top;
    }
    return top;
}

static uint32_t greedy(const float *logits, uint32_t n)
{
    float top = highest(logits, n);
    uint32_t i = 0;
    while (i + 1 < n && logits[i] != top) {
        i++;
    }
    return i;
}

static bool better(const mox_candidate *a, const mox_candidate *b)
{
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static bool worse(const mox_candidate *a, const mox_candidate *b)
{
    return better(b, a);
}

static inline void sift(mox_candidate *h, uint32_t i, uint32_t n,
                        bool (*above)(const mox_candidate *, const mox_candidate *))
{
    for (;;) {
        uint32_t best = i, l = 2 * i + 1, r = l + 1;
        best = l < n && above(&h[l], &h[best]) ? l : best;
        best = r < n && above(&h[r], &h[best]) ? r : best;
        if (best == i) {
            return;
        }
        mox_candidate t = h[i];
        h[i] = h[best];
        h[best] = t;
        i = best;
    }
}

static void sift_down(mox_candidate *h, uint32_t i, uint32_t n)
{
    sift(h, i, n, better);
}

static void sift_worst(mox_candidate *h, uint32_t i, uint32_t n)
{
    sift(h, i, n, worse);
}

static void make_heap(mox_candidate *h, uint32_t n)
{
    for (uint32_t i = n / 2; i-- > 0;) {
        sift_down(h, i, n);
    }
}

/* Move the best of the heap h[0..*n) behind it; repeated, this leaves the best at the highest index. */
static mox_candidate *pop(mox_candidate *h, uint32_t *n)
{
    uint32_t last = --*n;
    mox_candidate t = h[0];
    h[0] = h[last];
    h[last] = t;
    sift_down(h, 0, last);
    return &h[last];
}

/* The k best of n, the best last, from the candidates or, if nothing was adjusted, from the logits themselves. One pass:
 * a heap of the k best so far has the worst of them on top, and most candidates do not beat it. */
static void keep_top(mox_candidate *c, const float *logits, uint32_t n, uint32_t k)
{
    for (uint32_t i = 0; i < k; i++) {
        c[i] = logits ? (mox_candidate){.logit = logits[i], .id = i} : c[i];
    }
    for (uint32_t i = k / 2; i-- > 0;) {
        sift_worst(c, i, k);
    }
    for (uint32_t i = k; i < n; i++) {
        float logit = logits ? logits[i] : c[i].logit;
        if (logit > c[0].logit) { /* an equal one has a higher id than all that are here */
            c[0] = (mox_candidate){.logit = logit, .id = i};
            sift_worst(c, 0, k);
        }
    }
    for (uint32_t left = k; left > 1;) { /* the worst to the end, so the best comes first ... */
        mox_candidate t = c[0];
        c[0] = c[--left];
        c[left] = t;
        sift_worst(c, 0, left);
    }
    for (uint32_t i = 0; i < k / 2; i++) { /* ... and then last */
        mox_candidate t = c[i];
        c[i] = c[k - 1 - i];
        c[k - 1 - i] = t;
    }
}

/* Probabilities up to a factor (the best has 1), and their sum over the candidates. Below `least` they are 0, and exp is
 * not asked. */
static double weigh(mox_candidate *c, uint32_t n, double top, double temp, double least)
{
    double sum = 0.0, floor = least > 0.0 ? log(least) - 1e-6 : NOTHING;
    for (uint32_t i = n; i-- > 0;) {
        double x = ((double)c[i].logit - top) / temp;
        c[i].p = x < floor ? 0.0 : exp(x);
        sum += c[i].p;
    }
    return sum;
}

/* Top-k and top-p: the survivors are the last *count of the candidates returned, best last where a filter had to order
 * them. logits: NULL where the candidates have them. */
static mox_candidate *filter(mox_sampler *s, const float *logits, uint32_t n, uint32_t *count)
{
    mox_candidate *c = s->work;
    const mox_sampling *cfg = &s->cfg;
    uint32_t k = cfg->top_k && cfg->top_k < n ? cfg->top_k : n;
    double top;
    if (k < n) {
        keep_top(c, logits, n, k);
        top = c[k - 1].logit;
    } else {
        top = c[0].logit;
        for (uint32_t i = 1; i < n; i++) {
            top = c[i].logit > top ? c[i].logit : top;
        }
    }
    /* min-p alone decides what is looked at again: what it refuses needs no probability */
    bool alone = cfg->top_p == 1.0f && !(cfg->typical > 0.0f && cfg->typical < 1.0f);
    double sum = weigh(c, k, top, cfg->temp, alone ? cfg->min_p : 0.0);
    *count = k;
    if (cfg->top_p < 1.0f) {
        double mass = 0.0;
        uint32_t heap = n;
        if (k == n) {
            make_heap(c, n);
        }
        /* the least set of best candidates that holds top_p of the mass */
        for (*count = 0; *count < k && mass < (double)cfg->top_p * sum; ++*count) {
            mass += k == n ? pop(c, &heap)->p : c[k - 1 - *count].p;
        }
    }
    return c + k - *count;
}

/* Locally typical sampling (arXiv 2202.00666): the tokens whose surprise is nearest to its mean, as many as hold
 * `typical` of the mass. Orders by logit no more, so it comes after the filters that do. */
static mox_candidate *typical(mox_candidate *c, uint32_t *count, double share)
{
    double sum = 0.0, entropy = 0.0, mass = 0.0;
    for (uint32_t i = 0; i < *count; i++) {
        sum += c[i].p;
    }
    for (uint32_t i = 0; i < *count; i++) {
        double q = c[i].p / sum;
        entropy -= q > 0.0 ? q * log(q) : 0.0;
    }
    for (uint32_t i = 0; i < *count; i++) {
        double q = c[i].p / sum;
        c[i].logit = q > 0.0 ? (float)-fabs(-log(q) - entropy) : -INFINITY;
    }
    uint32_t heap = *count, kept = 0;
    make_heap(c, *count);
    while (heap > 0 && mass < share * sum) {
        mass += pop(c, &heap)->p;
        kept++;
    }
    c += *count - kept;
    *count = kept;
    return c;
}

static uint32_t greedy_adjusted(const mox_candidate *c, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++) {
        best = c[i].logit > c[best].logit ? i : best;
    }
    return best;
}

uint32_t mox_sample(mox_sampler *s, const float *logits, uint32_t n_vocab)
{
    bool adjusted = adjusts(&s->cfg);
    if (s->cfg.temp == 0.0f && !adjusted) {
        return greedy(logits, n_vocab);
    }
    bool direct = !adjusted && s->cfg.top_k && s->cfg.top_k < n_vocab;
    for (uint32_t i = 0; i < n_vocab && !direct; i++) {
        s->work[i] = (mox_candidate){.logit = logits[i], .id = i};
    }
    if (adjusted) {
        adjust(s, n_vocab);
    }
    if (s->cfg.temp == 0.0f) {
        return greedy_adjusted(s->work, n_vocab);
    }
    uint32_t n;
    mox_candidate *c = filter(s, direct ? logits : NULL, n_vocab, &n);
    if (s->cfg.typical > 0.0f && s->cfg.typical < 1.0f) {
        c = typical(c, &n, s->cfg.typical);
    }
    /* min-p compares with the best, whose p is 1 */
    double least = s->cfg.min_p, sum = 0.0;
    for (uint32_t i = n; i-- > 0;) {
        sum += c[i].p >= least ? c[i].p : 0.0;
    }
    double u = draw(s) * sum;
    uint32_t chosen = c[n - 1].id;
    for (uint32_t i = n; i-- > 0;) {
        if (c[i].p >= least) {
            chosen = c[i].id;
            u -= c[i].p;
            if (u < 0.0) {
                break;
            }
        }
    }
    return chosen;
}
