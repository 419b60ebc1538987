/* Mutations that know GGUF: a byte fuzzer hardly gets past the tensor table, because one wrong length makes the rest
 * unreadable. Here a header is changed a field, a key or a tensor at a time, with the counts and lengths around it put
 * right (most of the time), so that what is wrong lies deep. One in eight is libFuzzer's own.
 */
#include "fuzz/fuzz.h"
#include "gguf/fields.h"

#include <string.h>

typedef struct file {
    uint8_t *p;
    size_t n, max;
    uint64_t random;
    gf_map *m;
} file;

static uint64_t next(file *f)
{
    f->random ^= f->random << 13;
    f->random ^= f->random >> 7;
    f->random ^= f->random << 17;
    return f->random;
}

static size_t pick(file *f, size_t n)
{
    return (size_t)(next(f) % n);
}

/* Replace p[at, at + old) by `with` bytes of room; false where there is none. */
static bool splice(file *f, size_t at, size_t old, size_t with)
{
    if (old > f->n - at || with > f->max - (f->n - old)) {
        return false;
    }
    memmove(f->p + at + with, f->p + at + old, f->n - at - old);
    f->n += with - old;
    return true;
}

static const gf_field *find(const file *f, gf_what what)
{
    for (uint32_t i = 0; i < f->m->n_fields; i++) {
        if (f->m->f[i].what == what) {
            return &f->m->f[i];
        }
    }
    return NULL;
}

static void count(file *f, gf_what what, uint64_t add)
{
    const gf_field *c = find(f, what);
    gf_set(f->p, c, gf_get(f->p, c) + add);
}

static void set_field(file *f)
{
    const gf_field *c = &f->m->f[pick(f, f->m->n_fields)];
    gf_set(f->p, c, gf_bad_value(gf_get(f->p, c), f->n - c->at - c->bytes, next(f)));
}

/* Types and kinds by their own ranges: a random one is nearly always unknown. */
static void set_kind(file *f)
{
    const gf_field *c = &f->m->f[pick(f, f->m->n_fields)];
    if (c->what == GF_KIND || c->what == GF_ELEM) {
        gf_set(f->p, c, next(f) % 14);
    } else if (c->what == GF_TYPE) {
        gf_set(f->p, c, next(f) % 42);
    } else if (c->what == GF_NE || c->what == GF_SCALAR || c->what == GF_ITEM) {
        gf_set(f->p, c, next(f) % 300);
    } else {
        set_field(f);
    }
}

static const char *const names[] = {"general.architecture",
                                    "general.alignment",
                                    "general.name",
                                    "llama.block_count",
                                    "llama.context_length",
                                    "llama.embedding_length",
                                    "llama.feed_forward_length",
                                    "llama.attention.head_count",
                                    "llama.attention.head_count_kv",
                                    "llama.attention.key_length",
                                    "llama.attention.value_length",
                                    "llama.attention.layer_norm_rms_epsilon",
                                    "llama.expert_count",
                                    "llama.expert_used_count",
                                    "llama.expert_gating_func",
                                    "llama.expert_weights_scale",
                                    "llama.expert_shared_count",
                                    "llama.rope.dimension_count",
                                    "llama.rope.freq_base",
                                    "llama.rope.scale_linear",
                                    "llama.rope.scaling.type",
                                    "llama.rope.scaling.factor",
                                    "llama.vocab_size",
                                    "tokenizer.ggml.model",
                                    "tokenizer.ggml.tokens",
                                    "tokenizer.ggml.scores",
                                    "tokenizer.ggml.token_type",
                                    "tokenizer.ggml.bos_token_id",
                                    "tokenizer.ggml.eos_token_id",
                                    "tokenizer.ggml.add_bos_token",
                                    "tokenizer.ggml.add_eos_token",
                                    "tokenizer.ggml.add_space_prefix",
                                    "tokenizer.chat_template",
                                    "split.no",
                                    "split.count",
                                    "split.tensors.count",
                                    "moxie.pack.version",
                                    "moxie.pack.layout",
                                    "moxie.pack.source.id",
                                    "moxie.pack.source.alignment",
                                    "moxie.pack.tensor.names",
                                    "moxie.pack.tensor.types",
                                    "moxie.pack.tensor.dims",
                                    "moxie.pack.sums",
                                    "rope_freqs.weight",
                                    "token_embd.weight",
                                    "output.weight",
                                    "output_norm.weight",
                                    "blk.0.attn_q.bias",
                                    "blk.1.ffn_gate.0.weight",
                                    "linear",
                                    "none",
                                    "llama",
                                    "<0x41>",
                                    "<0x-1>",
                                    "\x1B[2J",
                                    "\xE2\x80\xAE",
                                    ("\xC2\x9B"
                                     "31m")};

/* Another text of another length for a key, a name, a value or a token, and its length with it. */
static void set_string(file *f)
{
    for (int tries = 0; tries < 16; tries++) {
        const gf_field *c = &f->m->f[pick(f, f->m->n_fields)];
        bool text = c->what == GF_KEY_LEN || c->what == GF_STRING_LEN || c->what == GF_ITEM_LEN ||
                    c->what == GF_NAME_LEN;
        uint64_t old = text ? gf_get(f->p, c) : 0;
        if (!text || old > f->n - c->at - 8) {
            continue;
        }
        size_t n = pick(f, 70);
        const char *from = NULL;
        if (next(f) % 2) {
            from = names[pick(f, sizeof names / sizeof names[0])];
            n = strlen(from);
        }
        size_t at = c->at + 8;
        if (!splice(f, at, (size_t)old, n)) {
            return;
        }
        for (size_t i = 0; i < n; i++) {
            f->p[at + i] = from ? (uint8_t)from[i] : (uint8_t)next(f);
        }
        gf_set(f->p, c, n);
        return;
    }
}

static gf_span *an_entry(file *f, bool tensors)
{
    uint32_t n = tensors ? f->m->n_tensors : f->m->n_kv;
    return n == 0 ? NULL : &(tensors ? f->m->tensor : f->m->kv)[pick(f, n)];
}

static void drop_entry(file *f)
{
    bool tensors = next(f) % 2;
    const gf_span *e = an_entry(f, tensors);
    if (e && splice(f, e->at, e->end - e->at, 0)) {
        count(f, tensors ? GF_N_TENSORS : GF_N_KV, UINT64_MAX);
    }
}

/* The entry once more, at another entry's place; often with another name, or it is refused at once. */
static void copy_entry(file *f)
{
    bool tensors = next(f) % 2;
    const gf_span *from = an_entry(f, tensors), *to = an_entry(f, tensors);
    static uint8_t copy[4096];
    size_t n = from ? from->end - from->at : 0;
    if (!from || n > sizeof copy || n < 9) {
        return;
    }
    memcpy(copy, f->p + from->at, n);
    if (splice(f, to->at, 0, n)) {
        copy[8] ^= (uint8_t)(next(f) % 4);
        memcpy(f->p + to->at, copy, n);
        count(f, tensors ? GF_N_TENSORS : GF_N_KV, 1);
    }
}

/* An array of another length, with the elements to it. */
static void set_array(file *f)
{
    for (int tries = 0; tries < 32; tries++) {
        uint32_t i = (uint32_t)pick(f, f->m->n_fields);
        const gf_field *c = &f->m->f[i], *item = &f->m->f[i + 1];
        if (c->what != GF_ARRAY_N || i + 1 >= f->m->n_fields || item->what != GF_ITEM) {
            continue;
        }
        uint64_t n = gf_get(f->p, c);
        size_t bytes = item->bytes, now = pick(f, 80);
        if (n <= SIZE_MAX / 8 && splice(f, item->at, (size_t)n * bytes, now * bytes)) {
            for (size_t k = 0; k < now * bytes; k++) {
                f->p[item->at + k] = next(f) % 2 ? 0 : (uint8_t)next(f);
            }
            gf_set(f->p, c, now);
        }
        return;
    }
}

/* Offsets that follow each other again, as big steps as the usual alignment wants: sizes are not known here. */
static void spread_tensors(file *f)
{
    uint64_t off = 0, step = (1 + next(f) % 64) * 1024;
    for (uint32_t i = 0; i < f->m->n_fields; i++) {
        if (f->m->f[i].what == GF_OFF) {
            gf_set(f->p, &f->m->f[i], off);
            off += step;
        }
    }
}

static void cut(file *f)
{
    f->n = next(f) % 2 ? pick(f, f->n) + 1 : f->m->header_end - pick(f, 16 < f->m->header_end ? 16 : 1);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed)
{
    static void (*const changes[])(file *) = {set_field,  set_field,  set_kind,  set_string,     set_string,
                                              drop_entry, copy_entry, set_array, spread_tensors, cut};
    static gf_map map;
    file f = {.p = data, .n = n, .max = max, .random = (seed + 1) * UINT64_C(0x9E3779B97F4A7C15), .m = &map};
    if (next(&f) % 8 == 0 || !gf_read(&map, data, n)) {
        return LLVMFuzzerMutate(data, n, max);
    }
    size_t rounds = 1 + pick(&f, 3);
    for (size_t i = 0; i < rounds && gf_read(&map, f.p, f.n); i++) {
        /* cut seldom: nothing that comes after it can be reached any more */
        size_t which = pick(&f, sizeof changes / sizeof changes[0] * 4);
        changes[which < sizeof changes / sizeof changes[0] ? which : which % 9](&f);
    }
    return f.n;
}
