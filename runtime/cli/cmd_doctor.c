/* moxie doctor: what this machine is, what slows moxie down on it, and what to do about that. */
#include "runtime/cli/commands.h"
#include "runtime/cli/doctor.h"
#include "runtime/cli/nvml.h"
#include "runtime/cli/open.h"

#include "profiler/report/json.h"

#include <stdio.h>

static void doctor_text(const mox_doctor *d)
{
    for (uint32_t i = 0; i < d->n; i++) {
        const mox_finding *f = &d->findings[i];
        printf("%s %-12s %s\n", f->warning ? "!" : " ", f->name, f->text);
        if (f->warning) {
            printf("               fix: %s\n", f->fix);
        }
    }
    printf("%u warning%s\n", d->warnings, d->warnings == 1 ? "" : "s");
}

static void doctor_json(const mox_doctor *d)
{
    mox_json j;
    mox_json_begin(&j, stdout);
    mox_json_object(&j, NULL);
    mox_json_string(&j, "schema", "moxie.doctor/1");
    mox_json_string(&j, "version", MOXIE_VERSION);
    mox_json_u64(&j, "warnings", d->warnings);
    mox_json_array(&j, "findings");
    for (uint32_t i = 0; i < d->n; i++) {
        const mox_finding *f = &d->findings[i];
        mox_json_object(&j, NULL);
        mox_json_string(&j, "name", f->name);
        mox_json_string(&j, "status", f->warning ? "warning" : "ok");
        mox_json_string(&j, "text", f->text);
        if (f->warning) {
            mox_json_string(&j, "fix", f->fix);
        }
        for (uint32_t k = 0; k < sizeof f->numbers / sizeof *f->numbers && f->numbers[k].key != NULL; k++) {
            mox_json_f64(&j, f->numbers[k].key, f->numbers[k].value);
        }
        mox_json_object_end(&j);
    }
    mox_json_array_end(&j);
    mox_json_object_end(&j);
    mox_json_end(&j);
}

mox_err mox_cmd_doctor(mox_opts *o)
{
    static mox_doctor d;
    mox_gguf *g = NULL;
    mox_cli_model(o);
    MOX_TRY(mox_gguf_open(&g, o->cfg.model));
    d = (mox_doctor){.root = "", .nvml = MOX_NVML_LIBRARY, .path = mox_gguf_file(g, 0)};
    mox_doctor_cpu(&d);
    mox_doctor_memory(&d);
    mox_doctor_swap(&d);
    mox_doctor_memlock(&d);
    mox_doctor_huge_pages(&d);
    mox_doctor_gpu(&d);
    mox_err err = mox_doctor_io(&d);
    if (err == MOX_OK) {
        mox_ui_line("measuring memory and disk");
        err = mox_doctor_rates(&d);
    }
    mox_doctor_gpu_list(&d);
    if (err == MOX_OK) {
        (o->json ? doctor_json : doctor_text)(&d);
        if (o->strict && d.warnings > 0) {
            err = MOX_FAIL(MOX_E_CHECK, "doctor: %u warnings", d.warnings);
        }
    }
    mox_gguf_close(&g);
    return err;
}
