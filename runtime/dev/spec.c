/* The text of `--device` to its meaning (spec.h). One table of keys; values are numbers, sizes or words of a list. */
#include "runtime/dev/spec.h"

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum { MAX_DEVICES = 16 };

static const char *const kinds[MOX_DEV_KINDS] = {"cpu", "cuda", "emu"};
static const char *const policies[] = {"lazy", "eager", "random", NULL};
static const char *const orders[] = {"up", "down", "shuffled", NULL};

/* A piece of the text, not ended by a zero. */
typedef struct piece {
    const char *at;
    size_t n;
} piece;

static bool is(piece p, const char *word)
{
    return strlen(word) == p.n && memcmp(p.at, word, p.n) == 0;
}

static mox_err wrong(piece key, piece value, const char *possible)
{
    (void)MOX_FAIL(MOX_E_OPTION, "--device: %.*s=%.*s", (int)key.n, key.at, (int)value.n, value.at);
    return mox_err_fix("%.*s takes %s", (int)key.n, key.at, possible);
}

/* Digits, and behind them a unit where `sizes`. */
static bool read_number(piece v, bool sizes, uint64_t *out)
{
    static const char units[] = "KMGT";
    uint64_t x = 0;
    size_t i = 0;
    for (; i < v.n && isdigit((unsigned char)v.at[i]); i++) {
        const uint64_t digit = (uint64_t)(v.at[i] - '0');
        if (x > (UINT64_MAX - digit) / 10) {
            return false;
        }
        x = x * 10 + digit;
    }
    if (i == 0) {
        return false;
    }
    const char *unit = sizes && i + 1 == v.n ? memchr(units, toupper((unsigned char)v.at[i]), 4) : NULL;
    if (unit != NULL) {
        const int shift = 10 * (int)(unit - units + 1);
        if (x > UINT64_MAX >> shift) {
            return false;
        }
        x <<= shift;
        i++;
    }
    *out = x;
    return i == v.n;
}

static bool read_word(piece v, const char *const *words, int *out)
{
    for (int i = 0; words[i] != NULL; i++) {
        if (is(v, words[i])) {
            *out = i;
            return true;
        }
    }
    return false;
}

/* CALL@N */
static bool read_fail(piece v, mox_dev_spec *s)
{
    const char *at = memchr(v.at, '@', v.n);
    if (at == NULL || at == v.at || (size_t)(at - v.at) >= sizeof s->fail_call) {
        return false;
    }
    const size_t name = (size_t)(at - v.at);
    memcpy(s->fail_call, v.at, name);
    s->fail_call[name] = '\0';
    return read_number((piece){at + 1, v.n - name - 1}, false, &s->fail_at) && s->fail_at > 0;
}

static mox_err read_emu_key(mox_dev_spec *s, piece key, piece value)
{
    uint64_t x = 0;
    int word = 0;
    if (is(key, "policy")) {
        if (!read_word(value, policies, &word)) {
            return wrong(key, value, "lazy, eager or random");
        }
        s->policy = (mox_dev_policy)word;
    } else if (is(key, "order")) {
        if (!read_word(value, orders, &word)) {
            return wrong(key, value, "up, down or shuffled");
        }
        s->order = (mox_dev_order)word;
    } else if (is(key, "seed")) {
        if (!read_number(value, false, &s->seed)) {
            return wrong(key, value, "a number");
        }
    } else if (is(key, "sm")) {
        if (!read_number(value, false, &x) || x < 75 || x > 999) {
            return wrong(key, value, "a compute capability from 75 on");
        }
        s->sm = (uint32_t)x;
    } else if (is(key, "fail")) {
        return read_fail(value, s) ? MOX_OK : wrong(key, value, "CALL@N, N from 1 on");
    } else {
        (void)MOX_FAIL(MOX_E_OPTION, "--device: unknown key '%.*s'", (int)key.n, key.at);
        return mox_err_fix("emu has n, vram, policy, seed, order, sm and fail");
    }
    return MOX_OK;
}

static mox_err read_key(mox_dev_spec *s, piece key, piece value)
{
    uint64_t x = 0;
    if (is(key, "n")) {
        if (!read_number(value, false, &x) || x == 0 || x > MAX_DEVICES) {
            return wrong(key, value, "a number of GPUs from 1 to 16");
        }
        s->n = (uint32_t)x;
        return MOX_OK;
    }
    if (is(key, "vram")) {
        return read_number(value, true, &s->vram) && s->vram > 0 ? MOX_OK
                                                                 : wrong(key, value, "a size such as 8G");
    }
    if (s->kind != MOX_DEV_EMU) {
        (void)MOX_FAIL(MOX_E_OPTION, "--device: unknown key '%.*s'", (int)key.n, key.at);
        return mox_err_fix("%s has n and vram", kinds[s->kind]);
    }
    return read_emu_key(s, key, value);
}

mox_err mox_dev_spec_parse(mox_dev_spec *out, const char *text)
{
    mox_dev_spec s = {.seed = 1, .sm = 80};
    const char *colon = strchr(text, ':');
    const piece name = {text, colon ? (size_t)(colon - text) : strlen(text)};
    while (s.kind < MOX_DEV_KINDS && !is(name, kinds[s.kind])) {
        s.kind++;
    }
    if (s.kind == MOX_DEV_KINDS) {
        (void)MOX_FAIL(MOX_E_OPTION, "--device: '%.100s'", text);
        return mox_err_fix("cpu, cuda[:n=N,vram=SIZE], emu[:n=N,vram=SIZE] or cpu:vram=SIZE[,n=N]");
    }
    for (const char *at = colon ? colon + 1 : NULL; at != NULL;) {
        const size_t n = strcspn(at, ",");
        const char *equals = memchr(at, '=', n);
        if (equals == NULL) {
            (void)MOX_FAIL(MOX_E_OPTION, "--device: '%.*s' is no key=value", (int)n, at);
            return mox_err_fix("for example %s:n=1,vram=8G", kinds[s.kind]);
        }
        const size_t key = (size_t)(equals - at);
        MOX_TRY(read_key(&s, (piece){at, key}, (piece){equals + 1, n - key - 1}));
        at = at[n] != '\0' ? at + n + 1 : NULL;
    }
    if (s.kind == MOX_DEV_CPU && s.n != 0 && s.vram == 0) {
        (void)MOX_FAIL(MOX_E_OPTION, "--device: '%.100s': how much memory have the GPUs that the CPU plays?",
                       text);
        return mox_err_fix("for example cpu:vram=1G,n=%u", s.n);
    }
    *out = s;
    return MOX_OK;
}

const char *mox_dev_kind_name(mox_dev_kind kind)
{
    return kinds[kind];
}
