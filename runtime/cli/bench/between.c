/* Short measurements of what the machine can do (between.h).
 *
 * The same loops as in ceiling.c, on less: a buffer of memory that takes RAM_SECONDS to be read five times,
 * and as much of the file as is read in DISK_SECONDS with the setting that was best before, each time the part
 * behind the last. The buffer and the threads are taken before the model is opened and kept until the end; the
 * buffer is no more than half of what will be free beside the run, so that a bench in a small cgroup has the plan
 * that a run has; where that is too little to be measured, memory is not. Between measurements the threads sleep.
 */
#include "runtime/cli/bench/between.h"

#include "kernels/ceilings/ceilings.h"
#include "offload/io.h"
#include "runtime/core/arena.h"
#include "runtime/plan/placement.h"

#include <stdlib.h>
#include <string.h>

#define RAM_SECONDS  0.15
#define RAM_PASSES   5 /* of mox_ceiling_read, which keeps the best */
#define RAM_LEAST    (128ull << 20)
#define RAM_MOST     (1ull << 30)
#define DISK_SECONDS 0.15
#define DISK_LEAST   (16ull << 20)
#define HUGE_BYTES   (2ull << 20)

struct mox_between {
    mox_ceiling_crew crew;
    mox_isa isa;
    mox_arena ram; /* bytes 0: none */
    char *path;
    uint64_t file_bytes, disk_bytes, disk_next;
    uint64_t request_bytes;
    uint32_t depth;
};

static uint64_t clamp(double v, uint64_t least, uint64_t most)
{
    return v < (double)least ? least : v > (double)most ? most : (uint64_t)v;
}

static mox_err take_memory(mox_between *b, const mox_ceilings_cfg *cfg, double bytes_per_s)
{
    uint64_t bytes = clamp(bytes_per_s * RAM_SECONDS / RAM_PASSES, RAM_LEAST, RAM_MOST);
    uint64_t available = mox_host_available_bytes();
    uint64_t room = available > cfg->run_bytes ? (available - cfg->run_bytes) / 2 : 0;
    bytes = (bytes < room ? bytes : room) & ~(HUGE_BYTES - 1);
    if (bytes < RAM_LEAST) {
        return MOX_OK;
    }
    MOX_TRY(mox_arena_map(&b->ram, bytes, MOX_ARENA_HUGE));
    mox_ceiling_write(&b->crew, &b->ram);
    return MOX_OK;
}

mox_err mox_between_create(mox_between **out, const mox_ceilings_cfg *cfg, const mox_ceilings *full)
{
    mox_between *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for the ceilings");
    }
    b->isa = cfg->isa < 0 ? mox_isa_best() : (mox_isa)cfg->isa;
    b->file_bytes = cfg->file_bytes;
    b->disk_bytes = clamp(full->disk_bytes_per_s * DISK_SECONDS, DISK_LEAST, UINT64_MAX >> 1);
    b->request_bytes = full->request_bytes;
    b->depth = full->depth;
    b->path = strdup(cfg->path);
    mox_err err;
    if (b->path == NULL) {
        err = MOX_FAIL(MOX_E_NO_MEMORY, "no memory for the ceilings");
        goto failed;
    }
    MOX_TRY_GOTO(err, mox_ceiling_crew_create(&b->crew, cfg->n_threads), failed);
    MOX_TRY_GOTO(err, take_memory(b, cfg, full->ram_bytes_per_s), failed);
    *out = b;
    return MOX_OK;
failed:
    mox_between_destroy(&b);
    return err;
}

void mox_between_destroy(mox_between **b)
{
    if (*b == NULL) {
        return;
    }
    if ((*b)->ram.bytes > 0) {
        mox_arena_unmap(&(*b)->ram);
    }
    mox_ceiling_crew_destroy(&(*b)->crew);
    free((*b)->path);
    free(*b);
    *b = NULL;
}

mox_err mox_between_measure(mox_between *b, mox_between_rates *out)
{
    *out = (mox_between_rates){0};
    if (b->disk_next + b->disk_bytes > b->file_bytes) {
        b->disk_next = 0;
    }
    MOX_TRY(mox_io_probe_rate(b->path, b->disk_next, b->disk_bytes, b->request_bytes, b->depth, MOX_IO_AUTO,
                              &out->disk_bytes_per_s));
    b->disk_next += b->disk_bytes;
    out->int_ops_per_s = 1e9 * mox_ceiling_int(b->crew.pool, b->isa);
    if (b->ram.bytes > 0) {
        out->ram_bytes_per_s = 1e9 * mox_ceiling_read(b->crew.pool, b->ram.base, b->ram.bytes);
    }
    return MOX_OK;
}

mox_between_rates mox_between_mean(const mox_between_rates *a, const mox_between_rates *b)
{
    return (mox_between_rates){
        .ram_bytes_per_s = (a->ram_bytes_per_s + b->ram_bytes_per_s) / 2,
        .int_ops_per_s = (a->int_ops_per_s + b->int_ops_per_s) / 2,
        .disk_bytes_per_s = (a->disk_bytes_per_s + b->disk_bytes_per_s) / 2,
    };
}

uint64_t mox_between_ram_bytes(const mox_between *b)
{
    return b->ram.bytes;
}
