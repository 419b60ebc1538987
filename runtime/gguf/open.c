/* Files around the parser: finding the parts of a model, reading their headers with pread, merging the
 * tables.
 *
 * A header has no length of its own, so it is read in growing pieces until the parser stops asking for more.
 * Only regular files are read: opening is non-blocking, so that a FIFO or a device under a model's name is
 * refused and not waited for. Names of parts are made from the name that the user gave, never from anything
 * inside a file. Nothing is mapped, and the files are closed again: who reads tensors opens them his own way.
 */
#include "gguf_internal.h"

#include "runtime/core/bits.h"
#include "runtime/core/hash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIRST_READ = 256 << 10 };
#define WITH_TENSORS (1ull << 62) /* bytes of a file that was cut off after its header */
enum { SUFFIX_LEN = sizeof("-00001-of-00003.gguf") - 1 };

/* Puts the file's name before the message that a leaf left, and keeps what would help. */
static mox_err in_file(const char *path, mox_err err)
{
    char shown[256];
    mox_err_info e = *mox_err_last();
    mox_escape((mox_str){path, strlen(path)}, shown, sizeof shown);
    mox_err_set(err, e.sys, e.file, e.line, "%s: %s", shown, e.msg);
    return e.fix[0] ? mox_err_fix("%s", e.fix) : err;
}

/* Endings that programs give to what they have not finished. */
static bool is_unfinished(const char *name)
{
    static const char *const ends[] = {".part",  ".partial",    ".incomplete", ".crdownload",
                                       ".aria2", ".opdownload", ".download",   ".tmp"};
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        size_t k = strlen(ends[i]);
        if (n > k && strcmp(name + n - k, ends[i]) == 0) {
            return true;
        }
    }
    return false;
}

static const char *file_kind(mode_t mode)
{
    return S_ISDIR(mode)    ? "a directory"
           : S_ISFIFO(mode) ? "a FIFO"
           : S_ISCHR(mode)  ? "a character device"
           : S_ISBLK(mode)  ? "a block device"
           : S_ISSOCK(mode) ? "a socket"
                            : "no regular file";
}

/* Bytes [from, to) of the file; less only if the file has shrunk. */
static mox_err read_range(int fd, uint8_t *buf, size_t from, size_t to)
{
    while (from < to) {
        ssize_t n = pread(fd, buf + from, to - from, (off_t)from);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return MOX_FAIL_SYS(MOX_E_IO, errno, "reading at byte %zu failed: %s", from, strerror(errno));
        }
        if (n == 0) {
            return MOX_FAIL(MOX_E_CHANGED, "the file ended at byte %zu while it was being read", from);
        }
        from += (size_t)n;
    }
    return MOX_OK;
}

/* Parse a file whose header is read as far as the parser asks. On success g owns the header bytes. */
static mox_err read_header(int fd, uint64_t file_bytes, bool header_only, mox_gguf **out)
{
    uint8_t *buf = NULL;
    uint64_t have = 0, want = file_bytes < FIRST_READ ? file_bytes : FIRST_READ, need = 0;
    mox_err err = MOX_OK;
    for (;;) {
        uint8_t *grown = realloc(buf, want ? (size_t)want : 1);
        if (!grown) {
            err = MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a header of %" PRIu64 " bytes", want);
            break;
        }
        buf = grown;
        MOX_TRY_GOTO(err, read_range(fd, buf, (size_t)have, (size_t)want), fail);
        have = want;
        err = mox_gguf_parse(out, buf, (size_t)have, header_only ? WITH_TENSORS : file_bytes, &need);
        if (err == MOX_OK) {
            (*out)->parts[0].owned = buf;
            return MOX_OK;
        }
        if (need <= have || have == file_bytes) {
            break;
        }
        want = need > 2 * have ? need : 2 * have;
        want = want < file_bytes ? want : file_bytes;
    }
fail:
    free(buf);
    return err;
}

static mox_err open_file(mox_gguf **out, int fd, bool header_only)
{
    struct stat before, after;
    if (fstat(fd, &before) != 0) {
        return MOX_FAIL_SYS(MOX_E_OPEN, errno, "fstat failed: %s", strerror(errno));
    }
    if (!S_ISREG(before.st_mode)) {
        return MOX_FAIL(MOX_E_OPEN, "this is %s, not a file", file_kind(before.st_mode));
    }
    MOX_TRY(read_header(fd, (uint64_t)before.st_size, header_only, out));
    const mox_file_id id = mox_file_id_of(&before);
    if (fstat(fd, &after) == 0) {
        (*out)->parts[0].id = mox_file_id_of(&after);
    }
    if (!mox_file_id_same(&(*out)->parts[0].id, &id)) {
        mox_gguf_close(out);
        return MOX_FAIL(MOX_E_CHANGED,
                        "the file changed while its header was being read (still downloading?)");
    }
    return MOX_OK;
}

static mox_err open_part(mox_gguf **out, const char *path, bool header_only)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    mox_gguf *g = NULL;
    if (fd < 0) {
        MOX_FAIL_SYS(MOX_E_OPEN, errno, "cannot be opened: %s", strerror(errno));
        return in_file(path, MOX_E_OPEN);
    }
    mox_err err = open_file(&g, fd, header_only);
    close(fd);
    if (err == MOX_OK && !(g->parts[0].path = strdup(path))) {
        err = MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a file name");
    }
    if (err != MOX_OK) {
        mox_gguf_close(&g);
        err = in_file(path, err);
        bool short_name = (err == MOX_E_TRUNCATED || err == MOX_E_NOT_GGUF) && is_unfinished(path);
        return short_name
                   ? mox_err_fix(
                         "its name says that the download has not ended: let it end, or start it again")
                   : err;
    }
    *out = g;
    return MOX_OK;
}

/* "-00002-of-00003.gguf" at the end of a name: which part (from 0) of how many. */
static bool split_name(const char *path, size_t *stem, uint32_t *no, uint32_t *count)
{
    size_t n = strlen(path);
    if (n <= SUFFIX_LEN) {
        return false;
    }
    const char *s = path + n - SUFFIX_LEN;
    const size_t digits_at[2] = {1, 10};
    uint32_t v[2] = {0, 0};
    if (s[0] != '-' || strncmp(s + 6, "-of-", 4) != 0 || strcmp(s + 15, ".gguf") != 0) {
        return false;
    }
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < 5; i++) {
            char ch = s[digits_at[k] + i];
            if (ch < '0' || ch > '9') {
                return false;
            }
            v[k] = v[k] * 10 + (uint32_t)(ch - '0');
        }
    }
    *stem = n - SUFFIX_LEN;
    *no = v[0] - 1;
    *count = v[1];
    return v[0] >= 1 && v[0] <= v[1];
}

typedef struct split_keys {
    uint32_t no, count, n_tensors;
} split_keys;

/* The three keys of a part; count 1 for a file that is not split. A value out of range does not belong to a
 * split. */
static mox_err read_split_keys(const mox_gguf *g, split_keys *k)
{
    *k = (split_keys){0, 1, g->n_tensors};
    if (!mox_gguf_has(g, "split.count")) {
        return MOX_OK;
    }
    MOX_TRY(mox_gguf_u32(g, "split.count", 0, UINT16_MAX, &k->count));
    if (k->count > MOX_GGUF_MAX_SPLITS) {
        return MOX_FAIL(MOX_E_LIMIT, "split into %u parts; %d are allowed", k->count, MOX_GGUF_MAX_SPLITS);
    }
    if (k->count == 0) {
        return MOX_FAIL(MOX_E_SPLIT, "split into 0 parts");
    }
    if (k->count == 1) {
        return MOX_OK;
    }
    MOX_TRY(mox_gguf_u32(g, "split.no", 0, UINT16_MAX, &k->no));
    if (k->no >= k->count) {
        return MOX_FAIL(MOX_E_SPLIT, "says to be part %u of %u", k->no + 1, k->count);
    }
    return mox_gguf_u32(g, "split.tensors.count", 0, MOX_GGUF_MAX_TENSORS, &k->n_tensors);
}

/* Parts after the first may leave the model's keys out; what they do say has to be the same. */
static mox_err same_key(const mox_gguf *g, const mox_gguf *first, const char *key)
{
    const gguf_kv *a = gguf_kv_find(first, key), *b = gguf_kv_find(g, key);
    char x[64], y[64];
    if (!a || !b || a->kind != MOX_GGUF_STRING || b->kind != MOX_GGUF_STRING) {
        return MOX_OK;
    }
    mox_str one = {(const char *)a->data, (size_t)a->n}, other = {(const char *)b->data, (size_t)b->n};
    if (gguf_str_cmp(one, other) != 0) {
        return MOX_FAIL(MOX_E_SPLIT, "belongs to another model: %s is \"%s\", in the first part \"%s\"", key,
                        mox_escape(other, y, sizeof y), mox_escape(one, x, sizeof x));
    }
    return MOX_OK;
}

static mox_err check_part(const mox_gguf *g, const mox_gguf *first, uint32_t i, const split_keys *whole)
{
    split_keys k;
    MOX_TRY(read_split_keys(g, &k));
    if (k.count != whole->count || k.no != i || k.n_tensors != whole->n_tensors) {
        return MOX_FAIL(
            MOX_E_SPLIT,
            "says to be part %u of %u of a model of %u tensors; part %u of %u, %u tensors, is expected",
            k.no + 1, k.count, k.n_tensors, i + 1, whole->count, whole->n_tensors);
    }
    MOX_TRY(same_key(g, first, "general.architecture"));
    return same_key(g, first, "general.name");
}

/* Moves the tables of n parts into one. The keys are those of part 0. parts[] stay with the caller. */
static mox_err merge(mox_gguf **parts, uint32_t n, uint32_t n_tensors, mox_gguf **out)
{
    mox_gguf *g = calloc(1, sizeof *g);
    if (!g) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for the table of a split model");
    }
    g->version = parts[0]->version;
    g->parts = calloc(n, sizeof *g->parts);
    g->tensors = calloc((size_t)n_tensors + 1, sizeof *g->tensors);
    g->by_name = calloc((size_t)n_tensors + 1, sizeof *g->by_name);
    if (!g->parts || !g->tensors || !g->by_name) {
        mox_gguf_close(&g);
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for the table of a split model");
    }
    for (uint32_t i = 0; i < n; i++) {
        mox_gguf *p = parts[i];
        for (uint32_t k = 0; k < p->n_tensors; k++) {
            g->tensors[g->n_tensors] = p->tensors[k];
            g->tensors[g->n_tensors++].file = i;
        }
        g->parts[g->n_parts++] = p->parts[0];
        p->parts[0] = (gguf_part){0}; /* path and bytes have a new owner */
        g->id = mox_hash64(&p->id, sizeof p->id, g->id);
    }
    g->kv = parts[0]->kv;
    g->by_key = parts[0]->by_key;
    g->n_kv = parts[0]->n_kv;
    g->n_keys = parts[0]->n_keys;
    parts[0]->kv = NULL;
    parts[0]->by_key = NULL;
    mox_err err = gguf_index_tensors(g);
    if (err != MOX_OK) {
        mox_gguf_close(&g);
        return err;
    }
    *out = g;
    return MOX_OK;
}

/* All parts of a split model of which `first` has been read from `path`. Takes over `first`. */
static mox_err open_split(mox_gguf **out, mox_gguf *first, const char *path, const split_keys *whole,
                          bool header_only)
{
    size_t stem = 0;
    uint64_t n_tensors = 0;
    uint32_t no = 0, count = 0, i = 0;
    mox_err err = MOX_OK;
    size_t name_bytes = strlen(path) + 1;
    char *name = malloc(name_bytes);
    mox_gguf **parts = calloc(whole->count, sizeof(mox_gguf *));
    if (!name || !parts) {
        err = MOX_FAIL(MOX_E_NO_MEMORY, "no memory for %u parts", whole->count);
        goto out;
    }
    if (!split_name(path, &stem, &no, &count) || no != whole->no || count != whole->count) {
        MOX_FAIL(MOX_E_SPLIT, "is part %u of %u, but its name does not end in -%05u-of-%05u.gguf",
                 whole->no + 1, whole->count, whole->no + 1, whole->count);
        mox_err_fix("parts keep the names they were made with; the others are found by them");
        err = in_file(path, MOX_E_SPLIT);
        goto out;
    }
    parts[whole->no] = first;
    first = NULL;
    for (i = 0; i < whole->count; i++) {
        snprintf(name, name_bytes, "%.*s-%05u-of-%05u.gguf", (int)stem, path, i + 1, whole->count);
        if (!parts[i]) {
            err = open_part(&parts[i], name, header_only);
            if (err == MOX_E_OPEN) {
                mox_err_info e = *mox_err_last();
                err = mox_err_set(MOX_E_SPLIT, e.sys, e.file, e.line, "part %u of %u: %.400s", i + 1,
                                  whole->count, e.msg);
            }
        }
        if (err == MOX_OK && (err = check_part(parts[i], parts[0], i, whole)) != MOX_OK) {
            err = in_file(name, err);
        }
        if (err != MOX_OK) {
            goto out;
        }
        n_tensors += parts[i]->n_tensors;
    }
    if (n_tensors != whole->n_tensors) {
        MOX_FAIL(MOX_E_SPLIT, "the %u parts hold %" PRIu64 " tensors, %u are announced", whole->count,
                 n_tensors, whole->n_tensors);
        err = in_file(path, MOX_E_SPLIT);
        goto out;
    }
    err = merge(parts, whole->count, whole->n_tensors, out);
out:
    for (i = 0; parts && i < whole->count; i++) {
        mox_gguf_close(&parts[i]);
    }
    mox_gguf_close(&first);
    free(parts);
    free(name);
    return err;
}

/* Two names of one model: equal up to the number of the part. */
static bool same_model(const char *a, const char *b)
{
    size_t stem_a = 0, stem_b = 0;
    uint32_t no = 0, count_a = 0, count_b = 0;
    return split_name(a, &stem_a, &no, &count_a) && split_name(b, &stem_b, &no, &count_b) &&
           count_a == count_b && stem_a == stem_b && memcmp(a, b, stem_a) == 0;
}

/* The one model in a directory: its path (of any part), to be freed. */
static mox_err find_in_dir(const char *dir, char **out)
{
    mox_err err = MOX_OK;
    char *name = NULL;
    bool unfinished = false, safetensors = false;
    const struct dirent *e = NULL;
    DIR *d = opendir(dir);
    if (!d) {
        return MOX_FAIL_SYS(MOX_E_OPEN, errno, "the directory cannot be read: %s", strerror(errno));
    }
    while (err == MOX_OK && (e = readdir(d))) {
        size_t n = strlen(e->d_name);
        unfinished = unfinished || is_unfinished(e->d_name);
        safetensors = safetensors || (n > 12 && strcmp(e->d_name + n - 12, ".safetensors") == 0);
        if (n <= 5 || strcmp(e->d_name + n - 5, ".gguf") != 0 || (name && same_model(name, e->d_name))) {
            continue;
        }
        if (name) {
            char a[100], b[100];
            MOX_FAIL(MOX_E_OPEN, "the directory holds more than one model: %s and %s",
                     mox_escape((mox_str){name, strlen(name)}, a, sizeof a),
                     mox_escape((mox_str){e->d_name, n}, b, sizeof b));
            err = mox_err_fix("name the file");
        } else if (!(name = strdup(e->d_name))) {
            err = MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a file name");
        }
    }
    closedir(d);
    if (err == MOX_OK && !name) {
        err = MOX_FAIL(MOX_E_OPEN, "the directory holds no .gguf file%s",
                       unfinished    ? ", but an unfinished download"
                       : safetensors ? ", but safetensors files"
                                     : "");
        if (unfinished || safetensors) {
            mox_err_fix("%s", unfinished ? "let the download end, or start it again"
                                         : "convert_hf_to_gguf.py of llama.cpp makes a GGUF file of them");
        }
    }
    if (err == MOX_OK && asprintf(out, "%s/%s", dir, name) < 0) {
        err = MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a file name");
    }
    free(name);
    return err;
}

static mox_err check_whole(const mox_gguf *g)
{
    mox_str arch;
    return mox_gguf_str(g, "general.architecture", &arch);
}

static mox_err open_model(mox_gguf **out, const char *path, bool header_only)
{
    mox_gguf *g = NULL;
    split_keys whole;
    MOX_TRY(open_part(&g, path, header_only));
    mox_err err = read_split_keys(g, &whole);
    if (err == MOX_OK && whole.count > 1) {
        mox_gguf *first = g;
        g = NULL;
        MOX_TRY(open_split(&g, first, path, &whole, header_only));
    }
    if (err == MOX_OK) {
        err = check_whole(g);
    }
    if (err != MOX_OK) {
        mox_gguf_close(&g);
        return in_file(path, err);
    }
    *out = g;
    return MOX_OK;
}

static mox_err open_path(mox_gguf **out, const char *path, bool header_only)
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
        return open_model(out, path, header_only);
    }
    char *inside = NULL;
    mox_err err = find_in_dir(path, &inside);
    err = err == MOX_OK ? open_model(out, inside, header_only) : in_file(path, err);
    free(inside);
    return err;
}

mox_err mox_gguf_open(mox_gguf **out, const char *path)
{
    return open_path(out, path, false);
}

mox_err mox_gguf_open_header(mox_gguf **out, const char *path)
{
    return open_path(out, path, true);
}
