/* jinja_mark.c - provenance: which bytes of a text came from outside, through everything that copies them.
 *
 * A string shares its marks with the string of which it is a part; a text that is made gets those of the
 * bytes that go into it. Marks never change what a template sees: comparing, finding and splitting know
 * nothing of them.
 */
#include "jinja_value.h"

/* The first span that ends behind `at`. */
static size_t first_span(const struct rz_jmarks *m, size_t at)
{
    size_t low = 0, high = m->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (m->spans[mid].to <= at)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void push(struct rz_jenv *e, struct rz_jtext *t, size_t from, size_t to)
{
    if (from >= to || !rz_buf_ok(&t->b))
        return;
    if (t->n && t->spans[t->n - 1].to >= from) {
        t->spans[t->n - 1].to = to;
        return;
    }
    struct rz_jspan *more = rz_j_grow(e, t->spans, t->n, &t->cap, sizeof(*more), 8);
    if (!more)
        return;
    t->spans = more;
    t->spans[t->n++] = (struct rz_jspan){from, to};
}

void rz_j_add(struct rz_jenv *e, struct rz_jtext *t, const struct rz_jstr *s, size_t from, size_t n)
{
    size_t at = t->b.len;
    if (!rz_buf_add(&t->b, s->p + from, n) || !s->marks)
        return;
    const struct rz_jmarks *m = s->marks;
    size_t begin = (size_t)(s->p - m->base) + from, end = begin + n;
    for (size_t i = first_span(m, begin); i < m->n && m->spans[i].from < end && rz_j_step(e, i % 8 == 7);
         i++) {
        size_t a = m->spans[i].from > begin ? m->spans[i].from : begin;
        size_t b = m->spans[i].to < end ? m->spans[i].to : end;
        push(e, t, at + a - begin, at + b - begin);
    }
}

void rz_j_became(struct rz_jenv *e, struct rz_jtext *t, size_t at, const struct rz_jstr *s, size_t from,
                 size_t n)
{
    if (!s->marks)
        return;
    size_t begin = (size_t)(s->p - s->marks->base) + from, i = first_span(s->marks, begin);
    if (i < s->marks->n && s->marks->spans[i].from < begin + n)
        push(e, t, at, t->b.len);
}
