/* jinja_seqfilters.c - filters that go through a sequence: map, select, sort and the like.
 */
#include "jinja_ast.h"

#include <stdlib.h>

/* "a.b.0" of a value; a missing last part is undefined, one on the way fails as in Python. */
static struct rz_jvalue by_path(struct rz_jenv *e, struct rz_jvalue v, struct rz_jvalue path)
{
    if (!rz_j_is_str(path))
        return rz_j_item(e, v, path);
    const char *p = path.u.s->p, *end = p + path.u.s->n;
    for (bool more = true; more && rz_j_step(e, 1);) {
        const char *dot = p < end ? memchr(p, '.', (size_t)(end - p)) : NULL;
        more = dot != NULL;
        dot = more ? dot : end;
        struct rz_jvalue key = rz_j_part(e, path, (size_t)(p - path.u.s->p), (size_t)(dot - p));
        if (e->failed)
            break;
        if (key.u.s->n && key.u.s->n < 10 && strspn(key.u.s->p, "0123456789") >= key.u.s->n)
            key = rz_j_int(strtol(key.u.s->p, NULL, 10));
        v = rz_j_item(e, v, key);
        p = dot + 1;
    }
    return e->failed ? RZ_J_VOID : v;
}

/* The arguments behind the first n. */
static struct rz_jargs rest(const struct rz_jargs *args, uint32_t n)
{
    struct rz_jargs out = *args;
    n = n < args->n ? n : args->n;
    if (n)
        out.v += n;
    out.n -= n;
    out.cap = out.n;
    return out;
}

struct rz_jvalue rz_jfilter_map(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args)
{
    struct rz_jvalue attribute = rz_jargs_get(args, UINT32_MAX, "attribute", RZ_J_VOID);
    struct rz_jvalue fallback = rz_jargs_get(args, UINT32_MAX, "default", RZ_J_VOID);
    struct rz_jargs more = rest(args, 1);
    int32_t id = -1;
    if (!rz_j_true(e, v)) /* also none and undefined */
        return rz_j_seqv(rz_j_seq(e, RZ_J_ITER, 0));
    if (!args->n && attribute.type == RZ_J_UNDEFINED)
        return rz_j_fail(e, "map requires a filter argument");
    if (args->n) {
        if (rz_j_is_str(args->v[0]))
            id = rz_jfilter_find(args->v[0].u.s->p, args->v[0].u.s->n);
        if (id < 0)
            return rz_j_fail(e, "map: no such filter");
    }
    struct rz_jseq *all = rz_j_items(e, v), *out = rz_j_seq(e, RZ_J_ITER, 0);
    for (size_t i = 0; all && out && i < all->n && rz_j_step(e, 1); i++) {
        struct rz_jvalue x = all->items[i];
        if (id >= 0)
            x = rz_jfilter_apply(e, id, x, &more);
        else
            x = by_path(e, x, attribute);
        if (id < 0 && x.type == RZ_J_UNDEFINED && rz_jargs_has(args, UINT32_MAX, "default"))
            x = fallback;
        rz_j_push(e, out, x);
    }
    return rz_j_seqv(out);
}

struct rz_jvalue rz_jfilter_select(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args,
                                   bool attr, bool want)
{
    uint32_t at = attr ? 1 : 0;
    struct rz_jargs more = rest(args, at + 1);
    int32_t id = -1;
    if (!rz_j_true(e, v)) /* also none and undefined */
        return rz_j_seqv(rz_j_seq(e, RZ_J_ITER, 0));
    if (attr && !args->n)
        return rz_j_fail(e, "Missing parameter for attribute name");
    if (args->n > at) {
        if (rz_j_is_str(args->v[at]))
            id = rz_jtest_find(args->v[at].u.s->p, args->v[at].u.s->n);
        if (id < 0)
            return rz_j_fail(e, "select: no such test");
    }
    struct rz_jseq *all = rz_j_items(e, v), *out = rz_j_seq(e, RZ_J_ITER, 0);
    for (size_t i = 0; all && out && i < all->n && rz_j_step(e, 1); i++) {
        struct rz_jvalue x = attr ? by_path(e, all->items[i], args->v[0]) : all->items[i];
        bool is = id >= 0 ? rz_jtest_apply(e, id, x, &more) : rz_j_true(e, x);
        if (is == want)
            rz_j_push(e, out, all->items[i]);
    }
    return rz_j_seqv(out);
}

/* --- sorting --- */

struct keyed {
    struct rz_jvalue key, value;
};

static struct rz_jvalue key_of(struct rz_jenv *e, struct rz_jvalue v, struct rz_jvalue attribute, bool exact)
{
    if (attribute.type != RZ_J_NONE && attribute.type != RZ_J_UNDEFINED)
        v = by_path(e, v, attribute);
    return rz_j_is_str(v) && !exact ? rz_j_lower(e, v) : v;
}

/* A stable merge sort of n values from a, with b as room. */
static void merge_sort(struct rz_jenv *e, struct keyed *a, struct keyed *b, size_t n, bool down)
{
    for (size_t width = 1; width < n && !e->failed; width *= 2) {
        for (size_t from = 0; from < n; from += 2 * width) {
            size_t mid = from + width < n ? from + width : n, end = mid + width < n ? mid + width : n;
            for (size_t i = from, k = mid, o = from; o < end; o++) {
                bool right = i == mid;
                if (!right && k < end && !e->failed)
                    right = down ? rz_j_order(e, a[i].key, a[k].key, "<") < 0
                                 : rz_j_order(e, a[k].key, a[i].key, "<") < 0;
                b[o] = right && k < end ? a[k++] : a[i++];
            }
        }
        memcpy(a, b, n * sizeof(*a));
    }
}

static struct rz_jvalue sorted(struct rz_jenv *e, struct rz_jseq *all, struct keyed *keys, bool down)
{
    struct keyed *room = all ? rz_j_alloc(e, all->n + 1, sizeof(*room)) : NULL;
    struct rz_jseq *out = room ? rz_j_seq(e, RZ_J_LIST, all->n) : NULL;
    if (!out || !rz_j_step(e, all->n))
        return RZ_J_VOID;
    merge_sort(e, keys, room, all->n, down);
    for (size_t i = 0; i < all->n; i++)
        rz_j_push(e, out, keys[i].value);
    return rz_j_seqv(out);
}

struct rz_jvalue rz_jfilter_sort(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args)
{
    static const char *const params[] = {"reverse", "case_sensitive", "attribute", NULL};
    bool down = rz_j_true(e, rz_jargs_get(args, 0, "reverse", RZ_J_NULL));
    bool exact = rz_j_true(e, rz_jargs_get(args, 1, "case_sensitive", RZ_J_NULL));
    struct rz_jvalue attribute = rz_jargs_get(args, 2, "attribute", RZ_J_NULL);
    if (!rz_jargs_check(e, "sort", args, 0, params))
        return RZ_J_VOID;
    if (rz_j_is_str(attribute) && memchr(attribute.u.s->p, ',', attribute.u.s->n))
        return rz_j_fail(e, "sort: several attributes are not supported");
    struct rz_jseq *all = rz_j_items(e, v);
    struct keyed *keys = all ? rz_j_alloc(e, all->n + 1, sizeof(*keys)) : NULL;
    for (size_t i = 0; keys && i < all->n && !e->failed; i++)
        keys[i] = (struct keyed){key_of(e, all->items[i], attribute, exact), all->items[i]};
    return keys ? sorted(e, all, keys, down) : RZ_J_VOID;
}

struct rz_jvalue rz_jfilter_dictsort(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args)
{
    static const char *const params[] = {"case_sensitive", "by", "reverse", NULL};
    bool exact = rz_j_true(e, rz_jargs_get(args, 0, "case_sensitive", RZ_J_NULL));
    struct rz_jvalue by = rz_jargs_get(args, 1, "by", RZ_J_NULL);
    bool down = rz_j_true(e, rz_jargs_get(args, 2, "reverse", RZ_J_NULL)), value = rz_j_eq_text(by, "value");
    if (!rz_jargs_check(e, "dictsort", args, 0, params))
        return RZ_J_VOID;
    if (by.type != RZ_J_NONE && !value && !rz_j_eq_text(by, "key"))
        return rz_j_fail(e, "dictsort: by must be key or value");
    if (v.type == RZ_J_UNDEFINED)
        return rz_j_undefined(e, v);
    if (v.type != RZ_J_DICT)
        return rz_j_fail(e, "dictsort: '%s' is not a mapping", rz_j_type_name(v));
    const struct rz_jdict *d = v.u.dict;
    struct rz_jseq all = {.n = d->n};
    struct keyed *keys = rz_j_alloc(e, d->n + 1, sizeof(*keys));
    for (size_t i = 0; keys && i < d->n && !e->failed; i++)
        keys[i] = (struct keyed){key_of(e, value ? d->pairs[i].value : d->pairs[i].key, RZ_J_NULL, exact),
                                 rz_j_tuple2(e, d->pairs[i].key, d->pairs[i].value)};
    return keys ? sorted(e, &all, keys, down) : RZ_J_VOID;
}

struct rz_jvalue rz_jfilter_unique(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args)
{
    static const char *const params[] = {"case_sensitive", "attribute", NULL};
    bool exact = rz_j_true(e, rz_jargs_get(args, 0, "case_sensitive", RZ_J_NULL));
    struct rz_jvalue attribute = rz_jargs_get(args, 1, "attribute", RZ_J_NULL);
    if (!rz_jargs_check(e, "unique", args, 0, params))
        return RZ_J_VOID;
    struct rz_jseq *all = rz_j_items(e, v), *out = rz_j_seq(e, RZ_J_ITER, 0),
                   *seen = rz_j_seq(e, RZ_J_LIST, 0);
    for (size_t i = 0; all && out && seen && i < all->n && rz_j_step(e, 1); i++) {
        struct rz_jvalue key = key_of(e, all->items[i], attribute, exact);
        if (key.type == RZ_J_DICT || rz_j_is_kind(key, RZ_J_LIST))
            return rz_j_fail(e, "unhashable type: '%s'", rz_j_type_name(key));
        if (!rz_j_contains(e, rz_j_seqv(seen), key)) {
            rz_j_push(e, seen, key);
            rz_j_push(e, out, all->items[i]);
        }
    }
    return rz_j_seqv(out);
}

struct rz_jvalue rz_jfilter_minmax(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args,
                                   bool max)
{
    static const char *const params[] = {"case_sensitive", "attribute", NULL};
    bool exact = rz_j_true(e, rz_jargs_get(args, 0, "case_sensitive", RZ_J_NULL));
    struct rz_jvalue attribute = rz_jargs_get(args, 1, "attribute", RZ_J_NULL), best = RZ_J_VOID,
                     best_key = best;
    if (!rz_jargs_check(e, max ? "max" : "min", args, 0, params))
        return RZ_J_VOID;
    struct rz_jseq *all = rz_j_items(e, v);
    for (size_t i = 0; all && i < all->n && rz_j_step(e, 1); i++) {
        struct rz_jvalue key = key_of(e, all->items[i], attribute, exact);
        int c = i ? rz_j_order(e, key, best_key, max ? ">" : "<") : 0;
        if (!i || (max ? c > 0 : c < 0)) {
            best = all->items[i];
            best_key = key;
        }
    }
    return best;
}

struct rz_jvalue rz_jfilter_sum(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args)
{
    static const char *const params[] = {"attribute", "start", NULL};
    struct rz_jvalue attribute = rz_jargs_get(args, 0, "attribute", RZ_J_NULL);
    struct rz_jvalue total = rz_jargs_get(args, 1, "start", rz_j_int(0));
    if (!rz_jargs_check(e, "sum", args, 0, params))
        return RZ_J_VOID;
    if (rz_j_is_str(total))
        return rz_j_fail(e, "sum() can't sum strings [use ''.join(seq) instead]");
    struct rz_jseq *all = rz_j_items(e, v);
    for (size_t i = 0; all && i < all->n && !e->failed; i++)
        total =
            rz_j_arith(e, RZ_JO_ADD, total,
                       attribute.type == RZ_J_NONE ? all->items[i] : by_path(e, all->items[i], attribute));
    return total;
}
