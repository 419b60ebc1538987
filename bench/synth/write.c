/* Files of a synthetic model: header, then tensors cut out of tiles, 8 MiB per write.
 *
 * A tile is up to 8 MiB of blocks of one (type, mean, spread), as much as the largest tensor needs. A tensor
 * is a sequence of pieces of at most 256 KiB that start at blocks drawn from (seed, tensor): copying costs
 * less than writing, and neither two experts nor two runs of rows are alike. The few tiles a model needs are
 * all kept.
 */
#include "synth.h"

#include "runtime/core/bits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ALIGNMENT = 32, MAX_TILES = 64 };
enum { KIND_U16 = 2, KIND_I32 = 5 };
static const size_t max_tile_bytes = 8u << 20, min_tile_bytes = 1u << 20, piece_bytes = 256u << 10,
                    write_bytes = 8u << 20;

typedef struct tile {
    uint32_t type;
    float center, spread;
    size_t bytes; /* whole blocks */
    uint8_t *data;
} tile;

typedef struct writer {
    const synth_cfg *cfg;
    int fd;
    const char *path;
    uint8_t *buf; /* write_bytes */
    size_t n_buf;
    uint64_t written; /* of this file, buffered bytes included */
    tile tiles[MAX_TILES];
    uint32_t n_tiles;
    size_t tile_bytes;
} writer;

static mox_err flush(writer *w)
{
    size_t done = 0;
    while (done < w->n_buf) {
        ssize_t n = write(w->fd, w->buf + done, w->n_buf - done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return MOX_FAIL_SYS(MOX_E_WRITE, errno, "writing %s failed after %llu bytes: %s", w->path,
                                (unsigned long long)(w->written - w->n_buf + done), strerror(errno));
        }
        done += (size_t)n;
    }
    w->n_buf = 0;
    return MOX_OK;
}

static mox_err put(writer *w, const uint8_t *data, size_t n)
{
    while (n > 0) {
        size_t room = write_bytes - w->n_buf, part = n < room ? n : room;
        memcpy(w->buf + w->n_buf, data, part);
        w->n_buf += part;
        w->written += part;
        data += part;
        n -= part;
        if (w->n_buf == write_bytes) {
            MOX_TRY(flush(w));
        }
    }
    return MOX_OK;
}

static mox_err pad(writer *w)
{
    static const uint8_t zeros[ALIGNMENT];
    return put(w, zeros, (size_t)(-w->written & (ALIGNMENT - 1)));
}

static mox_err tile_of(writer *w, const synth_tensor *t, const tile **out)
{
    for (uint32_t i = 0; i < w->n_tiles; i++) {
        const tile *have = &w->tiles[i];
        if (have->type == t->type && have->center == t->center && have->spread == t->spread) {
            *out = have;
            return MOX_OK;
        }
    }
    if (w->n_tiles == MAX_TILES) {
        return MOX_FAIL(MOX_E_INTERNAL, "more than %d kinds of tensors", MAX_TILES);
    }
    tile *fresh = &w->tiles[w->n_tiles];
    size_t block = mox_type_info(t->type)->block_bytes;
    *fresh = (tile){t->type, t->center, t->spread, w->tile_bytes / block * block, malloc(w->tile_bytes)};
    if (!fresh->data) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a tile of %zu bytes", w->tile_bytes);
    }
    synth_rng r;
    synth_rng_seed(&r, w->cfg->seed, ((uint64_t)t->type << 32) + w->n_tiles + 1);
    synth_fill(t->type, t->center, t->spread, &r, fresh->data, fresh->bytes);
    w->n_tiles++;
    *out = fresh;
    return MOX_OK;
}

static mox_err put_tensor(writer *w, const synth_tensor *t, uint32_t index)
{
    const tile *from = NULL;
    if (w->cfg->sparse) {
        MOX_TRY(flush(w));
        w->written += mox_round_up((size_t)t->bytes, ALIGNMENT);
        return lseek(w->fd, (off_t)w->written, SEEK_SET) < 0 || ftruncate(w->fd, (off_t)w->written) != 0
                   ? MOX_FAIL_SYS(MOX_E_WRITE, errno, "%s: no hole of %llu bytes: %s", w->path,
                                  (unsigned long long)t->bytes, strerror(errno))
                   : MOX_OK;
    }
    MOX_TRY(tile_of(w, t, &from));
    size_t block = mox_type_info(t->type)->block_bytes;
    size_t piece = piece_bytes / block * block;
    synth_rng r;
    synth_rng_seed(&r, w->cfg->seed, ~(uint64_t)index);
    for (uint64_t left = t->bytes; left > 0;) {
        size_t n = left < piece ? (size_t)left : piece;
        uint64_t start = synth_rng_next(&r) % ((from->bytes - piece) / block + 1) * block;
        MOX_TRY(put(w, from->data + start, n));
        left -= n;
    }
    return pad(w);
}

static void part_keys(mox_bytes *b, uint32_t part, uint32_t parts, uint32_t n_tensors)
{
    uint16_t v = (uint16_t)part;
    synth_put_str(b, "split.no");
    mox_bytes_u32(b, KIND_U16);
    mox_bytes_put(b, &v, sizeof v);
    v = (uint16_t)parts;
    synth_put_str(b, "split.count");
    mox_bytes_u32(b, KIND_U16);
    mox_bytes_put(b, &v, sizeof v);
    synth_put_str(b, "split.tensors.count");
    mox_bytes_u32(b, KIND_I32);
    mox_bytes_u32(b, n_tensors);
}

/* Header of one part that holds tensors [first, last) of n; the model's keys are in part 0 alone. */
static mox_err put_header(writer *w, const synth_tensor *t, uint32_t first, uint32_t last, uint32_t n,
                          uint32_t part)
{
    mox_bytes b = {0};
    uint64_t n_kv = 0, off = 0;
    mox_bytes_put(&b, "GGUF", 4);
    mox_bytes_u32(&b, 3);
    mox_bytes_u64(&b, last - first);
    size_t at_n_kv = b.n;
    mox_bytes_u64(&b, 0);
    if (part == 0) {
        n_kv += synth_keys(w->cfg, &b);
    }
    if (w->cfg->split > 1) {
        part_keys(&b, part, w->cfg->split, n);
        n_kv += 3;
    }
    for (uint32_t i = first; i < last; i++) {
        synth_put_str(&b, t[i].name);
        mox_bytes_u32(&b, t[i].n_dims);
        mox_bytes_put(&b, t[i].ne, t[i].n_dims * sizeof t[i].ne[0]);
        mox_bytes_u32(&b, t[i].type);
        mox_bytes_u64(&b, off);
        off += mox_round_up((size_t)t[i].bytes, ALIGNMENT);
    }
    mox_err err = MOX_OK;
    if (b.failed) {
        err = MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a header of more than %zu bytes", b.n);
    } else {
        memcpy(b.p + at_n_kv, &n_kv, sizeof n_kv);
        err = put(w, b.p, b.n);
    }
    free(b.p);
    return err == MOX_OK ? pad(w) : err;
}

static mox_err write_part(writer *w, const char *path, const synth_tensor *t, uint32_t first, uint32_t last,
                          uint32_t n, uint32_t part)
{
    mox_err err = MOX_OK;
    w->path = path;
    w->written = w->n_buf = 0;
    w->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (w->fd < 0) {
        return MOX_FAIL_SYS(MOX_E_WRITE, errno, "cannot create %s: %s", path, strerror(errno));
    }
    MOX_TRY_GOTO(err, put_header(w, t, first, last, n, part), out);
    for (uint32_t i = first; i < last; i++) {
        MOX_TRY_GOTO(err, put_tensor(w, &t[i], i), out);
    }
    err = flush(w);
out:
    if (close(w->fd) != 0 && err == MOX_OK) {
        err = MOX_FAIL_SYS(MOX_E_WRITE, errno, "closing %s failed: %s", path, strerror(errno));
    }
    return err;
}

/* One past the last tensor of a part: parts of about equal bytes, at least one tensor each. */
static uint32_t part_end(const synth_tensor *t, uint32_t first, uint32_t n, uint32_t parts_left)
{
    uint64_t left = 0, here = 0;
    for (uint32_t i = first; i < n; i++) {
        left += t[i].bytes;
    }
    uint32_t end = first;
    do {
        here += t[end++].bytes;
    } while (end + parts_left - 1 < n && (parts_left == 1 || here < left / parts_left));
    return end;
}

mox_err synth_write(const synth_cfg *cfg, uint64_t *bytes)
{
    writer w = {.cfg = cfg, .fd = -1};
    synth_tensor *t = NULL;
    uint32_t n = 0, first = 0;
    mox_err err = MOX_OK;
    char path[4096];
    *bytes = 0;
    MOX_TRY_GOTO(err, synth_tensors(cfg, &t, &n), out);
    if (cfg->split > n) {
        err = MOX_FAIL(MOX_E_ARG, "%u parts for %u tensors", cfg->split, n);
        goto out;
    }
    w.tile_bytes = min_tile_bytes;
    for (uint32_t i = 0; i < n; i++) {
        size_t wanted = t[i].bytes < max_tile_bytes ? (size_t)t[i].bytes : max_tile_bytes;
        w.tile_bytes = wanted > w.tile_bytes ? wanted : w.tile_bytes;
    }
    w.buf = malloc(write_bytes);
    if (!w.buf) {
        err = MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a buffer of %zu bytes", write_bytes);
        goto out;
    }
    size_t stem = strlen(cfg->out);
    stem -= stem > 5 && strcmp(cfg->out + stem - 5, ".gguf") == 0 ? 5 : 0;
    for (uint32_t part = 0; part < cfg->split; part++) {
        uint32_t last = part_end(t, first, n, cfg->split - part);
        if (cfg->split == 1) {
            snprintf(path, sizeof path, "%s", cfg->out);
        } else {
            snprintf(path, sizeof path, "%.*s-%05u-of-%05u.gguf", (int)stem, cfg->out, part + 1, cfg->split);
        }
        MOX_TRY_GOTO(err, write_part(&w, path, t, first, last, n, part), out);
        *bytes += w.written;
        first = last;
    }
out:
    for (uint32_t i = 0; i < w.n_tiles; i++) {
        free(w.tiles[i].data);
    }
    free(w.buf);
    free(t);
    return err;
}
