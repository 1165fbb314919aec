/* numeric.h - element types: names, sizes, half floats, and the reference decoder of every type. */
#ifndef RZ_BASE_NUMERIC_H
#define RZ_BASE_NUMERIC_H

#include <rz/quant.h>
#include <rz/types.h>
#include <stdbool.h>
#include <string.h>

struct rz_type_info {
    const char *name;      /* "Q4_K"                                       */
    uint32_t block, bytes; /* elements and bytes of a block; 0: unknown    */
    /* Decodes n elements (a multiple of block) to float32. */
    void (*decode)(const void *src, float *dst, uint64_t n);
};

/* Never NULL; block = 0 for a type that rz does not have. */
const struct rz_type_info *rz_type_info(int32_t type);
/* Bytes of n elements; false: n is not a whole number of blocks, unknown type, or overflow. */
bool rz_type_bytes(int32_t type, uint64_t n, uint64_t *bytes);

/* IEEE half to single, exact; NaN stays NaN. */
static inline float rz_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31, man = h & 1023, bits;
    if (exp == 31) {
        bits = sign | 0x7f800000 | man << 13;
    } else if (exp) {
        bits = sign | (exp + 112) << 23 | man << 13;
    } else { /* zero or subnormal: man * 2^-24 is exact in single */
        float f = (float)man * 0x1p-24f;
        memcpy(&bits, &f, 4);
        bits |= sign;
    }
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

/* Single to half, round to nearest even. */
static inline uint16_t rz_f32_to_f16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, 4);
    uint32_t sign = bits >> 16 & 0x8000, mag = bits & 0x7fffffff;
    if (mag >= 0x7f800000)
        return (uint16_t)(sign | 0x7c00 | (mag > 0x7f800000 ? 0x200 : 0));
    if (mag >= 0x477ff000) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00);
    if (mag < 0x38800000) { /* below 2^-14: a multiple of 2^-24 */
        float scaled;
        memcpy(&scaled, &mag, 4);
        float sum = scaled + 0.5f; /* the spacing of 0.5 is 2^-24: the addition rounds for us */
        memcpy(&bits, &sum, 4);
        return (uint16_t)(sign | (bits - 0x3f000000));
    }
    uint32_t odd = mag >> 13 & 1;
    return (uint16_t)(sign | (mag - 0x38000000 + 0xfff + odd) >> 13);
}

static inline float rz_bf16_to_f32(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

/* Single to bfloat16, round to nearest even. */
static inline uint16_t rz_f32_to_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, 4);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* The 6-bit scale and minimum of group g (0..7) of a Q4_K or Q5_K block. */
static inline void rz_k4_scale_min(const uint8_t *s, int g, uint8_t *scale, uint8_t *min)
{
    if (g < 4) {
        *scale = s[g] & 63;
        *min = s[g + 4] & 63;
    } else {
        *scale = (uint8_t)((s[g + 4] & 15) | (s[g - 4] >> 6) << 4);
        *min = (uint8_t)((s[g + 4] >> 4) | (s[g] >> 6) << 4);
    }
}

/* The 6-bit scale of group g (0..15) of a Q3_K block, -32..31. */
static inline int rz_q3_scale(const uint8_t *s, int g)
{
    int low = g < 8 ? s[g] & 15 : s[g - 8] >> 4;
    return (low | (s[8 + g % 4] >> 2 * (g / 4) & 3) << 4) - 32;
}

/* What the nibbles of IQ4_NL and IQ4_XS stand for, and (doubled) those of MXFP4 and NVFP4. */
extern const int8_t rz_values_iq4[16], rz_values_fp4[16];

/* 2^(e - 127) / 2, the factor of an MXFP4 block; 2^-127 and 2^-128 are subnormal. */
static inline float rz_e8m0_half(uint8_t e)
{
    uint32_t bits = e < 2 ? 0x200000u << e : (uint32_t)(e - 1) << 23;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

/* Half the value of an unsigned E4M3 number, the factor of an NVFP4 group; 127, not a number, gives 0. */
static inline float rz_ue4m3_half(uint8_t e)
{
    int exp = e >> 3 & 15, man = e & 7;
    if ((e & 127) == 127)
        return 0;
    return exp ? (float)(8 + man) * (float)(1 << exp) * 0x1p-11f
               : (float)man * 0x1p-10f; /* the format adds 7 to exp, man has 3 bits */
}

#endif
