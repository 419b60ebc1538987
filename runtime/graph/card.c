/* See card.h. Layout of a card's memory, its start and end, rows from card to card, and the store's link. */
#include "runtime/graph/card.h"

#include "runtime/graph/capture.h"

#include "runtime/core/bits.h"

#include <sched.h>
#include <string.h>

enum { ALIGN = 64, POLLS = 1 << 14 };

void mox_cards_take(mox_cards *cs, mox_graph *g, mox_arena *a)
{
    uint32_t n = g->m->h.n_experts, captured = mox_captured_count(g->m);
    mox_dev_graph **all = mox_arena_take(a, (size_t)cs->n * captured * sizeof *all, ALIGN);
    g->captured = all ? all + g->card * captured : NULL;
    cs->hits = mox_arena_take(a, n * sizeof *cs->hits, ALIGN);
    cs->uses = mox_arena_take(a, n * sizeof *cs->uses, ALIGN);
    cs->rows = mox_arena_take(a, n * sizeof *cs->rows, ALIGN);
    cs->ours = mox_arena_take(a, (size_t)g->dims.n_batch * mox_graph_ranks(&g->m->h), ALIGN);
}

/* Parts of the memory in their order; each line of the plan is a multiple of MOX_CARD_ALIGN. */
static void lay_out(mox_card *c, const mox_model *m, const mox_plan_device *plan, uint32_t index,
                    mox_vram_layer *layers)
{
    uint8_t *at = c->memory.ptr;
    c->dense = (mox_arena){.base = at, .bytes = plan->dense_bytes};
    at += plan->dense_bytes;
    c->kv = (mox_arena){.base = at, .bytes = plan->kv_bytes};
    at += plan->kv_bytes;
    c->buffers = (mox_arena){.base = at, .bytes = plan->buffer_bytes};
    at += plan->buffer_bytes;
    c->staging = plan->staging_bytes ? at : NULL;
    c->staging_bytes = plan->staging_bytes / MOX_STAGING_SLOTS;
    at += plan->staging_bytes;
    for (uint32_t l = 0; l < m->n_moe_layers; l++) {
        if (layers[l].device == index) {
            layers[l].base = at;
            at += layers[l].quota * mox_vram_slot_bytes(mox_model_slot_bytes(m, l));
        }
    }
}

mox_err mox_card_start(mox_card *c, const mox_model *m, const mox_plan_device *plan, uint32_t index,
                       mox_vram_layer *layers)
{
    mox_dev *dev = c->dev;
    const mox_dev_ops *ops = dev->ops;
    MOX_TRY(ops->mem_alloc(dev, plan->total_bytes, MOX_MEM_DEVICE, 0, &c->memory));
    MOX_TRY(ops->mem_alloc(dev, sizeof *c->words, MOX_MEM_MAPPED, 0, &c->words_buf));
    memset(c->words_buf.ptr, 0, sizeof *c->words);
    c->words = c->words_buf.ptr;
    lay_out(c, m, plan, index, layers);
    MOX_TRY(ops->stream_create(dev, &c->compute));
    MOX_TRY(ops->stream_create(dev, &c->link));
    MOX_TRY(ops->event_create(dev, &c->computed));
    MOX_TRY(ops->event_create(dev, &c->copied));
    for (int i = 0; i < MOX_STAGING_SLOTS; i++) {
        MOX_TRY(ops->event_create(dev, &c->used[i]));
    }
    return ops->event_record(dev, c->computed, c->compute);
}

void mox_card_stop(mox_card *c)
{
    mox_dev *dev = c->dev;
    if (!dev) {
        return;
    }
    const mox_dev_ops *ops = dev->ops;
    mox_event **events[] = {&c->computed, &c->copied};
    mox_stream **streams[] = {&c->compute, &c->link};
    for (int i = 0; i < 2; i++) {
        if (*streams[i]) {
            ops->stream_destroy(dev, streams[i]);
        }
        if (*events[i]) {
            ops->event_destroy(dev, events[i]);
        }
    }
    for (int i = 0; i < MOX_STAGING_SLOTS; i++) {
        if (c->used[i]) {
            ops->event_destroy(dev, &c->used[i]);
        }
    }
    ops->mem_free(dev, &c->words_buf);
    ops->mem_free(dev, &c->memory);
    if (c->own_ops) {
        mox_ops_destroy(&c->ops);
    }
    mox_dev_destroy(&c->dev);
}

uint32_t mox_cards_of_weight(const mox_weight *w, const uint32_t *of_layer)
{
    uint32_t layer = mox_weight_layer(w);
    return layer == UINT32_MAX ? 0 : of_layer[layer];
}

/* A weight's bytes in the compute layout, wherever they are. */
static const void *bytes_of(const mox_weight *w)
{
    return w->as_f32 ? (const void *)w->f32 : w->parts ? w->part[0].data : w->mat.data;
}

mox_err mox_cards_move_dense(mox_cards *cs, mox_model *m, uint32_t first, uint32_t end)
{
    for (uint32_t i = first; i < end; i++) {
        mox_weight *w = &m->weights[i];
        mox_graph_keep_near(cs->graph[0], w);
        mox_card *c = &cs->card[mox_cards_of_weight(w, cs->of_layer)];
        const void *near = bytes_of(w);
        mox_model_take_weight(w, &c->dense);
        const uint8_t *far = bytes_of(w);
        size_t bytes = (size_t)(c->dense.base + c->dense.used - far);
        MOX_TRY(c->dev->ops->copy(c->dev, c->compute, (void *)(uintptr_t)far, near, bytes));
    }
    for (uint32_t i = 0; i < cs->n; i++) {
        MOX_TRY(cs->card[i].dev->ops->stream_wait(cs->card[i].dev, cs->card[i].compute));
    }
    return MOX_OK;
}

/* A short while by looking at the word, which is what it takes as a rule; then as the device waits best. */
static mox_err wait_word(mox_card *c, volatile uint32_t *word, uint32_t n, mox_stream *s)
{
    for (uint32_t i = 0; (int32_t)(c->dev->ops->flag_poll(c->dev, word) - n) < 0; i++) {
        if (i == POLLS) {
            return c->dev->ops->stream_wait(c->dev, s);
        }
        sched_yield();
    }
    return MOX_OK;
}

mox_err mox_card_wait_copies(mox_card *c, uint32_t n)
{
    return wait_word(c, &c->words->copied, n, c->link);
}

void mox_card_expect(mox_card *c)
{
    __atomic_store_n(&c->words->computed, 0, __ATOMIC_RELEASE);
}

mox_err mox_card_tell(mox_card *c)
{
    return c->dev->ops->flag_write(c->dev, c->compute, &c->words->computed, 1);
}

mox_err mox_card_wait_computed(mox_card *c)
{
    return wait_word(c, &c->words->computed, 1, c->compute);
}

void mox_cards_drain(mox_cards *cs)
{
    mox_err_info first = *mox_err_last();
    for (uint32_t i = 0; i < cs->n; i++) {
        mox_card *c = &cs->card[i];
        mox_stream *both[] = {c->link, c->compute};
        for (int s = 0; s < 2; s++) { /* what it still refuses is told by the first refusal */
            mox_err late = both[s] ? c->dev->ops->stream_wait(c->dev, both[s]) : MOX_OK;
            (void)late;
        }
    }
    mox_err same = mox_err_restore(&first);
    (void)same;
}

mox_err mox_cards_gather(mox_graph *g, const uint32_t *idx, uint32_t n)
{
    size_t d = g->m->h.d_model, row = d * sizeof *g->x;
    mox_graph *last = g->cards->graph[g->cards->of_layer[g->m->h.n_layers - 1]];
    mox_card_expect(mox_card_of(last));
    for (uint32_t i = 0; i < n; i++) {
        MOX_TRY(mox_graph_copy(last, last == g ? g->gather + i * d : g->near_x + i * d, last->x + idx[i] * d,
                               row));
    }
    if (last == g) {
        return MOX_OK;
    }
    MOX_TRY(mox_card_tell(mox_card_of(last)));
    MOX_TRY(mox_card_wait_computed(mox_card_of(last)));
    return mox_graph_copy(g, g->gather, g->near_x, n * row);
}

static mox_err cross(mox_card *c, void *to, const void *from, size_t bytes, uint64_t *ticket)
{
    const mox_dev_ops *ops = c->dev->ops;
    MOX_TRY(ops->stream_after(c->dev, c->link, c->computed));
    MOX_TRY(ops->copy(c->dev, c->link, to, from, bytes));
    MOX_TRY(ops->flag_write(c->dev, c->link, &c->words->copied, ++c->n_copies));
    *ticket = c->n_copies;
    return MOX_OK;
}

static mox_err link_up(void *ctx, uint32_t card, uint8_t *far, const uint8_t *near, size_t bytes,
                       uint64_t *ticket)
{
    return cross(&((mox_cards *)ctx)->card[card], far, near, bytes, ticket);
}

static mox_err link_down(void *ctx, uint32_t card, uint8_t *near, const uint8_t *far, size_t bytes,
                         uint64_t *ticket)
{
    return cross(&((mox_cards *)ctx)->card[card], near, far, bytes, ticket);
}

static bool link_landed(void *ctx, uint32_t card, uint64_t ticket)
{
    mox_card *c = &((mox_cards *)ctx)->card[card];
    return (int32_t)(c->dev->ops->flag_poll(c->dev, &c->words->copied) - (uint32_t)ticket) >= 0;
}

static mox_err link_wait(void *ctx, uint32_t card, uint64_t ticket)
{
    return mox_card_wait_copies(&((mox_cards *)ctx)->card[card], (uint32_t)ticket);
}

mox_link_ops mox_cards_link(mox_cards *cs)
{
    return (mox_link_ops){
        .ctx = cs, .up = link_up, .down = link_down, .landed = link_landed, .wait = link_wait};
}
