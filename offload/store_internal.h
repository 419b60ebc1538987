/* The store's state, shared by store.c (creation), fill.c, layer_step.c, tier_ram.c (slots and roles), tier_file.c,
 * reads.c, parts_*.c (reads), arriving.c (leases before the last read), lookahead.c
 * (predictions) and guess.c (their chances). One mutex
 * guards everything that both threads touch; what belongs to one thread alone says so. Bytes of a slot are written
 * by the I/O thread while it is LOADING and read by the step thread while it is PINNED, or before that up to
 * arrived_slices; the mutex orders the two.
 */
#ifndef MOX_OFFLOAD_STORE_INTERNAL_H
#define MOX_OFFLOAD_STORE_INTERNAL_H

#include "offload/io.h"
#include "offload/late.h"
#include "offload/slot.h"
#include "offload/store.h"

#include <pthread.h>

enum {
    MOX_STORE_MAX_SLABS = 8,
    MOX_STORE_MAX_CLASSES = 255,
    MOX_PENDING_MAX = 256,  /* predictions that wait for a transit slot */
    MOX_REGRET_WINDOW = 64, /* judged prefetches that decide whether look-ahead pays */
    MOX_RECORD_MAX_PARTS = 512,
    MOX_RECORD_WORDS = MOX_RECORD_MAX_PARTS / 64,
    MOX_SLICE_WORDS = MOX_STORE_MAX_SLICES / 64,
};

typedef enum mox_read_kind { MOX_READ_FILL, MOX_READ_DEMAND, MOX_READ_PREFETCH } mox_read_kind;

/* What went wrong with a load, kept until the step that waits for it has been told. */
typedef struct mox_load_error {
    mox_err code;
    int sys;
    uint32_t piece, file; /* piece: the slab */
    uint64_t off;
} mox_load_error;

/* Progress of a load from a plain file (parts_slab.c). */
typedef struct mox_slab_load {
    uint32_t row[MOX_STORE_MAX_SLABS];       /* of each slab the next one to be read */
    uint32_t rows_left[MOX_STORE_MAX_SLABS]; /* not delivered yet */
    uint64_t hash[MOX_STORE_MAX_SLABS];      /* sum of the parts' hashes: parts arrive in any order */
    uint32_t was_again;                      /* slabs that were read a second time, one bit each */
    bool hashed, check;                      /* parts are hashed; and compared with the first read */
} mox_slab_load;

/* Progress of a load from a packed file (parts_record.c): a bit for each part or slice. */
typedef struct mox_record_load {
    uint32_t part_bytes, n_parts;
    uint64_t first_slice;                /* number of its slice 0 in the run: which ones a sample takes */
    uint64_t todo[MOX_RECORD_WORDS];     /* parts to be read */
    uint64_t here[MOX_RECORD_WORDS];     /* parts delivered */
    uint64_t bad[MOX_SLICE_WORDS];       /* slices just found to differ */
    uint64_t was_again[MOX_SLICE_WORDS]; /* slices that were read a second time */
} mox_record_load;

/* An expert on its way from the file into a slot; one per slot, valid while LOADING. */
typedef struct mox_load {
    uint32_t layer, expert;
    mox_read_kind kind;
    uint32_t prev, next; /* queue links, slot indices */
    bool queued;
    uint64_t queued_at; /* io_limit_bps only */
    uint64_t arrived;   /* order in which loads ended */
    /* Of a load that can be leased while it arrives, else 0: its slices, those at the front that are there for good,
     * and at how many of these the step thread wants to be woken. */
    uint32_t n_slices, arrived_slices, wake_slices;
    mox_load_error error;
    union {
        mox_slab_load slabs;
        mox_record_load record;
    };
} mox_load;

/* What the store knows of a slot beyond its life-cycle. */
typedef struct mox_slot_info {
    uint8_t *bytes;
    size_t n_bytes;
    bool kept;          /* counts against its layer's quota; otherwise transit */
    bool prefetched;    /* a prefetch whose use is not decided yet */
    bool predicted;     /* a coming step is expected to use it */
    uint64_t last_step; /* store step of the last use (or of the prefetch) */
    mox_load load;
} mox_slot_info;

typedef struct mox_queue {
    uint32_t head, tail; /* slot indices, MOX_SLOT_NONE when empty */
} mox_queue;

typedef struct mox_layer_state {
    uint32_t size_class;
    size_t slot_bytes;
    uint32_t quota, n_kept;
    uint32_t *kept;         /* [quota] experts */
    mox_expert_stat *stats; /* [n_experts] */
    uint64_t step;
    mox_use_counters use;
} mox_layer_state;

typedef enum mox_need_state {
    MOX_NEED_RESIDENT, /* protected, not leased yet */
    MOX_NEED_WAITING,  /* its load is under way */
    MOX_NEED_ARRIVING, /* its load is under way, and it is leased (arriving.c) */
    MOX_NEED_QUEUED,   /* no transit slot yet: a later wave */
    MOX_NEED_LEASED,
    MOX_NEED_DONE,
} mox_need_state;

typedef struct mox_need_entry {
    mox_need need;
    mox_need_state state;
    mox_served served;
    uint32_t slot, generation;
} mox_need_entry;

typedef struct mox_prediction {
    uint32_t layer, expert;
    float score;
} mox_prediction;

typedef struct mox_lookahead {
    mox_prediction pending[MOX_PENDING_MAX]; /* best first */
    uint32_t n_pending;
    uint8_t outcome[MOX_REGRET_WINDOW]; /* ring of judged prefetches, 1 = was of use */
    uint32_t n_outcomes, at, good;
    bool off;
    uint32_t probes_left; /* while off: prefetches allowed in the present probe */
    uint64_t next_probe;  /* store step at which the next probe starts */
    uint64_t probe_pause; /* steps between probes; doubles while probing does not pay */
    uint64_t rng;
    float
        gain; /* of an expert that was guessed right, how much had arrived when it was needed; a running mean */
} mox_lookahead;

typedef struct mox_guess_line {
    float base, slope;
} mox_guess_line;

typedef struct mox_guess_seen {
    uint32_t expert;
    float x;
} mox_guess_seen;

/* What is known of guesses (guess.c); a cell is a kind and a layer. */
typedef struct mox_guess {
    mox_guess_line *line; /* [MOX_GUESS_KINDS] */
    float *shift;         /* [cells][n_experts] */
    uint32_t *n_seen;     /* [cells]: of a guess whose layer has not begun */
    mox_guess_seen *seen; /* [cells][n_ranks] */
    float *chance;        /* [n_experts] of the guess in hand */
    uint32_t n_ranks;
} mox_guess;

typedef enum mox_req_state {
    MOX_REQ_FREE,
    MOX_REQ_FLYING,
    MOX_REQ_RETRY,  /* goes out again at retry_at */
    MOX_REQ_HELD,   /* io_limit_bps: landed at retry_at */
    MOX_REQ_LANDED, /* read, not in its slot yet */
} mox_req_state;

/* One read of the I/O thread; its own alone. */
typedef struct mox_req {
    mox_req_state state;
    uint64_t id; /* sequence number << 8 | index: an old completion does not match */
    uint32_t slot, generation;
    uint32_t layer, expert;
    uint32_t piece;        /* slab; or part of the record */
    uint32_t row0, n_rows; /* of a slab */
    uint32_t file;
    uint64_t off;       /* of the first byte of buf, aligned */
    uint32_t want;      /* bytes from there, aligned */
    uint32_t skip, len; /* the payload inside buf */
    uint32_t base;      /* where in buf the read in flight begins */
    uint32_t soft_tries, hard_tries, short_tries;
    uint64_t retry_at;
    uint64_t not_before; /* io_limit_bps: the bytes are held back until then */
    uint64_t begun;      /* when it was handed to the system */
    bool cancel_sent;
    mox_read_kind kind;
    uint8_t *buf;
    uint64_t hash;      /* of a slab's rows, if they are hashed */
    uint32_t n_checked; /* slices compared when it arrived */
} mox_req;

/* What an expert is cut into: two kinds of files, two of these. */
typedef struct mox_parts_ops {
    uint32_t (*parts)(const mox_store *st, uint32_t layer, uint32_t expert);
    /* Whether the next load of it is compared when all of it is there, and may then all be read again. */
    bool (*compared)(const mox_store *st, uint32_t layer, uint32_t expert);
    void (*begin)(mox_store *st, mox_load *load);          /* lock held */
    bool (*cut)(mox_store *st, uint32_t slot, mox_req *r); /* the next part; false: the last. Lock held */
    void (*place)(mox_store *st, mox_req *r);              /* bytes of buf to the slot. I/O thread, no lock */
    /* after place; MOX_SLOT_READ_DONE, _AGAIN (with *parts more reads) or _FAILED. Lock held */
    mox_slot_event_kind (*arrived)(mox_store *st, const mox_req *r, uint32_t *parts);
} mox_parts_ops;

extern const mox_parts_ops mox_parts_slabs, mox_parts_records;
size_t mox_slabs_buffer_bytes(const mox_store_cfg *cfg);
size_t mox_records_buffer_bytes(const mox_store_cfg *cfg);

enum { MOX_STORE_MAX_REQS = 2 * MOX_IO_MAX_DEPTH };

typedef struct mox_file_tier {
    mox_io_file *file; /* [n_files] */
    int *fd;           /* [n_files] */
    const char **path; /* [n_files] */
    uint32_t n_files;
    const mox_parts_ops *parts;
    const mox_io_ops *ops;
    void *ops_ctx;
    mox_io *io;
    void *io_state;
    uint8_t *staging;
    size_t staging_bytes, buf_bytes, request_bytes;
    uint64_t *hashes; /* [n_layers][n_experts][n_slabs], 0 = not read yet */
    uint64_t reloads; /* loads of experts that were read before */
    uint64_t slices;  /* of a packed file: slices of all loads so far */
    mox_queue demand, later;
    bool stop, cancel_pending;
    pthread_t thread;
    bool started, thread_up;
    mox_err_info open_error;
    char name[64];
    /* I/O thread */
    mox_late late; /* around the backend */
    mox_req req[MOX_STORE_MAX_REQS];
    uint32_t depth,
        n_req; /* reads in flight at most, and requests: the others have landed and wait for their turn */
    uint32_t n_flying, n_prefetch;
    uint32_t landed[MOX_STORE_MAX_REQS], landed_at, n_landed; /* ring of indices, in the order they came */
    uint64_t sequence;
    uint64_t busy_since;
    uint64_t drive_free; /* io_limit_bps: when the drive that is played can serve the next request */
} mox_file_tier;

typedef struct mox_vram mox_vram; /* vram_internal.h */

struct mox_store {
    mox_store_cfg cfg;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a load ended or a slot became free */
    mox_slots slots;
    mox_slot_info *info; /* [slots.n] */
    mox_layer_state *layer;
    uint32_t n_classes;
    /* the current layer step; step thread */
    bool in_step, failed;
    uint32_t cur_layer;
    mox_phase cur_phase;
    mox_need_entry *need; /* [n_experts] */
    uint32_t n_needs;
    uint8_t *in_set; /* [n_experts] */
    uint32_t *open;  /* [n_experts]: view of kept experts for the policy */
    uint32_t *open_at;
    uint32_t *fill_order; /* [slots.n] */
    uint64_t step;        /* layer steps of all layers */
    uint64_t arrivals;
    mox_lookahead ahead;
    mox_guess guess;
    mox_counters count;      /* under the lock */
    mox_trace_writer *trace; /* under the lock; NULL: reads are not recorded */
    mox_file_tier io;
    mox_vram *vram; /* NULL: none; step thread */
};

static inline uint32_t mox_store_reqs(const mox_store_cfg *cfg)
{
    return 2 * cfg->io_depth;
}

static inline uint32_t mox_store_key(const mox_store *st, uint32_t layer, uint32_t expert)
{
    return layer * st->cfg.n_experts + expert;
}

/* tier_ram.c; the lock is held in all of them */
mox_slot_result mox_ram_apply(mox_store *st, mox_slot_event_kind kind, uint32_t slot, uint32_t generation);
/* A slot for an expert that is not here: takes a free one, else the bytes of the most expendable transit
 * expert. Demand may also take what this step has used and cancel predictions; a prefetch may not. */
mox_slot_result mox_ram_want(mox_store *st, uint32_t layer, uint32_t expert, mox_read_kind kind);
/* A slot for an expert whose bytes come from VRAM: LOADING with one part, known to no queue. */
mox_slot_result mox_ram_receive(mox_store *st, uint32_t layer, uint32_t expert);
void mox_ram_keep(mox_store *st, uint32_t layer, uint32_t slot);
void mox_ram_admit(mox_store *st, uint32_t layer, uint32_t slot);
void mox_ram_cancel(mox_store *st, uint32_t slot);
/* The pages of a piece of a slot are faulted in now rather than by the read that first fills them; a piece behind the
 * slot's end is none. No lock needed. */
void mox_ram_populate(const mox_store *st, uint32_t slot, size_t off, size_t bytes);

/* layer_step.c; lock held: the step is over, since this need's load failed; its error */
mox_err mox_step_fail(mox_store *st, mox_need_entry *n);

/* arriving.c; the lock is held in both */
bool mox_arriving_lease(mox_store *st, mox_lease *out); /* an expert of which half is there; false: not yet */
void mox_arriving_wake(mox_store *st, uint32_t slot);   /* a part has come */

/* reads.c: until the thread is told to stop and nothing is in flight */
void mox_reads_serve(mox_store *st);

/* tier_file.c */
mox_err mox_files_open(mox_store *st);
mox_err mox_files_start(mox_store *st); /* the I/O thread */
void mox_files_stop(mox_store *st);
size_t mox_files_buffer_bytes(const mox_store_cfg *cfg);
/* the lock is held in these */
uint32_t mox_files_parts(const mox_store *st, uint32_t layer, uint32_t expert);
bool mox_files_compared(const mox_store *st, uint32_t layer, uint32_t expert);
void mox_queue_push(mox_store *st, uint32_t slot);
void mox_queue_unlink(mox_store *st, uint32_t slot);
void mox_files_queue(mox_store *st, uint32_t slot, mox_read_kind kind);
void mox_files_raise(mox_store *st, uint32_t slot);  /* a prefetch is demanded */
void mox_files_remove(mox_store *st, uint32_t slot); /* submit no more of it */
void mox_files_wake(mox_store *st);
mox_err mox_files_fail(const mox_store *st, uint32_t layer, uint32_t expert, const mox_load_error *e);

/* tier_vram.c, vram_fill.c, vram_moves.c; step thread. Without a VRAM tier has, served and duplicate find nothing. */
void mox_vram_create(mox_store *st, const mox_store_cfg *cfg, mox_arena *a); /* st NULL: only counts */
bool mox_vram_has(const mox_store *st, uint32_t layer, uint32_t expert);     /* or will have */
bool mox_vram_served(const mox_store *st, uint32_t expert);                  /* in the present step */
/* Of kept experts the one whose RAM copy is best given up: it is in VRAM too. Index, or -1. */
int32_t mox_vram_duplicate(const mox_store *st, uint32_t layer, const uint32_t *open, uint32_t n_open);
/* A step has nothing else to wait for: whether copies were on their way; they have landed then. Lock held. */
bool mox_vram_waited(mox_store *st, mox_err *err);
MOX_NODISCARD mox_err mox_vram_fill(mox_store *st, void (*progress)(void *ctx, uint64_t done, uint64_t total),
                                    void *ctx);

/* lookahead.c; the lock is held in all of them */
void mox_ahead_init(mox_store *st);
void mox_ahead_add(mox_store *st, uint32_t layer, uint32_t expert, float score);
void mox_ahead_issue(mox_store *st);
void mox_ahead_refute(mox_store *st, uint32_t layer);
void mox_ahead_judge(mox_store *st, uint32_t slot, bool used); /* counts one prefetch once */
void mox_ahead_lost(mox_store *st, uint32_t slot);

/* guess.c; learn with the lock held, when the layer's set is known */
void mox_guess_init(mox_store *st);
void mox_guess_learn(mox_store *st, uint32_t layer);

#endif
