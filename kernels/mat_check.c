/* Self-check of the matrix tiles at open: three tiny products per type against the twin, bit for bit.
 *
 * A processor, emulator or compiler that rounds or sums differently is found before it answers, not in its
 * answers. The weights are random bytes, kept finite; the activations cover both signs and the extremes.
 */
#include "kernels/mat_mul.h"
#include "kernels/mat_tile.h"

#include <math.h>
#include <string.h>

enum { R = MOX_ROWS_PER_GROUP, MAX_ROW_BLOCK = MOX_BLOCK * 4, ROUNDS = 3 };

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525U + 1013904223U;
    return *state >> 8;
}

/* A row of random bytes whose values are all finite and of moderate size. */
static void random_row(const mox_format *f, uint8_t *row, uint32_t *state)
{
    size_t bytes = (size_t)mox_type_row_bytes(f->type, MOX_BLOCK);
    const mox_type_desc *t = mox_type_info(f->type);
    float value[MOX_BLOCK];
    bool good = false;
    while (!good) {
        for (size_t i = 0; i < bytes; i++) {
            row[i] = (uint8_t)next_random(state);
            /* plain floats: clear the exponent's top bit, else 256 finite ones would hardly ever come */
            if (t->block_elems == 1 && i % t->block_bytes == t->block_bytes - 1) {
                row[i] &= 0xbf;
            }
        }
        f->dequant(row, value, MOX_BLOCK);
        good = true;
        for (int i = 0; i < MOX_BLOCK; i++) {
            good = good && fabsf(value[i]) < 1e30F;
        }
    }
}

static void random_acts(uint32_t *state, mox_act_k *k, mox_act_b *b, float *x)
{
    memset(k, 0, sizeof *k);
    memset(b, 0, sizeof *b);
    for (int i = 0; i < MOX_BLOCK; i++) {
        uint32_t v = next_random(state);
        int q = v % 8 == 0 ? (v & 64 ? 127 : -127) : (int)(v % 255) - 127;
        k->q[i] = b->q[i] = (int8_t)q;
        k->sum[i / 16] = (int16_t)(k->sum[i / 16] + q);
        b->sum[i / 32] = (int16_t)(b->sum[i / 32] + q);
        b->d[i / 32] = 0.001F * (float)(v % 1000);
        x[i] = 0.01F * (float)q;
    }
    k->d = 0.0123F;
}

/* The definition, whatever --isa scalar takes (mox_tiles_plain). */
static mox_tile_fn *twin_of(const mox_format *f, mox_act_kind kind)
{
    mox_tile_fn *fn = f->kind == kind ? mox_tiles_ref.of_type[f->type] : NULL;
    return fn != NULL ? fn : mox_tiles_ref.dequant;
}

static bool same_tile(const mox_format *f, mox_isa isa, mox_act_kind kind, uint32_t n, uint32_t *state)
{
    _Alignas(64) uint8_t chunk[R * MAX_ROW_BLOCK];
    uint8_t rows[R][MAX_ROW_BLOCK];
    const uint8_t *row[R];
    for (int r = 0; r < R; r++) {
        random_row(f, rows[r], state);
        row[r] = rows[r];
    }
    f->pack(row, MOX_BLOCK, chunk);
    mox_act_k k[MOX_TILE_ROWS];
    mox_act_b b[MOX_TILE_ROWS];
    float v[MOX_TILE_ROWS][MOX_BLOCK];
    const void *x[MOX_TILE_ROWS];
    for (uint32_t i = 0; i < n; i++) {
        random_acts(state, &k[i], &b[i], v[i]);
        x[i] = kind == MOX_ACT_K ? (const void *)&k[i] : kind == MOX_ACT_B32 ? (const void *)&b[i] : v[i];
    }
    float got[MOX_TILE_ROWS][R], want[MOX_TILE_ROWS][R];
    mox_tile_of(isa, f, kind)(f, chunk, MOX_BLOCK, x, n, got);
    twin_of(f, kind)(f, chunk, MOX_BLOCK, x, n, want);
    return memcmp(got, want, n * sizeof got[0]) == 0;
}

mox_err mox_mat_self_check(mox_isa isa)
{
    uint32_t state = 1;
    for (uint32_t type = 0; type < MOX_TYPE_COUNT; type++) {
        const mox_format *f = mox_format_of(type);
        for (uint32_t i = 0; f != NULL && i < ROUNDS; i++) {
            if (!same_tile(f, isa, f->kind, i + 2, &state)) {
                return MOX_FAIL(MOX_E_ISA, "%s products computed with %s differ from their definition",
                                mox_type_info(type)->name, mox_isa_name(isa));
            }
        }
    }
    return MOX_OK;
}
