/* mixed.c - a device made of devices: a step runs the stages of a cut program one behind the other, each on
 * its device, and values cross through the host's memory.
 *
 * Owns the cut, the plans of the parts, and the memory for values that cross. Pages and slots are those of
 * the engine: a part has the layers of a page that it runs. Nothing is allocated in a step.
 */
#include "mixed_plan.h"

#include "access.h"
#include "err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB 1048576.0

/* --- claims: the parts of this device claim when it compiles --- */

static int32_t mixed_open(void *ctx, struct rz_err *err)
{
    (void)ctx, (void)err;
    return RZ_OK;
}

static int32_t mixed_claim(void *ctx, const struct rz_program *program, uint32_t node,
                           const struct rz_plan_limits *limits, struct rz_claim *out, struct rz_err *err)
{
    (void)ctx, (void)limits, (void)err;
    out->taken = 1;
    out->bytes_token = rz_node_bytes_token(program, node);
    out->runner = "mixed";
    out->why = "its parts are offered to their devices";
    return RZ_OK;
}

static int32_t claim_range(const struct rz_device *d, const struct rz_program *p,
                           const struct rz_plan_limits *limits, uint32_t first, uint32_t end, uint32_t *nodes,
                           uint32_t *n, struct rz_err *err)
{
    for (uint32_t i = first; i < end;) {
        const struct rz_node *node = rz_node_at(p, i);
        struct rz_claim claim = {.size = sizeof(claim)};
        int32_t status = d->claim(d->ctx, p, i, limits, &claim, err);
        if (!status && claim.taken)
            nodes[(*n)++] = i;
        else if (!status && node->end > i + 1)
            status = claim_range(d, p, limits, i + 1, node->end, nodes, n, err);
        else if (!status)
            nodes[(*n)++] = i; /* compile says why nobody runs it */
        if (status)
            return status;
        i = node->end;
    }
    return RZ_OK;
}

int32_t rz_claim_nodes(const struct rz_device *d, const struct rz_program *p,
                       const struct rz_plan_limits *limits, uint32_t *nodes, uint32_t *n, struct rz_err *err)
{
    *n = 0;
    return claim_range(d, p, limits, 0, p->n_nodes, nodes, n, err);
}

/* --- memory --- */

/* Bytes of KV that a token takes. */
static uint64_t kv_weight(const struct rz_program *p)
{
    uint64_t n = 0;
    for (uint32_t g = 0; g < p->n_kv_groups; g++) {
        const struct rz_kv_group *k = rz_kv_group_at(p, g);
        n += (uint64_t)k->n_layers * k->n_heads * (k->k_dim + (k->kind == RZ_KV_LATENT ? 0 : k->v_dim));
    }
    return n;
}

/* As if the whole KV lay on one device: the part that is full first decides. */
static int32_t mixed_memory(void *ctx, struct rz_device_memory *out, struct rz_err *err)
{
    const struct rz_mixed *m = ctx;
    uint64_t whole = kv_weight(m->setup.program);
    double total = 0, room = 0, largest = 0;
    bool known = true;
    for (uint32_t i = 0; i < m->cut.n_parts; i++) {
        const struct rz_cut_part *part = &m->cut.parts[i];
        struct rz_device_memory one = {.size = sizeof(one)};
        int32_t status = part->device->memory(part->device->ctx, &one, err);
        if (status)
            return status;
        uint64_t mine = kv_weight(&part->program);
        double scale = whole && mine ? (double)whole / (double)mine : 1;
        if (whole && !mine)
            continue;
        known &= one.free != 0;
        total = total == 0 || (double)one.total * scale < total ? (double)one.total * scale : total;
        room = room == 0 || (double)one.free * scale < room ? (double)one.free * scale : room;
        if (one.largest && (largest == 0 || (double)one.largest * scale < largest))
            largest = (double)one.largest * scale;
    }
    out->total = (uint64_t)total;
    out->free = known ? (uint64_t)room : 0;
    out->largest = (uint64_t)largest;
    return RZ_OK;
}

/* The type that all parts with a wish want, so that a part of the CPU has the KV that the CPU has alone; of
 * two wishes neither, but the type that every device knows. */
static int32_t mixed_kv_type(void *ctx, const struct rz_program *program, uint32_t page_tokens)
{
    const struct rz_mixed *m = ctx;
    int32_t type = RZ_TYPE_NONE;
    (void)program;
    for (uint32_t i = 0; i < m->cut.n_parts; i++) {
        const struct rz_cut_part *part = &m->cut.parts[i];
        const struct rz_device *d = part->device;
        if (!part->program.n_kv_groups)
            continue;
        int32_t one = RZ_HAS(d, kv_type) ? d->kv_type(d->ctx, &part->program, page_tokens) : RZ_TYPE_F16;
        if (one != RZ_TYPE_NONE)
            type = type == RZ_TYPE_NONE || type == one ? one : RZ_TYPE_F16;
    }
    return type;
}

/* --- compile --- */

static int32_t no_memory(struct rz_err *err)
{
    return rz_fail(err, RZ_ENOMEM, "plan", "no memory");
}

static struct rz_plan_limits limits_of(const struct rz_plan_limits *whole, const struct rz_cut_part *part)
{
    struct rz_plan_limits l = *whole;
    l.n_slots = part->program.n_states ? l.n_slots : 0;
    return l;
}

/* The pieces of weights that have to be gathered are there from enter to leave. */
static void enter(struct rz_mixed_plan *p, uint32_t i)
{
    if (p->m->is_wide)
        rz_wide_enter(&p->m->wide, p->m->cut.parts[i].number);
    p->seats[i].entered = p->m->is_wide;
}

static void leave(struct rz_mixed_plan *p, uint32_t i)
{
    if (p->seats[i].entered)
        rz_wide_leave(&p->m->wide, p->m->cut.parts[i].number);
    p->seats[i].entered = false;
}

static bool owns_weights(const struct rz_mixed_plan *p, uint32_t i)
{
    struct rz_plan_info info = {.size = sizeof(info)};
    const struct rz_device *d = p->m->cut.parts[i].device;
    return !d->info(p->seats[i].plan, &info) && info.flags & RZ_PLAN_OWNS_WEIGHTS;
}

static int32_t compile_part(struct rz_mixed_plan *p, uint32_t i, struct rz_err *err)
{
    const struct rz_cut_part *part = &p->m->cut.parts[i];
    const struct rz_device *d = part->device;
    struct rz_seat *s = &p->seats[i];
    struct rz_plan_limits limits = limits_of(&p->limits, part);
    uint64_t groups = part->program.n_kv_groups;
    uint32_t n, *nodes = calloc(part->program.n_nodes + 1ull, sizeof(*nodes));
    s->seqs = calloc(limits.max_seqs, sizeof(*s->seqs));
    s->pages = calloc(limits.max_seqs * groups + 1, sizeof(*s->pages));
    s->copies = calloc(p->max_copies * groups + 1ull, sizeof(*s->copies));
    int32_t status = nodes && s->seqs && s->pages && s->copies ? RZ_OK : no_memory(err);
    if (!status)
        enter(p, i);
    if (!status)
        status = rz_claim_nodes(d, &part->program, &limits, nodes, &n, err);
    if (!status)
        status = d->compile(d->ctx, &part->program, nodes, n, &limits, &s->plan, err);
    if (status || owns_weights(p, i))
        leave(p, i);
    if (status) {
        p->m->failed = d->name;
        rz_err_wrap(err, d->name);
    }
    free(nodes);
    return status;
}

/* Where several make some of the columns of the logits, they are put side by side. */
static int32_t take_logits(struct rz_mixed_plan *p, struct rz_err *err)
{
    const struct rz_program *program = p->m->setup.program;
    uint32_t makers = 0;
    for (uint32_t i = 0; i < p->m->cut.n_parts; i++)
        makers += p->m->cut.parts[i].program.logits >= 0;
    if (makers < 2)
        return RZ_OK;
    uint64_t stride = RZ_VALUE_STRIDE(rz_value_at(program, (uint32_t)program->logits)->width);
    p->logits = calloc(stride * sizeof(float), p->limits.max_wanted);
    return p->logits ? RZ_OK : no_memory(err);
}

static int by_node(const void *a, const void *b)
{
    uint32_t x = ((const struct rz_plan_part *)a)->node, y = ((const struct rz_plan_part *)b)->node;
    return x < y ? -1 : x > y;
}

/* What all plans do, in the order of the nodes. */
static int32_t list_parts(struct rz_mixed_plan *p, struct rz_err *err)
{
    const struct rz_cut *cut = &p->m->cut;
    p->parts = calloc(cut->program->n_nodes + 1ull, sizeof(*p->parts));
    if (!p->parts)
        return no_memory(err);
    for (uint32_t i = 0; i < cut->n_parts; i++) {
        const struct rz_cut_part *part = &cut->parts[i];
        for (uint32_t k = 0; p->n_parts < cut->program->n_nodes; k++) {
            struct rz_plan_part *to = &p->parts[p->n_parts];
            *to = (struct rz_plan_part){.size = sizeof(*to), .device = part->device->name};
            if (part->device->part(p->seats[i].plan, k, to) != RZ_OK || to->node >= part->program.n_nodes)
                break;
            to->node = part->nodes[to->node];
            if (p->m->is_wide)
                to->node = p->m->wide.origin[to->node];
            p->n_parts++;
        }
    }
    qsort(p->parts, p->n_parts, sizeof(*p->parts), by_node);
    return RZ_OK;
}

/* Mapped weights that every device which runs them has copied. */
static int32_t forget_weights(struct rz_mixed_plan *p, struct rz_err *err)
{
    const struct rz_cut *cut = &p->m->cut;
    const struct rz_program *w = cut->program;
    bool *read = calloc(w->n_weights + 1ull, sizeof(*read));
    if (!read)
        return no_memory(err);
    for (uint32_t i = 0; i < cut->n_parts; i++) {
        const struct rz_cut_part *part = &cut->parts[i];
        bool owns = owns_weights(p, i);
        for (uint32_t n = 0; n < part->program.n_nodes && !owns; n++) {
            const struct rz_node *node = rz_node_at(w, part->nodes[n]);
            for (uint32_t k = 0; k < node->n_weights; k++)
                if (w->refs[node->first_weight + k] >= 0)
                    read[w->refs[node->first_weight + k]] = true;
        }
    }
    for (uint32_t i = 0; i < w->n_weights && p->m->setup.forget; i++)
        if (!read[i])
            p->m->setup.forget(p->m->setup.ctx, rz_weight_at(w, i)->data, rz_weight_at(w, i)->bytes);
    free(read);
    return RZ_OK;
}

static void mixed_destroy(struct rz_plan *plan)
{
    struct rz_mixed_plan *p = (struct rz_mixed_plan *)plan;
    if (!p)
        return;
    for (uint32_t i = 0; i < p->m->cut.n_parts; i++) {
        if (p->seats[i].plan)
            p->m->cut.parts[i].device->destroy(p->seats[i].plan);
        leave(p, i);
        free(p->seats[i].seqs);
        free(p->seats[i].pages);
        free(p->seats[i].copies);
    }
    for (uint32_t i = 0; i < p->m->cut.n_parts; i++) /* no plan reads another's any more */
        if (p->shared[i])
            p->m->cut.parts[i].device->unshare(p->m->cut.parts[i].device->ctx, p->shared[i]);
    free(p->rows);
    free(p->values);
    free(p->ends);
    free(p->logits);
    free(p->parts);
    free(p);
}

static void add_info(struct rz_plan_info *out, const struct rz_plan_info *one)
{
    out->prepared_bytes += one->prepared_bytes;
    out->kv_bytes += one->kv_bytes;
    out->scratch_bytes += one->scratch_bytes;
    out->state_bytes += one->state_bytes;
    if (out->size >= sizeof(*out))
        out->mapped_bytes += one->mapped_bytes;
}

/* What the part would take on its device. */
static int32_t measure_part(struct rz_mixed *m, uint32_t i, const struct rz_plan_limits *limits,
                            struct rz_plan_info *out, struct rz_err *err)
{
    const struct rz_cut_part *part = &m->cut.parts[i];
    const struct rz_device *d = part->device;
    struct rz_plan_limits own = limits_of(limits, part);
    uint32_t n, *nodes = calloc(part->program.n_nodes + 1ull, sizeof(*nodes));
    int32_t status = nodes ? rz_claim_nodes(d, &part->program, &own, nodes, &n, err) : no_memory(err);
    *out = (struct rz_plan_info){.size = sizeof(*out)};
    if (!status)
        status = d->measure(d->ctx, &part->program, nodes, n, &own, out, err);
    free(nodes);
    if (status) {
        m->failed = d->name;
        rz_err_wrap(err, d->name);
    }
    return status;
}

static int32_t mixed_measure(void *ctx, const struct rz_program *program, const uint32_t *nodes, uint32_t n,
                             const struct rz_plan_limits *limits, struct rz_plan_info *out,
                             struct rz_err *err)
{
    struct rz_mixed *m = ctx;
    int32_t status = RZ_OK;
    (void)nodes, (void)n;
    out->flags = RZ_PLAN_INVARIANT | RZ_PLAN_OWNS_WEIGHTS | RZ_PLAN_SHARES_WEIGHTS;
    for (uint32_t i = 0; i < program->n_weights; i++)
        out->weight_bytes += rz_weight_at(program, i)->bytes;
    for (uint32_t i = 0; i < m->cut.n_parts && !status; i++) {
        struct rz_plan_info one;
        status = measure_part(m, i, limits, &one, err);
        if (!status) {
            add_info(out, &one);
            out->flags &= one.flags;
        }
    }
    return status;
}

/* Nothing is taken on any device before there is room on all of them. */
static int32_t check_room(struct rz_mixed_plan *p, struct rz_err *err)
{
    for (uint32_t i = 0; i < p->m->cut.n_parts; i++) {
        const struct rz_device *d = p->m->cut.parts[i].device;
        struct rz_plan_info info;
        struct rz_device_memory memory = {.size = sizeof(memory)};
        if (!RZ_HAS(d, measure))
            continue;
        int32_t status = measure_part(p->m, i, &p->limits, &info, err);
        if (!status)
            status = d->memory(d->ctx, &memory, err);
        if (status)
            return status;
        uint64_t rest = info.state_bytes + info.scratch_bytes;
        uint64_t need = info.prepared_bytes + info.kv_bytes + rest;
        if (!memory.free || need <= memory.free)
            continue;
        p->m->failed = d->name;
        return rz_fail(
            err, RZ_ENOMEM, d->name,
            "%.1f MiB are needed (weights %.1f, KV %.1f, values and state %.1f), %.1f MiB are free: "
            "lower engine.context, engine.max_seqs or engine.kv_pages",
            (double)need / MIB, (double)info.prepared_bytes / MIB, (double)info.kv_bytes / MIB,
            (double)rest / MIB, (double)memory.free / MIB);
    }
    return RZ_OK;
}

static int32_t mixed_compile(void *ctx, const struct rz_program *program, const uint32_t *nodes, uint32_t n,
                             const struct rz_plan_limits *limits, struct rz_plan **out, struct rz_err *err)
{
    struct rz_mixed *m = ctx;
    (void)nodes, (void)n;
    if (program != m->setup.program)
        return rz_fail(err, RZ_EINVAL, "plan", "these devices were put together for another program");
    struct rz_mixed_plan *p = calloc(1, sizeof(*p));
    if (!p)
        return no_memory(err);
    p->m = m;
    p->limits = *limits;
    p->together = rz_mixed_together(&m->cut);
    p->max_copies = limits->max_seqs * program->n_kv_groups;
    p->rows = calloc(limits->max_rows, sizeof(*p->rows));
    int32_t status = p->rows ? rz_batch_bounds_init(program, limits, &p->bounds, err) : no_memory(err);
    if (!status && m->is_wide) /* the trials of auto have limits of their own */
        status = check_room(p, err);
    for (uint32_t i = 0; i < m->cut.n_parts && !status; i++)
        status = compile_part(p, i, err);
    if (!status)
        status = rz_mixed_take_values(p, err);
    if (!status)
        status = take_logits(p, err);
    if (!status)
        status = list_parts(p, err);
    if (!status)
        status = forget_weights(p, err);
    if (status) {
        mixed_destroy((struct rz_plan *)p);
        return status;
    }
    *out = (struct rz_plan *)p;
    return RZ_OK;
}

/* --- what there is to say about a plan --- */

static int32_t mixed_info(struct rz_plan *plan, struct rz_plan_info *out)
{
    const struct rz_mixed_plan *p = (const struct rz_mixed_plan *)plan;
    const struct rz_program *program = p->m->setup.program;
    out->wants = 1u << RZ_WANT_NONE;
    out->wants |= program->hidden >= 0 ? 1u << RZ_WANT_HIDDEN : 0;
    out->wants |= program->logits >= 0 ? 1u << RZ_WANT_LOGITS | 1u << RZ_WANT_TOP_K : 0;
    out->flags = RZ_PLAN_INVARIANT | RZ_PLAN_OWNS_WEIGHTS | RZ_PLAN_SHARES_WEIGHTS;
    out->weight_bytes = out->prepared_bytes = out->kv_bytes = out->state_bytes = 0;
    out->scratch_bytes = p->value_bytes;
    if (out->size >= sizeof(*out))
        out->mapped_bytes = 0;
    for (uint32_t i = 0; i < program->n_weights; i++)
        out->weight_bytes += rz_weight_at(program, i)->bytes;
    for (uint32_t i = 0; i < p->m->cut.n_parts; i++) {
        struct rz_plan_info one = {.size = sizeof(one)};
        int32_t status = p->m->cut.parts[i].device->info(p->seats[i].plan, &one);
        if (status)
            return status;
        add_info(out, &one);
        out->flags &= one.flags;
    }
    return RZ_OK;
}

static int32_t mixed_part(struct rz_plan *plan, uint32_t i, struct rz_plan_part *out)
{
    const struct rz_mixed_plan *p = (const struct rz_mixed_plan *)plan;
    if (i >= p->n_parts)
        return RZ_END;
    const struct rz_plan_part *from = &p->parts[i];
    uint32_t size = out->size < from->size ? out->size : from->size;
    memcpy((char *)out + sizeof(size), (const char *)from + sizeof(size), size - sizeof(size));
    return RZ_OK;
}

/* --- the device --- */

static bool all_measure(const struct rz_cut *cut)
{
    bool good = true;
    for (uint32_t i = 0; i < cut->n_parts; i++)
        good &= RZ_HAS(cut->parts[i].device, measure);
    return good;
}

static bool all_store(const struct rz_cut *cut)
{
    for (uint32_t i = 0; i < cut->n_parts; i++) {
        const struct rz_device *d = cut->parts[i].device;
        if (!RZ_HAS(d, fetch) || !RZ_HAS(d, store))
            return false;
    }
    return true;
}

/* The program that is cut: the setup's, or, where places have several devices, the wide one made of it. */
static int32_t cut(struct rz_mixed *m, struct rz_err *err)
{
    const struct rz_mixed_setup *s = &m->setup;
    struct rz_cut_setup how = {.program = s->program, .devices = s->devices, .of = s->of};
    struct rz_wide_setup wide = {.program = s->program, .of = s->of, .places = s->places};
    if (!s->places)
        return rz_cut_init(&m->cut, &how, err);
    int32_t status = rz_wide_init(&m->wide, &wide, err);
    if (status)
        return status;
    how.program = &m->wide.program;
    how.of = m->wide.of;
    how.waves = m->wide.waves;
    how.logits = m->wide.logits;
    m->is_wide = true;
    status = rz_cut_init(&m->cut, &how, err);
    if (status)
        rz_wide_deinit(&m->wide);
    return status;
}

int32_t rz_mixed_new(const struct rz_mixed_setup *setup, struct rz_mixed **out, struct rz_err *err)
{
    struct rz_mixed *m = calloc(1, sizeof(*m));
    if (!m)
        return no_memory(err);
    m->setup = *setup;
    int32_t status = cut(m, err);
    if (status) {
        free(m);
        return status;
    }
    bool store = all_store(&m->cut);
    m->table = (struct rz_device){.size = sizeof(m->table),
                                  .name = "mixed",
                                  .ctx = m,
                                  .open = mixed_open,
                                  .memory = mixed_memory,
                                  .claim = mixed_claim,
                                  .compile = mixed_compile,
                                  .info = mixed_info,
                                  .part = mixed_part,
                                  .execute = rz_mixed_execute,
                                  .destroy = mixed_destroy,
                                  .kv_type = mixed_kv_type,
                                  .fetch = store ? rz_mixed_fetch : NULL,
                                  .store = store ? rz_mixed_store : NULL,
                                  .measure = all_measure(&m->cut) ? mixed_measure : NULL};
    *out = m;
    return RZ_OK;
}

void rz_mixed_free(struct rz_mixed *m)
{
    if (m)
        rz_cut_deinit(&m->cut);
    if (m && m->is_wide)
        rz_wide_deinit(&m->wide);
    free(m);
}

const char *rz_mixed_failed(const struct rz_mixed *m)
{
    return m->failed;
}

const char *rz_mixed_told(const struct rz_mixed *m)
{
    return m->is_wide ? m->wide.told : NULL;
}

const struct rz_device *rz_mixed_device(struct rz_mixed *m)
{
    return &m->table;
}
