/* config.c - config.json: the numbers of a model, and everything in it that changes the arithmetic.
 *
 * A value that rz does not implement is an error that names it; what is not named here (dropout,
 * initialisation, cache switches, versions) has no part in inference.
 */
#include "folder.h"

#include "err.h"
#include "nearest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NAME "config.json"
#define HEAD_MAX 65536u
#define COUNT_MAX 16777216.0 /* of layers, widths, heads, tokens: the host has narrower limits */
#define FACTOR_MAX 1e9
#define LAYERS_MAX 65536u
#define CONTEXT_ENDLESS (1u << 20) /* of a model whose memory does not grow */

/* Keys by which relatives of these families change the arithmetic, and the value that changes nothing
 * (beside absent and null). A family that has a use for one lists it among its own keys. */
static const struct {
    const char *key;
    enum {
        ABSENT,
        FALSE,
        ONE
    } neutral;
} neutral_keys[] = {
    {"quantization_config", ABSENT},
    {"compression_config", ABSENT},
    {"attn_logit_softcapping", ABSENT},
    {"final_logit_softcapping", ABSENT},
    {"query_pre_attn_scalar", ABSENT},
    {"attention_multiplier", ABSENT},
    {"clip_qkv", ABSENT},
    {"num_experts", ABSENT},
    {"num_local_experts", ABSENT},
    {"n_routed_experts", ABSENT},
    {"no_rope_layers", ABSENT},
    {"mlp_hidden_act", ABSENT},
    {"attention_chunk_size", ABSENT},
    {"attention_bias", FALSE},
    {"mlp_bias", FALSE},
    {"use_bias", FALSE},
    {"alibi", FALSE},
    {"parallel_residual", FALSE},
    {"use_parallel_residual", FALSE},
    {"use_qk_norm", FALSE},
    {"qk_layernorm", FALSE},
    {"rope_interleaved", FALSE},
    {"is_encoder_decoder", FALSE},
    {"add_cross_attention", FALSE},
    {"use_bidirectional_attention", FALSE},
    {"use_mrope", FALSE},
    {"use_cla", FALSE},
    {"embedding_multiplier", ONE},
    {"residual_multiplier", ONE},
    {"logits_scaling", ONE},
    {"logit_scale", ONE},
    {"scale_depth", ONE},
    {"scale_emb", ONE},
    {"partial_rotary_factor", ONE},
    {"rotary_pct", ONE},
};

bool rz_hf_absent(const json_t *value)
{
    return !value || json_is_null(value);
}

const json_t *rz_hf_get(const struct rz_hf_model *m, const char *key)
{
    const char *dot = strchr(key, '.');
    char first[64];
    if (!dot || (size_t)(dot - key) >= sizeof(first))
        return json_object_get(m->config, key);
    memcpy(first, key, (size_t)(dot - key));
    first[dot - key] = 0;
    return json_object_get(json_object_get(m->config, first), dot + 1);
}

/* The key as a place for an error: "config.json: rope_scaling.factor". */
static const char *place(char *buf, size_t cap, const char *where, const char *key)
{
    snprintf(buf, cap, "%s%s%s", where, strchr(where, ':') ? "." : ": ", key);
    return buf;
}

double rz_hf_number(struct rz_hf_model *m, const json_t *o, const char *where, const char *key, bool required,
                    double fallback, double lo, double hi)
{
    char at[160];
    const json_t *value = o == m->config ? rz_hf_get(m, key) : json_object_get(o, key);
    if (m->status)
        return fallback;
    if (rz_hf_absent(value)) {
        if (required)
            rz_hf_fail(m, RZ_EFORMAT, place(at, sizeof(at), where, key), "is missing");
        return fallback;
    }
    double number = json_number_value(value);
    if (!json_is_number(value))
        rz_hf_fail(m, RZ_EFORMAT, place(at, sizeof(at), where, key), "must be a number");
    else if (!(number >= lo && number <= hi))
        rz_hf_fail(m, RZ_EFORMAT, place(at, sizeof(at), where, key), "is %g, outside %g..%g", number, lo, hi);
    return m->status ? fallback : number;
}

uint32_t rz_hf_count(struct rz_hf_model *m, const char *key, bool required, uint32_t fallback)
{
    double value = rz_hf_number(m, m->config, FILE_NAME, key, required, fallback, 1, COUNT_MAX);
    char at[160];
    if (!m->status && value != floor(value))
        rz_hf_fail(m, RZ_EFORMAT, place(at, sizeof(at), FILE_NAME, key), "is %g, must be an integer", value);
    return (uint32_t)value;
}

/* The first of the names that is there; the first of all if none is. Ended by NULL. */
static const char *spelled(const struct rz_hf_model *m, const char *const *names)
{
    for (const char *const *name = names; *name; name++)
        if (!rz_hf_absent(json_object_get(m->config, *name)))
            return *name;
    return names[0];
}

bool rz_hf_truth(struct rz_hf_model *m, const char *key, bool fallback)
{
    const json_t *value = rz_hf_get(m, key);
    char at[160];
    if (rz_hf_absent(value))
        return fallback;
    if (!json_is_boolean(value))
        rz_hf_fail(m, RZ_EFORMAT, place(at, sizeof(at), FILE_NAME, key), "must be true or false");
    return json_is_true(value);
}

void rz_hf_refuse(struct rz_hf_model *m, const char *key)
{
    const json_t *value = rz_hf_get(m, key);
    char at[160], shown[100];
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    rz_hf_fail(m, RZ_EUNSUPPORTED, place(at, sizeof(at), FILE_NAME, key),
               "is %s, which this rz does not have in %s models",
               rz_show(shown, sizeof(shown), text ? text : "?", text ? strlen(text) : 1),
               m->c.family->model_type);
    free(text);
}

/* --- what changes the arithmetic --- */

static bool is_own(const struct rz_hf_family *f, const char *key)
{
    for (const struct rz_hf_key *k = f->keys; k && k->key; k++)
        if (!strcmp(k->key, key))
            return true;
    return f->rope == RZ_HF_ROPE_PART &&
           (!strcmp(key, "partial_rotary_factor") || !strcmp(key, "rotary_pct"));
}

static void check_neutral(struct rz_hf_model *m)
{
    for (size_t i = 0; i < sizeof(neutral_keys) / sizeof(neutral_keys[0]); i++) {
        const json_t *value = json_object_get(m->config, neutral_keys[i].key);
        bool fine =
            rz_hf_absent(value) || (neutral_keys[i].neutral == FALSE && json_is_false(value)) ||
            (neutral_keys[i].neutral == ONE && json_is_number(value) && json_number_value(value) == 1);
        if (!fine && !is_own(m->c.family, neutral_keys[i].key))
            rz_hf_refuse(m, neutral_keys[i].key);
    }
}

/* True, false or a number. */
static bool equals(const json_t *value, double number)
{
    if (json_is_boolean(value))
        return json_is_true(value) == (number != 0);
    return json_is_number(value) && json_number_value(value) == number;
}

static void read_key(struct rz_hf_model *m, const struct rz_hf_key *k)
{
    const json_t *value = rz_hf_get(m, k->key);
    if ((k->kind == RZ_HF_KEY_PUT || k->kind == RZ_HF_KEY_COUNT) && value && json_is_null(value))
        return;
    if (k->kind == RZ_HF_KEY_PUT) {
        double x = rz_hf_number(m, m->config, FILE_NAME, k->key, false, k->value, 0, FACTOR_MAX);
        if (x != 0)
            rz_hf_put_factor(m, k->name, x);
    } else if (k->kind == RZ_HF_KEY_COUNT) {
        uint32_t n = value && json_is_integer(value) && !json_integer_value(value)
                         ? 0
                         : rz_hf_count(m, k->key, false, (uint32_t)k->value);
        if (n)
            rz_hf_put_number(m, k->name, n);
    } else if (k->kind == RZ_HF_KEY_TRUTH) {
        if (!rz_hf_absent(value))
            rz_hf_put_truth(m, k->name, rz_hf_truth(m, k->key, false));
    } else if (k->kind == RZ_HF_KEY_SWITCH) {
        m->c.has |= rz_hf_truth(m, k->key, k->value != 0) ? k->on : k->off;
    } else if ((k->kind == RZ_HF_KEY_MUST && !rz_hf_absent(value) && !equals(value, k->value)) ||
               (k->kind == RZ_HF_KEY_NULL && !rz_hf_absent(value))) {
        rz_hf_refuse(m, k->key);
    }
}

static void read_keys(struct rz_hf_model *m)
{
    for (const struct rz_hf_key *k = m->c.family->keys; k && k->key && !m->status; k++)
        read_key(m, k);
}

static void check_activation(struct rz_hf_model *m)
{
    static const char *const keys[] = {"hidden_activation", "hidden_act", "activation_function", "activation",
                                       NULL};
    static const struct {
        const char *name, *others; /* what rz calls it; spellings, between spaces */
    } acts[] = {
        [RZ_HF_SILU] = {"silu", " silu swish swiglu "},
        [RZ_HF_GELU] = {"gelu", " gelu gelu_python "},
        [RZ_HF_GELU_TANH] = {"gelu_pytorch_tanh", " gelu_pytorch_tanh gelu_new gelu_fast gelu_python_tanh "},
        [RZ_HF_RELU2] = {"relu2", " relu2 "},
        [RZ_HF_XIELU] = {"xielu", " xielu "},
    };
    const char *key = spelled(m, keys), *act = json_string_value(json_object_get(m->config, key));
    char shown[60], padded[64], at[100];
    int n = snprintf(padded, sizeof(padded), " %s ", act ? act : "");
    if (rz_hf_absent(json_object_get(m->config, key)) ||
        (act && n > 2 && (size_t)n < sizeof(padded) && strstr(acts[m->c.family->act].others, padded)))
        return;
    rz_hf_fail(m, RZ_EUNSUPPORTED, place(at, sizeof(at), FILE_NAME, key),
               "is %s: this rz has %s in %s models",
               act ? rz_show(shown, sizeof(shown), act, strlen(act)) : "no string",
               acts[m->c.family->act].name, m->c.family->model_type);
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static void find_family(struct rz_hf_model *m)
{
    char shown[80];
    const char *type = text_of(m->config, "model_type");
    const char *kin = rz_nearest_kin(type, rz_hf_family_name, NULL);
    m->c.family = rz_hf_family_find(type);
    if (m->c.family)
        return;
    if (!*type)
        rz_hf_fail(m, RZ_EFORMAT, FILE_NAME ": model_type", "is missing: no language model");
    else
        rz_hf_fail(m, RZ_EUNSUPPORTED, FILE_NAME ": model_type",
                   "\"%s\" is a family that this rz cannot open as a folder%s%s",
                   rz_show(shown, sizeof(shown), type, strlen(type)),
                   kin ? "; the nearest that it can is " : "", kin ? kin : "");
}

/* The same number under the names that families give it. */
static const char *const layer_keys[] = {"num_hidden_layers", "n_layer", "n_layers", NULL};
static const char *const width_keys[] = {"hidden_size", "n_embd", "d_model", NULL};
static const char *const ff_keys[] = {"intermediate_size", "ffn_hidden_size", "n_inner", NULL};
static const char *const head_keys[] = {"num_attention_heads", "n_head", "n_heads", NULL};
static const char *const context_keys[] = {"max_position_embeddings", "n_positions", "max_seq_len",
                                           "seq_length", NULL};
static const char *const eps_keys[] = {"rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon",
                                       "norm_epsilon", "norm_eps",       NULL};

static void read_numbers(struct rz_hf_model *m)
{
    struct rz_hf_config *c = &m->c;
    size_t listed = json_array_size(rz_hf_get(m, "layers_block_type"));
    c->n_layer = rz_hf_count(m, spelled(m, layer_keys), !listed, listed ? (uint32_t)listed : 1);
    if (!m->status && c->n_layer > LAYERS_MAX)
        rz_hf_fail(m, RZ_ELIMIT, FILE_NAME ": num_hidden_layers", "is %u, at most %u", c->n_layer,
                   LAYERS_MAX);
    c->n_embd = rz_hf_count(m, spelled(m, width_keys), true, 1);
    bool own = c->family->wide || c->family->headless;
    c->n_ff = rz_hf_count(m, spelled(m, ff_keys), !own, 4 * c->n_embd);
    c->n_head = rz_hf_count(m, spelled(m, head_keys), !c->family->headless, 1);
    c->n_vocab = rz_hf_count(m, "vocab_size", true, 1);
    if (m->status)
        return;
    c->n_kv_head = rz_hf_count(m, "num_key_value_heads", false, c->n_head);
    c->head_dim = rz_hf_count(m, "head_dim", false, c->n_embd >= c->n_head ? c->n_embd / c->n_head : 1);
    c->n_ctx = rz_hf_count(m, spelled(m, context_keys), !own, c->family->headless ? CONTEXT_ENDLESS : 2048);
    c->norm_eps = rz_hf_number(m, m->config, FILE_NAME, spelled(m, eps_keys), false, c->family->eps, 0, 1);
    if (!rz_hf_truth(m, "tie_word_embeddings", c->family->tied))
        c->has |= RZ_HF_UNTIED;
    if (!m->status && c->family->adjust)
        c->family->adjust(m);
    if (!m->status && (c->head_dim < 2 || c->head_dim % 2 || c->head_dim > HEAD_MAX))
        rz_hf_fail(m, RZ_EFORMAT, FILE_NAME ": head_dim", "is %u: must be even, from 2 to %u", c->head_dim,
                   HEAD_MAX);
    if (!m->status && c->n_head % c->n_kv_head)
        rz_hf_fail(m, RZ_EFORMAT, FILE_NAME ": num_key_value_heads", "%u does not divide the %u query heads",
                   c->n_kv_head, c->n_head);
}

void rz_hf_put_number(struct rz_hf_model *m, const char *name, uint32_t value)
{
    char key[96];
    snprintf(key, sizeof(key), "%s.%s", m->c.family->arch, name);
    rz_hf_put_u32(m, key, value);
}

void rz_hf_put_factor(struct rz_hf_model *m, const char *name, double value)
{
    char key[96];
    snprintf(key, sizeof(key), "%s.%s", m->c.family->arch, name);
    rz_hf_put_f32(m, key, value);
}

void rz_hf_put_truth(struct rz_hf_model *m, const char *name, bool value)
{
    char key[96];
    snprintf(key, sizeof(key), "%s.%s", m->c.family->arch, name);
    rz_hf_put_bool(m, key, value);
}

/* The folder's own name is the model's. */
static void put_name(struct rz_hf_model *m)
{
    const char *path = rz_hf_source(m, 0)->path, *end = strrchr(path, '/');
    while (end && end > path && end[-1] == '/')
        end--;
    const char *begin = end;
    while (begin && begin > path && begin[-1] != '/')
        begin--;
    if (end && end > begin && *begin != '.')
        rz_hf_put_str(m, "general.name", begin, (size_t)(end - begin));
}

/* What most of the weights are, in the numbers of GGUF's general.file_type. */
static void put_file_type(struct rz_hf_model *m)
{
    const char *dtype = text_of(m->config, "torch_dtype");
    if (!*dtype)
        dtype = text_of(m->config, "dtype");
    if (!strcmp(dtype, "float32"))
        rz_hf_put_u32(m, "general.file_type", 0);
    else if (!strcmp(dtype, "float16"))
        rz_hf_put_u32(m, "general.file_type", 1);
    else if (!strcmp(dtype, "bfloat16"))
        rz_hf_put_u32(m, "general.file_type", 32);
}

static void put_general(struct rz_hf_model *m)
{
    const char *arch = m->c.family->arch;
    rz_hf_put_str(m, "general.architecture", arch, strlen(arch));
    rz_hf_put_str(m, "general.type", "model", 5);
    put_name(m);
    put_file_type(m);
}

static void put_heads(struct rz_hf_model *m)
{
    if (!(m->c.has & RZ_HF_KV_LAYERS))
        rz_hf_put_number(m, "attention.head_count_kv", m->c.n_kv_head);
    rz_hf_put_number(m, "attention.key_length", m->c.head_dim);
    rz_hf_put_number(m, "attention.value_length", m->c.head_dim);
}

static void put_numbers(struct rz_hf_model *m)
{
    const struct rz_hf_config *c = &m->c;
    rz_hf_put_number(m, "block_count", c->n_layer);
    rz_hf_put_number(m, "context_length", c->n_ctx);
    rz_hf_put_number(m, "embedding_length", c->n_embd);
    if (!(c->has & RZ_HF_FF_LAYERS))
        rz_hf_put_number(m, "feed_forward_length", c->family->headless ? 0 : c->n_ff);
    rz_hf_put_number(m, "attention.head_count", c->family->headless ? 0 : c->n_head);
    if (!c->family->headless)
        put_heads(m);
    rz_hf_put_number(m, "vocab_size", c->n_vocab);
    rz_hf_put_factor(
        m, c->family->layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
        c->norm_eps);
}

void rz_hf_read_config(struct rz_hf_model *m)
{
    if (!m->status)
        find_family(m);
    if (!m->status)
        put_general(m);
    if (!m->status)
        read_numbers(m);
    if (!m->status)
        check_neutral(m);
    if (!m->status)
        check_activation(m);
    if (m->status)
        return;
    put_numbers(m);
    read_keys(m);
    rz_hf_read_windows(m);
    rz_hf_read_pooling(m);
    if (m->c.family->rope != RZ_HF_ROPE_NONE)
        rz_hf_read_rope(m);
}
