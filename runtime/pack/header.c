/* The header of a packed file: the model's keys as they are, what the container adds to them, and the list of
 * tensors. Pure: from the table of the source to bytes, no files.
 *
 * Keys that describe the source's files (alignment, split) are left out; alignment is 4,096 here, so that GGUF's
 * own rule "tensors follow each other at the next multiple" puts records on pages.
 */
#include "runtime/gguf/header.h"
#include "runtime/core/bits.h"
#include "runtime/pack/write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool begins(mox_str s, const char *prefix)
{
    return s.n >= strlen(prefix) && memcmp(s.p, prefix, strlen(prefix)) == 0;
}

static void copy_keys(mox_bytes *b, const mox_gguf *g)
{
    for (uint32_t i = 0; i < mox_gguf_n_kv(g); i++) {
        mox_str name = mox_gguf_kv_key(g, i);
        if (!mox_gguf_of_files(name) && !begins(name, "moxie.pack.")) {
            mox_bytes_copy_key(b, g, i);
        }
    }
}

static void replaced_keys(mox_bytes *b, const mox_pack_list *l)
{
    mox_bytes_array_key(b, "moxie.pack.tensor.names", MOX_GGUF_STRING, l->n_replaced);
    for (uint32_t i = 0; i < l->n_replaced; i++) {
        mox_bytes_str(b, l->replaced[i]->name.p, l->replaced[i]->name.n);
    }
    mox_bytes_array_key(b, "moxie.pack.tensor.types", MOX_GGUF_U32, l->n_replaced);
    for (uint32_t i = 0; i < l->n_replaced; i++) {
        mox_bytes_u32(b, l->replaced[i]->type);
    }
    mox_bytes_array_key(b, "moxie.pack.tensor.dims", MOX_GGUF_U64,
                        (uint64_t)l->n_replaced * MOX_GGUF_MAX_DIMS);
    for (uint32_t i = 0; i < l->n_replaced; i++) {
        mox_bytes_put(b, l->replaced[i]->ne, sizeof l->replaced[i]->ne);
    }
}

static void pack_keys(mox_bytes *b, const mox_gguf *g, uint32_t alignment, uint64_t fingerprint)
{
    mox_bytes_key(b, "general.alignment", MOX_GGUF_U32);
    mox_bytes_u32(b, MOX_PACK_ALIGN);
    mox_bytes_key(b, "moxie.pack.version", MOX_GGUF_U32);
    mox_bytes_u32(b, MOX_GGUF_PACK_VERSION);
    mox_bytes_key(b, "moxie.pack.layout", MOX_GGUF_U64);
    mox_bytes_u64(b, fingerprint);
    mox_bytes_key(b, "moxie.pack.source.id", MOX_GGUF_U64);
    mox_bytes_u64(b, mox_gguf_id(g));
    mox_bytes_key(b, "moxie.pack.source.alignment", MOX_GGUF_U32);
    mox_bytes_u32(b, alignment);
}

mox_err mox_pack_header(const mox_gguf *g, const mox_model *m, const mox_pack_list *l, uint64_t fingerprint,
                        uint8_t **out, size_t *n, size_t *sums_at)
{
    mox_bytes b = {0};
    uint32_t alignment = 0;
    MOX_TRY(mox_gguf_u32_opt(g, "general.alignment", 0, UINT32_MAX, &alignment));
    size_t n_kv_at = mox_bytes_magic(&b, l->n);
    copy_keys(&b, g);
    pack_keys(&b, g, alignment, fingerprint);
    replaced_keys(&b, l);
    mox_bytes_array_key(&b, "moxie.pack.sums", MOX_GGUF_U64, m->n_moe_layers);
    *sums_at = b.n;
    for (uint32_t i = 0; i < m->n_moe_layers; i++) {
        mox_bytes_u64(&b, 0);
    }
    for (uint32_t i = 0; i < l->n; i++) {
        const mox_pack_tensor *t = &l->t[i];
        mox_bytes_tensor(&b, (mox_str){t->name, strlen(t->name)}, t->n_dims, t->ne, t->type, t->off);
    }
    mox_bytes_pad(&b, MOX_PACK_ALIGN);
    if (b.failed) {
        free(b.p);
        return MOX_FAIL(MOX_E_NO_MEMORY, "pack: no memory for a header of %zu bytes", b.n);
    }
    memcpy(b.p + n_kv_at, &b.n_keys, sizeof b.n_keys);
    *out = b.p;
    *n = b.n;
    return MOX_OK;
}

/* ---- the list of tensors ---- */

static bool is_expert(const mox_model *m, const mox_gguf_tensor *t)
{
    size_t n = (size_t)m->n_moe_layers * m->h.n_experts * MOX_SLABS;
    for (size_t i = 0; i < n; i++) {
        const mox_slab_place *p = &m->slabs[i];
        if (p->file == t->file && p->off >= t->off && p->off - t->off < t->bytes) {
            return true;
        }
    }
    return false;
}

static mox_pack_tensor *append(mox_pack_list *l, uint64_t n_bytes)
{
    mox_pack_tensor *t = &l->t[l->n++];
    *t = (mox_pack_tensor){.off = l->data_bytes, .bytes = n_bytes};
    l->data_bytes += mox_round_up(n_bytes, MOX_PACK_ALIGN);
    return t;
}

static void append_matrix(mox_pack_list *l, mox_type type, uint64_t ne0, uint64_t ne1, uint32_t layer,
                          bool sums)
{
    mox_pack_tensor *t = append(l, ne0 * ne1 * mox_type_info(type)->block_bytes);
    t->type = type;
    t->n_dims = 2;
    t->ne[0] = ne0;
    t->ne[1] = ne1;
    t->layer = layer;
    t->sums = sums;
}

static void append_layer(mox_pack_list *l, const mox_model *m, uint32_t block, uint32_t layer)
{
    const mox_expert_layout *x = &m->layouts[layer];
    append_matrix(l, MOX_TYPE_I8, mox_pack_record_bytes(x), m->h.n_experts, layer, false);
    mox_pack_experts_name(block, l->t[l->n - 1].name);
    append_matrix(l, MOX_TYPE_I64, x->n_slices, m->h.n_experts, layer, true);
    mox_pack_sums_name(block, l->t[l->n - 1].name);
}

mox_err mox_pack_list_make(mox_pack_list *out, const mox_gguf *g, const mox_model *m)
{
    uint32_t n = mox_gguf_n_tensors(g);
    out->t = calloc((size_t)n + 2 * m->n_moe_layers + 1, sizeof *out->t);
    out->replaced = calloc((size_t)n + 1, sizeof(void *));
    if (!out->t || !out->replaced) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "pack: no memory for a list of %u tensors", n);
    }
    for (uint32_t i = 0; i < n; i++) {
        const mox_gguf_tensor *src = mox_gguf_tensor_at(g, i);
        if (begins(src->name, "moxie.")) {
            return MOX_FAIL(MOX_E_TENSOR,
                            "pack: the model has a tensor '%.*s', whose name belongs to packed files",
                            (int)src->name.n, src->name.p);
        }
        if (is_expert(m, src)) {
            out->replaced[out->n_replaced++] = src;
            continue;
        }
        mox_pack_tensor *t = append(out, src->bytes);
        snprintf(t->name, sizeof t->name, "%.*s", (int)src->name.n, src->name.p);
        t->type = src->type;
        t->n_dims = src->n_dims;
        memcpy(t->ne, src->ne, sizeof t->ne);
        t->src = src;
    }
    for (uint32_t i = 0; i < m->n_ops; i++) {
        if (m->ops[i].kind == MOX_LAYER_MOE) {
            append_layer(out, m, m->ops[i].layer, m->ops[i].moe.moe_layer);
        }
    }
    return MOX_OK;
}

void mox_pack_list_free(mox_pack_list *l)
{
    free(l->t);
    free(l->replaced);
    *l = (mox_pack_list){0};
}
