/* Predictions: joined and never read twice, behind every demand, taken back when refuted, and switched off
 * when they do not pay. The order of reads is seen through a backend that records what is submitted and lets
 * completions through one at a time. */
#include "offload/fixture.h"
#include "offload/policy/replay.h"
#include "offload/store_internal.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { MAX_SUBMITS = 4096, STATE = 1 << 16 };

/* Records submits; while `held` is set no completion comes through. */
typedef struct gate {
    atomic_bool held;
    atomic_uint n;
    unsigned n_flying, most_flying; /* I/O thread */
    uint64_t off[MAX_SUBMITS];
    mox_io *io;
    _Alignas(64) unsigned char state[STATE];
} gate;

static gate the_gate;

static mox_err gate_open(void *ctx, const mox_io_cfg *cfg, mox_io **out)
{
    gate *g = ctx;
    mox_io_cfg inner = *cfg;
    cr_assert_leq(mox_io_preads.state_bytes, sizeof g->state);
    inner.state = g->state;
    mox_err err = mox_io_preads.open(NULL, &inner, &g->io);
    *out = (mox_io *)(void *)g;
    return err;
}

static gate *of(mox_io *io)
{
    return (gate *)(void *)io;
}

static void gate_submit(mox_io *io, const mox_io_req *req)
{
    gate *g = of(io);
    unsigned at = atomic_load(&g->n);
    cr_assert_lt(at, MAX_SUBMITS);
    g->off[at] = req->off;
    atomic_store(&g->n, at + 1);
    g->n_flying++;
    g->most_flying = g->n_flying > g->most_flying ? g->n_flying : g->most_flying;
    mox_io_preads.submit(g->io, req);
}

static uint32_t gate_reap(mox_io *io, mox_io_done *done, uint32_t max, uint64_t timeout_ns)
{
    gate *g = of(io);
    if (atomic_load(&g->held)) {
        usleep(100);
        return 0;
    }
    (void)max;
    uint32_t n = mox_io_preads.reap(g->io, done, 1, timeout_ns < 1000000 ? timeout_ns : 1000000);
    g->n_flying -= n;
    return n;
}

static void gate_cancel(mox_io *io, uint64_t id)
{
    mox_io_preads.cancel(of(io)->io, id);
}

static void gate_wake(mox_io *io)
{
    mox_io_preads.wake(of(io)->io);
}

static void gate_close(mox_io **io)
{
    mox_io_preads.close(&of(*io)->io);
    *io = NULL;
}

static const mox_io_ops gate_ops = {.name = "gate",
                                    .state_bytes = 64,
                                    .open = gate_open,
                                    .submit = gate_submit,
                                    .reap = gate_reap,
                                    .cancel = gate_cancel,
                                    .wake = gate_wake,
                                    .close = gate_close};

static mox_store_cfg gated(fixture *fx, uint32_t quota)
{
    fx_write(fx, 4);
    memset(&the_gate, 0, sizeof the_gate);
    mox_store_cfg cfg = fx_cfg(fx);
    cfg.io_override = &gate_ops;
    cfg.io_override_ctx = &the_gate;
    for (int i = 0; i < FX_LAYERS; i++) {
        fx->layers[i].quota = quota;
    }
    return cfg;
}

static void finish(fixture *fx)
{
    fx_assert_at_rest(fx);
    fx_close(fx);
    fx_remove(fx);
}

static void predict(fixture *fx, uint32_t layer, uint32_t expert)
{
    float score = 0.9f;
    mox_store_predict(fx->store, layer, &expert, &score, 1);
}

static void step_ok(fixture *fx, uint32_t layer, uint32_t expert)
{
    size_t wrong = 0;
    cr_assert_eq(fx_step(fx, layer, &expert, 1, &wrong), MOX_OK, "%s", mox_err_last()->msg);
    cr_assert_eq(wrong, 0);
}

static void wait_submits(unsigned n)
{
    for (int i = 0; i < 50000 && atomic_load(&the_gate.n) < n; i++) {
        usleep(100);
    }
    cr_assert_geq(atomic_load(&the_gate.n), n);
}

/* Whether a read that starts at `off` (widened downwards by less than 4096) belongs to the expert. */
static bool belongs(const fixture *fx, uint64_t off, uint32_t layer, uint32_t expert)
{
    for (uint32_t slab = 0; slab < FX_SLABS; slab++) {
        mox_slab_src src;
        fx_source((void *)fx, layer, expert, slab, &src);
        if (off + 4096 > src.off && off < src.off + src.row_bytes * src.n_rows) {
            return true;
        }
    }
    return false;
}

static uint32_t parts_of(fixture *fx, uint32_t layer)
{
    return mox_files_parts(fx->store, layer, 0);
}

Test(lookahead, a_demand_joins_the_read_that_is_under_way)
{
    fixture fx;
    mox_store_cfg cfg = gated(&fx, 0);
    cr_assert_eq(fx_open(&fx, &cfg), MOX_OK);
    the_gate.held = true;
    predict(&fx, 0, 3);
    wait_submits(1);
    mox_need need = {.expert = 3, .n_uses = 1};
    mox_store_begin(fx.store, 0, MOX_PHASE_DECODE, &need, 1);
    cr_assert_eq(mox_store_served(fx.store, 3), MOX_SERVED_LATE);
    the_gate.held = false;
    mox_lease lease;
    uint32_t n;
    cr_assert_eq(mox_store_next(fx.store, &lease, 1, &n), MOX_OK);
    cr_assert_eq(n, 1);
    cr_assert_eq(fx_wrong_words(0, 3, &fx, lease.slot), 0);
    mox_store_release(fx.store, &lease);
    cr_assert_eq(mox_store_next(fx.store, &lease, 1, &n), MOX_OK);
    cr_assert_eq(n, 0);
    mox_store_end(fx.store);
    cr_assert_eq(atomic_load(&the_gate.n), parts_of(&fx, 0), "the expert was read more than once");
    mox_counters c = fx_counters(&fx);
    cr_assert_eq(c.prefetch.late, 1);
    cr_assert_eq(c.prefetch.issued, 1);
    cr_assert_eq(c.use[MOX_PHASE_DECODE].late, 1);
    finish(&fx);
}

Test(lookahead, an_arrived_prediction_is_a_hit)
{
    fixture fx;
    mox_store_cfg cfg = gated(&fx, 0);
    cr_assert_eq(fx_open(&fx, &cfg), MOX_OK);
    predict(&fx, 1, 2);
    fx_assert_at_rest(&fx); /* has arrived */
    step_ok(&fx, 1, 2);
    mox_counters c = fx_counters(&fx);
    cr_assert_eq(c.prefetch.used, 1);
    cr_assert_eq(c.use[MOX_PHASE_DECODE].hits, 1);
    cr_assert_eq(c.io.demand_bytes, 0);
    finish(&fx);
}

Test(lookahead, demand_goes_before_prefetch)
{
    fixture fx;
    mox_store_cfg cfg = gated(&fx, 0);
    cr_assert_eq(fx_open(&fx, &cfg), MOX_OK);
    the_gate.held = true;
    predict(&fx, 1, 0);
    predict(&fx, 1, 1);
    wait_submits(2);
    usleep(20000); /* whatever is allowed to go out has gone */
    unsigned ahead = atomic_load(&the_gate.n);
    cr_assert_eq(ahead, 2, "%u of 8 reads went to predictions; a quarter is the most", ahead);
    mox_need need = {.expert = 4, .n_uses = 1};
    mox_store_begin(fx.store, 0, MOX_PHASE_DECODE, &need, 1);
    the_gate.held = false;
    mox_lease lease;
    uint32_t n;
    cr_assert_eq(mox_store_next(fx.store, &lease, 1, &n), MOX_OK);
    uint32_t parts = parts_of(&fx, 0);
    for (unsigned i = ahead; i < ahead + parts; i++) {
        cr_assert(belongs(&fx, the_gate.off[i], 0, 4), "read %u is not the demanded expert's", i);
    }
    mox_store_release(fx.store, &lease);
    cr_assert_eq(mox_store_next(fx.store, &lease, 1, &n), MOX_OK);
    mox_store_end(fx.store);
    finish(&fx);
}

/* Counts the reads that the drive had been given when the first part went to its slot. */
static unsigned given_at_first_place;

static void place_and_look(void *ctx, uint32_t layer, uint32_t slab, uint32_t row0, uint32_t n_rows,
                           const uint8_t *rows, uint8_t *slot)
{
    if (given_at_first_place == 0) {
        usleep(20000); /* what is allowed to be done before has been done */
        given_at_first_place = atomic_load(&the_gate.n);
    }
    fx_repack(ctx, layer, slab, row0, n_rows, rows, slot);
}

/* A drive that waits while the host repacks is a drive that is idle. */
Test(lookahead, the_drive_is_given_more_before_what_came_is_placed)
{
    fixture fx;
    mox_store_cfg cfg = gated(&fx, 0);
    cfg.io_depth = 2;
    cfg.layout.repack = place_and_look;
    cr_assert_eq(fx_open(&fx, &cfg), MOX_OK);
    cr_assert_gt(parts_of(&fx, 1), 4);
    step_ok(&fx, 1, 3);
    cr_assert_geq(given_at_first_place, 3, "two are in flight at once, and %u were asked for",
                  given_at_first_place);
    cr_assert_eq(the_gate.most_flying, 2);
    finish(&fx);
}

/* Two slots. What the step holds in its own is the next to go, since its layer has just had its turn: a prediction
 * waits for it and leaves the other alone, which the coming layer may ask for. */
Test(lookahead, a_prediction_waits_for_the_slot_of_the_step)
{
    fixture fx;
    mox_store_cfg cfg = gated(&fx, 0);
    cfg.transit_slots = FX_TOP_K;
    cr_assert_eq(fx_open(&fx, &cfg), MOX_OK);
    step_ok(&fx, 1, 3);
    mox_need need = {.expert = 2, .n_uses = 1};
    mox_store_begin(fx.store, 0, MOX_PHASE_DECODE, &need, 1);
    predict(&fx, 1, 4);
    mox_lease lease;
    uint32_t n;
    cr_assert_eq(mox_store_next(fx.store, &lease, 1, &n), MOX_OK);
    uint64_t bitmap;
    cr_assert_eq(mox_store_resident(fx.store, 1, &bitmap), 1);
    cr_assert_eq(bitmap, UINT64_C(1) << 3, "what layer 1 may use next was given away");
    mox_store_release(fx.store, &lease);
    mox_store_end(fx.store);
    fx_assert_at_rest(&fx);
    cr_assert_eq(mox_store_resident(fx.store, 1, &bitmap), 2);
    cr_assert_eq(bitmap, UINT64_C(1) << 3 | UINT64_C(1) << 4);
    cr_assert_eq(fx_counters(&fx).prefetch.issued, 1);
    finish(&fx);
}

Test(lookahead, a_refuted_prediction_is_read_no_further)
{
    fixture fx;
    mox_store_cfg cfg = gated(&fx, 0);
    cr_assert_eq(fx_open(&fx, &cfg), MOX_OK);
    the_gate.held = true;
    predict(&fx, 0, 1);
    wait_submits(2);
    mox_need need = {.expert = 5, .n_uses = 1};
    mox_store_begin(fx.store, 0, MOX_PHASE_DECODE, &need, 1);
    the_gate.held = false;
    mox_lease lease;
    uint32_t n;
    cr_assert_eq(mox_store_next(fx.store, &lease, 1, &n), MOX_OK);
    cr_assert_eq(lease.expert, 5);
    mox_store_release(fx.store, &lease);
    cr_assert_eq(mox_store_next(fx.store, &lease, 1, &n), MOX_OK);
    mox_store_end(fx.store);
    fx_assert_at_rest(&fx);
    cr_assert_eq(atomic_load(&the_gate.n), 2 + parts_of(&fx, 0));
    mox_counters c = fx_counters(&fx);
    cr_assert_eq(c.prefetch.cancelled, 1);
    uint64_t bitmap;
    cr_assert_eq(mox_store_resident(fx.store, 0, &bitmap), 1);
    cr_assert_eq(bitmap, UINT64_C(1) << 5);
    finish(&fx);
}

Test(lookahead, predictions_that_do_not_pay_are_stopped_and_tried_again)
{
    fixture fx;
    mox_store_cfg cfg = gated(&fx, 0);
    cfg.io_override = NULL;
    cr_assert_eq(fx_open(&fx, &cfg), MOX_OK);
    for (uint32_t i = 0; i < 1500; i++) { /* always wrong */
        predict(&fx, 0, i % 3);
        step_ok(&fx, 0, 3 + i % 3);
    }
    mox_counters c = fx_counters(&fx);
    cr_assert_geq(c.prefetch.switched_off, 1);
    cr_assert_leq(c.prefetch.issued, 64, "%llu useless reads in 1500 steps",
                  (unsigned long long)c.prefetch.issued);
    uint64_t before = c.prefetch.issued;
    for (uint32_t i = 0; i < 3000; i++) { /* always right */
        predict(&fx, 2, i % FX_EXPERTS);
        step_ok(&fx, 2, i % FX_EXPERTS);
    }
    c = fx_counters(&fx);
    cr_assert_gt(c.prefetch.used + c.prefetch.late, 100, "look-ahead did not come back");
    cr_assert_gt(c.prefetch.issued, before + 100);
    finish(&fx);
}

/* A router seen through: whatever is asked of it, experts 5 and 4 lead its weights, though the layer always chooses 2
 * and 3. */
static void guess(fixture *fx, uint32_t layer)
{
    const uint32_t ids[FX_EXPERTS] = {5, 4, 3, 2, 1, 0};
    const float weights[FX_EXPERTS] = {0.4f, 0.3f, 0.1f, 0.1f, 0.06f, 0.04f};
    cr_assert_eq(mox_store_guess_ranks(FX_TOP_K, FX_EXPERTS), FX_EXPERTS);
    mox_store_guess(fx->store, MOX_GUESS_NEXT, layer, ids, weights, 1);
}

static uint64_t issued(fixture *fx)
{
    return fx_counters(fx).prefetch.issued;
}

Test(lookahead, guesses_learn_what_a_layer_chooses)
{
    fixture fx;
    mox_store_cfg cfg = gated(&fx, 0);
    cfg.io_override = NULL;
    cr_assert_eq(fx_open(&fx, &cfg), MOX_OK);
    const uint32_t chosen[] = {2, 3}, others[] = {0, 1, 2, 3};
    size_t wrong = 0;
    step_ok(&fx, 0, 0);
    guess(&fx, 1);
    cr_assert_eq(issued(&fx), 2, "the router was not believed at first");
    uint64_t bitmap;
    for (uint32_t i = 0; i < 400; i++) {
        cr_assert_eq(fx_step(&fx, 1, chosen, 2, &wrong), MOX_OK, "%s", mox_err_last()->msg);
        guess(&fx, 1);
    }
    uint64_t before = issued(&fx);
    cr_assert_leq(before, 64, "%llu useless reads", (unsigned long long)before);
    /* of the same size: they take all transit slots */
    cr_assert_eq(fx_step(&fx, 0, others, 4, &wrong), MOX_OK, "%s", mox_err_last()->msg);
    mox_store_resident(fx.store, 1, &bitmap);
    cr_assert_eq(bitmap, 0);
    mox_counters then = fx_counters(&fx);
    guess(&fx, 1);
    cr_assert_eq(fx_step(&fx, 1, chosen, 2, &wrong), MOX_OK, "%s", mox_err_last()->msg);
    mox_counters now = fx_counters(&fx);
    cr_assert_eq(now.prefetch.used + now.prefetch.late - then.prefetch.used - then.prefetch.late, 2,
                 "what is always chosen was not read");
    cr_assert_eq(wrong, 0);
    finish(&fx);
}

/* Of several rows any may choose an expert: what one alone would hardly do becomes likely. */
Test(lookahead, guesses_of_several_rows_add_up)
{
    fixture fx;
    mox_store_cfg cfg = gated(&fx, 0);
    cr_assert_eq(fx_open(&fx, &cfg), MOX_OK);
    uint32_t ids[4 * FX_EXPERTS];
    float weights[4 * FX_EXPERTS];
    for (uint32_t i = 0; i < 4 * FX_EXPERTS;
         i++) { /* 0 is always the first that is left out, near the edge */
        const uint32_t row[FX_EXPERTS] = {
            1 + i / FX_EXPERTS,          5, 0, 1 + (i / FX_EXPERTS + 1) % 4, 1 + (i / FX_EXPERTS + 2) % 4,
            1 + (i / FX_EXPERTS + 3) % 4};
        const float w[FX_EXPERTS] = {0.4f, 0.3f, 0.25f, 0.02f, 0.02f, 0.01f};
        ids[i] = row[i % FX_EXPERTS];
        weights[i] = w[i % FX_EXPERTS];
    }
    mox_store_guess(fx.store, MOX_GUESS_NEXT, 2, ids, weights, 1);
    mox_slots *s = &fx.store->slots;
    cr_assert_eq(s->map[mox_store_key(fx.store, 2, 0)], MOX_SLOT_NONE, "read for one row");
    mox_store_guess(fx.store, MOX_GUESS_NEXT, 3, ids, weights, 4);
    cr_assert_neq(s->map[mox_store_key(fx.store, 3, 0)], MOX_SLOT_NONE, "not read for four");
    finish(&fx);
}

Test(lookahead, off_reads_nothing_ahead)
{
    fixture fx;
    mox_store_cfg cfg = gated(&fx, 0);
    cfg.look_ahead = false;
    cr_assert_eq(fx_open(&fx, &cfg), MOX_OK);
    predict(&fx, 0, 1);
    step_ok(&fx, 0, 1);
    mox_counters c = fx_counters(&fx);
    cr_assert_eq(c.prefetch.issued, 0);
    cr_assert_eq(c.io.prefetch_bytes, 0);
    finish(&fx);
}

/* All experts of the next layer: those that are not here are read, each once, as far as there is room; those that are
 * kept are not. */
Test(lookahead, a_whole_layer_is_read_ahead_as_far_as_there_is_room)
{
    fixture fx;
    mox_store_cfg cfg = gated(&fx, 3);
    cr_assert_eq(fx_open(&fx, &cfg), MOX_OK);
    cr_assert_eq(mox_store_fill(fx.store, NULL, NULL, NULL), MOX_OK);
    unsigned filled = atomic_load(&the_gate.n);
    const mox_layer_state *layer = &fx.store->layer[1];
    uint32_t slot[3], generation[3];
    cr_assert_eq(layer->n_kept, 3);
    for (uint32_t i = 0; i < 3; i++) {
        slot[i] = fx.store->slots.map[mox_store_key(fx.store, 1, layer->kept[i])];
        generation[i] = fx.store->slots.slot[slot[i]].generation;
    }
    mox_store_predict_all(fx.store, 1);
    mox_store_predict_all(fx.store, 1);
    wait_submits(filled + 3 * parts_of(&fx, 1));
    usleep(20000);
    cr_assert_eq(atomic_load(&the_gate.n), filled + 3 * parts_of(&fx, 1), "three experts were not kept");
    for (uint32_t i = 0; i < 3; i++) { /* where reads begin does not tell: neighbours share a page */
        cr_assert_eq(fx.store->slots.slot[slot[i]].generation, generation[i],
                     "an expert that is here was read");
        cr_assert_eq(fx.store->slots.slot[slot[i]].state, MOX_SLOT_READY);
    }
    uint32_t all[FX_EXPERTS] = {0, 1, 2, 3, 4, 5};
    size_t wrong = 0;
    cr_assert_eq(fx_step(&fx, 1, all, FX_EXPERTS, &wrong), MOX_OK, "%s", mox_err_last()->msg);
    cr_assert_eq(wrong, 0);
    mox_counters c = fx_counters(&fx);
    cr_assert_eq(c.prefetch.issued, 3);
    cr_assert_eq(c.prefetch.used + c.prefetch.late, 3);
    cr_assert_eq(c.prefetch.wasted, 0);
    cr_assert_eq(c.use[MOX_PHASE_PREFILL].misses + c.use[MOX_PHASE_DECODE].misses, 0,
                 "nothing was left to read");
    finish(&fx);
}
