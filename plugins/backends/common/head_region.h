/* head_region.h - the region of the LM head: norm, and the product with the largest matrix, screened where
 * few of its rows are wanted (screen.h).
 *
 * The file that includes this has the regions before it (region.h), and behind them the functions of "the
 * plugin's part".
 */
#ifndef RZ_BACKENDS_HEAD_REGION_H
#define RZ_BACKENDS_HEAD_REGION_H

#include "planes.h"
#include "screen.h"

/* --- the plugin's part --- */

/* What the screening needs to know of the tile of n rows that begins at `row`; cols / 32 entries a row. */
static void screen_rows(const struct acts *a, uint32_t row, uint32_t n, struct screen_x *out);
/* Bit r of lanes[t]: the product of row r of the group and row t of the tile may be least[t] or more. */
static void screen_lanes(const struct x_plane_a *at, const struct acts *a, uint32_t row, uint32_t n,
                         const struct screen_x *s, const float *least, uint32_t *lanes);

/* Where more than three eighths of the groups stay, the estimates cost more than they save: after so many
 * looked at, as many are computed without, and twice as many each time that it is found so again. */
#define SCREEN_LOOK 32

/* What a thread of a screened product has for itself. */
struct screening {
    uint32_t looked, stayed; /* tiles since the last count, and those of them that stayed */
    uint32_t skip, skip_next;
    struct screen_shared *shared;
    struct screen_best *best; /* [SCREEN_ROWS_MAX]                                   */
    struct screen_x *x;       /* tile that begins at row r: from r * cols / 32 on    */
    struct screen_wish wish[SCREEN_ROWS_MAX];
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
    for (uint32_t row = 0, n; row < c->n_rows; row += n) {
        n = tile_rows(row, c->n_rows);
        screen_rows(a, row, n, s->x + row * (a->cols / 32));
    }
    s->looked = s->stayed = s->skip = 0;
    s->skip_next = SCREEN_LOOK;
    for (uint32_t row = 0; row < c->n_rows; row++)
        s->best[row].n = 0;
    wait_for_team(c);
}

static void count_stay(struct screening *s, bool stayed)
{
    s->stayed += stayed;
    if (++s->looked < SCREEN_LOOK)
        return;
    bool many = s->stayed > SCREEN_LOOK * 3 / 8;
    s->skip = many ? s->skip_next : 0;
    s->skip_next = many ? 2 * s->skip_next : SCREEN_LOOK;
    s->looked = s->stayed = 0;
}

/* The rows of the group, of the valid ones, that the tile of n rows may want; true: there are some. */
static bool tile_lanes(const struct product *p, uint64_t group, const struct acts *a, struct screening *s,
                       uint32_t row, uint32_t n, uint32_t valid, const float *least, uint32_t *lanes)
{
    bool some = false;
    if (s->skip) {
        s->skip--;
        for (uint32_t t = 0; t < n; t++)
            lanes[t] = valid;
        return true;
    }
    screen_lanes(planes_at(p->w, group).a, a, row, n, s->x + row * (a->cols / 32), least, lanes);
    for (uint32_t t = 0; t < n; t++)
        some |= (lanes[t] &= valid) != 0;
    count_stay(s, some);
    return some;
}

/* Returns the number of rows. */
static uint32_t screened_tile(const struct product *p, uint64_t group, const struct acts *a,
                              struct screening *s, uint32_t row, uint32_t n_rows)
{
    float y[TILE_ROWS][GROUP], least[SCREEN_ROWS_MAX] = {0};
    uint32_t lanes[SCREEN_ROWS_MAX], n = tile_rows(row, n_rows);
    uint64_t valid = outputs_in(p->w, group, 1);
    for (uint32_t t = 0; t < n; t++)
        least[t] = screen_least(s->shared, (int)(row + t));
    bool some = tile_lanes(p, group, a, s, row, n, (1u << valid) - 1, least, lanes);
    if (some)
        group_times(p, group, a, row, n, y);
    for (uint32_t t = 0; t < n; t++) {
        for (int r = 0; !some && r < GROUP; r++)
            y[t][r] = -INFINITY;
        memcpy(p->out + (row + t) * p->out_stride + group * GROUP, y[t], valid * sizeof(float));
        for (uint32_t left = lanes[t]; left; left &= left - 1) {
            float v = y[t][__builtin_ctz(left)];
            if (!(v < least[t]))
                screen_take(s->shared, (int)(row + t), &s->best[row + t], &s->wish[row + t], v);
        }
    }
    return n;
}

static void run_screened(const struct rz_kernel_call *c, const struct product *p, const struct acts *a,
                         struct screening *s)
{
    begin_screening(c, a, s);
    uint64_t groups = groups_in(p->w);
    uint32_t pieces = piece_count(c, groups);
    struct share share = share_out(c, pieces);
    for (int32_t t; (t = share_take(c, &share)) >= 0;) {
        uint64_t first = groups * (uint64_t)t / pieces, end = groups * ((uint64_t)t + 1) / pieces;
        for (uint64_t g = first; g < end; g++)
            for (uint32_t row = 0; row < c->n_rows;)
                row += screened_tile(p, g, a, s, row, c->n_rows);
    }
}

int32_t head(const struct rz_kernel_call *c, int wide)
{
    struct acts a;
    struct screening s;
    struct norm norm;
    const struct rz_view *hidden = &c->out[0];
    struct product p = product_of(c, 1, 2, c->out[1].data, c->out[1].stride);
    bool few = c->n_rows <= FEW_ROWS;
    region_norm(c->node, UINT32_MAX, &norm);
    struct share share = share_out(c, c->n_rows);
    for (int32_t r; (r = share_take(c, &share)) >= 0;)
        act_norm(&norm, c->in[0].data + (uint64_t)r * c->in[0].stride,
                 hidden->data + (uint64_t)r * hidden->stride, hidden->width);
    if (!few)
        wait_for_team(c);
    prepare(c, few ? &c->in[0] : hidden, few ? &norm : NULL, &p, 1, wide, &a);
    if (few)
        wait_for_team(c);
    if (screen_wanted(c, s.wish))
        run_screened(c, &p, &a, &s);
    else
        run_products(c, &p, 1, &a);
    return RZ_OK;
}

#endif
