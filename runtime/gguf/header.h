/* Writing a GGUF header: bytes that grow, and the pieces that a header is made of. Who writes a file (pack, quantize, moxie-synth)
 * copies the keys of its source and adds its own. A failed allocation is remembered, so that it is asked for once, at the
 * end.
 */
#ifndef MOX_RUNTIME_GGUF_HEADER_H
#define MOX_RUNTIME_GGUF_HEADER_H

#include "runtime/gguf/gguf.h"

typedef struct mox_bytes {
    uint8_t *p; /* malloc'd; the caller's to free */
    size_t n, cap;
    uint64_t n_keys;
    bool failed;
} mox_bytes;

void mox_bytes_put(mox_bytes *b, const void *data, size_t n);
void mox_bytes_u32(mox_bytes *b, uint32_t v);
void mox_bytes_u64(mox_bytes *b, uint64_t v);
void mox_bytes_str(mox_bytes *b, const char *s, size_t n);
/* zeros up to the next multiple of `align` */
void mox_bytes_pad(mox_bytes *b, size_t align);

/* The beginning of a v3 header; returns where n_keys goes in the end. */
size_t mox_bytes_magic(mox_bytes *b, uint64_t n_tensors);
/* The name and kind of a key; its value follows. An array's: with the kind and number of its elements. */
void mox_bytes_key(mox_bytes *b, const char *name, mox_gguf_kind kind);
void mox_bytes_array_key(mox_bytes *b, const char *name, mox_gguf_kind elem, uint64_t n);
/* A key of g as it is. */
void mox_bytes_copy_key(mox_bytes *b, const mox_gguf *g, uint32_t i);
void mox_bytes_tensor(mox_bytes *b, mox_str name, uint32_t n_dims, const uint64_t *ne, uint32_t type,
                      uint64_t off);
/* mox_gguf_of_files: keys that describe the files of a model and not the model: alignment, parts. */
bool mox_gguf_of_files(mox_str key);

#endif
