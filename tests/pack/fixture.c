/* See fixture.h. */
#include "pack/fixture.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

mox_pack_cfg pfx_cfg(const pack_fx *fx)
{
    return (mox_pack_cfg){.model = fx->plain, .out = fx->packed};
}

void pfx_pack(pack_fx *fx, const char *model)
{
    tmpdir_make(&fx->dir);
    snprintf(fx->plain, sizeof fx->plain, MOX_TEST_DATA "/%s", model);
    snprintf(fx->packed, sizeof fx->packed, "%s/model.moxie", fx->dir.path);
    mox_pack_cfg cfg = pfx_cfg(fx);
    mox_err err = mox_pack_write(&cfg, &fx->report);
    cr_assert_eq(err, MOX_OK, "%s: %s", model, mox_err_last()->msg);
}

void pfx_remove(pack_fx *fx)
{
    tmpdir_remove(&fx->dir);
}

mox_err pfx_open(mox_ctx **ctx, const char *path, double pct, mox_io_mode io, mox_verify verify)
{
    mox_cfg cfg;
    mox_cfg_defaults(&cfg);
    cfg.model = path;
    cfg.ram = (mox_budget){.kind = MOX_BUDGET_EXPERTS_PCT, .pct = pct};
    cfg.n_threads = 2;
    cfg.io = io;
    cfg.verify = verify;
    cfg.log = (mox_log){.fn = NULL};
    *ctx = NULL;
    return mox_open(ctx, &cfg);
}

mox_hash128 pfx_hash(const char *path, double pct, mox_io_mode io, mox_verify verify, uint32_t n)
{
    mox_ctx *ctx;
    cr_assert_eq(pfx_open(&ctx, path, pct, io, verify), MOX_OK, "%s: %s", path, mox_err_last()->msg);
    uint32_t *tokens = malloc(n * sizeof *tokens), vocab = mox_tokenizer_vocab(mox_get_tokenizer(ctx));
    uint64_t state = 7;
    for (uint32_t i = 0; i < n; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        tokens[i] = (uint32_t)((state >> 33) % vocab);
    }
    mox_err err = mox_eval(ctx, 0, tokens, n, true, NULL, NULL);
    cr_assert_eq(err, MOX_OK, "%s: %s", path, mox_err_last()->msg);
    mox_hash128 h = mox_logits_hash(ctx);
    free(tokens);
    mox_close(&ctx);
    return h;
}

void pfx_read_at(const pack_fx *fx, uint64_t off, void *p, size_t n)
{
    int fd = open(fx->packed, O_RDONLY);
    cr_assert(fd >= 0 && pread(fd, p, n, (off_t)off) == (ssize_t)n);
    close(fd);
}

void pfx_write_at(const pack_fx *fx, uint64_t off, const void *p, size_t n)
{
    int fd = open(fx->packed, O_WRONLY);
    cr_assert(fd >= 0 && pwrite(fd, p, n, (off_t)off) == (ssize_t)n);
    close(fd);
}

uint64_t pfx_find(const pack_fx *fx, const char *name)
{
    enum { HEADER = 1 << 20 };
    uint8_t *p = calloc(1, HEADER);
    int fd = open(fx->packed, O_RDONLY);
    ssize_t got = pread(fd, p, HEADER, 0);
    close(fd);
    uint8_t want[128];
    uint64_t n = strlen(name), at = 0;
    memcpy(want, &n, sizeof n);
    memcpy(want + sizeof n, name, n);
    const uint8_t *hit = memmem(p, (size_t)got, want, sizeof n + n);
    cr_assert(hit, "the header has no %s", name);
    at = (uint64_t)(hit - p) + sizeof n + n;
    free(p);
    return at;
}
