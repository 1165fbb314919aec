/* ref_decode.c - decodes blocks of weights to doubles, byte by byte from the description of the format.
 *
 * Written against the layouts of the GGUF types, not against rz/quant.h: offsets are spelled out.
 */
#include "ref.h"

#include <math.h>
#include <rz/types.h>
#include <string.h>

static double half_at(const uint8_t *p)
{
    unsigned bits = p[0] | (unsigned)p[1] << 8;
    int exponent = (int)(bits >> 10 & 31);
    double fraction = bits & 1023;
    double x = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    if (exponent == 31)
        x = fraction != 0 ? NAN : INFINITY;
    return bits & 0x8000 ? -x : x;
}

static double float_at(const uint8_t *p, int shift)
{
    uint32_t bits = 0;
    float x;
    memcpy(&bits, p, shift ? 2 : 4);
    bits <<= shift;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The 5 or 4 bits of element j in a block of 32: nibbles at qs, the fifth bits in the 4 bytes at qh. */
static int code32(const uint8_t *qs, const uint8_t *qh, int j)
{
    int low = j < 16 ? qs[j] & 15 : qs[j - 16] >> 4;
    int high = qh ? qh[j / 8] >> (j % 8) & 1 : 0;
    return low + 16 * high;
}

static double element32(int32_t type, const uint8_t *b, int j)
{
    switch (type) {
    case RZ_TYPE_Q4_0:
        return half_at(b) * (code32(b + 2, NULL, j) - 8);
    case RZ_TYPE_Q4_1:
        return half_at(b) * code32(b + 4, NULL, j) + half_at(b + 2);
    case RZ_TYPE_Q5_0:
        return half_at(b) * (code32(b + 6, b + 2, j) - 16);
    case RZ_TYPE_Q5_1:
        return half_at(b) * code32(b + 8, b + 4, j) + half_at(b + 2);
    default:
        return half_at(b) * (int8_t)b[2 + j];
    }
}

/* Scale and minimum of group g of 32 among the 12 bytes at p. */
static void scale_min(const uint8_t *p, int g, int *scale, int *min)
{
    if (g < 4) {
        *scale = p[g] & 63;
        *min = p[g + 4] & 63;
    } else {
        *scale = (p[g + 4] & 15) + (p[g - 4] >> 6) * 16;
        *min = (p[g + 4] >> 4) + (p[g] >> 6) * 16;
    }
}

/* q4_k and q5_k: d, dmin, 12 scale bytes, (32 bytes of fifth bits,) 128 bytes of nibbles. */
static double element_k(const uint8_t *b, int j, int five)
{
    const uint8_t *qs = b + (five ? 48 : 16);
    int pair = j / 64, half = j / 32 % 2, at = j % 32, scale, min;
    int code = half ? qs[pair * 32 + at] >> 4 : qs[pair * 32 + at] & 15;
    if (five)
        code += (b[16 + at] >> (2 * pair + half) & 1) * 16;
    scale_min(b + 4, j / 32, &scale, &min);
    return half_at(b) * scale * code - half_at(b + 2) * min;
}

static double element_q6k(const uint8_t *b, int j)
{
    int part = j / 128, quarter = j / 32 % 4, at = j % 32;
    const uint8_t *low = b + part * 64 + at + (quarter % 2) * 32;
    int code = quarter < 2 ? *low & 15 : *low >> 4;
    code += (b[128 + part * 32 + at] >> (2 * quarter) & 3) * 16;
    int scale = (int8_t)b[192 + j / 16];
    return half_at(b + 208) * scale * (code - 32);
}

static uint64_t block_bytes(int32_t type, uint64_t *elements)
{
    *elements = type >= RZ_TYPE_Q4_K && type <= RZ_TYPE_Q6_K ? 256 : 32;
    switch (type) {
    case RZ_TYPE_F32:
        *elements = 1;
        return 4;
    case RZ_TYPE_F16:
    case RZ_TYPE_BF16:
        *elements = 1;
        return 2;
    case RZ_TYPE_Q4_0:
        return 18;
    case RZ_TYPE_Q4_1:
        return 20;
    case RZ_TYPE_Q5_0:
        return 22;
    case RZ_TYPE_Q5_1:
        return 24;
    case RZ_TYPE_Q8_0:
        return 34;
    case RZ_TYPE_Q4_K:
        return 144;
    case RZ_TYPE_Q5_K:
        return 176;
    case RZ_TYPE_Q6_K:
        return 210;
    default:
        return 0;
    }
}

uint64_t ref_bytes(int32_t type, uint64_t n)
{
    uint64_t elements, bytes = block_bytes(type, &elements);
    return n / elements * bytes;
}

int ref_decode(int32_t type, const uint8_t *in, uint64_t n, double *out)
{
    uint64_t elements, bytes = block_bytes(type, &elements);
    if (!bytes)
        return 0;
    for (uint64_t i = 0; i < n; i++) {
        const uint8_t *b = in + i / elements * bytes;
        int j = (int)(i % elements);
        if (type == RZ_TYPE_F32)
            out[i] = float_at(b, 0);
        else if (type == RZ_TYPE_BF16)
            out[i] = float_at(b, 16);
        else if (type == RZ_TYPE_F16)
            out[i] = half_at(b);
        else if (elements == 32)
            out[i] = element32(type, b, j);
        else if (type == RZ_TYPE_Q6_K)
            out[i] = element_q6k(b, j);
        else
            out[i] = element_k(b, j, type == RZ_TYPE_Q5_K);
    }
    return 1;
}
