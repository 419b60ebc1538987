/* The table of cards, links and hosts behind --gpu-spec: plans for a machine that is not this one.
 *
 * Rates are what programs get, not what the box says; docs/hardware.md has each figure's source. A name is a
 * card, a link, a host's memory or a drive; several are joined with commas ("4080,ddr5-6000,gen4"), what is not
 * named is the usual: the card's own link, ddr5-6000, gen4.
 */
#ifndef MOX_RUNTIME_HARDWARE_H
#define MOX_RUNTIME_HARDWARE_H

#include "runtime/core/err.h"
#include "runtime/plan/cost.h"

typedef enum mox_hw_kind { MOX_HW_CARD, MOX_HW_LINK, MOX_HW_HOST, MOX_HW_DRIVE, MOX_HW_KINDS } mox_hw_kind;

typedef struct mox_hw {
    mox_hw_kind kind;
    const char *name; /* NULL ends the table */
    const char *about;
    double vram_gib;  /* card */
    double bps;       /* card: peak of its memory; link, drive: sustained */
    double int8_ops;  /* card: dense tensor cores, peak */
    double cpu_bps;   /* host: weights multiplied by all cores */
    double dram_bps;  /* host: all reads together */
    const char *link; /* card: what it is usually plugged into */
} mox_hw;
extern const mox_hw mox_hardware[];

typedef struct mox_hw_spec {
    const mox_hw *part[MOX_HW_KINDS]; /* card and link NULL: no GPU; the others always */
    uint64_t vram_bytes;              /* of the card */
    mox_machine machine;
} mox_hw_spec;

/* mox_hw_card: the card with whose name a driver's name ends; NULL: none. mox_hw_ops: what it sustains in a
 * prompt; of NULL the least of all cards. */
const mox_hw *mox_hw_card(const char *driver_name);
double mox_hw_ops(const mox_hw *card);

/* mox_hw_find: Errors MOX_E_ARG: a name that is not in the table, two of one kind, a link without a card. */
MOX_NODISCARD mox_err mox_hw_find(const char *names, mox_hw_spec *out);

#endif
