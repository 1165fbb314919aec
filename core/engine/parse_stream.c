/* parse_stream.c - calls whose arguments are JSON: told of while they are written.
 *
 * A call is one as soon as its name is known and its arguments have begun with a brace. From then on every
 * byte comes out as it is read, as long as it goes on as JSON; where it does not, the call ends as it is.
 * What stands in another order is read once it is whole, call by call. Nothing that is out is taken back,
 * so what is not JSON behind it is content.
 */
#include "parse_state.h"

#include <string.h>

#define TAIL_MAX_BYTES 64 /* between the JSON of a call and its end */

/* --- what comes out --- */

static void tell(struct rz_parser *p, size_t n, uint32_t flags)
{
    struct rz_parse_stream *s = &p->s;
    struct rz_chat_piece piece = {.size = sizeof(piece),
                                  .kind = RZ_CHAT_CALL,
                                  .index = p->n_calls - 1,
                                  .flags = flags | s->begins,
                                  .text = {p->in.data, n}};
    piece.name = (struct rz_str){s->call.name.data, s->call.name.len};
    piece.id = (struct rz_str){s->call.id.data ? s->call.id.data : "", s->call.id.len};
    if (n || flags) {
        p->emit(p->arg, &piece);
        s->begins = 0;
    }
    s->telling = !(flags & RZ_CHAT_END);
    rz_buf_drop(&p->in, n);
    p->scanned -= n;
}

void rz_parse_tell_begin(struct rz_parser *p)
{
    rz_buf_clear(&p->held);
    p->n_calls++;
    p->s.telling = p->s.told = p->s.committed = true;
    p->s.begins = RZ_CHAT_BEGIN;
}

void rz_parse_tell_cut(struct rz_parser *p)
{
    tell(p, 0, RZ_CHAT_END | RZ_CHAT_CUT);
}

int rz_parse_tell(struct rz_parser *p, size_t n)
{
    struct rz_parse_stream *s = &p->s;
    while (p->scanned < n) {
        if (!rz_json_push(&s->json, p->in.data[p->scanned])) {
            tell(p, p->scanned, RZ_CHAT_END | RZ_CHAT_CUT);
            return -1;
        }
        p->scanned++;
        if (s->json.depth > s->outside)
            continue;
        tell(p, p->scanned, RZ_CHAT_END);
        return 1;
    }
    tell(p, p->scanned, 0);
    return 0;
}

/* --- the objects around arguments --- */

void rz_parse_json_begin(struct rz_parser *p)
{
    struct rz_parse_stream *s = &p->s;
    p->state = RZ_PS_JSON;
    p->scanned = 0;
    s->json = (struct rz_json_push){0};
    s->element = 0;
    s->list = s->outside = s->begins = 0;
    s->inside = s->committed = s->plain = s->telling = s->told = false;
}

static void begin_element(struct rz_parser *p, size_t at)
{
    struct rz_parse_stream *s = &p->s;
    if (s->told) { /* commas and blanks between two calls */
        rz_buf_drop(&p->in, at);
        p->scanned -= at;
        at = 0;
    }
    s->element = at;
    s->inside = true;
    s->committed = s->plain = false;
    s->key_n = 0;
    rz_call_clear(&s->call);
}

/* Brackets and commas around calls. False: something else. */
static bool around(struct rz_parser *p, size_t at, char c)
{
    struct rz_parse_stream *s = &p->s;
    bool first = !s->list && c == '[';
    s->list |= first;
    if (c == '{')
        begin_element(p, at);
    return first || strchr("{],\n\t\r ", c);
}

static bool commits(struct rz_parser *p, struct rz_part key, char c)
{
    struct rz_parse_stream *s = &p->s;
    const struct rz_calls calls = {.tools = p->tools};
    uint32_t flags = p->kind.format->flags;
    if (flags & RZ_PARSE_KEYED) {
        s->plain = c != '{' || !rz_call_name(&s->call, key);
    } else {
        enum rz_call_key is = rz_call_key(key);
        if (is != RZ_KEY_ARGUMENTS && !(is == RZ_KEY_FUNCTION && c == '{'))
            return false;
        s->plain = is == RZ_KEY_FUNCTION || c != '{' || !s->call.name.len;
    }
    s->plain |= !rz_buf_ok(&s->call.name) || !rz_buf_ok(&s->call.id) ||
                (flags & RZ_PARSE_BARE && !rz_call_known(&calls, &s->call));
    return !s->plain;
}

static void begin_value(struct rz_parser *p, size_t at, char c)
{
    struct rz_parse_stream *s = &p->s;
    s->value = at;
    if (s->plain || s->committed || !commits(p, (struct rz_part){p->in.data + s->key, s->key_n}, c))
        return;
    rz_buf_drop(&p->in, at);
    p->scanned = 1;
    s->outside = s->json.depth - 1;
    rz_parse_tell_begin(p);
}

static void end_text(struct rz_parser *p)
{
    struct rz_parse_stream *s = &p->s;
    enum rz_call_key is = rz_call_key((struct rz_part){p->in.data + s->key, s->key_n});
    struct rz_part text = {p->in.data + s->value, p->scanned - s->value};
    if (s->plain || s->committed || p->kind.format->flags & RZ_PARSE_KEYED)
        return;
    if ((is == RZ_KEY_NAME || is == RZ_KEY_FUNCTION) && !s->call.name.len)
        rz_json_unquote(&s->call.name, text);
    else if (is == RZ_KEY_ID && !s->call.id.len)
        rz_json_unquote(&s->call.id, text);
}

/* One of a list that is whole. A call alone is read when it is known where it ends. False: it is none. */
static bool end_element(struct rz_parser *p)
{
    struct rz_parse_stream *s = &p->s;
    if (!s->list && !s->committed)
        return true;
    if (!s->committed) {
        struct rz_calls calls = {.tools = p->tools};
        struct rz_part body = {p->in.data + s->element, p->scanned - s->element};
        bool ok = rz_parse_body(&calls, p->kind.format, body);
        if (ok)
            rz_buf_clear(&p->held);
        for (size_t i = 0; ok && i < calls.n; i++)
            rz_parse_show_call(p, &calls.list[i]);
        rz_calls_clear(&calls);
        if (!ok)
            return false;
        s->told = true;
    }
    s->inside = false;
    rz_buf_drop(&p->in, p->scanned);
    p->scanned = 0;
    return true;
}

/* A byte of a call that is not one of its arguments. */
static bool outer_byte(struct rz_parser *p)
{
    struct rz_parse_stream *s = &p->s;
    const struct rz_json_push was = s->json;
    const size_t at = p->scanned;
    const char c = p->in.data[at];
    if (!rz_json_push(&s->json, c))
        return false;
    p->scanned++;
    const uint32_t state = s->json.state, level = s->list + 1;
    if (was.depth < level) {
        bool mark = around(p, at, c);
        p->scanned -= !mark;
        return mark;
    }
    if (s->json.depth < level)
        return end_element(p);
    if (was.depth != level)
        return true;
    if (was.state == RZ_JP_TEXT && state == RZ_JP_COLON) {
        s->key_n = at - s->key;
    } else if (was.state == RZ_JP_TEXT && state == RZ_JP_NEXT) {
        end_text(p);
    } else if (was.state == RZ_JP_VALUE && state != RZ_JP_VALUE) {
        begin_value(p, at, c);
    } else if (was.state != state && state == RZ_JP_TEXT && was.state != RZ_JP_HEX &&
               was.state != RZ_JP_ESCAPE) {
        s->key = at + 1;
        return !(s->committed && p->kind.format->flags & RZ_PARSE_KEYED);
    }
    return true;
}

/* --- their end --- */

/* Commas and brackets between calls are not shown, everything else is content. */
static void broken(struct rz_parser *p)
{
    if (p->s.told && !p->s.inside)
        rz_buf_drop(&p->in, p->scanned);
    rz_parse_no_call(p);
}

/* The text is over: what was begun behind a call that is out is no content, an object excepted. */
static void unfinished(struct rz_parser *p)
{
    struct rz_parse_stream *s = &p->s;
    if (s->telling)
        rz_parse_tell_cut(p);
    else if (s->told && (!s->inside || s->committed))
        rz_buf_clear(&p->in);
    rz_parse_no_call(p);
}

/* Behind the JSON: a mark inside of a text is not its end. */
static bool tail(struct rz_parser *p, bool last)
{
    const char *close = p->unmarked ? NULL : p->kind.format->close;
    size_t at, n = close ? strlen(close) : 0;
    if (p->s.told) {
        rz_buf_drop(&p->in, p->scanned);
        p->scanned = 0;
    }
    size_t over = p->in.len - p->scanned;
    if (n && rz_parse_close(p, p->scanned, &at) && at - p->scanned <= TAIL_MAX_BYTES) {
        rz_parse_call_over(p, at, at + n);
        return true;
    }
    if (n && !last && over < TAIL_MAX_BYTES + n)
        return false;
    /* its end does not come; of an answer that was cut there, a part of it may be there */
    bool part = n && over < n && !memcmp(p->in.data + p->scanned, close, over);
    rz_parse_call_over(p, p->scanned, p->scanned + (part ? over : 0));
    return true;
}

bool rz_parse_json(struct rz_parser *p, bool last)
{
    struct rz_parse_stream *s = &p->s;
    bool ok = true;
    while (ok && s->json.state != RZ_JP_ENDED && p->scanned < p->in.len)
        ok = s->telling ? rz_parse_tell(p, p->in.len) >= 0 : outer_byte(p);
    if (ok && s->telling) /* its first brace may have been the last byte */
        rz_parse_tell(p, p->in.len);
    if (!ok)
        broken(p);
    else if (s->json.state == RZ_JP_ENDED)
        return tail(p, last);
    else if (last)
        unfinished(p);
    return !ok || last;
}
