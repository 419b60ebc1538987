/* The form of messages: compared with the text that the template writes, tokenised as a whole. */
#include "demo_model.h"
#include "runtime/chat/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX = 256 };

static mox_message said(mox_role role, const char *text)
{
    return (mox_message){.role = role, .text = text, .n_text = strlen(text)};
}

static uint32_t encode(const mox_tokenizer *t, const mox_message *m, uint32_t n, bool special, uint32_t *ids)
{
    mox_segment s[64];
    uint32_t n_segments = 0, n_ids = 0;
    cr_assert_leq(mox_segments_max(n), 64);
    cr_assert_eq(
        mox_template_format(mox_template_by_name("mistral"), m, n, mox_tokenizer_ids(t), s, &n_segments),
        MOX_OK, "%s", mox_err_last()->msg);
    void *work = malloc(mox_segments_work_bytes(s, n_segments));
    cr_assert_eq(mox_segments_encode(t, s, n_segments, special, ids, MAX, &n_ids, work), MOX_OK);
    free(work);
    return n_ids;
}

/* A text with control tokens in it, as one. */
static uint32_t whole(const mox_tokenizer *t, const char *text, uint32_t *ids)
{
    uint32_t n = 0;
    void *work = malloc(mox_tokenizer_work_bytes(strlen(text)));
    cr_assert_eq(mox_tokenizer_encode(t, text, strlen(text), false, true, ids, MAX, &n, work), MOX_OK);
    free(work);
    return n;
}

#define EXPECT_TEXT(text, ids, n)                                                                            \
    do {                                                                                                     \
        uint32_t want[MAX], n_want = whole(t, text, want);                                                   \
        cr_assert_eq((n), n_want, "%u tokens, not %u", (n), n_want);                                         \
        cr_assert_arr_eq((ids), want, n_want * sizeof *want);                                                \
    } while (0)

Test(format, one_question)
{
    mox_tokenizer *t = demo_tokenizer();
    mox_message m = said(MOX_ROLE_USER, "Continue the story: Once");
    uint32_t ids[MAX], n = encode(t, &m, 1, false, ids);
    EXPECT_TEXT("<s>[INST] Continue the story: Once [/INST]", ids, n);
    cr_assert_eq(ids[0], mox_tokenizer_ids(t)->bos);
    mox_tokenizer_destroy(&t);
}

/* Borders between template and user leave no trace: words are merged across them as in one text. */
Test(format, borders_leave_no_trace)
{
    mox_tokenizer *t = demo_tokenizer();
    static const char *const texts[] = {
        "", " ", "  two spaces ", "x", "[", "]", "\n", "na\xC3\xAFve \xF0\x9F\x98\x80", "[/"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char text[128];
        mox_message m = said(MOX_ROLE_USER, texts[i]);
        uint32_t ids[MAX], n = encode(t, &m, 1, false, ids);
        snprintf(text, sizeof text, "<s>[INST] %s [/INST]", texts[i]);
        EXPECT_TEXT(text, ids, n);
    }
    mox_tokenizer_destroy(&t);
}

/* Phi-3's special tokens take the whitespace behind them, also where the template's text or the user's follows. */
Test(format, tokens_take_the_whitespace_behind_them)
{
    mox_tokenizer *t = tokenizer_of(MOX_TEST_DATA "/models/phimoe-a.gguf");
    uint32_t ids[MAX], n = 0, user[1], end[1], assistant[1];
    cr_assert(whole(t, "<|user|>", user) == 1 && whole(t, "<|end|>", end) == 1 &&
              whole(t, "<|assistant|>", assistant) == 1);
    const mox_segment s[] = {
        {.kind = MOX_SEGMENT_TOKEN, .token = user[0]},
        {.kind = MOX_SEGMENT_TEMPLATE, .text = "\n", .n_text = 1},
        {.kind = MOX_SEGMENT_USER, .text = " two <|end|>  words", .n_text = 19},
        {.kind = MOX_SEGMENT_TOKEN, .token = end[0]},
        {.kind = MOX_SEGMENT_TEMPLATE, .text = "\n", .n_text = 1},
        {.kind = MOX_SEGMENT_TOKEN, .token = assistant[0]},
        {.kind = MOX_SEGMENT_TEMPLATE, .text = "\n", .n_text = 1},
    };
    const uint32_t count = sizeof s / sizeof s[0];
    void *work = malloc(mox_segments_work_bytes(s, count));
    cr_assert_eq(mox_segments_encode(t, s, count, false, ids, MAX, &n, work), MOX_OK);
    free(work);
    uint32_t text[MAX], n_text = 0;
    work = malloc(mox_tokenizer_work_bytes(18));
    cr_assert_eq(mox_tokenizer_encode(t, "two <|end|>  words", 18, false, false, text, MAX, &n_text, work),
                 MOX_OK);
    free(work);
    cr_assert_eq(n, n_text + 3, "%u ids, %u of the text", n, n_text);
    cr_assert(ids[0] == user[0] && ids[n - 2] == end[0] && ids[n - 1] == assistant[0]);
    cr_assert_arr_eq(ids + 1, text, n_text * sizeof *text);
    mox_tokenizer_destroy(&t);
}

Test(format, turns_and_system)
{
    mox_tokenizer *t = demo_tokenizer();
    mox_message m[] = {said(MOX_ROLE_SYSTEM, "Be brief."), said(MOX_ROLE_USER, "Who?"),
                       said(MOX_ROLE_ASSISTANT, "The king."), said(MOX_ROLE_USER, "Why?")};
    uint32_t ids[MAX], n = encode(t, m, 4, false, ids), first[MAX], n_first;
    n_first = whole(t, "<s>[INST] Be brief.\n\nWho? [/INST]", first);
    cr_assert_arr_eq(ids, first, n_first * sizeof *ids);
    /* the answer is tokenised by itself, then </s>, then the next question */
    EXPECT_TEXT("The king.</s>[INST] Why? [/INST]", ids + n_first, n - n_first);
    mox_tokenizer_destroy(&t);
}

/* An answer whose tokens are known goes in as those, not as what its text would give. */
Test(format, answers_keep_their_tokens)
{
    mox_tokenizer *t = demo_tokenizer();
    const uint32_t own[] = {300, 301, 302};
    mox_message m[] = {said(MOX_ROLE_USER, "Who?"), said(MOX_ROLE_ASSISTANT, "another text"),
                       said(MOX_ROLE_USER, "Why?")};
    m[1].ids = own;
    m[1].n_ids = 3;
    uint32_t ids[MAX], n = encode(t, m, 3, false, ids), first[MAX],
                       n_first = whole(t, "<s>[INST] Who? [/INST]", first);
    cr_assert_arr_eq(ids, first, n_first * sizeof *ids);
    cr_assert_arr_eq(ids + n_first, own, sizeof own);
    EXPECT_TEXT("</s>[INST] Why? [/INST]", ids + n_first + 3, n - n_first - 3);
    mox_tokenizer_destroy(&t);
}

/* What people write is text: no control token comes of it, unless they are asked for. */
Test(format, text_is_never_a_control_token)
{
    mox_tokenizer *t = demo_tokenizer();
    mox_message m[] = {said(MOX_ROLE_SYSTEM, "</s><unk>"), said(MOX_ROLE_USER, "a</s><s>b<unk>"),
                       said(MOX_ROLE_ASSISTANT, "<s></s>"), said(MOX_ROLE_USER, "</s>")};
    uint32_t ids[MAX], n = encode(t, m, 4, false, ids), n_bos = 0, n_eos = 0;
    for (uint32_t i = 0; i < n; i++) {
        n_bos += ids[i] == mox_tokenizer_ids(t)->bos;
        n_eos += ids[i] == mox_tokenizer_ids(t)->eos;
    }
    cr_assert_eq(n_bos, 1, "the template's own alone");
    cr_assert_eq(n_eos, 1);
    n = encode(t, m, 4, true, ids);
    n_eos = 0;
    for (uint32_t i = 0; i < n; i++) {
        n_eos += ids[i] == mox_tokenizer_ids(t)->eos;
    }
    cr_assert_eq(n_eos, 5);
    mox_tokenizer_destroy(&t);
}

Test(format, says_how_many_tokens_it_takes)
{
    mox_tokenizer *t = demo_tokenizer();
    mox_message m[] = {said(MOX_ROLE_USER, "Who is the king?"), said(MOX_ROLE_ASSISTANT, "He is."),
                       said(MOX_ROLE_USER, "Why?")};
    uint32_t ids[MAX], few[4], n = encode(t, m, 3, false, ids), n_segments = 0, need = 0;
    mox_segment s[64];
    cr_assert_eq(
        mox_template_format(mox_template_by_name("mistral"), m, 3, mox_tokenizer_ids(t), s, &n_segments),
        MOX_OK);
    void *work = malloc(mox_segments_work_bytes(s, n_segments));
    for (uint32_t max = 0; max <= 4; max++) {
        cr_assert_eq(mox_segments_encode(t, s, n_segments, false, few, max, &need, work), MOX_E_LIMIT);
        cr_assert_eq(need, n);
        cr_assert_arr_eq(few, ids, max * sizeof *few);
    }
    cr_assert_eq(mox_segments_encode(t, s, n_segments, false, ids, n, &need, work), MOX_OK,
                 "exactly enough room");
    free(work);
    mox_tokenizer_destroy(&t);
}

Test(format, refuses_turns_out_of_order)
{
    mox_token_ids ids = {.bos = 1, .eos = 2};
    mox_segment s[64];
    uint32_t n = 0;
    const mox_template *t = mox_template_by_name("mistral");
    mox_message m[] = {said(MOX_ROLE_USER, "a"), said(MOX_ROLE_USER, "b"), said(MOX_ROLE_ASSISTANT, "c"),
                       said(MOX_ROLE_SYSTEM, "d")};
    cr_assert_eq(mox_template_format(t, m, 0, &ids, s, &n), MOX_E_ARG);
    cr_assert_eq(mox_template_format(t, m, 2, &ids, s, &n), MOX_E_ARG, "two questions");
    cr_assert_eq(mox_template_format(t, m + 1, 2, &ids, s, &n), MOX_E_ARG, "nothing to answer");
    cr_assert_eq(mox_template_format(t, m + 2, 1, &ids, s, &n), MOX_E_ARG, "an answer first");
    cr_assert_eq(mox_template_format(t, m + 3, 1, &ids, s, &n), MOX_E_ARG, "a system message alone");
    cr_assert_null(mox_template_by_name("chatml"));
}

/* Templates as they stand in published models, shortened to what tells them apart. */
Test(format, knows_which_templates_are_its_own)
{
    static const char *const own[] = {
        "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 "
        "== 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% "
        "endif %}"
        "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}"
        "{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}",
        "{%- if messages[0][\"role\"] == \"system\" %}\n    {%- set system_message = "
        "messages[0][\"content\"] %}\n"
        "{%- endif %}\n{{- bos_token }}\n{%- for message in loop_messages %}\n"
        "{{- \" [INST] \" + system_message + \"\\n\\n\" + message[\"content\"] + \" [/INST]\" }}\n"
        "{%- elif message[\"role\"] == \"assistant\" %}\n        {{- \" \" + message[\"content\"] + "
        "eos_token}}\n",
    };
    static const char *const others[] = {
        "",
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
        "'<|im_end|>'}}"
        "{% endfor %}",
        "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
        "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
        "{{ ' '  + content.strip() + ' ' + eos_token }}",
        ("{{- bos_token }}{{- \"[AVAILABLE_TOOLS] [\" }}{{- \"[INST] \" + message[\"content\"] + \"[/INST]\" "
         "}}{%- elif message['role'] == 'assistant' %}{{ eos_token }}"),
        ("{{ '[SYSTEM_PROMPT]' }}{{ '[INST]' + m['content'] + '[/INST]' }}{% if m.role == 'assistant' %}{{ "
         "eos_token }}"),
        "{{ '<|user|>\n' + message['content'] + eos_token }}{{ '<|assistant|>\n' }}",
    };
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        const mox_template *t = mox_template_match((mox_str){own[i], strlen(own[i])});
        cr_assert_not_null(t, "template %zu", i);
        cr_assert_str_eq(mox_template_name(t), "mistral");
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        cr_assert_null(mox_template_match((mox_str){others[i], strlen(others[i])}), "template %zu", i);
    }
}
