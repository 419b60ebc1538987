/* One repetition of a bench, and the repetitions of a test.
 *
 * An answer is sampled at temperature 1, with ends ignored, so that every repetition makes the same tokens; or,
 * with --tokens-from random, nothing is sampled and random ids are fed, others in each repetition: a model with
 * random weights repeats itself when it is sampled, which flatters every cache, and llama-bench feeds random ids
 * too. An answer begins behind --depth tokens of the prompt, whose time and reads are not counted. Before the first
 * repetition and after each the machine is measured.
 */
#include "runtime/cli/bench/bench.h"

#include "runtime/cli/ui.h"
#include "runtime/core/clock.h"

#include <stdio.h>

/* A repetition while it runs. */
typedef struct rep_run {
    mox_ctx *ctx;
    mox_bench_rep *rep;
    uint64_t reads_at_start; /* UINT64_MAX: the prompt is not done */
} rep_run;

static uint64_t reads_so_far(mox_ctx *ctx)
{
    mox_counters c;
    mox_get_counters(ctx, &c, NULL);
    return c.io.read_bytes;
}

static void rep_end(rep_run *r, double tokens, double seconds)
{
    r->rep->tokens = tokens;
    r->rep->seconds = seconds;
    r->rep->read_bytes = reads_so_far(r->ctx) - r->reads_at_start;
}

/* Called first when the prompt is done. */
static bool keep_going(void *arg, uint32_t id, const char *text, size_t n)
{
    (void)id, (void)text, (void)n;
    rep_run *r = arg;
    if (r != NULL && r->reads_at_start == UINT64_MAX) {
        r->reads_at_start = reads_so_far(r->ctx);
    }
    return mox_stop_requested() == 0;
}

uint32_t mox_bench_random_id(mox_bench *b)
{
    b->random = b->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((b->random >> 33) % b->info.n_vocab);
}

static mox_err prefill_once(mox_bench *b, const mox_bench_test *t, rep_run *r)
{
    mox_gen_cfg gen = {.prompt = b->ids,
                       .n_prompt = t->n_tokens,
                       .max_new = 1,
                       .sampling = {.temp = 1, .top_p = 1, .seed = b->o->seed},
                       .ignore_end = true,
                       .on_token = keep_going};
    mox_gen_result out = {0};
    r->reads_at_start = reads_so_far(b->ctx);
    MOX_TRY(mox_generate(b->ctx, 0, &gen, &out));
    rep_end(r, t->n_tokens, out.prefill_s);
    return MOX_OK;
}

static mox_err decode_sampled_once(mox_bench *b, const mox_bench_test *t, rep_run *r)
{
    mox_gen_cfg gen = {.prompt = b->ids,
                       .n_prompt = t->depth > 0 ? t->depth : 1,
                       .max_new = t->n_tokens,
                       .sampling = {.temp = 1, .top_p = 1, .seed = b->o->seed},
                       .ignore_end = true,
                       .on_token = keep_going,
                       .arg = r};
    mox_gen_result out = {0};
    mox_counters c;
    mox_get_counters(b->ctx, &c, NULL);
    uint64_t before = c.tokens[MOX_PHASE_DECODE];
    r->reads_at_start = UINT64_MAX;
    MOX_TRY(mox_generate(b->ctx, 0, &gen, &out));
    mox_get_counters(b->ctx, &c, NULL);
    rep_end(r, (double)(c.tokens[MOX_PHASE_DECODE] - before), out.decode_s);
    r->rep->depth_s = out.prefill_s;
    return MOX_OK;
}

/* Steps of one token each whose logits are computed and not used. */
static mox_err decode_random_once(mox_bench *b, const mox_bench_test *t, rep_run *r)
{
    uint64_t start = mox_now_ns();
    if (t->depth > 0) {
        MOX_TRY(mox_eval(b->ctx, 0, b->ids, t->depth, false, NULL, NULL));
    }
    r->rep->depth_s = (double)(mox_now_ns() - start) / 1e9;
    r->reads_at_start = reads_so_far(b->ctx);
    uint32_t n = 0;
    uint64_t begin = mox_now_ns();
    while (n < t->n_tokens && mox_stop_requested() == 0) {
        mox_row row = {.pos = t->depth + n++, .token = mox_bench_random_id(b), .want_logits = true};
        MOX_TRY(mox_step(b->ctx, &row, 1, MOX_PHASE_DECODE, b->logits));
    }
    rep_end(r, n, (double)(mox_now_ns() - begin) / 1e9);
    return MOX_OK;
}

static uint64_t used_so_far(mox_ctx *ctx)
{
    mox_counters c;
    mox_get_counters(ctx, &c, NULL);
    const mox_use_counters *u = &c.use[MOX_PHASE_DECODE];
    return u->hit_bytes + u->late_bytes + u->miss_bytes;
}

mox_err mox_bench_once(mox_bench *b, const mox_bench_test *t, mox_bench_rep *rep)
{
    *rep = (mox_bench_rep){0};
    rep_run r = {.ctx = b->ctx, .rep = rep};
    uint64_t used = used_so_far(b->ctx);
    mox_seq_clear(b->ctx, 0);
    MOX_TRY(!t->decode             ? prefill_once(b, t, &r)
            : b->o->random_answers ? decode_random_once(b, t, &r)
                                   : decode_sampled_once(b, t, &r));
    rep->used_bytes = used_so_far(b->ctx) - used;
    return MOX_OK;
}

const char *mox_bench_name(const mox_bench_test *t, char name[48])
{
    int n = snprintf(name, 48, "%s %u", t->decode ? "decode" : "prefill", t->n_tokens);
    if (t->depth > 0) {
        snprintf(name + n, 48 - (size_t)n, " at %u", t->depth);
    }
    return name;
}

mox_err mox_bench_measure(mox_bench *b, mox_bench_test *t)
{
    char name[48];
    mox_between_rates before, after;
    MOX_TRY(mox_bench_once(b, t, &t->reps[0]));
    mox_reset_counters(b->ctx);
    MOX_TRY(mox_between_measure(b->between, &before));
    while (t->n_reps < b->o->reps && mox_stop_requested() == 0) {
        mox_bench_rep *rep = &t->reps[t->n_reps];
        MOX_TRY(mox_bench_once(b, t, rep));
        MOX_TRY(mox_between_measure(b->between, &after));
        rep->around = mox_between_mean(&before, &after);
        before = after;
        t->n_reps++;
        mox_ui_line("%s: %.2f tok/s (%u of %u)", mox_bench_name(t, name),
                    rep->seconds > 0 ? rep->tokens / rep->seconds : 0, t->n_reps, b->o->reps);
    }
    mox_get_counters(b->ctx, &t->c, NULL);
    return MOX_OK;
}
