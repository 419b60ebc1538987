/* Reading a configuration file: INI, one entry per line. inih is used in config_file.c and nowhere else. */
#ifndef MOX_CLI_CONFIG_FILE_H
#define MOX_CLI_CONFIG_FILE_H

#include "runtime/core/err.h"

#include <stddef.h>
#include <stdint.h>

enum { MOX_CONFIG_MAX_ENTRIES = 256, MOX_CONFIG_MAX_TEXT = 16384 };

typedef struct mox_config_entry {
    const char *section; /* "" before the first */
    const char *key, *value;
    uint32_t line;
} mox_config_entry;

typedef struct mox_config_file {
    mox_config_entry entries[MOX_CONFIG_MAX_ENTRIES];
    uint32_t n;
    size_t used;
    char text[MOX_CONFIG_MAX_TEXT]; /* what the entries point into */
} mox_config_file;

/* mox_config_read: Errors MOX_E_OPEN; MOX_E_CONFIG with the line: no "key = value", too long, too many; and
 * always in a build without inih. */
MOX_NODISCARD mox_err mox_config_read(const char *path, mox_config_file *out);

#endif
