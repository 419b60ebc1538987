/* Vocabularies of published models, which may not be copied into this tree: where MOXIE_FIXTURES names a folder that has
 * them. */
#include "tokenizer/original.h"

#include <criterion/criterion.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

Test(published, texts_become_the_published_ids)
{
    const char *folder = getenv("MOXIE_FIXTURES");
    if (!folder) {
        /* Criterion says nothing of skipped tests; ctest looks for this line */
        fprintf(stderr, "skipped: MOXIE_FIXTURES does not name a folder with published vocabularies\n");
        cr_skip_test();
    }
    char path[4096];
    glob_t found = {0};
    unsigned n = 0;
    snprintf(path, sizeof path, "%s/tokenizers/*.gguf", folder);
    cr_assert_eq(glob(path, 0, NULL, &found), 0, "%s", path);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        n += check_vocabulary(found.gl_pathv[i]);
    }
    cr_expect_geq(n, 40, "%u texts", n);
    printf("%u texts, %zu vocabularies\n", n, found.gl_pathc);
    globfree(&found);
    snprintf(path, sizeof path, "%s/models", folder);
    n = check_models(path);
    cr_expect_geq(n, 24, "%u models", n);
}
