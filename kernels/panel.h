/* Panels: activations of many tokens packed for products with a matrix in the compute layout.
 *
 * With more than a few tokens the multiplications are the limit, and the activations must lie in the order in
 * which a kernel takes them: rows of activations are a power of two apart, so that a dozen of them meet in
 * the same sets of L1, and 14,336 columns of four rows are more than L1 holds. A panel is cut into *tiles* of
 * tokens; block by block of 256 columns, tile by tile, stand the codes of four columns of the tile's tokens side
 * by side, then their sums and scales. A kernel reads it as one stream, a broadcast per product.
 * The tiles' sizes are those for which the instruction set has a body with its accumulators in registers. A small
 * rest is shared by the last two tiles, since one of few lanes waits for its own products; the last tile may have
 * lanes that no token uses, whose content and results mean nothing.
 *
 * Sums are those of docs/numerics.md, the same bits as through the tiles of mat_tile.h. Called by mat_mul.c
 * and expert.c. Private to kernels/.
 */
#ifndef MOX_KERNELS_PANEL_H
#define MOX_KERNELS_PANEL_H

#include "kernels/mat_tile.h"
#include "runtime/core/bits.h"

enum {
    MOX_PANEL_TILE = 12, /* tokens in a tile at most */
    MOX_PANEL_ROWS = 96, /* tokens in a product at most; all sizes of tiles divide it */
    MOX_PANEL_RUN = 24,  /* tiles in a product at most, which are of 4 lanes */
    MOX_PANEL_MIN = 5    /* from here on a panel is faster than rows; any number is allowed */
};

/* Activations of n rows (tokens); memory is the caller's. */
typedef struct mox_panel {
    mox_act_kind kind;
    uint32_t cols, n, lanes; /* lanes of all tiles */
    uint32_t size, full;     /* lanes of the first `full` tiles */
    uint32_t last[2];        /* of those that follow; 0: there is none */
    uint8_t *data;
} mox_panel;

/* Tokens [row0, row0 + n) of a panel in size >= n lanes. */
typedef struct mox_panel_tile {
    uint32_t row0, n, size;
} mox_panel_tile;

/* mox_panel_bytes: memory for a panel of n rows, a multiple of 64, for whatever instruction set. */
size_t mox_panel_bytes(mox_act_kind kind, uint32_t cols, uint32_t n);

/* mox_panel_init: lay out a panel of n >= 1 rows in mem (64-byte aligned, mox_panel_bytes). Writes nothing
 * there. */
void mox_panel_init(mox_panel *p, mox_isa isa, mox_act_kind kind, uint32_t cols, uint32_t n, void *mem);

/* mox_panel_put: activations of one row and one block of 256 columns: a mox_act_k, a mox_act_b, or the floats
 * of the columns that exist. Every (row, block) must be put before a product reads it. Threads: any, on
 * different (row, block). */
void mox_panel_put(const mox_panel *p, uint32_t row, uint32_t block, const void *act);

/* mox_panel_put_row: all blocks of a row of mox_acts. */
void mox_panel_put_row(const mox_panel *p, uint32_t row, const void *acts);

uint32_t mox_panel_tiles(const mox_panel *p);
mox_panel_tile mox_panel_tile_at(const mox_panel *p, uint32_t t);

/* A run of blocks of one group of 16 rows times some tiles, as a kernel sees it: a block is unpacked once for
 * all of them. */
typedef struct mox_panel_run {
    const uint8_t *chunk; /* the weights of block `first` */
    size_t stride;        /* bytes to those of the next */
    size_t bytes;         /* of a block's weights: the next ones are fetched ahead */
    const uint8_t *after; /* the weights of the run that will probably follow */
    uint32_t first, count;
    uint32_t cols; /* columns from block `first` to the row's end, which closes its last span */
    uint32_t n_tiles;
    const uint8_t *tile[MOX_PANEL_RUN]; /* block `first` of each */
    size_t tile_stride;                 /* bytes to their next block */
    uint32_t size[MOX_PANEL_RUN];       /* their lanes */
    const mox_format *f;                /* for types without a body of their own */
    mox_tile_fn *through;
} mox_panel_run;

/* Adds the partials of the run to the sums of each lane, tile after tile. */
typedef void mox_panel_fn(const mox_panel_run *r, mox_row_sums *s);

/* Block b; beyond the run, what will be multiplied after it. */
static inline const uint8_t *mox_panel_block(const mox_panel_run *r, uint32_t b)
{
    return b < r->count ? r->chunk + b * r->stride : r->after + (b - r->count) * r->stride;
}

/* Asks for the share of a tile in block b while the one before is multiplied: all of it at once would take the
 * buffers of all misses and stop the tiles. */
static inline void mox_panel_fetch(const mox_panel_run *r, uint32_t b, uint32_t tile)
{
    const uint8_t *p = mox_panel_block(r, b);
    size_t share = mox_round_up(r->bytes / r->n_tiles, 64);
    for (size_t i = share * tile, end = i + share; i < end && i < r->bytes; i += 64) {
        __builtin_prefetch(p + i, 0, 2);
    }
}

/* A matrix and the kernel that multiplies it by panels of a kind. */
typedef struct mox_panel_job {
    const mox_mat *w;
    const mox_format *f;
    mox_tile_fn *tile;
    mox_panel_fn *fn;
    mox_act_kind kind;
    size_t chunk_bytes;
} mox_panel_job;

/* mox_panel_job_init. Errors MOX_E_ARG: kinds do not match. */
MOX_NODISCARD mox_err mox_panel_job_init(mox_panel_job *j, mox_isa isa, const mox_mat *w, mox_act_kind kind);

/* mox_panel_group_mul: group g of the matrix times tiles [t0, t0 + n_tiles) of the panel, MOX_PANEL_ROWS lanes
 * at most, all blocks in order; y[i][r] is row r of the group for row i of those tiles. The more tiles at once
 * the better: a block of weights is unpacked once for all. */
void mox_panel_group_mul(const mox_panel_job *j, uint32_t g, const mox_panel *p, uint32_t t0,
                         uint32_t n_tiles, float (*y)[MOX_ROWS_PER_GROUP]);

/* mox_panel_blocks_add: the share of blocks [b0, b1) in that, added to s[MOX_PANEL_ROWS], where s[i] is row i
 * of those tiles (lanes beyond the last row are used). Blocks must come in order; s starts as zeros, and
 * s[i].row is the result after the last block. */
void mox_panel_blocks_add(const mox_panel_job *j, uint32_t g, uint32_t b0, uint32_t b1, const mox_panel *p,
                          uint32_t t0, uint32_t n_tiles, mox_row_sums *s);

/* Words of 4 bytes that a lane has in a block, and where they stand: word w of lane i is at 4 * (w * size + i).
 * Weights are multiplied as codes + 128 where the instruction wants them unsigned; sums times -128 are where an
 * accumulator then starts. */
enum {
    MOX_PANEL_CODES = 64, /* words of codes, four columns each */
    /* MOX_ACT_K: the scale, the sum of all codes; of each 32 the sum as int16 (two in a word) and times -128,
     * of each 16 the same */
    MOX_PANEL_K_SCALE = MOX_PANEL_CODES,
    MOX_PANEL_K_SUM = MOX_PANEL_K_SCALE + 1,
    MOX_PANEL_K_SUM32 = MOX_PANEL_K_SUM + 1,
    MOX_PANEL_K_START32 = MOX_PANEL_K_SUM32 + 4,
    MOX_PANEL_K_SUM16 = MOX_PANEL_K_START32 + 8,
    MOX_PANEL_K_START16 = MOX_PANEL_K_SUM16 + 8,
    MOX_PANEL_K_WORDS = MOX_PANEL_K_START16 + 16,
    /* MOX_ACT_B32: of each 32 the scale, the sum of codes times -128, the sum as float */
    MOX_PANEL_B_SCALE = MOX_PANEL_CODES,
    MOX_PANEL_B_START = MOX_PANEL_B_SCALE + 8,
    MOX_PANEL_B_FSUM = MOX_PANEL_B_START + 8,
    MOX_PANEL_B_WORDS = MOX_PANEL_B_FSUM + 8,
    /* MOX_ACT_F32: a float per column */
    MOX_PANEL_F_WORDS = MOX_BLOCK
};

static inline uint32_t mox_panel_words(mox_act_kind kind)
{
    return kind == MOX_ACT_K     ? MOX_PANEL_K_WORDS
           : kind == MOX_ACT_B32 ? MOX_PANEL_B_WORDS
                                 : MOX_PANEL_F_WORDS;
}

/* What an instruction set has for panels. */
typedef struct mox_panels {
    uint32_t sizes[6]; /* lanes of tiles, falling, 0 at the end; the largest is <= MOX_PANEL_TILE */
    mox_panel_fn *of_type[MOX_TYPE_COUNT]; /* in the type's own kind of activation; NULL: through its tile */
    mox_panel_fn *dequant;                 /* any type with float activations; NULL: through its tile */
} mox_panels;

extern const mox_panels mox_panels_avx2, mox_panels_avx512;
extern const mox_panels mox_panels_avxvnni_vex, mox_panels_avxvnni_evex;

#endif
