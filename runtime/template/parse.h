/* Text to tree: the lexer and the two halves of the parser. */
#ifndef MOX_RUNTIME_TEMPLATE_PARSE_H
#define MOX_RUNTIME_TEMPLATE_PARSE_H

#include "internal.h"

typedef enum jin_token_kind {
    T_END, /* of the template */
    T_TEXT,
    T_PRINT_BEGIN,
    T_PRINT_END,
    T_BLOCK_BEGIN,
    T_BLOCK_END,
    T_NAME,
    T_STRING,
    T_INT,
    T_FLOAT,
    T_OP, /* text says which */
} jin_token_kind;

typedef struct jin_token {
    jin_token_kind kind;
    uint32_t line, col;
    const char *p; /* as it stands in the template */
    size_t n;
    val v; /* T_TEXT, T_STRING, T_INT, T_FLOAT */
} jin_token;

typedef enum jin_mode { MODE_TEXT, MODE_PRINT, MODE_BLOCK } jin_mode;
typedef enum jin_trim { TRIM_NONE, TRIM_NEWLINE, TRIM_ALL } jin_trim;

typedef struct jin_parser {
    jin *j;
    const char *p;
    size_t n, at;
    uint32_t line;
    size_t line_at; /* where the line begins */
    jin_mode mode;
    jin_trim trim; /* of the text that follows */
    bool line_start;
    char closes[MOX_JINJA_NESTING]; /* brackets that are open */
    uint32_t n_closes;
    bool after_dot;
    jin_token cur;
    uint32_t nesting;
    bool varargs, kwargs; /* these names were read since they were last cleared */
    uint32_t loops, ifs;  /* around what is being parsed */
} jin_parser;

void jin_parse(jin *j, const char *text, size_t n);

/* lex.c */
void jin_next(jin_parser *ps);
JIN_NORETURN void jin_unexpected(jin_parser *ps, const char *wanted);

/* parse_expr.c */
bool jin_at(const jin_parser *ps, const char *op); /* the operator, or the name, that stands there */
bool jin_skip(jin_parser *ps, const char *op);
void jin_expect(jin_parser *ps, const char *op);
bool jin_at_name(const jin_parser *ps, const char *word);
bool jin_skip_name(jin_parser *ps, const char *word);
node *jin_node(jin_parser *ps, jin_kind kind, const jin_token *at);
uint32_t jin_take_name(jin_parser *ps);
void jin_nest(jin_parser *ps);
node *jin_parse_expr(jin_parser *ps, bool with_if);
node *jin_parse_tuple(jin_parser *ps, bool with_if);
node *jin_parse_target(jin_parser *ps);
node *jin_parse_args(jin_parser *ps);
node *jin_parse_filters(jin_parser *ps, node *subject, bool first_named);
node *jin_parse_postfix(jin_parser *ps); /* a primary with its attributes and calls */

#endif
