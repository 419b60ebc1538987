/* Tensor types: the table as readers use it. */
#include "runtime/core/tensor_types.h"

#include <criterion/criterion.h>

Test(types, known_ids_have_a_row)
{
    const mox_type_desc *t = mox_type_info(MOX_TYPE_Q4_K);
    cr_assert_str_eq(t->name, "Q4_K");
    cr_assert_eq(t->block_elems, 256);
    cr_assert_eq(t->block_bytes, 144);
    cr_assert_str_eq(mox_type_info(0)->name, "F32");
    cr_assert_str_eq(mox_type_info(40)->name, "NVFP4");
}

Test(types, removed_and_unknown_ids_have_none)
{
    const uint32_t absent[] = {4, 5, 31, 32, 33, 36, 37, 38, 41, 1000, UINT32_MAX};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        cr_assert_null(mox_type_info(absent[i]), "id %u", absent[i]);
        cr_assert_eq(mox_type_row_bytes(absent[i], 256), 0);
    }
}

Test(types, row_bytes_are_checked)
{
    cr_assert_eq(mox_type_row_bytes(MOX_TYPE_Q6_K, 4096), 16 * 210);
    cr_assert_eq(mox_type_row_bytes(MOX_TYPE_Q8_0, 96), 3 * 34);
    cr_assert_eq(mox_type_row_bytes(MOX_TYPE_Q8_0, 97), 0);
    cr_assert_eq(mox_type_row_bytes(MOX_TYPE_F64, UINT64_MAX), 0);
    cr_assert_eq(mox_type_row_bytes(MOX_TYPE_F32, UINT64_MAX / 4), UINT64_MAX - 3);
}
