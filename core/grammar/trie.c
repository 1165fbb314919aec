/* trie.c - a tokenizer's vocabulary as a trie. See trie.h.
 *
 * Spellings come from the tokenizer's own decode, as in the middle of a text.
 */
#include "trie.h"

#include "err.h"
#include "fold.h"

#include <stdlib.h>
#include <string.h>

#define SPELLING_MAX 4096

/* One spelling to be sorted in: of a special token its first byte is RZ_NFA_CONTROL. */
struct entry {
    const char *text;
    uint32_t n;
    int32_t token;
    bool special;
};

static uint32_t entry_len(const struct entry *e)
{
    return e->n + e->special;
}

static uint8_t entry_byte(const struct entry *e, uint32_t i)
{
    if (!e->special)
        return (uint8_t)e->text[i];
    return i ? (uint8_t)e->text[i - 1] : RZ_NFA_CONTROL;
}

static int by_bytes(const void *x, const void *y)
{
    const struct entry *a = x, *b = y;
    if (a->special != b->special) /* no normal spelling that matters begins with 0xff */
        return (int)a->special - (int)b->special;
    uint32_t n = a->n < b->n ? a->n : b->n;
    int c = memcmp(a->text, b->text, n);
    if (c || a->n != b->n)
        return c ? c : a->n < b->n ? -1 : 1;
    return a->token < b->token ? -1 : 1;
}

/* --- sorted entries as a trie --- */

static uint32_t common_len(const struct entry *a, const struct entry *b)
{
    uint32_t n = 0, most = entry_len(a) < entry_len(b) ? entry_len(a) : entry_len(b);
    while (n < most && entry_byte(a, n) == entry_byte(b, n))
        n++;
    return n;
}

static bool plant(struct rz_trie *p, const struct entry *list, uint32_t n)
{
    uint64_t bytes = 1;
    uint32_t open[RZ_TRIE_DEPTH_MAX + 1], depth = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += entry_len(&list[i]);
    p->nodes = calloc(bytes, sizeof(*p->nodes));
    p->tokens = calloc(n + 1, sizeof(*p->tokens));
    if (!p->nodes || !p->tokens || bytes > UINT32_MAX)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t same = i ? common_len(&list[i - 1], &list[i]) : 0;
        for (; depth > same; depth--)
            p->nodes[open[depth - 1]].skip = p->n;
        for (; depth < entry_len(&list[i]); depth++) {
            open[depth] = p->n;
            p->nodes[p->n++] = (struct rz_trie_node){
                .tokens = p->n_tokens, .depth = (uint16_t)(depth + 1), .byte = entry_byte(&list[i], depth)};
        }
        p->tokens[p->n_tokens++] = list[i].token;
    }
    for (; depth; depth--)
        p->nodes[open[depth - 1]].skip = p->n;
    p->nodes[p->n] = (struct rz_trie_node){.tokens = p->n_tokens};
    return true;
}

#define KIDS_MIN 8u

/* Notes the children between two nodes if they are many, or the root's; returns where. */
static uint32_t note_kids(struct rz_trie *t, uint32_t *used, uint32_t from, uint32_t to, uint32_t least)
{
    uint32_t at = *used, n = 0;
    for (uint32_t i = from; i < to && n < KIDS_MIN; i = t->nodes[i].skip)
        n++;
    if (n < least)
        return 0;
    t->kids[at] = 0;
    for (uint32_t i = from; i < to; i = t->nodes[i].skip)
        t->kids[at + ++t->kids[at]] = i << 8 | t->nodes[i].byte;
    *used += 1 + t->kids[at];
    return at;
}

/* False: no memory, or more nodes than fit. */
static bool gather_kids(struct rz_trie *t)
{
    uint32_t used = 0;
    t->kids = t->n < 1u << 24 ? calloc(t->n + t->n / KIDS_MIN + 2, sizeof(*t->kids)) : NULL;
    if (!t->kids)
        return false;
    note_kids(t, &used, 0, t->n, 0);
    for (uint32_t i = 0; i < t->n; i++)
        t->nodes[i].kids = note_kids(t, &used, i + 1, t->nodes[i].skip, KIDS_MIN);
    return true;
}

/* --- spellings --- */

static bool is_end(const struct rz_trie *t, int32_t token)
{
    for (uint32_t i = 0; i < t->n_end; i++)
        if (t->end[i] == token)
            return true;
    return false;
}

/* What the token adds in the middle of a text; else, for special ones, how it is spelled. */
static int64_t spelling(const struct rz_tokenizer *api, void *tok, int32_t token, int32_t kind, char *out,
                        bool *normal)
{
    struct rz_decode_state state = {.size = sizeof(state), .n_tokens = 1};
    int64_t n = api->decode(tok, &state, token, 0, out, SPELLING_MAX);
    *normal = n > 0 && n <= SPELLING_MAX && kind != RZ_TOKEN_CONTROL && kind != RZ_TOKEN_UNKNOWN &&
              !memchr(out, RZ_NFA_CONTROL, (size_t)n);
    if (!*normal && (kind == RZ_TOKEN_CONTROL || kind == RZ_TOKEN_USER))
        n = api->piece(tok, token, out, SPELLING_MAX);
    return n > 0 && n <= RZ_TRIE_DEPTH_MAX - 1 ? n : 0;
}

/* Fills text, at, normal and special. */
static int32_t spell(struct rz_trie *t, const struct rz_tokenizer *api, void *tok, struct rz_err *err)
{
    char piece[SPELLING_MAX];
    uint64_t cap = 0, used = 0;
    t->at = calloc(t->n_vocab + 1ull, sizeof(*t->at));
    t->special = calloc(t->n_vocab + 1ull, sizeof(*t->special));
    t->normal = calloc(t->n_vocab + 1ull, 1);
    if (!t->at || !t->special || !t->normal)
        return rz_fail(err, RZ_ENOMEM, "grammar", "no memory for %u tokens", t->n_vocab);
    for (uint32_t i = 0; i < t->n_vocab; i++) {
        bool normal = false;
        int32_t kind = api->kind(tok, (int32_t)i);
        int64_t n = is_end(t, (int32_t)i) ? 0 : spelling(api, tok, (int32_t)i, kind, piece, &normal);
        if (used + (uint64_t)n > cap) {
            cap = cap ? 2 * cap : 1u << 16;
            char *bigger = cap < UINT32_MAX ? realloc(t->text, cap) : NULL;
            if (!bigger)
                return rz_fail(err, RZ_ENOMEM, "grammar", "no memory for the spellings of %u tokens", i);
            t->text = bigger;
        }
        if (n)
            memcpy(t->text + used, piece, (size_t)n);
        used += (uint64_t)n;
        t->at[i + 1] = (uint32_t)used;
        t->normal[i] = normal;
        if (n && (kind == RZ_TOKEN_CONTROL || kind == RZ_TOKEN_USER))
            t->special[t->n_special++] = (int32_t)i;
        if (n == 1 && normal)
            rz_byteset_add(&t->bytes, (uint8_t)piece[0]);
    }
    if (t->n_special)
        rz_byteset_add(&t->bytes, RZ_NFA_CONTROL);
    return RZ_OK;
}

static struct entry entry_of(const struct rz_trie *t, int32_t token, bool special)
{
    return (struct entry){t->text + t->at[token], t->at[token + 1] - t->at[token], token, special};
}

static bool arrange(struct rz_trie *t, struct entry *list)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n_vocab; i++)
        if (t->normal[i] && t->at[i] < t->at[i + 1])
            list[n++] = entry_of(t, (int32_t)i, false);
    for (uint32_t i = 0; i < t->n_special; i++)
        list[n++] = entry_of(t, t->special[i], true);
    qsort(list, n, sizeof(*list), by_bytes);
    return plant(t, list, n) && gather_kids(t);
}

int32_t rz_trie_new(const struct rz_tokenizer *tokenizer, void *tok, uint32_t n_vocab, struct rz_trie **out,
                    struct rz_err *err)
{
    struct rz_tokenizer_info info = {.size = sizeof(info)};
    struct rz_trie *t = calloc(1, sizeof(*t));
    struct entry *entries = NULL;
    int32_t rc = t ? RZ_OK : rz_fail(err, RZ_ENOMEM, "grammar", "no memory");
    if (!rc && tokenizer->info(tok, &info) < 0)
        rc = rz_fail(err, RZ_EINVAL, "grammar", "the tokenizer says nothing of its vocabulary");
    if (rc)
        goto fail;
    t->n_vocab = n_vocab;
    t->n_words = (n_vocab + 63) / 64;
    for (uint32_t i = 0; i < info.n_end && i < 31; i++)
        if (info.end[i] >= 0 && (uint32_t)info.end[i] < n_vocab)
            t->end[t->n_end++] = info.end[i];
    entries = calloc(2ull * t->n_vocab + 1, sizeof(*entries));
    if ((rc = rz_folds_new(&t->folds, err)))
        goto fail;
    if (!entries) {
        rc = rz_fail(err, RZ_ENOMEM, "grammar", "no memory for %u tokens", t->n_vocab);
        goto fail;
    }
    if ((rc = spell(t, tokenizer, tok, err)))
        goto fail;
    if (!arrange(t, entries)) {
        rc = rz_fail(err, RZ_ENOMEM, "grammar", "no memory for the spellings of %u tokens", t->n_vocab);
        goto fail;
    }
    free(entries);
    *out = t;
    return RZ_OK;
fail:
    free(entries);
    rz_trie_free(t);
    return rc;
}

void rz_trie_free(struct rz_trie *t)
{
    if (!t)
        return;
    free(t->nodes);
    free(t->kids);
    free(t->tokens);
    rz_folds_free(t->folds);
    free(t->text);
    free(t->at);
    free(t->special);
    free(t->normal);
    free(t);
}

int32_t rz_trie_special(const struct rz_trie *t, const char *text, size_t n)
{
    for (uint32_t i = 0; i < t->n_special; i++) {
        struct entry e = entry_of(t, t->special[i], true);
        if (e.n == n && !memcmp(e.text, text, n))
            return e.token;
    }
    return -1;
}

bool rz_trie_is_special(const struct rz_trie *t, int32_t token)
{
    uint32_t lo = 0, hi = t->n_special;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (t->special[mid] < token)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < t->n_special && t->special[lo] == token;
}
