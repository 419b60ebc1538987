/* moxie explain: what an error code means; without a code, the list of all. */
#include "runtime/cli/commands.h"
#include "runtime/cli/explain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_lines(const char *head, const char *lines)
{
    printf("%s\n", head);
    while (*lines != '\0') {
        size_t n = strcspn(lines, "\n");
        printf("  %.*s\n", (int)n, lines);
        lines += n + (lines[n] == '\n');
    }
}

/* "MX-4001", "mx4001", "4001" */
static int parse_code(const char *s)
{
    if ((s[0] | 0x20) == 'm' && (s[1] | 0x20) == 'x') {
        s += s[2] == '-' ? 3 : 2;
    }
    char *end = NULL;
    long v = *s >= '0' && *s <= '9' ? strtol(s, &end, 10) : 0;
    return end != NULL && *end == '\0' && v <= 99999 ? (int)v : 0;
}

mox_err mox_cmd_explain(mox_opts *o)
{
    if (o->words[0] == NULL) {
        for (const mox_explanation *e = mox_explanations; e->means != NULL; e++) {
            printf("MX-%04d  %s\n", -e->code, mox_err_text(e->code));
        }
        return MOX_OK;
    }
    int code = parse_code(o->words[0]);
    for (const mox_explanation *e = mox_explanations; e->means != NULL; e++) {
        if (-e->code == code) {
            printf("MX-%04d: %s (exit code %d)\n\n%s\n\n", code, mox_err_text(e->code),
                   mox_err_exit_code(e->code), e->means);
            put_lines("usual causes", e->causes);
            put_lines("what to do", e->remedy);
            return MOX_OK;
        }
    }
    mox_err err = MOX_FAIL(MOX_E_OPTION, "there is no error code %.40s", o->words[0]);
    mox_err_fix("moxie explain   lists them");
    return err;
}
