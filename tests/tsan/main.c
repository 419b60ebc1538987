/* The runner behind tests/tsan/criterion/criterion.h. It counts what it ran and what it skipped, so that a
 * program in which every test was skipped is seen. */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_SKIPPED = 77 };

static tsan_test *tests, *suites;
static const tsan_test *current;

void tsan_add_test(tsan_test *test)
{
    test->next = tests;
    tests = test;
}

void tsan_add_suite(tsan_test *suite)
{
    suite->next = suites;
    suites = suite;
}

void tsan_fail(const char *file, int line, const char *what, const char *fmt, ...)
{
    va_list args;
    fprintf(stderr, "%s::%s: %s:%d: %s: ", current->suite, current->name, file, line, what);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

void tsan_skip(const char *fmt, ...)
{
    va_list args;
    printf("%s::%s: skipped: ", current->suite, current->name);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
    exit(EXIT_SKIPPED);
}

static void inherit(tsan_test *test)
{
    for (const tsan_test *s = suites; s; s = s->next) {
        if (strcmp(s->suite, test->suite) == 0) {
            test->init = test->init ? test->init : s->init;
            test->fini = test->fini ? test->fini : s->fini;
            test->disabled = test->disabled || s->disabled;
        }
    }
}

static int run_here(const tsan_test *test)
{
    current = test;
    if (test->init) {
        test->init();
    }
    test->run();
    if (test->fini) {
        test->fini();
    }
    return 0;
}

/* In a process of its own, as with Criterion; it is forked before there are threads. False: failed. */
static bool passes(const tsan_test *test, int *n_skipped)
{
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        exit(run_here(test));
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("fork");
        return false;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIPPED) {
        ++*n_skipped;
        return true;
    }
    bool expected = test->signal ? WIFSIGNALED(status) && WTERMSIG(status) == test->signal
                                 : WIFEXITED(status) && WEXITSTATUS(status) == test->exit_code;
    if (!expected) {
        printf("%s::%s: FAILED (wait status 0x%x)\n", test->suite, test->name, (unsigned)status);
    }
    return expected;
}

int main(void)
{
    int n_run = 0, n_failed = 0, n_skipped = 0;
    for (tsan_test *t = tests; t; t = t->next) {
        inherit(t);
        if (!t->disabled) {
            n_run++;
            n_failed += !passes(t, &n_skipped);
        }
    }
    printf("%d tests, %d failed, %d skipped\n", n_run, n_failed, n_skipped);
    return n_run > 0 && n_failed == 0 ? 0 : 1;
}
