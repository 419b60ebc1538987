/* The findings. Thresholds are where a user would notice: a disk under 200 MB/s, less than 2 GiB free, more
 * than 64 MiB swapped out. */
#include "runtime/cli/doctor.h"

#include "kernels/ops.h"
#include "offload/io.h"
#include "offload/topo.h"
#include "runtime/cli/bench/ceiling.h"
#include "runtime/cli/media.h"
#include "runtime/cli/nvml.h"
#include "runtime/cli/ui.h"
#include "runtime/plan/placement.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const uint64_t MIB = 1 << 20;
static const uint64_t LOW_MEMORY = 2048ull << 20, SMALL_MEMLOCK = 64ull << 20;

static mox_finding *add(mox_doctor *d, const char *name)
{
    mox_finding *f = &d->findings[d->n++];
    *f = (mox_finding){.name = name};
    return f;
}

static void MOX_PRINTF(3, 4) warn(mox_doctor *d, mox_finding *f, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(f->fix, sizeof f->fix, fmt, ap);
    va_end(ap);
    f->warning = true;
    d->warnings++;
}

static void number(mox_finding *f, const char *key, double value)
{
    for (uint32_t i = 0; i < sizeof f->numbers / sizeof *f->numbers; i++) {
        if (f->numbers[i].key == NULL) {
            f->numbers[i].key = key;
            f->numbers[i].value = value;
            return;
        }
    }
}

/* The rest of the first line of a file that begins with key, without what separates them; empty if none. */
static bool read_field(const mox_doctor *d, const char *path, const char *key, char *out, size_t n)
{
    char full[600], line[512];
    out[0] = '\0';
    snprintf(full, sizeof full, "%s%s", d->root, path);
    FILE *f = fopen(full, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            const char *value = line + strlen(key);
            value += strspn(value, " \t:");
            snprintf(out, n, "%.*s", (int)strcspn(value, "\n"), value);
            break;
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return out[0] != '\0';
}

static uint64_t meminfo(const mox_doctor *d, const char *key)
{
    char text[64];
    return read_field(d, "/proc/meminfo", key, text, sizeof text) ? strtoull(text, NULL, 10) * 1024 : 0;
}

void mox_doctor_cpu(mox_doctor *d)
{
    mox_finding *f = add(d, "cpu");
    char model[128];
    mox_topo *topo = NULL;
    uint32_t cores = 0;
    if (mox_topo_create(&topo) == MOX_OK) {
        cores = mox_topo_cores(topo);
    }
    mox_topo_destroy(&topo);
    mox_host_cpu_name(d->root, model, sizeof model);
    snprintf(f->text, sizeof f->text, "%s, %u physical cores, uses %s", model, cores,
             mox_isa_name(mox_isa_best()));
    number(f, "cores", cores);
    if (mox_isa_best() == MOX_ISA_SCALAR) {
        warn(d, f,
             "without AVX2 and FMA computing is many times slower; a virtual machine may hide them: "
             "let it pass the host's CPU through");
    }
}

void mox_doctor_memory(mox_doctor *d)
{
    mox_finding *f = add(d, "memory");
    uint64_t total = meminfo(d, "MemTotal"), free_bytes = meminfo(d, "MemAvailable");
    if (d->root[0] == '\0') { /* a container's limits count too */
        total = mox_host_total_bytes();
        free_bytes = mox_host_available_bytes();
    }
    char a[24], b[24];
    snprintf(f->text, sizeof f->text, "%s, %s available", mox_human(total, a), mox_human(free_bytes, b));
    number(f, "total_bytes", (double)total);
    number(f, "available_bytes", (double)free_bytes);
    if (free_bytes < LOW_MEMORY) {
        warn(d, f,
             "less than 2 GiB is free: close programs, raise the container's limit, or run with --ram min");
    }
}

void mox_doctor_swap(mox_doctor *d)
{
    mox_finding *f = add(d, "swap");
    uint64_t total = meminfo(d, "SwapTotal"), used = mox_media_swap_used(d->root);
    char a[24], b[24];
    number(f, "total_bytes", (double)total);
    number(f, "used_bytes", (double)used);
    if (total == 0) {
        snprintf(f->text, sizeof f->text, "none");
        return;
    }
    snprintf(f->text, sizeof f->text, "%s, %s in use", mox_human(total, a), mox_human(used, b));
    if (used > MOX_SWAPPED) {
        warn(d, f,
             "memory is short: experts that are swapped out are read twice. Close programs, then empty the "
             "swap: sudo swapoff -a && sudo swapon -a");
    }
}

void mox_doctor_memlock(mox_doctor *d)
{
    mox_finding *f = add(d, "memlock");
    struct rlimit limit = {0};
    getrlimit(RLIMIT_MEMLOCK, &limit);
    if (limit.rlim_cur == RLIM_INFINITY) {
        snprintf(f->text, sizeof f->text, "unlimited");
        return;
    }
    char a[24];
    snprintf(f->text, sizeof f->text, "limit %s", mox_human(limit.rlim_cur, a));
    number(f, "limit_bytes", (double)limit.rlim_cur);
    if (limit.rlim_cur < SMALL_MEMLOCK) {
        warn(d, f,
             "buffers for reading may not be registered with the kernel, so reads cost a little more; all "
             "else works. Add \"* - memlock unlimited\" to /etc/security/limits.d/moxie.conf (systemd: "
             "LimitMEMLOCK=infinity) and log in again");
    }
}

void mox_doctor_huge_pages(mox_doctor *d)
{
    static const char path[] = "/sys/kernel/mm/transparent_hugepage/enabled";
    mox_finding *f = add(d, "huge pages");
    char text[64];
    if (!read_field(d, path, "", text, sizeof text)) {
        snprintf(f->text, sizeof f->text, "not offered by this kernel");
        return;
    }
    const char *open = strchr(text, '[');
    snprintf(f->text, sizeof f->text, "transparent: %.*s", open != NULL ? (int)strcspn(open + 1, "]") : 40,
             open != NULL ? open + 1 : text);
    if (strstr(text, "[never]") != NULL) {
        warn(d, f, "memory is read faster in 2 MiB pages: echo madvise | sudo tee %s", path);
    }
}

/* What the driver says of one. */
static void one_gpu(mox_doctor *d, uint32_t i, const mox_nvml_gpu *g, const char *driver)
{
    static const char *const names[MOX_DOCTOR_GPUS] = {"gpu 0", "gpu 1", "gpu 2", "gpu 3",
                                                       "gpu 4", "gpu 5", "gpu 6", "gpu 7"};
    mox_finding *f = add(d, names[i]);
    char total[24], unused[24], link[48] = "";
    if (g->generation > 0 && g->max_lanes > 0) {
        snprintf(link, sizeof link, ", PCIe %u.0 x%u", g->generation, g->lanes > 0 ? g->lanes : g->max_lanes);
    }
    snprintf(f->text, sizeof f->text, "%.64s, %s of %s free%s, %.64s%s%.32s", g->name,
             mox_human(g->free_bytes, unused), mox_human(g->total_bytes, total), link, g->uuid,
             driver[0] ? ", driver " : "", driver);
    number(f, "free_bytes", (double)g->free_bytes);
    number(f, "total_bytes", (double)g->total_bytes);
    number(f, "pcie_lanes", g->lanes);
    number(f, "pcie_generation", g->generation);
    if (g->lanes > 0 && g->lanes < g->max_lanes) {
        warn(d, f,
             "it is plugged in with %u of its %u lanes, so experts cross the link at that share of the "
             "speed: another slot",
             g->lanes, g->max_lanes);
    }
}

void mox_doctor_gpu_list(mox_doctor *d)
{
    static mox_nvml_gpu gpu[MOX_DOCTOR_GPUS];
    char driver[96];
    int n = d->nvml ? mox_nvml_list(d->nvml, gpu, MOX_DOCTOR_GPUS, driver) : -1;
    for (int i = 0; i < n && i < MOX_DOCTOR_GPUS; i++) {
        one_gpu(d, (uint32_t)i, &gpu[i], driver);
    }
}

void mox_doctor_gpu(mox_doctor *d)
{
    mox_finding *f = add(d, "gpu");

    char path[600], model[128] = "";
    uint32_t n = 0;
    snprintf(path, sizeof path, "%s/proc/driver/nvidia/gpus", d->root);
    DIR *dir = opendir(path);
    for (struct dirent *e = dir != NULL ? readdir(dir) : NULL; e != NULL; e = readdir(dir)) {
        if (e->d_name[0] != '.' && n++ == 0) {
            snprintf(path, sizeof path, "/proc/driver/nvidia/gpus/%.200s/information", e->d_name);
            read_field(d, path, "Model", model, sizeof model);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    bool listed = n > 0;
    for (uint32_t i = 0; !listed && i < 16; i++) {
        snprintf(path, sizeof path, "%s/dev/nvidia%u", d->root, i);
        n += access(path, F_OK) == 0;
    }
    number(f, "found", n);
    if (n == 0) {
        snprintf(f->text, sizeof f->text, "none found; moxie computes on the CPU");
    } else {
        snprintf(f->text, sizeof f->text, "%u found%s%s; --device cuda computes on them", n,
                 model[0] != '\0' ? ", " : "", model);
    }
}

/* Would the store get a ring? Tried with the very backend it uses. */
static void check_ring(mox_doctor *d, const mox_io_file *file, uint8_t *memory, size_t staging)
{
    mox_finding *f = add(d, "io_uring");
    mox_io *io = NULL;
    mox_io_cfg cfg = {
        .fds = &file->fd, .n_files = 1, .staging = memory, .staging_bytes = staging, .depth = 16};
    cfg.state = memory + staging;
    if (mox_io_ring.open(NULL, &cfg, &io) == MOX_OK) {
        mox_io_ring.close(&io);
        snprintf(f->text, sizeof f->text, "available");
        return;
    }
    char disabled[16];
    snprintf(f->text, sizeof f->text, "not available: %.200s", mox_err_last()->msg);
    if (read_field(d, "/proc/sys/kernel/io_uring_disabled", "", disabled, sizeof disabled) &&
        disabled[0] != '0') {
        warn(d, f,
             "it is switched off; reads go through threads, a little slower. sudo sysctl "
             "kernel.io_uring_disabled=0");
    } else {
        warn(d, f,
             "reads go through threads, a little slower. Containers often forbid io_uring by seccomp: allow "
             "io_uring_setup, io_uring_enter and io_uring_register");
    }
}

mox_err mox_doctor_io(mox_doctor *d)
{
    size_t staging = 1 * MIB;
    uint8_t *memory = aligned_alloc(4096, (staging + mox_io_ring.state_bytes + 4095) & ~(size_t)4095);
    if (memory == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a trial read");
    }
    mox_io_file file;
    mox_err err = mox_io_file_open(&file, d->path, memory);
    if (err == MOX_OK) {
        check_ring(d, &file, memory, staging);
        mox_finding *f = add(d, "file system");
        const char *slow = mox_media_path(d->path);
        d->path_bytes = file.id.bytes;
        snprintf(f->text, sizeof f->text, "%s%s", slow != NULL ? slow : "local",
                 file.direct ? ", O_DIRECT" : ", no O_DIRECT");
        if (slow != NULL) {
            warn(d, f,
                 "experts are read all the time while an answer is made: copy the model to a local disk");
        } else if (!file.direct) {
            warn(d, f,
                 "reads go through the page cache, which takes memory from experts: keep the model on ext4, "
                 "xfs or btrfs");
        }
        mox_io_file_close(&file);
    }
    free(memory);
    return err;
}

mox_err mox_doctor_rates(mox_doctor *d)
{
    mox_topo *topo = NULL;
    mox_ceilings c;
    char size[24], path[160];
    MOX_TRY(mox_topo_create(&topo));
    mox_ceilings_cfg cfg = {.path = d->path,
                            .file_bytes = d->path_bytes,
                            .model_bytes = 64u << 20, /* 1 GiB of memory is read */
                            .n_threads = mox_topo_cores(topo),
                            .isa = -1};
    mox_topo_destroy(&topo);
    MOX_TRY(mox_ceilings_measure(&cfg, &c));
    mox_finding *f = add(d, "memory rate");
    snprintf(f->text, sizeof f->text, "%.1f GB/s read by %u threads", c.ram_bytes_per_s / 1e9, c.threads);
    number(f, "bytes_per_s", c.ram_bytes_per_s);
    f = add(d, "disk rate");
    snprintf(f->text, sizeof f->text, "%.2f GB/s, O_DIRECT, %llu KiB x %u, %s of %s",
             c.disk_bytes_per_s / 1e9, (unsigned long long)c.request_bytes >> 10, c.depth,
             mox_human(d->path_bytes, size), mox_ui_shown(d->path, path, sizeof path));
    number(f, "bytes_per_s", c.disk_bytes_per_s);
    if (c.disk_bytes_per_s < MOX_SLOW_DISK) {
        warn(
            d, f,
            "an expert of 100 MB takes %.1f s to read: move the model to a faster disk, or keep more experts "
            "in memory (--ram)",
            100e6 / c.disk_bytes_per_s);
    }
    return MOX_OK;
}
