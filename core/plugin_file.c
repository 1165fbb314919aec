/* plugin_file.c - may this file be loaded? Path, header and hash, decided without running any of it. */
#include "config.h"
#include "cpu.h"
#include "elfread.h"
#include "hash.h"
#include "header.h"
#include "registry.h"

#include "err.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- who could have written it --- */

static bool safe_mode(const char *path, bool strict, char *why, size_t cap)
{
    struct stat st;
    if (lstat(path, &st)) {
        snprintf(why, cap, "%.300s: %s", path, strerror(errno));
        return false;
    }
    bool folder = S_ISDIR(st.st_mode), sticky = folder && st.st_mode & S_ISVTX;
    if (st.st_mode & S_IWOTH && !sticky) {
        snprintf(why, cap, "unsafe: %s%.300s can be written by everybody (chmod o-w)",
                 folder ? "its folder " : "", path);
        return false;
    }
    if (strict && st.st_mode & S_IWGRP && !sticky) {
        snprintf(why, cap, "unsafe: %.300s can be written by its group (strict_paths = 1)", path);
        return false;
    }
    if (strict && st.st_uid != 0 && st.st_uid != geteuid()) {
        snprintf(why, cap, "unsafe: %.300s belongs to user %u (strict_paths = 1)", path, (unsigned)st.st_uid);
        return false;
    }
    return true;
}

bool rz_path_safe(const char *real, bool strict, char *why, size_t cap)
{
    char path[PATH_MAX];
    if (strlen(real) >= sizeof(path)) {
        snprintf(why, cap, "its path is longer than %zu bytes", sizeof(path));
        return false;
    }
    snprintf(path, sizeof(path), "%s", real);
    for (;;) { /* the file, its folder, the folder of that, down to "/" */
        if (!safe_mode(path, strict, why, cap))
            return false;
        char *slash = strrchr(path, '/');
        if (!slash || !strcmp(path, "/"))
            return true;
        slash[slash == path ? 1 : 0] = 0;
    }
}

/* --- header --- */

void rz_slot_inspect(struct rz_registry *r, struct rz_slot *slot)
{
    char why[600];
    struct rz_plugin_header header = {0};
    const char *path = slot->pub.path;
    slot->pub.state = RZ_PLUGIN_FOUND;
    if (!rz_path_safe(path, r->strict, why, sizeof(why))) {
        rz_slot_refuse(r, slot, RZ_ECONFIG, "%s", why);
        return;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        rz_slot_refuse(r, slot, RZ_EIO, "cannot be opened: %s", strerror(errno));
        return;
    }
    bool good = rz_elf_header(fd, &header, why, sizeof(why));
    close(fd);
    if (good)
        good = rz_header_check(&header, rz_cpu_isa(), why, sizeof(why), &slot->foreign);
    if (good || slot->foreign) /* otherwise its strings cannot be trusted */
        slot->pub.header = header;
    if (!good)
        rz_slot_refuse(r, slot, RZ_EVERSION, "%s", why);
}

/* --- pin --- */

int32_t rz_slot_pin(struct rz_registry *r, struct rz_slot *slot, struct rz_err *err)
{
    char section[64], sum[RZ_SHA256_HEX + 1];
    const char *name = slot->pub.header.name[0] ? slot->pub.header.name : slot->stem;
    snprintf(section, sizeof(section), "plugin.%.50s", name ? name : "");
    const struct rz_option_value *pin = rz_settings_get(r->settings, section, "sha256");
    if (!pin || !pin->text)
        return RZ_OK;
    if (!rz_sha256_valid(pin->text))
        return rz_fail(err, RZ_ECONFIG, pin->from, "[%s] sha256: not 64 hexadecimal digits", section);
    if (!slot->pub.path)
        return rz_fail(err, RZ_ECONFIG, pin->from, "[%s] sha256: this plugin is built in and has no file",
                       section);
    if (slot->pub.state == RZ_PLUGIN_REFUSED)
        return RZ_OK;
    int fd = open(slot->pub.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool hashed = fd >= 0 && rz_sha256_fd(fd, sum);
    if (fd >= 0)
        close(fd);
    if (!hashed)
        rz_slot_refuse(r, slot, RZ_EIO, "cannot be hashed for its pin at %s", pin->from);
    else if (!rz_sha256_same(sum, pin->text))
        rz_slot_refuse(r, slot, RZ_ECONFIG, "wrong sha256: the file has %s, %s wants %s", sum, pin->from,
                       pin->text);
    return RZ_OK;
}
