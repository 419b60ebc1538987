/* Spans in order. Lanes are independent; within one a span is inside another if it lies within its time, which a stack
 * finds out when they are sorted by beginning, the longer first. The step thread's lane is also the account of time: every
 * span counts for itself without what is inside it, and what lies between two steps counts as "other".
 */
#include "profiler/spans.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 64 };
#define IDLE_NS UINT64_C(50000000) /* a longer gap is somebody thinking, not a part of a token */

const char *mox_group_name(mox_span_group g)
{
    static const char *const names[] = {"attention and other dense parts",
                                        "computing experts",
                                        "waiting for experts",
                                        "waiting for devices",
                                        "look-ahead, finding, keeping",
                                        "sampling and text",
                                        "other"};
    return names[g];
}

mox_span_group mox_span_group_of(mox_span_kind kind)
{
    static const mox_span_group groups[] = {
#define X(name, text, group) MOX_GROUP_##group,
        MOX_SPANS(X)
#undef X
    };
    return groups[kind];
}

const char *mox_fate_name(mox_fate f)
{
    static const char *const names[] = {NULL, "used", "late", "wasted"};
    return names[f];
}

const char *mox_spans_lane(uint8_t lane, char out[32])
{
    if (lane == MOX_LANE_STEP || lane == MOX_LANE_IO) {
        snprintf(out, 32, lane == MOX_LANE_STEP ? "step thread" : "I/O thread");
    } else if (lane < MOX_LANE_DEVICE) {
        snprintf(out, 32, "read in flight %d", lane - MOX_LANE_READ + 1);
    } else {
        int device = lane - MOX_LANE_DEVICE;
        snprintf(out, 32, "device %d%s", device / 2, device % 2 ? ", link" : "");
    }
    return out;
}

static int by_lane_and_time(const void *a, const void *b)
{
    const mox_span_node *x = a, *y = b;
    if (x->s->lane != y->s->lane) {
        return x->s->lane < y->s->lane ? -1 : 1;
    }
    if (x->begin_ns != y->begin_ns) {
        return x->begin_ns < y->begin_ns ? -1 : 1;
    }
    return x->end_ns != y->end_ns ? (x->end_ns > y->end_ns ? -1 : 1) : x->s->kind - y->s->kind;
}

static void nest(mox_spans *s)
{
    mox_span_node *open[DEEPEST];
    uint32_t depth = 0;
    for (size_t i = 0; i < s->n; i++) {
        mox_span_node *n = &s->node[i];
        while (depth > 0 &&
               (open[depth - 1]->s->lane != n->s->lane || open[depth - 1]->end_ns <= n->begin_ns)) {
            depth--;
        }
        mox_span_node *parent = depth ? open[depth - 1] : NULL;
        if (parent && n->end_ns > parent->end_ns) {
            n->end_ns = parent->end_ns;
            s->n_cut++;
        }
        n->self_ns = n->end_ns - n->begin_ns;
        n->depth = depth;
        if (parent) {
            parent->self_ns -= n->self_ns;
        }
        if (depth < DEEPEST) {
            open[depth++] = n;
        }
    }
}

static void account(mox_spans *s)
{
    mox_span_times *t = &s->times;
    uint64_t last_end = 0;
    for (size_t i = 0; i < s->n && s->node[i].s->lane == MOX_LANE_STEP; i++) {
        const mox_span_node *n = &s->node[i];
        int phase = n->s->phase;
        t->group_s[phase][mox_span_group_of(n->s->kind)] += (double)n->self_ns * 1e-9;
        if (n->depth == 0) {
            uint64_t gap = n->begin_ns > last_end ? n->begin_ns - last_end : 0;
            t->group_s[phase][MOX_GROUP_OTHER] += last_end && gap < IDLE_NS ? (double)gap * 1e-9 : 0;
            last_end = n->end_ns;
        }
        if (n->s->kind == MOX_SPAN_STEP) {
            t->steps[phase]++;
            t->rows[phase] += n->s->amount;
        }
    }
    for (int p = 0; p < MOX_PHASES; p++) {
        for (int g = 0; g < MOX_GROUPS; g++) {
            t->total_s[p] += t->group_s[p][g];
        }
    }
}

/* When a layer's step asked for its experts, and which step that was. */
typedef struct asked {
    uint64_t at_ns;
    uint32_t step;
    uint16_t layer;
} asked;

static int by_layer_and_time(const void *a, const void *b)
{
    const asked *x = a, *y = b;
    if (x->layer != y->layer) {
        return x->layer < y->layer ? -1 : 1;
    }
    return x->at_ns < y->at_ns ? -1 : x->at_ns > y->at_ns;
}

static uint64_t use_key(uint32_t step, uint32_t layer, uint32_t expert, uint32_t tier)
{
    return (uint64_t)step << 34 | (uint64_t)(layer & 0x3FFF) << 18 | (uint64_t)expert << 2 | tier;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The first element that is not below `key`. */
static size_t lower(const uint64_t *a, size_t n, uint64_t key)
{
    size_t lo = 0;
    while (n > 0) {
        size_t half = n / 2;
        if (a[lo + half] < key) {
            lo += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return lo;
}

static const asked *next_asked(const asked *a, size_t n, uint16_t layer, uint64_t after_ns)
{
    const asked key = {.layer = layer, .at_ns = after_ns};
    size_t lo = 0;
    while (n > 0) {
        size_t half = n / 2;
        if (by_layer_and_time(&a[lo + half], &key) < 0) {
            lo += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return &a[lo]; /* the caller has one behind the last */
}

/* A read ahead belongs to the layer's next step: was its expert used there, and was it there by then? */
static mox_err judge(const mox_trace *t, mox_spans *s)
{
    asked *a = malloc((s->n + 1) * sizeof *a);
    uint64_t *use = malloc((t->n_uses + 1) * sizeof *use);
    size_t n_asked = 0;
    if (!a || !use) {
        free(a);
        free(use);
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for %zu spans", s->n);
    }
    for (size_t i = 0; i < s->n; i++) {
        const mox_span_node *n = &s->node[i];
        if (n->s->kind == MOX_SPAN_ROUTER) {
            a[n_asked++] = (asked){n->end_ns, n->s->step, n->s->layer};
        }
    }
    for (size_t i = 0; i < t->n_uses; i++) {
        const mox_trace_record *r = &t->uses[i];
        use[i] = use_key(r->step, r->layer, r->expert, r->phase_and_tier & 3);
    }
    qsort(a, n_asked, sizeof *a, by_layer_and_time);
    qsort(use, t->n_uses, sizeof *use, by_number);
    a[n_asked] = (asked){.layer = UINT16_MAX};
    for (size_t i = 0; i < s->n; i++) {
        mox_span_node *n = &s->node[i];
        if (n->s->kind != MOX_SPAN_READ || n->s->detail != MOX_SPAN_READ_AHEAD) {
            continue;
        }
        const asked *to = next_asked(a, n_asked, n->s->layer, n->begin_ns);
        if (to->layer != n->s->layer) { /* the run ended first */
            continue;
        }
        uint64_t key = use_key(to->step, n->s->layer, n->s->expert, 0);
        size_t at = lower(use, t->n_uses, key);
        bool used = at < t->n_uses && use[at] >> 2 == key >> 2;
        n->fate = !used ? MOX_FATE_WASTED : (use[at] & 3) >= MOX_SERVED_LATE ? MOX_FATE_LATE : MOX_FATE_USED;
        s->fates[n->fate]++;
    }
    free(a);
    free(use);
    return MOX_OK;
}

mox_err mox_spans_make(const mox_trace *t, mox_spans *out)
{
    mox_spans s = {.n = t->n_spans, .node = calloc(t->n_spans + 1, sizeof *s.node)};
    if (!s.node) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for %zu spans", t->n_spans);
    }
    for (size_t i = 0; i < s.n; i++) {
        const mox_trace_span *span = &t->spans[i];
        s.node[i] =
            (mox_span_node){.s = span, .begin_ns = span->begin_ns, .end_ns = span->begin_ns + span->ns};
    }
    qsort(s.node, s.n, sizeof *s.node, by_lane_and_time);
    nest(&s);
    account(&s);
    mox_err err = judge(t, &s);
    if (err != MOX_OK) {
        mox_spans_free(&s);
        return err;
    }
    *out = s;
    return MOX_OK;
}

void mox_spans_free(mox_spans *s)
{
    free(s->node);
    memset(s, 0, sizeof *s);
}
