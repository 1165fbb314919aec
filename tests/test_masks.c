/* test_masks.c - masks of many regular expressions that nobody wrote.
 *
 * Each is put together at random: groups in groups, counts near and far from each other, characters of one to
 * four bytes. A text that fits is taken from its own masks, sometimes half a token, and at places along it
 * each token of the vocabulary is judged by its bytes. All numbers come from the seed, so that a failure is
 * the same everywhere.
 */
#include "rz_test.h"

#include "err.h"
#include "frontend.h"
#include "grammar.h"
#include "vocab_mixed.h"

#include <stdio.h>
#include <string.h>

#define PATTERNS 240
#define PATTERN_MAX 4000
#define STEPS 24

struct maker {
    uint64_t random;
    char text[PATTERN_MAX];
    size_t n;
};

static uint32_t below(struct maker *m, uint32_t n)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return (uint32_t)((m->random >> 11) % n);
}

static void add(struct maker *m, const char *text)
{
    size_t n = strlen(text);
    if (m->n + n >= PATTERN_MAX)
        return;
    memcpy(m->text + m->n, text, n + 1);
    m->n += n;
}

static void add_count(struct maker *m)
{
    static const uint32_t least[] = {1, 4, 12, 60}, more[] = {6, 60};
    static const char *const marks[] = {"*", "+", "?"};
    char text[32];
    uint32_t kind = below(m, 8), from = below(m, least[below(m, 4)]), to = from + below(m, more[below(m, 2)]);
    if (kind < 3)
        add(m, marks[kind]);
    if (kind < 3 || kind > 5)
        return;
    if (below(m, 4))
        snprintf(text, sizeof(text), "{%u,%u}", from, to ? to : 1);
    else
        snprintf(text, sizeof(text), "{%u,}", from);
    add(m, text);
}

static void add_sequence(struct maker *m, int depth)
{
    static const char *const atoms[] = {"a",
                                        "b",
                                        "[a-b]",
                                        "[ab0]",
                                        "e",
                                        "Z",
                                        " ",
                                        "-",
                                        "[0-9]",
                                        ".",
                                        "[^a]",
                                        "[^\"\\\\]",
                                        "\xc3\xa9",
                                        "\xe6\xbc\xa2",
                                        "[\xe6\xbc\xa2\xc3\xa9]",
                                        "\\n",
                                        "9",
                                        "[a-zA-Z]",
                                        "\"",
                                        "}",
                                        "[^-b]",
                                        "\xf0\x9f\x98\x80"};
    for (uint32_t left = 1 + below(m, 3); left; left--) {
        if (depth && below(m, 2)) {
            add(m, "(");
            add_sequence(m, depth - 1);
            while (!below(m, 3)) {
                add(m, "|");
                add_sequence(m, depth - 1);
            }
            add(m, ")");
        } else {
            add(m, atoms[below(m, sizeof(atoms) / sizeof(atoms[0]))]);
        }
        add_count(m);
    }
}

/* Some token that the mask allows, at most all of its bytes; 0: none. */
static size_t some_token(struct maker *m, struct rz_grammar *g, struct rz_grammar_at *at, char text[32])
{
    uint64_t mask[(MIXED_VOCAB + 63) / 64];
    if (rz_grammar_mask(g, at, mask) & (RZ_GRAMMAR_STALE | RZ_GRAMMAR_SPENT))
        return 0;
    int32_t id = (int32_t)below(m, MIXED_VOCAB), left = MIXED_VOCAB;
    while (left && (id == MIXED_END || !(mask[id >> 6] >> (id & 63) & 1))) {
        id = (id + 1) % MIXED_VOCAB;
        left--;
    }
    int64_t n = left ? mixed_spell(id, text, 32) : 0;
    return n > 1 && below(m, 2) ? 1 + below(m, (uint32_t)n) : (size_t)(n > 0 ? n : 0);
}

static void judge(struct maker *m, struct rz_grammar *g)
{
    struct rz_grammar_at at = rz_grammar_begin(g);
    char text[32];
    for (int step = 0; step < STEPS; step++) {
        int32_t wrong = step < 3 || !below(m, 3) ? mixed_judge(g, &at) : -1;
        if (wrong >= 0)
            rz_fail_test("%s: token %d in step %d", m->text, wrong, step);
        size_t n = some_token(m, g, &at, text);
        if (!n || !rz_grammar_bytes(g, &at, text, n))
            return;
    }
}

RZ_TEST(masks, those_of_random_patterns_are_what_the_bytes_say)
{
    struct rz_err err = RZ_ERR_INIT;
    struct rz_trie *t = NULL;
    uint32_t taken = 0;
    rz_check_ok(rz_trie_new(&mixed_vocab, NULL, MIXED_VOCAB, &t, &err), &err);
    for (uint32_t seed = 1; seed <= PATTERNS; seed++) {
        struct maker m = {.random = seed * 0x9e3779b97f4a7c15u + 88172645463325252u};
        struct rz_grammar *g = NULL;
        add_sequence(&m, 1 + (int)(seed % 3));
        if (rz_grammar_new(RZ_GRAMMAR_REGEX, m.text, m.n, t, &g, &err))
            continue; /* no text fits it, or it is too large */
        taken++;
        judge(&m, g);
        rz_grammar_unref(g);
    }
    rz_check(taken > PATTERNS / 2);
    rz_trie_free(t);
}
