/* The sweep of gated delta nets (sweeps.h): rows of two sequences, cut into steps as a run cuts them, through convolution, norms
 * and the rule; every step's outputs and in the end all states have the bits of the CPU's table without vector
 * instructions. */
#include "cuda/sweeps.h"

#include "cuda/device.h"
#include "kernels/mat_fixture.h"
#include "kernels/rand.h"

#include <math.h>
#include <string.h>

enum { SEQS = 2, SLOTS = 3, ROWS = 13, MAX_FLOATS = 1 << 15, MAX_STATE = 1 << 18 };

/* One sequence's rows are not neighbours; heads that share keys or not, widths with ragged ends. */
static const mox_state_view shapes[] = {
    {.k_heads = 2, .v_heads = 4, .k_dim = 16, .v_dim = 16, .taps = 4},
    {.k_heads = 1, .v_heads = 3, .k_dim = 128, .v_dim = 64, .taps = 4},
    {.k_heads = 3, .v_heads = 3, .k_dim = 7, .v_dim = 93, .taps = 2},
    {.k_heads = 1, .v_heads = 1, .k_dim = 1, .v_dim = 1, .taps = 5},
    {.k_heads = 2, .v_heads = 2, .k_dim = 33, .v_dim = 129, .taps = 3},
};

/* One side: the CPU's memory or the device's. */
typedef struct side {
    mox_state_view state;
    float *x, *w, *ba, *a, *dt, *y, *decay, *beta, *out;
    mox_place *place;
    mox_state_step *step;
} side;

static float store[8][MAX_FLOATS], states[2][MAX_STATE], got[MAX_STATE];
static mox_place places[ROWS];
static mox_state_step steps[SEQS];

static mox_ops *cpu(void)
{
    static mox_ops *ops;
    if (!ops && mox_ops_cpu_create(&ops, fx_pool(1), MOX_ISA_SCALAR) != MOX_OK) {
        return NULL;
    }
    return ops;
}

static bool agrees(const float *far, const float *near, size_t n)
{
    device_get(got, far, n * sizeof *got);
    return memcmp(got, near, n * sizeof *got) == 0;
}

/* Rows [i, i + n) on both. */
static mox_err run_step(const side *s, uint32_t i, uint32_t n, bool device)
{
    const size_t c = mox_state_channels(&s->state), heads = s->state.v_heads;
    mox_conv_args conv = {.state = s->state, .step = s->step, .place = s->place + i};
    conv.x = s->x + i * c, conv.w = s->w, conv.y = s->y, conv.n = n;
    mox_delta_prepare_args prepare = {.state = s->state, .y = s->y, .ba = s->ba + i * 2 * heads};
    prepare.a = s->a, prepare.dt_bias = s->dt, prepare.decay = s->decay, prepare.beta = s->beta;
    prepare.eps = 1e-6F, prepare.n = n;
    mox_delta_rule_args rule = {.state = s->state, .step = s->step, .place = s->place + i, .y = s->y};
    rule.decay = s->decay, rule.beta = s->beta, rule.out = s->out, rule.n = n;
    mox_ops *o = device ? device_ops() : cpu();
    mox_stream *stream = device ? device_stream() : NULL;
    MOX_TRY(o->conv(o, stream, &conv));
    MOX_TRY(o->delta_prepare(o, stream, &prepare));
    return o->delta_rule(o, stream, &rule);
}

/* The next slots, for the sequences that these rows belong to. */
static void next_slots(uint32_t i, uint32_t n)
{
    for (uint32_t q = 0; q < SEQS; q++) {
        bool here = false;
        for (uint32_t j = i; j < i + n; j++) {
            here = here || places[j].seq == q;
        }
        if (here) {
            steps[q] = (mox_state_step){steps[q].to, (steps[q].to + 1) % SLOTS};
        }
    }
}

static void fill(const mox_state_view *v, size_t n_conv, size_t n_s, rng *r)
{
    const size_t c = mox_state_channels(v), heads = v->v_heads;
    const size_t counts[] = {ROWS * c, c * v->taps, ROWS * 2 * heads, heads, heads};
    for (int k = 0; k < 5; k++) {
        rng_fill(r, store[k], counts[k], FLAT);
    }
    for (size_t h = 0; h < heads; h++) {
        store[3][h] = -2.0F * fabsf(store[3][h]);
    }
    rng_fill(r, states[0], n_conv, FLAT);
    rng_fill(r, states[1], n_s, FLAT);
    uint32_t len[SEQS] = {0};
    for (uint32_t i = 0; i < ROWS; i++) {
        const uint32_t seq = i % 3 == 1;
        places[i] = (mox_place){.seq = seq, .pos = len[seq]++};
    }
    for (uint32_t q = 0; q < SEQS; q++) {
        steps[q] = (mox_state_step){0, 1};
    }
}

static const char *one_case(uint32_t shape, uint32_t most, rng *r)
{
    mox_state_view v = shapes[shape];
    v.n_seq = SEQS, v.n_slots = SLOTS;
    const size_t c = mox_state_channels(&v), heads = v.v_heads, values = heads * v.v_dim;
    const size_t n_conv = (size_t)SEQS * SLOTS * (v.taps - 1) * c, n_s = SEQS * SLOTS * values * v.k_dim;
    fill(&v, n_conv, n_s, r);
    side near = {v,        store[0], store[1],
                 store[2], store[3], store[4],
                 store[5], store[6], store[6] + ROWS * heads,
                 store[7], places,   steps};
    near.state.conv = states[0], near.state.s = states[1];
    side far = near;
    far.x = device_copy(near.x, ROWS * c * sizeof *got),
    far.w = device_copy(near.w, c * v.taps * sizeof *got);
    far.ba = device_copy(near.ba, ROWS * 2 * heads * sizeof *got);
    far.a = device_copy(near.a, heads * sizeof *got), far.dt = device_copy(near.dt, heads * sizeof *got);
    far.y = device_new(ROWS * c * sizeof *got), far.out = device_new(ROWS * values * sizeof *got);
    far.decay = device_new(ROWS * heads * sizeof *got), far.beta = device_new(ROWS * heads * sizeof *got);
    far.place = device_copy(places, sizeof places);
    far.state.conv = device_copy(states[0], n_conv * sizeof *got);
    far.state.s = device_copy(states[1], n_s * sizeof *got);
    for (uint32_t i = 0; i < ROWS; i += most) {
        const uint32_t n = ROWS - i < most ? ROWS - i : most;
        far.step = device_copy(steps, sizeof steps);
        if (run_step(&near, i, n, false) != MOX_OK || run_step(&far, i, n, true) != MOX_OK ||
            !agrees(far.y, near.y, n * c) || !agrees(far.out, near.out, n * values)) {
            return sweep_differs("delta: shape %u, rows from %u, %u at a time", shape, i, most);
        }
        next_slots(i, n);
    }
    return agrees(far.state.conv, states[0], n_conv) && agrees(far.state.s, states[1], n_s)
               ? NULL
               : sweep_differs("delta: the states of shape %u, %u rows at a time", shape, most);
}

const char *sweep_delta(void)
{
    static const uint32_t most[] = {1, 5, ROWS};
    rng r = {41};
    for (uint32_t i = 0; i < sizeof shapes / sizeof *shapes; i += sweep_step(2)) {
        for (uint32_t k = 0; k < 3; k += sweep_step(2)) {
            const char *bad = cpu() ? one_case(i, most[k], &r) : sweep_differs("delta: no table of the CPU");
            if (bad) {
                return bad;
            }
        }
    }
    return NULL;
}
