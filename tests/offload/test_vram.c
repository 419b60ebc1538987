/* The VRAM tier over a real store: every expert that a step is given has its own bytes, wherever it lies and whatever is
 * on its way; counters add up; nothing is lost.
 *
 * The link is played: far memory is memory of the test, and a copy's bytes move only when the test lets them, or when
 * somebody waits. So a slot that is used before its copy has landed, or whose bytes are given away while a copy still
 * reads them, has wrong bytes here. The explorer plays every sequence of five steps and landings on a tiny tier.
 */
#include "offload/fixture.h"

#include "offload/vram_internal.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { COPIES = 4096, POISON = 0xA5 };

typedef struct copy {
    uint8_t *to;
    const uint8_t *from;
    size_t bytes;
} copy;

/* One device's link: copies in order, done up to `landed`. */
typedef struct link {
    copy queue[COPIES];
    uint64_t n, landed, waits;
    uint64_t fail_at; /* this copy is refused; 0: none */
    bool eager;
} link;

static void land(link *k, uint64_t until)
{
    for (; k->landed < until; k->landed++) {
        const copy *c = &k->queue[k->landed % COPIES];
        memcpy(c->to, c->from, c->bytes);
    }
}

static mox_err queue(link *k, uint8_t *to, const uint8_t *from, size_t bytes, uint64_t *ticket)
{
    if (k->fail_at == k->n + 1) {
        return MOX_FAIL(MOX_E_DEVICE, "test: the link is gone");
    }
    k->queue[k->n % COPIES] = (copy){to, from, bytes};
    *ticket = ++k->n;
    if (k->eager) {
        land(k, k->n);
    }
    return MOX_OK;
}

static mox_err up(void *ctx, uint32_t device, uint8_t *far, const uint8_t *near, size_t bytes,
                  uint64_t *ticket)
{
    return queue((link *)ctx + device, far, near, bytes, ticket);
}

static mox_err down(void *ctx, uint32_t device, uint8_t *near, const uint8_t *far, size_t bytes,
                    uint64_t *ticket)
{
    return queue((link *)ctx + device, near, far, bytes, ticket);
}

static bool landed(void *ctx, uint32_t device, uint64_t ticket)
{
    return ((link *)ctx)[device].landed >= ticket;
}

static mox_err wait_for(void *ctx, uint32_t device, uint64_t ticket)
{
    link *k = (link *)ctx + device;
    k->waits++;
    land(k, ticket);
    return MOX_OK;
}

typedef struct vram_fixture {
    fixture fx;
    link *link; /* [2] devices; layers go to them in turns */
    uint8_t *far;
    mox_vram_layer layer[FX_LAYERS];
    size_t wrong;
} vram_fixture;

static void open_vram(vram_fixture *v, const uint32_t *ram_quota, const uint32_t *vram_quota,
                      uint32_t transit, float margin)
{
    fixture *fx = &v->fx;
    mox_store_cfg cfg = fx_cfg(fx);
    size_t bytes = 0;
    for (uint32_t l = 0; l < FX_LAYERS; l++) {
        fx->layers[l].quota = ram_quota[l];
        bytes += vram_quota[l] * mox_vram_slot_bytes(fx_slot_bytes(fx, l));
    }
    v->far = malloc(bytes + 1);
    memset(v->far, POISON, bytes);
    v->link = calloc(2, sizeof *v->link);
    uint8_t *at = v->far;
    for (uint32_t l = 0; l < FX_LAYERS; l++) {
        v->layer[l] = (mox_vram_layer){.quota = vram_quota[l], .device = l % 2, .base = at};
        at += vram_quota[l] * mox_vram_slot_bytes(fx_slot_bytes(fx, l));
    }
    cfg.transit_slots = transit;
    cfg.look_ahead = false;
    cfg.vram = (mox_vram_cfg){
        .layers = v->layer,
        .link = {.ctx = v->link, .up = up, .down = down, .landed = landed, .wait = wait_for},
        .margin = margin,
        .bytes_per_token = 1 << 30,
    };
    cr_assert_eq(fx_open(fx, &cfg), MOX_OK, "%s", mox_err_last()->msg);
}

static void close_vram(vram_fixture *v)
{
    fx_close(&v->fx);
    free(v->far);
    free(v->link);
}

/* One step: what is in VRAM is looked at while the rest is served from RAM and the file. */
static void step(vram_fixture *v, uint32_t layer, const uint32_t *experts, uint32_t n)
{
    mox_need needs[FX_EXPERTS];
    mox_lease hits[FX_EXPERTS], lease;
    uint32_t n_hits = 0, n_leases = 0, seen = 0;
    for (uint32_t i = 0; i < n; i++) {
        needs[i] = (mox_need){.expert = experts[i], .n_uses = FX_TOP_K, .weight = 0.5f};
    }
    uint32_t left = mox_vram_begin(v->fx.store, layer, MOX_PHASE_DECODE, needs, n, hits, &n_hits);
    mox_store_begin(v->fx.store, layer, MOX_PHASE_DECODE, needs, left);
    for (;;) {
        cr_assert_eq(mox_store_next(v->fx.store, &lease, 1, &n_leases), MOX_OK, "%s", mox_err_last()->msg);
        if (n_leases == 0) {
            break;
        }
        v->wrong += fx_wrong_words(layer, lease.expert, &v->fx, lease.slot);
        seen |= 1u << lease.expert;
        cr_assert_neq(mox_store_served(v->fx.store, lease.expert), MOX_SERVED_VRAM);
        mox_store_release(v->fx.store, &lease);
    }
    mox_store_end(v->fx.store);
    for (uint32_t i = 0; i < n_hits; i++) { /* the device may compute until here */
        v->wrong += fx_wrong_words(layer, hits[i].expert, &v->fx, hits[i].slot);
        cr_assert_eq(seen >> hits[i].expert & 1, 0, "expert %u is served twice", hits[i].expert);
        cr_assert_eq(mox_store_served(v->fx.store, hits[i].expert), MOX_SERVED_VRAM);
        seen |= 1u << hits[i].expert;
    }
    cr_assert_eq(mox_vram_end(v->fx.store, false), MOX_OK, "%s", mox_err_last()->msg);
    for (uint32_t i = 0; i < n; i++) {
        cr_assert_eq(seen >> experts[i] & 1, 1, "expert %u was not served", experts[i]);
    }
}

/* What must hold after any step: both tables, and the moves that hold on to slots. */
static void check_tables(const vram_fixture *v)
{
    mox_store *st = v->fx.store;
    pthread_mutex_lock(&st->lock);
    const char *broken = mox_slots_check(&st->slots);
    pthread_mutex_unlock(&st->lock);
    cr_assert_null(broken, "RAM: %s", broken);
    for (uint32_t l = 0; l < FX_LAYERS; l++) {
        const mox_slots *t = &st->vram->layer[l].t;
        broken = mox_slots_check(t);
        cr_assert_null(broken, "VRAM of layer %u: %s", l, broken);
        cr_assert_eq(t->n, v->layer[l].quota);
        for (uint32_t i = 0; i < t->n; i++) {
            cr_assert(t->slot[i].pins == 0 && t->slot[i].needed == 0,
                      "a slot stays protected after its step");
        }
    }
    for (uint32_t i = 0; i < st->vram->n_moves; i++) {
        const mox_vram_move *m = &st->vram->move[i];
        cr_assert_eq(st->slots.slot[m->near].generation, m->near_generation, "a slot is gone under a copy");
    }
}

static void check_rest(vram_fixture *v)
{
    cr_assert_eq(mox_vram_settle(v->fx.store), MOX_OK);
    check_tables(v);
    fx_assert_at_rest(&v->fx);
    cr_assert_eq(v->wrong, 0, "%zu wrong words", v->wrong);
    /* every resident has its own bytes still */
    for (uint32_t l = 0; l < FX_LAYERS; l++) {
        const mox_slots *t = &v->fx.store->vram->layer[l].t;
        for (uint32_t i = 0; i < t->n; i++) {
            if (t->slot[i].state == MOX_SLOT_READY) {
                const uint8_t *bytes = mox_vram_at(v->fx.store->vram, l, i);
                cr_assert_eq(fx_wrong_words(l, t->slot[i].key, &v->fx, bytes), 0);
            }
        }
    }
}

/* Random steps of 1 to 6 experts; landings now and then; returns the counters, whose sums the fixture checks. */
static mox_counters random_run(uint64_t seed, uint32_t ram, const uint32_t *vram, uint32_t transit,
                               bool eager, float margin)
{
    vram_fixture v = {.wrong = 0};
    fx_write(&v.fx, 2);
    uint32_t all[FX_LAYERS] = {ram, ram, ram, ram};
    open_vram(&v, all, vram, transit, margin);
    v.link[0].eager = v.link[1].eager = eager;
    cr_assert_eq(mox_store_fill(v.fx.store, NULL, NULL, NULL), MOX_OK, "%s", mox_err_last()->msg);
    for (uint32_t i = 0; i < 400; i++) {
        uint32_t set[FX_EXPERTS];
        uint32_t n = fx_random_set(&seed, 1 + fx_random(&seed, i % 9 == 0 ? FX_EXPERTS : FX_TOP_K), set);
        step(&v, i % FX_LAYERS, set, n);
        link *k = &v.link[fx_random(&seed, 2)];
        land(k, k->landed + (k->n > k->landed ? fx_random(&seed, 2) : 0));
        check_tables(&v);
    }
    mox_counters c = fx_counters(&v.fx);
    const mox_use_counters *u = &c.use[MOX_PHASE_DECODE];
    cr_assert_eq(u->vram + u->hits + u->late + u->misses, u->uses);
    cr_assert_leq(c.vram.demotions + c.vram.still_in_ram + c.vram.dropped, c.vram.promotions);
    check_rest(&v);
    close_vram(&v);
    fx_remove(&v.fx);
    return c;
}

Test(vram, random_steps_see_the_right_bytes_and_add_up)
{
    static const uint32_t quotas[][FX_LAYERS] = {{1, 1, 1, 1}, {0, 3, 1, 6}, {2, 2, 2, 2}, {6, 6, 6, 6}};
    uint64_t hits = 0, demoted = 0, dropped = 0, still = 0;
    for (uint64_t seed = 1; seed <= 24; seed++) {
        uint32_t ram = (uint32_t)seed % 4 * 2, transit = FX_TOP_K + 1 + (uint32_t)seed % 3;
        mox_counters c = random_run(seed, ram, quotas[seed / 4 % 4], transit, seed % 3 == 0,
                                    seed % 5 == 0 ? MOX_ADMIT_ALWAYS : 0.5f);
        hits += c.use[MOX_PHASE_DECODE].vram;
        demoted += c.vram.demotions;
        dropped += c.vram.dropped;
        still += c.vram.still_in_ram;
    }
    cr_assert_gt(hits, 0);
    cr_assert_gt(demoted, 0, "no victim ever went down");
    cr_assert_gt(dropped, 0, "no victim was ever dropped");
    cr_assert_gt(still, 0, "no victim was ever in RAM still");
}

Test(vram, all_in_vram_needs_no_ram_and_no_file)
{
    static const uint32_t all[FX_LAYERS] = {6, 6, 6, 6}, no_ram[FX_LAYERS] = {0};
    vram_fixture v = {.wrong = 0};
    fx_write_packed(&v.fx, 2);
    open_vram(&v, no_ram, all, FX_TOP_K, 1.0f);
    cr_assert_eq(mox_store_fill(v.fx.store, NULL, NULL, NULL), MOX_OK);
    mox_counters filled = {0};
    mox_store_counters(v.fx.store, &filled, NULL);
    uint64_t seed = 7;
    for (uint32_t i = 0; i < 100; i++) {
        uint32_t set[FX_EXPERTS];
        step(&v, i % FX_LAYERS, set, fx_random_set(&seed, 1 + i % FX_EXPERTS, set));
    }
    mox_counters c = fx_counters(&v.fx);
    cr_assert_eq(c.use[MOX_PHASE_DECODE].vram, c.use[MOX_PHASE_DECODE].uses);
    cr_assert_eq(c.io.read_bytes, filled.io.read_bytes, "something was read after the fill");
    cr_assert_eq(c.vram.promotions, 0);
    check_rest(&v);
    close_vram(&v);
    fx_remove(&v.fx);
}

/* Every expert is read once at open, and VRAM and RAM hold different ones as far as they can. */
Test(vram, fill_reads_nothing_twice_and_follows_heat)
{
    static const uint32_t quota[FX_LAYERS] = {2, 2, 3, 1}, ram[FX_LAYERS] = {4, 4, 4, 4};
    float heat[FX_LAYERS * FX_EXPERTS];
    vram_fixture v = {.wrong = 0};
    for (uint32_t i = 0; i < FX_LAYERS * FX_EXPERTS; i++) {
        heat[i] = (float)(i % FX_EXPERTS); /* the last ones are the hottest */
    }
    fx_write(&v.fx, 2);
    open_vram(&v, ram, quota, FX_TOP_K + 1, 1.0f);
    cr_assert_eq(mox_store_fill(v.fx.store, heat, NULL, NULL), MOX_OK);
    for (uint32_t l = 0; l < FX_LAYERS; l++) {
        uint64_t in_vram, in_ram;
        cr_assert_eq(mox_vram_resident(v.fx.store, l, &in_vram), quota[l]);
        cr_assert_eq(in_vram, ((1u << quota[l]) - 1) << (FX_EXPERTS - quota[l]), "layer %u: %lx", l,
                     (unsigned long)in_vram);
        cr_assert_eq(mox_store_resident(v.fx.store, l, &in_ram), 4);
        cr_assert_eq((uint32_t)__builtin_popcountll(in_vram | in_ram),
                     quota[l] + 4 < FX_EXPERTS ? quota[l] + 4 : FX_EXPERTS);
    }
    mox_counters c = {0};
    mox_store_counters(v.fx.store, &c, NULL);
    cr_assert_leq(c.io.fill_bytes, 3 * v.fx.file_bytes, "read %lu of %lu", (unsigned long)c.io.fill_bytes,
                  (unsigned long)v.fx.file_bytes);
    check_rest(&v);
    close_vram(&v);
    fx_remove(&v.fx);
}

/* Each copy of a run fails once: a named error, and the tables as they must be. */
Test(vram, a_link_that_fails_is_an_error_and_loses_no_slot)
{
    static const uint32_t quota[FX_LAYERS] = {1, 2, 1, 2}, ram[FX_LAYERS] = {2, 2, 2, 2};
    uint32_t failed = 0;
    for (uint64_t at = 1; at <= 40; at++) {
        vram_fixture v = {.wrong = 0};
        fx_write(&v.fx, 1);
        open_vram(&v, ram, quota, FX_TOP_K + 1, MOX_ADMIT_ALWAYS);
        mox_err err = MOX_OK;
        v.link[0].fail_at = v.link[1].fail_at = at;
        err = mox_store_fill(v.fx.store, NULL, NULL, NULL);
        uint64_t seed = at;
        for (uint32_t i = 0; i < 60 && err == MOX_OK; i++) {
            mox_need need = {.expert = fx_random(&seed, FX_EXPERTS), .n_uses = FX_TOP_K};
            mox_lease hit, lease;
            uint32_t n_hits, n;
            uint32_t left =
                mox_vram_begin(v.fx.store, i % FX_LAYERS, MOX_PHASE_DECODE, &need, 1, &hit, &n_hits);
            mox_store_begin(v.fx.store, i % FX_LAYERS, MOX_PHASE_DECODE, &need, left);
            while (mox_store_next(v.fx.store, &lease, 1, &n) == MOX_OK && n) {
                mox_store_release(v.fx.store, &lease);
            }
            mox_store_end(v.fx.store);
            err = mox_vram_end(v.fx.store, false);
        }
        cr_assert(err == MOX_OK || err == MOX_E_DEVICE);
        failed += err == MOX_E_DEVICE;
        check_tables(&v);
        cr_assert_eq(mox_vram_settle(v.fx.store), MOX_OK);
        fx_assert_at_rest(&v.fx);
        close_vram(&v);
        fx_remove(&v.fx);
    }
    cr_assert_gt(failed, 20);
}

/* One layer is in play: 1 or 2 slots in VRAM, 0 or 1 in RAM and the least transit. Actions: a step over one of four sets; the
 * oldest copy lands. They are played in an order (a de Bruijn sequence) in which every sequence of DEPTH actions occurs. */
enum { ACTIONS = 5, DEPTH = 5 };

typedef struct explorer {
    vram_fixture *v;
    uint32_t word[DEPTH + 1], played;
} explorer;

static void play(explorer *x, uint32_t action)
{
    static const uint32_t sets[][2] = {{0, 1}, {1, 2}, {3, 0}, {2, 3}};
    vram_fixture *v = x->v;
    if (action < 4) {
        step(v, 0, sets[action], 2);
    } else {
        land(&v->link[0], v->link[0].landed + (v->link[0].n > v->link[0].landed));
    }
    x->played++;
    check_tables(v);
    cr_assert_eq(v->wrong, 0, "wrong bytes after %u actions", x->played);
}

/* Lyndon words in order, those whose length divides DEPTH: together the sequence. */
static void words(explorer *x, uint32_t t, uint32_t p)
{
    if (t > DEPTH) {
        for (uint32_t i = 1; DEPTH % p == 0 && i <= p; i++) {
            play(x, x->word[i]);
        }
        return;
    }
    x->word[t] = x->word[t - p];
    words(x, t + 1, p);
    for (uint32_t a = x->word[t - p] + 1; a < ACTIONS; a++) {
        x->word[t] = a;
        words(x, t + 1, t);
    }
}

static mox_counters explore(uint32_t vram, uint32_t ram)
{
    uint32_t quota[FX_LAYERS] = {vram, 0, 0, 0}, ram_quota[FX_LAYERS] = {ram, 0, 0, 0};
    vram_fixture v = {.wrong = 0};
    explorer x = {.v = &v};
    fx_write(&v.fx, 1);
    open_vram(&v, ram_quota, quota, FX_TOP_K, MOX_ADMIT_ALWAYS);
    words(&x, 1, 1);
    cr_assert_eq(x.played, 3125);
    mox_counters c = fx_counters(&v.fx);
    check_rest(&v);
    close_vram(&v);
    fx_remove(&v.fx);
    return c;
}

Test(vram, explorer_every_sequence_of_steps_and_landings, .timeout = 120)
{
    mox_counters one = explore(1, 1), two = explore(2, 1), none = explore(2, 0);
    cr_assert(one.vram.demotions > 0 && two.vram.demotions > 0, "no victim ever went down");
    cr_assert(one.use[MOX_PHASE_DECODE].late > 0, "nobody ever waited for a copy");
    cr_assert_eq(none.vram.demotions, 0);
}
