/* moxie profile: its words. `run` is a run that is recorded, with all of run's options, and then reported on. */
#include "runtime/cli/commands.h"
#include "runtime/cli/profile/cmd.h"
#include "runtime/cli/profile/profile.h"
#include "runtime/cli/ui.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* -o DIR: trace and report; -o FILE.trace: the trace alone. */
static mox_err place_trace(const char *out, char path[4096], bool *folder)
{
    size_t n = strlen(out);
    *folder = !(n > 6 && strcmp(out + n - 6, ".trace") == 0);
    if (n + sizeof MOX_PROFILE_TRACE + 1 > 4096) {
        return MOX_FAIL(MOX_E_WRITE, "--out: a path of %zu bytes", n);
    }
    if (*folder && mkdir(out, 0777) != 0 && errno != EEXIST) {
        return MOX_FAIL_SYS(MOX_E_WRITE, errno, "%.300s cannot be created: %s", out, strerror(errno));
    }
    snprintf(path, 4096, *folder ? "%s/" MOX_PROFILE_TRACE : "%s", out);
    return MOX_OK;
}

mox_err mox_cmd_profile_run(mox_opts *o)
{
    static mox_opts report;
    static char path[4096];
    bool folder = false;
    if (!o->out || o->cfg.dry_run) {
        (void)MOX_FAIL(MOX_E_OPTION, o->out ? "a dry run uses no expert: there is nothing to profile"
                                            : "profile run needs a place for what it finds: --out DIR");
        return mox_err_fix("moxie profile run MODEL -p \"Why?\" -o run1");
    }
    MOX_TRY(place_trace(o->out, path, &folder));
    o->cfg.record = path;
    o->cfg.timings = true;
    o->silent = o->json;
    MOX_TRY(mox_cmd_run(o));
    fflush(stdout);
    report = *o;
    report.model = o->cfg.model;
    report.words[0] = "report";
    report.words[1] = path;
    report.out = folder ? o->out : NULL;
    mox_stop_soft(false);
    return mox_profile_report(&report);
}

mox_err mox_cmd_profile(mox_opts *o)
{
    static const struct {
        const char *word;
        mox_err (*run)(const mox_opts *o);
        uint32_t n; /* what it needs */
        const char *needs;
    } words[] = {{"report", mox_profile_report, 1, "a recorded trace"},
                 {"what-if", mox_profile_what_if, 1, "a recorded trace"},
                 {"diff", mox_profile_diff, 2, "two recorded traces"},
                 {"export", mox_profile_export, 1, "a recorded trace"},
                 {"import", mox_profile_import, 1, "a table and --out TRACE"}};
    if (o->words[0] == NULL) {
        (void)MOX_FAIL(MOX_E_OPTION,
                       "profile does what? It can run, report, what-if, diff, export and import");
        return mox_err_fix("moxie profile run MODEL -p \"Why?\" -o run1\n"
                           "moxie profile report run1 --model MODEL");
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(o->words[0], words[i].word) != 0) {
            continue;
        }
        if (o->words[words[i].n] == NULL) {
            (void)MOX_FAIL(MOX_E_OPTION, "profile %s needs %s", words[i].word, words[i].needs);
            return mox_err_fix("moxie run MODEL -p \"Why?\" --record run.trace\nmoxie profile --help");
        }
        if (words[i].n == 1 && o->words[2] != NULL) {
            return MOX_FAIL(MOX_E_OPTION, "profile %s takes %s; what is %.100s?", words[i].word,
                            words[i].needs, o->words[2]);
        }
        return words[i].run(o);
    }
    (void)MOX_FAIL(MOX_E_OPTION, "options of profile run come behind the word run");
    return mox_err_fix("moxie profile run MODEL -p \"Why?\" -o run1");
}
