/* wide_weight.c - pieces of weights: rows of a matrix stay where they lie; columns, and rows of many matrices
 * behind each other, are gathered in memory that is there only while a device needs it.
 */
#include "wide.h"

#include "checked.h"
#include "err.h"
#include "grow.h"
#include "numeric.h"

#include <string.h>
#include <sys/mman.h>

#define ALIGN 64u

bool rz_wide_weights_init(struct rz_wide_weights *w, struct rz_arena *arena)
{
    *w = (struct rz_wide_weights){.arena = arena};
    return !pthread_mutex_init(&w->lock, NULL);
}

void rz_wide_weights_deinit(struct rz_wide_weights *w)
{
    for (uint32_t d = 0; d < RZ_WIDE_MAX; d++)
        if (w->memory[d])
            munmap(w->memory[d], w->bytes[d]);
    pthread_mutex_destroy(&w->lock);
}

static bool grow(struct rz_wide_weights *w)
{
    struct rz_wide_packed *more =
        rz_arena_grow(w->arena, w->packed, w->n_packed, &w->cap_packed, sizeof(*more), 64);
    if (more)
        w->packed = more;
    return more;
}

/* Nothing of it: another name, so that what is kept of the whole weight is not taken for it. */
static bool name_piece(struct rz_wide_weights *w, const struct rz_wide_piece *p, struct rz_weight *out)
{
    char *name = rz_arena_printf(w->arena, "%.*s[%llu+%llu,%llu+%llu]", (int)out->name.len, out->name.data,
                                 (unsigned long long)p->first_row, (unsigned long long)p->n_rows,
                                 (unsigned long long)p->first_col, (unsigned long long)p->n_cols);
    if (name)
        out->name = (struct rz_str){.data = name, .len = strlen(name)};
    return name;
}

int32_t rz_wide_weights_piece(struct rz_wide_weights *w, const struct rz_weight *from,
                              const struct rz_wide_piece *p, uint32_t d, struct rz_weight *weights,
                              uint32_t at, struct rz_err *err)
{
    struct rz_weight *out = &weights[at];
    bool vector = from->rows == 1;
    uint64_t row, mine, skip;
    *out = *from;
    out->size = sizeof(*out);
    if (p->depth * (vector ? p->n_cols : p->n_rows) == (vector ? from->cols : from->rows) &&
        (vector || p->n_cols == from->cols))
        return RZ_OK;
    if (!rz_type_bytes(from->type, from->cols, &row) || !rz_type_bytes(from->type, p->n_cols, &mine) ||
        !rz_type_bytes(from->type, p->first_col, &skip))
        return rz_fail(err, RZ_EINTERNAL, "layers", "%.*s: a cut inside a block", (int)from->name.len,
                       from->name.data);
    out->cols = vector ? p->depth * p->n_cols : p->n_cols;
    out->rows = vector ? 1 : p->depth * p->n_rows;
    out->bytes = (vector ? p->depth : out->rows) * mine;
    if (!name_piece(w, p, out) || !grow(w))
        return rz_fail(err, RZ_ENOMEM, "layers", "no memory for a piece of a weight");
    if (p->depth == 1 && (vector || p->n_cols == from->cols)) {
        out->data = (const uint8_t *)from->data + p->first_row * row + skip;
        return RZ_OK;
    }
    w->packed[w->n_packed++] =
        (struct rz_wide_packed){.from = from, .piece = *p, .device = d, .weight = at, .offset = w->bytes[d]};
    w->bytes[d] += rz_round_up(out->bytes, ALIGN);
    return RZ_OK;
}

int32_t rz_wide_weights_take(struct rz_wide_weights *w, struct rz_weight *weights, struct rz_err *err)
{
    for (uint32_t d = 0; d < RZ_WIDE_MAX; d++) {
        if (!w->bytes[d])
            continue;
        void *memory = mmap(NULL, w->bytes[d], PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED)
            return rz_fail(err, RZ_ENOMEM, "layers", "no memory for %llu bytes of weights",
                           (unsigned long long)w->bytes[d]);
        w->memory[d] = memory;
    }
    for (uint32_t i = 0; i < w->n_packed; i++)
        weights[w->packed[i].weight].data = w->memory[w->packed[i].device] + w->packed[i].offset;
    return RZ_OK;
}

static void pack(const struct rz_wide_packed *p, uint8_t *to)
{
    const struct rz_weight *from = p->from;
    const struct rz_wide_piece *s = &p->piece;
    const struct rz_type_info *type = rz_type_info(from->type);
    bool vector = from->rows == 1;
    uint64_t cols = vector ? from->cols / s->depth : from->cols, rows = vector ? 1 : from->rows / s->depth;
    uint64_t row = cols / type->block * type->bytes, mine = s->n_cols / type->block * type->bytes;
    uint64_t skip = s->first_col / type->block * type->bytes, n = vector ? 1 : s->n_rows;
    for (uint64_t k = 0; k < s->depth; k++)
        for (uint64_t r = 0; r < n; r++, to += mine)
            memcpy(to, (const uint8_t *)from->data + (k * rows + s->first_row + r) * row + skip, mine);
}

void rz_wide_enter(struct rz_wide *wide, uint32_t d)
{
    struct rz_wide_weights *w = &wide->weights;
    pthread_mutex_lock(&w->lock);
    w->users[d]++;
    for (uint32_t i = 0; i < w->n_packed && !w->filled[d]; i++)
        if (w->packed[i].device == d)
            pack(&w->packed[i], w->memory[d] + w->packed[i].offset);
    w->filled[d] = true;
    pthread_mutex_unlock(&w->lock);
}

void rz_wide_leave(struct rz_wide *wide, uint32_t d)
{
    struct rz_wide_weights *w = &wide->weights;
    pthread_mutex_lock(&w->lock);
    if (!--w->users[d] && w->memory[d]) {
        madvise(w->memory[d], w->bytes[d], MADV_DONTNEED);
        w->filled[d] = false;
    }
    pthread_mutex_unlock(&w->lock);
}
