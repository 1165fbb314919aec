/* unicode.c - the classes of characters that \p names, by general category.
 */
#include "frontend.h"

#include <string.h>
#include <utf8proc.h>

/* In the order of utf8proc's numbers. */
static const char categories[][3] = {"Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd",
                                     "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm",
                                     "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co"};

uint32_t rz_unicode_class(const char *name, size_t n, struct rz_range *out, uint32_t cap)
{
    uint32_t wanted = 0, kept = 0;
    for (size_t i = 0; i < sizeof(categories) / sizeof(categories[0]) && n && n <= 2; i++)
        if (!memcmp(categories[i], name, n))
            wanted |= 1u << i;
    if (n == 3 && !memcmp(name, "Any", 3))
        wanted = ~0u;
    for (uint32_t cp = 0; cp <= 0x10ffff && wanted; cp++) {
        if (cp == 0xd800)
            cp = 0xe000;
        if (!(wanted >> utf8proc_category((utf8proc_int32_t)cp) & 1))
            continue;
        if (kept && out[kept - 1].hi + 1 == cp)
            out[kept - 1].hi = cp;
        else if (kept < cap)
            out[kept++] = (struct rz_range){cp, cp};
        else
            return 0;
    }
    return kept;
}
