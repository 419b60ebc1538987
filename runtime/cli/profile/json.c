/* profile.json: everything that a report says, in base units. The page draws itself from it, so what it shows of times is
 * bounded: steps are put together into at most STEPS_MAX, and spans are listed for two steps, the one that waited longest
 * and one in the middle.
 */
#include "runtime/cli/profile/find.h"
#include "runtime/cli/profile/write.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 1500, SHOWN_MAX = 6000 };

static const char *const phases[] = {"prompt", "answer"}, *const tiers[] = {"vram", "ram", "late", "file"};

/* Rates, and of how many pairs they are shares: docs/hit-rates.md. */
static void point_json(const mox_profile *p, mox_json *j, mox_profile_point at)
{
    for (int k = 0; k < MOX_STUDY_POLICIES; k++) {
        mox_json_f64(j, mox_study_name(k), at.rate[k]);
    }
    mox_json_object(j, "served");
    for (int k = 0; k < MOX_STUDY_POLICIES; k++) {
        mox_json_u64(j, mox_study_name(k), at.served[k]);
    }
    mox_json_object_end(j);
    if (p->has_model) {
        mox_json_f64(j, "tok_s", at.tok_s);
    }
}

static void policies_json(const mox_profile *p, mox_json *j)
{
    uint32_t together;
    int64_t one_list = mox_profile_one_list(p, &together);
    mox_json_object(j, "policies");
    point_json(p, j, mox_profile_at(p, p->kept));
    mox_json_object_end(j);
    mox_json_object(j, "by_phase");
    for (int phase = 0; phase < MOX_PHASES; phase++) {
        mox_json_object(j, phases[phase]);
        mox_json_u64(j, "pairs", p->study.pairs[phase]);
        for (int k = 0; k < MOX_STUDY_POLICIES; k++) {
            mox_json_u64(j, mox_study_name(k), mox_study_served(&p->study, (mox_phase)phase, k, p->kept));
        }
        mox_json_object_end(j);
    }
    mox_json_object_end(j);
    if (one_list >= 0) {
        mox_json_object(j, "one_list");
        mox_json_u64(j, "kept", together);
        mox_json_u64(j, "served", (uint64_t)one_list);
        mox_json_object_end(j);
    }
}

static void curve_json(const mox_profile *p, mox_json *j)
{
    mox_json_array(j, "curve");
    for (uint32_t q = 0; q <= p->routing.h.n_experts; q++) {
        mox_profile_point at = mox_profile_even(p, q);
        mox_json_object(j, NULL);
        mox_json_u64(j, "kept", q);
        mox_json_f64(j, "bytes", at.bytes);
        point_json(p, j, at);
        if (p->spans.n) {
            mox_json_f64(j, "tok_s_measured", mox_profile_estimate(p, at.rate[MOX_STUDY_DLFU]));
        }
        mox_json_object_end(j);
    }
    mox_json_array_end(j);
}

static void contexts_json(const mox_profile *p, mox_json *j)
{
    mox_profile_ctx ctx[MOX_PROFILE_CTX];
    uint32_t n = mox_profile_contexts(p, ctx);
    mox_json_array(j, "contexts");
    for (uint32_t i = 0; i < n; i++) {
        mox_json_object(j, NULL);
        mox_json_u64(j, "ctx", ctx[i].n_ctx);
        mox_json_bool(j, "fits", ctx[i].fits);
        mox_json_u64(j, "experts", ctx[i].n_fast);
        mox_json_f64(j, "tok_s", ctx[i].tok_s);
        mox_json_object_end(j);
    }
    mox_json_array_end(j);
}

static void tier_json(const mox_profile *p, mox_json *j)
{
    if (!p->has_vram) {
        return;
    }
    mox_profile_tier t = mox_profile_tier_at(p, p->vram, p->ram);
    uint64_t n = p->routing.n_tokens[p->study.phase];
    double uses = t.uses ? (double)t.uses : 1, tokens = n ? (double)n : 1;
    mox_json_object(j, "vram_tier");
    mox_json_f64(j, "vram_per_layer", mox_profile_mean(p, p->vram));
    mox_json_f64(j, "ram_per_layer", mox_profile_mean(p, p->ram));
    mox_json_f64(j, "vram", (double)t.vram / uses);
    mox_json_f64(j, "ram", (double)t.ram / uses);
    mox_json_f64(j, "moves_per_token", (double)t.moves / tokens);
    mox_json_f64(j, "vram_always_admitting", (double)t.always_vram / uses);
    mox_json_f64(j, "moves_per_token_always_admitting", (double)t.always_moves / tokens);
    mox_json_f64(j, "vram_best", (double)t.best_vram / uses);
    mox_json_f64(j, "tok_s", t.tok_s);
    mox_json_object(j, "counts"); /* what these are shares of, and of how many */
    mox_json_u64(j, "uses", t.uses);
    mox_json_u64(j, "vram", t.vram);
    mox_json_u64(j, "ram", t.ram);
    mox_json_u64(j, "moves", t.moves);
    mox_json_u64(j, "always", t.always_vram);
    mox_json_u64(j, "always_moves", t.always_moves);
    mox_json_u64(j, "best", t.best_vram);
    mox_json_object_end(j);
    for (int in_ram = 0; in_ram < 2; in_ram++) {
        mox_json_array(j, in_ram ? "over_ram" : "over_vram");
        for (uint32_t q = 0; q <= p->routing.h.n_experts; q++) {
            t = mox_profile_tier_even(p, in_ram, q);
            mox_json_object(j, NULL);
            mox_json_u64(j, "kept", q);
            mox_json_u64(j, "vram", t.vram);
            mox_json_u64(j, "ram", t.ram);
            mox_json_u64(j, "moves", t.moves);
            mox_json_f64(j, "tok_s", t.tok_s);
            mox_json_object_end(j);
        }
        mox_json_array_end(j);
    }
    mox_json_object_end(j);
}

static void layers_json(const mox_profile *p, mox_json *j)
{
    uint32_t n = p->routing.h.n_experts;
    mox_json_array(j, "layers");
    for (uint32_t l = 0; l < p->routing.h.n_layers; l++) {
        const mox_layer_figures *f = &p->study.layers[l];
        mox_json_object(j, NULL);
        mox_json_u64(j, "kept", p->kept[l]);
        mox_json_u64(j, "uses", f->uses);
        mox_json_f64(j, "entropy_bits", f->entropy_bits);
        mox_json_f64(j, "cover_10", f->cover[0]);
        mox_json_f64(j, "cover_25", f->cover[1]);
        mox_json_f64(j, "cover_50", f->cover[2]);
        mox_json_u64(j, "dead", f->dead);
        mox_json_f64(j, "balance", f->balance);
        mox_json_f64(j, "variation", f->variation);
        for (int away = 0; away < 2; away++) {
            const uint64_t *count = (away ? p->study.away : p->study.count) + (size_t)l * n;
            mox_json_array(j, away ? "away_by_expert" : "uses_by_expert");
            for (uint32_t e = 0; e < n; e++) {
                mox_json_u64(j, NULL, count[e]);
            }
            mox_json_array_end(j);
        }
        mox_json_object_end(j);
    }
    mox_json_array_end(j);
}

static void served_json(const mox_profile *p, mox_json *j)
{
    mox_json_object(j, "served");
    for (int phase = 0; phase < MOX_PHASES; phase++) {
        mox_json_object(j, phases[phase]);
        mox_json_u64(j, "tokens", p->routing.n_tokens[phase]);
        mox_json_u64(j, "uses", p->routing.n_uses[phase]);
        for (int t = 0; t < 4; t++) {
            mox_json_u64(j, tiers[t], p->routing.served[phase][t]);
        }
        mox_json_object_end(j);
    }
    mox_json_object_end(j);
}

static void time_json(const mox_profile *p, mox_json *j)
{
    const mox_cost *c = &p->view.p.token;
    mox_json_object(j, "predicted");
    mox_json_string(j, "source", "predicted, docs/cost-model.md");
    mox_json_string(j, "machine", p->plan.machine_name);
    mox_json_f64(j, "token_seconds", c->total_s);
    mox_json_array(j, "parts");
    for (int k = 0; k < MOX_PARTS; k++) {
        mox_json_object(j, NULL);
        mox_json_string(j, "name", mox_part_name((mox_part)k, &p->plan.machine, p->view.p.ways.best));
        mox_json_f64(j, "seconds", c->part_s[k]);
        mox_json_object_end(j);
    }
    mox_json_array_end(j);
    mox_json_object_end(j);
}

/* Where the step thread's time went. */
static void measured_json(const mox_profile *p, mox_json *j)
{
    const mox_span_times *t = &p->spans.times;
    mox_json_object(j, "measured");
    for (int phase = 0; phase < MOX_PHASES; phase++) {
        mox_json_object(j, phases[phase]);
        mox_json_u64(j, "tokens", t->rows[phase]);
        mox_json_u64(j, "steps", t->steps[phase]);
        mox_json_f64(j, "seconds", t->total_s[phase]);
        mox_json_array(j, "parts");
        for (int g = 0; g < MOX_GROUPS; g++) {
            mox_json_object(j, NULL);
            mox_json_string(j, "name", mox_group_name((mox_span_group)g));
            mox_json_f64(j, "seconds", t->group_s[phase][g]);
            mox_json_object_end(j);
        }
        mox_json_array_end(j);
        mox_json_object_end(j);
    }
    mox_json_object(j, "ahead");
    for (int f = MOX_FATE_USED; f < MOX_FATES; f++) {
        mox_json_u64(j, mox_fate_name((mox_fate)f), p->spans.fates[f]);
    }
    mox_json_object_end(j);
    mox_json_object_end(j);
}

typedef struct bucket {
    double begin_s, busy_s, wait_s;
    uint32_t steps, rows;
    uint8_t phase;
} bucket;

/* One row per step: begin, its time, the wait in it, tokens, phase; several steps in a row where there are many. */
static void steps_json(const mox_profile *p, mox_json *j)
{
    const mox_span_times *t = &p->spans.times;
    uint64_t n = t->steps[0] + t->steps[1], together = n / STEPS_MAX + 1;
    bucket b = {0};
    mox_json_array(j, "steps");
    for (size_t i = 0; i <= p->spans.n; i++) {
        const mox_span_node *s = i < p->spans.n ? &p->spans.node[i] : NULL;
        bool end = !s || s->s->lane != MOX_LANE_STEP;
        bool step = !end && s->s->kind == MOX_SPAN_STEP;
        if (b.steps && (end || (step && (b.steps == together || b.phase != s->s->phase)))) {
            mox_json_array(j, NULL);
            mox_json_f64(j, NULL, b.begin_s);
            mox_json_f64(j, NULL, b.busy_s);
            mox_json_f64(j, NULL, b.wait_s);
            mox_json_u64(j, NULL, b.rows);
            mox_json_u64(j, NULL, b.phase);
            mox_json_array_end(j);
            b = (bucket){0};
        }
        if (end) {
            break;
        }
        if (step) {
            b.begin_s = b.steps ? b.begin_s : (double)s->begin_ns * 1e-9;
            b.busy_s += (double)(s->end_ns - s->begin_ns) * 1e-9;
            b.rows += s->s->amount;
            b.phase = s->s->phase;
            b.steps++;
        } else if (s->s->kind == MOX_SPAN_WAIT && b.steps) {
            b.wait_s += (double)s->self_ns * 1e-9;
        }
    }
    mox_json_array_end(j);
}

static void stalls_json(const mox_profile *p, mox_json *j)
{
    mox_profile_stall stall[MOX_PROFILE_STALLS];
    uint32_t n = mox_profile_stalls(p, stall);
    mox_json_array(j, "stalls");
    for (uint32_t i = 0; i < n; i++) {
        mox_json_object(j, NULL);
        mox_json_f64(j, "at_seconds", stall[i].at_s);
        mox_json_f64(j, "seconds", stall[i].wait_s);
        mox_json_u64(j, "step", stall[i].step);
        mox_json_u64(j, "layer", stall[i].layer);
        mox_json_string(j, "phase", stall[i].phase == MOX_PHASE_DECODE ? "answer" : "prompt");
        mox_json_u64(j, "bytes", stall[i].bytes);
        mox_json_object_end(j);
    }
    mox_json_array_end(j);
}

/* Lanes during one step: rows of kind, begin, duration (microseconds from the step's), layer, expert or -1, detail. */
static void step_lanes(const mox_profile *p, mox_json *j, const char *title, const mox_span_node *step)
{
    uint32_t shown = 0;
    char name[32];
    mox_json_object(j, NULL);
    mox_json_string(j, "title", title);
    mox_json_u64(j, "step", step->s->step);
    mox_json_f64(j, "us", (double)(step->end_ns - step->begin_ns) * 1e-3);
    mox_json_array(j, "lanes");
    for (size_t i = 0; i < p->spans.n;) {
        uint8_t lane = p->spans.node[i].s->lane;
        bool open = false;
        for (; i < p->spans.n && p->spans.node[i].s->lane == lane; i++) {
            const mox_span_node *n = &p->spans.node[i];
            if (n->begin_ns >= step->end_ns || n->end_ns <= step->begin_ns || n->s->kind == MOX_SPAN_STEP ||
                shown == SHOWN_MAX) {
                continue;
            }
            if (!open) {
                open = true;
                mox_json_object(j, NULL);
                mox_json_string(j, "name", mox_spans_lane(lane, name));
                mox_json_array(j, "spans");
            }
            shown++;
            mox_json_array(j, NULL);
            mox_json_u64(j, NULL, n->s->kind);
            mox_json_f64(j, NULL, ((double)n->begin_ns - (double)step->begin_ns) * 1e-3);
            mox_json_f64(j, NULL, (double)(n->end_ns - n->begin_ns) * 1e-3);
            mox_json_u64(j, NULL, n->s->layer);
            mox_json_i64(j, NULL, n->s->expert == MOX_SPAN_NO_EXPERT ? -1 : (int64_t)n->s->expert);
            mox_json_string(j, NULL,
                            n->fate != MOX_FATE_NONE               ? mox_fate_name(n->fate)
                            : n->s->kind != MOX_SPAN_READ          ? NULL
                            : n->s->detail == MOX_SPAN_READ_DEMAND ? "demand"
                                                                   : "ahead");
            mox_json_array_end(j);
        }
        if (open) {
            mox_json_array_end(j);
            mox_json_object_end(j);
        }
    }
    mox_json_array_end(j);
    mox_json_object_end(j);
}

static int by_length(const void *a, const void *b)
{
    const mox_span_node *x = *(const mox_span_node *const *)a, *y = *(const mox_span_node *const *)b;
    uint64_t p = x->end_ns - x->begin_ns, q = y->end_ns - y->begin_ns;
    return p < q ? -1 : p > q;
}

static void lanes_json(const mox_profile *p, mox_json *j)
{
    const mox_span_node **step = calloc(p->spans.n + 1, sizeof(mox_span_node *));
    size_t n = 0;
    mox_json_array(j, "kinds");
    for (int k = 0; k < MOX_SPAN_KINDS; k++) {
        mox_json_string(j, NULL, mox_span_name((mox_span_kind)k));
    }
    mox_json_array_end(j);
    for (size_t i = 0; step && i < p->spans.n; i++) {
        const mox_span_node *s = &p->spans.node[i];
        if (s->s->kind == MOX_SPAN_STEP && s->s->phase == p->study.phase) {
            step[n++] = s;
        }
    }
    mox_json_array(j, "lanes");
    if (n > 0) {
        qsort(step, n, sizeof *step, by_length);
        step_lanes(p, j, "the step in the middle", step[n / 2]);
        step_lanes(p, j, "the longest step", step[n - 1]);
    }
    mox_json_array_end(j);
    free(step);
}

static void run_json(const mox_profile *p, mox_json *j)
{
    const char *line = p->routing.trace.info;
    mox_json_object(j, "run");
    while (line && *line) {
        char key[32];
        size_t n = strcspn(line, "\n"), space = strcspn(line, " \n");
        if (space < n && space < sizeof key) {
            memcpy(key, line, space);
            key[space] = '\0';
            mox_json_string_n(j, key, line + space + 1, n - space - 1);
        }
        line += n + (line[n] == '\n');
    }
    mox_json_object_end(j);
}

static void trust_json(const mox_profile *p, mox_json *j)
{
    mox_profile_trust t = mox_profile_trust_of(p);
    const mox_trace *trace = &p->routing.trace;
    mox_json_object(j, "trust");
    mox_json_f64(j, "interval_95", t.interval);
    mox_json_f64(j, "first_half", t.half[0]);
    mox_json_f64(j, "second_half", t.half[1]);
    mox_json_bool(j, "whole", trace->whole);
    mox_json_u64(j, "dropped_uses", trace->end.dropped_uses);
    mox_json_u64(j, "dropped_spans", trace->end.dropped_spans);
    mox_json_u64(j, "spans_cut", p->spans.n_cut);
    if (t.record_share >= 0) {
        mox_json_f64(j, "record_share", t.record_share);
    }
    if (p->spans.n) {
        mox_json_f64(j, "measured_tok_s", mox_profile_measured(p));
    }
    if (p->has_model) {
        mox_json_f64(j, "predicted_tok_s", p->view.p.decode_tok_s);
        mox_json_bool(j, "predicted_elsewhere", mox_profile_elsewhere(p));
    }
    mox_json_object_end(j);
}

void mox_profile_json(const mox_profile *p, mox_json *j)
{
    mox_plan_change change[MOX_PLAN_CHANGES];
    uint32_t n = mox_profile_changes(p, change);
    mox_json_object(j, NULL);
    mox_json_string(j, "schema", "moxie.profile/1");
    mox_json_string(j, "trace", p->trace);
    mox_json_string(j, "model", p->o->model);
    run_json(p, j);
    mox_json_u64(j, "n_layers", p->routing.h.n_layers);
    mox_json_u64(j, "n_experts", p->routing.h.n_experts);
    mox_json_u64(j, "top_k", p->routing.h.top_k);
    mox_json_string(j, "phase", p->study.phase == MOX_PHASE_DECODE ? "answer" : "prompt");
    served_json(p, j);
    mox_json_f64(j, "actual", p->actual);
    mox_json_f64(j, "kept_mean", mox_profile_mean(p, p->kept));
    mox_json_bool(j, "kept_guessed", p->kept_guessed);
    mox_json_bool(j, "kept_in_vram", p->kept_in_vram);
    policies_json(p, j);
    mox_json_u64(j, "knee", mox_profile_knee(p));
    curve_json(p, j);
    contexts_json(p, j);
    tier_json(p, j);
    layers_json(p, j);
    if (p->has_model) {
        time_json(p, j);
    }
    if (p->spans.n) {
        measured_json(p, j);
        steps_json(p, j);
        stalls_json(p, j);
        lanes_json(p, j);
    }
    mox_json_array(j, "changes");
    for (uint32_t i = 0; i < n; i++) {
        mox_json_object(j, NULL);
        mox_json_string(j, "options", change[i].options);
        mox_json_string(j, "command", change[i].command);
        mox_json_f64(j, "decode_tok_s", change[i].decode_tok_s);
        mox_json_object_end(j);
    }
    mox_json_array_end(j);
    trust_json(p, j);
    mox_json_object_end(j);
}
