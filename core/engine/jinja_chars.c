/* jinja_chars.c - what Python's str knows about characters: white space, case, classes.
 *
 * Case and class come from utf8proc; where Unicode maps one character to several, the few that occur in
 * text are listed here.
 */
#define _GNU_SOURCE /* memmem */
#include "jinja_value.h"
#include "utf8.h"

#include <utf8proc.h>

bool rz_j_space(uint32_t cp)
{
    return (cp >= 9 && cp <= 13) || (cp >= 28 && cp <= 32) || cp == 0x85 || cp == 0xa0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f ||
           cp == 0x3000;
}

bool rz_j_printable(uint32_t cp)
{
    if (cp < 127)
        return cp >= 32;
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
        return false;
    default:
        return true;
    }
}

/* One character in upper case that is several. */
static const struct {
    uint32_t from;
    const char *upper, *title;
} several[] = {
    {0xdf, "SS", "Ss"},
    {0x149, "\u02bcN", "\u02bcN"},
    {0x1f0, "J\u030c", "J\u030c"},
    {0xfb00, "FF", "Ff"},
    {0xfb01, "FI", "Fi"},
    {0xfb02, "FL", "Fl"},
    {0xfb03, "FFI", "Ffi"},
    {0xfb04, "FFL", "Ffl"},
    {0xfb05, "ST", "St"},
    {0xfb06, "ST", "St"},
    {0x587, "\u0535\u0552", "\u0535\u0582"},
    {0x1e96, "H\u0331", "H\u0331"},
    {0x1e97, "T\u0308", "T\u0308"},
    {0x1e98, "W\u030a", "W\u030a"},
    {0x1e99, "Y\u030a", "Y\u030a"},
    {0x1e9a, "A\u02be", "A\u02be"},
};

static void add_case(struct rz_buf *b, uint32_t cp, char to)
{
    char utf8[4];
    for (size_t i = 0; cp > 127 && to != 'l' && i < sizeof(several) / sizeof(several[0]); i++)
        if (several[i].from == cp) {
            rz_buf_str(b, to == 'u' ? several[i].upper : several[i].title);
            return;
        }
    if (to == 'l' && cp == 0x130) {
        rz_buf_str(b, "i\u0307");
        return;
    }
    utf8proc_int32_t c = (utf8proc_int32_t)cp;
    c = to == 'l' ? utf8proc_tolower(c) : to == 'u' ? utf8proc_toupper(c) : utf8proc_totitle(c);
    rz_buf_add(b, utf8, rz_utf8_encode((uint32_t)c, utf8));
}

static bool cased(uint32_t cp)
{
    if (cp < 128)
        return (cp | 32) >= 'a' && (cp | 32) <= 'z';
    int c = utf8proc_category((utf8proc_int32_t)cp);
    return c == UTF8PROC_CATEGORY_LU || c == UTF8PROC_CATEGORY_LL || c == UTF8PROC_CATEGORY_LT ||
           utf8proc_tolower((utf8proc_int32_t)cp) != (utf8proc_int32_t)cp ||
           utf8proc_toupper((utf8proc_int32_t)cp) != (utf8proc_int32_t)cp;
}

/* A capital sigma at the end of a word has a form of its own in lower case. */
static bool final_sigma(const struct rz_jstr *s, size_t at)
{
    uint32_t before = 0, after = 0;
    size_t i = at;
    while (i && ((unsigned char)s->p[--i] & 0xc0) == 0x80)
        ;
    if (at)
        rz_utf8_decode(s->p + i, s->n - i, &before);
    if (at + 2 < s->n)
        rz_utf8_decode(s->p + at + 2, s->n - at - 2, &after);
    return at && cased(before) && !cased(after);
}

/* how: 'u' upper, 'l' lower, 'c' capitalize, 't' title, 'f' the title filter */
static struct rz_jvalue change_case(struct rz_jenv *e, struct rz_jvalue s, char how)
{
    struct rz_jtext t;
    uint32_t cp;
    bool inside = false;
    rz_j_text(e, &t);
    if (rz_j_step(e, s.u.s->n / 16))
        for (size_t i = 0, n; i < s.u.s->n && rz_buf_ok(&t.b); i += n ? n : 1) {
            size_t at = t.b.len;
            n = rz_utf8_decode(s.u.s->p + i, s.u.s->n - i, &cp);
            char to = how == 'u' || how == 'l' ? how : inside ? 'l' : how == 'f' ? 'u' : 't';
            if (to == 'l' && cp == 0x3a3 && final_sigma(s.u.s, i))
                rz_buf_str(&t.b, "\u03c2");
            else
                add_case(&t.b, cp, to);
            rz_j_became(e, &t, at, s.u.s, i, n);
            if (how == 't')
                inside = cased(cp);
            else if (how == 'f') /* words begin behind these */
                inside = !rz_j_space(cp) && !(cp < 128 && strchr("-([{<", (int)cp) && cp);
            else
                inside = true;
        }
    struct rz_jvalue v = rz_j_take(e, &t);
    v.flags |= s.flags;
    return v;
}

struct rz_jvalue rz_j_upper(struct rz_jenv *e, struct rz_jvalue s)
{
    return change_case(e, s, 'u');
}

struct rz_jvalue rz_j_lower(struct rz_jenv *e, struct rz_jvalue s)
{
    return change_case(e, s, 'l');
}

struct rz_jvalue rz_j_title(struct rz_jenv *e, struct rz_jvalue s, bool filter)
{
    return change_case(e, s, filter ? 'f' : 't');
}

struct rz_jvalue rz_j_capitalize(struct rz_jenv *e, struct rz_jvalue s)
{
    return change_case(e, s, 'c');
}

static bool is_class(uint32_t cp, char what)
{
    int c = utf8proc_category((utf8proc_int32_t)cp);
    bool alpha = c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
    bool digit = c == UTF8PROC_CATEGORY_ND;
    bool super = cp == 0xb2 || cp == 0xb3 || cp == 0xb9 || cp == 0x2070 || (cp >= 0x2074 && cp <= 0x2079) ||
                 (cp >= 0x2080 && cp <= 0x2089);
    bool numeric = digit || super || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO;
    switch (what) {
    case 'a':
        return alpha;
    case 'd':
        return digit || super;
    case 'D':
        return digit;
    case 'N':
        return numeric;
    case 'n':
        return alpha || numeric;
    default:
        return rz_j_space(cp);
    }
}

bool rz_j_all(struct rz_jvalue s, char what)
{
    bool any = false;
    uint32_t cp;
    for (size_t i = 0, n; i < s.u.s->n; i += n ? n : 1) {
        n = rz_utf8_decode(s.u.s->p + i, s.u.s->n - i, &cp);
        if (what == 'u' || what == 'l') {
            int c = utf8proc_category((utf8proc_int32_t)cp);
            if (c == UTF8PROC_CATEGORY_LT || c == (what == 'u' ? UTF8PROC_CATEGORY_LL : UTF8PROC_CATEGORY_LU))
                return false;
            any |= c == (what == 'u' ? UTF8PROC_CATEGORY_LU : UTF8PROC_CATEGORY_LL);
        } else {
            if (!is_class(cp, what))
                return false;
            any = true;
        }
    }
    return any;
}

static bool in_set(const struct rz_jvalue *set, const char *p, size_t n)
{
    uint32_t cp;
    if (set)
        return memmem(set->u.s->p, set->u.s->n, p, n) != NULL;
    return rz_utf8_decode(p, n, &cp) && rz_j_space(cp);
}

struct rz_jvalue rz_j_strip(struct rz_jenv *e, struct rz_jvalue s, const struct rz_jvalue *set, int sides)
{
    const char *from = s.u.s->p, *to = from + s.u.s->n;
    while (sides & 1 && from < to) {
        size_t n = 1;
        while (from + n < to && ((unsigned char)from[n] & 0xc0) == 0x80)
            n++;
        if (!in_set(set, from, n))
            break;
        from += n;
    }
    while (sides & 2 && from < to) {
        const char *c = to - 1;
        while (c > from && ((unsigned char)*c & 0xc0) == 0x80)
            c--;
        if (!in_set(set, c, (size_t)(to - c)))
            break;
        to = c;
    }
    size_t gone = s.u.s->n - (size_t)(to - from);
    if (!rz_j_step(e, gone / 16))
        return RZ_J_VOID;
    return gone ? rz_j_part(e, s, (size_t)(from - s.u.s->p), (size_t)(to - from)) : s;
}

struct rz_jvalue rz_j_escape(struct rz_jenv *e, struct rz_jvalue v)
{
    struct rz_jtext t;
    struct rz_jvalue s = rz_j_to_str(e, v);
    if (e->failed || s.flags & RZ_J_MARKUP)
        return s;
    rz_j_text(e, &t);
    for (size_t i = 0; rz_j_step(e, i % 16 == 0) && i < s.u.s->n; i++) {
        char c = s.u.s->p[i];
        const char *to = c == '&'    ? "&amp;"
                         : c == '<'  ? "&lt;"
                         : c == '>'  ? "&gt;"
                         : c == '"'  ? "&#34;"
                         : c == '\'' ? "&#39;"
                                     : NULL;
        size_t at = t.b.len;
        rz_buf_add(&t.b, to ? to : &s.u.s->p[i], to ? strlen(to) : 1);
        rz_j_became(e, &t, at, s.u.s, i, 1);
    }
    s = rz_j_take(e, &t);
    s.flags |= RZ_J_MARKUP;
    return s;
}
