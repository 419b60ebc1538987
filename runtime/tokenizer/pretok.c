/* Regular expressions for the pre-tokenizers: the one file that uses PCRE2.
 *
 * Compiled at open, to machine code where the system allows it. Matching must not allocate, so PCRE2 gets an allocator of
 * our own that hands out the caller's work memory; what it may take for backtracking is limited to what is there, and
 * its steps to a multiple of the text's length: the patterns are ours, the text is anybody's. Text reaches PCRE2 as valid
 * UTF-8 only, checked once: its own check would run again for each match, over all that is left.
 */
#include "pretok.h"

#ifndef MOXIE_MINIMAL

#include "runtime/core/bits.h"
#include "runtime/gguf/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

enum {
    ALIGN = 16,
    FRAMES_KIB = 96,            /* for backtracking, without machine code; PCRE2 begins with 20 and doubles */
    WORK_BYTES = 2 * 1024 * 96, /* blocks it has outgrown stay taken */
    BASE_STEPS = 1000,
    STEPS_PER_BYTE = 32,
};

struct mox_pretok {
    pcre2_code *code[MOX_PRETOK_PATTERNS];
    size_t n;
    size_t bytes;
};

/* Work memory, handed to PCRE2 from one end to the other; never taken back while a text is split. */
typedef struct bump {
    uint8_t *p, *end;
} bump;

static void *bump_take(size_t n, void *ctx)
{
    bump *b = ctx;
    n = mox_round_up(n, ALIGN);
    if (n > (size_t)(b->end - b->p)) {
        return NULL;
    }
    b->p += n;
    return b->p - n;
}

static void bump_keep(void *p, void *ctx)
{
    (void)p;
    (void)ctx;
}

bool mox_pretok_available(void)
{
    return true;
}

static mox_err compile(mox_pretok *p, const char *pattern, bool jit)
{
    int code = 0;
    PCRE2_SIZE at = 0;
    size_t bytes = 0, machine = 0;
    pcre2_code *c = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                  PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY, &code, &at, NULL);
    if (c == NULL) {
        char why[120] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
        return MOX_FAIL(MOX_E_TOKENIZER,
                        "this PCRE2 (%d.%d) does not take the pre-tokenizer's pattern: %s at %zu",
                        PCRE2_MAJOR, PCRE2_MINOR, why, (size_t)at);
    }
    p->code[p->n++] = c;
    if (jit && pcre2_jit_compile(c, PCRE2_JIT_COMPLETE) == 0) {
        pcre2_pattern_info(c, PCRE2_INFO_JITSIZE, &machine);
    }
    pcre2_pattern_info(c, PCRE2_INFO_SIZE, &bytes);
    p->bytes += bytes + machine;
    return MOX_OK;
}

mox_err mox_pretok_create(mox_pretok **out, const mox_pretok_row *row, bool jit)
{
    mox_pretok *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a pre-tokenizer");
    }
    p->bytes = sizeof *p;
    for (size_t i = 0; i < MOX_PRETOK_PATTERNS && row->patterns[i]; i++) {
        mox_err err = compile(p, row->patterns[i], jit);
        if (err != MOX_OK) {
            mox_pretok_destroy(&p);
            return err;
        }
    }
    *out = p;
    return MOX_OK;
}

void mox_pretok_destroy(mox_pretok **p)
{
    mox_pretok *o = *p;
    *p = NULL;
    for (size_t i = 0; o && i < o->n; i++) {
        pcre2_code_free(o->code[i]);
    }
    free(o);
}

size_t mox_pretok_bytes(const mox_pretok *p)
{
    return p->bytes;
}

size_t mox_pretok_work_bytes(void)
{
    return WORK_BYTES;
}

typedef struct splitter {
    const mox_pretok *p;
    pcre2_match_data *match;
    pcre2_match_context *limits;
    mox_pretok_word word;
    void *ctx;
} splitter;

/* The pieces of s by the patterns from `level` on. */
static mox_err split(const splitter *s, size_t level, const char *text, size_t n)
{
    if (level == s->p->n) {
        return s->word(s->ctx, text, n);
    }
    const PCRE2_SIZE *found = pcre2_get_ovector_pointer(s->match);
    size_t done = 0;
    while (done < n) {
        int rc = pcre2_match(s->p->code[level], (PCRE2_SPTR)text, n, done, PCRE2_NO_UTF_CHECK, s->match,
                             s->limits);
        if (rc == PCRE2_ERROR_NOMATCH) {
            break;
        }
        if (rc < 0) {
            char why[120] = "";
            pcre2_get_error_message(rc, (PCRE2_UCHAR *)why, sizeof why);
            return MOX_FAIL(MOX_E_LIMIT, "a text of %zu bytes cannot be cut into words: %s", n - done, why);
        }
        size_t from = found[0], to = found[1]; /* the levels below overwrite them */
        if (from > done) {
            MOX_TRY(split(s, level + 1, text + done, from - done));
        }
        MOX_TRY(split(s, level + 1, text + from, to - from));
        done = to;
    }
    return done < n ? split(s, level + 1, text + done, n - done) : MOX_OK;
}

/* How many bytes at p are valid UTF-8, or, where none are, how many are not. */
static size_t run_of(const char *p, size_t n, bool *valid)
{
    size_t at = 0, used = mox_utf8_next(p, n, NULL);
    *valid = used > 0;
    while (at < n && (used > 0) == *valid) {
        at += used > 0 ? used : 1;
        used = mox_utf8_next(p + at, n - at, NULL);
    }
    return at;
}

mox_err mox_pretok_split(const mox_pretok *p, const char *text, size_t n, mox_pretok_word word, void *ctx,
                         void *work)
{
    bump memory = {.p = work, .end = (uint8_t *)work + WORK_BYTES};
    memory.p += -(uintptr_t)work % ALIGN;
    pcre2_general_context *own = pcre2_general_context_create(bump_take, bump_keep, &memory);
    splitter s = {.p = p, .word = word, .ctx = ctx};
    s.match = own ? pcre2_match_data_create(1, own) : NULL;
    s.limits = own ? pcre2_match_context_create(own) : NULL;
    if (s.match == NULL || s.limits == NULL) {
        return MOX_FAIL(MOX_E_INTERNAL, "%d bytes do not suffice for matching", WORK_BYTES);
    }
    uint64_t steps = BASE_STEPS + (uint64_t)STEPS_PER_BYTE * n;
    pcre2_set_match_limit(s.limits, steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
    pcre2_set_heap_limit(s.limits, FRAMES_KIB);
    for (size_t at = 0; at < n;) {
        bool valid = false;
        size_t run = run_of(text + at, n - at, &valid);
        MOX_TRY(valid ? split(&s, 0, text + at, run) : word(ctx, text + at, run));
        at += run;
    }
    return MOX_OK;
}

#else

bool mox_pretok_available(void)
{
    return false;
}

mox_err mox_pretok_create(mox_pretok **out, const mox_pretok_row *row, bool jit)
{
    (void)out;
    (void)row;
    (void)jit;
    return MOX_FAIL(MOX_E_TOKENIZER, "byte-level BPE needs PCRE2, which this program was built without");
}

void mox_pretok_destroy(mox_pretok **p)
{
    *p = NULL;
}

size_t mox_pretok_bytes(const mox_pretok *p)
{
    (void)p;
    return 0;
}

size_t mox_pretok_work_bytes(void)
{
    return 0;
}

mox_err mox_pretok_split(const mox_pretok *p, const char *text, size_t n, mox_pretok_word word, void *ctx,
                         void *work)
{
    (void)p;
    (void)work;
    return word(ctx, text, n);
}

#endif
