/* Chat templates: the part of Jinja that they use, as a pure function of a text and some values.
 *
 * Every byte has a mark that says who wrote it: the template, a user, or an answer of the model. Marks go through each
 * operation on strings (slices, joins, replacements, filters, JSON), so that of what a template renders it is known,
 * byte by byte, what may name a control token: the template's own bytes, never those of a user.
 *
 * A template comes out of a file that somebody else made, so it is bounded: steps, depth, output and memory. All memory
 * is mapped by mox_jinja_open; building values and rendering allocate nothing. There is no access to anything but the
 * values that were given. What is not supported is refused by name, with line and column.
 *
 * Called by runtime/chat and `moxie template render`. One object belongs to one thread.
 */
#ifndef MOX_RUNTIME_TEMPLATE_H
#define MOX_RUNTIME_TEMPLATE_H

#include "runtime/core/err.h"

#include <stddef.h>
#include <stdint.h>

typedef struct mox_jinja mox_jinja;

/* Who wrote a byte. From MOX_MARK_ANSWER on the caller tells texts apart as it likes. */
enum { MOX_MARK_TEMPLATE = 0, MOX_MARK_USER = 1, MOX_MARK_ANSWER = 2 };

typedef enum mox_jkind {
    MOX_J_UNDEF,
    MOX_J_NONE,
    MOX_J_BOOL,
    MOX_J_INT,
    MOX_J_FLOAT,
    MOX_J_STR,
    MOX_J_LIST,
    MOX_J_TUPLE,
    MOX_J_DICT,
    MOX_J_NAMESPACE, /* this and what follows is made by templates alone */
    MOX_J_MACRO,
    MOX_J_FUNCTION,
    MOX_J_METHOD,
    MOX_J_LOOP,
} mox_jkind;

typedef struct mox_jval {
    uint8_t kind; /* mox_jkind */
    uint8_t mark; /* of all bytes, where marks is NULL; of numbers and containers, what they are printed as */
    uint32_t n;   /* bytes of a string */
    const uint8_t *marks; /* [n] of a string, or NULL */
    union {
        int64_t i; /* also bool */
        double f;
        const char *p;
        struct mox_jlist *list;
        struct mox_jdict *dict;
        const void *other;
    } u;
} mox_jval;

typedef struct mox_jinja_cfg { /* 0: the default */
    size_t memory;             /* bytes, without the output's */
    size_t max_output;         /* bytes of any one text */
    uint64_t max_steps;        /* operations, long ones counted by their bytes */
    uint32_t max_depth;        /* of nested blocks, expressions, calls and values */
} mox_jinja_cfg;

enum {
    MOX_JINJA_MEMORY = 96 << 20,
    MOX_JINJA_OUTPUT = 16 << 20,
    MOX_JINJA_STEPS = 5000000,
    MOX_JINJA_DEPTH = 900,      /* of evaluation */
    MOX_JINJA_NESTING = 200,    /* of the template's text */
    MOX_JINJA_CALLS = 100,      /* of macros */
    MOX_JINJA_SOURCE = 4 << 20, /* bytes of a template */
};

/* mox_jinja_open: text is copied. Errors MOX_E_TEMPLATE (with line and column), MOX_E_NO_MEMORY. */
MOX_NODISCARD mox_err mox_jinja_open(mox_jinja **out, const char *text, size_t n, const mox_jinja_cfg *cfg);
void mox_jinja_close(mox_jinja **j);

/* mox_jinja_begin: forgets the last rendering and its values. mox_jinja_now: what strftime_now prints, seconds since
 * 1970 as local time is written; without it the clock counts. */
void mox_jinja_begin(mox_jinja *j);
void mox_jinja_now(mox_jinja *j, int64_t seconds);

/* Values, valid until the next begin. Strings are not copied: p must outlive the rendering and what is read of it. Where
 * memory runs out, mox_jinja_render says so. */
mox_jval mox_jinja_none(void);
mox_jval mox_jinja_bool(bool b, uint8_t mark);
mox_jval mox_jinja_int(int64_t i, uint8_t mark);
mox_jval mox_jinja_float(double f, uint8_t mark);
mox_jval mox_jinja_str(const char *p, size_t n, uint8_t mark);
mox_jval mox_jinja_list(mox_jinja *j, uint8_t mark);
mox_jval mox_jinja_dict(mox_jinja *j, uint8_t mark);
void mox_jinja_push(mox_jinja *j, mox_jval list, mox_jval v);
/* mox_jinja_put: a key that is not there yet. mox_jinja_get: kind MOX_J_UNDEF where it is not there. */
void mox_jinja_put(mox_jinja *j, mox_jval dict, mox_jval key, mox_jval v);
mox_jval mox_jinja_get(mox_jval dict, const char *key);
/* mox_jinja_set: a variable of the template. */
void mox_jinja_set(mox_jinja *j, const char *name, mox_jval v);

typedef struct mox_jinja_text {
    const char *p;
    const uint8_t *marks; /* [n] */
    size_t n;
} mox_jinja_text;

/* mox_jinja_render: out is valid until the next begin. Errors MOX_E_TEMPLATE, with line and column; what a template
 * raises is one of them. A template may be rendered again with the same values. */
MOX_NODISCARD mox_err mox_jinja_render(mox_jinja *j, mox_jinja_text *out);
/* mox_jinja_take: memory of the rendering, valid until the next begin; NULL: there is no more. */
void *mox_jinja_take(mox_jinja *j, size_t n);

/* mox_jinja_loops_over: whether the template has a loop over something called `name`, or over a variable that was set
 * to such a thing: how one sees that it takes a message's content in parts. */
bool mox_jinja_loops_over(const mox_jinja *j, const char *name);
/* mox_jinja_mentions: whether the template reads a variable of that name. */
bool mox_jinja_mentions(const mox_jinja *j, const char *name);

#endif
