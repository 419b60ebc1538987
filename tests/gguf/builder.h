/* Builds GGUF files in memory and remembers where each field went, so that a test can say "the toy model, but
 * with n_dims of the second tensor 5". Nothing here shares code with the reader under test.
 */
#ifndef MOX_TESTS_GGUF_BUILDER_H
#define MOX_TESTS_GGUF_BUILDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Value kinds and tensor types by their numbers in the format. */
enum { K_U8, K_I8, K_U16, K_I16, K_U32, K_I32, K_F32, K_BOOL, K_STRING, K_ARRAY, K_U64, K_I64, K_F64 };
enum { T_F32 = 0, T_F16 = 1, T_Q4_0 = 2, T_Q8_0 = 8, T_Q4_K = 12, T_F64 = 28 };

typedef struct gb_field {
    char name[56]; /* "n_tensors", "len key general.name", "kind KEY", "value KEY", "ne0 TENSOR", "off
                      TENSOR", ... */
    size_t off;
    uint32_t bytes; /* 1, 2, 4 or 8; 0: a place */
} gb_field;

typedef struct gb {
    uint8_t *p;
    size_t n, cap;
    gb_field *fields;
    size_t n_fields, cap_fields;
    uint64_t n_kv, n_tensors;
} gb;

void gb_free(gb *b);
void gb_bytes(gb *b, const void *p, size_t n);
void gb_field_put(gb *b, const char *name, const char *of, uint64_t v, uint32_t bytes);
/* magic, version, and the counts, which gb_finish fills in */
void gb_begin(gb *b, uint32_t version);
void gb_finish(gb *b);
void gb_kv_u32(gb *b, const char *key, uint32_t v);
void gb_kv_int(gb *b, const char *key, uint32_t kind, uint64_t v);
void gb_kv_f32(gb *b, const char *key, float v);
void gb_kv_f64(gb *b, const char *key, double v);
void gb_kv_bool(gb *b, const char *key, uint8_t v);
void gb_kv_str(gb *b, const char *key, const char *v);
void gb_kv_strn(gb *b, const char *key, size_t n_key, const void *v, size_t n);
void gb_kv_strings(gb *b, const char *key, const char *const *v, size_t n);
/* an array of scalars from memory */
void gb_kv_array(gb *b, const char *key, uint32_t kind, const void *v, size_t n, size_t elem_bytes);
void gb_tensor(gb *b, const char *name, uint32_t n_dims, const uint64_t *ne, uint32_t type, uint64_t off);
void gb_pad(gb *b, size_t align);
void gb_zeros(gb *b, size_t n);
/* a name for the place where the next byte goes */
void gb_mark(gb *b, const char *name, const char *of);

size_t gb_at(const gb *b, const char *field); /* offset; aborts if there is no such field */
void gb_set(gb *b, const char *field, uint64_t v);
uint64_t gb_get(const gb *b, const gb_field *f);

/* The toy: a small valid model with every kind of value. `more` (may be NULL) adds keys, `more_tensors`
 * tensors that come after the others without data of their own unless it adds some. */
typedef struct toy_extra {
    void (*keys)(gb *b);
    void (*tensors)(gb *b, uint64_t next_off);
    size_t data; /* bytes of data after those of the toy */
    uint32_t version;
} toy_extra;
void toy_build(gb *b, const toy_extra *extra);
enum { TOY_TENSORS = 6, TOY_VOCAB = 7, TOY_DATA = 4992 }; /* bytes of the padded tensors */

/* A directory of its own for a test's files, removed with all in it. */
typedef struct tmpdir {
    char path[256];
} tmpdir;
void tmpdir_make(tmpdir *d);
void tmpdir_remove(tmpdir *d);
/* path of a name in it, in a static buffer of the last 8 calls */
const char *tmpdir_path(const tmpdir *d, const char *name);
void tmpdir_write(const tmpdir *d, const char *name, const void *p, size_t n);

#endif
