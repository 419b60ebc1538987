/* Which tokens begin and end a text: by the file's keys, and ends by their text as well.
 *
 * Files name one end, and not always the one that chat models write; several also have the wrong type. So texts that end
 * a turn or a text in one family or another are ends wherever they stand in a vocabulary, and control tokens: except
 * where they are plain pieces that text becomes by the file's own merges. Qwen's vocabulary has such a "</s>", which is
 * no more than what somebody may write.
 */
#include "tokenizer_internal.h"

#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* The first ones end a turn rather than a text. */
static const char *const end_texts[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<EOT>",
    "[EOT]",
    "<|eot|>",
    "<|eom_id|>",
    "<|eom|>",
    "[EOS]",
    "<|return|>",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "<|endoftext|>",
    "</s>",
    "<eos>",
    "<|end_of_text|>",
    "[e~[",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<end_of_utterance>",
    ("<\xEF\xBD\x9C"
     "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>"),
};
enum { END_OF_TURN_TEXTS = 7 };

static bool is_text(const mox_tokenizer *t, uint32_t id, const char *text)
{
    mox_str s = tok_text(t, id);
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

static void mark_end(mox_tokenizer *t, const mox_gguf *g, uint32_t id, size_t which)
{
    if (t->type[id] == TOK_NORMAL && t->kind->makes && t->kind->makes(g, tok_text(t, id))) {
        return;
    }
    t->is_end[id] = true;
    t->type[id] = TOK_CONTROL;
    if (which < END_OF_TURN_TEXTS && t->ids.eot == MOX_TOKEN_NONE) {
        t->ids.eot = id;
    }
}

static uint32_t find_end(const mox_tokenizer *t, const char *text)
{
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        if (t->is_end[id] && is_text(t, id, text)) {
            return id;
        }
    }
    return MOX_TOKEN_NONE;
}

/* gpt-oss: <|end|> ends one of the messages of an answer, not the answer. What stands between them says which message
 * is what, and is printed. */
static void mark_harmony(mox_tokenizer *t)
{
    static const char *const shown[] = {"<|start|>", "<|channel|>", "<|message|>", "<|constrain|>",
                                        "<|end|>"};
    uint32_t end = find_end(t, "<|end|>");
    if (find_end(t, "<|return|>") == MOX_TOKEN_NONE || find_end(t, "<|call|>") == MOX_TOKEN_NONE) {
        return;
    }
    if (end != MOX_TOKEN_NONE) {
        t->is_end[end] = false;
        t->ids.eot = t->ids.eot == end ? MOX_TOKEN_NONE : t->ids.eot;
    }
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        for (size_t k = 0; k < COUNT(shown); k++) {
            t->shown[id] |= is_text(t, id, shown[k]);
        }
    }
}

static void mark_ends(mox_tokenizer *t, const mox_gguf *g)
{
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        for (size_t k = 0; k < COUNT(end_texts); k++) {
            if (is_text(t, id, end_texts[k])) {
                mark_end(t, g, id, k);
            }
        }
    }
    mark_harmony(t);
}

/* An id from a key; where the key is absent, the default, if the vocabulary is long enough. */
static mox_err read_id(const mox_tokenizer *t, const mox_gguf *g, const char *key, uint32_t *id)
{
    *id = *id < t->n_vocab ? *id : MOX_TOKEN_NONE;
    if (mox_gguf_u32_opt(g, key, 0, t->n_vocab - 1, id) != MOX_OK) {
        mox_err_info e = *mox_err_last();
        return mox_err_set(MOX_E_TOKENIZER, 0, e.file, e.line, "%s", e.msg);
    }
    return MOX_OK;
}

mox_err tok_read_ids(mox_tokenizer *t, const mox_gguf *g)
{
    uint32_t eom = MOX_TOKEN_NONE, pad = MOX_TOKEN_NONE;
    mox_token_ids *ids = &t->ids;
    ids->eot = MOX_TOKEN_NONE;
    MOX_TRY(read_id(t, g, "tokenizer.ggml.unknown_token_id", &ids->unk));
    MOX_TRY(read_id(t, g, "tokenizer.ggml.bos_token_id", &ids->bos));
    MOX_TRY(read_id(t, g, "tokenizer.ggml.eos_token_id", &ids->eos));
    MOX_TRY(read_id(t, g, "tokenizer.ggml.eot_token_id", &ids->eot));
    MOX_TRY(read_id(t, g, "tokenizer.ggml.eom_token_id", &eom));
    MOX_TRY(read_id(t, g, "tokenizer.ggml.padding_token_id", &pad));
    MOX_TRY(mox_gguf_bool_opt(g, "tokenizer.ggml.add_bos_token", &ids->add_bos));
    MOX_TRY(mox_gguf_bool_opt(g, "tokenizer.ggml.add_eos_token", &ids->add_eos));
    MOX_TRY(mox_gguf_bool_opt(g, "tokenizer.ggml.add_space_prefix", &ids->add_space_prefix));
    if ((ids->add_bos && ids->bos == MOX_TOKEN_NONE) || (ids->add_eos && ids->eos == MOX_TOKEN_NONE)) {
        return MOX_FAIL(MOX_E_TOKENIZER, "the model wants a token at the %s of a text, but has none",
                        ids->add_bos && ids->bos == MOX_TOKEN_NONE ? "beginning" : "end");
    }
    mark_ends(t, g);
    const uint32_t keys[] = {ids->eos, ids->eot, eom};
    for (size_t i = 0; i < COUNT(keys); i++) {
        if (keys[i] != MOX_TOKEN_NONE) {
            t->is_end[keys[i]] = true;
        }
    }
    return MOX_OK;
}
