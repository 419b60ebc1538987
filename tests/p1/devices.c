/* The same answer whatever a device computes: one logits hash per model over devices, experts in VRAM, ways to treat those
 * that are not there, experts in RAM, micro-batches, policies, and, of an emulated GPU, steps as graphs or call by call and
 * orders in which it does what is queued.
 *
 * The reference has no device. In every other configuration some tokens are a prompt and the rest are decoded one by one, so
 * that moving in, going down and `auto` are met as in a run; its hash must be the reference's, and its counters must add
 * up. By default a pairwise covering set of at least 40 configurations; --full: the whole product; --only TEXT: those whose
 * line holds TEXT. --devices LIST names other devices, separated by spaces; --modules DIR: where theirs lie. --emu-tokens N:
 * so many tokens where a GPU is emulated, which is slow; these have a hash of their own.
 */
#include "p1/covering.h"
#include "runtime/moxie.h"

#include "runtime/core/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { F_DEVICE, F_VRAM, F_MISS, F_RAM, F_BATCH, F_POLICY, F_GRAPH, F_STREAM, N_FACTORS };
enum { MAX_CONFIGS = 16384, MAX_DEVICES = COVER_MAX_LEVELS, DECODED = 8, MANY = 64 };

/* Experts in VRAM: a number below 2, else per cent. */
static const double vram[] = {0, 1, 25, 50, 100};
static const mox_miss misses[] = {MOX_MISS_CPU, MOX_MISS_COPY, MOX_MISS_SPLIT, MOX_MISS_AUTO};
static const double ram_pct[] = {30, 100};
static const uint32_t batches[] = {1, 7, 64};
static const char *const policies[] = {"dlfu", "lru"}; /* by a margin; always */
static const char *device_dir;                         /* of modules; NULL: beside this program */
static const char *devices[MAX_DEVICES] = {"cpu:vram=256M", "cpu:vram=256M,n=2"};
/* of the emulator */
static const char *const graphs[] = {"auto", "off"};
static const char *const streams[] = {"policy=lazy",          "policy=eager",         "policy=random,seed=1",
                                      "policy=random,seed=2", "policy=random,seed=3", "policy=random,seed=4",
                                      "policy=random,seed=5"};
static uint8_t n_levels[N_FACTORS] = {2, 5, 4, 2, 3, 2, 1, 1};

typedef struct run_args {
    bool full;
    uint32_t tokens, emu_tokens, configs;
    const char *only;
} run_args;

typedef struct run_result {
    mox_hash128 hash;
    mox_counters c;
} run_result;

static bool emulated(const cover_config *c)
{
    return strncmp(devices[c->level[F_DEVICE]], "emu", 3) == 0;
}

/* "emu:n=2,policy=eager" */
static void name_device(const cover_config *c, char *out, size_t n)
{
    const char *name = devices[c->level[F_DEVICE]];
    snprintf(out, n, "%s", name);
    if (emulated(c)) {
        snprintf(out, n, "%s%s%s", name, strchr(name, ':') ? "," : ":", streams[c->level[F_STREAM]]);
    }
}

static void describe(const cover_config *c, char *out, size_t n)
{
    char device[96];
    name_device(c, device, sizeof device);
    double v = vram[c->level[F_VRAM]];
    snprintf(out, n,
             "--device %s --vram-experts %.0f%s --miss %s --ram-experts %.0f%% --batch %u --policy %s "
             "--cuda-graph %s",
             device, v, v < 2 ? "" : "%", mox_miss_name(misses[c->level[F_MISS]]), ram_pct[c->level[F_RAM]],
             batches[c->level[F_BATCH]], policies[c->level[F_POLICY]], graphs[c->level[F_GRAPH]]);
}

static void fill_cfg(mox_cfg *cfg, const char *model, uint32_t tokens, const cover_config *c)
{
    mox_cfg_defaults(cfg);
    cfg->model = model;
    cfg->device_dir = device_dir;
    cfg->n_ctx = tokens;
    cfg->n_threads = 2;
    cfg->verify = MOX_VERIFY_ALWAYS;
    cfg->ram = (mox_budget){.kind = MOX_BUDGET_EXPERTS_PCT, .pct = 100};
    if (c) {
        double v = vram[c->level[F_VRAM]];
        static char device[96];
        name_device(c, device, sizeof device);
        cfg->device = device;
        cfg->vram = v < 2 ? (mox_budget){.kind = MOX_BUDGET_EXPERTS, .experts = (uint32_t)v}
                          : (mox_budget){.kind = MOX_BUDGET_EXPERTS_PCT, .pct = v};
        cfg->miss = misses[c->level[F_MISS]];
        cfg->ram.pct = ram_pct[c->level[F_RAM]];
        cfg->n_batch = batches[c->level[F_BATCH]];
        cfg->policy = policies[c->level[F_POLICY]];
        cfg->cuda_graph = c->level[F_GRAPH] == 0;
    }
}

static uint32_t decoded(uint32_t n)
{
    return n / 2 < DECODED ? n / 2 : DECODED;
}

/* The last tokens one by one, as decoding does. */
static mox_err decode(mox_ctx *ctx, const uint32_t *ids, uint32_t from, uint32_t n, float *logits)
{
    for (uint32_t i = from; i < n; i++) {
        mox_row row = {.pos = i, .token = ids[i], .want_logits = true};
        MOX_TRY(mox_step(ctx, &row, 1, MOX_PHASE_DECODE, logits));
    }
    return MOX_OK;
}

static mox_err run(const char *model, const uint32_t *ids, uint32_t n, const cover_config *c, float *logits,
                   run_result *out)
{
    mox_cfg cfg;
    mox_ctx *ctx = NULL;
    fill_cfg(&cfg, model, n, c);
    MOX_TRY(mox_open(&ctx, &cfg));
    mox_err err = mox_eval(ctx, 0, ids, n - decoded(n), true, NULL, NULL);
    if (err == MOX_OK) {
        err = decode(ctx, ids, n - decoded(n), n, logits);
    }
    const mox_plan *plan = mox_get_plan(ctx);
    if (err == MOX_OK && mox_actual_bytes(ctx) > plan->total_bytes) {
        err = MOX_FAIL(MOX_E_INTERNAL, "%" PRIu64 " bytes taken, %" PRIu64 " planned", mox_actual_bytes(ctx),
                       plan->total_bytes);
    }
    out->hash = mox_logits_hash(ctx);
    mox_get_counters(ctx, &out->c, NULL);
    mox_close(&ctx);
    return err;
}

/* NULL, or which sum is wrong. With few tokens a single expert in VRAM need not be chosen while it is there. */
static const char *check_counters(const mox_counters *c, const cover_config *config, bool few)
{
    uint64_t resident = 0;
    for (int p = 0; p < MOX_PHASES; p++) {
        const mox_use_counters *u = &c->use[p];
        resident += u->vram;
        if (u->vram + u->hits + u->late + u->misses != u->uses) {
            return "vram + ram + late + file is not the number of uses";
        }
    }
    double v = vram[config->level[F_VRAM]];
    mox_miss way = misses[config->level[F_MISS]];
    if ((v == 0) != (resident == 0) && (v == 0 || !few)) {
        return v == 0 ? "there is no VRAM, and it served uses" : "VRAM served no use";
    }
    if (v == 100 && (c->vram.cpu || c->vram.crossed || c->vram.promotions)) {
        return "all is in VRAM, and something was computed elsewhere or moved";
    }
    if ((way == MOX_MISS_CPU && c->vram.crossed) || (way == MOX_MISS_COPY && c->vram.cpu)) {
        return "an expert was computed where --miss does not allow it";
    }
    bool none = v < 100 && way == MOX_MISS_SPLIT && c->vram.crossed == 0;
    return none && !few ? "--miss split sent nothing over" : NULL;
}

static bool check_config(const char *model, const uint32_t *ids, uint32_t tokens, const cover_config *c,
                         const run_result *want, float *logits)
{
    char text[256];
    run_result got = {.hash = {0}};
    describe(c, text, sizeof text);
    uint64_t t0 = mox_now_ns();
    if (run(model, ids, tokens, c, logits, &got) != MOX_OK) {
        printf("FAILED %s: %s\n", text, mox_err_last()->msg);
        return false;
    }
    const char *wrong = check_counters(&got.c, c, tokens < MANY);
    bool same = got.hash.lo == want->hash.lo && got.hash.hi == want->hash.hi;
    const mox_vram_counters *v = &got.c.vram;
    printf("%s %016" PRIx64 "%016" PRIx64 " %5.2f s  %s: %" PRIu64 " moved in, %" PRIu64 " down, %" PRIu64
           " crossed, %" PRIu64 " on the CPU%s%s\n",
           same && !wrong ? "ok    " : "WRONG ", got.hash.hi, got.hash.lo, (double)(mox_now_ns() - t0) * 1e-9,
           text, v->promotions, v->demotions, v->crossed, v->cpu, wrong ? "; " : "", wrong ? wrong : "");
    fflush(stdout);
    return same && !wrong;
}

static double cost_of(const cover_config *c)
{
    return (emulated(c) ? 5.0 : 1.0) / batches[c->level[F_BATCH]];
}

static uint32_t make_configs(const run_args *a, cover_config *set, uint32_t *pairs)
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

static bool check_model(const run_args *a, const char *path)
{
    static cover_config set[MAX_CONFIGS];
    static mox_model_info info;
    uint32_t pairs = 0, ran = 0, failed = 0, n = make_configs(a, set, &pairs);
    mox_gguf *g = NULL;
    run_result want = {.hash = {0}}, want_emu = {.hash = {0}};
    bool ok = n > 0 && mox_gguf_open(&g, path) == MOX_OK && mox_model_describe(&info, g) == MOX_OK;
    mox_gguf_close(&g);
    uint32_t *ids = malloc(a->tokens * sizeof *ids);
    float *logits = malloc((info.n_vocab + 1) * sizeof *logits);
    uint64_t x = 42;
    for (uint32_t i = 0; ok && ids && i < a->tokens; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        ids[i] = (uint32_t)((x >> 33) % info.n_vocab);
    }
    ok = ok && ids && logits && run(path, ids, a->tokens, NULL, logits, &want) == MOX_OK &&
         run(path, ids, a->emu_tokens, NULL, logits, &want_emu) == MOX_OK;
    if (!ok) {
        printf("FAILED %s: reference: %s\n", path, mox_err_last()->msg);
    }
    for (uint32_t i = 0; ok && i < n; i++) {
        char text[256];
        describe(&set[i], text, sizeof text);
        bool again =
            a->full && !emulated(&set[i]) && (set[i].level[F_STREAM] != 0 || set[i].level[F_GRAPH] != 0);
        if (!again && (!a->only || strstr(text, a->only))) {
            ran++;
            bool emu = emulated(&set[i]);
            failed += !check_config(path, ids, emu ? a->emu_tokens : a->tokens, &set[i],
                                    emu ? &want_emu : &want, logits);
        }
    }
    printf("%s: %u of %u configurations give logits_xxh3 %016" PRIx64 "%016" PRIx64
           " (%u pairs covered, %u tokens; %u where a GPU is emulated)\n",
           path, ran - failed, ran, want.hash.hi, want.hash.lo, pairs, a->tokens, a->emu_tokens);
    free(ids);
    free(logits);
    return ok && failed == 0 && ran > 0;
}

static void read_devices(char *list)
{
    n_levels[F_DEVICE] = 0;
    n_levels[F_GRAPH] = strstr(list, "emu") ? sizeof graphs / sizeof graphs[0] : 1;
    n_levels[F_STREAM] = strstr(list, "emu") ? sizeof streams / sizeof streams[0] : 1;
    for (char *word = strtok(list, " "); word && n_levels[F_DEVICE] < MAX_DEVICES; word = strtok(NULL, " ")) {
        devices[n_levels[F_DEVICE]++] = word;
    }
}

int main(int argc, char **argv)
{
    run_args a = {.tokens = 64, .configs = 40};
    int i = 1, failed = 0;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--full") == 0) {
            a.full = true;
        } else if (i + 1 < argc && strcmp(argv[i], "--tokens") == 0) {
            a.tokens = (uint32_t)strtoul(argv[++i], NULL, 10);
        } else if (i + 1 < argc && strcmp(argv[i], "--emu-tokens") == 0) {
            a.emu_tokens = (uint32_t)strtoul(argv[++i], NULL, 10);
        } else if (i + 1 < argc && strcmp(argv[i], "--configs") == 0) {
            a.configs = (uint32_t)strtoul(argv[++i], NULL, 10);
        } else if (i + 1 < argc && strcmp(argv[i], "--only") == 0) {
            a.only = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--modules") == 0) {
            device_dir = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--devices") == 0) {
            read_devices(argv[++i]);
        } else {
            fprintf(stderr, "p1_devices: unknown option %s\n", argv[i]);
            return 2;
        }
    }
    a.emu_tokens = a.emu_tokens && a.emu_tokens < a.tokens ? a.emu_tokens : a.tokens;
    if (i >= argc || a.emu_tokens < 2 || n_levels[F_DEVICE] == 0) {
        fprintf(stderr, "p1_devices: no model, too few tokens or no device\n");
        return 2;
    }
    for (; i < argc; i++) {
        failed += !check_model(&a, argv[i]);
    }
    return failed != 0;
}
