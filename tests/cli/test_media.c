/* What is said about slow media before a model is loaded, for machines and plans that are played. */
#include "runtime/cli/media.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Two layers of 8 experts, 2 used; 6 and 2 kept; 10 and 20 MB an expert: 2 x 10 x 2/8 + 2 x 20 x 6/8 = 35 MB a token. */
static const mox_plan half = {.n_moe_layers = 2,
                              .n_experts = 8,
                              .top_k = 2,
                              .kept = {6, 2},
                              .slot_bytes = {10000000, 20000000},
                              .dense_bytes = 50000000,
                              .expert_bytes = 100000000};
static char line[700];

static bool said(mox_media m, const mox_plan *plan)
{
    line[0] = '\0';
    return mox_media_line(&m, plan, line, sizeof line);
}

static bool has(const char *text)
{
    return strstr(line, text) != NULL;
}

Test(cli_media, bytes_of_a_token)
{
    cr_expect_float_eq(mox_media_token_bytes(&half), 35e6, 1);
    mox_plan all = half;
    all.kept[0] = all.kept[1] = 8;
    cr_expect_eq(mox_media_token_bytes(&all), 0);
    mox_plan dense = {.n_layers = 2};
    cr_expect_eq(mox_media_token_bytes(&dense), 0);
}

Test(cli_media, a_good_machine_is_not_mentioned)
{
    cr_expect_not(said((mox_media){.bytes_per_s = 201e6}, &half));
    cr_expect_not(said((mox_media){.bytes_per_s = 0, .swap_used = 64 << 20}, &half));
}

Test(cli_media, a_slow_disk_with_the_speed_to_expect)
{
    cr_assert(said((mox_media){.bytes_per_s = 70e6}, &half));
    cr_expect(has("the disk is slow, reads at 70 MB/s: loading takes about 2 s"), "%s", line);
    cr_expect(has("33.4 MiB per token: 2.00 tok/s"), "%s", line);
}

Test(cli_media, a_network_file_system_even_if_it_is_fast)
{
    cr_assert(said((mox_media){.bytes_per_s = 1.4e9, .network = "NFS"}, &half));
    cr_expect(has("a network file system (NFS), reads at 1400 MB/s"), "%s", line);
    cr_expect(has("40 tok/s"), "%s", line);
    cr_expect_not(has("slow"));
    cr_assert(said((mox_media){.network = "FUSE"}, &half));
    cr_expect_not(has("tok/s"), "nothing is predicted from nothing: %s", line);
}

Test(cli_media, swap_in_use)
{
    cr_assert(said((mox_media){.bytes_per_s = 3.5e9, .swap_used = 1ull << 30}, &half));
    cr_expect(has("1.0 GiB are swapped out, reads at 3500 MB/s"), "%s", line);
    cr_expect(has("100 tok/s"), "%s", line);
}

Test(cli_media, all_in_one_line)
{
    cr_assert(said((mox_media){.bytes_per_s = 1e6, .swap_used = 1ull << 40, .network = "CIFS"}, &half));
    cr_expect(has("CIFS") && has("the disk is slow") && has("1.0 TiB are swapped out") && has("0.03 tok/s"),
              "%s", line);
    cr_expect_null(strchr(line, '\n'));
}

Test(cli_media, nothing_is_read_when_all_is_kept)
{
    mox_plan all = half;
    all.kept[0] = all.kept[1] = 8;
    cr_assert(said((mox_media){.bytes_per_s = 10e6}, &all));
    cr_expect(has("answers read nothing"), "%s", line);
}

Test(cli_media, file_systems)
{
    cr_expect_str_eq(mox_media_network(0x6969), "NFS");
    cr_expect_str_eq(mox_media_network(0xff534d42), "CIFS");
    cr_expect_str_eq(mox_media_network((unsigned long)(int)0xff534d42), "CIFS",
                     "a type that was sign extended");
    cr_expect_str_eq(mox_media_network(0x65735546), "FUSE");
    cr_expect_str_eq(mox_media_network(0x01021997), "9p");
    cr_expect_null(mox_media_network(0xef53), "ext4");
    cr_expect_null(mox_media_network(0x58465342), "xfs");
    cr_expect_null(mox_media_network(0x9123683e), "btrfs");
    cr_expect_null(mox_media_network(0x01021994), "tmpfs");
    cr_expect_null(mox_media_path("/proc"));
    cr_expect_null(mox_media_path("/no/such/file"));
}

Test(cli_media, swap_of_a_played_machine)
{
    char root[64] = "/tmp/moxie-media-XXXXXX", path[128];
    cr_assert_not_null(mkdtemp(root));
    snprintf(path, sizeof path, "%s/proc", root);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fputs("MemTotal: 8000000 kB\nSwapTotal:  3000 kB\nSwapFree:  1000 kB\n", f);
    fclose(f);
    cr_expect_eq(mox_media_swap_used(root), 2000u * 1024);
    remove(path);
    cr_expect_eq(mox_media_swap_used(root), 0);
    snprintf(path, sizeof path, "%s/proc", root);
    remove(path);
    remove(root);
}

Test(cli_media, a_file_is_measured)
{
    double rate = mox_media_rate(MOX_TEST_DATA "/models/mixtral-a.gguf");
    cr_expect(isfinite(rate) && rate > 0);
    cr_expect_eq(mox_media_rate("/no/such/file"), 0);
    cr_expect_eq(mox_media_rate("/dev/null"), 0);
}
