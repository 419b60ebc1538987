/* The processor's name as the system has it: what a report, a trace and saved settings call this machine. */
#include "runtime/plan/placement.h"

#include <stdio.h>
#include <string.h>

void mox_host_cpu_name(const char *root, char *out, size_t n)
{
    char line[512];
    snprintf(line, sizeof line, "%s/proc/cpuinfo", root);
    snprintf(out, n, "unknown processor");
    FILE *f = fopen(line, "re");
    while (f && fgets(line, sizeof line, f)) {
        const char *value = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
        if (value) {
            value += 1 + strspn(value + 1, " \t");
            snprintf(out, n, "%.*s", (int)strcspn(value, "\n"), value);
            break;
        }
    }
    if (f) {
        fclose(f);
    }
}
