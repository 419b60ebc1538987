/* Packed files: a GGUF whose expert tensors were replaced by records in the compute layout (docs/packed.md).
 *
 * The header says what the tensors and keys of the model were. Here the table that a parse left is turned back
 * into that of the model, so that everything above (families, plan, `info`) sees one kind of file: expert
 * tensors have their names, types and shapes again, but no place; the container's own tensors and keys are
 * moved out of sight. What the records hold and whether their sizes are right is checked where the layout is
 * known (runtime/pack). Nothing here is believed before it is checked: the header may be anybody's.
 */
#include "gguf_internal.h"

#include "runtime/core/bits.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char key_prefix[] = "moxie.pack.";
static const char tensor_prefix[] = "moxie.";

static bool begins(mox_str s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n >= n && memcmp(s.p, prefix, n) == 0;
}

static bool is_key(mox_str s, const char *name)
{
    return s.n == strlen(name) && memcmp(s.p, name, s.n) == 0;
}

static mox_err check_version(mox_gguf *g)
{
    MOX_TRY(mox_gguf_u32(g, "moxie.pack.version", 0, UINT32_MAX, &g->packed));
    if (g->packed != MOX_GGUF_PACK_VERSION) {
        MOX_FAIL(MOX_E_VERSION, "packed in form %u; this moxie reads form %d", g->packed,
                 MOX_GGUF_PACK_VERSION);
        return mox_err_fix("pack the original model again: moxie pack MODEL OUT");
    }
    if (mox_gguf_has(g, "split.count")) {
        return MOX_FAIL(MOX_E_SPLIT, "a packed file that says to be part of a split model");
    }
    return MOX_OK;
}

/* Keys of the container to the end of the list; the alignment is that of the model's own file again. */
static mox_err restore_keys(mox_gguf *g)
{
    uint32_t alignment = 0;
    MOX_TRY(mox_gguf_u64(g, "moxie.pack.source.id", &g->id));
    MOX_TRY(mox_gguf_u32(g, "moxie.pack.source.alignment", 0, UINT32_MAX, &alignment));
    const gguf_kv *kept = gguf_kv_find(g, "moxie.pack.source.alignment");
    if (kept->kind != MOX_GGUF_U32) {
        return MOX_FAIL(MOX_E_KEY, "key moxie.pack.source.alignment is of kind %s; it has to be u32",
                        gguf_kind_name(kept->kind));
    }
    const uint8_t *value = kept->data;
    gguf_kv *sorted = calloc((size_t)g->n_keys + 1, sizeof *sorted);
    if (!sorted) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a table of %u keys", g->n_keys);
    }
    uint32_t n = 0;
    for (int hidden = 0; hidden < 2; hidden++) {
        for (uint32_t i = 0; i < g->n_keys; i++) {
            bool aligns = is_key(g->kv[i].key, "general.alignment");
            bool own = begins(g->kv[i].key, key_prefix) || (aligns && alignment == 0);
            if (own == (hidden != 0)) {
                sorted[n] = g->kv[i];
                sorted[n].data = aligns ? value : sorted[n].data;
                n++;
            }
        }
        g->n_kv = hidden ? g->n_kv : n;
    }
    free(g->kv);
    g->kv = sorted;
    return gguf_index_keys(g);
}

/* The lists of names, types and sizes of the tensors that were replaced. */
typedef struct replaced {
    uint32_t n;
    const uint8_t *types; /* u32 each */
    const uint8_t *dims;  /* MOX_GGUF_MAX_DIMS u64 each */
} replaced;

static mox_err find_replaced(const mox_gguf *g, replaced *r)
{
    const void *types = NULL, *dims = NULL;
    uint32_t n_types = 0, n_dims = 0;
    MOX_TRY(mox_gguf_string_array(g, "moxie.pack.tensor.names", &r->n));
    MOX_TRY(mox_gguf_array(g, "moxie.pack.tensor.types", MOX_GGUF_U32, &types, &n_types));
    MOX_TRY(mox_gguf_array(g, "moxie.pack.tensor.dims", MOX_GGUF_U64, &dims, &n_dims));
    if (r->n > MOX_GGUF_MAX_TENSORS || n_types != r->n || n_dims != r->n * MOX_GGUF_MAX_DIMS) {
        return MOX_FAIL(MOX_E_KEY,
                        "moxie.pack.tensor: %u names, %u types and %u sizes do not belong together", r->n,
                        n_types, n_dims);
    }
    r->types = types;
    r->dims = dims;
    return MOX_OK;
}

static mox_err restore_one(const replaced *r, uint32_t i, mox_str name, mox_gguf_tensor *out)
{
    char shown[MOX_GGUF_MAX_NAME * 4 + 1];
    if (!gguf_is_tensor_name(name) || name.n > MOX_GGUF_MAX_NAME || begins(name, tensor_prefix)) {
        return MOX_FAIL(MOX_E_TENSOR, "moxie.pack.tensor.names holds the malformed name \"%s\"",
                        mox_escape(name, shown, sizeof shown));
    }
    *out = (mox_gguf_tensor){
        .name = name, .type = mox_le32(r->types + 4 * (size_t)i), .n_dims = 1, .packed = true};
    for (uint32_t d = 0; d < MOX_GGUF_MAX_DIMS; d++) {
        out->ne[d] = mox_le64(r->dims + 8 * ((size_t)i * MOX_GGUF_MAX_DIMS + d));
        out->n_dims = out->ne[d] != 1 ? d + 1 : out->n_dims;
    }
    return gguf_size_tensor(out, mox_escape(name, shown, sizeof shown));
}

/* The container's tensors go to records[], those that they replaced come back. */
static mox_err restore_tensors(mox_gguf *g)
{
    replaced r = {0};
    MOX_TRY(find_replaced(g, &r));
    size_t most = (size_t)g->n_tensors + r.n + 1;
    mox_gguf_tensor *tensors = calloc(most, sizeof *tensors);
    const mox_gguf_tensor **by_name = calloc(most, sizeof(void *));
    g->records = calloc((size_t)g->n_tensors + 1, sizeof *g->records);
    mox_err err = MOX_OK;
    uint32_t n = 0;
    const void *cursor = NULL;
    mox_str name;
    if (!tensors || !by_name || !g->records) {
        err = MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a table of %zu tensors", most);
        goto fail;
    }
    for (uint32_t i = 0; i < g->n_tensors; i++) {
        bool own = begins(g->tensors[i].name, tensor_prefix);
        *(own ? &g->records[g->n_records++] : &tensors[n++]) = g->tensors[i];
    }
    for (uint32_t i = 0; i < r.n; i++) {
        mox_gguf_next_string(g, "moxie.pack.tensor.names", &cursor, &name);
        MOX_TRY_GOTO(err, restore_one(&r, i, name, &tensors[n++]), fail);
    }
    free(g->tensors);
    free(g->by_name);
    g->tensors = tensors;
    g->by_name = by_name;
    g->n_tensors = n;
    return gguf_index_tensors(g);
fail:
    free(tensors);
    free(by_name);
    return err;
}

mox_err gguf_restore(mox_gguf *g)
{
    if (!gguf_kv_find(g, "moxie.pack.version")) {
        return MOX_OK;
    }
    MOX_TRY(check_version(g));
    MOX_TRY(restore_keys(g));
    return restore_tensors(g);
}

uint32_t mox_gguf_packed(const mox_gguf *g)
{
    return g->packed;
}

const mox_gguf_tensor *mox_gguf_record(const mox_gguf *g, const char *name)
{
    for (uint32_t i = 0; i < g->n_records; i++) {
        if (is_key(g->records[i].name, name)) {
            return &g->records[i];
        }
    }
    return NULL;
}
