/* Moving units between 16 rows and the chunk: the inner loops of repacking (x16_map.c).
 *
 * `n` units of 1, 2 or 4 bytes start at byte `off` of each row; unit i of the 16 rows goes to dst + i * step.
 * Four-byte units are nearly all of a chunk, two-byte ones all of an F16 matrix: both go through SSE2
 * transposes, which every x86-64 has, so repacking needs no dispatch; so do the scale bytes on their way in.
 */
#ifndef MOX_KERNELS_X16_LINES_H
#define MOX_KERNELS_X16_LINES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { MOX_X16_ROWS = 16 };

static inline void mox_x16_pack_plain(const uint8_t *const row[16], size_t off, uint32_t n, size_t unit,
                                      uint8_t *dst, size_t step)
{
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t r = 0; r < MOX_X16_ROWS; r++) {
            memcpy(dst + i * step + r * unit, row[r] + off + i * unit, unit);
        }
    }
}

static inline void mox_x16_unpack_plain(const uint8_t *src, size_t step, uint32_t n, size_t unit,
                                        uint8_t *const row[16], size_t off)
{
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t r = 0; r < MOX_X16_ROWS; r++) {
            memcpy(row[r] + off + i * unit, src + i * step + r * unit, unit);
        }
    }
}

#if defined(__SSE2__)

/* 4 x 4 transpose of 32-bit units: in place on four registers. */
static inline void mox_x16_quad(__m128i v[4])
{
    __m128i a = _mm_unpacklo_epi32(v[0], v[1]), b = _mm_unpacklo_epi32(v[2], v[3]);
    __m128i c = _mm_unpackhi_epi32(v[0], v[1]), d = _mm_unpackhi_epi32(v[2], v[3]);
    v[0] = _mm_unpacklo_epi64(a, b);
    v[1] = _mm_unpackhi_epi64(a, b);
    v[2] = _mm_unpacklo_epi64(c, d);
    v[3] = _mm_unpackhi_epi64(c, d);
}

/* 8 x 8 transpose of 16-bit units: in place on eight registers. */
static inline void mox_x16_octet(__m128i v[8])
{
    __m128i t[8], u[8];
    for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm_unpacklo_epi16(v[2 * i], v[2 * i + 1]);
        t[2 * i + 1] = _mm_unpackhi_epi16(v[2 * i], v[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        u[4 * i] = _mm_unpacklo_epi32(t[4 * i], t[4 * i + 2]);
        u[4 * i + 1] = _mm_unpackhi_epi32(t[4 * i], t[4 * i + 2]);
        u[4 * i + 2] = _mm_unpacklo_epi32(t[4 * i + 1], t[4 * i + 3]);
        u[4 * i + 3] = _mm_unpackhi_epi32(t[4 * i + 1], t[4 * i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        v[2 * i] = _mm_unpacklo_epi64(u[i], u[i + 4]);
        v[2 * i + 1] = _mm_unpackhi_epi64(u[i], u[i + 4]);
    }
}

static inline uint32_t mox_x16_pack4_fast(const uint8_t *const row[16], size_t off, uint32_t n, uint8_t *dst,
                                          size_t step)
{
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (uint32_t r = 0; r < MOX_X16_ROWS; r += 4) {
            __m128i v[4];
            for (uint32_t k = 0; k < 4; k++) {
                v[k] = _mm_loadu_si128((const __m128i *)(const void *)(row[r + k] + off + (size_t)i * 4));
            }
            mox_x16_quad(v);
            for (uint32_t k = 0; k < 4; k++) {
                _mm_storeu_si128((__m128i *)(void *)(dst + (i + k) * step + (size_t)r * 4), v[k]);
            }
        }
    }
    return i;
}

static inline uint32_t mox_x16_unpack4_fast(const uint8_t *src, size_t step, uint32_t n,
                                            uint8_t *const row[16], size_t off)
{
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (uint32_t r = 0; r < MOX_X16_ROWS; r += 4) {
            __m128i v[4];
            for (uint32_t k = 0; k < 4; k++) {
                v[k] = _mm_loadu_si128((const __m128i *)(const void *)(src + (i + k) * step + (size_t)r * 4));
            }
            mox_x16_quad(v);
            for (uint32_t k = 0; k < 4; k++) {
                _mm_storeu_si128((__m128i *)(void *)(row[r + k] + off + (size_t)i * 4), v[k]);
            }
        }
    }
    return i;
}

static inline uint32_t mox_x16_pack2_fast(const uint8_t *const row[16], size_t off, uint32_t n, uint8_t *dst,
                                          size_t step)
{
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (uint32_t r = 0; r < MOX_X16_ROWS; r += 8) {
            __m128i v[8];
            for (uint32_t k = 0; k < 8; k++) {
                v[k] = _mm_loadu_si128((const __m128i *)(const void *)(row[r + k] + off + (size_t)i * 2));
            }
            mox_x16_octet(v);
            for (uint32_t k = 0; k < 8; k++) {
                _mm_storeu_si128((__m128i *)(void *)(dst + (i + k) * step + (size_t)r * 2), v[k]);
            }
        }
    }
    return i;
}

/* Four scale bytes of 16 rows: 16 x 4 to 4 x 16, by interleaving rows 8, 4, 2 and 1 apart. */
static inline uint32_t mox_x16_pack1_fast(const uint8_t *const row[16], size_t off, uint32_t n, uint8_t *dst,
                                          size_t step)
{
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        uint32_t in[MOX_X16_ROWS];
        for (uint32_t r = 0; r < MOX_X16_ROWS; r++) {
            memcpy(&in[r], row[r] + off + i, 4);
        }
        __m128i v[4], t[4];
        for (uint32_t k = 0; k < 4; k++) {
            v[k] = _mm_set_epi32((int)in[4 * k + 3], (int)in[4 * k + 2], (int)in[4 * k + 1], (int)in[4 * k]);
        }
        for (int round = 0; round < 2; round++) {
            t[0] = _mm_unpacklo_epi8(v[0], v[2]);
            t[1] = _mm_unpackhi_epi8(v[0], v[2]);
            t[2] = _mm_unpacklo_epi8(v[1], v[3]);
            t[3] = _mm_unpackhi_epi8(v[1], v[3]);
            v[0] = _mm_unpacklo_epi8(t[0], t[2]);
            v[1] = _mm_unpackhi_epi8(t[0], t[2]);
            v[2] = _mm_unpacklo_epi8(t[1], t[3]);
            v[3] = _mm_unpackhi_epi8(t[1], t[3]);
        }
        for (uint32_t k = 0; k < 4; k++) {
            _mm_storeu_si128((__m128i *)(void *)(dst + (i + k) * step), v[k]);
        }
    }
    return i;
}

#else

static inline uint32_t mox_x16_pack4_fast(const uint8_t *const row[16], size_t off, uint32_t n, uint8_t *dst,
                                          size_t step)
{
    (void)row, (void)off, (void)n, (void)dst, (void)step;
    return 0;
}

static inline uint32_t mox_x16_unpack4_fast(const uint8_t *src, size_t step, uint32_t n,
                                            uint8_t *const row[16], size_t off)
{
    (void)row, (void)off, (void)n, (void)src, (void)step;
    return 0;
}

static inline uint32_t mox_x16_pack2_fast(const uint8_t *const row[16], size_t off, uint32_t n, uint8_t *dst,
                                          size_t step)
{
    return mox_x16_pack4_fast(row, off, n, dst, step);
}

static inline uint32_t mox_x16_pack1_fast(const uint8_t *const row[16], size_t off, uint32_t n, uint8_t *dst,
                                          size_t step)
{
    return mox_x16_pack4_fast(row, off, n, dst, step);
}

#endif

/* `unit` is a constant in each call, so that the plain loops copy without calling memcpy. */
static inline void mox_x16_pack_units(const uint8_t *const row[16], size_t off, uint32_t n, uint32_t unit,
                                      uint8_t *dst, size_t step)
{
    uint32_t done;
    switch (unit) {
    case 4:
        done = mox_x16_pack4_fast(row, off, n, dst, step);
        mox_x16_pack_plain(row, off + (size_t)done * 4, n - done, 4, dst + done * step, step);
        break;
    case 2:
        done = mox_x16_pack2_fast(row, off, n, dst, step);
        mox_x16_pack_plain(row, off + (size_t)done * 2, n - done, 2, dst + done * step, step);
        break;
    default:
        done = mox_x16_pack1_fast(row, off, n, dst, step);
        mox_x16_pack_plain(row, off + done, n - done, 1, dst + done * step, step);
        break;
    }
}

static inline void mox_x16_unpack_units(const uint8_t *src, size_t step, uint32_t n, uint32_t unit,
                                        uint8_t *const row[16], size_t off)
{
    uint32_t done;
    switch (unit) {
    case 4:
        done = mox_x16_unpack4_fast(src, step, n, row, off);
        mox_x16_unpack_plain(src + done * step, step, n - done, 4, row, off + (size_t)done * 4);
        break;
    case 2:
        mox_x16_unpack_plain(src, step, n, 2, row, off);
        break;
    default:
        mox_x16_unpack_plain(src, step, n, 1, row, off);
        break;
    }
}

#endif
