/* The parts of reports that several commands share: the plan, the counters and the run's identity, as text
 * on stderr and as JSON. */
#ifndef MOX_CLI_REPORT_H
#define MOX_CLI_REPORT_H

#include "profiler/report/json.h"
#include "runtime/cli/options.h"

void mox_report_plan(const mox_plan *plan); /* text, to stderr */
void mox_report_plan_json(mox_json *j, const char *key, const mox_plan *plan);
/* hits by tier (uses and bytes), bytes read, prefetch, waiting */
void mox_report_counters_json(mox_json *j, const mox_counters *c);
/* model, act, device, io, policy, look_ahead, plan, actual bytes */
void mox_report_run_json(mox_json *j, const mox_opts *o, const mox_ctx *ctx);
void mox_report_hash_json(mox_json *j, const mox_ctx *ctx);
/* "384 expert uses = RAM ... + late ... + file ...; read 22.1 MiB = fill ... + demand ... + ahead ..." */
const char *mox_report_counters(const mox_counters *c, char out[320]);

#endif
