/* XXH3, 64 and 128 bits, as published in the xxHash algorithm description, in plain scalar C: what
 * MOXIE_MINIMAL builds use where libxxhash is absent. Written for shortness, not speed; tests/core compares
 * it with libxxhash over every length class and over streams cut into odd pieces.
 *
 * Inputs up to 240 bytes have formulas of their own by length. Longer ones go in stripes of 64 bytes through
 * eight 64-bit accumulators, scrambled after every block of 16 stripes; the last 64 bytes are always a stripe
 * of their own, which is why the stream keeps them back.
 */
#include "runtime/core/hash.h"

#include "runtime/core/bits.h"

#include <string.h>

#define P32_1 0x9E3779B1u
#define P32_2 0x85EBCA77u
#define P32_3 0xC2B2AE3Du
#define P64_1 0x9E3779B185EBCA87u
#define P64_2 0xC2B2AE3D27D4EB4Fu
#define P64_3 0x165667B19E3779F9u
#define P64_4 0x85EBCA77C2B2AE63u
#define P64_5 0x27D4EB2F165667C5u
#define P_MX1 0x165667919E3779F9u
#define P_MX2 0x9FB21C651E98DF25u

enum {
    SECRET_BYTES = 192,
    STRIPE_BYTES = 64,
    BLOCK_STRIPES = (SECRET_BYTES - STRIPE_BYTES) / 8,
    SHORT_BYTES = 240, /* the longest input with a formula of its own */
    BUFFER_BYTES = 4 * STRIPE_BYTES,
    SECRET_LAST_STRIPE = SECRET_BYTES - STRIPE_BYTES - 7,
    SECRET_SCRAMBLE = SECRET_BYTES - STRIPE_BYTES,
    SECRET_MERGE = 11,
};

static const uint8_t default_secret[SECRET_BYTES] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};

typedef unsigned __int128 u128;

typedef struct stream {
    uint64_t acc[8];
    uint64_t total;
    uint32_t stripe;   /* within the block */
    uint32_t buffered; /* bytes at the front of buffer; its end keeps the bytes before them */
    uint8_t buffer[BUFFER_BYTES];
} stream;

_Static_assert(sizeof(stream) <= sizeof(mox_hash128_state), "the caller's state holds ours");

static uint64_t rotl64(uint64_t v, int n)
{
    return v << n | v >> (64 - n);
}

static uint64_t fold(uint64_t a, uint64_t b)
{
    u128 product = (u128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t avalanche(uint64_t h)
{
    h = (h ^ h >> 37) * P_MX1;
    return h ^ h >> 32;
}

static uint64_t avalanche64(uint64_t h)
{
    h = (h ^ h >> 33) * P64_2;
    h = (h ^ h >> 29) * P64_3;
    return h ^ h >> 32;
}

static uint64_t mix16(const uint8_t *in, const uint8_t *secret, uint64_t seed)
{
    return fold(mox_le64(in) ^ (mox_le64(secret) + seed), mox_le64(in + 8) ^ (mox_le64(secret + 8) - seed));
}

static uint32_t combine_1to3(const uint8_t *in, size_t n)
{
    return (uint32_t)in[0] << 16 | (uint32_t)in[n >> 1] << 24 | in[n - 1] | (uint32_t)n << 8;
}

static uint64_t hash64_0to16(const uint8_t *in, size_t n, const uint8_t *secret, uint64_t seed)
{
    if (n > 8) {
        uint64_t lo = mox_le64(in) ^ ((mox_le64(secret + 24) ^ mox_le64(secret + 32)) + seed);
        uint64_t hi = mox_le64(in + n - 8) ^ ((mox_le64(secret + 40) ^ mox_le64(secret + 48)) - seed);
        return avalanche(n + __builtin_bswap64(lo) + hi + fold(lo, hi));
    }
    if (n >= 4) {
        seed ^= (uint64_t)__builtin_bswap32((uint32_t)seed) << 32;
        uint64_t flip = (mox_le64(secret + 8) ^ mox_le64(secret + 16)) - seed;
        uint64_t h = (mox_le32(in + n - 4) + ((uint64_t)mox_le32(in) << 32)) ^ flip;
        h ^= rotl64(h, 49) ^ rotl64(h, 24);
        h *= P_MX2;
        h ^= (h >> 35) + n;
        h *= P_MX2;
        return h ^ h >> 28;
    }
    if (n > 0) {
        return avalanche64(combine_1to3(in, n) ^ ((mox_le32(secret) ^ mox_le32(secret + 4)) + seed));
    }
    return avalanche64(seed ^ mox_le64(secret + 56) ^ mox_le64(secret + 64));
}

static uint64_t hash64_17to240(const uint8_t *in, size_t n, const uint8_t *secret, uint64_t seed)
{
    uint64_t acc = n * P64_1;
    if (n <= 128) {
        for (size_t i = (n - 1) / 32 + 1; i-- > 0;) { /* pairs from both ends towards the middle */
            acc += mix16(in + 16 * i, secret + 32 * i, seed);
            acc += mix16(in + n - 16 * (i + 1), secret + 32 * i + 16, seed);
        }
        return avalanche(acc);
    }
    for (size_t i = 0; i < 8; i++) {
        acc += mix16(in + 16 * i, secret + 16 * i, seed);
    }
    acc = avalanche(acc);
    for (size_t i = 8; i < n / 16; i++) {
        acc += mix16(in + 16 * i, secret + 16 * (i - 8) + 3, seed);
    }
    return avalanche(acc + mix16(in + n - 16, secret + 136 - 17, seed));
}

/* The 128-bit forms are used without a seed. */
static mox_hash128 hash128_0to16(const uint8_t *in, size_t n, const uint8_t *secret)
{
    if (n > 8) {
        uint64_t lo = mox_le64(in), hi = mox_le64(in + n - 8);
        u128 m = (u128)(lo ^ hi ^ mox_le64(secret + 32) ^ mox_le64(secret + 40)) * P64_1;
        uint64_t m_lo = (uint64_t)m + ((uint64_t)(n - 1) << 54), m_hi = (uint64_t)(m >> 64);
        hi ^= mox_le64(secret + 48) ^ mox_le64(secret + 56);
        m_hi += hi + (uint64_t)(uint32_t)hi * (P32_2 - 1);
        m_lo ^= __builtin_bswap64(m_hi);
        u128 h = (u128)m_lo * P64_2;
        return (mox_hash128){avalanche((uint64_t)h), avalanche((uint64_t)(h >> 64) + m_hi * P64_2)};
    }
    if (n >= 4) {
        uint64_t flip = mox_le64(secret + 16) ^ mox_le64(secret + 24);
        uint64_t keyed = (mox_le32(in) + ((uint64_t)mox_le32(in + n - 4) << 32)) ^ flip;
        u128 m = (u128)keyed * (P64_1 + (n << 2));
        uint64_t lo = (uint64_t)m, hi = (uint64_t)(m >> 64) + (lo << 1);
        lo ^= hi >> 3;
        lo = (lo ^ lo >> 35) * P_MX2;
        return (mox_hash128){lo ^ lo >> 28, avalanche(hi)};
    }
    if (n > 0) {
        uint32_t lo = combine_1to3(in, n), swapped = __builtin_bswap32(lo),
                 hi = swapped << 13 | swapped >> 19;
        return (mox_hash128){avalanche64((uint64_t)lo ^ (mox_le32(secret) ^ mox_le32(secret + 4))),
                             avalanche64((uint64_t)hi ^ (mox_le32(secret + 8) ^ mox_le32(secret + 12)))};
    }
    return (mox_hash128){avalanche64(mox_le64(secret + 64) ^ mox_le64(secret + 72)),
                         avalanche64(mox_le64(secret + 80) ^ mox_le64(secret + 88))};
}

static void mix32(mox_hash128 *acc, const uint8_t *in1, const uint8_t *in2, const uint8_t *secret)
{
    acc->lo += mix16(in1, secret, 0);
    acc->lo ^= mox_le64(in2) + mox_le64(in2 + 8);
    acc->hi += mix16(in2, secret + 16, 0);
    acc->hi ^= mox_le64(in1) + mox_le64(in1 + 8);
}

static mox_hash128 hash128_17to240(const uint8_t *in, size_t n, const uint8_t *secret)
{
    mox_hash128 acc = {.lo = n * P64_1};
    if (n <= 128) {
        for (size_t i = (n - 1) / 32 + 1; i-- > 0;) {
            mix32(&acc, in + 16 * i, in + n - 16 * (i + 1), secret + 32 * i);
        }
    } else {
        for (size_t i = 0; i < 4; i++) {
            mix32(&acc, in + 32 * i, in + 32 * i + 16, secret + 32 * i);
        }
        acc = (mox_hash128){avalanche(acc.lo), avalanche(acc.hi)};
        for (size_t i = 4; i < n / 32; i++) {
            mix32(&acc, in + 32 * i, in + 32 * i + 16, secret + 32 * (i - 4) + 3);
        }
        mix32(&acc, in + n - 16, in + n - 32, secret + 136 - 17 - 16);
    }
    return (mox_hash128){avalanche(acc.lo + acc.hi),
                         0 - avalanche(acc.lo * P64_1 + acc.hi * P64_4 + (uint64_t)n * P64_2)};
}

static void acc_init(uint64_t acc[8])
{
    const uint64_t first[8] = {P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1};
    memcpy(acc, first, sizeof first);
}

static void accumulate(uint64_t acc[8], const uint8_t *in, const uint8_t *secret)
{
    for (int i = 0; i < 8; i++) {
        uint64_t value = mox_le64(in + 8 * i), key = value ^ mox_le64(secret + 8 * i);
        acc[i ^ 1] += value;
        acc[i] += (uint64_t)(uint32_t)key * (key >> 32);
    }
}

/* n whole stripes; *stripe is the place in the block and moves on. */
static void consume(uint64_t acc[8], uint32_t *stripe, const uint8_t *in, size_t n, const uint8_t *secret)
{
    for (size_t s = 0; s < n; s++) {
        accumulate(acc, in + s * STRIPE_BYTES, secret + 8 * *stripe);
        if (++*stripe == BLOCK_STRIPES) {
            *stripe = 0;
            for (int i = 0; i < 8; i++) {
                acc[i] = (acc[i] ^ acc[i] >> 47 ^ mox_le64(secret + SECRET_SCRAMBLE + 8 * i)) * P32_1;
            }
        }
    }
}

static uint64_t merge(const uint64_t acc[8], const uint8_t *secret, uint64_t start)
{
    for (int i = 0; i < 4; i++) {
        start += fold(acc[2 * i] ^ mox_le64(secret + 16 * i), acc[2 * i + 1] ^ mox_le64(secret + 16 * i + 8));
    }
    return avalanche(start);
}

static uint64_t hash64_long(const uint8_t *in, size_t n, uint64_t seed)
{
    uint8_t secret[SECRET_BYTES];
    for (int i = 0; i < SECRET_BYTES; i += 16) {
        uint64_t lo = mox_le64(default_secret + i) + seed, hi = mox_le64(default_secret + i + 8) - seed;
        memcpy(secret + i, &lo, 8);
        memcpy(secret + i + 8, &hi, 8);
    }
    uint64_t acc[8];
    uint32_t stripe = 0;
    acc_init(acc);
    consume(acc, &stripe, in, (n - 1) / STRIPE_BYTES, secret);
    accumulate(acc, in + n - STRIPE_BYTES, secret + SECRET_LAST_STRIPE);
    return merge(acc, secret + SECRET_MERGE, n * P64_1);
}

uint64_t mox_hash64(const void *data, size_t bytes, uint64_t seed)
{
    if (bytes <= 16) {
        return hash64_0to16(data, bytes, default_secret, seed);
    }
    if (bytes <= SHORT_BYTES) {
        return hash64_17to240(data, bytes, default_secret, seed);
    }
    return hash64_long(data, bytes, seed);
}

void mox_hash128_init(mox_hash128_state *st)
{
    stream *s = (stream *)st;
    memset(s, 0, sizeof *s);
    acc_init(s->acc);
}

void mox_hash128_update(mox_hash128_state *st, const void *data, size_t bytes)
{
    stream *s = (stream *)st;
    const uint8_t *in = data;
    s->total += bytes;
    while (bytes) {
        /* A full buffer goes on only when more follows: the last stripe is taken at the end. */
        if (s->buffered == BUFFER_BYTES) {
            consume(s->acc, &s->stripe, s->buffer, BUFFER_BYTES / STRIPE_BYTES, default_secret);
            s->buffered = 0;
        }
        size_t room = BUFFER_BYTES - s->buffered, n = bytes < room ? bytes : room;
        memcpy(s->buffer + s->buffered, in, n);
        s->buffered += (uint32_t)n;
        in += n;
        bytes -= n;
    }
}

mox_hash128 mox_hash128_final(const mox_hash128_state *st)
{
    const stream *s = (const stream *)st;
    if (s->total <= 16) {
        return hash128_0to16(s->buffer, s->total, default_secret);
    }
    if (s->total <= SHORT_BYTES) {
        return hash128_17to240(s->buffer, s->total, default_secret);
    }
    uint64_t acc[8];
    memcpy(acc, s->acc, sizeof acc);
    uint32_t stripe = s->stripe;
    consume(acc, &stripe, s->buffer, (s->buffered - 1) / STRIPE_BYTES, default_secret);
    /* The last 64 bytes of the input; what of them is not at the front lies at the buffer's end. */
    uint8_t last[STRIPE_BYTES];
    size_t front = s->buffered < STRIPE_BYTES ? s->buffered : STRIPE_BYTES;
    memcpy(last, s->buffer + BUFFER_BYTES - (STRIPE_BYTES - front), STRIPE_BYTES - front);
    memcpy(last + STRIPE_BYTES - front, s->buffer + s->buffered - front, front);
    accumulate(acc, last, default_secret + SECRET_LAST_STRIPE);
    return (mox_hash128){
        .lo = merge(acc, default_secret + SECRET_MERGE, s->total * P64_1),
        .hi = merge(acc, default_secret + SECRET_BYTES - STRIPE_BYTES - SECRET_MERGE, ~(s->total * P64_2))};
}
