/* config_env.c - RZ__SECTION__KEY: environment variables as settings.
 *
 * A variable's name has no dots and often no lower case, so it is compared case-blind with every
 * non-alphanumeric of a section as '_'. Two sections that match are an error, never a choice.
 */
#include "config.h"

#include "err.h"
#include "nearest.h"
#include "utf8.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define PREFIX "RZ__"

extern char **environ;

static char plain(char c)
{
    return isalnum((unsigned char)c) && (unsigned char)c < 0x80 ? (char)tolower((unsigned char)c) : '_';
}

bool rz_config_same_name(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (plain(*a) != plain(*b))
            return false;
    return *a == *b;
}

static bool begins(const char *text, const char *prefix)
{
    return !strncmp(text, prefix, strlen(prefix));
}

/* The section that a variable means: one that is known, or a new [model.NAME] or [plugin.NAME]. */
static const char *find_section(struct rz_settings *s, const char *var, const char *written,
                                struct rz_err *err)
{
    const char *found = NULL;
    struct rz_nearest near;
    char hint[96];
    rz_nearest_init(&near, written);
    uint32_t n;
    const struct rz_schema_section *kinds = rz_schema_all(&n);
    for (uint32_t i = 0; i < n; i++) {
        if (kinds[i].name[strlen(kinds[i].name) - 1] == '.')
            continue;
        if (rz_config_same_name(kinds[i].name, written))
            return kinds[i].name;
        rz_nearest_try(&near, kinds[i].name);
    }
    for (struct rz_section *x = s->sections; x; x = x->next) {
        if (x->guessed || !rz_config_same_name(x->name, written))
            continue;
        if (found) {
            rz_fail(err, RZ_ECONFIG, var, "means both [%s] and [%s]; use -o instead", found, x->name);
            return NULL;
        }
        found = x->name;
    }
    if (found)
        return found;
    if (begins(written, "plugin_") && written[7])
        return rz_arena_printf(&s->arena, "plugin.%s", written + 7);
    if (begins(written, "model_") && written[6])
        return rz_arena_printf(&s->arena, "model.%s", written + 6);
    rz_fail(err, RZ_ECONFIG, var, "there is no section [%s]%s", written,
            rz_nearest_hint(&near, hint, sizeof(hint)));
    return NULL;
}

/* name: the variable without its prefix, in lower case, to be cut at the last "__". */
static int32_t set_variable(struct rz_settings *s, const char *var, char *name, const char *value,
                            struct rz_err *err)
{
    char *cut = NULL;
    for (char *p = strstr(name, "__"); p; p = strstr(p + 1, "__"))
        cut = p;
    if (!cut || cut == name || !cut[2])
        return rz_fail(err, RZ_ECONFIG, var, "not of the form RZ__SECTION__KEY");
    *cut = 0;
    const char *section = find_section(s, var, name, err);
    if (!section)
        return RZ_ECONFIG;
    bool known = rz_config_section(s, section) != NULL;
    struct rz_section *x = rz_config_section(s, section);
    struct rz_entry *e = x ? rz_config_entry(x, cut + 2) : NULL;
    if (e && e->at.layer == RZ_LAYER_ENV)
        return rz_fail(err, RZ_ECONFIG, var, "[%s] %s is set by %s too", section, cut + 2, e->at.from);
    struct rz_origin at = {.layer = RZ_LAYER_ENV, .from = var};
    int32_t status = rz_config_set(s, section, cut + 2, value, &at, err);
    if (!status && !known && strchr(section, '.'))
        rz_config_section(s, section)->guessed = true;
    return status;
}

int32_t rz_config_environment(struct rz_settings *s, struct rz_err *err)
{
    for (char **e = environ; e && *e; e++) {
        const char *eq = strchr(*e, '=');
        if (!eq || !begins(*e, PREFIX))
            continue;
        char *var = rz_arena_strndup(&s->arena, *e, (size_t)(eq - *e));
        char *name = var ? rz_arena_strdup(&s->arena, var + strlen(PREFIX)) : NULL;
        char *value = rz_arena_strdup(&s->arena, eq + 1);
        if (!name || !value)
            return rz_fail(err, RZ_ENOMEM, "environment", "no memory");
        if (!rz_utf8_valid(*e, strlen(*e)))
            return rz_fail(err, RZ_ECONFIG, "environment", "a variable " PREFIX "... that is not UTF-8 text");
        for (char *p = name; *p; p++)
            *p = (char)tolower((unsigned char)*p);
        int32_t status = set_variable(s, var, name, value, err);
        if (status)
            return status;
    }
    return RZ_OK;
}
