/* cache.c - a folder of prepared weights: one file for each content, named by the hash of its key.
 *
 * Owns the folder's files (*.prep) and nothing else in it. A file is a header, its key, and the content from
 * the next page on. Invariant: a file under its final name is whole, for it was renamed when it was; the key
 * in it is compared byte for byte, so that an equal hash is never mistaken for an equal key. The content is
 * read into the caller's memory, not mapped: a file that is cut later does no harm, and the memory may have
 * large pages.
 */
#include "cache.h"

#include "checked.h"
#include "err.h"
#include "grow.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define MAGIC "rzprep1"
#define ENDING ".prep"
#define TASK_BYTES (4u << 20)
#define PAGE 4096u
#define PATH_BYTES 4096u
#define STALE_SECONDS 3600 /* a temporary file that old has no writer any more */

/* How a file begins; little-endian as all that rz writes. */
struct head {
    char magic[8];
    uint64_t content_bytes, key_bytes, content_at;
    uint64_t hashed; /* 1: hash is that of the content */
    uint64_t hash;
};

/* One read or write of the content, in tasks. */
struct transfer {
    const struct rz_cache_io *io;
    int fd;
    bool write;
    uint64_t at;        /* of the content in the file */
    uint64_t *hashes;   /* [tasks] or NULL */
    _Atomic int status; /* errno of a failure; -1: the file ended */
};

/* --- the folder --- */

static int32_t check_folder(const char *dir, struct rz_err *err)
{
    struct stat st;
    if (mkdir(dir, 0700) && errno != EEXIST)
        return rz_fail(err, RZ_EIO, dir, "the folder of the repack cache cannot be made: %s",
                       strerror(errno));
    if (stat(dir, &st))
        return rz_fail(err, RZ_EIO, dir, "%s", strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return rz_fail(err, RZ_EIO, dir, "repack_cache is not a folder");
    if (st.st_uid != geteuid() || (st.st_mode & 077))
        return rz_fail(err, RZ_EIO, dir,
                       "the folder of the repack cache must belong to this user alone (mode 700, not %03o)",
                       st.st_mode & 0777);
    return RZ_OK;
}

static int32_t path_of(const struct rz_cache_setup *setup, const char *key, char out[PATH_BYTES],
                       struct rz_err *err)
{
    XXH128_hash_t h = XXH3_128bits(key, strlen(key));
    int n = snprintf(out, PATH_BYTES, "%s/%016llx%016llx" ENDING, setup->dir, (unsigned long long)h.high64,
                     (unsigned long long)h.low64);
    return n > 0 && (unsigned)n < PATH_BYTES - 32
               ? RZ_OK
               : rz_fail(err, RZ_EINVAL, "repack_cache", "the path is too long");
}

/* --- the content --- */

static void move_task(void *arg, uint32_t i)
{
    struct transfer *t = arg;
    uint64_t from = (uint64_t)i * TASK_BYTES;
    uint64_t n = t->io->n - from < TASK_BYTES ? t->io->n - from : TASK_BYTES;
    for (uint64_t done = 0; done < n && !atomic_load(&t->status);) {
        uint8_t *p = t->io->data + from + done;
        off_t at = (off_t)(t->at + from + done);
        ssize_t got = t->write ? pwrite(t->fd, p, n - done, at) : pread(t->fd, p, n - done, at);
        if (got > 0)
            done += (uint64_t)got;
        else if (!got || errno != EINTR)
            atomic_store(&t->status, got ? errno : -1);
    }
    if (t->hashes)
        t->hashes[i] = XXH3_64bits(t->io->data + from, n);
}

/* Moves all of it, and hashes it if asked to. */
static int32_t move_content(const struct rz_cache_io *io, struct transfer *t, bool hash, uint64_t *sum,
                            const char *path, struct rz_err *err)
{
    uint64_t n = (io->n + TASK_BYTES - 1) / TASK_BYTES;
    *sum = 0;
    if (n > UINT32_MAX)
        return rz_fail(err, RZ_ELIMIT, path, "%llu bytes are too many", (unsigned long long)io->n);
    if (hash && !(t->hashes = calloc(n + 1, sizeof(*t->hashes))))
        return rz_fail(err, RZ_ENOMEM, path, "no memory");
    io->parallel_for(io->parallel_ctx, (uint32_t)n, move_task, t);
    if (hash)
        *sum = XXH3_64bits(t->hashes, n * sizeof(*t->hashes));
    free(t->hashes);
    int status = atomic_load(&t->status);
    if (status)
        return rz_fail(err, RZ_EIO, path, "%s", status < 0 ? "the file ends too early" : strerror(status));
    return RZ_OK;
}

/* --- reading --- */

static int32_t check_head(const struct rz_cache_setup *setup, const struct rz_cache_io *io, int fd,
                          struct head *h, const char *path, struct rz_err *err)
{
    struct stat st;
    uint64_t key_bytes = strlen(io->key);
    if (fstat(fd, &st))
        return rz_fail(err, RZ_EIO, path, "%s", strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022))
        return rz_fail(err, RZ_EIO, path, "not a file of this user alone");
    if (pread(fd, h, sizeof(*h), 0) != (ssize_t)sizeof(*h) || memcmp(h->magic, MAGIC, sizeof(h->magic)))
        return rz_fail(err, RZ_EFORMAT, path, "not a file of prepared weights");
    if (h->key_bytes != key_bytes || h->content_bytes != io->n ||
        h->content_at != rz_round_up(sizeof(*h) + key_bytes, PAGE) ||
        (uint64_t)st.st_size != h->content_at + io->n)
        return rz_fail(err, RZ_EFORMAT, path, "%lld bytes do not fit its header", (long long)st.st_size);
    if (setup->verify && h->hashed != 1)
        return rz_fail(err, RZ_EFORMAT, path, "was written without a hash");
    char *key = malloc(key_bytes + 1);
    bool same = key && pread(fd, key, key_bytes, sizeof(*h)) == (ssize_t)key_bytes &&
                !memcmp(key, io->key, key_bytes);
    free(key);
    return same ? RZ_OK : rz_fail(err, RZ_EFORMAT, path, "holds something else");
}

int32_t rz_cache_load(const struct rz_cache_setup *setup, const struct rz_cache_io *io, struct rz_err *err)
{
    char path[PATH_BYTES];
    struct head h;
    uint64_t sum;
    int32_t status = check_folder(setup->dir, err);
    if (status || (status = path_of(setup, io->key, path, err)))
        return status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? RZ_ENOTFOUND : rz_fail(err, RZ_EIO, path, "%s", strerror(errno));
    status = check_head(setup, io, fd, &h, path, err);
    struct transfer t = {.io = io, .fd = fd, .at = h.content_at};
    if (!status)
        status = move_content(io, &t, setup->verify, &sum, path, err);
    if (!status && setup->verify && sum != h.hash)
        status =
            rz_fail(err, RZ_EFORMAT, path, "the content does not have the hash that it was written with");
    if (!status)
        futimens(fd, NULL); /* used now: see evict; no harm if it cannot be said */
    close(fd);
    return status;
}

/* --- writing --- */

struct old_file {
    char name[64];
    struct timespec used;
    uint64_t bytes;
};

static int by_age(const void *a, const void *b)
{
    const struct timespec *x = &((const struct old_file *)a)->used, *y = &((const struct old_file *)b)->used;
    if (x->tv_sec != y->tv_sec)
        return x->tv_sec < y->tv_sec ? -1 : 1;
    return (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

/* The *.prep files of a folder; what a writer left behind is deleted on the way. Returns how many. */
static size_t list_files(int dir_fd, DIR *d, struct old_file **out)
{
    size_t n = 0, cap = 0;
    struct dirent *e;
    *out = NULL;
    while ((e = readdir(d))) {
        struct stat st;
        const char *tail = strstr(e->d_name, ENDING);
        if (!tail || strlen(e->d_name) >= sizeof((*out)->name) ||
            fstatat(dir_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
            continue;
        if (tail[strlen(ENDING)]) {
            if (time(NULL) - st.st_mtime > STALE_SECONDS)
                unlinkat(dir_fd, e->d_name, 0);
            continue;
        }
        struct old_file *grown = rz_heap_grow(*out, n, &cap, sizeof(*grown), 16);
        if (!grown)
            return n;
        *out = grown;
        (*out)[n] = (struct old_file){.used = st.st_mtim, .bytes = (uint64_t)st.st_size};
        memcpy((*out)[n++].name, e->d_name, strlen(e->d_name) + 1);
    }
    return n;
}

/* Deletes the files that were used longest ago until all that is left fits. */
static void evict(const struct rz_cache_setup *setup)
{
    struct old_file *files;
    uint64_t total = 0;
    DIR *d = opendir(setup->dir);
    if (!d)
        return;
    size_t n = list_files(dirfd(d), d, &files);
    qsort(files, n, sizeof(*files), by_age);
    for (size_t i = 0; i < n; i++)
        total += files[i].bytes;
    for (size_t i = 0; i < n && total > setup->max_bytes; i++)
        if (!unlinkat(dirfd(d), files[i].name, 0))
            total -= files[i].bytes;
    free(files);
    closedir(d);
}

static int32_t write_file(const struct rz_cache_setup *setup, const struct rz_cache_io *io, int fd,
                          const char *path, struct rz_err *err)
{
    struct head h = {.magic = MAGIC,
                     .content_bytes = io->n,
                     .key_bytes = strlen(io->key),
                     .content_at = rz_round_up(sizeof(h) + strlen(io->key), PAGE),
                     .hashed = setup->verify};
    struct transfer t = {.io = io, .fd = fd, .write = true, .at = h.content_at};
    int32_t status = move_content(io, &t, setup->verify, &h.hash, path, err);
    if (status)
        return status;
    if (pwrite(fd, io->key, h.key_bytes, sizeof(h)) != (ssize_t)h.key_bytes ||
        pwrite(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h))
        return rz_fail(err, RZ_EIO, path, "%s", strerror(errno));
    return RZ_OK;
}

int32_t rz_cache_store(const struct rz_cache_setup *setup, const struct rz_cache_io *io, struct rz_err *err)
{
    char path[PATH_BYTES], own[PATH_BYTES];
    int32_t status = check_folder(setup->dir, err);
    if (status || (status = path_of(setup, io->key, path, err)))
        return status;
    if (rz_round_up(sizeof(struct head) + strlen(io->key), PAGE) + io->n > setup->max_bytes)
        return rz_fail(err, RZ_ELIMIT, path,
                       "%llu bytes of prepared weights do not fit repack_cache_size (%llu)",
                       (unsigned long long)io->n, (unsigned long long)setup->max_bytes);
    snprintf(own, sizeof(own), "%.*s.%ld", (int)sizeof(own) - 32, path, (long)getpid());
    int fd = open(own, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return rz_fail(err, RZ_EIO, own, "%s", strerror(errno));
    status = write_file(setup, io, fd, own, err);
    if (close(fd) && !status)
        status = rz_fail(err, RZ_EIO, own, "%s", strerror(errno));
    if (!status && rename(own, path))
        status = rz_fail(err, RZ_EIO, path, "%s", strerror(errno));
    if (status)
        unlink(own);
    evict(setup);
    return status;
}
