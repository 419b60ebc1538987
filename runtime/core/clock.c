/* CLOCK_MONOTONIC through the vDSO: no system call on the machines we know, so it may be read per token and
 * per read. It cannot fail for this clock id. */
#include "runtime/core/clock.h"

#include <time.h>

uint64_t mox_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}
