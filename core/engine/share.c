/* share.c - what a sequence need not compute because another did: it is forked off one with the same prompt,
 * or takes the pages of the prefix cache; and what it leaves there for others.
 *
 * A recurrent state cannot be cut back, so it is shared only where one was saved: a chunk of a prompt ends at
 * the last page border inside of the prompt, and where the prompt leaves what the cache knows already (who
 * else begins like this leaves it there as well); while it decodes, a sequence keeps the state of the last
 * page border.
 */
#include "schedule.h"

static struct rz_prefix_text text_of(const struct rz_seq *seq, uint32_t n)
{
    return (struct rz_prefix_text){.tokens = seq->tokens, .n = n, .variant = seq->rope_variant};
}

static bool copy_state(struct rz_step *step, int32_t from, int32_t to)
{
    if (step->batch.n_state_copies == step->max_seqs)
        return false;
    step->state_copies[step->batch.n_state_copies++] = (struct rz_state_copy){.from = from, .to = to};
    return true;
}

/* The last token is always computed: somebody waits for what follows. */
static uint32_t take(struct rz_sched *s, struct rz_seq *seq)
{
    struct rz_prefix_text text = text_of(seq, seq->n_tokens - 1);
    struct rz_state_copy copy;
    if (s->step.batch.n_state_copies == s->step.max_seqs)
        return 0;
    uint32_t n = rz_prefix_take(s->prefix, &seq->kv, &text, &copy);
    if (copy.from >= 0)
        copy_state(&s->step, copy.from, copy.to);
    return n;
}

/* Rows whose results somebody wants are computed. */
static bool may_take(const struct rz_sched *s, const struct rz_seq *seq)
{
    return s->prefix && !seq->want_all && !seq->whole;
}

uint32_t rz_share_begin(struct rz_sched *s, struct rz_seq *seq)
{
    const struct rz_seq *like = seq->like;
    uint32_t n = seq->n_tokens - 1;
    seq->n_kept = seq->saved = seq->branch = 0;
    /* Pages can be shared whatever was written behind, a state cannot. */
    bool sound = like && n && like->n_done >= n && (like->n_done == n || like->kv.slot < 0);
    if (sound && rz_step_fork(&s->step, s->kv, &seq->kv, &like->kv, n))
        return n;
    if (!may_take(s, seq))
        return 0;
    struct rz_prefix_text text = text_of(seq, n);
    rz_prefix_find(s->prefix, &text, &seq->branch);
    seq->version = s->prefix->version;
    return take(s, seq);
}

void rz_share_catch_up(struct rz_sched *s)
{
    for (uint32_t i = 0; i < s->n_running && s->prefix; i++) {
        struct rz_seq *seq = s->running[i];
        struct rz_prefix_text text = text_of(seq, seq->n_tokens - 1);
        if (seq->paused || seq->n_tokens - seq->n_done < 2 || seq->version == s->prefix->version ||
            !may_take(s, seq))
            continue;
        seq->version = s->prefix->version;
        uint32_t known, n = rz_prefix_find(s->prefix, &text, &known), before = seq->n_done;
        if (n <= before || s->step.batch.n_state_copies == s->step.max_seqs)
            continue;
        rz_kv_drop(s->kv, &seq->kv);
        seq->n_done = take(s, seq);
        seq->n_kept = 0;
        if (!seq->again && seq->n_done > before)
            seq->n_shared += seq->n_done - before, s->prefix->hits += seq->n_done - before;
    }
}

/* Where the state of a prompt is saved. */
static uint32_t last_border(const struct rz_sched *s, const struct rz_seq *seq)
{
    uint32_t n = seq->n_prompt ? seq->n_prompt - 1 : 0;
    return n - n % s->kv->page_tokens;
}

uint32_t rz_share_chunk(const struct rz_sched *s, const struct rz_seq *seq, uint32_t n)
{
    uint32_t stops[2] = {seq->branch, last_border(s, seq)};
    for (uint32_t i = 0; i < 2 && s->prefix && seq->kv.slot >= 0; i++)
        if (stops[i] > seq->n_done && stops[i] - seq->n_done < n)
            n = stops[i] - seq->n_done;
    return n;
}

void rz_share_save(struct rz_sched *s)
{
    for (uint32_t i = 0; i < s->n_running && s->prefix; i++) {
        struct rz_seq *seq = s->running[i];
        uint32_t n = seq->n_done;
        bool decodes = n >= seq->n_prompt;
        if (seq->paused || seq->kv.slot < 0 || !n || n % s->kv->page_tokens || n == seq->saved ||
            !(decodes || n == seq->branch || n == last_border(s, seq)) ||
            s->step.batch.n_state_copies == s->step.max_seqs)
            continue;
        struct rz_prefix_text text = text_of(seq, n);
        int32_t slot = rz_prefix_save(s->prefix, &text, decodes ? seq->saved : 0);
        if (slot >= 0)
            copy_state(&s->step, seq->kv.slot, slot);
        if (decodes)
            seq->saved = n;
    }
}

void rz_share_done(struct rz_sched *s)
{
    for (uint32_t i = 0; i < s->n_running && s->prefix; i++) {
        struct rz_seq *seq = s->running[i];
        struct rz_prefix_text text = text_of(seq, seq->n_done);
        uint32_t n = seq->n_done / s->kv->page_tokens;
        if (n > seq->n_kept && !seq->whole) {
            rz_prefix_add(s->prefix, &seq->kv, &text);
            seq->n_kept = n;
        }
    }
}
