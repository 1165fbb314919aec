/* tls.c - certificate and key for libmicrohttpd, which speaks TLS through GnuTLS.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "http.h"

#define FILE_MAX ((size_t)1 << 20)

/* A regular file as text; secret: others may not read it. */
static int32_t read_text(const struct rz_http *h, const char *path, bool secret, char **out,
                         struct rz_err *err)
{
    struct rz_buf b;
    struct stat st;
    char part[4096];
    ssize_t n = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return rz_fail(err, RZ_EIO, path, "cannot be opened: %s", strerror(errno));
    rz_buf_init(&b, FILE_MAX);
    if (!fstat(fd, &st) && S_ISREG(st.st_mode))
        while ((n = read(fd, part, sizeof(part))) > 0)
            rz_buf_add(&b, part, (size_t)n);
    close(fd);
    if (secret && n == 0 && st.st_mode & (S_IRGRP | S_IROTH))
        rz_http_log(h, RZ_LOG_WARN, "http: %s: others may read this key (chmod 600)", path);
    if (n == 0 && b.len && !memchr(b.data, 0, b.len))
        *out = rz_buf_take(&b);
    OPENSSL_cleanse(part, sizeof(part));
    rz_buf_free(&b);
    return *out ? RZ_OK : rz_fail(err, RZ_ECONFIG, path, "is not a PEM file of at most 1 MiB");
}

int32_t rz_http_tls_read(const struct rz_http *h, char **cert, char **key, struct rz_err *err)
{
    *cert = *key = NULL;
    if (!h->tls_cert && !h->tls_key)
        return RZ_OK;
    if (!h->tls_cert || !h->tls_key)
        return rz_fail(err, RZ_ECONFIG, "[plugin.http] tls_cert", "TLS needs both tls_cert and tls_key");
    if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
        return rz_fail(err, RZ_EUNSUPPORTED, "[plugin.http] tls_cert", "libmicrohttpd was built without TLS");
    int32_t code = read_text(h, h->tls_cert, false, cert, err);
    if (!code)
        code = read_text(h, h->tls_key, true, key, err);
    return code;
}

void rz_http_tls_free(char *cert, char *key)
{
    if (key)
        OPENSSL_cleanse(key, strlen(key));
    free(key);
    free(cert);
}
