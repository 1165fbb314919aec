/* about.c - what the server says of itself: health, version, its models.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

extern const struct rz_plugin rz_plugin_v1;

const char *rz_http_version_text(void)
{
    return rz_plugin_v1.header.version;
}

/* Why this model takes no requests; false: it does. Models are not named: everybody may ask. */
static bool model_failed(const struct rz_http_model *m, char *why, size_t cap)
{
    struct rz_engine_device d = {.size = sizeof(d)};
    const struct rz_engine *e = m->engine;
    bool any = false;
    for (uint32_t i = 0; RZ_HAS(e, device) && e->device(e->ctx, i, &d) == RZ_OK; i++) {
        if (d.state == RZ_DEVICE_IN_USE)
            return false;
        any = true;
    }
    if (any)
        snprintf(why, cap, "%s: %s", d.name, d.why);
    return any;
}

uint32_t rz_http_failed(const struct rz_http *h, char *why, size_t cap)
{
    uint32_t n = 0;
    for (uint32_t i = atomic_load(&h->ready) ? h->n_models : 0; i-- > 0;)
        n += model_failed(&h->models[i], why, cap);
    return n;
}

enum MHD_Result rz_http_health(struct rz_http_request *r)
{
    char why[1024] = "";
    bool draining = atomic_load(&r->http->draining);
    uint32_t n_failed = draining ? 0 : rz_http_failed(r->http, why, sizeof(why));
    bool all = n_failed && n_failed == r->http->n_models;
    const char *status = draining ? "draining" : all ? "failed" : n_failed ? "degraded" : "healthy";
    json_t *o = json_pack("{s:s,s:s}", "status", status, "version", rz_http_version_text());
    if (n_failed)
        json_object_set_new(o, "reason", rz_http_text(why, strlen(why)));
    return rz_http_reply_json(r->connection, draining || all ? 503 : 200, o, NULL);
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
