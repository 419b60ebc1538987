/* Dense weights: their places in the arena, and reading them at open.
 *
 * Read with pread in pieces of whole 16-row groups, straight into the compute layout; the page cache is told
 * to forget what was read, because the file stays on disk and the budget belongs to experts. mmap was
 * rejected: a file that shrinks would kill the process, and its pages would escape the plan.
 */
#include "kernels/formats.h"
#include "runtime/core/bits.h"
#include "runtime/model/model.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { MIN_STAGING = 1 << 20, REPACK_GROUPS = 8 };

void mox_model_take_dense(mox_model *m, mox_arena *a)
{
    for (uint32_t i = 0; i < m->n_weights; i++) {
        mox_weight *w = &m->weights[i];
        if (w->as_f32) {
            w->f32 = mox_arena_take(a, (size_t)w->rows * w->cols * sizeof(float), 64);
        } else {
            void *p = mox_arena_take(a, mox_mat_bytes(w->type, w->rows, w->cols), 64);
            w->mat = mox_mat_dense(w->type, w->rows, w->cols, p);
        }
    }
}

size_t mox_model_staging_bytes(const mox_model *m)
{
    size_t most = MIN_STAGING;
    for (uint32_t i = 0; i < m->n_weights; i++) {
        const mox_weight *w = &m->weights[i];
        size_t group = mox_type_row_bytes(w->type, w->cols) * MOX_ROWS_PER_GROUP;
        most = group > most ? group : most;
    }
    return most;
}

static mox_err read_at(int fd, const mox_model *m, const mox_weight *w, uint64_t off, void *dst, size_t bytes)
{
    uint8_t *p = dst;
    while (bytes) {
        ssize_t n = pread(fd, p, bytes, (off_t)off);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return MOX_FAIL_SYS(MOX_E_IO, errno, "model: reading '%s' at %llu of '%s'", w->name,
                                (unsigned long long)off, m->files[w->file]);
        }
        if (n == 0) {
            return MOX_FAIL(MOX_E_TRUNCATED, "model: '%s' ends at %llu, inside tensor '%s'",
                            m->files[w->file], (unsigned long long)off, w->name);
        }
        p += n;
        off += (uint64_t)n;
        bytes -= (size_t)n;
    }
    return MOX_OK;
}

typedef struct repack_job {
    const mox_mat *mat;
    uint32_t row0, n;
    size_t row_bytes;
    const uint8_t *src;
} repack_job;

static void repack_range(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    (void)worker;
    const repack_job *j = arg;
    uint32_t r0 = begin * MOX_ROWS_PER_GROUP;
    uint32_t r1 = end * MOX_ROWS_PER_GROUP < j->n ? end * MOX_ROWS_PER_GROUP : j->n;
    mox_mat_repack_rows(j->mat, j->row0 + r0, r1 - r0, j->src + r0 * j->row_bytes);
}

/* Move n rows, just read, to where they belong. */
static void place_rows(const mox_weight *w, mox_pool *pool, uint32_t row0, uint32_t n, size_t row_bytes,
                       const uint8_t *src)
{
    if (w->as_f32) {
        float *dst = (float *)(uintptr_t)w->f32 + (size_t)row0 * w->cols;
        mox_format_of(w->type)->dequant(src, dst, (uint64_t)n * w->cols);
        return;
    }
    repack_job job = {.mat = &w->mat, .row0 = row0, .n = n, .row_bytes = row_bytes, .src = src};
    mox_pool_for(pool, mox_div_up(n, MOX_ROWS_PER_GROUP), REPACK_GROUPS, repack_range, &job);
}

static mox_err load_weight(const mox_model *m, const mox_weight *w, int fd, mox_pool *pool, uint8_t *staging,
                           size_t staging_bytes)
{
    size_t row_bytes = mox_type_row_bytes(w->type, w->cols);
    size_t most = staging_bytes / row_bytes / MOX_ROWS_PER_GROUP * MOX_ROWS_PER_GROUP;
    for (uint32_t row = 0; row < w->rows;) {
        uint32_t n = w->rows - row < most ? w->rows - row : (uint32_t)most;
        uint64_t off = w->off + (uint64_t)row * row_bytes;
        MOX_TRY(read_at(fd, m, w, off, staging, n * row_bytes));
        posix_fadvise(fd, (off_t)off, (off_t)(n * row_bytes), POSIX_FADV_DONTNEED);
        place_rows(w, pool, row, n, row_bytes, staging);
        row += n;
    }
    return MOX_OK;
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

mox_err mox_model_load_dense(mox_model *m, mox_pool *pool, void *staging, size_t staging_bytes,
                             mox_load_progress progress, void *progress_ctx)
{
    if (m->packed) {
        MOX_TRY(load_sums(m));
    }
    uint64_t total = 0, done = 0;
    for (uint32_t i = 0; i < m->n_weights; i++) {
        total += m->weights[i].file_bytes;
    }
    int fd = -1;
    uint32_t file = UINT32_MAX;
    mox_err err = MOX_OK;
    for (uint32_t i = 0; i < m->n_weights && err == MOX_OK; i++) {
        const mox_weight *w = &m->weights[i];
        if (w->file != file) {
            if (fd >= 0) {
                close(fd);
            }
            file = w->file;
            fd = open(m->files[file], O_RDONLY | O_CLOEXEC);
            if (fd < 0) {
                return MOX_FAIL_SYS(MOX_E_OPEN, errno, "model: cannot open '%s'", m->files[file]);
            }
        }
        err = load_weight(m, w, fd, pool, staging, staging_bytes);
        done += w->file_bytes;
        if (progress) {
            progress(progress_ctx, done, total);
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return err;
}
