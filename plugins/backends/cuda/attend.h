/* attend.h - which keys a row sees, and what a head adds to a score or to a sum; for all of attention. */
#ifndef RZ_CUDA_ATTEND_H
#define RZ_CUDA_ATTEND_H

#include "kv.h"

/* The keys from..to-1 that a row sees. */
static __device__ inline void cu_seen(const struct cu_attend &p, const struct cu_row *r, uint64_t *from,
                                      uint64_t *to)
{
    const struct cu_seq *s = &p.step->seqs[r->seq];
    uint64_t window = p.window ? p.window : 0xffffffffull, pos = (uint64_t)r->pos;
    *from = pos + 1 > window ? pos + 1 - window : 0;
    if (p.chunk && pos - pos % p.chunk > *from)
        *from = pos - pos % p.chunk;
    *to = pos + (p.both && s->mask ? window : 1);
    if (*to > s->length)
        *to = s->length;
}

static __device__ inline float cu_slope(const struct cu_attend &p, uint32_t head)
{
    uint32_t power = 1;
    if (p.alibi == 0)
        return 0;
    while (power * 2 <= p.heads)
        power *= 2;
    if (head < power)
        return exp2f(-p.alibi * (float)(head + 1) / (float)power);
    return exp2f(-p.alibi * (float)(2 * (head - power) + 1) / (float)(2 * power));
}

/* What the sink of a head does to a sum: its share of the weights, and none of the values. */
static __device__ inline float cu_sink(const struct cu_attend &p, uint32_t head, float *top, float *sum)
{
    float keep = 1, s = p.sinks ? p.sinks[head] : 0, before = *top;
    if (!p.sinks)
        return 1;
    *top = fmaxf(s, before);
    keep = before == -CUDART_INF_F ? 0 : expf(before - *top);
    *sum = *sum * keep + expf(s - *top);
    return keep;
}

/* The tensor cores take the rows of runs this long, where the launch says so. */
static __device__ inline bool cu_is_prompt(const struct cu_attend &p, const struct cu_row *r)
{
    return p.run && r->run >= p.run;
}

#endif
