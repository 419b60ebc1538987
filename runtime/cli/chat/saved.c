/* Writing with the report writer, reading with jansson. Texts are UTF-8 in JSON; a text that is not cannot come back as
 * it was, so saving it is an error rather than a loss.
 */
#include "runtime/cli/chat/saved.h"

#include "profiler/report/json.h"
#include "runtime/gguf/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char schema[] = "moxie.chat/1";
enum { MAX_FILE = 256 << 20 };

/* Whether the file begins like one of ours; a file that is not there, or empty, may be written. */
static mox_err may_replace(const char *path)
{
    char head[512];
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return errno == ENOENT ? MOX_OK : MOX_FAIL_SYS(MOX_E_OPEN, errno, "%.300s cannot be looked at", path);
    }
    struct stat st;
    bool regular = fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode);
    size_t n = regular ? fread(head, 1, sizeof head, f) : 0;
    fclose(f);
    if (!regular || (n > 0 && memmem(head, n, schema, sizeof schema - 1) == NULL)) {
        return MOX_FAIL(MOX_E_CONFLICT, "%.300s is there and is no saved chat: it is not replaced", path);
    }
    return MOX_OK;
}

static mox_err check_utf8(const mox_message *m, uint32_t i)
{
    for (size_t at = 0, n; at < m->n_text; at += n) {
        n = mox_utf8_next(m->text + at, m->n_text - at, NULL);
        if (n == 0) {
            return MOX_FAIL(MOX_E_WRITE, "message %u is not UTF-8 at byte %zu: JSON cannot hold it", i + 1,
                            at);
        }
    }
    return MOX_OK;
}

static void write_messages(FILE *f, const mox_conversation *c, const char *model)
{
    mox_json j;
    mox_json_begin(&j, f);
    mox_json_object(&j, NULL);
    mox_json_string(&j, "schema", schema);
    mox_json_string(&j, "model", model);
    mox_json_array(&j, "messages");
    for (uint32_t i = 0; i < c->n; i++) {
        const mox_message *m = &c->m[i];
        mox_json_object(&j, NULL);
        mox_json_string(&j, "role", mox_role_name(m->role));
        mox_json_string_n(&j, "content", m->text, m->n_text);
        if (m->stopped) {
            mox_json_bool(&j, "stopped", true);
        }
        if (m->n_ids > 0) {
            mox_json_array(&j, "tokens");
            for (uint32_t k = 0; k < m->n_ids; k++) {
                mox_json_u64(&j, NULL, m->ids[k]);
            }
            mox_json_array_end(&j);
        }
        mox_json_object_end(&j);
    }
    mox_json_array_end(&j);
    mox_json_object_end(&j);
    mox_json_end(&j);
}

mox_err mox_conv_save(const mox_conversation *c, const char *path, const char *model)
{
    char other[4200];
    for (uint32_t i = 0; i < c->n; i++) {
        MOX_TRY(check_utf8(&c->m[i], i));
    }
    MOX_TRY(may_replace(path));
    if (snprintf(other, sizeof other, "%s.XXXXXX", path) >= (int)sizeof other) {
        return MOX_FAIL(MOX_E_OPEN, "a path of %zu bytes is too long", strlen(path));
    }
    int fd = mkstemp(other);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (f == NULL) {
        return MOX_FAIL_SYS(MOX_E_OPEN, errno, "no file can be made beside %.300s", path);
    }
    write_messages(f, c, model);
    bool ok = fflush(f) == 0 && !ferror(f) && fsync(fd) == 0;
    int failed = errno;
    ok = fclose(f) == 0 && ok;
    if (!ok || rename(other, path) != 0) {
        failed = ok ? errno : failed;
        unlink(other);
        return MOX_FAIL_SYS(MOX_E_WRITE, failed, "%.300s cannot be written", path);
    }
    return MOX_OK;
}

#ifndef MOXIE_MINIMAL
#include <jansson.h>

/* Whether these tokens give this text: what the answer looked like when it was printed. */
static bool tokens_give(const mox_tokenizer *t, const uint32_t *ids, uint32_t n, const char *text,
                        size_t n_text)
{
    char *piece = malloc(2 * mox_detok_max(t));
    bool same = piece != NULL;
    size_t at = 0;
    mox_detok d;
    mox_detok_init(&d, t, false, true);
    for (uint32_t i = 0; i <= n && same; i++) {
        size_t k = i < n ? mox_detok_push(&d, ids[i], piece) : mox_detok_flush(&d, piece);
        same = k <= n_text - at && memcmp(piece, text + at, k) == 0;
        at += k;
    }
    free(piece);
    return same && at == n_text;
}

static mox_err load_message(mox_conversation *to, const json_t *j, size_t i, const mox_tokenizer *t)
{
    const char *role = json_string_value(json_object_get(j, "role"));
    const json_t *content = json_object_get(j, "content"), *tokens = json_object_get(j, "tokens");
    mox_message m = {.role = MOX_ROLES, .stopped = json_is_true(json_object_get(j, "stopped"))};
    for (mox_role r = 0; r < MOX_ROLES && role != NULL; r++) {
        m.role = strcmp(role, mox_role_name(r)) == 0 ? r : m.role;
    }
    if (m.role == MOX_ROLES || !json_is_string(content)) {
        return MOX_FAIL(MOX_E_FORMAT,
                        "message %zu has no role of system, user, assistant, or no text as content", i + 1);
    }
    mox_role due = (to->n - to->has_system) % 2 == 0 ? MOX_ROLE_USER : MOX_ROLE_ASSISTANT;
    if (m.role == MOX_ROLE_SYSTEM ? i != 0 : m.role != due) {
        return MOX_FAIL(MOX_E_FORMAT, "message %zu is by %s, where %s is due", i + 1, mox_role_name(m.role),
                        mox_role_name(due));
    }
    m.text = json_string_value(content);
    m.n_text = json_string_length(content);
    if (m.role == MOX_ROLE_SYSTEM) {
        return mox_conv_system(to, m.text, m.n_text);
    }
    size_t n = m.role == MOX_ROLE_ASSISTANT && t != NULL ? json_array_size(tokens) : 0;
    uint32_t *ids = n > 0 ? malloc(n * sizeof *ids) : NULL;
    bool good = ids != NULL && n < UINT32_MAX;
    for (size_t k = 0; k < n && good; k++) {
        json_int_t id = json_integer_value(json_array_get(tokens, k));
        good =
            json_is_integer(json_array_get(tokens, k)) && id >= 0 && id < (json_int_t)mox_tokenizer_vocab(t);
        ids[k] = (uint32_t)id;
    }
    if (good && tokens_give(t, ids, (uint32_t)n, m.text, m.n_text)) {
        m.ids = ids;
        m.n_ids = (uint32_t)n;
    }
    mox_err err = mox_conv_add(to, &m);
    free(ids);
    return err;
}

mox_err mox_conv_load(mox_conversation *c, const char *path, const mox_tokenizer *t)
{
    json_error_t why;
    struct stat st;
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return MOX_FAIL_SYS(MOX_E_OPEN, errno, "%.300s cannot be opened", path);
    }
    if (fstat(fileno(f), &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > MAX_FILE) {
        fclose(f);
        return MOX_FAIL(MOX_E_FORMAT, "%.300s is no file, or too big for a saved chat", path);
    }
    json_t *doc = json_loadf(f, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    fclose(f);
    if (doc == NULL) {
        return MOX_FAIL(MOX_E_FORMAT, "%.200s is not JSON: line %d: %.160s", path, why.line, why.text);
    }
    const json_t *messages = json_object_get(doc, "messages");
    mox_conversation loaded = {0};
    mox_err err = json_is_array(messages)
                      ? MOX_OK
                      : MOX_FAIL(MOX_E_FORMAT, "%.300s has no \"messages\": it is no saved chat", path);
    for (size_t i = 0; i < json_array_size(messages) && err == MOX_OK; i++) {
        err = load_message(&loaded, json_array_get(messages, i), i, t);
    }
    json_decref(doc);
    if (err != MOX_OK) {
        mox_conv_free(&loaded);
        return err;
    }
    mox_conv_free(c);
    *c = loaded;
    return MOX_OK;
}
#else
mox_err mox_conv_load(mox_conversation *c, const char *path, const mox_tokenizer *t)
{
    (void)c;
    (void)t;
    return MOX_FAIL(MOX_E_FORMAT, "%.300s: this build cannot read JSON (it was made without jansson)", path);
}
#endif
