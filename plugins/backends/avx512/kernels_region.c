/* kernels_region.c - the regions over this table's tiles. The rows of a step are cut into tiles of eight, and
 * the rest into 4, 2 and 1; the rows of a tile lie side by side.
 */
#include "head.h"
#include "vec512.h"

#define CACHED_BYTES (512 << 10)

struct acts {
    uint8_t *quantised, *floats; /* the tile that begins at row r lies at r * bytes */
    uint64_t quantised_bytes, float_bytes, cols;
    bool quantise, keep; /* some weights are quantised; some are float */
    int wide;
};

#include "../common/region.h"

static uint64_t quantised_row_bytes(uint64_t cols, int wide)
{
    return round_up(cols / 32 * ACT_WORDS(1, wide) * sizeof(int32_t));
}

static uint64_t float_row_bytes(uint64_t cols)
{
    return round_up(cols * sizeof(float));
}

/* A tile of rows to norm into for each thread, then the rows. */
static uint64_t acts_bytes(uint64_t cols, uint32_t max_rows, uint32_t n_threads)
{
    uint64_t few = (uint64_t)FEW_ROWS * n_threads, rows = max_rows > few ? max_rows : few;
    return n_threads * TILE_ROWS * float_row_bytes(cols) +
           rows * (quantised_row_bytes(cols, 1) + float_row_bytes(cols));
}

/* Logarithm of the rows of the next tile, when `left` are left. */
static uint32_t tile_index(uint32_t left)
{
    return left >= 8 ? 3 : left >= 4 ? 2 : left >= 2 ? 1 : 0;
}

static uint32_t tile_rows(uint32_t row, uint32_t end)
{
    return 1u << tile_index(end - row);
}

static uint32_t block_rows(const struct acts *a)
{
    uint64_t row = (a->quantise ? a->quantised_bytes : 0) + (a->keep ? a->float_bytes : 0);
    uint64_t rows = CACHED_BYTES / row / TILE_ROWS * TILE_ROWS;
    return rows < TILE_ROWS ? TILE_ROWS : rows > 1024 ? 1024 : (uint32_t)rows;
}

/* Quantises n rows, one tile, from f on. */
static void quantise(const float *f, uint64_t stride, const struct acts *a, uint32_t n, int32_t *tile)
{
    if (n == TILE_ROWS) {
        if (a->wide)
            act_put_wide_eight(f, stride, a->cols, tile);
        else
            act_put_int8_eight(f, stride, a->cols, tile);
        return;
    }
    for (uint32_t t = 0; t < n; t++) {
        if (a->wide)
            act_put_wide(f + t * stride, a->cols, tile, n, t);
        else
            act_put_int8(f + t * stride, a->cols, tile, n, t);
    }
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

static void prepare(const struct rz_kernel_call *c, const struct rz_view *x, const struct norm *norm,
                    const struct product *products, int n_products, int wide, struct acts *out)
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
    for (int i = 0; i < n_products; i++) {
        out->quantise |= x_type(products[i].w->type)->quantised;
        out->keep |= !x_type(products[i].w->type)->quantised;
    }
    if (few) {
        prepare_rows(x, norm, out, normed, 0, c->n_rows);
        return;
    }
    c->team->share(c->team, c->tid, (c->n_rows + TILE_ROWS - 1) / TILE_ROWS);
    for (int32_t t; (t = c->team->take(c->team, c->tid)) >= 0;) {
        uint32_t first = (uint32_t)t * TILE_ROWS;
        prepare_rows(x, norm, out, normed, first,
                     c->n_rows - first < TILE_ROWS ? c->n_rows : first + TILE_ROWS);
    }
    c->team->barrier(c->team, c->tid);
}

static void group_times(const struct rz_weight_view *w, uint64_t group, const struct acts *a, uint32_t row,
                        uint32_t n, float y[TILE_ROWS][GROUP])
{
    bool quantised = x_type(w->type)->quantised;
    const uint8_t *x = quantised ? a->quantised + row * a->quantised_bytes : a->floats + row * a->float_bytes;
    uint32_t index = tile_index(n);
    if (w->layout == LAYOUT_PLANES) {
        const struct x_planes planes = planes_at(w, group);
        tiles_planes.fn[a->wide][index](&planes, a->cols, x, y);
        return;
    }
    tiles_of(w->type)->fn[a->wide][index]((const uint8_t *)w->data + group * x_group_bytes(w->type, a->cols),
                                          a->cols, x, y);
}

static void finish_row(float *out, const float *y, const float *bias, const float *add, float factor,
                       uint64_t n)
{
    __mmask16 m = first_lanes(n);
    __m512 v = _mm512_loadu_ps(y);
    if (bias)
        v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(m, bias));
    if (add)
        v = _mm512_fmadd_ps(v, _mm512_set1_ps(factor), _mm512_maskz_loadu_ps(m, add));
    _mm512_mask_storeu_ps(out, m, v);
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
