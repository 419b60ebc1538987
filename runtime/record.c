/* Recording a run: what a trace says about it, and who writes to it.
 *
 * The INFO block has what a reader needs to judge the numbers and to compare two runs: the model, the machine, the
 * settings that were used (not those that were asked for), experts kept and their bytes, and what one record costs on this
 * machine. The graph puts uses and the step thread's spans; with timings the store puts those of reads.
 */
#include "runtime/context.h"
#include "runtime/core/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { COST_RECORDS = 4096 };

typedef struct text {
    char *at;
    size_t n, cap;
} text;

static void MOX_PRINTF(2, 3) line(text *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(t->at + t->n, t->cap - t->n, fmt, args);
    va_end(args);
    t->n += n > 0 && (size_t)n < t->cap - t->n ? (size_t)n : 0;
    t->at[t->n] = '\0';
}

/* Of a string of the user's or the system's: one line. */
static void word(text *t, const char *key, const char *value)
{
    line(t, "%s ", key);
    for (const char *c = value; *c; c++) {
        line(t, "%c", (unsigned char)*c < ' ' ? '?' : *c);
    }
    line(t, "\n");
}

static void machine(text *t)
{
    char name[160];
    mox_host_cpu_name("", name, sizeof name);
    word(t, "machine", name);
    line(t, "machine_ram %llu\n", (unsigned long long)mox_host_total_bytes());
}

static void numbers(text *t, const char *key, const uint32_t *a, const uint64_t *b, uint32_t n)
{
    line(t, "%s", key);
    for (uint32_t i = 0; i < n; i++) {
        line(t, " %llu", a ? (unsigned long long)a[i] : (unsigned long long)b[i]);
    }
    line(t, "\n");
}

/* What a record costs who writes it: two looks at the clock, and its bytes. */
static double record_cost_ns(void)
{
    mox_trace_span ring[64] = {0};
    uint64_t begin = mox_now_ns();
    for (uint32_t i = 0; i < COST_RECORDS; i++) {
        ring[i % 64].begin_ns = mox_now_ns();
        ring[i % 64].ns = mox_now_ns();
        __asm__ volatile("" ::"r"(ring) : "memory"); /* as if somebody read it */
    }
    return (double)(mox_now_ns() - begin) / COST_RECORDS;
}

static void settings(text *t, mox_ctx *ctx)
{
    const mox_plan *p = &ctx->plan;
    const mox_cfg *c = &ctx->cfg;
    word(t, "device", ctx->device);
    word(t, "io", mox_get_io(ctx));
    word(t, "policy", c->policy ? c->policy : "auto");
    line(t, "look_ahead %s\n", c->look_ahead ? "on" : "off");
    line(t, "verify %s\n",
         c->verify == MOX_VERIFY_OFF      ? "off"
         : c->verify == MOX_VERIFY_ALWAYS ? "always"
                                          : "sample");
    line(t, "fill_order %s\n", mox_get_fill_order(ctx));
    line(t, "threads %u\nctx %u\nsequences %u\nbatch %u\nkv %s\nact %s\n", p->n_threads, p->n_ctx, p->n_seq,
         p->n_batch, p->kv_type, c->act_f32 ? "f32" : "int8");
    line(t, "total_bytes %llu\ndense_bytes %llu\nkv_bytes %llu\n", (unsigned long long)p->total_bytes,
         (unsigned long long)p->dense_bytes, (unsigned long long)p->kv_bytes);
    numbers(t, "kept", p->kept, NULL, p->n_moe_layers);
    numbers(t, "slot_bytes", NULL, p->slot_bytes, p->n_moe_layers);
    if (p->n_devices) {
        numbers(t, "vram_kept", p->vram_kept, NULL, p->n_moe_layers);
    }
}

static mox_trace_cfg trace_cfg(const mox_ctx *ctx)
{
    return (mox_trace_cfg){.header = {.n_layers = ctx->model->n_moe_layers,
                                      .n_experts = ctx->model->h.n_experts,
                                      .top_k = ctx->model->h.top_k,
                                      .timings = ctx->cfg.timings,
                                      .model_id = ctx->model->id}};
}

size_t mox_ctx_record_bytes(const mox_ctx *ctx)
{
    mox_trace_cfg cfg = trace_cfg(ctx);
    return ctx->cfg.record ? mox_trace_bytes(&cfg) : 0;
}

mox_err mox_ctx_record(mox_ctx *ctx)
{
    if (!ctx->cfg.record) {
        return MOX_OK;
    }
    text t = {.at = malloc(MOX_TRACE_INFO_MAX), .cap = MOX_TRACE_INFO_MAX};
    if (!t.at) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "trace: %d bytes refused", MOX_TRACE_INFO_MAX);
    }
    word(&t, "model", ctx->cfg.model);
    word(&t, "arch", ctx->model->arch);
    line(&t, "started %lld\n", (long long)time(NULL));
    machine(&t);
    settings(&t, ctx);
    line(&t, "record_ns %.1f\n", record_cost_ns());
    mox_trace_cfg cfg = trace_cfg(ctx);
    cfg.info = t.at;
    mox_err err = mox_trace_create(&ctx->graph.trace, ctx->cfg.record, &cfg);
    free(t.at);
    if (err == MOX_OK && ctx->cfg.timings && ctx->store) {
        mox_store_record(ctx->store, ctx->graph.trace);
    }
    return err;
}

mox_err mox_end_record(mox_ctx *ctx)
{
    mox_trace_end end = {0};
    if (!ctx->graph.trace) {
        return MOX_OK;
    }
    if (ctx->store) {
        mox_store_record(ctx->store, NULL);
    }
    mox_err err = mox_trace_close(&ctx->graph.trace, &end);
    if (end.dropped_uses || end.dropped_spans) {
        mox_log_line(&ctx->cfg.log, MOX_LOG_WARN,
                     "trace: %llu uses and %llu spans dropped: the file was not written fast enough",
                     (unsigned long long)end.dropped_uses, (unsigned long long)end.dropped_spans);
    }
    return err;
}
