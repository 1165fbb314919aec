/* registry.c - which plugins are there, and in which order they are asked.
 *
 * Order: --plugin (as given), prefer = 1, the list [rz] plugins, found in the folder (more demanding CPU
 * features first), built in. Opening reads headers only; code of a plugin runs when something that it
 * provides is asked for.
 */
#include "registry.h"
#include "config.h"
#include "cpu.h"
#include "header.h"

#include "err.h"
#include "grow.h"
#include "nearest.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOTS_MAX 512u

/* ranks; the index inside the group is added */
#define RANK_PREFER 1000u
#define RANK_LISTED 2000u
#define RANK_FOUND 3000u
#define RANK_BUILTIN 9000u

#define X(name) extern const struct rz_plugin rz_builtin_##name;
#include <builtins.inc>
#undef X

static const struct rz_plugin *const builtins[] = {
#define X(name) &rz_builtin_##name,
#include <builtins.inc>
#undef X
    NULL,
};

/* --- collecting --- */

static struct rz_slot *new_slot(struct rz_registry *r)
{
    struct rz_slot **slots =
        r->n < SLOTS_MAX ? rz_heap_grow(r->slots, r->n, &r->cap, sizeof(*slots), 16) : NULL;
    if (!slots)
        return NULL;
    r->slots = slots;
    struct rz_slot *slot = rz_arena_alloc(&r->arena, sizeof(*slot));
    if (slot)
        r->slots[r->n++] = slot;
    return slot;
}

static int32_t add_builtins(struct rz_registry *r, struct rz_err *err)
{
    char why[300];
    for (uint32_t i = 0; builtins[i]; i++) {
        struct rz_slot *slot = new_slot(r);
        if (!slot)
            return rz_fail(err, RZ_ENOMEM, "plugins", "no memory");
        slot->raw = builtins[i];
        slot->pub.header = builtins[i]->header;
        slot->rank = RANK_BUILTIN + i;
        slot->pub.state = RZ_PLUGIN_BUILTIN;
        if (!rz_header_check(&slot->pub.header, rz_cpu_isa(), why, sizeof(why), &slot->foreign))
            rz_slot_refuse(r, slot, RZ_EVERSION, "%s", why);
    }
    return RZ_OK;
}

static struct rz_slot *slot_of_path(struct rz_registry *r, const char *real)
{
    for (uint32_t i = 0; i < r->n; i++)
        if (r->slots[i]->pub.path && !strcmp(r->slots[i]->pub.path, real))
            return r->slots[i];
    return NULL;
}

static const char *stem_of(struct rz_registry *r, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n = strlen(name);
    if (n > 3 && !strcmp(name + n - 3, ".so"))
        n -= 3;
    return rz_arena_strndup(&r->arena, name, n);
}

/* Adds the file (once) and inspects it. NULL: no memory. A file that is not there is a refused slot. */
static struct rz_slot *add_file(struct rz_registry *r, const char *path)
{
    char real[PATH_MAX];
    const char *resolved = realpath(path, real);
    int failed = errno;
    struct rz_slot *slot = slot_of_path(r, resolved ? resolved : path);
    if (slot)
        return slot;
    slot = new_slot(r);
    if (!slot)
        return NULL;
    slot->pub.path = rz_arena_strdup(&r->arena, resolved ? resolved : path);
    slot->stem = stem_of(r, path);
    slot->rank = RANK_FOUND;
    if (!slot->pub.path || !slot->stem)
        return NULL;
    if (!resolved)
        rz_slot_refuse(r, slot, RZ_ECONFIG, "%s", strerror(failed));
    else
        rz_slot_inspect(r, slot);
    return slot;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_library(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return d->d_name[0] != '.' && n > 3 && !strcmp(d->d_name + n - 3, ".so");
}

static int32_t scan_dir(struct rz_registry *r, struct rz_err *err)
{
    struct dirent **names;
    char path[PATH_MAX];
    int32_t status = RZ_OK;
    if (!r->dir)
        return RZ_OK;
    int n = scandir(r->dir, &names, is_library, by_name);
    if (n < 0 && rz_settings_given(r->settings, "rz", "plugin_dir"))
        return rz_fail(err, RZ_ECONFIG, rz_settings_get(r->settings, "rz", "plugin_dir")->from,
                       "[rz] plugin_dir: %.300s: %s", r->dir, strerror(errno));
    for (int i = 0; i < n; i++) {
        int len = snprintf(path, sizeof(path), "%s/%s", r->dir, names[i]->d_name);
        if (!status && len > 0 && (size_t)len < sizeof(path) && !add_file(r, path))
            status = rz_fail(err, RZ_ELIMIT, r->dir, "more than %u plugins, or no memory", SLOTS_MAX);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    return status;
}

/* Beside the program (a build folder), or where an installation has them. Never the current folder. */
static const char *default_dir(struct rz_registry *r)
{
    char *folder = rz_program_folder(&r->arena);
    char *beside = folder ? rz_arena_printf(&r->arena, "%s/plugins", folder) : NULL;
    if (beside && !access(beside, F_OK))
        return beside;
    char *prefix = rz_program_prefix(&r->arena);
    return prefix ? rz_arena_printf(&r->arena, "%s/lib/rz/plugins", prefix) : NULL;
}

/* --- who is meant --- */

static bool named(const struct rz_slot *slot, const char *name)
{
    return slot->pub.header.name[0] ? !strcmp(slot->pub.header.name, name)
                                    : slot->stem && !strcmp(slot->stem, name);
}

/* Files that a path names come before those of the folder, those before built-ins, good before refused. */
static struct rz_slot *slot_of_name(struct rz_registry *r, const char *name)
{
    struct rz_slot *best = NULL;
    uint32_t best_score = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        struct rz_slot *slot = r->slots[i];
        if (!named(slot, name))
            continue;
        uint32_t score = slot->chosen     ? 6
                         : slot->pub.path ? 2
                                          : 4; /* a built-in is replaced only by a path */
        score += slot->pub.state != RZ_PLUGIN_REFUSED;
        if (score > best_score) {
            best = slot;
            best_score = score;
        }
    }
    return best;
}

static int32_t no_such_plugin(const struct rz_registry *r, const char *where, const char *name,
                              struct rz_err *err)
{
    struct rz_nearest near;
    char hint[96];
    rz_nearest_init(&near, name);
    for (uint32_t i = 0; i < r->n; i++)
        rz_nearest_try(&near, r->slots[i]->pub.header.name);
    return rz_fail(err, RZ_ECONFIG, where, "no plugin %.64s in %.200s%s", name,
                   r->dir ? r->dir : "this program",
                   strchr(name, ' ') ? " (a list has commas)" : rz_nearest_hint(&near, hint, sizeof(hint)));
}

static int32_t ask_for(struct rz_registry *r, const char *name, uint32_t i, struct rz_err *err)
{
    const char *where = rz_arena_printf(&r->arena, "--plugin %.200s", name);
    struct rz_slot *slot;
    if (strchr(name, '/')) {
        slot = add_file(r, name);
        if (slot)
            slot->chosen = true;
    } else {
        slot = slot_of_name(r, name);
        if (!slot)
            return no_such_plugin(r, where, name, err);
    }
    if (!slot || !where)
        return rz_fail(err, RZ_ENOMEM, "--plugin", "no memory");
    if (slot->asked) /* twice: the first one counts */
        return RZ_OK;
    slot->asked = where;
    slot->pub.explicit_ = slot->pub.flagged = true;
    slot->rank = i;
    return RZ_OK;
}

/* Paths of [plugin.NAME] sections. */
static int32_t add_configured(struct rz_registry *r, struct rz_err *err)
{
    const char *section;
    for (uint32_t i = 0; (section = rz_settings_section(r->settings, "plugin.", i)); i++) {
        const struct rz_option_value *path = rz_settings_get(r->settings, section, "path");
        if (!path->text)
            continue;
        struct rz_slot *slot = add_file(r, path->text);
        if (!slot)
            return rz_fail(err, RZ_ENOMEM, path->from, "no memory");
        slot->chosen = true;
        slot->said = rz_arena_printf(&r->arena, "%s: [%s] path", path->from, section);
        const char *name = section + strlen("plugin.");
        if (slot->pub.state != RZ_PLUGIN_REFUSED && strcmp(slot->pub.header.name, name))
            return rz_fail(err, RZ_ECONFIG, path->from, "[%s] path: %.200s is plugin %s", section, path->text,
                           slot->pub.header.name);
        slot->stem = name;
    }
    return RZ_OK;
}

/* required and prefer of [plugin.NAME], and the pin of every slot. */
static int32_t apply_sections(struct rz_registry *r, struct rz_err *err)
{
    const char *section;
    for (uint32_t i = 0; (section = rz_settings_section(r->settings, "plugin.", i)); i++) {
        struct rz_slot *slot = slot_of_name(r, section + strlen("plugin."));
        const struct rz_option_value *required = rz_settings_get(r->settings, section, "required");
        if (!slot)
            continue;
        if (required->i && !slot->asked) {
            slot->asked = rz_arena_printf(&r->arena, "%s: [%s] required", required->from, section);
            slot->pub.explicit_ = true;
        }
        slot->preferred = rz_settings_get(r->settings, section, "prefer")->i != 0;
        if (slot->preferred && slot->rank >= RANK_PREFER)
            slot->rank = RANK_PREFER + i;
    }
    for (uint32_t i = 0; i < r->n; i++) {
        int32_t status = rz_slot_pin(r, r->slots[i], err);
        if (status)
            return status;
    }
    return RZ_OK;
}

static int32_t apply_list(struct rz_registry *r, struct rz_err *err)
{
    const struct rz_option_value *list = rz_settings_get(r->settings, "rz", "plugins");
    char *names = list->text ? rz_arena_strdup(&r->arena, list->text) : NULL;
    uint32_t i = 0;
    for (char *name; names && (name = strsep(&names, ",")); i++) {
        struct rz_slot *slot = name[0] ? slot_of_name(r, name) : NULL;
        if (name[0] && !slot) {
            const char *where = rz_arena_printf(&r->arena, "%s: [rz] plugins", list->from);
            return no_such_plugin(r, where, name, err);
        }
        if (slot && slot->rank >= RANK_LISTED)
            slot->rank = RANK_LISTED + i;
    }
    return RZ_OK;
}

/* --- order --- */

static int by_rank(const void *a, const void *b)
{
    const struct rz_slot *x = *(struct rz_slot *const *)a, *y = *(struct rz_slot *const *)b;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    int more = __builtin_popcountll(y->pub.header.isa[0]) - __builtin_popcountll(x->pub.header.isa[0]);
    return more ? more : strcmp(x->pub.path ? x->pub.path : "", y->pub.path ? y->pub.path : "");
}

/* Of several plugins of one name the first keeps it; a file that was merely found never replaces a
 * built-in. */
static void refuse_doubles(struct rz_registry *r)
{
    for (uint32_t i = 0; i < r->n; i++) {
        struct rz_slot *a = r->slots[i];
        for (uint32_t j = i + 1; j < r->n && a->pub.state != RZ_PLUGIN_REFUSED; j++) {
            struct rz_slot *b = r->slots[j];
            if (b->pub.state == RZ_PLUGIN_REFUSED || strcmp(a->pub.header.name, b->pub.header.name))
                continue;
            bool keep_b = !b->pub.path && !a->chosen;
            struct rz_slot *loser = keep_b ? a : b, *winner = keep_b ? b : a;
            rz_slot_refuse(r, loser, RZ_ECONFIG, "%s has this name already",
                           winner->pub.path ? winner->pub.path : "a built-in plugin");
        }
    }
}

static bool wants_scalar_alone(const struct rz_registry *r)
{
    for (uint32_t i = 0; i < r->n && r->slots[i]->rank < RANK_PREFER; i++)
        if (rz_header_provides(&r->slots[i]->pub.header, "kernels"))
            return !strcmp(r->slots[i]->pub.header.name, "scalar");
    return false;
}

static int32_t report_refused(struct rz_registry *r, struct rz_err *err)
{
    for (uint32_t i = 0; i < r->n; i++) {
        const struct rz_slot *slot = r->slots[i];
        if (slot->pub.state != RZ_PLUGIN_REFUSED)
            continue;
        if (slot->asked) {
            rz_slot_error(slot, err);
            return err ? (err->code = RZ_ECONFIG) : RZ_ECONFIG;
        }
        bool quiet = slot->foreign || !slot->pub.path; /* the normal state of an installation for many CPUs */
        rz_log(quiet ? RZ_LOG_INFO : RZ_LOG_WARN, "%s%s%s: %s", slot->said ? slot->said : "",
               slot->said ? ": " : "", slot->pub.path ? slot->pub.path : slot->pub.header.name,
               slot->pub.why);
    }
    return RZ_OK;
}

/* --- opening --- */

static int32_t bind_sections(struct rz_registry *r, struct rz_err *err)
{
    const char **names = rz_arena_array(&r->arena, r->n + 1, sizeof(*names));
    if (!names)
        return rz_fail(err, RZ_ENOMEM, "plugins", "no memory");
    for (uint32_t i = 0; i < r->n; i++) {
        const struct rz_slot *slot = r->slots[i];
        names[i] = slot->pub.header.name[0] || !slot->stem ? slot->pub.header.name : slot->stem;
    }
    return rz_config_bind_plugins(r->settings, names, r->n, err);
}

static int32_t open_all(struct rz_registry *r, const struct rz_cmdline *cmd, struct rz_err *err)
{
    const struct rz_option_value *dir = rz_settings_get(r->settings, "rz", "plugin_dir");
    r->strict = rz_settings_get(r->settings, "rz", "strict_paths")->i != 0;
    r->dir = dir->text && !cmd->bare ? dir->text : default_dir(r);
    int32_t status = add_builtins(r, err);
    if (!status)
        status = add_configured(r, err);
    if (!status)
        status = scan_dir(r, err);
    for (uint32_t i = 0; i < cmd->n_plugins && !status; i++)
        status = ask_for(r, cmd->plugins[i], i < RANK_PREFER ? i : RANK_PREFER - 1, err);
    if (!status)
        status = bind_sections(r, err);
    if (!status)
        status = apply_sections(r, err);
    if (!status)
        status = apply_list(r, err);
    if (status)
        return status;
    qsort(r->slots, r->n, sizeof(*r->slots), by_rank);
    refuse_doubles(r);
    r->kernels_alone = wants_scalar_alone(r);
    return report_refused(r, err);
}

int32_t rz_registry_open(struct rz_settings *settings, const struct rz_cmdline *cmd,
                         const struct rz_host *host, struct rz_registry **out, struct rz_err *err)
{
    *out = NULL;
    struct rz_registry *r = calloc(1, sizeof(*r));
    if (!r)
        return rz_fail(err, RZ_ENOMEM, "plugins", "no memory");
    rz_arena_init(&r->arena, 0);
    pthread_mutex_init(&r->loading, NULL);
    r->settings = settings;
    r->host = host;
    int32_t status = open_all(r, cmd, err);
    if (status) {
        rz_registry_close(r);
        return status;
    }
    *out = r;
    return RZ_OK;
}

void rz_registry_close(struct rz_registry *r)
{
    if (!r)
        return;
    for (uint32_t i = r->n; i-- > 0;)
        rz_slot_stop(r->slots[i]);
    free(r->slots);
    rz_arena_free(&r->arena);
    pthread_mutex_destroy(&r->loading);
    free(r);
}

/* --- asking --- */

uint32_t rz_registry_count(const struct rz_registry *r)
{
    return r->n;
}

const struct rz_plugin_entry *rz_registry_at(const struct rz_registry *r, uint32_t i)
{
    return i < r->n ? &r->slots[i]->pub : NULL;
}

const char *rz_registry_dir(const struct rz_registry *r)
{
    return r->dir;
}

int32_t rz_registry_find(const struct rz_registry *r, const char *name, const char *where, uint32_t *i,
                         struct rz_err *err)
{
    for (*i = 0; *i < r->n; ++*i)
        if (named(r->slots[*i], name))
            return RZ_OK;
    return no_such_plugin(r, where, name, err);
}

int32_t rz_registry_attach(struct rz_registry *r, uint32_t i, struct rz_err *err)
{
    return rz_slot_attach(r, r->slots[i], err);
}

int32_t rz_registry_load(struct rz_registry *r, uint32_t i, struct rz_err *err)
{
    return rz_slot_start(r, r->slots[i], err);
}

int32_t rz_registry_load_explicit(struct rz_registry *r, struct rz_err *err)
{
    for (uint32_t i = 0; i < r->n; i++) {
        int32_t status = r->slots[i]->asked ? rz_slot_start(r, r->slots[i], err) : RZ_OK;
        if (status)
            return status;
    }
    return RZ_OK;
}

/* Kernel tables beside scalar are hidden when scalar was asked for. */
static bool hidden(const struct rz_registry *r, const struct rz_slot *slot, const char *kind)
{
    return r->kernels_alone && !strcmp(kind, "kernels") && strcmp(slot->pub.header.name, "scalar");
}

static const void *next(struct rz_registry *r, const char *kind, const char *iface, uint32_t *at, void **self,
                        const char **name, struct rz_err *err)
{
    while (*at < r->n) {
        struct rz_slot *slot = r->slots[(*at)++];
        struct rz_err why = RZ_ERR_INIT;
        if (slot->pub.state == RZ_PLUGIN_REFUSED || !rz_header_provides(&slot->pub.header, kind) ||
            hidden(r, slot, kind))
            continue;
        int32_t status = rz_slot_start(r, slot, &why);
        const void *table = status ? NULL : rz_slot_iface(r, slot, iface);
        if (table) {
            if (self)
                *self = slot->pub.self;
            if (name)
                *name = slot->pub.header.name;
            return table;
        }
        if (!status)
            status = rz_slot_error(slot, &why);
        if (slot->asked ||
            status == RZ_ECONFIG) { /* asked for, or a mistake in [plugin.NAME]: no way around */
            if (err)
                *err = why;
            return NULL;
        }
        rz_log(RZ_LOG_WARN, "%s: %s; going on without it", why.where, why.message);
    }
    return NULL;
}

const void *rz_registry_next(struct rz_registry *r, const char *kind, const char *iface, uint32_t *at,
                             void **self, const char **name, struct rz_err *err)
{
    pthread_mutex_lock(&r->loading);
    const void *table = next(r, kind, iface, at, self, name, err);
    pthread_mutex_unlock(&r->loading);
    return table;
}
