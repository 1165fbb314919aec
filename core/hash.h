/* hash.h - SHA-256 of a file, for pins. */
#ifndef RZ_HASH_H
#define RZ_HASH_H

#include <stdbool.h>
#include <stdint.h>

#define RZ_SHA256_HEX 64

/* Hashes the whole file open as fd into 64 lower-case hex digits and a NUL. */
bool rz_sha256_fd(int fd, char out[RZ_SHA256_HEX + 1]);
/* True if the text is 64 hex digits. */
bool rz_sha256_valid(const char *hex);
/* Case-blind. Both are valid. */
bool rz_sha256_same(const char *a, const char *b);

#endif
