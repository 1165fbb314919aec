/* kernels_rope.c - rotation of heads, and the write of keys and values into their pages. */
#include "avx512.h"
#include "vec.h"

/* Pairs (i, i + half). */
static void rope_halves(float *x, const float *cs, const float *sn, uint64_t half)
{
    for (uint64_t i = 0; i < half; i += 16) {
        __mmask16 m = first_lanes(half - i);
        __m512 c = _mm512_maskz_loadu_ps(m, cs + i), s = _mm512_maskz_loadu_ps(m, sn + i);
        __m512 u = _mm512_maskz_loadu_ps(m, x + i), v = _mm512_maskz_loadu_ps(m, x + half + i);
        _mm512_mask_storeu_ps(x + i, m, _mm512_fmsub_ps(u, c, _mm512_mul_ps(v, s)));
        _mm512_mask_storeu_ps(x + half + i, m, _mm512_fmadd_ps(u, s, _mm512_mul_ps(v, c)));
    }
}

/* Pairs (2i, 2i + 1). */
static void rope_pairs(float *x, const float *cs, const float *sn, uint64_t half)
{
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    for (uint64_t i = 0; i < half; i += 8) {
        __mmask16 m = first_lanes(2 * (half - i)), p = first_lanes(half - i < 8 ? half - i : 8);
        __m512 c = _mm512_permutexvar_ps(twice, _mm512_maskz_loadu_ps(p, cs + i));
        __m512 s = _mm512_permutexvar_ps(twice, _mm512_maskz_loadu_ps(p, sn + i));
        __m512 v = _mm512_maskz_loadu_ps(m, x + 2 * i), swapped = _mm512_permute_ps(v, 0xb1);
        _mm512_mask_storeu_ps(x + 2 * i, m, _mm512_fmaddsub_ps(v, c, _mm512_mul_ps(swapped, s)));
    }
}

void rope_row(const struct rz_kernel_call *c, uint32_t row, float *x, uint64_t n_head)
{
    const struct rz_attr *a = c->node->attr;
    const struct rz_rope_view *t = &c->step->ropes[a[RZ_A_ROPE].i];
    uint64_t dim = (uint64_t)a[RZ_A_HEAD_DIM].i, half = t->dim / 2, pos = (uint64_t)c->step->rows[row].pos[0];
    const float *cs = t->cos + pos * half, *sn = t->sin + pos * half;
    bool neox = c->node->attr_mask & RZ_ATTR(RZ_A_ROPE_NEOX);
    for (uint64_t h = 0; h < n_head; h++, x += dim) {
        if (neox)
            rope_halves(x, cs, sn, half);
        else
            rope_pairs(x, cs, sn, half);
    }
}

/* Sixteen elements, or the first of them: `step` elements apart from `at` on. */
static void put_elements(const struct rz_kv_view *v, uint8_t *at, uint64_t step, const float *x, __mmask16 m)
{
    uint32_t n = (uint32_t)__builtin_popcount(m);
    __m512 values = _mm512_maskz_loadu_ps(m, x);
    uint16_t h[16];
    _mm256_storeu_si256((__m256i *)h, _mm512_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT));
    for (uint32_t i = 0; i < n; i++) {
        if (v->type == RZ_TYPE_F32)
            ((float *)at)[i * step] = x[i];
        else
            ((uint16_t *)at)[i * step] = h[i];
    }
}

void kv_store_row(const struct rz_kernel_call *c, uint32_t row, const float *k, const float *v)
{
    const struct rz_attr *a = c->node->attr;
    const struct rz_kv_view *kv = &c->step->kv[a[RZ_A_KV_GROUP].i];
    const struct rz_batch_row *r = &c->step->rows[row];
    uint64_t pos = (uint64_t)r->pos[0], slot = pos % kv->page_tokens, dim = kv->k_dim;
    uint64_t element = kv->type == RZ_TYPE_F32 ? 4 : 2;
    int32_t page = c->step->seqs[r->seq].pages[a[RZ_A_KV_GROUP].i][pos / kv->page_tokens];
    for (uint64_t h = 0; h < kv->n_heads; h++) {
        uint8_t *at = kv->base + (uint64_t)page * kv->page_bytes +
                      (uint64_t)a[RZ_A_KV_LAYER].i * kv->layer_bytes + h * kv->head_bytes;
        for (uint64_t d = 0; d < dim; d += 16) {
            __mmask16 m = first_lanes(dim - d);
            put_elements(kv, at + ((slot / 8 * dim + d) * 8 + slot % 8) * element, 8, k + h * dim + d, m);
            put_elements(kv, at + kv->v_offset + (slot * dim + d) * element, 1, v + h * dim + d, m);
        }
    }
}
