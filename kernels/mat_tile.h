/* Tiles: one chunk of weights (16 rows x up to 256 columns) times up to four rows of activations.
 *
 * A tile gives *block partials*, each rounded to f32 as docs/numerics.md says; adding them up (spans, rows)
 * is mat_mul.c's work and the same for all. That is the whole interface between a format's arithmetic and the
 * order of the sums: a new instruction set is a table of tiles. mat_ref.c defines every tile in plain C; it
 * is compiled once per instruction set (explicit fma, exact integers: the same bits), so that formats without
 * a hand-written tile run as fast as the compiler manages. Private to kernels/.
 */
#ifndef MOX_KERNELS_MAT_TILE_H
#define MOX_KERNELS_MAT_TILE_H

#include "kernels/act.h"
#include "kernels/formats.h"
#include "kernels/mat.h"
#include "kernels/ops.h"

enum { MOX_TILE_ROWS = 4 };

/* x[i]: the block of activations i (mox_act_k, mox_act_b, or 256 floats); n is 1..MOX_TILE_ROWS; p[i][r] is
 * the partial of row r of the chunk. cols is 256 or, in a short last block, less. */
typedef void mox_tile_fn(const mox_format *f, const uint8_t *chunk, uint32_t cols, const void *const *x,
                         uint32_t n, float (*p)[MOX_ROWS_PER_GROUP]);

typedef struct mox_mat_job mox_mat_job;

/* Group g of the matrix times the job's rows, all blocks in order: y[i][r] is row r of the group for row i. */
typedef void mox_group_fn(const mox_mat_job *j, uint32_t g, float (*y)[MOX_ROWS_PER_GROUP]);

typedef struct mox_tiles {
    mox_tile_fn *of_type[MOX_TYPE_COUNT]; /* in the type's own kind of activation; NULL: see the next table */
    mox_tile_fn *dequant;                 /* any type with float activations */
    mox_group_fn *group;                  /* sums of whatever tile; of the plain tables alone */
} mox_tiles;

extern const mox_tiles mox_tiles_ref; /* the definition */
extern const mox_tiles mox_tiles_ref_avx2, mox_tiles_ref_avx512;
extern const mox_tiles mox_tiles_avx2, mox_tiles_avx512; /* hand-written, where worth it */
extern const mox_tiles mox_tiles_avxvnni_vex, mox_tiles_avxvnni_evex;

/* mox_tile_of: the tile for a type whose activations have this kind, best of the ISA; NULL if kinds do not
 * match.
 */
mox_tile_fn *mox_tile_of(mox_isa isa, const mox_format *f, mox_act_kind kind);
/* The twin compiled for the ISA; for scalar with AVX2 where the machine has it, for speed: the same source and bits. */
const mox_tiles *mox_tiles_plain(mox_isa isa);

/* Running sums of one group of rows for one row of activations. Blocks must come in order. */
typedef struct mox_row_sums {
    float span[MOX_ROWS_PER_GROUP];
    float row[MOX_ROWS_PER_GROUP];
} mox_row_sums;

static inline void mox_row_sums_add(mox_row_sums *s, const float p[MOX_ROWS_PER_GROUP], uint32_t block,
                                    bool last)
{
    for (int r = 0; r < MOX_ROWS_PER_GROUP; r++) {
        s->span[r] += p[r];
    }
    if (last || block % MOX_SPAN_BLOCKS == MOX_SPAN_BLOCKS - 1) {
        for (int r = 0; r < MOX_ROWS_PER_GROUP; r++) {
            s->row[r] += s->span[r];
            s->span[r] = 0.0F;
        }
    }
}

/* Bytes of one block of activations. */
static inline size_t mox_act_block_bytes(mox_act_kind kind)
{
    return kind == MOX_ACT_F32 ? MOX_BLOCK * sizeof(float) : sizeof(mox_act_k);
}

/* Up to MOX_TILE_ROWS rows of activations for one matrix: x[i] is where row i starts. */
struct mox_mat_job {
    const mox_mat *w;
    const mox_format *f;
    mox_tile_fn *tile;
    mox_group_fn *group;
    mox_act_kind kind;
    const uint8_t *x[MOX_TILE_ROWS];
    uint32_t n;
};

/* mox_mat_job_init: w's format and tile for activations of a kind. Errors MOX_E_ARG: kinds do not match. */
MOX_NODISCARD mox_err mox_mat_job_init(mox_mat_job *j, mox_isa isa, const mox_mat *w, mox_act_kind kind);

/* mox_mat_group_mul: group g of the matrix times the job's rows, all blocks in order. */
static inline void mox_mat_group_mul(const mox_mat_job *j, uint32_t g, float (*y)[MOX_ROWS_PER_GROUP])
{
    j->group(j, g, y);
}

/* mox_mat_grain: groups a worker takes at once. */
uint32_t mox_mat_grain(uint32_t n_groups, uint32_t n_workers, uint32_t max);

#endif
