/* The formats on the GPU: one struct each, all that products and embedding know of it. One row per format at the end.
 *
 * A chunk (x16.h) gives codes as *words*: four signed codes of one row, of four neighbouring columns. A block of 256
 * columns has 16 groups of 16 columns, of 4 words each. Lines of a chunk are taken in quads: quad s, member t (0..3)
 * yields WORDS words, word n of it being word t of group(s, n). That is the operand of an mma (lane 4 g + t holds word
 * t of row g), and a row by row kernel runs t through 0..3 itself. Formats of 32 have one quad for each sub-block, with
 * the groups 2 j and 2 j + 1.
 */
#ifndef MOX_KERNELS_CUDA_FORMATS_CUH
#define MOX_KERNELS_CUDA_FORMATS_CUH

#include "kernels/act.h"
#include "kernels/cuda/common.cuh"

constexpr uint32_t ROWS = MOX_ROWS_PER_GROUP, BLOCK = MOX_BLOCK, GROUPS = 16, LINE = 64;
constexpr uint32_t LOW_NIBBLES = 0x0f0f0f0f, SIGNS = 0x80808080;

typedef uint32_t two_words[2];
typedef uint32_t four_words[4];

static __device__ __forceinline__ uint32_t line_word(const uint8_t *lines, uint32_t line, uint32_t r)
{
    return load<uint32_t>(lines + line * LINE + 4 * r);
}

static __device__ __forceinline__ int scale_byte(const uint8_t *body, uint32_t i, uint32_t r)
{
    return load<uint8_t>(body + ROWS * i + r);
}

/* Each byte less `offset` (in every byte); codes are 0..127. */
static __device__ __forceinline__ uint32_t less(uint32_t codes, uint32_t offset)
{
    return ((codes | SIGNS) - offset) ^ SIGNS;
}

/* Nibbles to one of 16 values each, the low ones to w[0], the high ones to w[1]. A permutation looks up 4 nibbles
 * among 8 values; the nibble's top bit then chooses between the halves of the table. */
static __device__ __forceinline__ void look_up(uint32_t q, const uint32_t (&table)[4], two_words &w)
{
    const uint32_t index = q & 0x77777777U, half = 0x32103210U | (q & 0x88888888U) >> 1;
    const uint32_t first = __byte_perm(__byte_perm(table[0], table[1], index & 0xffffU),
                                       __byte_perm(table[2], table[3], index & 0xffffU), half & 0xffffU);
    const uint32_t second = __byte_perm(__byte_perm(table[0], table[1], index >> 16),
                                        __byte_perm(table[2], table[3], index >> 16), half >> 16);
    w[0] = __byte_perm(first, second, 0x6420);
    w[1] = __byte_perm(first, second, 0x7531);
}

static __device__ __forceinline__ void look_up_iq4(uint32_t q, two_words &w)
{
    const uint32_t values[4] = {0xbfad9881U, 0xf6eaddcfU, 0x26190d01U, 0x71594535U};
    look_up(q, values, w);
}

static __device__ __forceinline__ void look_up_fp4(uint32_t q, two_words &w)
{
    const uint32_t values[4] = {0x03020100U, 0x0c080604U, 0xfdfeff00U, 0xf4f8fafcU};
    look_up(q, values, w);
}

/* ---- formats with scales per 256: value = d * sc * q - dmin * mn ---- */

template <uint32_t head_bytes, uint32_t n_quads, uint32_t n_words, bool min> struct k_format {
    static constexpr mox_act_kind KIND = MOX_ACT_K;
    static constexpr uint32_t HEAD = head_bytes, QUADS = n_quads, WORDS = n_words;
    static constexpr bool HAS_MIN = min;
    static __device__ __forceinline__ float d(const uint8_t *chunk, uint32_t r)
    {
        return load_f16(chunk + 2 * r);
    }
    static __device__ __forceinline__ float dmin(const uint8_t *chunk, uint32_t r)
    {
        return load_f16(chunk + 2 * ROWS + 2 * r);
    }
    static __device__ __forceinline__ int min_of(const uint8_t *, uint32_t, uint32_t)
    {
        return 0;
    }
};

struct q2_k : k_format<64, 4, 4, true> {
    static __device__ __forceinline__ int scale(const uint8_t *chunk, uint32_t r, uint32_t g)
    {
        return scale_byte(chunk + HEAD, g, r) & 15;
    }
    static __device__ __forceinline__ int min_of(const uint8_t *chunk, uint32_t r, uint32_t g)
    {
        return scale_byte(chunk + HEAD, g, r) >> 4;
    }
    static __device__ __forceinline__ uint32_t group(uint32_t s, uint32_t n)
    {
        return 8 * (s / 2) + 2 * n + s % 2;
    }
    static __device__ __forceinline__ void words(const uint8_t *chunk, uint32_t r, uint32_t s, uint32_t t,
                                                 four_words &w)
    {
        const uint32_t q = line_word(chunk + HEAD + 16 * ROWS, 4 * s + t, r);
        MOX_UNROLL
        for (uint32_t n = 0; n < 4; n++) {
            w[n] = q >> 2 * n & 0x03030303U;
        }
    }
};

/* Q3_K's and Q5_K's first eight lines of codes alternate with the eight lines of their high bits. */
static __device__ __forceinline__ uint32_t paired_line(uint32_t i)
{
    return i < 8 ? 2 * i : i + 8;
}

struct q3_k : k_format<32, 4, 4, false> {
    static __device__ __forceinline__ int scale(const uint8_t *chunk, uint32_t r, uint32_t g)
    {
        const uint8_t *s = chunk + HEAD;
        const int low = scale_byte(s, g % 8, r) >> 4 * (g / 8) & 15,
                  high = scale_byte(s, 8 + g % 4, r) >> 2 * (g / 4) & 3;
        return (low | high << 4) - 32;
    }
    static __device__ __forceinline__ uint32_t group(uint32_t s, uint32_t n)
    {
        return q2_k::group(s, n);
    }
    static __device__ __forceinline__ void words(const uint8_t *chunk, uint32_t r, uint32_t s, uint32_t t,
                                                 four_words &w)
    {
        const uint8_t *lines = chunk + HEAD + 12 * ROWS;
        const uint32_t i = 4 * s + t, q = line_word(lines, paired_line(i), r);
        const uint32_t high = line_word(lines, 2 * (i % 8) + 1, r) >> 4 * (s / 2);
        MOX_UNROLL
        for (uint32_t n = 0; n < 4; n++) {
            w[n] = less((q >> 2 * n & 0x03030303U) | (high >> n & 0x01010101U) << 2, 0x04040404U);
        }
    }
};

/* Scales and minimums of Q4_K and Q5_K: eight of six bits each, in 12 bytes. */
struct q45_k : k_format<64, 8, 2, true> {
    static __device__ __forceinline__ int scale(const uint8_t *chunk, uint32_t r, uint32_t g)
    {
        const uint8_t *s = chunk + HEAD;
        const uint32_t j = g / 2;
        return j < 4 ? scale_byte(s, j, r) & 63
                     : (scale_byte(s, j + 4, r) & 15) | scale_byte(s, j - 4, r) >> 6 << 4;
    }
    static __device__ __forceinline__ int min_of(const uint8_t *chunk, uint32_t r, uint32_t g)
    {
        const uint8_t *s = chunk + HEAD;
        const uint32_t j = g / 2;
        return j < 4 ? scale_byte(s, j + 4, r) & 63
                     : scale_byte(s, j + 4, r) >> 4 | scale_byte(s, j, r) >> 6 << 4;
    }
    static __device__ __forceinline__ uint32_t group(uint32_t s, uint32_t n)
    {
        return 4 * (s / 2) + s % 2 + 2 * n;
    }
};

struct q4_k : q45_k {
    static __device__ __forceinline__ void words(const uint8_t *chunk, uint32_t r, uint32_t s, uint32_t t,
                                                 two_words &w)
    {
        const uint32_t q = line_word(chunk + HEAD + 12 * ROWS, 4 * s + t, r);
        w[0] = q & LOW_NIBBLES;
        w[1] = q >> 4 & LOW_NIBBLES;
    }
};

struct q5_k : q45_k {
    static __device__ __forceinline__ void words(const uint8_t *chunk, uint32_t r, uint32_t s, uint32_t t,
                                                 two_words &w)
    {
        const uint8_t *lines = chunk + HEAD + 12 * ROWS;
        const uint32_t i = 4 * s + t, q = line_word(lines, paired_line(i), r);
        const uint32_t high = line_word(lines, 2 * (i % 8) + 1, r) >> 2 * (s / 2);
        w[0] = (q & LOW_NIBBLES) | (high & 0x01010101U) << 4;
        w[1] = (q >> 4 & LOW_NIBBLES) | (high >> 1 & 0x01010101U) << 4;
    }
};

struct q6_k : k_format<32, 4, 4, false> {
    static __device__ __forceinline__ int scale(const uint8_t *chunk, uint32_t r, uint32_t g)
    {
        return static_cast<int8_t>(scale_byte(chunk + HEAD, g, r));
    }
    static __device__ __forceinline__ uint32_t group(uint32_t s, uint32_t n)
    {
        return q2_k::group(s, n);
    }
    static __device__ __forceinline__ void words(const uint8_t *chunk, uint32_t r, uint32_t s, uint32_t t,
                                                 four_words &w)
    {
        const uint8_t *lines = chunk + HEAD + 16 * ROWS;
        const uint32_t first = 12 * s + 3 * t;
        const uint32_t low[2] = {line_word(lines, first, r), line_word(lines, first + 1, r)};
        const uint32_t high = line_word(lines, first + 2, r);
        MOX_UNROLL
        for (uint32_t n = 0; n < 4; n++) {
            w[n] = less((low[n % 2] >> 4 * (n / 2) & LOW_NIBBLES) | (high >> 2 * n & 0x03030303U) << 4,
                        0x20202020U);
        }
    }
};

struct iq4_xs : k_format<64, 8, 2, false> {
    static __device__ __forceinline__ int scale(const uint8_t *chunk, uint32_t r, uint32_t g)
    {
        const int low = scale_byte(chunk + HEAD, g / 4, r) >> 4 * (g / 2 % 2) & 15;
        return low + 16 * (load<uint16_t>(chunk + 2 * ROWS + 2 * r) >> 2 * (g / 2) & 3) - 32;
    }
    static __device__ __forceinline__ uint32_t group(uint32_t s, uint32_t n)
    {
        return 2 * s + n;
    }
    static __device__ __forceinline__ void words(const uint8_t *chunk, uint32_t r, uint32_t s, uint32_t t,
                                                 two_words &w)
    {
        look_up_iq4(line_word(chunk + HEAD + 4 * ROWS, 4 * s + t, r), w);
    }
};

/* ---- formats with scales per 32: value = d * q + m ---- */

template <uint32_t head_bytes, uint32_t n_lines, bool min> struct b_format {
    static constexpr mox_act_kind KIND = MOX_ACT_B32;
    static constexpr uint32_t HEAD = head_bytes, BODY = n_lines * LINE;
    static constexpr bool HAS_MIN = min;
    static __device__ __forceinline__ float d(const uint8_t *head, uint32_t r)
    {
        return load_f16(head + 2 * r);
    }
    static __device__ __forceinline__ float m(const uint8_t *head, uint32_t r)
    {
        return load_f16(head + 2 * ROWS + 2 * r);
    }
};

/* A line of nibbles; `fifth`: the 32 fifth bits of the row. */
static __device__ __forceinline__ void nibble_words(const uint8_t *lines, uint32_t r, uint32_t t,
                                                    two_words &w)
{
    const uint32_t q = line_word(lines, t, r);
    w[0] = q & LOW_NIBBLES;
    w[1] = q >> 4 & LOW_NIBBLES;
}

static __device__ __forceinline__ void fifth_words(const uint8_t *lines, uint32_t r, uint32_t t, two_words &w)
{
    const uint32_t fifth = line_word(lines, 0, r) >> 4 * t;
    nibble_words(lines + LINE, r, t, w);
    MOX_UNROLL
    for (uint32_t n = 0; n < 2; n++) { /* four bits to the bottoms of four bytes */
        w[n] |= ((fifth >> 16 * n & 15U) * 0x00204081U & 0x01010101U) << 4;
    }
}

struct q4_0 : b_format<32, 4, false> {
    static __device__ __forceinline__ void words(const uint8_t *body, uint32_t r, uint32_t t, two_words &w)
    {
        nibble_words(body, r, t, w);
        w[0] = less(w[0], 0x08080808U);
        w[1] = less(w[1], 0x08080808U);
    }
};

struct q4_1 : b_format<64, 4, true> {
    static __device__ __forceinline__ void words(const uint8_t *body, uint32_t r, uint32_t t, two_words &w)
    {
        nibble_words(body, r, t, w);
    }
};

struct q5_0 : b_format<32, 5, false> {
    static __device__ __forceinline__ void words(const uint8_t *body, uint32_t r, uint32_t t, two_words &w)
    {
        fifth_words(body, r, t, w);
        w[0] = less(w[0], 0x10101010U);
        w[1] = less(w[1], 0x10101010U);
    }
};

struct q5_1 : b_format<64, 5, true> {
    static __device__ __forceinline__ void words(const uint8_t *body, uint32_t r, uint32_t t, two_words &w)
    {
        fifth_words(body, r, t, w);
    }
};

struct q8_0 : b_format<32, 8, false> {
    static __device__ __forceinline__ void words(const uint8_t *body, uint32_t r, uint32_t t, two_words &w)
    {
        w[0] = line_word(body, t, r);
        w[1] = line_word(body, 4 + t, r);
    }
};

struct iq4_nl : b_format<32, 4, false> {
    static __device__ __forceinline__ void words(const uint8_t *body, uint32_t r, uint32_t t, two_words &w)
    {
        look_up_iq4(line_word(body, t, r), w);
    }
};

struct mxfp4 : b_format<16, 4, false> {
    static __device__ __forceinline__ float d(const uint8_t *head,
                                              uint32_t r) /* 2^(e - 128): codes are doubled */
    {
        const uint32_t e = load<uint8_t>(head + r);
        return mox_f32_from_bits(e < 2 ? 0x00200000U << e : (e - 1) << 23);
    }
    static __device__ __forceinline__ void words(const uint8_t *body, uint32_t r, uint32_t t, two_words &w)
    {
        look_up_fp4(line_word(body, t, r), w);
    }
};

/* ---- plain floats: STEP elements of row r, from element e on ---- */

struct f32 {
    static constexpr uint32_t STEP = 1;
    static __device__ __forceinline__ void values(const uint8_t *chunk, uint32_t, uint32_t r, uint32_t e,
                                                  float (&v)[1])
    {
        v[0] = load<float>(chunk + 4 * (ROWS * e + r));
    }
};

struct f16 {
    static constexpr uint32_t STEP = 1;
    static __device__ __forceinline__ void values(const uint8_t *chunk, uint32_t, uint32_t r, uint32_t e,
                                                  float (&v)[1])
    {
        v[0] = load_f16(chunk + 2 * (ROWS * e + r));
    }
};

struct bf16 {
    static constexpr uint32_t STEP = 1;
    static __device__ __forceinline__ void values(const uint8_t *chunk, uint32_t, uint32_t r, uint32_t e,
                                                  float (&v)[1])
    {
        v[0] = mox_bf16_to_f32(load<uint16_t>(chunk + 2 * (ROWS * e + r)));
    }
};

/* X(TYPE, struct); of the last list all but the first three are in formats_iq.cuh */
#define CUDA_K_FORMATS(X)                                                                                    \
    X(Q2_K, q2_k)                                                                                            \
    X(Q3_K, q3_k)                                                                                            \
    X(Q4_K, q4_k)                                                                                            \
    X(Q5_K, q5_k)                                                                                            \
    X(Q6_K, q6_k)                                                                                            \
    X(IQ4_XS, iq4_xs)
#define CUDA_B_FORMATS(X)                                                                                    \
    X(Q4_0, q4_0)                                                                                            \
    X(Q4_1, q4_1)                                                                                            \
    X(Q5_0, q5_0)                                                                                            \
    X(Q5_1, q5_1)                                                                                            \
    X(Q8_0, q8_0)                                                                                            \
    X(IQ4_NL, iq4_nl)                                                                                        \
    X(MXFP4, mxfp4)
#define CUDA_FLOAT_FORMATS(X)                                                                                \
    X(F32, f32)                                                                                              \
    X(F16, f16)                                                                                              \
    X(BF16, bf16)                                                                                            \
    X(IQ1_S, iq1_s)                                                                                          \
    X(IQ1_M, iq1_m)                                                                                          \
    X(IQ2_XXS, iq2_xxs)                                                                                      \
    X(IQ2_XS, iq2_xs)                                                                                        \
    X(IQ2_S, iq2_s)                                                                                          \
    X(IQ3_XXS, iq3_xxs)                                                                                      \
    X(IQ3_S, iq3_s)                                                                                          \
    X(TQ1_0, tq1_0)                                                                                          \
    X(TQ2_0, tq2_0)                                                                                          \
    X(NVFP4, nvfp4)

#endif
