/* metrics_text.c - /metrics: the text of Prometheus (version 0.0.4).
 *
 * What vLLM has too carries its name; metrics_names = rz gives the same with rz_ in place of "vllm:", which
 * promtool likes better. What it has not is always called rz_.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "http.h"

#define TEXT_MAX ((size_t)4 << 20)

struct page {
    struct rz_http *http;
    struct rz_buf out;
    const char *prefix;
    uint32_t n_models; /* none while they load */
    struct rz_engine_stats stats[RZ_HTTP_MODELS_MAX];
    struct rz_served_info served[RZ_HTTP_MODELS_MAX];
};

/* A value of a label: UTF-8 with three characters escaped. */
static void add_label(struct rz_buf *b, const char *name, const char *value)
{
    rz_buf_printf(b, "%s=\"", name);
    for (; *value; value++)
        if (*value == '\n')
            rz_buf_str(b, "\\n");
        else
            rz_buf_printf(b, *value == '"' || *value == '\\' ? "\\%c" : "%c", *value);
    rz_buf_str(b, "\"");
}

static void head(struct page *p, const char *prefix, const char *name, const char *type, const char *help)
{
    rz_buf_printf(&p->out, "# HELP %s%s %s\n# TYPE %s%s %s\n", prefix, name, help, prefix, name, type);
}

static void model_label(struct page *p, const char *prefix, const char *name, const char *end, uint32_t i)
{
    rz_buf_printf(&p->out, "%s%s%s{", prefix, name, end);
    add_label(&p->out, "model_name", p->http->models[i].name);
}

/* --- numbers of the engine, and sums over ended requests --- */

static double usage_of(const struct page *p, uint32_t i)
{
    const struct rz_engine_stats *s = &p->stats[i];
    return s->pages_total ? (double)(s->pages_total - s->pages_free) / s->pages_total : 0;
}

static double field(const struct page *p, uint32_t i, int what)
{
    const struct rz_engine_stats *s = &p->stats[i];
    const struct rz_served_info *v = &p->served[i];
    const double values[] = {s->running,
                             (double)s->waiting + p->served[i].waiting,
                             usage_of(p, i),
                             (double)s->preempted,
                             (double)s->prompt_tokens,
                             (double)s->new_tokens,
                             (double)s->cache_queries,
                             (double)s->cache_hits,
                             (double)s->cache_evictions,
                             (double)s->drafted,
                             (double)s->accepted,
                             s->pages_total,
                             s->pages_free,
                             (double)s->steps,
                             (double)s->requests,
                             (double)s->failed,
                             (double)s->cancelled,
                             v->state == RZ_SERVED_IN,
                             (double)v->bytes,
                             v->waiting,
                             (double)v->loads,
                             (double)v->unloads,
                             (double)v->failures,
                             (double)s->timeouts,
                             (double)s->refused,
                             s->max_running,
                             s->max_queue,
                             s->pages_cached};
    return values[what];
}

static void numbers(struct page *p)
{
    static const struct {
        bool own;
        const char *name, *type, *help;
    } all[] = {
        {false, "num_requests_running", "gauge", "Requests that have a place in the batch."},
        {false, "num_requests_waiting", "gauge", "Requests that wait for a place."},
        {false, "kv_cache_usage_perc", "gauge", "Share of the KV pages in use, 0 to 1."},
        {false, "num_preemptions_total", "counter",
         "Requests that gave their pages up and were computed again."},
        {false, "prompt_tokens_total", "counter", "Prompt tokens computed."},
        {false, "generation_tokens_total", "counter", "Tokens generated."},
        {false, "prefix_cache_queries_total", "counter", "Prompt tokens looked for in the prefix cache."},
        {false, "prefix_cache_hits_total", "counter", "Prompt tokens found there."},
        {true, "prefix_cache_evictions_total", "counter",
         "Pages and states of the prefix cache that gave way."},
        {false, "spec_decode_num_draft_tokens_total", "counter", "Tokens guessed ahead."},
        {false, "spec_decode_num_accepted_tokens_total", "counter", "Guessed tokens that were right."},
        {true, "kv_pages", "gauge", "KV pages there are."},
        {true, "kv_pages_free", "gauge", "KV pages that no request holds."},
        {true, "engine_steps_total", "counter", "Steps of the engine."},
        {true, "requests_total", "counter", "Requests that the engine took."},
        {true, "requests_failed_total", "counter", "Requests that ended with an error of the engine."},
        {true, "requests_cancelled_total", "counter", "Requests that were ended before their time."},
        {true, "model_loaded", "gauge", "1 while the model is loaded."},
        {true, "model_memory_bytes", "gauge", "What the model takes while it is loaded."},
        {true, "model_requests_waiting", "gauge", "Requests that wait until the model is loaded."},
        {true, "model_loads_total", "counter", "Times that the model was loaded."},
        {true, "model_unloads_total", "counter", "Times that it was unloaded."},
        {true, "model_load_failures_total", "counter", "Times that it could not be loaded."},
        {true, "requests_timeout_total", "counter", "Requests that ended at their deadline."},
        {true, "requests_refused_total", "counter", "Requests that found the queue full."},
        {true, "requests_running_max", "gauge", "Places in the batch."},
        {true, "requests_max", "gauge", "Requests waiting or running that are taken."},
        {true, "kv_pages_cached", "gauge", "Free KV pages that the prefix cache would rather not lose."},
    };
    for (int k = 0; k < (int)(sizeof(all) / sizeof(all[0])); k++) {
        const char *prefix = all[k].own ? "rz_" : p->prefix;
        head(p, prefix, all[k].name, all[k].type, all[k].help);
        for (uint32_t i = 0; i < p->n_models; i++) {
            model_label(p, prefix, all[k].name, "", i);
            rz_buf_printf(&p->out, "} %.17g\n", field(p, i, k));
        }
    }
}

static void outcomes(struct page *p)
{
    head(p, p->prefix, "request_success_total", "counter", "Requests that ended, by how.");
    for (uint32_t i = 0; i < p->n_models; i++)
        for (uint32_t f = RZ_FINISH_STOP; f <= RZ_FINISH_TIMEOUT; f++) {
            struct rz_event ev = {.size = sizeof(ev), .kind = RZ_EVENT_DONE, .finish = f};
            model_label(p, p->prefix, "request_success_total", "", i);
            rz_buf_str(&p->out, ",");
            add_label(&p->out, "finished_reason", rz_http_outcome(&ev));
            rz_buf_printf(&p->out, "} %llu\n",
                          (unsigned long long)atomic_load(&p->http->models[i].metrics->ended[f]));
        }
}

/* --- devices --- */

static bool device_at(const struct page *p, uint32_t model, uint32_t i, struct rz_engine_device *out)
{
    const struct rz_host_serve *s = p->http->serve;
    *out = (struct rz_engine_device){.size = sizeof(*out)};
    return s->device(s->ctx, model, i, out) == RZ_OK;
}

static void device_numbers(struct page *p, const char *name, bool failures)
{
    struct rz_engine_device d;
    for (uint32_t i = 0; i < p->n_models; i++)
        for (uint32_t k = 0; device_at(p, i, k, &d); k++) {
            model_label(p, "rz_", name, "", i);
            rz_buf_str(&p->out, ",");
            add_label(&p->out, "device", d.name);
            rz_buf_printf(&p->out, "} %llu\n",
                          failures ? (unsigned long long)d.failures : d.state == RZ_DEVICE_IN_USE);
        }
}

static void devices(struct page *p)
{
    head(p, "rz_", "device_failures_total", "counter", "Steps that a device failed.");
    device_numbers(p, "device_failures_total", true);
    head(p, "rz_", "device_in_use", "gauge",
         "1: it runs the model's steps; 0: it failed and was taken out. None with 1: requests are refused.");
    device_numbers(p, "device_in_use", false);
}

/* --- histograms --- */

static void histogram(struct page *p, uint32_t i, int which, const char *name)
{
    struct rz_http_histogram *h = &p->http->models[i].metrics->h[which];
    uint64_t total = 0;
    uint32_t n;
    double unit;
    const double *bounds = rz_http_bounds(which, &n, &unit);
    for (uint32_t b = 0; b <= n; b++) {
        total += atomic_load(&h->counts[b < n ? b : RZ_HTTP_BUCKETS_MAX]);
        model_label(p, p->prefix, name, "_bucket", i);
        if (b < n)
            rz_buf_printf(&p->out, ",le=\"%g\"} %llu\n", bounds[b], (unsigned long long)total);
        else
            rz_buf_printf(&p->out, ",le=\"+Inf\"} %llu\n", (unsigned long long)total);
    }
    model_label(p, p->prefix, name, "_sum", i);
    rz_buf_printf(&p->out, "} %.17g\n", (double)atomic_load(&h->sum) / unit);
    model_label(p, p->prefix, name, "_count", i);
    rz_buf_printf(&p->out, "} %llu\n", (unsigned long long)total);
}

static void histograms(struct page *p)
{
    static const struct {
        const char *name, *help;
    } all[RZ_HTTP_N_H] = {
        [RZ_HTTP_H_FIRST] = {"time_to_first_token_seconds", "From the request to its first token."},
        [RZ_HTTP_H_NEXT] = {"inter_token_latency_seconds", "Between two tokens of a request."},
        [RZ_HTTP_H_WHOLE] = {"e2e_request_latency_seconds", "From the request to its last token."},
        [RZ_HTTP_H_QUEUE] = {"request_queue_time_seconds", "Waiting for a place in the batch."},
        [RZ_HTTP_H_PREFILL] = {"request_prefill_time_seconds", "Computing the prompt."},
        [RZ_HTTP_H_DECODE] = {"request_decode_time_seconds", "Generating after the first token."},
        [RZ_HTTP_H_PROMPT] = {"request_prompt_tokens", "Tokens of a prompt."},
        [RZ_HTTP_H_NEW] = {"request_generation_tokens", "Tokens generated for a request."},
    };
    for (int k = 0; k < RZ_HTTP_N_H; k++) {
        head(p, p->prefix, all[k].name, "histogram", all[k].help);
        for (uint32_t i = 0; i < p->n_models; i++)
            histogram(p, i, k, all[k].name);
    }
}

/* --- the server and its process --- */

static void server(struct page *p)
{
    static const char *const phases[] = {"header", "body", "engine", "reader"};
    struct rz_http *h = p->http;
    char why[64];
    head(p, "rz_", "http_requests_total", "counter", "Answers, by route and status.");
    for (uint32_t i = 0; i < RZ_HTTP_ROUTES_MAX; i++)
        for (uint32_t c = 0; atomic_load(&h->routes[i].path) && c < RZ_HTTP_N_CODES; c++) {
            uint64_t n = atomic_load(&h->routes[i].codes[c]);
            if (!n)
                continue;
            rz_buf_str(&p->out, "rz_http_requests_total{");
            add_label(&p->out, "path", atomic_load(&h->routes[i].path));
            rz_buf_printf(&p->out, ",code=\"%u\"} %llu\n", rz_http_code(c), (unsigned long long)n);
        }
    head(p, "rz_", "http_connections", "gauge", "Open connections.");
    rz_buf_printf(&p->out, "rz_http_connections %u\n", atomic_load(&h->n_conns));
    head(p, "rz_", "http_body_bytes", "gauge", "Bytes of bodies that are held.");
    rz_buf_printf(&p->out, "rz_http_body_bytes %llu\n", (unsigned long long)atomic_load(&h->body_bytes));
    head(p, "rz_", "http_dropped_total", "counter",
         "Connections closed because a wait was over, by whom for.");
    for (int i = 0; i < 4; i++)
        rz_buf_printf(&p->out, "rz_http_dropped_total{phase=\"%s\"} %llu\n", phases[i],
                      (unsigned long long)atomic_load(&h->n_dropped[i]));
    head(p, "rz_", "ready", "gauge", "1 while requests are taken.");
    bool ready = atomic_load(&h->ready) && !atomic_load(&h->draining) &&
                 !rz_http_failed(h, RZ_DEVICE_OUT, why, sizeof(why)) &&
                 !rz_http_failed(h, RZ_DEVICE_LOST, why, sizeof(why));
    rz_buf_printf(&p->out, "rz_ready %d\n", ready);
}

/* The numbers of /proc/self/statm, without which there is no page of memory to tell of. */
static void process(struct page *p)
{
    unsigned long long pages = 0, resident = 0;
    struct timespec cpu = {0};
    FILE *f = fopen("/proc/self/statm", "re");
    if (f) {
        if (fscanf(f, "%llu %llu", &pages, &resident) != 2)
            resident = 0;
        fclose(f);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    head(p, "", "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.");
    rz_buf_printf(&p->out, "process_resident_memory_bytes %llu\n",
                  resident * (unsigned long long)sysconf(_SC_PAGESIZE));
    head(p, "", "process_cpu_seconds_total", "counter", "User and system CPU time spent in seconds.");
    rz_buf_printf(&p->out, "process_cpu_seconds_total %.3f\n",
                  (double)cpu.tv_sec + (double)cpu.tv_nsec * 1e-9);
    head(p, "", "process_start_time_seconds", "gauge", "Start of the server in seconds since 1970.");
    rz_buf_printf(&p->out, "process_start_time_seconds %lld\n", (long long)p->http->started);
}

enum MHD_Result rz_http_metrics(struct rz_http_request *r)
{
    struct page *p = calloc(1, sizeof(*p));
    enum MHD_Result result = MHD_NO;
    if (!p)
        return MHD_NO;
    p->http = r->http;
    p->prefix = r->http->metrics_rz ? "rz_" : "vllm:";
    p->n_models = atomic_load(&r->http->ready) ? r->http->n_models : 0;
    rz_buf_init(&p->out, TEXT_MAX);
    for (uint32_t i = 0; i < p->n_models; i++) {
        const struct rz_host_serve *s = p->http->serve;
        p->stats[i].size = sizeof(p->stats[i]);
        p->served[i].size = sizeof(p->served[i]);
        s->stats(s->ctx, i, &p->stats[i]);
        s->info(s->ctx, i, &p->served[i]);
    }
    numbers(p);
    outcomes(p);
    devices(p);
    histograms(p);
    server(p);
    process(p);
    size_t n = p->out.len;
    char *text = rz_buf_take(&p->out);
    struct MHD_Response *response =
        text ? MHD_create_response_from_buffer(n, text, MHD_RESPMEM_MUST_FREE) : NULL;
    if (response) {
        MHD_add_response_header(response, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
        result = rz_http_queue(r->connection, MHD_HTTP_OK, response, n);
        MHD_destroy_response(response);
    } else {
        free(text);
    }
    free(p);
    return result;
}

/* --- /ready --- */

enum MHD_Result rz_http_ready(struct rz_http_request *r)
{
    char why[1024];
    bool draining = atomic_load(&r->http->draining), ready = atomic_load(&r->http->ready) && !draining;
    struct rz_http_error e = {.status = 503,
                              .type = "overloaded_error",
                              .code = draining ? "shutting_down" : "loading",
                              .header = "Retry-After: 5",
                              .message = draining ? "the server is shutting down" : "the models are loading"};
    bool out = ready && rz_http_failed(r->http, RZ_DEVICE_OUT, why, sizeof(why));
    bool lost = ready && !out && rz_http_failed(r->http, RZ_DEVICE_LOST, why, sizeof(why));
    if (out || lost) {
        e.code = out ? "device_failed" : "device_changes";
        e.type = out ? NULL : e.type;
        e.header = out ? NULL : e.header;
        e.message = why;
    }
    if (!ready || out || lost)
        return rz_http_reply_error(r->connection, &e);
    return rz_http_reply_json(r->connection, 200, json_pack("{s:s}", "status", "ready"), NULL);
}
