/* kernels_region.c - the regions that the table runs whole, over the tiles: norm and q, k, v with rope
 * and the KV write; norm, gate and up with the activation; a projection with its residual.
 *
 * Each begins with activations for the tiles, quantised once. A few rows are prepared by every thread
 * for itself (cheaper than a barrier); many are shared out. Then groups of sixteen outputs are shared
 * out, all rows each. The rows of a step are cut into tiles of eight, and the rest into 4, 2 and 1.
 */
#include "head.h"
#include "vec.h"

#include <string.h>

#define FEW_ROWS 4               /* up to here every thread prepares all rows for itself           */
#define CACHED_BYTES (512 << 10) /* activations that stay in the L2 cache while groups pass by     */
#define TILES_A_THREAD 6
#define ALIGN 64u

/* The rows of one region as the tiles want them, and what to do with them. */
struct acts {
    uint8_t *quantised, *floats; /* row r of a tile that begins at row f: f * bytes + its slot */
    uint64_t quantised_bytes, float_bytes, cols;
    bool quantise, keep; /* some weights are quantised; some are float */
    int wide;
};

/* One matrix product: out[row][o] = w[o] . x[row] + bias[o] + add[row][o]. */
struct product {
    const struct rz_weight_view *w;
    const struct tiles *tiles;
    bool quantised, planes; /* planes: the layout is PLANES */
    uint64_t groups, group_bytes;
    const float *bias, *add;
    float *out;
    uint64_t out_stride, add_stride;
};

static uint64_t round_up(uint64_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

static uint64_t quantised_row_bytes(uint64_t cols, int wide)
{
    return round_up(cols / 32 * ACT_WORDS(1, wide) * sizeof(int32_t));
}

static uint64_t float_row_bytes(uint64_t cols)
{
    return round_up(cols * sizeof(float));
}

/* A row to norm into for each thread, then the rows. */
static uint64_t acts_bytes(uint64_t cols, uint32_t max_rows, uint32_t n_threads)
{
    uint64_t few = (uint64_t)FEW_ROWS * n_threads, rows = max_rows > few ? max_rows : few;
    return n_threads * float_row_bytes(cols) + rows * (quantised_row_bytes(cols, 1) + float_row_bytes(cols));
}

/* Rows of the tile that begins at `row`, of n in all; and its number in struct tiles. */
static uint32_t tile_rows(uint32_t row, uint32_t n, uint32_t *index)
{
    uint32_t left = n - row;
    *index = left >= 8 ? 3 : left >= 4 ? 2 : left >= 2 ? 1 : 0;
    return 1u << *index;
}

/* Prepares the rows of one tile. */
static void prepare_tile(const struct rz_kernel_call *c, const struct rz_view *x, const float *norm,
                         const struct acts *a, float *normed, uint32_t row, uint32_t n)
{
    double eps = c->node->attr[RZ_A_EPS].f;
    for (uint32_t t = 0; t < n; t++) {
        const float *f = x->data + (row + t) * x->stride;
        if (norm) {
            act_rmsnorm(f, norm, eps, normed, a->cols);
            f = normed;
        }
        if (a->keep)
            act_put_float(f, a->cols, (float *)(a->floats + row * a->float_bytes), n, t);
        if (a->quantise && a->wide)
            act_put_wide(f, a->cols, (int32_t *)(a->quantised + row * a->quantised_bytes), n, t);
        else if (a->quantise)
            act_put_int8(f, a->cols, (int32_t *)(a->quantised + row * a->quantised_bytes), n, t);
    }
}

/* Makes the activations of all rows visible to this thread. products: what will meet them. */
static void prepare(const struct rz_kernel_call *c, const struct rz_view *x, const float *norm,
                    const struct product *products, int n_products, int wide, struct acts *out)
{
    bool few = c->n_rows <= FEW_ROWS;
    uint64_t cols = x->width, quantised = quantised_row_bytes(cols, wide), floats = float_row_bytes(cols);
    uint64_t rows = few ? FEW_ROWS : c->n_rows;
    uint8_t *base = c->scratch + c->n_threads * floats;
    float *normed = (float *)(c->scratch + c->tid * floats);
    if (few)
        base += c->tid * FEW_ROWS * (quantised + floats);
    *out = (struct acts){.quantised = base,
                         .floats = base + rows * quantised,
                         .quantised_bytes = quantised,
                         .float_bytes = floats,
                         .cols = cols,
                         .wide = wide};
    for (int i = 0; i < n_products; i++) {
        out->quantise |= products[i].quantised;
        out->keep |= !products[i].quantised;
    }
    uint32_t index;
    if (few) {
        for (uint32_t row = 0, n; row < c->n_rows; row += n) {
            n = tile_rows(row, c->n_rows, &index);
            prepare_tile(c, x, norm, out, normed, row, n);
        }
        return;
    }
    c->team->share(c->team, c->tid, (c->n_rows + TILE_ROWS - 1) / TILE_ROWS);
    for (int32_t t; (t = c->team->take(c->team, c->tid)) >= 0;) {
        uint32_t first = (uint32_t)t * TILE_ROWS;
        uint32_t end = c->n_rows - first < TILE_ROWS ? c->n_rows : first + TILE_ROWS;
        for (uint32_t row = first, n; row < end; row += n) {
            n = tile_rows(row, end, &index);
            prepare_tile(c, x, norm, out, normed, row, n);
        }
    }
    c->team->barrier(c->team, c->tid);
}

/* y = group times the tile of rows that begins at `row`. Returns how many rows that is. */
static uint32_t group_times(const struct product *p, uint64_t group, const struct acts *a, uint32_t row,
                            uint32_t n_rows, float y[TILE_ROWS][GROUP])
{
    uint32_t index, n = tile_rows(row, n_rows, &index);
    const uint8_t *x =
        p->quantised ? a->quantised + row * a->quantised_bytes : a->floats + row * a->float_bytes;
    const struct x_planes planes = planes_at(p->w, p->planes ? group : 0);
    const uint8_t *w = (const uint8_t *)p->w->data + group * p->group_bytes;
    p->tiles->fn[a->wide][index](p->planes ? (const void *)&planes : w, a->cols, x, y);
    return n;
}

/* Lanes of a group that are rows of the weight. */
static __mmask16 group_lanes(const struct product *p, uint64_t group)
{
    return first_lanes(p->w->rows - group * GROUP);
}

/* One tile of a group's outputs; returns its number of rows. */
static uint32_t product_tile(const struct product *p, uint64_t group, const struct acts *a, uint32_t row,
                             uint32_t n_rows)
{
    float y[TILE_ROWS][GROUP];
    uint64_t o = group * GROUP;
    __mmask16 m = group_lanes(p, group);
    uint32_t n = group_times(p, group, a, row, n_rows, y);
    for (uint32_t t = 0; t < n; t++) {
        __m512 v = _mm512_loadu_ps(y[t]);
        if (p->bias)
            v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(m, p->bias + o));
        if (p->add)
            v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(m, p->add + (row + t) * p->add_stride + o));
        _mm512_mask_storeu_ps(p->out + (row + t) * p->out_stride + o, m, v);
    }
    return n;
}

/* --- sharing out: pieces of all groups; within a piece, blocks of rows that fit the cache --- */

struct piece {
    uint64_t first, end;
};

static uint32_t piece_count(const struct rz_kernel_call *c, uint64_t groups)
{
    uint64_t most = (uint64_t)c->n_threads * TILES_A_THREAD;
    return (uint32_t)(groups < most ? groups : most);
}

static struct piece piece_at(uint64_t groups, uint32_t pieces, int32_t i)
{
    return (struct piece){groups * (uint64_t)i / pieces, groups * ((uint64_t)i + 1) / pieces};
}

static uint32_t block_rows(const struct acts *a)
{
    uint64_t row = (a->quantise ? a->quantised_bytes : 0) + (a->keep ? a->float_bytes : 0);
    uint64_t rows = CACHED_BYTES / row / TILE_ROWS * TILE_ROWS;
    return rows < TILE_ROWS ? TILE_ROWS : rows > 1024 ? 1024 : (uint32_t)rows;
}

static void run_piece(const struct product *products, const struct piece *piece, const struct acts *a,
                      uint32_t row, uint32_t stop)
{
    for (uint64_t g = piece->first; g < piece->end; g++) {
        uint64_t group = g;
        const struct product *p = products;
        for (; group >= p->groups; p++)
            group -= p->groups;
        for (uint32_t r = row; r < stop;)
            r += product_tile(p, group, a, r, stop);
    }
}

static void run_products(const struct rz_kernel_call *c, const struct product *products, int n,
                         const struct acts *a)
{
    uint64_t total = 0;
    uint32_t rows = block_rows(a);
    for (int i = 0; i < n; i++)
        total += products[i].groups;
    uint32_t pieces = piece_count(c, total);
    c->team->share(c->team, c->tid, pieces);
    for (int32_t t; (t = c->team->take(c->team, c->tid)) >= 0;) {
        struct piece piece = piece_at(total, pieces, t);
        for (uint32_t row = 0; row < c->n_rows; row += rows)
            run_piece(products, &piece, a, row, c->n_rows - row < rows ? c->n_rows : row + rows);
    }
}

static const float *vector(const struct rz_kernel_call *c, uint32_t w)
{
    return w < c->node->n_weights && c->node->weights[w].type != RZ_TYPE_NONE ? c->node->weights[w].data
                                                                              : NULL;
}

static struct product product_of(const struct rz_kernel_call *c, uint32_t w, uint32_t bias, float *out,
                                 uint64_t stride)
{
    const struct rz_weight_view *view = &c->node->weights[w];
    return (struct product){.w = view,
                            .tiles = tiles_of(view->type),
                            .quantised = x_type(view->type)->quantised,
                            .groups = (view->rows + GROUP - 1) / GROUP,
                            .group_bytes = x_group_bytes(view->type, view->cols),
                            .bias = vector(c, bias),
                            .out = out,
                            .out_stride = stride};
}

/* --- norm_qkv --- */

static uint64_t kv_width(const struct rz_kernel_node *n)
{
    return (uint64_t)(n->attr[RZ_A_N_KV_HEAD].i * n->attr[RZ_A_HEAD_DIM].i);
}

uint64_t norm_qkv_scratch(const struct rz_kernel_node *n, uint32_t max_rows, uint32_t n_threads)
{
    return acts_bytes(n->in_width[0], max_rows, n_threads) +
           2 * max_rows * round_up(kv_width(n) * sizeof(float));
}

static int32_t norm_qkv(const struct rz_kernel_call *c, int wide)
{
    struct acts a;
    uint64_t stride = round_up(kv_width(c->node) * sizeof(float)) / sizeof(float);
    float *k = (float *)(c->scratch + acts_bytes(c->in[0].width, c->node->max_rows, c->n_threads));
    float *v = k + c->node->max_rows * stride;
    const struct product products[3] = {
        product_of(c, 1, 4, c->out[0].data, c->out[0].stride),
        product_of(c, 2, 5, k, stride),
        product_of(c, 3, 6, v, stride),
    };
    prepare(c, &c->in[0], vector(c, 0), products, 3, wide, &a);
    run_products(c, products, 3, &a);
    c->team->barrier(c->team, c->tid);
    c->team->share(c->team, c->tid, c->n_rows);
    for (int32_t r; (r = c->team->take(c->team, c->tid)) >= 0;) {
        uint64_t row = (uint64_t)r;
        rope_row(c, (uint32_t)r, c->out[0].data + row * c->out[0].stride,
                 (uint64_t)c->node->attr[RZ_A_N_HEAD].i);
        rope_row(c, (uint32_t)r, k + row * stride, (uint64_t)c->node->attr[RZ_A_N_KV_HEAD].i);
        kv_store_row(c, (uint32_t)r, k + row * stride, v + row * stride);
    }
    return RZ_OK;
}

/* --- products alone --- */

uint64_t product_scratch(const struct rz_kernel_node *n, uint32_t max_rows, uint32_t n_threads)
{
    return acts_bytes(n->in_width[0], max_rows, n_threads);
}

static int32_t matmul(const struct rz_kernel_call *c, const struct rz_view *add, int wide)
{
    struct acts a;
    struct product p = product_of(c, 0, 1, c->out[0].data, c->out[0].stride);
    p.add = add ? add->data : NULL;
    p.add_stride = add ? add->stride : 0;
    prepare(c, &c->in[0], NULL, &p, 1, wide, &a);
    run_products(c, &p, 1, &a);
    return RZ_OK;
}

/* --- norm_glu: gate and up of the same outputs, then the activation --- */

static void add_bias(float y[TILE_ROWS][GROUP], const struct product *p, uint64_t group, uint32_t n)
{
    for (uint32_t t = 0; p->bias && t < n; t++) {
        __m512 b = _mm512_maskz_loadu_ps(group_lanes(p, group), p->bias + group * GROUP);
        _mm512_storeu_ps(y[t], _mm512_add_ps(_mm512_loadu_ps(y[t]), b));
    }
}

static uint32_t glu_tile(const struct rz_kernel_call *c, const struct product *p, uint64_t group,
                         const struct acts *a, uint32_t row, uint32_t n_rows)
{
    float gate[TILE_ROWS][GROUP], up[TILE_ROWS][GROUP];
    uint64_t o = group * GROUP, valid = p[0].w->rows - o < GROUP ? p[0].w->rows - o : GROUP;
    uint32_t n = group_times(&p[0], group, a, row, n_rows, gate);
    group_times(&p[1], group, a, row, n_rows, up);
    add_bias(gate, &p[0], group, n);
    add_bias(up, &p[1], group, n);
    for (uint32_t t = 0; t < n; t++)
        act_silu_mul(gate[t], up[t], c->out[0].data + (row + t) * c->out[0].stride + o, valid);
    return n;
}

static int32_t norm_glu(const struct rz_kernel_call *c, int wide)
{
    struct acts a;
    const struct product p[2] = {product_of(c, 1, 3, NULL, 0), product_of(c, 2, 4, NULL, 0)};
    prepare(c, &c->in[0], vector(c, 0), p, 2, wide, &a);
    uint32_t pieces = piece_count(c, p[0].groups), rows = block_rows(&a);
    c->team->share(c->team, c->tid, pieces);
    for (int32_t t; (t = c->team->take(c->team, c->tid)) >= 0;) {
        struct piece piece = piece_at(p[0].groups, pieces, t);
        for (uint32_t row = 0; row < c->n_rows; row += rows) {
            uint32_t stop = c->n_rows - row < rows ? c->n_rows : row + rows;
            for (uint64_t g = piece.first; g < piece.end; g++)
                for (uint32_t r = row; r < stop;)
                    r += glu_tile(c, p, g, &a, r, stop);
        }
    }
    return RZ_OK;
}

/* --- head: norm, and the product with the largest matrix, screened where few best ones are wanted --- */

/* What a thread of a screened product has for itself. */
struct screening {
    struct screen_shared *shared;
    struct screen_best *best; /* [SCREEN_ROWS_MAX]                                   */
    struct screen_x *x;       /* tile that begins at row r: from r * cols / 32 on    */
    uint32_t k[SCREEN_ROWS_MAX];
};

static uint64_t screening_bytes(uint64_t cols)
{
    return round_up(SCREEN_ROWS_MAX * (sizeof(struct screen_best) + cols / 32 * sizeof(struct screen_x)));
}

uint64_t head_scratch(const struct rz_kernel_node *n, uint32_t max_rows, uint32_t n_threads)
{
    uint64_t cols = n->in_width[0];
    return acts_bytes(cols, max_rows, n_threads) + sizeof(struct screen_shared) +
           n_threads * screening_bytes(cols);
}

static void begin_screening(const struct rz_kernel_call *c, const struct acts *a, struct screening *s)
{
    uint8_t *at = c->scratch + acts_bytes(a->cols, c->node->max_rows, c->n_threads);
    s->shared = (struct screen_shared *)at;
    s->best = (struct screen_best *)(at + sizeof(*s->shared) + c->tid * screening_bytes(a->cols));
    s->x = (struct screen_x *)(s->best + SCREEN_ROWS_MAX);
    if (c->tid == 0)
        screen_begin(s->shared);
    uint32_t index;
    for (uint32_t row = 0, n; row < c->n_rows; row += n) {
        n = tile_rows(row, c->n_rows, &index);
        screen_prepare((const int32_t *)(a->quantised + row * a->quantised_bytes), a->cols, n, a->wide,
                       s->x + row * (a->cols / 32));
    }
    for (uint32_t row = 0; row < c->n_rows; row++)
        s->best[row].n = 0;
    c->team->barrier(c->team, c->tid);
}

/* Returns the number of rows. */
static uint32_t screened_tile(const struct product *p, uint64_t group, const struct acts *a,
                              const struct screening *s, uint32_t row, uint32_t n_rows)
{
    float y[TILE_ROWS][GROUP], least[SCREEN_ROWS_MAX];
    uint32_t lanes[SCREEN_ROWS_MAX], index, some = 0, n = tile_rows(row, n_rows, &index);
    __mmask16 valid = group_lanes(p, group);
    for (uint32_t t = 0; t < n; t++)
        least[t] = screen_least(s->shared, (int)(row + t));
    screen_group(planes_at(p->w, group).a, a->cols,
                 (const int32_t *)(a->quantised + row * a->quantised_bytes), s->x + row * (a->cols / 32), n,
                 a->wide, least, lanes);
    for (uint32_t t = 0; t < n; t++)
        some |= lanes[t] &= valid;
    if (some)
        group_times(p, group, a, row, n_rows, y);
    for (uint32_t t = 0; t < n; t++) {
        __m512 v = some ? _mm512_loadu_ps(y[t]) : _mm512_set1_ps(-INFINITY);
        _mm512_mask_storeu_ps(p->out + (row + t) * p->out_stride + group * GROUP, valid, v);
        for (uint32_t left = lanes[t]; left; left &= left - 1)
            screen_take(s->shared, (int)(row + t), &s->best[row + t], s->k[row + t],
                        y[t][__builtin_ctz(left)]);
    }
    return n;
}

static void run_screened(const struct rz_kernel_call *c, const struct product *p, const struct acts *a,
                         struct screening *s)
{
    begin_screening(c, a, s);
    uint32_t pieces = piece_count(c, p->groups);
    c->team->share(c->team, c->tid, pieces);
    for (int32_t t; (t = c->team->take(c->team, c->tid)) >= 0;) {
        struct piece piece = piece_at(p->groups, pieces, t);
        for (uint64_t g = piece.first; g < piece.end; g++)
            for (uint32_t row = 0; row < c->n_rows;)
                row += screened_tile(p, g, a, s, row, c->n_rows);
    }
}

static int32_t head(const struct rz_kernel_call *c, int wide)
{
    struct acts a;
    struct screening s;
    const struct rz_view *hidden = &c->out[0];
    struct product p = product_of(c, 1, 2, c->out[1].data, c->out[1].stride);
    p.planes = true;
    p.tiles = &tiles_planes;
    bool few = c->n_rows <= FEW_ROWS;
    c->team->share(c->team, c->tid, c->n_rows);
    for (int32_t r; (r = c->team->take(c->team, c->tid)) >= 0;)
        act_rmsnorm(c->in[0].data + (uint64_t)r * c->in[0].stride, vector(c, 0), c->node->attr[RZ_A_EPS].f,
                    hidden->data + (uint64_t)r * hidden->stride, hidden->width);
    if (!few)
        c->team->barrier(c->team, c->tid);
    prepare(c, few ? &c->in[0] : hidden, few ? vector(c, 0) : NULL, &p, 1, wide, &a);
    if (few)
        c->team->barrier(c->team, c->tid);
    if (screen_wanted(c, s.k))
        run_screened(c, &p, &a, &s);
    else
        run_products(c, &p, 1, &a);
    return RZ_OK;
}

#define BOTH(name, call8, call16) \
    int32_t name##_int8(const struct rz_kernel_call *c, struct rz_err *err) \
    { \
        (void)err; \
        return call8; \
    } \
    int32_t name##_wide(const struct rz_kernel_call *c, struct rz_err *err) \
    { \
        (void)err; \
        return call16; \
    }
BOTH(norm_qkv, norm_qkv(c, 0), norm_qkv(c, 1))
BOTH(norm_glu, norm_glu(c, 0), norm_glu(c, 1))
BOTH(proj_add, matmul(c, &c->in[1], 0), matmul(c, &c->in[1], 1))
BOTH(matmul, matmul(c, NULL, 0), matmul(c, NULL, 1))
BOTH(head, head(c, 0), head(c, 1))
