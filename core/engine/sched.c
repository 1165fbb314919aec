/* sched.c - admission, preemption, and the rows of a step.
 *
 * Invariant: waiting and running are sorted, what is due first; only running sequences hold pages. At most
 * max_running run, chosen so that every one of them could decode in the same step: so no row that is
 * due is ever left out, and at least one row is left for the oldest prompt.
 */
#include "schedule.h"

#include "err.h"

#include <stdlib.h>
#include <string.h>

#define LOGITS_ROWS 64 /* of a prompt whose logits are all wanted: they are many bytes */

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

int32_t rz_sched_init(struct rz_sched *s, struct rz_kv *kv, const struct rz_plan_limits *limits,
                      uint32_t max_rows, uint32_t max_known, struct rz_err *err)
{
    *s = (struct rz_sched){.kv = kv, .max_rows = max_rows, .max_known = max_known};
    if (!max_rows || max_rows > limits->max_rows || !limits->max_seqs || !limits->max_wanted || !max_known)
        return rz_fail(
            err, RZ_EINVAL, "engine",
            "max_batch_tokens %u of max_rows %u, max_seqs %u, max_wanted %u, max_queue %u: none may "
            "be 0, and the first at most the second",
            max_rows, limits->max_rows, limits->max_seqs, limits->max_wanted, max_known);
    s->max_running = min_u32(min_u32(limits->max_seqs, limits->max_wanted), max_rows);
    if (kv->n_slots)
        s->max_running = min_u32(s->max_running, kv->n_slots);
    int32_t rc = rz_step_init(&s->step, limits, kv->n_groups, err);
    if (rc)
        return rc;
    s->waiting = calloc(max_known, sizeof(struct rz_seq *));
    s->running = calloc(s->max_running, sizeof(struct rz_seq *));
    if (!s->waiting || !s->running) {
        rz_sched_deinit(s);
        return rz_fail(err, RZ_ENOMEM, "engine", "no memory for a queue of %u requests", max_known);
    }
    return RZ_OK;
}

void rz_sched_deinit(struct rz_sched *s)
{
    rz_step_deinit(&s->step);
    free(s->waiting);
    free(s->running);
    *s = (struct rz_sched){0};
}

/* --- the two lists --- */

static bool after(const struct rz_seq *a, const struct rz_seq *b)
{
    return a->due != b->due ? a->due > b->due : a->order > b->order;
}

static void list_insert(struct rz_seq **list, uint32_t *n, struct rz_seq *seq)
{
    uint32_t i = (*n)++;
    for (; i && after(list[i - 1], seq); i--)
        list[i] = list[i - 1];
    list[i] = seq;
}

static void list_remove(struct rz_seq **list, uint32_t *n, const struct rz_seq *seq)
{
    uint32_t i = 0;
    while (i < *n && list[i] != seq)
        i++;
    if (i == *n)
        return;
    (*n)--;
    memmove(list + i, list + i + 1, (*n - i) * sizeof(struct rz_seq *));
}

bool rz_sched_add(struct rz_sched *s, struct rz_seq *seq)
{
    if (s->n_waiting + s->n_running >= s->max_known)
        return false;
    seq->order = s->n_orders++;
    seq->state = RZ_SEQ_WAITING;
    seq->n_done = seq->n_rows = seq->n_guesses = seq->n_shared = seq->n_followers = 0;
    seq->again = false;
    seq->result = -1;
    if (seq->like)
        seq->like->n_followers++;
    list_insert(s->waiting, &s->n_waiting, seq);
    return true;
}

/* It needs nobody else any more, or nobody is there. */
static void unlike(struct rz_seq *seq)
{
    if (seq->like)
        seq->like->n_followers--;
    seq->like = NULL;
}

void rz_sched_remove(struct rz_sched *s, struct rz_seq *seq)
{
    if (seq->state == RZ_SEQ_RUNNING)
        list_remove(s->running, &s->n_running, seq);
    else if (seq->state == RZ_SEQ_WAITING)
        list_remove(s->waiting, &s->n_waiting, seq);
    unlike(seq);
    for (uint32_t i = 0; i < s->n_waiting && seq->n_followers; i++)
        if (s->waiting[i]->like == seq)
            unlike(s->waiting[i]);
    rz_kv_drop(s->kv, &seq->kv);
    seq->state = RZ_SEQ_OUT;
    seq->n_done = seq->n_rows = seq->n_guesses = 0;
    seq->result = -1;
}

static void preempt(struct rz_sched *s, struct rz_seq *seq)
{
    list_remove(s->running, &s->n_running, seq);
    rz_kv_drop(s->kv, &seq->kv);
    seq->state = RZ_SEQ_WAITING;
    seq->n_done = seq->n_rows = seq->n_guesses = 0;
    seq->result = -1;
    seq->again = true;
    list_insert(s->waiting, &s->n_waiting, seq);
    s->preempted++;
}

/* --- admission --- */

static struct rz_seq *youngest_paused(const struct rz_sched *s, const struct rz_seq *except)
{
    for (uint32_t i = s->n_running; i--;)
        if (s->running[i]->paused && s->running[i] != except)
            return s->running[i];
    return NULL;
}

/* Pages of a group that running sequences do not need for the tokens that they know already. */
static uint32_t spare_pages(const struct rz_sched *s, uint32_t group)
{
    uint32_t n = rz_kv_free(s->kv, group);
    for (uint32_t i = 0; i < s->n_running; i++) {
        const struct rz_seq *seq = s->running[i];
        uint32_t need = rz_kv_most(s->kv, group, seq->n_tokens, s->max_rows);
        uint32_t held = rz_kv_held(&seq->kv, group);
        if (need > held)
            n -= min_u32(n, need - held);
    }
    return n;
}

/* In company a page to grow into is asked for as well: else a sequence that gave way would come back, be
 * computed anew, and give way again at the next page. */
static bool admissible(const struct rz_sched *s, const struct rz_seq *seq)
{
    bool fits = s->n_running < s->max_running;
    for (uint32_t g = 0; g < s->kv->n_groups && fits; g++)
        fits = rz_kv_most(s->kv, g, seq->n_tokens, s->max_rows) + (s->n_running != 0) <=
               spare_pages(s, g) + rz_kv_held(&seq->kv, g);
    return fits;
}

/* Is the prompt that seq shares still to be computed? One that was computed once, or whose reader is slow,
 * is not waited for. */
static bool follows(const struct rz_seq *seq)
{
    const struct rz_seq *like = seq->like;
    return like && !like->paused && like->n_tokens == seq->n_tokens && like->n_done + 1 < seq->n_tokens;
}

static void count_hits(const struct rz_sched *s, const struct rz_seq *seq)
{
    if (!s->prefix)
        return;
    s->prefix->queries += seq->n_tokens;
    s->prefix->hits += seq->n_shared;
}

/* Lets a sequence run, with what it can share; false: there is no room, and nothing has changed. */
static bool enter(struct rz_sched *s, struct rz_seq *seq)
{
    uint32_t n_copies = s->step.batch.n_state_copies, n = rz_share_begin(s, seq);
    if (!admissible(s, seq)) {
        rz_kv_drop(s->kv, &seq->kv);
        s->step.batch.n_state_copies = n_copies;
        return false;
    }
    unlike(seq);
    seq->n_done = n;
    if (!seq->again) {
        seq->n_shared = n;
        count_hits(s, seq);
    }
    list_remove(s->waiting, &s->n_waiting, seq);
    seq->state = RZ_SEQ_RUNNING;
    list_insert(s->running, &s->n_running, seq);
    return true;
}

/* Strictly in order, so that a large request is not passed by small ones for ever. */
static void admit(struct rz_sched *s)
{
    for (;;) {
        uint32_t i = 0;
        while (i < s->n_waiting && (s->waiting[i]->paused || follows(s->waiting[i])))
            i++;
        if (i == s->n_waiting)
            return;
        struct rz_seq *next = s->waiting[i], *idle;
        while (!enter(s, next)) {
            if (!(idle = youngest_paused(s, NULL)))
                return;
            preempt(s, idle);
        }
    }
}

/* --- a step --- */

/* Who gives way to seq: a paused sequence, else the youngest, which may be seq itself. */
static struct rz_seq *victim(const struct rz_sched *s, const struct rz_seq *seq)
{
    struct rz_seq *idle = youngest_paused(s, seq);
    return idle ? idle : s->running[s->n_running - 1];
}

/* Lets every running sequence write its next position, oldest first. */
static void reserve(struct rz_sched *s)
{
    for (uint32_t i = 0; i < s->n_running; i++)
        rz_kv_trim(s->kv, &s->running[i]->kv, s->running[i]->n_done);
    for (uint32_t i = 0; i < s->n_running;) {
        struct rz_seq *seq = s->running[i];
        if (seq->paused || rz_step_reserve(&s->step, s->kv, &seq->kv, seq->n_done)) {
            i++;
            continue;
        }
        preempt(s, victim(s, seq));
        i = 0; /* places have moved; a second reservation changes nothing */
    }
}

/* As many rows of a prompt as the budgets and the free pages allow: at least one, it is reserved. */
static uint32_t chunk(struct rz_sched *s, struct rz_seq *seq, uint32_t budget)
{
    uint32_t all = seq->n_tokens - seq->n_done, n = min_u32(all, budget);
    uint32_t results = s->step.max_wanted - s->step.n_wanted;
    n = min_u32(n, seq->want_all || !results ? results : n);
    if (seq->want_all && seq->want == RZ_WANT_LOGITS)
        n = min_u32(n, LOGITS_ROWS);
    uint64_t reach = (uint64_t)(seq->kv.n_pages + rz_kv_available(s->kv)) * s->kv->page_tokens;
    if (reach < (uint64_t)seq->n_done + n)
        n = (uint32_t)(reach - seq->n_done);
    if (seq->whole && n < all)
        return 0;
    /* Who shares the prompt needs the state as it is before the last token. */
    if (seq->n_followers && n == all)
        n--;
    n = rz_share_chunk(s, seq, n);
    return n && rz_kv_grow(s->kv, &seq->kv, (uint64_t)seq->n_done + n) ? n : 0;
}

static void add_rows(struct rz_sched *s, struct rz_seq *seq, uint32_t n)
{
    struct rz_step_rows rows = {.tokens = seq->tokens,
                                .from = seq->n_done,
                                .n = n,
                                .want_from = seq->want_all ? 0 : seq->n_tokens - 1,
                                .want = seq->want,
                                .k = seq->k,
                                .gap = seq->gap,
                                .rope_variant = seq->rope_variant};
    seq->n_rows = n;
    seq->result = rz_step_add(&s->step, &seq->kv, &rows);
}

bool rz_seq_decodes(const struct rz_seq *seq)
{
    return seq->state == RZ_SEQ_RUNNING && !seq->paused && seq->n_tokens - seq->n_done == 1;
}

/* What guesses of all sequences may take. */
struct guess_budget {
    uint32_t rows, pages;
};

/* Prompts keep half of the rows that are left, and every other sequence its result. */
static struct guess_budget guess_budget(const struct rz_sched *s, uint32_t n_decode)
{
    uint32_t left = s->max_rows - n_decode, results = s->step.max_wanted - s->n_running;
    bool prompts = n_decode < s->n_running;
    struct guess_budget b = {.rows = min_u32(prompts ? left / 2 : left, results), .pages = s->kv->n_pages};
    for (uint32_t g = 0; g < s->kv->n_groups; g++)
        b.pages = min_u32(b.pages, spare_pages(s, g));
    return b;
}

/* As many of its guesses as the budget allows, with pages for them. */
static uint32_t grant(struct rz_sched *s, struct rz_seq *seq, struct guess_budget *b)
{
    uint32_t n = min_u32(seq->n_guesses, b->rows), had = seq->kv.n_pages;
    uint64_t reach = (uint64_t)(had + b->pages) * s->kv->page_tokens;
    if (s->kv->n_groups && reach < (uint64_t)seq->n_tokens + n)
        n = reach > seq->n_tokens ? (uint32_t)(reach - seq->n_tokens) : 0;
    if (!n || !rz_kv_grow(s->kv, &seq->kv, (uint64_t)seq->n_tokens + n))
        return 0;
    b->rows -= n;
    b->pages -= seq->kv.n_pages - had;
    return n;
}

/* The rows of sequences that decode; returns how many. */
static uint32_t add_decoding(struct rz_sched *s)
{
    uint32_t n = 0, rows = 0;
    bool guesses = false;
    for (uint32_t i = 0; i < s->n_running; i++) {
        n += rz_seq_decodes(s->running[i]);
        guesses |= s->running[i]->n_guesses != 0;
    }
    struct guess_budget budget = guesses ? guess_budget(s, n) : (struct guess_budget){0, 0};
    for (uint32_t i = 0; i < s->n_running; i++) {
        struct rz_seq *seq = s->running[i];
        seq->n_rows = 0;
        seq->result = -1;
        if (!rz_seq_decodes(seq)) {
            seq->n_guesses = 0;
            continue;
        }
        seq->n_guesses = grant(s, seq, &budget);
        add_rows(s, seq, 1 + seq->n_guesses);
        rows += seq->n_rows;
    }
    return rows;
}

const struct rz_batch *rz_sched_build(struct rz_sched *s)
{
    rz_step_clear(&s->step);
    rz_share_catch_up(s);
    admit(s);
    reserve(s);
    rz_share_save(s);
    uint32_t rows = add_decoding(s), left = s->max_rows - rows;
    if (rows && s->chunk)
        left = min_u32(left, s->chunk);
    for (uint32_t i = 0; i < s->n_running && left; i++) {
        struct rz_seq *seq = s->running[i];
        uint32_t n = seq->paused || seq->n_rows ? 0 : chunk(s, seq, left);
        if (n)
            add_rows(s, seq, n);
        left -= n;
    }
    return s->step.batch.n_rows ? &s->step.batch : NULL;
}

void rz_sched_done(struct rz_sched *s)
{
    for (uint32_t i = 0; i < s->n_running; i++) {
        struct rz_seq *seq = s->running[i];
        seq->n_done += seq->n_rows - (seq->n_rows ? seq->n_guesses : 0);
        seq->n_rows = 0;
    }
    rz_share_done(s);
}

void rz_sched_failed(struct rz_sched *s)
{
    for (uint32_t i = s->n_running; i--;)
        if (!s->running[i]->n_rows)
            preempt(s, s->running[i]);
    if (s->prefix)
        rz_prefix_clear(s->prefix);
}

void rz_sched_restart(struct rz_sched *s)
{
    while (s->n_running)
        preempt(s, s->running[s->n_running - 1]);
    if (s->prefix)
        rz_prefix_clear(s->prefix);
}

void rz_sched_keep(struct rz_sched *s, struct rz_seq *seq)
{
    if (seq->n_guesses) {
        seq->n_done = seq->n_tokens - 1;
        rz_kv_cut(s->kv, &seq->kv, seq->n_tokens);
    }
    seq->n_guesses = 0;
}
