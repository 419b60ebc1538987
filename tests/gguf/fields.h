/* Where the fields of a GGUF header lie, found by a walk that shares no code with the reader under test and takes
 * whatever bytes come: it maps as far as the bytes make sense. For tools that damage a file field by field: the
 * fuzzers' mutator and the load-then-run test.
 */
#ifndef MOX_TESTS_GGUF_FIELDS_H
#define MOX_TESTS_GGUF_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GF_MAX_FIELDS = 4096, GF_MAX_ENTRIES = 512, GF_MAX_ITEMS = 24 /* of an array */ };

typedef enum gf_what {
    GF_VERSION,
    GF_N_TENSORS,
    GF_N_KV,
    GF_KEY_LEN,
    GF_KIND,
    GF_STRING_LEN, /* of a value */
    GF_ITEM_LEN,   /* of a string in an array */
    GF_SCALAR,
    GF_ELEM,
    GF_ARRAY_N,
    GF_ITEM, /* a scalar in an array */
    GF_NAME_LEN,
    GF_N_DIMS,
    GF_NE,
    GF_TYPE,
    GF_OFF,
} gf_what;

typedef struct gf_field {
    size_t at;
    uint32_t bytes; /* 1, 2, 4 or 8 */
    gf_what what;
} gf_field;

typedef struct gf_span { /* one key with its value, or one tensor's description */
    size_t at, end;
} gf_span;

typedef struct gf_map {
    gf_field f[GF_MAX_FIELDS];
    gf_span kv[GF_MAX_ENTRIES], tensor[GF_MAX_ENTRIES];
    uint32_t n_fields, n_kv, n_tensors;
    size_t header_end; /* behind the last thing that made sense */
    bool whole;        /* every key and tensor that is announced was there */
} gf_map;

/* gf_read: false where there is no header at all. */
bool gf_read(gf_map *m, const uint8_t *p, size_t n);
uint64_t gf_get(const uint8_t *p, const gf_field *f);
void gf_set(uint8_t *p, const gf_field *f, uint64_t v);
/* gf_bad_value: a value that readers stumble over; left: bytes from the field to the end of the file. */
uint64_t gf_bad_value(uint64_t old, uint64_t left, uint64_t random);

#endif
