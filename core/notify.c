/* notify.c - what a service manager is told: systemd's protocol, datagrams to the socket of NOTIFY_SOCKET.
 *
 * Without the variable nothing is said. Nobody waits for an answer, and nothing depends on whether it
 * arrives: a manager that does not read, so that its socket is full, holds nobody up for longer than
 * TRIES pauses.
 */
#include "main.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define TRIES 50
#define PAUSE_NS 100000000

/* A path, or @NAME for a name without a file. */
static socklen_t address_of(const char *name, struct sockaddr_un *to)
{
    size_t n = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || n >= sizeof(to->sun_path))
        return 0;
    *to = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(to->sun_path, name, n);
    if (name[0] == '@')
        to->sun_path[0] = 0;
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (name[0] == '/'));
}

void rz_notify(const char *state)
{
    struct sockaddr_un to;
    const char *name = getenv("NOTIFY_SOCKET");
    socklen_t n = name ? address_of(name, &to) : 0;
    int fd = n ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
    if (fd < 0)
        return;
    for (int i = 0; i < TRIES; i++) {
        ssize_t sent =
            sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&to, n);
        if (sent >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
    close(fd);
}

uint64_t rz_notify_watchdog_ms(void)
{
    const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    char *end = NULL;
    if (!us || (pid && strtol(pid, &end, 10) != (long)getpid()))
        return 0;
    unsigned long long most = strtoull(us, &end, 10);
    return *us && !*end ? (uint64_t)most / 2000 : 0; /* twice in the time that it gives */
}
