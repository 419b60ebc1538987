/* Checked arithmetic on sizes that come from files, and little-endian reads. Every size computed from input
 * goes through here: a bare product of two 64-bit values from a file is a bug in the reader. */
#ifndef MOX_CORE_BITS_H
#define MOX_CORE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline bool mox_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool mox_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

/* Round up to a power of two `align`; false on overflow. */
static inline bool mox_align_u64(uint64_t v, uint64_t align, uint64_t *out)
{
    if (!mox_add_u64(v, align - 1, out)) {
        return false;
    }
    *out &= ~(align - 1);
    return true;
}

/* For our own sizes, already known to be far from overflow. */
static inline size_t mox_round_up(size_t v, size_t align)
{
    return (v + align - 1) & ~(align - 1);
}

static inline uint32_t mox_div_up(uint32_t a, uint32_t b)
{
    return a / b + (a % b != 0);
}

static inline uint16_t mox_le16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t mox_le32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t mox_le64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "moxie reads GGUF in place and supports little-endian machines only"
#endif

#endif
