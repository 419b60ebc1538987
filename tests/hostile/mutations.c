/* Load, then run: models damaged at random, one to three bytes or whole fields or a cut, are opened, and what is
 * accepted computes tokens. Whatever the damage: no signal, no hang, little memory, and either finite logits or an error
 * that says what is wrong with the file.
 *
 *   mutations [--count N] [--from I]     mutation I is the same in every run
 */
#include "gguf/fields.h"
#include "gguf/tiny.h"
#include "hostile/child.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct base {
    const char *name;
    uint8_t *p;
    size_t n;
    gf_map map;
} base;

static base bases[3];

static void read_base(base *b, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, MOX_TEST_DATA "/models/%s", name);
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0) {
        fprintf(stderr, "%s cannot be read\n", path);
        exit(1);
    }
    *b = (base){.name = name, .n = (size_t)ftell(f)};
    b->p = malloc(b->n);
    rewind(f);
    if (!b->p || fread(b->p, 1, b->n, f) != b->n) {
        fprintf(stderr, "%s cannot be read\n", path);
        exit(1);
    }
    fclose(f);
    gf_read(&b->map, b->p, b->n);
}

static void make_bases(void)
{
    gb b = {0};
    tiny_build(&b, NULL);
    bases[0] = (base){.name = "tiny", .p = b.p, .n = b.n};
    gf_read(&bases[0].map, b.p, b.n);
    free(b.fields);
    read_base(&bases[1], "quantmix-a.gguf");
    read_base(&bases[2], "mixtral-a-q8_0.gguf");
}

static uint64_t next(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static void change_bytes(uint8_t *p, size_t from, size_t to, uint64_t *s)
{
    for (uint64_t n = 1 + next(s) % 3; n > 0; n--) {
        uint64_t at = from + next(s) % (to - from);
        p[at] = next(s) % 2 ? (uint8_t)(p[at] ^ (1u << next(s) % 8)) : (uint8_t)next(s);
    }
}

static void change_fields(const base *b, uint8_t *p, uint64_t *s)
{
    for (uint64_t n = 1 + next(s) % 2; n > 0; n--) {
        const gf_field *f = &b->map.f[next(s) % b->map.n_fields];
        gf_set(p, f, gf_bad_value(gf_get(p, f), b->n - f->at - f->bytes, next(s)));
    }
}

/* Values among the weights that no weight has: NaN, infinities, the largest, as f32 and as f16 (scales of blocks). */
static void change_weights(const base *b, uint8_t *p, uint64_t *s)
{
    static const uint32_t odd[] = {0x7FC00000, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 0x00000001, 0x7E007E00,
                                   0x7C007C00, 0xFC00FC00, 0x7BFF7BFF, 0x80000000, 0xFFFFFFFF};
    for (uint64_t n = 1 + next(s) % 3; n > 0; n--) {
        uint64_t at = b->map.header_end + next(s) % (b->n - b->map.header_end - 8);
        at -= at % (next(s) % 2 ? 4 : 2);
        memcpy(p + at, &odd[next(s) % (sizeof odd / sizeof odd[0])], next(s) % 2 ? 4 : 2);
    }
}

/* Mutation i; returns the new length. what: for the report. */
static size_t mutate(const base *b, uint8_t *p, uint64_t i, const char **what)
{
    uint64_t s = (i + 1) * UINT64_C(0x9E3779B97F4A7C15);
    next(&s);
    memcpy(p, b->p, b->n);
    switch (next(&s) % 8) {
    case 0:
        *what = "bytes anywhere";
        change_bytes(p, 0, b->n, &s);
        return b->n;
    case 1:
    case 2:
        *what = "bytes of the header";
        change_bytes(p, 0, b->map.header_end, &s);
        return b->n;
    case 3:
    case 4:
        *what = "fields";
        change_fields(b, p, &s);
        return b->n;
    case 5:
    case 6:
        *what = "weights";
        change_weights(b, p, &s);
        return b->n;
    default:
        *what = "cut";
        return next(&s) % 2 ? next(&s) % b->n : next(&s) % b->map.header_end;
    }
}

typedef struct totals {
    uint32_t accepted, refused, numeric, failed;
    double worst_cpu;
    long worst_rss;
} totals;

static bool is_named(mox_err err)
{
    return err == MOX_E_NUMERIC || (err <= MOX_E_FORMAT && err >= MOX_E_SPLIT);
}

static void judge(totals *t, uint64_t i, const base *b, const char *what, const outcome *o, const report *r)
{
    bool ran = r->err == MOX_OK && r->n_tokens == CHILD_TOKENS;
    const char *wrong = o->late                                    ? "it hangs"
                        : o->signal                                ? "a signal"
                        : !o->exited || o->code != 0               ? "it does not end well"
                        : r->not_finite                            ? "logits that are no numbers"
                        : !ran && !is_named(r->err)                ? "an error of another kind"
                        : !ran && strlen(r->info.msg) < 10         ? "an error without a message"
                        : !SANITIZED && o->rss_kib > CHILD_RSS_KIB ? "too much memory"
                                                                   : NULL;
    if (wrong) {
        fprintf(stderr, "mutation %llu (%s of %s): %s: signal %d, exit %d, %ld KiB, %s: %s\n",
                (unsigned long long)i, what, b->name, wrong, o->signal, o->code, o->rss_kib,
                mox_err_name(r->err), r->info.msg);
        t->failed++;
    }
    t->accepted += ran;
    t->refused += !ran;
    t->numeric += r->err == MOX_E_NUMERIC;
    t->worst_cpu = o->cpu_s > t->worst_cpu ? o->cpu_s : t->worst_cpu;
    t->worst_rss = o->rss_kib > t->worst_rss ? o->rss_kib : t->worst_rss;
}

int main(int argc, char **argv)
{
    uint64_t count = 300, from = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t *to = strcmp(argv[i], "--count") == 0 ? &count : &from;
        *to = strtoull(argv[i + 1], NULL, 10);
    }
    make_bases();
    static totals t;
    report *r = child_report();
    int fd = memfd_create("mutation", 0);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    for (uint64_t i = from; i < from + count; i++) {
        const base *b = &bases[i % 4 < 2 ? 0 : i % 4 - 1];
        const char *what = "";
        uint8_t *p = malloc(b->n);
        size_t n = mutate(b, p, i, &what);
        if (ftruncate(fd, 0) != 0 || pwrite(fd, p, n, 0) != (ssize_t)n) {
            perror("a file in memory");
            return 1;
        }
        free(p);
        outcome o = child_try(path, r, CHILD_CPU_S);
        judge(&t, i, b, what, &o, r);
    }
    printf("%llu mutations: %u ran, %u refused (%u of them while computing: not finite); at most %.2f s of "
           "processor and "
           "%.1f MiB; %u wrong\n",
           (unsigned long long)count, t.accepted, t.refused, t.numeric, t.worst_cpu,
           (double)t.worst_rss / 1024, t.failed);
    if (t.accepted == 0 || t.refused == 0) {
        fprintf(stderr, "all were accepted or all refused: the test does not test\n");
        return 1;
    }
    return t.failed > 0;
}
