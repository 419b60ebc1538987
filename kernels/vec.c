/* The tables of vec.h by instruction set, and the check that this machine computes as the contract says.
 *
 * The check runs three small inputs through every function: one ordinary, one with a wide range of
 * magnitudes, one with zeros and denormals. It takes microseconds, and finds flush-to-zero, a wrong rounding
 * mode and emulators with inexact fma before the first token. */
#include "kernels/vec.h"

#include <string.h>

enum { N = 96, KEYS = 5, PASSES = 3 };

const mox_vec *mox_vec_of(mox_isa isa)
{
    switch (isa) {
    case MOX_ISA_SCALAR:
#if defined(__x86_64__)
        return mox_isa_present(MOX_ISA_AVX2) ? &mox_vec_ref_avx2 : &mox_vec_ref;
    case MOX_ISA_AVX2:
    case MOX_ISA_AVXVNNI: /* no vector operation multiplies integers */
        return &mox_vec_avx2;
    case MOX_ISA_AVX512:
        return &mox_vec_avx512;
#else
        return &mox_vec_ref;
#endif
    default:
        return NULL;
    }
}

/* Deterministic inputs in about +-1, times 2^(spread * -12..11). */
static void fill(float *x, uint32_t n, uint32_t seed, int spread)
{
    for (uint32_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        const int e = ((int)(seed >> 8 & 0xffu) % 24 - 12) * spread;
        const float scale = e < 0 ? 1.0f / (float)(1ull << -e) : (float)(1ull << e);
        x[i] = (float)((int)(seed >> 16) - 32768) / 32768.0f * scale;
    }
}

typedef struct check_out { /* everything the functions of a table produce; compared as bytes */
    float dot, sum, largest[MOX_KV_TYPES];
    float soft[N], glu[N], merged[N], combined[N], state[N], delta[N / 2], scores[MOX_KV_TYPES][KEYS],
        values[MOX_KV_TYPES][N];
    mox_act_k k;
    mox_act_b b;
    uint8_t rows[MOX_KV_TYPES][KEYS][N * 4];
} check_out;

static void run_all(const mox_vec *vec, const float *x, const float *y, check_out *out)
{
    memset(out, 0, sizeof *out);
    out->dot = vec->dot(x, y, N);
    memcpy(out->soft, x, sizeof out->soft);
    out->sum = vec->softmax(out->soft, N, 1.0f);
    (void)vec->quantize_k(x, N, &out->k);
    (void)vec->quantize_b(x, N, &out->b);
    vec->swiglu(x, y, out->glu, N);
    vec->merge(y, N / 2, x, 2, x, out->merged, N / 2);
    memcpy(out->combined, y, sizeof out->combined);
    vec->combine(out->combined, x[0], x, y[1], N);
    const mox_delta_cols c = {.from = x,
                              .to = out->state,
                              .stride = N / 2,
                              .k = y,
                              .q = y + 2,
                              .k_dim = 2,
                              .v = y + N / 2,
                              .o = out->delta};
    vec->delta(&c, x[1], y[2], N / 2);
    for (int t = 0; t < MOX_KV_TYPES; t++) {
        for (int r = 0; r < KEYS; r++) {
            (void)vec->kv_store[t](r % 2 ? x : y, N, out->rows[t][r]);
        }
        const size_t stride = sizeof out->rows[t][0];
        out->largest[t] = vec->scores[t](x, out->rows[t][0], stride, KEYS, N, 0.125f, out->scores[t]);
        vec->values[t](y, out->rows[t][0], stride, KEYS, N, out->values[t]);
    }
}

mox_err mox_vec_self_check(const mox_vec *vec, const char *isa_name)
{
    for (int pass = 0; pass < PASSES; pass++) {
        float x[N], y[N];
        fill(x, N, 1 + (uint32_t)pass, pass == 0 ? 0 : 1);
        fill(y, N, 77 + (uint32_t)pass, pass == 0 ? 0 : 1);
        for (int i = 0; pass == 2 && i < N; i += 3) { /* zeros and f32 denormals */
            x[i] = i % 2 ? -0.0f : x[i] * 0x1p-126f;
        }
        check_out want, got;
        run_all(&mox_vec_ref, x, y, &want);
        run_all(vec, x, y, &got);
        if (memcmp(&want, &got, sizeof want) != 0) {
            const size_t n = sizeof want;
            size_t at = 0;
            while (at < n && ((const char *)&want)[at] == ((const char *)&got)[at]) {
                at++;
            }
            return MOX_FAIL(MOX_E_ISA,
                            "the %s vector kernels differ from the reference (input %d, byte %zu of %zu)",
                            isa_name, pass, at, n);
        }
    }
    return MOX_OK;
}
