/* Slash commands: one table, from which /help and did-you-mean come. A command never sends anything to the model unless
 * its line says so, and a misspelt one does nothing. */
#include "runtime/cli/chat/chat.h"

#include "runtime/cli/chat/saved.h"
#include "runtime/cli/near.h"
#include "runtime/cli/open.h"
#include "runtime/cli/ui.h"
#include "runtime/gguf/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct command {
    const char *name, *argument, *help;
    void (*fn)(mox_chat *c, char *arg); /* arg: the rest of the line without spaces around it; may be empty */
} command;

static void usage(const char *text)
{
    mox_ui_line("%s", text);
}

/* Options of the table that a chat can change between two answers. */
static const char *const settable[] = {"max-tokens",
                                       "temp",
                                       "top-k",
                                       "top-p",
                                       "min-p",
                                       "typical",
                                       "repeat-penalty",
                                       "frequency-penalty",
                                       "presence-penalty",
                                       "penalty-last",
                                       "seed",
                                       "overflow",
                                       "verbose"};
enum { N_SETTABLE = sizeof settable / sizeof *settable };

static const mox_option *option(const char *name)
{
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        if ((opt->commands & MOX_CMD_RUN) && strcmp(opt->name, name) == 0) {
            return opt;
        }
    }
    return NULL;
}

static void show_option(const mox_option *opt, const mox_opts *o)
{
    const char *at = (const char *)o + opt->field;
    char value[32] = "";
    switch (opt->kind) {
    case MOX_OPT_COUNT:
        snprintf(value, sizeof value, "%u", *(const uint32_t *)(const void *)at);
        break;
    case MOX_OPT_NUMBER:
        snprintf(value, sizeof value, "%llu", (unsigned long long)*(const uint64_t *)(const void *)at);
        break;
    case MOX_OPT_REAL:
        snprintf(value, sizeof value, "%g", (double)*(const float *)(const void *)at);
        break;
    case MOX_OPT_FLAG:
        snprintf(value, sizeof value, "%s", *(const bool *)(const void *)at ? "on" : "off");
        break;
    default: /* a switch: the word of its value */
        for (const mox_choice *k = opt->choices; k != NULL && k->name != NULL; k++) {
            if (k->value == (int)*(const bool *)(const void *)at) {
                snprintf(value, sizeof value, "%s", k->name);
            }
        }
        break;
    }
    mox_ui_line("  %-18s %-8s %s", opt->name, value, opt->help);
}

static void do_set(mox_chat *c, char *arg)
{
    char *value = arg + strcspn(arg, " \t=");
    if (*value != '\0') {
        *value++ = '\0';
        value += strspn(value, " \t=");
    }
    mox_near near = {.typed = arg};
    for (size_t i = 0; i < N_SETTABLE; i++) {
        const mox_option *opt = option(settable[i]);
        mox_near_try(&near, settable[i]);
        if (arg[0] == '\0') {
            show_option(opt, c->o);
        } else if (strcmp(arg, settable[i]) == 0) {
            if (*value == '\0' && opt->kind != MOX_OPT_FLAG) {
                show_option(opt, c->o);
            } else if (mox_option_store(opt, *value != '\0' ? value : "on", c->o) != MOX_OK) {
                mox_ui_error();
            } else {
                c->o->sampling.seed = c->o->seed;
                show_option(opt, c->o);
            }
            return;
        }
    }
    if (arg[0] != '\0' && near.name != NULL) {
        mox_ui_line("/set: unknown name %.40s; did you mean %s?", arg, near.name);
    } else if (arg[0] != '\0') {
        mox_ui_line("/set: unknown name %.40s; /set alone lists them", arg);
    }
}

static void show_messages(const mox_chat *c)
{
    for (uint32_t i = 0; i < c->conv.n; i++) {
        const mox_message *m = &c->conv.m[i];
        mox_ui_line("%s%s:", mox_role_name(m->role), m->stopped ? " [stopped]" : "");
        fwrite(m->text, 1, m->n_text, stdout);
        fputc('\n', stdout);
        fflush(stdout);
    }
}

static void do_show(mox_chat *c, char *arg)
{
    const mox_plan *plan = mox_get_plan(c->ctx);
    if (strcmp(arg, "messages") == 0) {
        show_messages(c);
    } else if (strcmp(arg, "settings") == 0) {
        char all[1] = "";
        do_set(c, all);
    } else if (arg[0] == '\0' || strcmp(arg, "model") == 0) {
        char a[24];
        mox_ui_line("model     %.400s", c->o->cfg.model);
        mox_ui_line("template  %s", mox_prompt_name(&c->prompt));
        mox_ui_line("memory    %s, %u of %u experts stay in RAM", mox_human(mox_actual_bytes(c->ctx), a),
                    plan->kept_total, plan->experts_total);
        mox_ui_line("context   %u tokens, KV %s", plan->n_ctx, plan->kv_type);
        mox_ui_line("machine   %s, %s", mox_get_device(c->ctx), mox_get_io(c->ctx));
    } else {
        usage("/show model, /show settings or /show messages");
    }
}

static void do_system(mox_chat *c, char *arg)
{
    if (arg[0] == '\0') {
        mox_ui_line(c->conv.has_system ? "the system message is:" : "there is no system message");
        if (c->conv.has_system) {
            fwrite(c->conv.m[0].text, 1, c->conv.m[0].n_text, stdout);
            fputc('\n', stdout);
            fflush(stdout);
        }
        return;
    }
    bool none = strcmp(arg, "none") == 0;
    if (mox_conv_system(&c->conv, arg, none ? 0 : strlen(arg)) != MOX_OK) {
        mox_ui_error();
        return;
    }
    mox_ui_line("system message %s%s", none ? "removed" : "set",
                mox_conv_turns(&c->conv) > 0 ? "; with the next message the conversation is read again" : "");
}

static void do_save(mox_chat *c, char *arg)
{
    if (arg[0] == '\0') {
        usage("/save FILE");
    } else if (mox_conv_save(&c->conv, arg, c->o->cfg.model) != MOX_OK) {
        mox_ui_error();
    } else {
        mox_ui_line("%u messages saved in %.400s", c->conv.n, arg);
    }
}

static void do_load(mox_chat *c, char *arg)
{
    if (arg[0] == '\0') {
        usage("/load FILE");
    } else if (mox_conv_load(&c->conv, arg, c->tokenizer) != MOX_OK) {
        mox_ui_error();
    } else {
        if (!mox_conv_answered(&c->conv)) {
            mox_conv_drop_last(&c->conv);
        }
        mox_ui_line("%u messages loaded, %u tokens; they are read with the next message", c->conv.n,
                    mox_chat_tokens(c));
    }
}

static void do_clear(mox_chat *c, char *arg)
{
    (void)arg;
    mox_conv_clear(&c->conv);
    mox_ui_line("a new conversation%s", c->conv.has_system ? ", with the same system message" : "");
}

static void do_undo(mox_chat *c, char *arg)
{
    (void)arg;
    if (mox_conv_undo(&c->conv)) {
        mox_ui_line("the last message and its answer are forgotten; %u left", mox_conv_turns(&c->conv));
    } else {
        mox_ui_line("there is nothing to undo");
    }
}

static void do_retry(mox_chat *c, char *arg)
{
    (void)arg;
    if (!mox_conv_answered(&c->conv)) {
        mox_ui_line("there is no answer to try again");
        return;
    }
    if (c->o->sampling.temp <= 0) {
        mox_ui_line("the temperature is 0, so the answer will be the same: /set temp 0.7 for others");
    }
    mox_conv_drop_last(&c->conv);
    c->turn.retry++;
    mox_chat_answer(c);
}

/* /file PATH [WORDS]: a path with spaces may stand in quotes. */
static void do_file(mox_chat *c, char *arg)
{
    char quote = arg[0] == '"' || arg[0] == '\'' ? arg[0] : ' ';
    char *path = arg + (quote != ' ');
    char *end = strchr(path, quote);
    const char *words = "";
    if (end != NULL) {
        *end = '\0';
        words = end + 1 + strspn(end + 1, " \t");
    }
    char *text = NULL, *message;
    size_t n = 0, n_words = strlen(words);
    if (path[0] == '\0' || strcmp(path, "-") == 0) {
        usage("/file PATH [WORDS]: a message of the words and the file's text");
        return;
    }
    if (mox_cli_read_all(path, &text, &n) != MOX_OK) {
        mox_ui_error();
        return;
    }
    for (size_t at = 0, k; at < n; at += k) {
        k = mox_utf8_next(text + at, n - at, NULL);
        if (k == 0 || text[at] == '\0') {
            mox_ui_line("error: %.300s is no text: byte %zu is not UTF-8", path, at);
            free(text);
            return;
        }
    }
    n -= n > 0 && text[n - 1] == '\n';
    message = malloc(n_words + 2 + n + 1);
    if (message != NULL) {
        size_t len = 0;
        memcpy(message, words, n_words);
        len += n_words;
        if (n_words > 0) {
            memcpy(message + len, "\n\n", 2);
            len += 2;
        }
        memcpy(message + len, text, n);
        mox_chat_say(c, message, len + n);
    }
    free(message);
    free(text);
}

static void do_ctx(mox_chat *c, char *arg)
{
    (void)arg;
    uint32_t n = mox_chat_tokens(c), max = mox_get_plan(c->ctx)->n_ctx;
    mox_ui_line("%u of %u tokens (%.0f %%), %u message%s; overflow: %s", n, max, 100.0 * n / max, c->conv.n,
                c->conv.n == 1 ? "" : "s", c->o->overflow_shift ? "shift" : "error");
}

static void do_stats(mox_chat *c, char *arg)
{
    (void)arg;
    mox_chat_stats(c);
}

static double hit_rate(const mox_use_counters *u)
{
    return u->uses > 0 ? 100.0 * (double)u->hits / (double)u->uses : 100;
}

/* The layers that waited most often for the file. */
static void do_experts(mox_chat *c, char *arg)
{
    (void)arg;
    static mox_use_counters layer[MOX_PLAN_MAX_LAYERS];
    const mox_plan *plan = mox_get_plan(c->ctx);
    mox_counters all;
    mox_get_counters(c->ctx, &all, layer);
    uint32_t n = plan->n_moe_layers, shown = n < 5 ? n : 5;
    if (n == 0 || all.use[MOX_PHASE_DECODE].uses + all.use[MOX_PHASE_PREFILL].uses == 0) {
        mox_ui_line("no experts have been used since the last answer began");
        return;
    }
    mox_ui_line("last answer, layers with the fewest hits in RAM (%u of %u):", shown, n);
    mox_ui_line("  layer  in RAM    uses   hit %%   from file");
    for (uint32_t i = 0; i < shown; i++) {
        uint32_t worst = UINT32_MAX;
        for (uint32_t l = 0; l < n; l++) {
            if (layer[l].uses != UINT64_MAX &&
                (worst == UINT32_MAX || hit_rate(&layer[l]) < hit_rate(&layer[worst]))) {
                worst = l;
            }
        }
        const mox_use_counters *u = &layer[worst];
        char bytes[24];
        mox_ui_line("  %5u %4u/%-3u %7llu   %5.1f   %s", worst, plan->kept[worst], plan->n_experts,
                    (unsigned long long)u->uses, hit_rate(u),
                    mox_human(u->miss_bytes + u->late_bytes, bytes));
        layer[worst] = (mox_use_counters){.uses = UINT64_MAX};
    }
}

static void do_bye(mox_chat *c, char *arg)
{
    (void)arg;
    c->leave = true;
}

static void do_help(mox_chat *c, char *arg);

static const command commands[] = {
    {"help", "", "this list", do_help},
    {"set", "[NAME VALUE]", "sampling, max-tokens, overflow, verbose; alone: all of them", do_set},
    {"show", "[model|settings|messages]", "what is loaded, set, said", do_show},
    {"system", "[TEXT|none]", "what the model is told before the conversation", do_system},
    {"save", "FILE", "the conversation as JSON", do_save},
    {"load", "FILE", "a saved conversation, in place of this one", do_load},
    {"clear", "", "a new conversation", do_clear},
    {"undo", "", "forget the last message and its answer", do_undo},
    {"retry", "", "another answer to the last message", do_retry},
    {"file", "PATH [WORDS]", "send the text of a file, with words in front", do_file},
    {"ctx", "", "how full the context is", do_ctx},
    {"stats", "", "tokens, speed and tiers of the last answer", do_stats},
    {"experts", "", "hits by layer in the last answer", do_experts},
    {"bye", "", "leave (also /exit, /quit, Ctrl-D)", do_bye},
    {"exit", NULL, NULL, do_bye},
    {"quit", NULL, NULL, do_bye},
    {"?", NULL, NULL, do_help},
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void do_help(mox_chat *c, char *arg)
{
    (void)c;
    (void)arg;
    for (size_t i = 0; i < N_COMMANDS && commands[i].help != NULL; i++) {
        mox_ui_line("  /%-7s %-26s %s", commands[i].name, commands[i].argument, commands[i].help);
    }
    mox_ui_line(
        "a backslash at the end of a line, Alt-Enter, or \"\"\" around several lines: a longer message");
    mox_ui_line("Ctrl-C stops an answer and keeps what there is of it, Ctrl-Z suspends");
}

void mox_chat_command(mox_chat *c, char *text)
{
    char *name = text + 1, *arg = name + strcspn(name, " \t\n");
    if (*arg != '\0') {
        *arg++ = '\0';
        arg += strspn(arg, " \t\n");
    }
    for (size_t n = strlen(arg); n > 0 && strchr(" \t\n", arg[n - 1]) != NULL; n--) {
        arg[n - 1] = '\0';
    }
    mox_near near = {.typed = name};
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            commands[i].fn(c, arg);
            return;
        }
        mox_near_try(&near, commands[i].name);
    }
    if (near.name != NULL) {
        mox_ui_line("unknown command /%.40s; did you mean /%s? (nothing was sent to the model)", name,
                    near.name);
    } else {
        mox_ui_line("unknown command /%.40s; /help lists them (nothing was sent to the model)", name);
    }
}
