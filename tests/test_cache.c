/* test_cache.c - the folder of prepared weights: what is stored comes back, and nothing else does. */
#include "cache.h"

#include "err.h"
#include "rz_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BYTES ((9u << 20) + 12345) /* three tasks, the last one short */

static char folder[64];

static void in_turn(void *ctx, uint32_t n, void (*fn)(void *arg, uint32_t i), void *arg)
{
    (void)ctx;
    for (uint32_t i = n; i--;)
        fn(arg, i);
}

static struct rz_cache_setup setup_of(void)
{
    return (struct rz_cache_setup){.dir = folder, .max_bytes = 1u << 30, .source = ""};
}

static struct rz_cache_io io_of(uint8_t *data, uint64_t n, const char *key)
{
    return (struct rz_cache_io){.data = data, .n = n, .key = key, .parallel_for = in_turn};
}

static uint8_t *content(uint32_t seed)
{
    uint8_t *p = malloc(BYTES);
    rz_check(p != NULL);
    for (uint32_t i = 0; i < BYTES; i++)
        p[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
    return p;
}

static void begin(void)
{
    snprintf(folder, sizeof(folder), "/tmp/rz-cache-XXXXXX");
    rz_check(mkdtemp(folder) != NULL);
    rmdir(folder); /* the cache makes it */
}

/* Names in the folder; the last one's path in `path`. remove_all: deletes them and the folder. */
static uint32_t files(char path[400], bool remove_all)
{
    DIR *d = opendir(folder);
    uint32_t n = 0;
    struct dirent *e;
    while (d && (e = readdir(d)))
        if (e->d_name[0] != '.') {
            snprintf(path, 400, "%s/%s", folder, e->d_name);
            n++;
            if (remove_all)
                unlink(path);
        }
    if (d)
        closedir(d);
    if (remove_all)
        rmdir(folder);
    return n;
}

static void end(void)
{
    char path[400];
    files(path, true);
}

RZ_TEST(cache, gives_back_what_was_stored)
{
    struct rz_err err = RZ_ERR_INIT;
    begin();
    struct rz_cache_setup setup = setup_of();
    uint8_t *a = content(1), *b = content(2), *got = calloc(1, BYTES);
    struct rz_cache_io ia = io_of(a, BYTES, "key a"), ib = io_of(b, BYTES, "key b");
    rz_check_eq(rz_cache_load(&setup, &ia, &err), RZ_ENOTFOUND);
    rz_check_ok(rz_cache_store(&setup, &ia, &err), &err);
    setup.verify = true; /* the second one with a hash */
    rz_check_ok(rz_cache_store(&setup, &ib, &err), &err);
    ib.data = got;
    rz_check_ok(rz_cache_load(&setup, &ib, &err), &err);
    rz_check(!memcmp(got, b, BYTES));
    setup.verify = false;
    ia.data = got;
    rz_check_ok(rz_cache_load(&setup, &ia, &err), &err);
    rz_check(!memcmp(got, a, BYTES));
    ia.key = "another key";
    rz_check_eq(rz_cache_load(&setup, &ia, &err), RZ_ENOTFOUND);
    free(a);
    free(b);
    free(got);
    end();
}

/* Each damage makes the file unusable; storing anew mends it. */
RZ_TEST(cache, damaged_files_are_refused_and_replaced)
{
    static const char *const reasons[] = {"not a file of prepared weights", "do not fit its header",
                                          "holds something else",           "do not fit its header",
                                          "was written without a hash",     "does not have the hash",
                                          "not a file of this user alone"};
    begin();
    struct rz_cache_setup setup = setup_of();
    uint8_t *a = content(3), *got = calloc(1, BYTES);
    for (uint32_t damage = 0; damage < 7; damage++) {
        struct rz_err err = RZ_ERR_INIT;
        struct rz_cache_io io = io_of(a, BYTES, "the key");
        char path[400];
        setup.verify = damage == 5;
        rz_check_ok(rz_cache_store(&setup, &io, &err), &err);
        rz_check_eq(files(path, false), 1);
        int fd = open(path, O_RDWR);
        rz_check(fd >= 0);
        if (damage == 0)
            rz_check_eq(pwrite(fd, "X", 1, 0), 1);
        else if (damage == 1)
            rz_check_eq(ftruncate(fd, BYTES), 0);
        else if (damage == 2)
            rz_check_eq(pwrite(fd, "X", 1, 48), 1);
        else if (damage == 3)
            rz_check_eq(pwrite(fd, "\xff", 1, 15), 1);
        else if (damage == 4)
            setup.verify = true;
        else if (damage == 5)
            rz_check_eq(pwrite(fd, "\0\0\0\0", 4, BYTES - 100), 4);
        else
            rz_check_eq(fchmod(fd, 0666), 0);
        close(fd);
        io.data = got;
        rz_check(rz_cache_load(&setup, &io, &err) < 0);
        rz_check_has(err.where, path);
        rz_check_has(err.message, reasons[damage]);
        io.data = a;
        rz_check_ok(rz_cache_store(&setup, &io, &err), &err);
        io.data = got;
        rz_check_ok(rz_cache_load(&setup, &io, &err), &err);
        rz_check(!memcmp(got, a, BYTES));
    }
    free(a);
    free(got);
    end();
}

RZ_TEST(cache, the_folder_belongs_to_the_user_alone)
{
    struct rz_err err = RZ_ERR_INIT;
    begin();
    struct rz_cache_setup setup = setup_of();
    uint8_t *a = content(4);
    struct rz_cache_io io = io_of(a, BYTES, "k");
    rz_check_ok(rz_cache_store(&setup, &io, &err), &err);
    struct stat st;
    rz_check_eq(stat(folder, &st), 0);
    rz_check_eq(st.st_mode & 0777, 0700);
    chmod(folder, 0750);
    rz_check_eq(rz_cache_load(&setup, &io, &err), RZ_EIO);
    rz_check_has(err.message, "mode 700, not 750");
    rz_check_eq(rz_cache_store(&setup, &io, &err), RZ_EIO);
    chmod(folder, 0700);
    rz_check_ok(rz_cache_load(&setup, &io, &err), &err);
    setup.dir = "/proc/no/such/folder";
    rz_check_eq(rz_cache_load(&setup, &io, &err), RZ_EIO);
    rz_check_has(err.message, "cannot be made");
    free(a);
    end();
}

/* Three contents where two fit: the one not used for longest goes. */
RZ_TEST(cache, the_oldest_go_when_it_is_full)
{
    static const char *const keys[] = {"one", "two", "three"};
    struct rz_err err = RZ_ERR_INIT;
    begin();
    struct rz_cache_setup setup = setup_of();
    setup.max_bytes = 2 * (BYTES + 4096ull) + 100;
    uint8_t *a = content(5), *got = calloc(1, BYTES);
    char path[400];
    for (uint32_t i = 0; i < 3; i++) {
        struct timespec pause = {0, 20000000};
        struct rz_cache_io io = io_of(a, BYTES, keys[i]);
        rz_check_ok(rz_cache_store(&setup, &io, &err), &err);
        nanosleep(&pause, NULL);
        io = io_of(got, BYTES, keys[0]); /* used again and again: stays */
        rz_check_ok(rz_cache_load(&setup, &io, &err), &err);
        nanosleep(&pause, NULL);
    }
    rz_check_eq(files(path, false), 2);
    struct rz_cache_io io = io_of(got, BYTES, keys[1]);
    rz_check_eq(rz_cache_load(&setup, &io, &err), RZ_ENOTFOUND);
    io.key = keys[2];
    rz_check_ok(rz_cache_load(&setup, &io, &err), &err);
    setup.max_bytes = BYTES;
    rz_check_eq(rz_cache_store(&setup, &io, &err), RZ_ELIMIT);
    rz_check_has(err.message, "repack_cache_size");
    free(a);
    free(got);
    end();
}
