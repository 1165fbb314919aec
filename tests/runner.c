/* runner.c - runs the tests of one program where Criterion cannot: each in a forked process, with a limit.
 *
 * Owns main of a test program built with RZ_RUNNER. Speaks the part of Criterion's command line that is
 * used: --tap=FILE, --filter=PATTERN (of SUITE/NAME). A test passes if its process ends with 0, so a data
 * race that ThreadSanitizer found (status 66), a signal or a time-out fails it.
 */
#include "rz_test.h"

#include <fnmatch.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST_SECONDS 300
#define STATUS_SKIPPED 77

static struct rz_test_case *cases;
static struct rz_test_case **cases_end = &cases;

void rz_test_add(struct rz_test_case *test)
{
    *cases_end = test;
    cases_end = &test->next;
}

void rz_test_failed(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    fflush(NULL);
    _exit(1);
}

void rz_test_skipped(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "skipped: ");
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    fflush(NULL);
    _exit(STATUS_SKIPPED);
}

/* The wait status of one test run in a process of its own; -1 if there could be none. */
static int run_one(const struct rz_test_case *test)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        return -1;
    if (pid == 0) {
        alarm(TEST_SECONDS);
        test->run();
        exit(0);
    }
    int status = -1;
    if (waitpid(pid, &status, 0) != pid)
        return -1;
    return status;
}

int main(int argc, char **argv)
{
    FILE *tap = NULL;
    const char *filter = "*";
    for (int i = 1; i < argc; i++)
        if (!strncmp(argv[i], "--tap=", 6))
            tap = fopen(argv[i] + 6, "w");
        else if (!strncmp(argv[i], "--filter=", 9))
            filter = argv[i] + 9;
    unsigned tested = 0, failed = 0, skipped = 0;
    for (struct rz_test_case *t = cases; t; t = t->next) {
        char name[200];
        snprintf(name, sizeof(name), "%s/%s", t->suite, t->name);
        if (fnmatch(filter, name, 0))
            continue;
        int status = run_one(t);
        bool skip = status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == STATUS_SKIPPED;
        bool good = status == 0;
        tested++;
        skipped += skip;
        failed += !skip && !good;
        if (!skip && !good)
            fprintf(stderr, "[FAIL] %s::%s: wait status %#x\n", t->suite, t->name, (unsigned)status);
        if (tap)
            fprintf(tap, "%s - %s::%s%s\n", skip || good ? "ok" : "not ok", t->suite, t->name,
                    skip ? " # SKIP" : "");
    }
    if (tap)
        fclose(tap);
    fprintf(stderr, "[====] Synthesis: Tested: %u | Passing: %u | Failing: %u | Skipped: %u\n", tested,
            tested - failed - skipped, failed, skipped);
    return failed ? 1 : 0;
}
