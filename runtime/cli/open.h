/* Opening a model the way every command does: first line at once, the plan before anything is loaded,
 * progress, "ready". */
#ifndef MOX_CLI_OPEN_H
#define MOX_CLI_OPEN_H

#include "runtime/cli/options.h"
#include "runtime/cli/ui.h"

/* mox_cli_demo: the built-in demo model: installed beside the program, or in the tree it was built from. */
const char *mox_cli_demo(void);
/* mox_cli_model: fills in the built-in demo model when none was named, and says so. */
void mox_cli_model(mox_opts *o);
/* mox_cli_heat: where --heat has the heat of the models: o->cfg.heat. */
void mox_cli_heat(mox_opts *o);
/* mox_cli_plan: the plan from headers, printed. */
MOX_NODISCARD mox_err mox_cli_plan(mox_opts *o, mox_plan *plan);
/* mox_cli_open: opens o->cfg; prints progress and "ready". load_s may be NULL. */
MOX_NODISCARD mox_err mox_cli_open(mox_opts *o, mox_ctx **ctx, double *load_s);
/* mox_cli_close: ends the trace and closes; returns err, or, where that is MOX_OK, why the trace is not whole. */
MOX_NODISCARD mox_err mox_cli_close(mox_ctx **ctx, mox_err err);

/* mox_cli_tokenizer: Errors MOX_E_TOKENIZER: the file has none. */
MOX_NODISCARD mox_err mox_cli_tokenizer(const mox_ctx *ctx, const mox_tokenizer **out);
/* mox_cli_vocab: columns of a row of logits, from the header. */
MOX_NODISCARD mox_err mox_cli_vocab(const char *model, uint32_t *n_vocab);

/* mox_cli_read_all: a whole file ("-": stdin) into memory that the caller frees; terminated with a zero. */
MOX_NODISCARD mox_err mox_cli_read_all(const char *path, char **out, size_t *n);
/* mox_cli_parse_ids: decimal ids separated by white space. stop_at_newline: one line; *rest is what follows.
 * Errors MOX_E_TOKEN: not a number. Caller frees *ids. */
MOX_NODISCARD mox_err mox_cli_parse_ids(const char *text, bool stop_at_newline, const char **rest,
                                        uint32_t **ids, uint32_t *n);

#endif
