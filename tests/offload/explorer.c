/* Walks every state that the slot life-cycle can reach, with the production transition function compiled in.
 *
 * World: 2 slots, 3 experts, 2 requests, and 2 workers that each want any set of one or two experts. Every
 * interleaving of: place a need, look up without protection and pin later, use the first part while the second
 * arrives, pin, use, release, give up; prefetch, refute a prefetch, choose any victim at any time; hand a part to
 * the system, and let it complete, fail, come back with wrong bytes (read again) or be reported twice; of a load that
 * is compared as a whole, let its last part show that both must be read again. Breadth first, so that the trace printed for a violation is a shortest one.
 *
 * Checked in every state: the table's invariants (mox_slots_check: I1-I4, I10, I11), and what they are for,
 * seen from outside: a worker that holds an expert sees all bytes of that expert and of nothing else, one that
 * began early sees those of the first part, every
 * request in flight is known to exactly one slot (I12), pins and needs are those of the workers, a failure is
 * told to each waiter once (I8), a completion that was counted is never counted again. At the end: from every
 * state the world can still come to rest (nobody waits for ever, no slot is lost).
 *
 * Compiled again with -DMOX_BUG_* (slot.c) it must find a violation: run with --expect-bug.
 */
#include "offload/slot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef EXPLORE_WORKERS
#define EXPLORE_WORKERS 2
#endif
#ifndef EXPLORE_TWICE /* completions may be reported twice */
#define EXPLORE_TWICE 0
#endif
#ifndef EXPLORE_COMPARED /* loads may be compared as a whole */
#define EXPLORE_COMPARED 0
#endif

enum {
    SLOTS = 2,
    EXPERTS = 3,
    WORKERS = EXPLORE_WORKERS,
    ENTRIES = 2,
    PARTS = 2,
    REQUESTS = 2,
    KEY_BYTES = 48
};

typedef enum entry_state {
    NOTHING,
    WANTED,
    HELD,
    WAITING,
    LEASED,
    PEEKED,
    PEEK_LEASED,
    ENDED,
    EARLY /* waits, and uses the first part meanwhile */
} entry_state;

typedef struct entry {
    uint8_t state, expert, slot;
    uint32_t generation;
} entry;

typedef struct flight {
    uint8_t up, slot, part, expert;
    uint32_t generation;
} flight;

typedef struct world {
    mox_slot slot[SLOTS];
    uint32_t map[EXPERTS];
    uint8_t content[SLOTS][PARTS]; /* expert + 1 whose bytes lie there */
    uint8_t todo[SLOTS];           /* parts not submitted, one bit each */
    uint8_t redone[SLOTS];         /* the load has used its one read-again */
    entry entry[WORKERS][ENTRIES];
    flight flight[REQUESTS];
    flight ghost; /* a completion that was delivered and may be delivered once more */
    uint8_t ghost_request;
} world;

/* ---- the set of states ---- */

typedef struct node {
    uint8_t key[KEY_BYTES];
    uint32_t parent;
} node;

static node *nodes;
static uint32_t n_nodes, cap_nodes, *table, table_mask;
static uint32_t *edge_from, *edge_to;
static size_t n_edges, cap_edges;
static const char *violation;
static uint64_t seen_state[MOX_SLOT_STATES], seen_verdict[MOX_SLOT_EVENTS][MOX_SLOT_REFUSED + 1];

static void *grow(void *p, size_t bytes)
{
    p = realloc(p, bytes);
    if (!p) {
        fprintf(stderr, "explorer: out of memory\n");
        exit(2);
    }
    return p;
}

static uint64_t hash_key(const uint8_t *key)
{
    uint64_t h = UINT64_C(1469598103934665603);
    for (int i = 0; i < KEY_BYTES; i += 8) {
        uint64_t v;
        memcpy(&v, key + i, 8);
        h = (h ^ v) * UINT64_C(0x9E3779B97F4A7C15);
        h ^= h >> 32;
    }
    return h;
}

static void rehash(void)
{
    table_mask = table_mask ? table_mask * 2 + 1 : (1u << 20) - 1;
    table = grow(table, ((size_t)table_mask + 1) * sizeof *table);
    memset(table, 0xff, ((size_t)table_mask + 1) * sizeof *table);
    for (uint32_t i = 0; i < n_nodes; i++) {
        uint32_t at = (uint32_t)hash_key(nodes[i].key) & table_mask;
        while (table[at] != UINT32_MAX) {
            at = (at + 1) & table_mask;
        }
        table[at] = i;
    }
}

static uint32_t intern(const uint8_t *key, uint32_t parent)
{
    if (n_nodes * 2 >= table_mask) {
        rehash();
    }
    uint32_t at = (uint32_t)hash_key(key) & table_mask;
    for (; table[at] != UINT32_MAX; at = (at + 1) & table_mask) {
        if (memcmp(nodes[table[at]].key, key, KEY_BYTES) == 0) {
            return table[at];
        }
    }
    if (n_nodes == cap_nodes) {
        cap_nodes = cap_nodes ? cap_nodes * 2 : 1u << 16;
        nodes = grow(nodes, cap_nodes * sizeof *nodes);
    }
    memcpy(nodes[n_nodes].key, key, KEY_BYTES);
    nodes[n_nodes].parent = parent;
    table[at] = n_nodes;
    return n_nodes++;
}

/* ---- packing: generations become "as the slot's" or "older", which is all that any rule asks ---- */

enum { BASE_GENERATION = 8 };

static uint8_t age(const world *w, uint8_t slot, uint32_t generation)
{
    return w->slot[slot].generation != generation;
}

static void pack_entry(const world *w, const entry *e, uint8_t *p)
{
    bool has_slot = e->state != NOTHING && e->state != WANTED && e->state != ENDED;
    p[0] = (uint8_t)(e->state | (e->state == NOTHING || e->state == ENDED ? 0 : e->expert) << 4);
    p[1] = has_slot ? (uint8_t)(e->slot | age(w, e->slot, e->generation) << 4) : 0;
}

static void pack_flight(const world *w, const flight *f, uint8_t *p)
{
    p[0] = f->up ? (uint8_t)(1 | f->slot << 1 | f->part << 2 | f->expert << 3 |
                             age(w, f->slot, f->generation) << 5)
                 : 0;
}

static void pack(const world *w, uint8_t *key)
{
    memset(key, 0, KEY_BYTES);
    uint8_t *p = key;
    for (int i = 0; i < SLOTS; i++) {
        const mox_slot *s = &w->slot[i];
        bool live = s->state != MOX_SLOT_FREE;
        *p++ = (uint8_t)(s->state | (live ? s->key << 4 : 0));
        *p++ = (uint8_t)(s->pins | s->waiters << 4);
        *p++ = (uint8_t)(s->needed | s->parts << 4);
        *p++ = (uint8_t)(s->flying | (uint64_t)w->redone[i] << 4 | (uint64_t)s->compared << 5);
        *p++ = (uint8_t)(w->todo[i] | w->content[i][0] << 2 | w->content[i][1] << 4);
    }
    for (int i = 0; i < EXPERTS; i++) {
        *p++ = (uint8_t)w->map[i];
    }
    for (int i = 0; i < WORKERS; i++) {
        for (int k = 0; k < ENTRIES; k++, p += 2) {
            pack_entry(w, &w->entry[i][k], p);
        }
    }
    for (int i = 0; i < REQUESTS; i++) {
        pack_flight(w, &w->flight[i], p++);
    }
    pack_flight(w, &w->ghost, p++);
    *p++ = w->ghost.up ? w->ghost_request : 0;
}

/* Names carry no meaning: states that differ by renaming slots, workers, requests or experts are one state.
 */
typedef struct naming {
    uint8_t slot[SLOTS], worker[2], request[REQUESTS], expert[EXPERTS];
} naming;

static flight rename_flight(const flight *f, const naming *n)
{
    flight out = *f;
    if (f->up) {
        out.slot = n->slot[f->slot];
        out.expert = n->expert[f->expert];
    }
    return out;
}

static void rename_worker(const entry *from, entry *to, const naming *n)
{
    for (int k = 0; k < ENTRIES; k++) {
        to[k] = from[k];
        bool has_expert = from[k].state != NOTHING && from[k].state != ENDED;
        to[k].expert = has_expert ? n->expert[from[k].expert] : 0;
        to[k].slot = n->slot[from[k].slot];
    }
    if (to[0].state < to[1].state || (to[0].state == to[1].state && to[0].expert > to[1].expert)) {
        entry swap = to[0];
        to[0] = to[1];
        to[1] = swap;
    }
}

static void rename_world(const world *w, world *out, const naming *n)
{
    for (int i = 0; i < SLOTS; i++) {
        uint8_t to = n->slot[i];
        const mox_slot *s = &w->slot[i];
        out->slot[to] = *s;
        out->slot[to].key = n->expert[s->key];
        out->slot[to].flying = 0;
        for (int r = 0; r < REQUESTS; r++) {
            out->slot[to].flying |= (s->flying >> r & 1) << n->request[r];
        }
        for (int p = 0; p < PARTS; p++) {
            bool live = s->state != MOX_SLOT_FREE && w->content[i][p] != 0;
            out->content[to][p] = live ? n->expert[w->content[i][p] - 1] + 1 : 0;
        }
        out->todo[to] = w->todo[i];
        out->redone[to] = s->state == MOX_SLOT_LOADING ? w->redone[i] : 0;
        out->slot[to].compared = s->state == MOX_SLOT_LOADING && s->compared;
    }
    for (int e = 0; e < EXPERTS; e++) {
        out->map[n->expert[e]] = w->map[e] == MOX_SLOT_NONE ? MOX_SLOT_NONE : n->slot[w->map[e]];
    }
    for (int i = 0; i < WORKERS; i++) {
        rename_worker(w->entry[i], out->entry[n->worker[i]], n);
    }
    for (int r = 0; r < REQUESTS; r++) {
        out->flight[n->request[r]] = rename_flight(&w->flight[r], n);
    }
    out->ghost = rename_flight(&w->ghost, n);
    out->ghost_request = n->request[w->ghost_request];
}

static void canonical(const world *w, uint8_t *key)
{
    static const uint8_t orders[6][EXPERTS] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                               {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    uint8_t other[KEY_BYTES];
    world renamed;
    for (uint8_t i = 0; i < 6 * 8; i++) {
        uint8_t s = i & 1, k = i >> 1 & 1, r = i >> 2 & 1;
        if (k >= WORKERS) {
            continue;
        }
        naming n = {{s, !s}, {k, !k}, {r, !r}, {0}};
        memcpy(n.expert, orders[i / 8], EXPERTS);
        rename_world(w, &renamed, &n);
        pack(&renamed, other);
        if (i == 0 || memcmp(other, key, KEY_BYTES) < 0) {
            memcpy(key, other, KEY_BYTES);
        }
    }
}

static uint32_t unage(uint8_t older)
{
    return BASE_GENERATION - older;
}

static void unpack_flight(flight *f, uint8_t b)
{
    *f = (flight){b & 1, b >> 1 & 1, b >> 2 & 1, b >> 3 & 3, unage(b >> 5 & 1)};
}

static void unpack(world *w, const uint8_t *p)
{
    memset(w, 0, sizeof *w);
    for (int i = 0; i < SLOTS; i++, p += 5) {
        w->slot[i] = (mox_slot){
            .state = p[0] & 15,
            .key = p[0] >> 4,
            .generation = BASE_GENERATION,
            .pins = p[1] & 15,
            .waiters = p[1] >> 4,
            .needed = p[2] & 15,
            .parts = p[2] >> 4,
            .flying = p[3] & 15,
        };
        w->redone[i] = p[3] >> 4 & 1;
        w->slot[i].compared = p[3] >> 5;
        w->todo[i] = p[4] & 3;
        w->content[i][0] = p[4] >> 2 & 3;
        w->content[i][1] = p[4] >> 4 & 3;
    }
    for (int i = 0; i < EXPERTS; i++, p++) {
        w->map[i] = *p == 0xff ? MOX_SLOT_NONE : *p;
    }
    for (int i = 0; i < WORKERS; i++) {
        for (int k = 0; k < ENTRIES; k++, p += 2) {
            w->entry[i][k] = (entry){p[0] & 15, p[0] >> 4, p[1] & 15, unage(p[1] >> 4)};
        }
    }
    for (int i = 0; i < REQUESTS; i++) {
        unpack_flight(&w->flight[i], *p++);
    }
    unpack_flight(&w->ghost, *p++);
    w->ghost_request = *p;
}

/* ---- one event ---- */

static void fail(const char *what)
{
    if (!violation) {
        violation = what;
    }
}

static mox_slot_result apply(world *w, mox_slot_event e)
{
    mox_slots t = {w->slot, SLOTS, w->map, EXPERTS};
    mox_slot_result r = mox_slots_apply(&t, &e);
    seen_verdict[e.kind][r.verdict]++;
    return r;
}

/* A plain file's loads are compared as a whole, sometimes. */
static mox_slot_result want(world *w, mox_slot_event_kind kind, uint32_t expert, bool compared)
{
    return apply(w, (mox_slot_event){.kind = kind, .key = expert, .parts = PARTS, .compared = compared});
}

static mox_slot_result on_slot(world *w, mox_slot_event_kind kind, uint8_t slot, uint32_t generation)
{
    return apply(w, (mox_slot_event){.kind = kind, .slot = slot, .generation = generation});
}

static void start(world *w, const mox_slot_result *r)
{
    if (r->actions & MOX_SLOT_START) {
        w->todo[r->slot] = (1 << PARTS) - 1;
        w->redone[r->slot] = 0;
        memset(w->content[r->slot], 0,
               PARTS); /* poison: whatever is read there later was written for this load */
    }
}

static void must(mox_slot_result r, const char *what)
{
    if (r.verdict != MOX_SLOT_DID) {
        fail(what);
    }
}

/* ---- what a worker may do with one entry; false: not possible in this state ---- */

enum { W_PLACE, W_PLACE_COMPARED, W_PEEK, W_EARLY, W_TAKE, W_RELEASE, W_GIVE_UP, W_ACTIONS };
static const char *const worker_action[W_ACTIONS] = {
    "place", "place, to be compared", "look up", "use the first part", "take", "release", "give up"};

static bool place(world *w, entry *e, bool compared)
{
    if (e->state != WANTED || (compared && !EXPLORE_COMPARED)) {
        return false;
    }
    mox_slot_result r = want(w, MOX_SLOT_DEMAND, e->expert, compared);
    if (r.verdict == MOX_SLOT_NO_ROOM || (compared && r.verdict != MOX_SLOT_ALLOCATED)) {
        return false;
    }
    start(w, &r);
    e->state = r.verdict == MOX_SLOT_HIT ? HELD : WAITING;
    e->slot = (uint8_t)r.slot;
    e->generation = r.generation;
    return true;
}

/* Remembers where the expert is, without protecting it. */
static bool peek(world *w, entry *e)
{
    uint32_t at = w->map[e->expert];
    if (e->state != WANTED || at == MOX_SLOT_NONE || w->slot[at].state == MOX_SLOT_LOADING) {
        return false;
    }
    e->state = PEEKED;
    e->slot = (uint8_t)at;
    e->generation = w->slot[at].generation;
    return true;
}

/* The load is under way and its first part is there for good. */
static bool use_early(world *w, entry *e)
{
    const mox_slot *s = &w->slot[e->slot];
    if (e->state != WAITING || s->state != MOX_SLOT_LOADING || w->content[e->slot][0] != e->expert + 1) {
        return false;
    }
    if (on_slot(w, MOX_SLOT_EARLY, e->slot, e->generation).verdict != MOX_SLOT_DID) {
        return false;
    }
    e->state = EARLY;
    return true;
}

static bool waits(const entry *e)
{
    return e->state == WAITING || e->state == EARLY;
}

static bool take(world *w, entry *e)
{
    const mox_slot *s = &w->slot[e->slot];
    if (e->state == HELD) {
        must(on_slot(w, MOX_SLOT_PIN, e->slot, e->generation), "a protected expert could not be pinned");
        e->state = LEASED;
    } else if (e->state == PEEKED) {
        mox_slot_result r = on_slot(w, MOX_SLOT_PIN, e->slot, e->generation);
        e->state = r.verdict == MOX_SLOT_DID ? PEEK_LEASED : WANTED;
    } else if (waits(e) && s->state == MOX_SLOT_PINNED) {
        e->state = LEASED; /* pinned for it by the last read */
    } else if (waits(e) && s->state == MOX_SLOT_FAILED) {
        must(on_slot(w, MOX_SLOT_TOLD, e->slot, e->generation),
             "I8: a waiter could not be told of a failure");
        e->state = ENDED;
    } else {
        return false;
    }
    return true;
}

static bool release(world *w, entry *e)
{
    if (e->state != LEASED && e->state != PEEK_LEASED) {
        return false;
    }
    must(on_slot(w, MOX_SLOT_UNPIN, e->slot, e->generation), "a lease could not be given back");
    if (e->state == LEASED) {
        must(on_slot(w, MOX_SLOT_UNNEED, e->slot, e->generation), "a need could not be given back");
    }
    e->state = ENDED;
    return true;
}

static bool give_up(world *w, entry *e)
{
    const mox_slot *s = &w->slot[e->slot];
    if (e->state == WANTED) {
        e->state = ENDED;
    } else if (e->state == HELD) {
        must(on_slot(w, MOX_SLOT_UNNEED, e->slot, e->generation), "a need could not be given back");
        e->state = ENDED;
    } else if (waits(e) && s->state == MOX_SLOT_LOADING) {
        mox_slot_result r = on_slot(w, MOX_SLOT_LEAVE, e->slot, e->generation);
        must(r, "a waiter could not leave");
        if (r.actions & MOX_SLOT_STOP) {
            w->todo[e->slot] = 0;
        }
        e->state = ENDED;
    } else {
        return false;
    }
    return true;
}

static bool act_worker(world *w, entry *e, int action)
{
    switch (action) {
    case W_PLACE:
    case W_PLACE_COMPARED:
        return place(w, e, action == W_PLACE_COMPARED);
    case W_PEEK:
        return peek(w, e);
    case W_EARLY:
        return use_early(w, e);
    case W_TAKE:
        return take(w, e);
    case W_RELEASE:
        return release(w, e);
    default:
        return give_up(w, e);
    }
}

/* A worker at rest wants set `which` of the six sets of one or two experts. */
static bool begin(world *w, int worker, int which)
{
    static const uint8_t sets[6][2] = {{0, 3}, {1, 3}, {2, 3}, {0, 1}, {0, 2}, {1, 2}};
    entry *e = w->entry[worker];
    if (e[0].state != NOTHING || e[1].state != NOTHING) {
        return false;
    }
    e[0] = (entry){.state = WANTED, .expert = sets[which][0]};
    if (sets[which][1] < EXPERTS) {
        e[1] = (entry){.state = WANTED, .expert = sets[which][1]};
    }
    return true;
}

static void rest_when_ended(world *w)
{
    for (int i = 0; i < WORKERS; i++) {
        entry *e = w->entry[i];
        bool over =
            (e[0].state == ENDED || e[0].state == NOTHING) && (e[1].state == ENDED || e[1].state == NOTHING);
        if (over) {
            memset(e, 0, sizeof w->entry[i]);
        }
    }
}

/* ---- what the store and the system may do ---- */

enum { S_EVICT, S_EVICTED, S_CANCEL, S_SUBMIT0, S_SUBMIT1, S_ACTIONS };
static const char *const slot_action[S_ACTIONS] = {"evict", "evicted", "refute", "submit on 0",
                                                   "submit on 1"};

static bool submit(world *w, uint8_t slot, uint8_t request)
{
    if (w->todo[slot] == 0 || w->flight[request].up) {
        return false;
    }
    uint8_t part = (uint8_t)__builtin_ctz(w->todo[slot]);
    uint32_t generation = w->slot[slot].generation;
    mox_slot_result r =
        apply(w, (mox_slot_event){
                     .kind = MOX_SLOT_SUBMIT, .slot = slot, .generation = generation, .request = request});
    must(r, "a part of a queued load was refused");
    w->todo[slot] &= (uint8_t) ~(1u << part);
    w->flight[request] = (flight){1, slot, part, (uint8_t)w->slot[slot].key, generation};
    return true;
}

static bool act_slot(world *w, uint8_t slot, int action)
{
    uint32_t generation = w->slot[slot].generation;
    mox_slot_result r;
    switch (action) {
    case S_EVICT:
        return on_slot(w, MOX_SLOT_EVICT, slot, generation).verdict == MOX_SLOT_DID;
    case S_EVICTED:
        return on_slot(w, MOX_SLOT_EVICTED, slot, generation).verdict == MOX_SLOT_DID;
    case S_CANCEL:
        r = on_slot(w, MOX_SLOT_CANCEL, slot, generation);
        if (r.actions & MOX_SLOT_STOP) {
            w->todo[slot] = 0;
        }
        return r.verdict == MOX_SLOT_DID;
    default:
        return submit(w, slot, (uint8_t)(action - S_SUBMIT0));
    }
}

enum { R_DONE, R_DONE_AND_AGAIN_REPORTED, R_FAILED, R_WRONG_BYTES, R_ALL_WRONG, R_ACTIONS };
static const char *const request_action[R_ACTIONS] = {"done", "done, to be reported twice", "failed",
                                                      "wrong bytes, read again",
                                                      "the last, and all differ: read again"};

/* Wrong bytes are seen in a part of a packed file, and in all parts of a plain one when the last has come; once. */
static bool may_differ(const world *w, const mox_slot *s, uint8_t slot, int action)
{
    return s->state == MOX_SLOT_LOADING && !w->redone[slot] && s->compared == (action == R_ALL_WRONG) &&
           (action != R_ALL_WRONG || s->parts == 1);
}

static void read_again(world *w, const flight *f, int action)
{
    for (uint8_t part = 0; part < PARTS; part++) {
        if (action == R_ALL_WRONG || part == f->part) {
            w->content[f->slot][part] = 0;
            w->todo[f->slot] |= (uint8_t)(1u << part);
        }
    }
    w->redone[f->slot] = 1;
}

static bool act_request(world *w, uint8_t request, int action)
{
    flight f = w->flight[request];
    if (!f.up || (action == R_DONE_AND_AGAIN_REPORTED && (!EXPLORE_TWICE || w->ghost.up)) ||
        (action >= R_WRONG_BYTES && !may_differ(w, &w->slot[f.slot], f.slot, action))) {
        return false;
    }
    w->flight[request].up = 0;
    if (action != R_FAILED) {
        w->content[f.slot][f.part] = f.expert + 1;
    }
    if (action == R_DONE_AND_AGAIN_REPORTED) {
        w->ghost = f;
        w->ghost_request = request;
    }
    mox_slot_event e = {
        .kind = action == R_FAILED        ? MOX_SLOT_READ_FAILED
                : action >= R_WRONG_BYTES ? MOX_SLOT_READ_AGAIN
                                          : MOX_SLOT_READ_DONE,
        .slot = f.slot,
        .generation = f.generation,
        .request = request,
        .parts = action == R_ALL_WRONG ? PARTS : 1,
    };
    if (action >= R_WRONG_BYTES) {
        read_again(w, &f, action);
    }
    mox_slot_result r = apply(w, e);
    must(r, "a completion was not counted");
    if (r.actions & MOX_SLOT_STOP) {
        w->todo[f.slot] = 0;
    }
    return true;
}

/* The same completion once more. Of a request that flies again for the same load the ring's sequence number
 * tells the two apart before the table is asked, so that case is not one of the table's. */
static bool act_ghost(world *w)
{
    const flight *g = &w->ghost;
    const flight *f = &w->flight[w->ghost_request];
    if (!g->up || (f->up && f->slot == g->slot && f->generation == g->generation)) {
        return false;
    }
    mox_slot_result r = apply(w, (mox_slot_event){.kind = MOX_SLOT_READ_DONE,
                                                  .slot = g->slot,
                                                  .generation = g->generation,
                                                  .request = w->ghost_request});
    if (r.verdict != MOX_SLOT_STALE) {
        fail("a completion was counted twice");
    }
    w->ghost.up = 0;
    return true;
}

static bool prefetch(world *w, uint32_t expert, bool compared)
{
    if (compared && !EXPLORE_COMPARED) {
        return false;
    }
    mox_slot_result r = want(w, MOX_SLOT_PREFETCH, expert, compared);
    start(w, &r);
    return r.verdict == MOX_SLOT_ALLOCATED;
}

/* ---- actions by number ---- */

enum {
    A_BEGIN = 0,
    A_WORKER = A_BEGIN + WORKERS * 6,
    A_SLOT = A_WORKER + WORKERS * ENTRIES * W_ACTIONS,
    A_REQUEST = A_SLOT + SLOTS * S_ACTIONS,
    A_PREFETCH = A_REQUEST + REQUESTS * R_ACTIONS,
    A_GHOST = A_PREFETCH + 2 * EXPERTS,
    A_COUNT
};

static bool act(world *w, int a)
{
    if (a < A_WORKER) {
        return begin(w, a / 6, a % 6);
    }
    if (a < A_SLOT) {
        int k = a - A_WORKER;
        entry *e = &w->entry[k / W_ACTIONS / ENTRIES][k / W_ACTIONS % ENTRIES];
        return act_worker(w, e, k % W_ACTIONS);
    }
    if (a < A_REQUEST) {
        return act_slot(w, (uint8_t)((a - A_SLOT) / S_ACTIONS), (a - A_SLOT) % S_ACTIONS);
    }
    if (a < A_PREFETCH) {
        return act_request(w, (uint8_t)((a - A_REQUEST) / R_ACTIONS), (a - A_REQUEST) % R_ACTIONS);
    }
    a -= A_PREFETCH;
    return a < 2 * EXPERTS ? prefetch(w, (uint32_t)a % EXPERTS, a >= EXPERTS) : act_ghost(w);
}

static void print_action(int a)
{
    if (a < A_WORKER) {
        printf("  worker %d begins with set %d\n", a / 6, a % 6);
    } else if (a < A_SLOT) {
        int k = a - A_WORKER;
        printf("  worker %d, need %d: %s\n", k / W_ACTIONS / ENTRIES, k / W_ACTIONS % ENTRIES,
               worker_action[k % W_ACTIONS]);
    } else if (a < A_REQUEST) {
        printf("  slot %d: %s\n", (a - A_SLOT) / S_ACTIONS, slot_action[(a - A_SLOT) % S_ACTIONS]);
    } else if (a < A_PREFETCH) {
        printf("  request %d: %s\n", (a - A_REQUEST) / R_ACTIONS,
               request_action[(a - A_REQUEST) % R_ACTIONS]);
    } else if (a < A_GHOST) {
        printf("  prefetch expert %d%s\n", (a - A_PREFETCH) % EXPERTS,
               a - A_PREFETCH < EXPERTS ? "" : ", to be compared");
    } else {
        printf("  an old completion is reported again\n");
    }
}

/* ---- checks ---- */

static void check_holders(const world *w)
{
    uint32_t pins[SLOTS] = {0}, needs[SLOTS] = {0};
    for (int i = 0; i < WORKERS; i++) {
        for (int k = 0; k < ENTRIES; k++) {
            const entry *e = &w->entry[i][k];
            const mox_slot *s = &w->slot[e->slot];
            bool leased = e->state == LEASED || e->state == PEEK_LEASED;
            bool granted = waits(e) && s->state == MOX_SLOT_PINNED;
            if ((leased || granted || e->state == HELD) && age(w, e->slot, e->generation)) {
                fail("I6: the slot of a holder was reused");
            }
            if (leased &&
                (w->content[e->slot][0] != e->expert + 1 || w->content[e->slot][1] != e->expert + 1)) {
                fail("a worker computes with bytes that are not those of its expert");
            }
            if (e->state == EARLY &&
                (age(w, e->slot, e->generation) || w->content[e->slot][0] != e->expert + 1)) {
                fail("a part was overwritten while a waiter used it");
            }
            if (waits(e) && s->state != MOX_SLOT_LOADING && s->state != MOX_SLOT_PINNED &&
                s->state != MOX_SLOT_FAILED) {
                fail("a waiter waits for a slot that will never answer");
            }
            pins[e->slot] += leased || granted;
            needs[e->slot] += e->state == HELD || waits(e) || e->state == LEASED;
        }
    }
    for (int i = 0; i < SLOTS; i++) {
        if (pins[i] != w->slot[i].pins || needs[i] != w->slot[i].needed) {
            fail("pins or needs of a slot are not those of its holders");
        }
    }
}

static void check(const world *w)
{
    mox_slots t = {(mox_slot *)w->slot, SLOTS, (uint32_t *)w->map, EXPERTS};
    const char *broken = mox_slots_check(&t);
    if (broken) {
        fail(broken);
    }
    check_holders(w);
    for (int i = 0; i < SLOTS; i++) {
        uint64_t up = 0;
        for (int r = 0; r < REQUESTS; r++) {
            up |= w->flight[r].up && w->flight[r].slot == i ? UINT64_C(1) << r : 0;
        }
        if (up != w->slot[i].flying) {
            fail("I12: requests in flight and the slots' record of them differ");
        }
        seen_state[w->slot[i].state]++;
    }
}

static bool at_rest(const world *w)
{
    bool rest = !w->ghost.up;
    for (int i = 0; i < WORKERS * ENTRIES; i++) {
        rest = rest && w->entry[i / ENTRIES][i % ENTRIES].state == NOTHING;
    }
    for (int i = 0; i < SLOTS; i++) {
        rest = rest && w->slot[i].state == MOX_SLOT_FREE;
    }
    return rest;
}

/* Plays the path again with one set of names, since every stored state has its own. */
static void print_trace(uint32_t n, bool broken_next)
{
    uint32_t depth = 0;
    for (uint32_t at = n; nodes[at].parent != UINT32_MAX; at = nodes[at].parent) {
        depth++;
    }
    world w;
    for (uint32_t step = 0; step <= depth; step++) {
        uint32_t at = n;
        for (uint32_t up = step; up < depth; up++) {
            at = nodes[at].parent;
        }
        if (step == 0) {
            unpack(&w, nodes[at].key);
            continue;
        }
        for (int a = 0; a < A_COUNT; a++) {
            world next = w;
            uint8_t key[KEY_BYTES];
            if (!act(&next, a)) {
                continue;
            }
            rest_when_ended(&next);
            canonical(&next, key);
            if (memcmp(key, nodes[at].key, KEY_BYTES) == 0) {
                print_action(a);
                w = next;
                break;
            }
        }
    }
    violation = NULL;
    for (int a = 0; broken_next && a < A_COUNT; a++) {
        world next = w;
        if ((act(&next, a) || violation) && (rest_when_ended(&next), check(&next), violation)) {
            print_action(a);
            break;
        }
    }
}

static void note_edge(uint32_t from, uint32_t to)
{
    if (n_edges == cap_edges) {
        cap_edges = cap_edges ? cap_edges * 2 : 1u << 20;
        edge_from = grow(edge_from, cap_edges * sizeof *edge_from);
        edge_to = grow(edge_to, cap_edges * sizeof *edge_to);
    }
    edge_from[n_edges] = from;
    edge_to[n_edges++] = to;
}

static bool explore(void)
{
    world w0;
    uint8_t key[KEY_BYTES];
    memset(&w0, 0, sizeof w0);
    mox_slots t;
    mox_slots_init(&t, w0.slot, SLOTS, w0.map, EXPERTS);
    canonical(&w0, key);
    intern(key, UINT32_MAX);
    for (uint32_t at = 0; at < n_nodes; at++) {
        for (int a = 0; a < A_COUNT; a++) {
            world w;
            unpack(&w, nodes[at].key);
            if (!act(&w, a) && !violation) {
                continue;
            }
            rest_when_ended(&w);
            check(&w);
            if (violation) {
                printf("violated: %s\nafter\n", violation);
                print_trace(at, true);
                return false;
            }
            canonical(&w, key);
            note_edge(at, intern(key, at));
        }
    }
    return true;
}

/* From every state the world can come to rest: repeat backwards from the states at rest until nothing
 * changes. */
static bool all_can_rest(void)
{
    uint8_t *good = calloc(n_nodes, 1);
    if (!good) {
        fprintf(stderr, "explorer: out of memory\n");
        exit(2);
    }
    for (uint32_t i = 0; i < n_nodes; i++) {
        world w;
        unpack(&w, nodes[i].key);
        good[i] = at_rest(&w);
    }
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t e = n_edges; e-- > 0;) {
            if (good[edge_to[e]] && !good[edge_from[e]]) {
                good[edge_from[e]] = 1;
                changed = true;
            }
        }
    }
    for (uint32_t i = 0; i < n_nodes; i++) {
        if (!good[i]) {
            printf("violated: from here the world never comes to rest\nafter\n");
            print_trace(i, false);
            free(good);
            return false;
        }
    }
    free(good);
    return true;
}

/* An explorer that does not get somewhere proves nothing about it. */
static bool covered(void)
{
    bool all = true;
    for (int s = 0; s < MOX_SLOT_STATES; s++) {
        all = all && seen_state[s] > 0;
    }
    for (int k = 0; k < MOX_SLOT_EVENTS; k++) {
        bool creates = k == MOX_SLOT_DEMAND || k == MOX_SLOT_PREFETCH;
        all = all && seen_verdict[k][creates ? MOX_SLOT_ALLOCATED : MOX_SLOT_DID] > 0;
        all = all && (!creates || (seen_verdict[k][MOX_SLOT_HIT] && seen_verdict[k][MOX_SLOT_JOINED] &&
                                   seen_verdict[k][MOX_SLOT_NO_ROOM]));
    }
    bool again = seen_verdict[MOX_SLOT_READ_DONE][MOX_SLOT_STALE] > 0;
    bool refused = seen_verdict[MOX_SLOT_EARLY][MOX_SLOT_REFUSED] > 0;
    return all && seen_verdict[MOX_SLOT_PIN][MOX_SLOT_STALE] && refused == EXPLORE_COMPARED &&
           again == EXPLORE_TWICE;
}

int main(int argc, char **argv)
{
    bool expect_bug = argc > 1 && strcmp(argv[1], "--expect-bug") == 0;
    bool clean = explore() && all_can_rest();
    printf("%u slots, %u experts, %u workers: %" PRIu32 " states, %zu transitions%s\n", (unsigned)SLOTS,
           (unsigned)EXPERTS, (unsigned)WORKERS, n_nodes, n_edges, clean ? ", no violation" : " before it");
    if (clean && !expect_bug && !covered()) {
        printf("but some state, event or verdict was never reached\n");
        return 1;
    }
    return clean == expect_bug;
}
