/* fake_device.c - see fake_device.h. */
#include "fake_device.h"

#include "err.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t mix(uint64_t h, uint64_t v)
{
    h ^= v + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
    h *= 0xff51afd7ed558ccdu;
    return h ^ h >> 33;
}

/* before: the token that stood f->period before the next one; -1: none. */
static void logits_of(const struct fake *f, uint64_t hash, int32_t before, float *logits)
{
    bool repeat = before >= 0 && hash % 8;
    hash = repeat || !f->salt ? hash : mix(hash, f->salt);
    for (uint32_t v = 0; v < FAKE_VOCAB; v++) {
        uint64_t h = mix(hash, v);
        logits[v] = ((float)(h >> 40) * 0x1p-23f - 1.0f) * f->spread;
    }
    if (repeat)
        logits[before] = 1.5f * f->spread;
    if (f->never_end)
        logits[FAKE_END] = -2 * f->spread;
}

static void hidden_of(uint64_t hash, float *hidden)
{
    for (uint32_t i = 0; i < FAKE_EMBD; i++)
        hidden[i] = (float)(mix(hash, 1000 + i) >> 40);
}

#define HASH_OF_NOTHING 7

static uint64_t hash_on(uint64_t hash, int32_t token, uint32_t pos)
{
    return mix(hash, (uint64_t)token << 32 | pos);
}

/* Does a row at pos see position p? Groups take turns, so all of them matter. */
static bool sees(const struct fake *f, uint32_t pos, uint32_t p)
{
    uint32_t window = f->n_groups ? f->windows[p % f->n_groups] : 0;
    return !window || p + window > pos;
}

static uint64_t hash_of(const struct fake *f, const int32_t *tokens, uint32_t n)
{
    uint64_t hash = HASH_OF_NOTHING;
    for (uint32_t i = 0; i < n; i++)
        if (!f || sees(f, n - 1, i))
            hash = hash_on(hash, tokens[i], i);
    return hash;
}

void fake_logits(const struct fake *f, const int32_t *tokens, uint32_t n, float *logits)
{
    logits_of(f, hash_of(f, tokens, n), f->period && n >= f->period ? tokens[n - f->period] : -1, logits);
}

void fake_hidden(const int32_t *tokens, uint32_t n, float *hidden)
{
    hidden_of(hash_of(NULL, tokens, n), hidden);
}

void fake_hidden_all(const int32_t *tokens, uint32_t n, uint32_t pos, float *hidden)
{
    hidden_of(mix(hash_of(NULL, tokens, n), pos), hidden);
}

/* --- the contract --- */

static void breach(struct fake *f, const char *what, uint64_t a, uint64_t b)
{
    if (!f->breaches++)
        snprintf(f->breach, sizeof(f->breach), "%s (%llu, %llu)", what, (unsigned long long)a,
                 (unsigned long long)b);
}

static struct fake_cell *page_of(struct fake *f, uint32_t group, int32_t page)
{
    static struct fake_cell nowhere[4096];
    if (page < 0 || (uint32_t)page >= f->limits.n_pages) {
        breach(f, "page outside the pool", (uint64_t)page, f->limits.n_pages);
        return nowhere;
    }
    return f->cells + ((uint64_t)group * f->limits.n_pages + (uint32_t)page) * f->limits.page_tokens;
}

static struct fake_cell *cell_of(struct fake *f, const struct rz_batch_seq *seq, uint32_t group, uint32_t pos)
{
    int32_t page = seq->pages[group][pos / f->limits.page_tokens];
    return page_of(f, group, page) + pos % f->limits.page_tokens;
}

static void check_rows(struct fake *f, const struct rz_batch *b)
{
    uint32_t wanted = 0, last_seq = 0;
    for (uint32_t i = 0; i < b->n_rows; i++) {
        const struct rz_batch_row *r = &b->rows[i];
        wanted += r->want != RZ_WANT_NONE;
        if (r->seq >= b->n_seqs || r->token < 0 || r->token >= FAKE_VOCAB)
            breach(f, "row of no sequence or no token", r->seq, (uint64_t)r->token);
        else if (r->pos[0] < 0 || (uint32_t)r->pos[0] >= b->seqs[r->seq].length)
            breach(f, "position behind the length", (uint64_t)r->pos[0], b->seqs[r->seq].length);
        else if ((uint32_t)r->pos[0] >= f->limits.max_context)
            breach(f, "position behind the context", (uint64_t)r->pos[0], f->limits.max_context);
        if (i && r->seq == last_seq && r->pos[0] != b->rows[i - 1].pos[0] + 1)
            breach(f, "positions not ascending", (uint64_t)r->pos[0], i);
        last_seq = r->seq;
    }
    if (wanted > f->limits.max_wanted || b->n_rows > f->limits.max_rows || b->n_seqs > f->limits.max_seqs)
        breach(f, "too many rows, sequences or results", b->n_rows, wanted);
    if (!b->n_rows || b->size != sizeof(*b))
        breach(f, "empty batch", b->n_rows, b->size);
}

/* Two sequences must never write the same page, or the same slot, in one step. */
static void check_owners(struct fake *f, const struct rz_batch *b)
{
    for (uint32_t i = 0; i < b->n_seqs && f->limits.n_slots; i++)
        for (uint32_t j = 0; j < i; j++)
            if (b->seqs[i].state_slot == b->seqs[j].state_slot)
                breach(f, "a slot of two sequences", i, j);
    for (uint32_t i = 0; i < b->n_rows; i++) {
        for (uint32_t j = 0; j < i; j++) {
            const struct rz_batch_row *x = &b->rows[i], *y = &b->rows[j];
            for (uint32_t g = 0; g < f->n_groups && x->seq != y->seq; g++)
                if (b->seqs[x->seq].pages[g][(uint32_t)x->pos[0] / f->limits.page_tokens] ==
                    b->seqs[y->seq].pages[g][(uint32_t)y->pos[0] / f->limits.page_tokens])
                    breach(f, "a page written by two sequences", x->seq, y->seq);
        }
    }
}

static void count_step(struct fake *f, const struct rz_batch *b)
{
    uint32_t per_seq[256] = {0}, single = 0, many = 0;
    for (uint32_t i = 0; i < b->n_rows; i++)
        per_seq[b->rows[i].seq % 256]++;
    for (uint32_t i = 0; i < b->n_seqs && i < 256; i++) {
        single += per_seq[i] == 1;
        many += per_seq[i] > 1;
    }
    f->n_mixed += single && many;
    f->most_rows = b->n_rows > f->most_rows ? b->n_rows : f->most_rows;
    f->most_seqs = b->n_seqs > f->most_seqs ? b->n_seqs : f->most_seqs;
    f->n_rows += b->n_rows;
}

/* --- a step --- */

static void copy_pages(struct fake *f, const struct rz_batch *b)
{
    for (uint32_t i = 0; i < b->n_copies; i++) {
        const struct rz_page_copy *c = &b->copies[i];
        memmove(page_of(f, c->group, c->to), page_of(f, c->group, c->from),
                c->n_tokens * sizeof(struct fake_cell));
    }
}

static struct fake_state *state_of(struct fake *f, int32_t slot)
{
    static struct fake_state nowhere;
    if (slot >= 0 && (uint32_t)slot < f->limits.n_slots)
        return &f->states[slot];
    breach(f, "slot outside the pool", (uint64_t)slot, f->limits.n_slots);
    return &nowhere;
}

static void move_states(struct fake *f, const struct rz_batch *b)
{
    for (uint32_t i = 0; i < b->n_state_copies; i++)
        *state_of(f, b->state_copies[i].to) = *state_of(f, b->state_copies[i].from);
    for (uint32_t i = 0; i < b->n_clears; i++)
        *state_of(f, b->clears[i]) = (struct fake_state){.hash = HASH_OF_NOTHING};
}

static void advance_states(struct fake *f, const struct rz_batch *b)
{
    for (uint32_t i = 0; i < b->n_rows && f->limits.n_slots; i++) {
        struct fake_state *s = state_of(f, b->seqs[b->rows[i].seq].state_slot);
        uint32_t pos = (uint32_t)b->rows[i].pos[0];
        if (s->next != pos)
            breach(f, "a state at another position", s->next, pos);
        s->next = pos + 1;
        s->hash = f->hashes[i] = hash_on(s->hash, b->rows[i].token, pos);
    }
}

static void store_rows(struct fake *f, const struct rz_batch *b)
{
    for (uint32_t i = 0; i < b->n_rows; i++)
        for (uint32_t g = 0; g < f->n_groups; g++)
            *cell_of(f, &b->seqs[b->rows[i].seq], g, (uint32_t)b->rows[i].pos[0]) =
                (struct fake_cell){.token = b->rows[i].token, .pos = b->rows[i].pos[0]};
}

/* What lies in the pages that the row sees. */
static uint64_t read_back(struct fake *f, const struct rz_batch *b, uint32_t index)
{
    const struct rz_batch_row *row = &b->rows[index];
    uint64_t hash = HASH_OF_NOTHING;
    bool all = b->seqs[row->seq].mask == RZ_MASK_ALL;
    uint32_t end = all ? b->seqs[row->seq].length : (uint32_t)row->pos[0] + 1;
    if (!f->n_groups)
        return f->hashes[index];
    for (uint32_t p = 0; p < end; p++) {
        if (!sees(f, (uint32_t)row->pos[0], p))
            continue;
        const struct fake_cell *c = cell_of(f, &b->seqs[row->seq], p % f->n_groups, p);
        if (c->pos != (int32_t)p)
            breach(f, "a page holds another position", (uint64_t)c->pos, p);
        hash = hash_on(hash, c->token, (uint32_t)c->pos);
    }
    if (f->limits.n_slots && hash != f->hashes[index])
        breach(f, "pages and state of different texts", index, (uint64_t)row->pos[0]);
    return all ? mix(hash, (uint64_t)row->pos[0]) : hash;
}

/* The token in the pages that stood the period before the one that follows the row. */
static int32_t token_before(struct fake *f, const struct rz_batch *b, const struct rz_batch_row *row)
{
    uint32_t n = (uint32_t)row->pos[0] + 1, p = n - f->period;
    return f->period && f->n_groups && n >= f->period
               ? cell_of(f, &b->seqs[row->seq], p % f->n_groups, p)->token
               : -1;
}

/* As little as RZ_WANT_TOP_K allows: nothing but the k best within the gap. */
static void keep_best(float *x, uint32_t k, float gap)
{
    float all[FAKE_VOCAB];
    memcpy(all, x, sizeof(all));
    for (uint32_t v = 0; v < FAKE_VOCAB; v++) {
        uint32_t better = 0, far = 0;
        for (uint32_t u = 0; u < FAKE_VOCAB; u++) {
            better += all[u] > all[v];
            far += gap > 0 && (double)all[u] - all[v] > gap;
        }
        if (better >= k || far)
            x[v] = -INFINITY;
    }
}

/* What a failed step may leave: nothing of what it names. */
static int32_t fail_step(struct fake *f, const struct rz_batch *b, struct rz_err *err)
{
    for (uint32_t i = 0; i < b->n_copies; i++)
        memset(page_of(f, b->copies[i].group, b->copies[i].to), 0xff,
               f->limits.page_tokens * sizeof(struct fake_cell));
    for (uint32_t i = 0; i < b->n_rows; i++)
        for (uint32_t g = 0; g < f->n_groups; g++)
            *cell_of(f, &b->seqs[b->rows[i].seq], g, (uint32_t)b->rows[i].pos[0]) =
                (struct fake_cell){-1, -1};
    for (uint32_t i = 0; i < b->n_state_copies; i++)
        memset(state_of(f, b->state_copies[i].to), 0xff, sizeof(struct fake_state));
    for (uint32_t i = 0; i < b->n_seqs && f->limits.n_slots; i++)
        memset(state_of(f, b->seqs[i].state_slot), 0xff, sizeof(struct fake_state));
    return rz_fail(err, f->fail_code ? f->fail_code : RZ_EDEVICE, "fake", "step %llu was told to fail",
                   (unsigned long long)f->n_executes);
}

static int32_t run_step(struct fake *f, const struct rz_batch *b, struct rz_result *out, struct rz_err *err)
{
    uint32_t n = 0;
    f->n_executes++;
    check_rows(f, b);
    if (f->breaches)
        return rz_fail(err, RZ_EINTERNAL, "fake", "%s", f->breach);
    check_owners(f, b);
    count_step(f, b);
    if (f->n_executes == f->fail_at || (f->fail_from && f->n_executes >= f->fail_from))
        return fail_step(f, b, err);
    copy_pages(f, b);
    move_states(f, b);
    store_rows(f, b);
    advance_states(f, b);
    for (uint32_t i = 0; i < b->n_rows; i++) {
        if (b->rows[i].want == RZ_WANT_NONE)
            continue;
        uint64_t hash = read_back(f, b, i);
        if (b->rows[i].want >= RZ_WANT_LOGITS)
            logits_of(f, hash, token_before(f, b, &b->rows[i]), f->logits + (uint64_t)n * FAKE_VOCAB);
        if (b->rows[i].want == RZ_WANT_TOP_K)
            keep_best(f->logits + (uint64_t)n * FAKE_VOCAB, b->rows[i].k, b->rows[i].gap);
        f->n_top_k += b->rows[i].want == RZ_WANT_TOP_K;
        if (b->rows[i].want == RZ_WANT_HIDDEN)
            hidden_of(hash, f->hidden + (uint64_t)n * FAKE_EMBD);
        n++;
    }
    if (f->nan_at && f->n_executes == f->nan_at && n)
        f->logits[FAKE_VOCAB / 2] = NAN;
    out->n = n;
    out->logits = f->logits;
    out->hidden = f->hidden;
    out->logits_stride = FAKE_VOCAB;
    out->hidden_stride = FAKE_EMBD;
    return RZ_OK;
}

static int32_t fake_execute(struct rz_plan *plan, const struct rz_batch *b, struct rz_result *out,
                            struct rz_err *err)
{
    struct fake *f = (struct fake *)plan;
    if (atomic_exchange(&f->inside, true))
        breach(f, "two steps at the same time", f->n_executes, 0);
    int32_t rc = run_step(f, b, out, err);
    atomic_store(&f->inside, false);
    return rc;
}

/* A page or a state; NULL: there is none. */
static void *bytes_of(struct fake *f, uint32_t group, int32_t index, uint64_t *n)
{
    bool state = group == f->n_groups;
    *n = state ? sizeof(struct fake_state) : f->limits.page_tokens * sizeof(struct fake_cell);
    if (index < 0 || (uint32_t)index >= (state ? f->limits.n_slots : f->limits.n_pages))
        return NULL;
    return state ? (void *)state_of(f, index) : page_of(f, group, index);
}

static int64_t fake_fetch(struct rz_plan *plan, uint32_t group, int32_t index, void *out, uint64_t n,
                          struct rz_err *err)
{
    uint64_t bytes;
    const void *p = bytes_of((struct fake *)plan, group, index, &bytes);
    if (!p || (out && n != bytes))
        return rz_fail(err, RZ_EINVAL, "fake", "no such page");
    if (out)
        memcpy(out, p, n);
    return (int64_t)bytes;
}

static int32_t fake_store(struct rz_plan *plan, uint32_t group, int32_t index, const void *in, uint64_t n,
                          struct rz_err *err)
{
    uint64_t bytes;
    void *p = bytes_of((struct fake *)plan, group, index, &bytes);
    if (!p || n != bytes)
        return rz_fail(err, RZ_EINVAL, "fake", "no such page");
    memcpy(p, in, n);
    return RZ_OK;
}

static int32_t fake_info(struct rz_plan *plan, struct rz_plan_info *out)
{
    (void)plan;
    *out = (struct rz_plan_info){.size = out->size,
                                 .wants = 1u << RZ_WANT_HIDDEN | 1u << RZ_WANT_LOGITS | 1u << RZ_WANT_TOP_K,
                                 .weight_bytes = 4242};
    return RZ_OK;
}

void fake_init(struct fake *f, const struct rz_plan_limits *limits, uint32_t n_groups)
{
    uint64_t cells = (uint64_t)n_groups * limits->n_pages * limits->page_tokens;
    *f = (struct fake){.limits = *limits, .n_groups = n_groups, .spread = 4};
    f->table = (struct rz_device){.size = sizeof(f->table),
                                  .name = "fake",
                                  .ctx = f,
                                  .info = fake_info,
                                  .execute = fake_execute,
                                  .fetch = fake_fetch,
                                  .store = fake_store};
    f->states = malloc((limits->n_slots + 1) * sizeof(*f->states));
    f->hashes = malloc(limits->max_rows * sizeof(*f->hashes));
    f->cells = malloc((cells + 1) * sizeof(*f->cells));
    f->logits = malloc((uint64_t)limits->max_wanted * FAKE_VOCAB * sizeof(float));
    f->hidden = malloc((uint64_t)limits->max_wanted * FAKE_EMBD * sizeof(float));
    if (!f->cells || !f->logits || !f->hidden || !f->states || !f->hashes)
        abort();
    memset(f->states, 0xff, limits->n_slots * sizeof(*f->states));
    memset(f->cells, 0xff, cells * sizeof(*f->cells));
}

void fake_deinit(struct fake *f)
{
    free(f->states);
    free(f->hashes);
    free(f->cells);
    free(f->logits);
    free(f->hidden);
}

struct rz_plan *fake_plan(struct fake *f)
{
    return (struct rz_plan *)f;
}

/* --- the tokenizer --- */

static int32_t tokenizer_info(void *tok, struct rz_tokenizer_info *out)
{
    (void)tok;
    *out = (struct rz_tokenizer_info){.size = out->size,
                                      .n_vocab = FAKE_VOCAB,
                                      .bos = -1,
                                      .eos = FAKE_END,
                                      .unk = -1,
                                      .pad = -1,
                                      .n_end = 1,
                                      .end = {FAKE_END}};
    return RZ_OK;
}

static int64_t tokenizer_decode(void *tok, struct rz_decode_state *state, int32_t id, uint32_t flags,
                                char *out, uint64_t cap)
{
    const struct fake_tokenizer *t = tok;
    char spelled[16];
    struct rz_str piece = {spelled, 0};
    (void)flags;
    if (id < 0 || id >= FAKE_VOCAB)
        return RZ_EINVAL;
    if (t->pieces)
        piece = t->pieces[id];
    else
        piece.len = (uint64_t)snprintf(spelled, sizeof(spelled), "<%d>", id);
    if (piece.len > cap)
        return (int64_t)piece.len;
    if (piece.len)
        memcpy(out, piece.data, piece.len);
    state->n_tokens++;
    return (int64_t)piece.len;
}

const struct rz_tokenizer fake_tokenizer_table = {
    .size = sizeof(struct rz_tokenizer), .name = "fake", .info = tokenizer_info, .decode = tokenizer_decode};
