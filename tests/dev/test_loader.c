/* Modules by name: what is absent, broken or of another version is said with what would help; what is there works, and
 * its errors arrive in the program's record. */
#include "runtime/dev/loader.h"

#include <criterion/criterion.h>
#include <string.h>

static bool says(const char *a, const char *b)
{
    return strstr(mox_err_last()->msg, a) != NULL && strstr(mox_err_last()->fix, b) != NULL;
}

Test(dev_loader, absent_modules_say_how_to_build_them)
{
    const mox_dev_module *m = NULL;
    const mox_dev_spec emu = {.kind = MOX_DEV_EMU}, cuda = {.kind = MOX_DEV_CUDA};
    cr_assert_eq(mox_dev_load(&m, &emu, "/nowhere"), MOX_E_DEVICE);
    cr_assert(says("moxie-dev-emu.so in /nowhere", "--target moxie-dev-emu"), "%s", mox_err_last()->msg);
    cr_assert_eq(mox_dev_load(&m, &cuda, NULL), MOX_E_DEVICE);
    cr_assert(says("moxie-dev-cuda.so in ", "--device cpu"), "%s", mox_err_last()->msg);
    cr_assert_null(m);
}

Test(dev_loader, other_versions_and_other_libraries_are_refused)
{
    const mox_dev_module *m = NULL;
    const mox_dev_spec cuda = {.kind = MOX_DEV_CUDA};
    cr_assert_eq(mox_dev_load(&m, &cuda, MOX_ODD_DIR "/other"), MOX_E_DEVICE);
    cr_assert(says("is of version", "from one tree"), "%s", mox_err_last()->msg);
    cr_assert_eq(mox_dev_load(&m, &cuda, MOX_ODD_DIR "/none"), MOX_E_DEVICE);
    cr_assert(strstr(mox_err_last()->msg, "has no " MOX_DEV_MODULE_SYMBOL) != NULL, "%s",
              mox_err_last()->msg);
    cr_assert_null(m);
}

#if defined(MOX_HAS_EMU)
Test(dev_loader, the_emulator_opens_as_many_as_asked_and_its_errors_arrive)
{
    const mox_dev_module *m = NULL;
    const mox_dev_spec spec = {.kind = MOX_DEV_EMU, .n = 2, .vram = 1 << 20, .sm = 75, .seed = 1};
    cr_assert_eq(mox_dev_load(&m, &spec, MOX_MODULE_DIR), MOX_OK, "%s", mox_err_last()->msg);
    cr_assert_str_eq(m->name, "emu");
    uint32_t n = 0;
    mox_dev_info info;
    cr_assert(m->count(&n) == MOX_OK && n == 2);
    cr_assert(m->info(1, &info) == MOX_OK && info.sm == 75 && info.vram_bytes == 1 << 20);
    cr_assert_str_eq(info.uuid, "GPU-e1000000-0000-0000-0000-000000000001");
    mox_dev *dev[3] = {NULL};
    mox_ops *ops[3] = {NULL};
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(m->open(i, &(mox_dev_open_cfg){0}, &dev[i], &ops[i]), MOX_OK, "%s", mox_err_last()->msg);
        cr_assert(dev[i]->ops->separate);
    }
    cr_assert_eq(m->open(2, &(mox_dev_open_cfg){0}, &dev[2], &ops[2]), MOX_E_DEVICE);
    cr_assert_str_eq(mox_err_last()->msg, "GPU 2: there are 2");
    /* each has memory of its own */
    mox_buf a, b;
    cr_assert_eq(dev[0]->ops->mem_alloc(dev[0], 900 << 10, MOX_MEM_DEVICE, 0, &a), MOX_OK);
    cr_assert_eq(dev[0]->ops->mem_alloc(dev[0], 200 << 10, MOX_MEM_DEVICE, 0, &b), MOX_E_NO_FIT);
    cr_assert_eq(dev[1]->ops->mem_alloc(dev[1], 200 << 10, MOX_MEM_DEVICE, 0, &b), MOX_OK);
    dev[0]->ops->mem_free(dev[0], &a);
    dev[1]->ops->mem_free(dev[1], &b);
    for (uint32_t i = 0; i < 2; i++) {
        ops[i]->destroy(ops[i]);
        dev[i]->ops->destroy(dev[i]);
    }
}
#endif
