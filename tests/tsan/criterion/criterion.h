/* The part of Criterion's interface that the tests use, one forked process per test. Only for ThreadSanitizer
 * builds, where Criterion cannot map the memory that it shares with its test processes. A failed check ends
 * the test. */
#ifndef MOX_TESTS_TSAN_CRITERION_H
#define MOX_TESTS_TSAN_CRITERION_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct tsan_test {
    const char *suite, *name;
    void (*run)(void);
    void (*init)(void), (*fini)(void);
    int signal, exit_code;
    double timeout;
    bool disabled;
    const char *description;
    struct tsan_test *next;
} tsan_test;

void tsan_add_test(tsan_test *test);
void tsan_add_suite(tsan_test *suite);
_Noreturn void tsan_fail(const char *file, int line, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
_Noreturn void tsan_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define Test(suite_, name_, ...)                                                                             \
    static void suite_##_##name_##_run(void);                                                                \
    static tsan_test suite_##_##name_##_test = {                                                             \
        .suite = #suite_, .name = #name_, .run = suite_##_##name_##_run, __VA_ARGS__};                       \
    __attribute__((constructor)) static void suite_##_##name_##_add(void)                                    \
    {                                                                                                        \
        tsan_add_test(&suite_##_##name_##_test);                                                             \
    }                                                                                                        \
    static void suite_##_##name_##_run(void)

#define TestSuite(suite_, ...)                                                                               \
    static tsan_test suite_##_suite = {.suite = #suite_, __VA_ARGS__};                                       \
    __attribute__((constructor)) static void suite_##_suite_add(void)                                        \
    {                                                                                                        \
        tsan_add_suite(&suite_##_suite);                                                                     \
    }                                                                                                        \
    struct tsan_test

/* The message's format is a literal in every use; "" joins it, or stands for it. */
#define cr_assert(condition, ...)                                                                            \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            tsan_fail(__FILE__, __LINE__, #condition, "" __VA_ARGS__);                                       \
        }                                                                                                    \
    } while (0)
#define cr_assert_not(condition, ...)      cr_assert(!(condition), __VA_ARGS__)
#define cr_assert_eq(a, b, ...)            cr_assert((a) == (b), __VA_ARGS__)
#define cr_assert_neq(a, b, ...)           cr_assert((a) != (b), __VA_ARGS__)
#define cr_assert_lt(a, b, ...)            cr_assert((a) < (b), __VA_ARGS__)
#define cr_assert_leq(a, b, ...)           cr_assert((a) <= (b), __VA_ARGS__)
#define cr_assert_gt(a, b, ...)            cr_assert((a) > (b), __VA_ARGS__)
#define cr_assert_geq(a, b, ...)           cr_assert((a) >= (b), __VA_ARGS__)
#define cr_assert_null(a, ...)             cr_assert((a) == NULL, __VA_ARGS__)
#define cr_assert_not_null(a, ...)         cr_assert((a) != NULL, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...)        cr_assert(strcmp((a), (b)) == 0, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...)       cr_assert(strcmp((a), (b)) != 0, __VA_ARGS__)
#define cr_assert_str_empty(a, ...)        cr_assert((a)[0] == 0, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, n, ...)     cr_assert(memcmp((a), (b), (n)) == 0, __VA_ARGS__)
#define cr_assert_arr_neq(a, b, n, ...)    cr_assert(memcmp((a), (b), (n)) != 0, __VA_ARGS__)
#define cr_assert_float_eq(a, b, eps, ...) cr_assert(fabs((double)(a) - (double)(b)) <= (eps), __VA_ARGS__)
#define cr_assert_fail(...)                tsan_fail(__FILE__, __LINE__, "failed", "" __VA_ARGS__)
#define cr_fatal(...)                      cr_assert_fail(__VA_ARGS__)
#define cr_fail(...)                       cr_assert_fail(__VA_ARGS__)
#define cr_skip_test(...)                  tsan_skip("" __VA_ARGS__)
#define cr_skip(...)                       tsan_skip("" __VA_ARGS__)
#define cr_log_info(...)                   ((void)printf("" __VA_ARGS__), (void)putchar('\n'))
#define cr_log_warn(...)                   cr_log_info(__VA_ARGS__)
#define cr_log_error(...)                  cr_log_info(__VA_ARGS__)
#define cr_expect                          cr_assert
#define cr_expect_not                      cr_assert_not
#define cr_expect_eq                       cr_assert_eq
#define cr_expect_neq                      cr_assert_neq
#define cr_expect_lt                       cr_assert_lt
#define cr_expect_leq                      cr_assert_leq
#define cr_expect_gt                       cr_assert_gt
#define cr_expect_geq                      cr_assert_geq
#define cr_expect_null                     cr_assert_null
#define cr_expect_not_null                 cr_assert_not_null
#define cr_expect_str_eq                   cr_assert_str_eq
#define cr_expect_arr_eq                   cr_assert_arr_eq
#define cr_expect_float_eq                 cr_assert_float_eq

#endif
