/* See mix.h. The rules are those that llama.cpp's users know; "more bits" is its pattern over the layers: the first and
 * the last eighth, and every third between them.
 */
#include "runtime/quantize/mix.h"

#include "runtime/quantize/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    EMBEDDING = 1 << 0,
    OUTPUT = 1 << 1,
    Q = 1 << 2,
    K = 1 << 3,
    V = 1 << 4,
    QKV = 1 << 5,
    O = 1 << 6,
    ATTENTION_OTHER = 1 << 7,
    FFN_GATE = 1 << 8,
    FFN_UP = 1 << 9,
    FFN_DOWN = 1 << 10,
    EXPERTS_GATE = 1 << 11,
    EXPERTS_UP = 1 << 12,
    EXPERTS_DOWN = 1 << 13,
    SHARED_GATE = 1 << 14,
    SHARED_UP = 1 << 15,
    SHARED_DOWN = 1 << 16,
    OTHER = 1 << 17,
    ATTENTION = Q | K | V | QKV | O | ATTENTION_OTHER,
    FFN = FFN_GATE | FFN_UP | FFN_DOWN,
    EXPERTS = EXPERTS_GATE | EXPERTS_UP | EXPERTS_DOWN,
    SHARED = SHARED_GATE | SHARED_UP | SHARED_DOWN,
    DOWN = FFN_DOWN | EXPERTS_DOWN | SHARED_DOWN,
};

static const struct {
    const char *name;
    uint32_t classes;
} class_names[] = {
    {"embedding", EMBEDDING},
    {"output", OUTPUT},
    {"attention", ATTENTION},
    {"attention.q", Q},
    {"attention.k", K},
    {"attention.v", V},
    {"attention.qkv", QKV},
    {"attention.output", O},
    {"attention.other", ATTENTION_OTHER},
    {"ffn", FFN},
    {"ffn.gate", FFN_GATE},
    {"ffn.up", FFN_UP},
    {"ffn.down", FFN_DOWN},
    {"experts", EXPERTS},
    {"experts.gate", EXPERTS_GATE},
    {"experts.up", EXPERTS_UP},
    {"experts.down", EXPERTS_DOWN},
    {"shared", SHARED},
    {"shared.gate", SHARED_GATE},
    {"shared.up", SHARED_UP},
    {"shared.down", SHARED_DOWN},
    {"other", OTHER},
};

/* What a tensor's name, without "blk.N." and ".weight", says of its class. Longer names stand before their beginnings. */
static const struct {
    const char *begins;
    uint32_t class;
} by_name[] = {
    {"token_embd", EMBEDDING},
    {"output", OUTPUT},
    {"attn_qkv", QKV},
    {"attn_q_", ATTENTION_OTHER}, /* q_a, q_b of compressed attention */
    {"attn_q", Q},
    {"attn_k_", ATTENTION_OTHER},
    {"attn_kv", ATTENTION_OTHER},
    {"attn_k", K},
    {"attn_v_", ATTENTION_OTHER},
    {"attn_v", V},
    {"attn_output", O},
    {"attn_", ATTENTION_OTHER},
    {"ssm_", ATTENTION_OTHER},
    {"ffn_gate_shexp", SHARED_GATE},
    {"ffn_up_shexp", SHARED_UP},
    {"ffn_down_shexp", SHARED_DOWN},
    {"ffn_gate_up_exps", EXPERTS_GATE | EXPERTS_UP},
    {"ffn_gate_exps", EXPERTS_GATE},
    {"ffn_up_exps", EXPERTS_UP},
    {"ffn_down_exps", EXPERTS_DOWN},
    {"ffn_gate.", EXPERTS_GATE}, /* ffn_gate.E: one tensor an expert */
    {"ffn_up.", EXPERTS_UP},
    {"ffn_down.", EXPERTS_DOWN},
    {"ffn_gate", FFN_GATE},
    {"ffn_up", FFN_UP},
    {"ffn_down", FFN_DOWN},
};

typedef enum when { ALWAYS, MORE_BITS, FIRST_16TH, FIRST_8TH, FIRST_2, FIRST_4, GQA_4, EIGHT_EXPERTS } when;

struct mox_mix_rule {
    uint32_t classes;
    when when;
    mox_type type;
};

/* Mixtral's attention is small beside its experts: every mix gives it more. */
#define EIGHT                                                                                                \
    {                                                                                                        \
        K | V, EIGHT_EXPERTS, MOX_TYPE_Q8_0                                                                  \
    }
#define EIGHT_O                                                                                              \
    {                                                                                                        \
        O, EIGHT_EXPERTS, MOX_TYPE_Q5_K                                                                      \
    }
#define TOP                                                                                                  \
    {                                                                                                        \
        OUTPUT, ALWAYS, MOX_TYPE_Q6_K                                                                        \
    }
#define END                                                                                                  \
    {                                                                                                        \
        0, ALWAYS, MOX_TYPE_F32                                                                              \
    }
#define RULES(name) static const mox_mix_rule name[]

RULES(plain) = {END};
RULES(old) = {TOP, EIGHT, END}; /* Q4_0 .. Q5_1 */
RULES(q2_k) = {TOP, EIGHT, EIGHT_O, {V, GQA_4, MOX_TYPE_Q4_K}, {V | O | DOWN, ALWAYS, MOX_TYPE_Q3_K}, END};
RULES(q2_k_s) = {TOP, EIGHT, {V, GQA_4, MOX_TYPE_Q4_K}, {DOWN, FIRST_8TH, MOX_TYPE_Q4_K}, END};
RULES(q3_k_s) = {TOP, EIGHT, EIGHT_O, END};
RULES(q3_k_m) = {TOP,
                 EIGHT,
                 EIGHT_O,
                 {V, FIRST_2, MOX_TYPE_Q5_K},
                 {DOWN, FIRST_16TH, MOX_TYPE_Q5_K},
                 {V | O | QKV | DOWN, ALWAYS, MOX_TYPE_Q4_K},
                 END};
RULES(q3_k_l) = {TOP, EIGHT, {V | O | DOWN, ALWAYS, MOX_TYPE_Q5_K}, {QKV, ALWAYS, MOX_TYPE_Q4_K}, END};
RULES(q4_k_s) = {TOP, EIGHT, EIGHT_O, {V, FIRST_4, MOX_TYPE_Q5_K}, {DOWN, FIRST_8TH, MOX_TYPE_Q5_K}, END};
RULES(q4_k_m) = {TOP, EIGHT, EIGHT_O, {V | DOWN, MORE_BITS, MOX_TYPE_Q6_K}, {QKV, ALWAYS, MOX_TYPE_Q5_K},
                 END};
RULES(q5_k_s) = {TOP, EIGHT, END};
RULES(q5_k_m) = {TOP, EIGHT, {V | DOWN, MORE_BITS, MOX_TYPE_Q6_K}, {QKV, ALWAYS, MOX_TYPE_Q6_K}, END};
RULES(iq4) = {TOP, EIGHT, EIGHT_O, {V, GQA_4, MOX_TYPE_Q5_K}, {DOWN, FIRST_8TH, MOX_TYPE_Q5_K}, END};
RULES(mxfp4) = {{EXPERTS, ALWAYS, MOX_TYPE_MXFP4}, END};

static const mox_mix mixes[] = {
    {"F32", 0, MOX_TYPE_F32, plain},
    {"F16", 1, MOX_TYPE_F16, plain},
    {"BF16", 32, MOX_TYPE_BF16, plain},
    {"Q8_0", 7, MOX_TYPE_Q8_0, plain},
    {"Q4_0", 2, MOX_TYPE_Q4_0, old},
    {"Q4_1", 3, MOX_TYPE_Q4_1, old},
    {"Q5_0", 8, MOX_TYPE_Q5_0, old},
    {"Q5_1", 9, MOX_TYPE_Q5_1, old},
    {"Q2_K", 10, MOX_TYPE_Q2_K, q2_k},
    {"Q2_K_S", 21, MOX_TYPE_Q2_K, q2_k_s},
    {"Q3_K_S", 11, MOX_TYPE_Q3_K, q3_k_s},
    {"Q3_K_M", 12, MOX_TYPE_Q3_K, q3_k_m},
    {"Q3_K_L", 13, MOX_TYPE_Q3_K, q3_k_l},
    {"Q4_K_S", 14, MOX_TYPE_Q4_K, q4_k_s},
    {"Q4_K_M", 15, MOX_TYPE_Q4_K, q4_k_m},
    {"Q5_K_S", 16, MOX_TYPE_Q5_K, q5_k_s},
    {"Q5_K_M", 17, MOX_TYPE_Q5_K, q5_k_m},
    {"Q6_K", 18, MOX_TYPE_Q6_K, q5_k_s},
    {"IQ4_NL", 25, MOX_TYPE_IQ4_NL, iq4},
    {"IQ4_XS", 30, MOX_TYPE_IQ4_XS, iq4},
    {"MXFP4", 38, MOX_TYPE_Q8_0, mxfp4}, /* experts; the rest Q8_0 */
    /* the short names mean the M mixes, as they always have */
    {"Q3_K", 12, MOX_TYPE_Q3_K, q3_k_m},
    {"Q4_K", 15, MOX_TYPE_Q4_K, q4_k_m},
    {"Q5_K", 17, MOX_TYPE_Q5_K, q5_k_m},
};

enum { N_MIXES = sizeof mixes / sizeof mixes[0] };

const char *mox_mix_name(uint32_t i)
{
    return i < N_MIXES ? mixes[i].name : NULL;
}

/* ---- reading --type ---- */

static bool is(const char *name, const char *text, size_t n)
{
    return strlen(name) == n && strncasecmp(name, text, n) == 0;
}

static mox_err no_mix(const char *text, size_t n)
{
    char list[200] = "";
    for (uint32_t i = 0; i < N_MIXES; i++) {
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? " " : "", mixes[i].name);
    }
    MOX_FAIL(MOX_E_OPTION, "--type: '%.*s' is nothing that can be written", (int)(n < 40 ? n : 40), text);
    return mox_err_fix("one of %s", list);
}

static mox_err read_change(mox_mix_choice *c, const char *text, size_t n)
{
    const char *equals = memchr(text, '=', n);
    const size_t class_n = equals ? (size_t)(equals - text) : n;
    uint32_t classes = 0;
    for (size_t i = 0; i < sizeof class_names / sizeof class_names[0]; i++) {
        classes = is(class_names[i].name, text, class_n) ? class_names[i].classes : classes;
    }
    if (!equals || classes == 0) {
        MOX_FAIL(MOX_E_OPTION, "--type: '%.*s' is not CLASS=TYPE", (int)(n < 40 ? n : 40), text);
        return mox_err_fix("classes: embedding output attention[.q|.k|.v|.qkv|.output|.other] "
                           "ffn|experts|shared[.gate|.up|.down] other");
    }
    for (uint32_t t = 0; t < MOX_TYPE_COUNT; t++) {
        const mox_type_desc *d = mox_type_info(t);
        if (d && mox_quantizer_of(t) && is(d->name, equals + 1, n - class_n - 1)) {
            if (c->n_changes == MOX_MIX_CHANGES) {
                return MOX_FAIL(MOX_E_OPTION, "--type: more than %d classes", MOX_MIX_CHANGES);
            }
            c->change[c->n_changes].classes = classes;
            c->change[c->n_changes++].type = (mox_type)t;
            return MOX_OK;
        }
    }
    MOX_FAIL(MOX_E_OPTION, "--type: '%.*s' is no type that can be written", (int)(n - class_n - 1),
             equals + 1);
    return mox_err_fix("F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS MXFP4");
}

mox_err mox_mix_parse(mox_mix_choice *out, const char *text)
{
    mox_mix_choice c = {0};
    size_t n = strcspn(text, ",");
    for (uint32_t i = 0; i < N_MIXES; i++) {
        c.mix = is(mixes[i].name, text, n) ? &mixes[i] : c.mix;
    }
    if (!c.mix) {
        return no_mix(text, n);
    }
    for (text += n; *text == ','; text += n) {
        text++;
        n = strcspn(text, ",");
        MOX_TRY(read_change(&c, text, n));
    }
    *out = c;
    return MOX_OK;
}

/* ---- choosing ---- */

mox_err mox_mix_of(mox_mix_model *out, const mox_gguf *g)
{
    mox_str arch;
    char key[160];
    uint32_t heads = 1, kv = 0;
    *out = (mox_mix_model){.tied = !mox_gguf_find(g, "output.weight")};
    MOX_TRY(mox_gguf_str(g, "general.architecture", &arch));
    const int n = arch.n < 100 ? (int)arch.n : 100;
    snprintf(key, sizeof key, "%.*s.block_count", n, arch.p);
    MOX_TRY(mox_gguf_u32_opt(g, key, 1, UINT32_MAX, &out->n_layers));
    snprintf(key, sizeof key, "%.*s.expert_count", n, arch.p);
    MOX_TRY(mox_gguf_u32_opt(g, key, 0, UINT32_MAX, &out->n_experts));
    /* one number for all layers or an array: then no layer is like another, and heads count as one group */
    snprintf(key, sizeof key, "%.*s.attention.head_count", n, arch.p);
    if (mox_gguf_u32_opt(g, key, 1, UINT32_MAX, &heads) != MOX_OK) {
        heads = 1;
    }
    snprintf(key, sizeof key, "%.*s.attention.head_count_kv", n, arch.p);
    if (mox_gguf_u32_opt(g, key, 0, UINT32_MAX, &kv) != MOX_OK) {
        kv = 0;
    }
    out->n_gqa = kv ? heads / kv : 1;
    return MOX_OK;
}

/* The name behind "blk.N.", and the layer N; -1: of no layer. */
static mox_str in_layer(mox_str name, int64_t *layer)
{
    *layer = -1;
    if (name.n > 4 && memcmp(name.p, "blk.", 4) == 0) {
        size_t at = 4;
        int64_t v = 0;
        for (; at < name.n && name.p[at] >= '0' && name.p[at] <= '9' && v < 100000; at++) {
            v = v * 10 + (name.p[at] - '0');
        }
        if (at < name.n && name.p[at] == '.') {
            *layer = v;
            return (mox_str){name.p + at + 1, name.n - at - 1};
        }
    }
    return name;
}

static bool holds(mox_str s, const char *text)
{
    return memmem(s.p, s.n, text, strlen(text)) != NULL;
}

bool mox_mix_keeps(const mox_gguf_tensor *t)
{
    static const char *const kept[] = {"norm.weight", "ffn_gate_inp", "sinks",  "exp_probs",
                                       "ssm_conv1d",  "ssm_a",        "ssm_dt", "rope_f"};
    const char suffix[] = ".weight";
    const size_t n = sizeof suffix - 1;
    const bool weight = t->name.n > n && memcmp(t->name.p + t->name.n - n, suffix, n) == 0;
    bool keep = !weight || t->n_dims < 2 || t->ne[1] * t->ne[2] * t->ne[3] < 2;
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        keep |= holds(t->name, kept[i]);
    }
    return keep;
}

static uint32_t class_of(const mox_mix_model *m, const mox_gguf_tensor *t, int64_t *layer)
{
    mox_str name = in_layer(t->name, layer);
    for (size_t i = 0; i < sizeof by_name / sizeof by_name[0]; i++) {
        const size_t n = strlen(by_name[i].begins);
        if (name.n >= n && memcmp(name.p, by_name[i].begins, n) == 0) {
            const uint32_t class = by_name[i].class;
            const bool one_expert = n > 0 && by_name[i].begins[n - 1] == '.';
            if (one_expert && !(name.n > n && name.p[n] >= '0' && name.p[n] <= '9')) {
                continue; /* "ffn_gate.weight" */
            }
            return class == EMBEDDING && m->tied ? EMBEDDING | OUTPUT : class;
        }
    }
    return OTHER;
}

static bool applies(when w, const mox_mix_model *m, int64_t layer)
{
    const int64_t n = m->n_layers, eighth = n / 8;
    switch (w) {
    case ALWAYS:
        return true;
    case MORE_BITS:
        return layer < eighth || layer >= 7 * n / 8 || (layer - eighth) % 3 == 2;
    case FIRST_16TH:
        return layer < n / 16;
    case FIRST_8TH:
        return layer < eighth;
    case FIRST_2:
        return layer < 2;
    case FIRST_4:
        return layer < 4;
    case GQA_4:
        return m->n_gqa >= 4;
    case EIGHT_EXPERTS:
        return m->n_experts == 8;
    }
    return false;
}

/* The nearest type with blocks of 32, then one without blocks, for rows that are no multiple of the block. */
static mox_type shorter(mox_type type, uint64_t cols)
{
    if (cols % mox_type_info(type)->block_elems == 0) {
        return type;
    }
    switch (type) {
    case MOX_TYPE_Q4_K:
        type = MOX_TYPE_Q5_0;
        break;
    case MOX_TYPE_Q5_K:
        type = MOX_TYPE_Q5_1;
        break;
    case MOX_TYPE_Q6_K:
        type = MOX_TYPE_Q8_0;
        break;
    case MOX_TYPE_Q2_K:
    case MOX_TYPE_Q3_K:
    case MOX_TYPE_IQ4_XS:
        type = MOX_TYPE_IQ4_NL;
        break;
    default:
        break;
    }
    return cols % mox_type_info(type)->block_elems == 0 ? type : MOX_TYPE_F16;
}

mox_type mox_mix_type(const mox_mix_choice *c, const mox_mix_model *m, const mox_gguf_tensor *t,
                      mox_type *wanted)
{
    int64_t layer;
    const uint32_t class = class_of(m, t, &layer);
    mox_type type = c->mix->base;
    for (const mox_mix_rule *r = c->mix->rules; r->classes; r++) {
        if ((r->classes & class) && applies(r->when, m, layer)) {
            type = r->type;
            break;
        }
    }
    for (uint32_t i = 0; i < c->n_changes; i++) {
        type = (c->change[i].classes & class) ? c->change[i].type : type;
    }
    *wanted = type;
    return shorter(type, t->ne[0]);
}
