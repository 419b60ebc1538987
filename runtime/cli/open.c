/* What commands share around mox_open, and reading their input files. */
#include "runtime/cli/open.h"

#include "runtime/cli/media.h"
#include "runtime/cli/report.h"
#include "runtime/core/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *mox_cli_demo(void)
{
    static char path[1024];
    static const char tail[] = "/../share/moxie/demo.gguf";
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - sizeof tail);
    char *slash = n > 0 ? memrchr(path, '/', (size_t)n) : NULL;
    if (slash == NULL) {
        return MOXIE_DEMO_MODEL;
    }
    memcpy(slash, tail, sizeof tail);
    return access(path, R_OK) == 0 ? path : MOXIE_DEMO_MODEL;
}

void mox_cli_model(mox_opts *o)
{
    if (o->cfg.model == NULL) {
        o->cfg.model = mox_cli_demo();
        mox_ui_line("no model named: using the built-in demo model");
    }
    mox_ui_line("opening %s%s", o->cfg.model,
                o->cfg.act_f32 ? " (audit: --act f32, activations are not rounded)" : "");
}

void mox_cli_heat(mox_opts *o)
{
    static char folder[4096];
    const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n = 0;
    o->cfg.heat = o->heat;
    if (strcmp(o->heat, "off") == 0) {
        o->cfg.heat = NULL;
    } else if (strcmp(o->heat, "auto") == 0) {
        if (xdg != NULL && xdg[0] == '/') { /* the specification: others are to be ignored */
            n = snprintf(folder, sizeof folder, "%s/moxie/heat/", xdg);
        } else if (home != NULL && home[0] == '/') {
            n = snprintf(folder, sizeof folder, "%s/.local/state/moxie/heat/", home);
        }
        o->cfg.heat = n > 0 && n < (int)sizeof folder ? folder : NULL;
    }
}

mox_err mox_cli_plan(mox_opts *o, mox_plan *plan)
{
    o->cfg.log = (mox_log){0}; /* what it would say is said again, and by then acted on, by mox_open */
    MOX_TRY(mox_plan_model(plan, &o->cfg));
    mox_report_plan(plan);
    return MOX_OK;
}

mox_err mox_cli_open(mox_opts *o, mox_ctx **ctx, double *load_s)
{
    mox_progress progress;
    if (!o->cfg.dry_run) {
        o->cfg.log = (mox_log){0};
        mox_media_warn(&o->cfg);
    }
    mox_progress_init(&progress);
    o->cfg.log = (mox_log){.fn = mox_ui_log, .level = MOX_LOG_INFO};
    o->cfg.progress = mox_progress_update;
    o->cfg.progress_ctx = &progress;
    uint64_t t0 = mox_now_ns();
    mox_err err = mox_open(ctx, &o->cfg);
    double seconds = (double)(mox_now_ns() - t0) * 1e-9;
    mox_progress_clear(&progress);
    o->cfg.progress = NULL;
    if (err == MOX_OK) {
        char a[24];
        mox_ui_line("ready in %.2f s: %s, %s, %s taken", seconds, mox_get_device(*ctx), mox_get_io(*ctx),
                    mox_human(mox_actual_bytes(*ctx), a));
    }
    if (load_s != NULL) {
        *load_s = seconds;
    }
    return err;
}

mox_err mox_cli_close(mox_ctx **ctx, mox_err err)
{
    if (err == MOX_OK && *ctx != NULL) {
        err = mox_end_record(*ctx);
    }
    mox_err_info why = *mox_err_last(); /* closing may fail in ways of its own */
    mox_close(ctx);
    return err != MOX_OK ? mox_err_restore(&why) : MOX_OK;
}

mox_err mox_cli_tokenizer(const mox_ctx *ctx, const mox_tokenizer **out)
{
    *out = mox_get_tokenizer(ctx);
    return *out != NULL
               ? MOX_OK
               : MOX_FAIL(MOX_E_TOKENIZER, "the model file has no tokenizer: it takes ids, not text");
}

mox_err mox_cli_vocab(const char *model, uint32_t *n_vocab)
{
    static mox_model_info info;
    mox_gguf *g = NULL;
    MOX_TRY(mox_gguf_open(&g, model));
    mox_err err = mox_model_describe(&info, g);
    mox_gguf_close(&g);
    if (err == MOX_OK) {
        *n_vocab = info.n_vocab;
    }
    return err;
}

mox_err mox_cli_read_all(const char *path, char **out, size_t *n)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (f == NULL) {
        return MOX_FAIL_SYS(MOX_E_OPEN, errno, "%.300s cannot be opened", path);
    }
    size_t cap = 65536, len = 0;
    char *buf = malloc(cap + 1);
    while (buf != NULL) {
        size_t got = fread(buf + len, 1, cap - len, f);
        len += got;
        if (got == 0) {
            break;
        }
        if (len == cap) {
            char *more = realloc(buf, 2 * cap + 1);
            if (more == NULL) {
                free(buf);
            }
            buf = more;
            cap *= 2;
        }
    }
    int failed = ferror(f) ? errno : 0;
    if (f != stdin) {
        fclose(f);
    }
    if (buf == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "%.300s: no memory for its %zu bytes", path, len);
    }
    if (failed != 0) {
        free(buf);
        return MOX_FAIL_SYS(MOX_E_IO, failed, "%.300s cannot be read", path);
    }
    buf[len] = '\0';
    *out = buf;
    *n = len;
    return MOX_OK;
}

mox_err mox_cli_parse_ids(const char *text, bool stop_at_newline, const char **rest, uint32_t **ids,
                          uint32_t *n)
{
    uint32_t cap = 1024, len = 0;
    uint32_t *list = malloc(cap * sizeof *list);
    mox_err err = MOX_OK;
    for (;;) {
        text += strspn(text, stop_at_newline ? " \t\r" : " \t\r\n\v\f");
        if (*text == '\0' || *text == '\n' || list == NULL) {
            break;
        }
        char *end = NULL;
        errno = 0;
        unsigned long v = (*text >= '0' && *text <= '9') ? strtoul(text, &end, 10) : 0;
        if (end == NULL || errno != 0 || v >= UINT32_MAX || strchr(" \t\r\n\v\f", *end) == NULL) {
            int n_word = (int)strcspn(text, " \t\r\n\v\f");
            err = MOX_FAIL(MOX_E_TOKEN, "token %u is not a decimal id: %.*s", len, n_word < 24 ? n_word : 24,
                           text);
            break;
        }
        if (len == cap) {
            uint32_t *more = realloc(list, 2 * (size_t)cap * sizeof *list);
            if (more == NULL) {
                free(list);
            }
            list = more;
            cap *= 2;
        }
        if (list != NULL) {
            list[len++] = (uint32_t)v;
        }
        text = end;
    }
    if (err == MOX_OK && list == NULL) {
        err = MOX_FAIL(MOX_E_NO_MEMORY, "no memory for %u token ids", len);
    }
    if (err != MOX_OK) {
        free(list);
        return err;
    }
    if (rest != NULL) {
        *rest = text + (*text == '\n');
    }
    *ids = list;
    *n = len;
    return MOX_OK;
}
