/* elementwise.cl - what treats each element alone, and norms, rope and the weighing of experts.
 *
 * An item is SPAN elements of a row, in whole vectors; of norms a part of a row, of rope a head.
 */
#define SPAN 256
#define FOR_SPAN(i) \
    uint r = get_global_id(1), begin = get_global_id(0) * SPAN, end = min(width, begin + SPAN); \
    for (uint i = begin; i < end; i += 16)

__kernel ALONE void add(__global float *v, uint a_at, uint a_stride, uint b_at, uint b_stride, uint y_at,
                        uint y_stride, uint width)
{
    FOR_SPAN(i)
    vstore16(vload16(0, v + a_at + r * a_stride + i) + vload16(0, v + b_at + r * b_stride + i), 0,
             v + y_at + r * y_stride + i);
}

__kernel ALONE void mul(__global float *v, uint a_at, uint a_stride, uint b_at, uint b_stride, uint y_at,
                        uint y_stride, uint width)
{
    FOR_SPAN(i)
    vstore16(vload16(0, v + a_at + r * a_stride + i) * vload16(0, v + b_at + r * b_stride + i), 0,
             v + y_at + r * y_stride + i);
}

#define ACT_SILU 0
#define ACT_GELU 1
#define ACT_GELU_TANH 2
#define ACT_RELU2 3
#define ACT_XIELU 4

/* p: of xIELU p, n, beta, eps */
inline float16 activation(float16 x, uint act, float4 p)
{
    switch (act) {
    case ACT_GELU:
        return x * 0.5f * erfc(x * -0.70710678f);
    case ACT_GELU_TANH:
        return x / (1 + exp(-1.5957691f * (x + 0.044715f * x * x * x)));
    case ACT_RELU2:
        return fmax(x, 0.0f) * fmax(x, 0.0f);
    case ACT_XIELU:
        return select((expm1(fmin(x, p.w)) - x) * p.y, p.x * x * x, x > 0) + p.z * x;
    default:
        return x / (1 + exp(-x));
    }
}

__kernel ALONE void act(__global float *v, uint x_at, uint x_stride, uint y_at, uint y_stride, uint width,
                        uint kind, float4 p)
{
    FOR_SPAN(i)
    vstore16(activation(vload16(0, v + x_at + r * x_stride + i), kind, p), 0, v + y_at + r * y_stride + i);
}

/* limit > 0: the clamped form of RZ_A_SWIGLU */
__kernel ALONE void act_mul(__global float *v, uint g_at, uint g_stride, uint u_at, uint u_stride, uint y_at,
                            uint y_stride, uint width, uint kind, float limit)
{
    FOR_SPAN(i)
    {
        float16 g = vload16(0, v + g_at + r * g_stride + i), u = vload16(0, v + u_at + r * u_stride + i), y;
        if (limit > 0) {
            g = fmin(g, limit);
            y = g / (1 + exp(-1.702f * g)) * (fmin(fmax(u, -limit), limit) + 1);
        } else {
            y = activation(g, kind, (float4)(0)) * u;
        }
        vstore16(y, 0, v + y_at + r * y_stride + i);
    }
}

/* temperature, factor, soft-cap, clamp; 0: not that one */
__kernel ALONE void map(__global float *v, __global const int *b, uint x_at, uint x_stride, uint y_at,
                        uint y_stride, uint width, float growth, float growth_each, float factor, float cap,
                        float clamp_at)
{
    FOR_SPAN(i)
    {
        float16 x = vload16(0, v + x_at + r * x_stride + i);
        if (growth != 0)
            x *= 1 + growth * log1p(floor((ROW_POS(b, r) + 1) / growth_each));
        x *= factor;
        if (cap > 0)
            x = cap * tanh(x / cap);
        if (clamp_at > 0)
            x = fmin(fmax(x, -clamp_at), clamp_at);
        vstore16(x, 0, v + y_at + r * y_stride + i);
    }
}

/* y = x sigmoid(gate); one: the gate is one number a row */
__kernel ALONE void gate(__global float *v, uint g_at, uint g_stride, uint x_at, uint x_stride, uint y_at,
                         uint y_stride, uint width, uint one)
{
    FOR_SPAN(i)
    {
        float16 g = one ? (float16)(v[g_at + r * g_stride]) : vload16(0, v + g_at + r * g_stride + i);
        vstore16(vload16(0, v + x_at + r * x_stride + i) / (1 + exp(-g)), 0, v + y_at + r * y_stride + i);
    }
}

/* Columns of x from x_at on; wanted: of the rows that want a result */
__kernel ALONE void copy_rows(__global float *v, __global const int *b, uint x_at, uint x_stride, uint y_at,
                              uint y_stride, uint width, uint wanted)
{
    FOR_SPAN(i)
    vstore16(vload16(0, v + x_at + (wanted ? WANTED(b, r) : r) * x_stride + i), 0,
             v + y_at + r * y_stride + i);
}

/* The sum of a row's parts, in the order of choice; without weights as they are. */
__kernel ALONE void sum_id(__global float *v, uint x_at, uint x_stride, uint w_at, uint w_stride, uint y_at,
                           uint y_stride, uint width, uint used, uint weighs)
{
    FOR_SPAN(i)
    {
        float16 sum = 0;
        for (uint k = 0; k < used; k++) {
            float16 x = vload16(0, v + x_at + r * x_stride + k * width + i);
            sum = weighs ? fma(x, (float16)(v[w_at + r * w_stride + k]), sum) : sum + x;
        }
        vstore16(sum, 0, v + y_at + r * y_stride + i);
    }
}

/* An item writes one of the used copies of a row: neighbours may share vectors, so by elements. */
__kernel ALONE void scale_id(__global float *v, uint x_at, uint x_stride, uint w_at, uint w_stride, uint y_at,
                             uint y_stride, uint width)
{
    uint k = get_global_id(0), r = get_global_id(1);
    for (uint i = 0; i < width; i++)
        v[y_at + r * y_stride + k * width + i] = v[x_at + r * x_stride + i] * v[w_at + r * w_stride + k];
}

/* y = (x - mean) / sqrt(mean square + eps) w + bias, of each part alone; mean 0 unless centred */
__kernel ALONE void norm(__global float *v, __global const float *w, __global const float *bias, uint x_at,
                         uint x_stride, uint y_at, uint y_stride, uint width, uint w_width, float eps,
                         uint centred)
{
    uint part = get_global_id(0), r = get_global_id(1), whole = width / 16 * 16;
    __global const float *x = v + x_at + r * x_stride + part * width;
    __global float *y = v + y_at + r * y_stride + part * width;
    float16 sum = 0;
    float mean = 0, square, rest = 0;
    if (centred) {
        for (uint i = 0; i < whole; i += 16)
            sum += vload16(0, x + i);
        for (uint i = whole; i < width; i++)
            rest += x[i];
        mean = (sum16(sum) + rest) / width;
        sum = 0;
        rest = 0;
    }
    for (uint i = 0; i < whole; i += 16) {
        float16 d = vload16(0, x + i) - mean;
        sum = fma(d, d, sum);
    }
    for (uint i = whole; i < width; i++)
        rest = fma(x[i] - mean, x[i] - mean, rest);
    square = 1 / sqrt((sum16(sum) + rest) / width + eps);
    uint at = part * width % w_width;
    for (uint i = 0; i < width; i++) {
        float z = (x[i] - mean) * square;
        if (w)
            z *= w[at];
        if (bias)
            z += bias[at];
        y[i] = z;
        at = at + 1 == w_width ? 0 : at + 1;
    }
}

/* table: of each variant cos [positions][half], then sin. Elements of the head outside of the pairs stay.
 * */
__kernel ALONE void rope(__global float *v, __global const int *b, __global const float *table, uint x_at,
                         uint x_stride, uint y_at, uint y_stride, uint head_dim, uint half_dim, uint first,
                         uint neox, uint positions, uint table_at, uint varies)
{
    uint h = get_global_id(0), r = get_global_id(1), variant = varies ? SEQ_VARIANT(b, ROW_SEQ(b, r)) : 0;
    __global const float *cosine =
        table + table_at + ((ulong)variant * 2 * positions + ROW_POS(b, r)) * half_dim;
    __global const float *sine = cosine + (ulong)positions * half_dim;
    __global const float *x = v + x_at + r * x_stride + h * head_dim;
    __global float *y = v + y_at + r * y_stride + h * head_dim;
    for (uint i = 0; i < first; i++)
        y[i] = x[i];
    for (uint i = first + 2 * half_dim; i < head_dim; i++)
        y[i] = x[i];
    for (uint i = 0; i < half_dim; i++) {
        uint p = first + (neox ? i : 2 * i), q = first + (neox ? i + half_dim : 2 * i + 1);
        float c = cosine[i], s = sine[i], a = x[p], d = x[q];
        y[p] = a * c - d * s;
        y[q] = a * s + d * c;
    }
}
