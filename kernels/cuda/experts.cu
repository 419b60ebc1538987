/* The experts of a call on the GPU: gate and up, what stands between, rounding, down; each step takes all experts at
 * once.
 *
 * In the scratch the rows of all experts stand one after the other, so h of a call is one tensor and rounding it needs to
 * know nothing of experts. Matrices are those of slots, at offsets that all slots share. Where the slots are goes to the
 * device as arguments of a kernel, so nothing has to be copied or kept until the work has run; or it is read from memory
 * when the work runs (`places`), and then grids are made for the most there can be. */
#include "kernels/cuda/mat.cuh"

static_assert(sizeof(mat_expert) <= MOX_DEVICE_USE_BYTES, "the scratch is laid out for this");

constexpr uint32_t USES_AT_ONCE = 64, GLU_THREADS = 256, MOST_PLACES = 256;

/* So many as an argument list takes: 4 KiB. */
struct use_list {
    mat_expert use[USES_AT_ONCE];
};

static __global__ void __launch_bounds__(USES_AT_ONCE)
    k_put_uses(const use_list list, mat_expert *to, uint32_t n)
{
    if (threadIdx.x < n) {
        to[threadIdx.x] = list.use[threadIdx.x];
    }
}

/* Rows of the scratch go to the experts one after the other. Volatile: the host has written them since the last launch. */
static __global__ void __launch_bounds__(MOST_PLACES)
    k_take_places(const volatile mox_expert_place *from, mat_expert *to, uint32_t n, uint32_t all_rows)
{
    MOX_SHARED(uint32_t, rows, [MOST_PLACES]);
    const uint32_t i = threadIdx.x;
    const uint32_t mine = i < n ? from[i].n : 0;
    rows[i] = mine;
    MOX_SYNC(); /* every expert's rows are there */
    if (i >= n) {
        return;
    }
    uint32_t first = 0;
    for (uint32_t j = 0; j < i; j++) {
        first += rows[j];
    }
    first = first < all_rows ? first : all_rows;
    mat_expert use = {
        from[i].slot, first, mine < all_rows - first ? mine : all_rows - first, from[i].first, {}};
    MOX_UNROLL
    for (uint32_t s = 0; s < MOX_SLABS; s++) {
        use.bias[s] = mine != 0 ? from[i].bias[s] : nullptr;
    }
    to[i] = use;
}

template <mox_glu glu> static __device__ __forceinline__ float between(float gate, float up)
{
    if (glu == MOX_GLU_GELU) {
        return mox_geluf(gate) * up;
    }
    if (glu == MOX_GLU_CLAMPED) { /* comparisons keep a NaN */
        const float limit = 7.0f, alpha = 1.702f;
        const float g = limit < gate ? limit : gate, v = limit < up ? limit : up;
        const float u = -limit > v ? -limit : v;
        return g / (1.0f + mox_expf(-(alpha * g))) * (u + 1.0f);
    }
    return mox_siluf(gate) * up;
}

/* Rows behind those of the last expert are zero: they are rounded too. */
template <mox_glu glu>
static __global__ void __launch_bounds__(GLU_THREADS)
    k_glu(const float *gate, const float *up, float *h, size_t n, const mat_expert *last, uint32_t d_ff)
{
    const size_t i = static_cast<size_t>(blockIdx.x) * GLU_THREADS + threadIdx.x;
    if (i < n) {
        h[i] = i < static_cast<size_t>(last->first + last->n) * d_ff ? between<glu>(gate[i], up[i]) : 0.0f;
    }
}

namespace
{
/* What all products of a call share. */
struct expert_call {
    const mox_cuda_call *c;
    const mox_experts_args *a;
    const mox_mat *mats; /* of the first use */
    mat_expert *uses;    /* device memory */
    float *gate, *up;
    mox_acts h;
    uint32_t n_rows, most_rows;
};

mox_err put_uses(expert_call *e)
{
    const mox_experts_args *a = e->a;
    for (uint32_t at = 0; at < a->n_uses; at += USES_AT_ONCE) {
        use_list list = {};
        const uint32_t n = a->n_uses - at < USES_AT_ONCE ? a->n_uses - at : USES_AT_ONCE;
        for (uint32_t i = 0; i < n; i++) {
            const mox_expert_use *from = &a->use[at + i];
            mat_expert *to = &list.use[i];
            to->slot = from->mats[MOX_SLAB_GATE].data;
            to->first = e->n_rows;
            to->n = from->n;
            to->row = from->first;
            for (int s = 0; s < MOX_SLABS; s++) {
                to->bias[s] = from->bias[s];
            }
            e->n_rows += from->n;
            e->most_rows = from->n > e->most_rows ? from->n : e->most_rows;
        }
        MOX_LAUNCH(k_put_uses, 1, USES_AT_ONCE, 0, e->c->stream, list, e->uses + at, n);
    }
    return launched("experts");
}

mox_err take_places(expert_call *e)
{
    const mox_experts_args *a = e->a;
    if (a->n_uses > MOST_PLACES) {
        return MOX_FAIL(MOX_E_ARG, "%u experts that are named later: at most %u", a->n_uses, MOST_PLACES);
    }
    e->n_rows = a->all_rows;
    e->most_rows = a->most_rows;
    MOX_LAUNCH(k_take_places, 1, MOST_PLACES, 0, e->c->stream, a->places, e->uses, a->n_uses, a->all_rows);
    return launched("experts");
}

/* The product of one slab, as a call without its rows. */
mat_call slab_call(const expert_call *e, mox_slab slab)
{
    const uintptr_t slot = reinterpret_cast<uintptr_t>(e->mats[MOX_SLAB_GATE].data);
    mat_call call = {};
    call.p.w = e->mats[slab];
    call.p.use = e->uses;
    call.p.slab = slab;
    call.p.part_off = reinterpret_cast<uintptr_t>(e->mats[slab].data) - slot;
    if (e->mats[slab].tail_data != nullptr) {
        call.p.tail_off = reinterpret_cast<uintptr_t>(e->mats[slab].tail_data) - slot;
    }
    call.n_uses = e->a->n_uses;
    call.most_rows = e->most_rows;
    call.stream = e->c->stream;
    return call;
}

mox_err up_product(const expert_call *e, mox_slab slab, float *y)
{
    const mox_format *f = mox_format_of(e->mats[slab].type);
    const mox_acts *x = &e->a->x[f->kind];
    mat_call call = slab_call(e, slab);
    call.p.x = static_cast<const uint8_t *>(x->data);
    call.p.x_row_bytes = x->row_bytes;
    call.p.x_row = e->a->tok;
    call.p.y = y;
    call.p.y_stride = e->mats[slab].rows;
    return mat_launch(call, f->kind);
}

mox_err glu(const expert_call *e, uint32_t d_ff)
{
    const size_t n = static_cast<size_t>(e->n_rows) * d_ff;
    const uint32_t grid = div_up(n, GLU_THREADS);
    const mat_expert *last = e->uses + e->a->n_uses - 1;
    if (e->a->glu == MOX_GLU_GELU) {
        MOX_LAUNCH((k_glu<MOX_GLU_GELU>), grid, GLU_THREADS, 0, e->c->stream, e->gate, e->up, e->gate, n,
                   last, d_ff);
    } else if (e->a->glu == MOX_GLU_CLAMPED) {
        MOX_LAUNCH((k_glu<MOX_GLU_CLAMPED>), grid, GLU_THREADS, 0, e->c->stream, e->gate, e->up, e->gate, n,
                   last, d_ff);
    } else {
        MOX_LAUNCH((k_glu<MOX_GLU_SILU>), grid, GLU_THREADS, 0, e->c->stream, e->gate, e->up, e->gate, n,
                   last, d_ff);
    }
    return launched("experts");
}

mox_err lay_out(expert_call *e)
{
    const mox_mat *down = &e->mats[MOX_SLAB_DOWN];
    const mox_format *f = mox_format_of(down->type);
    if (f == nullptr || e->a->act_f32) {
        return MOX_FAIL(MOX_E_ARG, "experts with %s have no kernel on the GPU",
                        f == nullptr ? "weights of this type" : "activations that are not rounded");
    }
    uint32_t n_rows = e->a->places != nullptr ? e->a->all_rows : 0;
    for (uint32_t i = 0; e->a->places == nullptr && i < e->a->n_uses; i++) {
        n_rows += e->a->use[i].n;
    }
    const mox_experts_device_parts p =
        mox_experts_device_lay_out(down->type, down->cols, e->a->n_uses, n_rows);
    if (p.bytes > e->a->scratch_bytes) {
        return MOX_FAIL(MOX_E_ARG, "experts: %u rows of %u experts need %zu bytes of scratch, there are %zu",
                        n_rows, e->a->n_uses, p.bytes, e->a->scratch_bytes);
    }
    uint8_t *base = static_cast<uint8_t *>(e->a->scratch);
    e->uses = reinterpret_cast<mat_expert *>(base);
    e->gate = reinterpret_cast<float *>(base + p.gate);
    e->up = reinterpret_cast<float *>(base + p.up);
    e->h.kind = f->kind;
    e->h.n_cols = down->cols;
    e->h.row_bytes = mox_act_row_bytes(f->kind, down->cols);
    e->h.data = base + p.h;
    return MOX_OK;
}
} // namespace

mox_err mox_cuda_experts(const mox_cuda_call *c, const mox_experts_args *a)
{
    expert_call e = {};
    e.c = c, e.a = a, e.mats = a->use[0].mats;
    MOX_TRY(lay_out(&e));
    MOX_TRY(a->places != nullptr ? take_places(&e) : put_uses(&e));
    MOX_TRY(up_product(&e, MOX_SLAB_GATE, e.gate));
    MOX_TRY(up_product(&e, MOX_SLAB_UP, e.up));
    MOX_TRY(glu(&e, e.h.n_cols));
    if (e.h.kind != MOX_ACT_F32) {
        const mox_quantize_args round = {e.gate, e.n_rows, e.h.n_cols, e.h};
        MOX_TRY(mox_cuda_quantize(c, &round));
    }
    mat_call down = slab_call(&e, MOX_SLAB_DOWN);
    down.p.x = static_cast<const uint8_t *>(e.h.data);
    down.p.x_row_bytes = e.h.row_bytes;
    down.p.y_row = a->out_row;
    down.p.y = a->e;
    down.p.y_stride = e.mats[MOX_SLAB_DOWN].rows;
    MOX_TRY(mat_launch(down, e.h.kind));
    return a->merge != nullptr ? mox_cuda_merge(c, a->merge) : MOX_OK;
}
