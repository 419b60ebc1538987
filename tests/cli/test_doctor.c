/* The findings of `moxie doctor` on machines that are played: files below a folder of the test's own. */
#include "runtime/cli/doctor.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

static char root[64];
static mox_doctor d;

static void fresh(void)
{
    snprintf(root, sizeof root, "/tmp/moxie-doctor-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    d = (mox_doctor){.root = root};
}

static void wipe(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    cr_expect_eq(system(command), 0);
}

TestSuite(cli_doctor, .init = fresh, .fini = wipe);

/* A file of the played machine, with its folders. */
static void put(const char *path, const char *text)
{
    char full[256];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *p = full + strlen(root) + 1; *p != '\0'; p++) {
        if (*p == '/') {
            *p = '\0';
            mkdir(full, 0700);
            *p = '/';
        }
    }
    FILE *f = fopen(full, "w");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
}

static const mox_finding *only(void)
{
    cr_assert_eq(d.n, 1);
    cr_expect_eq(d.warnings, d.findings[0].warning);
    cr_expect_eq(d.findings[0].warning, d.findings[0].fix[0] != '\0', "a warning, and only that, has a fix");
    return &d.findings[0];
}

Test(cli_doctor, swap_in_use_is_a_warning)
{
    put("/proc/meminfo", "MemTotal: 8000000 kB\nSwapTotal:  2097152 kB\nSwapFree:  1048576 kB\n");
    mox_doctor_swap(&d);
    cr_expect(only()->warning);
    cr_expect_str_eq(only()->text, "2.0 GiB, 1.0 GiB in use");
    cr_expect_eq(only()->numbers[1].value, 1048576.0 * 1024);
}

Test(cli_doctor, a_little_swapped_out_is_none)
{
    put("/proc/meminfo", "SwapTotal:  2097152 kB\nSwapFree:  2090000 kB\n");
    mox_doctor_swap(&d);
    cr_expect_not(only()->warning);
}

Test(cli_doctor, no_swap_is_fine)
{
    put("/proc/meminfo", "SwapTotal:  0 kB\nSwapFree:  0 kB\n");
    mox_doctor_swap(&d);
    cr_expect_not(only()->warning);
    cr_expect_str_eq(only()->text, "none");
}

Test(cli_doctor, little_memory_is_a_warning)
{
    put("/proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 1048576 kB\n");
    mox_doctor_memory(&d);
    cr_expect(only()->warning);
    cr_expect_str_eq(only()->text, "8.0 GiB, 1.0 GiB available");
}

Test(cli_doctor, enough_memory_is_not)
{
    put("/proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n");
    mox_doctor_memory(&d);
    cr_expect_not(only()->warning);
}

Test(cli_doctor, huge_pages_switched_off)
{
    put("/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
    mox_doctor_huge_pages(&d);
    cr_expect(only()->warning);
    cr_expect_str_eq(only()->text, "transparent: never");
}

Test(cli_doctor, huge_pages_on_request)
{
    put("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    mox_doctor_huge_pages(&d);
    cr_expect_not(only()->warning);
    cr_expect_str_eq(only()->text, "transparent: madvise");
}

Test(cli_doctor, memlock_limits)
{
    struct rlimit limit;
    getrlimit(RLIMIT_MEMLOCK, &limit);
    limit.rlim_cur = 1 << 20;
    cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    mox_doctor_memlock(&d);
    cr_expect(only()->warning);
    cr_expect_str_eq(only()->text, "limit 1.0 MiB");
}

Test(cli_doctor, a_gpu_is_named)
{
    put("/proc/driver/nvidia/gpus/0000:01:00.0/information",
        "Model: \t\t NVIDIA GeForce RTX 4060 Ti\nIRQ: 5\n");
    mox_doctor_gpu(&d);
    cr_expect_not(only()->warning);
    cr_expect_not_null(strstr(only()->text, "1 found, NVIDIA GeForce RTX 4060 Ti;"));
}

Test(cli_doctor, a_gpu_without_its_driver_files_is_counted)
{
    put("/dev/nvidia0", "");
    put("/dev/nvidia1", "");
    put("/dev/nvidiactl", "");
    mox_doctor_gpu(&d);
    cr_expect_eq(only()->numbers[0].value, 2);
}

Test(cli_doctor, gpus_as_the_driver_lists_them)
{
    d.nvml = MOX_FAKE_NVML;
    mox_doctor_gpu_list(&d);
    cr_assert_eq(d.n, 2);
    cr_expect_str_eq(d.findings[0].name, "gpu 0");
    cr_expect_str_eq(d.findings[0].text,
                     "Fake GPU 0, 20.0 GiB of 24.0 GiB free, PCIe 4.0 x16, GPU-0000, driver 1.2.3");
    cr_expect_not(d.findings[0].warning);
    cr_expect_eq(d.findings[0].numbers[0].value, 20.0 * 1024 * 1024 * 1024);
    cr_expect_not_null(strstr(d.findings[1].text, "PCIe 4.0 x4"));
    cr_expect(d.findings[1].warning); /* in a slot that is too narrow */
    cr_expect_not_null(strstr(d.findings[1].fix, "4 of its 16 lanes"));
}

Test(cli_doctor, no_library_lists_no_gpu)
{
    d.nvml = "libthere-is-no-such-library.so.1";
    mox_doctor_gpu_list(&d);
    cr_expect_eq(d.n, 0);
}

Test(cli_doctor, no_gpu)
{
    mox_doctor_gpu(&d);
    cr_expect_not(only()->warning);
    cr_expect_not_null(strstr(only()->text, "none found"));
}

Test(cli_doctor, the_processor_is_named)
{
    put("/proc/cpuinfo", "processor : 0\nmodel name\t: Some CPU 9000\n");
    mox_doctor_cpu(&d);
    cr_expect_eq(strncmp(only()->text, "Some CPU 9000, ", 15), 0);
    cr_expect_geq(only()->numbers[0].value, 1);
}
