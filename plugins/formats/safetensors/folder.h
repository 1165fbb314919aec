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
#define RZ_HF_Q_LATENT 0x40u  /* q through a latent vector                    */
#define RZ_HF_SHARED 0x80u    /* experts that all rows share                  */
#define RZ_HF_CHOICE 0x100u   /* a bias of the choice of experts              */
#define RZ_HF_MOE 0x200u      /* of a layer: it has experts                   */
#define RZ_HF_RECURS 0x400u   /* of a layer: it carries state                 */
#define RZ_HF_ATTENDS 0x800u  /* of a layer: it has attention                 */
#define RZ_HF_TYPES 0x1000u   /* a table of the kinds of texts                */
#define RZ_HF_LATER 0x2000u   /* of a layer: it is not the first              */

#define RZ_HF_FEEDS 0x4000u /* of a layer: it is a feed-forward half alone  */
#define RZ_HF_CONV_BIAS 0x8000u
#define RZ_HF_KV_LAYERS 0x10000u /* attention.head_count_kv is given, a layer at a time */
#define RZ_HF_PER_LAYER 0x40000u /* each layer mixes a vector of the token in */
#define RZ_HF_FF_LAYERS 0x20000u /* feed_forward_length likewise                        */

/* Factors that are multiplied into weights. */
#define RZ_HF_SCALE_EMBED 0
#define RZ_HF_SCALE_HEAD 1
#define RZ_HF_SCALE_IN 2
#define RZ_HF_SCALE_K 3
#define RZ_HF_SCALE_OUT 4
#define RZ_HF_SCALE_GATE 5
#define RZ_HF_SCALE_DOWN 6
#define RZ_HF_SCALE_SSM_OUT 7
#define RZ_HF_SCALES 8

/* The numbers of config.json, in the order in which they are checked. */
struct rz_hf_config {
    const struct rz_hf_family *family;
    uint32_t n_layer, n_embd, n_ff, n_head, n_kv_head, head_dim, n_vocab, n_ctx;
    double norm_eps, rope_base;
    uint32_t rope_dim;
    uint32_t has;                        /* RZ_HF_* */
    const float *rope_divisors;          /* rope_dim / 2 of them; NULL: none */
    const float *rope_short, *rope_long; /* the same of LongRoPE */
    uint32_t skip_rows;                  /* of the table of positions        */
    uint32_t n_expert, n_extra;          /* experts a layer; layers behind the last that are left out */
    uint32_t k_plain, v_dim;             /* of a head of latent attention: the key's part without rope */
    uint32_t inner, groups, state, heads, key_heads; /* of a recurrent layer */
    double scales[RZ_HF_SCALES], in_scales[5];       /* RZ_HF_SCALE_*; of z, x, B, C, dt */
    uint32_t *layer_has;                             /* RZ_HF_* of single layers; NULL: none */
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
    float *numbers; /* of the RZ_HF_NUMBER that is read */
    /* tensors as stored, of all files, and their names */
    struct rz_tensor *stored;
    uint64_t n_stored;
    size_t cap_stored;
    struct rz_map names;
    /* the tables to be */
    struct rz_meta *meta;
    uint64_t n_meta;
    size_t cap_meta;
    struct rz_tensor *tensors;
    uint64_t n_tensors;
    size_t cap_tensors;
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
/* The table of n elements, with room for one more unless m->status. */
void *rz_hf_more(struct rz_hf_model *m, void *table, uint64_t n, size_t *cap, size_t each);

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
void rz_hf_put_truth(struct rz_hf_model *m, const char *name, bool value);

/* --- families.c: one row for each model type --- */

#define RZ_HF_SILU 0
#define RZ_HF_GELU 1
#define RZ_HF_GELU_TANH 2
#define RZ_HF_RELU2 3
#define RZ_HF_XIELU 4

#define RZ_HF_ROPE_WHOLE 0
#define RZ_HF_ROPE_PART 1 /* of each head, as partial_rotary_factor says */
#define RZ_HF_ROPE_NONE 2
#define RZ_HF_ROPE_OWN 3 /* adjust sets rope_dim */

#define RZ_HF_WINDOW_NONE 0   /* sliding_window has no part in the family        */
#define RZ_HF_WINDOW_KEY 1    /* it counts                                       */
#define RZ_HF_WINDOW_SWITCH 2 /* it counts with use_sliding_window               */
#define RZ_HF_WINDOW_OWN 3    /* the family's adjust reads what there is         */

/* What a family makes of one key of config.json, beside the numbers that all have. */
#define RZ_HF_KEY_PUT 0    /* a number that becomes metadata; value: where the key is absent, 0 for nothing */
#define RZ_HF_KEY_SWITCH 1 /* a truth value (absent: `value`) that sets bits of rz_hf_config.has            */
#define RZ_HF_KEY_MUST 2   /* absent, or this number; a truth value counts as 0 or 1                        */
#define RZ_HF_KEY_NULL 3   /* absent or null                                                                */
#define RZ_HF_KEY_COUNT 5  /* as PUT, a whole number                                                        */
#define RZ_HF_KEY_TRUTH 6  /* a truth value that becomes metadata, if it is there                           */
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
    bool headless;           /* no attention, no feed-forward halves */
    bool no_prefix;          /* its tokenizer.model puts no space before a text */
    bool local_rope;         /* layers with a window have a rope of their own */
    double eps, theta, part; /* where config.json has none; theta 0: 10000, part 0: 1 */
    const char *base;        /* names of tensors may begin with this word and a dot; NULL: none          */
    const char *heads;       /* tensors of these names, or below them, are left out; with spaces around  */
};

/* encoders.c, mixtures.c, recurrent.c, gemma4.c: their rows, ended by model_type NULL; whether a tensor is of
 * a head that is left out; what 1_Pooling/config.json says. */
extern const struct rz_hf_family rz_hf_encoders[], rz_hf_mixtures[], rz_hf_recurrent[], rz_hf_gemma4[];
bool rz_hf_is_head(const struct rz_hf_family *f, const char *name);
void rz_hf_read_pooling(struct rz_hf_model *m);

const struct rz_hf_family *rz_hf_family_find(const char *model_type);
/* The known model types, i = 0.. until NULL; ctx is not used. */
const char *rz_hf_family_name(void *ctx, uint32_t i);

/* --- names.c: the tensors of each family --- */

/* How a weight is made of what is stored. */
#define RZ_HF_AS_IS 0
#define RZ_HF_PLUS_ONE 1   /* a norm that is stored minus one                                     */
#define RZ_HF_ROPE_Q 2     /* rows of query heads: pairs of halves become pairs of neighbours     */
#define RZ_HF_ROPE_K 3     /* the same: key heads                                                 */
#define RZ_HF_QKV 4        /* rows of q, k and v group by group become those of q, of k and of v  */
#define RZ_HF_TRANSPOSE 5  /* [in, out]                                                           */
#define RZ_HF_STACK_Q 6    /* one tensor a query head, its number the second %u: their rows       */
#define RZ_HF_STACK_K 7    /* the same: key heads                                                 */
#define RZ_HF_STACK_E 8    /* one tensor an expert, its number the second %u: a matrix of a stack */
#define RZ_HF_EXPERTS 9    /* rows of all experts: a stack                                        */
#define RZ_HF_EXPERTS_T 10 /* the same, each transposed                                           */
#define RZ_HF_GATE 11      /* of a stack with the rows of gate and up: the first half             */
#define RZ_HF_UP 12        /* and the second                                                      */
#define RZ_HF_GATE_T 13    /* of a stack of transposed ones, [in, gate and up]: the first half    */
#define RZ_HF_UP_T 14      /* and the second                                                      */
#define RZ_HF_EVEN_T 15    /* of a stack of transposed ones, [in, gate or up by turns]: gate      */
#define RZ_HF_SKIP_ROWS 16 /* without the first rz_hf_config.skip_rows rows                      */
#define RZ_HF_NUMBER 17    /* no tensor: its one element is the layer's in an array of metadata  */

#define RZ_HF_ODD_T 18    /* and up                                                              */
#define RZ_HF_EVEN 19     /* rows by turns of gate and up, of a vector a row: gate               */
#define RZ_HF_ODD 20      /* and up                                                              */
#define RZ_HF_FLAT 21     /* a vector, whatever its shape is                                     */
#define RZ_HF_LATENT_K 22 /* rows of latent attention's keys, transposed head by head            */
#define RZ_HF_CONV 24     /* a filter a channel, [channels, 1, taps]                             */
#define RZ_HF_DECAY 25    /* -exp of it                                                          */
#define RZ_HF_COLUMN 26   /* a vector as rows of one element                                     */
#define RZ_HF_DECAY_COLUMN 27
#define RZ_HF_BY_GROUP 28    /* a vector as rows, one a group                                       */
#define RZ_HF_ROWS_1 29      /* the first half of the rows                                          */
#define RZ_HF_ROWS_2 30      /* and the second                                                      */
#define RZ_HF_DELTA_QKV 31   /* rows of q, k, v and z by key head: q of all, k of all, v of all     */
#define RZ_HF_DELTA_Z 32     /* and z of all                                                        */
#define RZ_HF_STRIPED 33     /* rows of value heads: the first of each key head, then the second    */
#define RZ_HF_STRIPED_QKV 34 /* the same of the last part of the rows                             */
#define RZ_HF_STRIPED_CONV 35
#define RZ_HF_STRIPED_DECAY 36
#define RZ_HF_STRIPED_COLUMNS 37
#define RZ_HF_SCALE_PARTS 38 /* the parts of rows times rz_hf_config.in_scales                    */
#define RZ_HF_SCALE 40       /* + RZ_HF_SCALE_*: times that                                       */
#define RZ_HF_LATENT_V 23    /* and those of its values                                             */

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
    rz_hf_falcon[], rz_hf_mpt[], rz_hf_gptj[], rz_hf_norms_apertus[], rz_hf_xielu[], rz_hf_experts[],
    rz_hf_shared_expert[];

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
/* wordpiece.c: after the tokens are read */
void rz_hf_finish_wordpiece(struct rz_hf_model *m, struct rz_hf_vocab *v, const json_t *root);
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
