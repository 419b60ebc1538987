/* The execution model: results, lane orders, warp operations, the tensor core's fragments; and that each way of being
 * broken is caught by the stage named for it. */
#include "emu/child.h"
#include "emu/emu.h"
#include "emu/test_kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const emu_config *open_with(emu_order order, int poison)
{
    static emu_config c;
    emu_defaults(&c);
    c.order = order;
    c.poison = poison;
    emu_open(&c);
    return &c;
}

static void *device(const void *host, size_t bytes)
{
    void *p = NULL;
    cr_assert_eq(cudaMalloc(&p, bytes), cudaSuccess);
    if (host != NULL) {
        cr_assert_eq(cudaMemcpy(p, host, bytes, cudaMemcpyHostToDevice), cudaSuccess);
    }
    return p;
}

static void fetch(void *host, const void *dev, size_t bytes)
{
    cr_assert_eq(cudaMemcpy(host, dev, bytes, cudaMemcpyDeviceToHost), cudaSuccess);
}

static bool looks_for_races(void)
{
#ifdef __SANITIZE_THREAD__
    return true;
#else
    return false;
#endif
}

Test(emu_engine, a_kernel_gives_the_same_in_every_order)
{
    enum { N = 1000 };
    float x[N], y[N], got[N];
    for (int i = 0; i < N; i++) {
        x[i] = (float)i;
        y[i] = 0.5F * (float)i;
    }
    for (int order = 0; order < EMU_ORDERS; order++) {
        open_with((emu_order)order, 0xff);
        float *dx = device(x, sizeof x), *dy = device(y, sizeof y);
        tk_add_reversed(dx, dy, N, NULL);
        fetch(got, dy, sizeof got);
        for (int i = 0; i < N; i++) {
            cr_assert_eq(got[i], y[i] + x[i] + 1.0F, "order %d element %d", order, i);
        }
    }
}

Test(emu_engine, orders_differ)
{
    if (looks_for_races()) {
        cr_skip_test("its kernel is a race on purpose");
    }
    uint32_t zero = 0, place[EMU_ORDERS][64];
    for (int order = 0; order < EMU_ORDERS; order++) {
        open_with((emu_order)order, 0xff);
        uint32_t *out = device(NULL, sizeof place[0]), *next = device(&zero, sizeof zero);
        tk_order(out, next, NULL);
        fetch(place[order], out, sizeof place[0]);
    }
    cr_assert(place[EMU_ASCENDING][0] == 0 && place[EMU_ASCENDING][63] == 63);
    cr_assert(place[EMU_DESCENDING][0] == 63 && place[EMU_DESCENDING][63] == 0);
    cr_assert_neq(memcmp(place[EMU_SHUFFLED], place[EMU_ASCENDING], sizeof place[0]), 0);
    cr_assert_neq(memcmp(place[EMU_SHUFFLED], place[EMU_DESCENDING], sizeof place[0]), 0);
}

Test(emu_engine, lanes_compute_what_the_manual_says)
{
    int a[32], b[32];
    uint32_t got[160];
    for (int i = 0; i < 32; i++) {
        a[i] = (int)(0x9e3779b9U * (uint32_t)(i + 1));
        b[i] = (int)(0x85ebca6bU * (uint32_t)(i + 3));
    }
    open_with(EMU_SHUFFLED, 0xff);
    int *da = device(a, sizeof a), *db = device(b, sizeof b);
    uint32_t *out = device(NULL, sizeof got);
    tk_lanes(da, db, out, NULL);
    fetch(got, out, sizeof got);
    for (int i = 0; i < 32; i++) {
        int dot = 7;
        uint8_t bytes[8];
        memcpy(bytes, &a[i], 4);
        memcpy(bytes + 4, &b[i], 4);
        for (int k = 0; k < 4; k++) {
            dot += (int8_t)bytes[k] * (int8_t)bytes[4 + k];
        }
        cr_assert_eq((int)got[i], dot);
        /* selector 0x7d1a: byte 0 is the sign of byte 2, byte 1 byte 1, byte 2 the sign of byte 5, byte 3 byte 7 */
        uint32_t want = (bytes[2] & 128 ? 0xffU : 0U) | (uint32_t)bytes[1] << 8 |
                        (bytes[5] & 128 ? 0xff0000U : 0U) | (uint32_t)bytes[7] << 24;
        cr_assert_eq(got[32 + i], want);
        cr_assert_eq(got[64 + i], 0xaaaaaaaaU);
        cr_assert_eq(got[96 + i], 30U);
        cr_assert_eq(got[128 + i], 10U * (uint32_t)(i ^ 5));
    }
}

static void check_mma(int sm, int shape)
{
    enum { K = 96 };
    int8_t a[16 * K], b[8 * K];
    int32_t got[16 * 8];
    for (int i = 0; i < 16 * K; i++) {
        a[i] = (int8_t)(i * 37 - 128);
        b[i % (8 * K)] = (int8_t)(i * 91 + 5);
    }
    emu_config c;
    emu_defaults(&c);
    c.sm = sm;
    emu_open(&c);
    int8_t *da = device(a, sizeof a), *db = device(b, sizeof b);
    int32_t *out = device(NULL, sizeof got);
    tk_mma(da, db, out, K, shape, NULL);
    fetch(got, out, sizeof got);
    for (int row = 0; row < 16; row++) {
        for (int col = 0; col < 8; col++) {
            int32_t want = 0;
            for (int k = 0; k < K; k++) {
                want += a[row * K + k] * b[col * K + k];
            }
            cr_assert_eq(got[row * 8 + col], want, "sm_%d shape %d row %d column %d", sm, shape, row, col);
        }
    }
}

Test(emu_engine, tensor_core_products_are_matrix_products)
{
    for (int shape = 0; shape < 3; shape++) {
        check_mma(75, shape);
        check_mma(80, shape);
    }
}

/* ---- what is caught, and by what ---- */

enum stage { RIGHT, EMULATOR, RESULT, SANITIZER };

static const struct bug_row {
    enum tk_bug bug;
    enum stage stage;
    const char *says; /* the emulator's or the sanitizer's message holds this */
    bool race;        /* ThreadSanitizer reports it too */
} bug_rows[] = {
    {TK_NONE, RIGHT, "", false},
    {TK_NO_BARRIER, RESULT, "", true},
    {TK_DIVERGENT, EMULATOR, "divergent barrier", false},
    {TK_EARLY_EXIT, EMULATOR, "after threads have left the kernel", false},
    {TK_UNINITIALISED, RESULT, "", false},
    {TK_ABSENT_LANE, EMULATOR, "never arrive", false},
    {TK_NOT_IN_MASK, EMULATOR, "is not in its own mask", false},
    {TK_OUTSIDE_MASK, EMULATOR, "reads lane 16, which is not in mask", false},
    {TK_DIFFERENT_MASKS, EMULATOR, "never arrive", false},
    {TK_NO_SYNCWARP, RESULT, "", true},
    {TK_SHARED_SIZE, EMULATOR, "bytes of shared memory", false},
    {TK_MISALIGNED, EMULATOR, "misaligned __ldg", false},
    {TK_SHARED_OVERRUN, SANITIZER, "use-after-poison", false},
    {TK_GLOBAL_OVERRUN, SANITIZER, "use-after-poison", false},
};

typedef struct bug_run {
    enum tk_bug bug;
    emu_order order;
    int poison;
} bug_run;

/* 0: right, 1: wrong. */
static int run_broken(void *arg)
{
    const bug_run *r = arg;
    float got[64];
    open_with(r->order, r->poison);
    float *out = device(NULL, sizeof got);
    tk_broken(r->bug, out, NULL);
    fetch(got, out, sizeof got);
    int wrong = 0;
    for (int t = 0; t < 64; t++) {
        int other = t ^ 7;
        float mine = (float)((t + 33) % 64 + ((t ^ 1) + 33) % 64),
              theirs = (float)((other + 33) % 64 + ((other ^ 1) + 33) % 64);
        wrong |= !(got[t] == mine + theirs); /* a NaN is wrong too */
    }
    return wrong;
}

static bool sanitized(void)
{
#ifdef __SANITIZE_ADDRESS__
    return true;
#else
    return false;
#endif
}

Test(emu_engine, every_broken_kernel_is_caught_by_its_stage)
{
    cr_assert_eq(sizeof bug_rows / sizeof *bug_rows, (size_t)TK_BUGS);
    for (size_t i = 0; i < sizeof bug_rows / sizeof *bug_rows; i++) {
        const struct bug_row *row = &bug_rows[i];
        int wrong = 0, stopped = 0, runs = 0, races = 0;
        char last[256] = "";
        /* the order matters little to what looks for races, and a process takes it long */
        const int orders = looks_for_races() ? 1 : EMU_ORDERS;
        for (int order = 0; order < orders; order++) {
            for (int poison = 0x7f; poison <= 0xff; poison += 0x80, runs++) {
                bug_run r = {row->bug, (emu_order)order, poison};
                child_end end = child_run(run_broken, &r);
                bool said = row->says[0] != '\0' && strstr(end.text, row->says) != NULL;
                /* which of the two sanitizers looks first is the compiler's choice */
                said |= row->stage == SANITIZER && strstr(end.text, "out of bounds") != NULL;
                stopped += end.exit_code != 0 && end.exit_code != 1 && said;
                stopped += row->stage == SANITIZER && end.exit_code == 1 && said; /* its way to stop */
                wrong += end.exit_code == 1 && !said;
                races += strstr(end.text, "data race") != NULL;
                snprintf(last, sizeof last, "%.255s", end.text);
            }
        }
        bool caught = row->stage == RIGHT      ? wrong == 0 && stopped == 0 && races == 0
                      : row->stage == EMULATOR ? stopped == runs
                      : row->stage == RESULT   ? wrong > 0 || looks_for_races()
                                               : !sanitized() || stopped == runs;
        cr_assert(caught, "bug %d, stage %d: stopped %d, wrong %d of %d runs: %s", (int)row->bug,
                  (int)row->stage, stopped, wrong, runs, last);
        cr_assert(!row->race || !looks_for_races() || races == runs,
                  "bug %d: %d of %d runs report a race: %s", (int)row->bug, races, runs, last);
    }
}

static int write_device_memory(void *arg)
{
    (void)arg;
    open_with(EMU_ASCENDING, 0xff);
    volatile float *p = device(NULL, 64);
    p[0] = 1.0F;
    return 0;
}

Test(emu_engine, the_host_cannot_touch_device_memory)
{
    child_end end = child_run(write_device_memory, NULL);
    cr_assert(end.signal != 0 || end.exit_code != 0, "the write went through");
}
