/* The experts of a call on the GPU: gate and up, SwiGLU and rounding, down; each step takes all experts at once.
 *
 * Rows of all experts stand one after the other (row j has its token in tok[j] and its place in e in out_row[j]), so h
 * of a call is one tensor and rounding it needs to know nothing of experts. Matrices are those of slots, at offsets
 * that all slots share. Uses are read from device memory, so a graph that was captured once serves every token. */
#include "kernels/cuda/mat.cuh"
#include "runtime/core/bits.h"

namespace
{
/* Gate, up and h in f32, and h rounded. */
struct expert_scratch {
    float *gate, *up;
    mox_acts h;
    size_t bytes;
};

expert_scratch lay_out(const mox_expert_layout *l, uint32_t n_rows, void *mem)
{
    const mox_format *down = mox_format_of(l->type[MOX_SLAB_DOWN]);
    const size_t floats = mox_round_up(static_cast<size_t>(n_rows) * l->d_ff * sizeof(float), 256);
    uint8_t *base = static_cast<uint8_t *>(mem);
    expert_scratch s = {};
    s.h.kind = down->kind;
    s.h.n_cols = l->d_ff;
    s.h.row_bytes = mox_act_row_bytes(down->kind, l->d_ff);
    const bool rounded = down->kind != MOX_ACT_F32;
    s.bytes = 2 * floats + (rounded ? mox_round_up(n_rows * s.h.row_bytes, 256) : 0);
    if (base != nullptr) {
        s.gate = reinterpret_cast<float *>(base);
        s.up = reinterpret_cast<float *>(base + floats);
        s.h.data = rounded ? base + 2 * floats : base; /* h takes gate's place */
    }
    return s;
}

/* The product of one slab, as a call without its rows. */
mat_call slab_call(const mox_cuda_call *c, const mox_cuda_experts_args *a, mox_slab slab)
{
    static const uint8_t origin = 0; /* views of a slot are wanted as offsets */
    mox_mat views[MOX_SLABS];
    mox_expert_views(a->layout, &origin, views);
    mat_call call = {};
    call.p.w = views[slab];
    call.p.use = a->use;
    call.p.part_off = reinterpret_cast<uintptr_t>(views[slab].data) - reinterpret_cast<uintptr_t>(&origin);
    call.p.tail_off = views[slab].tail_data == nullptr ? 0
                                                       : reinterpret_cast<uintptr_t>(views[slab].tail_data) -
                                                             reinterpret_cast<uintptr_t>(&origin);
    call.n_uses = a->n_uses;
    call.most_rows = a->most_rows;
    call.stream = c->stream;
    return call;
}

mox_err up_product(const mox_cuda_call *c, const mox_cuda_experts_args *a, mox_slab slab, float *y)
{
    const mox_format *f = mox_format_of(a->layout->type[slab]);
    const mox_acts *x = &a->x[f->kind];
    mat_call call = slab_call(c, a, slab);
    call.p.x = static_cast<const uint8_t *>(x->data);
    call.p.x_row_bytes = x->row_bytes;
    call.p.x_row = a->tok;
    call.p.y = y;
    call.p.y_stride = a->layout->d_ff;
    return mat_launch(call, f->kind);
}
} // namespace

size_t mox_cuda_experts_scratch_bytes(const mox_expert_layout *l, uint32_t n_rows)
{
    return lay_out(l, n_rows, nullptr).bytes;
}

mox_err mox_cuda_experts(const mox_cuda_call *c, const mox_cuda_experts_args *a)
{
    const mox_expert_layout *l = a->layout;
    expert_scratch s = lay_out(l, a->n_rows, a->scratch);
    MOX_TRY(up_product(c, a, MOX_SLAB_GATE, s.gate));
    MOX_TRY(up_product(c, a, MOX_SLAB_UP, s.up));
    mox_swiglu_args swiglu = {};
    swiglu.gate = s.gate, swiglu.up = s.up, swiglu.h = s.gate;
    swiglu.n = a->n_rows, swiglu.d_ff = l->d_ff;
    MOX_TRY(mox_cuda_swiglu(c, &swiglu));
    if (s.h.kind != MOX_ACT_F32) {
        const mox_quantize_args round = {s.gate, a->n_rows, l->d_ff, s.h};
        MOX_TRY(mox_cuda_quantize(c, &round));
    }
    mat_call down = slab_call(c, a, MOX_SLAB_DOWN);
    down.p.x = static_cast<const uint8_t *>(s.h.data);
    down.p.x_row_bytes = s.h.row_bytes;
    down.p.y_row = a->out_row;
    down.p.y = a->e;
    down.p.y_stride = l->d_model;
    return mat_launch(down, s.h.kind);
}
