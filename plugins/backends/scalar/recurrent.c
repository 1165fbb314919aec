/* recurrent.c - the reference kernels of ops that carry state from row to row.
 *
 * A tile is a range of channels or heads, for all rows of the step in their order: so a row finds what the
 * row before it in its sequence has left. The state is float32 after every row, and what a row adds depends
 * on nothing else: a token gets the same bits alone, in a chunk, and in any company.
 */
#include "scalar.h"

#include <math.h>
#include <stdbool.h>

#define CHANNELS 32 /* a tile, about */

int32_t recurrent_accept(const struct rz_kernel_node *n)
{
    for (uint32_t i = 0; i < n->n_weights; i++)
        if (n->weights[i].type != RZ_TYPE_NONE && n->weights[i].type != RZ_TYPE_F32)
            return 0;
    return 1;
}

/* What the sequence of a row remembers. */
static float *state_of(const struct rz_kernel_call *c, uint32_t row)
{
    const struct rz_state_view *v = &c->step->states[c->node->attr[RZ_A_STATE].i];
    return v->base + (uint64_t)c->step->seqs[c->step->rows[row].seq].state_slot * v->stride;
}

static const float *weight(const struct rz_kernel_call *c, uint32_t i)
{
    return c->node->weights[i].data;
}

static double softplus(double x)
{
    return x > 30 ? x : log1p(exp(x));
}

static uint32_t tiles_of(uint64_t n, uint64_t each)
{
    return (uint32_t)((n + each - 1) / each);
}

/* The tile's part of n things. */
static uint64_t part(const struct rz_kernel_call *c, uint64_t each, uint64_t n, uint64_t *end)
{
    uint64_t first = c->tile * each;
    *end = first + each < n ? first + each : n;
    return first;
}

/* --- convolution --- */

uint32_t conv_tiles(const struct rz_kernel_call *c)
{
    return tiles_of(c->out[0].width, CHANNELS);
}

static void conv_row(const struct rz_kernel_call *c, uint32_t row, uint64_t first, uint64_t end)
{
    uint64_t width = c->in[0].width, taps = c->node->weights[0].cols;
    const float *x = in_row(c, 0, row);
    float *y = out_row(c, 0, row), *past = state_of(c, row);
    for (uint64_t i = first; i < end; i++) {
        const float *w = weight(c, 0) + i * taps;
        double sum = c->node->attr_mask & RZ_ATTR_BIAS ? (double)weight(c, 1)[i] : 0;
        for (uint64_t k = 0; k + 1 < taps; k++)
            sum += (double)w[k] * (double)past[k * width + i];
        sum += (double)w[taps - 1] * (double)x[i];
        y[i] = (float)(c->node->attr_mask & RZ_ATTR_SILU ? sum / (1 + exp(-sum)) : sum);
        for (uint64_t k = 0; k + 2 < taps; k++)
            past[k * width + i] = past[(k + 1) * width + i];
        past[(taps - 2) * width + i] = x[i];
    }
}

int32_t conv_run(const struct rz_kernel_call *c, struct rz_err *err)
{
    uint64_t end, first = part(c, CHANNELS, c->out[0].width, &end);
    (void)err;
    for (uint32_t row = 0; row < c->n_rows; row++)
        conv_row(c, row, first, end);
    return RZ_OK;
}

/* --- scan --- */

static uint64_t scan_heads(const struct rz_kernel_call *c)
{
    uint64_t p = c->out[0].width / (uint64_t)c->node->attr[RZ_A_N_HEAD].i;
    return p < CHANNELS ? CHANNELS / p : 1;
}

uint32_t scan_tiles(const struct rz_kernel_call *c)
{
    return tiles_of((uint64_t)c->node->attr[RZ_A_N_HEAD].i, scan_heads(c));
}

static void scan_head(const struct rz_kernel_call *c, uint32_t row, uint64_t head)
{
    const struct rz_attr *a = c->node->attr;
    uint64_t inner = c->out[0].width, p_dim = inner / (uint64_t)a[RZ_A_N_HEAD].i;
    uint64_t groups = (uint64_t)a[RZ_A_STATE_GROUPS].i, group = head / ((uint64_t)a[RZ_A_N_HEAD].i / groups);
    bool apart = c->node->n_in == 4;
    uint64_t n_dim = (apart ? c->in[2].width : (c->in[0].width - inner) / 2) / groups;
    const float *x = in_row(c, 0, row) + head * p_dim;
    const float *bs = apart ? in_row(c, 2, row) : in_row(c, 0, row) + inner;
    const float *cs = apart ? in_row(c, 3, row) : bs + groups * n_dim;
    const float *as = weight(c, 0) + head * c->node->weights[0].cols;
    double bias = c->node->weights[2].type != RZ_TYPE_NONE ? (double)weight(c, 2)[head] : 0;
    double d = softplus((double)in_row(c, 1, row)[head] + bias), skip = (double)weight(c, 1)[head];
    float *s = state_of(c, row) + head * p_dim * n_dim, *y = out_row(c, 0, row) + head * p_dim;
    for (uint64_t p = 0; p < p_dim; p++, s += n_dim) {
        double sum = 0;
        for (uint64_t n = 0; n < n_dim; n++) {
            double decay = exp(d * (double)as[c->node->weights[0].cols > 1 ? n : 0]);
            s[n] = (float)((double)s[n] * decay + d * (double)x[p] * (double)bs[group * n_dim + n]);
            sum += (double)s[n] * (double)cs[group * n_dim + n];
        }
        y[p] = (float)(sum + skip * (double)x[p]);
    }
}

int32_t scan_run(const struct rz_kernel_call *c, struct rz_err *err)
{
    uint64_t end, first = part(c, scan_heads(c), (uint64_t)c->node->attr[RZ_A_N_HEAD].i, &end);
    (void)err;
    for (uint32_t row = 0; row < c->n_rows; row++)
        for (uint64_t head = first; head < end; head++)
            scan_head(c, row, head);
    return RZ_OK;
}

/* --- the delta rule --- */

uint32_t delta_tiles(const struct rz_kernel_call *c)
{
    return (uint32_t)c->node->attr[RZ_A_N_HEAD].i;
}

static double norm_factor(const struct rz_kernel_call *c, const float *x, uint64_t n)
{
    double sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return 1 / sqrt(sum + c->node->attr[RZ_A_EPS].f);
}

static void delta_head(const struct rz_kernel_call *c, uint32_t row, uint64_t head)
{
    const struct rz_attr *a = c->node->attr;
    uint64_t heads = (uint64_t)a[RZ_A_N_HEAD].i, keys = (uint64_t)a[RZ_A_STATE_GROUPS].i;
    uint64_t v_dim = c->out[0].width / heads, k_dim = (c->in[0].width - c->out[0].width) / (2 * keys);
    uint64_t mine = c->node->attr_mask & RZ_ATTR(RZ_A_STRIPED) ? head % keys : head / (heads / keys);
    const float *q = in_row(c, 0, row) + mine * k_dim, *k = q + keys * k_dim;
    const float *v = in_row(c, 0, row) + 2 * keys * k_dim + head * v_dim;
    double d = softplus((double)in_row(c, 1, row)[head] + (double)weight(c, 1)[head]);
    double decay = exp(d * (double)weight(c, 0)[head]);
    double beta = 1 / (1 + exp(-(double)in_row(c, 2, row)[head]));
    double k_factor = norm_factor(c, k, k_dim);
    double q_factor = norm_factor(c, q, k_dim) / sqrt((double)k_dim);
    float *s = state_of(c, row) + head * k_dim * v_dim, *y = out_row(c, 0, row) + head * v_dim;
    for (uint64_t j = 0; j < v_dim; j++) {
        double known = 0, sum = 0;
        for (uint64_t i = 0; i < k_dim; i++)
            known += (double)k[i] * k_factor * ((double)s[i * v_dim + j] * decay);
        double r = beta * ((double)v[j] - known);
        for (uint64_t i = 0; i < k_dim; i++) {
            s[i * v_dim + j] = (float)((double)s[i * v_dim + j] * decay + (double)k[i] * k_factor * r);
            sum += (double)q[i] * q_factor * (double)s[i * v_dim + j];
        }
        y[j] = (float)sum;
    }
}

int32_t delta_run(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    for (uint32_t row = 0; row < c->n_rows; row++)
        delta_head(c, row, c->tile);
    return RZ_OK;
}

int32_t mul_run(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    const float *a = in_row(c, 0, c->tile), *b = in_row(c, 1, c->tile);
    float *y = out_row(c, 0, c->tile);
    for (uint64_t i = 0; i < c->out[0].width; i++)
        y[i] = a[i] * b[i];
    return RZ_OK;
}
