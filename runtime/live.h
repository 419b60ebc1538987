/* What a running process tells `moxie top`: snapshots over a socket of the user's own.
 *
 * The socket is DIR/PID.sock, where DIR is $XDG_RUNTIME_DIR/moxie or /tmp/moxie-UID, a folder that is this user's and
 * closed to others; otherwise there is none. A client connects and reads snapshots, one or two a second: mox_live_head,
 * then for each MoE layer its counters, then uses of every expert, then a byte for each that says where it is now.
 * Program and client must be of one version.
 */
#ifndef MOX_RUNTIME_LIVE_H
#define MOX_RUNTIME_LIVE_H

#include "runtime/moxie.h"

#define MOX_LIVE_MAGIC "MXLV"
enum { MOX_LIVE_VERSION = 1, MOX_LIVE_EVERY_MS = 500 };

typedef struct mox_live_head {
    char magic[4];
    uint32_t version;
    uint64_t bytes; /* of the whole snapshot */
    uint64_t at_ns; /* when it was taken */
    int32_t pid;
    uint32_t n_layers, n_experts, top_k, n_ctx, used_ctx, kept, n_threads;
    uint64_t total_bytes;
    char model[128], device[64];
    mox_counters c;
} mox_live_head;

typedef enum mox_live_place { MOX_LIVE_FILE, MOX_LIVE_RAM, MOX_LIVE_VRAM } mox_live_place;

/* mox_live_bytes: of a snapshot of this shape. The parts behind the head: */
size_t mox_live_bytes(uint32_t n_layers, uint32_t n_experts);
const mox_use_counters *mox_live_layers(const mox_live_head *h);
const uint32_t *mox_live_uses(const mox_live_head *h);
const uint8_t *mox_live_places(const mox_live_head *h);

/* mox_live_dir: the folder of sockets; made where it is missing. Errors MOX_E_OPEN: it is somebody else's, open to others
 * or cannot be made. */
MOX_NODISCARD mox_err mox_live_dir(char out[96]);

/* The server's side. start: a failure is no error of the run, it is said in the log; ctx stays without. step: called
 * between steps; costs one look at a number while nobody watches, and never waits. */
typedef struct mox_live mox_live;
void mox_live_start(mox_ctx *ctx);
void mox_live_step(mox_ctx *ctx);
void mox_live_stop(mox_ctx *ctx);
size_t mox_live_memory(const mox_ctx *ctx); /* what start takes, for the plan */

#endif
