/* Packed model files: experts as records in the compute layout, so that a read lands where it is used.
 *
 * A packed file is a GGUF v3 file (docs/packed.md has its bytes). runtime/gguf makes the table of the original
 * model of it; this folder knows the records: layout.c how big they are and whether the layout they were
 * written in is the one this program computes in; read.c finds and checks them and reads their checksums;
 * write.c and header.c make such a file.
 *
 * A record is one expert: its slot (kernels/mat.h) filled up with zeros to 4 KiB. It is cut into slices as the
 * slot is; the last slice goes to the end of the record, so that every byte belongs to a slice and every slice
 * has an XXH3-64.
 */
#ifndef MOX_RUNTIME_PACK_H
#define MOX_RUNTIME_PACK_H

#include "kernels/mat.h"
#include "runtime/gguf/gguf.h"

enum { MOX_PACK_ALIGN = 4096 };

/* The records of one MoE layer: expert e at off + e * record_bytes of `file`. */
typedef struct mox_pack_layer {
    uint32_t file;
    uint32_t n_slices;
    uint64_t off, record_bytes, slice_bytes;
    uint64_t sums_off;    /* of the checksums in the file */
    const uint64_t *sums; /* [n_experts][n_slices], after mox_pack_read_sums */
} mox_pack_layer;

uint64_t mox_pack_record_bytes(const mox_expert_layout *l);
/* mox_pack_slice: where slice i of a record begins, and its bytes. */
uint64_t mox_pack_slice(const mox_pack_layer *p, uint32_t i, uint64_t *bytes);

/* mox_pack_fingerprint: a hash of what packing patterns gives with the layers' formats: another order of lines,
 * another size of groups, blocks or slices, and it is another number. Allocates. Errors MOX_E_NO_MEMORY. */
MOX_NODISCARD mox_err mox_pack_fingerprint(const mox_expert_layout *layouts, uint32_t n_layers,
                                           uint64_t *out);

/* Names of a layer's tensors; block: the number in blk.N. */
enum { MOX_PACK_NAME = 32 };
void mox_pack_experts_name(uint32_t block, char out[MOX_PACK_NAME]);
void mox_pack_sums_name(uint32_t block, char out[MOX_PACK_NAME]);

/* mox_pack_find: a layer's records and checksums by the header, sizes checked against the layout. Errors
 * MOX_E_TENSOR. */
MOX_NODISCARD mox_err mox_pack_find(const mox_gguf *g, uint32_t block, uint32_t n_experts,
                                    const mox_expert_layout *l, mox_pack_layer *out);
/* mox_pack_check: the file's layout is the one this program computes in. Errors MOX_E_VERSION, MOX_E_KEY. */
MOX_NODISCARD mox_err mox_pack_check(const mox_gguf *g, const mox_expert_layout *layouts, uint32_t n_layers);
/* mox_pack_read_sums: the checksums of a layer from the open file `fd` to `out` [n_experts][n_slices], and
 * p->sums set to it. want: the table's own hash, from the header. Errors MOX_E_IO, MOX_E_CHANGED, MOX_E_CORRUPT. */
MOX_NODISCARD mox_err mox_pack_read_sums(mox_pack_layer *p, int fd, const char *path, uint32_t n_experts,
                                         uint64_t want, uint64_t *out);

#endif
