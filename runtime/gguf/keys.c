/* Typed getters and the printable form of key/values. A caller says which range makes sense; what lies
 * outside never gets in. Integer widths are interchangeable because converters disagree about them; a float
 * is never a count. */
#include "gguf_internal.h"

#include "runtime/core/bits.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    uint32_t bytes;
} kinds[MOX_GGUF_KINDS] = {
    [MOX_GGUF_U8] = {"u8", 1},       [MOX_GGUF_I8] = {"i8", 1},     [MOX_GGUF_U16] = {"u16", 2},
    [MOX_GGUF_I16] = {"i16", 2},     [MOX_GGUF_U32] = {"u32", 4},   [MOX_GGUF_I32] = {"i32", 4},
    [MOX_GGUF_F32] = {"f32", 4},     [MOX_GGUF_BOOL] = {"bool", 1}, [MOX_GGUF_STRING] = {"string", 0},
    [MOX_GGUF_ARRAY] = {"array", 0}, [MOX_GGUF_U64] = {"u64", 8},   [MOX_GGUF_I64] = {"i64", 8},
    [MOX_GGUF_F64] = {"f64", 8},
};

const char *gguf_kind_name(mox_gguf_kind kind)
{
    return kinds[kind].name;
}

uint32_t gguf_kind_bytes(mox_gguf_kind kind)
{
    return kinds[kind].bytes;
}

/* An integer of any width: false for every other kind. Negative ones come with *negative set. */
static bool integer_at(mox_gguf_kind kind, const uint8_t *p, uint64_t *out, bool *negative)
{
    int64_t v = 0;
    switch (kind) {
    case MOX_GGUF_U8:
        v = p[0];
        break;
    case MOX_GGUF_I8:
        v = (int8_t)p[0];
        break;
    case MOX_GGUF_U16:
        v = mox_le16(p);
        break;
    case MOX_GGUF_I16:
        v = (int16_t)mox_le16(p);
        break;
    case MOX_GGUF_U32:
        v = mox_le32(p);
        break;
    case MOX_GGUF_I32:
        v = (int32_t)mox_le32(p);
        break;
    case MOX_GGUF_U64:
        *out = mox_le64(p);
        *negative = false;
        return true;
    case MOX_GGUF_I64:
        v = (int64_t)mox_le64(p);
        break;
    default:
        return false;
    }
    *negative = v < 0;
    *out = (uint64_t)v;
    return true;
}

static bool float_at(mox_gguf_kind kind, const uint8_t *p, double *out)
{
    if (kind == MOX_GGUF_F32) {
        float v;
        memcpy(&v, p, sizeof v);
        *out = (double)v;
        return true;
    }
    if (kind == MOX_GGUF_F64) {
        memcpy(out, p, sizeof *out);
        return true;
    }
    return false;
}

static mox_err missing(const char *key)
{
    return MOX_FAIL(MOX_E_KEY, "key %s is missing", key);
}

static mox_err wrong_kind(const gguf_kv *kv, const char *key, const char *wanted)
{
    bool array = kv->kind == MOX_GGUF_ARRAY;
    return MOX_FAIL(MOX_E_KEY, "key %s is %s%s; %s is expected", key, array ? "an array of " : "of kind ",
                    gguf_kind_name(array ? kv->elem : kv->kind), wanted);
}

static mox_err u32_of(const char *key, mox_gguf_kind kind, const uint8_t *p, uint32_t lo, uint32_t hi,
                      uint32_t *out)
{
    uint64_t v = 0;
    bool negative = false;
    if (!integer_at(kind, p, &v, &negative)) {
        return MOX_FAIL(MOX_E_KEY, "key %s is of kind %s; an integer is expected", key, gguf_kind_name(kind));
    }
    if (negative) {
        return MOX_FAIL(MOX_E_KEY, "key %s is %" PRId64 "; it has to be from %u to %u", key, (int64_t)v, lo,
                        hi);
    }
    if (v < lo || v > hi) {
        return MOX_FAIL(MOX_E_KEY, "key %s is %" PRIu64 "; it has to be from %u to %u", key, v, lo, hi);
    }
    *out = (uint32_t)v;
    return MOX_OK;
}

bool mox_gguf_has(const mox_gguf *g, const char *key)
{
    return gguf_kv_find(g, key) != NULL;
}

mox_err mox_gguf_u32_opt(const mox_gguf *g, const char *key, uint32_t lo, uint32_t hi, uint32_t *out)
{
    const gguf_kv *kv = gguf_kv_find(g, key);
    if (!kv) {
        return MOX_OK;
    }
    if (kv->kind == MOX_GGUF_ARRAY) {
        return wrong_kind(kv, key, "an integer");
    }
    return u32_of(key, kv->kind, kv->data, lo, hi, out);
}

mox_err mox_gguf_u64(const mox_gguf *g, const char *key, uint64_t *out)
{
    const gguf_kv *kv = gguf_kv_find(g, key);
    bool negative = false;
    if (!kv) {
        return missing(key);
    }
    if (kv->kind == MOX_GGUF_ARRAY || !integer_at(kv->kind, kv->data, out, &negative) || negative) {
        return wrong_kind(kv, key, "an integer from 0");
    }
    return MOX_OK;
}

mox_err mox_gguf_u32(const mox_gguf *g, const char *key, uint32_t lo, uint32_t hi, uint32_t *out)
{
    return mox_gguf_has(g, key) ? mox_gguf_u32_opt(g, key, lo, hi, out) : missing(key);
}

mox_err mox_gguf_f32_opt(const mox_gguf *g, const char *key, float lo, float hi, float *out)
{
    const gguf_kv *kv = gguf_kv_find(g, key);
    double v = 0;
    if (!kv) {
        return MOX_OK;
    }
    if (!float_at(kv->kind, kv->data, &v)) {
        return wrong_kind(kv, key, "a float");
    }
    if (!isfinite(v) || v < (double)lo || v > (double)hi) {
        return MOX_FAIL(MOX_E_KEY, "key %s is %g; it has to be from %g to %g", key, v, (double)lo,
                        (double)hi);
    }
    *out = (float)v;
    return MOX_OK;
}

mox_err mox_gguf_bool_opt(const mox_gguf *g, const char *key, bool *out)
{
    const gguf_kv *kv = gguf_kv_find(g, key);
    if (!kv) {
        return MOX_OK;
    }
    if (kv->kind != MOX_GGUF_BOOL) {
        return wrong_kind(kv, key, "a boolean");
    }
    *out = kv->data[0] != 0;
    return MOX_OK;
}

mox_err mox_gguf_str(const mox_gguf *g, const char *key, mox_str *out)
{
    const gguf_kv *kv = gguf_kv_find(g, key);
    if (!kv) {
        return missing(key);
    }
    if (kv->kind != MOX_GGUF_STRING) {
        return wrong_kind(kv, key, "a string");
    }
    *out = (mox_str){(const char *)kv->data, (size_t)kv->n};
    return MOX_OK;
}

mox_err mox_gguf_u32_per_layer(const mox_gguf *g, const char *key, uint32_t lo, uint32_t hi, uint32_t n,
                               uint32_t *out)
{
    const gguf_kv *kv = gguf_kv_find(g, key);
    if (!kv) {
        return missing(key);
    }
    bool array = kv->kind == MOX_GGUF_ARRAY;
    if (array && kv->elem == MOX_GGUF_STRING) {
        return wrong_kind(kv, key, "an integer or an array of them");
    }
    if (array && kv->n != n) {
        return MOX_FAIL(MOX_E_KEY, "key %s has %" PRIu64 " elements for %u layers", key, kv->n, n);
    }
    uint32_t step = array ? gguf_kind_bytes(kv->elem) : 0;
    for (uint32_t i = 0; i < n; i++) {
        MOX_TRY(u32_of(key, array ? kv->elem : kv->kind, kv->data + (size_t)i * step, lo, hi, &out[i]));
    }
    return MOX_OK;
}

mox_err mox_gguf_array(const mox_gguf *g, const char *key, mox_gguf_kind elem, const void **data, uint32_t *n)
{
    char wanted[32];
    const gguf_kv *kv = gguf_kv_find(g, key);
    if (!kv) {
        return missing(key);
    }
    if (kv->kind != MOX_GGUF_ARRAY || kv->elem != elem) {
        snprintf(wanted, sizeof wanted, "an array of %s", gguf_kind_name(elem));
        return wrong_kind(kv, key, wanted);
    }
    *data = kv->data;
    *n = (uint32_t)kv->n; /* <= MOX_GGUF_MAX_ARRAY */
    return MOX_OK;
}

mox_err mox_gguf_string_array(const mox_gguf *g, const char *key, uint32_t *n)
{
    const void *data = NULL;
    return mox_gguf_array(g, key, MOX_GGUF_STRING, &data, n);
}

/* The parse has walked over all of them: lengths need no second check. */
static const uint8_t *string_at(const uint8_t *p, mox_str *out)
{
    *out = (mox_str){(const char *)p + 8, (size_t)mox_le64(p)};
    return p + 8 + out->n;
}

bool mox_gguf_next_string(const mox_gguf *g, const char *key, const void **cursor, mox_str *out)
{
    const gguf_kv *kv = gguf_kv_find(g, key);
    if (!kv || kv->kind != MOX_GGUF_ARRAY || kv->elem != MOX_GGUF_STRING) {
        return false;
    }
    const uint8_t *p = *cursor ? *cursor : kv->data;
    if (p == kv->data + kv->bytes) {
        return false;
    }
    *cursor = string_at(p, out);
    return true;
}

uint32_t mox_gguf_n_kv(const mox_gguf *g)
{
    return g->n_kv;
}

mox_str mox_gguf_kv_key(const mox_gguf *g, uint32_t i)
{
    return g->kv[i].key;
}

mox_gguf_kind mox_gguf_kv_kind(const mox_gguf *g, uint32_t i)
{
    return g->kv[i].kind;
}

mox_gguf_value mox_gguf_kv_value(const mox_gguf *g, uint32_t i)
{
    const gguf_kv *kv = &g->kv[i];
    return (mox_gguf_value){kv->kind, kv->elem, kv->n, kv->data, kv->bytes};
}

static void scalar_text(mox_gguf_kind kind, const uint8_t *p, char *out, size_t n)
{
    uint64_t v = 0;
    double f = 0;
    bool negative = false;
    if (kind == MOX_GGUF_BOOL) {
        snprintf(out, n, "%s", p[0] ? "true" : "false");
    } else if (float_at(kind, p, &f)) {
        snprintf(out, n, "%.*g", kind == MOX_GGUF_F32 ? 9 : 17, f);
    } else if (integer_at(kind, p, &v, &negative) && negative) {
        snprintf(out, n, "%" PRId64, (int64_t)v);
    } else {
        snprintf(out, n, "%" PRIu64, v);
    }
}

/* "[32000 x f32: 0, 0, 0, ...]" */
static void array_text(const gguf_kv *kv, char *out, size_t n)
{
    enum { SHOWN = 6 };
    const uint8_t *p = kv->data;
    int used = snprintf(out, n, "[%" PRIu64 " x %s", kv->n, gguf_kind_name(kv->elem));
    for (uint64_t i = 0; i < kv->n && i < SHOWN; i++) {
        char one[64], quoted[70];
        if (kv->elem == MOX_GGUF_STRING) {
            mox_str s;
            p = string_at(p, &s);
            snprintf(quoted, sizeof quoted, "\"%s\"", mox_escape(s, one, sizeof one));
        } else {
            scalar_text(kv->elem, p, one, sizeof one);
            snprintf(quoted, sizeof quoted, "%s", one);
            p += gguf_kind_bytes(kv->elem);
        }
        if ((size_t)used + strlen(quoted) + 12 > n) {
            break;
        }
        used += snprintf(out + used, n - (size_t)used, "%s%s", i == 0 ? ": " : ", ", quoted);
    }
    if ((size_t)used < n) {
        snprintf(out + used, n - (size_t)used, "%s]", kv->n > SHOWN ? ", ..." : "");
    }
}

const char *mox_gguf_kv_text(const mox_gguf *g, uint32_t i, char *out, size_t n)
{
    const gguf_kv *kv = &g->kv[i];
    if (kv->kind == MOX_GGUF_STRING) {
        return mox_escape((mox_str){(const char *)kv->data, (size_t)kv->n}, out, n);
    }
    if (kv->kind == MOX_GGUF_ARRAY) {
        array_text(kv, out, n);
    } else {
        scalar_text(kv->kind, kv->data, out, n);
    }
    return out;
}
