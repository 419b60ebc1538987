/* The file tier from outside: its thread, its files, the queues of loads, and its errors. What the thread does is
 * in reads.c, what an expert is cut into in parts_slab.c and parts_record.c.
 */
#include "offload/store_internal.h"

#include "runtime/core/clock.h"

#include <stdio.h>
#include <string.h>

uint32_t mox_files_parts(const mox_store *st, uint32_t layer, uint32_t expert)
{
    return st->io.parts->parts(st, layer, expert);
}

bool mox_files_compared(const mox_store *st, uint32_t layer, uint32_t expert)
{
    return st->io.parts->compared(st, layer, expert);
}

size_t mox_files_buffer_bytes(const mox_store_cfg *cfg)
{
    return cfg->layout.record ? mox_records_buffer_bytes(cfg) : mox_slabs_buffer_bytes(cfg);
}

/* ---- queues (lock held) ---- */

static mox_queue *queue_of(mox_store *st, const mox_load *load)
{
    return load->kind == MOX_READ_DEMAND ? &st->io.demand : &st->io.later;
}

void mox_queue_push(mox_store *st, uint32_t slot)
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

void mox_queue_unlink(mox_store *st, uint32_t slot)
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

void mox_files_queue(mox_store *st, uint32_t slot, mox_read_kind kind)
{
    mox_load *load = &st->info[slot].load;
    load->kind = kind;
    load->error = (mox_load_error){.code = MOX_OK};
    load->n_slices = load->arrived_slices = load->wake_slices = 0;
    st->io.parts->begin(st, load);
    mox_queue_push(st, slot);
}

void mox_files_raise(mox_store *st, uint32_t slot)
{
    mox_load *load = &st->info[slot].load;
    bool queued = load->queued;
    mox_queue_unlink(st, slot);
    load->kind = MOX_READ_DEMAND;
    if (queued) {
        mox_queue_push(st, slot);
    }
}

void mox_files_remove(mox_store *st, uint32_t slot)
{
    mox_queue_unlink(st, slot);
    st->info[slot].load.n_slices = 0;
    st->io.cancel_pending = true;
}

/* Only where there is something to do: while decoding from RAM a thread that wakes twice a layer to find nothing
 * takes a worker's core when both are in the middle of a layer. */
void mox_files_wake(mox_store *st)
{
    const mox_file_tier *t = &st->io;
    bool queued = t->demand.head != MOX_SLOT_NONE || t->later.head != MOX_SLOT_NONE;
    if (t->thread_up && (queued || t->cancel_pending || t->stop)) {
        t->ops->wake(t->io);
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
    /* Records are not staged: nothing to register. */
    size_t staged = st->cfg.layout.record ? 0 : t->staging_bytes;
    mox_io_cfg cfg = {t->fd, t->n_files, t->staging, staged, t->depth, t->io_state, st->cfg.log};
    mox_err err = open_backend(st, &cfg);
    if (err == MOX_OK) {
        mox_late_around(&t->late, &t->ops, &t->io, t->path, st->cfg.log);
    }
    pthread_mutex_lock(&st->lock);
    t->started = true;
    t->thread_up = err == MOX_OK;
    if (err != MOX_OK) {
        t->open_error = *mox_err_last();
    }
    pthread_cond_broadcast(&st->changed);
    pthread_mutex_unlock(&st->lock);
    if (err == MOX_OK) {
        mox_reads_serve(st);
        t->ops->close(&t->io);
    }
    return NULL;
}

/* Records are read into slots as they are: they must fit, and their pieces into the bitmaps. */
static mox_err check_records(const mox_store *st)
{
    for (uint32_t l = 0; l < st->cfg.n_layers; l++) {
        mox_record_src src = {0};
        st->cfg.layout.record(st->cfg.layout.ctx, l, 0, &src);
        if (src.bytes > st->layer[l].slot_bytes || src.bytes % MOX_IO_ALIGN != 0 ||
            src.off % MOX_IO_ALIGN != 0 || src.n_slices == 0 || src.n_slices > MOX_STORE_MAX_SLICES ||
            src.slice_bytes == 0 || (src.n_slices - 1) * src.slice_bytes >= src.bytes) {
            return MOX_FAIL(MOX_E_ARG,
                            "store: layer %u: records of %llu bytes in %u slices of %llu, slots of %zu", l,
                            (unsigned long long)src.bytes, src.n_slices, (unsigned long long)src.slice_bytes,
                            st->layer[l].slot_bytes);
        }
    }
    return MOX_OK;
}

mox_err mox_files_open(mox_store *st)
{
    mox_file_tier *t = &st->io;
    t->parts = st->cfg.layout.record ? &mox_parts_records : &mox_parts_slabs;
    for (uint32_t i = 0; i < t->n_files; i++) {
        t->file[i].fd = -1;
    }
    if (st->cfg.layout.record) {
        MOX_TRY(check_records(st));
    }
    for (uint32_t i = 0; i < t->n_files; i++) {
        t->path[i] = st->cfg.files[i];
        MOX_TRY(mox_io_file_open(&t->file[i], t->path[i], t->staging));
        t->fd[i] = t->file[i].fd;
        MOX_TRY(mox_io_file_is(&t->file[i], st->cfg.file_ids ? &st->cfg.file_ids[i] : NULL, t->path[i]));
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

/* "slab 1 up"; of a packed file the slice that the offset lies in: "slice 3". */
static void name_piece(const mox_store *st, uint32_t layer, uint32_t expert, const mox_load_error *e,
                       char out[24])
{
    static const char *const what[] = {" gate", " up", " down"};
    if (!st->cfg.layout.record) {
        snprintf(out, 24, "slab %u%s", e->piece, e->piece < 3 ? what[e->piece] : "");
        return;
    }
    mox_record_src src = {0};
    st->cfg.layout.record(st->cfg.layout.ctx, layer, expert, &src);
    uint64_t slice = e->off > src.off ? (e->off - src.off) / src.slice_bytes : 0;
    snprintf(out, 24, "slice %u", slice < src.n_slices ? (uint32_t)slice : src.n_slices - 1);
}

mox_err mox_files_fail(const mox_store *st, uint32_t layer, uint32_t expert, const mox_load_error *e)
{
    char piece[24];
    name_piece(st, layer, expert, e, piece);
    const char *path = st->io.path[e->file];
    unsigned long long off = e->off;
    if (e->code == MOX_E_CHANGED) {
        return MOX_FAIL(MOX_E_CHANGED,
                        "%s changed while it was in use: layer %u, expert %u, %s at offset %llu", path, layer,
                        expert, piece, off);
    }
    if (e->code == MOX_E_CORRUPT && st->cfg.layout.record) {
        return MOX_FAIL(
            MOX_E_CORRUPT,
            "layer %u, expert %u, %s: %s at offset %llu is damaged: read twice, and both times not what "
            "its checksum says",
            layer, expert, piece, path, off);
    }
    if (e->code == MOX_E_CORRUPT) {
        return MOX_FAIL(
            MOX_E_CORRUPT,
            "layer %u, expert %u, %s: %s at offset %llu gave other bytes than when first read, twice", layer,
            expert, piece, path, off);
    }
    return MOX_FAIL_SYS(MOX_E_IO, e->sys, "layer %u, expert %u, %s: reading %s at offset %llu failed: %s",
                        layer, expert, piece, path, off, strerror(e->sys));
}
