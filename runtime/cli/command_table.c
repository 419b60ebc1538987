/* The table of commands. A new command is a file, a row here, and its bit in options.h. */
#include "runtime/cli/commands.h"

#include <stddef.h>

static const mox_command profile_run = {
    .name = "profile run",
    .bit = MOX_CMD_RUN | MOX_CMD_PROFILE_RUN,
    .usage = "[MODEL] [PROMPT] [run's options] --out DIR",
    .summary = "run, record everything with its times, and report",
    .examples = "  moxie profile run mixtral.gguf -p \"Why?\" --ram 12G -o run1\n",
    .run = mox_cmd_profile_run,
    .about = "DIR gets run.trace, report.html, profile.json and tables; a name that ends in .trace gets the "
             "trace alone.",
    .prompt = true};

const mox_command mox_commands[] = {
    {.name = "run",
     .bit = MOX_CMD_RUN,
     .usage = "[MODEL] [PROMPT] [options]",
     .summary = "chat, or answer one prompt",
     .examples = "  moxie run mixtral.gguf --ram 12G                chat, in 12 GiB of memory\n"
                 "  moxie run mixtral.gguf \"Why is the sky blue?\"  one answer\n"
                 "  moxie run --raw -p \"Once upon a time\" > a.txt  the built-in demo model\n",
     .run = mox_cmd_run,
     .about = "The prompt is the words after the model, -p, -f, or standard input where it is no terminal;\n"
              "without any, a terminal gets a chat. Only the model's text goes to standard output.",
     .prompt = true},
    {.name = "plan",
     .bit = MOX_CMD_PLAN,
     .usage = "[MODEL] [--assume-vram SIZE] [--assume-ram SIZE] [--gpu-spec NAME]",
     .summary = "will it fit, where does everything go, how fast",
     .examples = "  moxie plan mixtral.gguf --ram 16G\n"
                 "  moxie plan mixtral.gguf --gpu-spec 4060ti16,ddr5-6000 --assume-ram 32G\n"
                 "  moxie plan mixtral.gguf --gpu-spec 4090 --sweep vram=8G..24G\n",
     .run = mox_cmd_plan,
     .about = "Reads headers only; a file cut off after its header will do. Speeds are predictions. Exit "
              "code 0: it\n"
              "fits, 4: it does not."},
    {.name = "tune",
     .bit = MOX_CMD_TUNE,
     .usage = "[MODEL] [--minutes N] [--prompts FILE] [--save]",
     .summary = "measure this machine, find the settings that are fastest",
     .examples = "  moxie tune mixtral.gguf --ram 12G --save\n"
                 "  moxie tune mixtral.gguf --prompts mine.txt --minutes 20\n",
     .run = mox_cmd_tune,
     .about = "Reads the model in one setting and another in turns; a setting is kept if it is at least 3 % "
              "faster\n"
              "with the same logits to the bit. What is given here is not searched. With --save, `run` takes "
              "what\n"
              "was found, and says so. Ctrl-C ends it with what is known by then."},
    {.name = "info",
     .bit = MOX_CMD_INFO,
     .usage = "[MODEL] [--tensors] [--kv] [--template] [--json]",
     .summary = "what is in a model file, and is it supported",
     .examples = "  moxie info mixtral.gguf\n",
     .run = mox_cmd_info},
    {.name = "tokenize",
     .bit = MOX_CMD_TOKENIZE,
     .usage = "[MODEL] [--no-bos] [--special]",
     .summary = "text on stdin, token ids on stdout",
     .examples = "  echo -n \"Hello\" | moxie tokenize mixtral.gguf\n",
     .run = mox_cmd_tokenize},
    {.name = "logits",
     .bit = MOX_CMD_LOGITS,
     .usage = "[MODEL] --tokens FILE|- --out FILE",
     .summary = "logits of given tokens",
     .examples = "  moxie logits mixtral.gguf --tokens ids.txt --out logits.f32\n"
                 "  echo 1 415 7003 | moxie logits mixtral.gguf --tokens - --json\n",
     .run = mox_cmd_logits},
    {.name = "perplexity",
     .bit = MOX_CMD_PERPLEXITY,
     .usage = "[MODEL] --text FILE | --tokens FILE",
     .summary = "how well a model predicts a text",
     .examples = "  moxie perplexity mixtral.gguf --text book.txt\n"
                 "  moxie perplexity q4.gguf --tokens ids.txt --base-model f16.gguf    against F16\n",
     .run = mox_cmd_perplexity},
    {.name = "bench",
     .bit = MOX_CMD_BENCH,
     .usage = "[MODEL] [-p LIST] [-n LIST] [-r REPS]",
     .summary = "speed, beside what this machine's memory and disk can do",
     .examples = "  moxie bench mixtral.gguf --ram 12G\n"
                 "  moxie bench mixtral.gguf -p 512,2048 -n 128 -r 5 --json > bench.json\n",
     .run = mox_cmd_bench},
    {.name = "pack",
     .bit = MOX_CMD_PACK,
     .usage = "MODEL OUT [--force]",
     .summary = "write a model in the form that is read fastest",
     .examples = "  moxie pack mixtral.gguf mixtral.moxie\n"
                 "  moxie run mixtral.moxie -p \"Why?\" --ram 12G --verify always\n",
     .run = mox_cmd_pack,
     .about = "The experts are laid out as they are computed with, each slice with a checksum; everything "
              "else is\n"
              "as in the model. Every command takes the result like the model itself, with the same results.",
     .n_words = 2,
     .no_model = true},
    {.name = "quantize",
     .bit = MOX_CMD_QUANTIZE,
     .usage = "MODEL OUT --type MIX[,CLASS=TYPE]... [--force]",
     .summary = "write a model with smaller weights",
     .examples = "  moxie quantize f16.gguf q4.gguf --type Q4_K_M\n"
                 "  moxie quantize f16.gguf mix.gguf --type Q4_K_M,experts.down=Q6_K\n",
     .run = mox_cmd_quantize,
     .about =
         "From F32, F16 and BF16 weights. Mixes: F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q2_K_S Q3_K_S\n"
         "Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ4_NL IQ4_XS MXFP4. Classes: embedding, output,\n"
         "attention (.q .k .v .qkv .output .other), ffn, experts, shared (.gate .up .down), other; of "
         "several\n"
         "that fit a tensor the last one counts. Norms and routers stay as they are.",
     .n_words = 2,
     .no_model = true},
    {.name = "explain",
     .bit = MOX_CMD_EXPLAIN,
     .usage = "[CODE]",
     .summary = "what an error code means, and what to do",
     .examples = "  moxie explain MX-4001\n"
                 "  moxie explain             the list of all codes\n",
     .run = mox_cmd_explain,
     .n_words = 1,
     .no_model = true},
    {.name = "doctor",
     .bit = MOX_CMD_DOCTOR,
     .usage = "[MODEL] [--json] [--strict]",
     .summary = "check memory, disk, limits and processor, with advice",
     .examples = "  moxie doctor mixtral.gguf       its disk too\n"
                 "  moxie doctor --json --strict    exit code 8 if there are warnings\n",
     .run = mox_cmd_doctor},
    {.name = "verify",
     .bit = MOX_CMD_VERIFY,
     .usage = "[MODEL] [--expect HASH] [--json]",
     .summary = "the same logits from every way of running a model here",
     .examples = "  moxie verify mixtral.gguf\n"
                 "  moxie verify mixtral.gguf --expect 1f0c...    and as on another machine\n",
     .run = mox_cmd_verify},
    {.name = "profile",
     .bit = MOX_CMD_PROFILE,
     .usage = "run|report|what-if|diff|export|import TRACE [-m FILE] [-o DIR]",
     .summary = "where the time goes, is the cache good, what would more buy",
     .examples = "  moxie profile run mixtral.gguf -p \"Why?\" --ram 12G -o run1\n"
                 "  moxie profile report run1 --model mixtral.gguf --ram 12G --out run1\n"
                 "  moxie profile what-if run1 --model mixtral.gguf --ram 24G\n"
                 "  moxie profile what-if run1 --vram 8G --ram-experts 50%\n"
                 "  moxie profile diff run1 run2\n"
                 "  moxie profile export --chrome run1 --out run1.json     for Perfetto\n"
                 "  moxie profile import routing.csv --out other.trace\n",
     .run = mox_cmd_profile,
     .about =
         "run: a run with its options, recorded and reported on (moxie profile run --help). report: the "
         "seven\n"
         "questions as text; with --out also report.html, profile.json, experts.csv and stacks.folded. "
         "what-if:\n"
         "every policy and size; with --vram or --vram-experts a GPU's memory over RAM too. diff: two "
         "runs of a\n"
         "model. import: a table with the columns layer,expert. A folder of `profile run` stands for its "
         "trace.",
     .n_words = 3,
     .words = "run report what-if diff export import",
     .no_model = true,
     .run_form = &profile_run},
    {.name = "top",
     .bit = MOX_CMD_TOP,
     .usage = "[PID] [--json] [--count N]",
     .summary = "watch a running moxie: tiers, speed, layers, experts",
     .examples = "  moxie top                  the one that runs; q leaves\n"
                 "  moxie top 4711 --json      a document a second\n",
     .run = mox_cmd_top,
     .n_words = 1,
     .no_model = true},
    {.name = "template",
     .bit = MOX_CMD_TEMPLATE,
     .usage = "render [MODEL | --file FILE] --messages FILE|-",
     .summary = "what the chat template makes of a conversation",
     .examples = "  moxie template render mixtral.gguf --messages chat.json\n"
                 "  moxie template render --file my.jinja --messages - --json < chat.json\n",
     .run = mox_cmd_template,
     .about =
         "Prints the text that a model would read. With --json in pieces: what the template wrote, and what\n"
         "somebody said, which never becomes a control token.",
     .n_words = 1,
     .words = "render"},
    {.name = "config",
     .bit = MOX_CMD_CONFIG,
     .usage = "show|path [MODEL] [--origin] [options]",
     .summary = "settings from files and environment",
     .examples = "  moxie config show --origin                 each value, and where it was set\n"
                 "  moxie config show mixtral.gguf --ram 12G   as `run` would see it\n"
                 "  moxie config path                          the files that are looked at\n",
     .run = mox_cmd_config,
     .n_words = 1,
     .words = "show path"},
    {.name = "completion",
     .bit = MOX_CMD_COMPLETION,
     .usage = "bash|zsh|fish",
     .summary = "a script that completes commands and options",
     .examples = "  moxie completion bash > ~/.local/share/bash-completion/completions/moxie\n"
                 "  moxie completion zsh > ~/.zfunc/_moxie\n"
                 "  moxie completion fish > ~/.config/fish/completions/moxie.fish\n",
     .run = mox_cmd_completion,
     .n_words = 1,
     .words = "bash zsh fish",
     .no_model = true},
    {.name = "docs",
     .bit = MOX_CMD_DOCS,
     .usage = "DIR",
     .summary = "write manual pages, completion scripts and options.md",
     .examples = "  moxie docs build/docs\n",
     .run = mox_cmd_docs,
     .n_words = 1,
     .no_model = true,
     .hidden = true},
    {.name = NULL},
};
