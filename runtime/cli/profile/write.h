/* How a profile is put into words: a report's text, profile.json, and a trace in the forms of other programs. */
#ifndef MOX_CLI_PROFILE_WRITE_H
#define MOX_CLI_PROFILE_WRITE_H

#include "profiler/report/json.h"
#include "runtime/cli/profile/profile.h"

void mox_profile_json(const mox_profile *p, mox_json *j);
void mox_profile_text(const mox_profile *p);
void mox_profile_one_list_text(const mox_profile *p);
void mox_profile_tier_text(
    const mox_profile *p); /* sizes of a GPU's memory; nothing where none is in question */

typedef enum mox_profile_form { MOX_PROFILE_CSV, MOX_PROFILE_CHROME, MOX_PROFILE_FOLDED } mox_profile_form;
/* mox_profile_export_to: path NULL or "-": standard output. */
MOX_NODISCARD mox_err mox_profile_export_to(const char *trace, const char *path, mox_profile_form form);

#endif
