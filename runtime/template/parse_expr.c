/* Expressions, with Jinja's precedences: if-else, or, and, not, comparisons, + -, ~, * / // %, **, signs, and behind a
 * primary its attributes, calls, filters and tests. Every node knows how deep the tree below it is, so that chains
 * (a + b + c ...) are bounded like brackets: whoever walks the tree may recurse. */
#include "parse.h"

bool jin_at(const jin_parser *ps, const char *op)
{
    return ps->cur.kind == T_OP && ps->cur.n == strlen(op) && memcmp(ps->cur.p, op, ps->cur.n) == 0;
}

bool jin_skip(jin_parser *ps, const char *op)
{
    bool there = jin_at(ps, op);
    if (there) {
        jin_next(ps);
    }
    return there;
}

void jin_expect(jin_parser *ps, const char *op)
{
    if (!jin_skip(ps, op)) {
        jin_unexpected(ps, op);
    }
}

bool jin_at_name(const jin_parser *ps, const char *word)
{
    return ps->cur.kind == T_NAME && ps->cur.n == strlen(word) && memcmp(ps->cur.p, word, ps->cur.n) == 0;
}

bool jin_skip_name(jin_parser *ps, const char *word)
{
    bool there = jin_at_name(ps, word);
    if (there) {
        jin_next(ps);
    }
    return there;
}

node *jin_node(jin_parser *ps, jin_kind kind, const jin_token *at)
{
    node *n = jin_take(ps->j, sizeof *n);
    *n = (node){.kind = (uint8_t)kind, .line = at->line, .col = at->col, .depth = 1};
    return n;
}

/* The depth of a node from that of its children. */
static node *deep(jin_parser *ps, node *n)
{
    const node *children[] = {n->a, n->b, n->c, n->d};
    for (int i = 0; i < 4; i++) {
        for (const node *c = children[i]; c != NULL; c = c->next) {
            n->depth = c->depth + 1 > n->depth ? (uint16_t)(c->depth + 1) : n->depth;
            if (i == 0 && n->kind != E_LIST && n->kind != E_TUPLE && n->kind != E_DICT &&
                n->kind != E_CONCAT) {
                break;
            }
        }
    }
    if (n->depth > MOX_JINJA_NESTING) {
        jin_fail_at(ps->j, n->line, n->col, "an expression nests more than %d deep", MOX_JINJA_NESTING);
    }
    return n;
}

void jin_nest(jin_parser *ps)
{
    if (++ps->nesting > MOX_JINJA_NESTING) {
        jin_fail_at(ps->j, ps->cur.line, ps->cur.col, "blocks and expressions nest more than %d deep",
                    MOX_JINJA_NESTING);
    }
}

uint32_t jin_take_name(jin_parser *ps)
{
    if (ps->cur.kind != T_NAME) {
        jin_unexpected(ps, "a name");
    }
    uint32_t name = jin_name(ps->j, ps->cur.p, ps->cur.n);
    jin_next(ps);
    return name;
}

static void append(node **first, node **last, node *n)
{
    if (*first == NULL) {
        *first = n;
    } else {
        (*last)->next = n;
    }
    *last = n;
}

static node *constant(jin_parser *ps, const jin_token *at, val v)
{
    node *n = jin_node(ps, E_CONST, at);
    n->v = v;
    return n;
}

static node *parse_name(jin_parser *ps)
{
    static const struct {
        const char *word;
        val v;
    } words[] = {{"true", {.kind = MOX_J_BOOL, .u.i = 1}},
                 {"True", {.kind = MOX_J_BOOL, .u.i = 1}},
                 {"false", {.kind = MOX_J_BOOL, .u.i = 0}},
                 {"False", {.kind = MOX_J_BOOL, .u.i = 0}},
                 {"none", {.kind = MOX_J_NONE}},
                 {"None", {.kind = MOX_J_NONE}}};
    jin_token at = ps->cur;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (jin_skip_name(ps, words[i].word)) {
            return constant(ps, &at, words[i].v);
        }
    }
    ps->varargs = ps->varargs || jin_at_name(ps, "varargs");
    ps->kwargs = ps->kwargs || jin_at_name(ps, "kwargs");
    node *n = jin_node(ps, E_NAME, &at);
    n->name = jin_take_name(ps);
    return n;
}

/* [a, b] and {a: b}, behind the bracket. */
static node *parse_items(jin_parser *ps, const jin_token *at, bool dict)
{
    node *n = jin_node(ps, dict ? E_DICT : E_LIST, at), *last = NULL;
    const char *close = dict ? "}" : "]";
    while (!jin_skip(ps, close)) {
        if (n->a != NULL) {
            jin_expect(ps, ",");
            if (jin_skip(ps, close)) {
                break;
            }
        }
        append(&n->a, &last, jin_parse_expr(ps, true));
        if (dict) {
            jin_expect(ps, ":");
            append(&n->a, &last, jin_parse_expr(ps, true));
        }
    }
    return deep(ps, n);
}

static node *parse_primary(jin_parser *ps)
{
    jin_token at = ps->cur;
    switch (at.kind) {
    case T_NAME:
        return parse_name(ps);
    case T_STRING: {
        val s = at.v;
        for (jin_next(ps); ps->cur.kind == T_STRING; jin_next(ps)) {
            s = jin_concat(ps->j, s, ps->cur.v);
        }
        return constant(ps, &at, s);
    }
    case T_INT:
    case T_FLOAT:
        jin_next(ps);
        return constant(ps, &at, at.v);
    default:
        break;
    }
    if (jin_skip(ps, "(")) {
        if (jin_skip(ps, ")")) {
            return jin_node(ps, E_TUPLE, &at);
        }
        node *n = jin_parse_tuple(ps, true);
        jin_expect(ps, ")");
        return n;
    }
    if (jin_skip(ps, "[")) {
        return parse_items(ps, &at, false);
    }
    if (jin_skip(ps, "{")) {
        return parse_items(ps, &at, true);
    }
    jin_unexpected(ps, "an expression");
}

/* What stands in [ ]: an expression, or a slice. */
static node *parse_subscript(jin_parser *ps, node *n, const jin_token *at)
{
    node *part[3] = {NULL, NULL, NULL};
    uint32_t k = 0;
    bool slice = false;
    while (!jin_at(ps, "]")) {
        if (jin_skip(ps, ":")) {
            slice = true;
            if (++k > 2) {
                jin_unexpected(ps, "]");
            }
        } else if (part[k] == NULL) {
            part[k] = jin_parse_expr(ps, true);
        } else {
            jin_unexpected(ps, "]");
        }
    }
    if (!slice && part[0] == NULL) {
        jin_unexpected(ps, "an expression");
    }
    jin_next(ps);
    node *s = jin_node(ps, slice ? E_SLICE : E_ITEM, at);
    s->a = n;
    s->b = part[0];
    s->c = part[1];
    s->d = part[2];
    return deep(ps, s);
}

static node *parse_attribute(jin_parser *ps, node *n, const jin_token *at)
{
    if (ps->cur.kind == T_INT) { /* a.0 is a[0] */
        node *s = jin_node(ps, E_ITEM, at);
        s->a = n;
        s->b = constant(ps, &ps->cur, ps->cur.v);
        jin_next(ps);
        return deep(ps, s);
    }
    node *s = jin_node(ps, E_ATTR, &ps->cur);
    s->a = n;
    s->method = ps->cur.kind == T_NAME ? jin_find_method(ps->cur.p, ps->cur.n) : NULL;
    s->name = jin_take_name(ps);
    return deep(ps, s);
}

/* One argument, with `name =` in front of it or not. */
static node *parse_arg(jin_parser *ps)
{
    if (jin_at(ps, "*") || jin_at(ps, "**")) {
        jin_fail_at(ps->j, ps->cur.line, ps->cur.col, "%.*s in front of an argument is not supported",
                    (int)ps->cur.n, ps->cur.p);
    }
    jin_token at = ps->cur;
    if (at.kind == T_NAME) {
        jin_parser before = *ps;
        jin_next(ps);
        if (jin_skip(ps, "=")) {
            node *n = jin_node(ps, E_KEYWORD, &at);
            n->name = jin_name(ps->j, at.p, at.n);
            n->a = jin_parse_expr(ps, true);
            return deep(ps, n);
        }
        *ps = before;
    }
    return jin_parse_expr(ps, true);
}

/* (a, b, c=d), at the bracket. */
node *jin_parse_args(jin_parser *ps)
{
    node *first = NULL, *last = NULL;
    bool named = false;
    jin_expect(ps, "(");
    while (!jin_skip(ps, ")")) {
        if (first != NULL) {
            jin_expect(ps, ",");
            if (jin_skip(ps, ")")) {
                break;
            }
        }
        node *n = parse_arg(ps);
        if (named && n->kind != E_KEYWORD) {
            jin_fail_at(ps->j, n->line, n->col, "an argument without a name behind one with a name");
        }
        named = n->kind == E_KEYWORD;
        append(&first, &last, n);
    }
    return first;
}

static node *parse_call(jin_parser *ps, node *n)
{
    node *call = jin_node(ps, E_CALL, &ps->cur);
    if (n->kind == E_NAME || n->kind == E_ATTR) {
        call->line = n->line;
        call->col = n->col;
    }
    call->a = n;
    call->b = jin_parse_args(ps);
    return deep(ps, call);
}

/* A dotted name, as filters and tests may have; none that is known has a dot. */
static node *parse_named(jin_parser *ps, jin_kind kind, jin_fn *(*find)(const char *, size_t),
                         const char *what)
{
    jin_token at = ps->cur;
    if (at.kind != T_NAME) {
        jin_unexpected(ps, kind == E_FILTER ? "the name of a filter" : "the name of a test");
    }
    node *n = jin_node(ps, kind, &at);
    n->fn = find(at.p, at.n);
    if (n->fn == NULL && ps->ifs == 0) { /* in an if it fails where it is reached, as in Jinja */
        jin_fail_at(ps->j, at.line, at.col, "the %s \"%.*s\" is not supported", what,
                    at.n < 40 ? (int)at.n : 40, at.p);
    }
    n->name = jin_take_name(ps);
    size_t start = ps->j->n_out;
    jin_put(ps->j, at.p, at.n, MOX_MARK_TEMPLATE);
    jin_put(ps->j, "", 1, MOX_MARK_TEMPLATE);
    n->what = jin_cut(ps->j, start).u.p;
    return n;
}

node *jin_parse_filters(jin_parser *ps, node *subject, bool first_named)
{
    node *n = subject;
    while (first_named || jin_skip(ps, "|")) {
        first_named = false;
        node *f = parse_named(ps, E_FILTER, jin_find_filter, "filter");
        f->a = n;
        f->b = jin_at(ps, "(") ? jin_parse_args(ps) : NULL;
        n = deep(ps, f);
    }
    return n;
}

static node *parse_postfixes(jin_parser *ps, node *n)
{
    for (;;) {
        jin_token at = ps->cur;
        if (jin_skip(ps, ".")) {
            n = parse_attribute(ps, n, &at);
        } else if (jin_skip(ps, "[")) {
            n = parse_subscript(ps, n, &at);
        } else if (jin_at(ps, "(")) {
            n = parse_call(ps, n);
        } else {
            return n;
        }
    }
}

static bool ends_test(const jin_parser *ps)
{
    return jin_at_name(ps, "else") || jin_at_name(ps, "or") || jin_at_name(ps, "and") ||
           jin_at_name(ps, "if") || jin_at_name(ps, "is") || jin_at_name(ps, "in") ||
           jin_at_name(ps, "not") || jin_at_name(ps, "recursive");
}

static bool starts_primary(const jin_parser *ps)
{
    return ps->cur.kind == T_NAME || ps->cur.kind == T_STRING || ps->cur.kind == T_INT ||
           ps->cur.kind == T_FLOAT || jin_at(ps, "[") || jin_at(ps, "{");
}

static node *parse_test(jin_parser *ps, node *n)
{
    bool negated = jin_skip_name(ps, "not");
    node *t = parse_named(ps, E_TEST, jin_find_test, "test");
    t->negated = negated;
    t->a = n;
    if (jin_at(ps, "(")) {
        t->b = jin_parse_args(ps);
    } else if (starts_primary(ps) && !ends_test(ps)) {
        t->b = parse_postfixes(ps, parse_primary(ps));
    }
    return deep(ps, t);
}

static node *parse_unary(jin_parser *ps, bool filters)
{
    jin_token at = ps->cur;
    node *n;
    jin_nest(ps);
    if (jin_at(ps, "-") || jin_at(ps, "+")) {
        n = jin_node(ps, jin_at(ps, "-") ? E_NEG : E_POS, &at);
        jin_next(ps);
        n->a = parse_unary(ps, false);
        deep(ps, n);
    } else {
        n = parse_primary(ps);
    }
    n = parse_postfixes(ps, n);
    while (filters) {
        if (jin_at(ps, "|")) {
            n = jin_parse_filters(ps, n, false);
        } else if (jin_skip_name(ps, "is")) {
            n = parse_test(ps, n);
        } else if (jin_at(ps, "(")) {
            n = parse_call(ps, n);
        } else {
            break;
        }
    }
    ps->nesting--;
    return n;
}

typedef struct level {
    const char *text;
    jin_op op;
} level;

/* Left to right: a op b op c. */
static node *parse_left(jin_parser *ps, const level *ops, node *(*below)(jin_parser *ps))
{
    node *n = below(ps);
    for (;;) {
        const level *l = ops;
        while (l->text != NULL && !jin_at(ps, l->text)) {
            l++;
        }
        if (l->text == NULL) {
            return n;
        }
        node *b = jin_node(ps, E_BIN, &ps->cur);
        jin_next(ps);
        b->op = (uint8_t)l->op;
        b->a = n;
        b->b = below(ps);
        n = deep(ps, b);
    }
}

static node *parse_sign(jin_parser *ps)
{
    return parse_unary(ps, true);
}

static node *parse_power(jin_parser *ps)
{
    static const level ops[] = {{"**", OP_POW}, {NULL, OP_ADD}};
    return parse_left(ps, ops, parse_sign);
}

static node *parse_product(jin_parser *ps)
{
    static const level ops[] = {
        {"*", OP_MUL}, {"/", OP_DIV}, {"//", OP_FLOORDIV}, {"%", OP_MOD}, {NULL, OP_ADD}};
    return parse_left(ps, ops, parse_power);
}

static node *parse_concat(jin_parser *ps)
{
    jin_token at = ps->cur;
    node *first = parse_product(ps), *last = first;
    if (!jin_at(ps, "~")) {
        return first;
    }
    node *n = jin_node(ps, E_CONCAT, &at);
    n->a = first;
    while (jin_skip(ps, "~")) {
        last->next = parse_product(ps);
        last = last->next;
    }
    return deep(ps, n);
}

static node *parse_sum(jin_parser *ps)
{
    static const level ops[] = {{"+", OP_ADD}, {"-", OP_SUB}, {NULL, OP_ADD}};
    return parse_left(ps, ops, parse_concat);
}

/* The comparison that stands there, consumed; false: none. */
static bool comparison(jin_parser *ps, jin_op *op)
{
    static const level ops[] = {{"==", OP_EQ}, {"!=", OP_NE}, {"<=", OP_LE},
                                {">=", OP_GE}, {"<", OP_LT},  {">", OP_GT}};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (jin_skip(ps, ops[i].text)) {
            *op = ops[i].op;
            return true;
        }
    }
    *op = OP_IN;
    if (jin_skip_name(ps, "in")) {
        return true;
    }
    if (jin_at_name(ps, "not")) {
        jin_parser before = *ps;
        jin_next(ps);
        if (jin_skip_name(ps, "in")) {
            *op = OP_NOT_IN;
            return true;
        }
        *ps = before;
    }
    return false;
}

static node *parse_compare(jin_parser *ps)
{
    jin_token at = ps->cur;
    node *first = parse_sum(ps), *n = NULL, *last = NULL;
    jin_op op;
    while (at = ps->cur, comparison(ps, &op)) {
        if (n == NULL) {
            n = jin_node(ps, E_COMPARE, &at);
            n->a = first;
        }
        node *c = jin_node(ps, E_COMPARE, &at);
        c->op = (uint8_t)op;
        c->a = parse_sum(ps);
        append(&n->b, &last, deep(ps, c));
    }
    return n != NULL ? deep(ps, n) : first;
}

static node *parse_not(jin_parser *ps)
{
    if (!jin_at_name(ps, "not")) {
        return parse_compare(ps);
    }
    node *n = jin_node(ps, E_NOT, &ps->cur);
    jin_nest(ps);
    jin_next(ps);
    n->a = parse_not(ps);
    ps->nesting--;
    return deep(ps, n);
}

static node *parse_word(jin_parser *ps, const char *word, jin_kind kind, node *(*below)(jin_parser *ps))
{
    node *n = below(ps);
    while (jin_at_name(ps, word)) {
        node *b = jin_node(ps, kind, &ps->cur);
        jin_next(ps);
        b->a = n;
        b->b = below(ps);
        n = deep(ps, b);
    }
    return n;
}

static node *parse_and(jin_parser *ps)
{
    return parse_word(ps, "and", E_AND, parse_not);
}

static node *parse_or(jin_parser *ps)
{
    return parse_word(ps, "or", E_OR, parse_and);
}

node *jin_parse_expr(jin_parser *ps, bool with_if)
{
    jin_nest(ps);
    node *n = parse_or(ps);
    while (with_if && jin_at_name(ps, "if")) {
        node *c = jin_node(ps, E_COND, &ps->cur);
        jin_next(ps);
        c->b = n;
        c->a = parse_or(ps);
        c->c = jin_skip_name(ps, "else") ? jin_parse_expr(ps, true) : NULL;
        n = deep(ps, c);
    }
    ps->nesting--;
    return n;
}

static bool ends_tuple(const jin_parser *ps)
{
    return ps->cur.kind == T_PRINT_END || ps->cur.kind == T_BLOCK_END || jin_at(ps, ")") ||
           jin_at_name(ps, "in") || jin_at_name(ps, "recursive") || jin_at(ps, "=");
}

node *jin_parse_tuple(jin_parser *ps, bool with_if)
{
    jin_token at = ps->cur;
    node *first = jin_parse_expr(ps, with_if), *last = NULL;
    if (!jin_at(ps, ",")) {
        return first;
    }
    node *n = jin_node(ps, E_TUPLE, &at);
    append(&n->a, &last, first);
    while (jin_skip(ps, ",") && !ends_tuple(ps)) {
        append(&n->a, &last, jin_parse_expr(ps, with_if));
    }
    return deep(ps, n);
}

/* What is assigned to: a name, a.b, or several of them. */
node *jin_parse_target(jin_parser *ps)
{
    jin_token at = ps->cur;
    node *first = NULL, *last = NULL;
    bool tuple = false, brackets = jin_skip(ps, "(");
    do {
        if (ends_tuple(ps)) {
            break;
        }
        node *n = jin_node(ps, E_NAME, &ps->cur);
        n->name = jin_take_name(ps);
        if (jin_skip(ps, ".")) {
            node *attr = jin_node(ps, E_ATTR, &at);
            attr->a = n;
            attr->name = jin_take_name(ps);
            attr->depth = 2;
            n = attr;
        }
        append(&first, &last, n);
        tuple = tuple || jin_at(ps, ",");
    } while (jin_skip(ps, ","));
    if (brackets) {
        jin_expect(ps, ")");
    }
    if (first == NULL) {
        jin_unexpected(ps, "a name");
    }
    if (!tuple) {
        return first;
    }
    node *n = jin_node(ps, E_TUPLE, &at);
    n->a = first;
    return n;
}

node *jin_parse_postfix(jin_parser *ps)
{
    return parse_postfixes(ps, parse_primary(ps));
}
