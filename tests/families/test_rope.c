/* Factors of the rope's frequencies, against what must be the same angles. All factors 4 are linear scaling by 4, to the
 * bit; llama3's differ from pair to pair, and only those that differ may change anything; longrope's long ones are taken
 * when the context is longer than the original one, and not before.
 */
#include "gguf/builder.h"
#include "runtime/gguf/header.h"
#include "runtime/moxie.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL MOX_TEST_DATA "/models/mixtral-a.gguf"

enum { TOKENS = 24, ALIGN = 32, PAIRS = 64 };

typedef struct change {
    float linear;        /* a scaling of this factor; 0: none */
    const char *scaling; /* its type; NULL: linear */
    uint32_t original;   /* rope.scaling.original_context_length; 0: no key */
    const char *name[2]; /* of tensors of factors; NULL: none */
    float factor[2];     /* of every pair */
    float first;         /* of the first pair, where it is not 0 */
} change;

static tmpdir dir;

static void setup(void)
{
    tmpdir_make(&dir);
}

static void teardown(void)
{
    tmpdir_remove(&dir);
}

TestSuite(rope, .init = setup, .fini = teardown);

static void put_keys(mox_bytes *b, const mox_gguf *g, const change *c)
{
    for (uint32_t i = 0; i < mox_gguf_n_kv(g); i++) {
        if (!mox_gguf_of_files(mox_gguf_kv_key(g, i))) {
            mox_bytes_copy_key(b, g, i);
        }
    }
    if (c->linear != 0.0f || c->scaling) {
        const char *type = c->scaling ? c->scaling : "linear";
        mox_bytes_key(b, "llama.rope.scaling.type", MOX_GGUF_STRING);
        mox_bytes_str(b, type, strlen(type));
    }
    if (c->linear != 0.0f) {
        mox_bytes_key(b, "llama.rope.scaling.factor", MOX_GGUF_F32);
        mox_bytes_put(b, &c->linear, sizeof c->linear);
    }
    if (c->original) {
        mox_bytes_key(b, "llama.rope.scaling.original_context_length", MOX_GGUF_U32);
        mox_bytes_u32(b, c->original);
    }
}

/* mixtral-a with further keys and tensors. */
static const char *make(const change *c, const char *file)
{
    mox_gguf *g;
    uint32_t n_rot = 0;
    cr_assert_eq(mox_gguf_open(&g, MODEL), MOX_OK, "%s", mox_err_last()->msg);
    cr_assert_eq(mox_gguf_u32(g, "llama.rope.dimension_count", 2, 2 * PAIRS, &n_rot), MOX_OK);
    const uint32_t n = mox_gguf_n_tensors(g);
    const uint32_t more = (c->name[0] != NULL) + (c->name[1] != NULL);
    const uint64_t pairs = n_rot / 2, each = (pairs * sizeof(float) + ALIGN - 1) / ALIGN * ALIGN;
    uint64_t off = more * each;
    mox_bytes b = {0}, data = {0};
    const size_t at = mox_bytes_magic(&b, n + more);
    put_keys(&b, g, c);
    for (uint32_t i = 0; i < more; i++) {
        mox_bytes_tensor(&b, (mox_str){c->name[i], strlen(c->name[i])}, 1, &pairs, MOX_TYPE_F32, i * each);
        for (uint32_t p = 0; p < pairs; p++) {
            const float f = p == 0 && c->first != 0.0f ? c->first : c->factor[i];
            mox_bytes_put(&data, &f, sizeof f);
        }
        mox_bytes_pad(&data, ALIGN);
    }
    FILE *from = fopen(MODEL, "rb");
    for (uint32_t i = 0; i < n; i++) {
        const mox_gguf_tensor *t = mox_gguf_tensor_at(g, i);
        void *p = malloc(t->bytes);
        cr_assert(fseek(from, (long)t->off, SEEK_SET) == 0 && fread(p, 1, t->bytes, from) == t->bytes);
        mox_bytes_tensor(&b, t->name, t->n_dims, t->ne, t->type, off);
        mox_bytes_put(&data, p, t->bytes);
        mox_bytes_pad(&data, ALIGN);
        off = data.n;
        free(p);
    }
    fclose(from);
    mox_bytes_pad(&b, ALIGN);
    memcpy(b.p + at, &b.n_keys, sizeof b.n_keys);
    mox_bytes_put(&b, data.p, data.n);
    tmpdir_write(&dir, file, b.p, b.n);
    free(b.p);
    free(data.p);
    mox_gguf_close(&g);
    return tmpdir_path(&dir, file);
}

static mox_hash128 hash_of(const change *c, uint32_t n_ctx)
{
    mox_cfg cfg;
    mox_ctx *ctx = NULL;
    uint32_t ids[TOKENS];
    mox_cfg_defaults(&cfg);
    cfg.model = make(c, "model.gguf");
    cfg.log.level = MOX_LOG_ERROR;
    cfg.n_threads = 1;
    cfg.n_ctx = n_ctx;
    for (uint32_t i = 0; i < TOKENS; i++) {
        ids[i] = 5 + 3 * i;
    }
    cr_assert_eq(mox_open(&ctx, &cfg), MOX_OK, "%s", mox_err_last()->msg);
    cr_assert_eq(mox_eval(ctx, 0, ids, TOKENS, true, NULL, NULL), MOX_OK, "%s", mox_err_last()->msg);
    const mox_hash128 h = mox_logits_hash(ctx);
    mox_close(&ctx);
    return h;
}

static bool same(mox_hash128 a, mox_hash128 b)
{
    return a.lo == b.lo && a.hi == b.hi;
}

static const change plain = {0}, linear = {.linear = 4.0f};

Test(rope, factors_of_llama3)
{
    const change all = {.name = {"rope_freqs.weight"}, .factor = {4.0f}};
    const change ones = {.name = {"rope_freqs.weight"}, .factor = {1.0f}};
    const change first = {.name = {"rope_freqs.weight"}, .factor = {1.0f}, .first = 4.0f};
    const mox_hash128 p = hash_of(&plain, 64), l = hash_of(&linear, 64), f = hash_of(&first, 64);
    cr_expect(!same(p, l), "scaling changes nothing");
    cr_expect(same(hash_of(&all, 64), l));
    cr_expect(same(hash_of(&ones, 64), p));
    cr_expect(!same(f, p) && !same(f, l), "the factors are not those of their pairs");
}

Test(rope, factors_of_longrope)
{
    const change c = {.scaling = "longrope",
                      .original = 48,
                      .name = {"rope_factors_long.weight", "rope_factors_short.weight"},
                      .factor = {4.0f, 1.0f}};
    const mox_hash128 p = hash_of(&plain, 48), l = hash_of(&linear, 48);
    cr_expect(same(hash_of(&c, 48), p), "the short factors, up to the original context");
    cr_expect(same(hash_of(&c, 49), l), "the long factors, beyond it");
}
