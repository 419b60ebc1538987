/* JSON from people: messages, tools and variables for a chat template. */
#ifndef MOX_CLI_JSON_DOC_H
#define MOX_CLI_JSON_DOC_H

#include "runtime/template/template.h"

typedef struct mox_jdoc mox_jdoc;

typedef enum mox_jdoc_kind { MOX_JDOC_MESSAGES, MOX_JDOC_TOOLS, MOX_JDOC_VARIABLES } mox_jdoc_kind;

/* mox_jdoc_read: from a file ("-": standard input). mox_jdoc_parse: from a text; what: its name for messages. The shape
 * is checked: messages are a list of objects with a role (or an object with such a list), tools a list, variables an
 * object. Errors MOX_E_FORMAT, MOX_E_OPEN; in a build without jansson always MOX_E_FORMAT. */
MOX_NODISCARD mox_err mox_jdoc_read(mox_jdoc **out, const char *path, mox_jdoc_kind kind);
MOX_NODISCARD mox_err mox_jdoc_parse(mox_jdoc **out, const char *text, size_t n, const char *what,
                                     mox_jdoc_kind kind);
void mox_jdoc_free(mox_jdoc **d);

/* mox_jdoc_set: the template's variable(s): `messages`, `tools`, or one for each entry. Allocates nothing. parts:
 * messages whose content is a list of texts keep it; otherwise such texts are joined by newlines. */
void mox_jdoc_set(mox_jinja *j, const mox_jdoc *d, bool parts);

#endif
