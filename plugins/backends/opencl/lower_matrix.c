/* lower_matrix.c - launches of products and of rows of matrices. */
#include "lower.h"

#include "access.h"

#include <stdio.h>

#define CHUNK 32 /* rows of x an item: CHUNK of matmul.cl */

static void form_options(const struct form *f, char *out, size_t cap)
{
    snprintf(out, cap, "-DFORM=%u -DHALF=%u -DMINIMA=%u%s", f->kind, f->half, f->minima,
             f->kind != 4     ? ""
             : f->group == 16 ? " -DGROUP=16"
                              : " -DGROUP=32");
}

static void name_launch(struct lowering *l, const struct dev_weight *w, const char *kernel)
{
    snprintf(l->launch->name, sizeof(l->launch->name), "opencl %s %s", kernel, w->form->name);
}

static int32_t begin_matrix(struct lowering *l, const struct dev_weight *w, bool wide, const char *kernel,
                            struct rz_err *err)
{
    char options[96];
    form_options(w->form, options, sizeof(options));
    int32_t status = lowering_begin(l, wide ? &source_wide_matmul : &source_matmul, options, kernel, err);
    if (status)
        return status;
    name_launch(l, w, kernel);
    arg_mem(l, w->mem);
    arg_mem(l, l->plan->values);
    arg_mem(l, l->plan->batch);
    return RZ_OK;
}

static const struct rz_weight *matrix_of(const struct lowering *l)
{
    return rz_weight_at(l->plan->program, (uint32_t)weight_ref(l, 0));
}

int32_t lower_matmul(struct lowering *l, struct rz_err *err)
{
    const struct rz_weight *m = matrix_of(l);
    const struct dev_weight *w;
    bool heads = l->node->op == RZ_OP_MATMUL_HEADS, wide = l->plan->cl->wide;
    uint32_t parts = heads ? (uint32_t)l->node->attrs[RZ_A_PARTS].i : 1;
    cl_mem bias = NULL;
    int32_t status = plan_weight(l->plan, weight_ref(l, 0), parts, &w, err);
    if (!status && !heads)
        status = vector_of(l, 1, &bias, err);
    if (!status)
        status = begin_matrix(l, w, wide, wide ? "matmul_wide" : "matmul", err);
    if (status)
        return status;
    l->launch->global[0] = w->strips;
    l->launch->global[1] = parts;
    l->launch->row_dim = 2;
    l->launch->rows_each = wide ? 1 : CHUNK;
    if (wide) {
        l->launch->local[0] = WIDE_LANES;
        l->launch->global[0] *= WIDE_LANES;
    }
    arg_mem(l, bias);
    arg_uint(l, l->wanted);
    arg_in(l, 0);
    arg_out(l, 0);
    arg_uint(l, m->cols);
    arg_uint(l, m->rows / parts);
    arg_uint(l, w->strips);
    arg_ulong(l, w->strip_bytes);
    arg_uint(l, heads ? in_width(l, 0) / parts : m->cols);
    arg_uint(l, heads ? out_width(l, 0) / parts : 0);
    return lowering_end(l, err);
}

int32_t lower_matmul_id(struct lowering *l, struct rz_err *err)
{
    const struct rz_weight *m = matrix_of(l);
    const struct dev_weight *w;
    uint64_t used = in_width(l, 1), rows = out_width(l, 0) / used;
    bool wide = l->plan->cl->wide;
    cl_mem bias;
    int32_t status = plan_weight(l->plan, weight_ref(l, 0), (uint32_t)(m->rows / rows), &w, err);
    if (!status)
        status = vector_of(l, 1, &bias, err);
    if (!status)
        status = begin_matrix(l, w, wide, wide ? "matmul_id_wide" : "matmul_id", err);
    if (status)
        return status;
    l->launch->global[0] = w->strips;
    l->launch->global[1] = wide ? used : w->parts;
    l->launch->row_dim = wide ? 2 : 3;
    if (wide) {
        l->launch->local[0] = WIDE_LANES;
        l->launch->global[0] *= WIDE_LANES;
    }
    arg_mem(l, bias);
    arg_uint(l, l->wanted);
    arg_in(l, 0);
    arg_out(l, 0);
    arg_uint(l, m->cols);
    arg_uint(l, rows);
    arg_uint(l, w->strips);
    arg_ulong(l, w->strip_bytes);
    arg_uint(l, in_width(l, 0) == m->cols ? 0 : m->cols);
    arg_in(l, 1);
    arg_uint(l, used);
    return lowering_end(l, err);
}

/* The matrix may be read by a product too, then in the same form: a table is one part. */
int32_t lower_get_rows(struct lowering *l, struct rz_err *err)
{
    const struct rz_weight *m = matrix_of(l);
    const struct dev_weight *w;
    bool adds = l->node->op != RZ_OP_GET_ROWS;
    int32_t status = plan_weight(l->plan, weight_ref(l, 0), 1, &w, err);
    if (!status)
        status = begin_matrix(l, w, false, "get_rows", err);
    if (status)
        return status;
    l->launch->global[0] = (m->cols + 255) / 256;
    if (adds)
        arg_in(l, 0);
    else
        arg_out(l, 0); /* not read */
    arg_out(l, 0);
    arg_uint(l, m->cols);
    arg_ulong(l, w->strip_bytes);
    arg_uint(l, l->node->op == RZ_OP_GET_ROWS ? 0 : l->node->op == RZ_OP_ADD_POS ? 1 : 2);
    arg_uint(l, l->node->op == RZ_OP_ADD_ROW ? (uint64_t)l->node->attrs[RZ_A_ROW].i : 0);
    arg_uint(l, adds);
    return lowering_end(l, err);
}
