/* The memory of a context: four arenas, one per line of the plan that is not a fixed allowance.
 *
 * Asked for in 2 MiB pages: a decode reads all of it for every token, and with 4 KiB pages it would miss the TLB as
 * often; a drive also takes a request into one piece of memory where it would need 256. Huge pages cannot exceed the
 * plan: the kernel gives them only where a whole one lies inside the mapping. Locked where the system allows it, since
 * an expert that was swapped out costs more than one that is read. Neither is needed to work, so what is missing is
 * said in one line each and the run goes on.
 */
#include "runtime/context.h"
#include "runtime/core/bits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { PAGE = 4096, N_ARENAS = 4 };
#define WORTH_SAYING (32u << 20) /* below, small pages cost nothing that could be measured */
#define ENOUGH       0.95
#define WORTH_MOVING 0.80 /* above, putting pages together takes seconds and gains nothing that was seen */
#define MIB          (1024.0 * 1024.0)

/* Linux 6.1; the value is part of the kernel's interface, older headers lack the name. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

static void list_arenas(mox_ctx *ctx, mox_arena *out[N_ARENAS])
{
    mox_arena *all[N_ARENAS] = {&ctx->dense, &ctx->kv, &ctx->buffers, &ctx->store_arena};
    memcpy(out, all, sizeof all);
}

/* One line of the plan becomes memory, bound to the workers' node before anything touches it. */
static mox_err map_line(mox_ctx *ctx, mox_arena *a, uint64_t bytes)
{
    if (bytes == 0) {
        return MOX_OK;
    }
    if (ctx->cfg.dry_run) {
        return mox_arena_map(a, bytes, MOX_ARENA_RESERVE);
    }
    MOX_TRY(mox_arena_map(a, bytes, ctx->cfg.huge_pages ? MOX_ARENA_HUGE : MOX_ARENA_SMALL));
    mox_topo_bind_memory(ctx->topo, a->base, bytes);
    return MOX_OK;
}

/* All or nothing, as pages come in; what is locked already when one is refused is unlocked again. */
static void lock_arenas(mox_ctx *ctx)
{
    mox_arena *a[N_ARENAS];
    uint64_t bytes = 0;
    if (ctx->on.cards.n) {
        return; /* pinned, or said why not */
    }
    list_arenas(ctx, a);
    for (int i = 0; i < N_ARENAS; i++) {
        bytes += a[i]->bytes;
    }
    for (int i = 0; i < N_ARENAS; i++) {
        if (mlock2(a[i]->base, a[i]->bytes, MLOCK_ONFAULT) == 0) {
            continue;
        }
        int err = errno;
        while (i-- > 0) {
            munlock(a[i]->base, a[i]->bytes);
        }
        struct rlimit limit = {0};
        getrlimit(RLIMIT_MEMLOCK, &limit);
        bool limited = err == ENOMEM || err == EPERM;
        mox_log_line(&ctx->cfg.log, MOX_LOG_INFO,
                     "memory is not locked: %.0f MiB wanted, %s%.0f MiB%s; fix: ulimit -l unlimited, or "
                     "CAP_IPC_LOCK",
                     (double)bytes / MIB, limited ? "the limit is " : "refused, the limit is ",
                     limit.rlim_cur == RLIM_INFINITY ? (double)bytes / MIB : (double)limit.rlim_cur / MIB,
                     limited ? "" : " (an old kernel)");
        return;
    }
}

/* A line whose memory devices read and write. */
static mox_err pin_line(mox_ctx *ctx, mox_arena *a, mox_buf *buf, uint64_t bytes)
{
    mox_dev *dev = ctx->on.card[0].dev;
    if (!dev || bytes == 0 || ctx->cfg.dry_run) {
        return map_line(ctx, a, bytes);
    }
    MOX_TRY(dev->ops->mem_alloc(dev, bytes, MOX_MEM_PINNED,
                                ctx->cfg.huge_pages ? MOX_ARENA_HUGE : MOX_ARENA_SMALL, buf));
    *a = (mox_arena){.base = buf->ptr, .bytes = bytes};
    return MOX_OK;
}

mox_err mox_ctx_map(mox_ctx *ctx)
{
    const mox_plan *p = &ctx->plan;
    MOX_TRY(map_line(ctx, &ctx->dense, p->load_bytes ? ctx->place.load_bytes : p->dense_bytes));
    MOX_TRY(map_line(ctx, &ctx->kv, p->kv_bytes));
    MOX_TRY(pin_line(ctx, &ctx->buffers, &ctx->on.buffers, p->buffer_bytes));
    if (!p->load_bytes) {
        MOX_TRY(pin_line(ctx, &ctx->store_arena, &ctx->on.slots, ctx->place.store_bytes));
    }
    if (!ctx->cfg.dry_run) {
        lock_arenas(ctx);
    }
    return MOX_OK;
}

mox_err mox_ctx_map_experts(mox_ctx *ctx)
{
    if (!ctx->plan.load_bytes) {
        return MOX_OK;
    }
    ctx->gone_bytes = ctx->dense.bytes - ctx->place.store_bytes;
    mox_arena_unmap(&ctx->dense);
    return pin_line(ctx, &ctx->store_arena, &ctx->on.slots, ctx->place.store_bytes);
}

/* What the administrator has set: "always [madvise] never" has its word in brackets. */
static void huge_setting(char out[16])
{
    char line[64] = "";
    FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
    if (f) {
        line[fread(line, 1, sizeof line - 1, f)] = '\0';
        fclose(f);
    }
    const char *begin = strchr(line, '[');
    size_t n = begin ? strcspn(begin + 1, "]") : 0;
    snprintf(out, 16, "%.*s", (int)(n < 15 ? n : 15), n ? begin + 1 : "absent");
}

void mox_ctx_check_huge(mox_ctx *ctx)
{
    mox_arena *a[N_ARENAS];
    uint64_t huge, whole;
    list_arenas(ctx, a);
    if (!ctx->cfg.huge_pages) {
        return;
    }
    mox_arena_huge_bytes((const mox_arena *const *)a, N_ARENAS, &huge, &whole);
    if (whole < WORTH_SAYING || (double)huge >= ENOUGH * (double)whole) {
        return;
    }
    char setting[16];
    huge_setting(setting);
    bool move = (double)huge < WORTH_MOVING * (double)whole && strcmp(setting, "never") != 0;
    for (int i = 0; move && i < N_ARENAS; i++) {
        madvise(a[i]->base, mox_round_up(a[i]->bytes, PAGE), MADV_COLLAPSE);
    }
    mox_arena_huge_bytes((const mox_arena *const *)a, N_ARENAS, &huge, &whole);
    if ((double)huge < ENOUGH * (double)whole) {
        mox_log_line(&ctx->cfg.log, MOX_LOG_INFO,
                     "huge pages: %.0f of %.0f MiB (transparent_hugepage is %s%s)", (double)huge / MIB,
                     (double)whole / MIB, setting,
                     strcmp(setting, "never") == 0 ? "; fix: write madvise to "
                                                     "/sys/kernel/mm/transparent_hugepage/enabled"
                                                   : "; memory is in small pieces");
    }
}
