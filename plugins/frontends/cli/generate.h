/* generate.h - what the commands that generate text share: the options of sampling, and one request from its
 * prompt to its last event.
 */
#ifndef RZ_GENERATE_H
#define RZ_GENERATE_H

#include <rz/chat.h>

#include "cli.h"

struct rz_gen_values {
    struct rz_cli_value new_tokens, context, temp, top_k, top_p, min_p, typical_p;
    struct rz_cli_value repeat, presence, frequency, last_n, seed, stop, bias, ignore_eos;
    struct rz_cli_value grammar, schema, regex;
};

#define RZ_GEN_MAX 2147483647.0
#define RZ_GEN_ROW(type_, field, name_, ...) \
    { \
        .name = name_, .at = offsetof(type_, gen.field), __VA_ARGS__ \
    }

/* Rows for a table whose values, a struct `type`, hold a struct rz_gen_values named gen. */
#define RZ_GEN_OPTIONS(type_) \
    RZ_GEN_ROW(type_, new_tokens, "new", .letter = 'n', .type = OPT_INT, .min = 1, .max = RZ_GEN_MAX), \
        RZ_GEN_ROW(type_, context, "context", .letter = 'c', .type = OPT_INT, .min = 1, .max = RZ_GEN_MAX), \
        RZ_GEN_ROW(type_, temp, "temp", .type = OPT_FLOAT, .min = 0, .max = 100), \
        RZ_GEN_ROW(type_, top_k, "top-k", .type = OPT_INT, .min = 0, .max = RZ_GEN_MAX), \
        RZ_GEN_ROW(type_, top_p, "top-p", .type = OPT_FLOAT, .min = 0, .max = 1), \
        RZ_GEN_ROW(type_, min_p, "min-p", .type = OPT_FLOAT, .min = 0, .max = 1), \
        RZ_GEN_ROW(type_, typical_p, "typical-p", .type = OPT_FLOAT, .min = 0, .max = 1), \
        RZ_GEN_ROW(type_, repeat, "repeat-penalty", .type = OPT_FLOAT, .min = 0.01, .max = 100), \
        RZ_GEN_ROW(type_, presence, "presence-penalty", .type = OPT_FLOAT, .min = -100, .max = 100), \
        RZ_GEN_ROW(type_, frequency, "frequency-penalty", .type = OPT_FLOAT, .min = -100, .max = 100), \
        RZ_GEN_ROW(type_, last_n, "penalty-last-n", .type = OPT_INT, .min = -1, .max = RZ_GEN_MAX), \
        RZ_GEN_ROW(type_, seed, "seed", .type = OPT_U64), RZ_GEN_ROW(type_, stop, "stop", .type = OPT_LIST), \
        RZ_GEN_ROW(type_, bias, "logit-bias", .type = OPT_LIST), \
        RZ_GEN_ROW(type_, ignore_eos, "ignore-eos", .type = OPT_FLAG), \
        RZ_GEN_ROW(type_, grammar, "grammar", .type = OPT_TEXT), \
        RZ_GEN_ROW(type_, schema, "json-schema", .type = OPT_TEXT), \
        RZ_GEN_ROW(type_, regex, "regex", .type = OPT_TEXT)

/* A model that is open to run, and the request that is sent to it. */
struct rz_gen {
    const char *command; /* for messages */
    struct rz_cli_model m;
    const struct rz_chat_api *chats; /* NULL: the host has none */
    struct rz_request request;
    struct rz_str stops[RZ_CLI_LIST_MAX];
    struct rz_bias biases[RZ_CLI_LIST_MAX];
    struct rz_buf grammar;    /* what the answer must fit */
    double t_submit, t_first; /* seconds */
    struct rz_event done;     /* the last event; kind 0 before it */
};

/* Opens the model and fills the request but for its prompt. g is closed with rz_gen_close in any case. */
int32_t rz_gen_open(const struct rz_cli *cli, const char *command, const char *model,
                    const struct rz_gen_values *v, struct rz_gen *g, struct rz_err *err);
void rz_gen_close(struct rz_gen *g);
/* Sends g->request and gives each event but a failure to `event`, the last one too if it brings text; a
 * non-zero answer ends it. *stop, which may be NULL, not 0: cancelled. */
int32_t rz_gen_stream(struct rz_gen *g,
                      int32_t (*event)(void *arg, const struct rz_event *ev, struct rz_err *err), void *arg,
                      const volatile int *stop, struct rz_err *err);
/* --session FILE: what an earlier run computed is there again, if the file exists; and is written, with what
 * this one added: the prompt of g->request and the ids of its answer (int32_t). flags: RZ_COMMAND_*. */
int32_t rz_gen_restore(const struct rz_gen *g, const char *path, struct rz_err *err);
int32_t rz_gen_save(const struct rz_gen *g, const char *path, const struct rz_buf *answer, uint32_t flags,
                    struct rz_err *err);
/* The prompt of a conversation: a JSON object with messages, which is taken. The caller closes *out. */
int32_t rz_gen_chat(const struct rz_gen *g, json_t *conversation, struct rz_chat **out,
                    struct rz_chat_info *info, struct rz_err *err);

#endif
