/* Routing trace: one record per (token, layer, rank), a versioned little-endian file that run, plan and
 * profile share.
 *
 * File: header {magic "MOXT", u32 version 1, u32 n_layers, u32 n_experts, u32 top_k, u32 reserved, u64 model
 * id}, then records of 24 bytes. The writer buffers in memory taken at creation and flushes with write(2):
 * nothing is allocated while a token is computed.
 */
#ifndef MOX_PROFILER_TRACE_H
#define MOX_PROFILER_TRACE_H

#include "runtime/core/err.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

typedef enum mox_served { MOX_SERVED_VRAM, MOX_SERVED_RAM, MOX_SERVED_LATE, MOX_SERVED_FILE } mox_served;

typedef struct mox_trace_record {
    uint32_t step;
    uint32_t position;
    uint16_t sequence;
    uint16_t layer; /* index among the MoE layers */
    uint16_t expert;
    uint8_t rank;
    uint8_t phase_and_tier; /* mox_phase << 4 | mox_served */
    float weight;
    uint32_t reserved;
} mox_trace_record;

static_assert(sizeof(mox_trace_record) == 24, "trace format v1");

typedef struct mox_trace_header {
    char magic[4];
    uint32_t version, n_layers, n_experts, top_k, reserved;
    uint64_t model_id;
} mox_trace_header;

typedef struct mox_trace_writer mox_trace_writer;

/* mox_trace_create: opens path (truncates), writes the header, takes a buffer of buffer_bytes.
 * Threads: the step thread. Errors MOX_E_WRITE. */
MOX_NODISCARD mox_err mox_trace_create(mox_trace_writer **out, const char *path,
                                       const mox_trace_header *header, size_t buffer_bytes);
/* mox_trace_put: append; a failed flush is kept and reported by mox_trace_close. */
void mox_trace_put(mox_trace_writer *w, const mox_trace_record *r);
MOX_NODISCARD mox_err mox_trace_close(mox_trace_writer **w);

/* mox_trace_read: whole file into memory the caller frees with mox_trace_free. Bounds every count by the
 * file's size. Errors MOX_E_OPEN, MOX_E_FORMAT. */
MOX_NODISCARD mox_err mox_trace_read(const char *path, mox_trace_header *header, mox_trace_record **records,
                                     size_t *n_records);
void mox_trace_free(mox_trace_record *records);

#endif
