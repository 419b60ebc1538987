/* Saved heat: see heat.h. It is uses, with those of earlier runs fading over thousands of steps; the heat that policies go
 * by fades over a hundred, and says what the end of a text was about: at the beginning of the next one it was worth
 * nothing on the demo model (49.5 loads of 102 uses against 47.5 without). The file, little-endian: a header of 40 bytes (magic, version, model, layers, experts, XXH3-64
 * of the rest, reserved), then a float for each expert, layer by layer. */
#include "offload/heat.h"

#include "offload/store_internal.h"
#include "runtime/core/hash.h"
#include "runtime/core/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAT_VERSION = 1, MAX_PATH = 4096, HALF_LIFE = 2048 };

typedef struct heat_header {
    char magic[4];
    uint32_t version;
    uint64_t model;
    uint32_t n_layers, n_experts;
    uint64_t sum; /* of the floats */
    uint64_t reserved;
} heat_header;

_Static_assert(sizeof(heat_header) == 40, "format of version 1");

static const char heat_magic[4] = {'M', 'O', 'X', 'H'};

/* What is left of saved heat after so many steps of its layer: half after HALF_LIFE of them. */
static float fade(uint64_t steps)
{
    return (float)exp2(-(double)steps / HALF_LIFE);
}

bool mox_store_heat(const mox_store *st, float *heat)
{
    bool used = false;
    for (uint32_t l = 0; l < st->cfg.n_layers; l++) {
        const mox_layer_state *layer = &st->layer[l];
        used = used || layer->step > 0;
        for (uint32_t e = 0; e < st->cfg.n_experts; e++) {
            const mox_expert_stat *now = &layer->stats[e];
            *heat++ = (float)now->count + now->prior * fade(layer->step);
        }
    }
    return used;
}

static size_t cells(const mox_heat_id *id)
{
    return (size_t)id->n_layers * id->n_experts;
}

static mox_err check(const char *path, const mox_heat_id *id, const heat_header *h)
{
    if (memcmp(h->magic, heat_magic, sizeof h->magic) != 0) {
        return MOX_FAIL(MOX_E_FORMAT, "%.300s is not saved heat", path);
    }
    if (h->version != HEAT_VERSION) {
        return MOX_FAIL(MOX_E_FORMAT, "%.300s has version %u, this program reads %d", path, h->version,
                        HEAT_VERSION);
    }
    if (h->model != id->model || h->n_layers != id->n_layers || h->n_experts != id->n_experts) {
        return MOX_FAIL(MOX_E_FORMAT, "%.300s is of another model", path);
    }
    return MOX_OK;
}

static mox_err check_values(const char *path, const heat_header *h, const float *heat, size_t n)
{
    bool good = mox_hash64(heat, n * sizeof *heat, 0) == h->sum;
    for (size_t i = 0; i < n && good; i++) {
        good = isfinite(heat[i]) && heat[i] >= 0.0f;
    }
    return good ? MOX_OK : MOX_FAIL(MOX_E_CORRUPT, "%.300s is damaged: its checksum is wrong", path);
}

mox_err mox_heat_load(const char *path, const mox_heat_id *id, float *heat)
{
    heat_header h;
    size_t bytes = cells(id) * sizeof *heat;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return MOX_FAIL_SYS(MOX_E_OPEN, errno, "%.300s cannot be opened: %s", path, strerror(errno));
    }
    struct stat st;
    mox_err err = MOX_OK;
    errno = 0;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || pread(fd, &h, sizeof h, 0) != (ssize_t)sizeof h) {
        err = errno ? MOX_FAIL_SYS(MOX_E_IO, errno, "%.300s cannot be read: %s", path, strerror(errno))
                    : MOX_FAIL(MOX_E_FORMAT, "%.300s is not saved heat", path);
    }
    if (err == MOX_OK) {
        err = check(path, id, &h);
    }
    if (err == MOX_OK &&
        ((uint64_t)st.st_size != sizeof h + bytes || pread(fd, heat, bytes, sizeof h) != (ssize_t)bytes)) {
        err = MOX_FAIL(MOX_E_CORRUPT, "%.300s is damaged: %lld bytes, not %zu", path, (long long)st.st_size,
                       sizeof h + bytes);
    }
    close(fd);
    return err == MOX_OK ? check_values(path, &h, heat, cells(id)) : err;
}

/* The folders above a file, for its owner alone. What cannot be made shows when the file is created. */
static void make_folders(const char *path)
{
    char folder[MAX_PATH];
    size_t n = strlen(path);
    if (n >= sizeof folder) {
        return;
    }
    memcpy(folder, path, n + 1);
    for (char *at = strchr(folder + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = '\0';
        mkdir(folder, 0700);
        *at = '/';
    }
}

mox_err mox_heat_save(const char *path, const mox_heat_id *id, const float *heat)
{
    size_t n = cells(id);
    heat_header h = {.version = HEAT_VERSION,
                     .model = id->model,
                     .n_layers = id->n_layers,
                     .n_experts = id->n_experts,
                     .sum = mox_hash64(heat, n * sizeof *heat, 0)};
    memcpy(h.magic, heat_magic, sizeof h.magic);
    make_folders(path);
    mox_outfile file = {0};
    MOX_TRY(mox_outfile_open(&file, path, 0600));
    fwrite(&h, sizeof h, 1, file.f);
    fwrite(heat, sizeof *heat, n, file.f); /* a failure of either is publish's to find */
    return mox_outfile_publish(&file);
}
