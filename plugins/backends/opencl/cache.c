/* cache.c - built programs on disk, one file a key, in a folder of the user's own.
 *
 * A file is a line with the sizes and a hash, the key, then the binary. What does not fit its key or its
 * hash, or belongs to somebody else, is as good as absent; nothing here is ever an error of the caller's.
 */
#include "opencl.h"

#include "buf.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BINARY_MAX (256u << 20)
#define HEAD_BYTES 64

static uint64_t hash(const uint8_t *data, size_t n)
{
    uint64_t h = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < n; i++)
        h = (h ^ data[i]) * 0x100000001b3ull;
    return h;
}

/* Makes the folder and those above it; false: there is none that is this user's. */
static bool make_folder(char *path)
{
    struct stat st;
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0700);
        *slash = '/';
    }
    mkdir(path, 0700);
    return !stat(path, &st) && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 022);
}

static bool path_of(const struct opencl *cl, const char *key, char *out, size_t cap)
{
    const char *home = getenv("HOME"), *xdg = getenv("XDG_CACHE_HOME");
    char folder[3072];
    int n;
    if (cl->cache && !strcmp(cl->cache, "off"))
        return false;
    if (cl->cache)
        n = snprintf(folder, sizeof(folder), "%s", cl->cache);
    else if (xdg && xdg[0] == '/')
        n = snprintf(folder, sizeof(folder), "%s/rz/opencl", xdg);
    else
        n = snprintf(folder, sizeof(folder), "%s/.cache/rz/opencl",
                     home && home[0] == '/' ? home : "/nonexistent");
    if (n < 0 || (size_t)n >= sizeof(folder) || !make_folder(folder))
        return false;
    n = snprintf(out, cap, "%s/%016llx", folder, (unsigned long long)hash((const uint8_t *)key, strlen(key)));
    return n > 0 && (size_t)n < cap;
}

static uint8_t *read_all(const char *path, size_t *n)
{
    struct stat st;
    uint8_t *data = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return NULL;
    if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_uid == geteuid() && st.st_size > HEAD_BYTES &&
        (uint64_t)st.st_size < BINARY_MAX)
        data = malloc((size_t)st.st_size);
    for (*n = 0; data && *n < (size_t)st.st_size;) {
        ssize_t got = read(fd, data + *n, (size_t)st.st_size - *n);
        if (got <= 0) {
            free(data);
            data = NULL;
            break;
        }
        *n += (size_t)got;
    }
    close(fd);
    return data;
}

static void head_of(char *head, size_t key_bytes, const struct blob *binary)
{
    memset(head, 0, HEAD_BYTES);
    snprintf(head, HEAD_BYTES, "rz opencl 1 %zu %zu %016llx\n", key_bytes, binary->n,
             (unsigned long long)hash(binary->data, binary->n));
}

struct blob binary_load(const struct opencl *cl, const char *key)
{
    struct blob found = {0};
    char path[4096], head[HEAD_BYTES];
    size_t n = 0, key_bytes = strlen(key);
    uint8_t *file = path_of(cl, key, path, sizeof(path)) ? read_all(path, &n) : NULL;
    if (!file)
        return found;
    struct blob body = {file + HEAD_BYTES + key_bytes, n - HEAD_BYTES - key_bytes};
    if (n > HEAD_BYTES + key_bytes && !memcmp(file + HEAD_BYTES, key, key_bytes)) {
        head_of(head, key_bytes, &body);
        if (!memcmp(file, head, HEAD_BYTES) && (found.data = malloc(body.n))) {
            memcpy(found.data, body.data, body.n);
            found.n = body.n;
        }
    }
    free(file);
    return found;
}

static bool write_all(int fd, const void *data, size_t n)
{
    for (const uint8_t *at = data; n;) {
        ssize_t put = write(fd, at, n);
        if (put <= 0)
            return false;
        at += put;
        n -= (size_t)put;
    }
    return true;
}

/* Under a name of its own first, so that nobody reads half a file. */
void binary_store(const struct opencl *cl, const char *key, const struct blob *binary)
{
    char path[4096], temporary[4128], head[HEAD_BYTES];
    size_t key_bytes = strlen(key);
    if (binary->n + key_bytes + HEAD_BYTES >= BINARY_MAX || !path_of(cl, key, path, sizeof(path)))
        return;
    snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path);
    int fd = mkstemp(temporary);
    if (fd < 0)
        return;
    head_of(head, key_bytes, binary);
    bool good = write_all(fd, head, HEAD_BYTES) && write_all(fd, key, key_bytes) &&
                write_all(fd, binary->data, binary->n);
    good = !close(fd) && good;
    if (!good || rename(temporary, path))
        unlink(temporary);
}
