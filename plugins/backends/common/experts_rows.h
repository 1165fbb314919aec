/* experts_rows.h - products by choice over tiles of rows: inputs lie one after the other, as 8-bit blocks
 * of 32; those of float weights are read where they are.
 */
#ifndef RZ_BACKENDS_EXPERTS_ROWS_H
#define RZ_BACKENDS_EXPERTS_ROWS_H

#include "blocks.h"

#include "experts.h"

static uint64_t input_bytes(const struct choice *e)
{
    return e->quantised ? rz_round_up(e->cols / 32 * sizeof(struct act_block), ALIGN) : 0;
}

/* The inputs of a row are one, or one for each place. */
static uint64_t inputs_of_row(const struct choice *e)
{
    return e->in_step ? e->places : 1;
}

static uint64_t inputs_bytes(const struct choice *e, uint64_t rows)
{
    uint64_t bytes;
    return rz_mul_u64(rows, inputs_of_row(e), &bytes) && rz_mul_u64(bytes, input_bytes(e), &bytes)
               ? bytes
               : UINT64_MAX;
}

static void prepare_row(const struct choice *e, uint64_t row)
{
    uint64_t n = inputs_of_row(e);
    for (uint64_t i = 0; i < n; i++)
        act_quantise(x_of(e, row * e->places + i),
                     (struct act_block *)(void *)(e->inputs + (row * n + i) * input_bytes(e)), e->cols);
}

static void prepare(const struct choice *e)
{
    if (!e->quantised)
        return;
    if (e->lone) {
        prepare_row(e, 0);
        return;
    }
    struct share share = share_out(e->c, e->c->n_rows);
    for (int32_t r; (r = share_take(e->c, &share)) >= 0;)
        prepare_row(e, (uint64_t)r);
}

static uint32_t tile_pairs(const struct choice *e, uint32_t left)
{
    (void)e;
    return left < TILE_ROWS ? left : TILE_ROWS;
}

static uint32_t block_pairs(const struct choice *e)
{
    (void)e;
    return 64;
}

static void group_times(const struct choice *e, uint32_t w, uint64_t group, uint32_t first, uint32_t n,
                        float (*y)[GROUP])
{
    const struct rz_weight_view *v = &e->c->node->weights[w];
    const struct x_type *type = x_type(v->type);
    union tile_x x[TILE_ROWS];
    for (uint32_t t = 0; t < n; t++) {
        uint32_t pair = e->order[first + t];
        uint64_t input = e->in_step ? pair : pair / e->places;
        if (type->quantised)
            x[t].q = (const struct act_block *)(const void *)(e->inputs + input * input_bytes(e));
        else
            x[t].f = x_of(e, pair);
    }
    tile_run(e->how, v->type, (const uint8_t *)v->data + group * x_group_bytes(type, v->cols), v->cols, x,
             (int)n, y);
}

static void strip_times(const struct choice *e, uint32_t w, uint64_t group, uint64_t n, uint32_t first,
                        float (*y)[GROUP])
{
    for (uint64_t g = 0; g < n; g++)
        group_times(e, w, group + g, first, 1, y + g);
}

#endif
