/* Damage to packed files: one flipped bit anywhere in expert data is found and named; headers that lie are refused,
 * each with its own error. */
#include "pack/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FLIPS = 200 };

/* Where the records of a layer are, by the header and the layout. */
static mox_pack_layer layer_of(const mox_gguf *g, const mox_model *m, uint32_t layer)
{
    mox_pack_layer p;
    cr_assert_eq(mox_pack_find(g, layer, m->h.n_experts, &m->layouts[layer], &p), MOX_OK);
    return p;
}

static uint32_t below(uint64_t *state, uint64_t n)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((*state >> 20) % n);
}

/* Flip, open with everything kept, look at the error, flip back. */
static void flip_at(const pack_fx *fx, const mox_pack_layer *p, uint32_t layer, uint32_t expert,
                    uint32_t slice, uint64_t at, uint32_t bit, mox_io_mode io)
{
    char where[96];
    uint8_t byte;
    uint64_t bytes, begin = mox_pack_slice(p, slice, &bytes);
    uint64_t off = p->off + expert * p->record_bytes + begin + at;
    cr_assert_lt(at, bytes);
    pfx_read_at(fx, off, &byte, 1);
    byte ^= (uint8_t)(1u << bit);
    pfx_write_at(fx, off, &byte, 1);
    mox_ctx *ctx;
    mox_err err = pfx_open(&ctx, fx->packed, 100, io, MOX_VERIFY_ALWAYS);
    cr_expect_eq(err, MOX_E_CORRUPT, "bit %u of byte %llu of layer %u, expert %u, slice %u: %s", bit,
                 (unsigned long long)at, layer, expert, slice, mox_err_name(err));
    snprintf(where, sizeof where, "layer %u, expert %u, slice %u:", layer, expert, slice);
    cr_expect(err == MOX_OK || strstr(mox_err_last()->msg, where), "%s is not in: %s", where,
              mox_err_last()->msg);
    cr_expect(err == MOX_OK || strstr(mox_err_last()->msg, fx->packed));
    mox_close(&ctx);
    byte ^= (uint8_t)(1u << bit);
    pfx_write_at(fx, off, &byte, 1);
}

static void flip_many(const char *name, int flips, mox_io_mode io)
{
    pack_fx fx;
    mox_gguf *g = NULL;
    mox_model *m = NULL;
    pfx_pack(&fx, name);
    cr_assert_eq(mox_gguf_open(&g, fx.packed), MOX_OK);
    cr_assert_eq(mox_model_create(&m, g, NULL), MOX_OK);
    uint64_t state = 3;
    for (int i = 0; i < flips; i++) {
        uint32_t layer = below(&state, m->n_moe_layers), expert = below(&state, m->h.n_experts);
        mox_pack_layer p = layer_of(g, m, layer);
        uint32_t slice = below(&state, p.n_slices);
        uint64_t bytes;
        (void)mox_pack_slice(&p, slice, &bytes);
        /* every fourth at an end of the slice; of the last slice that is padding */
        uint64_t at = i % 8 == 0 ? 0 : i % 8 == 4 ? bytes - 1 : below(&state, bytes);
        flip_at(&fx, &p, layer, expert, slice, at, below(&state, 8), io);
    }
    mox_ctx *ctx;
    cr_assert_eq(pfx_open(&ctx, fx.packed, 100, io, MOX_VERIFY_ALWAYS), MOX_OK, "flipped back, and yet: %s",
                 mox_err_last()->msg);
    mox_close(&ctx);
    mox_model_destroy(&m);
    mox_gguf_close(&g);
    pfx_remove(&fx);
}

Test(damage, any_flipped_bit_is_named_mixtral)
{
    flip_many("models/mixtral-a.gguf", FLIPS, MOX_IO_AUTO);
}

Test(damage, any_flipped_bit_is_named_quantmix)
{
    flip_many("models/quantmix-a.gguf", FLIPS / 2, MOX_IO_PREAD);
}

Test(damage, any_flipped_bit_is_named_demo)
{
    flip_many("demo/moxie-demo-Q4_K_M.gguf", FLIPS / 8, MOX_IO_AUTO);
}

/* Found while a step waits for it, too: the run ends with the same error. */
Test(damage, flipped_bit_found_by_a_demand)
{
    pack_fx fx;
    mox_gguf *g = NULL;
    pfx_pack(&fx, "demo/moxie-demo-Q4_K_M.gguf");
    cr_assert_eq(mox_gguf_open(&g, fx.packed), MOX_OK);
    const mox_gguf_tensor *t = mox_gguf_record(g, "moxie.experts.0");
    cr_assert(t);
    for (uint64_t e = 0; e < t->ne[1]; e++) { /* whichever is used first */
        uint8_t byte;
        pfx_read_at(&fx, t->off + e * t->ne[0] + 100, &byte, 1);
        byte ^= 4;
        pfx_write_at(&fx, t->off + e * t->ne[0] + 100, &byte, 1);
    }
    mox_ctx *ctx;
    cr_assert_eq(pfx_open(&ctx, fx.packed, 0, MOX_IO_AUTO, MOX_VERIFY_ALWAYS), MOX_OK, "%s",
                 mox_err_last()->msg);
    uint32_t tokens[4] = {1, 50, 60, 70};
    cr_assert_eq(mox_eval(ctx, 0, tokens, 4, true, NULL, NULL), MOX_E_CORRUPT);
    cr_expect(strstr(mox_err_last()->msg, "layer 0, expert ") && strstr(mox_err_last()->msg, ", slice 0:"),
              "%s", mox_err_last()->msg);
    mox_close(&ctx);
    mox_gguf_close(&g);
    pfx_remove(&fx);
}

/* ---- headers ---- */

static void refused(const pack_fx *fx, mox_err want, const char *says)
{
    mox_ctx *ctx;
    mox_err err = pfx_open(&ctx, fx->packed, 100, MOX_IO_AUTO, MOX_VERIFY_SAMPLE);
    cr_expect_eq(err, want, "%s instead of %s: %s", mox_err_name(err), mox_err_name(want),
                 mox_err_last()->msg);
    cr_expect(err == MOX_OK || strstr(mox_err_last()->msg, says), "\"%s\" is not in: %s", says,
              mox_err_last()->msg);
    mox_close(&ctx);
}

/* Write `with` at `off`, expect the error, put back what was there. */
static void broken(const pack_fx *fx, uint64_t off, const void *with, size_t n, mox_err want,
                   const char *says)
{
    uint8_t was[64];
    cr_assert_leq(n, sizeof was);
    pfx_read_at(fx, off, was, n);
    pfx_write_at(fx, off, with, n);
    refused(fx, want, says);
    pfx_write_at(fx, off, was, n);
}

static void broken_u64(const pack_fx *fx, uint64_t off, uint64_t v, mox_err want, const char *says)
{
    broken(fx, off, &v, sizeof v, want, says);
}

Test(damage, header_is_not_believed)
{
    pack_fx fx;
    pfx_pack(&fx, "models/mixtral-a.gguf");
    uint32_t version = 2;
    broken(&fx, pfx_find(&fx, "moxie.pack.version") + 4, &version, 4, MOX_E_VERSION, "packed in form 2");
    broken_u64(&fx, pfx_find(&fx, "moxie.pack.layout") + 4, 12345, MOX_E_VERSION, "another compute layout");
    broken(&fx, pfx_find(&fx, "moxie.pack.layout") - 1, "u", 1, MOX_E_KEY, "moxie.pack.layout is missing");
    broken(&fx, pfx_find(&fx, "moxie.pack.sums") - 1, "z", 1, MOX_E_KEY, "moxie.pack.sums is missing");
    broken(&fx, pfx_find(&fx, "moxie.pack.tensor.dims") - 1, "z", 1, MOX_E_KEY, "tensor.dims is missing");
    uint64_t experts = pfx_find(&fx, "moxie.experts.0"), sums = pfx_find(&fx, "moxie.sums.1"), record;
    pfx_read_at(&fx, experts + 4, &record, sizeof record);
    broken_u64(&fx, experts + 4, record - 4096, MOX_E_TENSOR, "expected I8");
    broken_u64(&fx, experts + 12, 1, MOX_E_TENSOR, "expected I8");
    broken(&fx, experts - 1, "7", 1, MOX_E_TENSOR, "'moxie.experts.0' is missing");
    broken(&fx, sums - 1, "7", 1, MOX_E_TENSOR, "'moxie.sums.1' is missing");
    /* a shape, a type and a name of the tensors that were replaced: array head is 4 + 4 + 8 bytes */
    broken_u64(&fx, pfx_find(&fx, "moxie.pack.tensor.dims") + 16, 33, MOX_E_TENSOR, "expected [");
    uint32_t type = 4;
    broken(&fx, pfx_find(&fx, "moxie.pack.tensor.types") + 16, &type, 4, MOX_E_TYPE, "has type");
    broken(&fx, pfx_find(&fx, "moxie.pack.tensor.names") + 16 + 8, "x", 1, MOX_E_TENSOR, "is missing");
    refused(&fx, MOX_OK, "");
    pfx_remove(&fx);
}

Test(damage, table_of_checksums)
{
    pack_fx fx;
    mox_gguf *g = NULL;
    pfx_pack(&fx, "models/mixtral-a.gguf");
    cr_assert_eq(mox_gguf_open(&g, fx.packed), MOX_OK);
    uint64_t off = mox_gguf_record(g, "moxie.sums.1")->off;
    broken_u64(&fx, off + 8, 1, MOX_E_CORRUPT, "table of checksums");
    mox_gguf_close(&g);
    pfx_remove(&fx);
}

Test(damage, truncated_files)
{
    pack_fx fx;
    pfx_pack(&fx, "models/mixtral-a.gguf");
    uint64_t n = fx.report.out_bytes;
    for (uint64_t cut = n - 4097; cut > 5000; cut -= cut / 3) {
        cr_assert_eq(truncate(fx.packed, (off_t)cut), 0);
        refused(&fx, MOX_E_TRUNCATED, fx.packed);
    }
    pfx_remove(&fx);
}

/* Any bytes may be wrong: the header is then refused with a name for it, or describes a model whose records lie in
 * the file. */
Test(damage, mutated_headers)
{
    enum { MUTATIONS = 4000 };
    pack_fx fx;
    pfx_pack(&fx, "models/mixtral-a.gguf");
    uint64_t n = fx.report.out_bytes, state = 17, header = n - fx.report.record_bytes - fx.report.dense_bytes;
    uint8_t *bytes = malloc(n);
    cr_assert(bytes);
    pfx_read_at(&fx, 0, bytes, n);
    uint32_t refusals = 0;
    for (int i = 0; i < MUTATIONS; i++) {
        uint8_t was[4];
        uint32_t at = below(&state, header - 4), len = 1 + below(&state, 4);
        memcpy(was, bytes + at, sizeof was);
        for (uint32_t k = 0; k < len; k++) {
            bytes[at + k] = i % 3 == 0   ? 0xFF
                            : i % 3 == 1 ? (uint8_t)(bytes[at + k] + 1)
                                         : (uint8_t)below(&state, 256);
        }
        mox_gguf *g = NULL;
        mox_model *m = NULL;
        mox_err err = mox_gguf_parse(&g, bytes, n, n, NULL);
        err = err == MOX_OK ? mox_model_create(&m, g, NULL) : err;
        refusals += err != MOX_OK;
        cr_assert(err == MOX_OK || mox_err_last()->code == err);
        for (uint32_t l = 0; err == MOX_OK && m->packed && l < m->n_moe_layers; l++) {
            uint64_t end = m->packed[l].off + m->h.n_experts * m->packed[l].record_bytes;
            cr_assert_leq(end, n, "records of layer %u end beyond the file", l);
        }
        mox_model_destroy(&m);
        mox_gguf_close(&g);
        memcpy(bytes + at, was, sizeof was);
    }
    cr_expect_gt(refusals, 100, "mutations were hardly noticed");
    free(bytes);
    pfx_remove(&fx);
}
