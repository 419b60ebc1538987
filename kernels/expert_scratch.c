/* Memory of an experts call on a device (kernels/cuda/experts.cu): known here, so that a plan can count it where no
 * device and no module is at hand. */
#include "kernels/ops.h"
#include "runtime/core/bits.h"

enum { PIECE = 256 };

mox_experts_device_parts mox_experts_device_lay_out(mox_type down, uint32_t d_ff, uint32_t n_uses,
                                                    uint32_t n_rows)
{
    const mox_act_kind kind = mox_format_of(down)->kind;
    const size_t floats = mox_round_up((size_t)n_rows * d_ff * sizeof(float), PIECE);
    const size_t rounded = mox_round_up(n_rows * mox_act_row_bytes(kind, d_ff), PIECE);
    mox_experts_device_parts p = {.gate = mox_round_up((size_t)n_uses * MOX_DEVICE_USE_BYTES, PIECE)};
    p.up = p.gate + floats;
    /* floats stay where gate was */
    p.h = kind == MOX_ACT_F32 ? p.gate : p.up + floats;
    p.bytes = p.up + floats + (kind == MOX_ACT_F32 ? 0 : rounded);
    return p;
}
