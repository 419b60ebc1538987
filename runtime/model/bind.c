/* Binding tensors: name -> shape check -> weight or slab table. Nothing of the model's size is allocated
 * before all of these checks have passed.
 */
#include "kernels/formats.h"
#include "runtime/core/bits.h"
#include "runtime/model/build.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef unsigned long long ull;

const mox_gguf_tensor *mox_find_used(mox_builder *b, const char *name)
{
    const mox_gguf_tensor *t = mox_gguf_find(b->g, name);
    bool again = t && b->n_used > 0 && b->used[b->n_used - 1] == t; /* parts of a fused tensor */
    if (t && !again && b->n_used < b->max_used) {
        b->used[b->n_used++] = t;
    }
    return t;
}

mox_err mox_shape_is(const mox_gguf_tensor *t, uint64_t cols, uint64_t rows, uint64_t depth)
{
    if (t->ne[0] != cols || t->ne[1] != rows || t->ne[2] != depth || t->ne[3] != 1) {
        return MOX_FAIL(MOX_E_TENSOR,
                        "model: tensor '%.*s' is [%llu, %llu, %llu, %llu], expected [%llu, %llu, %llu]",
                        (int)t->name.n, t->name.p, (ull)t->ne[0], (ull)t->ne[1], (ull)t->ne[2], (ull)t->ne[3],
                        (ull)cols, (ull)rows, (ull)depth);
    }
    return MOX_OK;
}

static mox_err cannot_compute(const mox_gguf_tensor *t, uint64_t cols)
{
    const mox_type_desc *d = mox_type_info(t->type);
    return MOX_FAIL(MOX_E_TYPE, "model: tensor '%.*s': rows of %llu in type %s cannot be computed with",
                    (int)t->name.n, t->name.p, (ull)cols, d ? d->name : "?");
}

/* A weight of rows [row0, row0 + rows) of a tensor whose shape has been checked. */
static mox_err add_weight(mox_builder *b, const mox_weight **out, const mox_gguf_tensor *t, bool as_f32,
                          uint32_t row0, uint32_t rows, uint32_t cols)
{
    if (t->packed) {
        return MOX_FAIL(MOX_E_TENSOR, "packed file: tensor '%.*s' is no expert's, but listed as packed",
                        (int)t->name.n, t->name.p);
    }
    const mox_format *f = mox_format_of(t->type);
    uint64_t row_bytes = mox_type_row_bytes(t->type, cols);
    if (!f || row_bytes == 0 || (!as_f32 && mox_mat_bytes((mox_type)t->type, rows, cols) == 0)) {
        return cannot_compute(t, cols);
    }
    assert(b->m->n_weights < b->max_weights);
    mox_weight *w = &b->m->weights[b->m->n_weights++];
    *w = (mox_weight){.as_f32 = as_f32,
                      .type = (mox_type)t->type,
                      .rows = rows,
                      .cols = cols,
                      .file = t->file,
                      .off = t->off + row0 * row_bytes,
                      .file_bytes = rows * row_bytes};
    snprintf(w->name, sizeof w->name, "%.*s", (int)t->name.n, t->name.p);
    *out = w;
    return MOX_OK;
}

static mox_err bind(mox_builder *b, const mox_weight **out, bool as_f32, uint32_t rows, uint32_t cols,
                    bool optional, const char *name)
{
    const mox_gguf_tensor *t = mox_find_used(b, name);
    if (!t) {
        *out = NULL;
        return optional ? MOX_OK : MOX_FAIL(MOX_E_TENSOR, "model: tensor '%s' is missing", name);
    }
    /* converters differ in whether a bias is a vector or a column */
    bool column = as_f32 && rows == 1 && t->ne[0] == 1 && t->ne[1] == cols;
    if (!column) {
        MOX_TRY(mox_shape_is(t, cols, rows, 1));
    }
    return add_weight(b, out, t, as_f32, 0, rows, cols);
}

mox_err mox_bind_rows(mox_builder *b, const mox_weight **out, bool as_f32, mox_rows rows, uint32_t cols,
                      const char *name)
{
    const mox_gguf_tensor *t = mox_find_used(b, name);
    if (!t) {
        return MOX_FAIL(MOX_E_TENSOR, "model: tensor '%s' is missing", name);
    }
    MOX_TRY(mox_shape_is(t, cols == 1 ? rows.of : cols, cols == 1 ? 1 : rows.of, 1));
    if (cols == 1) { /* elements of a vector */
        MOX_TRY(add_weight(b, out, t, as_f32, 0, 1, rows.rows));
        mox_weight *w = &b->m->weights[b->m->n_weights - 1];
        w->off += rows.row0 * mox_type_row_bytes(t->type, 1);
        return MOX_OK;
    }
    return add_weight(b, out, t, as_f32, rows.row0, rows.rows, cols);
}

mox_err mox_bind_parts(mox_builder *b, const mox_weight **out, uint32_t parts, uint32_t rows, uint32_t cols,
                       const char *name)
{
    const mox_gguf_tensor *t = mox_find_used(b, name);
    if (!t) {
        return MOX_FAIL(MOX_E_TENSOR, "model: tensor '%s' is missing", name);
    }
    MOX_TRY(mox_shape_is(t, cols, rows, parts));
    MOX_TRY(add_weight(b, out, t, false, 0, parts * rows, cols));
    mox_weight *w = &b->m->weights[b->m->n_weights - 1];
    w->parts = parts;
    w->part = b->m->part_mats + b->m->n_part_mats;
    b->m->n_part_mats += parts;
    return MOX_OK;
}

mox_err mox_bind_strided(mox_builder *b, const mox_weight **out, uint32_t parts, uint32_t rows, uint32_t cols,
                         mox_strided where, const char *name)
{
    const mox_gguf_tensor *t = mox_find_used(b, name);
    const uint32_t in_rows = where.turned ? cols : rows, in_cols = where.turned ? rows : cols;
    if (!t) {
        return MOX_FAIL(MOX_E_TENSOR, "model: tensor '%s' is missing", name);
    }
    MOX_TRY(mox_shape_is(t, in_cols, where.of, 1));
    MOX_TRY(add_weight(b, out, t, false, where.row0, parts * in_rows, in_cols));
    mox_weight *w = &b->m->weights[b->m->n_weights - 1];
    w->rows = parts * rows;
    w->cols = cols;
    w->parts = parts;
    w->stride = where.stride;
    w->turned = where.turned;
    w->from = w->type;
    if (where.turned && w->type != MOX_TYPE_F16 && w->type != MOX_TYPE_BF16) {
        w->type = MOX_TYPE_F32;
    }
    w->part = b->m->part_mats + b->m->n_part_mats;
    b->m->n_part_mats += parts;
    return MOX_OK;
}

mox_err mox_bind_mat(mox_builder *b, const mox_weight **out, uint32_t rows, uint32_t cols, bool optional,
                     const char *fmt, ...)
{
    char name[MOX_GGUF_MAX_NAME + 1];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    return bind(b, out, false, rows, cols, optional, name);
}

mox_err mox_bind_f32(mox_builder *b, const mox_weight **out, uint32_t rows, uint32_t cols, bool optional,
                     const char *fmt, ...)
{
    char name[MOX_GGUF_MAX_NAME + 1];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    return bind(b, out, true, rows, cols, optional, name);
}

static const char *const slab_names[MOX_SLABS] = {"gate", "up", "down"};

/* In a packed file every expert is a record, and only experts are. */
static mox_err must_be_packed(const mox_builder *b, const mox_gguf_tensor *t)
{
    if (t->packed != (b->m->packed != NULL)) {
        return MOX_FAIL(MOX_E_TENSOR, "packed file: tensor '%.*s' of an expert is not packed", (int)t->name.n,
                        t->name.p);
    }
    return MOX_OK;
}

/* One tensor [cols, rows, n_experts]: expert e starts at e * (bytes of one). With gate and up in one tensor, each is
 * half of an expert's rows, gate first. */
static mox_err bind_merged(mox_builder *b, const mox_gguf_tensor *t, mox_slab_place *first, uint32_t slab,
                           uint32_t rows, uint32_t cols, bool half)
{
    uint32_t n = b->m->h.n_experts, of = half ? 2 * rows : rows,
             skip = half && slab == MOX_SLAB_UP ? rows : 0;
    MOX_TRY(mox_shape_is(t, cols, of, n));
    MOX_TRY(must_be_packed(b, t));
    uint64_t each;
    uint64_t row_bytes = mox_type_row_bytes(t->type, cols);
    if (row_bytes == 0) {
        return cannot_compute(t, cols);
    }
    if (!mox_mul_u64(row_bytes, of, &each) || each > t->bytes / n) {
        return MOX_FAIL(MOX_E_TENSOR, "model: tensor '%.*s' has %llu bytes, too few for %u experts",
                        (int)t->name.n, t->name.p, (ull)t->bytes, n);
    }
    for (uint32_t e = 0; first && e < n; e++) {
        first[(size_t)e * MOX_SLABS + slab] =
            (mox_slab_place){.file = t->file, .off = t->off + e * each + skip * row_bytes};
    }
    return MOX_OK;
}

/* Files of before April 2024: blk.N.ffn_gate.E.weight. The experts of a layer must share a type: a slot has
 * one layout. */
static mox_err bind_single(mox_builder *b, uint32_t layer, mox_slab_place *first, uint32_t slab,
                           uint32_t rows, uint32_t cols, mox_type *type)
{
    for (uint32_t e = 0; e < b->m->h.n_experts; e++) {
        char name[MOX_GGUF_MAX_NAME + 1];
        snprintf(name, sizeof name, "blk.%u.ffn_%s.%u.weight", layer, slab_names[slab], e);
        const mox_gguf_tensor *t = mox_find_used(b, name);
        if (!t) {
            return MOX_FAIL(MOX_E_TENSOR, "model: tensor '%s' is missing, and so is 'blk.%u.ffn_%s_exps'",
                            name, layer, slab_names[slab]);
        }
        MOX_TRY(mox_shape_is(t, cols, rows, 1));
        MOX_TRY(must_be_packed(b, t));
        if (e == 0) {
            *type = (mox_type)t->type;
        }
        if (t->type != (uint32_t)*type) {
            return MOX_FAIL(MOX_E_TENSOR, "model: tensor '%s' is %s, expert 0 of the layer is %s", name,
                            mox_type_info(t->type)->name, mox_type_info(*type)->name);
        }
        if (first) {
            first[(size_t)e * MOX_SLABS + slab] = (mox_slab_place){.file = t->file, .off = t->off};
        }
    }
    return MOX_OK;
}

/* Experts of a packed file: their tensors' shapes have been checked like any other's; the values are records. */
static mox_err bind_records(mox_builder *b, uint32_t layer, uint32_t moe_layer)
{
    mox_model *m = b->m;
    const mox_expert_layout *l = &m->layouts[moe_layer];
    mox_pack_layer *p = &m->packed[moe_layer];
    MOX_TRY(mox_pack_find(b->g, layer, m->h.n_experts, l, p));
    if (p->n_slices != mox_div_up(m->h.d_ff, MOX_SLICE)) {
        return MOX_FAIL(MOX_E_INTERNAL, "model: %u slices in layer %u", p->n_slices, layer);
    }
    return MOX_OK;
}

mox_err mox_bind_experts(mox_builder *b, uint32_t layer, uint32_t moe_layer, uint32_t d_model, uint32_t d_ff)
{
    size_t at = (size_t)moe_layer * b->m->h.n_experts * MOX_SLABS;
    mox_slab_place *first = b->m->slabs ? b->m->slabs + at : NULL;
    mox_type types[MOX_SLABS];
    for (uint32_t s = 0; s < MOX_SLABS; s++) {
        uint32_t rows = s == MOX_SLAB_DOWN ? d_model : d_ff;
        uint32_t cols = s == MOX_SLAB_DOWN ? d_ff : d_model;
        char name[MOX_GGUF_MAX_NAME + 1];
        snprintf(name, sizeof name, "blk.%u.ffn_%s_exps.weight", layer, slab_names[s]);
        const mox_gguf_tensor *t = mox_find_used(b, name);
        bool half = false;
        if (!t && s != MOX_SLAB_DOWN) {
            snprintf(name, sizeof name, "blk.%u.ffn_gate_up_exps.weight", layer);
            t = s == MOX_SLAB_GATE ? mox_find_used(b, name) : mox_gguf_find(b->g, name);
            half = t != NULL;
        }
        if (t) {
            types[s] = (mox_type)t->type;
            MOX_TRY(bind_merged(b, t, first, s, rows, cols, half));
        } else {
            MOX_TRY(bind_single(b, layer, first, s, rows, cols, &types[s]));
        }
    }
    MOX_TRY(mox_expert_layout_init(&b->m->layouts[moe_layer], types, d_model, d_ff));
    return b->m->packed ? bind_records(b, layer, moe_layer) : MOX_OK;
}
