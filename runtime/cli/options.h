/* The command line's options: one table, from which parsing, --help, did-you-mean, man pages, completion,
 * environment variables, configuration keys and docs/options.md come.
 *
 * A row says what an option is called, what it takes, its range, its default in the user's own notation, and
 * which commands have it. Defaults are set by parsing the default's text, so that what --help shows is what
 * happens. Values are stored straight into mox_opts at `field`. Names are unique, except that other
 * commands may have an option of that name that is `once`.
 */
#ifndef MOX_CLI_OPTIONS_H
#define MOX_CLI_OPTIONS_H

#include "runtime/moxie.h"

enum {
    MOX_CMD_RUN = 1,
    MOX_CMD_INFO = 2,
    MOX_CMD_TOKENIZE = 4,
    MOX_CMD_LOGITS = 8,
    MOX_CMD_PERPLEXITY = 16,
    MOX_CMD_BENCH = 32,
    MOX_CMD_PACK = 64,
    MOX_CMD_QUANTIZE = 128,
    MOX_CMD_PLAN = 1 << 8,
    MOX_CMD_TUNE = 1 << 9,
    MOX_CMD_CONFIG = 1 << 16,
    MOX_CMD_COMPLETION = 1 << 17,
    MOX_CMD_EXPLAIN = 1 << 18,
    MOX_CMD_DOCTOR = 1 << 19,
    MOX_CMD_VERIFY = 1 << 20,
    MOX_CMD_PROFILE = 1 << 21,
    MOX_CMD_DOCS = 1 << 22,
    MOX_CMD_PROFILE_RUN = 1 << 24,
    MOX_CMD_TOP = 1 << 25,
    MOX_CMD_TEMPLATE = 1 << 23,
    MOX_CMD_ENGINE = MOX_CMD_RUN | MOX_CMD_LOGITS | MOX_CMD_PERPLEXITY | MOX_CMD_BENCH | MOX_CMD_TUNE,
    MOX_CMD_MODEL = MOX_CMD_ENGINE | MOX_CMD_PLAN | MOX_CMD_INFO | MOX_CMD_TOKENIZE | MOX_CMD_DOCTOR |
                    MOX_CMD_VERIFY | MOX_CMD_TEMPLATE, /* commands that take a model */
    MOX_CMD_ALL = ~0,
};

enum { MOX_MAX_COUNTS = 16 };

typedef struct mox_counts {
    uint32_t v[MOX_MAX_COUNTS];
    uint32_t n;
} mox_counts;

typedef struct mox_texts {
    const char *v[8];
    uint32_t n;
} mox_texts;

/* Where a value came from. A higher rank wins; within one rank the later one does. */
typedef enum mox_origin {
    MOX_FROM_DEFAULT,
    MOX_FROM_CONFIG, /* file and line say which; system, user's, --config; [*] before [model] */
    MOX_FROM_ENV,
    MOX_FROM_ARGS,
} mox_origin;

typedef struct mox_setting {
    const char *value; /* as it was written; NULL: not set */
    const char *file;
    uint32_t line;
    mox_origin origin;
    uint32_t rank;
} mox_setting;

enum { MOX_MAX_OPTIONS = 128 };

typedef struct mox_opts {
    mox_cfg cfg; /* what the library gets; complete after mox_opts_parse */
    mox_budget ram, ram_experts, vram, vram_experts;
    const char *model;    /* positional or --model; NULL: the built-in demo model */
    const char *words[4]; /* positional, before the model: "show" of `config show`; NULL: not given */
    const char *config;   /* --config */
    const char *heat;     /* --heat */
    bool help, help_all, json, special, no_bos, all_logits;
    const char *prompt, *prompt_file, *system;
    const char *said[64]; /* run: words after the model, which are the prompt */
    uint32_t n_said;
    const char *chat_template; /* a name or a file; "auto": as the model says */
    const char *tools, *kwargs, *messages, *template_file;
    int think; /* -1: as the template has it */
    bool no_generation_prompt;
    bool raw, overflow_shift, no_history, verbose;
    uint32_t max_new;
    mox_sampling sampling;
    mox_texts stop;
    uint64_t seed;
    const char *tokens, *text, *out, *base, *base_model;
    mox_counts bench_prefill, bench_decode, bench_depth;
    bool random_answers, force;
    uint32_t reps;
    bool silent;    /* run prints no answer */
    uint32_t count; /* top */
    bool origin, strict, csv, chrome, folded, list_tensors, list_keys, show_template;
    const char *expect, *compare;
    const char *weight_type; /* quantize --type */
    uint64_t assume_vram, assume_ram;
    const char *gpu_spec, *sweep, *trace;
    float minutes; /* tune, and what run makes of it */
    const char *prompts, *predict, *tuned;
    bool save;
    float fail_below;
    mox_setting set[MOX_MAX_OPTIONS]; /* by index in mox_options */
} mox_opts;

typedef enum mox_opt_kind {
    MOX_OPT_FLAG,    /* no value; bool */
    MOX_OPT_COUNT,   /* uint32_t in [lo, hi], or a word of `choices` */
    MOX_OPT_NUMBER,  /* uint64_t */
    MOX_OPT_REAL,    /* float in [lo, hi], or a word of `choices` */
    MOX_OPT_TEXT,    /* const char * */
    MOX_OPT_NAME,    /* const char *, one of `choices` */
    MOX_OPT_CHOICE,  /* int, the value of the choice */
    MOX_OPT_SWITCH,  /* bool, the value of the choice */
    MOX_OPT_SIZE,    /* uint64_t bytes: 512M, 12G, 1.5GiB */
    MOX_OPT_BUDGET,  /* mox_budget: SIZE, PCT, min, auto */
    MOX_OPT_EXPERTS, /* mox_budget: a count or PCT */
    MOX_OPT_COUNTS,  /* mox_counts: 512,4096 */
    MOX_OPT_LIST,    /* mox_texts: one more with each use */
    MOX_OPT_BIAS,    /* mox_sampling: its bias, 17=-2.5,29=1 */
} mox_opt_kind;

typedef struct mox_choice {
    const char *name; /* NULL ends the list */
    int value;
} mox_choice;

typedef struct mox_option {
    const char *name; /* without dashes */
    char letter;      /* short form, 0: none */
    mox_opt_kind kind;
    size_t field;         /* offset in mox_opts */
    const char *argument; /* what --help calls the value; NULL for flags */
    double lo, hi;
    const char *initial; /* default, parsed like a value; NULL: zero, false or absent */
    const char *shown;   /* default as --help shows it, where the words differ */
    const char *help;
    const mox_choice *choices;
    unsigned commands;
    bool hidden; /* accepted, left out of --help */
    bool common; /* in --help; the others are in --help-all */
    bool once;   /* belongs to one call: no environment variable and no configuration key */
} mox_option;

typedef struct mox_command {
    const char *name;
    unsigned bit;
    const char *usage;    /* what follows the name */
    const char *summary;  /* one line */
    const char *examples; /* lines, shown first */
    mox_err (*run)(mox_opts *o);
    const char *about; /* what a manual says beyond the summary; may be NULL */
    uint32_t n_words;  /* positional words in front of the model, at most */
    const char *words; /* what the first word may be, with spaces between; NULL: anything */
    bool no_model;     /* takes none */
    bool prompt;       /* words after the model are a prompt */
    bool hidden;       /* not for people: left out of lists */
    /* of a command whose first word is "run": that with a command line of its own, whose name is both; or NULL */
    const struct mox_command *run_form;
} mox_command;

extern const mox_option mox_options[]; /* ends with name == NULL */
extern const mox_command mox_commands[];

/* mox_opts_parse: argv after the command, over the environment, over the configuration files, over the
 * defaults. Errors MOX_E_OPTION, MOX_E_CONFLICT, MOX_E_CONFIG (usage errors, exit 2). */
MOX_NODISCARD mox_err mox_opts_parse(const mox_command *cmd, int argc, char **argv, mox_opts *o);
/* mox_opts_settle: o->cfg after single options were set. Errors MOX_E_CONFLICT. */
MOX_NODISCARD mox_err mox_opts_settle(mox_opts *o);
/* mox_command_find: NULL and an error record with the nearest name when unknown. */
const mox_command *mox_command_find(const char *name);
/* mox_option_of: whether a command takes an option; `config` takes all that can be configured. */
bool mox_option_of(const mox_option *opt, const mox_command *cmd);
/* mox_option_key: the option that a configuration key names, NULL if none; near->typed is filled in. */
const mox_option *mox_option_key(const char *key, const char **nearest);
/* mox_option_env: "MOXIE_RAM_EXPERTS"; returns out. */
const char *mox_option_env(const mox_option *opt, char out[64]);

/* mox_option_store: parse a value into o's field. */
MOX_NODISCARD mox_err mox_option_store(const mox_option *opt, const char *s, mox_opts *o);
/* mox_option_set: the same, unless a value of higher rank stands there (s is then only checked), and its
 * origin is remembered. s and from->file are kept. */
MOX_NODISCARD mox_err mox_option_set(const mox_option *opt, const char *s, const mox_setting *from,
                                     mox_opts *o);

/* Help is a result, so it goes to stdout. */
void mox_help_program(void);
void mox_help_command(const mox_command *cmd, bool all); /* all: every option */

/* mox_parse_size: "512M", "12G", "1.5GiB"; a bare number is refused. what: the option's name for the message.
 */
MOX_NODISCARD mox_err mox_parse_size(const char *what, const char *s, uint64_t *out);

#endif
