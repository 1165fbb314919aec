/* prep.c - weights in the layouts that kernel rows ask for: one blob for each (weight, layout).
 *
 * All blobs of a plan lie in one mapping, which plans of the same program share. They are made by the whole
 * team, in groups of rows, a few at a time, or come from the cache; then the pages of their files are given
 * back.
 */
#include "plan.h"

#include "checked.h"
#include "err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOB_ALIGN 4096u
#define GROUPS_A_TASK 16u
#define FORGET_BYTES (1u << 20)
#define KEY_BYTES_MAX (64u << 20)

static const struct rz_layout *find_layout(const struct rz_plan *plan, uint32_t id, int32_t type,
                                           uint32_t *table)
{
    const struct rz_cpu_setup *setup = &plan->cpu->setup;
    for (uint32_t t = 0; t < setup->n_tables; t++) {
        const struct rz_kernels *k = setup->tables[t].kernels;
        for (uint32_t i = 0; i < k->n_layouts; i++) {
            const struct rz_layout *l =
                (const void *)((const char *)k->layouts + (uint64_t)i * k->layout_stride);
            if (l->id == id && l->type == type) {
                *table = t;
                return l;
            }
        }
    }
    return NULL;
}

static struct rz_blob *find_blob(struct rz_plan *plan, int32_t weight, uint32_t layout)
{
    for (uint32_t i = 0; i < plan->n_prepared; i++)
        if (plan->prepared[i].weight == weight && plan->prepared[i].layout == layout)
            return &plan->prepared[i];
    return NULL;
}

/* Writable: the kernel nodes are constant only once the plan is compiled. */
static struct rz_weight_view *view_of(struct rz_kernel_node *n, uint32_t w)
{
    return (struct rz_weight_view *)(uintptr_t)&n->weights[w];
}

static int32_t want_blob(struct rz_plan *plan, int32_t weight, uint32_t layout, struct rz_weight_view *view,
                         struct rz_err *err)
{
    struct rz_blob *b = find_blob(plan, weight, layout);
    view->layout = layout;
    if (b)
        return RZ_OK;
    const struct rz_weight *w = rz_weight_at(plan->program, (uint32_t)weight);
    uint32_t table;
    const struct rz_layout *maker = find_layout(plan, layout, w->type, &table);
    if (!maker)
        return rz_fail(err, RZ_EINTERNAL, "plan", "%.*s: no table makes layout %u of type %d",
                       (int)w->name.len, w->name.data, layout, w->type);
    if (plan->n_prepared == plan->program->n_weights * RZ_CHOICES_MAX)
        return rz_fail(err, RZ_ELIMIT, "plan", "more than %u layouts a weight", RZ_CHOICES_MAX);
    struct rz_weight_view file = *view;
    file.layout = 0;
    plan->prepared[plan->n_prepared++] = (struct rz_blob){.weight = weight,
                                                          .layout = layout,
                                                          .maker = maker,
                                                          .table = table,
                                                          .offset = plan->blob_bytes,
                                                          .bytes = maker->bytes(&file)};
    plan->blob_bytes += rz_round_up(plan->prepared[plan->n_prepared - 1].bytes, BLOB_ALIGN);
    return RZ_OK;
}

/* Notes a blob for each weight operand that a chosen row wants in a layout of its own. */
static int32_t each_want(struct rz_plan *plan, struct rz_err *err)
{
    for (uint32_t s = 0; s < plan->n_steps; s++) {
        struct rz_plan_step *step = &plan->steps[s];
        const struct rz_node *n = rz_node_at(plan->program, step->node);
        for (uint32_t c = 0; c < step->choice.n; c++)
            for (uint32_t w = 0; w < n->n_weights; w++) {
                int32_t weight = plan->program->refs[n->first_weight + w];
                const struct rz_kernel_row *row = step->choice.rows[c];
                uint32_t layout = weight >= 0 && row->layout ? row->layout(&step->kernel[c], w) : 0;
                if (!layout)
                    continue;
                int32_t status = want_blob(plan, weight, layout, view_of(&step->kernel[c], w), err);
                if (status)
                    return status;
            }
    }
    return RZ_OK;
}

static uint64_t groups_of(const struct rz_plan *plan, const struct rz_blob *b)
{
    uint64_t rows = rz_weight_at(plan->program, (uint32_t)b->weight)->rows;
    return (rows + b->maker->row_group - 1) / b->maker->row_group;
}

static void file_view(const struct rz_plan *plan, int32_t weight, struct rz_weight_view *out)
{
    const struct rz_weight *w = rz_weight_at(plan->program, (uint32_t)weight);
    *out = (struct rz_weight_view){.size = sizeof(*out),
                                   .type = w->type,
                                   .cols = w->cols,
                                   .rows = w->rows,
                                   .bytes = w->bytes,
                                   .data = w->data};
}

/* The bytes from begin to end of a weight are done. Its file's pages are given back piece by piece, for else
 * a model would be in memory twice while it is prepared; in large pieces: each call stops the whole team. */
static void forget_part(const struct rz_plan *plan, const struct rz_weight_view *file, uint64_t begin,
                        uint64_t end)
{
    const struct rz_cpu_setup *setup = &plan->cpu->setup;
    uint64_t piece = begin - begin % FORGET_BYTES;
    if (setup->forget && (end == file->bytes || end - piece >= FORGET_BYTES))
        setup->forget(setup->ctx, (const uint8_t *)file->data + piece, end - piece);
}

static void prepare_part(void *arg, uint32_t i)
{
    struct rz_plan *plan = arg;
    for (uint32_t b = 0; b < plan->n_prepared; b++) {
        const struct rz_blob *blob = &plan->prepared[b];
        uint64_t groups = groups_of(plan, blob);
        uint64_t tasks = (groups + GROUPS_A_TASK - 1) / GROUPS_A_TASK;
        if (i >= tasks) {
            i -= (uint32_t)tasks;
            continue;
        }
        struct rz_weight_view file;
        uint64_t first = (uint64_t)i * GROUPS_A_TASK;
        uint64_t n = groups - first < GROUPS_A_TASK ? groups - first : GROUPS_A_TASK;
        file_view(plan, blob->weight, &file);
        blob->maker->prep(&file, plan->blobs + blob->offset, first, n);
        uint64_t step = file.bytes / file.rows * blob->maker->row_group, begin = first * step;
        forget_part(plan, &file, begin, first + n == groups ? file.bytes : begin + n * step);
        return;
    }
}

static void point_at_blobs(struct rz_plan *plan)
{
    for (uint32_t s = 0; s < plan->n_steps; s++) {
        struct rz_plan_step *step = &plan->steps[s];
        const struct rz_node *n = rz_node_at(plan->program, step->node);
        for (uint32_t c = 0; c < step->choice.n; c++)
            for (uint32_t w = 0; w < n->n_weights; w++) {
                struct rz_weight_view *v = view_of(&step->kernel[c], w);
                if (!v->layout)
                    continue;
                const struct rz_blob *b =
                    find_blob(plan, plan->program->refs[n->first_weight + w], v->layout);
                v->data = plan->blobs + b->offset;
                v->bytes = b->bytes;
            }
    }
}

/* false: it was stopped. */
static bool make_blobs(struct rz_plan *plan)
{
    const struct rz_cpu_setup *setup = &plan->cpu->setup;
    uint64_t tasks = 0;
    for (uint32_t b = 0; b < plan->n_prepared; b++)
        tasks += (groups_of(plan, &plan->prepared[b]) + GROUPS_A_TASK - 1) / GROUPS_A_TASK;
    return rz_pool_slices(setup->pool, (uint32_t)tasks, setup->stop, setup->ctx, prepare_part, plan) == tasks;
}

/* All that the bytes of the blobs depend on. False: some plugin does not say which build it is. */
static bool cache_key(const struct rz_plan *plan, struct rz_buf *key)
{
    const struct rz_cpu_setup *setup = &plan->cpu->setup;
    rz_buf_printf(key, "%s\n", setup->cache.source);
    for (uint32_t i = 0; i < plan->n_prepared; i++) {
        const struct rz_blob *b = &plan->prepared[i];
        const struct rz_weight *w = rz_weight_at(plan->program, (uint32_t)b->weight);
        if (!setup->tables[b->table].build)
            return false;
        rz_buf_printf(key, "%.*s type %d layout %u at %llu by %s\n", (int)w->name.len, w->name.data, w->type,
                      b->layout, (unsigned long long)b->offset, setup->tables[b->table].build);
    }
    return rz_buf_ok(key);
}

static void all_slices(void *pool, uint32_t n, void (*fn)(void *arg, uint32_t i), void *arg)
{
    rz_pool_slices(pool, n, NULL, NULL, fn, arg);
}

/* A cache that cannot be used is a warning, never an obstacle. False: it was stopped. */
static bool make_or_load(struct rz_plan *plan)
{
    const struct rz_cpu_setup *setup = &plan->cpu->setup;
    struct rz_err err = RZ_ERR_INIT;
    struct rz_buf key;
    rz_buf_init(&key, KEY_BYTES_MAX);
    bool cached = setup->cache.dir && cache_key(plan, &key);
    struct rz_cache_io io = {.data = plan->blobs,
                             .n = plan->blob_bytes,
                             .key = key.data,
                             .parallel_for = all_slices,
                             .parallel_ctx = setup->pool};
    int32_t status = cached ? rz_cache_load(&setup->cache, &io, &err) : RZ_ENOTFOUND;
    bool made = status == RZ_OK || make_blobs(plan);
    if (status != RZ_OK && made && cached && !rz_cache_store(&setup->cache, &io, &err))
        err.code = 0;
    if (err.code && setup->warn) {
        char text[sizeof(err.where) + sizeof(err.message) + 32];
        snprintf(text, sizeof(text), "repack cache: %s: %s", err.where, err.message);
        setup->warn(setup->ctx, text);
    }
    rz_buf_free(&key);
    return made;
}

/* --- one set of blobs for all plans of a device that want the same --- */

static bool same_blobs(const struct rz_plan *a, const struct rz_plan *b)
{
    bool same = a->program == b->program && a->n_prepared == b->n_prepared && b->blobs;
    for (uint32_t i = 0; i < a->n_prepared && same; i++) {
        const struct rz_blob *x = &a->prepared[i], *y = &b->prepared[i];
        same = x->weight == y->weight && x->maker == y->maker && x->offset == y->offset;
    }
    return same;
}

static bool share_blobs(struct rz_plan *plan)
{
    const struct rz_plan *other = plan->cpu->plans;
    while (other && !same_blobs(plan, other))
        other = other->next;
    if (!other)
        return false;
    plan->blobs = other->blobs;
    plan->blob_refs = other->blob_refs;
    ++*plan->blob_refs;
    return true;
}

static int32_t take_blobs(struct rz_plan *plan, struct rz_err *err)
{
    plan->blob_refs = calloc(1, sizeof(*plan->blob_refs));
    plan->blobs = plan->blob_refs ? rz_map_memory(plan->blob_bytes, true) : NULL;
    if (!plan->blobs)
        return rz_fail(err, RZ_ENOMEM, "plan", "no memory for %llu bytes of prepared weights",
                       (unsigned long long)plan->blob_bytes);
    *plan->blob_refs = 1;
    return make_or_load(plan) ? RZ_OK : rz_fail(err, RZ_ECANCELLED, "plan", "preparing weights was stopped");
}

void rz_plan_unprepare(struct rz_plan *plan)
{
    if (plan->blobs && --*plan->blob_refs)
        return;
    rz_unmap_memory(plan->blobs, plan->blob_bytes);
    free(plan->blob_refs);
}

uint64_t rz_plan_mapped_bytes(const struct rz_plan *plan)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < plan->program->n_weights; i++) {
        uint32_t b = 0;
        while (b < plan->n_prepared && plan->prepared[b].weight != (int32_t)i)
            b++;
        bytes += b == plan->n_prepared ? rz_weight_at(plan->program, i)->bytes : 0;
    }
    return bytes;
}

int32_t rz_plan_prepare(struct rz_plan *plan, struct rz_err *err)
{
    const struct rz_cpu_setup *setup = &plan->cpu->setup;
    plan->prepared = rz_arena_array(&plan->arena, (size_t)plan->program->n_weights * RZ_CHOICES_MAX + 1,
                                    sizeof(*plan->prepared));
    if (!plan->prepared)
        return rz_fail(err, RZ_ENOMEM, "plan", "no memory for %u weights", plan->program->n_weights);
    int32_t status = each_want(plan, err);
    if (status || !plan->n_prepared || plan->measured)
        return status;
    if (!share_blobs(plan) && (status = take_blobs(plan, err)))
        return status;
    point_at_blobs(plan);
    for (uint32_t b = 0; b < plan->n_prepared && setup->forget; b++) {
        const struct rz_weight *w = rz_weight_at(plan->program, (uint32_t)plan->prepared[b].weight);
        setup->forget(setup->ctx, w->data, w->bytes); /* pages between two pieces; all, if they were cached */
    }
    return RZ_OK;
}
