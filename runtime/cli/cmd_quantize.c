/* moxie quantize: a model's weights in a smaller type. What the types are called and how classes of tensors get others:
 * runtime/quantize/mix.h. */
#include "runtime/cli/commands.h"
#include "runtime/cli/ui.h"

#include "offload/topo.h"
#include "profiler/report/json.h"
#include "runtime/quantize/quantize.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>

static double error_of(const mox_quantize_sum *s)
{
    return s->square > 0.0 ? sqrt(s->error / s->square) : 0.0;
}

static void quantize_json(const mox_opts *o, const mox_quantize_report *r)
{
    mox_json j;
    mox_json_begin(&j, stdout);
    mox_json_object(&j, NULL);
    mox_json_string(&j, "schema", "moxie.quantize/1");
    mox_json_string(&j, "model", o->words[0]);
    mox_json_string(&j, "out", o->words[1]);
    mox_json_string(&j, "type", o->weight_type);
    mox_json_u64(&j, "source_bytes", r->source_bytes);
    mox_json_u64(&j, "out_bytes", r->out_bytes);
    mox_json_f64(&j, "bits_per_weight", 8.0 * (double)r->out_bytes / (double)r->n_elements);
    mox_json_u64(&j, "tensors", r->n_tensors);
    mox_json_u64(&j, "tensors_kept", r->n_kept);
    mox_json_u64(&j, "tensors_of_other_type", r->n_shorter);
    mox_json_array(&j, "types");
    for (uint32_t t = 0; t < MOX_TYPE_COUNT; t++) {
        const mox_quantize_sum *s = &r->by_type[t];
        if (s->n_tensors) {
            mox_json_object(&j, NULL);
            mox_json_string(&j, "type", mox_type_info(t)->name);
            mox_json_u64(&j, "tensors", s->n_tensors);
            mox_json_u64(&j, "elements", s->n);
            mox_json_u64(&j, "bytes", s->bytes);
            mox_json_f64(&j, "relative_rmse", error_of(s));
            mox_json_object_end(&j);
        }
    }
    mox_json_array_end(&j);
    mox_json_f64(&j, "seconds", r->seconds);
    mox_json_object_end(&j);
    mox_json_end(&j);
}

static void quantize_text(const mox_opts *o, const mox_quantize_report *r)
{
    char a[24], b[24];
    for (uint32_t t = 0; t < MOX_TYPE_COUNT; t++) {
        const mox_quantize_sum *s = &r->by_type[t];
        if (s->n_tensors) {
            mox_ui_line("%-6s %4u tensors, %s, relative error %.4f", mox_type_info(t)->name, s->n_tensors,
                        mox_human(s->bytes, a), error_of(s));
        }
    }
    mox_ui_line("%s: %s, %.2f bits per weight (the model: %s) in %.1f s, %.1f M weights/s", o->words[1],
                mox_human(r->out_bytes, a), 8.0 * (double)r->out_bytes / (double)r->n_elements,
                mox_human(r->source_bytes, b), r->seconds, (double)r->n_elements / r->seconds * 1e-6);
}

static mox_err run_quantize(const mox_opts *o, mox_pool *pool)
{
    mox_progress progress;
    mox_log log = {.fn = mox_ui_log, .level = MOX_LOG_INFO};
    mox_progress_init(&progress);
    const mox_quantize_cfg cfg = {.model = o->words[0],
                                  .out = o->words[1],
                                  .type = o->weight_type,
                                  .force = o->force,
                                  .pool = pool,
                                  .log = &log,
                                  .progress = mox_progress_update,
                                  .progress_ctx = &progress,
                                  .stop = mox_stop_requested};
    mox_quantize_report r;
    mox_ui_line("quantizing %s to %s", cfg.model, cfg.type);
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an error like a full disk */
    mox_stop_soft(true);
    mox_err err = mox_quantize_write(&cfg, &r);
    mox_progress_clear(&progress);
    if (err == MOX_E_CANCELLED) {
        mox_ui_line("stopped; nothing was written to %s", cfg.out);
        return MOX_OK; /* the exit code is the signal's */
    }
    MOX_TRY(err);
    quantize_text(o, &r);
    if (o->json) {
        quantize_json(o, &r);
    }
    return MOX_OK;
}

mox_err mox_cmd_quantize(mox_opts *o)
{
    if (o->words[0] == NULL || o->words[1] == NULL || o->weight_type == NULL) {
        mox_err err =
            MOX_FAIL(MOX_E_OPTION, "quantize needs a model, the name of the file to write, and --type");
        mox_err_fix("moxie quantize MODEL OUT --type Q4_K_M");
        return err;
    }
    mox_topo *topo = NULL;
    mox_pool *pool = NULL;
    MOX_TRY(mox_topo_create(&topo));
    const uint32_t n = o->cfg.n_threads ? o->cfg.n_threads : mox_topo_cores(topo);
    mox_topo_set_workers(topo, n);
    const mox_pool_cfg cfg = {.n_workers = n, .bind = mox_topo_bind_worker, .bind_ctx = topo, .spin_us = 50};
    mox_err err = mox_pool_create(&pool, &cfg);
    if (err == MOX_OK) {
        err = run_quantize(o, pool);
        mox_pool_destroy(&pool);
    }
    mox_topo_destroy(&topo);
    return err;
}
