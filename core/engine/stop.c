/* stop.c - stop strings and UTF-8 across token borders.
 *
 * Invariant: buf holds whole characters only, and [ready, len) is the longest end of the text that is a
 * proper beginning of a stop string.
 */
#include "stop.h"

#include "err.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>

static int32_t check_stop(const struct rz_str *stop, uint32_t index, struct rz_err *err)
{
    if (!stop->len || stop->len > RZ_STOP_BYTES_MAX)
        return rz_fail(err, RZ_EINVAL, "stop", "string %u has %llu bytes: 1 to %d are possible", index,
                       (unsigned long long)stop->len, RZ_STOP_BYTES_MAX);
    if (!rz_utf8_valid(stop->data, stop->len))
        return rz_fail(err, RZ_EINVAL, "stop", "string %u is not UTF-8", index);
    return RZ_OK;
}

int32_t rz_text_init(struct rz_text *t, const struct rz_str *stops, uint32_t n_stops, struct rz_err *err)
{
    *t = (struct rz_text){.n_stops = n_stops};
    if (n_stops > RZ_STOPS_MAX)
        return rz_fail(err, RZ_EINVAL, "stop", "%u strings: at most %d", n_stops, RZ_STOPS_MAX);
    size_t total = 0, longest = 0;
    for (uint32_t i = 0; i < n_stops; i++) {
        int32_t rc = check_stop(&stops[i], i, err);
        if (rc)
            return rc;
        total += stops[i].len;
        longest = stops[i].len > longest ? stops[i].len : longest;
    }
    /* Each byte of a piece can become U+FFFD, three bytes. */
    t->cap = longest + 3 * (RZ_PIECE_MAX + sizeof(t->tail));
    t->buf = malloc(t->cap);
    t->stops = malloc(total + 1);
    t->stop_bytes = calloc(n_stops + 1, sizeof(*t->stop_bytes));
    if (!t->buf || !t->stops || !t->stop_bytes) {
        rz_text_deinit(t);
        return rz_fail(err, RZ_ENOMEM, "stop", "no memory for %u strings", n_stops);
    }
    char *at = t->stops;
    for (uint32_t i = 0; i < n_stops; i++) {
        memcpy(at, stops[i].data, stops[i].len);
        at += stops[i].len;
        t->stop_bytes[i] = (uint32_t)stops[i].len;
    }
    return RZ_OK;
}

void rz_text_deinit(struct rz_text *t)
{
    free(t->buf);
    free(t->stops);
    free(t->stop_bytes);
    *t = (struct rz_text){0};
}

/* The longest stop string that ends at the end of the text; 0: none. */
static size_t stop_at_end(const struct rz_text *t)
{
    size_t found = 0;
    const char *stop = t->stops;
    for (uint32_t i = 0; i < t->n_stops; i++) {
        size_t n = t->stop_bytes[i];
        if (n <= t->len && n > found && !memcmp(stop, t->buf + t->len - n, n))
            found = n;
        stop += n;
    }
    return found;
}

/* How much of the end of the text is the beginning of some stop string. */
static size_t held_back(const struct rz_text *t)
{
    size_t held = 0;
    const char *stop = t->stops;
    for (uint32_t i = 0; i < t->n_stops; i++) {
        size_t n = t->stop_bytes[i] - 1;
        n = n < t->len ? n : t->len;
        for (; n > held; n--)
            if (!memcmp(stop, t->buf + t->len - n, n))
                held = n;
        stop += t->stop_bytes[i];
    }
    return held;
}

/* Adds a whole character. Looking at every character's end, not at whole pieces, makes the first stop
 * string to be completed win, wherever the borders of tokens lie. */
static void add_character(struct rz_text *t, const char *bytes, size_t n)
{
    if (t->stopped)
        return;
    memcpy(t->buf + t->len, bytes, n);
    t->len += n;
    size_t stop = t->n_stops ? stop_at_end(t) : 0;
    if (stop) {
        t->stopped = true;
        t->len -= stop;
        t->ready = t->len;
    }
}

static void add_bytes(struct rz_text *t, const char *bytes, size_t n)
{
    uint32_t cp;
    while (n && !t->stopped) {
        size_t k = rz_utf8_decode(bytes, n, &cp);
        if (k) {
            add_character(t, bytes, k);
        } else {
            add_character(t, "\xef\xbf\xbd", 3);
            k = rz_utf8_bad(bytes, n);
        }
        bytes += k;
        n -= k;
    }
}

bool rz_text_add(struct rz_text *t, const char *bytes, size_t n)
{
    char joined[RZ_PIECE_MAX + sizeof(t->tail)];
    if (t->stopped || n > RZ_PIECE_MAX)
        return t->stopped;
    memcpy(joined, t->tail, t->n_tail);
    if (n)
        memcpy(joined + t->n_tail, bytes, n);
    n += t->n_tail;
    size_t whole = rz_utf8_whole(joined, n);
    t->n_tail = n - whole;
    memcpy(t->tail, joined + whole, t->n_tail);
    add_bytes(t, joined, whole);
    if (!t->stopped)
        t->ready = t->len - held_back(t);
    return t->stopped;
}

void rz_text_end(struct rz_text *t)
{
    size_t n = t->n_tail;
    t->n_tail = 0;
    add_bytes(t, t->tail, n);
    t->ready = t->len;
}

size_t rz_text_take(struct rz_text *t, char *out, size_t cap)
{
    size_t n = t->ready;
    if (n > cap) {
        n = cap;
        while (n && ((unsigned char)t->buf[n] & 0xc0) == 0x80) /* not inside a character */
            n--;
    }
    memcpy(out, t->buf, n);
    memmove(t->buf, t->buf + n, t->len - n);
    t->len -= n;
    t->ready -= n;
    return n;
}
