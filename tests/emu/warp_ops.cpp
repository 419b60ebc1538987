/* What the collectives compute once all lanes are there: shuffles, votes, and the tensor core's integer products in
 * the fragment layouts of the PTX manual ("Matrix fragments for mma.m8n8k16 / m16n8k16 / m16n8k32", s8). Sums are
 * int32 and wrap as the hardware's do. */
#include "emu/emu_device.h"
#include "emu/internal.h"

namespace emu
{
namespace
{
enum { WARP = 32 };

void exchange(void *const *record, uint32_t mask, int lane, int source)
{
    if (source < 0 || source >= WARP || (mask >> source & 1U) == 0) {
        fault("a shuffle reads lane %d, which is not in mask %08x", source, mask);
    }
    static_cast<shuffle_record *>(record[lane])->out =
        static_cast<const shuffle_record *>(record[source])->in;
}

int8_t byte_of(uint32_t word, int i)
{
    return static_cast<int8_t>(word >> 8 * i);
}

/* d[m][n] += sum over k of a[m][k] * b[k][n]: m is 8 or 16, n 8, k 16 or 32. Lane 4 g + t holds of a the rows g and
 * g + 8 and of b the column g, in both the bytes 4 t .. 4 t + 3 of each 16; of d the columns 2 t and 2 t + 1. */
void multiply(void *const *record, uint32_t mask, int m, int k)
{
    if (mask != 0xffffffffU) {
        fault("mma needs all lanes, and has %08x", mask);
    }
    int8_t a[16][32], b[32][8];
    for (int lane = 0; lane < WARP; lane++) {
        const mma_record &r = *static_cast<const mma_record *>(record[lane]);
        const int g = lane / 4, t = lane % 4;
        for (int half = 0; half < k / 16; half++) {
            for (int i = 0; i < 4; i++) {
                const int at = 16 * half + 4 * t + i;
                for (int top = 0; top < m / 8; top++) {
                    a[8 * top + g][at] = byte_of(r.a[half * (m / 8) + top], i);
                }
                b[at][g] = byte_of(r.b[half], i);
            }
        }
    }
    for (int lane = 0; lane < WARP; lane++) {
        mma_record &r = *static_cast<mma_record *>(record[lane]);
        const int g = lane / 4, t = lane % 4;
        for (int i = 0; i < m / 4; i++) {
            const int row = g + 8 * (i / 2), col = 2 * t + i % 2;
            uint32_t sum = static_cast<uint32_t>(r.c[i]);
            for (int e = 0; e < k; e++) {
                sum += static_cast<uint32_t>(a[row][e] * b[e][col]);
            }
            r.c[i] = static_cast<int32_t>(sum);
        }
    }
}
} // namespace

void shuffle_xor(void *const *record, uint32_t mask)
{
    for (uint32_t m = mask; m != 0; m &= m - 1) {
        const int lane = __builtin_ctz(m);
        exchange(record, mask, lane, lane ^ static_cast<const shuffle_record *>(record[lane])->distance);
    }
}

void shuffle_from(void *const *record, uint32_t mask)
{
    for (uint32_t m = mask; m != 0; m &= m - 1) {
        const int lane = __builtin_ctz(m);
        exchange(record, mask, lane,
                 static_cast<const shuffle_record *>(record[lane])->distance & (WARP - 1));
    }
}

void sync_warp(void *const *record, uint32_t mask)
{
    (void)record, (void)mask; /* meeting is all there is to it */
}

void ballot(void *const *record, uint32_t mask)
{
    uint32_t votes = 0;
    for (uint32_t m = mask; m != 0; m &= m - 1) {
        votes |= static_cast<const ballot_record *>(record[__builtin_ctz(m)])->predicate ? m & (0U - m) : 0U;
    }
    for (uint32_t m = mask; m != 0; m &= m - 1) {
        static_cast<ballot_record *>(record[__builtin_ctz(m)])->out = votes;
    }
}

void mma_8_8_16(void *const *record, uint32_t mask)
{
    multiply(record, mask, 8, 16);
}

void mma_16_8_16(void *const *record, uint32_t mask)
{
    multiply(record, mask, 16, 16);
}

void mma_16_8_32(void *const *record, uint32_t mask)
{
    multiply(record, mask, 16, 32);
}
} // namespace emu
