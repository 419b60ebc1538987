/* The table that a parse leaves: its two sorted indices, and reading it. */
#include "gguf_internal.h"

#include <stdlib.h>
#include <string.h>

int gguf_str_cmp(mox_str a, mox_str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

static int by_key(const void *a, const void *b)
{
    return gguf_str_cmp((*(const gguf_kv *const *)a)->key, (*(const gguf_kv *const *)b)->key);
}

static int by_name(const void *a, const void *b)
{
    return gguf_str_cmp((*(const mox_gguf_tensor *const *)a)->name,
                        (*(const mox_gguf_tensor *const *)b)->name);
}

mox_err gguf_index_keys(mox_gguf *g)
{
    char key[96];
    for (uint32_t i = 0; i < g->n_keys; i++) {
        g->by_key[i] = &g->kv[i];
    }
    qsort(g->by_key, g->n_keys, sizeof g->by_key[0], by_key);
    for (uint32_t i = 1; i < g->n_keys; i++) {
        if (by_key(&g->by_key[i - 1], &g->by_key[i]) == 0) {
            return MOX_FAIL(MOX_E_KEY, "key %s occurs twice", mox_escape(g->by_key[i]->key, key, sizeof key));
        }
    }
    return MOX_OK;
}

mox_err gguf_index_tensors(mox_gguf *g)
{
    char name[MOX_GGUF_MAX_NAME * 4 + 1];
    for (uint32_t i = 0; i < g->n_tensors; i++) {
        g->by_name[i] = &g->tensors[i];
    }
    qsort(g->by_name, g->n_tensors, sizeof g->by_name[0], by_name);
    for (uint32_t i = 1; i < g->n_tensors; i++) {
        if (by_name(&g->by_name[i - 1], &g->by_name[i]) == 0) {
            return MOX_FAIL(MOX_E_TENSOR, "tensor %s occurs twice",
                            mox_escape(g->by_name[i]->name, name, sizeof name));
        }
    }
    return MOX_OK;
}

const gguf_kv *gguf_kv_find(const mox_gguf *g, const char *key)
{
    gguf_kv wanted = {.key = {key, strlen(key)}};
    const gguf_kv *p = &wanted;
    const gguf_kv **hit = bsearch(&p, g->by_key, g->n_keys, sizeof g->by_key[0], by_key);
    return hit ? *hit : NULL;
}

const mox_gguf_tensor *mox_gguf_find(const mox_gguf *g, const char *name)
{
    mox_gguf_tensor wanted = {.name = {name, strlen(name)}};
    const mox_gguf_tensor *p = &wanted;
    const mox_gguf_tensor **hit = bsearch(&p, g->by_name, g->n_tensors, sizeof g->by_name[0], by_name);
    return hit ? *hit : NULL;
}

void mox_gguf_close(mox_gguf **g)
{
    mox_gguf *o = *g;
    *g = NULL;
    if (!o) {
        return;
    }
    for (uint32_t i = 0; o->parts && i < o->n_parts; i++) {
        free(o->parts[i].path);
        free(o->parts[i].owned);
    }
    free(o->parts);
    free(o->kv);
    free(o->by_key);
    free(o->tensors);
    free(o->records);
    free(o->by_name);
    free(o);
}

uint32_t mox_gguf_version(const mox_gguf *g)
{
    return g->version;
}

uint32_t mox_gguf_n_files(const mox_gguf *g)
{
    return g->n_parts;
}

const char *mox_gguf_file(const mox_gguf *g, uint32_t i)
{
    return g->parts[i].path;
}

uint64_t mox_gguf_file_bytes(const mox_gguf *g, uint32_t i)
{
    return g->parts[i].bytes;
}

const mox_file_id *mox_gguf_file_id(const mox_gguf *g, uint32_t i)
{
    return &g->parts[i].id;
}

uint32_t mox_gguf_n_tensors(const mox_gguf *g)
{
    return g->n_tensors;
}

const mox_gguf_tensor *mox_gguf_tensor_at(const mox_gguf *g, uint32_t i)
{
    return &g->tensors[i];
}

uint64_t mox_gguf_id(const mox_gguf *g)
{
    return g->id;
}

uint64_t mox_gguf_unused_bytes(const mox_gguf *g)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < g->n_parts; i++) {
        sum += g->parts[i].unused;
    }
    return sum;
}
