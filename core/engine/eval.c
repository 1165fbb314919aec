/* eval.c - evaluation and speed runs: token ids through the plan, nothing sampled.
 *
 * Both claim the plan while no request runs, take pages and slots from the same pool, and give them back. A
 * lane is one sequence of such a run with its tokens.
 */
#include "loop.h"

#include "err.h"

#include <stdlib.h>
#include <string.h>

struct lanes {
    struct rz_loop *loop;
    uint32_t n, length; /* sequences, tokens of each     */
    uint32_t n_active;  /* that get rows: the first of n */
    struct rz_kv_seq *seqs;
    int32_t *tokens; /* [n][length] */
};

static void lanes_close(struct lanes *l)
{
    for (uint32_t i = 0; i < l->n && l->seqs; i++)
        if (l->seqs[i].table)
            rz_kv_seq_deinit(&l->loop->kv, &l->seqs[i]);
    free(l->seqs);
    free(l->tokens);
    *l = (struct lanes){0};
}

/* Everything that is asked for must fit at once. */
static int32_t lanes_check(const struct rz_loop *loop, uint64_t n, uint64_t length, struct rz_err *err)
{
    const struct rz_plan_limits *limits = &loop->setup.limits;
    if (!length)
        return rz_fail(err, RZ_EINVAL, "tokens", "there are none");
    if (length > limits->max_context)
        return rz_fail(err, RZ_ELIMIT, "tokens", "%llu do not fit a context of %u",
                       (unsigned long long)length, limits->max_context);
    uint32_t most = limits->max_seqs < limits->max_rows ? limits->max_seqs : limits->max_rows;
    if (n > most)
        return rz_fail(err, RZ_ELIMIT, "sequences", "%llu at once: at most %u fit a step",
                       (unsigned long long)n, most);
    for (uint32_t g = 0; g < loop->kv.n_groups; g++) {
        uint64_t pages = n * rz_kv_most(&loop->kv, g, length, limits->max_rows);
        if (pages > rz_kv_free(&loop->kv, g))
            return rz_fail(err, RZ_ELIMIT, "kv",
                           "%llu sequences of %llu tokens need %llu pages: %u are there",
                           (unsigned long long)n, (unsigned long long)length, (unsigned long long)pages,
                           rz_kv_free(&loop->kv, g));
    }
    return RZ_OK;
}

static int32_t lanes_open(struct lanes *l, struct rz_loop *loop, uint64_t n, uint64_t length,
                          struct rz_err *err)
{
    *l = (struct lanes){.loop = loop};
    int32_t rc = lanes_check(loop, n, length, err);
    if (rc)
        return rc;
    *l = (struct lanes){.loop = loop, .n = (uint32_t)n, .n_active = (uint32_t)n, .length = (uint32_t)length};
    l->seqs = calloc(n, sizeof(*l->seqs));
    l->tokens = calloc(n * length, sizeof(*l->tokens));
    bool ok = l->seqs && l->tokens;
    for (uint32_t i = 0; i < n && ok; i++)
        ok = rz_kv_seq_init(&loop->kv, &l->seqs[i], length);
    if (ok)
        return RZ_OK;
    lanes_close(l);
    return rz_fail(err, RZ_ENOMEM, "engine", "no memory for %llu tokens", (unsigned long long)(n * length));
}

/* Adds rows [from, from + n) of lane i; those from want_from on want a result. There are pages enough:
 * lanes_check has counted them. */
static int32_t lane_add(struct lanes *l, uint32_t i, uint32_t from, uint32_t n, uint32_t want_from,
                        uint32_t want)
{
    const struct rz_engine_setup *setup = &l->loop->setup;
    struct rz_step_rows rows = {.tokens = l->tokens + (uint64_t)i * l->length,
                                .from = from,
                                .n = n,
                                .want_from = want_from,
                                .want = want,
                                .k = 1,
                                .rope_variant =
                                    setup->rope_switch && setup->limits.max_context > setup->rope_switch};
    rz_kv_trim(&l->loop->kv, &l->seqs[i], from);
    rz_kv_grow(&l->loop->kv, &l->seqs[i], (uint64_t)from + n);
    return rz_step_add(&l->loop->sched.step, &l->seqs[i], &rows);
}

static int32_t lanes_step(struct lanes *l, uint32_t want, struct rz_err *err)
{
    const struct rz_engine_setup *setup = &l->loop->setup;
    int32_t rc = setup->check ? setup->check(setup->check_ctx, err) : RZ_OK;
    return rc < 0 ? rc : rz_loop_execute(l->loop, &l->loop->sched.step, 1u << want, err);
}

/* --- evaluation --- */

static int32_t eval_check(const struct rz_loop *loop, const struct rz_eval *e, struct rz_err *err)
{
    if (!e || e->size < sizeof(*e) || !e->tokens || !e->row || e->flags)
        return rz_fail(err, RZ_EINVAL, "eval", "no tokens, no receiver, or unknown flags");
    for (uint64_t i = 0; i < e->n_tokens; i++)
        if (e->tokens[i] < 0 || (uint32_t)e->tokens[i] >= loop->setup.n_vocab)
            return rz_fail(err, RZ_EINVAL, "tokens", "token %llu is %d: the vocabulary has ids 0 to %u",
                           (unsigned long long)i, e->tokens[i], loop->setup.n_vocab - 1);
    if (e->fork >= e->n_tokens && e->fork)
        return rz_fail(err, RZ_EINVAL, "fork", "at position %u of %llu tokens: there is nothing behind it",
                       e->fork, (unsigned long long)e->n_tokens);
    struct rz_plan_info info = {.size = sizeof(info)};
    uint32_t want = e->hidden ? RZ_WANT_HIDDEN : RZ_WANT_LOGITS;
    if (loop->setup.device->info(loop->setup.plan, &info) < 0 || !(info.wants & 1u << want))
        return rz_fail(err, RZ_EUNSUPPORTED, "eval", "this model gives no %s%s",
                       e->hidden ? "hidden states" : "logits",
                       e->hidden ? "" : ": it is an encoder (--hidden writes its states)");
    return RZ_OK;
}

/* The lane of the evaluated sequence lies amid the others, which get the same tokens turned round and
 * shifted. */
static void fill_eval(struct lanes *l, const struct rz_eval *e, uint32_t mine)
{
    for (uint32_t i = 0; i < l->n; i++) {
        int32_t *to = l->tokens + (uint64_t)i * l->length;
        for (uint64_t p = 0; p < l->length; p++)
            to[p] = e->tokens[i == mine ? p : (2 * (uint64_t)l->length - 1 - p + i * 7) % l->length];
    }
}

/* Rows of each lane in one step. */
static int32_t eval_chunk(const struct lanes *l, const struct rz_eval *e, uint32_t *out, struct rz_err *err)
{
    const struct rz_engine_setup *setup = &l->loop->setup;
    uint32_t chunk = e->chunk ? e->chunk : setup->max_batch_tokens, fits = setup->limits.max_rows / l->n;
    if (!e->last && setup->limits.max_wanted < fits)
        fits = setup->limits.max_wanted;
    *out = chunk < fits ? chunk : fits;
    if (setup->mask == RZ_MASK_ALL && *out < l->length)
        return rz_fail(err, RZ_ELIMIT, "eval",
                       "steps of %u rows: this model sees a text as a whole, so its %u tokens must be in one",
                       *out, l->length);
    return RZ_OK;
}

static int32_t eval_rows(const struct lanes *l, const struct rz_eval *e, uint32_t first_result,
                         uint32_t first_row, uint32_t n)
{
    const struct rz_result *r = &l->loop->result;
    const float *base = e->hidden ? r->hidden : r->logits;
    uint64_t stride = e->hidden ? r->hidden_stride : r->logits_stride;
    uint64_t width = e->hidden ? l->loop->setup.n_embd : l->loop->setup.n_vocab;
    for (uint32_t i = 0; i < n; i++) {
        int32_t rc = e->row(e->arg, (uint64_t)first_row + i, base + (first_result + i) * stride, width);
        if (rc)
            return rc;
    }
    return RZ_OK;
}

/* The sequence goes on in the last lane, from a copy of what was computed, and its own lane with the tokens
 * turned round. */
static int32_t eval_fork(struct lanes *l, uint32_t mine, uint32_t at, struct rz_err *err)
{
    struct rz_step *step = &l->loop->sched.step;
    struct rz_kv *kv = &l->loop->kv;
    struct rz_kv_seq *heir = &l->seqs[l->n - 1];
    int32_t *old = l->tokens + (uint64_t)mine * l->length, *new = l->tokens + (l->n - 1ull) * l->length;
    memcpy(new, old, l->length * sizeof(*new));
    for (uint32_t p = at; p < l->length; p++)
        old[p] = new[l->length - 1 - p];
    if (!rz_step_fork(step, kv, heir, &l->seqs[mine], at) || !rz_step_reserve(step, kv, heir, at))
        return rz_fail(err, RZ_EINTERNAL, "fork", "at position %u: no pages or slot for it", at);
    l->n_active = l->n;
    return RZ_OK;
}

/* One step: rows [from, from + n) of every lane. */
static int32_t eval_step(struct lanes *l, const struct rz_eval *e, uint32_t mine, uint32_t from, uint32_t n,
                         struct rz_err *err)
{
    struct rz_step *step = &l->loop->sched.step;
    uint32_t want = e->hidden ? RZ_WANT_HIDDEN : RZ_WANT_LOGITS, first = e->last ? l->length - 1 : 0;
    uint32_t wanted = from + n <= first ? 0 : e->last ? 1 : n, spare = step->max_wanted - wanted;
    int32_t result = -1;
    rz_step_clear(step);
    int32_t rc = e->fork && from == e->fork ? eval_fork(l, mine, from, err) : RZ_OK;
    if (e->fork && from >= e->fork)
        mine = l->n - 1;
    for (uint32_t i = 0; i < l->n_active && !rc; i++) {
        if (i == mine) {
            result = lane_add(l, i, from, n, first, want);
            continue;
        }
        /* The company wants something too where there is room, so that the head sees a mix. */
        lane_add(l, i, from, n, from + n - 1, spare ? want : RZ_WANT_NONE);
        spare -= spare != 0;
    }
    if (!rc)
        rc = lanes_step(l, want, err);
    if (rc < 0 || result < 0)
        return rc;
    return eval_rows(l, e, (uint32_t)result, e->last ? 0 : from, wanted);
}

static int32_t eval_lanes(struct lanes *l, const struct rz_eval *e, uint32_t mine, struct rz_err *err)
{
    uint32_t chunk, n;
    fill_eval(l, e, mine);
    int32_t rc = eval_chunk(l, e, &chunk, err);
    l->n_active = l->n - (e->fork != 0);
    for (uint32_t from = 0; !rc && from < l->length; from += n) {
        n = l->length - from < chunk ? l->length - from : chunk;
        if (from < e->fork && e->fork - from < n)
            n = e->fork - from;
        rc = eval_step(l, e, mine, from, n, err);
    }
    return rc;
}

int32_t rz_loop_eval(struct rz_loop *loop, const struct rz_eval *e, struct rz_err *err)
{
    struct lanes lanes;
    int32_t rc = eval_check(loop, e, err);
    if (rc || (rc = rz_loop_claim(loop, err)))
        return rc;
    uint32_t mine = e->beside / 2;
    rc = lanes_open(&lanes, loop, (uint64_t)e->beside + 1 + (e->fork != 0), e->n_tokens, err);
    if (!rc) {
        rc = eval_lanes(&lanes, e, mine, err);
        lanes_close(&lanes);
    }
    rz_loop_yield(loop);
    return rc;
}

/* --- speed --- */

/* Token ids without a pattern, the same in every run. */
static void fill_speed(struct lanes *l)
{
    uint64_t state = 1;
    for (uint64_t i = 0; i < (uint64_t)l->n * l->length; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        l->tokens[i] = (int32_t)((state >> 33) % l->loop->setup.n_vocab);
    }
}

/* Positions [from, to) of all lanes as prompts, in steps as full as they may be; the last row of each
 * lane wants logits, as a prompt's does. */
static int32_t speed_prompt(struct lanes *l, uint32_t from, uint32_t to, struct rz_err *err)
{
    struct rz_step *step = &l->loop->sched.step;
    uint32_t lane = 0, at = from;
    while (from < to && lane < l->n) {
        uint32_t left = l->loop->setup.max_batch_tokens;
        rz_step_clear(step);
        while (left && lane < l->n && step->n_wanted < step->max_wanted) {
            uint32_t n = to - at < left ? to - at : left;
            lane_add(l, lane, at, n, to - 1, RZ_WANT_LOGITS);
            left -= n;
            at += n;
            if (at == to) {
                lane++;
                at = from;
            }
        }
        int32_t rc = lanes_step(l, RZ_WANT_LOGITS, err);
        if (rc < 0)
            return rc;
    }
    return RZ_OK;
}

/* Positions [from, to), one of each lane in a step. */
static int32_t speed_decode(struct lanes *l, uint32_t from, uint32_t to, struct rz_err *err)
{
    bool top_k = l->loop->setup.top_k && l->loop->wants & 1u << RZ_WANT_TOP_K;
    for (uint32_t at = from; at < to; at++) {
        rz_step_clear(&l->loop->sched.step);
        for (uint32_t i = 0; i < l->n; i++)
            lane_add(l, i, at, 1, at, top_k ? RZ_WANT_TOP_K : RZ_WANT_LOGITS);
        int32_t rc = lanes_step(l, RZ_WANT_LOGITS, err);
        if (rc < 0)
            return rc;
    }
    return RZ_OK;
}

static int32_t speed_run(struct lanes *l, struct rz_speed *s, struct rz_err *err)
{
    uint32_t after_prompt = s->depth + s->n_prompt;
    fill_speed(l);
    int32_t rc = speed_prompt(l, 0, s->depth, err);
    uint64_t start = rz_clock_ns();
    if (rc >= 0)
        rc = speed_prompt(l, s->depth, after_prompt, err);
    if (rc >= 0)
        rc = speed_decode(l, after_prompt, after_prompt + s->n_gen, err);
    s->seconds = (double)(rz_clock_ns() - start) * 1e-9;
    return rc < 0 ? rc : RZ_OK;
}

int32_t rz_loop_speed(struct rz_loop *loop, struct rz_speed *s, struct rz_err *err)
{
    struct lanes lanes;
    struct rz_plan_info info = {.size = sizeof(info)};
    if (!s || s->size < sizeof(*s) || !s->n_seqs || (!s->n_prompt && !s->n_gen))
        return rz_fail(err, RZ_EINVAL, "speed", "no sequences, or neither prompt nor new tokens");
    if (s->n_gen && s->n_seqs > loop->setup.limits.max_wanted)
        return rz_fail(err, RZ_ELIMIT, "sequences", "%u at once: at most %u get results in a step", s->n_seqs,
                       loop->setup.limits.max_wanted);
    int32_t rc = rz_loop_claim(loop, err);
    if (rc)
        return rc;
    rc = lanes_open(&lanes, loop, s->n_seqs, (uint64_t)s->depth + s->n_prompt + s->n_gen, err);
    if (!rc) {
        rc = speed_run(&lanes, s, err);
        lanes_close(&lanes);
    }
    if (!rc && !s->bytes_token && loop->setup.device->info(loop->setup.plan, &info) >= 0)
        s->bytes_token = info.weight_bytes;
    rz_loop_yield(loop);
    return rc;
}
