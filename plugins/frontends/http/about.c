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

/* Of the device that this model has, or had last: RZ_DEVICE_*. */
static uint32_t device_state(const struct rz_host_serve *s, uint32_t model, struct rz_engine_device *d)
{
    uint32_t state = RZ_DEVICE_IN_USE;
    *d = (struct rz_engine_device){.size = sizeof(*d)};
    for (uint32_t i = 0; s->device(s->ctx, model, i, d) == RZ_OK; i++)
        state = d->state;
    return state;
}

uint32_t rz_http_failed(const struct rz_http *h, uint32_t state, char *why, size_t cap)
{
    struct rz_engine_device d;
    uint32_t n = 0;
    for (uint32_t i = atomic_load(&h->ready) ? h->n_models : 0; i-- > 0;)
        if (device_state(h->serve, i, &d) == state && ++n)
            snprintf(why, cap, "%s: %s", d.name, d.why);
    return n;
}

/* As the original system tells it: "gpu" while a model runs on anything but the CPU. */
static const char *compute_mode(const struct rz_http *h)
{
    struct rz_engine_device d = {.size = sizeof(d)};
    for (uint32_t i = atomic_load(&h->ready) ? h->n_models : 0; i-- > 0;) {
        const struct rz_engine *e = h->models[i].engine;
        for (uint32_t k = 0; RZ_HAS(e, device) && e->device(e->ctx, k, &d) == RZ_OK; k++)
            if (d.state == RZ_DEVICE_IN_USE && strcmp(d.name, "cpu"))
                return "gpu";
    }
    return "cpu";
}

enum MHD_Result rz_http_health(struct rz_http_request *r)
{
    char why[1024] = "";
    bool draining = atomic_load(&r->http->draining);
    uint32_t n_failed = draining ? 0 : rz_http_failed(r->http, RZ_DEVICE_OUT, why, sizeof(why));
    bool all = n_failed && n_failed == r->http->n_models;
    const char *status = draining ? "draining" : all ? "failed" : n_failed ? "degraded" : "healthy";
    json_t *o = json_pack("{s:s,s:s,s:s}", "status", status, "version", rz_http_version_text(),
                          "compute_mode", compute_mode(r->http));
    if (n_failed)
        json_object_set_new(o, "reason", rz_http_text(why, strlen(why)));
    return rz_http_reply_json(r->connection, draining || all ? 503 : 200, o, NULL);
}

enum MHD_Result rz_http_version(struct rz_http_request *r)
{
    return rz_http_reply_json(r->connection, 200,
                              json_pack("{s:s,s:s}", "name", "rz", "version", rz_http_version_text()), NULL);
}

/* --- models --- */

static struct rz_served_info state_of(const struct rz_http_request *r, uint32_t i)
{
    struct rz_served_info info = {.size = sizeof(info)};
    r->http->serve->info(r->http->serve->ctx, i, &info);
    return info;
}

static const char *state_name(const struct rz_served_info *i)
{
    static const char *const names[] = {[RZ_SERVED_OUT] = "unloaded",
                                        [RZ_SERVED_LOADING] = "loading",
                                        [RZ_SERVED_IN] = "loaded",
                                        [RZ_SERVED_LEAVING] = "unloading"};
    return i->state == RZ_SERVED_OUT && i->failed ? "failed" : names[i->state];
}

static json_t *v1_model(const struct rz_http_request *r, uint32_t i)
{
    struct rz_http_model m;
    struct rz_served_info s = state_of(r, i);
    bool known = rz_http_model_facts(r->http, i, &m);
    json_t *aliases = json_array();
    for (uint32_t k = 0; k < s.n_aliases; k++)
        json_array_append_new(aliases, rz_http_text(s.aliases[k], strlen(s.aliases[k])));
    json_t *o = json_pack("{s:o,s:s,s:I,s:s,s:s,s:o,s:I}", "id", rz_http_text(m.name, strlen(m.name)),
                          "object", "model", "created", (json_int_t)r->http->started, "owned_by", "rz",
                          "state", state_name(&s), "aliases", aliases, "memory_bytes", (json_int_t)s.bytes);
    if (known)
        json_object_set_new(o, "context_length", json_integer((json_int_t)m.info.n_ctx));
    return o;
}

enum MHD_Result rz_http_v1_models(struct rz_http_request *r)
{
    json_t *data = json_array();
    for (uint32_t i = 0; i < r->http->n_models; i++)
        json_array_append_new(data, v1_model(r, i));
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
    for (uint32_t i = 0; i < r->http->n_models; i++) {
        struct rz_served_info s = state_of(r, i);
        bool found = spells(r->rest, s.name);
        for (uint32_t k = 0; k < s.n_aliases && !found; k++)
            found = spells(r->rest, s.aliases[k]);
        if (found)
            return rz_http_reply_json(r->connection, 200, v1_model(r, i), NULL);
    }
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
        struct rz_http_model m;
        struct rz_served_info s = state_of(r, i);
        bool known = rz_http_model_facts(r->http, i, &m);
        const char *name = known && m.info.name[0] ? m.info.name : m.name;
        json_t *shown = rz_http_text(name, strlen(name));
        char text[96] = "its file could not be read yet";
        if (known)
            snprintf(text, sizeof(text), "%.40s, %.3g billion parameters, context %u", m.info.arch,
                     (double)m.info.n_params * 1e-9, m.info.n_ctx);
        json_array_append_new(list, json_pack("{s:o,s:o,s:o,s:s,s:b,s:s}", "id",
                                              rz_http_text(m.name, strlen(m.name)), "name", shown,
                                              "description", rz_http_text(text, strlen(text)), "format",
                                              known ? format_of(&m.info) : "unknown", "loaded",
                                              s.state == RZ_SERVED_IN, "state", state_name(&s)));
    }
    return rz_http_reply_json(r->connection, 200, json_pack("{s:o}", "models", list), NULL);
}
