/* Random blocks of every type that moxie computes with, one row of the table per type.
 *
 * The bytes of a block are random first; a row's `patch` then sets what random bytes would get wrong: scales
 * that give the wanted spread and stay normal numbers in f16, and mins that centre the values (a quantiser
 * would have done so). The constants are the root mean square of the codes of a type under uniform bits.
 */
#include "synth.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

static uint64_t rotl(uint64_t v, int k)
{
    return (v << k) | (v >> (64 - k));
}

/* splitmix64, to spread a seed over the state of the generator */
static uint64_t mix(uint64_t *s)
{
    uint64_t z = (*s += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void synth_rng_seed(synth_rng *r, uint64_t seed, uint64_t stream)
{
    uint64_t s = seed;
    s = mix(&s) ^ stream;
    for (int i = 0; i < 4; i++) {
        r->s[i] = mix(&s);
    }
}

/* xoshiro256** */
uint64_t synth_rng_next(synth_rng *r)
{
    uint64_t *s = r->s;
    uint64_t out = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return out;
}

float synth_rng_unit(synth_rng *r)
{
    return (float)(synth_rng_next(r) >> 40) * 0x1p-24f;
}

static void put16(uint8_t *p, uint16_t v)
{
    memcpy(p, &v, sizeof v);
}

/* Round to nearest even; |v| below 65504. */
static uint16_t f16_bits(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    bits &= 0x7FFFFFFF;
    if (bits < 0x38800000) { /* below 2^-14: the multiple of 2^-24 nearest to it */
        float magnitude;
        memcpy(&magnitude, &bits, sizeof magnitude);
        return (uint16_t)(sign | (uint16_t)(magnitude * 0x1p24f + 0.5f));
    }
    bits += 0xFFF + (bits >> 13 & 1);
    return (uint16_t)(sign | ((bits - 0x38000000) >> 13));
}

/* A block's scale: between 3/4 and 5/4 of what the spread asks for, and never an f16 denormal. */
static float scale_of(float spread, float code_rms, synth_rng *r)
{
    float d = spread / code_rms * (0.75f + 0.5f * synth_rng_unit(r));
    return d < 0x1p-14f ? 0x1p-14f : d;
}

static void patch_q4_0(uint8_t *b, float spread, synth_rng *r)
{
    put16(b, f16_bits(scale_of(spread, 4.64f, r)));
}

static void patch_q4_1(uint8_t *b, float spread, synth_rng *r)
{
    float d = scale_of(spread, 4.61f, r);
    put16(b, f16_bits(d));
    put16(b + 2, f16_bits(-7.5f * d));
}

static void patch_q5_0(uint8_t *b, float spread, synth_rng *r)
{
    put16(b, f16_bits(scale_of(spread, 9.25f, r)));
}

static void patch_q5_1(uint8_t *b, float spread, synth_rng *r)
{
    float d = scale_of(spread, 9.23f, r);
    put16(b, f16_bits(d));
    put16(b + 2, f16_bits(-15.5f * d));
}

static void patch_q8_0(uint8_t *b, float spread, synth_rng *r)
{
    put16(b, f16_bits(scale_of(spread, 73.6f, r)));
    for (int i = 2; i < 34; i++) {
        b[i] = b[i] == 0x80 ? 0x81 : b[i]; /* no quantiser writes -128 */
    }
}

/* Q2_K: scale and min nibbles 8..15, equal, so that dmin = 1.5 d centres the codes 0..3. */
static void patch_q2_k(uint8_t *b, float spread, synth_rng *r)
{
    for (int i = 0; i < 16; i++) {
        uint8_t sc = (uint8_t)(8 + (b[i] & 7));
        b[i] = (uint8_t)(sc | sc << 4);
    }
    float d = scale_of(spread, 1.118f * 11.7f, r);
    put16(b + 80, f16_bits(d));
    put16(b + 82, f16_bits(1.5f * d));
}

static void patch_q3_k(uint8_t *b, float spread, synth_rng *r)
{
    put16(b + 108, f16_bits(scale_of(spread, 2.35f * 18.5f, r)));
}

/* The 12 bytes of Q4_K and Q5_K: eight 6-bit scales in 8..15 with a min at most one step away from the scale.
 * Both fit in four bits, so the two high bits of sub-blocks 4..7, kept in the bytes of 0..3, stay zero. */
static void patch_k_scales(uint8_t *s)
{
    uint8_t sc[8], m[8];
    for (int j = 0; j < 8; j++) {
        sc[j] = (uint8_t)(8 + (s[j] & 7));
        m[j] = (uint8_t)(sc[j] - 1 + (s[j] >> 3) % 3);
        m[j] = m[j] > 15 ? 15 : m[j];
    }
    for (int j = 0; j < 4; j++) {
        s[j] = sc[j];
        s[j + 4] = m[j];
        s[j + 8] = (uint8_t)(sc[j + 4] | m[j + 4] << 4);
    }
}

static void patch_q4_k(uint8_t *b, float spread, synth_rng *r)
{
    float d = scale_of(spread, 4.61f * 11.7f, r);
    put16(b, f16_bits(d));
    put16(b + 2, f16_bits(7.5f * d));
    patch_k_scales(b + 4);
}

static void patch_q5_k(uint8_t *b, float spread, synth_rng *r)
{
    float d = scale_of(spread, 9.23f * 11.7f, r);
    put16(b, f16_bits(d));
    put16(b + 2, f16_bits(15.5f * d));
    patch_k_scales(b + 4);
}

/* Small scales (2..6 of 127), for the f16 scale above them would be denormal in rows of 14,336 otherwise. */
static void patch_q6_k(uint8_t *b, float spread, synth_rng *r)
{
    for (int i = 192; i < 208; i++) {
        int sc = 2 + (b[i] & 0x7F) % 5;
        b[i] = (uint8_t)(b[i] & 0x80 ? -sc : sc);
    }
    put16(b + 208, f16_bits(scale_of(spread, 18.5f * 4.24f, r)));
}

static void patch_iq4_nl(uint8_t *b, float spread, synth_rng *r)
{
    put16(b, f16_bits(scale_of(spread, 68.0f, r)));
}

static void patch_iq4_xs(uint8_t *b, float spread, synth_rng *r)
{
    static const uint8_t steps[4] = {30, 31, 33, 34}; /* -2, -1, 1, 2 after the offset of 32 */
    uint16_t high = 0;
    uint8_t low[4] = {0};
    for (int j = 0; j < 8; j++) {
        uint8_t ls = steps[b[8 + j] & 3];
        high = (uint16_t)(high | (ls >> 4) << 2 * j);
        low[j / 2] = (uint8_t)(low[j / 2] | (ls & 15) << 4 * (j & 1));
    }
    put16(b, f16_bits(scale_of(spread, 68.0f * 1.58f, r)));
    put16(b + 2, high);
    memcpy(b + 4, low, sizeof low);
}

/* MXFP4: 2^(e-128) times a doubled e2m1 code (rms 5.85). The exponent nearest to the spread, sometimes one
 * less. */
static void patch_mxfp4(uint8_t *b, float spread, synth_rng *r)
{
    int e = 128;
    for (float s = 5.85f; s > spread * 1.8f && e > 2; s *= 0.5f) {
        e--;
    }
    b[0] = (uint8_t)(e - (int)(synth_rng_next(r) >> 63));
}

/* NVFP4: four scales of a 3-bit mantissa times 2^(exponent - 8), none of them beyond what the spread asks for. */
static void patch_nvfp4(uint8_t *b, float spread, synth_rng *r)
{
    uint8_t x = 0x7E;
    float scale = 0;
    do {
        int exponent = x >> 3, mantissa = x & 7;
        scale = exponent ? ldexpf((float)(8 + mantissa), exponent - 11) : ldexpf((float)mantissa, -10);
    } while (scale * 5.85f > spread && --x > 1);
    for (int i = 0; i < 4; i++) {
        b[i] = (uint8_t)(x - (x > 1 ? synth_rng_next(r) >> 63 : 0));
    }
}

/* The types whose scale is an f16 before their codes. */
static void patch_iq2(uint8_t *b, float spread, synth_rng *r)
{
    put16(b, f16_bits(scale_of(spread, 55.0f, r)));
}

static void patch_iq3(uint8_t *b, float spread, synth_rng *r)
{
    put16(b, f16_bits(scale_of(spread, 141.0f, r)));
}

static void patch_iq1_s(uint8_t *b, float spread, synth_rng *r)
{
    put16(b, f16_bits(scale_of(spread, 7.2f, r)));
}

/* IQ1_M: four bits of the f16 on top of each of the last four words. */
static void patch_iq1_m(uint8_t *b, float spread, synth_rng *r)
{
    uint16_t d = f16_bits(scale_of(spread, 7.2f, r));
    for (int k = 0; k < 4; k++) {
        uint8_t *high = b + 49 + 2 * k;
        *high = (uint8_t)((*high & 15) | (d >> 4 * k & 15) << 4);
    }
}

static void patch_tq1_0(uint8_t *b, float spread, synth_rng *r)
{
    put16(b + 52, f16_bits(scale_of(spread, 0.82f, r)));
}

/* TQ2_0: of two bits 3 is no code; it becomes 1, which is 0. */
static void patch_tq2_0(uint8_t *b, float spread, synth_rng *r)
{
    for (int i = 0; i < 64; i++) {
        b[i] &= (uint8_t) ~((b[i] & b[i] >> 1 & 0x55) << 1);
    }
    put16(b + 64, f16_bits(scale_of(spread, 0.71f, r)));
}

typedef void (*patch_fn)(uint8_t *block, float spread, synth_rng *r);

/* Types with a patch; F32, F16 and BF16 are made value by value. */
static const patch_fn patches[MOX_TYPE_COUNT] = {
    [MOX_TYPE_Q4_0] = patch_q4_0,   [MOX_TYPE_Q4_1] = patch_q4_1,     [MOX_TYPE_Q5_0] = patch_q5_0,
    [MOX_TYPE_Q5_1] = patch_q5_1,   [MOX_TYPE_Q8_0] = patch_q8_0,     [MOX_TYPE_Q2_K] = patch_q2_k,
    [MOX_TYPE_Q3_K] = patch_q3_k,   [MOX_TYPE_Q4_K] = patch_q4_k,     [MOX_TYPE_Q5_K] = patch_q5_k,
    [MOX_TYPE_Q6_K] = patch_q6_k,   [MOX_TYPE_IQ4_NL] = patch_iq4_nl, [MOX_TYPE_IQ4_XS] = patch_iq4_xs,
    [MOX_TYPE_MXFP4] = patch_mxfp4, [MOX_TYPE_NVFP4] = patch_nvfp4,   [MOX_TYPE_IQ1_S] = patch_iq1_s,
    [MOX_TYPE_IQ1_M] = patch_iq1_m, [MOX_TYPE_IQ2_XXS] = patch_iq2,   [MOX_TYPE_IQ2_XS] = patch_iq2,
    [MOX_TYPE_IQ2_S] = patch_iq2,   [MOX_TYPE_IQ3_XXS] = patch_iq3,   [MOX_TYPE_IQ3_S] = patch_iq3,
    [MOX_TYPE_TQ1_0] = patch_tq1_0, [MOX_TYPE_TQ2_0] = patch_tq2_0,
};

static bool is_float(uint32_t type)
{
    return type == MOX_TYPE_F32 || type == MOX_TYPE_F16 || type == MOX_TYPE_BF16;
}

bool synth_type_of(const char *name, uint32_t *type)
{
    for (uint32_t id = 0; id < MOX_TYPE_COUNT; id++) {
        const mox_type_desc *info = mox_type_info(id);
        if (!info || (!patches[id] && !is_float(id)) || strlen(info->name) != strlen(name)) {
            continue;
        }
        size_t i = 0;
        while (name[i] && toupper((unsigned char)name[i]) == info->name[i]) {
            i++;
        }
        if (!name[i]) {
            *type = id;
            return true;
        }
    }
    return false;
}

/* Uniform values: a flat distribution has the same variance as a bell and costs no logarithm. */
static void fill_floats(uint32_t type, float center, float spread, synth_rng *r, uint8_t *dst, size_t n)
{
    size_t size = type == MOX_TYPE_F32 ? 4 : 2;
    float half_width = spread * sqrtf(3.0f);
    for (size_t i = 0; i < n; i += size) {
        float v = center + half_width * (2.0f * synth_rng_unit(r) - 1.0f);
        uint32_t bits;
        memcpy(&bits, &v, sizeof bits);
        if (type == MOX_TYPE_F32) {
            memcpy(dst + i, &bits, 4);
        } else {
            put16(dst + i, type == MOX_TYPE_F16 ? f16_bits(v) : (uint16_t)(bits >> 16));
        }
    }
}

void synth_fill(uint32_t type, float center, float spread, synth_rng *r, uint8_t *dst, size_t n)
{
    if (is_float(type)) {
        fill_floats(type, center, spread, r, dst, n);
        return;
    }
    size_t block = mox_type_info(type)->block_bytes;
    for (size_t i = 0; i < n; i += sizeof(uint64_t)) {
        uint64_t v = synth_rng_next(r);
        memcpy(dst + i, &v, n - i < sizeof v ? n - i : sizeof v);
    }
    for (size_t i = 0; i + block <= n; i += block) {
        patches[type](dst + i, spread, r);
    }
}
