/* kv_store.h - what is stored in KV pages: keys in blocks of eight positions (RZ_KV_LAYOUT_T8), values and
 * latent vectors in rows; or both in pairs (RZ_KV_LAYOUT_PAIRS).
 */
#ifndef RZ_X86_KV_STORE_H
#define RZ_X86_KV_STORE_H

#include "kv.h"
#include "numeric.h"

#include <math.h>
#include <string.h>

#define KEY_MAX 1024

float kv_row_one(const uint8_t *row, uint64_t d, int type)
{
    float f;
    uint16_t h;
    switch (type) {
    case RZ_TYPE_F32:
        memcpy(&f, row + 4 * d, 4);
        return f;
    case RZ_TYPE_Q8_0:
        row += d / KV_BLOCK * (KV_BLOCK + 2);
        memcpy(&h, row, 2);
        return rz_f16_to_f32(h) * (float)(int8_t)row[2 + d % KV_BLOCK];
    default:
        memcpy(&h, row + 2 * d, 2);
        return type == RZ_TYPE_BF16 ? rz_bf16_to_f32(h) : rz_f16_to_f32(h);
    }
}

/* n <= KV_BLOCK elements as integers of -127..127 times the scale that comes back. */
static uint16_t quantise(const float *x, uint64_t n, int8_t *q)
{
    float largest = 0;
    for (uint64_t i = 0; i < n; i++)
        largest = fmaxf(largest, fabsf(x[i]));
    uint16_t h = rz_f32_to_f16(largest / 127);
    float scale = rz_f16_to_f32(h);
    for (uint64_t i = 0; i < n; i++)
        q[i] = scale > 0 ? (int8_t)fmaxf(-127, fminf(127, rintf(x[i] / scale))) : 0;
    return h;
}

static void store_f16(uint8_t *at, const float *x, uint64_t n)
{
    uint64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(void *)(at + 2 * i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < n; i++) {
        uint16_t h = rz_f32_to_f16(x[i]);
        memcpy(at + 2 * i, &h, 2);
    }
}

void kv_row_store(uint8_t *row, const float *x, uint64_t dim, int type)
{
    switch (type) {
    case RZ_TYPE_F32:
        memcpy(row, x, dim * sizeof(float));
        break;
    case RZ_TYPE_BF16:
        for (uint64_t d = 0; d < dim; d++) {
            uint16_t h = rz_f32_to_bf16(x[d]);
            memcpy(row + 2 * d, &h, 2);
        }
        break;
    case RZ_TYPE_Q8_0:
        for (uint64_t d = 0; d < dim; d += KV_BLOCK, row += KV_BLOCK + 2) {
            uint16_t h = quantise(x + d, dim - d < KV_BLOCK ? dim - d : KV_BLOCK, (int8_t *)row + 2);
            memcpy(row, &h, 2);
        }
        break;
    default:
        store_f16(row, x, dim);
    }
}

/* Puts a key that is stored as a row into lane `lane` of the blocks of its eight positions. */
INLINE void interleave(uint8_t *eight, uint64_t lane, const uint8_t *row, uint64_t dim, const int type)
{
    const uint64_t element = kv_element(type), block = type == RZ_TYPE_Q8_0 ? KV_BLOCK : dim;
    for (uint64_t d = 0; d < dim; d += block) {
        uint64_t n = dim - d < block ? dim - d : block;
        if (type == RZ_TYPE_Q8_0) {
            memcpy(eight + 2 * lane, row, 2);
            eight += 16;
            row += 2;
        }
        uint64_t i = 0;
        for (; i + 8 <= n; i += 8) {
            UNROLL
            for (uint64_t j = i; j < i + 8; j++)
                memcpy(eight + (8 * j + lane) * element, row + j * element, element);
        }
        for (; i < n; i++)
            memcpy(eight + (8 * i + lane) * element, row + i * element, element);
        eight += 8 * n * element;
        row += n * element;
    }
}

#ifdef STORE_PAIRS
/* One position of K and of V in pairs of bfloat16; the plugin's own. */
static void store_pairs(uint8_t *keys, uint8_t *values, uint64_t slot, const float *k, const float *v,
                        uint64_t dim);
#endif

void attention_store_row(const struct rz_kernel_call *c, uint32_t row, const float *k, const float *v)
{
    const struct rz_attr *a = c->node->attr;
    const struct rz_kv_view *kv = &c->step->kv[a[RZ_A_KV_GROUP].i];
    const struct rz_batch_row *r = &c->step->rows[row];
    uint64_t pos = (uint64_t)r->pos[0], slot = pos % kv->page_tokens, dim = kv->k_dim;
    uint64_t row_bytes = rz_kv_row_bytes(kv->type, dim);
    int32_t page = c->step->seqs[r->seq].pages[a[RZ_A_KV_GROUP].i][pos / kv->page_tokens];
    uint8_t key[4 * KEY_MAX];
    for (uint64_t h = 0; h < kv->n_heads; h++) {
        uint8_t *at = kv->base + (uint64_t)page * kv->page_bytes +
                      (uint64_t)a[RZ_A_KV_LAYER].i * kv->layer_bytes + h * kv->head_bytes;
#ifdef STORE_PAIRS
        if (kv->layout == RZ_KV_LAYOUT_PAIRS) {
            store_pairs(at, at + kv->v_offset, slot, k + h * dim, v + h * dim, dim);
            continue;
        }
#endif
        kv_row_store(key, k + h * dim, dim, kv->type);
#define CALL_INTERLEAVE(TYPE) interleave(at + slot / 8 * 8 * row_bytes, slot % 8, key, dim, TYPE)
        KV_TYPE(CALL_INTERLEAVE, kv->type)
        kv_row_store(at + kv->v_offset + slot * row_bytes, v + h * dim, dim, kv->type);
    }
}

#endif
