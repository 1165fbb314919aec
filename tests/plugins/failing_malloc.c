/* failing_malloc.c - for LD_PRELOAD: while the file RZ_FAIL_FILE exists, one of so many allocations fails as
 * the number in it says. RZ_FAIL_AT is a file that is mapped, two numbers of 32 bits: so many allocations
 * from now, counted down, one fails, and as many behind it.
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
#include <sys/mman.h>
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

struct countdown {
    atomic_uint left, behind;
};

static struct countdown *countdown(void)
{
    static struct countdown none, *_Atomic found;
    struct countdown *c = atomic_load(&found);
    if (c)
        return c;
    const char *path = getenv("RZ_FAIL_AT");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    c = p == MAP_FAILED ? &none : p;
    atomic_store(&found, c);
    return c;
}

/* Takes one off a number that is not 0; returns what it was. */
static unsigned take(atomic_uint *n)
{
    unsigned was = atomic_load(n);
    while (was && !atomic_compare_exchange_weak(n, &was, was - 1))
        ;
    return was;
}

static int fails_now(void)
{
    struct countdown *c = countdown();
    unsigned was = take(&c->left);
    return was ? was == 1 : take(&c->behind) != 0;
}

static int fails(void)
{
    if (fails_now()) {
        errno = ENOMEM;
        return 1;
    }
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
