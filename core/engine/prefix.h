/* prefix.h - the prefix cache: which kept pages hold the beginning of which texts.
 *
 * A tree of entries, one for each whole page of a text: an entry stands for the tokens of its page behind
 * those of its parents, and names a page of each KV group, and sometimes a slot with the recurrent state
 * behind its last token. Entries are found by a keyed hash of the chain of pages, and compared in full. Pages
 * that no sequence holds any more go when they are needed, the least recently used first.
 *
 * Owns no page: kv.c counts what is kept. Keys and values depend on tokens, positions and the rope alone, so
 * a text gets the same bits with or without. Nothing allocates after init. One thread at a time.
 */
#ifndef RZ_ENGINE_PREFIX_H
#define RZ_ENGINE_PREFIX_H

#include "kv.h"

struct rz_prefix_entry {
    uint64_t hash;
    uint32_t parent, n_children; /* indices; UINT32_MAX: none */
    uint32_t variant;            /* of the rope               */
    uint32_t next;               /* of the same bucket, or free */
    uint32_t newer, older;       /* in the order of use: a parent is newer than its children */
    int32_t slot;                /* -1: no state is saved here */
};

struct rz_prefix {
    struct rz_kv *kv;
    struct rz_prefix_entry *entries; /* [n_entries]              */
    int32_t *tokens;                 /* [n_entries][page_tokens] */
    int32_t *pages;                  /* [n_entries][n_groups]; -1: forgotten, or never there */
    uint32_t *buckets;               /* [mask + 1]               */
    uint32_t *path;                  /* [n_entries] of the text looked at last */
    uint32_t n_entries, n_used, mask, free, newest, oldest;
    uint64_t seed;
    uint64_t version;       /* grows when something is added      */
    uint64_t queries, hits; /* tokens asked for, and those found  */
    uint64_t evictions;     /* pages and states that had to go    */
};

/* The beginning of a text. */
struct rz_prefix_text {
    const int32_t *tokens;
    uint32_t n, variant;
};

/* Over the pages of kv, which from now on asks it to evict. */
int32_t rz_prefix_init(struct rz_prefix *p, struct rz_kv *kv, struct rz_err *err);
/* No sequence holds pages any more, or kv is about to end. */
void rz_prefix_deinit(struct rz_prefix *p);

/* How many tokens of the text a sequence could take: whole pages, and a state if there are slots. *known: how
 * many the cache knows the tokens of. */
uint32_t rz_prefix_find(struct rz_prefix *p, const struct rz_prefix_text *text, uint32_t *known);
/* An empty sequence takes these pages and a slot. Returns the number of tokens, 0 for none; copy->from is the
 * slot to copy its state from before it runs, -1: there is nothing to copy. */
uint32_t rz_prefix_take(struct rz_prefix *p, struct rz_kv_seq *seq, const struct rz_prefix_text *text,
                        struct rz_state_copy *copy);
/* All of the text is computed and in the pages of the sequence: keeps its whole pages. */
void rz_prefix_add(struct rz_prefix *p, const struct rz_kv_seq *seq, const struct rz_prefix_text *text);
/* The slot that the state behind the text, which ends with a page that was added, is to be saved in; -1: it
 * is there already, or there is no room. That of the first `instead` tokens goes in its favour; 0: none. */
int32_t rz_prefix_save(struct rz_prefix *p, const struct rz_prefix_text *text, uint32_t instead);
/* Forgets everything. */
void rz_prefix_clear(struct rz_prefix *p);

#endif
