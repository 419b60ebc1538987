/* Ceilings: all threads read memory once over, and the disk is read past the page cache. The memory pass is a
 * plain sum over 64-bit words with several accumulators, which compilers turn into wide loads; its result is
 * used, so that it cannot be dropped. */
#include "runtime/cli/bench_ceiling.h"

#include "offload/io.h"
#include "runtime/core/arena.h"
#include "runtime/core/clock.h"
#include "runtime/core/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct ram_job {
    uint64_t *data;
    uint64_t words;
    bool write;
    uint64_t sum[256];
} ram_job;

static void ram_pass(void *arg, uint32_t worker, uint32_t n_workers)
{
    ram_job *job = arg;
    uint64_t begin = job->words / n_workers * worker;
    uint64_t end = worker + 1 == n_workers ? job->words : begin + job->words / n_workers;
    const uint64_t *p = job->data;
    if (job->write) {
        memset(job->data + begin, 1, (end - begin) * sizeof *p);
        return;
    }
    uint64_t s[32] = {0};
    uint64_t i = begin;
    for (; i + 32 <= end; i += 32) {
        for (uint32_t k = 0; k < 32; k++) {
            s[k] += p[i + k];
        }
    }
    for (uint32_t k = 0; k < 32; k++) {
        job->sum[worker] += s[k];
    }
}

static uint64_t available_bytes(void)
{
    FILE *f = fopen("/proc/meminfo", "r");
    char line[128];
    unsigned long long kib = 0;
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1) {
            break;
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return kib << 10;
}

mox_err mox_ceiling_ram(uint32_t n_threads, mox_ram_ceiling *out)
{
    uint64_t bytes = 4ull << 30, available = available_bytes() / 2;
    if (available < bytes) {
        bytes = available & ~((2ull << 20) - 1);
    }
    mox_arena arena = {0};
    mox_pool *pool = NULL;
    mox_pool_cfg cfg = {.n_workers = n_threads, .spin_us = 50};
    MOX_TRY(mox_arena_map(&arena, bytes, MOX_ARENA_HUGE));
    mox_err err = mox_pool_create(&pool, &cfg);
    static ram_job job;
    job = (ram_job){.data = (uint64_t *)(void *)arena.base, .words = bytes / 8, .write = true};
    double best = 0;
    for (int pass = 0; err == MOX_OK && pass < 4; pass++) {
        uint64_t t0 = mox_now_ns();
        mox_pool_run(pool, ram_pass, &job);
        double seconds = (double)(mox_now_ns() - t0) * 1e-9;
        if (!job.write && (double)bytes / seconds > best) {
            best = (double)bytes / seconds;
        }
        job.write = false; /* the first pass only put pages there */
    }
    mox_pool_destroy(&pool);
    mox_arena_unmap(&arena);
    MOX_TRY(err);
    if (job.sum[0] == 0) {
        return MOX_FAIL(MOX_E_INTERNAL, "the memory probe read nothing");
    }
    *out = (mox_ram_ceiling){.bytes = bytes, .threads = n_threads, .bytes_per_s = best};
    return MOX_OK;
}

mox_err mox_ceiling_disk(const char *path, uint64_t file_bytes, mox_disk_ceiling *out)
{
    static const size_t sizes[] = {512u << 10, 1u << 20};
    static const uint32_t depths[] = {16, 32};
    mox_disk_ceiling best = {0};
    uint64_t bytes = file_bytes < 1u << 30 ? file_bytes : 1u << 30;
    for (size_t i = 0; i < 4; i++) {
        double rate = 0;
        MOX_TRY(mox_io_probe_rate(path, 0, bytes, sizes[i / 2], depths[i % 2], MOX_IO_AUTO, &rate));
        if (rate > best.bytes_per_s) {
            best = (mox_disk_ceiling){
                .bytes_per_s = rate, .request_bytes = sizes[i / 2], .depth = depths[i % 2]};
        }
    }
    *out = best;
    return MOX_OK;
}
