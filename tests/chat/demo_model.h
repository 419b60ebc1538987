/* Tokenizers of models, the demo's above all, for the tests of this folder. */
#ifndef MOX_TESTS_CHAT_DEMO_MODEL_H
#define MOX_TESTS_CHAT_DEMO_MODEL_H

#include "runtime/moxie.h"

#include <criterion/criterion.h>

#define DEMO_MODEL MOX_TEST_DATA "/demo/moxie-demo-Q4_K_M.gguf"

static inline mox_tokenizer *tokenizer_of(const char *model)
{
    mox_gguf *g = NULL;
    mox_tokenizer *t = NULL;
    cr_assert_eq(mox_gguf_open(&g, model), MOX_OK);
    cr_assert_eq(mox_tokenizer_create(&t, g), MOX_OK);
    mox_gguf_close(&g);
    return t;
}

static inline mox_tokenizer *demo_tokenizer(void)
{
    return tokenizer_of(DEMO_MODEL);
}

#endif
