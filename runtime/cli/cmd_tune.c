/* moxie tune: measure the machine, then the model with one setting and another, and keep what is faster.
 *
 * The plan comes first, as for a run. What was found is printed as a command and, with --save, kept for `run` and `plan`
 * (tune/tuned.h). Ctrl-C ends the search in order: what was decided by then is reported and kept like a whole search's, since
 * every setting was decided by itself; what was not reached is listed. Time bounds the search (--minutes), not the
 * measuring of the machine, which takes a few seconds.
 */
#include "runtime/cli/commands.h"
#include "runtime/cli/open.h"
#include "runtime/cli/plan/plan.h"
#include "runtime/cli/report.h"
#include "runtime/cli/tune/tune.h"
#include "runtime/core/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS = MOX_TUNED_SETTINGS * (MOX_TUNED_VALUE + 16) };

static double rate(double n, double s)
{
    return s > 0 ? n / s : 0;
}

static double answer_rate(const mox_tune_turn *t)
{
    return rate((double)t->answer_tokens, t->answer_s);
}

static void rates_line(const mox_tuned_rates *r)
{
    mox_ui_line("RAM read %.1f GB/s, file %.2f GB/s, an expert's first byte after %.2f ms", r->ram_bps / 1e9,
                r->disk_bps / 1e9, r->burst_s * 1e3);
    if (r->both_ram_bps > 0) {
        mox_ui_line("both at once: RAM %.1f GB/s, file %.2f GB/s", r->both_ram_bps / 1e9,
                    r->both_disk_bps / 1e9);
    }
    if (r->link_bps > 0) {
        const char *whose = strcmp(r->device, "emu") == 0   ? "the emulator, which says nothing of a card"
                            : strcmp(r->device, "cpu") == 0 ? "the device that the CPU plays"
                                                            : "the device";
        mox_ui_line("copies to %s: %.1f GB/s, back %.1f, within its memory %.1f GB/s read", whose,
                    r->link_bps / 1e9, r->down_bps / 1e9, r->vram_bps / 1e9);
    }
}

static void rates_json(mox_json *j, const mox_tuned_rates *r)
{
    mox_json_object(j, "measured");
    mox_json_f64(j, "ram_bytes_per_s", r->ram_bps);
    mox_json_f64(j, "file_bytes_per_s", r->disk_bps);
    mox_json_f64(j, "ram_bytes_per_s_beside_reads", r->both_ram_bps);
    mox_json_f64(j, "file_bytes_per_s_beside_ram", r->both_disk_bps);
    mox_json_string(j, "device", r->device);
    mox_json_f64(j, "link_bytes_per_s", r->link_bps);
    mox_json_f64(j, "link_down_bytes_per_s", r->down_bps);
    mox_json_f64(j, "vram_bytes_per_s", r->vram_bps);
    mox_json_f64(j, "integer_ops_per_s", r->int_ops);
    mox_json_f64(j, "first_byte_s", r->burst_s);
    mox_json_object_end(j);
}

static void turn_json(mox_json *j, const char *key, const mox_tune_turn *t)
{
    mox_json_object(j, key);
    mox_json_f64(j, "prefill_tok_s", rate((double)t->prompt_tokens, t->prompt_s));
    mox_json_f64(j, "decode_tok_s", answer_rate(t));
    mox_json_f64(j, "seconds", t->total_s);
    mox_json_object_end(j);
}

static void options_of(const mox_tuned *f, char out[OPTIONS])
{
    size_t at = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < f->n && at < OPTIONS - MOX_TUNED_VALUE - 40; i++) {
        at += (size_t)snprintf(out + at, OPTIONS - at, " --%s %s", f->key[i], f->value[i]);
    }
}

static void report_json(const mox_tune *t, const char *saved)
{
    char options[OPTIONS];
    mox_json j;
    options_of(&t->found, options);
    mox_json_begin(&j, stdout);
    mox_json_object(&j, NULL);
    mox_json_string(&j, "schema", "moxie.tune/1");
    mox_json_string(&j, "model", t->o->cfg.model);
    mox_json_string(&j, "machine", t->found.machine);
    mox_json_bool(&j, "stopped", mox_stop_requested() != 0);
    rates_json(&j, &t->found.rates);
    turn_json(&j, "before", &t->first);
    turn_json(&j, "after", &t->last);
    mox_json_f64(&j, "gain", t->found.gain);
    mox_json_string(&j, "options", options[0] ? options + 1 : "");
    mox_json_array(&j, "trials");
    for (uint32_t i = 0; i < t->n_trials; i++) {
        const mox_tune_trial *r = &t->trial[i];
        mox_json_object(&j, NULL);
        mox_json_string(&j, "option", r->option);
        mox_json_string(&j, "value", r->value);
        mox_json_string(&j, "against", r->was);
        mox_json_f64(&j, "gain", r->gain);
        mox_json_f64(&j, "seconds", r->is_s);
        mox_json_f64(&j, "seconds_against", r->was_s);
        mox_json_u64(&j, "pairs", r->pairs);
        mox_json_u64(&j, "pairs_faster", r->faster);
        mox_json_bool(&j, "kept", r->kept);
        mox_json_bool(&j, "same_logits", r->pairs > 0 && !r->other_logits);
        mox_json_string(&j, "note", r->note ? r->note : "");
        mox_json_object_end(&j);
    }
    mox_json_array_end(&j);
    mox_json_string(&j, "saved", saved);
    mox_json_object_end(&j);
    mox_json_end(&j);
}

static void report_text(const mox_tune *t)
{
    char options[OPTIONS], typed[1024] = "";
    options_of(&t->found, options);
    mox_plan_typed(t->o, MOX_CMD_RUN, options, typed, sizeof typed, 0);
    printf("%-28s  %10s  %10s\n", "", "prompt", "answer");
    const mox_tune_turn *turn[2] = {&t->first, &t->last};
    for (int i = 0; i < (t->found.n > 0 ? 2 : 1); i++) {
        printf("%-28s  %6.1f tok/s  %6.1f tok/s\n", i ? "with what was found" : "as it was",
               rate((double)turn[i]->prompt_tokens, turn[i]->prompt_s), answer_rate(turn[i]));
    }
    if (t->found.n > 0) {
        printf("\n%s%.2f times as fast, with the same logits:\n  moxie run %s%s%s\n",
               t->confirmed ? "" : "stopped; by its single settings about ", t->found.gain, t->o->cfg.model,
               typed, options);
    } else {
        printf("\nnothing that was tried is 3 %% faster%s\n",
               mox_stop_requested() ? "; it was stopped early" : "");
    }
}

static mox_err search(mox_tune *t)
{
    char saved[1024] = "";
    t->deadline_ns = mox_now_ns() + (uint64_t)((double)t->o->minutes * 60e9);
    mox_ui_line("prompts: %s; at most %.1f minutes, Ctrl-C for what is known by then", t->prompts_from,
                (double)t->o->minutes);
    mox_ui_line("each setting in up to %d pairs of turns (A B, B A, A B); kept: faster in every pair, its "
                "median by 3 %%, the same logits",
                MOX_TUNE_PAIRS);
    MOX_TRY(mox_tune_search(t));
    if (t->first.answer_tokens == 0) {
        return MOX_OK; /* stopped before anything was known */
    }
    if (t->n_token_s > 0) {
        t->found.rates.token_s = mox_bench_spread_of(t->token_s, t->n_token_s).median;
    }
    if (t->o->save) {
        MOX_TRY(mox_tuned_save(&t->found, saved));
    }
    if (t->o->json) {
        report_json(t, saved);
    } else {
        report_text(t);
    }
    if (saved[0] != '\0') {
        mox_ui_line("saved in %s: moxie run and plan take it, --tuned off for none", saved);
    } else if (t->found.n > 0) {
        mox_ui_line("not saved: --save keeps it for moxie run");
    }
    return MOX_OK;
}

static mox_err prepare(mox_tune *t)
{
    mox_opts *o = t->o;
    MOX_TRY(mox_tuned_identify(o->cfg.model, &t->found));
    MOX_TRY(mox_tune_prompts(t));
    MOX_TRY(mox_cli_plan(o, &t->plan));
    MOX_TRY(mox_tune_room(t));
    if (o->cfg.ram.kind == MOX_BUDGET_AUTO) { /* what is measured with must not change the plan */
        o->cfg.ram = o->ram = (mox_budget){.kind = MOX_BUDGET_BYTES, .bytes = t->plan.budget_bytes};
    }
    for (uint32_t l = 0; l < t->plan.n_moe_layers; l++) {
        t->expert_bytes += t->plan.slot_bytes[l] / t->plan.n_moe_layers;
    }
    if (o->predict) {
        MOX_TRY(mox_tune_lines(t));
    }
    t->logits = malloc((size_t)t->info.n_vocab * sizeof *t->logits);
    return t->logits ? MOX_OK : MOX_FAIL(MOX_E_NO_MEMORY, "no memory for %u logits", t->info.n_vocab);
}

mox_err mox_cmd_tune(mox_opts *o)
{
    static mox_tune t; /* a plan is too big for a stack */
    mox_cli_model(o);
    t = (mox_tune){.o = o, .cmd = mox_command_find("tune"), .found = {.gain = 1}};
    mox_err err = prepare(&t);
    mox_stop_soft(true);
    if (err == MOX_OK) {
        mox_ui_line("measuring what this machine can do");
        err = mox_tune_rates(&t, &t.found.rates);
    }
    if (err == MOX_OK && mox_stop_requested() == 0) {
        rates_line(&t.found.rates);
        err = o->predict ? mox_tune_predict(&t) : search(&t);
    }
    for (uint32_t i = 0; i < t.n_prompts; i++) {
        free(t.ids[i]);
    }
    free(t.lines);
    free(t.logits);
    return err;
}
