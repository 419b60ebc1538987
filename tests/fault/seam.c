/* See seam.h. */
#include "fault/seam.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum { HOLD_REAPS = 4, POISON = 0xEE };
#define NOWHERE UINT64_MAX
#define HOLD_NS UINT64_C(1000000)

struct mox_io {
    seam s;
};

static seam *of(mox_io *io)
{
    return &io->s;
}

static mox_err seam_open(void *ctx, const mox_io_cfg *cfg, mox_io **out)
{
    seam *s = ctx;
    assert(s->inner->state_bytes <= sizeof s->state);
    mox_io_cfg inner = *cfg;
    inner.state = s->state;
    s->bad_off = NOWHERE;
    mox_err err = s->inner->open(NULL, &inner, &s->io);
    if (err == MOX_OK) {
        *out = (mox_io *)(void *)s;
    }
    return err;
}

static mox_io_req *slot_of(seam *s, uint64_t id)
{
    return &s->req[id & 0xff];
}

static void seam_submit(mox_io *io, const mox_io_req *req)
{
    seam *s = of(io);
    *slot_of(s, req->id) = *req;
    s->inner->submit(s->io, req);
}

static bool known(const seam *s, uint64_t off)
{
    for (uint32_t i = 0; i < s->reads; i++) {
        if (s->offset[i] == off) {
            return true;
        }
    }
    return false;
}

static int32_t damage(seam *s, const mox_io_req *r, int32_t res)
{
    static const int code[SEAM_FAULTS] = {
        [SEAM_EAGAIN] = EAGAIN, [SEAM_EINTR] = EINTR, [SEAM_EIO] = EIO, [SEAM_ECANCELED] = ECANCELED};
    switch (s->fault) {
    case SEAM_SHORT:
        res = res / 2 + 37 < res ? res / 2 + 37 : res / 2;
        memset(r->buf + res, POISON, r->bytes - (uint32_t)res);
        return res;
    case SEAM_CORRUPT:
        r->buf[r->bytes / 2] ^= 0x40;
        return res;
    case SEAM_ZERO:
    case SEAM_EAGAIN:
    case SEAM_EINTR:
    case SEAM_EIO:
    case SEAM_ECANCELED:
        memset(r->buf, POISON, r->bytes);
        return -code[s->fault];
    default:
        return res;
    }
}

/* Whether this completion is the one; counts it. */
static bool chosen(seam *s, const mox_io_req *r, int32_t res)
{
    atomic_fetch_add(&s->completions, 1);
    bool seen = known(s, r->off), again = seen || s->first_too;
    if (res > 0 && !seen && s->reads < SEAM_OFFSETS) {
        s->offset[s->reads++] = r->off;
    }
    if (s->fault == SEAM_NONE || res <= 0) {
        return false;
    }
    if (s->fault != SEAM_CORRUPT || again) {
        s->counted++;
    }
    bool first = s->counted == s->nth && atomic_load(&s->fired) == 0 && (s->fault != SEAM_CORRUPT || again);
    if (first) {
        s->bad_off = r->off;
    }
    return first || (s->for_ever && r->off == s->bad_off);
}

static uint32_t alter(seam *s, mox_io_done *done, uint32_t n)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        const mox_io_req *r = slot_of(s, done[i].id);
        if (chosen(s, r, done[i].res)) {
            atomic_fetch_add(&s->fired, 1);
            done[i].res = damage(s, r, done[i].res);
            if (!s->holding && (s->fault == SEAM_LATE || s->fault == SEAM_TWICE)) {
                s->holding = true;
                s->held = done[i];
                s->held_for = HOLD_REAPS;
                if (s->fault == SEAM_LATE) {
                    continue;
                }
            }
        }
        done[kept++] = done[i];
    }
    return kept;
}

static uint32_t seam_reap(mox_io *io, mox_io_done *done, uint32_t max, uint64_t timeout_ns)
{
    seam *s = of(io);
    if (s->holding && s->held_for-- == 0) {
        s->holding = false;
        done[0] = s->held;
        return 1;
    }
    uint64_t wait = s->holding && timeout_ns > HOLD_NS ? HOLD_NS : timeout_ns;
    return alter(s, done, s->inner->reap(s->io, done, max, wait));
}

static void seam_cancel(mox_io *io, uint64_t id)
{
    of(io)->inner->cancel(of(io)->io, id);
}

static void seam_wake(mox_io *io)
{
    of(io)->inner->wake(of(io)->io);
}

static void seam_close(mox_io **io)
{
    of(*io)->inner->close(&of(*io)->io);
    *io = NULL;
}

const mox_io_ops seam_ops = {
    .name = "seam",
    .state_bytes = 64,
    .open = seam_open,
    .submit = seam_submit,
    .reap = seam_reap,
    .cancel = seam_cancel,
    .wake = seam_wake,
    .close = seam_close,
};

const char *seam_fault_name(seam_fault fault)
{
    static const char *const names[SEAM_FAULTS] = {"none", "short",     "zero", "EAGAIN", "EINTR",
                                                   "EIO",  "ECANCELED", "late", "twice",  "corrupt"};
    return names[fault];
}
