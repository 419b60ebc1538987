/* Reading packed files: finding a layer's records in the header and believing them only when their sizes are
 * those that the layout gives; reading the checksums. The records themselves are read by the store.
 *
 * Called by runtime/model while it binds tensors (mox_pack_find, mox_pack_check) and while it loads
 * (mox_pack_read_sums).
 */
#include "runtime/core/bits.h"
#include "runtime/core/hash.h"
#include "runtime/pack/pack.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long long ull;

static mox_err find(const mox_gguf *g, const char *name, mox_type type, uint64_t ne0, uint64_t ne1,
                    const mox_gguf_tensor **out)
{
    const mox_gguf_tensor *t = mox_gguf_record(g, name);
    if (!t) {
        return MOX_FAIL(MOX_E_TENSOR, "packed file: tensor '%s' is missing", name);
    }
    if (t->type != (uint32_t)type || t->ne[0] != ne0 || t->ne[1] != ne1 || t->ne[2] != 1 || t->ne[3] != 1) {
        return MOX_FAIL(MOX_E_TENSOR,
                        "packed file: tensor '%s' is %s [%llu, %llu], expected %s [%llu, %llu] by the layout",
                        name, mox_type_info(t->type)->name, (ull)t->ne[0], (ull)t->ne[1],
                        mox_type_info(type)->name, (ull)ne0, (ull)ne1);
    }
    *out = t;
    return MOX_OK;
}

mox_err mox_pack_find(const mox_gguf *g, uint32_t block, uint32_t n_experts, const mox_expert_layout *l,
                      mox_pack_layer *out)
{
    char name[MOX_PACK_NAME];
    const mox_gguf_tensor *experts = NULL, *sums = NULL;
    uint64_t record = mox_pack_record_bytes(l);
    mox_pack_experts_name(block, name);
    MOX_TRY(find(g, name, MOX_TYPE_I8, record, n_experts, &experts));
    if (experts->off % MOX_PACK_ALIGN != 0) {
        return MOX_FAIL(MOX_E_TENSOR, "packed file: '%s' begins at %llu, no multiple of %d", name,
                        (ull)experts->off, MOX_PACK_ALIGN);
    }
    mox_pack_sums_name(block, name);
    MOX_TRY(find(g, name, MOX_TYPE_I64, l->n_slices, n_experts, &sums));
    *out = (mox_pack_layer){.file = experts->file,
                            .n_slices = l->n_slices,
                            .off = experts->off,
                            .record_bytes = record,
                            .slice_bytes = l->slice_bytes,
                            .sums_off = sums->off};
    return MOX_OK;
}

mox_err mox_pack_check(const mox_gguf *g, const mox_expert_layout *layouts, uint32_t n_layers)
{
    uint64_t have = 0, want = 0;
    MOX_TRY(mox_gguf_u64(g, "moxie.pack.layout", &have));
    MOX_TRY(mox_pack_fingerprint(layouts, n_layers, &want));
    if (have != want) {
        MOX_FAIL(MOX_E_VERSION,
                 "packed file: written in another compute layout (%016llx, this moxie computes in %016llx)",
                 (ull)have, (ull)want);
        return mox_err_fix("pack the original model again: moxie pack MODEL OUT");
    }
    return MOX_OK;
}

mox_err mox_pack_read_sums(mox_pack_layer *p, int fd, const char *path, uint32_t n_experts, uint64_t want,
                           uint64_t *out)
{
    size_t bytes = (size_t)n_experts * p->n_slices * sizeof *out;
    for (size_t done = 0; done < bytes;) {
        ssize_t n = pread(fd, (uint8_t *)out + done, bytes - done, (off_t)(p->sums_off + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return MOX_FAIL_SYS(MOX_E_IO, errno, "%s: reading checksums at %llu failed: %s", path,
                                (ull)(p->sums_off + done), strerror(errno));
        }
        if (n == 0) {
            return MOX_FAIL(MOX_E_CHANGED, "%s: ends inside the checksums at %llu", path,
                            (ull)(p->sums_off + done));
        }
        done += (size_t)n;
    }
    if (mox_hash64(out, bytes, 0) != want) {
        return MOX_FAIL(MOX_E_CORRUPT, "%s: the table of checksums at offset %llu is damaged", path,
                        (ull)p->sums_off);
    }
    p->sums = out;
    return MOX_OK;
}
