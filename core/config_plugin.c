/* config_plugin.c - [plugin.NAME] sections: which plugin they mean, and their values once the plugin's
 * own option table is known. */
#include "config.h"

#include "err.h"
#include "nearest.h"

#include <string.h>

#define PREFIX "plugin."

/* What the environment called plugin.my_plug is the section of the plugin my-plug. */
static int32_t rename_section(struct rz_settings *s, struct rz_section *x, const char *name,
                              struct rz_err *err)
{
    char *full = rz_arena_printf(&s->arena, PREFIX "%s", name);
    if (!full)
        return rz_fail(err, RZ_ENOMEM, x->from, "no memory");
    x->guessed = false;
    if (!strcmp(full, x->name))
        return RZ_OK;
    struct rz_section *other = rz_config_section(s, full);
    if (!other) {
        x->name = full;
        return RZ_OK;
    }
    return rz_fail(err, RZ_ECONFIG, x->from, "means [%s], which %s sets too; use -o instead", full,
                   other->from);
}

static int32_t bind_one(struct rz_settings *s, struct rz_section *x, const char *const *names, uint32_t n,
                        struct rz_err *err)
{
    const char *wanted = x->name + strlen(PREFIX), *found = NULL;
    struct rz_nearest near;
    char hint[96];
    rz_nearest_init(&near, wanted);
    for (uint32_t i = 0; i < n; i++) {
        bool same = x->guessed ? rz_config_same_name(names[i], wanted) : !strcmp(names[i], wanted);
        if (same && found && strcmp(found, names[i]))
            return rz_fail(err, RZ_ECONFIG, x->from, "means both plugin %s and plugin %s; use -o instead",
                           found, names[i]);
        if (same)
            found = names[i];
        rz_nearest_try(&near, names[i]);
    }
    if (found)
        return x->guessed ? rename_section(s, x, found, err) : RZ_OK;
    if (rz_config_entry(x, "path"))
        return RZ_OK;
    return rz_fail(err, RZ_ECONFIG, x->from, "[%s]: no plugin of that name is here%s", x->name,
                   rz_nearest_hint(&near, hint, sizeof(hint)));
}

int32_t rz_config_bind_plugins(struct rz_settings *s, const char *const *names, uint32_t n,
                               struct rz_err *err)
{
    for (struct rz_section *x = s->sections; x; x = x->next) {
        if (strncmp(x->name, PREFIX, strlen(PREFIX)))
            continue;
        int32_t status = bind_one(s, x, names, n, err);
        if (status)
            return status;
    }
    return RZ_OK;
}

static int32_t unknown_option(const struct rz_section *x, const struct rz_entry *e,
                              const struct rz_plugin *plugin, struct rz_err *err)
{
    struct rz_nearest near;
    char hint[96];
    rz_nearest_init(&near, e->key);
    for (uint32_t i = 0; i < x->schema->n_options; i++)
        rz_nearest_try(&near, x->schema->options[i].name);
    for (uint32_t i = 0; i < plugin->n_options; i++)
        rz_nearest_try(&near, rz_option_at(plugin->options, plugin->option_stride, i)->name);
    return rz_fail(err, RZ_ECONFIG, e->at.from, "[%s] %s: no such option%s", x->name, e->key,
                   rz_nearest_hint(&near, hint, sizeof(hint)));
}

static const struct rz_option *own_option(const struct rz_plugin *plugin, const char *key)
{
    for (uint32_t i = 0; i < plugin->n_options; i++) {
        const struct rz_option *o = rz_option_at(plugin->options, plugin->option_stride, i);
        if (!strcmp(o->name, key))
            return o;
    }
    return NULL;
}

static int32_t own_value(struct rz_settings *s, struct rz_section *x, const struct rz_option *o,
                         const char *plugin, struct rz_option_value *out, struct rz_err *err)
{
    char why[300];
    struct rz_entry *e = x ? rz_config_entry(x, o->name) : NULL;
    *out = (struct rz_option_value){.from = "default"};
    if (e)
        return rz_config_value(s, x->name, e, o, out, err);
    if (o->def && !rz_option_parse(o, o->def, NULL, &s->arena, out, why, sizeof(why)))
        return rz_fail(err, RZ_EVERSION, plugin, "the default of its option %s: %s", o->name, why);
    return RZ_OK;
}

int32_t rz_settings_plugin(struct rz_settings *s, const struct rz_plugin *plugin, struct rz_config *out,
                           struct rz_err *err)
{
    const char *name = plugin->header.name;
    char *full = rz_arena_printf(&s->arena, PREFIX "%s", name);
    struct rz_option_value *values = rz_arena_array(&s->arena, plugin->n_options, sizeof(*values));
    if (!full || !values)
        return rz_fail(err, RZ_ENOMEM, name, "no memory");
    struct rz_section *x = rz_config_section(s, full);
    for (struct rz_entry *e = x ? x->entries : NULL; e; e = e->next)
        if (rz_schema_option(x->schema, e->key) < 0 && !own_option(plugin, e->key))
            return unknown_option(x, e, plugin, err);
    for (uint32_t i = 0; i < plugin->n_options; i++) {
        const struct rz_option *o = rz_option_at(plugin->options, plugin->option_stride, i);
        int32_t status = own_value(s, x, o, name, &values[i], err);
        if (status)
            return status;
    }
    *out = (struct rz_config){.size = sizeof(*out), .n_values = plugin->n_options, .values = values};
    return RZ_OK;
}
