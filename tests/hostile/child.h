/* What files that mean harm are tried in: a forked child with limits, which opens the model, computes a few tokens and
 * reports how it went through shared memory. The parent sees signals, hangs and memory; nothing that a file does to the
 * child can end the test.
 */
#ifndef MOX_TESTS_HOSTILE_CHILD_H
#define MOX_TESTS_HOSTILE_CHILD_H

#include "runtime/moxie.h"
#include "sanitized.h"

#include <stdbool.h>
#include <sys/types.h>

enum {
    CHILD_CPU_S = 5,
    CHILD_WALL_S = 120, /* for what waits instead of computing; generous: machines are busy */
    CHILD_RSS_KIB = 128 << 10,
    CHILD_TOKENS = 4,
};

typedef struct report { /* filled by the child */
    mox_err err;
    uint32_t n_tokens;
    bool not_finite; /* a logit was handed out that is no number */
    mox_err_info info;
} report;

typedef struct outcome {
    bool exited; /* by itself; its exit status is `code` */
    int code, signal;
    bool late; /* killed after CHILD_WALL_S */
    double cpu_s;
    long rss_kib;
} outcome;

/* child_use: open the model and compute CHILD_TOKENS tokens after a short prompt, twice: step by step, with every
 * logit looked at, and by mox_generate. */
void child_use(const char *path, mox_io_mode io, report *r);
/* child_use_changing: the same, and change(arg, stage) is called in between: when the headers have been read
 * ("header"), when the dense weights have ("dense"), when all is open ("open"). */
typedef void (*child_change)(void *arg, const char *stage);
void child_use_changing(const char *path, mox_io_mode io, child_change change, void *arg, report *r);

/* child_fork: fork; the child gets the limits and returns 0, the parent its pid. */
pid_t child_fork(int cpu_s);
/* child_wait: until it ends, or for CHILD_WALL_S. */
outcome child_wait(pid_t pid);
/* child_try: child_use in a child. r is shared memory. */
outcome child_try(const char *path, report *r, int cpu_s);
report *child_report(void); /* shared memory for one */

#endif
