/* tensors.c - the tensors of the model out of those that the folder stores.
 *
 * A folder must hold exactly the tensors that its config.json asks for: what is missing and what is left
 * over is an error that names it. Nothing is copied here: a tensor whose elements stand in another order
 * gets pieces, which say where they are.
 */
#include "folder.h"

#include "err.h"
#include "numeric.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 128
#define PARTS_MAX 65536u /* stored tensors that become one */

/* The tensor being made. */
struct making {
    struct rz_hf_model *m;
    const struct rz_hf_spec *spec;
    uint32_t layer;
    uint8_t *used; /* one a stored tensor */
    struct rz_tensor t;
};

/* Writes the first %u as a, the second as b. */
static void spell(char *buf, size_t cap, const char *format, uint32_t a, uint32_t b)
{
    const char *at = strstr(format, "%u"), *next = at ? strstr(at + 2, "%u") : NULL;
    if (!at)
        snprintf(buf, cap, "%s", format);
    else if (!next)
        snprintf(buf, cap, "%.*s%u%s", (int)(at - format), format, a, at + 2);
    else
        snprintf(buf, cap, "%.*s%u%.*s%u%s", (int)(at - format), format, a, (int)(next - at - 2), at + 2, b,
                 next + 2);
}

static int32_t fail_tensor(struct making *g, int32_t code, const char *name, const char *what)
{
    char where[NAME_MAX_BYTES + 16];
    snprintf(where, sizeof(where), "tensor %s", name);
    return rz_hf_fail(g->m, code, where, "%s", what);
}

static bool find_name(const struct rz_hf_model *m, const char *name, uint32_t *i)
{
    const char *rest = strchr(name, '.');
    char longer[2 * NAME_MAX_BYTES];
    if (rz_map_get(&m->names, name, strlen(name), i))
        return true;
    if (m->c.family->base) {
        snprintf(longer, sizeof(longer), "%s.%s", m->c.family->base, name);
        return rz_map_get(&m->names, longer, strlen(longer), i);
    }
    /* a checkpoint of the model without its head lacks the first part of the names */
    return rest && rz_map_get(&m->names, rest + 1, strlen(rest + 1), i);
}

static void say_missing(struct making *g, const char *name)
{
    const struct rz_hf_config *c = &g->m->c;
    char what[160];
    snprintf(what, sizeof(what), "is missing (config.json has a %s model of %u layers%s)",
             c->family->model_type, c->n_layer,
             g->spec->need & RZ_HF_UNTIED                                     ? ", not tied"
             : g->spec->need & (RZ_HF_BIAS | RZ_HF_OUT_BIAS | RZ_HF_MLP_BIAS) ? " with biases"
                                                                              : "");
    fail_tensor(g, RZ_EFORMAT, name, what);
}

/* The stored tensor of the spec, number b of those that it has; NULL: there is none, and the error is set. */
static const struct rz_tensor *take(struct making *g, uint32_t b)
{
    char name[NAME_MAX_BYTES], what[120];
    uint32_t i;
    spell(name, sizeof(name), g->spec->stored, g->layer, b);
    if (!find_name(g->m, name, &i)) {
        say_missing(g, name);
        return NULL;
    }
    const struct rz_tensor *t = &g->m->stored[i];
    if (t->type != RZ_TYPE_F32 && t->type != RZ_TYPE_BF16 && t->type != RZ_TYPE_F16 &&
        t->type != RZ_TYPE_F64) {
        snprintf(what, sizeof(what), "its elements are %s: a folder's weights must be BF16, F16, F32 or F64",
                 rz_type_info(t->type)->name);
        fail_tensor(g, RZ_EUNSUPPORTED, name, what);
        return NULL;
    }
    g->used[i] = 1;
    return t;
}

/* --- pieces --- */

/* n pieces of the tensor being made, all of the whole of `from` and not yet shaped; NULL: no memory. */
static struct rz_piece *pieces(struct making *g, const struct rz_tensor *from, uint32_t n)
{
    struct rz_piece *p = rz_hf_array(g->m, n, sizeof(*p));
    for (uint32_t i = 0; i < n && p; i++)
        p[i] = (struct rz_piece){.size = sizeof(*p),
                                 .shard = from->shard,
                                 .offset = from->offset,
                                 .bytes = from->bytes,
                                 .n = {1, 1, 1, 1},
                                 .scale = 1};
    g->t.pieces = p;
    g->t.n_pieces = p ? n : 0;
    return p;
}

static void axis(struct rz_piece *p, int d, uint64_t n, uint64_t step)
{
    p->n[d] = n;
    p->step[d] = step;
}

/* Begins `elements` later in the stored tensor. */
static void advance(struct rz_piece *p, const struct rz_tensor *from, uint64_t elements)
{
    uint64_t bytes = elements * rz_type_info(from->type)->bytes;
    p->offset += bytes < p->bytes ? bytes : p->bytes; /* what lies beyond is refused with the piece */
    p->bytes -= bytes < p->bytes ? bytes : p->bytes;
}

/* Rows and the elements of one; the rows of a vector are its elements. */
static void rows_of(const struct rz_tensor *t, uint64_t *rows, uint64_t *cols)
{
    *cols = t->n_dims > 1 ? t->dims[0] : 1;
    *rows = t->n_dims > 1 ? t->dims[1] : t->dims[0];
}

static void expect_rows(struct making *g, uint64_t rows, uint64_t heads, uint64_t each)
{
    char name[NAME_MAX_BYTES], what[120];
    if (rows && heads && rows == heads * each)
        return;
    spell(name, sizeof(name), g->spec->stored, g->layer, 0);
    snprintf(what, sizeof(what), "has %llu rows, not %llu heads of %llu", (unsigned long long)rows,
             (unsigned long long)heads, (unsigned long long)each);
    fail_tensor(g, RZ_EFORMAT, name, what);
}

/* Of each head row j d/2 + i becomes row 2i + j (j = 0, 1). */
static void make_rope(struct making *g, uint32_t heads)
{
    uint64_t rows, cols, d = g->m->c.head_dim;
    rows_of(&g->t, &rows, &cols);
    expect_rows(g, rows, heads, d);
    struct rz_piece *p = pieces(g, &g->t, 1);
    if (!p)
        return;
    axis(p, 0, cols, 1);
    axis(p, 1, 2, d / 2 * cols);
    axis(p, 2, d / 2, cols);
    axis(p, 3, heads, d * cols);
}

/* Each group has the rows of its query heads, of its key head, of its value head. */
static void make_qkv(struct making *g)
{
    const struct rz_hf_config *c = &g->m->c;
    uint64_t rows, cols, d = c->head_dim, each = c->n_head / c->n_kv_head, group = (each + 2) * d;
    rows_of(&g->t, &rows, &cols);
    expect_rows(g, rows, c->n_kv_head, group);
    struct rz_piece *p = g->m->status || c->n_kv_head == 1 ? NULL : pieces(g, &g->t, 3);
    for (uint32_t i = 0; i < 3 && p; i++) {
        axis(&p[i], 0, cols, 1);
        axis(&p[i], 1, i ? d : each * d, cols);
        axis(&p[i], 2, c->n_kv_head, group * cols);
        advance(&p[i], &g->t, i ? (each + i - 1) * d * cols : 0);
    }
}

static void make_transpose(struct making *g)
{
    struct rz_piece *p = pieces(g, &g->t, 1);
    uint64_t cols = g->t.dims[0], rows = g->t.dims[1];
    if (!p)
        return;
    axis(p, 0, rows, cols);
    axis(p, 1, cols, 1);
    g->t.dims[0] = rows;
    g->t.dims[1] = cols;
}

static void make_plus_one(struct making *g)
{
    struct rz_piece *p = pieces(g, &g->t, 1);
    if (!p)
        return;
    axis(p, 0, g->t.dims[0], 1);
    p->add = 1;
    g->t.transform |= RZ_TRANSFORM_TO_F32;
}

/* n tensors of one shape, one after the other: a dimension more. */
static void make_stack(struct making *g, uint32_t n)
{
    const struct rz_tensor first = g->t;
    struct rz_piece *p;
    uint64_t rows, cols;
    char name[NAME_MAX_BYTES];
    if (!n || n > PARTS_MAX) {
        fail_tensor(g, RZ_ELIMIT, g->spec->name, "would be made of none or of more than 65536 tensors");
        return;
    }
    p = pieces(g, &first, n);
    rows_of(&first, &rows, &cols);
    for (uint32_t i = 0; i < n && p && !g->m->status; i++) {
        const struct rz_tensor *t = take(g, i);
        if (!t)
            return;
        if (t->type != first.type || t->n_dims != first.n_dims ||
            memcmp(t->dims, first.dims, sizeof(t->dims)) != 0) {
            spell(name, sizeof(name), g->spec->stored, g->layer, i);
            fail_tensor(g, RZ_EFORMAT, name, "has another type or shape than the first of its kind");
            return;
        }
        p[i].shard = t->shard;
        p[i].offset = t->offset;
        axis(&p[i], 0, rows * cols, 1);
    }
    g->t.dims[first.n_dims] = n;
    g->t.n_dims = first.n_dims + 1;
    g->t.bytes = first.bytes * n;
}

/* A box of the stored tensor becomes all of a new one of these dimensions. */
static void make_box(struct making *g, const uint64_t dims[3], const uint64_t step[3], uint64_t first)
{
    struct rz_piece *p = pieces(g, &g->t, 1);
    if (!p)
        return;
    advance(p, &g->t, first);
    g->t.bytes = rz_type_info(g->t.type)->bytes;
    g->t.n_dims = 1;
    for (int d = 0; d < 3; d++) {
        axis(p, d, dims[d], step[d]);
        g->t.dims[d] = dims[d];
        g->t.bytes *= dims[d];
        g->t.n_dims = dims[d] > 1 || d < 2 ? (uint32_t)d + 1 : g->t.n_dims;
    }
}

/* part: 0 all, else 1 or 2 of two that stand behind each other, or by turns if `turns`. */
struct expert_part {
    uint32_t part;
    bool transposed, turns;
};

/* Matrices of all experts, in one tensor of two or three dimensions. */
static void make_experts(struct making *g, struct expert_part o)
{
    uint64_t n = g->m->c.n_expert, inner = g->t.dims[0],
             outer = g->t.n_dims == 3 ? g->t.dims[1] : g->t.dims[1] / n;
    uint64_t halves = o.part ? 2 : 1, rows = (o.transposed ? inner : outer) / halves;
    uint64_t row_step = (o.transposed ? 1 : inner) * (o.turns ? 2 : 1);
    uint64_t first = o.part < 2 ? 0 : o.turns ? row_step / 2 : rows * row_step;
    expect_rows(g, g->t.n_dims == 3 ? g->t.dims[2] * outer : g->t.dims[1], n, outer);
    expect_rows(g, o.transposed ? inner : outer, halves, rows);
    if (!g->m->status && (o.part || o.transposed))
        make_box(g, (uint64_t[]){o.transposed ? outer : inner, rows, n},
                 (uint64_t[]){o.transposed ? inner : 1, row_step, inner * outer}, first);
    g->t.dims[1] = rows;
    g->t.dims[2] = n;
    g->t.n_dims = 3;
}

/* One vector an expert, gate and up by turns. */
static void make_turns(struct making *g, uint32_t first)
{
    uint64_t n = g->t.dims[0], rows = g->t.dims[1];
    make_box(g, (uint64_t[]){n / 2, rows, 1}, (uint64_t[]){2, n, 0}, first);
}

/* kv_b has the rows of keys and of values of each head: [heads, k + v, latent]. The keys' part is applied to
 * the queries, so it stands transposed. */
static void make_latent(struct making *g, bool keys)
{
    const struct rz_hf_config *c = &g->m->c;
    uint64_t cols = g->t.dims[0], k = c->k_plain, each = k + c->v_dim;
    expect_rows(g, g->t.dims[1], c->n_head, each);
    if (g->m->status)
        return;
    if (keys)
        make_box(g, (uint64_t[]){k, cols, c->n_head}, (uint64_t[]){cols, 1, each * cols}, 0);
    else
        make_box(g, (uint64_t[]){cols, c->v_dim, c->n_head}, (uint64_t[]){1, cols, each * cols}, k * cols);
    g->t.n_dims = 3;
}

/* --- recurrent layers --- */

/* [channels, 1, taps]: the dimension of one element goes; small tables are F32 everywhere. */
static void make_conv(struct making *g)
{
    if (g->t.n_dims == 3 && g->t.dims[1] == 1) {
        g->t.dims[1] = g->t.dims[2];
        g->t.dims[2] = 1;
        g->t.n_dims = 2;
    }
    g->t.transform |= RZ_TRANSFORM_TO_F32;
}

/* A vector as rows of n elements. */
static void make_rows(struct making *g, uint64_t n)
{
    expect_rows(g, g->t.dims[0], n ? g->t.dims[0] / n : 0, n);
    if (g->m->status)
        return;
    g->t.dims[1] = g->t.dims[0] / n;
    g->t.dims[0] = n;
    g->t.n_dims = 2;
    g->t.transform |= RZ_TRANSFORM_TO_F32;
}

static void make_half(struct making *g, uint64_t half)
{
    uint64_t rows = g->t.dims[1] / 2;
    expect_rows(g, g->t.dims[1], 2, rows);
    g->t.offset += half * (g->t.bytes / 2);
    g->t.bytes /= 2;
    g->t.dims[1] = rows;
}

/* Each key head has the rows of its q and k, then those of v and z of its value heads. */
static void make_delta(struct making *g, bool z)
{
    const struct rz_hf_config *c = &g->m->c;
    uint64_t cols = g->t.dims[0], k = c->state, v = (uint64_t)c->v_dim * (c->heads / c->key_heads);
    uint64_t each = 2 * (k + v), first[] = {0, k, 2 * k, 2 * k + v}, n[] = {k, k, v, v};
    expect_rows(g, g->t.dims[1], c->key_heads, each);
    struct rz_piece *p = g->m->status ? NULL : pieces(g, &g->t, z ? 1 : 3);
    for (uint32_t i = 0; i < (z ? 1 : 3) && p; i++) {
        uint32_t part = z ? 3 : i;
        advance(&p[i], &g->t, first[part] * cols);
        axis(&p[i], 0, cols, 1);
        axis(&p[i], 1, n[part], cols);
        axis(&p[i], 2, c->key_heads, each * cols);
    }
    g->t.dims[1] = c->key_heads * (z ? v : 2 * k + v);
    g->t.bytes = g->t.dims[1] * cols * rz_type_info(g->t.type)->bytes;
}

/* Rows of value heads, each `each` rows of `cols` elements, after `lead` rows that stay. */
static void make_striped(struct making *g, uint64_t lead, uint64_t cols)
{
    const struct rz_hf_config *c = &g->m->c;
    uint64_t total = g->t.bytes / rz_type_info(g->t.type)->bytes / cols, per = c->heads / c->key_heads;
    uint64_t each = total > lead ? (total - lead) / c->heads : 0;
    expect_rows(g, total - lead, c->heads, each);
    struct rz_piece *p = g->m->status ? NULL : pieces(g, &g->t, lead ? 2 : 1);
    if (p && lead)
        axis(p, 0, lead * cols, 1);
    if (!p)
        return;
    p += lead ? 1 : 0;
    advance(p, &g->t, lead * cols);
    axis(p, 0, each * cols, 1);
    axis(p, 1, c->key_heads, per * each * cols);
    axis(p, 2, per, each * cols);
}

static void make_striped_columns(struct making *g)
{
    const struct rz_hf_config *c = &g->m->c;
    uint64_t cols = g->t.dims[0], per = c->heads / c->key_heads, each = cols / c->heads;
    expect_rows(g, cols, c->heads, each);
    struct rz_piece *p = g->m->status ? NULL : pieces(g, &g->t, 1);
    if (!p)
        return;
    axis(p, 0, each, 1);
    axis(p, 1, c->key_heads, per * each);
    axis(p, 2, per, each);
    axis(p, 3, g->t.dims[1], cols);
}

/* The rows of z, x, B, C and dt, or all of them, times a factor. */
static void make_scaled(struct making *g, const double *factors, uint32_t n)
{
    const struct rz_hf_config *c = &g->m->c;
    uint64_t cols = g->t.dims[0], at = 0, rows[5] = {g->t.dims[1]};
    if (n == 5) {
        uint64_t bc = (uint64_t)c->groups * c->state;
        memcpy(rows, (uint64_t[]){c->inner, c->inner, bc, bc, c->key_heads}, sizeof(rows));
        expect_rows(g, g->t.dims[1], 1, 2 * (c->inner + bc) + c->key_heads);
    } else if (factors[0] == 1) {
        return;
    }
    struct rz_piece *p = g->m->status ? NULL : pieces(g, &g->t, n);
    for (uint32_t i = 0; i < n && p; at += rows[i] * cols, i++) {
        advance(&p[i], &g->t, at);
        axis(&p[i], 0, rows[i] * cols, 1);
        p[i].scale = (double)(float)factors[i];
    }
    g->t.transform |= RZ_TRANSFORM_TO_F32;
}

static void make_decay(struct making *g)
{
    g->t.transform |= RZ_TRANSFORM_TO_F32 | RZ_TRANSFORM_NEG_EXP;
}

static void shape_recurrent(struct making *g)
{
    const struct rz_hf_config *c = &g->m->c;
    uint64_t keys = 2 * (uint64_t)c->key_heads * c->state;
    switch (g->spec->form) {
    case RZ_HF_CONV:
        make_conv(g);
        break;
    case RZ_HF_DECAY:
        make_decay(g);
        break;
    case RZ_HF_COLUMN:
        make_rows(g, 1);
        break;
    case RZ_HF_DECAY_COLUMN:
        make_rows(g, 1);
        make_decay(g);
        break;
    case RZ_HF_BY_GROUP:
        make_rows(g, c->groups ? c->inner / c->groups : 0);
        break;
    case RZ_HF_ROWS_1:
    case RZ_HF_ROWS_2:
        make_half(g, g->spec->form == RZ_HF_ROWS_2);
        break;
    case RZ_HF_DELTA_QKV:
    case RZ_HF_DELTA_Z:
        make_delta(g, g->spec->form == RZ_HF_DELTA_Z);
        break;
    case RZ_HF_STRIPED:
        make_striped(g, 0, g->t.n_dims > 1 ? g->t.dims[0] : 1);
        break;
    case RZ_HF_STRIPED_QKV:
        make_striped(g, keys, g->t.dims[0]);
        break;
    case RZ_HF_STRIPED_CONV:
        make_conv(g);
        make_striped(g, keys, g->t.dims[0]);
        break;
    case RZ_HF_STRIPED_DECAY:
        make_striped(g, 0, 1);
        make_decay(g);
        break;
    case RZ_HF_STRIPED_COLUMNS:
        make_striped_columns(g);
        break;
    case RZ_HF_SCALE_PARTS:
        make_scaled(g, c->in_scales, 5);
        break;
    default:
        make_scaled(g, &c->scales[g->spec->form - RZ_HF_SCALE], 1);
        break;
    }
}

static void make_flat(struct making *g)
{
    g->t.dims[0] *= g->t.dims[1] * g->t.dims[2] * g->t.dims[3];
    g->t.dims[1] = g->t.dims[2] = g->t.dims[3] = 1;
    g->t.n_dims = 1;
}

static void make_shorter(struct making *g, uint32_t skip)
{
    uint64_t row = g->t.n_dims > 1 ? g->t.bytes / g->t.dims[1] : 0;
    expect_rows(g, g->t.dims[1], 1, (uint64_t)g->m->c.n_ctx + skip);
    if (g->m->status || !skip)
        return;
    g->t.dims[1] -= skip;
    g->t.offset += skip * row;
    g->t.bytes -= skip * row;
}

/* One element becomes element `layer` of a metadata array. */
static void make_number(struct making *g, const struct rz_tensor *t)
{
    const struct rz_source *s = rz_hf_source(g->m, t->shard);
    uint64_t each = rz_type_info(t->type)->bytes;
    _Alignas(16) uint8_t element[16];
    if (!g->layer) {
        g->m->numbers = rz_hf_array(g->m, g->m->c.n_layer, sizeof(float));
        rz_hf_put_array(g->m, g->spec->name, RZ_META_F32, g->m->numbers, g->m->c.n_layer);
    }
    if (t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3] != 1 || t->bytes != each || t->offset > s->bytes ||
        each > s->bytes - t->offset || each > sizeof(element)) {
        fail_tensor(g, RZ_EFORMAT, g->spec->name, "is not made of single numbers");
        return;
    }
    memcpy(element, s->data + t->offset, each);
    if (g->m->numbers)
        rz_type_info(t->type)->decode(element, &g->m->numbers[g->layer], 1);
}

static void shape_experts(struct making *g)
{
    static const struct expert_part parts[] = {
        [RZ_HF_EXPERTS] = {0, false, false}, [RZ_HF_EXPERTS_T] = {0, true, false},
        [RZ_HF_GATE] = {1, false, false},    [RZ_HF_UP] = {2, false, false},
        [RZ_HF_GATE_T] = {1, true, false},   [RZ_HF_UP_T] = {2, true, false},
        [RZ_HF_EVEN_T] = {1, true, true},    [RZ_HF_ODD_T] = {2, true, true},
    };
    switch (g->spec->form) {
    case RZ_HF_STACK_E:
        make_stack(g, g->m->c.n_expert);
        break;
    case RZ_HF_EVEN:
        make_turns(g, 0);
        break;
    case RZ_HF_ODD:
        make_turns(g, 1);
        break;
    case RZ_HF_LATENT_K:
        make_latent(g, true);
        break;
    case RZ_HF_LATENT_V:
        make_latent(g, false);
        break;
    case RZ_HF_FLAT:
        make_flat(g);
        break;
    default:
        make_experts(g, parts[g->spec->form]);
        break;
    }
}

static void shape(struct making *g)
{
    const struct rz_hf_config *c = &g->m->c;
    switch (g->spec->form) {
    case RZ_HF_AS_IS:
        break;
    case RZ_HF_PLUS_ONE:
        make_plus_one(g);
        break;
    case RZ_HF_ROPE_Q:
        make_rope(g, c->n_head);
        break;
    case RZ_HF_ROPE_K:
        make_rope(g, c->n_kv_head);
        break;
    case RZ_HF_QKV:
        make_qkv(g);
        break;
    case RZ_HF_TRANSPOSE:
        make_transpose(g);
        break;
    case RZ_HF_STACK_Q:
        make_stack(g, c->n_head);
        break;
    case RZ_HF_STACK_K:
        make_stack(g, c->n_kv_head);
        break;
    case RZ_HF_SKIP_ROWS:
        make_shorter(g, c->skip_rows);
        break;
    default:
        if (g->spec->form >= RZ_HF_CONV)
            shape_recurrent(g);
        else
            shape_experts(g);
        break;
    }
}

/* --- the table --- */

static void add(struct rz_hf_model *m, struct rz_tensor t)
{
    m->tensors = rz_hf_more(m, m->tensors, m->n_tensors, &m->cap_tensors, sizeof(*m->tensors));
    if (!m->status)
        m->tensors[m->n_tensors++] = t;
}

static void make(struct rz_hf_model *m, const struct rz_hf_spec *spec, uint32_t layer, uint8_t *used)
{
    struct making g = {.m = m, .spec = spec, .layer = layer, .used = used};
    char name[NAME_MAX_BYTES];
    const struct rz_tensor *first = take(&g, 0);
    if (!first)
        return;
    if (spec->form == RZ_HF_NUMBER) {
        make_number(&g, first);
        return;
    }
    g.t = *first;
    spell(name, sizeof(name), spec->name, layer, 0);
    g.t.name = rz_hf_copy(m, name, strlen(name));
    shape(&g);
    if (g.t.n_dims == 1 && g.t.type != RZ_TYPE_F32)
        g.t.transform |= RZ_TRANSFORM_TO_F32;
    add(m, g.t);
}

static void add_divisors(struct rz_hf_model *m, const char *name, const float *divisors)
{
    uint32_t half = m->c.rope_dim / 2;
    if (!divisors)
        return;
    add(m, (struct rz_tensor){.size = sizeof(struct rz_tensor),
                              .type = RZ_TYPE_F32,
                              .n_dims = 1,
                              .dims = {half, 1, 1, 1},
                              .bytes = (uint64_t)half * sizeof(float),
                              .name = rz_hf_copy(m, name, strlen(name)),
                              .data = divisors});
}

/* Tensors that carry nothing: tables that older programs stored, a head that is the embedding again. */
static bool ignorable(const struct rz_hf_model *m, const char *name)
{
    static const char *const tails[] = {".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias",
                                        ".attention.bias", ".attention.masked_bias"};
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        size_t len = strlen(tails[i]);
        if (n > len && !strcmp(name + n - len, tails[i]))
            return true;
    }
    return !(m->c.has & RZ_HF_UNTIED) &&
           (!strcmp(name, "lm_head.weight") || !strcmp(name, "embed_out.weight"));
}

static void check_rest(struct rz_hf_model *m, const uint8_t *used)
{
    char where[160], shown[120];
    for (uint64_t i = 0; i < m->n_stored && !m->status; i++) {
        const char *name = m->stored[i].name.data;
        if (used[i] || ignorable(m, name) || rz_hf_is_head(m->c.family, name))
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
    add_divisors(m, "rope_freqs.weight", m->c.rope_divisors);
    add_divisors(m, "rope_factors_short.weight", m->c.rope_short);
    add_divisors(m, "rope_factors_long.weight", m->c.rope_long);
    for (uint32_t k = 0; k < RZ_HF_GROUPS && f->names[k]; k++)
        for (const struct rz_hf_spec *spec = f->names[k]; spec->stored && !m->status; spec++) {
            uint32_t n = strstr(spec->stored, "%u") ? m->c.n_layer : 1;
            for (uint32_t layer = 0; layer < n && !m->status; layer++) {
                uint32_t has = m->c.has | (layer ? RZ_HF_LATER : 0);
                has |= m->c.layer_has ? m->c.layer_has[layer] : 0;
                if ((has & spec->need) == spec->need && !(has & spec->without))
                    make(m, spec, layer, used);
            }
        }
    if (!m->status)
        check_rest(m, used);
    check_embedding(m);
}
