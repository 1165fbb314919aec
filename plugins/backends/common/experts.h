/* experts.h - products in which each row meets a matrix of its own choice: experts by their ids, and
 * the matrices of heads, where part j of every row meets matrix j.
 *
 * A step's (row, place) pairs are sorted by matrix, so that rows of all sequences share the reading of one,
 * and matrices that nobody chose are not read. Over the tiles of the plugin: an output is the same chain of
 * additions whoever else chose its matrix. A matrix may begin inside a group of rows; lanes of its
 * neighbours are left out.
 *
 * A lone row is sorted and prepared by every thread for itself (cheaper than a barrier).
 *
 * The file that includes this has the functions of "the plugin's part" behind it.
 */
#ifndef RZ_BACKENDS_EXPERTS_H
#define RZ_BACKENDS_EXPERTS_H

#include "checked.h"
#include "x86.h"

#include <string.h>

#define PIECES_A_THREAD 6
#define PIECES_OF_ROWS 4 /* times as many where matrices may have been chosen unequally often */
#define STRIP 8          /* groups of outputs of a lone pair that are worked on together      */
#define ALIGN 64u
_Static_assert(TILE_ROWS >= STRIP, "room for either");

/* One node: x, matrices and results. A pair is row * places + place. */
struct choice {
    const struct rz_kernel_call *c;
    uint64_t places, n, rows, cols; /* chosen by a row; matrices; rows and columns of one       */
    uint64_t in_step, out_step;     /* between places of a row; in_step 0: all have the row's x */
    int how;                        /* the plugin's: numerics, or level of the instruction set  */
    bool heads, lone;               /* lone: the step has one row                               */
    bool quantised, floats;         /* there are matrices that meet such inputs                 */
    uint8_t *inputs;                /* as the tiles want them: the plugin's                     */
    uint32_t *order;                /* pairs, by matrix, then ascending                         */
    uint32_t *begin;                /* [n + 1] first pair of each matrix                        */
    uint32_t *live;                 /* [n] the matrices that somebody chose; [n]: their count   */
};

/* --- the plugin's part --- */

/* Scratch for the inputs of that many rows; UINT64_MAX: more than there is. */
static uint64_t inputs_bytes(const struct choice *e, uint64_t rows);
/* Makes inputs: of a lone row for this thread, of others in shares, for all behind the next barrier. Thread
 * 0 comes when it has sorted. */
static void prepare(const struct choice *e);
/* How many pairs the next tile has, when `left` of a matrix are left. */
static uint32_t tile_pairs(const struct choice *e, uint32_t left);
/* Pairs whose inputs stay in the L2 cache while groups pass by: whole tiles. */
static uint32_t block_pairs(const struct choice *e);
/* y = group of weight w times the tile of n pairs that begins at order[first]. */
static void group_times(const struct choice *e, uint32_t w, uint64_t group, uint32_t first, uint32_t n,
                        float (*y)[GROUP]);
/* y[g] = group + g times the pair order[first] alone, for n <= STRIP groups. */
static void strip_times(const struct choice *e, uint32_t w, uint64_t group, uint64_t n, uint32_t first,
                        float (*y)[GROUP]);

/* --- choice --- */

static void describe(const struct rz_kernel_node *n, struct choice *e)
{
    const struct rz_weight_view *w = &n->weights[0];
    memset(e, 0, sizeof(*e));
    e->heads = n->op == RZ_OP_MATMUL_HEADS;
    e->cols = w->cols;
    for (uint32_t i = 0; i < (n->op == RZ_OP_GLU_ID ? 2 : 1); i++) {
        if (x_type(n->weights[i].type)->quantised)
            e->quantised = true;
        else
            e->floats = true;
    }
    e->places = e->heads ? (uint64_t)n->attr[RZ_A_PARTS].i : n->in_width[1];
    e->out_step = n->out_width[0] / e->places;
    e->rows = e->heads ? w->rows / e->places : e->out_step;
    e->n = w->rows / e->rows;
    if (e->heads || n->in_width[0] != e->cols)
        e->in_step = n->in_width[0] / e->places;
}

/* n numbers, up to the next line of the cache. */
static uint64_t list_bytes(uint64_t n)
{
    uint64_t bytes;
    return rz_mul_u64(n, sizeof(uint32_t), &bytes) && rz_align_u64(bytes, ALIGN, &bytes) ? bytes : UINT64_MAX;
}

/* What that many rows take: inputs, order, begin, live. */
static uint64_t rows_bytes(const struct choice *e, uint64_t rows)
{
    uint64_t pairs, bytes;
    return rz_mul_u64(rows, e->places, &pairs) && pairs <= UINT32_MAX &&
                   rz_add_u64(inputs_bytes(e, rows), list_bytes(pairs), &bytes) &&
                   rz_add_u64(bytes, list_bytes(e->n + 1), &bytes) &&
                   rz_add_u64(bytes, list_bytes(e->n + 1), &bytes)
               ? bytes
               : UINT64_MAX;
}

uint64_t experts_scratch(const struct rz_kernel_node *n, uint32_t max_rows, uint32_t n_threads)
{
    struct choice e;
    describe(n, &e);
    uint64_t lone, many = rows_bytes(&e, max_rows);
    if (!rz_mul_u64(rows_bytes(&e, 1), n_threads, &lone))
        return UINT64_MAX;
    return many > lone ? many : lone;
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
static void begin_choice(const struct rz_kernel_call *c, int how, struct choice *e)
{
    describe(c->node, e);
    e->c = c;
    e->how = how;
    e->lone = c->n_rows == 1;
    uint64_t rows = e->lone ? 1 : c->node->max_rows;
    e->inputs = c->scratch + (e->lone ? c->tid * rows_bytes(e, 1) : 0);
    e->order = (uint32_t *)(void *)(e->inputs + inputs_bytes(e, rows));
    e->begin = (uint32_t *)(void *)((uint8_t *)e->order + list_bytes(rows * e->places));
    e->live = (uint32_t *)(void *)((uint8_t *)e->begin + list_bytes(e->n + 1));
    if (e->lone || c->tid == 0)
        sort_pairs(e);
    prepare(e);
    if (e->heads && e->in_step > e->cols)
        for (uint32_t row = c->tid; row < c->n_rows; row += c->n_threads)
            pass_rest(e, row);
    if (!e->lone)
        wait_for_team(c);
}

/* --- products --- */

/* n groups from `group` on: lanes lo .. hi - 1 of theirs are outputs o .. of a matrix whose first row is
 * `base`. */
struct lanes {
    uint64_t group, n, base, o, lo, hi;
};

static struct lanes lanes_of(const struct choice *e, uint64_t matrix, uint64_t i, uint64_t n)
{
    struct lanes l = {.base = matrix * e->rows, .n = n};
    l.group = l.base / GROUP + i;
    uint64_t first = l.group * GROUP, end = l.base + e->rows;
    l.lo = first < l.base ? l.base - first : 0;
    l.hi = first + n * GROUP > end ? end - first : n * GROUP;
    l.o = first + l.lo - l.base;
    return l;
}

/* How many groups the matrix lies in. */
static uint64_t groups_of(const struct choice *e, uint64_t matrix)
{
    uint64_t base = matrix * e->rows;
    return (base + e->rows - 1) / GROUP - base / GROUP + 1;
}

/* y[t * l->n] on: the outputs of pair t, before any bias and behind it. */
static void times(const struct choice *e, uint32_t w, const struct lanes *l, uint32_t first, uint32_t n,
                  float (*y)[GROUP])
{
    const float *bias = node_vector(e->c->node, w + (e->c->node->op == RZ_OP_GLU_ID ? 2 : 1));
    if (n == 1)
        strip_times(e, w, l->group, l->n, first, y);
    else
        group_times(e, w, l->group, first, n, y);
    for (uint32_t t = 0; bias && t < n; t++) {
        float *out = y[t * l->n] + l->lo;
        act_add(out, bias + l->base + l->o, out, l->hi - l->lo);
    }
}

static void put(const struct choice *e, const struct lanes *l, uint32_t first, uint32_t n, float (*y)[GROUP])
{
    for (uint32_t t = 0; t < n; t++) {
        float *out = y_of(e, e->order[first + t]) + l->o;
        if (l->hi - l->lo == GROUP)
            memcpy(out, y[t * l->n] + l->lo, GROUP * sizeof(float));
        else
            memcpy(out, y[t * l->n] + l->lo, (l->hi - l->lo) * sizeof(float));
    }
}

/* n pairs from order[first] on, with one group; or one pair with several. */
typedef void work_fn(const struct choice *e, const struct lanes *l, uint32_t first, uint32_t n);

static void product(const struct choice *e, const struct lanes *l, uint32_t first, uint32_t n)
{
    float y[TILE_ROWS][GROUP];
    times(e, 0, l, first, n, y);
    put(e, l, first, n, y);
}

static void glu(const struct choice *e, const struct lanes *l, uint32_t first, uint32_t n)
{
    float gate[TILE_ROWS][GROUP], up[TILE_ROWS][GROUP];
    times(e, 0, l, first, n, gate);
    times(e, 1, l, first, n, up);
    act_pair(e->c->node, gate[0], up[0], gate[0], n * l->n * GROUP);
    put(e, l, first, n, gate);
}

/* Groups i .. i + n - 1 of a matrix with the pairs order[first] .. order[end - 1]. */
static void run_pairs(const struct choice *e, work_fn *work, uint64_t matrix, uint64_t i, uint64_t n,
                      uint32_t first, uint32_t end)
{
    struct lanes l;
    if (end - first == 1) {
        for (uint64_t g = 0; g < n; g += STRIP) {
            l = lanes_of(e, matrix, i + g, n - g < STRIP ? n - g : STRIP);
            work(e, &l, first, 1);
        }
        return;
    }
    for (uint64_t g = 0; g < n; g++) {
        l = lanes_of(e, matrix, i + g, 1);
        for (uint32_t p = first, t; p < end; p += t) {
            t = tile_pairs(e, end - p);
            work(e, &l, p, t);
        }
    }
}

/* The same with all pairs of the matrix, of which it may have fewer groups. */
static void run_groups(const struct choice *e, work_fn *work, uint32_t matrix, uint64_t i, uint64_t n)
{
    uint64_t groups = groups_of(e, matrix);
    uint32_t end = e->begin[matrix + 1], block = block_pairs(e);
    n = i >= groups ? 0 : groups - i < n ? groups - i : n;
    for (uint32_t p = e->begin[matrix]; p < end; p += block)
        run_pairs(e, work, matrix, i, n, p, end - p < block ? end : p + block);
}

/* Shares out (live matrix, group) after (live matrix, group), all pairs of the matrix each. */
static void run(const struct choice *e, work_fn *work)
{
    const struct rz_kernel_call *c = e->c;
    uint64_t span = (e->rows + GROUP - 1) / GROUP + (e->rows % GROUP != 0), total = e->live[e->n] * span;
    uint64_t most = (uint64_t)c->n_threads * PIECES_A_THREAD * (e->lone ? 1 : PIECES_OF_ROWS);
    uint32_t pieces = (uint32_t)(total < most ? total : most);
    struct share share = share_out(c, pieces);
    for (int32_t t; (t = share_take(c, &share)) >= 0;) {
        uint64_t end = total * ((uint64_t)t + 1) / pieces;
        for (uint64_t u = total * (uint64_t)t / pieces, n; u < end; u += n) {
            n = span - u % span < end - u ? span - u % span : end - u;
            run_groups(e, work, e->live[u / span], u % span, n);
        }
    }
}

int32_t experts_product(const struct rz_kernel_call *c, int how)
{
    struct choice e;
    begin_choice(c, how, &e);
    run(&e, product);
    return RZ_OK;
}

int32_t experts_glu(const struct rz_kernel_call *c, int how)
{
    struct choice e;
    begin_choice(c, how, &e);
    run(&e, glu);
    return RZ_OK;
}

#endif
