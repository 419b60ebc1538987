/* One logits hash per family from any split: `family_split N` evaluates every fixture in N configurations of budget,
 * backend, threads, instruction set, micro-batch, look-ahead and device, and wants the hash of the first. A micro-batch of 1
 * is token by token. The first four are part of every check; under the label wide there are all. Configurations on the
 * emulator are left out where its module is not built, which is printed.
 */
#include "families/table.h"
#include "runtime/moxie.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 60 };

typedef struct split {
    double pct; /* of the experts kept; 0: --ram min */
    mox_io_mode io;
    uint32_t threads, batch;
    mox_isa isa;
    bool look_ahead;
    const char *device; /* NULL: the CPU alone */
    double vram_pct;    /* of the experts */
    mox_miss miss;
} split;

#define PLAYED "cpu:vram=64M"

/* The first four differ in everything. */
static const split splits[] = {
    {100, MOX_IO_PREAD, 2, 512, MOX_ISA_AVX512, true, NULL, 0, MOX_MISS_AUTO},
    {0, MOX_IO_URING, 1, 1, MOX_ISA_SCALAR, false, NULL, 0, MOX_MISS_AUTO},
    {50, MOX_IO_PREAD, 3, 7, MOX_ISA_AVX2, true, PLAYED, 30, MOX_MISS_SPLIT},
    {100, MOX_IO_URING, 2, 16, MOX_ISA_AVXVNNI, false, "emu", 0, MOX_MISS_AUTO},
    {25, MOX_IO_URING, 5, 64, MOX_ISA_AVXVNNI, false, NULL, 0, MOX_MISS_AUTO},
    {0, MOX_IO_PREAD, 3, 16, MOX_ISA_AVX512, true, NULL, 0, MOX_MISS_AUTO},
    {25, MOX_IO_PREAD, 1, 3, MOX_ISA_AVX2, false, NULL, 0, MOX_MISS_AUTO},
    {50, MOX_IO_URING, 2, 1, MOX_ISA_AVXVNNI, true, NULL, 0, MOX_MISS_AUTO},
    {100, MOX_IO_URING, 5, 5, MOX_ISA_SCALAR, true, NULL, 0, MOX_MISS_AUTO},
    {0, MOX_IO_URING, 2, 64, MOX_ISA_AVX2, true, NULL, 0, MOX_MISS_AUTO},
    {25, MOX_IO_PREAD, 3, 512, MOX_ISA_SCALAR, false, NULL, 0, MOX_MISS_AUTO},
    {50, MOX_IO_PREAD, 3, 7, MOX_ISA_AVX2, true, NULL, 0, MOX_MISS_AUTO},
    {50, MOX_IO_URING, 1, 12, MOX_ISA_AVX512, false, NULL, 0, MOX_MISS_AUTO},
    {100, MOX_IO_PREAD, 3, 1, MOX_ISA_AVX2, false, NULL, 0, MOX_MISS_AUTO},
    {25, MOX_IO_URING, 2, 33, MOX_ISA_AVX512, true, NULL, 0, MOX_MISS_AUTO},
    {100, MOX_IO_PREAD, 2, 9, MOX_ISA_SCALAR, true, PLAYED, 100, MOX_MISS_CPU},
    {30, MOX_IO_URING, 1, 1, MOX_ISA_AVX512, false, PLAYED ",n=2", 20, MOX_MISS_COPY},
    {100, MOX_IO_PREAD, 3, 64, MOX_ISA_AVX2, true, PLAYED ",n=2", 50, MOX_MISS_SPLIT},
    {100, MOX_IO_PREAD, 1, 1, MOX_ISA_SCALAR, false, "emu:policy=eager,sm=75", 0, MOX_MISS_AUTO},
    {100, MOX_IO_URING, 2, 64, MOX_ISA_AVX512, true, "emu:order=shuffled", 0, MOX_MISS_AUTO},
};

enum { N_SPLITS = sizeof splits / sizeof splits[0] };

static bool is_absent(const split *s)
{
    return MOX_MODULE_DIR[0] == '\0' && s->device && strncmp(s->device, "emu", 3) == 0;
}

static mox_err run(const char *path, const split *s, mox_hash128 *hash)
{
    mox_cfg cfg;
    mox_ctx *ctx = NULL;
    mox_cfg_defaults(&cfg);
    cfg.model = path;
    cfg.log.level = MOX_LOG_ERROR;
    cfg.ram = s->pct == 0 ? (mox_budget){.kind = MOX_BUDGET_MIN}
                          : (mox_budget){.kind = MOX_BUDGET_EXPERTS_PCT, .pct = s->pct};
    cfg.io = s->io;
    cfg.n_threads = s->threads;
    cfg.n_batch = s->batch;
    cfg.isa = mox_isa_present(s->isa) ? (int)s->isa : -1;
    cfg.look_ahead = s->look_ahead;
    cfg.n_ctx = TOKENS;
    if (s->device) {
        cfg.device = s->device;
        cfg.device_dir = MOX_MODULE_DIR;
        cfg.vram =
            s->vram_pct > 0 ? (mox_budget){.kind = MOX_BUDGET_EXPERTS_PCT, .pct = s->vram_pct} : cfg.vram;
        cfg.miss = s->miss;
    }
    MOX_TRY(mox_open(&ctx, &cfg));
    uint32_t ids[TOKENS];
    for (uint32_t i = 0; i < TOKENS; i++) { /* the smallest vocabulary has 363 */
        ids[i] = (i * 2654435761u >> 16) % 363;
    }
    mox_err err = mox_eval(ctx, 0, ids, TOKENS, true, NULL, NULL);
    *hash = mox_logits_hash(ctx);
    mox_close(&ctx);
    return err;
}

static bool check(const char *file, uint32_t n)
{
    char path[1024];
    mox_hash128 want = {0}, got = {0};
    bool good = true;
    uint32_t ran = 0;
    snprintf(path, sizeof path, MOX_TEST_DATA "/models/%s.gguf", file);
    for (uint32_t i = 0; i < n; i++) {
        if (is_absent(&splits[i])) {
            continue;
        }
        ran++;
        if (run(path, &splits[i], i == 0 ? &want : &got) != MOX_OK) {
            printf("FAILED %s, configuration %u: %s\n", file, i, mox_err_last()->msg);
            return false;
        }
        if (i > 0 && (got.lo != want.lo || got.hi != want.hi)) {
            printf("DIFFER %s: configuration %u gives %016" PRIx64 "%016" PRIx64 "\n", file, i, got.hi,
                   got.lo);
            good = false;
        }
    }
    printf("%s: %u configurations%s, logits_xxh3 %016" PRIx64 "%016" PRIx64 "\n", file, ran,
           MOX_MODULE_DIR[0] ? "" : " (none on the emulator, which is not built)", want.hi, want.lo);
    return good;
}

int main(int argc, char **argv)
{
    uint32_t n = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : N_SPLITS, failed;
    n = n < 2 || n > N_SPLITS ? N_SPLITS : n;
    failed = !check("mixtral-a", n);
    for (int i = 0; i < FAM_CASES; i++) {
        failed += !check(fam_cases[i].file, n);
    }
    return failed != 0;
}
