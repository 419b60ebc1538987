/* Rotary embedding: keys and the frequency of every pair. Scalings end here, in double: a step only multiplies a
 * position by a frequency (and divides it by a factor tensor where the file has one: llama3, longrope).
 *
 * YaRN leaves pairs that turn often within the original context as they are and stretches those that turn less than
 * once; between them a ramp. Most models round the ramp's ends to whole pairs, gpt-oss does not.
 */
#include "runtime/model/build.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define PI 3.14159265358979323846

static bool is(mox_str s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

static mox_err scaling_type(mox_rope *r, const mox_keys *k, float *factor)
{
    char name[160];
    mox_str type = {.p = "linear", .n = 6};
    snprintf(name, sizeof name, "%s.rope.scaling.type", k->arch);
    if (mox_gguf_has(k->g, name)) {
        MOX_TRY(mox_gguf_str(k->g, name, &type));
    }
    r->yarn = is(type, "yarn");
    if (!r->yarn && !is(type, "none") && !is(type, "linear") && !is(type, "longrope")) {
        char shown[64];
        return MOX_FAIL(MOX_E_ARCH,
                        "model: rope scaling '%s' is not supported (none, linear, yarn and longrope are)",
                        mox_escape(type, shown, sizeof shown));
    }
    if (is(type, "none")) {
        *factor = 0.0f;
    }
    return MOX_OK;
}

mox_err mox_rope_read(mox_hparams *h, const mox_keys *k, const mox_traits *t)
{
    mox_rope *r = &h->rope;
    *r = (mox_rope){.base = 10000.0f,
                    .neox = t->neox,
                    .yarn_exact = t->yarn_exact,
                    .beta_fast = 32.0f,
                    .beta_slow = 1.0f,
                    .extrapolation = 1.0f,
                    .attn_factor = 1.0f,
                    .original_ctx = h->n_ctx_train};
    MOX_TRY(mox_key_u32_opt(k, "rope.dimension_count", 2, MOX_MAX_HEAD_DIM, &h->n_rot));
    if (t->whole_rope && h->n_rot != h->head_dim) {
        return MOX_FAIL(MOX_E_KEY, "model: rope.dimension_count %u is not the head's length %u", h->n_rot,
                        h->head_dim);
    }
    if (h->n_rot > h->head_dim || h->n_rot % 2 != 0) {
        return MOX_FAIL(MOX_E_KEY, "model: rope.dimension_count %u in heads of %u", h->n_rot, h->head_dim);
    }
    MOX_TRY(mox_key_f32_opt(k, "rope.freq_base", 1.0f, 1e12f, &r->base));
    float factor = 0.0f;
    MOX_TRY(mox_key_f32_opt(k, "rope.scale_linear", 0.0f, 1e6f, &factor));
    MOX_TRY(mox_key_f32_opt(k, "rope.scaling.factor", 0.0f, 1e6f, &factor));
    MOX_TRY(scaling_type(r, k, &factor));
    MOX_TRY(mox_key_f32_opt(k, "rope.scaling.yarn_beta_fast", 0.0f, 1e6f, &r->beta_fast));
    MOX_TRY(mox_key_f32_opt(k, "rope.scaling.yarn_beta_slow", 0.0f, 1e6f, &r->beta_slow));
    MOX_TRY(mox_key_f32_opt(k, "rope.scaling.yarn_ext_factor", 0.0f, 1.0f, &r->extrapolation));
    MOX_TRY(mox_key_f32_opt(k, "rope.scaling.attn_factor", 0.0f, 1e6f, &r->attn_factor));
    MOX_TRY(mox_key_u32_opt(k, "rope.scaling.original_context_length", 1, INT32_MAX, &r->original_ctx));
    r->scale = factor == 0.0f ? 1.0f : 1.0f / factor;
    if (!isfinite(r->scale)) {
        return MOX_FAIL(MOX_E_KEY, "model: rope scaling by 1/%g", (double)factor);
    }
    r->magnitude = (double)r->attn_factor;
    if (r->yarn && r->extrapolation != 0.0f) {
        r->magnitude *= 1.0 + 0.1 * log(1.0 / (double)r->scale);
    }
    return MOX_OK;
}

/* The pair that turns `turns` times within the original context. */
static double pair_of(const mox_hparams *h, double turns)
{
    return h->n_rot * log(h->rope.original_ctx / (turns * 2.0 * PI)) / (2.0 * log((double)h->rope.base));
}

void mox_rope_frequencies(mox_model *m)
{
    const mox_hparams *h = &m->h;
    const mox_rope *r = &h->rope;
    double low = 0.0, high = 0.0;
    if (r->yarn) {
        low = pair_of(h, (double)r->beta_fast);
        high = pair_of(h, (double)r->beta_slow);
        low = fmax(r->yarn_exact ? low : floor(low), 0.0);
        high = fmin(r->yarn_exact ? high : ceil(high), h->n_rot - 1.0);
    }
    for (uint32_t i = 0; i < h->n_rot / 2; i++) {
        double plain = pow((double)r->base, -2.0 * i / h->n_rot);
        m->inv_freq[i] = (double)r->scale * plain;
        if (r->yarn) {
            double at = fmin(fmax((i - low) / fmax(high - low, 0.001), 0.0), 1.0);
            double keep = (1.0 - at) * (double)r->extrapolation;
            m->inv_freq[i] = m->inv_freq[i] * (1.0 - keep) + plain * keep;
        }
    }
}
