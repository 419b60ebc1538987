/* Where settings found by `moxie tune` are kept, and what `run` and `plan` make of them.
 *
 * A machine is known by its processor, how many of it there are, its memory in GiB and the instructions in use: what
 * settings depend on, and nothing that tells one such machine from another. A model is known by its header (the number
 * that saved heat goes by), so a file that was replaced under its name is another model.
 */
#include "runtime/cli/tune/tuned.h"

#include "runtime/cli/config_file.h"
#include "runtime/cli/open.h"
#include "runtime/core/hash.h"
#include "runtime/core/outfile.h"
#include "runtime/plan/placement.h"

#include <errno.h>
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCHEMA "tuned-1"

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

const char *mox_tuned_machine(char out[200])
{
    char cpu[120];
    mox_host_cpu_name("", cpu, sizeof cpu);
    cpu[strcspn(cpu, ";#")] = '\0'; /* it stands in a line of an INI file */
    snprintf(out, 200, "%s, %ld CPUs, %.0f GiB, %s", cpu, sysconf(_SC_NPROCESSORS_ONLN),
             round((double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / (1 << 30)),
             mox_isa_name(mox_isa_best()));
    return out;
}

mox_err mox_tuned_identify(const char *model, mox_tuned *t)
{
    mox_gguf *g = NULL;
    MOX_TRY(mox_gguf_open(&g, model));
    t->model_id = mox_gguf_id(g);
    snprintf(t->model, sizeof t->model, "%s", base_name(mox_gguf_file(g, 0)));
    for (char *c = t->model; *c != '\0'; c++) { /* it stands in a line of its own, and in a file's name */
        *c = (unsigned char)*c < ' ' || strchr("[]*?;#=:", *c) != NULL ? '_' : *c;
    }
    mox_gguf_close(&g);
    mox_tuned_machine(t->machine);
    return MOX_OK;
}

/* "": there is no place for the user's files. */
static void folder(char out[900])
{
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int n = 0;
    if (xdg != NULL && xdg[0] == '/') { /* the specification: others are to be ignored */
        n = snprintf(out, 900, "%s/moxie/tuned", xdg);
    } else if (home != NULL && home[0] == '/') {
        n = snprintf(out, 900, "%s/.config/moxie/tuned", home);
    }
    if (n <= 0 || n >= 900 - 300) {
        out[0] = '\0';
    }
}

static void place(const mox_tuned *t, char path[1024])
{
    char dir[900];
    folder(dir);
    path[0] = '\0';
    if (dir[0] != '\0') {
        snprintf(path, 1024, "%s/%.80s-%08x.conf", dir, t->model,
                 (unsigned)mox_hash64(t->machine, strlen(t->machine), 0));
    }
}

static bool make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool made = mkdir(path, 0777) == 0 || errno == EEXIST;
        *slash = '/';
        if (!made) {
            return false;
        }
    }
    return true;
}

static void write_file(FILE *f, const mox_tuned *t)
{
    const mox_tuned_rates *r = &t->rates;
    fprintf(
        f,
        "# Written by moxie tune --save. moxie run and plan take [settings] unless they are told otherwise.\n"
        "[tune]\nschema = " SCHEMA "\nmodel = %s\nmodel-id = %016llx\nmachine = %s\ngain = %.3f\n\n",
        t->model, (unsigned long long)t->model_id, t->machine, t->gain);
    fprintf(f, "[measured]\nram-read = %.4g\nfile-read = %.4g\n", r->ram_bps, r->disk_bps);
    fprintf(f, "ram-read-beside = %.4g\nfile-read-beside = %.4g\ninteger-ops = %.4g\n", r->both_ram_bps,
            r->both_disk_bps, r->int_ops);
    if (r->device[0] != '\0' && strcmp(r->device, "emu") != 0) { /* an emulator's copies are of no card */
        fprintf(f, "device = %s\nlink = %.4g\nlink-down = %.4g\nvram-read = %.4g\n", r->device, r->link_bps,
                r->down_bps, r->vram_bps);
    }
    fprintf(f, "first-byte-seconds = %.4g\ntoken-seconds = %.4g\nthreads = %.0f\n\n[settings]\n", r->burst_s,
            r->token_s, r->threads);
    for (uint32_t i = 0; i < t->n; i++) {
        fprintf(f, "%s = %s\n", t->key[i], t->value[i]);
    }
}

mox_err mox_tuned_save(const mox_tuned *t, char path[1024])
{
    mox_outfile out = {0};
    place(t, path);
    if (path[0] == '\0') {
        return MOX_FAIL(MOX_E_WRITE,
                        "there is no folder to save settings in: HOME and XDG_CONFIG_HOME are not set");
    }
    if (!make_folders(path)) {
        return MOX_FAIL_SYS(MOX_E_WRITE, errno, "a folder for %.300s cannot be made", path);
    }
    mox_err err = mox_outfile_open(&out, path, 0666);
    if (err == MOX_OK) {
        write_file(out.f, t);
        err = mox_outfile_publish(&out);
    }
    mox_outfile_drop(&out);
    return err;
}

static const char *value_of(const mox_config_file *file, const char *section, const char *key)
{
    for (uint32_t i = 0; i < file->n; i++) {
        if (strcmp(file->entries[i].section, section) == 0 && strcmp(file->entries[i].key, key) == 0) {
            return file->entries[i].value;
        }
    }
    return "";
}

/* NULL: it is for this model and machine. */
static const char *why_not(const mox_config_file *file, const mox_tuned *t)
{
    if (strtoull(value_of(file, "tune", "model-id"), NULL, 16) != t->model_id) {
        return "model";
    }
    return strcmp(value_of(file, "tune", "machine"), t->machine) != 0 ? "machine" : NULL;
}

static mox_err refused(const char *path, const mox_config_file *file, const mox_tuned *t, const char *why)
{
    bool machine = strcmp(why, "machine") == 0;
    (void)!MOX_FAIL(MOX_E_CONFLICT, "--tuned: %.200s is for another %s (%.120s), this is %.120s", path, why,
                    value_of(file, "tune", machine ? "machine" : "model"), machine ? t->machine : t->model);
    return mox_err_fix("moxie tune %.150s --save\n--tuned off", t->model);
}

/* The settings that nothing else has set. */
static mox_err take(const mox_command *cmd, const mox_config_file *file, const char *path, mox_opts *o)
{
    char line[400] = "";
    size_t at = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < file->n; i++) {
        const mox_config_entry *e = &file->entries[i];
        const char *nearest = NULL;
        if (strcmp(e->section, "settings") != 0) {
            continue;
        }
        const mox_option *opt = mox_option_key(e->key, &nearest);
        n++;
        if (opt == NULL) {
            return MOX_FAIL(MOX_E_CONFIG, "%.200s:%u: unknown key %.60s", path, e->line, e->key);
        }
        mox_setting from = {.file = path, .line = e->line, .origin = MOX_FROM_CONFIG, .rank = 1};
        bool free_to_set = o->set[opt - mox_options].rank == 0 && mox_option_of(opt, cmd);
        if (mox_option_set(opt, e->value, &from, o) != MOX_OK) {
            mox_err_info why = *mox_err_last();
            return MOX_FAIL(MOX_E_CONFIG, "%.200s:%u: %.200s", path, e->line, why.msg);
        }
        if (free_to_set && at < sizeof line) {
            at += (size_t)snprintf(line + at, sizeof line - at, " --%s %s", e->key, e->value);
        }
    }
    const char *model = o->cfg.model;
    MOX_TRY(mox_opts_settle(o));
    o->cfg.model = model;
    mox_ui_line("tuned (%s):%s%s", path,
                at  ? line
                : n ? " all of it is set otherwise"
                    : " nothing was found that is faster",
                at ? ", as moxie tune found; --tuned off for none" : "");
    return MOX_OK;
}

/* What was measured; a file that somebody changed is not believed. */
static mox_err read_rates(const mox_config_file *file, const char *path, mox_tuned_rates *r)
{
    const struct {
        const char *key;
        double *to;
    } list[] = {{"ram-read", &r->ram_bps},
                {"file-read", &r->disk_bps},
                {"ram-read-beside", &r->both_ram_bps},
                {"file-read-beside", &r->both_disk_bps},
                {"link", &r->link_bps},
                {"link-down", &r->down_bps},
                {"vram-read", &r->vram_bps},
                {"integer-ops", &r->int_ops},
                {"first-byte-seconds", &r->burst_s},
                {"token-seconds", &r->token_s},
                {"threads", &r->threads}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        char *end = NULL;
        const char *text = value_of(file, "measured", list[i].key);
        double v = strtod(text, &end);
        if (*end != '\0' || !(v >= 0 && v < 1e18)) {
            (void)MOX_FAIL(MOX_E_CONFIG, "%.300s: %s = %.40s was never measured", path, list[i].key, text);
            return mox_err_fix("moxie tune MODEL --save\n--tuned off");
        }
        *list[i].to = v;
    }
    snprintf(r->device, sizeof r->device, "%s", value_of(file, "measured", "device"));
    return MOX_OK;
}

static mox_err read_tuned(const char *path, mox_config_file *file)
{
    MOX_TRY(mox_config_read(path, file));
    return strcmp(value_of(file, "tune", "schema"), SCHEMA) == 0
               ? MOX_OK
               : MOX_FAIL(MOX_E_CONFIG, "%.300s is not a file that moxie tune --save wrote", path);
}

/* Settings of this model's name that another machine has left in a shared home. */
static void other_machines(const mox_tuned *t)
{
    char dir[900], pattern[1024];
    glob_t found;
    folder(dir);
    snprintf(pattern, sizeof pattern, "%s/%.80s-????????.conf", dir, t->model);
    if (dir[0] != '\0' && glob(pattern, 0, NULL, &found) == 0) {
        mox_ui_line("%s is for another machine: ignored; moxie tune --save finds what is best here",
                    found.gl_pathv[0]);
        globfree(&found);
    }
}

typedef struct looked {
    mox_config_file file;
    mox_tuned t;
    char found[1024];
} looked;

mox_err mox_tuned_apply(const mox_command *cmd, mox_opts *o, mox_tuned_rates *rates)
{
    static looked l; /* too big for a stack */
    bool named = strcmp(o->tuned, "auto") != 0;
    if (strcmp(o->tuned, "off") == 0) {
        return MOX_OK;
    }
    folder(l.found);
    if (!named && (l.found[0] == '\0' || access(l.found, F_OK) != 0)) {
        return MOX_OK; /* nobody has tuned anything: the header need not be read for it */
    }
    mox_err err = mox_tuned_identify(o->cfg.model, &l.t);
    if (err != MOX_OK) { /* whoever opens the model says what is wrong with it */
        return named ? err : MOX_OK;
    }
    place(&l.t, l.found);
    const char *path = named ? o->tuned : l.found;
    if (!named && (path[0] == '\0' || access(path, F_OK) != 0)) {
        other_machines(&l.t);
        return MOX_OK;
    }
    err = read_tuned(path, &l.file);
    const char *why = err == MOX_OK ? why_not(&l.file, &l.t) : NULL;
    if (named && (err != MOX_OK || why != NULL)) {
        return err != MOX_OK ? err : refused(path, &l.file, &l.t, why);
    }
    if (err != MOX_OK) {
        mox_ui_line("%s; ignored", mox_err_last()->msg);
        return MOX_OK;
    }
    if (why != NULL) {
        mox_ui_line("%s is for another %s of that name: ignored; moxie tune --save finds what is best", path,
                    why);
        return MOX_OK;
    }
    mox_tuned_rates unused;
    MOX_TRY(read_rates(&l.file, path, rates ? rates : &unused));
    return take(cmd, &l.file, path, o);
}
