/* Which type each tensor gets.
 *
 * A mix is a name that people know from llama.cpp ("Q4_K_M") and means what it means there: most matrices in one type,
 * some that matter more in a better one. After the name, classes of tensors can be given other types:
 *
 *     Q4_K_M,experts.down=Q6_K,attention=Q8_0
 *
 * Classes are embedding, output, attention.{q,k,v,qkv,output,other}, {ffn,experts,shared}.{gate,up,down} and other; what
 * stands before the point means all of it. Of several that fit the last one counts.
 */
#ifndef MOX_RUNTIME_QUANTIZE_MIX_H
#define MOX_RUNTIME_QUANTIZE_MIX_H

#include "runtime/gguf/gguf.h"

typedef struct mox_mix_rule mox_mix_rule;

typedef struct mox_mix {
    const char *name;
    uint32_t file_type; /* general.file_type */
    mox_type base;
    const mox_mix_rule *rules; /* the first that fits counts; ends with a rule for no class */
} mox_mix;

enum { MOX_MIX_CHANGES = 32 };

/* A --type, read. */
typedef struct mox_mix_choice {
    const mox_mix *mix;
    uint32_t n_changes;
    struct {
        uint32_t classes; /* a bit each */
        mox_type type;
    } change[MOX_MIX_CHANGES];
} mox_mix_choice;

/* What the rules look at beside a tensor's name. */
typedef struct mox_mix_model {
    uint32_t n_layers, n_experts, n_gqa;
    bool tied; /* there is no output.weight: the embedding is both */
} mox_mix_model;

/* mox_mix_parse. Errors MOX_E_OPTION naming what is not known, and what is. */
MOX_NODISCARD mox_err mox_mix_parse(mox_mix_choice *out, const char *text);
/* mox_mix_of: keys and tensors of a model, as far as the rules want them. Errors MOX_E_KEY. */
MOX_NODISCARD mox_err mox_mix_of(mox_mix_model *out, const mox_gguf *g);
/* mox_mix_keeps: tensors that stay as they are: vectors, norms, routers, what is no matrix. */
bool mox_mix_keeps(const mox_gguf_tensor *t);
/* mox_mix_type: the type of a tensor that is not kept. Where rows do not consist of whole blocks, a type with shorter
 * ones is taken; *wanted is what it would have been. */
mox_type mox_mix_type(const mox_mix_choice *c, const mox_mix_model *m, const mox_gguf_tensor *t,
                      mox_type *wanted);

/* Names of mixes, in order; NULL ends them. For help and tests. */
const char *mox_mix_name(uint32_t i);

#endif
