/* quiet.c - has a daemon accept no more, in spite of a fault of libmicrohttpd.
 *
 * Owns its panic function. MHD_quiesce_daemon (0.9.75, and 1.0.1 still) takes the listening socket out of the
 * epoll set of each thread of the pool, and panics where such a thread has just done so itself, because it
 * saw the flag that was set before. Nothing is wrong then: it goes on with the next thread when it is called
 * again. It holds no lock meanwhile, so it may be left by a jump. Any other panic ends the program, as it
 * would without us: libmicrohttpd cannot go on after one.
 *
 * Invariant: only the thread that stops the daemons is ever jumped out of.
 */
#include <sched.h>
#include <setjmp.h>

#include "http.h"

#define TRIES 1000 /* far more than a pool has threads */

static _Thread_local jmp_buf *back;

static void panic(void *http, const char *file, unsigned line, const char *reason)
{
    if (back)
        longjmp(*back, 1);
    rz_http_log(http, RZ_LOG_ERROR, "http: libmicrohttpd cannot go on: %s (%s:%u)", reason, file, line);
    __builtin_trap();
}

void rz_http_quiet(struct rz_http *h, struct MHD_Daemon *daemon)
{
    jmp_buf here;
    volatile int tries = 0;
    MHD_set_panic_func(panic, h);
    if (setjmp(here))
        sched_yield();
    back = &here;
    if (tries++ < TRIES)
        MHD_quiesce_daemon(daemon);
    back = NULL;
}
