/* kernels_region.c - the regions over this table's tiles. The rows of a step are cut into tiles of eight, and
 * the rest into 4, 2 and 1; the rows of a tile lie side by side.
 */
#include "avx512.h"
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

/* A row to norm into for each thread, then the rows. */
static uint64_t acts_bytes(uint64_t cols, uint32_t max_rows, uint32_t n_threads)
{
    uint64_t few = (uint64_t)FEW_ROWS * n_threads, rows = max_rows > few ? max_rows : few;
    return n_threads * float_row_bytes(cols) + rows * (quantised_row_bytes(cols, 1) + float_row_bytes(cols));
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

/* Prepares rows first .. end - 1, whole tiles. */
static void prepare_rows(const struct rz_view *x, const struct norm *norm, const struct acts *a,
                         float *normed, uint32_t first, uint32_t end)
{
    for (uint32_t row = first, n, t = 0; row < end; row += n, t = 0)
        for (n = tile_rows(row, end); t < n; t++) {
            const float *f = x->data + (row + t) * x->stride;
            if (norm) {
                act_norm(norm, f, normed, a->cols);
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

static void prepare(const struct rz_kernel_call *c, const struct rz_view *x, const struct norm *norm,
                    const struct product *products, int n_products, int wide, struct acts *out)
{
    bool few = c->n_rows <= FEW_ROWS;
    uint64_t cols = x->width, quantised = quantised_row_bytes(cols, wide), floats = float_row_bytes(cols);
    uint8_t *base = c->scratch + c->n_threads * floats;
    float *normed = (float *)(c->scratch + c->tid * floats);
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
    tiles_of(w->type)->fn[a->wide][tile_index(n)](
        (const uint8_t *)w->data + group * x_group_bytes(w->type, a->cols), a->cols, x, y);
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
