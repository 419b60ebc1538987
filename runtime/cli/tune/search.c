/* The search of `moxie tune`: one setting after another, each against the best so far.
 *
 * Machines drift by more than settings differ, so the two are measured in turns (A B, B A, A B): a setting must be faster in
 * every pair and its median by 3 %, and the hash of all logits must be the same. A setting that is much slower at once is
 * not measured again. What the command line says stays; what cannot matter (how the file is read, where all experts are
 * in memory) is not tried. Later settings are judged with the earlier ones in force.
 */
#include "runtime/cli/tune/tune.h"

#include "runtime/cli/ui.h"
#include "runtime/core/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GAIN     1.03 /* what a setting must bring */
#define HOPELESS 0.85 /* of the speed: the first pair says enough */

typedef struct candidate {
    const char *option;
    char value[MOX_TUNED_VALUE]; /* "": found when its turn comes */
} candidate;

static void add(candidate *list, uint32_t *n, const char *option, uint32_t number)
{
    if (*n < MOX_TUNE_TRIALS) {
        list[*n].option = option;
        snprintf(list[(*n)++].value, sizeof list->value, "%u", number);
    }
}

static void add_words(candidate *list, uint32_t *n, const char *option, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (*n < MOX_TUNE_TRIALS) {
            list[*n].option = option;
            snprintf(list[(*n)++].value, sizeof list->value, "%s", *words);
        }
    }
}

static void add_threads(const mox_tune *t, candidate *list, uint32_t *n)
{
    uint32_t cores = t->plan.n_threads;
    mox_topo *topo = NULL;
    if (mox_topo_create(&topo) == MOX_OK) {
        cores = mox_topo_cores(topo);
    }
    mox_topo_destroy(&topo);
    const uint32_t threads[] = {1, cores / 2, cores - 1, cores, cores * 2};
    for (uint32_t i = 0, last = 0; i < 5; i++) {
        if (threads[i] > last && threads[i] != t->plan.n_threads &&
            (i < 4 || sysconf(_SC_NPROCESSORS_ONLN) > cores)) {
            add(list, n, "threads", threads[i]);
        }
        last = threads[i] > last ? threads[i] : last;
    }
}

/* Everything that may matter for this plan, what matters most first. */
static uint32_t candidates(const mox_tune *t, candidate *list)
{
    static const char *const policies[] = {"lru", "lfu", "static", NULL}, *const off[] = {"off", NULL};
    static const char *const io[] = {"pread", NULL}, *const misses[] = {"cpu", "copy", "split", NULL};
    static const char *const later[] = {"", NULL};
    const mox_plan *p = &t->plan;
    uint32_t n = 0;
    bool misses_some = p->kept_total + p->vram_experts < p->experts_total;
    add_threads(t, list, &n);
    if (p->n_devices > 0) { /* VRAM for experts, or for what crosses; and how misses are served */
        for (uint32_t quarters = 3; quarters > 1 && p->vram_experts > 3; quarters--) {
            add(list, &n, "vram-experts", p->vram_experts * quarters / 4);
        }
        add_words(list, &n, "miss", misses);
    }
    if (misses_some && p->budget_bytes > 0) { /* RAM for prompts, or for experts */
        for (uint32_t batch = 32; batch < p->n_batch; batch *= 4) {
            add(list, &n, "batch", batch);
        }
    }
    if (misses_some) {
        add_words(list, &n, "policy", policies);
        add(list, &n, "margin", p->n_devices > 0 ? 0 : 1);
        if (p->n_devices > 0) {
            add(list, &n, "margin", 3);
        } else if (p->kept_total > 0) {
            add_words(list, &n, "layer-shares", later);
        }
        add_words(list, &n, "look-ahead", off);
        add(list, &n, "io-depth", 8);
        add(list, &n, "io-depth", 64);
        add_words(list, &n, "io", io);
    }
    return n;
}

static bool over(const mox_tune *t)
{
    return mox_stop_requested() != 0 || mox_now_ns() >= t->deadline_ns;
}

static bool same_hash(const mox_tune_turn *a, const mox_tune_turn *b)
{
    return a->hash.lo == b->hash.lo && a->hash.hi == b->hash.hi;
}

/* A turn, and what it says of computing: one turn may be disturbed, the median of many is what `plan` is told. */
static mox_err take_turn(mox_tune *t, const mox_opts *o, mox_tune_turn *out)
{
    MOX_TRY(mox_tune_turn_run(t, o, out));
    uint64_t tokens = out->c.tokens[MOX_PHASE_DECODE];
    bool same_threads = o->cfg.n_threads == 0 || o->cfg.n_threads == t->plan.n_threads;
    if (same_threads && tokens > 0 && t->n_token_s < MOX_TUNE_TURNS) {
        t->token_s[t->n_token_s++] = (double)out->c.compute_ns[MOX_PHASE_DECODE] / 1e9 / (double)tokens;
    }
    return MOX_OK;
}

/* One pair: which of the two is first changes. False: it was not finished. */
static mox_err pair(mox_tune *t, const mox_opts *const side[2], uint32_t i, mox_tune_turn turn[2],
                    bool *whole)
{
    *whole = false;
    for (uint32_t k = 0; k < 2; k++) {
        uint32_t which = (i + k) % 2;
        MOX_TRY(take_turn(t, side[which], &turn[which]));
        if (mox_stop_requested() != 0) {
            return MOX_OK;
        }
    }
    *whole = true;
    return MOX_OK;
}

/* Pairs until it is decided. Every pair must agree: medians of three alone are carried by one lucky turn. */
static mox_err compare(mox_tune *t, const mox_opts *was, const mox_opts *other, mox_tune_trial *trial,
                       mox_tune_turn turn[2])
{
    const mox_opts *const side[2] = {was, other};
    double a[MOX_TUNE_PAIRS], b[MOX_TUNE_PAIRS];
    for (uint32_t i = 0; i < MOX_TUNE_PAIRS && !over(t); i++) {
        bool whole = false;
        MOX_TRY(pair(t, side, i, turn, &whole));
        if (!whole) {
            break;
        }
        a[i] = turn[0].total_s;
        b[i] = turn[1].total_s;
        trial->pairs = i + 1;
        trial->faster += b[i] < a[i];
        trial->other_logits = !same_hash(&turn[0], &turn[1]);
        if (trial->other_logits || a[0] < HOPELESS * b[0]) {
            break;
        }
    }
    if (trial->pairs > 0) {
        trial->was_s = mox_bench_spread_of(a, trial->pairs).median;
        trial->is_s = mox_bench_spread_of(b, trial->pairs).median;
        trial->gain = trial->was_s / trial->is_s;
    }
    bool decided =
        trial->pairs == MOX_TUNE_PAIRS || trial->other_logits || (trial->pairs > 0 && trial->gain < HOPELESS);
    trial->note = decided ? NULL : mox_stop_requested() ? "stopped" : "out of time";
    trial->kept = decided && trial->faster == trial->pairs && !trial->other_logits && trial->gain >= GAIN;
    return MOX_OK;
}

/* Of an option that every run has. */
static mox_setting *setting_of(mox_opts *o, const char *option)
{
    const char *nearest = NULL;
    return &o->set[mox_option_key(option, &nearest) - mox_options];
}

static void current(mox_opts *o, const char *option, const mox_plan *plan, char out[MOX_TUNED_VALUE])
{
    const char *v = setting_of(o, option)->value;
    bool automatic = v == NULL || strcmp(v, "auto") == 0;
    if (automatic && strcmp(option, "threads") == 0) {
        snprintf(out, MOX_TUNED_VALUE, "%u", plan->n_threads);
    } else if (automatic && strcmp(option, "vram-experts") == 0) {
        snprintf(out, MOX_TUNED_VALUE, "%u", plan->vram_experts);
    } else {
        snprintf(out, MOX_TUNED_VALUE, "%s", v ? v : "auto");
    }
}

static bool on_the_command_line(mox_opts *o, const char *option)
{
    const mox_setting *s = setting_of(o, option);
    return s->origin == MOX_FROM_ARGS && s->rank < MOX_TUNE_RANK;
}

static void keep(mox_tune *t, const mox_opts *other, const candidate *c)
{
    mox_tuned *f = &t->found;
    uint32_t at = 0;
    while (at < f->n && strcmp(f->key[at], c->option) != 0) {
        at++;
    }
    if (at < MOX_TUNED_SETTINGS) {
        f->key[at] = c->option;
        snprintf(f->value[at], sizeof f->value[at], "%s", c->value);
        f->n = at == f->n ? at + 1 : f->n;
        *t->o = *other;
        setting_of(t->o, c->option)->value = f->value[at]; /* the candidate's text does not last */
    }
}

static const char *verdict(const mox_tune_trial *r)
{
    return r->kept                ? "kept"
           : r->other_logits      ? "OTHER LOGITS, refused"
           : r->note              ? r->note
           : r->faster < r->pairs ? "refused, not faster in every pair"
                                  : "refused, not 3 % faster";
}

static void show(const mox_tune_trial *r)
{
    if (r->pairs == 0) {
        mox_ui_line("--%s %s: %s", r->option, r->value, r->note);
        return;
    }
    mox_ui_line("--%s %s against %s: %.3f s against %.3f, %.3f times as fast, faster in %u of %u pair%s: %s",
                r->option, r->value, r->was, r->is_s, r->was_s, r->gain, r->faster, r->pairs,
                r->pairs == 1 ? "" : "s", verdict(r));
}

/* A value that is found only now, and whether there is one; whether it can matter with what was kept before. */
static mox_err worth_trying(const mox_tune *t, candidate *c, bool *out)
{
    const char *policy = t->o->cfg.policy;
    *out = strcmp(c->option, "margin") != 0 || strcmp(policy, "auto") == 0 || strcmp(policy, "dlfu") == 0;
    if (strcmp(c->option, "layer-shares") == 0) {
        MOX_TRY(mox_tune_shares(t, c->value));
        *out = c->value[0] != '\0';
        if (!*out && mox_stop_requested() == 0) {
            mox_ui_line("--layer-shares: what was recorded asks for equal shares");
        }
    }
    return MOX_OK;
}

static mox_err try_one(mox_tune *t, candidate *c)
{
    static mox_opts other;
    bool worth = false;
    mox_tune_trial *r = &t->trial[t->n_trials];
    mox_tune_turn turn[2];
    if (!over(t)) {
        MOX_TRY(worth_trying(t, c, &worth));
        if (!worth) {
            return MOX_OK;
        }
    } else if (c->value[0] == '\0') { /* nothing more is measured for a value */
        snprintf(c->value, sizeof c->value, "by routing");
    }
    *r = (mox_tune_trial){.option = c->option};
    snprintf(r->value, sizeof r->value, "%s", c->value);
    current(t->o, c->option, &t->plan, r->was);
    if (strcmp(r->was, r->value) == 0) {
        return MOX_OK;
    }
    t->n_trials++;
    mox_err err = MOX_OK;
    if (!over(t)) {
        MOX_TRY(mox_tune_set(t->o, c->option, c->value, &other));
        err = compare(t, t->o, &other, r, turn);
    }
    if (err != MOX_OK && mox_err_last()->code == MOX_E_NO_FIT) {
        r->note = "does not fit";
        err = MOX_OK;
    }
    MOX_TRY(err);
    if (r->pairs == 0 && r->note == NULL) {
        r->note = mox_stop_requested() ? "stopped" : "out of time";
    }
    show(r);
    if (r->kept) {
        keep(t, &other, c);
        t->last = turn[1];
        t->found.gain *= r->gain;
    }
    return MOX_OK;
}

/* Answers long enough for a turn to take its share of the time. */
static mox_err first_turn(mox_tune *t, uint32_t n_candidates)
{
    double room = (double)(t->deadline_ns - mox_now_ns()) / 1e9;
    t->turn_s = room / (2 * MOX_TUNE_PAIRS * (n_candidates + 1));
    t->turn_s = t->turn_s > 4 ? 4 : t->turn_s;
    t->n_answer = 8;
    MOX_TRY(take_turn(t, t->o, &t->first));
    double left = t->turn_s - t->first.open_s - 2 * t->first.prompt_s;
    left = left > t->turn_s / 4 ? left : t->turn_s / 4;
    mox_tune_length(t, &t->first, left / 2);
    t->n_token_s = 0; /* that one was a few tokens long */
    return take_turn(t, t->o, &t->first);
}

/* All that was kept together against what there was at first: gains do not simply multiply. */
static mox_err confirm(mox_tune *t, const mox_opts *first)
{
    mox_tune_trial r = {.option = "all"};
    mox_tune_turn turn[2];
    if (t->found.n == 0) {
        return MOX_OK;
    }
    uint64_t deadline = t->deadline_ns; /* what was found is worth three more pairs */
    t->deadline_ns = UINT64_MAX;
    mox_err err = mox_stop_requested() ? MOX_OK : compare(t, first, t->o, &r, turn);
    t->deadline_ns = deadline;
    MOX_TRY(err);
    t->confirmed = r.note == NULL && r.pairs > 0;
    if (!t->confirmed) {
        return MOX_OK;
    }
    t->first = turn[0];
    t->last = turn[1];
    t->found.gain = r.gain;
    mox_ui_line("together %.3f s against %.3f at first, %.3f times as fast, faster in %u of %u pairs: %s",
                r.is_s, r.was_s, r.gain, r.faster, r.pairs, r.kept ? "kept" : "nothing is kept");
    if (!r.kept) {
        t->found.n = 0;
        t->found.gain = 1;
    }
    return MOX_OK;
}

mox_err mox_tune_search(mox_tune *t)
{
    static candidate list[MOX_TUNE_TRIALS];
    static mox_opts first;
    uint32_t n = candidates(t, list);
    first = *t->o;
    MOX_TRY(first_turn(t, n));
    t->last = t->first;
    for (uint32_t i = 0; i < n && mox_stop_requested() == 0; i++) {
        if (!on_the_command_line(t->o, list[i].option)) {
            MOX_TRY(try_one(t, &list[i]));
        }
    }
    return confirm(t, &first);
}
