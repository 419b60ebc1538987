/* One function per command, each in its own file; the table is in main.c. */
#ifndef MOX_CLI_COMMANDS_H
#define MOX_CLI_COMMANDS_H

#include "runtime/cli/options.h"

mox_err mox_cmd_run(mox_opts *o);
mox_err mox_cmd_info(mox_opts *o);
mox_err mox_cmd_tokenize(mox_opts *o);
mox_err mox_cmd_logits(mox_opts *o);
mox_err mox_cmd_perplexity(mox_opts *o);
mox_err mox_cmd_bench(mox_opts *o);
mox_err mox_cmd_pack(mox_opts *o);
mox_err mox_cmd_quantize(mox_opts *o);
mox_err mox_cmd_completion(mox_opts *o);
mox_err mox_cmd_config(mox_opts *o);
mox_err mox_cmd_explain(mox_opts *o);
mox_err mox_cmd_doctor(mox_opts *o);
mox_err mox_cmd_verify(mox_opts *o);
mox_err mox_cmd_plan(mox_opts *o);
mox_err mox_cmd_tune(mox_opts *o);
mox_err mox_cmd_profile(mox_opts *o);
mox_err mox_cmd_profile_run(mox_opts *o);
mox_err mox_cmd_top(mox_opts *o);
mox_err mox_cmd_docs(mox_opts *o);
mox_err mox_cmd_template(mox_opts *o);

#endif
