/* moxie profile diff: two runs of one model: which settings differ, where the time went, who was found where, and which
 * layers changed most. Runs of two models have nothing to compare; runs on two machines are compared, and it is said.
 */
#include "profiler/report/json.h"
#include "runtime/cli/profile/cmd.h"
#include "runtime/cli/profile/profile.h"
#include "runtime/cli/ui.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORST = 5 };

typedef struct side {
    char path[4096];
    const char *name;
    mox_routing r;
    mox_spans s;
} side;

static const char *const keys[] = {"machine",    "device",      "io",   "policy",    "look_ahead", "verify",
                                   "fill_order", "threads",     "ctx",  "sequences", "batch",      "kv",
                                   "act",        "total_bytes", "kept", "vram_kept"};
enum { KEYS = sizeof keys / sizeof *keys };

static mox_err open_side(side *a, const char *word)
{
    a->name = mox_profile_trace(word, a->path);
    MOX_TRY(mox_profile_read(a->name, &a->r));
    return mox_spans_make(&a->r.trace, &a->s);
}

static mox_err same_model(const side *a, const side *b)
{
    const mox_trace_header *x = &a->r.h, *y = &b->r.h;
    if (x->n_layers != y->n_layers || x->n_experts != y->n_experts || x->top_k != y->top_k) {
        return MOX_FAIL(
            MOX_E_FORMAT,
            "%.150s and %.150s are of two models: %u layers of %u experts, top %u; %u of %u, top %u", a->name,
            b->name, x->n_layers, x->n_experts, x->top_k, y->n_layers, y->n_experts, y->top_k);
    }
    if (x->model_id && y->model_id && x->model_id != y->model_id) {
        return MOX_FAIL(MOX_E_FORMAT,
                        "%.150s and %.150s are of two models: their files differ (%016llx, %016llx)", a->name,
                        b->name, (unsigned long long)x->model_id, (unsigned long long)y->model_id);
    }
    return MOX_OK;
}

static double resident(const side *a, int phase)
{
    const uint64_t *s = a->r.served[phase];
    return a->r.n_uses[phase] ? (double)(s[MOX_SERVED_VRAM] + s[MOX_SERVED_RAM]) / (double)a->r.n_uses[phase]
                              : 0;
}

static double speed(const side *a, int phase)
{
    return a->s.times.total_s[phase] > 0 ? (double)a->s.times.rows[phase] / a->s.times.total_s[phase] : 0;
}

/* Seconds of a group for one token. */
static double part(const side *a, int phase, int group)
{
    uint64_t rows = a->s.times.rows[phase];
    return rows ? a->s.times.group_s[phase][group] / (double)rows : 0;
}

/* Of each layer, the share of the phase's uses that were resident. */
static void layer_rates(const side *a, int phase, double *rate)
{
    uint64_t uses[MOX_PLAN_MAX_LAYERS] = {0}, there[MOX_PLAN_MAX_LAYERS] = {0};
    for (size_t i = 0; i < a->r.n_records; i++) {
        const mox_trace_record *t = &a->r.records[i];
        if (t->phase_and_tier >> 4 == phase) {
            uses[t->layer]++;
            there[t->layer] += (t->phase_and_tier & 15) <= MOX_SERVED_RAM;
        }
    }
    for (uint32_t l = 0; l < a->r.h.n_layers; l++) {
        rate[l] = uses[l] ? (double)there[l] / (double)uses[l] : 0;
    }
}

static bool differs(const side *a, const side *b, int key, char x[256], char y[256])
{
    mox_trace_info(&a->r.trace, keys[key], x, 256);
    mox_trace_info(&b->r.trace, keys[key], y, 256);
    return strcmp(x, y) != 0;
}

typedef struct moved {
    uint32_t layer;
    double rate[2];
} moved;

static int most_first(const void *a, const void *b)
{
    const moved *x = a, *y = b;
    double p = fabs(x->rate[1] - x->rate[0]), q = fabs(y->rate[1] - y->rate[0]);
    return p < q ? 1 : p > q ? -1 : (x->layer > y->layer) - (x->layer < y->layer);
}

static uint32_t layers(const side *a, const side *b, int phase, moved *m)
{
    uint32_t n = a->r.h.n_layers;
    double before[MOX_PLAN_MAX_LAYERS], after[MOX_PLAN_MAX_LAYERS];
    layer_rates(a, phase, before);
    layer_rates(b, phase, after);
    for (uint32_t l = 0; l < n; l++) {
        m[l] = (moved){l, {before[l], after[l]}};
    }
    qsort(m, n, sizeof *m, most_first);
    return n;
}

static void text(const side *a, const side *b, int phase)
{
    static const char *const tiers[] = {"VRAM", "RAM", "late", "file"};
    static moved m[MOX_PLAN_MAX_LAYERS];
    char x[256], y[256];
    uint32_t n = layers(a, b, phase, m);
    printf("A  %s\nB  %s\n\n", a->name, b->name);
    for (int k = 0; k < KEYS; k++) {
        if (differs(a, b, k, x, y)) {
            printf("%-24s %s -> %s\n", keys[k], x[0] ? x : "not said", y[0] ? y : "not said");
        }
    }
    printf("\n%-34s %12s %12s\n%-34s %12llu %12llu\n",
           phase == MOX_PHASE_DECODE ? "the answer" : "the prompt", "A", "B", "tokens",
           (unsigned long long)a->r.n_tokens[phase], (unsigned long long)b->r.n_tokens[phase]);
    if (speed(a, phase) > 0 && speed(b, phase) > 0) {
        printf("%-34s %12.1f %12.1f  %+.1f %%\n", "tok/s", speed(a, phase), speed(b, phase),
               100 * (speed(b, phase) / speed(a, phase) - 1));
        for (int g = 0; g < MOX_GROUPS; g++) {
            if (part(a, phase, g) > 0 || part(b, phase, g) > 0) {
                printf("  %-32s %9.3f ms %9.3f ms\n", mox_group_name((mox_span_group)g),
                       1e3 * part(a, phase, g), 1e3 * part(b, phase, g));
            }
        }
    }
    for (int t = 0; t < 4; t++) {
        double p = (double)a->r.served[phase][t] / (double)(a->r.n_uses[phase] ? a->r.n_uses[phase] : 1);
        double q = (double)b->r.served[phase][t] / (double)(b->r.n_uses[phase] ? b->r.n_uses[phase] : 1);
        if (p > 0 || q > 0) {
            printf("found in %-25s %10.2f %% %10.2f %%  %+.2f points\n", tiers[t], 100 * p, 100 * q,
                   100 * (q - p));
        }
    }
    for (uint32_t i = 0; i < n && i < WORST; i++) {
        printf("  layer %-26u %10.2f %% %10.2f %%  %+.2f points\n", m[i].layer, 100 * m[i].rate[0],
               100 * m[i].rate[1], 100 * (m[i].rate[1] - m[i].rate[0]));
    }
}

static void pair(mox_json *j, const char *key, double x, double y)
{
    mox_json_array(j, key);
    mox_json_f64(j, NULL, x);
    mox_json_f64(j, NULL, y);
    mox_json_array_end(j);
}

static void json(const side *a, const side *b, int phase)
{
    static moved m[MOX_PLAN_MAX_LAYERS];
    char x[256], y[256];
    mox_json j;
    mox_json_begin(&j, stdout);
    mox_json_object(&j, NULL);
    mox_json_string(&j, "schema", "moxie.profile_diff/1");
    mox_json_string(&j, "a", a->name);
    mox_json_string(&j, "b", b->name);
    mox_json_bool(&j, "same_machine", !differs(a, b, 0, x, y));
    mox_json_string(&j, "phase", phase == MOX_PHASE_DECODE ? "answer" : "prompt");
    mox_json_object(&j, "settings");
    for (int k = 0; k < KEYS; k++) {
        if (differs(a, b, k, x, y)) {
            mox_json_array(&j, keys[k]);
            mox_json_string(&j, NULL, x);
            mox_json_string(&j, NULL, y);
            mox_json_array_end(&j);
        }
    }
    mox_json_object_end(&j);
    pair(&j, "tokens", (double)a->r.n_tokens[phase], (double)b->r.n_tokens[phase]);
    pair(&j, "resident", resident(a, phase), resident(b, phase));
    pair(&j, "tok_s", speed(a, phase), speed(b, phase));
    mox_json_object(&j, "token_seconds");
    for (int g = 0; g < MOX_GROUPS; g++) {
        pair(&j, mox_group_name((mox_span_group)g), part(a, phase, g), part(b, phase, g));
    }
    mox_json_object_end(&j);
    uint32_t n = layers(a, b, phase, m);
    mox_json_array(&j, "layers");
    for (uint32_t i = 0; i < n; i++) {
        mox_json_object(&j, NULL);
        mox_json_u64(&j, "layer", m[i].layer);
        pair(&j, "resident", m[i].rate[0], m[i].rate[1]);
        mox_json_object_end(&j);
    }
    mox_json_array_end(&j);
    mox_json_object_end(&j);
    mox_json_end(&j);
}

static mox_err compare(const mox_opts *o, side *a, side *b)
{
    char x[256], y[256];
    MOX_TRY(open_side(a, o->words[1]));
    MOX_TRY(open_side(b, o->words[2]));
    MOX_TRY(same_model(a, b));
    int phase = mox_routing_phase(&a->r);
    phase = b->r.n_steps[phase] ? phase : (int)mox_routing_phase(&b->r);
    if (differs(a, b, 0, x, y)) {
        mox_ui_line("recorded on two machines: %s; %s", x[0] ? x : "not said", y[0] ? y : "not said");
    }
    (o->json ? json : text)(a, b, phase);
    return MOX_OK;
}

mox_err mox_profile_diff(const mox_opts *o)
{
    static side a, b;
    mox_err err = compare(o, &a, &b);
    mox_err_info why = *mox_err_last();
    for (int k = 0; k < 2; k++) {
        side *s = k ? &b : &a;
        mox_spans_free(&s->s);
        mox_routing_free(&s->r);
    }
    return err == MOX_OK ? MOX_OK : mox_err_restore(&why);
}
