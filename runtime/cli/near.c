/* "did you mean": how far two names are from each other, and which known name is near enough to be a slip. */
#include "runtime/cli/near.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* Edits between two names, both short: insert, delete, replace, swap neighbours. Three rows of the usual
 * table. */
static size_t distance(const char *a, const char *b)
{
    enum { MAX = 96 };
    size_t row[3][MAX + 1];
    size_t na = strlen(a), nb = strlen(b);
    if (na > MAX || nb > MAX) {
        return MAX;
    }
    for (size_t j = 0; j <= nb; j++) {
        row[0][j] = j;
    }
    for (size_t i = 1; i <= na; i++) {
        const size_t *last = row[(i - 1) % 3], *before = row[(i + 1) % 3];
        size_t *now = row[i % 3];
        now[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best) {
                best = before[j - 2] + 1;
            }
            now[j] = best;
        }
    }
    return row[na % 3][nb];
}

void mox_near_try(mox_near *near, const char *name)
{
    const char *typed = near->typed;
    size_t d = distance(typed, name);
    size_t n = strlen(typed);
    if (n >= 3 && strncmp(typed, name, n) == 0) {
        d = 1; /* an abbreviation */
    }
    size_t allowed = n <= 4 ? 1 : n <= 8 ? 2 : 3;
    if (d <= allowed && (near->name == NULL || d < near->edits)) {
        near->name = name;
        near->edits = d;
    }
}

static bool ends_in(const char *name, const char *tail)
{
    size_t n = strlen(name), m = strlen(tail);
    return n > m && strcmp(name + n - m, tail) == 0;
}

bool mox_near_file(const char *path, char *out, size_t n)
{
    const char *slash = strrchr(path, '/');
    int n_dir = slash != NULL ? (int)(slash - path) + 1 : 0;
    char dir[1024];
    if (snprintf(dir, sizeof dir, "%.*s", n_dir, path) >= (int)sizeof dir) {
        return false;
    }
    mox_near near = {.typed = path + n_dir};
    char nearest[sizeof((struct dirent *)NULL)->d_name] = "";
    DIR *d = opendir(n_dir > 0 ? dir : ".");
    for (struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d)) {
        if (ends_in(e->d_name, ".gguf") || ends_in(e->d_name, ".moxie")) {
            mox_near_try(&near, e->d_name);
        }
        if (near.name == e->d_name) { /* the entry is gone with the next readdir */
            snprintf(nearest, sizeof nearest, "%s", e->d_name);
            near.name = nearest;
        }
    }
    if (d != NULL) {
        closedir(d);
    }
    return near.name != NULL && snprintf(out, n, "%s%s", dir, nearest) < (int)n;
}
