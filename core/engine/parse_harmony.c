/* parse_harmony.c - answers in channels: <|channel|>NAME to=functions.F<|message|>text<|end|>, repeated.
 *
 * The prompt ends behind <|start|>assistant, so an answer begins with a header. Channel analysis is
 * reasoning, a message to a function is a call, everything else is content.
 */
#define _GNU_SOURCE /* memmem */
#include "parse_state.h"

#include <string.h>

#define HEADER_MAX 1024

#define START "<|start|>"
#define CHANNEL "<|channel|>"
#define MESSAGE "<|message|>"
#define BLANKS " \n\t\r"

static const struct rz_parse_mark ends[] = {
    {"<|end|>", 7, 0}, {"<|return|>", 10, 0}, {"<|call|>", 8, 0}, {START, 9, 1}, {CHANNEL, 11, 2},
};

static struct rz_part behind(struct rz_part text, const char *what)
{
    size_t n = strlen(what), k = 0;
    const char *hit = memmem(text.p, text.n, what, n);
    if (!hit)
        return (struct rz_part){NULL, 0};
    hit += n;
    while (hit + k < text.p + text.n && !strchr(" <\n\t", hit[k]))
        k++;
    return (struct rz_part){hit, k};
}

struct rz_harmony rz_harmony_header(struct rz_part header)
{
    struct rz_harmony h = {.kind = RZ_CHAT_CONTENT};
    struct rz_part channel = behind(header, CHANNEL), to = behind(header, "to=functions.");
    if (to.n) {
        h.kind = RZ_CHAT_CALL;
        h.name = to;
    } else if (channel.n == 8 && !memcmp(channel.p, "analysis", 8)) {
        h.kind = RZ_CHAT_REASONING;
    } else if (behind(header, "to=").p || (channel.n && !(channel.n == 5 && !memcmp(channel.p, "final", 5)) &&
                                           !(channel.n == 10 && !memcmp(channel.p, "commentary", 10)))) {
        h.kind = 0;
    }
    return h;
}

/* The header and what follows it are shown as they are. */
static void give_up(struct rz_parser *p)
{
    rz_parse_show(p, RZ_CHAT_CONTENT, p->header.data, p->header.len);
    rz_buf_clear(&p->header);
    p->channel = RZ_CHAT_CONTENT;
    p->state = RZ_PS_BODY;
}

static bool header_step(struct rz_parser *p, bool last)
{
    static const size_t n = sizeof(MESSAGE) - 1;
    const char *hit = p->in.len ? memmem(p->in.data, p->in.len, MESSAGE, n) : NULL;
    size_t len = hit ? (size_t)(hit - p->in.data) : p->in.len;
    if (!p->in.len || (!hit && !last && len <= HEADER_MAX + n))
        return false;
    if (len > HEADER_MAX)
        len = HEADER_MAX;
    bool whole = hit && hit == p->in.data + len;
    rz_buf_add(&p->header, p->in.data, len + (whole ? n : 0));
    rz_buf_drop(&p->in, len + (whole ? n : 0));
    struct rz_harmony h = rz_harmony_header((struct rz_part){p->header.data, whole ? len : 0});
    p->channel = h.kind;
    p->state = RZ_PS_BODY;
    if (!whole || !h.kind || (h.kind == RZ_CHAT_CALL && !p->tools))
        give_up(p);
    else if (h.kind != RZ_CHAT_CALL)
        rz_buf_clear(&p->header);
    return true;
}

/* The header is that of a call, whose body begins with these bytes; `whole`: that is all of it. False: not
 * known yet whether it is a call. */
static bool begin_call(struct rz_parser *p, size_t n, bool whole)
{
    size_t at = 0;
    while (at < n && strchr(BLANKS, p->in.data[at]) && p->in.data[at])
        at++;
    if (at == n && !whole)
        return false;
    struct rz_harmony h =
        rz_harmony_header((struct rz_part){p->header.data, p->header.len - (sizeof(MESSAGE) - 1)});
    rz_call_clear(&p->s.call);
    bool object = at < n && p->in.data[at] == '{';
    if ((!object && at < n) || !rz_call_name(&p->s.call, h.name)) {
        give_up(p);
        return true;
    }
    rz_buf_drop(&p->in, at);
    rz_buf_clear(&p->header);
    rz_parse_json_begin(p);
    p->state = RZ_PS_BODY;
    if (object) {
        rz_parse_tell_begin(p);
        return true;
    }
    p->channel = RZ_CHAT_CONTENT;
    rz_buf_str(&p->s.call.arguments, "{}");
    rz_parse_show_call(p, &p->s.call);
    return true;
}

/* Up to n bytes of arguments; `whole`: more do not come. False: more is needed. */
static bool tell_call(struct rz_parser *p, size_t n, bool whole)
{
    int over = rz_parse_tell(p, n);
    if (!over && !whole)
        return false;
    if (!over)
        rz_parse_tell_cut(p);
    p->fresh = over > 0;
    p->channel = RZ_CHAT_CONTENT;
    return true;
}

static bool body_step(struct rz_parser *p, bool last)
{
    size_t at, skip = 0;
    const struct rz_parse_mark *m =
        rz_parse_find(ends, sizeof(ends) / sizeof(ends[0]), p->in.data, p->in.len, last, &at);
    if (p->channel == RZ_CHAT_CALL) {
        bool begun = p->s.telling, known = begun || begin_call(p, at, m || last);
        return begun ? tell_call(p, at, m || last) : known;
    }
    while (p->fresh && skip < at && strchr(BLANKS, p->in.data[skip]) && p->in.data[skip])
        skip++;
    p->fresh &= skip == at && !m;
    rz_parse_show(p, p->channel, p->in.data + skip, at - skip);
    rz_buf_drop(&p->in, at);
    if (!m)
        return false;
    if (m->what < 2)
        rz_buf_drop(&p->in, m->n);
    p->state = m->what ? RZ_PS_HEADER : RZ_PS_BETWEEN;
    return true;
}

/* Blanks, then the next message; what is none of it is content. */
static bool between_step(struct rz_parser *p, bool last)
{
    size_t at = 0;
    while (at < p->in.len && strchr(BLANKS, p->in.data[at]) && p->in.data[at])
        at++;
    rz_buf_drop(&p->in, at);
    if (!p->in.len)
        return false;
    const struct rz_parse_mark *m = rz_parse_find(ends + 3, 2, p->in.data, p->in.len, last, &at);
    if (!m && !at && !last)
        return false;
    p->state = m && !at ? RZ_PS_HEADER : RZ_PS_BODY;
    p->channel = RZ_CHAT_CONTENT;
    if (m && !at && m->what == 1)
        rz_buf_drop(&p->in, m->n);
    return true;
}

bool rz_parse_harmony(struct rz_parser *p, bool last)
{
    if (p->state == RZ_PS_HEADER)
        return header_step(p, last);
    return p->state == RZ_PS_BODY ? body_step(p, last) : between_step(p, last);
}
