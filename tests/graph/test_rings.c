/* Layers that see a window keep a ring of positions: the logits of a cache that holds all, less memory, and a sequence
 * that goes back only as far as the ring does.
 */
#include "graph/fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* gptoss-a: a window of 16 in every other layer. Steps of few rows leave a ring of 1280 positions; with these many all are
 * kept. */
enum { CTX = 1500, FEW = 100, MANY = 1024, VOCAB = 363, BACK = 1490 };

static uint32_t token(uint32_t pos)
{
    return (pos * 2654435761u >> 16) % VOCAB;
}

static mox_ctx *open_model(uint32_t batch)
{
    static char path[1024];
    mox_cfg cfg = fx_plain("models/gptoss-a.gguf", 100, path, sizeof path);
    cfg.log.level = MOX_LOG_ERROR; /* longer than it was trained with */
    cfg.n_ctx = CTX;
    cfg.n_batch = batch;
    return fx_open(&cfg);
}

static void read_tokens(mox_ctx *ctx, uint32_t from, uint32_t to)
{
    uint32_t ids[CTX];
    for (uint32_t i = from; i < to; i++) {
        ids[i - from] = token(i);
    }
    fx_ok(mox_eval(ctx, 0, ids, to - from, false, NULL, NULL), "eval");
}

/* Logits of a token at the end of what the sequence holds. */
static void one_more(mox_ctx *ctx, float *out)
{
    const uint32_t pos = mox_seq_len(ctx, 0);
    const mox_row row = {.pos = pos, .token = token(pos), .want_logits = true};
    fx_ok(mox_step(ctx, &row, 1, MOX_PHASE_DECODE, out), "step");
}

Test(graph_rings, a_ring_gives_the_logits_of_a_whole_cache_in_less_memory)
{
    static const uint32_t batches[] = {MANY, FEW, 1};
    mox_hash128 want = {0};
    uint64_t whole = 0;
    for (int i = 0; i < 3; i++) {
        mox_ctx *ctx = open_model(batches[i]);
        const mox_plan *plan = mox_get_plan(ctx);
        cr_expect_eq(mox_actual_bytes(ctx) + plan->process_bytes, plan->total_bytes);
        whole = i == 0 ? plan->kv_bytes : whole;
        cr_expect(i == 0 || plan->kv_bytes < whole, "%llu bytes, a whole cache has %llu",
                  (unsigned long long)plan->kv_bytes, (unsigned long long)whole);
        read_tokens(ctx, 0, BACK); /* hashes the last row */
        for (int k = 0; k < 5; k++) {
            float out[VOCAB];
            one_more(ctx, out);
        }
        const mox_hash128 got = mox_logits_hash(ctx);
        want = i == 0 ? got : want;
        cr_expect(i == 0 || memcmp(&got, &want, sizeof got) == 0, "steps of %u: other bits", batches[i]);
        mox_close(&ctx);
    }
}

Test(graph_rings, a_sequence_goes_back_as_far_as_the_ring_does)
{
    static const uint32_t back[] = {BACK, BACK - 200, 900};
    float want[VOCAB], got[VOCAB];
    for (int i = 0; i < 3; i++) {
        mox_ctx *ctx = open_model(FEW);
        read_tokens(ctx, 0, back[i]);
        one_more(ctx, want);
        read_tokens(ctx, back[i] + 1, CTX);
        mox_seq_keep(ctx, 0, back[i]);
        cr_expect_eq(mox_seq_len(ctx, 0), back[i]);
        one_more(ctx, got);
        cr_expect(memcmp(got, want, sizeof got) == 0, "back to %u: other bits", back[i]);
        mox_seq_keep(ctx, 0, 200); /* its window has been overwritten */
        cr_expect_eq(mox_seq_len(ctx, 0), 0);
        read_tokens(ctx, 0, 40);
        mox_seq_keep(ctx, 0, 30); /* nothing of this run has been */
        cr_expect_eq(mox_seq_len(ctx, 0), 30);
        mox_close(&ctx);
    }
}
