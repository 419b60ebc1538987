/* The store over a real file: right bytes whatever the order, counters that add up, memory as planned. */
#include "offload/fixture.h"

#include "offload/slot.h"
#include "offload/store_internal.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

static void random_steps(fixture *fx, uint64_t seed, int n, bool predict)
{
    for (int i = 0; i < n; i++) {
        uint32_t layer = (uint32_t)i % FX_LAYERS;
        uint32_t set[FX_EXPERTS];
        uint32_t want = fx_random_set(&seed, 1 + fx_random(&seed, i % 7 == 0 ? FX_EXPERTS : FX_TOP_K), set);
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
    mox_counters c = fx_counters(&fx);
    cr_assert_gt(c.io.read_bytes, 0);
    if (quota > 0) {
        cr_assert_gt(c.use[MOX_PHASE_DECODE].hits, 0);
        cr_assert_gt(c.io.fill_bytes, 0);
    }
    fx_assert_at_rest(&fx);
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
    mox_counters c = fx_counters(&fx);
    cr_assert_eq(c.io.demand_bytes + c.io.prefetch_bytes, 0);
    cr_assert_eq(c.use[MOX_PHASE_DECODE].hits, c.use[MOX_PHASE_DECODE].uses);
    fx_close(&fx);
    fx_remove(&fx);
}
