/* test_numeric.c - core/base/numeric: half floats, type sizes, and decoding against reference data. */
#include "rz_test.h"

#include "numeric.h"

#include <stdio.h>
#include <stdlib.h>

RZ_TEST(half, every_half_survives_the_way_to_single_and_back)
{
    for (uint32_t h = 0; h < 65536; h++) {
        float f = rz_f16_to_f32((uint16_t)h);
        uint16_t back = rz_f32_to_f16(f);
        if ((h & 0x7fff) > 0x7c00)
            rz_check(isnan(f) && (back & 0x7fff) > 0x7c00);
        else
            rz_check_eq(back, h);
    }
}

RZ_TEST(half, values_are_what_the_standard_says)
{
    rz_check_near(rz_f16_to_f32(0x3c00), 1.0, 0);
    rz_check_near(rz_f16_to_f32(0xc000), -2.0, 0);
    rz_check_near(rz_f16_to_f32(0x7bff), 65504.0, 0);
    rz_check_near(rz_f16_to_f32(0x0001), 0x1p-24, 0);
    rz_check_near(rz_f16_to_f32(0x0400), 0x1p-14, 0);
    rz_check(isinf(rz_f16_to_f32(0x7c00)));
    rz_check_near(rz_bf16_to_f32(0x3f80), 1.0, 0);
}

/* Between two neighbours the middle goes to the even one, and each side to its own. */
RZ_TEST(half, rounding_is_to_nearest_even)
{
    for (uint32_t h = 0; h < 0x7bff; h++) {
        float low = rz_f16_to_f32((uint16_t)h), high = rz_f16_to_f32((uint16_t)(h + 1));
        float middle = low + (high - low) / 2;
        rz_check_eq(rz_f32_to_f16(middle), h & 1 ? h + 1 : h);
        rz_check_eq(rz_f32_to_f16(nextafterf(middle, 0)), h);
        rz_check_eq(rz_f32_to_f16(nextafterf(middle, INFINITY)), h + 1);
        rz_check_eq(rz_f32_to_f16(-middle), 0x8000 | (h & 1 ? h + 1 : h));
    }
    rz_check_eq(rz_f32_to_f16(65519.9f), 0x7bff);
    rz_check_eq(rz_f32_to_f16(65520.0f), 0x7c00);
    rz_check_eq(rz_f32_to_f16(1e30f), 0x7c00);
    rz_check_eq(rz_f32_to_f16(0x1p-26f), 0);
}

RZ_TEST(types, sizes_follow_the_format)
{
    uint64_t bytes;
    rz_check(rz_type_bytes(RZ_TYPE_Q4_1, 64, &bytes) && bytes == 40);
    rz_check(rz_type_bytes(RZ_TYPE_Q6_K, 512, &bytes) && bytes == 420);
    rz_check(rz_type_bytes(RZ_TYPE_F32, 3, &bytes) && bytes == 12);
    rz_check(!rz_type_bytes(RZ_TYPE_Q4_1, 63, &bytes));
    rz_check(!rz_type_bytes(RZ_TYPE_Q4_K, 128, &bytes));
    rz_check(!rz_type_bytes(RZ_TYPE_F32, UINT64_MAX / 2, &bytes));
    static const int32_t unknown[] = {-1, -2, 4, 5, 9, 31, 36, 1000, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        rz_check_eq(rz_type_info(unknown[i])->block, 0);
        rz_check(!rz_type_bytes(unknown[i], 256, &bytes));
    }
}

/* Reads a file of the reference data; skips the test where there is none. */
static void *reference(const char *type, const char *kind, size_t *n)
{
    const char *shared = getenv("RZ_SHARED");
    char path[4096];
    if (!shared || !*shared)
        rz_skip("RZ_SHARED names no reference data");
    snprintf(path, sizeof path, "%s/data/quant/%s.rand.%s", shared, type, kind);
    FILE *f = fopen(path, "rb");
    if (!f)
        rz_skip("%s: not there", path);
    char *data = malloc(1 << 20);
    rz_check(data);
    *n = fread(data, 1, 1 << 20, f);
    fclose(f);
    return data;
}

static void decodes(int32_t type, const char *name)
{
    size_t n_blocks, n_floats;
    void *blocks = reference(name, "blocks", &n_blocks);
    float *truth = reference(name, "f32", &n_floats);
    uint64_t n = n_floats / 4, bytes;
    rz_check(n > 0 && rz_type_bytes(type, n, &bytes));
    rz_check_eq(bytes, n_blocks);
    float *out = malloc(n * sizeof *out);
    rz_check(out);
    rz_type_info(type)->decode(blocks, out, n);
    for (uint64_t i = 0; i < n; i++)
        if (!isnan(out[i]) || !isnan(truth[i]))
            rz_check(memcmp(&out[i], &truth[i], 4) == 0);
    free(out);
    free(truth);
    free(blocks);
}

RZ_TEST(types, random_blocks_decode_to_the_bit)
{
    decodes(RZ_TYPE_F16, "F16");
    decodes(RZ_TYPE_BF16, "BF16");
    decodes(RZ_TYPE_Q4_0, "Q4_0");
    decodes(RZ_TYPE_Q4_1, "Q4_1");
    decodes(RZ_TYPE_Q5_0, "Q5_0");
    decodes(RZ_TYPE_Q5_1, "Q5_1");
    decodes(RZ_TYPE_Q8_0, "Q8_0");
    decodes(RZ_TYPE_Q4_K, "Q4_K");
    decodes(RZ_TYPE_Q5_K, "Q5_K");
    decodes(RZ_TYPE_Q6_K, "Q6_K");
}
