/* XXH3 from libxxhash, inlined into this one file: the header-only form needs no library at run time, and its
 * vector code is several times faster than the scalar version that MOXIE_MINIMAL uses instead
 * (hash_minimal.c). Both give the same values; tests/core holds them against each other. */
#include "runtime/core/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(sizeof(XXH3_state_t) <= sizeof(mox_hash128_state), "the caller's state holds the library's");
_Static_assert(_Alignof(XXH3_state_t) <= _Alignof(mox_hash128_state), "and is aligned for it");

uint64_t mox_hash64(const void *data, size_t bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, bytes, seed);
}

void mox_hash128_init(mox_hash128_state *st)
{
    XXH3_128bits_reset((XXH3_state_t *)st);
}

void mox_hash128_update(mox_hash128_state *st, const void *data, size_t bytes)
{
    XXH3_128bits_update((XXH3_state_t *)st, data, bytes);
}

mox_hash128 mox_hash128_final(const mox_hash128_state *st)
{
    XXH128_hash_t h = XXH3_128bits_digest((const XXH3_state_t *)st);
    return (mox_hash128){.lo = h.low64, .hi = h.high64};
}
