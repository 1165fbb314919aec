/* jinja_value.c - making and finding values; errors and costs of a rendering.
 */
#define _GNU_SOURCE /* qsort_r */
#include "grow.h"
#include "jinja_ast.h"
#include "utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* --- outside of a rendering --- */

size_t rz_j_count(const char *p, size_t n)
{
    size_t chars = 0;
    for (size_t i = 0; i < n; i++)
        chars += ((unsigned char)p[i] & 0xc0) != 0x80;
    return chars;
}

bool rz_jvalue_text(struct rz_arena *a, const char *text, size_t n, struct rz_jvalue *out)
{
    struct rz_jstr *s = rz_arena_alloc(a, sizeof(*s));
    char *copy = s ? rz_arena_strndup(a, text, n) : NULL;
    if (!copy)
        return false;
    *s = (struct rz_jstr){.p = copy, .n = n, .chars = rz_j_count(copy, n)};
    *out = (struct rz_jvalue){.type = RZ_J_STRING, .u.s = s};
    return true;
}

bool rz_jvalue_outside(struct rz_arena *a, const char *text, size_t n, struct rz_jvalue *out)
{
    struct {
        struct rz_jmarks marks;
        struct rz_jspan span;
    } *all = rz_arena_alloc(a, sizeof(*all));
    if (!all || !rz_jvalue_text(a, text, n, out))
        return false;
    struct rz_jstr *s = (struct rz_jstr *)out->u.s;
    all->span = (struct rz_jspan){0, n};
    all->marks = (struct rz_jmarks){.base = s->p, .spans = &all->span, .n = n > 0};
    s->marks = &all->marks;
    return true;
}

struct rz_jvalue rz_jvalue_bool(bool on)
{
    return rz_j_bool(on);
}

struct rz_jvalue rz_jvalue_int(int64_t i)
{
    return rz_j_int(i);
}

struct rz_jvalue rz_jvalue_dict(struct rz_jdict *d)
{
    return rz_j_dictv(d);
}

bool rz_jvalue_is_list(struct rz_jvalue v)
{
    return rz_j_is_kind(v, RZ_J_LIST);
}

size_t rz_jvalue_count(struct rz_jvalue list)
{
    return rz_jvalue_is_list(list) ? list.u.seq->n : 0;
}

struct rz_jvalue rz_jvalue_at(struct rz_jvalue list, size_t i)
{
    return list.u.seq->items[i];
}

bool rz_jvalue_is(struct rz_jvalue v, const char *text)
{
    return rz_j_eq_text(v, text);
}

size_t rz_jdict_count(const struct rz_jdict *d)
{
    return d->n;
}

void rz_jdict_at(const struct rz_jdict *d, size_t i, struct rz_jvalue *key, struct rz_jvalue *value)
{
    *key = d->pairs[i].key;
    *value = d->pairs[i].value;
}

struct rz_jdict *rz_jdict_new(struct rz_arena *a, size_t cap)
{
    struct rz_jdict *d = rz_arena_alloc(a, sizeof(*d));
    if (!d || !cap)
        return d;
    d->pairs = rz_arena_array(a, cap, sizeof(*d->pairs));
    d->cap = cap;
    return d->pairs ? d : NULL;
}

static int compare_text(const struct rz_jstr *s, const char *p, size_t n)
{
    size_t both = s->n < n ? s->n : n;
    int c = both ? memcmp(s->p, p, both) : 0;
    return c ? c : (s->n > n) - (s->n < n);
}

static struct rz_jpair *find_text(const struct rz_jdict *d, const char *key, size_t n)
{
    if (d->sorted) {
        size_t low = 0, high = d->n_sorted;
        while (low < high) {
            size_t mid = low + (high - low) / 2;
            int c = compare_text(d->pairs[d->sorted[mid]].key.u.s, key, n);
            if (!c)
                return &d->pairs[d->sorted[mid]];
            if (c < 0)
                low = mid + 1;
            else
                high = mid;
        }
        return NULL;
    }
    for (size_t i = 0; i < d->n; i++) {
        const struct rz_jvalue *k = &d->pairs[i].key;
        if (k->type == RZ_J_STRING && k->u.s->n == n && !memcmp(k->u.s->p, key, n))
            return &d->pairs[i];
    }
    return NULL;
}

const struct rz_jvalue *rz_jdict_text(const struct rz_jdict *d, const char *key, size_t n)
{
    struct rz_jpair *pair = find_text(d, key, n);
    return pair ? &pair->value : NULL;
}

static bool append_pair(struct rz_arena *a, struct rz_jdict *d, struct rz_jvalue key, struct rz_jvalue value)
{
    struct rz_jpair *pairs = rz_arena_grow(a, d->pairs, d->n, &d->cap, sizeof(*pairs), 8);
    if (!pairs)
        return false;
    d->pairs = pairs;
    d->pairs[d->n++] = (struct rz_jpair){key, value};
    d->sorted = NULL;
    return true;
}

bool rz_jdict_put(struct rz_arena *a, struct rz_jdict *d, struct rz_jvalue key, struct rz_jvalue value)
{
    struct rz_jpair *pair = key.type == RZ_J_STRING ? find_text(d, key.u.s->p, key.u.s->n) : NULL;
    if (!pair)
        return append_pair(a, d, key, value);
    pair->value = value;
    return true;
}

static int by_key(const void *x, const void *y, void *arg)
{
    const struct rz_jdict *d = arg;
    const struct rz_jstr *a = d->pairs[*(const uint32_t *)x].key.u.s;
    const struct rz_jstr *b = d->pairs[*(const uint32_t *)y].key.u.s;
    return compare_text(a, b->p, b->n);
}

bool rz_jdict_seal(struct rz_arena *a, struct rz_jdict *d)
{
    if (d->n <= 8 || d->n > UINT32_MAX)
        return true;
    uint32_t *sorted = rz_arena_array(a, d->n, sizeof(*sorted));
    if (!sorted)
        return false;
    d->n_sorted = 0;
    for (size_t i = 0; i < d->n; i++)
        if (d->pairs[i].key.type == RZ_J_STRING)
            sorted[d->n_sorted++] = (uint32_t)i;
    qsort_r(sorted, d->n_sorted, sizeof(*sorted), by_key, d);
    d->sorted = sorted;
    return true;
}

/* --- in a rendering --- */

static struct rz_jvalue fail(struct rz_jenv *e, int32_t code, const char *format, va_list args)
{
    char where[48], text[600];
    if (!e->failed) {
        vsnprintf(text, sizeof(text), format, args);
        snprintf(where, sizeof(where), "template:%u", e->line);
        rz_fail(e->err, code, where, "%s", text);
    }
    e->failed = true;
    return RZ_J_VOID;
}

struct rz_jvalue rz_j_fail(struct rz_jenv *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct rz_jvalue v = fail(e, RZ_EFORMAT, format, args);
    va_end(args);
    return v;
}

struct rz_jvalue rz_j_limit(struct rz_jenv *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct rz_jvalue v = fail(e, RZ_ELIMIT, format, args);
    va_end(args);
    return v;
}

bool rz_j_step(struct rz_jenv *e, uint64_t n)
{
    if (e->failed)
        return false;
    if (e->steps < n) {
        rz_j_limit(e, "the template takes more than %llu steps", (unsigned long long)e->limits.max_steps);
        return false;
    }
    e->steps -= n;
    return true;
}

static void *check_memory(struct rz_jenv *e, void *p)
{
    if (!p)
        rz_j_limit(e, "the template's values need more than %llu bytes",
                   (unsigned long long)e->limits.max_memory);
    return p;
}

void *rz_j_alloc(struct rz_jenv *e, size_t n, size_t each)
{
    return check_memory(e, e->failed ? NULL : rz_arena_array(&e->arena, n, each));
}

void *rz_j_grow(struct rz_jenv *e, void *array, size_t n, size_t *cap, size_t each, size_t first)
{
    return check_memory(e, e->failed ? NULL : rz_arena_grow(&e->arena, array, n, cap, each, first));
}

static struct rz_jvalue make(struct rz_jenv *e, const char *p, size_t n, size_t chars, uint32_t flags,
                             const struct rz_jmarks *marks)
{
    struct rz_jstr *s = rz_j_alloc(e, 1, sizeof(*s));
    if (!s)
        return RZ_J_VOID;
    *s = (struct rz_jstr){.p = p, .n = n, .chars = chars, .marks = marks};
    return (struct rz_jvalue){.type = RZ_J_STRING, .flags = flags, .u.s = s};
}

struct rz_jvalue rz_j_str(struct rz_jenv *e, const char *p, size_t n)
{
    char *copy = rz_j_step(e, n / 64) ? rz_j_alloc(e, n + 1, 1) : NULL;
    if (!copy)
        return RZ_J_VOID;
    if (n)
        memcpy(copy, p, n);
    return make(e, copy, n, rz_j_count(copy, n), 0, NULL);
}

struct rz_jvalue rz_j_cstr(struct rz_jenv *e, const char *p)
{
    return rz_j_str(e, p, strlen(p));
}

struct rz_jvalue rz_j_part(struct rz_jenv *e, struct rz_jvalue s, size_t from, size_t n)
{
    const char *p = s.u.s->p + from;
    if (!rz_j_step(e, n / 64))
        return RZ_J_VOID;
    return make(e, p, n, s.u.s->chars == s.u.s->n ? n : rz_j_count(p, n), s.flags & RZ_J_MARKUP,
                s.u.s->marks);
}

void rz_j_text(struct rz_jenv *e, struct rz_jtext *t)
{
    size_t left = e->arena.cap - e->arena.used;
    *t = (struct rz_jtext){.n = 0};
    rz_buf_init(&t->b, e->failed ? 0 : left);
}

struct rz_jvalue rz_j_take(struct rz_jenv *e, struct rz_jtext *t)
{
    struct rz_jvalue v = RZ_J_VOID;
    if (!rz_buf_ok(&t->b))
        rz_j_limit(e, "the template's values need more than %llu bytes",
                   (unsigned long long)e->limits.max_memory);
    else if (!e->failed)
        v = rz_j_str(e, t->b.data ? t->b.data : "", t->b.len);
    rz_buf_free(&t->b);
    struct rz_jmarks *marks = t->n && !e->failed ? rz_j_alloc(e, 1, sizeof(*marks)) : NULL;
    if (marks) {
        *marks = (struct rz_jmarks){.base = v.u.s->p, .spans = t->spans, .n = t->n};
        ((struct rz_jstr *)v.u.s)->marks = marks; /* nobody has seen it yet */
    }
    return v;
}

bool rz_j_eq_text(struct rz_jvalue v, const char *text)
{
    return v.type == RZ_J_STRING && v.u.s->n == strlen(text) && !memcmp(v.u.s->p, text, v.u.s->n);
}

size_t rz_j_offset(const struct rz_jstr *s, size_t chars)
{
    if (chars >= s->chars)
        return s->n;
    if (s->chars == s->n)
        return chars;
    size_t i = 0;
    for (chars++; chars; i++)
        chars -= ((unsigned char)s->p[i] & 0xc0) != 0x80;
    return i - 1;
}

struct rz_jseq *rz_j_seq(struct rz_jenv *e, uint32_t kind, size_t cap)
{
    struct rz_jseq *s = rz_j_step(e, 1 + cap / 8) ? rz_j_alloc(e, 1, sizeof(*s)) : NULL;
    if (!s)
        return NULL;
    s->kind = kind;
    if (cap) {
        s->items = rz_j_alloc(e, cap, sizeof(*s->items));
        s->cap = s->items ? cap : 0;
    }
    return e->failed ? NULL : s;
}

bool rz_j_push(struct rz_jenv *e, struct rz_jseq *s, struct rz_jvalue v)
{
    struct rz_jvalue *items = s ? rz_j_grow(e, s->items, s->n, &s->cap, sizeof(*items), 8) : NULL;
    if (!items)
        return false;
    s->items = items;
    s->items[s->n++] = v;
    return true;
}

struct rz_jvalue rz_j_tuple2(struct rz_jenv *e, struct rz_jvalue a, struct rz_jvalue b)
{
    struct rz_jseq *s = rz_j_seq(e, RZ_J_TUPLE, 2);
    rz_j_push(e, s, a);
    rz_j_push(e, s, b);
    return rz_j_seqv(s);
}

struct rz_jdict *rz_j_dict(struct rz_jenv *e, size_t cap)
{
    struct rz_jdict *d = rz_j_step(e, 1 + cap / 8) ? rz_jdict_new(&e->arena, cap) : NULL;
    if (!d)
        rz_j_limit(e, "the template's values need more than %llu bytes",
                   (unsigned long long)e->limits.max_memory);
    return d;
}

/* Keys are strings, numbers, none, and tuples of them; the rest cannot be hashed. */
static bool hashable(struct rz_jvalue v, unsigned depth)
{
    if (v.type == RZ_J_DICT || depth > 20)
        return false;
    if (v.type != RZ_J_SEQ)
        return true;
    if (v.u.seq->kind != RZ_J_TUPLE)
        return v.u.seq->kind == RZ_J_RANGE || v.u.seq->kind == RZ_J_ITER;
    for (size_t i = 0; i < v.u.seq->n; i++)
        if (!hashable(v.u.seq->items[i], depth + 1))
            return false;
    return true;
}

static struct rz_jpair *find_pair(struct rz_jenv *e, const struct rz_jdict *d, struct rz_jvalue key)
{
    if (key.type == RZ_J_STRING)
        return rz_j_step(e, d->sorted ? 1 : d->n / 8) ? find_text(d, key.u.s->p, key.u.s->n) : NULL;
    if (!hashable(key, 0)) {
        rz_j_fail(e, "unhashable type: '%s'", rz_j_type_name(key));
        return NULL;
    }
    for (size_t i = 0; i < d->n && rz_j_step(e, 1); i++)
        if (d->pairs[i].key.type != RZ_J_STRING && rz_j_equal(e, d->pairs[i].key, key))
            return &d->pairs[i];
    return NULL;
}

const struct rz_jvalue *rz_j_find(struct rz_jenv *e, const struct rz_jdict *d, struct rz_jvalue key)
{
    struct rz_jpair *pair = find_pair(e, d, key);
    return pair ? &pair->value : NULL;
}

void rz_j_put(struct rz_jenv *e, struct rz_jdict *d, struct rz_jvalue key, struct rz_jvalue value)
{
    struct rz_jpair *pair = d && !e->failed ? find_pair(e, d, key) : NULL;
    if (e->failed || !d)
        return;
    if (pair)
        pair->value = value;
    else if (!append_pair(&e->arena, d, key, value))
        rz_j_limit(e, "the template's values need more than %llu bytes",
                   (unsigned long long)e->limits.max_memory);
}
