/* recurrent.cu - ops that carry state from row to row: rz/program.h says what they compute.
 *
 * A thread or a warp has its part of the channels for all rows of the step, in their order, so that a row
 * finds what the row before it in its sequence has left. The state is float32 after each row.
 */
#include "cu.h"

static __device__ inline float *state_of(const struct cu_state &s, const struct cu_step *step, uint32_t row)
{
    return s.base + (uint64_t)step->seqs[step->rows[row].seq].slot * s.stride;
}

static __device__ inline float softplus(float x)
{
    return x > 30 ? x : log1pf(expf(x));
}

/* A thread a channel. */
CU_KERNEL_FLAT(convs, cu_conv, CU_THREADS)
{
    uint32_t i = blockIdx.x * CU_THREADS + threadIdx.x;
    cu_begin();
    if (i >= p.width)
        return;
    const float *w = p.w + (uint64_t)i * p.taps;
    for (uint32_t row = 0; row < p.n; row++) {
        float *past = state_of(p.state, p.step, row), x = cu_at(&p.x, row)[i], sum = p.bias ? p.bias[i] : 0;
        for (uint32_t k = 0; k + 1 < p.taps; k++)
            sum = fmaf(w[k], past[(uint64_t)k * p.width + i], sum);
        sum = fmaf(w[p.taps - 1], x, sum);
        cu_at(&p.y, row)[i] = p.silu ? sum / (1 + expf(-sum)) : sum;
        for (uint32_t k = 0; k + 2 < p.taps; k++)
            past[(uint64_t)k * p.width + i] = past[(uint64_t)(k + 1) * p.width + i];
        past[(uint64_t)(p.taps - 2) * p.width + i] = x;
    }
}

/* A warp a channel (head blockIdx.x, element of it blockIdx.y); its threads go along the state. */
CU_KERNEL(scans, cu_scan, CU_WARP)
{
    uint32_t head = blockIdx.x, e = blockIdx.y, group = head / (p.heads / p.groups);
    uint64_t at = (uint64_t)head * p.p_dim + e;
    const float *a = p.a + (uint64_t)head * p.a_cols;
    cu_begin();
    for (uint32_t row = 0; row < p.n; row++) {
        const float *b = cu_at(&p.b, row) + (uint64_t)group * p.n_dim;
        const float *c = cu_at(&p.c, row) + (uint64_t)group * p.n_dim;
        float *s = state_of(p.state, p.step, row) + at * p.n_dim, x = cu_at(&p.x, row)[at], sum = 0;
        float d = softplus(cu_at(&p.dt, row)[head] + (p.bias ? p.bias[head] : 0));
        for (uint32_t n = threadIdx.x; n < p.n_dim; n += CU_WARP) {
            float now = s[n] * expf(d * a[p.a_cols > 1 ? n : 0]) + d * x * b[n];
            s[n] = now;
            sum = fmaf(now, c[n], sum);
        }
        sum = cu_warp_sum(sum);
        if (threadIdx.x == 0)
            cu_at(&p.y, row)[at] = sum + p.d[head] * x;
    }
}

/* q and k of a head, divided by their lengths, into shared memory; the factor of the sum of q. */
static __device__ inline void load_keys(const struct cu_delta &p, uint32_t row, uint32_t mine, float *q,
                                        float *k, float *room)
{
    const float *from = cu_at(&p.x, row) + (uint64_t)mine * p.k_dim;
    const float *keys = from + (uint64_t)p.keys * p.k_dim;
    float qq = 0, kk = 0;
    for (uint32_t i = threadIdx.x; i < p.k_dim; i += blockDim.x) {
        qq = fmaf(from[i], from[i], qq);
        kk = fmaf(keys[i], keys[i], kk);
    }
    qq = cu_block_sum(qq, room);
    kk = cu_block_sum(kk, room);
    float q_factor = 1 / sqrtf(qq + (float)p.eps) / sqrtf((float)p.k_dim),
          k_factor = 1 / sqrtf(kk + (float)p.eps);
    for (uint32_t i = threadIdx.x; i < p.k_dim; i += blockDim.x) {
        q[i] = from[i] * q_factor;
        k[i] = keys[i] * k_factor;
    }
    __syncthreads();
}

/* A block a head; a thread has columns of the state. */
CU_KERNEL(deltas, cu_delta, CU_THREADS)
{
    CU_SHARED(float, q);
    float *k = q + p.k_dim, *room = k + p.k_dim;
    uint32_t head = blockIdx.x, mine = p.striped ? head % p.keys : head / (p.heads / p.keys);
    cu_begin();
    for (uint32_t row = 0; row < p.n; row++) {
        const float *v = cu_at(&p.x, row) + 2 * (uint64_t)p.keys * p.k_dim + (uint64_t)head * p.v_dim;
        float *state = state_of(p.state, p.step, row) + (uint64_t)head * p.k_dim * p.v_dim;
        float decay = expf(softplus(cu_at(&p.dt, row)[head] + p.bias[head]) * p.a[head]);
        float beta = 1 / (1 + expf(-cu_at(&p.b, row)[head]));
        __syncthreads();
        load_keys(p, row, mine, q, k, room);
        for (uint32_t j = threadIdx.x; j < p.v_dim; j += blockDim.x) {
            float known = 0, sum = 0;
            for (uint32_t i = 0; i < p.k_dim; i++)
                known = fmaf(k[i], state[(uint64_t)i * p.v_dim + j] * decay, known);
            float r = beta * (v[j] - known);
            for (uint32_t i = 0; i < p.k_dim; i++) {
                float now = fmaf(k[i], r, state[(uint64_t)i * p.v_dim + j] * decay);
                state[(uint64_t)i * p.v_dim + j] = now;
                sum = fmaf(q[i], now, sum);
            }
            cu_at(&p.y, row)[(uint64_t)head * p.v_dim + j] = sum;
        }
    }
}
