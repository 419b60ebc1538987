/* Checked arithmetic at its edges. */
#include "runtime/core/bits.h"

#include <criterion/criterion.h>

Test(bits, sums_and_products_say_when_they_overflow)
{
    uint64_t v;
    cr_assert(mox_add_u64(UINT64_MAX - 1, 1, &v) && v == UINT64_MAX);
    cr_assert_not(mox_add_u64(UINT64_MAX, 1, &v));
    cr_assert(mox_mul_u64(UINT64_C(1) << 32, (UINT64_C(1) << 32) - 1, &v) && v == UINT64_MAX - UINT32_MAX);
    cr_assert_not(mox_mul_u64(UINT64_C(1) << 32, UINT64_C(1) << 32, &v));
    cr_assert(mox_mul_u64(0, UINT64_MAX, &v) && v == 0);
}

Test(bits, alignment_rounds_up_or_says_no)
{
    uint64_t v;
    cr_assert(mox_align_u64(0, 32, &v) && v == 0);
    cr_assert(mox_align_u64(1, 32, &v) && v == 32);
    cr_assert(mox_align_u64(32, 32, &v) && v == 32);
    cr_assert(mox_align_u64(UINT64_MAX - 31, 32, &v) && v == UINT64_MAX - 31);
    cr_assert_not(mox_align_u64(UINT64_MAX - 30, 32, &v));
    cr_assert_eq(mox_round_up(4097, 4096), 8192);
    cr_assert_eq(mox_div_up(UINT32_MAX, 2), 1u << 31);
}

Test(bits, little_endian_reads_need_no_alignment)
{
    const uint8_t bytes[] = {0xff, 1, 2, 3, 4, 5, 6, 7, 8};
    cr_assert_eq(mox_le16(bytes + 1), 0x0201);
    cr_assert_eq(mox_le32(bytes + 1), 0x04030201u);
    cr_assert_eq(mox_le64(bytes + 1), 0x0807060504030201u);
}
