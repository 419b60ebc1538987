/* Malformed files, each with the one error it has to give. Cases are named as in the corpus plan: G05, G46,
 * and so on; a letter tells variants apart. Most are the toy model with one field changed; the others are
 * built. Each is given to the pure parser, from memory of exactly its size, and to mox_gguf_open as a file.
 */
#include "gguf/builder.h"
#include "runtime/gguf/gguf.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The same bytes through both doors. Memory of exactly the size lets a sanitizer see one byte too many. */
static void expect(const char *name, const void *data, size_t n, mox_err want)
{
    mox_gguf *g = NULL;
    uint64_t need = 1;
    uint8_t *exact = malloc(n ? n : 1);
    memcpy(exact, data, n);
    mox_err got = mox_gguf_parse(&g, exact, n, n, &need);
    cr_expect(got == want, "%s: parse gives %s, not %s (%s)", name, mox_err_name(got), mox_err_name(want),
              got ? mox_err_last()->msg : "");
    cr_expect(need == 0, "%s: asks for %llu bytes of %zu", name, (unsigned long long)need, n);
    cr_expect(got == MOX_OK || strlen(mox_err_last()->msg) > 10, "%s: no message", name);
    mox_gguf_close(&g);
    free(exact);

    int fd = memfd_create("case", 0);
    char path[64];
    cr_assert(fd >= 0 && write(fd, data, n) == (ssize_t)n);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    got = mox_gguf_open(&g, path);
    cr_expect(got == want, "%s: open gives %s, not %s", name, mox_err_name(got), mox_err_name(want));
    mox_gguf_close(&g);
    close(fd);
}

typedef struct field_case {
    const char *name, *field;
    uint64_t value;
    mox_err want;
} field_case;

#define M1     UINT64_MAX
#define P(bit) ((uint64_t)1 << (bit))
#define TOK    "tokenizer.ggml.tokens"
#define GATE   "blk.0.ffn_gate_exps.weight"
#define DOWN   "blk.0.ffn_down_exps.weight"
#define EMBD   "token_embd.weight"
#define NORM   "blk.0.attn_norm.weight"

static const field_case field_cases[] = {
    {"G05a big-endian v3", "version", 0x03000000, MOX_E_VERSION},
    {"G05b big-endian v2", "version", 0x02000000, MOX_E_VERSION},
    {"G06a", "version", 0, MOX_E_VERSION},
    {"G06b", "version", 1, MOX_E_VERSION},
    {"G06c", "version", 4, MOX_E_VERSION},
    {"G06d", "version", 0xFFFFFFFF, MOX_E_VERSION},
    {"G07a", "n_tensors", M1, MOX_E_LIMIT},
    {"G07b", "n_tensors", P(63), MOX_E_LIMIT},
    {"G08a", "n_tensors", P(32) + TOY_TENSORS, MOX_E_LIMIT},
    {"G08b n * 88 wraps", "n_tensors", P(61) + 3, MOX_E_LIMIT},
    {"G08c", "n_tensors", 65536, MOX_E_TRUNCATED},
    {"G08d", "n_tensors", 65537, MOX_E_LIMIT},
    {"G09a", "n_kv", M1, MOX_E_LIMIT},
    {"G09b", "n_kv", P(63), MOX_E_LIMIT},
    {"G09c", "n_kv", 65536, MOX_E_TRUNCATED},
    {"G10 one key too many", "n_kv", 23, MOX_E_LIMIT},
    {"G11 one key too few", "n_kv", 21, MOX_E_TENSOR},
    {"G15", "len key general.name", M1, MOX_E_LIMIT},
    {"G17 empty key", "len key general.name", 0, MOX_E_KEY},
    {"G18", "len key general.name", 65536, MOX_E_LIMIT},
    {"G23a", "kind general.name", 13, MOX_E_KEY},
    {"G23b", "kind general.name", 255, MOX_E_KEY},
    {"G23c", "kind general.name", 0x7FFFFFFF, MOX_E_KEY},
    {"G23d", "kind general.name", 0xFFFFFFFF, MOX_E_KEY},
    {"G24 string length wraps", "len general.name", M1, MOX_E_LIMIT},
    {"G28a", "value tokenizer.ggml.add_bos_token", 2, MOX_E_KEY},
    {"G28b", "value tokenizer.ggml.add_bos_token", 255, MOX_E_KEY},
    {"G29a array of arrays", "elem " TOK, K_ARRAY, MOX_E_KEY},
    {"G30a unknown element kind", "elem toy.bools", 13, MOX_E_KEY},
    {"G30b", "elem toy.bools", 0xFFFFFFFF, MOX_E_KEY},
    {"G31", "count toy.bools", P(63), MOX_E_LIMIT},
    {"G32 count * 4 wraps", "count tokenizer.ggml.scores", P(62), MOX_E_LIMIT},
    {"G33a", "count " TOK, P(40), MOX_E_LIMIT},
    {"G33b", "count " TOK, 1 << 24, MOX_E_TRUNCATED},
    {"G33c", "count " TOK, (1 << 24) + 1, MOX_E_LIMIT},
    {"G36a", "value general.alignment", 0, MOX_E_KEY},
    {"G36b", "value general.alignment", 1, MOX_E_KEY},
    {"G36c", "value general.alignment", 3, MOX_E_KEY},
    {"G36d", "value general.alignment", 13, MOX_E_KEY},
    {"G36e", "value general.alignment", P(31), MOX_E_KEY},
    {"G36f", "value general.alignment", 131072, MOX_E_KEY},
    {"G36g typed i32", "kind general.alignment", K_I32, MOX_E_KEY},
    {"G36h typed f32", "kind general.alignment", K_F32, MOX_E_KEY},
    {"G41", "len name " GATE, M1, MOX_E_LIMIT},
    {"G42", "len name " GATE, 65, MOX_E_LIMIT},
    {"G43 empty name", "len name " GATE, 0, MOX_E_TENSOR},
    {"G46a", "n_dims " GATE, 0, MOX_E_TENSOR},
    {"G46b", "n_dims " GATE, 5, MOX_E_TENSOR},
    {"G46c", "n_dims " GATE, 0xFFFFFFFF, MOX_E_TENSOR},
    {"G47a", "ne0 " GATE, 0, MOX_E_TENSOR},
    {"G47b", "ne1 " GATE, 0, MOX_E_TENSOR},
    {"G47c", "ne2 " GATE, 0, MOX_E_TENSOR},
    {"G47d", "ne3 blk.0.four.weight", 0, MOX_E_TENSOR},
    {"G48a", "ne0 " GATE, M1, MOX_E_TENSOR},
    {"G48b", "ne1 " GATE, P(63), MOX_E_TENSOR},
    {"G50a", "ne0 " EMBD, P(42) + 1, MOX_E_TRUNCATED},
    {"G50b bytes wrap", "ne1 " EMBD, P(57), MOX_E_TENSOR},
    {"G50c bytes wrap to little", "ne1 " GATE, P(63) / 9 + 1, MOX_E_TENSOR},
    {"G51a", "ne0 " NORM, P(61) - 32, MOX_E_TRUNCATED},
    {"G52 padding wraps", "off " NORM, M1 - 31, MOX_E_TENSOR},
    {"G53a Q4_2", "type " GATE, 4, MOX_E_TYPE},
    {"G53b Q4_3", "type " GATE, 5, MOX_E_TYPE},
    {"G53c Q4_0_4_4", "type " GATE, 31, MOX_E_TYPE},
    {"G53d", "type " GATE, 33, MOX_E_TYPE},
    {"G53e IQ4_NL_4_4 or I2_S", "type " GATE, 36, MOX_E_TYPE},
    {"G53f", "type " GATE, 38, MOX_E_TYPE},
    {"G53g one past the last", "type " GATE, MOX_TYPE_COUNT, MOX_E_TYPE},
    {"G53h", "type " GATE, 0xFFFFFFFF, MOX_E_TYPE},
    {"G53i a type of a fork", "type " GATE, 139, MOX_E_TYPE},
    {"G54a", "ne0 " GATE, 33, MOX_E_TENSOR},
    {"G54b", "ne0 " DOWN, 255, MOX_E_TENSOR},
    {"G55 misaligned", "off " GATE, 1028, MOX_E_TENSOR},
    {"G56 offset + size wraps", "off " GATE, M1 - 2047, MOX_E_TENSOR},
    {"G57 beyond the end by 1 TiB", "off " GATE, P(40), MOX_E_TRUNCATED},
    {"G58 overlap", "off " GATE, 1024 - 32, MOX_E_TENSOR},
    {"G59 the same offset", "off " GATE, 0, MOX_E_TENSOR},
};

Test(gguf_bad, fields_of_the_toy_model)
{
    for (size_t i = 0; i < sizeof field_cases / sizeof field_cases[0]; i++) {
        const field_case *c = &field_cases[i];
        gb b = {0};
        toy_build(&b, NULL);
        gb_set(&b, c->field, c->value);
        expect(c->name, b.p, b.n, c->want);
        gb_free(&b);
    }
}

/* The value that asks for one byte more than there is. */
Test(gguf_bad, lengths_one_beyond_the_end)
{
    static const field_case cases[] = {
        {"G16", "len key general.name", 0, MOX_E_TRUNCATED},
        {"G25", "len general.name", 0, MOX_E_TRUNCATED},
        {"G30c", "count toy.bools", 0, MOX_E_TRUNCATED},
        {"G32b", "count tokenizer.ggml.scores", 0, MOX_E_TRUNCATED},
        {"G33d", "len last " TOK, 0, MOX_E_TRUNCATED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        gb b = {0};
        toy_build(&b, NULL);
        gb_set(&b, cases[i].field, b.n - gb_at(&b, cases[i].field) - 8 + 1);
        expect(cases[i].name, b.p, b.n, cases[i].want);
        gb_free(&b);
    }
}

static void key_again(gb *b)
{
    gb_kv_str(b, "general.name", "toy");
}

static void key_again_otherwise(gb *b)
{
    gb_kv_u32(b, "general.name", 7);
}

static void key_with_nul(gb *b)
{
    gb_kv_strn(b, "a\0b", 3, "x", 1);
}

static void key_no_utf8(gb *b)
{
    gb_kv_str(b, "caf\xE9", "x");
}

static void key_with_escape(gb *b)
{
    gb_kv_str(b, "a\x1B[31m", "x");
}

static void string_alignment(gb *b)
{
    gb_kv_strings(b, "toy.nothing", NULL, 0);
    gb_kv_array(b, "toy.bad_bools", K_BOOL, "\1\2", 2, 1);
}

static const uint64_t one_row[4] = {32, 1, 1, 1};

static void tensor_with_nul(gb *b, uint64_t off)
{
    gb_tensor(b, "aXb", 1, one_row, T_F32, off);
    b->p[gb_at(b, "len name aXb") + 9] = 0;
}

static void tensor_like_a_path(gb *b, uint64_t off)
{
    gb_tensor(b, "../../x", 1, one_row, T_F32, off);
}

static void tensor_no_utf8(gb *b, uint64_t off)
{
    gb_tensor(b, "\xFF\xFE", 1, one_row, T_F32, off);
}

static void tensor_again(gb *b, uint64_t off)
{
    gb_tensor(b, NORM, 1, one_row, T_F32, off);
}

/* Two tensors whose sizes add up to 2^64. */
static void tensors_that_wrap(gb *b, uint64_t off)
{
    const uint64_t ne[4] = {0x7FFFFFFFFFFFFFC0, 1, 1, 1};
    gb_tensor(b, "huge.0", 1, ne, 24, off); /* I8 */
    gb_tensor(b, "huge.1", 1, ne, 24, off + ne[0]);
}

static void tensor_one_byte_too_far(gb *b, uint64_t off)
{
    const uint64_t ne[4] = {129, 1, 1, 1};
    gb_tensor(b, "last", 1, ne, 24, off); /* 129 bytes of I8 where 128 are */
}

static const struct {
    const char *name;
    toy_extra extra;
    mox_err want;
} built_cases[] = {
    {"the toy itself", {0}, MOX_OK},
    {"version 2", {.version = 2}, MOX_OK},
    {"G19 key with NUL", {.keys = key_with_nul}, MOX_E_KEY},
    {"G20a key no UTF-8", {.keys = key_no_utf8}, MOX_E_KEY},
    {"G20b key with ESC", {.keys = key_with_escape}, MOX_E_KEY},
    {"G21 key twice", {.keys = key_again}, MOX_E_KEY},
    {"G22 key twice, other kind", {.keys = key_again_otherwise}, MOX_E_KEY},
    {"G28c booleans in an array", {.keys = string_alignment}, MOX_E_KEY},
    {"G44a name with NUL", {.tensors = tensor_with_nul, .data = 128}, MOX_E_TENSOR},
    {"G44b name like a path", {.tensors = tensor_like_a_path, .data = 128}, MOX_E_TENSOR},
    {"G44c name no UTF-8", {.tensors = tensor_no_utf8, .data = 128}, MOX_E_TENSOR},
    {"G45 name twice", {.tensors = tensor_again, .data = 128}, MOX_E_TENSOR},
    {"G51b", {.tensors = tensors_that_wrap, .data = 128}, MOX_E_TENSOR},
    {"G57b beyond the end by 1", {.tensors = tensor_one_byte_too_far, .data = 128}, MOX_E_TRUNCATED},
};

Test(gguf_bad, built_models)
{
    for (size_t i = 0; i < sizeof built_cases / sizeof built_cases[0]; i++) {
        gb b = {0};
        toy_build(&b, &built_cases[i].extra);
        expect(built_cases[i].name, b.p, b.n, built_cases[i].want);
        gb_free(&b);
    }
}

Test(gguf_bad, arrays_nested_a_million_deep)
{
    gb b = {0};
    gb_begin(&b, 3);
    gb_kv_int(&b, "deep", K_U32, K_ARRAY); /* its value becomes the element kind */
    gb_set(&b, "kind deep", K_ARRAY);
    for (int i = 0; i < 1000000; i++) {
        gb_bytes(&b, "\1\0\0\0\0\0\0\0\11\0\0\0", 12);
    }
    gb_finish(&b);
    expect("G29b", b.p, b.n, MOX_E_KEY);
    gb_free(&b);
}

Test(gguf_bad, containers_without_content)
{
    gb b = {0};
    mox_gguf *g = NULL;
    gb_begin(&b, 3);
    cr_assert_eq(mox_gguf_parse(&g, b.p, b.n, b.n, NULL),
                 MOX_OK); /* a part of a split model may be as empty as this */
    mox_gguf_close(&g);
    int fd = memfd_create("empty", 0);
    char path[64];
    cr_assert_eq(write(fd, b.p, b.n), (ssize_t)b.n);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    cr_expect_eq(mox_gguf_open(&g, path), MOX_E_KEY, "G12: no architecture");
    cr_expect(strstr(mox_err_last()->msg, "general.architecture"), "%s", mox_err_last()->msg);
    close(fd);
    gb_free(&b);
}

/* Cut the file at the end of the keys, at the beginning of the data, in the data. */
Test(gguf_bad, files_that_end_early)
{
    gb b = {0};
    toy_build(&b, NULL);
    size_t data = b.n - TOY_DATA;
    cr_assert_eq(data % 32, 0);
    expect("G40 ends after the keys", b.p, gb_at(&b, "len name " EMBD), MOX_E_TRUNCATED);
    expect("G62a short by one byte of padding", b.p, b.n - 1, MOX_OK);
    expect("G62b short by one byte of data", b.p, b.n - 19, MOX_E_TRUNCATED);
    cr_expect(strstr(mox_err_last()->msg, "output.weight") != NULL, "%s", mox_err_last()->msg);
    expect("G62c half of the data", b.p, data + TOY_DATA / 2, MOX_E_TRUNCATED);
    expect("G65 no padding, no data", b.p, gb_at(&b, "off output.weight") + 8, MOX_E_TRUNCATED);
    gb_free(&b);
}

Test(gguf_bad, every_prefix_of_a_valid_file)
{
    gb b = {0};
    toy_build(&b, NULL);
    size_t header = gb_at(&b, "off output.weight") + 8;
    for (size_t n = 0; n < b.n - 18; n++) {
        uint8_t *exact = malloc(n ? n : 1);
        memcpy(exact, b.p, n);
        mox_gguf *g = NULL;
        uint64_t need = 0;
        mox_err want = n < 4 ? MOX_E_NOT_GGUF : MOX_E_TRUNCATED;
        cr_assert_eq(mox_gguf_parse(&g, exact, n, n, &need), want, "G03: prefix of %zu bytes: %s", n,
                     mox_err_name(mox_err_last()->code));
        cr_assert_eq(need, 0);
        /* The same bytes as the beginning of a longer file: more is asked for until the header is whole. */
        mox_err err = mox_gguf_parse(&g, exact, n, b.n, &need);
        if (n < 4) {
            cr_assert_eq(err, MOX_E_NOT_GGUF);
        } else if (n < header) {
            cr_assert_eq(err, MOX_E_TRUNCATED);
            cr_assert(need > n && need <= header, "prefix of %zu asks for %llu", n, (unsigned long long)need);
        } else {
            cr_assert_eq(err, MOX_OK, "%s", mox_err_last()->msg);
        }
        mox_gguf_close(&g);
        free(exact);
    }
    gb_free(&b);
}

typedef struct other_file {
    const char *name, *bytes;
    size_t n;
    const char *says;
} other_file;

#define OTHER(name, bytes, says)                                                                             \
    {                                                                                                        \
        name, bytes, sizeof(bytes) - 1, says                                                                 \
    }

static const other_file others[] = {
    OTHER("G01 empty", "", "empty"),
    OTHER("G04a", "GGUX\3\0\0\0", "begins with"),
    OTHER("G04b ggml", "lmgg\1\0\0\0\0\0\0\0", "before GGUF"),
    OTHER("G04c ggjt", "tjgg\3\0\0\0\0\0\0\0", "ggjt"),
    OTHER("G04d ggla", "algg\1\0\0\0\0\0\0\0", "ggla"),
    OTHER("G05c", "FUGG\0\0\0\3", "big-endian"),
    OTHER("G14a", "\x1F\x8B\x08\0\0\0\0\0", "gzip"),
    OTHER("G14b", "PK\x03\x04....", "a zip archive"),
    OTHER("G14c", "\x20\0\0\0\0\0\0\0{\"__metadata__\":{\"format\":\"pt\"}}       ", "safetensors"),
    OTHER("G14d", "<!DOCTYPE html><html>", "web page"),
    OTHER("G14e", "\n  <html lang=en>", "web page"),
    OTHER("G14f", "version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 26440000000\n", "git-lfs"),
    OTHER("G14g", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "unfinished"),
    OTHER("G14h text", "hello, world", "a text"),
    OTHER("G14h short", "hello", "begins with \"hell\""),
    OTHER("G14j", "PK\x03\x04..........................archive/data.pkl", "PyTorch"),
    OTHER("G14k", "\x80\x04\x95........", "pickle"),
    OTHER("G14l", "{\"error\":\"Repository not found\"}", "error message"),
    OTHER("G14m", "{\"metadata\":{},\"weight_map\":{}}", "index of safetensors"),
    OTHER("G14n", "{ \"architectures\": [\"MixtralForCausalLM\"] }", "configuration"),
    OTHER("G14o", "\x89HDF\r\n\x1A\n", "HDF5"),
    OTHER("G14i", "\x1B]0;x\x07", "begins with \"\\x1B]0;\""),
};

Test(gguf_bad, other_kinds_of_files_are_named)
{
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        mox_gguf *g = NULL;
        expect(others[i].name, others[i].bytes, others[i].n, MOX_E_NOT_GGUF);
        cr_assert_eq(mox_gguf_parse(&g, others[i].bytes, others[i].n, others[i].n, NULL), MOX_E_NOT_GGUF);
        cr_expect(strstr(mox_err_last()->msg, others[i].says), "%s: \"%s\"", others[i].name,
                  mox_err_last()->msg);
    }
    expect("G02 four bytes", "GGUF", 4, MOX_E_TRUNCATED);
}

Test(gguf_bad, types_are_named)
{
    static const struct {
        uint32_t id;
        const char *says;
    } types[] = {{4, "Q4_2"},       {32, "Q4_0_4_8"},         {36, "IQ4_NL_4_4"},
                 {133, "Q6_0"},     {137, "IQ2_K"},           {158, "IQ1_KT"},
                 {150, "ik_llama"}, {202, "row-interleaved"}, {399, "row-interleaved"},
                 {400, "unknown"}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        gb b = {0};
        mox_gguf *g = NULL;
        toy_build(&b, NULL);
        gb_set(&b, "type " GATE, types[i].id);
        cr_assert_eq(mox_gguf_parse(&g, b.p, b.n, b.n, NULL), MOX_E_TYPE);
        cr_expect(strstr(mox_err_last()->msg, types[i].says) && strstr(mox_err_last()->msg, GATE), "%s",
                  mox_err_last()->msg);
        gb_free(&b);
    }
}
