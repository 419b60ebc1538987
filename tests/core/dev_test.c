/* The CPU device, used the way a caller uses any device. */
#include "runtime/core/arena.h"
#include "runtime/core/clock.h"
#include "runtime/core/dev.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

static mox_dev *dev;

static void open_device(void)
{
    cr_assert_eq(mox_dev_cpu_create(&dev), MOX_OK);
}

static void close_device(void)
{
    mox_dev_destroy(&dev);
    cr_assert_null(dev);
    mox_dev_destroy(&dev);
}

TestSuite(dev, .init = open_device, .fini = close_device);

Test(dev, buffers_know_where_they_live)
{
    mox_buf buf;
    cr_assert_str_eq(dev->ops->name, "cpu");
    cr_assert_eq(dev->ops->mem_alloc(dev, 5000, MOX_MEM_PINNED, MOX_ARENA_POPULATE, &buf), MOX_OK);
    cr_assert_eq(buf.bytes, 5000);
    cr_assert_eq(buf.kind, MOX_MEM_PINNED);
    cr_assert_eq(buf.dev, dev);
    memset(buf.ptr, 1, buf.bytes);
    dev->ops->mem_free(dev, &buf);
    cr_assert_null(buf.ptr);
    dev->ops->mem_free(dev, &buf);
    cr_assert_eq(dev->ops->mem_alloc(dev, SIZE_MAX / 2, MOX_MEM_DEVICE, 0, &buf), MOX_E_NO_MEMORY);
}

Test(dev, free_memory_is_part_of_the_total)
{
    size_t free_bytes = 0, total = 0;
    cr_assert_eq(dev->ops->mem_free_bytes(dev, &free_bytes, &total), MOX_OK);
    cr_assert(free_bytes > 0 && free_bytes < total);
}

Test(dev, a_copy_is_there_after_its_event)
{
    mox_stream *s;
    mox_event *e;
    char from[] = "sixteen neurons", to[sizeof from] = "";
    cr_assert_eq(dev->ops->stream_create(dev, &s), MOX_OK);
    cr_assert_eq(dev->ops->event_create(dev, &e), MOX_OK);
    cr_assert_eq(dev->ops->copy(dev, s, to, from, sizeof from), MOX_OK);
    cr_assert_eq(dev->ops->event_record(dev, e, s), MOX_OK);
    cr_assert_eq(dev->ops->stream_after(dev, s, e), MOX_OK);
    cr_assert_eq(dev->ops->event_wait(dev, e), MOX_OK);
    cr_assert_str_eq(to, from);
    cr_assert_eq(dev->ops->stream_wait(dev, s), MOX_OK);
    dev->ops->event_destroy(dev, &e);
    dev->ops->stream_destroy(dev, &s);
    cr_assert(e == NULL && s == NULL);
}

typedef struct flag_pair {
    mox_stream *s;
    volatile uint32_t ask, answer;
    uint32_t payload;
} flag_pair;

static void *answer(void *arg)
{
    flag_pair *f = arg;
    (void)dev->ops->flag_wait(dev, f->s, &f->ask, 1);
    f->payload++;
    (void)dev->ops->flag_write(dev, f->s, &f->answer, 1);
    return NULL;
}

Test(dev, flags_pass_data_between_threads)
{
    flag_pair f = {.payload = 41};
    pthread_t id;
    cr_assert_eq(dev->ops->stream_create(dev, &f.s), MOX_OK);
    cr_assert_eq(pthread_create(&id, NULL, answer, &f), 0);
    f.payload = 6;
    cr_assert_eq(dev->ops->flag_write(dev, f.s, &f.ask, 1), MOX_OK);
    while (dev->ops->flag_poll(dev, &f.answer) == 0) {
    }
    cr_assert_eq(f.payload, 7);
    pthread_join(id, NULL);
    dev->ops->stream_destroy(dev, &f.s);
}

Test(dev, the_clock_never_goes_back)
{
    uint64_t last = mox_now_ns();
    for (int i = 0; i < 100000; i++) {
        uint64_t now = mox_now_ns();
        cr_assert_geq(now, last);
        last = now;
    }
}
