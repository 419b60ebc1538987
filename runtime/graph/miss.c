/* See miss.h. */
#include "runtime/graph/miss.h"

#include <string.h>

#define MARGIN 0.95 /* of the CPU's time: what must be gained to leave it */

static const char *const names[MOX_MISSES] = {"auto", "cpu", "copy", "split"};

const char *mox_miss_name(mox_miss way)
{
    return names[way];
}

void mox_miss_init(mox_miss_auto *m)
{
    *m = (mox_miss_auto){.chosen = MOX_MISS_CPU, .trying = MOX_MISS_CPU};
}

mox_miss mox_miss_way(const mox_miss_auto *m)
{
    return m->trying != MOX_MISS_AUTO ? m->trying : m->chosen;
}

static uint64_t median(const uint64_t *seen)
{
    uint64_t sorted[MOX_MISS_TRIAL];
    for (uint32_t i = 0; i < MOX_MISS_TRIAL; i++) {
        uint32_t at = i;
        for (; at > 0 && sorted[at - 1] > seen[i]; at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = seen[i];
    }
    return sorted[MOX_MISS_TRIAL / 2];
}

static void choose(mox_miss_auto *m)
{
    mox_miss best = MOX_MISS_CPU;
    double least = MARGIN * (double)m->best_ns[MOX_MISS_CPU];
    for (mox_miss w = MOX_MISS_COPY; w < MOX_MISSES; w++) {
        if ((double)m->best_ns[w] < least) {
            best = w;
            least = (double)m->best_ns[w];
        }
    }
    m->n_switches += best != m->chosen;
    m->chosen = best;
}

void mox_miss_step(mox_miss_auto *m, uint64_t ns)
{
    if (m->trying == MOX_MISS_AUTO) {
        if (++m->n_steps == MOX_MISS_HOLD) {
            m->trying = MOX_MISS_CPU;
            m->n_steps = 0;
        }
        return;
    }
    m->seen[m->n_steps++] = ns;
    if (m->n_steps < MOX_MISS_TRIAL) {
        return;
    }
    m->best_ns[m->trying] = median(m->seen);
    m->n_steps = 0;
    m->trying = m->trying + 1 < MOX_MISSES ? m->trying + 1 : MOX_MISS_AUTO;
    if (m->trying == MOX_MISS_AUTO) {
        choose(m);
    }
}

uint32_t mox_miss_share(const mox_miss_rates *r, const uint32_t *rows, uint32_t n)
{
    double cpu = 0, link = 0;
    uint32_t over = 0;
    if (r->link_ns <= 0 || r->cpu_ns + r->row_ns <= 0) { /* to learn of the side that is not known */
        return r->link_ns <= 0 ? (n + 1) / 2 : n / 2;
    }
    for (uint32_t i = 0; i < n; i++) {
        cpu += r->cpu_ns + r->row_ns * rows[i];
    }
    for (; over < n; over++) {
        double own = r->cpu_ns + r->row_ns * rows[over];
        double before = cpu > link ? cpu : link, after = cpu - own;
        after = after > link + r->link_ns ? after : link + r->link_ns;
        if (after >= before) {
            break;
        }
        cpu -= own;
        link += r->link_ns;
    }
    return over;
}
