/* The n-th failing call, from outside: runs the real program once per n, lets one allocation or system call fail, and
 * judges what came of it.
 *
 *     nth MOXIE PRELOAD MODEL WORK COMMAND [--points N] [--only CALL] [--stop]
 *
 * For each kind of call the program is first run without a failure, which gives the number of calls; then with the n-th
 * failing, once and for ever after, for the first n and for others spread over the rest. Every run must end by itself
 * with exit code 0 and the very output of the run without failures, or with an error whose code is one of the kind's;
 * what it has written must be whole or not there; nothing it allocated may be left at exit. nth_preload.c is the part
 * inside the program; system calls are decided here, over the kernel's seccomp notifications, which need neither ptrace
 * nor root. Where the system refuses them those kinds are skipped, with a line that says so.
 *
 * With --stop the n-th call does not fail but hangs, as a read of a dead disk does; then SIGINT or SIGTERM must end the
 * program with 130 or 143, wherever it is: while loading, in the prompt, in the answer.
 */
#include "fault/nth.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    LIMIT_S = 20,
    STOP_S = 5 /* a second is meant */,
    MAX_ARGS = 24,
    MAX_NR = 4,
    TRACE_HEADER = 32,
    TRACE_BLOCK = 8, /* tag and bytes, as profiler/trace.h says */
    TRACE_USE = 24
};

/* ---- what is tried ---- */

/* Which calls count, by what the first argument is: any; a file by name, not an eventfd, whose failures do not exist; a
 * file in the working directory. */
typedef enum which { ANY, FILES, OWN_FILES } which;

/* codes: of errors (MX-) that may come of it; none: the program must do without. */
typedef struct kind {
    const char *name;
    int nr[MAX_NR]; /* none: the preload makes it fail, by its name */
    int error;
    which fd;
    const char *codes;
} kind;

static const kind kinds[] = {
    {.name = "malloc", .nr = {-1}, .codes = "4002 1004 6002 6005"},
    {.name = "openat", .nr = {SYS_openat, SYS_open, -1}, .error = EMFILE, .codes = "6002 6005"},
    {.name = "pread", .nr = {SYS_pread64, SYS_preadv, -1}, .error = EIO, .codes = "6001"},
    {.name = "read", .nr = {SYS_read, -1}, .error = EIO, .fd = FILES, .codes = "6001"},
    {.name = "fstat", .nr = {SYS_newfstatat, SYS_fstat, SYS_statx, -1}, .error = EIO, .codes = "6002 6003"},
    {.name = "mmap", .nr = {SYS_mmap, -1}, .error = ENOMEM, .codes = "4002 1004"},
    {.name = "munmap", .nr = {-1}, .codes = ""},
    {.name = "mlock", .nr = {SYS_mlock, SYS_mlock2, -1}, .error = ENOMEM, .codes = ""},
    {.name = "madvise", .nr = {SYS_madvise, -1}, .error = EINVAL, .codes = ""},
    {.name = "clone", .nr = {SYS_clone3, SYS_clone, -1}, .error = EAGAIN, .codes = "1004"},
    {.name = "io_uring_setup", .nr = {SYS_io_uring_setup, -1}, .error = ENOMEM, .codes = ""},
    {.name = "io_uring_register", .nr = {SYS_io_uring_register, -1}, .error = ENOMEM, .codes = ""},
    {.name = "io_uring_enter", .nr = {SYS_io_uring_enter, -1}, .error = EAGAIN, .codes = "6001"},
    {.name = "eventfd", .nr = {SYS_eventfd2, -1}, .error = EMFILE, .codes = ""},
    {.name = "write", .nr = {SYS_write, SYS_pwrite64, -1}, .error = ENOSPC, .fd = OWN_FILES, .codes = "6005"},
    {.name = "ftruncate", .nr = {SYS_ftruncate, -1}, .error = ENOSPC, .codes = "6005"},
    {.name = "fsync", .nr = {SYS_fsync, SYS_fdatasync, -1}, .error = EIO, .codes = "6005"},
    {.name = "rename", .nr = {SYS_rename, SYS_renameat, SYS_renameat2, -1}, .error = EACCES, .codes = "6005"},
    {.name = "close", .nr = {SYS_close, -1}, .error = EIO, .fd = OWN_FILES, .codes = "6005"},
};

/* out: a file it writes, which must be the same bytes as ever; trace: a routing trace. */
typedef struct command {
    const char *name, *out, *trace;
    const char *args[MAX_ARGS]; /* MODEL: the model file */
} command;

#define MODEL "@model"

static const command commands[] = {
    {.name = "info", .args = {"info", MODEL}},
    {.name = "run",
     .trace = "trace",
     .args = {"run", MODEL, "--raw", "-p", "It was a bright", "-n", "4", "--ram-experts", "40%", "--threads",
              "2", "--record", "trace"}},
    {.name = "run_pread",
     .args = {"run", MODEL, "--raw", "-p", "It was a bright", "-n", "4", "--ram-experts", "40%", "--threads",
              "2", "--io", "pread"}},
    {.name = "logits",
     .out = "logits.f32",
     .args = {"logits", MODEL, "--tokens", "../ids.txt", "--out", "logits.f32", "--ram-experts", "40%"}},
    {.name = "pack", .out = "out.gguf", .args = {"pack", MODEL, "out.gguf"}},
};

typedef struct setting {
    const char *moxie, *preload, *model, *work;
    const command *cmd;
    char *ref_out, *ref_file; /* what stdout and the file are without a failure */
    size_t n_ref_out, n_ref_file;
    bool stop;
} setting;

/* One run. */
typedef struct run {
    const kind *k;
    unsigned long n; /* the call that fails; 0: none */
    bool ever;
    int stop; /* the call hangs, and this signal is sent */
    /* out */
    unsigned long calls;
    int status;
    bool hung, refused, ended, hangs, sent;
    char end[NTH_LINE];
} run;

static int failures, runs;

static void complain(const setting *s, const run *r, const char *what, const char *detail)
{
    failures++;
    printf("FAILED %s: %s number %lu%s: %s%s%s\n", s->cmd->name, r->k->name, r->n,
           r->ever ? " and later" : "", what, detail ? ": " : "", detail ? detail : "");
    char line[300];
    FILE *f = fopen("err", "r");
    for (int i = 0; f && i < 12 && fgets(line, sizeof line, f); i++) {
        printf("  stderr: %s", line);
    }
    if (f) {
        fclose(f);
    }
    fflush(stdout);
}

/* ---- one run ---- */

static void start(const setting *s, const run *r, int sock)
{
    char text[64], calls[64] = "";
    const char *argv[MAX_ARGS + 2] = {s->moxie};
    for (int i = 0; s->cmd->args[i]; i++) {
        argv[i + 1] = strcmp(s->cmd->args[i], MODEL) == 0 ? s->model : s->cmd->args[i];
    }
    int out = open("out", O_CREAT | O_TRUNC | O_WRONLY, 0666),
        err = open("err", O_CREAT | O_TRUNC | O_WRONLY, 0666);
    int in = open("/dev/null", O_RDONLY);
    if (out < 0 || err < 0 || in < 0 || chdir("case") != 0) {
        _exit(99);
    }
    dup2(in, 0);
    dup2(out, 1);
    dup2(err, 2);
    dup2(sock, 3);
    closefrom(4);
    setenv("NTH_SOCKET", "3", 1);
    setenv("LD_PRELOAD", s->preload, 1);
    for (int i = 0; r->k->nr[i] >= 0; i++) {
        snprintf(calls + strlen(calls), sizeof calls - strlen(calls), "%d ", r->k->nr[i]);
    }
    if (calls[0]) {
        setenv("NTH_CALLS", calls, 1);
    } else {
        snprintf(text, sizeof text, "%lu", r->n);
        setenv("NTH_INSIDE", r->k->name, 1);
        setenv("NTH_N", text, 1);
        if (r->ever) {
            setenv("NTH_EVER", "1", 1);
        }
    }
    execv(s->moxie, (char *const *)argv);
    _exit(99);
}

/* A message of the preload: the listener's descriptor, or -1. */
static int receive(run *r, int sock)
{
    char room[CMSG_SPACE(sizeof(int))];
    struct iovec iov = {r->end, sizeof r->end - 1};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    char first = 0;
    ssize_t n = recvmsg(sock, &msg, MSG_DONTWAIT);
    if (n > 0) {
        r->end[n] = '\0';
        first = r->end[0];
    }
    r->refused = r->refused || first == NTH_REFUSED;
    r->ended = r->ended || first == NTH_END;
    int fd = -1;
    if (first == NTH_FD) {
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof fd);
    }
    return fd;
}

static bool counts(const setting *s, const run *r, const struct seccomp_notif *q)
{
    if (r->k->fd == ANY) {
        return true;
    }
    char link[64], path[4096] = "";
    snprintf(link, sizeof link, "/proc/%u/fd/%d", q->pid, (int)q->data.args[0]);
    ssize_t n = readlink(link, path, sizeof path - 1);
    size_t work = strlen(s->work);
    if (r->k->fd == FILES) {
        return n > 0 && path[0] == '/';
    }
    return n > 0 && strncmp(path, s->work, work) == 0 && strncmp(path + work, "/case/", 6) == 0;
}

static void decide(const setting *s, run *r, int listener)
{
    struct seccomp_notif q;
    struct seccomp_notif_resp a;
    memset(&q, 0, sizeof q);
    memset(&a, 0, sizeof a);
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &q) != 0) {
        return;
    }
    a.id = q.id;
    a.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    if (counts(s, r, &q)) {
        r->calls++;
        bool chosen = r->n && (r->calls == r->n || (r->ever && r->calls > r->n));
        if (chosen && r->stop) {
            r->hangs = true;
            return;
        }
        if (chosen) {
            a.flags = 0;
            a.error = -r->k->error;
        }
    }
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &a);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void watch(const setting *s, run *r, pid_t pid, int sock)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), listener = -1;
    double waited = 0.0, last = seconds();
    for (bool gone = false; !gone;) {
        struct pollfd p[3] = {{pidfd, POLLIN, 0}, {sock, POLLIN, 0}, {listener, POLLIN, 0}};
        poll(p, 3, r->hangs && !r->sent ? 300 : 1000);
        if (p[2].revents & POLLIN) {
            decide(s, r, listener);
        }
        if (p[1].revents & POLLIN) {
            int fd = receive(r, sock);
            listener = fd >= 0 ? fd : listener;
        }
        gone = p[0].revents && !(p[1].revents & POLLIN);
        /* a pause of this very process (a debugger, a stopped session) is not the program's */
        double now = seconds();
        waited += now - last < 2.0 ? now - last : 2.0;
        last = now;
        if (r->hangs && !r->sent && !p[0].revents && !p[1].revents &&
            !p[2].revents) { /* nothing moves any more */
            r->sent = true;
            waited = 0.0;
            kill(pid, r->stop);
        }
        if (!gone && waited > (r->sent ? STOP_S : LIMIT_S)) {
            r->hung = gone = true;
            kill(pid, SIGKILL);
        }
    }
    waitpid(pid, &r->status, 0);
    close(pidfd);
    if (listener >= 0) {
        close(listener);
    }
}

static void remove_case(void)
{
    DIR *d = opendir("case");
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[300];
        snprintf(path, sizeof path, "case/%s", e->d_name);
        unlink(path);
    }
    if (d) {
        closedir(d);
    }
}

static void perform(const setting *s, run *r)
{
    int sock[2];
    remove_case();
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sock) != 0) {
        perror("socketpair");
        exit(1);
    }
    pid_t pid = fork();
    if (pid == 0) {
        start(s, r, sock[1]);
    }
    close(sock[1]);
    watch(s, r, pid, sock[0]);
    close(sock[0]);
    if (r->k->nr[0] < 0 && r->ended) {
        r->calls = strtoul(r->end + 1, NULL, 10);
    }
    runs++;
}

/* ---- judging ---- */

static char *slurp(const char *path, size_t *n)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    *n = 0;
    if (fd < 0 || fstat(fd, &st) != 0) {
        return NULL;
    }
    char *text = malloc((size_t)st.st_size + 1);
    ssize_t got = text ? read(fd, text, (size_t)st.st_size) : -1;
    close(fd);
    *n = got > 0 ? (size_t)got : 0;
    if (text) {
        text[*n] = '\0';
    }
    return text;
}

static bool equal(const char *path, const char *want, size_t n_want)
{
    size_t n;
    char *have = slurp(path, &n);
    bool same = have && n == n_want && memcmp(have, want, n) == 0;
    free(have);
    return same;
}

/* Does a trace end with a block, and each block of uses with a record? *done: the run ended in order. */
static bool whole_trace(const char *path, bool *done)
{
    size_t n, at = TRACE_HEADER;
    char *trace = slurp(path, &n);
    bool whole = trace && n >= TRACE_HEADER;
    *done = false;
    while (whole && at < n) {
        uint32_t bytes = 0;
        whole = n - at >= TRACE_BLOCK;
        if (whole) {
            memcpy(&bytes, trace + at + 4, sizeof bytes);
            whole = bytes <= n - at - TRACE_BLOCK;
        }
        if (whole) {
            whole = memcmp(trace + at, "USES", 4) != 0 || bytes % TRACE_USE == 0;
            *done = memcmp(trace + at, "DONE", 4) == 0;
            at += TRACE_BLOCK + bytes;
        }
    }
    free(trace);
    return whole;
}

/* What is in the working directory: whole, or not there. */
static void check_files(const setting *s, const run *r, bool ok)
{
    bool out = false, trace = false;
    DIR *d = opendir("case");
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[300];
        bool done;
        snprintf(path, sizeof path, "case/%s", e->d_name);
        if (e->d_name[0] == '.' && (!e->d_name[1] || e->d_name[1] == '.')) {
            continue;
        }
        if (s->cmd->out && strcmp(e->d_name, s->cmd->out) == 0) {
            out = true;
            if (!equal(path, s->ref_file, s->n_ref_file)) {
                complain(s, r, "half a file is left", e->d_name);
            }
        } else if (s->cmd->trace && strcmp(e->d_name, s->cmd->trace) == 0) {
            trace = true;
            if (!whole_trace(path, &done) || (ok && !done)) {
                complain(s, r, done ? "the trace is cut within a block" : "the trace does not end in order",
                         NULL);
            }
        } else {
            complain(s, r, "a file is left", e->d_name);
        }
    }
    if (d) {
        closedir(d);
    }
    if (ok && ((s->cmd->out && !out) || (s->cmd->trace && !trace))) {
        complain(s, r, "exit code 0 and no file", NULL);
    }
}

/* "error: ... [MX-nnnn]" with a code of the kind's. */
static void check_error(const setting *s, const run *r)
{
    size_t n;
    char *text = slurp("err", &n), code[8] = "";
    const char *at = text ? strstr(text, "error: ") : NULL;
    at = at ? strstr(at, "[MX-") : NULL;
    if (!at) {
        complain(s, r, "no error was said", NULL);
    } else {
        snprintf(code, sizeof code, "%.4s", at + 4);
        if (!strstr(r->k->codes, code)) {
            complain(s, r, "another error than expected", code);
        }
    }
    free(text);
}

static void judge(const setting *s, const run *r)
{
    if (r->hung) {
        complain(s, r, "did not end", NULL);
        return;
    }
    if (WIFSIGNALED(r->status)) {
        complain(s, r, "killed by a signal", strsignal(WTERMSIG(r->status)));
        return;
    }
    if (r->sent) { /* what hangs may be a read that nobody waits for: then it ends as ever */
        if (WEXITSTATUS(r->status) != (r->stop == SIGINT ? 130 : 143)) {
            complain(s, r, "another exit code for a signal", NULL);
        }
        check_files(s, r, false);
        return;
    }
    bool ok = WEXITSTATUS(r->status) == 0;
    if (ok && !equal("out", s->ref_out, s->n_ref_out)) {
        complain(s, r, "exit code 0 and another output", NULL);
    }
    if (!ok) {
        check_error(s, r);
    }
    check_files(s, r, ok);
    const char *left = r->ended ? strchr(r->end, ' ') : NULL;
    if (left) {
        complain(s, r, "not given back", left + 1);
    }
}

/* ---- all of it ---- */

static bool try_one(const setting *s, const kind *k, unsigned long n, bool second, unsigned long *calls)
{
    run r = {.k = k, .n = n, .ever = second && !s->stop};
    r.stop = !s->stop ? 0 : second ? SIGTERM : SIGINT;
    perform(s, &r);
    if (r.refused) {
        printf("SKIPPED %s: the system takes no seccomp filter with a listener\n", k->name);
        return false;
    }
    judge(s, &r);
    *calls = r.calls;
    return true;
}

/* Of `calls` numbers about `points`: half of them from 1 on, the others with growing steps to the last. */
static void try_kind(const setting *s, const kind *k, unsigned long points)
{
    unsigned long calls = 0, done = 0;
    int before = failures;
    if (!try_one(s, k, 0, false, &calls)) {
        return;
    }
    double grow = 1.0, at = 1.0;
    if (calls > points) {
        for (grow = 1.001; grow < 4.0; grow *= 1.01) {
            double x = (double)points / 2;
            unsigned long n = points / 2;
            for (; x < (double)calls && n < 100000; n++) {
                x = x * grow > x + 1 ? x * grow : x + 1;
            }
            if (n <= points) {
                break;
            }
        }
    }
    for (; at <= (double)calls; done++) {
        unsigned long ignored;
        for (int second = 0; second < 2; second++) {
            try_one(s, k, (unsigned long)at, second != 0, &ignored);
        }
        at = at < (double)points / 2 || at * grow < at + 1 ? at + 1 : at * grow;
    }
    printf("%-10s %-18s %6lu calls, %4lu tried, %d failed\n", s->cmd->name, k->name, calls, done,
           failures - before);
    fflush(stdout);
}

static void take_reference(setting *s)
{
    static const kind nothing = {.name = "nothing", .nr = {-1}, .codes = ""};
    run r = {.k = &nothing};
    perform(s, &r);
    if (r.hung || r.status != 0) {
        complain(s, &r, "the command fails without any failure", NULL);
        exit(1);
    }
    s->ref_out = slurp("out", &s->n_ref_out);
    if (s->cmd->out) {
        char path[300];
        snprintf(path, sizeof path, "case/%s", s->cmd->out);
        s->ref_file = slurp(path, &s->n_ref_file);
    }
}

static void settle_in(const setting *s)
{
    mkdir(s->work, 0777);
    if (chdir(s->work) != 0 || (mkdir("case", 0777) != 0 && errno != EEXIST)) {
        perror(s->work);
        exit(1);
    }
    FILE *f = fopen("ids.txt", "w");
    if (f) {
        fputs("1 20 300 45 6\n", f);
        fclose(f);
    }
    setenv("HOME", s->work, 1);
    setenv("XDG_CONFIG_HOME", s->work, 1);
    setenv("XDG_STATE_HOME", s->work, 1);
}

int main(int argc, char **argv)
{
    setting s = {0};
    unsigned long points = 8;
    const char *only = NULL;
    if (argc < 6) {
        fprintf(stderr, "nth MOXIE PRELOAD MODEL WORK COMMAND [--points N] [--only CALL] [--stop]\n");
        return 2;
    }
    s.moxie = argv[1];
    s.preload = argv[2];
    s.model = argv[3];
    s.work = argv[4];
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        s.cmd = strcmp(commands[i].name, argv[5]) == 0 ? &commands[i] : s.cmd;
    }
    for (int i = 6; i < argc; i += 2) {
        if (strcmp(argv[i], "--stop") == 0) {
            s.stop = true;
            i--;
        } else if (i + 1 == argc) {
            break;
        } else if (strcmp(argv[i], "--points") == 0) {
            points = strtoul(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--only") == 0) {
            only = argv[i + 1];
        }
    }
    if (!s.cmd || points < 2) {
        fprintf(stderr, "nth: no such command, or fewer than 2 points\n");
        return 2;
    }
    settle_in(&s);
    take_reference(&s);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!only || strcmp(only, kinds[i].name) == 0) {
            try_kind(&s, &kinds[i], points);
        }
    }
    remove_case();
    printf("%d runs, %d failed\n", runs, failures);
    free(s.ref_out);
    free(s.ref_file);
    return failures != 0;
}
