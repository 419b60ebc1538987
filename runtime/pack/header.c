/* The header of a packed file: the model's keys as they are, what the container adds to them, and the list of
 * tensors. Pure: from the table of the source to bytes, no files.
 *
 * Keys that describe the source's files (alignment, split) are left out; alignment is 4,096 here, so that GGUF's
 * own rule "tensors follow each other at the next multiple" puts records on pages.
 */
#include "runtime/core/bits.h"
#include "runtime/pack/write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct bytes {
    uint8_t *p;
    size_t n, cap;
    bool failed;
} bytes;

static void put(bytes *b, const void *data, size_t n)
{
    if (b->cap - b->n < n) {
        size_t cap = b->cap * 2 + n + 4096;
        uint8_t *p = b->failed ? NULL : realloc(b->p, cap);
        if (!p) {
            b->failed = true;
            return;
        }
        b->p = p;
        b->cap = cap;
    }
    if (n) {
        memcpy(b->p + b->n, data, n);
        b->n += n;
    }
}

static void put_u32(bytes *b, uint32_t v)
{
    put(b, &v, sizeof v);
}

static void put_u64(bytes *b, uint64_t v)
{
    put(b, &v, sizeof v);
}

static void put_str(bytes *b, const char *s, size_t n)
{
    put_u64(b, n);
    put(b, s, n);
}

static void key(bytes *b, const char *name, mox_gguf_kind kind, uint64_t *n_kv)
{
    put_str(b, name, strlen(name));
    put_u32(b, kind);
    ++*n_kv;
}

static void array_key(bytes *b, const char *name, mox_gguf_kind elem, uint64_t n, uint64_t *n_kv)
{
    key(b, name, MOX_GGUF_ARRAY, n_kv);
    put_u32(b, elem);
    put_u64(b, n);
}

static bool same(mox_str s, const char *name)
{
    return s.n == strlen(name) && memcmp(s.p, name, s.n) == 0;
}

static bool begins(mox_str s, const char *prefix)
{
    return s.n >= strlen(prefix) && memcmp(s.p, prefix, strlen(prefix)) == 0;
}

static void copy_keys(bytes *b, const mox_gguf *g, uint64_t *n_kv)
{
    for (uint32_t i = 0; i < mox_gguf_n_kv(g); i++) {
        mox_str name = mox_gguf_kv_key(g, i);
        if (same(name, "general.alignment") || same(name, "split.no") || same(name, "split.count") ||
            same(name, "split.tensors.count") || begins(name, "moxie.pack.")) {
            continue;
        }
        mox_gguf_value v = mox_gguf_kv_value(g, i);
        put_str(b, name.p, name.n);
        put_u32(b, v.kind);
        if (v.kind == MOX_GGUF_ARRAY) {
            put_u32(b, v.elem);
        }
        if (v.kind == MOX_GGUF_ARRAY || v.kind == MOX_GGUF_STRING) {
            put_u64(b, v.n);
        }
        put(b, v.data, v.bytes);
        ++*n_kv;
    }
}

static void replaced_keys(bytes *b, const mox_pack_list *l, uint64_t *n_kv)
{
    array_key(b, "moxie.pack.tensor.names", MOX_GGUF_STRING, l->n_replaced, n_kv);
    for (uint32_t i = 0; i < l->n_replaced; i++) {
        put_str(b, l->replaced[i]->name.p, l->replaced[i]->name.n);
    }
    array_key(b, "moxie.pack.tensor.types", MOX_GGUF_U32, l->n_replaced, n_kv);
    for (uint32_t i = 0; i < l->n_replaced; i++) {
        put_u32(b, l->replaced[i]->type);
    }
    array_key(b, "moxie.pack.tensor.dims", MOX_GGUF_U64, (uint64_t)l->n_replaced * MOX_GGUF_MAX_DIMS, n_kv);
    for (uint32_t i = 0; i < l->n_replaced; i++) {
        put(b, l->replaced[i]->ne, sizeof l->replaced[i]->ne);
    }
}

static void pack_keys(bytes *b, const mox_gguf *g, uint32_t alignment, uint64_t fingerprint, uint64_t *n_kv)
{
    key(b, "general.alignment", MOX_GGUF_U32, n_kv);
    put_u32(b, MOX_PACK_ALIGN);
    key(b, "moxie.pack.version", MOX_GGUF_U32, n_kv);
    put_u32(b, MOX_GGUF_PACK_VERSION);
    key(b, "moxie.pack.layout", MOX_GGUF_U64, n_kv);
    put_u64(b, fingerprint);
    key(b, "moxie.pack.source.id", MOX_GGUF_U64, n_kv);
    put_u64(b, mox_gguf_id(g));
    key(b, "moxie.pack.source.alignment", MOX_GGUF_U32, n_kv);
    put_u32(b, alignment);
}

mox_err mox_pack_header(const mox_gguf *g, const mox_model *m, const mox_pack_list *l, uint64_t fingerprint,
                        uint8_t **out, size_t *n, size_t *sums_at)
{
    bytes b = {0};
    uint64_t n_kv = 0, zero = 0;
    uint32_t alignment = 0;
    MOX_TRY(mox_gguf_u32_opt(g, "general.alignment", 0, UINT32_MAX, &alignment));
    put(&b, "GGUF", 4);
    put_u32(&b, 3);
    put_u64(&b, l->n);
    size_t n_kv_at = b.n;
    put_u64(&b, 0);
    copy_keys(&b, g, &n_kv);
    pack_keys(&b, g, alignment, fingerprint, &n_kv);
    replaced_keys(&b, l, &n_kv);
    array_key(&b, "moxie.pack.sums", MOX_GGUF_U64, m->n_moe_layers, &n_kv);
    *sums_at = b.n;
    for (uint32_t i = 0; i < m->n_moe_layers; i++) {
        put_u64(&b, 0);
    }
    for (uint32_t i = 0; i < l->n; i++) {
        const mox_pack_tensor *t = &l->t[i];
        put_str(&b, t->name, strlen(t->name));
        put_u32(&b, t->n_dims);
        put(&b, t->ne, t->n_dims * sizeof t->ne[0]);
        put_u32(&b, t->type);
        put_u64(&b, t->off);
    }
    while (!b.failed && b.n % MOX_PACK_ALIGN != 0) {
        size_t pad = MOX_PACK_ALIGN - b.n % MOX_PACK_ALIGN;
        put(&b, &zero, pad < sizeof zero ? pad : sizeof zero);
    }
    if (b.failed) {
        free(b.p);
        return MOX_FAIL(MOX_E_NO_MEMORY, "pack: no memory for a header of %zu bytes", b.n);
    }
    memcpy(b.p + n_kv_at, &n_kv, sizeof n_kv);
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
