/* One answer to one prompt, in a chat or alone: memory, reading what is new of the prompt, text as it comes, stopping. */
#ifndef MOX_CLI_CHAT_TURN_H
#define MOX_CLI_CHAT_TURN_H

#include "runtime/cli/options.h"

typedef struct mox_turn {
    const mox_opts *o;
    mox_ctx *ctx;
    uint32_t *ids; /* [max_ids] the prompt */
    uint32_t n_prompt, max_ids;
    uint32_t *answer; /* [max_ids] */
    uint32_t n_answer;
    uint32_t *held; /* [max_ids] tokens that the sequence holds */
    uint32_t n_held, n_reused;
    char *text; /* of the answer, if it is kept */
    size_t n_text, max_text;
    uint32_t retry; /* added to the seed */
    bool print;     /* to standard output as it comes */
    bool trim;      /* without the space that an answer begins with */
    bool cancel;    /* a signal ends reading the prompt too */
    bool began, write_failed, note_drawn;
    uint64_t begin_ns, note_ns;
    double first_s;        /* until the first text */
    mox_gen_result result; /* of all runs of this answer */
} mox_turn;

/* mox_turn_create: memory for prompts and answers of n_ctx tokens together; nothing is allocated later. */
MOX_NODISCARD mox_err mox_turn_create(mox_turn *t, const mox_opts *o, uint32_t n_ctx, bool keep_text);
void mox_turn_free(mox_turn *t);
/* mox_turn_begin: forget the last answer. */
void mox_turn_begin(mox_turn *t);
/* mox_turn_run: read ids[0..n_prompt), of which the beginning that the sequence already holds is not read again, and
 * append to answer and text. Errors as mox_generate; MOX_E_CANCELLED: stopped while reading; MOX_E_WRITE. */
MOX_NODISCARD mox_err mox_turn_run(mox_turn *t);

#endif
