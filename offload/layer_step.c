/* Layer steps: what a step needs is protected, leased, given back and considered for keeping.
 *
 * The step thread calls everything here. Per layer step: begin (residents are protected before any miss may
 * look for room, so a step never evicts what it needs itself), next (residents, else whatever has arrived),
 * release (may start the next wave), end (admission). Waiting is one condition variable that the I/O thread
 * signals when a load ends or a slot becomes free.
 */
#include "offload/store_internal.h"

#include "runtime/core/clock.h"

#include <string.h>

static void count_use(mox_store *st, const mox_need_entry *n)
{
    mox_layer_state *l = &st->layer[st->cur_layer];
    mox_use_counters *both[2] = {&l->use, &st->count.use[st->cur_phase]};
    uint64_t uses = n->need.n_uses;
    for (int i = 0; i < 2; i++) {
        mox_use_counters *c = both[i];
        c->uses += uses;
        switch (n->served) {
        case MOX_SERVED_LATE:
            c->late += uses;
            c->late_bytes += uses * l->slot_bytes;
            break;
        case MOX_SERVED_FILE:
            c->misses += uses;
            c->miss_bytes += uses * l->slot_bytes;
            break;
        default:
            c->hits += uses;
            c->hit_bytes += uses * l->slot_bytes;
        }
        c->loads += n->served != MOX_SERVED_RAM;
    }
}

/* One need meets the table: resident, joined, loading from now on, or to come in a later wave. */
static void place_need(mox_store *st, mox_need_entry *n)
{
    mox_slot_result r = mox_ram_want(st, st->cur_layer, n->need.expert, MOX_READ_DEMAND);
    n->slot = r.slot;
    n->generation = r.generation;
    switch (r.verdict) {
    case MOX_SLOT_HIT:
        n->state = MOX_NEED_RESIDENT;
        break;
    case MOX_SLOT_JOINED:
        n->state = MOX_NEED_WAITING;
        mox_files_raise(st, r.slot);
        break;
    case MOX_SLOT_ALLOCATED:
        n->state = MOX_NEED_WAITING;
        break;
    default:
        n->state = MOX_NEED_QUEUED;
        return;
    }
    mox_slot_info *info = &st->info[r.slot];
    if (info->prefetched) {
        mox_ahead_judge(st, r.slot, true);
    }
    info->predicted = false;
    info->last_step = st->step;
}

void mox_store_begin(mox_store *st, uint32_t layer, mox_phase phase, const mox_need *needs, uint32_t n)
{
    pthread_mutex_lock(&st->lock);
    mox_layer_state *l = &st->layer[layer];
    st->in_step = true;
    st->failed = false;
    st->cur_layer = layer;
    st->cur_phase = phase;
    st->n_needs = n;
    st->step++;
    l->step++;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t slot = st->slots.map[mox_store_key(st, layer, needs[i].expert)];
        bool loading = slot != MOX_SLOT_NONE && st->slots.slot[slot].state == MOX_SLOT_LOADING;
        st->in_set[needs[i].expert] = 1;
        st->need[i] = (mox_need_entry){
            .need = needs[i],
            .state = MOX_NEED_QUEUED,
            .served = slot == MOX_SLOT_NONE ? MOX_SERVED_FILE
                      : loading             ? MOX_SERVED_LATE
                                            : MOX_SERVED_RAM,
        };
        count_use(st, &st->need[i]);
        mox_policy_touch(&l->stats[needs[i].expert], l->step, needs[i].n_uses);
    }
    mox_guess_learn(st, layer);
    mox_ahead_refute(st, layer);
    /* Residents and joins first: from then on no miss of this step can take their slots. */
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < n; i++) {
            if ((st->need[i].served == MOX_SERVED_FILE) == (pass == 1)) {
                place_need(st, &st->need[i]);
            }
        }
    }
    mox_ahead_issue(st);
    mox_files_wake(st);
    pthread_mutex_unlock(&st->lock);
}

static void start_queued(mox_store *st)
{
    bool started = false;
    for (uint32_t i = 0; i < st->n_needs; i++) {
        mox_need_entry *n = &st->need[i];
        if (n->state == MOX_NEED_QUEUED) {
            place_need(st, n);
            if (n->state == MOX_NEED_QUEUED) {
                break;
            }
            started = true;
        }
    }
    if (started) {
        mox_files_wake(st);
    }
}

static void lease(mox_store *st, mox_need_entry *n, mox_lease *out)
{
    n->state = MOX_NEED_LEASED;
    *out = (mox_lease){n->need.expert, n->served, st->info[n->slot].bytes, n->slot, n->generation, false};
}

/* A resident, else the load that ended first; false: nothing yet. */
static bool try_lease(mox_store *st, mox_lease *out)
{
    mox_need_entry *first = NULL;
    for (uint32_t i = 0; i < st->n_needs; i++) {
        mox_need_entry *n = &st->need[i];
        if (n->state == MOX_NEED_RESIDENT) {
            mox_ram_apply(st, MOX_SLOT_PIN, n->slot, n->generation);
            lease(st, n, out);
            return true;
        }
        if (n->state == MOX_NEED_WAITING && st->slots.slot[n->slot].state == MOX_SLOT_PINNED &&
            (!first || st->info[n->slot].load.arrived < st->info[first->slot].load.arrived)) {
            first = n;
        }
    }
    if (first) { /* pinned for us by its last read */
        lease(st, first, out);
    }
    return first != NULL;
}

mox_err mox_step_fail(mox_store *st, mox_need_entry *n)
{
    mox_load_error error = st->info[n->slot].load.error;
    mox_ram_apply(st, MOX_SLOT_TOLD, n->slot, n->generation);
    n->state = MOX_NEED_DONE;
    st->failed = true;
    return mox_files_fail(st, st->cur_layer, n->need.expert, &error);
}

static mox_err try_fail(mox_store *st)
{
    for (uint32_t i = 0; i < st->n_needs; i++) {
        mox_need_entry *n = &st->need[i];
        if (n->state == MOX_NEED_WAITING && st->slots.slot[n->slot].state == MOX_SLOT_FAILED) {
            return mox_step_fail(st, n);
        }
    }
    return MOX_OK;
}

/* Whether waiting can bring anything: a load or a zombie is under way, or nothing is left to wait for. */
typedef enum progress { WAIT, ALL_LEASED, STUCK } progress;

static progress look(const mox_store *st)
{
    bool waiting = false, queued = false;
    for (uint32_t i = 0; i < st->n_needs; i++) {
        waiting = waiting || st->need[i].state == MOX_NEED_WAITING;
        queued = queued || st->need[i].state == MOX_NEED_QUEUED;
    }
    if (!waiting && !queued) {
        return ALL_LEASED;
    }
    if (waiting) {
        return WAIT;
    }
    for (uint32_t i = 0; i < st->slots.n; i++) {
        mox_slot_state s = st->slots.slot[i].state;
        if (s == MOX_SLOT_LOADING || s == MOX_SLOT_ZOMBIE || s == MOX_SLOT_FAILED) {
            return WAIT;
        }
    }
    return STUCK;
}

mox_err mox_store_next(mox_store *st, mox_lease *out, uint32_t max, uint32_t *n)
{
    mox_err err = MOX_OK;
    uint64_t since = 0;
    pthread_mutex_lock(&st->lock);
    *n = 0;
    for (;;) {
        err = try_fail(st);
        if (err != MOX_OK) {
            break;
        }
        start_queued(st);
        while (*n < max && try_lease(st, &out[*n])) {
            (*n)++;
        }
        progress p = look(st);
        if (*n > 0 || p == ALL_LEASED) {
            break;
        }
        if (mox_vram_waited(st, &err)) { /* a copy into or out of a slot that this step waits for */
            if (err != MOX_OK) {
                break;
            }
            continue;
        }
        if (p == STUCK) {
            err = MOX_FAIL(MOX_E_INTERNAL, "store: next() with every transit slot leased; release one first");
            break;
        }
        if (max > 0 && mox_arriving_lease(st, out)) {
            *n = 1;
            break;
        }
        since = since ? since : mox_now_ns();
        pthread_cond_wait(&st->changed, &st->lock);
    }
    if (since) {
        st->count.wait_ns[st->cur_phase] += mox_now_ns() - since;
    }
    pthread_mutex_unlock(&st->lock);
    return err;
}

static mox_need_entry *find_need(mox_store *st, uint32_t expert)
{
    for (uint32_t i = 0; i < st->n_needs; i++) {
        if (st->need[i].need.expert == expert) {
            return &st->need[i];
        }
    }
    return NULL;
}

static void give_back(mox_store *st, mox_need_entry *n)
{
    mox_ram_apply(st, MOX_SLOT_UNPIN, n->slot, n->generation);
    mox_ram_apply(st, MOX_SLOT_UNNEED, n->slot, n->generation);
    n->state = MOX_NEED_DONE;
}

void mox_store_release(mox_store *st, const mox_lease *l)
{
    pthread_mutex_lock(&st->lock);
    mox_need_entry *n = find_need(st, l->expert);
    if (n && n->state == MOX_NEED_LEASED && n->slot == l->slot_idx && n->generation == l->generation) {
        give_back(st, n);
        start_queued(st);
    }
    pthread_mutex_unlock(&st->lock);
}

/* Of a step that ended early: whatever it still holds or waits for. */
static void abandon(mox_store *st, mox_need_entry *n)
{
    if (n->state == MOX_NEED_QUEUED) { /* it never had a slot */
        n->state = MOX_NEED_DONE;
        return;
    }
    mox_slot_state s = st->slots.slot[n->slot].state;
    bool waiting = n->state == MOX_NEED_WAITING || n->state == MOX_NEED_ARRIVING;
    if (n->state == MOX_NEED_RESIDENT) {
        mox_ram_apply(st, MOX_SLOT_UNNEED, n->slot, n->generation);
    } else if (n->state == MOX_NEED_LEASED || (waiting && s == MOX_SLOT_PINNED)) {
        give_back(st, n);
    } else if (waiting && s == MOX_SLOT_FAILED) {
        mox_ram_apply(st, MOX_SLOT_TOLD, n->slot, n->generation);
    } else if (waiting) {
        mox_slot_result r = mox_ram_apply(st, MOX_SLOT_LEAVE, n->slot, n->generation);
        if (r.actions & MOX_SLOT_STOP) {
            mox_files_remove(st, n->slot);
        }
    }
    n->state = MOX_NEED_DONE;
}

void mox_store_end(mox_store *st)
{
    pthread_mutex_lock(&st->lock);
    for (uint32_t i = 0; i < st->n_needs; i++) {
        if (st->need[i].state != MOX_NEED_DONE) {
            abandon(st, &st->need[i]);
        }
    }
    for (uint32_t i = 0; i < st->n_needs && !st->failed; i++) {
        uint32_t slot = st->slots.map[mox_store_key(st, st->cur_layer, st->need[i].need.expert)];
        bool ready = slot != MOX_SLOT_NONE && st->slots.slot[slot].state == MOX_SLOT_READY;
        if (ready && !st->info[slot].kept) {
            mox_ram_admit(st, st->cur_layer, slot);
        }
    }
    for (uint32_t i = 0; i < st->n_needs; i++) {
        st->in_set[st->need[i].need.expert] = 0;
    }
    st->in_step = false;
    st->step++; /* what the step used is from now on expendable */
    mox_ahead_issue(st);
    mox_files_wake(st);
    pthread_mutex_unlock(&st->lock);
}
