/* planes_pack.h - makes the PLANES blob; included by one file of each table that has it. */
#ifndef RZ_PLANES_PACK_H
#define RZ_PLANES_PACK_H

#include "planes.h"
#include "screen.h"

uint64_t planes_bytes(const struct rz_weight_view *file)
{
    return planes_groups(file) * (file->cols / RZ_QK) * (sizeof(struct x_plane_a) + sizeof(struct x_plane_b));
}

static void pack_planes(struct x_plane_a *a, struct x_plane_b *b, int r, const struct rz_block_q8_0 *block)
{
    float square = 0;
    a->d[r] = block->d;
    for (int i = 0; i < RZ_QK; i++) {
        int q = i / 4, j = i % 4;
        uint8_t u = (uint8_t)(block->qs[i] ^ 0x80);
        float e = (float)(u & 7) - 3.5f;
        a->qs[q % 4][r][j] |= (uint8_t)((u >> 3 & 15) << (q < 4 ? 0 : 4));
        a->qh[r][j] |= (uint8_t)(u >> 7 << q);
        b->two[q / 4][r][j] |= (uint8_t)((u >> 1 & 3) << 2 * (q % 4));
        b->one[r][j] |= (uint8_t)((u & 1) << q);
        square += e * e; /* exact: multiples of 1/4 */
    }
    a->norm[r] = (uint8_t)ceilf(sqrtf(square) * (1.0f + 0x1p-20f) * SCREEN_NORM_STEPS); /* at most 238 */
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
