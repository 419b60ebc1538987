/* Models with known answers: tokens, expected logits and expected experts of tests/data/models, and opening
 * them.
 */
#ifndef MOX_TESTS_GRAPH_FIXTURE_H
#define MOX_TESTS_GRAPH_FIXTURE_H

#include "runtime/moxie.h"

enum { FX_MAX_SEQ = 2, FX_MAX_TOKENS = 128, FX_MAX_LAYERS = 4, FX_TOP_K = 2 };

typedef struct fx_seq {
    uint32_t tokens[FX_MAX_TOKENS];
    uint32_t n;
    uint32_t experts[FX_MAX_LAYERS][FX_MAX_TOKENS][FX_TOP_K];
    double weights[FX_MAX_LAYERS][FX_MAX_TOKENS][FX_TOP_K];
} fx_seq;

typedef struct fx_expected {
    fx_seq seq[FX_MAX_SEQ];
    uint32_t n_seq, n_vocab;
    float *logits; /* rows of sequence 0, then of sequence 1 */
    size_t n_rows;
    double max_error, with_f16, with_8bit; /* of the fixture's own tolerances */
} fx_expected;

/* Reads models/NAME.json and models/NAME.logits.f32; two MoE layers. Fails the test when it cannot. */
void fx_read(fx_expected *x, const char *name);
void fx_free(fx_expected *x);

/* models/FILE, with all experts kept, KV f32 and float activations: the audit configuration */
mox_cfg fx_audit(const char *file, char *path, size_t n_path);
/* as the program runs by default, pct of the experts kept */
mox_cfg fx_plain(const char *file, double pct, char *path, size_t n_path);
/* mox_open or the test fails with the record */
mox_ctx *fx_open(const mox_cfg *cfg);
/* fails the test with the record unless err is MOX_OK */
void fx_ok(mox_err err, const char *what);

/* Evaluates a sequence from an empty cache; logits [n][vocab] to out. */
void fx_eval(mox_ctx *ctx, uint32_t seq, const uint32_t *tokens, uint32_t n, float *out);
/* all sequences one after the other in sequence 0 */
void fx_eval_all(mox_ctx *ctx, const fx_expected *x, float *out);
/* max |got - want| / max |want| */
double fx_error(const float *got, const float *want, size_t n);

#endif
