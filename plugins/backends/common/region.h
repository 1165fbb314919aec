/* region.h - the regions that the tables run whole, over the tiles: norm and q, k, v with rope and the KV
 * write; norm, gate and up with the activation; a projection with its residual.
 *
 * Each begins with activations for the tiles, quantised once. A few rows are prepared by every thread
 * for itself (cheaper than a barrier); many are shared out. Then groups of outputs are shared out, all
 * rows each.
 *
 * The file that includes this has struct acts and struct pairing before it, and behind it the functions of
 * "the plugin's part".
 */
#ifndef RZ_X86_REGION_H
#define RZ_X86_REGION_H

#include "vec.h"
#include "x86.h"

#include <string.h>

#define FEW_ROWS 4 /* up to here every thread prepares all rows for itself */
#define PIECES_A_THREAD 6
#define OWN_ROWS 64 /* from here on a thread works on rows of its own */
#define STRIP 8     /* groups of outputs of a lone row that are worked on together */
#define ALIGN 64u

/* One matrix product: out[row][o] = (w[o] . x[row] + bias[o]) * factor + add[row][o]. */
struct product {
    const struct rz_weight_view *w;
    const float *bias, *add;
    float *out;
    uint64_t out_stride, add_stride;
    float factor;
    struct pairing with; /* the activations that it meets */
};

static inline uint64_t round_up(uint64_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

/* --- the plugin's part --- */

/* Scratch for the activations of one region. */
static uint64_t acts_bytes(uint64_t cols, uint32_t max_rows, uint32_t n_threads);
/* Makes the activations of all rows visible to this thread, and says how the products meet them. */
static void prepare(const struct rz_kernel_call *c, const struct rz_view *x, const struct norm *norm,
                    struct product *products, int n_products, int wide, struct acts *out);
/* How many rows the tile has that begins at `row`, when `end` is behind the last row. */
static uint32_t tile_rows(uint32_t row, uint32_t end);
/* Rows whose activations stay in the L2 cache while groups pass by: whole tiles. */
static uint32_t block_rows(const struct acts *a);
/* y = group times the tile of n rows that begins at `row`. */
static void group_times(const struct product *p, uint64_t group, const struct acts *a, uint32_t row,
                        uint32_t n, float (*y)[GROUP]);
/* y[g] = group first + g times row `row` alone, for n <= STRIP groups. */
static void strip_times(const struct product *p, uint64_t first, uint64_t n, const struct acts *a,
                        uint32_t row, float y[STRIP][GROUP]);
/* out = (y + bias) * factor + add for n outputs of one row; bias and add may be NULL, and the factor
 * counts where there is something to add. */
static void finish_row(float *out, const float *y, const float *bias, const float *add, float factor,
                       uint64_t n);

/* --- products --- */

static uint64_t groups_in(const struct rz_weight_view *w)
{
    return (w->rows + GROUP - 1) / GROUP;
}

/* Outputs of n groups that are rows of the weight. */
static uint64_t outputs_in(const struct rz_weight_view *w, uint64_t group, uint64_t n)
{
    return w->rows - group * GROUP < n * GROUP ? w->rows - group * GROUP : n * GROUP;
}

/* Rows row .. row + n - 1 of one group's outputs. */
static void product_tile(const struct product *p, uint64_t group, const struct acts *a, uint32_t row,
                         uint32_t n)
{
    float y[TILE_ROWS][GROUP];
    uint64_t o = group * GROUP, valid = outputs_in(p->w, group, 1);
    group_times(p, group, a, row, n, y);
    for (uint32_t t = 0; t < n; t++)
        finish_row(p->out + (row + t) * p->out_stride + o, y[t], p->bias ? p->bias + o : NULL,
                   p->add ? p->add + (row + t) * p->add_stride + o : NULL, p->factor, valid);
}

/* A lone row of n <= STRIP groups. */
static void product_strip(const struct product *p, uint64_t group, uint64_t n, const struct acts *a,
                          uint32_t row)
{
    float y[STRIP][GROUP];
    uint64_t o = group * GROUP;
    strip_times(p, group, n, a, row, y);
    finish_row(p->out + row * p->out_stride + o, y[0], p->bias ? p->bias + o : NULL,
               p->add ? p->add + row * p->add_stride + o : NULL, p->factor, outputs_in(p->w, group, n));
}

/* Groups are shared out in pieces. */
static uint32_t piece_count(const struct rz_kernel_call *c, uint64_t groups)
{
    uint64_t most = c->n_threads == 1 ? 1 : (uint64_t)c->n_threads * PIECES_A_THREAD;
    return (uint32_t)(groups < most ? groups : most);
}

/* Groups first .. end - 1 over the rows from `row` to to - 1. */
static void run_groups(const struct product *p, uint64_t first, uint64_t end, const struct acts *a,
                       uint32_t row, uint32_t to)
{
    if (to - row == 1) {
        for (uint64_t g = first; g < end; g += STRIP)
            product_strip(p, g, end - g < STRIP ? end - g : STRIP, a, row);
        return;
    }
    for (uint64_t g = first; g < end; g++)
        for (uint32_t r = row, n; r < to; r += n) {
            n = tile_rows(r, to);
            product_tile(p, g, a, r, n);
        }
}

/* The same, where the groups of several products count as those of one. */
static void run_piece(const struct product *products, uint64_t first, uint64_t end, const struct acts *a,
                      uint32_t row, uint32_t to)
{
    for (const struct product *p = products; end; p++) {
        uint64_t groups = groups_in(p->w), stop = end < groups ? end : groups;
        run_groups(p, first, stop, a, row, to);
        first = first < groups ? 0 : first - groups;
        end -= stop;
    }
}

/* How groups and rows are shared out: in pieces of some groups and all rows of a block. Where there are rows
 * enough a thread has blocks of its own, here and in what comes before and behind: what it wrote is in its
 * own caches, and what it writes again no other one has read. */
struct grid {
    uint64_t groups;
    uint32_t rows, block; /* all; of a block: a multiple of any tile's */
    uint32_t n, across;   /* pieces: all, of a block */
};

static struct grid grid_of(const struct rz_kernel_call *c, uint64_t groups)
{
    uint32_t blocks = c->n_rows / OWN_ROWS < c->n_threads ? c->n_rows / OWN_ROWS : c->n_threads;
    struct grid g = {.groups = groups, .rows = c->n_rows, .block = c->n_rows};
    if (blocks > 1)
        g.block = ((c->n_rows + blocks - 1) / blocks + OWN_ROWS / 4 - 1) / (OWN_ROWS / 4) * (OWN_ROWS / 4);
    blocks = (c->n_rows + g.block - 1) / g.block;
    g.across = (piece_count(c, groups) + blocks - 1) / blocks;
    g.n = blocks * g.across;
    return g;
}

/* Piece t: groups first .. end - 1 with rows row .. to - 1. */
struct piece {
    uint64_t first, end;
    uint32_t row, to;
};

static struct piece piece_at(const struct grid *g, uint32_t t)
{
    uint32_t at = t % g->across, row = t / g->across * g->block;
    return (struct piece){.first = g->groups * at / g->across,
                          .end = g->groups * (at + 1) / g->across,
                          .row = row,
                          .to = g->rows - row < g->block ? g->rows : row + g->block};
}

/* Shares the groups of several products out over the team. */
static void run_products(const struct rz_kernel_call *c, const struct product *products, int n,
                         const struct acts *a)
{
    uint64_t total = 0;
    if (c->n_rows == 1 && c->n_threads == 1) {
        for (int i = 0; i < n; i++)
            run_groups(&products[i], 0, groups_in(products[i].w), a, 0, 1);
        return;
    }
    uint32_t rows = block_rows(a);
    for (int i = 0; i < n; i++)
        total += groups_in(products[i].w);
    const struct grid grid = grid_of(c, total);
    struct share share = share_out(c, grid.n);
    for (int32_t t; (t = share_take(c, &share)) >= 0;) {
        const struct piece p = piece_at(&grid, (uint32_t)t);
        for (uint32_t row = p.row; row < p.to; row += rows)
            run_piece(products, p.first, p.end, a, row, p.to - row < rows ? p.to : row + rows);
    }
}

/* The norm that the region begins with, in *n; NULL: none. */
static const struct norm *region_norm(const struct rz_kernel_node *node, uint32_t bias, struct norm *n)
{
    if (node_has(node, RZ_A_NO_NORM))
        return NULL;
    *n = (struct norm){.w = node_vector(node, 0),
                       .b = node_vector(node, bias),
                       .cols = node->in_width[0],
                       .parts = 1,
                       .eps = node->attr[RZ_A_EPS].f,
                       .layer = node_has(node, RZ_A_LAYER_NORM)};
    return n;
}

static struct product product_of(const struct rz_kernel_call *c, uint32_t w, uint32_t bias, float *out,
                                 uint64_t stride)
{
    return (struct product){.w = &c->node->weights[w],
                            .bias = node_vector(c->node, bias),
                            .out = out,
                            .out_stride = stride,
                            .factor = 1};
}

/* --- norm_qkv --- */

/* Pairs (i, i + half). */
static void rotate_halves(float *x, uint64_t half, const float *cs, const float *sn)
{
    uint64_t i = 0;
    for (; i + 8 <= half; i += 8) {
        __m256 u = _mm256_loadu_ps(x + i), v = _mm256_loadu_ps(x + half + i);
        __m256 c = _mm256_loadu_ps(cs + i), s = _mm256_loadu_ps(sn + i);
        _mm256_storeu_ps(x + i, _mm256_sub_ps(_mm256_mul_ps(u, c), _mm256_mul_ps(v, s)));
        _mm256_storeu_ps(x + half + i, _mm256_add_ps(_mm256_mul_ps(v, c), _mm256_mul_ps(u, s)));
    }
    for (; i < half; i++) {
        float u = x[i], v = x[half + i];
        x[i] = u * cs[i] - v * sn[i];
        x[half + i] = v * cs[i] + u * sn[i];
    }
}

/* Pairs (2i, 2i + 1). */
static void rotate_neighbours(float *x, uint64_t half, const float *cs, const float *sn)
{
    const __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    uint64_t i = 0;
    for (; i + 4 <= half; i += 4) {
        __m256 v = _mm256_loadu_ps(x + 2 * i), swapped = _mm256_permute_ps(v, 0xb1);
        __m256 c = _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(cs + i)), twice);
        __m256 s = _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(sn + i)), twice);
        _mm256_storeu_ps(x + 2 * i, _mm256_addsub_ps(_mm256_mul_ps(v, c), _mm256_mul_ps(swapped, s)));
    }
    for (; i < half; i++) {
        float u = x[2 * i], v = x[2 * i + 1];
        x[2 * i] = u * cs[i] - v * sn[i];
        x[2 * i + 1] = v * cs[i] + u * sn[i];
    }
}

void rope_row(const struct rz_kernel_call *c, uint32_t row, float *x, uint64_t n_head)
{
    const struct rz_attr *a = c->node->attr;
    const struct rz_batch_row *r = &c->step->rows[row];
    uint32_t variant = node_has(c->node, RZ_A_ROPE_VARIANTS) ? c->step->seqs[r->seq].rope_variant : 0;
    const struct rz_rope_view *t = &c->step->ropes[a[RZ_A_ROPE].i + variant];
    uint64_t dim = (uint64_t)a[RZ_A_HEAD_DIM].i, half = t->dim / 2, pos = (uint64_t)r->pos[0];
    const float *cs = t->cos + pos * half, *sn = t->sin + pos * half;
    bool halves = node_has(c->node, RZ_A_ROPE_NEOX);
    for (uint64_t h = 0; h < n_head; h++, x += dim) {
        if (halves)
            rotate_halves(x, half, cs, sn);
        else
            rotate_neighbours(x, half, cs, sn);
    }
}

/* The norm of q (weight 8) or k (9), in *n; NULL: none. */
static const struct norm *head_norm(const struct rz_kernel_node *node, uint32_t w, uint64_t n_head,
                                    struct norm *n)
{
    int64_t kind = node->attr[RZ_A_QK_NORM].i;
    uint64_t dim = (uint64_t)node->attr[RZ_A_HEAD_DIM].i;
    if (!node_has(node, RZ_A_QK_NORM))
        return NULL;
    *n = (struct norm){.w = node_vector(node, w),
                       .cols = kind == RZ_QK_NORM_HEAD ? dim : n_head * dim,
                       .parts = kind == RZ_QK_NORM_ROW ? 1 : n_head,
                       .eps = node->attr[RZ_A_EPS].f,
                       .layer = kind == RZ_QK_NORM_LAYER};
    return n;
}

/* What happens to the n heads of q or k of one row behind the product: clamp, norm, rope, in place. */
static void shape_heads(const struct rz_kernel_call *c, uint32_t row, float *x, uint32_t w, uint64_t n)
{
    const struct rz_kernel_node *node = c->node;
    uint64_t width = n * (uint64_t)node->attr[RZ_A_HEAD_DIM].i;
    struct norm room;
    const struct norm *norm = head_norm(node, w, n, &room);
    bool late = node_has(node, RZ_A_QK_NORM_LATE);
    if (node_has(node, RZ_A_CLAMP))
        act_map(&(struct act_map){1, 0, (float)node->attr[RZ_A_CLAMP].f}, x, x, width);
    if (norm && !late)
        act_norm(norm, x, x, width);
    if (!node_has(node, RZ_A_NO_ROPE))
        rope_row(c, row, x, n);
    if (norm && late)
        act_norm(norm, x, x, width);
}

static uint64_t kv_width(const struct rz_kernel_node *n)
{
    return (uint64_t)(n->attr[RZ_A_N_KV_HEAD].i * n->attr[RZ_A_HEAD_DIM].i);
}

uint64_t norm_qkv_scratch(const struct rz_kernel_node *n, uint32_t max_rows, uint32_t n_threads)
{
    return acts_bytes(n->in_width[0], max_rows, n_threads) +
           2 * max_rows * round_up(kv_width(n) * sizeof(float));
}

static void finish_qkv(const struct rz_kernel_call *c, uint32_t row, float *k, float *v)
{
    const struct rz_attr *a = c->node->attr;
    shape_heads(c, row, c->out[0].data + row * c->out[0].stride, 8, (uint64_t)a[RZ_A_N_HEAD].i);
    shape_heads(c, row, k, 9, (uint64_t)a[RZ_A_N_KV_HEAD].i);
    if (node_has(c->node, RZ_A_CLAMP))
        act_map(&(struct act_map){1, 0, (float)a[RZ_A_CLAMP].f}, v, v, kv_width(c->node));
    attention_store_row(c, row, k, v);
}

int32_t norm_qkv(const struct rz_kernel_call *c, int wide)
{
    struct acts a;
    struct norm norm;
    uint64_t stride = round_up(kv_width(c->node) * sizeof(float)) / sizeof(float);
    float *k = (float *)(c->scratch + acts_bytes(c->in[0].width, c->node->max_rows, c->n_threads));
    float *v = k + c->node->max_rows * stride;
    struct product products[3] = {
        product_of(c, 1, 4, c->out[0].data, c->out[0].stride),
        product_of(c, 2, 5, k, stride),
        product_of(c, 3, 6, v, stride),
    };
    prepare(c, &c->in[0], region_norm(c->node, 7, &norm), products, 3, wide, &a);
    run_products(c, products, 3, &a);
    wait_for_team(c);
    struct share share = share_out(c, c->n_rows);
    for (int32_t r; (r = share_take(c, &share)) >= 0;)
        finish_qkv(c, (uint32_t)r, k + (uint64_t)r * stride, v + (uint64_t)r * stride);
    return RZ_OK;
}

/* --- products alone --- */

uint64_t product_scratch(const struct rz_kernel_node *n, uint32_t max_rows, uint32_t n_threads)
{
    return acts_bytes(n->in_width[0], max_rows, n_threads);
}

int32_t matmul(const struct rz_kernel_call *c, int wide)
{
    struct acts a;
    struct product p = product_of(c, 0, 1, c->out[0].data, c->out[0].stride);
    prepare(c, &c->in[0], NULL, &p, 1, wide, &a);
    run_products(c, &p, 1, &a);
    return RZ_OK;
}

/* The products are normed in rows, and only then the other operand is added. */
static void post_norm(const struct rz_kernel_call *c)
{
    const struct norm norm = {
        .w = node_vector(c->node, 2), .cols = c->out[0].width, .parts = 1, .eps = c->node->attr[RZ_A_EPS].f};
    wait_for_team(c);
    struct share share = share_out(c, c->n_rows);
    for (int32_t r; (r = share_take(c, &share)) >= 0;) {
        float *out = c->out[0].data + (uint64_t)r * c->out[0].stride;
        act_norm(&norm, out, out, c->out[0].width);
        if (node_has(c->node, RZ_A_FACTOR))
            act_map(&(struct act_map){(float)c->node->attr[RZ_A_FACTOR].f, 0, 0}, out, out, c->out[0].width);
        act_add(out, c->in[1].data + (uint64_t)r * c->in[1].stride, out, c->out[0].width);
    }
}

int32_t proj_add(const struct rz_kernel_call *c, int wide)
{
    struct acts a;
    struct product p = product_of(c, 0, 1, c->out[0].data, c->out[0].stride);
    bool post = node_has(c->node, RZ_A_POST_NORM);
    if (!post) {
        p.add = c->in[1].data;
        p.add_stride = c->in[1].stride;
        if (node_has(c->node, RZ_A_FACTOR))
            p.factor = (float)c->node->attr[RZ_A_FACTOR].f;
    }
    prepare(c, &c->in[0], NULL, &p, 1, wide, &a);
    run_products(c, &p, 1, &a);
    if (post)
        post_norm(c);
    return RZ_OK;
}

/* --- norm_glu: gate and up of the same outputs, then the activation --- */

/* The biases of n outputs of one row, from `at` on; p: up and, unless there is none, gate. */
static void glu_biases(const struct product *p, int n_products, float *up, float *gate, uint64_t at,
                       uint64_t n)
{
    if (p[0].bias)
        act_add(up, p[0].bias + at, up, n);
    if (n_products == 2 && p[1].bias)
        act_add(gate, p[1].bias + at, gate, n);
}

static void glu_apply(const struct rz_kernel_call *c, int n_products, const float *up, const float *gate,
                      float *out, uint64_t n)
{
    if (n_products == 1)
        act_apply(node_act(c->node), up, NULL, out, n);
    else
        act_apply(node_act(c->node), gate, up, out, n);
}

static float *glu_out(const struct rz_kernel_call *c, uint32_t row, uint64_t at)
{
    return c->out[0].data + row * c->out[0].stride + at;
}

/* The activation is one run over all rows of the tile: the few outputs of a single one would wait for each
 * other. */
static void glu_tile(const struct rz_kernel_call *c, const struct product *p, int n_products, uint64_t group,
                     const struct acts *a, uint32_t row, uint32_t n)
{
    float y[2][TILE_ROWS][GROUP];
    uint64_t at = group * GROUP, valid = outputs_in(p[0].w, group, 1);
    for (int i = 0; i < n_products; i++)
        group_times(&p[i], group, a, row, n, y[i]);
    for (uint32_t t = 0; t < n; t++)
        glu_biases(p, n_products, y[0][t], y[1][t], at, valid);
    glu_apply(c, n_products, y[0][0], y[1][0], y[0][0], n * GROUP);
    for (uint32_t t = 0; t < n; t++) {
        if (valid == GROUP)
            memcpy(glu_out(c, row + t, at), y[0][t], sizeof(y[0][t]));
        else
            memcpy(glu_out(c, row + t, at), y[0][t], valid * sizeof(float));
    }
}

static void glu_strip(const struct rz_kernel_call *c, const struct product *p, int n_products, uint64_t group,
                      uint64_t n, const struct acts *a, uint32_t row)
{
    float y[2][STRIP][GROUP];
    for (int i = 0; i < n_products; i++)
        strip_times(&p[i], group, n, a, row, y[i]);
    uint64_t at = group * GROUP, valid = outputs_in(p[0].w, group, n);
    glu_biases(p, n_products, y[0][0], y[1][0], at, valid);
    glu_apply(c, n_products, y[0][0], y[1][0], glu_out(c, row, at), valid);
}

static void glu_groups(const struct rz_kernel_call *c, const struct product *p, int n_products,
                       uint64_t first, uint64_t end, const struct acts *a, uint32_t row, uint32_t to)
{
    if (to - row == 1) {
        for (uint64_t g = first; g < end; g += STRIP)
            glu_strip(c, p, n_products, g, end - g < STRIP ? end - g : STRIP, a, row);
        return;
    }
    for (uint64_t g = first; g < end; g++)
        for (uint32_t r = row, n; r < to; r += n) {
            n = tile_rows(r, to);
            glu_tile(c, p, n_products, g, a, r, n);
        }
}

int32_t norm_glu(const struct rz_kernel_call *c, int wide)
{
    struct acts a;
    struct norm norm;
    struct product p[2] = {product_of(c, 2, 4, NULL, 0), product_of(c, 1, 3, NULL, 0)};
    int n_products = node_has(c->node, RZ_A_NO_GATE) ? 1 : 2;
    prepare(c, &c->in[0], region_norm(c->node, 5, &norm), p, n_products, wide, &a);
    uint64_t total = groups_in(p[0].w);
    if (c->n_rows == 1 && c->n_threads == 1) {
        glu_groups(c, p, n_products, 0, total, &a, 0, 1);
        return RZ_OK;
    }
    const struct grid grid = grid_of(c, total);
    uint32_t rows = block_rows(&a);
    struct share share = share_out(c, grid.n);
    for (int32_t t; (t = share_take(c, &share)) >= 0;) {
        const struct piece at = piece_at(&grid, (uint32_t)t);
        for (uint32_t row = at.row; row < at.to; row += rows)
            glu_groups(c, p, n_products, at.first, at.end, &a, row, at.to - row < rows ? at.to : row + rows);
    }
    return RZ_OK;
}

#endif
