/* The table of operations of a GPU: kernels/cuda's launchers behind kernels/ops.h.
 *
 * A call only queues. What the CPU's table returns as MOX_E_NUMERIC cannot be known then: kernels leave the first bad row
 * in a word of device memory, and `check` looks at it when the step waits anyway. Which operation it was is not in that
 * word; a step that failed is run again with `careful`, where every call waits and looks, and gives the same bits.
 */
#include "kernels/cuda/cuda_ops.h"
#include "runtime/dev/cuda_dev.h"

#include <stdlib.h>

typedef struct cuda_ops {
    mox_ops base; /* first: a mox_ops * is a cuda_ops * */
    cuda_dev *dev;
    mox_buf bad_row, seen; /* the word, and where the host gets it */
    bool careful;
} cuda_ops;

static cuda_ops *of(mox_ops *o)
{
    return (cuda_ops *)o;
}

static mox_err cuda_check(mox_ops *o, mox_stream *s)
{
    cuda_ops *c = of(o);
    mox_dev *dev = &c->dev->base;
    const mox_cuda_call call = {.stream = s->stream, .bad_row = c->bad_row.ptr};
    MOX_TRY(dev->ops->copy(dev, s, c->seen.ptr, c->bad_row.ptr, sizeof(uint32_t)));
    MOX_TRY(dev->ops->stream_wait(dev, s));
    const uint32_t row = *(const uint32_t *)c->seen.ptr;
    if (row == MOX_CUDA_NO_BAD_ROW) {
        return MOX_OK;
    }
    MOX_TRY(mox_cuda_clear_bad_row(&call));
    return MOX_FAIL(MOX_E_NUMERIC, "row %u: a value that is not finite or too large to be stored", row);
}

static void cuda_careful(mox_ops *o, bool on)
{
    of(o)->careful = on;
}

static mox_err mox_cuda_mat_muls(const mox_cuda_call *c, const mox_mat_muls_args *a)
{
    for (uint32_t i = 0; i < a->n; i++) {
        MOX_TRY(mox_cuda_mat_mul(c, &a->mul[i]));
    }
    return MOX_OK;
}

#define OPERATIONS(X)                                                                                        \
    X(embed)                                                                                                 \
    X(rms_norm)                                                                                              \
    X(quantize)                                                                                              \
    X(mat_mul)                                                                                               \
    X(mat_muls)                                                                                              \
    X(rope)                                                                                                  \
    X(kv_append)                                                                                             \
    X(attention)                                                                                             \
    X(router)                                                                                                \
    X(experts)                                                                                               \
    X(swiglu)                                                                                                \
    X(merge)                                                                                                 \
    X(layer_norm)                                                                                            \
    X(map)                                                                                                   \
    X(gate)                                                                                                  \
    X(head_mul)                                                                                              \
    X(conv)                                                                                                  \
    X(delta_prepare)                                                                                         \
    X(delta_rule)                                                                                            \
    X(part)                                                                                                  \
    X(weigh)                                                                                                 \
    X(ranks)                                                                                                 \
    X(add)

#define X(op)                                                                                                \
    static mox_err cuda_##op(mox_ops *o, mox_stream *s, const mox_##op##_args *a)                            \
    {                                                                                                        \
        const mox_cuda_call call = {.stream = s->stream, .bad_row = of(o)->bad_row.ptr};                     \
        CUDA_TRY(of(o)->dev->id, cudaSetDevice(of(o)->dev->id), #op);                                        \
        MOX_TRY(mox_cuda_##op(&call, a));                                                                    \
        return of(o)->careful ? cuda_check(o, s) : MOX_OK;                                                   \
    }
OPERATIONS(X)
#undef X

static void cuda_destroy(mox_ops *o)
{
    cuda_ops *c = of(o);
    mox_dev *dev = &c->dev->base;
    dev->ops->mem_free(dev, &c->bad_row);
    dev->ops->mem_free(dev, &c->seen);
    free(c);
}

/* The word and its first value. */
static mox_err set_up(cuda_ops *c)
{
    mox_dev *dev = &c->dev->base;
    mox_stream *s = NULL;
    MOX_TRY(dev->ops->mem_alloc(dev, sizeof(uint32_t), MOX_MEM_DEVICE, 0, &c->bad_row));
    MOX_TRY(dev->ops->mem_alloc(dev, sizeof(uint32_t), MOX_MEM_MAPPED, 0, &c->seen));
    MOX_TRY(dev->ops->stream_create(dev, &s));
    const mox_cuda_call call = {.stream = s->stream, .bad_row = c->bad_row.ptr};
    mox_err err = mox_cuda_clear_bad_row(&call);
    if (err == MOX_OK) {
        err = dev->ops->stream_wait(dev, s);
    }
    const mox_err_info first = *mox_err_last();
    dev->ops->stream_destroy(dev, &s);
    return err == MOX_OK ? MOX_OK : mox_err_restore(&first);
}

mox_err mox_cuda_ops_create(mox_ops **out, mox_dev *dev)
{
    cuda_ops *c = calloc(1, sizeof *c);
    if (!c) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a table of %zu bytes", sizeof *c);
    }
    c->dev = (cuda_dev *)dev;
    c->base.name = mox_backend_name;
#define X(op) c->base.op = cuda_##op;
    OPERATIONS(X)
#undef X
    c->base.destroy = cuda_destroy;
    c->base.check = cuda_check;
    c->base.careful = cuda_careful;
    const mox_err err = set_up(c);
    if (err != MOX_OK) {
        const mox_err_info first = *mox_err_last();
        cuda_destroy(&c->base);
        return mox_err_restore(&first);
    }
    *out = &c->base;
    return MOX_OK;
}
