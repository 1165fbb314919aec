/* json_memory.c - seeing that JSON lacks a part because there was no memory for it.
 *
 * jansson's builders answer a failed allocation by leaving out what did not fit, so that an answer, or a
 * conversation, would be smaller than it is. Its allocations go through here, and a thread remembers that
 * one failed until somebody asks.
 */
#include <stdlib.h>

#include "http.h"

/* There from the start of a thread: what is made when it is first touched takes memory, and without any the
 * loader ends the process. */
static _Thread_local bool failed __attribute__((tls_model("initial-exec")));

static void *take(size_t n)
{
    void *p = malloc(n);
    failed = failed || !p;
    return p;
}

void rz_http_json_watch(void)
{
    json_set_alloc_funcs(take, free);
}

void rz_http_json_lacks(void)
{
    failed = true;
}

bool rz_http_json_failed(void)
{
    bool was = failed;
    failed = false;
    return was;
}
