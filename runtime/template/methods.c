/* The table of methods. A new one is a function and a row. Other names that Python has are refused
 * where they are called. */
#include "methods.h"

const jin_method jin_methods[] = {
    {"strip", jin_m_strip, NULL, NULL},
    {"lstrip", jin_m_lstrip, NULL, NULL},
    {"rstrip", jin_m_rstrip, NULL, NULL},
    {"split", jin_m_split, NULL, NULL},
    {"rsplit", jin_m_rsplit, NULL, NULL},
    {"splitlines", jin_m_splitlines, NULL, NULL},
    {"startswith", jin_m_startswith, NULL, NULL},
    {"endswith", jin_m_endswith, NULL, NULL},
    {"replace", jin_m_replace, NULL, NULL},
    {"upper", jin_m_upper, NULL, NULL},
    {"lower", jin_m_lower, NULL, NULL},
    {"casefold", jin_m_lower, NULL, NULL},
    {"title", jin_m_title, NULL, NULL},
    {"capitalize", jin_m_capitalize, NULL, NULL},
    {"format", jin_m_format, NULL, NULL},
    {"find", jin_m_find, NULL, NULL},
    {"rfind", jin_m_rfind, NULL, NULL},
    {"index", jin_m_index, jin_l_index, NULL},
    {"count", jin_m_count, jin_l_count, NULL},
    {"join", jin_m_join, NULL, NULL},
    {"isdigit", jin_m_isdigit, NULL, NULL},
    {"isnumeric", jin_m_isdigit, NULL, NULL},
    {"isdecimal", jin_m_isdigit, NULL, NULL},
    {"isalpha", jin_m_isalpha, NULL, NULL},
    {"isalnum", jin_m_isalnum, NULL, NULL},
    {"isspace", jin_m_isspace, NULL, NULL},
    {"isupper", jin_m_isupper, NULL, NULL},
    {"islower", jin_m_islower, NULL, NULL},
    {"zfill", jin_m_zfill, NULL, NULL},
    {"ljust", jin_m_ljust, NULL, NULL},
    {"rjust", jin_m_rjust, NULL, NULL},
    {"center", jin_m_center, NULL, NULL},
    {"removeprefix", jin_m_removeprefix, NULL, NULL},
    {"removesuffix", jin_m_removesuffix, NULL, NULL},
    {"partition", jin_m_partition, NULL, NULL},
    {"rpartition", jin_m_rpartition, NULL, NULL},
    {"append", NULL, jin_l_append, NULL},
    {"extend", NULL, jin_l_extend, NULL},
    {"insert", NULL, jin_l_insert, NULL},
    {"pop", NULL, jin_l_pop, jin_d_pop},
    {"remove", NULL, jin_l_remove, NULL},
    {"clear", NULL, jin_l_clear, NULL},
    {"copy", NULL, jin_l_copy, jin_d_copy},
    {"reverse", NULL, jin_l_reverse, NULL},
    {"get", NULL, NULL, jin_d_get},
    {"items", NULL, NULL, jin_d_items},
    {"keys", NULL, NULL, jin_d_keys},
    {"values", NULL, NULL, jin_d_values},
    {"update", NULL, NULL, jin_d_update},
    {"setdefault", NULL, NULL, jin_d_setdefault},
    {NULL, NULL, NULL, NULL},
};

const jin_method *jin_find_method(const char *name, size_t n)
{
    for (const jin_method *m = jin_methods; m->name != NULL; m++) {
        if (m->name[0] == name[0] && strlen(m->name) == n && memcmp(m->name, name, n) == 0) {
            return m;
        }
    }
    return NULL;
}

jin_fn *jin_method_of(const jin_method *m, val v)
{
    bool change = m->list == jin_l_append || m->list == jin_l_extend || m->list == jin_l_insert ||
                  m->list == jin_l_pop || m->list == jin_l_remove || m->list == jin_l_clear ||
                  m->list == jin_l_reverse;
    switch ((mox_jkind)v.kind) {
    case MOX_J_STR:
        return m->str;
    case MOX_J_LIST:
        return m->list;
    case MOX_J_TUPLE:
        return change ? NULL : m->list;
    case MOX_J_DICT:
        return m->dict;
    default:
        return NULL;
    }
}
