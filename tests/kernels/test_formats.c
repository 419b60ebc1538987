/* Every tensor type moxie can compute with, against blocks with known values: the bits must be equal. The
 * blocks include zero, negative zero, denormal and largest scales, and codes of all zeros and all ones. */
#include "kernels/dequant.h"
#include "kernels/formats.h"
#include "kernels/half.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *read_fixture(const char *type, const char *suffix, size_t *bytes)
{
    char path[512], lower[32];
    size_t i = 0;
    for (; type[i] != 0; i++) {
        lower[i] = (char)tolower(type[i]);
    }
    lower[i] = 0;
    snprintf(path, sizeof path, "%s/quants/%s.%s", MOX_TEST_DATA, lower, suffix);
    FILE *f = fopen(path, "rb");
    cr_assert_not_null(f, "%s", path);
    uint8_t *data = malloc(1 << 20);
    *bytes = fread(data, 1, 1 << 20, f);
    fclose(f);
    return data;
}

static void check_type(uint32_t type)
{
    const mox_type_desc *desc = mox_type_info(type);
    size_t block_bytes, value_bytes;
    uint8_t *blocks = read_fixture(desc->name, "blocks", &block_bytes);
    uint8_t *want = read_fixture(desc->name, "f32", &value_bytes);
    const size_t n = value_bytes / 4;
    cr_assert_eq(mox_type_row_bytes(type, n), block_bytes, "%s", desc->name);
    cr_assert_geq(n, 64u * desc->block_elems);
    float *got = malloc(value_bytes);
    mox_format_of(type)->dequant(blocks, got, n);
    for (size_t i = 0; i < n; i++) {
        uint32_t w, g;
        memcpy(&w, want + 4 * i, 4);
        memcpy(&g, got + i, 4);
        cr_assert_eq(w, g, "%s element %zu: want %08x got %08x", desc->name, i, w, g);
    }
    free(blocks);
    free(want);
    free(got);
}

Test(formats, every_type_dequantises_to_the_known_bits)
{
    int checked = 0;
    for (uint32_t type = 0; type < MOX_TYPE_COUNT; type++) {
        if (mox_format_of(type) != NULL && type != MOX_TYPE_F32) {
            check_type(type);
            checked++;
        }
    }
    cr_assert_eq(checked, 25);
}

Test(formats, f32_is_copied_with_its_bits)
{
    const uint32_t bits[4] = {0x80000000u, 0x00000001u, 0x7f7fffffu, 0xc0490fdbu};
    float out[4];
    mox_format_of(MOX_TYPE_F32)->dequant((const uint8_t *)bits, out, 4);
    cr_assert_arr_eq(out, bits, sizeof bits);
}

Test(formats, only_types_with_kernels_are_offered)
{
    cr_assert_null(mox_format_of(MOX_TYPE_I32));
    cr_assert_null(mox_format_of(MOX_TYPE_Q8_K));
    cr_assert_null(mox_format_of(4)); /* a type that was removed from GGUF */
    cr_assert_null(mox_format_of(MOX_TYPE_COUNT));
    cr_assert_null(mox_format_of(UINT32_MAX));
    cr_assert_eq(mox_format_of(MOX_TYPE_Q6_K)->kind, MOX_ACT_K);
    cr_assert_eq(mox_format_of(MOX_TYPE_IQ4_XS)->kind, MOX_ACT_K);
    cr_assert_eq(mox_format_of(MOX_TYPE_MXFP4)->kind, MOX_ACT_B32);
    cr_assert_eq(mox_format_of(MOX_TYPE_IQ2_XS)->kind, MOX_ACT_F32);
}

Test(half, f16_and_f32_are_inverse_for_every_f16)
{
    for (uint32_t h = 0; h < 0x10000; h++) {
        const float f = mox_f16_to_f32((uint16_t)h);
        if (f == f) {
            cr_assert_eq(mox_f32_to_f16(f), h, "%04x", h);
        } else {
            cr_assert_gt(mox_f32_to_f16(f) & 0x7fffu, 0x7c00u, "%04x stays a NaN", h);
        }
    }
}

Test(half, rounding_takes_the_nearest_and_the_even_of_two)
{
    /* Between each pair of neighbouring finite f16: the middle goes to the even one, its neighbours to their
     * side. */
    for (uint32_t h = 0; h < 0x7bff; h++) {
        const float lo = mox_f16_to_f32((uint16_t)h), hi = mox_f16_to_f32((uint16_t)(h + 1));
        const float mid = lo + (hi - lo) * 0.5f;
        const float below = mox_f32_from_bits(mox_f32_bits(mid) - 1),
                    above = mox_f32_from_bits(mox_f32_bits(mid) + 1);
        cr_assert_eq(mox_f32_to_f16(mid), h % 2 ? h + 1 : h, "%04x", h);
        cr_assert_eq(mox_f32_to_f16(below), h);
        cr_assert_eq(mox_f32_to_f16(above), h + 1);
        cr_assert_eq(mox_f32_to_f16(-mid), (h % 2 ? h + 1 : h) | 0x8000u);
    }
    cr_assert_eq(mox_f32_to_f16(65519.996f), 0x7bff);
    cr_assert_eq(mox_f32_to_f16(65520.0f), 0x7c00);
    cr_assert_eq(mox_f32_to_f16(0x1p-25f), 0);
    cr_assert_eq(mox_f32_to_f16(0x1.000002p-25f), 1);
}
