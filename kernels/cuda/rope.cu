/* Rotary position embedding on the GPU: a thread per pair; every product rounded, no fma. */
#include "kernels/cuda/common.cuh"

constexpr uint32_t ROPE_THREADS = 128;

struct rope_params {
    float *x;
    const float *cos_sin;
    uint32_t n_heads, head_dim, n_pairs, step, partner;
};

static __global__ void __launch_bounds__(ROPE_THREADS) k_rope(const rope_params p)
{
    const uint32_t row = blockIdx.y, item = blockIdx.x * ROPE_THREADS + threadIdx.x;
    if (item >= p.n_heads * p.n_pairs) {
        return;
    }
    const uint32_t head = item / p.n_pairs, pair = item % p.n_pairs;
    const float *angle = p.cos_sin + (static_cast<size_t>(row) * p.n_pairs + pair) * 2;
    float *first = p.x + (static_cast<size_t>(row) * p.n_heads + head) * p.head_dim + pair * p.step;
    float *second = first + p.partner;
    const float c = angle[0], s = angle[1], x0 = *first, x1 = *second;
    *first = x0 * c - x1 * s;
    *second = x0 * s + x1 * c;
}

mox_err mox_cuda_rope(const mox_cuda_call *c, const mox_rope_args *a)
{
    const rope_params p = {
        a->x, a->cos_sin, a->n_heads, a->head_dim, a->n_pairs, a->neox ? 1U : 2U, a->neox ? a->n_pairs : 1U};
    const dim3 grid(div_up(static_cast<uint64_t>(a->n_heads) * a->n_pairs, ROPE_THREADS), a->n);
    MOX_LAUNCH(k_rope, grid, ROPE_THREADS, 0, c->stream, p);
    return launched("rope");
}
