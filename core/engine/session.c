/* session.c - see session.h.
 *
 * The file: a header with its own checksum, the tokens, the pages of each KV group from the first that a row
 * behind them sees, the recurrent state; little-endian, as the device keeps them. It is written beside its
 * place and then renamed. Nothing of a file is known to the cache before all of it was read and its checksum
 * was right: until then its pages are those of a sequence that nobody sees.
 */
#include "session.h"

#include "checked.h"
#include "err.h"
#include "map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VERSION 1u
#define SUM_SEED 0x727a2073657373u

static const char magic[8] = "rz\r\nkv\x1a";

struct head {
    char magic[8];
    uint32_t version, n_groups, page_tokens, n_pages, variant, n_vocab;
    int32_t kv_type;
    uint32_t zero;
    uint32_t first[RZ_KV_GROUPS_MAX];
    uint64_t page_bytes[RZ_KV_GROUPS_MAX], state_bytes;
    uint64_t model[2];
    uint64_t body_bytes, body_sum;
    uint64_t head_sum; /* of all before it */
};

/* A file on its way out or in. */
struct work {
    struct rz_loop *loop;
    struct rz_kv_seq seq; /* holds the pages meanwhile */
    struct head head;
    int32_t *tokens;
    void *buffer; /* of the largest page, or the state */
    FILE *file;
    uint64_t sum;
    const char *path;
};

static uint64_t head_sum(const struct head *h)
{
    return rz_map_hash(SUM_SEED, (const char *)h, offsetof(struct head, head_sum));
}

/* What the header must say here, but for its text. */
static int32_t expect(struct rz_loop *loop, struct head *h, struct rz_err *err)
{
    const struct rz_device *d = loop->setup.device;
    *h = (struct head){.version = VERSION,
                       .n_groups = loop->kv.n_groups,
                       .page_tokens = loop->kv.page_tokens,
                       .n_vocab = loop->setup.n_vocab,
                       .kv_type = loop->setup.limits.kv_type};
    memcpy(h->magic, magic, sizeof(magic));
    if (!loop->sched.prefix)
        return rz_fail(err, RZ_EUNSUPPORTED, "session", "it needs the prefix cache (engine.prefix_cache)");
    if (!RZ_HAS(d, store) || !d->fetch || !d->store || !loop->setup.identity)
        return rz_fail(err, RZ_EUNSUPPORTED, "session", "device %s cannot hand its pages out", d->name);
    for (uint32_t g = 0; g <= h->n_groups; g++) {
        if (g == h->n_groups && !loop->kv.n_slots)
            continue;
        int64_t n = d->fetch(loop->setup.plan, g, 0, NULL, 0, err);
        if (n < 0)
            return (int32_t)n;
        *(g < h->n_groups ? &h->page_bytes[g] : &h->state_bytes) = (uint64_t)n;
    }
    return loop->setup.identity(loop->setup.identity_ctx, h->model, err);
}

/* The bytes behind the header, and the buffer that their parts pass through. */
static int32_t measure(struct work *w, uint64_t *body, struct rz_err *err)
{
    const struct head *h = &w->head;
    uint64_t largest = h->state_bytes, n;
    *body = (uint64_t)h->n_pages * h->page_tokens * sizeof(int32_t) + h->state_bytes;
    bool ok = true;
    for (uint32_t g = 0; g < h->n_groups && ok; g++) {
        ok = rz_mul_u64(h->page_bytes[g], h->n_pages - h->first[g], &n) && rz_add_u64(*body, n, body);
        largest = h->page_bytes[g] > largest ? h->page_bytes[g] : largest;
    }
    if (!ok)
        return rz_fail(err, RZ_ELIMIT, w->path, "a session of %u pages is too large", h->n_pages);
    w->buffer = malloc(largest + 1);
    w->tokens = malloc(((uint64_t)h->n_pages * h->page_tokens + 1) * sizeof(*w->tokens));
    return w->buffer && w->tokens ? RZ_OK : rz_fail(err, RZ_ENOMEM, "session", "no memory");
}

static void end(struct work *w)
{
    if (w->file)
        fclose(w->file);
    if (w->seq.table)
        rz_kv_seq_deinit(&w->loop->kv, &w->seq);
    free(w->tokens);
    free(w->buffer);
}

/* --- out --- */

static int32_t put(struct work *w, const void *p, uint64_t n, struct rz_err *err)
{
    w->sum = rz_map_hash(w->sum, p, n);
    if (fwrite(p, 1, n, w->file) != n)
        return rz_fail(err, RZ_EIO, w->path, "cannot write: %s", strerror(errno));
    return RZ_OK;
}

static int32_t put_page(struct work *w, uint32_t group, int32_t page, uint64_t n, struct rz_err *err)
{
    const struct rz_engine_setup *s = &w->loop->setup;
    int64_t got = s->device->fetch(s->plan, group, page, w->buffer, n, err);
    return got < 0 ? (int32_t)got : put(w, w->buffer, n, err);
}

static int32_t put_body(struct work *w, int32_t slot, struct rz_err *err)
{
    const struct head *h = &w->head;
    int32_t rc = put(w, w->tokens, (uint64_t)h->n_pages * h->page_tokens * sizeof(*w->tokens), err);
    for (uint32_t g = 0; g < h->n_groups; g++)
        for (uint32_t i = h->first[g]; i < h->n_pages && !rc; i++)
            rc = put_page(w, g, w->seq.groups[g][i], h->page_bytes[g], err);
    return rc || !h->state_bytes ? rc : put_page(w, h->n_groups, slot, h->state_bytes, err);
}

/* The header comes last, over its own place: it knows the sum. */
static int32_t put_file(struct work *w, int32_t slot, struct rz_err *err)
{
    struct head *h = &w->head;
    int32_t rc = RZ_OK;
    if (fwrite(h, sizeof(*h), 1, w->file) != 1)
        return rz_fail(err, RZ_EIO, w->path, "cannot write: %s", strerror(errno));
    w->sum = SUM_SEED;
    if ((rc = put_body(w, slot, err)))
        return rc;
    h->body_sum = w->sum;
    h->head_sum = head_sum(h);
    bool ok = !fseek(w->file, 0, SEEK_SET) && fwrite(h, sizeof(*h), 1, w->file) == 1 && !fflush(w->file) &&
              !fsync(fileno(w->file));
    return ok ? RZ_OK : rz_fail(err, RZ_EIO, w->path, "cannot write: %s", strerror(errno));
}

static int32_t put_beside(struct work *w, int32_t slot, struct rz_err *err)
{
    size_t n = strlen(w->path) + sizeof(".XXXXXX");
    char *beside = malloc(n);
    if (!beside)
        return rz_fail(err, RZ_ENOMEM, "session", "no memory");
    snprintf(beside, n, "%s.XXXXXX", w->path);
    int fd = mkstemp(beside); /* nobody else may read it: texts are private */
    w->file = fd < 0 ? NULL : fdopen(fd, "wb");
    int32_t rc = w->file ? put_file(w, slot, err)
                         : rz_fail(err, RZ_EIO, w->path, "cannot create it: %s", strerror(errno));
    if (!rc && rename(beside, w->path))
        rc = rz_fail(err, RZ_EIO, w->path, "cannot be put in its place: %s", strerror(errno));
    if (rc && fd >= 0)
        unlink(beside);
    free(beside);
    return rc;
}

/* The longest that is kept of the text, under either rope. */
static uint32_t hold(struct work *w, struct rz_prefix_text *text, int32_t *slot)
{
    struct rz_prefix *p = w->loop->sched.prefix;
    struct rz_state_copy copy;
    struct rz_prefix_text other = *text;
    uint32_t known;
    other.variant = 1;
    if (rz_prefix_find(p, &other, &known) > rz_prefix_find(p, text, &known))
        *text = other;
    uint32_t n = rz_prefix_take(p, &w->seq, text, &copy);
    *slot = copy.from >= 0 ? copy.from : w->seq.slot;
    return n;
}

static int64_t save(struct work *w, const int32_t *tokens, uint32_t n, struct rz_err *err)
{
    struct rz_prefix_text text = {.tokens = tokens, .n = n};
    int32_t rc = expect(w->loop, &w->head, err), slot = -1;
    if (rc)
        return rc;
    if (!rz_kv_seq_init(&w->loop->kv, &w->seq, n))
        return rz_fail(err, RZ_ENOMEM, "session", "no memory");
    uint32_t held = hold(w, &text, &slot);
    if (!held)
        return 0;
    w->head.n_pages = held / w->head.page_tokens;
    w->head.variant = text.variant;
    for (uint32_t g = 0; g < w->head.n_groups; g++)
        w->head.first[g] = w->seq.first[g];
    if ((rc = measure(w, &w->head.body_bytes, err)))
        return rc;
    memcpy(w->tokens, tokens, held * sizeof(*tokens));
    rc = put_beside(w, slot, err);
    return rc ? rc : (int64_t)held;
}

int64_t rz_session_save(struct rz_loop *loop, const int32_t *tokens, uint32_t n, const char *path,
                        struct rz_err *err)
{
    struct work w = {.loop = loop, .path = path};
    int64_t got = rz_loop_visit(loop, err);
    if (got)
        return got;
    got = save(&w, tokens, n, err);
    end(&w);
    rz_loop_yield(loop);
    return got;
}

/* --- in --- */

static int32_t take(struct work *w, void *p, uint64_t n, struct rz_err *err)
{
    if (fread(p, 1, n, w->file) != n)
        return rz_fail(err, RZ_EIO, w->path, "cannot read: %s",
                       ferror(w->file) ? strerror(errno) : "it ends too early");
    w->sum = rz_map_hash(w->sum, p, n);
    return RZ_OK;
}

static int32_t take_page(struct work *w, uint32_t group, int32_t page, uint64_t n, struct rz_err *err)
{
    const struct rz_engine_setup *s = &w->loop->setup;
    int32_t rc = take(w, w->buffer, n, err);
    return rc ? rc : s->device->store(s->plan, group, page, w->buffer, n, err);
}

/* Is it a session of this model, in this shape? */
static int32_t check_head(const struct work *w, const struct head *want, struct rz_err *err)
{
    const struct head *h = &w->head;
    if (memcmp(h->magic, magic, sizeof(magic)))
        return rz_fail(err, RZ_EFORMAT, w->path, "it is no session file");
    if (h->version != VERSION)
        return rz_fail(err, RZ_EUNSUPPORTED, w->path, "version %u: this program reads %u", h->version,
                       VERSION);
    if (h->head_sum != head_sum(h))
        return rz_fail(err, RZ_EFORMAT, w->path, "its header is damaged");
    if (memcmp(h->model, want->model, sizeof(h->model)))
        return rz_fail(err, RZ_EINVAL, w->path,
                       "it is of another model, or of one that was run by other kernels or settings");
    if (h->n_groups != want->n_groups || h->page_tokens != want->page_tokens || h->kv_type != want->kv_type ||
        h->n_vocab != want->n_vocab || h->state_bytes != want->state_bytes ||
        memcmp(h->page_bytes, want->page_bytes, sizeof(h->page_bytes)))
        return rz_fail(err, RZ_EINVAL, w->path,
                       "its pages have another shape (%u tokens, type %d; here %u, %d)", h->page_tokens,
                       h->kv_type, want->page_tokens, want->kv_type);
    return RZ_OK;
}

/* Do its numbers fit together, and fit in here? */
static int32_t check_size(struct work *w, struct rz_err *err)
{
    const struct head *h = &w->head;
    const struct rz_kv *kv = &w->loop->kv;
    uint64_t n = (uint64_t)h->n_pages * h->page_tokens, body;
    struct stat st;
    if (!h->n_pages || n > w->loop->setup.limits.max_context)
        return rz_fail(err, RZ_ELIMIT, w->path, "%llu tokens do not fit a context of %u",
                       (unsigned long long)n, w->loop->setup.limits.max_context);
    for (uint32_t g = 0; g < h->n_groups; g++)
        if (h->first[g] != rz_kv_first(kv, g, n))
            return rz_fail(err, RZ_EFORMAT, w->path, "group %u begins with page %u, not %u", g, h->first[g],
                           rz_kv_first(kv, g, n));
    int32_t rc = measure(w, &body, err);
    if (rc)
        return rc;
    if (fstat(fileno(w->file), &st))
        return rz_fail(err, RZ_EIO, w->path, "%s", strerror(errno));
    if (body != h->body_bytes || (uint64_t)st.st_size != body + sizeof(*h))
        return rz_fail(err, RZ_EFORMAT, w->path, "it has %llu bytes in place of %llu: it was cut or damaged",
                       (unsigned long long)st.st_size, (unsigned long long)(body + sizeof(*h)));
    return RZ_OK;
}

static int32_t take_body(struct work *w, struct rz_err *err)
{
    const struct head *h = &w->head;
    uint64_t n = (uint64_t)h->n_pages * h->page_tokens;
    struct rz_kv *kv = &w->loop->kv;
    if (!rz_kv_seq_init(kv, &w->seq, n))
        return rz_fail(err, RZ_ENOMEM, "session", "no memory");
    if (!rz_kv_grow(kv, &w->seq, n))
        return rz_fail(err, RZ_EBUSY, w->path, "it needs %u pages, %u are free", h->n_pages,
                       rz_kv_available(kv));
    rz_kv_trim(kv, &w->seq, n);
    w->sum = SUM_SEED;
    int32_t rc = take(w, w->tokens, n * sizeof(*w->tokens), err);
    for (uint32_t g = 0; g < h->n_groups; g++)
        for (uint32_t i = h->first[g]; i < h->n_pages && !rc; i++)
            rc = take_page(w, g, w->seq.groups[g][i], h->page_bytes[g], err);
    /* The buffer keeps the state until it is known where it goes. */
    if (!rc && h->state_bytes)
        rc = take(w, w->buffer, h->state_bytes, err);
    if (!rc && w->sum != h->body_sum)
        rc = rz_fail(err, RZ_EFORMAT, w->path, "it is damaged: the checksum is wrong");
    for (uint64_t i = 0; i < n && !rc; i++)
        if (w->tokens[i] < 0 || (uint32_t)w->tokens[i] >= h->n_vocab)
            rc = rz_fail(err, RZ_EFORMAT, w->path, "token %d: the vocabulary has ids 0 to %u", w->tokens[i],
                         h->n_vocab - 1);
    return rc;
}

static int64_t restore(struct work *w, struct rz_err *err)
{
    struct rz_loop *loop = w->loop;
    struct head want;
    int32_t rc = expect(loop, &want, err);
    if (rc)
        return rc;
    if (!(w->file = fopen(w->path, "rbe")))
        return rz_fail(err, errno == ENOENT ? RZ_ENOTFOUND : RZ_EIO, w->path, "%s", strerror(errno));
    if (fread(&w->head, sizeof(w->head), 1, w->file) != 1)
        return rz_fail(err, RZ_EFORMAT, w->path, "it is too short for a session file");
    if ((rc = check_head(w, &want, err)) || (rc = check_size(w, err)) || (rc = take_body(w, err)))
        return rc;
    struct rz_prefix_text text = {
        .tokens = w->tokens, .n = w->head.n_pages * w->head.page_tokens, .variant = w->head.variant};
    rz_prefix_add(loop->sched.prefix, &w->seq, &text);
    int32_t slot = w->head.state_bytes ? rz_prefix_save(loop->sched.prefix, &text, 0) : -1;
    if (slot >= 0)
        rc = loop->setup.device->store(loop->setup.plan, w->head.n_groups, slot, w->buffer,
                                       w->head.state_bytes, err);
    if (rc)
        rz_prefix_clear(loop->sched.prefix);
    return rc ? rc : (int64_t)text.n;
}

int64_t rz_session_restore(struct rz_loop *loop, const char *path, struct rz_err *err)
{
    struct work w = {.loop = loop, .path = path};
    int64_t got = rz_loop_visit(loop, err);
    if (got)
        return got;
    got = restore(&w, err);
    end(&w);
    rz_loop_yield(loop);
    return got;
}
