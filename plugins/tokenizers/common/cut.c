/* cut.c - the walk, in two rounds: tokens of the text as it is, then in what they leave over those of the
 * normalised text. In each the leftmost wins and of several at a place the longest; a token that may stand
 * only between words and does not is text, and nothing is looked for inside it. That is the order in which
 * the Rust package `tokenizers` does it.
 */
#include "cut.h"

#include "err.h"
#include "unicode.h"
#include "utf8.h"

int32_t rz_cut_check(const struct rz_marked_text *in, struct rz_err *err)
{
    uint64_t before = 0;
    for (uint64_t i = 0; i < in->n_plain; i++) {
        const struct rz_span *s = &in->plain[i];
        if (s->begin < before || s->end < s->begin || s->end > in->n)
            return rz_fail(err, RZ_EINVAL, "text",
                           "plain stretch %llu is [%llu, %llu) of %llu bytes, after one that ends at %llu",
                           (unsigned long long)i, (unsigned long long)s->begin, (unsigned long long)s->end,
                           (unsigned long long)in->n, (unsigned long long)before);
        before = s->end;
    }
    return RZ_OK;
}

/* The first plain stretch that ends after byte `at`. */
static uint64_t plain_from(const struct rz_marked_text *in, size_t at)
{
    uint64_t lo = 0, hi = in->n_plain;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (in->plain[mid].end > at)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

bool rz_cut_is_plain(const struct rz_marked_text *in, size_t begin, size_t end)
{
    uint64_t i = plain_from(in, begin);
    return i < in->n_plain && in->plain[i].begin < end;
}

/* The character that ends at text[end], not before begin. */
static size_t char_before(const char *text, size_t begin, size_t end, uint32_t *cp)
{
    for (size_t n = 1; n <= 4 && n <= end - begin; n++)
        if (rz_utf8_decode(text + end - n, n, cp) == n)
            return n;
    *cp = 0xfffd;
    return end > begin;
}

static size_t char_after(const char *text, size_t begin, size_t end, uint32_t *cp)
{
    size_t n = begin < end ? rz_utf8_decode(text + begin, end - begin, cp) : 0;
    if (!n)
        *cp = 0xfffd;
    return n ? n : begin < end;
}

/* What a regular expression calls \w. */
static bool is_word(uint32_t cp)
{
    uint8_t c = rz_uc_class(cp);
    bool circled = (cp >= 0x24b6 && cp <= 0x24e9) || (cp >= 0x1f130 && cp <= 0x1f149) ||
                   (cp >= 0x1f150 && cp <= 0x1f169) || (cp >= 0x1f170 && cp <= 0x1f189);
    return rz_uc_is_letter(c) || (c >= RZ_UC_MN && c <= RZ_UC_ME) || (rz_uc_is_number(c) && c != RZ_UC_NO) ||
           c == '_' || c == RZ_UC_PC || circled || cp == 0x200c || cp == 0x200d;
}

/* A text that is being cut: [begin, end) of it. */
struct range {
    const char *text;
    size_t begin, end;
    size_t blank, blank_end; /* white space that was looked at: no more than once */
};

static bool is_between_words(const struct range *r, size_t from, size_t to)
{
    uint32_t cp;
    return !(char_before(r->text, r->begin, from, &cp) && is_word(cp)) &&
           !(char_after(r->text, to, r->end, &cp) && is_word(cp));
}

static bool is_space(uint32_t cp)
{
    return rz_uc_is_space(rz_uc_class(cp));
}

/* Adds the white space that the token takes with it; done: where the one before it ended. */
static void widen(struct range *r, uint8_t flags, size_t done, size_t *from, size_t *to)
{
    uint32_t cp;
    size_t n;
    if (flags & RZ_ADDED_LSTRIP && *from < done)
        *from = done;
    while (flags & RZ_ADDED_LSTRIP && *from > done && (n = char_before(r->text, done, *from, &cp)) &&
           is_space(cp))
        *from -= n;
    if (!(flags & RZ_ADDED_RSTRIP))
        return;
    if (*to < r->blank || *to > r->blank_end) {
        r->blank = r->blank_end = *to;
        while ((n = char_after(r->text, r->blank_end, r->end, &cp)) && is_space(cp))
            r->blank_end += n;
    }
    *to = r->blank_end;
}

static int32_t cut_range(const struct rz_cut *c, const struct rz_special *set, struct range r, bool *first,
                         bool more);

/* A stretch without tokens of this round. */
static int32_t give(const struct rz_cut *c, struct range r, bool *first, bool more)
{
    if (more)
        return cut_range(c, rz_added_pick(&c->vocab->added.normal, c->in->flags), r, first, false);
    int32_t status = c->text(c->arg, r.text + r.begin, r.end - r.begin, *first);
    *first = false;
    return status;
}

/* more: there is another round. */
static int32_t cut_range(const struct rz_cut *c, const struct rz_special *set, struct range r, bool *first,
                         bool more)
{
    const uint8_t *flags = c->vocab->added.flags;
    uint64_t plain = plain_from(c->in, r.begin);
    struct rz_special_walk w = {.special = set,
                                .text = r.text,
                                .n = r.end,
                                .at = r.begin,
                                .plain = c->in->n_plain ? c->in->plain + plain : NULL,
                                .n_plain = c->in->n_plain - plain};
    size_t done = r.begin;
    r.blank = r.blank_end = SIZE_MAX;
    int32_t status = RZ_OK;
    while (w.at < w.n && status >= 0) {
        struct rz_special_hit hit = rz_special_next(&w);
        size_t from = hit.begin, to = hit.begin + hit.len;
        if (!hit.len || (flags[hit.id] & RZ_ADDED_WORD && !is_between_words(&r, from, to)))
            continue;
        widen(&r, flags[hit.id], done, &from, &to);
        if (from >= to) { /* what it would take is gone with the one before it */
            done = to > done ? to : done;
            continue;
        }
        if (done < from)
            status = give(c, (struct range){.text = r.text, .begin = done, .end = from}, first, more);
        rz_ids_add(c->out, (int32_t)hit.id);
        *first = true;
        done = to;
    }
    return status < 0 || done >= r.end
               ? status
               : give(c, (struct range){.text = r.text, .begin = done, .end = r.end}, first, more);
}

int32_t rz_cut_at(const struct rz_cut *c, const struct rz_special *set)
{
    bool first = true;
    return cut_range(c, set, (struct range){.text = c->in->text, .end = c->in->n}, &first, false);
}

int32_t rz_cut(const struct rz_cut *c)
{
    const struct rz_vocab *v = c->vocab;
    const struct rz_marked_text *in = c->in;
    bool first = true, more = !c->normal_apart && v->added.normal.all.map.count;
    if (in->flags & RZ_ENCODE_BOS && v->info.bos >= 0)
        rz_ids_add(c->out, v->info.bos);
    int32_t status = cut_range(c, rz_added_pick(&v->added.raw, in->flags),
                               (struct range){.text = in->text, .end = in->n}, &first, more);
    if (status >= 0 && in->flags & RZ_ENCODE_EOS && v->info.eos >= 0)
        rz_ids_add(c->out, v->info.eos);
    return status < 0 ? status : RZ_OK;
}
