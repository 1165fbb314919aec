/* parse_call.h - what the files of the parser share: JSON without a tree, and bodies of calls. */
#ifndef RZ_PARSE_CALL_H
#define RZ_PARSE_CALL_H

#include <jansson.h>

#include "parse.h"

/* --- parse_json.c --- */

/* A part of a text. */
struct rz_part {
    const char *p;
    size_t n;
};

#define RZ_JSON_NEST_MAX 64

/* What may come next. */
enum {
    RZ_JP_VALUE,
    RZ_JP_ITEM,   /* a value, or the end of the list   */
    RZ_JP_MEMBER, /* a key, or the end of the object   */
    RZ_JP_KEY,
    RZ_JP_COLON,
    RZ_JP_NEXT, /* behind a value: a comma or the end */
    RZ_JP_ENDED,
    RZ_JP_TEXT,
    RZ_JP_ESCAPE,
    RZ_JP_HEX,
    RZ_JP_WORD,
    RZ_JP_MINUS, /* inside of a number, from here on   */
    RZ_JP_ZERO,
    RZ_JP_WHOLE,
    RZ_JP_POINT,
    RZ_JP_FRACTION,
    RZ_JP_E,
    RZ_JP_SIGN,
    RZ_JP_EXPONENT,
};

/* A value that is read byte by byte; zero it to begin. */
struct rz_json_push {
    uint64_t objects;       /* bit i: box i of those that are open is an object */
    uint32_t depth, state;  /* boxes that are open; RZ_JP_*                      */
    uint32_t key, word, at; /* the text is a key; which word, and where in it    */
};
/* False: with this byte no valid JSON begins so. */
bool rz_json_push(struct rz_json_push *j, char c);

/* The length of the valid JSON value at p, 0 if there is none. Blanks around are not part of it. */
size_t rz_json_valid(const char *p, size_t n);
bool rz_json_is(struct rz_part part); /* all of it is one value */
struct rz_part rz_part_trim(struct rz_part part);
/* Goes through the members of a valid object (key without quotes and as it is written) or the items of a
 * valid list; *at is 0 to begin. */
bool rz_json_next(struct rz_part box, size_t *at, struct rz_part *key, struct rz_part *value);
/* Appends a JSON string with these characters. */
void rz_json_quote(struct rz_buf *out, const char *p, size_t n);
/* Appends the characters of a valid JSON string (with its quotes). */
void rz_json_unquote(struct rz_buf *out, struct rz_part string);

/* --- parse_call.c, parse_loose.c: the body of a call to name and arguments --- */

struct rz_call {
    struct rz_buf name, id, arguments;
};

#define RZ_CALLS_MAX 128

struct rz_calls {
    struct rz_call *list;
    size_t n, cap;
    const json_t *tools;
};

void rz_call_init(struct rz_call *call);
void rz_call_clear(struct rz_call *call);
void rz_call_free(struct rz_call *call);
/* A new call, or NULL: too many or no memory. */
struct rz_call *rz_calls_add(struct rz_calls *calls);
void rz_calls_clear(struct rz_calls *calls);
/* A name that a function may have. */
bool rz_call_name(struct rz_call *call, struct rz_part name);
/* Name and id from what stands before the arguments, in each form that models write. */
bool rz_call_head(struct rz_call *call, struct rz_part head);
/* What a member of a call's object is, by its key. */
enum rz_call_key {
    RZ_KEY_OTHER,
    RZ_KEY_NAME,
    RZ_KEY_FUNCTION, /* the name, or an object with name and arguments */
    RZ_KEY_ID,
    RZ_KEY_ARGUMENTS,
};
enum rz_call_key rz_call_key(struct rz_part key);
bool rz_call_known(const struct rz_calls *calls, const struct rz_call *call);
/* True if parameter `key` of the function is declared as a text. *declared: its type is known. */
bool rz_call_is_text(const struct rz_calls *calls, const struct rz_call *call, struct rz_part key,
                     bool *declared);

/* Reads a body; false: it is no call (what was added is removed). */
bool rz_parse_body(struct rz_calls *calls, const struct rz_parse_format *format, struct rz_part body);
/* name(key=value, ...) in a list or alone; name{key:value} */
bool rz_parse_python(struct rz_calls *calls, struct rz_part body);
bool rz_parse_braces(struct rz_calls *calls, struct rz_part body);

/* --- parse_harmony.c --- */

/* The header of a message. */
struct rz_harmony {
    uint32_t kind; /* RZ_CHAT_*; 0: cannot be read */
    struct rz_part name;
};
struct rz_harmony rz_harmony_header(struct rz_part header);

#endif
