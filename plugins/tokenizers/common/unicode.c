/* unicode.c - classes of characters by binary search in the table of categories. No state. */
#include "unicode.h"

#include "utf8.h"

static const uint32_t ranges[] = {
#include "unicode.inc"
};

uint8_t rz_uc_class(uint32_t cp)
{
    if (cp < 0x80)
        return (uint8_t)cp;
    if (cp == 0x85)
        return RZ_UC_NEL;
    if (cp == 0x17f)
        return RZ_UC_LONG_S;
    size_t lo = 0, hi = sizeof(ranges) / sizeof(ranges[0]); /* ranges[lo] <= cp < ranges[hi] */
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (ranges[mid] >> 8 <= cp)
            lo = mid;
        else
            hi = mid;
    }
    return (uint8_t)(RZ_UC_LU + (ranges[lo] & 0xff));
}

size_t rz_uc_table(const uint32_t **table)
{
    *table = ranges;
    return sizeof(ranges) / sizeof(ranges[0]);
}

size_t rz_uc_step(const char *s, size_t n)
{
    uint32_t cp;
    if ((unsigned char)s[0] < 0x80)
        return 1;
    size_t len = rz_utf8_decode(s, n, &cp);
    return len ? len : 1;
}
