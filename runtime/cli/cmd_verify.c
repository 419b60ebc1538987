/* moxie verify: the first promise, on this machine and with this model. A fixed sequence of ids is evaluated in
 * several ways (how much is kept in memory, which instructions, how the file is read), and the hashes of all
 * logits must be one. With --expect they must also be the one that another machine printed.
 *
 * The sequence is short, so that plain C gets through a big model in a minute or two; it comes from the size of
 * the vocabulary alone, so that the hash names the model.
 */
#include "runtime/cli/commands.h"
#include "runtime/cli/open.h"

#include "profiler/report/json.h"

#include <stdio.h>
#include <string.h>

enum { N_TOKENS = 16, MAX_WAYS = MOX_ISA_COUNT + 4 };

typedef struct way {
    const char *kept; /* "as much as fits", "half", "least" */
    mox_budget ram;
    int isa;
    mox_io_mode io;
    char hash[40], device[64], io_used[64];
    uint32_t n_kept, n_experts;
    bool done;
} way;

/* The first is what users run; each of the others differs in one thing. */
static uint32_t list_ways(way ways[MAX_WAYS])
{
    const mox_budget most = {.kind = MOX_BUDGET_AUTO}, least = {.kind = MOX_BUDGET_MIN};
    uint32_t n = 0;
    ways[n++] = (way){.kept = "as much as fits", .ram = most, .isa = -1, .io = MOX_IO_AUTO};
    ways[n++] = (way){.kept = "half", .isa = -1, .io = MOX_IO_AUTO};
    ways[n - 1].ram = (mox_budget){.kind = MOX_BUDGET_EXPERTS_PCT, .pct = 50};
    ways[n++] = (way){.kept = "least", .ram = least, .isa = -1, .io = MOX_IO_AUTO};
    ways[n++] = (way){.kept = "least", .ram = least, .isa = -1, .io = MOX_IO_PREAD};
    for (int isa = 0; isa < MOX_ISA_COUNT; isa++) {
        if (mox_isa_present((mox_isa)isa) && (mox_isa)isa != mox_isa_best()) {
            ways[n++] = (way){.kept = "least", .ram = least, .isa = isa, .io = MOX_IO_AUTO};
        }
    }
    return n;
}

static mox_err run_way(const mox_opts *o, uint32_t n_vocab, way *w)
{
    mox_cfg cfg = o->cfg;
    mox_ctx *ctx = NULL;
    uint32_t ids[N_TOKENS];
    cfg.log = (mox_log){0};
    cfg.ram = w->ram;
    cfg.isa = w->isa;
    cfg.io = w->io;
    cfg.n_ctx = N_TOKENS;
    cfg.n_batch = 5; /* batches end in the middle */
    for (uint32_t i = 0; i < N_TOKENS; i++) {
        ids[i] = (uint32_t)((i + 1) * UINT64_C(2654435761) % n_vocab);
    }
    MOX_TRY(mox_open(&ctx, &cfg));
    mox_err err = mox_eval(ctx, 0, ids, N_TOKENS, true, NULL, NULL);
    if (err == MOX_OK) {
        mox_hash128 h = mox_logits_hash(ctx);
        snprintf(w->hash, sizeof w->hash, "%016llx%016llx", (unsigned long long)h.hi,
                 (unsigned long long)h.lo);
        snprintf(w->device, sizeof w->device, "%s", mox_get_device(ctx));
        snprintf(w->io_used, sizeof w->io_used, "%s", mox_get_io(ctx));
        w->n_kept = mox_get_plan(ctx)->kept_total;
        w->n_experts = mox_get_plan(ctx)->experts_total;
        w->done = true;
    }
    mox_close(&ctx);
    return err;
}

static void verify_json(const mox_opts *o, const way *ways, uint32_t n, const char *expected, uint32_t differ)
{
    mox_json j;
    mox_json_begin(&j, stdout);
    mox_json_object(&j, NULL);
    mox_json_string(&j, "schema", "moxie.verify/1");
    mox_json_string(&j, "model", o->cfg.model);
    mox_json_u64(&j, "tokens", N_TOKENS);
    mox_json_bool(&j, "same", differ == 0);
    mox_json_string(&j, "logits_xxh3", expected);
    mox_json_array(&j, "ways");
    for (uint32_t i = 0; i < n; i++) {
        if (!ways[i].done) {
            continue;
        }
        mox_json_object(&j, NULL);
        mox_json_string(&j, "kept", ways[i].kept);
        mox_json_u64(&j, "experts_kept", ways[i].n_kept);
        mox_json_u64(&j, "experts_total", ways[i].n_experts);
        mox_json_string(&j, "device", ways[i].device);
        mox_json_string(&j, "io", ways[i].io_used);
        mox_json_string(&j, "logits_xxh3", ways[i].hash);
        mox_json_bool(&j, "same", strcmp(ways[i].hash, expected) == 0);
        mox_json_object_end(&j);
    }
    mox_json_array_end(&j);
    mox_json_object_end(&j);
    mox_json_end(&j);
}

static void verify_line(const way *w, bool same)
{
    printf("%s  %-4s  %u of %u experts in RAM, %s, %s\n", w->hash, same ? "same" : "DIFFERS", w->n_kept,
           w->n_experts, w->device, w->io_used);
    fflush(stdout);
}

mox_err mox_cmd_verify(mox_opts *o)
{
    static way ways[MAX_WAYS];
    uint32_t n_vocab = 0, n = list_ways(ways), differ = 0, n_done = 0;
    mox_cli_model(o);
    MOX_TRY(mox_cli_vocab(o->cfg.model, &n_vocab));
    const char *expected = o->expect;
    for (uint32_t i = 0; i < n && mox_stop_requested() == 0; i++) {
        mox_err err = run_way(o, n_vocab, &ways[i]);
        if (err == MOX_E_NO_FIT && i == 1) {
            mox_ui_line("half of the experts do not fit into this machine's memory: left out");
            continue;
        }
        MOX_TRY(err);
        expected = expected != NULL ? expected : ways[i].hash;
        bool same = strcmp(ways[i].hash, expected) == 0;
        differ += !same;
        n_done++;
        if (!o->json) {
            verify_line(&ways[i], same);
        }
    }
    if (o->json) {
        verify_json(o, ways, n, expected, differ);
    }
    if (differ > 0) {
        mox_err err =
            MOX_FAIL(MOX_E_CHECK, "%u of %u ways give other logits than %s", differ, n_done, expected);
        mox_err_fix("moxie doctor\nmoxie run %.150s --verify always", o->cfg.model);
        return err;
    }
    return MOX_OK;
}
