/* Another storage type for a model: from a GGUF with F32, F16 and BF16 weights to one with smaller ones.
 *
 * write.c streams: runs of rows of one tensor are in memory, whatever the model's size; rows are quantised by all threads,
 * and a row's bytes depend on the row alone. mix.c says which type a tensor gets, rows.h how a row is made.
 */
#ifndef MOX_RUNTIME_QUANTIZE_H
#define MOX_RUNTIME_QUANTIZE_H

#include "runtime/core/log.h"
#include "runtime/core/pool.h"
#include "runtime/quantize/mix.h"

typedef struct mox_quantize_cfg {
    const char *model; /* a GGUF file, any part of it, or its folder */
    const char *out;
    const char *type; /* of mix.h */
    bool force;       /* replace `out` if it exists */
    mox_pool *pool;   /* borrowed */
    const mox_log *log;
    /* stage: "quantizing"; may be NULL. */
    void (*progress)(void *ctx, const char *stage, uint64_t done, uint64_t total);
    void *progress_ctx;
    int (*stop)(void); /* asked every few MiB; not 0: give up. May be NULL. */
} mox_quantize_cfg;

/* What became of each type: tensors, elements, and the error of what was rounded. */
typedef struct mox_quantize_sum {
    uint32_t n_tensors;
    uint64_t n, bytes;
    double error, square; /* sums over elements: (x - what stands for x)^2, x^2 */
} mox_quantize_sum;

typedef struct mox_quantize_report {
    uint64_t source_bytes, out_bytes;
    uint32_t n_tensors, n_kept, n_shorter; /* shorter: rows that are no multiple of the wanted type's block */
    uint64_t n_elements;
    mox_quantize_sum by_type[MOX_TYPE_COUNT];
    double seconds;
} mox_quantize_report;

/* mox_quantize_write: the file appears under its name when it is whole; on any failure nothing is left. Errors those of
 * opening a model, MOX_E_OPTION (type), MOX_E_TYPE (weights that are quantised already), MOX_E_ARG, MOX_E_NUMERIC
 * (weights that are not finite or too large), MOX_E_WRITE, MOX_E_CHANGED, MOX_E_CANCELLED. Threads: the pool's owner. */
MOX_NODISCARD mox_err mox_quantize_write(const mox_quantize_cfg *cfg, mox_quantize_report *out);

#endif
