/* A SentencePiece vocabulary of exactly the wanted size that really tokenises text.
 *
 * <unk>, <s>, </s>, the 256 byte tokens, the word mark, the printable ASCII characters, then pieces of one to
 * four syllables (consonant and vowel), each with and without the word mark before it. Every piece is the
 * union of two earlier ones, so merging can reach it; the score is minus the rank, as in trained
 * vocabularies.
 */
#include "synth.h"

#include <stdio.h>
#include <string.h>

enum { N_SPECIAL = 3, FIRST_MARK = 259, FIRST_CHAR = 260, N_CHARS = 94, N_SYLLABLES = 21 * 5 };
enum { KIND_STRING = 8, KIND_ARRAY = 9, KIND_F32 = 6, KIND_I32 = 5, KIND_U32 = 4, KIND_BOOL = 7 };
enum { TOKEN_NORMAL = 1, TOKEN_UNKNOWN = 2, TOKEN_CONTROL = 3, TOKEN_BYTE = 6 };

static const char word_mark[] = "\xE2\x96\x81"; /* U+2581 */

static size_t put_syllable(char *out, uint32_t s)
{
    static const char consonants[] = "bcdfghjklmnpqrstvwxyz";
    out[0] = consonants[s / 5];
    out[1] = "aeiou"[s % 5];
    return 2;
}

/* The k-th made-up piece: all of one syllable, then of two, three, four; odd ones with the word mark. */
static void made_piece(uint32_t k, char *out)
{
    size_t n = 0;
    if (k & 1) {
        memcpy(out, word_mark, 3);
        n = 3;
    }
    uint64_t rank = k / 2, count = N_SYLLABLES;
    uint32_t syllables = 1;
    while (rank >= count) {
        rank -= count;
        count *= N_SYLLABLES;
        syllables++;
    }
    for (; syllables > 0; syllables--) {
        count /= N_SYLLABLES;
        n += put_syllable(out + n, (uint32_t)(rank / count));
        rank %= count;
    }
    out[n] = 0;
}

static uint32_t piece(uint32_t id, char out[32])
{
    static const char *const specials[N_SPECIAL] = {"<unk>", "<s>", "</s>"};
    if (id < N_SPECIAL) {
        snprintf(out, 32, "%s", specials[id]);
        return id == 0 ? TOKEN_UNKNOWN : TOKEN_CONTROL;
    }
    if (id < FIRST_MARK) {
        snprintf(out, 32, "<0x%02X>", id - N_SPECIAL);
        return TOKEN_BYTE;
    }
    if (id == FIRST_MARK) {
        snprintf(out, 32, "%s", word_mark);
    } else if (id < FIRST_CHAR + N_CHARS) {
        snprintf(out, 32, "%c", (int)('!' + (id - FIRST_CHAR)));
    } else {
        made_piece(id - FIRST_CHAR - N_CHARS, out);
    }
    return TOKEN_NORMAL;
}

static void begin_array(mox_bytes *b, const char *key, uint32_t kind, uint64_t n)
{
    synth_put_str(b, key);
    mox_bytes_u32(b, KIND_ARRAY);
    mox_bytes_u32(b, kind);
    mox_bytes_u64(b, n);
}

static void put_id(mox_bytes *b, const char *key, uint32_t id)
{
    synth_put_str(b, key);
    mox_bytes_u32(b, KIND_U32);
    mox_bytes_u32(b, id);
}

uint32_t synth_vocab_keys(const synth_cfg *cfg, mox_bytes *b)
{
    char text[32];
    synth_put_str(b, "tokenizer.ggml.model");
    mox_bytes_u32(b, KIND_STRING);
    synth_put_str(b, "llama");
    begin_array(b, "tokenizer.ggml.tokens", KIND_STRING, cfg->vocab);
    for (uint32_t i = 0; i < cfg->vocab; i++) {
        piece(i, text);
        synth_put_str(b, text);
    }
    begin_array(b, "tokenizer.ggml.scores", KIND_F32, cfg->vocab);
    for (uint32_t i = 0; i < cfg->vocab; i++) {
        float score = i < FIRST_MARK ? 0.0f : -(float)(i - FIRST_MARK);
        mox_bytes_put(b, &score, sizeof score);
    }
    begin_array(b, "tokenizer.ggml.token_type", KIND_I32, cfg->vocab);
    for (uint32_t i = 0; i < cfg->vocab; i++) {
        mox_bytes_u32(b, piece(i, text));
    }
    put_id(b, "tokenizer.ggml.unknown_token_id", 0);
    put_id(b, "tokenizer.ggml.bos_token_id", 1);
    put_id(b, "tokenizer.ggml.eos_token_id", 2);
    synth_put_str(b, "tokenizer.ggml.add_bos_token");
    mox_bytes_u32(b, KIND_BOOL);
    mox_bytes_put(b, "\x01", 1);
    return 8;
}
