/* memory.c - the memory of a plan on the device: weights, values, KV pages, state slots, rope tables. All
 * of it is added up and compared with what the device has before the first byte is taken.
 */
#include "opencl.h"

#include "access.h"
#include "checked.h"
#include "err.h"
#include "lives.h"

#include <rz/kernels.h>
#include <stdlib.h>
#include <string.h>

#define SLACK 256 /* bytes behind each buffer that whole vectors may read */

int32_t new_buffer(struct plan *p, const char *what, uint64_t bytes, cl_mem *out, struct rz_err *err)
{
    cl_int status = CL_INVALID_BUFFER_SIZE;
    bytes = rz_round_up(bytes, 64) + SLACK;
    if (bytes > p->cl->largest)
        return rz_fail(err, RZ_ENOMEM, p->cl->device_name,
                       "%s need one buffer of %llu bytes, and the device's largest has %llu", what,
                       (unsigned long long)bytes, (unsigned long long)p->cl->largest);
    *out = p->cl->lib.CreateBuffer(p->cl->context, CL_MEM_READ_WRITE, bytes, NULL, &status);
    if (!*out)
        return rz_fail(err, RZ_ENOMEM, p->cl->device_name, "no buffer of %llu bytes for %s: %s",
                       (unsigned long long)bytes, what, cl_error_name(status));
    return RZ_OK;
}

/* Maps a whole new buffer for writing. */
static void *map_new(struct plan *p, cl_mem mem, uint64_t bytes, struct rz_err *err)
{
    cl_int status;
    void *at = p->cl->lib.EnqueueMapBuffer(p->cl->queue, mem, CL_TRUE, CL_MAP_WRITE_INVALIDATE_REGION, 0,
                                           bytes, 0, NULL, NULL, &status);
    if (!at)
        rz_fail(err, RZ_EDEVICE, p->cl->device_name, "a buffer cannot be mapped: %s", cl_error_name(status));
    return at;
}

static int32_t unmap(struct plan *p, cl_mem mem, void *at, struct rz_err *err)
{
    cl_int status = p->cl->lib.EnqueueUnmapMemObject(p->cl->queue, mem, at, 0, NULL, NULL);
    if (!status)
        status = p->cl->lib.Finish(p->cl->queue);
    return status ? rz_fail(err, RZ_EDEVICE, p->cl->device_name, "a buffer cannot be uploaded: %s",
                            cl_error_name(status))
                  : RZ_OK;
}

/* --- weights --- */

#define STRIPS_A_TASK 8u

struct upload {
    const struct packing *packing;
    uint64_t total;
    float *rooms; /* of a row for each task that may run at once */
    uint64_t first;
};

static void pack_task(void *arg, uint32_t i)
{
    const struct upload *u = arg;
    uint64_t first = u->first + (uint64_t)i * STRIPS_A_TASK;
    uint64_t n = u->total - first < STRIPS_A_TASK ? u->total - first : STRIPS_A_TASK;
    pack_strips(u->packing, first, n, u->rooms + i * u->packing->weight->cols);
}

#define TASKS_AT_ONCE 64u

static int32_t pack_all(struct plan *p, const struct packing *packing, uint64_t total, struct rz_err *err)
{
    const struct rz_host_threads *team = p->cl->host->query(p->cl->host->ctx, RZ_HOST_THREADS_1, 0);
    struct upload u = {.packing = packing, .total = total};
    u.rooms = malloc(TASKS_AT_ONCE * packing->weight->cols * sizeof(float));
    if (!u.rooms)
        return rz_fail(err, RZ_ENOMEM, "opencl", "no memory to pack weights");
    for (; u.first < total; u.first += TASKS_AT_ONCE * STRIPS_A_TASK) {
        uint64_t left = (total - u.first + STRIPS_A_TASK - 1) / STRIPS_A_TASK;
        uint32_t n = left < TASKS_AT_ONCE ? (uint32_t)left : TASKS_AT_ONCE;
        if (team)
            team->parallel_for(team->ctx, n, pack_task, &u);
        for (uint32_t i = 0; i < n && !team; i++)
            pack_task(&u, i);
    }
    free(u.rooms);
    return RZ_OK;
}

static int32_t upload_matrix(struct plan *p, const struct rz_weight *w, struct dev_weight *d,
                             struct rz_err *err)
{
    struct packing packing = {.form = d->form,
                              .weight = w,
                              .part_rows = w->rows / d->parts,
                              .strips = d->strips,
                              .strip_bytes = d->strip_bytes};
    int32_t status = new_buffer(p, "weights", d->bytes, &d->mem, err);
    if (status)
        return status;
    packing.to = map_new(p, d->mem, d->bytes, err);
    if (!packing.to)
        return RZ_EDEVICE;
    status = pack_all(p, &packing, d->strips * d->parts, err);
    int32_t unmapped = unmap(p, d->mem, packing.to, err);
    return status ? status : unmapped;
}

static int32_t upload_vector(struct plan *p, const struct rz_weight *w, struct dev_weight *d,
                             struct rz_err *err)
{
    int32_t status = new_buffer(p, "weights", d->bytes, &d->mem, err);
    void *at = status ? NULL : map_new(p, d->mem, d->bytes, err);
    if (!at)
        return status ? status : RZ_EDEVICE;
    memcpy(at, w->data, w->bytes);
    return unmap(p, d->mem, at, err);
}

/* True: another plan of the program has it there. */
static bool adopt(struct plan *p, struct dev_weight *d)
{
    pthread_mutex_lock(&p->cl->lock);
    for (const struct plan *o = p->cl->plans; o && !d->mem; o = o->next)
        for (uint32_t i = 0; o->program == p->program && i < o->n_weights; i++)
            if (o->weights[i].weight == d->weight && o->weights[i].parts == d->parts &&
                !p->cl->lib.RetainMemObject(o->weights[i].mem))
                d->mem = o->weights[i].mem;
    pthread_mutex_unlock(&p->cl->lock);
    p->n_weights += d->mem != NULL;
    return d->mem != NULL;
}

int32_t plan_weight(struct plan *p, int32_t weight, uint32_t parts, const struct dev_weight **out,
                    struct rz_err *err)
{
    const struct rz_weight *w = rz_weight_at(p->program, (uint32_t)weight);
    for (uint32_t i = 0; i < p->n_weights; i++)
        if (p->weights[i].weight == weight && p->weights[i].parts == parts) {
            *out = &p->weights[i];
            return RZ_OK;
        }
    struct dev_weight *d = &p->weights[p->n_weights];
    *d = (struct dev_weight){.weight = weight, .parts = parts, .bytes = w->bytes};
    if (parts) {
        d->form = form_of(w->type);
        d->strips = (w->rows / parts + STRIP - 1) / STRIP;
        d->strip_bytes = strip_bytes(d->form, w->cols);
        if (!rz_mul_u64(d->strip_bytes, d->strips * parts, &d->bytes))
            return rz_fail(err, RZ_ELIMIT, "opencl", "%.*s is too large", (int)w->name.len, w->name.data);
    }
    *out = d;
    if (adopt(p, d))
        return RZ_OK;
    p->weight_bytes += d->bytes;
    if (p->weight_bytes + p->kv_bytes + p->value_bytes + p->state_bytes > p->cl->memory)
        return rz_fail(
            err, RZ_ENOMEM, p->cl->device_name,
            "%llu bytes of weights (not all of them yet), %llu of KV, %llu of values and %llu of states are "
            "more than the device's %llu: use fewer kv_pages or a smaller context",
            (unsigned long long)p->weight_bytes, (unsigned long long)p->kv_bytes,
            (unsigned long long)p->value_bytes, (unsigned long long)p->state_bytes,
            (unsigned long long)p->cl->memory);
    int32_t status = parts ? upload_matrix(p, w, d, err) : upload_vector(p, w, d, err);
    p->n_weights++; /* even a broken one: its buffer is released with the plan */
    return status;
}

/* --- values --- */

static int32_t place_values(struct plan *p, const uint32_t *nodes, uint32_t n, struct rz_err *err)
{
    const struct rz_program *program = p->program;
    struct rz_life *lives = calloc(program->n_values + 1, sizeof(*lives));
    if (!lives)
        return rz_fail(err, RZ_ENOMEM, "opencl", "no memory for %u values", program->n_values);
    rz_lives_find(program, nodes, n, lives);
    int32_t status = rz_lives_place(program, &p->limits, 64, lives, &p->value_bytes, err);
    for (uint32_t v = 0; v < program->n_values && !status; v++) {
        uint64_t stride = RZ_VALUE_STRIDE(rz_value_at(program, v)->width);
        if (lives[v].first == RZ_LIFE_NEVER)
            continue;
        if (stride > UINT32_MAX)
            status =
                rz_fail(err, RZ_ELIMIT, "opencl", "value %s is too large", rz_value_at(program, v)->name);
        p->places[v] = (struct place){(uint32_t)(lives[v].offset / sizeof(float)), (uint32_t)stride};
    }
    free(lives);
    if (!status && p->value_bytes / sizeof(float) > UINT32_MAX)
        status = rz_fail(err, RZ_ELIMIT, "opencl",
                         "%llu bytes of values are more than kernels can address: use "
                         "fewer max_batch_tokens",
                         (unsigned long long)p->value_bytes);
    return status;
}

/* --- KV, states, ropes --- */

static int32_t plan_kv(struct plan *p, struct rz_err *err)
{
    uint64_t tokens = p->limits.page_tokens, total;
    for (uint32_t i = 0; i < p->program->n_kv_groups; i++) {
        const struct rz_kv_group *from = rz_kv_group_at(p->program, i);
        struct kv_group *g = &p->groups[i];
        *g = (struct kv_group){.k_dim = from->k_dim,
                               .v_dim = from->v_dim,
                               .n_heads = from->n_heads,
                               .latent = from->kind == RZ_KV_LATENT};
        g->head_bytes = rz_round_up(tokens * rz_kv_row_bytes(p->limits.kv_type, from->k_dim), 64);
        g->value_at = g->latent ? 0 : g->head_bytes;
        if (!g->latent)
            g->head_bytes += rz_round_up(tokens * rz_kv_row_bytes(p->limits.kv_type, from->v_dim), 64);
        g->layer_bytes = g->head_bytes * from->n_heads;
        g->page_bytes = g->layer_bytes * from->n_layers;
        if (!rz_mul_u64(g->page_bytes, p->limits.n_pages, &total) ||
            !rz_add_u64(p->kv_bytes, total, &p->kv_bytes))
            return rz_fail(err, RZ_ELIMIT, "opencl", "%u KV pages of %llu bytes are too many",
                           p->limits.n_pages, (unsigned long long)g->page_bytes);
    }
    return RZ_OK;
}

static int32_t plan_states(struct plan *p, struct rz_err *err)
{
    uint64_t bytes;
    for (uint32_t i = 0; i < p->program->n_states; i++) {
        p->state_at[i] = p->slot_floats;
        if (!rz_add_u64(p->slot_floats, rz_round_up(rz_state_at(p->program, i)->floats, 16), &p->slot_floats))
            return rz_fail(err, RZ_ELIMIT, "opencl", "the recurrent state is too large");
    }
    if (!rz_mul_u64(p->slot_floats, sizeof(float) * p->limits.n_slots, &bytes) || p->slot_floats > UINT32_MAX)
        return rz_fail(err, RZ_ELIMIT, "opencl", "the recurrent state is too large");
    p->state_bytes = bytes;
    return RZ_OK;
}

static int32_t take_ropes(struct plan *p, struct rz_err *err)
{
    uint64_t floats = 0, positions = p->limits.max_context;
    for (uint32_t i = 0; i < p->program->n_ropes; i++) {
        p->rope_at[i] = (uint32_t)floats;
        floats += positions * rz_rope_at(p->program, i)->dim;
    }
    if (floats > UINT32_MAX)
        return rz_fail(err, RZ_ELIMIT, "opencl",
                       "the rope tables of %llu positions are too large: use a smaller "
                       "context",
                       (unsigned long long)positions);
    p->rope_bytes = floats * sizeof(float);
    int32_t status = new_buffer(p, "rope tables", p->rope_bytes, &p->ropes, err);
    float *at = status || !floats ? NULL : map_new(p, p->ropes, p->rope_bytes, err);
    if (!at)
        return !status && floats ? RZ_EDEVICE : status;
    for (uint32_t i = 0; i < p->program->n_ropes; i++) {
        const struct rz_rope *r = rz_rope_at(p->program, i);
        rz_rope_fill(r, positions, at + p->rope_at[i], at + p->rope_at[i] + positions * (r->dim / 2));
    }
    return unmap(p, p->ropes, at, err);
}

static int32_t take_batch(struct plan *p, struct rz_err *err)
{
    const struct rz_plan_limits *l = &p->limits;
    uint64_t tables;
    p->table_stride = (l->max_context + l->page_tokens - 1) / l->page_tokens;
    if (!rz_mul_u64((uint64_t)l->max_seqs * p->program->n_kv_groups, p->table_stride, &tables) ||
        tables > INT32_MAX / 2)
        return rz_fail(err, RZ_ELIMIT, "opencl", "the block tables of %u sequences are too large",
                       l->max_seqs);
    p->n_ints = ROWS_AT + 4ull * l->max_rows + 4ull * l->max_seqs + l->max_wanted + tables;
    p->ints = calloc(p->n_ints, sizeof(*p->ints));
    if (!p->ints)
        return rz_fail(err, RZ_ENOMEM, "opencl", "no memory for batches");
    return new_buffer(p, "batches", p->n_ints * sizeof(*p->ints), &p->batch, err);
}

static int32_t take_results(struct plan *p, struct rz_err *err)
{
    const struct rz_program *program = p->program;
    if (program->logits >= 0) {
        p->logits_stride = p->places[program->logits].stride;
        p->logits = malloc(p->logits_stride * p->limits.max_wanted * sizeof(float));
    }
    if (program->hidden >= 0) {
        p->hidden_stride = p->places[program->hidden].stride;
        p->hidden = malloc(p->hidden_stride * p->limits.max_wanted * sizeof(float));
    }
    if ((program->logits >= 0 && !p->logits) || (program->hidden >= 0 && !p->hidden))
        return rz_fail(err, RZ_ENOMEM, "opencl", "no memory for the results of %u rows",
                       p->limits.max_wanted);
    return RZ_OK;
}

int32_t plan_memory(struct plan *p, const uint32_t *nodes, uint32_t n, struct rz_err *err)
{
    int32_t status = place_values(p, nodes, n, err);
    if (!status)
        status = plan_kv(p, err);
    if (!status)
        status = plan_states(p, err);
    if (!status)
        status = take_batch(p, err);
    if (!status)
        status = take_results(p, err);
    if (!status)
        status = take_ropes(p, err);
    if (!status)
        status = new_buffer(p, "values (max_batch_tokens)", p->value_bytes, &p->values, err);
    if (!status && p->state_bytes)
        status = new_buffer(p, "recurrent states (max_seqs)", p->state_bytes, &p->state, err);
    for (uint32_t g = 0; g < p->program->n_kv_groups && !status; g++)
        status = new_buffer(p, "KV pages (kv_pages)", p->groups[g].page_bytes * p->limits.n_pages,
                            &p->groups[g].mem, err);
    return status;
}
