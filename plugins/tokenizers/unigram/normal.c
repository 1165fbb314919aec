/* normal.c - an XOR-compressed double array: child = base ^ byte, checked by the label kept in the child.
 * An entry: bits 0-7 label, 8 "a spelling ends here", 9 and 10-30 the base; bit 31 marks a value. */
#include "normal.h"

#include "err.h"

#include <string.h>

#define SPELLING_MAX 256u

int32_t rz_normal_init(struct rz_normal *m, const char *data, uint64_t n, struct rz_err *err)
{
    const char *where = "key tokenizer.ggml.precompiled_charsmap";
    uint32_t bytes;
    memset(m, 0, sizeof(*m));
    if (!n)
        return RZ_OK;
    if (n < 4)
        return rz_fail(err, RZ_EFORMAT, where, "%llu bytes are too few", (unsigned long long)n);
    memcpy(&bytes, data, 4);
    if (bytes > n - 4 || bytes % 4)
        return rz_fail(err, RZ_EFORMAT, where, "its table should have %u bytes, of %llu", bytes,
                       (unsigned long long)n - 4);
    *m = (struct rz_normal){data + 4, bytes / 4, data + 4 + bytes, n - 4 - bytes};
    if (m->texts_len && m->texts[m->texts_len - 1])
        return rz_fail(err, RZ_EFORMAT, where, "its last replacement does not end");
    return RZ_OK;
}

static uint32_t unit(const struct rz_normal *m, uint32_t i)
{
    uint32_t u = 0;
    if (i < m->n_units)
        memcpy(&u, m->units + 4ull * i, 4);
    return u;
}

static uint32_t base(uint32_t u)
{
    return (u >> 10) << ((u & (1u << 9)) >> 6);
}

struct rz_str rz_normal_find(const struct rz_normal *m, const char *text, size_t n, size_t *used)
{
    struct rz_str found = {NULL, 0};
    *used = 0;
    if (!m->n_units)
        return found;
    uint32_t node = base(unit(m, 0));
    for (size_t i = 0; i < n && i < SPELLING_MAX && text[i]; i++) {
        uint8_t c = (uint8_t)text[i];
        node ^= c;
        uint32_t u = unit(m, node);
        if (node >= m->n_units || (u & (1u << 31 | 0xff)) != c)
            break;
        node ^= base(u);
        if (!(u >> 8 & 1))
            continue;
        uint32_t at = unit(m, node) & 0x7fffffff;
        if (node >= m->n_units || at >= m->texts_len)
            break;
        found = (struct rz_str){m->texts + at, strlen(m->texts + at)};
        *used = i + 1;
    }
    return found;
}
