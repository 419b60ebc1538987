/* What a context does with its memory: pages of 2 MiB or none, locked or said. */
#include "runtime/context.h"

#include <criterion/criterion.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static char lines[4096]; /* of the log */

static void note(void *ctx, mox_log_level level, const char *text)
{
    (void)ctx, (void)level;
    strncat(lines, text, sizeof lines - strlen(lines) - 2);
    strcat(lines, "\n");
}

static mox_ctx *open_demo(bool huge_pages)
{
    mox_cfg cfg;
    mox_ctx *ctx = NULL;
    mox_cfg_defaults(&cfg);
    cfg.model = MOX_TEST_DATA "/demo/moxie-demo-Q4_K_M.gguf";
    cfg.n_ctx = 64;
    cfg.huge_pages = huge_pages;
    cfg.log = (mox_log){.fn = note, .level = MOX_LOG_INFO};
    lines[0] = '\0';
    cr_assert_eq(mox_open(&ctx, &cfg), MOX_OK, "%s", mox_err_last()->msg);
    return ctx;
}

static uint64_t huge_bytes(const mox_ctx *ctx, uint64_t *whole)
{
    const mox_arena *a[] = {&ctx->dense, &ctx->kv, &ctx->buffers, &ctx->store_arena};
    uint64_t huge;
    mox_arena_huge_bytes(a, 4, &huge, whole);
    return huge;
}

static bool system_has_huge_pages(void)
{
    mox_arena a;
    const mox_arena *list = &a;
    uint64_t huge, whole;
    cr_assert_eq(mox_arena_map(&a, 4 << 20, MOX_ARENA_HUGE), MOX_OK);
    memset(a.base, 1, a.bytes);
    mox_arena_huge_bytes(&list, 1, &huge, &whole);
    mox_arena_unmap(&a);
    return huge == 4 << 20;
}

Test(memory, experts_are_in_huge_pages)
{
    mox_ctx *ctx = open_demo(true);
    uint64_t whole, huge = huge_bytes(ctx, &whole);
    cr_assert_geq(whole, 10 << 20, "the demo model's experts take 10.6 MiB");
    if (system_has_huge_pages()) {
        cr_assert_geq(huge, whole / 2, "%llu of %llu bytes", (unsigned long long)huge,
                      (unsigned long long)whole);
    }
    mox_close(&ctx);
}

Test(memory, off_means_none)
{
    mox_ctx *ctx = open_demo(false);
    uint64_t whole;
    cr_assert_eq(huge_bytes(ctx, &whole), 0);
    cr_assert_geq(whole, 10 << 20);
    cr_assert_null(strstr(lines, "huge pages"), "nothing is missing where nothing was asked for");
    mox_close(&ctx);
}

static uint64_t locked_kib(void)
{
    char line[256];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    cr_assert_not_null(f);
    while (fgets(line, sizeof line, f) && sscanf(line, "VmLck: %llu kB", &kib) != 1) {
    }
    fclose(f);
    return kib;
}

Test(memory, is_locked_where_allowed_and_said_where_not)
{
    mox_ctx *ctx = open_demo(true);
    bool said = strstr(lines, "memory is not locked") != NULL;
    uint64_t arenas = ctx->dense.bytes + ctx->kv.bytes + ctx->buffers.bytes + ctx->store_arena.bytes;
    cr_assert(said ? locked_kib() == 0 : locked_kib() >= arenas / 1024, "all or nothing: %llu KiB are locked",
              (unsigned long long)locked_kib());
    mox_close(&ctx);

    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    cr_assert_eq(syscall(SYS_capget, &header, data), 0);
    data[CAP_IPC_LOCK / 32].effective &= ~(1u << CAP_IPC_LOCK % 32);
    cr_assert_eq(syscall(SYS_capset, &header, data), 0);
    struct rlimit none = {.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
    cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &none), 0);
    ctx = open_demo(true);
    cr_assert_not_null(strstr(lines, "memory is not locked: "), "%s", lines);
    cr_assert_not_null(strstr(lines, "the limit is 1 MiB; fix: ulimit -l"), "%s", lines);
    cr_assert_eq(locked_kib(), 0);
    mox_close(&ctx);
}
