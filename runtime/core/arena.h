/* Arena: one block of memory taken at open, handed out in aligned pieces, given back as a whole.
 *
 * `mox_arena_plan` runs the same sequence of takes against an arena without memory: the plan's byte counts
 * and the allocation come from one code path, which is how "the plan is the allocation" holds to the byte.
 */
#ifndef MOX_CORE_ARENA_H
#define MOX_CORE_ARENA_H

#include "runtime/core/err.h"

#include <stddef.h>
#include <stdint.h>

typedef struct mox_arena {
    uint8_t *base; /* NULL while planning */
    size_t bytes;  /* capacity; SIZE_MAX while planning */
    size_t used;
} mox_arena;

typedef enum mox_arena_flags {
    MOX_ARENA_HUGE = 1,     /* ask for 2 MiB pages */
    MOX_ARENA_RESERVE = 2,  /* address space only (--dry-run): touching it faults */
    MOX_ARENA_POPULATE = 4, /* fault every page in now */
    MOX_ARENA_SMALL = 8     /* no 2 MiB pages, even where the system gives them unasked */
} mox_arena_flags;

mox_arena mox_arena_plan(void);
/* mox_arena_map: anonymous private memory, page aligned. Errors MOX_E_NO_MEMORY. */
MOX_NODISCARD mox_err mox_arena_map(mox_arena *out, size_t bytes, unsigned flags);
void mox_arena_unmap(mox_arena *a);
/* mox_arena_take: align is a power of two. Returns NULL while planning and when the capacity is passed;
 * `used` always advances, so a caller that planned correctly never sees the second case. */
void *mox_arena_take(mox_arena *a, size_t bytes, size_t align);

/* mox_arena_huge_bytes: how many of the arenas' bytes are there (*whole), and how many of these in huge pages
 * (*huge), as the kernel tells in /proc/self/smaps; 0 and 0 where it does not. Arenas below a huge page are left
 * out. */
void mox_arena_huge_bytes(const mox_arena *const *arenas, uint32_t n, uint64_t *huge, uint64_t *whole);

#endif
