/* verbs_check.c - what `rz config check` looks at beside the form of values: that the plugins and files which
 * settings name are there. Runs no code of a plugin and opens no model. */
#include "main.h"

#include "config.h"
#include "err.h"
#include "header.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Some plugin that is not refused provides KIND:NAME; a number behind the name does not count. */
static bool provided(const struct rz_registry *r, const char *kind, const char *name)
{
    char word[96];
    bool found = false;
    snprintf(word, sizeof(word), "%s:%.*s", kind, (int)strcspn(name, ":"), name);
    for (uint32_t i = 0; i < rz_registry_count(r) && !found; i++) {
        const struct rz_plugin_entry *e = rz_registry_at(r, i);
        found = e->state != RZ_PLUGIN_REFUSED && rz_header_provides(&e->header, word);
    }
    return found;
}

static int32_t missing(const struct rz_option_value *v, const char *section, const char *key,
                       const char *kind, const char *name, struct rz_err *err)
{
    return rz_fail(err, RZ_ECONFIG, v->from, "[%s] %s: no plugin provides %s:%.64s (rz plugin list)", section,
                   key, kind, name);
}

static int32_t check_device(const struct rz_main *p, const char *section, struct rz_err *err)
{
    const struct rz_option_value *v = rz_settings_get(p->settings, section, "device");
    bool good = !v->text || !strcmp(v->text, "cpu") || provided(p->registry, "device", v->text);
    return good ? RZ_OK : missing(v, section, "device", "device", v->text, err);
}

static int32_t check_frontends(const struct rz_main *p, struct rz_err *err)
{
    const struct rz_option_value *v = rz_settings_get(p->settings, "rz", "frontends");
    char name[64];
    if (!rz_settings_given(p->settings, "rz", "frontends")) /* the default may be missing */
        return RZ_OK;
    for (const char *at = v->text; at && *at; at += *at == ',') {
        size_t n = strcspn(at, ",");
        snprintf(name, sizeof(name), "%.*s", (int)n, at);
        if (!provided(p->registry, "frontend", name))
            return missing(v, "rz", "frontends", "frontend", name, err);
        at += n;
    }
    return RZ_OK;
}

/* A file may come later, with the disk that it lies on: a warning. */
static int32_t check_model(const struct rz_main *p, const char *section, struct rz_err *err)
{
    const struct rz_option_value *path = rz_settings_get(p->settings, section, "path");
    if (!path->text)
        return rz_fail(err, RZ_ECONFIG, rz_config_section(p->settings, section)->from, "[%s] has no path",
                       section);
    if (access(path->text, R_OK))
        rz_log(RZ_LOG_WARN, "%s: [%s] path: %s: %s", path->from, section, path->text, strerror(errno));
    return check_device(p, section, err);
}

int32_t rz_check_names(const struct rz_main *p, struct rz_err *err)
{
    const char *section;
    int32_t status = check_frontends(p, err);
    if (!status)
        status = check_device(p, "engine", err);
    for (uint32_t i = 0; !status && (section = rz_settings_section(p->settings, "model.", i)); i++)
        status = check_model(p, section, err);
    return status;
}
