/* The pure parser: header bytes -> table, or one error with the byte where it was found.
 *
 * Every read goes through one cursor whose only test is `n <= len - pos`; after the first failure it returns
 * zeros, and the caller asks once per record. Counts are limited before anything is allocated (by the named
 * limits and by how many records the rest of the file could hold), and all sizes go through core/bits.h. What
 * was read is a table of pointers into the header; vocabularies are never copied.
 *
 * Callers: mox_gguf_open with a header of growing length, tests and fuzzers with anything.
 */
#include "gguf_internal.h"

#include "runtime/core/bits.h"
#include "runtime/core/hash.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The shortest encodings: an empty key is refused, so 8 + 1 + 4 + 1 bytes; 8 + 1 + 4 + 8 + 4 + 8 for a
 * tensor. */
enum { MIN_KV_BYTES = 14, MIN_TENSOR_BYTES = 33, MIN_STRING_BYTES = 8 };
enum { DEFAULT_ALIGNMENT = 32, MIN_ALIGNMENT = 8, MAX_ALIGNMENT = 65536 };

typedef struct cursor {
    const uint8_t *base;
    uint64_t len, pos;
    uint64_t file_bytes; /* >= len */
    uint64_t want;       /* bytes that the read that failed asked for */
    bool failed;
    uint64_t *need; /* for the caller of mox_gguf_parse */
} cursor;

static const uint8_t *take(cursor *c, uint64_t n)
{
    if (c->failed || n > c->len - c->pos) {
        c->want = c->failed ? c->want : n;
        c->failed = true;
        return NULL;
    }
    const uint8_t *p = c->base + c->pos;
    c->pos += n;
    return p;
}

static uint32_t take_u32(cursor *c)
{
    const uint8_t *p = take(c, 4);
    return p ? mox_le32(p) : 0;
}

static uint64_t take_u64(cursor *c)
{
    const uint8_t *p = take(c, 8);
    return p ? mox_le64(p) : 0;
}

/* The error for a cursor that failed: the header goes on beyond what was read, or the file ends. */
static mox_err cut_off(cursor *c, const char *what)
{
    if (c->want > c->file_bytes - c->pos) {
        MOX_FAIL(MOX_E_TRUNCATED,
                 "the file ends inside %s: %" PRIu64 " bytes are needed at byte %" PRIu64 ", %" PRIu64
                 " are there",
                 what, c->want, c->pos, c->file_bytes - c->pos);
        return mox_err_fix("the download may be incomplete; compare its size with the source");
    }
    uint64_t need = 0;
    if (!mox_add_u64(c->pos, c->want, &need) || need > MOX_GGUF_MAX_METADATA) {
        return MOX_FAIL(MOX_E_LIMIT, "the header is longer than %" PRIu64 " bytes (at %s, byte %" PRIu64 ")",
                        (uint64_t)MOX_GGUF_MAX_METADATA, what, c->pos);
    }
    *c->need = need;
    return MOX_FAIL(MOX_E_TRUNCATED, "the header goes on after the %" PRIu64 " bytes read (inside %s)",
                    c->len, what);
}

static mox_err take_string(cursor *c, uint64_t max, const char *what, mox_str *out)
{
    uint64_t n = take_u64(c);
    if (!c->failed && n > max) {
        return MOX_FAIL(MOX_E_LIMIT,
                        "%s at byte %" PRIu64 " has %" PRIu64 " bytes, more than the %" PRIu64 " allowed",
                        what, c->pos - 8, n, max);
    }
    const uint8_t *p = take(c, n);
    if (c->failed) {
        return cut_off(c, what);
    }
    *out = (mox_str){(const char *)p, (size_t)n};
    return MOX_OK;
}

static mox_err check_bools(const gguf_kv *kv, const uint8_t *p, uint64_t n)
{
    char key[96];
    for (uint64_t i = 0; i < n; i++) {
        if (p[i] > 1) {
            return MOX_FAIL(MOX_E_KEY, "key %s: the boolean %u is neither 0 nor 1",
                            mox_escape(kv->key, key, sizeof key), p[i]);
        }
    }
    return MOX_OK;
}

static mox_err take_strings(cursor *c, gguf_kv *kv)
{
    for (uint64_t i = 0; i < kv->n; i++) {
        mox_str s;
        MOX_TRY(take_string(c, MOX_GGUF_MAX_STRING, "a string of an array", &s));
    }
    return MOX_OK;
}

static mox_err take_array(cursor *c, gguf_kv *kv)
{
    char key[96];
    uint32_t elem = take_u32(c);
    kv->n = take_u64(c);
    if (c->failed) {
        return cut_off(c, "an array");
    }
    mox_escape(kv->key, key, sizeof key);
    if (elem == MOX_GGUF_ARRAY) {
        return MOX_FAIL(MOX_E_KEY, "key %s is an array of arrays, which the format does not use", key);
    }
    if (elem >= MOX_GGUF_KINDS) {
        return MOX_FAIL(MOX_E_KEY, "key %s is an array of the unknown kind %u", key, elem);
    }
    kv->elem = (mox_gguf_kind)elem;
    if (kv->n > MOX_GGUF_MAX_ARRAY) {
        return MOX_FAIL(MOX_E_LIMIT, "key %s is an array of %" PRIu64 " elements, more than the %d allowed",
                        key, kv->n, MOX_GGUF_MAX_ARRAY);
    }
    kv->data = c->base + c->pos;
    uint64_t start = c->pos;
    uint64_t least = elem == MOX_GGUF_STRING ? MIN_STRING_BYTES : gguf_kind_bytes(kv->elem);
    if (!mox_mul_u64(kv->n, least, &least) || least > c->file_bytes - c->pos) {
        return MOX_FAIL(MOX_E_TRUNCATED,
                        "key %s is an array of %" PRIu64 " elements, but %" PRIu64
                        " bytes of the file are left",
                        key, kv->n, c->file_bytes - c->pos);
    }
    if (elem == MOX_GGUF_STRING) {
        MOX_TRY(take_strings(c, kv));
    } else if (!take(c, least)) {
        return cut_off(c, "an array");
    }
    kv->bytes = c->pos - start;
    return elem == MOX_GGUF_BOOL ? check_bools(kv, kv->data, kv->n) : MOX_OK;
}

static mox_err take_kv(cursor *c, gguf_kv *kv)
{
    char key[96];
    uint64_t at = c->pos;
    MOX_TRY(take_string(c, MOX_GGUF_MAX_KEY, "a key", &kv->key));
    if (!gguf_is_name(kv->key)) {
        return MOX_FAIL(MOX_E_KEY, "the key at byte %" PRIu64 " is %s", at,
                        kv->key.n ? "not printable UTF-8" : "empty");
    }
    uint32_t kind = take_u32(c);
    if (c->failed) {
        return cut_off(c, "the kind of a value");
    }
    if (kind >= MOX_GGUF_KINDS) {
        return MOX_FAIL(MOX_E_KEY, "key %s (byte %" PRIu64 ") has the unknown kind %u",
                        mox_escape(kv->key, key, sizeof key), at, kind);
    }
    kv->kind = (mox_gguf_kind)kind;
    if (kind == MOX_GGUF_ARRAY) {
        return take_array(c, kv);
    }
    if (kind == MOX_GGUF_STRING) {
        mox_str s;
        MOX_TRY(take_string(c, MOX_GGUF_MAX_STRING, "a string", &s));
        kv->data = (const uint8_t *)s.p;
        kv->n = kv->bytes = s.n;
        return MOX_OK;
    }
    kv->n = 1;
    kv->bytes = gguf_kind_bytes(kv->kind);
    kv->data = take(c, kv->bytes);
    if (!kv->data) {
        return cut_off(c, "a value");
    }
    return kind == MOX_GGUF_BOOL ? check_bools(kv, kv->data, 1) : MOX_OK;
}

mox_err gguf_size_tensor(mox_gguf_tensor *t, const char *name)
{
    char type[64];
    const mox_type_desc *info = mox_type_info(t->type);
    if (!info) {
        return MOX_FAIL(MOX_E_TYPE, "tensor %s has type %s", name,
                        gguf_type_text(t->type, type, sizeof type));
    }
    for (uint32_t i = 0; i < t->n_dims; i++) {
        if (t->ne[i] == 0 || t->ne[i] > INT64_MAX) {
            return MOX_FAIL(MOX_E_TENSOR, "tensor %s has %" PRId64 " elements in dimension %u", name,
                            (int64_t)t->ne[i], i);
        }
    }
    if (t->ne[0] % info->block_elems) {
        return MOX_FAIL(MOX_E_TENSOR,
                        "tensor %s has rows of %" PRIu64
                        " elements, which do not divide into %s blocks of %u",
                        name, t->ne[0], info->name, info->block_elems);
    }
    uint64_t elems = t->ne[0];
    bool fits = mox_mul_u64(t->ne[0] / info->block_elems, info->block_bytes, &t->bytes);
    for (uint32_t i = 1; fits && i < t->n_dims; i++) {
        fits = mox_mul_u64(t->bytes, t->ne[i], &t->bytes) && mox_mul_u64(elems, t->ne[i], &elems);
    }
    if (!fits || t->bytes > INT64_MAX) {
        return MOX_FAIL(MOX_E_TENSOR, "tensor %s would have more than 2^63 bytes", name);
    }
    return MOX_OK;
}

static mox_err take_tensor(cursor *c, mox_gguf_tensor *t)
{
    char name[MOX_GGUF_MAX_NAME * 4 + 1];
    uint64_t at = c->pos;
    MOX_TRY(take_string(c, MOX_GGUF_MAX_NAME, "a tensor name", &t->name));
    mox_escape(t->name, name, sizeof name);
    if (!gguf_is_tensor_name(t->name)) {
        return MOX_FAIL(MOX_E_TENSOR, "the tensor at byte %" PRIu64 " has the malformed name \"%s\"", at,
                        name);
    }
    t->n_dims = take_u32(c);
    if (!c->failed && (t->n_dims < 1 || t->n_dims > MOX_GGUF_MAX_DIMS)) {
        return MOX_FAIL(MOX_E_TENSOR, "tensor %s has %u dimensions; 1 to %d are possible", name, t->n_dims,
                        MOX_GGUF_MAX_DIMS);
    }
    for (uint32_t i = 0; i < MOX_GGUF_MAX_DIMS; i++) {
        t->ne[i] = i < t->n_dims ? take_u64(c) : 1;
    }
    t->type = take_u32(c);
    t->off = take_u64(c);
    return c->failed ? cut_off(c, "the description of a tensor") : gguf_size_tensor(t, name);
}

static mox_err read_alignment(const mox_gguf *g, uint64_t *out)
{
    const gguf_kv *kv = gguf_kv_find(g, "general.alignment");
    *out = DEFAULT_ALIGNMENT;
    if (!kv) {
        return MOX_OK;
    }
    if (kv->kind != MOX_GGUF_U32) {
        return MOX_FAIL(MOX_E_KEY, "general.alignment is of kind %s; it has to be u32",
                        gguf_kind_name(kv->kind));
    }
    *out = mox_le32(kv->data);
    if (*out < MIN_ALIGNMENT || *out > MAX_ALIGNMENT || (*out & (*out - 1))) {
        return MOX_FAIL(MOX_E_KEY,
                        "general.alignment is %" PRIu64 "; it has to be a power of two from %d to %d", *out,
                        MIN_ALIGNMENT, MAX_ALIGNMENT);
    }
    return MOX_OK;
}

static int by_offset(const void *a, const void *b)
{
    const mox_gguf_tensor *x = *(const mox_gguf_tensor *const *)a, *y = *(const mox_gguf_tensor *const *)b;
    return (x->off > y->off) - (x->off < y->off);
}

/* Offsets become absolute; each range lies inside the file, aligned; no two overlap. by_name serves as
 * scratch. */
static mox_err place_tensors(mox_gguf *g, uint64_t header, uint64_t alignment)
{
    char name[MOX_GGUF_MAX_NAME * 4 + 1], other[MOX_GGUF_MAX_NAME * 4 + 1];
    uint64_t file = g->parts[0].bytes, start = 0, used = 0, whole = 0;
    const mox_gguf_tensor *last = NULL;
    if (!mox_align_u64(header, alignment, &start)) {
        return MOX_FAIL(MOX_E_LIMIT, "a header of %" PRIu64 " bytes", header);
    }
    for (uint32_t i = 0; i < g->n_tensors; i++) {
        mox_gguf_tensor *t = &g->tensors[i];
        uint64_t end = 0;
        mox_escape(t->name, name, sizeof name);
        if (t->off & (alignment - 1)) {
            return MOX_FAIL(MOX_E_TENSOR, "tensor %s begins at offset %" PRIu64 ", no multiple of %" PRIu64,
                            name, t->off, alignment);
        }
        if (!mox_add_u64(t->off, start, &t->off) || !mox_add_u64(t->off, t->bytes, &end)) {
            return MOX_FAIL(MOX_E_TENSOR, "tensor %s ends beyond 2^64", name);
        }
        if (end > whole) {
            whole = end;
            last = t;
        }
        g->by_name[i] = t;
    }
    if (whole > file) {
        MOX_FAIL(MOX_E_TRUNCATED, "the file has %" PRIu64 " bytes and needs %" PRIu64 " (up to tensor %s)",
                 file, whole, mox_escape(last->name, name, sizeof name));
        return mox_err_fix("the download may be incomplete; compare its size with the source");
    }
    if (g->n_tensors == 0) {
        g->parts[0].unused = file - header;
        return MOX_OK;
    }
    qsort(g->by_name, g->n_tensors, sizeof g->by_name[0], by_offset);
    for (uint32_t i = 0; i < g->n_tensors; i++) {
        const mox_gguf_tensor *t = g->by_name[i], *next = i + 1 < g->n_tensors ? g->by_name[i + 1] : NULL;
        uint64_t end = t->off + t->bytes;
        if (next && end > next->off) {
            return MOX_FAIL(MOX_E_TENSOR, "tensors %s and %s overlap at byte %" PRIu64,
                            mox_escape(t->name, name, sizeof name),
                            mox_escape(next->name, other, sizeof other), next->off);
        }
        if (!mox_align_u64(end, alignment, &used) || used > file) {
            used = file;
        }
        g->parts[0].unused += (next ? next->off : file) - used;
    }
    g->parts[0].unused += g->by_name[0]->off - start;
    return MOX_OK;
}

static mox_err check_magic(const uint8_t *p, size_t len, uint64_t file_bytes)
{
    if (len >= 4 && memcmp(p, "GGUF", 4) == 0) {
        return MOX_OK;
    }
    if (file_bytes == 0) {
        MOX_FAIL(MOX_E_NOT_GGUF, "the file is empty");
        return mox_err_fix("download the model again");
    }
    const char *fix = NULL, *what = gguf_sniff(p, len, file_bytes, &fix);
    if (what) {
        MOX_FAIL(MOX_E_NOT_GGUF, "not a GGUF file: this is %s", what);
        return fix ? mox_err_fix("%s", fix) : MOX_E_NOT_GGUF;
    }
    char start[32];
    return MOX_FAIL(MOX_E_NOT_GGUF, "not a GGUF file: it begins with \"%s\"",
                    mox_escape((mox_str){(const char *)p, len < 4 ? len : 4}, start, sizeof start));
}

static mox_err take_counts(cursor *c, mox_gguf *g)
{
    take(c, 4);
    g->version = take_u32(c);
    if (!c->failed && (g->version == 0x02000000 || g->version == 0x03000000)) {
        MOX_FAIL(MOX_E_VERSION, "a big-endian GGUF file (version %u with its bytes swapped)",
                 g->version >> 24);
        return mox_err_fix("a little-endian version of the model is needed");
    }
    if (!c->failed && g->version != 2 && g->version != 3) {
        MOX_FAIL(MOX_E_VERSION, "GGUF version %u; 2 and 3 can be read", g->version);
        return mox_err_fix(g->version == 1 ? "a newer GGUF of the model is needed; version 1 was used in 2023"
                                           : "the file may be damaged, or made for a newer moxie");
    }
    uint64_t n_tensors = take_u64(c), n_kv = take_u64(c);
    if (c->failed) {
        return cut_off(c, "the first 24 bytes");
    }
    uint64_t left = c->file_bytes - c->pos;
    if (n_tensors > MOX_GGUF_MAX_TENSORS || n_kv > MOX_GGUF_MAX_KV) {
        return MOX_FAIL(MOX_E_LIMIT, "%" PRIu64 " tensors and %" PRIu64 " keys; %d and %d are allowed",
                        n_tensors, n_kv, MOX_GGUF_MAX_TENSORS, MOX_GGUF_MAX_KV);
    }
    if (n_tensors > left / MIN_TENSOR_BYTES || n_kv > left / MIN_KV_BYTES) {
        return MOX_FAIL(MOX_E_TRUNCATED,
                        "%" PRIu64 " tensors and %" PRIu64 " keys cannot be described in the %" PRIu64
                        " bytes that are left",
                        n_tensors, n_kv, left);
    }
    g->n_tensors = (uint32_t)n_tensors;
    g->n_kv = g->n_keys = (uint32_t)n_kv;
    return MOX_OK;
}

static mox_err alloc_tables(mox_gguf *g)
{
    /* One more than needed: calloc(0) may return NULL. */
    g->kv = calloc((size_t)g->n_kv + 1, sizeof *g->kv);
    g->by_key = calloc((size_t)g->n_kv + 1, sizeof *g->by_key);
    g->tensors = calloc((size_t)g->n_tensors + 1, sizeof *g->tensors);
    g->by_name = calloc((size_t)g->n_tensors + 1, sizeof *g->by_name);
    if (!g->kv || !g->by_key || !g->tensors || !g->by_name) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a table of %u keys and %u tensors", g->n_kv,
                        g->n_tensors);
    }
    return MOX_OK;
}

static mox_err parse_into(mox_gguf *g, cursor *c)
{
    uint64_t alignment = 0;
    MOX_TRY(check_magic(c->base, (size_t)c->len, c->file_bytes));
    MOX_TRY(take_counts(c, g));
    MOX_TRY(alloc_tables(g));
    for (uint32_t i = 0; i < g->n_kv; i++) {
        MOX_TRY(take_kv(c, &g->kv[i]));
    }
    MOX_TRY(gguf_index_keys(g));
    MOX_TRY(read_alignment(g, &alignment));
    for (uint32_t i = 0; i < g->n_tensors; i++) {
        MOX_TRY(take_tensor(c, &g->tensors[i]));
    }
    if (c->pos > MOX_GGUF_MAX_METADATA) {
        return MOX_FAIL(MOX_E_LIMIT, "the header has %" PRIu64 " bytes, more than the %" PRIu64 " allowed",
                        c->pos, (uint64_t)MOX_GGUF_MAX_METADATA);
    }
    MOX_TRY(place_tensors(g, c->pos, alignment));
    MOX_TRY(gguf_index_tensors(g));
    g->id = mox_hash64(c->base, (size_t)c->pos, 0);
    return gguf_restore(g);
}

mox_err mox_gguf_parse(mox_gguf **out, const void *data, size_t len, uint64_t file_bytes, uint64_t *need)
{
    uint64_t ignored = 0;
    cursor c = {.base = data, .len = len < file_bytes ? len : file_bytes, .file_bytes = file_bytes};
    c.need = need ? need : &ignored;
    *c.need = 0;
    mox_gguf *g = calloc(1, sizeof *g);
    if (!g || !(g->parts = calloc(1, sizeof *g->parts))) {
        free(g);
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for the table of a model file");
    }
    g->n_parts = 1;
    g->parts[0].bytes = file_bytes;
    mox_err err = parse_into(g, &c);
    if (err != MOX_OK) {
        mox_gguf_close(&g);
        return err;
    }
    *out = g;
    return MOX_OK;
}
