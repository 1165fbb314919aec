/* test_stop.c - text on its way out: UTF-8 and stop strings across token borders (core/engine/stop.c). */
#include "rz_test.h"

#include "err.h"
#include "stop.h"
#include "utf8.h"

#include <stdio.h>
#include <stdlib.h>

#define STR(s) \
    { \
        s, sizeof(s) - 1 \
    }

/* Feeds the text in pieces cut at the set bits of cuts (bit i: after byte i), collects what comes out. */
static bool feed(const struct rz_str *stops, uint32_t n_stops, const char *text, size_t n, uint64_t cuts,
                 char *out)
{
    struct rz_text t;
    struct rz_err err = RZ_ERR_INIT;
    rz_check_ok(rz_text_init(&t, stops, n_stops, &err), &err);
    size_t from = 0, len = 0;
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n && !(cuts >> i & 1))
            continue;
        rz_text_add(&t, text + from, i + 1 - from);
        size_t k = rz_text_take(&t, out + len, 1000);
        rz_check(rz_utf8_valid(out + len, k)); /* always whole characters */
        len += k;
        from = i + 1;
    }
    rz_text_end(&t);
    len += rz_text_take(&t, out + len, 1000);
    out[len] = 0;
    bool stopped = t.stopped;
    rz_text_deinit(&t);
    return stopped;
}

/* The same output however the text is cut. */
static void check_all_cuts(const struct rz_str *stops, uint32_t n_stops, const char *text, const char *want,
                           bool stopped)
{
    char out[2000];
    size_t n = strlen(text);
    rz_check(n <= 16);
    for (uint64_t cuts = 0; cuts < 1u << (n - 1); cuts++) {
        rz_check_eq(feed(stops, n_stops, text, n, cuts, out), stopped);
        rz_check_streq(out, want);
    }
}

RZ_TEST(stop, a_stop_string_is_found_across_any_borders)
{
    const struct rz_str end[] = {STR("END")};
    check_all_cuts(end, 1, "abcENDxyz", "abc", true);
    check_all_cuts(end, 1, "END", "", true);
    check_all_cuts(end, 1, "EENNDENEND", "EENNDEN", true);
    check_all_cuts(end, 1, "ENENEN", "ENENEN", false);
    const struct rz_str newline[] = {STR("\n\n")};
    check_all_cuts(newline, 1, "a\nb\n\nc", "a\nb", true);
}

RZ_TEST(stop, the_first_to_be_complete_wins)
{
    const struct rz_str stops[] = {STR("abcd"), STR("bc"), STR("xabc")};
    check_all_cuts(stops, 3, "--abcd--", "--a", true); /* bc ends before abcd does */
    check_all_cuts(stops, 3, "-xabcd--", "-", true);   /* bc and xabc end together: the longer */
    check_all_cuts(stops, 3, "abxab", "abxab", false);
}

RZ_TEST(stop, overlapping_beginnings_are_not_lost)
{
    const struct rz_str stops[] = {STR("aab"), STR("aaac")};
    check_all_cuts(stops, 2, "aaaab", "aa", true);
    check_all_cuts(stops, 2, "aaaaac!", "aa", true);
    check_all_cuts(stops, 2, "aaaaaa", "aaaaaa", false);
}

RZ_TEST(stop, characters_are_never_split)
{
    const struct rz_str stops[] = {STR("\xe2\x82\xac!")}; /* euro sign, exclamation mark */
    check_all_cuts(stops, 1, "\xf0\x9f\x98\x80z\xe2\x82\xac?", "\xf0\x9f\x98\x80z\xe2\x82\xac?", false);
    check_all_cuts(stops, 1, "\xc3\xa9\xe2\x82\xac\xe2\x82\xac!.", "\xc3\xa9\xe2\x82\xac", true);
}

RZ_TEST(stop, bytes_that_are_no_character_become_replacements)
{
    check_all_cuts(NULL, 0,
                   "a\xff\xfe"
                   "b",
                   "a\xef\xbf\xbd\xef\xbf\xbd"
                   "b",
                   false);
    check_all_cuts(NULL, 0, "\xe2\x82x", "\xef\xbf\xbdx", false);
    check_all_cuts(NULL, 0, "x\xf0\x9f\x98", "x\xef\xbf\xbd", false); /* cut off at the end */
    check_all_cuts(NULL, 0, "\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd", false);
}

RZ_TEST(stop, only_what_may_become_a_stop_string_is_held_back)
{
    const struct rz_str stops[] = {STR("Human:")};
    struct rz_text t;
    struct rz_err err = RZ_ERR_INIT;
    char out[64];
    rz_check_ok(rz_text_init(&t, stops, 1, &err), &err);
    rz_check(!rz_text_add(&t, "hello Hu", 8));
    rz_check_eq(rz_text_take(&t, out, 64), 6);
    rz_check(!rz_text_add(&t, "g", 1));
    rz_check_eq(rz_text_take(&t, out, 64), 3);
    rz_check_memeq(out, "Hug", 3);
    rz_text_deinit(&t);
}

RZ_TEST(stop, take_cuts_between_characters)
{
    struct rz_text t;
    struct rz_err err = RZ_ERR_INIT;
    char piece[4000], out[1024];
    size_t total = 0, k;
    for (size_t i = 0; i < sizeof(piece); i += 4)
        memcpy(piece + i, i % 8 ? "\xf0\x9f\x98\x80" : "\xe2\x82\xac.", 4);
    rz_check_ok(rz_text_init(&t, NULL, 0, &err), &err);
    rz_text_add(&t, piece, sizeof(piece));
    while ((k = rz_text_take(&t, out, 1023)) > 0) {
        rz_check(k > 1019 || total + k == sizeof(piece));
        rz_check(rz_utf8_valid(out, k));
        rz_check_memeq(out, piece + total, k);
        total += k;
    }
    rz_check_eq(total, sizeof(piece));
    rz_text_deinit(&t);
}

RZ_TEST(stop, the_largest_piece_of_bad_bytes_fits)
{
    static char piece[RZ_PIECE_MAX], long_stop[RZ_STOP_BYTES_MAX];
    struct rz_text t;
    struct rz_err err = RZ_ERR_INIT;
    char out[1024];
    size_t total = 0, k;
    memset(long_stop, 'a', sizeof(long_stop));
    memset(piece, 'a', sizeof(long_stop) - 1);
    const struct rz_str stops[] = {{long_stop, sizeof(long_stop)}};
    rz_check_ok(rz_text_init(&t, stops, 1, &err), &err);
    rz_check(!rz_text_add(&t, piece, sizeof(long_stop) - 1)); /* all of it is held back */
    rz_check_eq(t.ready, 0);
    rz_check(!rz_text_add(&t, "\xf0\x9f\x98", 3));
    memset(piece, 0xff, sizeof(piece));
    rz_check(!rz_text_add(&t, piece, sizeof(piece)));
    while ((k = rz_text_take(&t, out, sizeof(out))) > 0)
        total += k;
    rz_check_eq(total, sizeof(long_stop) - 1 + 3 + 3 * sizeof(piece));
    rz_text_deinit(&t);
}

RZ_TEST(stop, impossible_stop_strings_are_refused)
{
    static char big[RZ_STOP_BYTES_MAX + 1];
    struct rz_str stops[RZ_STOPS_MAX + 1];
    struct rz_text t;
    struct rz_err err = RZ_ERR_INIT;
    memset(big, 'x', sizeof(big));
    for (uint32_t i = 0; i <= RZ_STOPS_MAX; i++)
        stops[i] = (struct rz_str)STR("x");
    rz_check_eq(rz_text_init(&t, stops, RZ_STOPS_MAX + 1, &err), RZ_EINVAL);
    stops[2] = (struct rz_str)STR("");
    rz_check_eq(rz_text_init(&t, stops, 3, &err), RZ_EINVAL);
    rz_check_has(err.message, "string 2");
    stops[2] = (struct rz_str){big, sizeof(big)};
    rz_check_eq(rz_text_init(&t, stops, 3, &err), RZ_EINVAL);
    rz_check_has(err.message, "1025 bytes");
    stops[2] = (struct rz_str)STR("\xff");
    rz_check_eq(rz_text_init(&t, stops, 3, &err), RZ_EINVAL);
    rz_check_has(err.message, "not UTF-8");
}
