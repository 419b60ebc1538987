/* What a rendered template becomes: the variables that every chat template expects, and marked text cut into segments.
 *
 * Of the template's own bytes those that name a control token become it; a user's never do. An answer whose tokens are
 * known, and which the template prints as it was, goes in as those tokens, so that a chat goes on where the model
 * stopped reading.
 */
#ifndef MOX_RUNTIME_CHAT_RENDER_H
#define MOX_RUNTIME_CHAT_RENDER_H

#include "runtime/chat/chat.h"
#include "runtime/template/template.h"

/* mox_render_begin: starts a rendering (mox_jinja_begin): bos_token and its like from the tokenizer (NULL: empty),
 * add_generation_prompt, no tools, no documents. What is set afterwards wins. */
void mox_render_begin(mox_jinja *j, const mox_tokenizer *t, bool generation_prompt);
/* mox_render_role: roles that people agreed on are the template's words, so that '<|' + role + '|>' can name a token;
 * any other is somebody's text. */
uint8_t mox_render_role(const char *role, size_t n);
/* mox_render_messages: the variable `messages`; text is pointed to, not copied. */
void mox_render_messages(mox_jinja *j, const mox_message *m, uint32_t n);
/* mox_render_segments: of a text that was rendered from m (NULL: from other messages). Valid until the next begin. t
 * NULL: no tokens are looked for. Errors MOX_E_TEMPLATE: no memory left. */
MOX_NODISCARD mox_err mox_render_segments(mox_jinja *j, const mox_jinja_text *text, const mox_tokenizer *t,
                                          const mox_message *m, uint32_t n, mox_segment **out,
                                          uint32_t *n_out);

/* mox_render_builtin: the text of a template by its name, NULL if there is none; *list: all names, for messages. */
const char *mox_render_builtin(const char *name, const char **list);

#endif
