/* page.c - the route /: a page to chat with the models, one file that the build puts in here.
 *
 * The page is constant, so its tag and the hashes of its style and its script are made once, at start. The
 * policy allows these two and requests to this server, nothing else.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

#define HASH 32
#define BASE64 (4 * ((HASH + 2) / 3) + 1)

static const char page[] =
#include <page.html.inc>
    ;

/* The hash of what stands between two tags, as a policy spells it. */
static bool part_hash(const char *open, const char *close, char out[BASE64])
{
    uint8_t hash[HASH];
    const char *from = strstr(page, open), *to = from ? strstr(from, close) : NULL;
    if (!to || EVP_Digest(from + strlen(open), (size_t)(to - from) - strlen(open), hash, NULL, EVP_sha256(),
                          NULL) != 1)
        return false;
    return EVP_EncodeBlock((uint8_t *)out, hash, HASH) == BASE64 - 1;
}

int32_t rz_http_page_prepare(struct rz_http *h, struct rz_err *err)
{
    char style[BASE64], script[BASE64];
    uint8_t hash[HASH];
    if (!part_hash("<style>", "</style>", style) || !part_hash("<script>", "</script>", script) ||
        EVP_Digest(page, sizeof(page) - 1, hash, NULL, EVP_sha256(), NULL) != 1)
        return rz_fail(err, RZ_EINTERNAL, "http", "SHA-256 is not available");
    snprintf(h->page_policy, sizeof(h->page_policy),
             "default-src 'none'; style-src 'sha256-%s'; script-src 'sha256-%s'; connect-src 'self'; "
             "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
             "require-trusted-types-for 'script'",
             style, script);
    size_t n = (size_t)snprintf(h->page_tag, sizeof(h->page_tag), "\"");
    for (int i = 0; i < 16; i++)
        n += (size_t)snprintf(h->page_tag + n, sizeof(h->page_tag) - n, "%02x", hash[i]);
    snprintf(h->page_tag + n, sizeof(h->page_tag) - n, "\"");
    return RZ_OK;
}

/* A tag is quoted, so that a search finds only a whole one; W/ in front of it does no harm. */
static bool has_it(const struct rz_http_request *r)
{
    const char *tags = rz_http_header(r->connection, "If-None-Match");
    return tags && (!strcmp(tags, "*") || strstr(tags, r->http->page_tag));
}

enum MHD_Result rz_http_page(struct rz_http_request *r)
{
    const struct rz_http *h = r->http;
    if (!h->page) {
        struct rz_http_error e = {.status = 404, .code = "not_found", .message = "no such path"};
        return rz_http_reply_error(r->connection, &e);
    }
    bool same = has_it(r);
    size_t n = same ? 0 : sizeof(page) - 1;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(n, (void *)(uintptr_t)page, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    if (!same)
        MHD_add_response_header(response, "Content-Type", "text/html; charset=utf-8");
    MHD_add_response_header(response, "ETag", h->page_tag);
    MHD_add_response_header(response, "Cache-Control", "no-cache");
    MHD_add_response_header(response, "Content-Security-Policy", h->page_policy);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    unsigned status = same ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK;
    enum MHD_Result result = rz_http_queue(r->connection, status, response, n);
    MHD_destroy_response(response);
    return result;
}
