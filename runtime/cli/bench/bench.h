/* What the parts of `moxie bench` share: cmd_bench.c prepares and walks through the tests, measure.c makes
 * repetitions, between.c measures the machine before and after each, report.c makes figures of it. */
#ifndef MOX_CLI_BENCH_H
#define MOX_CLI_BENCH_H

#include "runtime/cli/bench/between.h"
#include "runtime/cli/bench/ceiling.h"
#include "runtime/cli/options.h"

enum { MOX_BENCH_TESTS = MOX_MAX_COUNTS + MOX_MAX_COUNTS * MOX_MAX_COUNTS, MOX_BENCH_REPS = 100 };

/* One repetition; everything is of its phase alone, without what filled the depth. */
typedef struct mox_bench_rep {
    double tokens, seconds;
    double depth_s;           /* of the prompt in front of an answer */
    uint64_t read_bytes;      /* from the file */
    uint64_t used_bytes;      /* of experts, by an answer's steps */
    mox_between_rates around; /* what the machine could do: the mean of just before and just after */
} mox_bench_rep;

typedef struct mox_bench_test {
    bool decode;
    uint32_t n_tokens, depth, n_reps;
    mox_bench_rep reps[MOX_BENCH_REPS]; /* in order of time */
    mox_counters c;                     /* of all repetitions */
} mox_bench_test;

typedef struct mox_bench {
    mox_opts *o;
    mox_ctx *ctx;
    uint32_t *ids;
    uint32_t n_ids;
    float *logits;   /* of random answers; nobody looks at them */
    uint64_t random; /* state of the generator of ids */
    mox_bench_test *tests;
    uint32_t n_tests;
    mox_model_info info;
    mox_ceilings before, after, best;
    mox_between *between;
} mox_bench;

/* "prefill 512", "decode 64", "decode 64 at 512" */
const char *mox_bench_name(const mox_bench_test *t, char name[48]);
uint32_t mox_bench_random_id(mox_bench *b);
/* mox_bench_measure: a repetition to warm up, then those that count; fewer when a stop was asked for. */
MOX_NODISCARD mox_err mox_bench_measure(mox_bench *b, mox_bench_test *t);
/* mox_bench_once: one repetition alone, of ctx, o, ids, logits and random. */
MOX_NODISCARD mox_err mox_bench_once(mox_bench *b, const mox_bench_test *t, mox_bench_rep *rep);

typedef struct mox_bench_spread {
    double median, min, max;
} mox_bench_spread;

/* Sorts v; n > 0. */
mox_bench_spread mox_bench_spread_of(double *v, uint32_t n);
/* Tokens per second over the repetitions. */
mox_bench_spread mox_bench_speed(const mox_bench_test *t);
void mox_bench_json(const mox_bench *b);
void mox_bench_table(const mox_bench *b);

#endif
