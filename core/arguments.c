/* arguments.c - splits the command line into the options that every command knows and the command's own
 * words. Knows no command. Strings stay those of argv. */
#include "main.h"

#include "err.h"

#include <stdlib.h>
#include <string.h>

/* One option; `needs`: it takes a value. */
struct known_option {
    const char *name;
    bool needs;
};

static const struct known_option options[] = {
    {"--config", true},  {"-o", true},      {"--plugin", true},   {"--plugin-dir", true}, {"-t", true},
    {"--threads", true}, {"-v", false},     {"--verbose", false}, {"-q", false},          {"--quiet", false},
    {"--json", false},   {"--help", false}, {"-h", false},        {"--version", false},
};

static int32_t set_threads(struct rz_arguments *a, const char *name, const char *value, struct rz_err *err)
{
    char *end;
    long n = strtol(value, &end, 10);
    if (!*value || *end || n < 1 || n > 1024)
        return rz_fail(err, RZ_ECONFIG, name, "%.64s is not a number of threads (1..1024)", value);
    a->cmd.threads = (int32_t)n;
    return RZ_OK;
}

static int32_t apply(struct rz_arguments *a, const char *name, const char *value, struct rz_err *err)
{
    if (!strcmp(name, "--config"))
        a->cmd.config_file = value;
    else if (!strcmp(name, "-o"))
        a->lists[0][a->cmd.n_sets++] = value;
    else if (!strcmp(name, "--plugin"))
        a->lists[1][a->cmd.n_plugins++] = value;
    else if (!strcmp(name, "--plugin-dir"))
        a->cmd.plugin_dir = value;
    else if (!strcmp(name, "-t") || !strcmp(name, "--threads"))
        return set_threads(a, name, value, err);
    else if (!strcmp(name, "-v") || !strcmp(name, "--verbose"))
        a->flags |= RZ_COMMAND_VERBOSE;
    else if (!strcmp(name, "-q") || !strcmp(name, "--quiet"))
        a->flags |= RZ_COMMAND_QUIET;
    else if (!strcmp(name, "--json"))
        a->flags |= RZ_COMMAND_JSON;
    else if (!strcmp(name, "--version"))
        a->version = true;
    else
        a->help = true;
    return RZ_OK;
}

/* The option that a word is ("--config" or "--config=FILE"), or NULL. *value: what stands after '='. */
static const struct known_option *find_option(const char *word, const char **value)
{
    *value = NULL;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        size_t n = strlen(options[i].name);
        if (!strcmp(word, options[i].name))
            return &options[i];
        if (options[i].needs && n > 2 && !strncmp(word, options[i].name, n) && word[n] == '=') {
            *value = word + n + 1;
            return &options[i];
        }
    }
    return NULL;
}

int32_t rz_arguments_parse(int argc, char **argv, struct rz_arguments *out, struct rz_err *err)
{
    size_t room = (size_t)argc + 1;
    *out = (struct rz_arguments){0};
    out->argv = calloc(room, sizeof(*out->argv));
    out->lists[0] = calloc(room, sizeof(*out->lists[0]));
    out->lists[1] = calloc(room, sizeof(*out->lists[1]));
    if (!out->argv || !out->lists[0] || !out->lists[1])
        return rz_fail(err, RZ_ENOMEM, "command line", "no memory");
    out->cmd.sets = out->lists[0];
    out->cmd.plugins = out->lists[1];
    bool ours = true;
    for (int i = 1; i < argc; i++) {
        const char *value;
        const struct known_option *o = ours ? find_option(argv[i], &value) : NULL;
        /* a setting has `=`; without one the word is a file that a command writes to */
        if (o && !strcmp(o->name, "-o") && out->argc && i + 1 < argc && !strchr(argv[i + 1], '='))
            o = NULL;
        if (!o) {
            ours = ours && strcmp(argv[i], "--");
            out->argv[out->argc++] = argv[i];
            continue;
        }
        if (o->needs && !value && i + 1 == argc)
            return rz_fail(err, RZ_ECONFIG, o->name, "needs a value");
        if (o->needs && !value)
            value = argv[++i];
        int32_t status = apply(out, o->name, value, err);
        if (status)
            return status;
    }
    if (out->argc && out->argv[0][0] == '-')
        return rz_fail(err, RZ_ECONFIG, out->argv[0], "no such option before the command (see rz --help)");
    if (out->flags & (RZ_COMMAND_VERBOSE | RZ_COMMAND_QUIET))
        out->cmd.log_level = out->flags & RZ_COMMAND_VERBOSE ? "info" : "error";
    return RZ_OK;
}

void rz_arguments_free(struct rz_arguments *a)
{
    free(a->argv);
    free(a->lists[0]);
    free(a->lists[1]);
    *a = (struct rz_arguments){0};
}
