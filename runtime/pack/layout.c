/* The layout of records: sizes, names, and the fingerprint that says whether two programs mean the same by it.
 *
 * Instead of a number that somebody must remember to raise, the fingerprint is taken of the layout itself: an
 * expert of small, awkward width filled with a pattern is laid out by the code that lays out all experts, and
 * hashed.
 */
#include "kernels/mat.h"
#include "runtime/core/bits.h"
#include "runtime/core/hash.h"
#include "runtime/pack/pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t mox_pack_record_bytes(const mox_expert_layout *l)
{
    return mox_round_up(l->slot_bytes, MOX_PACK_ALIGN);
}

uint64_t mox_pack_slice(const mox_pack_layer *p, uint32_t i, uint64_t *bytes)
{
    uint64_t off = i * p->slice_bytes;
    *bytes = i + 1 < p->n_slices ? p->slice_bytes : p->record_bytes - off;
    return off;
}

void mox_pack_experts_name(uint32_t block, char out[MOX_PACK_NAME])
{
    snprintf(out, MOX_PACK_NAME, "moxie.experts.%u", block);
}

void mox_pack_sums_name(uint32_t block, char out[MOX_PACK_NAME])
{
    snprintf(out, MOX_PACK_NAME, "moxie.sums.%u", block);
}

/* A width that ends in a short block where the format has one. */
static uint32_t awkward(mox_type type, uint32_t whole)
{
    return whole * MOX_BLOCK + (mox_type_info(type)->block_elems < MOX_BLOCK ? 32 : 0);
}

static void slab_pattern(const mox_expert_layout *l, mox_slab slab, uint8_t *src, size_t bytes, uint8_t *slot)
{
    uint64_t v = (uint64_t)l->type[slab] * 3 + slab;
    for (size_t i = 0; i < bytes; i++) {
        v = v * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        src[i] = (uint8_t)(v >> 56);
    }
    mox_expert_repack(l, slab, 0, mox_expert_slab_rows(l, slab), src, slot);
}

static mox_err fingerprint_of(const mox_type type[MOX_SLABS], uint64_t *out)
{
    mox_expert_layout l;
    uint32_t d_model = awkward(type[MOX_SLAB_GATE], 1);
    d_model = awkward(type[MOX_SLAB_UP], 1) < d_model ? awkward(type[MOX_SLAB_UP], 1) : d_model;
    MOX_TRY(mox_expert_layout_init(&l, type, d_model, awkward(type[MOX_SLAB_DOWN], 2)));
    size_t most = 0;
    for (mox_slab s = 0; s < MOX_SLABS; s++) {
        size_t bytes = mox_expert_slab_rows(&l, s) * mox_expert_slab_row_bytes(&l, s);
        most = bytes > most ? bytes : most;
    }
    uint8_t *memory = calloc(1, l.slot_bytes + most);
    if (!memory) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "pack: no memory for a test expert of %zu bytes",
                        l.slot_bytes + most);
    }
    for (mox_slab s = 0; s < MOX_SLABS; s++) {
        size_t bytes = mox_expert_slab_rows(&l, s) * mox_expert_slab_row_bytes(&l, s);
        slab_pattern(&l, s, memory + l.slot_bytes, bytes, memory);
    }
    *out = mox_hash64(memory, l.slot_bytes, l.slice_bytes);
    free(memory);
    return MOX_OK;
}

/* Few layers differ from one before them: only a new triple of formats is laid out. */
mox_err mox_pack_fingerprint(const mox_expert_layout *layouts, uint32_t n_layers, uint64_t *out)
{
    enum { SEEN = 16 };
    const mox_type *seen[SEEN];
    uint64_t print[SEEN], all = MOX_SLICE;
    uint32_t n_seen = 0;
    for (uint32_t l = 0; l < n_layers; l++) {
        uint32_t i = 0;
        while (i < n_seen && memcmp(seen[i], layouts[l].type, sizeof layouts[l].type) != 0) {
            i++;
        }
        if (i == n_seen) {
            i = n_seen < SEEN ? n_seen++ : SEEN - 1;
            seen[i] = layouts[l].type;
            MOX_TRY(fingerprint_of(layouts[l].type, &print[i]));
        }
        all = mox_hash64(&print[i], sizeof print[i], all);
    }
    *out = all;
    return MOX_OK;
}
