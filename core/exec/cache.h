/* cache.h - prepared weights kept on disk from one run of the program to the next. */
#ifndef RZ_EXEC_CACHE_H
#define RZ_EXEC_CACHE_H

#include "buf.h"

#include <rz/types.h>
#include <stdbool.h>

/* Where and how; borrowed as long as the device lives. dir NULL: no cache. */
struct rz_cache_setup {
    const char *dir;
    uint64_t max_bytes; /* of all files together; the least recently used go first  */
    bool verify;        /* the content is hashed when it is written and when it is read */
    const char *source; /* says which model files these are, and changes when they do  */
};

/* Bytes [0, n) at data, of the content that `key` describes; both functions read or write it in tasks that
 * they hand to parallel_for (of the thread pool). */
struct rz_cache_io {
    uint8_t *data;
    uint64_t n;
    const char *key;
    void (*parallel_for)(void *ctx, uint32_t n, void (*fn)(void *arg, uint32_t i), void *arg);
    void *parallel_ctx;
};

/* RZ_OK: data holds the content. RZ_ENOTFOUND: there is none. Any other status: there is one that cannot be
 * used, and err says why; data may hold anything. */
int32_t rz_cache_load(const struct rz_cache_setup *setup, const struct rz_cache_io *io, struct rz_err *err);
/* Writes it under a temporary name, renames, and deletes old files until all fit max_bytes. A content larger
 * than that is not written: RZ_ELIMIT. */
int32_t rz_cache_store(const struct rz_cache_setup *setup, const struct rz_cache_io *io, struct rz_err *err);

#endif
