/* fields.h - the table of what a body may hold: read by ask.c, described by openapi.c. */
#ifndef RZ_HTTP_FIELDS_H
#define RZ_HTTP_FIELDS_H

#include "http.h"

#define FIELD_BOOL 0
#define FIELD_INT 1
#define FIELD_NUMBER 2
#define FIELD_TEXT 3
#define FIELD_CALL 4  /* read by a function of its own                      */
#define FIELD_FALSE 5 /* only false is available                            */
#define FIELD_NONE 6  /* known to the API, not available: only null         */

struct rz_http_field {
    const char *name;
    int type;
    double min, max;
    size_t at;  /* in struct rz_http_ask: bool, int64_t, double or const char *; 0: not kept */
    size_t has; /* a bool that says that the field was given; 0: none         */
    int32_t (*read)(struct rz_http_ask *ask, const json_t *value, struct rz_err *err);
    uint32_t of;        /* RZ_HTTP_*: bodies that have it; 0: none           */
    uint32_t must;      /* and those that need it                            */
    const char *schema; /* FIELD_CALL and FIELD_TEXT: in JSON; NULL: a text  */
    const char *why;    /* FIELD_NONE: more words for the refusal            */
};

/* A field without a name ends it. */
extern const struct rz_http_field rz_http_fields[];

/* The field of this name in a body of this kind; NULL: there is none. */
const struct rz_http_field *rz_http_field_find(const char *name, uint32_t kind);

#endif
