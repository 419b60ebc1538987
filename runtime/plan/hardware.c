/* Cards, links, hosts and drives, and what a comma-separated list of them means.
 *
 * A card sustains 85 % of its memory's peak over a token and 28 % of its dense INT8 operations over a prompt;
 * both shares are assumptions (docs/hardware.md), as no kernel of this program has run on a GPU yet.
 */
#include "runtime/plan/hardware.h"

#include <stdio.h>
#include <string.h>

#define GB         1e9
#define TOPS       1e12
#define VRAM_SHARE 0.85
#define OPS_SHARE  0.28
#define CPU_OPS    0.7e12 /* eight cores with 256-bit integer products, in a prompt */

const mox_hw mox_hardware[] = {
    {MOX_HW_CARD, "3060", "GeForce RTX 3060 12 GB", 12, 360 * GB, 102 * TOPS, 0, 0, "pcie4x16"},
    {MOX_HW_CARD, "3090", "GeForce RTX 3090", 24, 936 * GB, 284 * TOPS, 0, 0, "pcie4x16"},
    {MOX_HW_CARD, "4060ti16", "GeForce RTX 4060 Ti 16 GB", 16, 288 * GB, 177 * TOPS, 0, 0, "pcie4x8"},
    {MOX_HW_CARD, "4070", "GeForce RTX 4070", 12, 504 * GB, 233 * TOPS, 0, 0, "pcie4x16"},
    {MOX_HW_CARD, "4070tisuper", "GeForce RTX 4070 Ti SUPER", 16, 672 * GB, 353 * TOPS, 0, 0, "pcie4x16"},
    {MOX_HW_CARD, "4080", "GeForce RTX 4080", 16, 717 * GB, 390 * TOPS, 0, 0, "pcie4x16"},
    {MOX_HW_CARD, "4080super", "GeForce RTX 4080 SUPER", 16, 736 * GB, 418 * TOPS, 0, 0, "pcie4x16"},
    {MOX_HW_CARD, "4090", "GeForce RTX 4090", 24, 1008 * GB, 661 * TOPS, 0, 0, "pcie4x16"},
    {MOX_HW_CARD, "5060ti16", "GeForce RTX 5060 Ti 16 GB", 16, 448 * GB, 190 * TOPS, 0, 0, "pcie5x8"},
    {MOX_HW_CARD, "5070", "GeForce RTX 5070", 12, 672 * GB, 247 * TOPS, 0, 0, "pcie5x16"},
    {MOX_HW_CARD, "5070ti", "GeForce RTX 5070 Ti", 16, 896 * GB, 352 * TOPS, 0, 0, "pcie5x16"},
    {MOX_HW_CARD, "5080", "GeForce RTX 5080", 16, 960 * GB, 450 * TOPS, 0, 0, "pcie5x16"},
    {MOX_HW_CARD, "5090", "GeForce RTX 5090", 32, 1792 * GB, 838 * TOPS, 0, 0, "pcie5x16"},
    {MOX_HW_CARD, "l4", "L4", 24, 300 * GB, 242 * TOPS, 0, 0, "pcie4x16"},
    {MOX_HW_CARD, "a100-80", "A100 80 GB PCIe", 80, 1935 * GB, 624 * TOPS, 0, 0, "pcie4x16"},
    {MOX_HW_CARD, "h100-80", "H100 80 GB SXM", 80, 3350 * GB, 1979 * TOPS, 0, 0, "pcie5x16"},
    {MOX_HW_CARD, "h200", "H200 SXM", 141 / 1.073741824, 4800 * GB, 1979 * TOPS, 0, 0, "pcie5x16"},
    {MOX_HW_LINK, "pcie3x16", "PCIe 3.0 x16", 0, 12.3 * GB, 0, 0, 0, NULL},
    {MOX_HW_LINK, "pcie4x8", "PCIe 4.0 x8", 0, 13 * GB, 0, 0, 0, NULL},
    {MOX_HW_LINK, "pcie4x16", "PCIe 4.0 x16", 0, 25 * GB, 0, 0, 0, NULL},
    {MOX_HW_LINK, "pcie5x8", "PCIe 5.0 x8", 0, 25 * GB, 0, 0, 0, NULL},
    {MOX_HW_LINK, "pcie5x16", "PCIe 5.0 x16", 0, 52 * GB, 0, 0, 0, NULL},
    {MOX_HW_HOST, "ddr4-3200", "two channels of DDR4-3200", 0, 0, 0, 40 * GB, 44 * GB, NULL},
    {MOX_HW_HOST, "ddr5-6000", "two channels of DDR5-6000", 0, 0, 0, 60 * GB, 78 * GB, NULL},
    {MOX_HW_HOST, "ddr5-7200", "two channels of DDR5-7200", 0, 0, 0, 88 * GB, 98 * GB, NULL},
    {MOX_HW_DRIVE, "gen3", "NVMe, PCIe 3.0", 0, 3 * GB, 0, 0, 0, NULL},
    {MOX_HW_DRIVE, "gen4", "NVMe, PCIe 4.0", 0, 6.5 * GB, 0, 0, 0, NULL},
    {MOX_HW_DRIVE, "gen5", "NVMe, PCIe 5.0", 0, 11.5 * GB, 0, 0, 0, NULL},
    {.name = NULL},
};

static const mox_hw *by_name(const char *name, size_t n)
{
    for (const mox_hw *h = mox_hardware; h->name; h++) {
        if (strlen(h->name) == n && memcmp(h->name, name, n) == 0) {
            return h;
        }
    }
    return NULL;
}

const mox_hw *mox_hw_card(const char *driver_name)
{
    for (const mox_hw *h = mox_hardware; h->name; h++) {
        size_t n = strlen(driver_name), end = strlen(h->about);
        bool ends =
            n > end && driver_name[n - end - 1] == ' ' && strcmp(driver_name + n - end, h->about) == 0;
        if (h->kind == MOX_HW_CARD && ends) {
            return h;
        }
    }
    return NULL;
}

double mox_hw_ops(const mox_hw *card)
{
    return (card ? card : mox_hardware)->int8_ops * OPS_SHARE;
}

static mox_err unknown(const char *name, size_t n)
{
    char list[512];
    size_t at = 0;
    for (const mox_hw *h = mox_hardware; h->name && at < sizeof list; h++) {
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", at ? " " : "", h->name);
    }
    mox_err err = MOX_FAIL(MOX_E_OPTION, "--gpu-spec: '%.*s' is no card, link, memory or drive in the table",
                           (int)(n < 40 ? n : 40), name);
    mox_err_fix("known are: %s\n--gpu-spec 4080,gen4", list);
    return err;
}

static void rates(mox_hw_spec *s)
{
    const mox_hw *card = s->part[MOX_HW_CARD], *host = s->part[MOX_HW_HOST];
    s->machine = (mox_machine){.cpu_bps = host->cpu_bps,
                               .dram_bps = host->dram_bps,
                               .cpu_ops = CPU_OPS,
                               .disk_bps = s->part[MOX_HW_DRIVE]->bps,
                               .layer_s = card ? MOX_GPU_LAYER_S : MOX_CPU_LAYER_S,
                               .cpu_handshake_s = MOX_CPU_HANDSHAKE_S,
                               .copy_handshake_s = MOX_COPY_HANDSHAKE_S,
                               .disk_handshake_s = MOX_DISK_HANDSHAKE_S};
    if (card) {
        s->vram_bytes = (uint64_t)(card->vram_gib * 1024 * 1024 * 1024);
        s->machine.vram_bps = card->bps * VRAM_SHARE;
        s->machine.gpu_ops = card->int8_ops * OPS_SHARE;
        s->machine.link_bps = s->part[MOX_HW_LINK]->bps;
    }
}

mox_err mox_hw_find(const char *names, mox_hw_spec *out)
{
    mox_hw_spec s = {0};
    for (const char *at = names;; at++) {
        size_t n = strcspn(at, ",");
        const mox_hw *h = by_name(at, n);
        if (!h) {
            return unknown(at, n);
        }
        if (s.part[h->kind]) {
            return MOX_FAIL(MOX_E_OPTION, "--gpu-spec: %s and %s are of one kind", s.part[h->kind]->name,
                            h->name);
        }
        s.part[h->kind] = h;
        at += n;
        if (!*at) {
            break;
        }
    }
    const mox_hw *card = s.part[MOX_HW_CARD];
    if (!card && s.part[MOX_HW_LINK]) {
        return MOX_FAIL(MOX_E_OPTION, "--gpu-spec: a link (%s) without a card", s.part[MOX_HW_LINK]->name);
    }
    if (card && !s.part[MOX_HW_LINK]) {
        s.part[MOX_HW_LINK] = by_name(card->link, strlen(card->link));
    }
    if (!s.part[MOX_HW_HOST]) {
        s.part[MOX_HW_HOST] = by_name("ddr5-6000", 9);
    }
    if (!s.part[MOX_HW_DRIVE]) {
        s.part[MOX_HW_DRIVE] = by_name("gen4", 4);
    }
    rates(&s);
    *out = s;
    return MOX_OK;
}
