/* The formulas of docs/cost-model.md.
 *
 * A layer's uses fall on tiers independently, so the number of misses among its top k is binomial; a layer takes
 * as long as the slower side, its hits or its misses, which is why the mean over that number is taken and not the
 * time of the mean. Everything is a double: a plan compares predictions, it does not count bytes with them.
 */
#include "runtime/plan/cost.h"

#include <math.h>
#include <stddef.h>

enum { MAX_TOP_K = 64 };
#define TIE 1.05

static double least(double a, double b)
{
    return a < b ? a : b;
}

static double most(double a, double b)
{
    return a > b ? a : b;
}

static double per(double bytes, double bps)
{
    return bps > 0 ? bytes / bps : bytes > 0 ? INFINITY : 0;
}

const char *mox_way_name(mox_way w)
{
    static const char *const names[] = {"cpu", "copy", "split"};
    return names[w];
}

const char *mox_part_name(mox_part p, const mox_machine *m, mox_way w)
{
    static const char *const misses[] = {"experts on the CPU", "copies over the link",
                                         "experts on the CPU and over the link"};
    switch (p) {
    case MOX_PART_DENSE:
        return "the dense part";
    case MOX_PART_RESIDENT:
        return m->vram_bps > 0 ? "experts on the GPU" : "experts out of RAM";
    case MOX_PART_MISS:
        return misses[w];
    case MOX_PART_DISK:
        return "reads from the file";
    default:
        return "fixed costs of layers";
    }
}

static mox_cost finish(mox_cost c)
{
    c.total_s = 0;
    c.bottleneck = MOX_PART_DENSE;
    for (int p = 0; p < MOX_PARTS; p++) {
        c.total_s += c.part_s[p];
        c.bottleneck = c.part_s[p] > c.part_s[c.bottleneck] ? (mox_part)p : c.bottleneck;
    }
    return c;
}

/* Probability of each number of misses among k uses. */
static void binomial(uint32_t k, double miss, double p[MAX_TOP_K + 1])
{
    for (uint32_t i = 0; i <= k; i++) {
        p[i] = i == 0;
    }
    for (uint32_t use = 0; use < k; use++) {
        for (uint32_t i = use + 2; i-- > 0;) {
            p[i] = p[i] * (1 - miss) + (i > 0 ? p[i - 1] * miss : 0);
        }
    }
}

typedef struct service {
    double s, handshake_s;
} service;

/* Both pull on DRAM: the copy engine keeps its rate, the cores get what it leaves. */
static service serve_split(const mox_machine *m, double bytes)
{
    double link = least(m->link_bps, m->dram_bps), cpu = least(m->cpu_bps, m->dram_bps - link);
    double both = link + most(cpu, 0);
    return (service){per(bytes, both) + per(bytes * link / both, m->vram_bps),
                     most(m->cpu_handshake_s, m->copy_handshake_s)};
}

static service serve(const mox_machine *m, mox_way way, double bytes, double hits_s)
{
    service cpu = {per(bytes, least(m->cpu_bps, m->dram_bps)), m->cpu_handshake_s};
    if (way == MOX_WAY_COPY) { /* what was copied is then read once by the GPU */
        return (service){per(bytes, least(m->link_bps, m->dram_bps)) + per(bytes, m->vram_bps),
                         m->copy_handshake_s};
    }
    if (way == MOX_WAY_SPLIT && m->link_bps > 0) {
        service split = serve_split(m, bytes);
        return most(split.s, hits_s) + split.handshake_s < most(cpu.s, hits_s) + cpu.handshake_s ? split
                                                                                                 : cpu;
    }
    return cpu;
}

static void gpu_layer(const mox_machine *m, const mox_work *w, mox_hits h, mox_way way, mox_cost *c)
{
    double p[MAX_TOP_K + 1], layers = w->n_moe_layers, cold = most(1 - h.vram - h.ram, 0);
    binomial(w->top_k, 1 - h.vram, p);
    for (uint32_t k = 0; k <= w->top_k; k++) {
        double hits_s = per((w->top_k - k) * w->expert_bytes, m->vram_bps);
        service miss = k ? serve(m, way, k * w->expert_bytes, hits_s) : (service){0, 0};
        c->part_s[MOX_PART_RESIDENT] += layers * p[k] * hits_s;
        c->part_s[MOX_PART_MISS] += layers * p[k] * most(miss.s - hits_s, 0);
        c->part_s[MOX_PART_FIXED] += layers * p[k] * miss.handshake_s;
    }
    c->part_s[MOX_PART_DISK] = per(cold * layers * w->top_k * w->expert_bytes, m->disk_bps);
}

/* Without a GPU: what is in RAM is computed while the rest is read; the last one to arrive is computed alone. */
static void cpu_layer(const mox_machine *m, const mox_work *w, mox_hits h, mox_cost *c)
{
    double p[MAX_TOP_K + 1], layers = w->n_moe_layers, cpu = least(m->cpu_bps, m->dram_bps);
    double cold = least(most(1 - h.ram, 0), 1);
    binomial(w->top_k, cold, p);
    for (uint32_t k = 0; k <= w->top_k; k++) {
        double all_s = per(w->top_k * w->expert_bytes, cpu), last_s = per(k ? w->expert_bytes : 0, cpu);
        double read_s = per(k * w->expert_bytes, m->disk_bps);
        c->part_s[MOX_PART_RESIDENT] += layers * p[k] * all_s;
        c->part_s[MOX_PART_DISK] += layers * p[k] * most(read_s + last_s - all_s, 0);
        c->part_s[MOX_PART_FIXED] += k ? layers * p[k] * m->disk_handshake_s : 0;
    }
}

mox_cost mox_cost_token(const mox_machine *m, const mox_work *work, mox_hits h, mox_way way)
{
    mox_cost c = {0};
    mox_work w = *work;
    if (w.top_k > MAX_TOP_K) { /* the spread hardly matters for so many */
        w.expert_bytes *= (double)w.top_k / MAX_TOP_K;
        w.top_k = MAX_TOP_K;
    }
    bool gpu = m->vram_bps > 0;
    c.part_s[MOX_PART_DENSE] =
        per(w.dense_bytes + w.kv_bytes, gpu ? m->vram_bps : least(m->cpu_bps, m->dram_bps));
    c.part_s[MOX_PART_FIXED] = m->token_s + m->layer_s * w.n_layers;
    if (gpu) {
        gpu_layer(m, &w, h, way, &c);
    } else {
        h.ram = least(h.ram + h.vram, 1);
        cpu_layer(m, &w, h, &c);
    }
    return finish(c);
}

mox_choice_of_way mox_cost_choose(const mox_machine *m, const mox_work *w, mox_hits h)
{
    mox_choice_of_way c = {.best = MOX_WAY_CPU};
    for (int way = 0; way < MOX_WAYS; way++) {
        c.token_s[way] = mox_cost_token(m, w, h, (mox_way)way).total_s;
        c.best = c.token_s[way] < c.token_s[c.best] ? (mox_way)way : c.best;
    }
    if (c.best != MOX_WAY_CPU && c.token_s[MOX_WAY_CPU] <= TIE * c.token_s[c.best]) {
        c.tie = true;
        c.best = MOX_WAY_CPU;
    }
    return c;
}

double mox_cost_union(const mox_work *w, uint32_t n, const double *share)
{
    double sum = 0;
    for (uint32_t e = 0; e < w->n_experts; e++) {
        double p = w->top_k * (share ? share[e] : 1.0 / w->n_experts);
        sum += 1 - pow(1 - least(p, 1), n);
    }
    return sum;
}

mox_cost mox_cost_batch(const mox_machine *m, const mox_work *w, mox_hits resident, uint32_t n,
                        const double *share)
{
    mox_cost c = {0};
    bool gpu = m->vram_bps > 0;
    double cpu = least(m->cpu_bps, m->dram_bps), layers = w->n_moe_layers;
    double experts = layers * mox_cost_union(w, n, share), bytes = experts * w->expert_bytes;
    double cold = most(1 - resident.vram - resident.ram, 0);
    double expert_ops = 2.0 * n * layers * w->top_k * w->expert_weights;
    c.part_s[MOX_PART_DENSE] = most(per(w->dense_bytes, gpu ? m->vram_bps : cpu),
                                    per(2.0 * n * w->dense_weights, gpu ? m->gpu_ops : m->cpu_ops));
    c.part_s[MOX_PART_FIXED] = m->token_s + m->layer_s * w->n_layers;
    double busy = most(per(bytes, gpu ? m->vram_bps : cpu), per(expert_ops, gpu ? m->gpu_ops : m->cpu_ops));
    c.part_s[MOX_PART_RESIDENT] = busy;
    if (gpu) { /* streamed once per micro-batch beside the computing, or computed where they lie */
        double away = 1 - resident.vram;
        double copied = per(bytes * away, least(m->link_bps, m->dram_bps));
        double on_cpu = most(per(bytes * away, cpu), per(expert_ops * away, m->cpu_ops));
        double miss = least(copied, on_cpu);
        c.part_s[MOX_PART_MISS] = most(miss - busy, 0);
        busy = most(busy, miss);
    }
    c.part_s[MOX_PART_DISK] = most(per(bytes * cold, m->disk_bps) - busy, 0);
    return finish(c);
}
