/* One logits hash per family from any split: `family_split N` evaluates every fixture in N configurations of budget,
 * backend, threads, instruction set, micro-batch and look-ahead, and wants the hash of the first. A micro-batch of 1 is
 * token by token. 3 configurations are part of every check; under the label wide there are all.
 */
#include "families/table.h"
#include "runtime/moxie.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 60 };

typedef struct split {
    double pct; /* of the experts kept; 0: --ram min */
    mox_io_mode io;
    uint32_t threads, batch;
    mox_isa isa;
    bool look_ahead;
} split;

/* The first three differ in everything. */
static const split splits[] = {
    {100, MOX_IO_PREAD, 2, 512, MOX_ISA_AVX512, true}, {0, MOX_IO_URING, 1, 1, MOX_ISA_SCALAR, false},
    {50, MOX_IO_PREAD, 3, 7, MOX_ISA_AVX2, true},      {25, MOX_IO_URING, 5, 64, MOX_ISA_AVXVNNI, false},
    {0, MOX_IO_PREAD, 3, 16, MOX_ISA_AVX512, true},    {25, MOX_IO_PREAD, 1, 3, MOX_ISA_AVX2, false},
    {50, MOX_IO_URING, 2, 1, MOX_ISA_AVXVNNI, true},   {100, MOX_IO_URING, 5, 5, MOX_ISA_SCALAR, true},
    {0, MOX_IO_URING, 2, 64, MOX_ISA_AVX2, true},      {25, MOX_IO_PREAD, 3, 512, MOX_ISA_SCALAR, false},
    {50, MOX_IO_URING, 1, 12, MOX_ISA_AVX512, false},  {100, MOX_IO_PREAD, 3, 1, MOX_ISA_AVX2, false},
    {25, MOX_IO_URING, 2, 33, MOX_ISA_AVX512, true},
};

enum { N_SPLITS = sizeof splits / sizeof splits[0] };

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
    snprintf(path, sizeof path, MOX_TEST_DATA "/models/%s.gguf", file);
    for (uint32_t i = 0; i < n; i++) {
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
    printf("%s: %u configurations, logits_xxh3 %016" PRIx64 "%016" PRIx64 "\n", file, n, want.hi, want.lo);
    return good;
}

int main(int argc, char **argv)
{
    uint32_t n = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : N_SPLITS, failed = 0;
    n = n < 2 || n > N_SPLITS ? N_SPLITS : n;
    for (int i = 0; i < FAM_CASES; i++) {
        failed += !check(fam_cases[i].file, n);
    }
    return failed != 0;
}
