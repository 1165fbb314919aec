/* command.h - what the commands of the command line share, whichever plugin they live in: the option
 * parser, texts from outside, output.
 *
 * Each command is a function that has the signature of rz_command.run. Nothing here exits; a failure is an
 * rz_err and an exit status (2 for usage, 1 for the rest).
 */
#ifndef RZ_COMMAND_H
#define RZ_COMMAND_H

#include <jansson.h>
#include <rz/frontend.h>
#include <rz/host.h>
#include <rz/plugin.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "buf.h"
#include "err.h"

/* The largest text or list of ids that a command reads; a larger file is refused, never cut. */
#define RZ_CLI_INPUT_MAX ((size_t)256 << 20)
#define RZ_CLI_LIST_MAX 64

struct rz_cli {
    const struct rz_host *host;
};

/* --- plugin.c --- */

int32_t rz_cli_init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err);
void rz_cli_fini(void *self);

/* clang-format off */
/* A whole plugin around an array of struct rz_command. */
#define RZ_COMMANDS_PLUGIN(NAME, PROVIDES, COMMANDS) \
    static const struct rz_frontend frontend = { \
        .size = sizeof(frontend), .name = NAME, .commands = (COMMANDS), \
        .n_commands = sizeof(COMMANDS) / sizeof((COMMANDS)[0]), .command_stride = sizeof((COMMANDS)[0])}; \
    static const void *query(void *self, const char *id, uint32_t minor_need) \
    { \
        (void)self; \
        return !strcmp(id, RZ_FRONTEND_1) && minor_need == 0 ? &frontend : NULL; \
    } \
    RZ_PLUGIN_DEFINE = { \
        .header = {RZ_HEADER(RZ_KIND_FRONTEND), .name = NAME, .version = "0.1.0", .vendor = "rz", \
                   .licence = "MIT", .provides = PROVIDES}, \
        .init = rz_cli_init, .fini = rz_cli_fini, .query = query}
/* clang-format on */

/* --- options.c --- */

#define OPT_FLAG 0
#define OPT_TEXT 1
#define OPT_INT 2
#define OPT_U64 3
#define OPT_FLOAT 4
#define OPT_LIST 5    /* repeatable text                                                   */
#define OPT_INTS 6    /* comma-separated integers, each in min..max                        */
#define OPT_MAYBE 7   /* takes the next argument only if the model was named before        */
#define OPT_MISSING 8 /* belongs to the contract, cannot be honoured by this build: an error */

/* What the command line said for one option. Texts are borrowed from argv. */
struct rz_cli_value {
    bool given;
    uint32_t n; /* of list and ints */
    const char *text;
    int64_t i;
    uint64_t u;
    double f;
    const char *list[RZ_CLI_LIST_MAX];
    int64_t ints[RZ_CLI_LIST_MAX];
};

/* A row of a command's table; the table ends with name NULL. at: offset of its struct rz_cli_value. */
struct rz_cli_option {
    const char *name; /* without the dashes */
    char letter;      /* 0: none            */
    uint8_t type;     /* OPT_*              */
    bool no_value;    /* OPT_MISSING: takes none */
    double min, max;
    size_t at;
};

/* The one positional argument that some commands take is put into *positional (NULL: none allowed).
 * Returns 0, or 2 with err set. values must be zeroed. */
int rz_cli_parse(const struct rz_cli_option *table, int32_t argc, const char *const *argv, void *values,
                 const char **positional, struct rz_err *err);
/* The same for a command that takes at most max positional arguments; *n says how many there were. */
int rz_cli_parse_words(const struct rz_cli_option *table, int32_t argc, const char *const *argv, void *values,
                       const char **words, uint32_t max, uint32_t *n, struct rz_err *err);

/* Reads a whole decimal number; false: not one, or out of range. */
bool rz_cli_int(const char *text, int64_t *out);
bool rz_cli_float(const char *text, double *out);

/* --- input.c --- */

/* 2 for RZ_ECONFIG, else 1. */
int rz_cli_status(int32_t code);
/* The whole of a file ("-" or NULL: standard input), at most RZ_CLI_INPUT_MAX bytes. */
int32_t rz_cli_read(const char *path, struct rz_buf *out, struct rz_err *err);
/* The text of -p, -f or standard input, in this order; both at once is a usage error. */
int32_t rz_cli_text(const char *command, const struct rz_cli_value *p, const struct rz_cli_value *f,
                    struct rz_buf *out, struct rz_err *err);

/* A model and what a command asks of it. */
struct rz_cli_model {
    const struct rz_host_model *api;
    struct rz_model *model;
    struct rz_model_info info;
    const struct rz_tokenizer *tokenizer;
    void *tok;
    struct rz_tokenizer_info vocab;
};

/* Opens what -m names (NULL: the configured one). Closed by rz_cli_close, also after an error. */
int32_t rz_cli_open(const struct rz_cli *cli, const char *name, const struct rz_model_options *options,
                    struct rz_cli_model *out, struct rz_err *err);
void rz_cli_close(struct rz_cli_model *m);
/* The ids of a text; the caller frees *ids. flags: RZ_ENCODE_*. */
int32_t rz_cli_encode(const struct rz_cli_model *m, const char *text, size_t n, uint32_t flags, int32_t **ids,
                      uint64_t *n_ids, struct rz_err *err);
/* Raw little-endian int32 ids, each checked against the vocabulary; the caller frees *ids. */
int32_t rz_cli_read_ids(const struct rz_cli_model *m, const char *path, int32_t **ids, uint64_t *n_ids,
                        struct rz_err *err);

/* --- output.c --- */

/* Writes to stdout at once; RZ_EIO if it cannot. */
int32_t rz_cli_write(const char *bytes, size_t n, struct rz_err *err);
int32_t rz_cli_print(struct rz_err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Takes the value and writes it as one line. NULL counts as out of memory. */
int32_t rz_cli_json(json_t *object, struct rz_err *err);
/* A JSON string; what is not UTF-8 becomes U+FFFD. */
json_t *rz_cli_json_text(const char *bytes, size_t n);
/* The spelling of a token as a JSON string; null: no such token. */
json_t *rz_cli_json_piece(const struct rz_cli_model *m, int32_t id);
/* Seconds of a clock that only goes forward. */
double rz_cli_now(void);
/* 1536 -> "1.5 KiB"; 135000000 -> "135 M". buf has 32 bytes; returns buf. */
const char *rz_cli_bytes(char *buf, uint64_t n);
const char *rz_cli_count(char *buf, uint64_t n);

/* --- file.c --- */

/* A file that appears under its name only when it is whole. Where the file system can, it has no name at all
 * until then, so that nothing is left behind however the program ends. */
struct rz_cli_file {
    FILE *f;
    const char *path; /* borrowed */
    char *temp;       /* a free name beside path */
    bool named;       /* temp is there */
    bool replace;
};
/* replace: a regular file of that name may be there and gives way at the commit; else it is refused. */
int32_t rz_cli_file_create(struct rz_cli_file *file, const char *path, bool replace, struct rz_err *err);
/* With replace. */
int32_t rz_cli_file_open(struct rz_cli_file *file, const char *path, struct rz_err *err);
int32_t rz_cli_file_write(struct rz_cli_file *file, const void *bytes, size_t n, struct rz_err *err);
/* Flushes, syncs and gives the file its name. */
int32_t rz_cli_file_commit(struct rz_cli_file *file, struct rz_err *err);
/* Removes what was not committed. */
void rz_cli_file_discard(struct rz_cli_file *file);

#endif
