/* moxie-synth: a GGUF v3 file of a llama-architecture model of any shape, filled with random, sane blocks.
 *
 * It exists because the shapes that matter (expert bigger than a cache, 37 experts, rows of 2,944) have no
 * small real model, and because a 26 GiB model must not have to be downloaded to measure a disk. So it writes
 * at disk speed: one tile of random blocks per (type, spread) is made once, and tensors are cut from it in
 * pieces that start at places drawn from the seed. The same options and seed give the same bytes on every
 * machine: integers and IEEE operations only, no libm functions but sqrt.
 *
 * main.c reads the options, shape.c lists keys and tensors, blocks.c fills tiles, vocab.c makes the pieces of
 * a SentencePiece vocabulary, write.c puts it all into one file or several parts.
 */
#ifndef MOX_BENCH_SYNTH_H
#define MOX_BENCH_SYNTH_H

#include "runtime/core/err.h"
#include "runtime/core/tensor_types.h"
#include "runtime/gguf/header.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct synth_cfg {
    const char *out;
    uint32_t layers, d_model, d_ff, heads, kv_heads, head_dim;
    uint32_t experts; /* 0: a dense model */
    uint32_t top_k, vocab, ctx, split;
    uint32_t type;   /* mox_type of the matrices */
    uint32_t sparse; /* weights are a hole in the file: for what reads headers alone */
    bool mix_k_m;    /* q4_k_m: the mix of types that llama.cpp gives that name */
    uint64_t seed;
} synth_cfg;

typedef struct synth_tensor {
    char name[64];
    uint32_t type;
    uint32_t n_dims;
    uint64_t ne[3];
    float center, spread; /* mean and standard deviation of its values */
    uint64_t bytes;
} synth_tensor;

/* The header under construction is a mox_bytes, whose text is counted. */
static inline void synth_put_str(mox_bytes *b, const char *s)
{
    mox_bytes_str(b, s, strlen(s));
}

typedef struct synth_rng {
    uint64_t s[4];
} synth_rng;

void synth_rng_seed(synth_rng *r, uint64_t seed, uint64_t stream);
uint64_t synth_rng_next(synth_rng *r);
float synth_rng_unit(synth_rng *r); /* [0, 1) */

/* synth_type_name / synth_type_of: only types that can be filled; false if there is no such. */
bool synth_type_of(const char *name, uint32_t *type);
/* synth_fill: n bytes (whole blocks) of random data with about that mean and standard deviation. The
 * quantised types have mean 0. */
void synth_fill(uint32_t type, float center, float spread, synth_rng *r, uint8_t *dst, size_t n);

/* synth_tensors: the tensors in file order; the caller frees *out. */
MOX_NODISCARD mox_err synth_tensors(const synth_cfg *cfg, synth_tensor **out, uint32_t *n);
/* synth_keys: append all model keys, return how many. */
uint32_t synth_keys(const synth_cfg *cfg, mox_bytes *b);
/* synth_vocab_keys: tokens, scores, types and ids of the vocabulary; returns the number of keys. */
uint32_t synth_vocab_keys(const synth_cfg *cfg, mox_bytes *b);
enum { SYNTH_MIN_VOCAB = 260 };

/* synth_write: all files; *bytes is their sum. */
MOX_NODISCARD mox_err synth_write(const synth_cfg *cfg, uint64_t *bytes);

#endif
