/* What the parts of the template engine share. jin_ functions that take a `jin *` do not return when they fail: the
 * error record is filled and control goes back to open or render. Nothing is held but pieces of one arena, so there is
 * nothing to give back on the way, and every value can be used without a check behind each call. */
#ifndef MOX_RUNTIME_TEMPLATE_INTERNAL_H
#define MOX_RUNTIME_TEMPLATE_INTERNAL_H

#include "runtime/core/arena.h"
#include "runtime/template/template.h"

#include <setjmp.h>
#include <stdbool.h>
#include <string.h>

typedef struct mox_jinja jin;
typedef mox_jval val;
typedef struct jin_args jin_args;
typedef val jin_fn(jin *j, val self, jin_args *a);

typedef struct mox_jlist {
    val *v;
    uint32_t n, cap;
} jin_list;

typedef struct jin_entry {
    val key, v;
} jin_entry;

typedef struct mox_jdict {
    jin_entry *e; /* in the order of insertion */
    uint32_t n, cap;
} jin_dict;

/* The tree. Lists of nodes hang together by `next`. */
typedef enum jin_kind {
    E_CONST,  /* v */
    E_NAME,   /* name */
    E_LIST,   /* a...: items */
    E_TUPLE,  /* a... */
    E_DICT,   /* a...: key, value, key, value */
    E_ATTR,   /* a.name; method: what it is on the built-in types */
    E_ITEM,   /* a[b] */
    E_SLICE,  /* a[b:c:d] */
    E_CALL,   /* a(b...) */
    E_FILTER, /* a|fn(b...); a NULL in filter blocks */
    E_TEST,   /* a is fn(b...) */
    E_NOT,
    E_NEG,
    E_POS,
    E_BIN, /* a op b */
    E_AND,
    E_OR,
    E_CONCAT,   /* a ~ a->next ~ ... */
    E_COMPARE,  /* a, then b...: op and operand (a of each) */
    E_COND,     /* b if a else c */
    E_KEYWORD,  /* an argument: name=a */
    S_TEXT,     /* v */
    S_PRINT,    /* a */
    S_IF,       /* a: condition, b: then, c: the next elif, d: else */
    S_FOR,      /* a: target, b: over, c: condition, d: body, e: else */
    S_SET,      /* a: target, b: value */
    S_SETBLOCK, /* a: target, b: filters, c: body */
    S_MACRO,    /* name, a...: parameters (name, a: default), b: body */
    S_CALL,     /* a: the call, c: its body as S_MACRO */
    S_FILTER,   /* a: filters, b: body */
    S_WITH,     /* a...: S_SET, b: body */
    S_BODY,     /* b: body, as it is ({% generation %}) */
    S_BREAK,
    S_CONTINUE,
} jin_kind;

typedef enum jin_op {
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_FLOORDIV,
    OP_MOD,
    OP_POW,
    OP_EQ,
    OP_NE,
    OP_LT,
    OP_LE,
    OP_GT,
    OP_GE,
    OP_IN,
    OP_NOT_IN,
} jin_op;

typedef struct jin_method {
    const char *name;
    jin_fn *str, *list, *dict; /* NULL: not on that type */
} jin_method;

typedef struct jin_node {
    uint8_t kind, op;
    bool negated;   /* E_TEST */
    uint16_t depth; /* of the tree below */
    uint32_t line, col;
    uint32_t name;
    struct jin_node *a, *b, *c, *d, *e, *next;
    val v;
    jin_fn *fn;
    const jin_method *method;
    const char *what;     /* filters, tests: how it is called */
    bool varargs, kwargs; /* S_MACRO, S_CALL: extra arguments are looked at */
} node;

typedef struct jin_binding {
    uint32_t name;
    val v;
    struct jin_binding *next;
} jin_binding;

typedef struct jin_scope {
    jin_binding *first;
    struct jin_scope *up;
} jin_scope;

typedef struct jin_keyword {
    uint32_t name;
    bool used;
    val v;
} jin_keyword;

struct jin_args {
    val *v;
    uint32_t n, n_used;
    jin_keyword *k;
    uint32_t n_k;
    const char *what; /* for messages */
};

typedef struct jin_macro {
    const node *def;
    jin_scope *scope;
} jin_macro;

typedef struct jin_bound {
    val self;
    jin_fn *fn;
    const char *name;
} jin_bound;

typedef struct jin_loop {
    val *items;
    uint32_t n, i;
    val changed;
    bool has_changed;
} jin_loop;

typedef enum jin_flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } jin_flow;

struct mox_jinja {
    mox_arena arena;
    size_t after_parse; /* of the arena; what lies above belongs to a rendering */
    char *out;          /* everything that is written, and every string while it is being made */
    uint8_t *out_marks;
    size_t n_out;
    mox_jinja_cfg cfg;
    jmp_buf fail;
    bool failing; /* fail is set */
    bool full;    /* memory ran out while values were built */
    const char *src;
    size_t n_src;
    mox_jval *names; /* strings; an index is a name */
    uint32_t n_names, cap_names, *slots, n_slots;
    node *root;
    const node *at; /* what is being evaluated, for messages */
    uint64_t steps;
    uint32_t depth, calls;
    jin_flow flow;
    jin_scope *globals, *scope;
    bool has_now;
    int64_t now;
};

/* memory.c */
#define JIN_NORETURN __attribute__((noreturn))
JIN_NORETURN void jin_fail(jin *j, const char *fmt, ...) MOX_PRINTF(2, 3);
JIN_NORETURN void jin_fail_at(jin *j, uint32_t line, uint32_t col, const char *fmt, ...) MOX_PRINTF(4, 5);
void *jin_take(jin *j, size_t n);
void jin_step(jin *j, uint64_t n);
uint32_t jin_name(jin *j, const char *p, size_t n);
void jin_enter(jin *j); /* one level deeper */
static inline void jin_leave(jin *j)
{
    j->depth--;
}
/* How a value looks in a message: its type, as Python calls it. */
const char *jin_type(val v);

/* parse_*.c, lex.c: see parse.h */

/* text.c: strings. A string is made by putting pieces behind the output and cutting them off. */
void jin_put(jin *j, const char *p, size_t n, uint8_t mark);
void jin_put_text(jin *j, val s, size_t from, size_t to); /* bytes of s */
void jin_put_str(jin *j, val s);
val jin_cut(jin *j, size_t from); /* what was put since n_out was `from` */
val jin_lit(const char *s);       /* a constant */
val jin_sub(val s, size_t from, size_t to);
val jin_concat(jin *j, val a, val b);
bool jin_is(val s, const char *word);
size_t jin_char(val s, size_t at, uint32_t *cp); /* bytes of the character there; a bad byte is one */
uint32_t jin_length(jin *j, val s);
size_t jin_offset(val s, uint32_t chars); /* bytes in front of that character */
bool jin_space(uint32_t cp);
val jin_strip(val s, bool left, bool right, const val *chars);
size_t jin_find(val s, size_t from, val word); /* SIZE_MAX: nowhere */
val jin_replace(jin *j, val s, val from, val to, int64_t most);
typedef enum jin_case { CASE_UPPER, CASE_LOWER } jin_case;
void jin_put_case(jin *j, val s, size_t from, size_t to, jin_case how);
uint32_t jin_upper(uint32_t cp);
uint32_t jin_lower(uint32_t cp);
bool jin_alpha(uint32_t cp);
bool jin_cased(uint32_t cp);
size_t jin_line_end(val s, size_t at, size_t *next); /* the line that begins at `at`, and the next one */
void jin_put_cp(jin *j, uint32_t cp, uint8_t mark);

/* value.c */
bool jin_truth(val v);
bool jin_equal(jin *j, val a, val b);
int jin_compare(jin *j, val a, val b); /* <0, 0, >0 */
bool jin_contains(jin *j, val in, val v);
val jin_new_list(jin *j, uint32_t cap, mox_jkind kind);
void jin_push(jin *j, val list, val v);
val jin_new_dict(jin *j, mox_jkind kind);
void jin_dict_set(jin *j, val dict, val key, val v);
val *jin_dict_find(jin *j, val dict, val key);
val *jin_iter(jin *j, val v, uint32_t *n); /* the items of anything that can be looped over */
val jin_item(jin *j, val v, val key);
val jin_attr(jin *j, val v, uint32_t name, const jin_method *m);
val jin_slice(jin *j, val v, val from, val to, val step);
val jin_missing(jin *j, val key); /* undefined, with the name for messages */
double jin_number(val v);         /* of int, float, bool */
static inline bool jin_is_number(val v)
{
    return v.kind == MOX_J_BOOL || v.kind == MOX_J_INT || v.kind == MOX_J_FLOAT;
}
static inline bool jin_is_int(val v)
{
    return v.kind == MOX_J_BOOL || v.kind == MOX_J_INT;
}
static inline bool jin_is_list(val v)
{
    return v.kind == MOX_J_LIST || v.kind == MOX_J_TUPLE;
}
static inline val jin_undef(void)
{
    return (val){.kind = MOX_J_UNDEF, .u.p = ""};
}
static inline val jin_int(int64_t i)
{
    return mox_jinja_int(i, MOX_MARK_TEMPLATE);
}
static inline val jin_bool(bool b)
{
    return mox_jinja_bool(b, MOX_MARK_TEMPLATE);
}
int64_t jin_need_int(jin *j, val v, const char *what);
val jin_need_str(jin *j, val v, const char *what);

/* show.c */
void jin_put_value(jin *j, val v); /* as str() */
void jin_put_repr(jin *j, val v);
val jin_str(jin *j, val v);
void jin_put_int(jin *j, int64_t i, uint8_t mark);
void jin_put_float(jin *j, double f, uint8_t mark);
/* json.c */
jin_fn jin_f_tojson;

/* eval.c, ops.c */
val jin_eval(jin *j, const node *e);
val jin_binary(jin *j, jin_op op, val a, val b);
bool jin_relation(jin *j, jin_op op, val a, val b);
void jin_bind(jin *j, jin_scope *s, uint32_t name, val v);
val *jin_lookup(jin *j, uint32_t name);
val jin_resolve(jin *j, uint32_t name); /* variable, or built-in function */

/* exec.c */
void jin_exec(jin *j, const node *list);
jin_scope *jin_push_scope(jin *j, jin_scope *up); /* the scope that was current */
val jin_loop_attr(jin *j, val loop, const char *name);
val jin_capture(jin *j, const node *body);
void jin_assign(jin *j, const node *target, val v);

/* call.c */
val jin_call(jin *j, const node *call);
val jin_call_with(jin *j, val callee, jin_args *a);
void jin_eval_args(jin *j, const node *list, jin_args *a);
val jin_call_macro(jin *j, const jin_macro *m, jin_args *a, const val *caller);
/* Arguments of built-in things: by position or name. */
bool jin_arg(jin *j, jin_args *a, uint32_t i, const char *name, val *out);
val jin_arg_or(jin *j, jin_args *a, uint32_t i, const char *name, val otherwise);
val jin_arg_need(jin *j, jin_args *a, uint32_t i, const char *name);
void jin_args_end(jin *j, jin_args *a);
val jin_function(const char *name); /* undefined: there is none */

/* Tables; NULL: unknown. */
jin_fn *jin_find_filter(const char *name, size_t n);
jin_fn *jin_find_test(const char *name, size_t n);
const jin_method *jin_find_method(const char *name, size_t n);
jin_fn *jin_method_of(const jin_method *m, val v);
extern const jin_method jin_methods[];

/* format.c */
val jin_percent(jin *j, val format, val arg);
jin_fn jin_m_format;
/* clock.c */
jin_fn jin_g_strftime_now;

#endif
