/* `--gpu` over three GPUs that a table of the test's own lists. */
#include "runtime/dev/pick.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const char *const uuids[] = {"GPU-5e1f0c2b-0001-0000-0000-00000000000a",
                                    "GPU-5e1f0c2c-0001-0000-0000-00000000000b",
                                    "GPU-77777777-0001-0000-0000-00000000000c"};

static mox_err count(uint32_t *n)
{
    *n = 3;
    return MOX_OK;
}

static mox_err info(uint32_t i, mox_dev_info *out)
{
    *out = (mox_dev_info){.name = "played"};
    snprintf(out->uuid, sizeof out->uuid, "%s", uuids[i]);
    return MOX_OK;
}

static mox_err no_count(uint32_t *n)
{
    (void)n;
    return MOX_FAIL(MOX_E_DEVICE, "the driver is gone");
}

static const mox_dev_module three = {.name = "three", .count = count, .info = info};

Test(dev_pick, ids_and_uuids_in_the_order_of_the_text)
{
    static const struct {
        const char *text;
        uint32_t n, id[3];
    } good[] = {
        {"0", 1, {0}},
        {"2,0", 2, {2, 0}},
        {"1,2,0", 3, {1, 2, 0}},
        {"GPU-77777777-0001-0000-0000-00000000000c", 1, {2}},
        {"gpu-7", 1, {2}}, /* as much as only one has */
        {"GPU-5E1F0C2C,0", 2, {1, 0}},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint32_t id[3] = {9, 9, 9}, n = 0;
        cr_assert_eq(mox_dev_pick(&three, good[i].text, id, 3, &n), MOX_OK, "%s: %s", good[i].text,
                     mox_err_last()->msg);
        cr_assert_eq(n, good[i].n, "%s", good[i].text);
        cr_assert_arr_eq(id, good[i].id, n * sizeof *id, "%s", good[i].text);
    }
}

Test(dev_pick, what_is_not_there_is_refused_with_what_is)
{
    static const struct {
        const char *text;
        mox_err err;
        const char *says;
    } bad[] = {
        {"3", MOX_E_DEVICE, "--gpu 3: no GPU has this id; there are 0 (GPU-5e1f0c2b-"},
        {"0,99999999999999999999", MOX_E_DEVICE, "no GPU has this id"},
        {"GPU-9", MOX_E_DEVICE, "no GPU has this UUID; there are 0 (GPU-5e1f0c2b-"},
        {"GPU-5e1f", MOX_E_DEVICE, "more than one is called so"},
        {"GPU-77777777-0001-0000-0000-00000000000cc", MOX_E_DEVICE, "no GPU has this UUID"},
        {"", MOX_E_OPTION, "'' is neither"},
        {"0,", MOX_E_OPTION, "'' is neither"},
        {"GPU-", MOX_E_OPTION, "'GPU-' is neither"},
        {"-1", MOX_E_OPTION, "'-1' is neither"},
        {"0 1", MOX_E_OPTION, "'0 1' is neither"},
        {"0,1,GPU-5e1f0c2b", MOX_E_OPTION, "GPU 0 is named twice"},
        {"0,1,2,0", MOX_E_OPTION, "at most 3"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint32_t id[3] = {9, 9, 9}, n = 7;
        cr_assert_eq(mox_dev_pick(&three, bad[i].text, id, 3, &n), bad[i].err, "%s", bad[i].text);
        cr_assert(strstr(mox_err_last()->msg, bad[i].says) != NULL, "%s: %s", bad[i].text,
                  mox_err_last()->msg);
        cr_assert(n == 7 && id[0] == 9, "%s: written although refused", bad[i].text);
    }
    cr_assert_eq(mox_dev_pick(&three, "3", (uint32_t[3]){0}, 3, &(uint32_t){0}), MOX_E_DEVICE);
    cr_assert(strstr(mox_err_last()->msg, uuids[2]) != NULL, "not all are listed: %s", mox_err_last()->msg);
}

Test(dev_pick, the_modules_own_failure_is_the_answer)
{
    uint32_t id[3], n = 0;
    const mox_dev_module gone = {.name = "gone", .count = no_count, .info = info};
    cr_assert_eq(mox_dev_pick(&gone, "0", id, 3, &n), MOX_E_DEVICE);
    cr_assert_str_eq(mox_err_last()->msg, "the driver is gone");
}
