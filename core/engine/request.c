/* request.c - checks and copies requests, and turns what they produce into events.
 *
 * Invariant: text that is ready waits outside the ring only while the ring is full, and a request gets a
 * new token only while its ring has room (rz_req_slow): so events keep their order.
 */
#include "request.h"

#include "err.h"
#include "utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- in --- */

static int32_t check_prompt(const struct rz_engine_setup *setup, const struct rz_kv *kv,
                            const struct rz_request *q, uint32_t *context, struct rz_err *err)
{
    uint64_t pool = (uint64_t)kv->n_pages * kv->page_tokens, limit = setup->limits.max_context;
    if (q->max_context && q->max_context < limit)
        limit = q->max_context;
    if (!q->n_prompt || !q->prompt)
        return rz_fail(err, RZ_EINVAL, "prompt", "it is empty: at least one token is needed");
    if (q->n_prompt > limit)
        return rz_fail(err, RZ_ELIMIT, "prompt", "%u tokens do not fit a context of %u", q->n_prompt,
                       (uint32_t)limit);
    if (q->n_prompt > pool)
        return rz_fail(err, RZ_ELIMIT, "prompt", "%u tokens do not fit a KV cache of %llu", q->n_prompt,
                       (unsigned long long)pool);
    for (uint32_t i = 0; i < q->n_prompt; i++)
        if (q->prompt[i] < 0 || (uint32_t)q->prompt[i] >= setup->n_vocab)
            return rz_fail(err, RZ_EINVAL, "prompt", "token %u is %d: the vocabulary has ids 0 to %u", i,
                           q->prompt[i], setup->n_vocab - 1);
    uint32_t most = setup->max_batch_tokens < setup->limits.max_wanted ? setup->max_batch_tokens
                                                                       : setup->limits.max_wanted;
    if (setup->mask == RZ_MASK_ALL && q->n_prompt > most)
        return rz_fail(err, RZ_ELIMIT, "prompt",
                       "%u tokens: this model sees a text as a whole, and a step has at most %u "
                       "(engine.max_batch_tokens)",
                       q->n_prompt, most);
    limit = limit < pool ? limit : pool;
    *context = (uint32_t)limit;
    if (q->max_new && q->max_new < limit - q->n_prompt)
        *context = q->n_prompt + q->max_new;
    return RZ_OK;
}

static int32_t check_rest(const struct rz_engine_setup *setup, const struct rz_request *q, struct rz_err *err)
{
    if (q->like && q->flags & RZ_REQUEST_EMBED)
        return rz_fail(err, RZ_EUNSUPPORTED, "like", "an embedding shares no pages");
    if (q->flags & RZ_REQUEST_SCORE && (q->like || q->flags & RZ_REQUEST_EMBED || !q->n_logprobs))
        return rz_fail(err, RZ_EINVAL, "score", "with logprobs, and neither like another nor for a vector");
    if (q->n_logprobs > RZ_LOGPROBS_MAX)
        return rz_fail(err, RZ_EINVAL, "logprobs", "%u: at most %d", q->n_logprobs, RZ_LOGPROBS_MAX);
    if (q->n_biases > RZ_BIASES_MAX)
        return rz_fail(err, RZ_EINVAL, "bias", "%u entries: at most %d", q->n_biases, RZ_BIASES_MAX);
    if (q->pooling > RZ_POOL_LAST)
        return rz_fail(err, RZ_EINVAL, "pooling", "%u is not known", q->pooling);
    for (uint32_t i = 0; i < q->n_biases; i++) {
        const struct rz_bias *b = &q->biases[i];
        if (b->token < 0 || (uint32_t)b->token >= setup->n_vocab)
            return rz_fail(err, RZ_EINVAL, "bias", "token %d: the vocabulary has ids 0 to %u", b->token,
                           setup->n_vocab - 1);
        if (isnan(b->add) || b->add == INFINITY)
            return rz_fail(err, RZ_EINVAL, "bias", "token %d: %g is not possible", b->token, b->add);
    }
    return rz_sampling_check(&q->sampling, err);
}

static void *copy_of(const void *from, size_t n, size_t each)
{
    void *to = malloc(n * each + 1);
    if (to && n)
        memcpy(to, from, n * each);
    return to;
}

/* The generated text goes on where the prompt ends, so the decoder sees the prompt first. */
static void decode_prompt(const struct rz_engine_setup *setup, struct rz_req *r)
{
    char piece[RZ_PIECE_MAX];
    uint32_t flags = r->flags & RZ_REQUEST_SPECIAL_TEXT ? RZ_DECODE_SPECIAL : 0;
    r->decode = (struct rz_decode_state){.size = sizeof(r->decode)};
    for (uint32_t i = 0; setup->tokenizer && i < r->n_prompt; i++)
        setup->tokenizer->decode(setup->tok, &r->decode, r->tokens[i], flags, piece, sizeof(piece));
}

/* A request for a vector: which rows it needs. false: no memory. */
static bool begin_embed(const struct rz_engine_setup *setup, const struct rz_request *q, struct rz_req *r)
{
    r->pooling = q->pooling ? q->pooling : setup->pooling;
    if (!r->pooling)
        r->pooling = setup->mask == RZ_MASK_ALL ? RZ_POOL_MEAN : RZ_POOL_LAST;
    r->seq.want = RZ_WANT_HIDDEN;
    r->seq.want_all = r->pooling != RZ_POOL_LAST;
    r->seq.whole = setup->mask == RZ_MASK_ALL;
    r->n_embd = setup->n_embd;
    r->pooled = calloc(setup->n_embd, sizeof(*r->pooled));
    return r->pooled;
}

int32_t rz_req_new(const struct rz_engine_setup *setup, const struct rz_kv *kv, const struct rz_request *q,
                   struct rz_req **out, struct rz_err *err)
{
    uint32_t context = 0;
    if (!q || q->size < sizeof(*q))
        return rz_fail(err, RZ_EINVAL, "request", "size %u, need %zu", q ? q->size : 0, sizeof(*q));
    int32_t rc = check_prompt(setup, kv, q, &context, err);
    if (rc || (rc = check_rest(setup, q, err)))
        return rc;
    struct rz_req *r = calloc(1, sizeof(*r));
    if (!r)
        return rz_fail(err, RZ_ENOMEM, "request", "no memory");
    if ((rc = rz_text_init(&r->text, q->stops, q->n_stops, err)))
        goto fail;
    r->flags = q->flags;
    r->n_prompt = q->n_prompt;
    r->max_new = q->max_new;
    r->context = context;
    r->n_logprobs = q->n_logprobs;
    r->n_biases = q->n_biases;
    r->sampling = q->sampling;
    r->wake = q->wake;
    r->wake_arg = q->wake_arg;
    r->biases = copy_of(q->biases, q->n_biases, sizeof(*q->biases));
    r->tokens = malloc(context * sizeof(*r->tokens));
    r->ring = calloc(RZ_RING, sizeof(*r->ring));
    r->samples = calloc(1, sizeof(*r->samples));
    r->seq.want =
        rz_sample_want(&r->sampling, r->n_biases + !!q->grammar_kind, r->n_logprobs, &r->seq.k, &r->seq.gap);
    if (r->seq.want == RZ_WANT_TOP_K && !setup->top_k)
        r->seq.want = RZ_WANT_LOGITS;
    if (q->flags & RZ_REQUEST_EMBED && !begin_embed(setup, q, r)) {
        rc = rz_fail(err, RZ_ENOMEM, "request", "no memory for a vector of %u", setup->n_embd);
        goto fail;
    }
    if (q->flags & RZ_REQUEST_SCORE && !rz_score_begin(r)) {
        rc = rz_fail(err, RZ_ENOMEM, "request", "no memory for the scores of %u tokens", q->n_prompt);
        goto fail;
    }
    /* The last that may fail: a sequence is given back to its pool, which others use meanwhile. */
    if (!r->biases || !r->tokens || !r->ring || !r->samples || !rz_kv_seq_init(kv, &r->seq.kv, context)) {
        rc = rz_fail(err, RZ_ENOMEM, "request", "no memory for a context of %u tokens", context);
        goto fail;
    }
    memcpy(r->tokens, q->prompt, q->n_prompt * sizeof(*q->prompt));
    r->seq.rope_variant = setup->rope_switch && context > setup->rope_switch;
    r->seq.tokens = r->tokens;
    r->seq.n_tokens = r->seq.n_prompt = q->n_prompt;
    decode_prompt(setup, r);
    *out = r;
    return RZ_OK;
fail:
    rz_req_free(NULL, r);
    return rc;
}

void rz_req_free(struct rz_kv *kv, struct rz_req *r)
{
    if (!r)
        return;
    if (r->seq.kv.table)
        rz_kv_seq_deinit(kv, &r->seq.kv);
    rz_spec_deinit(&r->spec);
    rz_text_deinit(&r->text);
    rz_constraint_deinit(&r->constraint);
    free(r->biases);
    free(r->tokens);
    free(r->pooled);
    free(r->scores);
    free(r->ring);
    free(r->samples);
    free(r);
}

/* --- a vector --- */

void rz_req_hidden(struct rz_req *r, const float *rows, uint64_t stride, uint32_t n)
{
    bool first = r->seq.n_done == 0;
    if (first) /* perhaps anew, after it gave way to others */
        memset(r->pooled, 0, r->n_embd * sizeof(*r->pooled));
    if (r->pooling == RZ_POOL_CLS && !first)
        return;
    if (r->pooling == RZ_POOL_CLS)
        n = 1;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t d = 0; d < r->n_embd; d++)
            r->pooled[d] += (double)rows[i * stride + d];
}

int32_t rz_req_pool(struct rz_req *r)
{
    for (uint32_t d = 0; d < r->n_embd; d++) {
        if (r->pooling == RZ_POOL_MEAN)
            r->pooled[d] /= r->n_prompt;
        if (!isfinite(r->pooled[d]))
            return rz_fail(&r->error, RZ_EDEVICE, "embedding", "element %u of the model's vector is %g", d,
                           r->pooled[d]);
    }
    return RZ_OK;
}

/* --- out --- */

bool rz_req_slow(const struct rz_req *r)
{
    /* One that had to give its place up comes back when half its ring is free, not for one token. */
    uint32_t most = r->seq.state == RZ_SEQ_WAITING ? RZ_RING / 2 : RZ_RING - 1;
    return r->ring_n > most;
}

static struct rz_event *ring_push(struct rz_req *r, uint32_t kind)
{
    struct rz_event *e = &r->ring[(r->ring_at + r->ring_n++) % RZ_RING];
    r->fresh = true;
    *e = (struct rz_event){
        .size = sizeof(*e), .kind = kind, .token = -1, .n_prompt = r->n_prompt, .n_new = r->n_new};
    return e;
}

bool rz_req_full(const struct rz_req *r)
{
    return r->ring_n == RZ_RING;
}

bool rz_req_token(struct rz_req *r, const struct rz_sample *sample, const char *piece, size_t n_piece)
{
    bool stop = rz_text_add(&r->text, piece, n_piece);
    r->n_new++;
    struct rz_event *e = ring_push(r, RZ_EVENT_TOKEN);
    e->token = sample->token;
    if (r->n_logprobs) {
        e->logprob = sample->logprob;
        e->n_top = sample->n_top;
        memcpy(e->top, sample->top, e->n_top * sizeof(*e->top));
    }
    e->n_text = (uint32_t)rz_text_take(&r->text, e->text, sizeof(e->text));
    return stop;
}

static double seconds(uint64_t from_ns, uint64_t to_ns)
{
    return from_ns && to_ns > from_ns ? (double)(to_ns - from_ns) * 1e-9 : 0;
}

static void set_error(struct rz_event *e, const struct rz_err *error)
{
    e->kind = RZ_EVENT_ERROR;
    e->code = error->code;
    int n = snprintf(e->text, sizeof(e->text), "%s%s%s", error->where, error->where[0] ? ": " : "",
                     error->message);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof(e->text) ? (size_t)n : sizeof(e->text) - 1;
    e->n_text = (uint32_t)rz_utf8_whole(e->text, len);
}

void rz_req_finish(struct rz_req *r, uint32_t reason, const struct rz_err *error, uint64_t now_ns)
{
    if (r->finished)
        return;
    uint64_t admit = r->admit_ns ? r->admit_ns : now_ns, first = r->first_ns ? r->first_ns : now_ns;
    r->finished = true;
    r->last = (struct rz_event){.size = sizeof(r->last),
                                .kind = RZ_EVENT_DONE,
                                .token = -1,
                                .finish = reason,
                                .n_prompt = r->n_prompt,
                                .n_new = r->n_new,
                                .n_drafted = r->spec.n_drafted,
                                .n_accepted = r->spec.n_accepted,
                                .n_cached = r->seq.n_shared,
                                .t_queue = seconds(r->submit_ns, admit),
                                .t_prompt = seconds(admit, first),
                                .t_gen = seconds(first, now_ns)};
    if (error)
        set_error(&r->last, error);
    rz_text_end(&r->text);
    rz_req_flush(r);
}

void rz_req_flush(struct rz_req *r)
{
    while (r->ring_n < RZ_RING && !r->closed) {
        bool fits = r->finished && r->last.kind == RZ_EVENT_DONE && r->text.ready <= sizeof(r->last.text);
        struct rz_event *e;
        if (r->text.ready && !fits) {
            e = ring_push(r, RZ_EVENT_TOKEN);
            e->n_text = (uint32_t)rz_text_take(&r->text, e->text, sizeof(e->text));
        } else if (r->finished) {
            e = ring_push(r, RZ_EVENT_DONE);
            *e = r->last;
            if (fits)
                e->n_text = (uint32_t)rz_text_take(&r->text, e->text, sizeof(e->text));
            r->closed = true;
        } else {
            break;
        }
    }
}

bool rz_req_take(struct rz_req *r, struct rz_event *out)
{
    if (!r->ring_n)
        return false;
    uint32_t size = out->size;
    *out = r->ring[r->ring_at];
    out->size = size;
    r->ring_at = (r->ring_at + 1) % RZ_RING;
    r->ring_n--;
    rz_req_flush(r);
    return true;
}
