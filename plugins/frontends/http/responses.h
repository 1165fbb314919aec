/* responses.h - what the two files of /v1/responses share. */
#ifndef RZ_HTTP_RESPONSES_H
#define RZ_HTTP_RESPONSES_H

#include "http.h"

/* The conversation that instructions and input tell. The caller decrefs *out, also after an error. */
int32_t rz_http_input_messages(const struct rz_http_ask *ask, json_t **out, struct rz_err *err);

#endif
