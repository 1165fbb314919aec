/* planes_pack.h - makes the PLANES blob; included by one file of each table that has it. */
#ifndef RZ_PLANES_PACK_H
#define RZ_PLANES_PACK_H

#include "planes.h"
#include "screen.h"

uint64_t planes_bytes(const struct rz_weight_view *file)
{
    return planes_groups(file) * (file->cols / RZ_QK) * (sizeof(struct x_plane_a) + sizeof(struct x_plane_b));
}

/* bytes |= four values, one a byte. */
static void or_word(uint8_t bytes[4], uint32_t values)
{
    uint32_t old;
    memcpy(&old, bytes, 4);
    old |= values;
    memcpy(bytes, &old, 4);
}

/* Four elements at a time: bytes of a word stay in their places. */
static void pack_planes(struct x_plane_a *a, struct x_plane_b *b, int r, const struct rz_block_q8_0 *block)
{
    static const uint8_t square[8] = {49, 25, 9, 1, 1, 9, 25, 49}; /* (2 e)^2 of e = u - 3.5 */
    uint32_t sum = 0;
    a->d[r] = block->d;
    for (int q = 0; q < 8; q++) {
        uint32_t u;
        memcpy(&u, block->qs + 4 * q, 4);
        u ^= 0x80808080u;
        or_word(a->qs[q % 4][r], (u >> 3 & 0x0f0f0f0fu) << (q < 4 ? 0 : 4));
        or_word(a->qh[r], (u >> 7 & 0x01010101u) << q);
        or_word(b->two[q / 4][r], (u >> 1 & 0x03030303u) << 2 * (q % 4));
        or_word(b->one[r], (u & 0x01010101u) << q);
        for (int j = 0; j < 4; j++)
            sum += square[u >> 8 * j & 7];
    }
    a->norm[r] =
        (uint8_t)ceilf(0.5f * sqrtf((float)sum) * (1.0f + 0x1p-20f) * SCREEN_NORM_STEPS); /* <= 238 */
}

void planes_prep(const struct rz_weight_view *file, void *dst, uint64_t first, uint64_t n)
{
    struct rz_weight_view blob = *file;
    uint64_t blocks = file->cols / RZ_QK;
    blob.data = dst;
    for (uint64_t g = first; g < first + n; g++) {
        struct x_planes at = planes_at(&blob, g);
        struct x_plane_a *a = (struct x_plane_a *)(uintptr_t)at.a;
        struct x_plane_b *b = (struct x_plane_b *)(uintptr_t)at.b;
        memset(a, 0, blocks * sizeof(*a));
        memset(b, 0, blocks * sizeof(*b));
        for (uint64_t r = 0; r < GROUP && g * GROUP + r < file->rows; r++) {
            const struct rz_block_q8_0 *row =
                (const struct rz_block_q8_0 *)file->data + (g * GROUP + r) * blocks;
            for (uint64_t k = 0; k < blocks; k++)
                pack_planes(&a[k], &b[k], (int)r, &row[k]);
        }
    }
}

#endif
