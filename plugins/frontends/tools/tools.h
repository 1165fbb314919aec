/* tools.h - what the files of the model tools share: metadata lists, the writer of GGUF files, which tensor
 * gets which type, and the job that turns one model file into another.
 *
 * A command reads a model's tables through rz.host.model/1, decides the type of each tensor of the new file,
 * and lets the job stream them. Nothing here is called from more than one thread at a time.
 */
#ifndef RZ_TOOLS_H
#define RZ_TOOLS_H

#include "../common/command.h"
#include "arena.h"
#include "map.h"

/* --- meta.c: a list of metadata entries that can be changed --- */

struct rz_tools_meta {
    struct rz_arena arena; /* of what was added; the copied entries point into the model */
    struct rz_meta *items;
    uint64_t n, room;
};

/* The entries of the tables, in their order, with space for `more`. */
int32_t rz_tools_meta_init(struct rz_tools_meta *list, const struct rz_format_model *tables, uint64_t more,
                           struct rz_err *err);
void rz_tools_meta_free(struct rz_tools_meta *list);
const struct rz_meta *rz_tools_meta_find(const struct rz_tools_meta *list, const char *key);
/* An integer, or the first one of an array; false: there is no such. */
bool rz_tools_meta_u32(const struct rz_tools_meta *list, const char *key, uint32_t *out);
/* The text of an entry, or "". */
struct rz_str rz_tools_meta_str(const struct rz_tools_meta *list, const char *key);
/* Replace the entry where it stands, or add it at the end. Strings are copied. */
int32_t rz_tools_meta_set_u32(struct rz_tools_meta *list, const char *key, uint32_t value,
                              struct rz_err *err);
int32_t rz_tools_meta_set_str(struct rz_tools_meta *list, const char *key, struct rz_str value,
                              struct rz_err *err);
int32_t rz_tools_meta_set_strings(struct rz_tools_meta *list, const char *key, const struct rz_str *values,
                                  uint64_t n, struct rz_err *err);
/* Takes out every key that begins with prefix. */
void rz_tools_meta_drop(struct rz_tools_meta *list, const char *prefix);

/* --- gguf.c: writes GGUF version 3 --- */

struct rz_tools_gguf {
    struct rz_cli_file file;
    uint64_t at; /* bytes written */
    uint32_t align;
    int32_t code; /* the first failure; later writes do nothing */
    struct rz_err *err;
};

/* Writes everything before the data; sets offset and bytes of each tensor from its type and dims. The data
 * follow in the same order, each ended by rz_tools_gguf_pad. */
int32_t rz_tools_gguf_head(struct rz_tools_gguf *g, const struct rz_tools_meta *meta,
                           struct rz_tensor *tensors, uint64_t n);
int32_t rz_tools_gguf_write(struct rz_tools_gguf *g, const void *bytes, uint64_t n);
int32_t rz_tools_gguf_pad(struct rz_tools_gguf *g);

/* --- mix.c: which tensor of a model gets which type --- */

struct rz_tools_mix {
    const char *name; /* "Q4_K_M" */
    uint32_t file_type;
    int32_t base; /* RZ_TYPE_* of a tensor that no rule names */
};

/* NULL: no such type or mix. Upper and lower case are the same. */
const struct rz_tools_mix *rz_tools_mix_find(const char *name);
/* All names, in the order of the help. */
const struct rz_tools_mix *rz_tools_mix_at(uint32_t i);

struct rz_tools_choice {
    const struct rz_tools_mix *mix;
    const struct rz_tools_meta *meta;
    int32_t output_type, embedding_type; /* RZ_TYPE_NONE: as the mix says       */
    bool pure;                           /* no rules, the base type everywhere  */
    bool importance;                     /* there is an importance matrix       */
};

/* Writes the type of each of the n tensors to types; *fallbacks: how many got another one than wished for
 * because their rows are no whole number of blocks. */
int32_t rz_tools_mix_types(const struct rz_tools_choice *c, const struct rz_tensor *tensors, uint64_t n,
                           int32_t *types, uint64_t *fallbacks, struct rz_err *err);
/* Is it a matrix that may be stored with fewer bits? Vectors, norms and small tables are not. */
bool rz_tools_may_shrink(const struct rz_tensor *t);
/* The embedding or the output matrix. */
bool rz_tools_is_vocabulary(const struct rz_tensor *t);
/* The type nearest to `type` that rows of cols elements can have. */
int32_t rz_tools_fitting(int32_t type, uint64_t cols);

/* --- importance.c: reads what `rz imatrix` writes --- */

struct rz_tools_importance {
    const struct rz_host_model *api;
    struct rz_model *model;
    const struct rz_format_model *tables;
    struct rz_map names; /* of weights -> index of NAME.in_sum2 */
    uint64_t n;
    const char *path;
};

int32_t rz_tools_importance_open(struct rz_tools_importance *w, const struct rz_cli *cli, const char *path,
                                 struct rz_err *err);
void rz_tools_importance_close(struct rz_tools_importance *w);
/* The mean square of each column of a weight's input, [matrices, cols], the caller frees it; NULL:
 * the file has none of this weight. A wrong size or a damaged value is an error. */
int32_t rz_tools_importance_get(const struct rz_tools_importance *w, const struct rz_tensor *t, float **out,
                                struct rz_err *err);

/* --- recode.c: one tensor into the file, on the thread team --- */

/* How far a long work is, for people: a bar where stderr is a terminal. */
struct rz_tools_progress {
    bool bar;
    uint64_t total, done;
    int64_t shown_ms;
    const char *unit; /* NULL: bytes */
};

void rz_tools_progress_start(struct rz_tools_progress *p, uint64_t total, const char *unit, bool quiet);
void rz_tools_progress_add(struct rz_tools_progress *p, uint64_t n);
void rz_tools_progress_end(struct rz_tools_progress *p);

struct rz_tools_recode {
    const struct rz_host_threads *threads;
    struct rz_tools_gguf *out;
    struct rz_tools_progress *progress;
    float *floats; /* of a slab of rows */
    uint8_t *raw, *encoded;
};

int32_t rz_tools_recode_init(struct rz_tools_recode *r, struct rz_err *err);
void rz_tools_recode_free(struct rz_tools_recode *r);
/* Writes the tensor, stored as t->type at data (t->bytes bytes), as type `to`. importance: [matrices, cols]
 * or NULL. */
int32_t rz_tools_recode_tensor(struct rz_tools_recode *r, const struct rz_tensor *t, const void *data,
                               int32_t to, const float *importance, struct rz_err *err);

/* --- job.c: a model file into another one --- */

struct rz_tools_job {
    const char *command;
    const char *in, *out;
    bool replace, verbose, quiet, json;
    bool dry; /* only tells what the file would be */
    /* set by rz_tools_job_open */
    struct rz_cli_model model;
    struct rz_tools_meta meta;
    const struct rz_format_model *tables;
    struct rz_tensor *from, *to; /* as read (after its transform), as written */
    uint64_t n;
    int32_t *types;
    /* set by the command */
    const struct rz_tools_importance *importance; /* or NULL */
    const char *what;                             /* "Q4_K_M", for the closing line */
    uint64_t bytes;                               /* of the new file, once it is written */
};

int32_t rz_tools_job_open(struct rz_tools_job *job, const struct rz_cli *cli, struct rz_err *err);
/* Writes the file with the types that job->types says, and tells stdout what it made. */
int32_t rz_tools_job_run(struct rz_tools_job *job, struct rz_err *err);
void rz_tools_job_close(struct rz_tools_job *job);
/* One line to the host's log. */
void rz_tools_warn(const struct rz_cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- the commands --- */

int32_t rz_tools_quantize(void *self, uint32_t flags, int32_t argc, const char *const *argv,
                          struct rz_err *err);
int32_t rz_tools_convert(void *self, uint32_t flags, int32_t argc, const char *const *argv,
                         struct rz_err *err);
int32_t rz_tools_imatrix(void *self, uint32_t flags, int32_t argc, const char *const *argv,
                         struct rz_err *err);

#endif
