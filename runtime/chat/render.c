/* Variables for a template, and segments of what it wrote. */
#include "runtime/chat/render.h"

#include <string.h>

static mox_jval text_of(const mox_tokenizer *t, uint32_t id)
{
    mox_str s = t != NULL && id != MOX_TOKEN_NONE ? mox_token_text(t, id) : (mox_str){"", 0};
    return mox_jinja_str(s.p, s.n, MOX_MARK_TEMPLATE);
}

void mox_render_begin(mox_jinja *j, const mox_tokenizer *t, bool generation_prompt)
{
    mox_token_ids ids = {.bos = MOX_TOKEN_NONE, .eos = MOX_TOKEN_NONE, .unk = MOX_TOKEN_NONE};
    if (t != NULL) {
        ids = *mox_tokenizer_ids(t);
    }
    mox_jinja_begin(j);
    mox_jinja_set(j, "bos_token", text_of(t, ids.bos));
    mox_jinja_set(j, "eos_token", text_of(t, ids.eos));
    mox_jinja_set(j, "unk_token", text_of(t, ids.unk));
    mox_jinja_set(j, "pad_token", mox_jinja_str("", 0, MOX_MARK_TEMPLATE));
    mox_jinja_set(j, "add_generation_prompt", mox_jinja_bool(generation_prompt, MOX_MARK_TEMPLATE));
    mox_jinja_set(j, "tools", mox_jinja_none());
    mox_jinja_set(j, "documents", mox_jinja_none());
}

uint8_t mox_render_role(const char *role, size_t n)
{
    static const char *const known[] = {"system",    "user",        "assistant", "tool",
                                        "developer", "function",    "model",     "ipython",
                                        "critic",    "observation", "documents"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strlen(known[i]) == n && memcmp(known[i], role, n) == 0) {
            return MOX_MARK_TEMPLATE;
        }
    }
    return MOX_MARK_USER;
}

/* Marks tell the answers of a conversation apart as long as there are no more than this between two. */
enum { MARKS = 256 - MOX_MARK_ANSWER };

static uint8_t mark_of(const mox_message *m, uint32_t i)
{
    return m[i].n_ids > 0 ? (uint8_t)(MOX_MARK_ANSWER + i % MARKS) : MOX_MARK_USER;
}

void mox_render_messages(mox_jinja *j, const mox_message *m, uint32_t n)
{
    static const struct {
        const char *p;
        size_t n;
    } keys[] = {{"role", 4}, {"content", 7}};
    mox_jval list = mox_jinja_list(j, MOX_MARK_USER);
    for (uint32_t i = 0; i < n; i++) {
        const char *role = mox_role_name(m[i].role);
        mox_jval one = mox_jinja_dict(j, MOX_MARK_USER);
        mox_jinja_put(j, one, mox_jinja_str(keys[0].p, keys[0].n, MOX_MARK_USER),
                      mox_jinja_str(role, strlen(role), MOX_MARK_TEMPLATE));
        mox_jinja_put(j, one, mox_jinja_str(keys[1].p, keys[1].n, MOX_MARK_USER),
                      mox_jinja_str(m[i].text, m[i].n_text, mark_of(m, i)));
        mox_jinja_push(j, list, one);
    }
    mox_jinja_set(j, "messages", list);
}

/* Where segments go: counted first, then written. */
typedef struct sink {
    const mox_tokenizer *t;
    const mox_message *m;
    uint32_t n_messages, next; /* answers are looked for from here on */
    mox_segment *out;
    uint32_t n;
} sink;

static void put(sink *s, mox_segment seg)
{
    if (s->out != NULL) {
        s->out[s->n] = seg;
    }
    s->n++;
}

static void put_text(sink *s, mox_segment_kind kind, const char *p, size_t n)
{
    if (n > 0) {
        put(s, (mox_segment){.kind = kind, .text = p, .n_text = n});
    }
}

/* The template's own text: cut at the control tokens that it names. */
static void put_template(sink *s, const char *p, size_t n)
{
    size_t from = 0, len = 0;
    for (size_t at = 0; at < n && s->t != NULL;) {
        uint32_t id = mox_token_special_at(s->t, p + at, n - at, &len);
        if (id == MOX_TOKEN_NONE || len == 0) {
            at++;
            continue;
        }
        put_text(s, MOX_SEGMENT_TEMPLATE, p + from, at - from);
        put(s, (mox_segment){.kind = MOX_SEGMENT_TOKEN, .token = id, .text = p + at, .n_text = len});
        from = at += len;
    }
    put_text(s, MOX_SEGMENT_TEMPLATE, p + from, n - from);
}

static void put_answer(sink *s, uint8_t mark, const char *p, size_t n)
{
    for (uint32_t i = s->next; i < s->n_messages; i++) {
        const mox_message *m = &s->m[i];
        if (mark_of(s->m, i) == mark && m->n_text == n && memcmp(m->text, p, n) == 0) {
            put(s, (mox_segment){
                       .kind = MOX_SEGMENT_IDS, .ids = m->ids, .n_ids = m->n_ids, .text = p, .n_text = n});
            s->next = i + 1;
            return;
        }
    }
    put_text(s, MOX_SEGMENT_USER, p, n);
}

static void cut(sink *s, const mox_jinja_text *text)
{
    for (size_t at = 0, end; at < text->n; at = end) {
        uint8_t mark = text->marks[at];
        for (end = at + 1; end < text->n && text->marks[end] == mark; end++) {
        }
        if (mark == MOX_MARK_TEMPLATE) {
            put_template(s, text->p + at, end - at);
        } else if (mark >= MOX_MARK_ANSWER) {
            put_answer(s, mark, text->p + at, end - at);
        } else {
            put_text(s, MOX_SEGMENT_USER, text->p + at, end - at);
        }
    }
}

mox_err mox_render_segments(mox_jinja *j, const mox_jinja_text *text, const mox_tokenizer *t,
                            const mox_message *m, uint32_t n, mox_segment **out, uint32_t *n_out)
{
    sink s = {.t = t, .m = m, .n_messages = m != NULL ? n : 0};
    cut(&s, text);
    s.out = mox_jinja_take(j, (s.n + 1) * sizeof *s.out);
    if (s.out == NULL) {
        return MOX_FAIL(MOX_E_TEMPLATE, "no memory for the %u pieces of a conversation", s.n);
    }
    s.n = s.next = 0;
    cut(&s, text);
    *out = s.out;
    *n_out = s.n;
    return MOX_OK;
}
