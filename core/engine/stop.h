/* stop.h - the text of a request on its way out.
 *
 * Takes the bytes of tokens, gives whole UTF-8 characters: bytes that can never become a character turn
 * into U+FFFD, the beginning of one waits for the rest, and text that may still become a stop string is
 * held back. The result does not depend on where the tokens' borders lie. One thread at a time.
 */
#ifndef RZ_ENGINE_STOP_H
#define RZ_ENGINE_STOP_H

#include <rz/types.h>
#include <stdbool.h>

#define RZ_STOPS_MAX 64
#define RZ_STOP_BYTES_MAX 1024 /* of one stop string                   */
#define RZ_PIECE_MAX 4096      /* bytes that one token may add to the text */

struct rz_text {
    char *stops; /* copies, one behind the other */
    uint32_t *stop_bytes;
    uint32_t n_stops;
    char *buf; /* whole characters: [0, ready) may go out, [ready, len) may become a stop string */
    size_t cap, ready, len;
    char tail[4]; /* the beginning of a character */
    size_t n_tail;
    bool stopped;
};

/* Copies the stop strings. RZ_EINVAL names the one that is empty, too long or not UTF-8. */
int32_t rz_text_init(struct rz_text *t, const struct rz_str *stops, uint32_t n_stops, struct rz_err *err);
void rz_text_deinit(struct rz_text *t);
/* Adds n <= RZ_PIECE_MAX bytes; everything that was ready must have been taken. True once a stop string
 * was found: it and what follows is dropped. */
bool rz_text_add(struct rz_text *t, const char *bytes, size_t n);
/* No more will come: what was held back becomes ready. */
void rz_text_end(struct rz_text *t);
/* Moves at most cap bytes of whole characters to out; returns how many. cap >= 4. */
size_t rz_text_take(struct rz_text *t, char *out, size_t cap);

#endif
