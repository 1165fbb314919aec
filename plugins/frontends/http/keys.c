/* keys.c - API keys: only their SHA-256 is kept, and all of them are compared in constant time.
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http.h"

#define KEYS_MAX 4096

static bool hash(const char *key, size_t n, uint8_t out[RZ_HTTP_KEY_HASH])
{
    return EVP_Digest(key, n, out, NULL, EVP_sha256(), NULL) == 1;
}

static int32_t add_key(struct rz_http *h, const char *key, size_t n, struct rz_err *err)
{
    if (h->n_keys == KEYS_MAX)
        return rz_fail(err, RZ_ECONFIG, "api_keys", "more than %d keys", KEYS_MAX);
    void *keys = realloc(h->keys, (h->n_keys + 1) * sizeof(*h->keys));
    if (!keys)
        return rz_fail(err, RZ_ENOMEM, "api_keys", "no memory");
    h->keys = keys;
    if (!hash(key, n, h->keys[h->n_keys]))
        return rz_fail(err, RZ_EINTERNAL, "api_keys", "SHA-256 is not available");
    h->n_keys++;
    return RZ_OK;
}

int32_t rz_http_keys_read(struct rz_http *h, struct rz_err *err)
{
    const char *at = h->keys_text;
    if (!at)
        return RZ_OK;
    while (*at) {
        size_t n = strcspn(at, "\n"), begin = 0, end = n;
        while (begin < end && strchr(" \t\r", at[begin]))
            begin++;
        while (end > begin && strchr(" \t\r", at[end - 1]))
            end--;
        if (end > begin && at[begin] != '#') {
            int32_t code = add_key(h, at + begin, end - begin, err);
            if (code)
                return code;
        }
        at += n + (at[n] == '\n');
    }
    /* An empty file would otherwise open the door to everybody. */
    if (!h->n_keys)
        return rz_fail(err, RZ_ECONFIG, "api_keys", "is set but holds no key");
    return RZ_OK;
}

static const char *bearer(const char *authorization)
{
    if (!authorization || strncasecmp(authorization, "Bearer ", 7))
        return NULL;
    const char *key = authorization + 7;
    while (*key == ' ')
        key++;
    return key;
}

bool rz_http_keys_allow(const struct rz_http *h, const char *authorization, const char *api_key)
{
    uint8_t given[RZ_HTTP_KEY_HASH];
    unsigned same = 0;
    const char *key = authorization ? bearer(authorization) : api_key;
    if (!h->n_keys)
        return true;
    if (!key || !hash(key, strlen(key), given))
        return false;
    for (uint32_t i = 0; i < h->n_keys; i++)
        same |= CRYPTO_memcmp(given, h->keys[i], RZ_HTTP_KEY_HASH) == 0;
    return same != 0;
}
