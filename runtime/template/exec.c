/* Statements. Blocks that Python's Jinja gives a scope of their own have one here: the turns of a loop, the bodies of
 * macros, of call, filter, with and of set blocks. What is set in them is not seen outside; a namespace is. */
#include "internal.h"

jin_scope *jin_push_scope(jin *j, jin_scope *up)
{
    jin_scope *before = j->scope, *s = jin_take(j, sizeof *s);
    *s = (jin_scope){.up = up};
    j->scope = s;
    return before;
}

val jin_capture(jin *j, const node *body)
{
    size_t at = j->n_out;
    jin_scope *before = jin_push_scope(j, j->scope);
    jin_exec(j, body);
    j->scope = before;
    return jin_cut(j, at);
}

static void assign_attr(jin *j, const node *target, val v)
{
    val ns = jin_resolve(j, target->a->name);
    if (ns.kind != MOX_J_NAMESPACE) {
        jin_fail(j, "an attribute of a %s is set; that can be done with a namespace alone", jin_type(ns));
    }
    jin_dict_set(j, ns, j->names[target->name], v);
}

void jin_assign(jin *j, const node *target, val v)
{
    if (target->kind == E_NAME) {
        jin_bind(j, j->scope, target->name, v);
        return;
    }
    if (target->kind == E_ATTR) {
        assign_attr(j, target, v);
        return;
    }
    uint32_t n, i = 0;
    const val *items = jin_iter(j, v, &n);
    for (const node *t = target->a; t != NULL; t = t->next, i++) {
        if (i >= n) {
            jin_fail(j, "%u values for more names", n);
        }
        jin_assign(j, t, items[i]);
    }
    if (i != n) {
        jin_fail(j, "%u values for %u names", n, i);
    }
}

/* The items that a loop's condition lets through. */
static val *chosen(jin *j, const node *n, val *items, uint32_t *count)
{
    val *out = jin_take(j, *count * sizeof *out);
    uint32_t k = 0;
    for (uint32_t i = 0; i < *count; i++) {
        jin_scope *before = jin_push_scope(j, j->scope);
        jin_assign(j, n->a, items[i]);
        if (jin_truth(jin_eval(j, n->c))) {
            out[k++] = items[i];
        }
        j->scope = before;
    }
    *count = k;
    return out;
}

static void exec_for(jin *j, const node *n)
{
    uint32_t count;
    val over = jin_eval(j, n->b);
    j->at = n->b;
    val *items = jin_iter(j, over, &count);
    if (n->c != NULL) {
        items = chosen(j, n, items, &count);
    }
    if (count == 0) {
        jin_scope *before = jin_push_scope(j, j->scope);
        jin_exec(j, n->e);
        j->scope = before;
        return;
    }
    jin_loop *loop = jin_take(j, sizeof *loop);
    *loop = (jin_loop){.items = items, .n = count};
    uint32_t name = jin_name(j, "loop", 4);
    for (uint32_t i = 0; i < count; i++) {
        loop->i = i;
        jin_step(j, 1);
        jin_scope *before = jin_push_scope(j, j->scope);
        j->at = n;
        jin_assign(j, n->a, items[i]);
        jin_bind(j, j->scope, name, (val){.kind = MOX_J_LOOP, .u.other = loop});
        jin_exec(j, n->d);
        j->scope = before;
        jin_flow flow = j->flow;
        j->flow = FLOW_ON;
        if (flow == FLOW_BREAK) {
            break;
        }
    }
}

val jin_loop_attr(jin *j, val v, const char *name)
{
    jin_loop *l = (jin_loop *)v.u.other;
    const struct {
        const char *name;
        val v;
    } all[] = {{"index", jin_int((int64_t)l->i + 1)},
               {"index0", jin_int(l->i)},
               {"revindex", jin_int(l->n - l->i)},
               {"revindex0", jin_int(l->n - l->i - 1)},
               {"first", jin_bool(l->i == 0)},
               {"last", jin_bool(l->i + 1 == l->n)},
               {"length", jin_int(l->n)},
               {"depth", jin_int(1)},
               {"depth0", jin_int(0)},
               {"previtem", l->i > 0 ? l->items[l->i - 1] : jin_undef()},
               {"nextitem", l->i + 1 < l->n ? l->items[l->i + 1] : jin_undef()}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(name, all[i].name) == 0) {
            return all[i].v;
        }
    }
    jin_fail(j, "loop.%.40s is not supported", name);
}

static void exec_if(jin *j, const node *n)
{
    for (; n != NULL; n = n->c) {
        if (jin_truth(jin_eval(j, n->a))) {
            jin_exec(j, n->b);
            return;
        }
        if (n->c == NULL) {
            jin_exec(j, n->d);
        }
    }
}

/* Filters over a text that is not an expression: the chain's innermost has no subject. */
static val filtered(jin *j, const node *f, val text)
{
    if (f == NULL) {
        return text;
    }
    jin_args a = {.what = f->what};
    text = filtered(j, f->a, text);
    jin_eval_args(j, f->b, &a);
    j->at = f;
    if (f->fn == NULL) {
        jin_fail(j, "the filter \"%.40s\" is not supported", f->what);
    }
    val v = f->fn(j, text, &a);
    jin_args_end(j, &a);
    return v;
}

static void exec_call(jin *j, const node *n)
{
    jin_macro *m = jin_take(j, sizeof *m);
    *m = (jin_macro){.def = n->c, .scope = j->scope};
    val caller = {.kind = MOX_J_MACRO, .u.other = m}, callee = jin_eval(j, n->a->a);
    jin_args a = {.what = "call"};
    jin_eval_args(j, n->a->b, &a);
    j->at = n;
    if (callee.kind != MOX_J_MACRO) {
        jin_fail(j, "a call block calls a %s, and not a macro", jin_type(callee));
    }
    jin_put_value(j, jin_call_macro(j, callee.u.other, &a, &caller));
}

static void exec_with(jin *j, const node *n)
{
    jin_scope *before = j->scope, *s = jin_take(j, sizeof *s);
    *s = (jin_scope){.up = before};
    for (const node *set = n->a; set != NULL; set = set->next) {
        jin_bind(j, s, set->a->name, jin_eval(j, set->b));
    }
    j->scope = s;
    jin_exec(j, n->b);
    j->scope = before;
}

static void exec(jin *j, const node *n)
{
    val v;
    switch ((jin_kind)n->kind) {
    case S_TEXT:
        jin_put_str(j, n->v);
        break;
    case S_PRINT:
        jin_put_value(j, jin_eval(j, n->a));
        break;
    case S_IF:
        exec_if(j, n);
        break;
    case S_FOR:
        exec_for(j, n);
        break;
    case S_SET:
        v = jin_eval(j, n->b);
        j->at = n;
        jin_assign(j, n->a, v);
        break;
    case S_SETBLOCK:
        v = filtered(j, n->b, jin_capture(j, n->c));
        j->at = n;
        jin_assign(j, n->a, v);
        break;
    case S_MACRO: {
        jin_macro *m = jin_take(j, sizeof *m);
        *m = (jin_macro){.def = n, .scope = j->scope};
        jin_bind(j, j->scope, n->name, (val){.kind = MOX_J_MACRO, .u.other = m});
        break;
    }
    case S_CALL:
        exec_call(j, n);
        break;
    case S_FILTER:
        v = filtered(j, n->a, jin_capture(j, n->b));
        jin_put_value(j, v);
        break;
    case S_WITH:
        exec_with(j, n);
        break;
    case S_BODY:
        jin_exec(j, n->b);
        break;
    default:
        j->flow = n->kind == S_BREAK ? FLOW_BREAK : FLOW_CONTINUE;
    }
}

void jin_exec(jin *j, const node *list)
{
    jin_enter(j);
    for (const node *n = list; n != NULL && j->flow == FLOW_ON; n = n->next) {
        jin_step(j, 1);
        j->at = n;
        exec(j, n);
    }
    jin_leave(j);
}
