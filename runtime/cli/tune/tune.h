/* What the parts of `moxie tune` share: cmd_tune.c walks and reports, rates.c measures the machine, turn.c opens
 * the model with some settings and measures an answer, search.c compares settings, shares.c finds shares of layers
 * by recorded routing, predict.c holds predictions against what is measured. */
#ifndef MOX_CLI_TUNE_H
#define MOX_CLI_TUNE_H

#include "runtime/cli/bench/bench.h"
#include "runtime/cli/tune/tuned.h"
#include "runtime/cli/ui.h"
#include "runtime/plan/routing.h"

enum {
    MOX_TUNE_PROMPTS = 8,
    MOX_TUNE_TRIALS = 32,
    MOX_TUNE_PAIRS = 3,
    MOX_TUNE_TURNS = 2 + 2 * MOX_TUNE_PAIRS * (MOX_TUNE_TRIALS + 1),
    MOX_TUNE_RANK = 1000
};

/* One opening of the model: every prompt once to warm up, then mox_tune_passes times measured; sums over these. */
typedef struct mox_tune_turn {
    double open_s, total_s, prompt_s, answer_s;
    uint64_t prompt_tokens, answer_tokens;
    mox_counters c; /* of what was measured */
    mox_hash128 hash;
} mox_tune_turn;

typedef struct mox_tune_trial {
    const char *option;
    char value[MOX_TUNED_VALUE], was[MOX_TUNED_VALUE];
    double gain, was_s, is_s; /* of medians; 0: not measured */
    uint32_t pairs, faster;   /* in so many of them */
    bool kept, other_logits;
    const char *note; /* why it was not finished; NULL */
} mox_tune_trial;

typedef struct mox_tune {
    const mox_command *cmd;
    mox_opts *o; /* the settings that are best so far */
    mox_plan plan;
    mox_model_info info;
    mox_tuned found;
    uint32_t *ids[MOX_TUNE_PROMPTS], n_ids[MOX_TUNE_PROMPTS], n_prompts;
    uint32_t n_answer; /* tokens per prompt and pass */
    uint32_t n_passes; /* measured; 0: one */
    const char *prompts_from;
    uint64_t deadline_ns;
    double turn_s;             /* what a turn should take */
    mox_tune_turn first, last; /* with the first settings, and with those that were kept */
    mox_tune_trial trial[MOX_TUNE_TRIALS];
    uint32_t n_trials;
    double token_s
        [MOX_TUNE_TURNS]; /* computing of one token of an answer, in each turn with the plan's threads */
    uint32_t n_token_s;
    uint64_t expert_bytes; /* mean */
    float *logits;
    char *lines;    /* of --predict */
    bool confirmed; /* what was kept, against the first settings */
} mox_tune;

/* mox_tune_rates: the machine, with the model's own file. Errors of reading it. */
MOX_NODISCARD mox_err mox_tune_rates(const mox_tune *t, mox_tuned_rates *out);
/* mox_tune_disk: disk_bps again, which moves within minutes: a fifth of a second. */
MOX_NODISCARD mox_err mox_tune_disk(const mox_tune *t, mox_tuned_rates *out);

/* mox_tune_prompts: --prompts, or a text of our own, or for a model without a tokenizer random ids. */
MOX_NODISCARD mox_err mox_tune_prompts(mox_tune *t);
uint32_t mox_tune_passes(const mox_tune *t);
/* mox_tune_room: is there room in the context for answers? Errors MOX_E_CONTEXT_FULL. mox_tune_length: n_answer and
 * n_passes for answers of so many seconds in all, by a turn; passes are for answers that are over in a moment. */
MOX_NODISCARD mox_err mox_tune_room(const mox_tune *t);
void mox_tune_length(mox_tune *t, const mox_tune_turn *turn, double answer_s);
MOX_NODISCARD mox_err mox_tune_turn_run(const mox_tune *t, const mox_opts *o, mox_tune_turn *out);

/* mox_tune_record: a turn whose routing is kept; of the answers' steps one part in 1 + mox_tune_passes is what warmed up. */
MOX_NODISCARD mox_err mox_tune_record(const mox_tune *t, const mox_opts *o, mox_routing *out);

/* mox_tune_set: copy of o with one more setting; value must last as long as out. */
MOX_NODISCARD mox_err mox_tune_set(const mox_opts *o, const char *option, const char *value, mox_opts *out);
/* mox_tune_shares: a value of --layer-shares for the settings of t->o; "": equal shares are as good. */
MOX_NODISCARD mox_err mox_tune_shares(const mox_tune *t, char out[MOX_TUNED_VALUE]);
/* mox_tune_search: until all is tried, the time is over or a stop was asked for. */
MOX_NODISCARD mox_err mox_tune_search(mox_tune *t);

/* mox_tune_lines: --predict's file to t->lines, each line checked before anything is measured. Errors MOX_E_OPTION. */
MOX_NODISCARD mox_err mox_tune_lines(mox_tune *t);
MOX_NODISCARD mox_err mox_tune_predict(mox_tune *t);

#endif
