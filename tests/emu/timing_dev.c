/* See timing.h. The clock, the device with its streams, events and graphs, and the two tables of operations.
 *
 * An operation is given its time when it is queued: not before the host's clock, what precedes it in its stream, the events
 * its stream waits for, and its engine. The host's clock moves by its own work, by waiting, and a little with every look at
 * a word. A word that the device writes shows its value once the clock is past that point. */
#include "emu/timing.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LAUNCH_S       5e-6
#define GRAPH_LAUNCH_S 1.5e-6
#define LOOK_S         1e-7 /* the host reads a word */
#define SMALL_COPY     (1u << 20)

enum {
    UP,
    DOWN,
    COMPUTE,
    NO_ENGINE,
    MAX_SPANS = 1 << 18,
    MAX_WRITES = 4096,
    MAX_BUFS = 64,
    MAX_NODES = 1 << 11,
    LOOKS = 40
};

typedef struct span {
    double from, to;
} span;

typedef struct spans {
    span at[MAX_SPANS];
    size_t n;
} spans;

typedef struct flag_write {
    double at;
    volatile uint32_t *flag;
    uint32_t value;
} flag_write;

typedef struct node {
    int engine;
    double cost;
    /* or what follows from memory as it is when the graph is launched: positions, experts */
    double (*cost_then)(const struct node *n);
    union {
        mox_attention_args attention;
        mox_experts_args experts;
    } args;
    mox_expert_use shape; /* of the experts */
    volatile uint32_t *flag;
    uint32_t value;
    void *dst;
    const void *src;
    size_t bytes;
} node;

struct mox_dev_graph {
    size_t n;
    node nodes[MAX_NODES];
};

struct mox_stream {
    double own_end, *end;
    mox_dev_graph *capture;
};

struct mox_event {
    double at;
    mox_dev_graph *capture;
};

static struct {
    timing_cfg cfg;
    double host, engine[NO_ENGINE + 1], shared_end;
    spans busy[COMPUTE + 1];
    flag_write writes[MAX_WRITES];
    size_t n_writes;
    unsigned looks; /* at words, since anything else was asked */
    struct {
        const uint8_t *p;
        size_t n;
        bool device;
    } bufs[MAX_BUFS];
    uint64_t vram_used;
    timing_counts counts;
} t;
static atomic_ullong clock_ns;

static mox_dev device;

/* ---- the clock ---- */

static void host_at(double time)
{
    t.host = time > t.host ? time : t.host;
    size_t kept = 0;
    for (size_t i = 0; i < t.n_writes; i++) {
        if (t.writes[i].at <= t.host) {
            *t.writes[i].flag = t.writes[i].value;
        } else {
            t.writes[kept++] = t.writes[i];
        }
    }
    t.n_writes = kept;
    atomic_store(&clock_ns, (unsigned long long)(t.host * 1e9));
}

void timing_open(const timing_cfg *c)
{
    memset(&t, 0, sizeof t);
    t.cfg = *c;
    host_at(1);
}

double timing_now(void)
{
    return t.host;
}

uint64_t timing_now_ns(void)
{
    return atomic_load(&clock_ns);
}

void timing_counts_clear(void)
{
    memset(&t.counts, 0, sizeof t.counts);
    for (int e = UP; e <= COMPUTE; e++) {
        t.busy[e].n = 0;
    }
}

timing_counts timing_counted(void)
{
    timing_counts c = t.counts;
    const spans *a = &t.busy[UP], *b = &t.busy[COMPUTE];
    for (size_t i = 0, k = 0; i < a->n && k < b->n;) {
        double from = fmax(a->at[i].from, b->at[k].from), to = fmin(a->at[i].to, b->at[k].to);
        c.both_s += to > from ? to - from : 0;
        *(a->at[i].to < b->at[k].to ? &i : &k) += 1;
    }
    return c;
}

/* ---- what is queued ---- */

/* Returns its end. */
static double enqueue(mox_stream *s, int engine, double cost)
{
    double from = fmax(fmax(t.host, *s->end), t.engine[engine]);
    t.looks = 0;
    *s->end = from + cost;
    if (engine == NO_ENGINE) {
        return *s->end;
    }
    t.engine[engine] = *s->end;
    spans *b = &t.busy[engine];
    if (b->n < MAX_SPANS) {
        b->at[b->n++] = (span){from, *s->end};
    }
    t.counts.up_s += engine == UP ? cost : 0;
    t.counts.compute_s += engine == COMPUTE ? cost : 0;
    return *s->end;
}

static mox_err write_at(double at, volatile uint32_t *flag, uint32_t value)
{
    if (t.n_writes == MAX_WRITES) {
        return MOX_FAIL(MOX_E_DEVICE, "timing: more than %d words on their way", MAX_WRITES);
    }
    t.writes[t.n_writes++] = (flag_write){at, flag, value};
    return MOX_OK;
}

static void run_copy(void *dst, const void *src, size_t bytes)
{
    if (bytes <= SMALL_COPY) { /* places and ids are among these */
        memmove(dst, src, bytes);
    }
}

static mox_err add_node(mox_dev_graph *g, node n)
{
    if (g->n == MAX_NODES) {
        return MOX_FAIL(MOX_E_DEVICE, "timing: a graph of more than %d nodes", MAX_NODES);
    }
    g->nodes[g->n++] = n;
    return MOX_OK;
}

/* ---- memory ---- */

bool timing_is_device(const void *p)
{
    for (int i = 0; i < MAX_BUFS; i++) {
        if (t.bufs[i].device && (const uint8_t *)p >= t.bufs[i].p &&
            (const uint8_t *)p < t.bufs[i].p + t.bufs[i].n) {
            return true;
        }
    }
    return false;
}

static mox_err mem_alloc(mox_dev *dev, size_t bytes, mox_mem_kind kind, unsigned flags, mox_buf *out)
{
    (void)flags;
    int at = 0;
    while (at < MAX_BUFS && t.bufs[at].p) {
        at++;
    }
    if (at == MAX_BUFS || (kind == MOX_MEM_DEVICE && bytes > t.cfg.vram_bytes - t.vram_used)) {
        return MOX_FAIL(MOX_E_NO_FIT, "timing: %zu bytes, %llu are in use", bytes,
                        (unsigned long long)t.vram_used);
    }
    /* address space: what is never touched takes no memory */
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "timing: %zu bytes of addresses", bytes);
    }
    t.bufs[at].p = p;
    t.bufs[at].n = bytes;
    t.bufs[at].device = kind == MOX_MEM_DEVICE;
    t.vram_used += kind == MOX_MEM_DEVICE ? bytes : 0;
    *out = (mox_buf){.ptr = p, .bytes = bytes, .kind = kind, .dev = dev};
    return MOX_OK;
}

static void mem_free(mox_dev *dev, mox_buf *buf)
{
    (void)dev;
    for (int i = 0; i < MAX_BUFS && buf->ptr; i++) {
        if (t.bufs[i].p == buf->ptr) {
            munmap(buf->ptr, buf->bytes);
            t.vram_used -= t.bufs[i].device ? buf->bytes : 0;
            memset(&t.bufs[i], 0, sizeof t.bufs[i]);
        }
    }
    *buf = (mox_buf){0};
}

static mox_err mem_free_bytes(mox_dev *dev, size_t *free_bytes, size_t *total_bytes)
{
    (void)dev;
    *total_bytes = t.cfg.vram_bytes;
    *free_bytes = t.cfg.vram_bytes - t.vram_used;
    return MOX_OK;
}

/* ---- streams, events, copies, words, graphs ---- */

static mox_err stream_create(mox_dev *dev, mox_stream **out)
{
    (void)dev;
    mox_stream *s = calloc(1, sizeof *s);
    if (!s) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "timing: no memory for a stream");
    }
    s->end = t.cfg.one_stream ? &t.shared_end : &s->own_end;
    *out = s;
    return MOX_OK;
}

static void stream_destroy(mox_dev *dev, mox_stream **s)
{
    (void)dev;
    free(*s);
    *s = NULL;
}

static mox_err stream_wait(mox_dev *dev, mox_stream *s)
{
    (void)dev;
    host_at(*s->end);
    return MOX_OK;
}

static mox_err event_create(mox_dev *dev, mox_event **out)
{
    (void)dev;
    *out = calloc(1, sizeof **out);
    return *out ? MOX_OK : MOX_FAIL(MOX_E_NO_MEMORY, "timing: no memory for an event");
}

static void event_destroy(mox_dev *dev, mox_event **e)
{
    (void)dev;
    free(*e);
    *e = NULL;
}

static mox_err event_record(mox_dev *dev, mox_event *e, mox_stream *s)
{
    (void)dev;
    e->capture = s->capture;
    e->at = fmax(t.host, *s->end);
    return MOX_OK;
}

static mox_err event_wait(mox_dev *dev, mox_event *e)
{
    (void)dev;
    host_at(e->at);
    return MOX_OK;
}

static mox_err event_done(mox_dev *dev, mox_event *e, bool *done)
{
    (void)dev;
    host_at(t.host + LOOK_S);
    *done = e->at <= t.host;
    return MOX_OK;
}

static mox_err stream_after(mox_dev *dev, mox_stream *s, mox_event *e)
{
    (void)dev;
    if (e->capture) {
        s->capture = e->capture;
    } else {
        *s->end = fmax(*s->end, e->at);
    }
    return MOX_OK;
}

static mox_err copy(mox_dev *dev, mox_stream *s, void *dst, const void *src, size_t bytes)
{
    (void)dev;
    const mox_machine *m = &t.cfg.machine;
    bool to = timing_is_device(dst), from = timing_is_device(src);
    node n = {.engine = to && from ? COMPUTE : to ? UP : DOWN, .dst = dst, .src = src, .bytes = bytes};
    n.cost = (double)bytes * (to && from ? 2 / m->vram_bps : 1 / fmin(m->link_bps, m->dram_bps));
    if (s->capture) {
        n.cost += GRAPH_LAUNCH_S;
        return add_node(s->capture, n);
    }
    run_copy(dst, src, bytes);
    t.counts.copies++;
    t.counts.up_bytes += n.engine == UP ? bytes : 0;
    enqueue(s, n.engine, n.cost + LAUNCH_S);
    return MOX_OK;
}

static mox_err write_flag(mox_dev *dev, mox_stream *s, volatile uint32_t *flag, uint32_t value)
{
    (void)dev;
    if (s->capture) {
        return add_node(s->capture,
                        (node){.engine = NO_ENGINE, .cost = GRAPH_LAUNCH_S, .flag = flag, .value = value});
    }
    t.counts.launches++;
    return write_at(enqueue(s, NO_ENGINE, LAUNCH_S), flag, value);
}

static mox_err wait_flag(mox_dev *dev, mox_stream *s, volatile uint32_t *flag, uint32_t value)
{
    (void)dev, (void)s;
    return *flag == value ? MOX_OK
                          : MOX_FAIL(MOX_E_DEVICE, "timing: a stream that waits for the host has no price");
}

static uint32_t poll_flag(mox_dev *dev, volatile uint32_t *flag)
{
    (void)dev;
    double next = t.host + LOOK_S;
    if (t.looks++ > LOOKS) { /* nothing else is done in between: the host waits */
        for (size_t i = 0; i < t.n_writes; i++) {
            next = t.writes[i].flag == flag ? fmax(t.writes[i].at, next) : next;
        }
    }
    host_at(next);
    return *flag;
}

static mox_err graph_begin(mox_dev *dev, mox_stream *s)
{
    (void)dev;
    s->capture = calloc(1, sizeof *s->capture);
    return s->capture ? MOX_OK : MOX_FAIL(MOX_E_NO_MEMORY, "timing: no memory for a graph");
}

static mox_err graph_end(mox_dev *dev, mox_stream *s, mox_dev_graph **out)
{
    (void)dev;
    *out = s->capture;
    s->capture = NULL;
    return MOX_OK;
}

static mox_err graph_launch(mox_dev *dev, mox_dev_graph *g, mox_stream *s)
{
    (void)dev;
    enqueue(s, NO_ENGINE, LAUNCH_S);
    t.counts.graphs++;
    for (size_t i = 0; i < g->n; i++) {
        const node *n = &g->nodes[i];
        double end = enqueue(s, n->engine, n->cost_then ? n->cost_then(n) : n->cost);
        if (n->flag) {
            MOX_TRY(write_at(end, n->flag, n->value));
        } else if (n->dst) {
            run_copy(n->dst, n->src, n->bytes);
            t.counts.up_bytes += n->engine == UP ? n->bytes : 0;
        }
    }
    return MOX_OK;
}

static void graph_destroy(mox_dev *dev, mox_dev_graph **g)
{
    (void)dev;
    free(*g);
    *g = NULL;
}

static void dev_destroy(mox_dev *dev)
{
    (void)dev;
}

static const mox_dev_ops dev_ops = {.name = "timing",
                                    .mem_alloc = mem_alloc,
                                    .mem_free = mem_free,
                                    .mem_free_bytes = mem_free_bytes,
                                    .stream_create = stream_create,
                                    .stream_destroy = stream_destroy,
                                    .stream_wait = stream_wait,
                                    .event_create = event_create,
                                    .event_destroy = event_destroy,
                                    .event_record = event_record,
                                    .event_wait = event_wait,
                                    .event_done = event_done,
                                    .stream_after = stream_after,
                                    .copy = copy,
                                    .flag_write = write_flag,
                                    .flag_wait = wait_flag,
                                    .flag_poll = poll_flag,
                                    .graph_begin = graph_begin,
                                    .graph_end = graph_end,
                                    .graph_launch = graph_launch,
                                    .graph_destroy = graph_destroy,
                                    .destroy = dev_destroy,
                                    .separate = true};

/* ---- operations ---- */

static double cost_of(timing_price p, double launch_s)
{
    const mox_machine *m = &t.cfg.machine;
    double busy = fmax((p.bytes - p.host_bytes) / m->vram_bps, p.ops / m->gpu_ops);
    busy = fmax(busy, p.host_bytes / fmin(m->link_bps, m->dram_bps)); /* read where they lie */
    return p.launches * launch_s + busy;
}

static mox_err launch(mox_stream *s, timing_price p)
{
    if (s->capture) {
        return add_node(s->capture, (node){.engine = COMPUTE, .cost = cost_of(p, GRAPH_LAUNCH_S)});
    }
    t.counts.launches += p.launches;
    enqueue(s, COMPUTE, cost_of(p, LAUNCH_S));
    return MOX_OK;
}

/* The copy engine keeps its rate, the cores get what it leaves of the DRAM, as in the cost model. */
static mox_err on_cpu(timing_price p)
{
    const mox_machine *m = &t.cfg.machine;
    double alone = fmin(m->cpu_bps, m->dram_bps), beside = fmax(fmin(alone, m->dram_bps - m->link_bps), 1e9);
    double copies = fmax(t.engine[UP] - t.host, 0), slow = fmin(copies, p.bytes / beside);
    double read = slow + fmax(p.bytes - slow * beside, 0) / alone;
    double cost =
        fmax(read, p.ops / m->cpu_ops) + LAUNCH_S; /* the hand-over beside it is what it waits for */
    t.counts.cpu_s += cost;
    host_at(t.host + cost);
    return MOX_OK;
}

#define X(op)                                                                                                \
    static mox_err far_##op(mox_ops *o, mox_stream *s, const mox_##op##_args *a)                             \
    {                                                                                                        \
        (void)o;                                                                                             \
        return launch(s, timing_price_##op(a));                                                              \
    }                                                                                                        \
    static mox_err near_##op(mox_ops *o, mox_stream *s, const mox_##op##_args *a)                            \
    {                                                                                                        \
        (void)o, (void)s;                                                                                    \
        return on_cpu(timing_price_##op(a));                                                                 \
    }
TIMING_OPERATIONS(X)
#undef X

static double attention_then(const node *n)
{
    return cost_of(timing_price_attention(&n->args.attention), GRAPH_LAUNCH_S);
}

static mox_err far_attention_or_node(mox_ops *o, mox_stream *s, const mox_attention_args *a)
{
    node n = {.engine = COMPUTE, .cost_then = attention_then, .args.attention = *a};
    return s->capture ? add_node(s->capture, n) : far_attention(o, s, a);
}

static double experts_then(const node *n)
{
    mox_experts_args a = n->args.experts;
    a.use = &n->shape;
    return cost_of(timing_price_experts(&a), GRAPH_LAUNCH_S);
}

static mox_err far_experts_or_node(mox_ops *o, mox_stream *s, const mox_experts_args *a)
{
    node n = {.engine = COMPUTE, .cost_then = experts_then, .args.experts = *a, .shape = a->use[0]};
    return s->capture && a->places ? add_node(s->capture, n) : far_experts(o, s, a);
}

static mox_err far_check(mox_ops *o, mox_stream *s)
{
    (void)o;
    enqueue(s, DOWN, LAUNCH_S);
    return stream_wait(&device, s);
}

static void far_careful(mox_ops *o, bool on)
{
    (void)o, (void)on;
}

static void ops_destroy(mox_ops *o)
{
    free(o);
}

static mox_err ops_create(mox_ops **out, bool far)
{
    mox_ops *o = calloc(1, sizeof *o);
    if (!o) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "timing: no memory for a table");
    }
    o->name = far ? "timing" : "cpu timing";
#define X(op) o->op = far ? far_##op : near_##op;
    TIMING_OPERATIONS(X)
#undef X
    o->attention = far ? far_attention_or_node : near_attention;
    o->experts = far ? far_experts_or_node : near_experts;
    o->check = far ? far_check : NULL;
    o->careful = far ? far_careful : NULL;
    o->destroy = ops_destroy;
    *out = o;
    return MOX_OK;
}

mox_err timing_ops_cpu_create(mox_ops **out, mox_pool *pool, mox_isa isa)
{
    (void)pool, (void)isa;
    return ops_create(out, false);
}

/* ---- the module ---- */

static mox_err module_start(const mox_dev_spec *spec, mox_err_info *(*err_record)(void))
{
    (void)spec, (void)err_record;
    return MOX_OK;
}

static mox_err module_count(uint32_t *n)
{
    *n = 1;
    return MOX_OK;
}

static mox_err module_info(uint32_t i, mox_dev_info *out)
{
    (void)i;
    *out = (mox_dev_info){.name = "timing",
                          .sm = 89,
                          .vram_bytes = t.cfg.vram_bytes,
                          .vram_free_bytes = t.cfg.vram_bytes - t.vram_used};
    return MOX_OK;
}

static mox_err module_open(uint32_t i, const mox_dev_open_cfg *cfg, mox_dev **dev, mox_ops **ops)
{
    (void)i, (void)cfg;
    device.ops = &dev_ops;
    MOX_TRY(ops_create(ops, true));
    *dev = &device;
    return MOX_OK;
}

mox_err timing_dev_load(const mox_dev_module **out, const mox_dev_spec *spec, const char *dir)
{
    static mox_dev_module module;
    (void)spec, (void)dir;
    module = (mox_dev_module){.abi = MOX_DEV_ABI,
                              .shape = MOX_DEV_SHAPE,
                              .name = "timing",
                              .start = module_start,
                              .count = module_count,
                              .info = module_info,
                              .open = module_open};
    *out = &module;
    return MOX_OK;
}
