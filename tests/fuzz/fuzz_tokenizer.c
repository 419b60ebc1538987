/* A vocabulary and a text out of the bytes: flags, pieces (type, score, length, text), then what is to be encoded. The
 * vocabulary goes the way of every file, through GGUF; whatever is accepted has to encode any text within the memory
 * that is promised to suffice, and to turn ids back into whole characters.
 */
#include "fuzz/fuzz.h"
#include "gguf/builder.h"
#include "runtime/core/bits.h"
#include "runtime/gguf/utf8.h"
#include "runtime/tokenizer/tokenizer.h"

#include <math.h>
#include <string.h>

enum { MAX_PIECES = 400 };
enum {
    WITH_BYTES = 1,
    NO_BOS = 2,
    ADD_EOS = 4,
    NO_PREFIX = 8,
    PARSE_SPECIAL = 16,
    PRINT_SPECIAL = 32,
    ODD_IDS = 64
};

typedef struct input {
    const uint8_t *p;
    size_t n;
} input;

static uint8_t take(input *in)
{
    if (in->n == 0) {
        return 0;
    }
    in->n--;
    return *in->p++;
}

typedef struct vocab {
    char text[MAX_PIECES][256];
    size_t len[MAX_PIECES];
    float score[MAX_PIECES];
    int32_t type[MAX_PIECES];
    uint32_t n;
} vocab;

static void piece(vocab *v, const void *text, size_t n, float score, int32_t type)
{
    memcpy(v->text[v->n], text, n);
    v->len[v->n] = n;
    v->score[v->n] = score;
    v->type[v->n++] = type;
}

static void take_vocab(vocab *v, input *in, uint8_t flags)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, 0.0f, -0.0f, 1e38f, -1e38f, 1e-45f};
    uint8_t n = take(in);
    v->n = 0;
    piece(v, "<unk>", 5, 0, 2);
    piece(v, "<s>", 3, 0, 3);
    piece(v, "</s>", 4, 0, 3);
    for (unsigned i = 0; i < 256 && flags & WITH_BYTES; i++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", i & 0xFF);
        piece(v, text, 6, 0, 6);
    }
    for (uint8_t i = 0; i < n && in->n > 0 && v->n < MAX_PIECES; i++) {
        uint8_t head = take(in), score = take(in), len = take(in) % 32;
        len = len < in->n ? len : (uint8_t)in->n;
        piece(v, in->p, len, score >= 248 ? odd[score - 248] : -(float)score, head % 8);
        in->p += len;
        in->n -= len;
    }
}

static void strings(gb *b, const vocab *v)
{
    gb_field_put(b, "len", NULL, 21, 8);
    gb_bytes(b, "tokenizer.ggml.tokens", 21);
    gb_field_put(b, "kind", NULL, K_ARRAY, 4);
    gb_field_put(b, "elem", NULL, K_STRING, 4);
    gb_field_put(b, "count", NULL, v->n, 8);
    b->n_kv++;
    for (uint32_t i = 0; i < v->n; i++) {
        uint64_t len = v->len[i];
        gb_bytes(b, &len, 8);
        gb_bytes(b, v->text[i], v->len[i]);
    }
}

static void build(gb *b, const vocab *v, uint8_t flags, input *in)
{
    gb_begin(b, 3);
    gb_kv_str(b, "tokenizer.ggml.model", "llama");
    strings(b, v);
    gb_kv_array(b, "tokenizer.ggml.scores", K_F32, v->score, v->n, 4);
    gb_kv_array(b, "tokenizer.ggml.token_type", K_I32, v->type, v->n, 4);
    gb_kv_bool(b, "tokenizer.ggml.add_bos_token", !(flags & NO_BOS));
    gb_kv_bool(b, "tokenizer.ggml.add_eos_token", (flags & ADD_EOS) != 0);
    gb_kv_bool(b, "tokenizer.ggml.add_space_prefix", !(flags & NO_PREFIX));
    if (flags & ODD_IDS) {
        gb_kv_u32(b, "tokenizer.ggml.bos_token_id", take(in));
        gb_kv_u32(b, "tokenizer.ggml.eos_token_id", take(in));
        gb_kv_u32(b, "tokenizer.ggml.eot_token_id", take(in));
        gb_kv_u32(b, "tokenizer.ggml.unknown_token_id", take(in));
    }
    gb_finish(b);
}

/* Whole characters only, at every moment. */
static void must_be_utf8(const char *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t used = mox_utf8_next(p + i, n - i, NULL);
        MUST(used > 0);
        i += used;
    }
}

static void there_and_back(const mox_tokenizer *t, const input *text, uint8_t flags)
{
    uint32_t max = 3 * (uint32_t)text->n + 8, n = 0, again = 0;
    uint32_t *ids = malloc(max * sizeof *ids);
    void *work = malloc(mox_tokenizer_work_bytes(text->n));
    char *copy = malloc(text->n ? text->n : 1), *out = malloc(mox_detok_max(t));
    bool special = flags & PARSE_SPECIAL;
    memcpy(copy, text->p, text->n);
    MUST(mox_tokenizer_encode(t, copy, text->n, true, special, ids, max, &n, work) == MOX_OK);
    mox_detok d;
    mox_detok_init(&d, t, (flags & PRINT_SPECIAL) != 0, true);
    for (uint32_t i = 0; i < n; i++) {
        MUST(ids[i] < mox_tokenizer_vocab(t));
        size_t bytes = mox_detok_push(&d, ids[i], out);
        MUST(bytes <= mox_detok_max(t));
        must_be_utf8(out, bytes);
    }
    must_be_utf8(out, mox_detok_flush(&d, out));
    if (n > 0) {
        uint32_t *few = malloc(n * sizeof *few); /* one id less than it takes */
        MUST(mox_tokenizer_encode(t, copy, text->n, true, special, few, n - 1, &again, work) == MOX_E_LIMIT);
        MUST(again == n && memcmp(few, ids, (n - 1) * sizeof *few) == 0);
        free(few);
    }
    free(out);
    free(copy);
    free(work);
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static vocab v;
    input in = {data, n};
    gb b = {0};
    mox_gguf *g = NULL;
    mox_tokenizer *t = NULL;
    uint8_t flags = take(&in);
    take_vocab(&v, &in, flags);
    build(&b, &v, flags, &in);
    MUST(mox_gguf_parse(&g, b.p, b.n, b.n, NULL) == MOX_OK);
    mox_err err = mox_tokenizer_create(&t, g);
    mox_gguf_close(&g);
    gb_free(&b);
    MUST(err == MOX_OK || err == MOX_E_TOKENIZER);
    if (err == MOX_OK) {
        there_and_back(t, &in, flags);
    }
    mox_tokenizer_destroy(&t);
    return 0;
}
