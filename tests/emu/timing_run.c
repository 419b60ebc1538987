/* timing_run MODEL TRACE: what moxie's scheduling comes to on three machines that are not here (timing.h), for a model of
 * which only the header is there. Prints a table; exits 1 unless copies overlap kernels in prompts, answers reach 80 % of
 * the cost model's figure at the same hit rate, and lose without graphs, and both lose without the stream for copies. The figure is the better of computing misses on the CPU and copying them, as experts are
 * split whole; the one for splits by rows stands beside it. */
#include "emu/timing.h"
#include "offload/io.h"
#include "runtime/moxie.h"
#include "runtime/plan/placement.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROMPT = 2048, WARM = 96, ANSWER = 96, CONTEXT = 4096 };

/* ---- what is not done: reads, repacking, loading, touching memory ---- */

struct mox_io {
    pthread_mutex_t lock;
    pthread_cond_t change;
    mox_io_done done[MOX_IO_MAX_DEPTH];
    uint32_t n;
    bool woken;
};

static mox_err io_open(void *ctx, const mox_io_cfg *cfg, mox_io **out)
{
    (void)ctx;
    mox_io *io = cfg->state;
    memset(io, 0, sizeof *io);
    pthread_mutex_init(&io->lock, NULL);
    pthread_cond_init(&io->change, NULL);
    *out = io;
    return MOX_OK;
}

static void io_submit(mox_io *io, const mox_io_req *req)
{
    pthread_mutex_lock(&io->lock);
    io->done[io->n++] = (mox_io_done){req->id, (int32_t)req->bytes};
    pthread_cond_signal(&io->change);
    pthread_mutex_unlock(&io->lock);
}

static uint32_t io_reap(mox_io *io, mox_io_done *done, uint32_t max, uint64_t timeout_ns)
{
    pthread_mutex_lock(&io->lock);
    while (io->n == 0 && !io->woken && timeout_ns > 0) {
        pthread_cond_wait(&io->change, &io->lock);
    }
    uint32_t n = io->n < max ? io->n : max;
    memcpy(done, io->done, n * sizeof *done);
    memmove(io->done, io->done + n, (io->n - n) * sizeof *done);
    io->n -= n;
    io->woken = false;
    pthread_mutex_unlock(&io->lock);
    return n;
}

static void io_cancel(mox_io *io, uint64_t id)
{
    (void)io, (void)id;
}

static void io_wake(mox_io *io)
{
    pthread_mutex_lock(&io->lock);
    io->woken = true;
    pthread_cond_signal(&io->change);
    pthread_mutex_unlock(&io->lock);
}

static void io_close(mox_io **io)
{
    *io = NULL;
}

static const mox_io_ops no_reads = {
    "none", sizeof(struct mox_io), io_open, io_submit, io_reap, io_cancel, io_wake, io_close};

/* In the place of the functions that they are named after. */
mox_err timing_load_dense(mox_model *m, const void *load);
mox_err timing_load_dense(mox_model *m, const void *load)
{
    (void)m, (void)load;
    return MOX_OK;
}

void timing_repack(void);
void timing_repack(void) {}

int timing_yield(void);
int timing_yield(void)
{
    return 0;
}

int timing_madvise(void *p, size_t n, int advice);
int timing_madvise(void *p, size_t n, int advice)
{
    (void)p, (void)n, (void)advice;
    return 0;
}

/* ---- runs ---- */

typedef struct result {
    double prefill, decode, roofline, by_rows; /* tokens per second; bounds: whole experts, rows of them */
    double hits, overlap; /* overlap: of the shorter of copies and kernels, in the prompt */
    uint32_t vram_experts, experts;
    char miss[160];
    timing_counts prompt, answer;
} result;

static void must(mox_err e, const char *what)
{
    if (e != MOX_OK) {
        fprintf(stderr, "timing_run: %s: %s (MX-%d)\n", what, mox_err_last()->msg, -(int)e);
        exit(2);
    }
}

static void prompt(mox_ctx *ctx, result *r)
{
    static uint32_t ids[PROMPT];
    for (uint32_t i = 0; i < PROMPT; i++) {
        ids[i] = i + 3;
    }
    timing_counts_clear();
    double begin = timing_now();
    must(mox_eval(ctx, 0, ids, PROMPT, false, NULL, NULL), "prompt");
    r->prefill = PROMPT / (timing_now() - begin);
    r->prompt = timing_counted();
    double shorter = r->prompt.up_s < r->prompt.compute_s ? r->prompt.up_s : r->prompt.compute_s;
    r->overlap = shorter > 0 ? r->prompt.both_s / shorter : 0;
}

static void answer(mox_ctx *ctx, float *logits, uint32_t n, uint32_t at)
{
    for (uint32_t i = 0; i < n; i++) {
        mox_row row = {.pos = at + i, .token = 3, .want_logits = true};
        must(mox_step(ctx, &row, 1, MOX_PHASE_DECODE, logits), "answer");
    }
}

static void run(const timing_cfg *t, bool graphs, const char *model, const char *trace, result *r)
{
    mox_cfg cfg;
    mox_ctx *ctx = NULL;
    timing_open(t);
    mox_cfg_defaults(&cfg);
    cfg.model = model;
    cfg.ram = (mox_budget){.kind = MOX_BUDGET_EXPERTS_PCT, .pct = 100};
    cfg.device = "cuda";
    cfg.cuda_graph = graphs;
    cfg.n_ctx = CONTEXT;
    cfg.n_batch = PROMPT;
    cfg.n_threads = 1;
    cfg.verify = MOX_VERIFY_OFF;
    cfg.look_ahead = false;
    cfg.huge_pages = false;
    cfg.io = MOX_IO_PREAD;
    cfg.replay_routing = trace;
    cfg.io_override = &no_reads;
    cfg.log.level = MOX_LOG_ERROR;
    must(mox_open(&ctx, &cfg), "open");
    const mox_plan *p = mox_get_plan(ctx);
    *r = (result){.vram_experts = p->vram_experts, .experts = p->experts_total};
    float *logits = calloc(1u << 20, sizeof *logits);
    prompt(ctx, r);
    answer(ctx, logits, WARM, PROMPT);
    mox_reset_counters(ctx);
    timing_counts_clear();
    double begin = timing_now();
    answer(ctx, logits, ANSWER, PROMPT + WARM);
    r->decode = ANSWER / (timing_now() - begin);
    r->answer = timing_counted();
    mox_counters c;
    mox_get_counters(ctx, &c, NULL);
    const mox_use_counters *u = &c.use[MOX_PHASE_DECODE];
    r->hits = u->uses > 0 ? (double)u->vram / (double)u->uses : 0;
    snprintf(r->miss, sizeof r->miss, "%s", mox_get_miss(ctx, (char[160]){0}, 160));
    mox_plan plan;
    mox_work work;
    cfg.device = NULL; /* what a token reads, wherever it is */
    must(mox_plan_work(&plan, &work, &cfg), "plan");
    work.kv_bytes = (double)plan.kv_bytes * (PROMPT + WARM + ANSWER / 2.0) / CONTEXT;
    mox_choice_of_way ways = mox_cost_choose(&t->machine, &work, (mox_hits){r->hits, 1 - r->hits});
    double whole = fmin(ways.token_s[MOX_WAY_CPU], ways.token_s[MOX_WAY_COPY]);
    r->roofline = 1 / whole;
    r->by_rows = 1 / fmin(ways.token_s[MOX_WAY_SPLIT], whole);
    free(logits);
    mox_close(&ctx);
}

/* ---- what must hold ---- */

#define LEAST_SHARE   0.80
#define LEAST_OVERLAP 0.60

static bool bad;

static void hold(bool ok, const char *box, const char *what, double is, double least)
{
    if (!ok) {
        printf("FAILED %s: %s: %.3f, at least %.3f\n", box, what, is, least);
        bad = true;
    }
}

static void row(const char *box, const char *how, const result *r)
{
    printf("| %s | %s | %u of %u | %.0f %% | %.1f | %.1f | %.0f %% | %.1f | %.0f | %.0f %% | %.0f | %.0f | "
           "%.0f | %s |\n",
           box, how, r->vram_experts, r->experts, 100 * r->hits, r->decode, r->roofline,
           100 * r->decode / r->roofline, r->by_rows, r->prefill, 100 * r->overlap,
           (double)r->answer.launches / ANSWER, (double)r->answer.copies / ANSWER,
           (double)r->answer.graphs / ANSWER, r->miss);
    fflush(stdout);
}

static void box(const char *name, const char *model, const char *trace)
{
    mox_hw_spec hw;
    result with, one_stream, calls;
    must(mox_hw_find(name, &hw), name);
    timing_cfg c = {.machine = hw.machine, .vram_bytes = hw.vram_bytes};
    run(&c, true, model, trace, &with);
    row(name, "as it is", &with);
    run(&c, false, model, trace, &calls);
    row(name, "--cuda-graph off", &calls);
    c.one_stream = true;
    run(&c, true, model, trace, &one_stream);
    row(name, "one stream", &one_stream);
    double share = with.decode / with.roofline;
    hold(share >= LEAST_SHARE, name, "an answer's share of the roofline", share, LEAST_SHARE);
    hold(with.decode > calls.decode, name, "an answer with graphs over one without",
         with.decode / calls.decode, 1);
    hold(with.overlap >= LEAST_OVERLAP, name, "copies beside kernels in a prompt", with.overlap,
         LEAST_OVERLAP);
    hold(with.prefill > 1.1 * one_stream.prefill, name, "a prompt with the copy stream over one without",
         with.prefill / one_stream.prefill, 1.1);
    hold(with.decode > one_stream.decode, name, "an answer with the copy stream over one without",
         with.decode / one_stream.decode, 1);
}

int main(int argc, char **argv)
{
    static const char *const boxes[] = {"4060ti16", "4080", "4090"};
    if (argc != 3) {
        fprintf(stderr, "usage: timing_run MODEL TRACE\n");
        return 2;
    }
    printf("| machine | | experts in VRAM | hits | answer, tok/s | roofline | share | roofline by rows | "
           "prompt, tok/s | copies beside kernels | a token's launches | copies | graphs | misses |\n"
           "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof boxes / sizeof *boxes; i++) {
        box(boxes[i], argv[1], argv[2]);
    }
    return bad;
}
