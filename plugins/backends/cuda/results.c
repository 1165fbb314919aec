/* results.c - what a step gives back: all logits, or the best of a row among -inf; and hidden states. */
#include "cuda.h"

#include "err.h"

#include <math.h>
#include <string.h>

static uint64_t vocab_of(const struct rz_plan *plan)
{
    return rz_value_at(plan->program, (uint32_t)plan->program->logits)->width;
}

/* Stretches of a row, then stretches of what they gave, until one is left; it ends in top_*[last]. */
static uint32_t last_buffer(const struct rz_plan *plan)
{
    uint64_t width = vocab_of(plan);
    uint32_t last = 0;
    for (uint64_t n = (width + CU_TOP_SPAN - 1) / CU_TOP_SPAN; n > 1; last ^= 1)
        n = (n * plan->top_k + CU_TOP_SPAN - 1) / CU_TOP_SPAN;
    return last;
}

void cu_top_run(struct rz_plan *plan)
{
    cudaKernel_t kernel;
    struct cu_top p = {.x = plan->views[plan->program->logits],
                       .n = plan->n_wanted,
                       .width = (uint32_t)vocab_of(plan),
                       .k = plan->top_k};
    plan->status = cu_kernel(plan->device, &kernel, 0, plan->err, "tops");
    for (uint32_t to = 0; !plan->status; to ^= 1) {
        p.stretches = (p.width + CU_TOP_SPAN - 1) / CU_TOP_SPAN;
        p.ids = plan->top_ids[to];
        p.values = plan->top_values[to];
        cu_launch(plan, kernel, (dim3){p.stretches, p.n, 1}, CU_THREADS, CU_THREADS / CU_WARP * 8, &p);
        if (p.stretches == 1)
            return;
        p.width = p.stretches * p.k;
        p.x = (struct cu_view){p.values, p.width};
        p.names = p.ids;
        p.names_stride = p.width;
    }
}

static int32_t fetch(struct rz_plan *plan, void *to, const void *from, uint64_t bytes)
{
    return cu_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, plan->stream),
                    "fetching results", plan->err);
}

static int32_t fetch_logits(struct rz_plan *plan)
{
    const struct cu_view *v = &plan->views[plan->program->logits];
    uint64_t bytes = plan->n_wanted * v->stride * sizeof(float),
             top = (uint64_t)plan->n_wanted * plan->top_k * 4;
    if (!plan->top_k) {
        bool few = plan->n_wanted <= plan->few;
        return fetch(plan, few ? plan->few_logits : plan->many_logits, v->data, bytes);
    }
    uint32_t from = last_buffer(plan);
    int32_t status = fetch(plan, plan->few_ids, plan->top_ids[from], top);
    return status ? status : fetch(plan, plan->few_values, plan->top_values[from], top);
}

/* Only what was shown before is wiped out. */
static void show_top(struct rz_plan *plan)
{
    uint64_t stride = plan->views[plan->program->logits].stride, vocab = vocab_of(plan);
    uint32_t n = plan->n_wanted * plan->top_k;
    for (uint32_t i = 0; i < plan->shown_n; i++)
        plan->top_logits[plan->shown[i]] = -INFINITY;
    for (; plan->blank_rows < plan->n_wanted; plan->blank_rows++)
        for (uint64_t i = 0; i < stride; i++)
            plan->top_logits[plan->blank_rows * stride + i] = -INFINITY;
    plan->shown_n = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (plan->few_ids[i] >= vocab)
            continue;
        uint64_t at = i / plan->top_k * stride + plan->few_ids[i];
        plan->top_logits[at] = plan->few_values[i];
        plan->shown[plan->shown_n++] = at;
    }
}

int32_t cu_results_fetch(struct rz_plan *plan)
{
    const struct rz_program *p = plan->program;
    int32_t status = RZ_OK;
    const struct rz_stage *stage = p->n_stages ? rz_stage_at(p, plan->batch->stage) : NULL;
    for (uint32_t i = 0; stage && i < stage->n_out && !status; i++) {
        int32_t value = rz_stage_out(p, stage, i);
        uint64_t bytes = cu_value_rows(plan, value) * plan->views[value].stride * sizeof(float);
        status = cu_check(cudaMemcpyAsync(plan->batch->outputs[i], plan->views[value].data, bytes,
                                          cudaMemcpyDefault, plan->stream),
                          "handing values on", plan->err);
    }
    if (p->logits >= 0 && plan->wants_logits && plan->n_wanted && plan->last && !status)
        status = fetch_logits(plan);
    if (p->hidden >= 0 && plan->n_wanted && plan->last && !status)
        status = fetch(plan, plan->hidden, plan->views[p->hidden].data,
                       plan->n_wanted * plan->views[p->hidden].stride * sizeof(float));
    return status;
}

void cu_results(struct rz_plan *plan, struct rz_result *out)
{
    const struct rz_program *p = plan->program;
    if (plan->top_k)
        show_top(plan);
    out->n = plan->n_wanted;
    out->logits = p->logits < 0                 ? NULL
                  : plan->top_k                 ? plan->top_logits
                  : plan->n_wanted <= plan->few ? plan->few_logits
                                                : plan->many_logits;
    out->hidden = p->hidden >= 0 ? plan->hidden : NULL;
    out->logits_stride = p->logits >= 0 ? plan->views[p->logits].stride : 0;
    out->hidden_stride = p->hidden >= 0 ? plan->views[p->hidden].stride : 0;
}
