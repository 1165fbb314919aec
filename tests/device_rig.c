/* device_rig.c - programs of a few nodes, and devices that run them beside the reference. */
#include "device_rig.h"

#include "exec.h"
#include "kernel_rig.h"
#include "rz_test.h"

#include <dlfcn.h>
#include <stdlib.h>

#define PAGE 16
#define PAGES (RIG_CONTEXT / PAGE)

void device_begin(struct rig *r, uint64_t seed)
{
    memset(r, 0, sizeof *r);
    r->rng.state = seed;
    r->program = (struct rz_program){.size = sizeof r->program,
                                     .nodes = r->nodes,
                                     .node_stride = sizeof r->nodes[0],
                                     .values = r->values,
                                     .value_stride = sizeof r->values[0],
                                     .weights = r->weights,
                                     .weight_stride = sizeof r->weights[0],
                                     .refs = r->refs,
                                     .ropes = r->ropes,
                                     .rope_stride = sizeof r->ropes[0],
                                     .kv_groups = r->groups,
                                     .kv_group_stride = sizeof r->groups[0],
                                     .hidden = -1,
                                     .logits = -1,
                                     .states = r->states,
                                     .state_stride = sizeof r->states[0]};
}

void device_close(struct rig *r)
{
    for (uint32_t i = 0; i < r->program.n_weights; i++)
        free((void *)(uintptr_t)r->weights[i].data);
}

int32_t device_value(struct rig *r, uint64_t width)
{
    uint32_t i = r->program.n_values++;
    rz_check(i < RIG_VALUES);
    r->values[i] = (struct rz_value){.size = sizeof r->values[i], .width = width, .name = "value"};
    return (int32_t)i;
}

int32_t device_weight(struct rig *r, int32_t type, uint64_t cols, uint64_t rows, double std)
{
    uint32_t i = r->program.n_weights++;
    uint64_t bytes = weight_bytes(type, cols) * rows;
    void *data = must_alloc(bytes);
    rz_check(i < RIG_WEIGHTS);
    weight_random(type, data, cols * rows, std, &r->rng);
    r->weights[i] = (struct rz_weight){.size = sizeof r->weights[i],
                                       .type = type,
                                       .cols = cols,
                                       .rows = rows,
                                       .bytes = bytes,
                                       .data = data,
                                       .name = {"weight", 6}};
    return (int32_t)i;
}

int32_t device_input(struct rig *r, uint64_t width, double std)
{
    int32_t x = device_value(r, width), table = device_weight(r, RZ_TYPE_F32, width, RIG_TOKENS, std);
    device_node(r, RZ_OP_GET_ROWS, RIG_NONE, RIG_LIST(x), RIG_LIST(table));
    return x;
}

static uint32_t add_refs(struct rig *r, const int32_t *list, uint32_t *n)
{
    uint32_t first = r->program.n_refs;
    for (*n = 0; list[*n] != RIG_END; (*n)++)
        r->refs[r->program.n_refs++] = list[*n];
    return first;
}

uint32_t device_node(struct rig *r, uint16_t op, const int32_t *in, const int32_t *out,
                     const int32_t *weights)
{
    uint32_t i = r->program.n_nodes++;
    rz_check(i < RIG_NODES);
    struct rz_node *n = &r->nodes[i];
    *n = (struct rz_node){.size = sizeof *n,
                          .op = op,
                          .level = RZ_LEVEL_PRIMITIVE,
                          .parent = -1,
                          .end = i + 1,
                          .attrs = r->attrs[i]};
    n->first_in = add_refs(r, in, &n->n_in);
    n->first_out = add_refs(r, out, &n->n_out);
    n->first_weight = add_refs(r, weights, &n->n_weights);
    return i;
}

void device_attr(struct rig *r, uint32_t node, uint32_t id, int64_t i, double f)
{
    r->attrs[node][id] = (struct rz_attr){i, f};
    r->nodes[node].attr_mask |= RZ_ATTR(id);
}

void device_rope(struct rig *r, uint32_t dim)
{
    uint32_t i = r->program.n_ropes++;
    for (uint32_t k = 0; k < dim / 2; k++)
        r->inv_freq[i][k] = pow(10000, -2.0 * k / dim) / (i + 1);
    r->ropes[i] = (struct rz_rope){
        .size = sizeof r->ropes[i], .dim = dim, .magnitude = 1 + 0.1 * i, .inv_freq = r->inv_freq[i]};
}

void device_end(struct rig *r, int32_t value, bool logits)
{
    int32_t y = device_value(r, r->values[value].width);
    r->values[y].rows = RZ_ROWS_WANTED;
    device_node(r, RZ_OP_SELECT_ROWS, RIG_LIST(value), RIG_LIST(y), RIG_NONE);
    *(logits ? &r->program.logits : &r->program.hidden) = y;
}

/* --- plans --- */

void device_open(struct device_plan *p, const struct rz_device *d, const struct rig *r,
                 const struct device_options *options)
{
    uint32_t nodes[RIG_NODES], max_rows = options->max_rows ? options->max_rows : RIG_ROWS;
    struct rz_err err = {.size = sizeof err};
    struct rz_plan_limits limits = {.size = sizeof limits,
                                    .max_rows = max_rows,
                                    .max_wanted = max_rows,
                                    .max_seqs = RIG_SEQS,
                                    .max_context = RIG_CONTEXT,
                                    .page_tokens = PAGE,
                                    .n_pages = RIG_SEQS * PAGES,
                                    .kv_type = options->kv_type,
                                    .n_slots = RIG_SEQS};
    *p = (struct device_plan){.device = d, .rig = r, .options = *options};
    for (uint32_t i = 0; i < r->program.n_nodes; i++) {
        struct rz_claim claim = {.size = sizeof claim};
        nodes[i] = i;
        rz_check_ok(d->claim(d->ctx, &r->program, i, &limits, &claim, &err), &err);
        if (!claim.taken)
            rz_fail_test("%s refuses op %x: %s", d->name, r->nodes[i].op, claim.why);
    }
    rz_check_ok(d->compile(d->ctx, &r->program, nodes, r->program.n_nodes, &limits, &p->plan, &err), &err);
}

void device_plan_close(struct device_plan *p)
{
    p->device->destroy(p->plan);
}

/* The rows of the sequences by turns, so that they lie mixed. */
static uint32_t fill_rows(struct device_plan *p, const struct device_step *step, struct rz_batch_row *rows)
{
    bool logits = p->rig->program.logits >= 0;
    uint32_t n = 0, left[RIG_SEQS];
    memcpy(left, step->n, sizeof left);
    for (bool more = true; more;) {
        more = false;
        for (uint32_t s = 0; s < RIG_SEQS; s++)
            for (uint32_t run = 0; run < 5 && left[s]; run++, left[s]--, more = true) {
                uint32_t pos = p->length[s]++;
                rows[n++] = (struct rz_batch_row){.token = (int32_t)((pos * 7 + s * 31) % RIG_TOKENS),
                                                  .seq = s,
                                                  .pos = {(int32_t)pos},
                                                  .want = !logits        ? RZ_WANT_HIDDEN
                                                          : p->options.k ? RZ_WANT_TOP_K
                                                                         : RZ_WANT_LOGITS,
                                                  .k = p->options.k};
            }
    }
    return n;
}

uint32_t device_run(struct device_plan *p, const struct device_step *step, float *out)
{
    static int32_t pages[RIG_SEQS][PAGES];
    const int32_t *tables[RIG_SEQS][2];
    struct rz_batch_row *rows = must_alloc(RIG_ROWS * sizeof *rows);
    struct rz_batch_seq seqs[RIG_SEQS];
    struct rz_err err = {.size = sizeof err};
    struct rz_result result = {.size = sizeof result};
    int32_t clears[RIG_SEQS];
    struct rz_batch b = {.size = sizeof b, .n_seqs = RIG_SEQS, .rows = rows, .seqs = seqs, .clears = clears};
    for (uint32_t s = 0; s < RIG_SEQS && p->rig->program.n_states; s++)
        if (!p->length[s] && step->n[s])
            clears[b.n_clears++] = (int32_t)s;
    b.n_rows = fill_rows(p, step, rows);
    for (uint32_t s = 0; s < RIG_SEQS; s++) {
        for (uint32_t i = 0; i < PAGES; i++)
            pages[s][i] = (int32_t)(i * RIG_SEQS + s);
        tables[s][0] = tables[s][1] = pages[s];
        seqs[s] = (struct rz_batch_seq){.length = p->length[s],
                                        .mask = p->options.all ? RZ_MASK_ALL : RZ_MASK_CAUSAL,
                                        .state_slot = (int32_t)s,
                                        .adapter = -1,
                                        .pages = tables[s]};
    }
    rz_check_ok(p->device->execute(p->plan, &b, &result, &err), &err);
    rz_check_eq(result.n, b.n_rows);
    int32_t value = p->rig->program.logits >= 0 ? p->rig->program.logits : p->rig->program.hidden;
    uint64_t width = p->rig->values[value].width;
    for (uint32_t i = 0; i < result.n; i++)
        memcpy(out + i * width,
               p->rig->program.logits >= 0 ? result.logits + i * result.logits_stride
                                           : result.hidden + i * result.hidden_stride,
               width * sizeof(float));
    free(rows);
    return b.n_rows;
}

void device_hand_over(const struct device_plan *from, struct device_plan *to, uint32_t group)
{
    struct rz_err err = {.size = sizeof err};
    int64_t n = from->device->fetch(from->plan, group, 0, NULL, 0, &err);
    rz_check(n > 0);
    uint8_t *bytes = must_alloc((size_t)n);
    rz_check_eq(from->device->fetch(from->plan, group, 0, bytes, (uint64_t)n, &err), n);
    rz_check_ok(to->device->store(to->plan, group, 0, bytes, (uint64_t)n, &err), &err);
    rz_check_eq(to->device->store(to->plan, group, 0, bytes, (uint64_t)n - 1, &err), RZ_EINVAL);
    free(bytes);
}

/* --- devices --- */

const struct rz_device *device_find(const char *path, const struct rz_option_value *values, uint32_t n)
{
    struct rz_config config = {.size = sizeof config, .n_values = n, .values = values};
    struct rz_err err = {.size = sizeof err};
    void *object = dlopen(path, RTLD_NOW), *self = NULL;
    if (!object)
        rz_fail_test("%s", dlerror());
    const struct rz_plugin *plugin = dlsym(object, "rz_plugin_v1");
    rz_check(plugin);
    rz_check_eq(plugin->n_options, n);
    rz_check_ok(plugin->init(NULL, &config, &self, &err), &err);
    const struct rz_device *d = plugin->query(self, RZ_DEVICE_1, 0);
    rz_check(d);
    rz_check_ok(d->open(d->ctx, &err), &err);
    return d;
}

const struct rz_device *device_reference(void)
{
    static struct rz_cpu_table table;
    static struct rz_cpu *cpu;
    static struct rz_pool *pool;
    struct rz_err err = {.size = sizeof err};
    if (!cpu) {
        table = (struct rz_cpu_table){.kernels = kernel_table(&rz_builtin_scalar, 0), .name = "scalar"};
        rz_check_ok(rz_pool_new(1, &pool, &err), &err);
        struct rz_cpu_setup setup = {.tables = &table, .n_tables = 1, .pool = pool};
        rz_check_ok(rz_cpu_new(&setup, &cpu, &err), &err);
    }
    return rz_cpu_device(cpu);
}
