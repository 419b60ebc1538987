/* What the model has read is not read again, and nobody can tell from the answers: a chat gives what a fresh session
 * with the same text gives (P1), also after stopping and after the oldest turns were dropped. */
#include "demo_model.h"
#include "runtime/cli/chat/conversation.h"
#include "runtime/cli/chat/prompt.h"
#include "runtime/cli/chat/turn.h"
#include "runtime/cli/ui.h"

#include <string.h>

enum { CTX = 256 };

typedef struct session {
    mox_opts o;
    mox_ctx *ctx;
    mox_conversation conv;
    mox_prompt prompt;
    mox_turn turn;
} session;

static void start(session *s)
{
    memset(s, 0, sizeof *s);
    mox_cfg_defaults(&s->o.cfg);
    s->o.cfg.model = DEMO_MODEL;
    s->o.cfg.n_ctx = CTX;
    s->o.cfg.n_batch = 16;
    s->o.cfg.ram = (mox_budget){.kind = MOX_BUDGET_EXPERTS_PCT, .pct = 30};
    s->o.sampling = (mox_sampling){.temp = 0.8f, .top_p = 1, .seed = 3, .repeat = 1.1f};
    s->o.max_new = 24;
    cr_assert_eq(mox_open(&s->ctx, &s->o.cfg), MOX_OK, "%s", mox_err_last()->msg);
    cr_assert_eq(mox_turn_create(&s->turn, &s->o, CTX, true), MOX_OK);
    s->turn.ctx = s->ctx;
    s->turn.trim = true;
    s->prompt = (mox_prompt){.o = &s->o, .t = mox_template_by_name("mistral")};
}

static void end(session *s)
{
    mox_turn_free(&s->turn);
    mox_prompt_free(&s->prompt);
    mox_conv_free(&s->conv);
    mox_close(&s->ctx);
}

static void encode(session *s)
{
    cr_assert_eq(mox_prompt_encode(&s->prompt, mox_get_tokenizer(s->ctx), s->conv.m, s->conv.n, s->turn.ids,
                                   CTX, &s->turn.n_prompt),
                 MOX_OK, "%s", mox_err_last()->msg);
    mox_turn_begin(&s->turn);
}

static void say(session *s, const char *text)
{
    mox_message m = {.role = MOX_ROLE_USER, .text = text, .n_text = strlen(text)};
    cr_assert_eq(mox_conv_add(&s->conv, &m), MOX_OK);
    encode(s);
    cr_assert_eq(mox_turn_run(&s->turn), MOX_OK, "%s", mox_err_last()->msg);
    mox_message a = {.role = MOX_ROLE_ASSISTANT,
                     .text = s->turn.text,
                     .n_text = s->turn.n_text,
                     .ids = s->turn.answer,
                     .n_ids = s->turn.n_answer};
    cr_assert_eq(mox_conv_add(&s->conv, &a), MOX_OK);
}

/* The same messages but the last answer, read by a session that has read nothing: the same answer. */
static void expect_fresh(const session *s)
{
    session fresh;
    start(&fresh);
    for (uint32_t i = 0; i + 1 < s->conv.n; i++) {
        cr_assert_eq(mox_conv_add(&fresh.conv, &s->conv.m[i]), MOX_OK);
    }
    fresh.conv.has_system = s->conv.has_system;
    fresh.turn.retry = s->turn.retry;
    encode(&fresh);
    cr_assert_eq(mox_turn_run(&fresh.turn), MOX_OK);
    cr_assert_eq(fresh.turn.n_reused, 0);
    cr_assert_eq(fresh.turn.n_prompt, s->turn.n_prompt);
    cr_assert_eq(fresh.turn.n_answer, s->turn.n_answer);
    cr_assert_arr_eq(fresh.turn.answer, s->turn.answer, s->turn.n_answer * sizeof *s->turn.answer);
    cr_assert_eq(fresh.turn.n_text, s->turn.n_text);
    cr_assert_arr_eq(fresh.turn.text, s->turn.text, s->turn.n_text);
    end(&fresh);
}

Test(turn, earlier_turns_are_not_read_again)
{
    session s;
    start(&s);
    cr_assert_eq(mox_conv_system(&s.conv, "Be brief.", 9), MOX_OK);
    say(&s, "Continue the story: Once upon a time");
    for (int i = 0; i < 3; i++) {
        uint32_t held = s.turn.n_held;
        say(&s, "And then?");
        cr_assert_eq(s.turn.n_reused, held, "all that was evaluated");
        cr_assert_gt(held, 30);
        expect_fresh(&s);
    }
    end(&s);
}

/* Through a rendered template too: an answer goes back in as its tokens, so all that was evaluated is found again. */
Test(turn, a_rendered_template_reads_only_what_is_new)
{
    session s;
    const char *names, *text = mox_render_builtin("chatml", &names);
    start(&s);
    s.o.think = -1;
    s.prompt.t = NULL;
    cr_assert_eq(mox_jinja_open(&s.prompt.jinja, text, strlen(text), NULL), MOX_OK);
    say(&s, "Once upon");
    for (int i = 0; i < 2; i++) {
        uint32_t held = s.turn.n_held;
        cr_assert_gt(held, 30);
        say(&s, "Go");
        cr_assert_eq(s.turn.n_reused, held, "%u of %u", s.turn.n_reused, held);
    }
    end(&s);
}

/* /retry: all of the prompt is there but the last token, and another seed gives another answer. */
Test(turn, retry_reads_one_token)
{
    session s;
    start(&s);
    say(&s, "Continue the story: Once upon a time");
    uint32_t first[CTX], n_first = s.turn.n_answer;
    memcpy(first, s.turn.answer, n_first * sizeof *first);
    for (uint32_t retry = 0; retry < 2; retry++) {
        mox_conv_drop_last(&s.conv);
        s.turn.retry = retry;
        encode(&s);
        cr_assert_eq(mox_turn_run(&s.turn), MOX_OK);
        cr_assert_eq(s.turn.n_reused, s.turn.n_prompt - 1);
        bool same = s.turn.n_answer == n_first && memcmp(s.turn.answer, first, n_first * sizeof *first) == 0;
        cr_assert_eq(same, retry == 0);
        mox_message a = {.role = MOX_ROLE_ASSISTANT, .text = s.turn.text, .n_text = s.turn.n_text};
        cr_assert_eq(mox_conv_add(&s.conv, &a), MOX_OK);
    }
    expect_fresh(&s);
    end(&s);
}

/* --overflow shift: what is left after dropping is a conversation like any other. */
Test(turn, dropped_turns_leave_no_trace)
{
    session s;
    start(&s);
    cr_assert_eq(mox_conv_system(&s.conv, "Be brief.", 9), MOX_OK);
    say(&s, "Continue the story: Once upon a time");
    say(&s, "And then?");
    cr_assert(mox_conv_drop_oldest(&s.conv));
    say(&s, "Why?");
    cr_assert_lt(s.turn.n_reused, 20, "only the beginning is the same");
    expect_fresh(&s);
    end(&s);
}

/* A signal while the prompt is read: what was read of it is kept, and the next try gives the same answer. */
Test(turn, stopped_while_reading)
{
    session s;
    start(&s);
    const char text[] =
        "Continue the story: Once upon a time there was a king who had three sons, and the youngest of "
        "them was the most beautiful of all, so that everybody in the land was fond of him.";
    mox_message m = {.role = MOX_ROLE_USER, .text = text, .n_text = strlen(text)};
    cr_assert_eq(mox_conv_add(&s.conv, &m), MOX_OK);
    encode(&s);
    s.turn.cancel = true;
    mox_stop_set(130);
    cr_assert_eq(mox_turn_run(&s.turn), MOX_E_CANCELLED);
    cr_assert_eq(s.turn.n_answer, 0);
    cr_assert_eq(s.turn.n_held, 0, "the first step was not ended");
    mox_stop_forget();
    mox_conv_drop_last(&s.conv);
    say(&s, text);
    expect_fresh(&s);
    end(&s);
}

typedef struct stop_after {
    uint32_t asked, limit, n_tokens, ids[16];
} stop_after;

static bool cancelled(void *arg)
{
    stop_after *s = arg;
    return ++s->asked > s->limit;
}

static bool count_token(void *arg, uint32_t id, const char *text, size_t n)
{
    stop_after *s = arg;
    (void)text;
    (void)n;
    if (id != MOX_TOKEN_NONE) {
        s->ids[s->n_tokens++ % 16] = id;
    }
    return true;
}

/* Wherever it is cancelled, what the sequence holds is whole steps, and going on from there changes nothing. */
Test(turn, cancelled_anywhere)
{
    session s;
    start(&s);
    uint32_t ids[40], whole[8], n_ops = 12; /* six layers of two ops */
    for (uint32_t i = 0; i < 40; i++) {
        ids[i] = i == 0 ? 1 : 300 + 7 * i;
    }
    mox_gen_cfg gen = {.prompt = ids,
                       .n_prompt = 40,
                       .max_new = 8,
                       .sampling = {.top_p = 1},
                       .cancelled = cancelled,
                       .on_token = count_token};
    for (uint32_t limit = 0; limit < 5 * n_ops; limit += 5) {
        stop_after stop = {.limit = limit}, never = {.limit = UINT32_MAX};
        mox_gen_result r = {.stop = ""};
        mox_seq_clear(s.ctx, 0);
        gen.arg = &stop;
        gen.n_have = 0;
        mox_err err = mox_generate(s.ctx, 0, &gen, &r);
        uint32_t steps = limit / n_ops; /* whole ones: 16, 16, 8 tokens, then one each */
        if (steps < 3) {
            cr_assert_eq(err, MOX_E_CANCELLED, "limit %u", limit);
            cr_assert_eq(mox_seq_len(s.ctx, 0), 16 * steps);
            cr_assert_eq(stop.n_tokens, 0);
        } else {
            cr_assert_eq(err, MOX_OK);
            cr_assert_str_eq(r.stop, "user");
            cr_assert_eq(mox_seq_len(s.ctx, 0), 40 + steps - 3);
            cr_assert_eq(r.n_new, steps - 3 + 1, "the token that was being evaluated has been handed out");
        }
        /* on from there: the same answer */
        mox_seq_keep(s.ctx, 0, 39);
        gen.arg = &never;
        gen.n_have = mox_seq_len(s.ctx, 0);
        cr_assert_eq(mox_generate(s.ctx, 0, &gen, &r), MOX_OK);
        cr_assert_eq(r.n_new, 8);
        if (limit == 0) {
            memcpy(whole, never.ids, sizeof whole);
        }
        cr_assert_arr_eq(never.ids, whole, sizeof whole);
    }
    gen.n_have = 7;
    cr_assert_eq(mox_generate(s.ctx, 0, &gen, NULL), MOX_E_ARG, "the sequence has another length");
    gen.n_have = 40;
    cr_assert_eq(mox_generate(s.ctx, 0, &gen, NULL), MOX_E_ARG, "nothing is left to read");
    end(&s);
}
