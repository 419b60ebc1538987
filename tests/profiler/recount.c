/* Hit rates counted again from an exported table, the plain way: a set per layer and size, and for each use a look through
 * it. Shares no code with the program. Prints for each size the shares that lru, lfu, dlfu, static (held out) and belady
 * would have served of the answer's (step, expert) pairs.
 *
 *   recount TABLE.csv LAYERS EXPERTS
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STEPS = 20000, MAX_K = 16, MAX_EXPERTS = 64 };
enum { LRU, LFU, DLFU, STATIC, BELADY, POLICIES };

typedef struct step {
    int layer, n, expert[MAX_K];
    bool second_half;
} step;

static step steps[MAX_STEPS];
static int n_steps, n_layers, n_experts;

static bool read_table(const char *path)
{
    char line[256], phase[16], tier[16], last_key[64] = "";
    FILE *f = fopen(path, "r");
    bool ok = f && fgets(line, sizeof line, f);
    while (ok && fgets(line, sizeof line, f)) {
        int no, sequence, position, layer, rank, expert;
        double weight;
        ok = sscanf(line, "%d,%15[a-z],%d,%d,%d,%d,%d,%lf,%15[a-z]", &no, phase, &sequence, &position, &layer,
                    &rank, &expert, &weight, tier) == 9 &&
             layer < n_layers && expert < n_experts;
        if (!ok || strcmp(phase, "decode") != 0) {
            continue;
        }
        char key[64];
        snprintf(key, sizeof key, "%d,%d", no, layer);
        if (strcmp(key, last_key) != 0) {
            if (n_steps == MAX_STEPS) {
                return false;
            }
            strcpy(last_key, key);
            steps[n_steps++] = (step){.layer = layer};
        }
        step *s = &steps[n_steps - 1];
        bool there = false;
        for (int i = 0; i < s->n; i++) {
            there = there || s->expert[i] == expert;
        }
        if (!there) {
            s->expert[s->n++] = expert;
        }
    }
    if (f) {
        fclose(f);
    }
    for (int i = 0; i < n_steps; i++) {
        steps[i].second_half = i >= n_steps / 2;
    }
    return ok || n_steps > 0;
}

/* What is known of an expert when step `at` is over. */
typedef struct known {
    int last, count, next;
    double heat;
} known;

static known look(int at, int layer, int expert)
{
    known k = {.last = -1, .next = MAX_STEPS + 1};
    for (int i = 0; i < n_steps; i++) {
        bool used = false;
        if (steps[i].layer != layer) {
            continue;
        }
        for (int e = 0; e < steps[i].n; e++) {
            used = used || steps[i].expert[e] == expert;
        }
        if (i <= at) {
            k.heat = k.heat * 0.98 + used;
            k.count += used;
            k.last = used ? i : k.last;
        } else if (used) {
            k.next = i;
            break;
        }
    }
    return k;
}

/* Does a make room before b? Of equals the higher number. */
static bool before(int policy, const known *a, int ia, const known *b, int ib)
{
    if (policy == LRU && a->last != b->last) {
        return a->last < b->last;
    }
    if (policy == LFU && a->count != b->count) {
        return a->count < b->count;
    }
    if (policy == LFU && a->last != b->last) {
        return a->last < b->last;
    }
    if (policy == DLFU && a->heat != b->heat) {
        return a->heat < b->heat;
    }
    if (policy == BELADY && a->next != b->next) {
        return a->next > b->next;
    }
    return ia > ib;
}

static int play_layer(int policy, int layer, int kept_max)
{
    bool kept[MAX_EXPERTS] = {false};
    int served = 0;
    for (int e = 0; e < kept_max; e++) {
        kept[e] = true;
    }
    for (int i = 0; i < n_steps; i++) {
        const step *s = &steps[i];
        bool own[MAX_EXPERTS] = {false}, was[MAX_EXPERTS];
        known k[MAX_EXPERTS];
        if (s->layer != layer) {
            continue;
        }
        memcpy(was, kept, sizeof was);
        for (int e = 0; e < n_experts; e++) {
            k[e] = look(i, layer, e);
        }
        for (int e = 0; e < s->n; e++) {
            served += was[s->expert[e]];
            own[s->expert[e]] = true;
        }
        for (int e = 0; e < s->n; e++) {
            int in = s->expert[e], out = -1;
            for (int v = 0; v < n_experts && !was[in]; v++) {
                if (kept[v] && (policy == BELADY || !own[v]) &&
                    (out < 0 || before(policy, &k[v], v, &k[out], out))) {
                    out = v;
                }
            }
            if (out >= 0 && (policy != BELADY || before(BELADY, &k[out], out, &k[in], in))) {
                kept[out] = false;
                kept[in] = true;
            }
        }
    }
    return served;
}

/* Each half is served by what the other half used most. */
static int play_static(int layer, int kept_max)
{
    int served = 0;
    for (int half = 0; half < 2; half++) {
        int count[MAX_EXPERTS] = {0};
        bool kept[MAX_EXPERTS] = {false};
        for (int i = 0; i < n_steps; i++) {
            for (int e = 0; e < steps[i].n && steps[i].layer == layer && steps[i].second_half != half; e++) {
                count[steps[i].expert[e]]++;
            }
        }
        for (int n = 0; n < kept_max; n++) {
            int most = -1;
            for (int e = 0; e < n_experts; e++) {
                most = !kept[e] && (most < 0 || count[e] > count[most]) ? e : most;
            }
            kept[most] = true;
        }
        for (int i = 0; i < n_steps; i++) {
            for (int e = 0; e < steps[i].n && steps[i].layer == layer && steps[i].second_half == half; e++) {
                served += kept[steps[i].expert[e]];
            }
        }
    }
    return served;
}

int main(int argc, char **argv)
{
    n_layers = argc == 4 ? atoi(argv[2]) : 0;
    n_experts = argc == 4 ? atoi(argv[3]) : 0;
    if (n_layers < 1 || n_experts < 1 || n_experts > MAX_EXPERTS || !read_table(argv[1])) {
        return 2;
    }
    int pairs = 0;
    for (int i = 0; i < n_steps; i++) {
        pairs += steps[i].n;
    }
    for (int q = 0; q <= n_experts; q++) {
        printf("%d", q);
        for (int p = 0; p < POLICIES; p++) {
            int served = 0;
            for (int l = 0; l < n_layers; l++) {
                served += p == STATIC ? play_static(l, q) : play_layer(p, l, q);
            }
            printf(" %.6f", (double)served / pairs);
        }
        putchar('\n');
    }
    return 0;
}
