/* Texts with the ids that the original tokenizers give, from files made elsewhere. */
#ifndef MOX_TESTS_TOKENIZER_ORIGINAL_H
#define MOX_TESTS_TOKENIZER_ORIGINAL_H

#include "runtime/tokenizer/tokenizer.h"

/* Fails the test if there is none. */
mox_tokenizer *open_tokenizer(const char *path);
/* `tokenizer_tests` of the JSON beside a reference model, both ways, and a MiB of one character (the nth of a few);
 * returns how many tests. */
unsigned check_model(const char *gguf, const char *json, unsigned nth);
/* All models of a folder whose JSON has such tests; returns how many models. */
unsigned check_models(const char *folder);
/* A vocabulary with NAME.inp and NAME.out beside it: texts between marker lines, one line of ids for each; and a MiB of
 * each of a few characters. */
unsigned check_vocabulary(const char *gguf);

#endif
