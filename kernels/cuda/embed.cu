/* Embedding rows on the GPU: a warp per block of 256 of a row, dequantised in ggml's order of multiplication. Lane
 * 4 s + t takes the words that member t of quad s yields. */
#include "kernels/cuda/formats_iq.cuh"
#include "kernels/cuda/mat.cuh"

struct embed_params {
    mox_mat w;
    const uint32_t *ids;
    float *y;
};

template <class F, mox_act_kind kind> struct put_block;

static __device__ __forceinline__ float code(uint32_t word, uint32_t i)
{
    return static_cast<float>(static_cast<int8_t>(word >> 8 * i));
}

template <class F> struct put_block<F, MOX_ACT_K> {
    static __device__ void run(const uint8_t *chunk, uint32_t, uint32_t r, uint32_t lane, float *y)
    {
        const uint32_t s = lane / 4, t = lane % 4;
        if (s >= F::QUADS) {
            return;
        }
        const float d = F::d(chunk, r), dmin = F::HAS_MIN ? F::dmin(chunk, r) : 0.0f;
        uint32_t w[F::WORDS];
        F::words(chunk, r, s, t, w);
        MOX_UNROLL
        for (uint32_t n = 0; n < F::WORDS; n++) {
            const uint32_t g = F::group(s, n);
            const float dl = d * static_cast<float>(F::scale(chunk, r, g));
            const float ml = dmin * static_cast<float>(F::min_of(chunk, r, g));
            MOX_UNROLL
            for (uint32_t i = 0; i < 4; i++) {
                const float v = dl * code(w[n], i);
                y[16 * g + 4 * t + i] = F::HAS_MIN ? v - ml : v;
            }
        }
    }
};

template <class F> struct put_block<F, MOX_ACT_B32> {
    static __device__ void run(const uint8_t *chunk, uint32_t cols, uint32_t r, uint32_t lane, float *y)
    {
        const uint32_t n_sub = cols / 32, j = lane / 4, t = lane % 4;
        if (j >= n_sub) {
            return;
        }
        const uint8_t *head = chunk + j * F::HEAD;
        const float d = F::d(head, r), m = F::HAS_MIN ? F::m(head, r) : 0.0f;
        two_words w;
        F::words(chunk + n_sub * F::HEAD + j * F::BODY, r, t, w);
        MOX_UNROLL
        for (uint32_t n = 0; n < 2; n++) {
            MOX_UNROLL
            for (uint32_t i = 0; i < 4; i++) {
                const float v = code(w[n], i) * d;
                y[32 * j + 16 * n + 4 * t + i] = F::HAS_MIN ? v + m : v;
            }
        }
    }
};

template <class F> struct put_block<F, MOX_ACT_F32> {
    static __device__ void run(const uint8_t *chunk, uint32_t cols, uint32_t r, uint32_t lane, float *y)
    {
        for (uint32_t e = lane * F::STEP; e < cols; e += MOX_WARP * F::STEP) {
            float v[F::STEP];
            F::values(chunk, cols, r, e, v);
            MOX_UNROLL
            for (uint32_t j = 0; j < F::STEP; j++) {
                y[e + j] = v[j];
            }
        }
    }
};

template <class F, mox_act_kind kind>
static __global__ void __launch_bounds__(MOX_WARP) k_embed(const embed_params p)
{
    const uint32_t b = blockIdx.x, row = p.ids[blockIdx.y], left = p.w.cols - b * BLOCK;
    float *y = p.y + static_cast<size_t>(blockIdx.y) * p.w.cols + b * BLOCK;
    put_block<F, kind>::run(mox_mat_chunk(&p.w, row / ROWS, b), left < BLOCK ? left : BLOCK, row % ROWS,
                            threadIdx.x, y);
}

mox_err mox_cuda_embed(const mox_cuda_call *c, const mox_embed_args *a)
{
    const embed_params p = {*a->w, a->ids, a->y};
    const dim3 grid(mox_mat_blocks(a->w), a->n);
    switch (a->w->type) {
#define X(type, format)                                                                                      \
    case MOX_TYPE_##type:                                                                                    \
        MOX_LAUNCH((k_embed<format, MOX_ACT_K>), grid, MOX_WARP, 0, c->stream, p);                           \
        break;
        CUDA_K_FORMATS(X)
#undef X
#define X(type, format)                                                                                      \
    case MOX_TYPE_##type:                                                                                    \
        MOX_LAUNCH((k_embed<format, MOX_ACT_B32>), grid, MOX_WARP, 0, c->stream, p);                         \
        break;
        CUDA_B_FORMATS(X)
#undef X
#define X(type, format)                                                                                      \
    case MOX_TYPE_##type:                                                                                    \
        MOX_LAUNCH((k_embed<format, MOX_ACT_F32>), grid, MOX_WARP, 0, c->stream, p);                         \
        break;
        CUDA_FLOAT_FORMATS(X)
#undef X
    default:
        return MOX_FAIL(MOX_E_ARG, "embedding rows of type %u have no kernel on the GPU",
                        static_cast<unsigned>(a->w->type));
    }
    return launched("embed");
}
