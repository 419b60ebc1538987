/* Files that change while they are opened or in use (G101 to G103): hostile_cases --changing. */
#ifndef MOX_TESTS_HOSTILE_CHANGING_H
#define MOX_TESTS_HOSTILE_CHANGING_H

/* run_changing: 0 if every case gave its error; only: one case alone, by its name, or NULL. */
int run_changing(const char *only);

#endif
