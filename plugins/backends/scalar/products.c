/* products.c - matrix products: one matrix for all rows, one for each head, one chosen by each row.
 *
 * y[o] = sum_i w[o][i] x[i] + bias[o]. Each output is a sum of its own, over ascending i in eight lanes, so
 * that its bits depend on nothing but its weights and its x. A row of weights is decoded once for all the
 * rows of x that meet it.
 */
#include "scalar.h"

#include "numeric.h"

#define CHUNK 512   /* weight elements decoded at a time: a multiple of every block size */
#define LANES 8     /* partial sums of a dot product, added in order at the end          */
#define OUTPUTS 8   /* outputs a tile                                                    */
#define TOGETHER 16 /* rows of x that share one decoding                                */

/* Rows of x that meet the same matrix, and where their results go. */
struct meeting {
    const float *x[TOGETHER];
    float *y[TOGETHER];
    uint32_t n;
};

/* Adds the dot product of n elements to the lanes; lane j takes the elements i with i % LANES = j. */
static void dot_lanes(const float *w, const float *x, uint64_t n, double *lanes)
{
    uint64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lanes[j] += (double)w[i + j] * (double)x[i + j];
    for (; i < n; i++)
        lanes[i % LANES] += (double)w[i] * (double)x[i];
}

/* Output o of each y, from row `row` of the weight. */
static void output(const struct rz_kernel_node *node, uint64_t row, uint64_t o, const struct meeting *m)
{
    const struct rz_weight_view *w = &node->weights[0];
    const struct rz_type_info *type = rz_type_info(w->type);
    const uint8_t *weights = (const uint8_t *)w->data + row * (w->bytes / w->rows);
    float decoded[CHUNK];
    double lanes[TOGETHER][LANES] = {{0}};
    for (uint64_t i = 0; i < w->cols; i += CHUNK) {
        uint64_t n = w->cols - i < CHUNK ? w->cols - i : CHUNK;
        type->decode(weights + i / type->block * type->bytes, decoded, n);
        for (uint32_t r = 0; r < m->n; r++)
            dot_lanes(decoded, m->x[r] + i, n, lanes[r]);
    }
    for (uint32_t r = 0; r < m->n; r++) {
        double sum = 0;
        for (int j = 0; j < LANES; j++)
            sum += lanes[r][j];
        if (node->attr_mask & RZ_ATTR_BIAS && node->weights[1].type != RZ_TYPE_NONE)
            sum += (double)((const float *)node->weights[1].data)[row];
        m->y[r][o] = (float)sum;
    }
}

/* The outputs of one tile of a matrix that begins at row `base` and has `rows` rows. */
static void outputs(const struct rz_kernel_node *node, uint64_t base, uint64_t rows, uint32_t tile,
                    const struct meeting *m)
{
    uint64_t first = (uint64_t)tile * OUTPUTS;
    for (uint64_t o = first; o < first + OUTPUTS && o < rows; o++)
        output(node, base + o, o, m);
}

static uint32_t tiles_of(uint64_t rows)
{
    return (uint32_t)((rows + OUTPUTS - 1) / OUTPUTS);
}

/* --- one matrix --- */

uint32_t matmul_tiles(const struct rz_kernel_call *c)
{
    return tiles_of(c->out[0].width);
}

int32_t matmul(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    for (uint32_t row = 0; row < c->n_rows; row += TOGETHER) {
        struct meeting m = {.n = 0};
        for (uint32_t r = row; r < c->n_rows && m.n < TOGETHER; r++, m.n++) {
            m.x[m.n] = in_row(c, 0, r);
            m.y[m.n] = out_row(c, 0, r);
        }
        outputs(c->node, 0, c->out[0].width, c->tile, &m);
    }
    return RZ_OK;
}

/* --- one of each expert: a tile meets all rows that chose its expert --- */

static uint64_t expert_rows(const struct rz_kernel_call *c)
{
    return c->out[0].width / c->in[1].width;
}

uint32_t matmul_id_tiles(const struct rz_kernel_call *c)
{
    return (uint32_t)(c->node->weights[0].rows / expert_rows(c)) * tiles_of(expert_rows(c));
}

int32_t matmul_id(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    uint64_t rows = expert_rows(c), used = c->in[1].width, cols = c->node->weights[0].cols;
    uint32_t expert = c->tile / tiles_of(rows), tile = c->tile % tiles_of(rows);
    uint64_t step = c->in[0].width == cols ? 0 : cols; /* one x for all chosen experts, or one each */
    struct meeting m = {.n = 0};
    for (uint32_t r = 0; r < c->n_rows; r++)
        for (uint64_t k = 0; k < used; k++) {
            if ((uint32_t)in_row(c, 1, r)[k] != expert)
                continue;
            m.x[m.n] = in_row(c, 0, r) + k * step;
            m.y[m.n] = out_row(c, 0, r) + k * rows;
            if (++m.n < TOGETHER)
                continue;
            outputs(c->node, expert * rows, rows, tile, &m);
            m.n = 0;
        }
    if (m.n)
        outputs(c->node, expert * rows, rows, tile, &m);
    return RZ_OK;
}

/* --- one of each head: a tile is one head and some outputs --- */

static uint64_t head_rows(const struct rz_kernel_call *c)
{
    return c->node->weights[0].rows / (uint64_t)c->node->attr[RZ_A_PARTS].i;
}

uint32_t matmul_heads_tiles(const struct rz_kernel_call *c)
{
    return (uint32_t)c->node->attr[RZ_A_PARTS].i * tiles_of(head_rows(c));
}

int32_t matmul_heads(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    uint64_t heads = (uint64_t)c->node->attr[RZ_A_PARTS].i, rows = head_rows(c);
    uint64_t cols = c->node->weights[0].cols, in = c->in[0].width / heads, out = c->out[0].width / heads;
    uint32_t head = c->tile / tiles_of(rows), tile = c->tile % tiles_of(rows);
    for (uint32_t row = 0; row < c->n_rows; row += TOGETHER) {
        struct meeting m = {.n = 0};
        for (uint32_t r = row; r < c->n_rows && m.n < TOGETHER; r++, m.n++) {
            m.x[m.n] = in_row(c, 0, r) + head * in;
            m.y[m.n] = out_row(c, 0, r) + head * out;
            for (uint64_t i = cols; i < in && tile == 0; i++)
                m.y[m.n][rows + i - cols] = m.x[m.n][i];
        }
        outputs(c->node, head * rows, rows, tile, &m);
    }
    return RZ_OK;
}
