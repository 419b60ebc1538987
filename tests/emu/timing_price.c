/* Bytes and operations of each launch, from its arguments alone (timing.h). What a kernel keeps in its caches is counted
 * once: a matrix for all rows, keys and values once for every 16 rows of a prompt. Products of floats run on slower units
 * than those of bytes: one counts as four. */
#include "emu/timing.h"

enum { FLOAT_OPS = 4, ATTENTION_ROWS = 16 };

static double floats(double n)
{
    return 4 * n;
}

static timing_price of_bytes(double bytes)
{
    return (timing_price){.bytes = bytes, .launches = 1};
}

static void add_mat(timing_price *p, const mox_mat *w, double rows)
{
    double bytes = (double)mox_mat_bytes(w->type, w->rows, w->cols);
    p->bytes += bytes;
    p->host_bytes += timing_is_device(w->data) ? 0 : bytes;
    p->ops += 2 * rows * w->rows * w->cols;
}

timing_price timing_price_embed(const mox_embed_args *a)
{
    return of_bytes(a->n * (floats(a->w->cols) + (double)mox_type_row_bytes(a->w->type, a->w->cols)));
}

timing_price timing_price_rms_norm(const mox_rms_norm_args *a)
{
    return of_bytes(floats((2.0 * a->n + 1) * a->d));
}

timing_price timing_price_layer_norm(const mox_layer_norm_args *a)
{
    return of_bytes(floats((2.0 * a->n + 2) * a->d));
}

/* Rows are walked one after the other; what stands in the state is read and written once for each. */
timing_price timing_price_conv(const mox_conv_args *a)
{
    double channels = (double)mox_state_channels(&a->state), taps = a->state.taps;
    return of_bytes(floats(channels * (2.0 * a->n + 3.0 * taps)));
}

timing_price timing_price_delta_prepare(const mox_delta_prepare_args *a)
{
    double row = 4.0 * a->state.k_heads * a->state.k_dim + 4.0 * a->state.v_heads;
    timing_price p = of_bytes(floats(a->n * row));
    p.launches = 2;
    return p;
}

timing_price timing_price_delta_rule(const mox_delta_rule_args *a)
{
    double matrices = (double)a->state.v_heads * a->state.k_dim * a->state.v_dim;
    timing_price p = of_bytes(floats(a->n * (2.0 * matrices + (double)mox_state_channels(&a->state))));
    p.ops = 6.0 * FLOAT_OPS * a->n * matrices;
    return p;
}

timing_price timing_price_quantize(const mox_quantize_args *a)
{
    return of_bytes(a->n * (floats(a->y.n_cols) + (double)a->y.row_bytes));
}

timing_price timing_price_mat_mul(const mox_mat_mul_args *a)
{
    timing_price p = of_bytes(a->n * ((double)a->x.row_bytes + floats(a->w->rows)));
    add_mat(&p, a->w, a->n);
    return p;
}

timing_price timing_price_mat_muls(const mox_mat_muls_args *a)
{
    timing_price all = {.launches = 0};
    for (uint32_t i = 0; i < a->n; i++) {
        timing_price one = timing_price_mat_mul(&a->mul[i]);
        all.bytes += one.bytes;
        all.ops += one.ops;
        all.host_bytes += one.host_bytes;
        all.launches += one.launches;
    }
    return all;
}

timing_price timing_price_head_mul(const mox_head_mul_args *a)
{
    timing_price p = of_bytes(a->n * a->n_heads * ((double)a->x.row_bytes + floats(a->w->rows)));
    for (uint32_t h = 0; h < a->n_heads; h++) {
        add_mat(&p, &a->w[h], a->n);
    }
    return p;
}

timing_price timing_price_rope(const mox_rope_args *a)
{
    return of_bytes(floats(2.0 * a->n * a->n_heads * a->head_dim));
}

static double kv_bytes(const mox_kv_view *kv)
{
    return kv->n_kv_heads *
           (double)(mox_kv_row_bytes(kv->type, kv->head_dim) + mox_kv_row_bytes(kv->type, mox_kv_v_dim(kv)));
}

timing_price timing_price_kv_append(const mox_kv_append_args *a)
{
    double values = (double)a->kv.n_kv_heads * (a->kv.head_dim + mox_kv_v_dim(&a->kv));
    return of_bytes(a->n * (floats(values) + kv_bytes(&a->kv)));
}

timing_price timing_price_attention(const mox_attention_args *a)
{
    double width = a->kv.head_dim + mox_kv_v_dim(&a->kv), positions = 0, most = 0, read = 0;
    for (uint32_t i = 0; i < a->n; i++) {
        double n = a->place[i].pos + 1.0;
        most = n > most ? n : most;
        positions += n;
        if (i % ATTENTION_ROWS == ATTENTION_ROWS - 1 || i + 1 == a->n) {
            read += most * kv_bytes(&a->kv);
            most = 0;
        }
    }
    timing_price p = of_bytes(read + floats(a->n * a->n_heads * width));
    p.ops = FLOAT_OPS * 2 * positions * a->n_heads * width;
    return p;
}

timing_price timing_price_router(const mox_router_args *a)
{
    timing_price p = of_bytes(floats(((double)a->n + a->n_experts) * a->d));
    p.ops = FLOAT_OPS * 2.0 * a->n * a->n_experts * a->d;
    return p;
}

timing_price timing_price_merge(const mox_merge_args *a)
{
    return of_bytes(floats((double)a->n * a->d * (a->k + 2)));
}

/* Uses into the scratch, gate, up, what stands between, rounding, down; the merge. */
timing_price timing_price_experts(const mox_experts_args *a)
{
    timing_price p = {.launches = 6};
    for (uint32_t i = 0; i < a->n_uses; i++) {
        const mox_expert_use *u = &a->use[a->places ? 0 : i];
        const uint32_t n = a->places ? a->places[i].n : u->n;
        for (int s = 0; n > 0 && s < MOX_SLABS; s++) {
            add_mat(&p, &u->mats[s], n);
        }
        p.bytes += floats(n * (2.0 * u->mats[MOX_SLAB_GATE].cols + 5.0 * u->mats[MOX_SLAB_GATE].rows));
    }
    if (a->merge) {
        timing_price merge = timing_price_merge(a->merge);
        p.bytes += merge.bytes;
        p.launches++;
    }
    return p;
}

timing_price timing_price_swiglu(const mox_swiglu_args *a)
{
    return of_bytes(floats(3.0 * a->n * a->d_ff));
}

timing_price timing_price_add(const mox_add_args *a)
{
    return of_bytes(floats(3.0 * (double)a->n));
}

timing_price timing_price_map(const mox_map_args *a)
{
    return of_bytes(floats(2.0 * a->n * a->d));
}

timing_price timing_price_gate(const mox_gate_args *a)
{
    return of_bytes(floats((a->n + 1.0) * a->d));
}

timing_price timing_price_part(const mox_part_args *a)
{
    return of_bytes(floats(2.0 * a->n * a->len));
}

timing_price timing_price_weigh(const mox_weigh_args *a)
{
    return of_bytes(floats((a->k + 1.0) * a->n * a->d));
}

timing_price timing_price_ranks(const mox_ranks_args *a)
{
    return of_bytes(floats(((double)a->k + a->ranks) * a->n));
}
