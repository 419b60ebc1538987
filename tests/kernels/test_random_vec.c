/* Every vector function of every instruction set against the twin, on random lengths and contents: rows of
 * zeros, denormals and huge numbers beside ordinary ones. Equal bits are wanted, infinities included; where
 * the twin has a NaN any NaN will do. */
#include "kernels/test_random.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { INPUTS = RND_COUNT(600), N_MAX = 2304, KEYS_MAX = 300, HEAD_MAX = 160, RANKS_MAX = 9 };

/* One input of a function; false if the table differs from the twin. */
typedef bool check_fn(const mox_vec *vec, uint64_t *s);

static float xs[N_MAX], ys[N_MAX * RANKS_MAX], want_f[N_MAX], got_f[N_MAX];

static void check(const char *what, check_fn *fn)
{
    printf("%-10s %5d inputs equal to the twin on", what, INPUTS);
    for (mox_isa isa = MOX_ISA_SCALAR; isa < MOX_ISA_COUNT; isa++) {
        for (uint64_t i = 0; mox_isa_present(isa) && i < INPUTS; i++) {
            uint64_t s = 982451653 * i + 1;
            cr_assert(fn(mox_vec_of(isa), &s), "%s differs on %s, input %llu", what, mox_isa_name(isa),
                      (unsigned long long)i);
        }
        printf("%s%s", mox_isa_present(isa) ? " " : "", mox_isa_present(isa) ? mox_isa_name(isa) : "");
    }
    printf("\n");
    fflush(stdout);
}

static uint32_t any_length(uint64_t *s, uint32_t max)
{
    return 1 + fx_below(s, fx_below(s, 2) && max > 70 ? 70 : max);
}

static bool check_dot(const mox_vec *vec, uint64_t *s)
{
    uint32_t n = any_length(s, N_MAX);
    rnd_floats(s, xs, n, fx_below(s, RND_ROWS));
    rnd_floats(s, ys, n, fx_below(s, RND_ROWS));
    float want = mox_vec_ref.dot(xs, ys, n), got = vec->dot(xs, ys, n);
    return fx_same(&want, &got, 1);
}

static bool check_softmax(const mox_vec *vec, uint64_t *s)
{
    uint32_t n = any_length(s, MOX_REDUCE_CHUNK);
    rnd_floats(s, want_f, n, fx_below(s, RND_ROWS));
    float m = want_f[0];
    for (uint32_t i = 0; i < n; i++) {
        m = fmaxf(m, want_f[i]);
    }
    memcpy(got_f, want_f, n * sizeof *got_f);
    float want = mox_vec_ref.softmax(want_f, n, m), got = vec->softmax(got_f, n, m);
    return fx_same(&want, &got, 1) && fx_same(want_f, got_f, n);
}

static bool check_quantize(const mox_vec *vec, uint64_t *s)
{
    static mox_act_k k[2][N_MAX / MOX_BLOCK];
    static mox_act_b b[2][N_MAX / MOX_BLOCK];
    uint32_t n = any_length(s, N_MAX);
    rnd_floats(s, xs, n, fx_below(s, RND_ROWS));
    bool finite = fx_below(s, 8) != 0;
    if (!finite) {
        static const float bad[] = {NAN, INFINITY, -INFINITY};
        xs[fx_below(s, n)] = bad[fx_below(s, 3)];
    }
    memset(k, 0x55, sizeof k); /* what is not part of the row must be written the same or not at all */
    memset(b, 0x55, sizeof b);
    bool same = mox_vec_ref.quantize_k(xs, n, k[0]) == finite && vec->quantize_k(xs, n, k[1]) == finite &&
                mox_vec_ref.quantize_b(xs, n, b[0]) == finite && vec->quantize_b(xs, n, b[1]) == finite;
    return same &&
           (!finite || (memcmp(k[0], k[1], sizeof k[0]) == 0 && memcmp(b[0], b[1], sizeof b[0]) == 0));
}

static bool check_swiglu(const mox_vec *vec, uint64_t *s)
{
    uint32_t n = any_length(s, N_MAX);
    rnd_floats(s, xs, n, fx_below(s, RND_ROWS));
    rnd_floats(s, ys, n, fx_below(s, RND_ROWS));
    mox_vec_ref.swiglu(xs, ys, want_f, n);
    vec->swiglu(xs, ys, got_f, n);
    bool same = fx_same(want_f, got_f, n);
    vec->swiglu(xs, ys, xs, n); /* in place on the gate */
    return same && fx_same(want_f, xs, n);
}

static bool check_merge(const mox_vec *vec, uint64_t *s)
{
    uint32_t d = any_length(s, N_MAX), k = 1 + fx_below(s, RANKS_MAX);
    float w[RANKS_MAX];
    rnd_floats(s, xs, d, fx_below(s, RND_ROWS));
    rnd_floats(s, ys, d * k, fx_below(s, RND_ROWS));
    rnd_floats(s, w, k, RND_WIDE);
    mox_vec_ref.merge(ys, d, w, k, xs, want_f, d);
    vec->merge(ys, d, w, k, xs, got_f, d);
    bool same = fx_same(want_f, got_f, d);
    vec->merge(ys, d, w, k, xs, xs, d); /* in place on the residual */
    return same && fx_same(want_f, xs, d);
}

static bool check_combine(const mox_vec *vec, uint64_t *s)
{
    uint32_t n = any_length(s, N_MAX);
    rnd_floats(s, want_f, n, fx_below(s, RND_ROWS));
    rnd_floats(s, ys, n, fx_below(s, RND_ROWS));
    memcpy(got_f, want_f, n * sizeof *got_f);
    float a = rnd_float(s, RND_MIXED), b = rnd_float(s, RND_MIXED);
    mox_vec_ref.combine(want_f, a, ys, b, n);
    vec->combine(got_f, a, ys, b, n);
    return fx_same(want_f, got_f, n);
}

/* Stores n rows by both; rows that do not fit the type are refused by both and become zeros. */
static bool stored_alike(const mox_vec *vec, mox_kv_type type, uint32_t n, uint32_t head_dim, uint8_t *want,
                         uint8_t *got, uint64_t *s)
{
    size_t row_bytes = mox_kv_row_bytes(type, head_dim);
    float x[HEAD_MAX];
    for (uint32_t t = 0; t < n; t++) {
        uint8_t *w = want + t * row_bytes, *g = got + t * row_bytes;
        rnd_floats(s, x, head_dim, fx_below(s, RND_ROWS));
        bool fits = mox_vec_ref.kv_store[type](x, head_dim, w);
        if (vec->kv_store[type](x, head_dim, g) != fits || (fits && memcmp(w, g, row_bytes) != 0)) {
            return false;
        }
        if (!fits) {
            memset(x, 0, sizeof x);
            (void)mox_vec_ref.kv_store[type](x, head_dim, w);
        }
    }
    return true;
}

static bool check_kv(mox_kv_type type, const mox_vec *vec, uint64_t *s)
{
    static uint8_t rows[2][KEYS_MAX * HEAD_MAX * 4];
    float q[HEAD_MAX], p[KEYS_MAX], want_s[KEYS_MAX], got_s[KEYS_MAX], want_o[HEAD_MAX], got_o[HEAD_MAX];
    uint32_t step = type == MOX_KV_Q8_0 ? 32 : 1;
    uint32_t head_dim = step * (1 + fx_below(s, HEAD_MAX / step));
    uint32_t n = 1 + fx_below(s, fx_below(s, 4) == 0 ? MOX_KEY_CHUNK : 24);
    size_t row_bytes = mox_kv_row_bytes(type, head_dim);
    if (!stored_alike(vec, type, n, head_dim, rows[0], rows[1], s)) {
        return false;
    }
    float scale = rnd_float(s, RND_WIDE);
    rnd_floats(s, q, head_dim, fx_below(s, RND_ROWS));
    rnd_floats(s, p, n, fx_below(s, RND_ROWS));
    float want = mox_vec_ref.scores[type](q, rows[0], row_bytes, n, head_dim, scale, want_s);
    float got = vec->scores[type](q, rows[0], row_bytes, n, head_dim, scale, got_s);
    mox_vec_ref.values[type](p, rows[0], row_bytes, n, head_dim, want_o);
    vec->values[type](p, rows[0], row_bytes, n, head_dim, got_o);
    bool ordered = true; /* the largest of scores with a NaN among them is nobody's */
    for (uint32_t i = 0; i < n; i++) {
        ordered = ordered && !isnan(want_s[i]);
    }
    return fx_same(want_s, got_s, n) && (!ordered || want == got) && fx_same(want_o, got_o, head_dim);
}

#define KV_TYPE(name, type)                                                                                  \
    static bool check_kv_##name(const mox_vec *vec, uint64_t *s)                                             \
    {                                                                                                        \
        return check_kv(type, vec, s);                                                                       \
    }
KV_TYPE(f16, MOX_KV_F16)
KV_TYPE(q8_0, MOX_KV_Q8_0)
KV_TYPE(f32, MOX_KV_F32)

Test(random_vec, reductions)
{
    check("dot", check_dot);
    check("softmax", check_softmax);
}

Test(random_vec, quantize)
{
    check("quantize", check_quantize);
}

Test(random_vec, element_by_element)
{
    check("swiglu", check_swiglu);
    check("merge", check_merge);
    check("combine", check_combine);
}

Test(random_vec, store_scores_and_values)
{
    check("kv f16", check_kv_f16);
    check("kv q8_0", check_kv_q8_0);
    check("kv f32", check_kv_f32);
}
