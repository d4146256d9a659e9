/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets: making them from an address, and accepting on the loop.
 *
 * Theory of operation
 *
 * What: a listener watches its socket with uv_poll and accepts up to ACCEPT_BUDGET connections a
 * turn. TCP options are set on the listening socket; Linux hands them on to the accepted ones, so a
 * connection costs one accept4 and nothing more.
 *
 * Failure: out of descriptors (EMFILE, ENFILE), the pending connection would keep the socket
 * readable and the loop would spin. So one spare descriptor is kept: it is closed, the connection
 * is accepted and dropped, and the spare is opened again. Where even that fails (another thread
 * took the place), or memory is short, the socket is not watched for RETRY_MS. Errors that belong
 * to the connection alone are skipped.
 *
 * Ownership: the listener owns its socket; the close callback of the poll handle frees it.
 */
#include "net/listener.h"

#include "net/address_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define ACCEPT_BUDGET 64
#define RETRY_MS 100
#define KEEPALIVE_S 30
#define USER_TIMEOUT_MS 60000

struct listener {
    uv_poll_t poll;
    struct net_loop *loop; /* borrowed */
    int fd, spare_fd;
    listener_accept_fn on_accept;
    void *owner; /* borrowed */
    struct net_deadline retry;
    uint64_t dropped_cnt;
    bool is_closing;
};

/* ---- making the socket ---- */

static int address_fail(const char *text, struct adit_err *err)
{
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "listen address \"%.100s\" is not valid", text);
}

static int listen_failed(int fd, const char *text, struct adit_err *err)
{
    int sys_errno = errno;

    if (fd >= 0)
        (void)close(fd);
    return adit_err_sys(err, sys_errno, "listen on %.100s", text);
}

/*
 * @is_shared: with listeners of this process that are there already. Sharing is allowed after the
 * bind only for the first one, so that a port which another process listens on, shareable or not,
 * is refused.
 */
static int bind_and_listen(const union net_address *a, socklen_t len, const char *text,
                           bool is_shared, int *out_fd, struct adit_err *err)
{
    const int on = 1, off = 0;
    bool is_ip = a->any.sa_family == AF_INET || a->any.sa_family == AF_INET6;
    int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return listen_failed(fd, text, err);
    if (is_ip && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        return listen_failed(fd, text, err);
    if (is_shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
        return listen_failed(fd, text, err);
    if (a->any.sa_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0)
        return listen_failed(fd, text, err);
    if (bind(fd, &a->any, len) < 0)
        return listen_failed(fd, text, err);
    if (is_ip && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
        return listen_failed(fd, text, err);
    if (listen(fd, LISTENER_BACKLOG) < 0)
        return listen_failed(fd, text, err);
    *out_fd = fd;
    return ADIT_OK;
}

/* Remove a socket file that nobody listens on. Return: true when it was removed. */
static bool remove_stale(const union net_address *a)
{
    struct stat st;
    int fd, rc;

    if (lstat(a->un.sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    rc = connect(fd, &a->any, sizeof(a->un)) < 0 ? errno : 0;
    (void)close(fd);
    return rc == ECONNREFUSED && unlink(a->un.sun_path) == 0;
}

static int unix_socket(const char *path, int *out_fd, struct adit_err *err)
{
    union net_address a = {.un = {.sun_family = AF_UNIX}};
    struct adit_err first = ADIT_ERR_INIT;
    size_t len = strlen(path);

    if (len == 0 || len >= sizeof(a.un.sun_path))
        return address_fail(path, err);
    memcpy(a.un.sun_path, path, len + 1);
    if (bind_and_listen(&a, sizeof(a.un), path, false, out_fd, &first) == ADIT_OK)
        return ADIT_OK;
    if (first.sys_errno == EADDRINUSE && remove_stale(&a))
        return bind_and_listen(&a, sizeof(a.un), path, false, out_fd, err);
    if (err)
        *err = first;
    return first.code;
}

static int vsock_socket(const char *port_text, int *out_fd, struct adit_err *err)
{
    union net_address a = {.vm = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY}};
    uint64_t port;

    if (adit_view_u64(adit_view_str(port_text), VMADDR_PORT_ANY - 1u, &port) != ADIT_OK)
        return address_fail(port_text, err);
    a.vm.svm_port = (unsigned)port;
    return bind_and_listen(&a, sizeof(a.vm), port_text, false, out_fd, err);
}

static int inherited_socket(const char *number, int *out_fd, struct adit_err *err)
{
    uint64_t fd;
    int is_listening = 0, flags;
    socklen_t len = sizeof(is_listening);

    if (adit_view_u64(adit_view_str(number), INT32_MAX, &fd) != ADIT_OK)
        return address_fail(number, err);
    if (getsockopt((int)fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &len) < 0)
        return adit_err_sys(err, errno, "inherited descriptor %s", number);
    if (!is_listening)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "descriptor %s does not listen", number);
    flags = fcntl((int)fd, F_GETFL);
    if (flags < 0 || fcntl((int)fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0)
        return adit_err_sys(err, errno, "inherited descriptor %s", number);
    *out_fd = (int)fd;
    return ADIT_OK;
}

static int tcp_socket(const char *text, bool is_shared, int *out_fd, struct adit_err *err)
{
    union net_address a = {.in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT}};
    const char *colon = strrchr(text, ':');
    char host[INET6_ADDRSTRLEN + 2];
    size_t host_len = colon ? (size_t)(colon - text) : 0;
    uint64_t port;

    if (!colon || host_len >= sizeof(host) ||
        adit_view_u64(adit_view_str(colon + 1), UINT16_MAX, &port) != ADIT_OK)
        return address_fail(text, err);
    memcpy(host, text, host_len);
    host[host_len] = '\0';
    if (strcmp(host, "localhost") == 0)
        memcpy(host, "127.0.0.1", sizeof("127.0.0.1"));
    a.in6.sin6_port = htons((uint16_t)port);
    if (host[0] == '\0')
        return bind_and_listen(&a, sizeof(a.in6), text, is_shared, out_fd, err);
    if (host[0] == '[' && host[host_len - 1] == ']') {
        host[host_len - 1] = '\0';
        if (inet_pton(AF_INET6, host + 1, &a.in6.sin6_addr) != 1)
            return address_fail(text, err);
        return bind_and_listen(&a, sizeof(a.in6), text, is_shared, out_fd, err);
    }
    a.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, host, &a.in.sin_addr) != 1)
        return address_fail(text, err);
    return bind_and_listen(&a, sizeof(a.in), text, is_shared, out_fd, err);
}

int listener_socket(const char *address, int *out_fd, struct adit_err *err)
{
    if (strncmp(address, "unix:", 5) == 0)
        return unix_socket(address + 5, out_fd, err);
    if (strncmp(address, "vsock:", 6) == 0)
        return vsock_socket(address + 6, out_fd, err);
    if (strncmp(address, "fd:", 3) == 0)
        return inherited_socket(address + 3, out_fd, err);
    return tcp_socket(address, false, out_fd, err);
}

int listener_socket_shared(const char *address, int *out_fd, struct adit_err *err)
{
    return tcp_socket(address, true, out_fd, err);
}

int listener_open_early(char **address, struct adit_err *err)
{
    char *text = NULL;
    int fd = -1;
    int rc = listener_socket(*address, &fd, err);

    if (rc)
        return rc;
    if (asprintf(&text, "fd:%d", fd) < 0) {
        (void)close(fd);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "listener");
    }
    free(*address);
    *address = text;
    return ADIT_OK;
}

uint16_t listener_port(int fd)
{
    union net_address a = {.any = {.sa_family = AF_UNSPEC}};
    socklen_t len = sizeof(a);

    if (getsockname(fd, &a.any, &len) < 0)
        return 0;
    if (a.any.sa_family == AF_INET)
        return ntohs(a.in.sin_port);
    return a.any.sa_family == AF_INET6 ? ntohs(a.in6.sin6_port) : 0;
}

/* ---- accepting ---- */

/* Handed on to accepted sockets by the kernel. Best effort: they matter to no answer's content. */
static void set_tcp_options(int fd)
{
    const int on = 1, idle_s = KEEPALIVE_S;
    const unsigned timeout_ms = USER_TIMEOUT_MS;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle_s, sizeof(idle_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
}

static int open_spare(void)
{
    return open("/", O_PATH | O_DIRECTORY | O_CLOEXEC); /* never read: a place is all it is */
}

static void on_readable(uv_poll_t *poll, int status, int events);

static void watch(struct listener *l)
{
    (void)uv_poll_start(&l->poll, UV_READABLE, on_readable); /* an open descriptor: cannot fail */
}

static void on_retry(struct net_deadline *d)
{
    watch(ADIT_CONTAINER_OF(d, struct listener, retry));
}

/* Spend the spare descriptor to get rid of one pending connection. Return: false if it did not
 * help. */
static bool drop_one(struct listener *l)
{
    bool is_gone;
    int fd;

    if (l->spare_fd < 0)
        l->spare_fd = open_spare();
    if (l->spare_fd < 0)
        return false;
    (void)close(l->spare_fd);
    fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
    is_gone = fd >= 0 || errno == EAGAIN;
    if (fd >= 0) {
        (void)close(fd);
        l->dropped_cnt++;
    }
    l->spare_fd = open_spare();
    return is_gone;
}

/* What a failed accept4 means. Return: true to go on accepting in this turn. */
static bool accept_failed(struct listener *l, int sys_errno)
{
    switch (sys_errno) {
    case EAGAIN:
        return false;
    case EMFILE:
    case ENFILE:
        if (drop_one(l))
            return true;
        break;
    case ENOMEM:
    case ENOBUFS:
        break;
    default:
        return true; /* of that connection alone: reset before it was accepted, a network error */
    }
    (void)uv_poll_stop(&l->poll); /* always 0 */
    net_deadline_arm(&l->retry, RETRY_MS);
    return false;
}

static void accept_waiting(struct listener *l, int budget)
{
    while (budget-- > 0 && !l->is_closing) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            l->on_accept(l->owner, fd);
        else if (!accept_failed(l, errno))
            break;
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    accept_waiting(poll->data, ACCEPT_BUDGET);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

int listener_open(struct net_loop *loop, int take_fd, listener_accept_fn on_accept, void *owner,
                  struct listener **out, struct adit_err *err)
{
    struct listener *l = calloc(1, sizeof(*l));
    int rc;

    if (!l) {
        (void)close(take_fd);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "listener");
    }
    l->loop = loop;
    l->fd = take_fd;
    l->on_accept = on_accept;
    l->owner = owner;
    net_deadline_init(&l->retry, loop, on_retry);
    rc = uv_poll_init(loop->uv, &l->poll, take_fd);
    if (rc < 0) {
        (void)close(take_fd);
        free(l);
        return adit_err_sys(err, -rc, "listener");
    }
    l->poll.data = l;
    l->spare_fd = open_spare();
    if (listener_port(take_fd))
        set_tcp_options(take_fd);
    watch(l);
    *out = l;
    return ADIT_OK;
}

void listener_accept_waiting(struct listener *l)
{
    accept_waiting(l, LISTENER_BACKLOG + 1); /* the kernel lets one more wait */
}

void listener_close(struct listener *l)
{
    l->is_closing = true;
    net_deadline_cancel(&l->retry);
    uv_close((uv_handle_t *)&l->poll, on_closed);
    (void)close(l->fd); /* uv_close has taken it out of the poller */
    if (l->spare_fd >= 0)
        (void)close(l->spare_fd);
}

uint64_t listener_dropped_cnt(const struct listener *l)
{
    return l->dropped_cnt;
}
