#include "gguf/builder.h"

#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void tmpdir_make(tmpdir *d)
{
    const char *base = getenv("TMPDIR");
    snprintf(d->path, sizeof d->path, "%s/moxie-test-XXXXXX", base ? base : P_tmpdir);
    char *made = mkdtemp(d->path);
    assert(made);
    (void)made;
}

void tmpdir_remove(tmpdir *d)
{
    DIR *dir = opendir(d->path);
    const struct dirent *e;
    while (dir && (e = readdir(dir))) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            unlinkat(dirfd(dir), e->d_name, 0);
        }
    }
    closedir(dir);
    rmdir(d->path);
}

const char *tmpdir_path(const tmpdir *d, const char *name)
{
    static char paths[8][4400];
    static int next;
    next = (next + 1) % 8;
    snprintf(paths[next], sizeof paths[next], "%s/%s", d->path, name);
    return paths[next];
}

void tmpdir_write(const tmpdir *d, const char *name, const void *p, size_t n)
{
    FILE *f = fopen(tmpdir_path(d, name), "wb");
    assert(f);
    size_t written = fwrite(p, 1, n, f);
    assert(written == n);
    (void)written;
    fclose(f);
}
