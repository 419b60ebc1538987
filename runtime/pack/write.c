/* moxie pack: a GGUF model is read once, front to back of each layer, and written as a packed file.
 *
 * One expert is in memory at a time: its slabs are read in runs of rows and laid out by the code that the store
 * uses, its slices are hashed, the record is written. Source and destination go through the page cache, which
 * reads ahead and writes behind while this thread lays out; both are told to forget what is done with, and
 * writing back is started record by record, so that the end does not wait for gigabytes.
 *
 * The file appears under its name only when it is whole: OUT.part, header last, fsync, rename.
 */
#include "runtime/pack/write.h"

#include "runtime/core/bits.h"
#include "runtime/core/clock.h"
#include "runtime/core/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

typedef unsigned long long ull;

enum { PIECE_BYTES = 8 << 20 };

typedef struct source_file {
    int fd;
    struct stat at_open;
} source_file;

typedef struct packer {
    const mox_pack_cfg *cfg;
    mox_gguf *g;
    mox_model *m;
    mox_pack_list list;
    source_file *src; /* [n_files] */
    char *part;       /* OUT.part */
    int fd;
    bool made; /* part is ours to remove */
    uint8_t *header;
    size_t header_bytes, sums_at;
    uint8_t *record, *piece;
    size_t piece_bytes;
    uint64_t *sums; /* of one layer */
    uint64_t done, total;
    mox_pack_report report;
} packer;

/* ---- the destination ---- */

static mox_err cannot_write(const packer *p, int err)
{
    MOX_FAIL_SYS(MOX_E_WRITE, err, "writing %s failed after %llu of %llu bytes: %s", p->part, (ull)p->done,
                 (ull)p->total, strerror(err));
    return err == ENOSPC || err == EFBIG || err == EDQUOT
               ? mox_err_fix("the file needs room for %llu bytes", (ull)p->total)
               : MOX_E_WRITE;
}

static mox_err put(packer *p, const void *data, size_t n, uint64_t off)
{
    const uint8_t *at = data;
    while (n > 0) {
        ssize_t put = pwrite(p->fd, at, n, (off_t)off);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return cannot_write(p, put < 0 ? errno : ENOSPC);
        }
        at += put;
        off += (uint64_t)put;
        n -= (size_t)put;
    }
    return MOX_OK;
}

/* Progress, and the moment at which a stop is answered. */
static mox_err advance(packer *p, uint64_t n_bytes)
{
    p->done += n_bytes;
    if (p->cfg->progress) {
        p->cfg->progress(p->cfg->progress_ctx, "packing", p->done, p->total);
    }
    if (p->cfg->stop && p->cfg->stop() != 0) {
        return MOX_FAIL(MOX_E_CANCELLED, "packing was stopped after %llu of %llu bytes", (ull)p->done,
                        (ull)p->total);
    }
    return MOX_OK;
}

/* Start writing back [off, off + n) and forget what was started one call before. Advice: failures are nothing. */
static void write_behind(packer *p, uint64_t off, uint64_t n)
{
    (void)sync_file_range(p->fd, (off_t)off, (off_t)n, SYNC_FILE_RANGE_WRITE);
    if (off >= n) {
        (void)posix_fadvise(p->fd, (off_t)(off - n), (off_t)n, POSIX_FADV_DONTNEED);
    }
}

static mox_err check_out(const packer *p)
{
    struct stat st;
    const char *out = p->cfg->out;
    if (stat(out, &st) != 0) {
        return MOX_OK;
    }
    for (uint32_t i = 0; i < mox_gguf_n_files(p->g); i++) {
        const struct stat *s = &p->src[i].at_open;
        if (s->st_dev == st.st_dev && s->st_ino == st.st_ino) {
            return MOX_FAIL(MOX_E_ARG, "pack: %s is the model itself", out);
        }
    }
    if (!S_ISREG(st.st_mode)) {
        return MOX_FAIL(MOX_E_WRITE, "pack: %s exists and is no regular file", out);
    }
    if (!p->cfg->force) {
        MOX_FAIL(MOX_E_WRITE, "pack: %s exists", out);
        return mox_err_fix("--force replaces it");
    }
    return MOX_OK;
}

static mox_err check_space(const packer *p)
{
    struct statvfs fs;
    if (fstatvfs(p->fd, &fs) != 0) {
        return MOX_OK; /* cannot be told: writing will */
    }
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (free_bytes < p->total) {
        MOX_FAIL(MOX_E_WRITE, "pack: %s needs %llu bytes (%.1f GiB), %llu (%.1f GiB) are free there",
                 p->cfg->out, (ull)p->total, (double)p->total / (1 << 30), (ull)free_bytes,
                 (double)free_bytes / (1 << 30));
        return mox_err_fix("another place, or make room there");
    }
    return MOX_OK;
}

/* OUT.part, locked, of the final size where the filesystem can give it: no surprise later, and few extents. */
static mox_err create_part(packer *p)
{
    if (asprintf(&p->part, "%s.part", p->cfg->out) < 0) {
        p->part = NULL;
        return MOX_FAIL(MOX_E_NO_MEMORY, "pack: no memory for a file name");
    }
    p->fd = open(p->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (p->fd < 0) {
        return MOX_FAIL_SYS(MOX_E_WRITE, errno, "pack: %s cannot be created: %s", p->part, strerror(errno));
    }
    if (flock(p->fd, LOCK_EX | LOCK_NB) != 0) {
        return MOX_FAIL(MOX_E_WRITE, "pack: %s is being written by another process", p->part);
    }
    p->made = true;
    if (ftruncate(p->fd, 0) != 0) {
        return cannot_write(p, errno);
    }
    MOX_TRY(check_space(p));
    if (fallocate(p->fd, 0, 0, (off_t)p->total) != 0 &&
        (errno == ENOSPC || errno == EFBIG || errno == EDQUOT)) {
        return cannot_write(p, errno);
    }
    return MOX_OK;
}

static mox_err sync_directory(const char *path)
{
    char *copy = strdup(path);
    if (!copy) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "pack: no memory for a file name");
    }
    char *slash = strrchr(copy, '/');
    const char *dir = slash == copy ? "/" : slash ? copy : ".";
    if (slash && slash != copy) {
        *slash = '\0';
    }
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd); /* some filesystems refuse; the file itself is safe */
        close(fd);
    }
    free(copy);
    return MOX_OK;
}

static mox_err publish(packer *p)
{
    MOX_TRY(put(p, p->header, p->header_bytes, 0));
    if (fsync(p->fd) != 0) {
        return cannot_write(p, errno);
    }
    int rc = p->cfg->force ? rename(p->part, p->cfg->out)
                           : renameat2(AT_FDCWD, p->part, AT_FDCWD, p->cfg->out, RENAME_NOREPLACE);
    if (rc != 0 && !p->cfg->force && errno == EINVAL) { /* a filesystem that cannot do the second */
        MOX_TRY(check_out(p));
        rc = rename(p->part, p->cfg->out);
    }
    if (rc != 0) {
        return MOX_FAIL_SYS(MOX_E_WRITE, errno, "pack: %s cannot become %s: %s", p->part, p->cfg->out,
                            strerror(errno));
    }
    p->made = false;
    return sync_directory(p->cfg->out);
}

/* ---- the source ---- */

static mox_err open_source(packer *p)
{
    uint32_t n = mox_gguf_n_files(p->g);
    p->src = calloc(n, sizeof *p->src);
    if (!p->src) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "pack: no memory for %u files", n);
    }
    for (uint32_t i = 0; i < n; i++) {
        p->src[i].fd = -1;
    }
    for (uint32_t i = 0; i < n; i++) {
        const char *path = mox_gguf_file(p->g, i);
        p->src[i].fd = open(path, O_RDONLY | O_CLOEXEC);
        if (p->src[i].fd < 0 || fstat(p->src[i].fd, &p->src[i].at_open) != 0) {
            return MOX_FAIL_SYS(MOX_E_OPEN, errno, "%s: %s", path, strerror(errno));
        }
        p->report.source_bytes += mox_gguf_file_bytes(p->g, i);
    }
    return MOX_OK;
}

/* Since the headers were read, which was before the files were opened here. */
static mox_err source_unchanged(const packer *p)
{
    for (uint32_t i = 0; i < mox_gguf_n_files(p->g); i++) {
        struct stat st = {0};
        int err = fstat(p->src[i].fd, &st);
        const mox_file_id now = mox_file_id_of(&st);
        if (err != 0 || !mox_file_id_same(&now, mox_gguf_file_id(p->g, i))) {
            return MOX_FAIL(MOX_E_CHANGED, "%s changed while it was being packed", mox_gguf_file(p->g, i));
        }
    }
    return MOX_OK;
}

static mox_err take(const packer *p, uint32_t file, uint64_t off, uint8_t *dst, size_t n)
{
    while (n > 0) {
        ssize_t got = pread(p->src[file].fd, dst, n, (off_t)off);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return MOX_FAIL_SYS(MOX_E_IO, errno, "reading %s at offset %llu failed: %s",
                                mox_gguf_file(p->g, file), (ull)off, strerror(errno));
        }
        if (got == 0) {
            return MOX_FAIL(MOX_E_CHANGED, "%s ended at %llu while it was being packed",
                            mox_gguf_file(p->g, file), (ull)off);
        }
        (void)posix_fadvise(p->src[file].fd, (off_t)off, got, POSIX_FADV_DONTNEED);
        dst += got;
        off += (uint64_t)got;
        n -= (size_t)got;
    }
    return MOX_OK;
}

/* ---- tensors ---- */

static mox_err copy_tensor(packer *p, const mox_pack_tensor *t)
{
    for (uint64_t at = 0; at < t->bytes;) {
        size_t n = t->bytes - at < p->piece_bytes ? (size_t)(t->bytes - at) : p->piece_bytes;
        uint64_t to = p->header_bytes + t->off + at;
        MOX_TRY(take(p, t->src->file, t->src->off + at, p->piece, n));
        MOX_TRY(put(p, p->piece, n, to));
        write_behind(p, to, n);
        at += n;
        MOX_TRY(advance(p, n));
    }
    p->report.dense_bytes += t->bytes;
    return MOX_OK;
}

static mox_err lay_out_slab(packer *p, uint32_t layer, uint32_t expert, mox_slab slab)
{
    const mox_expert_layout *l = &p->m->layouts[layer];
    const mox_slab_place *at = &p->m->slabs[((size_t)layer * p->m->h.n_experts + expert) * MOX_SLABS + slab];
    size_t row_bytes = mox_expert_slab_row_bytes(l, slab);
    uint32_t n_rows = mox_expert_slab_rows(l, slab);
    uint32_t most = (uint32_t)(p->piece_bytes / row_bytes / MOX_ROWS_PER_GROUP) * MOX_ROWS_PER_GROUP;
    for (uint32_t row = 0; row < n_rows;) {
        uint32_t n = n_rows - row < most ? n_rows - row : most;
        MOX_TRY(take(p, at->file, at->off + row * (uint64_t)row_bytes, p->piece, n * row_bytes));
        mox_expert_repack(l, slab, row, n, p->piece, p->record);
        row += n;
    }
    return MOX_OK;
}

static mox_err pack_layer(packer *p, const mox_pack_tensor *t)
{
    const mox_expert_layout *l = &p->m->layouts[t->layer];
    mox_pack_layer where = {.n_slices = l->n_slices, .record_bytes = t->ne[0], .slice_bytes = l->slice_bytes};
    for (uint32_t e = 0; e < p->m->h.n_experts; e++) {
        memset(p->record, 0, where.record_bytes);
        for (mox_slab s = 0; s < MOX_SLABS; s++) {
            MOX_TRY(lay_out_slab(p, t->layer, e, s));
        }
        for (uint32_t i = 0; i < l->n_slices; i++) {
            uint64_t n;
            uint64_t off = mox_pack_slice(&where, i, &n);
            p->sums[(size_t)e * l->n_slices + i] = mox_hash64(p->record + off, n, 0);
        }
        uint64_t to = p->header_bytes + t->off + e * where.record_bytes;
        MOX_TRY(put(p, p->record, where.record_bytes, to));
        write_behind(p, to, where.record_bytes);
        MOX_TRY(advance(p, where.record_bytes));
    }
    p->report.record_bytes += t->bytes;
    p->report.n_records += p->m->h.n_experts;
    p->report.n_slices += (uint64_t)p->m->h.n_experts * l->n_slices;
    return MOX_OK;
}

/* The checksums of the layer just packed, and their own hash into the header. */
static mox_err put_sums(packer *p, const mox_pack_tensor *t)
{
    uint64_t hash = mox_hash64(p->sums, t->bytes, 0);
    memcpy(p->header + p->sums_at + 8 * (size_t)t->layer, &hash, sizeof hash);
    return put(p, p->sums, t->bytes, p->header_bytes + t->off);
}

/* ---- all of it ---- */

static mox_err open_model(packer *p)
{
    MOX_TRY(mox_gguf_open(&p->g, p->cfg->model));
    if (mox_gguf_packed(p->g)) {
        return MOX_FAIL(MOX_E_ARG, "pack: %s is packed already", p->cfg->model);
    }
    MOX_TRY(mox_model_create(&p->m, p->g, p->cfg->log));
    if (p->m->n_moe_layers == 0) {
        return MOX_FAIL(MOX_E_ARG, "pack: %s has no experts to pack", p->cfg->model);
    }
    MOX_TRY(open_source(p));
    return check_out(p);
}

/* Header, and memory for the biggest record and its checksums. */
static mox_err prepare(packer *p)
{
    const mox_model *m = p->m;
    size_t record = 0, sums = 0;
    p->piece_bytes = PIECE_BYTES;
    for (uint32_t l = 0; l < m->n_moe_layers; l++) {
        const mox_expert_layout *x = &m->layouts[l];
        record = mox_pack_record_bytes(x) > record ? mox_pack_record_bytes(x) : record;
        sums = x->n_slices > sums ? x->n_slices : sums;
        for (mox_slab s = 0; s < MOX_SLABS; s++) {
            size_t group = mox_expert_slab_row_bytes(x, s) * MOX_ROWS_PER_GROUP;
            p->piece_bytes = group > p->piece_bytes ? group : p->piece_bytes;
        }
    }
    p->record = aligned_alloc(MOX_PACK_ALIGN, record);
    p->piece = malloc(p->piece_bytes);
    p->sums = malloc(sums * m->h.n_experts * sizeof *p->sums);
    if (!p->record || !p->piece || !p->sums) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "pack: no memory for an expert of %zu bytes", record);
    }
    MOX_TRY(mox_pack_list_make(&p->list, p->g, m));
    MOX_TRY(mox_pack_fingerprint(m->layouts, m->n_moe_layers, &p->report.layout));
    MOX_TRY(mox_pack_header(p->g, m, &p->list, p->report.layout, &p->header, &p->header_bytes, &p->sums_at));
    p->total = p->header_bytes + p->list.data_bytes;
    p->report.out_bytes = p->total;
    return MOX_OK;
}

static mox_err write_all(packer *p)
{
    MOX_TRY(open_model(p));
    MOX_TRY(prepare(p));
    MOX_TRY(create_part(p));
    if (ftruncate(p->fd, (off_t)p->total) != 0) { /* the padding after the last tensor */
        return cannot_write(p, errno);
    }
    for (uint32_t i = 0; i < p->list.n; i++) {
        const mox_pack_tensor *t = &p->list.t[i];
        MOX_TRY(t->src ? copy_tensor(p, t) : t->sums ? put_sums(p, t) : pack_layer(p, t));
    }
    MOX_TRY(source_unchanged(p));
    return publish(p);
}

static void clean_up(packer *p)
{
    if (p->made) {
        unlink(p->part);
    }
    if (p->fd >= 0) {
        close(p->fd);
    }
    for (uint32_t i = 0; p->src && i < mox_gguf_n_files(p->g); i++) {
        if (p->src[i].fd >= 0) {
            close(p->src[i].fd);
        }
    }
    free(p->src);
    free(p->part);
    free(p->header);
    free(p->record);
    free(p->piece);
    free(p->sums);
    mox_pack_list_free(&p->list);
    mox_model_destroy(&p->m);
    mox_gguf_close(&p->g);
}

mox_err mox_pack_write(const mox_pack_cfg *cfg, mox_pack_report *out)
{
    packer p = {.cfg = cfg, .fd = -1};
    uint64_t t0 = mox_now_ns();
    mox_err err = write_all(&p);
    clean_up(&p);
    if (err == MOX_OK) {
        *out = p.report;
        out->seconds = (double)(mox_now_ns() - t0) * 1e-9;
    }
    return err;
}
