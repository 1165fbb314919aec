/* wide.cl - the same as matmul.cl and norm, for devices that run many items side by side: a work-group of
 * 64 for a strip of a matrix and a row of x, or for a part of a row. Sums meet in local memory, in an
 * order that depends on the width alone.
 *
 * Item l has row l % 16 of the strip, so that neighbours read neighbouring bytes, and groups l / 16, l /
 * 16 + 4, ... of its columns.
 */
#define LANES 64
#define TEAM __attribute__((reqd_work_group_size(LANES, 1, 1)))
#define PARTS (LANES / 16)
#define BLOCK 8 /* columns that a part has in turn, where the form has no groups */

#ifdef FORM
/* The sum of the item's columns. */
inline float part_of(__global const uchar *w, uint cols, __global const float *x, uint row, uint part)
{
    float sum = 0;
#if FORM <= BF16
    for (uint first = part * BLOCK; first < cols; first += PARTS * BLOCK)
        for (uint c = first; c < min(cols, first + BLOCK); c++)
            sum = fma(ELEMENT(w, row, c), x[c], sum);
#else
    for (uint c = part * GROUP; c < cols; c += PARTS * GROUP) {
        __global const uchar *g = w + c / GROUP * GROUP_BYTES, *q = g + HEAD_BYTES + row;
        float dot = 0, all = 0;
#if FORM == Q4
        for (uint j = 0; j < 16; j++) {
            uchar both = q[j * 16];
            dot = fma((float)(both & 15), x[c + 2 * j], dot);
            dot = fma((float)(both >> 4), x[c + 2 * j + 1], dot);
            all += x[c + 2 * j] + x[c + 2 * j + 1];
        }
        sum = fma(PARAM1(g, row), dot, sum);
        sum = fma(PARAM1(g, 16 + row), all, sum);
#else
        for (uint j = 0; j < GROUP; j++) {
            dot = fma((float)(char)q[j * 16], x[c + j], dot);
            all += x[c + j];
        }
        sum = fma(PARAM1(g, row), dot, sum);
#if MINIMA
        sum = fma(PARAM1(g, 16 + row), all, sum);
#endif
#endif
    }
#endif
    return sum;
}

/* One row of the strip times x; the first 16 items have the results. */
inline float team_dot(__global const uchar *w, uint cols, __global const float *x, __local float *sums)
{
    uint l = get_local_id(0);
    sums[l] = part_of(w, cols, x, l % 16, l / 16);
    barrier(CLK_LOCAL_MEM_FENCE);
    return l < 16 ? (sums[l] + sums[l + 16]) + (sums[l + 32] + sums[l + 48]) : 0;
}

__kernel TEAM void matmul_wide(__global const uchar *w, __global float *v, __global const int *b,
                               __global const float *bias, uint count_at, uint x_at, uint x_stride, uint y_at,
                               uint y_stride, uint cols, uint rows, uint strips, ulong strip_bytes,
                               uint x_part, uint y_part)
{
    __local float sums[LANES];
    uint strip = get_group_id(0), part = get_group_id(1), r = get_group_id(2), l = get_local_id(0);
    __global const float *x = v + x_at + r * x_stride + part * x_part;
    __global float *y = v + y_at + r * y_stride + part * y_part;
    float sum = team_dot(w + (part * strips + strip) * strip_bytes, cols, x, sums);
    uint row = strip * 16 + l;
    if (l < 16 && row < rows)
        y[row] = bias ? sum + bias[row] : sum;
    for (uint i = cols + l; i < x_part && strip == 0; i += LANES)
        y[rows + i - cols] = x[i];
}

/* A work-group has choice get_group_id(1) of a row. */
__kernel TEAM void matmul_id_wide(__global const uchar *w, __global float *v, __global const int *b,
                                  __global const float *bias, uint count_at, uint x_at, uint x_stride,
                                  uint y_at, uint y_stride, uint cols, uint rows, uint strips,
                                  ulong strip_bytes, uint x_step, uint ids_at, uint ids_stride, uint used)
{
    __local float sums[LANES];
    uint strip = get_group_id(0), k = get_group_id(1), r = get_group_id(2), l = get_local_id(0);
    uint expert = (uint)v[ids_at + r * ids_stride + k], row = strip * 16 + l;
    float sum = team_dot(w + (expert * strips + strip) * strip_bytes, cols,
                         v + x_at + r * x_stride + k * x_step, sums);
    if (l < 16 && row < rows)
        v[y_at + r * y_stride + k * rows + row] = bias ? sum + bias[expert * rows + row] : sum;
}
#else

/* The sum over the work-group, for all of it. */
inline float team_sum(float x, __local float *sums)
{
    uint l = get_local_id(0);
    barrier(CLK_LOCAL_MEM_FENCE);
    sums[l] = x;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint half_of = LANES / 2; half_of; half_of /= 2) {
        if (l < half_of)
            sums[l] += sums[l + half_of];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    return sums[0];
}

__kernel TEAM void norm_wide(__global float *v, __global const float *w, __global const float *bias,
                             uint x_at, uint x_stride, uint y_at, uint y_stride, uint width, uint w_width,
                             float eps, uint centred)
{
    __local float sums[LANES];
    uint part = get_group_id(0), r = get_group_id(1), l = get_local_id(0);
    __global const float *x = v + x_at + r * x_stride + part * width;
    __global float *y = v + y_at + r * y_stride + part * width;
    float sum = 0, mean = 0;
    for (uint i = l; i < width && centred; i += LANES)
        sum += x[i];
    if (centred)
        mean = team_sum(sum, sums) / width;
    sum = 0;
    for (uint i = l; i < width; i += LANES)
        sum = fma(x[i] - mean, x[i] - mean, sum);
    float factor = 1 / sqrt(team_sum(sum, sums) / width + eps);
    for (uint i = l; i < width; i += LANES) {
        float z = (x[i] - mean) * factor;
        uint at = (part * width + i) % w_width;
        if (w)
            z *= w[at];
        y[i] = bias ? z + bias[at] : z;
    }
}
#endif
