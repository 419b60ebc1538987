/* Arenas: a plan and the memory it plans agree to the byte, and the memory is what the flags say. */
#include "runtime/core/arena.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct take {
    size_t bytes, align;
} take;

static const take takes[] = {{1, 1},    {3, 64},    {0, 64},      {100, 1}, {4096, 4096},
                             {7, 4096}, {1000, 16}, {1, 2 << 20}, {5, 8},   {3 << 20, 64}};

enum { N_TAKES = sizeof takes / sizeof takes[0] };

static size_t resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    cr_assert_not_null(f);
    cr_assert_eq(fscanf(f, "%lu %lu", &size, &resident), 2);
    fclose(f);
    return resident * 4096;
}

Test(arena, the_plan_is_the_allocation)
{
    mox_arena plan = mox_arena_plan(), real;
    for (int i = 0; i < N_TAKES; i++) {
        cr_assert_null(mox_arena_take(&plan, takes[i].bytes, takes[i].align));
    }
    cr_assert_eq(mox_arena_map(&real, plan.used, 0), MOX_OK);
    uint8_t *end = real.base;
    for (int i = 0; i < N_TAKES; i++) {
        uint8_t *p = mox_arena_take(&real, takes[i].bytes, takes[i].align);
        cr_assert_not_null(p, "take %d", i);
        cr_assert_eq((uintptr_t)p % takes[i].align, 0, "take %d", i);
        cr_assert(p >= end, "take %d overlaps the one before", i);
        memset(p, i, takes[i].bytes);
        end = p + takes[i].bytes;
    }
    cr_assert_eq(real.used, plan.used);
    cr_assert_eq(end, real.base + real.bytes);
    cr_assert_null(mox_arena_take(&real, 1, 1));
    cr_assert_eq(real.used, plan.used + 1);
    mox_arena_unmap(&real);
    cr_assert_null(real.base);
}

Test(arena, a_plan_that_cannot_be_stays_impossible)
{
    mox_arena plan = mox_arena_plan();
    mox_arena_take(&plan, SIZE_MAX - 10, 1);
    mox_arena_take(&plan, 100, 1);
    cr_assert_eq(plan.used, SIZE_MAX);
    mox_arena_take(&plan, 1, 64);
    cr_assert_eq(plan.used, SIZE_MAX);
    mox_arena real;
    cr_assert_eq(mox_arena_map(&real, plan.used, 0), MOX_E_NO_MEMORY);
    cr_assert_eq(mox_arena_map(&real, SIZE_MAX / 2, 0), MOX_E_NO_MEMORY);
    cr_assert_neq(mox_err_last()->sys, 0);
}

Test(arena, populated_memory_is_resident_and_zero)
{
    const size_t bytes = 24 << 20;
    for (unsigned huge = 0; huge <= 1; huge++) {
        size_t before = resident_bytes();
        mox_arena a;
        cr_assert_eq(mox_arena_map(&a, bytes, MOX_ARENA_POPULATE | (huge ? MOX_ARENA_HUGE : 0)), MOX_OK);
        cr_assert_geq(resident_bytes(), before + bytes - (1 << 20));
        for (size_t i = 0; i < bytes; i += 4096) {
            cr_assert_eq(a.base[i], 0);
        }
        mox_arena_unmap(&a);
        cr_assert_lt(resident_bytes(), before + bytes / 2);
    }
}

Test(arena, reserved_space_costs_no_memory)
{
    size_t before = resident_bytes();
    mox_arena a;
    cr_assert_eq(mox_arena_map(&a, (size_t)1 << 36, MOX_ARENA_RESERVE | MOX_ARENA_POPULATE), MOX_OK);
    cr_assert_not_null(mox_arena_take(&a, (size_t)1 << 35, 4096));
    cr_assert_lt(resident_bytes(), before + (1 << 20));
    mox_arena_unmap(&a);
}

Test(arena, reserved_space_faults_when_touched, .signal = SIGSEGV)
{
    signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would turn it into an exit */
    mox_arena a;
    cr_assert_eq(mox_arena_map(&a, 1 << 20, MOX_ARENA_RESERVE), MOX_OK);
    volatile uint8_t *p = mox_arena_take(&a, 1, 1);
    p[0] = 1;
}

Test(arena, an_empty_arena_can_be_mapped_and_given_back)
{
    mox_arena a;
    cr_assert_eq(mox_arena_map(&a, 0, 0), MOX_OK);
    cr_assert_not_null(a.base);
    cr_assert_null(mox_arena_take(&a, 1, 1));
    mox_arena_unmap(&a);
    mox_arena_unmap(&a);
}

/* Two arenas side by side are told apart from what is not theirs; a small one is left out. */
Test(arena, huge_pages_are_counted_where_they_are)
{
    mox_arena big, other, small;
    uint64_t huge, whole;
    cr_assert_eq(mox_arena_map(&big, 8 << 20, MOX_ARENA_HUGE), MOX_OK);
    cr_assert_eq(mox_arena_map(&other, 8 << 20, MOX_ARENA_POPULATE), MOX_OK);
    cr_assert_eq(mox_arena_map(&small, 1 << 20, MOX_ARENA_POPULATE), MOX_OK);
    const mox_arena *list[] = {&big, &small, &other};
    mox_arena_huge_bytes(list, 2, &huge, &whole);
    cr_assert_eq(huge, 0);
    cr_assert_eq(whole, 0, "nothing was touched, the small one does not count");
    memset(big.base, 1, big.bytes / 2);
    mox_arena_huge_bytes(list, 2, &huge, &whole);
    cr_assert_eq(whole, 4 << 20);
    cr_assert(huge == 0 || huge == 4 << 20, "the kernel has huge pages or it has none");
    mox_arena_huge_bytes(list + 2, 1, &huge, &whole);
    cr_assert_eq(whole, 8 << 20);
    mox_arena_unmap(&big);
    mox_arena_unmap(&other);
    mox_arena_unmap(&small);
}
