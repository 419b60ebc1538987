/* The short float formats, converted in plain code: exact, denormals included, the same bits from
 * every compiler and device. f32 -> f16 rounds to nearest, ties to even (what VCVTPS2PH and cvt.rn do). */
#ifndef MOX_KERNELS_HALF_H
#define MOX_KERNELS_HALF_H

#include "kernels/host_device.h"

#include <stdint.h>
#include <string.h>

#define MOX_F16_MAX 65504.0f

static inline MOX_HOST_DEVICE uint32_t mox_f32_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline MOX_HOST_DEVICE float mox_f32_from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Without branches, so that a loop of it becomes vector code: exponent and mantissa move to their places, and a product
 * with 2^112, exact for all of them, corrects the bias; denormals of f16 pass through denormals of f32. */
static inline MOX_HOST_DEVICE float mox_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, mag = (uint32_t)(h & 0x7fffu) << 13;
    const uint32_t special =
        mag >= 0x0f800000u ? 0x7f800000u : 0u; /* infinity, NaN: the largest exponent again */
    return mox_f32_from_bits(mox_f32_bits(mox_f32_from_bits(mag) * 0x1p112f) | sign | special);
}

static inline MOX_HOST_DEVICE uint16_t mox_f32_to_f16(float f)
{
    const uint32_t u = mox_f32_bits(f);
    const uint32_t sign = u >> 16 & 0x8000u, mag = u & 0x7fffffffu;
    if (mag >= 0x7f800000u) {
        return (uint16_t)(sign | 0x7c00u | (mag > 0x7f800000u ? 0x200u | (mag >> 13 & 0x3ffu) : 0u));
    }
    if (mag >= 0x477ff000u) { /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    }
    if (mag < 0x38800000u) { /* below 2^-14: the sum with 0.5 rounds at 2^-24, the unit of f16 denormals */
        const float sum = mox_f32_from_bits(mag) + 0.5f;
        return (uint16_t)(sign | (mox_f32_bits(sum) - 0x3f000000u));
    }
    return (uint16_t)(sign | ((mag - 0x38000000u + 0xfffu + (mag >> 13 & 1u)) >> 13));
}

static inline MOX_HOST_DEVICE float mox_bf16_to_f32(uint16_t b)
{
    return mox_f32_from_bits((uint32_t)b << 16);
}

#endif
