/* moxie-replay: experts that a recorded run read (moxie ... --record FILE), beside what the same routing costs under
 * every policy with the same number of kept experts, and under Belady's rule, which knows the future.
 *
 *   moxie-replay TRACE --kept N                  N experts in all, dealt to layers as --ram-experts N does
 *   moxie-replay TRACE --kept N --transit N      and so many slots of each size class that experts pass through
 *
 * Without --transit a run may read less than its own policy's replay: a transit slot that nobody needed yet is a hit by
 * luck. It may read more by wrong predictions; those are in the run's own counters, not in a trace.
 */
#include "offload/policy/replay.h"
#include "profiler/counters.h"
#include "profiler/trace.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LAYERS = 1024 };

typedef struct routing {
    mox_trace_header h;
    uint32_t size_class[MAX_LAYERS];
    mox_replay_step *steps;
    size_t n_steps;
    uint32_t *experts, *uses; /* entries of steps */
    uint64_t run_loads, run_uses, run_hits;
} routing;

/* A layer step is a run of records with the same step and layer; entries of an expert are joined. */
static bool group(routing *r, const mox_trace_record *records, size_t n)
{
    r->steps = calloc(n + 1, sizeof *r->steps);
    r->experts = calloc(n + 1, sizeof *r->experts);
    r->uses = calloc(n + 1, sizeof *r->uses);
    if (!r->steps || !r->experts || !r->uses) {
        return false;
    }
    uint32_t entry = 0;
    for (size_t i = 0; i < n; i++) {
        const mox_trace_record *t = &records[i];
        if (i == 0 || t->step != t[-1].step || t->layer != t[-1].layer) {
            r->steps[r->n_steps++] = (mox_replay_step){.layer = t->layer, .first = entry};
        }
        mox_replay_step *s = &r->steps[r->n_steps - 1];
        uint32_t at = s->first;
        while (at < entry && r->experts[at] != t->expert) {
            at++;
        }
        bool read = (t->phase_and_tier & 15) >= MOX_SERVED_LATE;
        r->run_uses++;
        r->run_hits += !read;
        if (at == entry) {
            r->experts[entry++] = t->expert;
            s->n++;
            r->run_loads += read;
        }
        r->uses[at]++;
    }
    return true;
}

/* Layers whose experts have the same bytes share transit slots; a trace that was imported does not say. */
static void find_classes(const mox_trace *t, routing *r)
{
    char text[MAX_LAYERS * 12], *at = text;
    uint64_t bytes[MAX_LAYERS] = {0};
    if (mox_trace_info(t, "slot_bytes", text, sizeof text)) {
        for (uint32_t l = 0; l < r->h.n_layers; l++) {
            bytes[l] = strtoull(at, &at, 10);
        }
    }
    mox_replay_classes(bytes, r->h.n_layers, r->size_class);
}

static int play(const routing *r, uint32_t kept, uint32_t transit)
{
    uint32_t quota[MAX_LAYERS];
    for (uint32_t l = 0; l < r->h.n_layers; l++) {
        quota[l] = kept / r->h.n_layers + (l < kept % r->h.n_layers);
    }
    printf("| policy | experts read | of the run | hits %% |\n|---|---|---|---|\n| the run | %llu | 1.000 | "
           "%.2f |\n",
           (unsigned long long)r->run_loads, 100.0 * (double)r->run_hits / (double)r->run_uses);
    uint64_t best = UINT64_MAX;
    for (size_t i = 0; mox_policies[i]; i++) {
        mox_replay_cfg cfg = {.n_layers = r->h.n_layers,
                              .n_experts = r->h.n_experts,
                              .quota = quota,
                              .policy = mox_policies[i],
                              .margin = MOX_ADMIT_ALWAYS,
                              .steps = r->steps,
                              .n_steps = r->n_steps,
                              .experts = r->experts,
                              .uses = r->uses,
                              .transit = transit,
                              .size_class = r->size_class};
        mox_replay_result out;
        if (mox_replay(&cfg, &out, NULL) != MOX_OK) {
            fprintf(stderr, "moxie-replay: %s\n", mox_err_last()->msg);
            return 1;
        }
        best = !cfg.policy->needs_future && out.loads < best ? out.loads : best;
        printf("| %s | %llu | %.3f | %.2f |\n", cfg.policy->name, (unsigned long long)out.loads,
               r->run_loads ? (double)out.loads / (double)r->run_loads : 0,
               100.0 * (double)out.hits / (double)out.uses);
    }
    printf("\nthe run read %.3f of what the best policy without a view of the future reads\n",
           best ? (double)r->run_loads / (double)best : 0);
    return 0;
}

static unsigned long number(const char *text, bool *ok)
{
    char *end = NULL;
    unsigned long n = strtoul(text, &end, 10);
    *ok = *ok && end != text && *end == '\0' && n < UINT32_MAX;
    return n;
}

int main(int argc, char **argv)
{
    unsigned long kept = 0, transit = 0;
    bool ok = (argc == 4 || argc == 6) && strcmp(argv[2], "--kept") == 0;
    if (ok) {
        kept = number(argv[3], &ok);
    }
    if (ok && argc == 6) {
        ok = strcmp(argv[4], "--transit") == 0;
        transit = number(argv[5], &ok);
    }
    if (!ok || transit > 4096) {
        fputs("usage: moxie-replay TRACE --kept N [--transit N]\n", stderr);
        return 2;
    }
    routing r = {0};
    mox_trace t;
    if (mox_trace_read(argv[1], &t) != MOX_OK) {
        fprintf(stderr, "moxie-replay: %s\n", mox_err_last()->msg);
        return 3;
    }
    int rc = 3;
    size_t n = t.n_uses;
    r.h = t.header;
    if (n == 0 || r.h.n_layers == 0 || r.h.n_layers > MAX_LAYERS ||
        kept > (unsigned long)r.h.n_layers * r.h.n_experts) {
        fputs("moxie-replay: an empty trace, or more experts kept than there are\n", stderr);
    } else if (group(&r, t.uses, n)) {
        find_classes(&t, &r);
        rc = play(&r, (uint32_t)kept, (uint32_t)transit);
    }
    free(r.steps);
    free(r.experts);
    free(r.uses);
    mox_trace_free(&t);
    return rc;
}
