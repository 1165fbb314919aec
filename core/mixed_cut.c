/* mixed_cut.c - cuts a program into one program a device: its nodes, values, weights, KV groups and states,
 * numbered anew, with a stage for each run of nodes between those of others.
 *
 * Owns the tables of the parts; node attributes, names and weights stay the cut program's. Invariant: run one
 * behind the other, the stages compute what the program computes; a macro stays one where all of it is on one
 * device. Keys and states of a layer are never on two.
 */
#include "mixed.h"

#include "access.h"
#include "err.h"

#include <stdlib.h>
#include <string.h>

#define MIXED 254u /* nodes below are of several devices */
#define NONE 255u

/* What belongs to a part while it is cut out: numbers of the program to numbers of the part, -1: none yet. */
struct maps {
    uint8_t device;
    int32_t *values, *weights, *states, **layers;
    int32_t *groups;
    int32_t *refs;
    struct rz_node *nodes;
    struct rz_value *value_table;
    struct rz_weight *weight_table;
    struct rz_state *state_table;
    struct rz_kv_group *group_table;
    struct rz_stage *stages;
    bool *inside; /* values that the part has: it made them or got them */
};

struct cutting {
    struct rz_cut *cut;
    const struct rz_program *p;
    const struct rz_device *const *devices;
    const struct rz_cut_setup *setup;
    uint8_t *own;      /* [n_nodes]: its device, or MIXED                              */
    uint8_t *maker;    /* [n_values]: the device of the node that makes it; NONE       */
    uint16_t *readers; /* [n_values]: mask of devices                                  */
    struct maps maps[RZ_MIXED_MAX];
    int32_t part_of[RZ_MIXED_MAX + 1]; /* of a device; -1 */
    int32_t *ends;                     /* room for in and out of runs */
    uint32_t n_ends, wave;             /* wave: of the run that is open */
    struct rz_err *err;
};

static bool is_leaf(const struct rz_program *p, uint32_t i)
{
    return rz_node_at(p, i)->end == i + 1;
}

static int32_t no_memory(struct cutting *c)
{
    return rz_fail(c->err, RZ_ENOMEM, "layers", "no memory to cut a program of %u nodes", c->p->n_nodes);
}

static void *room(struct cutting *c, uint64_t n, size_t each)
{
    return rz_arena_array(&c->cut->arena, n + 1, each);
}

/* --- who makes and reads what --- */

static void find_owners(struct cutting *c, const uint8_t *of)
{
    for (uint32_t i = 0; i < c->p->n_nodes; i++) {
        uint32_t end = rz_node_at(c->p, i)->end;
        c->own[i] = NONE;
        for (uint32_t k = i; k < end; k++)
            if (is_leaf(c->p, k))
                c->own[i] = c->own[i] == NONE || c->own[i] == of[k] ? of[k] : MIXED;
    }
}

static void find_values(struct cutting *c)
{
    memset(c->maker, NONE, c->p->n_values);
    for (uint32_t i = 0; i < c->p->n_nodes; i++) {
        const struct rz_node *n = rz_node_at(c->p, i);
        if (!is_leaf(c->p, i))
            continue;
        for (uint32_t k = 0; k < n->n_in; k++)
            if (c->p->refs[n->first_in + k] >= 0)
                c->readers[c->p->refs[n->first_in + k]] |= (uint16_t)(1u << c->own[i]);
        for (uint32_t k = 0; k < n->n_out; k++)
            if (c->p->refs[n->first_out + k] >= 0)
                c->maker[c->p->refs[n->first_out + k]] = c->own[i];
    }
}

/* Two nodes that share what is remembered must share the device. */
static int32_t check_memory(struct cutting *c)
{
    for (uint32_t i = 0; i < c->p->n_nodes; i++) {
        const struct rz_node *a = rz_node_at(c->p, i);
        if (!is_leaf(c->p, i) || !(a->attr_mask & RZ_ATTR(RZ_A_KV_LAYER)) || c->own[i] == RZ_MIXED_NOBODY)
            continue;
        for (uint32_t k = 0; k < i; k++) {
            const struct rz_node *b = rz_node_at(c->p, k);
            if (c->own[k] != c->own[i] && c->own[k] != RZ_MIXED_NOBODY && is_leaf(c->p, k) &&
                b->attr_mask & RZ_ATTR(RZ_A_KV_LAYER) &&
                a->attrs[RZ_A_KV_GROUP].i == b->attrs[RZ_A_KV_GROUP].i &&
                a->attrs[RZ_A_KV_LAYER].i == b->attrs[RZ_A_KV_LAYER].i)
                return rz_fail(c->err, RZ_ECONFIG, "layers",
                               "layer %d on %s reads the keys of layer %d, which is on %s: put both on one",
                               a->layer, c->devices[c->own[i]]->name, b->layer, c->devices[c->own[k]]->name);
        }
    }
    return RZ_OK;
}

/* --- numbers of a part --- */

static int32_t value_in(struct cutting *c, struct maps *m, struct rz_cut_part *part, int32_t v)
{
    if (v < 0 || m->values[v] >= 0)
        return v < 0 ? v : m->values[v];
    m->values[v] = (int32_t)part->program.n_values++;
    m->value_table[m->values[v]] = *rz_value_at(c->p, (uint32_t)v);
    return m->values[v];
}

static int32_t weight_in(struct cutting *c, struct maps *m, struct rz_cut_part *part, int32_t w)
{
    if (w < 0 || m->weights[w] >= 0)
        return w < 0 ? w : m->weights[w];
    m->weights[w] = (int32_t)part->program.n_weights++;
    m->weight_table[m->weights[w]] = *rz_weight_at(c->p, (uint32_t)w);
    return m->weights[w];
}

static int64_t group_in(struct cutting *c, struct maps *m, struct rz_cut_part *part, int64_t g)
{
    if (m->groups[g] < 0) {
        uint32_t at = part->program.n_kv_groups++;
        part->groups[at] = (uint32_t)g;
        m->groups[g] = (int32_t)at;
        m->group_table[at] = *rz_kv_group_at(c->p, (uint32_t)g);
        m->group_table[at].n_layers = 0;
    }
    return m->groups[g];
}

static int64_t layer_in(struct maps *m, int64_t g, int64_t layer)
{
    int32_t *at = &m->layers[g][layer];
    if (*at < 0)
        *at = (int32_t)m->group_table[m->groups[g]].n_layers++;
    return *at;
}

static int64_t state_in(struct cutting *c, struct maps *m, struct rz_cut_part *part, int64_t s)
{
    if (m->states[s] < 0) {
        m->states[s] = (int32_t)part->program.n_states++;
        m->state_table[m->states[s]] = *rz_state_at(c->p, (uint32_t)s);
    }
    return m->states[s];
}

/* The node's attributes, a copy of them where they name something that has another number here. */
static const struct rz_attr *attrs_in(struct cutting *c, struct maps *m, struct rz_cut_part *part,
                                      const struct rz_node *n)
{
    bool kv = n->attr_mask & RZ_ATTR(RZ_A_KV_GROUP), state = n->attr_mask & RZ_ATTR(RZ_A_STATE);
    if (!kv && !state)
        return n->attrs;
    struct rz_attr *a = room(c, RZ_A_COUNT, sizeof(*a));
    if (!a)
        return NULL;
    memcpy(a, n->attrs, RZ_A_COUNT * sizeof(*a));
    if (kv) {
        a[RZ_A_KV_GROUP].i = group_in(c, m, part, n->attrs[RZ_A_KV_GROUP].i);
        a[RZ_A_KV_LAYER].i = layer_in(m, n->attrs[RZ_A_KV_GROUP].i, n->attrs[RZ_A_KV_LAYER].i);
    }
    if (state)
        a[RZ_A_STATE].i = state_in(c, m, part, n->attrs[RZ_A_STATE].i);
    return a;
}

/* --- nodes --- */

/* Copies node i to the part; parent: of the part, -1: none. */
static bool copy_node(struct cutting *c, uint32_t i, int32_t parent)
{
    uint8_t device = c->own[i];
    struct maps *m = &c->maps[device];
    struct rz_cut_part *part = &c->cut->parts[c->part_of[device]];
    struct rz_program *to = &part->program;
    const struct rz_node *n = rz_node_at(c->p, i);
    uint32_t at = to->n_nodes++;
    struct rz_node *copy = &m->nodes[at];
    *copy = *n;
    copy->size = sizeof(*copy);
    copy->parent = parent;
    copy->end = at + (n->end - i);
    copy->attrs = attrs_in(c, m, part, n);
    part->nodes[at] = i;
    copy->first_in = to->n_refs;
    for (uint32_t k = 0; k < n->n_in; k++)
        m->refs[to->n_refs++] = value_in(c, m, part, c->p->refs[n->first_in + k]);
    copy->first_out = to->n_refs;
    for (uint32_t k = 0; k < n->n_out; k++)
        m->refs[to->n_refs++] = value_in(c, m, part, c->p->refs[n->first_out + k]);
    copy->first_weight = to->n_refs;
    for (uint32_t k = 0; k < n->n_weights; k++)
        m->refs[to->n_refs++] = weight_in(c, m, part, c->p->refs[n->first_weight + k]);
    bool good = copy->attrs != NULL;
    for (uint32_t k = i + 1; k < n->end && good; k = rz_node_at(c->p, k)->end)
        good = copy_node(c, k, (int32_t)at);
    return good;
}

static uint32_t wave_of(const struct cutting *c, uint32_t node)
{
    return c->setup->waves ? c->setup->waves[node] : 0;
}

/* Ends the stage that is open and begins one for the device; RZ_MIXED_NOBODY: none. */
static void begin_run(struct cutting *c, uint8_t device, uint32_t wave)
{
    struct rz_cut *cut = c->cut;
    if (device == RZ_MIXED_NOBODY)
        return;
    struct rz_program *to = &cut->parts[c->part_of[device]].program;
    struct rz_cut_run *run = &cut->runs[cut->n_runs++];
    *run = (struct rz_cut_run){.part = (uint32_t)c->part_of[device], .stage = to->n_stages, .wave = wave};
    c->maps[device].stages[to->n_stages++] =
        (struct rz_stage){.size = sizeof(struct rz_stage), .first = to->n_nodes};
}

/* Copies nodes [first, end), a macro as a whole if it is on one device. *device: of the run that is open. */
static bool copy_nodes(struct cutting *c, uint32_t first, uint32_t end, uint8_t *device)
{
    bool good = true;
    for (uint32_t i = first; i < end && good; i = rz_node_at(c->p, i)->end) {
        uint8_t own = c->own[i];
        if (own == MIXED) {
            good = copy_nodes(c, i + 1, rz_node_at(c->p, i)->end, device);
            continue;
        }
        if (own != *device || wave_of(c, i) != c->wave)
            begin_run(c, own, wave_of(c, i));
        c->wave = wave_of(c, i);
        *device = own;
        if (own == RZ_MIXED_NOBODY)
            continue;
        struct rz_program *to = &c->cut->parts[c->part_of[own]].program;
        good = copy_node(c, i, -1);
        c->maps[own].stages[to->n_stages - 1].end = to->n_nodes;
    }
    return good;
}

/* --- what stages get and give --- */

static void add_end(struct cutting *c, struct maps *m, struct rz_cut_part *part, int32_t value, uint32_t *n)
{
    c->ends[c->n_ends++] = value;
    m->refs[part->program.n_refs++] = m->values[value];
    m->inside[value] = true;
    ++*n;
}

/* Values of the leaf's refs: those that the part does not have yet, or those that others read. */
static void leaf_ends(struct cutting *c, struct maps *m, struct rz_cut_part *part, uint32_t node, bool out,
                      uint32_t *n)
{
    const struct rz_node *leaf = rz_node_at(c->p, node);
    uint32_t first = out ? leaf->first_out : leaf->first_in, count = out ? leaf->n_out : leaf->n_in;
    for (uint32_t k = 0; k < count; k++) {
        int32_t v = c->p->refs[first + k];
        bool crosses = v >= 0 && (out ? c->readers[v] & ~(1u << m->device)
                                      : c->maker[v] != m->device && c->maker[v] != NONE && !m->inside[v]);
        if (crosses)
            add_end(c, m, part, v, n);
    }
}

static void run_ends(struct cutting *c, uint32_t r)
{
    struct rz_cut_run *run = &c->cut->runs[r];
    struct rz_cut_part *part = &c->cut->parts[run->part];
    uint8_t device = 0;
    while (c->part_of[device] != (int32_t)run->part)
        device++;
    struct maps *m = &c->maps[device];
    struct rz_stage *stage = &m->stages[run->stage];
    stage->first_in = part->program.n_refs;
    run->first_end = c->n_ends;
    run->in = c->ends + c->n_ends;
    for (uint32_t i = stage->first; i < stage->end; i++)
        if (m->nodes[i].end == i + 1)
            leaf_ends(c, m, part, part->nodes[i], false, &run->n_in);
    stage->n_in = run->n_in;
    stage->first_out = part->program.n_refs;
    run->out = c->ends + c->n_ends;
    for (uint32_t i = stage->first; i < stage->end; i++)
        if (m->nodes[i].end == i + 1)
            leaf_ends(c, m, part, part->nodes[i], true, &run->n_out);
    stage->n_out = run->n_out;
}

/* --- the whole --- */

static bool begin_part(struct cutting *c, uint8_t device)
{
    const struct rz_program *p = c->p;
    struct maps *m = &c->maps[device];
    struct rz_cut_part *part = &c->cut->parts[c->cut->n_parts];
    uint64_t layers = 0;
    c->part_of[device] = (int32_t)c->cut->n_parts++;
    part->device = c->devices[device];
    part->number = device;
    *m = (struct maps){.device = device,
                       .values = room(c, p->n_values, sizeof(*m->values)),
                       .weights = room(c, p->n_weights, sizeof(*m->weights)),
                       .states = room(c, p->n_states, sizeof(*m->states)),
                       .refs = room(c, p->n_refs + 2ull * p->n_values, sizeof(*m->refs)),
                       .nodes = room(c, p->n_nodes, sizeof(*m->nodes)),
                       .value_table = room(c, p->n_values, sizeof(*m->value_table)),
                       .weight_table = room(c, p->n_weights, sizeof(*m->weight_table)),
                       .state_table = room(c, p->n_states, sizeof(*m->state_table)),
                       .group_table = room(c, p->n_kv_groups, sizeof(*m->group_table)),
                       .stages = room(c, p->n_nodes, sizeof(*m->stages)),
                       .inside = room(c, p->n_values, sizeof(*m->inside)),
                       .groups = room(c, p->n_kv_groups, sizeof(*m->groups)),
                       .layers = room(c, p->n_kv_groups, sizeof(*m->layers))};
    part->groups = room(c, p->n_kv_groups, sizeof(*part->groups));
    part->nodes = room(c, p->n_nodes, sizeof(*part->nodes));
    bool good = m->values && m->weights && m->states && m->refs && m->nodes && m->value_table &&
                m->weight_table && m->state_table && m->group_table && m->stages && m->inside && m->groups &&
                m->layers && part->groups && part->nodes;
    for (uint32_t g = 0; g < p->n_kv_groups && good; g++) {
        layers = rz_kv_group_at(p, g)->n_layers;
        m->groups[g] = -1;
        m->layers[g] = room(c, layers, sizeof(int32_t));
        good = m->layers[g] != NULL;
        if (good)
            memset(m->layers[g], 0xff, (layers + 1) * sizeof(int32_t));
    }
    if (!good)
        return false;
    memset(m->values, 0xff, p->n_values * sizeof(*m->values));
    memset(m->weights, 0xff, p->n_weights * sizeof(*m->weights));
    memset(m->states, 0xff, p->n_states * sizeof(*m->states));
    return true;
}

static int32_t result_in(const struct cutting *c, const struct maps *m, int32_t value)
{
    return value >= 0 && c->maker[value] == m->device ? m->values[value] : -1;
}

static void end_part(struct cutting *c, const struct maps *m, struct rz_cut_part *part)
{
    struct rz_program *to = &part->program;
    to->size = sizeof(*to);
    to->nodes = m->nodes;
    to->node_stride = sizeof(*m->nodes);
    to->values = m->value_table;
    to->value_stride = sizeof(*m->value_table);
    to->weights = m->weight_table;
    to->weight_stride = sizeof(*m->weight_table);
    to->refs = m->refs;
    to->ropes = c->p->ropes;
    to->n_ropes = c->p->n_ropes;
    to->rope_stride = c->p->rope_stride;
    to->kv_groups = m->group_table;
    to->kv_group_stride = sizeof(*m->group_table);
    to->states = m->state_table;
    to->state_stride = sizeof(*m->state_table);
    to->stages = m->stages;
    to->stage_stride = sizeof(*m->stages);
    to->hidden = result_in(c, m, c->p->hidden);
    to->logits = result_in(c, m, c->setup->logits ? c->setup->logits[m->device] : c->p->logits);
}

static int32_t cut_all(struct cutting *c, const uint8_t *of)
{
    uint8_t device = NONE;
    find_owners(c, of);
    find_values(c);
    int32_t status = check_memory(c);
    if (status)
        return status;
    for (uint8_t d = 0; d < RZ_MIXED_MAX; d++) {
        bool used = false;
        for (uint32_t i = 0; i < c->p->n_nodes && !used; i++)
            used = is_leaf(c->p, i) && of[i] == d;
        if (used && !begin_part(c, d))
            return no_memory(c);
    }
    if (!copy_nodes(c, 0, c->p->n_nodes, &device))
        return no_memory(c);
    for (uint32_t r = 0; r < c->cut->n_runs; r++)
        run_ends(c, r);
    for (uint8_t d = 0; d < RZ_MIXED_MAX; d++)
        if (c->part_of[d] >= 0)
            end_part(c, &c->maps[d], &c->cut->parts[c->part_of[d]]);
    return RZ_OK;
}

int32_t rz_cut_init(struct rz_cut *cut, const struct rz_cut_setup *setup, struct rz_err *err)
{
    const struct rz_program *p = setup->program;
    struct cutting c = {.cut = cut, .p = p, .devices = setup->devices, .setup = setup, .err = err};
    *cut = (struct rz_cut){.program = p};
    rz_arena_init(&cut->arena, 0);
    for (uint32_t d = 0; d <= RZ_MIXED_MAX; d++)
        c.part_of[d] = -1;
    cut->runs = room(&c, p->n_nodes, sizeof(*cut->runs));
    c.own = room(&c, p->n_nodes, 1);
    c.maker = room(&c, p->n_values, 1);
    c.readers = room(&c, p->n_values, sizeof(*c.readers));
    c.ends = room(&c, (RZ_MIXED_MAX + 1) * (uint64_t)p->n_values, sizeof(*c.ends));
    int32_t status = cut->runs && c.own && c.maker && c.readers && c.ends ? RZ_OK : no_memory(&c);
    if (!status)
        status = cut_all(&c, setup->of);
    if (status)
        rz_cut_deinit(cut);
    return status;
}

void rz_cut_deinit(struct rz_cut *cut)
{
    rz_arena_free(&cut->arena);
    *cut = (struct rz_cut){0};
}
