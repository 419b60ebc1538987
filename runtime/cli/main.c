/* The program: finds the command, parses its options, runs it, turns its error into an exit code. */
#include "runtime/cli/commands.h"
#include "runtime/cli/ui.h"

#include <stdio.h>
#include <string.h>

const mox_command mox_commands[] = {
    {"run", MOX_CMD_RUN, "[MODEL] -p TEXT [options]", "continue a text",
     "  moxie run -p \"Once upon a time\"                       the built-in demo model\n"
     "  moxie run mixtral.gguf -p \"Why?\" --ram 12G -n 100     within 12 GiB of memory\n"
     "  moxie run mixtral.gguf -p \"Why?\" --ram-experts 40% --json > answer.json\n",
     mox_cmd_run},
    {"info", MOX_CMD_INFO, "[MODEL] [--json]", "what is in a model file, and is it supported",
     "  moxie info mixtral.gguf\n", mox_cmd_info},
    {"tokenize", MOX_CMD_TOKENIZE, "[MODEL] [--no-bos] [--special]", "text on stdin, token ids on stdout",
     "  echo -n \"Hello\" | moxie tokenize mixtral.gguf\n", mox_cmd_tokenize},
    {"logits", MOX_CMD_LOGITS, "[MODEL] --tokens FILE|- --out FILE", "logits of given tokens",
     "  moxie logits mixtral.gguf --tokens ids.txt --out logits.f32\n"
     "  echo 1 415 7003 | moxie logits mixtral.gguf --tokens - --json\n",
     mox_cmd_logits},
    {"perplexity", MOX_CMD_PERPLEXITY, "[MODEL] --text FILE | --tokens FILE",
     "how well a model predicts a text",
     "  moxie perplexity mixtral.gguf --text book.txt\n"
     "  moxie perplexity q4.gguf --tokens ids.txt --base-model f16.gguf     KL and top-1 agreement\n",
     mox_cmd_perplexity},
    {"bench", MOX_CMD_BENCH, "[MODEL] [-p LIST] [-n LIST] [-r REPS]",
     "speed, beside what this machine's memory and disk can do",
     "  moxie bench mixtral.gguf --ram 12G\n"
     "  moxie bench mixtral.gguf -p 512,2048 -n 128 -r 5 --json > bench.json\n",
     mox_cmd_bench},
    {NULL, 0, NULL, NULL, NULL, NULL},
};

static int dispatch(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "--help";
    if (strcmp(word, "--version") == 0) {
        printf("moxie %s\n", MOXIE_VERSION);
        return 0;
    }
    bool help = strcmp(word, "help") == 0;
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || (help && argc == 2)) {
        mox_help_program();
        return 0;
    }
    const mox_command *cmd = mox_command_find(help ? argv[2] : word);
    if (cmd == NULL) {
        return mox_ui_error();
    }
    static mox_opts opts;
    if (help) {
        mox_help_command(cmd);
        return 0;
    }
    if (mox_opts_parse(cmd, argc - 2, argv + 2, &opts) != MOX_OK) {
        return mox_ui_error();
    }
    if (opts.help) {
        mox_help_command(cmd);
        return 0;
    }
    if (cmd->run(&opts) != MOX_OK) {
        return mox_ui_error();
    }
    return mox_stop_requested();
}

int main(int argc, char **argv)
{
    /* A buffer of our own: stdio would allocate one at the first write, after "ready". */
    static char stdout_buffer[65536];
    setvbuf(stdout, stdout_buffer, _IOFBF, sizeof stdout_buffer);
    mox_stop_install();
    int code = dispatch(argc, argv);
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0) {
        (void)!MOX_FAIL(MOX_E_WRITE, "standard output could not be written");
        code = mox_ui_error();
    }
    return code;
}
