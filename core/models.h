/* models.h - one open model and the set of them; models.c and model_open.c share this. */
#ifndef RZ_MODELS_H
#define RZ_MODELS_H

#include "buf.h"
#include "core.h"
#include "engine.h"
#include "exec.h"
#include "model.h"
#include "spec.h"

#include <pthread.h>

struct rz_overrides;

/* A model as far as it was asked to be opened; members of later levels are NULL. */
struct rz_model {
    struct rz_models *owner;
    char *name, *path; /* name: of its section, or the path */
    char *section;     /* "model.NAME"; NULL: it has none   */
    uint32_t level;    /* RZ_MODEL_* */
    uint64_t bytes;    /* that its plan takes, or will take once it is finished */
    struct rz_model
        *base; /* whose files, tables and program these are, too; it outlives this. NULL: none's */
    double load_seconds;
    /* RZ_MODEL_META */
    struct rz_source_set set;
    const struct rz_format *format;
    void *format_self;
    struct rz_format_model *file_tables;  /* the format's                                  */
    struct rz_overrides *overrides;       /* NULL: there are none                          */
    const struct rz_format_model *tables; /* what all others read: the file's, overridden */
    struct rz_hparams h;                  /* zero if the file is no model that rz runs */
    bool has_hparams;
    char shown_arch[64], shown_name[128];
    /* RZ_MODEL_TOKENIZER */
    const struct rz_tokenizer *tokenizer;
    void *tok;
    const char *chat_template; /* configured, in place of the model's own; NULL: none. Of the settings. */
    /* RZ_MODEL_RUN */
    struct rz_graph *graph;
    char *identity;                 /* of the files, for the repack cache; NULL: not asked for */
    struct rz_cpu *cpu;             /* NULL: another device runs it */
    const struct rz_device *device; /* of cpu, or of a plugin       */
    uint32_t *nodes, n_nodes;       /* of the program, that the device has claimed */
    char device_name[64];
    struct rz_plan *plan;
    struct rz_plan_limits limits;
    struct rz_loop *loop;
    double checked; /* when the files were looked at last; of the stepping thread */
    bool guesses;   /* the loop is to guess ahead, in the mode speculate (RZ_SPECULATE_*) */
    uint32_t speculate;
    struct rz_model *draft;         /* guesses for the loop; NULL: none */
    const struct rz_eval *observer; /* whose input() is called, while it runs */
};

#define RZ_DEVICES_OUT_MAX 16

struct rz_models {
    struct rz_settings *settings;
    struct rz_registry *registry;
    uint32_t n_threads;
    struct rz_pool *pool; /* made for the first model that runs */
    struct rz_cpu_table *tables;
    uint32_t n_tables;
    pthread_mutex_t
        build; /* one at a time opens a device, or compiles: also the loop of a model whose failed */
    char out[RZ_DEVICES_OUT_MAX][64]; /* devices that failed: no model is given to them */
    uint32_t n_out;
    struct rz_host_model table;
    struct rz_served *served; /* NULL: nothing is */
    _Atomic bool stop;        /* the program ends: models that are being opened are given up */
};

/* A model by path or configured name. */
struct rz_model_name {
    char text[256];                    /* of its section, or made from the path */
    const char *name, *path, *section; /* section: "model.NAME", or NULL */
};
int32_t rz_models_find(const struct rz_models *m, const char *name, struct rz_model_name *out,
                       struct rz_err *err);
/* That a model guesses ahead. base: its draft model, where that is open already; it outlives the model. */
struct rz_model_guessing {
    struct rz_model *base;
};
/* Opens a model for the level in options, but takes no memory for a plan yet: rz_model_bytes says how much
 * that will be. guessing: NULL: it does not guess ahead. */
int32_t rz_model_prepare(struct rz_models *m, const struct rz_model_name *found,
                         const struct rz_model_options *options, const struct rz_model_guessing *guessing,
                         struct rz_model **out, struct rz_err *err);
/* The same for a second engine with pages of its own over a model that is open with RZ_MODEL_RUN. */
int32_t rz_model_prepare_beside(struct rz_model *base, const struct rz_model_options *options,
                                struct rz_model **out, struct rz_err *err);
/* Takes the memory: the plan and the engine, and those of its draft model. */
int32_t rz_model_finish(struct rz_model *model, struct rz_err *err);
/* With its draft model. */
uint64_t rz_model_bytes(const struct rz_model *model);
void rz_model_close(struct rz_model *model);
/* model_draft.c: chooses and prepares the draft model of a prepared model. */
int32_t rz_model_draft(struct rz_model *model, const char *section, const struct rz_model_guessing *guessing,
                       struct rz_err *err);
/* The engine of a finished model guesses ahead, as configured. */
int32_t rz_model_speculate(struct rz_model *model, struct rz_err *err);
/* The section of the other model that it guesses with, in out; NULL: there is none, or it has no section. */
const char *rz_model_draft_section(const struct rz_models *m, const char *section, struct rz_model_name *out);
/* overrides.c: makes model->tables of model->file_tables. */
int32_t rz_model_override(struct rz_model *model, const char *section, struct rz_err *err);
void rz_overrides_free(struct rz_overrides *o);
/* Each setting that is in use, for people. */
void rz_overrides_each(const struct rz_overrides *o, void (*line)(void *arg, const char *text), void *arg);
/* The pool, made by the first who asks. */
/* engine.kv_type, an RZ_TYPE_*; RZ_TYPE_NONE: auto */
int32_t rz_models_kv_type(const struct rz_models *m);
int32_t rz_models_team(struct rz_models *m, struct rz_err *err);
/* rz_host_model.info */
int32_t rz_model_info(struct rz_model *model, struct rz_model_info *out);
/* The default sampling of all models. */
void rz_models_sampling(const struct rz_models *m, struct rz_sampling *out);
/* rz_host_model.describe: describe.c */
int32_t rz_model_describe(struct rz_model *model, void (*line)(void *arg, const char *name, const char *text),
                          void *arg);
/* template.c: the prompt of a conversation (rz_host_model.render has the words about templ and json). marks,
 * unless NULL, gets a struct rz_span for each stretch of text that the conversation gave. */
int32_t rz_model_prompt(const struct rz_model *model, const char *templ, const char *json, uint64_t n,
                        struct rz_buf *text, struct rz_buf *marks, struct rz_err *err);
/* rz_host_model.render */
int32_t rz_model_render(struct rz_model *model, const char *templ, const char *json, uint64_t n,
                        void (*emit)(void *arg, const char *text, uint64_t n), void *arg, struct rz_err *err);
/* model_identity.c: for sessions. */
int32_t rz_model_identity(struct rz_model *model, uint64_t out[2], struct rz_err *err);
/* explain.c: who runs what, a line at a time; the weight bytes that the plan reads for one token. */
int32_t rz_model_explain(const struct rz_model *model, void (*line)(void *arg, const char *text), void *arg);
uint64_t rz_model_bytes_token(const struct rz_model *model);
/* devices.c: model->device, ready to compile. section: "model.NAME" or NULL. */
int32_t rz_model_device(struct rz_models *m, struct rz_model *model, const char *section,
                        const struct rz_model_options *o, struct rz_err *err);
/* No model is given to this device any more. The caller holds m->build. */
void rz_models_take_out(struct rz_models *m, const char *name);
/* model_open.c: device, limits and plan of a model whose program is there. */
int32_t rz_model_plan(struct rz_model *model, uint32_t context, const struct rz_model_options *o,
                      struct rz_err *err);
/* model_replace.c: rz_engine_setup.replace */
int32_t rz_model_replace(void *model, const struct rz_err *why, struct rz_engine_setup *setup,
                         struct rz_err *err);
/* Gives the pages of weights back that the plan has copied. */
void rz_model_forget_weights(struct rz_model *model);
/* The pool and kernel tables that all models share. */
int32_t rz_models_compute(struct rz_models *m, struct rz_err *err);
void rz_models_forget_tables(struct rz_models *m);

#endif
