/* The list of messages; the order system, question, answer, question ... is kept by its users and checked by the
 * template. */
#include "runtime/cli/chat/conversation.h"

#include <stdlib.h>
#include <string.h>

static void forget(mox_message *m)
{
    free((char *)m->text);
    free((uint32_t *)m->ids);
}

void mox_conv_free(mox_conversation *c)
{
    for (uint32_t i = 0; i < c->n; i++) {
        forget(&c->m[i]);
    }
    free(c->m);
    *c = (mox_conversation){0};
}

static mox_err copy(mox_message *to, const mox_message *m)
{
    char *text = malloc(m->n_text + 1);
    uint32_t *ids = m->n_ids > 0 ? malloc(m->n_ids * sizeof *ids) : NULL;
    if (text == NULL || (m->n_ids > 0 && ids == NULL)) {
        free(text);
        free(ids);
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a message of %zu bytes", m->n_text);
    }
    memcpy(text, m->text, m->n_text);
    text[m->n_text] = '\0';
    if (ids != NULL) {
        memcpy(ids, m->ids, m->n_ids * sizeof *ids);
    }
    *to = *m;
    to->text = text;
    to->ids = ids;
    return MOX_OK;
}

static mox_err make_room(mox_conversation *c)
{
    if (c->n < c->cap) {
        return MOX_OK;
    }
    uint32_t cap = c->cap > 0 ? 2 * c->cap : 16;
    mox_message *more = realloc(c->m, cap * sizeof *more);
    if (more == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for %u messages", cap);
    }
    c->m = more;
    c->cap = cap;
    return MOX_OK;
}

mox_err mox_conv_add(mox_conversation *c, const mox_message *m)
{
    MOX_TRY(make_room(c));
    MOX_TRY(copy(&c->m[c->n], m));
    c->n++;
    return MOX_OK;
}

mox_err mox_conv_system(mox_conversation *c, const char *text, size_t n)
{
    mox_message m = {.role = MOX_ROLE_SYSTEM, .text = text, .n_text = n}, own;
    MOX_TRY(make_room(c));
    if (n > 0) {
        MOX_TRY(copy(&own, &m));
    }
    if (c->has_system) {
        forget(&c->m[0]);
        memmove(c->m, c->m + 1, --c->n * sizeof *c->m);
    }
    c->has_system = n > 0;
    if (n > 0) {
        memmove(c->m + 1, c->m, c->n++ * sizeof *c->m);
        c->m[0] = own;
    }
    return MOX_OK;
}

bool mox_conv_answered(const mox_conversation *c)
{
    return c->n > 0 && c->m[c->n - 1].role == MOX_ROLE_ASSISTANT;
}

void mox_conv_drop_last(mox_conversation *c)
{
    if (c->n > (uint32_t)c->has_system) {
        forget(&c->m[--c->n]);
    }
}

bool mox_conv_undo(mox_conversation *c)
{
    if (mox_conv_turns(c) == 0) {
        return false;
    }
    if (mox_conv_answered(c)) {
        mox_conv_drop_last(c);
    }
    mox_conv_drop_last(c);
    return true;
}

bool mox_conv_drop_oldest(mox_conversation *c)
{
    if (mox_conv_turns(c) < 2) {
        return false;
    }
    uint32_t first = c->has_system;
    forget(&c->m[first]);
    forget(&c->m[first + 1]);
    c->n -= 2;
    memmove(c->m + first, c->m + first + 2, (c->n - first) * sizeof *c->m);
    return true;
}

void mox_conv_clear(mox_conversation *c)
{
    while (c->n > (uint32_t)c->has_system) {
        mox_conv_drop_last(c);
    }
}

uint32_t mox_conv_turns(const mox_conversation *c)
{
    return (c->n - c->has_system + 1) / 2;
}
