/* A vocabulary and a text out of the bytes: flags, pieces (type, score, length, text), then what is to be encoded. The
 * vocabulary goes the way of every file, through GGUF; whatever is accepted has to encode any text within the memory
 * that is promised to suffice, and to turn ids back into whole characters.
 */
#include "fuzz/fuzz.h"
#include "gguf/builder.h"
#include "runtime/core/bits.h"
#include "runtime/gguf/utf8.h"
#include "runtime/tokenizer/pretok.h"
#include "runtime/tokenizer/tokenizer.h"

#include <math.h>
#include <string.h>

enum { MAX_PIECES = 600, MAX_PIECE = 256, MAX_MERGES = 128 };
enum {
    WITH_BYTES = 1,
    NO_BOS = 2,
    ADD_EOS = 4,
    NO_PREFIX = 8,
    PARSE_SPECIAL = 16,
    PRINT_SPECIAL = 32,
    ODD_IDS = 64,
    BPE = 128 /* else SentencePiece */
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
    char text[MAX_PIECES][MAX_PIECE];
    size_t len[MAX_PIECES];
    float score[MAX_PIECES];
    int32_t type[MAX_PIECES];
    uint32_t n;
    char merge[MAX_MERGES][2 * MAX_PIECE];
    size_t merge_len[MAX_MERGES];
    uint32_t n_merges;
} vocab;

static void piece(vocab *v, const void *text, size_t n, float score, int32_t type)
{
    memcpy(v->text[v->n], text, n);
    v->len[v->n] = n;
    v->score[v->n] = score;
    v->type[v->n++] = type;
}

/* The 256 bytes, as one kind of file writes them or as the other. */
static void byte_pieces(vocab *v, bool bpe)
{
    unsigned next = 256;
    for (unsigned b = 0; b < 256; b++) {
        char text[8];
        bool itself = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        unsigned c = itself ? b : next++;
        if (!bpe) {
            snprintf(text, sizeof text, "<0x%02X>", b & 0xFF);
            piece(v, text, 6, 0, 6);
        } else if (c < 0x80) {
            text[0] = (char)c;
            piece(v, text, 1, 0, 1);
        } else {
            text[0] = (char)(0xC0 | c >> 6);
            text[1] = (char)(0x80 | (c & 0x3F));
            piece(v, text, 2, 0, 1);
        }
    }
}

/* Merges of pieces there are; most of them with a piece for what they make. */
static void take_merges(vocab *v, input *in)
{
    uint8_t n = take(in) % MAX_MERGES;
    for (v->n_merges = 0; v->n_merges < n && in->n > 0;) {
        uint32_t l = (take(in) | (uint32_t)take(in) << 8) % v->n,
                 r = (take(in) | (uint32_t)take(in) << 8) % v->n;
        uint8_t how = take(in);
        char *to = v->merge[v->n_merges];
        size_t len = v->len[l] + v->len[r];
        memcpy(to, v->text[l], v->len[l]);
        memcpy(to + v->len[l], v->text[r], v->len[r]);
        if (how % 8 && len < MAX_PIECE && v->n < MAX_PIECES) {
            piece(v, to, len, 0, how == 255 ? 3 : 1);
        }
        memmove(to + v->len[l] + 1, to + v->len[l], v->len[r]);
        to[v->len[l]] = ' ';
        v->merge_len[v->n_merges++] = len + 1;
    }
}

static void take_vocab(vocab *v, input *in, uint8_t flags)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, 0.0f, -0.0f, 1e38f, -1e38f, 1e-45f};
    uint8_t n = take(in);
    v->n = 0;
    piece(v, "<unk>", 5, 0, 2);
    piece(v, "<s>", 3, 0, 3);
    piece(v, "</s>", 4, 0, 3);
    if (flags & WITH_BYTES) {
        byte_pieces(v, flags & BPE);
    }
    for (uint8_t i = 0; i < n && in->n > 0 && v->n < MAX_PIECES; i++) {
        uint8_t head = take(in), score = take(in), len = take(in) % 32;
        len = len < in->n ? len : (uint8_t)in->n;
        piece(v, in->p, len, score >= 248 ? odd[score - 248] : -(float)score, head % 8);
        in->p += len;
        in->n -= len;
    }
    v->n_merges = 0;
    if (flags & BPE) {
        take_merges(v, in);
    }
}

static void strings(gb *b, const char *key, const char *text, size_t stride, const size_t *len, uint32_t n)
{
    gb_field_put(b, "len", NULL, strlen(key), 8);
    gb_bytes(b, key, strlen(key));
    gb_field_put(b, "kind", NULL, K_ARRAY, 4);
    gb_field_put(b, "elem", NULL, K_STRING, 4);
    gb_field_put(b, "count", NULL, n, 8);
    b->n_kv++;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t bytes = len[i];
        gb_bytes(b, &bytes, 8);
        gb_bytes(b, text + i * stride, len[i]);
    }
}

/* One name of one row, or one that nobody knows. */
static void pre_tokenizer(gb *b, uint8_t which)
{
    char name[32] = "unheard-of";
    const mox_pretok_row *row = which < 250 ? NULL : mox_pretok_at(0);
    for (size_t i = 0; which < 250 && mox_pretok_at(i); i++) {
        row = i <= which % 32 ? mox_pretok_at(i) : row;
    }
    if (row) {
        snprintf(name, sizeof name, "%.*s", (int)strcspn(row->names, " "), row->names);
    }
    gb_kv_str(b, "tokenizer.ggml.pre", name);
}

static void build(gb *b, const vocab *v, uint8_t flags, input *in)
{
    gb_begin(b, 3);
    gb_kv_str(b, "tokenizer.ggml.model", flags & BPE ? "gpt2" : "llama");
    strings(b, "tokenizer.ggml.tokens", v->text[0], MAX_PIECE, v->len, v->n);
    if (flags & BPE) {
        pre_tokenizer(b, take(in));
        strings(b, "tokenizer.ggml.merges", v->merge[0], sizeof v->merge[0], v->merge_len, v->n_merges);
    }
    gb_kv_array(b, "tokenizer.ggml.scores", K_F32, v->score, v->n, 4);
    gb_kv_array(b, "tokenizer.ggml.token_type", K_I32, v->type, v->n, 4);
    bool ids = !(flags & BPE) || flags & ODD_IDS; /* else there is none to add */
    gb_kv_bool(b, "tokenizer.ggml.add_bos_token", ids && !(flags & NO_BOS));
    gb_kv_bool(b, "tokenizer.ggml.add_eos_token", ids && flags & ADD_EOS);
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
static bool is_utf8(const char *p, size_t n)
{
    size_t i = 0, used = 1;
    for (; i < n && used > 0; i += used) {
        used = mox_utf8_next(p + i, n - i, NULL);
    }
    return used > 0;
}

static void must_be_utf8(const char *p, size_t n)
{
    MUST(is_utf8(p, n));
}

static void there_and_back(const mox_tokenizer *t, const input *text, uint8_t flags)
{
    uint32_t max = 3 * (uint32_t)text->n + 8, n = 0, again = 0;
    uint32_t *ids = malloc(max * sizeof *ids);
    void *work = malloc(mox_tokenizer_work_bytes(text->n));
    char *copy = malloc(text->n ? text->n : 1), *out = malloc(mox_detok_max(t));
    bool special = flags & PARSE_SPECIAL;
    memcpy(copy, text->p, text->n);
    mox_err err = mox_tokenizer_encode(t, copy, text->n, true, special, ids, max, &n, work);
    MUST(err == MOX_OK || (err == MOX_E_TOKENIZER && flags & BPE)); /* a byte without a token */
    n = err == MOX_OK ? n : 0;
    mox_detok d;
    size_t at = 0;
    bool same = true;
    mox_detok_init(&d, t, (flags & PRINT_SPECIAL) != 0, true);
    for (uint32_t i = 0; i < n; i++) {
        MUST(ids[i] < mox_tokenizer_vocab(t));
        size_t bytes = mox_detok_push(&d, ids[i], out);
        MUST(bytes <= mox_detok_max(t));
        must_be_utf8(out, bytes);
        same = same && at + bytes <= text->n && memcmp(copy + at, out, bytes) == 0;
        at += bytes;
    }
    must_be_utf8(out, mox_detok_flush(&d, out));
    /* Bytes merge and come back; whatever is special may not print, and an added space is taken away. */
    MUST(err != MOX_OK || !(flags & BPE) || !(flags & NO_PREFIX) || flags & (ODD_IDS | PARSE_SPECIAL) ||
         !is_utf8(copy, text->n) || (same && at == text->n));
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
