/* See replay.h. A token is a run of records with one step, sequence and position in each of its layers; records of a step
 * come layer by layer, so its tokens are found again in every layer by their order. */
#include "runtime/graph/replay.h"

#include "profiler/trace.h"

#include <stdlib.h>
#include <string.h>

/* A step's records: layer by layer, in each of them its rows in one order, in each row its ranks. Returns how many records
 * were used, 0: the step is not whole. */
static size_t take_step(mox_replay_of_run *r, const mox_trace_record *t, size_t n)
{
    const mox_replay_shape *s = &r->shape;
    size_t per_layer = 0;
    while (per_layer < n && t[per_layer].step == t->step && t[per_layer].layer == 0) {
        per_layer++;
    }
    size_t rows = per_layer / s->top_k;
    if (rows == 0 || per_layer % s->top_k != 0 || per_layer > n / s->n_layers) {
        return 0;
    }
    for (size_t i = 0; i < per_layer * s->n_layers; i++) {
        size_t layer = i / per_layer, row = i % per_layer / s->top_k, rank = i % s->top_k;
        if (t[i].step != t->step || t[i].layer != layer || t[i].rank != rank) {
            return 0;
        }
        r->experts[((r->n_tokens + row) * s->n_layers + layer) * s->top_k + rank] = t[i].expert;
    }
    r->n_tokens += (uint32_t)rows;
    return per_layer * s->n_layers;
}

static mox_err take_all(mox_replay_of_run *r, const char *path, const mox_trace_record *records, size_t n)
{
    r->experts = malloc((n + 1) * sizeof *r->experts);
    if (!r->experts) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "replay: no memory for %zu recorded choices", n);
    }
    for (size_t at = 0; at < n;) {
        size_t used = take_step(r, records + at, n - at);
        if (used == 0) {
            return MOX_FAIL(MOX_E_FORMAT,
                            "replay: %.200s: the step of record %zu does not have all its layers", path, at);
        }
        at += used;
    }
    return r->n_tokens > 0 ? MOX_OK : MOX_FAIL(MOX_E_FORMAT, "replay: %.200s has no token", path);
}

mox_err mox_replay_open(mox_replay_of_run *out, const char *path, mox_replay_shape shape)
{
    mox_trace t;
    mox_replay_of_run r = {.shape = shape};
    MOX_TRY(mox_trace_read(path, &t));
    const mox_trace_header h = t.header;
    mox_err err = MOX_OK;
    if (h.n_layers != shape.n_layers || h.n_experts > shape.n_experts || h.top_k != shape.top_k) {
        err = MOX_FAIL(MOX_E_CONFLICT,
                       "replay: %.200s was recorded with %u layers of %u experts, top %u; the model has %u "
                       "of %u, top %u",
                       path, h.n_layers, h.n_experts, h.top_k, shape.n_layers, shape.n_experts, shape.top_k);
    } else {
        err = take_all(&r, path, t.uses, t.n_uses);
    }
    mox_trace_free(&t);
    if (err != MOX_OK) {
        free(r.experts);
        return err;
    }
    *out = r;
    return MOX_OK;
}

void mox_replay_close(mox_replay_of_run *r)
{
    free(r->experts);
    memset(r, 0, sizeof *r);
}

void mox_replay_route(mox_replay_of_run *r, uint32_t layer, uint32_t n, uint32_t *ids)
{
    const mox_replay_shape *s = &r->shape;
    for (uint32_t i = 0; i < n; i++) {
        size_t token = ((uint64_t)r->at + i) % r->n_tokens;
        for (uint32_t k = 0; k < s->top_k; k++) {
            ids[(size_t)i * s->top_k + k] = r->experts[(token * s->n_layers + layer) * s->top_k + k];
        }
    }
    if (layer + 1 == s->n_layers) {
        r->at = (uint32_t)(((uint64_t)r->at + n) % r->n_tokens);
    }
}
