/* kernels_experts.c - products in which each row meets a matrix of its own choice, over this table's tiles:
 * the pairs of a matrix are cut as the rows of a step are, and lie side by side in its tiles.
 */
#include "acts.h"

#include "../common/experts.h"

#define CHUNK 64 /* pairs that a thread prepares at a time */

/* Inputs lie at their place in e->order, quantised ones first; those of a lone row at their place of the
 * row. */
static uint64_t inputs_of(const struct choice *e, uint64_t rows)
{
    return rows == 1 && !e->in_step ? 1 : rows * e->places;
}

static uint64_t inputs_bytes(const struct choice *e, uint64_t rows)
{
    uint64_t all, bytes = 0;
    if (e->quantised)
        bytes += quantised_row_bytes(e->cols, 1);
    if (e->floats && rows > 1)
        bytes += float_row_bytes(e->cols);
    return rz_mul_u64(rows, e->places, &all) && rz_mul_u64(inputs_of(e, rows), bytes, &bytes) ? bytes
                                                                                              : UINT64_MAX;
}

static int32_t *quantised_at(const struct choice *e, uint32_t first)
{
    uint64_t at = !e->lone ? first : e->in_step ? e->order[first] : 0;
    return (int32_t *)(void *)(e->inputs + at * quantised_row_bytes(e->cols, e->how));
}

static float *floats_at(const struct choice *e, uint32_t first)
{
    uint64_t quantised = e->quantised ? inputs_of(e, e->c->node->max_rows) : 0;
    return (float *)(void *)(e->inputs + quantised * quantised_row_bytes(e->cols, 1) +
                             first * float_row_bytes(e->cols));
}

static uint32_t tile_pairs(const struct choice *e, uint32_t left)
{
    return e->lone ? 1 : 1u << tile_index(left);
}

static uint32_t block_pairs(const struct choice *e)
{
    return e->lone ? 1
                   : cached_rows((e->quantised ? quantised_row_bytes(e->cols, e->how) : 0) +
                                 (e->floats ? float_row_bytes(e->cols) : 0));
}

static void prepare_tile(const struct choice *e, uint32_t first, uint32_t n)
{
    const float *rows[TILE_ROWS];
    for (uint32_t t = 0; t < n; t++)
        rows[t] = x_of(e, e->order[first + t]);
    if (e->quantised)
        quantise_tile(rows, n, e->cols, e->how, quantised_at(e, first));
    for (uint32_t t = 0; e->floats && n > 1 && t < n; t++) /* a tile of one row is the row as it is */
        act_put_float(rows[t], e->cols, floats_at(e, first), n, t);
}

/* The tiles that begin in order[from] .. order[to - 1]. */
static void prepare_tiles(const struct choice *e, uint32_t from, uint32_t to)
{
    for (uint32_t i = 0; i < e->live[e->n]; i++) {
        uint32_t p = e->begin[e->live[i]], end = e->begin[e->live[i] + 1];
        if (end <= from)
            continue;
        if (p < from)
            p += (from - p) / TILE_ROWS * TILE_ROWS; /* where a tile begins, the last but some small ones */
        for (uint32_t n; p < end && p < to; p += n) {
            n = tile_pairs(e, end - p);
            if (p >= from)
                prepare_tile(e, p, n);
        }
        if (p >= to)
            return;
    }
}

static void prepare(const struct choice *e)
{
    uint32_t pairs = (uint32_t)(e->c->n_rows * e->places), chunks = (pairs + CHUNK - 1) / CHUNK;
    if (e->lone) {
        for (uint32_t p = 0; e->quantised && p < inputs_of(e, 1); p++)
            prepare_tile(e, p, 1);
        return;
    }
    wait_for_team(e->c);
    struct share share = share_out(e->c, chunks);
    for (int32_t t; (t = share_take(e->c, &share)) >= 0;)
        prepare_tiles(e, (uint32_t)t * CHUNK,
                      pairs - (uint32_t)t * CHUNK < CHUNK ? pairs : ((uint32_t)t + 1) * CHUNK);
}

static void group_times(const struct choice *e, uint32_t w, uint64_t group, uint32_t first, uint32_t n,
                        float (*y)[GROUP])
{
    const struct rz_weight_view *v = &e->c->node->weights[w];
    const struct x_type *type = x_type(v->type);
    const void *x = type->quantised ? (const void *)quantised_at(e, first)
                    : n > 1         ? (const void *)floats_at(e, first)
                                    : x_of(e, e->order[first]);
    tiles_of(v->type)->fn[e->how][tile_index(n)](
        (const uint8_t *)v->data + group * x_group_bytes(type, e->cols), e->cols, x, y);
}

static void strip_times(const struct choice *e, uint32_t w, uint64_t group, uint64_t n, uint32_t first,
                        float (*y)[GROUP])
{
    const struct rz_weight_view *v = &e->c->node->weights[w];
    const struct x_type *type = x_type(v->type);
    const struct tiles *tiles = tiles_of(v->type);
    if (!tiles->strip) {
        for (uint64_t g = 0; g < n; g++)
            group_times(e, w, group + g, first, 1, y + g);
        return;
    }
    const void *x = type->quantised ? (const void *)quantised_at(e, first) : x_of(e, e->order[first]);
    tiles->strip((const uint8_t *)v->data + group * x_group_bytes(type, e->cols), n, e->cols, x, y);
}
