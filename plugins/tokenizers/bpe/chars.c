/* chars.c - the proof for a character, by playing its merges: in each state on the way no merge of what
 * stands at its left or right end with a neighbour ranks before the next merge inside; and no merge of the
 * finished token ranks before one of those, so that it being there early changes nothing.
 */
#include "chars.h"

#include "spell.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>

#define CODE_POINTS 0x10000u
#define SPELLED_MAX 6u /* bytes in which three bytes are spelled */

bool rz_chars_init(struct rz_chars *c, uint32_t n, const int32_t *byte_id)
{
    *c = (struct rz_chars){.token = calloc(CODE_POINTS, sizeof(*c->token)),
                           .reach = malloc(n * sizeof(*c->reach)),
                           .byte_id = byte_id};
    if (!c->token || !c->reach) {
        rz_chars_free(c);
        return false;
    }
    memset(c->reach, 0xff, n * sizeof(*c->reach));
    return true;
}

void rz_chars_done(struct rz_chars *c)
{
    free(c->reach);
    c->reach = NULL;
}

void rz_chars_free(struct rz_chars *c)
{
    rz_chars_done(c);
    free(c->token);
    c->token = NULL;
}

static void lower(uint32_t *rank, uint32_t other)
{
    if (other < *rank)
        *rank = other;
}

static bool is_tail(int byte)
{
    return byte >= 0x80 && byte < 0xc0;
}

/* Whether it may be a character, or part of one: at most three bytes, each spelled in two. */
static bool may_matter(struct rz_str spelled)
{
    return spelled.len <= SPELLED_MAX && (uint8_t)spelled.data[0] >= 0x80;
}

void rz_chars_note(struct rz_chars *c, uint32_t left, struct rz_str left_text, uint32_t right,
                   struct rz_str right_text, uint32_t rank)
{
    if (may_matter(left_text)) {
        lower(&c->reach[left].any, rank);
        if (!is_tail(rz_spelled_first(right_text)))
            lower(&c->reach[left].next, rank);
    }
    if (may_matter(right_text)) {
        int last = rz_spelled_last(left_text);
        lower(&c->reach[right].any, rank);
        if (last < 0 || last >= 0x80)
            lower(&c->reach[right].prev, rank);
    }
}

void rz_chars_token(struct rz_chars *c, const struct rz_merges *m, uint32_t id, struct rz_str spelled)
{
    char bytes[SPELLED_MAX];
    int32_t ids[3];
    uint32_t cp, highest = 0;
    if (spelled.len < 4 || !may_matter(spelled))
        return;
    size_t n = rz_spelled_bytes(spelled, bytes, sizeof(bytes));
    if (n < 2 || n > 3 || rz_utf8_decode(bytes, n, &cp) != n)
        return;
    for (size_t i = 0; i < n; i++)
        ids[i] = c->byte_id[(uint8_t)bytes[i]];
    while (n > 1) {
        uint64_t first = rz_merges_find(m, ids[0], ids[1]);
        uint64_t second = n > 2 ? rz_merges_find(m, ids[1], ids[2]) : RZ_NO_MERGE;
        uint64_t made = second < first ? second : first;
        uint32_t rank = (uint32_t)(made >> 32);
        if (made == RZ_NO_MERGE || c->reach[ids[n - 1]].next < rank || c->reach[ids[0]].prev <= rank)
            return;
        if (rank > highest)
            highest = rank;
        ids[second < first] = (int32_t)(uint32_t)made;
        if (n == 3 && first <= second)
            ids[1] = ids[2];
        n--;
    }
    if (ids[0] == (int32_t)id && c->reach[id].any > highest)
        c->token[cp] = id + 1;
}

/* The character at bytes[0..n), of two or three bytes, that may begin as its token; its length, 0: none. */
static size_t known(const struct rz_chars *c, const char *bytes, size_t n, int32_t *id)
{
    uint32_t cp;
    size_t len = rz_utf8_decode(bytes, n, &cp);
    if (len < 2 || len > 3 || !c->token[cp] || (len < n && is_tail((uint8_t)bytes[len])))
        return 0;
    *id = (int32_t)c->token[cp] - 1;
    return len;
}

size_t rz_chars_begin(const struct rz_chars *c, const char *bytes, size_t n, int32_t *ids)
{
    size_t count = 0;
    bool high = true; /* what stands before ends in a byte from 0x80 on, or there is nothing */
    for (size_t i = 0, len; i < n; i += len, count++) {
        uint8_t byte = (uint8_t)bytes[i];
        len = byte >= 0xc2 && high ? known(c, bytes + i, n - i, &ids[count]) : 0;
        high = byte >= 0x80;
        if (!len) {
            ids[count] = c->byte_id[byte];
            len = 1;
        }
    }
    return count;
}
