/* INI files through inih, which splits lines; the lines are read here, because inih's own reader neither counts
 * them nor says when one is too long, and takes indented lines as continuations.
 */
#include "runtime/cli/config_file.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#ifndef MOXIE_MINIMAL
#include <ini.h>

typedef struct reading {
    FILE *f;
    mox_config_file *out;
    uint32_t line;
    uint32_t bad_line; /* the first that is refused here; 0: none */
    const char *why;
} reading;

static void refuse(reading *r, const char *why)
{
    if (r->bad_line == 0) {
        r->bad_line = r->line;
        r->why = why;
    }
}

/* One line without its indentation, at most n - 1 bytes; inih's fgets. */
static char *read_line(char *str, int n, void *stream)
{
    reading *r = stream;
    int c = r->bad_line == 0 ? getc(r->f) : EOF, len = 0;
    if (c == EOF) {
        return NULL;
    }
    r->line++;
    /* what is refused is read no further: the file may have no end */
    for (; c != EOF && c != '\n' && r->bad_line == 0; c = getc(r->f)) {
        if (c == '\0') {
            refuse(r, "a zero byte: this is not a text file");
        } else if (len + 2 >= n) {
            refuse(r, "the line is too long");
        } else if (len > 0 || !isspace(c)) {
            str[len++] = (char)c;
        }
    }
    str[len++] = '\n';
    str[len] = '\0';
    return str;
}

static const char *keep(mox_config_file *out, const char *s)
{
    size_t n = strlen(s) + 1;
    if (n > sizeof out->text - out->used) {
        return NULL;
    }
    char *at = out->text + out->used;
    memcpy(at, s, n);
    out->used += n;
    return at;
}

static int on_entry(void *user, const char *section, const char *key, const char *value)
{
    reading *r = user;
    mox_config_file *out = r->out;
    if (out->n == MOX_CONFIG_MAX_ENTRIES) {
        refuse(r, "more than 256 settings");
        return 0;
    }
    mox_config_entry e = {keep(out, section), keep(out, key), keep(out, value), r->line};
    if (e.section == NULL || e.key == NULL || e.value == NULL) {
        refuse(r, "more than 16 KiB of settings");
        return 0;
    }
    out->entries[out->n++] = e;
    return 1;
}

mox_err mox_config_read(const char *path, mox_config_file *out)
{
    out->n = 0;
    out->used = 0;
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        return MOX_FAIL_SYS(MOX_E_OPEN, errno, "%.300s cannot be opened", path);
    }
    reading r = {.f = f, .out = out};
    int bad = ini_parse_stream(read_line, &r, on_entry, &r);
    int failed = ferror(f) ? errno : 0;
    fclose(f);
    if (failed != 0) {
        return MOX_FAIL_SYS(MOX_E_OPEN, failed, "%.300s cannot be read", path);
    }
    if (bad < 0) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "%.300s: no memory to read it", path);
    }
    if (r.bad_line != 0 && (bad == 0 || r.bad_line <= (uint32_t)bad)) {
        return MOX_FAIL(MOX_E_CONFIG, "%.300s:%u: %s", path, r.bad_line, r.why);
    }
    if (bad > 0) {
        mox_err err = MOX_FAIL(MOX_E_CONFIG, "%.300s:%d: not a setting", path, bad);
        mox_err_fix("write   key = value   or   [section]");
        return err;
    }
    return MOX_OK;
}

#else

mox_err mox_config_read(const char *path, mox_config_file *out)
{
    out->n = 0;
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        return MOX_FAIL_SYS(MOX_E_OPEN, errno, "%.300s cannot be opened", path);
    }
    fclose(f);
    mox_err err = MOX_FAIL(MOX_E_CONFIG,
                           "%.300s: this build reads no configuration files (it is made without "
                           "inih)",
                           path);
    mox_err_fix("--config none, and the same settings as MOXIE_... variables or options");
    return err;
}

#endif
