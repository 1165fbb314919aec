/* verbs_help.c - what `rz --help`, `rz --version` and a wrong verb show. Needs no settings and no plugins. */
#include "main.h"

#include "err.h"
#include "header.h"
#include "nearest.h"

#include <stdio.h>
#include <string.h>

/* The verbs of the contract, in its order; help: NULL: not part of this build. */
static const struct verb {
    const char *name, *args, *help;
} verbs[] = {
    {"run", "-m MODEL [-p TEXT]", "generate text from a prompt"},
    {"chat", "-m MODEL", "talk with a model"},
    {"serve", "[-m MODEL]", "start the frontends, HTTP by default"},
    {"info", "MODEL", "what a model file is"},
    {"tokenize", "-m MODEL [-p TEXT]", "text to token ids"},
    {"detokenize", "-m MODEL", "token ids to text"},
    {"template", "-m MODEL -f FILE", "render a chat prompt"},
    {"eval", "-m MODEL --tokens FILE ...", "logits of given token ids"},
    {"perplexity", "-m MODEL -f FILE", "how well a model predicts a text"},
    {"embed", "-m MODEL [-p TEXT]", "embedding vectors"},
    {"bench", "-m MODEL", "prompt and decode speed"},
    {"quantize", "IN OUT TYPE", "re-quantise a model"},
    {"convert", "HF_DIR OUT.gguf", "safetensors to GGUF"},
    {"imatrix", "-m MODEL -f TEXT -o OUT", "which weights of a model matter"},
    {"plan", "MODEL --explain", "which backend runs what, and why"},
    {"plugin", "list | info NAME", "what is loaded, and why not"},
    {"config", "check | dump", "validate and show the settings"},
    {"pull", "NAME", "fetch a model"},
    {"list", "", "models of the local store"},
    {"ps", "", "models that are being served"},
    {"rm", "NAME", "remove a model from the local store"},
    {"compare", "A B ...", "compare the speed of programs"},
};
#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

static const char plugin_usage[] =
    "usage: rz plugin list\n"
    "       rz plugin info NAME\n"
    "       rz plugin check FILE\n"
    "\n"
    "list   every plugin that is built in, found or configured: its state, and why\n"
    "       it is refused. Runs no code of a plugin.\n"
    "info   version, vendor, needs and options of one plugin.\n"
    "check  the conformance kit (not available in this build).\n"
    "\n"
    "--plugin ./FILE.so adds a file; --plugin-dir DIR looks in another folder.\n";

static const char config_usage[] =
    "usage: rz config check\n"
    "       rz config dump [--origin]\n"
    "\n"
    "check  reads all settings and says what is wrong: file, line, section, key.\n"
    "       Plugins that they name must be there; models' files are warned of.\n"
    "dump   prints every option with its value; --origin adds the place that set it.\n"
    "       Secrets are shown as ***.\n"
    "\n"
    "Settings, later ones win: built-in values, /etc/rz/rz.ini, ~/.config/rz/rz.ini,\n"
    "--config FILE, RZ__SECTION__KEY, -o section.key=value, flags.\n";

static const char serve_usage[] =
    "usage: rz serve [-m MODEL] [--host HOST] [--port PORT] [--api-key-file FILE]\n"
    "\n"
    "Opens the configured models (or MODEL) and starts the frontends of\n"
    "[rz] frontends. A line on stderr says when they listen. A section\n"
    "[model.NAME] is loaded at the start, or with load = use when it is asked\n"
    "for; [engine] memory and keep_alive say how long it stays.\n"
    "\n"
    "  -m, --model MODEL     a file, or the name of a [model.NAME] section\n"
    "  --host HOST           address of the HTTP frontend (default 127.0.0.1)\n"
    "  --port PORT           its port (default 8080)\n"
    "  --api-key-file FILE   requests must carry one of the keys in FILE, one a line\n"
    "\n"
    "Sockets, TLS, limits, pages that may ask, logs: rz plugin info http.\n"
    "\n"
    "SIGTERM or SIGINT: takes no new requests and lets the running ones finish\n"
    "for at most [rz] drain_ms; a second signal ends at once.\n";

void rz_version(bool json)
{
    if (json)
        printf("{\"version\":\"%s\",\"abi\":\"%u.%u-draft\"}\n", RZ_VERSION, RZ_ABI_MAJOR, RZ_ABI_MINOR);
    else
        printf("rz %s (plugin ABI %u.%u-draft)\n", RZ_VERSION, RZ_ABI_MAJOR, RZ_ABI_MINOR);
}

/* A command of the command line's own frontend. */
static const struct rz_command *builtin_command(const struct rz_main *p, const char *name)
{
    const struct rz_frontend *f;
    uint32_t at = 0;
    while (p->registry &&
           (f = rz_registry_next(p->registry, "frontend:cli", RZ_FRONTEND_1, &at, NULL, NULL, NULL)))
        for (uint32_t i = 0; i < f->n_commands; i++)
            if (!strcmp(f->commands[i].name, name))
                return &f->commands[i];
    return NULL;
}

/* Does a plugin say in its header that it has the command? None is loaded for that. */
static bool plugin_command(const struct rz_main *p, const char *name)
{
    char kind[64];
    snprintf(kind, sizeof(kind), "command:%.50s", name);
    for (uint32_t i = 0; p->registry && i < rz_registry_count(p->registry); i++) {
        const struct rz_plugin_entry *e = rz_registry_at(p->registry, i);
        if (e->state != RZ_PLUGIN_REFUSED && rz_header_provides(&e->header, kind))
            return true;
    }
    return false;
}

void rz_help(const struct rz_main *p)
{
    printf("usage: rz COMMAND [ARGUMENTS]        rz COMMAND --help says more\n");
    for (size_t i = 0; i < N_VERBS; i++) {
        const struct rz_command *c = builtin_command(p, verbs[i].name);
        if (c || rz_help_verb(verbs[i].name) || plugin_command(p, verbs[i].name))
            printf("  %-11s %-28s %.37s\n", verbs[i].name, verbs[i].args, c ? c->help : verbs[i].help);
    }
    printf("\nOptions of every command:\n"
           "  --config FILE         settings file       -o section.key=value  one setting\n"
           "  --plugin NAME|./FILE  load and prefer it  --plugin-dir DIR      where they are\n"
           "  -t, --threads N       CPU threads         -v, -q   more, fewer messages\n"
           "  --json                for programs        --help, --version\n");
}

const char *rz_help_verb(const char *verb)
{
    if (!strcmp(verb, "plugin"))
        return plugin_usage;
    if (!strcmp(verb, "config"))
        return config_usage;
    return strcmp(verb, "serve") ? NULL : serve_usage;
}

bool rz_verb_known(const char *verb)
{
    for (size_t i = 0; i < N_VERBS; i++)
        if (!strcmp(verbs[i].name, verb))
            return true;
    return false;
}

int32_t rz_verb_missing(const char *verb, struct rz_err *err)
{
    struct rz_nearest near;
    char hint[96], shown[80];
    if (rz_verb_known(verb))
        return rz_fail(err, RZ_ECONFIG, verb, "not available in this build");
    rz_nearest_init(&near, verb);
    for (size_t i = 0; i < N_VERBS; i++)
        rz_nearest_try(&near, verbs[i].name);
    return rz_fail(err, RZ_ECONFIG, rz_show(shown, sizeof(shown), verb, strlen(verb)), "no such command%s",
                   rz_nearest_hint(&near, hint, sizeof(hint)));
}
