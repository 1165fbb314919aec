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

/* What decides which tensors a model has; some bits hold for all of it, some for single layers. */
#define RZ_HF_UNTIED 1u
#define RZ_HF_BIAS 2u         /* on q, k and v                                */
#define RZ_HF_OUT_BIAS 4u     /* on the projection after attention            */
#define RZ_HF_MLP_BIAS 8u     /* in the feed-forward half                     */
#define RZ_HF_QK_NORM 0x10u   /* norms of q and k                             */
#define RZ_HF_TWO_NORMS 0x20u /* a norm for each of the halves                */

/* The numbers of config.json, in the order in which they are checked. */
struct rz_hf_config {
    const struct rz_hf_family *family;
    uint32_t n_layer, n_embd, n_ff, n_head, n_kv_head, head_dim, n_vocab, n_ctx;
    double norm_eps, rope_base;
    uint32_t rope_dim;
    uint32_t has;               /* RZ_HF_* */
    const float *rope_divisors; /* rope_dim / 2 of them; NULL: none */
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

/* --- config.c, window.c, rope.c: config.json --- */

/* Reads and checks config.json into m->c, and adds its metadata. */
void rz_hf_read_config(struct rz_hf_model *m);
/* Which layers see only a window of what is before them. */
void rz_hf_read_windows(struct rz_hf_model *m);
/* The rotary embedding. */
void rz_hf_read_rope(struct rz_hf_model *m);
/* A value of config.json, "key" or "object.key"; NULL: absent. */
const json_t *rz_hf_get(const struct rz_hf_model *m, const char *key);
/* True for what is absent or null. */
bool rz_hf_absent(const json_t *value);
bool rz_hf_truth(struct rz_hf_model *m, const char *key, bool fallback);
/* A number of an object; where: the file and object, for the error. fallback applies to absent and null. */
double rz_hf_number(struct rz_hf_model *m, const json_t *o, const char *where, const char *key, bool required,
                    double fallback, double lo, double hi);
/* The same of config.json itself, a whole number from 1 on. */
uint32_t rz_hf_count(struct rz_hf_model *m, const char *key, bool required, uint32_t fallback);
/* The error that a value of config.json has no equal in rz. */
void rz_hf_refuse(struct rz_hf_model *m, const char *key);
/* Metadata ARCH.NAME. */
void rz_hf_put_number(struct rz_hf_model *m, const char *name, uint32_t value);
void rz_hf_put_factor(struct rz_hf_model *m, const char *name, double value);

/* --- families.c: one row for each model type --- */

#define RZ_HF_SILU 0
#define RZ_HF_GELU 1
#define RZ_HF_GELU_TANH 2
#define RZ_HF_RELU2 3

#define RZ_HF_ROPE_WHOLE 0
#define RZ_HF_ROPE_PART 1 /* of each head, as partial_rotary_factor says */
#define RZ_HF_ROPE_NONE 2

#define RZ_HF_WINDOW_NONE 0   /* sliding_window has no part in the family        */
#define RZ_HF_WINDOW_KEY 1    /* it counts                                       */
#define RZ_HF_WINDOW_SWITCH 2 /* it counts with use_sliding_window               */

/* What a family makes of one key of config.json, beside the numbers that all have. */
#define RZ_HF_KEY_PUT 0    /* a number that becomes metadata; value: where the key is absent, 0 for nothing */
#define RZ_HF_KEY_SWITCH 1 /* a truth value (absent: `value`) that sets bits of rz_hf_config.has            */
#define RZ_HF_KEY_MUST 2   /* absent, or this number; a truth value counts as 0 or 1                        */
#define RZ_HF_KEY_NULL 3   /* absent or null                                                                */
#define RZ_HF_KEY_TAKEN 4  /* read elsewhere: no relative's key that must be neutral                        */

struct rz_hf_key {
    const char *key;
    uint32_t kind;
    const char *name; /* of the metadata entry, without the architecture */
    double value;
    uint32_t on, off; /* RZ_HF_* that a switch sets */
};

#define RZ_HF_GROUPS 6

struct rz_hf_spec;
struct rz_hf_family {
    const char *model_type, *arch;                /* of config.json; of the metadata */
    const struct rz_hf_spec *names[RZ_HF_GROUPS]; /* the groups of tensors that its models have */
    const struct rz_hf_key *keys;                 /* ended by key NULL; NULL: none */
    void (*adjust)(struct rz_hf_model *m);        /* after the numbers are read; NULL: nothing to do */
    uint32_t act, rope, window;                   /* RZ_HF_SILU ..., RZ_HF_ROPE_*, RZ_HF_WINDOW_* */
    uint32_t every;                               /* each of these layers has no window; 0: all have it */
    bool tied;                                    /* where tie_word_embeddings is absent */
    bool wide;               /* the feed-forward width may be absent: four times the model's */
    bool layer_norm;         /* norms subtract the mean */
    bool no_prefix;          /* its tokenizer.model puts no space before a text */
    bool local_rope;         /* layers with a window have a rope of their own */
    double eps, theta, part; /* where config.json has none; theta 0: 10000, part 0: 1 */
};

const struct rz_hf_family *rz_hf_family_find(const char *model_type);
/* The known model types, for messages. */
const char *rz_hf_family_list(char *buf, size_t cap);

/* --- names.c: the tensors of each family --- */

/* How a weight is made of what is stored. */
#define RZ_HF_AS_IS 0
#define RZ_HF_PLUS_ONE 1  /* a norm that is stored minus one                                     */
#define RZ_HF_ROPE_Q 2    /* rows of query heads: pairs of halves become pairs of neighbours     */
#define RZ_HF_ROPE_K 3    /* the same: key heads                                                 */
#define RZ_HF_QKV 4       /* rows of q, k and v group by group become those of q, of k and of v  */
#define RZ_HF_TRANSPOSE 5 /* [in, out]                                                           */
#define RZ_HF_STACK_Q 6   /* one tensor a query head, its number the second %u: their rows       */
#define RZ_HF_STACK_K 7   /* the same: key heads                                                 */

struct rz_hf_spec {
    const char *stored, *name; /* with %u for the layer */
    uint32_t form;             /* RZ_HF_AS_IS ... */
    uint32_t need, without;    /* RZ_HF_*: only where all of these hold, and none of those */
};

/* Groups, each ended by stored NULL. */
extern const struct rz_hf_spec rz_hf_ends[], rz_hf_ends_plus[], rz_hf_qkv[], rz_hf_qkv_rope[],
    rz_hf_qk_norm[], rz_hf_glu[], rz_hf_glu_fused[], rz_hf_up_down[], rz_hf_norms[], rz_hf_norms_plus[],
    rz_hf_norm_biases[], rz_hf_norms_after[], rz_hf_norms_seed[], rz_hf_norms_glm4[], rz_hf_norms_gemma2[],
    rz_hf_norm_cohere[], rz_hf_qk_norm_hunyuan[], rz_hf_qk_norm_gemma[], rz_hf_stablelm[], rz_hf_starcoder2[],
    rz_hf_olmo[], rz_hf_phi[], rz_hf_phi3[], rz_hf_gpt2[], rz_hf_bigcode[], rz_hf_neox[], rz_hf_bloom[],
    rz_hf_falcon[], rz_hf_mpt[];

/* --- tensors.c --- */

/* Makes the model's tensors of those that are stored. */
void rz_hf_map_tensors(struct rz_hf_model *m);

/* --- tokens.c, tokenizer.c, spm.c, special.c: the vocabulary --- */

struct rz_hf_vocab {
    uint32_t n, cap;          /* n: the highest id and 1; cap: rows of the embedding */
    struct rz_str *text;      /* data = NULL: no token has this id */
    int32_t *type;            /* RZ_TOKEN_*                        */
    float *score;             /* NULL: the kind has none           */
    int32_t *flags;           /* how added tokens are looked for   */
    bool spm;                 /* SentencePiece-like, else byte-level          */
    int32_t add_bos, add_eos; /* from a post-processor; -1: it says nothing */
    const char *first, *last; /* texts that the post-processor puts there; NULL: none */
};

/* Reads whichever tokenizer file there is and adds the tokenizer's metadata. */
void rz_hf_read_tokenizer(struct rz_hf_model *m);
void rz_hf_read_tokenizer_json(struct rz_hf_model *m, struct rz_hf_vocab *v);
void rz_hf_read_vocab_json(struct rz_hf_model *m, struct rz_hf_vocab *v);
void rz_hf_read_spm(struct rz_hf_model *m, struct rz_hf_vocab *v, const struct rz_source *s);
/* Puts a token at its id; the text must outlive the model. Of two texts for one id the later wins where
 * replace is true. */
void rz_hf_token(struct rz_hf_model *m, struct rz_hf_vocab *v, const char *where, int64_t id,
                 struct rz_str text, int32_t type, bool replace);
bool rz_hf_find_token(const struct rz_hf_vocab *v, const char *text, uint32_t *id);
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
