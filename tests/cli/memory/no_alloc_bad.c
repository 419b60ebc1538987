/* What the witness must catch: says "ready", then does the forbidden thing named by its argument. */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void allocate(void)
{
    void *volatile p = malloc(100);
    free(p);
}

/* Once before, so that the second time needs no system call and is seen by the counter alone. */
static void *allocate_after(void *arg)
{
    allocate();
    pthread_barrier_wait(arg);
    pthread_barrier_wait(arg);
    allocate();
    return NULL;
}

static void put(const char *text)
{
    (void)!write(STDERR_FILENO, text, strlen(text));
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "nothing";
    pthread_barrier_t barrier;
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    if (strcmp(what, "thread") == 0) {
        pthread_create(&thread, NULL, allocate_after, &barrier);
        pthread_barrier_wait(&barrier);
    }
    allocate();
    put("moxie: ready\n");
    if (strcmp(what, "malloc") == 0) {
        allocate();
    } else if (strcmp(what, "mmap") == 0) {
        (void)!mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    } else if (strcmp(what, "open") == 0) {
        (void)!open("/dev/null", O_RDONLY);
    } else if (strcmp(what, "clone") == 0) {
        (void)!fork();
    } else if (strcmp(what, "brk") == 0) {
        (void)!sbrk(4096);
    } else if (strcmp(what, "thread") == 0) {
        pthread_barrier_wait(&barrier);
        pthread_join(thread, NULL);
    }
    put("tok/s\n");
    return 0;
}
