/* verbs.c - `rz plugin` and `rz config`: they need no plugin's help. Text for people on stdout, or one JSON
 * object with --json. */
#include "config.h"
#include "cpu.h"
#include "header.h"
#include "main.h"

#include "err.h"

#include <stdio.h>
#include <string.h>

/* --- rz plugin list --- */

static const char *name_of(const struct rz_plugin_entry *e, char *buf, size_t cap)
{
    if (e->header.name[0])
        return e->header.name;
    const char *slash = strrchr(e->path, '/');
    snprintf(buf, cap, "%s", slash ? slash + 1 : e->path);
    char *dot = strrchr(buf, '.');
    if (dot && !strcmp(dot, ".so"))
        *dot = 0;
    return buf;
}

static const char *state_of(const struct rz_plugin_entry *e)
{
    if (e->state == RZ_PLUGIN_REFUSED)
        return "refused";
    return e->path ? "ready" : "built in";
}

static const char *needs_of(const struct rz_plugin_entry *e, char *buf, size_t cap)
{
    char names[200];
    buf[0] = 0;
    if (e->header.isa[0])
        snprintf(buf, cap, " (needs %s: yes)", rz_cpu_isa_names(e->header.isa[0], names, sizeof(names)));
    return buf;
}

static void list_json(const struct rz_plugin_entry *e, bool first)
{
    char name[64], kinds[64];
    const char *keys[] = {"name", "kind", "version", "state", "path", "provides", "why"};
    const char *values[] = {name_of(e, name, sizeof(name)),
                            rz_header_kinds(&e->header, kinds, sizeof(kinds)),
                            e->header.version,
                            state_of(e),
                            e->path,
                            e->header.provides,
                            e->why};
    printf(first ? "{" : ",{");
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        printf("%s\"%s\":", i ? "," : "", keys[i]);
        if (values[i])
            rz_json_string(values[i]);
        else
            printf("null");
    }
    printf("}");
}

static int plugin_list(struct rz_main *p, struct rz_err *err)
{
    char name[64], kinds[64], needs[256];
    bool json = p->args.flags & RZ_COMMAND_JSON;
    p->args.cmd.log_level = "error"; /* what would be warned about stands in the table */
    if (rz_main_open(p, false, err))
        return RZ_EXIT_USAGE;
    printf(json ? "{\"plugins\":[" : "NAME        KIND       VERSION   STATE     WHY / PROVIDES\n");
    for (uint32_t i = 0; i < rz_registry_count(p->registry); i++) {
        const struct rz_plugin_entry *e = rz_registry_at(p->registry, i);
        if (json)
            list_json(e, i == 0);
        else
            printf("%-11s %-10s %-9s %-9s %s%s\n", name_of(e, name, sizeof(name)),
                   rz_header_kinds(&e->header, kinds, sizeof(kinds)), e->header.version, state_of(e),
                   e->why ? e->why : e->header.provides, e->why ? "" : needs_of(e, needs, sizeof(needs)));
    }
    if (json)
        printf("]}\n");
    return RZ_EXIT_OK;
}

/* --- rz plugin info --- */

static void info_options(const struct rz_plugin *plugin)
{
    char form[256];
    if (plugin->n_options)
        printf("options of [plugin.%s]:\n", plugin->header.name);
    for (uint32_t i = 0; i < plugin->n_options; i++) {
        const struct rz_option *o = rz_option_at(plugin->options, plugin->option_stride, i);
        printf("  %-20s %-24s default %s\n      %s\n", o->name, rz_option_form(o, form, sizeof(form)),
               o->def ? o->def : "unset", o->help);
    }
}

static void info_options_json(const struct rz_plugin *plugin)
{
    char form[256];
    printf(",\"options\":[");
    for (uint32_t i = 0; i < plugin->n_options; i++) {
        const struct rz_option *o = rz_option_at(plugin->options, plugin->option_stride, i);
        printf("%s{\"name\":", i ? "," : "");
        rz_json_string(o->name);
        printf(",\"form\":");
        rz_json_string(rz_option_form(o, form, sizeof(form)));
        printf(",\"default\":");
        if (o->def)
            rz_json_string(o->def);
        else
            printf("null");
        printf(",\"help\":");
        rz_json_string(o->help);
        printf("}");
    }
    printf("]");
}

static int plugin_info(struct rz_main *p, const char *name, struct rz_err *err)
{
    char names[200], kinds[64];
    uint32_t i = 0;
    bool json = p->args.flags & RZ_COMMAND_JSON, path = strchr(name, '/') != NULL;
    if (path) /* a file, as if it were named by --plugin; it comes first then */
        p->args.lists[1][p->args.cmd.n_plugins++] = name;
    if (rz_main_open(p, false, err) || (!path && rz_registry_find(p->registry, name, "plugin info", &i, err)))
        return RZ_EXIT_USAGE;
    if (path)
        i = p->args.cmd.n_plugins - 1;
    if (rz_registry_attach(p->registry, i, err))
        return RZ_EXIT_USAGE;
    const struct rz_plugin_entry *e = rz_registry_at(p->registry, i);
    if (json) {
        printf("{\"plugin\":");
        list_json(e, true);
        info_options_json(e->plugin);
        printf("}\n");
        return RZ_EXIT_OK;
    }
    const struct rz_plugin_header *h = &e->header;
    printf("%s %s, %s\n", h->name, h->version, rz_header_kinds(h, kinds, sizeof(kinds)));
    printf("  vendor    %s\n  licence   %s\n", h->vendor, h->licence);
    printf("  provides  %s\n  file      %s\n", h->provides, e->path ? e->path : "built in");
    printf("  ABI       %u.%u, needs %u.%u\n", h->magic[7], h->abi_minor, h->magic[7], h->abi_minor_need);
    printf("  needs     %s\n", h->isa[0] ? rz_cpu_isa_names(h->isa[0], names, sizeof(names)) : "any CPU");
    info_options(e->plugin);
    return RZ_EXIT_OK;
}

int rz_verb_plugin(struct rz_main *p, struct rz_err *err)
{
    const char *what = p->args.argc > 1 ? p->args.argv[1] : "";
    if (!strcmp(what, "list") && p->args.argc == 2)
        return plugin_list(p, err);
    if (!strcmp(what, "info") && p->args.argc == 3)
        return plugin_info(p, p->args.argv[2], err);
    if (!strcmp(what, "check") || !strcmp(what, "call"))
        rz_fail(err, RZ_ECONFIG, what[1] == 'h' ? "plugin check" : "plugin call",
                "not available in this build");
    else
        rz_fail(err, RZ_ECONFIG, "plugin", "needs list or info NAME (see rz plugin --help)");
    return RZ_EXIT_USAGE;
}

/* --- rz config --- */

/* Brings the plugins of the settings' sections in (or all that load) and validates their options. */
static int32_t validate_plugins(struct rz_main *p, bool all, struct rz_err *err)
{
    struct rz_config config;
    char section[64];
    for (uint32_t i = 0; i < rz_registry_count(p->registry); i++) {
        const struct rz_plugin_entry *e = rz_registry_at(p->registry, i);
        snprintf(section, sizeof(section), "plugin.%s", e->header.name);
        if (e->state == RZ_PLUGIN_REFUSED || (!all && !rz_config_section(p->settings, section)))
            continue;
        int32_t status = rz_registry_attach(p->registry, i, err);
        if (status && !e->explicit_) { /* it was found, but cannot be loaded: said and passed over */
            rz_log(RZ_LOG_WARN, "%s: %s", err->where, err->message);
            *err = (struct rz_err)RZ_ERR_INIT;
            continue;
        }
        if (!status)
            status = rz_settings_plugin(p->settings, e->plugin, &config, err);
        if (status)
            return status;
    }
    return RZ_OK;
}

static void dump_text(const char *text)
{
    for (; *text; text++)
        putchar((unsigned char)*text < 0x20 ? ' ' : *text);
}

struct dump {
    bool origin, json, first;
};

static void dump_value(struct dump *d, const char *section, const struct rz_option *o,
                       const struct rz_option_value *v)
{
    const char *text = v->text && o->flags & RZ_OPT_SECRET ? "***" : v->text;
    if (d->json) {
        printf("%s{\"section\":", d->first ? "" : ",");
        rz_json_string(section);
        printf(",\"key\":\"%s\",\"value\":", o->name);
        if (text)
            rz_json_string(text);
        else
            printf("null");
        printf(",\"origin\":");
        rz_json_string(v->from);
        printf("}");
        d->first = false;
        return;
    }
    int width = (int)strlen(o->name) + (text ? 3 + (int)strlen(text) : 4);
    printf(text ? "%s = " : "; %s =", o->name);
    if (text)
        dump_text(text);
    if (d->origin)
        printf("%*s; %s", width < 40 ? 40 - width : 1, "",
               text || strcmp(v->from, "default") ? v->from : "unset");
    printf("\n");
}

static void dump_section(struct rz_main *p, struct dump *d, const char *name)
{
    const struct rz_schema_section *kind = rz_schema_find(name);
    if (!d->json)
        printf("[%s]\n", name);
    for (uint32_t i = 0; i < kind->n_options; i++)
        if (strcmp(kind->options[i].name, "include"))
            dump_value(d, name, &kind->options[i], rz_settings_get(p->settings, name, kind->options[i].name));
}

static int32_t dump_plugin(struct rz_main *p, struct dump *d, const struct rz_plugin_entry *e,
                           struct rz_err *err)
{
    char section[64];
    struct rz_config config;
    snprintf(section, sizeof(section), "plugin.%s", e->header.name);
    if (!rz_config_section(p->settings, section) && (!e->plugin || !e->plugin->n_options))
        return RZ_OK;
    dump_section(p, d, section);
    int32_t status = e->plugin ? rz_settings_plugin(p->settings, e->plugin, &config, err) : RZ_OK;
    for (uint32_t i = 0; e->plugin && !status && i < e->plugin->n_options; i++)
        dump_value(d, section, rz_option_at(e->plugin->options, e->plugin->option_stride, i),
                   &config.values[i]);
    return status;
}

static int32_t dump_all(struct rz_main *p, struct rz_err *err)
{
    struct dump d = {.json = p->args.flags & RZ_COMMAND_JSON, .first = true};
    d.origin = p->args.argc == 3;
    uint32_t n;
    int32_t status = RZ_OK;
    const struct rz_schema_section *kinds = rz_schema_all(&n);
    const char *name;
    printf(d.json ? "{\"settings\":[" : "");
    for (uint32_t i = 0; i < n; i++)
        if (!strchr(kinds[i].name, '.'))
            dump_section(p, &d, kinds[i].name);
    for (uint32_t i = 0; (name = rz_settings_section(p->settings, "model.", i)); i++)
        dump_section(p, &d, name);
    for (uint32_t i = 0; i < rz_registry_count(p->registry) && !status; i++)
        if (rz_registry_at(p->registry, i)->header.name[0])
            status = dump_plugin(p, &d, rz_registry_at(p->registry, i), err);
    printf(d.json ? "]}\n" : "");
    return status;
}

int rz_verb_config(struct rz_main *p, struct rz_err *err)
{
    const char *what = p->args.argc > 1 ? p->args.argv[1] : "";
    bool check = !strcmp(what, "check") && p->args.argc == 2, dump = !strcmp(what, "dump");
    if (dump && p->args.argc == 3)
        dump = !strcmp(p->args.argv[2], "--origin");
    if ((!check && !dump) || p->args.argc > 3) {
        rz_fail(err, RZ_ECONFIG, "config",
                "needs check, or dump with --origin or nothing (see rz config --help)");
        return RZ_EXIT_USAGE;
    }
    if (rz_main_open(p, false, err) || validate_plugins(p, dump, err) || (check && rz_check_names(p, err)))
        return RZ_EXIT_USAGE;
    if (dump)
        return dump_all(p, err) ? RZ_EXIT_USAGE : RZ_EXIT_OK;
    printf(p->args.flags & RZ_COMMAND_JSON ? "{\"ok\":true}\n" : "the settings are valid\n");
    return RZ_EXIT_OK;
}
