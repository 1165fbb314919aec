/* cli.h - the commands of the command line's own frontend.
 *
 * Each command is one file with one function that has the signature of rz_command.run.
 */
#ifndef RZ_CLI_H
#define RZ_CLI_H

#include "../common/command.h"

/* run.c chat.c info.c tokens.c template.c embed.c eval.c perplexity.c bench.c plan.c */

int32_t rz_cli_run(void *self, uint32_t flags, int32_t argc, const char *const *argv, struct rz_err *err);
int32_t rz_cli_chat(void *self, uint32_t flags, int32_t argc, const char *const *argv, struct rz_err *err);
int32_t rz_cli_info(void *self, uint32_t flags, int32_t argc, const char *const *argv, struct rz_err *err);
int32_t rz_cli_tokenize(void *self, uint32_t flags, int32_t argc, const char *const *argv,
                        struct rz_err *err);
int32_t rz_cli_detokenize(void *self, uint32_t flags, int32_t argc, const char *const *argv,
                          struct rz_err *err);
int32_t rz_cli_template(void *self, uint32_t flags, int32_t argc, const char *const *argv,
                        struct rz_err *err);
int32_t rz_cli_embed(void *self, uint32_t flags, int32_t argc, const char *const *argv, struct rz_err *err);
int32_t rz_cli_eval(void *self, uint32_t flags, int32_t argc, const char *const *argv, struct rz_err *err);
int32_t rz_cli_perplexity(void *self, uint32_t flags, int32_t argc, const char *const *argv,
                          struct rz_err *err);
int32_t rz_cli_bench(void *self, uint32_t flags, int32_t argc, const char *const *argv, struct rz_err *err);
/* bench_requests.c */
int32_t rz_cli_bench_requests(const struct rz_cli_model *m, struct rz_speed *test, struct rz_err *err);
int32_t rz_cli_plan(void *self, uint32_t flags, int32_t argc, const char *const *argv, struct rz_err *err);

#endif
