/* A fixture's sequences with the logits and the experts that they must give. */
#ifndef MOX_TESTS_FAMILIES_EXPECTED_H
#define MOX_TESTS_FAMILIES_EXPECTED_H

#include "runtime/moxie.h"

enum { FE_MAX_SEQ = 2, FE_MAX_TOKENS = 128, FE_MAX_LAYERS = 4, FE_MAX_TOP_K = 8 };

typedef struct fe_choice {
    uint32_t expert[FE_MAX_TOP_K];
    double weight[FE_MAX_TOP_K];
} fe_choice;

typedef struct fe_seq {
    uint32_t tokens[FE_MAX_TOKENS], n;
    fe_choice router[FE_MAX_LAYERS][FE_MAX_TOKENS]; /* by MoE layer */
} fe_seq;

typedef struct fe_expected {
    fe_seq seq[FE_MAX_SEQ];
    uint32_t n_rows, n_vocab, top_k, n_moe_layers;
    float *logits; /* rows of sequence 0, then of sequence 1 */
    double max_error, with_f16, with_8bit;
} fe_expected;

/* fe_path: the model's file. */
void fe_path(char *path, size_t n, const char *name);
/* fe_read: models/NAME.json, .logits.f32; figures from NAME.gguf. The test fails where it cannot. */
void fe_read(fe_expected *x, const char *name);
/* fe_read_run: the sequences and logits of the first of NAME's override_runs; no choices. */
void fe_read_run(fe_expected *x, const char *name);
void fe_free(fe_expected *x);

#endif
