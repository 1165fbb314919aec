/* vocab_mixed.h - a vocabulary of some thousand tokens that mix what grammars tell apart.
 *
 * Letters, digits, blanks, quotes, escapes, new lines, characters of two to four bytes and halves of them.
 * Large enough that masks are made through folds (fold.h). Each mask can be judged by feeding every token by
 * itself.
 */
#ifndef RZ_TESTS_VOCAB_MIXED_H
#define RZ_TESTS_VOCAB_MIXED_H

#include "grammar.h"

#include <stdlib.h>
#include <string.h>

#define MIXED_END 256
#define MIXED_FIRST 257
#define MIXED_VOCAB 7000

static const char *const mixed_pieces[] = {"a",
                                           "b",
                                           "e",
                                           "Z",
                                           " ",
                                           "-",
                                           "\xc3\xa9",
                                           "\xe6\xbc\xa2",
                                           "0",
                                           "9",
                                           ".",
                                           "\"",
                                           "\\",
                                           "\n",
                                           "\xed\x95\x9c",
                                           "\xe6\xbc",
                                           "\xf0\x9f\x98\x80",
                                           "}"};
#define MIXED_PIECES (sizeof(mixed_pieces) / sizeof(mixed_pieces[0]))

/* Three pieces and, from where these are through, four of which the last two vary slowly. */
static int64_t mixed_spell(int32_t id, char *out, uint64_t cap)
{
    char text[32] = {(char)id};
    uint64_t k = (uint64_t)(id - MIXED_FIRST), n = id < 256 ? 1 : 0;
    if (id == MIXED_END || id < 0 || id >= MIXED_VOCAB)
        return id == MIXED_END ? 0 : -1;
    for (uint64_t i = 0; id > MIXED_END && i < (id % 3 ? 3u : 4u); i++) {
        const char *piece = mixed_pieces[(i == 3 ? k * 7 : k) % MIXED_PIECES];
        memcpy(text + n, piece, strlen(piece));
        n += strlen(piece);
        k /= MIXED_PIECES;
    }
    if (n <= cap)
        memcpy(out, text, n);
    return (int64_t)n;
}

static int32_t mixed_info(void *tok, struct rz_tokenizer_info *out)
{
    (void)tok;
    out->n_vocab = MIXED_VOCAB;
    out->n_end = 1;
    out->end[0] = MIXED_END;
    return 0;
}

static int32_t mixed_kind(void *tok, int32_t id)
{
    (void)tok;
    return id == MIXED_END ? RZ_TOKEN_CONTROL : RZ_TOKEN_NORMAL;
}

static int64_t mixed_piece(void *tok, int32_t id, char *out, uint64_t cap)
{
    (void)tok;
    return mixed_spell(id, out, cap);
}

static int64_t mixed_decode(void *tok, struct rz_decode_state *state, int32_t id, uint32_t flags, char *out,
                            uint64_t cap)
{
    (void)tok, (void)state, (void)flags;
    return mixed_spell(id, out, cap);
}

static const struct rz_tokenizer mixed_vocab = {.size = sizeof(mixed_vocab),
                                                .name = "mixed",
                                                .info = mixed_info,
                                                .piece = mixed_piece,
                                                .decode = mixed_decode,
                                                .kind = mixed_kind};

/* The token that the mask at a place and the token's own bytes judge differently; -1: there is none. */
static int32_t mixed_judge(struct rz_grammar *g, struct rz_grammar_at *at)
{
    uint64_t mask[(MIXED_VOCAB + 63) / 64];
    if (rz_grammar_mask(g, at, mask) & (RZ_GRAMMAR_STALE | RZ_GRAMMAR_SPENT))
        return -1;
    for (int32_t i = 0; i < MIXED_VOCAB; i++) {
        struct rz_grammar_at to = *at;
        bool over, fits = i == MIXED_END ? rz_grammar_accepts(g, *at, &over) : rz_grammar_token(g, &to, i);
        if (!rz_grammar_fresh(g, *at)) /* the grammar made room: the rest cannot be compared */
            return -1;
        if (fits != (mask[i >> 6] >> (i & 63) & 1))
            return i;
    }
    return -1;
}

#endif
