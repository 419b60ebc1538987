/* What has been said in a chat. Messages own their texts; an answer also keeps the tokens it was made of, so that the
 * next turn begins with exactly the tokens that the model has read. */
#ifndef MOX_CLI_CHAT_CONVERSATION_H
#define MOX_CLI_CHAT_CONVERSATION_H

#include "runtime/chat/chat.h"

typedef struct mox_conversation {
    mox_message *m; /* m[0] is the system message if has_system */
    uint32_t n, cap;
    bool has_system;
} mox_conversation;

void mox_conv_free(mox_conversation *c);
/* mox_conv_system: set it; an empty text: none. */
MOX_NODISCARD mox_err mox_conv_system(mox_conversation *c, const char *text, size_t n);
/* mox_conv_add: a message at the end; text and tokens are copied. */
MOX_NODISCARD mox_err mox_conv_add(mox_conversation *c, const mox_message *m);
/* mox_conv_answered: the last message is an answer. */
bool mox_conv_answered(const mox_conversation *c);
/* mox_conv_drop_last: the last message. mox_conv_undo: the last question and its answer; false: there is none. */
void mox_conv_drop_last(mox_conversation *c);
bool mox_conv_undo(mox_conversation *c);
/* mox_conv_drop_oldest: the oldest question and its answer; false: only one question is left. */
bool mox_conv_drop_oldest(mox_conversation *c);
void mox_conv_clear(mox_conversation *c);           /* all but the system message */
uint32_t mox_conv_turns(const mox_conversation *c); /* questions */

#endif
