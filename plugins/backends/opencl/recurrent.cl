/* recurrent.cl - ops that carry state from row to row: an item walks all rows of the step in their order
 * for its channel or head, so that a row finds what the row before it in its sequence has left.
 * rz/program.h has the equations.
 */
#define STATE(b, r) (state + (ulong)SEQ_SLOT(b, ROW_SEQ(b, r)) * slot_floats)

/* An item is a channel. State: [taps - 1][width] */
__kernel ALONE void conv(__global float *v, __global const int *b, __global float *state, ulong slot_floats,
                         uint state_at, __global const float *w, __global const float *bias, uint x_at,
                         uint x_stride, uint y_at, uint y_stride, uint width, uint taps, uint silu)
{
    uint i = get_global_id(0);
    state += state_at + i;
    w += i * taps;
    for (uint r = 0; r < N_ROWS(b); r++) {
        __global float *past = STATE(b, r);
        float sum = bias ? bias[i] : 0, x = v[x_at + r * x_stride + i];
        for (uint k = 0; k + 1 < taps; k++)
            sum = fma(w[k], past[k * width], sum);
        sum = fma(w[taps - 1], x, sum);
        v[y_at + r * y_stride + i] = silu ? sum * sigmoid(sum) : sum;
        for (uint k = 0; k + 2 < taps; k++)
            past[k * width] = past[(k + 1) * width];
        past[(taps - 2) * width] = x;
    }
}

/* An item is a channel p of a head. State: [head][p][n] */
__kernel ALONE void scan(__global float *v, __global const int *b, __global float *state, ulong slot_floats,
                         uint state_at, __global const float *a, __global const float *d_skip,
                         __global const float *dt_bias, uint x_at, uint x_stride, uint dt_at, uint dt_stride,
                         uint b_at, uint b_stride, uint c_at, uint c_stride, uint y_at, uint y_stride,
                         uint p_dim, uint n_dim, uint group_heads, uint a_cols)
{
    uint p = get_global_id(0), head = get_global_id(1), group = head / group_heads, i = head * p_dim + p;
    state += state_at + i * n_dim;
    a += head * a_cols;
    for (uint r = 0; r < N_ROWS(b); r++) {
        __global float *s = STATE(b, r);
        __global const float *bs = v + b_at + r * b_stride + group * n_dim;
        __global const float *cs = v + c_at + r * c_stride + group * n_dim;
        float x = v[x_at + r * x_stride + i], sum = 0;
        float d = softplus(v[dt_at + r * dt_stride + head] + (dt_bias ? dt_bias[head] : 0));
        float one = a_cols > 1 ? 0 : exp(d * a[0]);
        for (uint n = 0; n < n_dim; n++) {
            float decay = a_cols > 1 ? exp(d * a[n]) : one;
            s[n] = s[n] * decay + d * x * bs[n];
            sum = fma(s[n], cs[n], sum);
        }
        v[y_at + r * y_stride + i] = fma(d_skip[head], x, sum);
    }
}

inline float norm_factor(__global const float *x, uint n, float eps)
{
    float sum = 0;
    for (uint i = 0; i < n; i++)
        sum = fma(x[i], x[i], sum);
    return 1 / sqrt(sum + eps);
}

/* An item is up to 16 columns j of a head. State: [head][k][v] */
__kernel ALONE void delta(__global float *v, __global const int *b, __global float *state, ulong slot_floats,
                          uint state_at, __global const float *a, __global const float *dt_bias, uint x_at,
                          uint x_stride, uint dt_at, uint dt_stride, uint beta_at, uint beta_stride,
                          uint y_at, uint y_stride, uint keys, uint k_dim, uint v_dim, uint heads,
                          uint striped, float eps)
{
    uint begin = get_global_id(0) * 16, n = min(16u, v_dim - begin), head = get_global_id(1);
    uint mine = striped ? head % keys : head / (heads / keys);
    state += state_at + head * k_dim * v_dim + begin;
    for (uint r = 0; r < N_ROWS(b); r++) {
        __global float *s = STATE(b, r);
        __global const float *q = v + x_at + r * x_stride + mine * k_dim, *k = q + keys * k_dim;
        __global const float *value = v + x_at + r * x_stride + 2 * keys * k_dim + head * v_dim + begin;
        float decay = exp(softplus(v[dt_at + r * dt_stride + head] + dt_bias[head]) * a[head]);
        float beta = sigmoid(v[beta_at + r * beta_stride + head]), k_factor = norm_factor(k, k_dim, eps);
        float q_factor = norm_factor(q, k_dim, eps) / sqrt((float)k_dim), known[16], sum[16];
        for (uint j = 0; j < 16; j++)
            known[j] = sum[j] = 0;
        for (uint i = 0; i < k_dim; i++)
            for (uint j = 0; j < n; j++)
                known[j] = fma(k[i] * k_factor, s[i * v_dim + j] * decay, known[j]);
        for (uint j = 0; j < n; j++)
            known[j] = beta * (value[j] - known[j]);
        for (uint i = 0; i < k_dim; i++)
            for (uint j = 0; j < n; j++) {
                float x = fma(k[i] * k_factor, known[j], s[i * v_dim + j] * decay);
                s[i * v_dim + j] = x;
                sum[j] = fma(q[i] * q_factor, x, sum[j]);
            }
        for (uint j = 0; j < n; j++)
            v[y_at + r * y_stride + head * v_dim + begin + j] = sum[j];
    }
}
