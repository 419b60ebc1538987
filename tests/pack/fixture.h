/* Packing a tracked model into a directory of the test's own, running both, and looking into the packed file.
 */
#ifndef MOX_TESTS_PACK_FIXTURE_H
#define MOX_TESTS_PACK_FIXTURE_H

#include "gguf/builder.h"
#include "runtime/moxie.h"
#include "runtime/pack/write.h"

typedef struct pack_fx {
    tmpdir dir;
    char plain[1024], packed[1024];
    mox_pack_report report;
} pack_fx;

/* pfx_pack: model is a path under tests/data. */
void pfx_pack(pack_fx *fx, const char *model);
void pfx_remove(pack_fx *fx);
mox_pack_cfg pfx_cfg(const pack_fx *fx);

/* pfx_open: pct of the experts kept. */
mox_err pfx_open(mox_ctx **ctx, const char *path, double pct, mox_io_mode io, mox_verify verify);
/* pfx_hash: over the logits of n pseudo-random tokens. */
mox_hash128 pfx_hash(const char *path, double pct, mox_io_mode io, mox_verify verify, uint32_t n);

/* The packed file as bytes in place. */
void pfx_read_at(const pack_fx *fx, uint64_t off, void *p, size_t n);
void pfx_write_at(const pack_fx *fx, uint64_t off, const void *p, size_t n);
/* pfx_find: offset in the header of a name (of a key or tensor) with its length in front; behind the name. */
uint64_t pfx_find(const pack_fx *fx, const char *name);

#endif
