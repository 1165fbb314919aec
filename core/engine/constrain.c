/* constrain.c - grammars of requests. See constrain.h.
 *
 * Owns the vocabulary's trie, made for the first grammar, and the grammars that were used last: requests
 * with the same text share states and masks. The lock is held while a grammar is compiled, so that many
 * equal requests at once compile one.
 */
#include "constrain.h"

#include "err.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define KEPT 8 /* grammars */

struct kept {
    uint32_t kind;
    char *text;
    size_t n;
    uint64_t used; /* when: a counter */
    struct rz_grammar *grammar;
};

struct rz_constraints {
    const struct rz_tokenizer *tokenizer;
    void *tok;
    uint32_t n_vocab;
    pthread_mutex_t lock;
    struct rz_trie *trie;
    struct kept kept[KEPT];
    uint64_t clock;
};

int32_t rz_constraints_new(const struct rz_engine_setup *setup, struct rz_constraints **out,
                           struct rz_err *err)
{
    *out = NULL;
    if (!setup->tokenizer)
        return RZ_OK;
    struct rz_constraints *all = calloc(1, sizeof(*all));
    if (!all)
        return rz_fail(err, RZ_ENOMEM, "engine", "no memory");
    all->tokenizer = setup->tokenizer;
    all->tok = setup->tok;
    all->n_vocab = setup->n_vocab;
    pthread_mutex_init(&all->lock, NULL);
    *out = all;
    return RZ_OK;
}

static void forget(struct kept *k)
{
    rz_grammar_unref(k->grammar);
    free(k->text);
    *k = (struct kept){0};
}

void rz_constraints_free(struct rz_constraints *all)
{
    if (!all)
        return;
    for (int i = 0; i < KEPT; i++)
        forget(&all->kept[i]);
    rz_trie_free(all->trie);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

/* The grammar of this text if it is kept, else the place of the one that was not used for longest. */
static struct kept *find(struct rz_constraints *all, uint32_t kind, const struct rz_str *text)
{
    struct kept *oldest = &all->kept[0];
    for (struct kept *k = all->kept; k < all->kept + KEPT; k++) {
        if (k->grammar && k->kind == kind && k->n == text->len && !memcmp(k->text, text->data, k->n))
            return k;
        if (k->used < oldest->used)
            oldest = k;
    }
    forget(oldest);
    return oldest;
}

static int32_t fill(struct rz_constraints *all, struct kept *k, uint32_t kind, const struct rz_str *text,
                    struct rz_err *err)
{
    int32_t rc = RZ_OK;
    if (!all->trie)
        rc = rz_trie_new(all->tokenizer, all->tok, all->n_vocab, &all->trie, err);
    if (!rc)
        rc = rz_grammar_new(kind, text->data, text->len, all->trie, &k->grammar, err);
    if (rc)
        return rc;
    k->text = malloc(text->len + 1);
    if (!k->text) {
        forget(k);
        return rz_fail(err, RZ_ENOMEM, "grammar", "no memory");
    }
    memcpy(k->text, text->data, text->len);
    k->n = text->len;
    k->kind = kind;
    return RZ_OK;
}

int32_t rz_constraint_init(struct rz_constraints *all, const struct rz_request *request,
                           struct rz_constraint *out, struct rz_err *err)
{
    *out = (struct rz_constraint){0};
    if (!request->grammar_kind)
        return RZ_OK;
    if (!all)
        return rz_fail(err, RZ_EUNSUPPORTED, "grammar",
                       "this model has no tokenizer: nobody knows what its tokens say");
    if (request->flags & RZ_REQUEST_EMBED)
        return rz_fail(err, RZ_EINVAL, "grammar", "a request for a vector says no text");
    struct rz_str text = request->grammar;
    if (!text.data)
        text = (struct rz_str){"", 0};
    pthread_mutex_lock(&all->lock);
    struct kept *k = find(all, request->grammar_kind, &text);
    int32_t rc = k->grammar ? RZ_OK : fill(all, k, request->grammar_kind, &text, err);
    if (!rc) {
        k->used = ++all->clock;
        rz_grammar_ref(k->grammar);
        out->grammar = k->grammar;
    }
    pthread_mutex_unlock(&all->lock);
    if (!rc)
        out->at = rz_grammar_begin(out->grammar);
    return rc;
}

void rz_constraint_deinit(struct rz_constraint *c)
{
    rz_grammar_unref(c->grammar);
    *c = (struct rz_constraint){0};
}

/* Gets behind n tokens; false: they are not in the language. */
static bool seek(struct rz_constraint *c, const int32_t *tokens, uint32_t n)
{
    if (c->n > n || !rz_grammar_fresh(c->grammar, c->at)) {
        c->at = rz_grammar_begin(c->grammar);
        c->n = 0;
    }
    while (c->n < n) {
        if (rz_grammar_token(c->grammar, &c->at, tokens[c->n])) {
            c->n++;
        } else if (rz_grammar_fresh(c->grammar, c->at)) {
            return false;
        } else { /* another request made the grammar forget */
            c->at = rz_grammar_begin(c->grammar);
            c->n = 0;
        }
    }
    return true;
}

int32_t rz_constraint_mask(struct rz_constraint *c, const int32_t *tokens, uint32_t n, bool ends,
                           uint64_t *mask, struct rz_err *err)
{
    uint32_t flags;
    do {
        if (!seek(c, tokens, n))
            return rz_fail(err, RZ_EINTERNAL, "grammar", "the %u generated tokens do not fit it", n);
        flags = rz_grammar_mask(c->grammar, &c->at, mask);
    } while (flags & RZ_GRAMMAR_STALE);
    if (flags & RZ_GRAMMAR_SPENT)
        return rz_fail(err, RZ_ELIMIT, "grammar",
                       "it is too ambiguous: what may follow %u tokens takes too long to find", n);
    if (!ends)
        rz_grammar_drop_ends(c->grammar, mask);
    if (!(flags & RZ_GRAMMAR_TOKENS) && !(ends && flags & RZ_GRAMMAR_ENDS))
        return rz_fail(err, RZ_EINVAL, "grammar", "no token can follow the %u generated ones", n);
    return RZ_OK;
}

bool rz_constraint_over(struct rz_constraint *c, const int32_t *tokens, uint32_t n)
{
    bool over = false;
    if (c->grammar && seek(c, tokens, n))
        rz_grammar_accepts(c->grammar, c->at, &over);
    return over;
}
