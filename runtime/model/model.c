/* Building a model: family, hyperparameters, tables, layers, in that order, then the look at what was left
 * over.
 *
 * All tables live in one arena whose size is counted first by the same function that takes them.
 */
#include "runtime/model/model.h"

#include "runtime/core/bits.h"
#include "runtime/model/build.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Upper bounds: of the tensors that belong to no layer, and of one layer's. */
enum { GLOBAL_WEIGHTS = 8, LAYER_WEIGHTS = 32, LAYER_OPS = 2 };

static void take_tables(mox_model *m, const mox_builder *b, const mox_gguf *g, mox_arena *a)
{
    m->weights = mox_arena_take(a, b->max_weights * sizeof *m->weights, _Alignof(mox_weight));
    m->ops = mox_arena_take(a, b->max_ops * sizeof *m->ops, _Alignof(mox_layer_op));
    m->inv_freq = mox_arena_take(a, m->h.n_rot / 2 * sizeof *m->inv_freq, _Alignof(double));
    size_t n_parts = m->h.kv_lora ? (size_t)m->h.n_layers * m->h.n_heads * 2 : 0; /* keys' and values' */
    m->part_mats = mox_arena_take(a, n_parts * sizeof *m->part_mats, _Alignof(mox_mat));
    m->layouts = mox_arena_take(a, m->n_moe_layers * sizeof *m->layouts, _Alignof(mox_expert_layout));
    size_t n_experts = (size_t)m->n_moe_layers * m->h.n_experts;
    if (mox_gguf_packed(g)) {
        size_t n_slices = mox_div_up(m->h.d_ff, MOX_SLICE);
        m->packed = mox_arena_take(a, m->n_moe_layers * sizeof *m->packed, _Alignof(mox_pack_layer));
        m->sums_xxh3 = mox_arena_take(a, m->n_moe_layers * sizeof *m->sums_xxh3, _Alignof(uint64_t));
        m->sums = mox_arena_take(a, n_experts * n_slices * sizeof *m->sums, _Alignof(uint64_t));
    } else {
        m->slabs = mox_arena_take(a, n_experts * MOX_SLABS * sizeof *m->slabs, _Alignof(mox_slab_place));
    }
    m->files = mox_arena_take(a, m->n_files * sizeof *m->files, _Alignof(char *));
    m->file_ids = mox_arena_take(a, m->n_files * sizeof *m->file_ids, _Alignof(mox_file_id));
    for (uint32_t i = 0; i < m->n_files; i++) {
        const char *path = mox_gguf_file(g, i);
        size_t n = strlen(path ? path : "") + 1;
        char *copy = mox_arena_take(a, n, 1);
        if (copy) {
            memcpy(copy, path ? path : "", n);
            m->files[i] = copy;
            m->file_ids[i] = *mox_gguf_file_id(g, i);
        }
    }
}

/* NVFP4 weights may come with a factor for each matrix or expert in a tensor beside them. Without it the answers are
 * wrong, so such a file is refused rather than its tensor left out. */
static mox_err check_scales(const mox_gguf *g)
{
    for (uint32_t i = 0; i < mox_gguf_n_tensors(g); i++) {
        static const char tail[] = ".scale";
        const mox_str name = mox_gguf_tensor_at(g, i)->name;
        const size_t n = sizeof tail - 1;
        if (name.n > n && memcmp(name.p + name.n - n, tail, n) == 0) {
            return MOX_FAIL(MOX_E_TENSOR, "model: tensor '%.*s': factors of whole matrices are not supported",
                            (int)name.n, name.p);
        }
    }
    return MOX_OK;
}

/* Tensors that no op uses: said once, because a forgotten tensor means a wrong model. */
static void warn_unused(const mox_builder *b)
{
    uint32_t n = mox_gguf_n_tensors(b->g);
    if (b->n_used >= n) {
        return;
    }
    mox_str first = {0};
    for (uint32_t i = 0; i < n && !first.p; i++) {
        const mox_gguf_tensor *t = mox_gguf_tensor_at(b->g, i);
        bool used = false;
        for (uint32_t j = 0; j < b->n_used && !used; j++) {
            used = b->used[j] == t;
        }
        if (!used) {
            first = t->name;
        }
    }
    mox_log_line(b->log, MOX_LOG_WARN, "model: %u of %u tensors are not used, the first is '%.*s'",
                 n - b->n_used, n, (int)first.n, first.p ? first.p : "");
}

/* Every layer has its records by now; here what holds for all of them. */
static mox_err check_packed(mox_model *m, const mox_gguf *g)
{
    const void *sums = NULL;
    uint32_t n = 0;
    MOX_TRY(mox_gguf_array(g, "moxie.pack.sums", MOX_GGUF_U64, &sums, &n));
    if (n != m->n_moe_layers) {
        return MOX_FAIL(MOX_E_KEY, "packed file: checksums of %u layers for %u with experts", n,
                        m->n_moe_layers);
    }
    for (uint32_t l = 0; l < n; l++) {
        m->sums_xxh3[l] = mox_le64((const uint8_t *)sums + 8 * (size_t)l);
    }
    return mox_pack_check(g, m->layouts, m->n_moe_layers);
}

static mox_err build(mox_model *m, mox_builder *b, const mox_family *family)
{
    m->arch = family->arch;
    b->family = family;
    mox_keys keys = {.g = b->g, .arch = family->arch};
    MOX_TRY(mox_hparams_read(m, &keys, &family->traits));
    if (family->hparams) {
        MOX_TRY(family->hparams(m, &keys));
    }
    MOX_TRY(check_scales(b->g));
    m->id = mox_gguf_id(b->g);
    m->n_files = mox_gguf_n_files(b->g);
    b->max_weights = GLOBAL_WEIGHTS + m->h.n_layers * LAYER_WEIGHTS;
    b->max_ops = m->h.n_layers * LAYER_OPS;
    mox_arena count = mox_arena_plan();
    take_tables(m, b, b->g, &count);
    MOX_TRY(mox_arena_map(&m->arena, count.used, 0));
    take_tables(m, b, b->g, &m->arena);
    mox_rope_frequencies(m);
    MOX_TRY(mox_bind_decoder(b));
    if (m->packed) {
        MOX_TRY(check_packed(m, b->g));
    }
    warn_unused(b);
    return MOX_OK;
}

mox_err mox_model_create(mox_model **out, const mox_gguf *g, const mox_log *log)
{
    const mox_family *family;
    MOX_TRY(mox_family_find(&family, g));
    mox_builder b = {.g = g, .log = log, .max_used = mox_gguf_n_tensors(g)};
    b.m = calloc(1, sizeof *b.m);
    b.used = calloc(b.max_used ? b.max_used : 1, sizeof(void *));
    mox_err err = MOX_OK;
    if (!b.m || !b.used) {
        err = MOX_FAIL(MOX_E_NO_MEMORY, "model: no memory for the table of %u tensors", b.max_used);
    } else {
        err = build(b.m, &b, family);
    }
    free(b.used);
    if (err != MOX_OK) {
        mox_model_destroy(&b.m);
        return err;
    }
    *out = b.m;
    return MOX_OK;
}

void mox_model_destroy(mox_model **m)
{
    if (*m) {
        mox_arena_unmap(&(*m)->arena);
        free(*m);
        *m = NULL;
    }
}

size_t mox_model_bytes(const mox_model *m)
{
    return sizeof *m + m->arena.bytes;
}

mox_layer_op *mox_add_op(mox_builder *b, mox_layer_op_kind kind, uint32_t layer)
{
    assert(b->m->n_ops < b->max_ops);
    mox_layer_op *op = &b->m->ops[b->m->n_ops++];
    *op = (mox_layer_op){.kind = kind, .layer = layer};
    return op;
}
