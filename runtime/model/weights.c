/* Dense weights: their places in the arena. load_dense.c reads them. */
#include "runtime/core/bits.h"
#include "runtime/model/model.h"

#include <stdlib.h>
#include <string.h>

void mox_model_take_weight(mox_weight *w, mox_arena *a)
{
    if (w->as_f32) {
        w->f32 = mox_arena_take(a, (size_t)w->rows * w->cols * sizeof(float), 64);
    } else if (w->parts) {
        uint32_t rows = w->rows / w->parts;
        size_t each = mox_mat_bytes(w->type, rows, w->cols);
        uint8_t *p = mox_arena_take(a, w->parts * each, 64);
        for (uint32_t k = 0; k < w->parts; k++) {
            w->part[k] = mox_mat_dense(w->type, rows, w->cols, p ? p + k * each : NULL);
        }
    } else {
        void *p = mox_arena_take(a, mox_mat_bytes(w->type, w->rows, w->cols), 64);
        w->mat = mox_mat_dense(w->type, w->rows, w->cols, p);
    }
}

size_t mox_model_weight_bytes(mox_weight *w)
{
    mox_arena a = mox_arena_plan();
    mox_model_take_weight(w, &a);
    return mox_round_up(a.used, 64);
}

void mox_model_take_dense(mox_model *m, mox_arena *a)
{
    for (uint32_t i = 0; i < m->n_weights; i++) {
        mox_model_take_weight(&m->weights[i], a);
    }
}

uint32_t mox_weight_layer(const mox_weight *w)
{
    return strncmp(w->name, "blk.", 4) == 0 ? (uint32_t)strtoul(w->name + 4, NULL, 10) : UINT32_MAX;
}
