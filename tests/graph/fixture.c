/* Fixtures of two MoE layers, and the configurations they are opened with. */
#include "graph/fixture.h"

#include "graph/fixture_json.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *read_router(fx_seq *s, const char *p, uint32_t layer)
{
    double v[FX_MAX_TOKENS * FX_TOP_K];
    uint32_t n;
    p = fx_numbers(fx_behind(p, "experts"), v, FX_MAX_TOKENS * FX_TOP_K, &n);
    cr_assert_eq(n, s->n * FX_TOP_K);
    for (uint32_t i = 0; i < n; i++) {
        s->experts[layer][i / FX_TOP_K][i % FX_TOP_K] = (uint32_t)v[i];
    }
    p = fx_numbers(fx_behind(p, "weights"), v, FX_MAX_TOKENS * FX_TOP_K, &n);
    cr_assert_eq(n, s->n * FX_TOP_K);
    for (uint32_t i = 0; i < n; i++) {
        s->weights[layer][i / FX_TOP_K][i % FX_TOP_K] = v[i];
    }
    return p;
}

void fx_read(fx_expected *x, const char *name)
{
    char path[1024];
    size_t n;
    memset(x, 0, sizeof *x);
    snprintf(path, sizeof path, MOX_TEST_DATA "/models/%s.json", name);
    char *json = fx_file(path, &n);
    x->n_vocab = (uint32_t)strtoul(fx_behind(fx_behind(json, "config"), "vocab_size"), NULL, 10);
    x->max_error = strtod(fx_behind(json, "normalised_max_error"), NULL);
    x->with_f16 = strtod(fx_behind(json, "with_f16_activations"), NULL);
    x->with_8bit = strtod(fx_behind(json, "with_8bit_activations"), NULL);
    const char *p = fx_behind(json, "sequences");
    for (x->n_seq = 0; x->n_seq < FX_MAX_SEQ; x->n_seq++) {
        fx_seq *s = &x->seq[x->n_seq];
        double v[FX_MAX_TOKENS];
        p = fx_numbers(fx_behind(p, "tokens"), v, FX_MAX_TOKENS, &s->n);
        for (uint32_t i = 0; i < s->n; i++) {
            s->tokens[i] = (uint32_t)v[i];
        }
        for (uint32_t l = 0; l < 2; l++) {
            p = read_router(s, p, l);
        }
        x->n_rows += s->n;
    }
    free(json);
    snprintf(path, sizeof path, MOX_TEST_DATA "/models/%s.logits.f32", name);
    x->logits = (float *)(void *)fx_file(path, &n);
    cr_assert_eq(n, x->n_rows * x->n_vocab * sizeof(float));
}

void fx_free(fx_expected *x)
{
    free(x->logits);
    x->logits = NULL;
}

mox_cfg fx_plain(const char *file, double pct, char *path, size_t n_path)
{
    mox_cfg cfg;
    mox_cfg_defaults(&cfg);
    snprintf(path, n_path, MOX_TEST_DATA "/%s", file);
    cfg.model = path;
    cfg.ram = (mox_budget){.kind = MOX_BUDGET_EXPERTS_PCT, .pct = pct};
    cfg.n_threads = 2;
    return cfg;
}

mox_cfg fx_audit(const char *file, char *path, size_t n_path)
{
    mox_cfg cfg = fx_plain(file, 100, path, n_path);
    cfg.act_f32 = true;
    cfg.kv = MOX_KV_F32;
    return cfg;
}

void fx_ok(mox_err err, const char *what)
{
    cr_assert_eq(err, MOX_OK, "%s: %s: %s", what, mox_err_name(err), mox_err_last()->msg);
}

mox_ctx *fx_open(const mox_cfg *cfg)
{
    mox_ctx *ctx = NULL;
    fx_ok(mox_open(&ctx, cfg), cfg->model);
    return ctx;
}

typedef struct copy_state {
    float *out;
    uint32_t n_vocab;
} copy_state;

static void copy_rows(void *arg, uint32_t first_pos, uint32_t n, const float *logits)
{
    copy_state *c = arg;
    memcpy(c->out + (size_t)first_pos * c->n_vocab, logits, (size_t)n * c->n_vocab * sizeof(float));
}

void fx_eval(mox_ctx *ctx, uint32_t seq, const uint32_t *tokens, uint32_t n, float *out)
{
    copy_state c = {.out = out, .n_vocab = mox_tokenizer_vocab(mox_get_tokenizer(ctx))};
    mox_seq_clear(ctx, seq);
    fx_ok(mox_eval(ctx, seq, tokens, n, true, copy_rows, &c), "eval");
}

void fx_eval_all(mox_ctx *ctx, const fx_expected *x, float *out)
{
    for (uint32_t s = 0; s < x->n_seq; s++) {
        fx_eval(ctx, 0, x->seq[s].tokens, x->seq[s].n, out);
        out += (size_t)x->seq[s].n * x->n_vocab;
    }
}

double fx_error(const float *got, const float *want, size_t n)
{
    double worst = 0.0, most = 0.0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)got[i] - (double)want[i]);
        worst = d > worst || isnan(d) ? d : worst;
        most = fabs((double)want[i]) > most ? fabs((double)want[i]) : most;
    }
    return worst / most;
}
