/* The known name nearest to a misspelt one. */
#ifndef MOX_CLI_NEAR_H
#define MOX_CLI_NEAR_H

#include <stdbool.h>
#include <stddef.h>

typedef struct mox_near {
    const char *typed;
    const char *name; /* the nearest so far; NULL: none is near enough */
    size_t edits;
} mox_near;

/* mox_near_try: keeps the nearer of near->name and name; only names near enough to be a slip count. */
void mox_near_try(mox_near *near, const char *name);

/* mox_near_file: the file in the folder of `path` whose name is nearest to that of `path`; models alone. */
bool mox_near_file(const char *path, char *out, size_t n);

#endif
