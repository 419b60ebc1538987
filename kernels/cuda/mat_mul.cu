/* Which kernel a product goes to, and the launcher of dense ones. One row of activations is a stream of the weights
 * (mat_rows.cu); more go through the tensor cores (mat_mma.cu) unless the weights are floats. */
#include "kernels/cuda/mat.cuh"

mox_err mat_launch(const mat_call &c, mox_act_kind kind)
{
    const mox_format *f = mox_format_of(c.p.w.type);
    if (f == nullptr || f->kind != kind || !mox_cuda_has_type(c.p.w.type)) {
        return MOX_FAIL(MOX_E_ARG, "activations of kind %d do not meet a matrix of type %u on the GPU",
                        static_cast<int>(kind), static_cast<unsigned>(c.p.w.type));
    }
    if (c.most_rows == 0 || c.n_uses == 0) {
        return MOX_OK;
    }
    const bool many = c.most_rows > 1 && kind != MOX_ACT_F32;
    if (!(many ? mat_launch_mma(c) : mat_launch_rows(c))) {
        return MOX_FAIL(MOX_E_ARG, "a row of %u weights is more than a block's shared memory takes",
                        c.p.w.cols);
    }
    return launched("mat_mul");
}

mox_err mox_cuda_mat_mul(const mox_cuda_call *c, const mox_mat_mul_args *a)
{
    mat_call call = {};
    call.p.w = *a->w;
    call.p.x = static_cast<const uint8_t *>(a->x.data);
    call.p.x_row_bytes = a->x.row_bytes;
    call.p.y = a->y;
    call.p.y_stride = a->y_stride;
    call.p.bias = a->bias;
    call.p.n = a->n;
    call.n_uses = 1;
    call.most_rows = a->n;
    call.stream = c->stream;
    return mat_launch(call, a->x.kind);
}

/* Heads' matrices stand at equal distances. */
mox_err mox_cuda_head_mul(const mox_cuda_call *c, const mox_head_mul_args *a)
{
    mat_call call = {};
    call.p.w = a->w[0];
    call.p.x = static_cast<const uint8_t *>(a->x.data);
    call.p.x_row_bytes = a->x.row_bytes;
    call.p.y = a->y;
    call.p.y_stride = a->w[0].rows;
    call.p.n = a->n;
    call.p.n_heads = a->n_heads;
    for (uint32_t h = 1; h < a->n_heads; h++) {
        const size_t step = static_cast<size_t>(a->w[h].data - a->w[h - 1].data);
        if (h > 1 && step != call.p.head_step) {
            return MOX_FAIL(MOX_E_ARG, "the matrices of %u heads are not at equal distances", a->n_heads);
        }
        call.p.head_step = step;
    }
    call.n_uses = a->n_heads;
    call.most_rows = a->n;
    call.stream = c->stream;
    return mat_launch(call, a->x.kind);
}

bool mox_cuda_has_type(mox_type type)
{
    switch (type) {
#define X(name, format) case MOX_TYPE_##name:
        CUDA_K_FORMATS(X)
        CUDA_B_FORMATS(X)
        CUDA_FLOAT_FORMATS(X)
#undef X
        return true;
    default:
        return false;
    }
}
