/* A JSON writer for reports: into a FILE, no allocation, commas and escapes handled, numbers in base units.
 * jansson reads JSON where moxie reads any; this writes, also in builds that have libc alone. */
#ifndef MOX_PROFILER_JSON_H
#define MOX_PROFILER_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct mox_json {
    FILE *out;
    uint32_t depth;
    uint64_t has_item; /* bit per depth: a comma is due */
} mox_json;

void mox_json_begin(mox_json *j, FILE *out);
void mox_json_end(mox_json *j); /* newline */
/* key may be NULL inside arrays and for the document itself */
void mox_json_object(mox_json *j, const char *key);
void mox_json_object_end(mox_json *j);
void mox_json_array(mox_json *j, const char *key);
void mox_json_array_end(mox_json *j);
void mox_json_string(mox_json *j, const char *key,
                     const char *value); /* NULL value: null; invalid UTF-8: U+FFFD */
void mox_json_string_n(mox_json *j, const char *key, const char *value, size_t n);
void mox_json_u64(mox_json *j, const char *key, uint64_t value);
void mox_json_i64(mox_json *j, const char *key, int64_t value);
void mox_json_f64(mox_json *j, const char *key, double value); /* %.9g; not finite: null */
void mox_json_bool(mox_json *j, const char *key, bool value);

#endif
