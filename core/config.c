/* config.c - the settings: layers are merged into sections, then every text becomes a checked value.
 *
 * Invariant: after rz_settings_load each section of the core's schema has a value for each of its options;
 * [plugin.NAME] sections keep what the core does not know until the plugin's own table is there.
 */
#include "config.h"

#include "err.h"
#include "nearest.h"
#include "utf8.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYSTEM_FILE "/etc/rz/rz.ini"

static bool is_plugin(const char *section)
{
    return !strncmp(section, "plugin.", 7);
}

struct rz_section *rz_config_section(struct rz_settings *s, const char *name)
{
    for (struct rz_section *x = s->sections; x; x = x->next)
        if (!strcmp(x->name, name))
            return x;
    return NULL;
}

struct rz_entry *rz_config_entry(const struct rz_section *section, const char *key)
{
    for (struct rz_entry *e = section->entries; e; e = e->next)
        if (!strcmp(e->key, key))
            return e;
    return NULL;
}

/* --- setting keys --- */

static int32_t no_memory(struct rz_err *err)
{
    return rz_fail(err, RZ_ENOMEM, "configuration", "no memory");
}

static int32_t unknown_section(const char *name, const struct rz_origin *at, struct rz_err *err)
{
    struct rz_nearest near;
    char hint[96], shown[64];
    uint32_t n;
    const struct rz_schema_section *kinds = rz_schema_all(&n);
    rz_nearest_init(&near, name);
    for (uint32_t i = 0; i < n; i++)
        rz_nearest_try(&near, kinds[i].name);
    const char *dot = strchr(name, '.');
    if (!near.best && dot) { /* [plugins.http], [modle.x] */
        snprintf(shown, sizeof(shown), "%.*s", (int)(dot - name + 1), name);
        rz_nearest_init(&near, shown);
        for (uint32_t i = 0; i < n; i++)
            rz_nearest_try(&near, kinds[i].name);
    }
    rz_nearest_hint(&near, hint, sizeof(hint));
    return rz_fail(err, RZ_ECONFIG, at->from, "[%s]: no such section%s",
                   rz_show(shown, sizeof(shown), name, strlen(name)), hint);
}

static int32_t new_section(struct rz_settings *s, const char *name, const struct rz_origin *at,
                           struct rz_section **out, struct rz_err *err)
{
    const struct rz_schema_section *schema = rz_schema_find(name);
    if (!schema)
        return unknown_section(name, at, err);
    for (const char *c = name; *c; c++)
        if (!strchr("_.-", *c) && !(*c >= '0' && *c <= '9') && !((*c | 32) >= 'a' && (*c | 32) <= 'z'))
            return rz_fail(err, RZ_ECONFIG, at->from,
                           "[%s]: a section's name has only letters, digits, _ - and .", name);
    struct rz_section *x = rz_arena_alloc(&s->arena, sizeof(*x)), **end = &s->sections;
    if (!x || !(x->name = rz_arena_strdup(&s->arena, name)))
        return no_memory(err);
    x->schema = schema;
    x->from = at->from;
    while (*end)
        end = &(*end)->next;
    *end = x;
    *out = x;
    return RZ_OK;
}

static int32_t unknown_key(const struct rz_section *x, const char *key, const struct rz_origin *at,
                           struct rz_err *err)
{
    struct rz_nearest near;
    char hint[96];
    rz_nearest_init(&near, key);
    for (uint32_t i = 0; i < x->schema->n_options; i++)
        rz_nearest_try(&near, x->schema->options[i].name);
    rz_nearest_hint(&near, hint, sizeof(hint));
    return rz_fail(err, RZ_ECONFIG, at->from, "[%s] %s: no such option%s", x->name, key, hint);
}

int32_t rz_config_set(struct rz_settings *s, const char *section, const char *key, const char *raw,
                      const struct rz_origin *at, struct rz_err *err)
{
    struct rz_section *x = rz_config_section(s, section);
    int32_t status = x ? RZ_OK : new_section(s, section, at, &x, err);
    if (status)
        return status;
    if (!is_plugin(section) && rz_schema_option(x->schema, key) < 0)
        return unknown_key(x, key, at, err);
    if (!strcmp(section, "rz") && !strcmp(key, "include"))
        return rz_fail(err, RZ_ECONFIG, at->from, "[rz] include: only a file can include others");
    struct rz_entry *e = rz_config_entry(x, key), **end = &x->entries;
    if (e && at->file && e->at.file == at->file)
        return rz_fail(err, RZ_ECONFIG, at->from, "[%s] %s: given twice; it stands at %s already", section,
                       key, e->at.from);
    if (e && e->at.layer > at->layer)
        return RZ_OK;
    if (!e) {
        e = rz_arena_alloc(&s->arena, sizeof(*e));
        if (!e || !(e->key = rz_arena_strdup(&s->arena, key)))
            return no_memory(err);
        while (*end)
            end = &(*end)->next;
        *end = e;
    }
    e->raw = rz_arena_strdup(&s->arena, raw);
    e->at = *at;
    e->text = NULL;
    return e->raw ? RZ_OK : no_memory(err);
}

int32_t rz_config_flag(struct rz_settings *s, const char *section, const char *key, const char *text,
                       const char *flag, struct rz_err *err)
{
    struct rz_origin at = {.layer = RZ_LAYER_FLAG, .from = flag};
    return rz_config_set(s, section, key, text, &at, err);
}

/* -o section.key=value: the key begins after the last dot before '='. */
static int32_t set_option(struct rz_settings *s, const char *text, struct rz_err *err)
{
    struct rz_origin at = {.layer = RZ_LAYER_SET, .from = "-o"};
    const char *eq = strchr(text, '='), *dot = NULL;
    for (const char *p = text; eq && p < eq; p++)
        if (*p == '.')
            dot = p;
    if (!rz_utf8_valid(text, strlen(text)))
        return rz_fail(err, RZ_ECONFIG, "-o", "not UTF-8 text");
    if (!dot || dot == text || dot + 1 == eq)
        return rz_fail(err, RZ_ECONFIG, "-o", "%.200s: not of the form section.key=value", text);
    char *section = rz_arena_strndup(&s->arena, text, (size_t)(dot - text));
    char *key = rz_arena_strndup(&s->arena, dot + 1, (size_t)(eq - dot - 1));
    if (!section || !key)
        return no_memory(err);
    return rz_config_set(s, section, key, eq + 1, &at, err);
}

/* --- values --- */

int32_t rz_config_value(struct rz_settings *s, const char *section, struct rz_entry *e,
                        const struct rz_option *option, struct rz_option_value *out, struct rz_err *err)
{
    char why[500];
    *out = (struct rz_option_value){.from = e->at.from};
    e->text = rz_config_expand(&s->arena, e->raw, e->at.dir, why, sizeof(why));
    if (!e->text || !rz_option_parse(option, e->text, e->at.dir, &s->arena, out, why, sizeof(why)))
        return rz_fail(err, RZ_ECONFIG, e->at.from, "[%s] %s: %s", section, e->key, why);
    return RZ_OK;
}

static int32_t default_value(struct rz_settings *s, const char *section, const struct rz_option *option,
                             struct rz_option_value *out, struct rz_err *err)
{
    char why[300];
    *out = (struct rz_option_value){.from = "default"};
    if (option->def && !rz_option_parse(option, option->def, NULL, &s->arena, out, why, sizeof(why)))
        return rz_fail(err, RZ_ECONFIG, section, "the default of option %s: %s", option->name, why);
    return RZ_OK;
}

static int32_t make_defaults(struct rz_settings *s, struct rz_err *err)
{
    uint32_t n;
    int32_t status = RZ_OK;
    const struct rz_schema_section *kinds = rz_schema_all(&n);
    s->defaults = rz_arena_array(&s->arena, n, sizeof(*s->defaults));
    for (uint32_t k = 0; s->defaults && k < n && !status; k++) {
        s->defaults[k] = rz_arena_array(&s->arena, kinds[k].n_options, sizeof(**s->defaults));
        if (!s->defaults[k])
            return no_memory(err);
        for (uint32_t i = 0; i < kinds[k].n_options && !status; i++)
            status = default_value(s, kinds[k].name, &kinds[k].options[i], &s->defaults[k][i], err);
    }
    return s->defaults ? status : no_memory(err);
}

static const struct rz_option_value *defaults_of(const struct rz_settings *s,
                                                 const struct rz_schema_section *kind)
{
    uint32_t n;
    return s->defaults[kind - rz_schema_all(&n)];
}

static int32_t resolve(struct rz_settings *s, struct rz_section *x, struct rz_err *err)
{
    const struct rz_schema_section *kind = x->schema;
    x->values = rz_arena_array(&s->arena, kind->n_options, sizeof(*x->values));
    if (!x->values)
        return no_memory(err);
    memcpy(x->values, defaults_of(s, kind), kind->n_options * sizeof(*x->values));
    for (struct rz_entry *e = x->entries; e; e = e->next) {
        int32_t i = rz_schema_option(kind, e->key);
        int32_t status =
            i < 0 ? RZ_OK : rz_config_value(s, x->name, e, &kind->options[i], &x->values[i], err);
        if (status)
            return status;
    }
    return RZ_OK;
}

/* --- layers --- */

char *rz_program_folder(struct rz_arena *arena)
{
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    exe[n > 0 ? n : 0] = 0;
    char *slash = strrchr(exe, '/');
    return slash ? rz_arena_printf(arena, "%.*s", (int)(slash - exe), exe) : NULL;
}

char *rz_program_prefix(struct rz_arena *arena)
{
    char *folder = rz_program_folder(arena), *last = folder ? strrchr(folder, '/') : NULL;
    if (!last || strcmp(last, "/bin"))
        return NULL;
    *last = 0;
    return folder;
}

/* The one that was asked for; that of an installation under a prefix of its own; the machine's. */
static const char *system_file(struct rz_settings *s)
{
    const char *asked = getenv("RZ_SYSTEM_CONFIG"), *prefix = rz_program_prefix(&s->arena);
    if (asked && asked[0])
        return asked;
    char *own = prefix ? rz_arena_printf(&s->arena, "%s" SYSTEM_FILE, prefix) : NULL;
    return own && !access(own, F_OK) ? own : SYSTEM_FILE;
}

static int32_t read_files(struct rz_settings *s, const struct rz_cmdline *cmd, struct rz_err *err)
{
    const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    char *user = NULL;
    if (base && base[0] == '/')
        user = rz_arena_printf(&s->arena, "%s/rz/rz.ini", base);
    else if (home && home[0] == '/')
        user = rz_arena_printf(&s->arena, "%s/.config/rz/rz.ini", home);
    int32_t status = rz_config_read(s, system_file(s), RZ_LAYER_SYSTEM, false, err);
    if (!status && user)
        status = rz_config_read(s, user, RZ_LAYER_USER, false, err);
    if (!status && cmd->config_file)
        status = rz_config_read(s, cmd->config_file, RZ_LAYER_FILE, true, err);
    return status;
}

static int32_t set_flags(struct rz_settings *s, const struct rz_cmdline *cmd, struct rz_err *err)
{
    char number[16];
    int32_t status = RZ_OK;
    snprintf(number, sizeof(number), "%d", cmd->threads);
    if (cmd->threads)
        status = rz_config_flag(s, "rz", "threads", number, "--threads", err);
    if (!status && cmd->plugin_dir)
        status = rz_config_flag(s, "rz", "plugin_dir", cmd->plugin_dir, "--plugin-dir", err);
    if (!status && cmd->log_level)
        status = rz_config_flag(s, "rz", "log_level", cmd->log_level, "-v/-q", err);
    return status;
}

static int32_t load(struct rz_settings *s, const struct rz_cmdline *cmd, struct rz_err *err)
{
    int32_t status = make_defaults(s, err);
    if (!status && !cmd->bare)
        status = read_files(s, cmd, err);
    /* -o before the environment: its sections are candidates for a variable's name. The layer decides. */
    for (uint32_t i = 0; i < cmd->n_sets && !status && !cmd->bare; i++)
        status = set_option(s, cmd->sets[i], err);
    if (!status && !cmd->bare)
        status = rz_config_environment(s, err);
    if (!status)
        status = set_flags(s, cmd, err);
    for (struct rz_section *x = s->sections; x && !status; x = x->next)
        status = resolve(s, x, err);
    return status;
}

int32_t rz_settings_load(const struct rz_cmdline *cmd, struct rz_settings **out, struct rz_err *err)
{
    *out = NULL;
    struct rz_settings *s = calloc(1, sizeof(*s));
    if (!s)
        return no_memory(err);
    rz_arena_init(&s->arena, 0);
    int32_t status = load(s, cmd, err);
    if (status) {
        rz_settings_free(s);
        return status;
    }
    *out = s;
    return RZ_OK;
}

void rz_settings_free(struct rz_settings *s)
{
    if (!s)
        return;
    rz_arena_free(&s->arena);
    free(s);
}

/* --- reading --- */

static const struct rz_section *find(const struct rz_settings *s, const char *name)
{
    for (const struct rz_section *x = s->sections; x; x = x->next)
        if (!strcmp(x->name, name))
            return x;
    return NULL;
}

const struct rz_option_value *rz_settings_get(const struct rz_settings *s, const char *section,
                                              const char *key)
{
    const struct rz_section *x = find(s, section);
    const struct rz_schema_section *kind = rz_schema_find(section);
    int32_t i = kind ? rz_schema_option(kind, key) : -1;
    if (i < 0)
        return NULL;
    return x && x->values ? &x->values[i] : &defaults_of(s, kind)[i];
}

bool rz_settings_given(const struct rz_settings *s, const char *section, const char *key)
{
    const struct rz_section *x = find(s, section);
    return x && rz_config_entry(x, key);
}

const char *rz_settings_section(const struct rz_settings *s, const char *prefix, uint32_t i)
{
    for (const struct rz_section *x = s->sections; x; x = x->next)
        if (!strncmp(x->name, prefix, strlen(prefix)) && i-- == 0)
            return x->name;
    return NULL;
}

const char *rz_config_raw(const struct rz_settings *s, const char *section, const char *key)
{
    const struct rz_section *x = find(s, section);
    const struct rz_entry *e = x ? rz_config_entry(x, key) : NULL;
    return e ? e->raw : NULL;
}
