/* The same bits from any split of the work: batches, sequences mixed in one step, threads, budgets. The big
 * matrix of configurations is tests/p1; this is what a change to the graph must not break.
 */
#include "graph/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const files[] = {"models/mixtral-a.gguf", "models/quantmix-a.gguf"};
static const char *const names[] = {"mixtral-a", "quantmix-a"};

/* Sequence 1's tokens in one default run: the bits all others must give. */
static float *reference(int which, fx_expected *x)
{
    fx_read(x, names[which]);
    char path[1024];
    mox_cfg cfg = fx_plain(files[which], 100, path, sizeof path);
    mox_ctx *ctx = fx_open(&cfg);
    float *ref = malloc(x->n_rows * x->n_vocab * sizeof(float));
    fx_eval_all(ctx, x, ref);
    mox_close(&ctx);
    return ref;
}

static void same_as(const fx_expected *x, const float *ref, const mox_cfg *cfg, const char *what)
{
    mox_ctx *ctx = fx_open(cfg);
    size_t bytes = x->n_rows * x->n_vocab * sizeof(float);
    float *got = malloc(bytes);
    fx_eval_all(ctx, x, got);
    cr_expect(memcmp(got, ref, bytes) == 0, "%s: other bits", what);
    free(got);
    mox_close(&ctx);
}

Test(graph_split, batches_threads_budgets_and_instruction_sets_give_the_same_bits)
{
    static const uint32_t batches[] = {1, 3, 7, 64};
    static const uint32_t threads[] = {1, 2, 3, 5};
    for (int m = 0; m < 2; m++) {
        fx_expected x;
        float *ref = reference(m, &x);
        char path[1024], what[128];
        for (int i = 0; i < 4; i++) {
            mox_cfg cfg = fx_plain(files[m], i * 25, path, sizeof path);
            cfg.n_batch = batches[i];
            cfg.n_threads = threads[3 - i];
            cfg.isa = (int)(mox_isa_present((mox_isa)(i % MOX_ISA_COUNT)) ? i % MOX_ISA_COUNT : 0);
            cfg.look_ahead = i % 2;
            snprintf(what, sizeof what, "%s: batch %u, %u threads, %d %% of the experts, %s", names[m],
                     batches[i], threads[3 - i], i * 25, mox_isa_name((mox_isa)cfg.isa));
            same_as(&x, ref, &cfg, what);
        }
        mox_cfg least = fx_plain(files[m], 0, path, sizeof path);
        least.ram = (mox_budget){.kind = MOX_BUDGET_MIN};
        same_as(&x, ref, &least, "--ram min");
        free(ref);
        fx_free(&x);
    }
}

/* Both sequences advance together, unevenly: 1 row of one, 1 to 4 of the other, order changing. */
Test(graph_split, sequences_mixed_in_one_step_do_not_touch_each_other)
{
    for (int m = 0; m < 2; m++) {
        fx_expected x;
        float *ref = reference(m, &x);
        char path[1024];
        mox_cfg cfg = fx_plain(files[m], 50, path, sizeof path);
        cfg.n_seq = 2;
        mox_ctx *ctx = fx_open(&cfg);
        float *got = malloc(8 * x.n_vocab * sizeof(float));
        uint32_t at[2] = {0, 0};
        for (uint32_t step = 0; at[0] < x.seq[0].n || at[1] < x.seq[1].n; step++) {
            mox_row rows[8];
            uint32_t n = 0;
            for (uint32_t k = 0; k < 2; k++) {
                uint32_t s = (step + k) % 2, take = s == 0 ? 1 : 1 + step % 4;
                for (; take > 0 && at[s] < x.seq[s].n; take--, at[s]++) {
                    rows[n++] = (mox_row){
                        .seq = s, .pos = at[s], .token = x.seq[s].tokens[at[s]], .want_logits = true};
                }
            }
            fx_ok(mox_step(ctx, rows, n, MOX_PHASE_DECODE, got), "step");
            for (uint32_t i = 0; i < n; i++) {
                size_t row = rows[i].pos + (rows[i].seq ? x.seq[0].n : 0);
                cr_assert(memcmp(got + i * x.n_vocab, ref + row * x.n_vocab, x.n_vocab * sizeof(float)) == 0,
                          "%s: sequence %u, position %u: other bits", names[m], rows[i].seq, rows[i].pos);
            }
        }
        mox_close(&ctx);
        free(got);
        free(ref);
        fx_free(&x);
    }
}

/* q8_0 and f32 caches: other values than f16, but the same for every batch. */
Test(graph_split, every_cache_type_is_independent_of_the_batch)
{
    fx_expected x;
    fx_read(&x, "quantmix-a");
    size_t bytes = x.n_rows * x.n_vocab * sizeof(float);
    float *whole = malloc(bytes), *single = malloc(bytes), *f16 = malloc(bytes);
    for (int kv = 0; kv < MOX_KV_TYPES; kv++) {
        char path[1024];
        mox_cfg cfg = fx_plain("models/quantmix-a.gguf", 100, path, sizeof path);
        cfg.kv = (mox_kv_type)kv;
        mox_ctx *ctx = fx_open(&cfg);
        fx_eval_all(ctx, &x, whole);
        mox_close(&ctx);
        cfg.n_batch = 1;
        same_as(&x, whole, &cfg, mox_kv_type_name(cfg.kv));
        if (kv == MOX_KV_F16) {
            memcpy(f16, whole, bytes);
        } else {
            cr_expect(memcmp(f16, whole, bytes) != 0, "%s: the cache has no effect",
                      mox_kv_type_name(cfg.kv));
        }
    }
    free(whole);
    free(single);
    free(f16);
    fx_free(&x);
}
