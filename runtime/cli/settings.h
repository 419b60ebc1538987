/* Settings that do not stand on the command line: environment variables and configuration files.
 *
 * Files: the system's, the user's, and that of --config (or MOXIE_CONFIG), each above the one before. In a
 * file, keys are names of options; those before any section or under [*] are for all models, those under
 * [PATTERN] for models whose file name matches it, which stand above.
 */
#ifndef MOX_CLI_SETTINGS_H
#define MOX_CLI_SETTINGS_H

#include "runtime/cli/options.h"

/* A section for certain models has the rank of its file plus one. */
enum {
    MOX_RANK_SYSTEM = 10,
    MOX_RANK_USER = 20,
    MOX_RANK_FILE = 30,
    MOX_RANK_ENV = 40,
    MOX_RANK_ARGS = 50,
};

typedef struct mox_config_path {
    const char *what; /* "system", "user", "--config" */
    uint32_t rank;
    bool must_exist;
    char path[1024]; /* empty: there is none */
} mox_config_path;

enum { MOX_CONFIG_PATHS = 3 };

/* mox_config_paths: where settings are looked for, lowest first. config: the value of --config, or NULL. */
MOX_NODISCARD mox_err mox_config_paths(const char *config, mox_config_path out[MOX_CONFIG_PATHS]);

/* mox_settings_load: files and environment into o, for the options of cmd; what is on the command line is
 * there already or comes later, and wins. Errors MOX_E_CONFIG: which file and line or variable, and why. */
MOX_NODISCARD mox_err mox_settings_load(const mox_command *cmd, mox_opts *o);

#endif
