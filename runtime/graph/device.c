/* See device.h. Layout of a device's memory, its start and end, and the store's link. */
#include "runtime/graph/device.h"

#include "runtime/core/bits.h"

#include <sched.h>
#include <string.h>

enum { ALIGN = 256, POLLS = 1 << 14 };

static mox_act_kind kind_of(const mox_dims *dims, mox_type type)
{
    return dims->act_f32 ? MOX_ACT_F32 : mox_format_of(type)->kind;
}

/* Inputs of the kinds that gate and up of any layer read, on both sides. */
static void take_inputs(mox_device *d, const mox_model *m, const mox_dims *dims, mox_arena *far,
                        mox_arena *near)
{
    bool weighed = m->h.router.gating == MOX_GATING_SIGMOID_TOP;
    size_t rows = (size_t)dims->n_batch * (weighed ? m->h.top_k : 1);
    unsigned kinds = 0;
    for (uint32_t l = 0; l < m->n_moe_layers; l++) {
        kinds |= 1u << kind_of(dims, m->layouts[l].type[MOX_SLAB_GATE]);
        kinds |= 1u << kind_of(dims, m->layouts[l].type[MOX_SLAB_UP]);
    }
    for (int k = 0; k < MOX_ACT_KINDS; k++) {
        mox_acts acts = {.kind = (mox_act_kind)k,
                         .n_cols = m->h.d_model,
                         .row_bytes = mox_act_row_bytes((mox_act_kind)k, m->h.d_model)};
        d->x[k] = d->near_x[k] = acts;
        if (kinds & 1u << k) {
            d->x[k].data = mox_arena_take(far, rows * acts.row_bytes, ALIGN);
            d->near_x[k].data = mox_arena_take(near, rows * acts.row_bytes, ALIGN);
        }
    }
}

void mox_device_take(mox_device *d, const mox_device_shape *s, uint32_t index, mox_vram_layer *layers,
                     mox_arena *far, mox_arena *near)
{
    const mox_model *m = s->m;
    size_t uses = (size_t)s->dims->n_batch * m->h.top_k, d_model = m->h.d_model;
    d->staging_bytes = d->scratch_bytes = 0;
    for (uint32_t l = 0; l < m->n_moe_layers; l++) {
        size_t slot = mox_vram_slot_bytes(mox_model_slot_bytes(m, l));
        size_t scratch = mox_experts_scratch_bytes(&m->layouts[l], m->h.n_experts, (uint32_t)uses,
                                                   s->dims->n_threads, s->dims->act_f32);
        d->staging_bytes = slot > d->staging_bytes ? slot : d->staging_bytes;
        d->scratch_bytes = scratch > d->scratch_bytes ? scratch : d->scratch_bytes;
    }
    d->staging = mox_arena_take(far, MOX_STAGING_SLOTS * d->staging_bytes, ALIGN);
    take_inputs(d, m, s->dims, far, near);
    d->far_index = mox_arena_take(far, 2 * uses * sizeof *d->far_index, ALIGN);
    d->far_e = mox_arena_take(far, uses * d_model * sizeof *d->far_e, ALIGN);
    d->scratch = mox_arena_take(far, d->scratch_bytes, ALIGN);
    d->tok = mox_arena_take(near, uses * sizeof *d->tok, ALIGN);
    d->out_row = mox_arena_take(near, uses * sizeof *d->out_row, ALIGN);
    d->near_e = mox_arena_take(near, uses * d_model * sizeof *d->near_e, ALIGN);
    for (uint32_t l = 0; layers && l < m->n_moe_layers; l++) {
        if (layers[l].device == index) {
            layers[l].base =
                mox_arena_take(far, layers[l].quota * mox_vram_slot_bytes(mox_model_slot_bytes(m, l)), ALIGN);
        }
    }
}

void mox_devices_take(mox_devices *ds, const mox_device_shape *s, mox_arena *a)
{
    uint32_t n = s->m->h.n_experts;
    ds->hits = mox_arena_take(a, n * sizeof *ds->hits, ALIGN);
    ds->uses = mox_arena_take(a, n * sizeof *ds->uses, ALIGN);
    ds->rows = mox_arena_take(a, n * sizeof *ds->rows, ALIGN);
    ds->host_row = mox_arena_take(a, (size_t)s->dims->n_batch * s->m->h.top_k * sizeof *ds->host_row, ALIGN);
}

mox_err mox_device_start(mox_device *d, const mox_device_shape *s, uint32_t index, mox_vram_layer *layers,
                         size_t far_bytes, size_t near_bytes)
{
    mox_dev *dev = d->dev;
    const mox_dev_ops *ops = dev->ops;
    MOX_TRY(ops->mem_alloc(dev, far_bytes, MOX_MEM_DEVICE, 0, &d->far_buf));
    MOX_TRY(ops->mem_alloc(dev, near_bytes, MOX_MEM_PINNED, 0, &d->near_buf));
    MOX_TRY(ops->mem_alloc(dev, sizeof *d->words, MOX_DEVICE_WORDS_MEM, 0, &d->words_buf));
    memset(d->near_buf.ptr, 0, near_bytes); /* there before "ready" */
    memset(d->words_buf.ptr, 0, sizeof *d->words);
    d->words = d->words_buf.ptr;
    mox_arena far = {.base = d->far_buf.ptr, .bytes = far_bytes};
    mox_arena near = {.base = d->near_buf.ptr, .bytes = near_bytes};
    mox_device_take(d, s, index, layers, &far, &near);
    MOX_TRY(ops->stream_create(dev, &d->compute));
    MOX_TRY(ops->stream_create(dev, &d->link));
    MOX_TRY(ops->event_create(dev, &d->computed));
    MOX_TRY(ops->event_create(dev, &d->copied));
    for (int i = 0; i < MOX_STAGING_SLOTS; i++) {
        MOX_TRY(ops->event_create(dev, &d->used[i]));
    }
    return ops->event_record(dev, d->computed, d->compute);
}

void mox_device_stop(mox_device *d)
{
    mox_dev *dev = d->dev;
    if (!dev) {
        return;
    }
    const mox_dev_ops *ops = dev->ops;
    mox_event **events[] = {&d->computed, &d->copied};
    mox_stream **streams[] = {&d->compute, &d->link};
    for (int i = 0; i < 2; i++) {
        if (*streams[i]) {
            mox_err late = ops->stream_wait(dev, *streams[i]);
            (void)late; /* it is going, and what it was wanted for is over */
            ops->stream_destroy(dev, streams[i]);
        }
    }
    for (int i = 0; i < 2; i++) {
        if (*events[i]) {
            ops->event_destroy(dev, events[i]);
        }
    }
    for (int i = 0; i < MOX_STAGING_SLOTS; i++) {
        if (d->used[i]) {
            ops->event_destroy(dev, &d->used[i]);
        }
    }
    ops->mem_free(dev, &d->words_buf);
    ops->mem_free(dev, &d->near_buf);
    ops->mem_free(dev, &d->far_buf);
    if (d->own_ops) {
        mox_ops_destroy(&d->ops);
    }
    mox_dev_destroy(&d->dev);
}

/* A short while by looking at the word, which is what it takes as a rule; then as the device waits best. */
static mox_err wait_word(mox_device *d, volatile uint32_t *word, uint32_t n, mox_stream *s)
{
    for (uint32_t i = 0; (int32_t)(d->dev->ops->flag_poll(d->dev, word) - n) < 0; i++) {
        if (i == POLLS) {
            return d->dev->ops->stream_wait(d->dev, s);
        }
        sched_yield();
    }
    return MOX_OK;
}

mox_err mox_device_wait_copies(mox_device *d, uint32_t n)
{
    return wait_word(d, &d->words->copied, n, d->link);
}

mox_err mox_device_wait_computes(mox_device *d, uint32_t n)
{
    return wait_word(d, &d->words->computed, n, d->compute);
}

static mox_err cross(mox_device *d, void *to, const void *from, size_t bytes, uint64_t *ticket)
{
    const mox_dev_ops *ops = d->dev->ops;
    MOX_TRY(ops->stream_after(d->dev, d->link, d->computed));
    MOX_TRY(ops->copy(d->dev, d->link, to, from, bytes));
    MOX_TRY(ops->flag_write(d->dev, d->link, &d->words->copied, ++d->n_copies));
    *ticket = d->n_copies;
    return MOX_OK;
}

static mox_err link_up(void *ctx, uint32_t device, uint8_t *far, const uint8_t *near, size_t bytes,
                       uint64_t *ticket)
{
    return cross(&((mox_devices *)ctx)->d[device], far, near, bytes, ticket);
}

static mox_err link_down(void *ctx, uint32_t device, uint8_t *near, const uint8_t *far, size_t bytes,
                         uint64_t *ticket)
{
    return cross(&((mox_devices *)ctx)->d[device], near, far, bytes, ticket);
}

static bool link_landed(void *ctx, uint32_t device, uint64_t ticket)
{
    mox_device *d = &((mox_devices *)ctx)->d[device];
    return (int32_t)(d->dev->ops->flag_poll(d->dev, &d->words->copied) - (uint32_t)ticket) >= 0;
}

static mox_err link_wait(void *ctx, uint32_t device, uint64_t ticket)
{
    return mox_device_wait_copies(&((mox_devices *)ctx)->d[device], (uint32_t)ticket);
}

mox_link_ops mox_devices_link(mox_devices *ds)
{
    return (mox_link_ops){
        .ctx = ds, .up = link_up, .down = link_down, .landed = link_landed, .wait = link_wait};
}
