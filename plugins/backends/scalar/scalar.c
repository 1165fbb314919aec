/* scalar.c - the reference kernels: every primitive, every type, in plain C, written for reading.
 *
 * Weights are decoded to float32 and multiplied in double precision; a result is rounded to float32
 * once. SIMD kernels are judged by these. Each row of a result is computed alone and in the order of
 * its elements, so nothing depends on the number of rows, tiles or threads.
 */
#include "scalar.h"

#include "../common/route.h"

#include "err.h"
#include "numeric.h"

#include <math.h>
#include <string.h>

static uint32_t tiles_by_row(const struct rz_kernel_call *c)
{
    return c->n_rows;
}

/* --- get_rows: x[r] = table[token[r]] --- */

static int32_t get_rows(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    const struct rz_weight_view *w = &c->node->weights[0];
    uint64_t row_bytes = w->bytes / w->rows;
    const uint8_t *row = (const uint8_t *)w->data + (uint64_t)c->step->rows[c->tile].token * row_bytes;
    rz_type_info(w->type)->decode(row, out_row(c, 0, c->tile), w->cols);
    return RZ_OK;
}

/* y[r] = x[r] + table[position of r] */
static int32_t add_pos(const struct rz_kernel_call *c, struct rz_err *err)
{
    const struct rz_weight_view *w = &c->node->weights[0];
    uint64_t pos = (uint64_t)c->step->rows[c->tile].pos[0], row_bytes = w->bytes / w->rows;
    const float *x = in_row(c, 0, c->tile);
    float *y = out_row(c, 0, c->tile);
    if (pos >= w->rows)
        return rz_fail(err, RZ_ELIMIT, "add_pos", "position %llu: the model has %llu learned positions",
                       (unsigned long long)pos, (unsigned long long)w->rows);
    rz_type_info(w->type)->decode((const uint8_t *)w->data + pos * row_bytes, y, w->cols);
    for (uint64_t i = 0; i < w->cols; i++)
        y[i] += x[i];
    return RZ_OK;
}

/* y[r] = x[r] + one row of the table */
static int32_t add_row(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    const struct rz_weight_view *w = &c->node->weights[0];
    const uint8_t *row =
        (const uint8_t *)w->data + (uint64_t)c->node->attr[RZ_A_ROW].i * (w->bytes / w->rows);
    const float *x = in_row(c, 0, c->tile);
    float *y = out_row(c, 0, c->tile);
    rz_type_info(w->type)->decode(row, y, w->cols);
    for (uint64_t i = 0; i < w->cols; i++)
        y[i] += x[i];
    return RZ_OK;
}

/* --- norms: y = x / sqrt(mean(x^2) + eps) * w, and the same of x - mean(x), plus a bias; by parts --- */

static void norm_part(const struct rz_kernel_call *c, uint64_t at, uint64_t n, double mean)
{
    const struct rz_weight_view *weights = c->node->weights;
    const float *x = in_row(c, 0, c->tile) + at;
    float *y = out_row(c, 0, c->tile) + at;
    double sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += ((double)x[i] - mean) * ((double)x[i] - mean);
    double scale = 1 / sqrt(sum / (double)n + c->node->attr[RZ_A_EPS].f);
    for (uint64_t i = 0; i < n; i++) {
        double v = ((double)x[i] - mean) * scale;
        if (weights[0].type != RZ_TYPE_NONE)
            v *= (double)((const float *)weights[0].data)[(at + i) % weights[0].cols];
        if (c->node->n_weights > 1 && weights[1].type != RZ_TYPE_NONE)
            v += (double)((const float *)weights[1].data)[(at + i) % weights[1].cols];
        y[i] = (float)v;
    }
}

static uint64_t norm_width(const struct rz_kernel_call *c)
{
    bool parts = c->node->attr_mask & RZ_ATTR(RZ_A_PARTS);
    return parts ? c->in[0].width / (uint64_t)c->node->attr[RZ_A_PARTS].i : c->in[0].width;
}

static int32_t rmsnorm(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    uint64_t n = norm_width(c);
    for (uint64_t at = 0; at < c->in[0].width; at += n)
        norm_part(c, at, n, 0);
    return RZ_OK;
}

static int32_t layernorm(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    uint64_t n = norm_width(c);
    const float *x = in_row(c, 0, c->tile);
    for (uint64_t at = 0; at < c->in[0].width; at += n) {
        double sum = 0;
        for (uint64_t i = 0; i < n; i++)
            sum += (double)x[at + i];
        norm_part(c, at, n, sum / (double)n);
    }
    return RZ_OK;
}

/* Vectors beside a matrix (norms, biases) must be float32. */
static int32_t vectors_are_f32(const struct rz_kernel_node *n)
{
    for (uint32_t i = 0; i < n->n_weights; i++)
        if (n->weights[i].type != RZ_TYPE_NONE && n->weights[i].rows == 1 &&
            n->weights[i].type != RZ_TYPE_F32 &&
            !(i == 0 && (n->op == RZ_OP_MATMUL || n->op == RZ_OP_MATMUL_ID || n->op == RZ_OP_MATMUL_HEADS ||
                         n->op == RZ_OP_GET_ROWS || n->op == RZ_OP_ADD_POS || n->op == RZ_OP_ADD_ROW)))
            return 0;
    return 1;
}

static int32_t matrix_is_known(const struct rz_kernel_node *n)
{
    return vectors_are_f32(n) && rz_type_info(n->weights[0].type)->decode != NULL;
}

/* --- rope: rotates pairs of each head --- */

static int32_t rope(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    const struct rz_attr *a = c->node->attr;
    const struct rz_batch_row *row = &c->step->rows[c->tile];
    uint32_t variant =
        c->node->attr_mask & RZ_ATTR(RZ_A_ROPE_VARIANTS) ? c->step->seqs[row->seq].rope_variant : 0;
    const struct rz_rope_view *t = &c->step->ropes[a[RZ_A_ROPE].i + variant];
    uint64_t head_dim = (uint64_t)a[RZ_A_HEAD_DIM].i, half = t->dim / 2;
    uint64_t pos = (uint64_t)row->pos[0];
    const float *cosines = t->cos + pos * half, *sines = t->sin + pos * half;
    const float *x = in_row(c, 0, c->tile);
    float *y = out_row(c, 0, c->tile);
    bool neox = c->node->attr_mask & RZ_ATTR(RZ_A_ROPE_NEOX);
    memcpy(y, x, c->in[0].width * sizeof(float));
    if (c->node->attr_mask & RZ_ATTR(RZ_A_ROPE_OFFSET)) {
        x += a[RZ_A_ROPE_OFFSET].i;
        y += a[RZ_A_ROPE_OFFSET].i;
    }
    for (int64_t h = 0; h < a[RZ_A_N_HEAD].i; h++, x += head_dim, y += head_dim)
        for (uint64_t i = 0; i < half; i++) {
            uint64_t p = neox ? i : 2 * i, q = neox ? i + half : 2 * i + 1;
            double cs = (double)cosines[i], sn = (double)sines[i], u = (double)x[p], v = (double)x[q];
            y[p] = (float)(u * cs - v * sn);
            y[q] = (float)(u * sn + v * cs);
        }
    return RZ_OK;
}

/* --- KV: pages of [tokens][dim], K then V, for each layer and head --- */

#define HEAD_MAX 1024

static uint8_t *kv_head(const struct rz_kernel_call *c, const struct rz_batch_seq *s, uint64_t pos,
                        uint64_t head)
{
    const struct rz_attr *a = c->node->attr;
    const struct rz_kv_view *v = &c->step->kv[a[RZ_A_KV_GROUP].i];
    int32_t page = s->pages[a[RZ_A_KV_GROUP].i][pos / v->page_tokens];
    return v->base + (uint64_t)page * v->page_bytes + (uint64_t)a[RZ_A_KV_LAYER].i * v->layer_bytes +
           head * v->head_bytes;
}

/* Stores a block of n <= RZ_KV_BLOCK elements: as they are, or as integers of -127..127 times their scale. */
static void kv_put_block(int32_t type, uint8_t *at, const float *x, uint64_t n)
{
    float largest = 0;
    for (uint64_t i = 0; i < n; i++)
        largest = fmaxf(largest, fabsf(x[i]));
    uint16_t h = rz_f32_to_f16(largest / 127);
    float scale = rz_f16_to_f32(h);
    if (type == RZ_TYPE_F32)
        memcpy(at, x, n * 4);
    if (type == RZ_TYPE_Q8_0)
        memcpy(at, &h, 2);
    for (uint64_t i = 0; i < n && type != RZ_TYPE_F32; i++) {
        h = type == RZ_TYPE_BF16 ? rz_f32_to_bf16(x[i]) : rz_f32_to_f16(x[i]);
        if (type == RZ_TYPE_Q8_0)
            at[2 + i] = (uint8_t)(int8_t)(scale > 0 ? fmaxf(-127, fminf(127, rintf(x[i] / scale))) : 0);
        else
            memcpy(at + 2 * i, &h, 2);
    }
}

/* Row `slot` of rows of dim elements. */
static void kv_put(const struct rz_kv_view *v, uint8_t *at, uint64_t slot, uint64_t dim, const float *x)
{
    at += slot * rz_kv_row_bytes(v->type, dim);
    for (uint64_t d = 0; d < dim; d += RZ_KV_BLOCK) {
        uint64_t n = dim - d < RZ_KV_BLOCK ? dim - d : RZ_KV_BLOCK;
        kv_put_block(v->type, at, x + d, n);
        at += rz_kv_row_bytes(v->type, n);
    }
}

static double kv_get(const struct rz_kv_view *v, const uint8_t *at, uint64_t slot, uint64_t dim, uint64_t d)
{
    float x;
    uint16_t h;
    at += slot * rz_kv_row_bytes(v->type, dim) + rz_kv_row_bytes(v->type, d / RZ_KV_BLOCK * RZ_KV_BLOCK);
    d %= RZ_KV_BLOCK;
    switch (v->type) {
    case RZ_TYPE_F32:
        memcpy(&x, at + d * 4, 4);
        return (double)x;
    case RZ_TYPE_Q8_0:
        memcpy(&h, at, 2);
        return (double)rz_f16_to_f32(h) * (int8_t)at[2 + d];
    default:
        memcpy(&h, at + d * 2, 2);
        return (double)(v->type == RZ_TYPE_BF16 ? rz_bf16_to_f32(h) : rz_f16_to_f32(h));
    }
}

static int32_t kv_store(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    const struct rz_attr *a = c->node->attr;
    const struct rz_kv_view *v = &c->step->kv[a[RZ_A_KV_GROUP].i];
    const struct rz_batch_row *row = &c->step->rows[c->tile];
    const struct rz_batch_seq *s = &c->step->seqs[row->seq];
    uint64_t pos = (uint64_t)row->pos[0], slot = pos % v->page_tokens;
    const float *k = in_row(c, 0, c->tile), *val = in_row(c, 1, c->tile);
    if (c->node->attr_mask & RZ_ATTR(RZ_A_LATENT)) {
        float both[HEAD_MAX];
        memcpy(both, k, v->v_dim * sizeof(float));
        memcpy(both + v->v_dim, val, (v->k_dim - v->v_dim) * sizeof(float));
        kv_put(v, kv_head(c, s, pos, 0), slot, v->k_dim, both);
        return RZ_OK;
    }
    for (uint64_t h = 0; h < v->n_heads; h++) {
        uint8_t *at = kv_head(c, s, pos, h);
        kv_put(v, at, slot, v->k_dim, k + h * v->k_dim);
        kv_put(v, at + v->v_offset, slot, v->v_dim, val + h * v->v_dim);
    }
    return RZ_OK;
}

/* --- attention: softmax(scale * q k) v over the positions seen; keys in splits, splits in order --- */

struct partial {
    double max, sum, y[HEAD_MAX];
};

/* A query of one head. */
struct query {
    const float *q;
    uint64_t kv_head, pos;
    double slope; /* ALiBi: added to the score for each position of distance */
};

/* Press et al. 2021, arXiv:2108.12409, with their rule for head counts that are no power of two. */
static double alibi_slope(const struct rz_kernel_node *n, uint64_t head)
{
    double most = n->attr[RZ_A_ALIBI].f;
    uint64_t power = 1;
    if (!(n->attr_mask & RZ_ATTR(RZ_A_ALIBI)))
        return 0;
    while (power * 2 <= (uint64_t)n->attr[RZ_A_N_HEAD].i)
        power *= 2;
    if (head < power)
        return exp2(-most * (double)(head + 1) / (double)power);
    return exp2(-most * (double)(2 * (head - power) + 1) / (double)(2 * power));
}

static double score(const struct rz_kernel_call *c, const struct rz_batch_seq *s, uint64_t pos,
                    const struct query *q)
{
    const struct rz_kv_view *v = &c->step->kv[c->node->attr[RZ_A_KV_GROUP].i];
    const struct rz_attr *a = c->node->attr;
    const uint8_t *k = kv_head(c, s, pos, q->kv_head);
    uint64_t slot = pos % v->page_tokens;
    double sum = 0;
    for (uint64_t d = 0; d < v->k_dim; d++)
        sum += (double)q->q[d] * kv_get(v, k, slot, v->k_dim, d);
    sum *= a[RZ_A_SCALE].f;
    if (c->node->attr_mask & RZ_ATTR(RZ_A_SOFTCAP))
        sum = a[RZ_A_SOFTCAP].f * tanh(sum / a[RZ_A_SOFTCAP].f);
    return sum - q->slope * fabs((double)q->pos - (double)pos);
}

/* One split of at most RZ_ATTENTION_SPLIT keys, merged into what came before. */
static void attend_split(const struct rz_kernel_call *c, const struct rz_batch_seq *s, const struct query *q,
                         uint64_t first, uint64_t end, struct partial *p)
{
    const struct rz_kv_view *v = &c->step->kv[c->node->attr[RZ_A_KV_GROUP].i];
    double scores[RZ_ATTENTION_SPLIT], max = -INFINITY;
    uint64_t stride = v->v_offset ? v->v_dim : v->k_dim; /* of values; without V they are in the keys */
    for (uint64_t i = first; i < end; i++) {
        scores[i - first] = score(c, s, i, q);
        max = fmax(max, scores[i - first]);
    }
    double top = fmax(max, p->max), keep = exp(p->max - top);
    p->sum *= keep;
    for (uint64_t d = 0; d < v->v_dim; d++)
        p->y[d] *= keep;
    p->max = top;
    for (uint64_t i = first; i < end; i++) {
        double weight = exp(scores[i - first] - top);
        const uint8_t *values = kv_head(c, s, i, q->kv_head) + v->v_offset;
        p->sum += weight;
        for (uint64_t d = 0; d < v->v_dim; d++)
            p->y[d] += weight * kv_get(v, values, i % v->page_tokens, stride, d);
    }
}

/* A score that has no value: it takes its share of the softmax. */
static void attend_sink(const struct rz_kernel_call *c, uint64_t head, struct partial *p)
{
    if (!(c->node->attr_mask & RZ_ATTR(RZ_A_SINKS)))
        return;
    double sink = (double)((const float *)c->node->weights[0].data)[head], top = fmax(sink, p->max);
    double keep = exp(p->max - top);
    p->sum = p->sum * keep + exp(sink - top);
    for (uint64_t d = 0; d < c->step->kv[c->node->attr[RZ_A_KV_GROUP].i].v_dim; d++)
        p->y[d] *= keep;
}

static uint32_t attention_tiles(const struct rz_kernel_call *c)
{
    return c->n_rows * (uint32_t)c->node->attr[RZ_A_N_HEAD].i;
}

/* The positions first..end-1 that a query at pos sees. */
static void positions_seen(const struct rz_kernel_node *n, const struct rz_batch_seq *s, uint64_t pos,
                           uint64_t *first, uint64_t *end)
{
    bool ahead = n->attr_mask & RZ_ATTR(RZ_A_BOTH) && s->mask == RZ_MASK_ALL;
    uint64_t window = n->attr_mask & RZ_ATTR(RZ_A_WINDOW) ? (uint64_t)n->attr[RZ_A_WINDOW].i : UINT32_MAX;
    *first = pos + 1 > window ? pos + 1 - window : 0;
    if (n->attr_mask & RZ_ATTR(RZ_A_CHUNK) && pos - pos % (uint64_t)n->attr[RZ_A_CHUNK].i > *first)
        *first = pos - pos % (uint64_t)n->attr[RZ_A_CHUNK].i;
    *end = pos + (ahead ? window : 1);
    if (*end > s->length)
        *end = s->length;
}

static int32_t attention(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    const struct rz_attr *a = c->node->attr;
    uint32_t n_head = (uint32_t)a[RZ_A_N_HEAD].i, row = c->tile / n_head, head = c->tile % n_head;
    uint64_t dim = (uint64_t)a[RZ_A_HEAD_DIM].i, v_dim = c->out[0].width / n_head;
    const struct rz_batch_row *r = &c->step->rows[row];
    const struct rz_batch_seq *s = &c->step->seqs[r->seq];
    struct query q = {.q = in_row(c, 0, row) + head * dim,
                      .kv_head = head / (n_head / (uint32_t)a[RZ_A_N_KV_HEAD].i),
                      .pos = (uint64_t)r->pos[0],
                      .slope = alibi_slope(c->node, head)};
    uint64_t seen, n;
    positions_seen(c->node, s, q.pos, &seen, &n);
    struct partial p = {.max = -INFINITY};
    for (uint64_t split = seen / RZ_ATTENTION_SPLIT * RZ_ATTENTION_SPLIT; split < n;
         split += RZ_ATTENTION_SPLIT)
        attend_split(c, s, &q, split < seen ? seen : split,
                     n < split + RZ_ATTENTION_SPLIT ? n : split + RZ_ATTENTION_SPLIT, &p);
    attend_sink(c, head, &p);
    for (uint64_t d = 0; d < v_dim; d++)
        out_row(c, 0, row)[head * v_dim + d] = (float)(p.y[d] / p.sum);
    return RZ_OK;
}

static int32_t head_fits(const struct rz_kernel_node *n)
{
    return n->attr[RZ_A_HEAD_DIM].i <= HEAD_MAX && vectors_are_f32(n);
}

/* --- elementwise --- */

static double xielu(const struct rz_attr *a, double x)
{
    double linear = a[RZ_A_XIELU_BETA].f * x;
    if (x > 0)
        return a[RZ_A_XIELU_P].f * x * x + linear;
    return (expm1(fmin(x, a[RZ_A_EPS].f)) - x) * a[RZ_A_XIELU_N].f + linear;
}

static double activation(const struct rz_kernel_node *n, double x)
{
    if (n->attr_mask & RZ_ATTR(RZ_A_GELU))
        return x * 0.5 * erfc(-x * 0.70710678118654752);
    if (n->attr_mask & RZ_ATTR(RZ_A_GELU_TANH))
        return x / (1 + exp(-2 * 0.79788456080286536 * (x + 0.044715 * x * x * x)));
    if (n->attr_mask & RZ_ATTR(RZ_A_RELU2))
        return x > 0 ? x * x : 0;
    if (n->attr_mask & RZ_ATTR(RZ_A_XIELU_P))
        return xielu(n->attr, x);
    return x / (1 + exp(-x));
}

static double swiglu(double limit, double gate, double up)
{
    gate = fmin(gate, limit);
    return gate / (1 + exp(-1.702 * gate)) * (fmin(limit, fmax(-limit, up)) + 1);
}

static int32_t act_mul(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    const float *gate = in_row(c, 0, c->tile), *up = in_row(c, 1, c->tile);
    float *y = out_row(c, 0, c->tile);
    bool clamped = c->node->attr_mask & RZ_ATTR(RZ_A_SWIGLU);
    for (uint64_t i = 0; i < c->out[0].width; i++)
        y[i] = (float)(clamped ? swiglu(c->node->attr[RZ_A_SWIGLU].f, (double)gate[i], (double)up[i])
                               : activation(c->node, (double)gate[i]) * (double)up[i]);
    return RZ_OK;
}

static int32_t act(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    const float *x = in_row(c, 0, c->tile);
    float *y = out_row(c, 0, c->tile);
    for (uint64_t i = 0; i < c->out[0].width; i++)
        y[i] = (float)activation(c->node, (double)x[i]);
    return RZ_OK;
}

static int32_t map(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    const struct rz_attr *a = c->node->attr;
    uint64_t mask = c->node->attr_mask;
    const float *x = in_row(c, 0, c->tile);
    float *y = out_row(c, 0, c->tile);
    double grown = 1;
    if (mask & RZ_ATTR(RZ_A_TEMPERATURE))
        grown += a[RZ_A_TEMPERATURE].f *
                 log1p(floor((c->step->rows[c->tile].pos[0] + 1.0) / (double)a[RZ_A_TEMPERATURE].i));
    for (uint64_t i = 0; i < c->out[0].width; i++) {
        double v = (double)x[i] * grown;
        if (mask & RZ_ATTR(RZ_A_FACTOR))
            v *= a[RZ_A_FACTOR].f;
        if (mask & RZ_ATTR(RZ_A_SOFTCAP))
            v = a[RZ_A_SOFTCAP].f * tanh(v / a[RZ_A_SOFTCAP].f);
        if (mask & RZ_ATTR(RZ_A_CLAMP))
            v = fmin(a[RZ_A_CLAMP].f, fmax(-a[RZ_A_CLAMP].f, v));
        y[i] = (float)v;
    }
    return RZ_OK;
}

static int32_t add(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    const float *a = in_row(c, 0, c->tile), *b = in_row(c, 1, c->tile);
    float *y = out_row(c, 0, c->tile);
    for (uint64_t i = 0; i < c->out[0].width; i++)
        y[i] = a[i] + b[i];
    return RZ_OK;
}

static int32_t columns(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    memcpy(out_row(c, 0, c->tile), in_row(c, 0, c->tile) + c->node->attr[RZ_A_COLUMN].i,
           c->out[0].width * sizeof(float));
    return RZ_OK;
}

static int32_t select_rows(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    memcpy(out_row(c, 0, c->tile), in_row(c, 0, c->step->wanted[c->tile]), c->out[0].width * sizeof(float));
    return RZ_OK;
}

/* --- the table --- */

#define TILED (RZ_ROW_TILED | RZ_ROW_INVARIANT)
#define KV_TYPES (1u << RZ_TYPE_F16 | 1u << RZ_TYPE_BF16 | 1u << RZ_TYPE_F32 | 1u << RZ_TYPE_Q8_0)

/* clang-format off */
static const struct rz_kernel_row rows[] = {
    RZ_KERNEL_ROW(.op = RZ_OP_GET_ROWS, .flags = TILED, .weight = RZ_TYPE_ANY, .accept = matrix_is_known,
                  .tiles = tiles_by_row, .run = get_rows),
    RZ_KERNEL_ROW(.op = RZ_OP_RMSNORM, .flags = TILED, .weight = RZ_TYPE_NONE,
                  .attrs = RZ_ATTR_EPS | RZ_ATTR(RZ_A_PARTS), .accept = vectors_are_f32,
                  .tiles = tiles_by_row, .run = rmsnorm),
    RZ_KERNEL_ROW(.op = RZ_OP_LAYERNORM, .flags = TILED, .weight = RZ_TYPE_NONE,
                  .attrs = RZ_ATTR_EPS | RZ_ATTR(RZ_A_PARTS), .accept = vectors_are_f32,
                  .tiles = tiles_by_row, .run = layernorm),
    RZ_KERNEL_ROW(.op = RZ_OP_MATMUL, .flags = TILED, .weight = RZ_TYPE_ANY, .attrs = RZ_ATTR_BIAS,
                  .accept = matrix_is_known, .tiles = matmul_tiles, .run = matmul),
    RZ_KERNEL_ROW(.op = RZ_OP_MATMUL_ID, .flags = TILED, .weight = RZ_TYPE_ANY, .attrs = RZ_ATTR_BIAS,
                  .accept = matrix_is_known, .tiles = matmul_id_tiles, .run = matmul_id),
    RZ_KERNEL_ROW(.op = RZ_OP_MATMUL_HEADS, .flags = TILED, .weight = RZ_TYPE_ANY,
                  .attrs = RZ_ATTR(RZ_A_PARTS), .accept = matrix_is_known, .tiles = matmul_heads_tiles,
                  .run = matmul_heads),
    RZ_KERNEL_ROW(.op = RZ_OP_ROUTE, .flags = TILED, .weight = RZ_TYPE_NONE, .attrs = RZ_ATTRS_ROUTE,
                  .accept = route_accept, .tiles = tiles_by_row, .run = route),
    RZ_KERNEL_ROW(.op = RZ_OP_SUM_ID, .flags = TILED, .weight = RZ_TYPE_NONE, .tiles = tiles_by_row,
                  .run = sum_id),
    RZ_KERNEL_ROW(.op = RZ_OP_SCALE_ID, .flags = TILED, .weight = RZ_TYPE_NONE, .tiles = tiles_by_row,
                  .run = scale_id),
    RZ_KERNEL_ROW(.op = RZ_OP_GATE, .flags = TILED, .weight = RZ_TYPE_NONE, .tiles = tiles_by_row,
                  .run = gate),
    RZ_KERNEL_ROW(.op = RZ_OP_ROPE, .flags = TILED, .weight = RZ_TYPE_NONE,
                  .attrs = RZ_ATTRS_ROPE | RZ_ATTR(RZ_A_ROPE_OFFSET) | RZ_ATTR(RZ_A_ROPE_VARIANTS),
                  .tiles = tiles_by_row, .run = rope),
    RZ_KERNEL_ROW(.op = RZ_OP_KV_STORE, .flags = TILED, .weight = RZ_TYPE_NONE,
                  .attrs = RZ_ATTRS_KV | RZ_ATTR(RZ_A_LATENT), .kv_types = KV_TYPES,
                  .kv_layout = RZ_KV_LAYOUT_ROWS, .accept = head_fits, .tiles = tiles_by_row,
                  .run = kv_store),
    RZ_KERNEL_ROW(.op = RZ_OP_ATTENTION, .flags = TILED, .weight = RZ_TYPE_NONE,
                  .attrs = RZ_ATTRS_ATTENTION | RZ_ATTRS_MASK | RZ_ATTR(RZ_A_LATENT) | RZ_ATTR(RZ_A_CHUNK) |
                           RZ_ATTR(RZ_A_SINKS) | RZ_ATTR(RZ_A_BOTH),
                  .kv_types = KV_TYPES,
                  .kv_layout = RZ_KV_LAYOUT_ROWS, .accept = head_fits, .tiles = attention_tiles,
                  .run = attention),
    RZ_KERNEL_ROW(.op = RZ_OP_ACT_MUL, .flags = TILED, .weight = RZ_TYPE_NONE,
                  .attrs = RZ_ATTRS_ACT | RZ_ATTR(RZ_A_SWIGLU),
                  .tiles = tiles_by_row, .run = act_mul),
    RZ_KERNEL_ROW(.op = RZ_OP_ACT, .flags = TILED, .weight = RZ_TYPE_NONE,
                  .attrs = RZ_ATTRS_ACT | RZ_ATTRS_XIELU,
                  .tiles = tiles_by_row, .run = act),
    RZ_KERNEL_ROW(.op = RZ_OP_MAP, .flags = TILED, .weight = RZ_TYPE_NONE,
                  .attrs = RZ_ATTR(RZ_A_FACTOR) | RZ_ATTR(RZ_A_SOFTCAP) | RZ_ATTR(RZ_A_CLAMP) |
                           RZ_ATTR(RZ_A_TEMPERATURE),
                  .tiles = tiles_by_row, .run = map),
    RZ_KERNEL_ROW(.op = RZ_OP_ADD_POS, .flags = TILED, .weight = RZ_TYPE_ANY, .accept = matrix_is_known,
                  .tiles = tiles_by_row, .run = add_pos),
    RZ_KERNEL_ROW(.op = RZ_OP_ADD_ROW, .flags = TILED, .weight = RZ_TYPE_ANY, .attrs = RZ_ATTR(RZ_A_ROW),
                  .accept = matrix_is_known, .tiles = tiles_by_row, .run = add_row),
    RZ_KERNEL_ROW(.op = RZ_OP_ADD, .flags = TILED, .weight = RZ_TYPE_NONE, .tiles = tiles_by_row, .run = add),
    RZ_KERNEL_ROW(.op = RZ_OP_COLUMNS, .flags = TILED, .weight = RZ_TYPE_NONE, .attrs = RZ_ATTR(RZ_A_COLUMN),
                  .tiles = tiles_by_row, .run = columns),
    RZ_KERNEL_ROW(.op = RZ_OP_SELECT_ROWS, .flags = TILED, .weight = RZ_TYPE_NONE, .tiles = tiles_by_row,
                  .run = select_rows),
    RZ_KERNEL_ROW(.op = RZ_OP_CONV, .flags = TILED, .weight = RZ_TYPE_ANY,
                  .attrs = RZ_ATTR(RZ_A_STATE) | RZ_ATTR_SILU | RZ_ATTR_BIAS, .accept = recurrent_accept,
                  .tiles = conv_tiles, .run = conv_run),
    RZ_KERNEL_ROW(.op = RZ_OP_SCAN, .flags = TILED, .weight = RZ_TYPE_ANY, .attrs = RZ_ATTRS_SCAN,
                  .accept = recurrent_accept, .tiles = scan_tiles, .run = scan_run),
    RZ_KERNEL_ROW(.op = RZ_OP_DELTA, .flags = TILED, .weight = RZ_TYPE_ANY,
                  .attrs = RZ_ATTRS_SCAN | RZ_ATTR_EPS | RZ_ATTR(RZ_A_STRIPED), .accept = recurrent_accept,
                  .tiles = delta_tiles, .run = delta_run),
    RZ_KERNEL_ROW(.op = RZ_OP_MUL, .flags = TILED, .weight = RZ_TYPE_NONE, .tiles = tiles_by_row,
                  .run = mul_run),
};
/* clang-format on */

RZ_KERNELS_PLUGIN("scalar", "0.1.0", "rz", "MIT", rows, 0);
