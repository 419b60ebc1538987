/* A packed file is the model: same bits of logits, same description, same keys and tensors. */
#include "pack/fixture.h"

#include "runtime/core/hash.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const models[] = {"models/mixtral-a.gguf",
                                     "models/mixtral-a-q8_0.gguf",
                                     "models/mixtral-a-split-00001-of-00003.gguf",
                                     "models/mixtral-a-legacy-experts.gguf",
                                     "models/quantmix-a.gguf",
                                     "demo/moxie-demo-Q4_K_M.gguf"};

enum { N_MODELS = sizeof models / sizeof models[0], N_TOKENS = 24 };

static void expect_hash(const mox_hash128 *want, mox_hash128 got, const char *model, const char *how)
{
    cr_expect(want->lo == got.lo && want->hi == got.hi, "%s, %s: other bits", model, how);
}

Test(same, logits_of_every_model_from_any_split)
{
    for (int i = 0; i < N_MODELS; i++) {
        pack_fx fx;
        pfx_pack(&fx, models[i]);
        mox_hash128 want = pfx_hash(fx.plain, 100, MOX_IO_AUTO, MOX_VERIFY_SAMPLE, N_TOKENS);
        expect_hash(&want, pfx_hash(fx.packed, 100, MOX_IO_AUTO, MOX_VERIFY_ALWAYS, N_TOKENS), models[i],
                    "all");
        expect_hash(&want, pfx_hash(fx.packed, 30, MOX_IO_AUTO, MOX_VERIFY_ALWAYS, N_TOKENS), models[i],
                    "30 %");
        expect_hash(&want, pfx_hash(fx.packed, 0, MOX_IO_PREAD, MOX_VERIFY_SAMPLE, N_TOKENS), models[i],
                    "none");
        expect_hash(&want, pfx_hash(fx.packed, 60, MOX_IO_PREAD, MOX_VERIFY_OFF, N_TOKENS), models[i],
                    "60 %");
        pfx_remove(&fx);
    }
}

static bool of_files(mox_str key)
{
    return key.n > 6 && memcmp(key.p, "split.", 6) == 0;
}

static void compare_keys(const mox_gguf *a, const mox_gguf *b, const char *model)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < mox_gguf_n_kv(a); i++) {
        mox_str key = mox_gguf_kv_key(a, i);
        if (of_files(key)) {
            continue;
        }
        /* the alignment is found at the end; everything else keeps its order */
        uint32_t at = k;
        while (at < mox_gguf_n_kv(b) &&
               (mox_gguf_kv_key(b, at).n != key.n || memcmp(mox_gguf_kv_key(b, at).p, key.p, key.n) != 0)) {
            at++;
        }
        cr_assert_lt(at, mox_gguf_n_kv(b), "%s: key %.*s is gone", model, (int)key.n, key.p);
        mox_gguf_value va = mox_gguf_kv_value(a, i), vb = mox_gguf_kv_value(b, at);
        cr_assert(va.kind == vb.kind && va.n == vb.n && va.bytes == vb.bytes &&
                      memcmp(va.data, vb.data, va.bytes) == 0,
                  "%s: key %.*s has another value", model, (int)key.n, key.p);
        k += at == k;
    }
    for (uint32_t i = 0; i < mox_gguf_n_kv(b); i++) {
        mox_str key = mox_gguf_kv_key(b, i);
        cr_assert(key.n < 6 || memcmp(key.p, "moxie.", 6) != 0, "%s: %.*s shows", model, (int)key.n, key.p);
    }
}

static void compare_tensors(const mox_gguf *a, const mox_gguf *b, const char *model)
{
    cr_assert_eq(mox_gguf_n_tensors(a), mox_gguf_n_tensors(b));
    uint32_t packed = 0;
    for (uint32_t i = 0; i < mox_gguf_n_tensors(a); i++) {
        const mox_gguf_tensor *t = mox_gguf_tensor_at(a, i);
        char name[MOX_GGUF_MAX_NAME + 1];
        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
        const mox_gguf_tensor *u = mox_gguf_find(b, name);
        cr_assert(u, "%s: tensor %s is gone", model, name);
        cr_assert(u->type == t->type && u->bytes == t->bytes && memcmp(u->ne, t->ne, sizeof t->ne) == 0,
                  "%s: tensor %s has another shape", model, name);
        cr_assert_not(t->packed);
        bool expert = strstr(name, "_exps.") || strstr(name, "ffn_gate.") || strstr(name, "ffn_up.") ||
                      strstr(name, "ffn_down.");
        cr_assert_eq(u->packed, expert, "%s: %s", model, name);
        packed += u->packed;
    }
    cr_assert_gt(packed, 0);
}

Test(same, description_keys_and_tensors)
{
    for (int i = 0; i < N_MODELS; i++) {
        pack_fx fx;
        mox_gguf *a = NULL, *b = NULL;
        static mox_model_info ia, ib;
        pfx_pack(&fx, models[i]);
        cr_assert_eq(mox_gguf_open(&a, fx.plain), MOX_OK);
        cr_assert_eq(mox_gguf_open(&b, fx.packed), MOX_OK, "%s", mox_err_last()->msg);
        cr_assert_eq(mox_gguf_packed(a), 0);
        cr_assert_eq(mox_gguf_packed(b), 1);
        cr_assert_eq(mox_gguf_id(a), mox_gguf_id(b), "traces belong to both");
        cr_assert_eq(mox_model_describe(&ia, a), MOX_OK);
        cr_assert_eq(mox_model_describe(&ib, b), MOX_OK, "%s", mox_err_last()->msg);
        cr_assert_eq(ib.file_bytes, fx.report.out_bytes);
        ib.file_bytes = ia.file_bytes; /* padding and checksums: the one difference */
        cr_expect(memcmp(&ia, &ib, sizeof ia) == 0, "%s: another description", models[i]);
        compare_keys(a, b, models[i]);
        compare_tensors(a, b, models[i]);
        mox_gguf_close(&a);
        mox_gguf_close(&b);
        pfx_remove(&fx);
    }
}

/* Nothing is staged, and every byte that is read is used: the file's records, no edges. */
Test(same, reads_exactly_the_records)
{
    pack_fx fx;
    mox_ctx *ctx;
    pfx_pack(&fx, "demo/moxie-demo-Q4_K_M.gguf");
    cr_assert_eq(pfx_open(&ctx, fx.packed, 100, MOX_IO_AUTO, MOX_VERIFY_ALWAYS), MOX_OK, "%s",
                 mox_err_last()->msg);
    mox_counters c;
    mox_get_counters(ctx, &c, NULL);
    cr_expect_eq(c.io.fill_bytes, fx.report.record_bytes);
    cr_expect_eq(c.io.verified, fx.report.n_slices, "every slice is compared, once");
    mox_close(&ctx);
    cr_assert_eq(pfx_open(&ctx, fx.packed, 100, MOX_IO_AUTO, MOX_VERIFY_SAMPLE), MOX_OK);
    mox_get_counters(ctx, &c, NULL);
    cr_expect_eq(c.io.verified, (fx.report.n_slices + 63) / 64, "one in 64");
    mox_close(&ctx);
    pfx_remove(&fx);
}
