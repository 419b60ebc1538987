/* Fixtures' JSON is read by looking for keys in their order and taking the numbers of the bracket behind them. */
#include "families/expected.h"

#include "graph/fixture_json.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NUMBERS = FE_MAX_TOKENS * FE_MAX_TOP_K };

static const char *read_tokens(fe_seq *s, const char *p)
{
    double v[FE_MAX_TOKENS];
    p = fx_numbers(fx_behind(p, "tokens"), v, FE_MAX_TOKENS, &s->n);
    for (uint32_t i = 0; i < s->n; i++) {
        s->tokens[i] = (uint32_t)v[i];
    }
    return p;
}

static const char *read_layer(fe_seq *s, const char *p, uint32_t layer, uint32_t k)
{
    static double v[MAX_NUMBERS];
    uint32_t n;
    p = fx_numbers(fx_behind(p, "experts"), v, MAX_NUMBERS, &n);
    cr_assert_eq(n, s->n * k);
    for (uint32_t i = 0; i < n; i++) {
        s->router[layer][i / k].expert[i % k] = (uint32_t)v[i];
    }
    p = fx_numbers(fx_behind(p, "weights"), v, MAX_NUMBERS, &n);
    cr_assert_eq(n, s->n * k);
    for (uint32_t i = 0; i < n; i++) {
        s->router[layer][i / k].weight[i % k] = v[i];
    }
    return p;
}

void fe_path(char *path, size_t n, const char *name)
{
    snprintf(path, n, MOX_TEST_DATA "/models/%s.gguf", name);
}

static char *read_json(fe_expected *x, const char *name)
{
    static mox_model_info info;
    char path[1024];
    size_t n;
    mox_gguf *g = NULL;
    memset(x, 0, sizeof *x);
    fe_path(path, sizeof path, name);
    cr_assert_eq(mox_gguf_open(&g, path), MOX_OK, "%s", mox_err_last()->msg);
    cr_assert_eq(mox_model_describe(&info, g), MOX_OK, "%s: %s", name, mox_err_last()->msg);
    mox_gguf_close(&g);
    x->n_vocab = info.n_vocab;
    x->top_k = info.top_k;
    x->n_moe_layers = info.n_moe_layers;
    cr_assert(x->top_k <= FE_MAX_TOP_K && x->n_moe_layers <= FE_MAX_LAYERS);
    snprintf(path, sizeof path, MOX_TEST_DATA "/models/%s.json", name);
    char *json = fx_file(path, &n);
    x->max_error = strtod(fx_behind(json, "normalised_max_error"), NULL);
    x->with_f16 = strtod(fx_behind(json, "with_f16_activations"), NULL);
    x->with_8bit = strtod(fx_behind(json, "with_8bit_activations"), NULL);
    return json;
}

static void read_logits(fe_expected *x, const char *name, const char *what)
{
    char path[1024];
    size_t n;
    for (uint32_t s = 0; s < FE_MAX_SEQ; s++) {
        x->n_rows += x->seq[s].n;
    }
    snprintf(path, sizeof path, MOX_TEST_DATA "/models/%s%s.logits.f32", name, what);
    x->logits = (float *)(void *)fx_file(path, &n);
    cr_assert_eq(n, (size_t)x->n_rows * x->n_vocab * sizeof(float), "%s", path);
}

void fe_read(fe_expected *x, const char *name)
{
    char *json = read_json(x, name);
    const char *p = fx_behind(json, "sequences");
    for (uint32_t s = 0; s < FE_MAX_SEQ; s++) {
        p = read_tokens(&x->seq[s], p);
        for (uint32_t l = 0; l < x->n_moe_layers; l++) {
            p = read_layer(&x->seq[s], p, l, x->top_k);
        }
    }
    free(json);
    read_logits(x, name, "");
}

void fe_read_run(fe_expected *x, const char *name)
{
    char *json = read_json(x, name);
    const char *p = fx_behind(fx_behind(json, "override_runs"), "sequences");
    for (uint32_t s = 0; s < FE_MAX_SEQ; s++) {
        p = read_tokens(&x->seq[s], p);
    }
    free(json);
    read_logits(x, name, ".override");
}

void fe_free(fe_expected *x)
{
    free(x->logits);
    x->logits = NULL;
}
