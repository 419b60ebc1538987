/* The list of sweeps (sweeps.h), for test_twins.c and for bench/gpu, which has no Criterion. */
#include "cuda/sweeps.h"

#include <stddef.h>

const sweep sweeps[] = {
    {"norm", sweep_norm},
    {"quantize", sweep_quantize},
    {"rope", sweep_rope},
    {"kv", sweep_kv},
    {"attention", sweep_attention},
    {"router", sweep_router},
    {"elementwise", sweep_elementwise},
    {"bad_values", sweep_bad_values},
    {"embed", sweep_embed},
    {"one_row", sweep_one_row},
    {"many_rows", sweep_many_rows},
    {"experts", sweep_experts},
    {"layer_norm", sweep_layer_norm},
    {"between", sweep_between},
    {"router_rule", sweep_router_rule},
    {"attention_special", sweep_attention_special},
    {"head_mul", sweep_head_mul},
    {"delta", sweep_delta},
    {NULL, NULL},
};

bool sweep_small(void)
{
#if defined(__SANITIZE_THREAD__)
    return true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
    return true;
#endif
#endif
    return false;
}
