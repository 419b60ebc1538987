/* The table of filters. A new one is a function and a row. */
#include "filters.h"

jin_fn *jin_find_filter(const char *name, size_t n)
{
    static const struct {
        const char *name;
        jin_fn *fn;
    } all[] = {
        {"tojson", jin_f_tojson},
        {"trim", jin_f_trim},
        {"length", jin_f_length},
        {"count", jin_f_length},
        {"default", jin_f_default},
        {"d", jin_f_default},
        {"join", jin_f_join},
        {"replace", jin_f_replace},
        {"upper", jin_f_upper},
        {"lower", jin_f_lower},
        {"title", jin_f_title},
        {"capitalize", jin_f_capitalize},
        {"string", jin_f_string},
        {"safe", jin_f_safe},
        {"escape", jin_f_escape},
        {"e", jin_f_escape},
        {"forceescape", jin_f_escape},
        {"indent", jin_f_indent},
        {"format", jin_f_format},
        {"truncate", jin_f_truncate},
        {"center", jin_f_center},
        {"wordcount", jin_f_wordcount},
        {"urlencode", jin_f_urlencode},
        {"int", jin_f_int},
        {"float", jin_f_float},
        {"abs", jin_f_abs},
        {"round", jin_f_round},
        {"first", jin_f_first},
        {"last", jin_f_last},
        {"list", jin_f_list},
        {"items", jin_f_items},
        {"reverse", jin_f_reverse},
        {"dictsort", jin_f_dictsort},
        {"sort", jin_f_sort},
        {"unique", jin_f_unique},
        {"sum", jin_f_sum},
        {"min", jin_f_min},
        {"max", jin_f_max},
        {"batch", jin_f_batch},
        {"map", jin_f_map},
        {"select", jin_f_select},
        {"reject", jin_f_reject},
        {"selectattr", jin_f_selectattr},
        {"rejectattr", jin_f_rejectattr},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strlen(all[i].name) == n && memcmp(all[i].name, name, n) == 0) {
            return all[i].fn;
        }
    }
    return NULL;
}
