/* Reading the dense weights at open, as experts are read: with O_DIRECT and many requests in flight
 * (offload/io.h). The step thread reads and moves whole groups of rows into the compute layout as they arrive, the
 * other workers take the page faults of the arena ahead of it.
 *
 * mmap was rejected: a file that shrinks would kill the process, and its pages would escape the plan; so was reading
 * through the page cache, which copies every byte once more and drops what other programs had there.
 */
#include "kernels/formats.h"
#include "offload/io.h"
#include "runtime/core/bits.h"
#include "runtime/model/model.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; a kernel without it faults the pages in at first use */
#endif

enum {
    PIECE_BYTES = 512 << 10, /* of one read, more where a group of rows is more */
    DEPTH = 32,
    EDGE = 4096, /* the largest alignment */
    TRIES = 16,  /* of one read: soft errors, and pieces that come short */
    POPULATE_BYTES = 2 << 20,
};

/* Rows as the file has them. */
static size_t row_bytes(const mox_weight *w)
{
    return w->turned ? mox_type_row_bytes(w->from, w->rows / w->parts) : mox_type_row_bytes(w->type, w->cols);
}

static uint32_t rows_of_part(const mox_weight *w)
{
    return w->turned ? w->cols : w->parts ? w->rows / w->parts : w->rows;
}

/* What a piece has at least: a group of rows, or a whole part where it is to be transposed. */
static uint32_t group_rows(const mox_weight *w)
{
    return w->turned ? w->cols : MOX_ROWS_PER_GROUP;
}

/* Where a part is transposed, behind the piece: one row as f32, and the part in its type in memory. */
static size_t turning_bytes(const mox_weight *w)
{
    size_t rows = w->turned ? w->rows / w->parts : 0;
    return mox_round_up(rows * sizeof(float) + rows * w->cols * sizeof(float), EDGE);
}

/* One buffer: a piece and both edges, widened to the alignment. */
static size_t buffer_bytes(const mox_model *m)
{
    size_t most = PIECE_BYTES, turning = 0;
    for (uint32_t i = 0; i < m->n_weights; i++) {
        const mox_weight *w = &m->weights[i];
        size_t group = row_bytes(w) * group_rows(w);
        most = group > most ? group : most;
        turning = turning_bytes(w) > turning ? turning_bytes(w) : turning;
    }
    return mox_round_up(most, EDGE) + 2 * EDGE + turning;
}

/* Of either backend. */
static size_t state_bytes(void)
{
    size_t ring = mox_io_ring.state_bytes, preads = mox_io_preads.state_bytes;
    return mox_round_up(ring > preads ? ring : preads, EDGE);
}

size_t mox_model_staging_bytes(const mox_model *m)
{
    return state_bytes() + buffer_bytes(m) + EDGE;
}

/* A read in flight. */
typedef struct piece {
    const mox_weight *w;
    uint32_t row0, n;
    uint64_t off;       /* of the first byte of buf, aligned */
    uint32_t skip, len; /* the payload inside buf */
    uint32_t base;      /* where in buf the read in flight begins */
    uint32_t tries;
    uint8_t *buf;
} piece;

typedef struct load {
    const mox_model *m;
    const mox_dense_load *cfg;
    mox_io_file *file; /* [n_files] */
    int *fd;           /* [n_files] */
    const mox_io_ops *ops;
    mox_io *io;
    void *state;
    uint8_t *buffers;
    size_t buf_bytes;
    uint32_t depth, n_flying;
    uint32_t weight, row, end; /* the next piece; behind the last weight */
    uint64_t done, total;
    mox_err err; /* the first; no other is recorded after it */
    piece piece[DEPTH];
    _Atomic uint64_t populated;
    _Atomic bool stop;
} load;

static void fail(load *l, mox_err err)
{
    l->err = err;
    atomic_store(&l->stop, true);
}

static void submit(load *l, piece *p)
{
    const mox_io_file *f = &l->file[p->w->file];
    uint32_t want = (uint32_t)mox_round_up(p->skip + p->len, f->align);
    mox_io_req q = {.id = (uint64_t)(p - l->piece),
                    .file = p->w->file,
                    .bytes = want - p->base,
                    .off = p->off + p->base,
                    .buf = p->buf + p->base};
    l->ops->submit(l->io, &q);
}

static uint32_t file_rows(const mox_weight *w)
{
    return rows_of_part(w) * (w->parts ? w->parts : 1);
}

/* Cut the next piece and read it into this buffer; false: none is left. */
static bool start(load *l, piece *p)
{
    const mox_model *m = l->m;
    while (l->weight < l->end && l->row >= file_rows(&m->weights[l->weight])) {
        l->weight++;
        l->row = 0;
    }
    if (l->weight == l->end || l->err != MOX_OK) {
        return false;
    }
    const mox_weight *w = &m->weights[l->weight];
    uint64_t most =
        (l->buf_bytes - 2 * EDGE - turning_bytes(w)) / (row_bytes(w) * group_rows(w)) * group_rows(w);
    uint32_t part_rows = rows_of_part(w), part = l->row / part_rows;
    uint32_t left = part_rows - l->row % part_rows; /* a piece lies in one part */
    uint64_t in_file = w->stride ? part * (uint64_t)w->stride + l->row % part_rows : l->row;
    uint64_t off = w->off + in_file * row_bytes(w);
    *p = (piece){.w = w, .row0 = l->row, .n = left < most ? left : (uint32_t)most, .buf = p->buf};
    p->off = off & ~(uint64_t)(l->file[w->file].align - 1);
    p->skip = (uint32_t)(off - p->off);
    p->len = (uint32_t)(p->n * row_bytes(w));
    l->row += p->n;
    l->n_flying++;
    submit(l, p);
    return true;
}

/* A whole part, just read, into its matrix the other way round. */
static void place_turned(const piece *p)
{
    const mox_weight *w = p->w;
    const uint32_t rows = w->rows / w->parts;
    const size_t size = mox_type_row_bytes(w->type, 1), from = row_bytes(w);
    float *row = (float *)(uintptr_t)mox_round_up((uintptr_t)(p->buf + p->skip + p->len), sizeof(float));
    uint8_t *turned = (uint8_t *)(row + rows);
    for (uint32_t c = 0; c < w->cols; c++) {
        mox_format_of(w->from)->dequant(p->buf + p->skip + c * from, row, rows);
        for (uint32_t r = 0; r < rows; r++) {
            uint8_t *at = turned + (r * (size_t)w->cols + c) * size;
            if (w->type == MOX_TYPE_F32) {
                memcpy(at, &row[r], sizeof row[r]);
            } else { /* the value was in this type before */
                memcpy(at, p->buf + p->skip + c * from + r * size, size);
            }
        }
    }
    mox_mat_repack_rows(&w->part[p->row0 / w->cols], 0, rows, turned);
}

/* Move rows, just read, to where they belong. */
static void place(const load *l, const piece *p)
{
    const mox_weight *w = p->w;
    const uint8_t *src = p->buf + p->skip;
    if (w->turned) {
        place_turned(p);
    } else if (w->as_f32) {
        float *dst = (float *)(uintptr_t)w->f32 + (size_t)p->row0 * w->cols;
        mox_format_of(w->type)->dequant(src, dst, (uint64_t)p->n * w->cols);
    } else if (w->parts) {
        uint32_t rows = w->rows / w->parts;
        mox_mat_repack_rows(&w->part[p->row0 / rows], p->row0 % rows, p->n, src);
    } else {
        mox_mat_repack_rows(&w->mat, p->row0, p->n, src);
    }
    const mox_io_file *f = &l->file[w->file];
    if (!f->direct) { /* the budget belongs to experts, not to the page cache */
        posix_fadvise(f->fd, (off_t)(p->off + p->skip), p->len, POSIX_FADV_DONTNEED);
    }
}

/* What a completion means. True: the piece is over, here or failed; false: the rest of it is being read. */
static bool complete(load *l, piece *p, int32_t res)
{
    const mox_weight *w = p->w;
    unsigned long long at = p->off + p->base;
    bool soft = res == -EAGAIN || res == -EINTR || res == -EBUSY;
    if (l->err != MOX_OK) {
        return true;
    }
    uint32_t got = p->base + (res > 0 ? (uint32_t)res : 0);
    if (res > 0 && got >= p->skip + p->len) {
        place(l, p);
        l->done += p->len;
        return true;
    }
    if (res == 0) { /* the header's size, compared when it was opened, has room for it */
        fail(l, MOX_FAIL(MOX_E_CHANGED, "model: '%s' ends at %llu now, inside tensor '%s'",
                         l->m->files[w->file], at, w->name));
        return true;
    }
    if ((res < 0 && !soft) || p->tries++ >= TRIES) {
        int sys = res < 0 ? -res : EIO;
        fail(l, MOX_FAIL_SYS(MOX_E_IO, sys, "model: reading '%s' at %llu of '%s': %s", w->name, at,
                             l->m->files[w->file], strerror(sys)));
        return true;
    }
    p->base = got & ~(l->file[w->file].align - 1);
    submit(l, p);
    return false;
}

static void read_all(load *l)
{
    mox_io_done done[DEPTH];
    for (uint32_t i = 0; i < l->depth; i++) {
        l->piece[i].buf = l->buffers + i * l->buf_bytes;
        start(l, &l->piece[i]);
    }
    while (l->n_flying > 0) {
        /* few at once, so that freed buffers go back to the queue soon */
        uint32_t n = l->ops->reap(l->io, done, 4, UINT64_MAX);
        for (uint32_t i = 0; i < n; i++) {
            piece *p = &l->piece[done[i].id];
            if (complete(l, p, done[i].res)) {
                l->n_flying--;
                start(l, p);
            }
        }
        if (n > 0 && l->cfg->progress) {
            l->cfg->progress(l->cfg->progress_ctx, l->done, l->total);
        }
    }
}

/* Contents are left alone, so that the reader may be writing here. */
static void populate(load *l)
{
    const mox_arena *a = l->cfg->arena;
    uint64_t at;
    while (!atomic_load(&l->stop) && (at = atomic_fetch_add(&l->populated, POPULATE_BYTES)) < a->bytes) {
        uint64_t left = a->bytes - at;
        madvise(a->base + at, left < POPULATE_BYTES ? left : POPULATE_BYTES, MADV_POPULATE_WRITE);
    }
}

static void load_work(void *arg, uint32_t worker, uint32_t n_workers)
{
    load *l = arg;
    (void)n_workers;
    if (worker == 0) { /* opened the backend, which belongs to one thread */
        read_all(l);
    } else {
        populate(l);
    }
}

static mox_err open_files(load *l)
{
    for (uint32_t i = 0; i < l->m->n_files; i++) {
        l->file[i].fd = -1;
    }
    for (uint32_t i = 0; i < l->m->n_files; i++) {
        MOX_TRY(mox_io_file_open(&l->file[i], l->m->files[i], l->buffers));
        MOX_TRY(mox_io_file_is(&l->file[i], &l->m->file_ids[i], l->m->files[i]));
        l->fd[i] = l->file[i].fd;
    }
    return MOX_OK;
}

/* Nothing was written while it was being read: what is in memory belongs to one state of the file. */
static mox_err still_same(const load *l)
{
    for (uint32_t i = 0; i < l->m->n_files; i++) {
        MOX_TRY(mox_io_file_same(&l->file[i], l->m->files[i]));
    }
    return MOX_OK;
}

static mox_err open_backend(load *l)
{
    mox_io_cfg cfg = {.fds = l->fd,
                      .n_files = l->m->n_files,
                      .staging = l->buffers,
                      .staging_bytes = l->depth * l->buf_bytes,
                      .depth = l->depth,
                      .state = l->state};
    if (l->cfg->io != MOX_IO_PREAD) {
        l->ops = &mox_io_ring;
        mox_err err = l->ops->open(NULL, &cfg, &l->io);
        if (err == MOX_OK || l->cfg->io == MOX_IO_URING) {
            return err;
        }
    }
    l->ops = &mox_io_preads;
    return l->ops->open(NULL, &cfg, &l->io);
}

static void share_staging(load *l)
{
    uintptr_t at = mox_round_up((uintptr_t)l->cfg->staging, EDGE);
    size_t bytes = l->cfg->staging_bytes - (at - (uintptr_t)l->cfg->staging) - state_bytes();
    l->state = (void *)at;
    l->buffers = (uint8_t *)at + state_bytes();
    l->buf_bytes = buffer_bytes(l->m);
    l->depth = bytes / l->buf_bytes < DEPTH ? (uint32_t)(bytes / l->buf_bytes) : DEPTH;
}

/* The checksums of a packed file; one file, a few hundred KB. */
static mox_err load_sums(mox_model *m)
{
    const char *path = m->files[0];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return MOX_FAIL_SYS(MOX_E_OPEN, errno, "model: cannot open '%s'", path);
    }
    mox_err err = MOX_OK;
    for (uint32_t l = 0; l < m->n_moe_layers && err == MOX_OK; l++) {
        mox_pack_layer *p = &m->packed[l];
        uint64_t *out = m->sums + (size_t)l * m->h.n_experts * p->n_slices;
        err = mox_pack_read_sums(p, fd, path, m->h.n_experts, m->sums_xxh3[l], out);
    }
    close(fd);
    return err;
}

mox_err mox_model_load_dense(mox_model *m, const mox_dense_load *cfg)
{
    load l = {.m = m, .cfg = cfg, .weight = cfg->first, .end = cfg->n ? cfg->first + cfg->n : m->n_weights};
    for (uint32_t i = 0; i < m->n_weights; i++) {
        l.done += i < cfg->first ? m->weights[i].file_bytes : 0;
        l.total += m->weights[i].file_bytes;
    }
    share_staging(&l);
    l.file = malloc(m->n_files * sizeof *l.file);
    l.fd = malloc(m->n_files * sizeof *l.fd);
    mox_err err = MOX_OK;
    if (!l.file || !l.fd) {
        err = MOX_FAIL(MOX_E_NO_MEMORY, "model: no memory for %u files", m->n_files);
    } else {
        err = open_files(&l);
        err = err == MOX_OK && m->packed && cfg->first == 0 ? load_sums(m) : err;
        err = err == MOX_OK ? open_backend(&l) : err;
        if (err == MOX_OK) {
            mox_pool_run(cfg->pool, load_work, &l);
            l.ops->close(&l.io);
            err = l.err == MOX_OK ? still_same(&l) : l.err;
        }
        for (uint32_t i = 0; i < m->n_files; i++) {
            mox_io_file_close(&l.file[i]);
        }
    }
    free(l.file);
    free(l.fd);
    return err;
}
