/* The VEX-encoded VNNI kernels on a machine without AVX-VNNI: linked with their code as reencode.sh rewrote it,
 * the same but for the encoding of its dot products. Tiles and panels against the twin, block by block. */
#include "kernels/mat_tile.h"
#include "kernels/panel.h"
#include "kernels/test_random.h"

#include <criterion/criterion.h>

enum { BLOCKS = RND_COUNT(2000), R = MOX_ROWS_PER_GROUP };

typedef struct block_case {
    const mox_format *f;
    uint32_t cols, n;
    mox_mat m;
    mox_acts x;
    uint8_t *w, *x16;
} block_case;

static bool make_case(uint32_t type, uint32_t max_cols, uint32_t max_n, uint64_t *s, block_case *c)
{
    *c = (block_case){.f = mox_format_of(type)};
    if (c->f == NULL || mox_tiles_avxvnni_vex.of_type[type] == NULL || c->f->kind == MOX_ACT_F32) {
        return false;
    }
    c->cols = fx_cols(c->f, max_cols, s);
    c->n = 1 + fx_below(s, max_n);
    c->w = rnd_weights(c->f, R, c->cols, fx_below(s, 2) == 0, s);
    c->x16 = fx_repack(c->f->type, R, c->cols, c->w);
    c->m = mox_mat_dense(c->f->type, R, c->cols, c->x16);
    c->x = fx_acts(c->f->kind, c->n, c->cols, s);
    return true;
}

static void free_case(block_case *c)
{
    free(c->w), free(c->x16), free(c->x.data);
}

static void check_tile(const block_case *c)
{
    const void *x[MOX_TILE_ROWS];
    for (uint32_t i = 0; i < c->n; i++) {
        x[i] = (const uint8_t *)c->x.data + i * c->x.row_bytes;
    }
    float want[MOX_TILE_ROWS][R], got[MOX_TILE_ROWS][R];
    mox_tiles_ref.of_type[c->f->type](c->f, c->x16, c->cols, x, c->n, want);
    mox_tiles_avxvnni_vex.of_type[c->f->type](c->f, c->x16, c->cols, x, c->n, got);
    cr_assert(fx_same(want[0], got[0], (size_t)c->n * R), "tile of %s, %u columns, n %u",
              mox_type_info(c->f->type)->name, c->cols, c->n);
}

/* y[n][R] through a panel, by `fn` or by what the instruction set has. */
static void by_panel(const block_case *c, mox_isa isa, mox_panel_fn *fn, float (*y)[R])
{
    mox_panel p;
    mox_panel_job j;
    size_t bytes = mox_panel_bytes(c->x.kind, c->cols, c->n);
    void *mem = aligned_alloc(64, bytes);
    memset(mem, 0, bytes); /* lanes without a token */
    mox_panel_init(&p, isa, c->x.kind, c->cols, c->n, mem);
    for (uint32_t i = 0; i < c->n; i++) {
        mox_panel_put_row(&p, i, (const uint8_t *)c->x.data + i * c->x.row_bytes);
    }
    cr_assert_eq(mox_panel_job_init(&j, isa, &c->m, c->x.kind), MOX_OK);
    j.fn = fn != NULL ? fn : j.fn;
    mox_panel_group_mul(&j, 0, &p, 0, mox_panel_tiles(&p), y);
    free(mem);
}

static void check_panel(const block_case *c)
{
    float want[16][R], got[16][R];
    by_panel(c, MOX_ISA_SCALAR, NULL, want);
    by_panel(c, MOX_ISA_AVXVNNI, mox_panels_avxvnni_vex.of_type[c->f->type], got);
    cr_assert(fx_same(want[0], got[0], (size_t)c->n * R), "panel of %s, %u columns, n %u",
              mox_type_info(c->f->type)->name, c->cols, c->n);
}

static void check_all(uint32_t max_cols, uint32_t max_n, void (*check)(const block_case *c))
{
    if (!mox_isa_present(MOX_ISA_AVX512)) {
        cr_skip_test("the machine has no AVX-512");
    }
    uint32_t types = 0;
    for (uint32_t type = 0; type < MOX_TYPE_COUNT; type++) {
        block_case c;
        uint64_t s = 1 + type;
        for (uint32_t i = 0; i < BLOCKS && make_case(type, max_cols, max_n, &s, &c); i++) {
            check(&c);
            free_case(&c);
            types += i == 0;
        }
    }
    cr_assert_eq(types, 13);
}

Test(random_vex, tiles)
{
    check_all(MOX_BLOCK, MOX_TILE_ROWS, check_tile);
}

Test(random_vex, panels)
{
    check_all(1500, 16, check_panel);
}
