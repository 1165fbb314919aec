/* routes.c - what paths there are: one table for serve.c, which looks requests up, and openapi.c, which
 * describes them.
 */
#include <string.h>

#include "http.h"

#define GET .method = "GET", .allowed = "Allow: GET, HEAD"
#define POST .method = "POST", .allowed = "Allow: POST"

static const struct rz_http_route routes[] = {
    {"/", GET, .flags = RZ_HTTP_OPEN | RZ_HTTP_ALWAYS, .answer = rz_http_page,
     .summary = "A page to chat with the models", .type = "text/html"},
    {"/health", GET, .flags = RZ_HTTP_OPEN | RZ_HTTP_ALWAYS, .answer = rz_http_health,
     .summary = "Does the server run?", .good = "Health"},
    {"/ready", GET, .flags = RZ_HTTP_OPEN | RZ_HTTP_ALWAYS, .answer = rz_http_ready,
     .summary = "Does it take requests?", .good = "Ready"},
    {"/metrics", GET, .flags = RZ_HTTP_ALWAYS, .answer = rz_http_metrics, .summary = "For Prometheus",
     .type = "text/plain"},
    {"/version", GET, .answer = rz_http_version, .summary = "What runs here", .good = "Version"},
    {"/openapi.json", GET, .answer = rz_http_openapi, .summary = "This document", .good = "Anything"},
    {"/v1/models", GET, .answer = rz_http_v1_models, .summary = "The models", .good = "ModelList"},
    {"/v1/models/", GET, .more = true, .answer = rz_http_v1_model, .summary = "One model", .good = "Model"},
    {"/v1/completions", POST, .answer = rz_http_completion_start, .fields = RZ_HTTP_COMPLETION,
     .summary = "Goes on with texts", .good = "Completion", .event = "Completion"},
    {"/v1/chat/completions", POST, .answer = rz_http_chat_start, .fields = RZ_HTTP_CHAT,
     .summary = "Answers a conversation", .good = "ChatCompletion", .event = "ChatChunk"},
    {"/v1/responses", POST, .answer = rz_http_response_start, .fields = RZ_HTTP_RESPONSE,
     .summary = "Answers a conversation, item by item", .good = "Response", .event = "ResponseEvent"},
    {"/v1/embeddings", POST, .answer = rz_http_embeddings_start, .fields = RZ_HTTP_EMBED,
     .summary = "Vectors of texts", .good = "Embeddings"},
    {"/models", GET, .plain = true, .answer = rz_http_models, .summary = "The models", .good = "PlainModels"},
    {"/tokenize", POST, .plain = true, .answer = rz_http_tokenize, .fields = RZ_HTTP_TOKENIZE,
     .summary = "The ids of a text", .good = "Tokens"},
    {"/generate", POST, .plain = true, .answer = rz_http_generate_start, .fields = RZ_HTTP_GENERATE,
     .summary = "Goes on with a text", .good = "Generated"},
    {"/stream/generate", POST, .plain = true, .answer = rz_http_generate_stream, .fields = RZ_HTTP_GENERATE,
     .summary = "Goes on with a text, token by token", .event = "GeneratedEvent"},
    {"/batch/tokenize", POST, .plain = true, .answer = rz_http_tokenize_all, .fields = RZ_HTTP_TOKENIZE_ALL,
     .summary = "The ids of several texts", .good = "TokensAll"},
    {"/batch/generate", POST, .plain = true, .answer = rz_http_generate_all, .fields = RZ_HTTP_GENERATE_ALL,
     .summary = "Goes on with several texts", .good = "GeneratedAll"},
};

const struct rz_http_route *rz_http_route_at(size_t i)
{
    return i < sizeof(routes) / sizeof(routes[0]) ? &routes[i] : NULL;
}

const struct rz_http_route *rz_http_route_find(const char *url, const char **rest)
{
    const struct rz_http_route *route;
    for (size_t i = 0; (route = rz_http_route_at(i)); i++) {
        size_t n = strlen(route->path);
        *rest = url + n;
        if (!strncmp(route->path, url, n) && (route->more ? url[n] != 0 : url[n] == 0))
            return route;
    }
    *rest = NULL;
    return NULL;
}
