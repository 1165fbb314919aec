/* wide_kv.cl - attention for devices that run many items side by side, behind kv.cl: a work-group of 64
 * for a head of a row. An item scores every 64th key of a split of 256, then sums every 64th element of
 * the values; splits are merged in order.
 */
#define LANES 64

inline float team_best(float x, __local float *room)
{
    uint l = get_local_id(0);
    room[l] = x;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint half_of = LANES / 2; half_of; half_of /= 2) {
        if (l < half_of)
            room[l] = fmax(room[l], room[l + half_of]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    float best = room[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return best;
}

inline float team_sum(float x, __local float *room)
{
    uint l = get_local_id(0);
    room[l] = x;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint half_of = LANES / 2; half_of; half_of /= 2) {
        if (l < half_of)
            room[l] += room[l + half_of];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    float sum = room[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return sum;
}

#define MINE ((V_DIM + LANES - 1) / LANES) /* elements of the result that an item has */

__kernel __attribute__((reqd_work_group_size(LANES, 1, 1))) void
attention_wide(__global float *v, __global const int *b, KV_ARGS, uint q_at, uint q_stride, uint y_at,
               uint y_stride, SCORE_ARGS)
{
    __local float score[SPLIT], room[LANES];
    uint head = get_group_id(0), r = get_group_id(1), l = get_local_id(0), s = ROW_SEQ(b, r),
         pos = ROW_POS(b, r);
    uint first, end;
    __global const float *q = v + q_at + r * q_stride + head * K_DIM;
    float slope = alibi_slope(alibi, head, n_head), top = -INFINITY, sum = 0, y[MINE];
    kv += layer_at + head / (n_head / n_kv) * head_bytes;
    seen(b, s, pos, window, chunk, both, &first, &end);
    for (uint d = 0; d < MINE; d++)
        y[d] = 0;
    for (uint split = first / SPLIT * SPLIT; split < end; split += SPLIT) {
        uint from = max(first, split), to = min(end, split + SPLIT);
        float best = -INFINITY, all = 0;
        for (uint i = split + l; i < split + SPLIT; i += LANES) {
            float x = -INFINITY;
            if (i >= from && i < to) {
                x = score_of(
                    q, kv + (ulong)PAGE(b, s, group, i / T) * page_bytes + (ulong)(i % T) * ROW_BYTES(K_DIM),
                    scale, cap, slope, pos, i);
                best = fmax(best, x);
            }
            score[i - split] = x;
        }
        best = fmax(team_best(best, room), top);
        for (uint i = l; i < SPLIT; i += LANES) {
            score[i] = exp(score[i] - best);
            all += score[i];
        }
        float keep = exp(top - best);
        sum = fma(sum, keep, team_sum(all, room));
        top = best;
        for (uint d = 0; d < MINE; d++)
            y[d] *= keep;
        for (uint i = from; i < to; i++) {
            __global const uchar *value = kv + (ulong)PAGE(b, s, group, i / T) * page_bytes + value_at +
                                          (ulong)(i % T) * ROW_BYTES(VALUE_DIM);
            for (uint d = 0; d < MINE; d++)
                if (d * LANES + l < V_DIM)
                    y[d] = fma(load1(value, d * LANES + l), score[i - split], y[d]);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    float factor = sink_factor(sinks, head, top, &sum);
    for (uint d = 0; d < MINE; d++)
        if (d * LANES + l < V_DIM)
            v[y_at + r * y_stride + head * V_DIM + d * LANES + l] = y[d] * factor / sum;
}
