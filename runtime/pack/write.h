/* Making packed files. write.c streams: one expert and a few MiB of buffers in memory, whatever the model's size.
 */
#ifndef MOX_RUNTIME_PACK_WRITE_H
#define MOX_RUNTIME_PACK_WRITE_H

#include "runtime/core/log.h"
#include "runtime/model/model.h"
#include "runtime/pack/pack.h"

typedef struct mox_pack_cfg {
    const char *model; /* a GGUF file, any shard, or a directory */
    const char *out;
    bool force; /* replace `out` if it exists */
    const mox_log *log;
    /* stage: "packing"; may be NULL. */
    void (*progress)(void *ctx, const char *stage, uint64_t done, uint64_t total);
    void *progress_ctx;
    int (*stop)(void); /* asked every few MiB; not 0: give up. May be NULL. */
} mox_pack_cfg;

typedef struct mox_pack_report {
    uint64_t source_bytes, out_bytes;
    uint64_t record_bytes, dense_bytes; /* of out_bytes */
    uint64_t n_records, n_slices;
    uint64_t layout; /* the fingerprint */
    double seconds;
} mox_pack_report;

/* mox_pack_write: written as `out`.part, synced, then renamed; on any failure nothing is left. Errors those of
 * reading a model, MOX_E_ARG (nothing to pack, packed already), MOX_E_WRITE (exists, no space, system errors),
 * MOX_E_CHANGED (the model changed meanwhile), MOX_E_CANCELLED. */
MOX_NODISCARD mox_err mox_pack_write(const mox_pack_cfg *cfg, mox_pack_report *out);

/* header.c, used by write.c: a tensor of the file to be. */
typedef struct mox_pack_tensor {
    char name[MOX_GGUF_MAX_NAME + 1];
    uint32_t type, n_dims;
    uint64_t ne[MOX_GGUF_MAX_DIMS];
    uint64_t off, bytes; /* off: from the start of the data; both multiples of MOX_PACK_ALIGN but bytes */
    const mox_gguf_tensor *src; /* copied as it is; NULL: records or checksums of `layer` */
    uint32_t layer;             /* MoE layer */
    bool sums;
} mox_pack_tensor;

typedef struct mox_pack_list {
    mox_pack_tensor *t;
    uint32_t n;
    const mox_gguf_tensor **replaced; /* expert tensors of the source */
    uint32_t n_replaced;
    uint64_t data_bytes;
} mox_pack_list;

/* mox_pack_list_make: what goes into the file and where. Freed by mox_pack_list_free, whatever happened. */
MOX_NODISCARD mox_err mox_pack_list_make(mox_pack_list *out, const mox_gguf *g, const mox_model *m);
void mox_pack_list_free(mox_pack_list *l);
/* mox_pack_header: the bytes before the data, a multiple of MOX_PACK_ALIGN; malloc'd. *sums_at: where the hashes
 * of the checksum tables go (u64 for each MoE layer), which are not known yet. */
MOX_NODISCARD mox_err mox_pack_header(const mox_gguf *g, const mox_model *m, const mox_pack_list *l,
                                      uint64_t fingerprint, uint8_t **out, size_t *n, size_t *sums_at);

#endif
