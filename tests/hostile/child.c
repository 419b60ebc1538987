#include "hostile/child.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct looking {
    report *r;
    uint32_t n_vocab, best;
} looking;

static void look(void *arg, uint32_t first_pos, uint32_t n, const float *logits)
{
    looking *l = arg;
    (void)first_pos;
    for (uint32_t row = 0; row < n; row++, logits += l->n_vocab) {
        l->best = 0;
        for (uint32_t i = 0; i < l->n_vocab; i++) {
            l->r->not_finite |= !isfinite(logits[i]);
            l->best = logits[i] > logits[l->best] ? i : l->best;
        }
    }
}

static bool count(void *arg, uint32_t id, const char *text, size_t n_text)
{
    report *r = arg;
    (void)text;
    (void)n_text;
    r->n_tokens += id != MOX_TOKEN_NONE;
    return true;
}

static mox_err compute(mox_ctx *ctx, report *r)
{
    uint32_t n_vocab = mox_tokenizer_vocab(mox_get_tokenizer(ctx)), prompt[3];
    looking l = {.r = r, .n_vocab = n_vocab};
    for (uint32_t i = 0; i < 3; i++) {
        prompt[i] = (1 + 40 * i) % n_vocab;
    }
    MOX_TRY(mox_eval(ctx, 0, prompt, 3, true, look, &l));
    for (int i = 0; i < CHILD_TOKENS; i++) {
        MOX_TRY(mox_eval(ctx, 0, &l.best, 1, true, look, &l));
    }
    mox_seq_clear(ctx, 0);
    mox_gen_cfg cfg = {.prompt = prompt,
                       .n_prompt = 3,
                       .max_new = CHILD_TOKENS,
                       .sampling = {.temp = 1.0f, .top_p = 0.9f, .seed = 1},
                       .ignore_end = true,
                       .on_token = count,
                       .arg = r};
    mox_gen_result result;
    return mox_generate(ctx, 0, &cfg, &result);
}

typedef struct changing {
    child_change change;
    void *arg;
} changing;

/* A stage is over. Others than "header" are announced again and again, and at last with all done. */
static void stage_over(void *ctx, const char *stage, uint64_t done, uint64_t total)
{
    const changing *c = ctx;
    if (c->change && done >= total) {
        c->change(c->arg, stage);
    }
}

void child_use(const char *path, mox_io_mode io, report *r)
{
    child_use_changing(path, io, NULL, NULL, r);
}

void child_use_changing(const char *path, mox_io_mode io, child_change change, void *arg, report *r)
{
    changing c = {change, arg};
    mox_cfg cfg;
    mox_ctx *ctx = NULL;
    mox_cfg_defaults(&cfg);
    cfg.model = path;
    cfg.ram.kind = MOX_BUDGET_MIN;
    cfg.n_ctx = 16;
    cfg.n_threads = 1;
    cfg.io = io;
    cfg.log = (mox_log){.fn = NULL};
    cfg.progress = stage_over;
    cfg.progress_ctx = &c;
    *r = (report){.err = mox_open(&ctx, &cfg)};
    if (r->err == MOX_OK && !mox_get_tokenizer(ctx)) {
        r->err = MOX_FAIL(MOX_E_TOKENIZER, "the model has no vocabulary");
    }
    if (r->err == MOX_OK) {
        stage_over(&c, "open", 1, 1);
        r->err = compute(ctx, r);
    }
    if (r->err != MOX_OK) {
        r->info = *mox_err_last();
    }
    mox_close(&ctx);
}

pid_t child_fork(int cpu_s)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        perror("fork");
        exit(1);
    }
    if (pid == 0 && !SANITIZED) {
        struct rlimit cpu = {(rlim_t)cpu_s, (rlim_t)cpu_s + 1},
                      memory = {UINT64_C(1) << 30, UINT64_C(1) << 30};
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CPU, &cpu);
        setrlimit(RLIMIT_AS, &memory);
        setrlimit(RLIMIT_CORE, &none);
    }
    return pid;
}

outcome child_wait(pid_t pid)
{
    outcome o = {0};
    struct rusage use;
    int status = 0;
    const struct timespec nap = {.tv_nsec = 500000};
    time_t begin = time(NULL);
    pid_t got;
    while ((got = wait4(pid, &status, WNOHANG, &use)) == 0) {
        if (!o.late && time(NULL) - begin > CHILD_WALL_S) {
            o.late = true;
            kill(pid, SIGKILL);
        }
        nanosleep(&nap, NULL);
    }
    if (got != pid) {
        perror("wait4");
        exit(1);
    }
    o.exited = WIFEXITED(status);
    o.code = o.exited ? WEXITSTATUS(status) : 0;
    o.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    o.cpu_s = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
              (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1e-6;
    o.rss_kib = use.ru_maxrss;
    return o;
}

outcome child_try(const char *path, report *r, int cpu_s)
{
    *r = (report){.err = MOX_E_INTERNAL};
    pid_t pid = child_fork(cpu_s);
    if (pid == 0) {
        child_use(path, MOX_IO_AUTO, r);
        exit(0); /* with exit handlers: a sanitizer looks for leaks there */
    }
    return child_wait(pid);
}

report *child_report(void)
{
    report *r = mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (r == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return r;
}
