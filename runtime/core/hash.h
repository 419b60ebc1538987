/* XXH3 (xxHash 0.8): 64 bits for slabs, 128 bits for logits. libxxhash where it is installed; a scalar
 * version of the published algorithm in MOXIE_MINIMAL builds (tests hold the two against each other). */
#ifndef MOX_CORE_HASH_H
#define MOX_CORE_HASH_H

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mox_hash128 {
    uint64_t lo, hi;
} mox_hash128;

uint64_t mox_hash64(const void *data, size_t bytes, uint64_t seed);

/* Streaming 128-bit hash; the state is plain memory of the caller (no allocation). */
typedef struct mox_hash128_state {
    alignas(64) unsigned char opaque[640];
} mox_hash128_state;

void mox_hash128_init(mox_hash128_state *st);
void mox_hash128_update(mox_hash128_state *st, const void *data, size_t bytes);
mox_hash128 mox_hash128_final(const mox_hash128_state *st);

#endif
