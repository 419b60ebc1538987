/* XXH3: fixed values of the published algorithm, and the scalar version of MOXIE_MINIMAL builds against
 * libxxhash over every length class, seeds, and streams cut into odd pieces. */
#include "runtime/core/hash.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

uint64_t minimal_hash64(const void *data, size_t bytes, uint64_t seed);
void minimal_hash128_init(mox_hash128_state *st);
void minimal_hash128_update(mox_hash128_state *st, const void *data, size_t bytes);
mox_hash128 minimal_hash128_final(const mox_hash128_state *st);

enum { BIG_BYTES = 1 << 20 };

static uint8_t *test_bytes(void)
{
    uint8_t *data = malloc(BIG_BYTES);
    uint64_t x = 0x9E3779B97F4A7C15u;
    for (size_t i = 0; i < BIG_BYTES; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        data[i] = (uint8_t)(x >> 32);
    }
    return data;
}

static mox_hash128 whole(const uint8_t *data, size_t bytes)
{
    mox_hash128_state st;
    mox_hash128_init(&st);
    mox_hash128_update(&st, data, bytes);
    return mox_hash128_final(&st);
}

static mox_hash128 minimal_pieces(const uint8_t *data, size_t bytes, size_t piece)
{
    mox_hash128_state st;
    minimal_hash128_init(&st);
    for (size_t at = 0; at < bytes; at += piece) {
        minimal_hash128_update(&st, data + at, piece < bytes - at ? piece : bytes - at);
    }
    return minimal_hash128_final(&st);
}

static mox_hash128 pieces(const uint8_t *data, size_t bytes, size_t piece)
{
    mox_hash128_state st;
    mox_hash128_init(&st);
    for (size_t at = 0; at < bytes; at += piece) {
        mox_hash128_update(&st, data + at, piece < bytes - at ? piece : bytes - at);
    }
    return mox_hash128_final(&st);
}

static void expect_same(mox_hash128 a, mox_hash128 b, size_t bytes, size_t piece)
{
    cr_assert(a.lo == b.lo && a.hi == b.hi, "%zu bytes in pieces of %zu: %016lx%016lx, not %016lx%016lx",
              bytes, piece, (unsigned long)b.hi, (unsigned long)b.lo, (unsigned long)a.hi,
              (unsigned long)a.lo);
}

Test(hash, empty_input_has_the_published_values)
{
    cr_assert_eq(mox_hash64("", 0, 0), 0x2D06800538D394C2u);
    mox_hash128 h = whole((const uint8_t *)"", 0);
    cr_assert_eq(h.lo, 0x6001C324468D497Fu);
    cr_assert_eq(h.hi, 0x99AA06D3014798D8u);
}

Test(hash, minimal_equals_the_library_for_every_length_class)
{
    uint8_t *data = test_bytes();
    const uint64_t seeds[] = {0, 1, 0x9E3779B185EBCA87u, UINT64_MAX};
    for (size_t n = 0; n <= 2048; n++) {
        for (size_t s = 0; s < sizeof seeds / sizeof seeds[0]; s++) {
            cr_assert_eq(minimal_hash64(data + 3, n, seeds[s]), mox_hash64(data + 3, n, seeds[s]),
                         "64 bits, %zu bytes, seed %zu", n, s);
        }
        expect_same(whole(data + 3, n), minimal_pieces(data + 3, n, n + 1), n, n + 1);
    }
    const size_t big[] = {4095, 65536, 65537, 1000003, BIG_BYTES};
    for (size_t i = 0; i < sizeof big / sizeof big[0]; i++) {
        cr_assert_eq(minimal_hash64(data, big[i], 7), mox_hash64(data, big[i], 7), "%zu bytes", big[i]);
        expect_same(whole(data, big[i]), minimal_pieces(data, big[i], BIG_BYTES), big[i], BIG_BYTES);
    }
    free(data);
}

Test(hash, a_stream_does_not_depend_on_where_it_is_cut)
{
    uint8_t *data = test_bytes();
    const size_t cuts[] = {1, 2, 7, 63, 64, 65, 255, 256, 257, 1023, 1024, 4099};
    const size_t lengths[] = {1, 16, 17, 240, 241, 256, 257, 320, 321, 1024, 1025, 2048, 10007, 100003};
    for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++) {
        mox_hash128 want = whole(data, lengths[l]);
        for (size_t c = 0; c < sizeof cuts / sizeof cuts[0]; c++) {
            expect_same(want, pieces(data, lengths[l], cuts[c]), lengths[l], cuts[c]);
            expect_same(want, minimal_pieces(data, lengths[l], cuts[c]), lengths[l], cuts[c]);
        }
    }
    free(data);
}

Test(hash, final_leaves_the_stream_usable)
{
    mox_hash128_state st;
    mox_hash128_init(&st);
    mox_hash128_update(&st, "expert", 6);
    mox_hash128 first = mox_hash128_final(&st), again = mox_hash128_final(&st);
    expect_same(first, again, 6, 6);
    mox_hash128_update(&st, " store", 6);
    expect_same(whole((const uint8_t *)"expert store", 12), mox_hash128_final(&st), 12, 6);
}

Test(hash, one_flipped_bit_changes_the_hash)
{
    uint8_t *data = test_bytes();
    uint64_t before = mox_hash64(data, 4096, 0);
    mox_hash128 before128 = whole(data, 4096);
    data[2047] ^= 1;
    mox_hash128 after128 = whole(data, 4096);
    cr_assert_neq(mox_hash64(data, 4096, 0), before);
    cr_assert(before128.lo != after128.lo && before128.hi != after128.hi);
    free(data);
}
