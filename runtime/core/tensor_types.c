/* The type table of tensor_types.h as an array indexed by GGUF id. Rows that the format removed stay empty,
 * so they are unknown to every reader without a list of exceptions. */
#include "runtime/core/tensor_types.h"

#include "runtime/core/bits.h"

static const mox_type_desc types[MOX_TYPE_COUNT] = {
#define X(name, id, elems, bytes) [id] = {#name, elems, bytes},
    MOX_TYPES(X)
#undef X
};

const mox_type_desc *mox_type_info(uint32_t id)
{
    if (id >= MOX_TYPE_COUNT || !types[id].name) {
        return NULL;
    }
    return &types[id];
}

uint64_t mox_type_row_bytes(uint32_t id, uint64_t n)
{
    const mox_type_desc *type = mox_type_info(id);
    uint64_t bytes;
    if (!type || n % type->block_elems != 0 ||
        !mox_mul_u64(n / type->block_elems, type->block_bytes, &bytes)) {
        return 0;
    }
    return bytes;
}
