/* families.c - the tensors of each family: their names in a folder, in the program, and how they differ.
 *
 * A family is one row and one table of specs. A folder must hold exactly the tensors that its config.json
 * asks for: what is missing and what is left over is an error that names it.
 */
#include "folder.h"

#include "err.h"
#include "numeric.h"

#include <stdio.h>
#include <string.h>

/* spec flags */
#define LAYER 1u      /* one per layer: %u in both names    */
#define ROPE_Q 2u     /* rows of rotary heads: query heads  */
#define ROPE_K 4u     /* the same: key heads                */
#define UNTIED 8u     /* only if the embedding is not tied  */
#define ATTN_BIAS 16u /* only with attention_bias           */
#define MLP_BIAS 32u  /* only with mlp_bias                 */

struct rz_hf_spec {
    const char *stored, *name;
    uint32_t flags;
};

#define STORED_LAYER "model.layers.%u."
#define LAYER_OF(stored, name, flags) \
    { \
        STORED_LAYER stored, "blk.%u." name, LAYER | (flags) \
    }

#define ENDS \
    {"model.embed_tokens.weight", "token_embd.weight", 0}, {"model.norm.weight", "output_norm.weight", 0}, \
    { \
        "lm_head.weight", "output.weight", UNTIED \
    }
#define MATRICES(rope_q, rope_k) \
    LAYER_OF("input_layernorm.weight", "attn_norm.weight", 0), \
        LAYER_OF("self_attn.q_proj.weight", "attn_q.weight", rope_q), \
        LAYER_OF("self_attn.k_proj.weight", "attn_k.weight", rope_k), \
        LAYER_OF("self_attn.v_proj.weight", "attn_v.weight", 0), \
        LAYER_OF("self_attn.o_proj.weight", "attn_output.weight", 0), \
        LAYER_OF("post_attention_layernorm.weight", "ffn_norm.weight", 0), \
        LAYER_OF("mlp.gate_proj.weight", "ffn_gate.weight", 0), \
        LAYER_OF("mlp.up_proj.weight", "ffn_up.weight", 0), \
        LAYER_OF("mlp.down_proj.weight", "ffn_down.weight", 0)

/* Rotary pairs are halves in every folder; the program of llama has neighbours. */
static const struct rz_hf_spec llama[] = {
    ENDS,
    MATRICES(ROPE_Q, ROPE_K),
    LAYER_OF("self_attn.q_proj.bias", "attn_q.bias", ATTN_BIAS | ROPE_Q),
    LAYER_OF("self_attn.k_proj.bias", "attn_k.bias", ATTN_BIAS | ROPE_K),
    LAYER_OF("self_attn.v_proj.bias", "attn_v.bias", ATTN_BIAS),
    LAYER_OF("self_attn.o_proj.bias", "attn_output.bias", ATTN_BIAS),
    LAYER_OF("mlp.gate_proj.bias", "ffn_gate.bias", MLP_BIAS),
    LAYER_OF("mlp.up_proj.bias", "ffn_up.bias", MLP_BIAS),
    LAYER_OF("mlp.down_proj.bias", "ffn_down.bias", MLP_BIAS),
};

static const struct rz_hf_spec qwen2[] = {
    ENDS,
    MATRICES(0, 0),
    LAYER_OF("self_attn.q_proj.bias", "attn_q.bias", 0),
    LAYER_OF("self_attn.k_proj.bias", "attn_k.bias", 0),
    LAYER_OF("self_attn.v_proj.bias", "attn_v.bias", 0),
};

#define SPECS(table) (table), sizeof(table) / sizeof((table)[0])

static const struct rz_hf_family families[] = {
    {"llama", "llama", SPECS(llama), .attn_bias_key = true},
    {"mistral", "llama", SPECS(llama), .window = true},
    {"qwen2", "qwen2", SPECS(qwen2), .window = false},
};

#define N_FAMILIES (sizeof(families) / sizeof(families[0]))

const struct rz_hf_family *rz_hf_family_find(const char *model_type)
{
    for (size_t i = 0; i < N_FAMILIES; i++)
        if (!strcmp(families[i].model_type, model_type))
            return &families[i];
    return NULL;
}

const char *rz_hf_family_list(char *buf, size_t cap)
{
    size_t used = 0;
    buf[0] = 0;
    for (size_t i = 0; i < N_FAMILIES && used < cap; i++)
        used += (size_t)snprintf(buf + used, cap - used, "%s%s", i ? ", " : "", families[i].model_type);
    return buf;
}

/* --- making tensors --- */

static void spell(char *buf, size_t cap, const char *format, uint32_t layer)
{
    const char *at = strstr(format, "%u");
    if (at)
        snprintf(buf, cap, "%.*s%u%s", (int)(at - format), format, layer, at + 2);
    else
        snprintf(buf, cap, "%s", format);
}

static bool wanted(const struct rz_hf_model *m, uint32_t flags)
{
    const struct rz_hf_config *c = &m->c;
    return !((flags & UNTIED && c->tied) || (flags & ATTN_BIAS && !c->attn_bias) ||
             (flags & MLP_BIAS && !c->mlp_bias));
}

static void add(struct rz_hf_model *m, struct rz_tensor t)
{
    if (rz_hf_room(m, (void **)&m->tensors, m->n_tensors, &m->cap_tensors, sizeof(*m->tensors)))
        m->tensors[m->n_tensors++] = t;
}

static void map_one(struct rz_hf_model *m, const struct rz_hf_spec *spec, uint32_t layer, uint8_t *used)
{
    char stored[128], name[128], where[160];
    uint32_t i;
    spell(stored, sizeof(stored), spec->stored, layer);
    spell(name, sizeof(name), spec->name, layer);
    if (!rz_map_get(&m->names, stored, strlen(stored), &i)) {
        snprintf(where, sizeof(where), "tensor %s", stored);
        rz_hf_fail(m, RZ_EFORMAT, where, "is missing (config.json has a %s model of %u layers%s)",
                   m->c.family->model_type, m->c.n_layer,
                   spec->flags & UNTIED                   ? ", not tied"
                   : spec->flags & (ATTN_BIAS | MLP_BIAS) ? " with biases"
                                                          : "");
        return;
    }
    struct rz_tensor t = m->stored[i];
    if (t.type != RZ_TYPE_F32 && t.type != RZ_TYPE_BF16 && t.type != RZ_TYPE_F16 && t.type != RZ_TYPE_F64) {
        snprintf(where, sizeof(where), "tensor %s", stored);
        rz_hf_fail(m, RZ_EUNSUPPORTED, where,
                   "its elements are %s: a folder's weights must be BF16, F16, F32 or F64",
                   rz_type_info(t.type)->name);
        return;
    }
    used[i] = 1;
    t.name = rz_hf_copy(m, name, strlen(name));
    if (spec->flags & (ROPE_Q | ROPE_K)) {
        t.transform |= RZ_TRANSFORM_ROPE_ROWS;
        t.heads = spec->flags & ROPE_Q ? m->c.n_head : m->c.n_kv_head;
    }
    if (t.n_dims == 1 && t.type != RZ_TYPE_F32)
        t.transform |= RZ_TRANSFORM_TO_F32;
    add(m, t);
}

static void add_divisors(struct rz_hf_model *m)
{
    uint32_t half = m->c.head_dim / 2;
    if (!m->c.rope_divisors)
        return;
    struct rz_tensor t = {.size = sizeof(t),
                          .type = RZ_TYPE_F32,
                          .n_dims = 1,
                          .dims = {half, 1, 1, 1},
                          .bytes = (uint64_t)half * sizeof(float),
                          .name = rz_hf_copy(m, "rope_freqs.weight", 17),
                          .data = m->c.rope_divisors};
    add(m, t);
}

/* Tensors that carry nothing: tables that older programs stored, a head that is the embedding again. */
static bool ignorable(const struct rz_hf_model *m, const char *name)
{
    static const char tail[] = ".rotary_emb.inv_freq";
    size_t n = strlen(name), len = sizeof(tail) - 1;
    return (n > len && !strcmp(name + n - len, tail)) || (m->c.tied && !strcmp(name, "lm_head.weight"));
}

static void check_rest(struct rz_hf_model *m, const uint8_t *used)
{
    char where[160], shown[120];
    for (uint64_t i = 0; i < m->n_stored && !m->status; i++) {
        const char *name = m->stored[i].name.data;
        if (used[i] || ignorable(m, name))
            continue;
        snprintf(where, sizeof(where), "tensor %s", rz_show(shown, sizeof(shown), name, strlen(name)));
        rz_hf_fail(m, RZ_EUNSUPPORTED, where, "is none that a %s model with this config.json has",
                   m->c.family->model_type);
    }
}

/* The vocabulary's size sizes tables later on, so a file must stand behind it. */
static void check_embedding(struct rz_hf_model *m)
{
    for (uint64_t i = 0; i < m->n_tensors && !m->status; i++) {
        const struct rz_tensor *t = &m->tensors[i];
        if (!strcmp(t->name.data, "token_embd.weight") && t->dims[1] != m->c.n_vocab)
            rz_hf_fail(m, RZ_EFORMAT, "config.json: vocab_size", "is %u, the embedding has %llu rows",
                       m->c.n_vocab, (unsigned long long)t->dims[1]);
    }
}

void rz_hf_map_tensors(struct rz_hf_model *m)
{
    const struct rz_hf_family *f = m->c.family;
    uint8_t *used = rz_hf_array(m, m->n_stored, 1);
    add_divisors(m);
    for (uint32_t s = 0; s < f->n_specs && !m->status; s++) {
        const struct rz_hf_spec *spec = &f->specs[s];
        uint32_t n = spec->flags & LAYER ? m->c.n_layer : 1;
        for (uint32_t layer = 0; wanted(m, spec->flags) && layer < n && !m->status; layer++)
            map_one(m, spec, layer, used);
    }
    if (!m->status)
        check_rest(m, used);
    check_embedding(m);
}
