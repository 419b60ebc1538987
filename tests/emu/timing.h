/* A device whose operations take time and do nothing else: the emulator's timing-only mode.
 *
 * It stands behind the tables of runtime/core/dev.h and kernels/ops.h, so what is priced is what moxie really schedules: its
 * launches, copies, streams, events and waits, for the shape of a model whose weights nobody reads. Every launch is priced
 * from its arguments, 5 us (1.5 us in a graph) and the larger of bytes / (0.85 of the peak) and operations / rate; copies by
 * the link; the CPU's operations by the cost model, while the link takes its share of the same DRAM. Streams and events
 * order the simulated clock as they would order the device, two operations of one engine never overlap, and mox_now_ns is
 * that clock. Contents are not made: copies of more than a megabyte are left out, and the router's choice is replayed.
 * docs/numbers.md lists the constants.
 *
 * Threads: the step thread; the clock may be read from any.
 */
#ifndef MOX_TESTS_EMU_TIMING_H
#define MOX_TESTS_EMU_TIMING_H

#include "runtime/dev/module.h"
#include "runtime/plan/hardware.h"

#include <stdbool.h>

typedef struct timing_cfg {
    mox_machine machine;
    uint64_t vram_bytes;
    bool one_stream; /* all streams of the device are one: what overlap is worth */
} timing_cfg;

/* timing_open: the clock and the counts begin again. */
void timing_open(const timing_cfg *c);
double timing_now(void); /* s */

/* Since the last call of timing_counts_clear. */
typedef struct timing_counts {
    double up_s, compute_s, both_s; /* busy: copies to the device, its kernels, both at a time */
    double cpu_s;
    uint64_t up_bytes, launches, copies, graphs; /* of graphs only their own launches */
} timing_counts;
timing_counts timing_counted(void);
void timing_counts_clear(void);

/* What the linker puts in the place of the functions that they are named after (CMakeLists.txt). */
uint64_t timing_now_ns(void);
mox_err timing_dev_load(const mox_dev_module **out, const mox_dev_spec *spec, const char *dir);
mox_err timing_ops_cpu_create(mox_ops **out, mox_pool *pool, mox_isa isa);

/* Price of an operation from its arguments, for a table's operations (timing_price.c). */
typedef struct timing_price {
    double bytes, ops;
    double host_bytes; /* of these, of weights that lie in the host's memory */
    unsigned launches;
} timing_price;
bool timing_is_device(const void *p); /* memory of the device */

#define TIMING_OPERATIONS(X)                                                                                 \
    X(embed)                                                                                                 \
    X(rms_norm)                                                                                              \
    X(quantize)                                                                                              \
    X(mat_mul)                                                                                               \
    X(mat_muls)                                                                                              \
    X(rope)                                                                                                  \
    X(kv_append)                                                                                             \
    X(attention)                                                                                             \
    X(router)                                                                                                \
    X(experts)                                                                                               \
    X(swiglu)                                                                                                \
    X(merge)                                                                                                 \
    X(add)                                                                                                   \
    X(layer_norm)                                                                                            \
    X(map)                                                                                                   \
    X(gate)                                                                                                  \
    X(head_mul)                                                                                              \
    X(conv)                                                                                                  \
    X(delta_prepare)                                                                                         \
    X(delta_rule)                                                                                            \
    X(part)                                                                                                  \
    X(weigh)                                                                                                 \
    X(ranks)
#define X(op) timing_price timing_price_##op(const mox_##op##_args *a);
TIMING_OPERATIONS(X)
#undef X

#endif
