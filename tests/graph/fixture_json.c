/* A reader for the fixtures' JSON that knows their shape: it looks for a key and takes the numbers of the bracket behind
 * it. A JSON library would be a dependency for a few keys. */
#include "graph/fixture_json.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *fx_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    cr_assert(f, "cannot open %s", path);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    char *p = malloc(*n + 1);
    cr_assert(p && fread(p, 1, *n, f) == *n, "cannot read %s", path);
    p[*n] = '\0';
    fclose(f);
    return p;
}

const char *fx_behind(const char *at, const char *key)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *p = strstr(at, quoted);
    cr_assert(p, "fixture has no %s", key);
    return p + strlen(quoted);
}

const char *fx_numbers(const char *p, double *out, uint32_t max, uint32_t *n)
{
    p = strchr(p, '[');
    cr_assert(p);
    int depth = 0;
    *n = 0;
    do {
        depth += *p == '[';
        depth -= *p == ']';
        char *end;
        double v = strtod(p, &end);
        if (end != p && strchr("-0123456789", *p)) {
            cr_assert(*n < max, "fixture has more than %u numbers", max);
            out[(*n)++] = v;
            p = end;
        } else {
            p++;
        }
    } while (depth > 0 && *p);
    return p;
}
