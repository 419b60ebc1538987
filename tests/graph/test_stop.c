/* Stop strings: any way of cutting a text into pieces gives the same text before the same string. */
#include "runtime/stop.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* Feeds text in pieces whose lengths are the bits of `cuts`; what comes out, and whether a string was found. */
static bool feed(const char *const *strings, uint32_t n, const char *text, uint32_t cuts, char out[256])
{
    mox_stop s = {.strings = strings, .n_strings = n};
    char room[MOX_STOP_BYTES + 256];
    size_t n_out = 0, len = strlen(text);
    bool matched = false;
    for (size_t i = 0; i < len && !matched;) {
        size_t end = i + 1;
        while (end < len && !(cuts >> (end - 1) & 1)) {
            end++;
        }
        memcpy(room + MOX_STOP_BYTES, text + i, end - i);
        size_t got = 0;
        const char *part = mox_stop_push(&s, room + MOX_STOP_BYTES, end - i, &got, &matched);
        memcpy(out + n_out, part, got);
        n_out += got;
        i = end;
    }
    if (!matched) {
        size_t got = 0;
        const char *part = mox_stop_flush(&s, &got);
        memcpy(out + n_out, part, got);
        n_out += got;
    }
    out[n_out] = '\0';
    return matched;
}

Test(graph_stop, every_cut_gives_the_same_text)
{
    static const char *const two[] = {"END", "\n\n"}, *const aab[] = {"aab"}, *const accent[] = {"\xc3\xa9"};
    const struct {
        const char *const *strings;
        uint32_t n;
        const char *text, *out;
        bool matched;
    } cases[] = {
        {two, 2, "some text END", "some text ", true},
        {two, 2, "END of it", "", true},
        {two, 2, "a\n\nENDb", "a", true},
        {two, 2, "no stop in EN", "no stop in EN", false},
        {two, 2, "E EN EEND!", "E EN E", true},
        {aab, 1, "aaaaab", "aaa", true},
        {aab, 1, "aaaaac", "aaaaac", false},
        {accent, 1, "\xc3\xa8\xc3\xa8\xc3\xa9z", "\xc3\xa8\xc3\xa8", true},
        {two, 0, "anything", "anything", false},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        uint32_t all = 1u << (strlen(cases[k].text) - 1);
        for (uint32_t cuts = 0; cuts < all; cuts++) {
            char out[256];
            bool matched = feed(cases[k].strings, cases[k].n, cases[k].text, cuts, out);
            cr_assert_eq(matched, cases[k].matched, "case %zu, cuts %x", k, cuts);
            cr_assert_str_eq(out, cases[k].out, "case %zu, cuts %x", k, cuts);
        }
    }
}

/* Nothing is held back longer than it must be. */
Test(graph_stop, text_that_cannot_become_a_string_comes_at_once)
{
    static const char *const strings[] = {"<end>"};
    mox_stop s = {.strings = strings, .n_strings = 1};
    char room[MOX_STOP_BYTES + 16];
    char *piece = room + MOX_STOP_BYTES;
    size_t n = 0;
    bool matched = false;
    memcpy(piece, "a<e", 3);
    const char *out = mox_stop_push(&s, piece, 3, &n, &matched);
    cr_expect_eq(n, 1);
    cr_expect_eq(out[0], 'a');
    memcpy(piece, "x<", 2);
    out = mox_stop_push(&s, piece, 2, &n, &matched);
    cr_expect_eq(n, 3);
    cr_expect_eq(memcmp(out, "<ex", 3), 0);
    cr_expect_not(matched);
}

/* A short string inside of what could become a longer one ends the text when it is there. */
Test(graph_stop, a_complete_string_wins_over_an_unfinished_one)
{
    static const char *const strings[] = {"abcd", "bc"};
    char out[256];
    cr_expect(feed(strings, 2, "xabc", 7, out));
    cr_expect_str_eq(out, "xa");
}
