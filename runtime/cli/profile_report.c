/* moxie profile report: the seven questions in their order, as text, as profile.json, as tables, and as one page that
 * opens without a network (profiler/report/page.html with the JSON inside).
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

static void quota_of(const mox_profile *p, uint32_t q, uint32_t *quota)
{
    for (uint32_t l = 0; l < p->routing.h.n_layers; l++) {
        quota[l] = q;
    }
}

static void point_json(const mox_profile *p, mox_json *j, const uint32_t *quota)
{
    mox_profile_point at = mox_profile_at(p, quota);
    for (int k = 0; k < MOX_STUDY_POLICIES; k++) {
        mox_json_f64(j, mox_study_name(k), at.rate[k]);
    }
    if (p->has_model) {
        mox_json_f64(j, "tok_s", at.tok_s);
    }
}

static void curve_json(const mox_profile *p, mox_json *j)
{
    uint32_t quota[MOX_PLAN_MAX_LAYERS];
    mox_json_array(j, "curve");
    for (uint32_t q = 0; q <= p->routing.h.n_experts; q++) {
        quota_of(p, q, quota);
        mox_json_object(j, NULL);
        mox_json_u64(j, "kept", q);
        point_json(p, j, quota);
        mox_json_object_end(j);
    }
    mox_json_array_end(j);
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
    static const char *const phases[] = {"prompt", "answer"}, *const tiers[] = {"vram", "ram", "late",
                                                                                "file"};
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

/* Half-width of the 95 % interval of the run's own rate, and what it was in each half of the trace. */
typedef struct trust {
    double interval, half[2];
} trust;

static trust trust_of(const mox_profile *p)
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
    trust t = {.interval = 1.96 * sqrt(p->actual * (1 - p->actual) / (double)(all ? all : 1))};
    for (int h = 0; h < 2; h++) {
        t.half[h] = uses[h] ? (double)resident[h] / (double)uses[h] : 0;
    }
    return t;
}

static void time_json(const mox_profile *p, mox_json *j)
{
    const mox_cost *c = &p->view.p.token;
    mox_json_object(j, "time");
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

static uint32_t changes_of(const mox_profile *p, mox_plan_change *change)
{
    return p->has_model ? mox_plan_changes(&p->plan, &p->view, change) : 0;
}

void mox_profile_json(const mox_profile *p, mox_json *j)
{
    mox_plan_change change[MOX_PLAN_CHANGES];
    trust t = trust_of(p);
    uint32_t n = changes_of(p, change);
    mox_json_object(j, NULL);
    mox_json_string(j, "schema", "moxie.profile/1");
    mox_json_string(j, "trace", p->trace);
    mox_json_string(j, "model", p->o->model);
    mox_json_u64(j, "n_layers", p->routing.h.n_layers);
    mox_json_u64(j, "n_experts", p->routing.h.n_experts);
    mox_json_u64(j, "top_k", p->routing.h.top_k);
    mox_json_string(j, "phase", p->study.phase == MOX_PHASE_DECODE ? "answer" : "prompt");
    served_json(p, j);
    mox_json_f64(j, "actual", p->actual);
    mox_json_f64(j, "kept_mean", mox_profile_mean_kept(p));
    mox_json_bool(j, "kept_guessed", p->kept_guessed);
    mox_json_object(j, "policies");
    point_json(p, j, p->kept);
    mox_json_object_end(j);
    mox_json_u64(j, "knee", mox_profile_knee(p));
    curve_json(p, j);
    layers_json(p, j);
    if (p->has_model) {
        time_json(p, j);
    }
    mox_json_array(j, "changes");
    for (uint32_t i = 0; i < n; i++) {
        mox_json_object(j, NULL);
        mox_json_string(j, "options", change[i].options);
        mox_json_f64(j, "decode_tok_s", change[i].decode_tok_s);
        mox_json_object_end(j);
    }
    mox_json_array_end(j);
    mox_json_object(j, "trust");
    mox_json_f64(j, "interval_95", t.interval);
    mox_json_f64(j, "first_half", t.half[0]);
    mox_json_f64(j, "second_half", t.half[1]);
    mox_json_object_end(j);
    mox_json_object_end(j);
}

static void bar(double share, unsigned width)
{
    unsigned n = (unsigned)(share * width + 0.5);
    for (unsigned i = 0; i < width; i++) {
        putchar(i < n ? '#' : '.');
    }
}

static void text_time(const mox_profile *p)
{
    puts("1. Is it slow because of experts?");
    if (!p->has_model) {
        puts("   --model FILE is needed to tell: times are predicted from its sizes\n");
        return;
    }
    const mox_cost *c = &p->view.p.token;
    printf("   predicted for %s: %.1f tok/s, %.2f ms a token\n", p->plan.machine_name, 1 / c->total_s,
           1e3 * c->total_s);
    for (int k = 0; k < MOX_PARTS; k++) {
        if (c->part_s[k] <= 0) {
            continue;
        }
        printf("   ");
        bar(c->part_s[k] / c->total_s, 40);
        printf(" %5.1f %%  %s\n", 100 * c->part_s[k] / c->total_s,
               mox_part_name((mox_part)k, &p->plan.machine, p->view.p.ways.best));
    }
    putchar('\n');
}

static void text_cache(const mox_profile *p)
{
    static const char *const phases[] = {"prompt", "answer"};
    mox_profile_point at = mox_profile_at(p, p->kept);
    puts("2. Is the cache good?");
    for (int k = 0; k < MOX_PHASES; k++) {
        const uint64_t *s = p->routing.served[k];
        double n = p->routing.n_uses[k] ? (double)p->routing.n_uses[k] : 1;
        printf("   %s: %llu uses = VRAM %.1f %% + RAM %.1f %% + late %.1f %% + file %.1f %%\n", phases[k],
               (unsigned long long)p->routing.n_uses[k], 100 * (double)s[0] / n, 100 * (double)s[1] / n,
               100 * (double)s[2] / n, 100 * (double)s[3] / n);
    }
    printf("   the same routing with %.2f experts kept in a layer%s:\n", mox_profile_mean_kept(p),
           p->kept_guessed ? " (guessed from the hits: the trace does not say)" : "");
    for (int k = 0; k < MOX_STUDY_POLICIES; k++) {
        printf("   %-7s ", mox_study_name(k));
        bar(at.rate[k], 40);
        printf(" %5.1f %%%s\n", 100 * at.rate[k],
               k == MOX_STUDY_STATIC   ? "  (held out)"
               : k == MOX_STUDY_BELADY ? "  (best possible)"
                                       : "");
    }
    double best = at.rate[MOX_STUDY_BELADY];
    printf("   dlfu gets %.0f %% of what is possible\n\n",
           best > 0 ? 100 * at.rate[MOX_STUDY_DLFU] / best : 100);
}

static void text_sizes(const mox_profile *p)
{
    uint32_t n = p->routing.h.n_experts, step = n > 16 ? n / 16 : 1, quota[MOX_PLAN_MAX_LAYERS];
    uint32_t knee = mox_profile_knee(p);
    double kept = mox_profile_mean_kept(p);
    puts("3. What would more or less memory buy?");
    for (uint32_t q = 0; q <= n; q += step) {
        quota_of(p, q, quota);
        mox_profile_point at = mox_profile_at(p, quota);
        printf("   %4u a layer ", q);
        bar(at.rate[MOX_STUDY_DLFU], 30);
        printf(" %5.1f %% (best %5.1f)", 100 * at.rate[MOX_STUDY_DLFU], 100 * at.rate[MOX_STUDY_BELADY]);
        if (p->has_model) {
            printf("  %8.1f tok/s", at.tok_s);
        }
        puts(kept >= q && kept < q + step ? "  <- now" : knee >= q && knee < q + step ? "  <- knee" : "");
    }
    putchar('\n');
}

static void text_layers(const mox_profile *p)
{
    static const char *const shades[] = {".", ":", "-", "=", "+", "*", "#", "@"};
    uint32_t n = p->routing.h.n_experts, cols = n < 64 ? n : 64;
    puts("4. Which layers and experts? (share of the layer's uses, . few, @ many)");
    for (uint32_t l = 0; l < p->routing.h.n_layers; l++) {
        const mox_layer_figures *f = &p->study.layers[l];
        const uint64_t *count = p->study.count + (size_t)l * n;
        printf("   %3u ", l);
        for (uint32_t c = 0; c < cols; c++) {
            uint64_t most = 0;
            for (uint32_t e = c * n / cols; e < (c + 1) * n / cols; e++) {
                most = count[e] > most ? count[e] : most;
            }
            double even = (double)f->uses / n, level = even > 0 ? (double)most / even * 2 : 0;
            fputs(most == 0 ? " " : shades[level < 7 ? (int)level : 7], stdout);
        }
        printf("  entropy %.2f of %.2f, busiest 25 %%: %.0f %%, unused %u, balance %.2f, cv %.2f\n",
               f->entropy_bits, log2(n), 100 * f->cover[1], f->dead, f->balance, f->variation);
    }
    putchar('\n');
}

static void text_rest(const mox_profile *p)
{
    mox_plan_change change[MOX_PLAN_CHANGES];
    uint32_t n = changes_of(p, change);
    trust t = trust_of(p);
    puts("5. When?\n   not in a routing trace: it has no times\n");
    puts("6. Would another setting win?");
    for (uint32_t i = 0; i < n; i++) {
        printf("   moxie run MODEL %-24s %.1f tok/s predicted\n", change[i].options, change[i].decode_tok_s);
    }
    if (n == 0) {
        puts(p->has_model ? "   none of those that were computed gains 1 %"
                          : "   --model FILE is needed to tell");
    }
    printf("\n7. Can this be trusted?\n   %llu tokens, %llu uses: %.2f %% +- %.2f of them resident (95 %%, "
           "were they "
           "independent); %.2f %% in the first half, %.2f %% in the second\n",
           (unsigned long long)p->routing.n_tokens[p->study.phase],
           (unsigned long long)p->routing.n_uses[p->study.phase], 100 * p->actual, 100 * t.interval,
           100 * t.half[0], 100 * t.half[1]);
    if (p->routing.n_tokens[p->study.phase] < 200) {
        puts("   fewer than 200 tokens: another text may use quite other experts");
    }
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

/* Stacks for flame graphs: where uses were found, by layer. */
static mox_err write_folded(const mox_profile *p, const char *dir)
{
    static const char *const phases[] = {"prompt", "answer"}, *const tiers[] = {"vram", "ram", "late",
                                                                                "file"};
    char path[4096];
    mox_outfile f = {0};
    uint32_t layers = p->routing.h.n_layers;
    uint64_t *count = calloc((size_t)layers * 8, sizeof *count);
    if (!count) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for %u layers", layers);
    }
    for (size_t i = 0; i < p->routing.n_records; i++) {
        const mox_trace_record *t = &p->routing.records[i];
        count[t->layer * 8u + (t->phase_and_tier >> 4) * 4u + (t->phase_and_tier & 3u)]++;
    }
    mox_err err = open_in(dir, "uses.folded", path, sizeof path, &f);
    for (uint32_t k = 0; err == MOX_OK && k < layers * 8; k++) {
        if (count[k]) {
            fprintf(f.f, "%s;layer %u;%s %llu\n", phases[k / 4 % 2], k / 8, tiers[k % 4],
                    (unsigned long long)count[k]);
        }
    }
    err = err == MOX_OK ? mox_outfile_publish(&f) : err;
    mox_outfile_drop(&f);
    free(count);
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
    const char *dir = p->o->out;
    if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
        return MOX_FAIL_SYS(MOX_E_WRITE, errno, "%.300s cannot be created: %s", dir, strerror(errno));
    }
    MOX_TRY(write_json(p, dir));
    MOX_TRY(write_experts(p, dir));
    MOX_TRY(write_folded(p, dir));
    MOX_TRY(write_page(p, dir));
    mox_ui_line("wrote %s/report.html, profile.json, experts.csv, uses.folded", dir);
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
        text_time(&p);
        text_cache(&p);
        text_sizes(&p);
        text_layers(&p);
        text_rest(&p);
    }
    mox_profile_close(&p);
    return err;
}
