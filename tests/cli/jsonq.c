/* jsonq FILE [PATH]: is FILE one valid JSON document (RFC 8259)? Prints the value at PATH ("hits.ram.uses",
 * "tests.0.name"): strings without quotes (escapes kept), arrays and objects as they stand. Exit 1: not
 * valid, 2: no such path. The tests' only reader of JSON, so that they need no interpreter. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
    const char *p, *end;
    const char *path; /* what is left to find; "" at the value itself; NULL: not on the way */
    const char *found, *found_end;
    int depth;
} reader;

static bool value(reader *r);

static void space(reader *r)
{
    while (r->p < r->end && strchr(" \t\r\n", *r->p) != NULL && *r->p != '\0') {
        r->p++;
    }
}

static bool literal(reader *r, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0) {
        return false;
    }
    r->p += n;
    return true;
}

static bool hex4(reader *r)
{
    for (int i = 0; i < 4; i++, r->p++) {
        if (r->p >= r->end || strchr("0123456789abcdefABCDEF", *r->p) == NULL || *r->p == '\0') {
            return false;
        }
    }
    return true;
}

/* Well-formed UTF-8: length of the sequence at p, 0 if it is none. */
static int utf8(const unsigned char *p, const unsigned char *end)
{
    int n = p[0] < 0x80 ? 1 : p[0] >= 0xC2 && p[0] < 0xE0 ? 2 : p[0] >= 0xE0 && p[0] < 0xF0 ? 3 : 0;
    n = p[0] >= 0xF0 && p[0] < 0xF5 ? 4 : n;
    if (n == 0 || end - p < n) {
        return 0;
    }
    for (int i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return n;
}

static bool string(reader *r)
{
    if (!literal(r, "\"")) {
        return false;
    }
    while (r->p < r->end && *r->p != '"') {
        if ((unsigned char)*r->p < 0x20) {
            return false;
        }
        if (*r->p == '\\') {
            r->p++;
            if (r->p < r->end && *r->p == 'u') {
                r->p++;
                if (!hex4(r)) {
                    return false;
                }
            } else if (r->p >= r->end || *r->p == '\0' || strchr("\"\\/bfnrt", *r->p) == NULL) {
                return false;
            } else {
                r->p++;
            }
            continue;
        }
        int n = utf8((const unsigned char *)r->p, (const unsigned char *)r->end);
        if (n == 0) {
            return false;
        }
        r->p += n;
    }
    return literal(r, "\"");
}

static bool digits(reader *r)
{
    const char *start = r->p;
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9') {
        r->p++;
    }
    return r->p > start;
}

static bool number(reader *r)
{
    (void)literal(r, "-");
    bool zero = r->p < r->end && *r->p == '0';
    const char *start = r->p;
    if (!digits(r) || (zero && r->p > start + 1)) {
        return false;
    }
    if (r->p < r->end && *r->p == '.') {
        r->p++;
        if (!digits(r)) {
            return false;
        }
    }
    if (r->p < r->end && (*r->p == 'e' || *r->p == 'E')) {
        r->p++;
        if (r->p < r->end && (*r->p == '+' || *r->p == '-')) {
            r->p++;
        }
        return digits(r);
    }
    return true;
}

/* The path inside a member or element called key: what is left of it, or NULL. */
static const char *step(const char *path, const char *key, size_t n)
{
    if (path == NULL || strncmp(path, key, n) != 0 || (path[n] != '.' && path[n] != '\0') ||
        path[0] == '\0') {
        return NULL;
    }
    return path[n] == '.' ? path + n + 1 : path + n;
}

static bool members(reader *r, bool object)
{
    const char *path = r->path;
    const char *close = object ? "}" : "]";
    r->p++;
    space(r);
    if (literal(r, close)) {
        return true;
    }
    for (int i = 0;; i++) {
        char index[16];
        int n = snprintf(index, sizeof index, "%d", i);
        const char *key = index;
        space(r);
        if (object) {
            key = r->p + 1;
            if (!string(r)) {
                return false;
            }
            n = (int)(r->p - 1 - key);
            space(r);
            if (!literal(r, ":")) {
                return false;
            }
        }
        r->path = step(path, key, (size_t)n);
        if (!value(r)) {
            return false;
        }
        r->path = path;
        space(r);
        if (literal(r, close)) {
            return true;
        }
        if (!literal(r, ",")) {
            return false;
        }
    }
}

static bool value(reader *r)
{
    bool wanted = r->path != NULL && r->path[0] == '\0';
    space(r);
    const char *start = r->p;
    if (r->p >= r->end || ++r->depth > 100) {
        return false;
    }
    bool ok = false;
    if (*r->p == '{' || *r->p == '[') {
        ok = members(r, *r->p == '{');
    } else if (*r->p == '"') {
        ok = string(r);
    } else {
        ok = literal(r, "true") || literal(r, "false") || literal(r, "null") || number(r);
    }
    r->depth--;
    if (ok && wanted && r->found == NULL) {
        bool quoted = *start == '"';
        r->found = start + quoted;
        r->found_end = r->p - quoted;
    }
    return ok;
}

int main(int argc, char **argv)
{
    static char text[32 << 20];
    FILE *f = argc >= 2 ? fopen(argv[1], "rb") : NULL;
    if (f == NULL) {
        fprintf(stderr, "jsonq: cannot open %s\n", argc >= 2 ? argv[1] : "(nothing)");
        return 1;
    }
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    reader r = {.p = text, .end = text + n, .path = argc >= 3 ? argv[2] : ""};
    bool ok = value(&r);
    space(&r);
    if (!ok || r.p != r.end) {
        fprintf(stderr, "jsonq: %s: not JSON at byte %ld\n", argv[1], (long)(r.p - text));
        return 1;
    }
    if (argc >= 3) {
        if (r.found == NULL) {
            return 2;
        }
        printf("%.*s\n", (int)(r.found_end - r.found), r.found);
    }
    return 0;
}
