/* Structure-aware mutations: fields of the toy model take the values that break readers, one to three at a
 * time, and now and then a byte or two flip anywhere. Whatever comes, the parser answers with a table that
 * holds together or with an error of its class, and allocates little. A failing mutation is found again by
 * the printed seed. */
#include "gguf/builder.h"
#include "runtime/gguf/gguf.h"
#include "runtime/tokenizer/tokenizer.h"
#include "sanitized.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { N_MUTATIONS = 24000 };

static uint64_t next(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static uint64_t bad_value(uint64_t *s, const gb *b, const gb_field *f)
{
    uint64_t left = b->n - f->off - f->bytes, old = gb_get(b, f);
    const uint64_t values[] = {0,          1,          UINT64_MAX, UINT64_MAX - 1, INT64_MAX,    1ull << 31,
                               1ull << 32, 1ull << 63, left,       left + 1,       left - 1,     old + 1,
                               old - 1,    old * 2,    next(s),    next(s) & 0xFF, left / 4 + 1, left / 8};
    return values[next(s) % (sizeof values / sizeof values[0])];
}

static void mutate(gb *b, uint64_t *s)
{
    uint64_t n = 1 + next(s) % 3;
    for (uint64_t i = 0; i < n; i++) {
        const gb_field *f = &b->fields[next(s) % b->n_fields];
        uint64_t v = bad_value(s, b, f);
        memcpy(b->p + f->off, &v, f->bytes);
    }
    if (next(s) % 4 == 0) {
        b->p[next(s) % (b->n - TOY_DATA)] ^=
            (uint8_t)(1 << next(s) % 8); /* the header alone; data are zeros */
    }
    if (next(s) % 16 == 0) {
        b->n = next(s) % b->n;
    }
}

/* Everything that a table offers, so that a sanitizer sees every pointer used. */
static void walk(const mox_gguf *g, size_t file_bytes)
{
    char text[200];
    for (uint32_t i = 0; i < mox_gguf_n_kv(g); i++) {
        mox_gguf_kv_text(g, i, text, sizeof text);
        cr_assert(strlen(text) < sizeof text);
    }
    for (uint32_t i = 0; i < mox_gguf_n_tensors(g); i++) {
        const mox_gguf_tensor *t = mox_gguf_tensor_at(g, i);
        char name[MOX_GGUF_MAX_NAME + 1] = "";
        cr_assert(t->name.n <= MOX_GGUF_MAX_NAME && t->bytes > 0 && t->off <= file_bytes &&
                  t->bytes <= file_bytes - t->off);
        memcpy(name, t->name.p, t->name.n);
        cr_assert_eq(mox_gguf_find(g, name), t);
    }
    cr_assert(mox_gguf_unused_bytes(g) <= file_bytes);
    mox_tokenizer *tok = NULL;
    if (mox_tokenizer_create(&tok, g) == MOX_OK) {
        static const char input[] = "a  aA\xC3</s>";
        uint32_t ids[64], n = 0;
        char out[8192];
        mox_detok d;
        void *work = malloc(mox_tokenizer_work_bytes(sizeof input));
        cr_assert_eq(mox_tokenizer_encode(tok, input, sizeof input - 1, true, true, ids, 64, &n, work),
                     MOX_OK);
        free(work);
        mox_detok_init(&d, tok, true, true);
        for (uint32_t i = 0; i < n; i++) {
            cr_assert(mox_detok_push(&d, ids[i], out) <= mox_detok_max(tok));
        }
    }
    mox_tokenizer_destroy(&tok);
}

Test(gguf_mutate, fields, .timeout = 300)
{
    gb whole = {0};
    uint32_t accepted = 0, refused = 0;
    struct rusage before, after;
    toy_build(&whole, NULL);
    getrusage(RUSAGE_SELF, &before);
    for (uint64_t i = 0; i < N_MUTATIONS; i++) {
        uint64_t seed = (i + 1) * 0x9E3779B97F4A7C15u;
        gb b = whole;
        b.p = malloc(whole.n);
        memcpy(b.p, whole.p, whole.n);
        mutate(&b, &seed);
        uint8_t *exact = malloc(b.n ? b.n : 1);
        memcpy(exact, b.p, b.n);
        mox_gguf *g = NULL;
        uint64_t need = 0;
        mox_err err = mox_gguf_parse(&g, exact, b.n, b.n, &need);
        if (err == MOX_OK) {
            walk(g, b.n);
            accepted++;
        } else {
            cr_assert(err <= MOX_E_FORMAT && err >= MOX_E_SPLIT, "mutation %llu: %s", (unsigned long long)i,
                      mox_err_name(err));
            cr_assert(mox_err_last()->msg[0] && need == 0);
            refused++;
        }
        mox_gguf_close(&g);
        free(exact);
        free(b.p);
    }
    getrusage(RUSAGE_SELF, &after);
    cr_expect(accepted > N_MUTATIONS / 100 && refused > N_MUTATIONS / 4, "%u accepted, %u refused", accepted,
              refused);
    if (!SANITIZED) {
        cr_expect(after.ru_maxrss - before.ru_maxrss < 64 << 10, "%ld KiB more",
                  after.ru_maxrss - before.ru_maxrss);
    }
    gb_free(&whole);
}
