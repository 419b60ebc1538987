/* What the machine does, for `moxie tune`: memory and disk each alone (bench/ceiling.c), both at once, the link to a
 * device, and how long one expert takes to come when nothing was being read before.
 *
 * Both at once: as many threads as a run computes with read memory, over and over, while another one reads the file. What
 * memory gives while the disk writes into it is what experts out of RAM get while others are on their way. An expert read
 * alone is slower than the disk's rate says: the first byte has to come, and too little is in flight; this is the median
 * of reads at places spread over the file.
 */
#include "runtime/cli/plan/device.h"
#include "runtime/cli/tune/tune.h"

#include "kernels/ceilings/ceilings.h"
#include "offload/io.h"
#include "runtime/core/clock.h"
#include "runtime/plan/placement.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BOTH_RAM  (512ull << 20)
#define BOTH_DISK (512ull << 20)
#define RATE_DISK (192ull << 20)
enum { BURSTS = 9, RATE_PASSES = 3, SMALL_READ = 64 << 10 };

/* The file that the disk is measured with; path is the caller's to free. */
typedef struct file_of {
    char *path;
    uint64_t bytes;
} file_of;

static mox_err find_file(const mox_tune *t, mox_ceilings_cfg *cfg, file_of *out)
{
    mox_gguf *g = NULL;
    *cfg = (mox_ceilings_cfg){
        .n_threads = t->plan.n_threads, .isa = t->o->cfg.isa, .run_bytes = t->plan.total_bytes};
    MOX_TRY(mox_gguf_open(&g, t->o->cfg.model));
    mox_ceilings_of(g, cfg);
    *out = (file_of){strdup(cfg->path), cfg->file_bytes};
    mox_gguf_close(&g);
    cfg->path = out->path;
    return out->path ? MOX_OK : MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a path");
}

typedef struct reading {
    const file_of *file;
    _Atomic bool done;
    double rate;
    mox_err err;
} reading;

static void *read_file(void *arg)
{
    reading *r = arg;
    uint64_t bytes = r->file->bytes < BOTH_DISK ? r->file->bytes : BOTH_DISK;
    r->err =
        mox_io_probe_rate(r->file->path, r->file->bytes - bytes, bytes, 1 << 20, 32, MOX_IO_AUTO, &r->rate);
    atomic_store(&r->done, true);
    return NULL;
}

static mox_err both_at_once(const mox_ceilings_cfg *cfg, const file_of *file, mox_tuned_rates *out)
{
    mox_ceiling_crew crew;
    mox_arena arena = {0};
    reading r = {.file = file};
    pthread_t reader;
    uint64_t bytes = BOTH_RAM < mox_host_available_bytes() / 4 ? BOTH_RAM : 0;
    if (bytes == 0 || file->bytes < (64 << 20)) {
        return MOX_OK; /* over before it began */
    }
    MOX_TRY(mox_ceiling_crew_create(&crew, cfg->n_threads));
    mox_err err = mox_arena_map(&arena, bytes, MOX_ARENA_HUGE);
    if (err == MOX_OK) {
        mox_ceiling_write(&crew, &arena);
        if (pthread_create(&reader, NULL, read_file, &r) != 0) {
            err = MOX_FAIL(MOX_E_THREAD, "a thread for reading the file could not be started");
        } else {
            double sum = 0;
            uint32_t n = 0;
            do { /* the last one may outlast the reader */
                sum += 1e9 * mox_ceiling_read(crew.pool, arena.base, bytes);
                n++;
            } while (!atomic_load(&r.done));
            pthread_join(reader, NULL);
            out->both_ram_bps = sum / n;
            out->both_disk_bps = r.rate;
            err = r.err;
        }
        mox_arena_unmap(&arena);
    }
    mox_ceiling_crew_destroy(&crew);
    return err;
}

/* Median seconds of reading so many bytes from rest. */
static mox_err burst(const mox_tune *t, const file_of *file, uint64_t bytes, double *out)
{
    double s[BURSTS];
    uint64_t room = file->bytes > bytes ? file->bytes - bytes : 0;
    uint32_t depth = t->o->cfg.io_depth ? t->o->cfg.io_depth : 32;
    for (uint32_t i = 0; i < BURSTS; i++) {
        double rate = 0;
        MOX_TRY(mox_io_probe_rate(file->path, room / BURSTS * i, bytes, 1 << 20, depth, t->o->cfg.io, &rate));
        s[i] = (double)(bytes < file->bytes ? bytes : file->bytes) / rate;
    }
    *out = mox_bench_spread_of(s, BURSTS).median;
    return MOX_OK;
}

/* What an expert takes beyond its bytes at the disk's rate. */
static mox_err first_byte(const mox_tune *t, const file_of *file, mox_tuned_rates *out)
{
    uint64_t expert = t->expert_bytes ? t->expert_bytes : SMALL_READ;
    double one = 0;
    MOX_TRY(burst(t, file, expert, &one));
    out->burst_s = one > (double)expert / out->disk_bps ? one - (double)expert / out->disk_bps : 0;
    return MOX_OK;
}

static mox_err disk_now(const file_of *file, mox_tuned_rates *out)
{
    uint64_t bytes = file->bytes < RATE_DISK ? file->bytes : RATE_DISK;
    double rate = 0;
    for (uint32_t i = 0; i < RATE_PASSES; i++) { /* the best: what disturbs a pass is not the disk */
        double pass = 0;
        uint64_t off = (file->bytes - bytes) / RATE_PASSES * i;
        MOX_TRY(mox_io_probe_rate(file->path, off, bytes, 1 << 20, 32, MOX_IO_AUTO, &pass));
        rate = pass > rate ? pass : rate;
    }
    out->disk_bps = rate;
    return MOX_OK;
}

mox_err mox_tune_disk(const mox_tune *t, mox_tuned_rates *out)
{
    mox_ceilings_cfg cfg;
    file_of file = {0};
    mox_err err = find_file(t, &cfg, &file);
    err = err == MOX_OK ? disk_now(&file, out) : err;
    free(file.path);
    return err;
}

static mox_err link_rates(const mox_tune *t, mox_tuned_rates *out)
{
    mox_device_here here;
    MOX_TRY(mox_device_measure(&t->o->cfg, &here));
    out->link_bps = here.up_bps;
    out->down_bps = here.down_bps;
    out->vram_bps = here.own_bps;
    snprintf(out->device, sizeof out->device, "%s", here.kind);
    return MOX_OK;
}

mox_err mox_tune_rates(const mox_tune *t, mox_tuned_rates *out)
{
    mox_ceilings_cfg cfg;
    mox_ceilings c;
    file_of file = {0};
    mox_err err;
    MOX_TRY_GOTO(err, find_file(t, &cfg, &file), done);
    MOX_TRY_GOTO(err, mox_ceilings_measure(&cfg, &c), done);
    out->ram_bps = c.ram_bytes_per_s;
    out->int_ops = c.int_ops_per_s;
    out->threads = t->plan.n_threads;
    MOX_TRY_GOTO(err, both_at_once(&cfg, &file, out), done);
    out->disk_bps = c.disk_bytes_per_s;
    MOX_TRY_GOTO(err, first_byte(t, &file, out), done);
    if (t->plan.n_devices > 0) {
        err = link_rates(t, out);
    }
done:
    free(file.path);
    return err;
}
