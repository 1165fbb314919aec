/* listen.c - the listening socket: "127.0.0.1:8080", "[::1]:8080", "localhost:0".
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http.h"

#define BACKLOG 128

/* Splits at the last colon; brackets around an IPv6 address are taken off. */
static bool split(const char *text, char *host, size_t host_cap, char *port, size_t port_cap)
{
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text)
        return false;
    size_t n = (size_t)(colon - text);
    if (text[0] == '[') {
        if (n < 3 || text[n - 1] != ']')
            return false;
        text++;
        n -= 2;
    } else if (memchr(text, ':', n)) {
        return false; /* an IPv6 address needs its brackets */
    }
    size_t digits = strlen(colon + 1);
    if (n >= host_cap || !digits || digits >= port_cap || strspn(colon + 1, "0123456789") != digits)
        return false;
    memcpy(host, text, n);
    host[n] = 0;
    memcpy(port, colon + 1, digits + 1);
    return strtol(port, NULL, 10) <= 65535;
}

static bool is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)a;
        return (ntohl(in->sin_addr.s_addr) >> 24) == 127;
    }
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)a;
    return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

static int open_socket(const struct addrinfo *a)
{
    int one = 1, fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    if (bind(fd, a->ai_addr, a->ai_addrlen) || listen(fd, BACKLOG)) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

/* The address as a URL, with the port that the system chose for port 0. */
static void describe(int fd, char *address, size_t cap, bool *loopback)
{
    struct sockaddr_storage a = {0};
    socklen_t n = sizeof(a);
    char host[INET6_ADDRSTRLEN] = "?", port[8] = "?";
    getsockname(fd, (struct sockaddr *)&a, &n);
    getnameinfo((struct sockaddr *)&a, n, host, sizeof(host), port, sizeof(port),
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(address, cap, a.ss_family == AF_INET6 ? "http://[%s]:%s" : "http://%s:%s", host, port);
    *loopback = is_loopback((struct sockaddr *)&a);
}

int32_t rz_http_listen(const char *text, int *fd, char *address, size_t cap, bool *loopback,
                       struct rz_err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found;
    char host[256], port[8];
    if (!split(text, host, sizeof(host), port, sizeof(port)))
        return rz_fail(err, RZ_ECONFIG, "[plugin.http] listen", "%.200s: not HOST:PORT or [IPV6]:PORT", text);
    int why = getaddrinfo(host, port, &hints, &found);
    if (why)
        return rz_fail(err, RZ_EIO, "[plugin.http] listen", "%.200s: %s", text, gai_strerror(why));
    *fd = -1;
    for (const struct addrinfo *a = found; a && *fd < 0; a = a->ai_next)
        *fd = open_socket(a);
    why = errno;
    freeaddrinfo(found);
    if (*fd < 0)
        return rz_fail(err, RZ_EIO, "[plugin.http] listen", "%.200s: cannot listen: %s", text, strerror(why));
    describe(*fd, address, cap, loopback);
    return RZ_OK;
}
