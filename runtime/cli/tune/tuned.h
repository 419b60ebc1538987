/* Settings that `moxie tune --save` found for one model on one machine, as a file.
 *
 * An INI file in the user's configuration folder, moxie/tuned/NAME-MACHINE.conf: [tune] says for which model (the name of
 * its file and the number of its header) and machine it is, [measured] what the machine did, [settings] has options as a
 * configuration file would. They stand below all configuration: whatever a user sets wins.
 */
#ifndef MOX_CLI_TUNED_H
#define MOX_CLI_TUNED_H

#include "runtime/cli/options.h"

enum { MOX_TUNED_SETTINGS = 16, MOX_TUNED_VALUE = 128 };

/* What was measured; bytes per second, seconds. 0: not. */
typedef struct mox_tuned_rates {
    double ram_bps, disk_bps;           /* each alone */
    double both_ram_bps, both_disk_bps; /* at the same time */
    double link_bps, down_bps;          /* to the memory of a device, and from it */
    double vram_bps;                    /* reads within it */
    double int_ops;
    double burst_s; /* from asking for an expert until its bytes come at disk_bps */
    double token_s; /* computing of one token of an answer */
    double threads; /* with so many */
    char device[8]; /* kind of the device that link, down and vram are of: "cpu", "cuda", "emu"; "": none */
} mox_tuned_rates;

typedef struct mox_tuned {
    char model[256], machine[200];
    uint64_t model_id;
    double gain; /* how many times as fast as without */
    mox_tuned_rates rates;
    const char *key[MOX_TUNED_SETTINGS]; /* names of options */
    char value[MOX_TUNED_SETTINGS][MOX_TUNED_VALUE];
    uint32_t n;
} mox_tuned;

/* mox_tuned_machine: this one, in words; two with the same words are alike. */
const char *mox_tuned_machine(char out[200]);
/* mox_tuned_identify: t->model, model_id and machine, of this machine and that file. */
MOX_NODISCARD mox_err mox_tuned_identify(const char *model, mox_tuned *t);
/* mox_tuned_save: where the model's settings are looked for; path says where that is. */
MOX_NODISCARD mox_err mox_tuned_save(const mox_tuned *t, char path[1024]);
/* mox_tuned_apply: --tuned: the settings that nothing else has set, into o, with a line that names them; rates may be
 * NULL. What was found for another model or machine is left alone with a line; what --tuned FILE names must fit.
 * Errors MOX_E_CONFLICT, MOX_E_CONFIG, MOX_E_OPEN. */
MOX_NODISCARD mox_err mox_tuned_apply(const mox_command *cmd, mox_opts *o, mox_tuned_rates *rates);

#endif
