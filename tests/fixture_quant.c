/* fixture_quant.c - random weights of every type, made as blocks rather than encoded from floats.
 *
 * Codes are uniform, scales vary a little from block to block, and minima put the mean near zero, so that
 * each bit of a block matters to the result. Layouts: rz/quant.h.
 */
#include "fixture.h"

#include <rz/quant.h>
#include <string.h>

uint64_t rng_next(struct rng *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

int rng_int(struct rng *r, int lo, int hi)
{
    return lo + (int)(rng_next(r) % (uint64_t)(hi - lo + 1));
}

static double rng_unit(struct rng *r)
{
    return (double)(rng_next(r) >> 11) * 0x1p-53;
}

double rng_normal(struct rng *r)
{
    double sum = 0;
    for (int i = 0; i < 12; i++)
        sum += rng_unit(r);
    sum -= 6;
    return sum > 4 ? 4 : sum < -4 ? -4 : sum;
}

float *random_floats(size_t n, double std, struct rng *r)
{
    float *x = must_alloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(std * rng_normal(r));
    return x;
}

/* The nearest half float; ties away from zero. Not for infinities and NaN. */
uint16_t half_of(double x)
{
    uint16_t sign = x < 0 ? 0x8000 : 0;
    double a = x < 0 ? -x : x;
    int exponent = -14;
    while (a >= 0x1p-13 && exponent < 15) {
        a /= 2;
        exponent++;
    }
    uint32_t units = (uint32_t)(a * 0x1p24 + 0.5); /* 1024 units: the lowest normal number */
    return (uint16_t)(sign | (units + (uint32_t)(exponent + 14) * 1024));
}

static uint16_t bfloat_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x8000) >> 16);
}

/* d_at: where the half float of a block is; spread: of the elements where it is 1, for the types that are
 * made of random bits and that half float alone. */
static const struct {
    int32_t type;
    uint32_t elements;
    size_t bytes, d_at;
    double spread;
} blocks[] = {
    {RZ_TYPE_F32, 1, 4, 0, 0},
    {RZ_TYPE_F16, 1, 2, 0, 0},
    {RZ_TYPE_BF16, 1, 2, 0, 0},
    {RZ_TYPE_F64, 1, 8, 0, 0},
    {RZ_TYPE_I8, 1, 1, 0, 0},
    {RZ_TYPE_I16, 1, 2, 0, 0},
    {RZ_TYPE_I32, 1, 4, 0, 0},
    {RZ_TYPE_I64, 1, 8, 0, 0},
    {RZ_TYPE_Q4_0, RZ_QK, sizeof(struct rz_block_q4_0), 0, 0},
    {RZ_TYPE_Q4_1, RZ_QK, sizeof(struct rz_block_q4_1), 0, 0},
    {RZ_TYPE_Q5_0, RZ_QK, sizeof(struct rz_block_q5_0), 0, 0},
    {RZ_TYPE_Q5_1, RZ_QK, sizeof(struct rz_block_q5_1), 0, 0},
    {RZ_TYPE_Q8_0, RZ_QK, sizeof(struct rz_block_q8_0), 0, 0},
    {RZ_TYPE_Q4_K, RZ_QKK, sizeof(struct rz_block_q4_k), 0, 0},
    {RZ_TYPE_Q5_K, RZ_QKK, sizeof(struct rz_block_q5_k), 0, 0},
    {RZ_TYPE_Q6_K, RZ_QKK, sizeof(struct rz_block_q6_k), 0, 0},
    {RZ_TYPE_Q2_K, RZ_QKK, sizeof(struct rz_block_q2_k), offsetof(struct rz_block_q2_k, d), 14},
    {RZ_TYPE_Q3_K, RZ_QKK, sizeof(struct rz_block_q3_k), offsetof(struct rz_block_q3_k, d), 43},
    {RZ_TYPE_IQ1_S, RZ_QKK, sizeof(struct rz_block_iq1_s), 0, 7},
    {RZ_TYPE_IQ1_M, RZ_QKK, sizeof(struct rz_block_iq1_m), 0, 7},
    {RZ_TYPE_IQ2_XXS, RZ_QKK, sizeof(struct rz_block_iq2_xxs), 0, 46},
    {RZ_TYPE_IQ2_XS, RZ_QKK, sizeof(struct rz_block_iq2_xs), 0, 46},
    {RZ_TYPE_IQ2_S, RZ_QKK, sizeof(struct rz_block_iq2_s), 0, 46},
    {RZ_TYPE_IQ3_XXS, RZ_QKK, sizeof(struct rz_block_iq3_xxs), 0, 130},
    {RZ_TYPE_IQ3_S, RZ_QKK, sizeof(struct rz_block_iq3_s), 0, 150},
    {RZ_TYPE_IQ4_NL, RZ_QK, sizeof(struct rz_block_iq4_nl), 0, 70},
    {RZ_TYPE_IQ4_XS, RZ_QKK, sizeof(struct rz_block_iq4_xs), 0, 1300},
    {RZ_TYPE_TQ1_0, RZ_QKK, sizeof(struct rz_block_tq1_0), offsetof(struct rz_block_tq1_0, d), 0.8},
    {RZ_TYPE_TQ2_0, RZ_QKK, sizeof(struct rz_block_tq2_0), offsetof(struct rz_block_tq2_0, d), 1.2},
    {RZ_TYPE_MXFP4, RZ_QK, sizeof(struct rz_block_mxfp4), 0, 0},
    {RZ_TYPE_NVFP4, 64, sizeof(struct rz_block_nvfp4), 0, 0},
    {RZ_TYPE_Q1_0, 128, sizeof(struct rz_block_q1_0), 0, 1},
    {RZ_TYPE_Q2_0, 64, sizeof(struct rz_block_q2_0), 0, 1.2},
};

static size_t block_of(int32_t type)
{
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        if (blocks[i].type == type)
            return i;
    die("a weight type that mkmodel does not make");
}

size_t weight_bytes(int32_t type, size_t n)
{
    size_t b = block_of(type);
    if (n % blocks[b].elements)
        die("a row is not a whole number of blocks");
    return n / blocks[b].elements * blocks[b].bytes;
}

static void random_bytes(uint8_t *out, size_t n, struct rng *r)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)rng_next(r);
}

/* Packs 8 scales and 8 minima of 6 bits as q4_k and q5_k keep them. */
static void pack_scales(uint8_t out[12], const int scale[8], const int min[8])
{
    for (int g = 0; g < 4; g++) {
        out[g] = (uint8_t)(scale[g] | (scale[g + 4] >> 4) << 6);
        out[g + 4] = (uint8_t)(min[g] | (min[g + 4] >> 4) << 6);
        out[g + 8] = (uint8_t)((scale[g + 4] & 15) | (min[g + 4] & 15) << 4);
    }
}

/* Scales 20..60 around their mean of 40; minima that cancel the mean code, in units of half the codes. */
static void random_scales(uint8_t out[12], int codes, struct rng *r)
{
    int scale[8], min[8];
    for (int g = 0; g < 8; g++) {
        scale[g] = rng_int(r, 20, 60);
        min[g] = (scale[g] * (codes - 1) + codes / 2) / codes;
    }
    pack_scales(out, scale, min);
}

/* The power of two at which values of 4-bit floats (spread 5.85) come to about std. */
static int exponent_for(double std)
{
    int e = 0;
    for (double x = std / 5.85; x < 1; x *= 2)
        e--;
    return e;
}

/* Where the scale is one half float, or whole powers of two. */
static void random_small_block(size_t b, uint8_t *out, double std, struct rng *r)
{
    uint16_t d = half_of(std * (0.75 + 0.5 * rng_unit(r)) / (blocks[b].spread + 1e-9));
    if (blocks[b].type == RZ_TYPE_MXFP4) {
        out[0] = (uint8_t)(128 + exponent_for(std) + rng_int(r, -1, 0));
    } else if (blocks[b].type == RZ_TYPE_NVFP4) {
        for (int i = 0; i < 4; i++)
            out[i] = (uint8_t)((8 + exponent_for(std)) * 8 + rng_int(r, -8, 7));
    } else if (blocks[b].type == RZ_TYPE_IQ1_M) {
        for (int i = 0; i < 4; i++) {
            uint8_t *top = out + offsetof(struct rz_block_iq1_m, scales) + 2 * i + 1;
            *top = (uint8_t)((*top & 15) | (d >> 4 * i & 15) << 4);
        }
    } else {
        memcpy(out + blocks[b].d_at, &d, 2);
    }
    if (blocks[b].type == RZ_TYPE_Q2_K) {
        d = half_of(std * 1.5 / blocks[b].spread);
        memcpy(out + offsetof(struct rz_block_q2_k, dmin), &d, 2);
    }
}

/* One block of a type with 32 or 256 elements. unit: the scale at which the result has the wanted spread. */
static void random_block(int32_t type, uint8_t *out, double std, struct rng *r)
{
    const double vary = 0.75 + 0.5 * rng_unit(r);
    const double spread4 = 4.61, spread5 = 9.23, spread6 = 18.5, spread8 = 73.9;
    size_t bytes = blocks[block_of(type)].bytes;
    random_bytes(out, bytes, r);
    if (type == RZ_TYPE_Q4_0) {
        ((struct rz_block_q4_0 *)(void *)out)->d = half_of(std * vary / spread4);
    } else if (type == RZ_TYPE_Q4_1) {
        struct rz_block_q4_1 *b = (void *)out;
        b->d = half_of(std * vary / spread4);
        b->m = half_of(-7.5 * std * vary / spread4);
    } else if (type == RZ_TYPE_Q5_0) {
        ((struct rz_block_q5_0 *)(void *)out)->d = half_of(-std * vary / spread5);
    } else if (type == RZ_TYPE_Q5_1) {
        struct rz_block_q5_1 *b = (void *)out;
        b->d = half_of(std * vary / spread5);
        b->m = half_of(-15.5 * std * vary / spread5);
    } else if (type == RZ_TYPE_Q8_0) {
        ((struct rz_block_q8_0 *)(void *)out)->d = half_of(std * vary / spread8);
    } else if (type == RZ_TYPE_Q4_K) {
        struct rz_block_q4_k *b = (void *)out;
        b->d = half_of(std * vary / (spread4 * 40));
        b->dmin = half_of(8 * std * vary / (spread4 * 40));
        random_scales(b->scales, 16, r);
    } else if (type == RZ_TYPE_Q5_K) {
        struct rz_block_q5_k *b = (void *)out;
        b->d = half_of(std * vary / (spread5 * 40));
        b->dmin = half_of(16 * std * vary / (spread5 * 40));
        random_scales(b->scales, 32, r);
    } else if (type == RZ_TYPE_Q6_K) {
        struct rz_block_q6_k *b = (void *)out;
        b->d = half_of(std * vary / (spread6 * 73.9));
    } else {
        random_small_block(block_of(type), out, std, r);
    }
}

/* A float, or an integer of any bits. */
static void random_plain(int32_t type, uint8_t *at, size_t bytes, float x, struct rng *r)
{
    double wide = x;
    uint16_t small = type == RZ_TYPE_F16 ? half_of(x) : bfloat_of(x);
    if (type == RZ_TYPE_F32)
        memcpy(at, &x, sizeof x);
    else if (type == RZ_TYPE_F64)
        memcpy(at, &wide, sizeof wide);
    else if (type == RZ_TYPE_F16 || type == RZ_TYPE_BF16)
        memcpy(at, &small, sizeof small);
    else
        random_bytes(at, bytes, r);
}

void weight_random(int32_t type, void *out, size_t n, double std, struct rng *r)
{
    size_t b = block_of(type);
    uint8_t *at = out;
    for (size_t i = 0; i < n; i += blocks[b].elements, at += blocks[b].bytes) {
        if (blocks[b].elements > 1)
            random_block(type, at, std, r);
        else
            random_plain(type, at, blocks[b].bytes, (float)(std * rng_normal(r)), r);
    }
}
