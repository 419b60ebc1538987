/* The CPU's table of operations: every call runs on the worker pool with the kernels of one instruction set
 * and has finished when it returns, so streams are ignored. */
#include "kernels/mat_mul.h"
#include "kernels/vec.h"

#include <stdlib.h>

typedef struct cpu_ops {
    mox_ops base; /* first: a mox_ops * is a cpu_ops * */
    mox_pool *pool;
    const mox_vec *vec;
    mox_isa isa;
} cpu_ops;

static const cpu_ops *of(const mox_ops *o)
{
    return (const cpu_ops *)o;
}

/* X(operation, call) */
#define OPERATIONS(X)                                                                                        \
    X(embed, mox_embed_cpu(of(o)->pool, of(o)->isa, a))                                                      \
    X(rms_norm, mox_rms_norm_cpu(of(o)->pool, of(o)->vec, a))                                                \
    X(quantize, mox_quantize_cpu(of(o)->pool, of(o)->vec, a))                                                \
    X(mat_mul, mox_mat_mul_cpu(of(o)->pool, of(o)->isa, a))                                                  \
    X(mat_muls, mox_mat_muls_cpu(of(o)->pool, of(o)->isa, a))                                                \
    X(rope, mox_rope_cpu(of(o)->pool, a))                                                                    \
    X(kv_append, mox_kv_append_cpu(of(o)->pool, of(o)->vec, a))                                              \
    X(attention, mox_attention_cpu(of(o)->pool, of(o)->vec, a))                                              \
    X(router, mox_router_cpu(of(o)->pool, of(o)->vec, a))                                                    \
    X(experts, mox_experts_cpu(of(o)->pool, of(o)->isa, a))                                                  \
    X(swiglu, mox_swiglu_cpu(of(o)->pool, of(o)->vec, a))                                                    \
    X(merge, mox_merge_cpu(of(o)->pool, of(o)->vec, a))                                                      \
    X(add, mox_add_cpu(of(o)->pool, a))                                                                      \
    X(layer_norm, mox_layer_norm_cpu(of(o)->pool, of(o)->vec, a))                                            \
    X(map, mox_map_cpu(of(o)->pool, a))                                                                      \
    X(gate, mox_gate_cpu(of(o)->pool, of(o)->vec, a))                                                        \
    X(head_mul, mox_head_mul_cpu(of(o)->pool, of(o)->isa, a))                                                \
    X(conv, mox_conv_cpu(of(o)->pool, of(o)->vec, a))                                                        \
    X(delta_prepare, mox_delta_prepare_cpu(of(o)->pool, of(o)->vec, a))                                      \
    X(delta_rule, mox_delta_rule_cpu(of(o)->pool, of(o)->vec, a))                                            \
    X(part, ((void)o, mox_part_cpu(a)))                                                                      \
    X(weigh, ((void)o, mox_weigh_cpu(a)))                                                                    \
    X(ranks, ((void)o, mox_ranks_cpu(a)))

#define X(op, call)                                                                                          \
    static mox_err cpu_##op(mox_ops *o, mox_stream *s, const mox_##op##_args *a)                             \
    {                                                                                                        \
        (void)s;                                                                                             \
        return call;                                                                                         \
    }
OPERATIONS(X)
#undef X

static void cpu_destroy(mox_ops *o)
{
    free(o);
}

mox_err mox_ops_cpu_create(mox_ops **out, mox_pool *pool, mox_isa isa)
{
    static const char *const names[MOX_ISA_COUNT] = {"cpu scalar", "cpu avx2", "cpu avxvnni", "cpu avx512"};
    const mox_vec *vec = mox_vec_of(isa);
    if (vec == NULL || !mox_isa_present(isa)) {
        (void)MOX_FAIL(MOX_E_ISA, "this processor or build has no %s", mox_isa_name(isa));
        return mox_err_fix("--isa auto takes the best there is");
    }
    MOX_TRY(mox_vec_self_check(vec, mox_isa_name(isa)));
    MOX_TRY(mox_mat_self_check(isa));
    cpu_ops *o = calloc(1, sizeof *o);
    if (o == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a table of %zu bytes", sizeof *o);
    }
    *o = (cpu_ops){.pool = pool, .vec = vec, .isa = isa};
#define X(op, call) o->base.op = cpu_##op;
    OPERATIONS(X)
#undef X
    o->base.name = names[isa];
    o->base.destroy = cpu_destroy;
    *out = &o->base;
    return MOX_OK;
}

void mox_ops_destroy(mox_ops **o)
{
    if (*o != NULL) {
        (*o)->destroy(*o);
        *o = NULL;
    }
}
