/* moxie tune --predict FILE: predictions held against measurements, setting by setting.
 *
 * First, once per number of threads, the model is run with as many experts in memory as fit, which gives the seconds of a
 * token's computing and the routing of the prompts (no setting changes that); and with a fifth, half and four fifths of
 * them. From these come two constants of misses: the share of the disk's rate that they get (they come in bursts, are
 * repacked, share the cores, and some are read ahead), and what a layer with a miss costs beside its bytes. Then for every
 * line of FILE the plan is made and the speed is predicted: computing as measured, hits by replaying the routing through
 * the policy with the plan's quotas and transit slots, reads by the cost model (runtime/plan/cost.h) with these constants.
 * Only then is the line run. Nothing of a line's own run goes into its prediction, nor that of another line.
 */
#include "runtime/cli/tune/tune.h"

#include "offload/policy/replay.h"
#include "runtime/cli/open.h"
#include "runtime/cli/ui.h"
#include "runtime/plan/cost.h"
#include "runtime/plan/placement.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 64, FIRST_ANSWER = 8, TURNS = 3, POINTS = 3, GRID = 60 };
#define ANSWER_S   0.5 /* an answer out of memory */
#define LEAST_BUSY 0.2
#define MOST_BUSY  1.5   /* some are read ahead */
#define MOST_S     0.002 /* of a layer with a miss */

typedef struct prediction {
    char options[160];
    uint32_t kept, total, threads;
    const char *policy;
    double disk_bps, predicted, measured, hits_predicted, hits_measured;
} prediction;

typedef struct predictor {
    mox_tune *t;
    mox_work work;
    double token_s[MAX_THREADS + 1]; /* computing alone, by threads; 0: not measured */
    double busy[MAX_THREADS + 1];    /* share of the disk's rate that misses get */
    double layer_s[MAX_THREADS + 1]; /* of a layer with a miss */
    mox_routing routing;
    mox_replay_step *steps; /* of both phases, in order of time */
    uint8_t *counted;       /* [n_steps]: of the measured answers */
    size_t n_steps;
    double disk_sum; /* of the rates measured so far */
    uint32_t n_disk;
} predictor;

/* The disk's rate: the mean of all that was measured so far. One measurement is off by more than the rate changes between
 * two. */
static mox_err disk_again(predictor *p)
{
    mox_tuned_rates *now = &p->t->found.rates;
    MOX_TRY(mox_tune_disk(p->t, now));
    p->disk_sum += now->disk_bps;
    now->disk_bps = p->disk_sum / ++p->n_disk;
    return MOX_OK;
}

static mox_err merge(predictor *p)
{
    mox_routing *r = &p->routing;
    size_t n[2] = {r->n_steps[0], r->n_steps[1]}, at[2] = {0, 0};
    p->steps = malloc((n[0] + n[1] + 1) * sizeof *p->steps);
    p->counted = malloc(n[0] + n[1] + 1);
    if (!p->steps || !p->counted) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a trace of %zu steps", n[0] + n[1]);
    }
    while (at[0] < n[0] || at[1] < n[1]) {
        int phase = at[0] == n[0] || (at[1] < n[1] && r->steps[1][at[1]].first < r->steps[0][at[0]].first);
        p->counted[p->n_steps] =
            phase && at[1] * (1 + mox_tune_passes(p->t)) >= n[1]; /* not what warmed up */
        p->steps[p->n_steps++] = r->steps[phase][at[phase]++];
    }
    return MOX_OK;
}

/* Share of the measured answers' uses that find their expert kept. */
static mox_err hits(const predictor *p, const mox_plan *plan, const mox_cfg *settings, double *out)
{
    uint32_t classes[MOX_PLAN_MAX_LAYERS];
    mox_replay_result r;
    mox_replay_classes(plan->slot_bytes, plan->n_moe_layers, classes);
    mox_replay_cfg cfg = {.n_layers = p->routing.h.n_layers,
                          .n_experts = p->routing.h.n_experts,
                          .quota = plan->kept,
                          .transit = plan->transit_slots,
                          .size_class = classes,
                          .policy = mox_policy_by_name(settings->policy),
                          .margin = mox_ram_margin(settings),
                          .steps = p->steps,
                          .n_steps = p->n_steps,
                          .experts = p->routing.experts,
                          .uses = p->routing.uses};
    MOX_TRY(mox_replay_part(&cfg, p->counted, &r));
    *out = r.uses ? (double)r.hits / (double)r.uses : 1;
    return MOX_OK;
}

/* The machine of the cost model: what is not reading weights is a fixed cost of every layer. */
static mox_machine machine_of(const predictor *p, uint32_t threads, double busy)
{
    const mox_work *w = &p->work;
    double bytes = w->dense_bytes + w->kv_bytes + (double)w->n_moe_layers * w->top_k * w->expert_bytes;
    double ram = p->t->found.rates.ram_bps, token_s = p->token_s[threads];
    mox_machine m = {.cpu_bps = ram, .dram_bps = ram, .disk_bps = busy * p->t->found.rates.disk_bps};
    if (bytes / ram > token_s) { /* out of caches */
        m.cpu_bps = m.dram_bps = bytes / token_s;
    }
    m.layer_s = (token_s - bytes / m.cpu_bps) / w->n_layers;
    m.disk_handshake_s = p->layer_s[threads];
    return m;
}

/* The turn in the middle of three: a machine with other guests has turns that are twice as long. */
static mox_err middle_turn(const mox_tune *t, const mox_opts *o, mox_tune_turn *out)
{
    mox_tune_turn turn[TURNS];
    for (int i = 0; i < TURNS; i++) {
        MOX_TRY(mox_tune_turn_run(t, o, &turn[i]));
        for (int at = i; at > 0 && turn[at].answer_s < turn[at - 1].answer_s; at--) {
            mox_tune_turn faster = turn[at];
            turn[at] = turn[at - 1];
            turn[at - 1] = faster;
        }
    }
    *out = turn[TURNS / 2];
    return MOX_OK;
}

/* Options for a share of the experts in memory, 0: as many as fit; and their plan. */
static mox_err end_options(const mox_opts *o, uint32_t threads, double pct, mox_opts *out, mox_plan *plan)
{
    static char number[16]; /* the options go on to point to it */
    snprintf(number, sizeof number, "%u", threads);
    MOX_TRY(mox_tune_set(o, "threads", number, out));
    out->cfg.ram = (mox_budget){.kind = pct > 0 ? MOX_BUDGET_EXPERTS_PCT : MOX_BUDGET_AUTO, .pct = pct};
    out->cfg.policy = "auto";
    mox_cfg cfg = out->cfg;
    cfg.log = (mox_log){0};
    return mox_plan_model(plan, &cfg);
}

/* What was measured with a share of the experts in memory. */
typedef struct point {
    double hits, token_s;
} point;

static mox_err measure(predictor *p, const mox_opts *o, uint32_t threads, double pct, point *out)
{
    static mox_plan plan;
    static mox_opts end;
    mox_tune_turn turn;
    MOX_TRY(disk_again(p));
    MOX_TRY(end_options(o, threads, pct, &end, &plan));
    MOX_TRY(middle_turn(p->t, &end, &turn));
    MOX_TRY(disk_again(p));
    out->token_s = turn.answer_s / (double)(turn.answer_tokens + !turn.answer_tokens);
    return hits(p, &plan, &end.cfg, &out->hits);
}

static double modelled(predictor *p, uint32_t threads, const point *at, double busy)
{
    mox_machine m = machine_of(p, threads, busy);
    return mox_cost_token(&m, &p->work, (mox_hits){0, at->hits}, MOX_WAY_CPU).total_s;
}

/* The two constants of misses: those with which the model is nearest to what was measured at all points. Both are
 * bounded by what they stand for: where hardly anything is missed, noise would else become a cost of misses. */
static mox_err fit_misses(predictor *p, const mox_opts *o, uint32_t threads)
{
    static const double shares[POINTS] = {20, 50, 80};
    point at[POINTS];
    double least = INFINITY, busy = 1, layer_s = 0;
    for (int i = 0; i < POINTS; i++) {
        MOX_TRY(measure(p, o, threads, shares[i], &at[i]));
    }
    for (int i = 0; i <= GRID; i++) {
        for (int k = 0; k <= GRID; k++) {
            double share = LEAST_BUSY * pow(MOST_BUSY / LEAST_BUSY, (double)i / GRID), sum = 0;
            p->layer_s[threads] = MOST_S * k / GRID;
            for (int n = 0; n < POINTS; n++) {
                double off = log(modelled(p, threads, &at[n], share) / at[n].token_s);
                sum += off * off;
            }
            if (sum < least) {
                least = sum;
                busy = share;
                layer_s = p->layer_s[threads];
            }
        }
    }
    p->busy[threads] = busy;
    p->layer_s[threads] = layer_s;
    return MOX_OK;
}

/* Both ends with so many threads, and for the first of them the routing. */
static mox_err calibrate(predictor *p, const mox_opts *o, uint32_t threads)
{
    static mox_plan plan;
    static mox_opts all;
    mox_tune_turn turn;
    if (threads > MAX_THREADS || p->token_s[threads] > 0) {
        return MOX_OK;
    }
    MOX_TRY(end_options(o, threads, 0, &all, &plan));
    if (p->steps == NULL) { /* how long an answer should be, and then its routing */
        p->t->n_answer = FIRST_ANSWER;
        MOX_TRY(middle_turn(p->t, &all, &turn));
        mox_tune_length(p->t, &turn, ANSWER_S);
        MOX_TRY(mox_tune_record(p->t, &all, &p->routing));
        MOX_TRY(merge(p));
    }
    MOX_TRY(middle_turn(p->t, &all, &turn));
    double waits = (double)turn.c.wait_ns[MOX_PHASE_DECODE] / 1e9;
    p->token_s[threads] = (turn.answer_s - waits) / (double)(turn.answer_tokens + !turn.answer_tokens);
    MOX_TRY(fit_misses(p, o, threads));
    mox_ui_line(
        "%u thread%s: %.3f ms of computing a token; misses: %.0f %% of the disk's rate, %.2f ms a layer",
        threads, threads == 1 ? "" : "s", 1e3 * p->token_s[threads], 100 * p->busy[threads],
        1e3 * p->layer_s[threads]);
    return MOX_OK;
}

/* A word that a line may have: an option that every run can be given. */
static mox_err check_word(const char *word, const char *value)
{
    const char *nearest = NULL;
    if (strncmp(word, "--", 2) != 0 || value == NULL) {
        return MOX_FAIL(MOX_E_OPTION, "'%.40s' is not --name value", word);
    }
    const mox_option *opt = mox_option_key(word + 2, &nearest);
    if (opt != NULL && ((opt->commands & MOX_CMD_TUNE) == 0 || strcmp(opt->name, "model") == 0 ||
                        strcmp(opt->name, "device") == 0)) {
        return MOX_FAIL(MOX_E_OPTION, "%.40s cannot differ from line to line", word);
    }
    return MOX_OK;
}

/* One line: its options onto the command's. */
static mox_err parse(const mox_tune *t, char *line, mox_opts *out)
{
    char *rest = line;
    *out = *t->o;
    for (char *word = strsep(&rest, " \t"); word != NULL; word = strsep(&rest, " \t")) {
        static mox_opts before;
        if (word[0] == '\0') {
            continue;
        }
        char *value = strsep(&rest, " \t");
        MOX_TRY(check_word(word, value));
        before = *out;
        if (strncmp(word, "--ram", 5) == 0) { /* the command's own budget is another one */
            before.ram = (mox_budget){.kind = MOX_BUDGET_AUTO};
            before.ram_experts = before.ram;
        }
        MOX_TRY(mox_tune_set(&before, word + 2, value, out));
    }
    return MOX_OK;
}

static mox_err bad_line(const mox_tune *t, uint32_t number)
{
    mox_err_info why = *mox_err_last();
    (void)MOX_FAIL(MOX_E_OPTION, "--predict %.100s:%u: %.300s", t->o->predict, number, why.msg);
    return mox_err_fix("a line of options each: --ram-experts 50%% --threads 2");
}

static bool is_remark(const char *line)
{
    return line[strspn(line, " \t\r")] == '\0' || line[0] == '#';
}

mox_err mox_tune_lines(mox_tune *t)
{
    static mox_opts o;
    size_t n = 0;
    uint32_t number = 0, n_lines = 0;
    MOX_TRY(mox_cli_read_all(t->o->predict, &t->lines, &n));
    char *copy = strlen(t->lines) == n ? strdup(t->lines) : NULL;
    if (copy == NULL) {
        return MOX_FAIL(MOX_E_OPTION, "--predict %.300s: that is no text", t->o->predict);
    }
    mox_err err = t->plan.n_devices > 0 ? MOX_FAIL(MOX_E_CONFLICT, "--predict: without a device") : MOX_OK;
    for (char *rest = copy, *line = strsep(&rest, "\n"); line != NULL && err == MOX_OK;
         line = strsep(&rest, "\n")) {
        number++;
        if (!is_remark(line)) {
            n_lines++;
            err = parse(t, line, &o) == MOX_OK ? MOX_OK : bad_line(t, number);
        }
    }
    free(copy);
    if (err == MOX_OK && n_lines == 0) {
        err = MOX_FAIL(MOX_E_OPTION, "--predict %.300s: there is no line of options in it", t->o->predict);
    }
    return err;
}

static mox_err one(predictor *p, const mox_opts *o, prediction *out)
{
    static mox_plan plan;
    mox_tune_turn turn;
    mox_cfg cfg = o->cfg;
    cfg.log = (mox_log){0};
    MOX_TRY(mox_plan_work(&plan, &p->work, &cfg));
    MOX_TRY(calibrate(p, o, plan.n_threads));
    MOX_TRY(hits(p, &plan, &o->cfg, &out->hits_predicted));
    MOX_TRY(disk_again(p));
    mox_machine m = machine_of(p, plan.n_threads, p->busy[plan.n_threads]);
    out->predicted =
        1 / mox_cost_token(&m, &p->work, (mox_hits){0, out->hits_predicted}, MOX_WAY_CPU).total_s;
    out->disk_bps = p->t->found.rates.disk_bps;
    out->kept = plan.kept_total;
    out->total = plan.experts_total;
    out->threads = plan.n_threads;
    MOX_TRY(middle_turn(p->t, o, &turn));
    const mox_use_counters *u = &turn.c.use[MOX_PHASE_DECODE];
    out->hits_measured = u->uses ? (double)u->hits / (double)u->uses : 1;
    out->measured = turn.answer_s > 0 ? (double)turn.answer_tokens / turn.answer_s : 0;
    return MOX_OK;
}

static void show(const prediction *p)
{
    printf("| %s | %u of %u | %.2f | %.1f, %.1f | %.2f | %.2f | %+.1f |\n", p->options, p->kept, p->total,
           p->disk_bps / 1e9, 100 * p->hits_predicted, 100 * p->hits_measured, p->predicted, p->measured,
           100 * (p->predicted / p->measured - 1));
    fflush(stdout);
}

static mox_err lines(predictor *p, char *text)
{
    static mox_opts o;
    double worst = 0;
    uint32_t n = 0;
    puts("| options | experts in RAM | file GB/s | hits %: predicted, measured | tok/s predicted | measured "
         "| off by % |\n"
         "|---|---|---|---|---|---|---|");
    for (char *rest = text, *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        prediction q = {.policy = "auto"};
        if (is_remark(line) || mox_stop_requested() != 0) {
            continue;
        }
        snprintf(q.options, sizeof q.options, "%s", line);
        MOX_TRY(parse(p->t, line, &o));
        MOX_TRY(one(p, &o, &q));
        if (mox_stop_requested() == 0) {
            show(&q);
            double off = fabs(q.predicted / q.measured - 1);
            worst = off > worst ? off : worst;
            n++;
        }
    }
    printf("\n%u settings, worst %.1f %%\n", n, 100 * worst);
    return MOX_OK;
}

mox_err mox_tune_predict(mox_tune *t)
{
    predictor p = {.t = t};
    mox_err err = lines(&p, t->lines);
    mox_routing_free(&p.routing);
    free(p.steps);
    free(p.counted);
    return err;
}
