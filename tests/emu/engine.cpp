/* The CUDA execution model on a CPU: one fiber per CUDA thread, one block at a time, scheduled warp by warp.
 *
 * A warp's lanes run until each is done or waits, then the next warp has its turn. So lanes are in step where CUDA
 * guarantees it (collectives, barriers) and in any of the configured orders elsewhere. Checked here: barriers that
 * not all threads reach, or reach at different lines; masks that name absent lanes; lanes of a mask that meet in
 * different operations; shared memory in sum. Shared arrays lie apart, with red zones under AddressSanitizer, and
 * start as poison.
 */
#include "emu/emu_device.h"
#include "emu/fiber.h"
#include "emu/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <vector>

namespace emu
{
__thread thread_ids *current __attribute__((tls_model("initial-exec")));

namespace
{
enum state { READY, RUNNING, AT_BARRIER, AT_COLLECTIVE, DONE };
enum { WARP = 32, RED_ZONE = 64, DUMPED_THREADS = 6 };
const size_t ARENA_BYTES = 512 << 10, MEETINGS = 64 << 10;

struct fiber : thread_ids, context {
    enum state state;
    /* where it waits */
    uint32_t mask;
    collective_fn *fn;
    void *record;
    const char *what, *file;
    int line;
};

struct warp {
    int base, lanes;
    uint32_t ready, collective, barrier, done;
    size_t meeting; /* of the lanes that wait in a __syncwarp */
    uint32_t all() const
    {
        return lanes == WARP ? 0xffffffffU : (1U << lanes) - 1;
    }
};

struct shared_var {
    const void *key;
    size_t offset, bytes;
};

struct engine {
    std::vector<fiber> fibers;
    std::vector<warp> warps;
    context scheduler;
    fiber *running = nullptr, *first_at_barrier = nullptr;
    const std::function<void()> *body = nullptr;
    const char *kernel = "";
    int threads = 0, alive = 0, at_barrier = 0;
    std::vector<shared_var> shared;
    char *arena = nullptr;
    size_t arena_used = 0, dyn_bytes = 0;
    bool dyn_ready = false; /* this block has touched it */
    /* For ThreadSanitizer: a byte for each meeting of a block's threads, behind the arena. */
    size_t meeting = 0, met = 0; /* the next barrier's; so many are taken */
    char begin = 0, end = 0;     /* what orders a grid's threads after the host, and the host after them */
    std::vector<context>
        seats; /* its threads; those of all blocks are the same, so it sees no race between blocks */
    random_bits random;
};
thread_local engine E;

#if EMU_TSAN
/* What happened before a thread came to a meeting has happened for all who leave it. */
size_t new_meeting()
{
    if (++E.met == MEETINGS) {
        fault("more than %zu barriers in a block", MEETINGS);
    }
    return E.met;
}
void come(size_t meeting)
{
    __tsan_release(E.arena + ARENA_BYTES + meeting);
}
void leave(size_t meeting)
{
    __tsan_acquire(E.arena + ARENA_BYTES + meeting);
}
void thread_begins()
{
    __tsan_acquire(&E.begin);
}
void thread_ends()
{
    __tsan_release(&E.end);
}
void block_begins()
{
    __tsan_release(&E.begin);
}
void grid_ends()
{
    __tsan_acquire(&E.end);
}
#else
size_t new_meeting()
{
    return 0;
}
void come(size_t) {}
void leave(size_t) {}
void thread_begins() {}
void thread_ends() {}
void block_begins() {}
void grid_ends() {}
#endif

int pick_lane(uint32_t ready)
{
    switch (config().order) {
    case EMU_DESCENDING:
        return WARP - 1 - __builtin_clz(ready);
    case EMU_SHUFFLED: {
        const uint32_t turn = E.random.next() % WARP;
        const uint32_t rotated = turn == 0 ? ready : ready >> turn | ready << (WARP - turn);
        return (__builtin_ctz(rotated) + static_cast<int>(turn)) % WARP;
    }
    default:
        return __builtin_ctz(ready);
    }
}

void entry();

/* From a fiber (or the scheduler) to some ready lane of the warp, or back to the scheduler. */
void resume(context *from, warp &w, bool dying)
{
    if (w.ready == 0 || dying) {
        context_switch(from, &E.scheduler, dying);
        return;
    }
    const int lane = pick_lane(w.ready);
    fiber &f = E.fibers[w.base + lane];
    w.ready &= ~(1U << lane);
    f.state = RUNNING;
    if (f.stack == nullptr) {
        context_start(&f, entry);
    }
    E.running = &f;
    current = &f;
    context_switch(from, &f, false);
}

void release_barrier()
{
    const fiber &a = *E.first_at_barrier;
    for (warp &w : E.warps) {
        for (uint32_t m = w.barrier; m != 0; m &= m - 1) {
            fiber &b = E.fibers[w.base + __builtin_ctz(m)];
            if (b.line != a.line || strcmp(b.file, a.file) != 0) {
                fault("divergent barrier: thread %d waits at %s:%d, thread %d at %s:%d", a.linear, a.file,
                      a.line, b.linear, b.file, b.line);
            }
            b.state = READY;
        }
        if (w.done != 0) {
            fault("barrier at %s:%d after threads have left the kernel (warp %d, lanes %08x)", a.file, a.line,
                  static_cast<int>(&w - E.warps.data()), w.done);
        }
        w.ready |= w.barrier;
        w.barrier = 0;
    }
    E.at_barrier = 0;
    E.first_at_barrier = nullptr;
    E.meeting = new_meeting();
}

void entry()
{
    context_arrived();
    thread_begins();
    fiber *me = E.running;
    (*E.body)();
    thread_ends();
    warp &w = E.warps[me->warp];
    me->state = DONE;
    w.done |= 1U << me->lane;
    E.alive--;
    if (E.alive != 0 && E.at_barrier == E.alive) {
        release_barrier();
    }
    resume(me, w, true);
    abort(); /* a finished lane is never resumed */
}

void dump()
{
    int shown = 0;
    for (const fiber &f : E.fibers) {
        if ((f.state == AT_BARRIER || f.state == AT_COLLECTIVE) && shown++ < DUMPED_THREADS) {
            fprintf(stderr, "  thread %d (warp %d lane %d) waits in %s, mask %08x, %s:%d\n", f.linear, f.warp,
                    f.lane, f.what, f.mask, f.file, f.line);
        }
    }
}

/* A thread that ThreadSanitizer knows already. */
void take_seat(fiber &f, size_t i)
{
#if EMU_TSAN
    if (E.seats.size() <= i) {
        E.seats.resize(i + 1);
    }
    static_cast<context &>(f) = E.seats[i];
    context_start(&f, entry);
    E.seats[i] = f;
#else
    (void)f, (void)i;
#endif
}

/* ThreadSanitizer knows nothing of memory that has just been mapped, so a block begins without what was there. */
void fresh_arena()
{
    if (!EMU_TSAN) {
        return;
    }
    if (E.arena != nullptr) {
        munmap(E.arena, ARENA_BYTES + MEETINGS);
    }
    E.met = 0;
    void *p =
        mmap(nullptr, ARENA_BYTES + MEETINGS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        fault("no memory for a block's shared arrays");
    }
    E.arena = static_cast<char *>(p);
    E.meeting = new_meeting();
    block_begins();
}

/* By hand under ThreadSanitizer, which takes memset for a write of the thread that comes first. */
void poison_shared(char *p, size_t bytes)
{
    volatile char *to = p;
    for (size_t i = 0; EMU_TSAN && i < bytes; i++) {
        to[i] = static_cast<char>(config().poison);
    }
    if (!EMU_TSAN) {
        memset(p, config().poison, bytes);
    }
}

void start_block(uint3 block_id, dim3 grid, dim3 block)
{
    E.alive = E.threads;
    E.at_barrier = 0;
    E.shared.clear();
    E.arena_used = 0;
    fresh_arena();
    E.dyn_ready = false;
    EMU_HIDE(E.arena, ARENA_BYTES);
    for (int i = 0; i < E.threads; i++) {
        fiber &f = E.fibers[i];
        const uint32_t u = static_cast<uint32_t>(i);
        f.thread = make_uint3(u % block.x, u / block.x % block.y, u / (block.x * block.y));
        f.block = block_id;
        f.block_dim = block;
        f.grid_dim = grid;
        f.linear = i;
        f.lane = i % WARP;
        f.warp = i / WARP;
        f.state = READY;
        f.mask = 0;
        take_seat(f, static_cast<size_t>(i));
    }
    for (size_t i = 0; i < E.warps.size(); i++) {
        warp &w = E.warps[i];
        w = warp{};
        w.base = static_cast<int>(i) * WARP;
        w.lanes = E.threads - w.base < WARP ? E.threads - w.base : WARP;
        w.ready = w.all();
    }
}

/* Some warps' turns; false: nothing could run. */
bool run_warps()
{
    const size_t n = E.warps.size();
    const size_t turn = config().order == EMU_SHUFFLED ? E.random.next() % n : 0;
    bool ran = false;
    for (size_t k = 0; k < n; k++) {
        warp &w = E.warps[config().order == EMU_DESCENDING ? n - 1 - k : (k + turn) % n];
        while (w.ready != 0) {
            ran = true;
            resume(&E.scheduler, w, false);
            if (E.running->state == DONE) {
                context_retire(E.running);
            }
        }
        if (w.collective != 0) {
            fault("warp deadlock: lanes that a mask names never arrive");
        }
    }
    return ran;
}
} // namespace

settings &config()
{
    static settings s;
    return s;
}

void fault(const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (E.threads != 0) {
        const uint3 b = E.fibers[0].block;
        fprintf(stderr, "emu: %s (kernel %s, block %u,%u,%u, thread %d)\n", text, E.kernel, b.x, b.y, b.z,
                E.running != nullptr ? E.running->linear : -1);
        dump();
    } else {
        fprintf(stderr, "emu: %s\n", text);
    }
    abort();
}

void check_aligned(const void *p, size_t align, const char *what)
{
    if (reinterpret_cast<uintptr_t>(p) % align != 0) {
        fault("misaligned %s: %p is no multiple of %zu", what, p, align);
    }
}

int architecture()
{
    return config().sm;
}

/* Is it the one that a test leaves out? */
static bool left_out(const char *file, int line)
{
    const emu_config &c = config();
    if (c.skip_file == nullptr || line != c.skip_line) {
        return false;
    }
    const size_t n = strlen(file), tail = strlen(c.skip_file);
    return n >= tail && strcmp(file + n - tail, c.skip_file) == 0;
}

void barrier(const char *file, int line)
{
    if (left_out(file, line)) {
        return;
    }
    fiber *me = E.running;
    warp &w = E.warps[me->warp];
    me->file = file;
    me->line = line;
    me->what = "a barrier";
    me->state = AT_BARRIER;
    if (E.first_at_barrier == nullptr) {
        E.first_at_barrier = me;
    }
    w.barrier |= 1U << me->lane;
    const size_t meeting = E.meeting;
    come(meeting);
    if (++E.at_barrier == E.alive) {
        release_barrier();
        w.ready &= ~(1U << me->lane);
        me->state = RUNNING;
    } else {
        resume(me, w, false);
    }
    leave(meeting);
}

void collective(uint32_t mask, collective_fn *fn, void *record, const char *what, const char *file, int line)
{
    if (fn == sync_warp && left_out(file, line)) {
        return;
    }
    fiber *me = E.running;
    warp &w = E.warps[me->warp];
    const uint32_t mine = 1U << me->lane;
    if ((mask & mine) == 0) {
        fault("%s at %s:%d: lane %d is not in its own mask %08x", what, file, line, me->lane, mask);
    }
    mask &= w.all(); /* lanes that a partial warp does not have */
    if ((w.done & mask) != 0) {
        fault("%s at %s:%d: mask %08x names lanes that have left the kernel (%08x)", what, file, line, mask,
              w.done & mask);
    }
    me->mask = mask, me->fn = fn, me->record = record, me->what = what, me->file = file, me->line = line;
    me->state = AT_COLLECTIVE;
    const bool fence = fn == sync_warp; /* the others order no memory */
    if (fence && w.collective == 0) {
        w.meeting = new_meeting();
    }
    const size_t meeting = w.meeting;
    if (fence) {
        come(meeting);
    }
    w.collective |= mine;
    if ((w.collective & mask) != mask) {
        resume(me, w, false);
        if (fence) {
            leave(meeting);
        }
        return;
    }
    void *records[WARP] = {};
    for (uint32_t m = mask; m != 0; m &= m - 1) {
        fiber &f = E.fibers[w.base + __builtin_ctz(m)];
        if (f.fn != fn || f.mask != mask || f.line != line || strcmp(f.file, file) != 0) {
            fault("lanes of one mask meet in different operations: lane %d in %s, mask %08x, %s:%d; lane %d "
                  "in %s, "
                  "mask %08x, %s:%d",
                  me->lane, what, mask, file, line, f.lane, f.what, f.mask, f.file, f.line);
        }
        records[f.lane] = f.record;
        f.state = READY;
    }
    fn(records, mask);
    w.collective &= ~mask;
    w.ready |= mask & ~mine;
    me->state = RUNNING;
    if (fence) {
        leave(meeting);
    }
}

static void check_shared_sum()
{
    size_t total = E.dyn_bytes;
    for (const shared_var &v : E.shared) {
        total += v.bytes;
    }
    if (total > config().shared_limit) {
        fault("a block uses %zu bytes of shared memory, %zu are allowed", total, config().shared_limit);
    }
}

void *shared_array(const void *key, size_t bytes, size_t align, const char *name)
{
    for (const shared_var &v : E.shared) {
        if (v.key == key) {
            return E.arena + v.offset;
        }
    }
    align = align > RED_ZONE ? align : size_t{RED_ZONE};
    const size_t offset = (E.arena_used + RED_ZONE + align - 1) / align * align;
    if (offset + bytes + RED_ZONE > ARENA_BYTES / 2) {
        fault("shared array %s does not fit", name);
    }
    E.arena_used = offset + bytes;
    E.shared.push_back({key, offset, bytes});
    EMU_SHOW(E.arena + offset, bytes);
    poison_shared(E.arena + offset, bytes);
    check_shared_sum();
    return E.arena + offset;
}

void *dyn_shared()
{
    char *p = E.arena + ARENA_BYTES / 2; /* static arrays stay below */
    if (!E.dyn_ready) {
        E.dyn_ready = true;
        EMU_SHOW(p, E.dyn_bytes);
        poison_shared(p, E.dyn_bytes);
    }
    return p;
}

void run_grid(const char *name, dim3 grid, dim3 block, size_t dyn, const std::function<void()> &body)
{
    if (!EMU_TSAN && E.arena == nullptr) {
        E.arena = static_cast<char *>(aligned_alloc(256, ARENA_BYTES));
    }
    if (dyn > ARENA_BYTES / 2 - RED_ZONE) {
        fault("%zu bytes of dynamic shared memory", dyn);
    }
    E.body = &body;
    E.kernel = name;
    E.threads = static_cast<int>(block.x * block.y * block.z);
    E.dyn_bytes = dyn;
    E.random.seed(config().seed);
    E.fibers.resize(static_cast<size_t>(E.threads));
    E.warps.resize(static_cast<size_t>((E.threads + WARP - 1) / WARP));
    context_adopt(&E.scheduler);
    const uint64_t n = static_cast<uint64_t>(grid.x) * grid.y * grid.z;
    for (uint64_t k = 0; k < n; k++) {
        const uint64_t i = config().order == EMU_DESCENDING ? n - 1 - k : k;
        const uint3 id =
            make_uint3(static_cast<uint32_t>(i % grid.x), static_cast<uint32_t>(i / grid.x % grid.y),
                       static_cast<uint32_t>(i / (static_cast<uint64_t>(grid.x) * grid.y)));
        start_block(id, grid, block);
        while (E.alive != 0) {
            if (!run_warps() && E.alive != 0) {
                fault("deadlock: %d threads wait for a barrier that the others do not reach", E.at_barrier);
            }
        }
    }
    grid_ends();
    E.threads = 0;
    E.running = nullptr;
    current = nullptr;
}
} // namespace emu
