/* See outfile.h. */
#include "runtime/core/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static mox_err cannot(const mox_outfile *o, const char *what, int err)
{
    return MOX_FAIL_SYS(MOX_E_WRITE, err, "%.300s cannot be %s: %s", o->path, what, strerror(err));
}

mox_err mox_outfile_open(mox_outfile *out, const char *path, unsigned mode)
{
    mox_outfile o = {.path = path};
    struct stat st;
    bool in_place = stat(path, &st) == 0 && !S_ISREG(st.st_mode);
    if (!in_place && asprintf(&o.part, "%s.part-%ld", path, (long)getpid()) < 0) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for the name of %.300s", path);
    }
    if (o.part) {
        unlink(o.part); /* of a process that had this number before and was killed */
    }
    int fd = open(in_place ? path : o.part, O_WRONLY | O_CLOEXEC | (in_place ? 0 : O_CREAT | O_EXCL), mode);
    o.f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!o.f) {
        mox_err err = cannot(&o, "created", errno);
        if (fd >= 0) {
            close(fd);
            if (o.part) {
                unlink(o.part);
            }
        }
        free(o.part);
        return err;
    }
    *out = o;
    return MOX_OK;
}

mox_err mox_outfile_publish(mox_outfile *o)
{
    errno = 0;
    bool ok = fflush(o->f) == 0 && !ferror(o->f) && (!o->part || fsync(fileno(o->f)) == 0);
    int err = ok ? 0 : errno ? errno : EIO;
    if (fclose(o->f) != 0 && ok) {
        err = errno;
    }
    o->f = NULL;
    if (!err && o->part && rename(o->part, o->path) != 0) {
        err = errno;
    }
    if (!err) {
        free(o->part);
        o->part = NULL;
        return MOX_OK;
    }
    mox_err failed = cannot(o, "written", err);
    mox_outfile_drop(o);
    return failed;
}

void mox_outfile_drop(mox_outfile *o)
{
    if (o->f) {
        fclose(o->f);
    }
    if (o->part) {
        unlink(o->part);
        free(o->part);
    }
    *o = (mox_outfile){0};
}
