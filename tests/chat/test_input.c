/* Lines to messages, and the history file. */
#include "runtime/cli/chat/history.h"
#include "runtime/cli/chat/input.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct script {
    const char *const *line; /* NULL: Ctrl-D; "^C": Ctrl-C */
    const char *last_prompt;
} script;

static mox_line_result next(void *arg, const char *prompt, const char **text, size_t *n)
{
    script *s = arg;
    const char *line = *s->line;
    s->last_prompt = prompt;
    if (line == NULL) {
        return MOX_LINE_END;
    }
    s->line++;
    if (strcmp(line, "^C") == 0) {
        *n = 0;
        return MOX_LINE_INTERRUPT;
    }
    *text = line;
    *n = strlen(line);
    return MOX_LINE_TEXT;
}

#define INPUT(result, expected, prompt, ...)                                                                 \
    do {                                                                                                     \
        const char *lines[] = {__VA_ARGS__, NULL};                                                           \
        script s = {.line = lines};                                                                          \
        mox_input in = {.read = next, .arg = &s};                                                            \
        cr_assert_eq(mox_input_read(&in), (result));                                                         \
        if ((result) == MOX_LINE_TEXT) {                                                                     \
            cr_assert_str_eq(in.text, (expected));                                                           \
            cr_assert_eq(in.n, strlen(expected));                                                            \
        }                                                                                                    \
        cr_assert_str_eq(s.last_prompt, (prompt));                                                           \
        mox_input_free(&in);                                                                                 \
    } while (0)

Test(input, lines_and_blocks)
{
    INPUT(MOX_LINE_TEXT, "hello", ">>> ", "hello", "not this");
    INPUT(MOX_LINE_TEXT, "", ">>> ", "");
    INPUT(MOX_LINE_TEXT, "one\ntwo\nthree", "... ", "one\\", "two\\", "three", "not this");
    INPUT(MOX_LINE_TEXT, "one\ntwo", "... ", "\"\"\"one", "two\"\"\"", "not this");
    INPUT(MOX_LINE_TEXT, "\none\\\n\ntwo\n", "... ", "\"\"\"", "", "one\\", "", "two", "\"\"\"", "not this");
    INPUT(MOX_LINE_TEXT, "one", ">>> ", "\"\"\"one\"\"\"", "not this");
    INPUT(MOX_LINE_TEXT, "one and more", ">>> ", "\"\"\"one\"\"\" and more");
    INPUT(MOX_LINE_TEXT, "no \"\"\" here", ">>> ", "no \"\"\" here", "not this");
    INPUT(MOX_LINE_TEXT, "one\n", "... ", "\"\"\"one");
    INPUT(MOX_LINE_TEXT, "one\n", "... ", "one\\");
}

Test(input, control_keys)
{
    mox_input in;
    const char *nothing[] = {NULL};
    script s = {.line = nothing};
    in = (mox_input){.read = next, .arg = &s};
    cr_assert_eq(mox_input_read(&in), MOX_LINE_END);
    static const char *const begun[][3] = {
        {"\"\"\"one", "^C", NULL}, {"one\\", "^C", NULL}, {"\"\"\"", "^C", NULL}};
    for (size_t i = 0; i < 3; i++) {
        s = (script){.line = begun[i]};
        cr_assert_eq(mox_input_read(&in), MOX_LINE_INTERRUPT);
        cr_assert_gt(in.n, 0, "something was dropped");
    }
    const char *empty[] = {"^C", NULL};
    s = (script){.line = empty};
    cr_assert_eq(mox_input_read(&in), MOX_LINE_INTERRUPT);
    cr_assert_eq(in.n, 0, "nothing was there");
    mox_input_free(&in);
}

static char all[8192];

static void collect(void *arg, const char *entry)
{
    uint32_t *n = arg;
    ++*n;
    snprintf(all + strlen(all), sizeof all - strlen(all), "[%s]", strlen(entry) < 100 ? entry : "long");
}

Test(history, keeps_entries_for_their_owner)
{
    char folder[] = "/tmp/moxie-history-XXXXXX", path[256];
    uint32_t n = 0;
    struct stat st;
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/deep/state", folder);
    setenv("XDG_STATE_HOME", path, 1);
    cr_assert_eq(mox_history_path(path, sizeof path), MOX_OK);
    cr_assert_eq(mox_history_load(path, collect, &n), MOX_OK, "none yet");
    cr_assert_eq(mox_history_add(path, "first"), MOX_OK);
    cr_assert_eq(chmod(path, 0644), 0);
    cr_assert_eq(mox_history_add(path, "two\nlines \\n and \\"), MOX_OK);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    all[0] = '\0';
    cr_assert_eq(mox_history_load(path, collect, &n), MOX_OK);
    cr_assert_eq(n, 2);
    cr_assert_str_eq(all, "[first][two\nlines \\n and \\]");
    /* a long file is cut down to the last entries */
    char entry[32];
    for (int i = 0; i < 2 * MOX_HISTORY_MAX; i++) {
        snprintf(entry, sizeof entry, "e%d", i);
        cr_assert_eq(mox_history_add(path, entry), MOX_OK);
    }
    for (int round = 0; round < 2; round++) {
        n = 0;
        all[0] = '\0';
        cr_assert_eq(mox_history_load(path, collect, &n), MOX_OK);
        cr_assert_eq(n, MOX_HISTORY_MAX);
        cr_assert_eq(strncmp(all, "[e1000][e1001]", 14), 0, "%.40s", all);
    }
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    cr_assert_lt(st.st_size, 8000);
    cr_assert_eq(unlink(path), 0);
}
