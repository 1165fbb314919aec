/* openapi.h - what the two files of /openapi.json share. */
#ifndef RZ_HTTP_OPENAPI_H
#define RZ_HTTP_OPENAPI_H

#include "http.h"

/* A schema of `components`: JSON with ' in place of ". NULL behind the last. */
struct rz_http_schema {
    const char *name, *text;
};
extern const struct rz_http_schema rz_http_schemas[];

#endif
