/* The graph: runs a model's op list over the rows of one step.
 *
 * One file per kind of op (attention.c, ffn.c, moe.c), the walk itself in walk.c, memory in buffers.c. All
 * memory is taken at open by mox_graph_take_buffers and mox_graph_take_kv, which also count for the plan. A
 * step touches nothing else, so a row's result cannot depend on what else is in the batch except through the
 * kernels' contract.
 *
 * Threads: the step thread.
 */
#ifndef MOX_RUNTIME_GRAPH_H
#define MOX_RUNTIME_GRAPH_H

#include "kernels/ops.h"
#include "offload/store.h"
#include "profiler/counters.h"
#include "profiler/trace.h"
#include "runtime/core/arena.h"
#include "runtime/graph/replay.h"
#include "runtime/model/model.h"
#include "runtime/moxie.h"
#include "runtime/sample.h"

enum {
    MOX_LOGITS_ROWS = 32,  /* rows of logits made at a time where the caller has no room for all */
    MOX_CHUNK_ROWS = 128,  /* rows given to one FFN call: bounds the scratch of wide models */
    MOX_AHEAD_ROWS = 16,   /* look-ahead works for steps of at most so many rows */
    MOX_AHEAD_LAYERS = 2,  /* and so far ahead */
    MOX_RING_SLACK = 1024, /* positions that a windowed layer keeps beside its window: states.c */
    MOX_STATE_SLOTS = 3,   /* of a sequence's recurrent state: states.c */
};

#define MOX_DELTA_EPS 1e-6f /* under the lengths of q and k: the architecture's, in no key */

/* What a run is shaped like; resolved once, from the configuration and the model. */
typedef struct mox_dims {
    uint32_t n_ctx, n_seq, n_batch, n_threads;
    mox_kv_type kv;
    bool act_f32, look_ahead;
} mox_dims;

/* One input in the kinds that its readers need; quantised at most once per kind. */
typedef struct mox_act_set {
    mox_acts kind[MOX_ACT_KINDS]; /* data NULL: no reader wants this kind */
    bool have[MOX_ACT_KINDS];
} mox_act_set;

typedef struct mox_attention_buffers { /* valid within one attention op */
    float *q, *k, *v, *out;
    mox_act_set out_acts;
    void *scratch;
    float *normed; /* [n * heads][head] or the whole width: q and k while they are normed */
    /* compressed attention: */
    float *latent, *gathered;                       /* [n][n_heads][kv_lora] */
    mox_act_set q_a_acts, head_acts, gathered_acts; /* inputs of q_b, k_b and v_b */
    float *q_gate, *gate; /* queries and gates as they come, the gates by themselves */
} mox_attention_buffers;

typedef struct mox_delta_buffers { /* valid within one op of gated delta nets */
    float *qkv, *mixed;            /* [n][channels]: before and after the convolution */
    float *z, *out;                /* [n][v_heads][v_dim] */
    float *ba, *decay, *beta;      /* [n][2 * v_heads], [n][v_heads] */
    mox_act_set out_acts;
} mox_delta_buffers;

/* The slots of a sequence's recurrent state. */
typedef struct mox_seq_states {
    uint32_t len[MOX_STATE_SLOTS]; /* positions that a slot's state has seen; 0: none */
    uint32_t now, next, mark;
    bool marked;
} mox_seq_states;

/* What the host makes for a step and kernels read: one piece of memory. */
typedef struct mox_step_inputs {
    float *cos_sin;
    float *temperature; /* [n]; NULL: the model has none */
    mox_place *place;
    mox_state_step *states; /* [n_seq]; NULL: the model has none */
    uint32_t *ids;
    uint8_t *base;
    size_t bytes;
} mox_step_inputs;

typedef struct mox_ffn_buffers { /* valid within one FFN op; MOX_CHUNK_ROWS rows */
    float *gate, *up;
    mox_act_set h_acts;
} mox_ffn_buffers;

typedef struct mox_moe_buffers {                  /* valid within one MoE op */
    uint32_t *ids;                                /* [n][k] */
    float *weights;                               /* [n][k] */
    uint32_t *start;                              /* [n_experts + 1] into tok and out_row */
    uint32_t *tok, *out_row;                      /* [n * k], grouped by expert */
    uint32_t *near_ids, *near_tok, *near_out_row; /* the same where the host reads and writes them */
    float *near_weights;
    /* on a card: what experts need that the CPU computes; else those of the kernels */
    mox_act_set near_acts;
    float *near_e;
    void *near_scratch;
    size_t near_scratch_bytes;
    mox_expert_place *places, *near_places; /* with cards: [k] of a captured step's hits */
    mox_need *needs;                        /* [n_experts] */
    mox_lease *leases;                      /* [n_experts] */
    mox_expert_use *uses;                   /* [n_experts] of the leases */
    float *e;                               /* [n][ranks][d]; ranks: k, and one more for a shared expert */
    float *merge_weights;                   /* [n][ranks] where they are not the router's */
    float *in; /* [n][k][d]: inputs times their weights, where the router says so */
    mox_act_set in_acts;
    void *scratch;
    size_t scratch_bytes;
    float *ahead_h; /* [MOX_AHEAD_ROWS][d] */
    /* Of the next layer with experts and the one behind it, [MOX_AHEAD_ROWS][mox_store_guess_ranks] each; where the host reads
     * them; and whether a card refused to compute them. */
    struct {
        uint32_t *ids, *near_ids;
        float *weights, *near_weights;
        bool refused;
    } ahead[MOX_AHEAD_LAYERS];
} mox_moe_buffers;

typedef struct mox_cards mox_cards; /* card.h */

typedef struct mox_graph {
    const mox_model *m;
    mox_dims dims;
    mox_ops *ops, *host_ops; /* host_ops: the CPU's, for experts that a card does not compute */
    mox_stream *stream;
    mox_cards *cards;     /* NULL: it runs on the CPU */
    uint32_t card;        /* which one it runs on: kernels and host do not see each other's memory */
    mox_dev *dev;         /* the card's; NULL: none */
    mox_arena *dev_arena; /* where its part goes while memory is taken; NULL: all is taken from one arena */
    bool played;          /* the CPU plays the card */
    mox_dev_graph **captured;  /* with cards: capture.h */
    bool careful;              /* call by call, each waited for */
    mox_store *store;          /* NULL: no MoE layers */
    mox_trace_writer *trace;   /* NULL: not recording */
    uint64_t lap_ns;           /* until when the step thread's time is accounted for in the trace */
    mox_replay_of_run *replay; /* NULL: the router decides */
    const uint32_t *kept;      /* experts kept per MoE layer: a full layer needs no look-ahead */
    mox_kv_view *kv;           /* [n_layers], of those with attention */
    mox_state_view *state;     /* [n_layers], of those with gated delta nets; NULL: none */
    mox_seq_states *states;    /* [n_seq]; NULL: none */
    uint32_t *seq_len;         /* [n_seq] */
    uint32_t *seq_new;         /* [n_seq] lengths after the step in progress */
    uint32_t *seq_high;        /* [n_seq] positions that steps have written, failed ones too */
    mox_counters counters;     /* steps, tokens, compute_ns */
    uint32_t step_no;
    /* the step in progress */
    const mox_row *rows;
    uint32_t n;
    mox_phase phase;
    uint64_t wait_ns;
    uint32_t layer;               /* MoE layer in progress */
    bool (*cancelled)(void *arg); /* asked between two ops; NULL: nobody asks */
    void *cancel_arg;
    /* persistent through a step */
    float *x, *h; /* [n][d]: residual stream, normed input of an op */
    mox_act_set h_acts;
    void *mul_scratch;        /* of every product with a matrix */
    mox_step_inputs in, near; /* as kernels see it, as the host does: the same without a card */
    float *near_x;            /* with cards: rows on their way from one to the next */
    const float **near_bias; /* with cards: the host's copies of experts' biases, [n_moe_layers][MOX_SLABS] */
    mox_row *batch;          /* [n_batch] rows that the session builds */
    uint32_t *want;          /* [n_batch] rows whose logits are wanted */
    /* share one piece of memory, used one after the other */
    mox_attention_buffers attention;
    mox_delta_buffers delta;
    mox_ffn_buffers ffn;
    mox_moe_buffers moe;
    float *gather;     /* [MOX_LOGITS_ROWS][d] */
    float *logits;     /* [MOX_LOGITS_ROWS][n_vocab], the host's */
    float *far_logits; /* the same on a device; NULL: they are made where they are wanted */
    float *
        rope_factors; /* [n_rot / 2] copied from a weight that only the device has now; NULL: from the weight */
    mox_candidate *candidates; /* [n_vocab], for sampling from `logits` */
    void *staging;             /* the shared piece as a whole, while loading */
    size_t staging_bytes;
} mox_graph;

/* For the trace: what the step thread did since the last lap. */
void mox_graph_lap(mox_graph *g, mox_span_kind kind, uint32_t layer, uint32_t amount);
/* The same for a span with a beginning of its own. */
void mox_graph_span(mox_graph *g, mox_span_kind kind, uint64_t begin_ns, uint32_t layer, uint32_t amount);

/* Between host and device, queued; nothing where they are one. wait: for all that is queued, and what kernels refused. */
MOX_NODISCARD mox_err mox_graph_copy(mox_graph *g, void *dst, const void *src, size_t bytes);
MOX_NODISCARD mox_err mox_graph_wait(mox_graph *g);
/* mox_graph_keep_near: a copy of a weight that the host reads as well, if it does, before it goes to a card's memory. */
void mox_graph_keep_near(mox_graph *g, const mox_weight *w);
void mox_graph_keep_bias(mox_graph *g, const mox_weight *w); /* its part of experts' biases (buffers.c) */

/* Memory; with planning arenas these only count. Graphs of several cards take the host's part from the same place of `a`:
 * they share it. Of the cache a graph takes the layers of its card. */
void mox_graph_take_buffers(mox_graph *g, mox_arena *a);
void mox_graph_take_kv(mox_graph *g, mox_arena *a);

/* mox_graph_step: rows -> hidden states in g->x. On failure the sequences are as before. */
MOX_NODISCARD mox_err mox_graph_step(mox_graph *g, const mox_row *rows, uint32_t n, mox_phase phase);
/* mox_graph_keep: a sequence forgets what comes after its first n positions; with recurrent or windowed layers perhaps
 * more (states.c). */
void mox_graph_keep(mox_graph *g, uint32_t seq, uint32_t n);
/* mox_graph_logits: logits of the rows idx[0..n) of the last step, n <= MOX_LOGITS_ROWS, to out [n][n_vocab].
 */
MOX_NODISCARD mox_err mox_graph_logits(mox_graph *g, const uint32_t *idx, uint32_t n, float *out);

/* walk.c: all ops of the step, the host's part as well. has: the card has op i. starts, queue_stretch: what it is told from
 * op i on until the host is asked. */
MOX_NODISCARD mox_err mox_graph_run_ops(mox_graph *g);
bool mox_graph_has(const mox_graph *g, uint32_t i);
bool mox_graph_starts(const mox_graph *g, uint32_t i);
MOX_NODISCARD mox_err mox_graph_queue_stretch(mox_graph *g, uint32_t i);
/* queued on a device: far_logits of n rows in gather */
MOX_NODISCARD mox_err mox_graph_queue_logits(mox_graph *g, uint32_t n);

/* The ops, called by walk.c. */
MOX_NODISCARD mox_err mox_graph_attention(mox_graph *g, const mox_layer_op *op);
MOX_NODISCARD mox_err mox_graph_delta(mox_graph *g, const mox_layer_op *op);
MOX_NODISCARD mox_err mox_graph_ffn(mox_graph *g, const mox_layer_op *op);
/* A MoE layer in its three parts: the choice, queued; the experts; their sum, queued where there are cards, else done. */
MOX_NODISCARD mox_err mox_graph_moe_choose(mox_graph *g, const mox_layer_op *op);
MOX_NODISCARD mox_err mox_graph_moe(mox_graph *g, const mox_layer_op *op);
MOX_NODISCARD mox_err mox_graph_moe_merge(mox_graph *g, const mox_layer_op *op);

/* keys that a row of the layer sees; 0: all */
uint32_t mox_graph_reach(const mox_attention_op *a);
/* states.c: slots of the step in progress; and that it has ended well, before seq_len grows */
void mox_graph_states_begin(mox_graph *g);
void mox_graph_states_commit(mox_graph *g);

/* Shared by the ops. */
mox_act_kind mox_graph_kind(const mox_graph *g, mox_type type); /* float under --act f32 */
void mox_act_set_clear(mox_act_set *s);
/* quantise n rows of x [n][cols] to the kind that weights of `type` want, unless the set has it already */
MOX_NODISCARD mox_err mox_graph_acts(mox_graph *g, mox_act_set *set, const float *x, uint32_t n,
                                     uint32_t cols, mox_type type, const mox_acts **out);
/* Up to MOX_MAT_MULS products with the same n rows of x, in one call where the device can. */
typedef struct mox_product {
    const mox_weight *w, *bias; /* bias may be NULL */
    float *y;                   /* [n][rows of w] */
} mox_product;
MOX_NODISCARD mox_err mox_graph_mat_muls(mox_graph *g, const mox_product *p, uint32_t n_products,
                                         mox_act_set *set, const float *x, uint32_t n);
/* y [n][rows] = w x; x already in the set or quantised now */
MOX_NODISCARD mox_err mox_graph_mat_mul(mox_graph *g, const mox_weight *w, const mox_weight *bias,
                                        mox_act_set *set, const float *x, uint32_t n, float *y);
MOX_NODISCARD mox_err mox_graph_norm(mox_graph *g, mox_norm norm, const float *x, uint32_t n, float *y);
/* x [n][d] *= a; nothing where a is 1 */
MOX_NODISCARD mox_err mox_graph_scale(mox_graph *g, float *x, uint32_t n, uint32_t d, float a);
/* RMS norm in rows of d with weights w (NULL: without), from x to y */
MOX_NODISCARD mox_err mox_graph_rms_norm(mox_graph *g, const float *w, const float *x, uint32_t n, uint32_t d,
                                         float *y);
MOX_NODISCARD mox_err mox_graph_rope(mox_graph *g, float *x, uint32_t n_heads, uint32_t head_dim);
/* x += post(h) * residual_scale, where there is a norm behind the op and a scale */
MOX_NODISCARD mox_err mox_graph_residual(mox_graph *g, const mox_weight *post_norm);
/* compressed attention (mla.c): from g->h to attention.out, the cache appended */
MOX_NODISCARD mox_err mox_graph_mla(mox_graph *g, const mox_layer_op *op);
/* attention's arguments as they follow from the layer */
mox_attention_args mox_graph_attend_args(const mox_graph *g, const mox_layer_op *op);
/* rows of a shared expert: from g->h and its activations to moe.e, behind the ranks (ffn.c) */
MOX_NODISCARD mox_err mox_graph_shared(mox_graph *g, const mox_layer_op *op);
/* ranks of the merge: the router's, and one more for a shared expert */
uint32_t mox_graph_ranks(const mox_hparams *h);
/* some routers multiply an expert's input, not its output */
static inline bool mox_weighs_input(const mox_hparams *h)
{
    return h->router.gating == MOX_GATING_SIGMOID_TOP;
}
/* a numeric error gets layer and operation added; everything else passes */
mox_err mox_graph_named(mox_err err, uint32_t layer, const char *what);

#define MOX_TRY_OP(layer, what, call) MOX_TRY(mox_graph_named((call), (layer), (what)))

#endif
