/* Products with few rows of activations: a block per group of 16 matrix rows and per row of activations (float
 * weights: per four).
 *
 * Lane r and lane r + 16 of a warp own matrix row r; the former takes the even blocks of a span, the latter the odd
 * ones, so each line of 64 bytes is one load of half a warp. A warp takes every fourth span; sums of spans meet in
 * shared memory and are added in order. With one row of activations that is a stream of the weights.
 */
#include "kernels/cuda/formats_iq.cuh"
#include "kernels/cuda/mat.cuh"

constexpr uint32_t ROWS_THREADS = 128, ROWS_WARPS = ROWS_THREADS / MOX_WARP, FLOAT_TOKENS = 4,
                   ROWS_BLOCKS = 5; /* of a multiprocessor at least: told, ptxas does not spill for more */
constexpr size_t MAX_SPAN_BYTES = 48 << 10;

/* One block of one row: partials of N rows of activations, x[i] where their block starts. */
template <class F, mox_act_kind kind> struct block_partial;

template <class F> struct block_partial<F, MOX_ACT_K> {
    static __device__ __forceinline__ void run(const uint8_t *chunk, uint32_t, uint32_t r,
                                               const uint8_t *const (&x)[1], float (&p)[1])
    {
        const mox_act_k *a = reinterpret_cast<const mox_act_k *>(x[0]);
        int sum = 0, min = 0;
        for (uint32_t s = 0; s < F::QUADS; s++) {
            int dot[F::WORDS] = {};
            MOX_UNROLL
            for (uint32_t t = 0; t < 4; t++) {
                uint32_t w[F::WORDS];
                F::words(chunk, r, s, t, w);
                MOX_UNROLL
                for (uint32_t n = 0; n < F::WORDS; n++) {
                    dot[n] =
                        __dp4a(static_cast<int>(w[n]), load<int>(a->q + 16 * F::group(s, n) + 4 * t), dot[n]);
                }
            }
            MOX_UNROLL
            for (uint32_t n = 0; n < F::WORDS; n++) {
                sum += F::scale(chunk, r, F::group(s, n)) * dot[n];
            }
        }
        for (uint32_t g = 0; F::HAS_MIN && g < GROUPS; g++) {
            min += F::min_of(chunk, r, g) * load<int16_t>(a->sum + g);
        }
        p[0] =
            k_partial<F>(F::d(chunk, r), F::HAS_MIN ? F::dmin(chunk, r) : 0.0f, sum, min, load<float>(&a->d));
    }
};

template <class F> struct block_partial<F, MOX_ACT_B32> {
    static __device__ __forceinline__ void run(const uint8_t *chunk, uint32_t cols, uint32_t r,
                                               const uint8_t *const (&x)[1], float (&p)[1])
    {
        const mox_act_b *a = reinterpret_cast<const mox_act_b *>(x[0]);
        const uint32_t n_sub = cols / 32;
        float t = 0.0f;
        for (uint32_t j = 0; j < n_sub; j++) {
            const uint8_t *body = chunk + n_sub * F::HEAD + j * F::BODY;
            int dot = 0;
            MOX_UNROLL
            for (uint32_t k = 0; k < 4; k++) {
                two_words w;
                F::words(body, r, k, w);
                dot = __dp4a(static_cast<int>(w[0]), load<int>(a->q + 32 * j + 4 * k), dot);
                dot = __dp4a(static_cast<int>(w[1]), load<int>(a->q + 32 * j + 16 + 4 * k), dot);
            }
            t = mox_fmaf(F::d(chunk + j * F::HEAD, r) * load<float>(a->d + j), static_cast<float>(dot), t);
        }
        for (uint32_t j = 0; F::HAS_MIN && j < n_sub; j++) {
            t = mox_fmaf(F::m(chunk + j * F::HEAD, r) * load<float>(a->d + j),
                         static_cast<float>(load<int16_t>(a->sum + j)), t);
        }
        p[0] = t;
    }
};

template <class F> struct block_partial<F, MOX_ACT_F32> {
    static __device__ __forceinline__ void run(const uint8_t *chunk, uint32_t cols, uint32_t r,
                                               const uint8_t *const (&x)[FLOAT_TOKENS],
                                               float (&p)[FLOAT_TOKENS])
    {
        MOX_UNROLL
        for (uint32_t i = 0; i < FLOAT_TOKENS; i++) {
            p[i] = 0.0f;
        }
        for (uint32_t e = 0; e < cols; e += F::STEP) {
            float w[F::STEP];
            F::values(chunk, cols, r, e, w);
            MOX_UNROLL
            for (uint32_t j = 0; j < F::STEP; j++) {
                MOX_UNROLL
                for (uint32_t i = 0; i < FLOAT_TOKENS; i++) {
                    p[i] = mox_fmaf(w[j], load<float>(x[i] + 4 * (e + j)), p[i]);
                }
            }
        }
    }
};

/* Sums of one span for the warp's 16 rows, in the lanes of both halves. */
template <class F, mox_act_kind kind, uint32_t N>
static __device__ __forceinline__ void sum_span(const mox_mat &w, uint32_t span, const uint8_t *const (&x)[N],
                                                float (&sum)[N])
{
    constexpr uint32_t BLOCK_BYTES = kind == MOX_ACT_F32 ? BLOCK * sizeof(float) : sizeof(mox_act_k);
    const uint32_t lane = threadIdx.x % MOX_WARP, r = lane % ROWS, odd = lane / ROWS;
    const uint32_t n_blocks = mox_mat_blocks(&w);
    MOX_UNROLL
    for (uint32_t i = 0; i < N; i++) {
        sum[i] = 0.0f;
    }
    for (uint32_t pair = span * MOX_SPAN_BLOCKS; pair < (span + 1) * MOX_SPAN_BLOCKS && pair < n_blocks;
         pair += 2) {
        const uint32_t b = pair + odd, left = w.cols - b * BLOCK;
        float p[N] = {};
        if (b < n_blocks) {
            const uint8_t *at[N];
            MOX_UNROLL
            for (uint32_t i = 0; i < N; i++) {
                at[i] = x[i] + b * BLOCK_BYTES;
            }
            block_partial<F, kind>::run(mox_mat_chunk(&w, blockIdx.x, b), left < BLOCK ? left : BLOCK, r, at,
                                        p);
        }
        MOX_UNROLL
        for (uint32_t i = 0; i < N; i++) {
            const float other = __shfl_xor_sync(MOX_ALL_LANES, p[i], ROWS);
            sum[i] = sum[i] + (odd != 0 ? other : p[i]);
            if (pair + 1 < n_blocks) {
                sum[i] = sum[i] + (odd != 0 ? p[i] : other);
            }
        }
    }
}

template <class F, mox_act_kind kind, uint32_t N>
static __global__ void __launch_bounds__(ROWS_THREADS, ROWS_BLOCKS) k_mat_rows(const mat_params p)
{
    MOX_DYN_SHARED(float, spans); /* [span][N][16] */
    const mat_use use = take_use(p, blockIdx.z);
    const uint32_t first = use.first + blockIdx.y * N;
    if (first >= use.end) {
        return; /* a whole block */
    }
    const uint32_t n_spans = (mox_mat_blocks(&use.w) + MOX_SPAN_BLOCKS - 1) / MOX_SPAN_BLOCKS;
    const uint8_t *x[N];
    MOX_UNROLL
    for (uint32_t i = 0; i < N; i++) { /* past the last row: that one again, and not kept */
        x[i] = x_of(p, use, first + i < use.end ? first + i : use.end - 1);
    }
    const uint32_t lane = threadIdx.x % MOX_WARP;
    for (uint32_t span = threadIdx.x / MOX_WARP; span < n_spans; span += ROWS_WARPS) {
        float sum[N];
        sum_span<F, kind, N>(use.w, span, x, sum);
        MOX_UNROLL
        for (uint32_t i = 0; i < N; i++) {
            if (lane < ROWS) {
                spans[(span * N + i) * ROWS + lane] = sum[i];
            }
        }
    }
    MOX_SYNC();
    const uint32_t i = threadIdx.x / ROWS, r = blockIdx.x * ROWS + threadIdx.x % ROWS;
    if (i >= N || first + i >= use.end || r >= use.w.rows) {
        return;
    }
    float row = 0.0f;
    for (uint32_t span = 0; span < n_spans; span++) {
        row = row + spans[(span * N + i) * ROWS + threadIdx.x % ROWS];
    }
    put_y(p, use, first + i, r, row);
}

template <class F, mox_act_kind kind, uint32_t N> static bool launch_rows(const mat_call &c)
{
    const dim3 grid(mox_mat_groups(&c.p.w), div_up(c.most_rows, N), c.n_uses);
    const size_t dyn = div_up(mox_mat_blocks(&c.p.w), MOX_SPAN_BLOCKS) * N * ROWS * sizeof(float);
    if (dyn > MAX_SPAN_BYTES) {
        return false;
    }
    MOX_LAUNCH((k_mat_rows<F, kind, N>), grid, ROWS_THREADS, dyn, c.stream, c.p);
    return true;
}

bool mat_launch_rows(const mat_call &c)
{
    switch (c.p.w.type) {
#define X(type, format)                                                                                      \
    case MOX_TYPE_##type:                                                                                    \
        return launch_rows<format, MOX_ACT_K, 1>(c);
        CUDA_K_FORMATS(X)
#undef X
#define X(type, format)                                                                                      \
    case MOX_TYPE_##type:                                                                                    \
        return launch_rows<format, MOX_ACT_B32, 1>(c);
        CUDA_B_FORMATS(X)
#undef X
#define X(type, format)                                                                                      \
    case MOX_TYPE_##type:                                                                                    \
        return launch_rows<format, MOX_ACT_F32, FLOAT_TOKENS>(c);
        CUDA_FLOAT_FORMATS(X)
#undef X
    default:
        return false;
    }
}
