/* kv_store.h - what is stored in KV pages: keys in blocks of eight positions (RZ_KV_LAYOUT_T8), values in
 * rows.
 */
#ifndef RZ_X86_KV_STORE_H
#define RZ_X86_KV_STORE_H

#include "vec.h"
#include "x86.h"

static void put(const struct rz_kv_view *v, uint8_t *at, uint64_t index, float x)
{
    if (v->type == RZ_TYPE_F32)
        ((float *)at)[index] = x;
    else
        ((uint16_t *)at)[index] =
            (uint16_t)_mm_cvtsi128_si32(_mm_cvtps_ph(_mm_set_ss(x), _MM_FROUND_TO_NEAREST_INT));
}

void attention_store_row(const struct rz_kernel_call *c, uint32_t row, const float *k, const float *v)
{
    const struct rz_attr *a = c->node->attr;
    const struct rz_kv_view *kv = &c->step->kv[a[RZ_A_KV_GROUP].i];
    const struct rz_batch_row *r = &c->step->rows[row];
    uint64_t pos = (uint64_t)r->pos[0], slot = pos % kv->page_tokens, dim = kv->k_dim;
    int32_t page = c->step->seqs[r->seq].pages[a[RZ_A_KV_GROUP].i][pos / kv->page_tokens];
    for (uint64_t h = 0; h < kv->n_heads; h++) {
        uint8_t *at = kv->base + (uint64_t)page * kv->page_bytes +
                      (uint64_t)a[RZ_A_KV_LAYER].i * kv->layer_bytes + h * kv->head_bytes;
        for (uint64_t d = 0; d < dim; d++) {
            put(kv, at, (slot / 8 * dim + d) * 8 + slot % 8, k[h * dim + d]);
            put(kv, at + kv->v_offset, slot * dim + d, v[h * dim + d]);
        }
    }
}

#endif
