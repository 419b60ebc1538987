/* The I/O thread at work: loads become reads, completions become parts of experts.
 *
 * Demand loads come first and one after the other (the first expert is then ready while the second is read),
 * prefetches fill what is left of the queue up to a cap, so that a demand never waits behind many. What a load
 * is cut into, and what happens to the bytes, differs between plain and packed files: parts_slab.c and
 * parts_record.c.
 *
 * What has landed waits for its turn, and the drive is given its next reads before: there are twice as many requests as
 * may be in flight. A drive that reports what it read in one go (a virtual machine's, mostly) is then not idle while
 * this thread repacks, and few reads in flight are enough, so that little is left to do when the last one lands.
 *
 * Everything the system can answer is decided in classify(): short reads continue from the last aligned byte,
 * EAGAIN and EINTR are tried again after growing pauses, other errors twice more, nothing at all before the
 * recorded end means that the file has changed. A wrong byte is never handed on: it is a read error with
 * the expert's name, or the file's.
 */
#include "offload/store_internal.h"

#include "runtime/core/bits.h"
#include "runtime/core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum {
    SOFT_TRIES = 8,   /* EAGAIN, EINTR, EBUSY, a cancel that was not ours */
    HARD_TRIES = 2,   /* EIO and everything else */
    SHORT_TRIES = 16, /* a read that goes on in pieces */
    REAP_MAX = 16,
};
#define FIRST_PAUSE_NS   UINT64_C(50000)
#define LONGEST_PAUSE_NS UINT64_C(50000000)
#define ID_INDEX_BITS    8

/* ---- submitting ---- */

static mox_slot_verdict slot_event(mox_store *st, mox_slot_event_kind kind, const mox_req *r, uint32_t parts,
                                   unsigned *actions)
{
    mox_slot_event e = {
        .kind = kind,
        .slot = r->slot,
        .generation = r->generation,
        .request = (uint32_t)(r - st->io.req),
        .parts = parts,
    };
    mox_slot_result res = mox_slots_apply(&st->slots, &e);
    *actions = res.actions;
    return res.verdict;
}

/* The next part of the load; lock held. Leaves the queue when it was the last. */
static void cut(mox_store *st, uint32_t slot, mox_req *r)
{
    const mox_load *load = &st->info[slot].load;
    r->slot = slot;
    r->generation = st->slots.slot[slot].generation;
    r->layer = load->layer;
    r->expert = load->expert;
    r->kind = load->kind;
    r->base = 0;
    r->soft_tries = r->hard_tries = r->short_tries = 0;
    r->cancel_sent = false;
    if (!st->io.parts->cut(st, slot, r)) {
        mox_queue_unlink(st, slot);
    }
}

static void submit(mox_store *st, mox_req *r)
{
    mox_file_tier *t = &st->io;
    r->state = MOX_REQ_FLYING;
    r->id = ++t->sequence << ID_INDEX_BITS | (uint64_t)(r - t->req);
    mox_io_req q = {
        .id = r->id,
        .file = r->file,
        .bytes = r->want - r->base,
        .off = r->off + r->base,
        .buf = r->buf + r->base,
    };
    r->begun = mox_now_ns();
    t->ops->submit(t->io, &q);
}

static mox_req *free_request(mox_file_tier *t)
{
    for (uint32_t i = 0; i < t->n_req; i++) {
        if (t->req[i].state == MOX_REQ_FREE) {
            return &t->req[i];
        }
    }
    return NULL;
}

/* Demand, then the rest; prefetches hold at most a quarter of the queue. */
static uint32_t next_load(const mox_file_tier *t, const mox_store *st)
{
    if (t->demand.head != MOX_SLOT_NONE) {
        return t->demand.head;
    }
    uint32_t slot = t->later.head;
    uint32_t cap = t->depth / 4 > 2 ? t->depth / 4 : 2;
    if (slot != MOX_SLOT_NONE && st->info[slot].load.kind == MOX_READ_PREFETCH && t->n_prefetch >= cap) {
        return MOX_SLOT_NONE;
    }
    return slot;
}

/* io_limit_bps: a drive of that speed, which serves one request after the other. A request is handed to the
 * system when such a drive would begin to serve it, so that a demand still goes before what waits, and its
 * bytes are held back until such a drive would have delivered them. False: the drive is busy for another
 * *wait_ns. */
static bool drive_free(mox_store *st, uint64_t *wait_ns)
{
    uint64_t now = st->cfg.io_limit_bps ? mox_now_ns() : 0;
    if (now >= st->io.drive_free) {
        return true;
    }
    *wait_ns = st->io.drive_free - now < *wait_ns ? st->io.drive_free - now : *wait_ns;
    return false;
}

/* Service begins when the drive is free and the load is queued, not when this thread got round to it. */
static void occupy_drive(mox_store *st, mox_req *r, uint64_t queued_at)
{
    r->not_before = 0;
    if (st->cfg.io_limit_bps) {
        uint64_t begin = st->io.drive_free > queued_at ? st->io.drive_free : queued_at;
        r->not_before = begin + (uint64_t)(1e9 * (double)r->len / (double)st->cfg.io_limit_bps);
        st->io.drive_free = r->not_before;
    }
}

static void fill_queue(mox_store *st, uint64_t *wait_ns)
{
    mox_file_tier *t = &st->io;
    mox_req *r;
    uint32_t slot;
    unsigned actions;
    pthread_mutex_lock(&st->lock);
    while (t->n_flying < t->depth && (slot = next_load(t, st)) != MOX_SLOT_NONE &&
           (r = free_request(t)) != NULL) {
        if (!drive_free(st, wait_ns)) {
            break;
        }
        cut(st, slot, r);
        occupy_drive(st, r, st->info[slot].load.queued_at);
        mox_slot_verdict v = slot_event(st, MOX_SLOT_SUBMIT, r, 0, &actions);
        if (v != MOX_SLOT_DID) { /* cannot be: only LOADING slots are queued */
            mox_queue_unlink(st, slot);
            continue;
        }
        t->n_prefetch += r->kind == MOX_READ_PREFETCH;
        if (t->n_flying++ == 0) {
            t->busy_since = mox_now_ns();
        }
        submit(st, r);
    }
    pthread_mutex_unlock(&st->lock);
}

/* ---- completions ---- */

typedef enum outcome { READ_WHOLE, READ_MORE, READ_LATER, READ_FAILED } outcome;

static outcome fail(mox_load_error *e, const mox_req *r, mox_err code, int sys)
{
    *e = (mox_load_error){code, sys, r->piece, r->file, r->off + r->base};
    return READ_FAILED;
}

static outcome classify_error(const mox_file_tier *t, mox_req *r, int sys, mox_load_error *e)
{
    bool soft = sys == EAGAIN || sys == EINTR || sys == EBUSY || sys == ECANCELED;
    if (soft && r->soft_tries < SOFT_TRIES) {
        uint64_t pause = FIRST_PAUSE_NS << 2 * r->soft_tries++;
        r->retry_at = mox_now_ns() + (pause < LONGEST_PAUSE_NS ? pause : LONGEST_PAUSE_NS);
        return READ_LATER;
    }
    if (!soft && r->hard_tries < HARD_TRIES) {
        r->hard_tries++;
        return READ_MORE;
    }
    bool same = mox_io_file_same(&t->file[r->file], t->path[r->file]) == MOX_OK;
    return fail(e, r, same ? MOX_E_IO : MOX_E_CHANGED, sys);
}

/* What a completion means. READ_MORE: submit again from r->base. */
static outcome classify(const mox_file_tier *t, mox_req *r, int32_t res, mox_load_error *e)
{
    if (res < 0) {
        return classify_error(t, r, -res, e);
    }
    uint32_t got = r->base + (uint32_t)res;
    if (got >= r->skip + r->len) {
        return READ_WHOLE;
    }
    if (res == 0) {
        return fail(e, r, MOX_E_CHANGED, 0); /* the payload lies before the end recorded at open */
    }
    if (r->short_tries++ >= SHORT_TRIES) {
        return fail(e, r, MOX_E_IO, EIO);
    }
    r->base = got & ~(t->file[r->file].align - 1);
    return READ_MORE;
}

/* It is not in flight any more; lock held. */
static void end_flight(mox_store *st)
{
    mox_file_tier *t = &st->io;
    if (--t->n_flying == 0) {
        st->count.io.busy_ns += mox_now_ns() - t->busy_since;
    }
}

static void release_request(mox_store *st, mox_req *r)
{
    if (r->state != MOX_REQ_LANDED) {
        end_flight(st);
    }
    r->state = MOX_REQ_FREE;
    st->io.n_prefetch -= r->kind == MOX_READ_PREFETCH;
}

/* All of it is in its buffer; lock held. */
static void land(mox_store *st, mox_req *r)
{
    mox_file_tier *t = &st->io;
    t->landed[(t->landed_at + t->n_landed++) % MOX_STORE_MAX_REQS] = (uint32_t)(r - t->req);
    end_flight(st);
    r->state = MOX_REQ_LANDED;
}

static void wake_waiters(mox_store *st, const mox_req *r, unsigned actions)
{
    if (actions & MOX_SLOT_STOP) {
        mox_files_remove(st, r->slot);
    }
    if (actions & MOX_SLOT_WAKE) {
        st->info[r->slot].load.arrived = ++st->arrivals;
        st->info[r->slot].load.n_slices = 0;
    }
    if (actions & (MOX_SLOT_WAKE | MOX_SLOT_FREED)) {
        pthread_cond_broadcast(&st->changed);
    }
}

/* Its load still goes on; lock held. */
static bool wanted(const mox_store *st, const mox_req *r)
{
    const mox_slot *s = &st->slots.slot[r->slot];
    return s->state == MOX_SLOT_LOADING && s->generation == r->generation;
}

/* The read will not deliver: its load fails, or was given up before. Lock held. */
static void drop(mox_store *st, mox_req *r, const mox_load_error *e)
{
    unsigned actions;
    if (st->slots.slot[r->slot].state == MOX_SLOT_LOADING) {
        st->info[r->slot].load.error = *e;
    }
    slot_event(st, MOX_SLOT_READ_FAILED, r, 0, &actions);
    if (actions & MOX_SLOT_STOP) {
        mox_ahead_lost(st, r->slot);
    }
    wake_waiters(st, r, actions);
    release_request(st, r);
}

/* What was done for an expert, for the trace; lock held. */
static void record(mox_store *st, const mox_req *r, mox_span_kind kind, uint32_t lane, uint64_t begin_ns)
{
    if (st->trace) {
        mox_trace_span s = {.kind = (uint8_t)kind,
                            .lane = (uint8_t)lane,
                            .phase = (uint8_t)st->cur_phase,
                            .layer = (uint16_t)r->layer,
                            .expert = (uint16_t)r->expert,
                            .amount = r->want - r->base,
                            .detail = (uint8_t)r->kind};
        mox_trace_put_span(st->trace, begin_ns, mox_now_ns(), &s);
    }
}

/* The payload is in the slot. */
static void delivered(mox_store *st, mox_req *r, uint64_t begin_ns)
{
    pthread_mutex_lock(&st->lock);
    record(st, r, MOX_SPAN_PLACE, MOX_LANE_IO, begin_ns);
    mox_slot_event_kind kind = MOX_SLOT_READ_DONE;
    uint32_t parts = 0;
    unsigned actions;
    if (wanted(st, r)) {
        kind = st->io.parts->arrived(st, r, &parts);
        if (kind == MOX_SLOT_READ_AGAIN && !st->info[r->slot].load.queued) {
            mox_queue_push(st, r->slot);
        }
        mox_arriving_wake(st, r->slot);
    }
    slot_event(st, kind, r, parts, &actions);
    if (actions & MOX_SLOT_STOP) {
        mox_ahead_lost(st, r->slot);
    }
    wake_waiters(st, r, actions);
    release_request(st, r);
    pthread_mutex_unlock(&st->lock);
}

static void count_read(mox_store *st, const mox_req *r, int32_t res, outcome o)
{
    mox_io_counters *c = &st->count.io;
    uint64_t bytes = res > 0 ? (uint64_t)res : 0;
    c->read_requests++;
    c->read_bytes += bytes;
    *(r->kind == MOX_READ_FILL     ? &c->fill_bytes
      : r->kind == MOX_READ_DEMAND ? &c->demand_bytes
                                   : &c->prefetch_bytes) += bytes;
    c->short_reads += o == READ_MORE && res > 0;
    c->retries += (o == READ_MORE || o == READ_LATER) && res < 0;
}

/* The one that landed first goes to its slot, unless its load was given up meanwhile. */
static void place_landed(mox_store *st)
{
    mox_file_tier *t = &st->io;
    mox_req *r = &t->req[t->landed[t->landed_at]];
    t->landed_at = (t->landed_at + 1) % MOX_STORE_MAX_REQS;
    t->n_landed--;
    pthread_mutex_lock(&st->lock);
    bool go = wanted(st, r);
    if (!go) {
        drop(st, r, &(mox_load_error){.code = MOX_OK});
    }
    pthread_mutex_unlock(&st->lock);
    if (!go) {
        return;
    }
    uint64_t begin_ns = mox_now_ns();
    t->parts->place(st, r);
    if (!t->file[r->file].direct) { /* expert data are not left in the page cache */
        posix_fadvise(t->fd[r->file], (off_t)r->off, r->want, POSIX_FADV_DONTNEED);
    }
    delivered(st, r, begin_ns);
}

static void completed(mox_store *st, const mox_io_done *done)
{
    mox_file_tier *t = &st->io;
    uint32_t index = (uint32_t)(done->id & ((1u << ID_INDEX_BITS) - 1));
    if (index >= t->n_req || t->req[index].id != done->id || t->req[index].state != MOX_REQ_FLYING) {
        return; /* counted before */
    }
    mox_req *r = &t->req[index];
    mox_load_error e = {.code = MOX_OK};
    outcome o = classify(t, r, done->res, &e);
    pthread_mutex_lock(&st->lock);
    bool go = wanted(st, r);
    count_read(st, r, done->res, go ? o : READ_WHOLE);
    record(st, r, MOX_SPAN_READ, MOX_LANE_READ + index, r->begun);
    if (!go || o == READ_FAILED) {
        drop(st, r, &e);
    } else if (o == READ_WHOLE && r->not_before > mox_now_ns()) {
        r->retry_at = r->not_before;
        r->state = MOX_REQ_HELD;
    } else if (o == READ_WHOLE) {
        land(st, r);
    } else if (o == READ_MORE) {
        submit(st, r);
    } else {
        r->state = MOX_REQ_RETRY;
    }
    pthread_mutex_unlock(&st->lock);
}

/* Reads whose pause is over go out again, bytes that were held back have landed; what was given up
 * meanwhile ends here. */
static void resume_paused(mox_store *st, uint64_t *wait_ns)
{
    mox_file_tier *t = &st->io;
    uint64_t now = 0;
    for (uint32_t i = 0; i < t->n_req; i++) {
        mox_req *r = &t->req[i];
        if (r->state != MOX_REQ_RETRY && r->state != MOX_REQ_HELD) {
            continue;
        }
        now = now ? now : mox_now_ns();
        if (now < r->retry_at) {
            *wait_ns = r->retry_at - now < *wait_ns ? r->retry_at - now : *wait_ns;
            continue;
        }
        pthread_mutex_lock(&st->lock);
        if (!wanted(st, r)) {
            drop(st, r, &(mox_load_error){.code = MOX_OK});
        } else if (r->state == MOX_REQ_HELD) {
            land(st, r);
        } else {
            submit(st, r);
        }
        pthread_mutex_unlock(&st->lock);
    }
}

/* Loads were given up: ask the backend to forget their reads. */
static void send_cancels(mox_store *st)
{
    mox_file_tier *t = &st->io;
    pthread_mutex_lock(&st->lock);
    bool pending = t->cancel_pending;
    t->cancel_pending = false;
    for (uint32_t i = 0; pending && i < t->n_req; i++) {
        mox_req *r = &t->req[i];
        if (r->state == MOX_REQ_FLYING && !r->cancel_sent &&
            st->slots.slot[r->slot].state != MOX_SLOT_LOADING) {
            r->cancel_sent = true;
            t->ops->cancel(t->io, r->id);
        }
    }
    pthread_mutex_unlock(&st->lock);
}

static bool stopping(mox_store *st)
{
    pthread_mutex_lock(&st->lock);
    bool stop = st->io.stop;
    pthread_mutex_unlock(&st->lock);
    return stop;
}

void mox_reads_serve(mox_store *st)
{
    mox_file_tier *t = &st->io;
    mox_io_done done[REAP_MAX];
    bool stop = false;
    while (!stop || t->n_flying > 0 || t->n_landed > 0) {
        uint64_t wait_ns = UINT64_MAX;
        send_cancels(st);
        resume_paused(st, &wait_ns);
        if (!stop) {
            fill_queue(st, &wait_ns);
        }
        uint32_t n = t->ops->reap(t->io, done, REAP_MAX, t->n_landed > 0 ? 0 : wait_ns);
        for (uint32_t i = 0; i < n; i++) {
            completed(st, &done[i]);
        }
        if (t->n_landed > t->n_req - t->depth || (n == 0 && t->n_landed > 0)) {
            place_landed(st);
        }
        stop = stopping(st);
    }
}
