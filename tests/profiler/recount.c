/* Hit rates counted again from an exported table, as docs/hit-rates.md says, the plain way: for each policy and size a set
 * per layer, and for each step a look through it. Shares no code with the program.
 *
 *   recount TABLE.csv LAYERS EXPERTS [QUOTA...]
 *
 * Prints for each phase of the table, each size (or these quotas, one per layer, as size "given") and each policy
 *
 *   PHASE SIZE POLICY PAIRS-SERVED USES-SERVED ADMITTED
 *
 * where "moves" is dlfu as VRAM has it; SIZE "all" has the phase's pairs and uses, and POLICY "one-list" is lru over all layers, with
 * the size times the layers, or the sum of the quotas.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LRU, LFU, DLFU, MOVES, STATIC, BELADY, POLICIES };
static const char *const names[POLICIES] = {"lru", "lfu", "dlfu", "moves", "static", "belady"};
static const char *const phases[2] = {"prefill", "decode"};

typedef struct pair {
    int expert, uses, next; /* next: the step of the expert's next use in this layer, or NEVER */
} pair;

typedef struct step {
    int layer, n, cap;
    pair *pair;
} step;

enum { NEVER = 1 << 30 };

typedef struct trace {
    int n_layers, n_experts, n_steps, cap;
    step *steps;
} trace;

typedef struct count {
    long pairs, uses, admitted;
} count;

static void *grown(void *p, int n, int *cap, size_t item)
{
    if (n < *cap) {
        return p;
    }
    *cap = *cap ? 2 * *cap : 16;
    p = realloc(p, (size_t)*cap * item);
    if (!p) {
        exit(2);
    }
    return p;
}

static void add(step *s, int expert)
{
    for (int i = 0; i < s->n; i++) {
        if (s->pair[i].expert == expert) {
            s->pair[i].uses++;
            return;
        }
    }
    s->pair = grown(s->pair, s->n, &s->cap, sizeof *s->pair);
    s->pair[s->n++] = (pair){expert, 1, NEVER};
}

static bool read_table(const char *path, trace of[2])
{
    char line[256], word[16], tier[16];
    int step_before = -1, layer_before = -1, phase_before = -1;
    FILE *f = fopen(path, "r");
    bool ok = f && fgets(line, sizeof line, f);
    while (ok && fgets(line, sizeof line, f)) {
        int no, sequence, position, layer, rank, expert;
        double weight;
        ok = sscanf(line, "%d,%15[a-z],%d,%d,%d,%d,%d,%lf,%15[a-z]", &no, word, &sequence, &position, &layer,
                    &rank, &expert, &weight, tier) == 9;
        int phase = ok && strcmp(word, "decode") == 0;
        trace *t = &of[phase];
        if (!ok || layer >= t->n_layers || expert >= t->n_experts) {
            ok = false;
            break;
        }
        if (no != step_before || layer != layer_before || phase != phase_before) {
            t->steps = grown(t->steps, t->n_steps, &t->cap, sizeof *t->steps);
            t->steps[t->n_steps++] = (step){.layer = layer};
        }
        step_before = no;
        layer_before = layer;
        phase_before = phase;
        add(&t->steps[t->n_steps - 1], expert);
    }
    if (f) {
        fclose(f);
    }
    return ok;
}

/* 0.98 to the power of n. */
static float power(int n)
{
    static float square[31]; /* 0.98 to the power of 2^k */
    float r = 1;
    square[0] = 0.98f;
    for (int k = 0; k < 31 && n >> k; k++) {
        if (k > 0) {
            square[k] = square[k - 1] * square[k - 1];
        }
        if (n >> k & 1) {
            r = r * square[k];
        }
    }
    return r;
}

/* What is known of an expert; layer steps are numbered from 1. */
typedef struct known {
    int last, uses, next, warmed;
    float heat;
    bool kept, own;
} known;

static float heat(const known *k, int now)
{
    return k->heat * power(now - k->warmed);
}

/* Does a make room before b? Of equals the higher number. */
static bool before(int policy, int now, const known *k, int a, int b)
{
    const known *x = &k[a], *y = &k[b];
    if (policy == BELADY && x->next != y->next) {
        return x->next > y->next;
    }
    if ((policy == DLFU || policy == MOVES) && heat(x, now) != heat(y, now)) {
        return heat(x, now) < heat(y, now);
    }
    if (policy == LFU && x->uses != y->uses) {
        return x->uses < y->uses;
    }
    if ((policy == LFU || policy == LRU) && x->last != y->last) {
        return x->last < y->last;
    }
    return a > b;
}

static void offer(int policy, int now, known *k, int n_experts, int in, count *c)
{
    int out = -1;
    for (int v = 0; v < n_experts; v++) {
        if (k[v].kept && (policy == BELADY || !k[v].own) && (out < 0 || before(policy, now, k, v, out))) {
            out = v;
        }
    }
    if (k[in].kept || out < 0 || policy == STATIC || (policy == BELADY && !before(BELADY, now, k, out, in))) {
        return;
    }
    float margin = 1, bar = heat(&k[out], now) + margin;
    if (policy == MOVES && !(heat(&k[in], now) > bar)) {
        return;
    }
    k[out].kept = false;
    k[in].kept = true;
    c->admitted++;
}

static void play_step(int policy, int now, known *k, int n_experts, const step *s, count *c)
{
    for (int i = 0; i < s->n; i++) {
        known *e = &k[s->pair[i].expert];
        c->pairs += e->kept;
        c->uses += e->kept ? s->pair[i].uses : 0;
    }
    for (int i = 0; i < s->n; i++) {
        known *e = &k[s->pair[i].expert];
        float kept_heat = heat(e, now), gain = (1 - power(s->pair[i].uses)) / (1 - 0.98f);
        e->heat = kept_heat + gain;
        e->warmed = e->last = now;
        e->uses += s->pair[i].uses;
        e->next = s->pair[i].next;
        e->own = true;
    }
    for (int i = 0; i < s->n; i++) {
        offer(policy, now, k, n_experts, s->pair[i].expert, c);
    }
    for (int i = 0; i < s->n; i++) {
        k[s->pair[i].expert].own = false;
    }
}

/* One layer's steps from `begin` to `end`; k: what it keeps at first. */
static void play(int policy, const trace *t, int layer, int begin, int end, known *k, count *c)
{
    int now = 0;
    for (int i = begin; i < end; i++) {
        if (t->steps[i].layer == layer) {
            play_step(policy, ++now, k, t->n_experts, &t->steps[i], c);
        }
    }
}

/* Each half is served by what the other half used most. */
static void play_static(const trace *t, int layer, int quota, known *k, count *c)
{
    int middle = t->n_steps / 2;
    for (int half = 0; half < 2; half++) {
        memset(k, 0, (size_t)t->n_experts * sizeof *k);
        for (int i = half ? 0 : middle; i < (half ? middle : t->n_steps); i++) {
            for (int e = 0; e < t->steps[i].n && t->steps[i].layer == layer; e++) {
                k[t->steps[i].pair[e].expert].uses += t->steps[i].pair[e].uses;
            }
        }
        for (int n = 0; n < quota; n++) {
            int most = -1;
            for (int e = 0; e < t->n_experts; e++) {
                most = !k[e].kept && (most < 0 || k[e].uses > k[most].uses) ? e : most;
            }
            k[most].kept = true;
        }
        play(STATIC, t, layer, half ? middle : 0, half ? t->n_steps : middle, k, c);
    }
}

/* The first layer step from `from` on that uses the expert. */
static int next_use(const trace *t, int layer, int expert, int from)
{
    for (int i = from; i < t->n_steps; i++) {
        for (int e = 0; e < t->steps[i].n && t->steps[i].layer == layer; e++) {
            if (t->steps[i].pair[e].expert == expert) {
                return i;
            }
        }
    }
    return NEVER;
}

static void look_ahead(trace *t)
{
    for (int i = 0; i < t->n_steps; i++) {
        for (int e = 0; e < t->steps[i].n; e++) {
            pair *p = &t->steps[i].pair[e];
            p->next = next_use(t, t->steps[i].layer, p->expert, i + 1);
        }
    }
}

static count play_all(int policy, const trace *t, const int *quota)
{
    count c = {0, 0, 0};
    known *k = malloc((size_t)t->n_experts * sizeof *k);
    for (int l = 0; k && l < t->n_layers; l++) {
        if (policy == STATIC) {
            play_static(t, l, quota[l], k, &c);
            continue;
        }
        for (int e = 0; e < t->n_experts; e++) {
            k[e] = (known){.kept = e < quota[l], .next = next_use(t, l, e, 0)};
        }
        play(policy, t, l, 0, t->n_steps, k, &c);
    }
    free(k);
    return c;
}

static count everything(const trace *t)
{
    count c = {0, 0, 0};
    for (int i = 0; i < t->n_steps; i++) {
        c.pairs += t->steps[i].n;
        for (int e = 0; e < t->steps[i].n; e++) {
            c.uses += t->steps[i].pair[e].uses;
        }
    }
    return c;
}

/* All layers as one. */
static void join(trace *t)
{
    for (int i = 0; i < t->n_steps; i++) {
        for (int e = 0; e < t->steps[i].n; e++) {
            t->steps[i].pair[e].expert += t->steps[i].layer * t->n_experts;
        }
        t->steps[i].layer = 0;
    }
    t->n_experts *= t->n_layers;
    t->n_layers = 1;
}

static void print(const char *phase, const char *size, const char *policy, count c)
{
    printf("%s %s %s %ld %ld %ld\n", phase, size, policy, c.pairs, c.uses, c.admitted);
}

static void recount(const char *phase, trace *t, const int *given)
{
    int n_sizes = given ? 1 : t->n_experts + 1, n_layers = t->n_layers;
    int *quota = calloc((size_t)n_layers, sizeof *quota);
    char size[16] = "given";
    look_ahead(t);
    print(phase, "all", "all", everything(t));
    for (int q = 0; quota && q < n_sizes; q++) {
        for (int l = 0; l < n_layers; l++) {
            quota[l] = given ? given[l] : q;
        }
        if (!given) {
            snprintf(size, sizeof size, "%d", q);
        }
        for (int p = 0; p < POLICIES; p++) {
            print(phase, size, names[p], play_all(p, t, quota));
        }
    }
    free(quota);
    join(t);
    for (int q = 0; q < n_sizes; q++) {
        int together = given ? 0 : q * n_layers;
        for (int l = 0; given && l < n_layers; l++) {
            together += given[l];
        }
        if (!given) {
            snprintf(size, sizeof size, "%d", q);
        }
        print(phase, size, "one-list", play_all(LRU, t, &together));
    }
}

int main(int argc, char **argv)
{
    static trace of[2];
    int n_layers = argc > 3 ? atoi(argv[2]) : 0, n_experts = argc > 3 ? atoi(argv[3]) : 0;
    if (n_layers < 1 || n_experts < 1 || (argc > 4 && argc != 4 + n_layers)) {
        return 2;
    }
    of[0].n_layers = of[1].n_layers = n_layers;
    of[0].n_experts = of[1].n_experts = n_experts;
    if (!read_table(argv[1], of)) {
        return 2;
    }
    int *given = argc > 4 ? malloc((size_t)n_layers * sizeof *given) : NULL;
    for (int l = 0; given && l < n_layers; l++) {
        given[l] = atoi(argv[4 + l]);
    }
    for (int p = 0; p < 2; p++) {
        recount(phases[p], &of[p], given);
    }
    free(given);
    return 0;
}
