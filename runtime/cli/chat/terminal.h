/* The terminal during a chat: its settings are saved at the start and put back at every way out, signals included. */
#ifndef MOX_CLI_CHAT_TERMINAL_H
#define MOX_CLI_CHAT_TERMINAL_H

#include <stdbool.h>

/* mox_term_open: save the settings of standard input's terminal and take the signals that end or suspend a program.
 * mox_term_close: settings and handlers as they were. */
void mox_term_open(void);
void mox_term_close(void);

/* mox_term_busy: while an answer is made, what is typed is kept for the next line and not shown. */
void mox_term_busy(bool busy);
/* mox_term_paste: ask the terminal to put marks around what is pasted. */
void mox_term_paste(bool on);
/* mox_term_changed: the window has another size, or the program was suspended and goes on: once per change. */
bool mox_term_changed(void);

#endif
