/* Recurrent states of sequences: what a model with layers of gated delta nets can take back, that a broken step changes
 * nothing, and that sequences in one step do not see each other.
 */
#include "graph/fixture.h"
#include "runtime/context.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const char model[] = "models/qwen3next-a.gguf";
enum { N = 24, MANY = 64, MORE = 6, VOCAB = 363, ROW = VOCAB * sizeof(float) };

static uint32_t token(uint32_t seq, uint32_t pos)
{
    return ((pos + 100 * seq) * 2654435761u >> 16) % VOCAB;
}

static void tokens_of(uint32_t seq, uint32_t *out)
{
    for (uint32_t i = 0; i < N + MORE; i++) {
        out[i] = token(seq, i);
    }
}

static mox_ctx *open_model(uint32_t n_seq, uint32_t batch)
{
    static char path[1024];
    mox_cfg cfg = fx_plain(model, 50, path, sizeof path);
    cfg.n_ctx = 64;
    cfg.n_seq = n_seq;
    cfg.n_batch = batch;
    return fx_open(&cfg);
}

/* Logits of the tokens [from, to) of a sequence that holds the ones before, into rows of `out`. */
static void go(mox_ctx *ctx, uint32_t seq, uint32_t from, uint32_t to, float *out)
{
    for (uint32_t i = from; i < to; i++) {
        const mox_row row = {.seq = seq, .pos = i, .token = token(seq, i), .want_logits = true};
        fx_ok(mox_step(ctx, &row, 1, MOX_PHASE_DECODE, out + (size_t)i * VOCAB), "step");
    }
}

static float *expected(uint32_t seq)
{
    float *want = malloc((N + MORE) * ROW);
    mox_ctx *ctx = open_model(2, 64);
    go(ctx, seq, 0, N + MORE, want);
    mox_close(&ctx);
    return want;
}

static void same(const float *got, const float *want, uint32_t from, uint32_t to, const char *what)
{
    cr_expect(memcmp(got + (size_t)from * VOCAB, want + (size_t)from * VOCAB, (to - from) * ROW) == 0,
              "%s: other bits", what);
}

/* A prompt is read, answered, and answered again: its state before the last token is still there. Further back there is
 * only the beginning. */
Test(graph_states, a_sequence_goes_back_to_a_state_that_it_has)
{
    float *want = expected(0), *got = malloc((N + MORE) * ROW);
    uint32_t ids[N + MORE];
    tokens_of(0, ids);
    mox_ctx *ctx = open_model(1, 7);
    fx_ok(mox_eval(ctx, 0, ids, N, false, NULL, NULL), "prompt");
    for (int turn = 0; turn < 3; turn++) {
        go(ctx, 0, mox_seq_len(ctx, 0), N + MORE, got);
        same(got, want, N, N + MORE, "an answer");
        mox_seq_keep(ctx, 0, N + (turn == 1));
        cr_expect_eq(mox_seq_len(ctx, 0), N - 1, "turn %d: %u are left", turn, mox_seq_len(ctx, 0));
    }
    go(ctx, 0, N - 1, N + 2, got);
    mox_seq_keep(ctx, 0, N + 1); /* before the last step */
    cr_expect_eq(mox_seq_len(ctx, 0), N + 1);
    mox_seq_keep(ctx, 0, N + 1);
    cr_expect_eq(mox_seq_len(ctx, 0), N + 1, "nothing was to be forgotten");
    go(ctx, 0, N + 1, N + MORE, got);
    same(got, want, N - 1, N + MORE, "after one step back");
    mox_seq_keep(ctx, 0, N - 2); /* before the mark */
    cr_expect_eq(mox_seq_len(ctx, 0), 0);
    fx_ok(mox_eval(ctx, 0, ids, N, false, NULL, NULL), "again");
    go(ctx, 0, N, N + MORE, got);
    same(got, want, N, N + MORE, "from the beginning");
    mox_seq_clear(ctx, 0);
    go(ctx, 0, 0, 3, got);
    same(got, want, 0, 3, "after it was cleared");
    mox_close(&ctx);
    free(want), free(got);
}

/* A position that the state has passed, or has not reached, is refused. */
Test(graph_states, a_step_that_does_not_extend_the_state_is_refused)
{
    mox_ctx *ctx = open_model(1, 8);
    float *got = malloc((N + MORE) * ROW);
    go(ctx, 0, 0, 5, got);
    mox_seq_keep(ctx, 0, 2);
    const mox_row row = {.pos = 2, .token = 5};
    cr_expect_eq(mox_step(ctx, &row, 1, MOX_PHASE_DECODE, NULL), MOX_E_ARG);
    cr_expect(strstr(mox_err_last()->msg, "does not extend its 0") != NULL, "%s", mox_err_last()->msg);
    mox_close(&ctx);
    free(got);
}

Test(graph_states, sequences_of_one_step_do_not_see_each_other)
{
    float *want[2] = {expected(0), expected(1)}, *got = malloc(2 * N * ROW);
    mox_ctx *ctx = open_model(2, 2 * N);
    for (uint32_t begin = 0, n = 1; begin < N; begin += n, n = begin + 5 < N ? 5 : N - begin) {
        mox_row rows[2 * N];
        for (uint32_t i = 0; i < 2 * n; i++) {
            rows[i] = (mox_row){.seq = i % 2, .pos = begin + i / 2, .want_logits = true};
            rows[i].token = token(rows[i].seq, rows[i].pos);
        }
        fx_ok(mox_step(ctx, rows, 2 * n, MOX_PHASE_PREFILL, got), "step of two sequences");
        for (uint32_t i = 0; i < 2 * n; i++) {
            cr_expect(memcmp(got + (size_t)i * VOCAB, want[i % 2] + (size_t)rows[i].pos * VOCAB, ROW) == 0,
                      "sequence %u, position %u: other bits", i % 2, rows[i].pos);
        }
    }
    mox_close(&ctx);
    free(want[0]), free(want[1]), free(got);
}

static uint32_t calls_left;

static bool after_some_calls(void *arg)
{
    (void)arg;
    return calls_left-- == 0;
}

Test(graph_states, a_step_that_is_broken_off_changes_nothing)
{
    float *want = expected(0), *got = malloc((N + MORE) * ROW);
    uint32_t ids[N + MORE];
    tokens_of(0, ids);
    mox_ctx *ctx = open_model(1, 64);
    fx_ok(mox_eval(ctx, 0, ids, N, false, NULL, NULL), "prompt");
    for (uint32_t i = N; i < N + MORE; i++) {
        ctx->graph.cancelled = after_some_calls;
        for (uint32_t calls = 0; calls < 8; calls++) { /* before each of the four layers' two operations */
            calls_left = calls;
            const mox_row row = {.pos = i, .token = calls};
            cr_assert_eq(mox_step(ctx, &row, 1, MOX_PHASE_DECODE, NULL), MOX_E_CANCELLED);
            cr_assert_eq(mox_seq_len(ctx, 0), i);
        }
        ctx->graph.cancelled = NULL;
        go(ctx, 0, i, i + 1, got);
    }
    same(got, want, N, N + MORE, "after broken steps");
    mox_seq_keep(ctx, 0, N);
    cr_expect_eq(mox_seq_len(ctx, 0), N - 1, "the mark was not overwritten");
    go(ctx, 0, N - 1, N + MORE, got);
    same(got, want, N - 1, N + MORE, "from the mark");
    mox_close(&ctx);
    free(want), free(got);
}

/* The plan is the allocation, and counts what a layer keeps: positions where it attends, states where it does not. */
Test(graph_states, the_plan_counts_states)
{
    uint64_t kv[2];
    for (uint32_t i = 0; i < 2; i++) {
        mox_ctx *ctx = open_model(1 + i * MANY, 8);
        const mox_plan *plan = mox_get_plan(ctx);
        cr_expect_eq(mox_actual_bytes(ctx) + plan->process_bytes, plan->total_bytes);
        kv[i] = plan->kv_bytes;
        mox_close(&ctx);
    }
    const uint64_t states = 3 * 3 * (3 * 128 + 4 * 16 * 16) * 4; /* layers, slots, floats */
    const uint64_t cache = 64 * 2 * 2 * 32 * 2;                  /* positions, heads, K and V, f16 */
    const uint64_t more = kv[1] - kv[0], page = 4096;
    cr_expect(more / MANY <= states + cache + page && more / MANY + page >= states + cache,
              "%llu bytes more for %d more sequences", (unsigned long long)more, MANY);
}
