/* What the files of this folder share: the table that a parse fills. Strings and arrays stay where they are
 * in the header bytes; the table holds pointers to them and two sorted indices. */
#ifndef MOX_RUNTIME_GGUF_INTERNAL_H
#define MOX_RUNTIME_GGUF_INTERNAL_H

#include "runtime/gguf/gguf.h"

typedef struct gguf_kv {
    mox_str key;
    mox_gguf_kind kind;
    mox_gguf_kind elem;  /* of an array */
    uint64_t n;          /* elements of an array, bytes of a string */
    const uint8_t *data; /* value; of a string its bytes; of an array its first element */
    uint64_t bytes;      /* from data to the end of the value */
} gguf_kv;

typedef struct gguf_part {
    char *path; /* owned; NULL for a parse from memory */
    uint64_t bytes;
    mox_file_id id; /* zeros for a parse from memory */
    uint8_t *owned; /* the header bytes, if this object has to free them */
    uint64_t unused;
} gguf_part;

struct mox_gguf {
    uint32_t version;
    uint64_t id;
    gguf_part *parts;
    uint32_t n_parts;
    gguf_kv *kv; /* those of the container last */
    const gguf_kv **by_key;
    uint32_t n_kv, n_keys; /* the model's, all */
    mox_gguf_tensor *tensors;
    const mox_gguf_tensor **by_name;
    uint32_t n_tensors;
    uint32_t packed;          /* version of the packing, 0: a plain GGUF */
    mox_gguf_tensor *records; /* tensors of the container */
    uint32_t n_records;
};

/* Sort the two indices (allocated by the caller's n); a name that occurs twice is an error. */
MOX_NODISCARD mox_err gguf_index_keys(mox_gguf *g);
MOX_NODISCARD mox_err gguf_index_tensors(mox_gguf *g);
/* gguf_restore: a table just parsed, of a packed file, becomes that of the model it was made of. */
MOX_NODISCARD mox_err gguf_restore(mox_gguf *g);
/* Bytes of a tensor from its type and sizes, all of them checked; name: for the message. */
MOX_NODISCARD mox_err gguf_size_tensor(mox_gguf_tensor *t, const char *name);
int gguf_str_cmp(mox_str a, mox_str b);
/* A name of a key: not empty, valid UTF-8, nothing that moves, hides or turns text. Of a tensor: nor like a path, for
 * names do end up in file names of tools. What passes can be printed as it is. */
bool gguf_is_name(mox_str s);
bool gguf_is_tensor_name(mox_str s);
const gguf_kv *gguf_kv_find(const mox_gguf *g, const char *key);

/* What a file without the magic is instead: a sentence that goes on "this is ...", or NULL. *fix: what would
 * help. */
const char *gguf_sniff(const uint8_t *p, size_t n, uint64_t file_bytes, const char **fix);

const char *gguf_kind_name(mox_gguf_kind kind);
/* Bytes of a scalar; 0 for strings and arrays. */
uint32_t gguf_kind_bytes(mox_gguf_kind kind);

/* "137 (IQ2_K, which ik_llama.cpp alone has)": for types that cannot be read. Returns out. */
const char *gguf_type_text(uint32_t id, char *out, size_t n);

#endif
