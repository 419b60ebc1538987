/* Every CUDA kernel gives the bits of its plain-C twin, in every mode of the device (device.h). */
#include "cuda/device.h"
#include "cuda/sweeps.h"

#include <criterion/criterion.h>

static void in_every_mode(sweep_fn *run)
{
    unsigned modes = 0;
    for (unsigned i = 0; device_mode(i); i += sweep_step(100), modes++) {
        const char *bad = run();
        cr_assert_null(bad, "%s (%s)", bad, device_mode_name());
    }
    cr_assert_gt(modes, 0);
}

#define TWIN(name)                                                                                           \
    Test(cuda_twins, name)                                                                                   \
    {                                                                                                        \
        in_every_mode(sweep_##name);                                                                         \
    }
TWIN(norm)
TWIN(quantize)
TWIN(rope)
TWIN(kv)
TWIN(attention)
TWIN(router)
TWIN(elementwise)
TWIN(bad_values)
TWIN(embed)
TWIN(one_row)
TWIN(many_rows)
TWIN(experts)
TWIN(layer_norm)
TWIN(between)
TWIN(router_rule)
TWIN(attention_special)
TWIN(head_mul)
TWIN(delta)
