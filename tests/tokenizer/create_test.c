/* Making a tokenizer of what a file says: what is refused, and which tokens end a text. */
#include "tokenizer/vocab.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const piece plain[] = {{MARK, -1, NORMAL}, {"a", -2, NORMAL}};

static void refuse(const char *name, const piece *pieces, size_t n, void (*keys)(gb *b), const char *says)
{
    gb b = {0};
    mox_gguf *g = NULL;
    mox_tokenizer *t = NULL;
    vocab_file(&b, &g, pieces, n, keys);
    cr_expect_eq(mox_tokenizer_create(&t, g), MOX_E_TOKENIZER, "%s", name);
    cr_expect(strstr(mox_err_last()->msg, says), "%s: \"%s\" does not say \"%s\"", name, mox_err_last()->msg,
              says);
    cr_expect_null(t);
    mox_tokenizer_destroy(&t);
    mox_gguf_close(&g);
    gb_free(&b);
}

/* G84, G85: byte tokens are an index into a table; strtol would take these. */
Test(tokenizer_create, malformed_pieces)
{
    static const char *const bytes[] = {"<0x-1>", "<0xZZ>", "<0x100>", "<0x+F>", "<0x1>",
                                        "0x41",   "",       "<0x 1>",  "<1x41>", "<0x41)"};
    char *big = calloc(1, (1 << 20) + 1);
    memset(big, 'b', 1 << 20);
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        refuse(bytes[i], &(piece){bytes[i], 0, BYTE}, 1, NULL, "is a byte");
    }
    refuse("1 MiB", &(piece){big, 0, NORMAL}, 1, NULL, "1048576 bytes");
    refuse("no UTF-8", &(piece){"a\xFF", 0, NORMAL}, 1, NULL, "not valid UTF-8");
    refuse("type 0", &(piece){"a", 0, 0}, 1, NULL, "unknown type 0");
    refuse("type 7", &(piece){"a", 0, 7}, 1, NULL, "unknown type 7");
    refuse("type -1", &(piece){"a", 0, -1}, 1, NULL, "unknown type -1");
    refuse("NaN", &(piece){"a", NAN, NORMAL}, 1, NULL, "not a number");
    free(big);
}

static void bos_beyond(gb *b)
{
    gb_kv_u32(b, "tokenizer.ggml.bos_token_id", V_FIRST + 2);
}

static void eos_none(gb *b)
{
    gb_kv_u32(b, "tokenizer.ggml.eos_token_id", UINT32_MAX);
}

static void unk_negative(gb *b)
{
    gb_kv_int(b, "tokenizer.ggml.unknown_token_id", K_I32, 0xFFFFFFFF);
}

static void pad_beyond(gb *b)
{
    gb_kv_u32(b, "tokenizer.ggml.padding_token_id", 1u << 31);
}

static void eos_text(gb *b)
{
    gb_kv_str(b, "tokenizer.ggml.eos_token_id", "2");
}

/* G86 */
Test(tokenizer_create, ids_outside_the_vocabulary)
{
    refuse("bos", plain, 2, bos_beyond, "bos_token_id is 261");
    refuse("eos", plain, 2, eos_none, "eos_token_id is 4294967295");
    refuse("unk", plain, 2, unk_negative, "unknown_token_id is -1");
    refuse("pad", plain, 2, pad_beyond, "padding_token_id is 2147483648");
    refuse("eos as text", plain, 2, eos_text, "eos_token_id");
}

typedef struct raw_vocab {
    const char *name, *model;
    uint32_t n_tokens, n_scores, n_types;
    uint32_t tokens_kind, scores_kind, types_kind; /* of the elements */
    bool add_bos;
    mox_err want;
    const char *says;
} raw_vocab;

/* G80 to G82, G87, G90 and missing arrays. */
static const raw_vocab raws[] = {
    {"G80", "llama", 4, 4, 4, K_I32, K_F32, K_I32, false, MOX_E_KEY, "tokens"},
    {"G81a", "llama", 4, 4, 4, K_STRING, K_U8, K_I32, false, MOX_E_KEY, "scores"},
    {"G81b", "llama", 4, 4, 4, K_STRING, K_F32, K_U8, false, MOX_E_KEY, "token_type"},
    {"G82a", "llama", 4, 3, 4, K_STRING, K_F32, K_I32, false, MOX_E_TOKENIZER, "3 scores"},
    {"G82b", "llama", 4, 4, 5, K_STRING, K_F32, K_I32, false, MOX_E_TOKENIZER, "5 types"},
    {"G34 no tokens", "llama", 0, 0, 0, K_STRING, K_F32, K_I32, false, MOX_E_TOKENIZER, "0 tokens"},
    {"G87 bos wanted, none there", "llama", 1, 1, 1, K_STRING, K_F32, K_I32, true, MOX_E_TOKENIZER,
     "beginning"},
    {"G90a", "gpt2", 4, UINT32_MAX, 4, K_STRING, K_F32, K_I32, false, MOX_E_TOKENIZER, "byte 0x00"},
    {"G90d", "t5", 4, 4, 4, K_STRING, K_F32, K_I32, false, MOX_E_TOKENIZER,
     "\"t5\" (unigram) is not supported"},
    {"G90b", "bert", 4, 4, 4, K_STRING, K_F32, K_I32, false, MOX_E_TOKENIZER, "WordPiece"},
    {"G90c", "x\x1B[1m", 4, 4, 4, K_STRING, K_F32, K_I32, false, MOX_E_TOKENIZER,
     "\"x\\x1B[1m\" (unknown to this version)"},
    {"no model", NULL, 4, 4, 4, K_STRING, K_F32, K_I32, false, MOX_E_KEY, "tokenizer.ggml.model"},
    {"no scores", "llama", 4, UINT32_MAX, 4, K_STRING, K_F32, K_I32, false, MOX_E_KEY, "scores"},
    {"no byte tokens, but unk", "llama", 4, 4, 4, K_STRING, K_F32, K_I32, false, MOX_OK, ""},
};

Test(tokenizer_create, vocabularies_that_do_not_hold_together)
{
    static const char *const texts[] = {"<unk>", "<s>", "</s>", "a"};
    static const int32_t types[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    static const float scores[8] = {0};
    for (size_t i = 0; i < sizeof raws / sizeof raws[0]; i++) {
        const raw_vocab *r = &raws[i];
        gb b = {0};
        mox_gguf *g = NULL;
        mox_tokenizer *t = NULL;
        gb_begin(&b, 3);
        if (r->model) {
            gb_kv_str(&b, "tokenizer.ggml.model", r->model);
        }
        if (r->tokens_kind == K_STRING) {
            gb_kv_strings(&b, "tokenizer.ggml.tokens", texts, r->n_tokens);
        } else {
            gb_kv_array(&b, "tokenizer.ggml.tokens", r->tokens_kind, types, r->n_tokens, 4);
        }
        if (r->n_scores != UINT32_MAX) {
            gb_kv_array(&b, "tokenizer.ggml.scores", r->scores_kind, scores, r->n_scores,
                        r->scores_kind == K_U8 ? 1 : 4);
        }
        gb_kv_array(&b, "tokenizer.ggml.token_type", r->types_kind, types, r->n_types,
                    r->types_kind == K_U8 ? 1 : 4);
        gb_kv_bool(&b, "tokenizer.ggml.add_bos_token", r->add_bos);
        gb_finish(&b);
        cr_assert_eq(mox_gguf_parse(&g, b.p, b.n, b.n, NULL), MOX_OK, "%s: %s", r->name, mox_err_last()->msg);
        cr_expect_eq(mox_tokenizer_create(&t, g), r->want, "%s", r->name);
        cr_expect(r->want == MOX_OK || strstr(mox_err_last()->msg, r->says), "%s: %s", r->name,
                  mox_err_last()->msg);
        mox_tokenizer_destroy(&t);
        mox_gguf_close(&g);
        gb_free(&b);
    }
}

/* G83: the later one counts, and the earlier still prints. */
Test(tokenizer_create, two_tokens_with_one_text)
{
    static const piece pieces[] = {
        {MARK, -1, NORMAL}, {"a", -2, NORMAL}, {"a", -2, NORMAL}, {"", 0, NORMAL}, {"", 0, CONTROL}};
    mox_tokenizer *t = vocab_tokenizer(pieces, 5, NULL);
    id_list got = encode(t, "a", 1, false, true);
    cr_expect(got.n == 2 && got.ids[1] == V_FIRST + 2);
    free(got.ids);
    cr_expect_eq(mox_token_text(t, V_FIRST + 1).n, 1);
    cr_expect_eq(mox_token_text(t, 1u << 31).n, 0);
    cr_expect_eq(mox_tokenizer_vocab(t), V_FIRST + 5);
    cr_expect(mox_tokenizer_bytes(t) > 4 * (V_FIRST + 5));
    mox_tokenizer_destroy(&t);
}

static void end_keys(gb *b)
{
    gb_kv_u32(b, "tokenizer.ggml.eos_token_id", V_FIRST);
    gb_kv_u32(b, "tokenizer.ggml.eot_token_id", V_FIRST + 1);
    gb_kv_u32(b, "tokenizer.ggml.eom_token_id", V_FIRST + 2);
}

Test(tokenizer_create, ends_by_key_and_by_text)
{
    static const piece pieces[] = {{"E", -1, NORMAL},
                                   {"F", -1, NORMAL},
                                   {"G", -1, NORMAL},
                                   {"<|im_end|>", 0, NORMAL},
                                   {"<|im_start|>", 0, CONTROL}};
    mox_tokenizer *t = vocab_tokenizer(pieces, 5, end_keys);
    for (uint32_t id = 0; id < mox_tokenizer_vocab(t); id++) {
        bool want = id == V_EOS || (id >= V_FIRST && id <= V_FIRST + 3);
        cr_expect_eq(mox_token_is_end(t, id), want, "id %u", id);
    }
    cr_expect_not(mox_token_is_end(t, MOX_TOKEN_NONE));
    cr_expect_eq(mox_tokenizer_ids(t)->eot, V_FIRST + 1);
    mox_tokenizer_destroy(&t);

    t = vocab_tokenizer(pieces, 5, NULL);
    cr_expect_eq(mox_tokenizer_ids(t)->eot, V_FIRST + 3);
    cr_expect_eq(mox_tokenizer_ids(t)->eos, V_EOS);
    cr_expect_eq(mox_tokenizer_ids(t)->bos, V_BOS);
    cr_expect_eq(mox_tokenizer_ids(t)->unk, V_UNK);
    cr_expect(mox_tokenizer_ids(t)->add_bos && !mox_tokenizer_ids(t)->add_eos &&
              mox_tokenizer_ids(t)->add_space_prefix);
    /* It says "normal", but it ends a turn: typed text must not make one. */
    id_list got = encode(t, "<|im_end|>", 10, false, false);
    for (uint32_t i = 0; i < got.n; i++) {
        cr_expect_neq(got.ids[i], V_FIRST + 3);
    }
    free(got.ids);
    mox_tokenizer_destroy(&t);
}

/* G92: nothing ends such a text. Where no key names one, the id 2 is the end, as the format has it; here there is none. */
Test(tokenizer_create, a_vocabulary_without_an_end)
{
    static const char *const texts[] = {"<unk>", "a"};
    static const float scores[] = {0, -1};
    static const int32_t types[] = {UNKNOWN, NORMAL};
    gb b = {0};
    mox_gguf *g = NULL;
    mox_tokenizer *t = NULL;
    gb_begin(&b, 3);
    gb_kv_str(&b, "general.architecture", "llama");
    gb_kv_str(&b, "tokenizer.ggml.model", "llama");
    gb_kv_strings(&b, "tokenizer.ggml.tokens", texts, 2);
    gb_kv_array(&b, "tokenizer.ggml.scores", K_F32, scores, 2, 4);
    gb_kv_array(&b, "tokenizer.ggml.token_type", K_I32, types, 2, 4);
    gb_finish(&b);
    cr_assert_eq(mox_gguf_parse(&g, b.p, b.n, b.n, NULL), MOX_OK, "%s", mox_err_last()->msg);
    cr_assert_eq(mox_tokenizer_create(&t, g), MOX_OK, "%s", mox_err_last()->msg);
    for (uint32_t id = 0; id < 4; id++) {
        cr_expect_not(mox_token_is_end(t, id));
    }
    cr_expect_eq(mox_tokenizer_ids(t)->eos, MOX_TOKEN_NONE);
    mox_tokenizer_destroy(&t);
    mox_gguf_close(&g);
    gb_free(&b);
}
