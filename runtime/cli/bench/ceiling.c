/* Ceilings: all threads read memory once over and multiply small integers (kernels/ceilings has the loops, one set
 * per instruction set), and the disk is read past the page cache with the store's own backends.
 *
 * The buffer is written before it is read (untouched memory is one page of zeros, which is in every cache) and asked
 * for in 2 MiB pages, as the arenas of a run are. It is at least 4 GiB (less for a model of a few MiB), and before the
 * run as big as what the run will take: a virtual machine may be given its memory only when it is touched, several
 * times slower than the disk reads, and loading is measured apart from that. Where so much cannot be had, cgroups
 * counted, it is three quarters of what can: a bench in a small cgroup must not end by its own yardstick. Memory
 * comes after the disk, so that nothing else has it before the model is opened. */
#include "runtime/cli/bench/ceiling.h"

#include "kernels/ceilings/ceilings.h"
#include "offload/io.h"
#include "runtime/cli/ui.h"
#include "runtime/plan/placement.h"

#include <stdio.h>
#include <string.h>

#define RAM_BYTES    (4ull << 30)
#define RAM_LEAST    (128ull << 20) /* below, caches would be measured */
#define RAM_PER_BYTE 16             /* of the model: a small one is not worth seconds of writing */
#define RAM_SMALL    (256ull << 20)
#define DISK_BYTES   (1ull << 30)
#define HUGE_BYTES   (2ull << 20)

void mox_ceilings_of(const mox_gguf *g, mox_ceilings_cfg *cfg)
{
    for (uint32_t i = 0; i < mox_gguf_n_files(g); i++) {
        uint64_t bytes = mox_gguf_file_bytes(g, i);
        cfg->model_bytes += bytes;
        if (bytes > cfg->file_bytes) {
            cfg->file_bytes = bytes;
            cfg->path = mox_gguf_file(g, i);
        }
    }
}

static void write_pass(void *arg, uint32_t worker, uint32_t n_workers)
{
    const mox_arena *a = arg;
    size_t each = a->bytes / n_workers, begin = each * worker;
    memset(a->base + begin, 1, worker + 1 == n_workers ? a->bytes - begin : each);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void mox_ceiling_write(const mox_ceiling_crew *c, mox_arena *a)
{
    mox_pool_run(c->pool, write_pass, a);
}

static mox_err ram_ceiling(const mox_ceilings_cfg *cfg, const mox_ceiling_crew *crew, mox_ceilings *out)
{
    uint64_t bytes = most(RAM_SMALL, least(RAM_BYTES, cfg->model_bytes * RAM_PER_BYTE));
    bytes = least(most(bytes, cfg->run_bytes), mox_host_available_bytes() / 4 * 3) & ~(HUGE_BYTES - 1);
    if (bytes < RAM_LEAST) {
        return MOX_OK;
    }
    mox_arena arena = {0};
    MOX_TRY(mox_arena_map(&arena, bytes, MOX_ARENA_HUGE));
    const mox_arena *list = &arena;
    uint64_t whole = 0;
    mox_ceiling_write(crew, &arena);
    mox_arena_huge_bytes(&list, 1, &out->ram_huge, &whole);
    out->ram_bytes = bytes;
    out->ram_bytes_per_s = 1e9 * mox_ceiling_read(crew->pool, arena.base, bytes);
    mox_arena_unmap(&arena);
    return MOX_OK;
}

static mox_err disk_ceiling(const mox_ceilings_cfg *cfg, mox_ceilings *out)
{
    static const size_t sizes[] = {512u << 10, 1u << 20};
    static const uint32_t depths[] = {16, 32};
    uint64_t bytes = least(cfg->file_bytes, DISK_BYTES);
    for (size_t i = 0; i < 4; i++) {
        double rate = 0;
        MOX_TRY(mox_io_probe_rate(cfg->path, 0, bytes, sizes[i / 2], depths[i % 2], MOX_IO_AUTO, &rate));
        if (rate > out->disk_bytes_per_s) {
            out->disk_bytes_per_s = rate;
            out->request_bytes = sizes[i / 2];
            out->depth = depths[i % 2];
        }
    }
    return MOX_OK;
}

/* As the pool of a run: all but the caller bound to cores. */
static void bind_worker(void *topo, uint32_t worker)
{
    if (worker != 0) {
        mox_topo_bind_worker(topo, worker);
    }
}

mox_err mox_ceiling_crew_create(mox_ceiling_crew *out, uint32_t n_threads)
{
    mox_ceiling_crew c = {0};
    MOX_TRY(mox_topo_create(&c.topo));
    mox_topo_set_workers(c.topo, n_threads);
    mox_pool_cfg cfg = {.n_workers = n_threads, .bind = bind_worker, .bind_ctx = c.topo, .spin_us = 50};
    mox_err err = mox_pool_create(&c.pool, &cfg);
    if (err != MOX_OK) {
        mox_ceiling_crew_destroy(&c);
        return err;
    }
    *out = c;
    return MOX_OK;
}

void mox_ceiling_crew_destroy(mox_ceiling_crew *c)
{
    mox_pool_destroy(&c->pool);
    mox_topo_destroy(&c->topo);
}

static mox_err compute_ceilings(const mox_ceilings_cfg *cfg, mox_ceilings *out)
{
    mox_ceiling_crew crew;
    MOX_TRY(mox_ceiling_crew_create(&crew, cfg->n_threads));
    mox_isa isa = cfg->isa < 0 ? mox_isa_best() : (mox_isa)cfg->isa;
    out->threads = cfg->n_threads;
    out->isa = mox_isa_name(isa);
    out->int_ops_per_s = 1e9 * mox_ceiling_int(crew.pool, isa);
    mox_err err = ram_ceiling(cfg, &crew, out);
    mox_ceiling_crew_destroy(&crew);
    return err;
}

mox_err mox_ceilings_measure(const mox_ceilings_cfg *cfg, mox_ceilings *out)
{
    *out = (mox_ceilings){0};
    MOX_TRY(disk_ceiling(cfg, out));
    return compute_ceilings(cfg, out);
}

mox_ceilings mox_ceilings_best(const mox_ceilings *before, const mox_ceilings *after)
{
    mox_ceilings best = *before;
    if (after->ram_bytes_per_s > best.ram_bytes_per_s) {
        best.ram_bytes_per_s = after->ram_bytes_per_s;
        best.ram_bytes = after->ram_bytes;
        best.ram_huge = after->ram_huge;
    }
    if (after->int_ops_per_s > best.int_ops_per_s) {
        best.int_ops_per_s = after->int_ops_per_s;
    }
    if (after->disk_bytes_per_s > best.disk_bytes_per_s) {
        best.disk_bytes_per_s = after->disk_bytes_per_s;
        best.request_bytes = after->request_bytes;
        best.depth = after->depth;
    }
    return best;
}

void mox_ceilings_json(mox_json *j, const char *key, const mox_ceilings *c)
{
    mox_json_object(j, key);
    mox_json_object(j, "ram_read");
    mox_json_f64(j, "bytes_per_s", c->ram_bytes_per_s);
    mox_json_u64(j, "bytes", c->ram_bytes);
    mox_json_u64(j, "bytes_in_huge_pages", c->ram_huge);
    mox_json_u64(j, "threads", c->threads);
    mox_json_object_end(j);
    mox_json_object(j, "integer");
    mox_json_f64(j, "ops_per_s", c->int_ops_per_s);
    mox_json_string(j, "isa", c->isa);
    mox_json_u64(j, "threads", c->threads);
    mox_json_object_end(j);
    mox_json_object(j, "direct_read");
    mox_json_f64(j, "bytes_per_s", c->disk_bytes_per_s);
    mox_json_u64(j, "request_bytes", c->request_bytes);
    mox_json_u64(j, "in_flight", c->depth);
    mox_json_object_end(j);
    mox_json_object_end(j);
}

void mox_ceilings_print(const mox_ceilings *before, const mox_ceilings *after)
{
    mox_ceilings b = mox_ceilings_best(before, after);
    char size[24];
    printf("ceilings, before and after: RAM read %.2f, %.2f GB/s (%s, %.0f %% in 2 MiB pages, %u threads); "
           "integer "
           "%.0f, %.0f Gop/s (%s); O_DIRECT read %.2f, %.2f GB/s (%llu KiB x %u)\n",
           before->ram_bytes_per_s / 1e9, after->ram_bytes_per_s / 1e9, mox_human(b.ram_bytes, size),
           b.ram_bytes > 0 ? 100.0 * (double)b.ram_huge / (double)b.ram_bytes : 0, b.threads,
           before->int_ops_per_s / 1e9, after->int_ops_per_s / 1e9, b.isa, before->disk_bytes_per_s / 1e9,
           after->disk_bytes_per_s / 1e9, (unsigned long long)b.request_bytes >> 10, b.depth);
}
