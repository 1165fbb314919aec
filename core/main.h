/* main.h - the pieces of the program `rz` itself: command line, its own verbs, serving. */
#ifndef RZ_MAIN_H
#define RZ_MAIN_H

#include "core.h"

#include <rz/frontend.h>

#define RZ_EXIT_OK 0
#define RZ_EXIT_FAILED 1
#define RZ_EXIT_USAGE 2
#define RZ_EXIT_INTERRUPTED 130

/* The command line, cut into what every command knows and what is the command's own. */
struct rz_arguments {
    struct rz_cmdline cmd;
    uint32_t flags; /* RZ_COMMAND_* */
    bool help, version;
    int32_t argc; /* the command and its own arguments; 0: none was given */
    const char **argv;
    const char **lists[2]; /* memory of cmd.sets and cmd.plugins */
};

/* Options stand before or after the command; "--" ends them. */
int32_t rz_arguments_parse(int argc, char **argv, struct rz_arguments *out, struct rz_err *err);
void rz_arguments_free(struct rz_arguments *a);

/* What the parts of the program share once they are up; members are NULL until then. */
struct rz_main {
    struct rz_arguments args;
    struct rz_settings *settings;
    struct rz_registry *registry;
    struct rz_models *models;
};

/* The settings and the plugins that the command line asks for; `load`: explicit ones are loaded too. */
int32_t rz_main_open(struct rz_main *p, bool load, struct rz_err *err);
/* And the models' service. */
int32_t rz_main_models(struct rz_main *p, struct rz_err *err);

/* --- verbs_help.c --- */
void rz_help(const struct rz_main *p);
void rz_version(bool json);
/* The usage text of a verb that the program itself has, or NULL. */
const char *rz_help_verb(const char *verb);
/* True if the verb is one of the contract's, built or not. */
bool rz_verb_known(const char *verb);
/* RZ_ECONFIG: the verb is not built, or there is none of that name. */
int32_t rz_verb_missing(const char *verb, struct rz_err *err);

/* --- verbs.c: they need no plugin. Return the exit status. --- */
int rz_verb_plugin(struct rz_main *p, struct rz_err *err);
int rz_verb_config(struct rz_main *p, struct rz_err *err);

/* --- verbs_check.c: RZ_ECONFIG if a setting names what is not there; of models' files it only warns. --- */
int32_t rz_check_names(const struct rz_main *p, struct rz_err *err);

/* --- serve.c --- */
int rz_verb_serve(struct rz_main *p, struct rz_err *err);

/* --- notify.c --- */

/* Tells the service manager, if there is one: READY=1, STOPPING=1, WATCHDOG=1, ... */
void rz_notify(const char *state);
/* How often it wants to hear WATCHDOG=1; 0: not at all. */
uint64_t rz_notify_watchdog_ms(void);

/* --- verbs_json.c --- */

/* Writes text as a JSON string, quotes included; bytes that are no UTF-8 become U+FFFD. */
void rz_json_string(const char *text);

#endif
