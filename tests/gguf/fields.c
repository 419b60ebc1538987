#include "gguf/fields.h"

#include <string.h>

typedef struct walk {
    gf_map *m;
    const uint8_t *p;
    size_t n, at;
} walk;

static uint64_t load(const uint8_t *p, uint32_t bytes)
{
    uint64_t v = 0;
    memcpy(&v, p, bytes);
    return v;
}

/* The field at the walk's place; false at the end of the bytes. */
static bool field(walk *w, gf_what what, uint32_t bytes, uint64_t *v)
{
    if (bytes > w->n - w->at) {
        return false;
    }
    *v = load(w->p + w->at, bytes);
    if (w->m->n_fields < GF_MAX_FIELDS) {
        w->m->f[w->m->n_fields++] = (gf_field){w->at, bytes, what};
    }
    w->at += bytes;
    return true;
}

static bool string(walk *w, gf_what what)
{
    uint64_t len = 0;
    if (!field(w, what, 8, &len) || len > w->n - w->at) {
        return false;
    }
    w->at += (size_t)len;
    return true;
}

/* 0: a string, an array, or no kind at all. */
static uint32_t kind_bytes(uint64_t kind)
{
    static const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return kind < sizeof bytes ? bytes[kind] : 0;
}

enum { KIND_STRING = 8, KIND_ARRAY = 9 };

static bool array(walk *w)
{
    uint64_t elem = 0, n = 0, v = 0;
    if (!field(w, GF_ELEM, 4, &elem) || !field(w, GF_ARRAY_N, 8, &n)) {
        return false;
    }
    uint32_t bytes = kind_bytes(elem);
    if (elem != KIND_STRING && bytes == 0) {
        return false;
    }
    uint32_t fields = w->m->n_fields;
    for (uint64_t i = 0; i < n; i++) {
        if (i == GF_MAX_ITEMS) {
            fields = w->m->n_fields;
        }
        if (i >= GF_MAX_ITEMS) {
            w->m->n_fields = fields; /* walked over, not listed */
        }
        if (!(elem == KIND_STRING ? string(w, GF_ITEM_LEN) : field(w, GF_ITEM, bytes, &v))) {
            return false;
        }
    }
    w->m->n_fields = n > GF_MAX_ITEMS ? fields : w->m->n_fields;
    return true;
}

static bool key(walk *w)
{
    uint64_t kind = 0, v = 0;
    if (!string(w, GF_KEY_LEN) || !field(w, GF_KIND, 4, &kind)) {
        return false;
    }
    return kind == KIND_STRING  ? string(w, GF_STRING_LEN)
           : kind == KIND_ARRAY ? array(w)
                                : kind_bytes(kind) != 0 && field(w, GF_SCALAR, kind_bytes(kind), &v);
}

static bool tensor(walk *w)
{
    uint64_t n_dims = 0, v = 0;
    if (!string(w, GF_NAME_LEN) || !field(w, GF_N_DIMS, 4, &n_dims) || n_dims > 8) {
        return false;
    }
    for (uint64_t i = 0; i < n_dims; i++) {
        if (!field(w, GF_NE, 8, &v)) {
            return false;
        }
    }
    return field(w, GF_TYPE, 4, &v) && field(w, GF_OFF, 8, &v);
}

bool gf_read(gf_map *m, const uint8_t *p, size_t n)
{
    walk w = {.m = m, .p = p, .n = n, .at = 4};
    uint64_t version = 0, n_tensors = 0, n_kv = 0;
    m->n_fields = m->n_kv = m->n_tensors = 0;
    m->whole = false;
    m->header_end = 0;
    if (n < 24 || !field(&w, GF_VERSION, 4, &version) || !field(&w, GF_N_TENSORS, 8, &n_tensors) ||
        !field(&w, GF_N_KV, 8, &n_kv)) {
        return false;
    }
    m->header_end = w.at;
    for (uint64_t i = 0; i < n_kv + n_tensors; i++) {
        bool is_key = i < n_kv;
        size_t begin = w.at;
        if (!(is_key ? key(&w) : tensor(&w))) {
            return true;
        }
        m->header_end = w.at;
        uint32_t *count = is_key ? &m->n_kv : &m->n_tensors;
        if (*count < GF_MAX_ENTRIES) {
            (is_key ? m->kv : m->tensor)[(*count)++] = (gf_span){begin, w.at};
        }
    }
    m->whole = true;
    return true;
}

uint64_t gf_get(const uint8_t *p, const gf_field *f)
{
    return load(p + f->at, f->bytes);
}

void gf_set(uint8_t *p, const gf_field *f, uint64_t v)
{
    memcpy(p + f->at, &v, f->bytes);
}

uint64_t gf_bad_value(uint64_t old, uint64_t left, uint64_t random)
{
    const uint64_t values[] = {0,
                               1,
                               2,
                               UINT64_MAX,
                               UINT64_MAX - 1,
                               INT64_MAX,
                               1ull << 31,
                               1ull << 32,
                               1ull << 63,
                               0x7F800000,
                               0x7FC00000,
                               0xFF800000,
                               left,
                               left + 1,
                               left - 1,
                               old + 1,
                               old - 1,
                               old * 2,
                               old / 2,
                               random,
                               random & 0xFF,
                               left / 4 + 1,
                               left / 8,
                               random & 0xFFFF};
    return values[(random >> 32) % (sizeof values / sizeof values[0])];
}
