/* moxie pack: a model as one packed file, whose experts are read without being laid out again. */
#include "runtime/cli/commands.h"
#include "runtime/cli/ui.h"

#include "profiler/report/json.h"
#include "runtime/pack/write.h"

#include <signal.h>
#include <stdio.h>

static void pack_json(const mox_opts *o, const mox_pack_report *r)
{
    mox_json j;
    char layout[24];
    snprintf(layout, sizeof layout, "%016llx", (unsigned long long)r->layout);
    mox_json_begin(&j, stdout);
    mox_json_object(&j, NULL);
    mox_json_string(&j, "schema", "moxie.pack/1");
    mox_json_string(&j, "model", o->words[0]);
    mox_json_string(&j, "out", o->words[1]);
    mox_json_u64(&j, "version", MOX_GGUF_PACK_VERSION);
    mox_json_string(&j, "layout", layout);
    mox_json_u64(&j, "source_bytes", r->source_bytes);
    mox_json_u64(&j, "out_bytes", r->out_bytes);
    mox_json_u64(&j, "record_bytes", r->record_bytes);
    mox_json_u64(&j, "dense_bytes", r->dense_bytes);
    mox_json_u64(&j, "records", r->n_records);
    mox_json_u64(&j, "slices", r->n_slices);
    mox_json_f64(&j, "seconds", r->seconds);
    mox_json_object_end(&j);
    mox_json_end(&j);
}

mox_err mox_cmd_pack(mox_opts *o)
{
    if (o->words[0] == NULL || o->words[1] == NULL) {
        mox_err err = MOX_FAIL(MOX_E_OPTION, "pack needs a model and the name of the file to write");
        mox_err_fix("moxie pack MODEL OUT");
        return err;
    }
    mox_progress progress;
    mox_log log = {.fn = mox_ui_log, .level = MOX_LOG_INFO};
    mox_progress_init(&progress);
    mox_pack_cfg cfg = {.model = o->words[0],
                        .out = o->words[1],
                        .force = o->force,
                        .log = &log,
                        .progress = mox_progress_update,
                        .progress_ctx = &progress,
                        .stop = mox_stop_requested};
    mox_pack_report r;
    char a[24], b[24];
    mox_ui_line("packing %s", cfg.model);
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an error like a full disk */
    mox_stop_soft(true);
    mox_err err = mox_pack_write(&cfg, &r);
    mox_progress_clear(&progress);
    if (err == MOX_E_CANCELLED) {
        mox_ui_line("stopped; nothing was written to %s", cfg.out);
        return MOX_OK; /* the exit code is the signal's */
    }
    MOX_TRY(err);
    mox_ui_line("%s: %s, %llu experts in %llu slices (the model: %s) in %.1f s, %.2f GB/s", cfg.out,
                mox_human(r.out_bytes, a), (unsigned long long)r.n_records, (unsigned long long)r.n_slices,
                mox_human(r.source_bytes, b), r.seconds, (double)r.out_bytes / r.seconds / 1e9);
    if (o->json) {
        pack_json(o, &r);
    }
    return MOX_OK;
}
