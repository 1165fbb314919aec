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
    RZ_PS_JSON,   /* in the JSON of a call */
    RZ_PS_HEADER, /* harmony: up to <|message|> */
    RZ_PS_BODY,
    RZ_PS_BETWEEN,
};

/* A call in JSON while it is read (parse_stream.c). Offsets are those of `in`. */
struct rz_parse_stream {
    struct rz_json_push json;
    struct rz_call call;        /* its name and id, as far as they are known           */
    size_t element, key, key_n; /* where it begins; its member's key, without quotes   */
    size_t value;               /* where a text among its members begins               */
    uint32_t list, outside;     /* 1: a list of calls; boxes around the arguments      */
    bool inside, committed;     /* of an element; which has come out as a call         */
    bool plain;                 /* it is read once it is whole                         */
    bool telling;               /* its arguments come out as they are read             */
    bool told;                  /* something of this body has come out                 */
    uint32_t begins;            /* RZ_CHAT_BEGIN until the first piece is out          */
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
    bool fresh;     /* behind reasoning or a call: blanks are not shown */
    bool begun;     /* some reasoning was shown                         */
    bool unmarked;  /* the call that is read began without its mark     */
    size_t scanned; /* of the call: bytes looked at */
    struct rz_parse_stream s;
    /* harmony */
    struct rz_buf header;
    uint32_t channel; /* RZ_CHAT_* of the body */
    /* while fed */
    rz_chat_emit *emit;
    void *arg;
};

void rz_parse_show(const struct rz_parser *p, uint32_t kind, const char *text, size_t n);
void rz_parse_show_call(struct rz_parser *p, const struct rz_call *call);
/* Content that may end with blanks, which wait until something follows them. */
void rz_parse_show_content(struct rz_parser *p, const char *text, size_t n);
/* What was taken for a call is content, and what is behind its mark is read once more. */
void rz_parse_no_call(struct rz_parser *p);
/* The call is the first n bytes, and some or nothing of it is out; `all` of them are taken. */
void rz_parse_call_over(struct rz_parser *p, size_t n, size_t all);
/* Looks for the end of the call from byte `from` on. False: not there. */
bool rz_parse_close(const struct rz_parser *p, size_t from, size_t *at);
/* The first of the marks in the n bytes; NULL: none, and *at is where the bytes begin that may still become
 * one (n if it is the last text). */
const struct rz_parse_mark *rz_parse_find(const struct rz_parse_mark *marks, size_t n_marks, const char *p,
                                          size_t n, bool last, size_t *at);
/* One step; false: it needs more text. */
bool rz_parse_harmony(struct rz_parser *p, bool last);
bool rz_parse_json(struct rz_parser *p, bool last);

/* --- parse_stream.c --- */

/* The JSON of calls begins with the next byte. */
void rz_parse_json_begin(struct rz_parser *p);
/* From the next byte on there are the arguments of a call whose name and id are in p->s.call. */
void rz_parse_tell_begin(struct rz_parser *p);
/* Arguments end here, though they are not whole. */
void rz_parse_tell_cut(struct rz_parser *p);
/* Tells of up to n bytes of arguments, and drops them. Negative: what follows is none of them (told: they
 * were cut), positive: they are whole, 0: more may come. */
int rz_parse_tell(struct rz_parser *p, size_t n);

#endif
