/* One row per fixture of a model family: what the tests of this folder run over. */
#ifndef MOX_TESTS_FAMILIES_TABLE_H
#define MOX_TESTS_FAMILIES_TABLE_H

#include <stdbool.h>

typedef struct fam_case {
    const char *file;     /* of tests/data/models, without .gguf */
    const char *expected; /* whose logits and choices it must give; NULL: its own */
    bool rounded;         /* its activations become int8 */
    bool flips;           /* rounding moves choices of this tiny model: judged by its rows */
} fam_case;

static const fam_case fam_cases[] = {
    {"olmoe-a", 0, false, false},
    {"qwen2moe-a", 0, false, false},
    {"qwen3moe-a", 0, false, false},
    {"qwen3moe-a-bf16", 0, false, false},
    {"qwen3moe-a-qkv", 0, false, false},
    {"qwen3next-a", 0, false, false},
    {"qwen3next-a-fused", "qwen3next-a", false, false},
    {"granitemoe-a", 0, false, false},
    {"granitemoeshared-a", 0, false, false},
    {"dbrx-a", 0, false, false},
    {"phimoe-a", 0, false, false},
    {"ernie45moe-a", 0, false, false},
    {"hunyuanmoe-a", 0, false, false},
    {"glm4moe-a", 0, false, false},
    {"minimaxm2-a", 0, false, false},
    {"grok-a", 0, false, false},
    {"gptoss-a", 0, true, false},
    {"gptoss-a-q8_0", 0, true, true},
    {"llama4-a", 0, false, false},
    {"deepseek2-a", 0, false, false},
    {"deepseek2-a-f32", 0, false, false},
    {"deepseek2-lite-a", 0, false, false},
    {"deepseek3-a", 0, false, false},
    {"deepseek2-lite-a-legacy-kv", "deepseek2-lite-a", false, false},
    {"deepseek3-a-legacy-kv", "deepseek3-a", false, false},
};

enum { FAM_CASES = sizeof fam_cases / sizeof fam_cases[0] };

#endif
