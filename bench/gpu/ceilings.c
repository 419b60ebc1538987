/* gpu_ceilings [MIB]: what this GPU and its link can do, as one JSON object: reads of its memory, copies from and to pinned
 * memory, both at a time, from memory that is not pinned, a launch, products of bytes without tensor cores. MIB: how much
 * memory is read (1024) or copied (a quarter of it). Each figure is the best of a few trials. */
#include "bench/gpu/ceilings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TRIALS = 5, BLOCKS_PER_SM = 16, THREADS = 256, LAUNCHES = 200 };

typedef struct bench {
    size_t bytes, copy_bytes;
    unsigned blocks, rounds;
    char *far;
    char *pinned_in, *pinned_out, *plain;
    uint32_t *out;
    cudaStream_t a, b;
} bench;

static void must(cudaError_t e, const char *what)
{
    if (e != cudaSuccess) {
        fprintf(stderr, "gpu_ceilings: %s: %s (%d)\n", what, cudaGetErrorString(e), (int)e);
        exit(2);
    }
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void queue_read(bench *x)
{
    must(ceilings_read(x->far, x->bytes, x->blocks, x->out, x->a), "reading");
}

static void queue_in(bench *x)
{
    must(cudaMemcpyAsync(x->far, x->pinned_in, x->copy_bytes, cudaMemcpyDefault, x->a),
         "a copy to the device");
}

static void queue_out(bench *x)
{
    must(cudaMemcpyAsync(x->pinned_out, x->far + x->copy_bytes, x->copy_bytes, cudaMemcpyDefault, x->b),
         "a copy from the device");
}

static void queue_both(bench *x)
{
    queue_in(x);
    queue_out(x);
}

static void queue_plain(bench *x)
{
    must(cudaMemcpyAsync(x->far, x->plain, x->copy_bytes, cudaMemcpyDefault, x->a),
         "a copy of ordinary memory");
}

static void queue_dp4a(bench *x)
{
    must(ceilings_dp4a(x->rounds, x->blocks, x->out, x->a), "products");
}

static void queue_empty(bench *x)
{
    for (int i = 0; i < LAUNCHES; i++) {
        must(ceilings_empty(x->a), "a launch");
    }
}

/* Seconds of the fastest trial behind one to warm up. */
static double best(bench *x, void (*queue)(bench *))
{
    double least = 1e9;
    for (int i = 0; i <= TRIALS; i++) {
        double begin = now();
        queue(x);
        must(cudaStreamSynchronize(x->a), "waiting");
        must(cudaStreamSynchronize(x->b), "waiting");
        double s = now() - begin;
        least = i > 0 && s < least ? s : least;
    }
    return least;
}

int main(int argc, char **argv)
{
    struct cudaDeviceProp p;
    size_t free_bytes = 0, total = 0, mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 1024;
    must(cudaGetDeviceProperties(&p, 0), "the device");
    must(cudaMemGetInfo(&free_bytes, &total), "its memory");
    bench x = {.bytes = mib << 20, .rounds = mib >= 64 ? 8192 : 16};
    x.bytes = x.bytes < free_bytes / 2 ? x.bytes : free_bytes / 2 >> 20 << 20;
    x.copy_bytes = x.bytes / 4;
    x.blocks = (unsigned)p.multiProcessorCount * (mib >= 64 ? BLOCKS_PER_SM : 1);
    must(cudaMalloc((void **)&x.far, x.bytes), "device memory");
    must(cudaMalloc((void **)&x.out, (size_t)x.blocks * THREADS * sizeof *x.out), "device memory");
    must(cudaHostAlloc((void **)&x.pinned_in, x.copy_bytes, cudaHostAllocDefault), "pinned memory");
    must(cudaHostAlloc((void **)&x.pinned_out, x.copy_bytes, cudaHostAllocDefault), "pinned memory");
    x.plain = malloc(x.copy_bytes);
    if (!x.plain) {
        return 2;
    }
    memset(x.pinned_in, 1, x.copy_bytes);
    memset(x.plain, 1, x.copy_bytes);
    must(cudaStreamCreateWithFlags(&x.a, cudaStreamNonBlocking), "a stream");
    must(cudaStreamCreateWithFlags(&x.b, cudaStreamNonBlocking), "a stream");
    for (size_t i = 0; i < x.bytes; i += x.copy_bytes) {
        must(cudaMemcpyAsync(x.far + i, x.pinned_in, x.copy_bytes, cudaMemcpyDefault, x.a), "filling");
    }
    must(cudaStreamSynchronize(x.a), "filling");
    double in = best(&x, queue_in), out = best(&x, queue_out), both = best(&x, queue_both);
    double copy = (double)x.copy_bytes, ops = 64.0 * x.rounds * x.blocks * THREADS;
    printf("{\"device\":\"%s\",\"sm\":%d,\"vram_bytes\":%zu,\"vram_free_bytes\":%zu,", p.name,
           10 * p.major + p.minor, total, free_bytes);
    printf("\"vram_read_bytes_per_s\":%.6g,", (double)x.bytes / best(&x, queue_read));
    printf("\"copy_in_bytes_per_s\":%.6g,\"copy_out_bytes_per_s\":%.6g,\"copy_both_bytes_per_s\":%.6g,",
           copy / in, copy / out, 2 * copy / both);
    printf("\"copy_in_unpinned_bytes_per_s\":%.6g,", copy / best(&x, queue_plain));
    printf("\"launch_s\":%.3g,", best(&x, queue_empty) / LAUNCHES);
    printf("\"dp4a_ops_per_s\":%.6g}\n", ops / best(&x, queue_dp4a));
    return 0;
}
