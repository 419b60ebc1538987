/* peak_rss LIMIT_KIB COMMAND...: runs the command; its exit code, or 1 if its peak resident memory (VmHWM, as
 * wait4 reports it) was above the limit. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc < 3) {
        return 2;
    }
    long limit = strtol(argv[1], NULL, 10);
    pid_t pid = fork();
    if (pid == 0) {
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    int status = 0;
    struct rusage usage;
    if (pid < 0 || wait4(pid, &status, 0, &usage) != pid) {
        return 2;
    }
    fprintf(stderr, "peak_rss: %ld KiB of %ld KiB allowed\n", usage.ru_maxrss, limit);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return usage.ru_maxrss > limit;
}
