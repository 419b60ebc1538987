/* moxie-synth: options and the summary line. See synth.h for what is written and why. */
#include "synth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct option {
    const char *name, *help;
    size_t off; /* of a uint32_t in synth_cfg */
    uint32_t lo, hi;
} option;

#define FIELD(f) offsetof(synth_cfg, f)

static const option options[] = {
    {"--layers", "number of layers", FIELD(layers), 1, 1000},
    {"--d-model", "width of the model", FIELD(d_model), 16, 1 << 20},
    {"--d-ff", "width of an expert (of the feed-forward part in a dense model)", FIELD(d_ff), 16, 1 << 20},
    {"--heads", "attention heads", FIELD(heads), 1, 4096},
    {"--kv-heads", "key/value heads, a divisor of --heads", FIELD(kv_heads), 1, 4096},
    {"--head-dim", "width of a head; default d-model / heads", FIELD(head_dim), 2, 4096},
    {"--experts", "experts per layer; 0: a dense model", FIELD(experts), 0, 512},
    {"--top-k", "experts per token", FIELD(top_k), 1, 512},
    {"--vocab", "tokens", FIELD(vocab), SYNTH_MIN_VOCAB, 1 << 20},
    {"--ctx", "the context length that the file states", FIELD(ctx), 1, 1 << 24},
    {"--split", "number of files", FIELD(split), 1, 999},
    {"--sparse", "1: a hole in the place of the weights", FIELD(sparse), 0, 1},
};
enum { N_OPTIONS = sizeof options / sizeof options[0] };

static void usage(FILE *to)
{
    fprintf(to, "usage: moxie-synth --out FILE [options]\n"
                "Writes a GGUF model of the given shape with random weights.\n\n"
                "  --out FILE      what to write; with --split N: FILE-00001-of-0000N.gguf and so on\n"
                "  --type TYPE     f32 f16 bf16 q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k iq4_nl "
                "iq4_xs mxfp4\n"
                "                  nvfp4 iq1_s iq1_m iq2_xxs iq2_xs iq2_s iq3_xxs iq3_s tq1_0 tq2_0,\n"
                "                  or the mix q4_k_m (default)\n"
                "  --seed N        default 1; the same options and seed give the same bytes\n");
    for (int i = 0; i < N_OPTIONS; i++) {
        fprintf(to, "  %-15s %s\n", options[i].name, options[i].help);
    }
}

static mox_err number(const char *name, const char *text, uint64_t lo, uint64_t hi, uint64_t *out)
{
    char *end = NULL;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (errno || end == text || *end || text[0] == '-' || v < lo || v > hi) {
        return MOX_FAIL(MOX_E_OPTION, "%s %s: a number from %llu to %llu is expected", name, text,
                        (unsigned long long)lo, (unsigned long long)hi);
    }
    *out = v;
    return MOX_OK;
}

static mox_err set_option(synth_cfg *c, const char *name, const char *value)
{
    uint64_t v = 0;
    if (!value) {
        return MOX_FAIL(MOX_E_OPTION, "%s needs a value, or is no option of moxie-synth", name);
    }
    if (strcmp(name, "--out") == 0) {
        c->out = value;
        return MOX_OK;
    }
    if (strcmp(name, "--seed") == 0) {
        return number(name, value, 0, UINT64_MAX, &c->seed);
    }
    if (strcmp(name, "--type") == 0) {
        c->mix_k_m = strcmp(value, "q4_k_m") == 0;
        if (!synth_type_of(c->mix_k_m ? "q4_k" : value, &c->type)) {
            return MOX_FAIL(MOX_E_OPTION, "--type %s: no such type", value);
        }
        return MOX_OK;
    }
    for (int i = 0; i < N_OPTIONS; i++) {
        if (strcmp(name, options[i].name) == 0) {
            MOX_TRY(number(name, value, options[i].lo, options[i].hi, &v));
            uint32_t narrow = (uint32_t)v;
            memcpy((char *)c + options[i].off, &narrow, sizeof narrow);
            return MOX_OK;
        }
    }
    return MOX_FAIL(MOX_E_OPTION, "no option %s", name);
}

static mox_err check_shape(synth_cfg *c)
{
    if (!c->out) {
        return MOX_FAIL(MOX_E_OPTION, "--out FILE is missing");
    }
    if (c->head_dim == 0 && c->d_model % c->heads == 0) {
        c->head_dim = c->d_model / c->heads;
    }
    if (c->head_dim < 2 || c->head_dim % 2) {
        return MOX_FAIL(MOX_E_ARG, "a head of %u / %u elements is not even; --head-dim sets it", c->d_model,
                        c->heads);
    }
    if (c->heads % c->kv_heads) {
        return MOX_FAIL(MOX_E_ARG, "%u heads do not divide into %u key/value heads", c->heads, c->kv_heads);
    }
    if (c->experts > 0 && c->top_k > c->experts) {
        return MOX_FAIL(MOX_E_ARG, "top %u of %u experts", c->top_k, c->experts);
    }
    return MOX_OK;
}

static int fail(void)
{
    const mox_err_info *e = mox_err_last();
    fprintf(stderr, "moxie-synth: %s (MX-%d)\n", e->msg, -(int)e->code);
    return mox_err_exit_code(e->code);
}

int main(int argc, char **argv)
{
    synth_cfg c = {.layers = 2,
                   .d_model = 256,
                   .d_ff = 512,
                   .heads = 8,
                   .kv_heads = 2,
                   .experts = 8,
                   .top_k = 2,
                   .vocab = 1003,
                   .ctx = 2048,
                   .split = 1,
                   .type = MOX_TYPE_Q4_K,
                   .mix_k_m = true,
                   .seed = 1};
    uint64_t bytes = 0;
    struct timespec from, to;
    for (int i = 1; i < argc; i += 2) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            usage(stdout);
            return 0;
        }
        if (set_option(&c, argv[i], i + 1 < argc ? argv[i + 1] : NULL) != MOX_OK) {
            return fail();
        }
    }
    if (check_shape(&c) != MOX_OK) {
        return fail();
    }
    clock_gettime(CLOCK_MONOTONIC, &from);
    if (synth_write(&c, &bytes) != MOX_OK) {
        return fail();
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    double s = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) * 1e-9;
    fprintf(stderr, "synth: %llu bytes in %u file%s, %.2f s, %.2f GB/s\n", (unsigned long long)bytes, c.split,
            c.split == 1 ? "" : "s", s, (double)bytes * 1e-9 / s);
    return 0;
}
