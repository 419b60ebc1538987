/* Arenas: one anonymous mapping each. malloc is not used because the plan promises bytes: a mapping is
 * exactly as big as asked (rounded to pages), its pages can be advised, populated or reserved without access,
 * and it goes back to the system as a whole.
 *
 * Pieces are aligned by their offset, not by their address, so that planning (which has no address) gives the
 * same sizes; the base is aligned to a huge page whenever the arena is at least that big, which covers every
 * alignment that is asked for.
 */
#include "runtime/core/arena.h"

#include "runtime/core/bits.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HUGE_BYTES = 2 << 20 };

/* Linux 5.14; the value is part of the kernel's interface, older headers lack the name. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

mox_arena mox_arena_plan(void)
{
    return (mox_arena){.base = NULL, .bytes = SIZE_MAX, .used = 0};
}

/* Map `mapped` bytes at a multiple of `align`: map more, give the ends back. */
static void *map_aligned(size_t mapped, size_t align, int prot, int flags)
{
    uint64_t over;
    if (!mox_add_u64(mapped, align - page_bytes(), &over)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    uint8_t *p = mmap(NULL, over, prot, flags, -1, 0);
    if (p == MAP_FAILED) {
        return MAP_FAILED;
    }
    size_t head = (size_t)(-(uintptr_t)p & (align - 1));
    if (head) {
        munmap(p, head);
    }
    if (over - head > mapped) {
        munmap(p + head + mapped, over - head - mapped);
    }
    return p + head;
}

static int populate(uint8_t *p, size_t bytes)
{
    if (madvise(p, bytes, MADV_POPULATE_WRITE) == 0) {
        return 0;
    }
    if (errno != EINVAL) {
        return errno;
    }
    /* Before 5.14: write one byte per page. The pages are fresh, so zero changes nothing. */
    for (size_t at = 0; at < bytes; at += page_bytes()) {
        ((volatile uint8_t *)p)[at] = 0;
    }
    return 0;
}

mox_err mox_arena_map(mox_arena *out, size_t bytes, unsigned flags)
{
    uint64_t mapped;
    if (!mox_align_u64(bytes ? bytes : 1, page_bytes(), &mapped)) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "memory: %zu bytes is beyond the address space", bytes);
    }
    bool reserve = (flags & MOX_ARENA_RESERVE) != 0;
    size_t align = mapped >= HUGE_BYTES ? (size_t)HUGE_BYTES : page_bytes();
    void *p = map_aligned(mapped, align, reserve ? PROT_NONE : PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | (reserve ? MAP_NORESERVE : 0));
    if (p == MAP_FAILED) {
        int err = errno;
        return MOX_FAIL_SYS(MOX_E_NO_MEMORY, err, "memory: %zu bytes refused: %s", bytes, strerror(err));
    }
    if (flags & (MOX_ARENA_HUGE | MOX_ARENA_SMALL)) {
        /* Advice: a kernel without huge pages refuses it and the memory works all the same. */
        madvise(p, mapped, flags & MOX_ARENA_HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    }
    if ((flags & MOX_ARENA_POPULATE) && !reserve) {
        int err = populate(p, mapped);
        if (err) {
            munmap(p, mapped);
            return MOX_FAIL_SYS(MOX_E_NO_MEMORY, err, "memory: %zu bytes could not be populated: %s", bytes,
                                strerror(err));
        }
    }
    *out = (mox_arena){.base = p, .bytes = bytes, .used = 0};
    return MOX_OK;
}

void mox_arena_unmap(mox_arena *a)
{
    if (a->base) {
        munmap(a->base, mox_round_up(a->bytes ? a->bytes : 1, page_bytes()));
    }
    *a = (mox_arena){0};
}

void *mox_arena_take(mox_arena *a, size_t bytes, size_t align)
{
    assert(align != 0 && (align & (align - 1)) == 0);
    uint64_t start, end;
    if (!mox_align_u64(a->used, align, &start) || !mox_add_u64(start, bytes, &end)) {
        a->used = SIZE_MAX; /* no plan of this size fits anywhere; stays so */
        return NULL;
    }
    a->used = end;
    if (!a->base || end > a->bytes) {
        return NULL;
    }
    assert(((uintptr_t)(a->base + start) & (align - 1)) == 0);
    return a->base + start;
}

/* Bytes of [begin, end) that lie in arenas and could be in huge pages. */
static uint64_t overlap(const mox_arena *const *arenas, uint32_t n, uintptr_t begin, uintptr_t end)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        uintptr_t b = (uintptr_t)arenas[i]->base, e = b + (arenas[i]->bytes & ~(size_t)(HUGE_BYTES - 1));
        b = b > begin ? b : begin;
        e = e < end ? e : end;
        sum += arenas[i]->base && e > b ? e - b : 0;
    }
    return sum;
}

/* The kernel joins neighbouring mappings, so a mapping may hold more than the arenas: of each, no more is counted
 * than lies in them. */
void mox_arena_huge_bytes(const mox_arena *const *arenas, uint32_t n, uint64_t *huge, uint64_t *whole)
{
    *huge = *whole = 0;
    FILE *f = fopen("/proc/self/smaps", "re");
    if (!f) {
        return;
    }
    char line[512];
    uint64_t ours = 0;
    while (fgets(line, sizeof line, f)) {
        unsigned long long begin, end, kib;
        if (sscanf(line, "%llx-%llx ", &begin, &end) == 2) {
            ours = overlap(arenas, n, (uintptr_t)begin, (uintptr_t)end);
        } else if (ours && sscanf(line, "Rss: %llu kB", &kib) == 1) {
            *whole += kib * 1024 < ours ? kib * 1024 : ours;
        } else if (ours && sscanf(line, "AnonHugePages: %llu kB", &kib) == 1) {
            *huge += kib * 1024 < ours ? kib * 1024 : ours;
        }
    }
    fclose(f);
}
