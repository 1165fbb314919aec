/* header.c - judges the 256 bytes that a plugin shows before any of its code runs. No state.
 *
 * Strict from the first release: a field that is not used must be zero, so that it can be used later.
 */
#include "header.h"

#include "cpu.h"
#include "err.h"
#include "utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SIZE_1_0 296u /* sizeof(struct rz_plugin) when ABI 1.0 began */
#define SIZE_MAX_SANE 4096u

static const char *const kind_names[] = {"format", "kernels", "device", "tokenizer", "frontend"};
#define N_KINDS (sizeof(kind_names) / sizeof(kind_names[0]))

struct check {
    const struct rz_plugin_header *h;
    char *why;
    size_t cap;
};

__attribute__((format(printf, 2, 3))) static bool refuse(struct check *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(c->why, c->cap, format, args);
    va_end(args);
    return false;
}

static bool check_abi(struct check *c)
{
    static const char magic[7] = "RZPLUG";
    const struct rz_plugin_header *h = c->h;
    if (memcmp(h->magic, magic, sizeof(magic)))
        return refuse(c, "wrong magic: " RZ_PLUGIN_SYMBOL " does not begin with RZPLUG");
    if (h->magic[7] != RZ_ABI_MAJOR)
        return refuse(c, "built for ABI %u, this rz speaks %u", (uint8_t)h->magic[7], RZ_ABI_MAJOR);
    if (h->size < SIZE_1_0 || h->size > SIZE_MAX_SANE || h->size % 8)
        return refuse(c, "wrong size: its header says %u bytes (%u..%u, a multiple of 8)", h->size, SIZE_1_0,
                      SIZE_MAX_SANE);
    if (h->abi_minor_need > RZ_ABI_MINOR)
        return refuse(c, "needs ABI %u.%u, this rz speaks %u.%u", RZ_ABI_MAJOR, h->abi_minor_need,
                      RZ_ABI_MAJOR, RZ_ABI_MINOR);
    if (h->abi_minor < h->abi_minor_need)
        return refuse(c, "built with ABI %u.%u but needs %u.%u", RZ_ABI_MAJOR, h->abi_minor, RZ_ABI_MAJOR,
                      h->abi_minor_need);
    if (!h->kinds || h->kinds & ~(uint64_t)RZ_KIND_ALL)
        return refuse(c, "unknown kinds 0x%llx", (unsigned long long)h->kinds);
    if (h->flags)
        return refuse(c, "unknown flags 0x%llx", (unsigned long long)h->flags);
    if (h->zero)
        return refuse(c, "a reserved field of its header is not zero");
    return true;
}

/* A field of fixed width: text, a NUL, and nothing but NULs after it. */
static bool check_text(struct check *c, const char *field, size_t width, const char *what, bool needed)
{
    const char *end = memchr(field, 0, width);
    if (!end)
        return refuse(c, "its %s does not end within %zu bytes", what, width);
    for (const char *p = end; p < field + width; p++)
        if (*p)
            return refuse(c, "its %s is followed by bytes that are not zero", what);
    size_t n = (size_t)(end - field);
    if (needed && !n)
        return refuse(c, "its %s is empty", what);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)field[i] < 0x20 || field[i] == 0x7f)
            return refuse(c, "its %s holds a control character", what);
    if (!rz_utf8_valid(field, n))
        return refuse(c, "its %s is not UTF-8 text", what);
    return true;
}

static bool word_char(char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '_' || ch == '-';
}

/* "kernels:avx2 command:chat": kind, colon, what; single spaces between. */
static bool check_provides(struct check *c)
{
    uint64_t seen = 0;
    for (const char *p = c->h->provides; *p;) {
        size_t n = strcspn(p, " "), kind = strcspn(p, ": "), k = 0;
        bool good = kind && kind < n && p[kind] == ':' && kind + 1 < n;
        for (size_t i = kind + 1; good && i < n; i++)
            good = word_char(p[i]) || p[i] == '.';
        if (!good || (p[n] == ' ' && !p[n + 1]))
            return refuse(c, "malformed provides: \"%s\"", c->h->provides);
        while (k < N_KINDS && (strlen(kind_names[k]) != kind || strncmp(p, kind_names[k], kind)))
            k++;
        if (k == N_KINDS && kind == 7 && !strncmp(p, "command", 7))
            k = 4; /* a frontend's verb */
        if (k == N_KINDS)
            return refuse(c, "provides \"%.*s\", which this rz does not know", (int)n, p);
        seen |= 1u << k;
        p += n + (p[n] == ' ');
    }
    if (seen != c->h->kinds)
        return refuse(c, "its kinds (0x%llx) and what it provides (\"%s\") differ",
                      (unsigned long long)c->h->kinds, c->h->provides);
    return true;
}

static bool check_names(struct check *c)
{
    const struct rz_plugin_header *h = c->h;
    if (!check_text(c, h->name, sizeof(h->name), "name", true) ||
        !check_text(c, h->version, sizeof(h->version), "version", true) ||
        !check_text(c, h->vendor, sizeof(h->vendor), "vendor", false) ||
        !check_text(c, h->licence, sizeof(h->licence), "licence", false) ||
        !check_text(c, h->provides, sizeof(h->provides), "provides", true))
        return false;
    for (const char *p = h->name; *p; p++)
        if (!word_char(*p))
            return refuse(c, "its name \"%s\" has other characters than a-z, 0-9, _ and -", h->name);
    return check_provides(c);
}

static bool check_machine(struct check *c, uint64_t isa)
{
    char names[200];
    const struct rz_plugin_header *h = c->h;
    if (h->arch != RZ_ARCH)
        return refuse(c, "built for another machine (number %u; this one is %u)", h->arch, RZ_ARCH);
    if (h->isa[0] & ~(uint64_t)RZ_ISA_KNOWN || h->isa[1])
        return refuse(c, "needs CPU features that this rz does not know (0x%llx 0x%llx)",
                      (unsigned long long)(h->isa[0] & ~(uint64_t)RZ_ISA_KNOWN),
                      (unsigned long long)h->isa[1]);
    if (h->isa[0] & ~isa)
        return refuse(c, "needs %s: this CPU has none",
                      rz_cpu_isa_names(h->isa[0] & ~isa, names, sizeof(names)));
    return true;
}

bool rz_header_check(const struct rz_plugin_header *h, uint64_t isa, char *why, size_t cap, bool *foreign)
{
    struct check c = {h, why, cap};
    if (foreign)
        *foreign = false;
    if (!check_abi(&c) || !check_names(&c))
        return false;
    if (check_machine(&c, isa))
        return true;
    if (foreign)
        *foreign = true;
    return false;
}

bool rz_header_provides(const struct rz_plugin_header *h, const char *kind)
{
    size_t len = strlen(kind);
    bool whole = strchr(kind, ':') != NULL;
    for (const char *p = h->provides; *p;) {
        size_t n = strcspn(p, " ");
        if (n >= len && !strncmp(p, kind, len) && (whole ? n == len : p[len] == ':'))
            return true;
        p += n + (p[n] == ' ');
    }
    return false;
}

const char *rz_header_kinds(const struct rz_plugin_header *h, char *buf, size_t cap)
{
    size_t used = 0;
    buf[0] = 0;
    for (size_t i = 0; i < N_KINDS && used < cap; i++)
        if (h->kinds >> i & 1)
            used += (size_t)snprintf(buf + used, cap - used, "%s%s", used ? " " : "", kind_names[i]);
    return buf;
}
