/* top.cu - the largest values of a row: the k best of each stretch, and again of those, until one is left.
 *
 * Of equal values the one with the lower number is better, as in a stable sort.
 */
#include "cu.h"

#define EACH (CU_TOP_SPAN / CU_THREADS)
#define NONE 0xffffffffu

CU_KERNEL(tops, cu_top, CU_THREADS)
{
    CU_SHARED(float, values);
    uint32_t *names = (uint32_t *)(values + CU_THREADS / CU_WARP), row = blockIdx.y;
    uint32_t warp = threadIdx.x / CU_WARP, from = blockIdx.x * CU_TOP_SPAN, name[EACH];
    float v[EACH];
    cu_begin();
    for (int j = 0; j < EACH; j++) {
        uint32_t i = from + j * CU_THREADS + threadIdx.x;
        bool in = i < p.width;
        v[j] = in ? cu_at(&p.x, row)[i] : -CUDART_INF_F;
        name[j] = !in ? NONE : p.names ? p.names[row * p.names_stride + i] : i;
    }
    uint64_t out = ((uint64_t)row * p.stretches + blockIdx.x) * p.k;
    for (uint32_t k = 0; k < p.k; k++) {
        float best = -CUDART_INF_F;
        uint32_t who = NONE;
        for (int j = 0; j < EACH; j++)
            if (v[j] > best || (v[j] == best && name[j] < who)) {
                best = v[j];
                who = name[j];
            }
        who = cu_warp_best(&best, who);
        __syncthreads();
        if (threadIdx.x % CU_WARP == 0) {
            values[warp] = best;
            names[warp] = who;
        }
        __syncthreads();
        for (uint32_t w = 0; w < CU_THREADS / CU_WARP; w++)
            if (values[w] > best || (values[w] == best && names[w] < who)) {
                best = values[w];
                who = names[w];
            }
        for (int j = 0; j < EACH; j++)
            if (name[j] == who) {
                v[j] = -CUDART_INF_F;
                name[j] = NONE;
            }
        if (threadIdx.x == 0) {
            p.ids[out + k] = who;
            p.values[out + k] = best;
        }
    }
}
