/* failing_malloc.c - for LD_PRELOAD: while the file RZ_FAIL_FILE exists, one of so many allocations fails as
 * the number in it says.
 *
 * Allocations of the first thread and small ones of the loader are not spared: whoever gets no memory has to
 * say so. Not for sanitizer builds, which have an allocator of their own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);

static atomic_uint one_of;
static atomic_uint_fast64_t checked_ns, count;

/* Looks at the file a hundred times a second. */
static unsigned divisor(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    uint64_t now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec, last = atomic_load(&checked_ns);
    if (now - last < 10000000 || !atomic_compare_exchange_strong(&checked_ns, &last, now))
        return atomic_load(&one_of);
    const char *path = getenv("RZ_FAIL_FILE");
    char text[16] = "";
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    unsigned n = 0;
    if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
        for (const char *c = text; *c >= '0' && *c <= '9'; c++)
            n = n * 10 + (unsigned)(*c - '0');
    if (fd >= 0)
        close(fd);
    atomic_store(&one_of, n);
    return n;
}

static int fails(void)
{
    unsigned n = divisor();
    /* A multiplicative hash: failures do not fall on the same place of a loop each time. */
    if (!n || (atomic_fetch_add(&count, 1) * 0x9e3779b97f4a7c15u >> 33) % n)
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t n)
{
    return fails() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t each)
{
    return fails() ? NULL : __libc_calloc(n, each);
}

void *realloc(void *p, size_t n)
{
    return fails() ? NULL : __libc_realloc(p, n);
}
