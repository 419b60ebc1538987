/* The server of snapshots. One thread waits for clients in poll and does nothing else while there are none. Between two
 * steps the step thread writes a snapshot if somebody watches and the last one is old enough; a lock that is not free is
 * left for the next time. Clients are written to without waiting: one that does not read keeps its own half-sent copy and
 * is dropped when it has not moved for ten seconds. All memory is taken at open.
 */
#include "runtime/live.h"
#include "runtime/context.h"
#include "runtime/core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { CLIENTS = 4, BITMAP_WORDS = 1024 };
#define PUBLISH_NS UINT64_C(200000000)
#define STUCK_NS   UINT64_C(10000000000)

typedef struct client {
    int fd; /* -1: none */
    size_t sent, bytes;
    uint64_t moved_ns, begun_ns;
    uint8_t *copy;
} client;

struct mox_live {
    char path[sizeof((struct sockaddr_un *)0)->sun_path];
    int listener, stop;
    pthread_t thread;
    pthread_mutex_t lock; /* of now */
    uint8_t *now;
    size_t bytes;
    uint64_t published_ns;
    atomic_uint watching;
    client client[CLIENTS];
    uint64_t bitmap[BITMAP_WORDS];
};

size_t mox_live_bytes(uint32_t n_layers, uint32_t n_experts)
{
    size_t cells = (size_t)n_layers * n_experts;
    return sizeof(mox_live_head) + n_layers * sizeof(mox_use_counters) + cells * (sizeof(uint32_t) + 1);
}

const mox_use_counters *mox_live_layers(const mox_live_head *h)
{
    return (const mox_use_counters *)(const void *)(h + 1);
}

const uint32_t *mox_live_uses(const mox_live_head *h)
{
    return (const uint32_t *)(const void *)(mox_live_layers(h) + h->n_layers);
}

const uint8_t *mox_live_places(const mox_live_head *h)
{
    return (const uint8_t *)(mox_live_uses(h) + (size_t)h->n_layers * h->n_experts);
}

mox_err mox_live_dir(char out[96])
{
    struct stat st;
    const char *xdg = getenv("XDG_RUNTIME_DIR");
    bool own = xdg && xdg[0] == '/' && strlen(xdg) < 64;
    if (own) {
        snprintf(out, 96, "%s/moxie", xdg);
    } else {
        snprintf(out, 96, "/tmp/moxie-%u", (unsigned)getuid());
    }
    if (mkdir(out, 0700) != 0 && errno != EEXIST) {
        return MOX_FAIL_SYS(MOX_E_OPEN, errno, "%s cannot be made: %s", out, strerror(errno));
    }
    if (lstat(out, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != getuid() || (st.st_mode & 077) != 0) {
        return MOX_FAIL(MOX_E_OPEN, "%s is not a folder of this user alone", out);
    }
    return MOX_OK;
}

/* ---- the step thread ---- */

static void places(mox_ctx *ctx, uint8_t *to)
{
    uint32_t n = ctx->plan.n_experts;
    uint64_t *bits = ctx->live->bitmap;
    memset(to, MOX_LIVE_FILE, (size_t)ctx->plan.n_moe_layers * n);
    for (uint32_t l = 0; l < ctx->plan.n_moe_layers && n <= BITMAP_WORDS * 64; l++, to += n) {
        for (int tier = MOX_LIVE_RAM; tier <= MOX_LIVE_VRAM; tier++) {
            memset(bits, 0, (n + 63) / 64 * sizeof *bits);
            if (tier == MOX_LIVE_RAM) {
                mox_store_resident(ctx->store, l, bits);
            } else if (ctx->plan.n_devices) {
                mox_vram_resident(ctx->store, l, bits);
            }
            for (uint32_t e = 0; e < n; e++) {
                to[e] = bits[e / 64] >> e % 64 & 1 ? (uint8_t)tier : to[e];
            }
        }
    }
}

static void publish(mox_ctx *ctx)
{
    mox_live *v = ctx->live;
    mox_live_head *h = (mox_live_head *)(void *)v->now;
    const mox_plan *p = &ctx->plan;
    *h = (mox_live_head){.magic = MOX_LIVE_MAGIC,
                         .version = MOX_LIVE_VERSION,
                         .bytes = v->bytes,
                         .at_ns = mox_now_ns(),
                         .pid = (int32_t)getpid(),
                         .n_layers = p->n_moe_layers,
                         .n_experts = p->n_experts,
                         .top_k = p->top_k,
                         .n_ctx = p->n_ctx,
                         .used_ctx = ctx->graph.seq_len[0],
                         .kept = p->kept_total + p->vram_experts,
                         .n_threads = p->n_threads,
                         .total_bytes = p->total_bytes};
    const char *slash = strrchr(ctx->cfg.model, '/');
    snprintf(h->model, sizeof h->model, "%s", slash ? slash + 1 : ctx->cfg.model);
    snprintf(h->device, sizeof h->device, "%s", ctx->device);
    mox_get_counters(ctx, &h->c, (mox_use_counters *)(void *)(h + 1));
    if (ctx->store) {
        mox_store_uses(ctx->store, (uint32_t *)(void *)mox_live_uses(h));
        places(ctx, (uint8_t *)(void *)mox_live_places(h));
    }
    v->published_ns = h->at_ns;
}

void mox_live_step(mox_ctx *ctx)
{
    mox_live *v = ctx->live;
    if (!v || atomic_load_explicit(&v->watching, memory_order_relaxed) == 0 ||
        mox_now_ns() - v->published_ns < PUBLISH_NS || pthread_mutex_trylock(&v->lock) != 0) {
        return;
    }
    publish(ctx);
    pthread_mutex_unlock(&v->lock);
}

/* ---- the server's thread ---- */

static void leave(mox_live *v, client *c)
{
    close(c->fd);
    c->fd = -1;
    atomic_fetch_sub(&v->watching, 1);
}

static void enter(mox_live *v)
{
    int fd = accept4(v->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    for (int i = 0; i < CLIENTS && fd >= 0; i++) {
        client *c = &v->client[i];
        if (c->fd < 0) {
            *c = (client){.fd = fd, .copy = c->copy, .moved_ns = mox_now_ns()};
            atomic_fetch_add(&v->watching, 1);
            return;
        }
    }
    if (fd >= 0) { /* enough of them */
        close(fd);
    }
}

/* A new copy when the last one is sent and old; what the socket takes of it. */
static void serve(mox_live *v, client *c)
{
    uint64_t now = mox_now_ns();
    char byte;
    ssize_t n = recv(c->fd, &byte, 1, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || now - c->moved_ns > STUCK_NS) {
        leave(v, c);
        return;
    }
    if (c->sent == c->bytes) {
        c->moved_ns = now;
        if (now - c->begun_ns < MOX_LIVE_EVERY_MS * UINT64_C(1000000)) {
            return;
        }
        pthread_mutex_lock(&v->lock);
        memcpy(c->copy, v->now, v->bytes);
        pthread_mutex_unlock(&v->lock);
        c->begun_ns = now;
        c->sent = 0;
        c->bytes = v->bytes;
    }
    n = send(c->fd, c->copy + c->sent, c->bytes - c->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
        c->sent += (size_t)n;
        c->moved_ns = now;
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        leave(v, c);
    }
}

static void *server(void *arg)
{
    mox_live *v = arg;
    struct pollfd p[2] = {{.fd = v->stop, .events = POLLIN}, {.fd = v->listener, .events = POLLIN}};
    for (;;) {
        int n = poll(p, 2, atomic_load(&v->watching) ? MOX_LIVE_EVERY_MS / 5 : -1);
        if (n > 0 && p[0].revents) {
            return NULL;
        }
        if (n > 0 && p[1].revents) {
            enter(v);
        }
        for (int i = 0; i < CLIENTS; i++) {
            if (v->client[i].fd >= 0) {
                serve(v, &v->client[i]);
            }
        }
    }
}

/* ---- beginning and end ---- */

static mox_err listen_at(mox_live *v)
{
    char dir[96];
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    MOX_TRY(mox_live_dir(dir));
    snprintf(a.sun_path, sizeof a.sun_path, "%s/%d.sock", dir, (int)getpid());
    v->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (v->listener < 0) {
        return MOX_FAIL_SYS(MOX_E_OPEN, errno, "a socket was refused: %s", strerror(errno));
    }
    int err = connect(v->listener, (struct sockaddr *)&a, sizeof a) != 0 ? errno : 0;
    if (err == 0) { /* another model in this process is watched there */
        return MOX_FAIL(MOX_E_OPEN, "%s is taken", a.sun_path);
    }
    if (err == ECONNREFUSED) { /* of a process with this number that is gone */
        unlink(a.sun_path);
    }
    if (bind(v->listener, (struct sockaddr *)&a, sizeof a) != 0 || listen(v->listener, CLIENTS) != 0) {
        return MOX_FAIL_SYS(MOX_E_OPEN, errno, "%s: %s", a.sun_path, strerror(errno));
    }
    memcpy(v->path, a.sun_path, sizeof v->path);
    return MOX_OK;
}

static mox_err start_thread(mox_live *v)
{
    sigset_t all, before;
    v->stop = eventfd(0, EFD_CLOEXEC);
    if (v->stop < 0) {
        return MOX_FAIL_SYS(MOX_E_THREAD, errno, "an eventfd was refused");
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&v->thread, NULL, server, v);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err ? MOX_FAIL_SYS(MOX_E_THREAD, err, "a thread was refused: %s", strerror(err)) : MOX_OK;
}

static void release(mox_live *v)
{
    if (v->path[0]) {
        unlink(v->path);
    }
    for (int i = 0; i < CLIENTS; i++) {
        if (v->client[i].fd >= 0) {
            close(v->client[i].fd);
        }
    }
    if (v->listener >= 0) {
        close(v->listener);
    }
    if (v->stop >= 0) {
        close(v->stop);
    }
    pthread_mutex_destroy(&v->lock);
    free(v);
}

enum { HEAD = (sizeof(mox_live) + 63) / 64 * 64 };

static size_t snapshot_bytes(const mox_ctx *ctx)
{
    return (mox_live_bytes(ctx->model->n_moe_layers, ctx->model->h.n_experts) + 63) / 64 * 64;
}

/* A dry run counts it too: its plan is that of the run. */
size_t mox_live_memory(const mox_ctx *ctx)
{
    return ctx->cfg.live ? HEAD + (CLIENTS + 1) * snapshot_bytes(ctx) : 0;
}

void mox_live_start(mox_ctx *ctx)
{
    if (!ctx->cfg.live || ctx->cfg.dry_run) {
        return;
    }
    size_t bytes = snapshot_bytes(ctx), all = mox_live_memory(ctx);
    mox_live *v = aligned_alloc(64, all);
    if (!v) {
        return;
    }
    memset(v, 0, all);
    v->listener = v->stop = -1;
    v->bytes = mox_live_bytes(ctx->plan.n_moe_layers, ctx->plan.n_experts);
    v->now = (uint8_t *)v + HEAD;
    for (int i = 0; i < CLIENTS; i++) {
        v->client[i] = (client){.fd = -1, .copy = v->now + (size_t)(i + 1) * bytes};
    }
    pthread_mutex_init(&v->lock, NULL);
    ctx->live = v;
    publish(ctx);
    mox_err err = listen_at(v);
    err = err == MOX_OK ? start_thread(v) : err;
    if (err != MOX_OK) {
        mox_log_line(&ctx->cfg.log, MOX_LOG_DEBUG, "top: %s", mox_err_last()->msg);
        ctx->live = NULL;
        release(v);
    }
}

void mox_live_stop(mox_ctx *ctx)
{
    mox_live *v = ctx->live;
    const uint64_t one = 1;
    if (!v) {
        return;
    }
    ctx->live = NULL;
    (void)!write(v->stop, &one, sizeof one);
    pthread_join(v->thread, NULL);
    release(v);
}
