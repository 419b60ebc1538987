/* moxie tokenize: text on stdin, decimal ids on stdout, one line. Only the header and the vocabulary are
 * read.
 */
#include "runtime/cli/commands.h"
#include "runtime/cli/open.h"

#include <stdio.h>
#include <stdlib.h>

static mox_err print_ids(const mox_opts *o, const mox_tokenizer *t, const char *text, size_t n)
{
    /* byte fallback gives at most one token per byte; a word's leading space and BOS/EOS add a few */
    uint32_t max = (uint32_t)n + 8, n_ids = 0;
    uint32_t *ids = malloc((size_t)max * sizeof *ids);
    void *work = malloc(mox_tokenizer_work_bytes(n));
    mox_err err = MOX_OK;
    if (ids == NULL || work == NULL) {
        err = MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a text of %zu bytes", n);
    } else {
        bool bos = !o->no_bos && mox_tokenizer_ids(t)->add_bos;
        err = mox_tokenizer_encode(t, text, n, bos, o->special, ids, max, &n_ids, work);
    }
    for (uint32_t i = 0; err == MOX_OK && i < n_ids; i++) {
        printf("%s%u", i > 0 ? " " : "", ids[i]);
    }
    if (err == MOX_OK) {
        printf("\n");
    }
    free(ids);
    free(work);
    return err;
}

mox_err mox_cmd_tokenize(mox_opts *o)
{
    mox_cli_model(o);
    mox_gguf *g = NULL;
    mox_tokenizer *t = NULL;
    char *text = NULL;
    size_t n = 0;
    mox_err err;
    MOX_TRY_GOTO(err, mox_gguf_open(&g, o->cfg.model), out);
    MOX_TRY_GOTO(err, mox_tokenizer_create(&t, g), out);
    if (mox_tokenizer_note(t) != NULL) {
        const mox_log log = {.fn = mox_ui_log, .level = MOX_LOG_WARN};
        mox_log_line(&log, MOX_LOG_WARN, "tokenizer: %s", mox_tokenizer_note(t));
    }
    MOX_TRY_GOTO(err, mox_cli_read_all("-", &text, &n), out);
    if (n > UINT32_MAX - 8) {
        err = MOX_FAIL(MOX_E_LIMIT, "the text has %zu bytes, the limit is 4 GiB", n);
        goto out;
    }
    err = print_ids(o, t, text, n);
out:
    free(text);
    mox_tokenizer_destroy(&t);
    mox_gguf_close(&g);
    return err;
}
