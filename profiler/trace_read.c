/* Traces as they are read. A trace is an input like any other: what it counts is bounded by its size, and every record is
 * checked against the header before anyone indexes with it. The file is read once into memory and its blocks are then
 * put together. */
#include "profiler/trace_file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *mox_span_name(mox_span_kind kind)
{
    static const char *const names[] = {
#define X(name, text, group) text,
        MOX_SPANS(X)
#undef X
    };
    return (unsigned)kind < MOX_SPAN_KINDS ? names[kind] : "?";
}

/* Read exactly `bytes`; false with errno, or errno 0 when the file ended. */
static bool read_all(int fd, void *data, size_t bytes)
{
    char *p = data;
    while (bytes) {
        ssize_t n = read(fd, p, bytes);
        if (n == 0) {
            errno = 0;
            return false;
        }
        if (n < 0 && errno != EINTR) {
            return false;
        }
        if (n > 0) {
            p += n;
            bytes -= (size_t)n;
        }
    }
    return true;
}

static mox_err check_header(const char *path, const mox_trace_header *h)
{
    if (memcmp(h->magic, MOX_TRACE_MAGIC, sizeof h->magic) != 0) {
        return MOX_FAIL(MOX_E_FORMAT, "trace: %s is not a moxie trace", path);
    }
    if (h->version != MOX_TRACE_VERSION) {
        return MOX_FAIL(MOX_E_FORMAT, "trace: %s has version %u, this program reads %d", path, h->version,
                        MOX_TRACE_VERSION);
    }
    /* Zeros are a dense model's: such a trace has no uses. */
    if (h->n_layers > UINT16_MAX || h->n_experts >= UINT16_MAX || h->top_k > h->n_experts ||
        h->top_k > UINT8_MAX) {
        return MOX_FAIL(MOX_E_FORMAT, "trace: %s says %u layers, %u experts, top %u", path, h->n_layers,
                        h->n_experts, h->top_k);
    }
    return MOX_OK;
}

static mox_err check_uses(const char *path, const mox_trace *t)
{
    for (size_t i = 0; i < t->n_uses; i++) {
        const mox_trace_record *r = &t->uses[i];
        if (r->layer >= t->header.n_layers || r->expert >= t->header.n_experts ||
            r->rank >= t->header.top_k) {
            return MOX_FAIL(MOX_E_FORMAT,
                            "trace: %s record %zu: layer %u, expert %u, rank %u beyond the header", path, i,
                            r->layer, r->expert, r->rank);
        }
        if (r->phase_and_tier >> 4 >= MOX_PHASES || (r->phase_and_tier & 15) > MOX_SERVED_FILE) {
            return MOX_FAIL(MOX_E_FORMAT, "trace: %s record %zu has phase %u and tier %u", path, i,
                            r->phase_and_tier >> 4, r->phase_and_tier & 15);
        }
        if (!isfinite(r->weight)) {
            return MOX_FAIL(MOX_E_FORMAT, "trace: %s record %zu has weight %g", path, i, (double)r->weight);
        }
    }
    return MOX_OK;
}

static mox_err check_spans(const char *path, const mox_trace *t)
{
    const uint64_t longest = UINT64_C(1) << 60; /* sums of two stay numbers */
    for (size_t i = 0; i < t->n_spans; i++) {
        const mox_trace_span *s = &t->spans[i];
        bool expert = s->expert == MOX_SPAN_NO_EXPERT || s->expert < t->header.n_experts;
        if (s->kind >= MOX_SPAN_KINDS || s->phase >= MOX_PHASES || s->detail > MOX_SPAN_READ_AHEAD ||
            !expert || s->begin_ns > longest || s->ns > longest) {
            return MOX_FAIL(MOX_E_FORMAT, "trace: %s span %zu: kind %u, phase %u, expert %u, %llu ns", path,
                            i, s->kind, s->phase, s->expert, (unsigned long long)s->ns);
        }
    }
    return MOX_OK;
}

/* What a block may hold. */
static const struct {
    const char *tag;
    uint32_t item, most; /* payload: n items; most: bytes, 0: any */
} kinds[] = {{MOX_TRACE_INFO, 1, MOX_TRACE_INFO_MAX},
             {MOX_TRACE_USES, sizeof(mox_trace_record), 0},
             {MOX_TRACE_SPAN, sizeof(mox_trace_span), 0},
             {MOX_TRACE_DONE, sizeof(mox_trace_end), sizeof(mox_trace_end)}};
enum { INFO, USES, SPAN, DONE, KINDS };

/* The block at `at`: its kind, its payload behind the head. */
static mox_err block_at(const char *path, const uint8_t *data, size_t bytes, size_t at, int *kind,
                        mox_trace_block *b)
{
    if (bytes - at < sizeof *b) {
        return MOX_FAIL(MOX_E_FORMAT, "trace: %s is cut off inside a block (%zu bytes)", path, bytes);
    }
    memcpy(b, data + at, sizeof *b);
    for (*kind = 0; *kind < KINDS && memcmp(kinds[*kind].tag, b->tag, sizeof b->tag) != 0; ++*kind) {
    }
    if (*kind == KINDS || b->bytes % kinds[*kind].item != 0 || (b->bytes == 0 && *kind != INFO) ||
        (kinds[*kind].most && b->bytes > kinds[*kind].most)) {
        return MOX_FAIL(MOX_E_FORMAT, "trace: %s: no block of a trace at offset %zu", path, at);
    }
    if (b->bytes > bytes - at - sizeof *b) {
        return MOX_FAIL(MOX_E_FORMAT, "trace: %s is cut off: a block of %u bytes at offset %zu of %zu", path,
                        b->bytes, at, bytes);
    }
    return MOX_OK;
}

/* What all blocks hold. */
static mox_err count(const char *path, const uint8_t *data, size_t bytes, size_t sum[KINDS])
{
    size_t at = sizeof(mox_trace_header);
    for (int n = 0; at < bytes; n++) {
        mox_trace_block b;
        int kind;
        MOX_TRY(block_at(path, data, bytes, at, &kind, &b));
        if ((n == 0) != (kind == INFO) || sum[DONE]) {
            return MOX_FAIL(MOX_E_FORMAT, "trace: %s: block %.4s at offset %zu is out of place", path, b.tag,
                            at);
        }
        sum[kind] += b.bytes;
        at += sizeof b + b.bytes;
    }
    return MOX_OK;
}

static mox_err put_together(const char *path, const uint8_t *data, size_t bytes, mox_trace *t)
{
    size_t sum[KINDS] = {0}, done[KINDS] = {0};
    MOX_TRY(count(path, data, bytes, sum));
    t->info = calloc(1, sum[INFO] + 1);
    t->uses = malloc(sum[USES] + 1);
    t->spans = malloc(sum[SPAN] + 1);
    if (!t->info || !t->uses || !t->spans) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "trace: %s needs more memory than there is", path);
    }
    uint8_t *to[KINDS] = {(uint8_t *)t->info, (uint8_t *)t->uses, (uint8_t *)t->spans, (uint8_t *)&t->end};
    for (size_t at = sizeof(mox_trace_header); at < bytes;) {
        mox_trace_block b;
        int kind;
        MOX_TRY(block_at(path, data, bytes, at, &kind, &b));
        memcpy(to[kind] + done[kind], data + at + sizeof b, b.bytes);
        done[kind] += b.bytes;
        at += sizeof b + b.bytes;
    }
    t->n_uses = sum[USES] / sizeof *t->uses;
    t->n_spans = sum[SPAN] / sizeof *t->spans;
    t->whole = sum[DONE] > 0;
    if (t->whole && (t->end.uses != t->n_uses || t->end.spans != t->n_spans)) {
        return MOX_FAIL(MOX_E_FORMAT, "trace: %s holds %zu uses and %zu spans, its end says %llu and %llu",
                        path, t->n_uses, t->n_spans, (unsigned long long)t->end.uses,
                        (unsigned long long)t->end.spans);
    }
    MOX_TRY(check_uses(path, t));
    return check_spans(path, t);
}

static mox_err read_fd(int fd, const char *path, mox_trace *t)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return MOX_FAIL(MOX_E_FORMAT, "trace: %s is not a regular file", path);
    }
    size_t bytes = (size_t)st.st_size;
    if (bytes < sizeof t->header || !read_all(fd, &t->header, sizeof t->header)) {
        return MOX_FAIL(MOX_E_FORMAT, "trace: %s is shorter than a header (%zu bytes)", path, bytes);
    }
    MOX_TRY(check_header(path, &t->header));
    uint8_t *data = malloc(bytes);
    if (!data) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "trace: %zu bytes of %s need more memory than there is", bytes,
                        path);
    }
    mox_err err = MOX_OK;
    if (!read_all(fd, data + sizeof t->header, bytes - sizeof t->header)) {
        err = MOX_FAIL_SYS(MOX_E_FORMAT, errno, "trace: %s: reading %zu bytes failed", path, bytes);
    } else {
        err = put_together(path, data, bytes, t);
    }
    free(data);
    return err;
}

mox_err mox_trace_read(const char *path, mox_trace *out)
{
    mox_trace t = {.n_uses = 0};
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a FIFO is refused and not waited for */
    if (fd < 0) {
        int err = errno;
        return MOX_FAIL_SYS(MOX_E_OPEN, err, "trace: %s cannot be opened: %s", path, strerror(err));
    }
    mox_err err = read_fd(fd, path, &t);
    close(fd);
    if (err != MOX_OK) {
        mox_trace_free(&t);
        return err;
    }
    *out = t;
    return MOX_OK;
}

void mox_trace_free(mox_trace *t)
{
    free(t->info);
    free(t->uses);
    free(t->spans);
    memset(t, 0, sizeof *t);
}

bool mox_trace_info(const mox_trace *t, const char *key, char *out, size_t n)
{
    size_t n_key = strlen(key);
    out[0] = '\0';
    for (const char *line = t->info; line && *line; line += strcspn(line, "\n"), line += *line == '\n') {
        if (strncmp(line, key, n_key) == 0 && line[n_key] == ' ') {
            size_t len = strcspn(line + n_key + 1, "\n");
            len = len < n ? len : n - 1;
            memcpy(out, line + n_key + 1, len);
            out[len] = '\0';
            return true;
        }
    }
    return false;
}
