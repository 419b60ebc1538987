/* What the parts of the emulator share: the engine's one entry, faults, settings. */
#ifndef MOX_TESTS_EMU_INTERNAL_H
#define MOX_TESTS_EMU_INTERNAL_H

#include "emu/emu.h"

#include <functional>

#if defined(__SANITIZE_ADDRESS__)
#define EMU_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMU_ASAN 1
#endif
#endif
#ifndef EMU_ASAN
#define EMU_ASAN 0
#endif

/* ThreadSanitizer is told of the emulated threads and of what orders them; the emulator itself is compiled without it
 * (library/CMakeLists.txt), so its own records are nobody's race. */
#ifndef EMU_TSAN
#define EMU_TSAN 0
#endif
#if EMU_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#if EMU_ASAN
#include <sanitizer/asan_interface.h>
#define EMU_HIDE(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define EMU_SHOW(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define EMU_HIDE(p, n) ((void)(p), (void)(n))
#define EMU_SHOW(p, n) ((void)(p), (void)(n))
#endif

namespace emu
{
struct settings : emu_config {
    settings()
    {
        emu_defaults(this);
    }
};
settings &config();

struct random_bits {
    uint64_t state;
    void seed(uint64_t s)
    {
        state = s * 0x9e3779b97f4a7c15ULL | 1;
    }
    uint32_t next()
    {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        return static_cast<uint32_t>(state >> 32);
    }
};

/* A grid, run to its end. */
void run_grid(const char *name, dim3 grid, dim3 block, size_t dyn_shared, const std::function<void()> &body);

/* The emulated program did something undefined: say what and abort. */
[[noreturn]] void fault(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
} // namespace emu

#endif
