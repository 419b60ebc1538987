/* Every malformed file, given to the library or to the program, each in a process of its own with limits on time and
 * memory; and every prefix of a whole file.
 *
 *   hostile_cases                        the library, in forked children
 *   hostile_cases --program MOXIE        `moxie info` and `moxie run -n 1`
 *   hostile_cases --direct               the library in this process: for valgrind
 *   hostile_cases --prefixes
 *   hostile_cases --changing             files that change meanwhile
 *   ... --only ID
 */
#include "hostile/cases.h"
#include "hostile/changing.h"
#include "hostile/child.h"
#include "runtime/gguf/utf8.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CASE_CPU_S = 1 };

static int failures;

static void fail(const hostile_case *c, const char *where, const char *why, const char *detail)
{
    fprintf(stderr, "%s (%s), %s: %s: %s\n", c->id, c->what, where, why, detail);
    failures++;
}

/* What goes to a terminal: nothing that it obeys, and nothing that turns or hides text. */
static bool is_printable(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        size_t used = mox_utf8_next(s + i, n - i, &cp);
        if (used == 0 || (cp < 0x20 && cp != '\n') || (cp >= 0x7F && cp < 0xA0) ||
            (cp >= 0x202A && cp <= 0x202E)) {
            return false;
        }
        i += used;
    }
    return true;
}

static void check_error(const hostile_case *c, const char *where, mox_err want, const report *r)
{
    char got[800];
    snprintf(got, sizeof got, "%s: %.400s", mox_err_name(r->err), r->err == MOX_OK ? "" : r->info.msg);
    if (r->err != want) {
        fail(c, where, mox_err_name(want), got);
    } else if (want != MOX_OK && (strlen(r->info.msg) < 10 || strchr(r->info.msg, '\n') ||
                                  !is_printable(r->info.msg, strlen(r->info.msg)))) {
        fail(c, where, "the message is not one line to print", r->info.msg);
    }
    if (r->not_finite) {
        fail(c, where, "logits that are no numbers", got);
    }
}

static void check_outcome(const hostile_case *c, const char *where, const outcome *o)
{
    char detail[160];
    snprintf(detail, sizeof detail, "signal %d, exit %d, %.2f s, %ld KiB", o->signal, o->code, o->cpu_s,
             o->rss_kib);
    if (o->late || o->signal || !o->exited) {
        fail(c, where, o->late ? "it hangs" : "a signal", detail);
    } else if (!SANITIZED && o->rss_kib > CHILD_RSS_KIB) {
        fail(c, where, "too much memory", detail);
    }
}

/* What `info` does, up to the printing. */
static void use_header(const char *path, report *r)
{
    mox_gguf *g = NULL;
    static mox_model_info info;
    *r = (report){.err = mox_gguf_open(&g, path)};
    if (r->err == MOX_OK) {
        r->err = mox_model_describe(&info, g);
    }
    if (r->err != MOX_OK) {
        r->info = *mox_err_last();
    }
    mox_gguf_close(&g);
}

static void by_library(const hostile_case *c, const char *path, report *r)
{
    *r = (report){.err = MOX_E_INTERNAL};
    pid_t pid = child_fork(CASE_CPU_S);
    if (pid == 0) {
        use_header(path, r);
        exit(0);
    }
    outcome o = child_wait(pid);
    check_outcome(c, "header", &o);
    check_error(c, "header", c->open, r);
    o = child_try(path, r, CASE_CPU_S);
    check_outcome(c, "run", &o);
    check_error(c, "run", c->run, r);
}

static void directly(const hostile_case *c, const char *path, report *r)
{
    use_header(path, r);
    check_error(c, "header", c->open, r);
    child_use(path, MOX_IO_PREAD, r); /* valgrind 3.19 lets no other thread run while one waits for a ring */
    check_error(c, "run", c->run, r);
}

typedef struct text {
    char p[1 << 16];
    size_t n;
} text;

static void read_back(int fd, text *t)
{
    ssize_t n = pread(fd, t->p, sizeof t->p - 1, 0);
    t->n = n > 0 ? (size_t)n : 0;
    t->p[t->n] = 0;
}

/* One command: its exit code and the code in its message are the error's, and what it prints is fit to print. */
static void command(const hostile_case *c, const char *where, mox_err want, const char *const *argv)
{
    static text out, err;
    int out_fd = memfd_create("out", 0), err_fd = memfd_create("err", 0);
    pid_t pid = child_fork(CASE_CPU_S);
    if (pid == 0) {
        dup2(out_fd, 1);
        dup2(err_fd, 2);
        execv(argv[0], (char *const *)(uintptr_t)argv); /* it changes none of them */
        _exit(127);
    }
    outcome o = child_wait(pid);
    read_back(out_fd, &out);
    read_back(err_fd, &err);
    close(out_fd);
    close(err_fd);
    check_outcome(c, where, &o);
    char code[32];
    snprintf(code, sizeof code, "[MX-%d]", -(int)want);
    const char *line = strstr(err.p, "error: ");
    if (o.code != mox_err_exit_code(want)) {
        fail(c, where, "another exit code", err.p);
    } else if (want != MOX_OK && (!line || !strstr(line, code) || strstr(line, code) > strchr(line, '\n'))) {
        fail(c, where, code, err.p);
    } else if (want == MOX_OK && line) {
        fail(c, where, "an error that was not expected", line);
    }
    if (!is_printable(out.p, strcmp(where, "info") == 0 ? out.n : 0) || !is_printable(err.p, err.n)) {
        fail(c, where, "it prints what a terminal obeys", err.p);
    }
}

static void by_program(const hostile_case *c, const char *path, const char *moxie)
{
    const char *const info[] = {moxie, "info", path, "--config", "none", NULL};
    const char *const run[] = {moxie, "run",   path, "-p",        "a", "-n",       "1",    "--ram",
                               "min", "--ctx", "16", "--threads", "1", "--config", "none", NULL};
    command(c, "info", c->open, info);
    command(c, "run", c->run, run);
}

static void remove_all(const tmpdir *dir)
{
    DIR *d = opendir(tmpdir_path(dir, "folder"));
    const struct dirent *e;
    while (d && (e = readdir(d))) {
        unlinkat(dirfd(d), e->d_name, 0);
    }
    if (d) {
        closedir(d);
    }
    rmdir(tmpdir_path(dir, "folder"));
    tmpdir_remove((tmpdir *)(uintptr_t)dir);
}

static int run_cases(const char *only, const char *moxie, bool direct)
{
    report *r = child_report();
    int n = 0;
    for (size_t i = 0; i < n_hostile_cases; i++) {
        const hostile_case *c = &hostile_cases[i];
        tmpdir dir;
        if (only && strcmp(only, c->id) != 0) {
            continue;
        }
        tmpdir_make(&dir);
        const char *path = hostile_make(c, &dir);
        if (moxie) {
            by_program(c, path, moxie);
        } else {
            (direct ? directly : by_library)(c, path, r);
        }
        remove_all(&dir);
        n++;
    }
    munmap(r, sizeof *r);
    printf("%d cases, %d wrong\n", n, failures);
    return failures > 0 || n == 0;
}

/* G03. Every length up to the end of the tensor table, then every 97th and those around each tensor's begin and end. */
static bool is_tried(const gb *b, size_t n, size_t table)
{
    if (n <= table || n % 97 == 0 || b->n - n < 64) {
        return true;
    }
    for (size_t i = 0; i < b->n_fields; i++) {
        const gb_field *f = &b->fields[i];
        if (f->bytes == 0 && n + 2 >= f->off && n <= f->off + 2) {
            return true;
        }
    }
    return false;
}

static int run_prefixes(void)
{
    gb b = {0};
    tiny_build(&b, NULL);
    size_t table = gb_at(&b, "header end"),
           padding = b.n - (gb_at(&b, "data output.weight") + TINY_VOCAB * 34), n_tried = 0;
    int fd = memfd_create("prefix", 0);
    char path[64];
    static report r;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    for (size_t n = 0; n < b.n - padding; n++) {
        if (!is_tried(&b, n, table)) {
            continue;
        }
        if (ftruncate(fd, (off_t)n) != 0 || pwrite(fd, b.p, n, 0) != (ssize_t)n) {
            perror("prefix");
            return 1;
        }
        use_header(path, &r);
        mox_err want = n < 4 ? MOX_E_NOT_GGUF : MOX_E_TRUNCATED;
        if (r.err != want) {
            fprintf(stderr, "G03: %zu bytes of %zu give %s: %s\n", n, b.n, mox_err_name(r.err), r.info.msg);
            failures++;
        }
        n_tried++;
    }
    printf("%zu prefixes, %d wrong\n", n_tried, failures);
    gb_free(&b);
    close(fd);
    return failures > 0;
}

int main(int argc, char **argv)
{
    const char *only = NULL, *moxie = NULL;
    bool direct = false, changing = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--prefixes") == 0) {
            return run_prefixes();
        } else if (strcmp(argv[i], "--direct") == 0) {
            direct = true;
        } else if (strcmp(argv[i], "--changing") == 0) {
            changing = true;
        } else if (i + 1 < argc && strcmp(argv[i], "--only") == 0) {
            only = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--program") == 0) {
            moxie = argv[++i];
        } else {
            fprintf(stderr, "%s: unknown argument %s\n", argv[0], argv[i]);
            return 2;
        }
    }
    if (changing) {
        return run_changing(only);
    }
    char *here = realpath(".", NULL); /* what the program keeps of its models stays in the build */
    if (moxie && here) {
        setenv("XDG_STATE_HOME", here, 1);
    }
    free(here);
    return run_cases(only, moxie, direct);
}
