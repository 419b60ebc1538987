/* Whitespace that belongs to the special token before it.
 *
 * The tokenizers of Phi-3 and its relatives take all whitespace behind most of their special tokens for a part of these: the
 * line break after <|user|> gives no ids. A GGUF has no key for that, so it goes by architecture; which tokens are left
 * out is known from the published files. llama.cpp goes by the model's name, which the publisher of a file may choose.
 */
#include "tokenizer_internal.h"

#include "runtime/gguf/utf8.h"

#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool is_one_of(mox_str s, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s.n == strlen(words[i]) && memcmp(s.p, words[i], s.n) == 0) {
            return true;
        }
    }
    return false;
}

mox_err tok_mark_strips(mox_tokenizer *t, const mox_gguf *g)
{
    static const char *const archs[] = {"phi3", "phimoe"}, *const keep[] = {"<unk>", "<s>", "<|endoftext|>"};
    mox_str arch;
    if (t->kind != &tok_spm || mox_gguf_str(g, "general.architecture", &arch) != MOX_OK ||
        !is_one_of(arch, archs, COUNT(archs))) {
        return MOX_OK;
    }
    t->strips = tok_take(t, t->n_vocab, sizeof *t->strips);
    if (!t->strips) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a vocabulary of %u tokens", t->n_vocab);
    }
    for (uint32_t i = 0; i < t->n_special; i++) {
        uint32_t id = t->special[i];
        t->strips[id] = !is_one_of(tok_text(t, id), keep, COUNT(keep));
    }
    return MOX_OK;
}

/* Unicode's White_Space. */
static bool is_space(uint32_t cp)
{
    return (cp >= 0x09 && cp <= 0x0D) || cp == 0x20 || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F || cp == 0x205F ||
           cp == 0x3000;
}

size_t mox_token_takes(const mox_tokenizer *t, uint32_t id, const char *text, size_t n)
{
    size_t taken = 0;
    uint32_t cp = 0;
    if (!t->strips || id >= t->n_vocab || !t->strips[id]) {
        return 0;
    }
    for (size_t used = 1; used > 0 && taken < n;) {
        used = mox_utf8_next(text + taken, n - taken, &cp);
        used = used > 0 && is_space(cp) ? used : 0;
        taken += used;
    }
    return taken;
}
