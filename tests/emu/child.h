/* A function run in a process of its own, with what it said and how it ended: for code that is meant to be stopped. */
#ifndef MOX_TESTS_EMU_CHILD_H
#define MOX_TESTS_EMU_CHILD_H

#include <stddef.h>

typedef struct child_end {
    int exit_code; /* -1: ended by a signal */
    int signal;
    char text[4096]; /* the beginning of its stderr */
} child_end;

/* child_run: fn(arg) is the exit code. */
child_end child_run(int (*fn)(void *arg), void *arg);

#endif
