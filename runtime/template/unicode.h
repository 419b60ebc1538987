/* Letters and their case, for filters and methods on strings. */
#ifndef MOX_RUNTIME_TEMPLATE_UNICODE_H
#define MOX_RUNTIME_TEMPLATE_UNICODE_H

#include <stdbool.h>
#include <stdint.h>

uint32_t jin_unicode_map(uint32_t cp, bool to_upper); /* cp itself where there is no other */
bool jin_unicode_alpha(uint32_t cp);

#endif
