/* What a bench reports: speed and, for each tier, bytes beside what the machine can do.
 *
 * RAM bytes per answer token are what its step had to read: the dense part, keys and values, and the experts used;
 * the prompt's depend on how experts are shared within a micro-batch, which is not counted, so they are not
 * reported. Two shares are given: of the better of the ceilings before and after the bench, over all repetitions;
 * and (ceiling_share) of what the machine did just before and after each repetition, as median, least and most.
 */
#include "runtime/cli/report.h"
#include "runtime/cli/bench/bench.h"
#include "runtime/cli/ui.h"

#include <stdio.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double per(double a, double b)
{
    return b > 0 ? a / b : 0;
}

mox_bench_spread mox_bench_spread_of(double *v, uint32_t n)
{
    qsort(v, n, sizeof *v, by_value);
    double median = n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
    return (mox_bench_spread){median, v[0], v[n - 1]};
}

mox_bench_spread mox_bench_speed(const mox_bench_test *t)
{
    double v[MOX_BENCH_REPS];
    for (uint32_t i = 0; i < t->n_reps; i++) {
        v[i] = per(t->reps[i].tokens, t->reps[i].seconds);
    }
    return mox_bench_spread_of(v, t->n_reps);
}

typedef struct tier_rates {
    double ram_bytes, file_bytes; /* per token; ram < 0: not known */
    double ram_rate, file_rate;
    double ops, ops_rate; /* integer operations per token and second, two per product; 0: not counted */
} tier_rates;

/* Products with quantised weights: a prompt asks for one row's logits, an answer for each row's. Those of attention
 * with keys and values are float and not counted. */
static double ops_per_token(const mox_bench *b, const mox_bench_test *t)
{
    double logits = t->decode ? 1 : 1.0 / t->n_tokens;
    return b->o->cfg.act_f32 ? 0 : 2 * ((double)b->info.macs_token + logits * (double)b->info.macs_logits);
}

/* Keys and values that a token reads, at the middle of the answer. */
static double kv_bytes(const mox_bench *b, const mox_bench_test *t)
{
    double positions = t->depth + (t->n_tokens + 1) / 2.0;
    return positions * (double)b->info.kv_bytes_per_token[b->o->cfg.kv];
}

static tier_rates rates_of(const mox_bench *b, const mox_bench_test *t, const mox_bench_rep *rep)
{
    tier_rates r = {.ram_bytes = -1};
    if (rep->tokens <= 0 || rep->seconds <= 0) {
        return r;
    }
    r.file_bytes = (double)rep->read_bytes / rep->tokens;
    r.file_rate = (double)rep->read_bytes / rep->seconds;
    r.ops = ops_per_token(b, t);
    r.ops_rate = r.ops * rep->tokens / rep->seconds;
    if (t->decode) {
        r.ram_bytes =
            (double)b->info.dense_read_bytes + kv_bytes(b, t) + (double)rep->used_bytes / rep->tokens;
        r.ram_rate = r.ram_bytes * rep->tokens / rep->seconds;
    }
    return r;
}

/* All repetitions as one. */
static mox_bench_rep sum_of(const mox_bench_test *t)
{
    mox_bench_rep sum = {0};
    for (uint32_t i = 0; i < t->n_reps; i++) {
        sum.tokens += t->reps[i].tokens;
        sum.seconds += t->reps[i].seconds;
        sum.read_bytes += t->reps[i].read_bytes;
        sum.used_bytes += t->reps[i].used_bytes;
    }
    return sum;
}

/* Shares of what the machine did around each repetition. */
enum { RAM, FILE_READS, INTEGER, CEILINGS };
static const char *const ceiling_names[CEILINGS] = {"ram", "file", "integer"};

static void rep_shares(const mox_bench *b, const mox_bench_test *t, const mox_bench_rep *rep,
                       double out[static CEILINGS])
{
    tier_rates r = rates_of(b, t, rep);
    out[RAM] = per(r.ram_rate, rep->around.ram_bytes_per_s);
    out[FILE_READS] = per(r.file_rate, rep->around.disk_bytes_per_s);
    out[INTEGER] = per(r.ops_rate, rep->around.int_ops_per_s);
}

typedef struct test_shares {
    mox_bench_spread of[CEILINGS];
    int nearest; /* the ceiling with the largest median share */
} test_shares;

static test_shares shares_of(const mox_bench *b, const mox_bench_test *t)
{
    double v[CEILINGS][MOX_BENCH_REPS], one[CEILINGS];
    test_shares s = {0};
    for (uint32_t i = 0; i < t->n_reps; i++) {
        rep_shares(b, t, &t->reps[i], one);
        for (int k = 0; k < CEILINGS; k++) {
            v[k][i] = one[k];
        }
    }
    for (int k = 0; k < CEILINGS; k++) {
        s.of[k] = mox_bench_spread_of(v[k], t->n_reps);
        s.nearest = s.of[k].median > s.of[s.nearest].median ? k : s.nearest;
    }
    return s;
}

static void spread_json(mox_json *j, const mox_bench_spread *s)
{
    mox_json_f64(j, "median", s->median);
    mox_json_f64(j, "min", s->min);
    mox_json_f64(j, "max", s->max);
}

static void shares_json(mox_json *j, const mox_bench *b, const mox_bench_test *t)
{
    test_shares s = shares_of(b, t);
    mox_json_object(j, "ceiling_share");
    mox_json_string(j, "of", ceiling_names[s.nearest]);
    spread_json(j, &s.of[s.nearest]);
    for (int k = 0; k < CEILINGS; k++) {
        mox_json_object(j, ceiling_names[k]);
        spread_json(j, &s.of[k]);
        mox_json_object_end(j);
    }
    mox_json_object_end(j);
}

static void reps_json(mox_json *j, const mox_bench *b, const mox_bench_test *t)
{
    double share[CEILINGS];
    mox_json_array(j, "repetitions");
    for (uint32_t i = 0; i < t->n_reps; i++) {
        const mox_bench_rep *rep = &t->reps[i];
        rep_shares(b, t, rep, share);
        mox_json_object(j, NULL);
        mox_json_f64(j, "tok_s", per(rep->tokens, rep->seconds));
        mox_json_f64(j, "ram_read_bytes_per_s", rep->around.ram_bytes_per_s);
        mox_json_f64(j, "direct_read_bytes_per_s", rep->around.disk_bytes_per_s);
        mox_json_f64(j, "integer_ops_per_s", rep->around.int_ops_per_s);
        for (int k = 0; k < CEILINGS; k++) {
            mox_json_f64(j, ceiling_names[k], share[k]);
        }
        mox_json_object_end(j);
    }
    mox_json_array_end(j);
}

static void tier_json(mox_json *j, const char *key, double bytes, double rate, double ceiling)
{
    mox_json_object(j, key);
    mox_json_f64(j, "bytes_per_token", bytes);
    mox_json_f64(j, "bytes_per_s", rate);
    mox_json_f64(j, "share_of_ceiling", per(rate, ceiling));
    mox_json_object_end(j);
}

static void test_json(mox_json *j, const mox_bench *b, const mox_bench_test *t)
{
    char name[48];
    mox_bench_rep sum = sum_of(t);
    tier_rates r = rates_of(b, t, &sum);
    mox_bench_spread speed = mox_bench_speed(t);
    mox_json_object(j, NULL);
    mox_json_string(j, "name", mox_bench_name(t, name));
    mox_json_u64(j, "reps", t->n_reps);
    mox_json_object(j, "tok_s");
    spread_json(j, &speed);
    mox_json_object_end(j);
    if (r.ram_bytes >= 0) {
        tier_json(j, "ram", r.ram_bytes, r.ram_rate, b->best.ram_bytes_per_s);
    }
    tier_json(j, "file", r.file_bytes, r.file_rate, b->best.disk_bytes_per_s);
    mox_json_object(j, "integer");
    mox_json_f64(j, "ops_per_token", r.ops);
    mox_json_f64(j, "ops_per_s", r.ops_rate);
    mox_json_f64(j, "share_of_ceiling", per(r.ops_rate, b->best.int_ops_per_s));
    mox_json_object_end(j);
    shares_json(j, b, t);
    reps_json(j, b, t);
    mox_report_counters_json(j, &t->c);
    mox_json_object_end(j);
}

/* Loading is bound by the disk: bytes read at open over the whole time of opening. */
static double load_rate(const mox_load_times *l)
{
    return l->total_s > 0 ? (double)(l->dense_bytes + l->expert_bytes) / l->total_s : 0;
}

static void load_json(mox_json *j, const mox_bench *b)
{
    const mox_load_times *l = mox_get_load(b->ctx);
    mox_json_object(j, "load");
    mox_json_f64(j, "seconds", l->total_s);
    mox_json_f64(j, "dense_seconds", l->dense_s);
    mox_json_f64(j, "experts_seconds", l->experts_s);
    mox_json_u64(j, "dense_bytes", l->dense_bytes);
    mox_json_u64(j, "expert_bytes", l->expert_bytes);
    mox_json_f64(j, "bytes_per_s", load_rate(l));
    mox_json_f64(j, "share_of_ceiling", per(load_rate(l), b->best.disk_bytes_per_s));
    mox_json_object_end(j);
}

void mox_bench_json(const mox_bench *b)
{
    mox_json j;
    mox_json_begin(&j, stdout);
    mox_json_object(&j, NULL);
    mox_json_string(&j, "schema", "moxie.bench/1");
    mox_json_string(&j, "version", MOXIE_VERSION);
    mox_report_run_json(&j, b->o, b->ctx);
    mox_json_string(&j, "prompt_tokens", b->o->text != NULL ? "text" : "random");
    mox_json_string(&j, "answer_tokens", b->o->random_answers ? "random" : "sampled");
    mox_json_u64(&j, "io_limit_bytes_per_s", b->o->cfg.io_limit_bps);
    mox_json_bool(&j, "shuffle_predictions", b->o->cfg.shuffle_predictions);
    mox_json_bool(&j, "routing_replayed", b->o->cfg.replay_routing != NULL);
    mox_json_object(&j, "ceilings");
    mox_ceilings_json(&j, "before", &b->before);
    mox_ceilings_json(&j, "after", &b->after);
    mox_json_u64(&j, "between_ram_read_bytes", mox_between_ram_bytes(b->between));
    mox_json_object_end(&j);
    load_json(&j, b);
    mox_json_array(&j, "tests");
    for (uint32_t i = 0; i < b->n_tests; i++) {
        test_json(&j, b, &b->tests[i]);
    }
    mox_json_array_end(&j);
    mox_json_object_end(&j);
    mox_json_end(&j);
}

static void load_md(const mox_bench *b)
{
    const mox_load_times *l = mox_get_load(b->ctx);
    char dense[24], experts[24];
    printf("load: %.2f s, %.2f GB/s, %.0f %% of O_DIRECT (dense part %s in %.2f s, experts %s in %.2f s)\n\n",
           l->total_s, load_rate(l) / 1e9, 100 * per(load_rate(l), b->best.disk_bytes_per_s),
           mox_human(l->dense_bytes, dense), l->dense_s, mox_human(l->expert_bytes, experts), l->experts_s);
}

static void between_md(const mox_bench *b)
{
    char size[24];
    uint64_t bytes = mox_between_ram_bytes(b->between);
    printf("the machine then: measured before and after each repetition; RAM %s\n",
           bytes > 0 ? mox_human(bytes, size) : "not, too little is free beside the run");
}

static void test_row(const mox_bench *b, const mox_bench_test *t)
{
    char name[48];
    const mox_use_counters *u = &t->c.use[t->decode ? MOX_PHASE_DECODE : MOX_PHASE_PREFILL];
    mox_bench_rep sum = sum_of(t);
    tier_rates r = rates_of(b, t, &sum);
    mox_bench_spread speed = mox_bench_speed(t);
    test_shares s = shares_of(b, t);
    const mox_bench_spread *near = &s.of[s.nearest];
    printf("| %s | %.2f (%.2f .. %.2f) | %.1f | ", mox_bench_name(t, name), speed.median, speed.min,
           speed.max, 100 * per((double)u->hits, (double)u->uses));
    if (r.ram_bytes >= 0) {
        printf("%.2f, %.2f, %.0f %% | ", r.ram_bytes / 1e6, r.ram_rate / 1e9,
               100 * per(r.ram_rate, b->best.ram_bytes_per_s));
    } else {
        printf("not counted | ");
    }
    printf("%.2f, %.2f, %.0f %% | %.1f, %.0f %% | %s %.0f %% (%.0f .. %.0f) |\n", r.file_bytes / 1e6,
           r.file_rate / 1e9, 100 * per(r.file_rate, b->best.disk_bytes_per_s), r.ops_rate / 1e9,
           100 * per(r.ops_rate, b->best.int_ops_per_s), ceiling_names[s.nearest], 100 * near->median,
           100 * near->min, 100 * near->max);
}

void mox_bench_table(const mox_bench *b)
{
    const mox_plan *p = mox_get_plan(b->ctx);
    char model[1024];
    printf("%s, %s, %s, policy %s, look-ahead %s%s\n", mox_ui_shown(b->o->cfg.model, model, sizeof model),
           mox_get_device(b->ctx), mox_get_io(b->ctx), b->o->cfg.policy, mox_get_look_ahead(b->ctx),
           b->o->cfg.act_f32 ? ", audit --act f32" : "");
    printf("%u of %u experts in RAM, prompts are %s, answers are %s\n", p->kept_total, p->experts_total,
           b->o->text != NULL ? "text" : "random ids", b->o->random_answers ? "random ids" : "sampled");
    if (b->o->cfg.replay_routing != NULL) {
        printf("experts as recorded in %s, not as the router says: no text comes of this\n",
               mox_ui_shown(b->o->cfg.replay_routing, model, sizeof model));
    }
    mox_ceilings_print(&b->before, &b->after);
    between_md(b);
    load_md(b);
    printf(
        "| test | tok/s median (min .. max) | hits %% | RAM MB/token, GB/s, of ceiling | file MB/token, "
        "GB/s, of ceiling | integer Gop/s, of ceiling | of the nearest ceiling then, median (min .. max) |\n"
        "|---|---|---|---|---|---|---|\n");
    for (uint32_t i = 0; i < b->n_tests; i++) {
        test_row(b, &b->tests[i]);
    }
}
