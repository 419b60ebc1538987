/* How much memory this process may use: /proc/meminfo and the cgroups above it.
 *
 * A container's limit does not show in meminfo, so both are read and the smaller counts. In a cgroup, file
 * pages that can be dropped (inactive_file) are headroom: reading a model through the page cache would
 * otherwise make the next run believe that memory is gone. Limits hold for every level up to the root.
 */
#include "runtime/plan/placement.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct cgroup_files {
    const char *root, *limit, *usage;
} cgroup_files;

static const cgroup_files v2 = {"/sys/fs/cgroup", "memory.max", "memory.current"};
static const cgroup_files v1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"};

/* The number behind `key` in a file of "key value" lines; with key NULL the file's first number. "max" and
 * unreadable are UINT64_MAX. */
static uint64_t read_number(const char *path, const char *key)
{
    FILE *f = fopen(path, "re");
    if (!f) {
        return UINT64_MAX;
    }
    char line[256];
    uint64_t value = UINT64_MAX;
    size_t n = key ? strlen(key) : 0;
    while (fgets(line, sizeof line, f)) {
        if (key && (strncmp(line, key, n) != 0 || (line[n] != ' ' && line[n] != ':'))) {
            continue;
        }
        char *at = line + n + (key && line[n] == ':');
        char *end;
        unsigned long long v = strtoull(at, &end, 10);
        if (end != at) {
            value = v;
        }
        break;
    }
    fclose(f);
    return value;
}

static uint64_t meminfo(const char *key)
{
    uint64_t kib = read_number("/proc/meminfo", key);
    return kib == UINT64_MAX ? kib : kib * 1024;
}

static uint64_t headroom_at(const cgroup_files *c, const char *dir, bool whole)
{
    char path[4352];
    snprintf(path, sizeof path, "%s/%s", dir, c->limit);
    uint64_t limit = read_number(path, NULL);
    if (whole || limit == UINT64_MAX) {
        return limit;
    }
    snprintf(path, sizeof path, "%s/%s", dir, c->usage);
    uint64_t used = read_number(path, NULL);
    snprintf(path, sizeof path, "%s/memory.stat", dir);
    uint64_t cache = read_number(path, c == &v1 ? "total_inactive_file" : "inactive_file");
    if (used == UINT64_MAX) {
        return limit;
    }
    if (cache != UINT64_MAX) {
        used -= cache < used ? cache : used;
    }
    return limit > used ? limit - used : 0;
}

/* The least over a cgroup and its parents. Where the path of /proc/self/cgroup is not visible (a container
 * with its own mount), the mount's root stands for it. */
static uint64_t walk(const cgroup_files *c, const char *path, bool whole)
{
    char dir[4096];
    uint64_t least = UINT64_MAX;
    snprintf(dir, sizeof dir, "%s%s", c->root, path);
    for (;;) {
        uint64_t v = headroom_at(c, dir, whole);
        least = v < least ? v : least;
        char *slash = strrchr(dir, '/');
        if (strlen(dir) <= strlen(c->root) || !slash) {
            return least;
        }
        *slash = '\0';
    }
}

static uint64_t cgroup_bytes(bool whole)
{
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f) {
        return UINT64_MAX;
    }
    char line[4096];
    uint64_t least = UINT64_MAX;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path) {
            continue;
        }
        *path++ = '\0';
        controllers++;
        uint64_t v = UINT64_MAX;
        if (*controllers == '\0') {
            v = walk(&v2, path, whole);
        } else if (strstr(controllers, "memory")) {
            v = walk(&v1, path, whole);
        }
        least = v < least ? v : least;
    }
    fclose(f);
    return least;
}

uint64_t mox_host_available_bytes(void)
{
    uint64_t a = meminfo("MemAvailable"), b = cgroup_bytes(false);
    return a < b ? a : b;
}

uint64_t mox_host_total_bytes(void)
{
    uint64_t a = meminfo("MemTotal"), b = cgroup_bytes(true);
    return a < b ? a : b;
}
