/* moxie top: a running moxie, looked at through its socket (runtime/live.h). A terminal gets a full screen that q leaves;
 * anything else a line a second, or with --json a document a line. Several processes are listed and chosen by number;
 * sockets that nobody answers are removed on the way.
 */
#include "profiler/report/json.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/ui.h"
#include "runtime/core/clock.h"
#include "runtime/live.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

enum { MOST = 64, BAR = 30 };
#define SNAPSHOT_MAX ((size_t)64 << 20)

typedef struct top {
    int fd;
    mox_live_head *now, *last; /* last NULL: the first one */
    bool screen;
} top;

static int connect_to(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
        int err = errno;
        close(fd);
        if (err == ECONNREFUSED) {
            unlink(path);
        }
        return -1;
    }
    return fd;
}

/* Processes that answer; those that are gone leave the folder. */
static uint32_t find(const char *dir, int pid[MOST])
{
    uint32_t n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e = d ? readdir(d) : NULL; e && n < MOST; e = readdir(d)) {
        char path[512], *end = NULL;
        long number = strtol(e->d_name, &end, 10);
        if (end == e->d_name || strcmp(end, ".sock") != 0) {
            continue;
        }
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        int fd = connect_to(path);
        if (fd >= 0) {
            close(fd);
            pid[n++] = (int)number;
        }
    }
    if (d) {
        closedir(d);
    }
    return n;
}

static mox_err choose(const mox_opts *o, int *fd)
{
    char dir[96], path[512], list[400] = "";
    int pid[MOST];
    MOX_TRY(mox_live_dir(dir));
    if (o->words[0]) {
        snprintf(path, sizeof path, "%s/%.20s.sock", dir, o->words[0]);
        *fd = strspn(o->words[0], "0123456789") == strlen(o->words[0]) ? connect_to(path) : -1;
        return *fd >= 0
                   ? MOX_OK
                   : MOX_FAIL(MOX_E_OPEN, "no moxie that can be watched has the number %.20s", o->words[0]);
    }
    uint32_t n = find(dir, pid);
    if (n == 0) {
        (void)MOX_FAIL(MOX_E_OPEN, "no moxie is running that can be watched");
        return mox_err_fix("moxie run MODEL    in another terminal, without --live off");
    }
    for (uint32_t i = 0; n > 1 && i < n; i++) {
        size_t at = strlen(list);
        snprintf(list + at, sizeof list - at, "%smoxie top %d", i ? "\n" : "", pid[i]);
    }
    if (n > 1) {
        (void)MOX_FAIL(MOX_E_OPTION, "%u processes are running: which one?", n);
        return mox_err_fix("%.230s", list);
    }
    snprintf(path, sizeof path, "%s/%d.sock", dir, pid[0]);
    *fd = connect_to(path);
    return *fd >= 0 ? MOX_OK : MOX_FAIL(MOX_E_OPEN, "process %d has just ended", pid[0]);
}

/* A key that leaves, a signal, or *ready: the socket has something. False: leave. */
static bool wait_for(const top *t, bool *ready)
{
    struct pollfd p[2] = {{.fd = t->fd, .events = POLLIN},
                          {.fd = t->screen ? STDIN_FILENO : -1, .events = POLLIN}};
    int n = poll(p, 2, 1000);
    *ready = n > 0 && p[0].revents;
    if (n > 0 && p[1].revents) {
        char key = 0;
        ssize_t got = read(STDIN_FILENO, &key, 1);
        if (got <= 0 || key == 'q' || key == 'Q' || key == 27 || key == 3) {
            return false;
        }
    }
    return mox_stop_requested() == 0;
}

/* *more false: told to leave, or the process has ended (t->fd < 0). */
static mox_err receive(top *t, void *to, size_t bytes, bool *more)
{
    uint8_t *at = to;
    bool ready;
    while (bytes) {
        if (!wait_for(t, &ready)) {
            *more = false;
            return MOX_OK;
        }
        ssize_t n = ready ? recv(t->fd, at, bytes, MSG_DONTWAIT) : -1;
        if (n == 0 || (n < 0 && ready && errno != EAGAIN && errno != EINTR)) {
            close(t->fd);
            t->fd = -1;
            *more = false;
            return MOX_OK;
        }
        at += n > 0 ? n : 0;
        bytes -= n > 0 ? (size_t)n : 0;
    }
    return MOX_OK;
}

static mox_err next(top *t, bool *more)
{
    mox_live_head h;
    *more = true;
    MOX_TRY(receive(t, &h, sizeof h, more));
    if (!*more) {
        return MOX_OK;
    }
    if (memcmp(h.magic, MOX_LIVE_MAGIC, sizeof h.magic) != 0 || h.version != MOX_LIVE_VERSION ||
        h.n_layers > MOX_PLAN_MAX_LAYERS || h.n_experts > UINT16_MAX || h.bytes > SNAPSHOT_MAX ||
        h.bytes != mox_live_bytes(h.n_layers, h.n_experts)) {
        return MOX_FAIL(MOX_E_FORMAT, "what runs there is another version of moxie");
    }
    free(t->last);
    t->last = t->now;
    t->now = malloc(h.bytes);
    if (!t->now) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a snapshot of %llu bytes",
                        (unsigned long long)h.bytes);
    }
    h.model[sizeof h.model - 1] = h.device[sizeof h.device - 1] = '\0';
    *t->now = h;
    return receive(t, t->now + 1, h.bytes - sizeof h, more);
}

/* What happened since the last snapshot, or since the beginning. */
typedef struct rates {
    double tok_s[MOX_PHASES], read_bps, wait, hit[4]; /* wait: share; hit: vram, ram, late, file */
    uint64_t uses;
} rates;

static double per(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static rates rates_of(const top *t)
{
    const mox_counters *c = &t->now->c, none = {.admissions = 0}, *b = t->last ? &t->last->c : &none;
    double s = t->last ? (double)(t->now->at_ns - t->last->at_ns) * 1e-9 : 0;
    rates r = {.read_bps = per((double)(c->io.read_bytes - b->io.read_bytes), s)};
    uint64_t wait = 0, busy = 0, hit[4] = {0};
    for (int p = 0; p < MOX_PHASES; p++) {
        const mox_use_counters *u = &c->use[p], *v = &b->use[p];
        r.tok_s[p] = per((double)(c->tokens[p] - b->tokens[p]), s);
        wait += c->wait_ns[p] - b->wait_ns[p];
        busy += c->wait_ns[p] - b->wait_ns[p] + c->compute_ns[p] - b->compute_ns[p];
        hit[0] += u->vram - v->vram;
        hit[1] += u->hits - v->hits;
        hit[2] += u->late - v->late;
        hit[3] += u->misses - v->misses;
    }
    r.uses = hit[0] + hit[1] + hit[2] + hit[3];
    for (int k = 0; k < 4; k++) {
        r.hit[k] = per((double)hit[k], (double)r.uses);
    }
    r.wait = per((double)wait, (double)busy);
    return r;
}

static void show_line(const top *t)
{
    char name[128];
    rates r = rates_of(t);
    const mox_live_head *h = t->now;
    printf("%d %s: prompt %.1f tok/s, answer %.1f tok/s; VRAM %.1f %% RAM %.1f %% late %.1f %% file %.1f %%; "
           "read "
           "%.2f GB/s; waiting %.0f %%; context %u of %u\n",
           h->pid, mox_ui_shown(h->model, name, sizeof name), r.tok_s[0], r.tok_s[1], 100 * r.hit[0],
           100 * r.hit[1], 100 * r.hit[2], 100 * r.hit[3], r.read_bps / 1e9, 100 * r.wait, h->used_ctx,
           h->n_ctx);
}

static void show_json(const top *t)
{
    static const char *const tiers[] = {"vram", "ram", "late", "file"};
    rates r = rates_of(t);
    const mox_live_head *h = t->now;
    mox_json j;
    mox_json_begin(&j, stdout);
    mox_json_object(&j, NULL);
    mox_json_string(&j, "schema", "moxie.top/1");
    mox_json_i64(&j, "pid", h->pid);
    mox_json_string(&j, "model", h->model);
    mox_json_string(&j, "device", h->device);
    mox_json_f64(&j, "at_seconds", (double)h->at_ns * 1e-9);
    mox_json_u64(&j, "total_bytes", h->total_bytes);
    mox_json_u64(&j, "experts_kept", h->kept);
    mox_json_u64(&j, "context", h->n_ctx);
    mox_json_u64(&j, "context_used", h->used_ctx);
    mox_json_f64(&j, "prompt_tok_s", r.tok_s[0]);
    mox_json_f64(&j, "answer_tok_s", r.tok_s[1]);
    mox_json_u64(&j, "tokens", h->c.tokens[0] + h->c.tokens[1]);
    mox_json_f64(&j, "read_bytes_s", r.read_bps);
    mox_json_f64(&j, "waiting", r.wait);
    mox_json_u64(&j, "uses", r.uses);
    for (int k = 0; k < 4; k++) {
        mox_json_f64(&j, tiers[k], r.hit[k]);
    }
    mox_json_array(&j, "layers");
    for (uint32_t l = 0; l < h->n_layers; l++) {
        const mox_use_counters *u = &mox_live_layers(h)[l];
        mox_json_f64(&j, NULL, per((double)(u->vram + u->hits), (double)u->uses));
    }
    mox_json_array_end(&j);
    mox_json_object_end(&j);
    mox_json_end(&j);
}

static void show_bar(const char *name, double share)
{
    printf("  %-6s ", name);
    for (int i = 0; i < BAR; i++) {
        putchar(i < (int)(share * BAR + 0.5) ? '#' : '.');
    }
    printf(" %5.1f %%\033[K\r\n", 100 * share);
}

/* A layer: hits, and a character for each expert: by its uses, small where it is in the file. */
static void show_layer(const mox_live_head *h, uint32_t l, uint32_t columns)
{
    const mox_use_counters *u = &mox_live_layers(h)[l];
    const uint32_t *uses = mox_live_uses(h) + (size_t)l * h->n_experts;
    const uint8_t *place = mox_live_places(h) + (size_t)l * h->n_experts;
    uint32_t most = 1, n = h->n_experts < columns ? h->n_experts : columns;
    for (uint32_t e = 0; e < h->n_experts; e++) {
        most = uses[e] > most ? uses[e] : most;
    }
    printf("  %5u  %5.1f %%  ", l, 100 * per((double)(u->vram + u->hits), (double)u->uses));
    for (uint32_t e = 0; e < n; e++) {
        static const char levels[] = ".:-=+*%@";
        char c = uses[e] == 0 ? ' ' : levels[(uint64_t)uses[e] * 7 / most];
        printf(place[e] == MOX_LIVE_FILE  ? "\033[2m%c\033[0m"
               : place[e] == MOX_LIVE_RAM ? "\033[32m%c\033[0m"
                                          : "\033[1;36m%c\033[0m",
               c);
    }
    printf("%s\033[K\r\n", n < h->n_experts ? " ..." : "");
}

static void show_screen(const top *t)
{
    struct winsize w = {.ws_row = 24, .ws_col = 80};
    char name[128], device[64], a[24];
    const mox_live_head *h = t->now;
    rates r = rates_of(t);
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0 || w.ws_row < 10 || w.ws_col < 40) {
        w = (struct winsize){.ws_row = 24, .ws_col = 80};
    }
    printf("\033[H\033[1mmoxie top\033[0m  %d  %.40s\033[K\r\n", h->pid,
           mox_ui_shown(h->model, name, sizeof name));
    printf("  %.30s, %s planned, %u of %u experts kept\033[K\r\n",
           mox_ui_shown(h->device, device, sizeof device), mox_human(h->total_bytes, a), h->kept,
           h->n_layers * h->n_experts);
    printf("  prompt %.1f tok/s, answer %.1f tok/s, context %u of %u\033[K\r\n", r.tok_s[0], r.tok_s[1],
           h->used_ctx, h->n_ctx);
    printf("  read %.2f GB/s, waiting %.0f %%\033[K\r\n", r.read_bps / 1e9, 100 * r.wait);
    show_bar("VRAM", r.hit[0]);
    show_bar("RAM", r.hit[1]);
    show_bar("late", r.hit[2]);
    show_bar("file", r.hit[3]);
    printf("  layer   hits   experts: . few uses @ many, dim: in the file\033[K\r\n");
    uint32_t rows = (uint32_t)w.ws_row - 11;
    for (uint32_t l = 0; l < h->n_layers && l < rows; l++) {
        show_layer(h, l, (uint32_t)w.ws_col - 22);
    }
    printf("%s  q leaves\033[K\033[J", h->n_layers > rows ? "  ...\033[K\r\n" : "");
}

static mox_err watch(const mox_opts *o, top *t)
{
    bool more = true;
    uint64_t shown_ns = 0;
    for (uint32_t n = 0; o->count == 0 || n < o->count;) {
        MOX_TRY(next(t, &more));
        if (!more) {
            break;
        }
        uint64_t now = mox_now_ns();
        if (!t->screen && shown_ns && now - shown_ns < 900000000) {
            free(t->now); /* passed over: rates are of the whole second */
            t->now = t->last;
            t->last = NULL;
            continue;
        }
        shown_ns = now;
        (t->screen ? show_screen : o->json ? show_json : show_line)(t);
        fflush(stdout);
        if (ferror(stdout)) {
            return MOX_FAIL(MOX_E_WRITE, "standard output could not be written");
        }
        n++;
    }
    return MOX_OK;
}

mox_err mox_cmd_top(mox_opts *o)
{
    top t = {.fd = -1};
    struct termios before;
    MOX_TRY(choose(o, &t.fd));
    int pid_end = t.fd;
    t.screen =
        !o->json && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;
    mox_stop_soft(true);
    if (t.screen) {
        struct termios raw = before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
        fputs("\033[?1049h\033[?25l", stdout);
    }
    mox_err err = watch(o, &t);
    if (t.screen) {
        fputs("\033[?25h\033[?1049l", stdout);
        fflush(stdout);
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
    }
    if (err == MOX_OK && t.fd < 0 && t.now) {
        mox_ui_line("process %d has ended", t.now->pid);
    }
    if (t.fd >= 0) {
        close(pid_end);
    }
    free(t.now);
    free(t.last);
    return err;
}
