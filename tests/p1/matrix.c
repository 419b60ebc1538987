/* The same answer from any split: one logits hash per model over a matrix of configurations.
 *
 * For each model a reference configuration evaluates all tokens and its logits are kept; every other
 * configuration must give the same hash. Factors: budget, I/O backend, threads, instruction set, micro-batch,
 * policy, look-ahead, recording. By default a pairwise covering set of at least 48 configurations, made here;
 * --full runs the whole product.
 *
 * A configuration that would take long on a big model (one token at a time, plain C) may be run on the first
 * --slow-tokens tokens only: a token's logits do not depend on later tokens, so its hash is compared with
 * that of the same rows of the reference. What was run on how many tokens is printed.
 */
#include "p1/covering.h"
#include "runtime/moxie.h"

#include "runtime/core/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { F_BUDGET, F_IO, F_THREADS, F_ISA, F_BATCH, F_POLICY, F_LOOK, F_RECORD, N_FACTORS };
enum { MAX_CONFIGS = 8192 };

static const double budget_pct[] = {0, 25, 50, 100}; /* 0: --ram min */
static const mox_io_mode ios[] = {MOX_IO_URING, MOX_IO_PREAD};
static const uint32_t thread_counts[] = {1, 2, 3, 5};
static const uint32_t batches[] = {1, 7, 64, 512};
static const char *const policies[] = {"lru", "lfu", "dlfu", "static"};
static uint8_t n_levels[N_FACTORS] = {4, 2, 4, 0, 4, 4, 2, 2};
static mox_isa isas[MOX_ISA_COUNT];

typedef struct matrix_args {
    bool full, is_short;
    uint32_t tokens, configs;
    const char *trace;
} matrix_args;

typedef struct matrix_model {
    const char *path;
    uint32_t n_vocab;
    uint32_t *ids;
    float *ref; /* [tokens][n_vocab] */
    uint32_t rows;
} matrix_model;

static void describe(const cover_config *c, char *out, size_t n)
{
    char budget[32];
    double pct = budget_pct[c->level[F_BUDGET]];
    if (pct == 0) {
        snprintf(budget, sizeof budget, "--ram min");
    } else {
        snprintf(budget, sizeof budget, "--ram-experts %.0f%%", pct);
    }
    snprintf(out, n, "%s --io %s --threads %u --isa %s --batch %u --policy %s --look-ahead %s%s", budget,
             ios[c->level[F_IO]] == MOX_IO_URING ? "uring" : "pread", thread_counts[c->level[F_THREADS]],
             mox_isa_name(isas[c->level[F_ISA]]), batches[c->level[F_BATCH]], policies[c->level[F_POLICY]],
             c->level[F_LOOK] ? "on" : "off", c->level[F_RECORD] ? " --record" : "");
}

static void fill_cfg(mox_cfg *cfg, const matrix_args *a, const matrix_model *m, const cover_config *c)
{
    mox_cfg_defaults(cfg);
    double pct = budget_pct[c->level[F_BUDGET]];
    cfg->model = m->path;
    cfg->ram = pct == 0 ? (mox_budget){.kind = MOX_BUDGET_MIN}
                        : (mox_budget){.kind = MOX_BUDGET_EXPERTS_PCT, .pct = pct};
    cfg->n_ctx = a->tokens;
    cfg->io = ios[c->level[F_IO]];
    cfg->n_threads = thread_counts[c->level[F_THREADS]];
    cfg->isa = (int)isas[c->level[F_ISA]];
    cfg->n_batch = batches[c->level[F_BATCH]];
    cfg->policy = policies[c->level[F_POLICY]];
    cfg->look_ahead = c->level[F_LOOK] != 0;
    cfg->record = c->level[F_RECORD] ? a->trace : NULL;
    cfg->verify = MOX_VERIFY_ALWAYS;
}

static void keep_rows(void *arg, uint32_t first_pos, uint32_t n, const float *logits)
{
    matrix_model *m = arg;
    memcpy(m->ref + (size_t)first_pos * m->n_vocab, logits, (size_t)n * m->n_vocab * sizeof *logits);
    m->rows += n;
}

/* Open, evaluate the first n tokens, hash. keep: store the rows as the reference. */
static mox_err run_config(const matrix_args *a, matrix_model *m, const cover_config *c, uint32_t n, bool keep,
                          mox_hash128 *hash)
{
    mox_cfg cfg;
    mox_ctx *ctx = NULL;
    fill_cfg(&cfg, a, m, c);
    MOX_TRY(mox_open(&ctx, &cfg));
    mox_err err = mox_eval(ctx, 0, m->ids, n, true, keep ? keep_rows : NULL, m);
    if (err == MOX_OK) {
        *hash = mox_logits_hash(ctx);
    }
    mox_close(&ctx);
    return err;
}

static mox_hash128 reference_hash(const matrix_model *m, uint32_t n)
{
    mox_hash128_state st;
    mox_hash128_init(&st);
    mox_hash128_update(&st, m->ref, (size_t)n * m->n_vocab * sizeof *m->ref);
    return mox_hash128_final(&st);
}

/* --short: vector instructions with micro-batches of 64 and more evaluate everything; with smaller ones, where every
 * token reads its own experts, the first 69; plain C the first 8. */
static uint32_t tokens_for(const matrix_args *a, const cover_config *c)
{
    bool plain_c = isas[c->level[F_ISA]] == MOX_ISA_SCALAR;
    if (!a->is_short || (!plain_c && batches[c->level[F_BATCH]] >= 64)) {
        return a->tokens;
    }
    uint32_t n = plain_c ? 8 : 69;
    return n < a->tokens ? n : a->tokens;
}

static mox_err load_model(const matrix_args *a, matrix_model *m)
{
    static mox_model_info info;
    mox_gguf *g = NULL;
    MOX_TRY(mox_gguf_open(&g, m->path));
    mox_err err = mox_model_describe(&info, g);
    mox_gguf_close(&g);
    MOX_TRY(err);
    m->n_vocab = info.n_vocab;
    m->ids = malloc(a->tokens * sizeof *m->ids);
    m->ref = malloc((size_t)a->tokens * m->n_vocab * sizeof *m->ref);
    if (m->ids == NULL || m->ref == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for the reference");
    }
    uint64_t x = 42;
    for (uint32_t i = 0; i < a->tokens; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        m->ids[i] = (uint32_t)((x >> 33) % m->n_vocab);
    }
    return MOX_OK;
}

static bool check_config(const matrix_args *a, matrix_model *m, const cover_config *c, uint32_t *n_short)
{
    char text[200];
    mox_hash128 got;
    uint32_t n = tokens_for(a, c);
    *n_short += n < a->tokens;
    describe(c, text, sizeof text);
    uint64_t t0 = mox_now_ns();
    mox_err err = run_config(a, m, c, n, false, &got);
    double seconds = (double)(mox_now_ns() - t0) * 1e-9;
    if (err != MOX_OK) {
        printf("FAILED %s: %s [MX-%d]\n", text, mox_err_last()->msg, -(int)err);
        return false;
    }
    mox_hash128 want = reference_hash(m, n);
    bool same = got.lo == want.lo && got.hi == want.hi;
    printf("%s %3u tokens %016" PRIx64 "%016" PRIx64 " %6.2f s  %s\n", same ? "ok    " : "DIFFER", n, got.hi,
           got.lo, seconds, text);
    fflush(stdout);
    return same;
}

static bool check_model(const matrix_args *a, const char *path)
{
    static cover_config set[MAX_CONFIGS];
    matrix_model m = {.path = path};
    uint32_t pairs = 0, n_short = 0, failed = 0, n = 0;
    if (a->full) {
        n = (uint32_t)cover_product_size(n_levels, N_FACTORS);
        for (uint32_t i = 0; i < n; i++) {
            set[i] = cover_product(n_levels, N_FACTORS, i);
        }
    } else {
        n = cover_pairs(n_levels, N_FACTORS, 7, a->configs, set, MAX_CONFIGS, &pairs);
    }
    /* the reference: plain settings, the best instruction set, everything resident */
    cover_config ref = {.level = {[F_BUDGET] = 3, [F_IO] = 1, [F_THREADS] = 1, [F_BATCH] = 3}};
    ref.level[F_ISA] = (uint8_t)(n_levels[F_ISA] - 1);
    mox_hash128 hash = {0, 0};
    mox_err err = n > 0 ? load_model(a, &m) : MOX_E_INTERNAL;
    if (err == MOX_OK) {
        err = run_config(a, &m, &ref, a->tokens, true, &hash);
    }
    mox_hash128 kept = err == MOX_OK ? reference_hash(&m, a->tokens) : hash;
    if (err != MOX_OK || m.rows != a->tokens || kept.lo != hash.lo || kept.hi != hash.hi) {
        printf("FAILED %s: reference: %s\n", path, mox_err_last()->msg);
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        failed += !check_config(a, &m, &set[i], &n_short);
    }
    printf("%s: %u of %u configurations give logits_xxh3 %016" PRIx64 "%016" PRIx64
           " (%u pairs covered; %u tokens, %u configurations on the first of them)\n",
           path, n - failed, n, hash.hi, hash.lo, pairs, a->tokens, n_short);
    free(m.ids);
    free(m.ref);
    return failed == 0;
}

int main(int argc, char **argv)
{
    matrix_args a = {.tokens = 200, .configs = 48, .trace = "p1.trace"};
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--full") == 0) {
            a.full = true;
            continue;
        }
        if (strcmp(argv[i], "--short") == 0) {
            a.is_short = true;
            continue;
        }
        i++;
        if (strcmp(argv[i - 1], "--tokens") == 0) {
            a.tokens = (uint32_t)strtoul(value, NULL, 10);
        } else if (strcmp(argv[i - 1], "--configs") == 0) {
            a.configs = (uint32_t)strtoul(value, NULL, 10);
        } else if (strcmp(argv[i - 1], "--trace") == 0) {
            a.trace = value;
        } else {
            fprintf(stderr, "p1_matrix: unknown option %s\n", argv[i - 1]);
            return 2;
        }
    }
    for (int isa = 0; isa < MOX_ISA_COUNT; isa++) {
        if (mox_isa_present((mox_isa)isa)) {
            isas[n_levels[F_ISA]++] = (mox_isa)isa;
        }
    }
    int failed = i == argc;
    for (; i < argc; i++) {
        failed += !check_model(&a, argv[i]);
    }
    return failed != 0;
}
