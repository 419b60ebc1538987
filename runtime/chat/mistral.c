/* The form of Mistral and Mixtral, first version: <s>[INST] question [/INST]answer</s>[INST] ... Only <s> and </s> are
 * control tokens; [INST] is text. Each turn is tokenised by itself, as Mistral's own reference does, so SentencePiece
 * puts its space in front of [INST] and of an answer. There is no role for a system message: it stands in front of the
 * first question, with an empty line between, as in the later templates of the same models.
 */
#include "templates.h"

#include <string.h>

static bool has(mox_str s, const char *word)
{
    return memmem(s.p, s.n, word, strlen(word)) != NULL;
}

/* Jinja texts of this form differ in spelling from release to release; what they share are the markers and the tokens
 * around them. Other forms that use [INST] are known by what they add: Llama 2's <<SYS>>, the tools and system markers
 * of later Mistral vocabularies, where [INST] is a control token. */
static bool matches(mox_str s)
{
    static const char *const others[] = {"<<SYS>>", "[AVAILABLE_TOOLS]", "[SYSTEM_PROMPT]", "[TOOL", "<|",
                                         "[SYS]"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (has(s, others[i])) {
            return false;
        }
    }
    return has(s, "[INST]") && has(s, "[/INST]") && has(s, "eos_token") && has(s, "assistant");
}

static void text(mox_segment **out, mox_segment_kind kind, const char *p, size_t n)
{
    *(*out)++ = (mox_segment){.kind = kind, .text = p, .n_text = n};
}

static void token(mox_segment **out, uint32_t id)
{
    *(*out)++ = (mox_segment){.kind = MOX_SEGMENT_TOKEN, .token = id};
}

static uint32_t format(const mox_message *m, uint32_t n, const mox_token_ids *ids, mox_segment *out)
{
    mox_segment *at = out;
    const mox_message *system = n > 0 && m[0].role == MOX_ROLE_SYSTEM ? m : NULL;
    if (ids->bos != MOX_TOKEN_NONE) {
        token(&at, ids->bos);
    }
    for (uint32_t i = system != NULL; i < n; i++) {
        if (m[i].role == MOX_ROLE_USER) {
            text(&at, MOX_SEGMENT_TEMPLATE, "[INST] ", 7);
            if (system != NULL) {
                text(&at, MOX_SEGMENT_USER, system->text, system->n_text);
                text(&at, MOX_SEGMENT_TEMPLATE, "\n\n", 2);
                system = NULL;
            }
            text(&at, MOX_SEGMENT_USER, m[i].text, m[i].n_text);
            text(&at, MOX_SEGMENT_TEMPLATE, " [/INST]", 8);
            *at++ = (mox_segment){.kind = MOX_SEGMENT_BREAK};
        } else {
            if (m[i].n_ids > 0) {
                *at++ = (mox_segment){.kind = MOX_SEGMENT_IDS, .ids = m[i].ids, .n_ids = m[i].n_ids};
            } else {
                text(&at, MOX_SEGMENT_USER, m[i].text, m[i].n_text);
            }
            if (ids->eos != MOX_TOKEN_NONE) {
                token(&at, ids->eos);
            }
        }
    }
    return (uint32_t)(at - out);
}

const mox_template mox_template_mistral = {.name = "mistral", .matches = matches, .format = format};
