/* One sweep per kernel: shapes with ragged ends and contents of all temperaments through the CPU's twin and through the
 * device, in the mode that is open. NULL: every bit agreed; else what differed. Deterministic. */
#ifndef MOX_TESTS_CUDA_SWEEPS_H
#define MOX_TESTS_CUDA_SWEEPS_H

#include <stdbool.h>
#include <stdint.h>

typedef const char *sweep_fn(void);

typedef struct sweep {
    const char *name;
    sweep_fn *run;
} sweep;

extern const sweep sweeps[]; /* ends with a NULL name */

sweep_fn sweep_norm, sweep_quantize, sweep_rope, sweep_kv, sweep_attention, sweep_router, sweep_elementwise;
sweep_fn sweep_bad_values;
sweep_fn sweep_layer_norm, sweep_between, sweep_router_rule, sweep_attention_special, sweep_head_mul;
sweep_fn sweep_embed, sweep_one_row, sweep_many_rows, sweep_experts, sweep_delta;

/* Under ThreadSanitizer a CUDA thread takes about half a millisecond: then a sweep takes a few of its cases, every nth, and one
 * mode. */
bool sweep_small(void);
static inline uint32_t sweep_step(uint32_t n)
{
    return sweep_small() ? n : 1;
}

/* sweep_differs: the message of a difference; static memory. */
const char *sweep_differs(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
