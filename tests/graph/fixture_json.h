/* What the readers of fixtures share. Each fails the test where it cannot. */
#ifndef MOX_TESTS_GRAPH_FIXTURE_JSON_H
#define MOX_TESTS_GRAPH_FIXTURE_JSON_H

#include <stddef.h>
#include <stdint.h>

/* fx_file: a file's bytes, to be freed; a NUL follows them. */
char *fx_file(const char *path, size_t *n);
/* fx_behind: behind `"key":`, searching from at. */
const char *fx_behind(const char *at, const char *key);
/* fx_numbers: all numbers inside the bracket that follows, nested ones in order; returns the place behind it. */
const char *fx_numbers(const char *p, double *out, uint32_t max, uint32_t *n);

#endif
