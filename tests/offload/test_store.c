/* The store over a real file: right bytes whatever the order, counters that add up, memory as planned. */
#include "offload/fixture.h"

#include "offload/policy/replay.h"
#include "offload/topo.h"

#include "offload/store_internal.h"

#include <criterion/criterion.h>
#include <sched.h>
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

static void run_written(fixture *written, mox_io_mode mode, uint32_t quota, uint32_t transit, bool predict)
{
    fixture fx = *written;
    fx.files[0] = fx.path;
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

/* Over a plain file, and over the same experts packed. */
static void run_mode(mox_io_mode mode, uint32_t quota, uint32_t transit, bool predict)
{
    fixture fx;
    fx_write(&fx, 8);
    run_written(&fx, mode, quota, transit, predict);
    fx_write_packed(&fx, 8);
    run_written(&fx, mode, quota, transit, predict);
}

Test(store, serves_right_bytes_with_io_uring)
{
    run_mode(MOX_IO_AUTO, 3, 4, false);
    run_mode(MOX_IO_AUTO, 0, 2, false);
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

/* A drive so slow that every expert is leased before its last read: slices in order, each right when it is said to be
 * there (fx_step looks), none after the end. Parts are smaller and larger than a slice, or most of the expert, which
 * then cannot be used early. */
static void read_while_it_arrives(bool packed)
{
    static const uint32_t parts[] = {4096, 8192, 40000};
    for (int i = 0; i < 3; i++) {
        fixture fx;
        packed ? fx_write_packed(&fx, 4) : fx_write(&fx, 4);
        mox_store_cfg cfg = fx_cfg(&fx);
        cfg.verify = packed ? MOX_VERIFY_ALWAYS : MOX_VERIFY_SAMPLE;
        cfg.io_request_bytes = parts[i];
        cfg.io_limit_bps = 4 << 20;
        cr_assert_eq(fx_open(&fx, &cfg), MOX_OK, "%s", mox_err_last()->msg);
        for (uint32_t layer = 0; layer < FX_LAYERS; layer++) {
            size_t wrong = 0;
            cr_assert_eq(fx_step(&fx, layer, (uint32_t[]){1, 4, 3}, 3, &wrong), MOX_OK);
            cr_assert_eq(wrong, 0);
        }
        cr_assert(i == 2 || fx.n_arrived > FX_LAYERS, "parts of %u bytes: %u times", parts[i], fx.n_arrived);
        mox_counters c = fx_counters(&fx);
        cr_assert_gt(c.wait_ns[MOX_PHASE_DECODE], 0);
        fx_assert_at_rest(&fx);
        fx_close(&fx);
        fx_remove(&fx);
    }
}

Test(store, records_can_be_read_while_they_arrive)
{
    read_while_it_arrives(true);
}

Test(store, plain_experts_can_be_read_while_they_arrive)
{
    read_while_it_arrives(false);
}

/* What is compared with its first read when all of it is there may be read again: nobody uses it before. */
Test(store, plain_experts_that_are_compared_are_not_used_early)
{
    fixture fx;
    fx_write(&fx, 4);
    mox_store_cfg cfg = fx_cfg(&fx);
    cfg.io_limit_bps = 8 << 20;
    cr_assert_eq(fx_open(&fx, &cfg), MOX_OK, "%s", mox_err_last()->msg);
    for (uint32_t i = 0; i < 2 * FX_LAYERS; i++) {
        size_t wrong = 0;
        cr_assert_eq(fx_step(&fx, i % FX_LAYERS, (uint32_t[]){1, 4, 3}, 3, &wrong), MOX_OK);
        cr_assert_eq(wrong, 0);
    }
    cr_assert_eq(fx.n_arrived, 0);
    fx_close(&fx);
    fx_remove(&fx);
}

/* A step that ends while it holds an expert that is still arriving leaves it behind like any load it waited for. */
static void leave_while_it_arrives(bool packed)
{
    fixture fx;
    packed ? fx_write_packed(&fx, 4) : fx_write(&fx, 4);
    mox_store_cfg cfg = fx_cfg(&fx);
    cfg.verify = packed ? MOX_VERIFY_ALWAYS : MOX_VERIFY_SAMPLE;
    cfg.io_limit_bps = 2 << 20;
    cr_assert_eq(fx_open(&fx, &cfg), MOX_OK, "%s", mox_err_last()->msg);
    uint32_t arriving = 0;
    for (uint32_t i = 0; i < 3 * FX_EXPERTS; i++) {
        mox_need need = {.expert = i % FX_EXPERTS, .n_uses = 1};
        mox_lease lease;
        uint32_t n;
        mox_store_begin(fx.store, 1, MOX_PHASE_DECODE, &need, 1);
        cr_assert_eq(mox_store_next(fx.store, &lease, 1, &n), MOX_OK);
        arriving += lease.arriving;
        mox_store_release(fx.store, &lease);
        mox_store_end(fx.store);
    }
    cr_assert_gt(arriving, FX_EXPERTS, "%u of %u leases", arriving, 3 * FX_EXPERTS);
    fx_assert_at_rest(&fx);
    fx_close(&fx);
    fx_remove(&fx);
}

Test(store, an_arriving_lease_can_be_left)
{
    leave_while_it_arrives(true);
}

Test(store, an_arriving_lease_of_a_plain_file_can_be_left)
{
    leave_while_it_arrives(false);
}

/* Sampling looks at one slice in 64, whatever the order of loads; off at none. */
Test(store, records_are_compared_as_asked)
{
    static const mox_verify verify[] = {MOX_VERIFY_ALWAYS, MOX_VERIFY_SAMPLE, MOX_VERIFY_OFF};
    for (int i = 0; i < 3; i++) {
        fixture fx;
        fx_write_packed(&fx, 8);
        mox_store_cfg cfg = fx_cfg(&fx);
        cfg.verify = verify[i];
        cr_assert_eq(fx_open(&fx, &cfg), MOX_OK, "%s", mox_err_last()->msg);
        uint64_t slices = 0, bytes = 0;
        for (uint32_t n = 0; n < FX_LAYERS * FX_EXPERTS; n++) {
            uint32_t layer = n % FX_LAYERS, expert = n / FX_LAYERS;
            mox_record_src r;
            size_t wrong = 0;
            fx_record(&fx, layer, expert, &r);
            slices += r.n_slices;
            bytes += r.bytes;
            cr_assert_eq(fx_step(&fx, layer, &expert, 1, &wrong), MOX_OK);
            cr_assert_eq(wrong, 0);
        }
        uint64_t want = i == 0 ? slices : i == 1 ? (slices + 63) / 64 : 0;
        mox_counters c = fx_counters(&fx);
        cr_assert_eq(c.io.verified, want);
        cr_assert_eq(c.io.read_bytes, bytes, "records and nothing else");
        fx_close(&fx);
        fx_remove(&fx);
    }
}

/* What does not fit into slots or bitmaps is refused before a byte is read. */
static void oversized(void *ctx, uint32_t layer, uint32_t expert, mox_record_src *out)
{
    fx_record(ctx, layer, expert, out);
    out->bytes += 4096;
}

static void no_slices(void *ctx, uint32_t layer, uint32_t expert, mox_record_src *out)
{
    fx_record(ctx, layer, expert, out);
    out->n_slices = 0;
}

static void askew(void *ctx, uint32_t layer, uint32_t expert, mox_record_src *out)
{
    fx_record(ctx, layer, expert, out);
    out->off += 512;
}

Test(store, records_that_do_not_fit_are_refused)
{
    void (*const bad[])(void *, uint32_t, uint32_t, mox_record_src *) = {oversized, no_slices, askew};
    for (int i = 0; i < 3; i++) {
        fixture fx;
        fx_write_packed(&fx, 1);
        mox_store_cfg cfg = fx_cfg(&fx);
        cfg.layout.record = bad[i];
        cr_assert_eq(fx_open(&fx, &cfg), MOX_E_ARG);
        fx_close(&fx);
        fx_remove(&fx);
    }
}

/* Two slots pass experts through. The one whose layer has just had its turn goes, not the older one, whose layer is
 * nearer. */
Test(store, what_will_be_asked_for_next_stays)
{
    fixture fx;
    fx_write(&fx, 2);
    mox_store_cfg cfg = fx_cfg(&fx);
    cfg.transit_slots = FX_TOP_K;
    cfg.look_ahead = false;
    for (uint32_t i = 0; i < FX_LAYERS; i++) {
        fx.layers[i].quota = 0;
    }
    cr_assert_eq(fx_open(&fx, &cfg), MOX_OK);
    static const uint32_t layer[] = {0, 1, 1, 0}, expert[] = {2, 3, 4, 2};
    size_t wrong = 0;
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(fx_step(&fx, layer[i], &expert[i], 1, &wrong), MOX_OK);
    }
    mox_counters c = fx_counters(&fx);
    cr_assert_eq(wrong, 0);
    cr_assert_eq(c.use[MOX_PHASE_DECODE].misses, 3);
    cr_assert_eq(c.use[MOX_PHASE_DECODE].hits, 1, "layer 0 finds its expert again");
    fx_close(&fx);
    fx_remove(&fx);
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

static uint32_t kept_mask(fixture *fx, uint32_t layer)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < fx->store->layer[layer].n_kept; i++) {
        mask |= 1u << fx->store->layer[layer].kept[i];
    }
    return mask;
}

/* The planner replays traces through the same policies: what it predicts must be what the store keeps. */
static void keeps_what_replay_says(const mox_policy_ops *policy)
{
    enum { STEPS = 400 };
    fixture fx;
    fx_write(&fx, 1);
    mox_store_cfg cfg = fx_cfg(&fx);
    cfg.policy = policy;
    cr_assert_eq(fx_open(&fx, &cfg), MOX_OK);
    float heat[FX_LAYERS * FX_EXPERTS];
    uint64_t seed = 3;
    for (int i = 0; i < FX_LAYERS * FX_EXPERTS; i++) {
        heat[i] = (float)fx_random(&seed, 1000);
    }
    cr_assert_eq(mox_store_fill(fx.store, heat, NULL, NULL), MOX_OK);
    mox_replay_step steps[STEPS];
    uint32_t experts[2 * STEPS], uses[2 * STEPS], quota[FX_LAYERS] = {3, 3, 3, 3};
    uint64_t hits = 0;
    for (uint32_t i = 0; i < STEPS; i++) {
        steps[i] = (mox_replay_step){.layer = i % FX_LAYERS, .first = 2 * i, .n = 2};
        experts[2 * i] = fx_random(&seed, 2) ? fx_random(&seed, 2) : fx_random(&seed, FX_EXPERTS);
        experts[2 * i + 1] = (experts[2 * i] + 1 + fx_random(&seed, FX_EXPERTS - 1)) % FX_EXPERTS;
        uses[2 * i] = uses[2 * i + 1] = 1;
        uint32_t kept = kept_mask(&fx, i % FX_LAYERS);
        hits += (kept >> experts[2 * i] & 1) + (kept >> experts[2 * i + 1] & 1);
        size_t wrong = 0;
        cr_assert_eq(fx_step(&fx, i % FX_LAYERS, experts + 2 * i, 2, &wrong), MOX_OK);
        cr_assert_eq(wrong, 0);
    }
    mox_replay_cfg replay = {.n_layers = FX_LAYERS,
                             .n_experts = FX_EXPERTS,
                             .quota = quota,
                             .policy = policy,
                             .margin = MOX_ADMIT_ALWAYS,
                             .prior = heat,
                             .steps = steps,
                             .n_steps = STEPS,
                             .experts = experts,
                             .uses = uses};
    mox_replay_result r;
    cr_assert_eq(mox_replay(&replay, &r, NULL), MOX_OK);
    cr_assert_eq(r.hits, hits, "%s: replay %llu, store %llu", policy->name, (unsigned long long)r.hits,
                 (unsigned long long)hits);
    mox_counters c = fx_counters(&fx);
    cr_assert_eq(c.admissions, r.inserts);
    cr_assert_geq(c.use[MOX_PHASE_DECODE].hits, hits, "transit slots only add hits");
    fx_close(&fx);
    fx_remove(&fx);
}

Test(store, keeps_what_replay_says)
{
    for (size_t i = 0; mox_policies[i]; i++) {
        if (!mox_policies[i]->needs_future) {
            keeps_what_replay_says(mox_policies[i]);
        }
    }
}

Test(store, reserve_only_counts_the_same_bytes)
{
    fixture fx;
    fx_write(&fx, 1);
    mox_store_cfg cfg = fx_cfg(&fx);
    mox_arena plan = mox_arena_plan();
    cr_assert_eq(mox_store_create(&fx.store, &cfg, &plan), MOX_OK);
    mox_arena arena;
    cr_assert_eq(mox_arena_map(&arena, plan.used, MOX_ARENA_RESERVE), MOX_OK);
    cfg.reserve_only = true; /* the arena faults when touched */
    cr_assert_eq(mox_store_create(&fx.store, &cfg, &arena), MOX_OK);
    cr_assert_null(fx.store);
    cr_assert_eq(arena.used, plan.used);
    mox_arena_unmap(&arena);
    fx_remove(&fx);
}

Test(store, an_arena_that_is_too_small_is_refused)
{
    fixture fx;
    fx_write(&fx, 1);
    mox_store_cfg cfg = fx_cfg(&fx);
    mox_arena plan = mox_arena_plan();
    cr_assert_eq(mox_store_create(&fx.store, &cfg, &plan), MOX_OK);
    size_t sizes[] = {4096, plan.used / 2, plan.used - 1};
    for (int i = 0; i < 3; i++) {
        mox_arena arena;
        cr_assert_eq(mox_arena_map(&arena, sizes[i], 0), MOX_OK);
        arena.bytes = sizes[i];
        cr_assert_eq(mox_store_create(&fx.store, &cfg, &arena), MOX_E_NO_MEMORY);
        cr_assert_null(fx.store);
        mox_arena_unmap(&arena);
    }
    fx_remove(&fx);
}

Test(store, waiting_with_every_slot_leased_is_an_error_not_a_hang)
{
    fixture fx;
    fx_write(&fx, 1);
    mox_store_cfg cfg = fx_cfg(&fx);
    cfg.transit_slots = FX_TOP_K;
    for (int i = 0; i < FX_LAYERS; i++) {
        fx.layers[i].quota = 0;
    }
    cr_assert_eq(fx_open(&fx, &cfg), MOX_OK);
    mox_need needs[3] = {{0, 1, 1}, {1, 1, 1}, {2, 1, 1}};
    mox_store_begin(fx.store, 0, MOX_PHASE_DECODE, needs, 3);
    mox_lease a, b, c;
    uint32_t n;
    cr_assert_eq(mox_store_next(fx.store, &a, 1, &n), MOX_OK);
    cr_assert_eq(mox_store_next(fx.store, &b, 1, &n), MOX_OK);
    cr_assert_eq(mox_store_next(fx.store, &c, 1, &n), MOX_E_INTERNAL);
    mox_store_release(fx.store, &a);
    cr_assert_eq(mox_store_next(fx.store, &c, 1, &n), MOX_OK, "a slot came back, the wave goes on");
    cr_assert_eq(fx_wrong_words(0, b.expert, &fx, b.slot), 0, "the other lease was left alone");
    cr_assert_eq(fx_wrong_words(0, c.expert, &fx, c.slot), 0);
    mox_store_end(fx.store); /* takes back what was not released */
    fx_assert_at_rest(&fx);
    fx_close(&fx);
    fx_remove(&fx);
}

Test(store, all_that_are_ready_are_leased_together)
{
    fixture fx;
    fx_write(&fx, 1);
    mox_store_cfg cfg = fx_cfg(&fx);
    cr_assert_eq(fx_open(&fx, &cfg), MOX_OK);
    uint32_t two[] = {1, 4}, served = 0, calls = 0;
    size_t wrong = 0;
    cr_assert_eq(fx_step(&fx, 0, two, 2, &wrong), MOX_OK);
    mox_need needs[3] = {{1, 1, 1}, {3, 1, 1}, {4, 1, 1}};
    mox_store_begin(fx.store, 0, MOX_PHASE_DECODE, needs, 3);
    mox_lease l[3];
    for (uint32_t n = 1; n > 0; calls++) {
        cr_assert_eq(mox_store_next(fx.store, l, 3, &n), MOX_OK);
        cr_assert(calls > 0 || n >= 2, "residents do not wait for each other");
        for (uint32_t i = 0; i < n; i++) {
            served |= 1u << l[i].expert;
            wrong += fx_wrong_words(0, l[i].expert, &fx, l[i].slot);
            mox_store_release(fx.store, &l[i]);
        }
    }
    cr_assert_eq(served, 1u << 1 | 1u << 3 | 1u << 4);
    cr_assert_leq(calls, 3);
    cr_assert_eq(wrong, 0);
    mox_store_end(fx.store);
    fx_assert_at_rest(&fx);
    fx_close(&fx);
    fx_remove(&fx);
}

Test(store, wrong_configurations_are_refused)
{
    fixture fx;
    fx_write(&fx, 1);
    mox_arena plan = mox_arena_plan();
    mox_store_cfg cfg = fx_cfg(&fx);
    cfg.transit_slots = FX_TOP_K - 1;
    cr_assert_eq(mox_store_create(&fx.store, &cfg, &plan), MOX_E_ARG);
    cfg = fx_cfg(&fx);
    cfg.policy = mox_policy_by_name("belady");
    cr_assert_eq(mox_store_create(&fx.store, &cfg, &plan), MOX_E_ARG);
    cfg = fx_cfg(&fx);
    cfg.io_depth = MOX_IO_MAX_DEPTH + 1;
    cr_assert_eq(mox_store_create(&fx.store, &cfg, &plan), MOX_E_ARG);
    fx_remove(&fx);
}

Test(store, sample_compares_one_load_in_64)
{
    fixture fx;
    fx_write(&fx, 1);
    mox_store_cfg cfg = fx_cfg(&fx);
    cfg.verify = MOX_VERIFY_SAMPLE;
    cfg.transit_slots = FX_TOP_K;
    for (int i = 0; i < FX_LAYERS; i++) {
        fx.layers[i].quota = 0;
    }
    cr_assert_eq(fx_open(&fx, &cfg), MOX_OK);
    for (uint32_t i = 0; i < 6 * 65; i++) { /* six experts in turn through two slots: every use is a load */
        uint32_t e = i % FX_EXPERTS;
        size_t wrong = 0;
        cr_assert_eq(fx_step(&fx, 0, &e, 1, &wrong), MOX_OK);
        cr_assert_eq(wrong, 0);
    }
    mox_counters c = fx_counters(&fx);
    cr_assert_eq(c.io.verified, 6 * FX_SLABS, "%llu slabs were compared", (unsigned long long)c.io.verified);
    fx_close(&fx);
    fx_remove(&fx);
}

Test(io, probe_reads_at_some_rate_with_either_backend)
{
    fixture fx;
    fx_write(&fx, 8);
    double rate = 0;
    cr_assert_eq(mox_io_probe_rate(fx.path, 0, fx.file_bytes, 65536, 4, MOX_IO_AUTO, &rate), MOX_OK);
    cr_assert_gt(rate, 0);
    rate = 0;
    cr_assert_eq(mox_io_probe_rate(fx.path, 4096, fx.file_bytes, 65536, 4, MOX_IO_PREAD, &rate), MOX_OK);
    cr_assert_gt(rate, 0);
    cr_assert_eq(mox_io_probe_rate(fx.path, fx.file_bytes, 4096, 65536, 4, MOX_IO_PREAD, &rate), MOX_E_ARG);
    fx_remove(&fx);
    cr_assert_eq(mox_io_probe_rate(fx.path, 0, 4096, 65536, 4, MOX_IO_PREAD, &rate), MOX_E_OPEN);
}

Test(topo, finds_cores_and_binds_to_one)
{
    mox_topo *t;
    cr_assert_eq(mox_topo_create(&t), MOX_OK);
    cpu_set_t before, after;
    cr_assert_eq(sched_getaffinity(0, sizeof before, &before), 0);
    cr_assert_geq(mox_topo_cores(t), 1);
    cr_assert_leq(mox_topo_cores(t), (uint32_t)CPU_COUNT(&before));
    mox_topo_set_workers(t, mox_topo_cores(t) + 1);
    mox_topo_bind_worker(t, 0); /* more workers than cores: nothing is pinned */
    cr_assert_eq(sched_getaffinity(0, sizeof after, &after), 0);
    cr_assert(CPU_EQUAL(&before, &after));
    mox_topo_set_workers(t, mox_topo_cores(t));
    mox_topo_bind_worker(t, 0);
    cr_assert_eq(sched_getaffinity(0, sizeof after, &after), 0);
    cr_assert_eq(CPU_COUNT(&after), 1);
    cr_assert_not_null(strstr(mox_topo_describe(t), "core"));
    mox_topo_destroy(&t);
    cr_assert_null(t);
}
