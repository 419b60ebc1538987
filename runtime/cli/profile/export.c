/* moxie profile export: a trace in the forms of other programs. --csv: one row per use of an expert, in the order of the
 * run, the weight with the digits that give its float back. --chrome: events for Perfetto and chrome://tracing; every lane is
 * a thread of its own, in which spans nest. --folded: stacks for flame graphs: microseconds of the step thread, or, of
 * a trace without times, uses by where they were found.
 */
#include "profiler/spans.h"
#include "runtime/cli/profile/cmd.h"
#include "runtime/cli/profile/write.h"
#include "runtime/core/outfile.h"

#include <stdlib.h>
#include <string.h>

static const char *const phases[] = {"prefill", "decode"};
static const char *const tiers[] = {"vram", "ram", "late", "file"};

static mox_err write_csv(FILE *f, const mox_trace *t)
{
    fputs("step,phase,sequence,position,layer,rank,expert,weight,tier\n", f);
    for (size_t i = 0; i < t->n_uses; i++) {
        const mox_trace_record *r = &t->uses[i];
        fprintf(f, "%u,%s,%u,%u,%u,%u,%u,%.9g,%s\n", r->step, phases[r->phase_and_tier >> 4], r->sequence,
                r->position, r->layer, r->rank, r->expert, (double)r->weight, tiers[r->phase_and_tier & 15]);
    }
    return MOX_OK;
}

static void lane_name(FILE *f, uint8_t lane)
{
    char name[32];
    fprintf(
        f,
        "{\"ph\":\"M\",\"pid\":1,\"tid\":%d,\"name\":\"thread_name\",\"args\":{\"name\":\"%s\"}},\n"
        "{\"ph\":\"M\",\"pid\":1,\"tid\":%d,\"name\":\"thread_sort_index\",\"args\":{\"sort_index\":%d}},\n",
        lane, mox_spans_lane(lane, name), lane, lane);
}

/* Nanoseconds as the format's microseconds, without rounding. */
static void event(FILE *f, const mox_span_node *n)
{
    const mox_trace_span *s = n->s;
    uint64_t ns = n->end_ns - n->begin_ns;
    bool read = s->kind == MOX_SPAN_READ || s->kind == MOX_SPAN_PLACE;
    static const char *const asked[] = {"fill", "demand", "ahead"};
    fprintf(f,
            "{\"ph\":\"X\",\"pid\":1,\"tid\":%d,\"name\":\"%s\",\"cat\":\"%s\",\"ts\":%llu.%03llu,\"dur\":%"
            "llu.%03llu,"
            "\"args\":{\"layer\":%u",
            s->lane, mox_span_name(s->kind), phases[s->phase], (unsigned long long)(n->begin_ns / 1000),
            (unsigned long long)(n->begin_ns % 1000), (unsigned long long)(ns / 1000),
            (unsigned long long)(ns % 1000), s->layer);
    if (s->expert != MOX_SPAN_NO_EXPERT) {
        fprintf(f, ",\"expert\":%u", s->expert);
    }
    if (read) {
        fprintf(f, ",\"bytes\":%u,\"asked\":\"%s\"", s->amount, asked[s->detail]);
    } else {
        fprintf(f, ",\"step\":%u,\"n\":%u", s->step, s->amount);
    }
    if (n->fate != MOX_FATE_NONE) {
        fprintf(f, ",\"fate\":\"%s\"", mox_fate_name(n->fate));
    }
    fputs("}},\n", f);
}

typedef struct edge {
    uint64_t at_ns;
    int change;
} edge;

static int by_time(const void *a, const void *b)
{
    const edge *x = a, *y = b;
    return x->at_ns != y->at_ns ? (x->at_ns < y->at_ns ? -1 : 1) : x->change - y->change;
}

/* The counter "reads in flight". */
static mox_err counters(FILE *f, const mox_spans *s)
{
    edge *e = malloc((2 * s->n + 1) * sizeof *e);
    size_t n = 0;
    int flying = 0;
    if (!e) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for %zu spans", s->n);
    }
    for (size_t i = 0; i < s->n; i++) {
        if (s->node[i].s->kind == MOX_SPAN_READ) {
            e[n++] = (edge){s->node[i].begin_ns, 1};
            e[n++] = (edge){s->node[i].end_ns, -1};
        }
    }
    qsort(e, n, sizeof *e, by_time);
    for (size_t i = 0; i < n; i++) {
        flying += e[i].change;
        fprintf(f,
                "{\"ph\":\"C\",\"pid\":1,\"name\":\"reads in "
                "flight\",\"ts\":%llu.%03llu,\"args\":{\"reads\":%d}},\n",
                (unsigned long long)(e[i].at_ns / 1000), (unsigned long long)(e[i].at_ns % 1000), flying);
    }
    free(e);
    return MOX_OK;
}

static mox_err no_times(const mox_trace *t, const char *what)
{
    if (t->n_spans == 0) {
        (void)MOX_FAIL(MOX_E_FORMAT, "the trace has no times, and %s needs them", what);
        return mox_err_fix("moxie profile run MODEL -p \"Why?\" -o run1\n"
                           "moxie run MODEL -p \"Why?\" --record run.trace --timings");
    }
    return MOX_OK;
}

static mox_err write_chrome(FILE *f, const mox_trace *t)
{
    mox_spans s;
    int last = -1;
    MOX_TRY(no_times(t, "--chrome"));
    MOX_TRY(mox_spans_make(t, &s));
    fputs("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n", f);
    for (size_t i = 0; i < s.n; i++) {
        if (s.node[i].s->lane != last) {
            last = s.node[i].s->lane;
            lane_name(f, (uint8_t)last);
        }
        event(f, &s.node[i]);
    }
    mox_err err = counters(f, &s);
    fputs("{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{\"name\":\"moxie\"}}\n]}\n", f);
    mox_spans_free(&s);
    return err;
}

static mox_err fold_uses(FILE *f, const mox_trace *t)
{
    uint64_t *count = calloc((size_t)t->header.n_layers * 8 + 1, sizeof *count);
    if (!count) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for %u layers", t->header.n_layers);
    }
    for (size_t i = 0; i < t->n_uses; i++) {
        const mox_trace_record *r = &t->uses[i];
        count[r->layer * 8u + (r->phase_and_tier >> 4) * 4u + (r->phase_and_tier & 3u)]++;
    }
    for (uint32_t k = 0; k < t->header.n_layers * 8; k++) {
        if (count[k]) {
            fprintf(f, "%s;layer %u;%s %llu\n", phases[k / 4 % 2], k / 8, tiers[k % 4],
                    (unsigned long long)count[k]);
        }
    }
    free(count);
    return MOX_OK;
}

static mox_err fold_times(FILE *f, const mox_trace *t)
{
    enum { LAYERS = 1 << 16 };
    mox_spans s;
    MOX_TRY(mox_spans_make(t, &s));
    uint64_t(*ns)[MOX_SPAN_KINDS] = calloc((size_t)LAYERS * MOX_PHASES, sizeof *ns);
    mox_err err = ns ? MOX_OK : MOX_FAIL(MOX_E_NO_MEMORY, "no memory for stacks of %zu spans", s.n);
    for (size_t i = 0; err == MOX_OK && i < s.n && s.node[i].s->lane == MOX_LANE_STEP; i++) {
        const mox_trace_span *span = s.node[i].s;
        ns[(uint32_t)span->layer * MOX_PHASES + span->phase][span->kind] += s.node[i].self_ns;
    }
    for (uint32_t k = 0; err == MOX_OK && k < LAYERS * MOX_PHASES; k++) {
        for (int kind = 0; kind < MOX_SPAN_KINDS; kind++) {
            bool layered = kind >= MOX_SPAN_ATTENTION && kind != MOX_SPAN_LOGITS && kind < MOX_SPAN_SAMPLE;
            if (ns[k][kind] < 500) {
                continue;
            }
            fprintf(f, "%s;", phases[k % MOX_PHASES]);
            if (layered) {
                fprintf(f, "layer %u;", k / MOX_PHASES);
            }
            fprintf(f, "%s %llu\n", mox_span_name((mox_span_kind)kind),
                    (unsigned long long)((ns[k][kind] + 500) / 1000));
        }
    }
    free(ns);
    mox_spans_free(&s);
    return err;
}

static mox_err write_folded(FILE *f, const mox_trace *t)
{
    return t->n_spans ? fold_times(f, t) : fold_uses(f, t);
}

mox_err mox_profile_export_to(const char *trace, const char *path, mox_profile_form form)
{
    static mox_err (*const write[])(FILE * f, const mox_trace *t) = {write_csv, write_chrome, write_folded};
    mox_trace t;
    MOX_TRY(mox_trace_read(trace, &t));
    mox_outfile file = {0};
    mox_err err = MOX_OK;
    if (path && strcmp(path, "-") != 0) {
        MOX_TRY_GOTO(err, mox_outfile_open(&file, path, 0666), done);
    }
    MOX_TRY_GOTO(err, write[form](file.f ? file.f : stdout, &t), done);
    if (file.f) {
        err = mox_outfile_publish(&file);
    }
done: /* standard output is looked at by main */
    mox_outfile_drop(&file);
    mox_trace_free(&t);
    return err;
}

mox_err mox_profile_export(const mox_opts *o)
{
    char path[4096];
    if (o->csv + o->chrome + o->folded != 1) {
        (void)MOX_FAIL(MOX_E_OPTION, "profile export needs one of --csv, --chrome and --folded");
        return mox_err_fix("moxie profile export --csv run.trace > run.csv\n"
                           "moxie profile export --chrome run.trace --out run.json");
    }
    return mox_profile_export_to(mox_profile_trace(o->words[1], path), o->out,
                                 o->csv      ? MOX_PROFILE_CSV
                                 : o->chrome ? MOX_PROFILE_CHROME
                                             : MOX_PROFILE_FOLDED);
}
