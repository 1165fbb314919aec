/* file.c - files that appear under their name only when they are whole.
 *
 * The bytes go to a file without a name in the same folder (O_TMPFILE), which vanishes with the process that
 * wrote it; where the file system has no such thing, to one called PATH.part.PID, which is removed after a
 * failure. Only the commit, after a sync, touches PATH, in one step.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"

#define BUFFER_BYTES ((size_t)256 << 10)

static int32_t file_error(const struct rz_cli_file *file, const char *what, struct rz_err *err)
{
    return rz_fail(err, RZ_EIO, file->path, "%s: %s", what, strerror(errno));
}

static int32_t exists(const char *path, struct rz_err *err)
{
    return rz_fail(err, RZ_EIO, path, "is there already (-y replaces it)");
}

/* Nothing but a regular file may give way, and only if the user said so. */
static int32_t check_place(const struct rz_cli_file *file, struct rz_err *err)
{
    struct stat st;
    if (!*file->path)
        return rz_fail(err, RZ_ECONFIG, "output", "the file's name is empty");
    if (lstat(file->path, &st))
        return errno == ENOENT ? RZ_OK : file_error(file, "cannot create the file", err);
    if (!stat(file->path, &st) && !S_ISREG(st.st_mode))
        return rz_fail(err, RZ_EIO, file->path, "is %s, not a regular file",
                       S_ISDIR(st.st_mode) ? "a folder" : "a device or a pipe");
    return file->replace ? RZ_OK : exists(file->path, err);
}

/* The folder of a path, in memory of its own. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

static int open_unnamed(const char *path)
{
    char *folder = folder_of(path);
    int fd = folder ? open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666) : -1;
    free(folder);
    return fd;
}

int32_t rz_cli_file_create(struct rz_cli_file *file, const char *path, bool replace, struct rz_err *err)
{
    *file = (struct rz_cli_file){.path = path, .replace = replace};
    int32_t code = check_place(file, err);
    if (code)
        return code;
    size_t n = strlen(path) + 32;
    file->temp = malloc(n);
    if (!file->temp)
        return rz_fail(err, RZ_ENOMEM, path, "no memory");
    snprintf(file->temp, n, "%s.part.%ld", path, (long)getpid());
    int fd = open_unnamed(path);
    if (fd < 0) {
        fd = open(file->temp, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
        file->named = fd >= 0;
    }
    file->f = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (file->f) {
        setvbuf(file->f, NULL, _IOFBF, BUFFER_BYTES);
        return RZ_OK;
    }
    code = file_error(file, "cannot create the file", err);
    if (fd >= 0)
        close(fd);
    rz_cli_file_discard(file);
    return code;
}

int32_t rz_cli_file_open(struct rz_cli_file *file, const char *path, struct rz_err *err)
{
    return rz_cli_file_create(file, path, true, err);
}

int32_t rz_cli_file_write(struct rz_cli_file *file, const void *bytes, size_t n, struct rz_err *err)
{
    if (n && fwrite(bytes, 1, n, file->f) != n)
        return file_error(file, "cannot write", err);
    return RZ_OK;
}

/* Gives an unnamed file the name `to`; fails if that is taken. */
static int link_unnamed(const struct rz_cli_file *file, const char *to)
{
    char from[48];
    snprintf(from, sizeof(from), "/proc/self/fd/%d", fileno(file->f));
    return linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW);
}

static int32_t give_name(struct rz_cli_file *file, struct rz_err *err)
{
    if (!file->replace) {
        int failed = file->named ? link(file->temp, file->path) : link_unnamed(file, file->path);
        if (failed)
            return errno == EEXIST ? exists(file->path, err)
                                   : file_error(file, "cannot give the file its name", err);
        return RZ_OK;
    }
    if (!file->named && link_unnamed(file, file->temp))
        return file_error(file, "cannot give the file its name", err);
    file->named = true;
    if (rename(file->temp, file->path))
        return file_error(file, "cannot give the file its name", err);
    file->named = false;
    return RZ_OK;
}

/* So that the name is on the disk too. A file system that cannot sync a folder has nothing to sync. */
static void sync_folder(const char *path)
{
    char *folder = folder_of(path);
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        (void)!fsync(fd);
        close(fd);
    }
    free(folder);
}

int32_t rz_cli_file_commit(struct rz_cli_file *file, struct rz_err *err)
{
    if (fflush(file->f) || fsync(fileno(file->f)))
        return file_error(file, "cannot write", err);
    int32_t code = give_name(file, err);
    if (code)
        return code;
    sync_folder(file->path);
    rz_cli_file_discard(file);
    return RZ_OK;
}

void rz_cli_file_discard(struct rz_cli_file *file)
{
    if (file->f)
        fclose(file->f);
    if (file->named)
        unlink(file->temp);
    free(file->temp);
    *file = (struct rz_cli_file){.path = file->path};
}
