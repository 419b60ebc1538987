/* The template of a conversation, and encoding in memory that is kept from turn to turn.
 *
 * A template is compiled once, before the model is loaded, in memory of its own; each turn renders the whole
 * conversation again (microseconds), and what the sequence holds of it already is found by its ids (turn.c).
 */
#include "runtime/cli/chat/prompt.h"

#include "runtime/cli/open.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char key[] = "tokenizer.chat_template";
enum { TEMPLATE_TEXT = 64 << 10 }; /* what a template may write of its own without more memory for encoding */

static mox_err compile(mox_jinja **out, mox_str text)
{
    mox_err err = mox_jinja_open(out, text.p, text.n, NULL);
    if (err == MOX_E_TEMPLATE) {
        const char *names;
        mox_render_builtin("", &names);
        err = mox_err_fix("--raw                      continues a text without a template\n"
                          "--chat-template NAME|FILE  %s, or a file of Jinja",
                          names);
    }
    return err;
}

static mox_err from_file(const char *path, mox_jinja **out)
{
    char *text = NULL;
    size_t n = 0;
    MOX_TRY(mox_cli_read_all(path, &text, &n));
    mox_err err = compile(out, (mox_str){text, n});
    free(text);
    return err;
}

/* A template of the model's file: its own, the one for tools where there are tools, or the one that is named. */
static mox_err from_model(const mox_opts *o, const mox_gguf *g, mox_str *text, char name[64])
{
    static const char tool_use[] = "tokenizer.chat_template.tool_use";
    char named[128];
    const char *from = o->tools != NULL && mox_gguf_has(g, tool_use) ? tool_use : key;
    *text = (mox_str){0};
    snprintf(name, 64, "%s", from == key ? "model" : "model tool_use");
    if (strcmp(o->chat_template, "auto") != 0) {
        snprintf(named, sizeof named, "%s.%.60s", key, o->chat_template);
        snprintf(name, 64, "model %.50s", o->chat_template);
        from = named;
    }
    return mox_gguf_has(g, from) ? mox_gguf_str(g, from, text) : MOX_OK;
}

static mox_err no_such(const char *name)
{
    const char *names;
    mox_render_builtin("", &names);
    MOX_FAIL(MOX_E_OPTION,
             "--chat-template: there is no template \"%.100s\", in the model or built in, and no such file",
             name);
    return mox_err_fix("one of: %s; a template of the model's file; a file", names);
}

mox_err mox_prompt_jinja(const mox_opts *o, const char *model, mox_jinja **out, char name[64])
{
    const char *names, *wanted = o->chat_template, *builtin = mox_render_builtin(wanted, &names);
    bool automatic = strcmp(wanted, "auto") == 0;
    mox_gguf *g = NULL;
    mox_str text = {0};
    mox_err err = MOX_OK;
    *out = NULL;
    if (builtin != NULL) {
        snprintf(name, 64, "%s", wanted);
        return compile(out, (mox_str){builtin, strlen(builtin)});
    }
    if (!automatic && (strchr(wanted, '/') != NULL || access(wanted, F_OK) == 0)) {
        const char *base = strrchr(wanted, '/');
        snprintf(name, 64, "%s", base != NULL ? base + 1 : wanted);
        return from_file(wanted, out);
    }
    if (model != NULL) {
        MOX_TRY(mox_gguf_open(&g, model));
        err = from_model(o, g, &text, name);
        if (err == MOX_OK && text.n > 0) {
            err = compile(out, text);
        }
        mox_gguf_close(&g);
    }
    return err == MOX_OK && *out == NULL && !automatic ? no_such(wanted) : err;
}

/* The built-in form that is asked for, or that the model's template describes. */
static mox_err find_builtin(const mox_opts *o, const mox_template **out)
{
    mox_gguf *g = NULL;
    mox_str text = {0};
    *out = mox_template_by_name(o->chat_template);
    if (*out != NULL || strcmp(o->chat_template, "auto") != 0 || o->tools != NULL || o->kwargs != NULL) {
        return MOX_OK;
    }
    MOX_TRY(mox_gguf_open(&g, o->cfg.model));
    mox_err err = mox_gguf_has(g, key) ? mox_gguf_str(g, key, &text) : MOX_OK;
    *out = err == MOX_OK ? mox_template_match(text) : NULL;
    mox_gguf_close(&g);
    return err;
}

mox_err mox_prompt_open(mox_prompt *p, const mox_opts *o)
{
    *p = (mox_prompt){.o = o};
    MOX_TRY(find_builtin(o, &p->t));
    if (p->t != NULL) {
        return MOX_OK;
    }
    MOX_TRY(mox_prompt_jinja(o, o->cfg.model, &p->jinja, p->name));
    if (p->jinja != NULL && o->tools != NULL) {
        MOX_TRY(mox_jdoc_read(&p->tools, o->tools, MOX_JDOC_TOOLS));
    }
    if (p->jinja != NULL && o->kwargs != NULL) {
        MOX_TRY(mox_jdoc_parse(&p->kwargs, o->kwargs, strlen(o->kwargs), "--kwargs", MOX_JDOC_VARIABLES));
    }
    return MOX_OK;
}

bool mox_prompt_has_template(const mox_prompt *p)
{
    return p->t != NULL || p->jinja != NULL;
}

const char *mox_prompt_name(const mox_prompt *p)
{
    return p->t != NULL ? mox_template_name(p->t) : p->jinja != NULL ? p->name : NULL;
}

void mox_prompt_free(mox_prompt *p)
{
    mox_jinja_close(&p->jinja);
    mox_jdoc_free(&p->tools);
    mox_jdoc_free(&p->kwargs);
    free(p->segments);
    free(p->work);
    p->segments = NULL;
    p->work = NULL;
    p->max_segments = 0;
    p->work_bytes = 0;
}

static mox_err need_work(mox_prompt *p, size_t bytes)
{
    if (bytes > p->work_bytes) {
        free(p->work);
        p->work = malloc(bytes);
        p->work_bytes = p->work != NULL ? bytes : 0;
    }
    return p->work != NULL ? MOX_OK : MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a prompt: %zu bytes", bytes);
}

mox_err mox_prompt_reserve(mox_prompt *p, uint32_t n_messages, size_t n_text)
{
    uint32_t max = mox_segments_max(n_messages);
    size_t own = p->jinja != NULL ? TEMPLATE_TEXT : 32 * (size_t)n_messages;
    mox_segment all = {.kind = MOX_SEGMENT_USER, .n_text = n_text + own};
    if (p->jinja == NULL && max > p->max_segments) {
        free(p->segments);
        p->segments = malloc(max * sizeof *p->segments);
        p->max_segments = p->segments != NULL ? max : 0;
    }
    if (p->jinja == NULL && p->segments == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a prompt of %zu bytes", n_text);
    }
    return need_work(p, mox_segments_work_bytes(&all, 1));
}

/* The conversation through the template: segments in its memory. */
static mox_err render(mox_prompt *p, const mox_tokenizer *tokenizer, const mox_message *m, uint32_t n,
                      mox_segment **segments, uint32_t *n_segments)
{
    mox_jinja_text text;
    mox_render_begin(p->jinja, tokenizer, true);
    mox_render_messages(p->jinja, m, n);
    if (p->o->think >= 0) {
        mox_jinja_set(p->jinja, "enable_thinking", mox_jinja_bool(p->o->think, MOX_MARK_USER));
    }
    if (p->tools != NULL) {
        mox_jdoc_set(p->jinja, p->tools, false);
    }
    if (p->kwargs != NULL) {
        mox_jdoc_set(p->jinja, p->kwargs, false);
    }
    MOX_TRY(mox_jinja_render(p->jinja, &text));
    return mox_render_segments(p->jinja, &text, tokenizer, m, n, segments, n_segments);
}

mox_err mox_prompt_prepare(mox_prompt *p, const mox_message *m, uint32_t n)
{
    size_t n_text = 0;
    mox_segment *segments;
    uint32_t n_segments;
    if (p->jinja != NULL) {
        MOX_TRY(render(p, NULL, m, n, &segments, &n_segments));
        for (uint32_t i = 0; i < n_segments; i++) {
            n_text += segments[i].n_text;
        }
    }
    for (uint32_t i = 0; i < n && p->jinja == NULL; i++) {
        n_text += m[i].n_text;
    }
    return mox_prompt_reserve(p, n, n_text);
}

mox_err mox_prompt_encode(mox_prompt *p, const mox_tokenizer *tokenizer, const mox_message *m, uint32_t n,
                          uint32_t *ids, uint32_t max, uint32_t *n_ids)
{
    size_t n_text = 0;
    mox_segment *segments = p->segments;
    uint32_t n_segments = 0;
    mox_token_ids control = *mox_tokenizer_ids(tokenizer);
    if (p->jinja != NULL) {
        MOX_TRY(render(p, tokenizer, m, n, &segments, &n_segments));
        MOX_TRY(need_work(p, mox_segments_work_bytes(segments, n_segments)));
        bool bos = p->o->no_bos && n_segments > 0 && segments[0].kind == MOX_SEGMENT_TOKEN &&
                   segments[0].token == control.bos;
        segments += bos;
        n_segments -= bos;
    } else {
        for (uint32_t i = 0; i < n; i++) {
            n_text += m[i].n_text;
        }
        MOX_TRY(mox_prompt_reserve(p, n, n_text));
        control.bos = p->o->no_bos ? MOX_TOKEN_NONE : control.bos;
        segments = p->segments;
        MOX_TRY(mox_template_format(p->t, m, n, &control, segments, &n_segments));
    }
    return mox_segments_encode(tokenizer, segments, n_segments, p->o->special, ids, max, n_ids, p->work);
}
