/* moxie-replay: experts that a recorded run read (moxie ... --record FILE), beside what the same routing costs under
 * every policy with the same number of kept experts, and under Belady's rule, which knows the future.
 *
 *   moxie-replay TRACE --kept N    N experts in all, dealt to layers as --ram-experts N does
 *
 * A run may read less than its own policy's replay: a transit slot that nobody needed yet is a hit by luck. It may
 * read more by wrong predictions; those are in the run's own counters, not in a trace.
 */
#include "offload/policy/replay.h"
#include "profiler/counters.h"
#include "profiler/trace.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct routing {
    mox_trace_header h;
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

static int play(const routing *r, uint32_t kept)
{
    uint32_t quota[1024];
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
                              .uses = r->uses};
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

int main(int argc, char **argv)
{
    char *end = NULL;
    unsigned long kept = argc == 4 && strcmp(argv[2], "--kept") == 0 ? strtoul(argv[3], &end, 10) : 0;
    if (end == NULL || *end != '\0' || end == argv[3]) {
        fputs("usage: moxie-replay TRACE --kept N\n", stderr);
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
    if (n == 0 || r.h.n_layers == 0 || r.h.n_layers > 1024 ||
        kept > (unsigned long)r.h.n_layers * r.h.n_experts) {
        fputs("moxie-replay: an empty trace, or more experts kept than there are\n", stderr);
    } else if (group(&r, t.uses, n)) {
        rc = play(&r, (uint32_t)kept);
    }
    free(r.steps);
    free(r.experts);
    free(r.uses);
    mox_trace_free(&t);
    return rc;
}
