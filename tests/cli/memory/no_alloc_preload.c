/* From "ready" to the last token nothing is allocated: the witness, a library for LD_PRELOAD.
 *
 * It watches what the program writes to stderr. At "moxie: ready" it arms: from then on every call of the
 * malloc family in any thread, libraries included, is counted, and a seccomp filter on all threads makes the
 * kernel refuse mmap, mremap, brk, open and clone in all their forms (liburing and libc's own internals make
 * such calls without passing through a symbol that could be replaced); one such call ends the process with
 * its number named. At the summary ("tok/s") it prints what it counted and goes back to sleep.
 *
 * Two words of file-scope state are its purpose. It calls glibc's __libc_ entry points because dlsym
 * allocates.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t m);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t align, size_t n);
extern void __libc_free(void *p);

static atomic_bool armed;
static atomic_uint calls;

static void count(void)
{
    if (atomic_load(&armed)) {
        atomic_fetch_add(&calls, 1);
    }
}

PUBLIC void *malloc(size_t n)
{
    count();
    return __libc_malloc(n);
}

PUBLIC void *calloc(size_t n, size_t m)
{
    count();
    return __libc_calloc(n, m);
}

PUBLIC void *realloc(void *p, size_t n)
{
    count();
    return __libc_realloc(p, n);
}

PUBLIC void free(void *p)
{
    if (p != NULL) {
        count();
    }
    __libc_free(p);
}

PUBLIC void *memalign(size_t align, size_t n)
{
    count();
    return __libc_memalign(align, n);
}

PUBLIC void *aligned_alloc(size_t align, size_t n)
{
    count();
    return __libc_memalign(align, n);
}

PUBLIC int posix_memalign(void **out, size_t align, size_t n)
{
    count();
    void *p = __libc_memalign(align, n);
    if (p == NULL) {
        return ENOMEM;
    }
    *out = p;
    return 0;
}

static void say(const char *text, size_t n)
{
    (void)!syscall(SYS_write, STDERR_FILENO, text, n);
}

static void on_refused(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    char text[64];
    int n = snprintf(text, sizeof text, "no_alloc: system call %d after ready\n", info->si_syscall);
    say(text, (size_t)n);
    _exit(9);
}

static int refuse_calls(void)
{
    static const unsigned refused[] = {
        SYS_mmap,  SYS_mremap, SYS_brk,    SYS_open, SYS_openat, SYS_openat2,
        SYS_creat, SYS_clone,  SYS_clone3, SYS_fork, SYS_vfork,
    };
    enum { N = sizeof refused / sizeof refused[0] };
    struct sock_filter code[N + 3];
    code[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; i < N; i++) {
        code[1 + i] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refused[i], (unsigned char)(N - i), 0);
    }
    code[N + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[N + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
    struct sock_fprog program = {.len = N + 3, .filter = code};
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = on_refused;
    sa.sa_flags = SA_SIGINFO;
    sigaction(SIGSYS, &sa, NULL);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return -1;
    }
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
}

/* The filter cannot be taken off again: after the summary, when memory is given back, free must not call brk.
 */
__attribute__((constructor)) static void keep_heap(void)
{
    mallopt(M_TRIM_THRESHOLD, -1);
}

static int has(const char *text, size_t n, const char *word)
{
    return memmem(text, n, word, strlen(word)) != NULL;
}

PUBLIC ssize_t write(int fd, const void *data, size_t n)
{
    char text[96];
    if (fd == STDERR_FILENO && !atomic_load(&armed) && has(data, n, "moxie: ready")) {
        int refused = refuse_calls();
        int m = snprintf(text, sizeof text, "no_alloc: armed, filter %s\n", refused == 0 ? "on" : "missing");
        say(text, (size_t)m);
        atomic_store(&armed, 1);
    } else if (fd == STDERR_FILENO && atomic_load(&armed) && has(data, n, "tok/s")) {
        atomic_store(&armed, 0);
        int m =
            snprintf(text, sizeof text, "no_alloc: %u allocator calls after ready\n", atomic_load(&calls));
        say(text, (size_t)m);
    }
    return syscall(SYS_write, fd, data, n);
}
