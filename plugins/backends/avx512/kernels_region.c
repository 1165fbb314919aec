/* kernels_region.c - the regions over this table's tiles. Rows of activations lie in tiles (acts.h).
 */
#include "acts.h"
#include "head.h"
#include "vec512.h"

struct acts {
    uint8_t *quantised, *floats; /* the tile that begins at row r lies at r * bytes */
    uint64_t quantised_bytes, float_bytes, cols;
    bool quantise, keep; /* some weights are quantised; some are float */
    int wide;
};

/* What all groups of a product have in common. */
struct pairing {
    const uint8_t *groups, *x; /* the tile that begins at row r lies at x + r * x_bytes */
    uint64_t group_bytes, x_bytes;
    tile_fn *const *fn; /* [tile_index] */
    strip_fn *strip;    /* may be NULL  */
};

#include "../common/region.h"

/* A tile of rows to norm into for each thread, then the rows. */
static uint64_t acts_bytes(uint64_t cols, uint32_t max_rows, uint32_t n_threads)
{
    uint64_t few = (uint64_t)FEW_ROWS * n_threads, rows = max_rows > few ? max_rows : few;
    return n_threads * TILE_ROWS * float_row_bytes(cols) +
           rows * (quantised_row_bytes(cols, 1) + float_row_bytes(cols));
}

static uint32_t tile_rows(uint32_t row, uint32_t end)
{
    return 1u << tile_index(end - row);
}

static uint32_t block_rows(const struct acts *a)
{
    return cached_rows((a->quantise ? a->quantised_bytes : 0) + (a->keep ? a->float_bytes : 0));
}

/* Quantises n rows, one tile, from f on. */
static void quantise(const float *f, uint64_t stride, const struct acts *a, uint32_t n, int32_t *tile)
{
    const float *rows[TILE_ROWS];
    for (uint32_t t = 0; t < n; t++)
        rows[t] = f + t * stride;
    quantise_tile(rows, n, a->cols, a->wide, tile);
}

/* Prepares rows first .. end - 1, whole tiles. normed: room for the rows of one. */
static void prepare_rows(const struct rz_view *x, const struct norm *norm, const struct acts *a,
                         float *normed, uint32_t first, uint32_t end)
{
    for (uint32_t row = first, n; row < end; row += n) {
        const float *f = x->data + row * x->stride;
        uint64_t stride = x->stride;
        n = tile_rows(row, end);
        if (norm) {
            uint64_t room = float_row_bytes(a->cols) / sizeof(float);
            for (uint32_t t = 0; t < n; t++)
                act_norm(norm, f + t * stride, normed + t * room, a->cols);
            f = normed;
            stride = room;
        }
        for (uint32_t t = 0; a->keep && t < n; t++)
            act_put_float(f + t * stride, a->cols, (float *)(a->floats + row * a->float_bytes), n, t);
        if (a->quantise)
            quantise(f, stride, a, n, (int32_t *)(a->quantised + row * a->quantised_bytes));
    }
}

/* floats: where those of the activations begin. */
static void pair(struct product *p, struct acts *a, const uint8_t *floats)
{
    const struct x_type *type = x_type(p->w->type);
    const struct tiles *tiles = p->w->layout == LAYOUT_PLANES ? &tiles_planes : tiles_of(p->w->type);
    p->with = (struct pairing){.groups = p->w->data,
                               .x = type->quantised ? a->quantised : floats,
                               .group_bytes = x_group_bytes(type, a->cols),
                               .x_bytes = type->quantised ? a->quantised_bytes : a->float_bytes,
                               .fn = tiles->fn[a->wide],
                               .strip = tiles->strip};
    if (type->quantised)
        a->quantise = true;
    else
        a->keep = true;
}

/* A tile of one row is the row as it is. */
static void prepare_lone(const struct rz_view *x, const struct norm *norm, struct product *products,
                         int n_products, struct acts *a)
{
    float *normed = (float *)a->floats;
    const float *f = x->data;
    if (norm) {
        act_norm(norm, f, normed, a->cols);
        f = normed;
    }
    for (int i = 0; i < n_products; i++)
        pair(&products[i], a, (const uint8_t *)f);
    if (a->quantise)
        quantise(f, 0, a, 1, (int32_t *)a->quantised);
}

static void prepare(const struct rz_kernel_call *c, const struct rz_view *x, const struct norm *norm,
                    struct product *products, int n_products, int wide, struct acts *out)
{
    bool few = c->n_rows <= FEW_ROWS;
    uint64_t cols = x->width, quantised = quantised_row_bytes(cols, wide), floats = float_row_bytes(cols);
    uint8_t *base = c->scratch + c->n_threads * TILE_ROWS * floats;
    float *normed = (float *)(c->scratch + c->tid * TILE_ROWS * floats);
    if (few)
        base += c->tid * FEW_ROWS * (quantised + floats);
    *out = (struct acts){.quantised = base,
                         .floats = base + (few ? FEW_ROWS : c->n_rows) * quantised,
                         .quantised_bytes = quantised,
                         .float_bytes = floats,
                         .cols = cols,
                         .wide = wide};
    if (c->n_rows == 1) {
        prepare_lone(x, norm, products, n_products, out);
        return;
    }
    for (int i = 0; i < n_products; i++)
        pair(&products[i], out, out->floats);
    if (few) {
        prepare_rows(x, norm, out, normed, 0, c->n_rows);
        return;
    }
    struct share share = share_out(c, (c->n_rows + TILE_ROWS - 1) / TILE_ROWS);
    for (int32_t t; (t = share_take(c, &share)) >= 0;) {
        uint32_t first = (uint32_t)t * TILE_ROWS;
        prepare_rows(x, norm, out, normed, first,
                     c->n_rows - first < TILE_ROWS ? c->n_rows : first + TILE_ROWS);
    }
    wait_for_team(c);
}

INLINE void group_times(const struct product *p, uint64_t group, const struct acts *a, uint32_t row,
                        uint32_t n, float (*y)[GROUP])
{
    const struct pairing *with = &p->with;
    const uint8_t *x = with->x + row * with->x_bytes;
    if (p->w->layout == LAYOUT_PLANES) {
        const struct x_planes planes = planes_at(p->w, group);
        with->fn[tile_index(n)](&planes, a->cols, x, y);
        return;
    }
    with->fn[tile_index(n)](with->groups + group * with->group_bytes, a->cols, x, y);
}

INLINE void strip_times(const struct product *p, uint64_t first, uint64_t n, const struct acts *a,
                        uint32_t row, float y[STRIP][GROUP])
{
    const struct pairing *with = &p->with;
    if (with->strip) {
        with->strip(with->groups + first * with->group_bytes, n, a->cols, with->x + row * with->x_bytes, y);
        return;
    }
    for (uint64_t g = 0; g < n; g++)
        group_times(p, first + g, a, row, 1, y + g);
}

INLINE void finish_some(float *out, const float *y, const float *bias, const float *add, float factor,
                        __mmask16 m)
{
    __m512 v = _mm512_loadu_ps(y);
    if (bias)
        v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(m, bias));
    if (add)
        v = _mm512_fmadd_ps(v, _mm512_set1_ps(factor), _mm512_maskz_loadu_ps(m, add));
    if (m == 0xffff) /* what is read soon is not stored under a mask: it would have to wait for the cache */
        _mm512_storeu_ps(out, v);
    else
        _mm512_mask_storeu_ps(out, m, v);
}

INLINE void finish_row(float *out, const float *y, const float *bias, const float *add, float factor,
                       uint64_t n)
{
    uint64_t i = 0;
    for (; i + GROUP <= n; i += GROUP)
        finish_some(out + i, y + i, bias ? bias + i : NULL, add ? add + i : NULL, factor, 0xffff);
    if (i < n)
        finish_some(out + i, y + i, bias ? bias + i : NULL, add ? add + i : NULL, factor, first_lanes(n - i));
}

/* --- head --- */

static void screen_rows(const struct acts *a, uint32_t row, uint32_t n, struct screen_x *out)
{
    screen_prepare((const int32_t *)(a->quantised + row * a->quantised_bytes), a->cols, n, a->wide, out);
}

static void screen_lanes(const struct x_plane_a *at, const struct acts *a, uint32_t row, uint32_t n,
                         const struct screen_x *s, const float *least, uint32_t *lanes)
{
    screen_group(at, a->cols, (const int32_t *)(a->quantised + row * a->quantised_bytes), s, n, a->wide,
                 least, lanes);
}

#include "../common/head_region.h"
