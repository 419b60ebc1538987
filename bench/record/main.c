/* moxie-record-cost: what recording costs a token.
 *
 *   moxie-record-cost MODEL TRACE [--timings] [--threads N] [--tokens N] [--rounds N] [--experts PERCENT]
 *
 * One process opens the model once and then evaluates the same tokens at the same positions again and again, a block of
 * them recorded and a block not, in the order A B B A: what the machine does from minute to minute meets both alike.
 * Printed are the median of the ratios within the rounds, with the interval that holds the true median in 95 of 100 cases
 * (from the ranks of the ratios, whatever their distribution), for the clock, for the time of all threads, and, where the
 * processor counts them, for the instructions of all threads. With one thread, and all experts in memory, nobody waits by
 * spinning, and the instructions repeat to a few in a million.
 *
 * Called by hand; docs/numbers.md has its figures.
 */
#include "offload/store.h"
#include "runtime/context.h"
#include "runtime/core/clock.h"

#include <linux/perf_event.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { CLOCK, CPU, INSTRUCTIONS, METERS, MAX_ROUNDS = 4096, PROMPT = 32 };

typedef struct setup {
    const char *model, *trace;
    bool timings;
    uint32_t threads, tokens, rounds, percent;
} setup;

typedef struct meters {
    double at[METERS];
} meters;

static int counter = -1;

/* Of this process and the threads that it starts from now on, what they do in user mode. */
static void count_instructions(void)
{
    struct perf_event_attr a = {.type = PERF_TYPE_HARDWARE,
                                .size = sizeof a,
                                .config = PERF_COUNT_HW_INSTRUCTIONS,
                                .inherit = 1,
                                .exclude_kernel = 1,
                                .exclude_hv = 1};
    counter = (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
}

static meters look(void)
{
    struct timespec t;
    uint64_t n = 0;
    meters m;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    m.at[CPU] = (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
    m.at[INSTRUCTIONS] = counter >= 0 && read(counter, &n, sizeof n) == sizeof n ? (double)n : 0;
    m.at[CLOCK] = (double)mox_now_ns();
    return m;
}

static uint32_t token_at(const mox_ctx *ctx, uint32_t pos)
{
    return 3 + pos * 7919 % (ctx->model->h.n_vocab - 3);
}

static mox_err evaluate(mox_ctx *ctx, uint32_t from, uint32_t n, mox_phase phase, float *logits)
{
    for (uint32_t i = 0; i < n; i++) {
        mox_row row = {.pos = from + i, .token = token_at(ctx, from + i), .want_logits = true};
        MOX_TRY(mox_step(ctx, &row, 1, phase, logits));
    }
    return MOX_OK;
}

static void record(mox_ctx *ctx, mox_trace_writer *w, bool timings)
{
    ctx->graph.trace = w;
    if (ctx->store) {
        mox_store_record(ctx->store, timings ? w : NULL);
    }
}

static mox_err block(mox_ctx *ctx, const setup *s, mox_trace_writer *w, float *logits, meters *add)
{
    record(ctx, w, w && s->timings);
    mox_seq_keep(ctx, 0, PROMPT);
    meters before = look();
    MOX_TRY(evaluate(ctx, PROMPT, s->tokens, MOX_PHASE_DECODE, logits));
    meters after = look();
    for (int k = 0; k < METERS; k++) {
        add->at[k] += after.at[k] - before.at[k];
    }
    return MOX_OK;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median and the ranks around it: of n, those 0.98 sqrt(n) away. */
static void print(const char *name, double *ratio, uint32_t n, double per_token)
{
    qsort(ratio, n, sizeof *ratio, by_size);
    uint32_t off = (uint32_t)ceil(0.98 * sqrt(n)), lo = n / 2 > off ? n / 2 - off : 0;
    uint32_t hi = n / 2 + off < n ? n / 2 + off : n - 1;
    printf("%-24s %+8.3f %%   (%+.3f to %+.3f)   %14.0f\n", name, 100 * (ratio[n / 2] - 1),
           100 * (ratio[lo] - 1), 100 * (ratio[hi] - 1), per_token);
}

static mox_err measure(mox_ctx *ctx, const setup *s, float *logits)
{
    static double ratio[METERS][MAX_ROUNDS];
    static const char *const names[METERS] = {"clock, ns", "time of threads, ns", "instructions"};
    mox_trace_writer *w = ctx->graph.trace;
    meters plain = {{0}};
    MOX_TRY(evaluate(ctx, 0, PROMPT + s->tokens, MOX_PHASE_PREFILL, logits)); /* warm */
    for (uint32_t r = 0; r < s->rounds; r++) {
        meters with = {{0}}, without = {{0}};
        for (int turn = 0; turn < 4; turn++) {
            bool recorded = (turn == 1 || turn == 2) != (r & 1);
            MOX_TRY(block(ctx, s, recorded ? w : NULL, logits, recorded ? &with : &without));
        }
        for (int k = 0; k < METERS; k++) {
            ratio[k][r] = without.at[k] > 0 ? with.at[k] / without.at[k] : 1;
            plain.at[k] += without.at[k];
        }
    }
    record(ctx, w, s->timings);
    printf("%u rounds of 4 blocks of %u tokens; %s against not recorded\n%-24s %10s   %20s   %14s\n",
           s->rounds, s->tokens, s->timings ? "routing and times" : "routing", "", "median", "95 % of it",
           "a token, plain");
    for (int k = 0; k < METERS; k++) {
        if (plain.at[k] > 0) {
            print(names[k], ratio[k], s->rounds, plain.at[k] / s->rounds / 2 / s->tokens);
        }
    }
    return MOX_OK;
}

static bool read_options(int argc, char **argv, setup *s)
{
    struct {
        const char *name;
        uint32_t *to;
    } numbers[] = {{"--threads", &s->threads},
                   {"--tokens", &s->tokens},
                   {"--rounds", &s->rounds},
                   {"--experts", &s->percent}};
    for (int i = 3; i < argc; i++) {
        bool known = strcmp(argv[i], "--timings") == 0;
        s->timings |= known;
        for (size_t k = 0; k < sizeof numbers / sizeof *numbers && i + 1 < argc && !known; k++) {
            if (strcmp(argv[i], numbers[k].name) == 0) {
                *numbers[k].to = (uint32_t)strtoul(argv[++i], NULL, 10);
                known = true;
            }
        }
        if (!known) {
            return false;
        }
    }
    return argc > 2 && s->tokens > 0 && s->rounds > 0 && s->rounds <= MAX_ROUNDS && s->percent <= 100;
}

static mox_err run(const setup *s)
{
    mox_ctx *ctx = NULL;
    mox_cfg cfg;
    mox_cfg_defaults(&cfg);
    cfg.model = s->model;
    cfg.record = s->trace;
    cfg.timings = s->timings;
    cfg.n_threads = s->threads;
    cfg.n_ctx = PROMPT + s->tokens;
    cfg.ram = (mox_budget){.kind = MOX_BUDGET_EXPERTS_PCT, .pct = s->percent};
    count_instructions();
    MOX_TRY(mox_open(&ctx, &cfg));
    float *logits = malloc(ctx->model->h.n_vocab * sizeof *logits);
    mox_err err = logits ? measure(ctx, s, logits) : MOX_FAIL(MOX_E_NO_MEMORY, "no memory for logits");
    err = err == MOX_OK ? mox_end_record(ctx) : err;
    free(logits);
    mox_close(&ctx);
    return err;
}

int main(int argc, char **argv)
{
    setup s = {.threads = 1, .tokens = 16, .rounds = 100, .percent = 100};
    if (!read_options(argc, argv, &s)) {
        fputs("moxie-record-cost MODEL TRACE [--timings] [--threads N] [--tokens N] [--rounds N] [--experts "
              "PERCENT]\n",
              stderr);
        return 2;
    }
    s.model = argv[1];
    s.trace = argv[2];
    if (run(&s) != MOX_OK) {
        fprintf(stderr, "moxie-record-cost: %s\n", mox_err_last()->msg);
        return 1;
    }
    return 0;
}
