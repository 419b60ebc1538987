/* The n-th failing call, from inside the program: a library for LD_PRELOAD, told by nth.c what to do.
 *
 * NTH_SOCKET is a socket to nth.c. With NTH_INSIDE=malloc and NTH_N=n the n-th allocation (NTH_EVER=1: and every later one)
 * returns NULL; NTH_INSIDE=munmap is the same for the program's own calls of it (where libc itself cannot unmap a thread's stack it aborts);
 * every allocation that the program itself makes, and every file it opens through stdio, is kept in a ledger until it
 * is given back. With NTH_CALLS="nr nr ..." a seccomp filter hands these system calls of all threads to nth.c, which
 * decides about each; the filter is installed here, when libraries are loaded and main has not begun, so that the
 * loader's own calls do not count. At exit one line goes to the socket: how many allocations there were, and what the
 * ledger still holds.
 *
 * Allocations that libc makes for itself (stdio's buffers, thread blocks that it keeps for later) are counted and made
 * to fail, but not held against the program: the ledger looks at who called. State at file scope is its purpose; it
 * calls glibc's __libc_ entry points because dlsym allocates.
 */
#include "fault/nth.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t m);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t align, size_t n);
extern void __libc_free(void *p);
int hwloc_topology_init(void **topology);
int hwloc_topology_load(void *topology);

enum { LEDGER = 1 << 17, MAX_CALLS = 16 };

typedef struct entry {
    void *p;
    const void *caller;
    size_t bytes;
} entry;

static entry ledger[LEDGER];
static atomic_flag ledger_lock = ATOMIC_FLAG_INIT;
static atomic_ulong count;
static unsigned long fail_at;
static bool fail_ever, fail_alloc, fail_munmap, counting;
static atomic_bool in_hwloc;
static int to_nth = -1;
static uintptr_t libc_begin, libc_end, loader_begin, loader_end, hwloc_begin, hwloc_end;

static void lock(void)
{
    while (atomic_flag_test_and_set_explicit(&ledger_lock, memory_order_acquire)) {
    }
}

static void unlock(void)
{
    atomic_flag_clear_explicit(&ledger_lock, memory_order_release);
}

static size_t place_of(const void *p)
{
    return (size_t)(((uintptr_t)p >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 47) % LEDGER;
}

static bool of_libc(const void *caller)
{
    uintptr_t at = (uintptr_t)caller;
    return (at >= libc_begin && at < libc_end) || (at >= loader_begin && at < loader_end);
}

static void note(void *p, const void *caller, size_t bytes)
{
    if (!p || !counting || of_libc(caller)) {
        return;
    }
    lock();
    size_t i = place_of(p);
    while (ledger[i].p) {
        i = (i + 1) % LEDGER;
    }
    ledger[i] = (entry){p, caller, bytes};
    unlock();
}

/* Open addressing without tombstones: entries behind the hole move up where they may. */
static void forget(const void *p)
{
    if (!p) {
        return;
    }
    lock();
    size_t i = place_of(p);
    while (ledger[i].p && ledger[i].p != p) {
        i = (i + 1) % LEDGER;
    }
    if (ledger[i].p) {
        for (size_t k = (i + 1) % LEDGER; ledger[k].p; k = (k + 1) % LEDGER) {
            size_t home = place_of(ledger[k].p);
            if ((k > i && (home <= i || home > k)) || (k < i && home <= i && home > k)) {
                ledger[i] = ledger[k];
                i = k;
            }
        }
        ledger[i].p = NULL;
    }
    unlock();
}

static bool nth(void)
{
    unsigned long n = atomic_fetch_add(&count, 1) + 1;
    if (fail_at && (n == fail_at || (fail_ever && n > fail_at))) {
        errno = ENOMEM;
        return true;
    }
    return false;
}

static bool fails(const void *caller)
{
    uintptr_t at = (uintptr_t)caller;
    bool hwloc = atomic_load(&in_hwloc) || (at >= hwloc_begin && at < hwloc_end);
    return counting && fail_alloc && !hwloc && nth();
}

PUBLIC void *malloc(size_t n)
{
    void *p = fails(__builtin_return_address(0)) ? NULL : __libc_malloc(n);
    note(p, __builtin_return_address(0), n);
    return p;
}

PUBLIC void *calloc(size_t n, size_t m)
{
    void *p = fails(__builtin_return_address(0)) ? NULL : __libc_calloc(n, m);
    note(p, __builtin_return_address(0), n * m);
    return p;
}

PUBLIC void *realloc(void *old, size_t n)
{
    if (fails(__builtin_return_address(0))) {
        return NULL;
    }
    forget(old); /* before: another thread may be given the old address at once */
    void *p = __libc_realloc(old, n);
    note(p ? p : n ? old : NULL, __builtin_return_address(0), n);
    return p;
}

PUBLIC void *memalign(size_t align, size_t n)
{
    void *p = fails(__builtin_return_address(0)) ? NULL : __libc_memalign(align, n);
    note(p, __builtin_return_address(0), n);
    return p;
}

PUBLIC void *aligned_alloc(size_t align, size_t n)
{
    void *p = fails(__builtin_return_address(0)) ? NULL : __libc_memalign(align, n);
    note(p, __builtin_return_address(0), n);
    return p;
}

PUBLIC int posix_memalign(void **out, size_t align, size_t n)
{
    void *p = fails(__builtin_return_address(0)) ? NULL : __libc_memalign(align, n);
    if (!p) {
        return ENOMEM;
    }
    note(p, __builtin_return_address(0), n);
    *out = p;
    return 0;
}

PUBLIC char *strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = fails(__builtin_return_address(0)) ? NULL : __libc_malloc(n);
    note(p, __builtin_return_address(0), n);
    return p ? memcpy(p, s, n) : NULL;
}

PUBLIC char *strndup(const char *s, size_t max)
{
    size_t n = strnlen(s, max);
    char *p = fails(__builtin_return_address(0)) ? NULL : __libc_malloc(n + 1);
    note(p, __builtin_return_address(0), n + 1);
    if (p) {
        memcpy(p, s, n);
        p[n] = '\0';
    }
    return p;
}

PUBLIC void free(void *p)
{
    forget(p);
    __libc_free(p);
}

/* A FILE is libc's, but closing it is the program's duty. */
PUBLIC FILE *fopen(const char *path, const char *mode)
{
    static FILE *(*next)(const char *, const char *);
    if (!next) {
        next = (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, "fopen");
    }
    FILE *f = next(path, mode);
    note(f, __builtin_return_address(0), 1);
    return f;
}

PUBLIC int fclose(FILE *f)
{
    static int (*next)(FILE *);
    if (!next) {
        next = (int (*)(FILE *))dlsym(RTLD_NEXT, "fclose");
    }
    forget(f);
    return next(f);
}

PUBLIC int munmap(void *p, size_t n)
{
    if (counting && fail_munmap && !of_libc(__builtin_return_address(0)) && nth()) {
        return -1;
    }
    return (int)syscall(SYS_munmap, p, n);
}

/* hwloc does not survive a refused allocation; the program first sees whether there is memory. So its own do not count,
 * nor what libc takes for it while it looks at the machine (before any other thread is there). */
PUBLIC int hwloc_topology_init(void **topology)
{
    int (*next)(void **) = (int (*)(void **))dlsym(RTLD_NEXT, "hwloc_topology_init");
    atomic_store(&in_hwloc, true);
    int rc = next(topology);
    atomic_store(&in_hwloc, false);
    return rc;
}

PUBLIC int hwloc_topology_load(void *topology)
{
    int (*next)(void *) = (int (*)(void *))dlsym(RTLD_NEXT, "hwloc_topology_load");
    atomic_store(&in_hwloc, true);
    int rc = next(topology);
    atomic_store(&in_hwloc, false);
    return rc;
}

/* ---- system calls ---- */

static void send_fd(int fd)
{
    char byte = NTH_FD, room[CMSG_SPACE(sizeof fd)] = {0};
    struct iovec iov = {&byte, 1};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    (void)!sendmsg(to_nth, &msg, 0);
}

static void hand_over(const char *list)
{
    struct sock_filter code[MAX_CALLS + 3];
    unsigned n = 0;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    unsigned nr[MAX_CALLS], n_calls = 0;
    for (char *end; n_calls < MAX_CALLS; list = end) {
        unsigned long v = strtoul(list, &end, 10);
        if (end == list) {
            break;
        }
        nr[n_calls++] = (unsigned)v;
    }
    for (unsigned i = 0; i < n_calls; i++) {
        code[n++] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr[i], (unsigned char)(n_calls - i), 0);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    struct sock_fprog program = {.len = (unsigned short)n, .filter = code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    int fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    if (fd < 0) {
        char no = NTH_REFUSED;
        (void)!send(to_nth, &no, 1, 0);
        return;
    }
    send_fd(fd);
    close(fd);
}

/* The span of mappings of a library, from the addresses of one of its symbols. */
static void span(const char *name, uintptr_t *begin, uintptr_t *end)
{
    FILE *f = fopen("/proc/self/maps", "re");
    char line[512];
    while (f && fgets(line, sizeof line, f)) {
        unsigned long a, b;
        if (strstr(line, name) && sscanf(line, "%lx-%lx", &a, &b) == 2) {
            *begin = *begin ? *begin : a;
            *end = b;
        }
    }
    if (f) {
        fclose(f);
    }
}

__attribute__((constructor)) static void begin(void)
{
    const char *fd = getenv("NTH_SOCKET"), *n = getenv("NTH_N"), *ever = getenv("NTH_EVER");
    const char *calls = getenv("NTH_CALLS"), *inside = getenv("NTH_INSIDE");
    if (!fd) {
        return;
    }
    to_nth = atoi(fd);
    span("/libc.so", &libc_begin, &libc_end);
    span("/ld-linux", &loader_begin, &loader_end);
    span("/libhwloc.so", &hwloc_begin, &hwloc_end);
    fail_at = n ? strtoul(n, NULL, 10) : 0;
    fail_ever = ever != NULL;
    fail_alloc = inside && strcmp(inside, "malloc") == 0;
    fail_munmap = inside && strcmp(inside, "munmap") == 0;
    unsetenv("LD_PRELOAD"); /* a program that this one starts is not meant */
    if (calls) {
        hand_over(calls);
    }
    counting = true;
}

__attribute__((destructor)) static void end(void)
{
    if (to_nth < 0) {
        return;
    }
    counting = false;
    char line[NTH_LINE];
    int at = snprintf(line, sizeof line, "%c%lu", NTH_END, atomic_load(&count));
    for (size_t i = 0; i < LEDGER && at < NTH_LINE - 200; i++) {
        if (ledger[i].p) {
            Dl_info d = {0};
            dladdr(ledger[i].caller, &d);
            const char *file = d.dli_fname ? strrchr(d.dli_fname, '/') : NULL;
            at += snprintf(line + at, sizeof line - (size_t)at, " %zu:%.60s+%#lx", ledger[i].bytes,
                           file ? file + 1 : "?",
                           (unsigned long)((uintptr_t)ledger[i].caller - (uintptr_t)d.dli_fbase));
        }
    }
    (void)!send(to_nth, line, (size_t)at, 0);
}
