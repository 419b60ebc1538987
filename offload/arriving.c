/* Experts that are computed while their last parts still arrive, of packed and of plain files.
 *
 * When nothing else can be leased, a need whose load is under way is: as soon as half of its slices are there, in
 * their order in the slot. The step thread then asks for more (mox_store_arrived) until it has them all, waiting each
 * time for half of what is missing: computing takes a fraction of what reading takes, so what is left to do when the
 * last part lands is the last slice or two, and the thread is woken a handful of times for an expert.
 *
 * A load that somebody waits for ends PINNED or FAILED, and until then nobody can take its slot (slot.c). What was
 * computed counts only when the load has ended well: a read error, a file that changed or a slice that differs for good
 * reach the step as they do without this. Parts behind arrived_slices may be read a second time, those before it never
 * are (parts_record.c); a load of a plain file that is compared with its first read is not used early.
 */
#include "offload/store_internal.h"

#include "runtime/core/clock.h"

/* Of all slices at first, of those still missing later. */
static uint32_t half_of(uint32_t n)
{
    return n / 2 + n % 2;
}

bool mox_arriving_lease(mox_store *st, mox_lease *out)
{
    mox_need_entry *best = NULL;
    uint32_t most = 0;
    for (uint32_t i = 0; i < st->n_needs && st->cfg.lease_arriving; i++) {
        mox_need_entry *n = &st->need[i];
        if (n->state != MOX_NEED_WAITING || st->slots.slot[n->slot].state != MOX_SLOT_LOADING) {
            continue;
        }
        mox_load *load = &st->info[n->slot].load;
        if (mox_ram_apply(st, MOX_SLOT_EARLY, n->slot, n->generation).verdict != MOX_SLOT_DID) {
            continue;
        }
        load->wake_slices = half_of(load->n_slices);
        if (load->wake_slices != 0 && load->arrived_slices >= load->wake_slices &&
            load->arrived_slices > most) {
            most = load->arrived_slices;
            best = n;
        }
    }
    if (best) {
        best->state = MOX_NEED_ARRIVING;
        *out = (mox_lease){.expert = best->need.expert,
                           .served = best->served,
                           .slot = st->info[best->slot].bytes,
                           .slot_idx = best->slot,
                           .generation = best->generation,
                           .arriving = true};
    }
    return best != NULL;
}

static mox_need_entry *arriving_need(mox_store *st, const mox_lease *l)
{
    for (uint32_t i = 0; i < st->n_needs; i++) {
        if (st->need[i].need.expert == l->expert && st->need[i].state == MOX_NEED_ARRIVING) {
            return &st->need[i];
        }
    }
    return NULL;
}

mox_err mox_store_arrived(mox_store *st, const mox_lease *l, uint32_t *slices)
{
    mox_err err = MOX_OK;
    uint64_t since = 0;
    uint32_t had = *slices;
    pthread_mutex_lock(&st->lock);
    mox_need_entry *n = arriving_need(st, l);
    *slices = UINT32_MAX;
    while (n) {
        mox_load *load = &st->info[n->slot].load;
        mox_slot_state s = st->slots.slot[n->slot].state;
        if (s == MOX_SLOT_FAILED) {
            err = mox_step_fail(st, n);
            break;
        }
        if (s != MOX_SLOT_LOADING) { /* pinned for us by its last read */
            n->state = MOX_NEED_LEASED;
            break;
        }
        uint32_t want = had == 0 ? 1 : had + half_of(load->n_slices - had);
        if (load->arrived_slices >= want) {
            *slices = load->arrived_slices;
            break;
        }
        load->wake_slices = want;
        since = since ? since : mox_now_ns();
        pthread_cond_wait(&st->changed, &st->lock);
    }
    if (since) {
        st->count.wait_ns[st->cur_phase] += mox_now_ns() - since;
    }
    pthread_mutex_unlock(&st->lock);
    return err;
}

void mox_arriving_wake(mox_store *st, uint32_t slot)
{
    mox_load *load = &st->info[slot].load;
    if (load->wake_slices != 0 && load->arrived_slices >= load->wake_slices) {
        load->wake_slices = 0;
        pthread_cond_broadcast(&st->changed);
    }
}
