/* The file tier: one I/O thread that turns loads into reads and reads into slots.
 *
 * A load is cut into parts: runs of whole row groups of one slab, about io_request_bytes each, widened to the
 * file's alignment and read into a staging buffer; from there the payload is hashed and repacked into the
 * slot. Demand loads come first and one after the other (the first expert is then ready while the second is
 * read), prefetches fill what is left of the queue up to a cap, so that a demand never waits behind many.
 *
 * Everything the system can answer is decided in classify(): short reads continue from the last aligned byte,
 * EAGAIN and EINTR are tried again after growing pauses, other errors twice more, nothing at all before the
 * recorded end means that the file has changed. A wrong byte is never handed on: it is a read error with
 * the expert's name, or the file's.
 *
 * Hashes: the parts of a slab arrive in any order, so the slab's hash is the sum of its parts' hashes, each
 * seeded with its first row.
 */
#include "offload/store_internal.h"

#include "runtime/core/bits.h"
#include "runtime/core/clock.h"
#include "runtime/core/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    SOFT_TRIES = 8,   /* EAGAIN, EINTR, EBUSY, a cancel that was not ours */
    HARD_TRIES = 2,   /* EIO and everything else */
    SHORT_TRIES = 16, /* a read that goes on in pieces */
    EDGE = 4096,      /* the largest alignment, see files.c */
    REAP_MAX = 4,     /* few at once, so that freed buffers go back to the queue soon */
    SAMPLE = 64,      /* MOX_VERIFY_SAMPLE: one load in so many is compared */
};
#define FIRST_PAUSE_NS   UINT64_C(50000)
#define LONGEST_PAUSE_NS UINT64_C(50000000)
#define ID_INDEX_BITS    8

/* ---- cutting ---- */

static mox_slab_src source(const mox_store *st, uint32_t layer, uint32_t expert, uint32_t slab)
{
    mox_slab_src src = {0};
    st->cfg.layout.source(st->cfg.layout.ctx, layer, expert, slab, &src);
    return src;
}

static uint32_t rows_per_part(const mox_store *st, const mox_slab_src *src)
{
    uint32_t group = st->cfg.layout.row_group;
    uint64_t groups = st->io.request_bytes / (src->row_bytes * group);
    uint64_t rows = (groups ? groups : 1) * group;
    return rows < src->n_rows ? (uint32_t)rows : src->n_rows;
}

static uint32_t slab_parts(const mox_store *st, const mox_slab_src *src)
{
    return mox_div_up(src->n_rows, rows_per_part(st, src));
}

uint32_t mox_files_parts(const mox_store *st, uint32_t layer, uint32_t expert)
{
    uint32_t parts = 0;
    for (uint32_t slab = 0; slab < st->cfg.layout.n_slabs; slab++) {
        mox_slab_src src = source(st, layer, expert, slab);
        parts += slab_parts(st, &src);
    }
    return parts;
}

/* One staging buffer: the target size, or one row group where that is more, and both widened edges. */
size_t mox_files_buffer_bytes(const mox_store_cfg *cfg)
{
    size_t bytes = cfg->io_request_bytes;
    for (uint32_t layer = 0; layer < cfg->n_layers; layer++) {
        for (uint32_t slab = 0; slab < cfg->layout.n_slabs; slab++) {
            mox_slab_src src = {0};
            cfg->layout.source(cfg->layout.ctx, layer, 0, slab, &src);
            size_t group = src.row_bytes * cfg->layout.row_group;
            bytes = group > bytes ? group : bytes;
        }
    }
    return mox_round_up(bytes, EDGE) + 2 * EDGE;
}

/* ---- queues (lock held) ---- */

static mox_queue *queue_of(mox_store *st, const mox_load *load)
{
    return load->kind == MOX_READ_DEMAND ? &st->io.demand : &st->io.later;
}

static void push(mox_store *st, uint32_t slot)
{
    mox_load *load = &st->info[slot].load;
    mox_queue *q = queue_of(st, load);
    load->prev = q->tail;
    load->next = MOX_SLOT_NONE;
    load->queued = true;
    load->queued_at = st->cfg.io_limit_bps ? mox_now_ns() : 0;
    if (q->tail == MOX_SLOT_NONE) {
        q->head = slot;
    } else {
        st->info[q->tail].load.next = slot;
    }
    q->tail = slot;
}

static void unlink_load(mox_store *st, uint32_t slot)
{
    mox_load *load = &st->info[slot].load;
    if (!load->queued) {
        return;
    }
    mox_queue *q = queue_of(st, load);
    *(load->prev == MOX_SLOT_NONE ? &q->head : &st->info[load->prev].load.next) = load->next;
    *(load->next == MOX_SLOT_NONE ? &q->tail : &st->info[load->next].load.prev) = load->prev;
    load->queued = false;
}

static uint64_t *stored_hash(mox_store *st, const mox_load *load, uint32_t slab)
{
    size_t at = (size_t)mox_store_key(st, load->layer, load->expert) * st->cfg.layout.n_slabs + slab;
    return &st->io.hashes[at];
}

/* Compared: every slab that has a hash, in each load or in one of 64 of those that were read whole before.
 * Hashed: what may be compared, and what has no hash yet. */
static void choose_check(mox_store *st, mox_load *load)
{
    bool whole = true;
    for (uint32_t slab = 0; slab < st->cfg.layout.n_slabs; slab++) {
        whole = whole && *stored_hash(st, load, slab) != 0;
    }
    bool sampled = whole && st->io.reloads++ % SAMPLE == 0;
    load->check = st->cfg.verify == MOX_VERIFY_ALWAYS || (st->cfg.verify == MOX_VERIFY_SAMPLE && sampled);
    load->hashed = load->check || (!whole && st->cfg.verify != MOX_VERIFY_OFF);
}

void mox_files_queue(mox_store *st, uint32_t slot, mox_read_kind kind)
{
    mox_load *load = &st->info[slot].load;
    load->kind = kind;
    load->slab = load->row = 0;
    load->again = load->was_again = 0;
    memset(load->hash, 0, sizeof load->hash);
    load->error = (mox_load_error){.code = MOX_OK};
    for (uint32_t slab = 0; slab < st->cfg.layout.n_slabs; slab++) {
        load->rows_left[slab] = source(st, load->layer, load->expert, slab).n_rows;
    }
    choose_check(st, load);
    push(st, slot);
}

void mox_files_raise(mox_store *st, uint32_t slot)
{
    mox_load *load = &st->info[slot].load;
    bool queued = load->queued;
    unlink_load(st, slot);
    load->kind = MOX_READ_DEMAND;
    if (queued) {
        push(st, slot);
    }
}

void mox_files_remove(mox_store *st, uint32_t slot)
{
    unlink_load(st, slot);
    st->io.cancel_pending = true;
}

void mox_files_wake(mox_store *st)
{
    if (st->io.thread_up) {
        st->io.ops->wake(st->io.io);
    }
}

/* ---- submitting (I/O thread) ---- */

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
    mox_load *load = &st->info[slot].load;
    uint32_t n_slabs = st->cfg.layout.n_slabs;
    if (load->slab == n_slabs) { /* the first pass is over: a slab to read again */
        load->slab = (uint32_t)__builtin_ctz(load->again);
        load->again &= ~(1u << load->slab);
        load->row = 0;
    }
    mox_slab_src src = source(st, load->layer, load->expert, load->slab);
    uint32_t left = src.n_rows - load->row;
    uint32_t rows = rows_per_part(st, &src);
    r->slot = slot;
    r->generation = st->slots.slot[slot].generation;
    r->layer = load->layer;
    r->expert = load->expert;
    r->slab = load->slab;
    r->row0 = load->row;
    r->n_rows = rows < left ? rows : left;
    r->file = src.file;
    r->kind = load->kind;
    const mox_io_file *f = &st->io.file[src.file];
    uint64_t off = src.off + (uint64_t)r->row0 * src.row_bytes;
    r->len = (uint32_t)(r->n_rows * src.row_bytes);
    r->off = off & ~(uint64_t)(f->align - 1);
    r->skip = (uint32_t)(off - r->off);
    r->want = (uint32_t)mox_round_up(r->skip + r->len, f->align);
    r->base = 0;
    r->soft_tries = r->hard_tries = r->short_tries = 0;
    r->cancel_sent = false;
    load->row += r->n_rows;
    if (load->row == src.n_rows) {
        load->row = 0;
        bool first_pass = (load->was_again >> load->slab & 1) == 0;
        load->slab = first_pass ? load->slab + 1 : n_slabs;
        if (load->slab == n_slabs && load->again == 0) {
            unlink_load(st, slot);
        }
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
    t->ops->submit(t->io, &q);
}

static mox_req *free_request(mox_file_tier *t)
{
    for (uint32_t i = 0; i < t->depth; i++) {
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
    while ((slot = next_load(t, st)) != MOX_SLOT_NONE && (r = free_request(t)) != NULL) {
        if (!drive_free(st, wait_ns)) {
            break;
        }
        cut(st, slot, r);
        occupy_drive(st, r, st->info[slot].load.queued_at);
        mox_slot_verdict v = slot_event(st, MOX_SLOT_SUBMIT, r, 0, &actions);
        if (v != MOX_SLOT_DID) { /* cannot be: only LOADING slots are queued */
            unlink_load(st, slot);
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

/* ---- completions (I/O thread) ---- */

typedef enum outcome { READ_WHOLE, READ_MORE, READ_LATER, READ_FAILED } outcome;

static outcome fail(mox_load_error *e, const mox_req *r, mox_err code, int sys)
{
    *e = (mox_load_error){code, sys, r->slab, r->file, r->off + r->base};
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

static void release_request(mox_store *st, mox_req *r)
{
    mox_file_tier *t = &st->io;
    r->state = MOX_REQ_FREE;
    t->n_prefetch -= r->kind == MOX_READ_PREFETCH;
    if (--t->n_flying == 0) {
        st->count.io.busy_ns += mox_now_ns() - t->busy_since;
    }
}

static void wake_waiters(mox_store *st, const mox_req *r, unsigned actions)
{
    if (actions & MOX_SLOT_STOP) {
        mox_files_remove(st, r->slot);
    }
    if (actions & MOX_SLOT_WAKE) {
        st->info[r->slot].load.arrived = ++st->arrivals;
    }
    if (actions & (MOX_SLOT_WAKE | MOX_SLOT_FREED)) {
        pthread_cond_broadcast(&st->changed);
    }
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

/* The last part of a slab is in. MOX_SLOT_READ_DONE, _AGAIN (with *parts more reads) or _FAILED. Lock held.
 */
static mox_slot_event_kind slab_complete(mox_store *st, mox_load *load, const mox_req *r, uint32_t *parts)
{
    mox_file_tier *t = &st->io;
    mox_slab_src src = source(st, load->layer, load->expert, r->slab);
    load->error = (mox_load_error){MOX_E_CHANGED, 0, r->slab, src.file, src.off};
    if (mox_io_file_same(&t->file[src.file], t->path[src.file]) != MOX_OK) {
        return MOX_SLOT_READ_FAILED;
    }
    uint64_t *stored = stored_hash(st, load, r->slab);
    if (load->hashed && *stored == 0) {
        *stored = load->hash[r->slab];
        return MOX_SLOT_READ_DONE;
    }
    if (!load->check) {
        return MOX_SLOT_READ_DONE;
    }
    st->count.io.verified++;
    if (load->hash[r->slab] == *stored) {
        return MOX_SLOT_READ_DONE;
    }
    st->count.io.verify_failed++;
    uint32_t bit = 1u << r->slab;
    if (load->was_again & bit) {
        load->error.code = MOX_E_CORRUPT;
        return MOX_SLOT_READ_FAILED;
    }
    st->count.io.rereads++;
    load->again |= bit;
    load->was_again |= bit;
    load->rows_left[r->slab] = src.n_rows;
    load->hash[r->slab] = 0;
    *parts = slab_parts(st, &src);
    if (!load->queued) {
        push(st, r->slot);
    }
    return MOX_SLOT_READ_AGAIN;
}

/* The payload is in the slot. */
static void delivered(mox_store *st, mox_req *r, uint64_t hash)
{
    pthread_mutex_lock(&st->lock);
    mox_load *load = &st->info[r->slot].load;
    mox_slot_event_kind kind = MOX_SLOT_READ_DONE;
    uint32_t parts = 0;
    unsigned actions;
    const mox_slot *s = &st->slots.slot[r->slot];
    if (s->state == MOX_SLOT_LOADING && s->generation == r->generation) {
        load->hash[r->slab] += hash;
        load->rows_left[r->slab] -= r->n_rows;
        if (load->rows_left[r->slab] == 0) {
            kind = slab_complete(st, load, r, &parts);
        }
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

static void deliver(mox_store *st, mox_req *r)
{
    const uint8_t *payload = r->buf + r->skip;
    const mox_file_tier *t = &st->io;
    mox_slot_info *info = &st->info[r->slot];
    uint64_t hash = 0;
    if (info->load.hashed) { /* set before the read was queued */
        hash = mox_hash64(payload, r->len, r->row0);
    }
    st->cfg.layout.repack(st->cfg.layout.ctx, r->layer, r->slab, r->row0, r->n_rows, payload, info->bytes);
    if (!t->file[r->file].direct) { /* expert data are not left in the page cache */
        posix_fadvise(t->fd[r->file], (off_t)r->off, r->want, POSIX_FADV_DONTNEED);
    }
    delivered(st, r, hash);
}

static void completed(mox_store *st, const mox_io_done *done)
{
    mox_file_tier *t = &st->io;
    uint32_t index = (uint32_t)(done->id & ((1u << ID_INDEX_BITS) - 1));
    if (index >= t->depth || t->req[index].id != done->id || t->req[index].state != MOX_REQ_FLYING) {
        return; /* counted before */
    }
    mox_req *r = &t->req[index];
    mox_load_error e = {.code = MOX_OK};
    outcome o = classify(t, r, done->res, &e);
    pthread_mutex_lock(&st->lock);
    const mox_slot *s = &st->slots.slot[r->slot];
    bool wanted = s->state == MOX_SLOT_LOADING && s->generation == r->generation;
    count_read(st, r, done->res, wanted ? o : READ_WHOLE);
    if (!wanted || o == READ_FAILED) {
        drop(st, r, &e);
        pthread_mutex_unlock(&st->lock);
        return;
    }
    pthread_mutex_unlock(&st->lock);
    if (o == READ_WHOLE && r->not_before > mox_now_ns()) {
        r->retry_at = r->not_before;
        r->state = MOX_REQ_HELD;
    } else if (o == READ_WHOLE) {
        deliver(st, r);
    } else if (o == READ_MORE) {
        submit(st, r);
    } else {
        r->state = MOX_REQ_RETRY;
    }
}

/* Reads whose pause is over go out again, bytes that were held back are delivered; what was given up
 * meanwhile ends here. */
static void resume_paused(mox_store *st, uint64_t *wait_ns)
{
    mox_file_tier *t = &st->io;
    uint64_t now = 0;
    for (uint32_t i = 0; i < t->depth; i++) {
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
        bool wanted = st->slots.slot[r->slot].state == MOX_SLOT_LOADING;
        if (!wanted) {
            drop(st, r, &(mox_load_error){.code = MOX_OK});
        }
        pthread_mutex_unlock(&st->lock);
        if (wanted && r->state == MOX_REQ_HELD) {
            deliver(st, r);
        } else if (wanted) {
            submit(st, r);
        }
    }
}

/* Loads were given up: ask the backend to forget their reads. */
static void send_cancels(mox_store *st)
{
    mox_file_tier *t = &st->io;
    pthread_mutex_lock(&st->lock);
    bool pending = t->cancel_pending;
    t->cancel_pending = false;
    for (uint32_t i = 0; pending && i < t->depth; i++) {
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

static void serve(mox_store *st)
{
    mox_file_tier *t = &st->io;
    mox_io_done done[REAP_MAX];
    bool stop = false;
    while (!stop || t->n_flying > 0) {
        uint64_t wait_ns = UINT64_MAX;
        send_cancels(st);
        resume_paused(st, &wait_ns);
        if (!stop) {
            fill_queue(st, &wait_ns);
        }
        uint32_t n = t->ops->reap(t->io, done, REAP_MAX, wait_ns);
        for (uint32_t i = 0; i < n; i++) {
            completed(st, &done[i]);
        }
        stop = stopping(st);
    }
}

/* ---- the thread ---- */

static mox_err open_backend(mox_store *st, const mox_io_cfg *cfg)
{
    mox_file_tier *t = &st->io;
    if (st->cfg.io_override) {
        t->ops = st->cfg.io_override;
        t->ops_ctx = st->cfg.io_override_ctx;
        return t->ops->open(t->ops_ctx, cfg, &t->io);
    }
    if (st->cfg.io != MOX_IO_PREAD) {
        t->ops = &mox_io_ring;
        mox_err err = t->ops->open(NULL, cfg, &t->io);
        if (err == MOX_OK || st->cfg.io == MOX_IO_URING) {
            return err;
        }
        mox_log_line(st->cfg.log, MOX_LOG_WARN, "io: %s; reading with a pool of pread threads instead",
                     mox_err_last()->msg);
    }
    t->ops = &mox_io_preads;
    return t->ops->open(NULL, cfg, &t->io);
}

static void *io_thread(void *arg)
{
    mox_store *st = arg;
    mox_file_tier *t = &st->io;
    if (st->cfg.bind_io) {
        st->cfg.bind_io(st->cfg.bind_ctx);
    }
    mox_io_cfg cfg = {t->fd, t->n_files, t->staging, t->staging_bytes, t->depth, t->io_state, st->cfg.log};
    mox_err err = open_backend(st, &cfg);
    pthread_mutex_lock(&st->lock);
    t->started = true;
    t->thread_up = err == MOX_OK;
    if (err != MOX_OK) {
        t->open_error = *mox_err_last();
    }
    pthread_cond_broadcast(&st->changed);
    pthread_mutex_unlock(&st->lock);
    if (err == MOX_OK) {
        serve(st);
        t->ops->close(&t->io);
    }
    return NULL;
}

mox_err mox_files_open(mox_store *st)
{
    mox_file_tier *t = &st->io;
    for (uint32_t i = 0; i < t->n_files; i++) {
        t->file[i].fd = -1;
    }
    for (uint32_t i = 0; i < t->n_files; i++) {
        t->path[i] = st->cfg.files[i];
        MOX_TRY(mox_io_file_open(&t->file[i], t->path[i], t->staging));
        t->fd[i] = t->file[i].fd;
        if (!t->file[i].direct) {
            mox_log_line(st->cfg.log, MOX_LOG_WARN,
                         "io: %s: O_DIRECT refused by the filesystem, reading through the page cache",
                         t->path[i]);
        }
    }
    return MOX_OK;
}

mox_err mox_files_start(mox_store *st)
{
    mox_file_tier *t = &st->io;
    int err = pthread_create(&t->thread, NULL, io_thread, st);
    if (err != 0) {
        return MOX_FAIL_SYS(MOX_E_THREAD, err, "io: the I/O thread could not be started: %s", strerror(err));
    }
    pthread_mutex_lock(&st->lock);
    while (!t->started) {
        pthread_cond_wait(&st->changed, &st->lock);
    }
    bool up = t->thread_up;
    pthread_mutex_unlock(&st->lock);
    if (!up) {
        pthread_join(t->thread, NULL);
        return mox_err_restore(&t->open_error);
    }
    bool direct = true;
    for (uint32_t i = 0; i < t->n_files; i++) {
        direct = direct && t->file[i].direct;
    }
    snprintf(t->name, sizeof t->name, "%s %s", t->ops->name, direct ? "O_DIRECT" : "buffered");
    mox_log_line(st->cfg.log, MOX_LOG_INFO, "io: %s, %u reads of %zu bytes in flight", t->name, t->depth,
                 t->request_bytes);
    return MOX_OK;
}

void mox_files_stop(mox_store *st)
{
    mox_file_tier *t = &st->io;
    if (t->thread_up) {
        pthread_mutex_lock(&st->lock);
        t->stop = true;
        mox_files_wake(st);
        pthread_mutex_unlock(&st->lock);
        pthread_join(t->thread, NULL);
        t->thread_up = false;
    }
    for (uint32_t i = 0; i < t->n_files; i++) {
        mox_io_file_close(&t->file[i]);
    }
}

mox_err mox_files_fail(const mox_store *st, uint32_t layer, uint32_t expert, const mox_load_error *e)
{
    static const char *const what[] = {"gate", "up", "down"};
    char slab[24];
    snprintf(slab, sizeof slab, "slab %u%s%s", e->slab, e->slab < 3 ? " " : "",
             e->slab < 3 ? what[e->slab] : "");
    const char *path = st->io.path[e->file];
    unsigned long long off = e->off;
    if (e->code == MOX_E_CHANGED) {
        return MOX_FAIL(MOX_E_CHANGED,
                        "%s changed while it was in use: layer %u, expert %u, %s at offset %llu", path, layer,
                        expert, slab, off);
    }
    if (e->code == MOX_E_CORRUPT) {
        return MOX_FAIL(
            MOX_E_CORRUPT,
            "layer %u, expert %u, %s: %s at offset %llu gave other bytes than when first read, twice", layer,
            expert, slab, path, off);
    }
    return MOX_FAIL_SYS(MOX_E_IO, e->sys, "layer %u, expert %u, %s: reading %s at offset %llu failed: %s",
                        layer, expert, slab, path, off, strerror(e->sys));
}
