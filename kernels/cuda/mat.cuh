/* Products on the GPU, shared by mat_mul.cu and experts.cu (what a call consists of), mat_rows.cu (few rows of
 * activations: row by row) and mat_mma.cu (many rows, int8: tensor cores). */
#ifndef MOX_KERNELS_CUDA_MAT_CUH
#define MOX_KERNELS_CUDA_MAT_CUH

#include "kernels/cuda/formats.cuh"

/* One expert of a call, in device memory. */
struct mat_expert {
    const uint8_t *slot;
    uint32_t first, n; /* its rows in the scratch: first .. first + n */
    uint32_t row;      /* the first of them in tok and out_row */
    const float *bias[MOX_SLABS];
};

/* A product's rows: of one dense matrix, or of the same matrix in the slots of several experts. */
struct mat_params {
    mox_mat w;             /* use == NULL: the matrix */
    const mat_expert *use; /* else a slot each: w lies in it at these offsets */
    size_t part_off, tail_off;
    mox_slab slab;
    const uint8_t *x;
    size_t x_row_bytes;
    float *y;
    size_t y_stride;               /* floats */
    const uint32_t *x_row, *y_row; /* of row j; NULL: j itself */
    const float *bias;             /* without uses */
    uint32_t n;                    /* without uses: rows */
    uint32_t
        n_heads; /* not 0: a matrix for each head, head_step bytes apart; rows of x and y are [n][n_heads] */
    size_t head_step;
};

struct mat_call {
    mat_params p;
    uint32_t n_uses, most_rows; /* 1 and n for a dense matrix */
    struct CUstream_st *stream;
};

/* The rows of one use, and its matrix. */
struct mat_use {
    mox_mat w;
    uint32_t first, end, shift; /* shift: from row j to its place in x_row and y_row */
    uint32_t step, head;        /* where there are none: row j is j * step + head */
    const float *bias;
};

static __device__ __forceinline__ mat_use take_use(const mat_params &p, uint32_t u)
{
    mat_use o = {p.w, 0, p.n, 0, 1, 0, p.bias};
    if (p.use != nullptr) {
        const mat_expert &use = p.use[u];
        o.w.data = use.slot + p.part_off;
        o.w.tail_data = use.slot + p.tail_off;
        o.first = use.first;
        o.end = use.first + use.n;
        o.shift = use.row - use.first;
        o.bias = use.bias[p.slab];
    } else if (p.n_heads != 0) {
        o.w.data += u * p.head_step;
        o.step = p.n_heads;
        o.head = u;
    }
    return o;
}

static __device__ __forceinline__ const uint8_t *x_of(const mat_params &p, const mat_use &use, uint32_t j)
{
    return p.x + (p.x_row != nullptr ? p.x_row[j + use.shift] : j * use.step + use.head) * p.x_row_bytes;
}

/* Where row j's result for matrix row r goes, bias and all. */
static __device__ __forceinline__ void put_y(const mat_params &p, const mat_use &use, uint32_t j, uint32_t r,
                                             float v)
{
    const size_t row = p.y_row != nullptr ? p.y_row[j + use.shift] : j * use.step + use.head;
    p.y[row * p.y_stride + r] = use.bias != nullptr ? v + use.bias[r] : v;
}

/* The end of a K block: exact sums to the rounded partial. */
template <class F>
static __device__ __forceinline__ float k_partial(float d, float dmin, int sum, int min, float a)
{
    const float u = F::HAS_MIN ? mox_fmaf(d, static_cast<float>(sum), -(dmin * static_cast<float>(min)))
                               : d * static_cast<float>(sum);
    return u * a;
}

/* mat_launch_rows takes every type; mat_launch_mma the int8 ones. False: there is no kernel, nothing was launched. */
bool mat_launch_rows(const mat_call &c);
bool mat_launch_mma(const mat_call &c);

/* mat_launch: a matrix of a type times rows in its own kind of activations, by whichever suits. */
mox_err mat_launch(const mat_call &c, mox_act_kind kind);

#endif
