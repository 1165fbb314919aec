/* mix.c - which tensor of a model gets which type: the mixes that go by names such as Q4_K_M.
 *
 * A mix has a base type and rules that give some tensors another one: by the tensor's role, its layer, the
 * model's shape. The rules are those by which llama.cpp makes files of these names (src/llama-quant.cpp), so
 * that a name means the same everywhere. They stand in one table; the first rule that fits decides.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "encode.h"
#include "numeric.h"
#include "tools.h"

/* The mixes, as bits of a rule and as places in the table below. */
enum mix_id {
    F32,
    F16,
    BF16,
    Q8_0,
    Q6_K,
    Q5_K_M,
    Q5_K_S,
    Q5_1,
    Q5_0,
    Q4_K_M,
    Q4_K_S,
    Q4_1,
    Q4_0,
    Q3_K_L,
    Q3_K_M,
    Q3_K_S,
    Q2_K,
    Q2_K_S,
    IQ4_XS,
    IQ4_NL,
    IQ3_M,
    IQ3_S,
    IQ3_XS,
    IQ3_XXS,
    IQ2_M,
    IQ2_S,
    IQ2_XS,
    IQ2_XXS,
    IQ1_M,
    IQ1_S,
    TQ2_0,
    TQ1_0,
    MXFP4,
    MXFP4_MOE,
    NVFP4,
    Q2_0,
    Q1_0,
    N_MIXES
};

#define MIX(id, number, base_) [id] = {.name = #id, .file_type = number, .base = RZ_TYPE_##base_}
static const struct rz_tools_mix mixes[N_MIXES] = {
    MIX(F32, 0, F32),      MIX(F16, 1, F16),          MIX(BF16, 32, BF16),     MIX(Q8_0, 7, Q8_0),
    MIX(Q6_K, 18, Q6_K),   MIX(Q5_K_M, 17, Q5_K),     MIX(Q5_K_S, 16, Q5_K),   MIX(Q5_1, 9, Q5_1),
    MIX(Q5_0, 8, Q5_0),    MIX(Q4_K_M, 15, Q4_K),     MIX(Q4_K_S, 14, Q4_K),   MIX(Q4_1, 3, Q4_1),
    MIX(Q4_0, 2, Q4_0),    MIX(Q3_K_L, 13, Q3_K),     MIX(Q3_K_M, 12, Q3_K),   MIX(Q3_K_S, 11, Q3_K),
    MIX(Q2_K, 10, Q2_K),   MIX(Q2_K_S, 21, Q2_K),     MIX(IQ4_XS, 30, IQ4_XS), MIX(IQ4_NL, 25, IQ4_NL),
    MIX(IQ3_M, 27, IQ3_S), MIX(IQ3_S, 26, IQ3_S),     MIX(IQ3_XS, 22, IQ3_S),  MIX(IQ3_XXS, 23, IQ3_XXS),
    MIX(IQ2_M, 29, IQ2_S), MIX(IQ2_S, 28, IQ2_XS),    MIX(IQ2_XS, 20, IQ2_XS), MIX(IQ2_XXS, 19, IQ2_XXS),
    MIX(IQ1_M, 31, IQ1_M), MIX(IQ1_S, 24, IQ1_S),     MIX(TQ2_0, 37, TQ2_0),   MIX(TQ1_0, 36, TQ1_0),
    MIX(MXFP4, 38, MXFP4), MIX(MXFP4_MOE, 38, MXFP4), MIX(NVFP4, 39, NVFP4),   MIX(Q2_0, 41, Q2_0),
    MIX(Q1_0, 40, Q1_0),
};

/* Other names of the same. */
static const struct alias {
    const char *name;
    enum mix_id id;
} aliases[] = {{"Q3_K", Q3_K_M}, {"Q4_K", Q4_K_M}, {"Q5_K", Q5_K_M}};

/* --- roles --- */

#define R_OUTPUT (1u << 0) /* also the embedding of a model without an output matrix */
#define R_EMBED (1u << 1)
#define R_V (1u << 2) /* values, and matrices that hold them besides others */
#define R_K (1u << 3)
#define R_Q (1u << 4)
#define R_ATTN_OUT (1u << 5)
#define R_UP (1u << 6)
#define R_GATE (1u << 7)
#define R_DOWN (1u << 8)
#define R_OTHER (1u << 9)

static bool holds(const struct rz_str *s, const char *part)
{
    return memmem(s->data, s->len, part, strlen(part)) != NULL;
}

static bool is(const struct rz_str *s, const char *name)
{
    return s->len == strlen(name) && !memcmp(s->data, name, s->len);
}

static uint32_t role_of(const struct rz_tensor *t)
{
    static const struct {
        const char *part;
        uint32_t role;
    } parts[] = {
        {"attn_qkv.weight", R_V}, {"attn_kv_b.weight", R_V}, {"attn_v.weight", R_V},
        {"attn_k.weight", R_K},   {"attn_q.weight", R_Q},    {"attn_output.weight", R_ATTN_OUT},
        {"ffn_up", R_UP},         {"ffn_gate", R_GATE},      {"ffn_down", R_DOWN},
    };
    if (is(&t->name, "output.weight"))
        return R_OUTPUT;
    if (is(&t->name, "token_embd.weight") || is(&t->name, "per_layer_token_embd.weight"))
        return R_EMBED;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (holds(&t->name, parts[i].part))
            return parts[i].role;
    return R_OTHER;
}

bool rz_tools_is_vocabulary(const struct rz_tensor *t)
{
    return role_of(t) & (R_OUTPUT | R_EMBED);
}

bool rz_tools_may_shrink(const struct rz_tensor *t)
{
    static const char *const kept[] = {
        "_norm.weight",
        "ffn_gate_inp.weight",
        "ffn_gate_tid2eid.weight",
        "altup",
        "laurel",
        "per_layer_model_proj",
        "ssm_conv1d",
        "shortconv.conv.weight",
        "indexer.k_proj.weight",
        "indexer.q_proj.weight",
        "time_mix_first.weight",
        "time_mix_w0.weight",
        "time_mix_w1.weight",
        "time_mix_w2.weight",
        "time_mix_v0.weight",
        "time_mix_v1.weight",
        "time_mix_v2.weight",
        "time_mix_a0.weight",
        "time_mix_a1.weight",
        "time_mix_a2.weight",
        "time_mix_g1.weight",
        "time_mix_g2.weight",
        "time_mix_decay_w1.weight",
        "time_mix_decay_w2.weight",
        "time_mix_lerp_fused.weight",
        "attn_rel_b.weight",
        ".position_embd",
        "sam.pos_embd",
        "sam.neck.",
        "sam.net_",
        ".rel_pos",
        ".patch_embd",
        ".patch_merger",
        "a.rvq.codebook",
        "mm.a.code_embd",
    };
    bool vector = t->dims[1] == 1 && t->dims[2] == 1 && t->dims[3] == 1;
    if (vector || t->name.len < 6 || memcmp(t->name.data + t->name.len - 6, "weight", 6) ||
        is(&t->name, "position_embd.weight") || is(&t->name, "token_types.weight"))
        return false;
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        if (holds(&t->name, kept[i]))
            return false;
    return true;
}

/* --- rules --- */

#define IF_GQA4 (1u << 0)     /* four or more query heads share a key */
#define IF_EXPERTS4 (1u << 1) /* four experts or more                 */
#define IF_EXPERTS8 (1u << 2) /* eight                                */
#define IF_IMPORTANCE (1u << 3)
#define IF_8TH (1u << 4)   /* the first eighth of the layers  */
#define IF_16TH (1u << 5)  /* the first sixteenth             */
#define IF_MORE (1u << 6)  /* both outer eighths and every third layer between */
#define IF_INNER (1u << 7) /* not in the outer eighths        */
#define IF_2 (1u << 8)     /* the first two                   */
#define IF_4 (1u << 9)     /* the first four                  */
#define IF_FALCON (1u << 10)
#define IF_ODD (1u << 11)     /* rows are no whole number of the base type's blocks */
#define IF_STACKED (1u << 12) /* a stack of experts' matrices */

#define M(id) (1ull << (id))
#define LOW \
    (M(IQ2_XXS) | M(IQ2_XS) | M(IQ2_S) | M(IQ2_M) | M(IQ1_S) | M(IQ1_M)) /* mixes with rules of their own */
#define IQ2_SM (M(IQ2_S) | M(IQ2_M))
#define ANY_MIX (~0ull)

struct rule {
    uint32_t roles;
    uint64_t mixes;
    uint32_t yes, no; /* conditions that must and must not hold */
    int32_t type;     /* RZ_TYPE_NONE: the base type */
};

static const struct rule rules[] = {
    /* the vocabulary */
    {R_OUTPUT, M(MXFP4_MOE), 0, 0, RZ_TYPE_Q8_0},
    {R_OUTPUT, ANY_MIX, IF_FALCON, 0, RZ_TYPE_Q8_0},
    {R_OUTPUT, ANY_MIX, IF_ODD, 0, RZ_TYPE_Q8_0},
    {R_OUTPUT, LOW | M(IQ3_XXS), 0, 0, RZ_TYPE_Q5_K},
    {R_OUTPUT, ANY_MIX & ~M(Q8_0), 0, 0, RZ_TYPE_Q6_K},
    {R_OUTPUT, ANY_MIX, 0, 0, RZ_TYPE_NONE},
    {~0u, M(MXFP4_MOE), IF_STACKED, 0, RZ_TYPE_MXFP4},
    {~0u, M(MXFP4_MOE), 0, 0, RZ_TYPE_Q8_0},
    {R_EMBED, M(IQ2_XXS) | M(IQ2_XS) | M(IQ1_S) | M(IQ1_M), 0, 0, RZ_TYPE_Q2_K},
    {R_EMBED, IQ2_SM | M(IQ3_XXS), 0, 0, RZ_TYPE_IQ3_S},
    {R_EMBED, M(TQ1_0) | M(TQ2_0) | M(Q2_0), 0, 0, RZ_TYPE_Q4_K},
    {R_EMBED, ANY_MIX, 0, 0, RZ_TYPE_NONE},
    /* mixes below three bits */
    {R_V, LOW, IF_GQA4, 0, RZ_TYPE_Q4_K},
    {R_V, LOW, IF_EXPERTS4, 0, RZ_TYPE_Q4_K},
    {R_V, IQ2_SM, 0, 0, RZ_TYPE_IQ3_S},
    {R_V, LOW, 0, 0, RZ_TYPE_Q2_K},
    {R_K, LOW, IF_EXPERTS8, 0, RZ_TYPE_Q4_K},
    {R_DOWN, IQ2_SM, IF_8TH, 0, RZ_TYPE_IQ3_S},
    {R_DOWN, LOW, IF_8TH, 0, RZ_TYPE_Q2_K},
    {R_ATTN_OUT, LOW, IF_EXPERTS8, 0, RZ_TYPE_Q5_K},
    {R_ATTN_OUT, M(IQ1_S) | M(IQ1_M), 0, 0, RZ_TYPE_IQ2_XXS},
    {R_ATTN_OUT, IQ2_SM, 0, 0, RZ_TYPE_IQ3_S},
    {~0u, LOW, 0, 0, RZ_TYPE_NONE},
    /* values */
    {R_V, ANY_MIX, IF_EXPERTS8, 0, RZ_TYPE_Q8_0},
    {R_V, M(Q2_K) | M(Q2_K_S) | M(IQ3_XXS) | M(IQ3_XS) | M(IQ3_S), IF_GQA4, 0, RZ_TYPE_Q4_K},
    {R_V, M(Q2_K), 0, 0, RZ_TYPE_Q3_K},
    {R_V, M(IQ3_XXS), 0, IF_IMPORTANCE, RZ_TYPE_IQ3_S},
    {R_V, M(IQ3_M), 0, 0, RZ_TYPE_Q4_K},
    {R_V, M(Q3_K_M), IF_2, 0, RZ_TYPE_Q5_K},
    {R_V, M(Q3_K_M), 0, 0, RZ_TYPE_Q4_K},
    {R_V, M(Q3_K_L), 0, 0, RZ_TYPE_Q5_K},
    {R_V, M(IQ4_NL) | M(IQ4_XS), IF_GQA4, 0, RZ_TYPE_Q5_K},
    {R_V, M(Q4_K_M) | M(Q5_K_M), IF_MORE, 0, RZ_TYPE_Q6_K},
    {R_V, M(Q4_K_S), IF_4, 0, RZ_TYPE_Q5_K},
    /* keys and queries */
    {R_K, ANY_MIX, IF_EXPERTS8, 0, RZ_TYPE_Q8_0},
    {R_K | R_Q, M(IQ3_XS), 0, 0, RZ_TYPE_IQ3_XXS},
    {R_K | R_Q, M(IQ3_XXS), 0, 0, RZ_TYPE_IQ2_S},
    /* down */
    {R_DOWN, M(Q2_K), 0, 0, RZ_TYPE_Q3_K},
    {R_DOWN, M(Q2_K_S), IF_8TH, 0, RZ_TYPE_Q4_K},
    {R_DOWN, M(IQ3_XXS), IF_8TH, IF_IMPORTANCE, RZ_TYPE_Q4_K},
    {R_DOWN, M(IQ3_XXS), 0, IF_IMPORTANCE, RZ_TYPE_Q3_K},
    {R_DOWN, M(Q3_K_M), IF_16TH, 0, RZ_TYPE_Q5_K},
    {R_DOWN, M(Q3_K_M), 0, IF_FALCON, RZ_TYPE_Q4_K},
    {R_DOWN, M(Q3_K_M), IF_MORE, 0, RZ_TYPE_Q4_K},
    {R_DOWN, M(IQ3_M), IF_8TH, 0, RZ_TYPE_Q4_K},
    {R_DOWN, M(IQ3_M), IF_EXPERTS8 | IF_MORE, 0, RZ_TYPE_Q4_K},
    {R_DOWN, M(Q3_K_L), IF_FALCON, 0, RZ_TYPE_Q4_K},
    {R_DOWN, M(Q3_K_L), 0, 0, RZ_TYPE_Q5_K},
    {R_DOWN, M(Q4_K_M), IF_FALCON | IF_16TH, 0, RZ_TYPE_Q6_K},
    {R_DOWN, M(Q4_K_M), IF_FALCON | IF_MORE, 0, RZ_TYPE_Q5_K},
    {R_DOWN, M(Q4_K_M) | M(Q5_K_M), IF_MORE, 0, RZ_TYPE_Q6_K},
    {R_DOWN, M(IQ4_NL) | M(IQ4_XS), IF_8TH, IF_IMPORTANCE, RZ_TYPE_Q5_K},
    {R_DOWN, M(Q4_K_S), IF_8TH, IF_FALCON, RZ_TYPE_Q5_K},
    {R_DOWN, M(Q4_0), IF_8TH | IF_IMPORTANCE, 0, RZ_TYPE_Q4_1},
    {R_DOWN, M(Q5_0), IF_8TH | IF_IMPORTANCE, 0, RZ_TYPE_Q5_1},
    /* the attention's output */
    {R_ATTN_OUT, M(Q3_K_L), IF_FALCON, 0, RZ_TYPE_Q4_K},
    {R_ATTN_OUT, ANY_MIX, IF_FALCON, 0, RZ_TYPE_NONE},
    {R_ATTN_OUT,
     M(Q2_K) | M(IQ3_XS) | M(IQ3_XXS) | M(Q3_K_S) | M(Q3_K_M) | M(IQ4_NL) | M(Q4_K_S) | M(Q4_K_M) | M(IQ3_S) |
         M(IQ3_M) | M(IQ4_XS),
     IF_EXPERTS8, 0, RZ_TYPE_Q5_K},
    {R_ATTN_OUT, ANY_MIX, IF_EXPERTS8, 0, RZ_TYPE_NONE},
    {R_ATTN_OUT, M(Q2_K), 0, 0, RZ_TYPE_Q3_K},
    {R_ATTN_OUT, M(IQ3_XXS), 0, 0, RZ_TYPE_IQ3_S},
    {R_ATTN_OUT, M(Q3_K_M) | M(IQ3_M), 0, 0, RZ_TYPE_Q4_K},
    {R_ATTN_OUT, M(Q3_K_L), 0, 0, RZ_TYPE_Q5_K},
    /* gate and up */
    {R_GATE | R_UP, M(IQ3_XS), IF_INNER, 0, RZ_TYPE_IQ3_XXS},
};

/* --- the model's shape --- */

struct shape {
    uint32_t layers, heads, kv_heads, experts;
    uint32_t values; /* matrices in the role R_V */
    bool falcon, large, tied;
};

static bool number_of(const struct rz_tools_meta *meta, struct rz_str arch, const char *what, uint32_t *out)
{
    char key[160];
    int n = snprintf(key, sizeof(key), "%.*s.%s", (int)(arch.len < 64 ? arch.len : 64), arch.data, what);
    return n > 0 && (size_t)n < sizeof(key) && rz_tools_meta_u32(meta, key, out);
}

/* The 70B models, whose eight query heads to a key make the value matrices small. */
static bool is_large(const struct shape *s, const struct rz_str *arch)
{
    if (is(arch, "jais2"))
        return s->layers == 68;
    if (is(arch, "llama"))
        return s->layers == 80 && s->heads != s->kv_heads;
    return s->layers == 80 && (is(arch, "qwen2") || is(arch, "deci") || is(arch, "olmo"));
}

static struct shape shape_of(const struct rz_tools_meta *meta, const struct rz_tensor *tensors, uint64_t n)
{
    struct rz_str arch = rz_tools_meta_str(meta, "general.architecture");
    struct shape s = {.tied = true};
    number_of(meta, arch, "block_count", &s.layers);
    number_of(meta, arch, "expert_count", &s.experts);
    number_of(meta, arch, "attention.head_count", &s.heads);
    if (!number_of(meta, arch, "attention.head_count_kv", &s.kv_heads))
        s.kv_heads = s.heads;
    s.falcon = is(&arch, "falcon");
    s.large = is_large(&s, &arch);
    for (uint64_t i = 0; i < n; i++) {
        uint32_t role = role_of(&tensors[i]);
        s.values += role == R_V;
        s.tied &= role != R_OUTPUT;
    }
    return s;
}

/* The number in "blk.N.", or -1. */
static int64_t layer_of(const struct rz_tensor *t)
{
    int64_t layer = 0;
    uint64_t i = 4;
    if (t->name.len < 6 || memcmp(t->name.data, "blk.", 4))
        return -1;
    for (; i < t->name.len && i < 12 && t->name.data[i] >= '0' && t->name.data[i] <= '9'; i++)
        layer = layer * 10 + (t->name.data[i] - '0');
    return i > 4 ? layer : -1;
}

static uint32_t layer_conditions(int64_t i, int64_t n)
{
    uint32_t c =
        (i < 2 ? IF_2 : 0) | (i < 4 ? IF_4 : 0) | (i < n / 8 ? IF_8TH : 0) | (i < n / 16 ? IF_16TH : 0);
    if (i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2)
        c |= IF_MORE;
    return i >= n / 8 && i < 7 * n / 8 ? c | IF_INNER : c;
}

static uint32_t model_conditions(const struct shape *s, const struct rz_tools_choice *c)
{
    uint32_t gqa = s->kv_heads ? s->heads / s->kv_heads : 0;
    return (gqa >= 4 ? IF_GQA4 : 0) | (s->experts >= 4 ? IF_EXPERTS4 : 0) |
           (s->experts == 8 ? IF_EXPERTS8 : 0) | (c->importance ? IF_IMPORTANCE : 0) |
           (s->falcon ? IF_FALCON : 0);
}

/* --- the choice --- */

int32_t rz_tools_fitting(int32_t type, uint64_t cols)
{
    static const struct {
        int32_t type, instead;
    } narrow[] = {
        {RZ_TYPE_IQ1_S, RZ_TYPE_IQ4_NL},  {RZ_TYPE_IQ1_M, RZ_TYPE_IQ4_NL},  {RZ_TYPE_IQ2_XXS, RZ_TYPE_IQ4_NL},
        {RZ_TYPE_IQ2_XS, RZ_TYPE_IQ4_NL}, {RZ_TYPE_IQ2_S, RZ_TYPE_IQ4_NL},  {RZ_TYPE_IQ3_XXS, RZ_TYPE_IQ4_NL},
        {RZ_TYPE_IQ3_S, RZ_TYPE_IQ4_NL},  {RZ_TYPE_IQ4_XS, RZ_TYPE_IQ4_NL}, {RZ_TYPE_Q2_K, RZ_TYPE_Q4_0},
        {RZ_TYPE_Q3_K, RZ_TYPE_Q4_0},     {RZ_TYPE_TQ1_0, RZ_TYPE_Q4_0},    {RZ_TYPE_TQ2_0, RZ_TYPE_Q4_0},
        {RZ_TYPE_Q2_0, RZ_TYPE_Q4_0},     {RZ_TYPE_Q1_0, RZ_TYPE_Q4_0},     {RZ_TYPE_NVFP4, RZ_TYPE_Q4_0},
        {RZ_TYPE_Q4_K, RZ_TYPE_Q5_0},     {RZ_TYPE_Q5_K, RZ_TYPE_Q5_1},     {RZ_TYPE_Q6_K, RZ_TYPE_Q8_0},
    };
    uint32_t block = rz_type_info(type)->block;
    if (block && cols % block == 0)
        return type;
    for (size_t i = 0; i < sizeof(narrow) / sizeof(narrow[0]); i++)
        if (narrow[i].type == type && cols % rz_type_info(narrow[i].instead)->block == 0)
            return narrow[i].instead;
    return RZ_TYPE_F16;
}

static int32_t by_rules(const struct rz_tools_mix *mix, uint32_t role, uint32_t conditions)
{
    uint64_t bit = M(mix - mixes);
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        const struct rule *r = &rules[i];
        if (r->roles & role && r->mixes & bit && (conditions & r->yes) == r->yes && !(conditions & r->no))
            return r->type == RZ_TYPE_NONE ? mix->base : r->type;
    }
    return mix->base;
}

/* A tensor in the order of layers and names, in which llama.cpp counts. */
struct place {
    const struct rz_tensor *t;
    int64_t layer;
};

static int by_layer(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->layer != y->layer)
        return x->layer < y->layer ? -1 : 1;
    uint64_t n = x->t->name.len < y->t->name.len ? x->t->name.len : y->t->name.len;
    int c = memcmp(x->t->name.data, y->t->name.data, n);
    return c ? c : (x->t->name.len > y->t->name.len) - (x->t->name.len < y->t->name.len);
}

/* How many tensors of a role came before. */
struct counts {
    int64_t values, down, gate, up;
};

static int32_t choose(const struct rz_tools_choice *c, const struct shape *s, const struct place *p,
                      struct counts *seen)
{
    uint32_t role = role_of(p->t), conditions = model_conditions(s, c);
    int64_t index = -1, n = s->layers;
    bool quantised = rz_type_info(c->mix->base)->block > 1;
    int64_t *counter = role == R_V ? &seen->values : role == R_DOWN ? &seen->down : NULL;
    counter = role == R_GATE ? &seen->gate : role == R_UP ? &seen->up : counter;
    if (counter)
        index = (*counter)++;
    if (role == R_EMBED && c->embedding_type != RZ_TYPE_NONE)
        return c->embedding_type;
    if (role == R_EMBED && s->tied)
        role = R_OUTPUT;
    if (role == R_OUTPUT && c->output_type != RZ_TYPE_NONE)
        return c->output_type;
    if (!quantised || c->pure)
        return c->mix->base;
    if (role == R_V)
        n = s->values;
    else if (s->experts > 1 && !(LOW & M(c->mix - mixes)) && p->layer >= 0)
        index = p->layer; /* a layer may have several such tensors */
    if (counter)
        conditions |= layer_conditions(index, n);
    if (p->t->dims[0] % rz_type_info(c->mix->base)->block)
        conditions |= IF_ODD;
    if (p->t->dims[2] > 1)
        conditions |= IF_STACKED;
    int32_t type = by_rules(c->mix, role, conditions);
    if (role == R_V && s->large && !(LOW & M(c->mix - mixes)) &&
        (type == RZ_TYPE_Q3_K || type == RZ_TYPE_Q4_K))
        type = RZ_TYPE_Q5_K;
    return type;
}

int32_t rz_tools_mix_types(const struct rz_tools_choice *c, const struct rz_tensor *tensors, uint64_t n,
                           int32_t *types, uint64_t *fallbacks, struct rz_err *err)
{
    struct shape s = shape_of(c->meta, tensors, n);
    struct counts seen = {0};
    struct place *order = calloc(n + 1, sizeof(*order));
    *fallbacks = 0;
    if (!order)
        return rz_fail(err, RZ_ENOMEM, "quantize", "no memory");
    for (uint64_t i = 0; i < n; i++)
        order[i] = (struct place){&tensors[i], layer_of(&tensors[i])};
    qsort(order, n, sizeof(*order), by_layer);
    for (uint64_t i = 0; i < n; i++) {
        const struct rz_tensor *t = order[i].t;
        int32_t *type = &types[t - tensors];
        *type = t->type;
        bool integer = t->type >= RZ_TYPE_I8 && t->type <= RZ_TYPE_I64;
        if (integer || !rz_tools_may_shrink(t))
            continue;
        int32_t wish = choose(c, &s, &order[i], &seen);
        *type = rz_tools_fitting(wish, t->dims[0]);
        *fallbacks += *type != wish;
    }
    free(order);
    return RZ_OK;
}

const struct rz_tools_mix *rz_tools_mix_at(uint32_t i)
{
    return i < N_MIXES ? &mixes[i] : NULL;
}

const struct rz_tools_mix *rz_tools_mix_find(const char *name)
{
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
        if (!strcasecmp(name, aliases[i].name))
            return &mixes[aliases[i].id];
    for (uint32_t i = 0; i < N_MIXES; i++)
        if (!strcasecmp(name, mixes[i].name))
            return &mixes[i];
    return NULL;
}
