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

static const struct {
    int32_t type;
    uint32_t elements;
    size_t bytes;
} blocks[] = {
    {RZ_TYPE_F32, 1, 4},
    {RZ_TYPE_F16, 1, 2},
    {RZ_TYPE_BF16, 1, 2},
    {RZ_TYPE_Q4_0, RZ_QK, sizeof(struct rz_block_q4_0)},
    {RZ_TYPE_Q4_1, RZ_QK, sizeof(struct rz_block_q4_1)},
    {RZ_TYPE_Q5_0, RZ_QK, sizeof(struct rz_block_q5_0)},
    {RZ_TYPE_Q5_1, RZ_QK, sizeof(struct rz_block_q5_1)},
    {RZ_TYPE_Q8_0, RZ_QK, sizeof(struct rz_block_q8_0)},
    {RZ_TYPE_Q4_K, RZ_QKK, sizeof(struct rz_block_q4_k)},
    {RZ_TYPE_Q5_K, RZ_QKK, sizeof(struct rz_block_q5_k)},
    {RZ_TYPE_Q6_K, RZ_QKK, sizeof(struct rz_block_q6_k)},
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
    }
}

void weight_random(int32_t type, void *out, size_t n, double std, struct rng *r)
{
    size_t b = block_of(type);
    uint8_t *at = out;
    for (size_t i = 0; i < n; i += blocks[b].elements, at += blocks[b].bytes) {
        if (blocks[b].elements > 1) {
            random_block(type, at, std, r);
            continue;
        }
        float x = (float)(std * rng_normal(r));
        uint16_t small = type == RZ_TYPE_F16 ? half_of(x) : bfloat_of(x);
        if (type == RZ_TYPE_F32)
            memcpy(at, &x, sizeof x);
        else
            memcpy(at, &small, sizeof small);
    }
}
