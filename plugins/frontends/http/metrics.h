/* metrics.h - what is counted: a model's requests, and the answers of each route.
 *
 * Everything is atomic and is added to from any thread; a reader sees each number whole, not all of them
 * at one moment.
 */
#ifndef RZ_HTTP_METRICS_H
#define RZ_HTTP_METRICS_H

#include <rz/engine.h>
#include <stdatomic.h>
#include <stdint.h>

#define RZ_HTTP_BUCKETS_MAX 20
#define RZ_HTTP_ROUTES_MAX 64
#define RZ_HTTP_N_CODES 24

/* The histograms of a model. */
#define RZ_HTTP_H_FIRST 0 /* from the request to its first token */
#define RZ_HTTP_H_NEXT 1  /* between two steps that gave it tokens */
#define RZ_HTTP_H_WHOLE 2
#define RZ_HTTP_H_QUEUE 3
#define RZ_HTTP_H_PREFILL 4
#define RZ_HTTP_H_DECODE 5
#define RZ_HTTP_H_PROMPT 6 /* tokens */
#define RZ_HTTP_H_NEW 7
#define RZ_HTTP_N_H 8

struct rz_http;
struct rz_http_request;
struct rz_http_run;
struct rz_buf;

struct rz_http_histogram {
    atomic_uint_fast64_t counts[RZ_HTTP_BUCKETS_MAX + 1]; /* the last: above all bounds */
    atomic_uint_fast64_t sum;                             /* in nanoseconds, or tokens */
};

struct rz_http_model_metrics {
    struct rz_http_histogram h[RZ_HTTP_N_H];
    atomic_uint_fast64_t ended[RZ_FINISH_TIMEOUT + 1]; /* by RZ_FINISH_* */
};

struct rz_http_route_metrics {
    _Atomic(const char *) path; /* of the table of routes; NULL: not used yet */
    atomic_uint_fast64_t codes[RZ_HTTP_N_CODES];
};

/* An answer with this status was given; path NULL: no route of ours. */
void rz_http_count(struct rz_http *h, const char *path, unsigned status);
/* The engine has called the wake of this run. Under the request's lock. */
void rz_http_measure_wake(struct rz_http_run *run);
/* The first token, and the end, were taken. */
void rz_http_measure_first(struct rz_http_request *r);
void rz_http_measure_end(struct rz_http_request *r, const struct rz_event *ev);
/* The exchange is over: runs whose end nobody waited for were aborted. */
void rz_http_measure_abort(struct rz_http_request *r);
/* stop, length, abort, timeout or error. */
const char *rz_http_outcome(const struct rz_event *ev);

/* The upper bounds of a histogram, their number, and how many units of its sum make one of its name's. */
const double *rz_http_bounds(int histogram, uint32_t *n, double *unit);
/* The status code i of rz_http_route_metrics; 0: any other. */
unsigned rz_http_code(uint32_t i);

#endif
