/* Kernel launchers: one table per device, whole operations, every argument in a struct.
 *
 * On the CPU (cpu_ops.c) a call runs on the worker pool and has finished when it returns; a GPU enqueues it
 * on `s`. Arithmetic of every operation is fixed by docs/numerics.md: results are the same bits on every
 * device, ISA, thread count and batch size. Common rules: f32 tensors are row-major and 64-byte aligned, n =
 * rows of this step, MOX_E_NUMERIC where a non-finite value meets a rounding or a router (the caller adds
 * layer and operation to the record).
 */
#ifndef MOX_KERNELS_OPS_H
#define MOX_KERNELS_OPS_H

#include "kernels/formats.h"
#include "kernels/mat.h"
#include "runtime/core/dev.h"
#include "runtime/core/err.h"
#include "runtime/core/pool.h"

#include <stdbool.h>

/* Activations of n rows in one of the three kinds. Opaque bytes; F32 is plain floats. */
typedef struct mox_acts {
    mox_act_kind kind;
    uint32_t n_cols;
    size_t row_bytes; /* mox_act_row_bytes(kind, n_cols) */
    void *data;       /* NULL: not present */
} mox_acts;

size_t mox_act_row_bytes(mox_act_kind kind, uint32_t n_cols);

typedef enum mox_kv_type { MOX_KV_F16, MOX_KV_Q8_0, MOX_KV_F32, MOX_KV_TYPES } mox_kv_type;

/* mox_kv_row_bytes: bytes of one head's K (or V) vector; 0 if head_dim does not suit the type (q8_0: multiple
 * of 32) */
size_t mox_kv_row_bytes(mox_kv_type type, uint32_t head_dim);
const char *mox_kv_type_name(mox_kv_type type); /* "f16" "q8_0" "f32" */

/* Attention takes keys in chunks of so many, at absolute positions (docs/numerics.md). */
enum { MOX_KEY_CHUNK = 256 };

/* One layer's cache: [sequence][kv head][position][row bytes], K and V apart. Position p lies in row p % n_ctx: where the
 * layer sees a window or blocks, n_ctx may be less than a sequence has positions; then it is a multiple of MOX_KEY_CHUNK. */
typedef struct mox_kv_view {
    mox_kv_type type;
    uint8_t *k, *v;
    uint32_t n_seq, n_ctx, n_kv_heads, head_dim;
    uint32_t v_dim; /* length of a V vector; 0: head_dim */
} mox_kv_view;

static inline uint32_t mox_kv_v_dim(const mox_kv_view *kv)
{
    return kv->v_dim != 0 ? kv->v_dim : kv->head_dim;
}

/* A row's place: which sequence, which position (0-based). */
typedef struct mox_place {
    uint32_t seq, pos;
} mox_place;

typedef struct mox_embed_args { /* y[i] = row ids[i] of W, dequantised */
    const mox_mat *w;
    const uint32_t *ids;
    uint32_t n;
    float *y; /* [n][cols] */
} mox_embed_args;

typedef struct mox_rms_norm_args { /* y = x * (1/sqrt(mean(x^2) + eps)) * w */
    const float *x;
    const float *w; /* NULL: without weights */
    float *y;       /* may be x */
    uint32_t n, d;
    float eps;
} mox_rms_norm_args;

typedef struct mox_layer_norm_args { /* y = ((x - mean) * (1/sqrt(mean((x - mean)^2) + eps))) * w + bias */
    const float *x;
    const float *w, *bias; /* [d]; bias may be NULL */
    float *y;              /* not x */
    uint32_t n, d;
    float eps;
} mox_layer_norm_args;

typedef struct mox_quantize_args { /* f32 rows to activations; F32 kind copies */
    const float *x;
    uint32_t n;
    size_t x_stride; /* floats between rows */
    mox_acts y;
} mox_quantize_args;

enum { MOX_MAT_MULS = 4 };

typedef struct mox_mat_mul_args { /* y[i][r] = W[r] . x[i] (+ bias[r]) */
    const mox_mat *w;
    mox_acts x;
    const float *bias; /* [rows] or NULL */
    float *y;
    size_t y_stride; /* floats between rows */
    uint32_t n;
    void *scratch; /* mox_mat_mul_scratch_bytes; NULL: none, and many rows are slower */
} mox_mat_mul_args;

typedef struct mox_mat_muls_args { /* independent products in one call: fewer waits where each is short */
    const mox_mat_mul_args *mul;
    uint32_t n; /* at most MOX_MAT_MULS */
} mox_mat_muls_args;

typedef struct mox_rope_args { /* pairs (2i, 2i+1): NORM rotation of the first 2*n_pairs elements of each head
                                */
    float *x;                  /* [n][n_heads][head_dim], in place */
    const float *cos_sin;      /* [n][n_pairs][2], f32 made on the host in double */
    uint32_t n, n_heads, head_dim, n_pairs;
    bool neox; /* pairs (i, i + n_pairs) instead */
} mox_rope_args;

typedef struct mox_kv_append_args {
    mox_kv_view kv;
    const float *k, *v; /* [n][n_kv_heads][head_dim] */
    const mox_place *place;
    uint32_t n;
} mox_kv_append_args;

typedef struct mox_attention_args { /* causal: row i sees positions 0..place[i].pos of its sequence */
    mox_kv_view kv;
    const float *q; /* [n][n_heads][head_dim] */
    float *out;     /* [n][n_heads][head_dim] */
    const mox_place *place;
    uint32_t n, n_heads;
    float scale;
    void *scratch; /* mox_attention_scratch_bytes */
    /* What some models have besides (attention_special.c); all zero: none of it. */
    uint32_t window;    /* only the last so many positions, the row's own among them */
    uint32_t chunk;     /* only positions of the row's own block of so many */
    float softcap;      /* scores become softcap * tanh(score / softcap) */
    const float *sinks; /* [n_heads]: a score without a value, at the start of the chain */
    /* [n][n_heads][v_dim]: compressed attention. The score is q . k + q_latent . v, times scale: what is stored as V
     * serves as the rest of the key; out is then [n][n_heads][v_dim]. */
    const float *q_latent;
} mox_attention_args;

/* How scores become experts and weights. All zero is Mixtral's rule. */
typedef enum mox_gating {
    MOX_GATING_SOFTMAX,      /* probabilities: softmax over all experts */
    MOX_GATING_SIGMOID,      /* the sigmoid of each score */
    MOX_GATING_SOFTMAX_TOP,  /* chosen by score; softmax over the chosen */
    MOX_GATING_SIGMOID_TOP,  /* chosen by score; the sigmoid of each chosen score, for the expert's input */
    MOX_GATING_SPARSE_MIXER, /* one by one: softmax over the scores near the largest of those left */
} mox_gating;

typedef struct mox_router_rule {
    mox_gating gating;
    bool not_normalised; /* the chosen weights keep their sum */
    float scale;         /* of the weights, after that; 0: none */
    /* Experts come from the n_groups_used best of n_groups equal groups; 0 or 1: no groups. A group's score is its
     * best expert's with softmax, the sum of its two best with the others. */
    uint32_t n_groups, n_groups_used;
} mox_router_rule;

typedef struct mox_router_args { /* softmax over all experts, top k by (probability, lower id), renormalised
                                  */
    const float *x;              /* [n][d] */
    const float *w;              /* [n_experts][d], row-major f32 */
    uint32_t n, d, n_experts, k;
    uint32_t *ids;               /* [n][k] in rank order */
    float *weights;              /* [n][k] */
    const mox_router_rule *rule; /* NULL: as above */
    const float *bias;           /* [n_experts] added to the scores, or NULL; with a rule */
    const float *select_bias;    /* [n_experts] added for the choice alone, or NULL; with a rule */
} mox_router_args;

typedef struct mox_merge_args mox_merge_args;

/* What stands between gate and up, and down. */
typedef enum mox_glu {
    MOX_GLU_SILU,    /* silu(gate) * up */
    MOX_GLU_GELU,    /* gelu(gate) * up, by tanh */
    MOX_GLU_CLAMPED, /* g * sigmoid(1.702 g) * (u + 1), g = min(gate, 7), u = up held to -7 .. 7 */
    MOX_GLU_KINDS
} mox_glu;

typedef struct mox_expert_use {   /* one expert of a call */
    mox_mat mats[MOX_SLABS];      /* views of its slot */
    const float *bias[MOX_SLABS]; /* [rows of the matrix], or NULL */
    uint32_t first, n;            /* its rows: tok[first .. first + n) */
} mox_expert_use;

/* The same where which experts it will be is known only after the call has been queued. */
typedef struct mox_expert_place {
    const uint8_t *slot;
    const float *bias[MOX_SLABS]; /* or NULL */
    uint32_t first, n;            /* as above; n 0: none, and the rest is not read */
} mox_expert_place;

typedef struct mox_experts_args { /* e[out_row[j]] = down(silu(gate x[tok[j]]) * (up x[tok[j]])) */
    const mox_expert_use *use;    /* [n_uses], n_uses >= 1, experts of one layer */
    uint32_t n_uses;
    const mox_acts *x;           /* [MOX_ACT_KINDS]; the kinds of gate and up are present */
    const uint32_t *tok;         /* rows of x */
    const uint32_t *out_row;     /* rows of e, in the same order */
    float *e;                    /* [..][d_model] */
    const mox_merge_args *merge; /* a layer's last experts: merge then; NULL: others will come */
    bool act_f32;                /* audit: float activations whatever the type */
    mox_glu glu;
    void *scratch; /* mox_experts_scratch_bytes or more */
    size_t scratch_bytes;
    /* NULL: all bytes are there. Of a single use whose slot is still being filled: waits for more than *slices of its
     * first slices and says how many there are, UINT32_MAX when it is whole. Asked until then or until it fails;
     * its error is the operation's. */
    mox_err (*arrived)(void *ctx, uint32_t *slices);
    void *arrived_ctx;
    /* Of a device that queues; NULL elsewhere. [n_uses] in memory that it reads when the work runs, and written until then,
     * so that a captured call computes other experts with every launch. use[0] then has the shapes alone; an expert has at
     * most most_rows rows, all have all_rows. */
    const mox_expert_place *places;
    uint32_t most_rows, all_rows;
} mox_experts_args;

typedef struct mox_swiglu_args { /* h = silu(gate) * up, both [n][d_ff]; may be in place on gate */
    const float *gate, *up;
    float *h;
    uint32_t n, d_ff;
} mox_swiglu_args;

struct mox_merge_args {    /* y = x + sum over ranks, y0 = +0; y = fma(w_r, e_r, y) */
    const float *e;        /* [n][k][d] */
    const float *weights;  /* [n][k] */
    const float *residual; /* [n][d] */
    float *y;              /* [n][d], may be residual */
    uint32_t n, k, d;
};

typedef struct mox_add_args { /* y = a + b */
    const float *a, *b;
    float *y;
    size_t n;
} mox_add_args;

/* One function of every element of x [n][d], in place. */
typedef enum mox_map_kind {
    MOX_MAP_SCALE,   /* x * a */
    MOX_MAP_CLAMP,   /* x held to -a .. a */
    MOX_MAP_SOFTCAP, /* a * tanh(x / a) */
    MOX_MAP_ROWS,    /* x * by[row] */
    MOX_MAP_GATE,    /* x * sigmoid(by[row][column]) */
} mox_map_kind;

typedef struct mox_map_args {
    mox_map_kind kind;
    float *x;
    float a;
    const float *by;
    uint32_t n, d;
} mox_map_args;

typedef struct mox_gate_args { /* y[i] = sigmoid(w . x[i]): how much of a shared expert a row takes */
    const float *x;            /* [n][d] */
    const float *w;            /* [d] */
    float *y;
    size_t y_stride; /* floats between rows */
    uint32_t n, d;
} mox_gate_args;

typedef struct mox_head_mul_args { /* y[i][h][r] = W[h][r] . x[i][h], a small matrix for each head */
    const mox_mat *w;              /* [n_heads], of one shape */
    mox_acts x;                    /* n * n_heads rows */
    float *y;                      /* [n][n_heads][rows] */
    uint32_t n, n_heads;
} mox_head_mul_args;

/* What a layer of gated delta nets keeps of a sequence: its last inputs of the convolution and a matrix for each value
 * head. It lies in slots: a step reads one and writes another, so that a step which fails has changed nothing.
 * channels = 2 * k_heads * k_dim + v_heads * v_dim: q of all key heads, k of all, v of all value heads. */
typedef struct mox_state_view {
    float *conv; /* [n_seq][n_slots][taps - 1][channels]: the input of position p in row p % (taps - 1) */
    float *s;    /* [n_seq][n_slots][v_heads][k_dim][v_dim] */
    uint32_t n_seq, n_slots, k_heads, v_heads, k_dim, v_dim, taps;
} mox_state_view;

static inline size_t mox_state_channels(const mox_state_view *v)
{
    return (size_t)2 * v->k_heads * v->k_dim + (size_t)v->v_heads * v->v_dim;
}

/* Slots of one sequence in a step. from is not read where the step begins at position 0: all is zero there. */
typedef struct mox_state_step {
    uint32_t from, to;
} mox_state_step;

typedef struct
    mox_conv_args { /* y[i][c] = silu(((w0 x0 + w1 x1) + ...)), x the last taps inputs, the row's own last */
    mox_state_view state;
    const mox_state_step *step; /* [n_seq] */
    const mox_place *place;
    const float *x; /* [n][channels] */
    const float *w; /* [channels][taps] */
    float *y;       /* [n][channels], not x */
    uint32_t n;
} mox_conv_args;

/* In rows of y as conv leaves them: q = q / |q| / sqrt(k_dim), k = k / |k|, |x| = sqrt(x . x + eps); and, for each value
 * head, beta = sigmoid(b), decay = exp(a * softplus(alpha + dt_bias)). */
typedef struct mox_delta_prepare_args {
    mox_state_view state;     /* for its sizes */
    float *y;                 /* [n][channels], in place */
    const float *ba;          /* [n][k_heads][b of its value heads, then alpha of the same] */
    const float *a, *dt_bias; /* [v_heads] */
    float *decay, *beta;      /* [n][v_heads] */
    float eps;
    uint32_t n;
} mox_delta_prepare_args;

/* Row by row in each sequence, for each value head with its matrix S, key head v_head / (v_heads / k_heads):
 * S = decay S; d = beta (v - S^T k); S = S + k d^T; out = S^T q. */
typedef struct mox_delta_rule_args {
    mox_state_view state;
    const mox_state_step *step;
    const mox_place *place;
    const float *y;            /* [n][channels], prepared */
    const float *decay, *beta; /* [n][v_heads] */
    float *out;                /* [n][v_heads][v_dim] */
    uint32_t n;
} mox_delta_rule_args;

typedef struct mox_part_args { /* y[i] = x[i][at .. at + len) */
    const float *x;            /* [n][from] */
    float *y;                  /* [n][len] */
    uint32_t n, from, at, len;
} mox_part_args;

typedef struct mox_weigh_args { /* y[i][r] = x[i] * weights[i][r] */
    const float *x;             /* [n][d] */
    const float *weights;       /* [n][k] */
    float *y;                   /* [n][k][d] */
    uint32_t n, k, d;
} mox_weigh_args;

/* Weights of a merge with a rank more, or with a factor on all: y[i] = the row's k weights (or 1 each), then, where ranks is
 * k + 1, what stands there already (or 1); all times scale unless that is 1. */
typedef struct mox_ranks_args {
    const float *weights; /* [n][k]; NULL: 1 each */
    float *y;             /* [n][ranks] */
    uint32_t n, k, ranks;
    bool last_is_one;
    float scale;
} mox_ranks_args;

typedef struct mox_ops mox_ops;
struct mox_ops {
    const char *name; /* "cpu scalar", "cpu avx2", "cpu avxvnni", "cpu avx512" */
    mox_err (*embed)(mox_ops *o, mox_stream *s, const mox_embed_args *a);
    mox_err (*rms_norm)(mox_ops *o, mox_stream *s, const mox_rms_norm_args *a);
    mox_err (*quantize)(mox_ops *o, mox_stream *s, const mox_quantize_args *a);
    mox_err (*mat_mul)(mox_ops *o, mox_stream *s, const mox_mat_mul_args *a);
    mox_err (*mat_muls)(mox_ops *o, mox_stream *s, const mox_mat_muls_args *a); /* NULL: one by one */
    mox_err (*rope)(mox_ops *o, mox_stream *s, const mox_rope_args *a);
    mox_err (*kv_append)(mox_ops *o, mox_stream *s, const mox_kv_append_args *a);
    mox_err (*attention)(mox_ops *o, mox_stream *s, const mox_attention_args *a);
    mox_err (*router)(mox_ops *o, mox_stream *s, const mox_router_args *a);
    mox_err (*experts)(mox_ops *o, mox_stream *s, const mox_experts_args *a);
    mox_err (*swiglu)(mox_ops *o, mox_stream *s, const mox_swiglu_args *a);
    mox_err (*merge)(mox_ops *o, mox_stream *s, const mox_merge_args *a);
    mox_err (*add)(mox_ops *o, mox_stream *s, const mox_add_args *a);
    /* what some models have besides */
    mox_err (*layer_norm)(mox_ops *o, mox_stream *s, const mox_layer_norm_args *a);
    mox_err (*map)(mox_ops *o, mox_stream *s, const mox_map_args *a);
    mox_err (*gate)(mox_ops *o, mox_stream *s, const mox_gate_args *a);
    mox_err (*head_mul)(mox_ops *o, mox_stream *s, const mox_head_mul_args *a);
    /* gated delta nets; NULL where a device has none */
    mox_err (*conv)(mox_ops *o, mox_stream *s, const mox_conv_args *a);
    mox_err (*delta_prepare)(mox_ops *o, mox_stream *s, const mox_delta_prepare_args *a);
    mox_err (*delta_rule)(mox_ops *o, mox_stream *s, const mox_delta_rule_args *a);
    /* what the graph does between them */
    mox_err (*part)(mox_ops *o, mox_stream *s, const mox_part_args *a);
    mox_err (*weigh)(mox_ops *o, mox_stream *s, const mox_weigh_args *a);
    mox_err (*ranks)(mox_ops *o, mox_stream *s, const mox_ranks_args *a);
    /* Where calls only queue, else NULL. check: waits for the stream; MOX_E_NUMERIC if an operation since the last check
     * met what the CPU's would have refused. careful: from now on every call waits and checks, to find out which. */
    mox_err (*check)(mox_ops *o, mox_stream *s);
    void (*careful)(mox_ops *o, bool on);
    void (*destroy)(mox_ops *o);
};

/* Bytes an operation needs beside its arguments; the plan reserves them. n_workers: mox_pool_workers. */
size_t mox_attention_scratch_bytes(uint32_t n_ctx, uint32_t head_dim, uint32_t n_workers);
size_t mox_mat_mul_scratch_bytes(mox_act_kind kind, uint32_t cols, uint32_t n);
/* of calls with at most n_uses experts and n_rows rows of all of them */
size_t mox_experts_scratch_bytes(const mox_expert_layout *l, uint32_t n_uses, uint32_t n_rows,
                                 uint32_t n_workers, bool act_f32);

/* The scratch of experts on a device, in bytes from its start: gate and up in f32, h rounded (where gate was if h is not
 * rounded); before them the uses. bytes: of all. The plan takes it for the largest call there can be. */
enum { MOX_DEVICE_USE_BYTES = 64 };
typedef struct mox_experts_device_parts {
    size_t gate, up, h, bytes;
} mox_experts_device_parts;
mox_experts_device_parts mox_experts_device_lay_out(mox_type down, uint32_t d_ff, uint32_t n_uses,
                                                    uint32_t n_rows);

/* Instruction sets of the CPU table, from cpuid and xgetbv. */
typedef enum mox_isa {
    MOX_ISA_SCALAR,
    MOX_ISA_AVX2,    /* with FMA and F16C */
    MOX_ISA_AVXVNNI, /* that and 256-bit VNNI: AVX-VNNI (VEX), or AVX-512 VNNI and VL (EVEX) */
    MOX_ISA_AVX512,  /* F, BW, VL, DQ, VNNI */
    MOX_ISA_COUNT
} mox_isa;

const char *mox_isa_name(mox_isa isa); /* "scalar" "avx2" "avxvnni" "avx512" */
bool mox_isa_present(mox_isa isa);
bool mox_isa_vex_vnni(void); /* AVX-VNNI tiles use the VEX encoding here, else EVEX */
mox_isa mox_isa_best(void);  /* avx512, else avxvnni, else avx2, else scalar */

/* mox_ops_cpu_create: the CPU's table. pool is borrowed. At creation three tiny products per kernel are
 * compared with the twin; a machine that computes differently is refused. Owns: small tables only. Threads:
 * step thread. Errors  MOX_E_ISA (isa absent, or self-check failed). */
MOX_NODISCARD mox_err mox_ops_cpu_create(mox_ops **out, mox_pool *pool, mox_isa isa);
void mox_ops_destroy(mox_ops **o);

#endif
