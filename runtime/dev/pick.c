/* See pick.h. Works on what the module says of its GPUs, so it is the same for real and emulated ones. */
#include "runtime/dev/pick.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char prefix[] = "GPU-";

/* "0 (GPU-5e1f...), 1 (GPU-...)"; what has no room is left out. */
static mox_err list(const mox_dev_module *m, uint32_t there, char *out, size_t bytes)
{
    size_t at = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < there && at < bytes; i++) {
        mox_dev_info info;
        MOX_TRY(m->info(i, &info));
        at += (size_t)snprintf(out + at, bytes - at, "%s%u (%s)", i ? ", " : "", i, info.uuid);
    }
    return MOX_OK;
}

static mox_err unknown(const mox_dev_module *m, uint32_t there, const char *name, int n, const char *why)
{
    char all[400];
    MOX_TRY(list(m, there, all, sizeof all));
    (void)MOX_FAIL(MOX_E_DEVICE, "--gpu %.*s: %s; there %s %s", n > 48 ? 48 : n, name, why,
                   there == 1 ? "is" : "are", all);
    return mox_err_fix("--gpu 0; several as in 0,1; or by UUID");
}

static bool is_number(const char *s, size_t n)
{
    size_t digits = 0;
    while (digits < n && isdigit((unsigned char)s[digits])) {
        digits++;
    }
    return n > 0 && digits == n;
}

/* Without leading zeros nine digits are no GPU's id, and fit. */
static uint32_t read_number(const char *s, size_t n, uint32_t there)
{
    uint32_t v = 0;
    for (size_t i = 0; i < n; i++) {
        v = 10 * v + (uint32_t)(s[i] - '0');
        if (v >= there) {
            return there;
        }
    }
    return v;
}

static mox_err by_uuid(const mox_dev_module *m, uint32_t there, const char *s, size_t n, uint32_t *id)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < there; i++) {
        mox_dev_info info;
        MOX_TRY(m->info(i, &info));
        if (n <= strlen(info.uuid) && strncasecmp(info.uuid, s, n) == 0) {
            *id = i;
            found++;
        }
    }
    return found == 1
               ? MOX_OK
               : unknown(m, there, s, (int)n, found ? "more than one is called so" : "no GPU has this UUID");
}

static mox_err one(const mox_dev_module *m, uint32_t there, const char *s, size_t n, uint32_t *id)
{
    if (is_number(s, n)) {
        *id = read_number(s, n, there);
        return *id < there ? MOX_OK : unknown(m, there, s, (int)n, "no GPU has this id");
    }
    if (n > sizeof prefix - 1 && strncasecmp(s, prefix, sizeof prefix - 1) == 0) {
        return by_uuid(m, there, s, n, id);
    }
    (void)MOX_FAIL(MOX_E_OPTION, "--gpu: '%.*s' is neither an id nor a UUID", n > 48 ? 48 : (int)n, s);
    return mox_err_fix("--gpu 0; several as in 0,1; a UUID begins with %s", prefix);
}

mox_err mox_dev_pick(const mox_dev_module *m, const char *text, uint32_t *id, uint32_t max, uint32_t *n)
{
    uint32_t there = 0, taken = 0, picked[64];
    MOX_TRY(m->count(&there));
    for (const char *at = text; at != NULL;) {
        const size_t length = strcspn(at, ",");
        if (taken == max || taken == sizeof picked / sizeof *picked) {
            return MOX_FAIL(MOX_E_OPTION, "--gpu %.60s: at most %u can be used", text, max);
        }
        MOX_TRY(one(m, there, at, length, &picked[taken]));
        for (uint32_t i = 0; i < taken; i++) {
            if (picked[i] == picked[taken]) {
                return MOX_FAIL(MOX_E_OPTION, "--gpu %.60s: GPU %u is named twice", text, picked[i]);
            }
        }
        taken++;
        at = at[length] != '\0' ? at + length + 1 : NULL;
    }
    memcpy(id, picked, taken * sizeof *id);
    *n = taken;
    return MOX_OK;
}
