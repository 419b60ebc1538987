/* Errors: stable numbers, exit codes, the thread-local record, and how it is handed upward. */
#include "runtime/core/err.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

static mox_err leaf(int number)
{
    return MOX_FAIL(MOX_E_LIMIT, "experts: %d is beyond %s", number, "the limit");
}

static mox_err caller(int number)
{
    MOX_TRY(leaf(number));
    return MOX_OK;
}

static mox_err cleaner(int *cleaned)
{
    mox_err err;
    MOX_TRY_GOTO(err, leaf(3), out);
    *cleaned = -1;
out:
    *cleaned += 1;
    return err;
}

Test(err, codes_are_negative_numbers_with_a_name_text_and_exit_code)
{
    cr_assert_eq(MOX_OK, 0);
    cr_assert_eq((int)MOX_E_NO_FIT, -4001);
    cr_assert_str_eq(mox_err_name(MOX_E_NO_FIT), "NO_FIT");
    cr_assert_str_eq(mox_err_text(MOX_E_NOT_GGUF), "the file is not GGUF");
    cr_assert_eq(mox_err_exit_code(MOX_OK), 0);
    cr_assert_eq(mox_err_exit_code(MOX_E_CANCELLED), 130);
    cr_assert_eq(mox_err_exit_code(MOX_E_IO), 6);
    cr_assert_str_eq(mox_err_name((mox_err)-7), "UNKNOWN");
    cr_assert_eq(mox_err_exit_code((mox_err)-7), 1);
}

Test(err, numbers_are_unique)
{
    const int numbers[] = {
#define X(name, number, exit_code, text) number,
        MOX_ERRORS(X)
#undef X
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        for (size_t k = i + 1; k < sizeof numbers / sizeof numbers[0]; k++) {
            cr_assert_neq(numbers[i], numbers[k]);
        }
    }
}

Test(err, the_leaf_fills_the_record_and_callers_pass_the_code)
{
    cr_assert_eq(caller(4097), MOX_E_LIMIT);
    const mox_err_info *info = mox_err_last();
    cr_assert_eq(info->code, MOX_E_LIMIT);
    cr_assert_eq(info->sys, 0);
    cr_assert_str_eq(info->msg, "experts: 4097 is beyond the limit");
    cr_assert_str_eq(info->fix, "");
    cr_assert(strstr(info->file, "err_test.c") != NULL);
    cr_assert_gt(info->line, 0);
}

Test(err, try_goto_runs_the_cleanup_with_the_code)
{
    int cleaned = 0;
    cr_assert_eq(cleaner(&cleaned), MOX_E_LIMIT);
    cr_assert_eq(cleaned, 1);
}

Test(err, fix_belongs_to_one_failure)
{
    (void)MOX_FAIL_SYS(MOX_E_OPEN, 2, "no such file");
    cr_assert_eq(mox_err_fix("try %s", "another"), MOX_E_OPEN);
    cr_assert_str_eq(mox_err_last()->fix, "try another");
    cr_assert_eq(mox_err_last()->sys, 2);
    (void)MOX_FAIL(MOX_E_ARG, "second");
    cr_assert_str_eq(mox_err_last()->fix, "");
    cr_assert_eq(mox_err_last()->sys, 0);
}

Test(err, a_record_may_be_quoted_in_its_successor)
{
    (void)MOX_FAIL(MOX_E_TENSOR, "shape differs");
    (void)MOX_FAIL(MOX_E_TENSOR, "blk.3: %s", mox_err_last()->msg);
    cr_assert_str_eq(mox_err_last()->msg, "blk.3: shape differs");
    (void)mox_err_fix("first");
    (void)mox_err_fix("%s, then second", mox_err_last()->fix);
    cr_assert_str_eq(mox_err_last()->fix, "first, then second");
}

Test(err, long_messages_are_cut_not_overrun)
{
    char long_text[2000];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    (void)MOX_FAIL(MOX_E_ARG, "%s", long_text);
    (void)mox_err_fix("%s", long_text);
    cr_assert_eq(strlen(mox_err_last()->msg), sizeof mox_err_last()->msg - 1);
    cr_assert_eq(strlen(mox_err_last()->fix), sizeof mox_err_last()->fix - 1);
}

static void *fail_elsewhere(void *arg)
{
    mox_err_info *out = arg;
    (void)MOX_FAIL(MOX_E_IO, "in the other thread");
    *out = *mox_err_last();
    return NULL;
}

Test(err, records_are_per_thread_and_can_be_carried_over)
{
    (void)MOX_FAIL(MOX_E_ARG, "mine");
    mox_err_info theirs;
    pthread_t id;
    cr_assert_eq(pthread_create(&id, NULL, fail_elsewhere, &theirs), 0);
    pthread_join(id, NULL);
    cr_assert_str_eq(mox_err_last()->msg, "mine");
    cr_assert_eq(mox_err_restore(&theirs), MOX_E_IO);
    cr_assert_str_eq(mox_err_last()->msg, "in the other thread");
    cr_assert_eq(mox_err_restore(mox_err_last()), MOX_E_IO);
}
