/* The one clock: CLOCK_MONOTONIC in nanoseconds. */
#ifndef MOX_CORE_CLOCK_H
#define MOX_CORE_CLOCK_H

#include <stdint.h>

uint64_t mox_now_ns(void);

#endif
