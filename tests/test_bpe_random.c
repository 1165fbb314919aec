/* test_bpe_random.c - random vocabularies and texts: the ids are those of merging by the book.
 *
 * The alphabet is small and its characters share their bytes, so that merges inside a character, across its
 * ends and between characters come in every order.
 */
#include "tok.h"

#include <stdbool.h>
#include <stdint.h>

extern const struct rz_plugin rz_builtin_bpe;

#define MERGES 60
#define TOKENS (256 + MERGES)
#define TEXT_BYTES 96

struct bytes {
    uint8_t b[64];
    size_t n;
};

struct book {
    struct bytes token[TOKENS];
    uint32_t left[MERGES], right[MERGES], made[MERGES];
    uint32_t n_tokens, n_merges;
};

static uint32_t seed;

static uint32_t draw(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)(seed >> 8) * n >> 24);
}

static const char *const alphabet[] = {"\344\270\255",
                                       "\344\270\270",
                                       "\344\255\255",
                                       "\345\270\255",
                                       "\303\255",
                                       "\303\270",
                                       "\320\255",
                                       "a",
                                       " ",
                                       "\255",
                                       "\344",
                                       "\344\270",
                                       "\360\237\230\200"};

static size_t random_text(char *out)
{
    size_t n = 0;
    for (uint32_t k = 1 + draw(20); k; k--) {
        /* mostly whole characters of two and three bytes */
        const char *s = alphabet[draw(4) ? draw(7) : draw(N(alphabet))];
        memcpy(out + n, s, strlen(s));
        n += strlen(s);
    }
    return n;
}

static uint32_t find_bytes(const struct book *k, const struct bytes *s)
{
    for (uint32_t i = 0; i < k->n_tokens; i++)
        if (k->token[i].n == s->n && !memcmp(k->token[i].b, s->b, s->n))
            return i;
    return UINT32_MAX;
}

static uint32_t find_merge(const struct book *k, uint32_t left, uint32_t right)
{
    for (uint32_t i = 0; i < k->n_merges; i++)
        if (k->left[i] == left && k->right[i] == right)
            return i;
    return UINT32_MAX;
}

/* By the book: the lowest rank, the leftmost of equals, one at a time. */
static size_t merge(const struct book *k, const char *text, size_t n, int32_t *ids)
{
    for (size_t i = 0; i < n; i++)
        ids[i] = (uint8_t)text[i];
    for (;;) {
        uint32_t best = UINT32_MAX;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            uint32_t rank = find_merge(k, (uint32_t)ids[i], (uint32_t)ids[i + 1]);
            if (rank < best) {
                best = rank;
                at = i;
            }
        }
        if (best == UINT32_MAX)
            return n;
        ids[at] = (int32_t)k->made[best];
        n--;
        memmove(ids + at + 1, ids + at + 2, (n - at - 1) * sizeof(*ids));
    }
}

/* Merges of neighbours in random texts, so that they do something; `mixed` puts some out of order. */
static void make_book(struct book *k, bool mixed)
{
    char text[TEXT_BYTES * 2];
    int32_t ids[TEXT_BYTES * 2];
    *k = (struct book){.n_tokens = 256};
    for (uint32_t i = 0; i < 256; i++)
        k->token[i] = (struct bytes){{(uint8_t)i}, 1};
    for (int tries = 0; tries < 2000 && k->n_merges < MERGES; tries++) {
        size_t n = merge(k, text, random_text(text), ids);
        if (n < 2)
            continue;
        size_t at = draw((uint32_t)n - 1);
        const struct bytes *a = &k->token[ids[at]], *b = &k->token[ids[at + 1]];
        struct bytes both = *a;
        if (a->n + b->n > 20)
            continue;
        memcpy(both.b + a->n, b->b, b->n);
        both.n += b->n;
        uint32_t made = find_bytes(k, &both), rank = k->n_merges++;
        if (made == UINT32_MAX) {
            made = k->n_tokens++;
            k->token[made] = both;
        }
        uint32_t to = mixed && !draw(3) ? draw(rank + 1) : rank;
        memmove(&k->left[to + 1], &k->left[to], (rank - to) * sizeof(*k->left));
        memmove(&k->right[to + 1], &k->right[to], (rank - to) * sizeof(*k->right));
        memmove(&k->made[to + 1], &k->made[to], (rank - to) * sizeof(*k->made));
        k->left[to] = (uint32_t)ids[at];
        k->right[to] = (uint32_t)ids[at + 1];
        k->made[to] = made;
    }
}

/* The token in GPT-2's spelling. */
static struct rz_str spell(const struct bytes *t, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        unsigned b = t->b[i], cp = b;
        if (b < 33)
            cp = 256 + b;
        else if (b >= 127 && b <= 160)
            cp = 256 + 33 + b - 127;
        else if (b == 173)
            cp = 256 + 67;
        if (cp < 0x80) {
            out[n++] = (char)cp;
        } else {
            out[n++] = (char)(0xc0 | cp >> 6);
            out[n++] = (char)(0x80 | (cp & 63));
        }
    }
    return (struct rz_str){out, n};
}

static void fill_meta(struct meta *m, const struct book *k)
{
    static char text[TOKENS][64], line[MERGES][128];
    struct rz_str tokens[TOKENS], merges[MERGES];
    int32_t kinds[TOKENS];
    for (uint32_t i = 0; i < k->n_tokens; i++) {
        tokens[i] = spell(&k->token[i], text[i]);
        kinds[i] = RZ_TOKEN_NORMAL;
    }
    for (uint32_t i = 0; i < k->n_merges; i++) {
        struct rz_str a = tokens[k->left[i]], b = tokens[k->right[i]];
        memcpy(line[i], a.data, a.len);
        line[i][a.len] = ' ';
        memcpy(line[i] + a.len + 1, b.data, b.len);
        merges[i] = (struct rz_str){line[i], a.len + 1 + b.len};
    }
    meta_str(m, K "model", "gpt2");
    meta_str(m, K "pre", "bloom"); /* cuts at spaces only, of those that the texts have */
    meta_strs(m, K "tokens", tokens, k->n_tokens);
    meta_strs(m, K "merges", merges, k->n_merges);
    meta_i32s(m, K "token_type", kinds, k->n_tokens);
}

/* The ids that merging each word by itself gives: a word is a space and what follows it. */
static size_t by_words(const struct book *k, const char *text, size_t n, int32_t *ids)
{
    size_t count = 0;
    for (size_t at = 0, end; at < n; at = end) {
        end = at + 1;
        while (end < n && text[end] != ' ')
            end++;
        if (text[at] == ' ' && end == at + 1 && end < n) {
            /* of several spaces the last begins the word: the ones before are a word of their own */
            while (end < n && text[end] == ' ')
                end++;
            end -= end < n;
        }
        count += merge(k, text + at, end - at, ids + count);
    }
    return count;
}

static void check_book(bool mixed)
{
    static struct book k;
    struct meta m = {0};
    struct tok t;
    make_book(&k, mixed);
    fill_meta(&m, &k);
    make(&t, &rz_builtin_bpe, &m);
    for (int i = 0; i < 60; i++) {
        char text[TEXT_BYTES];
        int32_t want[TEXT_BYTES], ids[TEXT_BYTES];
        size_t n = random_text(text), n_want = by_words(&k, text, n, want);
        uint64_t count;
        rz_check_ok(t.api->encode(t.tok, text, n, 0, ids, TEXT_BYTES, &count, &t.err), &t.err);
        rz_check_eq(count, n_want);
        if (memcmp(ids, want, n_want * sizeof(ids[0])) != 0)
            rz_fail_test("text %d of the vocabulary of seed %u", i, seed);
    }
    stop(&t);
    meta_free(&m);
}

RZ_TEST(bpe_random, merges_in_the_order_of_their_making)
{
    seed = 1;
    for (int i = 0; i < 400; i++)
        check_book(false);
}

RZ_TEST(bpe_random, merges_in_any_order)
{
    seed = 2;
    for (int i = 0; i < 400; i++)
        check_book(true);
}
