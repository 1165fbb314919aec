/* experts.h - products in which each row meets a matrix of its own choice: experts by their ids, and
 * the matrices of heads, where part j of every row meets matrix j.
 *
 * A step's (row, place) pairs are sorted by matrix, so that rows of all sequences share the reading of one,
 * and matrices that nobody chose are not read. Over the tiles of the plugin: an output is the same chain of
 * additions whoever else chose its matrix. A matrix may begin inside a group of eight rows; lanes of its
 * neighbours are left out.
 */
#ifndef RZ_BACKENDS_EXPERTS_H
#define RZ_BACKENDS_EXPERTS_H

#include "blocks.h"

#include <string.h>

#define TILES_A_THREAD 6
#define ALIGN 64u

/* One node: x, matrices and results. A pair is row * places + place. */
struct choice {
    const struct rz_kernel_call *c;
    uint64_t places, n, rows, cols; /* chosen by a row; matrices; rows and columns of one       */
    uint64_t in_step, out_step;     /* between places of a row; in_step 0: all have the row's x */
    int level;                      /* of the instruction set, for tile_run                    */
    bool heads, quantised;
    uint8_t *acts;   /* quantised inputs                                       */
    uint32_t *order; /* pairs, by matrix, then ascending                       */
    uint32_t *begin; /* [n + 1] first pair of each matrix                      */
    uint32_t *live;  /* [n] the matrices that somebody chose; [n]: their count */
};

static uint64_t round_up(uint64_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

static uint64_t act_bytes(const struct choice *e)
{
    return e->quantised ? round_up(e->cols / 32 * sizeof(struct act_block)) : 0;
}

static void describe(const struct rz_kernel_node *n, struct choice *e)
{
    const struct rz_weight_view *w = &n->weights[0];
    memset(e, 0, sizeof(*e));
    e->heads = n->op == RZ_OP_MATMUL_HEADS;
    e->cols = w->cols;
    for (uint32_t i = 0; i < 2 && i < n->n_weights; i++)
        e->quantised |= n->weights[i].rows > 1 && x_type(n->weights[i].type)->quantised;
    e->places = e->heads ? (uint64_t)n->attr[RZ_A_PARTS].i : n->in_width[1];
    e->out_step = n->out_width[0] / e->places;
    e->rows = e->heads ? w->rows / e->places : e->out_step;
    e->n = w->rows / e->rows;
    if (e->heads || n->in_width[0] != e->cols)
        e->in_step = n->in_width[0] / e->places;
}

uint64_t experts_scratch(const struct rz_kernel_node *n, uint32_t max_rows, uint32_t n_threads)
{
    (void)n_threads;
    struct choice e;
    describe(n, &e);
    uint64_t pairs = max_rows * e.places, inputs = e.in_step ? pairs : max_rows;
    return inputs * act_bytes(&e) + round_up(pairs * sizeof(uint32_t)) +
           2 * round_up((e.n + 1) * sizeof(uint32_t));
}

static uint32_t matrix_of(const struct choice *e, uint64_t pair)
{
    const struct rz_view *ids = &e->c->in[1];
    uint64_t place = pair % e->places;
    return e->heads ? (uint32_t)place : (uint32_t)ids->data[pair / e->places * ids->stride + place];
}

static const float *x_of(const struct choice *e, uint64_t pair)
{
    return e->c->in[0].data + pair / e->places * e->c->in[0].stride + pair % e->places * e->in_step;
}

static float *y_of(const struct choice *e, uint64_t pair)
{
    return e->c->out[0].data + pair / e->places * e->c->out[0].stride + pair % e->places * e->out_step;
}

/* Counting sort: begin[m] runs from the first pair of m to that of m + 1, and is moved back. */
static void sort_pairs(const struct choice *e)
{
    uint64_t pairs = e->c->n_rows * e->places;
    memset(e->begin, 0, (e->n + 1) * sizeof(uint32_t));
    e->live[e->n] = 0;
    for (uint64_t p = 0; p < pairs; p++)
        e->begin[matrix_of(e, p) + 1]++;
    for (uint64_t m = 0; m < e->n; m++) {
        if (e->begin[m + 1])
            e->live[e->live[e->n]++] = (uint32_t)m;
        e->begin[m + 1] += e->begin[m];
    }
    for (uint64_t p = 0; p < pairs; p++)
        e->order[e->begin[matrix_of(e, p)]++] = (uint32_t)p;
    for (uint64_t m = e->n; m > 0; m--)
        e->begin[m] = e->begin[m - 1];
    e->begin[0] = 0;
}

/* What a head's part of x has behind its columns goes behind the head's result. */
static void pass_rest(const struct choice *e, uint64_t row)
{
    for (uint64_t p = row * e->places; p < (row + 1) * e->places; p++)
        memcpy(y_of(e, p) + e->rows, x_of(e, p) + e->cols, (e->in_step - e->cols) * sizeof(float));
}

/* Sorts, and makes the inputs of all rows visible to every member. */
static void begin_choice(const struct rz_kernel_call *c, int level, struct choice *e)
{
    describe(c->node, e);
    e->c = c;
    e->level = level;
    uint64_t each = e->in_step ? e->places : 1, pairs = c->node->max_rows * e->places;
    uint64_t inputs = e->in_step ? pairs : c->node->max_rows;
    e->acts = c->scratch;
    e->order = (uint32_t *)(void *)(c->scratch + inputs * act_bytes(e));
    e->begin = (uint32_t *)(void *)((uint8_t *)e->order + round_up(pairs * sizeof(uint32_t)));
    e->live = (uint32_t *)(void *)((uint8_t *)e->begin + round_up((e->n + 1) * sizeof(uint32_t)));
    if (c->tid == 0)
        sort_pairs(e);
    struct share share = share_out(c, c->n_rows);
    for (int32_t r; (r = share_take(c, &share)) >= 0;) {
        for (uint64_t i = 0; e->quantised && i < each; i++) {
            uint64_t input = (uint64_t)r * each + i;
            act_quantise(x_of(e, (uint64_t)r * e->places + i),
                         (struct act_block *)(void *)(e->acts + input * act_bytes(e)), e->cols);
        }
        if (e->heads && e->in_step > e->cols)
            pass_rest(e, (uint64_t)r);
    }
    wait_for_team(c);
}

/* --- products --- */

/* Lanes lo..hi - 1 of a group are outputs o.. of a matrix whose first row is `base`. */
struct lanes {
    uint64_t group, base, o;
    int lo, hi;
};

static bool lanes_of(const struct choice *e, uint64_t matrix, uint64_t i, struct lanes *l)
{
    l->base = matrix * e->rows;
    l->group = l->base / GROUP + i;
    uint64_t first = l->group * GROUP, end = l->base + e->rows;
    l->lo = first < l->base ? (int)(l->base - first) : 0;
    l->hi = first + GROUP > end ? (int)(end - first) : GROUP;
    l->o = first + (uint64_t)l->lo - l->base;
    return first < end;
}

static void tile(const struct choice *e, uint32_t w, const struct lanes *l, const uint32_t *pairs, int n,
                 float (*out)[GROUP])
{
    const struct rz_weight_view *v = &e->c->node->weights[w];
    union tile_x x[TILE_ROWS];
    bool quantised = x_type(v->type)->quantised;
    for (int t = 0; t < n; t++) {
        uint64_t input = e->in_step ? pairs[t] : pairs[t] / e->places;
        if (quantised)
            x[t].q = (const struct act_block *)(const void *)(e->acts + input * act_bytes(e));
        else
            x[t].f = x_of(e, pairs[t]);
    }
    tile_run(e->level, v->type, (const uint8_t *)v->data + l->group * x_group_bytes(x_type(v->type), v->cols),
             v->cols, x, n, out);
    const float *bias = node_vector(e->c->node, w + (e->c->node->op == RZ_OP_GLU_ID ? 2 : 1));
    for (int t = 0; bias && t < n; t++)
        for (int i = l->lo; i < l->hi; i++)
            out[t][i] += bias[l->base + l->o + (uint64_t)(i - l->lo)];
}

/* Up to TILE_ROWS pairs of one matrix, in one group. */
typedef void pairs_fn(const struct choice *e, const struct lanes *l, const uint32_t *pairs, int n);

static void product(const struct choice *e, const struct lanes *l, const uint32_t *pairs, int n)
{
    float y[TILE_ROWS][GROUP];
    tile(e, 0, l, pairs, n, y);
    for (int t = 0; t < n; t++)
        memcpy(y_of(e, pairs[t]) + l->o, y[t] + l->lo, (size_t)(l->hi - l->lo) * sizeof(float));
}

static void glu(const struct choice *e, const struct lanes *l, const uint32_t *pairs, int n)
{
    const struct rz_kernel_node *node = e->c->node;
    float gate[TILE_ROWS][GROUP], up[TILE_ROWS][GROUP];
    tile(e, 0, l, pairs, n, gate);
    tile(e, 1, l, pairs, n, up);
    for (int t = 0; t < n; t++) {
        act_pair(node, gate[t], up[t], gate[t], GROUP);
        memcpy(y_of(e, pairs[t]) + l->o, gate[t] + l->lo, (size_t)(l->hi - l->lo) * sizeof(float));
    }
}

/* Shares out (live matrix, group) after (live matrix, group), all pairs of the matrix each. */
static void run(const struct choice *e, pairs_fn *work)
{
    const struct rz_kernel_call *c = e->c;
    uint64_t span = (e->rows + GROUP - 1) / GROUP + (e->rows % GROUP != 0), total = e->live[e->n] * span;
    uint64_t most = (uint64_t)c->n_threads * TILES_A_THREAD;
    uint32_t tiles = (uint32_t)(total < most ? total : most);
    struct share share = share_out(c, tiles);
    for (int32_t t; (t = share_take(c, &share)) >= 0;) {
        uint64_t end = total * ((uint64_t)t + 1) / tiles;
        for (uint64_t u = total * (uint64_t)t / tiles; u < end; u++) {
            uint32_t matrix = e->live[u / span];
            struct lanes l;
            if (!lanes_of(e, matrix, u % span, &l))
                continue;
            for (uint32_t p = e->begin[matrix]; p < e->begin[matrix + 1]; p += TILE_ROWS) {
                uint32_t left = e->begin[matrix + 1] - p;
                work(e, &l, e->order + p, left < TILE_ROWS ? (int)left : TILE_ROWS);
            }
        }
    }
}

int32_t experts_product(const struct rz_kernel_call *c, int level)
{
    struct choice e;
    begin_choice(c, level, &e);
    run(&e, product);
    return RZ_OK;
}

int32_t experts_glu(const struct rz_kernel_call *c, int level)
{
    struct choice e;
    begin_choice(c, level, &e);
    run(&e, glu);
    return RZ_OK;
}

#endif
