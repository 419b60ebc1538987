/* The template of a model file, and encoding in memory that is kept from turn to turn. */
#include "runtime/cli/chat/prompt.h"

#include <stdlib.h>
#include <string.h>

static const char key[] = "tokenizer.chat_template";

mox_err mox_prompt_template(const mox_opts *o, const mox_template **out)
{
    if (o->chat_template != 0) {
        *out = mox_template_by_name("mistral");
        return MOX_OK;
    }
    mox_gguf *g = NULL;
    mox_str text = {0};
    MOX_TRY(mox_gguf_open(&g, o->cfg.model));
    mox_err err = mox_gguf_has(g, key) ? mox_gguf_str(g, key, &text) : MOX_OK;
    *out = NULL;
    if (err == MOX_OK && text.n > 0) {
        *out = mox_template_match(text);
        if (*out == NULL) {
            char shown[120];
            MOX_FAIL(MOX_E_TEMPLATE, "the model's chat template is none that is built in: %s",
                     mox_escape((mox_str){text.p, text.n < 80 ? text.n : 80}, shown, sizeof shown));
            err = mox_err_fix("--raw                    continues a text without a template\n"
                              "--chat-template mistral  if the model was trained with [INST]");
        }
    }
    mox_gguf_close(&g);
    return err;
}

void mox_prompt_free(mox_prompt *p)
{
    free(p->segments);
    free(p->work);
    p->segments = NULL;
    p->work = NULL;
    p->max_segments = 0;
    p->work_bytes = 0;
}

mox_err mox_prompt_reserve(mox_prompt *p, uint32_t n_messages, size_t n_text)
{
    uint32_t max = mox_segments_max(n_messages);
    mox_segment all = {.kind = MOX_SEGMENT_USER, .n_text = n_text + 32 * (size_t)n_messages};
    size_t bytes = mox_segments_work_bytes(&all, 1);
    if (max > p->max_segments) {
        free(p->segments);
        p->segments = malloc(max * sizeof *p->segments);
        p->max_segments = p->segments != NULL ? max : 0;
    }
    if (bytes > p->work_bytes) {
        free(p->work);
        p->work = malloc(bytes);
        p->work_bytes = p->work != NULL ? bytes : 0;
    }
    return p->segments != NULL && p->work != NULL
               ? MOX_OK
               : MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a prompt of %zu bytes", n_text);
}

mox_err mox_prompt_encode(mox_prompt *p, const mox_tokenizer *tokenizer, const mox_message *m, uint32_t n,
                          uint32_t *ids, uint32_t max, uint32_t *n_ids)
{
    size_t n_text = 0;
    for (uint32_t i = 0; i < n; i++) {
        n_text += m[i].n_text;
    }
    MOX_TRY(mox_prompt_reserve(p, n, n_text));
    mox_token_ids control = *mox_tokenizer_ids(tokenizer);
    if (p->o->no_bos) {
        control.bos = MOX_TOKEN_NONE;
    }
    uint32_t n_segments = 0;
    MOX_TRY(mox_template_format(p->t, m, n, &control, p->segments, &n_segments));
    return mox_segments_encode(tokenizer, p->segments, n_segments, p->o->special, ids, max, n_ids, p->work);
}
