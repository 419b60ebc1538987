/* Opening a model file for expert reads: O_DIRECT where it works, with the alignment the filesystem wants.
 *
 * What a filesystem accepts is found out here and never in the middle of a run: statx says it on newer
 * kernels, a trial read settles it everywhere (some filesystems open with O_DIRECT and then refuse reads, and
 * a device may want 4,096 where the filesystem said 512). Where no alignment works the file is read through
 * the page cache; tier_file.c then drops what it has read.
 */
#include "offload/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SMALL_ALIGN = 512, MAX_ALIGN = 4096 };

/* What statx says, 0 if it does not say. */
static uint32_t stated_align(int fd)
{
#ifdef STATX_DIOALIGN
    struct statx sx;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 && (sx.stx_mask & STATX_DIOALIGN)) {
        return sx.stx_dio_mem_align > sx.stx_dio_offset_align ? sx.stx_dio_mem_align
                                                              : sx.stx_dio_offset_align;
    }
#else
    (void)fd;
#endif
    return 0;
}

static bool trial_read(int fd, uint8_t *scratch, uint32_t align)
{
    /* The buffer is aligned to `align` and to nothing more. */
    return pread(fd, scratch + align, align, 0) >= 0 && pread(fd, scratch + align, align, align) >= 0;
}

static uint32_t find_align(int fd, uint8_t *scratch)
{
    uint32_t stated = stated_align(fd);
    for (uint32_t align = SMALL_ALIGN; align <= MAX_ALIGN; align *= MAX_ALIGN / SMALL_ALIGN) {
        if (align >= stated && trial_read(fd, scratch, align)) {
            return align;
        }
    }
    return 0;
}

mox_err mox_io_file_open(mox_io_file *out, const char *path, uint8_t *scratch)
{
    mox_io_file f = {.align = 1};
    f.fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
    if (f.fd >= 0) {
        f.align = find_align(f.fd, scratch);
        f.direct = f.align != 0;
    }
    if (!f.direct) {
        mox_io_file_close(&f);
        f.align = 1;
        f.fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (f.fd < 0) {
        return MOX_FAIL_SYS(MOX_E_OPEN, errno, "%s: %s", path, strerror(errno));
    }
    struct stat st;
    if (fstat(f.fd, &st) != 0) {
        int err = errno;
        mox_io_file_close(&f);
        return MOX_FAIL_SYS(MOX_E_OPEN, err, "%s: %s", path, strerror(err));
    }
    f.id = mox_file_id_of(&st);
    *out = f;
    return MOX_OK;
}

void mox_io_file_close(mox_io_file *f)
{
    if (f->fd >= 0) {
        close(f->fd);
        f->fd = -1;
    }
}

mox_err mox_io_file_is(const mox_io_file *f, const mox_file_id *header, const char *path)
{
    if (!header || mox_file_id_same(&f->id, header)) {
        return MOX_OK;
    }
    if (f->id.bytes != header->bytes) {
        return MOX_FAIL(MOX_E_CHANGED,
                        "%s: had %llu bytes when its header was read, has %llu now (still downloading?)",
                        path, (unsigned long long)header->bytes, (unsigned long long)f->id.bytes);
    }
    return MOX_FAIL(MOX_E_CHANGED, "%s: %s after its header was read", path,
                    f->id.inode != header->inode ? "was replaced by another file" : "was written to");
}

mox_err mox_io_file_same(const mox_io_file *f, const char *path)
{
    struct stat st;
    if (fstat(f->fd, &st) != 0) {
        return MOX_FAIL_SYS(MOX_E_IO, errno, "%s: %s", path, strerror(errno));
    }
    const mox_file_id now = mox_file_id_of(&st);
    if (now.bytes != f->id.bytes) {
        return MOX_FAIL(MOX_E_CHANGED, "%s: had %llu bytes when it was opened, has %llu now", path,
                        (unsigned long long)f->id.bytes, (unsigned long long)now.bytes);
    }
    if (!mox_file_id_same(&now, &f->id)) {
        return MOX_FAIL(MOX_E_CHANGED, "%s: was written to after it was opened", path);
    }
    return MOX_OK;
}
