/* The table of templates, and what holds for all of them: who may speak when. */
#include "templates.h"

#include <string.h>

static const mox_template *const templates[] = {&mox_template_mistral, NULL};

const char *mox_role_name(mox_role role)
{
    static const char *const names[MOX_ROLES] = {"system", "user", "assistant"};
    return names[role];
}

const mox_template *mox_template_match(mox_str chat_template)
{
    for (const mox_template *const *t = templates; *t != NULL; t++) {
        if ((*t)->matches(chat_template)) {
            return *t;
        }
    }
    return NULL;
}

const mox_template *mox_template_by_name(const char *name)
{
    for (const mox_template *const *t = templates; *t != NULL; t++) {
        if (strcmp((*t)->name, name) == 0) {
            return *t;
        }
    }
    return NULL;
}

const char *mox_template_name(const mox_template *t)
{
    return t->name;
}

uint32_t mox_segments_max(uint32_t n_messages)
{
    return 1 + MOX_SEGMENTS_PER_MESSAGE * n_messages;
}

mox_err mox_template_format(const mox_template *t, const mox_message *m, uint32_t n, const mox_token_ids *ids,
                            mox_segment *out, uint32_t *n_out)
{
    uint32_t first = n > 0 && m[0].role == MOX_ROLE_SYSTEM;
    for (uint32_t i = first; i < n; i++) {
        mox_role due = (i - first) % 2 == 0 ? MOX_ROLE_USER : MOX_ROLE_ASSISTANT;
        if (m[i].role != due) {
            return MOX_FAIL(MOX_E_ARG, "message %u is by %s, where %s is due", i + 1,
                            mox_role_name(m[i].role), mox_role_name(due));
        }
    }
    if (n == first || m[n - 1].role != MOX_ROLE_USER) {
        return MOX_FAIL(MOX_E_ARG, "there is no message to answer");
    }
    *n_out = t->format(m, n, ids, out);
    return MOX_OK;
}
