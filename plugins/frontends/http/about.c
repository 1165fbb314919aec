/* about.c - what the server says of itself: health, version, its models.
 */
#include <stdlib.h>
#include <string.h>

#include "http.h"

extern const struct rz_plugin rz_plugin_v1;

const char *rz_http_version_text(void)
{
    return rz_plugin_v1.header.version;
}

enum MHD_Result rz_http_health(struct rz_http_request *r)
{
    bool draining = atomic_load(&r->http->draining);
    return rz_http_reply_json(r->connection, draining ? 503 : 200,
                              json_pack("{s:s,s:s}", "status", draining ? "draining" : "healthy", "version",
                                        rz_http_version_text()),
                              NULL);
}

enum MHD_Result rz_http_version(struct rz_http_request *r)
{
    return rz_http_reply_json(r->connection, 200,
                              json_pack("{s:s,s:s}", "name", "rz", "version", rz_http_version_text()), NULL);
}

static json_t *v1_model(const struct rz_http_request *r, const struct rz_http_model *m)
{
    return json_pack("{s:o,s:s,s:I,s:s,s:I}", "id", rz_http_text(m->name, strlen(m->name)), "object", "model",
                     "created", (json_int_t)r->http->started, "owned_by", "rz", "context_length",
                     (json_int_t)m->info.n_ctx);
}

enum MHD_Result rz_http_v1_models(struct rz_http_request *r)
{
    json_t *data = json_array();
    for (uint32_t i = 0; i < r->http->n_models; i++)
        json_array_append_new(data, v1_model(r, &r->http->models[i]));
    return rz_http_reply_json(r->connection, 200, json_pack("{s:s,s:o}", "object", "list", "data", data),
                              NULL);
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* Does an escaped part of a path spell this name? */
static bool spells(const char *path, const char *name)
{
    for (; *path; path++, name++) {
        int c = (unsigned char)*path, high = c == '%' ? hex(path[1]) : -1,
            low = high >= 0 ? hex(path[2]) : -1;
        if (low >= 0) {
            c = high << 4 | low;
            path += 2;
        }
        if (c != (unsigned char)*name || !c)
            return false;
    }
    return !*name;
}

enum MHD_Result rz_http_v1_model(struct rz_http_request *r)
{
    struct rz_http_error e = {.status = 404,
                              .param = "model",
                              .code = "model_not_found",
                              .message = "the server has no such model"};
    for (uint32_t i = 0; i < r->http->n_models; i++)
        if (spells(r->rest, r->http->models[i].name))
            return rz_http_reply_json(r->connection, 200, v1_model(r, &r->http->models[i]), NULL);
    return rz_http_reply_error(r->connection, &e);
}

static const char *format_of(const struct rz_model_info *info)
{
    size_t n = strlen(info->path);
    return n > 5 && !strcmp(info->path + n - 5, ".gguf") ? "GGUF" : "SafeTensors";
}

/* As the original system lists them. */
enum MHD_Result rz_http_models(struct rz_http_request *r)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < r->http->n_models; i++) {
        const struct rz_http_model *m = &r->http->models[i];
        const char *name = m->info.name && m->info.name[0] ? m->info.name : m->name;
        json_t *shown = rz_http_text(name, strlen(name));
        char text[96];
        snprintf(text, sizeof(text), "%.40s, %.3g billion parameters, context %u", m->info.arch,
                 (double)m->info.n_params * 1e-9, m->info.n_ctx);
        json_array_append_new(list,
                              json_pack("{s:o,s:o,s:o,s:s,s:b}", "id", rz_http_text(m->name, strlen(m->name)),
                                        "name", shown, "description", rz_http_text(text, strlen(text)),
                                        "format", format_of(&m->info), "loaded", 1));
    }
    return rz_http_reply_json(r->connection, 200, json_pack("{s:o}", "models", list), NULL);
}
