/* moxie profile import: a table of routing as a trace. The head line says what a row has: "layer,expert" alone, one row
 * per use in the order of the run, as patches of llama.cpp write them, or more of the columns that export writes. Where
 * nothing tells tokens apart, one begins when the layer number falls, or a layer has the same expert again.
 */
#include "profiler/trace.h"
#include "runtime/cli/open.h"
#include "runtime/cli/profile/cmd.h"
#include "runtime/cli/ui.h"
#include "runtime/plan/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LAYER, EXPERT, TOKEN, POSITION, STEP, SEQUENCE, RANK, WEIGHT, PHASE, TIER, COLUMNS };
enum { MAX_FIELDS = 16, MAX_RANK = 255 };

typedef struct table {
    const char *path;
    int column[MAX_FIELDS]; /* what each field is; -1: passed over */
    int n_fields;
    bool has[COLUMNS];
    mox_trace_record *records;
    size_t n, cap;
    uint32_t line, token, rank, n_layers, n_experts, top_k;
} table;

static int column_of(const char *name, size_t n)
{
    static const char *const names[] = {"layer",    "expert", "token",  "position", "step",
                                        "sequence", "rank",   "weight", "phase",    "tier"};
    for (int c = 0; c < COLUMNS; c++) {
        if (strlen(names[c]) == n && memcmp(names[c], name, n) == 0) {
            return c;
        }
    }
    return -1;
}

static mox_err head(table *t, const char *line)
{
    for (const char *at = line;; at++) {
        size_t n = strcspn(at, ",");
        if (t->n_fields == MAX_FIELDS) {
            break;
        }
        int c = column_of(at, n);
        t->column[t->n_fields++] = c;
        if (c >= 0) {
            t->has[c] = true;
        }
        at += n;
        if (*at == '\0') {
            break;
        }
    }
    if (!t->has[LAYER] || !t->has[EXPERT]) {
        mox_err err =
            MOX_FAIL(MOX_E_FORMAT, "%.200s: its first line names no columns layer and expert", t->path);
        mox_err_fix("layer,expert\n0,3\n0,5");
        return err;
    }
    return MOX_OK;
}

static bool number(const char *s, double hi, double *out)
{
    char *end = NULL;
    *out = strtod(s, &end);
    return end != s && (*end == ',' || *end == '\0') && *out >= 0 && *out <= hi && isfinite(*out);
}

/* A word of the export's, or a number. */
static bool value(int column, const char *s, double *out)
{
    static const char *const tiers[] = {"vram", "ram", "late", "file"};
    size_t n = strcspn(s, ",");
    if (column == PHASE) {
        *out = n == 6 && memcmp(s, "decode", 6) == 0;
        return *out > 0 || (n == 7 && memcmp(s, "prefill", 7) == 0);
    }
    for (int k = 0; column == TIER && k < 4; k++) {
        if (strlen(tiers[k]) == n && memcmp(tiers[k], s, n) == 0) {
            *out = k;
            return true;
        }
    }
    bool whole = column != WEIGHT;
    return column != TIER && number(s, whole ? UINT32_MAX : 1e9, out) && (!whole || *out == floor(*out));
}

static bool begins_token(const table *t, const double *v)
{
    size_t i = t->n;
    if (v[LAYER] < t->records[i - 1].layer) {
        return true;
    }
    while (i-- > 0 && t->records[i].layer == v[LAYER] && t->records[i].position == t->token) {
        if (t->records[i].expert == v[EXPERT]) {
            return true;
        }
    }
    return false;
}

static mox_err keep(table *t, const double *v)
{
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 4096;
        mox_trace_record *more = realloc(t->records, cap * sizeof *more);
        if (!more) {
            return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for %zu rows", cap);
        }
        t->records = more;
        t->cap = cap;
    }
    const mox_trace_record *last = t->n ? &t->records[t->n - 1] : NULL;
    if (last && begins_token(t, v)) {
        t->token++;
    }
    bool same = last && v[LAYER] == last->layer &&
                (t->has[TOKEN] ? v[TOKEN] == last->position : last->position == t->token);
    t->rank = same ? t->rank + 1 : 0;
    uint32_t token = t->has[TOKEN] ? (uint32_t)v[TOKEN] : t->token;
    uint32_t rank = t->has[RANK] ? (uint32_t)v[RANK] : t->rank;
    if (v[LAYER] >= MOX_PLAN_MAX_LAYERS || v[EXPERT] >= UINT16_MAX || v[SEQUENCE] > UINT16_MAX ||
        rank >= MAX_RANK) {
        return MOX_FAIL(
            MOX_E_FORMAT,
            "%.200s line %u: layer %.0f, expert %.0f, number %u of its layer; allowed are %d layers of %d "
            "experts, %d of them for a token",
            t->path, t->line, v[LAYER], v[EXPERT], rank + 1, MOX_PLAN_MAX_LAYERS, UINT16_MAX - 1, MAX_RANK);
    }
    mox_trace_record r = {.step = t->has[STEP] ? (uint32_t)v[STEP] : token,
                          .position = t->has[POSITION] ? (uint32_t)v[POSITION] : token,
                          .sequence = (uint16_t)v[SEQUENCE],
                          .layer = (uint16_t)v[LAYER],
                          .expert = (uint16_t)v[EXPERT],
                          .rank = (uint8_t)rank,
                          .weight = (float)v[WEIGHT]};
    uint32_t phase = t->has[PHASE] ? (uint32_t)v[PHASE] : MOX_PHASE_DECODE;
    r.phase_and_tier = (uint8_t)(phase << 4 | (t->has[TIER] ? (uint32_t)v[TIER] : MOX_SERVED_FILE));
    t->records[t->n++] = r;
    t->n_layers = r.layer >= t->n_layers ? r.layer + 1u : t->n_layers;
    t->n_experts = r.expert >= t->n_experts ? r.expert + 1u : t->n_experts;
    t->top_k = rank >= t->top_k ? rank + 1u : t->top_k;
    return MOX_OK;
}

static mox_err row(table *t, const char *line)
{
    double v[COLUMNS] = {0};
    int field = 0;
    for (const char *at = line; field < t->n_fields; at++, field++) {
        int c = t->column[field];
        if (c >= 0 && !value(c, at, &v[c])) {
            return MOX_FAIL(MOX_E_FORMAT, "%.200s line %u: field %d is '%.20s'", t->path, t->line, field + 1,
                            at);
        }
        at += strcspn(at, ",");
        if (*at == '\0') {
            field++;
            break;
        }
    }
    if (field < t->n_fields) {
        return MOX_FAIL(MOX_E_FORMAT, "%.200s line %u has %d of %d fields", t->path, t->line, field,
                        t->n_fields);
    }
    return keep(t, v);
}

static mox_err read_table(table *t, char *text, size_t n)
{
    if (strlen(text) != n) {
        return MOX_FAIL(MOX_E_FORMAT, "%.200s is no table: a zero byte at offset %zu", t->path, strlen(text));
    }
    for (char *line = text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next) {
            *next++ = '\0';
        }
        line[strcspn(line, "\r")] = '\0';
        t->line++;
        if (line[0] != '\0') {
            MOX_TRY(t->n_fields == 0 ? head(t, line) : row(t, line));
        }
    }
    return t->n ? MOX_OK : MOX_FAIL(MOX_E_FORMAT, "%.200s holds no use of an expert", t->path);
}

static mox_err write_trace(const table *t, const char *path)
{
    mox_trace_cfg cfg = {.header = {.n_layers = t->n_layers,
                                    .n_experts = t->n_experts > t->top_k ? t->n_experts : t->top_k,
                                    .top_k = t->top_k},
                         .direct = true};
    mox_trace_writer *w = NULL;
    MOX_TRY(mox_trace_create(&w, path, &cfg));
    for (size_t i = 0; i < t->n; i++) {
        mox_trace_put(w, &t->records[i]);
    }
    return mox_trace_close(&w, NULL);
}

mox_err mox_profile_import(const mox_opts *o)
{
    table t = {.path = o->words[1]};
    char *text = NULL;
    size_t n = 0;
    if (!o->out) {
        return MOX_FAIL(MOX_E_OPTION, "profile import needs --out TRACE");
    }
    MOX_TRY(mox_cli_read_all(o->words[1], &text, &n));
    mox_err err = read_table(&t, text, n);
    if (err == MOX_OK) {
        err = write_trace(&t, o->out);
    }
    if (err == MOX_OK) {
        mox_ui_line("%zu uses of %u layers, %u experts, top %u in %s", t.n, t.n_layers, t.n_experts, t.top_k,
                    o->out);
    }
    free(t.records);
    free(text);
    return err;
}
