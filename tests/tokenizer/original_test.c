/* The ids of the original libraries (sentencepiece, tokenizers) on every reference model of the tree. */
#include "tokenizer/original.h"

#include <criterion/criterion.h>

Test(original, every_reference_model)
{
    cr_expect_geq(check_models(MOX_TEST_DATA "/models"), 24);
}
