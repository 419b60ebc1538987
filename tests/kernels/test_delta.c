/* Gated delta nets: right values against double precision, and the same bits on every instruction set, with any number of
 * threads, and however the rows of two sequences are cut into steps. */
#include "kernels/fmath.h"
#include "kernels/ops.h"
#include "kernels/rand.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SEQS = 2, SLOTS = 3, ROWS = 23, MAX_TAPS = 5 };

/* Columns of one whole tile of each instruction set, some vectors, and a ragged end. */
static const mox_state_view shapes[] = {
    {.k_heads = 2, .v_heads = 4, .k_dim = 16, .v_dim = 16, .taps = 4},
    {.k_heads = 1, .v_heads = 3, .k_dim = 128, .v_dim = 128, .taps = 4},
    {.k_heads = 3, .v_heads = 3, .k_dim = 7, .v_dim = 93, .taps = 2},
    {.k_heads = 1, .v_heads = 1, .k_dim = 1, .v_dim = 1, .taps = MAX_TAPS},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

typedef struct net {
    mox_state_view state;
    size_t channels, values;
    float *x, *w, *ba, *a, *dt; /* [ROWS][channels] ... */
    mox_place place[ROWS];
} net;

static float *floats(rng *r, size_t n)
{
    float *x = malloc((n + 1) * sizeof *x);
    cr_assert_not_null(x);
    for (size_t i = 0; i < n; i++) {
        x[i] = rng_unit(r);
    }
    return x;
}

static net new_net(uint32_t shape)
{
    rng r = {31 + shape};
    net n = {.state = shapes[shape]};
    mox_state_view *v = &n.state;
    v->n_seq = SEQS;
    v->n_slots = SLOTS;
    n.channels = mox_state_channels(v);
    n.values = (size_t)v->v_heads * v->v_dim;
    n.x = floats(&r, ROWS * n.channels);
    n.w = floats(&r, n.channels * v->taps);
    n.ba = floats(&r, (size_t)ROWS * 2 * v->v_heads);
    n.a = floats(&r, v->v_heads);
    n.dt = floats(&r, v->v_heads);
    for (uint32_t h = 0; h < v->v_heads; h++) {
        n.a[h] = -2.0f * fabsf(n.a[h]);
    }
    uint32_t len[SEQS] = {0};
    for (uint32_t i = 0; i < ROWS; i++) {
        const uint32_t seq = rng_below(&r, 3) == 0;
        n.place[i] = (mox_place){.seq = seq, .pos = len[seq]++};
    }
    return n;
}

static void free_net(net *n)
{
    free(n->x), free(n->w), free(n->ba), free(n->a), free(n->dt);
}

/* All rows in steps of at most `most`; out [ROWS][values]. What slots hold at first is rubbish. */
static void run(const net *n, mox_isa isa, uint32_t workers, uint32_t most, float *out)
{
    mox_pool *pool;
    mox_ops *ops;
    const mox_pool_cfg cfg = {.n_workers = workers};
    rng r = {7};
    mox_state_view v = n->state;
    const size_t slots = SEQS * SLOTS;
    cr_assert_eq(mox_pool_create(&pool, &cfg), MOX_OK);
    cr_assert_eq(mox_ops_cpu_create(&ops, pool, isa), MOX_OK, "%s", mox_err_last()->msg);
    v.conv = floats(&r, slots * (v.taps - 1) * n->channels);
    v.s = floats(&r, slots * v.v_heads * v.k_dim * v.v_dim);
    float *y = floats(&r, ROWS * n->channels), *decay = floats(&r, (size_t)ROWS * v.v_heads);
    float *beta = floats(&r, (size_t)ROWS * v.v_heads);
    mox_state_step step[SEQS] = {{0, 1}, {0, 1}};
    for (uint32_t i = 0; i < ROWS; i += most) {
        const uint32_t rows = ROWS - i < most ? ROWS - i : most;
        const mox_conv_args conv = {.state = v,
                                    .step = step,
                                    .place = n->place + i,
                                    .x = n->x + i * n->channels,
                                    .w = n->w,
                                    .y = y,
                                    .n = rows};
        const mox_delta_prepare_args prepare = {.state = v,
                                                .y = y,
                                                .ba = n->ba + (size_t)i * 2 * v.v_heads,
                                                .a = n->a,
                                                .dt_bias = n->dt,
                                                .decay = decay,
                                                .beta = beta,
                                                .eps = 1e-6f,
                                                .n = rows};
        const mox_delta_rule_args rule = {.state = v,
                                          .step = step,
                                          .place = n->place + i,
                                          .y = y,
                                          .decay = decay,
                                          .beta = beta,
                                          .out = out + i * n->values,
                                          .n = rows};
        cr_assert_eq(ops->conv(ops, NULL, &conv), MOX_OK);
        cr_assert_eq(ops->delta_prepare(ops, NULL, &prepare), MOX_OK);
        cr_assert_eq(ops->delta_rule(ops, NULL, &rule), MOX_OK);
        for (uint32_t j = i; j < i + rows; j++) { /* the next slot, for the sequences of this step */
            const uint32_t q = n->place[j].seq, now = step[q].to;
            bool last = true;
            for (uint32_t k = j + 1; k < i + rows; k++) {
                last = last && n->place[k].seq != q;
            }
            step[q] = last ? (mox_state_step){now, (now + 1) % SLOTS} : step[q];
        }
    }
    free(v.conv), free(v.s), free(y), free(decay), free(beta);
    mox_ops_destroy(&ops);
    mox_pool_destroy(&pool);
}

static double silu(double x)
{
    return x / (1.0 + exp(-x));
}

/* Channel c of row i after the convolution. */
static double mixed(const net *n, uint32_t i, size_t c)
{
    const uint32_t taps = n->state.taps;
    double sum = 0.0;
    for (uint32_t j = i + 1, back = 0; j-- > 0 && back < taps;) {
        if (n->place[j].seq == n->place[i].seq) {
            sum += (double)n->w[c * taps + taps - 1 - back] * (double)n->x[j * n->channels + c];
            back++;
        }
    }
    return silu(sum);
}

static void unit_length(const net *n, uint32_t i, size_t c0, double scale, double *out)
{
    const uint32_t d = n->state.k_dim;
    double ss = 0.0;
    for (uint32_t k = 0; k < d; k++) {
        out[k] = mixed(n, i, c0 + k);
        ss += out[k] * out[k];
    }
    for (uint32_t k = 0; k < d; k++) {
        out[k] *= scale / sqrt(ss + 1e-6);
    }
}

/* The same in double precision, a head and a sequence at a time. */
static void reference(const net *n, uint32_t head, uint32_t seq, double *out)
{
    const mox_state_view *v = &n->state;
    const uint32_t each = v->v_heads / v->k_heads, kh = head / each, dk = v->k_dim, dv = v->v_dim;
    double *s = calloc((size_t)dk * dv, sizeof *s), *q = calloc(dk, sizeof *q), *k = calloc(dk, sizeof *k);
    for (uint32_t i = 0; i < ROWS; i++) {
        if (n->place[i].seq != seq) {
            continue;
        }
        const float *ba = n->ba + (size_t)i * 2 * v->v_heads + (size_t)kh * 2 * each + head % each;
        const double beta = 1.0 / (1.0 + exp(-(double)ba[0]));
        const double decay = exp((double)n->a[head] * log1p(exp((double)ba[each] + (double)n->dt[head])));
        unit_length(n, i, (size_t)kh * dk, 1.0 / sqrt(dk), q);
        unit_length(n, i, (size_t)(v->k_heads + kh) * dk, 1.0, k);
        for (uint32_t j = 0; j < dv; j++) {
            double t = 0.0, o = 0.0;
            for (uint32_t r = 0; r < dk; r++) {
                s[r * dv + j] *= decay;
                t += s[r * dv + j] * k[r];
            }
            const double value = mixed(n, i, (size_t)2 * v->k_heads * dk + (size_t)head * dv + j);
            for (uint32_t r = 0; r < dk; r++) {
                s[r * dv + j] += k[r] * beta * (value - t);
                o += s[r * dv + j] * q[r];
            }
            out[i * n->values + (size_t)head * dv + j] = o;
        }
    }
    free(s), free(q), free(k);
}

Test(delta, softplus_is_that_of_double_precision)
{
    for (int i = -4000; i <= 4000; i++) {
        const float x = (float)i * 0.01f;
        const double want = (double)x > 0 ? (double)x + log1p(exp(-(double)x)) : log1p(exp((double)x));
        cr_assert_float_eq((double)mox_softplusf(x), want, 4e-7 * want, "softplus(%g)", (double)x);
    }
    cr_expect(isnan(mox_softplusf(NAN)));
}

Test(delta, values_are_those_of_double_precision)
{
    for (uint32_t shape = 0; shape < SHAPES; shape++) {
        net n = new_net(shape);
        float *got = calloc(ROWS * n.values, sizeof *got);
        double *want = calloc(ROWS * n.values, sizeof *want);
        run(&n, MOX_ISA_SCALAR, 1, ROWS, got);
        for (uint32_t h = 0; h < n.state.v_heads; h++) {
            reference(&n, h, 0, want);
            reference(&n, h, 1, want);
        }
        for (size_t i = 0; i < ROWS * n.values; i++) {
            cr_assert_float_eq((double)got[i], want[i], 2e-5, "shape %u, element %zu: %g, expected %g", shape,
                               i, (double)got[i], want[i]);
        }
        free(got), free(want);
        free_net(&n);
    }
}

Test(delta, any_cut_of_the_rows_gives_the_same_bits)
{
    static const uint32_t steps[] = {ROWS, 1, 2, 5};
    for (uint32_t shape = 0; shape < SHAPES; shape++) {
        net n = new_net(shape);
        const size_t bytes = ROWS * n.values * sizeof(float);
        float *want = malloc(bytes), *got = malloc(bytes);
        run(&n, MOX_ISA_SCALAR, 1, ROWS, want);
        for (mox_isa isa = 0; isa < MOX_ISA_COUNT; isa++) {
            for (uint32_t i = 0; mox_isa_present(isa) && i < 4; i++) {
                run(&n, isa, 1 + (isa + i) % 3, steps[i], got);
                cr_expect(memcmp(got, want, bytes) == 0, "%s, shape %u, steps of %u: other bits",
                          mox_isa_name(isa), shape, steps[i]);
            }
        }
        free(want), free(got);
        free_net(&n);
    }
}
