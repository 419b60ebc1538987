/* What is around the bytes: paths that are no files, sparse files, split models, directories. */
#include "gguf/builder.h"
#include "runtime/gguf/gguf.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static tmpdir dir;

static void make_dir(void)
{
    tmpdir_make(&dir);
}

static void remove_dir(void)
{
    tmpdir_remove(&dir);
}

TestSuite(gguf_files, .init = make_dir, .fini = remove_dir, .timeout = 60);

static void refuse(const char *path, mox_err want, const char *says)
{
    mox_gguf *g = NULL;
    mox_err got = mox_gguf_open(&g, path);
    cr_expect(got == want, "%s: %s, not %s", path, mox_err_name(got), mox_err_name(want));
    cr_expect(got != MOX_OK && strstr(mox_err_last()->msg, says), "%s: \"%s\" does not say \"%s\"", path,
              mox_err_last()->msg, says);
    mox_gguf_close(&g);
}

/* G13 and G104: refused at once; a FIFO without a writer and endless devices must not be waited for. */
Test(gguf_files, paths_that_are_no_files)
{
    char long_name[300];
    memset(long_name, 'x', sizeof long_name);
    long_name[299] = 0;
    cr_assert_eq(mkfifo(tmpdir_path(&dir, "fifo.gguf"), 0600), 0);
    cr_assert_eq(symlink("loop.gguf", tmpdir_path(&dir, "loop.gguf")), 0);
    refuse(tmpdir_path(&dir, "fifo.gguf"), MOX_E_OPEN, "FIFO");
    refuse("/dev/zero", MOX_E_OPEN, "character device");
    refuse("/dev/random", MOX_E_OPEN, "character device");
    refuse(tmpdir_path(&dir, "loop.gguf"), MOX_E_OPEN, "symbolic links");
    refuse(tmpdir_path(&dir, "none.gguf"), MOX_E_OPEN, "No such file");
    refuse(tmpdir_path(&dir, long_name), MOX_E_OPEN, "too long");
    refuse(tmpdir_path(&dir, "a\x1B[2Jb"), MOX_E_OPEN, "a\\x1B[2Jb");
    if (geteuid() != 0) {
        tmpdir_write(&dir, "secret.gguf", "GGUF", 4);
        chmod(tmpdir_path(&dir, "secret.gguf"), 0);
        refuse(tmpdir_path(&dir, "secret.gguf"), MOX_E_OPEN, "denied");
    }
}

static void sparse(const char *name, const void *head, size_t n, uint64_t bytes)
{
    tmpdir_write(&dir, name, head, n);
    cr_assert_eq(truncate(tmpdir_path(&dir, name), (off_t)bytes), 0);
}

/* G26: a string of 1 GiB and a byte is really there, and still too long. G64: 500 GiB of holes are no reason
 * to allocate. */
Test(gguf_files, sparse_files)
{
    gb b = {0};
    mox_gguf *g = NULL;
    gb_begin(&b, 3);
    gb_kv_str(&b, "general.architecture", "llama");
    gb_finish(&b);
    gb_set(&b, "len general.architecture", (1u << 30) + 1);
    sparse("string.gguf", b.p, b.n, (2ull << 30));
    refuse(tmpdir_path(&dir, "string.gguf"), MOX_E_LIMIT, "more than the");
    gb_free(&b);

    const uint64_t ne[2] = {1ull << 20, 131072 - 1};
    gb_begin(&b, 3);
    gb_kv_str(&b, "general.architecture", "llama");
    gb_tensor(&b, "big", 2, ne, T_F32, 0);
    gb_finish(&b);
    gb_pad(&b, 32);
    sparse("big.gguf", b.p, b.n, 512ull << 30);
    cr_assert_eq(mox_gguf_open(&g, tmpdir_path(&dir, "big.gguf")), MOX_OK, "%s", mox_err_last()->msg);
    cr_expect_eq(mox_gguf_find(g, "big")->bytes, 4 * ne[0] * ne[1]);
    mox_gguf_close(&g);
    gb_free(&b);
}

static void tensor_after_gap(gb *b, uint64_t off)
{
    const uint64_t ne[1] = {32};
    gb_tensor(b, "late", 1, ne, T_F32, off + 4096);
}

/* G60, G61, G63: unusual, allowed, and told. */
Test(gguf_files, gaps_order_and_trailing_bytes)
{
    gb b = {0};
    mox_gguf *g = NULL;
    toy_build(&b, &(toy_extra){.tensors = tensor_after_gap, .data = 4096 + 128});
    cr_assert_eq(mox_gguf_parse(&g, b.p, b.n, b.n, NULL), MOX_OK);
    cr_expect_eq(mox_gguf_unused_bytes(g), 4096);
    mox_gguf_close(&g);
    gb_free(&b);

    toy_build(&b, NULL);
    gb_zeros(&b, 100);
    cr_assert_eq(mox_gguf_parse(&g, b.p, b.n, b.n, NULL), MOX_OK);
    cr_expect_eq(mox_gguf_unused_bytes(g), 100);
    mox_gguf_close(&g);
    gb_free(&b);

    /* output before the embedding: 256 bytes, then the 896 of the embedding, then the rest as it was */
    toy_build(&b, NULL);
    gb_zeros(&b, 128);
    gb_set(&b, "off output.weight", 0);
    gb_set(&b, "off token_embd.weight", 4160);
    gb_set(&b, "off blk.0.attn_norm.weight", 256);
    gb_set(&b, "off blk.0.ffn_gate_exps.weight", 384 + 128);
    gb_set(&b, "off blk.0.ffn_down_exps.weight", 384 + 128 + 2304);
    gb_set(&b, "off blk.0.four.weight", 384 + 128 + 2304 + 1152);
    cr_assert_eq(mox_gguf_parse(&g, b.p, b.n, b.n, NULL), MOX_E_TENSOR, "240 bytes at 3968 reach over 4160");
    gb_set(&b, "off token_embd.weight", 4224);
    cr_assert_eq(mox_gguf_parse(&g, b.p, b.n, b.n, NULL), MOX_OK, "%s", mox_err_last()->msg);
    cr_expect_eq(mox_gguf_tensor_at(g, 0)->off - mox_gguf_find(g, "output.weight")->off, 4224);
    mox_gguf_close(&g);
    gb_free(&b);
}

typedef struct part {
    uint32_t no, count, total, n_tensors; /* split.no ... and how many it really has */
    uint32_t alignment;
    const char *prefix;
} part;

static void put_part(const char *name, const part *p)
{
    gb b = {0};
    const uint64_t ne[2] = {32, 3};
    char tensor[32];
    gb_begin(&b, 3);
    if (p->no == 0) {
        gb_kv_str(&b, "general.architecture", "llama");
    }
    if (p->alignment) {
        gb_kv_u32(&b, "general.alignment", p->alignment);
    }
    gb_kv_int(&b, "split.no", K_U16, p->no);
    gb_kv_int(&b, "split.count", K_U16, p->count);
    gb_kv_int(&b, "split.tensors.count", K_I32, p->total);
    for (uint32_t i = 0; i < p->n_tensors; i++) {
        snprintf(tensor, sizeof tensor, "%s.%u.%u", p->prefix ? p->prefix : "t", p->no, i);
        gb_tensor(&b, tensor, 2, ne, T_F32, i * 512);
    }
    gb_finish(&b);
    gb_pad(&b, p->alignment ? p->alignment : 32);
    for (uint32_t i = 0; i < p->n_tensors; i++) {
        for (uint32_t k = 0; k < 512; k++) {
            gb_bytes(&b, &(uint8_t){(uint8_t)(p->no * 16 + i)}, 1);
        }
    }
    tmpdir_write(&dir, name, b.p, b.n);
    gb_free(&b);
}

static const char *const names[3] = {"m-00001-of-00003.gguf", "m-00002-of-00003.gguf",
                                     "m-00003-of-00003.gguf"};

static void put_parts(void)
{
    put_part(names[0], &(part){0, 3, 5, 0, 0,
                               NULL}); /* metadata alone, as gguf-split --no-tensor-first-split makes it */
    put_part(names[1], &(part){1, 3, 5, 3, 0, NULL});
    put_part(names[2], &(part){2, 3, 5, 2, 512, NULL});
}

/* The first byte of a tensor in its file says which part and which tensor it is. */
static void check_parts(const char *path)
{
    mox_gguf *g = NULL;
    cr_assert_eq(mox_gguf_open(&g, path), MOX_OK, "%s", mox_err_last()->msg);
    cr_assert_eq(mox_gguf_n_files(g), 3);
    cr_assert_eq(mox_gguf_n_tensors(g), 5);
    for (uint32_t i = 0; i < 5; i++) {
        const mox_gguf_tensor *t = mox_gguf_tensor_at(g, i);
        uint8_t bytes[384];
        FILE *f = fopen(mox_gguf_file(g, t->file), "rb");
        fseek(f, (long)t->off, SEEK_SET);
        cr_assert_eq(fread(bytes, 1, t->bytes, f), 384);
        fclose(f);
        uint8_t want = (uint8_t)(i < 3 ? 16 + i : 32 + i - 3);
        cr_expect(bytes[0] == want && bytes[383] == want, "tensor %u", i);
        cr_expect_eq(mox_gguf_find(g, i == 4 ? "t.2.1" : "t.1.0"), mox_gguf_tensor_at(g, i == 4 ? 4 : 0));
    }
    mox_gguf_close(&g);
}

Test(gguf_files, a_split_model_opens_by_any_part_and_by_its_directory)
{
    put_parts();
    for (int i = 0; i < 3; i++) {
        check_parts(tmpdir_path(&dir, names[i]));
    }
    check_parts(dir.path);
}

Test(gguf_files, the_id_names_the_whole_model)
{
    mox_gguf *a = NULL, *b = NULL;
    put_parts();
    cr_assert_eq(mox_gguf_open(&a, tmpdir_path(&dir, names[0])), MOX_OK);
    cr_assert_eq(mox_gguf_open(&b, tmpdir_path(&dir, names[2])), MOX_OK);
    cr_expect_eq(mox_gguf_id(a), mox_gguf_id(b));
    mox_gguf_close(&b);
    put_part(names[2], &(part){2, 3, 5, 2, 512, "other"});
    cr_assert_eq(mox_gguf_open(&b, tmpdir_path(&dir, names[0])), MOX_OK);
    cr_expect_neq(mox_gguf_id(a), mox_gguf_id(b));
    mox_gguf_close(&a);
    mox_gguf_close(&b);
}

/* G99 and G100. */
Test(gguf_files, parts_that_are_missing_or_do_not_belong)
{
    const char *first = NULL;
    put_parts();
    first = tmpdir_path(&dir, names[0]);
    unlink(tmpdir_path(&dir, names[2]));
    refuse(first, MOX_E_SPLIT, "part 3 of 3");
    put_part(names[2], &(part){1, 3, 5, 2, 0, NULL});
    refuse(first, MOX_E_SPLIT, "part 3 of 3");
    put_part(names[2], &(part){2, 4, 5, 2, 0, NULL});
    refuse(first, MOX_E_SPLIT, "of 4");
    put_part(names[2], &(part){2, 3, 6, 2, 0, NULL});
    refuse(first, MOX_E_SPLIT, "6 tensors");
    put_part(names[2], &(part){2, 3, 5, 1, 0, NULL});
    refuse(first, MOX_E_SPLIT, "hold 4 tensors, 5 are announced");
    tmpdir_write(&dir, names[2], "GGUF", 4);
    refuse(first, MOX_E_TRUNCATED, names[2]);
    put_part(names[1], &(part){1, 3, 5, 2, 0, "t.1"});
    put_part(names[2], &(part){2, 3, 5, 3, 0, NULL});
    put_part("x-00001-of-00002.gguf", &(part){0, 2, 4, 2, 0, "twin"});
    put_part("x-00002-of-00002.gguf", &(part){1, 2, 4, 2, 0, "twin"});
    rename(tmpdir_path(&dir, "x-00002-of-00002.gguf"), tmpdir_path(&dir, "y"));
    refuse(tmpdir_path(&dir, "x-00001-of-00002.gguf"), MOX_E_SPLIT, "part 2 of 2");
    put_part("single.gguf", &(part){0, 3, 5, 2, 0, NULL});
    refuse(tmpdir_path(&dir, "single.gguf"), MOX_E_SPLIT, "name does not end in -00001-of-00003.gguf");
    put_part("zero.gguf", &(part){0, 0, 5, 2, 0, NULL});
    refuse(tmpdir_path(&dir, "zero.gguf"), MOX_E_SPLIT, "0 parts");
    put_part("many.gguf", &(part){0, 65535, 5, 2, 0, NULL});
    refuse(tmpdir_path(&dir, "many.gguf"), MOX_E_LIMIT, "65535 parts");
    put_part("beyond.gguf", &(part){7, 3, 5, 2, 0, NULL});
    refuse(tmpdir_path(&dir, "beyond.gguf"), MOX_E_SPLIT, "part 8 of 3");
}

Test(gguf_files, one_tensor_in_two_parts)
{
    gb b = {0};
    const uint64_t ne[1] = {32};
    for (uint16_t i = 0; i < 2; i++) {
        gb_begin(&b, 3);
        gb_kv_str(&b, "general.architecture", "llama");
        gb_kv_int(&b, "split.no", K_U16, i);
        gb_kv_int(&b, "split.count", K_U16, 2);
        gb_kv_int(&b, "split.tensors.count", K_I32, 2);
        gb_tensor(&b, "same", 1, ne, T_F32, 0);
        gb_finish(&b);
        gb_pad(&b, 32);
        gb_zeros(&b, 128);
        tmpdir_write(&dir, i == 0 ? "d-00001-of-00002.gguf" : "d-00002-of-00002.gguf", b.p, b.n);
        gb_free(&b);
    }
    refuse(tmpdir_path(&dir, "d-00001-of-00002.gguf"), MOX_E_TENSOR, "same occurs twice");
}

Test(gguf_files, directories)
{
    gb b = {0};
    mox_gguf *g = NULL;
    toy_build(&b, NULL);
    refuse(dir.path, MOX_E_OPEN, "no .gguf");
    tmpdir_write(&dir, "model-00001-of-00019.safetensors", "x", 1);
    refuse(dir.path, MOX_E_OPEN, "but safetensors files");
    tmpdir_write(&dir, "one.gguf.part", b.p, b.n / 2);
    refuse(dir.path, MOX_E_OPEN, "an unfinished download");
    refuse(tmpdir_path(&dir, "one.gguf.part"), MOX_E_TRUNCATED, "the file has");
    cr_expect(strstr(mox_err_last()->fix, "not ended"), "%s", mox_err_last()->fix);
    tmpdir_write(&dir, "README.md", "x", 1);
    tmpdir_write(&dir, "one.gguf", b.p, b.n);
    cr_assert_eq(mox_gguf_open(&g, dir.path), MOX_OK, "%s", mox_err_last()->msg);
    cr_expect(strstr(mox_gguf_file(g, 0), "/one.gguf"));
    mox_gguf_close(&g);
    tmpdir_write(&dir, "two.gguf", b.p, b.n);
    refuse(dir.path, MOX_E_OPEN, "more than one model");
    gb_free(&b);
}

/* A vocabulary makes headers longer than the first read; every size of header has to come in whole. */
Test(gguf_files, long_headers)
{
    for (size_t n = 200000; n <= 12800000; n *= 8) {
        gb b = {0};
        mox_gguf *g = NULL;
        mox_str s;
        char *text = calloc(1, n + 1);
        memset(text, 'm', n);
        text[n - 1] = 'z';
        gb_begin(&b, 3);
        gb_kv_str(&b, "general.architecture", "llama");
        gb_kv_str(&b, "long", text);
        gb_kv_str(&b, "last", "x");
        gb_finish(&b);
        tmpdir_write(&dir, "long.gguf", b.p, b.n);
        cr_assert_eq(mox_gguf_open(&g, tmpdir_path(&dir, "long.gguf")), MOX_OK, "%s", mox_err_last()->msg);
        cr_assert_eq(mox_gguf_str(g, "long", &s), MOX_OK);
        cr_expect(s.n == n && s.p[n - 1] == 'z');
        cr_expect(mox_gguf_has(g, "last"));
        mox_gguf_close(&g);
        gb_free(&b);
        free(text);
    }
}
