/* The store over a real file: right bytes whatever the order, counters that add up, memory as planned. */
#include "offload/fixture.h"

#include "offload/slot.h"
#include "offload/store_internal.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

/* At rest no slot is loading, pinned, failed or a zombie, and nothing is needed or in flight. */
static void assert_at_rest(fixture *fx)
{
    mox_store *st = fx->store;
    for (int tries = 0; tries < 2000; tries++) { /* prefetches and cancelled reads are still landing */
        bool busy = false;
        pthread_mutex_lock(&st->lock);
        for (uint32_t i = 0; i < st->slots.n; i++) {
            mox_slot_state s = st->slots.slot[i].state;
            busy = busy || (s != MOX_SLOT_FREE && s != MOX_SLOT_READY);
        }
        pthread_mutex_unlock(&st->lock);
        if (!busy) {
            break;
        }
        usleep(1000);
    }
    pthread_mutex_lock(&st->lock);
    const char *broken = mox_slots_check(&st->slots);
    cr_assert_null(broken, "%s", broken);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < st->slots.n; i++) {
        const mox_slot *s = &st->slots.slot[i];
        cr_assert(s->state == MOX_SLOT_FREE || s->state == MOX_SLOT_READY, "slot %u is %s", i,
                  mox_slot_state_name(s->state));
        cr_assert_eq(s->needed, 0);
        cr_assert_eq(s->flying, 0);
        kept += s->state == MOX_SLOT_READY && st->info[i].kept;
    }
    uint32_t listed = 0;
    for (uint32_t l = 0; l < FX_LAYERS; l++) {
        listed += st->layer[l].n_kept;
    }
    cr_assert_eq(kept, listed, "%u slots say kept, the layers list %u", kept, listed);
    pthread_mutex_unlock(&st->lock);
}

static mox_counters counters_of(fixture *fx)
{
    mox_counters c = {0};
    mox_use_counters per_layer[FX_LAYERS] = {{0}};
    mox_store_counters(fx->store, &c, per_layer);
    const mox_use_counters *u = &c.use[MOX_PHASE_DECODE];
    cr_assert_eq(u->hits + u->late + u->misses, u->uses);
    cr_assert_eq(c.io.fill_bytes + c.io.demand_bytes + c.io.prefetch_bytes, c.io.read_bytes);
    const mox_prefetch_counters *p = &c.prefetch;
    cr_assert_leq(p->used + p->late + p->wasted + p->cancelled, p->issued);
    uint64_t uses = 0, hits = 0, bytes = 0;
    for (uint32_t l = 0; l < FX_LAYERS; l++) {
        uses += per_layer[l].uses;
        hits += per_layer[l].hits;
        bytes += per_layer[l].hit_bytes + per_layer[l].late_bytes + per_layer[l].miss_bytes;
        cr_assert_eq(per_layer[l].hit_bytes, per_layer[l].hits * fx_expert_bytes(fx, l));
    }
    cr_assert_eq(uses, u->uses + c.use[MOX_PHASE_PREFILL].uses);
    cr_assert_eq(hits, u->hits + c.use[MOX_PHASE_PREFILL].hits);
    cr_assert_gt(bytes, 0);
    return c;
}

static void random_steps(fixture *fx, uint64_t seed, int n, bool predict)
{
    for (int i = 0; i < n; i++) {
        uint32_t layer = (uint32_t)i % FX_LAYERS;
        uint32_t set[FX_EXPERTS];
        uint32_t want = 1 + fx_random(&seed, i % 7 == 0 ? FX_EXPERTS : FX_TOP_K);
        uint32_t used = 0, k = 0;
        while (k < want) {
            uint32_t e = fx_random(&seed, FX_EXPERTS);
            if (!(used >> e & 1)) {
                used |= 1u << e;
                set[k++] = e;
            }
        }
        if (predict) {
            uint32_t guess[2] = {fx_random(&seed, FX_EXPERTS), fx_random(&seed, FX_EXPERTS)};
            float score[2] = {0.7f, 0.3f};
            mox_store_predict(fx->store, (layer + 1) % FX_LAYERS, guess, score, 2);
        }
        size_t wrong = 0;
        mox_err err = fx_step(fx, layer, set, want, &wrong);
        cr_assert_eq(err, MOX_OK, "step %d: %s", i, mox_err_last()->msg);
        cr_assert_eq(wrong, 0, "step %d: %zu wrong words", i, wrong);
    }
}

static void run_mode(mox_io_mode mode, uint32_t quota, uint32_t transit, bool predict)
{
    fixture fx;
    fx_write(&fx, 8);
    mox_store_cfg cfg = fx_cfg(&fx);
    cfg.io = mode;
    cfg.transit_slots = transit;
    for (uint32_t i = 0; i < FX_LAYERS; i++) {
        fx.layers[i].quota = quota;
    }
    cr_assert_eq(fx_open(&fx, &cfg), MOX_OK, "%s", mox_err_last()->msg);
    cr_assert_eq(mox_store_fill(fx.store, NULL, NULL, NULL), MOX_OK);
    random_steps(&fx, 42 + quota, 300, predict);
    mox_counters c = counters_of(&fx);
    cr_assert_gt(c.io.read_bytes, 0);
    if (quota > 0) {
        cr_assert_gt(c.use[MOX_PHASE_DECODE].hits, 0);
        cr_assert_gt(c.io.fill_bytes, 0);
    }
    assert_at_rest(&fx);
    fx_close(&fx);
    fx_remove(&fx);
}

Test(store, serves_right_bytes_with_io_uring)
{
    mox_io_mode modes[] = {MOX_IO_AUTO, MOX_IO_PREAD};
    run_mode(modes[0], 3, 4, false);
    run_mode(modes[0], 0, 2, false);
}

Test(store, serves_right_bytes_with_pread)
{
    run_mode(MOX_IO_PREAD, 3, 4, false);
    run_mode(MOX_IO_PREAD, 0, 2, false);
}

Test(store, serves_right_bytes_with_predictions)
{
    run_mode(MOX_IO_AUTO, 2, 4, true);
    run_mode(MOX_IO_PREAD, 2, 4, true);
    run_mode(MOX_IO_PREAD, 0, 2, true);
}

Test(store, everything_kept_reads_nothing_after_the_fill)
{
    run_mode(MOX_IO_AUTO, FX_EXPERTS, 2, false);
    fixture fx;
    fx_write(&fx, 2);
    mox_store_cfg cfg = fx_cfg(&fx);
    for (uint32_t i = 0; i < FX_LAYERS; i++) {
        fx.layers[i].quota = FX_EXPERTS;
    }
    cr_assert_eq(fx_open(&fx, &cfg), MOX_OK);
    cr_assert_eq(mox_store_fill(fx.store, NULL, NULL, NULL), MOX_OK);
    random_steps(&fx, 7, 50, true);
    mox_counters c = counters_of(&fx);
    cr_assert_eq(c.io.demand_bytes + c.io.prefetch_bytes, 0);
    cr_assert_eq(c.use[MOX_PHASE_DECODE].hits, c.use[MOX_PHASE_DECODE].uses);
    fx_close(&fx);
    fx_remove(&fx);
}
