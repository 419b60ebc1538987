/* The formats whose weights become floats before they are multiplied (kernels/formats.h): row after row in a chunk, as in
 * the file, so a lane reads the bytes of its own row. Eight elements at a time: what one index into a code book stands
 * for. Values are those of kernels/dequant_*.c, multiplied in the same order.
 */
#ifndef MOX_KERNELS_CUDA_FORMATS_IQ_CUH
#define MOX_KERNELS_CUDA_FORMATS_IQ_CUH

#include "kernels/cuda/formats.cuh"

#define IQ_GRID(name, entries) static __device__ const uint16_t name##_grid[entries]
#include "kernels/iq_grids.inc"
#undef IQ_GRID

typedef float eight_values[8];

/* Row blocks of block_bytes for each block_elems; all of them even. group: eight elements of one such row. */
template <uint32_t block_elems, uint32_t block_bytes> struct coded_format {
    static constexpr uint32_t STEP = 8, ELEMS = block_elems, BYTES = block_bytes;
    static __device__ __forceinline__ const uint8_t *block(const uint8_t *chunk, uint32_t cols, uint32_t r,
                                                           uint32_t e)
    {
        return chunk + (r * (cols / block_elems) + e / block_elems) * block_bytes;
    }
    static __device__ __forceinline__ uint32_t byte(const uint8_t *p)
    {
        return load<uint8_t>(p);
    }
    static __device__ __forceinline__ uint32_t word16(const uint8_t *p)
    {
        return load<uint16_t>(p);
    }
    static __device__ __forceinline__ uint32_t word32(const uint8_t *p) /* at an even address */
    {
        return word16(p) | word16(p + 2) << 16;
    }
};

/* Seven stored sign bits; the eighth makes the number of minus signs even. */
static __device__ __forceinline__ uint32_t even_signs(uint32_t seven)
{
    const uint32_t parity = 0x6996U >> ((seven ^ seven >> 4) & 15U) & 1U;
    return seven | parity << 7;
}

static __device__ __forceinline__ float signed_value(float v, uint32_t signs, uint32_t j)
{
    return (signs >> j & 1U) != 0 ? -v : v;
}

/* Levels 8, 25, 43 */
static __device__ __forceinline__ void iq2_values(uint32_t entry, uint32_t signs, float db, eight_values &v)
{
    MOX_UNROLL
    for (uint32_t j = 0; j < 8; j++) {
        const uint32_t level = 0x002b1908U >> 8 * (entry >> 2 * j & 3U) & 255U;
        v[j] = signed_value(db * static_cast<float>(level), signs, j);
    }
}

/* IQ3_XXS: levels 4, 12, 20, 28, 36, 44, 52, 62 */
static __device__ __forceinline__ float iq3xxs_level(uint32_t i)
{
    return static_cast<float>(i == 7 ? 62 : 8 * i + 4);
}

static __device__ __forceinline__ float iq3s_level(uint32_t i)
{
    return static_cast<float>(2 * i + 1);
}

template <class L>
static __device__ __forceinline__ void iq3_values(uint32_t first, uint32_t second, uint32_t signs, float db,
                                                  eight_values &v, L level)
{
    MOX_UNROLL
    for (uint32_t j = 0; j < 4; j++) {
        v[j] = signed_value(db * level(first >> 3 * j & 7U), signs, j);
        v[j + 4] = signed_value(db * level(second >> 3 * j & 7U), signs, j + 4);
    }
}

static __device__ __forceinline__ void iq1_values(uint32_t entry, float delta, float dl, eight_values &v)
{
    MOX_UNROLL
    for (uint32_t j = 0; j < 8; j++) {
        v[j] = dl * (static_cast<float>(static_cast<int>(entry >> 2 * j & 3U) - 1) + delta);
    }
}

/* IQ2_XS and IQ2_S: a 4-bit scale per 16 elements. */
static __device__ __forceinline__ float iq2_scale(float d, uint32_t scales, uint32_t g)
{
    return d * (0.5f + static_cast<float>(scales >> 4 * (g % 4 / 2) & 15U)) * 0.25f;
}

struct iq2_xxs : coded_format<256, 66> {
    static __device__ __forceinline__ void values(const uint8_t *chunk, uint32_t cols, uint32_t r, uint32_t e,
                                                  eight_values &v)
    {
        const uint8_t *b = block(chunk, cols, r, e), *q = b + 2 + 8 * (e / 32);
        const uint32_t l = e / 8 % 4, aux = word32(q + 4);
        const float db = load_f16(b) * (0.5f + static_cast<float>(aux >> 28)) * 0.25f;
        iq2_values(load<uint16_t>(iq2xxs_grid + byte(q + l)), even_signs(aux >> 7 * l & 127U), db, v);
    }
};

struct iq2_xs : coded_format<256, 74> {
    static __device__ __forceinline__ void values(const uint8_t *chunk, uint32_t cols, uint32_t r, uint32_t e,
                                                  eight_values &v)
    {
        const uint8_t *b = block(chunk, cols, r, e);
        const uint32_t g = e / 8, q = word16(b + 2 + 2 * g);
        iq2_values(load<uint16_t>(iq2xs_grid + (q & 511U)), even_signs(q >> 9),
                   iq2_scale(load_f16(b), byte(b + 66 + g / 4), g), v);
    }
};

struct iq2_s : coded_format<256, 82> {
    static __device__ __forceinline__ void values(const uint8_t *chunk, uint32_t cols, uint32_t r, uint32_t e,
                                                  eight_values &v)
    {
        const uint8_t *b = block(chunk, cols, r, e);
        const uint32_t g = e / 8, index = byte(b + 2 + g) | (byte(b + 66 + g / 4) >> 2 * (g % 4) & 3U) << 8;
        iq2_values(load<uint16_t>(iq2s_grid + index), byte(b + 34 + g),
                   iq2_scale(load_f16(b), byte(b + 74 + g / 4), g), v);
    }
};

struct iq3_xxs : coded_format<256, 98> {
    static __device__ __forceinline__ void values(const uint8_t *chunk, uint32_t cols, uint32_t r, uint32_t e,
                                                  eight_values &v)
    {
        const uint8_t *b = block(chunk, cols, r, e), *q = b + 2 + e / 4;
        const uint32_t g = e / 8, aux = word32(b + 66 + 4 * (g / 4));
        const float db = load_f16(b) * (0.5f + static_cast<float>(aux >> 28)) * 0.5f;
        iq3_values(load<uint16_t>(iq3xxs_grid + byte(q)), load<uint16_t>(iq3xxs_grid + byte(q + 1)),
                   even_signs(aux >> 7 * (g % 4) & 127U), db, v, iq3xxs_level);
    }
};

struct iq3_s : coded_format<256, 110> {
    static __device__ __forceinline__ void values(const uint8_t *chunk, uint32_t cols, uint32_t r, uint32_t e,
                                                  eight_values &v)
    {
        const uint8_t *b = block(chunk, cols, r, e), *q = b + 2 + e / 4;
        const uint32_t g = e / 8, high = byte(b + 66 + g / 4) >> 2 * (g % 4);
        const float db =
            load_f16(b) * static_cast<float>(1 + 2 * (byte(b + 106 + g / 8) >> 4 * (g / 4 % 2) & 15U));
        iq3_values(load<uint16_t>(iq3s_grid + (byte(q) | (high & 1U) << 8)),
                   load<uint16_t>(iq3s_grid + (byte(q + 1) | (high >> 1 & 1U) << 8)), byte(b + 74 + g), db, v,
                   iq3s_level);
    }
};

struct iq1_s : coded_format<256, 50> {
    static __device__ __forceinline__ void values(const uint8_t *chunk, uint32_t cols, uint32_t r, uint32_t e,
                                                  eight_values &v)
    {
        const uint8_t *b = block(chunk, cols, r, e);
        const uint32_t g = e / 8, qh = word16(b + 34 + 2 * (g / 4));
        const float dl = load_f16(b) * static_cast<float>(2 * (qh >> 12 & 7U) + 1);
        const uint32_t index = byte(b + 2 + g) | (qh >> 3 * (g % 4) & 7U) << 8;
        iq1_values(load<uint16_t>(iq1s_grid + index), (qh & 0x8000U) != 0 ? -0.125f : 0.125f, dl, v);
    }
};

struct iq1_m : coded_format<256, 56> {
    static __device__ __forceinline__ void values(const uint8_t *chunk, uint32_t cols, uint32_t r, uint32_t e,
                                                  eight_values &v)
    {
        const uint8_t *b = block(chunk, cols, r, e);
        const uint32_t g = e / 8;
        uint32_t bits = 0; /* the scale is spread over the top nibbles of the four scale words */
        MOX_UNROLL
        for (uint32_t w = 0; w < 4; w++) {
            bits |= (word16(b + 48 + 2 * w) >> 12) << 4 * w;
        }
        const float dl = mox_f16_to_f32(static_cast<uint16_t>(bits)) *
                         static_cast<float>(2 * (word16(b + 48 + 2 * (g / 8)) >> 3 * (g / 2 % 4) & 7U) + 1);
        const uint32_t qh = byte(b + 32 + g / 2) >> 4 * (g % 2);
        iq1_values(load<uint16_t>(iq1s_grid + (byte(b + g) | (qh & 7U) << 8)),
                   (qh & 8U) != 0 ? -0.125f : 0.125f, dl, v);
    }
};

/* Digits of base 3, five (the last four bytes: four) a byte, as a fraction of 256: times 3^k, modulo 256, digit k is on
 * top. Runs of 32, 16 and 4 bytes, each digit by digit. */
struct tq1_0 : coded_format<256, 54> {
    static __device__ __forceinline__ void values(const uint8_t *chunk, uint32_t cols, uint32_t r, uint32_t e,
                                                  eight_values &v)
    {
        const uint8_t *b = block(chunk, cols, r, e);
        const float d = load_f16(b + 52);
        const uint32_t run = e < 160 ? 32 : e < 240 ? 16 : 4, first = e < 160 ? 0 : e < 240 ? 160 : 240;
        const uint8_t *q = b + (e < 160 ? 0 : e < 240 ? 32 : 48);
        MOX_UNROLL
        for (uint32_t j = 0; j < 8; j++) {
            const uint32_t at = e - first + j, k = at / run;
            const uint32_t power = k == 0 ? 1 : k == 1 ? 3 : k == 2 ? 9 : k == 3 ? 27 : 81;
            const uint32_t x = byte(q + at % run) * power & 255U;
            v[j] = static_cast<float>(static_cast<int>(x * 3 >> 8) - 1) * d;
        }
    }
};

struct tq2_0 : coded_format<256, 66> {
    static __device__ __forceinline__ void values(const uint8_t *chunk, uint32_t cols, uint32_t r, uint32_t e,
                                                  eight_values &v)
    {
        const uint8_t *b = block(chunk, cols, r, e), *q = b + 32 * (e / 128) + e % 32;
        const float d = load_f16(b + 64);
        MOX_UNROLL
        for (uint32_t j = 0; j < 8; j++) {
            v[j] = static_cast<float>(static_cast<int>(byte(q + j) >> 2 * (e / 32 % 4) & 3U) - 1) * d;
        }
    }
};

/* Sixteen elements have a scale, an unsigned e4m3; halved, since the values are doubled. */
struct nvfp4 : coded_format<64, 36> {
    static __device__ __forceinline__ float scale(uint32_t x)
    {
        const uint32_t exp = x >> 3 & 15U, man = x & 7U;
        return x == 0x7f  ? 0.0f
               : exp == 0 ? static_cast<float>(man) * 0x1p-10f
                          : mox_f32_from_bits((exp + 119) << 23 | man << 20);
    }
    static __device__ __forceinline__ void values(const uint8_t *chunk, uint32_t cols, uint32_t r, uint32_t e,
                                                  eight_values &v)
    {
        const uint8_t *b = block(chunk, cols, r, e);
        const uint32_t s = e / 16 % 4, half = e / 8 % 2;
        const float d = scale(byte(b + s));
        MOX_UNROLL
        for (uint32_t j = 0; j < 8; j += 4) {
            two_words w;
            look_up_fp4(word32(b + 4 + 8 * s + j), w);
            MOX_UNROLL
            for (uint32_t i = 0; i < 4; i++) {
                v[j + i] = static_cast<float>(static_cast<int8_t>((half != 0 ? w[1] : w[0]) >> 8 * i)) * d;
            }
        }
    }
};

#endif
