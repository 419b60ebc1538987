/* Operations whose elements do not meet: SwiGLU, merge in rank order, sum of two tensors. A thread per element. */
#include "kernels/cuda/common.cuh"

constexpr uint32_t ELEMENT_THREADS = 256;

static __device__ __forceinline__ size_t element(void)
{
    return static_cast<size_t>(blockIdx.x) * ELEMENT_THREADS + threadIdx.x;
}

static __global__ void __launch_bounds__(ELEMENT_THREADS)
    k_swiglu(const float *gate, const float *up, float *h, size_t n)
{
    const size_t i = element();
    if (i < n) {
        h[i] = mox_siluf(gate[i]) * up[i];
    }
}

static __global__ void __launch_bounds__(ELEMENT_THREADS)
    k_merge(const float *e, const float *weights, const float *residual, float *y, uint32_t n, uint32_t k,
            uint32_t d)
{
    const size_t i = element();
    if (i >= static_cast<size_t>(n) * d) {
        return;
    }
    const size_t row = i / d, col = i % d;
    float sum = 0.0f;
    for (uint32_t r = 0; r < k; r++) {
        sum = mox_fmaf(weights[row * k + r], e[(row * k + r) * d + col], sum);
    }
    y[i] = residual[i] + sum;
}

static __global__ void __launch_bounds__(ELEMENT_THREADS)
    k_add(const float *a, const float *b, float *y, size_t n)
{
    const size_t i = element();
    if (i < n) {
        y[i] = a[i] + b[i];
    }
}

mox_err mox_cuda_swiglu(const mox_cuda_call *c, const mox_swiglu_args *a)
{
    const size_t n = static_cast<size_t>(a->n) * a->d_ff;
    MOX_LAUNCH(k_swiglu, div_up(n, ELEMENT_THREADS), ELEMENT_THREADS, 0, c->stream, a->gate, a->up, a->h, n);
    return launched("swiglu");
}

mox_err mox_cuda_merge(const mox_cuda_call *c, const mox_merge_args *a)
{
    const size_t n = static_cast<size_t>(a->n) * a->d;
    MOX_LAUNCH(k_merge, div_up(n, ELEMENT_THREADS), ELEMENT_THREADS, 0, c->stream, a->e, a->weights,
               a->residual, a->y, a->n, a->k, a->d);
    return launched("merge");
}

mox_err mox_cuda_add(const mox_cuda_call *c, const mox_add_args *a)
{
    MOX_LAUNCH(k_add, div_up(a->n, ELEMENT_THREADS), ELEMENT_THREADS, 0, c->stream, a->a, a->b, a->y, a->n);
    return launched("add");
}

static __global__ void __launch_bounds__(1) k_set(uint32_t *p, uint32_t value)
{
    *p = value;
}

mox_err mox_cuda_clear_bad_row(const mox_cuda_call *c)
{
    MOX_LAUNCH(k_set, 1, 1, 0, c->stream, c->bad_row, MOX_CUDA_NO_BAD_ROW);
    return launched("clear_bad_row");
}
