/* main.c - the program: settings -> registry -> models -> a verb. Owns exit statuses, signals and how an
 * error is shown; everything else returns errors. */
#include "main.h"

#include "cpu.h"
#include "err.h"

#include <rz/host.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int exit_status(int32_t code)
{
    if (code == RZ_OK)
        return RZ_EXIT_OK;
    if (code == RZ_ECONFIG)
        return RZ_EXIT_USAGE;
    return code == RZ_ECANCELLED ? RZ_EXIT_INTERRUPTED : RZ_EXIT_FAILED;
}

static void show_error(const struct rz_err *err, bool json)
{
    const char *colon = err->where[0] ? ": " : "";
    if (err->code == RZ_OK)
        return;
    fprintf(stderr, "rz: error: %s%s%s\n", err->where, colon, err->message);
    if (!json)
        return;
    printf("{\"error\":{\"code\":");
    rz_json_string(rz_status_name(err->code));
    printf(",\"where\":");
    rz_json_string(err->where);
    printf(",\"message\":");
    rz_json_string(err->message);
    printf("}}\n");
}

/* Ctrl-C outside of `serve` ends the program at once; stdout holds what was flushed. */
static void on_interrupt(int sig)
{
    (void)sig;
    _exit(RZ_EXIT_INTERRUPTED);
}

static void catch_interrupt(void)
{
    struct sigaction old, action = {.sa_handler = on_interrupt};
    sigemptyset(&action.sa_mask);
    if (!sigaction(SIGINT, NULL, &old) && old.sa_handler != SIG_IGN) /* started with nohup or & */
        sigaction(SIGINT, &action, NULL);
}

/* --- bringing the parts up --- */

int32_t rz_main_open(struct rz_main *p, bool load, struct rz_err *err)
{
    int32_t status = p->settings ? RZ_OK : rz_settings_load(&p->args.cmd, &p->settings, err);
    if (status)
        return status;
    rz_host_log_level((int32_t)rz_settings_get(p->settings, "rz", "log_level")->i);
    rz_host_log_json(rz_settings_get(p->settings, "rz", "log_format")->i == 1);
    status = rz_registry_open(p->settings, &p->args.cmd, rz_host_table(), &p->registry, err);
    if (!status && load)
        status = rz_registry_load_explicit(p->registry, err);
    return status;
}

int32_t rz_main_models(struct rz_main *p, struct rz_err *err)
{
    int64_t threads = rz_settings_get(p->settings, "rz", "threads")->i;
    int32_t status = rz_models_open(p->settings, p->registry, threads ? (uint32_t)threads : rz_cpu_threads(),
                                    &p->models, err);
    if (status)
        return status;
    rz_host_provide(RZ_HOST_MODEL_1, rz_models_table(p->models));
    rz_host_provide(RZ_CHAT_1, rz_chat_table());
    return RZ_OK;
}

/* Models end before the plugins that read and run them. */
static void close_all(struct rz_main *p)
{
    uint64_t bytes, blocks;
    if (p->models)
        rz_models_close(p->models);
    rz_registry_close(p->registry);
    rz_settings_free(p->settings);
    rz_host_memory(&bytes, &blocks);
    if (blocks)
        rz_log(RZ_LOG_DEBUG, "plugins still hold %llu bytes in %llu blocks", (unsigned long long)bytes,
               (unsigned long long)blocks);
    rz_arguments_free(&p->args);
}

/* --- verbs of frontends --- */

static const struct rz_command *find_in(struct rz_registry *r, const char *kind, const char *verb,
                                        void **self, struct rz_err *err)
{
    const struct rz_frontend *f;
    uint32_t at = 0;
    while ((f = rz_registry_next(r, kind, RZ_FRONTEND_1, &at, self, NULL, err)))
        for (uint32_t i = 0; i < f->n_commands; i++)
            if (!strcmp(f->commands[i].name, verb))
                return &f->commands[i];
    return NULL;
}

/* Whoever says in its header that it has the verb, else the command line's own frontend. So no frontend is
 * loaded in vain. */
static const struct rz_command *find_command(struct rz_registry *r, const char *verb, void **self,
                                             struct rz_err *err)
{
    char kind[64];
    snprintf(kind, sizeof(kind), "command:%.50s", verb);
    const struct rz_command *c = find_in(r, kind, verb, self, err);
    return c || err->code ? c : find_in(r, "frontend:cli", verb, self, err);
}

static int run_command(struct rz_main *p, struct rz_err *err)
{
    const char *verb = p->args.argv[0];
    void *self = NULL;
    int32_t status = rz_main_open(p, !p->args.help, err);
    if (status)
        return exit_status(status);
    const struct rz_command *c = find_command(p->registry, verb, &self, err);
    if (!c)
        return exit_status(err->code ? err->code : rz_verb_missing(verb, err));
    if (p->args.help) {
        fputs(c->usage, stdout);
        return RZ_EXIT_OK;
    }
    status = rz_main_models(p, err);
    if (status)
        return exit_status(status);
    return c->run(self, p->args.flags, p->args.argc, p->args.argv, err);
}

static int dispatch(struct rz_main *p, struct rz_err *err)
{
    const char *verb = p->args.argc ? p->args.argv[0] : NULL;
    const char *usage = verb ? rz_help_verb(verb) : NULL;
    if (verb && !strcmp(verb, "help")) {
        p->args.help = true;
        verb = NULL;
    }
    if (p->args.version) {
        rz_version(p->args.flags & RZ_COMMAND_JSON);
        return RZ_EXIT_OK;
    }
    if (p->args.help && usage) {
        fputs(usage, stdout);
        return RZ_EXIT_OK;
    }
    p->args.cmd.bare = p->args.help; /* help works whatever the settings say */
    if (!verb) {
        int32_t status = p->args.help ? rz_main_open(p, false, err) : RZ_OK;
        if (status)
            return exit_status(status);
        if (p->args.help)
            rz_help(p);
        else
            rz_fail(err, RZ_ECONFIG, "rz", "needs a command; rz --help lists them");
        return exit_status(err->code);
    }
    if (!strcmp(verb, "plugin"))
        return rz_verb_plugin(p, err);
    if (!strcmp(verb, "config"))
        return rz_verb_config(p, err);
    if (!strcmp(verb, "serve"))
        return rz_verb_serve(p, err);
    return run_command(p, err);
}

int main(int argc, char **argv)
{
    struct rz_main program = {0};
    struct rz_err err = RZ_ERR_INIT;
    rz_source_guard();
    catch_interrupt();
    int status = exit_status(rz_arguments_parse(argc, argv, &program.args, &err));
    if (!status)
        status = dispatch(&program, &err);
    if (status)
        show_error(&err, program.args.flags & RZ_COMMAND_JSON);
    close_all(&program);
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "rz: error: stdout: cannot be written\n");
        return status ? status : RZ_EXIT_FAILED;
    }
    return status;
}
