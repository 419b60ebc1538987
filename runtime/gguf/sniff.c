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
} signature;

static const char convert[] =
    "a GGUF version of the model is needed; convert_hf_to_gguf.py of llama.cpp makes one";
static const char old[] = "download the model again in GGUF form; the older formats are no longer in use";
static const char unpack[] = "unpack it first";

#define SIG(bytes, what, fix)                                                                                \
    {                                                                                                        \
        bytes, sizeof(bytes) - 1, what, fix                                                                  \
    }

static const signature signatures[] = {
    SIG("version https://git-lfs", "a git-lfs pointer, not the model itself",
        "git lfs pull fetches the model"),
    SIG("PK\x03\x04", "a zip archive (PyTorch weights are zip files too)", convert),
    SIG("\x1F\x8B", "gzip data", unpack),
    SIG("\x28\xB5\x2F\xFD", "zstd data", unpack),
    SIG("\xFD"
        "7zXZ",
        "xz data", unpack),
    SIG("BZh", "bzip2 data", unpack),
    SIG("7z\xBC\xAF", "a 7z archive", unpack),
    SIG("\x80\x02", "a Python pickle (PyTorch weights)", convert),
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
        if (n >= s->n && memcmp(p, s->bytes, s->n) == 0) {
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
    return NULL;
}
