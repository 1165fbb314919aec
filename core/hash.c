/* hash.c - SHA-256 through OpenSSL's EVP interface. */
#include "hash.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define CHUNK 65536

static bool feed(EVP_MD_CTX *ctx, int fd)
{
    static _Thread_local char chunk[CHUNK];
    for (off_t offset = 0;;) {
        ssize_t n = pread(fd, chunk, sizeof(chunk), offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0;
        if (!EVP_DigestUpdate(ctx, chunk, (size_t)n))
            return false;
        offset += n;
    }
}

bool rz_sha256_fd(int fd, char out[RZ_SHA256_HEX + 1])
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) && feed(ctx, fd) &&
                EVP_DigestFinal_ex(ctx, sum, &n) && n * 2 == RZ_SHA256_HEX;
    EVP_MD_CTX_free(ctx);
    for (unsigned int i = 0; good && i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", sum[i]);
    return good;
}

bool rz_sha256_valid(const char *hex)
{
    return strlen(hex) == RZ_SHA256_HEX && strspn(hex, "0123456789abcdefABCDEF") == RZ_SHA256_HEX;
}

bool rz_sha256_same(const char *a, const char *b)
{
    return !strcasecmp(a, b);
}
