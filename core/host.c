/* host.c - what the program gives to plugins: log, counted memory, and interfaces by name.
 *
 * Interfaces are added while the program starts, before threads that look them up exist. Everything else
 * here may be called from any thread.
 */
#include "core.h"

#include "buf.h"
#include "checked.h"
#include "err.h"
#include "utf8.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LINE_MAX_BYTES 2048
#define JSON_MAX_BYTES 32768
#define ALIGN 64u
#define PROVIDED_MAX 16

static _Atomic int32_t log_level = RZ_LOG_WARN;
static _Atomic bool log_json;

/* --- log --- */

static const char *level_name(int32_t level)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    return names[level < RZ_LOG_ERROR ? RZ_LOG_ERROR : level > RZ_LOG_DEBUG ? RZ_LOG_DEBUG : level];
}

static void add_time(struct rz_buf *b)
{
    struct timespec now;
    struct tm utc;
    char text[32];
    if (clock_gettime(CLOCK_REALTIME, &now) || !gmtime_r(&now.tv_sec, &utc) ||
        !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc))
        return;
    rz_buf_printf(b, "\"time\":\"%s.%03dZ\",", text, (int)(now.tv_nsec / 1000000));
}

/* A string of JSON: whole UTF-8 characters stay, everything else is replaced. */
static void add_string(struct rz_buf *b, const char *text, size_t n)
{
    rz_buf_str(b, "\"");
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        size_t len = rz_utf8_decode(text + i, n - i, &cp);
        if (!len)
            rz_buf_str(b, "\xef\xbf\xbd");
        else if (cp < 0x20 || cp == 0x7f)
            rz_buf_printf(b, "\\u%04x", (unsigned)cp);
        else if (cp == '"' || cp == '\\')
            rz_buf_printf(b, "\\%c", (int)cp);
        else
            rz_buf_add(b, text + i, len);
        i += len ? len : 1;
    }
    rz_buf_str(b, "\"");
}

static void write_json(int32_t level, const char *text, size_t n, const char *members, size_t n_members)
{
    struct rz_buf b;
    rz_buf_init(&b, JSON_MAX_BYTES);
    rz_buf_str(&b, "{");
    add_time(&b);
    rz_buf_printf(&b, "\"level\":\"%s\",\"message\":", level_name(level));
    add_string(&b, text, n < LINE_MAX_BYTES ? n : LINE_MAX_BYTES);
    if (n_members && n_members < JSON_MAX_BYTES / 2) {
        rz_buf_str(&b, ",");
        rz_buf_add(&b, members, n_members);
    }
    if (rz_buf_str(&b, "}\n"))
        fwrite(b.data, 1, b.len, stderr);
    rz_buf_free(&b);
}

/* One write per line, so that lines of several threads do not mix. */
static void write_line(int32_t level, const char *text, size_t n, const char *members, size_t n_members)
{
    char line[LINE_MAX_BYTES];
    while (n && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    if (atomic_load(&log_json)) {
        write_json(level, text, n, members, n_members);
        return;
    }
    int head = snprintf(line, sizeof(line), "rz: %s: ", level_name(level));
    size_t used = (size_t)head, room = sizeof(line) - used - 2;
    bool cut = n > room;
    n = cut ? room : n;
    for (size_t i = 0; i < n; i++) /* a plugin's text must not draw on the terminal */
        line[used++] = (unsigned char)text[i] < 0x20 && text[i] != '\t' ? ' ' : text[i];
    if (cut)
        memcpy(line + used - 3, "...", 3);
    line[used++] = '\n';
    fwrite(line, 1, used, stderr);
}

void rz_host_log_level(int32_t level)
{
    atomic_store(&log_level, level);
}

void rz_host_log_json(bool on)
{
    atomic_store(&log_json, on);
}

void rz_log(int32_t level, const char *format, ...)
{
    char text[LINE_MAX_BYTES];
    if (level > atomic_load(&log_level))
        return;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (n > 0)
        write_line(level, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1, NULL, 0);
}

static void host_log(void *ctx, int32_t level, const char *text, uint64_t len)
{
    (void)ctx;
    if (text && level <= atomic_load(&log_level))
        write_line(level, text, len, NULL, 0);
}

static void host_log_members(void *ctx, int32_t level, const char *text, uint64_t len, const char *members,
                             uint64_t n_members)
{
    (void)ctx;
    if (text && level <= atomic_load(&log_level))
        write_line(level, text, len, members, members ? n_members : 0);
}

/* --- memory: the size stands in the 64 bytes before each block --- */

struct block {
    uint64_t bytes;
    const char *tag;
};
_Static_assert(sizeof(struct block) <= ALIGN, "the block header fits before an aligned block");

static _Atomic uint64_t bytes_now, blocks_now;

static void *host_alloc(void *ctx, uint64_t bytes, const char *tag)
{
    uint64_t total;
    (void)ctx;
    if (!rz_add_u64(bytes, ALIGN, &total) || !rz_align_u64(total, ALIGN, &total))
        return NULL;
    uint8_t *p = aligned_alloc(ALIGN, total);
    if (!p)
        return NULL;
    struct block b = {.bytes = bytes, .tag = tag};
    memcpy(p, &b, sizeof(b));
    atomic_fetch_add(&bytes_now, bytes);
    atomic_fetch_add(&blocks_now, 1);
    return p + ALIGN;
}

static void host_free(void *ctx, void *p)
{
    struct block b;
    (void)ctx;
    if (!p)
        return;
    uint8_t *base = (uint8_t *)p - ALIGN;
    memcpy(&b, base, sizeof(b));
    atomic_fetch_sub(&bytes_now, b.bytes);
    atomic_fetch_sub(&blocks_now, 1);
    free(base);
}

void rz_host_memory(uint64_t *bytes, uint64_t *blocks)
{
    *bytes = atomic_load(&bytes_now);
    *blocks = atomic_load(&blocks_now);
}

/* --- interfaces --- */

/* Every interface table begins like this. */
struct table_head {
    uint32_t size, minor;
};

static struct {
    const char *id;
    const void *table;
} provided[PROVIDED_MAX];
static _Atomic uint32_t n_provided;

void rz_host_provide(const char *iface, const void *table)
{
    uint32_t n = atomic_load(&n_provided), i = 0;
    while (i < n && strcmp(provided[i].id, iface))
        i++;
    if (i == PROVIDED_MAX)
        return;
    provided[i].id = iface;
    provided[i].table = table;
    if (i == n)
        atomic_store(&n_provided, n + 1);
}

static const void *host_query(void *ctx, const char *id, uint32_t minor_need)
{
    (void)ctx;
    uint32_t n = atomic_load(&n_provided);
    for (uint32_t i = 0; id && i < n; i++) {
        const struct table_head *head = provided[i].table;
        if (!strcmp(provided[i].id, id))
            return head && head->minor >= minor_need ? head : NULL;
    }
    return NULL;
}

const struct rz_host *rz_host_table(void)
{
    static const struct rz_host table = {
        .size = sizeof(table),
        .abi_minor = RZ_ABI_MINOR,
        .log = host_log,
        .alloc = host_alloc,
        .free = host_free,
        .query = host_query,
        .log_members = host_log_members,
    };
    return &table;
}
