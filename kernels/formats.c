/* The format table: which kernels meet a tensor type. The list is the whole of what moxie can compute with;
 * types that are absent (integers, F64, Q8_1, Q8_K) may stand in a file, but not in a matrix. */
#include "kernels/formats.h"

#include "kernels/dequant.h"
#include "kernels/x16.h"

/* X(TYPE, dequantiser, activation kind) */
#define FORMATS(X)                                                                                           \
    X(F32, f32, F32)                                                                                         \
    X(F16, f16, F32)                                                                                         \
    X(BF16, bf16, F32)                                                                                       \
    X(Q4_0, q4_0, B32)                                                                                       \
    X(Q4_1, q4_1, B32)                                                                                       \
    X(Q5_0, q5_0, B32)                                                                                       \
    X(Q5_1, q5_1, B32)                                                                                       \
    X(Q8_0, q8_0, B32)                                                                                       \
    X(Q2_K, q2_k, K)                                                                                         \
    X(Q3_K, q3_k, K)                                                                                         \
    X(Q4_K, q4_k, K)                                                                                         \
    X(Q5_K, q5_k, K)                                                                                         \
    X(Q6_K, q6_k, K)                                                                                         \
    X(IQ4_NL, iq4_nl, B32)                                                                                   \
    X(IQ4_XS, iq4_xs, K)                                                                                     \
    X(MXFP4, mxfp4, B32)                                                                                     \
    X(IQ1_S, iq1_s, F32)                                                                                     \
    X(IQ1_M, iq1_m, F32)                                                                                     \
    X(IQ2_XXS, iq2_xxs, F32)                                                                                 \
    X(IQ2_XS, iq2_xs, F32)                                                                                   \
    X(IQ2_S, iq2_s, F32)                                                                                     \
    X(IQ3_XXS, iq3_xxs, F32)                                                                                 \
    X(IQ3_S, iq3_s, F32)                                                                                     \
    X(TQ1_0, tq1_0, F32)                                                                                     \
    X(TQ2_0, tq2_0, F32)                                                                                     \
    X(NVFP4, nvfp4, F32)

static const mox_format table[MOX_TYPE_COUNT] = {
#define X(name, function, act)                                                                               \
    [MOX_TYPE_##name] = {.type = MOX_TYPE_##name,                                                            \
                         .kind = MOX_ACT_##act,                                                              \
                         .dequant = mox_dequant_##function,                                                  \
                         .pack = mox_x16_pack_##name,                                                        \
                         .unpack = mox_x16_unpack_##name},
    FORMATS(X)
#undef X
};

const mox_format *mox_format_of(uint32_t type)
{
    return type < MOX_TYPE_COUNT && table[type].dequant != NULL ? &table[type] : NULL;
}
