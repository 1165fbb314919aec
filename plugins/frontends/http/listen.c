/* listen.c - the listening sockets: "127.0.0.1:8080", "[::1]:8080", "localhost:0", "unix:/run/rz.sock", and
 * those that systemd has opened for us.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "http.h"

#define BACKLOG 1024
#define SEND_BYTES (128 << 10) /* of an answer wait in the kernel at most (it doubles this) */
#define SYSTEMD_FIRST 3
#define WHERE "[plugin.http] listen"

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

/* Everybody who connects inherits it: a client that does not read holds no more than this. */
static void bound_buffers(int fd)
{
    int bytes = SEND_BYTES;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

/* The address as a URL, with the port that the system chose for port 0. */
static void describe(struct rz_http_listener *l, bool tls)
{
    struct sockaddr_storage a = {0};
    socklen_t n = sizeof(a);
    char host[INET6_ADDRSTRLEN] = "?", port[8] = "?";
    getsockname(l->fd, (struct sockaddr *)&a, &n);
    l->loopback = true;
    if (a.ss_family == AF_UNIX) {
        const struct sockaddr_un *u = (const struct sockaddr_un *)(const void *)&a;
        snprintf(l->address, sizeof(l->address), "unix:%.107s", u->sun_path);
        return;
    }
    getnameinfo((struct sockaddr *)&a, n, host, sizeof(host), port, sizeof(port),
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(l->address, sizeof(l->address), a.ss_family == AF_INET6 ? "http%s://[%s]:%s" : "http%s://%s:%s",
             tls ? "s" : "", host, port);
    l->loopback = is_loopback((struct sockaddr *)&a);
}

/* --- the three kinds --- */

static struct rz_http_listener *next_listener(struct rz_http *h, struct rz_err *err)
{
    if (h->n_listeners == RZ_HTTP_LISTENERS_MAX) {
        rz_fail(err, RZ_ECONFIG, WHERE, "more than %d addresses", RZ_HTTP_LISTENERS_MAX);
        return NULL;
    }
    struct rz_http_listener *l = &h->listeners[h->n_listeners++];
    *l = (struct rz_http_listener){.fd = -1};
    return l;
}

static int32_t listen_tcp(struct rz_http *h, const char *text, struct rz_err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found;
    char host[256], port[8];
    struct rz_http_listener *l = next_listener(h, err);
    if (!l)
        return RZ_ECONFIG;
    if (!split(text, host, sizeof(host), port, sizeof(port)))
        return rz_fail(err, RZ_ECONFIG, WHERE, "%.200s: not HOST:PORT, [IPV6]:PORT, unix:PATH or systemd",
                       text);
    int why = getaddrinfo(host, port, &hints, &found);
    if (why)
        return rz_fail(err, RZ_EIO, WHERE, "%.200s: %s", text, gai_strerror(why));
    for (const struct addrinfo *a = found; a && l->fd < 0; a = a->ai_next)
        l->fd = open_socket(a);
    why = errno;
    freeaddrinfo(found);
    return l->fd < 0 ? rz_fail(err, RZ_EIO, WHERE, "%.200s: cannot listen: %s", text, strerror(why)) : RZ_OK;
}

/* Takes the socket of a server that is gone out of the way; one that answers stays. */
static void remove_stale(const struct sockaddr_un *a)
{
    struct stat st;
    if (lstat(a->sun_path, &st) || !S_ISSOCK(st.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)a, sizeof(*a)) && errno == ECONNREFUSED)
        unlink(a->sun_path);
    if (fd >= 0)
        close(fd);
}

/* Owner and group may connect; who may reach the folder is the folder's business. */
static int32_t listen_unix(struct rz_http *h, const char *path, struct rz_err *err)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct rz_http_listener *l = next_listener(h, err);
    if (!l)
        return RZ_ECONFIG;
    if (!path[0] || strlen(path) >= sizeof(a.sun_path))
        return rz_fail(err, RZ_ECONFIG, WHERE, "unix:%.120s: the path must have 1 to %zu bytes", path,
                       sizeof(a.sun_path) - 1);
    memcpy(a.sun_path, path, strlen(path) + 1);
    remove_stale(&a);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&a, sizeof(a))) {
        int why = errno;
        if (fd >= 0)
            close(fd);
        return rz_fail(err, RZ_EIO, WHERE, "unix:%.120s: cannot listen: %s", path, strerror(why));
    }
    l->fd = fd;
    memcpy(l->path, a.sun_path, sizeof(l->path));
    if (chmod(path, S_IRUSR | S_IWUSR | S_IRGRP | S_IWGRP) || listen(fd, BACKLOG))
        return rz_fail(err, RZ_EIO, WHERE, "unix:%.120s: cannot listen: %s", path, strerror(errno));
    return RZ_OK;
}

/* The protocol of sd_listen_fds(3): LISTEN_PID says whom LISTEN_FDS is for. */
static int32_t listen_systemd(struct rz_http *h, struct rz_err *err)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    long n = count ? strtol(count, NULL, 10) : 0;
    if (!pid || strtol(pid, NULL, 10) != (long)getpid() || n < 1 || n > RZ_HTTP_LISTENERS_MAX)
        return rz_fail(err, RZ_ECONFIG, WHERE, "systemd: no sockets were passed (LISTEN_PID, LISTEN_FDS)");
    for (int fd = SYSTEMD_FIRST; fd < SYSTEMD_FIRST + (int)n; fd++) {
        struct rz_http_listener *l = next_listener(h, err);
        int on = 0, flags = fcntl(fd, F_GETFL);
        socklen_t size = sizeof(on);
        if (!l)
            return RZ_ECONFIG;
        if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &size) || !on)
            return rz_fail(err, RZ_ECONFIG, WHERE, "systemd: descriptor %d does not listen", fd);
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        l->fd = fd;
        l->inherited = true;
    }
    return RZ_OK;
}

static int32_t listen_one(struct rz_http *h, const char *text, struct rz_err *err)
{
    if (!strcmp(text, "systemd"))
        return listen_systemd(h, err);
    if (!strncmp(text, "unix:", 5))
        return listen_unix(h, text + 5, err);
    return listen_tcp(h, text, err);
}

/* --- all of them --- */

int32_t rz_http_listen(struct rz_http *h, struct rz_err *err)
{
    char *all = strdup(h->listen_text), *rest = all;
    int32_t code = all ? RZ_OK : rz_fail(err, RZ_ENOMEM, WHERE, "no memory");
    size_t at = 0;
    h->n_listeners = 0;
    for (char *one; !code && (one = strsep(&rest, ","));) {
        one += strspn(one, " \t");
        code = listen_one(h, one, err);
    }
    free(all);
    h->check_host = h->hosts != NULL;
    bool local = true;
    for (uint32_t i = 0; !code && i < h->n_listeners; i++) {
        bound_buffers(h->listeners[i].fd);
        describe(&h->listeners[i], h->tls_cert != NULL);
        at += (size_t)snprintf(h->address + at, sizeof(h->address) - at, "%s%s", i ? " " : "",
                               h->listeners[i].address);
        local = local && h->listeners[i].loopback;
    }
    h->check_host = h->check_host || local;
    return code;
}

void rz_http_listen_refuse(struct rz_http *h)
{
    for (uint32_t i = 0; i < h->n_listeners; i++) {
        struct rz_http_listener *l = &h->listeners[i];
        if (l->path[0])
            unlink(l->path);
        l->path[0] = 0;
        if (!l->inherited)
            shutdown(l->fd, SHUT_RDWR); /* libmicrohttpd may still hold it, so it is not closed yet */
    }
}

void rz_http_listen_close(struct rz_http *h)
{
    for (uint32_t i = 0; i < h->n_listeners; i++) {
        if (h->listeners[i].path[0])
            unlink(h->listeners[i].path);
        if (h->listeners[i].fd >= 0)
            close(h->listeners[i].fd);
    }
    h->n_listeners = 0;
}
