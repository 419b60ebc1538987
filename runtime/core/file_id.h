/* Which file was read, and when: what the header was read from is compared with what is opened for the tensors. A
 * file is opened by its name more than once (header, dense weights, experts), and a download that ends, or another
 * file put under that name, changes what the name means in between.
 */
#ifndef MOX_CORE_FILE_ID_H
#define MOX_CORE_FILE_ID_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

typedef struct mox_file_id {
    uint64_t bytes, inode, mtime_ns;
} mox_file_id;

static inline mox_file_id mox_file_id_of(const struct stat *st)
{
    return (mox_file_id){(uint64_t)st->st_size, (uint64_t)st->st_ino,
                         (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec};
}

static inline bool mox_file_id_same(const mox_file_id *a, const mox_file_id *b)
{
    return a->bytes == b->bytes && a->inode == b->inode && a->mtime_ns == b->mtime_ns;
}

#endif
