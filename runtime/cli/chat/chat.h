/* A chat with a loaded model, at a terminal. */
#ifndef MOX_CLI_CHAT_CHAT_H
#define MOX_CLI_CHAT_CHAT_H

#include "runtime/cli/chat/conversation.h"
#include "runtime/cli/chat/input.h"
#include "runtime/cli/chat/prompt.h"
#include "runtime/cli/chat/turn.h"

typedef struct mox_chat {
    mox_opts *o;
    mox_ctx *ctx;
    const mox_tokenizer *tokenizer;
    mox_line *line;
    mox_input input;
    mox_conversation conv;
    mox_prompt prompt;
    mox_turn turn;
    bool leave;
} mox_chat;

/* mox_chat_run: until the person leaves; mox_stop_requested() has the exit code where a signal ended it. prompt: with a
 * template; it is used up. */
MOX_NODISCARD mox_err mox_chat_run(mox_opts *o, mox_ctx *ctx, mox_prompt *prompt);

/* For the commands. mox_chat_say: a message, and its answer. mox_chat_answer: an answer to the last message. A failure
 * has been said when they return, and the conversation is as it was before the message. */
void mox_chat_say(mox_chat *c, const char *text, size_t n);
void mox_chat_answer(mox_chat *c);
/* mox_chat_tokens: what the conversation takes, with the marks of a next message; may be more than the context. */
uint32_t mox_chat_tokens(mox_chat *c);
/* mox_chat_stats: a line about the last answer. */
void mox_chat_stats(mox_chat *c);

/* commands.c: a line that begins with a slash. */
void mox_chat_command(mox_chat *c, char *text);

#endif
