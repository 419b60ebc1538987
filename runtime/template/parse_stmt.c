/* Statements: {% if %}, {% for %} and so on, and the text between them. */
#include "parse.h"

#include <stdio.h>

static node *parse_body(jin_parser *ps, const char *const *ends, const jin_token *opened, const char *what);

/* {% endX %}: the word stands there already. */
static void end_block(jin_parser *ps, const char *word)
{
    if (!jin_skip_name(ps, word)) {
        jin_unexpected(ps, word);
    }
}

static void block_end(jin_parser *ps)
{
    if (ps->cur.kind != T_BLOCK_END) {
        jin_unexpected(ps, "%}");
    }
    jin_next(ps);
}

static node *parse_if(jin_parser *ps, const jin_token *at)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    static const char *const last[] = {"endif", NULL};
    node *first = NULL, *prev = NULL;
    ps->ifs++;
    do { /* a chain of elifs hangs on `c` and is walked, not entered: it may be long */
        node *n = jin_node(ps, S_IF, &ps->cur);
        n->a = jin_parse_tuple(ps, false);
        block_end(ps);
        n->b = parse_body(ps, ends, at, "if");
        if (prev != NULL) {
            prev->c = n;
        } else {
            first = n;
        }
        prev = n;
    } while (jin_skip_name(ps, "elif"));
    if (jin_skip_name(ps, "else")) {
        block_end(ps);
        prev->d = parse_body(ps, last, at, "if");
    }
    ps->ifs--;
    end_block(ps, "endif");
    return first;
}

static node *parse_for(jin_parser *ps, const jin_token *at)
{
    static const char *const ends[] = {"else", "endfor", NULL}, *const last[] = {"endfor", NULL};
    node *n = jin_node(ps, S_FOR, at);
    n->a = jin_parse_target(ps);
    if (!jin_skip_name(ps, "in")) {
        jin_unexpected(ps, "in");
    }
    n->b = jin_parse_tuple(ps, false);
    if (jin_skip_name(ps, "if")) {
        n->c = jin_parse_expr(ps, true);
    }
    if (jin_at_name(ps, "recursive")) {
        jin_fail_at(ps->j, ps->cur.line, ps->cur.col, "loops that are \"recursive\" are not supported");
    }
    block_end(ps);
    ps->loops++;
    n->d = parse_body(ps, ends, at, "for");
    ps->loops--;
    if (jin_skip_name(ps, "else")) {
        block_end(ps);
        n->e = parse_body(ps, last, at, "for");
    }
    end_block(ps, "endfor");
    return n;
}

static node *parse_set(jin_parser *ps, const jin_token *at)
{
    static const char *const ends[] = {"endset", NULL};
    node *n = jin_node(ps, S_SET, at);
    n->a = jin_parse_target(ps);
    if (jin_skip(ps, "=")) {
        n->b = jin_parse_tuple(ps, true);
        return n;
    }
    n->kind = S_SETBLOCK;
    n->b = jin_parse_filters(ps, NULL, false);
    block_end(ps);
    n->c = parse_body(ps, ends, at, "set");
    end_block(ps, "endset");
    return n;
}

/* (a, b=1): names with defaults. */
static node *parse_parameters(jin_parser *ps)
{
    node *first = NULL, *last = NULL;
    bool defaults = false;
    jin_expect(ps, "(");
    while (!jin_skip(ps, ")")) {
        if (first != NULL) {
            jin_expect(ps, ",");
            if (jin_skip(ps, ")")) {
                break;
            }
        }
        node *n = jin_node(ps, E_KEYWORD, &ps->cur);
        n->name = jin_take_name(ps);
        n->a = jin_skip(ps, "=") ? jin_parse_expr(ps, true) : NULL;
        if (defaults && n->a == NULL) {
            jin_fail_at(ps->j, n->line, n->col, "a parameter without a default behind one with a default");
        }
        defaults = n->a != NULL;
        if (first == NULL) {
            first = n;
        } else {
            last->next = n;
        }
        last = n;
    }
    return first;
}

/* The body of a macro or call block: loops around it are not its own. */
static node *parse_closed(jin_parser *ps, node *n, const char *const *ends, const jin_token *at,
                          const char *what)
{
    bool varargs = ps->varargs, kwargs = ps->kwargs;
    uint32_t loops = ps->loops;
    ps->varargs = ps->kwargs = false;
    ps->loops = 0;
    node *body = parse_body(ps, ends, at, what);
    n->varargs = ps->varargs;
    n->kwargs = ps->kwargs;
    ps->varargs = varargs || ps->varargs;
    ps->kwargs = kwargs || ps->kwargs;
    ps->loops = loops;
    return body;
}

static node *parse_macro(jin_parser *ps, const jin_token *at)
{
    static const char *const ends[] = {"endmacro", NULL};
    node *n = jin_node(ps, S_MACRO, at);
    n->name = jin_take_name(ps);
    n->a = parse_parameters(ps);
    block_end(ps);
    n->b = parse_closed(ps, n, ends, at, "macro");
    end_block(ps, "endmacro");
    return n;
}

static node *parse_call_block(jin_parser *ps, const jin_token *at)
{
    static const char *const ends[] = {"endcall", NULL};
    node *n = jin_node(ps, S_CALL, at);
    node *def = jin_node(ps, S_MACRO, at);
    def->name = jin_name(ps->j, "caller", 6);
    def->a = jin_at(ps, "(") ? parse_parameters(ps) : NULL;
    n->c = def;
    n->a = jin_parse_postfix(ps);
    if (n->a->kind != E_CALL) {
        jin_fail_at(ps->j, n->a->line, n->a->col, "a call block needs the call of a macro");
    }
    block_end(ps);
    def->b = parse_closed(ps, def, ends, at, "call");
    end_block(ps, "endcall");
    return n;
}

static node *parse_filter_block(jin_parser *ps, const jin_token *at)
{
    static const char *const ends[] = {"endfilter", NULL};
    node *n = jin_node(ps, S_FILTER, at);
    n->a = jin_parse_filters(ps, NULL, true);
    block_end(ps);
    n->b = parse_body(ps, ends, at, "filter");
    end_block(ps, "endfilter");
    return n;
}

static node *parse_with(jin_parser *ps, const jin_token *at)
{
    static const char *const ends[] = {"endwith", NULL};
    node *n = jin_node(ps, S_WITH, at), *last = NULL;
    while (ps->cur.kind != T_BLOCK_END) {
        if (n->a != NULL) {
            jin_expect(ps, ",");
        }
        node *s = jin_node(ps, S_SET, &ps->cur);
        s->a = jin_node(ps, E_NAME, &ps->cur);
        s->a->name = jin_take_name(ps);
        jin_expect(ps, "=");
        s->b = jin_parse_expr(ps, true);
        if (last == NULL) {
            n->a = s;
        } else {
            last->next = s;
        }
        last = s;
    }
    block_end(ps);
    n->b = parse_body(ps, ends, at, "with");
    end_block(ps, "endwith");
    return n;
}

static node *parse_generation(jin_parser *ps, const jin_token *at)
{
    static const char *const ends[] = {"endgeneration", NULL};
    node *n = jin_node(ps, S_BODY, at);
    block_end(ps);
    n->b = parse_body(ps, ends, at, "generation");
    end_block(ps, "endgeneration");
    return n;
}

static node *parse_jump(jin_parser *ps, const jin_token *at)
{
    bool is_break = at->p[0] == 'b';
    if (ps->loops == 0) {
        jin_fail_at(ps->j, at->line, at->col, "%s outside of a loop", is_break ? "break" : "continue");
    }
    return jin_node(ps, is_break ? S_BREAK : S_CONTINUE, at);
}

/* A statement, at its word. */
static node *parse_statement(jin_parser *ps)
{
    static const struct {
        const char *word;
        node *(*parse)(jin_parser *ps, const jin_token *at);
    } statements[] = {
        {"if", parse_if},           {"for", parse_for},
        {"set", parse_set},         {"macro", parse_macro},
        {"call", parse_call_block}, {"filter", parse_filter_block},
        {"with", parse_with},       {"generation", parse_generation},
        {"break", parse_jump},      {"continue", parse_jump},
    };
    jin_token at = ps->cur;
    if (at.kind != T_NAME) {
        jin_unexpected(ps, "a statement");
    }
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (jin_skip_name(ps, statements[i].word)) {
            jin_nest(ps);
            node *n = statements[i].parse(ps, &at);
            ps->nesting--;
            block_end(ps);
            return n;
        }
    }
    int n = at.n < 40 ? (int)at.n : 40;
    if ((at.n > 3 && memcmp(at.p, "end", 3) == 0) || jin_at_name(ps, "else") || jin_at_name(ps, "elif")) {
        jin_fail_at(ps->j, at.line, at.col, "%.*s, where nothing is open that it belongs to", n, at.p);
    }
    jin_fail_at(ps->j, at.line, at.col, "the statement \"%.*s\" is not supported", n, at.p);
}

static node *parse_print(jin_parser *ps)
{
    node *n = jin_node(ps, S_PRINT, &ps->cur);
    jin_next(ps);
    n->a = jin_parse_tuple(ps, true);
    if (ps->cur.kind != T_PRINT_END) {
        jin_unexpected(ps, "}}");
    }
    jin_next(ps);
    return n;
}

static bool at_end(const jin_parser *ps, const char *const *ends)
{
    for (; ends != NULL && *ends != NULL; ends++) {
        if (jin_at_name(ps, *ends)) {
            return true;
        }
    }
    return false;
}

/* Text and statements up to {% end: the end's word stands there afterwards. ends NULL: the whole template. */
static node *parse_body(jin_parser *ps, const char *const *ends, const jin_token *opened, const char *what)
{
    node *first = NULL, *last = NULL;
    for (;;) {
        node *n = NULL;
        if (ps->cur.kind == T_END) {
            if (ends != NULL) {
                jin_fail_at(ps->j, opened->line, opened->col, "the block \"%s\" has no end", what);
            }
            return first;
        }
        if (ps->cur.kind == T_TEXT) {
            if (ps->cur.v.n > 0) {
                n = jin_node(ps, S_TEXT, &ps->cur);
                n->v = ps->cur.v;
            }
            jin_next(ps);
        } else if (ps->cur.kind == T_PRINT_BEGIN) {
            n = parse_print(ps);
        } else {
            jin_next(ps);
            if (at_end(ps, ends)) {
                return first;
            }
            n = parse_statement(ps);
        }
        if (n == NULL) {
            continue;
        }
        if (first == NULL) {
            first = n;
        } else {
            last->next = n;
        }
        last = n;
    }
}

/* Line ends as \n, and without the one at the end of the template. */
static void copy_source(jin *j, const char *text, size_t n)
{
    char *p = jin_take(j, n + 1);
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\r') {
            p[k++] = '\n';
            i += i + 1 < n && text[i + 1] == '\n';
        } else {
            p[k++] = text[i];
        }
    }
    j->src = p;
    j->n_src = k - (k > 0 && p[k - 1] == '\n');
}

void jin_parse(jin *j, const char *text, size_t n)
{
    copy_source(j, text, n);
    jin_parser *ps = jin_take(j, sizeof *ps);
    *ps = (jin_parser){.j = j, .p = j->src, .n = j->n_src, .line = 1, .line_start = true};
    jin_next(ps);
    j->root = parse_body(ps, NULL, &ps->cur, "");
}

/* Whether an expression is something called `name`: a.name, a['name'], name, or one of these through filters or `or`. */
static bool is_called(const jin *j, const node *e, const char *name, const bool *alias)
{
    for (; e != NULL; e = e->a) {
        if (e->kind == E_NAME) {
            return jin_is(j->names[e->name], name) || alias[e->name];
        }
        if (e->kind == E_ATTR && e->method == NULL) {
            return jin_is(j->names[e->name], name);
        }
        if (e->kind == E_ITEM) {
            return e->b->kind == E_CONST && jin_is(e->b->v, name);
        }
        if (e->kind != E_FILTER && e->kind != E_COND && e->kind != E_OR && e->kind != E_SLICE) {
            return false;
        }
        if (e->kind == E_COND) {
            return is_called(j, e->b, name, alias) || (e->c != NULL && is_called(j, e->c, name, alias));
        }
    }
    return false;
}

/* Two passes over all statements: first which variables are set to such a thing, then which loops run over one. */
static bool search(const jin *j, const node *n, const char *name, bool *alias)
{
    for (; n != NULL; n = n->next) {
        if (n->kind == S_SET && n->a->kind == E_NAME && is_called(j, n->b, name, alias)) {
            alias[n->a->name] = true;
        }
        if (n->kind == S_FOR && is_called(j, n->b, name, alias)) {
            return true;
        }
        if (n->kind >= S_TEXT && n->kind != S_TEXT && n->kind != S_PRINT && n->kind != S_SET) {
            for (const node *i = n->kind == S_IF ? n->c : NULL; i != NULL; i = i->c) {
                if (search(j, i->b, name, alias) || search(j, i->d, name, alias)) {
                    return true;
                }
            }
            if (search(j, n->b != NULL && n->b->kind >= S_TEXT ? n->b : NULL, name, alias) ||
                search(j, n->c != NULL && n->c->kind >= S_TEXT && n->kind != S_IF ? n->c : NULL, name,
                       alias) ||
                search(j, n->d, name, alias) || search(j, n->e, name, alias)) {
                return true;
            }
        }
    }
    return false;
}

bool mox_jinja_loops_over(const mox_jinja *j, const char *name)
{
    enum { MOST = 4096 };
    bool alias[MOST] = {false};
    return j->n_names <= MOST && (search(j, j->root, name, alias) || search(j, j->root, name, alias));
}

bool mox_jinja_mentions(const mox_jinja *j, const char *name)
{
    for (uint32_t i = 0; i < j->n_names; i++) {
        if (jin_is(j->names[i], name)) {
            return true;
        }
    }
    return false;
}
