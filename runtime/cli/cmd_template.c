/* moxie template render: what a chat template makes of a conversation. The text goes to stdout as the model would read
 * it; with --json it is in pieces that say who wrote them. Only the header of a model is read, and of the tokenizer, if
 * it has one, the control tokens that the template names.
 */
#include "runtime/cli/chat/prompt.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/open.h"

#include "profiler/report/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct render_state {
    mox_opts *o;
    mox_jinja *jinja;
    char name[64];
    mox_tokenizer *tokenizer; /* NULL: none */
    mox_jdoc *messages, *tools, *kwargs;
} render_state;

static mox_err read_inputs(render_state *r)
{
    const mox_opts *o = r->o;
    MOX_TRY(mox_jdoc_read(&r->messages, o->messages, MOX_JDOC_MESSAGES));
    if (o->tools != NULL) {
        MOX_TRY(mox_jdoc_read(&r->tools, o->tools, MOX_JDOC_TOOLS));
    }
    if (o->kwargs != NULL) {
        MOX_TRY(mox_jdoc_parse(&r->kwargs, o->kwargs, strlen(o->kwargs), "--kwargs", MOX_JDOC_VARIABLES));
    }
    return MOX_OK;
}

static mox_err read_tokenizer(render_state *r, const char *model)
{
    mox_gguf *g = NULL;
    MOX_TRY(mox_gguf_open(&g, model));
    mox_err err = mox_tokenizer_is_known(g) ? mox_tokenizer_create(&r->tokenizer, g) : MOX_OK;
    mox_gguf_close(&g);
    return err;
}

static mox_err find_template(render_state *r)
{
    mox_opts *o = r->o;
    const char *model = NULL;
    if (o->template_file != NULL) {
        if (strcmp(o->chat_template, "auto") != 0) {
            return MOX_FAIL(MOX_E_CONFLICT, "--file and --chat-template exclude each other");
        }
        o->chat_template = o->template_file;
    }
    if (o->template_file == NULL || o->model != NULL) {
        mox_cli_model(o);
        model = o->cfg.model;
        MOX_TRY(read_tokenizer(r, model));
    }
    if (o->template_file != NULL) { /* a file even if it is called like a template */
        char *text = NULL;
        size_t n = 0;
        MOX_TRY(mox_cli_read_all(o->template_file, &text, &n));
        mox_err err = mox_jinja_open(&r->jinja, text, n, NULL);
        free(text);
        return err;
    }
    MOX_TRY(mox_prompt_jinja(o, model, &r->jinja, r->name));
    return r->jinja != NULL ? MOX_OK : MOX_FAIL(MOX_E_TEMPLATE, "the model has no chat template");
}

static void put_json(const mox_segment *s, uint32_t n)
{
    mox_json j;
    mox_json_begin(&j, stdout);
    mox_json_object(&j, NULL);
    mox_json_string(&j, "schema", "moxie.template/1");
    mox_json_array(&j, "segments");
    for (uint32_t i = 0; i < n; i++) {
        bool token = s[i].kind == MOX_SEGMENT_TOKEN;
        mox_json_object(&j, NULL);
        mox_json_string(&j, "by", s[i].kind == MOX_SEGMENT_USER ? "user" : "template");
        mox_json_string_n(&j, "text", s[i].text, s[i].n_text);
        if (token) {
            mox_json_u64(&j, "token", s[i].token);
        }
        mox_json_object_end(&j);
    }
    mox_json_array_end(&j);
    mox_json_object_end(&j);
    mox_json_end(&j);
}

static mox_err render(render_state *r)
{
    const mox_opts *o = r->o;
    mox_jinja_text text;
    mox_segment *segments;
    uint32_t n;
    mox_render_begin(r->jinja, r->tokenizer, !o->no_generation_prompt);
    mox_jdoc_set(r->jinja, r->messages, mox_jinja_loops_over(r->jinja, "content"));
    if (o->think >= 0) {
        mox_jinja_set(r->jinja, "enable_thinking", mox_jinja_bool(o->think, MOX_MARK_USER));
    }
    if (r->tools != NULL) {
        mox_jdoc_set(r->jinja, r->tools, false);
    }
    if (r->kwargs != NULL) {
        mox_jdoc_set(r->jinja, r->kwargs, false);
    }
    MOX_TRY(mox_jinja_render(r->jinja, &text));
    if (!o->json) {
        fwrite(text.p, 1, text.n, stdout);
        return MOX_OK;
    }
    MOX_TRY(mox_render_segments(r->jinja, &text, r->tokenizer, NULL, 0, &segments, &n));
    put_json(segments, n);
    return MOX_OK;
}

mox_err mox_cmd_template(mox_opts *o)
{
    render_state r = {.o = o};
    if (o->words[0] == NULL || strcmp(o->words[0], "render") != 0) {
        MOX_FAIL(MOX_E_OPTION, "template does what? It can render");
        return mox_err_fix("moxie template render MODEL --messages FILE");
    }
    if (o->messages == NULL) {
        MOX_FAIL(MOX_E_OPTION,
                 "template render needs the conversation: --messages FILE, or - for standard input");
        return mox_err_fix(
            "echo '[{\"role\": \"user\", \"content\": \"Why?\"}]' | moxie template render --messages -");
    }
    mox_err err = find_template(&r);
    if (err == MOX_OK) {
        err = read_inputs(&r);
    }
    if (err == MOX_OK) {
        err = render(&r);
    }
    mox_jinja_close(&r.jinja);
    mox_jdoc_free(&r.messages);
    mox_jdoc_free(&r.tools);
    mox_jdoc_free(&r.kwargs);
    mox_tokenizer_destroy(&r.tokenizer);
    return err;
}
