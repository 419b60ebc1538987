/* The runner behind tests/tsan/criterion/criterion.h. It counts what it ran and what it skipped, so that a
 * program in which every test was skipped is seen. */
#include <criterion/criterion.h>
#include <setjmp.h>
#include <stdarg.h>

static tsan_test *tests, *suites;
static const tsan_test *current;
static jmp_buf skipped;

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
    longjmp(skipped, 1);
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

static bool run(tsan_test *test)
{
    inherit(test);
    if (test->signal || test->exit_code || test->disabled) {
        printf("%s::%s: skipped: needs a process of its own\n", test->suite, test->name);
        return false;
    }
    current = test;
    if (setjmp(skipped) != 0) {
        return false;
    }
    if (test->init) {
        test->init();
    }
    test->run();
    if (test->fini) {
        test->fini();
    }
    return true;
}

int main(void)
{
    int n_run = 0, n_skipped = 0;
    for (tsan_test *t = tests; t; t = t->next) {
        if (run(t)) {
            n_run++;
        } else {
            n_skipped++;
        }
    }
    printf("%d tests passed, %d skipped\n", n_run, n_skipped);
    return n_run + n_skipped > 0 ? 0 : 1;
}
