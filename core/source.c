/* source.c - opens and maps model files, and survives when a mapped file is cut.
 *
 * Invariant: data[0 .. bytes) of an open source can always be read. If the file shrinks below, the signal
 * handler (installed once, by the program) puts zero pages there and marks the set as failed;
 * rz_source_check says so before and after each step, and what was computed from it is thrown away.
 */
#include "core.h"

#include "err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SHARDS_MAX 1024
#define RANGES_MAX 4096 /* mapped files of the whole program */

/* One mapped file. */
struct mapping {
    int fd;
    struct stat st; /* as opened */
    int32_t range;  /* index in ranges; -1: none */
};

/* rz_source_set.priv */
struct mapped {
    uint32_t n;
    struct mapping *files;
    char **paths;
};

/* What the signal handler looks at: a slot is in use while begin is not 0. */
static struct {
    _Atomic uintptr_t begin;
    _Atomic uintptr_t end;
    _Atomic bool failed;
} ranges[RANGES_MAX];

static struct sigaction before;

/* --- the signal --- */

static void on_bus_error(int sig, siginfo_t *info, void *context)
{
    uintptr_t address = (uintptr_t)info->si_addr, page = (uintptr_t)sysconf(_SC_PAGESIZE);
    (void)context;
    for (size_t i = 0; i < RANGES_MAX; i++) {
        uintptr_t begin = atomic_load(&ranges[i].begin);
        if (!begin || address < begin || address >= atomic_load(&ranges[i].end))
            continue;
        void *at = (void *)(address & ~(page - 1));
        /* the system call itself: the C library promises nothing about mmap inside a handler */
        if (syscall(SYS_mmap, at, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0L) ==
            (long)at) {
            atomic_store(&ranges[i].failed, true);
            return;
        }
    }
    sigaction(sig, &before, NULL); /* not ours: the instruction runs again and ends as it would have */
}

bool rz_source_guard(void)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    return sigaction(SIGBUS, &action, &before) == 0;
}

static int32_t range_add(uintptr_t begin, uintptr_t end)
{
    static _Atomic bool busy; /* one thread at a time looks for a slot */
    int32_t found = -1;
    while (atomic_exchange(&busy, true))
        ;
    for (int32_t i = 0; i < RANGES_MAX && found < 0; i++)
        if (!atomic_load(&ranges[i].begin))
            found = i;
    if (found >= 0) {
        atomic_store(&ranges[found].failed, false);
        atomic_store(&ranges[found].end, end);
        atomic_store(&ranges[found].begin, begin);
    }
    atomic_store(&busy, false);
    return found;
}

/* --- one file --- */

static const char *kind_of(mode_t mode)
{
    if (S_ISDIR(mode))
        return "a folder";
    if (S_ISFIFO(mode))
        return "a pipe";
    if (S_ISSOCK(mode))
        return "a socket";
    return "a device";
}

static int32_t map_file(const char *path, struct mapping *m, struct rz_source *out, struct rz_err *err)
{
    m->range = -1;
    m->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a pipe must not hang us */
    if (m->fd < 0)
        return rz_fail(err, RZ_EIO, path, "%s", strerror(errno));
    if (fstat(m->fd, &m->st))
        return rz_fail(err, RZ_EIO, path, "%s", strerror(errno));
    if (!S_ISREG(m->st.st_mode))
        return rz_fail(err, RZ_EFORMAT, path, "%s, not a regular file", kind_of(m->st.st_mode));
    if (m->st.st_size <= 0)
        return rz_fail(err, RZ_EFORMAT, path, "the file is empty");
    uint64_t bytes = (uint64_t)m->st.st_size;
    void *data = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, m->fd, 0);
    if (data == MAP_FAILED)
        return rz_fail(err, RZ_EIO, path, "%llu bytes cannot be mapped: %s", (unsigned long long)bytes,
                       strerror(errno));
    *out = (struct rz_source){.size = sizeof(*out), .data = data, .bytes = bytes, .path = path};
    m->range = range_add((uintptr_t)data, (uintptr_t)data + bytes);
    if (m->range < 0)
        return rz_fail(err, RZ_ELIMIT, path, "%d files are mapped already", RANGES_MAX);
    return RZ_OK;
}

static void unmap_file(struct mapping *m, struct rz_source *s)
{
    if (m->range >= 0)
        atomic_store(&ranges[m->range].begin, 0);
    if (s->data)
        munmap((void *)(uintptr_t)s->data, s->bytes);
    if (m->fd >= 0)
        close(m->fd);
}

/* --- split models: NAME-00001-of-00003.gguf --- */

#define SPLIT_TAIL 20 /* "-00001-of-00003.gguf" */

/* Part and number of parts in a name, if it is one of a split model. */
static bool split_name(const char *path, uint32_t *part, uint32_t *parts)
{
    static const char form[] = "-ddddd-of-ddddd.gguf";
    size_t len = strlen(path);
    if (len < SPLIT_TAIL)
        return false;
    const char *tail = path + len - SPLIT_TAIL;
    for (size_t i = 0; i < SPLIT_TAIL; i++) {
        bool digit = tail[i] >= '0' && tail[i] <= '9';
        if (form[i] == 'd' ? !digit : tail[i] != form[i])
            return false;
    }
    *part = (uint32_t)strtoul(tail + 1, NULL, 10);
    *parts = (uint32_t)strtoul(tail + 10, NULL, 10);
    return true;
}

/* How many files the model has, from the name of the first. */
static int32_t count_parts(const char *path, uint32_t *n, struct rz_err *err)
{
    uint32_t part, parts;
    *n = 1;
    if (!split_name(path, &part, &parts))
        return RZ_OK;
    if (parts < 1 || parts > SHARDS_MAX || part < 1 || part > parts)
        return rz_fail(err, RZ_EFORMAT, path, "part %u of %u (1..%d)", part, parts, SHARDS_MAX);
    if (part != 1)
        return rz_fail(err, RZ_EFORMAT, path, "this is part %u of %u: name the first part", part, parts);
    *n = parts;
    return RZ_OK;
}

static char *part_path(const char *path, uint32_t part, uint32_t parts)
{
    char *copy = strdup(path), digits[16];
    if (copy && parts > 1) {
        snprintf(digits, sizeof(digits), "%05u", part);
        memcpy(copy + strlen(copy) - SPLIT_TAIL + 1, digits, 5);
    }
    return copy;
}

/* --- sets --- */

static int32_t set_alloc(struct rz_source_set *set, uint32_t n)
{
    struct mapped *m = calloc(1, sizeof(*m));
    set->priv = m;
    set->sources = calloc(n, sizeof(*set->sources));
    if (!m || !set->sources)
        return RZ_ENOMEM;
    m->files = calloc(n, sizeof(*m->files));
    m->paths = calloc(n, sizeof(*m->paths));
    if (!m->files || !m->paths)
        return RZ_ENOMEM;
    for (uint32_t i = 0; i < n; i++)
        m->files[i].fd = m->files[i].range = -1;
    m->n = set->n = n;
    return RZ_OK;
}

/* --- folders in Hugging Face form --- */

/* What a model is made of beside its *.safetensors; the first is the one that makes it a model. */
static const char *const folder_files[] = {
    "config.json",     "added_tokens.json", "chat_template.jinja",     "generation_config.json",
    "merges.txt",      "tokenizer.json",    "special_tokens_map.json", "model.safetensors.index.json",
    "tokenizer.model", "vocab.json",        "tokenizer_config.json",   "vocab.txt",
};

/* How an embedding model pools stands in a folder of its own. */
#define POOLING "1_Pooling/config.json"

static bool of_model(const char *name)
{
    size_t len = strlen(name), tail = strlen(".safetensors");
    for (size_t i = 0; i < sizeof(folder_files) / sizeof(folder_files[0]); i++)
        if (!strcmp(name, folder_files[i]))
            return true;
    return len > tail && !strcmp(name + len - tail, ".safetensors");
}

/* config.json first, the others by name, so that the order is always the same. */
static int by_name(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    bool x_first = !strcmp(x, folder_files[0]), y_first = !strcmp(y, folder_files[0]);
    return x_first != y_first ? (int)y_first - (int)x_first : strcmp(x, y);
}

static void free_names(char **names, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

static int32_t read_folder(DIR *d, const char *path, char **names, uint32_t *n, struct rz_err *err)
{
    struct dirent *e;
    for (*n = 0; (e = readdir(d));) {
        if (!of_model(e->d_name))
            continue;
        if (*n == SHARDS_MAX)
            return rz_fail(err, RZ_ELIMIT, path, "more than %d files of a model", SHARDS_MAX);
        names[*n] = strdup(e->d_name);
        if (!names[(*n)++])
            return rz_fail(err, RZ_ENOMEM, path, "no memory");
    }
    if (!faccessat(dirfd(d), POOLING, R_OK, 0) && *n < SHARDS_MAX) {
        names[*n] = strdup(POOLING);
        if (!names[(*n)++])
            return rz_fail(err, RZ_ENOMEM, path, "no memory");
    }
    qsort(names, *n, sizeof(*names), by_name);
    if (!*n || strcmp(names[0], folder_files[0]) != 0)
        return rz_fail(err, RZ_EFORMAT, path,
                       "a folder without config.json is no model in Hugging Face form (name the file of a "
                       "model in GGUF form itself)");
    return RZ_OK;
}

/* The names of the folder's files that a model may be made of; to be freed. */
static int32_t list_folder(const char *path, char ***names, uint32_t *n, struct rz_err *err)
{
    DIR *d = opendir(path);
    if (!d)
        return rz_fail(err, RZ_EIO, path, "%s", strerror(errno));
    *names = calloc(SHARDS_MAX, sizeof(**names));
    int32_t status =
        *names ? read_folder(d, path, *names, n, err) : rz_fail(err, RZ_ENOMEM, path, "no memory");
    closedir(d);
    return status;
}

static char *join(const char *folder, const char *name)
{
    size_t a = strlen(folder), b = strlen(name);
    char *path = malloc(a + b + 2);
    if (!path)
        return NULL;
    memcpy(path, folder, a);
    path[a] = '/';
    memcpy(path + a + (a && folder[a - 1] != '/'), name, b + 1);
    return path;
}

/* --- opening --- */

/* names: of the files in the folder `path`; NULL: path is the first of n parts. */
static int32_t open_files(const char *path, char **names, uint32_t n, struct rz_source_set *out,
                          struct rz_err *err)
{
    int32_t status = RZ_OK;
    if (set_alloc(out, n))
        status = rz_fail(err, RZ_ENOMEM, path, "no memory");
    struct mapped *m = out->priv;
    for (uint32_t i = 0; i < n && !status; i++) {
        m->paths[i] = names ? join(path, names[i]) : part_path(path, i + 1, n);
        status = m->paths[i] ? map_file(m->paths[i], &m->files[i], &out->sources[i], err)
                             : rz_fail(err, RZ_ENOMEM, path, "no memory");
        out->sources[i].shard = i;
    }
    if (status)
        rz_source_close(out);
    return status;
}

int32_t rz_source_open(const char *path, struct rz_source_set *out, struct rz_err *err)
{
    struct stat st;
    uint32_t n = 0;
    char **names = NULL;
    *out = (struct rz_source_set){0};
    bool folder = !stat(path, &st) && S_ISDIR(st.st_mode);
    int32_t status = folder ? list_folder(path, &names, &n, err) : count_parts(path, &n, err);
    if (!status)
        status = open_files(path, names, n, out, err);
    if (names)
        free_names(names, n);
    return status;
}

void rz_source_close(struct rz_source_set *set)
{
    struct mapped *m = set->priv;
    for (uint32_t i = 0; m && i < m->n; i++) {
        unmap_file(&m->files[i], &set->sources[i]);
        free(m->paths[i]);
    }
    if (m) {
        free(m->files);
        free(m->paths);
    }
    free(m);
    free(set->sources);
    *set = (struct rz_source_set){0};
}

int32_t rz_source_readable(const struct rz_source_set *set, struct rz_err *err)
{
    const struct mapped *m = set->priv;
    for (uint32_t i = 0; m && i < m->n; i++)
        if (atomic_load(&ranges[m->files[i].range].failed))
            return rz_fail(err, RZ_EIO, m->paths[i],
                           "a part of the mapped file could not be read; load the model again");
    return RZ_OK;
}

int32_t rz_source_check(const struct rz_source_set *set, struct rz_err *err)
{
    const struct mapped *m = set->priv;
    int32_t rc = rz_source_readable(set, err);
    if (rc)
        return rc;
    for (uint32_t i = 0; m && i < m->n; i++) {
        const struct mapping *f = &m->files[i];
        struct stat now;
        if (fstat(f->fd, &now))
            return rz_fail(err, RZ_EIO, m->paths[i], "%s", strerror(errno));
        if (now.st_size != f->st.st_size)
            return rz_fail(err, RZ_EIO, m->paths[i],
                           "the file had %lld bytes and now has %lld; load the model again",
                           (long long)f->st.st_size, (long long)now.st_size);
        if (now.st_mtim.tv_sec != f->st.st_mtim.tv_sec || now.st_mtim.tv_nsec != f->st.st_mtim.tv_nsec)
            return rz_fail(err, RZ_EIO, m->paths[i],
                           "the file was written to since it was loaded; load the model again");
    }
    return RZ_OK;
}

void rz_source_identity(const struct rz_source_set *set, struct rz_buf *out)
{
    const struct mapped *m = set->priv;
    for (uint32_t i = 0; m && i < m->n; i++) {
        const struct stat *st = &m->files[i].st;
        rz_buf_printf(out, "file %llu:%llu of %lld bytes, written %lld.%09ld\n",
                      (unsigned long long)st->st_dev, (unsigned long long)st->st_ino, (long long)st->st_size,
                      (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
    }
}

void rz_source_forget(const struct rz_source_set *set, const void *from, uint64_t bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)from, end = begin + bytes;
    for (uint32_t i = 0; i < set->n; i++) {
        uintptr_t base = (uintptr_t)set->sources[i].data, top = base + set->sources[i].bytes;
        if (begin < base || end > top || end < begin)
            continue;
        begin = (begin + page - 1) & ~(page - 1); /* only whole pages: neighbours may still be in use */
        end &= ~(page - 1);
        if (end > begin)
            madvise((void *)begin, end - begin, MADV_DONTNEED);
        return;
    }
}
