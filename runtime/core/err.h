/* Errors: one enum, one thread-local record of the last failure, one way to hand a failure upward.
 *
 * Functions that can fail return mox_err and write their out-parameters on success only. The leaf that fails
 * fills the record (what, the numbers, why); callers above only pass the code on, or replace the message
 * where they know more (the file's name, the layer). Asserts are for our own bugs and never depend on input.
 */
#ifndef MOX_CORE_ERR_H
#define MOX_CORE_ERR_H

#include <stdbool.h>

/* X(NAME, number, exit code of the program, text). Numbers are stable: they are printed as MX-<number>. */
#define MOX_ERRORS(X)                                                                                        \
    X(OK, 0, 0, "ok")                                                                                        \
    X(INTERNAL, 1001, 1, "a bug in moxie")                                                                   \
    X(NUMERIC, 1002, 1, "a computation produced NaN or infinity")                                            \
    X(CANCELLED, 1003, 130, "stopped by the user")                                                           \
    X(THREAD, 1004, 1, "a thread could not be started")                                                      \
    X(ARG, 2001, 2, "wrong argument")                                                                        \
    X(OPTION, 2002, 2, "unknown or malformed option")                                                        \
    X(CONFLICT, 2003, 2, "options that exclude each other")                                                  \
    X(CONTEXT_FULL, 2004, 1, "the context is full")                                                          \
    X(TOKEN, 2005, 2, "a token id outside the vocabulary")                                                   \
    X(CONFIG, 2006, 2, "a wrong setting in a configuration file or the environment")                         \
    X(FORMAT, 3001, 3, "not a model file that moxie can read")                                               \
    X(TRUNCATED, 3002, 3, "the model file is shorter than its header says")                                  \
    X(NOT_GGUF, 3003, 3, "the file is not GGUF")                                                             \
    X(VERSION, 3004, 3, "unsupported GGUF version")                                                          \
    X(LIMIT, 3005, 3, "a count or size in the file is beyond the limit")                                     \
    X(KEY, 3006, 3, "a metadata key is missing or malformed")                                                \
    X(TENSOR, 3007, 3, "a tensor is missing or malformed")                                                   \
    X(TYPE, 3008, 3, "unsupported tensor type")                                                              \
    X(ARCH, 3009, 3, "unsupported model architecture")                                                       \
    X(TOKENIZER, 3010, 3, "unsupported or malformed tokenizer")                                              \
    X(SPLIT, 3011, 3, "a part of a split model is missing or does not belong")                               \
    X(TEMPLATE, 3012, 3, "unsupported chat template")                                                        \
    X(NO_FIT, 4001, 4, "the model does not fit in the given memory")                                         \
    X(NO_MEMORY, 4002, 4, "the system refused memory")                                                       \
    X(DEVICE, 5001, 5, "no usable device")                                                                   \
    X(ISA, 5002, 5, "the processor lacks a required instruction set")                                        \
    X(IO, 6001, 6, "reading failed")                                                                         \
    X(OPEN, 6002, 6, "the file cannot be opened")                                                            \
    X(CHANGED, 6003, 6, "the model file changed while it was in use")                                        \
    X(CORRUPT, 6004, 6, "data read again differ from the first read")                                        \
    X(WRITE, 6005, 6, "writing failed")                                                                      \
    X(CHECK, 8001, 8, "a check failed")

typedef enum mox_err {
#define X(name, number, exit_code, text) MOX_E_##name = -(number),
    MOX_ERRORS(X)
#undef X
        MOX_OK = 0
} mox_err;

/* The last failure of this thread. Valid until the next failure in the same thread. */
typedef struct mox_err_info {
    mox_err code;
    int sys;          /* errno of the system call that failed, 0 if none */
    const char *file; /* where it was detected */
    int line;
    char msg[480]; /* what, the numbers, why; one line, no code, no full stop */
    char fix[240]; /* what would help, as a command or a sentence; may be empty */
} mox_err_info;

#define MOX_NODISCARD         __attribute__((warn_unused_result))
#define MOX_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* mox_err_set: fill this thread's record and return code. Use through MOX_FAIL / MOX_FAIL_SYS. */
mox_err mox_err_set(mox_err code, int sys, const char *file, int line, const char *fmt, ...) MOX_PRINTF(5, 6);

/* mox_err_fix: add "what would help" to the record just set; returns the record's code. */
mox_err mox_err_fix(const char *fmt, ...) MOX_PRINTF(1, 2);

/* mox_err_last / mox_err_restore: read this thread's record; copy a record taken in another thread into this
 * one (jobs carry it in their completion). */
const mox_err_info *mox_err_last(void);
mox_err mox_err_restore(const mox_err_info *info);

/* mox_err_share: a module loaded by name has its own copy of this library; from now on its failures go to the program's
 * record. mox_err_record: this thread's, for that. */
mox_err_info *mox_err_record(void);
void mox_err_share(mox_err_info *(*of_this_thread)(void));

const char *mox_err_name(mox_err code); /* "NO_FIT" */
const char *mox_err_text(mox_err code); /* the table's text */
int mox_err_exit_code(mox_err code);    /* the program's exit code for it */

#define MOX_FAIL(code, ...)             mox_err_set((code), 0, __FILE__, __LINE__, __VA_ARGS__)
#define MOX_FAIL_SYS(code, err_no, ...) mox_err_set((code), (err_no), __FILE__, __LINE__, __VA_ARGS__)
#define MOX_TRY(call)                                                                                        \
    do {                                                                                                     \
        mox_err mox_try_e = (call);                                                                          \
        if (mox_try_e != MOX_OK) {                                                                           \
            return mox_try_e;                                                                                \
        }                                                                                                    \
    } while (0)
#define MOX_TRY_GOTO(err, call, label)                                                                       \
    do {                                                                                                     \
        (err) = (call);                                                                                      \
        if ((err) != MOX_OK) {                                                                               \
            goto label;                                                                                      \
        }                                                                                                    \
    } while (0)

#endif
