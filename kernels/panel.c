/* Panels: how rows of activations are cut into tiles and laid into them, and the product through a tile of
 * mat_tile.h for types and instruction sets without a body of their own. */
#include "kernels/panel.h"

#include "kernels/act.h"
#include "runtime/core/bits.h"

#include <string.h>

enum { R = MOX_ROWS_PER_GROUP, MAX_PAD = 3 };

static const mox_panels panels_plain = {.sizes = {MOX_TILE_ROWS}};

static const mox_panels *panels_of(mox_isa isa)
{
#if defined(__x86_64__)
    if (isa == MOX_ISA_AVX512) {
        return &mox_panels_avx512;
    }
    if (isa == MOX_ISA_AVXVNNI) {
        return mox_isa_vex_vnni() ? &mox_panels_avxvnni_vex : &mox_panels_avxvnni_evex;
    }
    if (isa == MOX_ISA_AVX2) {
        return &mox_panels_avx2;
    }
#endif
    (void)isa;
    return &panels_plain;
}

size_t mox_panel_bytes(mox_act_kind kind, uint32_t cols, uint32_t n)
{
    size_t lane = (size_t)mox_div_up(cols, MOX_BLOCK) * mox_panel_words(kind) * 4;
    return mox_round_up(lane * (n + MAX_PAD), 64);
}

/* Bytes of one lane of one block. */
static size_t lane_bytes(const mox_panel *p)
{
    return (size_t)mox_panel_words(p->kind) * 4;
}

/* The smallest size that holds n lanes, n <= sizes[0]. */
static uint32_t size_for(const uint32_t *sizes, uint32_t n)
{
    uint32_t i = 0;
    while (sizes[i + 1] >= n) {
        i++;
    }
    return sizes[i];
}

void mox_panel_init(mox_panel *p, mox_isa isa, mox_act_kind kind, uint32_t cols, uint32_t n, void *mem)
{
    const uint32_t *sizes = panels_of(isa)->sizes;
    uint32_t full = n / sizes[0], rest = n % sizes[0];
    *p = (mox_panel){.kind = kind, .cols = cols, .n = n, .size = sizes[0], .full = full, .data = mem};
    if (rest > 0 && full > 0 && sizes[0] + rest <= 2 * sizes[1]) {
        p->full--;
        p->last[0] = sizes[1];
        rest += sizes[0] - sizes[1];
        p->last[1] = size_for(sizes, rest);
    } else if (rest > 0) {
        p->last[0] = size_for(sizes, rest);
    }
    p->lanes = p->full * p->size + p->last[0] + p->last[1];
}

uint32_t mox_panel_tiles(const mox_panel *p)
{
    return p->full + (p->last[0] > 0) + (p->last[1] > 0);
}

mox_panel_tile mox_panel_tile_at(const mox_panel *p, uint32_t t)
{
    uint32_t row0 = t < p->full ? t * p->size : p->full * p->size + (t > p->full ? p->last[0] : 0);
    uint32_t size = t < p->full ? p->size : p->last[t - p->full], left = p->n - row0;
    return (mox_panel_tile){.row0 = row0, .n = left < size ? left : size, .size = size};
}

/* The tile that has a row. */
static uint32_t tile_of(const mox_panel *p, uint32_t row)
{
    uint32_t t = row / p->size;
    return t < p->full ? t : p->full + (row >= p->full * p->size + p->last[0]);
}

/* Where a tile's block begins. */
static uint8_t *tile_data(const mox_panel *p, const mox_panel_tile *t, uint32_t block)
{
    return p->data + ((size_t)block * p->lanes + t->row0) * lane_bytes(p);
}

static void put_words(uint8_t *dst, uint32_t size, uint32_t word, uint32_t n, const void *src)
{
    const uint8_t *from = src;
    dst += (size_t)word * size * 4;
    for (uint32_t w = 0; w < n; w++) {
        memcpy(dst + (size_t)w * size * 4, from + w * 4, 4);
    }
}

static void get_words(const uint8_t *src, uint32_t size, uint32_t word, uint32_t n, void *dst)
{
    uint8_t *to = dst;
    src += (size_t)word * size * 4;
    for (uint32_t w = 0; w < n; w++) {
        memcpy(to + w * 4, src + (size_t)w * size * 4, 4);
    }
}

enum { OFFSET = -128 };

static void put_k(uint8_t *dst, uint32_t size, const mox_act_k *a)
{
    int16_t sum32[8];
    int32_t sum = 0, start32[8], start16[16];
    for (int j = 0; j < 8; j++) {
        sum32[j] = (int16_t)(a->sum[2 * j] + a->sum[2 * j + 1]); /* at most 32 x 127 */
        sum += sum32[j];
        start32[j] = OFFSET * sum32[j];
        start16[2 * j] = OFFSET * a->sum[2 * j];
        start16[2 * j + 1] = OFFSET * a->sum[2 * j + 1];
    }
    put_words(dst, size, 0, MOX_PANEL_CODES, a->q);
    put_words(dst, size, MOX_PANEL_K_SCALE, 1, &a->d);
    put_words(dst, size, MOX_PANEL_K_SUM, 1, &sum);
    put_words(dst, size, MOX_PANEL_K_SUM32, 4, sum32);
    put_words(dst, size, MOX_PANEL_K_START32, 8, start32);
    put_words(dst, size, MOX_PANEL_K_SUM16, 8, a->sum);
    put_words(dst, size, MOX_PANEL_K_START16, 16, start16);
}

static void put_b(uint8_t *dst, uint32_t size, const mox_act_b *a)
{
    int32_t start[8];
    float fsum[8];
    for (int j = 0; j < 8; j++) {
        start[j] = OFFSET * a->sum[j];
        fsum[j] = (float)a->sum[j];
    }
    put_words(dst, size, 0, MOX_PANEL_CODES, a->q);
    put_words(dst, size, MOX_PANEL_B_SCALE, 8, a->d);
    put_words(dst, size, MOX_PANEL_B_START, 8, start);
    put_words(dst, size, MOX_PANEL_B_FSUM, 8, fsum);
}

void mox_panel_put(const mox_panel *p, uint32_t row, uint32_t block, const void *act)
{
    mox_panel_tile t = mox_panel_tile_at(p, tile_of(p, row));
    uint8_t *dst = tile_data(p, &t, block) + (size_t)(row - t.row0) * 4;
    uint32_t left = p->cols - block * MOX_BLOCK;
    switch (p->kind) {
    case MOX_ACT_K:
        put_k(dst, t.size, act);
        break;
    case MOX_ACT_B32:
        put_b(dst, t.size, act);
        break;
    default:
        put_words(dst, t.size, 0, left < MOX_BLOCK ? left : MOX_BLOCK, act);
        break;
    }
}

void mox_panel_put_row(const mox_panel *p, uint32_t row, const void *acts)
{
    const uint8_t *from = acts;
    for (uint32_t b = 0; b < mox_div_up(p->cols, MOX_BLOCK); b++) {
        mox_panel_put(p, row, b, from + b * mox_act_block_bytes(p->kind));
    }
}

/* A block of one lane as a tile takes it. */
typedef union act_block {
    mox_act_k k;
    mox_act_b b;
    float f[MOX_BLOCK];
} act_block;

static void take_lane(mox_act_kind kind, const uint8_t *src, uint32_t size, uint32_t cols, act_block *out)
{
    int32_t start[8];
    switch (kind) {
    case MOX_ACT_K:
        get_words(src, size, 0, MOX_PANEL_CODES, out->k.q);
        get_words(src, size, MOX_PANEL_K_SUM16, 8, out->k.sum);
        get_words(src, size, MOX_PANEL_K_SCALE, 1, &out->k.d);
        break;
    case MOX_ACT_B32:
        get_words(src, size, 0, MOX_PANEL_CODES, out->b.q);
        get_words(src, size, MOX_PANEL_B_START, 8, start);
        get_words(src, size, MOX_PANEL_B_SCALE, 8, out->b.d);
        for (int j = 0; j < 8; j++) {
            out->b.sum[j] = (int16_t)(start[j] / OFFSET);
        }
        break;
    default:
        get_words(src, size, 0, cols, out->f);
        break;
    }
}

/* One tile of a block, taken out of the panel a few lanes at a time. */
static void tile_through(const mox_panel_run *r, mox_act_kind kind, uint32_t b, uint32_t t, mox_row_sums *s)
{
    uint32_t left = r->cols - b * MOX_BLOCK, cols = left < MOX_BLOCK ? left : MOX_BLOCK, size = r->size[t];
    const uint8_t *from = r->tile[t] + b * r->tile_stride;
    for (uint32_t i = 0; i < size; i += MOX_TILE_ROWS) {
        uint32_t n = size - i < MOX_TILE_ROWS ? size - i : MOX_TILE_ROWS;
        act_block act[MOX_TILE_ROWS];
        const void *x[MOX_TILE_ROWS];
        for (uint32_t k = 0; k < n; k++) {
            take_lane(kind, from + (size_t)(i + k) * 4, size, cols, &act[k]);
            x[k] = &act[k];
        }
        float p[MOX_TILE_ROWS][R];
        r->through(r->f, r->chunk + b * r->stride, cols, x, n, p);
        for (uint32_t k = 0; k < n; k++) {
            mox_row_sums_add(&s[i + k], p[k], r->first + b, left <= MOX_BLOCK);
        }
    }
}

/* Any type. */
static void run_through_tile(const mox_panel_run *r, mox_act_kind kind, mox_row_sums *s)
{
    for (uint32_t b = 0; b < r->count; b++) {
        mox_row_sums *of_tile = s;
        for (uint32_t t = 0; t < r->n_tiles; of_tile += r->size[t++]) {
            tile_through(r, kind, b, t, of_tile);
        }
    }
}

static void run_k(const mox_panel_run *r, mox_row_sums *s)
{
    run_through_tile(r, MOX_ACT_K, s);
}

static void run_b32(const mox_panel_run *r, mox_row_sums *s)
{
    run_through_tile(r, MOX_ACT_B32, s);
}

static void run_f32(const mox_panel_run *r, mox_row_sums *s)
{
    run_through_tile(r, MOX_ACT_F32, s);
}

mox_err mox_panel_job_init(mox_panel_job *j, mox_isa isa, const mox_mat *w, mox_act_kind kind)
{
    static mox_panel_fn *const through_tile[MOX_ACT_KINDS] = {
        [MOX_ACT_F32] = run_f32, [MOX_ACT_K] = run_k, [MOX_ACT_B32] = run_b32};
    mox_mat_job tile;
    MOX_TRY(mox_mat_job_init(&tile, isa, w, kind));
    const mox_panels *p = panels_of(isa);
    mox_panel_fn *fn = tile.f->kind == kind ? p->of_type[tile.f->type] : NULL;
    if (fn == NULL && kind == MOX_ACT_F32) {
        fn = p->dequant;
    }
    *j = (mox_panel_job){.w = w,
                         .f = tile.f,
                         .tile = tile.tile,
                         .fn = fn != NULL ? fn : through_tile[kind],
                         .kind = kind,
                         .chunk_bytes = R * mox_type_row_bytes(w->type, MOX_BLOCK)};
    return MOX_OK;
}

/* Blocks before a matrix's short slice of columns are evenly spaced; that slice is a run of its own. */
void mox_panel_blocks_add(const mox_panel_job *j, uint32_t g, uint32_t b0, uint32_t b1, const mox_panel *p,
                          uint32_t t0, uint32_t n_tiles, mox_row_sums *s)
{
    const mox_mat *w = j->w;
    while (b0 < b1) {
        uint32_t end = b0 < w->tail_block && w->tail_block < b1 ? w->tail_block : b1;
        mox_panel_run r = {.chunk = mox_mat_chunk(w, g, b0),
                           .stride = w->block_stride,
                           .bytes = j->chunk_bytes,
                           .after = mox_mat_chunk(w, g + 1 < mox_mat_groups(w) ? g + 1 : g, b0),
                           .first = b0,
                           .count = end - b0,
                           .cols = w->cols - b0 * MOX_BLOCK,
                           .n_tiles = n_tiles,
                           .tile_stride = p->lanes * lane_bytes(p),
                           .f = j->f,
                           .through = j->tile};
        for (uint32_t t = 0; t < n_tiles; t++) {
            mox_panel_tile tile = mox_panel_tile_at(p, t0 + t);
            r.tile[t] = tile_data(p, &tile, b0);
            r.size[t] = tile.size;
        }
        j->fn(&r, s);
        b0 = end;
    }
}

void mox_panel_group_mul(const mox_panel_job *j, uint32_t g, const mox_panel *p, uint32_t t0,
                         uint32_t n_tiles, float (*y)[R])
{
    _Alignas(64) mox_row_sums s[MOX_PANEL_ROWS];
    mox_panel_tile first = mox_panel_tile_at(p, t0), last = mox_panel_tile_at(p, t0 + n_tiles - 1);
    memset(s, 0, (last.row0 + last.size - first.row0) * sizeof s[0]);
    mox_panel_blocks_add(j, g, 0, mox_mat_blocks(j->w), p, t0, n_tiles, s);
    for (uint32_t i = 0; i < last.row0 + last.n - first.row0; i++) {
        memcpy(y[i], s[i].row, sizeof s[i].row);
    }
}
