/* A context that can be switched to: a stack and where it stands on it.
 *
 * On x86-64 a switch is eight instructions (fiber.cpp); elsewhere ucontext, which asks the kernel for the signal
 * mask twice a switch and is 8 to 20 times slower. AddressSanitizer and ThreadSanitizer are told of each switch.
 */
#ifndef MOX_TESTS_EMU_FIBER_H
#define MOX_TESTS_EMU_FIBER_H

#include <stddef.h>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace emu
{
struct context {
#if defined(__x86_64__)
    void *sp = nullptr;
#else
    ucontext_t uc;
#endif
    char *stack = nullptr; /* lowest byte; of the thread's own context too, for AddressSanitizer */
    size_t stack_bytes = 0;
    void *fake_stack = nullptr;
    void *tsan = nullptr; /* the thread that ThreadSanitizer takes it for */
};

/* context_start: what `entry` will run on, with the stack it has or one of its own; it must never return. */
void context_start(context *c, void (*entry)());
/* context_retire: its stack is free for the next start. */
void context_retire(context *c);
/* context_adopt: the running thread's own. */
void context_adopt(context *c);
/* context_switch: dying: `from` is never switched to again. context_arrived: first thing in `entry`. */
void context_switch(context *from, context *to, bool dying);
void context_arrived();
} // namespace emu

#endif
