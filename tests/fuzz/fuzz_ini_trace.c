/* The two small readers of files: settings (INI) and routing traces. The first byte says which; the others are the
 * file. Both take paths, so the bytes go into memory that has one.
 */
#include "fuzz/fuzz.h"
#include "profiler/trace.h"
#include "runtime/cli/config_file.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *file_of(const uint8_t *data, size_t n)
{
    static char path[64];
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("input", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    MUST(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, data, n, 0) == (ssize_t)n);
    return path;
}

static void settings(const char *path)
{
    static mox_config_file file;
    mox_err err = mox_config_read(path, &file);
    MUST(err == MOX_OK || err == MOX_E_CONFIG || err == MOX_E_OPEN);
    if (err != MOX_OK) {
        MUST(strlen(mox_err_last()->msg) > 10);
        return;
    }
    MUST(file.n <= MOX_CONFIG_MAX_ENTRIES && file.used <= sizeof file.text);
    for (uint32_t i = 0; i < file.n; i++) {
        const mox_config_entry *e = &file.entries[i];
        size_t n = strlen(e->section) + strlen(e->key) + strlen(e->value) + 3;
        MUST(n <= file.used && e->line >= 1 && (i == 0 || e->line > file.entries[i - 1].line));
    }
}

static void trace(const char *path)
{
    mox_trace t = {.n_uses = 0};
    mox_err err = mox_trace_read(path, &t);
    MUST(err == MOX_OK || err == MOX_E_FORMAT || err == MOX_E_OPEN);
    const mox_trace_header *h = &t.header;
    for (size_t i = 0; err == MOX_OK && i < t.n_uses; i++) {
        const mox_trace_record *r = &t.uses[i];
        MUST(r->layer < h->n_layers && r->expert < h->n_experts && r->rank < h->top_k);
    }
    for (size_t i = 0; err == MOX_OK && i < t.n_spans; i++) {
        const mox_trace_span *s = &t.spans[i];
        MUST(s->kind < MOX_SPAN_KINDS && s->phase < MOX_PHASES && s->begin_ns + s->ns >= s->ns);
    }
    mox_trace_free(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n > 0) {
        const char *path = file_of(data + 1, n - 1);
        (data[0] & 1 ? trace : settings)(path);
    }
    return 0;
}
