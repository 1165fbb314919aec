/* progress.c - how far a long work is: one line on stderr that is rewritten, only where people look. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "tools.h"

#define WIDTH 30
#define EVERY_MS 100

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void rz_tools_progress_start(struct rz_tools_progress *p, uint64_t total, const char *unit, bool quiet)
{
    *p = (struct rz_tools_progress){.bar = !quiet && isatty(STDERR_FILENO), .total = total, .unit = unit};
    p->shown_ms = now_ms();
}

void rz_tools_progress_add(struct rz_tools_progress *p, uint64_t n)
{
    static const char full[] = "##############################", empty[] = "..............................";
    char done[32], total[32];
    p->done += n;
    if (!p->bar || !p->total || now_ms() - p->shown_ms < EVERY_MS)
        return;
    p->shown_ms = now_ms();
    int marks = (int)(WIDTH * (double)p->done / (double)p->total);
    marks = marks > WIDTH ? WIDTH : marks;
    fprintf(stderr, "\r[%.*s%.*s] %3d %% ", marks, full, WIDTH - marks, empty,
            (int)(100.0 * (double)p->done / (double)p->total));
    if (p->unit)
        fprintf(stderr, "%llu of %llu %s ", (unsigned long long)p->done, (unsigned long long)p->total,
                p->unit);
    else
        fprintf(stderr, "%s of %s ", rz_cli_bytes(done, p->done), rz_cli_bytes(total, p->total));
}

void rz_tools_progress_end(struct rz_tools_progress *p)
{
    if (p->bar)
        fprintf(stderr, "\r\x1b[K");
    p->bar = false;
}
