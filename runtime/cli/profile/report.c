/* moxie profile report: the files of a report: profile.json, tables, and one page that opens without a network
 * (profiler/report/page.html with the JSON inside); or its text.
 */
#include "profiler/report/page.h"
#include "runtime/cli/profile/cmd.h"
#include "runtime/cli/profile/write.h"
#include "runtime/cli/ui.h"
#include "runtime/core/outfile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static mox_err open_in(const char *dir, const char *name, char *path, size_t n, mox_outfile *f)
{
    snprintf(path, n, "%s/%s", dir, name);
    return mox_outfile_open(f, path, 0666);
}

static mox_err write_json(const mox_profile *p, const char *dir)
{
    char path[4096];
    mox_outfile f = {0};
    MOX_TRY(open_in(dir, "profile.json", path, sizeof path, &f));
    mox_json j;
    mox_json_begin(&j, f.f);
    mox_profile_json(p, &j);
    mox_json_end(&j);
    mox_err err = mox_outfile_publish(&f);
    mox_outfile_drop(&f);
    return err;
}

static mox_err write_experts(const mox_profile *p, const char *dir)
{
    char path[4096];
    mox_outfile f = {0};
    uint32_t n = p->routing.h.n_experts;
    MOX_TRY(open_in(dir, "experts.csv", path, sizeof path, &f));
    fputs("layer,expert,uses,away\n", f.f);
    for (uint32_t l = 0; l < p->routing.h.n_layers; l++) {
        for (uint32_t e = 0; e < n; e++) {
            size_t cell = (size_t)l * n + e;
            fprintf(f.f, "%u,%u,%llu,%llu\n", l, e, (unsigned long long)p->study.count[cell],
                    (unsigned long long)p->study.away[cell]);
        }
    }
    mox_err err = mox_outfile_publish(&f);
    mox_outfile_drop(&f);
    return err;
}

/* The page with the JSON in its place; "<" is written as an escape, so no string can end the script. */
static mox_err write_page(const mox_profile *p, const char *dir)
{
    char path[4096], *json = NULL;
    size_t n = 0;
    mox_outfile f = {0};
    FILE *mem = open_memstream(&json, &n);
    if (!mem) {
        return MOX_FAIL_SYS(MOX_E_NO_MEMORY, errno, "no memory for the report");
    }
    mox_json j;
    mox_json_begin(&j, mem);
    mox_profile_json(p, &j);
    mox_json_end(&j);
    mox_err err = fclose(mem) == 0 ? MOX_OK : MOX_FAIL(MOX_E_NO_MEMORY, "no memory for the report");
    if (err == MOX_OK) {
        err = open_in(dir, "report.html", path, sizeof path, &f);
    }
    if (err == MOX_OK) {
        const char *mark = strstr(mox_report_page, "@DATA@");
        fwrite(mox_report_page, 1, (size_t)(mark - mox_report_page), f.f);
        for (size_t i = 0; i < n; i++) {
            if (json[i] == '<') {
                fputs("\\u003c", f.f);
            } else {
                putc(json[i], f.f);
            }
        }
        fputs(mark + 6, f.f);
        err = mox_outfile_publish(&f);
    }
    mox_outfile_drop(&f);
    free(json);
    return err;
}

static mox_err write_all(const mox_profile *p)
{
    char path[4096];
    const char *dir = p->o->out;
    if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
        return MOX_FAIL_SYS(MOX_E_WRITE, errno, "%.300s cannot be created: %s", dir, strerror(errno));
    }
    MOX_TRY(write_json(p, dir));
    MOX_TRY(write_experts(p, dir));
    snprintf(path, sizeof path, "%s/stacks.folded", dir);
    MOX_TRY(mox_profile_export_to(p->trace, path, MOX_PROFILE_FOLDED));
    if (p->spans.n) {
        snprintf(path, sizeof path, "%s/trace.json", dir);
        MOX_TRY(mox_profile_export_to(p->trace, path, MOX_PROFILE_CHROME));
    }
    MOX_TRY(write_page(p, dir));
    mox_ui_line("wrote %s/report.html, profile.json, experts.csv, stacks.folded%s", dir,
                p->spans.n ? ", trace.json (for Perfetto)" : "");
    return MOX_OK;
}

mox_err mox_profile_report(const mox_opts *o)
{
    static mox_profile p; /* plans are too big for a stack */
    MOX_TRY(mox_profile_open(o, &p));
    mox_err err = o->out ? write_all(&p) : MOX_OK;
    if (err == MOX_OK && o->json) {
        mox_json j;
        mox_json_begin(&j, stdout);
        mox_profile_json(&p, &j);
        mox_json_end(&j);
    } else if (err == MOX_OK) {
        mox_profile_text(&p);
    }
    mox_profile_close(&p);
    return err;
}
