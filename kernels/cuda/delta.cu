/* Gated delta nets on the GPU: the short convolution with a thread per channel of a row, lengths of q and k with a warp per
 * head, decay and strength with a thread per head, the recurrence with a thread per column of a head's matrix, which walks
 * the rows of its sequence. A column needs nothing of the others, so there is nothing to wait for. */
#include "kernels/cuda/common.cuh"

constexpr uint32_t DELTA_THREADS = 128, DELTA_WARPS = DELTA_THREADS / MOX_WARP;

/* What mox_state_channels says, where a kernel may call it. */
static __host__ __device__ __forceinline__ size_t channels_of(const mox_state_view &v)
{
    return static_cast<size_t>(2) * v.k_heads * v.k_dim + static_cast<size_t>(v.v_heads) * v.v_dim;
}

static __device__ float *input_row(const mox_conv_args &a, uint32_t seq, uint32_t slot, uint32_t pos)
{
    const uint32_t kept = a.state.taps - 1;
    const size_t row = (static_cast<size_t>(seq) * a.state.n_slots + slot) * kept + pos % kept;
    return a.state.conv + row * channels_of(a.state);
}

/* Channel c of the input `back` positions before row i; 0 before its sequence. */
static __device__ float input_of(const mox_conv_args &a, uint32_t i, uint32_t back, size_t c)
{
    const mox_place at = a.place[i];
    if (back > at.pos) {
        return 0.0f;
    }
    uint32_t row = i, left = back;
    while (left > 0 && row > 0) {
        row--;
        left -= a.place[row].seq == at.seq ? 1 : 0;
    }
    return left == 0 ? a.x[row * channels_of(a.state) + c]
                     : input_row(a, at.seq, a.step[at.seq].from, at.pos - back)[c];
}

static __device__ bool last_of_sequence(const mox_conv_args &a, uint32_t i)
{
    for (uint32_t j = i + 1; j < a.n; j++) {
        if (a.place[j].seq == a.place[i].seq) {
            return false;
        }
    }
    return true;
}

static __global__ void __launch_bounds__(DELTA_THREADS) k_conv(const mox_conv_args a)
{
    const size_t at = static_cast<size_t>(blockIdx.x) * DELTA_THREADS + threadIdx.x, n = channels_of(a.state);
    const uint32_t i = static_cast<uint32_t>(at / n), taps = a.state.taps;
    const size_t c = at % n;
    if (i >= a.n) {
        return;
    }
    float sum = a.w[c * taps] * input_of(a, i, taps - 1, c);
    for (uint32_t t = 1; t < taps; t++) {
        const float p = a.w[c * taps + t] * input_of(a, i, taps - 1 - t, c);
        sum = sum + p;
    }
    a.y[at] = mox_siluf(sum);
    const mox_place place = a.place[i];
    for (uint32_t back = 0; last_of_sequence(a, i) && back + 1 < taps && back <= place.pos; back++) {
        input_row(a, place.seq, a.step[place.seq].to, place.pos - back)[c] = input_of(a, i, back, c);
    }
}

/* A warp for each head of q, then of k. */
static __global__ void __launch_bounds__(DELTA_THREADS)
    k_delta_lengths(const mox_delta_prepare_args a, float q_scale)
{
    const uint32_t lane = threadIdx.x % MOX_WARP, heads = 2 * a.state.k_heads, d = a.state.k_dim;
    const uint32_t item = blockIdx.x * DELTA_WARPS + threadIdx.x / MOX_WARP, row = item / heads;
    if (row >= a.n) {
        return; /* a whole warp */
    }
    float *x = a.y + row * channels_of(a.state) + static_cast<size_t>(item % heads) * d;
    const float scale = item % heads < a.state.k_heads ? q_scale : 1.0f;
    const auto get = [=](uint32_t i) { return x[i]; };
    const float r = 1.0f / sqrtf(warp_dot(d, lane, get, get) + a.eps);
    for (uint32_t i = lane; i < d; i += MOX_WARP) {
        x[i] = x[i] * r * scale;
    }
}

static __global__ void __launch_bounds__(DELTA_THREADS) k_delta_decay(const mox_delta_prepare_args a)
{
    const uint32_t at = blockIdx.x * DELTA_THREADS + threadIdx.x, heads = a.state.v_heads;
    const uint32_t row = at / heads, h = at % heads, each = heads / a.state.k_heads;
    if (row >= a.n) {
        return;
    }
    const float *ba = a.ba + static_cast<size_t>(row) * 2 * heads + h / each * 2 * each + h % each;
    a.beta[at] = mox_sigmoidf(ba[0]);
    a.decay[at] = mox_expf(a.a[h] * mox_softplusf(ba[each] + a.dt_bias[h]));
}

static __global__ void __launch_bounds__(DELTA_THREADS) k_delta_rule(const mox_delta_rule_args a)
{
    const mox_state_view v = a.state;
    const uint32_t at = blockIdx.x * DELTA_THREADS + threadIdx.x, width = v.v_heads * v.v_dim;
    const uint32_t seq = at / width, head = at % width / v.v_dim, j = at % v.v_dim, d = v.k_dim;
    if (seq >= v.n_seq) {
        return;
    }
    const size_t matrix = static_cast<size_t>(d) * v.v_dim, slot = matrix * v.v_heads;
    float *base = v.s + static_cast<size_t>(seq) * v.n_slots * slot + head * matrix + j;
    float *to = base + a.step[seq].to * slot;
    const float *from = nullptr; /* of the rows before the step; zeros at position 0 */
    bool begun = false;
    for (uint32_t i = 0; i < a.n; i++) {
        if (a.place[i].seq != seq) {
            continue;
        }
        if (!begun && a.place[i].pos != 0) {
            from = base + a.step[seq].from * slot;
        }
        begun = true;
        const float *q = a.y + i * channels_of(v) + static_cast<size_t>(head / (v.v_heads / v.k_heads)) * d;
        const float *k = q + static_cast<size_t>(v.k_heads) * d;
        const float value =
            a.y[i * channels_of(v) + static_cast<size_t>(2) * v.k_heads * d + head * v.v_dim + j];
        const float decay = a.decay[static_cast<size_t>(i) * v.v_heads + head];
        float t = 0.0f, o = 0.0f;
        for (uint32_t r = 0; r < d; r++) {
            const float s = from != nullptr ? from[static_cast<size_t>(r) * v.v_dim] : 0.0f;
            t = mox_fmaf(s * decay, k[r], t);
        }
        const float delta = (value - t) * a.beta[static_cast<size_t>(i) * v.v_heads + head];
        for (uint32_t r = 0; r < d; r++) {
            const float s = from != nullptr ? from[static_cast<size_t>(r) * v.v_dim] : 0.0f;
            const float next = mox_fmaf(k[r], delta, s * decay);
            to[static_cast<size_t>(r) * v.v_dim] = next;
            o = mox_fmaf(next, q[r], o);
        }
        a.out[static_cast<size_t>(i) * width + head * v.v_dim + j] = o;
        from = to;
    }
}

mox_err mox_cuda_conv(const mox_cuda_call *c, const mox_conv_args *a)
{
    MOX_LAUNCH(k_conv, div_up(a->n * channels_of(a->state), DELTA_THREADS), DELTA_THREADS, 0, c->stream, *a);
    return launched("conv");
}

mox_err mox_cuda_delta_prepare(const mox_cuda_call *c, const mox_delta_prepare_args *a)
{
    const float q_scale = static_cast<float>(1.0 / sqrt(static_cast<double>(a->state.k_dim)));
    MOX_LAUNCH(k_delta_lengths, div_up(static_cast<uint64_t>(a->n) * 2 * a->state.k_heads, DELTA_WARPS),
               DELTA_THREADS, 0, c->stream, *a, q_scale);
    MOX_LAUNCH(k_delta_decay, div_up(static_cast<uint64_t>(a->n) * a->state.v_heads, DELTA_THREADS),
               DELTA_THREADS, 0, c->stream, *a);
    return launched("delta_prepare");
}

mox_err mox_cuda_delta_rule(const mox_cuda_call *c, const mox_delta_rule_args *a)
{
    const uint64_t columns = static_cast<uint64_t>(a->state.n_seq) * a->state.v_heads * a->state.v_dim;
    MOX_LAUNCH(k_delta_rule, div_up(columns, DELTA_THREADS), DELTA_THREADS, 0, c->stream, *a);
    return launched("delta_rule");
}
