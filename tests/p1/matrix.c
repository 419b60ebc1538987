/* The same answer from any split: one logits hash per model over a matrix of configurations.
 *
 * For each model a reference configuration evaluates all tokens and its logits are hashed; every other configuration
 * must give the same hash. Factors: budget, I/O backend, threads, instruction set, micro-batch, policy, look-ahead,
 * recording, and with --same the file: another one that holds the same weights. By default a pairwise covering set of
 * at least 48 configurations, made here; --full runs the whole product, --only TEXT those whose description holds TEXT.
 * After --seconds the configurations that are left run on a few tokens only, which is said.
 * Where the model lies (disk or memory) and how it is read are printed: they cannot change the answer, only the time.
 */
#include "p1/covering.h"
#include "runtime/moxie.h"

#include "runtime/core/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>

enum { F_BUDGET, F_IO, F_THREADS, F_ISA, F_BATCH, F_POLICY, F_LOOK, F_RECORD, F_FILE, N_FACTORS };
enum { MAX_CONFIGS = 16384, TMPFS_ID = 0x01021994, IO_NAME = 96, FEW_TOKENS = 8 };

static const double budget_pct[] = {0, 25, 50, 100}; /* 0: --ram min */
static const mox_io_mode ios[] = {MOX_IO_URING, MOX_IO_PREAD};
static const uint32_t thread_counts[] = {1, 2, 3, 5};
static const uint32_t batches[] = {1, 7, 64, 512};
static const char *const policies[] = {"lru", "lfu", "dlfu", "static"};
static uint8_t n_levels[N_FACTORS] = {4, 2, 4, 0, 4, 4, 2, 2, 1};
static mox_isa isas[MOX_ISA_COUNT];

typedef struct matrix_args {
    bool full;
    uint32_t tokens, configs;
    double seconds; /* 0: no limit */
    const char *trace, *same, *only;
} matrix_args;

typedef struct matrix_model {
    const char *path[2]; /* the model, and with --same the other file */
    uint32_t *ids;
    mox_hash128 want;
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
    snprintf(out, n, "%s --io %s --threads %u --isa %s --batch %u --policy %s --look-ahead %s%s%s", budget,
             ios[c->level[F_IO]] == MOX_IO_URING ? "uring" : "pread", thread_counts[c->level[F_THREADS]],
             mox_isa_name(isas[c->level[F_ISA]]), batches[c->level[F_BATCH]], policies[c->level[F_POLICY]],
             c->level[F_LOOK] ? "on" : "off", c->level[F_RECORD] ? " --record" : "",
             c->level[F_FILE] ? " (the other file)" : "");
}

static void fill_cfg(mox_cfg *cfg, const matrix_args *a, const matrix_model *m, const cover_config *c)
{
    mox_cfg_defaults(cfg);
    double pct = budget_pct[c->level[F_BUDGET]];
    cfg->model = m->path[c->level[F_FILE]];
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

/* Open, evaluate all tokens, hash; io: how the file was read. */
static mox_err run_config(const matrix_args *a, const matrix_model *m, const cover_config *c,
                          mox_hash128 *hash, char io[IO_NAME])
{
    mox_cfg cfg;
    mox_ctx *ctx = NULL;
    fill_cfg(&cfg, a, m, c);
    MOX_TRY(mox_open(&ctx, &cfg));
    snprintf(io, IO_NAME, "%s", mox_get_io(ctx));
    mox_err err = mox_eval(ctx, 0, m->ids, a->tokens, true, NULL, NULL);
    *hash = mox_logits_hash(ctx);
    mox_close(&ctx);
    return err;
}

/* Tokens from all of the vocabulary, the same on every machine. */
static mox_err make_tokens(const matrix_args *a, matrix_model *m)
{
    static mox_model_info info;
    mox_gguf *g = NULL;
    MOX_TRY(mox_gguf_open(&g, m->path[0]));
    mox_err err = mox_model_describe(&info, g);
    mox_gguf_close(&g);
    MOX_TRY(err);
    m->ids = malloc(a->tokens * sizeof *m->ids);
    if (m->ids == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for %u tokens", a->tokens);
    }
    uint64_t x = 42;
    for (uint32_t i = 0; i < a->tokens; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        m->ids[i] = (uint32_t)((x >> 33) % info.n_vocab);
    }
    return MOX_OK;
}

static bool wanted(const matrix_args *a, const cover_config *c)
{
    char text[200];
    describe(c, text, sizeof text);
    return a->only == NULL || strstr(text, a->only) != NULL;
}

static bool check_config(const matrix_args *a, const matrix_model *m, const cover_config *c)
{
    char text[200];
    mox_hash128 got;
    char io[IO_NAME] = "";
    describe(c, text, sizeof text);
    uint64_t t0 = mox_now_ns();
    clock_t cpu0 = clock();
    mox_err err = run_config(a, m, c, &got, io);
    double seconds = (double)(mox_now_ns() - t0) * 1e-9, cpu = (double)(clock() - cpu0) / CLOCKS_PER_SEC;
    if (err != MOX_OK) {
        printf("FAILED %s: %s [MX-%d]\n", text, mox_err_last()->msg, -(int)err);
        return false;
    }
    bool same = got.lo == m->want.lo && got.hi == m->want.hi;
    printf("%s %016" PRIx64 "%016" PRIx64 " %6.2f s (CPU %6.2f)  %s, %s\n", same ? "ok    " : "DIFFER",
           got.hi, got.lo, seconds, cpu, text, io);
    fflush(stdout);
    return same;
}

static const char *medium(const char *path)
{
    struct statfs fs;
    if (statfs(path, &fs) != 0) {
        return "nowhere";
    }
    return fs.f_type == TMPFS_ID ? "a file system in memory" : "a disk";
}

/* Mostly the bytes read: a micro-batch of 1 reads for each token, one of 512 for all of them at once. */
static double cost_of(const cover_config *c)
{
    static const double of_batch[] = {1.0, 0.85, 0.3, 0.06};
    double scalar = isas[c->level[F_ISA]] == MOX_ISA_SCALAR ? 0.2 : 0;
    return of_batch[c->level[F_BATCH]] * (1.05 - budget_pct[c->level[F_BUDGET]] / 100) + scalar;
}

/* --seconds is over: the rest runs on the first tokens alone. A token's logits do not depend on later ones, so these
 * have a hash of their own; the output says how many were cut. */
static mox_err cut_short(matrix_args *a, matrix_model *m, const cover_config *ref)
{
    char io[IO_NAME] = "";
    a->tokens = FEW_TOKENS;
    printf("time is over: the other configurations run on the first %u tokens only\n", a->tokens);
    return run_config(a, m, ref, &m->want, io);
}

static uint32_t make_configs(const matrix_args *a, cover_config *set, uint32_t *pairs)
{
    if (!a->full) {
        return cover_pairs(n_levels, N_FACTORS, 7, a->configs, cost_of, set, MAX_CONFIGS, pairs);
    }
    uint64_t n = cover_product_size(n_levels, N_FACTORS);
    for (uint32_t i = 0; n <= MAX_CONFIGS && i < n; i++) {
        set[i] = cover_product(n_levels, N_FACTORS, i);
    }
    return n <= MAX_CONFIGS ? (uint32_t)n : 0;
}

static bool check_model(const matrix_args *a, const char *path)
{
    static cover_config set[MAX_CONFIGS];
    matrix_model m = {.path = {path, a->same}};
    uint32_t pairs = 0, failed = 0, ran = 0, n = make_configs(a, set, &pairs);
    /* the reference: plain settings, the best instruction set, everything resident */
    cover_config ref = {.level = {[F_BUDGET] = 3, [F_IO] = 1, [F_THREADS] = 1, [F_BATCH] = 3}};
    ref.level[F_ISA] = (uint8_t)(n_levels[F_ISA] - 1);
    char io[IO_NAME] = "";
    uint64_t t0 = mox_now_ns();
    mox_err err = n > 0 ? make_tokens(a, &m) : MOX_E_INTERNAL;
    if (err == MOX_OK) {
        err = run_config(a, &m, &ref, &m.want, io);
    }
    if (err != MOX_OK) {
        printf("FAILED %s: reference: %s\n", path, mox_err_last()->msg);
        return false;
    }
    printf("%s: on %s\n", path, medium(path));
    matrix_args now = *a;
    mox_hash128 hash = m.want;
    uint32_t cut = 0;
    for (uint32_t i = 0; i < n; i++) {
        double seconds = (double)(mox_now_ns() - t0) * 1e-9;
        if (a->seconds != 0 && seconds > a->seconds && now.tokens > FEW_TOKENS) {
            failed += cut_short(&now, &m, &ref) != MOX_OK;
        }
        if (wanted(a, &set[i])) {
            ran++;
            cut += now.tokens != a->tokens;
            failed += !check_config(&now, &m, &set[i]);
        }
    }
    printf("%s: %u of %u configurations give logits_xxh3 %016" PRIx64 "%016" PRIx64
           " (%u pairs covered, %u tokens, %u configurations cut short, %.0f s, on %s)\n",
           path, ran - failed, ran, hash.hi, hash.lo, pairs, a->tokens, cut,
           (double)(mox_now_ns() - t0) * 1e-9, medium(path));
    free(m.ids);
    return failed == 0 && ran > 0;
}

/* Options before the models; returns the first model's index, or 0 after saying what is wrong. */
static int parse(int argc, char **argv, matrix_args *a)
{
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--full") == 0) {
            a->full = true;
            continue;
        }
        const char *name = argv[i++], *value = i < argc ? argv[i] : "";
        if (strcmp(name, "--tokens") == 0) {
            a->tokens = (uint32_t)strtoul(value, NULL, 10);
        } else if (strcmp(name, "--seconds") == 0) {
            a->seconds = strtod(value, NULL);
        } else if (strcmp(name, "--configs") == 0) {
            a->configs = (uint32_t)strtoul(value, NULL, 10);
        } else if (strcmp(name, "--trace") == 0) {
            a->trace = value;
        } else if (strcmp(name, "--same") == 0) {
            a->same = value;
        } else if (strcmp(name, "--only") == 0) {
            a->only = value;
        } else {
            fprintf(stderr, "p1_matrix: unknown option %s\n", name);
            return 0;
        }
    }
    if (i >= argc || (a->same != NULL && i + 1 != argc)) {
        fprintf(stderr, "p1_matrix: %s\n", a->same != NULL ? "--same FILE goes with one model" : "no model");
        return 0;
    }
    return i;
}

int main(int argc, char **argv)
{
    matrix_args a = {.tokens = 200, .configs = 48, .trace = "p1.trace"};
    int i = parse(argc, argv, &a), failed = 0;
    if (i == 0) {
        return 2;
    }
    n_levels[F_FILE] = a.same != NULL ? 2 : 1;
    for (int isa = 0; isa < MOX_ISA_COUNT; isa++) {
        if (mox_isa_present((mox_isa)isa)) {
            isas[n_levels[F_ISA]++] = (mox_isa)isa;
        }
    }
    for (; i < argc; i++) {
        failed += !check_model(&a, argv[i]);
    }
    return failed != 0;
}
