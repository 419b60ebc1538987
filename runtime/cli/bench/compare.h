/* bench against an earlier bench: both numbers side by side, and a failure if one got too slow. */
#ifndef MOX_CLI_BENCH_COMPARE_H
#define MOX_CLI_BENCH_COMPARE_H

#include "runtime/cli/options.h"

typedef struct mox_bench_result {
    char name[48]; /* "decode 64 at 512" */
    double tok_s;  /* median */
} mox_bench_result;

/* mox_bench_compare: the results beside those of o->compare (what bench --json wrote), to stderr; MOX_E_CHECK
 * if one is more than o->fail_below percent slower. Nothing without --compare. With n == 0 the file alone is looked at,
 * before minutes of measuring. Errors MOX_E_OPEN, MOX_E_FORMAT. */
MOX_NODISCARD mox_err mox_bench_compare(const mox_opts *o, const mox_bench_result *results, uint32_t n);

#endif
