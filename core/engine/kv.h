/* kv.h - who owns which page of the KV storage, and which slot of recurrent state.
 *
 * A fixed pool of pages for each KV group, with reference counts, and the block tables of sequences;
 * beside them slots, of which a sequence that holds anything holds one. A model may have only pages,
 * only slots, or both. Only numbers live here: the bytes are the device's. All groups of a sequence cover
 * the same positions, but in a group with a window a sequence gives the pages before it back as it goes on.
 *
 * Pages and slots may be kept for later beyond the sequences that made them (prefix.c does). What is kept
 * and no sequence's counts as free: evict is called when it is needed. Nothing allocates after init. One
 * thread at a time.
 */
#ifndef RZ_ENGINE_KV_H
#define RZ_ENGINE_KV_H

#include <rz/batch.h>
#include <stdbool.h>

#define RZ_KV_GROUPS_MAX 8

struct rz_kv {
    uint32_t n_groups, n_pages, page_tokens;
    uint32_t n_out;                     /* of n_pages: the last are nobody's any more            */
    uint32_t *n_free;                   /* [n_groups]                                            */
    int32_t *free_list;                 /* [n_groups][n_pages]: the first n_free[g] are the free */
    uint32_t *refs;                     /* [n_groups][n_pages]: block tables that name the page  */
    bool *kept;                         /* [n_groups][n_pages]                                   */
    uint32_t *n_idle;                   /* [n_groups]: pages that are kept and in no block table */
    uint32_t windows[RZ_KV_GROUPS_MAX]; /* positions that a row of the group sees; 0: all       */
    uint32_t n_slots, n_free_slots;
    int32_t *free_slots;   /* [n_slots]: the first n_free_slots are the free */
    uint32_t n_kept_slots; /* which are no sequence's                        */
    /* Forgets an idle page of the group, or a kept slot if group is n_groups. */
    void (*evict)(void *ctx, uint32_t group);
    void *evict_ctx;
};

/* The pages of one sequence. */
struct rz_kv_seq {
    uint32_t n_pages, max_pages; /* covered, and room for, in each group                */
    uint32_t *first;             /* [n_groups]: pages before this one were given back    */
    int32_t *table;              /* [n_groups][max_pages]             */
    const int32_t **groups;      /* [n_groups]: rows of table, as rz_batch_seq.pages wants them */
    int32_t slot;                /* of recurrent state; -1: none      */
};

/* What there is of everything; n_groups or n_slots may be 0, but not both. */
struct rz_kv_sizes {
    uint32_t n_groups, n_pages, page_tokens, n_slots;
};

/* All groups without a window, until the caller sets kv->windows. */
int32_t rz_kv_init(struct rz_kv *kv, const struct rz_kv_sizes *sizes, struct rz_err *err);
void rz_kv_deinit(struct rz_kv *kv);
/* From now on only the first n pages of each group are given out. Nothing is held or kept. */
void rz_kv_limit(struct rz_kv *kv, uint32_t n);
/* The positions that all of the pages hold. */
uint64_t rz_kv_tokens(const struct rz_kv *kv);

/* An empty sequence that may grow to max_tokens; false: no memory. */
bool rz_kv_seq_init(const struct rz_kv *kv, struct rz_kv_seq *seq, uint64_t max_tokens);
/* Gives its pages and its slot back, then its memory. */
void rz_kv_seq_deinit(struct rz_kv *kv, struct rz_kv_seq *seq);

/* Pages that tokens positions need if none is given back. */
uint32_t rz_kv_pages(const struct rz_kv *kv, uint64_t tokens);
/* Pages of one group that a sequence of that many tokens ever holds at once, with steps of at most rows. */
uint32_t rz_kv_most(const struct rz_kv *kv, uint32_t group, uint64_t tokens, uint32_t rows);
/* Pages of one group that the sequence holds now. */
uint32_t rz_kv_held(const struct rz_kv_seq *seq, uint32_t group);
/* Pages that are free in one group, and in every group. */
uint32_t rz_kv_free(const struct rz_kv *kv, uint32_t group);
uint32_t rz_kv_available(const struct rz_kv *kv);
/* Makes the sequence cover positions 0..tokens-1, and hold a slot if there are any. All or nothing; false:
 * too few pages, or no slot, are free. */
bool rz_kv_grow(struct rz_kv *kv, struct rz_kv_seq *seq, uint64_t tokens);
/* The first page that a row at pos sees. */
uint32_t rz_kv_first(const struct rz_kv *kv, uint32_t group, uint64_t pos);
/* Gives back what no row at position pos or behind it sees. */
void rz_kv_trim(struct rz_kv *kv, struct rz_kv_seq *seq, uint64_t pos);
/* Gives back what lies wholly behind the first tokens positions. */
void rz_kv_cut(struct rz_kv *kv, struct rz_kv_seq *seq, uint64_t tokens);
/* Gives all pages of the sequence, and its slot, back. */
void rz_kv_drop(struct rz_kv *kv, struct rz_kv_seq *seq);
/* An empty sequence takes the pages that hold the first tokens positions of another, as a second owner, and
 * a slot of its own; the state itself is for the caller to copy. false: seq has no room for them, from does
 * not cover them or gave some back that the next row sees, or no slot is free. */
bool rz_kv_share(struct rz_kv *kv, struct rz_kv_seq *seq, const struct rz_kv_seq *from, uint64_t tokens);
/* Before position pos (covered) is written: gives the sequence a copy of its own where the page has
 * other owners. Writes at most n_groups orders to copies and their number to *n_copies. All or nothing;
 * false: too few pages are free. */
bool rz_kv_own(struct rz_kv *kv, struct rz_kv_seq *seq, uint64_t pos, struct rz_page_copy *copies,
               uint32_t *n_copies);

/* A page in use is kept from now on, until it is forgotten. */
void rz_kv_keep(struct rz_kv *kv, uint32_t group, int32_t page);
void rz_kv_forget(struct rz_kv *kv, uint32_t group, int32_t page);
/* A slot for a state that outlives its sequence; -1: none is free or could be made so. */
int32_t rz_kv_keep_slot(struct rz_kv *kv);
void rz_kv_forget_slot(struct rz_kv *kv, int32_t slot);
/* An empty sequence takes the first n pages, all kept, that page names, as another owner, and a slot of its
 * own; not those before the first that a row behind them sees, for which page is not called. false: it has no
 * room for them, or no slot is free. */
bool rz_kv_adopt(struct rz_kv *kv, struct rz_kv_seq *seq, uint32_t n,
                 int32_t (*page)(void *ctx, uint32_t group, uint32_t index), void *ctx);

#endif
