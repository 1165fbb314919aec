/* parse_state.h - a parser between two pieces of text; parse.c and parse_harmony.c share it. */
#ifndef RZ_PARSE_STATE_H
#define RZ_PARSE_STATE_H

#include "err.h"
#include "parse_call.h"

#define RZ_PARSE_MARKS_MAX 12

/* A text that means something where it stands in content. */
struct rz_parse_mark {
    const char *text;
    size_t n;
    int what;
};

enum {
    RZ_PS_BARE, /* nothing but blanks so far: JSON may be a call */
    RZ_PS_CONTENT,
    RZ_PS_THINK,
    RZ_PS_CALL,
    RZ_PS_HEADER, /* harmony: up to <|message|> */
    RZ_PS_BODY,
    RZ_PS_BETWEEN,
};

struct rz_parser {
    struct rz_parse_kind kind;
    json_t *tools; /* NULL: calls are not looked for */
    struct rz_parse_mark marks[RZ_PARSE_MARKS_MAX];
    size_t n_marks;
    struct rz_buf in;   /* what is not understood yet */
    struct rz_buf held; /* blanks and sections that come out only if content follows */
    int state;
    uint32_t n_calls, retries;
    bool fresh;    /* behind reasoning or a call: blanks are not shown */
    bool begun;    /* some reasoning was shown                         */
    bool unmarked; /* the call that is read began without its mark     */
    struct rz_json_scan scan;
    size_t scanned, from; /* of the call: bytes looked at, where its JSON begins */
    bool named;           /* the JSON of the call has begun                      */
    /* harmony */
    struct rz_buf header;
    uint32_t channel; /* RZ_CHAT_* of the body */
    struct rz_call call;
    /* while fed */
    rz_chat_emit *emit;
    void *arg;
};

void rz_parse_show(const struct rz_parser *p, uint32_t kind, const char *text, size_t n);
void rz_parse_show_call(struct rz_parser *p, const struct rz_call *call);
/* The first of the marks in the n bytes; NULL: none, and *at is where the bytes begin that may still become
 * one (n if it is the last text). */
const struct rz_parse_mark *rz_parse_find(const struct rz_parse_mark *marks, size_t n_marks, const char *p,
                                          size_t n, bool last, size_t *at);
/* One step; false: it needs more text. */
bool rz_parse_harmony(struct rz_parser *p, bool last);

#endif
