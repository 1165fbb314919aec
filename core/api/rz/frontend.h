/* frontend.h - rz.frontend/1: whoever talks to people and programs: the command line, HTTP, a socket.
 */
#ifndef RZ_FRONTEND_H
#define RZ_FRONTEND_H

#include <rz/engine.h>
#include <rz/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RZ_FRONTEND_1 "rz.frontend/1"

/* One verb of the command line. */
struct rz_command {
    uint32_t size;
    uint32_t zero;
    const char *name;  /* "run"                                            */
    const char *args;  /* "-m MODEL [-p TEXT]"                             */
    const char *help;  /* one line                                         */
    const char *usage; /* the whole --help text, at most a screen          */
    /* argv[0] is the command; the options that every command knows are already taken out, --json and
     * -v/-q arrive as flags. Returns the exit status; messages of errors go into err (the host prints
     * them) with status 1 or 2. Main thread. */
    int32_t (*run)(void *self, uint32_t flags, int32_t argc, const char *const *argv, struct rz_err *err);
};
RZ_ABI_SIZE(struct rz_command, 48, run);

#define RZ_COMMAND_JSON 1u
#define RZ_COMMAND_VERBOSE 2u
#define RZ_COMMAND_QUIET 4u

struct rz_frontend {
    uint32_t size, minor;
    const char *name;
    const struct rz_command *commands;
    uint32_t n_commands, command_stride;
    /* Starts to serve the models of rz.host.model/1; returns when it listens. NULL: not a server. With ready
     * it is called before the models are opened, so that clients can be told to wait. */
    int32_t (*start)(void *self, struct rz_err *err);
    /* Takes no new work, lets what runs finish for at most drain_ms, then ends it. */
    void (*stop)(void *self, uint32_t drain_ms);
    /* "http://127.0.0.1:8080", for the ready line; valid after start. */
    const char *(*address)(void *self);
    /* The models are there (rz_host_model.served): from now on requests are taken. NULL: start is called
     * when they are. Main thread. */
    int32_t (*ready)(void *self, struct rz_err *err);
};
RZ_ABI_SIZE(struct rz_frontend, 64, ready);

#ifdef __cplusplus
}
#endif
#endif
