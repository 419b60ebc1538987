/* What `--device` says: cpu, cuda or emu, and after a colon what is wanted of it, as key=value with commas between.
 *
 *   n=2            so many GPUs (emu: so many are emulated; cuda: so many are used)
 *   vram=SIZE      of each GPU at most so much memory; K, M, G and T are powers of 1024
 * cpu with vram: the CPU plays n GPUs, each with so much ordinary memory.
 * The emulator's, for tests:
 *   policy=lazy|eager|random, seed=N   when queued work is done
 *   order=up|down|shuffled             in which order lanes, warps and blocks run
 *   sm=75                              compute capability
 *   fail=CALL@N                        the Nth call of a runtime function from then on fails ("launch": of a kernel)
 */
#ifndef MOX_RUNTIME_DEV_SPEC_H
#define MOX_RUNTIME_DEV_SPEC_H

#include "runtime/core/err.h"

#include <stdint.h>

typedef enum mox_dev_kind { MOX_DEV_CPU, MOX_DEV_CUDA, MOX_DEV_EMU, MOX_DEV_KINDS } mox_dev_kind;
typedef enum mox_dev_policy { MOX_DEV_LAZY, MOX_DEV_EAGER, MOX_DEV_RANDOM, MOX_DEV_POLICIES } mox_dev_policy;
typedef enum mox_dev_order { MOX_DEV_UP, MOX_DEV_DOWN, MOX_DEV_SHUFFLED, MOX_DEV_ORDERS } mox_dev_order;

typedef struct mox_dev_spec {
    mox_dev_kind kind;
    uint32_t n;    /* 0: not said */
    uint64_t vram; /* 0: not said */
    mox_dev_policy policy;
    mox_dev_order order;
    uint64_t seed;
    uint32_t sm;
    char fail_call[40]; /* empty: none fails */
    uint64_t fail_at;
} mox_dev_spec;

/* mox_dev_spec_parse. Errors MOX_E_OPTION: what is wrong with which word, and what is possible. */
MOX_NODISCARD mox_err mox_dev_spec_parse(mox_dev_spec *out, const char *text);

const char *mox_dev_kind_name(mox_dev_kind kind); /* "cpu" "cuda" "emu" */

#endif
