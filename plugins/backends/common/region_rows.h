/* region_rows.h - the regions over tiles of rows: rows of activations lie one after the other, as float32 and
 * as 8-bit blocks of 32.
 */
#ifndef RZ_BACKENDS_REGION_ROWS_H
#define RZ_BACKENDS_REGION_ROWS_H

#include "blocks.h"

/* The rows of one region as the tiles want them. */
struct acts {
    const float *f;
    const struct act_block *q;
    uint64_t f_stride, q_stride, cols;
    int level; /* of the instruction set, for tile_run */
};

/* What all groups of a product have in common. */
struct pairing {
    uint64_t group_bytes;
    bool quantised;
};

#include "region.h"

static uint64_t acts_row_bytes(uint64_t cols)
{
    return round_up(cols * sizeof(float)) + round_up(cols / 32 * sizeof(struct act_block));
}

static uint64_t acts_bytes(uint64_t cols, uint32_t max_rows, uint32_t n_threads)
{
    uint64_t few = (uint64_t)FEW_ROWS * n_threads;
    return acts_row_bytes(cols) * (max_rows > few ? max_rows : few);
}

static void prepare_row(const float *x, const struct norm *norm, float *f, struct act_block *q, uint64_t cols,
                        bool quantise)
{
    if (norm)
        act_norm(norm, x, f, cols);
    if (quantise)
        act_quantise(norm ? f : x, q, cols);
}

static void prepare(const struct rz_kernel_call *c, const struct rz_view *x, const struct norm *norm,
                    struct product *products, int n_products, int level, struct acts *out)
{
    bool quantise = false, few = c->n_rows <= FEW_ROWS;
    uint64_t cols = x->width;
    for (int i = 0; i < n_products; i++) {
        const struct x_type *type = x_type(products[i].w->type);
        products[i].with = (struct pairing){x_group_bytes(type, cols), type->quantised};
        quantise |= type->quantised;
    }
    uint64_t f_bytes = round_up(cols * sizeof(float)), row_bytes = acts_row_bytes(cols);
    uint8_t *base = c->scratch + (few ? (uint64_t)c->tid * FEW_ROWS * row_bytes : 0);
    *out = (struct acts){.f = norm ? (const float *)base : x->data,
                         .q = (const struct act_block *)(base + f_bytes),
                         .f_stride = norm ? row_bytes / sizeof(float) : x->stride,
                         .q_stride = row_bytes,
                         .cols = cols,
                         .level = level};
    if (!norm && !quantise)
        return;
    if (few) {
        for (uint32_t r = 0; r < c->n_rows; r++)
            prepare_row(x->data + r * x->stride, norm, (float *)(base + r * row_bytes),
                        (struct act_block *)(base + r * row_bytes + f_bytes), cols, quantise);
        return;
    }
    struct share share = share_out(c, c->n_rows);
    for (int32_t r; (r = share_take(c, &share)) >= 0;)
        prepare_row(x->data + (uint64_t)r * x->stride, norm, (float *)(base + (uint64_t)r * row_bytes),
                    (struct act_block *)(base + (uint64_t)r * row_bytes + f_bytes), cols, quantise);
    wait_for_team(c);
}

static uint32_t tile_rows(uint32_t row, uint32_t end)
{
    return end - row < TILE_ROWS ? end - row : TILE_ROWS;
}

static uint32_t block_rows(const struct acts *a)
{
    (void)a;
    return 64;
}

static void tile_inputs(const struct acts *a, bool quantised, uint32_t row, uint32_t n, union tile_x *x)
{
    for (uint32_t t = 0; t < n; t++) {
        if (quantised)
            x[t].q = (const struct act_block *)((const uint8_t *)a->q + (row + t) * a->q_stride);
        else
            x[t].f = a->f + (row + t) * a->f_stride;
    }
}

static void group_times(const struct product *p, uint64_t group, const struct acts *a, uint32_t row,
                        uint32_t n, float (*y)[GROUP])
{
    union tile_x x[TILE_ROWS];
    tile_inputs(a, p->with.quantised, row, n, x);
#ifdef LAYOUT_PLANES
    if (p->w->layout == LAYOUT_PLANES) {
        planes_run(p->w, group, x, (int)n, y);
        return;
    }
#endif
    tile_run(a->level, p->w->type, (const uint8_t *)p->w->data + group * p->with.group_bytes, a->cols, x,
             (int)n, y);
}

static void strip_times(const struct product *p, uint64_t first, uint64_t n, const struct acts *a,
                        uint32_t row, float y[STRIP][GROUP])
{
    for (uint64_t g = 0; g < n; g++)
        group_times(p, first + g, a, row, 1, y + g);
}

static void finish_row(float *out, const float *y, const float *bias, const float *add, float factor,
                       uint64_t n)
{
    if (n == 8) {
        __m256 v = _mm256_loadu_ps(y);
        if (bias)
            v = _mm256_add_ps(v, _mm256_loadu_ps(bias));
        if (add)
            v = _mm256_add_ps(_mm256_mul_ps(v, _mm256_set1_ps(factor)), _mm256_loadu_ps(add));
        _mm256_storeu_ps(out, v);
        return;
    }
    for (uint64_t r = 0; r < n; r++) {
        float v = y[r];
        if (bias)
            v += bias[r];
        if (add)
            v = v * factor + add[r];
        out[r] = v;
    }
}

#endif
