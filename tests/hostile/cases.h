/* The malformed files, one row each: what it is, how it is made, and the one error it gives. Names are those of the
 * corpus plan (G01 to G104); a letter tells variants apart.
 */
#ifndef MOX_TESTS_HOSTILE_CASES_H
#define MOX_TESTS_HOSTILE_CASES_H

#include "gguf/tiny.h"
#include "runtime/core/err.h"

typedef struct hostile_case {
    const char *id, *what;
    mox_err open, run; /* what `info` and `run` give; MOX_OK: it is taken */
    /* one of these says how the file is made: */
    const char *field;                      /* the tiny model with this field... */
    uint64_t value;                         /* ...set to this */
    bool rest;                              /* ...or to `value` more than the bytes behind it */
    tiny_edit edit;                         /* the tiny model, built differently */
    void (*bytes)(gb *b);                   /* what is done to the bytes of it, or instead of it */
    const char *(*path)(const tmpdir *dir); /* files of any number, and the path to open */
} hostile_case;

extern const hostile_case hostile_cases[];
extern const size_t n_hostile_cases;

/* hostile_make: the file in `dir`; the path to open, in a static buffer. */
const char *hostile_make(const hostile_case *c, const tmpdir *dir);

/* paths.c */
const char *path_escapes(const tmpdir *dir);
const char *path_directory(const tmpdir *dir);
const char *path_directory_of_safetensors(const tmpdir *dir);
const char *path_directory_of_parts(const tmpdir *dir);
const char *path_fifo(const tmpdir *dir);
const char *path_socket(const tmpdir *dir);
const char *path_zero(const tmpdir *dir);
const char *path_random(const tmpdir *dir);
const char *path_loop(const tmpdir *dir);
const char *path_missing(const tmpdir *dir);
const char *path_too_long(const tmpdir *dir);
const char *path_no_permission(const tmpdir *dir);
const char *path_long_string(const tmpdir *dir);
const char *path_half_terabyte(const tmpdir *dir);
const char *path_part_name(const tmpdir *dir);
const char *path_split_alone(const tmpdir *dir);
const char *path_split_number(const tmpdir *dir);
const char *path_split_zero(const tmpdir *dir);
const char *path_split_many(const tmpdir *dir);
const char *path_split_name(const tmpdir *dir);
const char *path_split_other_model(const tmpdir *dir);
const char *path_split_twice(const tmpdir *dir);
const char *path_split_alignment(const tmpdir *dir);

#endif
