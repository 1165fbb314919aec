/* kernels_act.c - activations: quantisation, and what elementwise.h has. */
#include "neon.h"

#include "../common/elementwise.h"

void act_quantise(const float *x, struct act_block *out, uint64_t n)
{
    for (uint64_t b = 0; b < n / 32; b++, x += 32, out++) {
        float32x4_t v[8], top = vdupq_n_f32(0);
        int32x4_t q[8];
        for (int i = 0; i < 8; i++) {
            v[i] = vld1q_f32(x + 4 * i);
            top = vmaxq_f32(top, vabsq_f32(v[i]));
        }
        float amax = vmaxvq_f32(top), inverse = amax > 0 ? 127.0f / amax : 0.0f;
        for (int i = 0; i < 8; i++)
            q[i] = vcvtnq_s32_f32(vmulq_n_f32(v[i], inverse));
        int32_t h[2];
        for (int i = 0; i < 2; i++) {
            const int32x4_t *half = q + 4 * i;
            int16x8_t lo = vqmovn_high_s32(vqmovn_s32(half[0]), half[1]);
            int16x8_t hi = vqmovn_high_s32(vqmovn_s32(half[2]), half[3]);
            vst1q_s8(out->q + 16 * i, vqmovn_high_s16(vqmovn_s16(lo), hi));
            h[i] = vaddvq_s32(vaddq_s32(vaddq_s32(half[0], half[1]), vaddq_s32(half[2], half[3])));
        }
        out->d = amax / 127.0f;
        out->s = out->d * (float)(h[0] + h[1]);
        out->h[0] = (int16_t)h[0];
        out->h[1] = (int16_t)h[1];
        out->zero = 0;
    }
}
