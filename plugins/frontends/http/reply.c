/* reply.c - answers in JSON, and errors in the API's own shape.
 */
#include <stdlib.h>
#include <string.h>

#include "http.h"
#include "utf8.h"

json_t *rz_http_text(const char *bytes, size_t n)
{
    if (rz_utf8_valid(bytes, n))
        return json_stringn(bytes, n);
    struct rz_buf b;
    rz_buf_init(&b, RZ_HTTP_TEXT_MAX * 3);
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        size_t len = rz_utf8_decode(bytes + i, n - i, &cp);
        if (len)
            rz_buf_add(&b, bytes + i, len);
        else
            rz_buf_str(&b, "\xef\xbf\xbd");
        if (!len)
            len = rz_utf8_bad(bytes + i, n - i);
        i += len ? len : 1;
    }
    json_t *text = rz_http_buf_text(&b);
    rz_buf_free(&b);
    return text;
}

json_t *rz_http_buf_text(const struct rz_buf *b)
{
    if (!rz_buf_ok(b))
        rz_http_json_lacks();
    return rz_http_text(b->data ? b->data : "", rz_buf_ok(b) ? b->len : 0);
}

enum MHD_Result rz_http_reply_no_memory(struct MHD_Connection *c)
{
    static char text[] =
        "{\"error\":{\"message\":\"the server has no memory for this\",\"type\":\"server_error\","
        "\"param\":null,\"code\":\"no_memory\"}}";
    size_t n = sizeof(text) - 1;
    struct MHD_Response *r = MHD_create_response_from_buffer(n, text, MHD_RESPMEM_PERSISTENT);
    if (!r)
        return MHD_NO;
    MHD_add_response_header(r, "Content-Type", "application/json");
    MHD_add_response_header(r, "Retry-After", "5");
    MHD_add_response_header(r, "Connection", "close");
    enum MHD_Result result = rz_http_queue(c, MHD_HTTP_SERVICE_UNAVAILABLE, r, n);
    MHD_destroy_response(r);
    return result;
}

/* Takes body. `header` is "Name: value" or NULL. */
static enum MHD_Result reply(struct MHD_Connection *c, unsigned status, json_t *body, const char *header,
                             const char *ignored, bool close)
{
    char *text = body ? json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(body);
    if (!text || rz_http_json_failed()) {
        free(text);
        return rz_http_reply_no_memory(c);
    }
    size_t n = strlen(text);
    struct MHD_Response *r = MHD_create_response_from_buffer(n, text, MHD_RESPMEM_MUST_FREE);
    if (!r) {
        free(text);
        return MHD_NO;
    }
    MHD_add_response_header(r, "Content-Type", "application/json");
    if (header) {
        char name[40] = "";
        size_t colon = strcspn(header, ":");
        memcpy(name, header, colon < sizeof(name) ? colon : sizeof(name) - 1);
        MHD_add_response_header(r, name, header + colon + 2);
    }
    if (ignored)
        MHD_add_response_header(r, "X-Rz-Ignored", ignored);
    if (close)
        MHD_add_response_header(r, "Connection", "close");
    enum MHD_Result result = rz_http_queue(c, status, r, n);
    MHD_destroy_response(r);
    return result;
}

enum MHD_Result rz_http_reply_json(struct MHD_Connection *c, unsigned status, json_t *body,
                                   const char *ignored)
{
    return reply(c, status, body, NULL, ignored, false);
}

json_t *rz_http_error_json(const struct rz_http_error *e)
{
    if (e->plain)
        return json_pack("{s:o}", "error", rz_http_text(e->message, strlen(e->message)));
    const char *type = e->type ? e->type : e->status >= 500 ? "server_error" : "invalid_request_error";
    return json_pack("{s:{s:o,s:s,s:s?,s:s?}}", "error", "message",
                     rz_http_text(e->message, strlen(e->message)), "type", type, "param", e->param, "code",
                     e->code);
}

enum MHD_Result rz_http_reply_error(struct MHD_Connection *c, const struct rz_http_error *e)
{
    return reply(c, e->status, rz_http_error_json(e), e->header, NULL, e->close);
}
