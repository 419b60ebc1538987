/* Instruction sets: names, and what this machine has. AVX state must also be enabled by the operating system
 * (xgetbv), which __builtin_cpu_supports checks together with cpuid; F16C and AVX-VNNI, which not every
 * compiler's builtin knows, are one bit of cpuid each and use the same state as AVX2. Asked once: in a virtual
 * machine every cpuid goes through the hypervisor, and the choice of a tile asks for each product. */
#include "kernels/ops.h"

#include <stdatomic.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum { ASKED = 1, HAS_AVX2 = 2, HAS_VEX_VNNI = 4, HAS_AVX512 = 8 };

const char *mox_isa_name(mox_isa isa)
{
    static const char *const names[MOX_ISA_COUNT] = {"scalar", "avx2", "avxvnni", "avx512"};
    return (unsigned)isa < MOX_ISA_COUNT ? names[isa] : "?";
}

static unsigned ask(void)
{
    unsigned found = ASKED;
#if defined(__x86_64__)
    enum { LEAF7_1_EAX_AVX_VNNI = 1 << 4 };
    unsigned a, b, c = 0, d;
    const bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) != 0;
    if (!f16c || !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        return found;
    }
    found |= HAS_AVX2;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & LEAF7_1_EAX_AVX_VNNI) != 0) {
        found |= HAS_VEX_VNNI;
    }
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vnni")) {
        found |= HAS_AVX512;
    }
#endif
    return found;
}

static unsigned features(void)
{
    static atomic_uint known; /* 0 until asked; two threads that ask at once write the same */
    unsigned found = atomic_load_explicit(&known, memory_order_relaxed);
    if (found == 0) {
        found = ask();
        atomic_store_explicit(&known, found, memory_order_relaxed);
    }
    return found;
}

bool mox_isa_vex_vnni(void)
{
    return (features() & HAS_VEX_VNNI) != 0;
}

bool mox_isa_present(mox_isa isa)
{
    switch (isa) {
    case MOX_ISA_SCALAR:
        return true;
    case MOX_ISA_AVX2:
        return (features() & HAS_AVX2) != 0;
    case MOX_ISA_AVXVNNI:
        return (features() & (HAS_VEX_VNNI | HAS_AVX512)) != 0;
    case MOX_ISA_AVX512:
        return (features() & HAS_AVX512) != 0;
    default:
        return false;
    }
}

mox_isa mox_isa_best(void)
{
    mox_isa best = MOX_ISA_AVX512; /* the enum is in order of speed */
    while (!mox_isa_present(best)) {
        best--;
    }
    return best;
}
