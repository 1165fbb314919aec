/* folder.h - what the files of this plugin share: the model being read, its errors, its tables.
 *
 * Errors are sticky: the first one fills the caller's struct rz_err and m->status, after it the functions
 * here do nothing. Everything that outlives open stands in the model's arena or in the mapped files; what
 * was parsed from JSON is dropped when open returns.
 */
#ifndef RZ_SAFETENSORS_FOLDER_H
#define RZ_SAFETENSORS_FOLDER_H

#include "arena.h"
#include "map.h"

#include <jansson.h>
#include <rz/format.h>
#include <stdbool.h>

struct rz_hf_family;

/* The numbers of config.json, in the order in which they are checked. */
struct rz_hf_config {
    const struct rz_hf_family *family;
    uint32_t n_layer, n_embd, n_ff, n_head, n_kv_head, head_dim, n_vocab, n_ctx;
    double norm_eps, rope_base;
    bool tied, attn_bias, mlp_bias;
    const float *rope_divisors; /* head_dim / 2 of them; NULL: none */
};

struct rz_hf_model {
    struct rz_format_model base; /* first: what the host sees */
    struct rz_arena arena;
    struct rz_format_limits limits;
    struct rz_err *err;
    int32_t status;
    const char *sources; /* stride bytes apart */
    uint32_t n_sources, stride;
    json_t *config, *tokenizer_config; /* of the files; NULL: there is none */
    struct rz_hf_config c;
    /* tensors as stored, of all files, and their names */
    struct rz_tensor *stored;
    uint64_t n_stored, cap_stored;
    struct rz_map names;
    /* the tables to be */
    struct rz_meta *meta;
    uint64_t n_meta, cap_meta;
    struct rz_tensor *tensors;
    uint64_t n_tensors, cap_tensors;
};

/* --- model.c: files, errors, memory, metadata --- */

/* Fills the error with this place unless there is one already; returns m->status. */
int32_t rz_hf_fail(struct rz_hf_model *m, int32_t code, const char *where, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The source at index i, or the one whose file has that name (NULL: there is none). */
const struct rz_source *rz_hf_source(const struct rz_hf_model *m, uint32_t i);
const struct rz_source *rz_hf_file(const struct rz_hf_model *m, const char *name);
/* The last part of a source's path. */
const char *rz_hf_name(const struct rz_source *s);
/* A JSON object that a file holds; NULL without an error: there is no such file. */
json_t *rz_hf_json(struct rz_hf_model *m, const char *name);
/* Zeroed memory of the model; NULL (and the error is set): there is none. */
void *rz_hf_array(struct rz_hf_model *m, uint64_t n, size_t each);
struct rz_str rz_hf_copy(struct rz_hf_model *m, const char *s, size_t n);
/* Room for one more element of a growing table in the arena. */
bool rz_hf_room(struct rz_hf_model *m, void **table, uint64_t n, uint64_t *cap, size_t each);

/* Metadata: an entry of that key; strings are copied, arrays are borrowed (of the arena). */
void rz_hf_put_str(struct rz_hf_model *m, const char *key, const char *s, size_t n);
void rz_hf_put_u32(struct rz_hf_model *m, const char *key, uint32_t value);
void rz_hf_put_f32(struct rz_hf_model *m, const char *key, double value);
void rz_hf_put_bool(struct rz_hf_model *m, const char *key, bool value);
void rz_hf_put_array(struct rz_hf_model *m, const char *key, uint32_t type, const void *data, uint64_t n);

/* --- header.c: one safetensors file --- */

/* Adds the tensors of a file to m->stored, under their own names. */
void rz_hf_read_header(struct rz_hf_model *m, const struct rz_source *s);
/* Indexes m->stored by name. */
void rz_hf_index_names(struct rz_hf_model *m);

/* --- config.c, rope.c: config.json --- */

/* Reads and checks config.json into m->c, and adds its metadata. */
void rz_hf_read_config(struct rz_hf_model *m);
/* The rotary embedding's part of it. arch: prefix of the keys. */
void rz_hf_read_rope(struct rz_hf_model *m, const char *arch);
/* A number of an object; where: the file and object, for the error. fallback applies to absent and null. */
double rz_hf_number(struct rz_hf_model *m, const json_t *o, const char *where, const char *key, bool required,
                    double fallback, double lo, double hi);

/* --- families.c: names of tensors --- */

struct rz_hf_spec;
struct rz_hf_family {
    const char *model_type, *arch; /* of config.json; of the metadata */
    const struct rz_hf_spec *specs;
    uint32_t n_specs;
    bool attn_bias_key; /* config.json may say attention_bias and mlp_bias */
    bool window;        /* sliding_window counts unless use_sliding_window says no */
};

const struct rz_hf_family *rz_hf_family_find(const char *model_type);
/* The known model types, for messages. */
const char *rz_hf_family_list(char *buf, size_t cap);
/* Makes the model's tensors of those that are stored. */
void rz_hf_map_tensors(struct rz_hf_model *m);

/* --- tokens.c, tokenizer.c, spm.c, special.c: the vocabulary --- */

struct rz_hf_vocab {
    uint32_t n, cap;     /* n: the highest id and 1; cap: rows of the embedding */
    struct rz_str *text; /* data = NULL: no token has this id */
    int32_t *type;       /* RZ_TOKEN_*                        */
    float *score;        /* NULL: the kind has none           */
    int32_t *flags;      /* how added tokens are looked for   */
    struct rz_map ids;
    bool spm;                 /* SentencePiece-like, else byte-level          */
    int32_t add_bos, add_eos; /* from a post-processor; -1: it says nothing */
    const char *first, *last; /* texts that the post-processor puts there; NULL: none */
};

/* Reads whichever tokenizer file there is and adds the tokenizer's metadata. */
void rz_hf_read_tokenizer(struct rz_hf_model *m);
void rz_hf_read_tokenizer_json(struct rz_hf_model *m, struct rz_hf_vocab *v, json_t *root);
void rz_hf_read_vocab_json(struct rz_hf_model *m, struct rz_hf_vocab *v, json_t *vocab);
void rz_hf_read_spm(struct rz_hf_model *m, struct rz_hf_vocab *v, const struct rz_source *s);
/* Puts a token at its id. Of two texts for one id the later wins where replace is true. */
void rz_hf_token(struct rz_hf_model *m, struct rz_hf_vocab *v, const char *where, int64_t id,
                 const char *text, size_t len, int32_t type, bool replace);
/* The kind of a token that was added to a vocabulary: some look special without saying so. */
int32_t rz_hf_added_kind(const char *text, bool special);
#define RZ_HF_NORMALIZED 8
#define RZ_HF_IN_MODEL 16
/* Keeps what an added token (an object of the file) says about how it is looked for; id < v->n. */
void rz_hf_added_flags(struct rz_hf_vocab *v, int64_t id, const json_t *token);
/* The name of the rule that cuts words (tokenizer.ggml.pre) for a pre_tokenizer; what none is known for
 * comes back as its description. */
const char *rz_hf_pre(struct rz_hf_model *m, const json_t *pre_tokenizer, bool ignore_merges);
/* The ids of special tokens, what stands at the ends of a prompt, chat templates. */
void rz_hf_read_special(struct rz_hf_model *m, const struct rz_hf_vocab *v);

#endif
