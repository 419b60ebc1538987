/* The inner loops of every operation that is not a matrix product: one table of functions per instruction
 * set.
 *
 * vec_ref.c is the plain-C twin and *defines* the results (docs/numerics.md); x86/vec_avx2.c and
 * x86/vec_avx512.c give the same bits faster. The drivers (norm.c, attention.c, ...) hold what is common:
 * cutting the work over the pool, chunking, order of combination, errors.
 *
 * Reduction, used by dot and softmax: chunks of 1,024 elements; in a chunk 32 lanes, lane l takes elements l,
 * l + 32,
 * ... (a lane without an element keeps its sum), then butterfly xor 16, 8, 4, 2, 1; chunk sums are added in
 * index order to +0.
 */
#ifndef MOX_KERNELS_VEC_H
#define MOX_KERNELS_VEC_H

#include "kernels/act.h"
#include "kernels/ops.h"

enum { MOX_REDUCE_LANES = 32, MOX_REDUCE_CHUNK = 1024, MOX_DELTA_COLS = 64 };

/* Where a step of the delta rule works. */
typedef struct mox_delta_cols {
    const float *from;
    float *to;
    size_t stride; /* floats between rows of both */
    const float *k, *q;
    uint32_t k_dim;
    const float *v;
    float *o;
} mox_delta_cols;

typedef struct mox_vec {
    /* Sum of a[i] * b[i] by the reduction, products by fma. */
    float (*dot)(const float *a, const float *b, uint32_t n);
    /* s[i] = exp(s[i] - m); returns their sum by the reduction, by additions. n <= 1,024. */
    float (*softmax)(float *s, uint32_t n, float m);
    /* A row of n floats to int8; false if a value is not finite (y is then unspecified). */
    bool (*quantize_k)(const float *x, uint32_t n, mox_act_k *y);
    bool (*quantize_b)(const float *x, uint32_t n, mox_act_b *y);
    /* h = gate / (1 + exp(-gate)) * up */
    void (*swiglu)(const float *gate, const float *up, float *h, size_t n);
    /* y[0..d) = x + chain over k of fma(w[j], e[j * stride + i], .) from +0 */
    void (*merge)(const float *e, size_t stride, const float *w, uint32_t k, const float *x, float *y,
                  uint32_t d);
    /* One head's vector to its stored form; false if a value does not fit (numerics contract, "KV"). */
    bool (*kv_store[MOX_KV_TYPES])(const float *x, uint32_t head_dim, uint8_t *row);
    /* s[i] = dot(q, K row i) * scale, i < n; rows are row_bytes apart. Returns the largest (-inf for none).
     */
    float (*scores[MOX_KV_TYPES])(const float *q, const uint8_t *k, size_t row_bytes, uint32_t n,
                                  uint32_t head_dim, float scale, float *s);
    /* o[j] = chain over i of fma(p[i], V row i [j], .) from +0 */
    void (*values[MOX_KV_TYPES])(const float *p, const uint8_t *v, size_t row_bytes, uint32_t n,
                                 uint32_t head_dim, float *o);
    /* o[j] = fma(o[j], a, part[j] * b) */
    void (*combine)(float *o, float a, const float *part, float b, uint32_t n);
    /* One row of the delta rule on n <= MOX_DELTA_COLS columns of a head's matrix: of column j, with f_i = from[i][j] *
     * decay, t = chain over i of fma(f_i, k[i], .) from +0, d = (v[j] - t) * beta, to[i][j] = fma(k[i], d, f_i),
     * o[j] = chain over i of fma(to[i][j], q[i], .) from +0. from may be to. */
    void (*delta)(const mox_delta_cols *c, float decay, float beta, uint32_t n);
} mox_vec;

extern const mox_vec mox_vec_ref;                  /* the definition */
extern const mox_vec mox_vec_ref_avx2;             /* the same source compiled with AVX2 and FMA */
extern const mox_vec mox_vec_avx2, mox_vec_avx512; /* x86 only; reach them through mox_vec_of */

/* mox_vec_of: the table of an instruction set (scalar: the twin, compiled with AVX2 where the machine has it), or NULL
 * where it is not compiled in. Whether the machine can
 * run it is mox_isa_present(). */
const mox_vec *mox_vec_of(mox_isa isa);

/* mox_vec_self_check: three small inputs through each function of a table, compared with the twin's bits.
 * Errors MOX_E_ISA: the machine computes differently (the message names the function). */
MOX_NODISCARD mox_err mox_vec_self_check(const mox_vec *vec, const char *isa_name);

/* Drivers: the table's operations on a pool. Contracts are those of ops.h. */
MOX_NODISCARD mox_err mox_rms_norm_cpu(mox_pool *pool, const mox_vec *vec, const mox_rms_norm_args *a);
MOX_NODISCARD mox_err mox_quantize_cpu(mox_pool *pool, const mox_vec *vec, const mox_quantize_args *a);
MOX_NODISCARD mox_err mox_rope_cpu(mox_pool *pool, const mox_rope_args *a);
MOX_NODISCARD mox_err mox_kv_append_cpu(mox_pool *pool, const mox_vec *vec, const mox_kv_append_args *a);
MOX_NODISCARD mox_err mox_attention_cpu(mox_pool *pool, const mox_vec *vec, const mox_attention_args *a);
MOX_NODISCARD mox_err mox_router_cpu(mox_pool *pool, const mox_vec *vec, const mox_router_args *a);
MOX_NODISCARD mox_err mox_swiglu_cpu(mox_pool *pool, const mox_vec *vec, const mox_swiglu_args *a);
MOX_NODISCARD mox_err mox_merge_cpu(mox_pool *pool, const mox_vec *vec, const mox_merge_args *a);
MOX_NODISCARD mox_err mox_add_cpu(mox_pool *pool, const mox_add_args *a);
MOX_NODISCARD mox_err mox_layer_norm_cpu(mox_pool *pool, const mox_vec *vec, const mox_layer_norm_args *a);
MOX_NODISCARD mox_err mox_map_cpu(mox_pool *pool, const mox_map_args *a);
MOX_NODISCARD mox_err mox_gate_cpu(mox_pool *pool, const mox_vec *vec, const mox_gate_args *a);

MOX_NODISCARD mox_err mox_conv_cpu(mox_pool *pool, const mox_vec *vec, const mox_conv_args *a);
MOX_NODISCARD mox_err mox_delta_prepare_cpu(mox_pool *pool, const mox_vec *vec,
                                            const mox_delta_prepare_args *a);
MOX_NODISCARD mox_err mox_delta_rule_cpu(mox_pool *pool, const mox_vec *vec, const mox_delta_rule_args *a);

/* attention_special.c: attention with any of what its arguments have besides; where none is wanted the results are
 * those of mox_attention_cpu. */
bool mox_attention_is_special(const mox_attention_args *a);
MOX_NODISCARD mox_err mox_attention_special_cpu(mox_pool *pool, const mox_vec *vec,
                                                const mox_attention_args *a);

/* router_rule.c: scores of a row to ids and weights by the call's rule; false if a score is not finite. Destroys s. */
bool mox_router_choose(const mox_vec *vec, const mox_router_args *a, float *s, uint32_t *ids, float *weights);

/* glu.c: h = glu(gate, up), elementwise; may be in place on gate. Compiled for the machine, one source and one result. */
void mox_glu_row(mox_glu glu, const mox_vec *vec, const float *gate, const float *up, float *h, size_t n);

#endif
