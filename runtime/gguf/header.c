/* See header.h. */
#include "runtime/gguf/header.h"

#include <stdlib.h>
#include <string.h>

void mox_bytes_put(mox_bytes *b, const void *data, size_t n)
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

void mox_bytes_u32(mox_bytes *b, uint32_t v)
{
    mox_bytes_put(b, &v, sizeof v);
}

void mox_bytes_u64(mox_bytes *b, uint64_t v)
{
    mox_bytes_put(b, &v, sizeof v);
}

void mox_bytes_str(mox_bytes *b, const char *s, size_t n)
{
    mox_bytes_u64(b, n);
    mox_bytes_put(b, s, n);
}

void mox_bytes_pad(mox_bytes *b, size_t align)
{
    static const uint8_t zeros[64];
    while (!b->failed && b->n % align != 0) {
        size_t pad = align - b->n % align;
        mox_bytes_put(b, zeros, pad < sizeof zeros ? pad : sizeof zeros);
    }
}

size_t mox_bytes_magic(mox_bytes *b, uint64_t n_tensors)
{
    mox_bytes_put(b, "GGUF", 4);
    mox_bytes_u32(b, 3);
    mox_bytes_u64(b, n_tensors);
    mox_bytes_u64(b, 0);
    return b->n - sizeof(uint64_t);
}

void mox_bytes_key(mox_bytes *b, const char *name, mox_gguf_kind kind)
{
    mox_bytes_str(b, name, strlen(name));
    mox_bytes_u32(b, kind);
    b->n_keys++;
}

void mox_bytes_array_key(mox_bytes *b, const char *name, mox_gguf_kind elem, uint64_t n)
{
    mox_bytes_key(b, name, MOX_GGUF_ARRAY);
    mox_bytes_u32(b, elem);
    mox_bytes_u64(b, n);
}

void mox_bytes_copy_key(mox_bytes *b, const mox_gguf *g, uint32_t i)
{
    mox_str name = mox_gguf_kv_key(g, i);
    mox_gguf_value v = mox_gguf_kv_value(g, i);
    mox_bytes_str(b, name.p, name.n);
    mox_bytes_u32(b, v.kind);
    if (v.kind == MOX_GGUF_ARRAY) {
        mox_bytes_u32(b, v.elem);
    }
    if (v.kind == MOX_GGUF_ARRAY || v.kind == MOX_GGUF_STRING) {
        mox_bytes_u64(b, v.n);
    }
    mox_bytes_put(b, v.data, v.bytes);
    b->n_keys++;
}

void mox_bytes_tensor(mox_bytes *b, mox_str name, uint32_t n_dims, const uint64_t *ne, uint32_t type,
                      uint64_t off)
{
    mox_bytes_str(b, name.p, name.n);
    mox_bytes_u32(b, n_dims);
    mox_bytes_put(b, ne, n_dims * sizeof *ne);
    mox_bytes_u32(b, type);
    mox_bytes_u64(b, off);
}

bool mox_gguf_of_files(mox_str key)
{
    static const char *const names[] = {"general.alignment", "split.no", "split.count",
                                        "split.tensors.count"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (key.n == strlen(names[i]) && memcmp(key.p, names[i], key.n) == 0) {
            return true;
        }
    }
    return false;
}
