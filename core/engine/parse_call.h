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

/* Where a value of JSON ends, byte by byte and by its brackets and strings only; zero it to begin. */
struct rz_json_scan {
    uint32_t depth;
    bool begun, quoted, escaped, ended, bad;
};
/* Takes bytes until the value ends; returns how many. A value that is no list or object is bad. */
size_t rz_json_scan(struct rz_json_scan *s, const char *p, size_t n);

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

/* A new call, or NULL: too many or no memory. */
struct rz_call *rz_calls_add(struct rz_calls *calls);
void rz_calls_clear(struct rz_calls *calls);
/* A name that a function may have. */
bool rz_call_name(struct rz_call *call, struct rz_part name);
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
