/* What the files of `moxie plan` share: one situation (options, machine) and what was computed for it. */
#ifndef MOX_CLI_PLAN_H
#define MOX_CLI_PLAN_H

#include "runtime/cli/options.h"
#include "runtime/cli/plan/device.h"
#include "runtime/plan/hardware.h"
#include "runtime/plan/predict.h"
#include "runtime/plan/routing.h"

typedef struct mox_plan_view {
    mox_plan plan;
    mox_work work;
    mox_tiers tiers;
    mox_prediction p;
} mox_plan_view;

typedef struct mox_plan_cmd {
    const mox_opts *o;
    mox_cfg cfg;                    /* of the situation */
    bool gpu;                       /* of a machine from the table */
    uint64_t vram_bytes, ram_bytes; /* of a GPU plan */
    mox_device_here device;         /* kind NULL: none with memory of its own */
    mox_machine machine;
    char machine_name[400];
    mox_routing routing; /* of --trace */
    mox_curve policy, in_vram, belady;
} mox_plan_cmd;

/* mox_plan_compute: Errors MOX_E_NO_FIT with what would help, and those of opening. On MOX_E_NO_FIT *out is the least
 * that works, tiers.fits false. */
MOX_NODISCARD mox_err mox_plan_compute(const mox_plan_cmd *c, mox_plan_view *out);

/* mox_plan_situation: what --gpu-spec, --assume-vram and --assume-ram say. mox_plan_measure: this machine's rates. */
MOX_NODISCARD mox_err mox_plan_situation(mox_plan_cmd *c);
MOX_NODISCARD mox_err mox_plan_measure(mox_plan_cmd *c, uint32_t n_threads);

/* A change that would help, as options for the command line and as a command. */
typedef struct mox_plan_change {
    char options[80], command[1024];
    double decode_tok_s, prefill_tok_s; /* after it */
    int64_t experts;                    /* more in the fastest tier */
} mox_plan_change;
enum { MOX_PLAN_CHANGES = 3 };
/* mox_plan_changes: up to three, the least harmful first; fits: those that make a plan faster, else those that make it
 * fit. Returns how many. */
uint32_t mox_plan_changes(const mox_plan_cmd *c, const mox_plan_view *now,
                          mox_plan_change out[MOX_PLAN_CHANGES]);

/* mox_plan_typed: to out[at..n) what was typed of the options of a command (bit) that are no one call's, but for those that
 * `instead` has. Returns where it ends. */
size_t mox_plan_typed(const mox_opts *o, unsigned bit, const char *instead, char *out, size_t n, size_t at);

typedef struct mox_plan_sweep {
    bool vram; /* else RAM */
    uint32_t n;
    uint64_t bytes[16];
    mox_plan_view *views; /* [n] */
    bool fits[16];
} mox_plan_sweep;

void mox_plan_text(const mox_plan_cmd *c, const mox_plan_view *v, const mox_plan_change *changes, uint32_t n);
void mox_plan_sweep_text(const mox_plan_sweep *s);
void mox_plan_json(const mox_plan_cmd *c, const mox_plan_view *v, const mox_plan_change *changes, uint32_t n,
                   const mox_plan_sweep *s);

#endif
