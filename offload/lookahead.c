/* Look-ahead: predictions become reads when a transit slot is free, and are judged when their layer begins.
 *
 * A prediction costs little and only sometimes pays, so its regret is counted: each prefetch ends as used (or
 * late, which is still a gain) or as wasted (or cancelled). When more of the last 64 were wasted than used,
 * look-ahead is off. It is then tried again with a handful of prefetches, after a pause that doubles for as
 * long as they do not pay: with predictions that are always wrong the cost goes to nothing.
 */
#include "offload/store_internal.h"

#include <string.h>

enum { MIN_OUTCOMES = 16, PROBE_READS = 4, FIRST_PAUSE = 256, LONGEST_PAUSE = 65536 };
#define FIRST_GAIN 0.5f
#define GAIN_STEP  0.0625f

void mox_ahead_init(mox_store *st)
{
    st->ahead = (mox_lookahead){.probe_pause = FIRST_PAUSE, .rng = st->cfg.seed * 2 + 1, .gain = FIRST_GAIN};
}

static void regret(mox_store *st)
{
    mox_lookahead *a = &st->ahead;
    bool pays = a->good * 2 >= a->n_outcomes;
    if (!a->off && a->n_outcomes >= MIN_OUTCOMES && !pays) {
        a->off = true;
        a->next_probe = st->step + a->probe_pause;
        a->probes_left = 0;
        a->n_pending = 0;
        a->n_outcomes = a->good = a->at = 0;
        st->count.prefetch.switched_off++;
    } else if (a->off && a->n_outcomes >= PROBE_READS) {
        a->off = !pays;
        st->count.prefetch.switched_off += !pays;
        a->probe_pause = pays ? FIRST_PAUSE : a->probe_pause * 2;
        a->probe_pause = a->probe_pause > LONGEST_PAUSE ? LONGEST_PAUSE : a->probe_pause;
        a->next_probe = st->step + a->probe_pause;
        a->probes_left = 0;
        a->n_outcomes = a->good = a->at = 0;
    }
}

static void outcome(mox_store *st, bool used)
{
    mox_lookahead *a = &st->ahead;
    if (a->off && a->next_probe != UINT64_MAX) {
        return; /* left over from before it was switched off */
    }
    if (a->n_outcomes == MOX_REGRET_WINDOW) {
        a->good -= a->outcome[a->at];
    } else {
        a->n_outcomes++;
    }
    a->outcome[a->at] = used;
    a->good += used;
    a->at = (a->at + 1) % MOX_REGRET_WINDOW;
    regret(st);
}

/* Of the parts of an expert that is needed now. */
static float arrived_share(const mox_store *st, uint32_t slot)
{
    const mox_load *load = &st->info[slot].load;
    float missing = (float)st->slots.slot[slot].parts;
    return 1.0f - missing / (float)mox_files_parts(st, load->layer, load->expert);
}

void mox_ahead_judge(mox_store *st, uint32_t slot, bool used)
{
    mox_slot_info *info = &st->info[slot];
    bool loading = st->slots.slot[slot].state == MOX_SLOT_LOADING;
    mox_prefetch_counters *c = &st->count.prefetch;
    info->prefetched = false;
    info->predicted = false;
    if (used) {
        float share = loading ? arrived_share(st, slot) : 1.0f;
        st->ahead.gain += GAIN_STEP * (share - st->ahead.gain);
        c->used += !loading;
        c->late += loading;
    } else if (loading) {
        c->cancelled++;
    } else {
        c->wasted++;
        c->wasted_bytes += st->layer[info->load.layer].slot_bytes;
    }
    outcome(st, used);
}

/* Taken back or failed before it could be judged: says nothing about the predictions, so a probe may try
 * again. */
void mox_ahead_lost(mox_store *st, uint32_t slot)
{
    mox_slot_info *info = &st->info[slot];
    if (info->prefetched) {
        info->prefetched = info->predicted = false;
        st->count.prefetch.cancelled++;
        st->ahead.probes_left += st->ahead.off;
    }
}

/* A layer step begins and its set is known: what was predicted for it and is not in it goes. */
void mox_ahead_refute(mox_store *st, uint32_t layer)
{
    mox_lookahead *a = &st->ahead;
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->n_pending; i++) {
        if (a->pending[i].layer != layer) {
            a->pending[n++] = a->pending[i];
        }
    }
    a->n_pending = n;
    for (uint32_t e = 0; e < st->cfg.n_experts; e++) {
        uint32_t slot = st->slots.map[mox_store_key(st, layer, e)];
        if (slot == MOX_SLOT_NONE || st->in_set[e] || !st->info[slot].predicted) {
            continue;
        }
        st->info[slot].predicted = false;
        if (st->info[slot].prefetched) {
            mox_ahead_judge(st, slot, false);
        }
        mox_ram_cancel(st, slot); /* refused, and nothing done, if it has arrived */
    }
}

/* While off, a probe lets a few prefetches through. */
static bool allowed(mox_store *st)
{
    mox_lookahead *a = &st->ahead;
    if (a->off && a->probes_left == 0 && st->step >= a->next_probe) {
        a->probes_left = PROBE_READS;
        a->next_probe = UINT64_MAX; /* set again when the probe has been judged */
    }
    return !a->off || a->probes_left > 0;
}

void mox_ahead_issue(mox_store *st)
{
    mox_lookahead *a = &st->ahead;
    uint32_t i = 0;
    for (; i < a->n_pending && allowed(st); i++) {
        const mox_prediction *p = &a->pending[i];
        mox_slot_result r = mox_ram_want(st, p->layer, p->expert, MOX_READ_PREFETCH);
        if (r.verdict == MOX_SLOT_NO_ROOM) {
            break;
        }
        if (r.verdict == MOX_SLOT_ALLOCATED) {
            st->count.prefetch.issued++;
            a->probes_left -= a->off;
        } else if (!st->info[r.slot].kept) {
            st->info[r.slot].predicted = true; /* here by luck: do not give its room away now */
        }
    }
    memmove(a->pending, a->pending + i, (a->n_pending - i) * sizeof *a->pending);
    a->n_pending -= i;
}

static uint32_t random_below(mox_lookahead *a, uint32_t n)
{
    a->rng = a->rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((a->rng >> 33) % n);
}

static void insert(mox_lookahead *a, mox_prediction p)
{
    uint32_t at = a->n_pending;
    if (at == MOX_PENDING_MAX) {
        return;
    }
    for (uint32_t i = 0; i < at; i++) {
        if (a->pending[i].layer == p.layer && a->pending[i].expert == p.expert) {
            return;
        }
    }
    for (; at > 0 && a->pending[at - 1].layer == p.layer && a->pending[at - 1].score < p.score; at--) {
        a->pending[at] = a->pending[at - 1];
    }
    a->pending[at] = p;
    a->n_pending++;
}

void mox_ahead_add(mox_store *st, uint32_t layer, uint32_t expert, float score)
{
    if (!allowed(st)) {
        return;
    }
    uint32_t e = st->cfg.shuffle_predictions ? random_below(&st->ahead, st->cfg.n_experts) : expert;
    if (!mox_vram_has(st, layer, e)) {
        insert(&st->ahead, (mox_prediction){layer, e, score});
    }
}

void mox_store_predict(mox_store *st, uint32_t layer, const uint32_t *experts, const float *scores,
                       uint32_t n)
{
    if (!st->cfg.look_ahead || layer >= st->cfg.n_layers) {
        return;
    }
    pthread_mutex_lock(&st->lock);
    for (uint32_t i = 0; i < n; i++) {
        mox_ahead_add(st, layer, experts[i], scores[i]);
    }
    mox_ahead_issue(st);
    mox_files_wake(st);
    pthread_mutex_unlock(&st->lock);
}

/* Those that are here or on their way already are left out, so that the list has room for the others. */
void mox_store_predict_all(mox_store *st, uint32_t layer)
{
    if (!st->cfg.look_ahead || layer >= st->cfg.n_layers) {
        return;
    }
    pthread_mutex_lock(&st->lock);
    for (uint32_t e = 0; allowed(st) && e < st->cfg.n_experts; e++) {
        uint32_t guess = st->cfg.shuffle_predictions ? random_below(&st->ahead, st->cfg.n_experts) : e;
        uint32_t slot = st->slots.map[mox_store_key(st, layer, guess)];
        if (mox_vram_has(st, layer, guess)) {
            continue;
        }
        if (slot == MOX_SLOT_NONE) {
            insert(&st->ahead, (mox_prediction){layer, guess, 1.0f});
        } else if (!st->info[slot].kept) {
            st->info[slot].predicted = true; /* here by luck, until then */
        }
    }
    mox_ahead_issue(st);
    mox_files_wake(st);
    pthread_mutex_unlock(&st->lock);
}
