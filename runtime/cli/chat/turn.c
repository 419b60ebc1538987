/* One answer. What the sequence holds is remembered as ids: a prompt that begins with them is read from there on, which
 * gives what reading all of it would give, to the bit (docs/numerics.md). */
#include "runtime/cli/chat/turn.h"

#include "runtime/cli/ui.h"
#include "runtime/core/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_PER_TOKEN = 64, NOTE_NS = 1000000000 };

mox_err mox_turn_create(mox_turn *t, const mox_opts *o, uint32_t n_ctx, bool keep_text)
{
    *t = (mox_turn){.o = o, .max_ids = n_ctx + 1};
    t->max_text = keep_text ? (size_t)t->max_ids * TEXT_PER_TOKEN + 4096 : 1;
    t->ids = malloc(t->max_ids * sizeof *t->ids);
    t->answer = malloc(t->max_ids * sizeof *t->answer);
    t->held = malloc(t->max_ids * sizeof *t->held);
    t->text = malloc(t->max_text);
    if (t->ids == NULL || t->answer == NULL || t->held == NULL || t->text == NULL) {
        mox_turn_free(t);
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for the tokens of a context of %u", n_ctx);
    }
    return MOX_OK;
}

void mox_turn_free(mox_turn *t)
{
    free(t->ids);
    free(t->answer);
    free(t->held);
    free(t->text);
    *t = (mox_turn){.o = t->o};
}

void mox_turn_begin(mox_turn *t)
{
    t->n_answer = 0;
    t->n_text = 0;
    t->began = t->write_failed = false;
    t->begin_ns = mox_now_ns();
    t->first_s = 0;
    t->result = (mox_gen_result){.stop = ""};
}

static bool on_token(void *arg, uint32_t id, const char *text, size_t n)
{
    mox_turn *t = arg;
    mox_stop_soft(true); /* from here on text has been given out */
    if (id != MOX_TOKEN_NONE && t->n_answer < t->max_ids) {
        t->answer[t->n_answer++] = id;
    }
    if (n > 0 && !t->began) {
        t->began = true;
        t->first_s = (double)(mox_now_ns() - t->begin_ns) * 1e-9;
        size_t space = t->trim && text[0] == ' ';
        text += space;
        n -= space;
    }
    if (t->note_drawn) {
        mox_ui_note_clear();
        t->note_drawn = false;
    }
    if (n <= t->max_text - t->n_text) {
        memcpy(t->text + t->n_text, text, n);
        t->n_text += n;
    }
    if (t->print && n > 0 && (fwrite(text, 1, n, stdout) != n || fflush(stdout) != 0)) {
        t->write_failed = true;
        return false;
    }
    return mox_stop_requested() == 0;
}

static void on_prefill(void *arg, uint32_t done, uint32_t total)
{
    mox_turn *t = arg;
    uint64_t now = mox_now_ns();
    if (done < total && now - t->note_ns > NOTE_NS) {
        t->note_ns = now;
        double seconds = (double)(now - t->begin_ns) * 1e-9;
        t->note_drawn = mox_ui_note("reading prompt %u/%u tokens, %.1f tok/s, %.0f s left", done, total,
                                    done / seconds, (total - done) * seconds / done);
    }
}

static bool on_cancel(void *arg)
{
    (void)arg;
    return mox_stop_requested() != 0;
}

/* How much of the prompt the sequence holds; the last token is always read, for its logits. */
static uint32_t reuse(mox_turn *t)
{
    uint32_t n = 0, most = t->n_held < t->n_prompt ? t->n_held : t->n_prompt - 1;
    while (n < most && t->ids[n] == t->held[n]) {
        n++;
    }
    mox_seq_keep(t->ctx, 0, n);
    uint32_t kept = mox_seq_len(t->ctx, 0); /* fewer where a model cannot go back to just there */
    return kept < n ? kept : n;
}

mox_err mox_turn_run(mox_turn *t)
{
    if (t->n_prompt == 0) {
        return MOX_FAIL(MOX_E_OPTION, "the prompt is empty");
    }
    uint32_t n_before = t->n_answer;
    t->n_reused = reuse(t);
    t->note_ns = mox_now_ns();
    mox_gen_cfg gen = {.prompt = t->ids,
                       .n_prompt = t->n_prompt,
                       .n_have = t->n_reused,
                       .max_new = t->o->max_new > n_before ? t->o->max_new - n_before : t->o->max_new,
                       .sampling = t->o->sampling,
                       .all_logits = t->o->all_logits,
                       .on_token = on_token,
                       .on_prefill = on_prefill,
                       .cancelled = t->cancel ? on_cancel : NULL,
                       .stop = t->o->stop.v,
                       .n_stop = t->o->stop.n,
                       .arg = t};
    gen.sampling.seed += t->retry;
    mox_gen_result result = {.stop = ""};
    mox_err err = mox_generate(t->ctx, 0, &gen, &result);
    if (t->note_drawn) {
        mox_ui_note_clear();
        t->note_drawn = false;
    }
    memcpy(t->held, t->ids, t->n_prompt * sizeof *t->ids);
    uint32_t n_new = t->n_answer - n_before, room = t->max_ids - t->n_prompt;
    memcpy(t->held + t->n_prompt, t->answer + n_before, (n_new < room ? n_new : room) * sizeof *t->ids);
    t->n_held = mox_seq_len(t->ctx, 0);
    MOX_TRY(err);
    t->result.n_new += result.n_new;
    t->result.stop = result.stop;
    t->result.prefill_s += result.prefill_s;
    t->result.decode_s += result.decode_s;
    return t->write_failed ? MOX_FAIL(MOX_E_WRITE, "standard output could not be written") : MOX_OK;
}
