/* moxie profile: its words, and export: a recorded trace (--record) as a table. One row per use of an expert, in the
 * order of the run; the weight with the digits that give its float back. */
#include "runtime/cli/commands.h"
#include "runtime/cli/profile_cmd.h"

#include "profiler/counters.h"
#include "profiler/trace.h"
#include "runtime/core/outfile.h"

#include <stdio.h>
#include <string.h>

static mox_err write_csv(FILE *f, const mox_trace_record *records, size_t n)
{
    static const char *const tiers[] = {"vram", "ram", "late", "file"};
    fputs("step,phase,sequence,position,layer,rank,expert,weight,tier\n", f);
    for (size_t i = 0; i < n; i++) {
        const mox_trace_record *r = &records[i];
        uint32_t phase = r->phase_and_tier >> 4, tier = r->phase_and_tier & 15;
        fprintf(f, "%u,%s,%u,%u,%u,%u,%u,%.9g,%s\n", r->step,
                phase == MOX_PHASE_PREFILL ? "prefill" : "decode", r->sequence, r->position, r->layer,
                r->rank, r->expert, (double)r->weight, tiers[tier]);
    }
    return MOX_OK;
}

static mox_err export_csv(const mox_opts *o)
{
    mox_trace t;
    MOX_TRY(mox_trace_read(o->words[1], &t));
    mox_outfile file = {0};
    mox_err err = MOX_OK;
    if (o->out != NULL && strcmp(o->out, "-") != 0) {
        MOX_TRY_GOTO(err, mox_outfile_open(&file, o->out, 0666), done);
    }
    MOX_TRY_GOTO(err, write_csv(file.f != NULL ? file.f : stdout, t.uses, t.n_uses), done);
    if (file.f != NULL) {
        err = mox_outfile_publish(&file);
    }
done: /* standard output is looked at by main */
    mox_outfile_drop(&file);
    mox_trace_free(&t);
    return err;
}

mox_err mox_cmd_profile(mox_opts *o)
{
    static const struct {
        const char *word;
        mox_err (*run)(const mox_opts *o);
    } words[] = {{"export", export_csv},
                 {"import", mox_profile_import},
                 {"what-if", mox_profile_what_if},
                 {"report", mox_profile_report}};
    for (size_t i = 0; o->words[0] != NULL && i < sizeof words / sizeof *words; i++) {
        if (strcmp(o->words[0], words[i].word) == 0 && o->words[1] != NULL && (i > 0 || o->csv)) {
            return words[i].run(o);
        }
    }
    mox_err err = o->words[0] == NULL
                      ? MOX_FAIL(MOX_E_OPTION, "profile does what? It can export, import, what-if and report")
                      : MOX_FAIL(MOX_E_OPTION, "profile %s needs %s", o->words[0],
                                 strcmp(o->words[0], "export") == 0   ? "--csv and a recorded trace"
                                 : strcmp(o->words[0], "import") == 0 ? "a table and --out TRACE"
                                                                      : "a recorded trace");
    mox_err_fix(
        "moxie run MODEL -p \"Why?\" --record run.trace\nmoxie profile report run.trace --model MODEL --out "
        "run1\nmoxie profile export --csv run.trace > run.csv");
    return err;
}
