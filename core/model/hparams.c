/* hparams.c - a model's hyperparameters: read from metadata, checked before anything uses them.
 *
 * Invariant: what rz_hparams_read accepts can be multiplied and divided safely: every count is inside
 * its named limit, heads divide, no divisor is zero, floats are finite. A family gets a model without heads
 * only if it says RZ_H_NO_HEADS.
 */
#include "model.h"

#include "err.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Limits far above every published model, low enough that products fit 64 bits. */
#define LAYERS_MAX 1024
#define WIDTH_MAX (1u << 20)
#define HEADS_MAX 4096
#define EXPERTS_MAX 4096
#define VOCAB_MAX (1u << 24)
#define CONTEXT_MAX (1u << 27)
#define TAPS_MAX 64
#define POOL_RANK 4 /* of pooling_type: models that judge pairs of texts */

struct reader {
    const struct rz_format_model *m;
    const char *arch;
    struct rz_err *err;
    int32_t status;
};

static const char *key_of(struct reader *r, char *key, size_t cap, const char *name)
{
    snprintf(key, cap, "%s.%s", r->arch, name);
    return key;
}

static void need_u32(struct reader *r, const char *name, uint32_t lo, uint32_t hi, uint32_t *out)
{
    char key[96];
    if (r->status)
        return;
    r->status = rz_meta_u32(r->m, key_of(r, key, sizeof(key), name), out, r->err);
    if (r->status == RZ_ENOTFOUND)
        rz_fail(r->err, r->status = RZ_EFORMAT, key, "is missing from the model's metadata");
    else if (!r->status && (*out < lo || *out > hi))
        r->status = rz_fail(r->err, RZ_EFORMAT, key, "is %u, outside %u..%u", *out, lo, hi);
}

static void want_u32(struct reader *r, const char *name, uint32_t lo, uint32_t hi, uint32_t fallback,
                     uint32_t *out)
{
    char key[96];
    *out = fallback;
    if (!r->status && rz_meta_find(r->m, key_of(r, key, sizeof(key), name)))
        need_u32(r, name, lo, hi, out);
}

static void want_f64(struct reader *r, const char *name, double lo, double hi, double fallback, double *out)
{
    char key[96];
    *out = fallback;
    if (r->status)
        return;
    int32_t status = rz_meta_f64(r->m, key_of(r, key, sizeof(key), name), out, r->err);
    if (status == RZ_ENOTFOUND)
        return;
    r->status = status;
    if (!status && !(*out >= lo && *out <= hi))
        r->status = rz_fail(r->err, RZ_EFORMAT, key, "is %g, outside %g..%g", *out, lo, hi);
}

/* What only some families apply. A value of 0, or of 1 for factors, changes nothing. */
static const struct {
    const char *name;
    uint64_t bit;
    size_t at;
    double hi, neutral;
} particulars[] = {
    {"attn_logit_softcapping", RZ_H_ATTN_SOFTCAP, offsetof(struct rz_hparams, attn_softcap), 1e6, 0},
    {"final_logit_softcapping", RZ_H_FINAL_SOFTCAP, offsetof(struct rz_hparams, final_softcap), 1e6, 0},
    {"attention.scale", RZ_H_ATTN_SCALE, offsetof(struct rz_hparams, attn_scale), 1e6, 0},
    {"attention.clamp_kqv", RZ_H_CLAMP, offsetof(struct rz_hparams, clamp_kqv), 1e9, 0},
    {"attention.max_alibi_bias", RZ_H_ALIBI, offsetof(struct rz_hparams, max_alibi_bias), 1e6, 0},
    {"embedding_scale", RZ_H_EMBED_SCALE, offsetof(struct rz_hparams, embed_scale), 1e6, 1},
    {"residual_scale", RZ_H_RESIDUAL_SCALE, offsetof(struct rz_hparams, residual_scale), 1e6, 1},
    {"logit_scale", RZ_H_LOGIT_SCALE, offsetof(struct rz_hparams, logit_scale), 1e6, 1},
    {"attention.temperature_scale", RZ_H_TEMPERATURE, offsetof(struct rz_hparams, temperature_scale), 1e6, 0},
    {"rope.scaling.yarn_log_multiplier", RZ_H_LATENT, offsetof(struct rz_hparams, yarn_log_mul), 1e3, 0},
    {"rope.freq_base_swa", RZ_H_BASE_SWA, offsetof(struct rz_hparams, rope_base_swa), 1e12, 0},
};

/* The same for counts; 0 stands for a key that is absent. */
static const struct {
    const char *name;
    uint64_t bit; /* 0: means something only beside another */
    size_t at;
    uint32_t hi;
} counts[] = {
    {"attention.sliding_window", RZ_H_WINDOW, offsetof(struct rz_hparams, window), CONTEXT_MAX},
    {"attention.shared_kv_layers", RZ_H_SHARED_KV, offsetof(struct rz_hparams, shared_kv), LAYERS_MAX},
    {"embedding_length_per_layer_input", RZ_H_PER_LAYER, offsetof(struct rz_hparams, embd_per_layer),
     WIDTH_MAX},
    {"attention.chunk_size", RZ_H_CHUNK, offsetof(struct rz_hparams, chunk), CONTEXT_MAX},
    {"attention.temperature_length", RZ_H_TEMPERATURE, offsetof(struct rz_hparams, temperature_step),
     CONTEXT_MAX},
    {"attention.q_lora_rank", RZ_H_LATENT, offsetof(struct rz_hparams, q_latent), WIDTH_MAX},
    {"attention.kv_lora_rank", RZ_H_LATENT, offsetof(struct rz_hparams, kv_latent), WIDTH_MAX / 16},
    {"attention.key_length_mla", RZ_H_LATENT, offsetof(struct rz_hparams, k_mla), WIDTH_MAX / 16},
    {"attention.value_length_mla", RZ_H_LATENT, offsetof(struct rz_hparams, v_mla), WIDTH_MAX / 16},
    {"expert_count", RZ_H_EXPERTS, offsetof(struct rz_hparams, n_expert), EXPERTS_MAX},
    {"expert_used_count", 0, offsetof(struct rz_hparams, n_expert_used), EXPERTS_MAX},
    {"expert_shared_count", 0, offsetof(struct rz_hparams, n_expert_shared), EXPERTS_MAX},
    {"expert_feed_forward_length", 0, offsetof(struct rz_hparams, n_ff_exp), WIDTH_MAX},
    {"expert_shared_feed_forward_length", 0, offsetof(struct rz_hparams, n_ff_shexp), WIDTH_MAX},
    {"expert_group_count", 0, offsetof(struct rz_hparams, n_group), EXPERTS_MAX},
    {"expert_group_used_count", 0, offsetof(struct rz_hparams, n_group_used), EXPERTS_MAX},
    {"expert_gating_func", 0, offsetof(struct rz_hparams, gating), UINT32_MAX},
};

static void want_bool(struct reader *r, const char *name, bool *out)
{
    char key[96];
    if (!r->status && rz_meta_find(r->m, key_of(r, key, sizeof(key), name)))
        r->status = rz_meta_bool(r->m, key, out, r->err);
}

static void read_particulars(struct reader *r, struct rz_hparams *h)
{
    char key[96];
    bool parallel = false, causal = true;
    for (size_t i = 0; i < sizeof(particulars) / sizeof(particulars[0]) && !r->status; i++) {
        double *out = (double *)(void *)((char *)h + particulars[i].at);
        want_f64(r, particulars[i].name, 0, particulars[i].hi, particulars[i].neutral, out);
        if (*out == 0)
            *out = particulars[i].neutral;
        if (*out != particulars[i].neutral)
            h->set |= particulars[i].bit;
    }
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]) && !r->status; i++) {
        uint32_t *out = (uint32_t *)(void *)((char *)h + counts[i].at);
        want_u32(r, counts[i].name, 0, counts[i].hi, 0, out);
        h->set |= *out ? counts[i].bit : 0;
    }
    want_bool(r, "use_parallel_residual", &parallel);
    h->set |= parallel ? RZ_H_PARALLEL : 0;
    want_u32(r, "pooling_type", 0, POOL_RANK, 0, &h->pooling);
    if (!r->status && h->pooling == POOL_RANK)
        r->status =
            rz_fail(r->err, RZ_EUNSUPPORTED, key_of(r, key, sizeof(key), "pooling_type"),
                    "is %d: a model that ranks pairs of texts, which this rz does not have", POOL_RANK);
    want_bool(r, "attention.causal", &causal);
    h->set |= causal ? 0 : RZ_H_BIDIRECTIONAL;
    want_f64(r, "expert_weights_scale", 0, 1e6, 1, &h->expert_scale);
    want_bool(r, "expert_weights_norm", &h->expert_norm);
    if (rz_meta_find(r->m, key_of(r, key, sizeof(key), "expert_weights_norm")))
        h->set |= RZ_H_EXPERT_NORM;
}

static void read_activation(struct reader *r, struct rz_hparams *h)
{
    static const struct {
        const char *name;
        uint32_t act;
    } known[] = {{"silu", RZ_ACT_SILU},
                 {"gelu", RZ_ACT_GELU},
                 {"gelu_new", RZ_ACT_GELU_TANH},
                 {"gelu_pytorch_tanh", RZ_ACT_GELU_TANH},
                 {"relu2", RZ_ACT_RELU2}};
    char key[96], shown[64];
    struct rz_str name;
    if (r->status || !rz_meta_find(r->m, key_of(r, key, sizeof(key), "hidden_activation")))
        return;
    r->status = rz_meta_str(r->m, key, &name, r->err);
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]) && !r->status; i++)
        if (strlen(known[i].name) == name.len && !memcmp(known[i].name, name.data, name.len)) {
            h->act = known[i].act;
            h->set |= RZ_H_ACT;
            return;
        }
    if (!r->status)
        r->status = rz_fail(r->err, RZ_EUNSUPPORTED, key, "is \"%s\", which this rz does not have",
                            rz_show(shown, sizeof(shown), name.data, name.len));
}

/* Which layers have the window: an array of booleans, one a layer. */
static void read_pattern(struct reader *r, struct rz_hparams *h)
{
    char key[96];
    if (r->status)
        return;
    const struct rz_meta *e =
        rz_meta_find(r->m, key_of(r, key, sizeof(key), "attention.sliding_window_pattern"));
    if (!e)
        return;
    if (e->type != RZ_META_ARRAY) {
        want_u32(r, "attention.sliding_window_pattern", 0, LAYERS_MAX, 0, &h->window_every);
        h->set |= h->window_every ? RZ_H_EVERY : 0;
        return;
    }
    if (e->elem_type != RZ_META_BOOL || e->n < h->n_layer) {
        r->status =
            rz_fail(r->err, RZ_EUNSUPPORTED, key, "is not an array of %u booleans, one a layer", h->n_layer);
        return;
    }
    for (uint32_t i = 0; i < h->n_layer; i++)
        h->windowed[i / 64] |= (uint64_t)(((const uint8_t *)e->data)[i] != 0) << i % 64;
    h->set |= RZ_H_PATTERN;
}

/* A count of heads or feed-forward rows; layers may have none. */
static void need_layers(struct reader *r, const char *name, uint32_t n_layer, uint32_t hi, uint64_t *some,
                        uint32_t *out)
{
    char key[96];
    if (r->status)
        return;
    r->status = rz_meta_layers(r->m, key_of(r, key, sizeof(key), name), n_layer, some, out, r->err);
    if (r->status == RZ_ENOTFOUND)
        rz_fail(r->err, r->status = RZ_EFORMAT, key, "is missing from the model's metadata");
    else if (!r->status && *out > hi)
        r->status = rz_fail(r->err, RZ_EFORMAT, key, "is %u, outside 0..%u", *out, hi);
}

/* Which of the layers are in the set: RZ_OK all, RZ_AGAIN some, RZ_ENOTFOUND none. */
static int32_t how_many(const uint64_t *set, uint32_t n_layer)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_layer; i++)
        n += rz_layer_in(set, i);
    return n == n_layer ? RZ_OK : n ? RZ_AGAIN : RZ_ENOTFOUND;
}

/* Which layers attend: said by a list, by every how many do, or by those that have keys. */
static void read_attending(struct reader *r, struct rz_hparams *h)
{
    char key[96];
    uint32_t every = 0;
    if (r->status)
        return;
    const struct rz_meta *e = rz_meta_find(r->m, key_of(r, key, sizeof(key), "attention.recurrent_layers"));
    if (e && (e->type != RZ_META_ARRAY || e->elem_type != RZ_META_BOOL || e->n < h->n_layer)) {
        r->status =
            rz_fail(r->err, RZ_EUNSUPPORTED, key, "is not an array of %u booleans, one a layer", h->n_layer);
        return;
    }
    want_u32(r, "full_attention_interval", 1, LAYERS_MAX, 0, &every);
    for (uint32_t i = 0; i < h->n_layer && (e || every); i++) {
        bool recurrent = e ? ((const uint8_t *)e->data)[i] : (i + 1) % every != 0;
        if (recurrent)
            h->attends[i / 64] &= ~(1ull << i % 64);
    }
}

static void read_halves(struct reader *r, struct rz_hparams *h)
{
    uint64_t all[RZ_LAYER_WORDS] = {0};
    char key[96];
    need_layers(r, "feed_forward_length", h->n_layer, WIDTH_MAX, h->feeds, &h->n_ff);
    need_u32(r, "attention.head_count", 0, HEADS_MAX, &h->n_head);
    h->n_kv_head = h->n_head;
    for (uint32_t i = 0; i < h->n_layer; i++)
        all[i / 64] |= (uint64_t)(h->n_head != 0) << i % 64;
    if (!r->status && rz_meta_find(r->m, key_of(r, key, sizeof(key), "attention.head_count_kv")))
        need_layers(r, "attention.head_count_kv", h->n_layer, h->n_head, h->attends, &h->n_kv_head);
    else
        memcpy(h->attends, all, sizeof(all));
    read_attending(r, h);
    int32_t heads = how_many(h->attends, h->n_layer), ffn = how_many(h->feeds, h->n_layer);
    h->set |= heads == RZ_AGAIN ? RZ_H_SOME_HEADS : heads ? RZ_H_NO_HEADS : 0;
    h->set |= ffn == RZ_AGAIN ? RZ_H_SOME_FFN : ffn ? RZ_H_NO_FFN : 0;
    if (heads == RZ_ENOTFOUND)
        h->n_head = h->n_kv_head = 0;
}

static void read_recurrence(struct reader *r, struct rz_hparams *h)
{
    want_u32(r, "ssm.conv_kernel", 1, TAPS_MAX, 0, &h->ssm.taps);
    want_u32(r, "ssm.inner_size", 1, WIDTH_MAX, 0, &h->ssm.inner);
    want_u32(r, "ssm.state_size", 1, WIDTH_MAX, 0, &h->ssm.state);
    want_u32(r, "ssm.time_step_rank", 1, WIDTH_MAX, 0, &h->ssm.rank);
    want_u32(r, "ssm.group_count", 1, WIDTH_MAX, 1, &h->ssm.groups);
    want_u32(r, "shortconv.l_cache", 1, TAPS_MAX, 0, &h->ssm.short_taps);
    bool rope = true;
    want_bool(r, "ssm.dt_b_c_rms", &h->ssm.norms);
    want_f64(r, "ssm.dt_b_c_rms_epsilon", 0, 1, 0, &h->ssm.norms_eps);
    want_bool(r, "rope.scaling.finetuned", &rope); /* Granite's way to say whether there is rope at all */
    h->no_rope = !rope;
}

uint32_t rz_hparams_window(const struct rz_hparams *h, uint32_t layer, bool by_rule)
{
    bool on = h->set & RZ_H_PATTERN ? rz_layer_in(h->windowed, layer) : by_rule;
    return on ? h->window : 0;
}

int32_t rz_hparams_uses(const struct rz_hparams *h, uint64_t uses, struct rz_err *err)
{
    static const struct {
        const char *name;
        uint64_t bit;
    } others[] = {{"attention.sliding_window_pattern", RZ_H_PATTERN | RZ_H_EVERY},
                  {"use_parallel_residual", RZ_H_PARALLEL},
                  {"attention.causal", RZ_H_BIDIRECTIONAL},
                  {"hidden_activation", RZ_H_ACT},
                  {"attention.key_length_swa", RZ_H_DIM_SWA},
                  {"attention.head_count or attention.head_count_kv of 0", RZ_H_NO_HEADS},
                  {"attention.head_count_kv of 0 in some layers", RZ_H_SOME_HEADS},
                  {"feed_forward_length of 0", RZ_H_NO_FFN},
                  {"feed_forward_length of 0 in some layers", RZ_H_SOME_FFN}};
    const char *name = NULL;
    for (size_t i = 0; i < sizeof(particulars) / sizeof(particulars[0]); i++)
        if (h->set & ~uses & particulars[i].bit &&
            *(const double *)(const void *)((const char *)h + particulars[i].at) != particulars[i].neutral)
            name = particulars[i].name;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        if (h->set & ~uses & counts[i].bit &&
            *(const uint32_t *)(const void *)((const char *)h + counts[i].at))
            name = counts[i].name;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (h->set & ~uses & others[i].bit)
            name = others[i].name;
    return name ? rz_fail(err, RZ_EUNSUPPORTED, name,
                          "is set, and changes the result, but this rz does not apply it to \"%s\"", h->arch)
                : RZ_OK;
}

static void read_scaling(struct reader *r, struct rz_hparams *h)
{
    char key[96], shown[64];
    bool truncate = true;
    struct rz_str type = {"none", 4};
    want_f64(r, "rope.scale_linear", 1e-6, 1e6, 1, &h->scaling_factor); /* the older key */
    h->scaling = h->scaling_factor != 1 ? RZ_SCALING_LINEAR : RZ_SCALING_NONE;
    if (r->status)
        return;
    int32_t status = rz_meta_str(r->m, key_of(r, key, sizeof(key), "rope.scaling.type"), &type, r->err);
    if (status != RZ_OK && status != RZ_ENOTFOUND)
        r->status = status;
    want_f64(r, "rope.scaling.factor", 1e-6, 1e6, h->scaling_factor, &h->scaling_factor);
    want_f64(r, "rope.scaling.attn_factor", 1e-6, 1e6, 1, &h->scaling_attn_factor);
    double both = 0;
    want_f64(r, "rope.scaling.attn_factor", 1e-6, 1e6, 0, &both);
    want_f64(r, "rope.scaling.attn_factor_short", 1e-6, 1e6, both, &h->scaling_magnitude[0]);
    want_f64(r, "rope.scaling.attn_factor_long", 1e-6, 1e6, both, &h->scaling_magnitude[1]);
    want_u32(r, "rope.scaling.original_context_length", 1, CONTEXT_MAX, 0, &h->scaling_context);
    want_f64(r, "rope.scaling.yarn_beta_fast", 1e-3, 1e6, 32, &h->yarn_beta_fast);
    want_f64(r, "rope.scaling.yarn_beta_slow", 1e-3, 1e6, 1, &h->yarn_beta_slow);
    want_bool(r, "rope.scaling.yarn_truncate", &truncate);
    h->yarn_exact = !truncate;
    if (r->status || status == RZ_ENOTFOUND)
        return;
    if (type.len == 6 && !memcmp(type.data, "linear", 6))
        h->scaling = RZ_SCALING_LINEAR;
    else if (type.len == 4 && !memcmp(type.data, "yarn", 4))
        h->scaling = RZ_SCALING_YARN;
    else if (type.len == 7 && !memcmp(type.data, "dynamic", 7))
        h->scaling = RZ_SCALING_DYNAMIC;
    else if ((type.len == 4 && !memcmp(type.data, "none", 4)) ||
             (type.len == 8 && !memcmp(type.data, "longrope", 8))) /* its tensors say it */
        h->scaling = RZ_SCALING_NONE;
    else
        r->status = rz_fail(r->err, RZ_EUNSUPPORTED, key,
                            "is \"%s\": this rz has none, linear, dynamic, yarn, longrope",
                            rz_show(shown, sizeof(shown), type.data, type.len));
}

/* Relations between the numbers. */
static int32_t check(const struct rz_hparams *h, struct rz_err *err)
{
    if (h->n_kv_head && h->n_head % h->n_kv_head)
        return rz_fail(err, RZ_EFORMAT, "attention.head_count_kv", "%u does not divide the %u query heads",
                       h->n_kv_head, h->n_head);
    if (h->rope_dim_swa % 2 || h->rope_dim_swa > h->head_dim_swa)
        return rz_fail(err, RZ_EFORMAT, "rope.dimension_count_swa",
                       "is %u: must be even and at most the head's %u", h->rope_dim_swa, h->head_dim_swa);
    if (h->rope_dim % 2 || h->rope_dim > h->head_dim)
        return rz_fail(err, RZ_EFORMAT, "rope.dimension_count",
                       "is %u: must be even and at most the head's %u", h->rope_dim, h->head_dim);
    if (h->set & RZ_H_EXPERTS && (!h->n_expert_used || h->n_expert_used > h->n_expert))
        return rz_fail(err, RZ_EFORMAT, "expert_used_count", "is %u, must be 1 to expert_count, %u",
                       h->n_expert_used, h->n_expert);
    if (h->n_group > 1 && (h->n_expert % h->n_group || !h->n_group_used || h->n_group_used > h->n_group ||
                           h->n_expert / h->n_group * h->n_group_used < h->n_expert_used))
        return rz_fail(err, RZ_EFORMAT, "expert_group_count",
                       "%u groups, %u used: do not fit %u experts of which %u are used", h->n_group,
                       h->n_group_used, h->n_expert, h->n_expert_used);
    if (h->scaling == RZ_SCALING_YARN && !h->scaling_context)
        return rz_fail(err, RZ_EFORMAT, "rope.scaling.original_context_length", "is missing, yarn needs it");
    return RZ_OK;
}

static uint32_t vocab_size(const struct rz_format_model *m)
{
    const struct rz_meta *e = rz_meta_find(m, "tokenizer.ggml.tokens");
    return e && e->type == RZ_META_ARRAY && e->n <= VOCAB_MAX ? (uint32_t)e->n : 0;
}

int32_t rz_hparams_read(const struct rz_format_model *m, struct rz_hparams *h, struct rz_err *err)
{
    struct rz_str arch;
    *h = (struct rz_hparams){0};
    int32_t status = rz_meta_str(m, "general.architecture", &arch, err);
    if (status == RZ_ENOTFOUND)
        return rz_fail(err, RZ_EFORMAT, "general.architecture", "is missing: not a language model");
    if (status)
        return status;
    rz_show(h->arch, sizeof(h->arch), arch.data, arch.len);
    struct reader r = {m, h->arch, err, RZ_OK};
    need_u32(&r, "block_count", 1, LAYERS_MAX, &h->n_layer);
    need_u32(&r, "embedding_length", 1, WIDTH_MAX, &h->n_embd);
    if (r.status)
        return r.status;
    read_halves(&r, h);
    if (r.status)
        return r.status;
    want_u32(&r, "attention.key_length", 1, WIDTH_MAX / 16, h->n_head ? h->n_embd / h->n_head : 0,
             &h->head_dim);
    want_u32(&r, "rope.dimension_count", 2, WIDTH_MAX / 16, h->head_dim, &h->rope_dim);
    want_u32(&r, "context_length", 1, CONTEXT_MAX, 2048, &h->n_ctx_train);
    want_u32(&r, "vocab_size", 1, VOCAB_MAX, vocab_size(m), &h->n_vocab);
    want_f64(&r, "attention.layer_norm_rms_epsilon", 0, 1, -1, &h->norm_eps);
    want_f64(&r, "attention.layer_norm_epsilon", 0, 1, h->norm_eps < 0 ? 1e-5 : h->norm_eps,
             &h->layer_norm_eps);
    if (h->norm_eps < 0)
        h->norm_eps = h->layer_norm_eps;
    want_f64(&r, "rope.freq_base", 1e-3, 1e12, 10000, &h->rope_base);
    want_u32(&r, "attention.value_length", 1, WIDTH_MAX / 16, h->head_dim, &h->v_dim);
    uint32_t v_dim_swa = 0;
    want_u32(&r, "attention.key_length_swa", 1, WIDTH_MAX / 16, h->head_dim, &h->head_dim_swa);
    want_u32(&r, "attention.value_length_swa", 1, WIDTH_MAX / 16, h->head_dim_swa, &v_dim_swa);
    want_u32(&r, "rope.dimension_count_swa", 2, WIDTH_MAX / 16, h->rope_dim, &h->rope_dim_swa);
    h->set |= h->head_dim_swa != h->head_dim || h->rope_dim_swa != h->rope_dim ? RZ_H_DIM_SWA : 0;
    uint32_t ahead = 0; /* layers at the end that only foretell further tokens */
    want_u32(&r, "nextn_predict_layers", 0, h->n_layer - 1, 0, &ahead);
    h->n_layer -= ahead;
    read_scaling(&r, h);
    read_particulars(&r, h);
    read_activation(&r, h);
    read_pattern(&r, h);
    read_recurrence(&r, h);
    if (r.status)
        return r.status;
    if (!h->n_vocab)
        return rz_fail(err, RZ_EFORMAT, "tokenizer.ggml.tokens",
                       "is missing: the vocabulary's size is unknown");
    if ((h->n_head && !h->head_dim) || (h->v_dim != h->head_dim && !(h->set & RZ_H_LATENT)) ||
        v_dim_swa != h->head_dim_swa)
        return rz_fail(err, RZ_EFORMAT, "attention.key_length",
                       "%u and value_length %u: must be equal and above 0", h->head_dim, h->v_dim);
    return check(h, err);
}
