/* A layer's experts in a captured graph: which ones is said by the host after the graph has been launched, by words in
 * mapped memory, and every launch computes others. Bit-equal to the twin under every policy of the emulator's queues. */
#include "emu/emu.h"
#include "kernels/mat_fixture.h"
#include "kernels/mat_mul.h"
#include "runtime/dev/module.h"

#include <criterion/criterion.h>

enum { EXPERTS = 5, K = 3, D = 256, FF = 288, STEPS = 4, PATIENCE = 1000 };

/* What host and device tell each other; and what the device computed. */
typedef struct mailbox {
    uint32_t ready, go; /* inputs are there; experts are named */
    mox_expert_place places[K];
    float out[K * D];
} mailbox;

typedef struct world {
    mox_dev *dev;
    mox_ops *ops;
    mox_stream *s;
    mox_dev_graph *graph;
    mox_buf mail, slots, x, rows, e, scratch;
    mox_expert_layout l;
    uint8_t *slot[EXPERTS];
    mox_acts host_x, dev_x;
} world;

#define OK(call) cr_assert_eq((call), MOX_OK, "%s: %s", #call, mox_err_last()->msg)

static mox_buf take(world *w, size_t bytes, mox_mem_kind kind)
{
    mox_buf b;
    OK(w->dev->ops->mem_alloc(w->dev, bytes, kind, 0, &b));
    return b;
}

static void copy_in(world *w, void *to, const void *from, size_t bytes)
{
    OK(w->dev->ops->copy(w->dev, w->s, to, from, bytes));
    OK(w->dev->ops->stream_wait(w->dev, w->s));
}

static void open_world(world *w, emu_policy policy, uint64_t seed)
{
    static const mox_type types[MOX_SLABS] = {MOX_TYPE_Q8_0, MOX_TYPE_Q4_0, MOX_TYPE_Q8_0};
    static const uint32_t rows[K] = {0, 1, 2};
    emu_config c;
    uint64_t r = 7;
    emu_defaults(&c);
    c.policy = policy, c.seed = seed;
    emu_open(&c);
    OK(mox_dev_module_make()->open(0, &(mox_dev_open_cfg){0}, &w->dev, &w->ops));
    OK(w->dev->ops->stream_create(w->dev, &w->s));
    OK(mox_expert_layout_init(&w->l, types, D, FF));
    w->mail = take(w, sizeof(mailbox), MOX_MEM_MAPPED);
    w->slots = take(w, EXPERTS * w->l.slot_bytes, MOX_MEM_DEVICE);
    for (uint32_t e = 0; e < EXPERTS; e++) {
        w->slot[e] = aligned_alloc(64, w->l.slot_bytes);
        for (mox_slab slab = 0; slab < MOX_SLABS; slab++) {
            const uint32_t n = mox_expert_slab_rows(&w->l, slab);
            uint8_t *weights = fx_weights(mox_format_of(types[slab]), n, slab == MOX_SLAB_DOWN ? FF : D, &r);
            mox_expert_repack(&w->l, slab, 0, n, weights, w->slot[e]);
            free(weights);
        }
        copy_in(w, (uint8_t *)w->slots.ptr + e * w->l.slot_bytes, w->slot[e], w->l.slot_bytes);
    }
    w->host_x = fx_acts(MOX_ACT_B32, 1, D, &r);
    w->x = take(w, w->host_x.row_bytes, MOX_MEM_DEVICE);
    w->dev_x = w->host_x, w->dev_x.data = w->x.ptr;
    copy_in(w, w->x.ptr, w->host_x.data, w->host_x.row_bytes);
    w->rows = take(w, 2 * sizeof rows, MOX_MEM_DEVICE);
    copy_in(w, w->rows.ptr, (const uint32_t[2 * K]){0, 0, 0, 0, 1, 2}, 2 * sizeof rows); /* tok, out_row */
    w->e = take(w, sizeof(float) * K * D, MOX_MEM_DEVICE);
    w->scratch = take(w, mox_experts_device_lay_out(types[MOX_SLAB_DOWN], FF, K, K).bytes, MOX_MEM_DEVICE);
}

static void capture(world *w)
{
    const mox_dev_ops *d = w->dev->ops;
    mailbox *m = w->mail.ptr;
    mox_acts x[MOX_ACT_KINDS] = {0};
    x[MOX_ACT_B32] = w->dev_x;
    mox_expert_use shape = {0};
    mox_expert_views(&w->l, w->slots.ptr, shape.mats);
    const uint32_t *rows = w->rows.ptr;
    mox_experts_args a = {
        .use = &shape, .n_uses = K, .x = x, .tok = rows, .out_row = rows + K, .e = w->e.ptr};
    a.scratch = w->scratch.ptr, a.scratch_bytes = w->scratch.bytes;
    a.places = m->places, a.most_rows = 1, a.all_rows = K;
    OK(d->graph_begin(w->dev, w->s));
    OK(d->flag_write(w->dev, w->s, &m->go, 0)); /* that of the last launch */
    OK(d->flag_write(w->dev, w->s, &m->ready, 1));
    OK(d->flag_wait(w->dev, w->s, &m->go, 1));
    OK(w->ops->experts(w->ops, w->s, &a));
    OK(d->copy(w->dev, w->s, m->out, w->e.ptr, sizeof m->out));
    OK(d->graph_end(w->dev, w->s, &w->graph));
}

/* Experts of a step; the last place is empty in every second one. */
static uint32_t experts_of(uint32_t step, uint32_t ids[K])
{
    for (uint32_t i = 0; i < K; i++) {
        ids[i] = (step * 2 + i * 3) % EXPERTS;
    }
    return K - step % 2;
}

static void launch_step(world *w, uint32_t step)
{
    const mox_dev_ops *d = w->dev->ops;
    mailbox *m = w->mail.ptr;
    uint32_t ids[K], tries = 0;
    const uint32_t n = experts_of(step, ids);
    memset(m->places, 0xee, sizeof m->places);
    m->ready = 0;
    OK(d->graph_launch(w->dev, w->graph, w->s));
    while (d->flag_poll(w->dev, &m->ready) != 1) {
        cr_assert_lt(tries++, PATIENCE);
    }
    for (uint32_t i = 0; i < K; i++) {
        m->places[i].n = i < n;
        if (i < n) {
            m->places[i] = (mox_expert_place){.first = i, .n = 1};
            m->places[i].slot = (uint8_t *)w->slots.ptr + ids[i] * w->l.slot_bytes;
        }
    }
    __atomic_store_n(&m->go, 1, __ATOMIC_RELEASE);
    OK(d->stream_wait(w->dev, w->s));
}

static void twin(world *w, uint32_t step, float *want)
{
    static mox_pool *pool;
    static const uint32_t tok[K], out_row[K] = {0, 1, 2};
    pool = pool ? pool : fx_pool(1);
    uint32_t ids[K];
    mox_expert_use use[K];
    mox_acts x[MOX_ACT_KINDS] = {0};
    x[MOX_ACT_B32] = w->host_x;
    const uint32_t n = experts_of(step, ids);
    for (uint32_t i = 0; i < n; i++) {
        use[i] = (mox_expert_use){.first = i, .n = 1};
        mox_expert_views(&w->l, w->slot[ids[i]], use[i].mats);
    }
    const size_t bytes = mox_experts_scratch_bytes(&w->l, K, K, 1, false);
    mox_experts_args a = {.use = use, .n_uses = n, .x = x, .tok = tok, .out_row = out_row, .e = want};
    a.scratch = aligned_alloc(64, (bytes + 63) / 64 * 64), a.scratch_bytes = bytes;
    OK(mox_experts_cpu(pool, MOX_ISA_SCALAR, &a));
    free(a.scratch);
}

static void close_world(world *w)
{
    const mox_dev_ops *d = w->dev->ops;
    d->graph_destroy(w->dev, &w->graph);
    mox_buf *all[] = {&w->mail, &w->slots, &w->x, &w->rows, &w->e, &w->scratch};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        d->mem_free(w->dev, all[i]);
    }
    d->stream_destroy(w->dev, &w->s);
    w->ops->destroy(w->ops);
    d->destroy(w->dev);
    for (uint32_t e = 0; e < EXPERTS; e++) {
        free(w->slot[e]);
    }
    free(w->host_x.data);
    cr_assert_eq(emu_objects(), 0);
}

static void every_launch_computes_its_own(emu_policy policy, uint64_t seed)
{
    world w = {0};
    float want[K * D] = {0};
    open_world(&w, policy, seed);
    capture(&w);
    const uint64_t launches = emu_calls("launch");
    for (uint32_t step = 0; step < STEPS; step++) {
        uint32_t ids[K];
        launch_step(&w, step);
        twin(&w, step, want);
        const float *got = ((const mailbox *)w.mail.ptr)->out;
        cr_assert(fx_same(got, want, (size_t)experts_of(step, ids) * D), "policy %d, seed %d, step %u",
                  (int)policy, (int)seed, step);
    }
    cr_assert_eq(emu_calls("launch"), launches, "a kernel was launched beside the graph");
    close_world(&w);
}

Test(cuda_graph, every_launch_computes_the_experts_that_the_host_names)
{
    every_launch_computes_its_own(EMU_LAZY, 1);
    every_launch_computes_its_own(EMU_EAGER, 1);
    for (uint64_t seed = 1; seed <= 5; seed++) {
        every_launch_computes_its_own(EMU_RANDOM, seed);
    }
}

Test(cuda_graph, what_cannot_be_named_later_is_refused)
{
    world w = {0};
    open_world(&w, EMU_LAZY, 1);
    mox_acts x[MOX_ACT_KINDS] = {0};
    x[MOX_ACT_B32] = w.dev_x;
    mox_expert_use shape = {0};
    mox_expert_views(&w.l, w.slots.ptr, shape.mats);
    const mailbox *m = w.mail.ptr;
    mox_experts_args a = {.use = &shape, .n_uses = 257, .x = x, .tok = w.rows.ptr, .e = w.e.ptr};
    a.places = m->places, a.most_rows = a.all_rows = 1;
    a.scratch = w.scratch.ptr, a.scratch_bytes = SIZE_MAX;
    cr_assert_eq(w.ops->experts(w.ops, w.s, &a), MOX_E_ARG);
    a.n_uses = K, a.all_rows = 1000, a.scratch_bytes = w.scratch.bytes;
    cr_assert_eq(w.ops->experts(w.ops, w.s, &a), MOX_E_ARG);
    cr_assert_eq(mox_experts_cpu(NULL, MOX_ISA_SCALAR, &a), MOX_E_ARG);
    close_world(&w);
}
