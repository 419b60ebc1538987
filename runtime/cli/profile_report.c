/* moxie profile report: what the seven answers are worked out from, and the files of a report: profile.json, tables, and one
 * page that opens without a network (profiler/report/page.html with the JSON inside). The answers themselves are put into
 * words by profile_text.c and profile_json.c.
 */
#include "profiler/report/page.h"
#include "runtime/cli/profile_cmd.h"
#include "runtime/cli/ui.h"
#include "runtime/core/outfile.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void mox_profile_quota(const mox_profile *p, uint32_t q, uint32_t *quota)
{
    for (uint32_t l = 0; l < p->routing.h.n_layers; l++) {
        quota[l] = q;
    }
}

double mox_profile_bytes(const mox_profile *p, const uint32_t *quota)
{
    char text[8192], *at = text;
    double sum = 0;
    mox_trace_info(&p->routing.trace, "slot_bytes", text, sizeof text);
    for (uint32_t l = 0; l < p->routing.h.n_layers; l++) {
        double one = p->has_model ? (double)p->view.plan.slot_bytes[l] : strtod(at, &at);
        sum += quota[l] * one;
    }
    return sum;
}

mox_profile_trust mox_profile_trust_of(const mox_profile *p)
{
    uint64_t uses[2] = {0}, resident[2] = {0}, seen = 0, all = p->routing.n_uses[p->study.phase];
    for (size_t i = 0; i < p->routing.n_records; i++) {
        uint32_t both = p->routing.records[i].phase_and_tier;
        if (both >> 4 == (uint32_t)p->study.phase) {
            int half = seen++ >= all / 2;
            uses[half]++;
            resident[half] += (both & 15) <= MOX_SERVED_RAM;
        }
    }
    mox_profile_trust t = {.interval = 1.96 * sqrt(p->actual * (1 - p->actual) / (double)(all ? all : 1)),
                           .record_share = -1};
    for (int h = 0; h < 2; h++) {
        t.half[h] = uses[h] ? (double)resident[h] / (double)uses[h] : 0;
    }
    char text[32];
    double total = p->spans.times.total_s[0] + p->spans.times.total_s[1];
    if (total > 0 && mox_trace_info(&p->routing.trace, "record_ns", text, sizeof text)) {
        double records = (double)p->routing.n_records;
        for (size_t i = 0; i < p->spans.n && p->spans.node[i].s->lane == MOX_LANE_STEP; i++) {
            records++;
        }
        t.record_share = records * strtod(text, NULL) * 1e-9 / total;
    }
    return t;
}

uint32_t mox_profile_changes(const mox_profile *p, mox_plan_change out[MOX_PLAN_CHANGES])
{
    return p->has_model ? mox_plan_changes(&p->plan, &p->view, out) : 0;
}

double mox_profile_measured(const mox_profile *p)
{
    const mox_span_times *t = &p->spans.times;
    return t->total_s[p->study.phase] > 0 ? (double)t->rows[p->study.phase] / t->total_s[p->study.phase] : 0;
}

double mox_profile_estimate(const mox_profile *p, double rate)
{
    const mox_span_times *t = &p->spans.times;
    int phase = p->study.phase;
    double wait = t->group_s[phase][MOX_GROUP_WAIT], missed = 1 - p->actual;
    if (t->total_s[phase] <= 0 || t->rows[phase] == 0) {
        return 0;
    }
    double then = missed > 0 ? wait * (1 - rate) / missed : wait;
    return (double)t->rows[phase] / (t->total_s[phase] - wait + then);
}

/* Bytes of reads for the layer that were under way during the wait. */
static uint64_t read_meanwhile(const mox_profile *p, const mox_span_node *wait)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < p->spans.n; i++) {
        const mox_span_node *n = &p->spans.node[i];
        if (n->s->kind == MOX_SPAN_READ && n->s->layer == wait->s->layer && n->begin_ns < wait->end_ns &&
            n->end_ns > wait->begin_ns) {
            sum += n->s->amount;
        }
    }
    return sum;
}

uint32_t mox_profile_stalls(const mox_profile *p, mox_profile_stall out[MOX_PROFILE_STALLS])
{
    const mox_span_node *longest[MOX_PROFILE_STALLS];
    uint32_t n = 0;
    for (size_t i = 0; i < p->spans.n; i++) {
        const mox_span_node *w = &p->spans.node[i];
        if (w->s->kind != MOX_SPAN_WAIT || w->self_ns == 0) {
            continue;
        }
        uint32_t at = n;
        for (; at > 0 && longest[at - 1]->self_ns < w->self_ns; at--) {
            if (at < MOX_PROFILE_STALLS) {
                longest[at] = longest[at - 1];
            }
        }
        if (at < MOX_PROFILE_STALLS) {
            longest[at] = w;
            n += n < MOX_PROFILE_STALLS;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        const mox_span_node *w = longest[i];
        out[i] = (mox_profile_stall){.at_s = (double)w->begin_ns * 1e-9,
                                     .wait_s = (double)w->self_ns * 1e-9,
                                     .step = w->s->step,
                                     .layer = w->s->layer,
                                     .phase = w->s->phase,
                                     .bytes = read_meanwhile(p, w)};
    }
    return n;
}

uint32_t mox_profile_contexts(const mox_profile *p, mox_profile_ctx out[MOX_PROFILE_CTX])
{
    static mox_plan_view v; /* plans are too big for a stack */
    uint32_t n = 0, now = p->view.plan.n_ctx;
    for (int k = -2; p->has_model && k <= 2; k++) {
        mox_plan_cmd c = p->plan;
        uint64_t ctx = k < 0 ? now >> -k : (uint64_t)now << k;
        if (ctx < 64 || ctx > 1 << 20) {
            continue;
        }
        c.cfg.n_ctx = (uint32_t)ctx;
        bool fits = mox_plan_compute(&c, &v) == MOX_OK;
        out[n++] = (mox_profile_ctx){.n_ctx = (uint32_t)ctx,
                                     .n_fast = v.tiers.gpu ? v.tiers.n_vram : v.tiers.n_ram,
                                     .tok_s = fits ? v.p.decode_tok_s : 0,
                                     .fits = fits};
    }
    return n;
}

static mox_err open_in(const char *dir, const char *name, char *path, size_t n, mox_outfile *f)
{
    snprintf(path, n, "%s/%s", dir, name);
    return mox_outfile_open(f, path, 0666);
}

static mox_err write_json(const mox_profile *p, const char *dir)
{
    char path[4096];
    mox_outfile f = {0};
    MOX_TRY(open_in(dir, "profile.json", path, sizeof path, &f));
    mox_json j;
    mox_json_begin(&j, f.f);
    mox_profile_json(p, &j);
    mox_json_end(&j);
    mox_err err = mox_outfile_publish(&f);
    mox_outfile_drop(&f);
    return err;
}

static mox_err write_experts(const mox_profile *p, const char *dir)
{
    char path[4096];
    mox_outfile f = {0};
    uint32_t n = p->routing.h.n_experts;
    MOX_TRY(open_in(dir, "experts.csv", path, sizeof path, &f));
    fputs("layer,expert,uses,away\n", f.f);
    for (uint32_t l = 0; l < p->routing.h.n_layers; l++) {
        for (uint32_t e = 0; e < n; e++) {
            size_t cell = (size_t)l * n + e;
            fprintf(f.f, "%u,%u,%llu,%llu\n", l, e, (unsigned long long)p->study.count[cell],
                    (unsigned long long)p->study.away[cell]);
        }
    }
    mox_err err = mox_outfile_publish(&f);
    mox_outfile_drop(&f);
    return err;
}

/* The page with the JSON in its place; "<" is written as an escape, so no string can end the script. */
static mox_err write_page(const mox_profile *p, const char *dir)
{
    char path[4096], *json = NULL;
    size_t n = 0;
    mox_outfile f = {0};
    FILE *mem = open_memstream(&json, &n);
    if (!mem) {
        return MOX_FAIL_SYS(MOX_E_NO_MEMORY, errno, "no memory for the report");
    }
    mox_json j;
    mox_json_begin(&j, mem);
    mox_profile_json(p, &j);
    mox_json_end(&j);
    mox_err err = fclose(mem) == 0 ? MOX_OK : MOX_FAIL(MOX_E_NO_MEMORY, "no memory for the report");
    if (err == MOX_OK) {
        err = open_in(dir, "report.html", path, sizeof path, &f);
    }
    if (err == MOX_OK) {
        const char *mark = strstr(mox_report_page, "@DATA@");
        fwrite(mox_report_page, 1, (size_t)(mark - mox_report_page), f.f);
        for (size_t i = 0; i < n; i++) {
            if (json[i] == '<') {
                fputs("\\u003c", f.f);
            } else {
                putc(json[i], f.f);
            }
        }
        fputs(mark + 6, f.f);
        err = mox_outfile_publish(&f);
    }
    mox_outfile_drop(&f);
    free(json);
    return err;
}

static mox_err write_all(const mox_profile *p)
{
    char path[4096];
    const char *dir = p->o->out;
    if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
        return MOX_FAIL_SYS(MOX_E_WRITE, errno, "%.300s cannot be created: %s", dir, strerror(errno));
    }
    MOX_TRY(write_json(p, dir));
    MOX_TRY(write_experts(p, dir));
    snprintf(path, sizeof path, "%s/stacks.folded", dir);
    MOX_TRY(mox_profile_export_to(p->trace, path, MOX_PROFILE_FOLDED));
    if (p->spans.n) {
        snprintf(path, sizeof path, "%s/trace.json", dir);
        MOX_TRY(mox_profile_export_to(p->trace, path, MOX_PROFILE_CHROME));
    }
    MOX_TRY(write_page(p, dir));
    mox_ui_line("wrote %s/report.html, profile.json, experts.csv, stacks.folded%s", dir,
                p->spans.n ? ", trace.json (for Perfetto)" : "");
    return MOX_OK;
}

mox_err mox_profile_report(const mox_opts *o)
{
    static mox_profile p; /* plans are too big for a stack */
    MOX_TRY(mox_profile_open(o, &p));
    mox_err err = o->out ? write_all(&p) : MOX_OK;
    if (err == MOX_OK && o->json) {
        mox_json j;
        mox_json_begin(&j, stdout);
        mox_profile_json(&p, &j);
        mox_json_end(&j);
    } else if (err == MOX_OK) {
        mox_profile_text(&p);
    }
    mox_profile_close(&p);
    return err;
}
