/* route.cl - which experts a row chooses, with which weights: RZ_OP_ROUTE. An item is a row; N is how many
 * experts there are. Equal scores fall to the lower number.
 */
#define SOFTMAX 0
#define SIGMOID 1
#define SOFTMAX_CHOSEN 2
#define SPARSE_MIXER 3

inline uint best_of(const float *x, uint n)
{
    uint best = 0;
    for (uint i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

/* The sum of the n_best (1 or 2) largest. */
inline float rank_of(const float *x, uint n, uint n_best)
{
    float first = -INFINITY, second = -INFINITY;
    for (uint i = 0; i < n; i++)
        if (x[i] > first) {
            second = first;
            first = x[i];
        } else if (x[i] > second) {
            second = x[i];
        }
    return n_best > 1 && n > 1 ? first + second : first;
}

/* Strikes out the scores of all groups but the `kept` that rank best; of equal ones the last goes first. */
inline void keep_groups(float *score, uint groups, uint kept, uint n_best)
{
    float rank[N];
    uint size = N / groups;
    for (uint g = 0; g < groups; g++)
        rank[g] = -rank_of(score + g * size, size, n_best);
    for (uint out = groups - kept; out; out--) {
        uint worst = 0;
        for (uint g = 1; g < groups; g++)
            if (rank[g] >= rank[worst])
                worst = g;
        rank[worst] = -INFINITY;
        for (uint i = worst * size; i < (worst + 1) * size; i++)
            score[i] = -INFINITY;
    }
}

/* One choice of the sparse mixer: its share among the logits that are left and near it. */
inline float mix(__global const float *logits, const float *left, uint best, float near)
{
    float top = left[best], sum = 0;
    for (uint i = 0; i < N; i++)
        if (!((top - logits[i]) / fmax(fabs(logits[i]), top) > 2 * near))
            sum += exp(left[i] - top);
    return 1 / sum;
}

inline void score_all(__global const float *logits, __global const float *bias, uint rule, float *score,
                      float *weight)
{
    float sum = 0;
    for (uint i = 0; i < N; i++)
        weight[i] = logits[i];
    float top = weight[best_of(weight, N)];
    for (uint i = 0; i < N && rule == SOFTMAX; i++)
        sum += exp(weight[i] - top);
    for (uint i = 0; i < N; i++) {
        if (rule == SOFTMAX)
            weight[i] = exp(weight[i] - top) / sum;
        else if (rule == SIGMOID)
            weight[i] = sigmoid(weight[i]);
        score[i] = bias ? weight[i] + bias[i] : weight[i];
    }
}

/* factor 0: none; renorm < 0: none; groups 0: none */
__kernel ALONE void route(__global float *v, __global const float *bias, uint x_at, uint x_stride,
                          uint ids_at, uint ids_stride, uint w_at, uint w_stride, uint used, uint rule,
                          float near, uint groups, uint kept, uint n_best, float renorm, float factor)
{
    uint r = get_global_id(1);
    __global const float *logits = v + x_at + r * x_stride;
    __global float *ids = v + ids_at + r * ids_stride, *out = v + w_at + r * w_stride;
    float score[N], weight[N], sum = 0;
    score_all(logits, bias, rule, score, weight);
    if (groups)
        keep_groups(score, groups, kept, n_best);
    for (uint k = 0; k < used; k++) {
        uint best = best_of(score, N);
        ids[k] = best;
        out[k] = rule == SPARSE_MIXER ? mix(logits, score, best, near) : weight[best];
        score[best] = -INFINITY;
    }
    if (rule == SOFTMAX_CHOSEN) {
        float top = out[0], all = 0;
        for (uint k = 1; k < used; k++)
            top = fmax(top, out[k]);
        for (uint k = 0; k < used; k++)
            all += exp(out[k] - top);
        for (uint k = 0; k < used; k++)
            out[k] = exp(out[k] - top) / all;
    }
    for (uint k = 0; k < used; k++)
        sum += out[k];
    if (renorm >= 0)
        factor /= sum + renorm;
    for (uint k = 0; k < used; k++)
        out[k] *= factor;
}
