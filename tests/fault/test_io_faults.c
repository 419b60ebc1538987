/* One broken completion, everywhere: the n-th (n = 1..64 and the last) of a run of demand, prefetch, eviction
 * and re-reading, for each kind of fault, over io_uring and pread. The run must give right bytes or a named
 * error, never wrong bytes; it must end; no slot may be lost, and the counters must add up.
 */
#include "fault/seam.h"
#include "offload/fixture.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

enum { STEPS = 40, LAST = 0, DEADLINE_S = 300 };

typedef struct run {
    seam_fault fault;
    uint32_t nth; /* LAST: of a run without look-ahead, whose completions are always as many */
    bool for_ever, predict;
} run;

typedef struct outcome {
    uint32_t errors, completions, fired;
    mox_err err; /* the last */
} outcome;

static seam the_seam; /* 100 KiB, and not on the stack of a test */

static void check_error(const fixture *fx, mox_err err, const run *r)
{
    const mox_err_info *e = mox_err_last();
    cr_assert(err == MOX_E_IO || err == MOX_E_CHANGED || err == MOX_E_CORRUPT, "%s n=%u: %s",
              seam_fault_name(r->fault), r->nth, e->msg);
    cr_assert_eq(e->code, err);
    cr_assert_not_null(strstr(e->msg, fx->path), "no file in: %s", e->msg);
    cr_assert_not_null(strstr(e->msg, "layer "), "no layer in: %s", e->msg);
    cr_assert_not_null(strstr(e->msg, "expert "), "no expert in: %s", e->msg);
    cr_assert_not_null(strstr(e->msg, "offset "), "no offset in: %s", e->msg);
}

/* The same faults over both kinds of files. */
static void write_kind(fixture *fx, bool packed)
{
    if (packed) {
        fx_write_packed(fx, 1);
    } else {
        fx_write(fx, 1);
    }
}

static outcome play(fixture *fx, const mox_io_ops *inner, const run *r)
{
    memset(&the_seam, 0, sizeof the_seam);
    the_seam.inner = inner;
    the_seam.fault = r->fault;
    the_seam.nth = r->nth;
    the_seam.for_ever = r->for_ever;
    the_seam.first_too = fx->packed;
    mox_store_cfg cfg = fx_cfg(fx);
    cfg.io_override = &seam_ops;
    cfg.io_override_ctx = &the_seam;
    cfg.look_ahead = r->predict;
    for (int i = 0; i < FX_LAYERS; i++) {
        fx->layers[i].quota = 1;
    }
    cr_assert_eq(fx_open(fx, &cfg), MOX_OK, "%s", mox_err_last()->msg);
    outcome o = {0};
    uint64_t seed = 11;
    for (uint32_t i = 0; i < STEPS; i++) {
        uint32_t layer = i % 2 ? 0 : i / 2 % FX_LAYERS;
        uint32_t set[FX_EXPERTS], guess[2];
        float score[2] = {0.6f, 0.4f};
        fx_random_set(&seed, 2, guess);
        mox_store_predict(fx->store, (i + 1) % 2 ? 0 : (i + 1) / 2 % FX_LAYERS, guess, score, 2);
        uint32_t n = fx_random_set(&seed, 1 + fx_random(&seed, 3), set);
        size_t wrong = 0;
        mox_err err = fx_step(fx, layer, set, n, &wrong);
        cr_assert_eq(wrong, 0, "%s n=%u: wrong bytes were handed out", seam_fault_name(r->fault), r->nth);
        if (err != MOX_OK) {
            check_error(fx, err, r);
            o.errors++;
            o.err = err;
        }
    }
    fx_assert_at_rest(fx);
    mox_counters c = fx_counters(fx);
    cr_assert_gt(c.io.verified, 0);
    fx_close(fx);
    o.completions = the_seam.completions;
    o.fired = the_seam.fired;
    return o;
}

/* Everything but "the file ended early" is survived when it happens once. */
static void once(const mox_io_ops *inner, bool packed, seam_fault first, seam_fault end)
{
    alarm(DEADLINE_S);
    fixture fx;
    write_kind(&fx, packed);
    run clean = {.fault = SEAM_NONE};
    uint32_t all = play(&fx, inner, &clean).completions;
    cr_assert_gt(all, 64);
    for (seam_fault f = first; f < end; f++) {
        uint32_t fired = 0;
        for (uint32_t n = 1; n <= 65; n++) {
            bool last = n == 65;
            /* A prefetch that is cancelled half-way has been read, but not whole: what it left has no hash to
             * be compared with. So what is corrupted "on a re-read" is counted without look-ahead. */
            bool predict = !last && f != SEAM_CORRUPT;
            run r = {.fault = f, .nth = last && f != SEAM_CORRUPT ? all : n, .predict = predict};
            outcome o = play(&fx, inner, &r);
            cr_assert(!last || f == SEAM_CORRUPT || o.fired >= 1, "%s at the last of %u did not happen",
                      seam_fault_name(f), all);
            fired += o.fired;
            if (f != SEAM_ZERO) {
                cr_assert_eq(o.errors, 0, "%s n=%u: %s", seam_fault_name(f), n, mox_err_name(o.err));
            } else {
                cr_assert(o.errors == 0 || o.err == MOX_E_CHANGED);
                cr_assert(!last || o.errors == 1, "the file ended early and nobody was told");
            }
        }
        cr_assert_geq(fired, 64, "%s happened %u times in 65 runs", seam_fault_name(f), fired);
    }
    fx_remove(&fx);
}

/* A place that never reads well again is an error of the right kind, each time it is needed. */
static void for_ever(const mox_io_ops *inner, bool packed)
{
    static const mox_err expect[SEAM_FAULTS] = {
        [SEAM_ZERO] = MOX_E_CHANGED, [SEAM_EAGAIN] = MOX_E_IO,    [SEAM_EINTR] = MOX_E_IO,
        [SEAM_EIO] = MOX_E_IO,       [SEAM_ECANCELED] = MOX_E_IO, [SEAM_CORRUPT] = MOX_E_CORRUPT};
    alarm(DEADLINE_S);
    fixture fx;
    write_kind(&fx, packed);
    for (seam_fault f = SEAM_SHORT; f < SEAM_FAULTS; f++) {
        for (uint32_t n = 1; n <= 64; n = n < 4 ? n + 1 : n * 2) {
            run r = {.fault = f, .nth = n, .for_ever = true, .predict = n % 2 && f != SEAM_CORRUPT};
            outcome o = play(&fx, inner, &r);
            cr_assert_gt(o.fired, 0);
            if (expect[f] == MOX_OK) {
                cr_assert_eq(o.errors, 0, "%s for ever, n=%u", seam_fault_name(f), n);
            } else {
                cr_assert(o.errors == 0 || o.err == expect[f]);
                cr_assert(r.predict || o.errors > 0, "%s for ever, n=%u: nobody was told", seam_fault_name(f),
                          n);
            }
        }
    }
    fx_remove(&fx);
}

/* The n-th read of an expert breaks for good while the step computes with what has arrived: the error is the one that it
 * gets without that, and nothing of the expert is handed out as whole. One that comes back long after those behind it is
 * waited for. Wrong bytes in the first read of a plain file cannot be seen. */
static void fails_while_it_is_used(bool packed)
{
    static const mox_err expect[] = {[SEAM_ZERO] = MOX_E_CHANGED,
                                     [SEAM_EIO] = MOX_E_IO,
                                     [SEAM_LATE] = MOX_OK,
                                     [SEAM_CORRUPT] = MOX_E_CORRUPT};
    static const seam_fault faults[] = {SEAM_ZERO, SEAM_EIO, SEAM_LATE, SEAM_CORRUPT};
    const uint32_t kinds = packed ? 4 : 3;
    alarm(DEADLINE_S);
    fixture fx;
    packed ? fx_write_packed(&fx, 4) : fx_write(&fx, 4);
    uint32_t arrived = 0;
    for (uint32_t i = 0; i < kinds * 24; i++) {
        run r = {.fault = faults[i % kinds], .nth = 1 + i / kinds, .for_ever = true};
        memset(&the_seam, 0, sizeof the_seam);
        the_seam = (seam){
            .inner = &mox_io_preads, .fault = r.fault, .nth = r.nth, .for_ever = true, .first_too = true};
        mox_store_cfg cfg = fx_cfg(&fx);
        cfg.verify = packed ? MOX_VERIFY_ALWAYS : MOX_VERIFY_SAMPLE;
        cfg.io_override = &seam_ops;
        cfg.io_override_ctx = &the_seam;
        cfg.io_limit_bps = 4 << 20;
        cr_assert_eq(fx_open(&fx, &cfg), MOX_OK, "%s", mox_err_last()->msg);
        size_t wrong = 0;
        fx.n_arrived = 0;
        mox_err err = fx_step(&fx, 0, (uint32_t[]){2}, 1, &wrong);
        cr_assert_eq(wrong, 0, "%s n=%u: wrong bytes were handed out", seam_fault_name(r.fault), r.nth);
        if (the_seam.fired > 0) {
            cr_assert_eq(err, expect[r.fault], "%s n=%u: %s", seam_fault_name(r.fault), r.nth,
                         mox_err_name(err));
            if (err != MOX_OK) {
                check_error(&fx, err, &r);
            }
            arrived += fx.n_arrived;
        } else {
            cr_assert_eq(err, MOX_OK);
        }
        fx_assert_at_rest(&fx);
        fx_close(&fx);
    }
    cr_assert_gt(arrived, 0, "no expert was in use when its read failed");
    fx_remove(&fx);
}

Test(io_faults, an_expert_fails_while_it_is_used)
{
    fails_while_it_is_used(true);
}

Test(io_faults, an_expert_of_a_plain_file_fails_while_it_is_used)
{
    fails_while_it_is_used(false);
}

Test(io_faults, once_plain_uring_short_zero_again)
{
    once(&mox_io_ring, false, SEAM_SHORT, SEAM_EINTR);
}

Test(io_faults, once_plain_uring_errors)
{
    once(&mox_io_ring, false, SEAM_EINTR, SEAM_LATE);
}

Test(io_faults, once_plain_uring_order_and_content)
{
    once(&mox_io_ring, false, SEAM_LATE, SEAM_FAULTS);
}

Test(io_faults, for_ever_plain_uring)
{
    for_ever(&mox_io_ring, false);
}

Test(io_faults, once_plain_pread_short_zero_again)
{
    once(&mox_io_preads, false, SEAM_SHORT, SEAM_EINTR);
}

Test(io_faults, once_plain_pread_errors)
{
    once(&mox_io_preads, false, SEAM_EINTR, SEAM_LATE);
}

Test(io_faults, once_plain_pread_order_and_content)
{
    once(&mox_io_preads, false, SEAM_LATE, SEAM_FAULTS);
}

Test(io_faults, for_ever_plain_pread)
{
    for_ever(&mox_io_preads, false);
}

Test(io_faults, once_packed_uring_short_zero_again)
{
    once(&mox_io_ring, true, SEAM_SHORT, SEAM_EINTR);
}

Test(io_faults, once_packed_uring_errors)
{
    once(&mox_io_ring, true, SEAM_EINTR, SEAM_LATE);
}

Test(io_faults, once_packed_uring_order_and_content)
{
    once(&mox_io_ring, true, SEAM_LATE, SEAM_FAULTS);
}

Test(io_faults, for_ever_packed_uring)
{
    for_ever(&mox_io_ring, true);
}

Test(io_faults, once_packed_pread_short_zero_again)
{
    once(&mox_io_preads, true, SEAM_SHORT, SEAM_EINTR);
}

Test(io_faults, once_packed_pread_errors)
{
    once(&mox_io_preads, true, SEAM_EINTR, SEAM_LATE);
}

Test(io_faults, once_packed_pread_order_and_content)
{
    once(&mox_io_preads, true, SEAM_LATE, SEAM_FAULTS);
}

Test(io_faults, for_ever_packed_pread)
{
    for_ever(&mox_io_preads, true);
}
