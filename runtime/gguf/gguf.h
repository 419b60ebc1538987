/* GGUF v2/v3, little-endian: a pure parser (bytes, length) -> table, and the files around it.
 *
 * mox_gguf_parse touches nothing but the bytes it is given and one arena; every count is bounded by the bytes
 * left before anything is allocated (limits below). mox_gguf_open finds the parts of a split model, reads
 * each header with pread (tensor data is never mapped), and merges the tables.
 */
#ifndef MOX_RUNTIME_GGUF_H
#define MOX_RUNTIME_GGUF_H

#include "runtime/core/err.h"
#include "runtime/core/file_id.h"
#include "runtime/core/tensor_types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MOX_GGUF_MAX_TENSORS = 65536,
    MOX_GGUF_MAX_KV = 65536,
    MOX_GGUF_MAX_KEY = 65535,
    MOX_GGUF_MAX_NAME = 64,
    MOX_GGUF_MAX_STRING = 16 << 20,
    MOX_GGUF_MAX_ARRAY = 1 << 24,
    MOX_GGUF_MAX_SPLITS = 4096,
    MOX_GGUF_MAX_DIMS = 4,
    MOX_GGUF_PACK_VERSION = 1, /* of packed files, see docs/packed.md */
};
#define MOX_GGUF_MAX_METADATA (1ull << 30)

typedef enum mox_gguf_kind {
    MOX_GGUF_U8,
    MOX_GGUF_I8,
    MOX_GGUF_U16,
    MOX_GGUF_I16,
    MOX_GGUF_U32,
    MOX_GGUF_I32,
    MOX_GGUF_F32,
    MOX_GGUF_BOOL,
    MOX_GGUF_STRING,
    MOX_GGUF_ARRAY,
    MOX_GGUF_U64,
    MOX_GGUF_I64,
    MOX_GGUF_F64,
    MOX_GGUF_KINDS
} mox_gguf_kind;

typedef struct mox_str { /* not terminated; may hold any byte */
    const char *p;
    size_t n;
} mox_str;

typedef struct mox_gguf_tensor {
    mox_str name;
    uint32_t type; /* a known mox_type */
    uint32_t n_dims;
    uint64_t ne[MOX_GGUF_MAX_DIMS]; /* innermost first; 1 where absent */
    uint32_t file;                  /* which part */
    uint64_t off;                   /* absolute offset in that file */
    uint64_t bytes;
    bool packed; /* an expert tensor of a packed file: its values lie in records, off says nothing */
} mox_gguf_tensor;

typedef struct mox_gguf mox_gguf;

/* mox_gguf_parse: one part from memory. data must outlive *out (strings point into it). file_bytes: size of
 * the whole file (tensor ranges are checked against it); len may be just the header. A header cut off by len
 * fails with MOX_E_TRUNCATED and *need set to a larger len to try (0: the file itself is too short). */
MOX_NODISCARD mox_err mox_gguf_parse(mox_gguf **out, const void *data, size_t len, uint64_t file_bytes,
                                     uint64_t *need);
/* mox_gguf_open: path of a file, of any shard of a split model, or of a directory that holds one model.
 * Errors MOX_E_OPEN, MOX_E_NOT_GGUF (with what the file is instead), MOX_E_VERSION, MOX_E_LIMIT, MOX_E_KEY,
 * MOX_E_TENSOR, MOX_E_TYPE, MOX_E_TRUNCATED, MOX_E_SPLIT. Owns everything; freed by mox_gguf_close. */
MOX_NODISCARD mox_err mox_gguf_open(mox_gguf **out, const char *path);
/* mox_gguf_open_header: the same where tensors need not be there: a file cut off after its header will do. */
MOX_NODISCARD mox_err mox_gguf_open_header(mox_gguf **out, const char *path);
void mox_gguf_close(mox_gguf **g);

uint32_t mox_gguf_version(const mox_gguf *g);
uint32_t mox_gguf_n_files(const mox_gguf *g);
const char *mox_gguf_file(const mox_gguf *g, uint32_t i); /* path; NULL for mox_gguf_parse */
uint64_t mox_gguf_file_bytes(const mox_gguf *g, uint32_t i);
/* as of reading its header; zeros for mox_gguf_parse */
const mox_file_id *mox_gguf_file_id(const mox_gguf *g, uint32_t i);
uint32_t mox_gguf_n_tensors(const mox_gguf *g);
const mox_gguf_tensor *mox_gguf_tensor_at(const mox_gguf *g, uint32_t i);
const mox_gguf_tensor *mox_gguf_find(const mox_gguf *g, const char *name); /* NULL if absent */
uint64_t mox_gguf_id(const mox_gguf *g); /* XXH3-64 over the header: names the model */
/* bytes that belong to no header and no tensor beyond padding: gaps and what trails the last tensor */
uint64_t mox_gguf_unused_bytes(const mox_gguf *g);

/* A packed file (docs/packed.md) shows the keys and tensors of the model it was made of; what belongs to the
 * container is kept apart: its keys can be asked for by name, but are not listed.
 * mox_gguf_packed: the version of the packing, 0 for a plain GGUF.
 * mox_gguf_record: a tensor of the container ("moxie.experts.0"); NULL if absent. */
uint32_t mox_gguf_packed(const mox_gguf *g);
const mox_gguf_tensor *mox_gguf_record(const mox_gguf *g, const char *name);

/* mox_escape: text from a file made fit to print: control bytes, ESC, marks that turn or hide text, and bytes
 * that are no UTF-8 come out as \n, \x1B, \u202E. Cut at a whole character with "..." if n is too small.
 * Returns out. */
const char *mox_escape(mox_str s, char *out, size_t n);
/* mox_is_printable: valid UTF-8 without any of that; a backslash may be one of an escape made before. */
bool mox_is_printable(mox_str s);

/* Key/values. Iteration for `info`, typed getters for everything else: integer widths are interchangeable,
 * floats are never counts. _opt: absent is not an error, *out keeps its value. Errors MOX_E_KEY. */
uint32_t mox_gguf_n_kv(const mox_gguf *g);
mox_str mox_gguf_kv_key(const mox_gguf *g, uint32_t i);
mox_gguf_kind mox_gguf_kv_kind(const mox_gguf *g, uint32_t i);
/* the value's bytes as they stand in the header, for who copies it */
typedef struct mox_gguf_value {
    mox_gguf_kind kind, elem; /* elem: of an array */
    uint64_t n;               /* elements of an array, bytes of a string */
    const void *data;         /* of a string its bytes; of an array its first element */
    uint64_t bytes;
} mox_gguf_value;
mox_gguf_value mox_gguf_kv_value(const mox_gguf *g, uint32_t i);
/* a printable, escaped rendering of the value (arrays: element kind, count and the first few); returns out */
const char *mox_gguf_kv_text(const mox_gguf *g, uint32_t i, char *out, size_t n);
bool mox_gguf_has(const mox_gguf *g, const char *key);
MOX_NODISCARD mox_err mox_gguf_u32(const mox_gguf *g, const char *key, uint32_t lo, uint32_t hi,
                                   uint32_t *out);
MOX_NODISCARD mox_err mox_gguf_u64(const mox_gguf *g, const char *key, uint64_t *out);
MOX_NODISCARD mox_err mox_gguf_u32_opt(const mox_gguf *g, const char *key, uint32_t lo, uint32_t hi,
                                       uint32_t *out);
MOX_NODISCARD mox_err mox_gguf_f32_opt(const mox_gguf *g, const char *key, float lo, float hi, float *out);
MOX_NODISCARD mox_err mox_gguf_bool_opt(const mox_gguf *g, const char *key, bool *out);
MOX_NODISCARD mox_err mox_gguf_str(const mox_gguf *g, const char *key, mox_str *out);
/* scalar broadcast to n, or an array of exactly n */
MOX_NODISCARD mox_err mox_gguf_u32_per_layer(const mox_gguf *g, const char *key, uint32_t lo, uint32_t hi,
                                             uint32_t n, uint32_t *out);
/* arrays: element kind checked; *n is the count. Pointers into the file's bytes, little-endian, unaligned. */
MOX_NODISCARD mox_err mox_gguf_array(const mox_gguf *g, const char *key, mox_gguf_kind elem,
                                     const void **data, uint32_t *n);
/* strings of a string array, in order: start with *cursor = NULL */
MOX_NODISCARD mox_err mox_gguf_string_array(const mox_gguf *g, const char *key, uint32_t *n);
bool mox_gguf_next_string(const mox_gguf *g, const char *key, const void **cursor, mox_str *out);

#endif
