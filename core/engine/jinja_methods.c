/* jinja_methods.c - methods of strings, lists and dicts. Those that change a list or a dict do not exist,
 * as in jinja2's immutable sandbox.
 */
#define _GNU_SOURCE /* memmem */
#include "jinja_ast.h"

enum {
    M_CAPITALIZE,
    M_CASEFOLD,
    M_CENTER,
    M_COUNT,
    M_ENDSWITH,
    M_FIND,
    M_FORMAT,
    M_INDEX,
    M_ISALNUM,
    M_ISALPHA,
    M_ISDECIMAL,
    M_ISDIGIT,
    M_ISLOWER,
    M_ISNUMERIC,
    M_ISSPACE,
    M_ISUPPER,
    M_JOIN,
    M_LJUST,
    M_LOWER,
    M_LSTRIP,
    M_PARTITION,
    M_REMOVEPREFIX,
    M_REMOVESUFFIX,
    M_REPLACE,
    M_RFIND,
    M_RINDEX,
    M_RJUST,
    M_RPARTITION,
    M_RSPLIT,
    M_RSTRIP,
    M_SPLIT,
    M_SPLITLINES,
    M_STARTSWITH,
    M_STRIP,
    M_TITLE,
    M_UPPER,
    M_ZFILL,
    M_STRINGS,
    M_COPY = M_STRINGS,
    M_GET,
    M_ITEMS,
    M_KEYS,
    M_VALUES,
    M_DICTS,
    M_LCOPY = M_DICTS,
    M_LCOUNT,
    M_LINDEX,
    M_LISTS,
};

static const char *const names[] = {
    "capitalize",   "casefold",     "center",  "count",      "endswith",   "find",    "format",
    "index",        "isalnum",      "isalpha", "isdecimal",  "isdigit",    "islower", "isnumeric",
    "isspace",      "isupper",      "join",    "ljust",      "lower",      "lstrip",  "partition",
    "removeprefix", "removesuffix", "replace", "rfind",      "rindex",     "rjust",   "rpartition",
    "rsplit",       "rstrip",       "split",   "splitlines", "startswith", "strip",   "title",
    "upper",        "zfill",        "copy",    "get",        "items",      "keys",    "values",
    "copy",         "count",        "index",
};

static int32_t search(const char *name, size_t n, int32_t from, int32_t to)
{
    for (int32_t i = from; i < to; i++)
        if (strlen(names[i]) == n && !memcmp(names[i], name, n))
            return i;
    return -1;
}

static bool listed(const char *name, size_t n, const char *const *list)
{
    for (; *list; list++)
        if (strlen(*list) == n && !memcmp(*list, name, n))
            return true;
    return false;
}

int32_t rz_jmethod_find(struct rz_jvalue self, const char *name, size_t n)
{
    static const char *const of_list[] = {"append", "clear",   "extend", "insert", "pop",
                                          "remove", "reverse", "sort",   NULL};
    static const char *const of_dict[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};
    int32_t id = -1;
    if (self.type == RZ_J_STRING)
        return search(name, n, 0, M_STRINGS);
    if (self.type == RZ_J_DICT) {
        id = search(name, n, M_STRINGS, M_DICTS);
        return id < 0 && listed(name, n, of_dict) ? RZ_JMETHOD_FORBIDDEN : id;
    }
    if (self.type != RZ_J_SEQ || self.u.seq->kind > RZ_J_RANGE)
        return -1;
    id = search(name, n, M_DICTS, M_LISTS);
    if (id == M_LCOPY && self.u.seq->kind != RZ_J_LIST)
        return -1;
    return id < 0 && self.u.seq->kind == RZ_J_LIST && listed(name, n, of_list) ? RZ_JMETHOD_FORBIDDEN : id;
}

/* --- dicts and lists --- */

static struct rz_jvalue view(struct rz_jenv *e, const struct rz_jdict *d, uint32_t kind)
{
    struct rz_jseq *s = rz_j_seq(e, kind, d->n);
    for (size_t i = 0; s && i < d->n; i++)
        rz_j_push(e, s,
                  kind == RZ_J_KEYS     ? d->pairs[i].key
                  : kind == RZ_J_VALUES ? d->pairs[i].value
                                        : rz_j_tuple2(e, d->pairs[i].key, d->pairs[i].value));
    return rz_j_seqv(s);
}

static struct rz_jvalue dict_method(struct rz_jenv *e, struct rz_jvalue self, int32_t id,
                                    const struct rz_jargs *args)
{
    if (id == M_GET) {
        if (args->n < 1 || args->n > 2 || args->n_named)
            return rz_j_fail(e, "get: 1 or 2 arguments");
        const struct rz_jvalue *found = rz_j_find(e, self.u.dict, args->v[0]);
        return found ? *found : args->n > 1 ? args->v[1] : RZ_J_NULL;
    }
    if (args->n || args->n_named)
        return rz_j_fail(e, "%s: takes no arguments", names[id]);
    if (id == M_COPY)
        return self;
    return view(e, self.u.dict, id == M_KEYS ? RZ_J_KEYS : id == M_VALUES ? RZ_J_VALUES : RZ_J_ITEMS);
}

static struct rz_jvalue list_method(struct rz_jenv *e, struct rz_jvalue self, int32_t id,
                                    const struct rz_jargs *args)
{
    int64_t count = 0;
    if (id == M_LCOPY)
        return self;
    if (args->n != 1 || args->n_named)
        return rz_j_fail(e, "%s: one argument", names[id]);
    for (size_t i = 0; i < self.u.seq->n && rz_j_step(e, 1); i++)
        if (rz_j_equal(e, self.u.seq->items[i], args->v[0])) {
            if (id == M_LINDEX)
                return rz_j_int((int64_t)i);
            count++;
        }
    return id == M_LINDEX ? rz_j_fail(e, "the value is not in the list") : rz_j_int(count);
}

struct rz_jvalue rz_jmethod_call(struct rz_jenv *e, const struct rz_jmethod *m, const struct rz_jargs *args)
{
    if (m->id < M_STRINGS)
        return rz_jstr_method(e, m->self, m->id, args);
    return m->id < M_DICTS ? dict_method(e, m->self, m->id, args) : list_method(e, m->self, m->id, args);
}

/* --- strings --- */

/* The part that the positions args[1] and args[2] leave: byte offsets. */
static bool window(struct rz_jenv *e, const struct rz_jstr *s, const struct rz_jargs *args, size_t *from,
                   size_t *to)
{
    int64_t at[2] = {0, (int64_t)s->chars}, n = at[1];
    for (uint32_t i = 0; i < 2 && i + 1 < args->n; i++) {
        struct rz_jvalue v = args->v[i + 1];
        if (v.type == RZ_J_NONE)
            continue;
        if (!rz_j_is_int(v)) {
            rz_j_fail(e, "positions must be integers or None");
            return false;
        }
        at[i] = v.u.i < 0 ? (v.u.i < -n ? 0 : v.u.i + n) : v.u.i;
    }
    *from = rz_j_offset(s, (size_t)at[0]);
    *to = rz_j_offset(s, (size_t)(at[1] > n ? n : at[1]));
    return at[0] <= n && *from <= *to;
}

static struct rz_jvalue starts(struct rz_jenv *e, struct rz_jvalue self, int32_t id,
                               const struct rz_jargs *args)
{
    size_t from, to;
    if (args->n < 1 || args->n > 3)
        return rz_j_fail(e, "%s: 1 to 3 arguments", names[id]);
    if (!window(e, self.u.s, args, &from, &to))
        return rz_j_bool(false);
    struct rz_jseq one = {.items = &args->v[0], .n = 1}, *list = &one;
    if (rz_j_is_kind(args->v[0], RZ_J_TUPLE))
        list = args->v[0].u.seq;
    for (size_t i = 0; i < list->n && rz_j_step(e, 1); i++) {
        if (!rz_j_is_str(list->items[i]))
            return rz_j_fail(e, "%s first arg must be str or a tuple of str, not %s", names[id],
                             rz_j_type_name(list->items[i]));
        const struct rz_jstr *x = list->items[i].u.s;
        if (x->n <= to - from && !memcmp(self.u.s->p + (id == M_ENDSWITH ? to - x->n : from), x->p, x->n))
            return rz_j_bool(true);
    }
    return rz_j_bool(false);
}

static const char *last_of(const char *p, size_t n, const char *what, size_t k)
{
    for (size_t i = n >= k ? n - k + 1 : 0; i-- > 0;)
        if (!memcmp(p + i, what, k))
            return p + i;
    return NULL;
}

static struct rz_jvalue find(struct rz_jenv *e, struct rz_jvalue self, int32_t id,
                             const struct rz_jargs *args)
{
    size_t from, to;
    int64_t count = 0;
    if (args->n < 1 || args->n > 3 || !rz_j_is_str(args->v[0]))
        return rz_j_fail(e, "%s: a string is missing", names[id]);
    bool in = window(e, self.u.s, args, &from, &to);
    const struct rz_jstr *x = args->v[0].u.s;
    const char *p = self.u.s->p + from, *end = self.u.s->p + to, *hit = NULL;
    if (!rz_j_step(e, self.u.s->n / 16))
        return RZ_J_VOID;
    if (id == M_COUNT) {
        if (in && !x->n)
            return rz_j_int((int64_t)rz_j_count(p, to - from) + 1);
        for (; in && (p = memmem(p, (size_t)(end - p), x->p, x->n)); p += x->n)
            count++;
        return rz_j_int(count);
    }
    if (in)
        hit = id == M_FIND || id == M_INDEX ? memmem(p, to - from, x->p, x->n)
                                            : last_of(p, to - from, x->p, x->n);
    if (!hit && (id == M_INDEX || id == M_RINDEX))
        return rz_j_fail(e, "substring not found");
    return rz_j_int(hit ? (int64_t)rz_j_count(self.u.s->p, (size_t)(hit - self.u.s->p)) : -1);
}

static struct rz_jvalue partition(struct rz_jenv *e, struct rz_jvalue self, int32_t id,
                                  const struct rz_jargs *args)
{
    if (args->n != 1 || !rz_j_is_str(args->v[0]) || !args->v[0].u.s->n)
        return rz_j_fail(e, "%s: a string that is not empty is missing", names[id]);
    const struct rz_jstr *s = self.u.s, *x = args->v[0].u.s;
    const char *hit = id == M_PARTITION ? memmem(s->p, s->n, x->p, x->n) : last_of(s->p, s->n, x->p, x->n);
    struct rz_jseq *out = rz_j_seq(e, RZ_J_TUPLE, 3);
    size_t at = hit ? (size_t)(hit - s->p) : id == M_PARTITION ? s->n : 0, sep = hit ? x->n : 0;
    rz_j_push(e, out, rz_j_part(e, self, 0, at));
    rz_j_push(e, out, rz_j_part(e, self, at, sep));
    rz_j_push(e, out, rz_j_part(e, self, at + sep, s->n - at - sep));
    return rz_j_seqv(out);
}

static struct rz_jvalue pad(struct rz_jenv *e, struct rz_jvalue self, int32_t id, const struct rz_jargs *args)
{
    const struct rz_jstr *s = self.u.s;
    struct rz_jvalue fill = args->n > 1 ? args->v[1] : rz_j_str(e, id == M_ZFILL ? "0" : " ", 1);
    struct rz_jtext t;
    if (args->n < 1 || !rz_j_is_int(args->v[0]) || !rz_j_is_str(fill) || fill.u.s->chars != 1)
        return rz_j_fail(e, "%s: a width and a character", names[id]);
    int64_t more = args->v[0].u.i - (int64_t)s->chars;
    if (more <= 0)
        return self;
    if (more > 100000)
        return rz_j_limit(e, "%s: the width is over 100000", names[id]);
    int64_t left = id == M_LJUST ? 0 : id == M_CENTER ? more / 2 + (more & args->v[0].u.i & 1) : more;
    bool sign = id == M_ZFILL && s->n && (s->p[0] == '-' || s->p[0] == '+');
    rz_j_text(e, &t);
    rz_j_add(e, &t, s, 0, sign);
    for (int64_t i = 0; i < left; i++)
        rz_j_add(e, &t, fill.u.s, 0, fill.u.s->n);
    rz_j_add(e, &t, s, sign, s->n - sign);
    for (int64_t i = left; i < more; i++)
        rz_j_add(e, &t, fill.u.s, 0, fill.u.s->n);
    return rz_j_take(e, &t);
}

static struct rz_jvalue remove_end(struct rz_jenv *e, struct rz_jvalue self, int32_t id,
                                   const struct rz_jargs *args)
{
    if (args->n != 1 || !rz_j_is_str(args->v[0]))
        return rz_j_fail(e, "%s: a string is missing", names[id]);
    const struct rz_jstr *s = self.u.s, *x = args->v[0].u.s;
    size_t at = id == M_REMOVEPREFIX || x->n > s->n ? 0 : s->n - x->n;
    if (!x->n || x->n > s->n || memcmp(s->p + at, x->p, x->n) != 0)
        return self;
    return rz_j_part(e, self, at ? 0 : id == M_REMOVEPREFIX ? x->n : 0, s->n - x->n);
}

/* --- splitting --- */

static size_t space(const struct rz_jstr *s, size_t at)
{
    size_t n = 1;
    while (at + n < s->n && ((unsigned char)s->p[at + n] & 0xc0) == 0x80)
        n++;
    struct rz_jstr one = {.p = s->p + at, .n = n, .chars = 1};
    return rz_j_all((struct rz_jvalue){.type = RZ_J_STRING, .u.s = &one}, 's') ? n : 0;
}

static void split_space(struct rz_jenv *e, struct rz_jvalue self, int64_t max, struct rz_jseq *out)
{
    const struct rz_jstr *s = self.u.s;
    size_t at = 0, n;
    while (at < s->n && rz_j_step(e, 1)) {
        while (at < s->n && (n = space(s, at)))
            at += n;
        if (at == s->n)
            break;
        size_t from = at;
        if (max >= 0 && (int64_t)out->n >= max) {
            rz_j_push(e, out, rz_j_part(e, self, from, s->n - from));
            break;
        }
        while (at < s->n && !space(s, at))
            at++;
        rz_j_push(e, out, rz_j_part(e, self, from, at - from));
    }
}

/* From the right: out is in reverse order. */
static void rsplit_space(struct rz_jenv *e, struct rz_jvalue self, int64_t max, struct rz_jseq *out)
{
    struct rz_jvalue left = rz_j_strip(e, self, NULL, 2);
    while (!e->failed && left.u.s->n && rz_j_step(e, 1)) {
        if (max >= 0 && (int64_t)out->n >= max) {
            rz_j_push(e, out, left);
            break;
        }
        const struct rz_jstr *s = left.u.s;
        size_t at = s->n;
        while (at && !(((unsigned char)s->p[at - 1] & 0x80) == 0 ? space(s, at - 1) : 0)) {
            size_t c = at - 1;
            while (c && ((unsigned char)s->p[c] & 0xc0) == 0x80)
                c--;
            if (space(s, c))
                break;
            at = c;
        }
        rz_j_push(e, out, rz_j_part(e, left, at, s->n - at));
        left = rz_j_part(e, left, 0, at);
        left = e->failed ? left : rz_j_strip(e, left, NULL, 2);
    }
}

static void split_by(struct rz_jenv *e, struct rz_jvalue self, const struct rz_jstr *by, int64_t max,
                     bool right, struct rz_jseq *out)
{
    size_t from = 0, to = self.u.s->n;
    const char *p = self.u.s->p, *hit;
    while ((max < 0 || (int64_t)out->n < max) && rz_j_step(e, 1)) {
        hit = right ? last_of(p, to, by->p, by->n) : memmem(p + from, to - from, by->p, by->n);
        if (!hit)
            break;
        size_t at = (size_t)(hit - p);
        rz_j_push(e, out,
                  right ? rz_j_part(e, self, at + by->n, to - at - by->n)
                        : rz_j_part(e, self, from, at - from));
        if (right)
            to = at;
        else
            from = at + by->n;
    }
    rz_j_push(e, out, rz_j_part(e, self, from, to - from));
}

static struct rz_jvalue split(struct rz_jenv *e, struct rz_jvalue self, int32_t id,
                              const struct rz_jargs *args)
{
    static const char *const params[] = {"sep", "maxsplit", NULL};
    struct rz_jvalue sep = rz_jargs_get(args, 0, "sep", RZ_J_NULL);
    struct rz_jvalue max = rz_jargs_get(args, 1, "maxsplit", rz_j_int(-1));
    struct rz_jseq *out = rz_j_seq(e, RZ_J_LIST, 0);
    if (!out || !rz_jargs_check(e, names[id], args, 0, params) || !rz_j_step(e, self.u.s->n / 16))
        return RZ_J_VOID;
    if (!rz_j_is_int(max) || (sep.type != RZ_J_NONE && !rz_j_is_str(sep)))
        return rz_j_fail(e, "%s: not a separator, or not a number of splits", names[id]);
    if (rz_j_is_str(sep) && !sep.u.s->n)
        return rz_j_fail(e, "empty separator");
    if (rz_j_is_str(sep))
        split_by(e, self, sep.u.s, max.u.i, id == M_RSPLIT, out);
    else if (id == M_SPLIT)
        split_space(e, self, max.u.i, out);
    else
        rsplit_space(e, self, max.u.i, out);
    for (size_t i = 0; id == M_RSPLIT && i < out->n / 2; i++) {
        struct rz_jvalue v = out->items[i];
        out->items[i] = out->items[out->n - 1 - i];
        out->items[out->n - 1 - i] = v;
    }
    return rz_j_seqv(out);
}

/* The length of the line end at p, 0 if there is none. */
static size_t line_end(const char *p, size_t n)
{
    unsigned char c = (unsigned char)*p;
    if (c == '\r')
        return n > 1 && p[1] == '\n' ? 2 : 1;
    if ((c >= 10 && c <= 12) || (c >= 28 && c <= 30))
        return 1;
    if (n > 1 && c == 0xc2 && (unsigned char)p[1] == 0x85)
        return 2;
    return n > 2 && c == 0xe2 && (unsigned char)p[1] == 0x80 && ((unsigned char)p[2] | 1) == 0xa9 ? 3 : 0;
}

static struct rz_jvalue splitlines(struct rz_jenv *e, struct rz_jvalue self, const struct rz_jargs *args)
{
    bool keep = rz_j_true(e, rz_jargs_get(args, 0, "keepends", RZ_J_NULL));
    struct rz_jseq *out = rz_j_seq(e, RZ_J_LIST, 0);
    const struct rz_jstr *s = self.u.s;
    size_t from = 0, n;
    for (size_t i = 0; i < s->n && rz_j_step(e, i % 16 == 0); i += n ? n : 1) {
        n = line_end(s->p + i, s->n - i);
        if (n) {
            rz_j_push(e, out, rz_j_part(e, self, from, i - from + (keep ? n : 0)));
            from = i + n;
        }
    }
    if (from < s->n)
        rz_j_push(e, out, rz_j_part(e, self, from, s->n - from));
    return rz_j_seqv(out);
}

struct rz_jvalue rz_j_replace(struct rz_jenv *e, struct rz_jvalue s, struct rz_jvalue from,
                              struct rz_jvalue to, int64_t count)
{
    struct rz_jtext t;
    const char *first = s.u.s->p, *p = first, *end = p + s.u.s->n, *hit;
    rz_j_text(e, &t);
    for (; count && p <= end && rz_j_step(e, 1); count -= count > 0) {
        hit = from.u.s->n ? memmem(p, (size_t)(end - p), from.u.s->p, from.u.s->n) : p;
        if (!hit)
            break;
        rz_j_add(e, &t, s.u.s, (size_t)(p - first), (size_t)(hit - p));
        rz_j_add(e, &t, to.u.s, 0, to.u.s->n);
        p = hit + from.u.s->n;
        if (!from.u.s->n) { /* before each character and at the end */
            size_t n = p < end;
            while (p + n < end && ((unsigned char)p[n] & 0xc0) == 0x80)
                n++;
            rz_j_add(e, &t, s.u.s, (size_t)(p - first), n);
            p += n ? n : 1;
        }
    }
    if (p < end)
        rz_j_add(e, &t, s.u.s, (size_t)(p - first), (size_t)(end - p));
    struct rz_jvalue v = rz_j_take(e, &t);
    v.flags |= s.flags;
    return v;
}

struct rz_jvalue rz_j_join(struct rz_jenv *e, struct rz_jvalue by, struct rz_jvalue list, bool any)
{
    struct rz_jseq *s = rz_j_items(e, list);
    struct rz_jtext t;
    rz_j_text(e, &t);
    for (size_t i = 0; s && i < s->n && rz_j_step(e, 1); i++) {
        if (i)
            rz_j_add(e, &t, by.u.s, 0, by.u.s->n);
        if (!any && !rz_j_is_str(s->items[i]))
            rz_j_fail(e, "sequence item %zu: expected str instance, %s found", i,
                      rz_j_type_name(s->items[i]));
        rz_j_print(e, &t, s->items[i]);
    }
    return rz_j_take(e, &t);
}

static struct rz_jvalue replace(struct rz_jenv *e, struct rz_jvalue self, const struct rz_jargs *args)
{
    static const char *const params[] = {"old", "new", "count", NULL};
    struct rz_jvalue count = rz_jargs_get(args, 2, NULL, rz_j_int(-1));
    if (!rz_jargs_check(e, "replace", args, 2, params))
        return RZ_J_VOID;
    if (args->n < 2 || !rz_j_is_str(args->v[0]) || !rz_j_is_str(args->v[1]) || !rz_j_is_int(count))
        return rz_j_fail(e, "replace: two strings and perhaps a count");
    return rz_j_replace(e, self, args->v[0], args->v[1], count.u.i);
}

static struct rz_jvalue strip(struct rz_jenv *e, struct rz_jvalue self, int32_t id,
                              const struct rz_jargs *args)
{
    int sides = id == M_LSTRIP ? 1 : id == M_RSTRIP ? 2 : 3;
    if (args->n > 1 || args->n_named)
        return rz_j_fail(e, "%s: at most one argument", names[id]);
    if (!args->n || args->v[0].type == RZ_J_NONE)
        return rz_j_strip(e, self, NULL, sides);
    if (!rz_j_is_str(args->v[0]))
        return rz_j_fail(e, "%s arg must be None or str", names[id]);
    return rz_j_strip(e, self, &args->v[0], sides);
}

/* Methods without arguments. */
static struct rz_jvalue plain(struct rz_jenv *e, struct rz_jvalue self, int32_t id,
                              const struct rz_jargs *args)
{
    if (args->n || args->n_named)
        return rz_j_fail(e, "%s: takes no arguments", names[id]);
    switch (id) {
    case M_CAPITALIZE:
        return rz_j_capitalize(e, self);
    case M_CASEFOLD:
    case M_LOWER:
        return rz_j_lower(e, self);
    case M_TITLE:
        return rz_j_title(e, self, false);
    case M_UPPER:
        return rz_j_upper(e, self);
    case M_ISALNUM:
        return rz_j_bool(rz_j_all(self, 'n'));
    case M_ISALPHA:
        return rz_j_bool(rz_j_all(self, 'a'));
    case M_ISDECIMAL:
        return rz_j_bool(rz_j_all(self, 'D'));
    case M_ISDIGIT:
        return rz_j_bool(rz_j_all(self, 'd'));
    case M_ISNUMERIC:
        return rz_j_bool(rz_j_all(self, 'N'));
    case M_ISLOWER:
        return rz_j_bool(rz_j_all(self, 'l'));
    case M_ISUPPER:
        return rz_j_bool(rz_j_all(self, 'u'));
    default:
        return rz_j_bool(rz_j_all(self, 's'));
    }
}

struct rz_jvalue rz_jstr_method(struct rz_jenv *e, struct rz_jvalue self, int32_t id,
                                const struct rz_jargs *args)
{
    if (!rz_j_step(e, 1 + self.u.s->n / 64))
        return RZ_J_VOID;
    switch (id) {
    case M_COUNT:
    case M_FIND:
    case M_INDEX:
    case M_RFIND:
    case M_RINDEX:
        return find(e, self, id, args);
    case M_STARTSWITH:
    case M_ENDSWITH:
        return starts(e, self, id, args);
    case M_PARTITION:
    case M_RPARTITION:
        return partition(e, self, id, args);
    case M_CENTER:
    case M_LJUST:
    case M_RJUST:
    case M_ZFILL:
        return pad(e, self, id, args);
    case M_REMOVEPREFIX:
    case M_REMOVESUFFIX:
        return remove_end(e, self, id, args);
    case M_SPLIT:
    case M_RSPLIT:
        return split(e, self, id, args);
    case M_SPLITLINES:
        return splitlines(e, self, args);
    case M_STRIP:
    case M_LSTRIP:
    case M_RSTRIP:
        return strip(e, self, id, args);
    case M_REPLACE:
        return replace(e, self, args);
    case M_JOIN:
        if (args->n != 1 || args->n_named)
            return rz_j_fail(e, "join: one argument");
        return rz_j_join(e, self, args->v[0], false);
    case M_FORMAT:
        return rz_j_format(e, self, args);
    default:
        return plain(e, self, id, args);
    }
}
