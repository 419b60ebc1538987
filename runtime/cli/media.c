/* Slow media (media.h). Called by mox_cli_open, so that every command that loads a model says it first.
 *
 * The rate is measured with the store's own backends, eight reads of 256 KiB in flight: enough for a drive to show
 * what it can, and little enough to be back soon from a drive that cannot. A fast disk is recognised after 32 MiB,
 * long before the 50 ms; what is measured there is not the ceiling (bench has that), only whether it is slow.
 * The expectation is the plan's: experts are used alike, so the share that is not kept is read. With text a policy
 * does better than that, so the speed is said with "about". The plan is made only if there is something to say.
 */
#include "runtime/cli/media.h"

#include "offload/io.h"
#include "runtime/cli/ui.h"
#include "runtime/core/arena.h"
#include "runtime/core/bits.h"
#include "runtime/core/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

enum { IN_FLIGHT = 8, REQUEST = 256 << 10 };
static const uint64_t PROBE_BYTES = 32 << 20, PROBE_NS = 50000000;

const char *mox_media_network(unsigned long f_type)
{
    static const struct {
        unsigned long type;
        const char *name;
    } slow[] = {{0x6969, "NFS"},        {0xff534d42, "CIFS"},   {0xfe534d42, "SMB"},  {0x517b, "SMB"},
                {0x65735546, "FUSE"},   {0x01021997, "9p"},     {0x00c36400, "Ceph"}, {0x5346414f, "AFS"},
                {0x786f4256, "vboxsf"}, {0x0bd00bd0, "Lustre"}, {0x73757245, "Coda"}};
    for (size_t i = 0; i < sizeof slow / sizeof *slow; i++) {
        if ((f_type & 0xffffffff) == slow[i].type) {
            return slow[i].name;
        }
    }
    return NULL;
}

const char *mox_media_path(const char *path)
{
    struct statfs fs;
    return statfs(path, &fs) == 0 ? mox_media_network((unsigned long)fs.f_type) : NULL;
}

uint64_t mox_media_swap_used(const char *root)
{
    char path[600], line[256];
    unsigned long long total = 0, left = 0;
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "SwapTotal:", 10) == 0) {
            total = strtoull(line + 10, NULL, 10);
        } else if (strncmp(line, "SwapFree:", 9) == 0) {
            left = strtoull(line + 9, NULL, 10);
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return total > left ? (total - left) * 1024 : 0;
}

typedef struct probe {
    const mox_io_ops *ops;
    mox_io *io;
    uint8_t *staging;
    uint64_t next, end;
    uint32_t flying;
} probe;

static void submit(probe *p, uint64_t id)
{
    mox_io_req req = {.id = id, .bytes = REQUEST, .off = p->next, .buf = p->staging + id * REQUEST};
    p->next += REQUEST;
    p->flying++;
    p->ops->submit(p->io, &req);
}

/* Bytes that came back in time; 0 after an error, or if none did. */
static double read_for_a_while(probe *p)
{
    mox_io_done done[IN_FLIGHT];
    uint64_t begin = mox_now_ns(), bytes = 0, now = begin, last = begin;
    bool failed = false;
    for (uint64_t id = 0; id < IN_FLIGHT && p->next + REQUEST <= p->end; id++) {
        submit(p, id);
    }
    while (p->flying > 0) {
        bool late = failed || now - begin >= PROBE_NS;
        uint32_t n = p->ops->reap(p->io, done, IN_FLIGHT, late ? UINT64_MAX : PROBE_NS - (now - begin));
        now = mox_now_ns();
        for (uint32_t i = 0; i < n; i++) {
            p->flying--;
            failed |= done[i].res < 0;
            if (done[i].res > 0 && (now - begin < PROBE_NS || bytes == 0)) {
                bytes += (uint64_t)done[i].res;
                last = now;
            }
            if (!failed && now - begin < PROBE_NS && p->next + REQUEST <= p->end) {
                submit(p, done[i].id);
            }
        }
    }
    return failed || last == begin ? 0 : (double)bytes * 1e9 / (double)(last - begin);
}

static bool open_backend(probe *p, mox_io_cfg *cfg)
{
    p->ops = &mox_io_ring;
    if (p->ops->open(NULL, cfg, &p->io) == MOX_OK) {
        return true;
    }
    p->ops = &mox_io_preads;
    return p->ops->open(NULL, cfg, &p->io) == MOX_OK;
}

double mox_media_rate(const char *path)
{
    size_t state = mox_io_ring.state_bytes > mox_io_preads.state_bytes ? mox_io_ring.state_bytes
                                                                       : mox_io_preads.state_bytes;
    size_t staging = (size_t)IN_FLIGHT * REQUEST;
    mox_arena arena;
    if (mox_arena_map(&arena, staging + state, MOX_ARENA_HUGE) != MOX_OK) {
        return 0;
    }
    mox_io_file file = {.fd = -1};
    double rate = 0;
    if (mox_io_file_open(&file, path, arena.base) == MOX_OK) {
        probe p = {.staging = arena.base};
        uint64_t bytes = file.id.bytes < PROBE_BYTES ? file.id.bytes : PROBE_BYTES;
        p.next = ((file.id.bytes - bytes) / 2) & ~UINT64_C(4095);
        p.end = p.next + bytes;
        mox_io_cfg cfg = {.fds = &file.fd,
                          .n_files = 1,
                          .staging = arena.base,
                          .staging_bytes = staging,
                          .depth = IN_FLIGHT,
                          .state = arena.base + staging};
        if (open_backend(&p, &cfg)) {
            rate = read_for_a_while(&p);
            p.ops->close(&p.io);
        }
        mox_io_file_close(&file);
    }
    mox_arena_unmap(&arena);
    return rate;
}

double mox_media_token_bytes(const mox_plan *plan)
{
    double bytes = 0;
    for (uint32_t l = 0; l < plan->n_moe_layers && plan->n_experts > 0; l++) {
        double absent = 1 - (double)plan->kept[l] / plan->n_experts;
        bytes += plan->top_k * absent * (double)plan->slot_bytes[l];
    }
    return bytes;
}

static size_t add(char *out, size_t n, size_t at, const char *text)
{
    int m = at < n ? snprintf(out + at, n - at, "%s%s", at > 0 ? ", " : "", text) : 0;
    return at + (size_t)m;
}

bool mox_media_line(const mox_media *m, const mox_plan *plan, char *out, size_t n)
{
    bool slow = m->bytes_per_s > 0 && m->bytes_per_s < MOX_SLOW_DISK;
    char text[200], size[24];
    size_t at = 0;
    if (m->network == NULL && !slow && m->swap_used <= MOX_SWAPPED) {
        return false;
    }
    if (m->network != NULL) {
        snprintf(text, sizeof text, "the model is on a network file system (%s)", m->network);
        at = add(out, n, at, text);
    }
    if (slow) {
        at = add(out, n, at, "the disk is slow");
    }
    if (m->swap_used > MOX_SWAPPED) {
        snprintf(text, sizeof text, "%s are swapped out", mox_human(m->swap_used, size));
        at = add(out, n, at, text);
    }
    double token = mox_media_token_bytes(plan);
    if (m->bytes_per_s <= 0) {
        return true;
    }
    snprintf(text, sizeof text, "reads at %.0f MB/s: loading takes about %.0f s", m->bytes_per_s / 1e6,
             (double)(plan->dense_bytes + plan->expert_bytes) / m->bytes_per_s);
    at = add(out, n, at, text);
    if (token > 0) {
        double tok_s = m->bytes_per_s / token;
        snprintf(text, sizeof text, "an answer reads about %s per token: %.*f tok/s",
                 mox_human((uint64_t)token, size), tok_s < 10 ? 2 : 0, tok_s);
    } else {
        snprintf(text, sizeof text, "answers read nothing");
    }
    add(out, n, at, text);
    return true;
}

/* The file to be judged by: the first part of a split model, the file itself without another look at it. */
static double model_rate(const char *model, const char **network)
{
    struct stat st;
    mox_gguf *g = NULL;
    if (stat(model, &st) == 0 && S_ISREG(st.st_mode)) {
        *network = mox_media_path(model);
        return mox_media_rate(model);
    }
    double rate = 0;
    if (mox_gguf_open(&g, model) == MOX_OK) {
        *network = mox_media_path(mox_gguf_file(g, 0));
        rate = mox_media_rate(mox_gguf_file(g, 0));
    }
    mox_gguf_close(&g);
    return rate;
}

void mox_media_warn(const mox_cfg *cfg)
{
    static mox_plan plan;
    char line[700];
    mox_media m = {.swap_used = mox_media_swap_used("")};
    m.bytes_per_s = model_rate(cfg->model, &m.network);
    if (cfg->io_limit_bps > 0 && m.bytes_per_s > (double)cfg->io_limit_bps) {
        m.bytes_per_s = (double)cfg->io_limit_bps;
    }
    if (mox_media_line(&m, &plan, line, sizeof line) && mox_plan_model(&plan, cfg) == MOX_OK &&
        mox_media_line(&m, &plan, line, sizeof line)) {
        mox_ui_line("warning: %s", line);
    }
}
