/* Products with many rows of activations on the tensor cores: int8 products with int32 sums, which are exact.
 *
 * A warp takes a group of 16 matrix rows, which is an mma's height, and up to four tiles of 8 rows of activations, an
 * mma's width; the codes of a block are unpacked once for all of them. Scales join where docs/numerics.md has them, in
 * the lanes that hold the sums, and spans and rows are added up by the same lanes in order.
 */
#include "kernels/cuda/mat.cuh"
#include "kernels/cuda/mma.cuh"

constexpr uint32_t MMA_THREADS = 128, MMA_WARPS = MMA_THREADS / MOX_WARP, TILE = 8, TILES = 4,
                   TOKENS = TILE * TILES,
                   MMA_BLOCKS = 3; /* of a multiprocessor at least: told, ptxas does not spill for more */

/* Results of one tile: c[0], c[1] matrix row g, c[2], c[3] row g + 8, columns 2 t and 2 t + 1. */
typedef float tile_sums[TILES][4];

template <class F, mox_act_kind kind> struct block_tiles;

template <class F> struct block_tiles<F, MOX_ACT_K> {
    static __device__ __forceinline__ void sums(const uint8_t *chunk, const uint8_t *const *x, uint32_t block,
                                                uint32_t n_tiles, int (&sum)[TILES][4])
    {
        const uint32_t lane = threadIdx.x % MOX_WARP, g = lane / 4, t = lane % 4;
        for (uint32_t s = 0; s < F::QUADS; s++) {
            uint32_t w[2][F::WORDS];
            F::words(chunk, g, s, t, w[0]);
            F::words(chunk, g + 8, s, t, w[1]);
            MOX_UNROLL
            for (uint32_t n = 0; n < F::WORDS; n++) {
                const uint32_t group = F::group(s, n);
                const int sc[2] = {F::scale(chunk, g, group), F::scale(chunk, g + 8, group)};
                MOX_UNROLL
                for (uint32_t i = 0; i < TILES; i++) {
                    if (i < n_tiles) {
                        int c[4] = {0, 0, 0, 0};
                        mma_16_8_16(c, w[0][n], w[1][n],
                                    load<uint32_t>(x[i * TILE + g] + block + 16 * group + 4 * t));
                        MOX_UNROLL
                        for (uint32_t k = 0; k < 4; k++) {
                            sum[i][k] += sc[k / 2] * c[k];
                        }
                    }
                }
            }
        }
    }
    /* Of the minimums, with the sums of codes that the activations carry. */
    static __device__ __forceinline__ void mins(const uint8_t *chunk, const uint8_t *const *x, uint32_t block,
                                                int (&min)[TILES][4])
    {
        const uint32_t lane = threadIdx.x % MOX_WARP, g = lane / 4, t = lane % 4;
        for (uint32_t j = 0; F::HAS_MIN && j < GROUPS; j++) {
            const int mn[2] = {F::min_of(chunk, g, j), F::min_of(chunk, g + 8, j)};
            MOX_UNROLL
            for (uint32_t i = 0; i < TILES; i++) {
                MOX_UNROLL
                for (uint32_t k = 0; k < 4; k++) {
                    const uint8_t *a = x[i * TILE + 2 * t + k % 2] + block;
                    min[i][k] += mn[k / 2] * load<int16_t>(reinterpret_cast<const mox_act_k *>(a)->sum + j);
                }
            }
        }
    }
    static __device__ __forceinline__ void run(const uint8_t *chunk, uint32_t, const uint8_t *const *x,
                                               uint32_t block, uint32_t n_tiles, tile_sums &p)
    {
        const uint32_t lane = threadIdx.x % MOX_WARP, g = lane / 4, t = lane % 4;
        int sum[TILES][4] = {}, min[TILES][4] = {};
        sums(chunk, x, block, n_tiles, sum);
        mins(chunk, x, block, min);
        MOX_UNROLL
        for (uint32_t k = 0; k < 4; k++) {
            const uint32_t r = g + 8 * (k / 2);
            const float d = F::d(chunk, r), dmin = F::HAS_MIN ? F::dmin(chunk, r) : 0.0f;
            MOX_UNROLL
            for (uint32_t i = 0; i < TILES; i++) {
                const uint8_t *a = x[i * TILE + 2 * t + k % 2] + block;
                p[i][k] = k_partial<F>(d, dmin, sum[i][k], min[i][k],
                                       load<float>(&reinterpret_cast<const mox_act_k *>(a)->d));
            }
        }
    }
};

template <class F> struct block_tiles<F, MOX_ACT_B32> {
    static __device__ __forceinline__ void run(const uint8_t *chunk, uint32_t cols, const uint8_t *const *x,
                                               uint32_t block, uint32_t n_tiles, tile_sums &p)
    {
        const uint32_t lane = threadIdx.x % MOX_WARP, g = lane / 4, t = lane % 4, n_sub = cols / 32;
        for (uint32_t j = 0; j < n_sub; j++) {
            const uint8_t *body = chunk + n_sub * F::HEAD + j * F::BODY, *head = chunk + j * F::HEAD;
            const float d[2] = {F::d(head, g), F::d(head, g + 8)};
            two_words top, bottom;
            F::words(body, g, t, top);
            F::words(body, g + 8, t, bottom);
            const uint32_t a[4] = {top[0], bottom[0], top[1], bottom[1]};
            MOX_UNROLL
            for (uint32_t i = 0; i < TILES; i++) {
                if (i >= n_tiles) {
                    continue;
                }
                const uint8_t *codes = x[i * TILE + g] + block + 32 * j + 4 * t;
                const uint32_t b[2] = {load<uint32_t>(codes), load<uint32_t>(codes + 16)};
                int c[4] = {0, 0, 0, 0};
                mma_16_8_32(c, a, b);
                MOX_UNROLL
                for (uint32_t k = 0; k < 4; k++) {
                    const mox_act_b *act =
                        reinterpret_cast<const mox_act_b *>(x[i * TILE + 2 * t + k % 2] + block);
                    p[i][k] = mox_fmaf(d[k / 2] * load<float>(act->d + j), static_cast<float>(c[k]), p[i][k]);
                }
            }
        }
        for (uint32_t j = 0; F::HAS_MIN && j < n_sub; j++) {
            const uint8_t *head = chunk + j * F::HEAD;
            const float m[2] = {F::m(head, g), F::m(head, g + 8)};
            MOX_UNROLL
            for (uint32_t i = 0; i < TILES; i++) {
                MOX_UNROLL
                for (uint32_t k = 0; k < 4; k++) {
                    const mox_act_b *act =
                        reinterpret_cast<const mox_act_b *>(x[i * TILE + 2 * t + k % 2] + block);
                    p[i][k] = mox_fmaf(m[k / 2] * load<float>(act->d + j),
                                       static_cast<float>(load<int16_t>(act->sum + j)), p[i][k]);
                }
            }
        }
    }
};

/* a += b; b = 0 */
static __device__ __forceinline__ void move_sums(tile_sums &a, tile_sums &b)
{
    MOX_UNROLL
    for (uint32_t i = 0; i < TILES; i++) {
        MOX_UNROLL
        for (uint32_t k = 0; k < 4; k++) {
            a[i][k] = a[i][k] + b[i][k];
            b[i][k] = 0.0f;
        }
    }
}

template <class F, mox_act_kind kind>
static __global__ void __launch_bounds__(MMA_THREADS, MMA_BLOCKS) k_mat_mma(const mat_params p)
{
    MOX_SHARED(const uint8_t *, x, [TOKENS]);
    const mat_use use = take_use(p, blockIdx.z);
    const uint32_t first = use.first + blockIdx.y * TOKENS;
    if (first >= use.end) {
        return; /* a whole block */
    }
    const uint32_t left = use.end - first, n = left < TOKENS ? left : TOKENS, n_tiles = (n + TILE - 1) / TILE;
    if (threadIdx.x < TOKENS) { /* past the last row: that one again, and not kept */
        x[threadIdx.x] = x_of(p, use, first + (threadIdx.x < n ? threadIdx.x : n - 1));
    }
    MOX_SYNC();
    const uint32_t lane = threadIdx.x % MOX_WARP, g = lane / 4, t = lane % 4;
    const uint32_t group = blockIdx.x * MMA_WARPS + threadIdx.x / MOX_WARP, n_blocks = mox_mat_blocks(&use.w);
    if (group >= mox_mat_groups(&use.w)) {
        return; /* a whole warp, after the last barrier */
    }
    tile_sums part = {}, span = {}, row = {};
    for (uint32_t b = 0; b < n_blocks; b++) {
        const uint32_t cols = use.w.cols - b * BLOCK;
        block_tiles<F, kind>::run(mox_mat_chunk(&use.w, group, b), cols < BLOCK ? cols : BLOCK, x,
                                  b * static_cast<uint32_t>(sizeof(mox_act_k)), n_tiles, part);
        move_sums(span, part);
        if (b % MOX_SPAN_BLOCKS == MOX_SPAN_BLOCKS - 1 || b == n_blocks - 1) {
            move_sums(row, span);
        }
    }
    MOX_UNROLL
    for (uint32_t i = 0; i < TILES; i++) {
        MOX_UNROLL
        for (uint32_t k = 0; k < 4; k++) {
            const uint32_t j = i * TILE + 2 * t + k % 2, r = group * ROWS + g + 8 * (k / 2);
            if (j < n && r < use.w.rows) {
                put_y(p, use, first + j, r, row[i][k]);
            }
        }
    }
}

template <class F, mox_act_kind kind> static bool launch_mma(const mat_call &c)
{
    const dim3 grid(div_up(mox_mat_groups(&c.p.w), MMA_WARPS), div_up(c.most_rows, TOKENS), c.n_uses);
    MOX_LAUNCH((k_mat_mma<F, kind>), grid, MMA_THREADS, 0, c.stream, c.p);
    return true;
}

bool mat_launch_mma(const mat_call &c)
{
    switch (c.p.w.type) {
#define X(type, format)                                                                                      \
    case MOX_TYPE_##type:                                                                                    \
        return launch_mma<format, MOX_ACT_K>(c);
        CUDA_K_FORMATS(X)
#undef X
#define X(type, format)                                                                                      \
    case MOX_TYPE_##type:                                                                                    \
        return launch_mma<format, MOX_ACT_B32>(c);
        CUDA_B_FORMATS(X)
#undef X
    default:
        return false;
    }
}
