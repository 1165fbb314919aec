/* lower.c - primitives become launches: which kernel, of which program, with which arguments.
 *
 * The order of arguments here is the order of parameters in the .cl files. A node that node_refused lets
 * pass lowers; what it checks is not checked again.
 */
#include "lower.h"

#include "access.h"
#include "err.h"
#include "numeric.h"

#include <rz/kernels.h>
#include <stdio.h>
#include <string.h>

/* --- programs and launches --- */

static int32_t program_of(struct plan *p, const struct source *source, const char *options, cl_program *out,
                          struct rz_err *err)
{
    for (uint32_t i = 0; i < p->n_programs; i++)
        if (p->programs[i].source == source && !strcmp(p->programs[i].options, options)) {
            *out = p->programs[i].program;
            return RZ_OK;
        }
    if (p->n_programs == PROGRAMS_MAX)
        return rz_fail(err, RZ_ELIMIT, "opencl", "more than %d programs of kernels", PROGRAMS_MAX);
    int32_t status = program_build(p->cl, source, options, out, err);
    uint32_t i = p->n_programs++;
    p->programs[i].source = source;
    snprintf(p->programs[i].options, sizeof(p->programs[i].options), "%s", options);
    p->programs[i].program = *out;
    return status;
}

int32_t lowering_begin(struct lowering *l, const struct source *source, const char *options,
                       const char *kernel, struct rz_err *err)
{
    cl_program program = NULL;
    cl_int status;
    int32_t code = program_of(l->plan, source, options, &program, err);
    if (code)
        return code;
    l->launch = &l->plan->launches[l->plan->n_launches];
    *l->launch = (struct launch){.node = l->index,
                                 .global = {1, 1, 1},
                                 .local = {1, 1, 1},
                                 .row_dim = 1,
                                 .rows_each = 1,
                                 .wanted = l->wanted,
                                 .only_logits = l->only_logits};
    snprintf(l->launch->name, sizeof(l->launch->name), "opencl %s", kernel);
    l->launch->kernel = l->plan->cl->lib.CreateKernel(program, kernel, &status);
    if (!l->launch->kernel)
        return rz_fail(err, RZ_EDEVICE, l->plan->cl->device_name, "%s has no kernel %s: %s", source->name,
                       kernel, cl_error_name(status));
    l->plan->n_launches++;
    l->n_args = 0;
    l->status = CL_SUCCESS;
    return RZ_OK;
}

static void argument(struct lowering *l, size_t n, const void *value)
{
    if (!l->status)
        l->status = l->plan->cl->lib.SetKernelArg(l->launch->kernel, l->n_args++, n, value);
}

void arg_mem(struct lowering *l, cl_mem mem)
{
    argument(l, sizeof(mem), mem ? &mem : NULL);
}

void arg_uint(struct lowering *l, uint64_t value)
{
    cl_uint v = (cl_uint)value;
    argument(l, sizeof(v), &v);
}

void arg_ulong(struct lowering *l, uint64_t value)
{
    cl_ulong v = value;
    argument(l, sizeof(v), &v);
}

void arg_float(struct lowering *l, double value)
{
    cl_float v = (cl_float)value;
    argument(l, sizeof(v), &v);
}

static const struct place *place_of(const struct lowering *l, int32_t value)
{
    return &l->plan->places[value];
}

static int32_t in_value(const struct lowering *l, uint32_t i)
{
    return l->plan->program->refs[l->node->first_in + i];
}

static int32_t out_value(const struct lowering *l, uint32_t i)
{
    return l->plan->program->refs[l->node->first_out + i];
}

void arg_in(struct lowering *l, uint32_t i)
{
    arg_uint(l, place_of(l, in_value(l, i))->at);
    arg_uint(l, place_of(l, in_value(l, i))->stride);
}

void arg_out(struct lowering *l, uint32_t i)
{
    arg_uint(l, place_of(l, out_value(l, i))->at);
    arg_uint(l, place_of(l, out_value(l, i))->stride);
}

uint64_t in_width(const struct lowering *l, uint32_t i)
{
    return rz_value_at(l->plan->program, (uint32_t)in_value(l, i))->width;
}

uint64_t out_width(const struct lowering *l, uint32_t i)
{
    return rz_value_at(l->plan->program, (uint32_t)out_value(l, i))->width;
}

bool has(const struct lowering *l, uint32_t attr)
{
    return l->node->attr_mask >> attr & 1;
}

/* Weight i of the node; -1: absent. */
int32_t weight_ref(const struct lowering *l, uint32_t i)
{
    return i < l->node->n_weights ? l->plan->program->refs[l->node->first_weight + i] : -1;
}

/* The vector on the device; NULL where the node has none. */
int32_t vector_of(struct lowering *l, uint32_t i, cl_mem *out, struct rz_err *err)
{
    const struct dev_weight *w;
    *out = NULL;
    if (weight_ref(l, i) < 0)
        return RZ_OK;
    int32_t status = plan_weight(l->plan, weight_ref(l, i), 0, &w, err);
    *out = status ? NULL : w->mem;
    return status;
}

int32_t lowering_end(struct lowering *l, struct rz_err *err)
{
    if (l->status)
        return rz_fail(err, RZ_EINTERNAL, l->plan->cl->device_name, "argument %u of %s: %s", l->n_args - 1,
                       l->launch->name, cl_error_name(l->status));
    return RZ_OK;
}

/* --- elementwise and norms --- */

#define SPAN 256

static void spans(struct lowering *l, uint64_t width)
{
    l->launch->global[0] = (width + SPAN - 1) / SPAN;
}

static int32_t begin_simple(struct lowering *l, const char *kernel, struct rz_err *err)
{
    int32_t status = lowering_begin(l, &source_elementwise, "", kernel, err);
    if (status)
        return status;
    spans(l, out_width(l, 0));
    arg_mem(l, l->plan->values);
    return RZ_OK;
}

static int32_t lower_two(struct lowering *l, const char *kernel, struct rz_err *err)
{
    int32_t status = begin_simple(l, kernel, err);
    if (status)
        return status;
    arg_in(l, 0);
    arg_in(l, 1);
    arg_out(l, 0);
    arg_uint(l, out_width(l, 0));
    return lowering_end(l, err);
}

static uint32_t act_kind(const struct lowering *l)
{
    return has(l, RZ_A_GELU)        ? 1
           : has(l, RZ_A_GELU_TANH) ? 2
           : has(l, RZ_A_RELU2)     ? 3
           : has(l, RZ_A_XIELU_P)   ? 4
                                    : 0;
}

static int32_t lower_act(struct lowering *l, struct rz_err *err)
{
    const struct rz_attr *a = l->node->attrs;
    int32_t status = begin_simple(l, "act", err);
    if (status)
        return status;
    cl_float4 p = {{0, 0, 0, 0}};
    if (has(l, RZ_A_XIELU_P)) {
        p.s[0] = (float)a[RZ_A_XIELU_P].f;
        p.s[1] = (float)a[RZ_A_XIELU_N].f;
        p.s[2] = (float)a[RZ_A_XIELU_BETA].f;
        p.s[3] = (float)a[RZ_A_EPS].f;
    }
    arg_in(l, 0);
    arg_out(l, 0);
    arg_uint(l, out_width(l, 0));
    arg_uint(l, act_kind(l));
    argument(l, sizeof(p), &p);
    return lowering_end(l, err);
}

static int32_t lower_act_mul(struct lowering *l, struct rz_err *err)
{
    int32_t status = begin_simple(l, "act_mul", err);
    if (status)
        return status;
    arg_in(l, 0);
    arg_in(l, 1);
    arg_out(l, 0);
    arg_uint(l, out_width(l, 0));
    arg_uint(l, act_kind(l));
    arg_float(l, has(l, RZ_A_SWIGLU) ? l->node->attrs[RZ_A_SWIGLU].f : 0);
    return lowering_end(l, err);
}

static int32_t lower_map(struct lowering *l, struct rz_err *err)
{
    const struct rz_attr *a = l->node->attrs;
    int32_t status = begin_simple(l, "map", err);
    if (status)
        return status;
    arg_mem(l, l->plan->batch);
    arg_in(l, 0);
    arg_out(l, 0);
    arg_uint(l, out_width(l, 0));
    arg_float(l, has(l, RZ_A_TEMPERATURE) ? a[RZ_A_TEMPERATURE].f : 0);
    arg_float(l, has(l, RZ_A_TEMPERATURE) ? (double)a[RZ_A_TEMPERATURE].i : 1);
    arg_float(l, has(l, RZ_A_FACTOR) ? a[RZ_A_FACTOR].f : 1);
    arg_float(l, has(l, RZ_A_SOFTCAP) ? a[RZ_A_SOFTCAP].f : 0);
    arg_float(l, has(l, RZ_A_CLAMP) ? a[RZ_A_CLAMP].f : 0);
    return lowering_end(l, err);
}

static int32_t lower_gate(struct lowering *l, struct rz_err *err)
{
    int32_t status = begin_simple(l, "gate", err);
    if (status)
        return status;
    arg_in(l, 0);
    arg_in(l, 1);
    arg_out(l, 0);
    arg_uint(l, out_width(l, 0));
    arg_uint(l, in_width(l, 0) == 1);
    return lowering_end(l, err);
}

static int32_t lower_copy(struct lowering *l, struct rz_err *err)
{
    int32_t status = begin_simple(l, "copy_rows", err);
    if (status)
        return status;
    const struct place *x = place_of(l, in_value(l, 0));
    arg_mem(l, l->plan->batch);
    arg_uint(l, x->at + (has(l, RZ_A_COLUMN) ? (uint64_t)l->node->attrs[RZ_A_COLUMN].i : 0));
    arg_uint(l, x->stride);
    arg_out(l, 0);
    arg_uint(l, out_width(l, 0));
    arg_uint(l, l->node->op == RZ_OP_SELECT_ROWS);
    return lowering_end(l, err);
}

static int32_t lower_sum_id(struct lowering *l, struct rz_err *err)
{
    int32_t status = begin_simple(l, "sum_id", err);
    if (status)
        return status;
    arg_in(l, 0);
    arg_in(l, l->node->n_in > 1 ? 1 : 0);
    arg_out(l, 0);
    arg_uint(l, out_width(l, 0));
    arg_uint(l, in_width(l, 0) / out_width(l, 0));
    arg_uint(l, l->node->n_in > 1);
    return lowering_end(l, err);
}

static int32_t lower_scale_id(struct lowering *l, struct rz_err *err)
{
    int32_t status = begin_simple(l, "scale_id", err);
    if (status)
        return status;
    l->launch->global[0] = in_width(l, 1);
    arg_in(l, 0);
    arg_in(l, 1);
    arg_out(l, 0);
    arg_uint(l, in_width(l, 0));
    return lowering_end(l, err);
}

static int32_t lower_norm(struct lowering *l, struct rz_err *err)
{
    cl_mem w, bias;
    uint64_t parts = has(l, RZ_A_PARTS) ? (uint64_t)l->node->attrs[RZ_A_PARTS].i : 1;
    int32_t status = vector_of(l, 0, &w, err);
    if (!status)
        status = vector_of(l, 1, &bias, err);
    if (!status)
        status = lowering_begin(l, l->plan->cl->wide ? &source_wide : &source_elementwise, "",
                                l->plan->cl->wide ? "norm_wide" : "norm", err);
    if (status)
        return status;
    uint64_t width = in_width(l, 0) / parts, w_width = width;
    for (uint32_t i = 0; i < 2; i++)
        if (weight_ref(l, i) >= 0)
            w_width = rz_weight_at(l->plan->program, (uint32_t)weight_ref(l, i))->cols;
    l->launch->local[0] = l->plan->cl->wide ? WIDE_LANES : 1;
    l->launch->global[0] = parts * l->launch->local[0];
    arg_mem(l, l->plan->values);
    arg_mem(l, w);
    arg_mem(l, bias);
    arg_in(l, 0);
    arg_out(l, 0);
    arg_uint(l, width);
    arg_uint(l, w_width);
    arg_float(l, l->node->attrs[RZ_A_EPS].f);
    arg_uint(l, l->node->op == RZ_OP_LAYERNORM);
    return lowering_end(l, err);
}

static int32_t lower_rope(struct lowering *l, struct rz_err *err)
{
    const struct rz_attr *a = l->node->attrs;
    int32_t status = lowering_begin(l, &source_elementwise, "", "rope", err);
    if (status)
        return status;
    l->launch->global[0] = (uint64_t)a[RZ_A_N_HEAD].i;
    arg_mem(l, l->plan->values);
    arg_mem(l, l->plan->batch);
    arg_mem(l, l->plan->ropes);
    arg_in(l, 0);
    arg_out(l, 0);
    arg_uint(l, (uint64_t)a[RZ_A_HEAD_DIM].i);
    arg_uint(l, rz_rope_at(l->plan->program, (uint32_t)a[RZ_A_ROPE].i)->dim / 2);
    arg_uint(l, has(l, RZ_A_ROPE_OFFSET) ? (uint64_t)a[RZ_A_ROPE_OFFSET].i : 0);
    arg_uint(l, has(l, RZ_A_ROPE_NEOX));
    arg_uint(l, l->plan->limits.max_context);
    arg_uint(l, l->plan->rope_at[a[RZ_A_ROPE].i]);
    arg_uint(l, has(l, RZ_A_ROPE_VARIANTS));
    return lowering_end(l, err);
}

static int32_t lower_route(struct lowering *l, struct rz_err *err)
{
    const struct rz_attr *a = l->node->attrs;
    char options[64];
    cl_mem bias;
    int32_t status = vector_of(l, 0, &bias, err);
    snprintf(options, sizeof(options), "-DN=%u", (unsigned)in_width(l, 0));
    if (!status)
        status = lowering_begin(l, &source_route, options, "route", err);
    if (status)
        return status;
    arg_mem(l, l->plan->values);
    arg_mem(l, bias);
    arg_in(l, 0);
    arg_out(l, 0);
    arg_out(l, 1);
    arg_uint(l, out_width(l, 0));
    arg_uint(l, (uint64_t)a[RZ_A_ROUTE].i);
    arg_float(l, a[RZ_A_ROUTE].f);
    arg_uint(l, has(l, RZ_A_EXPERT_GROUPS) ? (uint64_t)a[RZ_A_EXPERT_GROUPS].i : 0);
    arg_uint(l, has(l, RZ_A_EXPERT_GROUPS) ? (uint64_t)a[RZ_A_EXPERT_GROUPS].f : 0);
    arg_uint(l, has(l, RZ_A_GROUP_RANK) ? (uint64_t)a[RZ_A_GROUP_RANK].i : 1);
    arg_float(l, has(l, RZ_A_RENORM) ? a[RZ_A_RENORM].f : -1);
    arg_float(l, has(l, RZ_A_FACTOR) ? a[RZ_A_FACTOR].f : 1);
    return lowering_end(l, err);
}

/* --- each primitive --- */

int32_t lower_node(struct plan *p, uint32_t index, struct rz_err *err)
{
    const struct rz_node *n = rz_node_at(p->program, index);
    int32_t decides = n->n_out ? p->program->refs[n->first_out] : p->program->refs[n->first_in];
    struct lowering l = {.plan = p,
                         .node = n,
                         .index = index,
                         .wanted = rz_value_at(p->program, (uint32_t)decides)->rows == RZ_ROWS_WANTED,
                         .only_logits = n->n_out == 1 && decides == p->program->logits};
    switch (n->op) {
    case RZ_OP_MATMUL:
    case RZ_OP_MATMUL_HEADS:
        return lower_matmul(&l, err);
    case RZ_OP_MATMUL_ID:
        return lower_matmul_id(&l, err);
    case RZ_OP_GET_ROWS:
    case RZ_OP_ADD_POS:
    case RZ_OP_ADD_ROW:
        return lower_get_rows(&l, err);
    case RZ_OP_RMSNORM:
    case RZ_OP_LAYERNORM:
        return lower_norm(&l, err);
    case RZ_OP_ROPE:
        return lower_rope(&l, err);
    case RZ_OP_KV_STORE:
        return lower_kv_store(&l, err);
    case RZ_OP_ATTENTION:
        return lower_attention(&l, err);
    case RZ_OP_CONV:
        return lower_conv(&l, err);
    case RZ_OP_SCAN:
        return lower_scan(&l, err);
    case RZ_OP_DELTA:
        return lower_delta(&l, err);
    case RZ_OP_ROUTE:
        return lower_route(&l, err);
    case RZ_OP_ACT_MUL:
        return lower_act_mul(&l, err);
    case RZ_OP_ACT:
        return lower_act(&l, err);
    case RZ_OP_MAP:
        return lower_map(&l, err);
    case RZ_OP_GATE:
        return lower_gate(&l, err);
    case RZ_OP_SUM_ID:
        return lower_sum_id(&l, err);
    case RZ_OP_SCALE_ID:
        return lower_scale_id(&l, err);
    case RZ_OP_ADD:
        return lower_two(&l, "add", err);
    case RZ_OP_MUL:
        return lower_two(&l, "mul", err);
    default: /* RZ_OP_SELECT_ROWS, RZ_OP_COLUMNS */
        return lower_copy(&l, err);
    }
}
