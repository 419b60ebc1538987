/* The loop of a chat: read an input, run a command or answer a message.
 *
 * Everything an answer needs is in memory before it begins: the prompt's work (mox_prompt), tokens and text (mox_turn).
 * Between two answers, while a person types, the line editor and the list of messages allocate as they like.
 *
 * A conversation longer than the context is an error with both numbers. With --overflow shift the oldest turns are
 * dropped, with a line that says how many tokens, and what is left is read again from the beginning: positions are part
 * of what keys mean, so moving kept keys would give other results than a chat that began with these turns (P1). Turns
 * go until a quarter of the context is free, so that this does not happen with every token.
 */
#include "runtime/cli/chat/chat.h"

#include "runtime/cli/chat/history.h"
#include "runtime/cli/chat/terminal.h"
#include "runtime/cli/ui.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The prompt for the conversation, and behind it what there is of the answer. Errors MOX_E_LIMIT: turn.n_prompt says
 * how many tokens it takes. */
static mox_err encode(mox_chat *c)
{
    mox_turn *t = &c->turn;
    uint32_t room = mox_get_plan(c->ctx)->n_ctx - 1; /* one for the answer */
    mox_err err =
        mox_prompt_encode(&c->prompt, c->tokenizer, c->conv.m, c->conv.n, t->ids, room, &t->n_prompt);
    if (err == MOX_OK && t->n_answer > room - t->n_prompt) {
        err = MOX_E_LIMIT;
    } else if (err == MOX_OK) {
        memcpy(t->ids + t->n_prompt, t->answer, t->n_answer * sizeof *t->ids);
    }
    t->n_prompt += err == MOX_OK || err == MOX_E_LIMIT ? t->n_answer : 0;
    return err;
}

static mox_err too_long(const mox_chat *c)
{
    const mox_plan *plan = mox_get_plan(c->ctx);
    MOX_FAIL(MOX_E_CONTEXT_FULL, "the conversation needs %u tokens and one for an answer, the context has %u",
             c->turn.n_prompt, plan->n_ctx);
    return mox_err_fix("/undo or /clear           say less\n"
                       "/set overflow shift       forget the oldest turns\n"
                       "moxie run --ctx %u      more context",
                       2 * plan->n_ctx);
}

/* Room for the prompt: at least one token for the answer, or with `shift` a quarter of the context. */
static mox_err fit(mox_chat *c, bool shift)
{
    const mox_plan *plan = mox_get_plan(c->ctx);
    mox_err err = encode(c);
    if ((err != MOX_OK && err != MOX_E_LIMIT) || (err == MOX_OK && !shift)) {
        return err;
    }
    uint32_t before = c->turn.n_prompt, turns = 0;
    while (c->o->overflow_shift && (err == MOX_E_LIMIT || c->turn.n_prompt > plan->n_ctx - plan->n_ctx / 4) &&
           mox_conv_drop_oldest(&c->conv)) {
        turns++;
        err = encode(c);
    }
    if (turns > 0) {
        mox_ui_line("context of %u tokens full: the oldest %u turn%s dropped, %u tokens; %u are read again",
                    plan->n_ctx, turns, turns == 1 ? "" : "s", before - c->turn.n_prompt, c->turn.n_prompt);
    }
    if (err == MOX_OK && shift && turns == 0) {
        err = MOX_E_LIMIT; /* nothing could be dropped: going on would stop at the same place */
    }
    return err == MOX_E_LIMIT ? too_long(c) : err;
}

/* Reading and answering, with what is typed kept for later; again after each shift. */
static mox_err generate(mox_chat *c)
{
    mox_turn *t = &c->turn;
    mox_err err = fit(c, false);
    while (err == MOX_OK) {
        mox_term_busy(true);
        mox_stop_soft(true);
        err = mox_turn_run(t);
        mox_stop_soft(false);
        mox_term_busy(false);
        if (err != MOX_OK || strcmp(t->result.stop, "context") != 0 || !c->o->overflow_shift) {
            break;
        }
        err = fit(c, true);
    }
    return err;
}

void mox_chat_stats(mox_chat *c)
{
    const mox_turn *t = &c->turn;
    mox_counters n;
    mox_get_counters(c->ctx, &n, NULL);
    const mox_use_counters *a = &n.use[MOX_PHASE_PREFILL], *b = &n.use[MOX_PHASE_DECODE];
    double uses = (double)(a->uses + b->uses);
    uses = uses > 0 ? uses : 1;
    char read[24];
    uint64_t tokens = n.tokens[MOX_PHASE_DECODE];
    mox_ui_line(
        "%u tok | %.1f tok/s | first %.1f s | prompt %u, %u reused | hits RAM %.0f %% file %.0f %% | read %s",
        t->n_answer, t->result.decode_s > 0 ? (double)tokens / t->result.decode_s : 0, t->first_s,
        t->n_prompt, t->n_reused, 100 * (double)(a->hits + b->hits) / uses,
        100 * (double)(a->misses + b->misses + a->late + b->late) / uses, mox_human(n.io.read_bytes, read));
}

/* What an answer's end means to the person. */
static void put_end(mox_chat *c)
{
    const mox_turn *t = &c->turn;
    if (t->n_text > 0 && t->text[t->n_text - 1] != '\n') {
        fputc('\n', stdout);
    }
    fflush(stdout);
    if (strcmp(t->result.stop, "user") == 0) {
        mox_ui_line("[stopped]");
    } else if (strcmp(t->result.stop, "length") == 0) {
        mox_ui_line("[stopped after %u tokens: /set max-tokens 0 for no limit]", t->n_answer);
    } else if (strcmp(t->result.stop, "context") == 0) {
        mox_ui_line("[stopped: the context of %u tokens is full; /clear, /undo, or /set overflow shift]",
                    mox_get_plan(c->ctx)->n_ctx);
    }
    if (c->o->verbose) {
        mox_chat_stats(c);
    }
}

/* A signal that stopped an answer has done so; one that ends the program ends the chat. */
static void after_signal(mox_chat *c)
{
    if (mox_stop_requested() == 130) {
        mox_stop_forget();
    } else if (mox_stop_requested() != 0) {
        c->leave = true;
    }
}

void mox_chat_answer(mox_chat *c)
{
    mox_turn *t = &c->turn;
    mox_turn_begin(t);
    mox_reset_counters(c->ctx);
    mox_err err = generate(c);
    if (err != MOX_OK &&
        t->n_answer > 0) { /* it failed on the way: the text stands on the screen, so it is kept */
        mox_err_info first = *mox_err_last();
        t->result.stop = "";
        put_end(c);
        (void)!mox_err_restore(&first);
        mox_ui_error();
    } else if (err == MOX_E_CANCELLED) {
        mox_ui_line("[stopped while reading: the message is not part of the conversation]");
    } else if (err != MOX_OK) {
        mox_ui_error();
    }
    after_signal(c);
    if (err != MOX_OK && t->n_answer == 0) {
        mox_conv_drop_last(&c->conv);
        return;
    }
    if (err == MOX_OK) {
        put_end(c);
    }
    mox_message m = {.role = MOX_ROLE_ASSISTANT,
                     .stopped = strcmp(t->result.stop, "user") == 0,
                     .text = t->text,
                     .n_text = t->n_text,
                     .ids = t->answer,
                     .n_ids = t->n_answer};
    if (mox_conv_add(&c->conv, &m) != MOX_OK) {
        mox_ui_error();
        mox_conv_drop_last(&c->conv);
    }
}

void mox_chat_say(mox_chat *c, const char *text, size_t n)
{
    mox_message m = {.role = MOX_ROLE_USER, .text = text, .n_text = n};
    if (mox_conv_add(&c->conv, &m) != MOX_OK) {
        mox_ui_error();
        return;
    }
    c->turn.retry = 0;
    mox_chat_answer(c);
}

uint32_t mox_chat_tokens(mox_chat *c)
{
    mox_message next = {.role = MOX_ROLE_USER, .text = ""};
    bool open = !mox_conv_answered(&c->conv) && mox_conv_turns(&c->conv) > 0;
    uint32_t n = 0;
    if (!open && mox_conv_add(&c->conv, &next) != MOX_OK) {
        return 0;
    }
    mox_err err =
        mox_prompt_encode(&c->prompt, c->tokenizer, c->conv.m, c->conv.n, c->turn.ids, c->turn.max_ids, &n);
    if (!open) {
        mox_conv_drop_last(&c->conv);
    }
    return err == MOX_OK || err == MOX_E_LIMIT ? n : 0;
}

static mox_line_result read_line(void *arg, const char *prompt, const char **text, size_t *n)
{
    return mox_line_read(arg, prompt, text, n);
}

static void remember(mox_chat *c)
{
    if (mox_line_remember(c->line, c->input.text) != MOX_OK) {
        mox_ui_line("warning: %s: no history is kept from here on", mox_err_last()->msg);
    }
}

static void loop(mox_chat *c)
{
    bool interrupted = false;
    while (!c->leave) {
        mox_line_result r = mox_input_read(&c->input);
        if (r == MOX_LINE_END) {
            break;
        }
        if (r == MOX_LINE_INTERRUPT) {
            if (interrupted && c->input.n == 0) {
                mox_stop_set(130);
                break;
            }
            interrupted = c->input.n == 0;
            if (interrupted) {
                mox_ui_line("Ctrl-C again, Ctrl-D or /bye leaves");
            }
            continue;
        }
        interrupted = false;
        if (strspn(c->input.text, " \t\n") == c->input.n) {
            continue;
        }
        remember(c);
        if (c->input.text[0] == '/') {
            mox_chat_command(c, c->input.text);
        } else {
            mox_chat_say(c, c->input.text, c->input.n);
        }
    }
}

mox_err mox_chat_run(mox_opts *o, mox_ctx *ctx, mox_prompt *prompt)
{
    mox_chat c = {.o = o, .ctx = ctx, .tokenizer = mox_get_tokenizer(ctx), .prompt = *prompt};
    char history[4096];
    bool keep = !o->no_history;
    *prompt = (mox_prompt){0};
    if (c.tokenizer == NULL) {
        mox_prompt_free(&c.prompt);
        return MOX_FAIL(MOX_E_TOKENIZER, "the model file has no tokenizer: it takes ids, not text");
    }
    mox_term_open();
    mox_err err = mox_turn_create(&c.turn, o, mox_get_plan(ctx)->n_ctx, true);
    c.turn.ctx = ctx;
    c.turn.print = c.turn.cancel = true;
    c.turn.trim = c.prompt.t != NULL || mox_tokenizer_ids(c.tokenizer)->add_space_prefix;
    if (err == MOX_OK && keep && mox_history_path(history, sizeof history) != MOX_OK) {
        mox_ui_line("warning: no history is kept: %s", mox_err_last()->msg);
        keep = false;
    }
    if (err == MOX_OK && (err = mox_line_create(&c.line, keep ? history : NULL)) == MOX_E_OPEN) {
        mox_ui_line("warning: no history is kept: %s", mox_err_last()->msg);
        err = mox_line_create(&c.line, NULL);
    }
    if (err == MOX_OK && o->system != NULL) {
        err = mox_conv_system(&c.conv, o->system, strlen(o->system));
    }
    if (err == MOX_OK) {
        mox_ui_line("type a message; /help shows what else, Ctrl-D leaves");
        c.input = (mox_input){.read = read_line, .arg = c.line};
        loop(&c);
    }
    mox_input_free(&c.input);
    mox_line_destroy(&c.line);
    mox_term_close();
    mox_conv_free(&c.conv);
    mox_prompt_free(&c.prompt);
    mox_turn_free(&c.turn);
    return err;
}
