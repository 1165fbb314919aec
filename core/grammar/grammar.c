/* grammar.c - a compiled grammar: rules, automaton, masks. See grammar.h.
 *
 * Owns the lock, the generation, and the masks of the states that were asked for last. The automaton is
 * renewed at the beginning of a call only, so that within a call state numbers stay what they are.
 */
#include "grammar.h"

#include "automaton.h"
#include "err.h"
#include "frontend.h"
#include "mask.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MASKS_BYTES (4u << 20)
#define MASKS_MAX 512u

/* A mask that is kept. */
struct slot {
    uint32_t state; /* 0: free */
    uint32_t flags;
    uint32_t older, newer; /* in the order of use; slot 0 is the ends of that list */
    uint32_t chained;      /* the next one of the same hash                        */
    uint32_t deepest;      /* bytes of a text that had an influence                */
};

struct rz_grammar {
    struct rz_nfa nfa;
    struct rz_automaton automaton;
    const struct rz_trie *trie;
    pthread_mutex_t lock;
    uint32_t refs, generation;
    struct slot *slots; /* [n_slots + 1] */
    uint32_t *heads;    /* [n_slots + 1] by hash of the state */
    uint64_t *masks;    /* [n_slots + 1][n_words] */
    uint32_t n_slots, masks_made, masks_found;
    struct rz_masker masker;
};

/* --- life --- */

static int32_t init_masks(struct rz_grammar *g, struct rz_err *err)
{
    if (!g->trie)
        return RZ_OK;
    uint64_t each = g->trie->n_words * sizeof(uint64_t), n = MASKS_BYTES / (each ? each : 1);
    g->n_slots = n > MASKS_MAX ? MASKS_MAX : n < 16 ? 16 : (uint32_t)n;
    g->slots = calloc(g->n_slots + 1, sizeof(*g->slots));
    g->heads = calloc(g->n_slots + 1, sizeof(*g->heads));
    g->masks = calloc(g->n_slots + 1, each);
    if (!g->slots || !g->heads || !g->masks)
        return rz_fail(err, RZ_ENOMEM, "grammar", "no memory for its masks");
    return rz_masker_init(&g->masker, &g->automaton, g->trie, err);
}

static void forget_masks(struct rz_grammar *g)
{
    if (!g->trie)
        return;
    memset(g->slots, 0, (g->n_slots + 1) * sizeof(*g->slots));
    memset(g->heads, 0, (g->n_slots + 1) * sizeof(*g->heads));
    for (uint32_t i = 0; i <= g->n_slots; i++) {
        g->slots[i].older = i ? i - 1 : g->n_slots;
        g->slots[i].newer = i < g->n_slots ? i + 1 : 0;
    }
}

int32_t rz_grammar_new(uint32_t kind, const char *text, size_t n, const struct rz_trie *trie,
                       struct rz_grammar **out, struct rz_err *err)
{
    *out = NULL;
    if (n > RZ_GRAMMAR_TEXT_MAX)
        return rz_fail(err, RZ_ELIMIT, "grammar", "%zu bytes: at most %u", n, RZ_GRAMMAR_TEXT_MAX);
    struct rz_grammar *g = calloc(1, sizeof(*g));
    if (!g)
        return rz_fail(err, RZ_ENOMEM, "grammar", "no memory");
    g->refs = g->generation = 1;
    g->trie = trie;
    pthread_mutex_init(&g->lock, NULL);
    rz_nfa_init(&g->nfa);
    if (kind == RZ_GRAMMAR_JSON)
        rz_json_build(&g->nfa);
    else if (kind == RZ_GRAMMAR_JSON_SCHEMA)
        rz_schema_build(&g->nfa, text, n);
    else if (kind == RZ_GRAMMAR_GBNF)
        rz_gbnf_build(&g->nfa, text, n, trie);
    else if (kind == RZ_GRAMMAR_REGEX)
        rz_regex_build(&g->nfa, text, n);
    else
        rz_nfa_bad(&g->nfa, RZ_EINVAL, "grammar", "kind %u is not known", kind);
    int32_t rc = rz_nfa_finish(&g->nfa, trie ? &trie->bytes : NULL, err);
    if (!rc)
        rc = rz_automaton_init(&g->automaton, &g->nfa, err);
    if (!rc)
        rc = init_masks(g, err);
    if (!rc)
        forget_masks(g);
    if (rc)
        rz_grammar_unref(g);
    else
        *out = g;
    return rc;
}

void rz_grammar_ref(struct rz_grammar *g)
{
    pthread_mutex_lock(&g->lock);
    g->refs++;
    pthread_mutex_unlock(&g->lock);
}

void rz_grammar_unref(struct rz_grammar *g)
{
    if (!g)
        return;
    pthread_mutex_lock(&g->lock);
    bool last = !--g->refs;
    pthread_mutex_unlock(&g->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&g->lock);
    rz_automaton_free(&g->automaton);
    rz_nfa_free(&g->nfa);
    free(g->slots);
    free(g->heads);
    free(g->masks);
    rz_masker_free(&g->masker);
    free(g);
}

/* --- where a text stands; the caller of a static function holds the lock --- */

/* Makes room if it is short, all but `at` becoming stale. False: at is stale itself. */
static bool settle(struct rz_grammar *g, struct rz_grammar_at *at)
{
    g->automaton.budget = RZ_AUTOMATON_BUDGET;
    g->automaton.spent = false;
    if (at->generation != g->generation)
        return false;
    if (!rz_automaton_crowded(&g->automaton))
        return true;
    at->state = rz_automaton_renew(&g->automaton, at->state);
    at->generation = ++g->generation;
    forget_masks(g);
    return true;
}

static uint32_t step(struct rz_grammar *g, uint32_t state, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n && state; i++)
        state = rz_automaton_next(&g->automaton, state, (uint8_t)bytes[i]);
    return state;
}

struct rz_grammar_at rz_grammar_begin(struct rz_grammar *g)
{
    struct rz_grammar_at at = {0};
    pthread_mutex_lock(&g->lock);
    if (rz_automaton_crowded(&g->automaton)) {
        rz_automaton_renew(&g->automaton, RZ_STATE_DEAD);
        g->generation++;
        forget_masks(g);
    }
    at.state = rz_automaton_begin(&g->automaton);
    at.generation = g->generation;
    pthread_mutex_unlock(&g->lock);
    return at;
}

bool rz_grammar_fresh(struct rz_grammar *g, struct rz_grammar_at at)
{
    pthread_mutex_lock(&g->lock);
    bool fresh = at.generation == g->generation;
    pthread_mutex_unlock(&g->lock);
    return fresh;
}

bool rz_grammar_bytes(struct rz_grammar *g, struct rz_grammar_at *at, const char *bytes, size_t n)
{
    struct rz_grammar_at to = *at;
    pthread_mutex_lock(&g->lock);
    bool good = true;
    for (size_t i = 0; i < n && good; i++) { /* any number of bytes: room may be made between two */
        good = settle(g, &to);
        to.state = good ? step(g, to.state, bytes + i, 1) : 0;
        good = good && to.state;
    }
    if (good)
        *at = to;
    pthread_mutex_unlock(&g->lock);
    return good;
}

bool rz_grammar_token(struct rz_grammar *g, struct rz_grammar_at *at, int32_t token)
{
    const struct rz_trie *t = g->trie;
    if (!t || token < 0 || (uint32_t)token >= t->n_vocab || t->at[token] == t->at[token + 1])
        return false;
    pthread_mutex_lock(&g->lock);
    bool good = settle(g, at);
    if (good) {
        const char *text = t->text + t->at[token];
        size_t n = t->at[token + 1] - t->at[token];
        uint32_t to = t->normal[token] ? step(g, at->state, text, n) : 0;
        if (!to && rz_trie_is_special(t, token))
            to = step(g, rz_automaton_next(&g->automaton, at->state, RZ_NFA_CONTROL), text, n);
        good = to != 0;
        if (good)
            at->state = to;
    }
    pthread_mutex_unlock(&g->lock);
    return good;
}

bool rz_grammar_accepts(struct rz_grammar *g, struct rz_grammar_at at, bool *over)
{
    pthread_mutex_lock(&g->lock);
    bool fresh = at.generation == g->generation;
    *over = fresh && rz_automaton_over(&g->automaton, at.state);
    bool accepts = fresh && rz_automaton_accepts(&g->automaton, at.state);
    pthread_mutex_unlock(&g->lock);
    return accepts;
}

/* --- masks --- */

static uint32_t flags_of(struct rz_grammar *g, uint32_t state, const uint64_t *mask)
{
    uint64_t any = 0;
    uint32_t flags = rz_automaton_accepts(&g->automaton, state) ? RZ_GRAMMAR_ENDS : 0;
    if (rz_automaton_over(&g->automaton, state))
        return flags;
    for (uint32_t i = 0; i < g->trie->n_words; i++)
        any |= mask[i];
    return flags | (any ? RZ_GRAMMAR_TOKENS : 0);
}

static void unlink_slot(struct rz_grammar *g, uint32_t i)
{
    g->slots[g->slots[i].older].newer = g->slots[i].newer;
    g->slots[g->slots[i].newer].older = g->slots[i].older;
}

/* Puts a slot behind all others in the order of use. */
static void use_slot(struct rz_grammar *g, uint32_t i)
{
    unlink_slot(g, i);
    g->slots[i].newer = 0;
    g->slots[i].older = g->slots[0].older;
    g->slots[g->slots[i].older].newer = i;
    g->slots[0].older = i;
}

static uint32_t find_slot(const struct rz_grammar *g, uint32_t state)
{
    uint32_t i = g->heads[state % g->n_slots];
    while (i && g->slots[i].state != state)
        i = g->slots[i].chained;
    return i;
}

/* The slot that was not used for longest, for a new state. */
static uint32_t take_slot(struct rz_grammar *g, uint32_t state)
{
    uint32_t i = g->slots[0].newer, *from = &g->heads[g->slots[i].state % g->n_slots];
    if (g->slots[i].state) {
        while (*from != i)
            from = &g->slots[*from].chained;
        *from = g->slots[i].chained;
    }
    g->slots[i].state = state;
    g->slots[i].chained = g->heads[state % g->n_slots];
    g->heads[state % g->n_slots] = i;
    return i;
}

/* A new slot for a state; from: the slot of one that does the same with `same` bytes; 0: there is none. */
static uint32_t make_mask(struct rz_grammar *g, uint32_t state, uint32_t from, uint32_t same)
{
    uint64_t words = g->trie->n_words;
    uint32_t i = take_slot(g, state);
    uint64_t *mask = g->masks + i * words;
    if (from)
        memcpy(mask, g->masks + from * words, words * sizeof(*mask));
    if (!from || !rz_mask_patch(&g->masker, state, same, mask))
        rz_mask_fill(&g->masker, state, mask);
    g->slots[i].deepest = g->masker.deepest;
    g->slots[i].flags = flags_of(g, state, mask);
    g->masks_made++;
    if (g->automaton.spent) /* what was not looked at is missing: not to be used */
        g->slots[i].flags = RZ_GRAMMAR_SPENT;
    return i;
}

/* The slot with the mask of a state. States that do the same with all texts of tokens have one together; of
 * those that do so with short ones a mask is made from that of the others. */
static uint32_t slot_of(struct rz_grammar *g, uint32_t state)
{
    static const uint32_t fars[] = {32, 6};
    uint32_t same, i = find_slot(g, state);
    if (i)
        g->masks_found++;
    for (uint32_t k = 0; !i && k < 2; k++) {
        uint32_t alike = rz_automaton_alike(&g->automaton, state, fars[k], &same);
        if (alike == state || !rz_automaton_follows_all(&g->automaton, state))
            continue;
        i = slot_of(g, alike); /* which is alike to itself only, at this distance */
        if (!rz_automaton_follows_all(&g->automaton, state))
            i = 0;
        else if (same < g->slots[i].deepest && !(g->slots[i].flags & RZ_GRAMMAR_SPENT))
            i = make_mask(g, state, i, same);
    }
    i = i ? i : make_mask(g, state, 0, 0);
    use_slot(g, i);
    return i;
}

static uint32_t mask_of(struct rz_grammar *g, struct rz_grammar_at *at)
{
    uint32_t i = slot_of(g, at->state);
    if (g->automaton.full && !g->automaton.spent) {
        settle(g, at); /* what did not fit is missing in the mask: once more with all the room there is */
        i = slot_of(g, at->state);
    }
    return i;
}

uint32_t rz_grammar_mask(struct rz_grammar *g, struct rz_grammar_at *at, uint64_t *mask)
{
    uint32_t words = g->trie->n_words, flags = RZ_GRAMMAR_STALE;
    pthread_mutex_lock(&g->lock);
    if (at->state && settle(g, at)) {
        uint32_t i = mask_of(g, at);
        use_slot(g, i);
        memcpy(mask, g->masks + (uint64_t)i * words, words * sizeof(*mask));
        flags = g->slots[i].flags;
    }
    pthread_mutex_unlock(&g->lock);
    return flags;
}

void rz_grammar_drop_ends(const struct rz_grammar *g, uint64_t *mask)
{
    for (uint32_t i = 0; i < g->trie->n_end; i++)
        mask[g->trie->end[i] >> 6] &= ~(1ull << (g->trie->end[i] & 63));
}

void rz_grammar_cost(struct rz_grammar *g, struct rz_grammar_cost *out)
{
    pthread_mutex_lock(&g->lock);
    *out = (struct rz_grammar_cost){.rules = g->nfa.n_rules,
                                    .nodes = g->nfa.n_nodes,
                                    .classes = g->nfa.n_classes,
                                    .states = g->automaton.n_states,
                                    .masks_made = g->masks_made,
                                    .masks_found = g->masks_found,
                                    .renewed = g->generation - 1};
    pthread_mutex_unlock(&g->lock);
}
