/* Saved heat: which experts of a model were used lately, kept between runs.
 *
 * At exit the uses of every expert, and what is left of those of earlier runs, go to a small file; the next start
 * fills the RAM tier with the hottest of each layer instead of those with the lowest numbers. It decides which experts
 * are here first and nothing else: no result depends on it. The file has a version, the model's fingerprint and
 * dimensions, and a checksum; what does not fit is refused with the reason, and the caller goes on without.
 */
#ifndef MOX_OFFLOAD_HEAT_H
#define MOX_OFFLOAD_HEAT_H

#include "offload/store.h"

/* What the file is for; all three must match. */
typedef struct mox_heat_id {
    uint64_t model;
    uint32_t n_layers, n_experts;
} mox_heat_id;

/* mox_store_heat: heat of [n_layers][n_experts] as of now, saved heat given to the fill included. False: the store has
 * served nothing since. Step thread. */
bool mox_store_heat(const mox_store *store, float *heat);

/* mox_heat_load: heat of n_layers * n_experts experts. Errors MOX_E_OPEN (sys ENOENT: there is none yet),
 * MOX_E_IO, MOX_E_FORMAT (another file, version or model), MOX_E_CORRUPT. Allocates nothing. */
MOX_NODISCARD mox_err mox_heat_load(const char *path, const mox_heat_id *id, float *heat);
/* mox_heat_save: replaces the file at once, mode 0600; folders that are missing are made. Errors MOX_E_WRITE,
 * MOX_E_NO_MEMORY. */
MOX_NODISCARD mox_err mox_heat_save(const char *path, const mox_heat_id *id, const float *heat);

#endif
