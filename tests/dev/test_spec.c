/* What --device says (runtime/dev/spec.h). */
#include "runtime/dev/spec.h"

#include <criterion/criterion.h>
#include <string.h>

Test(dev_spec, names_and_keys_are_read)
{
    mox_dev_spec s;
    cr_assert(mox_dev_spec_parse(&s, "cpu") == MOX_OK && s.kind == MOX_DEV_CPU && s.n == 0 && s.vram == 0);
    cr_assert(mox_dev_spec_parse(&s, "cuda") == MOX_OK && s.kind == MOX_DEV_CUDA);
    cr_assert(mox_dev_spec_parse(&s, "emu:n=2,vram=3M") == MOX_OK);
    cr_assert(s.kind == MOX_DEV_EMU && s.n == 2 && s.vram == 3 << 20 && s.policy == MOX_DEV_LAZY &&
              s.sm == 80);
    cr_assert(mox_dev_spec_parse(&s, "cuda:vram=16g") == MOX_OK && s.vram == 16ull << 30);
    cr_assert(mox_dev_spec_parse(&s, "emu:policy=random,seed=7,order=shuffled,sm=75,fail=cudaMalloc@3") ==
              MOX_OK);
    cr_assert(s.policy == MOX_DEV_RANDOM && s.seed == 7 && s.order == MOX_DEV_SHUFFLED && s.sm == 75);
    cr_assert(strcmp(s.fail_call, "cudaMalloc") == 0 && s.fail_at == 3);
    cr_assert(mox_dev_spec_parse(&s, "emu:vram=4096") == MOX_OK && s.vram == 4096);
    cr_assert(mox_dev_spec_parse(&s, "cpu:n=2,vram=64M") == MOX_OK);
    cr_assert(s.kind == MOX_DEV_CPU && s.n == 2 && s.vram == 64 << 20);
}

static bool plays(const char *text)
{
    mox_dev_spec s;
    return mox_dev_spec_parse(&s, text) == MOX_OK && s.kind == MOX_DEV_CPU && s.vram != 0;
}

Test(dev_spec, the_cpu_plays_gpus_where_it_is_told_their_memory)
{
    cr_assert(plays("cpu:vram=64M") && plays("cpu:n=2,vram=1"));
    cr_assert(!plays("cpu") && !plays("emu:vram=64M"));
    cr_assert(!plays("cpu:n=2") && !plays("nonsense"));
}

Test(dev_spec, everything_else_is_refused_by_name)
{
    static const struct {
        const char *text, *says, *fix;
    } bad[] = {
        {"gpu", "'gpu'", "cpu, cuda"},
        {"", "''", "cpu, cuda"},
        {"cpu:n=2", "'cpu:n=2': how much memory", "cpu:vram=1G,n=2"},
        {"cpu:", "''", "for example cpu"},
        {"cpu:vram=0", "vram=0", "8G"},
        {"cpu:vram=1M,n=17", "n=17", "from 1 to 16"},
        {"cpu:seed=3,vram=1M", "'seed'", "cpu has n and vram"},
        {"emu:", "''", "for example"},
        {"emu:n=2,", "''", "for example"},
        {"emu:n", "'n'", "for example emu"},
        {"emu:n=0", "n=0", "from 1 to 16"},
        {"emu:n=17", "n=17", "from 1 to 16"},
        {"emu:n=2x", "n=2x", "from 1 to 16"},
        {"emu:vram=8X", "vram=8X", "8G"},
        {"emu:vram=0", "vram=0", "8G"},
        {"emu:vram=99999999999999999999", "vram=9999", "8G"},
        {"emu:vram=17179869184G", "vram=17179869184G", "8G"},
        {"cuda:seed=3", "'seed'", "cuda has n and vram"},
        {"emu:sede=3", "'sede'", "emu has n, vram"},
        {"emu:policy=late", "policy=late", "lazy, eager or random"},
        {"emu:sm=70", "sm=70", "75"},
        {"emu:fail=cudaMalloc", "fail=cudaMalloc", "CALL@N"},
        {"emu:fail=@1", "fail=@1", "CALL@N"},
        {"emu:fail=cudaMalloc@0", "fail=cudaMalloc@0", "CALL@N"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mox_dev_spec s = {.kind = MOX_DEV_KINDS};
        cr_assert_eq(mox_dev_spec_parse(&s, bad[i].text), MOX_E_OPTION, "%s", bad[i].text);
        cr_assert(strstr(mox_err_last()->msg, bad[i].says) != NULL, "%s: %s", bad[i].text,
                  mox_err_last()->msg);
        cr_assert(strstr(mox_err_last()->fix, bad[i].fix) != NULL, "%s: %s", bad[i].text,
                  mox_err_last()->fix);
        cr_assert_eq(s.kind, MOX_DEV_KINDS, "%s: written although refused", bad[i].text);
    }
}
