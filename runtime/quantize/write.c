/* See quantize.h. The header can be written first: types decide every size. Source and result go through the page cache,
 * which reads ahead and writes behind while rows are computed.
 */
#include "runtime/quantize/quantize.h"

#include "kernels/formats.h"
#include "runtime/core/bits.h"
#include "runtime/core/clock.h"
#include "runtime/core/outfile.h"
#include "runtime/gguf/header.h"
#include "runtime/quantize/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

typedef unsigned long long ull;

/* ALIGN: of tensors in the file. PIECE: bytes of the source in memory at a time. */
enum { ALIGN = 32, PIECE_BYTES = 4 << 20 };

typedef struct target {
    const mox_gguf_tensor *src;
    mox_type type; /* as the source's: its bytes are copied */
    uint64_t off, bytes;
} target;

typedef struct quantizer {
    const mox_quantize_cfg *cfg;
    mox_gguf *g;
    mox_mix_choice choice;
    target *t; /* [n_tensors] */
    mox_bytes header;
    int *fd; /* [n_files] */
    mox_outfile file;
    uint8_t *in, *out; /* a piece, and what becomes of it */
    float *rows;       /* [workers][2][cols]: a row, and what stands for it */
    double *sums;      /* [rows of a piece][2] */
    uint64_t max_cols, max_rows;
    uint64_t done, total;
    mox_quantize_report report;
} quantizer;

/* ---- the source ---- */

static mox_err open_source(quantizer *q)
{
    uint32_t n = mox_gguf_n_files(q->g);
    q->fd = malloc(n * sizeof *q->fd);
    if (!q->fd) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "quantize: no memory for %u files", n);
    }
    for (uint32_t i = 0; i < n; i++) {
        q->fd[i] = -1;
    }
    for (uint32_t i = 0; i < n; i++) {
        const char *path = mox_gguf_file(q->g, i);
        q->fd[i] = open(path, O_RDONLY | O_CLOEXEC);
        if (q->fd[i] < 0) {
            return MOX_FAIL_SYS(MOX_E_OPEN, errno, "%s: %s", path, strerror(errno));
        }
        (void)posix_fadvise(q->fd[i], 0, 0, POSIX_FADV_SEQUENTIAL);
        q->report.source_bytes += mox_gguf_file_bytes(q->g, i);
    }
    return MOX_OK;
}

static mox_err source_unchanged(const quantizer *q)
{
    for (uint32_t i = 0; i < mox_gguf_n_files(q->g); i++) {
        struct stat st = {0};
        const int err = fstat(q->fd[i], &st);
        const mox_file_id now = mox_file_id_of(&st);
        if (err != 0 || !mox_file_id_same(&now, mox_gguf_file_id(q->g, i))) {
            return MOX_FAIL(MOX_E_CHANGED, "%s changed while it was being quantized", mox_gguf_file(q->g, i));
        }
    }
    return MOX_OK;
}

static mox_err take(const quantizer *q, uint32_t file, uint64_t off, size_t n)
{
    for (uint8_t *at = q->in; n > 0;) {
        ssize_t got = pread(q->fd[file], at, n, (off_t)off);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? MOX_FAIL_SYS(MOX_E_IO, errno, "reading %s at offset %llu failed: %s",
                                          mox_gguf_file(q->g, file), (ull)off, strerror(errno))
                           : MOX_FAIL(MOX_E_CHANGED, "%s ended at %llu while it was being quantized",
                                      mox_gguf_file(q->g, file), (ull)off);
        }
        at += got;
        off += (uint64_t)got;
        n -= (size_t)got;
    }
    return MOX_OK;
}

/* ---- what is to be written ---- */

static bool is_float(uint32_t type)
{
    return type == MOX_TYPE_F32 || type == MOX_TYPE_F16 || type == MOX_TYPE_BF16;
}

static uint64_t elements(const mox_gguf_tensor *t)
{
    return t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
}

static mox_err choose(quantizer *q, target *t, const mox_mix_model *m)
{
    const mox_gguf_tensor *src = t->src;
    t->type = (mox_type)src->type;
    if (mox_mix_keeps(src)) {
        q->report.n_kept++;
        return MOX_OK;
    }
    if (!is_float(src->type)) {
        char name[MOX_GGUF_MAX_NAME + 1];
        MOX_FAIL(MOX_E_TYPE,
                 "quantize: tensor '%s' is %s already; only F32, F16 and BF16 weights are quantized",
                 mox_escape(src->name, name, sizeof name), mox_type_info(src->type)->name);
        return mox_err_fix("start from the model's F16 or BF16 file: rounding twice loses more than once");
    }
    mox_type wanted;
    t->type = mox_mix_type(&q->choice, m, src, &wanted);
    if (t->type != wanted) {
        q->report.n_shorter++;
        mox_log_line(q->cfg->log, MOX_LOG_WARN,
                     "quantize: rows of %llu in '%.*s' are no whole blocks of %s: %s", (ull)src->ne[0],
                     (int)src->name.n, src->name.p, mox_type_info(wanted)->name,
                     mox_type_info(t->type)->name);
    }
    return MOX_OK;
}

static mox_err plan(quantizer *q)
{
    const uint32_t n = mox_gguf_n_tensors(q->g);
    mox_mix_model m;
    uint64_t off = 0;
    MOX_TRY(mox_mix_of(&m, q->g));
    q->t = calloc((size_t)n + 1, sizeof *q->t);
    if (!q->t) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "quantize: no memory for a list of %u tensors", n);
    }
    for (uint32_t i = 0; i < n; i++) {
        target *t = &q->t[i];
        t->src = mox_gguf_tensor_at(q->g, i);
        MOX_TRY(choose(q, t, &m));
        const mox_type_desc *d = mox_type_info(t->type);
        t->off = off;
        t->bytes = elements(t->src) / d->block_elems * d->block_bytes;
        off += mox_round_up(t->bytes, ALIGN);
        q->max_cols = t->src->ne[0] > q->max_cols ? t->src->ne[0] : q->max_cols;
        q->report.n_elements += elements(t->src);
    }
    q->report.n_tensors = n;
    q->total = off;
    return MOX_OK;
}

static mox_err make_header(quantizer *q)
{
    mox_bytes *b = &q->header;
    const char *replaced[] = {"general.file_type", "general.quantization_version"};
    const size_t at = mox_bytes_magic(b, mox_gguf_n_tensors(q->g));
    for (uint32_t i = 0; i < mox_gguf_n_kv(q->g); i++) {
        const mox_str name = mox_gguf_kv_key(q->g, i);
        bool copy = !mox_gguf_of_files(name);
        for (int k = 0; k < 2; k++) {
            copy &= name.n != strlen(replaced[k]) || memcmp(name.p, replaced[k], name.n) != 0;
        }
        if (copy) {
            mox_bytes_copy_key(b, q->g, i);
        }
    }
    mox_bytes_key(b, replaced[0], MOX_GGUF_U32);
    mox_bytes_u32(b, q->choice.mix->file_type);
    mox_bytes_key(b, replaced[1], MOX_GGUF_U32);
    mox_bytes_u32(b, 2);
    for (uint32_t i = 0; i < mox_gguf_n_tensors(q->g); i++) {
        const mox_gguf_tensor *s = q->t[i].src;
        mox_bytes_tensor(b, s->name, s->n_dims, s->ne, q->t[i].type, q->t[i].off);
    }
    mox_bytes_pad(b, ALIGN);
    if (b->failed) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "quantize: no memory for a header of %zu bytes", b->n);
    }
    memcpy(b->p + at, &b->n_keys, sizeof b->n_keys);
    q->total += b->n;
    q->report.out_bytes = q->total;
    return MOX_OK;
}

/* ---- the result ---- */

static mox_err put(quantizer *q, const void *data, size_t n)
{
    errno = 0;
    if (n > 0 && fwrite(data, 1, n, q->file.f) != n) {
        const int err = errno ? errno : EIO;
        MOX_FAIL_SYS(MOX_E_WRITE, err, "writing %s failed after %llu of %llu bytes: %s", q->cfg->out,
                     (ull)q->done, (ull)q->total, strerror(err));
        return err == ENOSPC || err == EFBIG || err == EDQUOT
                   ? mox_err_fix("the file needs room for %llu bytes", (ull)q->total)
                   : MOX_E_WRITE;
    }
    q->done += n;
    if (q->cfg->progress) {
        q->cfg->progress(q->cfg->progress_ctx, "quantizing", q->done, q->total);
    }
    if (q->cfg->stop && q->cfg->stop() != 0) {
        return MOX_FAIL(MOX_E_CANCELLED, "quantizing was stopped after %llu of %llu bytes", (ull)q->done,
                        (ull)q->total);
    }
    return MOX_OK;
}

static mox_err check_out(const quantizer *q)
{
    struct stat st;
    const char *out = q->cfg->out;
    if (stat(out, &st) != 0) {
        return MOX_OK;
    }
    for (uint32_t i = 0; i < mox_gguf_n_files(q->g); i++) {
        struct stat s;
        if (fstat(q->fd[i], &s) == 0 && s.st_dev == st.st_dev && s.st_ino == st.st_ino) {
            return MOX_FAIL(MOX_E_ARG, "quantize: %s is the model itself", out);
        }
    }
    if (!S_ISREG(st.st_mode)) {
        return MOX_FAIL(MOX_E_WRITE, "quantize: %s exists and is no regular file", out);
    }
    if (!q->cfg->force) {
        MOX_FAIL(MOX_E_WRITE, "quantize: %s exists", out);
        return mox_err_fix("--force replaces it");
    }
    return MOX_OK;
}

static mox_err create_out(quantizer *q)
{
    struct statvfs fs;
    MOX_TRY(mox_outfile_open(&q->file, q->cfg->out, 0644));
    const uint64_t free_bytes =
        fstatvfs(fileno(q->file.f), &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : UINT64_MAX;
    if (free_bytes < q->total) {
        MOX_FAIL(MOX_E_WRITE, "quantize: %s needs %llu bytes (%.1f GiB), %llu (%.1f GiB) are free there",
                 q->cfg->out, (ull)q->total, (double)q->total / (1 << 30), (ull)free_bytes,
                 (double)free_bytes / (1 << 30));
        return mox_err_fix("another place, or make room there");
    }
    return put(q, q->header.p, q->header.n);
}

/* ---- rows ---- */

typedef struct piece {
    const quantizer *q;
    const target *t;
    uint64_t in_row, out_row; /* bytes */
    atomic_int bad;           /* 1: a weight is not finite; 2: too large for the type */
} piece;

/* The largest |x| that a type stands for exactly enough: scales are f16, but for types with their own exponents. */
static float limit_of(mox_type type)
{
    return type == MOX_TYPE_F32 || type == MOX_TYPE_BF16 || type == MOX_TYPE_MXFP4 ? INFINITY : 65504.0f;
}

static int look(const float *x, uint64_t n, float limit)
{
    int bad = 0;
    for (uint64_t i = 0; i < n; i++) {
        bad = !isfinite(x[i]) ? 1 : fabsf(x[i]) > limit && bad == 0 ? 2 : bad;
    }
    return bad;
}

static void do_rows(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    piece *p = arg;
    const quantizer *q = p->q;
    const uint64_t n = p->t->src->ne[0];
    float *x = q->rows + 2 * (size_t)worker * q->max_cols, *y = x + q->max_cols;
    const mox_format *from = mox_format_of(p->t->src->type), *to = mox_format_of(p->t->type);
    for (uint32_t r = begin; r < end; r++) {
        uint8_t *dst = q->out + r * p->out_row;
        from->dequant(q->in + r * p->in_row, x, n);
        const int bad = look(x, n, limit_of(p->t->type));
        if (bad) {
            atomic_store(&p->bad, bad);
            continue;
        }
        mox_quantizer_of(p->t->type)(x, dst, n);
        to->dequant(dst, y, n);
        double error = 0.0, square = 0.0;
        for (uint64_t i = 0; i < n; i++) {
            const double off = (double)x[i] - (double)y[i];
            error += off * off;
            square += (double)x[i] * (double)x[i];
        }
        q->sums[2 * (size_t)r] = error;
        q->sums[2 * (size_t)r + 1] = square;
    }
}

static mox_err quantize_piece(quantizer *q, const target *t, uint32_t n_rows)
{
    piece p = {.q = q,
               .t = t,
               .in_row = mox_type_row_bytes(t->src->type, t->src->ne[0]),
               .out_row = mox_type_row_bytes(t->type, t->src->ne[0])};
    mox_quantize_sum *s = &q->report.by_type[t->type];
    mox_pool_for(q->cfg->pool, n_rows, 4, do_rows, &p);
    const int bad = atomic_load(&p.bad);
    if (bad) {
        return MOX_FAIL(MOX_E_NUMERIC, "quantize: tensor '%.*s' has a weight that is %s", (int)t->src->name.n,
                        t->src->name.p, bad == 1 ? "not finite" : "too large for its type");
    }
    for (uint32_t r = 0; r < n_rows; r++) {
        s->error += q->sums[2 * (size_t)r];
        s->square += q->sums[2 * (size_t)r + 1];
    }
    return put(q, q->out, n_rows * p.out_row);
}

static mox_err write_rows(quantizer *q, const target *t)
{
    const mox_gguf_tensor *src = t->src;
    const uint64_t in_row = mox_type_row_bytes(src->type, src->ne[0]), rows = elements(src) / src->ne[0];
    uint64_t most = PIECE_BYTES / in_row;
    most = most < 1 ? 1 : most > q->max_rows ? q->max_rows : most;
    for (uint64_t r = 0; r < rows;) {
        const uint64_t n = rows - r < most ? rows - r : most;
        MOX_TRY(take(q, src->file, src->off + r * in_row, n * in_row));
        MOX_TRY(quantize_piece(q, t, (uint32_t)n));
        r += n;
    }
    return MOX_OK;
}

static mox_err copy(quantizer *q, const target *t)
{
    for (uint64_t at = 0; at < t->bytes;) {
        const size_t n = t->bytes - at < PIECE_BYTES ? (size_t)(t->bytes - at) : PIECE_BYTES;
        MOX_TRY(take(q, t->src->file, t->src->off + at, n));
        MOX_TRY(put(q, q->in, n));
        at += n;
    }
    return MOX_OK;
}

static mox_err write_tensor(quantizer *q, const target *t)
{
    static const uint8_t zeros[ALIGN];
    mox_quantize_sum *s = &q->report.by_type[t->type];
    MOX_TRY(t->type == (mox_type)t->src->type ? copy(q, t) : write_rows(q, t));
    s->n_tensors++;
    s->n += elements(t->src);
    s->bytes += t->bytes;
    return put(q, zeros, mox_round_up(t->bytes, ALIGN) - t->bytes);
}

/* ---- all of it ---- */

/* A piece is PIECE_BYTES or one row, whichever is more. */
static mox_err take_memory(quantizer *q)
{
    const size_t row = q->max_cols * sizeof(float), piece_bytes = row > PIECE_BYTES ? row : PIECE_BYTES;
    q->max_rows = 1 << 16;
    q->in = malloc(piece_bytes);
    q->out = malloc(2 * piece_bytes); /* F32 of F16 */
    q->rows = malloc(2 * row * mox_pool_workers(q->cfg->pool));
    q->sums = malloc(2 * q->max_rows * sizeof *q->sums);
    if (!q->in || !q->out || !q->rows || !q->sums) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "quantize: no memory for rows of %llu", (ull)q->max_cols);
    }
    return MOX_OK;
}

static mox_err write_all(quantizer *q)
{
    MOX_TRY(mox_mix_parse(&q->choice, q->cfg->type));
    MOX_TRY(mox_gguf_open(&q->g, q->cfg->model));
    if (mox_gguf_packed(q->g)) {
        return MOX_FAIL(MOX_E_ARG, "quantize: %s is a packed file: quantize the model, then pack it",
                        q->cfg->model);
    }
    MOX_TRY(plan(q));
    MOX_TRY(open_source(q));
    MOX_TRY(check_out(q));
    MOX_TRY(make_header(q));
    MOX_TRY(take_memory(q));
    MOX_TRY(create_out(q));
    for (uint32_t i = 0; i < q->report.n_tensors; i++) {
        MOX_TRY(write_tensor(q, &q->t[i]));
    }
    MOX_TRY(source_unchanged(q));
    return mox_outfile_publish(&q->file);
}

static void clean_up(quantizer *q)
{
    mox_outfile_drop(&q->file);
    for (uint32_t i = 0; q->fd && i < mox_gguf_n_files(q->g); i++) {
        if (q->fd[i] >= 0) {
            close(q->fd[i]);
        }
    }
    free(q->fd);
    free(q->t);
    free(q->header.p);
    free(q->in);
    free(q->out);
    free(q->rows);
    free(q->sums);
    mox_gguf_close(&q->g);
}

mox_err mox_quantize_write(const mox_quantize_cfg *cfg, mox_quantize_report *out)
{
    quantizer q = {.cfg = cfg};
    const uint64_t t0 = mox_now_ns();
    const mox_err err = write_all(&q);
    clean_up(&q);
    if (err == MOX_OK) {
        *out = q.report;
        out->seconds = (double)(mox_now_ns() - t0) * 1e-9;
    }
    return err;
}
