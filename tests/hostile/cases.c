#include "hostile/cases.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define M1     UINT64_MAX
#define P(bit) ((uint64_t)1 << (bit))
#define TOK    "tokenizer.ggml.tokens"
#define SCORES "tokenizer.ggml.scores"
#define TYPES  "tokenizer.ggml.token_type"
#define MERGES "tokenizer.ggml.merges"
#define EMBD   "token_embd.weight"
#define NORM   "blk.0.attn_norm.weight"
#define ROUTER "blk.0.ffn_gate_inp.weight"
#define GATE   "blk.0.ffn_gate_exps.weight"
#define UP     "blk.1.ffn_up_exps.weight"
#define DOWN   "blk.1.ffn_down_exps.weight"
#define LAST   "output.weight"

/* ---- bytes that are no GGUF ---- */

static void only(gb *b, const char *bytes, size_t n)
{
    b->n = 0;
    gb_bytes(b, bytes, n);
}

#define ONLY(name, text)                                                                                     \
    static void name(gb *b)                                                                                  \
    {                                                                                                        \
        only(b, text, sizeof(text) - 1);                                                                     \
    }
ONLY(nothing, "")
ONLY(four_bytes, "GGUF")
ONLY(wrong_magic, "GGUX\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")
ONLY(old_ggml, "lmgg\1\0\0\0\0\0\0\0\0\0\0\0")
ONLY(old_ggmf, "fmgg\1\0\0\0\0\0\0\0\0\0\0\0")
ONLY(old_ggjt, "tjgg\3\0\0\0\0\0\0\0\0\0\0\0")
ONLY(old_ggla, "algg\1\0\0\0\0\0\0\0\0\0\0\0")
ONLY(gzip, "\x1F\x8B\x08\0\0\0\0\0\0\3....")
ONLY(zip, "PK\3\4\x14\0\0\0\0\0........................")
ONLY(torch, "PK\3\4\0\0\x08\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0\x12\0archive/data.pklFB....")
ONLY(pickle, "\x80\x04\x95\0\0\0\0\0\0\0\0}q\0.")
ONLY(safetensors,
     "\x3D\0\0\0\0\0\0\0{\"__metadata__\":{\"format\":\"pt\"}}                              ....")
ONLY(web_page, "<!DOCTYPE html>\n<html><head><title>404</title></head></html>\n")
ONLY(lfs, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 26440000000\n")
ONLY(json, "{\"error\":\"Repository not found\"}\n")
ONLY(text, "This model has moved. See the new place of it.\n")
ONLY(zeros, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")
ONLY(empty_container, "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")
ONLY(endless_array,
     "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0a\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x80")

/* ---- keys ---- */

#define KEYS(name, body)                                                                                     \
    static void name(gb *b)                                                                                  \
    {                                                                                                        \
        body;                                                                                                \
    }
KEYS(key_with_nul, gb_kv_strn(b, "a\0b", 3, "x", 1))
KEYS(key_no_utf8, gb_kv_str(b, "caf\xE9", "x"))
KEYS(key_with_escape, gb_kv_str(b, "a\x1B[31m", "x"))
KEYS(key_with_c1, gb_kv_str(b, "a\xC2\x9B", "x"))
KEYS(key_again, gb_kv_str(b, "llama.block_count", "2"))
KEYS(key_again_same, gb_kv_u32(b, "llama.block_count", TINY_LAYERS))
KEYS(bad_bool, gb_kv_bool(b, "tokenizer.ggml.add_bos_token", 2))
KEYS(bad_bool_255, gb_kv_bool(b, "tokenizer.ggml.add_bos_token", 255))
KEYS(add_bos_typed_int, gb_kv_u32(b, "tokenizer.ggml.add_bos_token", 1))
KEYS(name_with_escape, gb_kv_str(b, "general.name",
                                 "\x1B[2J\x1B]0;t\x07\r\n\xE2\x80\xAE"
                                 "evil\xFF"))
KEYS(rope_nan, gb_kv_f32(b, "llama.rope.freq_base", NAN))
KEYS(rope_inf, gb_kv_f32(b, "llama.rope.freq_base", INFINITY))
KEYS(rope_zero, gb_kv_f32(b, "llama.rope.freq_base", 0.0f))
KEYS(rope_negative, gb_kv_f32(b, "llama.rope.freq_base", -1.0f))
KEYS(rope_denormal, gb_kv_f32(b, "llama.rope.freq_base", 1e-42f))
KEYS(eps_nan, gb_kv_f32(b, "llama.attention.layer_norm_rms_epsilon", NAN))
KEYS(eps_negative, gb_kv_f32(b, "llama.attention.layer_norm_rms_epsilon", -1.0f))
KEYS(factor_denormal, gb_kv_f32(b, "llama.rope.scaling.factor", 1e-42f))
KEYS(alignment_i32, gb_kv_int(b, "general.alignment", K_I32, 32))
KEYS(alignment_string, gb_kv_str(b, "general.alignment", "32"))
KEYS(arch_number, gb_kv_u32(b, "general.architecture", 7))
KEYS(arch_unknown, gb_kv_str(b, "general.architecture", "\x1B[31mnone"))
KEYS(layers_string, gb_kv_str(b, "llama.block_count", "2"))
KEYS(layers_float, gb_kv_f32(b, "llama.block_count", 2.0f))
KEYS(layers_negative, gb_kv_int(b, "llama.block_count", K_I32, M1))
KEYS(layers_huge, gb_kv_int(b, "llama.block_count", K_U64, P(40)))
KEYS(experts_negative, gb_kv_int(b, "llama.expert_count", K_I32, M1))
KEYS(used_negative, gb_kv_int(b, "llama.expert_used_count", K_I32, M1))
KEYS(heads_negative, gb_kv_int(b, "llama.attention.head_count", K_I32, M1))
KEYS(kv_heads_negative, gb_kv_int(b, "llama.attention.head_count_kv", K_I32, M1))
KEYS(context_negative, gb_kv_int(b, "llama.context_length", K_I32, M1))
KEYS(width_negative, gb_kv_int(b, "llama.embedding_length", K_I32, M1))
KEYS(ff_negative, gb_kv_int(b, "llama.feed_forward_length", K_I32, M1))
KEYS(rope_dims_negative, gb_kv_int(b, "llama.rope.dimension_count", K_I32, M1))
KEYS(shared_experts, gb_kv_u32(b, "llama.expert_shared_count", 3))
KEYS(groups_unequal, gb_kv_u32(b, "llama.expert_group_count", 3))
KEYS(groups_negative, gb_kv_int(b, "llama.expert_group_count", K_I32, M1))
KEYS(groups_too_many, gb_kv_u32(b, "llama.expert_group_count", 8))
KEYS(groups_unused, gb_kv_u32(b, "llama.expert_group_count", 2))
KEYS(dense_all, gb_kv_u32(b, "llama.leading_dense_block_count", TINY_LAYERS))
KEYS(dense_too_many, gb_kv_u32(b, "llama.leading_dense_block_count", TINY_LAYERS + 1))
KEYS(bos_negative, gb_kv_int(b, "tokenizer.ggml.bos_token_id", K_I32, M1))
KEYS(eos_beyond, gb_kv_u32(b, "tokenizer.ggml.eos_token_id", TINY_VOCAB))
KEYS(pad_beyond, gb_kv_u32(b, "tokenizer.ggml.padding_token_id", UINT32_MAX))
KEYS(unk_beyond, gb_kv_u32(b, "tokenizer.ggml.unknown_token_id", UINT32_MAX))
KEYS(tokenizer_unknown, gb_kv_str(b, "tokenizer.ggml.model", "rot13"))
KEYS(tokenizer_bpe, gb_kv_str(b, "tokenizer.ggml.model", "gpt2"))

static void groups_used(gb *b, uint32_t count, uint32_t used)
{
    gb_kv_u32(b, "llama.expert_group_count", count);
    gb_kv_u32(b, "llama.expert_group_used_count", used);
}

KEYS(groups_more_used, groups_used(b, 2, 3))
KEYS(groups_too_small, groups_used(b, 4, 1)) /* one expert in reach, two wanted */

/* Merges are what byte-level BPE is made of; here over a vocabulary of SentencePiece, whose byte tokens both have. Beside
 * SentencePiece they mean nothing. */
static void merges(gb *b, const char *one)
{
    gb_kv_strings(b, MERGES, &one, 1);
}

#define BPE(name, body)                                                                                      \
    static void name(gb *b)                                                                                  \
    {                                                                                                        \
        tokenizer_bpe(b);                                                                                    \
        body;                                                                                                \
    }
BPE(merge_no_space, merges(b, "ab"))
BPE(merge_three, merges(b, "a b c"))
BPE(merge_unknown, merges(b, "q zz"))
BPE(merge_self, merges(b, "ab ab"))
BPE(merge_none, gb_kv_strings(b, MERGES, NULL, 0))
BPE(merge_numbers, gb_kv_array(b, MERGES, K_I32, "\1\0\0\0", 1, 4))
BPE(merge_text, gb_kv_str(b, MERGES, "a b"))
KEYS(merge_beside, merges(b, "ab"))
KEYS(merge_beside_numbers, gb_kv_array(b, MERGES, K_I32, "\1\0\0\0", 1, 4))

static void merge_count(gb *b, uint64_t n)
{
    const tiny_edit e = {.without_key = "tokenizer.ggml.model", .keys = merge_no_space};
    gb_free(b);
    tiny_build(b, &e);
    gb_set(b, "count " MERGES, n);
}

KEYS(merge_many, merge_count(b, 1 << 24))
KEYS(merge_too_many, merge_count(b, (1 << 24) + 1))

static void nested_arrays(gb *b)
{
    gb_kv_int(b, "deep", K_U32, K_ARRAY); /* its value becomes the element kind */
    gb_set(b, "kind deep", K_ARRAY);
    for (int i = 0; i < 1000000; i++) {
        gb_bytes(b, "\1\0\0\0\0\0\0\0\11\0\0\0", 12);
    }
}

static void arch_long(gb *b)
{
    size_t n = 1 << 20;
    char *p = malloc(n);
    memset(p, 'x', n);
    gb_kv_strn(b, "general.architecture", 20, p, n);
    free(p);
}

static void layers_unequal(gb *b)
{
    static const int32_t three[3] = {TINY_FF, TINY_FF, TINY_FF};
    gb_kv_array(b, "llama.feed_forward_length", K_I32, three, 3, 4);
}

static void long_key(gb *b)
{
    static char key[65537];
    memset(key, 'k', 65536);
    gb_kv_strn(b, key, 65536, "x", 1);
}

/* an array of numbers, one for each token */
static void per_token(gb *b, const char *key, uint32_t kind, const void *one, size_t bytes, size_t n)
{
    uint8_t *p = malloc(n * bytes);
    for (size_t i = 0; i < n; i++) {
        memcpy(p + i * bytes, one, bytes);
    }
    gb_kv_array(b, key, kind, p, n, bytes);
    free(p);
}

KEYS(tokens_int, per_token(b, TOK, K_I32, "\1\0\0\0", 4, TINY_VOCAB))
KEYS(scores_u8, per_token(b, SCORES, K_U8, "\1", 1, TINY_VOCAB))
KEYS(types_u8, per_token(b, TYPES, K_U8, "\1", 1, TINY_VOCAB))
KEYS(scores_short, per_token(b, SCORES, K_F32, "\0\0\0\0", 4, TINY_VOCAB - 1))
KEYS(scores_nan, per_token(b, SCORES, K_F32, "\0\0\xC0\x7F", 4, TINY_VOCAB))
KEYS(types_zero, per_token(b, TYPES, K_I32, "\0\0\0\0", 4, TINY_VOCAB))
KEYS(types_all_bytes, per_token(b, TYPES, K_I32, "\6\0\0\0", 4, TINY_VOCAB))
KEYS(no_tokens, gb_kv_strings(b, TOK, NULL, 0))

/* ---- vocabularies: one text is another. Built once, they stay for the program's life. ---- */

static const char *changed[10][TINY_VOCAB];

static const char *const *with_token(int slot, int id, const char *text)
{
    tiny_tokens(changed[slot]);
    changed[slot][id] = text;
    return changed[slot];
}

static char long_token[(1 << 20) + 1];

enum { LONG, NO_UTF8, MINUS_ONE, ZZ, HUNDRED, PLUS_F, EMPTY, TWICE, PREFIXES, NO_END };

static void change_vocabulary(gb *b, int which)
{
    static const char *const texts[] = {
        [LONG] = long_token,   [NO_UTF8] = "a\xFFz", [MINUS_ONE] = "<0x-1>", [ZZ] = "<0xZZ>",
        [HUNDRED] = "<0x100>", [PLUS_F] = "<0x+F>",  [EMPTY] = "",           [TWICE] = "ab"};
    memset(long_token, 'a', sizeof long_token - 1);
    bool byte = which >= MINUS_ONE && which <= PLUS_F;
    const tiny_edit e = {.tokens = with_token(which, byte ? 3 + 0x41 : 260, texts[which])};
    gb_free(b);
    tiny_build(b, &e);
}

KEYS(token_long, change_vocabulary(b, LONG))
KEYS(token_no_utf8, change_vocabulary(b, NO_UTF8))
KEYS(token_minus_one, change_vocabulary(b, MINUS_ONE))
KEYS(token_zz, change_vocabulary(b, ZZ))
KEYS(token_hundred, change_vocabulary(b, HUNDRED))
KEYS(token_plus_f, change_vocabulary(b, PLUS_F))
KEYS(token_empty, change_vocabulary(b, EMPTY))
KEYS(token_twice, change_vocabulary(b, TWICE))

/* Control tokens of which each begins like the one before, and one of them twice. */
static void prefix_types(gb *b)
{
    int32_t types[TINY_VOCAB];
    for (int i = 0; i < TINY_VOCAB; i++) {
        types[i] = i == 0 ? 2 : i < 3 || i >= 263 ? 3 : i < 259 ? 6 : 1;
    }
    gb_kv_array(b, TYPES, K_I32, types, TINY_VOCAB, 4);
}

static void special_prefixes(gb *b)
{
    static const char *const texts[] = {"<s>a", "<s>ab", "<s>ab", "<s>abc"};
    tiny_tokens(changed[PREFIXES]);
    memcpy(changed[PREFIXES] + 263, texts, sizeof texts);
    const tiny_edit e = {.without_key = TYPES, .keys = prefix_types, .tokens = changed[PREFIXES]};
    gb_free(b);
    tiny_build(b, &e);
}

/* No key names an end of text and no token has the text of one. */
static void no_end(gb *b)
{
    const tiny_edit e = {.without_key = "tokenizer.ggml.eos_token_id",
                         .tokens = with_token(NO_END, 2, "<x>")};
    gb_free(b);
    tiny_build(b, &e);
}

/* ---- tensors ---- */

static void one_more(gb *b, const char *name, uint64_t off)
{
    const uint64_t ne[1] = {32};
    gb_tensor(b, name, 1, ne, T_F32, off);
}

#define TENSORS(name, body)                                                                                  \
    static void name(gb *b, uint64_t off)                                                                    \
    {                                                                                                        \
        body;                                                                                                \
    }
TENSORS(tensor_like_a_path, one_more(b, "../../x", off))
TENSORS(tensor_no_utf8, one_more(b, "\xFF\xFE", off))
TENSORS(tensor_with_c1, one_more(b,
                                 "a\xC2\x9B"
                                 "31m",
                                 off))
TENSORS(tensor_again, one_more(b, NORM, off))
TENSORS(tensor_after_gap, one_more(b, "late", off + 4096))
TENSORS(tensor_unused, one_more(b, "unused", off))

static void tensor_with_nul(gb *b, uint64_t off)
{
    one_more(b, "aXb", off);
    b->p[gb_at(b, "len name aXb") + 9] = 0;
}

static void tensors_that_wrap(gb *b, uint64_t off)
{
    const uint64_t ne[1] = {0x7FFFFFFFFFFFFFC0};
    gb_tensor(b, "huge.0", 1, ne, 24, off);
    gb_tensor(b, "huge.1", 1, ne, 24, off + ne[0]);
}

static void one_byte_too_far(gb *b, uint64_t off)
{
    const uint64_t ne[1] = {33};
    gb_tensor(b, "last", 1, ne, 24, off); /* I8 */
}

static void norm_in_i8(gb *b, uint64_t off)
{
    const uint64_t ne[1] = {TINY_WIDTH};
    gb_tensor(b, NORM, 1, ne, 24, off);
}

static void router_in_f64(gb *b, uint64_t off)
{
    const uint64_t ne[2] = {TINY_WIDTH, TINY_EXPERTS};
    gb_tensor(b, ROUTER, 2, ne, T_F64, off);
}

static void bad_rope_freqs(gb *b, uint64_t off)
{
    const uint64_t ne[1] = {8};
    gb_tensor(b, "rope_freqs.weight", 1, ne, T_F32, off); /* of zeros */
}

/* the last two tensors change places: offsets go down */
static void descending(gb *b)
{
    uint64_t norm = 0, last = 0;
    memcpy(&norm, b->p + gb_at(b, "off blk.0.attn_norm.weight"), 8);
    memcpy(&last, b->p + gb_at(b, "off blk.1.ffn_norm.weight"), 8);
    gb_set(b, "off blk.0.attn_norm.weight", last);
    gb_set(b, "off blk.1.ffn_norm.weight", norm);
}

static void swap_v2(gb *b)
{
    gb_set(b, "version", 2);
}

static void cut_to(gb *b, size_t n)
{
    b->n = n;
}

static void key_too_long(gb *b)
{
    cut_to(b, gb_at(b, "header end"));
    gb_set(b, "len key general.name", b->n - gb_at(b, "len key general.name") - 8 + 1);
}

KEYS(ends_after_keys, cut_to(b, gb_at(b, "len name " EMBD)))
KEYS(short_by_one, cut_to(b, b->n - 1 - (TINY_VOCAB * 34 + 31) / 32 * 32 + TINY_VOCAB * 34))
KEYS(half, cut_to(b, b->n / 2))
KEYS(no_padding, cut_to(b, gb_at(b, "header end")))
KEYS(header_alone, cut_to(b, (gb_at(b, "header end") + 31) / 32 * 32))

/* ---- weights that no model has ---- */

static void poison(gb *b, const char *where, const void *bits, size_t n, size_t count, size_t step)
{
    uint8_t *p = b->p + gb_at(b, where);
    for (size_t i = 0; i < count; i++) {
        memcpy(p + i * step, bits, n);
    }
}

KEYS(router_nan, poison(b, "data " ROUTER, "\0\0\xC0\x7F", 4, TINY_WIDTH *TINY_EXPERTS, 4))
KEYS(router_inf, poison(b, "data " ROUTER, "\0\0\x80\x7F", 4, TINY_WIDTH *TINY_EXPERTS, 4))
KEYS(scales_nan, poison(b, "data " GATE, "\0\x7E", 2, 2 * TINY_FF * TINY_EXPERTS / 2, 18))
KEYS(scales_inf, poison(b, "data " UP, "\0\x7C", 2, TINY_FF *TINY_EXPERTS, 34))
KEYS(down_inf, poison(b, "data " DOWN, "\0\x7C", 2, 2 * TINY_WIDTH * TINY_EXPERTS, 34))
KEYS(output_nan, poison(b, "data " LAST, "\0\x7E", 2, TINY_VOCAB, 34))
KEYS(output_one_inf, poison(b, "data " LAST, "\0\x7C", 2, 1, 34))
KEYS(embedding_nan, poison(b, "data " EMBD, "\0\x7E", 2, TINY_VOCAB, 34))
KEYS(norm_inf, poison(b, "data " NORM, "\0\0\x80\x7F", 4, TINY_WIDTH, 4))
KEYS(norm_huge, poison(b, "data " NORM, "\xFF\xFF\x7F\x7F", 4, TINY_WIDTH, 4))

#define OK            MOX_OK, MOX_OK
#define BOTH(err)     MOX_E_##err, MOX_E_##err
#define RUN(err)      MOX_OK, MOX_E_##err
#define NO_MODEL(add) .edit = {.without_key = "tokenizer.ggml.model", .keys = (add)}

const hostile_case hostile_cases[] = {
    {"valid", "the tiny model itself", OK, .field = NULL},
    {"valid2", "version 2", OK, .bytes = swap_v2},
    {"G01", "empty", BOTH(NOT_GGUF), .bytes = nothing},
    {"G02", "four bytes", BOTH(TRUNCATED), .bytes = four_bytes},
    {"G04a", "wrong magic", BOTH(NOT_GGUF), .bytes = wrong_magic},
    {"G04b", "ggml of before GGUF", BOTH(NOT_GGUF), .bytes = old_ggml},
    {"G04c", "ggmf of before GGUF", BOTH(NOT_GGUF), .bytes = old_ggmf},
    {"G04d", "ggjt of before GGUF", BOTH(NOT_GGUF), .bytes = old_ggjt},
    {"G04e", "ggla adapter", BOTH(NOT_GGUF), .bytes = old_ggla},
    {"G05", "big-endian", BOTH(VERSION), .field = "version", .value = 0x03000000},
    {"G06a", "version 0", BOTH(VERSION), .field = "version", .value = 0},
    {"G06b", "version 1", BOTH(VERSION), .field = "version", .value = 1},
    {"G06c", "version 4", BOTH(VERSION), .field = "version", .value = 4},
    {"G06d", "version 2^32-1", BOTH(VERSION), .field = "version", .value = 0xFFFFFFFF},
    {"G07a", "2^64-1 tensors", BOTH(LIMIT), .field = "n_tensors", .value = M1},
    {"G07b", "2^63 tensors", BOTH(LIMIT), .field = "n_tensors", .value = P(63)},
    {"G08a", "2^32 more tensors", BOTH(LIMIT), .field = "n_tensors", .value = P(32) + 23},
    {"G08b", "as many tensors as wrap", BOTH(LIMIT), .field = "n_tensors", .value = P(61) + 3},
    {"G08c", "65536 tensors in a small file", BOTH(TRUNCATED), .field = "n_tensors", .value = 65536},
    {"G09a", "2^64-1 keys", BOTH(LIMIT), .field = "n_kv", .value = M1},
    {"G09b", "2^63 keys", BOTH(LIMIT), .field = "n_kv", .value = P(63)},
    {"G10", "one key too many", BOTH(LIMIT), .field = "n_kv", .value = 21},
    {"G11", "one key too few", BOTH(TYPE), .field = "n_kv", .value = 19},
    {"G12", "neither tensors nor keys", BOTH(KEY), .bytes = empty_container},
    {"G13a", "a directory", BOTH(OPEN), .path = path_directory},
    {"G13b", "a FIFO", BOTH(OPEN), .path = path_fifo},
    {"G13c", "/dev/zero", BOTH(OPEN), .path = path_zero},
    {"G13d", "/dev/random", BOTH(OPEN), .path = path_random},
    {"G13e", "a socket", BOTH(OPEN), .path = path_socket},
    {"G13f", "a loop of symbolic links", BOTH(OPEN), .path = path_loop},
    {"G13g", "a directory of safetensors", BOTH(OPEN), .path = path_directory_of_safetensors},
    {"G13h", "a directory of unfinished downloads", BOTH(OPEN), .path = path_directory_of_parts},
    {"G14a", "gzip", BOTH(NOT_GGUF), .bytes = gzip},
    {"G14b", "zip", BOTH(NOT_GGUF), .bytes = zip},
    {"G14c", "PyTorch's zip", BOTH(NOT_GGUF), .bytes = torch},
    {"G14d", "a pickle", BOTH(NOT_GGUF), .bytes = pickle},
    {"G14e", "safetensors", BOTH(NOT_GGUF), .bytes = safetensors},
    {"G14f", "a web page", BOTH(NOT_GGUF), .bytes = web_page},
    {"G14g", "a git-lfs pointer", BOTH(NOT_GGUF), .bytes = lfs},
    {"G14h", "JSON", BOTH(NOT_GGUF), .bytes = json},
    {"G14i", "text", BOTH(NOT_GGUF), .bytes = text},
    {"G14j", "zeros", BOTH(NOT_GGUF), .bytes = zeros},
    {"G15", "key of 2^64-1 bytes", BOTH(LIMIT), .field = "len key general.name", .value = M1},
    {"G16", "key longer than the file", BOTH(TRUNCATED), .bytes = key_too_long},
    {"G17", "empty key", BOTH(KEY), .field = "len key general.name", .value = 0},
    {"G18", "key of 65536 bytes", BOTH(LIMIT), .edit = {.keys = long_key}},
    {"G19", "key with NUL", BOTH(KEY), .edit = {.keys = key_with_nul}},
    {"G20a", "key that is no UTF-8", BOTH(KEY), .edit = {.keys = key_no_utf8}},
    {"G20b", "key with ESC", BOTH(KEY), .edit = {.keys = key_with_escape}},
    {"G20c", "key with a C1 control", BOTH(KEY), .edit = {.keys = key_with_c1}},
    {"G21", "key twice", BOTH(KEY), .edit = {.keys = key_again_same}},
    {"G22", "key twice, of other kinds", BOTH(KEY), .edit = {.keys = key_again}},
    {"G23a", "kind 13", BOTH(KEY), .field = "kind general.name", .value = 13},
    {"G23b", "kind 255", BOTH(KEY), .field = "kind general.name", .value = 255},
    {"G23c", "kind 2^31-1", BOTH(KEY), .field = "kind general.name", .value = 0x7FFFFFFF},
    {"G23d", "kind -1", BOTH(KEY), .field = "kind general.name", .value = 0xFFFFFFFF},
    {"G24", "string of 2^64-1 bytes", BOTH(LIMIT), .field = "len general.name", .value = M1},
    {"G25", "string longer than the file", BOTH(TRUNCATED), .field = "len general.name", .value = 1,
     .rest = true},
    {"G26", "string of 1 GiB and a byte", BOTH(LIMIT), .path = path_long_string},
    {"G27a", "name with escape sequences", OK,
     .edit = {.without_key = "general.name", .keys = name_with_escape}},
    {"G27b", "a file name with escape sequences", OK, .path = path_escapes},
    {"G28a", "boolean 2", BOTH(KEY), .edit = {.keys = bad_bool}},
    {"G28b", "boolean 255", BOTH(KEY), .edit = {.keys = bad_bool_255}},
    {"G29a", "array of arrays", BOTH(KEY), .field = "elem " TOK, .value = K_ARRAY},
    {"G29b", "arrays nested a million deep", BOTH(KEY), .edit = {.keys = nested_arrays}},
    {"G30a", "array of an unknown kind", BOTH(KEY), .field = "elem " SCORES, .value = 13},
    {"G30b", "array of kind -1", BOTH(KEY), .field = "elem " SCORES, .value = 0xFFFFFFFF},
    {"G31", "an array of 2^63 bytes in 43", BOTH(LIMIT), .bytes = endless_array},
    {"G32a", "array whose bytes wrap", BOTH(LIMIT), .field = "count " SCORES, .value = P(62)},
    {"G32b", "array longer than the file", BOTH(TRUNCATED), .field = "count " SCORES, .value = 1,
     .rest = true},
    {"G33a", "2^40 strings", BOTH(LIMIT), .field = "count " TOK, .value = P(40)},
    {"G33b", "2^24 strings", BOTH(TRUNCATED), .field = "count " TOK, .value = 1 << 24},
    {"G34", "no tokens", BOTH(TENSOR), .edit = {.without_key = TOK, .keys = no_tokens}},
    {"G35a", "rope base NaN", BOTH(KEY), .edit = {.without_key = "llama.rope.freq_base", .keys = rope_nan}},
    {"G35b", "rope base infinite", BOTH(KEY),
     .edit = {.without_key = "llama.rope.freq_base", .keys = rope_inf}},
    {"G35c", "rope base 0", BOTH(KEY), .edit = {.without_key = "llama.rope.freq_base", .keys = rope_zero}},
    {"G35d", "rope base -1", BOTH(KEY),
     .edit = {.without_key = "llama.rope.freq_base", .keys = rope_negative}},
    {"G35e", "rope base denormal", BOTH(KEY),
     .edit = {.without_key = "llama.rope.freq_base", .keys = rope_denormal}},
    {"G35f", "epsilon NaN", BOTH(KEY),
     .edit = {.without_key = "llama.attention.layer_norm_rms_epsilon", .keys = eps_nan}},
    {"G35g", "epsilon -1", BOTH(KEY),
     .edit = {.without_key = "llama.attention.layer_norm_rms_epsilon", .keys = eps_negative}},
    {"G35h", "rope factor denormal", BOTH(KEY), .edit = {.keys = factor_denormal}},
    {"G36a", "alignment 0", BOTH(KEY), .field = "value general.alignment", .value = 0,
     .edit = {.alignment = 32}},
    {"G36b", "alignment 1", BOTH(KEY), .field = "value general.alignment", .value = 1,
     .edit = {.alignment = 32}},
    {"G36c", "alignment 3", BOTH(KEY), .field = "value general.alignment", .value = 3,
     .edit = {.alignment = 32}},
    {"G36d", "alignment 13", BOTH(KEY), .field = "value general.alignment", .value = 13,
     .edit = {.alignment = 32}},
    {"G36e", "alignment 2^31", BOTH(KEY), .field = "value general.alignment", .value = P(31),
     .edit = {.alignment = 32}},
    {"G36f", "alignment as i32", BOTH(KEY), .edit = {.keys = alignment_i32}},
    {"G36g", "alignment as text", BOTH(KEY), .edit = {.keys = alignment_string}},
    {"G37a", "no architecture", BOTH(KEY), .edit = {.without_key = "general.architecture"}},
    {"G37b", "architecture a number", BOTH(KEY),
     .edit = {.without_key = "general.architecture", .keys = arch_number}},
    {"G37c", "architecture unknown, with ESC", BOTH(ARCH),
     .edit = {.without_key = "general.architecture", .keys = arch_unknown}},
    {"G37d", "architecture of 1 MiB", BOTH(ARCH),
     .edit = {.without_key = "general.architecture", .keys = arch_long}},
    {"G38a", "layers as text", BOTH(KEY),
     .edit = {.without_key = "llama.block_count", .keys = layers_string}},
    {"G38b", "layers as float", BOTH(KEY),
     .edit = {.without_key = "llama.block_count", .keys = layers_float}},
    {"G38c", "layers negative", BOTH(KEY),
     .edit = {.without_key = "llama.block_count", .keys = layers_negative}},
    {"G38d", "2^40 layers", BOTH(KEY), .edit = {.without_key = "llama.block_count", .keys = layers_huge}},
    {"G39a", "-1 experts", BOTH(KEY),
     .edit = {.without_key = "llama.expert_count", .keys = experts_negative}},
    {"G39b", "-1 used", BOTH(KEY), .edit = {.without_key = "llama.expert_used_count", .keys = used_negative}},
    {"G39c", "-1 heads", BOTH(KEY),
     .edit = {.without_key = "llama.attention.head_count", .keys = heads_negative}},
    {"G39d", "-1 KV heads", BOTH(KEY),
     .edit = {.without_key = "llama.attention.head_count_kv", .keys = kv_heads_negative}},
    {"G39e", "context -1", BOTH(KEY),
     .edit = {.without_key = "llama.context_length", .keys = context_negative}},
    {"G39f", "width -1", BOTH(KEY),
     .edit = {.without_key = "llama.embedding_length", .keys = width_negative}},
    {"G39g", "inner width -1", BOTH(KEY),
     .edit = {.without_key = "llama.feed_forward_length", .keys = ff_negative}},
    {"G39h", "-1 rope dimensions", BOTH(KEY),
     .edit = {.without_key = "llama.rope.dimension_count", .keys = rope_dims_negative}},
    {"G40", "ends after the keys", BOTH(TRUNCATED), .bytes = ends_after_keys},
    {"G41", "name of 2^64-1 bytes", BOTH(LIMIT), .field = "len name " GATE, .value = M1},
    {"G42", "name of 65 bytes", BOTH(LIMIT), .field = "len name " GATE, .value = 65},
    {"G43", "empty name", BOTH(TENSOR), .field = "len name " GATE, .value = 0},
    {"G44a", "name with NUL", BOTH(TENSOR), .edit = {.tensors = tensor_with_nul, .data = 128}},
    {"G44b", "name like a path", BOTH(TENSOR), .edit = {.tensors = tensor_like_a_path, .data = 128}},
    {"G44c", "name that is no UTF-8", BOTH(TENSOR), .edit = {.tensors = tensor_no_utf8, .data = 128}},
    {"G44d", "name with a C1 control", BOTH(TENSOR), .edit = {.tensors = tensor_with_c1, .data = 128}},
    {"G45", "name twice", BOTH(TENSOR), .edit = {.tensors = tensor_again, .data = 128}},
    {"G46a", "no dimensions", BOTH(TENSOR), .field = "n_dims " GATE, .value = 0},
    {"G46b", "five dimensions", BOTH(TENSOR), .field = "n_dims " GATE, .value = 5},
    {"G46c", "2^32-1 dimensions", BOTH(TENSOR), .field = "n_dims " GATE, .value = 0xFFFFFFFF},
    {"G47a", "rows of 0", BOTH(TENSOR), .field = "ne0 " GATE, .value = 0},
    {"G47b", "0 rows", BOTH(TENSOR), .field = "ne1 " GATE, .value = 0},
    {"G47c", "0 matrices", BOTH(TENSOR), .field = "ne2 " GATE, .value = 0},
    {"G48a", "rows of -1", BOTH(TENSOR), .field = "ne0 " GATE, .value = M1},
    {"G48b", "-2^63 rows", BOTH(TENSOR), .field = "ne1 " GATE, .value = P(63)},
    {"G49", "2^32 rows", BOTH(TRUNCATED), .field = "ne1 " GATE, .value = P(32)},
    {"G50a", "2^42 times 32 and 32 elements", BOTH(TRUNCATED), .field = "ne0 " EMBD, .value = P(42) + 32},
    {"G50b", "bytes that wrap", BOTH(TENSOR), .field = "ne1 " EMBD, .value = P(59)},
    {"G51", "two tensors that add up to 2^64", BOTH(TENSOR),
     .edit = {.tensors = tensors_that_wrap, .data = 128}},
    {"G52", "padding that wraps", BOTH(TENSOR), .field = "off " NORM, .value = M1 - 31},
    {"G53a", "type 4, removed", BOTH(TYPE), .field = "type " GATE, .value = 4},
    {"G53b", "type 5, removed", BOTH(TYPE), .field = "type " GATE, .value = 5},
    {"G53c", "type 31, removed", BOTH(TYPE), .field = "type " GATE, .value = 31},
    {"G53d", "type 33, removed", BOTH(TYPE), .field = "type " GATE, .value = 33},
    {"G53e", "type 36, removed", BOTH(TYPE), .field = "type " GATE, .value = 36},
    {"G53f", "type 38, removed", BOTH(TYPE), .field = "type " GATE, .value = 38},
    {"G53g", "type -1", BOTH(TYPE), .field = "type " GATE, .value = 0xFFFFFFFF},
    {"G53h", "type of a fork", BOTH(TYPE), .field = "type " GATE, .value = 139},
    {"G54a", "rows of 33 in Q4_0", BOTH(TENSOR), .field = "ne0 " GATE, .value = 33},
    {"G54b", "rows of 32 in Q4_K", BOTH(TENSOR), .field = "type " GATE, .value = T_Q4_K},
    {"G55", "misaligned offset", BOTH(TENSOR), .field = "off " NORM, .value = 20},
    {"G56", "offset and size that wrap", BOTH(TENSOR), .field = "off " GATE, .value = M1 - 2047},
    {"G57a", "1 TiB beyond the end", BOTH(TRUNCATED), .field = "off " GATE, .value = P(40)},
    {"G57b", "one byte beyond the end", BOTH(TRUNCATED), .edit = {.tensors = one_byte_too_far, .data = 32}},
    {"G58", "overlap", BOTH(TENSOR), .field = "off " NORM, .value = 32},
    {"G59", "one offset twice", BOTH(TENSOR), .field = "off " NORM, .value = 0},
    {"G60", "a gap", OK, .edit = {.tensors = tensor_after_gap, .data = 4096 + 128}},
    {"G61", "offsets that go down", OK, .bytes = descending},
    {"G62a", "short by a byte", BOTH(TRUNCATED), .bytes = short_by_one},
    {"G62b", "half", BOTH(TRUNCATED), .bytes = half},
    {"G62c", "a name that says unfinished", BOTH(TRUNCATED), .path = path_part_name},
    {"G63a", "bytes behind the last tensor", OK, .edit = {.data = 4096}},
    {"G63b", "a tensor nobody asks for", OK, .edit = {.tensors = tensor_unused, .data = 128}},
    {"G64", "half a terabyte of holes", BOTH(TENSOR), .path = path_half_terabyte},
    {"G65a", "no padding, no data", BOTH(TRUNCATED), .bytes = no_padding},
    {"G65b", "no data", BOTH(TRUNCATED), .bytes = header_alone},
    {"G66a", "0 experts, with experts", BOTH(KEY), .field = "value llama.expert_count", .value = 0},
    {"G66b", "1 expert", BOTH(KEY), .field = "value llama.expert_count", .value = 1},
    {"G66c", "2^31 experts", BOTH(KEY), .field = "value llama.expert_count", .value = P(31)},
    {"G67a", "more used than there are", BOTH(KEY), .field = "value llama.expert_used_count",
     .value = TINY_EXPERTS + 1},
    {"G67b", "none used", BOTH(KEY), .field = "value llama.expert_used_count", .value = 0},
    {"G68", "another number of experts in the tensors", BOTH(TENSOR), .field = "value llama.expert_count",
     .value = 8},
    {"G69a", "no down projection", BOTH(TENSOR), .edit = {.without_tensor = DOWN}},
    {"G69b", "gate and up differ", BOTH(TENSOR), .field = "ne1 " UP, .value = TINY_FF - 1},
    {"G70a", "no heads", BOTH(KEY), .field = "value llama.attention.head_count", .value = 0},
    {"G70b", "heads that do not divide the width", BOTH(KEY), .field = "value llama.attention.head_count",
     .value = 3},
    {"G70c", "more KV heads than heads", BOTH(KEY), .field = "value llama.attention.head_count_kv",
     .value = 4},
    {"G70d", "no KV heads", BOTH(KEY), .field = "value llama.attention.head_count_kv", .value = 0},
    {"G70e", "2^31 heads", BOTH(KEY), .field = "value llama.attention.head_count", .value = P(31)},
    {"G71a", "no layers", BOTH(KEY), .field = "value llama.block_count", .value = 0},
    {"G71b", "10^9 layers", BOTH(KEY), .field = "value llama.block_count", .value = 1000000000},
    {"G71c", "a layer that is not there", BOTH(TENSOR), .field = "value llama.block_count",
     .value = TINY_LAYERS + 1},
    {"G71d", "512 layers", BOTH(TENSOR), .field = "value llama.block_count", .value = 512},
    {"G72a", "another width", BOTH(KEY), .field = "value llama.embedding_length", .value = 64},
    {"G72b", "width 2^31", BOTH(KEY), .field = "value llama.embedding_length", .value = P(31)},
    {"G73a", "context 0", BOTH(KEY), .field = "value llama.context_length", .value = 0},
    {"G73b", "context 2^32-1", BOTH(KEY), .field = "value llama.context_length", .value = 0xFFFFFFFF},
    {"G74a", "odd rope dimensions", BOTH(KEY), .field = "value llama.rope.dimension_count", .value = 15},
    {"G74b", "no rope dimensions", BOTH(KEY), .field = "value llama.rope.dimension_count", .value = 0},
    {"G74c", "more rope dimensions than a head has", BOTH(KEY), .field = "value llama.rope.dimension_count",
     .value = 32},
    {"G75a", "shared experts that are not there", BOTH(TENSOR), .edit = {.keys = shared_experts}},
    {"G75b", "groups that do not divide the experts", BOTH(KEY), .edit = {.keys = groups_unequal}},
    {"G75c", "-1 groups", BOTH(KEY), .edit = {.keys = groups_negative}},
    {"G75d", "more groups than experts", BOTH(KEY), .edit = {.keys = groups_too_many}},
    {"G75e", "groups of which none is used", BOTH(KEY), .edit = {.keys = groups_unused}},
    {"G75f", "more groups used than there are", BOTH(KEY), .edit = {.keys = groups_more_used}},
    {"G75g", "groups with fewer experts than are used", BOTH(KEY), .edit = {.keys = groups_too_small}},
    {"G75h", "more leading dense layers than layers", BOTH(KEY), .edit = {.keys = dense_too_many}},
    {"G75i", "every layer dense, with experts in the file", BOTH(TENSOR), .edit = {.keys = dense_all}},
    {"G76a", "a norm in I8", BOTH(TYPE),
     .edit = {.without_tensor = NORM, .tensors = norm_in_i8, .data = 128}},
    {"G76b", "a router in F64", BOTH(TYPE),
     .edit = {.without_tensor = ROUTER, .tensors = router_in_f64, .data = 1024}},
    {"G77a", "router of NaN", RUN(NUMERIC), .bytes = router_nan},
    {"G77b", "router of infinities", RUN(NUMERIC), .bytes = router_inf},
    {"G78a", "NaN scales in experts", RUN(NUMERIC), .bytes = scales_nan},
    {"G78b", "infinite scales in experts", RUN(NUMERIC), .bytes = scales_inf},
    {"G78c", "infinite scales in the down projection", RUN(NUMERIC), .bytes = down_inf},
    {"G78d", "NaN scales in the output", RUN(NUMERIC), .bytes = output_nan},
    {"G78e", "one infinite scale in the output", RUN(NUMERIC), .bytes = output_one_inf},
    {"G78f", "NaN scales in the embedding", RUN(NUMERIC), .bytes = embedding_nan},
    {"G78g", "infinite norm", RUN(NUMERIC), .bytes = norm_inf},
    {"G78h", "norm as large as can be", RUN(NUMERIC), .bytes = norm_huge},
    {"G78i", "rope factors of 0", RUN(NUMERIC), .edit = {.tensors = bad_rope_freqs, .data = 128}},
    {"G78j", "NaN scales where experts wait for room", RUN(NUMERIC), .field = "value llama.expert_used_count",
     .value = 1, .bytes = scales_nan},
    {"G79", "three widths for two layers", BOTH(KEY),
     .edit = {.without_key = "llama.feed_forward_length", .keys = layers_unequal}},
    {"G80", "tokens that are numbers", BOTH(KEY), .edit = {.without_key = TOK, .keys = tokens_int}},
    {"G81a", "scores of bytes", RUN(KEY), .edit = {.without_key = SCORES, .keys = scores_u8}},
    {"G81b", "types of bytes", RUN(KEY), .edit = {.without_key = TYPES, .keys = types_u8}},
    {"G81c", "unknown types", RUN(TOKENIZER), .edit = {.without_key = TYPES, .keys = types_zero}},
    {"G81d", "every token a byte", RUN(TOKENIZER), .edit = {.without_key = TYPES, .keys = types_all_bytes}},
    {"G82a", "a score too few", RUN(TOKENIZER), .edit = {.without_key = SCORES, .keys = scores_short}},
    {"G82b", "scores of NaN", RUN(TOKENIZER), .edit = {.without_key = SCORES, .keys = scores_nan}},
    {"G83", "one text twice", OK, .bytes = token_twice},
    {"G84a", "empty token", OK, .bytes = token_empty},
    {"G84b", "token of 1 MiB", RUN(TOKENIZER), .bytes = token_long},
    {"G84c", "token that is no UTF-8", RUN(TOKENIZER), .bytes = token_no_utf8},
    {"G85a", "<0x-1>", RUN(TOKENIZER), .bytes = token_minus_one},
    {"G85b", "<0xZZ>", RUN(TOKENIZER), .bytes = token_zz},
    {"G85c", "<0x100>", RUN(TOKENIZER), .bytes = token_hundred},
    {"G85d", "<0x+F>", RUN(TOKENIZER), .bytes = token_plus_f},
    {"G86a", "begin -1", RUN(TOKENIZER),
     .edit = {.without_key = "tokenizer.ggml.bos_token_id", .keys = bos_negative}},
    {"G86b", "end beyond the vocabulary", RUN(TOKENIZER),
     .edit = {.without_key = "tokenizer.ggml.eos_token_id", .keys = eos_beyond}},
    {"G86c", "padding beyond the vocabulary", RUN(TOKENIZER), .edit = {.keys = pad_beyond}},
    {"G86d", "unknown beyond the vocabulary", RUN(TOKENIZER),
     .edit = {.without_key = "tokenizer.ggml.unknown_token_id", .keys = unk_beyond}},
    {"G87", "add_bos as a number", RUN(KEY), .edit = {.keys = add_bos_typed_int}},
    {"G88a", "a merge without a space", RUN(TOKENIZER), NO_MODEL(merge_no_space)},
    {"G88b", "a merge of three", RUN(TOKENIZER), NO_MODEL(merge_three)},
    {"G88c", "a merge of unknown parts", RUN(TOKENIZER), NO_MODEL(merge_unknown)},
    {"G88d", "a merge with itself", RUN(TOKENIZER), NO_MODEL(merge_self)},
    {"G88e", "no merges: bytes alone", OK, NO_MODEL(merge_none)},
    {"G88f", "merges that are numbers", RUN(KEY), NO_MODEL(merge_numbers)},
    {"G88g", "merges that are one text", RUN(KEY), NO_MODEL(merge_text)},
    {"G88h", "2^24 merges", BOTH(TRUNCATED), .bytes = merge_many},
    {"G88i", "one merge more", BOTH(LIMIT), .bytes = merge_too_many},
    {"G88j", "merges beside SentencePiece", OK, .edit = {.keys = merge_beside}},
    {"G88k", "merges that are numbers beside SentencePiece", OK, .edit = {.keys = merge_beside_numbers}},
    {"G89", "a vocabulary shorter than the output", BOTH(TENSOR), .field = "ne1 " LAST,
     .value = TINY_VOCAB - 1},
    {"G90a", "unknown tokenizer", RUN(TOKENIZER),
     .edit = {.without_key = "tokenizer.ggml.model", .keys = tokenizer_unknown}},
    {"G90b", "byte-level BPE without its merges", RUN(KEY),
     .edit = {.without_key = "tokenizer.ggml.model", .keys = tokenizer_bpe}},
    {"G92a", "control tokens that begin alike", OK, .bytes = special_prefixes},
    {"G92b", "no end of text", OK, .bytes = no_end},
    {"G99a", "parts that are missing", BOTH(SPLIT), .path = path_split_alone},
    {"G99b", "part 7 of 2", BOTH(SPLIT), .path = path_split_number},
    {"G99c", "split into 0", BOTH(SPLIT), .path = path_split_zero},
    {"G99d", "split into 65535", BOTH(LIMIT), .path = path_split_many},
    {"G99e", "a part under another name", BOTH(SPLIT), .path = path_split_name},
    {"G100a", "a part of another model", BOTH(SPLIT), .path = path_split_other_model},
    {"G100b", "one tensor in two parts", BOTH(TENSOR), .path = path_split_twice},
    {"G100c", "parts of different alignment", OK, .path = path_split_alignment},
    {"G104a", "no such file", BOTH(OPEN), .path = path_missing},
    {"G104b", "a name too long", BOTH(OPEN), .path = path_too_long},
    {"G104c", "no permission", BOTH(OPEN), .path = path_no_permission},
};
const size_t n_hostile_cases = sizeof hostile_cases / sizeof hostile_cases[0];

const char *hostile_make(const hostile_case *c, const tmpdir *dir)
{
    if (c->path) {
        return c->path(dir);
    }
    gb b = {0};
    tiny_build(&b, &c->edit);
    if (c->field) {
        size_t at = gb_at(&b, c->field);
        gb_set(&b, c->field, c->rest ? b.n - at - 8 + c->value : c->value);
    }
    if (c->bytes) {
        c->bytes(&b);
    }
    tmpdir_write(dir, "model.gguf", b.p, b.n);
    gb_free(&b);
    return tmpdir_path(dir, "model.gguf");
}
