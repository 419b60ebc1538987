/* Every reference model of the tree: the ids of the original libraries (sentencepiece, tokenizers), and the tokens that end
 * an answer of its family. */
#include "tokenizer/original.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

Test(original, every_reference_model)
{
    cr_expect_geq(check_models(MOX_TEST_DATA "/models"), 24);
}

Test(original, ends_of_every_family)
{
    static const struct {
        const char *model, *ends; /* texts, in the order of ids */
    } cases[] = {
        {"mixtral-a", "</s> "},
        {"grok-a", "</s> "},
        {"ernie45moe-a", "</s> "},
        {"phimoe-a", "</s> <|end|> "},
        {"dbrx-a", "<|endoftext|> <|im_end|> "},
        {"qwen3moe-a", "<|endoftext|> <|im_end|> "},
        {"qwen2moe-a", "<|endoftext|> <|im_end|> "},
        {"deepseek3-a", "<\xEF\xBD\x9C"
                        "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C> "},
        {"glm4moe-a", "<|endoftext|> <|user|> <|observation|> "},
        {"gptoss-a", "<|endoftext|> <|return|> <|call|> "},
        {"llama4-a", "<|end_of_text|> <|eom|> <|eot|> "},
        {"hunyuanmoe-a", "<|endoftext|> <|eos|> "},
        {"minimaxm2-a", "[e~[ "},
        {"granitemoe-a", "<|end_of_text|> "},
        {"olmoe-a", "<|endoftext|> "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[512], ends[512] = "";
        snprintf(path, sizeof path, MOX_TEST_DATA "/models/%s.gguf", cases[i].model);
        mox_tokenizer *t = open_tokenizer(path);
        for (uint32_t id = 0; id < mox_tokenizer_vocab(t); id++) {
            mox_str s = mox_token_text(t, id);
            if (mox_token_is_end(t, id)) {
                strncat(ends, s.p, s.n);
                strcat(ends, " ");
            }
        }
        cr_expect_str_eq(ends, cases[i].ends, "%s: %s", cases[i].model, ends);
        mox_tokenizer_destroy(&t);
    }
}
