/* jinja_funcs.c - the functions that a template finds beside its variables.
 */
#include "jinja_ast.h"

#include <time.h>

enum {
    G_DICT,
    G_NAMESPACE,
    G_RAISE,
    G_RANGE,
    G_STRFTIME,
    G_N
};

static const char *const names[G_N] = {"dict", "namespace", "raise_exception", "range", "strftime_now"};

int32_t rz_jfunc_find(const char *name, size_t n)
{
    for (int32_t i = 0; i < G_N; i++)
        if (strlen(names[i]) == n && !memcmp(names[i], name, n))
            return i;
    return -1;
}

/* A mapping, or pairs, and named values. */
static struct rz_jdict *make_dict(struct rz_jenv *e, const struct rz_jargs *args)
{
    struct rz_jdict *d = rz_j_dict(e, 0);
    if (args->n > 1)
        rz_j_fail(e, "dict: at most one positional argument, not %u", args->n);
    if (d && args->n && args->v[0].type == RZ_J_DICT) {
        const struct rz_jdict *from = args->v[0].u.dict;
        for (size_t i = 0; i < from->n && rz_j_step(e, 1); i++)
            rz_j_put(e, d, from->pairs[i].key, from->pairs[i].value);
    } else if (d && args->n) {
        struct rz_jseq *pairs = rz_j_items(e, args->v[0]);
        for (size_t i = 0; pairs && i < pairs->n && rz_j_step(e, 1); i++) {
            struct rz_jseq *pair = rz_j_items(e, pairs->items[i]);
            if (pair && pair->n == 2)
                rz_j_put(e, d, pair->items[0], pair->items[1]);
            else
                rz_j_fail(e, "dict: element %zu is not a pair", i);
        }
    }
    for (uint32_t i = 0; d && i < args->n_named && rz_j_step(e, 1); i++)
        rz_j_put(e, d, args->named[i].name, args->named[i].value);
    return e->failed ? NULL : d;
}

static struct rz_jvalue range(struct rz_jenv *e, const struct rz_jargs *args)
{
    int64_t start = 0, stop, step = 1;
    if (args->n < 1 || args->n > 3 || args->n_named)
        return rz_j_fail(e, "range: 1 to 3 arguments, not %u", args->n + args->n_named);
    for (uint32_t i = 0; i < args->n; i++)
        if (!rz_j_is_int(args->v[i]))
            return rz_j_fail(e, "range: '%s' is not a whole number", rz_j_type_name(args->v[i]));
    stop = args->v[args->n > 1].u.i;
    start = args->n > 1 ? args->v[0].u.i : 0;
    step = args->n > 2 ? args->v[2].u.i : 1;
    if (!step)
        return rz_j_fail(e, "range: the step must not be zero");
    unsigned __int128 span = 0;
    if (step > 0 ? stop > start : stop < start) {
        __int128 way = step > 0 ? (__int128)stop - start : (__int128)start - stop;
        __int128 each = step > 0 ? step : -(__int128)step;
        span = (unsigned __int128)((way + each - 1) / each);
    }
    if (span > e->limits.max_range)
        return rz_j_limit(e, "range: more than %llu items", (unsigned long long)e->limits.max_range);
    struct rz_jseq *s = rz_j_seq(e, RZ_J_RANGE, (size_t)span);
    for (size_t i = 0; s && i < (size_t)span; i++)
        rz_j_push(e, s, rz_j_int((int64_t)(start + (__int128)step * (__int128)i)));
    if (s) {
        s->start = start;
        s->stop = stop;
        s->step = step;
    }
    return rz_j_seqv(s);
}

static struct rz_jvalue raise(struct rz_jenv *e, const struct rz_jargs *args)
{
    static const char *const params[] = {"message", NULL};
    char shown[700];
    if (!rz_jargs_check(e, "raise_exception", args, 1, params))
        return RZ_J_VOID;
    struct rz_jvalue text = rz_j_to_str(e, rz_jargs_get(args, 0, "message", RZ_J_VOID));
    if (e->failed)
        return RZ_J_VOID;
    rz_fail(e->err, RZ_EFORMAT, "template", "%s", rz_show(shown, sizeof(shown), text.u.s->p, text.u.s->n));
    e->failed = true;
    return RZ_J_VOID;
}

static struct rz_jvalue strftime_now(struct rz_jenv *e, const struct rz_jargs *args)
{
    static const char *const params[] = {"format", NULL};
    struct rz_jvalue format = rz_jargs_get(args, 0, "format", RZ_J_VOID);
    char text[1024];
    struct tm tm;
    time_t now = (time_t)e->limits.now;
    if (!rz_jargs_check(e, "strftime_now", args, 1, params))
        return RZ_J_VOID;
    if (!rz_j_is_str(format) || memchr(format.u.s->p, 0, format.u.s->n) || format.u.s->n > 256)
        return rz_j_fail(e, "strftime_now: the format is not a string of at most 256 bytes");
    if (!gmtime_r(&now, &tm))
        return rz_j_fail(e, "strftime_now: the clock is out of range");
    size_t n = strftime(text, sizeof(text), format.u.s->p, &tm);
    if (!n && format.u.s->n)
        text[0] = 0;
    return rz_j_str(e, text, n);
}

struct rz_jvalue rz_jfunc_call(struct rz_jenv *e, int32_t id, const struct rz_jargs *args)
{
    struct rz_jdict *d;
    switch (id) {
    case G_DICT:
        return rz_j_dictv(make_dict(e, args));
    case G_NAMESPACE:
        d = make_dict(e, args);
        return d ? (struct rz_jvalue){.type = RZ_J_NAMESPACE, .u.dict = d} : RZ_J_VOID;
    case G_RAISE:
        return raise(e, args);
    case G_RANGE:
        return range(e, args);
    default:
        return strftime_now(e, args);
    }
}
