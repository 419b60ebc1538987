/* The short convolution in front of a gated delta net: each channel by itself, over the last few positions of its
 * sequence. Products and sums are rounded one by one and silu is the table's, so any cut over channels and any compiler
 * give the same bits. Inputs of positions before the step come from the slot that the step reads; the last of the step go
 * into the other one. */
#include "kernels/vec.h"

#include <string.h>

enum { BLOCK = 256, MAX_TAPS = 16 };

typedef struct conv_job {
    const mox_vec *vec;
    const mox_conv_args *a;
    size_t channels;
} conv_job;

static float *state_row(const conv_job *job, uint32_t seq, uint32_t slot, uint32_t pos)
{
    const mox_state_view *v = &job->a->state;
    const uint32_t kept = v->taps - 1;
    return v->conv + (((size_t)seq * v->n_slots + slot) * kept + pos % kept) * job->channels;
}

/* The input `back` positions before row i of its sequence; NULL: before its beginning. */
static const float *input(const conv_job *job, uint32_t i, uint32_t back)
{
    const mox_conv_args *a = job->a;
    const mox_place at = a->place[i];
    if (back > at.pos) {
        return NULL;
    }
    uint32_t row = i, left = back;
    while (left > 0 && row > 0) {
        row--;
        left -= a->place[row].seq == at.seq;
    }
    return left == 0 ? a->x + row * job->channels
                     : state_row(job, at.seq, a->step[at.seq].from, at.pos - back);
}

/* Channels [c0, c0 + n) of row i. */
static void conv_row(const conv_job *job, uint32_t i, uint32_t c0, uint32_t n)
{
    static const float zeros[BLOCK] = {0};
    const mox_conv_args *a = job->a;
    const uint32_t taps = a->state.taps;
    float sum[BLOCK], ones[BLOCK];
    for (uint32_t t = 0; t < taps; t++) {
        const float *x = input(job, i, taps - 1 - t), *w = a->w + (size_t)c0 * taps + t;
        x = x != NULL ? x + c0 : zeros;
        for (uint32_t c = 0; t == 0 && c < n; c++) {
            sum[c] = w[(size_t)c * taps] * x[c];
            ones[c] = 1.0f;
        }
        for (uint32_t c = 0; t != 0 && c < n; c++) {
            const float p = w[(size_t)c * taps] * x[c];
            sum[c] = sum[c] + p;
        }
    }
    job->vec->swiglu(sum, ones, a->y + i * job->channels + c0, n);
}

/* Is there no later row of the same sequence? */
static bool is_last(const mox_conv_args *a, uint32_t i)
{
    for (uint32_t j = i + 1; j < a->n; j++) {
        if (a->place[j].seq == a->place[i].seq) {
            return false;
        }
    }
    return true;
}

static void keep_inputs(const conv_job *job, uint32_t i, uint32_t c0, uint32_t n)
{
    const mox_conv_args *a = job->a;
    const mox_place at = a->place[i];
    for (uint32_t back = 0; back + 1 < a->state.taps && back <= at.pos; back++) {
        const float *x = input(job, i, back);
        memcpy(state_row(job, at.seq, a->step[at.seq].to, at.pos - back) + c0, x + c0, n * sizeof *x);
    }
}

static void conv_blocks(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    const conv_job *job = arg;
    (void)worker;
    for (uint32_t b = begin; b < end; b++) {
        const uint32_t c0 = b * BLOCK, left = (uint32_t)job->channels - c0, n = left < BLOCK ? left : BLOCK;
        for (uint32_t i = 0; i < job->a->n; i++) {
            conv_row(job, i, c0, n);
            if (is_last(job->a, i)) {
                keep_inputs(job, i, c0, n);
            }
        }
    }
}

mox_err mox_conv_cpu(mox_pool *pool, const mox_vec *vec, const mox_conv_args *a)
{
    conv_job job = {.vec = vec, .a = a, .channels = mox_state_channels(&a->state)};
    if (a->state.taps < 2 || a->state.taps > MAX_TAPS) {
        return MOX_FAIL(MOX_E_ARG, "a convolution of %u taps: 2 to %d are possible", a->state.taps, MAX_TAPS);
    }
    mox_pool_for(pool, (uint32_t)((job.channels + BLOCK - 1) / BLOCK), 1, conv_blocks, &job);
    return MOX_OK;
}
