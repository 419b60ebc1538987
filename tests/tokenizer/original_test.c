/* Every reference model of the tree: the ids of the original libraries (sentencepiece, tokenizers), and the tokens that end
 * an answer of its family. */
#include "tokenizer/original.h"

#include "tokenizer/vocab.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
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

/* tests/data/strips.json (strips.py): the original library on Phi-3's special tokens, most of which take the whitespace
 * behind them. */
Test(original, whitespace_behind_special_tokens)
{
    mox_tokenizer *t = open_tokenizer(MOX_TEST_DATA "/models/phimoe-a.gguf");
    json_t *tests = json_load_file(MOX_TEST_DATA "/strips.json", 0, NULL), *test = NULL;
    size_t i = 0;
    cr_assert_geq(json_array_size(tests), 100);
    json_array_foreach(tests, i, test)
    {
        const json_t *text = json_object_get(test, "text"), *want = json_object_get(test, "ids");
        id_list got = encode(t, json_string_value(text), json_string_length(text), false, true);
        cr_expect_eq(got.n, json_array_size(want), "text %zu: %u ids", i, got.n);
        for (uint32_t k = 0; k < got.n && k < json_array_size(want); k++) {
            cr_expect_eq(got.ids[k], json_integer_value(json_array_get(want, k)), "text %zu, id %u", i, k);
        }
        free(got.ids);
    }
    json_decref(tests);
    mox_tokenizer_destroy(&t);
}

/* Other SentencePiece models keep it. */
Test(original, whitespace_behind_special_tokens_of_others)
{
    mox_tokenizer *t = open_tokenizer(MOX_TEST_DATA "/models/mixtral-a.gguf");
    id_list with = encode(t, "</s>  x", 7, false, true), without = encode(t, "</s>x", 5, false, true);
    cr_expect_gt(with.n, without.n);
    free(with.ids), free(without.ids);
    mox_tokenizer_destroy(&t);
}
