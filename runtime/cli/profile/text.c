/* The seven answers of a report as text, in the order of the questions. */
#include "runtime/cli/profile/find.h"
#include "runtime/cli/profile/write.h"
#include "runtime/cli/ui.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void bar(double share, unsigned width)
{
    unsigned n = (unsigned)(share * width + 0.5);
    for (unsigned i = 0; i < width; i++) {
        putchar(i < n ? '#' : '.');
    }
}

static const char *const phases[] = {"prompt", "answer"};

static void measured_time(const mox_profile *p)
{
    const mox_span_times *t = &p->spans.times;
    for (int k = MOX_PHASES - 1; k >= 0; k--) {
        double total = t->total_s[k], wait = t->group_s[k][MOX_GROUP_WAIT] + t->group_s[k][MOX_GROUP_DEVICE];
        if (total <= 0 || t->rows[k] == 0) {
            continue;
        }
        printf("   %s: %.0f %% of the time waits for experts; %.2f ms a token, %.1f tok/s\n", phases[k],
               100 * wait / total, 1e3 * total / (double)t->rows[k], (double)t->rows[k] / total);
        for (int g = 0; g < MOX_GROUPS; g++) {
            if (t->group_s[k][g] > 0) {
                printf("   ");
                bar(t->group_s[k][g] / total, 40);
                printf(" %5.1f %%  %s\n", 100 * t->group_s[k][g] / total, mox_group_name((mox_span_group)g));
            }
        }
    }
}

static void predicted_time(const mox_profile *p)
{
    const mox_cost *c = &p->view.p.token;
    printf("   predicted for %s: %.1f tok/s, %.2f ms a token\n", p->plan.machine_name, 1 / c->total_s,
           1e3 * c->total_s);
    for (int k = 0; k < MOX_PARTS; k++) {
        if (c->part_s[k] <= 0) {
            continue;
        }
        printf("   ");
        bar(c->part_s[k] / c->total_s, 40);
        printf(" %5.1f %%  %s\n", 100 * c->part_s[k] / c->total_s,
               mox_part_name((mox_part)k, &p->plan.machine, p->view.p.ways.best));
    }
}

static void text_time(const mox_profile *p)
{
    puts("1. Is it slow because of experts?");
    if (p->spans.n) {
        measured_time(p);
    }
    if (p->has_model) {
        predicted_time(p);
    }
    if (!p->spans.n && !p->has_model) {
        puts("   the trace has no times (moxie profile run records them), and without --model FILE none are\n"
             "   predicted");
    }
    putchar('\n');
}

static bool other_phase(const mox_profile *p, mox_phase *other)
{
    *other = p->study.phase == MOX_PHASE_DECODE ? MOX_PHASE_PREFILL : MOX_PHASE_DECODE;
    return p->study.pairs[*other] > 0;
}

void mox_profile_one_list_text(const mox_profile *p)
{
    uint32_t kept;
    int64_t served = mox_profile_one_list(p, &kept);
    if (served >= 0) {
        printf("   one lru list of %u for all layers: %.1f %%\n", kept,
               100 * (double)served / (double)p->study.pairs[p->study.phase]);
    }
}

static void text_cache(const mox_profile *p)
{
    mox_profile_point at = mox_profile_at(p, p->kept);
    mox_phase other;
    bool has_other = other_phase(p, &other);
    puts("2. Is the cache good?");
    for (int k = 0; k < MOX_PHASES; k++) {
        const uint64_t *s = p->routing.served[k];
        double n = p->routing.n_uses[k] ? (double)p->routing.n_uses[k] : 1;
        printf("   %s: %llu uses = VRAM %.1f %% + RAM %.1f %% + late %.1f %% + file %.1f %%\n", phases[k],
               (unsigned long long)p->routing.n_uses[k], 100 * (double)s[0] / n, 100 * (double)s[1] / n,
               100 * (double)s[2] / n, 100 * (double)s[3] / n);
    }
    printf("   the %s's routing again with %.2f experts kept in a layer%s:\n", phases[p->study.phase],
           mox_profile_mean(p, p->kept),
           p->kept_guessed ? " (guessed from the hits: the trace does not say)" : "");
    for (int k = 0; k < MOX_STUDY_POLICIES; k++) {
        printf("   %-7s ", mox_study_name(k));
        bar(at.rate[k], 40);
        printf(" %5.1f %%", 100 * at.rate[k]);
        if (has_other) {
            printf("  %s %5.1f %%", phases[other], 100 * mox_study_rate(&p->study, other, k, p->kept));
        }
        puts(k == MOX_STUDY_STATIC ? "  (held out)" : k == MOX_STUDY_BELADY ? "  (best possible)" : "");
    }
    mox_profile_one_list_text(p);
    double best = at.rate[MOX_STUDY_BELADY];
    printf("   dlfu gets %.0f %% of what is possible\n",
           best > 0 ? 100 * at.rate[MOX_STUDY_DLFU] / best : 100);
    putchar('\n');
}

static void tier_row(const mox_profile *p, const char *label, mox_profile_tier t)
{
    uint64_t n = p->routing.n_tokens[p->study.phase];
    double uses = t.uses ? (double)t.uses : 1, tokens = n ? (double)n : 1;
    printf("   %-12s %7.2f %7.2f %7.2f %8.2f  %7.2f %8.2f  %7.2f", label, 100 * (double)t.vram / uses,
           100 * (double)t.ram / uses, 100 * (double)(t.uses - t.vram - t.ram) / uses,
           (double)t.moves / tokens, 100 * (double)t.always_vram / uses, (double)t.always_moves / tokens,
           100 * (double)t.best_vram / uses);
    if (t.tok_s > 0) {
        printf("  %8.1f", t.tok_s);
    }
    putchar('\n');
}

void mox_profile_tier_text(const mox_profile *p)
{
    char label[32];
    if (!p->has_vram) {
        return;
    }
    printf("   a GPU's memory over RAM (%s; RAM keeps %.2f a layer beside it)\n"
           "   %-12s %7s %7s %7s %8s  %16s  %7s%s\n",
           mox_study_name(mox_profile_policy(p)), mox_profile_mean(p, p->ram), "VRAM/layer", "VRAM %",
           "RAM %", "file %", "moves/t", "always: % moves/t", "best %", p->plan.gpu ? "  tok/s pred." : "");
    for (int in_ram = 0; in_ram < 2; in_ram++) {
        if (in_ram) {
            printf("   RAM/layer    (VRAM keeps %.2f)\n", mox_profile_mean(p, p->vram));
        }
        for (uint32_t q = 0; q <= p->routing.h.n_experts; q = mox_profile_after(p, q)) {
            snprintf(label, sizeof label, "%u", q);
            tier_row(p, label, mox_profile_tier_even(p, in_ram, q));
        }
    }
    snprintf(label, sizeof label, "asked %.2f", mox_profile_mean(p, p->vram));
    tier_row(p, label, mox_profile_tier_at(p, p->vram, p->ram));
}

static void text_sizes(const mox_profile *p)
{
    uint32_t n = p->routing.h.n_experts, knee = mox_profile_knee(p);
    double kept = mox_profile_mean(p, p->kept);
    char a[24];
    puts("3. What would more or less memory buy?");
    for (uint32_t q = 0, next; q <= n; q = next) {
        next = mox_profile_after(p, q);
        mox_profile_point at = mox_profile_even(p, q);
        double rate = at.rate[MOX_STUDY_DLFU];
        printf("   %4u a layer %10s ", q, at.bytes > 0 || q == 0 ? mox_human((uint64_t)at.bytes, a) : "");
        bar(rate, 24);
        printf(" %5.1f %% (best %5.1f)", 100 * rate, 100 * at.rate[MOX_STUDY_BELADY]);
        if (p->has_model) {
            printf("  %8.1f tok/s", at.tok_s);
        } else if (p->spans.n) {
            printf("  ~%7.1f tok/s", mox_profile_estimate(p, rate));
        }
        puts(kept >= q && kept < next ? "  <- now" : knee >= q && knee < next ? "  <- knee" : "");
    }
    mox_profile_tier_text(p);
    mox_profile_ctx ctx[MOX_PROFILE_CTX];
    uint32_t n_ctx = mox_profile_contexts(p, ctx);
    for (uint32_t i = 0; i < n_ctx; i++) {
        printf("   context %7u: ", ctx[i].n_ctx);
        if (ctx[i].fits) {
            printf("%u experts in %s, %.1f tok/s%s\n", ctx[i].n_fast, p->view.tiers.gpu ? "VRAM" : "RAM",
                   ctx[i].tok_s, ctx[i].n_ctx == p->view.plan.n_ctx ? "  <- now" : "");
        } else {
            puts("does not fit");
        }
    }
    putchar('\n');
}

static void text_layers(const mox_profile *p)
{
    static const char *const shades[] = {".", ":", "-", "=", "+", "*", "#", "@"};
    uint32_t n = p->routing.h.n_experts, cols = n < 64 ? n : 64;
    puts("4. Which layers and experts? (share of the layer's uses, . few, @ many)");
    for (uint32_t l = 0; l < p->routing.h.n_layers; l++) {
        const mox_layer_figures *f = &p->study.layers[l];
        const uint64_t *count = p->study.count + (size_t)l * n;
        printf("   %3u ", l);
        for (uint32_t c = 0; c < cols; c++) {
            uint64_t most = 0;
            for (uint32_t e = c * n / cols; e < (c + 1) * n / cols; e++) {
                most = count[e] > most ? count[e] : most;
            }
            double even = (double)f->uses / n, level = even > 0 ? (double)most / even * 2 : 0;
            fputs(most == 0 ? " " : shades[level < 7 ? (int)level : 7], stdout);
        }
        printf("  entropy %.2f of %.2f, busiest 25 %%: %.0f %%, unused %u, balance %.2f, cv %.2f\n",
               f->entropy_bits, log2(n), 100 * f->cover[1], f->dead, f->balance, f->variation);
    }
    putchar('\n');
}

/* The run from left to right: how much of each piece of time was waiting. */
static void text_timeline(const mox_profile *p)
{
    enum { COLUMNS = 60 };
    static const char shades[] = " .:-=+*#";
    double busy[COLUMNS] = {0}, wait[COLUMNS] = {0};
    uint64_t end = 1;
    for (size_t i = 0; i < p->spans.n && p->spans.node[i].s->lane == MOX_LANE_STEP; i++) {
        end = p->spans.node[i].end_ns > end ? p->spans.node[i].end_ns : end;
    }
    for (size_t i = 0; i < p->spans.n && p->spans.node[i].s->lane == MOX_LANE_STEP; i++) {
        const mox_span_node *n = &p->spans.node[i];
        size_t at = (size_t)((double)n->begin_ns / (double)end * (COLUMNS - 1));
        busy[at] += (double)n->self_ns;
        wait[at] += n->s->kind == MOX_SPAN_WAIT ? (double)n->self_ns : 0;
    }
    printf("   |");
    for (int c = 0; c < COLUMNS; c++) {
        putchar(busy[c] > 0 ? shades[(int)(7 * wait[c] / busy[c] + 0.5)] : ' ');
    }
    printf("| %.2f s; # all of it waits for experts\n", (double)end * 1e-9);
}

static void text_when(const mox_profile *p)
{
    mox_profile_stall stall[MOX_PROFILE_STALLS];
    uint32_t n = mox_profile_stalls(p, stall);
    const uint64_t *f = p->spans.fates;
    uint64_t ahead = f[MOX_FATE_USED] + f[MOX_FATE_LATE] + f[MOX_FATE_WASTED];
    char a[24];
    puts("5. When?");
    if (!p->spans.n) {
        puts("   not in this trace: it has no times (--record FILE --timings, or moxie profile run)\n");
        return;
    }
    text_timeline(p);
    for (uint32_t i = 0; i < n && i < 5; i++) {
        printf("   %8.2f ms waited at %.3f s, step %u, layer %u: %s read meanwhile\n", 1e3 * stall[i].wait_s,
               stall[i].at_s, stall[i].step, stall[i].layer, mox_human(stall[i].bytes, a));
    }
    if (ahead) {
        printf("   of %llu reads ahead %.0f %% came in time, %.0f %% late, %.0f %% for nothing\n",
               (unsigned long long)ahead, 100 * (double)f[MOX_FATE_USED] / (double)ahead,
               100 * (double)f[MOX_FATE_LATE] / (double)ahead,
               100 * (double)f[MOX_FATE_WASTED] / (double)ahead);
    }
    putchar('\n');
}

static void text_changes(const mox_profile *p)
{
    mox_plan_change change[MOX_PLAN_CHANGES];
    uint32_t n = mox_profile_changes(p, change);
    puts("6. Would another setting win?");
    for (uint32_t i = 0; i < n; i++) {
        printf("   %7.1f tok/s predicted: %s\n", change[i].decode_tok_s, change[i].command);
    }
    if (n == 0) {
        puts(p->has_model ? "   none of those that were computed gains 1 %"
                          : "   --model FILE is needed to tell");
    }
    putchar('\n');
}

static void text_trust(const mox_profile *p)
{
    mox_profile_trust t = mox_profile_trust_of(p);
    const mox_trace *trace = &p->routing.trace;
    printf(
        "7. Can this be trusted?\n   %llu tokens, %llu uses: %.2f %% +- %.2f of them resident (95 %%, were "
        "they "
        "independent); %.2f %% in the first half, %.2f %% in the second\n",
        (unsigned long long)p->routing.n_tokens[p->study.phase],
        (unsigned long long)p->routing.n_uses[p->study.phase], 100 * p->actual, 100 * t.interval,
        100 * t.half[0], 100 * t.half[1]);
    if (p->routing.n_tokens[p->study.phase] < 200) {
        puts("   fewer than 200 tokens: another text may use quite other experts");
    }
    if (p->machine[0]) {
        printf("   recorded on %s\n", p->machine);
    }
    if (t.record_share >= 0) {
        printf("   recording took at least %.2f %% of the time\n", 100 * t.record_share);
    }
    if (trace->end.dropped_uses || trace->end.dropped_spans) {
        printf("   %llu uses and %llu spans are missing: they could not be written fast enough\n",
               (unsigned long long)trace->end.dropped_uses, (unsigned long long)trace->end.dropped_spans);
    }
    if (p->spans.n_cut) {
        printf("   %zu spans ended after the one they began in, and were cut\n", p->spans.n_cut);
    }
    if (!trace->whole) {
        puts("   the trace has no end: the run was killed, or the file was cut off");
    }
    double measured = mox_profile_measured(p), said = p->has_model ? p->view.p.decode_tok_s : 0;
    if (mox_profile_elsewhere(p)) {
        puts("   speeds are predicted for another machine than the one that recorded");
    } else if (measured > 0 && said > 0 && p->study.phase == MOX_PHASE_DECODE) {
        printf("   the plan predicts %.1f tok/s, %.1f were measured: %+.0f %%\n", said, measured,
               100 * (said / measured - 1));
    }
}

void mox_profile_text(const mox_profile *p)
{
    text_time(p);
    text_cache(p);
    text_sizes(p);
    text_layers(p);
    text_when(p);
    text_changes(p);
    text_trust(p);
}
