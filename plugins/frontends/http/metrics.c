/* metrics.c - counting: histograms of times and tokens, outcomes, answers by route and status.
 *
 * Times come from the engine's own clock readings and from the moments when its loop wakes a request, not
 * from when a client reads.
 */
#include "metrics.h"

#include <stddef.h>

#include "http.h"

static const double seconds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                 1,     2.5,    5,     10,   30,    60,   120, 300,  600};
static const double tokens[] = {1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

_Static_assert(COUNT(seconds) <= RZ_HTTP_BUCKETS_MAX && COUNT(tokens) <= RZ_HTTP_BUCKETS_MAX,
               "a histogram has room for its bounds");

static const unsigned codes[RZ_HTTP_N_CODES - 1] = {200, 201, 202, 204, 304, 400, 401, 403,
                                                    404, 405, 408, 409, 411, 413, 415, 422,
                                                    429, 431, 500, 501, 502, 503, 504};

unsigned rz_http_code(uint32_t i)
{
    return i < COUNT(codes) ? codes[i] : 0;
}

const double *rz_http_bounds(int histogram, uint32_t *n, double *unit)
{
    bool counts = histogram == RZ_HTTP_H_PROMPT || histogram == RZ_HTTP_H_NEW;
    *n = counts ? COUNT(tokens) : COUNT(seconds);
    *unit = counts ? 1 : 1e9;
    return counts ? tokens : seconds;
}

/* value: in the units of the sum. */
static void observe(struct rz_http_model_metrics *m, int histogram, uint64_t value)
{
    uint32_t n, at = 0;
    double unit;
    const double *bounds = rz_http_bounds(histogram, &n, &unit);
    while (at < n && (double)value > bounds[at] * unit)
        at++;
    atomic_fetch_add(&m->h[histogram].counts[at < n ? at : RZ_HTTP_BUCKETS_MAX], 1);
    atomic_fetch_add(&m->h[histogram].sum, value);
}

static void observe_s(struct rz_http_model_metrics *m, int histogram, double s)
{
    observe(m, histogram, s > 0 ? (uint64_t)(s * 1e9) : 0);
}

/* The row of a path: paths are constants, so the pointer is the name. */
static struct rz_http_route_metrics *row_of(struct rz_http *h, const char *path)
{
    for (uint32_t i = 0; i < RZ_HTTP_ROUTES_MAX; i++) {
        const char *none = NULL;
        if (atomic_load(&h->routes[i].path) == path ||
            atomic_compare_exchange_strong(&h->routes[i].path, &none, path) || none == path)
            return &h->routes[i];
    }
    return &h->routes[RZ_HTTP_ROUTES_MAX - 1];
}

void rz_http_count(struct rz_http *h, const char *path, unsigned status)
{
    static const char other[] = "other";
    uint32_t i = 0;
    while (i < COUNT(codes) && codes[i] != status)
        i++;
    atomic_fetch_add(&row_of(h, path ? path : other)->codes[i], 1);
}

void rz_http_measure_wake(struct rz_http_run *run)
{
    struct rz_http_request *r = run->owner;
    uint64_t now = rz_http_now_ns();
    if (!r->first_ns)
        r->first_ns = now;
    if (run->woken_ns)
        observe(r->model->metrics, RZ_HTTP_H_NEXT, now - run->woken_ns);
    run->woken_ns = now;
}

void rz_http_measure_first(struct rz_http_request *r)
{
    if (r->measured)
        return;
    r->measured = true;
    pthread_mutex_lock(&r->lock);
    if (!r->first_ns) /* an event may be taken before the engine gets to its wake */
        r->first_ns = rz_http_now_ns();
    observe(r->model->metrics, RZ_HTTP_H_FIRST, r->first_ns - r->begun_ns);
    pthread_mutex_unlock(&r->lock);
}

static uint32_t finish_of(const struct rz_event *ev)
{
    return ev->kind == RZ_EVENT_ERROR || ev->finish > RZ_FINISH_TIMEOUT ? RZ_FINISH_ERROR : ev->finish;
}

void rz_http_measure_end(struct rz_http_request *r, const struct rz_event *ev)
{
    struct rz_http_model_metrics *m = r->model->metrics;
    uint32_t finish = finish_of(ev);
    atomic_fetch_add(&m->ended[finish], 1);
    if (finish != RZ_FINISH_STOP && finish != RZ_FINISH_LENGTH)
        return;
    observe(m, RZ_HTTP_H_WHOLE, rz_http_now_ns() - r->begun_ns);
    observe_s(m, RZ_HTTP_H_QUEUE, ev->t_queue + (double)r->waited_ns * 1e-9);
    observe_s(m, RZ_HTTP_H_PREFILL, ev->t_prompt);
    observe_s(m, RZ_HTTP_H_DECODE, ev->t_gen);
    observe(m, RZ_HTTP_H_PROMPT, ev->n_prompt);
    observe(m, RZ_HTTP_H_NEW, ev->n_new);
}

void rz_http_measure_abort(struct rz_http_request *r)
{
    uint32_t ended = r->n_ended + (r->ended && r->n_ended < r->n_runs); /* the one that failed */
    if (r->n_submitted > ended)
        atomic_fetch_add(&r->model->metrics->ended[RZ_FINISH_CANCELLED], r->n_submitted - ended);
}

const char *rz_http_outcome(const struct rz_event *ev)
{
    static const char *const names[] = {
        [RZ_FINISH_NONE] = "error",      [RZ_FINISH_STOP] = "stop",   [RZ_FINISH_LENGTH] = "length",
        [RZ_FINISH_CANCELLED] = "abort", [RZ_FINISH_ERROR] = "error", [RZ_FINISH_TIMEOUT] = "timeout",
    };
    return names[finish_of(ev)];
}
