/* JSON writer. Text comes from files and users, so strings are checked as UTF-8 and a byte that does not
 * belong becomes U+FFFD: the output is valid JSON whatever comes in. Depth is at most 64, the width of the
 * bit set that remembers where a comma is due; our reports are three deep. Write errors stay in the FILE for
 * its owner.
 */
#include "profiler/report/json.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { JSON_MAX_DEPTH = 64 };

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

void mox_json_begin(mox_json *j, FILE *out)
{
    *j = (mox_json){.out = out};
}

void mox_json_end(mox_json *j)
{
    assert(j->depth == 0);
    fputc('\n', j->out);
}

/* Length of the well-formed UTF-8 sequence at s, 0 if there is none: no overlong forms, no surrogates. */
static size_t utf8_length(const unsigned char *s, size_t n)
{
    unsigned c = s[0];
    if (c < 0x80) {
        return 1;
    }
    size_t len = c >= 0xf0 && c <= 0xf4 ? 4 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xc2 && c < 0xe0 ? 2 : 0;
    if (len == 0 || len > n) {
        return 0;
    }
    unsigned low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    unsigned high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (s[1] < low || s[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return len;
}

static void write_ascii(FILE *out, unsigned char c)
{
    static const char named[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *at = c ? strchr(named, c) : NULL;
    if (at) {
        fputc('\\', out);
        fputc(letters[at - named], out);
    } else if (c < 0x20 || c == 0x7f) {
        fprintf(out, "\\u%04x", c);
    } else {
        fputc(c, out);
    }
}

static void write_string(FILE *out, const char *value, size_t n)
{
    const unsigned char *s = (const unsigned char *)value;
    fputc('"', out);
    for (size_t i = 0; i < n;) {
        size_t len = utf8_length(s + i, n - i);
        if (len == 1) {
            write_ascii(out, s[i]);
        } else if (len > 1) {
            fwrite(s + i, 1, len, out);
        } else {
            fputs(replacement, out);
            len = 1;
        }
        i += len;
    }
    fputc('"', out);
}

/* Everything that comes before a value: the comma and the key. */
static void before_value(mox_json *j, const char *key)
{
    uint64_t bit = j->depth ? (uint64_t)1 << (j->depth - 1) : 0;
    if (j->has_item & bit) {
        fputc(',', j->out);
    }
    j->has_item |= bit;
    if (key) {
        write_string(j->out, key, strlen(key));
        fputc(':', j->out);
    }
}

static void open_level(mox_json *j, const char *key, char bracket)
{
    before_value(j, key);
    fputc(bracket, j->out);
    assert(j->depth < JSON_MAX_DEPTH);
    j->has_item &= ~((uint64_t)1 << j->depth);
    j->depth++;
}

static void close_level(mox_json *j, char bracket)
{
    assert(j->depth > 0);
    j->depth--;
    fputc(bracket, j->out);
}

void mox_json_object(mox_json *j, const char *key)
{
    open_level(j, key, '{');
}

void mox_json_object_end(mox_json *j)
{
    close_level(j, '}');
}

void mox_json_array(mox_json *j, const char *key)
{
    open_level(j, key, '[');
}

void mox_json_array_end(mox_json *j)
{
    close_level(j, ']');
}

void mox_json_string_n(mox_json *j, const char *key, const char *value, size_t n)
{
    before_value(j, key);
    if (value) {
        write_string(j->out, value, n);
    } else {
        fputs("null", j->out);
    }
}

void mox_json_string(mox_json *j, const char *key, const char *value)
{
    mox_json_string_n(j, key, value, value ? strlen(value) : 0);
}

void mox_json_u64(mox_json *j, const char *key, uint64_t value)
{
    before_value(j, key);
    fprintf(j->out, "%" PRIu64, value);
}

void mox_json_i64(mox_json *j, const char *key, int64_t value)
{
    before_value(j, key);
    fprintf(j->out, "%" PRId64, value);
}

void mox_json_f64(mox_json *j, const char *key, double value)
{
    before_value(j, key);
    if (isfinite(value)) {
        fprintf(j->out, "%.9g", value);
    } else {
        fputs("null", j->out);
    }
}

void mox_json_bool(mox_json *j, const char *key, bool value)
{
    before_value(j, key);
    fputs(value ? "true" : "false", j->out);
}
