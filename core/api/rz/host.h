/* host.h - what the host gives a plugin: log, memory, and a query for the host's own interfaces.
 *
 * A plugin links nothing of the core. Everything it may use arrives through struct rz_host at init.
 */
#ifndef RZ_HOST_H
#define RZ_HOST_H

#include <rz/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RZ_LOG_ERROR 0
#define RZ_LOG_WARN 1
#define RZ_LOG_INFO 2
#define RZ_LOG_DEBUG 3

struct rz_host {
    uint32_t size;
    uint32_t abi_minor; /* of the host */
    void *ctx;
    /* Writes one line to the host's log. Any thread. The text is copied. */
    void (*log)(void *ctx, int32_t level, const char *text, uint64_t len);
    /* 64-byte aligned memory, counted under `tag` (static string); NULL when there is none. Any thread. */
    void *(*alloc)(void *ctx, uint64_t bytes, const char *tag);
    void (*free)(void *ctx, void *p);
    /* An interface of the host: "rz.engine/1", "rz.host.model/1", "rz.host.threads/1"; NULL if the host
     * has none of at least that minor. The table lives until fini. Any thread. */
    const void *(*query)(void *ctx, const char *id, uint32_t minor_need);
    /* As log; where the log is JSON, the line's object also gets these members: the inside of an object
     * ("\"status\":200,\"path\":\"/\""). Both texts are copied. Any thread. */
    void (*log_members)(void *ctx, int32_t level, const char *text, uint64_t len, const char *members,
                        uint64_t n_members);
};
RZ_ABI_SIZE(struct rz_host, 56, log_members);

/* rz.host.threads/1: the host's only thread team. */
#define RZ_HOST_THREADS_1 "rz.host.threads/1"
struct rz_host_threads {
    uint32_t size, minor;
    void *ctx;
    uint32_t n_threads;
    uint32_t zero;
    /* Runs fn(arg, i) for i = 0..n-1 on the team; returns when all are done. Not from inside fn. */
    void (*parallel_for)(void *ctx, uint32_t n, void (*fn)(void *arg, uint32_t i), void *arg);
};
RZ_ABI_SIZE(struct rz_host_threads, 32, parallel_for);

#ifdef __cplusplus
}
#endif
#endif
