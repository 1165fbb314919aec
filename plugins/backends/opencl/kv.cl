/* kv.cl - keys and values in pages, and attention over them. KV: element type; K_DIM, V_DIM, T: positions
 * of a page.
 *
 * A page holds for each layer and head T rows of K_DIM elements, then, unless LATENT, T rows of V_DIM.
 * LATENT: values are the first V_DIM elements of the keys. Keys are summed in splits of 256 absolute
 * positions, merged in order; a position outside of what a query sees has weight 0 in its split.
 */
#define KV_F32 0
#define KV_F16 1
#define KV_BF16 30
#define KV_Q8 8
#define SPLIT 256

#if KV == KV_Q8
#define ROW_BYTES(dim) ((dim) + ((dim) + 31) / 32 * 2)
#elif KV == KV_F32
#define ROW_BYTES(dim) ((dim)*4)
#else
#define ROW_BYTES(dim) ((dim)*2)
#endif
#define VALUE_DIM (LATENT ? K_DIM : V_DIM)

/* What one layer's KV looks like to a kernel; bytes */
#define KV_ARGS \
    __global uchar *kv, ulong page_bytes, ulong layer_at, ulong head_bytes, ulong value_at, uint group

inline float load1(__global const uchar *row, uint i)
{
#if KV == KV_F32
    return ((__global const float *)row)[i];
#elif KV == KV_F16
    return vload_half(i, (__global const half *)row);
#elif KV == KV_BF16
    return bf16_1(((__global const ushort *)row)[i]);
#else
    __global const uchar *block = row + i / 32 * 34;
    return vload_half(0, (__global const half *)block) * (float)(char)block[2 + i % 32];
#endif
}

/* Elements i..i+15; i is a multiple of 16. */
inline float16 load16(__global const uchar *row, uint i)
{
#if KV == KV_F32
    return vload16(0, (__global const float *)row + i);
#elif KV == KV_F16
    return vload_half16(0, (__global const half *)row + i);
#elif KV == KV_BF16
    return bf16_16(vload16(0, (__global const ushort *)row + i));
#else
    __global const uchar *block = row + i / 32 * 34;
    return vload_half(0, (__global const half *)block) *
           convert_float16(as_char16(vload16(0, block + 2 + i % 32)));
#endif
}

inline void store_row(__global uchar *row, __global const float *x, uint from, uint n)
{
#if KV == KV_F32
    for (uint i = 0; i < n; i++)
        ((__global float *)row)[from + i] = x[i];
#elif KV == KV_F16
    for (uint i = 0; i < n; i++)
        vstore_half_rte(x[i], from + i, (__global half *)row);
#elif KV == KV_BF16
    for (uint i = 0; i < n; i++)
        ((__global ushort *)row)[from + i] = to_bf16(x[i]);
#endif
}

#if KV == KV_Q8
/* Element i of a row that lies in two parts. */
#define PART(i) ((i) < n_first ? first[i] : second[(i)-n_first])
inline void store_q8(__global uchar *row, __global const float *first, uint n_first,
                     __global const float *second, uint n)
{
    for (uint at = 0; at < n; at += 32) {
        uint end = min(n, at + 32);
        float largest = 0;
        for (uint i = at; i < end; i++)
            largest = fmax(largest, fabs(PART(i)));
        __global uchar *block = row + at / 32 * 34;
        vstore_half_rte(largest / 127, 0, (__global half *)block);
        float scale = vload_half(0, (__global const half *)block);
        for (uint i = at; i < end; i++)
            block[2 + i - at] =
                (uchar)(char)(scale > 0 ? fmin(fmax(rint(PART(i) / scale), -127.0f), 127.0f) : 0);
    }
}
#endif

/* An item is a KV head of a row. LATENT: the row of the cache is k, then v. */
__kernel ALONE void kv_store(__global float *v, __global const int *b, KV_ARGS, uint k_at, uint k_stride,
                             uint v_at, uint v_stride)
{
    uint h = get_global_id(0), r = get_global_id(1), pos = ROW_POS(b, r);
    int page = PAGE(b, ROW_SEQ(b, r), group, pos / T);
    __global uchar *at = kv + (ulong)page * page_bytes + layer_at + h * head_bytes;
    __global uchar *key = at + (ulong)(pos % T) * ROW_BYTES(K_DIM);
    __global const float *k = v + k_at + r * k_stride, *value = v + v_at + r * v_stride;
#if LATENT && KV == KV_Q8
    store_q8(key, k, V_DIM, value, K_DIM);
#elif LATENT
    store_row(key, k, 0, V_DIM);
    store_row(key, value, V_DIM, K_DIM - V_DIM);
#elif KV == KV_Q8
    store_q8(key, k + h * K_DIM, K_DIM, k, K_DIM);
    store_q8(at + value_at + (ulong)(pos % T) * ROW_BYTES(V_DIM), value + h * V_DIM, V_DIM, k, V_DIM);
#else
    store_row(key, k + h * K_DIM, 0, K_DIM);
    store_row(at + value_at + (ulong)(pos % T) * ROW_BYTES(V_DIM), value + h * V_DIM, 0, V_DIM);
#endif
}

/* What a query sees, and how scores become weights. */
#define SCORE_ARGS \
    uint n_head, uint n_kv, float scale, float cap, float alibi, uint window, uint chunk, uint both, \
        __global const float *sinks

/* Press et al. 2021, arXiv:2108.12409, with their rule for head counts that are no power of two. */
inline float alibi_slope(float most, uint head, uint n_head)
{
    uint power = 1;
    if (most <= 0)
        return 0;
    while (power * 2 <= n_head)
        power *= 2;
    if (head < power)
        return exp2(-most * (head + 1) / power);
    return exp2(-most * (2 * (head - power) + 1) / (2 * power));
}

/* Positions first..end-1 are seen by the query at pos. */
inline void seen(__global const int *b, uint s, uint pos, uint window, uint chunk, uint both, uint *first,
                 uint *end)
{
    bool ahead = both && SEQ_ALL(b, s);
    *first = window && pos + 1 > window ? pos + 1 - window : 0;
    if (chunk && pos - pos % chunk > *first)
        *first = pos - pos % chunk;
    *end = min((uint)SEQ_LENGTH(b, s), ahead ? (window ? pos + window : UINT_MAX) : pos + 1);
}

inline float dot_key(__global const float *q, __global const uchar *key)
{
    float16 sum = 0;
    float rest = 0;
    for (uint i = 0; i < K_DIM / 16 * 16; i += 16)
        sum = fma(vload16(0, q + i), load16(key, i), sum);
    for (uint i = K_DIM / 16 * 16; i < K_DIM; i++)
        rest = fma(q[i], load1(key, i), rest);
    return sum16(sum) + rest;
}

/* The score of position i for the query at pos. */
inline float score_of(__global const float *q, __global const uchar *key, float scale, float cap, float slope,
                      uint pos, uint i)
{
    float x = dot_key(q, key) * scale;
    if (cap > 0)
        x = cap * tanh(x / cap);
    return x - slope * fabs((float)pos - (float)i);
}

/* A sink is a score without a value: it takes its share of the sum. Returns the factor of what was summed.
 * */
inline float sink_factor(__global const float *sinks, uint head, float top, float *sum)
{
    if (!sinks)
        return 1;
    float best = fmax(sinks[head], top), factor = exp(top - best);
    *sum = *sum * factor + exp(sinks[head] - best);
    return factor;
}

#define V_WHOLE (V_DIM / 16)
#define V_REST (V_DIM % 16)

/* An item is a head of a row. */
__kernel ALONE void attention(__global float *v, __global const int *b, KV_ARGS, uint q_at, uint q_stride,
                              uint y_at, uint y_stride, SCORE_ARGS)
{
    uint head = get_global_id(0), r = get_global_id(1), s = ROW_SEQ(b, r), pos = ROW_POS(b, r), first, end;
    __global const float *q = v + q_at + r * q_stride + head * K_DIM;
    float slope = alibi_slope(alibi, head, n_head), top = -INFINITY, sum = 0, score[SPLIT], rest[V_REST + 1];
    float16 y[V_WHOLE + 1];
    kv += layer_at + head / (n_head / n_kv) * head_bytes;
    seen(b, s, pos, window, chunk, both, &first, &end);
    for (uint d = 0; d < V_WHOLE; d++)
        y[d] = 0;
    for (uint d = 0; d < V_REST; d++)
        rest[d] = 0;
    for (uint split = first / SPLIT * SPLIT; split < end; split += SPLIT) {
        uint from = max(first, split), to = min(end, split + SPLIT), n = (to - split + 15) / 16 * 16;
        float best = -INFINITY;
        for (uint i = split; i < from; i++)
            score[i - split] = -INFINITY;
        for (uint i = to; i < split + n; i++)
            score[i - split] = -INFINITY;
        for (uint i = from; i < to; i++) {
            __global const uchar *page = kv + (ulong)PAGE(b, s, group, i / T) * page_bytes;
            float x = score_of(q, page + (ulong)(i % T) * ROW_BYTES(K_DIM), scale, cap, slope, pos, i);
            score[i - split] = x;
            best = fmax(best, x);
        }
        best = fmax(best, top);
        float keep = exp(top - best);
        float16 all = 0;
        for (uint i = 0; i < n; i += 16) {
            float16 w = exp(vload16(0, score + i) - best);
            vstore16(w, 0, score + i);
            all += w;
        }
        sum = fma(sum, keep, sum16(all));
        top = best;
        for (uint d = 0; d < V_WHOLE; d++)
            y[d] *= keep;
        for (uint d = 0; d < V_REST; d++)
            rest[d] *= keep;
        for (uint i = from; i < to; i++) {
            __global const uchar *value = kv + (ulong)PAGE(b, s, group, i / T) * page_bytes + value_at +
                                          (ulong)(i % T) * ROW_BYTES(VALUE_DIM);
            float w = score[i - split];
            for (uint d = 0; d < V_WHOLE; d++)
                y[d] = fma(load16(value, 16 * d), (float16)(w), y[d]);
            for (uint d = 0; d < V_REST; d++)
                rest[d] = fma(load1(value, 16 * V_WHOLE + d), w, rest[d]);
        }
    }
    float factor = sink_factor(sinks, head, top, &sum);
    __global float *out = v + y_at + r * y_stride + head * V_DIM;
    for (uint d = 0; d < V_WHOLE; d++)
        vstore16(y[d] * factor / sum, d, out);
    for (uint d = 0; d < V_REST; d++)
        out[16 * V_WHOLE + d] = rest[d] * factor / sum;
}
