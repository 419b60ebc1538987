/* One entry a line, oldest first, "\n" and "\\" escaped; entries are appended as they are made, so that two chats at
 * once lose nothing and a killed one has kept its own. */
#include "runtime/cli/chat/history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

mox_err mox_history_path(char *out, size_t n)
{
    const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int len;
    if (xdg != NULL && xdg[0] == '/') {
        len = snprintf(out, n, "%s/moxie/history", xdg);
    } else if (home != NULL && home[0] == '/') {
        len = snprintf(out, n, "%s/.local/state/moxie/history", home);
    } else {
        return MOX_FAIL(MOX_E_CONFIG,
                        "neither XDG_STATE_HOME nor HOME is set: there is no place for a history");
    }
    if (len < 0 || (size_t)len >= n) {
        return MOX_FAIL(MOX_E_CONFIG, "the path of the history is too long");
    }
    for (char *slash = strchr(out + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int failed = mkdir(out, 0700) != 0 && errno != EEXIST ? errno : 0;
        *slash = '/';
        if (failed == ENOENT || failed == EACCES || failed == EROFS || failed == ENOTDIR) {
            return MOX_FAIL_SYS(MOX_E_OPEN, failed, "%.300s: its folder cannot be made", out);
        }
    }
    return MOX_OK;
}

/* In place. */
static void unescape(char *s)
{
    char *to = s;
    for (; *s != '\0'; s++) {
        if (*s == '\\' && (s[1] == 'n' || s[1] == '\\')) {
            s++;
            *to++ = *s == 'n' ? '\n' : '\\';
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
}

static mox_err write_entry(FILE *f, const char *entry)
{
    for (; *entry != '\0'; entry++) {
        if (*entry == '\n' || *entry == '\\') {
            putc('\\', f);
        }
        putc(*entry == '\n' ? 'n' : *entry, f);
    }
    return putc('\n', f) == EOF ? MOX_FAIL_SYS(MOX_E_WRITE, errno, "the history cannot be written") : MOX_OK;
}

/* A file for its owner alone, also where it was there before with other rights. */
static FILE *open_private(const char *path, int flags)
{
    int fd = open(path, flags | O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return NULL;
    }
    FILE *f = fchmod(fd, 0600) == 0 ? fdopen(fd, "a") : NULL;
    if (f == NULL) {
        close(fd);
    }
    return f;
}

mox_err mox_history_add(const char *path, const char *entry)
{
    FILE *f = open_private(path, O_APPEND);
    if (f == NULL) {
        return MOX_FAIL_SYS(MOX_E_OPEN, errno, "%.300s cannot be opened", path);
    }
    mox_err err = write_entry(f, entry);
    if (fclose(f) != 0 && err == MOX_OK) {
        err = MOX_FAIL_SYS(MOX_E_WRITE, errno, "%.300s cannot be written", path);
    }
    return err;
}

/* The last entries alone, through a file beside it. */
static mox_err cut(const char *path, char **entries, size_t n)
{
    char other[4200];
    snprintf(other, sizeof other, "%s.%ld", path, (long)getpid());
    FILE *f = open_private(other, O_TRUNC);
    if (f == NULL) {
        return MOX_FAIL_SYS(MOX_E_OPEN, errno, "%.300s cannot be made", other);
    }
    mox_err err = MOX_OK;
    for (size_t i = 0; i < n && err == MOX_OK; i++) {
        err = write_entry(f, entries[i]);
    }
    bool whole = fclose(f) == 0 && err == MOX_OK;
    if (!whole || rename(other, path) != 0) {
        int failed = errno;
        unlink(other);
        return MOX_FAIL_SYS(MOX_E_WRITE, failed, "%.300s cannot be written", path);
    }
    return MOX_OK;
}

mox_err mox_history_load(const char *path, void (*fn)(void *arg, const char *entry), void *arg)
{
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return errno == ENOENT ? MOX_OK : MOX_FAIL_SYS(MOX_E_OPEN, errno, "%.300s cannot be opened", path);
    }
    char *entries[MOX_HISTORY_MAX] = {NULL}; /* a ring */
    size_t n = 0, cap = 0;
    char *line = NULL;
    ssize_t len;
    while ((len = getline(&line, &cap, f)) > 0) {
        line[len - 1] = line[len - 1] == '\n' ? '\0' : line[len - 1];
        unescape(line);
        char *entry = line[0] != '\0' ? strdup(line) : NULL;
        if (entry != NULL) {
            free(entries[n % MOX_HISTORY_MAX]);
            entries[n++ % MOX_HISTORY_MAX] = entry;
        }
    }
    free(line);
    fclose(f);
    size_t kept = n < MOX_HISTORY_MAX ? n : MOX_HISTORY_MAX;
    char *order[MOX_HISTORY_MAX];
    for (size_t i = 0; i < kept; i++) {
        order[i] = entries[(n - kept + i) % MOX_HISTORY_MAX];
        fn(arg, order[i]);
    }
    mox_err err = n > 2 * MOX_HISTORY_MAX ? cut(path, order, kept) : MOX_OK;
    for (size_t i = 0; i < MOX_HISTORY_MAX; i++) {
        free(entries[i]);
    }
    return err;
}
