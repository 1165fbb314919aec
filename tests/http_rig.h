/* http_rig.h - a real `rz serve` for a test, and requests to it through libcurl. */
#ifndef RZ_HTTP_RIG_H
#define RZ_HTTP_RIG_H

#include <curl/curl.h>
#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "buf.h"

#define RIG_EXTRA_MAX 12
/* In the fixtures' SentencePiece vocabulary the byte b is token b + 3. */
#define RIG_TOKEN_A 100

/* One request and its answer. */
struct rz_rig_call {
    const char *path;
    const char *body;   /* NULL: GET                                */
    const char *header; /* one more, or NULL                        */
    size_t cut_after;   /* ends the transfer after so many bytes; 0: not */
    /* the answer */
    long status;
    struct rz_buf text, headers;
    unsigned pieces; /* calls that delivered the text */
    CURLcode result;
    CURL *curl;
    struct curl_slist *list;
};

struct rz_rig {
    pid_t pid;
    char url[128];
    int log; /* the server's stderr */
};

/* Starts `rz serve` of a tiny model on a free port with these further arguments (NULL ends them). Fails the
 * test if it is not ready soon. */
void rz_rig_start(struct rz_rig *rig, const char *const *extra);
/* Asks for the end and returns the exit status. */
int rz_rig_stop(struct rz_rig *rig);

/* The whole call. The answer is freed with rz_rig_free. */
void rz_rig_do(const struct rz_rig *rig, struct rz_rig_call *call);
/* The same in two halves, for several calls at once. */
CURL *rz_rig_prepare(const struct rz_rig *rig, struct rz_rig_call *call);
void rz_rig_finish(struct rz_rig_call *call, CURLcode result);
void rz_rig_free(struct rz_rig_call *call);
/* POST of a body to /v1/completions. */
struct rz_rig_call rz_rig_complete(const struct rz_rig *rig, const char *body);
/* The answer as JSON; fails the test if it is none. The caller decrefs. */
json_t *rz_rig_json(const struct rz_rig_call *call);
/* The data of event i of a stream as JSON, NULL for [DONE]; *n: how many events there are. */
json_t *rz_rig_event(const struct rz_rig_call *call, unsigned i, unsigned *n);

#endif
