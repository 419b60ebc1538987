/* G101 to G103. The tiny model, and a stage of opening it after which something is done to its file: replaced, cut,
 * written to, grown, removed. What is done has taken place when the stage ends, so each row has one answer. A file that
 * changed before its tensors were read is refused by name; one that is open already stays the file that it was,
 * whatever its name means by then.
 */
#include "hostile/changing.h"

#include "gguf/tiny.h"
#include "hostile/child.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CPU_S = 1 };

/* What is done to `path`; `other` is the same model under another name, with the same size and time. */
static int replace(const char *path, const char *other)
{
    return rename(other, path);
}

static int write_into(const char *path, const char *other)
{
    (void)other;
    int fd = open(path, O_WRONLY);
    int bad = fd < 0 || pwrite(fd, "x", 1, 4096) != 1;
    return close(fd) | bad;
}

static int cut(const char *path, const char *other)
{
    (void)other;
    return truncate(path, 4096);
}

static int grow(const char *path, const char *other)
{
    (void)other;
    struct stat st;
    return stat(path, &st) | truncate(path, st.st_size + 4096);
}

static int take_away(const char *path, const char *other)
{
    (void)other;
    return unlink(path);
}

static const struct {
    const char *id, *what, *stage;
    int (*change)(const char *path, const char *other);
    mox_err want;
} rows[] = {
    {"G101a", "replaced after its header was read", "header", replace, MOX_E_CHANGED},
    {"G101b", "replaced before its experts were read", "dense", replace, MOX_E_CHANGED},
    {"G101c", "replaced when all is open", "open", replace, MOX_OK},
    {"G101d", "written to after its header was read", "header", write_into, MOX_E_CHANGED},
    {"G101e", "written to before its experts were read", "dense", write_into, MOX_E_CHANGED},
    {"G101f", "written to when all is open", "open", write_into, MOX_E_CHANGED},
    {"G101g", "removed after its header was read", "header", take_away, MOX_E_OPEN},
    {"G101h", "removed when all is open", "open", take_away, MOX_OK},
    {"G102a", "cut after its header was read", "header", cut, MOX_E_CHANGED},
    {"G102b", "cut before its experts were read", "dense", cut, MOX_E_CHANGED},
    {"G102c", "cut when all is open", "open", cut, MOX_E_CHANGED},
    {"G103a", "grown after its header was read", "header", grow, MOX_E_CHANGED},
    {"G103b", "grown before its experts were read", "dense", grow, MOX_E_CHANGED},
    {"G103c", "grown when all is open", "open", grow, MOX_E_CHANGED},
};

typedef struct plan {
    size_t row;
    const char *path, *other;
    int n_done;
} plan;

static void change(void *arg, const char *stage)
{
    plan *p = arg;
    if (strcmp(stage, rows[p->row].stage) != 0) {
        return;
    }
    if (rows[p->row].change(p->path, p->other) != 0) {
        perror(rows[p->row].id);
        exit(1);
    }
    p->n_done++;
}

/* Old, so that writing to it shows in its time. */
static void put(const tmpdir *dir, const char *name)
{
    static const struct timespec old[2] = {{1700000000, 0}, {1700000000, 0}};
    gb b = {0};
    tiny_build(&b, NULL);
    tmpdir_write(dir, name, b.p, b.n);
    gb_free(&b);
    if (utimensat(AT_FDCWD, tmpdir_path(dir, name), old, 0) != 0) {
        perror(name);
    }
}

static bool try_row(size_t i, mox_io_mode io, report *r)
{
    tmpdir dir;
    tmpdir_make(&dir);
    put(&dir, "model.gguf");
    put(&dir, "other.gguf");
    char path[512], other[512];
    snprintf(path, sizeof path, "%s", tmpdir_path(&dir, "model.gguf"));
    snprintf(other, sizeof other, "%s", tmpdir_path(&dir, "other.gguf"));
    plan p = {i, path, other, 0};
    *r = (report){.err = MOX_E_INTERNAL};
    pid_t pid = child_fork(CPU_S);
    if (pid == 0) {
        child_use_changing(path, io, change, &p, r);
        exit(p.n_done == 1 ? 0 : 2);
    }
    outcome o = child_wait(pid);
    bool named = r->err == MOX_OK || strstr(r->info.msg, "model.gguf");
    bool ok = o.exited && o.code == 0 && !o.late && r->err == rows[i].want && named && !r->not_finite;
    if (!ok) {
        fprintf(stderr, "%s (%s), io %d: %s expected; signal %d, exit %d, %s: %s\n", rows[i].id, rows[i].what,
                (int)io, mox_err_name(rows[i].want), o.signal, o.code, mox_err_name(r->err), r->info.msg);
    }
    tmpdir_remove(&dir);
    return ok;
}

int run_changing(const char *only)
{
    report *r = child_report();
    int n = 0, wrong = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (only && strcmp(only, rows[i].id) != 0) {
            continue;
        }
        wrong += !try_row(i, MOX_IO_AUTO, r);
        wrong += !try_row(i, MOX_IO_PREAD, r);
        n++;
    }
    munmap(r, sizeof *r);
    printf("%d changing files, %d wrong\n", n, wrong);
    return wrong > 0 || n == 0;
}
