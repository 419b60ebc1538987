/* Stacks, and the switch from one to another (fiber.h). Stacks are kept for the next block and have a page without
 * access below them. For ThreadSanitizer a stack and the thread that it takes a fiber for belong together for good: making
 * one takes it long. A switch orders nothing: barriers do (engine.cpp). */
#include "emu/fiber.h"

#include "emu/internal.h"

#include <pthread.h>
#include <sys/mman.h>
#include <vector>

#if EMU_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

namespace emu
{
namespace
{
const size_t STACK_BYTES = EMU_ASAN ? 256 << 10 : 64 << 10, GUARD_BYTES = 4096;
thread_local std::vector<char *> free_stacks;

char *take_stack()
{
    if (!free_stacks.empty()) {
        char *stack = free_stacks.back();
        free_stacks.pop_back();
        return stack;
    }
    void *p = mmap(nullptr, STACK_BYTES + GUARD_BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        fault("no memory for the stack of a CUDA thread");
    }
    mprotect(p, GUARD_BYTES, PROT_NONE);
    return static_cast<char *>(p) + GUARD_BYTES;
}
} // namespace

#if defined(__x86_64__)
/* The callee-saved registers go to the old stack and come from the new one. */
extern "C" void mox_emu_switch(void **save, void *to);
asm(".text\n.globl mox_emu_switch\n.type mox_emu_switch,@function\nmox_emu_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
    ".size mox_emu_switch,.-mox_emu_switch\n");
#endif

void context_start(context *c, void (*entry)())
{
    if (c->stack == nullptr) {
        c->stack = take_stack();
#if EMU_TSAN
        c->tsan = __tsan_create_fiber(0);
#endif
    }
    c->stack_bytes = STACK_BYTES;
    c->fake_stack = nullptr;
#if defined(__x86_64__)
    const int saved_registers = 6;
    void **top = reinterpret_cast<void **>(c->stack + STACK_BYTES);
    *--top = nullptr; /* keeps the stack aligned as after a call */
    *--top = reinterpret_cast<void *>(entry);
    for (int i = 0; i < saved_registers; i++) {
        *--top = nullptr;
    }
    c->sp = top;
#else
    getcontext(&c->uc);
    c->uc.uc_stack.ss_sp = c->stack;
    c->uc.uc_stack.ss_size = STACK_BYTES;
    c->uc.uc_link = nullptr;
    makecontext(&c->uc, entry, 0);
#endif
}

void context_retire(context *c)
{
    EMU_SHOW(c->stack, c->stack_bytes);
    if (!EMU_TSAN) {
        free_stacks.push_back(c->stack);
    }
    c->stack = nullptr;
}

void context_adopt(context *c)
{
    pthread_attr_t attr;
    void *stack = nullptr;
    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstack(&attr, &stack, &c->stack_bytes);
    pthread_attr_destroy(&attr);
    c->stack = static_cast<char *>(stack);
#if EMU_TSAN
    c->tsan = __tsan_get_current_fiber();
#endif
}

void context_switch(context *from, context *to, bool dying)
{
#if EMU_ASAN
    __sanitizer_start_switch_fiber(dying ? nullptr : &from->fake_stack, to->stack, to->stack_bytes);
#endif
    (void)dying;
#if EMU_TSAN
    __tsan_switch_to_fiber(to->tsan, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__x86_64__)
    mox_emu_switch(&from->sp, to->sp);
#else
    swapcontext(&from->uc, &to->uc);
#endif
#if EMU_ASAN
    __sanitizer_finish_switch_fiber(from->fake_stack, nullptr, nullptr);
#endif
}

void context_arrived()
{
#if EMU_ASAN
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
}
} // namespace emu
