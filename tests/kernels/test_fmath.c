/* exp and silu against double precision, over the whole range. */
#include "kernels/fmath.h"

#include <criterion/criterion.h>
#include <math.h>

/* Distance in units of the last place of the exact result (denormal unit below 2^-126). */
static double ulps(float got, double exact)
{
    int e;
    frexp(exact, &e);
    return fabs((double)got - exact) / ldexp(1.0, (e < -125 ? -125 : e) - 24);
}

static double worst_exp(float from, float to, double *at)
{
    double worst = 0;
    const int n = 2000000;
    for (int i = 0; i <= n; i++) {
        const float x = from + (to - from) * (float)((double)i / n);
        const double u = ulps(mox_expf(x), exp((double)x));
        if (u > worst) {
            worst = u;
            *at = x;
        }
    }
    return worst;
}

Test(fmath, exp_is_within_one_unit_in_the_last_place)
{
    double at = 0;
    const double normal = worst_exp(-87.3f, 88.72f, &at);
    cr_assert_lt(normal, 1.0, "%.3f ulp at %a", normal, at);
    const double close = worst_exp(-1.0f, 1.0f, &at);
    cr_assert_lt(close, 1.0, "%.3f ulp at %a", close, at);
    const double denormal = worst_exp(-103.9f, -87.3f, &at);
    cr_assert_lt(denormal, 1.0, "%.3f ulp at %a", denormal, at);
}

Test(fmath, exp_at_its_ends)
{
    cr_assert_eq(mox_expf(0.0f), 1.0f);
    cr_assert_eq(mox_expf(-0.0f), 1.0f);
    cr_assert_eq(mox_expf(-104.0f), 0.0f);
    cr_assert_eq(mox_expf(-1e30f), 0.0f);
    cr_assert_eq(mox_expf(-INFINITY), 0.0f);
    cr_assert(isinf(mox_expf(88.73f)) && isinf(mox_expf(1e30f)) && isinf(mox_expf(INFINITY)));
    cr_assert(isfinite(mox_expf(88.72f)));
    cr_assert(isnan(mox_expf(NAN)));
}

Test(fmath, exp_never_falls)
{
    float last = 0.0f;
    for (int i = -4200000; i <= 3600000; i++) { /* steps of 2.5e-5 */
        const float e = mox_expf((float)i * 2.5e-5f);
        cr_assert_geq(e, last, "at %d", i);
        last = e;
    }
}

Test(fmath, silu_is_within_three_units)
{
    double worst = 0;
    for (int i = -870000; i <= 870000; i++) {
        const float x = (float)i * 1e-4f;
        if (x != 0.0f) {
            worst = fmax(worst, ulps(mox_siluf(x), x / (1.0 + exp(-(double)x))));
        }
    }
    cr_assert_lt(worst, 3.0, "%.3f ulp", worst);
    cr_assert_eq(mox_siluf(0.0f), 0.0f);
    cr_assert_eq(mox_siluf(-200.0f), 0.0f); /* e^200 is infinite; the product goes to zero as it should */
    cr_assert_eq(mox_siluf(200.0f), 200.0f);
    cr_assert_eq(mox_sigmoidf(0.0f), 0.5f);
}
