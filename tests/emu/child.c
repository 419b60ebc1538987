/* Fork, stderr through a pipe, wait (child.h). */
#include "emu/child.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

child_end child_run(int (*fn)(void *arg), void *arg)
{
    child_end end = {.exit_code = -1};
    int fd[2];
    if (pipe(fd) != 0) {
        return end;
    }
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fd[1], STDERR_FILENO);
        close(fd[0]);
        close(fd[1]);
        _exit(fn(arg));
    }
    close(fd[1]);
    size_t used = 0;
    char rest[1024]; /* read on, so that the child can write on */
    for (ssize_t n = 1; n > 0;) {
        size_t room = sizeof end.text - 1 - used;
        n = room > 0 ? read(fd[0], end.text + used, room) : read(fd[0], rest, sizeof rest);
        used += n > 0 && room > 0 ? (size_t)n : 0;
    }
    close(fd[0]);
    int status = 0;
    waitpid(pid, &status, 0);
    end.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    end.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return end;
}
