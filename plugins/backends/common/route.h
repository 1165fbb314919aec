/* route.h - RZ_OP_ROUTE for every kernel table: which experts a row chooses, with which weights. No ISA here.
 *
 * In double precision, a tile a row; a choice depends on its row alone, and equal scores fall to the lower
 * number.
 */
#ifndef RZ_ROUTE_H
#define RZ_ROUTE_H

#include <math.h>
#include <rz/kernels.h>
#include <stdbool.h>

#define EXPERTS_MAX 4096

static inline int32_t route_accept(const struct rz_kernel_node *n)
{
    bool bias = n->n_weights && n->weights[0].type != RZ_TYPE_NONE;
    return n->in_width[0] <= EXPERTS_MAX && (!bias || n->weights[0].type == RZ_TYPE_F32);
}

static inline double softmax_sum(const double *x, uint64_t n, double top)
{
    double sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += exp(x[i] - top);
    return sum;
}

static inline uint64_t best_of(const double *x, uint64_t n)
{
    uint64_t best = 0;
    for (uint64_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

/* The sum of the n_best largest of n. */
static inline double rank_of(const double *x, uint64_t n, uint64_t n_best)
{
    double first = -INFINITY, second = -INFINITY;
    for (uint64_t i = 0; i < n; i++) {
        if (x[i] > first) {
            second = first;
            first = x[i];
        } else if (x[i] > second) {
            second = x[i];
        }
    }
    return n_best > 1 && n > 1 ? first + second : first;
}

/* Strikes out the scores of the groups that are not chosen from. */
static inline void keep_groups(const struct rz_attr *a, double *score, uint64_t n)
{
    uint64_t groups = (uint64_t)a[RZ_A_EXPERT_GROUPS].i, size = n / groups,
             out = groups - (uint64_t)a[RZ_A_EXPERT_GROUPS].f;
    double rank[EXPERTS_MAX];
    for (uint64_t g = 0; g < groups; g++)
        rank[g] = -rank_of(score + g * size, size, (uint64_t)a[RZ_A_GROUP_RANK].i);
    for (; out; out--) {
        uint64_t worst = 0; /* of equal ones the last */
        for (uint64_t g = 1; g < groups; g++)
            if (rank[g] >= rank[worst])
                worst = g;
        rank[worst] = -INFINITY;
        for (uint64_t i = worst * size; i < (worst + 1) * size; i++)
            score[i] = -INFINITY;
    }
}

/* One choice of the sparse mixer; the chosen one is struck out. */
static inline uint64_t mix(const float *logits, double *left, uint64_t n, double near, double *weight)
{
    uint64_t best = best_of(left, n);
    double top = left[best], sum = 0;
    for (uint64_t i = 0; i < n; i++)
        if (!((top - (double)logits[i]) / fmax(fabs((double)logits[i]), top) > 2 * near))
            sum += exp(left[i] - top);
    *weight = 1 / sum;
    left[best] = -INFINITY;
    return best;
}

/* Scores of the experts, and the weights of those that are chosen. */
static inline void score_all(const struct rz_kernel_call *c, const float *logits, uint64_t n, double *score,
                             double *weight)
{
    int64_t rule = c->node->attr[RZ_A_ROUTE].i;
    double top, sum;
    for (uint64_t i = 0; i < n; i++)
        weight[i] = (double)logits[i];
    top = weight[best_of(weight, n)];
    sum = softmax_sum(weight, n, top);
    for (uint64_t i = 0; i < n; i++) {
        if (rule == RZ_ROUTE_SOFTMAX)
            weight[i] = exp(weight[i] - top) / sum;
        else if (rule == RZ_ROUTE_SIGMOID)
            weight[i] = 1 / (1 + exp(-weight[i]));
        score[i] = weight[i];
        if (c->node->attr_mask & RZ_ATTR_BIAS)
            score[i] += (double)((const float *)c->node->weights[0].data)[i];
    }
}

static inline void choose(const struct rz_kernel_call *c, const float *logits, uint64_t n, double *chosen)
{
    const struct rz_attr *a = c->node->attr;
    double score[EXPERTS_MAX], weight[EXPERTS_MAX];
    float *ids = c->out[0].data + c->tile * c->out[0].stride;
    score_all(c, logits, n, score, weight);
    if (c->node->attr_mask & RZ_ATTR(RZ_A_EXPERT_GROUPS))
        keep_groups(a, score, n);
    for (uint64_t k = 0; k < c->out[0].width; k++) {
        uint64_t best;
        if (a[RZ_A_ROUTE].i == RZ_ROUTE_SPARSE_MIXER) {
            best = mix(logits, score, n, a[RZ_A_ROUTE].f, &chosen[k]);
        } else {
            best = best_of(score, n);
            chosen[k] = weight[best];
            score[best] = -INFINITY;
        }
        ids[k] = (float)best;
    }
}

static inline int32_t route(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    const struct rz_attr *a = c->node->attr;
    uint64_t used = c->out[0].width, mask = c->node->attr_mask;
    double chosen[EXPERTS_MAX], sum = 0, factor = mask & RZ_ATTR(RZ_A_FACTOR) ? a[RZ_A_FACTOR].f : 1;
    float *weights = c->out[1].data + c->tile * c->out[1].stride;
    choose(c, c->in[0].data + c->tile * c->in[0].stride, c->in[0].width, chosen);
    if (a[RZ_A_ROUTE].i == RZ_ROUTE_SOFTMAX_CHOSEN) {
        double top = chosen[best_of(chosen, used)], all = softmax_sum(chosen, used, top);
        for (uint64_t k = 0; k < used; k++)
            chosen[k] = exp(chosen[k] - top) / all;
    }
    for (uint64_t k = 0; k < used; k++)
        sum += chosen[k];
    if (mask & RZ_ATTR(RZ_A_RENORM))
        factor /= sum + a[RZ_A_RENORM].f;
    for (uint64_t k = 0; k < used; k++)
        weights[k] = (float)(chosen[k] * factor);
    return RZ_OK;
}

#endif
