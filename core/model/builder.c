/* builder.c - emits a program: nodes in pre-order, values, attributes, and weights bound by name.
 *
 * Owns the growing tables while a family builds; rz_graph_build moves them into the graph. Errors are
 * sticky: after the first, every call does nothing and returns -1. The decompositions of macro ops into
 * primitives are in macros.c.
 */
#include "builder.h"

#include "checked.h"
#include "grow.h"
#include "nearest.h"
#include "numeric.h"
#include "transform.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COPY_ALIGN 64u   /* of weights that are copied */
#define LOOKED_AT 65536u /* bytes of the largest weight that a program is made of, not only for */

/* The table, with room for one more element unless the build has failed. */
static void *more(struct rz_builder *b, void *table, uint32_t n, size_t *cap, size_t each)
{
    void *to = b->status ? NULL : rz_heap_grow(table, n, cap, each, 64);
    if (!to && !b->status)
        b->status = rz_fail(b->err, RZ_ENOMEM, "program", "no memory for %u entries", n + 1);
    return to ? to : table;
}

const struct rz_hparams *rz_build_hparams(const struct rz_builder *b)
{
    return &b->graph->h;
}

int32_t rz_build_value(struct rz_builder *b, const char *name, uint32_t rows, uint64_t width)
{
    b->values = more(b, b->values, b->n_values, &b->cap_values, sizeof(*b->values));
    if (b->status)
        return -1;
    b->values[b->n_values] =
        (struct rz_value){.size = sizeof(struct rz_value), .rows = rows, .width = width, .name = name};
    return (int32_t)b->n_values++;
}

int32_t rz_build_state(struct rz_builder *b, int32_t layer, uint64_t floats)
{
    b->states = more(b, b->states, b->n_states, &b->cap_states, sizeof(*b->states));
    if (b->status)
        return -1;
    b->states[b->n_states] =
        (struct rz_state){.size = sizeof(struct rz_state), .layer = layer, .floats = floats};
    return (int32_t)b->n_states++;
}

static uint32_t add_refs(struct rz_builder *b, const int32_t *refs, uint32_t n)
{
    uint32_t first = b->n_refs;
    for (uint32_t i = 0; i < n; i++) {
        b->refs = more(b, b->refs, b->n_refs, &b->cap_refs, sizeof(*b->refs));
        if (b->status)
            return 0;
        b->refs[b->n_refs++] = refs[i];
    }
    return first;
}

uint32_t rz_build_begin(struct rz_builder *b, uint16_t op, int32_t layer, const struct rz_operands *o)
{
    b->nodes = more(b, b->nodes, b->n_nodes, &b->cap_nodes, sizeof(*b->nodes));
    if (b->status)
        return 0;
    struct rz_attr *attrs = rz_arena_array(&b->graph->arena, RZ_A_COUNT, sizeof(*attrs));
    if (!attrs) {
        b->status = rz_fail(b->err, RZ_ENOMEM, "program", "no memory for attributes");
        return 0;
    }
    struct rz_node node = {.size = sizeof(node), .op = op, .layer = layer, .parent = b->open, .attrs = attrs};
    node.level = op < 0x200 ? RZ_LEVEL_BLOCK : op < 0x300 ? RZ_LEVEL_REGION : RZ_LEVEL_PRIMITIVE;
    node.n_in = o->n_in;
    node.n_out = o->n_out;
    node.n_weights = o->n_weights;
    node.first_in = add_refs(b, o->in, o->n_in);
    node.first_out = add_refs(b, o->out, o->n_out);
    node.first_weight = add_refs(b, o->weights, o->n_weights);
    node.end = b->n_nodes + 1;
    b->nodes[b->n_nodes] = node;
    b->open = (int32_t)b->n_nodes;
    return b->n_nodes++;
}

void rz_build_end(struct rz_builder *b, uint32_t node)
{
    if (b->status)
        return;
    b->nodes[node].end = b->n_nodes;
    b->open = b->nodes[node].parent;
}

void rz_build_attr(struct rz_builder *b, uint32_t node, uint32_t id, int64_t i, double f)
{
    if (b->status)
        return;
    struct rz_node *n = &b->nodes[node];
    ((struct rz_attr *)n->attrs)[id] = (struct rz_attr){.i = i, .f = f};
    n->attr_mask |= RZ_ATTR(id);
}

/* --- weights --- */

static const struct rz_tensor *find_tensor(const struct rz_builder *b, const char *name, size_t len)
{
    uint32_t i;
    if (!rz_map_get(&b->names, name, len, &i))
        return NULL;
    return (const void *)((const char *)b->tables->tensors + (uint64_t)i * b->tables->tensor_stride);
}

/* The format plugin read these numbers from a file; none is believed before this. */
static int32_t check_tensor(struct rz_builder *b, const struct rz_tensor *t, int32_t *type, uint64_t *bytes)
{
    char name[96];
    int32_t status = rz_transform_check(t, type, bytes, b->err);
    rz_show(name, sizeof(name), t->name.data, t->name.len);
    if (status)
        return status;
    if (rz_tensor_is_plain(t) && !rz_tensor_data(t, b->sources, b->n_sources))
        return rz_fail(b->err, RZ_EFORMAT, name, "%llu bytes at offset %llu are not inside the file",
                       (unsigned long long)t->bytes, (unsigned long long)t->offset);
    if (!rz_type_info(*type)->decode)
        return rz_fail(b->err, RZ_EUNSUPPORTED, name, "its elements are %s, which this rz does not run",
                       rz_type_info(*type)->name);
    return RZ_OK;
}

static uint8_t *own_bytes(struct rz_builder *b, uint64_t bytes)
{
    uint8_t *p = rz_arena_alloc(&b->graph->arena, (size_t)bytes + COPY_ALIGN);
    return p ? p + (COPY_ALIGN - (uintptr_t)p % COPY_ALIGN) : NULL;
}

static const void *find_stored(void *ctx, const struct rz_tensor *t)
{
    const struct rz_builder *b = ctx;
    return rz_tensor_data(t, b->sources, b->n_sources);
}

/* The weight's bytes: the file's own, or a copy where they have to be changed or are not aligned. */
static const void *weight_bytes(struct rz_builder *b, const struct rz_tensor *t, int32_t type, uint64_t bytes)
{
    if (!b->context && bytes > LOOKED_AT) /* nobody will run it */
        return rz_arena_alloc(&b->graph->arena, COPY_ALIGN);
    uintptr_t need = type == RZ_TYPE_F32 ? sizeof(float) : sizeof(uint16_t);
    if (rz_tensor_is_plain(t)) {
        const void *stored = rz_tensor_data(t, b->sources, b->n_sources);
        if ((uintptr_t)stored % need == 0)
            return stored;
    }
    uint8_t *copy = own_bytes(b, bytes);
    if (!copy) {
        char name[96];
        b->status = rz_fail(b->err, RZ_ENOMEM, rz_show(name, sizeof(name), t->name.data, t->name.len),
                            "no memory for a copy of %llu bytes", (unsigned long long)bytes);
        return NULL;
    }
    b->status = rz_transform_apply(t, find_stored, b, copy, b->err);
    return b->status ? NULL : copy;
}

static int32_t check_shape(struct rz_builder *b, const struct rz_tensor *t, const struct rz_part *p,
                           const char *name)
{
    uint64_t depth = p->depth ? p->depth : 1;
    bool deep = t->dims[1] == p->rows && t->dims[2] == depth, tall = t->dims[1] == p->rows * depth;
    if (t->dims[0] == p->cols && (deep || (tall && t->dims[2] == 1)) && t->dims[3] == 1)
        return RZ_OK;
    return rz_fail(b->err, RZ_EFORMAT, name,
                   "has shape %llu x %llu x %llu x %llu, expected %llu x %llu x %llu",
                   (unsigned long long)t->dims[0], (unsigned long long)t->dims[1],
                   (unsigned long long)t->dims[2], (unsigned long long)t->dims[3],
                   (unsigned long long)p->cols, (unsigned long long)p->rows, (unsigned long long)depth);
}

/* A tensor's type, size and shape, checked. */
static bool check_part(struct rz_builder *b, const struct rz_tensor *t, const struct rz_part *p,
                       const char *name, struct rz_weight *w)
{
    *w = (struct rz_weight){.size = sizeof(*w), .name = t->name, .cols = p->cols};
    w->rows = p->rows * (p->depth ? p->depth : 1);
    b->status = check_tensor(b, t, &w->type, &w->bytes);
    if (!b->status)
        b->status = check_shape(b, t, p, name);
    return !b->status;
}

bool rz_build_locate(struct rz_builder *b, const struct rz_part *p, const char *name, struct rz_weight *out)
{
    const struct rz_tensor *t = b->status ? NULL : find_tensor(b, name, strlen(name));
    if (!t && !b->status && !p->optional)
        b->status = rz_fail(b->err, RZ_EFORMAT, name, "the model has no such tensor");
    if (!t || !check_part(b, t, p, name, out))
        return false;
    out->data = weight_bytes(b, t, out->type, out->bytes);
    return out->data;
}

static int32_t keep_weight(struct rz_builder *b, const struct rz_weight *w)
{
    b->weights = more(b, b->weights, b->n_weights, &b->cap_weights, sizeof(*b->weights));
    if (b->status)
        return -1;
    b->weights[b->n_weights] = *w;
    return (int32_t)b->n_weights++;
}

int32_t rz_build_own(struct rz_builder *b, const struct rz_weight *like, int32_t type, uint64_t cols,
                     uint64_t rows, uint8_t **data)
{
    struct rz_weight w = *like;
    char name[96];
    if (b->status)
        return -1;
    w.type = type;
    w.cols = cols;
    w.rows = rows;
    w.data = NULL;
    if (rz_type_bytes(type, cols, &w.bytes) && rz_mul_u64(w.bytes, rows, &w.bytes))
        w.data = *data = own_bytes(b, w.bytes);
    if (!w.data)
        b->status = rz_fail(b->err, RZ_ENOMEM, rz_show(name, sizeof(name), w.name.data, w.name.len),
                            "no memory for a copy of %llu bytes", (unsigned long long)w.bytes);
    return b->status ? -1 : keep_weight(b, &w);
}

/* The same rows of each of several matrices, which do not lie together in the file. */
static int32_t gather(struct rz_builder *b, const struct rz_weight *all, const struct rz_part *p)
{
    uint64_t each = all->bytes / all->rows;
    uint8_t *to = NULL;
    int32_t w = rz_build_own(b, all, all->type, p->cols, p->n * p->depth, &to);
    for (uint64_t d = 0; w >= 0 && d < p->depth; d++)
        memcpy(to + d * p->n * each, (const uint8_t *)all->data + (d * p->rows + p->first) * each,
               p->n * each);
    return w;
}

/* Rows of a matrix or elements of a vector: whole blocks either way. A part of a tensor is a weight of its
 * own; only whole ones are shared, so that tied weights are one. */
static int32_t bind_part(struct rz_builder *b, const struct rz_tensor *t, const struct rz_part *p,
                         const char *name)
{
    struct rz_weight w;
    if (!check_part(b, t, p, name, &w))
        return -1;
    if (p->n && p->depth > 1) {
        w.data = weight_bytes(b, t, w.type, w.bytes);
        return w.data ? gather(b, &w, p) : -1;
    }
    uint64_t units = w.rows > 1 ? w.rows : w.cols, n = p->n ? p->n : units, all = w.bytes;
    if (n < units && w.rows == 1 && rz_type_info(w.type)->block != 1) {
        b->status = rz_fail(b->err, RZ_EUNSUPPORTED, name, "is of type %s, which cannot be taken in parts",
                            rz_type_info(w.type)->name);
        return -1;
    }
    w.bytes = all / units * n;
    if (p->flat)
        w.cols *= w.rows;
    else if (w.rows == 1)
        w.cols = n;
    w.rows = p->flat || w.rows == 1 ? 1 : n;
    for (uint32_t i = 0; i < b->n_weights && w.bytes == all; i++)
        if (b->weights[i].name.data == t->name.data && b->weights[i].bytes == w.bytes)
            return (int32_t)i;
    const uint8_t *data = weight_bytes(b, t, w.type, all);
    w.data = data ? data + (b->context ? all / units * p->first : 0) : NULL;
    return data ? keep_weight(b, &w) : -1;
}

static float element(const struct rz_meta *e, uint32_t i)
{
    float f;
    memcpy(&f, (const uint8_t *)e->data + (uint64_t)i * sizeof(f), sizeof(f));
    return f;
}

double rz_build_number(struct rz_builder *b, uint32_t layer, const char *key)
{
    double v = 0;
    if (b->status)
        return 0;
    const struct rz_meta *e = rz_meta_find(b->tables, key);
    if (!e)
        b->status = rz_fail(b->err, RZ_EFORMAT, key, "is missing from the model's metadata");
    else if (e->type != RZ_META_ARRAY)
        b->status = rz_meta_f64(b->tables, key, &v, b->err);
    else if (e->elem_type != RZ_META_F32 || layer >= e->n)
        b->status = rz_fail(b->err, RZ_EFORMAT, key, "is no array of floats, one a layer");
    else
        v = (double)element(e, layer);
    if (!b->status && !isfinite(v))
        b->status = rz_fail(b->err, RZ_EFORMAT, key, "is %g", v);
    return v;
}

uint64_t rz_build_has(const struct rz_builder *b, const char *format, ...)
{
    char name[96];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof(name), format, args);
    va_end(args);
    const struct rz_tensor *t = b->status ? NULL : find_tensor(b, name, strlen(name));
    return t ? t->dims[1] : 0;
}

void rz_build_refuse(struct rz_builder *b, const char *name, const char *what)
{
    if (rz_build_has(b, "%s", name))
        b->status = rz_fail(b->err, RZ_EUNSUPPORTED, name, "%s: this rz does not have that for \"%s\"", what,
                            b->graph->h.arch);
}

int32_t rz_build_part(struct rz_builder *b, const struct rz_part *p, const char *format, ...)
{
    char name[96];
    if (b->status)
        return -1;
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof(name), format, args);
    va_end(args);
    const struct rz_tensor *t = find_tensor(b, name, strlen(name));
    if (t)
        return bind_part(b, t, p, name);
    if (!p->optional)
        b->status = rz_fail(b->err, RZ_EFORMAT, name, "the model has no such tensor");
    return -1;
}

int32_t rz_build_weight(struct rz_builder *b, bool required, uint64_t cols, uint64_t rows, const char *format,
                        ...)
{
    char name[96];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof(name), format, args);
    va_end(args);
    return rz_build_part(b, &(struct rz_part){.optional = !required, .cols = cols, .rows = rows}, "%s", name);
}

/* --- the graph --- */

static int32_t index_names(struct rz_builder *b)
{
    if (!rz_map_init(&b->names, b->tables->n_tensors))
        return rz_fail(b->err, RZ_ENOMEM, "tensors", "no memory for an index of %llu",
                       (unsigned long long)b->tables->n_tensors);
    for (uint64_t i = 0; i < b->tables->n_tensors; i++) {
        const struct rz_tensor *t =
            (const void *)((const char *)b->tables->tensors + i * b->tables->tensor_stride);
        if (rz_map_add(&b->names, t->name.data, t->name.len, (uint32_t)i) < 0)
            return rz_fail(b->err, RZ_ENOMEM, "tensors", "no memory for their names");
    }
    return RZ_OK;
}

/* Moves a table into the graph's arena. */
static const void *keep(struct rz_builder *b, const void *table, uint32_t n, size_t each)
{
    void *p = rz_arena_array(&b->graph->arena, n ? n : 1, each);
    if (!p)
        b->status = rz_fail(b->err, RZ_ENOMEM, "program", "no memory for %u entries", n);
    else if (n)
        memcpy(p, table, n * each);
    return p;
}

static void finish(struct rz_builder *b)
{
    struct rz_program *p = &b->graph->program;
    *p = (struct rz_program){
        .size = sizeof(*p),
        .n_nodes = b->n_nodes,
        .nodes = keep(b, b->nodes, b->n_nodes, sizeof(*b->nodes)),
        .node_stride = sizeof(*b->nodes),
        .n_values = b->n_values,
        .values = keep(b, b->values, b->n_values, sizeof(*b->values)),
        .value_stride = sizeof(*b->values),
        .n_weights = b->n_weights,
        .weights = keep(b, b->weights, b->n_weights, sizeof(*b->weights)),
        .weight_stride = sizeof(*b->weights),
        .n_refs = b->n_refs,
        .refs = keep(b, b->refs, b->n_refs, sizeof(*b->refs)),
        .ropes = keep(b, b->ropes, b->n_ropes, sizeof(b->ropes[0])),
        .n_ropes = b->n_ropes,
        .rope_stride = sizeof(b->ropes[0]),
        .kv_groups = keep(b, b->kv_groups, b->n_kv_groups, sizeof(b->kv_groups[0])),
        .n_kv_groups = b->n_kv_groups,
        .kv_group_stride = sizeof(b->kv_groups[0]),
        .hidden = b->hidden,
        .logits = b->logits,
        .states = keep(b, b->states, b->n_states, sizeof(*b->states)),
        .n_states = b->n_states,
        .state_stride = sizeof(*b->states),
    };
}

static const char *family_name(void *ctx, uint32_t i)
{
    (void)ctx;
    return rz_family_at(i) ? rz_family_at(i)->arch : NULL;
}

static int32_t unknown_family(const char *arch, struct rz_err *err)
{
    const char *kin = rz_nearest_kin(arch, family_name, NULL);
    uint32_t n = 0;
    while (rz_family_at(n))
        n++;
    return rz_fail(err, RZ_EUNSUPPORTED, "general.architecture",
                   "\"%s\" is a family that this rz does not have%s%s (it has %u)", arch,
                   kin ? "; the nearest that it has is " : "", kin ? kin : "", n);
}

int32_t rz_graph_build(const struct rz_format_model *m, const struct rz_source *sources, uint32_t n_sources,
                       uint32_t context, struct rz_graph **out, struct rz_err *err)
{
    struct rz_builder b = {.tables = m,
                           .context = context,
                           .sources = sources,
                           .n_sources = n_sources,
                           .err = err,
                           .open = -1,
                           .hidden = -1,
                           .logits = -1};
    const struct rz_family *family = NULL;
    b.graph = calloc(1, sizeof(*b.graph));
    if (!b.graph)
        return rz_fail(err, RZ_ENOMEM, "program", "no memory");
    rz_arena_init(&b.graph->arena, 0);
    b.status = rz_hparams_read(m, &b.graph->h, err);
    /* An unknown family comes first: what its files lack or say is nobody's business. */
    family = rz_family_find(b.graph->h.arch);
    if (!family && (b.graph->h.arch[0] || !b.status))
        b.status = unknown_family(b.graph->h.arch, err);
    if (!b.status)
        b.status = index_names(&b);
    if (!b.status)
        b.status = rz_hparams_uses(&b.graph->h, family->uses, err);
    if (!b.status) {
        family->build(&b);
        finish(&b);
    }
    rz_map_free(&b.names);
    free(b.nodes);
    free(b.values);
    free(b.weights);
    free(b.refs);
    free(b.states);
    if (b.status) {
        rz_graph_free(b.graph);
        return b.status;
    }
    *out = b.graph;
    return RZ_OK;
}

void rz_graph_free(struct rz_graph *g)
{
    if (!g)
        return;
    rz_arena_free(&g->arena);
    free(g);
}
