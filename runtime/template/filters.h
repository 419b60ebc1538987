/* The filters and tests, one function each; the table is in filters.c. */
#ifndef MOX_RUNTIME_TEMPLATE_FILTERS_H
#define MOX_RUNTIME_TEMPLATE_FILTERS_H

#include "internal.h"

/* filters_text.c */
jin_fn jin_f_upper, jin_f_lower, jin_f_capitalize, jin_f_title, jin_f_trim, jin_f_replace, jin_f_indent,
    jin_f_escape, jin_f_string, jin_f_safe, jin_f_format, jin_f_truncate, jin_f_center, jin_f_wordcount,
    jin_f_urlencode;
/* filters_number.c */
jin_fn jin_f_int, jin_f_float, jin_f_abs, jin_f_round;
/* filters_list.c */
jin_fn jin_f_default, jin_f_length, jin_f_first, jin_f_last, jin_f_list, jin_f_items, jin_f_join,
    jin_f_reverse, jin_f_dictsort, jin_f_sort, jin_f_unique, jin_f_sum, jin_f_min, jin_f_max, jin_f_batch;
/* filters_map.c */
jin_fn jin_f_map, jin_f_select, jin_f_reject, jin_f_selectattr, jin_f_rejectattr;

/* An attribute by its path, "a.b.0", as filters take it. */
val jin_path(jin *j, val v, val path);

#endif
