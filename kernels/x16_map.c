/* The x16 layout of every type as data, and the two loops that follow it.
 *
 * A map lists runs of equal units: where they stand in a GGUF row block and where their lines go in the
 * chunk's head or body (x16.h has the picture). Packing and unpacking walk the same list in the two
 * directions, so they cannot disagree. Adding a format is one list. Called through the format table while
 * experts arrive from the file and, row by row, by the dequantising path and the plain-C twins.
 */
#include "kernels/x16.h"

#include "kernels/x16_lines.h"

#include <stdbool.h>

typedef struct x16_run {
    uint16_t off;  /* first unit in the row block */
    uint8_t unit;  /* bytes: 1, 2, 4 */
    uint8_t n;     /* units */
    uint16_t at;   /* of the first unit's line, from the start of the area */
    uint16_t step; /* between lines */
    bool head;
} x16_run;

enum { X16_MAX_RUNS = 15 };

typedef struct x16_map {
    uint16_t block_elems, block_bytes; /* of one row */
    uint16_t head_bytes, body_bytes;   /* of 16 rows, per row block */
    uint8_t n_runs;
    x16_run run[X16_MAX_RUNS];
} x16_map;

/* H: bytes of the head. B: scale bytes of the body. L: lines of 4-byte units, `at` and `step` in lines behind
 * the scale bytes, whose total is the macro's last argument. */
#define H2(off, n)                                                                                           \
    {                                                                                                        \
        off, 2, n, 0, 32, true                                                                               \
    }
#define H1(off, n)                                                                                           \
    {                                                                                                        \
        off, 1, n, 0, 16, true                                                                               \
    }
#define B1(off, n)                                                                                           \
    {                                                                                                        \
        off, 1, n, 0, 16, false                                                                              \
    }
#define L4(off, n, line, step, scale_bytes)                                                                  \
    {                                                                                                        \
        off, 4, n, (scale_bytes) + 64 * (line), 64 * (step), false                                           \
    }
/* Q6_K: half h of the block, 16 columns g of its 32: 4 x {ql, ql + 32, qh} */
#define Q6(h, g)                                                                                             \
    L4(64 * (h) + 16 * (g), 4, 24 * (h) + 12 * (g), 3, 256),                                                 \
        L4(64 * (h) + 16 * (g) + 32, 4, 24 * (h) + 12 * (g) + 1, 3, 256),                                    \
        L4(128 + 32 * (h) + 16 * (g), 4, 24 * (h) + 12 * (g) + 2, 3, 256)

static const x16_map map_F32 = {1, 4, 0, 64, 1, {{0, 4, 1, 0, 64, false}}};
static const x16_map map_F16 = {1, 2, 0, 32, 1, {{0, 2, 1, 0, 32, false}}};
static const x16_map map_BF16 = {1, 2, 0, 32, 1, {{0, 2, 1, 0, 32, false}}};
static const x16_map map_Q4_0 = {32, 18, 32, 256, 2, {H2(0, 1), L4(2, 4, 0, 1, 0)}};
static const x16_map map_Q4_1 = {32, 20, 64, 256, 2, {H2(0, 2), L4(4, 4, 0, 1, 0)}};
static const x16_map map_Q5_0 = {32, 22, 32, 320, 2, {H2(0, 1), L4(2, 5, 0, 1, 0)}};
static const x16_map map_Q5_1 = {32, 24, 64, 320, 2, {H2(0, 2), L4(4, 5, 0, 1, 0)}};
static const x16_map map_Q8_0 = {32, 34, 32, 512, 2, {H2(0, 1), L4(2, 8, 0, 1, 0)}};
static const x16_map map_IQ4_NL = {32, 18, 32, 256, 2, {H2(0, 1), L4(2, 4, 0, 1, 0)}};
static const x16_map map_MXFP4 = {32, 17, 16, 256, 2, {H1(0, 1), L4(1, 4, 0, 1, 0)}};
static const x16_map map_Q2_K = {256, 84, 64, 1280, 3, {H2(80, 2), B1(0, 16), L4(16, 16, 0, 1, 256)}};
static const x16_map map_Q3_K = {
    256,  110, 32,
    1728, 5,   {H2(108, 1), B1(96, 12), L4(32, 8, 0, 2, 192), L4(0, 8, 1, 2, 192), L4(64, 8, 16, 1, 192)}};
static const x16_map map_Q4_K = {256, 144, 64, 2240, 3, {H2(0, 2), B1(4, 12), L4(16, 32, 0, 1, 192)}};
static const x16_map map_Q5_K = {
    256,  176, 64,
    2752, 5,   {H2(0, 2), B1(4, 12), L4(48, 8, 0, 2, 192), L4(16, 8, 1, 2, 192), L4(80, 24, 16, 1, 192)}};
static const x16_map map_Q6_K = {
    256, 210, 32, 3328, 14, {H2(208, 1), B1(192, 16), Q6(0, 0), Q6(0, 1), Q6(1, 0), Q6(1, 1)}};
static const x16_map map_IQ4_XS = {256, 136, 64, 2112, 3, {H2(0, 2), B1(4, 4), L4(8, 32, 0, 1, 64)}};

static void x16_pack(const x16_map *m, const uint8_t *const row[16], uint32_t cols, uint8_t *chunk)
{
    uint32_t n = cols / m->block_elems;
    uint8_t *head = chunk, *body = chunk + (size_t)n * m->head_bytes;
    if (m->block_elems == 1) { /* float types: one long run */
        mox_x16_pack_units(row, 0, n, m->block_bytes, body, m->body_bytes);
        return;
    }
    for (uint32_t j = 0; j < n; j++) {
        for (uint32_t i = 0; i < m->n_runs; i++) {
            const x16_run *r = &m->run[i];
            uint8_t *area = r->head ? head + (size_t)j * m->head_bytes : body + (size_t)j * m->body_bytes;
            mox_x16_pack_units(row, (size_t)j * m->block_bytes + r->off, r->n, r->unit, area + r->at,
                               r->step);
        }
    }
}

static void x16_unpack(const x16_map *m, const uint8_t *chunk, uint32_t cols, uint8_t *const row[16])
{
    uint32_t n = cols / m->block_elems;
    const uint8_t *head = chunk, *body = chunk + (size_t)n * m->head_bytes;
    if (m->block_elems == 1) {
        mox_x16_unpack_units(body, m->body_bytes, n, m->block_bytes, row, 0);
        return;
    }
    for (uint32_t j = 0; j < n; j++) {
        for (uint32_t i = 0; i < m->n_runs; i++) {
            const x16_run *r = &m->run[i];
            const uint8_t *area =
                r->head ? head + (size_t)j * m->head_bytes : body + (size_t)j * m->body_bytes;
            mox_x16_unpack_units(area + r->at, r->step, r->n, r->unit, row,
                                 (size_t)j * m->block_bytes + r->off);
        }
    }
}

#define X(name)                                                                                              \
    void mox_x16_pack_##name(const uint8_t *const row[16], uint32_t cols, uint8_t *chunk)                    \
    {                                                                                                        \
        x16_pack(&map_##name, row, cols, chunk);                                                             \
    }                                                                                                        \
    void mox_x16_unpack_##name(const uint8_t *chunk, uint32_t cols, uint8_t *const row[16])                  \
    {                                                                                                        \
        x16_unpack(&map_##name, chunk, cols, row);                                                           \
    }
MOX_X16_INTERLEAVED(X)
#undef X

#define X(name)                                                                                              \
    void mox_x16_pack_##name(const uint8_t *const row[16], uint32_t cols, uint8_t *chunk)                    \
    {                                                                                                        \
        size_t bytes = (size_t)mox_type_row_bytes(MOX_TYPE_##name, cols);                                    \
        for (uint32_t r = 0; r < MOX_X16_ROWS; r++) {                                                        \
            memcpy(chunk + r * bytes, row[r], bytes);                                                        \
        }                                                                                                    \
    }                                                                                                        \
    void mox_x16_unpack_##name(const uint8_t *chunk, uint32_t cols, uint8_t *const row[16])                  \
    {                                                                                                        \
        size_t bytes = (size_t)mox_type_row_bytes(MOX_TYPE_##name, cols);                                    \
        for (uint32_t r = 0; r < MOX_X16_ROWS; r++) {                                                        \
            memcpy(row[r], chunk + r * bytes, bytes);                                                        \
        }                                                                                                    \
    }
MOX_X16_ROW_MAJOR(X)
#undef X
