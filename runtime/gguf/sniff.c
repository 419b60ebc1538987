/* What a file is when it is not GGUF. Most failed first runs are one of these: a pointer of git-lfs, an error
 * page saved under the model's name, the original safetensors, an archive, a file of 2023. */
#include "gguf_internal.h"

#include "runtime/core/bits.h"

#include <string.h>
#include <strings.h>

typedef struct signature {
    const char *bytes;
    uint32_t n;
    const char *what, *fix;
    const char *inside; /* has to occur in the first bytes, too; NULL: nothing */
} signature;

static const char convert[] =
    "a GGUF version of the model is needed; convert_hf_to_gguf.py of llama.cpp makes one";
static const char old[] = "download the model again in GGUF form; the older formats are no longer in use";
static const char unpack[] = "unpack it first";
static const char again[] = "download the model again; this was saved under its name";

enum { LOOKED_AT = 512 };

#define SIG_WITH(bytes, inside, what, fix)                                                                   \
    {                                                                                                        \
        bytes, sizeof(bytes) - 1, what, fix, inside                                                          \
    }
#define SIG(bytes, what, fix) SIG_WITH(bytes, NULL, what, fix)

static const signature signatures[] = {
    SIG("version https://git-lfs", "a git-lfs pointer, not the model itself",
        "git lfs pull fetches the model"),
    SIG_WITH("PK\x03\x04", "data.pkl", "PyTorch weights (a zip archive of pickles)", convert),
    SIG_WITH("PK\x03\x04", ".npy", "NumPy arrays (a zip archive)", convert),
    SIG("PK\x03\x04", "a zip archive", "unpack it first; weights of PyTorch have to be converted to GGUF"),
    SIG("\x1F\x8B", "gzip data", unpack),
    SIG("\x28\xB5\x2F\xFD", "zstd data", unpack),
    SIG("\xFD"
        "7zXZ",
        "xz data", unpack),
    SIG("BZh", "bzip2 data", unpack),
    SIG("7z\xBC\xAF", "a 7z archive", unpack),
    SIG("\x80\x02", "a Python pickle (PyTorch weights)", convert),
    SIG("\x80\x03", "a Python pickle (PyTorch weights)", convert),
    SIG("\x80\x04", "a Python pickle (PyTorch weights)", convert),
    SIG("\x80\x05", "a Python pickle (PyTorch weights)", convert),
    SIG("\x89HDF\r\n", "HDF5 data (Keras weights)", convert),
    SIG("\x93NUMPY", "a NumPy array", convert),
    SIG("%PDF", "a PDF document", again),
    SIG_WITH("{", "\"weight_map\"", "the index of safetensors files, not the model itself", convert),
    SIG_WITH("{", "\"architectures\"", "the configuration of a model, not the model itself",
             "name the .gguf file"),
    SIG_WITH("{", "\"error\"", "an error message in JSON", again),
    SIG("{\"", "JSON text", again),
    SIG("\x7F"
        "ELF",
        "a program", NULL),
    SIG("lmgg", "a ggml file of before GGUF (unversioned)", old),
    SIG("fmgg", "a ggmf file of before GGUF", old),
    SIG("tjgg", "a ggjt file of before GGUF", old),
    SIG("algg", "a ggla adapter of before GGUF", old),
    SIG("FUGG", "a GGUF file with its bytes swapped (big-endian)",
        "a little-endian version of the model is needed"),
};

static bool is_html(const uint8_t *p, size_t n)
{
    while (n > 0 && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
        p++;
        n--;
    }
    return n >= 5 &&
           (strncasecmp((const char *)p, "<!doc", 5) == 0 || strncasecmp((const char *)p, "<html", 5) == 0 ||
            strncasecmp((const char *)p, "<?xml", 5) == 0 || strncasecmp((const char *)p, "<head", 5) == 0);
}

/* Letters, spaces and line ends as far as one looks. */
static bool is_text(const uint8_t *p, size_t n)
{
    size_t i = 0, end = n < LOOKED_AT ? n : LOOKED_AT;
    while (i < end && ((p[i] >= 0x20 && p[i] != 0x7F) || p[i] == '\n' || p[i] == '\r' || p[i] == '\t')) {
        i++;
    }
    return i == end && n >= 8 && memchr(p, ' ', end);
}

static bool is_zero(const uint8_t *p, size_t n)
{
    size_t i = 0;
    while (i < n && p[i] == 0) {
        i++;
    }
    return i == n;
}

const char *gguf_sniff(const uint8_t *p, size_t n, uint64_t file_bytes, const char **fix)
{
    for (size_t i = 0; i < sizeof signatures / sizeof signatures[0]; i++) {
        const signature *s = &signatures[i];
        bool inside = !s->inside || memmem(p, n < LOOKED_AT ? n : LOOKED_AT, s->inside, strlen(s->inside));
        if (n >= s->n && memcmp(p, s->bytes, s->n) == 0 && inside) {
            *fix = s->fix;
            return s->what;
        }
    }
    if (is_html(p, n)) {
        *fix = "the download saved an error page; download the model again";
        return "a web page";
    }
    if (n > 8 && p[8] == '{' && mox_le64(p) > 1 && mox_le64(p) < file_bytes) {
        *fix = convert;
        return "a safetensors file";
    }
    if (n > 0 && is_zero(p, n < 4096 ? n : 4096)) {
        *fix = "download it again";
        return "a file of zeros at its start, as an unfinished download leaves it";
    }
    if (n > 262 && memcmp(p + 257, "ustar", 5) == 0) {
        *fix = unpack;
        return "a tar archive";
    }
    if (is_text(p, n)) {
        *fix = again;
        return "a text";
    }
    return NULL;
}
