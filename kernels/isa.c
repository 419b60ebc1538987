/* Instruction sets: names, and what this machine has. AVX state must also be enabled by the operating system
 * (xgetbv), which __builtin_cpu_supports checks together with cpuid; F16C, which not every compiler's builtin
 * knows, is one bit of cpuid and uses the same state as AVX2. */
#include "kernels/ops.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

const char *mox_isa_name(mox_isa isa)
{
    static const char *const names[MOX_ISA_COUNT] = {"scalar", "avx2", "avx512"};
    return (unsigned)isa < MOX_ISA_COUNT ? names[isa] : "?";
}

#if defined(__x86_64__)
static bool has_avx2(void)
{
    unsigned a, b, c = 0, d;
    const bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) != 0;
    return f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}
#else
static bool has_avx2(void)
{
    return false;
}

static bool has_avx512(void)
{
    return false;
}
#endif

bool mox_isa_present(mox_isa isa)
{
    switch (isa) {
    case MOX_ISA_SCALAR:
        return true;
    case MOX_ISA_AVX2:
        return has_avx2();
    case MOX_ISA_AVX512:
        return has_avx2() && has_avx512();
    default:
        return false;
    }
}

mox_isa mox_isa_best(void)
{
    return mox_isa_present(MOX_ISA_AVX512) ? MOX_ISA_AVX512
                                           : (mox_isa_present(MOX_ISA_AVX2) ? MOX_ISA_AVX2 : MOX_ISA_SCALAR);
}
