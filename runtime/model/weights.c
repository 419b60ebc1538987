/* Dense weights: their places in the arena. load_dense.c reads them. */
#include "runtime/model/model.h"

void mox_model_take_dense(mox_model *m, mox_arena *a)
{
    for (uint32_t i = 0; i < m->n_weights; i++) {
        mox_weight *w = &m->weights[i];
        if (w->as_f32) {
            w->f32 = mox_arena_take(a, (size_t)w->rows * w->cols * sizeof(float), 64);
        } else {
            void *p = mox_arena_take(a, mox_mat_bytes(w->type, w->rows, w->cols), 64);
            w->mat = mox_mat_dense(w->type, w->rows, w->cols, p);
        }
    }
}
