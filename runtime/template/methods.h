/* Methods of strings, lists and dicts; the table is in methods.c. */
#ifndef MOX_RUNTIME_TEMPLATE_METHODS_H
#define MOX_RUNTIME_TEMPLATE_METHODS_H

#include "internal.h"

/* methods_text.c */
jin_fn jin_m_strip, jin_m_lstrip, jin_m_rstrip, jin_m_split, jin_m_rsplit, jin_m_splitlines, jin_m_startswith,
    jin_m_endswith, jin_m_replace, jin_m_upper, jin_m_lower, jin_m_title, jin_m_capitalize, jin_m_find,
    jin_m_rfind, jin_m_index, jin_m_count, jin_m_join, jin_m_isdigit, jin_m_isalpha, jin_m_isalnum,
    jin_m_isspace, jin_m_isupper, jin_m_islower, jin_m_zfill, jin_m_ljust, jin_m_rjust, jin_m_center,
    jin_m_removeprefix, jin_m_removesuffix, jin_m_partition, jin_m_rpartition;
/* methods_list.c */
jin_fn jin_l_append, jin_l_extend, jin_l_insert, jin_l_pop, jin_l_remove, jin_l_clear, jin_l_copy,
    jin_l_index, jin_l_count, jin_l_reverse, jin_d_get, jin_d_items, jin_d_keys, jin_d_values, jin_d_copy,
    jin_d_pop, jin_d_update, jin_d_setdefault;

#endif
