/* What writer and reader of traces share: tags of blocks. */
#ifndef MOX_PROFILER_TRACE_FILE_H
#define MOX_PROFILER_TRACE_FILE_H

#include "profiler/trace.h"

enum { MOX_TRACE_VERSION = 2 };

#define MOX_TRACE_MAGIC "MOXT"

typedef struct mox_trace_block {
    char tag[4];
    uint32_t bytes; /* of the payload, never 0 but in INFO */
} mox_trace_block;

#define MOX_TRACE_INFO "INFO"
#define MOX_TRACE_USES "USES"
#define MOX_TRACE_SPAN "SPAN"
#define MOX_TRACE_DONE "DONE"

#endif
