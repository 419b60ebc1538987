/* Model files: the bytes are a header (and perhaps data) at the beginning of a file that goes on for a while, so that
 * tensors have room without the input carrying their data. What the parser accepts is read in every way there is: every
 * getter on every key, text for people, the model's description, the tokenizer. Packed files take the same way; their
 * target differs in what it starts from.
 */
#include "fuzz/fuzz.h"
#include "runtime/gguf/gguf.h"
#include "runtime/gguf/utf8.h"
#include "runtime/moxie.h"

#include <string.h>

enum { TAIL = 1 << 20 };

/* Nothing that a terminal obeys. */
static void must_be_printable(const char *s)
{
    for (size_t i = 0, n = strlen(s); i < n;) {
        uint32_t cp = 0;
        size_t used = mox_utf8_next(s + i, n - i, &cp);
        MUST(used > 0 && cp >= 0x20 && !(cp >= 0x7F && cp < 0xA0) && !(cp >= 0x202A && cp <= 0x202E));
        i += used;
    }
}

static void must_be_refused_well(mox_err err)
{
    MUST(err == MOX_E_NO_MEMORY || (err <= MOX_E_FORMAT && err >= MOX_E_SPLIT));
    MUST(mox_err_last()->code == err && strlen(mox_err_last()->msg) > 10);
    must_be_printable(mox_err_last()->msg);
    must_be_printable(mox_err_last()->fix);
}

static void every_getter(const mox_gguf *g, const char *key)
{
    static uint32_t layers[MOX_PLAN_MAX_LAYERS];
    uint32_t u = 0, n = 0;
    uint64_t v = 0;
    float f = 0;
    bool b = false;
    mox_str s;
    const void *data = NULL;
    int ok = 0;
    ok += mox_gguf_u32(g, key, 0, UINT32_MAX, &u) == MOX_OK;
    ok += mox_gguf_u64(g, key, &v) == MOX_OK;
    ok += mox_gguf_f32_opt(g, key, -1e30f, 1e30f, &f) == MOX_OK;
    ok += mox_gguf_bool_opt(g, key, &b) == MOX_OK;
    ok += mox_gguf_str(g, key, &s) == MOX_OK;
    ok += mox_gguf_u32_per_layer(g, key, 0, UINT32_MAX, 8, layers) == MOX_OK;
    for (mox_gguf_kind k = MOX_GGUF_U8; k < MOX_GGUF_KINDS; k++) {
        ok += mox_gguf_array(g, key, k, &data, &n) == MOX_OK;
    }
    MUST(ok <= 4 && mox_gguf_has(g, key));
}

static void every_key(const mox_gguf *g)
{
    static char key[MOX_GGUF_MAX_KEY + 1], text[200];
    for (uint32_t i = 0; i < mox_gguf_n_kv(g); i++) {
        mox_str k = mox_gguf_kv_key(g, i);
        MUST(k.n > 0 && k.n <= MOX_GGUF_MAX_KEY);
        memcpy(key, k.p, k.n);
        key[k.n] = 0;
        must_be_printable(mox_gguf_kv_text(g, i, text, sizeof text));
        mox_gguf_value v = mox_gguf_kv_value(g, i);
        MUST(v.bytes == 0 || v.data);
        every_getter(g, key);
        const void *cursor = NULL;
        mox_str s;
        uint64_t sum = 0;
        while (mox_gguf_next_string(g, key, &cursor, &s)) {
            sum += s.n + 8;
        }
        MUST(sum <= v.bytes);
    }
}

static void every_tensor(const mox_gguf *g, uint64_t file)
{
    for (uint32_t i = 0; i < mox_gguf_n_tensors(g); i++) {
        const mox_gguf_tensor *t = mox_gguf_tensor_at(g, i);
        char name[MOX_GGUF_MAX_NAME + 1] = "";
        MUST(t->name.n > 0 && t->name.n <= MOX_GGUF_MAX_NAME && t->bytes > 0 && mox_type_info(t->type));
        MUST(t->packed || (t->off <= file && t->bytes <= file - t->off));
        memcpy(name, t->name.p, t->name.n);
        MUST(mox_gguf_find(g, name) == t);
    }
    MUST(mox_gguf_unused_bytes(g) <= file);
}

static void tokenize(const mox_gguf *g)
{
    static const char text[] = "a  the\xC3</s>\xE2\x96\x81<0x41>";
    mox_tokenizer *t = NULL;
    if (mox_tokenizer_create(&t, g) != MOX_OK) {
        must_be_refused_well(mox_err_last()->code);
        return;
    }
    uint32_t ids[3 * sizeof text + 8], n = 0;
    void *work = malloc(mox_tokenizer_work_bytes(sizeof text));
    char *out = malloc(mox_detok_max(t));
    MUST(mox_tokenizer_encode(t, text, sizeof text, true, true, ids, 3 * sizeof text + 8, &n, work) ==
         MOX_OK);
    mox_detok d;
    mox_detok_init(&d, t, true, true);
    for (uint32_t i = 0; i < n; i++) {
        MUST(ids[i] < mox_tokenizer_vocab(t));
        MUST(mox_detok_push(&d, ids[i], out) <= mox_detok_max(t));
    }
    free(out);
    free(work);
    mox_tokenizer_destroy(&t);
}

static void describe(const mox_gguf *g)
{
    static mox_model_info info;
    if (mox_model_describe(&info, g) != MOX_OK) {
        must_be_refused_well(mox_err_last()->code);
        return;
    }
    must_be_printable(info.name);
    must_be_printable(info.quants);
    MUST(info.n_layers > 0 && info.n_vocab > 0 && info.top_k <= info.n_experts);
    MUST(info.params_active <= info.params_total);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const uint64_t sizes[] = {n, (uint64_t)n + TAIL};
    for (int i = 0; i < 2; i++) {
        mox_gguf *g = NULL;
        uint64_t need = 1;
        mox_err err = mox_gguf_parse(&g, data, n, sizes[i], &need);
        if (err != MOX_OK) {
            MUST(g == NULL && (need == 0 || (err == MOX_E_TRUNCATED && need > n)));
            must_be_refused_well(err);
            continue;
        }
        every_key(g);
        every_tensor(g, sizes[i]);
        tokenize(g);
        describe(g);
        mox_gguf_close(&g);
        break;
    }
    return 0;
}
