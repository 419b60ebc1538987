/* gpu_twins [SECONDS [SWEEP...]]: every CUDA kernel against its plain-C twin, bit for bit, on the device that is there: the
 * sweeps of tests/cuda without Criterion. A line for each sweep; those that would begin after SECONDS are left out. Exit 1: bits
 * differ, 2: no device. */
#include "cuda/device.h"
#include "cuda/sweeps.h"
#include "runtime/core/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], name) == 0) {
            return true;
        }
    }
    return argc <= 2;
}

int main(int argc, char **argv)
{
    double limit = argc > 1 ? strtod(argv[1], NULL) : 1e9;
    unsigned ran = 0, failed = 0, left = 0;
    uint64_t begin = mox_now_ns();
    for (unsigned mode = 0; device_mode(mode); mode++) {
        for (const sweep *s = sweeps; s->name; s++) {
            if (!wanted(s->name, argc, argv)) {
                continue;
            }
            uint64_t at = mox_now_ns();
            if ((double)(at - begin) > limit * 1e9) {
                printf("left out  %s\n", s->name);
                left++;
                continue;
            }
            const char *bad = s->run();
            printf("%s %6.2f s  %s%s%s\n", bad ? "FAILED" : "ok    ", (double)(mox_now_ns() - at) / 1e9,
                   s->name, bad ? ": " : "", bad ? bad : "");
            fflush(stdout);
            ran++;
            failed += bad != NULL;
        }
        printf("%u sweeps on %s: %u failed, %u left out\n", ran, device_mode_name(), failed, left);
    }
    return failed != 0 || ran == 0;
}
