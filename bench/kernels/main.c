/* moxie-bench-kernels: kernel x instruction set x shape against ceilings measured in the same process.
 *
 * Reading memory is the limit of a decode, multiplying that of a prefill; both are measured first, then every
 * line says how much of each it reached, and whether its results were the twin's. --json for machines.
 */
#include "bench/kernels/cases.h"
#include "kernels/ceilings/ceilings.h"
#include "profiler/report/json.h"
#include "runtime/core/arena.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct options {
    size_t mib;
    uint32_t cols, threads;
    uint64_t min_ms;
    const char *type, *isa, *op;
    uint32_t n; /* 0: all */
    bool json;
} options;

typedef struct ceilings {
    uint32_t threads;
    double read, integer[MOX_ISA_COUNT];
} ceilings;

static const mox_type all_types[] = {
    MOX_TYPE_F32,  MOX_TYPE_F16,    MOX_TYPE_BF16,   MOX_TYPE_Q8_0,  MOX_TYPE_Q4_0, MOX_TYPE_Q4_1,
    MOX_TYPE_Q5_0, MOX_TYPE_Q5_1,   MOX_TYPE_Q2_K,   MOX_TYPE_Q3_K,  MOX_TYPE_Q4_K, MOX_TYPE_Q5_K,
    MOX_TYPE_Q6_K, MOX_TYPE_IQ4_NL, MOX_TYPE_IQ4_XS, MOX_TYPE_MXFP4,
};

static const char usage[] =
    "moxie-bench-kernels: matrix kernels against the machine's ceilings\n"
    "  --mib N       weights in memory for the DRAM cases and the read ceiling (default 2048)\n"
    "  --cols N      columns of the matrices (default 4096)\n"
    "  --threads N   highest thread count; 1 and N are measured (default 2)\n"
    "  --min-ms N    least time per case (default 200)\n"
    "  --type NAME   one tensor type only\n"
    "  --isa NAME    one instruction set only: scalar avx2 avxvnni avx512\n"
    "  --op NAME     one operation only: mat_mul panel expert batch repack\n"
    "  --n N         one count of tokens only\n"
    "  --json        one JSON document\n";

static bool parse(int argc, char **argv, options *o)
{
    static const struct option table[] = {{"mib", required_argument, NULL, 'm'},
                                          {"cols", required_argument, NULL, 'c'},
                                          {"threads", required_argument, NULL, 't'},
                                          {"min-ms", required_argument, NULL, 's'},
                                          {"type", required_argument, NULL, 'y'},
                                          {"isa", required_argument, NULL, 'i'},
                                          {"op", required_argument, NULL, 'o'},
                                          {"n", required_argument, NULL, 'n'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    *o = (options){.mib = 2048, .cols = 4096, .threads = 2, .min_ms = 200};
    for (int c = 0; (c = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        switch (c) {
        case 'm':
            o->mib = strtoul(optarg, NULL, 10);
            break;
        case 'c':
            o->cols = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 't':
            o->threads = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 's':
            o->min_ms = strtoul(optarg, NULL, 10);
            break;
        case 'y':
            o->type = optarg;
            break;
        case 'i':
            o->isa = optarg;
            break;
        case 'o':
            o->op = optarg;
            break;
        case 'n':
            o->n = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'j':
            o->json = true;
            break;
        default:
            return false;
        }
    }
    return optind == argc && o->mib >= 8 && o->mib < (1 << 20) && o->cols >= 256 && o->cols % 256 == 0 &&
           o->threads >= 1 && o->threads <= 256;
}

static ceilings measure(mox_pool *pool, const bench_setup *s)
{
    ceilings c = {.threads = mox_pool_workers(pool),
                  .read = mox_ceiling_read(pool, s->buffer, s->buffer_bytes)};
    for (mox_isa i = 0; i < MOX_ISA_COUNT; i++) {
        c.integer[i] = mox_isa_present(i) ? mox_ceiling_int(pool, i) : 0;
    }
    return c;
}

static void print_ceilings(const ceilings *c, mox_json *j)
{
    if (j == NULL) {
        printf("ceilings, %u thread(s): read %.1f GB/s; integer products x 2, G/s:", c->threads, c->read);
        for (mox_isa i = 0; i < MOX_ISA_COUNT; i++) {
            printf(" %s %.0f", mox_isa_name(i), c->integer[i]);
        }
        printf("\n");
        return;
    }
    mox_json_object(j, NULL);
    mox_json_u64(j, "threads", c->threads);
    mox_json_f64(j, "read_gb_s", c->read);
    mox_json_object(j, "integer_gops");
    for (mox_isa i = 0; i < MOX_ISA_COUNT; i++) {
        mox_json_f64(j, mox_isa_name(i), c->integer[i]);
    }
    mox_json_object_end(j);
    mox_json_object_end(j);
}

static void print_line(const bench_line *l, const ceilings *c, double int_ceiling, mox_json *j)
{
    double read_pc = 100 * l->gb_s / c->read, int_pc = int_ceiling > 0 ? 100 * l->gops / int_ceiling : 0;
    const char *place = l->place == BENCH_L2 ? "L2" : "DRAM";
    if (j == NULL) {
        printf("%-8s %-7s %-7s %-4s thr %u n %2u  %7u x %-5u %8.2f GB/s %8.2f Gw/s  read %5.1f %%  int %5.1f "
               "%%  %s",
               l->op, l->type, l->isa, place, l->threads, l->n, l->rows, l->cols, l->gb_s, l->gweights_s,
               read_pc, int_pc, l->equal ? "equal" : "DIFFERS");
        if (l->ratio > 0) {
            printf("  %.3f of one token's time (%.2f GB/s), %.3f where reading is the limit", l->ratio,
                   l->one_gb_s, l->bound_ratio);
        }
        if (l->share > 0) {
            printf("  %.1f %% of the integer ceiling around it", 100 * l->share);
        }
        printf("\n");
        fflush(stdout);
        return;
    }
    mox_json_object(j, NULL);
    mox_json_string(j, "op", l->op);
    mox_json_string(j, "type", l->type);
    mox_json_string(j, "isa", l->isa);
    mox_json_string(j, "place", place);
    mox_json_u64(j, "threads", l->threads);
    mox_json_u64(j, "n", l->n);
    mox_json_u64(j, "rows", l->rows);
    mox_json_u64(j, "cols", l->cols);
    mox_json_f64(j, "gb_s", l->gb_s);
    mox_json_f64(j, "gweights_s", l->gweights_s);
    mox_json_f64(j, "gops", l->gops);
    mox_json_f64(j, "read_percent", read_pc);
    mox_json_f64(j, "integer_percent", int_pc);
    if (l->ratio > 0) {
        mox_json_f64(j, "time_of_one", l->ratio);
        mox_json_f64(j, "one_gb_s", l->one_gb_s);
        mox_json_f64(j, "time_of_one_where_reading_is_the_limit", l->bound_ratio);
    }
    if (l->share > 0) {
        mox_json_f64(j, "integer_percent_around", 100 * l->share);
    }
    mox_json_bool(j, "equal", l->equal);
    mox_json_object_end(j);
}

typedef struct run {
    const options *o;
    const bench_setup *s;
    mox_pool *pool;
    ceilings c;
    mox_json *j;
} run;

static bool wanted(const options *o, const char *op, uint32_t n)
{
    return (o->op == NULL || strcmp(o->op, op) == 0) && (o->n == 0 || o->n == n);
}

static bool report(const run *r, const bench_line *l, mox_isa isa)
{
    print_line(l, &r->c, r->c.integer[isa], r->j);
    return l->equal;
}

/* A matrix in one core's L2 is for one thread; panels share out an L2 each. The twin is slow. */
static bool run_products(const run *r, mox_type type, mox_isa isa)
{
    static const uint32_t few[] = {1, 2, 4, 8, 12}, many[] = {4, 8, 12, 64};
    bool equal = true;
    bench_line l;
    for (int place = BENCH_L2; place <= BENCH_DRAM; place++) {
        for (size_t i = 0; i < sizeof few / sizeof few[0]; i++) {
            bool skip = (place == BENCH_L2 && r->c.threads > 1) ||
                        (isa == MOX_ISA_SCALAR && (place == BENCH_DRAM || few[i] > 1));
            if (!skip && wanted(r->o, "mat_mul", few[i]) &&
                bench_mat_mul(r->s, type, isa, (bench_place)place, r->pool, few[i], &l)) {
                equal = report(r, &l, isa) && equal;
            }
        }
        for (size_t i = 0; isa != MOX_ISA_SCALAR && i < sizeof many / sizeof many[0]; i++) {
            if (wanted(r->o, "panel", many[i]) &&
                bench_panel(r->s, type, isa, (bench_place)place, r->pool, many[i], &l)) {
                equal = report(r, &l, isa) && equal;
            }
        }
    }
    return equal;
}

static bool run_experts(const run *r, mox_type type, mox_isa isa)
{
    static const uint32_t sizes[] = {1, 4}; /* the twin of more takes minutes */
    bool equal = true;
    bench_line l;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (wanted(r->o, "expert", sizes[i]) && bench_expert(r->s, type, isa, r->pool, sizes[i], &l)) {
            equal = report(r, &l, isa) && equal;
        }
    }
    for (uint32_t n = 2; n <= 4; n++) {
        if (wanted(r->o, "batch", n) && bench_batch(r->s, type, isa, r->pool, n, &l)) {
            equal = report(r, &l, isa) && equal;
        }
    }
    return equal;
}

/* All lines of one type and ISA on one pool; false if any differs from the twin. */
static bool run_type(const run *r, mox_type type, mox_isa isa)
{
    bool equal = run_products(r, type, isa);
    if (isa != MOX_ISA_SCALAR && (type == MOX_TYPE_Q4_K || type == MOX_TYPE_Q6_K || type == MOX_TYPE_Q8_0)) {
        equal = run_experts(r, type, isa) && equal;
    }
    return equal;
}

static bool run_threads(const options *o, const bench_setup *s, uint32_t threads, mox_json *j)
{
    mox_pool *pool = NULL;
    if (mox_pool_create(&pool, &(mox_pool_cfg){.n_workers = threads, .spin_us = 50}) != MOX_OK) {
        fprintf(stderr, "bench: %s\n", mox_err_last()->msg);
        return false;
    }
    bool equal = true;
    run r = {.o = o, .s = s, .pool = pool, .c = measure(pool, s), .j = j};
    print_ceilings(&r.c, j);
    for (size_t t = 0; t < sizeof all_types / sizeof all_types[0]; t++) {
        const char *name = mox_type_info(all_types[t])->name;
        if (o->type != NULL && strcmp(o->type, name) != 0) {
            continue;
        }
        bench_line l;
        if (threads == 1 && o->isa == NULL && wanted(o, "repack", o->n) &&
            bench_repack(s, all_types[t], &l)) {
            print_line(&l, &r.c, 0, j);
            equal = equal && l.equal;
        }
        for (mox_isa isa = 0; isa < MOX_ISA_COUNT; isa++) {
            bool this_isa = o->isa == NULL || strcmp(o->isa, mox_isa_name(isa)) == 0;
            if (this_isa && mox_isa_present(isa)) {
                equal = run_type(&r, all_types[t], isa) && equal;
            }
        }
    }
    mox_pool_destroy(&pool);
    return equal;
}

int main(int argc, char **argv)
{
    options o;
    if (!parse(argc, argv, &o)) {
        fputs(usage, stderr);
        return 2;
    }
    mox_arena arena;
    if (mox_arena_map(&arena, o.mib << 20, MOX_ARENA_HUGE | MOX_ARENA_POPULATE) != MOX_OK) {
        fprintf(stderr, "bench: %s\n", mox_err_last()->msg);
        return 4;
    }
    bench_setup s = {
        .buffer = arena.base, .buffer_bytes = arena.bytes, .cols = o.cols, .min_ns = o.min_ms * 1000000};
    memset(s.buffer, 1, s.buffer_bytes);
    mox_json json;
    if (o.json) {
        mox_json_begin(&json, stdout);
        mox_json_object(&json, NULL);
        mox_json_string(&json, "schema", "moxie.bench-kernels/1");
        mox_json_array(&json, "results");
    }
    bool equal = run_threads(&o, &s, 1, o.json ? &json : NULL);
    if (o.threads > 1) {
        equal = run_threads(&o, &s, o.threads, o.json ? &json : NULL) && equal;
    }
    if (o.json) {
        mox_json_array_end(&json);
        mox_json_bool(&json, "all_equal", equal);
        mox_json_object_end(&json);
        mox_json_end(&json);
    }
    mox_arena_unmap(&arena);
    return equal ? 0 : 8;
}
