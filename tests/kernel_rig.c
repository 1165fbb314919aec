/* kernel_rig.c - one kernel row by itself. Mirrors what a plan does for a node, on the host's own team. */
#include "kernel_rig.h"

#include "cpu.h"
#include "exec.h"
#include "numeric.h"
#include "rz_test.h"

#include <stdlib.h>

#if !defined(__x86_64__)
const struct rz_plugin rz_no_table = {.header = {.isa = {~0ull}, .name = "a second table"}};
#endif

const struct rz_kernels *kernel_table(const struct rz_plugin *plugin, int64_t choice)
{
    struct rz_option_value value = {.i = choice};
    struct rz_config config = {
        .size = sizeof config, .n_values = plugin->n_options ? 1 : 0, .values = &value};
    struct rz_err err = {.size = sizeof err};
    void *self = NULL;
    if (plugin->header.isa[0] & ~rz_cpu_isa())
        return NULL;
    rz_check_ok(plugin->init(NULL, &config, &self, &err), &err);
    return plugin->query(self, RZ_KERNELS_1, 0);
}

const struct rz_kernels *kernel_table_or_skip(const struct rz_plugin *plugin)
{
    const struct rz_kernels *k = kernel_table(plugin, 0);
    if (!k)
        rz_skip("this CPU cannot run %s", plugin->header.name);
    return k;
}

void kernel_begin(struct kernel_case *n, const struct rz_kernels *table, uint16_t op)
{
    memset(n, 0, sizeof *n);
    n->table = table;
    n->node = (struct rz_kernel_node){.size = sizeof n->node,
                                      .op = op,
                                      .weight_stride = sizeof n->weights[0],
                                      .matrix_types = 1ull << RZ_TYPE_Q8_0};
}

void kernel_attr(struct kernel_case *n, uint32_t id, int64_t i, double f)
{
    n->attrs[id] = (struct rz_attr){i, f};
    n->node.attr_mask |= RZ_ATTR(id);
}

void kernel_weight(struct kernel_case *n, int32_t type, uint64_t cols, uint64_t rows, const void *data)
{
    uint64_t bytes = 0;
    rz_check(rz_type_bytes(type, cols, &bytes));
    n->weights[n->node.n_weights++] = (struct rz_weight_view){.size = sizeof n->weights[0],
                                                              .type = type,
                                                              .cols = cols,
                                                              .rows = rows,
                                                              .bytes = bytes * rows,
                                                              .data = data};
}

void kernel_no_weight(struct kernel_case *n)
{
    n->weights[n->node.n_weights++] =
        (struct rz_weight_view){.size = sizeof n->weights[0], .type = RZ_TYPE_NONE};
}

static bool fits(const struct kernel_case *n, const struct rz_kernel_row *r, int32_t kv_type)
{
    if (r->op != n->node.op || n->node.attr_mask & ~r->attrs || r->min_rows > 1 || r->max_rows)
        return false;
    for (uint32_t w = 0; w < n->node.n_weights && r->weight != RZ_TYPE_ANY; w++)
        if (n->weights[w].rows > 1 && n->weights[w].type != r->weight)
            return false;
    return (kv_type < 0 || r->kv_types >> kv_type & 1) && (!r->accept || r->accept(&n->node));
}

/* 64-byte aligned. */
static void *room(uint64_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    rz_check(p);
    memset(p, 0xab, bytes);
    return p;
}

static void lay_out(struct kernel_case *n, uint32_t w)
{
    uint32_t id = n->row->layout ? n->row->layout(&n->node, w) : 0;
    struct rz_weight_view *v = &n->weights[w];
    if (!id || v->type == RZ_TYPE_NONE)
        return;
    for (uint32_t i = 0; i < n->table->n_layouts; i++) {
        const struct rz_layout *l =
            (const void *)((const char *)n->table->layouts + (size_t)i * n->table->layout_stride);
        if (l->id != id || l->type != v->type)
            continue;
        uint64_t bytes = l->bytes(v), groups = (v->rows + l->row_group - 1) / l->row_group;
        n->blobs[w] = room(bytes);
        for (uint64_t g = 0; g < groups; g += 3)
            l->prep(v, n->blobs[w], g, groups - g < 3 ? groups - g : 3);
        v->layout = id;
        v->bytes = bytes;
        v->data = n->blobs[w];
        return;
    }
    rz_check(!"a layout for this type");
}

bool kernel_open(struct kernel_case *n, const uint64_t *in_width, uint32_t n_in, const uint64_t *out_width,
                 uint32_t n_out, uint32_t max_rows, int32_t kv_type)
{
    n->node.attr = n->attrs;
    n->node.weights = n->weights;
    n->node.n_in = n_in;
    n->node.n_out = n_out;
    n->node.max_rows = max_rows;
    for (uint32_t i = 0; i < n_in; i++)
        n->node.in_width[i] = in_width[i];
    for (uint32_t i = 0; i < n_out; i++)
        n->node.out_width[i] = out_width[i];
    for (uint32_t i = 0; i < n->table->n_rows && !n->row; i++) {
        const struct rz_kernel_row *r =
            (const void *)((const char *)n->table->rows + (size_t)i * n->table->row_stride);
        if (fits(n, r, kv_type))
            n->row = r;
    }
    for (uint32_t w = 0; n->row && w < n->node.n_weights; w++)
        lay_out(n, w);
    return n->row != NULL;
}

void kernel_close(struct kernel_case *n)
{
    for (uint32_t w = 0; w < KERNEL_WEIGHTS; w++)
        free(n->blobs[w]);
}

struct running {
    const struct kernel_case *n;
    struct rz_kernel_call call;
};

static void member(void *arg, struct rz_team *team, uint32_t tid)
{
    struct running *r = arg;
    struct rz_kernel_call call = r->call;
    struct rz_err err = {.size = sizeof err};
    const struct rz_kernel_row *row = r->n->row;
    call.tid = tid;
    call.team = team;
    if (row->flags & RZ_ROW_TILED) {
        call.n_tiles = row->tiles(&call);
        team->share(team, tid, call.n_tiles);
        for (int32_t t; (t = team->take(team, tid)) >= 0;) {
            call.tile = (uint32_t)t;
            row->run(&call, &err);
        }
    } else if (row->flags & RZ_ROW_TEAM || tid == 0) {
        row->run(&call, &err);
    }
    team->barrier(team, tid);
}

void kernel_run(const struct kernel_case *n, uint32_t n_rows, uint32_t n_threads, float *const *in,
                float *const *out, const struct rz_step *step)
{
    struct rz_view in_view[4], out_view[4];
    struct rz_step none = {.size = sizeof none, .n_rows = n_rows};
    struct rz_err err = {.size = sizeof err};
    struct rz_pool *pool;
    for (uint32_t i = 0; i < n->node.n_in; i++)
        in_view[i] = (struct rz_view){in[i], n->node.in_width[i], n_rows, n->node.in_width[i]};
    for (uint32_t i = 0; i < n->node.n_out; i++)
        out_view[i] = (struct rz_view){out[i], n->node.out_width[i], n_rows, n->node.out_width[i]};
    uint64_t bytes = n->row->scratch ? n->row->scratch(&n->node, n->node.max_rows, n_threads) : 0;
    struct running r = {.n = n,
                        .call = {.size = sizeof r.call,
                                 .n_rows = n_rows,
                                 .n_threads = n_threads,
                                 .node = &n->node,
                                 .in = in_view,
                                 .out = out_view,
                                 .step = step ? step : &none,
                                 .scratch = room(bytes)}};
    rz_check_ok(rz_pool_new(n_threads, &pool, &err), &err);
    rz_pool_run(pool, member, &r);
    rz_pool_free(pool);
    free(r.call.scratch);
}
