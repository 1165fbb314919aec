/* watch.c - one thread that sees clients go away while their request runs, and ends what takes too long.
 *
 * libmicrohttpd does not look at a suspended connection, so a request whose client left would run to its
 * end. A client that only closes its sending side counts as gone, as with other servers.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "http.h"

#define EVENTS 64
#define WAKE_KEY UINT64_MAX
#define LOOK_MS 500 /* how often deadlines are looked at while there are connections */

static uint64_t key_of(const struct rz_http_request *r)
{
    return (uint64_t)r->generation << 32 | r->index;
}

static int socket_of(const struct rz_http_request *r)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

void rz_http_watch_add(struct rz_http_request *r)
{
    struct epoll_event e = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = key_of(r)};
    epoll_ctl(r->http->epoll_fd, EPOLL_CTL_ADD, socket_of(r), &e);
}

void rz_http_watch_remove(struct rz_http_request *r)
{
    epoll_ctl(r->http->epoll_fd, EPOLL_CTL_DEL, socket_of(r), NULL);
}

static void client_left(struct rz_http *h, uint64_t key)
{
    struct rz_http_request *r = &h->slots[(uint32_t)key]; /* the key is our own: its index is good */
    pthread_mutex_lock(&h->lock);
    if (r->used && key_of(r) == key && r->has_ticket)
        rz_http_runs_cancel(r);
    else if (r->used && key_of(r) == key)
        rz_http_model_give_up(r, RZ_HTTP_GIVE_UP_GONE);
    pthread_mutex_unlock(&h->lock);
}

static void *watch(void *arg)
{
    struct rz_http *h = arg;
    struct epoll_event events[EVENTS];
    while (!atomic_load(&h->watch_ends)) {
        uint64_t kicks;
        int n = epoll_wait(h->epoll_fd, events, EVENTS, atomic_load(&h->n_conns) ? LOOK_MS : -1);
        if (n < 0 && errno != EINTR)
            return NULL;
        for (int i = 0; i < n; i++)
            if (events[i].data.u64 != WAKE_KEY)
                client_left(h, events[i].data.u64);
            else if (read(h->wake_fd, &kicks, sizeof(kicks)) < 0 && errno != EAGAIN)
                return NULL;
        rz_http_drop_late(h);
        rz_http_keep_alive(h);
        rz_http_models_look(h);
    }
    return NULL;
}

void rz_http_watch_kick(struct rz_http *h)
{
    uint64_t one = 1;
    /* A counter that is full wakes as well. */
    if (write(h->wake_fd, &one, sizeof(one)) < 0)
        return;
}

int32_t rz_http_watch_start(struct rz_http *h, struct rz_err *err)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = WAKE_KEY};
    h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    h->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    atomic_store(&h->watch_ends, false);
    h->watching = h->epoll_fd >= 0 && h->wake_fd >= 0 &&
                  !epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, h->wake_fd, &e) &&
                  !pthread_create(&h->watcher, NULL, watch, h);
    if (h->watching)
        return RZ_OK;
    rz_http_watch_stop(h);
    return rz_fail(err, RZ_EIO, "http", "cannot start the thread that watches connections");
}

void rz_http_watch_stop(struct rz_http *h)
{
    atomic_store(&h->watch_ends, true);
    if (h->watching) {
        rz_http_watch_kick(h);
        pthread_join(h->watcher, NULL);
    }
    h->watching = false;
    if (h->epoll_fd >= 0)
        close(h->epoll_fd);
    if (h->wake_fd >= 0)
        close(h->wake_fd);
    h->epoll_fd = h->wake_fd = -1;
}
