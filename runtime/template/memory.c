/* A template's memory and life: one mapping for the tree and the values, one for what is written; failing; building
 * values from outside. */
#include "internal.h"

#include "parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

MOX_PRINTF(4, 0)
JIN_NORETURN static void fail_v(jin *j, uint32_t line, uint32_t col, const char *fmt, va_list args)
{
    char msg[400];
    vsnprintf(msg, sizeof msg, fmt, args);
    MOX_FAIL(MOX_E_TEMPLATE, "chat template, line %u, column %u: %s", line, col, msg);
    longjmp(j->fail, 1);
}

void jin_fail_at(jin *j, uint32_t line, uint32_t col, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fail_v(j, line, col, fmt, args);
}

void jin_fail(jin *j, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fail_v(j, j->at != NULL ? j->at->line : 1, j->at != NULL ? j->at->col : 1, fmt, args);
}

static void *take(jin *j, size_t n)
{
    mox_arena *a = &j->arena;
    size_t at = (a->used + 15) & ~(size_t)15;
    if (at > a->bytes || n > a->bytes - at) {
        return NULL;
    }
    a->used = at + n;
    return a->base + at;
}

void *jin_take(jin *j, size_t n)
{
    void *p = take(j, n);
    if (p == NULL && j->failing) {
        jin_fail(j, "the template needs more than %zu MiB of memory", j->cfg.memory >> 20);
    }
    j->full = j->full || p == NULL;
    return p;
}

void *mox_jinja_take(mox_jinja *j, size_t n)
{
    return take(j, n);
}

void jin_step(jin *j, uint64_t n)
{
    j->steps += n;
    if (j->steps > j->cfg.max_steps) {
        jin_fail(j, "the template takes more than %llu steps", (unsigned long long)j->cfg.max_steps);
    }
}

void jin_enter(jin *j)
{
    if (++j->depth > j->cfg.max_depth) {
        jin_fail(j, "more than %u levels deep", j->cfg.max_depth);
    }
}

static uint32_t *name_slot(jin *j, const char *p, size_t n)
{
    uint32_t h = 2166136261u, mask = j->n_slots - 1;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ (unsigned char)p[i]) * 16777619u;
    }
    for (h ^= h >> 15;; h++) {
        uint32_t *slot = &j->slots[h & mask];
        const val *name = &j->names[*slot];
        if (*slot == UINT32_MAX || (name->n == n && memcmp(name->u.p, p, n) == 0)) {
            return slot;
        }
    }
}

/* Names are made while parsing only, and by very few functions later: memory that runs out is noticed there. */
static void more_names(jin *j)
{
    uint32_t cap = j->cap_names > 0 ? 2 * j->cap_names : 64;
    val *names = jin_take(j, cap * sizeof *names);
    if (j->n_names > 0) {
        memcpy(names, j->names, j->n_names * sizeof *names);
    }
    j->names = names;
    j->cap_names = cap;
    j->n_slots = 2 * cap;
    j->slots = jin_take(j, j->n_slots * sizeof *j->slots);
    memset(j->slots, 0xFF, j->n_slots * sizeof *j->slots);
    for (uint32_t i = 0; i < j->n_names; i++) {
        *name_slot(j, names[i].u.p, names[i].n) = i;
    }
}

uint32_t jin_name(jin *j, const char *p, size_t n)
{
    if (j->n_names == j->cap_names) {
        more_names(j);
    }
    uint32_t *slot = name_slot(j, p, n);
    if (*slot == UINT32_MAX) {
        j->names[j->n_names] = mox_jinja_str(p, n, MOX_MARK_TEMPLATE);
        *slot = j->n_names++;
    }
    return *slot;
}

const char *jin_type(val v)
{
    static const char *const names[] = {"undefined", "None",     "bool",   "int",  "float",
                                        "string",    "list",     "tuple",  "dict", "namespace",
                                        "macro",     "function", "method", "loop"};
    return names[v.kind];
}

mox_err mox_jinja_open(mox_jinja **out, const char *text, size_t n, const mox_jinja_cfg *cfg)
{
    if (n > MOX_JINJA_SOURCE) {
        return MOX_FAIL(MOX_E_TEMPLATE, "a chat template of %zu bytes; up to %d are taken", n,
                        MOX_JINJA_SOURCE);
    }
    jin *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a chat template");
    }
    j->cfg = cfg != NULL ? *cfg : (mox_jinja_cfg){0};
    j->cfg.memory = j->cfg.memory > 0 ? j->cfg.memory : MOX_JINJA_MEMORY;
    j->cfg.max_output = j->cfg.max_output > 0 ? j->cfg.max_output : MOX_JINJA_OUTPUT;
    j->cfg.max_steps = j->cfg.max_steps > 0 ? j->cfg.max_steps : MOX_JINJA_STEPS;
    j->cfg.max_depth = j->cfg.max_depth > 0 ? j->cfg.max_depth : MOX_JINJA_DEPTH;
    mox_err err = mox_arena_map(&j->arena, j->cfg.memory + 2 * j->cfg.max_output, MOX_ARENA_SMALL);
    if (err != MOX_OK) {
        free(j);
        return err;
    }
    j->arena.bytes = j->cfg.memory;
    j->out = (char *)j->arena.base + j->cfg.memory;
    j->out_marks = (uint8_t *)j->out + j->cfg.max_output;
    j->failing = true;
    if (setjmp(j->fail) == 0) {
        jin_parse(j, text, n);
        j->failing = false;
        j->after_parse = j->arena.used;
        mox_jinja_begin(j);
        *out = j;
        return MOX_OK;
    }
    mox_jinja_close(&j);
    return MOX_E_TEMPLATE;
}

void mox_jinja_close(mox_jinja **p)
{
    jin *j = *p;
    if (j != NULL) {
        j->arena.bytes = j->cfg.memory + 2 * j->cfg.max_output;
        mox_arena_unmap(&j->arena);
        free(j);
    }
    *p = NULL;
}

void mox_jinja_begin(mox_jinja *j)
{
    j->arena.used = j->after_parse;
    j->full = false;
    j->n_out = 0;
    j->globals = jin_take(j, sizeof *j->globals);
    if (j->globals != NULL) {
        *j->globals = (jin_scope){0};
    }
}

void mox_jinja_now(mox_jinja *j, int64_t seconds)
{
    j->has_now = true;
    j->now = seconds;
}

mox_err mox_jinja_render(mox_jinja *j, mox_jinja_text *out)
{
    if (j->full) {
        return MOX_FAIL(MOX_E_TEMPLATE, "the conversation needs more than %zu MiB of memory",
                        j->cfg.memory >> 20);
    }
    j->n_out = j->steps = 0;
    j->depth = j->calls = 0;
    j->at = j->root;
    j->flow = FLOW_ON;
    j->failing = true;
    if (setjmp(j->fail) != 0) {
        j->failing = false;
        return MOX_E_TEMPLATE;
    }
    j->scope = NULL;
    jin_push_scope(j, j->globals);
    jin_exec(j, j->root);
    j->failing = false;
    *out = (mox_jinja_text){j->out, j->out_marks, j->n_out};
    return MOX_OK;
}

mox_jval mox_jinja_none(void)
{
    return (val){.kind = MOX_J_NONE};
}

mox_jval mox_jinja_bool(bool b, uint8_t mark)
{
    return (val){.kind = MOX_J_BOOL, .mark = mark, .u.i = b};
}

mox_jval mox_jinja_int(int64_t i, uint8_t mark)
{
    return (val){.kind = MOX_J_INT, .mark = mark, .u.i = i};
}

mox_jval mox_jinja_float(double f, uint8_t mark)
{
    return (val){.kind = MOX_J_FLOAT, .mark = mark, .u.f = f};
}

mox_jval mox_jinja_str(const char *p, size_t n, uint8_t mark)
{
    return (val){.kind = MOX_J_STR, .mark = mark, .n = (uint32_t)n, .u.p = p};
}

mox_jval mox_jinja_list(mox_jinja *j, uint8_t mark)
{
    val v = jin_new_list(j, 0, MOX_J_LIST);
    v.mark = mark;
    return v;
}

mox_jval mox_jinja_dict(mox_jinja *j, uint8_t mark)
{
    val v = jin_new_dict(j, MOX_J_DICT);
    v.mark = mark;
    return v;
}

void mox_jinja_push(mox_jinja *j, mox_jval list, mox_jval v)
{
    if (list.kind == MOX_J_LIST && !j->full) {
        jin_push(j, list, v);
    }
}

void mox_jinja_put(mox_jinja *j, mox_jval dict, mox_jval key, mox_jval v)
{
    if (dict.kind != MOX_J_DICT || j->full) {
        return;
    }
    jin_dict *d = dict.u.dict;
    if (d->n == d->cap) {
        uint32_t cap = d->cap > 0 ? 2 * d->cap : 8;
        jin_entry *e = jin_take(j, cap * sizeof *e);
        if (e == NULL) {
            return;
        }
        if (d->n > 0) {
            memcpy(e, d->e, d->n * sizeof *e);
        }
        d->e = e;
        d->cap = cap;
    }
    d->e[d->n++] = (jin_entry){key, v};
}

mox_jval mox_jinja_get(mox_jval dict, const char *key)
{
    for (uint32_t i = 0; dict.kind == MOX_J_DICT && i < dict.u.dict->n; i++) {
        if (jin_is(dict.u.dict->e[i].key, key)) {
            return dict.u.dict->e[i].v;
        }
    }
    return jin_undef();
}

void mox_jinja_set(mox_jinja *j, const char *name, mox_jval v)
{
    for (uint32_t i = 0; i < j->n_names && !j->full;
         i++) { /* a name that the template lacks is not looked at */
        if (jin_is(j->names[i], name)) {
            jin_bind(j, j->globals, i, v);
        }
    }
}
