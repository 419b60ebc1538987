/* Cases that are more than the bytes of one file. */
#include "hostile/cases.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const char *subdirectory(const tmpdir *dir)
{
    const char *path = tmpdir_path(dir, "folder");
    mkdir(path, 0777);
    return path;
}

static void put(const tmpdir *dir, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "folder/%s", name);
    tmpdir_write(dir, path, text, strlen(text));
}

/* What a terminal would obey, a line of its own, and a byte that is no text. */
const char *path_escapes(const tmpdir *dir)
{
    static const char name[] = "a\x1B[2J\nmoxie: ok\xE2\x80\xAE\xFF.gguf";
    gb b = {0};
    tiny_build(&b, NULL);
    tmpdir_write(dir, name, b.p, b.n);
    gb_free(&b);
    return tmpdir_path(dir, name);
}

const char *path_directory(const tmpdir *dir)
{
    return subdirectory(dir);
}

const char *path_directory_of_safetensors(const tmpdir *dir)
{
    const char *path = subdirectory(dir);
    put(dir, "config.json", "{}");
    put(dir, "model-00001-of-00019.safetensors", "x");
    return path;
}

const char *path_directory_of_parts(const tmpdir *dir)
{
    const char *path = subdirectory(dir);
    put(dir, "model.gguf.part", "GGUF");
    return path;
}

const char *path_fifo(const tmpdir *dir)
{
    const char *path = tmpdir_path(dir, "fifo.gguf");
    mkfifo(path, 0600);
    return path;
}

const char *path_socket(const tmpdir *dir)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    const char *path = tmpdir_path(dir, "s.gguf");
    snprintf(a.sun_path, sizeof a.sun_path, "%.100s", path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0) {
        perror(path);
    }
    close(fd);
    return path;
}

const char *path_zero(const tmpdir *dir)
{
    (void)dir;
    return "/dev/zero";
}

const char *path_random(const tmpdir *dir)
{
    (void)dir;
    return "/dev/random";
}

const char *path_loop(const tmpdir *dir)
{
    const char *path = tmpdir_path(dir, "loop.gguf");
    if (symlink("loop.gguf", path) != 0) {
        perror(path);
    }
    return path;
}

const char *path_missing(const tmpdir *dir)
{
    return tmpdir_path(dir, "none.gguf");
}

const char *path_too_long(const tmpdir *dir)
{
    char name[301];
    memset(name, 'x', 300);
    name[300] = 0;
    return tmpdir_path(dir, name);
}

/* Whoever may read everything is refused a directory's content another way: it is not there. */
const char *path_no_permission(const tmpdir *dir)
{
    gb b = {0};
    tiny_build(&b, NULL);
    tmpdir_write(dir, "secret.gguf", b.p, b.n);
    gb_free(&b);
    const char *path = tmpdir_path(dir, "secret.gguf");
    chmod(path, 0);
    if (geteuid() == 0) {
        unlink(path);
    }
    return path;
}

static const char *sparse(const tmpdir *dir, const gb *b, uint64_t bytes)
{
    tmpdir_write(dir, "sparse.gguf", b->p, b->n);
    const char *path = tmpdir_path(dir, "sparse.gguf");
    if (truncate(path, (off_t)bytes) != 0) {
        perror(path);
    }
    return path;
}

const char *path_long_string(const tmpdir *dir)
{
    gb b = {0};
    tiny_build(&b, NULL);
    gb_set(&b, "len general.name", (1u << 30) + 1);
    const char *path = sparse(dir, &b, UINT64_C(2) << 30);
    gb_free(&b);
    return path;
}

/* Widths that fit 500 GiB of holes and nothing else: said from the header, without memory to match. */
const char *path_half_terabyte(const tmpdir *dir)
{
    gb b = {0};
    const uint64_t ne[2] = {UINT64_C(1) << 20, 131072 - 1};
    gb_begin(&b, 3);
    gb_kv_str(&b, "general.architecture", "llama");
    gb_kv_u32(&b, "llama.context_length", 64);
    gb_kv_u32(&b, "llama.embedding_length", 1 << 17);
    gb_kv_u32(&b, "llama.block_count", 512);
    gb_kv_u32(&b, "llama.feed_forward_length", 1 << 17);
    gb_kv_u32(&b, "llama.attention.head_count", 1024);
    gb_kv_u32(&b, "llama.expert_count", 512);
    gb_kv_u32(&b, "llama.expert_used_count", 512);
    gb_tensor(&b, "token_embd.weight", 2, ne, T_F32, 0);
    gb_finish(&b);
    gb_pad(&b, 32);
    const char *path = sparse(dir, &b, UINT64_C(512) << 30);
    gb_free(&b);
    return path;
}

const char *path_part_name(const tmpdir *dir)
{
    gb b = {0};
    tiny_build(&b, NULL);
    tmpdir_write(dir, "model.gguf.part", b.p, b.n - 4096);
    gb_free(&b);
    return tmpdir_path(dir, "model.gguf.part");
}

/* ---- splits: the tiny model's tensors in the first part, one tensor in the second ---- */

typedef struct split {
    uint32_t no, count, tensors;
} split;

static split now;
static const char *second_arch;
static const char *second_tensor = "extra.weight";

static void split_keys(gb *b)
{
    gb_kv_int(b, "split.no", K_U16, now.no);
    gb_kv_int(b, "split.count", K_U16, now.count);
    gb_kv_int(b, "split.tensors.count", K_I32, now.tensors);
}

enum { TINY_TENSORS = 3 + 10 * TINY_LAYERS };

static void first_part(const tmpdir *dir, const char *name, split s)
{
    gb b = {0};
    const tiny_edit e = {.keys = split_keys};
    now = s;
    tiny_build(&b, &e);
    tmpdir_write(dir, name, b.p, b.n);
    gb_free(&b);
}

static void second_part(const tmpdir *dir, const char *name, split s, uint32_t alignment)
{
    gb b = {0};
    const uint64_t ne[1] = {32};
    now = s;
    gb_begin(&b, 3);
    if (second_arch) {
        gb_kv_str(&b, "general.architecture", second_arch);
    }
    if (alignment != 32) {
        gb_kv_u32(&b, "general.alignment", alignment);
    }
    split_keys(&b);
    gb_tensor(&b, second_tensor, 1, ne, T_F32, 0);
    gb_finish(&b);
    gb_pad(&b, alignment);
    gb_zeros(&b, 128);
    tmpdir_write(dir, name, b.p, b.n);
    gb_free(&b);
}

#define FIRST  "m-00001-of-00002.gguf"
#define SECOND "m-00002-of-00002.gguf"

const char *path_split_alone(const tmpdir *dir)
{
    first_part(dir, "m-00001-of-00005.gguf", (split){0, 5, 40});
    return tmpdir_path(dir, "m-00001-of-00005.gguf");
}

const char *path_split_number(const tmpdir *dir)
{
    first_part(dir, FIRST, (split){6, 2, TINY_TENSORS + 1});
    return tmpdir_path(dir, FIRST);
}

const char *path_split_zero(const tmpdir *dir)
{
    first_part(dir, FIRST, (split){0, 0, TINY_TENSORS});
    return tmpdir_path(dir, FIRST);
}

const char *path_split_many(const tmpdir *dir)
{
    first_part(dir, "m-00001-of-65535.gguf", (split){0, 65535, TINY_TENSORS});
    return tmpdir_path(dir, "m-00001-of-65535.gguf");
}

const char *path_split_name(const tmpdir *dir)
{
    first_part(dir, "renamed.gguf", (split){0, 2, TINY_TENSORS + 1});
    return tmpdir_path(dir, "renamed.gguf");
}

static const char *two_parts(const tmpdir *dir, uint32_t alignment)
{
    first_part(dir, FIRST, (split){0, 2, TINY_TENSORS + 1});
    second_part(dir, SECOND, (split){1, 2, TINY_TENSORS + 1}, alignment);
    return tmpdir_path(dir, FIRST);
}

const char *path_split_other_model(const tmpdir *dir)
{
    second_arch = "qwen3moe";
    const char *path = two_parts(dir, 32);
    second_arch = NULL;
    return path;
}

const char *path_split_twice(const tmpdir *dir)
{
    second_tensor = "output_norm.weight";
    const char *path = two_parts(dir, 32);
    second_tensor = "extra.weight";
    return path;
}

const char *path_split_alignment(const tmpdir *dir)
{
    return two_parts(dir, 4096);
}
