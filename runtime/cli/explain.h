/* What each error code means, what usually causes it, what to do. */
#ifndef MOX_CLI_EXPLAIN_H
#define MOX_CLI_EXPLAIN_H

#include "runtime/core/err.h"

typedef struct mox_explanation {
    mox_err code;
    const char *means;
    const char *causes; /* lines */
    const char *remedy; /* lines */
} mox_explanation;

extern const mox_explanation mox_explanations[]; /* in order of numbers; means == NULL ends the list */

#endif
