/* Architecture checks: a header whose figures contradict each other or its tensors is refused before anything
 * is allocated, by an error that names the key or tensor. Headers are made by patching a good one.
 */
#include "graph/fixture.h"
#include "runtime/model/model.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct image {
    uint8_t *data;
    size_t n;
} image;

static image read_model(void)
{
    FILE *f = fopen(MOX_TEST_DATA "/models/mixtral-a.gguf", "rb");
    cr_assert(f);
    fseek(f, 0, SEEK_END);
    image im = {.n = (size_t)ftell(f)};
    rewind(f);
    im.data = malloc(im.n);
    cr_assert(fread(im.data, 1, im.n, f) == im.n);
    fclose(f);
    return im;
}

static uint8_t *find(image *im, const char *text)
{
    uint8_t *p = memmem(im->data, im->n, text, strlen(text));
    cr_assert(p, "no '%s' in the model", text);
    return p;
}

/* Key of a u32: the type (4 bytes) and the value follow the name. */
static void patch_u32(image *im, const char *key, uint32_t value)
{
    memcpy(find(im, key) + strlen(key) + 4, &value, sizeof value);
}

static void patch_text(image *im, const char *from, const char *to)
{
    cr_assert_eq(strlen(from), strlen(to));
    memcpy(find(im, from), to, strlen(to));
}

static mox_err open_image(const image *im)
{
    char path[] = "/tmp/moxie-model-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, im->data, im->n), (ssize_t)im->n);
    close(fd);
    mox_cfg cfg;
    mox_cfg_defaults(&cfg);
    cfg.model = path;
    cfg.n_threads = 1;
    cfg.ram = (mox_budget){.kind = MOX_BUDGET_MIN};
    mox_plan plan;
    mox_err err = mox_plan_model(&plan, &cfg);
    unlink(path);
    return err;
}

static void expect_refused(image *im, mox_err want, const char *names)
{
    mox_err err = open_image(im);
    cr_expect_eq(err, want, "%s: %s (%s)", names, mox_err_name(err), mox_err_last()->msg);
    cr_expect(strstr(mox_err_last()->msg, names), "'%s' does not name '%s'", mox_err_last()->msg, names);
    free(im->data);
}

Test(graph_model, the_unpatched_model_is_accepted)
{
    image im = read_model();
    fx_ok(open_image(&im), "mixtral-a");
    free(im.data);
}

Test(graph_model, contradicting_keys_are_refused)
{
    const struct {
        const char *key;
        uint32_t value;
        mox_err want;
        const char *names;
    } cases[] = {
        {"llama.expert_used_count", 5, MOX_E_KEY, "5"},
        {"llama.expert_used_count", 0, MOX_E_KEY, "0"},
        {"llama.expert_count", 8, MOX_E_TENSOR, "blk.0.ffn_gate_inp.weight"},
        {"llama.attention.head_count_kv", 3, MOX_E_KEY, "3"},
        {"llama.attention.head_count", 8, MOX_E_TENSOR, "attn_q"},
        {"llama.embedding_length", 128, MOX_E_TENSOR, "token_embd"},
        {"llama.feed_forward_length", 96, MOX_E_TENSOR, "ffn_gate_exps"},
        {"llama.block_count", 3, MOX_E_TENSOR, "blk.2"},
        {"llama.block_count", 100000, MOX_E_KEY, "block_count"},
        {"llama.rope.dimension_count", 8, MOX_E_KEY, "8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        image im = read_model();
        patch_u32(&im, cases[i].key, cases[i].value);
        expect_refused(&im, cases[i].want, cases[i].names);
    }
}

Test(graph_model, missing_tensors_and_unknown_families_are_named)
{
    const struct {
        const char *from, *to;
        mox_err want;
        const char *names;
    } cases[] = {
        {"blk.1.attn_q.weight", "blk.1.attn_z.weight", MOX_E_TENSOR, "blk.1.attn_q.weight"},
        {"blk.0.ffn_up_exps.weight", "blk.0.ffn_ux_exps.weight", MOX_E_TENSOR, "blk.0.ffn_up"},
        {"output_norm.weight", "output_nora.weight", MOX_E_TENSOR, "output_norm.weight"},
        {"token_embd.weight", "token_emba.weight", MOX_E_TENSOR, "token_embd.weight"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        image im = read_model();
        patch_text(&im, cases[i].from, cases[i].to);
        expect_refused(&im, cases[i].want, cases[i].names);
    }
    image im = read_model();
    uint8_t *arch = find(&im, "general.architecture") + strlen("general.architecture") + 12;
    cr_assert(memcmp(arch, "llama", 5) == 0);
    memcpy(arch, "lama9", 5);
    expect_refused(&im, MOX_E_ARCH, "lama9");
}

static void count_warnings(void *ctx, mox_log_level level, const char *line)
{
    if (level == MOX_LOG_WARN && strstr(line, "not used") && strstr(line, "blk.1.attn_zz")) {
        ++*(int *)ctx;
    }
}

/* A tensor that no op reads is said once. output.weight renamed: the model is taken as tied and one tensor is
 * over. */
Test(graph_model, unused_tensors_are_said)
{
    image im = read_model();
    /* "attn_output.weight" ends alike: the length byte in front makes it the whole name */
    uint8_t *name = memmem(im.data, im.n, "\x0d\0\0\0\0\0\0\0output.weight", 21);
    cr_assert(name);
    memcpy(name + 8, "blk.1.attn_zz", 13);
    char path[] = "/tmp/moxie-model-XXXXXX";
    int fd = mkstemp(path), warnings = 0;
    cr_assert_eq(write(fd, im.data, im.n), (ssize_t)im.n);
    close(fd);
    mox_gguf *g = NULL;
    fx_ok(mox_gguf_open(&g, path), "open");
    mox_log log = {.fn = count_warnings, .ctx = &warnings, .level = MOX_LOG_WARN};
    mox_model *m = NULL;
    fx_ok(mox_model_create(&m, g, &log), "model");
    cr_expect_eq(warnings, 1);
    cr_expect_eq(m->output, m->token_embd, "an absent output is the embedding");
    mox_model_destroy(&m);
    mox_gguf_close(&g);
    unlink(path);
    free(im.data);
}

Test(graph_model, description_has_the_models_figures)
{
    mox_gguf *g = NULL;
    fx_ok(mox_gguf_open(&g, MOX_TEST_DATA "/demo/moxie-demo-Q4_K_M.gguf"), "open");
    mox_model_info info;
    fx_ok(mox_model_describe(&info, g), "describe");
    cr_expect_str_eq(info.arch, "llama");
    cr_expect_eq(info.n_layers, 6);
    cr_expect_eq(info.n_moe_layers, 6);
    cr_expect_eq(info.n_experts, 8);
    cr_expect_eq(info.top_k, 2);
    cr_expect_eq(info.d_model, 256);
    cr_expect_eq(info.d_ff, 512);
    cr_expect_eq(info.n_vocab, 4096);
    cr_expect_eq(info.n_ctx_train, 512);
    /* its README: 22.2 M parameters; 6 of 8 experts of 3 x 256 x 512 rest in each layer */
    cr_expect_eq((info.params_total + 50000) / 100000, 222);
    cr_expect_eq(info.params_active, info.params_total - 6 * 6 * 3 * 256 * 512);
    cr_expect_eq(info.file_bytes, 13671712);
    cr_expect(strncmp(info.quants, "Q4_K ", 5) == 0, "'%s'", info.quants);
    cr_expect_eq(info.kv_bytes_per_token[MOX_KV_F16], 6 * 2 * 2 * 64 * 2);
    cr_expect_eq(info.kv_bytes_per_token[MOX_KV_F32], 6 * 2 * 2 * 64 * 4);
    mox_gguf_close(&g);
}
