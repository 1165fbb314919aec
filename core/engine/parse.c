/* parse.c - from generated text to content, reasoning and calls: what each byte belongs to.
 *
 * The text is taken in steps that look only at what has come so far and at whether more may come; a step
 * that could end otherwise with more text waits. So the pieces together do not depend on the cuts. A call
 * that is none goes back to content: its mark is shown and what is behind it is read again. What is out
 * stays: calls in JSON come out while they are read (parse_stream.c).
 */
#define _GNU_SOURCE /* memmem */
#include "parse_state.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_MAX ((size_t)64 << 20)
#define NAME_MAX_BYTES 512 /* before the JSON of a call  */
#define RETRIES_MAX 64     /* failed calls, after which all is content */

enum {
    MARK_THINK,
    MARK_CALL,
    MARK_SECTION,
    MARK_SECTION_END,
    MARK_DROP,
};

static bool blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static void add_mark(struct rz_parser *p, const char *text, int what)
{
    if (text && p->n_marks < RZ_PARSE_MARKS_MAX)
        p->marks[p->n_marks++] = (struct rz_parse_mark){text, strlen(text), what};
}

static void reset(struct rz_parser *p)
{
    const struct rz_parse_format *f = p->kind.format;
    rz_buf_clear(&p->in);
    rz_buf_clear(&p->held);
    rz_buf_clear(&p->header);
    p->n_marks = 0;
    add_mark(p, p->kind.think_open, MARK_THINK);
    for (int i = 0; i < 4; i++)
        add_mark(p, f->drops[i], MARK_DROP);
    if (p->tools || f->flags & RZ_PARSE_ALL) {
        add_mark(p, f->open, MARK_CALL);
        add_mark(p, f->sections[0], MARK_SECTION);
        add_mark(p, f->sections[1], MARK_SECTION_END);
    }
    p->n_calls = p->retries = 0;
    p->fresh = p->begun = p->s.telling = false;
    p->unmarked = p->kind.inside;
    p->scanned = 0;
    p->state = f->flags & RZ_PARSE_HARMONY            ? RZ_PS_HEADER
               : p->kind.thinking                     ? RZ_PS_THINK
               : p->kind.inside                       ? RZ_PS_CALL
               : p->tools && f->flags & RZ_PARSE_BARE ? RZ_PS_BARE
                                                      : RZ_PS_CONTENT;
}

struct rz_parser *rz_parser_new(const struct rz_parse_kind *kind, const char *tools, size_t n)
{
    struct rz_parser *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->kind = *kind;
    rz_buf_init(&p->in, TEXT_MAX);
    rz_buf_init(&p->held, TEXT_MAX);
    rz_buf_init(&p->header, TEXT_MAX);
    rz_call_init(&p->s.call);
    p->tools = n ? json_loadb(tools, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
    if (!json_array_size(p->tools)) {
        json_decref(p->tools);
        p->tools = NULL;
    }
    /* so that their data is never NULL */
    bool ok = rz_buf_reserve(&p->in, 1) && rz_buf_reserve(&p->held, 1) && rz_buf_reserve(&p->header, 1);
    if (ok) {
        reset(p);
        return p;
    }
    rz_parser_free(p);
    return NULL;
}

void rz_parser_free(struct rz_parser *p)
{
    if (!p)
        return;
    json_decref(p->tools);
    rz_buf_free(&p->in);
    rz_buf_free(&p->held);
    rz_buf_free(&p->header);
    rz_call_free(&p->s.call);
    free(p);
}

/* --- what comes out --- */

void rz_parse_show(const struct rz_parser *p, uint32_t kind, const char *text, size_t n)
{
    struct rz_chat_piece piece = {.size = sizeof(piece), .kind = kind, .text = {text, n}};
    if (n)
        p->emit(p->arg, &piece);
}

void rz_parse_show_call(struct rz_parser *p, const struct rz_call *call)
{
    struct rz_chat_piece piece = {.size = sizeof(piece),
                                  .kind = RZ_CHAT_CALL,
                                  .index = p->n_calls++,
                                  .flags = RZ_CHAT_BEGIN | RZ_CHAT_END};
    piece.text = (struct rz_str){call->arguments.data, call->arguments.len};
    piece.name = (struct rz_str){call->name.data, call->name.len};
    piece.id = (struct rz_str){call->id.data ? call->id.data : "", call->id.len};
    p->emit(p->arg, &piece);
}

static void show_held(struct rz_parser *p, uint32_t kind)
{
    rz_parse_show(p, kind, p->held.data, p->held.len);
    rz_buf_clear(&p->held);
}

/* Blanks wait until something follows them. */
static void show_text(struct rz_parser *p, uint32_t kind, const char *text, size_t n)
{
    size_t end = n;
    while (p->fresh && n && blank(*text)) {
        text++;
        n--;
    }
    for (end = n; end && blank(text[end - 1]);)
        end--;
    if (end) {
        p->fresh = false;
        show_held(p, kind);
        rz_parse_show(p, kind, text, end);
    }
    rz_buf_add(&p->held, text + end, n - end);
}

void rz_parse_show_content(struct rz_parser *p, const char *text, size_t n)
{
    show_text(p, RZ_CHAT_CONTENT, text, n);
}

/* --- marks --- */

const struct rz_parse_mark *rz_parse_find(const struct rz_parse_mark *marks, size_t n_marks, const char *p,
                                          size_t n, bool last, size_t *at)
{
    for (*at = 0; *at < n; ++*at) {
        size_t left = n - *at;
        bool open = false;
        for (size_t i = 0; i < n_marks; i++) {
            size_t both = marks[i].n < left ? marks[i].n : left;
            if (p[*at] != marks[i].text[0] || memcmp(p + *at, marks[i].text, both) != 0)
                continue;
            if (both == marks[i].n)
                return &marks[i];
            open = !last;
        }
        if (open)
            return NULL;
    }
    return NULL;
}

static void begin_call(struct rz_parser *p, bool unmarked)
{
    p->state = RZ_PS_CALL;
    p->unmarked = unmarked;
    p->scanned = 0;
}

static bool bare_allowed(const struct rz_parser *p)
{
    return p->tools && p->kind.format->flags & RZ_PARSE_BARE && p->retries < RETRIES_MAX;
}

static void take_mark(struct rz_parser *p, const struct rz_parse_mark *m)
{
    if (m->what == MARK_THINK) {
        rz_buf_clear(&p->held);
        p->state = RZ_PS_THINK;
        p->begun = false;
        p->fresh = true;
    } else if (m->what == MARK_CALL) {
        begin_call(p, false);
    } else if (m->what == MARK_SECTION || (m->what == MARK_SECTION_END && !p->n_calls)) {
        rz_buf_add(&p->held, m->text, m->n);
    }
    rz_buf_drop(&p->in, m->n);
}

static bool content_step(struct rz_parser *p, bool last)
{
    size_t at;
    const struct rz_parse_mark *m = rz_parse_find(p->marks, p->n_marks, p->in.data, p->in.len, last, &at);
    if (at) {
        show_text(p, RZ_CHAT_CONTENT, p->in.data, at);
        rz_buf_drop(&p->in, at);
    }
    if (m)
        take_mark(p, m);
    return m != NULL;
}

static bool think_step(struct rz_parser *p, bool last)
{
    const struct rz_parse_mark close = {p->kind.think_close, strlen(p->kind.think_close), 0};
    const struct rz_parse_mark open = {p->kind.think_open, strlen(p->kind.think_open), 0};
    size_t at = 0;
    p->fresh |= !p->begun;
    while (!p->begun && at < p->in.len && blank(p->in.data[at]))
        at++;
    rz_buf_drop(&p->in, at);
    if (!p->in.len)
        return false;
    if (!p->begun) { /* some models say it again though the prompt said it */
        const struct rz_parse_mark *again = rz_parse_find(&open, 1, p->in.data, p->in.len, last, &at);
        if (!at && !again && !last && p->in.len < open.n && !memcmp(p->in.data, open.text, p->in.len))
            return false;
        if (again && !at)
            rz_buf_drop(&p->in, open.n);
        p->begun = true;
        return true;
    }
    const struct rz_parse_mark *m = rz_parse_find(&close, 1, p->in.data, p->in.len, last, &at);
    if (at) {
        show_text(p, RZ_CHAT_REASONING, p->in.data, at);
        rz_buf_drop(&p->in, at);
    }
    if (!m)
        return false;
    rz_buf_drop(&p->in, close.n);
    rz_buf_clear(&p->held);
    p->fresh = true;
    p->state = bare_allowed(p) ? RZ_PS_BARE : RZ_PS_CONTENT;
    return true;
}

/* --- calls --- */

/* Where too many were none, no more calls are looked for. */
static void failed(struct rz_parser *p)
{
    p->state = RZ_PS_CONTENT;
    p->retries++;
    for (size_t i = 0; p->retries >= RETRIES_MAX && i < p->n_marks; i++)
        if (p->marks[i].what == MARK_CALL)
            p->marks[i] = p->marks[--p->n_marks];
}

void rz_parse_no_call(struct rz_parser *p)
{
    const char *open = p->kind.format->open;
    if (p->s.told) {
        p->fresh = true;
    } else if (!p->unmarked) {
        show_text(p, RZ_CHAT_CONTENT, open, strlen(open));
    } else if (p->in.len) { /* its brace, so that it is not tried again */
        show_text(p, RZ_CHAT_CONTENT, p->in.data, 1);
        rz_buf_drop(&p->in, 1);
    }
    p->s.told = false;
    failed(p);
}

static bool read_body(struct rz_parser *p, size_t n)
{
    struct rz_calls calls = {.tools = p->tools};
    bool ok = p->tools && rz_parse_body(&calls, p->kind.format, (struct rz_part){p->in.data, n});
    for (size_t i = 0; ok && i < calls.n; i++)
        rz_parse_show_call(p, &calls.list[i]);
    rz_calls_clear(&calls);
    return ok;
}

void rz_parse_call_over(struct rz_parser *p, size_t n, size_t all)
{
    if (!p->s.told && !read_body(p, n)) {
        rz_parse_no_call(p);
        return;
    }
    p->fresh = true;
    rz_buf_clear(&p->held);
    if (p->s.told) { /* what is no part of it, before its end */
        struct rz_part rest = rz_part_trim((struct rz_part){p->in.data, n});
        bool fence = p->kind.format->flags & RZ_PARSE_NAMED && rest.n == 3 && !memcmp(rest.p, "```", 3);
        show_text(p, RZ_CHAT_CONTENT, rest.p, fence ? 0 : rest.n);
    }
    rz_buf_drop(&p->in, all);
    p->s.told = false;
    p->fresh = true;
    p->state = bare_allowed(p) ? RZ_PS_BARE : RZ_PS_CONTENT;
}

bool rz_parse_close(const struct rz_parser *p, size_t from, size_t *at)
{
    const char *close = p->kind.format->close;
    const char *hit =
        close && !p->unmarked ? memmem(p->in.data + from, p->in.len - from, close, strlen(close)) : NULL;
    *at = hit ? (size_t)(hit - p->in.data) : p->in.len;
    return hit != NULL;
}

static size_t close_bytes(const struct rz_parser *p)
{
    return p->kind.format->close && !p->unmarked ? strlen(p->kind.format->close) : 0;
}

static bool text_over(struct rz_parser *p, size_t n, size_t all)
{
    p->s.told = false;
    rz_parse_call_over(p, n, all);
    return true;
}

/* A body without JSON ends where its mark is, wherever that is. */
static bool text_call(struct rz_parser *p, bool last)
{
    size_t at, n = close_bytes(p);
    if (rz_parse_close(p, p->scanned, &at))
        return text_over(p, at, at + n);
    if (last)
        return text_over(p, p->in.len, p->in.len);
    p->scanned = n && p->in.len >= n ? p->in.len - n + 1 : 0;
    return false;
}

/* Where the JSON of a call is to begin, at byte `from` or, behind a name, later. */
static bool begin_json(struct rz_parser *p, size_t from, bool last)
{
    size_t at, n = close_bytes(p);
    bool box = p->in.data[from] == '[' || p->in.data[from] == '{';
    const char *brace = box ? p->in.data + from : memchr(p->in.data, '{', p->in.len);
    bool closed = rz_parse_close(p, 0, &at) && (!brace || brace > p->in.data + at);
    if (closed && at <= NAME_MAX_BYTES)
        return text_over(p, at, at + n);
    size_t before = brace ? (size_t)(brace - p->in.data) : p->in.len;
    bool bad = closed || before > NAME_MAX_BYTES + (brace ? 0 : n) || (!brace && last);
    if (!bad && !brace)
        return false;
    p->s.told = false;
    rz_call_clear(&p->s.call);
    if (bad || (!box && !rz_call_head(&p->s.call, (struct rz_part){p->in.data, before}))) {
        rz_parse_no_call(p);
        return true;
    }
    rz_parse_json_begin(p);
    if (!box) {
        rz_buf_drop(&p->in, before);
        rz_parse_tell_begin(p);
    }
    return true;
}

static bool call_step(struct rz_parser *p, bool last)
{
    static const char all[] = "all\n";
    uint32_t flags = p->kind.format->flags;
    size_t n = p->in.len < 4 ? p->in.len : 4;
    if (flags & RZ_PARSE_ALL && !memcmp(p->in.data, all, n)) {
        if (n < 4 && !last)
            return false;
        p->state = RZ_PS_CONTENT;
        p->fresh = true;
        rz_buf_drop(&p->in, n);
        return true;
    }
    size_t from = 0;
    p->s.told = false;
    while (from < p->in.len && blank(p->in.data[from]))
        from++;
    if (p->tools && from == p->in.len && !last)
        return false;
    if (!p->tools || from == p->in.len) {
        rz_parse_no_call(p);
        return true;
    }
    char first = p->in.data[from];
    bool text = flags & (RZ_PARSE_LOOSE | RZ_PARSE_INVOKE | RZ_PARSE_CALLS);
    if (flags & RZ_PARSE_NAMED || (!text && (first == '{' || first == '[')))
        return begin_json(p, from, last);
    return text_call(p, last);
}

/* Blanks, and what stands between two calls; a brace begins a call. */
static bool bare_step(struct rz_parser *p)
{
    size_t at = 0;
    while (at < p->in.len && (blank(p->in.data[at]) || (p->n_calls && p->in.data[at] == ';')))
        at++;
    if (at == p->in.len)
        return false;
    if (!p->fresh)
        rz_buf_add(&p->held, p->in.data, at);
    rz_buf_drop(&p->in, at);
    if (p->in.data[0] == '{')
        begin_call(p, true);
    else
        p->state = RZ_PS_CONTENT;
    return true;
}

static bool step(struct rz_parser *p, bool last)
{
    bool call = p->state == RZ_PS_CALL || p->state == RZ_PS_JSON;
    if (!p->in.len && (call ? !last : p->state < RZ_PS_HEADER))
        return false;
    switch (p->state) {
    case RZ_PS_BARE:
        return bare_step(p);
    case RZ_PS_CONTENT:
        return content_step(p, last);
    case RZ_PS_THINK:
        return think_step(p, last);
    case RZ_PS_CALL:
        return call_step(p, last);
    case RZ_PS_JSON:
        return rz_parse_json(p, last);
    default:
        return rz_parse_harmony(p, last);
    }
}

static int32_t check(const struct rz_parser *p, struct rz_err *err)
{
    if (rz_buf_ok(&p->in) && rz_buf_ok(&p->held) && rz_buf_ok(&p->header))
        return RZ_OK;
    return rz_fail(err, RZ_ELIMIT, "answer", "more than %zu bytes wait for the end of a call", TEXT_MAX);
}

int32_t rz_parser_feed(struct rz_parser *p, const char *text, size_t n, rz_chat_emit *emit, void *arg,
                       struct rz_err *err)
{
    p->emit = emit;
    p->arg = arg;
    if (!n)
        return RZ_OK;
    rz_buf_add(&p->in, text, n);
    while (rz_buf_ok(&p->in) && step(p, false))
        ;
    return check(p, err);
}

int32_t rz_parser_finish(struct rz_parser *p, rz_chat_emit *emit, void *arg, struct rz_err *err)
{
    p->emit = emit;
    p->arg = arg;
    while (rz_buf_ok(&p->in) && step(p, true))
        ;
    /* blanks at the end of what is only content belong to it */
    if (p->state != RZ_PS_THINK && !p->n_calls && rz_buf_ok(&p->held)) {
        if (p->state == RZ_PS_BARE && !p->fresh)
            rz_buf_add(&p->held, p->in.data, p->in.len);
        show_held(p, RZ_CHAT_CONTENT);
    }
    int32_t code = check(p, err);
    reset(p);
    return code;
}

uint32_t rz_parser_state(const struct rz_parser *p)
{
    if (p->state == RZ_PS_THINK)
        return RZ_CHAT_REASONING;
    if (p->state == RZ_PS_CALL || p->state == RZ_PS_JSON)
        return RZ_CHAT_CALL;
    return p->state == RZ_PS_BODY ? p->channel : RZ_CHAT_CONTENT;
}
