/* Embedding look-up: rows of a matrix in the compute layout as floats (operation `embed`). Dequantised in
 * ggml's order of multiplication, so the values are the file's; rows are spread over the pool when there are
 * several. */
#include "kernels/mat_mul.h"

static void embed_range(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    (void)worker;
    const mox_embed_args *a = arg;
    for (uint32_t i = begin; i < end; i++) {
        mox_mat_row(a->w, a->ids[i], a->y + (size_t)i * a->w->cols);
    }
}

mox_err mox_embed_cpu(mox_pool *pool, mox_isa isa, const mox_embed_args *a)
{
    (void)isa; /* table look-ups and exact products: nothing to gain */
    mox_embed_args job = *a;
    mox_pool_for(pool, a->n, 1, embed_range, &job);
    return MOX_OK;
}
