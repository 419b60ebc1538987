/* Rotary position embedding: pairs of each head's first 2 * n_pairs elements are turned by angles whose
 * cosine and sine the host made in double. y0 = x0 c - x1 s, y1 = x0 s + x1 c, every product rounded, no fma:
 * elementwise code that any compiler vectorises to the same bits. */
#include "kernels/vec.h"

static void rotate_head(float *x, const float *cos_sin, uint32_t n_pairs, uint32_t step, uint32_t partner)
{
    for (uint32_t i = 0; i < n_pairs; i++) {
        const float c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
        float *first = x + (size_t)i * step, *second = first + partner;
        const float x0 = *first, x1 = *second;
        *first = x0 * c - x1 * s;
        *second = x0 * s + x1 * c;
    }
}

static void rope_rows(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    const mox_rope_args *a = arg;
    (void)worker;
    for (uint32_t row = begin; row < end; row++) {
        const float *cos_sin = a->cos_sin + (size_t)row * a->n_pairs * 2;
        float *x = a->x + (size_t)row * a->n_heads * a->head_dim;
        for (uint32_t h = 0; h < a->n_heads; h++, x += a->head_dim) {
            rotate_head(x, cos_sin, a->n_pairs, a->neox ? 1 : 2, a->neox ? a->n_pairs : 1);
        }
    }
}

mox_err mox_rope_cpu(mox_pool *pool, const mox_rope_args *a)
{
    mox_rope_args args = *a;
    if (a->n == 1) {
        rope_rows(&args, 0, 1, 0);
    } else {
        mox_pool_for(pool, a->n, 4, rope_rows, &args);
    }
    return MOX_OK;
}
