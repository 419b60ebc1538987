/* The commands of `moxie profile`. */
#ifndef MOX_CLI_PROFILE_CMD_H
#define MOX_CLI_PROFILE_CMD_H

#include "runtime/cli/options.h"

mox_err mox_profile_import(const mox_opts *o);
mox_err mox_profile_what_if(const mox_opts *o);
mox_err mox_profile_report(const mox_opts *o);
mox_err mox_profile_export(const mox_opts *o);
mox_err mox_profile_diff(const mox_opts *o);

#endif
