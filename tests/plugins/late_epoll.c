/* late_epoll.c - for LD_PRELOAD: the first thread takes a listening socket out of an epoll set half a second
 * late, so that other threads that are awake come first (plugins/frontends/http/quiet.c).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int epoll_ctl(int set, int op, int fd, struct epoll_event *event)
{
    int (*real)(int, int, int, struct epoll_event *) = NULL;
    int listens = 0;
    socklen_t n = sizeof(listens);
    *(void **)&real = dlsym(RTLD_NEXT, "epoll_ctl");
    if (op == EPOLL_CTL_DEL && gettid() == getpid() &&
        !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) && listens)
        nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
    return real(set, op, fd, event);
}
