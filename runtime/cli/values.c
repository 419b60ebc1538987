/* Values of options: one parser per kind, from the user's notation into a field of mox_opts. */
#include "runtime/cli/near.h"
#include "runtime/cli/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mox_err bad_value(const mox_option *opt, const char *value, const char *why)
{
    mox_err err = MOX_FAIL(MOX_E_OPTION, "--%s %.80s: %s", opt->name, value, why);
    if (opt->argument != NULL) {
        mox_err_fix("--%s %s", opt->name, opt->argument);
    }
    return err;
}

mox_err mox_parse_size(const char *what, const char *s, uint64_t *out)
{
    char *end = NULL;
    errno = 0;
    double v = (s[0] >= '0' && s[0] <= '9') ? strtod(s, &end) : -1;
    if (v < 0 || !isfinite(v) || errno != 0) {
        return MOX_FAIL(MOX_E_OPTION, "--%s %.80s: not a size", what, s);
    }
    static const char units[] = "KMGTP";
    const char *unit = *end >= 'A' ? strchr(units, *end & ~0x20) : NULL;
    if (*end == '\0') {
        mox_err err = MOX_FAIL(MOX_E_OPTION, "--%s %.80s: bytes need a unit", what, s);
        mox_err_fix("--%s %.40sM   or   --%s %.40sG", what, s, what, s);
        return err;
    }
    if (unit == NULL || (end[1] != '\0' && strcmp(end + 1, "iB") != 0)) {
        mox_err err = MOX_FAIL(MOX_E_OPTION, "--%s %.80s: unknown unit %.20s", what, s, end);
        mox_err_fix("--%s 512M, 12G or 1.5GiB (K, M, G, T are powers of 1024)", what);
        return err;
    }
    double bytes = ldexp(v, 10 * (int)(unit - units + 1));
    if (bytes >= 9e18) {
        return MOX_FAIL(MOX_E_OPTION, "--%s %.80s: more than can be addressed", what, s);
    }
    *out = (uint64_t)bytes;
    return MOX_OK;
}

/* A percentage "40%": true and *pct set; false when s has no percent sign at its end. */
static bool parse_pct(const char *s, double *pct)
{
    char *end = NULL;
    if (s[0] < '0' || s[0] > '9') {
        return false;
    }
    *pct = strtod(s, &end);
    return end[0] == '%' && end[1] == '\0';
}

static mox_err parse_count(const mox_option *opt, const char *s, double lo, double hi, uint64_t *out)
{
    char *end = NULL;
    errno = 0;
    unsigned long long v = (s[0] >= '0' && s[0] <= '9') ? strtoull(s, &end, 10) : 0;
    if (end == NULL || *end != '\0' || errno != 0) {
        return bad_value(opt, s, "not a whole number");
    }
    if ((double)v < lo || (double)v > hi) {
        char why[96];
        snprintf(why, sizeof why, "outside %.0f .. %.0f", lo, hi);
        return bad_value(opt, s, why);
    }
    *out = v;
    return MOX_OK;
}

static mox_err parse_budget(const mox_option *opt, const char *s, mox_budget *out)
{
    mox_budget b = {.kind = MOX_BUDGET_BYTES};
    if (strcmp(s, "auto") == 0 || strcmp(s, "min") == 0) {
        b.kind = s[0] == 'a' ? MOX_BUDGET_AUTO : MOX_BUDGET_MIN;
    } else if (parse_pct(s, &b.pct)) {
        b.kind = MOX_BUDGET_PCT;
        if (!(b.pct > 0 && b.pct <= 100)) {
            return bad_value(opt, s, "outside 0 .. 100%");
        }
    } else {
        MOX_TRY(mox_parse_size(opt->name, s, &b.bytes));
    }
    *out = b;
    return MOX_OK;
}

static mox_err parse_experts(const mox_option *opt, const char *s, mox_budget *out)
{
    mox_budget b = {.kind = MOX_BUDGET_EXPERTS};
    if (parse_pct(s, &b.pct)) {
        b.kind = MOX_BUDGET_EXPERTS_PCT;
        if (b.pct > 100) {
            return bad_value(opt, s, "outside 0 .. 100%");
        }
    } else {
        uint64_t n = 0;
        MOX_TRY(parse_count(opt, s, 0, UINT32_MAX, &n));
        b.experts = (uint32_t)n;
    }
    *out = b;
    return MOX_OK;
}

static mox_err parse_counts(const mox_option *opt, const char *s, mox_counts *out)
{
    mox_counts list = {.n = 0};
    while (*s != '\0') {
        size_t n = strcspn(s, ",");
        char item[24];
        snprintf(item, sizeof item, "%.*s", (int)(n < sizeof item ? n : sizeof item - 1), s);
        uint64_t v = 0;
        MOX_TRY(parse_count(opt, item, opt->lo, opt->hi, &v));
        if (list.n == MOX_MAX_COUNTS) {
            return bad_value(opt, s, "more than 16 values");
        }
        list.v[list.n++] = (uint32_t)v;
        s += n + (s[n] == ',');
    }
    *out = list;
    return MOX_OK;
}

static mox_err parse_real(const mox_option *opt, const char *s, double lo, double hi, float *out)
{
    char *end = NULL;
    double v = strtod(s, &end);
    if (end == s || *end != '\0' || !(v >= lo && v <= hi)) {
        char why[96];
        snprintf(why, sizeof why, "not a number in %g .. %g", lo, hi);
        return bad_value(opt, s, why);
    }
    *out = (float)v;
    return MOX_OK;
}

/* "17=-2.5,29=1" */
static mox_err parse_bias(const mox_option *opt, const char *s, mox_sampling *out)
{
    out->n_bias = 0;
    while (*s != '\0') {
        size_t n = strcspn(s, ","), n_id = strcspn(s, "=,");
        char item[64];
        uint64_t id = 0;
        if (n >= sizeof item || n_id >= n) {
            return bad_value(opt, s, "not a list of ID=X");
        }
        if (out->n_bias == MOX_BIAS_MAX) {
            return bad_value(opt, s, "more than 64 tokens");
        }
        mox_bias *b = &out->bias[out->n_bias++];
        snprintf(item, sizeof item, "%.*s", (int)n_id, s);
        MOX_TRY(parse_count(opt, item, 0, UINT32_MAX, &id));
        b->id = (uint32_t)id;
        snprintf(item, sizeof item, "%.*s", (int)(n - n_id - 1), s + n_id + 1);
        MOX_TRY(parse_real(opt, item, -1e4, 1e4, &b->add));
        s += n + (s[n] == ',');
    }
    return MOX_OK;
}

static mox_err parse_text(const mox_option *opt, const char *s, mox_texts *out)
{
    if (s[0] == '\0') {
        return bad_value(opt, s, "an empty text");
    }
    if (out->n == sizeof out->v / sizeof *out->v) {
        return bad_value(opt, s, "more than 8 of them");
    }
    out->v[out->n++] = s;
    return MOX_OK;
}

static const mox_choice *find_choice(const mox_option *opt, const char *s)
{
    for (const mox_choice *c = opt->choices; c != NULL && c->name != NULL; c++) {
        if (strcmp(c->name, s) == 0) {
            return c;
        }
    }
    return NULL;
}

static mox_err bad_choice(const mox_option *opt, const char *s)
{
    mox_near near = {.typed = s};
    char why[96];
    for (const mox_choice *c = opt->choices; c->name != NULL; c++) {
        mox_near_try(&near, c->name);
    }
    snprintf(why, sizeof why, "not one of the choices%s%s%s", near.name != NULL ? "; did you mean " : "",
             near.name != NULL ? near.name : "", near.name != NULL ? "?" : "");
    return bad_value(opt, s, why);
}

/* Flags take a value in the environment, in a configuration file, and behind "=". */
static mox_err parse_flag(const mox_option *opt, const char *s, bool *out)
{
    static const char *const words[2][3] = {{"off", "false", "0"}, {"on", "true", "1"}};
    for (size_t i = 0; i < 6; i++) {
        if (strcmp(words[i / 3][i % 3], s) == 0) {
            *out = i / 3 == 1;
            return MOX_OK;
        }
    }
    return bad_value(opt, s, "a flag is on or off");
}

mox_err mox_option_store(const mox_option *opt, const char *s, mox_opts *o)
{
    void *at = (char *)o + opt->field;
    const mox_choice *choice = find_choice(opt, s);
    uint64_t n = 0;
    switch (opt->kind) {
    case MOX_OPT_FLAG:
        return parse_flag(opt, s, (bool *)at);
    case MOX_OPT_COUNT:
        if (choice == NULL) {
            MOX_TRY(parse_count(opt, s, opt->lo, opt->hi, &n));
        }
        *(uint32_t *)at = choice != NULL ? (uint32_t)choice->value : (uint32_t)n;
        return MOX_OK;
    case MOX_OPT_NUMBER:
        return parse_count(opt, s, 0, 1.8e19, (uint64_t *)at);
    case MOX_OPT_REAL:
        if (choice != NULL) {
            *(float *)at = (float)choice->value;
            return MOX_OK;
        }
        return parse_real(opt, s, opt->lo, opt->hi, (float *)at);
    case MOX_OPT_TEXT:
        *(const char **)at = s;
        return MOX_OK;
    case MOX_OPT_NAME:
    case MOX_OPT_CHOICE:
    case MOX_OPT_SWITCH:
        if (choice == NULL) {
            return bad_choice(opt, s);
        }
        if (opt->kind == MOX_OPT_NAME) {
            *(const char **)at = choice->name;
        } else if (opt->kind == MOX_OPT_SWITCH) {
            *(bool *)at = choice->value != 0;
        } else {
            memcpy(at, &choice->value, sizeof choice->value); /* an enum of int's size */
        }
        return MOX_OK;
    case MOX_OPT_SIZE:
        MOX_TRY(mox_parse_size(opt->name, s, &n));
        if ((double)n < opt->lo) {
            return bad_value(opt, s, "nothing can be done with so little");
        }
        *(uint64_t *)at = n;
        return MOX_OK;
    case MOX_OPT_BUDGET:
        return parse_budget(opt, s, (mox_budget *)at);
    case MOX_OPT_EXPERTS:
        return parse_experts(opt, s, (mox_budget *)at);
    case MOX_OPT_COUNTS:
        return parse_counts(opt, s, (mox_counts *)at);
    case MOX_OPT_LIST:
        return parse_text(opt, s, (mox_texts *)at);
    case MOX_OPT_BIAS:
        return parse_bias(opt, s, (mox_sampling *)at);
    }
    return MOX_FAIL(MOX_E_INTERNAL, "option --%s has no parser", opt->name);
}
